//! Values that must not leak: no copy, no clone, no printing, no comparison in variable time, wiped when dropped.
//!
//! Wiping is best effort: the compiler may have spilled copies to the stack, and arithmetic passes values in registers.

use core::fmt;

use rand_core::CryptoRng;
use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::codec::DecodeError;
use crate::group::{Group, Point, Scalar};

/// A scalar that is a secret. 32 bytes, wiped when dropped.
pub struct SecretScalar<G: Group>(Scalar<G>);

impl<G: Group> SecretScalar<G> {
    /// Takes ownership of `value` and wipes the caller's copy.
    #[must_use]
    pub fn take(value: &mut Scalar<G>) -> Self {
        let secret = Self(*value);
        value.zeroize();
        secret
    }

    /// The result of a computation on secrets.
    #[must_use]
    pub const fn new(value: Scalar<G>) -> Self {
        Self(value)
    }

    /// A uniform scalar; zero has probability 2^-252 or less and is not excluded.
    #[must_use]
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        Self(Scalar::random(rng))
    }

    /// Decodes the canonical 32 bytes of a scalar.
    ///
    /// # Errors
    /// `NotCanonical` for a value at or above the order; `field` is the name to report.
    pub fn decode(field: &'static str, bytes: &[u8; 32]) -> Result<Self, DecodeError> {
        Scalar::decode(field, bytes).map(Self)
    }

    /// The 32 canonical bytes, in a buffer that wipes itself.
    #[must_use]
    pub fn dangerous_to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.encode())
    }

    /// The value, for arithmetic.
    #[must_use]
    pub const fn expose_secret(&self) -> &Scalar<G> {
        &self.0
    }

    /// The difference of two secrets.
    #[must_use]
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "field operations wrap by definition"
    )]
    pub fn minus(&self, other: &Self) -> Self {
        Self(self.0 - other.0)
    }

    /// This scalar times the generator, in constant time.
    #[must_use]
    pub fn mul_base(&self) -> Point<G> {
        Point::mul_base(&self.0)
    }
}

impl<G: Group> ConstantTimeEq for SecretScalar<G> {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.encode().ct_eq(&other.0.encode())
    }
}

impl<G: Group> Drop for SecretScalar<G> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<G: Group> ZeroizeOnDrop for SecretScalar<G> {}

impl<G: Group> fmt::Debug for SecretScalar<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretScalar(..)")
    }
}

/// `N` secret bytes, wiped when dropped.
pub struct SecretBytes<const N: usize>([u8; N]);

impl<const N: usize> SecretBytes<N> {
    /// Takes ownership of `bytes` and wipes the caller's copy.
    #[must_use]
    pub fn take(bytes: &mut [u8; N]) -> Self {
        let secret = Self(*bytes);
        bytes.zeroize();
        secret
    }

    /// Fresh bytes.
    #[must_use]
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = [0; N];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn expose_secret(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> ConstantTimeEq for SecretBytes<N> {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl<const N: usize> Drop for SecretBytes<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<const N: usize> ZeroizeOnDrop for SecretBytes<N> {}

impl<const N: usize> fmt::Debug for SecretBytes<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes(..)")
    }
}
