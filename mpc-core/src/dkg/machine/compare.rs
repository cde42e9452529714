//! When echoes differ: show the signed messages this node holds, and compare them with what others show.

use core::mem;
use std::collections::BTreeSet;

use super::{Machine, Phase, equivocated};
use crate::dkg::collect::Insert;
use crate::dkg::finish::Finish;
use crate::dkg::judge;
use crate::dkg::originals::{self, Originals};
use crate::dkg::plan::Slot;
use crate::envelope::{Envelope, Recipient};
use crate::id::NodeId;
use crate::session::Outbound;
use crate::{Abort, Error, Fault, Rejection};

impl<G: Finish> Machine<G> {
    /// A round-2 message for another session may mean that its sender saw other nonces: show what this node saw.
    pub(super) fn other_session(&mut self, from: &NodeId, slot: Slot) -> Result<(), Error> {
        if slot == Slot::Round2
            && self.second.get(from).is_none()
            && matches!(self.phase, Phase::Dealt(_))
        {
            self.show_originals(1)?;
        }
        Err(Rejection::WrongSession.into())
    }

    /// Shows the originals of a complete round, once.
    pub(super) fn show_originals(&mut self, round: u8) -> Result<(), Error> {
        let Some(session) = self.session else {
            return Ok(());
        };
        let [shown_first, shown_second] = &mut self.has_shown;
        let (has_shown, originals) = match round {
            1 => (shown_first, Originals::new(session, &self.first)),
            _ if self.second.is_complete() => (shown_second, Originals::new(session, &self.second)),
            _ => return Ok(()),
        };
        if !mem::replace(has_shown, true) {
            let header = originals::shown_header(&self.plan, session, round, self.party.me);
            let bytes = Envelope::seal(&self.party.identity, &header, &originals.encode());
            self.outbox.push(Outbound {
                to: Recipient::Everyone,
                bytes,
            });
        }
        Ok(())
    }

    pub(super) fn start_comparing(
        &mut self,
        round: u8,
        suspects: BTreeSet<NodeId>,
        now_ms: u64,
    ) -> Result<(), Error> {
        self.show_originals(round)?;
        self.next_deadline(now_ms);
        self.phase = Phase::Comparing(suspects.clone());
        suspects
            .into_iter()
            .try_for_each(|node| self.compare(round, node))?;
        Ok(())
    }

    pub(super) fn place_originals(&mut self, envelope: Envelope) -> Result<(), Error> {
        let (round, from) = (envelope.header().round, envelope.header().from);
        let again = envelope.clone();
        let [first, second] = &mut self.shown;
        let shown = if round == 1 { first } else { second };
        match shown.insert(envelope, |_| Ok(())) {
            Insert::New => {
                self.compare(round, from)?;
                self.show_originals(round)
            }
            Insert::Same => Ok(()),
            Insert::Conflict(first) => Err(equivocated(&first, &again)),
            Insert::Malformed(_) => Err(Error::Unreachable("originals are kept undecoded")),
        }
    }

    /// Compares what a party has shown of a round with what this node holds, and with the echo that party has sent.
    ///
    /// A party may be ahead and show a round that is not complete here. Its echo is looked at when the round is.
    fn compare(&mut self, round: u8, node: NodeId) -> Result<(), Error> {
        let [first, second] = &self.shown;
        let shown = if round == 1 {
            first.get(&node)
        } else {
            second.get(&node)
        };
        let Some(shown) = shown.map(|signed| &signed.envelope) else {
            return Ok(());
        };
        let originals = Originals::decode(&self.plan, shown.body()).ok();
        let opened = originals
            .as_ref()
            .and_then(|originals| originals.open(&self.plan, round))
            .unwrap_or_default();
        if let Some(error) = opened
            .iter()
            .find_map(|theirs| self.contradicts(round, theirs))
        {
            self.show_originals(round)?;
            return Err(error);
        }
        let Some((claim, claimed)) = self.claim(round, &node) else {
            return Ok(());
        };
        if !self.is_complete(round) || claimed == self.echo(round)? {
            return Ok(());
        }
        let fault = Fault::EchoUnsupported {
            message: self.plan.kind(if round == 1 {
                Slot::Round1
            } else {
                Slot::Round2
            }),
        };
        let linked = shown.body().first_chunk() == Some(claim.header().session.as_bytes());
        Err(if linked {
            let evidence = judge::echo_evidence(&self.plan, &self.first, claim, shown);
            Abort::proven(node, fault, evidence).into()
        } else {
            Abort::local(node, fault).into()
        })
    }

    fn is_complete(&self, round: u8) -> bool {
        if round == 1 {
            self.first.is_complete()
        } else {
            self.second.is_complete()
        }
    }

    /// The proof that the sender of `theirs` has signed something else for this node.
    fn contradicts(&self, round: u8, theirs: &Envelope) -> Option<Error> {
        let from = &theirs.header().from;
        let ours = if round == 1 {
            &self.first.get(from)?.envelope
        } else {
            &self.second.get(from)?.envelope
        };
        (ours.header() == theirs.header() && ours.body() != theirs.body())
            .then(|| equivocated(ours, theirs))
    }

    /// The message of `node` with the echo of `round`, and that echo.
    fn claim(&self, round: u8, node: &NodeId) -> Option<(&Envelope, [u8; 32])> {
        if round == 1 {
            self.second
                .get(node)
                .map(|signed| (&signed.envelope, signed.message.echo))
        } else {
            self.third
                .get(node)
                .map(|signed| (&signed.envelope, signed.message.echo))
        }
    }
}
