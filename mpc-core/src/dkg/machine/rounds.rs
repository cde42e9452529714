//! What happens when a round is complete.

use core::mem;
use std::collections::{BTreeMap, BTreeSet};

use zeroize::Zeroizing;

use super::{Machine, Phase, Pulse, Stored};
use crate::dkg::ceremony::{Formed, Output};
use crate::dkg::certificate::{self, Certificate, Verdict};
use crate::dkg::collect::Signed;
use crate::dkg::complaint::Complaint;
use crate::dkg::finish::Finish;
use crate::dkg::pairing::{Letter, Pairing};
use crate::dkg::pending::{DkgCertificate, Pending, disagreeing_pair};
use crate::dkg::plan::{Slot, Task};
use crate::dkg::round2::Dealt;
use crate::dkg::round3::{self, Made, Received};
use crate::dkg::{judge, round1, round2};
use crate::envelope::{Envelope, Header, Recipient};
use crate::id::{NodeId, SessionId};
use crate::reshare::{self, Prepared};
use crate::session::{Outbound, Write, WriteKind};
use crate::{Abort, Error, Fault};

impl<G: Finish> Machine<G> {
    pub(super) fn next_deadline(&mut self, now_ms: u64) {
        self.deadline = now_ms.saturating_add(self.party.timeout_ms);
    }

    pub(super) fn close_round1(
        &mut self,
        committed: round1::Committed<G>,
        now_ms: u64,
    ) -> Result<(), Error> {
        let first = self.first.complete(&self.plan)?;
        let session = round1::session_id(&self.plan, &first);
        let (dealt, message) = committed.deal(&self.plan, session, &first)?;
        let echo = first.echo(session, 1);
        self.session = Some(session);
        self.phase = Phase::Dealt(Box::new(dealt));
        self.start_pairing(session, echo)?;
        self.next_deadline(now_ms);
        let own = self.broadcast(session, 2, &message.encode(&self.plan))?;
        self.second.insert(own, |_| Ok(message));
        for envelope in mem::take(&mut self.early) {
            let header = *envelope.header();
            if header.session == session {
                self.place(envelope)?;
            } else if self.plan.slot(header.kind) == Some(Slot::Round2) {
                self.show_originals(1)?;
            }
        }
        Ok(())
    }

    /// Answers what the peers offered in round 1.
    fn start_pairing(&mut self, session: SessionId, echo: [u8; 32]) -> Result<(), Error> {
        let me = self.party.me;
        let (mut nonces, mut offered) = (BTreeMap::new(), BTreeMap::new());
        for (node, signed) in self.first.iter() {
            nonces.insert(*node, signed.message.nonce);
            let peers = self.plan.roster.nodes().filter(|peer| peer != node);
            let offers = signed.message.receiving.iter();
            for (peer, offer) in peers.zip(offers.flat_map(|receiving| &receiving.pairs)) {
                offered.insert((*node, peer), *offer);
            }
        }
        // Everybody sees both flags of every pair, so everybody stops here and nobody waits for those who cannot go on.
        // A party names a pair of its own where there is one: it has to make another setup there.
        let differ = |((node, peer), offer): &(&(NodeId, NodeId), &round1::PairOffer)| {
            let reverse = offered.get(&(*peer, *node));
            !reverse.is_some_and(|reverse| {
                reverse.offer.is_some() == offer.offer.is_some()
                    && (offer.offer.is_none() || offer.generation < u32::MAX)
            })
        };
        let differing: Vec<(NodeId, NodeId)> = offered
            .iter()
            .filter(differ)
            .map(|(pair, _)| *pair)
            .collect();
        let own = differing.iter().find(|(node, _)| *node == me);
        if let Some((node, peer)) = own.or_else(|| differing.first()) {
            return Err(self.stale_pair(*node, *peer));
        }
        let Some(offers) = self.offers.take() else {
            return Ok(());
        };
        let about_me = offered
            .into_iter()
            .filter(|((_, peer), _)| *peer == me)
            .map(|((node, _), offer)| (node, offer));
        let theirs = about_me.collect();
        let (pairing, letters) =
            Pairing::start(&self.plan, me, session, echo, nonces, offers, theirs)?;
        self.pairing = Some(pairing);
        self.tell(letters)
    }

    /// Two nodes whose setups are not the same. Neither is accused of anything.
    fn stale_pair(&self, one: NodeId, other: NodeId) -> Error {
        let me = self.party.me;
        let fault = if one == me {
            Fault::StalePair { peer: other }
        } else if other == me {
            Fault::StalePair { peer: one }
        } else {
            let pair = Box::new((one.min(other), one.max(other)));
            Fault::PairsDiffer { pair }
        };
        Abort::unattributed(fault).into()
    }

