//! The data key under a key file or a passphrase.

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use proto::settings::check_secret_file;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{Owner, SealError, random};
use crate::codec::{Malformed, Reader, Writer};
use crate::config::Unlock;

const MAGIC: &[u8; 8] = b"QWRAP/1\n";
/// Bounds on the stored cost: a changed record must not make the node allocate without limit.
const MAX_MEMORY_KIB: u32 = 2 << 20;
const MAX_PASSES: u32 = 64;

/// What unlocks a store; wiped when dropped.
pub enum Secret {
    /// 32 random bytes.
    KeyFile(Zeroizing<[u8; 32]>),
    /// A text that a person chose.
    Passphrase(Zeroizing<Vec<u8>>),
}

impl core::fmt::Debug for Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Secret({})", self.name())
    }
}

impl Secret {
    /// Reads the file that the configuration names; it must be private to its owner.
    ///
    /// # Errors
    /// [`SealError::File`].
    pub fn read(unlock: &Unlock) -> Result<Self, SealError> {
        let path = unlock.path();
        check_secret_file(path).map_err(SealError::File)?;
        let read = std::fs::read(path)
            .map_err(|error| SealError::File(format!("{}: {error}", path.display())))?;
        let text = Zeroizing::new(read);
        let trimmed = text.trim_ascii_end();
        match unlock {
            Unlock::KeyFile(_) => {
                let mut key = Zeroizing::new([0; 32]);
                hex::decode_to_slice(trimmed, key.as_mut_slice()).map_err(|_| {
                    SealError::File(format!(
                        "{} must hold 64 hexadecimal digits",
                        path.display()
                    ))
                })?;
                Ok(Self::KeyFile(key))
            }
            Unlock::Passphrase(_) if trimmed.is_empty() => Err(SealError::File(format!(
                "{} holds no passphrase",
                path.display()
            ))),
            Unlock::Passphrase(_) => Ok(Self::Passphrase(Zeroizing::new(trimmed.to_vec()))),
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::KeyFile(_) => "key file",
            Self::Passphrase(_) => "passphrase",
        }
    }

    const fn byte(&self) -> u8 {
        match self {
            Self::KeyFile(_) => 1,
            Self::Passphrase(_) => 2,
        }
    }
}

/// What a guess at the passphrase costs (Argon2id, one lane).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Effort {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
}

impl Effort {
    /// Sets the cost; production uses [`Effort::default`].
    #[must_use]
    pub const fn new(memory_kib: u32, passes: u32) -> Self {
        Self { memory_kib, passes }
    }
}

impl Default for Effort {
    /// 256 MiB, three passes: about half a second.
    fn default() -> Self {
        Self::new(256 << 10, 3)
    }
}

struct Wrapping {
    check: [u8; 16],
    cipher: XChaCha20Poly1305,
}

fn wrapping(secret: &Secret, salt: &[u8; 32], effort: Effort) -> Result<Wrapping, SealError> {
    let malformed = || SealError::Malformed("data key".to_owned());
    let mut root = Zeroizing::new([0; 32]);
    match secret {
        Secret::KeyFile(key) => root.copy_from_slice(key.as_slice()),
        Secret::Passphrase(text) => {
            let params = Params::new(effort.memory_kib, effort.passes, 1, Some(32))
                .map_err(|_| malformed())?;
            Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                .hash_password_into(text, salt, root.as_mut_slice())
                .map_err(|_| malformed())?;
        }
    }
    let hkdf = Hkdf::<Sha256>::new(Some(salt), root.as_slice());
    let mut check = [0; 16];
    hkdf.expand(b"quorate/wrap/v1/check", &mut check)
        .map_err(|_| malformed())?;
    let mut key = Zeroizing::new([0; 32]);
    hkdf.expand(b"quorate/wrap/v1/key", key.as_mut_slice())
        .map_err(|_| malformed())?;
    let cipher = XChaCha20Poly1305::new_from_slice(key.as_slice()).map_err(|_| malformed())?;
    Ok(Wrapping { check, cipher })
}

