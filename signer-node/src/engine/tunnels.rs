//! The nested sessions to the other nodes: who dials, what order frames must have, what follows a break.
//!
//! The node with the lower id dials. A break in the sequence, an error of TLS or a `reset` ends a session; the dialling
//! side starts another at the next tick, and every running key generation says again what it has said.

use std::collections::BTreeMap;

use mpc_core::id::NodeId;
use mpc_core::roster::Roster;
use proto::channel::nested::{Fed, Tunnel, TunnelError, TunnelIdentity};
use proto::limits::TUNNEL_DATA;
use proto::v1;
use zeroize::Zeroizing;

use crate::seal::random;

/// One live session.
struct Live {
    connection: [u8; 16],
    tunnel: Tunnel,
    sent: u64,
    received: u64,
}

/// One other node.
struct Peer {
    key: [u8; 32],
    dials: bool,
    live: Option<Live>,
}

/// What came of a call.
#[derive(Default)]
pub(super) struct Outcome {
    /// Frames for the coordinator.
    pub(super) frames: Vec<v1::Tunnel>,
    /// Whole messages of the peer.
    pub(super) messages: Vec<Zeroizing<Vec<u8>>>,
    /// A session began: whatever was said before must be said again.
    pub(super) began: bool,
}

/// All other nodes.
pub(super) struct Tunnels {
    me: NodeId,
    identity: TunnelIdentity,
    peers: BTreeMap<NodeId, Peer>,
}

impl Tunnels {
    pub(super) fn new(me: NodeId, identity: TunnelIdentity, roster: &Roster) -> Self {
        let others = roster.nodes().filter(|node| *node != me);
        let peers = others.filter_map(|node| {
            let key = *roster.get(&node)?.identity.as_bytes();
            Some((
                node,
                Peer {
                    key,
                    dials: me < node,
                    live: None,
                },
            ))
        });
        Self {
            me,
            identity,
            peers: peers.collect(),
        }
    }

    /// Forgets every session: the connection that carried them is gone. The result asks the dialling peers to start over.
    pub(super) fn reset(&mut self) -> Vec<v1::Tunnel> {
        let me = self.me;
        self.peers.values_mut().for_each(|peer| peer.live = None);
        let accepting = self.peers.iter().filter(|(_, peer)| !peer.dials);
        accepting
            .map(|(node, _)| reset_frame(me, *node, [0; 16]))
            .collect()
    }

    /// Dials every peer that this node dials and has no session with.
    pub(super) fn dial(&mut self) -> Vec<(NodeId, Vec<v1::Tunnel>)> {
        let (me, identity) = (self.me, &self.identity);
        let idle = self
            .peers
            .iter_mut()
            .filter(|(_, peer)| peer.dials && peer.live.is_none());
        idle.filter_map(|(node, peer)| {
            let mut connection = [0; 16];
            random(&mut connection).ok()?;
            let (tunnel, first) = Tunnel::dial(identity, &peer.key).ok()?;
            let live = peer.live.insert(Live {
                connection,
                tunnel,
                sent: 0,
                received: 0,
            });
            Some((*node, live.frames(me, *node, &first)))
        })
        .collect()
    }

    /// Sends a message, if there is a session; without one it will be said again when one begins. The side that cannot dial
    /// asks the other one to: what it believes of the session may be out of date, and it may have nothing left to say.
    pub(super) fn send(&mut self, to: &NodeId, message: &[u8]) -> Vec<v1::Tunnel> {
        let me = self.me;
        let Some(peer) = self.peers.get_mut(to) else {
            return Vec::new();
        };
        let Some(live) = peer.live.as_mut() else {
            return if peer.dials {
                Vec::new()
            } else {
                vec![reset_frame(me, *to, [0; 16])]
            };
        };
        match live.tunnel.send(message) {
            Ok(bytes) => live.frames(me, *to, &bytes),
            Err(error) => {
                tracing::warn!(peer = %to, %error, "a message to a peer could not be sent");
                peer.live = None;
                Vec::new()
            }
        }
    }

    /// Takes a frame that the coordinator relayed. Frames by strangers or for others are dropped.
    pub(super) fn receive(&mut self, frame: &v1::Tunnel) -> Option<(NodeId, Outcome)> {
        let from = NodeId::from_bytes(frame.from.as_ref().try_into().ok()?);
        let connection: [u8; 16] = frame.connection.as_ref().try_into().ok()?;
        if frame.to.as_ref() != self.me.as_bytes().as_slice() || frame.data.len() > TUNNEL_DATA {
            return None;
        }
        let (me, identity) = (self.me, &self.identity);
        let peer = self.peers.get_mut(&from)?;
        let known = peer
            .live
            .as_ref()
            .is_some_and(|live| live.connection == connection);
        if frame.reset {
            if known || peer.dials && connection == [0; 16] {
                peer.live = None;
            }
            return Some((from, Outcome::default()));
        }
        let mut began = false;
        if !known {
            if peer.dials || frame.seq != 0 {
                return Some((
                    from,
                    Outcome {
                        frames: vec![reset_frame(me, from, connection)],
                        ..Outcome::default()
                    },
                ));
            }
            let tunnel = Tunnel::accept(identity, &peer.key).ok()?;
            peer.live = Some(Live {
                connection,
                tunnel,
                sent: 0,
                received: 0,
            });
            began = true;
        }
        let live = peer.live.as_mut()?;
        let fed = live.feed(frame);
        match fed {
            Ok(fed) => {
                let frames = live.frames(me, from, &fed.send);
                if fed.closed {
                    peer.live = None;
                }
                Some((
                    from,
                    Outcome {
                        frames,
                        messages: fed.messages,
                        began,
                    },
                ))
            }
            Err((error, last)) => {
                tracing::warn!(peer = %from, %error, "the session with a peer broke");
                let mut frames = live.frames(me, from, &last);
                frames.push(reset_frame(me, from, connection));
                peer.live = None;
                Some((
                    from,
                    Outcome {
                        frames,
                        ..Outcome::default()
                    },
                ))
            }
        }
    }
}

