//! The session: routes messages to rounds, keeps deadlines, and turns faults into evidence.

mod compare;

use core::mem;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::collect::{Collect, Insert};
use super::complaint::Complaint;
use super::originals;
use super::pairing::{Letter, Offers, Pairing};
use super::pending::{DkgCertificate, Pending, disagreeing_pair};
use super::round2::Dealt;
use super::round3::{self, Finish, Outcome, Verdict};
use super::{DkgOutput, PairStatus, Plan, Setup, judge, round1, round2};
use crate::codec::DecodeError;
use crate::envelope::{Envelope, Header, Kind, Recipient};
use crate::evidence::Evidence;
use crate::group::{Ed25519, Secp256k1};
use crate::id::{NodeId, PartyIndex, SessionId, Suite};
use crate::identity::IdentityKey;
use crate::keys::KeyShare;
use crate::session::{self, Effects, Inbound, Outbound, Step, Write, WriteKind};
use crate::{Abort, Error, Fault, Misuse, Rejection};

/// How many messages of one sender are kept while the session they name is not known yet.
const MAX_EARLY: usize = 9;

/// How many bytes of such messages of one sender are kept: several times what the largest committee's round takes.
const MAX_EARLY_BYTES: usize = 1 << 18;

/// A key generation of one node.
#[derive(Debug)]
pub struct Session(Curve);

#[derive(Debug)]
enum Curve {
    Ed25519(Box<Machine<Ed25519>>),
    Secp256k1(Box<Machine<Secp256k1>>),
}

impl Session {
    /// Starts a key generation. The first step waits for the write of the session's name ([`WriteKind::Replay`]); a store
    /// that holds that name already must refuse it, and the session is abandoned.
    ///
    /// Every round may take `timeout_ms`. All randomness is drawn here.
    ///
    /// # Errors
    /// [`Misuse`] when the setup contradicts itself or the purpose is not supported.
    pub fn start(
        setup: Setup,
        identity: Arc<IdentityKey>,
        rng: &mut impl CryptoRng,
        now_ms: u64,
        timeout_ms: u64,
    ) -> Result<(Self, Step<DkgOutput>), Error> {
        if usize::from(setup.params.parties()) != setup.roster.len() {
            return Err(
                Misuse::InvalidRoster("the roster and the parameters differ in size").into(),
            );
        }
        if identity.public().node_id() != setup.me {
            return Err(Misuse::IdentityMismatch.into());
        }
        let index = setup.roster.index(&setup.me).ok_or(Misuse::NotAMember)?;
        let (threshold, me) = (setup.params.threshold(), setup.me);
        let plan = Plan::new(
            setup.roster,
            setup.purpose,
            threshold,
            setup.request_id,
            setup.attempt,
        )?;
        let party = Party {
            me,
            index,
            identity,
            timeout_ms,
        };
        let pairs = setup.pairs;
        let (curve, step) = match plan.purpose.suite() {
            Suite::Ed25519 => {
                let (machine, step) = Machine::start(plan, party, pairs, rng, now_ms)?;
                (Curve::Ed25519(Box::new(machine)), step)
            }
            Suite::Secp256k1 => {
                let (machine, step) = Machine::start(plan, party, pairs, rng, now_ms)?;
                (Curve::Secp256k1(Box::new(machine)), step)
            }
        };
        Ok((Self(curve), step))
    }

    /// The name of the session before round 1 is complete: what the replay cache holds, and the session in the headers of
    /// round 1.
    #[must_use]
    pub const fn first_name(&self) -> SessionId {
        match &self.0 {
            Curve::Ed25519(machine) => machine.plan.ssid0,
            Curve::Secp256k1(machine) => machine.plan.ssid0,
        }
    }

    /// The name of the session once round 1 is complete.
    #[must_use]
    pub const fn name(&self) -> Option<SessionId> {
        match &self.0 {
            Curve::Ed25519(machine) => machine.session,
            Curve::Secp256k1(machine) => machine.session,
        }
    }
}

impl session::Session for Session {
    type Output = DkgOutput;

    fn handle(&mut self, input: Inbound, now_ms: u64) -> Result<Step<DkgOutput>, Error> {
        match &mut self.0 {
            Curve::Ed25519(machine) => machine.handle(&input, now_ms),
            Curve::Secp256k1(machine) => machine.handle(&input, now_ms),
        }
    }