fn header(
    secret: &Secret,
    owner: &Owner,
    effort: Effort,
    salt: &[u8; 32],
    check: &[u8; 16],
) -> Vec<u8> {
    Writer::new()
        .fixed(MAGIC)
        .bytes(owner.cluster.as_bytes())
        .fixed(&owner.node)
        .u8(secret.byte())
        .u32(effort.memory_kib)
        .u32(effort.passes)
        .fixed(salt)
        .fixed(check)
        .finish()
}

pub(super) fn wrap(
    secret: &Secret,
    owner: &Owner,
    effort: Effort,
    data_key: &[u8; 32],
) -> Result<Vec<u8>, SealError> {
    let (mut salt, mut nonce) = ([0; 32], [0; 24]);
    random(&mut salt)?;
    random(&mut nonce)?;
    let wrapping = wrapping(secret, &salt, effort)?;
    let header = header(secret, owner, effort, &salt, &wrapping.check);
    let payload = Payload {
        msg: data_key,
        aad: &header,
    };
    let sealed = wrapping.cipher.encrypt(&XNonce::from(nonce), payload);
    let sealed = sealed.map_err(|_| SealError::Malformed("data key".to_owned()))?;
    Ok(Writer::new()
        .bytes(&header)
        .fixed(&nonce)
        .bytes(&sealed)
        .finish())
}

struct Wrapped<'a> {
    header: &'a [u8],
    owner: Owner,
    kind: u8,
    effort: Effort,
    salt: [u8; 32],
    check: [u8; 16],
    nonce: [u8; 24],
    sealed: &'a [u8],
}

fn parse(bytes: &[u8]) -> Result<Wrapped<'_>, Malformed> {
    let mut outer = Reader::new("data key", bytes);
    let header = outer.bytes()?;
    let nonce = outer.array()?;
    let sealed = outer.bytes()?;
    outer.finish()?;
    let mut reader = Reader::new("data key", header);
    if &reader.array::<8>()? != MAGIC {
        return Err(Malformed("data key"));
    }
    let owner = Owner::new(reader.text()?, reader.array()?);
    let kind = reader.u8()?;
    let effort = Effort::new(reader.u32()?, reader.u32()?);
    let (salt, check) = (reader.array()?, reader.array()?);
    reader.finish()?;
    if effort.memory_kib > MAX_MEMORY_KIB || effort.passes > MAX_PASSES {
        return Err(Malformed("data key"));
    }
    Ok(Wrapped {
        header,
        owner,
        kind,
        effort,
        salt,
        check,
        nonce,
        sealed,
    })
}

pub(super) fn unwrap(
    secret: &Secret,
    owner: &Owner,
    bytes: &[u8],
) -> Result<Box<Zeroizing<[u8; 32]>>, SealError> {
    let wrapped = parse(bytes).map_err(|_| SealError::Malformed("data key".to_owned()))?;
    if wrapped.owner != *owner {
        let name = |owner: &Owner| {
            format!(
                "cluster {:?} node {}",
                owner.cluster,
                hex::encode(owner.node)
            )
        };
        return Err(SealError::Swapped {
            expected: name(owner),
            found: name(&wrapped.owner),
        });
    }
    if wrapped.kind != secret.byte() {
        return Err(SealError::WrongSecret(secret.name()));
    }
    let wrapping = wrapping(secret, &wrapped.salt, wrapped.effort)?;
    if wrapping.check != wrapped.check {
        return Err(SealError::WrongSecret(secret.name()));
    }
    let payload = Payload {
        msg: wrapped.sealed,
        aad: wrapped.header,
    };
    let damaged = || SealError::Damaged("data key".to_owned());
    let opened = wrapping
        .cipher
        .decrypt(&XNonce::from(wrapped.nonce), payload);
    let opened = Zeroizing::new(opened.map_err(|_| damaged())?);
    let mut key = Box::new(Zeroizing::new([0; 32]));
    if opened.len() != key.len() {
        return Err(damaged());
    }
    key.copy_from_slice(&opened);
    Ok(key)
}
