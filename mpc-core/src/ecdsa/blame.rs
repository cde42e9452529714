//! Who is to blame for a signature that does not verify although every check before passed.
//!
//! Each signer shows its secret factors in the exponent, once, and proves that it used the same ones everywhere:
//! ```text
//! Phi_i = phi_i*G   Kk_i = phi_i*R_i   Kx_i = phi_i*PX_i      and for each j   B_ij = be_ij*G   Ek_ij = be_ij*R_j   Ex_ij = be_ij*PX_j
//! ```
//! Then anybody can check its masks and its response against the signed openings. If all explanations were right the signature would
//! verify, so at least one is not, and what convicts its author is signed by itself. (Protocol notes, section 10.3.)
//!
//! The public values that the equations are about (`lambda_j * S_j`, message, tweak, entry, request) are hashed into the explanation as
//! `facts`. So a judge who does not know the key convicts nobody over values that its accuser made up: the accused has signed them.
//!
//! # Security
//! What an explanation reveals are group elements of a session that is spent. It is given at most once, only by a signer whose own
//! checks all passed, only about responses that it has seen fail, and only if the feature `blame` is built in.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "field and group operations wrap by definition"
)]

#[cfg(feature = "blame")]
mod explain;
mod message;

use std::collections::{BTreeMap, BTreeSet};

use super::combine::{combine, read_responses};
use super::request::SigningRequest;
use super::sign::{key_points, nonce_sum, openings_echo, read_openings};
use super::wire::{Opening, Response, Signed, header};
use super::{Point, PointBytes, Scalar};
use crate::codec::{DecodeError, Problem, Reader, Writer};
use crate::echo::echo;
use crate::envelope::{Envelope, Kind, Recipient};
use crate::evidence::{Claim, Evidence, EvidenceError};
use crate::group::Secp256k1;
use crate::id::{NodeId, SessionId};
use crate::proof::{Context, EqualityProof, EqualityStatement};
use crate::roster::Roster;
use crate::transcript::{self, Tag};
use crate::{Abort, Error, Fault, Misuse, Strength};
use message::{Explanation, Factor};

type Statement = EqualityStatement<Secp256k1, 3>;
type Proof = EqualityProof<Secp256k1, 3>;

/// What came of a blame round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// One for every signer that is guilty, with evidence.
    pub guilty: Vec<Abort>,
    /// Who has not explained itself about these messages. Silence is not called malice.
    pub unexplained: BTreeSet<NodeId>,
}

/// Judges the explanations of a failed signature.
///
/// `openings` and `responses` are the envelopes of all signers, as they were given to [`combine`]; `explanations` are those that came,
/// from `Responded::explain` of every signer. No secret is involved.
///
/// # Errors
/// [`Misuse::NoFault`] if the signature verifies; what [`combine`] says if it fails for another reason.
/// [`Error::Rejected`] for an explanation that nobody has signed.
pub fn blame(
    roster: &Roster,
    request: &SigningRequest,
    entry: &SessionId,
    openings: &[Vec<u8>],
    responses: &[Vec<u8>],
    explanations: &[Vec<u8>],
) -> Result<Verdict, Error> {
    let case = Case::failed(roster, request, entry, openings, responses)?;
    let mut verdict = Verdict {
        guilty: Vec::new(),
        unexplained: case.openings.keys().copied().collect(),
    };
    for bytes in explanations {
        let envelope = Envelope::open(roster, bytes)?;
        let from = envelope.header().from;
        if !case.is_explained_by(&envelope) || !verdict.unexplained.remove(&from) {
            continue;
        }
        if let Err(fault) = case.check(&envelope) {
            let strength = match fault {
                // A judge has to know the key to see that.
                Fault::ExplanationMismatch => Strength::Local,
                _ => Strength::Transferable,
            };
            let evidence = (strength == Strength::Transferable).then(|| case.evidence(&envelope));
            verdict.guilty.push(Abort {
                fault,
                culprits: vec![(from, strength)],
                evidence,
            });
        }
    }
    if verdict.guilty.is_empty() && verdict.unexplained.is_empty() {
        return Err(Error::Unreachable(
            "all responses are right and the signature is not",
        ));
    }
    Ok(verdict)
}