impl Live {
    fn feed(&mut self, frame: &v1::Tunnel) -> Result<Fed, (TunnelError, Vec<u8>)> {
        if frame.seq != self.received {
            return Err((TunnelError::Truncated, Vec::new()));
        }
        self.received = self.received.saturating_add(1);
        self.tunnel
            .feed(&frame.data)
            .map_err(|failed| (failed.error, failed.send))
    }

    fn frames(&mut self, me: NodeId, to: NodeId, bytes: &[u8]) -> Vec<v1::Tunnel> {
        let cut = bytes.chunks(TUNNEL_DATA).map(|piece| {
            let seq = self.sent;
            self.sent = self.sent.saturating_add(1);
            v1::Tunnel {
                from: me.as_bytes().to_vec().into(),
                to: to.as_bytes().to_vec().into(),
                connection: self.connection.to_vec().into(),
                seq,
                data: piece.to_vec().into(),
                reset: false,
            }
        });
        cut.collect()
    }
}

fn reset_frame(me: NodeId, to: NodeId, connection: [u8; 16]) -> v1::Tunnel {
    v1::Tunnel {
        from: me.as_bytes().to_vec().into(),
        to: to.as_bytes().to_vec().into(),
        connection: connection.to_vec().into(),
        seq: 0,
        data: Vec::new().into(),
        reset: true,
    }
}

#[cfg(test)]
mod tests {
    use mpc_core::group::{Point, Ristretto255, Scalar};
    use mpc_core::id::PartyIndex;
    use mpc_core::identity::IdentityKey;
    use mpc_core::roster::Member;

    use super::*;

    fn exchange(index: u16) -> [u8; 32] {
        let point = Point::<Ristretto255>::mul_base(&Scalar::from_u64(index.into()));
        point.encode().as_slice().try_into().unwrap()
    }

    fn pair() -> (Tunnels, Tunnels) {
        let seeds = [[1; 32], [2; 32], [3; 32]];
        let keys = seeds.map(|seed| IdentityKey::from_seed(Zeroizing::new(seed)));
        let member = |(index, key): (u16, &IdentityKey)| Member {
            index: PartyIndex::new(index).unwrap(),
            identity: key.public(),
            exchange: exchange(index),
        };
        let roster = Roster::new((1..).zip(&keys).map(member)).unwrap();
        let tunnels = |at: usize| {
            let identity = TunnelIdentity::from_seed(&Zeroizing::new(seeds[at])).unwrap();
            Tunnels::new(keys[at].public().node_id(), identity, &roster)
        };
        let (one, two) = (tunnels(0), tunnels(1));
        if one.me < two.me {
            (one, two)
        } else {
            (two, one)
        }
    }

    /// Carries frames to and fro until there are none; what each side heard.
    fn settle(
        dialler: &mut Tunnels,
        acceptor: &mut Tunnels,
        first: Vec<v1::Tunnel>,
    ) -> Vec<Zeroizing<Vec<u8>>> {
        let (mut frames, mut heard) = (first, Vec::new());
        while let Some(frame) = (!frames.is_empty()).then(|| frames.remove(0)) {
            let to_acceptor = frame.to.as_ref() == acceptor.me.as_bytes().as_slice();
            let end = if to_acceptor {
                &mut *acceptor
            } else {
                &mut *dialler
            };
            if let Some((_, outcome)) = end.receive(&frame) {
                frames.extend(outcome.frames);
                heard.extend(outcome.messages);
            }
        }
        heard
    }

    fn dial(dialler: &mut Tunnels, to: &NodeId) -> Vec<v1::Tunnel> {
        let all = dialler.dial().into_iter();
        all.filter(|(node, _)| node == to)
            .flat_map(|(_, frames)| frames)
            .collect()
    }

    #[test]
    fn a71_a_session_that_a_relay_broke_on_one_side_comes_back_when_that_side_speaks() {
        let (mut dialler, mut acceptor) = pair();
        let (from, to) = (dialler.me, acceptor.me);
        let first = dial(&mut dialler, &to);
        settle(&mut dialler, &mut acceptor, first);
        let hello = acceptor.send(&from, b"one");
        assert_eq!(*settle(&mut dialler, &mut acceptor, hello)[0], b"one");

        let forged = v1::Tunnel {
            from: from.as_bytes().to_vec().into(),
            to: to.as_bytes().to_vec().into(),
            connection: vec![8; 16].into(),
            seq: 0,
            data: vec![1; 64].into(),
            reset: false,
        };
        settle(&mut dialler, &mut acceptor, vec![forged]);
        assert!(dial(&mut dialler, &to).is_empty(), "it noticed nothing");
        let lost = acceptor.send(&from, b"two");
        assert!(settle(&mut dialler, &mut acceptor, lost).is_empty());
        let again = dial(&mut dialler, &to);
        assert!(!again.is_empty(), "it was asked to dial again");
        settle(&mut dialler, &mut acceptor, again);
        let said_again = acceptor.send(&from, b"two");
        assert_eq!(*settle(&mut dialler, &mut acceptor, said_again)[0], b"two");
    }
}
