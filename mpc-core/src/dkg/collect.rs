//! Exactly one message of every participant: the only way from single messages to a full round.

use std::collections::BTreeMap;

use super::plan::{Plan, Seat};
use crate::Error;
use crate::codec::DecodeError;
use crate::echo::echo;
use crate::envelope::Envelope;
use crate::id::{NodeId, PartyIndex, SessionId};

/// A decoded message with the signed bytes it came in.
#[derive(Clone, Debug)]
pub(super) struct Signed<M> {
    pub(super) envelope: Envelope,
    pub(super) message: M,
}

/// The first message of each participant.
#[derive(Debug)]
pub(super) struct Collect<M> {
    slots: BTreeMap<NodeId, Signed<M>>,
    expected: usize,
}

/// What a new message was.
#[derive(Debug)]
pub(super) enum Insert {
    /// The first of its sender.
    New,
    /// The one already held, again.
    Same,
    /// Another body for the same place; holds the first message.
    Conflict(Envelope),
    /// It does not decode.
    Malformed(DecodeError),
}

impl<M> Collect<M> {
    pub(super) const fn new(expected: usize) -> Self {
        Self {
            slots: BTreeMap::new(),
            expected,
        }
    }

    /// Keeps the message of a sender that has none yet.
    pub(super) fn insert(
        &mut self,
        envelope: Envelope,
        decode: impl FnOnce(&[u8]) -> Result<M, DecodeError>,
    ) -> Insert {
        if let Some(held) = self.slots.get(&envelope.header().from) {
            let same = held.envelope.body() == envelope.body();
            return if same {
                Insert::Same
            } else {
                Insert::Conflict(held.envelope.clone())
            };
        }
        match decode(envelope.body()) {
            Ok(message) => {
                self.slots
                    .insert(envelope.header().from, Signed { envelope, message });
                Insert::New
            }
            Err(error) => Insert::Malformed(error),
        }
    }

    pub(super) fn get(&self, node: &NodeId) -> Option<&Signed<M>> {
        self.slots.get(node)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.slots.len() == self.expected
    }

    /// The messages held so far, by node.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&NodeId, &Signed<M>)> {
        self.slots.iter()
    }

    /// The encoded envelopes held, by node.
    pub(super) fn encoded(&self) -> Vec<Vec<u8>> {
        self.slots
            .values()
            .map(|signed| signed.envelope.as_bytes().to_vec())
            .collect()
    }

    /// The full round.
    pub(super) fn complete(&self, plan: &Plan) -> Result<Complete<'_, M>, Error> {
        let entry = |(node, seat): (&NodeId, &Seat)| {
            self.slots.get(node).map(|signed| Entry {
                node: *node,
                seat: *seat,
                signed,
            })
        };
        let entries: Option<Vec<_>> = plan.seats.iter().map(entry).collect();
        entries.map(Complete::new).ok_or(Error::Unreachable(
            "a round was closed before it was complete",
        ))
    }
}

/// One participant's message in a full round.
#[derive(Debug)]
pub(super) struct Entry<'a, M> {
    pub(super) node: NodeId,
    pub(super) seat: Seat,
    pub(super) signed: &'a Signed<M>,
}

impl<'a, M> Entry<'a, M> {
    pub(super) const fn message(&self) -> &'a M {
        &self.signed.message
    }
}

/// A full round. Only [`Collect::complete`] builds it.
#[derive(Debug)]
pub(super) struct Complete<'a, M> {
    entries: Vec<Entry<'a, M>>,
    dealers: BTreeMap<PartyIndex, usize>,
    receivers: BTreeMap<PartyIndex, usize>,
}

impl<'a, M> Complete<'a, M> {
    fn new(entries: Vec<Entry<'a, M>>) -> Self {
        let by = |index: fn(&Seat) -> Option<PartyIndex>| {
            let place = |(at, entry): (usize, &Entry<'a, M>)| Some((index(&entry.seat)?, at));
            entries.iter().enumerate().filter_map(place).collect()
        };
        Self {
            dealers: by(|seat| seat.dealer),
            receivers: by(|seat| seat.receiver),
            entries,
        }
    }

    /// Everybody's, by node.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &Entry<'a, M>> + Clone {
        self.entries.iter()
    }

    /// Those of the dealers, by their index as dealers.
    pub(super) fn dealers(&self) -> impl Iterator<Item = (PartyIndex, &Entry<'a, M>)> + Clone {
        let entry = |(index, at): (&PartyIndex, &usize)| Some((*index, self.entries.get(*at)?));
        self.dealers.iter().filter_map(entry)
    }

    /// Those of the receivers, by their index as receivers.
    pub(super) fn receivers(&self) -> impl Iterator<Item = (PartyIndex, &Entry<'a, M>)> + Clone {
        let entry = |(index, at): (&PartyIndex, &usize)| Some((*index, self.entries.get(*at)?));
        self.receivers.iter().filter_map(entry)
    }

    pub(super) fn of(&self, node: &NodeId) -> Result<&'a M, Error> {
        let entry = self.entries.iter().find(|entry| entry.node == *node);
        entry
            .map(Entry::message)
            .ok_or(Error::Unreachable("a participant is not in the round"))
    }

    /// The message of the receiver with this index.
    pub(super) fn receiver(&self, index: PartyIndex) -> Result<&'a M, Error> {
        let at = self.receivers.get(&index);
        at.and_then(|at| self.entries.get(*at))
            .map(Entry::message)
            .ok_or(Error::Unreachable("a receiver is not in the round"))
    }

    /// The message of the dealer with this index.
    pub(super) fn dealer(&self, index: PartyIndex) -> Result<&'a M, Error> {
        let at = self.dealers.get(&index);
        at.and_then(|at| self.entries.get(*at))
            .map(Entry::message)
            .ok_or(Error::Unreachable("a dealer is not in the round"))
    }

    /// The echo of the round: `H("echo"; ssid, u8 round, (nid_i || envh_i) list by node)`.
    pub(super) fn echo(&self, session: SessionId, round: u8) -> [u8; 32] {
        let digests = self
            .entries
            .iter()
            .map(|entry| (entry.node, *entry.signed.envelope.digest()));
        echo(session, round, digests)
    }
}
