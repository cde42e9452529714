//! The groups that keys, commitments and share encryption live in. The curve libraries end here.
//!
//! [`Scalar`] and [`Point`] are thin wrappers with one meaning for every curve. Decoding is strict: one spelling for each
//! value, never the identity, never a point outside the prime-order subgroup (protocol notes, section 1.2). What has been
//! decoded need not be checked again.
//!
//! # Timing
//! Everything is constant time except functions whose name ends in `_vartime`, decoding and `is_identity`, which see public
//! values only.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "field and group operations wrap by definition"
)]

mod ed25519;
mod ristretto255;
mod secp256k1;

use core::fmt;
use core::ops::{Add, AddAssign, Mul, Neg, Sub};

use rand_core::CryptoRng;
use zeroize::Zeroize;

pub use ed25519::Ed25519;
pub use ristretto255::Ristretto255;
pub use secp256k1::{LazySum, Residue, Secp256k1};

use crate::codec::{DecodeError, Problem};
use crate::secret::SecretScalar;

/// Longest point encoding, in bytes.
const MAX_POINT_LEN: usize = 33;

/// 32 bytes with a zero behind, at compile time.
const fn padded(bytes: &[u8; 32]) -> [u8; MAX_POINT_LEN] {
    let mut out = [0; MAX_POINT_LEN];
    let (head, _) = out.split_at_mut(32);
    head.copy_from_slice(bytes);
    out
}

mod raw {
    use core::fmt;
    use core::ops::{Add, Mul, Neg, Sub};

    use rand_core::CryptoRng;
    use zeroize::Zeroize;

    use crate::codec::Problem;

    /// What a curve library has to provide. Reachable only inside this module, so no other module can depend on a
    /// curve library's types.
    pub trait Curve: Copy + fmt::Debug + PartialEq + Eq + Send + Sync + 'static {
        type Scalar: Copy
            + Send
            + Sync
            + Zeroize
            + PartialEq
            + Add<Output = Self::Scalar>
            + Sub<Output = Self::Scalar>
            + Mul<Output = Self::Scalar>
            + Neg<Output = Self::Scalar>;
        type Point: Copy
            + Send
            + Sync
            + Zeroize
            + PartialEq
            + Add<Output = Self::Point>
            + Sub<Output = Self::Point>
            + Neg<Output = Self::Point>;

        const POINT_LEN: usize;

        fn scalar_from_u64(value: u64) -> Self::Scalar;
        fn scalar_random(rng: &mut impl CryptoRng) -> Self::Scalar;
        fn scalar_from_wide_be(bytes: &[u8; 64]) -> Self::Scalar;
        fn scalar_from_wide_le(bytes: &[u8; 64]) -> Self::Scalar;
        fn scalar_from_hash(bytes: &[u8; 64]) -> Self::Scalar;
        fn scalar_decode(bytes: &[u8; 32]) -> Option<Self::Scalar>;
        fn scalar_encode(scalar: &Self::Scalar) -> [u8; 32];
        fn scalar_invert(scalar: &Self::Scalar) -> Option<Self::Scalar>;

        fn point_identity() -> Self::Point;
        fn point_generator() -> Self::Point;
        /// The encoding of the generator, in the first `POINT_LEN` bytes.
        const GENERATOR: [u8; super::MAX_POINT_LEN];
        /// Decodes and checks everything except that it is not the identity. `bytes` has `POINT_LEN` bytes.
        fn point_decode(bytes: &[u8]) -> Result<Self::Point, Problem>;
        /// Writes exactly `POINT_LEN` bytes to the front of `out`.
        fn point_encode(point: &Self::Point, out: &mut [u8; super::MAX_POINT_LEN]);
        /// As [`Self::point_encode`] for two points, with one field inversion instead of two.
        fn point_encode_pair(points: &[Self::Point; 2], out: &mut [[u8; super::MAX_POINT_LEN]; 2]);
        fn point_is_identity(point: &Self::Point) -> bool;
        fn point_mul(point: &Self::Point, scalar: &Self::Scalar) -> Self::Point;
        fn point_mul_base(scalar: &Self::Scalar) -> Self::Point;
        fn point_double(point: &Self::Point) -> Self::Point;
        fn point_double_mul_vartime(
            a: &Self::Scalar,
            point: &Self::Point,
            b: &Self::Scalar,
        ) -> Self::Point;
        fn point_multi_mul(
            terms: &[(crate::secret::SecretScalar<Self>, super::Point<Self>)],
        ) -> Self::Point
        where
            Self: super::Group;
        fn point_multi_mul_vartime(
            terms: &[(super::Scalar<Self>, super::Point<Self>)],
        ) -> Self::Point
        where
            Self: super::Group;
    }
}

