//! The prime-order subgroup of edwards25519.

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar as DalekScalar;
use curve25519_dalek::traits::{Identity, IsIdentity, MultiscalarMul, VartimeMultiscalarMul};
use rand_core::CryptoRng;

use super::{Group, MAX_POINT_LEN, Point, Scalar, raw::Curve};
use crate::codec::Problem;
use crate::secret::SecretScalar;

/// The group of Ed25519 keys. 32-byte points, little-endian scalars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ed25519;

impl Group for Ed25519 {
    const NAME: &'static str = "ed25519";
}

/// Whether this is the one spelling of a point that it decompresses to: y below the field prime, and no sign where x is 0, which is
/// where y is 1 or -1 (RFC 8032, section 5.1.3).
fn is_canonical(bytes: &[u8; 32]) -> bool {
    let [first, middle @ .., last] = bytes;
    let (y_top, sign) = (last & 0x7F, last & 0x80);
    let below_prime = !(*first >= 0xED && middle.iter().all(|byte| *byte == 0xFF) && y_top == 0x7F);
    let one = *first == 1 && middle.iter().all(|byte| *byte == 0) && y_top == 0;
    let minus_one = *first == 0xEC && middle.iter().all(|byte| *byte == 0xFF) && y_top == 0x7F;
    below_prime && !(sign != 0 && (one || minus_one))
}

impl Curve for Ed25519 {
    type Scalar = DalekScalar;
    type Point = EdwardsPoint;

    const POINT_LEN: usize = 32;
    const GENERATOR: [u8; MAX_POINT_LEN] =
        super::padded(curve25519_dalek::constants::ED25519_BASEPOINT_COMPRESSED.as_bytes());

    fn scalar_from_u64(value: u64) -> DalekScalar {
        DalekScalar::from(value)
    }

    fn scalar_random(rng: &mut impl CryptoRng) -> DalekScalar {
        DalekScalar::random(rng)
    }

    fn scalar_from_wide_be(bytes: &[u8; 64]) -> DalekScalar {
        let mut reversed = *bytes;
        reversed.reverse();
        DalekScalar::from_bytes_mod_order_wide(&reversed)
    }

    fn scalar_from_wide_le(bytes: &[u8; 64]) -> DalekScalar {
        DalekScalar::from_bytes_mod_order_wide(bytes)
    }

    fn scalar_from_hash(bytes: &[u8; 64]) -> DalekScalar {
        Self::scalar_from_wide_le(bytes)
    }

    fn scalar_decode(bytes: &[u8; 32]) -> Option<DalekScalar> {
        DalekScalar::from_canonical_bytes(*bytes).into_option()
    }

    fn scalar_encode(scalar: &DalekScalar) -> [u8; 32] {
        scalar.to_bytes()
    }

    fn scalar_invert(scalar: &DalekScalar) -> Option<DalekScalar> {
        (*scalar != DalekScalar::ZERO).then(|| scalar.invert())
    }

    fn point_identity() -> EdwardsPoint {
        EdwardsPoint::identity()
    }

    fn point_generator() -> EdwardsPoint {
        curve25519_dalek::constants::ED25519_BASEPOINT_POINT
    }

    fn point_decode(bytes: &[u8]) -> Result<EdwardsPoint, Problem> {
        let compressed = CompressedEdwardsY::from_slice(bytes).map_err(|_| Problem::Length)?;
        let point = compressed.decompress().ok_or(Problem::NotOnCurve)?;
        if !is_canonical(compressed.as_bytes()) {
            return Err(Problem::NotCanonical);
        }
        // In the prime-order subgroup (L - 1) * P is -P. The signed digits of L - 1 are few.
        let multiple = EdwardsPoint::vartime_double_scalar_mul_basepoint(
            &-DalekScalar::ONE,
            &point,
            &DalekScalar::ZERO,
        );
        if multiple == -point {
            Ok(point)
        } else {
            Err(Problem::Torsion)
        }
    }

