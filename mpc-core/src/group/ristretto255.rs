//! ristretto255 of RFC 9496: the group of share-encryption keys. Prime order by construction.

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar as DalekScalar;
use curve25519_dalek::traits::{Identity, IsIdentity, MultiscalarMul, VartimeMultiscalarMul};
use rand_core::CryptoRng;
use subtle::{Choice, ConditionallySelectable};

use super::{Ed25519, Group, MAX_POINT_LEN, Point, Scalar, raw::Curve};
use crate::codec::Problem;
use crate::secret::SecretScalar;

/// The group of share-encryption keys. 32-byte points, little-endian scalars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ristretto255;

impl Group for Ristretto255 {
    const NAME: &'static str = "ristretto255";
}

impl Curve for Ristretto255 {
    type Scalar = DalekScalar;
    type Point = RistrettoPoint;

    const POINT_LEN: usize = 32;
    const GENERATOR: [u8; MAX_POINT_LEN] =
        super::padded(curve25519_dalek::constants::RISTRETTO_BASEPOINT_COMPRESSED.as_bytes());

    fn scalar_from_u64(value: u64) -> DalekScalar {
        DalekScalar::from(value)
    }

    fn scalar_random(rng: &mut impl CryptoRng) -> DalekScalar {
        DalekScalar::random(rng)
    }

    fn scalar_from_wide_be(bytes: &[u8; 64]) -> DalekScalar {
        Ed25519::scalar_from_wide_be(bytes)
    }

    fn scalar_from_wide_le(bytes: &[u8; 64]) -> DalekScalar {
        Ed25519::scalar_from_wide_le(bytes)
    }

    fn scalar_from_hash(bytes: &[u8; 64]) -> DalekScalar {
        Ed25519::scalar_from_hash(bytes)
    }

    fn scalar_decode(bytes: &[u8; 32]) -> Option<DalekScalar> {
        Ed25519::scalar_decode(bytes)
    }

    fn scalar_encode(scalar: &DalekScalar) -> [u8; 32] {
        scalar.to_bytes()
    }

    fn scalar_invert(scalar: &DalekScalar) -> Option<DalekScalar> {
        Ed25519::scalar_invert(scalar)
    }

    fn point_identity() -> RistrettoPoint {
        RistrettoPoint::identity()
    }

    fn point_generator() -> RistrettoPoint {
        curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT
    }

    fn point_decode(bytes: &[u8]) -> Result<RistrettoPoint, Problem> {
        let compressed = CompressedRistretto::from_slice(bytes).map_err(|_| Problem::Length)?;
        // RFC 9496 decoding refuses every second spelling itself.
        compressed.decompress().ok_or(Problem::NotOnCurve)
    }

    fn point_encode(point: &RistrettoPoint, out: &mut [u8; MAX_POINT_LEN]) {
        if let Some(out) = out.first_chunk_mut() {
            *out = point.compress().to_bytes();
        }
    }

    fn point_encode_pair(points: &[RistrettoPoint; 2], out: &mut [[u8; MAX_POINT_LEN]; 2]) {
        points
            .iter()
            .zip(out)
            .for_each(|(point, out)| Self::point_encode(point, out));
    }

    fn point_is_identity(point: &RistrettoPoint) -> bool {
        point.is_identity()
    }

    fn point_mul(point: &RistrettoPoint, scalar: &DalekScalar) -> RistrettoPoint {
        point * scalar
    }

    fn point_mul_base(scalar: &DalekScalar) -> RistrettoPoint {
        RistrettoPoint::mul_base(scalar)
    }

    fn point_double(point: &RistrettoPoint) -> RistrettoPoint {
        point + point
    }

    fn point_double_mul_vartime(
        a: &DalekScalar,
        point: &RistrettoPoint,
        b: &DalekScalar,
    ) -> RistrettoPoint {
        RistrettoPoint::vartime_double_scalar_mul_basepoint(a, point, b)
    }

    fn point_multi_mul(terms: &[(SecretScalar<Self>, Point<Self>)]) -> RistrettoPoint {
        RistrettoPoint::multiscalar_mul(
            terms.iter().map(|(scalar, _)| scalar.expose_secret().0),
            terms.iter().map(|(_, point)| point.0),
        )
    }

    fn point_multi_mul_vartime(terms: &[(Scalar<Self>, Point<Self>)]) -> RistrettoPoint {
        RistrettoPoint::vartime_multiscalar_mul(
            terms.iter().map(|(scalar, _)| scalar.0),
            terms.iter().map(|(_, point)| point.0),
        )
    }
}

impl Point<Ristretto255> {
    /// Maps 64 uniform bytes to a uniform point whose logarithm nobody knows (RFC 9496, section 4.3.4).
    #[must_use]
    pub fn from_uniform(bytes: &[u8; 64]) -> Self {
        Self(RistrettoPoint::from_uniform_bytes(bytes))
    }

    /// The two points as they are, or exchanged, in constant time.
    #[must_use]
    pub fn select_pair([one, other]: [Self; 2], exchange: Choice) -> [Self; 2] {
        let first = RistrettoPoint::conditional_select(&one.0, &other.0, exchange);
        let second = RistrettoPoint::conditional_select(&other.0, &one.0, exchange);
        [Self(first), Self(second)]
    }
}