/// A group of prime order with a fixed generator. Implemented by [`Ed25519`], [`Ristretto255`] and [`Secp256k1`] only.
pub trait Group: raw::Curve {
    /// The name of the group.
    const NAME: &'static str;
    /// Length of an encoded point in bytes.
    const POINT_BYTES: usize = <Self as raw::Curve>::POINT_LEN;
}

/// An integer modulo the order of the group.
#[derive(Clone, Copy, PartialEq)]
pub struct Scalar<G: Group>(G::Scalar);

impl<G: Group> Eq for Scalar<G> {}

impl<G: Group> Scalar<G> {
    /// Length of an encoded scalar in bytes, for every group.
    pub const BYTES: usize = 32;

    /// 0.
    #[must_use]
    pub fn zero() -> Self {
        Self::from_u64(0)
    }

    /// 1.
    #[must_use]
    pub fn one() -> Self {
        Self::from_u64(1)
    }

    /// A small integer.
    #[must_use]
    pub fn from_u64(value: u64) -> Self {
        Self(G::scalar_from_u64(value))
    }

    /// The Shamir coordinate of a party.
    #[must_use]
    pub fn from_index(index: crate::id::PartyIndex) -> Self {
        Self::from_u64(u64::from(index.get()))
    }

    /// A uniform scalar (64 random bytes reduced, or rejection sampling: bias below 2^-252).
    #[must_use]
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        Self(G::scalar_random(rng))
    }

    /// 64 bytes as a big-endian integer, reduced. Shorter inputs: pad with zeros in front.
    #[must_use]
    pub fn from_wide_be(bytes: &[u8; 64]) -> Self {
        Self(G::scalar_from_wide_be(bytes))
    }

    /// 64 bytes as a little-endian integer, reduced.
    #[must_use]
    pub fn from_wide_le(bytes: &[u8; 64]) -> Self {
        Self(G::scalar_from_wide_le(bytes))
    }

    /// 64 bytes of a hash, reduced, in the byte order of the group's own encoding.
    #[must_use]
    pub fn from_hash(bytes: &[u8; 64]) -> Self {
        Self(G::scalar_from_hash(bytes))
    }

    /// Decodes 32 bytes: big-endian for secp256k1, little-endian for the others. Zero is accepted.
    ///
    /// # Errors
    /// `Length` unless there are 32 bytes, `NotCanonical` at or above the order; `field` is the name to report.
    pub fn decode(field: &'static str, bytes: &[u8]) -> Result<Self, DecodeError> {
        let bytes = bytes
            .try_into()
            .map_err(|_| DecodeError::new(field, Problem::Length))?;
        G::scalar_decode(bytes)
            .map(Self)
            .ok_or_else(|| DecodeError::new(field, Problem::NotCanonical))
    }

    /// The 32 canonical bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; 32] {
        G::scalar_encode(&self.0)
    }

    /// Whether this is 0. The answer is public; the comparison is constant time.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::zero()
    }

    /// The inverse, `None` for 0.
    #[must_use]
    pub fn invert(&self) -> Option<Self> {
        G::scalar_invert(&self.0).map(Self)
    }
}

impl<G: Group> Zeroize for Scalar<G> {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

/// Prints nothing of the value: a scalar may be a secret in the middle of a computation.
impl<G: Group> fmt::Debug for Scalar<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scalar(..)")
    }
}

