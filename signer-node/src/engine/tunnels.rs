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

    /// The other nodes.
    pub(super) fn nodes(&self) -> Vec<NodeId> {
        self.peers.keys().copied().collect()
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

    /// Sends a message, if there is a session; without one it will be said again when one begins.
    pub(super) fn send(&mut self, to: &NodeId, message: &[u8]) -> Vec<v1::Tunnel> {
        let me = self.me;
        let Some(peer) = self.peers.get_mut(to) else {
            return Vec::new();
        };
        let Some(live) = peer.live.as_mut() else {
            return Vec::new();
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
