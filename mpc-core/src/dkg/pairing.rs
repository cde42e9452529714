//! Pair setups inside a key generation: base transfers with every peer that there is no live setup with, tried out before they count.
//!
//! Runs beside the rounds, in messages for one peer each. They are named after the session, so the contributions of all parties are
//! in every hash. A setup that fails its trial is discarded with the session: its `delta` was never used, so nothing is poisoned.
//! (Protocol notes, section 4.)
//!
//! ```text
//! DKG/R2P   phi 8192                                the base receiver's reply to the offer in round 1
//! DKG/T1    pid 32 | extension 14384                a trial extension
//! DKG/T2    echo of round 1 32 | multiplication 73792
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand_core::CryptoRng;

use super::plan::{Plan, Slot};
use super::round1::PairOffer;
use crate::codec::{DecodeError, Problem, Reader, Writer};
use crate::envelope::Kind;
use crate::id::{NodeId, PairId, SessionId};
use crate::pair::base_ot::{self, Draws, Offer, Reply, Run};
use crate::pair::extension::{self, Direction};
use crate::pair::vole::VoleError;
use crate::pair::{PairRecord, SenderSeeds, vole};
use crate::{Abort, Error, Fault, Misuse};

/// What a node has with a peer before a key generation.
#[derive(Clone, Debug, Default)]
pub struct PairStatus {
    /// The generation of the last setup of the two that this node has stored, 0 if there was none.
    pub last_generation: u32,
    /// The setup to go on with, if it is active and not poisoned.
    pub live: Option<Arc<PairRecord>>,
}

/// What was drawn for one peer.
#[derive(Debug)]
struct Fresh {
    offer: Offer,
    draws: Option<Draws>,
    choices: Option<extension::Choices>,
    factors: Option<vole::Factors>,
}

#[derive(Debug)]
enum Kept {
    Live(Arc<PairRecord>),
    Fresh(Box<Fresh>),
}

/// What this node offers its peers in round 1.
#[derive(Debug)]
pub(super) struct Offers(BTreeMap<NodeId, (u32, Kept)>);

impl Offers {
    /// Draws what every peer without a live setup needs, peers in ascending order.
    pub(super) fn draw(
        mut pairs: BTreeMap<NodeId, PairStatus>,
        peers: impl Iterator<Item = NodeId>,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, Misuse> {
        let mut kept = BTreeMap::new();
        for peer in peers {
            let PairStatus {
                last_generation,
                live,
            } = pairs.remove(&peer).unwrap_or_default();
            let entry = match live {
                Some(record) if record.peer() != peer || record.generation() != last_generation => {
                    return Err(Misuse::InvalidRoster(
                        "a pair setup is not of the peer it is given for",
                    ));
                }
                Some(record) => Kept::Live(record),
                None => Kept::Fresh(Box::new(Fresh {
                    offer: Offer::new(rng),
                    draws: Some(Draws::random(rng)),
                    choices: Some(extension::Choices::random(rng)),
                    factors: Some(vole::Factors::random(rng)),
                })),
            };
            kept.insert(peer, (last_generation, entry));
        }
        if pairs.is_empty() {
            Ok(Self(kept))
        } else {
            Err(Misuse::InvalidRoster(
                "a pair setup with a node outside the roster",
            ))
        }
    }

    /// What round 1 says about them, peers in ascending order.
    pub(super) fn public(&self) -> Vec<PairOffer> {
        let offer = |(generation, kept): &(u32, Kept)| PairOffer {
            generation: *generation,
            offer: match kept {
                Kept::Live(_) => None,
                Kept::Fresh(fresh) => Some(*fresh.offer.public()),
            },
        };
        self.0.values().map(offer).collect()
    }
}

/// A setup in the making.
#[derive(Debug)]
struct Making {
    fresh: Fresh,
    theirs: PairOffer,
    generation: u32,
    sender: Option<(SenderSeeds, Reply)>,
    reply: Option<Reply>,
    record: Option<PairRecord>,
    receiver: Option<extension::Receiver>,
    answered: bool,
    trial: Option<(PairId, extension::Message)>,
    multiplication: Option<([u8; 32], vole::Message)>,
    done: bool,
    /// Why this setup cannot count. Said when the rounds have shown that everybody saw the same: a party that told others something
    /// else is convicted before.
    failed: Option<Abort>,
}

/// A message for one peer.
pub(super) struct Letter {
    pub(super) to: NodeId,
    pub(super) slot: Slot,
    pub(super) body: Vec<u8>,
}

/// The pair setups of a session, from its name on.
#[derive(Debug)]
pub(super) struct Pairing {
    me: NodeId,
    /// How the messages are called that a peer may be accused of.
    round1: Kind,
    multiply: Kind,
    session: SessionId,
    echo: [u8; 32],
    nonces: BTreeMap<NodeId, [u8; 32]>,
    live: BTreeMap<NodeId, PairId>,
    making: BTreeMap<NodeId, Making>,
}

impl Pairing {
    /// Answers the offers of all peers. `theirs` is what each peer's round 1 said about this node; `nonces` everybody's contribution.
    pub(super) fn start(
        plan: &Plan,
        me: NodeId,
        session: SessionId,
        echo: [u8; 32],
        nonces: BTreeMap<NodeId, [u8; 32]>,
        offers: Offers,
        mut theirs: BTreeMap<NodeId, PairOffer>,
    ) -> Result<(Self, Vec<Letter>), Error> {
        let mut pairing = Self {
            me,
            round1: plan.kind(Slot::Round1),
            multiply: plan.kind(Slot::TrialMultiply),
            session,
            echo,
            nonces,
            live: BTreeMap::new(),
            making: BTreeMap::new(),
        };
        let mut letters = Vec::new();
        for (peer, (last, kept)) in offers.0 {
            let theirs = theirs
                .remove(&peer)
                .ok_or(Error::Unreachable("a peer made no offer"))?;
            match (kept, theirs.offer) {
                (Kept::Live(record), None) => {
                    pairing.live.insert(peer, record.name());
                }
                (Kept::Fresh(fresh), Some(offer)) => {
                    let mut fresh = *fresh;
                    let run = Run {
                        session,
                        sender: peer,
                        receiver: me,
                    };
                    let draws = fresh
                        .draws
                        .take()
                        .ok_or(Error::Unreachable("a reply is drawn twice"))?;
                    let (seeds, reply) = base_ot::choose(&run, &offer, &draws);
                    letters.push(Letter {
                        to: peer,
                        slot: Slot::Reply,
                        body: reply.to_bytes(),
                    });
                    let generation = last
                        .max(theirs.generation)
                        .checked_add(1)
                        .ok_or(Error::Unreachable("a generation after the last"))?;
                    let making = Making {
                        fresh,
                        generation,
                        failed: None,
                        theirs,
                        sender: Some((seeds, reply)),
                        reply: None,
                        record: None,
                        receiver: None,
                        answered: false,
                        trial: None,
                        multiplication: None,
                        done: false,
                    };
                    pairing.making.insert(peer, making);
                }
                _ => return Err(Abort::unattributed(Fault::StalePair { peer }).into()),
            }
        }
        Ok((pairing, letters))
    }

