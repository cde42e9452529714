//! Round 3: what participants sign at the end, or the complaint they send instead.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "lengths of a few small numbers"
)]

use super::complaint::Complaint;
use super::plan::{Plan, Seat, Slot};
use crate::Rejection;
use crate::codec::{DecodeError, Problem, Reader, Writer};
use crate::envelope::Recipient;
use crate::id::{Attempt, Epoch, NodeId, PairId, SessionId};
use crate::identity::IdentityKey;
use crate::roster::Roster;
use crate::transcript::{self, Tag};

const FORM_CERTIFICATE: u8 = 1;
const FORM_COMPLAINT: u8 = 2;

/// What receivers and dealers sign at the end: which sharing came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// First field of a receiver's certificate: `dkg` or `reshare`.
    pub(crate) form: &'static str,
    /// `T`.
    pub(crate) transcript: [u8; 32],
    pub(crate) epoch: Epoch,
    pub(crate) attempt: Attempt,
}

impl Outcome {
    pub(super) const fn new(plan: &Plan, transcript: [u8; 32]) -> Self {
        Self {
            form: plan.certificate_form(),
            transcript,
            epoch: plan.epoch(),
            attempt: plan.certified_attempt(),
        }
    }

    /// `H("cert"; form, T, u32 epoch, u32 attempt, (nid || pid) list)`; the list is empty without pair setups.
    pub(crate) fn receiver_digest(
        &self,
        roster: &Roster,
        author: &NodeId,
        pairs: &[PairId],
    ) -> [u8; 32] {
        let peers = roster.nodes().filter(|node| node != author);
        let items: Vec<_> = peers
            .zip(pairs)
            .map(|(peer, pair)| [&peer.as_bytes()[..], pair.as_bytes()].concat())
            .collect();
        self.start(self.form).list(items).digest()
    }

    /// `H("cert"; "dealer", T, u32 epoch, u32 attempt)`.
    pub(crate) fn dealer_digest(&self) -> [u8; 32] {
        self.start("dealer").digest()
    }

    fn start(&self, form: &str) -> transcript::Transcript<1> {
        transcript::hash(Tag::CERT)
            .field(form)
            .field(self.transcript)
            .u32(self.epoch.0)
            .u32(self.attempt.0)
    }
}

/// What a receiver signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holding {
    /// The names of the setups with all peers, in ascending order of the peers; empty without pair setups.
    pub(crate) pairs: Vec<PairId>,
    pub(crate) signature: [u8; 64],
}

impl Holding {
    /// Whether `node` has signed it.
    pub(crate) fn verify(&self, outcome: &Outcome, roster: &Roster, node: &NodeId) -> bool {
        let digest = outcome.receiver_digest(roster, node, &self.pairs);
        let member = roster.get(node);
        member.is_some_and(|member| member.identity.verify(&digest, &self.signature))
    }

    /// The name that it has for the setup of its author with a peer.
    pub(crate) fn pair(&self, roster: &Roster, author: &NodeId, peer: &NodeId) -> Option<PairId> {
        let peers = roster.nodes().filter(|node| node != author);
        let mut named = peers.zip(&self.pairs);
        named.find_map(|(node, name)| (node == *peer).then_some(*name))
    }
}

/// Signatures of one participant over the outcome: of a receiver that it holds its share, of a dealer of an existing key that it
/// approves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    /// `T`.
    pub(super) transcript: [u8; 32],
    pub(super) holding: Option<Holding>,
    pub(super) dealing: Option<[u8; 64]>,
}

impl Certificate {
    pub(super) fn sign(
        plan: &Plan,
        seat: &Seat,
        identity: &IdentityKey,
        transcript: [u8; 32],
        pairs: Vec<PairId>,
    ) -> Self {
        let outcome = Outcome::new(plan, transcript);
        let node = identity.public().node_id();
        let holding = seat.receiver.map(|_| Holding {
            signature: identity.sign(&outcome.receiver_digest(&plan.roster, &node, &pairs)),
            pairs,
        });
        let deals = seat.dealer.is_some() && plan.dealers_sign();
        Self {
            transcript,
            holding,
            dealing: deals.then(|| identity.sign(&outcome.dealer_digest())),
        }
    }

    /// Whether `node` has signed everything that is in it.
    pub(super) fn verify(&self, plan: &Plan, node: &NodeId) -> bool {
        let outcome = Outcome::new(plan, self.transcript);
        let holds = |holding: &Holding| holding.verify(&outcome, &plan.roster, node);
        let deals = |signature: &[u8; 64]| {
            let seat = plan.seats.get(node);
            seat.is_some_and(|seat| seat.identity.verify(&outcome.dealer_digest(), signature))
        };
        self.holding.as_ref().is_none_or(holds) && self.dealing.as_ref().is_none_or(deals)
    }
}

/// What a party says in round 3.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    Certificate(Certificate),
    Complaint(Box<Complaint>),
}

/// What a certificate of one author contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) epoch: Epoch,
    pub(super) attempt: Attempt,
    /// Of how many peers a receiver speaks; `None` for who gets no share.
    pub(super) holding: Option<usize>,
    pub(super) dealing: bool,
}