impl<G: Group> Add for Scalar<G> {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl<G: Group> AddAssign for Scalar<G> {
    fn add_assign(&mut self, other: Self) {
        self.0 = self.0 + other.0;
    }
}

impl<G: Group> Sub for Scalar<G> {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl<G: Group> Mul for Scalar<G> {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        Self(self.0 * other.0)
    }
}

impl<G: Group> Neg for Scalar<G> {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl<G: Group> core::iter::Sum for Scalar<G> {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::zero(), Add::add)
    }
}

/// An element of the group.
#[derive(Clone, Copy, PartialEq)]
pub struct Point<G: Group>(G::Point);

impl<G: Group> Eq for Point<G> {}

impl<G: Group> Point<G> {
    /// Length of an encoded point in bytes: 33 for secp256k1, 32 for the others.
    pub const BYTES: usize = G::POINT_BYTES;

    /// The neutral element. It has no encoding that [`Self::decode`] accepts.
    #[must_use]
    pub fn identity() -> Self {
        Self(G::point_identity())
    }

    /// The fixed generator.
    #[must_use]
    pub fn generator() -> Self {
        Self(G::point_generator())
    }

    /// The encoding of the generator, at no cost.
    #[must_use]
    pub const fn generator_bytes() -> PointBytes<G> {
        PointBytes {
            bytes: G::GENERATOR,
            group: core::marker::PhantomData,
        }
    }

    /// Decodes exactly [`Self::BYTES`] bytes.
    ///
    /// # Errors
    /// `Length`, `NotCanonical`, `NotOnCurve`, `Torsion` or `Identity`; `field` is the name to report.
    pub fn decode(field: &'static str, bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() != Self::BYTES {
            return Err(DecodeError::new(field, Problem::Length));
        }
        let point =
            Self(G::point_decode(bytes).map_err(|problem| DecodeError::new(field, problem))?);
        if point.is_identity() {
            Err(DecodeError::new(field, Problem::Identity))
        } else {
            Ok(point)
        }
    }

    /// The fixed-length encoding. The identity of secp256k1 is written as 33 zero bytes, which nobody accepts.
    #[must_use]
    pub fn encode(&self) -> PointBytes<G> {
        let mut bytes = [0; MAX_POINT_LEN];
        G::point_encode(&self.0, &mut bytes);
        PointBytes {
            bytes,
            group: core::marker::PhantomData,
        }
    }

    /// The encodings of two points, for little more than the price of one.
    #[must_use]
    pub fn encode_pair(points: &[Self; 2]) -> [PointBytes<G>; 2] {
        let mut bytes = [[0; MAX_POINT_LEN]; 2];
        G::point_encode_pair(&points.map(|point| point.0), &mut bytes);
        bytes.map(|bytes| PointBytes {
            bytes,
            group: core::marker::PhantomData,
        })
    }

    /// Whether this is the neutral element.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        G::point_is_identity(&self.0)
    }

    /// `scalar * generator`, from a precomputed table.
    #[must_use]
    pub fn mul_base(scalar: &Scalar<G>) -> Self {
        Self(G::point_mul_base(&scalar.0))
    }

    /// `a * point + b * generator`, for public values.
    #[must_use]
    pub fn double_mul_vartime(a: &Scalar<G>, point: &Self, b: &Scalar<G>) -> Self {
        Self(G::point_double_mul_vartime(&a.0, &point.0, &b.0))
    }

    /// The sum of `scalar * point` over all terms, for less than the price of each by itself. Constant time.
    #[must_use]
    pub fn multi_mul(terms: &[(SecretScalar<G>, Self)]) -> Self {
        Self(G::point_multi_mul(terms))
    }

    /// The sum of `scalar * point` over all terms, for public values.
    #[must_use]
    pub fn multi_mul_vartime(terms: &[(Scalar<G>, Self)]) -> Self {
        Self(G::point_multi_mul_vartime(terms))
    }

    /// `factor * self` for a small public factor, by doubling and adding.
    #[must_use]
    pub fn mul_small_vartime(&self, factor: u16) -> Self {
        let mut product = Self::identity();
        let top = u16::BITS - factor.leading_zeros();
        for bit in (0..top).rev() {
            product = Self(G::point_double(&product.0));
            if (factor >> bit) & 1 == 1 {
                product = product + *self;
            }
        }
        product
    }
}

