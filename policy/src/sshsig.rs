//! Signatures that people make with `ssh-keygen -Y sign -n quorate`.
//!
//! The formats are OpenSSH's (`PROTOCOL.sshsig`, `PROTOCOL.u2f`). Accepted keys: Ed25519, ECDSA on P-256, and the security
//! key forms of both. A security key must have been touched: OpenSSH itself does not demand it of a signature, so the flag
//! is read here.

use ssh_key::public::KeyData;
use ssh_key::{LineEnding, PublicKey, SshSig};

use crate::statement::verify_ed25519;

/// The namespace every signature must carry.
pub const NAMESPACE: &str = "quorate";
/// The longest armoured signature, in bytes.
pub const MAX_PEM: usize = 4096;
/// The flag of a security key that says a person touched it.
const USER_PRESENT: u8 = 0x01;
/// A security key's signature ends with one byte of flags and four of a counter.
const FLAGS_FROM_END: usize = 4;

/// Why an SSH signature is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SshSigError {
    /// The signature is well-formed, by the enrolled key as it says, and does not verify over this text.
    #[error("it does not verify over this text; the text or the signature was changed")]
    Invalid,
    /// Not exactly the armour that `ssh-keygen` writes, or not of version 1, or with data in the reserved field.
    #[error("it is not an armoured ssh signature of version 1")]
    Malformed,
    /// The security key was not touched.
    #[error("the security key says that nobody touched it; sign again and touch the key")]
    NotTouched,
    /// Made for another purpose.
    #[error("it was made in another namespace; sign with `-n quorate`")]
    WrongNamespace,
    /// Made by another key than the enrolled one.
    #[error("it was made by another key than the enrolled one")]
    WrongKey,
}

/// Whether a text could be an armoured signature by its characters alone: printable ASCII and line feeds.
pub(crate) fn is_armour_text(pem: &str) -> bool {
    pem.bytes()
        .all(|byte| byte == b'\n' || (0x20..=0x7e).contains(&byte))
}

/// Verifies an armoured signature over `body` under the enrolled key, an OpenSSH public key line as
/// [`crate::credential::CredentialKey::Ssh`] holds it.
///
/// # Errors
/// [`SshSigError`], the first that applies of: malformed, namespace, key, touch, signature.
///
/// # Timing
/// Variable, on public values.
pub fn verify(enrolled: &str, body: &[u8], pem: &str) -> Result<(), SshSigError> {
    if pem.len() > MAX_PEM || !is_armour_text(pem) {
        return Err(SshSigError::Malformed);
    }
    let signature = SshSig::from_pem(pem).map_err(|_| SshSigError::Malformed)?;
    let one_spelling = signature
        .to_pem(LineEnding::LF)
        .is_ok_and(|text| text.trim_end() == pem.trim_end_matches('\n'));
    if !one_spelling || signature.version() != SshSig::VERSION || !signature.reserved().is_empty() {
        return Err(SshSigError::Malformed);
    }
    if signature.namespace() != NAMESPACE {
        return Err(SshSigError::WrongNamespace);
    }
    let enrolled = PublicKey::from_openssh(enrolled).map_err(|_| SshSigError::WrongKey)?;
    let key = enrolled.key_data();
    if signature.public_key() != key {
        return Err(SshSigError::WrongKey);
    }
    if signature.algorithm() != key.algorithm() {
        return Err(SshSigError::Malformed);
    }
    if matches!(key, KeyData::SkEd25519(_) | KeyData::SkEcdsaSha2NistP256(_)) {
        let flags = signature.signature_bytes().iter().rev().nth(FLAGS_FROM_END);
        if flags.is_none_or(|flags| flags & USER_PRESENT == 0) {
            return Err(SshSigError::NotTouched);
        }
    }
    enrolled
        .verify(NAMESPACE, body, &signature)
        .map_err(|_| SshSigError::Invalid)?;
    strict(key, body, &signature)
}

/// For plain Ed25519 keys, the stricter equation that everything else of this crate is verified with.
fn strict(key: &KeyData, body: &[u8], signature: &SshSig) -> Result<(), SshSigError> {
    let KeyData::Ed25519(key) = key else {
        return Ok(());
    };
    let message = SshSig::signed_data(NAMESPACE, signature.hash_alg(), body)
        .map_err(|_| SshSigError::Malformed)?;
    let bytes =
        <[u8; 64]>::try_from(signature.signature_bytes()).map_err(|_| SshSigError::Malformed)?;
    verify_ed25519(&key.0, &message, &bytes)
        .then_some(())
        .ok_or(SshSigError::Invalid)
}
