//! From everybody's responses to a signature. No secret is involved; whoever relays the messages can do it.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "field and group operations wrap by definition"
)]

use std::collections::BTreeMap;

use super::request::SigningRequest;
use super::sign::{check_broadcast, duplicate, nonce_sum, openings_echo, read_openings};
use super::wire::{Opening, Response, Signed};
use super::{Point, PointBytes, Scalar};
use crate::envelope::{Envelope, Kind};
use crate::id::{NodeId, SessionId};
use crate::roster::Roster;
use crate::{Abort, Error, Fault, Misuse, Rejection, evidence};

/// An ECDSA signature with `s` in the lower half, and the number that recovers the public key from it. Verified when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EcdsaSignature {
    r: [u8; 32],
    s: [u8; 32],
    recovery_id: u8,
}

impl EcdsaSignature {
    /// `r || s`, 64 bytes big-endian.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 64] {
        let mut out = [0; 64];
        let (r, s) = out.split_at_mut(32);
        r.copy_from_slice(&self.r);
        s.copy_from_slice(&self.s);
        out
    }

    /// 0 to 3: bit 0 is the parity of y of the nonce point, bit 1 is set when its x is above the group order.
    #[must_use]
    pub const fn recovery_id(&self) -> u8 {
        self.recovery_id
    }

    /// `r || s || recovery id`, 65 bytes.
    #[must_use]
    pub fn to_recoverable_bytes(&self) -> [u8; 65] {
        let mut out = [0; 65];
        let (front, last) = out.split_at_mut(64);
        front.copy_from_slice(&self.to_bytes());
        last.fill(self.recovery_id);
        out
    }
}

/// Combines the responses of all signers to a request, and verifies the result.
///
/// `entry` is the name of the pool entry; `openings` and `responses` are the envelopes of all signers, in any order.
///
/// A signature that verifies vouches for what it was made of: nobody could have made it from other parts than those of the signers, and
/// it is for the request. So the envelopes' own signatures are looked at only where there is none, to say why.
///
/// # Errors
/// [`Error::Aborted`]: [`Fault::InvalidSignature`] names nobody; such a set of signers should not be asked again soon.
/// [`Error::Rejected`] and [`Error::Misuse`] for envelopes that are not one of every signer of this session.
pub fn combine(
    roster: &Roster,
    request: &SigningRequest,
    entry: &SessionId,
    openings: &[Vec<u8>],
    responses: &[Vec<u8>],
) -> Result<EcdsaSignature, Error> {
    combine_vouched(request, entry, openings, responses).or_else(|_| {
        let open = |bytes: &[u8]| Envelope::open(roster, bytes);
        combine_with(open, request, entry, openings, responses)
    })
}

/// [`combine`] for envelopes whose signatures have been verified before, or do not matter yet.
pub(super) fn combine_vouched(
    request: &SigningRequest,
    entry: &SessionId,
    openings: &[Vec<u8>],
    responses: &[Vec<u8>],
) -> Result<EcdsaSignature, Error> {
    combine_with(Envelope::vouched, request, entry, openings, responses)
}

fn combine_with(
    open: impl Fn(&[u8]) -> Result<Envelope, Rejection>,
    request: &SigningRequest,
    entry: &SessionId,
    openings: &[Vec<u8>],
    responses: &[Vec<u8>],
) -> Result<EcdsaSignature, Error> {
    let session = request.session(entry);
    let responses = read_responses(&open, request, session, responses)?;
    let openings = read_openings(&open, request, session, openings)?;
    let echo = openings_echo(session, &openings);
    if responses.values().any(|held| held.message.echo != echo) {
        let message = Kind::EcdsaOpen;
        return Err(Abort::unattributed(Fault::ViewsDiffer { message }).into());
    }
    match combine_responses(request, &responses) {
        Some(signature) => Ok(signature),
        None => Err(why_none(request, &openings, &responses)),
    }
}

