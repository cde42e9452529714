//! The machine: routes messages to rounds, keeps deadlines, and turns faults into evidence.

mod compare;
mod rounds;

use core::mem;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::ceremony::{Dealing, Output};
use super::certificate::{self, Form};
use super::collect::{Collect, Insert};
use super::finish::Finish;
use super::originals;
use super::pairing::{Offers, Pairing};
use super::plan::{Plan, Seat, Slot};
use super::round2::Dealt;
use super::round3::Made;
use super::{PairStatus, judge, round1, round2};
use crate::codec::DecodeError;
use crate::envelope::{Envelope, Header, Recipient};
use crate::evidence::Evidence;
use crate::id::{NodeId, SessionId};
use crate::identity::IdentityKey;
use crate::keys::{KeyShare, PublicKeyPackage};
use crate::session::{Effects, Inbound, Outbound, Step, Write, WriteKind};
use crate::{Abort, Error, Fault, Rejection};

/// How many messages of one sender are kept while the session they name is not known yet.
const MAX_EARLY: usize = 9;

/// How many bytes of such messages of one sender are kept: several times what the largest committee's round takes.
const MAX_EARLY_BYTES: usize = 1 << 18;

/// This node's part in the session.
#[derive(Debug)]
pub(super) struct Party {
    pub(super) me: NodeId,
    pub(super) seat: Seat,
    pub(super) identity: Arc<IdentityKey>,
    pub(super) timeout_ms: u64,
}

/// Where the session is. The state of a round is consumed by going on.
#[derive(Debug)]
enum Phase<G: Finish> {
    /// Round 1 is out.
    Committed(Box<round1::Committed<G>>),
    /// Round 2 is out.
    Dealt(Box<Dealt<G>>),
    /// All shares are right; the new pair setups are being tried. What was made, and the echo of round 2.
    Prepared(Box<Made<G>>, [u8; 32]),
    /// Round 3 is out, the share is stored.
    Certified(Box<Stored>),
    /// The echoes of a round differ: waiting for the originals of these parties.
    Comparing(BTreeSet<NodeId>),
    /// Over: the error that every call answers with.
    Failed(Error),
    /// Over: the output is out.
    Finished,
}

/// What is stored when round 3 leaves.
#[derive(Debug)]
struct Stored {
    package: PublicKeyPackage,
    share: Option<KeyShare>,
    transcript: [u8; 32],
    messages: [u8; 32],
}

#[derive(Debug)]
pub(super) struct Machine<G: Finish> {
    pub(super) plan: Plan,
    party: Party,
    pub(super) session: Option<SessionId>,
    first: Collect<round1::Message>,
    second: Collect<round2::Message<G>>,
    third: Collect<certificate::Message>,
    /// What others have shown, for round 1 and round 2.
    shown: [Collect<()>; 2],
    /// Whether this node has shown its originals of round 1 and round 2.
    has_shown: [bool; 2],
    /// What this node offers its peers for pair setups, until round 1 is complete.
    offers: Option<Offers>,
    /// The pair setups in the making, from then on.
    pairing: Option<Pairing>,
    /// Authenticated messages for a session whose name is not known yet.
    early: Vec<Envelope>,
    /// Parties whose part of the certificate has been checked.
    accepted: BTreeSet<NodeId>,
    phase: Phase<G>,
    deadline: u64,
    outbox: Vec<Outbound>,
    /// There is something to do that needs no further message.
    due: bool,
}

