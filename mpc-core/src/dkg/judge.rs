//! What evidence of a key generation proves. A judge has the roster and the messages, nothing else.
//!
//! A judge never mixes sessions: the context gives `ssid0` together with the roster, the first-round messages give `ssid`,
//! and the echo inside the accused message says which messages its author had seen.

use super::certificate::{Certificate, Form, Verdict};
use super::collect::{Collect, Complete, Insert};
use super::finish::Finish;
use super::originals::{self, Originals};
use super::plan::{Plan, Slot};
use super::{certificate, round1, round2, round3};
use crate::Fault;
use crate::codec::DecodeError;
use crate::envelope::Envelope;
use crate::evidence::{Claim, Evidence, EvidenceError};
use crate::group::{Ed25519, Secp256k1};
use crate::id::{NodeId, SessionId, Suite};
use crate::roster::Roster;

type Judgement = Result<(NodeId, Fault), EvidenceError>;

const fn not_proven(why: &'static str) -> EvidenceError {
    EvidenceError::NotProven(why)
}

/// Judges a claim about a key generation.
pub(crate) fn judge(
    claim: Claim,
    roster: &Roster,
    context: &[u8],
    messages: &[Vec<u8>],
) -> Judgement {
    let plan = Plan::from_context(roster, context)?;
    let open = |bytes: &Vec<u8>| plan.open(bytes);
    let messages = messages.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    match plan.purpose.suite() {
        Suite::Ed25519 => judge_in::<Ed25519>(claim, &plan, &messages),
        Suite::Secp256k1 => judge_in::<Secp256k1>(claim, &plan, &messages),
    }
}

fn judge_in<G: Finish>(claim: Claim, plan: &Plan, messages: &[Envelope]) -> Judgement {
    match claim {
        Claim::DkgRound1 => judge_round1(plan, messages),
        Claim::DkgRound2 => judge_round2::<G>(plan, messages),
        Claim::DkgRound3 => judge_round3::<G>(plan, messages),
        Claim::DkgEcho => judge_echo(plan, messages),
        Claim::Equivocation
        | Claim::EcdsaBlame
        | Claim::EcdsaMalformed
        | Claim::EcdsaOpening
        | Claim::EcdsaZeroShare
        | Claim::FrostCommitment
        | Claim::FrostShare => Err(not_proven("the claim is not about key generation")),
    }
}

/// Evidence about a message of round 1.
pub(super) fn round1_evidence(plan: &Plan, accused: &Envelope) -> Evidence {
    Evidence::new(
        Claim::DkgRound1,
        plan.context(),
        vec![accused.as_bytes().to_vec()],
    )
}

/// Evidence about a message of round 2: all of round 1, then the message.
pub(super) fn round2_evidence(
    plan: &Plan,
    first: &Collect<round1::Message>,
    accused: &Envelope,
) -> Evidence {
    let mut messages = first.encoded();
    messages.push(accused.as_bytes().to_vec());
    Evidence::new(Claim::DkgRound2, plan.context(), messages)
}

/// Evidence about a message of round 3: all of round 1, all of round 2 if that is complete, then the message.
pub(super) fn round3_evidence<M>(
    plan: &Plan,
    first: &Collect<round1::Message>,
    second: Option<&Collect<M>>,
    accused: &Envelope,
) -> Evidence {
    let mut messages = first.encoded();
    messages.extend(second.map(Collect::encoded).unwrap_or_default());
    messages.push(accused.as_bytes().to_vec());
    Evidence::new(Claim::DkgRound3, plan.context(), messages)
}

/// Evidence that an echo is not backed: all of round 1 if the echo is of round 2, the message with the echo, and the
/// originals its author showed.
pub(super) fn echo_evidence(
    plan: &Plan,
    first: &Collect<round1::Message>,
    claim: &Envelope,
    shown: &Envelope,
) -> Evidence {
    let mut messages = if plan.slot(claim.header().kind) == Some(Slot::Round3) {
        first.encoded()
    } else {
        Vec::new()
    };
    messages.extend([claim, shown].map(|envelope| envelope.as_bytes().to_vec()));
    Evidence::new(Claim::DkgEcho, plan.context(), messages)
}