    /// Signs and queues messages for single peers.
    pub(super) fn tell(&mut self, letters: Vec<Letter>) -> Result<(), Error> {
        let session = self.session.ok_or(Error::Unreachable(
            "a pair setup before the session has a name",
        ))?;
        for Letter { to, slot, body } in letters {
            let (to, kind) = (Recipient::One(to), self.plan.kind(slot));
            let header = Header {
                kind,
                session,
                round: 2,
                from: self.party.me,
                to,
            };
            let bytes = Envelope::seal(&self.party.identity, &header, &body);
            self.outbox.push(Outbound { to, bytes });
        }
        Ok(())
    }

    pub(super) fn close_round2(&mut self, dealt: &Dealt<G>, now_ms: u64) -> Result<(), Error> {
        let session = self
            .session
            .ok_or(Error::Unreachable("round 2 before the session has a name"))?;
        let echo = self.echo(1)?;
        let differs = |(node, signed): (&NodeId, &Signed<round2::Message<G>>)| {
            (signed.message.echo != echo).then_some(*node)
        };
        let suspects: BTreeSet<NodeId> = self.second.iter().filter_map(differs).collect();
        if !suspects.is_empty() {
            self.start_comparing(1, suspects, now_ms)?;
            return Ok(());
        }
        let (first, second) = (
            self.first.complete(&self.plan)?,
            self.second.complete(&self.plan)?,
        );
        for entry in second.iter().filter(|entry| entry.node != self.party.me) {
            let opened = first.of(&entry.node)?;
            let message = entry.message();
            let checked = message.check(&self.plan, session, &entry.node, &entry.seat, opened);
            checked.map_err(|fault| {
                let evidence =
                    judge::round2_evidence(&self.plan, &self.first, &entry.signed.envelope);
                Abort::proven(entry.node, fault, evidence)
            })?;
        }
        let receiver = round3::Receiver {
            plan: &self.plan,
            session,
            me: self.party.me,
            first: &first,
            second: &second,
        };
        let outcome = receiver.receive(dealt)?;
        let echo = second.echo(session, 2);
        match outcome {
            Received::Complain(complaint) => self.complain(session, echo, complaint),
            Received::Certify(made) => {
                self.phase = Phase::Prepared(made, echo);
                self.next_deadline(now_ms);
                Ok(())
            }
        }
    }

    /// Sends the complaint as this session's last words.
    fn complain(
        &mut self,
        session: SessionId,
        echo: [u8; 32],
        complaint: Box<Complaint>,
    ) -> Result<(), Error> {
        let accused = complaint.accused;
        let message = certificate::Message {
            echo,
            verdict: Verdict::Complaint(complaint),
        };
        let own = self.broadcast(session, 3, &message.encode(&self.plan))?;
        let evidence = judge::round3_evidence(&self.plan, &self.first, Some(&self.second), &own);
        Err(Abort::proven(accused, Fault::InvalidShare, evidence).into())
    }

    /// Signs the transcript. The signature leaves when the share is stored.
    pub(super) fn certify(
        &mut self,
        echo: [u8; 32],
        made: Made<G>,
        now_ms: u64,
    ) -> Result<Pulse, Error> {
        let session = self
            .session
            .ok_or(Error::Unreachable("round 3 before the session has a name"))?;
        let pairs = self
            .pairing
            .as_ref()
            .map(Pairing::names)
            .unwrap_or_default();
        let (transcript, messages) = (made.agreed.transcript, made.agreed.messages);
        let seat = self.party.seat;
        let (package, share) = made.finish(&self.plan, seat.receiver)?;
        let certificate =
            Certificate::sign(&self.plan, &seat, &self.party.identity, transcript, pairs);
        let message = certificate::Message {
            echo,
            verdict: Verdict::Certificate(certificate),
        };
        let own = self.broadcast(session, 3, &message.encode(&self.plan))?;
        let stored = Box::new(Stored {
            package,
            share,
            transcript,
            messages,
        });
        let pending = self.pending(&stored, own.as_bytes())?;
        self.third.insert(own, |_| Ok(message));
        self.phase = Phase::Certified(stored);
        self.next_deadline(now_ms);
        // Round-3 messages that came early are looked at after the write.
        self.due = self.third.iter().count() > 1;
        Ok(Pulse {
            write: Write::new(WriteKind::Share, pending),
            output: None,
        })
    }

    /// What has to be durable before this node's part of the certificate leaves.
    fn pending(&self, stored: &Stored, part: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let records = self.pairing.iter().flat_map(Pairing::records);
        match (&self.plan.task, &stored.share) {
            (Task::Reshare(request), share) => {
                let facts = reshare::Facts {
                    request,
                    package: &stored.package,
                    messages: &stored.messages,
                };
                Ok(Prepared::encode(&facts, part, share.as_ref(), records))
            }
            (Task::Generate | Task::Import(_), Some(share)) => Ok(Pending::encode(
                &self.plan.roster,
                &stored.transcript,
                part,
                share,
                records,
            )),
            // The dealer of an import keeps nothing.
            (Task::Generate | Task::Import(_), None) => Ok(Zeroizing::new(Vec::new())),
        }
    }

