//! What becomes of a fresh key before it is stored.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "field and group operations wrap by definition"
)]

use super::round3::identity_result;
use crate::Error;
use crate::group::{Ed25519, Point, Scalar, Secp256k1};
use crate::id::Purpose;
use crate::keys::{KeyGroup, PublicPoints};
use crate::secret::SecretScalar;
use crate::transcript::ciphersuite;

/// What becomes of every share of a fresh key before it is stored: `s -> +-s + t`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shift<G: KeyGroup> {
    negate: bool,
    add: Scalar<G>,
}

impl<G: KeyGroup> Shift<G> {
    pub(super) fn none() -> Self {
        Self {
            negate: false,
            add: Scalar::zero(),
        }
    }

    /// Constant time in the share; whether it is negated is public.
    pub(super) fn apply(&self, secret: &SecretScalar<G>) -> SecretScalar<G> {
        let signed = if self.negate {
            SecretScalar::new(-*secret.expose_secret())
        } else {
            SecretScalar::new(*secret.expose_secret())
        };
        SecretScalar::new(*signed.expose_secret() + self.add)
    }
}

/// What a curve does to a fresh key before it is stored.
pub(super) trait Finish: KeyGroup {
    /// The stored form of the points, and what to do to the shares.
    fn finish(
        points: PublicPoints<Self>,
        purpose: Purpose,
    ) -> Result<(PublicPoints<Self>, Shift<Self>), Error>;
}

impl Finish for Ed25519 {
    fn finish(
        points: PublicPoints<Self>,
        _purpose: Purpose,
    ) -> Result<(PublicPoints<Self>, Shift<Self>), Error> {
        Ok((points, Shift::none()))
    }
}

impl Finish for Secp256k1 {
    /// A BIP 340 key commits to an empty script tree (BIP 341), so that no dealer can have hidden a script path in it:
    /// take the even-y form of `X`, then add `t0 = int(TapTweak hash of x(X))` to key and shares. Once, after the first
    /// key generation.
    fn finish(
        mut points: PublicPoints<Self>,
        purpose: Purpose,
    ) -> Result<(PublicPoints<Self>, Shift<Self>), Error> {
        if purpose != Purpose::Bip340 {
            return Ok((points, Shift::none()));
        }
        let negate = !points.group_key.has_even_y();
        if negate {
            points.group_key = -points.group_key;
            points
                .verifying_shares
                .values_mut()
                .for_each(|point| *point = -*point);
        }
        let hash = ciphersuite::bip340_tagged("TapTweak", &[&points.group_key.x_bytes()]);
        let add = Scalar::decode("tweak", &hash).map_err(|_| identity_result())?;
        let shift = Point::mul_base(&add);
        points.group_key = points.group_key + shift;
        points
            .verifying_shares
            .values_mut()
            .for_each(|point| *point = *point + shift);
        Ok((points, Shift { negate, add }))
    }
}