fn expect(
    plan: &Plan,
    session: SessionId,
    round: u8,
    envelope: &Envelope,
) -> Result<(), EvidenceError> {
    let header = originals::header(plan, session, round, envelope.header().from);
    if header.as_ref() == Some(envelope.header()) {
        Ok(())
    } else {
        Err(not_proven(
            "a message is not of the round and session that the claim is about",
        ))
    }
}

fn collect<M>(
    plan: &Plan,
    session: SessionId,
    round: u8,
    messages: &[Envelope],
    decode: impl Fn(&Plan, &NodeId, &[u8]) -> Result<M, DecodeError>,
) -> Result<Collect<M>, EvidenceError> {
    let mut round_messages = Collect::new(plan.participants());
    for envelope in messages {
        expect(plan, session, round, envelope)?;
        let from = envelope.header().from;
        match round_messages.insert(envelope.clone(), |body| decode(plan, &from, body)) {
            Insert::New => {}
            Insert::Same | Insert::Conflict(_) | Insert::Malformed(_) => {
                return Err(not_proven(
                    "a supporting message is doubled or does not decode",
                ));
            }
        }
    }
    if round_messages.is_complete() {
        Ok(round_messages)
    } else {
        Err(not_proven("a round is not complete"))
    }
}

fn full<'a, M>(plan: &Plan, round: &'a Collect<M>) -> Result<Complete<'a, M>, EvidenceError> {
    round
        .complete(plan)
        .map_err(|_| not_proven("a round is not complete"))
}

fn malformed(accused: &Envelope, error: DecodeError) -> Fault {
    Fault::Malformed {
        message: accused.header().kind,
        error,
    }
}

fn judge_round1(plan: &Plan, messages: &[Envelope]) -> Judgement {
    let [accused] = messages else {
        return Err(not_proven("one message is needed"));
    };
    expect(plan, plan.ssid0, 1, accused)?;
    let from = accused.header().from;
    match round1::Message::decode(plan, &from, accused.body()) {
        Ok(_) => Err(not_proven("the message decodes")),
        Err(error) => Ok((from, malformed(accused, error))),
    }
}

/// Splits off all of round 1 and the accused message; what is left is in between.
fn open_round1<'a>(
    plan: &Plan,
    messages: &'a [Envelope],
) -> Result<(Collect<round1::Message>, &'a [Envelope], &'a Envelope), EvidenceError> {
    let enough = not_proven("messages are missing");
    let (accused, others) = messages.split_last().ok_or_else(|| enough.clone())?;
    let (first, between) = others.split_at_checked(plan.participants()).ok_or(enough)?;
    let first = collect(plan, plan.ssid0, 1, first, round1::Message::decode)?;
    Ok((first, between, accused))
}

fn judge_round2<G: Finish>(plan: &Plan, messages: &[Envelope]) -> Judgement {
    let (first, between, accused) = open_round1(plan, messages)?;
    if !between.is_empty() {
        return Err(not_proven("too many messages"));
    }
    let first = full(plan, &first)?;
    let session = round1::session_id(plan, &first);
    expect(plan, session, 2, accused)?;
    let culprit = accused.header().from;
    let message = match round2::Message::<G>::decode(plan, &culprit, accused.body()) {
        Ok(message) => message,
        Err(error) => return Ok((culprit, malformed(accused, error))),
    };
    if message.echo != first.echo(session, 1) {
        return Err(not_proven("the accused had seen another round 1"));
    }
    let entry = first
        .iter()
        .find(|entry| entry.node == culprit)
        .ok_or_else(|| not_proven("the accused is missing"))?;
    match message.check(plan, session, &culprit, &entry.seat, entry.message()) {
        Ok(()) => Err(not_proven("the message is right")),
        Err(fault) => Ok((culprit, fault)),
    }
}

