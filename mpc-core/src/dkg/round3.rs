//! Round 3: check what everybody dealt, add it up, and sign the result; or complain.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "field and group operations wrap by definition"
)]

use std::collections::BTreeMap;

use super::collect::Complete;
use super::complaint::Complaint;
use super::round2::{self, Dealt, Lane};
use super::{Plan, round1};
use crate::codec::{DecodeError, Problem, Reader, Writer};
use crate::group::{Ed25519, Point, Scalar, Secp256k1};
use crate::id::{Attempt, Epoch, KeyId, NodeId, PairId, PartyIndex, Purpose, SessionId, SharingId};
use crate::identity::IdentityKey;
use crate::keys::{KeyFacts, KeyGroup, KeyShare, PublicKeyPackage, PublicPoints};
use crate::polynomial::PublicPolynomial;
use crate::roster::Roster;
use crate::secret::SecretScalar;
use crate::transcript::{self, Tag, ciphersuite};
use crate::{Abort, Error, Fault};

const FORM_CERTIFICATE: u8 = 1;
const FORM_COMPLAINT: u8 = 2;

/// Signature of one party over the transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    /// `T`.
    pub(super) transcript: [u8; 32],
    /// The names of the setups with all peers, in ascending order of the peers; empty without pair setups.
    pub(super) pairs: Vec<PairId>,
    pub(super) signature: [u8; 64],
}

impl Certificate {
    pub(super) fn sign(
        roster: &Roster,
        identity: &IdentityKey,
        transcript: [u8; 32],
        pairs: Vec<PairId>,
    ) -> Self {
        let digest = certified(roster, &identity.public().node_id(), &transcript, &pairs);
        Self {
            transcript,
            pairs,
            signature: identity.sign(&digest),
        }
    }

    /// Whether `node` has signed it.
    pub(super) fn verify(&self, roster: &Roster, node: &NodeId) -> bool {
        let digest = certified(roster, node, &self.transcript, &self.pairs);
        let member = roster.get(node);
        member.is_some_and(|member| member.identity.verify(&digest, &self.signature))
    }

    /// The name that it has for the setup of its author with a peer.
    pub(super) fn pair(&self, roster: &Roster, author: &NodeId, peer: &NodeId) -> Option<PairId> {
        let peers = roster.nodes().filter(|node| node != author);
        let mut named = peers.zip(&self.pairs);
        named.find_map(|(node, name)| (node == *peer).then_some(*name))
    }
}

/// `H("cert"; "dkg", T, u32 epoch 0, u32 attempt 0, (nid || pid) list)`; the list is empty without pair setups.
fn certified(
    roster: &Roster,
    author: &NodeId,
    transcript: &[u8; 32],
    pairs: &[PairId],
) -> [u8; 32] {
    let peers = roster.nodes().filter(|node| node != author);
    let items: Vec<_> = peers
        .zip(pairs)
        .map(|(peer, pair)| [&peer.as_bytes()[..], pair.as_bytes()].concat())
        .collect();
    transcript::hash(Tag::CERT)
        .field("dkg")
        .field(transcript)
        .u32(0)
        .u32(0)
        .list(items)
        .digest()
}

/// What a party says in round 3.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    Certificate(Certificate),
    Complaint(Box<Complaint>),
}

/// `form || E_2 || ..`: 137 bytes for a certificate, and 32 more per peer for keys with pair setups; 193 for a complaint.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// `E_2`: echo of round 2.
    pub(super) echo: [u8; 32],
    pub(super) verdict: Verdict,
}

impl Message {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        match &self.verdict {
            Verdict::Certificate(certificate) => {
                out.u8(FORM_CERTIFICATE)
                    .bytes(&self.echo)
                    .bytes(&certificate.transcript)
                    .u32(0)
                    .u32(0);
                for pair in &certificate.pairs {
                    out.bytes(pair.as_bytes());
                }
                out.bytes(&certificate.signature);
            }
            Verdict::Complaint(complaint) => {
                out.u8(FORM_COMPLAINT).bytes(&self.echo);
                complaint.write(&mut out);
            }
        }
        out.finish()
    }

    /// `pairs` is the number of peers that a certificate speaks of.
    pub(super) fn decode(pairs: usize, bytes: &[u8]) -> Result<Self, DecodeError> {
        let len = match bytes.first() {
            Some(&FORM_CERTIFICATE) => 137 + 32 * pairs,
            Some(&FORM_COMPLAINT) => 193,
            _ => return Err(DecodeError::new("form", Problem::Unknown)),
        };
        let mut reader = Reader::measured("body", bytes, len)?;
        let form = reader.u8("form")?;
        let echo = reader.array("echo")?;
        let verdict = match form {
            FORM_CERTIFICATE => Verdict::Certificate(read_certificate(pairs, &mut reader)?),
            _ => Verdict::Complaint(Box::new(Complaint::read(&mut reader)?)),
        };
        reader.finish("body")?;
        Ok(Self { echo, verdict })
    }
}