    fn tick(&mut self, now_ms: u64) -> Result<Step<DkgOutput>, Error> {
        match &mut self.0 {
            Curve::Ed25519(machine) => machine.tick(now_ms),
            Curve::Secp256k1(machine) => machine.tick(now_ms),
        }
    }

    fn deadline_ms(&self) -> Option<u64> {
        match &self.0 {
            Curve::Ed25519(machine) => machine.deadline_ms(),
            Curve::Secp256k1(machine) => machine.deadline_ms(),
        }
    }

    fn waiting_for(&self) -> BTreeSet<NodeId> {
        match &self.0 {
            Curve::Ed25519(machine) => machine.waiting_for(),
            Curve::Secp256k1(machine) => machine.waiting_for(),
        }
    }
}

/// This node's part in the session.
#[derive(Debug)]
struct Party {
    me: NodeId,
    index: PartyIndex,
    identity: Arc<IdentityKey>,
    timeout_ms: u64,
}

/// Where the session is. The state of a round is consumed by going on.
#[derive(Debug)]
enum Phase<G: Finish> {
    /// Round 1 is out.
    Committed(Box<round1::Committed<G>>),
    /// Round 2 is out.
    Dealt(Box<Dealt<G>>),
    /// All shares are right; the new pair setups are being tried. Share, transcript and the echo of round 2.
    Prepared(Box<KeyShare>, [u8; 32], [u8; 32]),
    /// Round 3 is out, the share is stored.
    Certified(Box<KeyShare>, [u8; 32]),
    /// The echoes of a round differ: waiting for the originals of these parties.
    Comparing(BTreeSet<NodeId>),
    /// Over: the error that every call answers with.
    Failed(Error),
    /// Over: the output is out.
    Finished,
}