    /// Judges the round-3 messages that have come. Those whose echo differs are returned, if there are any.
    pub(super) fn judge_round3(
        &self,
        transcript: &[u8; 32],
    ) -> Result<Option<BTreeSet<NodeId>>, Error> {
        let session = self
            .session
            .ok_or(Error::Unreachable("round 3 before the session has a name"))?;
        let echo = self.echo(2)?;
        let mut suspects = BTreeSet::new();
        for (node, signed) in self
            .third
            .iter()
            .filter(|(node, _)| !self.accepted.contains(node))
        {
            if signed.message.echo != echo {
                suspects.insert(*node);
                continue;
            }
            let verdict = match &signed.message.verdict {
                Verdict::Certificate(certificate) => {
                    let checked =
                        judge::check_certificate(&self.plan, *node, certificate, transcript);
                    checked.err().map(|fault| (*node, fault))
                }
                Verdict::Complaint(complaint) => {
                    let (first, second) = (
                        self.first.complete(&self.plan)?,
                        self.second.complete(&self.plan)?,
                    );
                    Some(complaint.judge(&self.plan, session, *node, &first, &second)?)
                }
            };
            if let Some((culprit, fault)) = verdict {
                let evidence = judge::round3_evidence(
                    &self.plan,
                    &self.first,
                    Some(&self.second),
                    &signed.envelope,
                );
                return Err(Abort::proven(culprit, fault, evidence).into());
            }
        }
        Ok((!suspects.is_empty()).then_some(suspects))
    }

    /// Two parties that do not name the same setup for their pair.
    fn check_pairs(&self) -> Result<(), Error> {
        let holdings = self.certificates().filter_map(|(node, certificate)| {
            let holding = certificate.holding.clone();
            holding.map(|holding| (node, holding))
        });
        match disagreeing_pair(&self.plan.roster, &holdings.collect()) {
            None => Ok(()),
            Some((one, other)) => Err(self.stale_pair(one, other)),
        }
    }

    /// The certificates that have come, by node.
    fn certificates(&self) -> impl Iterator<Item = (NodeId, &Certificate)> {
        self.third
            .iter()
            .filter_map(|(node, signed)| match &signed.message.verdict {
                Verdict::Certificate(certificate) => Some((*node, certificate)),
                Verdict::Complaint(_) => None,
            })
    }

    pub(super) fn check_round3(
        &mut self,
        stored: Box<Stored>,
        now_ms: u64,
    ) -> Result<Option<Pulse>, Error> {
        if let Some(suspects) = self.judge_round3(&stored.transcript)? {
            self.start_comparing(2, suspects, now_ms)?;
            return Ok(None);
        }
        if !self.third.is_complete() {
            self.accepted = self.third.iter().map(|(node, _)| *node).collect();
            self.phase = Phase::Certified(stored);
            return Ok(None);
        }
        self.check_pairs()?;
        let stored = *stored;
        let (certificate, bytes) = self.form(&stored)?;
        let write = Write::new(WriteKind::Certificate, Zeroizing::new(bytes));
        self.phase = Phase::Finished;
        Ok(Some(Pulse {
            write,
            output: Some(Output {
                share: stored.share,
                certificate,
                pairs: self
                    .pairing
                    .take()
                    .map(Pairing::into_records)
                    .unwrap_or_default(),
            }),
        }))
    }

    /// Puts the certificate together from parts that have been checked one by one.
    fn form(&self, stored: &Stored) -> Result<(Formed, Vec<u8>), Error> {
        if let Task::Reshare(request) = &self.plan.task {
            let parts = self
                .certificates()
                .map(|(node, certificate)| reshare::Part {
                    node,
                    holding: certificate.holding.clone(),
                    dealing: certificate.dealing,
                });
            let facts = reshare::Facts {
                request,
                package: &stored.package,
                messages: &stored.messages,
            };
            let certificate = reshare::Certificate::collected(&facts, parts);
            let bytes = certificate.encode();
            return Ok((Formed::Reshared(Box::new(certificate)), bytes));
        }
        let members = |(node, _): &(&NodeId, &Signed<certificate::Message>)| {
            self.plan.roster.get(node).is_some()
        };
        let parts = self
            .third
            .iter()
            .filter(members)
            .map(|(node, signed)| (*node, signed.envelope.as_bytes().to_vec()));
        let certificate = DkgCertificate::collected(stored.transcript, parts.collect());
        let bytes = certificate.encode();
        Ok((Formed::New(certificate), bytes))
    }
}
