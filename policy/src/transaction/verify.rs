//! Whether a finished signature is the one that a task asks for, by libraries that had no part in making it.

use alloy_primitives::keccak256;
use bitcoin::{
    XOnlyPublicKey,
    hashes::{Hash as _, sha256d},
    key::TapTweak as _,
    secp256k1::{
        Message, PublicKey, Secp256k1, ecdsa,
        ecdsa::{RecoverableSignature, RecoveryId},
        schnorr,
    },
};
use ed25519_dalek::{Signature, VerifyingKey};

use super::{Hash, Scheme, Task, Tweak, WalletKeys};

impl Task {
    /// Whether `signature` is good for this task under the wallet's key: 64 bytes, or 65 with the recovery id for ECDSA, which
    /// must then lead back to the key. Strict: Ed25519 without points of small order, ECDSA with the smaller of the two values
    /// of s. Variable time on public values.
    #[must_use]
    pub fn is_signed_by(&self, keys: &dyn WalletKeys, signature: &[u8]) -> bool {
        if keys.scheme() != Some(self.scheme) {
            return false;
        }
        let Some(key) = keys.public_key_at(&self.path) else {
            return false;
        };
        let good = match self.scheme {
            Scheme::Bip340 => self.bip340(&key, signature),
            Scheme::Ecdsa => self.ecdsa(&key, signature),
            Scheme::Ed25519 => self.ed25519(&key, signature),
        };
        good.is_some()
    }

    fn ed25519(&self, key: &[u8], signature: &[u8]) -> Option<()> {
        let key = VerifyingKey::from_bytes(key.try_into().ok()?).ok()?;
        let signature = Signature::from_bytes(signature.try_into().ok()?);
        key.verify_strict(&self.message, &signature).ok()
    }

    fn bip340(&self, key: &[u8], signature: &[u8]) -> Option<()> {
        let secp = Secp256k1::verification_only();
        let internal = PublicKey::from_slice(key).ok()?.x_only_public_key().0;
        let output: XOnlyPublicKey = match self.tweak {
            Tweak::None => internal,
            Tweak::TaprootKeyPath => internal.tap_tweak(&secp, None).0.to_x_only_public_key(),
        };
        let message = Message::from_digest(self.message.as_slice().try_into().ok()?);
        let signature = schnorr::Signature::from_slice(signature).ok()?;
        secp.verify_schnorr(&signature, &message, &output).ok()
    }

    fn ecdsa(&self, key: &[u8], signature: &[u8]) -> Option<()> {
        let secp = Secp256k1::verification_only();
        let key = PublicKey::from_slice(key).ok()?;
        let message = Message::from_digest(match self.hash {
            Hash::DoubleSha256 => sha256d::Hash::hash(&self.message).to_byte_array(),
            Hash::Keccak256 => keccak256(&self.message).0,
            Hash::None => return None,
        });
        let (both, recovery) = signature.split_at_checked(64)?;
        match recovery {
            [] => {}
            [id @ 0..=3] => {
                let id = RecoveryId::from_i32(i32::from(*id)).ok()?;
                let signature = RecoverableSignature::from_compact(both, id).ok()?;
                let signer = secp.recover_ecdsa(&message, &signature).ok()?;
                (signer == key).then_some(())?;
            }
            _ => return None,
        }
        let signature = ecdsa::Signature::from_compact(both).ok()?;
        // The library takes only the smaller s.
        secp.verify_ecdsa(&message, &signature, &key).ok()
    }
}
