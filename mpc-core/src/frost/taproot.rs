//! From the stored key to the key that signs: every change of sign that BIP 340 and BIP 341 ask for.
//!
//! Verifiers under BIP 340 know points by their x coordinate and take the even y. Three points meet that rule on the way to a
//! signature: the internal key P, the output key Q = P + t * G, and the nonce point R. [`Suite::normalize`] is the one function
//! that flips them: P and Q here, R in [`super::package`]. What flips and tweak do to a share is always `s' = sign * s + shift`,
//! because a constant added to every Shamir share is added to the secret (protocol notes, section 9.2).
#![expect(
    clippy::arithmetic_side_effects,
    reason = "field and group operations wrap by definition"
)]

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
        Self {
            point,
            encoded,
            negate: false,
            shift: None,
        }
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
    encoded: PointBytes<Secp256k1>,
    tweak: Tweak,
) -> Result<OutputKey<Secp256k1Sha256Tr>, Misuse> {
    let Tweak::TaprootKeyPath { merkle_root } = tweak else {
        return apply_vartime(stored, encoded, None);
    };
    let root: &[u8] = merkle_root.as_ref().map_or(&[], |root| root);
    let tweak = bip340_tagged("TapTweak", &[x_only(&encoded), root]);
    apply_vartime(stored, encoded, Some(&tweak))
}

/// Makes the stored key even, adds the tweak if there is one, and makes the result even.
fn apply_vartime(
    stored: &Point<Secp256k1>,
    encoded: PointBytes<Secp256k1>,
    tweak: Option<&[u8; 32]>,
) -> Result<OutputKey<Secp256k1Sha256Tr>, Misuse> {
    let (internal, encoded, internal_flipped) = Secp256k1Sha256Tr::normalize(stored, encoded);
    let Some(tweak) = tweak else {
        return Ok(OutputKey {
            point: internal,
            encoded,
            negate: internal_flipped,
            shift: None,
        });
    };
    let scalar = Scalar::decode("tweak", tweak).map_err(|_| Misuse::TweakUndefined)?;
    let shift = Shift {
        scalar,
        point: Point::mul_base(&scalar),
    };
    let output = internal + shift.point;
    if output.is_identity() {
        return Err(Misuse::TweakUndefined);
    }
    let (point, encoded, output_flipped) = Secp256k1Sha256Tr::normalize(&output, output.encode());
    let shift = if output_flipped {
        Shift {
            scalar: -shift.scalar,
            point: -shift.point,
        }
    } else {
        shift
    };
    Ok(OutputKey {
        point,
        encoded,
        negate: internal_flipped != output_flipped,
        shift: Some(shift),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frost::vectors::records::Record;
    use crate::secret::SecretScalar;

    fn scalar(value: i64) -> Scalar<Secp256k1> {
        let magnitude = Scalar::from_u64(value.unsigned_abs());
        if value < 0 { -magnitude } else { magnitude }
    }

    /// What the map says about shares must be what it says about points, and give the output key.
    fn is_consistent(stored: &Scalar<Secp256k1>, key: &OutputKey<Secp256k1Sha256Tr>) -> bool {
        let signing = key.share(stored);
        Point::mul_base(&signing) == key.point
            && key.verifying_share(&Point::mul_base(stored)) == key.point
            && key.encoded.as_slice() == key.point.encode().as_slice()
            && key.point.has_even_y()
    }

    fn output_key(
        stored: &Point<Secp256k1>,
        tweak: Tweak,
    ) -> Result<OutputKey<Secp256k1Sha256Tr>, Misuse> {
        output_key_vartime(stored, stored.encode(), tweak)
    }

    fn apply(
        stored: &Point<Secp256k1>,
        tweak: Option<&[u8; 32]>,
    ) -> Result<OutputKey<Secp256k1Sha256Tr>, Misuse> {
        apply_vartime(stored, stored.encode(), tweak)
    }

    #[test]
    fn a55_bip341_outputs_and_tweaked_keys() {
        let records = Record::parse(include_str!("../../tests/vectors/bip341.txt"));
        let mut cases = 0;
        for record in &records {
            let root = record.bytes("merkle_root");
            let tweak = Tweak::TaprootKeyPath {
                merkle_root: (!root.is_empty()).then(|| root.try_into().unwrap()),
            };
            let stored = Point::lift_x("internal", &record.array("internal")).unwrap();
            let key = output_key(&stored, tweak).unwrap();
            let again = apply(&stored, Some(&record.array("tweak"))).unwrap();
            assert_eq!(key.encoded, again.encoded);
            if record.text("record") == "output" {
                assert_eq!(x_only(&key.encoded), record.bytes("output"));
            } else {
                let secret =
                    SecretScalar::<Secp256k1>::decode("secret", &record.array("secret")).unwrap();
                let key = output_key(&secret.mul_base(), tweak).unwrap();
                assert!(is_consistent(secret.expose_secret(), &key));
                let expected =
                    Scalar::<Secp256k1>::decode("secret", &record.bytes("output_secret")).unwrap();
                let signing = key.share(secret.expose_secret());
                // The BIP gives the tweaked key before the signer makes the output key even.
                assert!(signing == expected || signing == -expected);
            }
            cases += 1;
        }
        assert_eq!(cases, 14);
    }

    #[test]
    fn a54_all_combinations_of_odd_and_even_keys() {
        let mut seen = [0; 6];
        for secret in 1..=64 {
            let stored = scalar(secret);
            let odd = usize::from(!Point::mul_base(&stored).has_even_y());
            let plain = output_key(&Point::mul_base(&stored), Tweak::PlainBip340).unwrap();
            assert!(is_consistent(&stored, &plain));
            seen[odd] += 1;
            let tweaked = output_key(
                &Point::mul_base(&stored),
                Tweak::TaprootKeyPath {
                    merkle_root: Some([7; 32]),
                },
            )
            .unwrap();
            assert!(is_consistent(&stored, &tweaked));
            // Both flips cancel: the share is negated once, twice or never.
            let output_flipped = tweaked.negate != plain.negate;
            seen[2 + 2 * odd + usize::from(output_flipped)] += 1;
        }
        assert!(
            seen.iter().all(|count| *count >= 8),
            "a combination is missing: {seen:?}"
        );
    }

    #[test]
    fn a55_tweaks_at_the_edges() {
        let order = {
            let mut bytes = (-Scalar::<Secp256k1>::one()).encode();
            bytes[31] += 1;
            bytes
        };
        for secret in 1..=8 {
            let (stored, point) = (scalar(secret), Point::mul_base(&scalar(secret)));
            let zero = apply(&point, Some(&[0; 32])).unwrap();
            assert!(is_consistent(&stored, &zero));
            assert_eq!(zero.encoded, apply(&point, None).unwrap().encoded);
            let largest = (-Scalar::<Secp256k1>::one()).encode();
            if secret == 1 {
                // G - G: the tweak is in range, and the output key would be the identity.
                assert_eq!(
                    apply(&point, Some(&largest)).err(),
                    Some(Misuse::TweakUndefined)
                );
            } else {
                assert!(is_consistent(
                    &stored,
                    &apply(&point, Some(&largest)).unwrap()
                ));
            }
            assert_eq!(
                apply(&point, Some(&order)).err(),
                Some(Misuse::TweakUndefined)
            );
            assert_eq!(
                apply(&point, Some(&[0xff; 32])).err(),
                Some(Misuse::TweakUndefined)
            );
            let even = if point.has_even_y() { stored } else { -stored };
            assert_eq!(
                apply(&point, Some(&(-even).encode())).err(),
                Some(Misuse::TweakUndefined)
            );
        }
    }
}
