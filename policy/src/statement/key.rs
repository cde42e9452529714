//! The public key under which a credential is enrolled.

use core::fmt;

use ed25519_dalek::VerifyingKey;

use crate::sshsig::SshKey;

/// Why a key cannot be enrolled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not 64 lower-case hexadecimal digits of a point of the curve, or a point of small order.
    #[error("an ed25519 key is 64 lower-case hex digits of a point that is not of small order")]
    Ed25519,
    /// The kind is neither `ed25519` nor `ssh`.
    #[error("unknown kind of key; known kinds are ed25519 and ssh")]
    Kind,
    /// Not one OpenSSH public key line of a supported algorithm.
    #[error("an ssh key is one line `ssh-ed25519 ..`, `ecdsa-sha2-nistp256 ..`, `sk-ssh-ed25519@openssh.com ..` or `sk-ecdsa-sha2-nistp256@openssh.com ..`")]
    Ssh,
}

/// An enrolled public key. Two credentials with equal keys compare equal, whatever comment their text carries.
#[derive(Clone, PartialEq, Eq)]
pub enum CredentialKey {
    /// An Ed25519 public key, 32 bytes, neither malformed nor of small order.
    Ed25519([u8; 32]),
    /// An OpenSSH public key.
    Ssh(SshKey),
}

impl CredentialKey {
    /// Reads a key of kind `ed25519` (64 lower-case hex digits) or `ssh` (an OpenSSH public key line).
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn parse(kind: &str, key: &str) -> Result<Self, KeyError> {
        match kind {
            "ed25519" => parse_ed25519(key).map(Self::Ed25519),
            "ssh" => SshKey::parse(key).map(Self::Ssh),
            _ => Err(KeyError::Kind),
        }
    }

    /// `ed25519` or `ssh`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "ed25519",
            Self::Ssh(_) => "ssh",
        }
    }

    /// The text that [`CredentialKey::parse`] reads; an SSH comment is not kept.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Ed25519(key) => hex::encode(key),
            Self::Ssh(key) => key.text().to_owned(),
        }
    }
}

impl fmt::Debug for CredentialKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "CredentialKey({} {})", self.kind(), self.text())
    }
}

/// Reads 64 lower-case hex digits as an Ed25519 public key that can be verified against strictly.
///
/// # Errors
/// [`KeyError::Ed25519`].
pub(crate) fn parse_ed25519(text: &str) -> Result<[u8; 32], KeyError> {
    let bytes = hex::decode(text).map_err(|_| KeyError::Ed25519)?;
    let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| KeyError::Ed25519)?;
    let key = VerifyingKey::from_bytes(&bytes).map_err(|_| KeyError::Ed25519)?;
    if key.is_weak() || hex::encode(bytes) != text { Err(KeyError::Ed25519) } else { Ok(bytes) }
}