fn read_certificate(pairs: usize, reader: &mut Reader<'_>) -> Result<Certificate, DecodeError> {
    let transcript = reader.array("transcript")?;
    for field in ["epoch", "attempt"] {
        if reader.u32(field)? != 0 {
            return Err(DecodeError::new(field, Problem::Unknown));
        }
    }
    let pairs = (0..pairs)
        .map(|_| reader.array("pid").map(PairId::from_bytes))
        .collect::<Result<_, _>>()?;
    Ok(Certificate {
        transcript,
        pairs,
        signature: reader.array("signature")?,
    })
}

/// What the key generation agreed on, from public messages alone.
#[derive(Debug)]
pub(super) struct Agreed<G: KeyGroup> {
    /// `T`.
    pub(super) transcript: [u8; 32],
    chain_code: [u8; 32],
    points: PublicPoints<G>,
}

/// Adds up what all dealers have revealed. Every message has been checked by itself.
///
/// # Errors
/// `IdentityResult`, which has no author, when a sum is the identity.
pub(super) fn agree<G: KeyGroup>(
    plan: &Plan,
    session: SessionId,
    first: &Complete<'_, round1::Message>,
    second: &Complete<'_, round2::Message<G>>,
) -> Result<Agreed<G>, Error> {
    let total = PublicPolynomial::sum(second.iter().map(|entry| &entry.message().commitment))?;
    let indices = plan.roster.by_index().map(|(index, _)| index);
    let points = PublicPoints {
        group_key: total.constant(),
        verifying_shares: indices
            .map(|index| (index, total.evaluate_vartime(index)))
            .collect(),
    };
    if points.group_key.is_identity() || points.verifying_shares.values().any(Point::is_identity) {
        return Err(Abort {
            fault: Fault::IdentityResult,
            culprits: Vec::new(),
            evidence: None,
        }
        .into());
    }
    let chain_code = transcript::hash(Tag::DKG_CC)
        .field(session)
        .list(second.iter().map(|entry| entry.message().chain_code))
        .digest();
    let transcript = transcript::hash(Tag::DKG_TRANSCRIPT)
        .field(session)
        .u16(plan.params.threshold())
        .u16(plan.params.parties())
        .field(plan.params_hash)
        .list(first.iter().map(|entry| entry.message().receiving_key))
        .list(
            second
                .iter()
                .map(|entry| entry.message().commitment.encode()),
        )
        .list(second.iter().map(|entry| entry.message().sending_key))
        .list(second.iter().map(|entry| entry.message().share_bytes()))
        .point(&points.group_key)
        .field(chain_code)
        .list(points.verifying_shares.values().map(Point::encode))
        .digest();
    Ok(Agreed {
        transcript,
        chain_code,
        points,
    })
}

/// How round 3 starts for this party.
#[derive(Debug)]
pub(super) enum Outcome {
    /// All shares are right: the share to store before the certificate may be sent.
    Certify(Box<KeyShare>, [u8; 32]),
    /// A share is wrong.
    Complain(Box<Complaint>),
}

/// This party's side of a session when round 2 is complete.
pub(super) struct Receiver<'a, G: KeyGroup> {
    pub(super) plan: &'a Plan,
    pub(super) session: SessionId,
    pub(super) index: PartyIndex,
    pub(super) first: &'a Complete<'a, round1::Message>,
    pub(super) second: &'a Complete<'a, round2::Message<G>>,
}