/// The signature, if the responses agree on the nonce and what they add up to verifies with it.
fn combine_responses(
    request: &SigningRequest,
    responses: &BTreeMap<NodeId, Signed<Response>>,
) -> Option<EcdsaSignature> {
    let mut messages = responses.values().map(|held| &held.message);
    let nonce = messages.clone().next()?.nonce;
    if messages.any(|message| message.nonce != nonce) {
        return None;
    }
    let (mut denominator, mut numerator) = (Scalar::zero(), Scalar::zero());
    for held in responses.values() {
        denominator += Scalar::decode("u", &held.message.denominator).ok()?;
        numerator += Scalar::decode("w", &held.message.numerator).ok()?;
    }
    finish(request, &nonce, denominator, numerator)
}

/// What is wrong with responses that repeat the right echo and give no signature.
fn why_none(
    request: &SigningRequest,
    openings: &BTreeMap<NodeId, Signed<Opening>>,
    responses: &BTreeMap<NodeId, Signed<Response>>,
) -> Error {
    let invalid = || Abort::unattributed(Fault::InvalidSignature).into();
    let Some((_, encoded)) = nonce_sum(openings) else {
        return invalid();
    };
    for (node, held) in responses {
        // All have vouched for the same openings, so each must have found the same sum.
        if held.message.nonce != encoded {
            return Abort::local(*node, Fault::NonceMismatch).into();
        }
    }
    let signers = request.signer_set();
    for held in responses.values() {
        let parts = [
            ("u", &held.message.denominator),
            ("w", &held.message.numerator),
        ];
        for (field, bytes) in parts {
            if let Err(error) = Scalar::decode(field, bytes) {
                return evidence::ecdsa::malformed(&signers, &held.envelope, error);
            }
        }
    }
    invalid()
}

pub(super) fn read_responses(
    open: impl Fn(&[u8]) -> Result<Envelope, Rejection>,
    request: &SigningRequest,
    session: SessionId,
    envelopes: &[Vec<u8>],
) -> Result<BTreeMap<NodeId, Signed<Response>>, Error> {
    let signers = request.signer_set();
    let mut responses = BTreeMap::new();
    for bytes in envelopes {
        let envelope = check_broadcast(open(bytes)?, request, Kind::EcdsaRespond)?;
        let from = envelope.header().from;
        if envelope.header().session != session {
            return Err(Abort::unattributed(Fault::RequestMismatch { node: from }).into());
        }
        let message = Response::decode(envelope.body())
            .map_err(|error| evidence::ecdsa::malformed(&signers, &envelope, error))?;
        if let Some(held) = responses.get(&from) {
            let held: &Signed<Response> = held;
            return Err(duplicate(&held.envelope, &envelope));
        }
        responses.insert(from, Signed { envelope, message });
    }
    if responses.len() == signers.len() {
        Ok(responses)
    } else {
        Err(Misuse::InvalidSigners("there is not one message of every signer").into())
    }
}

/// Divides, checks that exactly the agreed nonce point comes back, and takes the lower `s`.
fn finish(
    request: &SigningRequest,
    nonce: &PointBytes,
    denominator: Scalar,
    numerator: Scalar,
) -> Option<EcdsaSignature> {
    let x = nonce.x_bytes();
    let r = Scalar::from_be_reduced(&x);
    // One inversion for s = w / u and for 1 / s; there is none if either is zero.
    let both = (numerator * denominator).invert_vartime()?;
    let s = numerator * numerator * both;
    let inverse = denominator * denominator * both;
    let message = request.message_scalar() * inverse;
    // The verification equation, and the sign that it leaves open.
    let point = Point::double_mul_vartime(&(r * inverse), request.public_point(), &message);
    if point.encode() != *nonce || r.is_zero() {
        return None;
    }
    let above_order = r.encode() != x;
    let odd = nonce.has_odd_y();
    let negated = -s;
    let low = s.encode() <= negated.encode();
    // Taking -s for s mirrors the nonce point.
    let parity = odd ^ !low;
    let recovery_id = u8::from(parity) | (u8::from(above_order) << 1);
    Some(EcdsaSignature {
        r: r.encode(),
        s: if low { s } else { negated }.encode(),
        recovery_id,
    })
}
