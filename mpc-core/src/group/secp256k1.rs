//! secp256k1, the curve of Bitcoin and Ethereum keys.

mod residue;

use k256::elliptic_curve::ff::PrimeField;
use k256::elliptic_curve::ops::{LinearCombination, MulByGeneratorVartime, Reduce};
use k256::elliptic_curve::point::{AffineCoordinates, DecompressPoint};
use k256::elliptic_curve::sec1::ToSec1Point;
use k256::elliptic_curve::subtle::Choice;
use k256::elliptic_curve::{BatchNormalize, Field, Generate, Group as _};
use k256::{AffinePoint, FieldBytes, ProjectivePoint, Scalar as KScalar, WideBytes};
use rand_core::CryptoRng;
use zeroize::Zeroize;

pub use residue::{LazySum, Residue};

use super::{Group, MAX_POINT_LEN, Point, PointBytes, Scalar, raw::Curve};
use crate::codec::Problem;
use crate::secret::SecretScalar;

/// The group of ECDSA and BIP 340 keys. 33-byte compressed points, big-endian scalars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Secp256k1;

impl Group for Secp256k1 {
    const NAME: &'static str = "secp256k1";
}

impl Curve for Secp256k1 {
    type Scalar = KScalar;
    type Point = ProjectivePoint;

    const POINT_LEN: usize = 33;
    const GENERATOR: [u8; MAX_POINT_LEN] = [
        0x02, 0x79, 0xBE, 0x66, 0x7E, 0xF9, 0xDC, 0xBB, 0xAC, 0x55, 0xA0, 0x62, 0x95, 0xCE, 0x87,
        0x0B, 0x07, 0x02, 0x9B, 0xFC, 0xDB, 0x2D, 0xCE, 0x28, 0xD9, 0x59, 0xF2, 0x81, 0x5B, 0x16,
        0xF8, 0x17, 0x98,
    ];

    fn scalar_from_u64(value: u64) -> KScalar {
        KScalar::from(value)
    }

    fn scalar_random(rng: &mut impl CryptoRng) -> KScalar {
        KScalar::generate_from_rng(rng)
    }

    fn scalar_from_wide_be(bytes: &[u8; 64]) -> KScalar {
        <KScalar as Reduce<WideBytes>>::reduce(&WideBytes::from(*bytes))
    }

    fn scalar_from_wide_le(bytes: &[u8; 64]) -> KScalar {
        let mut reversed = *bytes;
        reversed.reverse();
        Self::scalar_from_wide_be(&reversed)
    }

    fn scalar_from_hash(bytes: &[u8; 64]) -> KScalar {
        Self::scalar_from_wide_be(bytes)
    }

    fn scalar_decode(bytes: &[u8; 32]) -> Option<KScalar> {
        KScalar::from_repr(FieldBytes::from(*bytes)).into_option()
    }

    fn scalar_encode(scalar: &KScalar) -> [u8; 32] {
        scalar.to_bytes().into()
    }

    fn scalar_invert(scalar: &KScalar) -> Option<KScalar> {
        Field::invert(scalar).into_option()
    }

    fn point_identity() -> ProjectivePoint {
        ProjectivePoint::IDENTITY
    }

    fn point_generator() -> ProjectivePoint {
        ProjectivePoint::GENERATOR
    }

    fn point_decode(bytes: &[u8]) -> Result<ProjectivePoint, Problem> {
        let (&[prefix], x) = bytes.split_first_chunk::<1>().ok_or(Problem::Length)?;
        let x: [u8; 32] = x.try_into().map_err(|_| Problem::Length)?;
        let odd = match prefix {
            2 => Choice::from(0),
            3 => Choice::from(1),
            0 if x == [0; 32] => return Err(Problem::Identity),
            _ => return Err(Problem::Unknown),
        };
        if x >= FIELD_MODULUS {
            return Err(Problem::NotCanonical);
        }
        let point = AffinePoint::decompress(&FieldBytes::from(x), odd).into_option();
        point.map(ProjectivePoint::from).ok_or(Problem::NotOnCurve)
    }

    fn point_encode(point: &ProjectivePoint, out: &mut [u8; MAX_POINT_LEN]) {
        write(&point.to_affine(), out);
    }

    fn point_encode_pair(points: &[ProjectivePoint; 2], out: &mut [[u8; MAX_POINT_LEN]; 2]) {
        let points = ProjectivePoint::batch_normalize(points);
        points
            .iter()
            .zip(out)
            .for_each(|(point, out)| write(point, out));
    }

    fn point_is_identity(point: &ProjectivePoint) -> bool {
        bool::from(point.is_identity())
    }

    fn point_mul(point: &ProjectivePoint, scalar: &KScalar) -> ProjectivePoint {
        point * scalar
    }

    fn point_mul_base(scalar: &KScalar) -> ProjectivePoint {
        ProjectivePoint::mul_by_generator(scalar)
    }

    fn point_double(point: &ProjectivePoint) -> ProjectivePoint {
        point.double()
    }

    fn point_double_mul_vartime(
        a: &KScalar,
        point: &ProjectivePoint,
        b: &KScalar,
    ) -> ProjectivePoint {
        ProjectivePoint::mul_by_generator_and_mul_add_vartime(b, a, point)
    }

    fn point_multi_mul(terms: &[(SecretScalar<Self>, Point<Self>)]) -> ProjectivePoint {
        let mut terms: Vec<_> = terms
            .iter()
            .map(|(scalar, point)| (point.0, scalar.expose_secret().0))
            .collect();
        let sum = ProjectivePoint::lincomb(terms.as_slice());
        terms.iter_mut().for_each(|(_, scalar)| scalar.zeroize());
        sum
    }

