//! Signatures that people make with `ssh-keygen -Y sign -n quorate`.
//!
//! The formats are OpenSSH's (`PROTOCOL.sshsig`, `PROTOCOL.u2f`). Accepted keys: Ed25519, ECDSA on P-256, and the security
//! key forms of both. A security key must have been touched: OpenSSH itself does not demand it of a signature, so the flag
//! is read here.

use core::fmt;

use ssh_key::public::KeyData;
use ssh_key::{Algorithm, EcdsaCurve, PublicKey, SshSig};

use crate::statement::{KeyError, verify_ed25519};

/// The namespace every signature must carry.
pub const NAMESPACE: &str = "quorate";
/// The longest armoured signature, in bytes.
pub const MAX_PEM: usize = 4096;
/// The longest public key line, in bytes.
const MAX_KEY: usize = 1024;
/// The flag of a security key that says a person touched it.
const USER_PRESENT: u8 = 0x01;
/// Flags and counter that follow a security key's signature, in bytes.
const SECURITY_KEY_TRAILER: usize = 5;

/// Why an SSH signature is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SshSigError {
    /// The signature is well-formed, by the enrolled key as it says, and does not verify over this text.
    #[error("it does not verify over this text; the text or the signature was changed")]
    Invalid,
    /// Not the armour of an SSH signature, or not of version 1, or with data in the reserved field.
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

/// An OpenSSH public key of a supported algorithm, without its comment.
#[derive(Clone, PartialEq, Eq)]
pub struct SshKey {
    data: KeyData,
    text: String,
}

impl SshKey {
    /// Reads one OpenSSH public key line, `algorithm base64 [comment]`.
    ///
    /// # Errors
    /// [`KeyError::Ssh`] if it is no such line or the algorithm is not supported.
    pub fn parse(line: &str) -> Result<Self, KeyError> {
        if line.len() > MAX_KEY || line.contains(['\n', '\r']) {
            return Err(KeyError::Ssh);
        }
        let key = PublicKey::from_openssh(line).map_err(|_| KeyError::Ssh)?;
        match key.algorithm() {
            Algorithm::Ed25519
            | Algorithm::SkEd25519
            | Algorithm::SkEcdsaSha2NistP256
            | Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 } => {}
            _ => return Err(KeyError::Ssh),
        }
        let data = key.key_data().clone();
        let text = PublicKey::new(data.clone(), "").to_openssh().map_err(|_| KeyError::Ssh)?;
        Ok(Self { data, text: text.trim_end().to_owned() })
    }

    /// The line without a comment.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the private key lives in a security key that can be asked for a touch.
    #[must_use]
    pub const fn is_security_key(&self) -> bool {
        matches!(self.data, KeyData::SkEd25519(_) | KeyData::SkEcdsaSha2NistP256(_))
    }
}

impl fmt::Debug for SshKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SshKey({})", self.text)
    }
}

/// Whether a text could be an armoured signature by its characters alone: printable ASCII and line feeds.
pub(crate) fn is_armour_text(pem: &str) -> bool {
    pem.bytes().all(|byte| byte == b'\n' || (0x20..=0x7e).contains(&byte))
}

/// Verifies an armoured signature over `body` under the enrolled key.
///
/// # Errors
/// [`SshSigError`], the first that applies of: malformed, namespace, key, touch, signature.
///
/// # Timing
/// Variable, on public values.
pub fn verify(key: &SshKey, body: &[u8], pem: &str) -> Result<(), SshSigError> {
    if pem.len() > MAX_PEM || !is_armour_text(pem) {
        return Err(SshSigError::Malformed);
    }
    let signature = SshSig::from_pem(pem).map_err(|_| SshSigError::Malformed)?;
    if signature.version() != SshSig::VERSION || !signature.reserved().is_empty() {
        return Err(SshSigError::Malformed);
    }
    if signature.namespace() != NAMESPACE {
        return Err(SshSigError::WrongNamespace);
    }
    if signature.public_key() != &key.data {
        return Err(SshSigError::WrongKey);
    }
    if signature.algorithm() != key.data.algorithm() {
        return Err(SshSigError::Malformed);
    }
    if key.is_security_key() {
        let flags = signature.signature_bytes().iter().rev().nth(SECURITY_KEY_TRAILER.saturating_sub(1));
        if flags.is_none_or(|flags| flags & USER_PRESENT == 0) {
            return Err(SshSigError::NotTouched);
        }
    }
    let public = PublicKey::new(key.data.clone(), "");
    public.verify(NAMESPACE, body, &signature).map_err(|_| SshSigError::Invalid)?;
    strict(&key.data, body, &signature)
}

/// For plain Ed25519 keys, the stricter equation that everything else of this crate is verified with.
fn strict(key: &KeyData, body: &[u8], signature: &SshSig) -> Result<(), SshSigError> {
    let KeyData::Ed25519(key) = key else { return Ok(()) };
    let message =
        SshSig::signed_data(NAMESPACE, signature.hash_alg(), body).map_err(|_| SshSigError::Malformed)?;
    let bytes = <[u8; 64]>::try_from(signature.signature_bytes()).map_err(|_| SshSigError::Malformed)?;
    verify_ed25519(&key.0, &message, &bytes).then_some(()).ok_or(SshSigError::Invalid)
}