impl<G: KeyGroup + Finish> Receiver<'_, G> {
    /// Decrypts and checks every share, and adds them up. The echo of round 1 and every dealer's proofs hold already.
    pub(super) fn receive(&self, dealt: &Dealt<G>) -> Result<Outcome, Error> {
        let receiving_key = &self.first.of(self.index)?.receiving_key;
        let mut sum = SecretScalar::new(*dealt.own.expose_secret());
        for entry in self.second.iter().filter(|entry| entry.index != self.index) {
            let sending_key = &entry.message().sending_key;
            let lane = Lane {
                session: self.session,
                dealer: entry.index,
                receiver: self.index,
                sending_key,
                receiving_key,
            };
            let pad = lane.pad::<G>(&(*sending_key.point() * dealt.receiving.expose_secret()));
            let share =
                SecretScalar::new(entry.message().share_for(self.index)? - *pad.expose_secret());
            if share.mul_base() != entry.message().commitment.evaluate_vartime(self.index) {
                let complaint = Complaint::new(entry.node, self.index, self.session, &lane, dealt);
                return Ok(Outcome::Complain(Box::new(complaint)));
            }
            sum = SecretScalar::new(*sum.expose_secret() + *share.expose_secret());
        }
        let agreed = agree(self.plan, self.session, self.first, self.second)?;
        let transcript = agreed.transcript;
        let share = self.finish(agreed, sum)?;
        Ok(Outcome::Certify(Box::new(share), transcript))
    }

    fn finish(&self, agreed: Agreed<G>, secret: SecretScalar<G>) -> Result<KeyShare, Error> {
        let facts = KeyFacts {
            key_id: key_id(&agreed.transcript),
            sharing: SharingId::from_bytes(agreed.transcript),
            purpose: self.plan.purpose,
            epoch: Epoch(0),
            attempt: Attempt(0),
            threshold: self.plan.params.threshold(),
            chain_code: agreed.chain_code,
        };
        let nodes: BTreeMap<PartyIndex, NodeId> = self.plan.roster.by_index().collect();
        let (points, secret) = G::finish(agreed.points, secret, self.plan.purpose)?;
        let package =
            PublicKeyPackage::computed(facts, nodes, points).map_err(|_| identity_result())?;
        KeyShare::new(package, self.index, secret)
            .map_err(|_| Error::Unreachable("the share is not the sum of shares"))
    }
}

/// `key_id = H("key"; T)`.
pub(super) fn key_id(transcript: &[u8; 32]) -> KeyId {
    KeyId::from_bytes(transcript::hash(Tag::KEY).field(transcript).digest())
}

fn identity_result() -> Error {
    Abort {
        fault: Fault::IdentityResult,
        culprits: Vec::new(),
        evidence: None,
    }
    .into()
}

/// What a curve does to a fresh key before it is stored.
pub(super) trait Finish: KeyGroup {
    /// The stored form of points and share.
    fn finish(
        points: PublicPoints<Self>,
        secret: SecretScalar<Self>,
        purpose: Purpose,
    ) -> Result<(PublicPoints<Self>, SecretScalar<Self>), Error>;
}

impl Finish for Ed25519 {
    fn finish(
        points: PublicPoints<Self>,
        secret: SecretScalar<Self>,
        _purpose: Purpose,
    ) -> Result<(PublicPoints<Self>, SecretScalar<Self>), Error> {
        Ok((points, secret))
    }
}

impl Finish for Secp256k1 {
    /// A BIP 340 key commits to an empty script tree (BIP 341), so that no dealer can have hidden a script path in it:
    /// take the even-y form of `X`, then add `t0 = int(TapTweak hash of x(X))` to key and shares. Once, after the first
    /// key generation.
    fn finish(
        mut points: PublicPoints<Self>,
        mut secret: SecretScalar<Self>,
        purpose: Purpose,
    ) -> Result<(PublicPoints<Self>, SecretScalar<Self>), Error> {
        if purpose != Purpose::Bip340 {
            return Ok((points, secret));
        }
        if !points.group_key.has_even_y() {
            points.group_key = -points.group_key;
            points
                .verifying_shares
                .values_mut()
                .for_each(|point| *point = -*point);
            secret = SecretScalar::new(-*secret.expose_secret());
        }
        let hash = ciphersuite::bip340_tagged("TapTweak", &[&points.group_key.x_bytes()]);
        let tweak = Scalar::decode("tweak", &hash).map_err(|_| identity_result())?;
        let shift = Point::mul_base(&tweak);
        points.group_key = points.group_key + shift;
        points
            .verifying_shares
            .values_mut()
            .for_each(|point| *point = *point + shift);
        let secret = SecretScalar::new(*secret.expose_secret() + tweak);
        Ok((points, secret))
    }
}