    /// Keeps the first message of each kind from a peer.
    pub(super) fn accept(
        &mut self,
        from: &NodeId,
        slot: Slot,
        body: &[u8],
    ) -> Result<(), DecodeError> {
        let Some(making) = self.making.get_mut(from) else {
            return Err(DecodeError::new("body", Problem::Unknown));
        };
        let mut reader = Reader::new(body);
        match slot {
            Slot::Reply => {
                let reply = Reply::read(&mut reader)?;
                reader.finish("body")?;
                making.reply.get_or_insert(reply);
            }
            Slot::TrialExtension => {
                let name = PairId::from_bytes(reader.array("pid")?);
                let message = extension::Message::read(&mut reader)?;
                reader.finish("body")?;
                making.trial.get_or_insert((name, message));
            }
            _ => {
                let echo = reader.array("echo")?;
                let message = vole::Message::read(&mut reader)?;
                reader.finish("body")?;
                making.multiplication.get_or_insert((echo, message));
            }
        }
        Ok(())
    }

    /// Goes on with every peer as far as its messages allow.
    pub(super) fn advance(&mut self) -> Result<Vec<Letter>, Error> {
        let mut letters = Vec::new();
        let (me, session, echo) = (self.me, self.session, self.echo);
        for (peer, making) in &mut self.making {
            if making.failed.is_some() {
                continue;
            }
            let failed = || Some(Abort::unattributed(Fault::PairSetupFailed { peer: *peer }));
            making.complete(me, *peer, session)?;
            let Some(record) = &making.record else {
                continue;
            };
            let name = record.name();
            let towards = |receiver, sender| Direction {
                receiver,
                sender,
                pair: name,
            };
            let nonce = |node: &NodeId, direction: &Direction| {
                let contribution = self
                    .nonces
                    .get(node)
                    .ok_or(Error::Unreachable("a party without a contribution"))?;
                Ok::<_, Error>(extension::Nonce::new(&session, contribution, direction))
            };
            if let Some(choices) = making.fresh.choices.take() {
                let direction = towards(me, *peer);
                let nonce = nonce(&me, &direction)?;
                let (receiver, message) =
                    extension::receive_with(record.receiver_seeds(), &nonce, &direction, &choices);
                let mut body = Writer::with_capacity(32 + extension::Message::BYTES);
                body.bytes(name.as_bytes());
                message.write(&mut body);
                making.receiver = Some(receiver);
                letters.push(Letter {
                    to: *peer,
                    slot: Slot::TrialExtension,
                    body: body.finish(),
                });
            }
            if !making.answered
                && let Some((tried, trial)) = &making.trial
            {
                if *tried != name {
                    making.failed = failed();
                    continue;
                }
                let direction = towards(*peer, me);
                let nonce = nonce(peer, &direction)?;
                let sender = extension::send(record.sender_seeds(), &nonce, &direction, trial);
                let Ok(sender) = sender else {
                    making.failed = failed();
                    continue;
                };
                let context = vole::Context::new(&session, &direction, &sender.message_hash());
                let factors = making
                    .fresh
                    .factors
                    .take()
                    .ok_or(Error::Unreachable("trial factors are used twice"))?;
                let (_, message) = vole::send(sender, &context, factors);
                let mut body = Writer::with_capacity(32 + vole::Message::BYTES);
                body.bytes(&echo);
                message.write(&mut body);
                making.answered = true;
                letters.push(Letter {
                    to: *peer,
                    slot: Slot::TrialMultiply,
                    body: body.finish(),
                });
            }
            if let (true, Some((seen, message))) =
                (making.receiver.is_some(), &making.multiplication)
            {
                if *seen != echo {
                    let message = self.round1;
                    making.failed = Some(Abort::local(*peer, Fault::EchoUnsupported { message }));
                    continue;
                }
                let Some(receiver) = making.receiver.take() else {
                    continue;
                };
                let direction = towards(me, *peer);
                let context = vole::Context::new(&session, &direction, &receiver.message_hash());
                match vole::receive(receiver, &context, message) {
                    Ok(_) => making.done = true,
                    Err(VoleError::Malformed(error)) => {
                        let message = self.multiply;
                        let fault = Fault::Malformed { message, error };
                        making.failed = Some(Abort::local(*peer, fault));
                    }
                    Err(VoleError::CheckFailed) => making.failed = failed(),
                }
            }
        }
        Ok(letters)
    }