    fn point_encode(point: &EdwardsPoint, out: &mut [u8; MAX_POINT_LEN]) {
        if let Some(out) = out.first_chunk_mut() {
            *out = point.compress().to_bytes();
        }
    }

    fn point_encode_pair(points: &[EdwardsPoint; 2], out: &mut [[u8; MAX_POINT_LEN]; 2]) {
        for (out, encoded) in out.iter_mut().zip(EdwardsPoint::compress_batch(points)) {
            if let Some(out) = out.first_chunk_mut() {
                *out = encoded.to_bytes();
            }
        }
    }

    fn point_is_identity(point: &EdwardsPoint) -> bool {
        point.is_identity()
    }

    fn point_mul(point: &EdwardsPoint, scalar: &DalekScalar) -> EdwardsPoint {
        point * scalar
    }

    fn point_mul_base(scalar: &DalekScalar) -> EdwardsPoint {
        EdwardsPoint::mul_base(scalar)
    }

    fn point_double(point: &EdwardsPoint) -> EdwardsPoint {
        point + point
    }

    fn point_double_mul_vartime(
        a: &DalekScalar,
        point: &EdwardsPoint,
        b: &DalekScalar,
    ) -> EdwardsPoint {
        EdwardsPoint::vartime_double_scalar_mul_basepoint(a, point, b)
    }

    fn point_multi_mul(terms: &[(SecretScalar<Self>, Point<Self>)]) -> EdwardsPoint {
        EdwardsPoint::multiscalar_mul(
            terms.iter().map(|(scalar, _)| scalar.expose_secret().0),
            terms.iter().map(|(_, point)| point.0),
        )
    }

    fn point_multi_mul_vartime(terms: &[(Scalar<Self>, Point<Self>)]) -> EdwardsPoint {
        EdwardsPoint::vartime_multiscalar_mul(
            terms.iter().map(|(scalar, _)| scalar.0),
            terms.iter().map(|(_, point)| point.0),
        )
    }
}

#[cfg(any(test, feature = "testing"))]
impl Point<Ed25519> {
    /// The seven non-trivial points of order dividing 8, added to `self`: what an attacker sends, never what is decoded.
    #[must_use]
    pub fn with_each_torsion(&self) -> Vec<super::PointBytes<Ed25519>> {
        let torsion = curve25519_dalek::constants::EIGHT_TORSION;
        torsion
            .iter()
            .skip(1)
            .map(|small| Self(self.0 + small).encode())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_is_what_compresses_to_itself() {
        // Every y within 40 of 0 and of 2^255, with and without the sign: all 19 second spellings are among them.
        let mut seen = [0; 2];
        for (first, rest, top) in [(0..40, 0, 0), (216..256, 0xFF, 0x7F)]
            .into_iter()
            .flat_map(|(firsts, rest, top): (std::ops::Range<u16>, u8, u8)| {
                firsts.map(move |first| (u8::try_from(first).unwrap(), rest, top))
            })
        {
            for sign in [0, 0x80] {
                let mut bytes = [rest; 32];
                (bytes[0], bytes[31]) = (first, top | sign);
                if let Some(point) = CompressedEdwardsY(bytes).decompress() {
                    let expected = point.compress().to_bytes() == bytes;
                    assert_eq!(is_canonical(&bytes), expected, "{bytes:?}");
                    seen[usize::from(expected)] += 1;
                }
            }
        }
        assert!(seen[0] >= 10 && seen[1] >= 20, "{seen:?}");
    }

    #[test]
    fn a51_torsion_is_what_the_library_calls_torsion() {
        for multiple in 0..16_u64 {
            let point = EdwardsPoint::mul_base(&DalekScalar::from(multiple));
            for small in curve25519_dalek::constants::EIGHT_TORSION {
                let sum = point + small;
                let decoded = Ed25519::point_decode(sum.compress().as_bytes());
                assert_eq!(decoded == Err(Problem::Torsion), !sum.is_torsion_free());
                assert_eq!(decoded.is_ok(), sum.is_torsion_free());
            }
        }
    }
}
