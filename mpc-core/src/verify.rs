//! Verification of finished signatures, by the curve libraries and not by our own arithmetic.

use ed25519_dalek::{Signature as Ed25519Signature, VerifyingKey};
use k256::ecdsa::signature::hazmat::PrehashVerifier;
use k256::ecdsa::{Signature as EcdsaSignature, VerifyingKey as EcdsaKey};
use k256::schnorr::{Signature as Bip340Signature, VerifyingKey as Bip340Key};

use crate::identity::IdentityPublic;

/// Whether `signature` is a valid Ed25519 signature (RFC 8032) of `message`, by the strict rules: canonical values, no
/// point of small order, no cofactor.
#[must_use]
pub fn ed25519_verify_strict(public_key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    if IdentityPublic::from_bytes(public_key).is_err() {
        return false;
    }
    let signature = Ed25519Signature::from_bytes(signature);
    VerifyingKey::from_bytes(public_key)
        .is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
}

/// Whether `signature` is a valid BIP 340 signature of `message`, whose length is not limited, under the 32-byte x-only key.
#[must_use]
pub fn bip340_verify(public_key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    let (Ok(key), Ok(signature)) = (
        Bip340Key::from_bytes(public_key.into()),
        Bip340Signature::try_from(signature.as_slice()),
    ) else {
        return false;
    };
    key.verify_raw(message, &signature).is_ok()
}

/// Whether `signature`, 64 bytes `r || s`, is a valid ECDSA signature over secp256k1 of `digest`, with the lower of the two possible
/// `s`. The key is in SEC1 form, compressed or not.
#[must_use]
pub fn ecdsa_verify(public_key: &[u8], digest: &[u8; 32], signature: &[u8; 64]) -> bool {
    let (Ok(key), Ok(signature)) = (
        EcdsaKey::from_sec1_bytes(public_key),
        EcdsaSignature::from_slice(signature),
    ) else {
        return false;
    };
    signature.normalize_s() == signature && key.verify_prehash(digest, &signature).is_ok()
}