/// The public values of a request that the equations need.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Facts {
    entry: SessionId,
    request: [u8; 32],
    digest: [u8; 32],
    tweak: Scalar,
    /// `lambda_j * S_j`
    weighted: BTreeMap<NodeId, Point>,
}

impl Facts {
    fn of(request: &SigningRequest, entry: &SessionId) -> Self {
        Self {
            entry: *entry,
            request: *request.name(),
            digest: *request.digest(),
            tweak: *request.tweak(),
            weighted: request.weighted_shares(),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.bytes(self.entry.as_bytes()).bytes(&self.request);
        out.bytes(&self.digest).bytes(&self.tweak.encode());
        out.u16(u16::try_from(self.weighted.len()).unwrap_or(u16::MAX));
        for (node, point) in &self.weighted {
            out.bytes(node.as_bytes()).bytes(point.encode().as_slice());
        }
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let entry = SessionId::from_bytes(reader.array("entry")?);
        let (request, digest) = (reader.array("hreq")?, reader.array("digest")?);
        let tweak = Scalar::decode("tau", reader.bytes("tau", 32)?)?;
        let mut weighted = BTreeMap::new();
        for _ in 0..reader.u16("signers")? {
            let node = NodeId::from_bytes(reader.array("signer")?);
            if weighted
                .last_key_value()
                .is_some_and(|(last, _)| *last >= node)
            {
                return Err(DecodeError::new("signer", Problem::NotCanonical));
            }
            let point = PointBytes::from_slice("share", reader.bytes("share", 33)?)?;
            weighted.insert(node, point.decode("share")?);
        }
        reader.finish("context")?;
        Ok(Self {
            entry,
            request,
            digest,
            tweak,
            weighted,
        })
    }

    fn hash(&self) -> [u8; 32] {
        let hash = transcript::hash(Tag::BLAME_FACTS);
        hash.field(self.encode()).digest()
    }

    fn session(&self) -> SessionId {
        let hash = transcript::hash(Tag::SSID_SIGN).field(self.entry);
        SessionId::from_bytes(hash.field(self.request).digest())
    }
}

/// The openings and responses of one session, with everything that follows from them.
struct Case {
    facts: Facts,
    session: SessionId,
    openings: BTreeMap<NodeId, Signed<Opening>>,
    responses: BTreeMap<NodeId, Signed<Response>>,
    /// The echo of the responses, which explanations repeat.
    echo: [u8; 32],
    /// `R_j`
    nonces: BTreeMap<NodeId, Point>,
    /// `PX_j`
    keys: BTreeMap<NodeId, Point>,
    /// `r`
    r: Scalar,
}

impl Case {
    /// The case of a signature that does not verify.
    fn failed(
        roster: &Roster,
        request: &SigningRequest,
        entry: &SessionId,
        openings: &[Vec<u8>],
        responses: &[Vec<u8>],
    ) -> Result<Self, Error> {
        match combine(roster, request, entry, openings, responses) {
            Err(Error::Aborted(abort)) if abort.fault == Fault::InvalidSignature => {}
            Ok(_) => return Err(Misuse::NoFault.into()),
            Err(other) => return Err(other),
        }
        let session = request.session(entry);
        let open = |bytes: &[u8]| Envelope::open(roster, bytes);
        Self::new(
            Facts::of(request, entry),
            read_openings(open, request, session, openings)?,
            read_responses(open, request, session, responses)?,
        )
        .map_err(|_| Abort::unattributed(Fault::InvalidSignature).into())
    }

    fn new(
        facts: Facts,
        openings: BTreeMap<NodeId, Signed<Opening>>,
        responses: BTreeMap<NodeId, Signed<Response>>,
    ) -> Result<Self, DecodeError> {
        let session = facts.session();
        let decode = |(node, held): (&NodeId, &Signed<Opening>)| {
            let point = held.message.nonce.decode("R")?;
            Ok((*node, point))
        };
        let nonces = openings.iter().map(decode).collect::<Result<_, _>>()?;
        let keys = key_points(facts.weighted.clone(), &openings).map_err(|(_, error)| error)?;
        let (sum, _) =
            nonce_sum(&openings).ok_or_else(|| DecodeError::new("R", Problem::NotOnCurve))?;
        let digests = responses
            .iter()
            .map(|(node, held)| (*node, *held.envelope.digest()));
        Ok(Self {
            echo: echo(session, 4, digests),
            session,
            nonces,
            keys,
            r: Scalar::from_be_reduced(&sum.x_bytes()),
            facts,
            openings,
            responses,
        })
    }