    fn point_multi_mul_vartime(terms: &[(Scalar<Self>, Point<Self>)]) -> ProjectivePoint {
        let terms: Vec<_> = terms
            .iter()
            .map(|(scalar, point)| (point.0, scalar.0))
            .collect();
        ProjectivePoint::lincomb_vartime(terms.as_slice())
    }
}

fn write(point: &AffinePoint, out: &mut [u8; MAX_POINT_LEN]) {
    // SEC1 writes the identity as a single zero byte; the rest of `out` is zero already.
    let encoded = point.to_sec1_point(true);
    if let Some(out) = out.get_mut(..encoded.as_bytes().len()) {
        out.copy_from_slice(encoded.as_bytes());
    }
}

/// 2^256 - 2^32 - 977, big-endian.
const FIELD_MODULUS: [u8; 32] = {
    let mut modulus = [0xFF; 32];
    modulus[27] = 0xFE;
    modulus[30] = 0xFC;
    modulus[31] = 0x2F;
    modulus
};

impl Point<Secp256k1> {
    /// Whether the y coordinate is even, as BIP 340 asks of public keys and nonces. `true` for the identity.
    #[must_use]
    pub fn has_even_y(&self) -> bool {
        !bool::from(self.0.to_affine().y_is_odd())
    }

    /// The x coordinate, 32 bytes big-endian: the BIP 340 name of the point. Zero for the identity.
    #[must_use]
    pub fn x_bytes(&self) -> [u8; 32] {
        self.0.to_affine().x().into()
    }

    /// The point with this x coordinate and even y (BIP 340 `lift_x`).
    ///
    /// # Errors
    /// As [`Point::decode`].
    pub fn lift_x(field: &'static str, x: &[u8; 32]) -> Result<Self, crate::codec::DecodeError> {
        let mut bytes = [2; 33];
        if let Some(tail) = bytes.last_chunk_mut() {
            *tail = *x;
        }
        Self::decode(field, &bytes)
    }
}

impl PointBytes<Secp256k1> {
    /// The x coordinate of an encoded point, 32 bytes big-endian.
    #[must_use]
    pub fn x_bytes(&self) -> [u8; 32] {
        let [_, x @ ..] = self.bytes;
        x
    }

    /// Whether the y coordinate of an encoded point is odd.
    #[must_use]
    pub const fn has_odd_y(&self) -> bool {
        let [prefix, ..] = self.bytes;
        prefix == 3
    }
}

/// A cube root of 1 modulo the order, big-endian: multiplying a point by it costs one multiplication of its x coordinate.
const LAMBDA: [u8; 32] = [
    0x53, 0x63, 0xAD, 0x4C, 0xC0, 0x5C, 0x30, 0xE0, 0xA5, 0x26, 0x1C, 0x02, 0x88, 0x12, 0x64, 0x5A,
    0x12, 0x2E, 0x22, 0xEA, 0x20, 0x81, 0x66, 0x78, 0xDF, 0x02, 0x96, 0x7C, 0x1B, 0x23, 0xBD, 0x72,
];

impl Scalar<Secp256k1> {
    /// One of 2^128 scalars, another one for every input, that points are multiplied by in half the time: `low + high * lambda`.
    #[must_use]
    pub fn weight(low: u64, high: u64) -> Self {
        Self(KScalar::from(low) + KScalar::from(high) * Self::from_be_reduced(&LAMBDA).0)
    }

    /// The inverse, `None` for 0. For public values.
    #[must_use]
    pub fn invert_vartime(&self) -> Option<Self> {
        self.0.invert_vartime().into_option().map(Self)
    }

    /// 32 bytes as a big-endian integer, reduced: subtracts the order at most once. Uniform bytes give a scalar whose
    /// distance from uniform is below 2^-127.
    #[must_use]
    pub fn from_be_reduced(bytes: &[u8; 32]) -> Self {
        Self(<KScalar as Reduce<FieldBytes>>::reduce(&FieldBytes::from(
            *bytes,
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::rng;

    #[test]
    fn weights_are_what_they_say() {
        let one = Scalar::<Secp256k1>::one();
        let lambda = Scalar::<Secp256k1>::weight(0, 1);
        assert!(lambda != one && lambda * lambda * lambda == one);
        let weight = Scalar::weight(u64::MAX, 7);
        assert_eq!(
            weight,
            Scalar::from_u64(u64::MAX) + Scalar::from_u64(7) * lambda
        );
    }

    #[test]
    fn sums_of_products_are_the_same_in_both_kinds_of_time() {
        let rng = &mut rng(1);
        for count in 0..5 {
            let terms: Vec<_> = (0..count)
                .map(|_| {
                    let scalar = Scalar::random(rng);
                    (scalar, Point::mul_base(&Scalar::random(rng)))
                })
                .collect();
            let secret: Vec<_> = terms
                .iter()
                .map(|(scalar, point)| (SecretScalar::new(*scalar), *point))
                .collect();
            let expected: Point<Secp256k1> =
                terms.iter().map(|(scalar, point)| *point * scalar).sum();
            assert_eq!(Point::multi_mul(&secret), expected);
            assert_eq!(Point::multi_mul_vartime(&terms), expected);
        }
    }

    #[test]
    fn coordinates_of_encoded_points_are_those_of_the_points() {
        let rng = &mut rng(2);
        for _ in 0..8 {
            let point = Point::<Secp256k1>::mul_base(&Scalar::random(rng));
            let encoded = point.encode();
            assert_eq!(encoded.x_bytes(), point.x_bytes());
            assert_eq!(encoded.has_odd_y(), !point.has_even_y());
            let scalar = Scalar::<Secp256k1>::random(rng);
            assert_eq!(scalar.invert_vartime(), scalar.invert());
        }
        assert_eq!(Scalar::<Secp256k1>::zero().invert_vartime(), None);
    }
}