impl<G: Finish> Machine<G> {
    pub(super) fn start(
        plan: Plan,
        party: Party,
        dealing: &Dealing,
        pairs: BTreeMap<NodeId, PairStatus>,
        rng: &mut impl CryptoRng,
        now_ms: u64,
    ) -> Result<(Self, Step<Output>), Error> {
        let offers = if plan.purpose.needs_pairs() && party.seat.receiver.is_some() {
            let peers = plan.roster.nodes().filter(|node| *node != party.me);
            Some(Offers::draw(pairs, peers, rng)?)
        } else {
            None
        };
        let offered = offers.as_ref().map(Offers::public).unwrap_or_default();
        let constant = dealing.constant::<G>(&plan, &party.me)?;
        let (committed, message) =
            round1::Committed::start(&plan, party.seat, constant.as_ref(), offered, rng)?;
        let parties = plan.participants();
        let mut machine = Self {
            session: None,
            first: Collect::new(parties),
            second: Collect::new(parties),
            third: Collect::new(parties),
            shown: [Collect::new(parties), Collect::new(parties)],
            has_shown: [false; 2],
            offers,
            pairing: None,
            early: Vec::new(),
            accepted: BTreeSet::new(),
            phase: Phase::Committed(Box::new(committed)),
            deadline: now_ms.saturating_add(party.timeout_ms),
            outbox: Vec::new(),
            due: false,
            plan,
            party,
        };
        let own = machine.broadcast(machine.plan.ssid0, 1, &message.encode())?;
        machine.first.insert(own, |_| Ok(message));
        let name = Zeroizing::new(machine.plan.ssid0.as_bytes().to_vec());
        let step = Step::after(Write::new(WriteKind::Replay, name), machine.effects(None));
        Ok((machine, step))
    }

    pub(super) fn handle(&mut self, input: &Inbound, now_ms: u64) -> Result<Step<Output>, Error> {
        match &self.phase {
            Phase::Failed(error) => return Err(error.clone()),
            Phase::Finished => return Err(Rejection::Finished.into()),
            Phase::Committed(_)
            | Phase::Dealt(_)
            | Phase::Prepared(..)
            | Phase::Certified(_)
            | Phase::Comparing(_) => {}
        }
        if now_ms >= self.deadline {
            return self.time_out();
        }
        let envelope = self.authenticate(input)?;
        let result = self.accept(envelope).and_then(|()| self.advance(now_ms));
        self.conclude(result)
    }

    pub(super) fn tick(&mut self, now_ms: u64) -> Result<Step<Output>, Error> {
        match &self.phase {
            Phase::Failed(error) => {
                self.due = false;
                return Err(error.clone());
            }
            Phase::Finished => return Ok(Step::idle()),
            Phase::Committed(_)
            | Phase::Dealt(_)
            | Phase::Prepared(..)
            | Phase::Certified(_)
            | Phase::Comparing(_) => {}
        }
        if now_ms >= self.deadline {
            return self.time_out();
        }
        self.due = false;
        let result = self.advance(now_ms);
        self.conclude(result)
    }

    pub(super) fn deadline_ms(&self) -> Option<u64> {
        match &self.phase {
            _ if self.due || !self.outbox.is_empty() => Some(0),
            Phase::Failed(_) | Phase::Finished => None,
            Phase::Committed(_)
            | Phase::Dealt(_)
            | Phase::Prepared(..)
            | Phase::Certified(_)
            | Phase::Comparing(_) => Some(self.deadline),
        }
    }

    pub(super) fn waiting_for(&self) -> BTreeSet<NodeId> {
        fn missing<M>(plan: &Plan, round: &Collect<M>) -> BTreeSet<NodeId> {
            plan.missing(|node| round.get(node).is_some())
        }
        match &self.phase {
            Phase::Committed(_) => missing(&self.plan, &self.first),
            Phase::Dealt(_) => missing(&self.plan, &self.second),
            Phase::Prepared(..) => self
                .pairing
                .as_ref()
                .map(Pairing::waiting_for)
                .unwrap_or_default(),
            Phase::Certified(_) => missing(&self.plan, &self.third),
            Phase::Comparing(suspects) => suspects.clone(),
            Phase::Failed(_) | Phase::Finished => BTreeSet::new(),
        }
    }

    /// Ends the session because of silence. The secrets of the round are wiped with its state; a stored share stays.
    fn time_out(&mut self) -> Result<Step<Output>, Error> {
        let error = Error::TimedOut {
            missing: self.waiting_for(),
        };
        self.outbox.clear();
        self.fail(error.clone());
        Err(error)
    }

    fn fail(&mut self, error: Error) {
        self.due = false;
        self.early.clear();
        self.phase = Phase::Failed(error);
    }