    fn signers(&self) -> BTreeSet<NodeId> {
        self.openings.keys().copied().collect()
    }

    fn place(&self, from: NodeId) -> crate::envelope::Header {
        header(Kind::EcdsaExplain, self.session, from, Recipient::Everyone)
    }

    /// Whether a message is one of this session and about these responses.
    fn is_explained_by(&self, envelope: &Envelope) -> bool {
        let from = envelope.header().from;
        let echo = message::echo_of(envelope.body());
        self.openings.contains_key(&from)
            && *envelope.header() == self.place(from)
            && echo.is_none_or(|echo| echo == self.echo)
    }

    /// The proof context of a signer, and what its factor for `about` multiplies: the generator, a nonce and a key.
    fn bases(&self, about: &NodeId) -> Option<[Point; 3]> {
        let (nonce, key) = (self.nonces.get(about)?, self.keys.get(about)?);
        Some([Point::generator(), *nonce, *key])
    }

    /// The equations, for one signer.
    fn check(&self, envelope: &Envelope) -> Result<(), Fault> {
        let from = envelope.header().from;
        let malformed = |error| Fault::Malformed {
            message: Kind::EcdsaExplain,
            error,
        };
        let explanation =
            Explanation::decode(&self.signers(), &from, envelope.body()).map_err(malformed)?;
        if explanation.facts != self.facts.hash() {
            return Err(Fault::ExplanationMismatch);
        }
        let own = self.images(&from, &from, 0, &explanation.own)?;
        let mut products = Vec::new();
        for (number, (peer, factor)) in (1..).zip(&explanation.peers) {
            products.push((*peer, self.images(&from, peer, number, factor)?));
        }
        let holds = self.masks_hold(&from, &own, &products) == Some(true)
            && self.response_holds(&from, &own, &products) == Some(true);
        if holds {
            Ok(())
        } else {
            Err(Fault::InvalidSignatureShare)
        }
    }

    /// The images of one factor, after their proof was checked.
    fn images(
        &self,
        from: &NodeId,
        about: &NodeId,
        number: u16,
        factor: &Factor,
    ) -> Result<[Point; 3], Fault> {
        let proof = "blame";
        let invalid = Fault::InvalidProof { proof, number };
        let bases = self.bases(about).ok_or_else(|| invalid.clone())?;
        let statement = Statement {
            bases,
            images: factor.images,
        };
        let fields: [&[u8]; 1] = [self.session.as_bytes()];
        if factor.proof.verify(&context(&fields, *from), &statement) {
            Ok(factor.images)
        } else {
            Err(invalid)
        }
    }

    /// `psi_ij*G == Phi_i - B_ij` for all j; with two signers `Phi_i == B_ij`.
    fn masks_hold(
        &self,
        from: &NodeId,
        [phi, ..]: &[Point; 3],
        products: &[(NodeId, [Point; 3])],
    ) -> Option<bool> {
        let opening = &self.openings.get(from)?.message;
        let mut all = true;
        for (peer, [beta, ..]) in products {
            let mask = match &opening.masked.get(peer)?.extra {
                Some(extra) => Point::mul_base(&Scalar::decode("psi", &extra.mask).ok()?),
                None => Point::identity(),
            };
            all &= mask == *phi - *beta;
        }
        Some(all)
    }