    /// What keeps a new setup from counting, if anything does. Look at it when the echoes of round 1 are known to be the same.
    pub(super) fn failure(&self) -> Option<&Abort> {
        self.making
            .values()
            .find_map(|making| making.failed.as_ref())
    }

    /// Whether a new setup with this peer is made.
    pub(super) fn makes(&self, peer: &NodeId) -> bool {
        self.making.contains_key(peer)
    }

    /// Whether every new setup has been tried.
    pub(super) fn is_done(&self) -> bool {
        self.waiting_for().is_empty()
    }

    /// Peers with which the setup is not tried out yet.
    pub(super) fn waiting_for(&self) -> BTreeSet<NodeId> {
        let waits = |(peer, making): (&NodeId, &Making)| {
            (!(making.done && making.answered)).then_some(*peer)
        };
        self.making.iter().filter_map(waits).collect()
    }

    /// The name of the setup with every peer, in ascending order of the peers; empty without pair setups.
    pub(super) fn names(&self) -> Vec<PairId> {
        let made = self
            .making
            .iter()
            .filter_map(|(peer, making)| Some((*peer, making.record.as_ref()?.name())));
        let all: BTreeMap<NodeId, PairId> = made
            .chain(self.live.iter().map(|(peer, name)| (*peer, *name)))
            .collect();
        all.into_values().collect()
    }

    /// The new setups.
    pub(super) fn into_records(self) -> Vec<PairRecord> {
        self.making
            .into_values()
            .filter_map(|making| making.record)
            .collect()
    }

    /// The new setups, while the session still needs this.
    pub(super) fn records(&self) -> impl Iterator<Item = &PairRecord> {
        self.making
            .values()
            .filter_map(|making| making.record.as_ref())
    }
}

impl Making {
    /// Builds the record once the peer's reply is here.
    fn complete(&mut self, me: NodeId, peer: NodeId, session: SessionId) -> Result<(), Error> {
        let Some(reply) = &self.reply else {
            return Ok(());
        };
        let Some((seeds, own_reply)) = self.sender.take() else {
            return Ok(());
        };
        let offer = self
            .theirs
            .offer
            .ok_or(Error::Unreachable("a fresh setup without an offer"))?;
        let run = Run {
            session,
            sender: me,
            receiver: peer,
        };
        let receiver = self.fresh.offer.complete(&run, reply);
        let mine = (me, self.fresh.offer.public(), &own_reply);
        let name = base_ot::pair_id(self.generation, mine, (peer, &offer, reply));
        self.record = Some(PairRecord::new(
            peer,
            self.generation,
            name,
            receiver,
            seeds,
        ));
        Ok(())
    }
}