impl Form {
    pub(super) fn of(plan: &Plan, node: &NodeId) -> Self {
        let seat = plan.seats.get(node);
        let deals = seat.is_some_and(|seat| seat.dealer.is_some());
        let receives = seat.is_some_and(|seat| seat.receiver.is_some());
        Self {
            epoch: plan.epoch(),
            attempt: plan.certified_attempt(),
            holding: receives.then(|| plan.paired_peers(node)),
            dealing: deals && plan.dealers_sign(),
        }
    }

    /// That of a member of a new key; `pairs` is the number of peers it speaks of.
    pub(super) const fn of_new_key(pairs: usize) -> Self {
        Self {
            epoch: Epoch(0),
            attempt: Attempt(0),
            holding: Some(pairs),
            dealing: false,
        }
    }

    fn len(&self) -> usize {
        let holding = self.holding.map_or(0, |pairs| 64 + 32 * pairs);
        73 + holding + if self.dealing { 64 } else { 0 }
    }
}

/// `form || E_2 || ..`: 137 bytes for a certificate, and 32 more per peer for keys with pair setups; 193 for a complaint. A dealer's
/// signature is 64 bytes more, or takes the place of a receiver's.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// `E_2`: echo of round 2.
    pub(super) echo: [u8; 32],
    pub(super) verdict: Verdict,
}

impl Message {
    pub(super) fn encode(&self, plan: &Plan) -> Vec<u8> {
        let mut out = Writer::default();
        match &self.verdict {
            Verdict::Certificate(certificate) => {
                out.u8(FORM_CERTIFICATE)
                    .bytes(&self.echo)
                    .bytes(&certificate.transcript)
                    .u32(plan.epoch().0)
                    .u32(plan.certified_attempt().0);
                if let Some(holding) = &certificate.holding {
                    for pair in &holding.pairs {
                        out.bytes(pair.as_bytes());
                    }
                    out.bytes(&holding.signature);
                }
                if let Some(signature) = &certificate.dealing {
                    out.bytes(signature);
                }
            }
            Verdict::Complaint(complaint) => {
                out.u8(FORM_COMPLAINT).bytes(&self.echo);
                complaint.write(&mut out);
            }
        }
        out.finish()
    }

    /// `form` is what a certificate of the author contains.
    pub(super) fn decode(expected: Form, bytes: &[u8]) -> Result<Self, DecodeError> {
        let len = match bytes.first() {
            Some(&FORM_CERTIFICATE) => expected.len(),
            Some(&FORM_COMPLAINT) => 193,
            _ => return Err(DecodeError::new("form", Problem::Unknown)),
        };
        let mut reader = Reader::measured("body", bytes, len)?;
        let form = reader.u8("form")?;
        let echo = reader.array("echo")?;
        let verdict = match form {
            FORM_CERTIFICATE => Verdict::Certificate(read_certificate(expected, &mut reader)?),
            _ => Verdict::Complaint(Box::new(Complaint::read(&mut reader)?)),
        };
        reader.finish("body")?;
        Ok(Self { echo, verdict })
    }
}

fn read_certificate(expected: Form, reader: &mut Reader<'_>) -> Result<Certificate, DecodeError> {
    let transcript = reader.array("transcript")?;
    let numbers = [("epoch", expected.epoch.0), ("attempt", expected.attempt.0)];
    for (field, number) in numbers {
        if reader.u32(field)? != number {
            return Err(DecodeError::new(field, Problem::Unknown));
        }
    }
    let holding = match expected.holding {
        Some(pairs) => Some(Holding {
            pairs: (0..pairs)
                .map(|_| reader.array("pid").map(PairId::from_bytes))
                .collect::<Result<_, _>>()?,
            signature: reader.array("signature")?,
        }),
        None => None,
    };
    let dealing = if expected.dealing {
        Some(reader.array("dealer_signature")?)
    } else {
        None
    };
    Ok(Certificate {
        transcript,
        holding,
        dealing,
    })
}

/// The signatures in one part of a certificate, and the session and transcript they are of.
pub(crate) struct Signatures {
    pub(crate) from: NodeId,
    pub(crate) session: SessionId,
    pub(crate) transcript: [u8; 32],
    pub(crate) holding: Option<Holding>,
    pub(crate) dealing: Option<[u8; 64]>,
}

/// Opens a participant's signed message of round 3. The signatures inside are not checked.
pub(crate) fn open_part(plan: &Plan, bytes: &[u8]) -> Result<Signatures, Rejection> {
    let envelope = plan.open(bytes)?;
    let header = *envelope.header();
    let expected = (plan.kind(Slot::Round3), 3, Recipient::Everyone);
    if (header.kind, header.round, header.to) != expected {
        return Err(Rejection::Unexpected { kind: header.kind });
    }
    let message = Message::decode(Form::of(plan, &header.from), envelope.body());
    let Verdict::Certificate(certificate) = message.map_err(Rejection::Malformed)?.verdict else {
        return Err(Rejection::InvalidCertificate("a part is a complaint"));
    };
    Ok(Signatures {
        from: header.from,
        session: header.session,
        transcript: certificate.transcript,
        holding: certificate.holding,
        dealing: certificate.dealing,
    })
}
