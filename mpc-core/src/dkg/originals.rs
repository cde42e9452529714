//! After an echo that does not match: everybody shows the signed messages its echo was taken over.
//!
//! Two different originals of one sender convict that sender. A party whose originals do not give the echo it had sent
//! convicts itself.

use super::collect::Collect;
use super::plan::{Plan, Slot};
use crate::codec::{DecodeError, Reader, Writer};
use crate::echo;
use crate::envelope::{Envelope, Header, Recipient};
use crate::id::{NodeId, SessionId};

/// Longest original: a round-2 message of the largest committee takes less than a tenth of this.
const MAX_ORIGINAL: usize = 1 << 16;

/// Body of [`Slot::Originals`]: the sender's session and its copy of every message of the round, by node.
#[derive(Clone, Debug)]
pub(super) struct Originals {
    pub(super) session: SessionId,
    envelopes: Vec<Vec<u8>>,
}

impl Originals {
    pub(super) fn new<M>(session: SessionId, round: &Collect<M>) -> Self {
        Self {
            session,
            envelopes: round.encoded(),
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.bytes(self.session.as_bytes());
        for envelope in &self.envelopes {
            out.var(envelope);
        }
        out.finish()
    }

    pub(super) fn decode(plan: &Plan, bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let session = SessionId::from_bytes(reader.array("session")?);
        let read = |_| reader.var("originals", MAX_ORIGINAL).map(<[u8]>::to_vec);
        let envelopes = (0..plan.participants())
            .map(read)
            .collect::<Result<_, _>>()?;
        reader.finish("body")?;
        Ok(Self { session, envelopes })
    }

    /// The messages, if every one is what it should be: signed by its sender, for this round and session.
    pub(super) fn open(&self, plan: &Plan, round: u8) -> Option<Vec<Envelope>> {
        let open = |(node, bytes): (NodeId, &Vec<u8>)| {
            let envelope = plan.open(bytes).ok()?;
            (*envelope.header() == header(plan, self.session, round, node)?).then_some(envelope)
        };
        plan.nodes().zip(&self.envelopes).map(open).collect()
    }

    /// The echo that the shown messages give; `None` if they cannot give any.
    pub(super) fn echo(&self, plan: &Plan, round: u8) -> Option<[u8; 32]> {
        let digests = self
            .open(plan, round)?
            .into_iter()
            .map(|envelope| (envelope.header().from, *envelope.digest()));
        Some(echo::echo(self.session, round, digests))
    }
}

/// The header that a broadcast of `round` by `from` has.
pub(super) fn header(plan: &Plan, session: SessionId, round: u8, from: NodeId) -> Option<Header> {
    let (slot, session) = match round {
        1 => (Slot::Round1, plan.ssid0),
        2 => (Slot::Round2, session),
        3 => (Slot::Round3, session),
        _ => return None,
    };
    Some(Header {
        kind: plan.kind(slot),
        session,
        round,
        from,
        to: Recipient::Everyone,
    })
}

/// The echo inside a message of the round after the echoed one.
pub(super) fn claimed_echo(plan: &Plan, claim: &Envelope) -> Option<[u8; 32]> {
    let mut reader = Reader::new(claim.body());
    if plan.slot(claim.header().kind) == Some(Slot::Round3) {
        reader.u8("form").ok()?;
    }
    reader.array("echo").ok()
}

/// The header that the originals of `round`, shown by `from`, have. Those of round 1 are shown under `ssid0`, because
/// parties that saw different nonces do not agree on `ssid`.
pub(super) fn shown_header(plan: &Plan, session: SessionId, round: u8, from: NodeId) -> Header {
    let session = if round == 1 { plan.ssid0 } else { session };
    Header {
        kind: plan.kind(Slot::Originals),
        session,
        round,
        from,
        to: Recipient::Everyone,
    }
}
