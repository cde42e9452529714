//! Nonce commitments: what a signer publishes in round one.

use core::fmt;

use super::Erased;
use super::suite::{Ed25519Sha512, Secp256k1Sha256Tr, Suite};
use crate::codec::{DecodeError, Problem, Reader};
use crate::group::{Point, PointBytes, Scalar};
use crate::id::Purpose;

/// The two points of a commitment, kept decoded and encoded: arithmetic needs the one, hashing the other.
#[derive(Clone, Copy)]
pub(crate) struct Pair<S: Suite> {
    pub(crate) hiding: Point<S::Group>,
    pub(crate) binding: Point<S::Group>,
    encoded: [PointBytes<S::Group>; 2],
}

impl<S: Suite> Pair<S> {
    /// The commitment to two secret nonces, in constant time.
    pub(crate) fn to_secrets(hiding: &Scalar<S::Group>, binding: &Scalar<S::Group>) -> Self {
        let points @ [hiding, binding] = [Point::mul_base(hiding), Point::mul_base(binding)];
        Self {
            hiding,
            binding,
            encoded: Point::encode_pair(&points),
        }
    }

    /// Points that no decoder lets through, with the encodings of others.
    #[cfg(test)]
    pub(crate) const fn raw(hiding: Point<S::Group>, binding: Point<S::Group>, like: Self) -> Self {
        Self {
            hiding,
            binding,
            encoded: like.encoded,
        }
    }

    /// Reads two different valid points.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut point = |field| {
            let encoded = PointBytes::<S::Group>::from_slice(
                field,
                reader.bytes(field, Point::<S::Group>::BYTES)?,
            )?;
            Ok((encoded.decode(field)?, encoded))
        };
        let (hiding, hiding_bytes) = point("hiding")?;
        let (binding, binding_bytes) = point("binding")?;
        if hiding_bytes == binding_bytes {
            return Err(DecodeError::new("binding", Problem::Unknown));
        }
        Ok(Self {
            hiding,
            binding,
            encoded: [hiding_bytes, binding_bytes],
        })
    }

    /// The hiding point's encoding, then the binding point's.
    pub(crate) fn encoded(&self) -> impl Iterator<Item = &[u8]> {
        self.encoded.iter().map(PointBytes::as_slice)
    }
}

/// A signer's public commitment to one pair of nonces: the hiding and the binding point (D, E) of RFC 9591, section 5.1.
///
/// 64 bytes for an Ed25519 key, 66 bytes for a BIP 340 key. Decoding admits only canonical encodings of two different points of
/// the prime-order group, neither of them the identity, so that a value of this type is always safe to compute with.
#[derive(Clone, Copy)]
pub struct Commitment(pub(crate) Erased<Pair<Ed25519Sha512>, Pair<Secp256k1Sha256Tr>>);

impl Commitment {
    /// The encoding: hiding point, then binding point.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match &self.0 {
            Erased::Ed25519(pair) => pair.encoded().flatten().copied().collect(),
            Erased::Taproot(pair) => pair.encoded().flatten().copied().collect(),
        }
    }

    /// Decodes a commitment made for a key of this purpose.
    ///
    /// # Errors
    /// The field `hiding` or `binding` and what is wrong with it: `Length`, `NotCanonical`, `NotOnCurve`, `Torsion` or `Identity`;
    /// `Unknown` if both points are the same, and for purposes that do not sign by FROST; `Trailing` if bytes follow.
    ///
    /// # Timing
    /// Variable in `bytes`, which are public.
    pub fn decode(purpose: Purpose, bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let commitment = Self::read(purpose, &mut reader)?;
        reader.finish("commitment")?;
        Ok(commitment)
    }

    pub(crate) fn read(purpose: Purpose, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match purpose {
            Purpose::Ed25519 => Pair::read(reader).map(Erased::Ed25519).map(Self),
            Purpose::Bip340 => Pair::read(reader).map(Erased::Taproot).map(Self),
            Purpose::Ecdsa | Purpose::EcdsaRaw => {
                Err(DecodeError::new("purpose", Problem::Unknown))
            }
        }
    }
}

impl PartialEq for Commitment {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Erased::Ed25519(a), Erased::Ed25519(b)) => a.encoded == b.encoded,
            (Erased::Taproot(a), Erased::Taproot(b)) => a.encoded == b.encoded,
            (Erased::Ed25519(_), Erased::Taproot(_)) | (Erased::Taproot(_), Erased::Ed25519(_)) => {
                false
            }
        }
    }
}

impl Eq for Commitment {}

impl fmt::Debug for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Commitment(")?;
        self.encode()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}