    /// Turns the result of an input into a step. An error that ends the session is reported at once, or, if there are last
    /// words to be sent, at the next tick, which is due at once.
    fn conclude(&mut self, result: Result<Option<Pulse>, Error>) -> Result<Step<Output>, Error> {
        match result {
            Ok(None) => Ok(Step::now(self.effects(None))),
            Ok(Some(Pulse { write, output })) => Ok(Step::after(write, self.effects(output))),
            Err(Error::Rejected(rejection)) => Err(rejection.into()),
            Err(error) => {
                self.fail(error.clone());
                if self.outbox.is_empty() {
                    return Err(error);
                }
                self.due = true;
                Ok(Step::now(self.effects(None)))
            }
        }
    }

    fn effects(&mut self, output: Option<Output>) -> Effects<Output> {
        Effects {
            send: mem::take(&mut self.outbox),
            output,
        }
    }

    /// Signs a broadcast, queues it, and returns it as received by this node itself.
    fn broadcast(&mut self, session: SessionId, round: u8, body: &[u8]) -> Result<Envelope, Error> {
        let header = originals::header(&self.plan, session, round, self.party.me);
        let header = header.ok_or(Error::Unreachable("a round that does not exist"))?;
        let own = Envelope::sealed(&self.party.identity, header, body);
        self.outbox.push(Outbound {
            to: Recipient::Everyone,
            bytes: own.as_bytes().to_vec(),
        });
        Ok(own)
    }

    fn authenticate(&self, input: &Inbound) -> Result<Envelope, Error> {
        let envelope = self.plan.open(&input.bytes)?;
        let header = envelope.header();
        if header.from != input.from || header.from == self.party.me {
            return Err(Rejection::WrongSender.into());
        }
        let pairwise = self.plan.slot(header.kind).is_some_and(Slot::is_pairwise);
        let to = if pairwise {
            Recipient::One(self.party.me)
        } else {
            Recipient::Everyone
        };
        if header.to != to {
            return Err(Rejection::WrongRecipient.into());
        }
        Ok(envelope)
    }

    /// Puts a message into its place.
    fn accept(&mut self, envelope: Envelope) -> Result<(), Error> {
        let header = *envelope.header();
        match (self.plan.slot(header.kind), header.round) {
            (Some(Slot::Round1 | Slot::Originals), 1) => {
                if header.session != self.plan.ssid0 {
                    return Err(Rejection::WrongSession.into());
                }
            }
            (
                Some(
                    slot @ (Slot::Round2
                    | Slot::Originals
                    | Slot::Reply
                    | Slot::TrialExtension
                    | Slot::TrialMultiply),
                ),
                2,
            )
            | (Some(slot @ Slot::Round3), 3) => match self.session {
                None => return self.keep_early(envelope),
                Some(session) if session == header.session => {}
                Some(_) => return self.other_session(&header.from, slot),
            },
            _ => return Err(Rejection::Unexpected { kind: header.kind }.into()),
        }
        self.place(envelope)
    }

    fn keep_early(&mut self, envelope: Envelope) -> Result<(), Error> {
        let header = envelope.header();
        let held = self
            .early
            .iter()
            .filter(|other| other.header().from == header.from);
        if let Some(first) = held.clone().find(|other| other.header() == header) {
            return if first.body() == envelope.body() {
                Ok(())
            } else {
                Err(equivocated(first, &envelope))
            };
        }
        let bytes = held.clone().map(|other| other.as_bytes().len());
        let bytes = bytes.fold(envelope.as_bytes().len(), usize::saturating_add);
        if held.count() >= MAX_EARLY || bytes > MAX_EARLY_BYTES {
            return Err(Rejection::BufferFull.into());
        }
        self.early.push(envelope);
        Ok(())
    }

    /// Puts a message of this session into its place, and judges what can be judged from it alone.
    fn place(&mut self, envelope: Envelope) -> Result<(), Error> {
        let plan = &self.plan;
        let accused = envelope.clone();
        let Header { kind, from, .. } = *accused.header();
        let insert = match plan.slot(kind) {
            Some(Slot::Round1) => self
                .first
                .insert(envelope, |body| round1::Message::decode(plan, &from, body)),
            Some(Slot::Round2) => self
                .second
                .insert(envelope, |body| round2::Message::decode(plan, &from, body)),
            Some(Slot::Round3) => self.third.insert(envelope, |body| {
                certificate::Message::decode(Form::of(plan, &from), body)
            }),
            Some(Slot::Originals) => return self.place_originals(envelope),
            Some(slot @ (Slot::Reply | Slot::TrialExtension | Slot::TrialMultiply)) => {
                return self.place_pairwise(&envelope, slot);
            }
            None => return Err(Rejection::Unexpected { kind }.into()),
        };
        match insert {
            Insert::New | Insert::Same => Ok(()),
            Insert::Conflict(first) => Err(equivocated(&first, &accused)),
            Insert::Malformed(error) => Err(self.malformed(&accused, error)),
        }
    }

