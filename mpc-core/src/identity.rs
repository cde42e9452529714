//! Identity keys: the long-term Ed25519 key of a node, which signs every message, and its export key.

use core::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use rand_core::CryptoRng;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::codec::{DecodeError, Problem};
use crate::group::{Point, Ristretto255};
use crate::id::NodeId;
use crate::known::Known;
use crate::secret::SecretScalar;
use crate::transcript::{self, Tag};

/// The secret identity key of this node. Wiped when dropped.
pub struct IdentityKey(SigningKey);

impl IdentityKey {
    /// The key with this 32-byte seed (RFC 8032 private key).
    #[must_use]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "taking the buffer by value wipes the caller's copy of the seed"
    )]
    pub fn from_seed(seed: Zeroizing<[u8; 32]>) -> Self {
        Self(SigningKey::from_bytes(&seed))
    }

    /// A fresh key.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(seed.as_mut());
        Self::from_seed(seed)
    }

    /// The seed, to be sealed at rest.
    #[must_use]
    pub fn dangerous_to_seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> IdentityPublic {
        IdentityPublic(self.0.verifying_key())
    }

    /// Signs a tagged digest. 64 bytes.
    #[must_use]
    pub fn sign(&self, digest: &[u8; 32]) -> [u8; 64] {
        self.0.sign(digest).to_bytes()
    }
}

impl ZeroizeOnDrop for IdentityKey {}

impl fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdentityKey({:?}, ..)", self.public())
    }
}

/// A public identity key: canonical, not of small order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct IdentityPublic(VerifyingKey);

impl IdentityPublic {
    /// # Errors
    /// `NotOnCurve`, `NotCanonical`, or `Torsion` for a key of small order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, DecodeError> {
        let refuse = |problem| DecodeError::new("identity", problem);
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| refuse(Problem::NotOnCurve))?;
        if key.to_edwards().compress().as_bytes() != bytes {
            return Err(refuse(Problem::NotCanonical));
        }
        if key.is_weak() {
            Err(refuse(Problem::Torsion))
        } else {
            Ok(Self(key))
        }
    }

    /// As [`Self::from_bytes`]; a key that is known is not checked again.
    pub(crate) fn read_known(bytes: &[u8; 32], known: &Known<'_>) -> Result<Self, DecodeError> {
        known
            .find_identity(bytes)
            .map_or_else(|| Self::from_bytes(bytes), Ok)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The name of the node that has this key.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        NodeId::from_bytes(transcript::hash(Tag::NODE).field(self.as_bytes()).digest())
    }

    /// Whether `signature` over `digest` is valid by the strict rules: canonical values, no small order, no cofactor.
    #[must_use]
    pub fn verify(&self, digest: &[u8; 32], signature: &[u8; 64]) -> bool {
        self.0
            .verify_strict(digest, &Signature::from_bytes(signature))
            .is_ok()
    }
}

impl fmt::Debug for IdentityPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentityPublic(")?;
        self.as_bytes()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// The secret export key of a node: exports and backups are encrypted to its public half, key generation never is.
#[derive(Debug)]
pub struct ExchangeKey(SecretScalar<Ristretto255>);

impl ExchangeKey {
    /// A fresh key.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self(SecretScalar::random(rng))
    }

    /// The key with these 32 bytes.
    ///
    /// # Errors
    /// `NotCanonical` at or above the group order.
    pub fn dangerous_from_bytes(bytes: &Zeroizing<[u8; 32]>) -> Result<Self, DecodeError> {
        SecretScalar::decode("exchange", bytes).map(Self)
    }

    /// The 32 bytes, to be sealed at rest.
    #[must_use]
    pub fn dangerous_to_bytes(&self) -> Zeroizing<[u8; 32]> {
        self.0.dangerous_to_bytes()
    }

    /// The public half, an encoded ristretto255 point, as a roster names it.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.0
            .mul_base()
            .encode()
            .as_slice()
            .iter()
            .enumerate()
            .for_each(|(at, byte)| {
                if let Some(slot) = bytes.get_mut(at) {
                    *slot = *byte;
                }
            });
        bytes
    }
}

impl ExchangeKey {
    /// The key as a secret of its group, for protocols on it.
    pub(crate) const fn secret(&self) -> &SecretScalar<Ristretto255> {
        &self.0
    }

    /// The key with this secret.
    pub(crate) const fn from_secret(secret: SecretScalar<Ristretto255>) -> Self {
        Self(secret)
    }
}

impl ZeroizeOnDrop for ExchangeKey {}

/// Decodes the public half of an export key.
pub(crate) fn exchange_point(bytes: &[u8; 32]) -> Result<Point<Ristretto255>, DecodeError> {
    Point::decode("exchange", bytes)
}

/// Checks the public half of an export key.
pub(crate) fn check_exchange(bytes: &[u8; 32]) -> Result<(), DecodeError> {
    exchange_point(bytes).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_keys_only() {
        let refused =
            |bytes: [u8; 32]| IdentityPublic::from_bytes(&bytes).map_err(|error| error.problem);
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(refused(identity), Err(Problem::Torsion));
        let mut modulus_plus_one = [0xFF; 32];
        (modulus_plus_one[0], modulus_plus_one[31]) = (0xEE, 0x7F);
        assert_eq!(refused(modulus_plus_one), Err(Problem::NotCanonical));
        let mut not_on_curve = [0; 32];
        not_on_curve[0] = 2;
        assert_eq!(refused(not_on_curve), Err(Problem::NotOnCurve));
    }

    #[test]
    fn signs_and_verifies() {
        let key = IdentityKey::from_seed(Zeroizing::new([7; 32]));
        let signature = key.sign(&[1; 32]);
        assert!(key.public().verify(&[1; 32], &signature));
        assert!(!key.public().verify(&[2; 32], &signature));
        assert_eq!(
            IdentityPublic::from_bytes(key.public().as_bytes()),
            Ok(key.public())
        );
    }

    #[test]
    fn debug_shows_the_public_half_only() {
        let key = IdentityKey::from_seed(Zeroizing::new([7; 32]));
        assert!(!format!("{key:?}").contains(&"07".repeat(4)));
    }
}
