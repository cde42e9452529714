//! Exactly one message of every party: the only way from single messages to a full round.

use std::collections::BTreeMap;

use crate::Error;
use crate::codec::DecodeError;
use crate::echo::echo;
use crate::envelope::Envelope;
use crate::id::{NodeId, PartyIndex, SessionId};
use crate::roster::Roster;

/// A decoded message with the signed bytes it came in.
#[derive(Clone, Debug)]
pub(super) struct Signed<M> {
    pub(super) envelope: Envelope,
    pub(super) message: M,
}

/// The first message of each party.
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
    pub(super) fn complete(&self, roster: &Roster) -> Result<Complete<'_, M>, Error> {
        let entry = |(index, node): (PartyIndex, NodeId)| {
            self.slots.get(&node).map(|signed| Entry {
                index,
                node,
                signed,
            })
        };
        let entries: Option<Vec<_>> = roster.by_index().map(entry).collect();
        entries.map(Complete).ok_or(Error::Unreachable(
            "a round was closed before it was complete",
        ))
    }
}

/// One party's message in a full round.
#[derive(Debug)]
pub(super) struct Entry<'a, M> {
    pub(super) index: PartyIndex,
    pub(super) node: NodeId,
    pub(super) signed: &'a Signed<M>,
}

impl<M> Entry<'_, M> {
    pub(super) const fn message(&self) -> &M {
        &self.signed.message
    }
}

/// A full round, by index. Only [`Collect::complete`] builds it.
#[derive(Debug)]
pub(super) struct Complete<'a, M>(Vec<Entry<'a, M>>);

impl<'a, M> Complete<'a, M> {
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &Entry<'a, M>> + Clone {
        self.0.iter()
    }

    pub(super) fn of(&self, index: PartyIndex) -> Result<&'a M, Error> {
        let entry = self.0.iter().find(|entry| entry.index == index);
        entry
            .map(|entry| &entry.signed.message)
            .ok_or(Error::Unreachable("an index is not in the round"))
    }

    /// The echo of the round: `H("echo"; ssid, u8 round, (nid_i || envh_i) list by node)`.
    pub(super) fn echo(&self, session: SessionId, round: u8) -> [u8; 32] {
        let digests = self
            .0
            .iter()
            .map(|entry| (entry.node, *entry.signed.envelope.digest()));
        echo(session, round, digests)
    }
}