    /// A message about the setup with one peer. What it says is between the two, so a fault in it is seen by this node only.
    fn place_pairwise(&mut self, envelope: &Envelope, slot: Slot) -> Result<(), Error> {
        let (from, kind) = (envelope.header().from, envelope.header().kind);
        let pairing = self.pairing.as_mut().filter(|pairing| pairing.makes(&from));
        let Some(pairing) = pairing else {
            return Err(Rejection::Unexpected { kind }.into());
        };
        let accepted = pairing.accept(&from, slot, envelope.body());
        accepted.map_err(|error| {
            let message = kind;
            Abort::local(from, Fault::Malformed { message, error }).into()
        })
    }

    fn malformed(&self, accused: &Envelope, error: DecodeError) -> Error {
        let message = accused.header().kind;
        let evidence = match self.plan.slot(message) {
            Some(Slot::Round1) => judge::round1_evidence(&self.plan, accused),
            Some(Slot::Round2) => judge::round2_evidence(&self.plan, &self.first, accused),
            _ => judge::round3_evidence::<()>(&self.plan, &self.first, None, accused),
        };
        Abort::proven(
            accused.header().from,
            Fault::Malformed { message, error },
            evidence,
        )
        .into()
    }

    /// This node's own echo of a complete round.
    fn echo(&self, round: u8) -> Result<[u8; 32], Error> {
        let session = self
            .session
            .ok_or(Error::Unreachable("an echo before the session has a name"))?;
        if round == 1 {
            Ok(self.first.complete(&self.plan)?.echo(session, 1))
        } else {
            Ok(self.second.complete(&self.plan)?.echo(session, 2))
        }
    }

    /// Goes on as far as the messages held allow, and stops at a write.
    fn advance(&mut self, now_ms: u64) -> Result<Option<Pulse>, Error> {
        loop {
            if let Some(pairing) = &mut self.pairing {
                let letters = pairing.advance()?;
                self.tell(letters)?;
            }
            // While a transition runs the session counts as failed, so that none can be half done and go on.
            let between = Phase::Failed(Error::Unreachable("a transition was interrupted"));
            match mem::replace(&mut self.phase, between) {
                Phase::Committed(committed) if self.first.is_complete() => {
                    self.close_round1(*committed, now_ms)?;
                }
                Phase::Dealt(dealt) if self.second.is_complete() => {
                    self.close_round2(&dealt, now_ms)?;
                }
                Phase::Prepared(made, echo) => {
                    if let Some(suspects) = self.judge_round3(&made.agreed.transcript)? {
                        self.start_comparing(2, suspects, now_ms)?;
                    } else if let Some(failure) = self.pairing.as_ref().and_then(Pairing::failure) {
                        return Err(failure.clone().into());
                    } else if self.pairing.as_ref().is_none_or(Pairing::is_done) {
                        return self.certify(echo, *made, now_ms).map(Some);
                    } else {
                        self.phase = Phase::Prepared(made, echo);
                        return Ok(None);
                    }
                }
                Phase::Certified(stored) => {
                    return self.check_round3(stored, now_ms);
                }
                phase => {
                    self.phase = phase;
                    return Ok(None);
                }
            }
        }
    }
}

/// A step with a write.
#[derive(Debug)]
struct Pulse {
    write: Write,
    output: Option<Output>,
}

fn equivocated(first: &Envelope, second: &Envelope) -> Error {
    let fault = Fault::Equivocated {
        message: first.header().kind,
    };
    Abort::proven(
        first.header().from,
        fault,
        Evidence::equivocation(first, second),
    )
    .into()
}