#[derive(Debug)]
struct Machine<G: Finish> {
    plan: Plan,
    party: Party,
    session: Option<SessionId>,
    first: Collect<round1::Message>,
    second: Collect<round2::Message<G>>,
    third: Collect<round3::Message>,
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
    fn start(
        plan: Plan,
        party: Party,
        pairs: BTreeMap<NodeId, PairStatus>,
        rng: &mut impl CryptoRng,
        now_ms: u64,
    ) -> Result<(Self, Step<DkgOutput>), Error> {
        let offers = if plan.purpose.needs_pairs() {
            let peers = plan.roster.nodes().filter(|node| *node != party.me);
            Some(Offers::draw(pairs, peers, rng)?)
        } else {
            None
        };
        let offered = offers.as_ref().map(Offers::public).unwrap_or_default();
        let (committed, message) = round1::Committed::start(&plan, party.index, offered, rng);
        let parties = plan.parties();
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

    fn handle(&mut self, input: &Inbound, now_ms: u64) -> Result<Step<DkgOutput>, Error> {
        match &self.phase {
            Phase::Failed(error) => return Err(error.clone()),
            Phase::Finished => return Err(Rejection::Finished.into()),
            Phase::Committed(_)
            | Phase::Dealt(_)
            | Phase::Prepared(..)
            | Phase::Certified(..)
            | Phase::Comparing(_) => {}
        }
        if now_ms >= self.deadline {
            return self.time_out();
        }
        let envelope = self.authenticate(input)?;
        let result = self.accept(envelope).and_then(|()| self.advance(now_ms));
        self.conclude(result)
    }

    fn tick(&mut self, now_ms: u64) -> Result<Step<DkgOutput>, Error> {
        match &self.phase {
            Phase::Failed(error) => {
                self.due = false;
                return Err(error.clone());
            }
            Phase::Finished => return Ok(Step::idle()),
            Phase::Committed(_)
            | Phase::Dealt(_)
            | Phase::Prepared(..)
            | Phase::Certified(..)
            | Phase::Comparing(_) => {}
        }
        if now_ms >= self.deadline {
            return self.time_out();
        }
        self.due = false;
        let result = self.advance(now_ms);
        self.conclude(result)
    }

    fn deadline_ms(&self) -> Option<u64> {
        match &self.phase {
            _ if self.due || !self.outbox.is_empty() => Some(0),
            Phase::Failed(_) | Phase::Finished => None,
            Phase::Committed(_)
            | Phase::Dealt(_)
            | Phase::Prepared(..)
            | Phase::Certified(..)
            | Phase::Comparing(_) => Some(self.deadline),
        }
    }

    fn waiting_for(&self) -> BTreeSet<NodeId> {
        fn missing<M>(plan: &Plan, round: &Collect<M>) -> BTreeSet<NodeId> {
            plan.roster
                .nodes()
                .filter(|node| round.get(node).is_none())
                .collect()
        }
        match &self.phase {
            Phase::Committed(_) => missing(&self.plan, &self.first),
            Phase::Dealt(_) => missing(&self.plan, &self.second),
            Phase::Prepared(..) => self
                .pairing
                .as_ref()
                .map(Pairing::waiting_for)
                .unwrap_or_default(),
            Phase::Certified(..) => missing(&self.plan, &self.third),
            Phase::Comparing(suspects) => suspects.clone(),
            Phase::Failed(_) | Phase::Finished => BTreeSet::new(),
        }
    }

    /// Ends the session because of silence. The secrets of the round are wiped with its state; a stored share stays.
    fn time_out(&mut self) -> Result<Step<DkgOutput>, Error> {
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
    fn conclude(&mut self, result: Result<Option<Pulse>, Error>) -> Result<Step<DkgOutput>, Error> {
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

    fn effects(&mut self, output: Option<DkgOutput>) -> Effects<DkgOutput> {
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
        let envelope = Envelope::open(&self.plan.roster, &input.bytes)?;
        let header = envelope.header();
        if header.from != input.from || header.from == self.party.me {
            return Err(Rejection::WrongSender.into());
        }
        let to = if is_pairwise(header.kind) {
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
        match (header.kind, header.round) {
            (Kind::DkgRound1, 1) | (Kind::DkgOriginals, 1) => {
                if header.session != self.plan.ssid0 {
                    return Err(Rejection::WrongSession.into());
                }
            }
            (
                Kind::DkgRound2
                | Kind::DkgOriginals
                | Kind::DkgReply
                | Kind::DkgTrialExtension
                | Kind::DkgTrialMultiply,
                2,
            )
            | (Kind::DkgRound3, 3) => match self.session {
                None => return self.keep_early(envelope),
                Some(session) if session == header.session => {}
                Some(_) => return self.other_session(&header.from, header.kind),
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
        if is_pairwise(envelope.header().kind) {
            return self.place_pairwise(&envelope);
        }
        let plan = &self.plan;
        let accused = envelope.clone();
        let insert = match accused.header().kind {
            Kind::DkgRound1 => self
                .first
                .insert(envelope, |body| round1::Message::decode(plan, body)),
            Kind::DkgRound2 => self
                .second
                .insert(envelope, |body| round2::Message::decode(plan, body)),
            Kind::DkgRound3 => self.third.insert(envelope, |body| {
                round3::Message::decode(plan.paired_peers(), body)
            }),
            Kind::DkgOriginals => return self.place_originals(envelope),
            kind => return Err(Rejection::Unexpected { kind }.into()),
        };
        match insert {
            Insert::New | Insert::Same => Ok(()),
            Insert::Conflict(first) => Err(equivocated(&first, &accused)),
            Insert::Malformed(error) => Err(self.malformed(&accused, error)),
        }
    }

    /// A message about the setup with one peer. What it says is between the two, so a fault in it is seen by this node only.
    fn place_pairwise(&mut self, envelope: &Envelope) -> Result<(), Error> {
        let (from, kind) = (envelope.header().from, envelope.header().kind);
        let pairing = self.pairing.as_mut().filter(|pairing| pairing.makes(&from));
        let Some(pairing) = pairing else {
            return Err(Rejection::Unexpected { kind }.into());
        };
        let accepted = pairing.accept(&from, kind, envelope.body());
        accepted.map_err(|error| {
            let message = kind;
            Abort::local(from, Fault::Malformed { message, error }).into()
        })
    }

    fn malformed(&self, accused: &Envelope, error: DecodeError) -> Error {
        let message = accused.header().kind;
        let evidence = match message {
            Kind::DkgRound1 => judge::round1_evidence(&self.plan, accused),
            Kind::DkgRound2 => judge::round2_evidence(&self.plan, &self.first, accused),
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
            Ok(self.first.complete(&self.plan.roster)?.echo(session, 1))
        } else {
            Ok(self.second.complete(&self.plan.roster)?.echo(session, 2))
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
                Phase::Prepared(share, transcript, echo) => {
                    if let Some(suspects) = self.judge_round3(&transcript)? {
                        self.start_comparing(2, suspects, now_ms)?;
                    } else if let Some(failure) = self.pairing.as_ref().and_then(Pairing::failure) {
                        return Err(failure.clone().into());
                    } else if self.pairing.as_ref().is_none_or(Pairing::is_done) {
                        return self.certify(echo, share, transcript, now_ms).map(Some);
                    } else {
                        self.phase = Phase::Prepared(share, transcript, echo);
                        return Ok(None);
                    }
                }
                Phase::Certified(share, transcript) => {
                    return self.check_round3(share, transcript, now_ms);
                }
                phase => {
                    self.phase = phase;
                    return Ok(None);
                }
            }
        }
    }

    fn next_deadline(&mut self, now_ms: u64) {
        self.deadline = now_ms.saturating_add(self.party.timeout_ms);
    }

    fn close_round1(&mut self, committed: round1::Committed<G>, now_ms: u64) -> Result<(), Error> {
        let first = self.first.complete(&self.plan.roster)?;
        let session = round1::session_id(&self.plan, &first);
        let (dealt, message) = committed.deal(&self.plan, self.party.index, session, &first)?;
        let echo = first.echo(session, 1);
        self.session = Some(session);
        self.phase = Phase::Dealt(Box::new(dealt));
        self.start_pairing(session, echo)?;
        self.next_deadline(now_ms);
        let own = self.broadcast(session, 2, &message.encode())?;
        self.second.insert(own, |_| Ok(message));
        for envelope in mem::take(&mut self.early) {
            let header = *envelope.header();
            if header.session == session {
                self.place(envelope)?;
            } else if header.kind == Kind::DkgRound2 {
                self.show_originals(1)?;
            }
        }
        Ok(())
    }

    /// Answers what the peers offered in round 1.
    fn start_pairing(&mut self, session: SessionId, echo: [u8; 32]) -> Result<(), Error> {
        let Some(offers) = self.offers.take() else {
            return Ok(());
        };
        let me = self.party.me;
        let (mut nonces, mut offered) = (BTreeMap::new(), BTreeMap::new());
        for (node, signed) in self.first.iter() {
            nonces.insert(*node, signed.message.nonce);
            let peers = self.plan.roster.nodes().filter(|peer| peer != node);
            for (peer, offer) in peers.zip(&signed.message.pairs) {
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
        let about_me = offered
            .into_iter()
            .filter(|((_, peer), _)| *peer == me)
            .map(|((node, _), offer)| (node, offer));
        let theirs = about_me.collect();
        let (pairing, letters) = Pairing::start(me, session, echo, nonces, offers, theirs)?;
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
    fn tell(&mut self, letters: Vec<Letter>) -> Result<(), Error> {
        let session = self.session.ok_or(Error::Unreachable(
            "a pair setup before the session has a name",
        ))?;
        for Letter { to, kind, body } in letters {
            let to = Recipient::One(to);
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

    fn close_round2(&mut self, dealt: &Dealt<G>, now_ms: u64) -> Result<(), Error> {
        let session = self
            .session
            .ok_or(Error::Unreachable("round 2 before the session has a name"))?;
        let echo = self.echo(1)?;
        let differs = |(node, signed): (&NodeId, &super::collect::Signed<round2::Message<G>>)| {
            (signed.message.echo != echo).then_some(*node)
        };
        let suspects: BTreeSet<NodeId> = self.second.iter().filter_map(differs).collect();
        if !suspects.is_empty() {
            self.start_comparing(1, suspects, now_ms)?;
            return Ok(());
        }
        let (first, second) = (
            self.first.complete(&self.plan.roster)?,
            self.second.complete(&self.plan.roster)?,
        );
        for entry in second.iter().filter(|entry| entry.node != self.party.me) {
            let checked =
                entry
                    .message()
                    .check(&self.plan, session, entry.index, first.of(entry.index)?);
            checked.map_err(|fault| {
                let evidence =
                    judge::round2_evidence(&self.plan, &self.first, &entry.signed.envelope);
                Abort::proven(entry.node, fault, evidence)
            })?;
        }
        let receiver = round3::Receiver {
            plan: &self.plan,
            session,
            index: self.party.index,
            first: &first,
            second: &second,
        };
        let outcome = receiver.receive(dealt)?;
        let echo = second.echo(session, 2);
        match outcome {
            Outcome::Complain(complaint) => self.complain(session, echo, complaint),
            Outcome::Certify(share, transcript) => {
                self.phase = Phase::Prepared(share, transcript, echo);
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
        let message = round3::Message {
            echo,
            verdict: Verdict::Complaint(complaint),
        };
        let own = self.broadcast(session, 3, &message.encode())?;
        let evidence = judge::round3_evidence(&self.plan, &self.first, Some(&self.second), &own);
        Err(Abort::proven(accused, Fault::InvalidShare, evidence).into())
    }

    /// Signs the transcript. The signature leaves when the share is stored.
    fn certify(
        &mut self,
        echo: [u8; 32],
        share: Box<KeyShare>,
        transcript: [u8; 32],
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
        let certificate =
            round3::Certificate::sign(&self.plan.roster, &self.party.identity, transcript, pairs);
        let message = round3::Message {
            echo,
            verdict: Verdict::Certificate(certificate),
        };
        let own = self.broadcast(session, 3, &message.encode())?;
        let records = self.pairing.iter().flat_map(Pairing::records);
        let pending = Pending::encode(
            &self.plan.roster,
            &transcript,
            own.as_bytes(),
            &share,
            records,
        );
        self.third.insert(own, |_| Ok(message));
        self.phase = Phase::Certified(share, transcript);
        self.next_deadline(now_ms);
        // Round-3 messages that came early are looked at after the write.
        self.due = self.third.iter().count() > 1;
        Ok(Pulse {
            write: Write::new(WriteKind::Share, pending),
            output: None,
        })
    }

    /// Judges the round-3 messages that have come. Those whose echo differs are returned, if there are any.
    fn judge_round3(&self, transcript: &[u8; 32]) -> Result<Option<BTreeSet<NodeId>>, Error> {
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
                        self.first.complete(&self.plan.roster)?,
                        self.second.complete(&self.plan.roster)?,
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
        let certificate =
            |(node, signed): (&NodeId, &super::collect::Signed<round3::Message>)| match &signed
                .message
                .verdict
            {
                Verdict::Certificate(certificate) => Some((*node, certificate.clone())),
                Verdict::Complaint(_) => None,
            };
        let certificates = self.third.iter().filter_map(certificate).collect();
        match disagreeing_pair(&self.plan.roster, &certificates) {
            None => Ok(()),
            Some((one, other)) => Err(self.stale_pair(one, other)),
        }
    }

    fn check_round3(
        &mut self,
        share: Box<KeyShare>,
        transcript: [u8; 32],
        now_ms: u64,
    ) -> Result<Option<Pulse>, Error> {
        if let Some(suspects) = self.judge_round3(&transcript)? {
            self.start_comparing(2, suspects, now_ms)?;
            return Ok(None);
        }
        if !self.third.is_complete() {
            self.accepted = self.third.iter().map(|(node, _)| *node).collect();
            self.phase = Phase::Certified(share, transcript);
            return Ok(None);
        }
        self.check_pairs()?;
        let parts = self
            .third
            .iter()
            .map(|(node, signed)| (*node, signed.envelope.as_bytes().to_vec()));
        let certificate = DkgCertificate::collected(transcript, parts.collect());
        let write = Write::new(WriteKind::Certificate, Zeroizing::new(certificate.encode()));
        self.phase = Phase::Finished;
        Ok(Some(Pulse {
            write,
            output: Some(DkgOutput {
                share: *share,
                certificate,
                pairs: self
                    .pairing
                    .take()
                    .map(Pairing::into_records)
                    .unwrap_or_default(),
            }),
        }))
    }
}

/// Whether a message is for one node: it is about the setup of a pair.
const fn is_pairwise(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::DkgReply | Kind::DkgTrialExtension | Kind::DkgTrialMultiply
    )
}

/// A step with a write.
#[derive(Debug)]
struct Pulse {
    write: Write,
    output: Option<DkgOutput>,
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
