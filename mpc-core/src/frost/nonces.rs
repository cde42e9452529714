//! Nonces: the secret half of a commitment. Made once, used once, never written down.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "field and group operations wrap by definition"
)]

use core::fmt;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::Erased;
use super::commitment::{Commitment, Pair};
use super::suite::Suite;
use crate::group::{Ed25519, Group, Scalar, Secp256k1};
use crate::id::{Epoch, KeyId, PartyIndex, Purpose};
use crate::keys::KeyShare;
use crate::secret::SecretScalar;
use crate::{Error, Misuse};

/// The two secret scalars behind a commitment. On the heap, so that moving the owner leaves no copy behind.
pub(crate) struct SecretPair<G: Group>(Box<[SecretScalar<G>; 2]>);

impl<G: Group> SecretPair<G> {
    /// `d + factor * e`: what the pair contributes to the nonce of one signature. Ends the pair.
    pub(crate) fn combine(self, factor: &Scalar<G>) -> Zeroizing<Scalar<G>> {
        let [hiding, binding] = &*self.0;
        Zeroizing::new(*hiding.expose_secret() + *factor * *binding.expose_secret())
    }

    /// The nonces that 64 given random bytes lead to (RFC 9591, section 4.1), and their commitment.
    pub(crate) fn derive<S: Suite<Group = G>>(
        hiding: &[u8; 32],
        binding: &[u8; 32],
        share: &SecretScalar<G>,
    ) -> (Self, Pair<S>) {
        let share = share.dangerous_to_bytes();
        let secrets = [hiding, binding].map(|random| SecretScalar::new(S::h3(random, &share)));
        let [hiding, binding] = &secrets;
        let commitment = Pair::to_secrets(hiding.expose_secret(), binding.expose_secret());
        (Self(Box::new(secrets)), commitment)
    }

    #[cfg(test)]
    pub(crate) fn encoded(&self) -> [[u8; 32]; 2] {
        let [hiding, binding] = &*self.0;
        [hiding, binding].map(|nonce| nonce.expose_secret().encode())
    }

    /// Fresh nonces: each is a hash of 32 random bytes and the share, so that a weak generator alone does not give them away.
    fn generate<S: Suite<Group = G>>(
        share: &SecretScalar<G>,
        rng: &mut impl CryptoRng,
    ) -> Result<(Self, Pair<S>), Error> {
        let [mut hiding, mut binding] = [Zeroizing::new([0; 32]), Zeroizing::new([0; 32])];
        rng.fill_bytes(hiding.as_mut());
        rng.fill_bytes(binding.as_mut());
        // A generator that repeats itself would make two sessions share their nonces, which gives the share away.
        if hiding == binding {
            return Err(Error::RandomnessUnavailable);
        }
        Ok(Self::derive(&hiding, &binding, share))
    }
}

/// One pair of secret nonces, bound to the key, the epoch and the party that made it.
///
/// # Security
/// Two signature shares under the same nonces reveal the key share. That is why there is no `Clone`, no encoding and no way to
/// look inside, and why [`super::sign`] takes the nonces by value: they are gone afterwards whether it succeeds or not. Nonces
/// live in memory only; a restarted node starts with none. Do not run a copy of a process that holds nonces.
pub struct Nonces {
    pub(crate) key_id: KeyId,
    pub(crate) epoch: Epoch,
    pub(crate) index: PartyIndex,
    pub(crate) commitment: Commitment,
    pub(crate) secrets: Erased<SecretPair<Ed25519>, SecretPair<Secp256k1>>,
}

impl Nonces {
    /// The public half.
    #[must_use]
    pub const fn commitment(&self) -> &Commitment {
        &self.commitment
    }

    /// The key they are for.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The epoch of the share they are for.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nonces")
            .field("key_id", &self.key_id)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// Round one: makes a pair of nonces for one signature and the commitment to publish (RFC 9591, section 5.1).
///
/// # Errors
/// [`Error::RandomnessUnavailable`] if the generator repeats itself; [`Misuse::InvalidRequest`] for a key that does not sign by
/// FROST.
///
/// # Timing
/// Constant in the share and the nonces.
pub fn commit(share: &KeyShare, rng: &mut impl CryptoRng) -> Result<(Nonces, Commitment), Error> {
    let public = share.public();
    let (secrets, commitment) = match public.purpose() {
        Purpose::Ed25519 => {
            let (secrets, pair) = draw(share, rng)?;
            (Erased::Ed25519(secrets), Erased::Ed25519(pair))
        }
        Purpose::Bip340 => {
            let (secrets, pair) = draw(share, rng)?;
            (Erased::Taproot(secrets), Erased::Taproot(pair))
        }
        Purpose::Ecdsa | Purpose::EcdsaRaw => {
            return Err(Misuse::InvalidRequest("ecdsa keys do not sign by FROST").into());
        }
    };
    let commitment = Commitment(commitment);
    let nonces = Nonces {
        key_id: public.key_id(),
        epoch: public.epoch(),
        index: share.index(),
        commitment,
        secrets,
    };
    Ok((nonces, commitment))
}

fn draw<S: Suite>(
    share: &KeyShare,
    rng: &mut impl CryptoRng,
) -> Result<(SecretPair<S::Group>, Pair<S>), Error> {
    let (_, secret) = share.view().ok_or(Error::Unreachable(
        "the curve of a key is that of its purpose",
    ))?;
    SecretPair::generate(secret, rng)
}