    /// `u_i*G` and `w_i*G` against the openings.
    fn response_holds(
        &self,
        from: &NodeId,
        [phi, phi_nonce, phi_key]: &[Point; 3],
        products: &[(NodeId, [Point; 3])],
    ) -> Option<bool> {
        let own = &self.openings.get(from)?.message;
        let response = &self.responses.get(from)?.message;
        let (mut denominator, mut numerator) = (*phi_nonce, *phi_key);
        let mut masks = Scalar::zero();
        for (peer, [_, nonce, key]) in products {
            let sent = own.masked.get(peer)?;
            let received = self.openings.get(peer)?.message.masked.get(from)?;
            let point = |bytes: &PointBytes| bytes.decode("G").ok();
            denominator =
                denominator + point(&sent.nonce_point)? + *nonce - point(&received.nonce_point)?;
            numerator = numerator + point(&sent.key_point)? + *key - point(&received.key_point)?;
            if let Some(extra) = &received.extra {
                masks += Scalar::decode("psi", &extra.mask).ok()?;
            }
        }
        let (nonce, key) = (*self.nonces.get(from)?, *self.keys.get(from)?);
        denominator = denominator + Point::multi_mul_vartime(&[(masks, nonce)]);
        numerator = numerator + Point::multi_mul_vartime(&[(masks, key), (self.facts.tweak, *phi)]);
        let message = Scalar::from_be_reduced(&self.facts.digest);
        let numerator = Point::multi_mul_vartime(&[(message, *phi), (self.r, numerator)]);
        let (Ok(u), Ok(w)) = (
            Scalar::decode("u", &response.denominator),
            Scalar::decode("w", &response.numerator),
        ) else {
            return Some(false);
        };
        Some(Point::mul_base(&u) == denominator && Point::mul_base(&w) == numerator)
    }

    fn evidence(&self, explanation: &Envelope) -> Evidence {
        let openings = self.openings.values().map(|held| &held.envelope);
        let responses = self.responses.values().map(|held| &held.envelope);
        let messages = openings.chain(responses).chain([explanation]);
        let messages = messages.map(|envelope| envelope.as_bytes().to_vec());
        Evidence::new(Claim::EcdsaBlame, self.facts.encode(), messages.collect())
    }
}

const fn context<'a>(fields: &'a [&'a [u8]; 1], prover: NodeId) -> Context<'a, NodeId> {
    Context {
        tag: Tag::BLAME,
        fields,
        prover,
    }
}

/// Judges evidence: openings and responses of all signers, then the explanation of the accused. The accused has signed the hash of the
/// facts, the echo of the responses, and in its response the echo of the openings: whatever is not bound that way proves nothing.
pub(crate) fn judge(
    context: &[u8],
    messages: &[Envelope],
) -> Result<(NodeId, Fault), EvidenceError> {
    let facts = Facts::decode(context)?;
    let [rest @ .., accused] = messages else {
        return Err(EvidenceError::NotProven("there is no message"));
    };
    let count = facts.weighted.len();
    if rest.len() != count.saturating_mul(2) {
        return Err(EvidenceError::NotProven(
            "two messages of every signer are needed",
        ));
    }
    let (openings, responses) = rest.split_at(count);
    let signers: BTreeSet<NodeId> = facts.weighted.keys().copied().collect();
    let session = facts.session();
    let in_place = |kind, envelope: &Envelope, node: &NodeId| {
        *envelope.header() == header(kind, session, *node, Recipient::Everyone)
    };
    let mut opened = BTreeMap::new();
    let mut responded = BTreeMap::new();
    for (node, (opening, response)) in signers.iter().zip(openings.iter().zip(responses)) {
        if !in_place(Kind::EcdsaOpen, opening, node)
            || !in_place(Kind::EcdsaRespond, response, node)
        {
            return Err(EvidenceError::NotProven(
                "the messages are not of one session, in the order of its signers",
            ));
        }
        let message = Opening::decode(&signers, node, opening.body())?;
        let envelope = opening.clone();
        opened.insert(*node, Signed { envelope, message });
        let message = Response::decode(response.body())?;
        let envelope = response.clone();
        responded.insert(*node, Signed { envelope, message });
    }
    let case = Case::new(facts, opened, responded)?;
    let from = accused.header().from;
    let vouched = case.responses.get(&from).map(|held| held.message.echo);
    if vouched != Some(openings_echo(session, &case.openings)) || !case.is_explained_by(accused) {
        return Err(EvidenceError::NotProven(
            "the accused has answered to other messages",
        ));
    }
    match case.check(accused) {
        Ok(()) => Err(EvidenceError::NotProven("the response is right")),
        Err(Fault::ExplanationMismatch) => Err(EvidenceError::NotProven(
            "the accused has explained other public values",
        )),
        Err(fault) => Ok((from, fault)),
    }
}
