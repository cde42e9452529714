//! From the stored key to the key that signs: every change of sign that BIP 340 and BIP 341 ask for.
//!
//! Verifiers under BIP 340 know points by their x coordinate and take the even y. Three points meet that rule on the way to a
//! signature: the internal key P, the output key Q = P + t * G, and the nonce point R. [`Suite::normalize`] is the one function
//! that flips them: P and Q here, R in [`super::package`]. What flips and tweak do to a share is always `s' = sign * s + shift`,
//! because a constant added to every Shamir share is added to the secret (protocol notes, section 9.2).
#![expect(clippy::arithmetic_side_effects, reason = "field and group operations wrap by definition")]

use super::request::Tweak;
use super::suite::{Secp256k1Sha256Tr, Suite, x_only};
use crate::Misuse;
use crate::group::{Point, PointBytes, Scalar, Secp256k1};
use crate::transcript::ciphersuite::bip340_tagged;

/// The key under which a signature verifies, and the public affine map that takes stored shares to its shares.
#[derive(Clone)]
pub(crate) struct OutputKey<S: Suite> {
    pub(crate) point: Point<S::Group>,
    pub(crate) encoded: PointBytes<S::Group>,
    negate: bool,
    shift: Option<Shift<S>>,
}

/// What is added to every share, and its point.
#[derive(Clone, Copy)]
struct Shift<S: Suite> {
    scalar: Scalar<S::Group>,
    point: Point<S::Group>,
}

impl<S: Suite> OutputKey<S> {
    /// The stored key as it is.
    pub(crate) const fn unchanged(point: Point<S::Group>, encoded: PointBytes<S::Group>) -> Self {
        Self { point, encoded, negate: false, shift: None }
    }

    /// The signing share that belongs to a stored secret share, in constant time.
    pub(crate) fn share(&self, stored: &Scalar<S::Group>) -> Scalar<S::Group> {
        let share = if self.negate { -*stored } else { *stored };
        match &self.shift {
            Some(shift) => share + shift.scalar,
            None => share,
        }
    }

    /// The public counterpart of [`Self::share`].
    pub(crate) fn verifying_share(&self, stored: &Point<S::Group>) -> Point<S::Group> {
        let share = if self.negate { -*stored } else { *stored };
        match &self.shift {
            Some(shift) => share + shift.point,
            None => share,
        }
    }
}

/// The output key for a stored BIP 340 key and the tweak that the request names.
///
/// # Errors
/// [`Misuse::TweakUndefined`] where BIP 341 defines no output key; this has probability 2^-127 for a key that nobody chose for it.
pub(crate) fn output_key_vartime(
    stored: &Point<Secp256k1>,
    tweak: Tweak,
) -> Result<OutputKey<Secp256k1Sha256Tr>, Misuse> {
    let Tweak::TaprootKeyPath { merkle_root } = tweak else {
        return apply_vartime(stored, None);
    };
    let root: &[u8] = merkle_root.as_ref().map_or(&[], |root| root);
    apply_vartime(stored, Some(&bip340_tagged("TapTweak", &[x_only(&stored.encode()), root])))
}

/// Makes the stored key even, adds the tweak if there is one, and makes the result even.
fn apply_vartime(
    stored: &Point<Secp256k1>,
    tweak: Option<&[u8; 32]>,
) -> Result<OutputKey<Secp256k1Sha256Tr>, Misuse> {
    let (internal, encoded, internal_flipped) = Secp256k1Sha256Tr::normalize(stored);
    let Some(tweak) = tweak else {
        return Ok(OutputKey { point: internal, encoded, negate: internal_flipped, shift: None });
    };
    let scalar = Scalar::decode("tweak", tweak).map_err(|_| Misuse::TweakUndefined)?;
    let shift = Shift { scalar, point: Point::mul_base(&scalar) };
    let output = internal + shift.point;
    if output.is_identity() {
        return Err(Misuse::TweakUndefined);
    }
    let (point, encoded, output_flipped) = Secp256k1Sha256Tr::normalize(&output);
    let shift = if output_flipped { Shift { scalar: -shift.scalar, point: -shift.point } } else { shift };
    Ok(OutputKey { point, encoded, negate: internal_flipped != output_flipped, shift: Some(shift) })
}