impl<G: Group> Zeroize for Point<G> {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

impl<G: Group> fmt::Debug for Point<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Point<{}>({})", G::NAME, self.encode())
    }
}

impl<G: Group> Add for Point<G> {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl<G: Group> Sub for Point<G> {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl<G: Group> Neg for Point<G> {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

/// Constant time.
impl<G: Group> Mul<&Scalar<G>> for Point<G> {
    type Output = Self;
    fn mul(self, scalar: &Scalar<G>) -> Self {
        Self(G::point_mul(&self.0, &scalar.0))
    }
}

impl<G: Group> core::iter::Sum for Point<G> {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::identity(), Add::add)
    }
}

/// The encoding of a point: [`Point::BYTES`] bytes. Not necessarily decodable when read from a peer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PointBytes<G: Group> {
    bytes: [u8; MAX_POINT_LEN],
    group: core::marker::PhantomData<G>,
}

impl<G: Group> PointBytes<G> {
    /// Takes bytes of the right length without asking whether they are a point.
    ///
    /// # Errors
    /// `Length` unless there are exactly [`Point::BYTES`] bytes.
    pub fn from_slice(field: &'static str, slice: &[u8]) -> Result<Self, DecodeError> {
        let mut bytes = [0; MAX_POINT_LEN];
        let room = bytes
            .get_mut(..G::POINT_BYTES)
            .filter(|room| room.len() == slice.len());
        room.ok_or_else(|| DecodeError::new(field, Problem::Length))?
            .copy_from_slice(slice);
        Ok(Self {
            bytes,
            group: core::marker::PhantomData,
        })
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..G::POINT_BYTES).unwrap_or(&self.bytes)
    }

    /// Decodes the point.
    ///
    /// # Errors
    /// Those of [`Point::decode`].
    pub fn decode(&self, field: &'static str) -> Result<Point<G>, DecodeError> {
        Point::decode(field, self.as_slice())
    }
}

impl<G: Group> AsRef<[u8]> for PointBytes<G> {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl<G: Group> fmt::Display for PointBytes<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl<G: Group> fmt::Debug for PointBytes<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PointBytes<{}>({self})", G::NAME)
    }
}

/// A point with its encoding, for values that are hashed more often than they are computed.
///
/// Invariant: the bytes are the encoding of the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodedPoint<G: Group> {
    point: Point<G>,
    bytes: PointBytes<G>,
}

impl<G: Group> EncodedPoint<G> {
    /// Encodes a point.
    #[must_use]
    pub fn new(point: Point<G>) -> Self {
        Self {
            point,
            bytes: point.encode(),
        }
    }

    /// Decodes a point and keeps the bytes: there is only one encoding of it.
    ///
    /// # Errors
    /// Those of [`Point::decode`].
    pub fn decode(field: &'static str, bytes: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self {
            point: Point::decode(field, bytes)?,
            bytes: PointBytes::from_slice(field, bytes)?,
        })
    }

    /// The point.
    #[must_use]
    pub const fn point(&self) -> &Point<G> {
        &self.point
    }

    /// Its encoding.
    #[must_use]
    pub const fn bytes(&self) -> &PointBytes<G> {
        &self.bytes
    }

    /// Its encoding.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.as_slice()
    }
}

impl<G: Group> AsRef<[u8]> for EncodedPoint<G> {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constant_encodings_of_the_generators_are_right() {
        assert_eq!(
            Point::<Ed25519>::generator_bytes(),
            Point::generator().encode()
        );
        assert_eq!(
            Point::<Ristretto255>::generator_bytes(),
            Point::generator().encode()
        );
        assert_eq!(
            Point::<Secp256k1>::generator_bytes(),
            Point::generator().encode()
        );
    }
}
