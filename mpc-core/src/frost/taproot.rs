//! From the stored key to the key that signs: the child at a path, and every change of sign that BIP 340 and BIP 341 ask for.
//!
//! A path adds a public number to the stored key. Verifiers under BIP 340 know points by their x coordinate and take the even y.
//! Three points meet that rule on the way to a signature: the internal key P, the output key Q = P + t * G, and the nonce point R.
//! [`Suite::normalize`] is the one function that flips them: P and Q here, R in [`super::package`]. What path, flips and tweak do to
//! a share is always `s' = sign * s + shift`, because a constant added to every Shamir share is added to the secret (protocol notes,
//! sections 9.2 and 13).
#![expect(
    clippy::arithmetic_side_effects,
    reason = "field and group operations wrap by definition"
)]

use super::request::Tweak;
use super::suite::{Secp256k1Sha256Tr, Suite, x_only};
use crate::Misuse;
use crate::group::{Point, PointBytes, Scalar, Secp256k1};
use crate::hd::{self, DerivationPath, Derive};
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

    /// The child of this key at `path`.
    ///
    /// # Errors
    /// [`Misuse::InvalidRequest`] if there is none, which happens for one index in 2^127.
    pub(crate) fn child_vartime(
        self,
        chain_code: &[u8; 32],
        path: &DerivationPath,
    ) -> Result<Self, Misuse>
    where
        S::Group: Derive,
    {
        if path.indices().is_empty() {
            return Ok(self);
        }
        hd::derive(&self.point, chain_code, path)
            .ok()
            .and_then(|child| self.plus_vartime(child.tweak))
            .ok_or(Misuse::InvalidRequest("there is no child key at this path"))
    }

    /// This key and all shares, plus a number; nothing if that is the identity.
    fn plus_vartime(self, scalar: Scalar<S::Group>) -> Option<Self> {
        let added = Point::mul_base(&scalar);
        let point = self.point + added;
        if point.is_identity() {
            return None;
        }
        let shift = self.shift.map_or(
            Shift {
                scalar,
                point: added,
            },
            |shift| Shift {
                scalar: shift.scalar + scalar,
                point: shift.point + added,
            },
        );
        Some(Self {
            point,
            encoded: point.encode(),
            negate: self.negate,
            shift: Some(shift),
        })
    }

    /// The form of this key that verifiers know.
    fn normalized(self) -> Self {
        let (point, encoded, flipped) = S::normalize(&self.point, self.encoded);
        let turn = |shift: Shift<S>| Shift {
            scalar: -shift.scalar,
            point: -shift.point,
        };
        Self {
            point,
            encoded,
            negate: self.negate != flipped,
            shift: if flipped {
                self.shift.map(turn)
            } else {
                self.shift
            },
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

impl OutputKey<Secp256k1Sha256Tr> {
    /// The output key for this BIP 340 key and the tweak that the request names.
    ///
    /// # Errors
    /// [`Misuse::TweakUndefined`] where BIP 341 defines no output key; this has probability 2^-127 for a key that nobody chose for it.
    pub(crate) fn tweaked_vartime(self, tweak: Tweak) -> Result<Self, Misuse> {
        let Tweak::TaprootKeyPath { merkle_root } = tweak else {
            return self.applied_vartime(None);
        };
        let root: &[u8] = merkle_root.as_ref().map_or(&[], |root| root);
        let tweak = bip340_tagged("TapTweak", &[x_only(&self.encoded), root]);
        self.applied_vartime(Some(&tweak))
    }

    /// Makes the key even, adds the tweak if there is one, and makes the result even.
    fn applied_vartime(self, tweak: Option<&[u8; 32]>) -> Result<Self, Misuse> {
        let internal = self.normalized();
        let Some(tweak) = tweak else {
            return Ok(internal);
        };
        let scalar =
            Scalar::<Secp256k1>::decode("tweak", tweak).map_err(|_| Misuse::TweakUndefined)?;
        let output = internal.plus_vartime(scalar);
        output.map(Self::normalized).ok_or(Misuse::TweakUndefined)
    }
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
        OutputKey::unchanged(*stored, stored.encode()).tweaked_vartime(tweak)
    }

    fn apply(
        stored: &Point<Secp256k1>,
        tweak: Option<&[u8; 32]>,
    ) -> Result<OutputKey<Secp256k1Sha256Tr>, Misuse> {
        OutputKey::unchanged(*stored, stored.encode()).applied_vartime(tweak)
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

    /// Children of odd and even keys, under odd and even parents, with and without a tweak: shares, verifying shares and the output
    /// key go together, and the internal key is the child that BIP 32 gives.
    #[test]
    fn a54_all_combinations_of_signs_with_a_path() {
        let path: DerivationPath = "m/0/7".parse().unwrap();
        let mut seen = [0; 8];
        for secret in 1..=96 {
            let stored = scalar(secret);
            let point = Point::mul_base(&stored);
            let child = hd::derive(&point, &[3; 32], &path).unwrap();
            let key = || {
                OutputKey::<Secp256k1Sha256Tr>::unchanged(point, point.encode())
                    .child_vartime(&[3; 32], &path)
                    .unwrap()
            };
            let plain = key().tweaked_vartime(Tweak::PlainBip340).unwrap();
            assert!(is_consistent(&stored, &plain));
            assert_eq!(x_only(&plain.encoded), x_only(&child.point.encode()));
            let merkle_root = Some([7; 32]);
            let tweaked = key()
                .tweaked_vartime(Tweak::TaprootKeyPath { merkle_root })
                .unwrap();
            assert!(is_consistent(&stored, &tweaked));
            let direct = output_key(&child.point, Tweak::TaprootKeyPath { merkle_root }).unwrap();
            assert_eq!(tweaked.encoded, direct.encoded);
            let bits = [
                point.has_even_y(),
                child.point.has_even_y(),
                plain.negate == tweaked.negate,
            ];
            let combination = bits
                .iter()
                .fold(0, |number, bit| 2 * number + usize::from(*bit));
            seen[combination] += 1;
        }
        assert!(seen.iter().all(|count| *count >= 4), "missing: {seen:?}");
    }
}