fn judge_round3<G: Finish>(plan: &Plan, messages: &[Envelope]) -> Judgement {
    let (first, between, accused) = open_round1(plan, messages)?;
    let first = full(plan, &first)?;
    let session = round1::session_id(plan, &first);
    expect(plan, session, 3, accused)?;
    let culprit = accused.header().from;
    let message = match certificate::Message::decode(Form::of(plan, &culprit), accused.body()) {
        Ok(message) => message,
        Err(error) => return Ok((culprit, malformed(accused, error))),
    };
    let second = collect(plan, session, 2, between, round2::Message::<G>::decode)?;
    let second = full(plan, &second)?;
    if message.echo != second.echo(session, 2) {
        return Err(not_proven("the accused had seen another round 2"));
    }
    // The name of the session covers the nonces of round 1 and nothing else of it. What a party computed from round 1 may be
    // held against it only if its own message of round 2 echoes the round 1 that is shown here.
    let echo = first.echo(session, 1);
    let saw_another = |node: &NodeId| {
        let entry = second.iter().find(|entry| entry.node == *node);
        entry.is_some_and(|entry| entry.message().echo != echo)
    };
    if saw_another(&culprit) {
        return Err(not_proven("the accused had seen another round 1"));
    }
    match &message.verdict {
        Verdict::Complaint(complaint) => {
            if saw_another(&complaint.accused) {
                return Err(not_proven("the dealer had seen another round 1"));
            }
            complaint
                .judge(plan, session, culprit, &first, &second)
                .map_err(|_| not_proven("the complaint cannot be evaluated"))
        }
        Verdict::Certificate(certificate) => {
            let agreed = round3::agree(plan, session, &first, &second);
            let agreed = agreed.map_err(|_| not_proven("there is nothing to certify"))?;
            check_certificate(plan, culprit, certificate, &agreed.transcript).map_or_else(
                |fault| Ok((culprit, fault)),
                |()| Err(not_proven("the certificate is right")),
            )
        }
    }
}

/// Checks the certificate of a party against the transcript.
pub(super) fn check_certificate(
    plan: &Plan,
    node: NodeId,
    certificate: &Certificate,
    transcript: &[u8; 32],
) -> Result<(), Fault> {
    if certificate.transcript != *transcript {
        return Err(Fault::CertificateMismatch);
    }
    if certificate.verify(plan, &node) {
        Ok(())
    } else {
        Err(Fault::InvalidProof {
            proof: "certificate",
            number: 0,
        })
    }
}

fn judge_echo(plan: &Plan, messages: &[Envelope]) -> Judgement {
    let [others @ .., claim, shown] = messages else {
        return Err(not_proven("messages are missing"));
    };
    let (round, later, message) = match plan.slot(claim.header().kind) {
        Some(Slot::Round2) => (1, 2, plan.kind(Slot::Round1)),
        Some(Slot::Round3) => (2, 3, plan.kind(Slot::Round2)),
        _ => return Err(not_proven("the first message carries no echo")),
    };
    let session = claim.header().session;
    expect(plan, session, later, claim)?;
    let expected = originals::shown_header(plan, session, round, claim.header().from);
    if *shown.header() != expected {
        return Err(not_proven(
            "the originals are of another sender, round or session",
        ));
    }
    // Only a message that names this plan's session may be judged by this plan's roster: honest originals of a larger committee
    // would not decode. Originals of round 1 name ssid0; for those of round 2, round 1 leads from ssid0 to their session.
    let of_plan = if round == 1 {
        others.is_empty()
    } else {
        let first = collect(plan, plan.ssid0, 1, others, round1::Message::decode)?;
        round1::session_id(plan, &full(plan, &first)?) == session
    };
    if !of_plan {
        return Err(not_proven("round 1 does not lead to this session"));
    }
    let claimed = originals::claimed_echo(plan, claim)
        .ok_or_else(|| not_proven("the first message carries no echo"))?;
    // The shown session links the two messages; without it, messages of two sessions could be held against each other.
    if shown.body().first_chunk() != Some(session.as_bytes()) {
        return Err(not_proven("the originals are of another session"));
    }
    let backed = Originals::decode(plan, shown.body())
        .ok()
        .and_then(|originals| originals.echo(plan, round));
    if backed == Some(claimed) {
        Err(not_proven("the echo is backed by the originals"))
    } else {
        Ok((claim.header().from, Fault::EchoUnsupported { message }))
    }
}
