//! The only module that sees the bytes of a share: what leaves it is encrypted, what enters it was authenticated.
//!
//! A random data key of 32 bytes is wrapped under a key file or a passphrase (Argon2id). From the data key, HKDF derives
//! one key per kind of record, and XChaCha20-Poly1305 seals each record with the cluster, node, key, epoch, kind and
//! attempt as associated data, so a record put in another one's place does not open.

mod wrap;

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use mpc_core::dkg::Pending;
use mpc_core::keys::KeyShare;
use mpc_core::known::Known;
use mpc_core::pair::PairRecord;
use mpc_core::reshare::Prepared;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::codec::{Malformed, Reader, Writer};

pub use wrap::{Effort, Secret};

const MAGIC: &[u8; 8] = b"QSEAL/2\n";

/// What a sealed record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// Messages of a peer that are to be checked and may poison a pair; not secret, but replaced and erased in place.
    Check,
    /// Secret of the exchange key, 32 bytes.
    Exchange,
    /// Seed of the Ed25519 identity key, 32 bytes.
    Identity,
    /// What is known of the sharings of a key; not secret, but replaced in place.
    Lineage,
    /// This node's half of a setup with a peer.
    Pair,
    /// A share whose key generation has no certificate yet.
    Pending,
    /// What this node has of a sharing that has no certificate yet: its share, or only its word if it deals and gets none.
    Prepared,
    /// An active share.
    Share,
}

impl Kind {
    const fn byte(self) -> u8 {
        match self {
            Self::Exchange => 1,
            Self::Identity => 2,
            Self::Pending => 3,
            Self::Share => 4,
            Self::Pair => 5,
            Self::Check => 6,
            Self::Lineage => 7,
            Self::Prepared => 8,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Exchange => "exchange",
            Self::Identity => "identity",
            Self::Lineage => "lineage",
            Self::Pair => "pair",
            Self::Pending => "pending",
            Self::Prepared => "prepared",
            Self::Share => "share",
        }
    }
}

/// Where a record belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Label {
    /// What the record holds.
    pub kind: Kind,
    /// The key, or the request of a pending key generation, or zeros for what belongs to the node.
    pub key: [u8; 32],
    /// Epoch of the sharing.
    pub epoch: u32,
    /// Attempt of the sharing: several of one epoch may stand side by side.
    pub attempt: u32,
}

impl Label {
    /// Names a record.
    #[must_use]
    pub const fn new(kind: Kind, key: [u8; 32], epoch: u32, attempt: u32) -> Self {
        Self {
            kind,
            key,
            epoch,
            attempt,
        }
    }

    /// The row of the store that holds the record.
    #[must_use]
    pub(crate) fn row(&self) -> Vec<u8> {
        Writer::new()
            .u8(self.kind.byte())
            .fixed(&self.key)
            .u32(self.epoch)
            .u32(self.attempt)
            .finish()
    }

    /// The label of a row of this kind.
    pub(crate) fn of_row(kind: Kind, row: &[u8]) -> Option<Self> {
        let mut reader = Reader::new("label", row);
        if reader.u8() != Ok(kind.byte()) {
            return None;
        }
        let key = reader.array().ok()?;
        let (epoch, attempt) = (reader.u32().ok()?, reader.u32().ok()?);
        reader.finish().ok()?;
        Some(Self::new(kind, key, epoch, attempt))
    }
}

impl core::fmt::Display for Label {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let key = hex::encode(self.key);
        write!(
            f,
            "{} {key} epoch {} attempt {}",
            self.kind.name(),
            self.epoch,
            self.attempt
        )
    }
}

/// The node that sealed records belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Owner {
    /// Cluster id.
    pub cluster: String,
    /// Node id, 32 bytes.
    pub node: [u8; 32],
}

impl Owner {
    /// Names a node of a cluster.
    #[must_use]
    pub fn new(cluster: impl Into<String>, node: [u8; 32]) -> Self {
        Self {
            cluster: cluster.into(),
            node,
        }
    }
}

/// Why a secret could not be sealed or opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The record was changed after it was sealed.
    #[error(
        "sealed record {0} was changed after it was written; restore the store from a backup of this node"
    )]
    Damaged(String),
    /// The secret file cannot be used.
    #[error("{0}")]
    File(String),
    /// The bytes are not a sealed record.
    #[error("sealed record {0} is malformed; restore the store from a backup of this node")]
    Malformed(String),
    /// No randomness.
    #[error("the system gave no randomness")]
    Randomness,
    /// A valid-looking record of another place was put here.
    #[error("a sealed record of another place was found: expected {expected}, found {found}")]
    Swapped {
        /// What belongs here.
        expected: String,
        /// What the record says it is.
        found: String,
    },
    /// The passphrase or key file is not the one the store was made with.
    #[error("the {0} does not unlock this store; check which one this node was set up with")]
    WrongSecret(&'static str),
}

/// Seals and opens; holds the data key.
pub struct Vault {
    data_key: Box<Zeroizing<[u8; 32]>>,
    owner: Owner,
}

impl core::fmt::Debug for Vault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Vault")
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

impl Vault {
    /// Makes a fresh data key; the second value is its wrapped form for the store.
    ///
    /// # Errors
    /// [`SealError::Randomness`].
    pub fn create(
        secret: &Secret,
        owner: Owner,
        effort: Effort,
    ) -> Result<(Self, Vec<u8>), SealError> {
        let mut data_key = Box::new(Zeroizing::new([0; 32]));
        random(data_key.as_mut_slice())?;
        let wrapped = wrap::wrap(secret, &owner, effort, &data_key)?;
        Ok((Self { data_key, owner }, wrapped))
    }

    /// Unwraps the data key.
    ///
    /// # Errors
    /// [`SealError::WrongSecret`], [`SealError::Swapped`] for the wrap of another node, [`SealError::Damaged`] or
    /// [`SealError::Malformed`].
    pub fn unlock(secret: &Secret, owner: Owner, wrapped: &[u8]) -> Result<Self, SealError> {
        let data_key = wrap::unwrap(secret, &owner, wrapped)?;
        Ok(Self { data_key, owner })
    }

    /// The node this vault belongs to.
    #[must_use]
    pub const fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Seals a secret under its label. The result is 24 bytes of nonce, 16 of tag and the header longer than the secret.
    ///
    /// # Errors
    /// [`SealError::Randomness`].
    pub fn seal(&self, label: &Label, secret: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; 24];
        random(&mut nonce)?;
        let header = self.header(label);
        let payload = Payload {
            msg: secret,
            aad: &header,
        };
        let sealed = self
            .cipher(label.kind)?
            .encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.map_err(|_| SealError::Damaged(label.to_string()))?;
        Ok(Writer::new()
            .bytes(&header)
            .fixed(&nonce)
            .bytes(&sealed)
            .finish())
    }

    /// Opens a record that must carry exactly this label.
    ///
    /// # Errors
    /// [`SealError::Malformed`], [`SealError::Swapped`] if its header names another place, [`SealError::Damaged`].
    pub fn open(&self, label: &Label, record: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let malformed = |_: Malformed| SealError::Malformed(label.to_string());
        let mut reader = Reader::new("sealed record", record);
        let header = reader.bytes().map_err(malformed)?;
        let nonce: [u8; 24] = reader.array().map_err(malformed)?;
        let sealed = reader.bytes().map_err(malformed)?;
        reader.finish().map_err(malformed)?;
        let expected = self.header(label);
        if header != expected {
            return Err(SealError::Swapped {
                expected: label.to_string(),
                found: describe(header).map_err(malformed)?,
            });
        }
        let payload = Payload {
            msg: sealed,
            aad: &expected,
        };
        let opened = self
            .cipher(label.kind)?
            .decrypt(&XNonce::from(nonce), payload);
        opened
            .map(Zeroizing::new)
            .map_err(|_| SealError::Damaged(label.to_string()))
    }

    /// Seals an active share.
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub fn seal_share(&self, label: &Label, share: &KeyShare) -> Result<Vec<u8>, SealError> {
        self.seal(label, &share.dangerous_to_bytes())
    }

    /// Opens an active share; the share is checked against its own public commitment.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_share(&self, label: &Label, record: &[u8]) -> Result<KeyShare, SealError> {
        let bytes = self.open(label, record)?;
        KeyShare::dangerous_from_bytes(&bytes).map_err(|_| SealError::Malformed(label.to_string()))
    }

    /// Opens a share that waits for its certificate.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_pending(&self, label: &Label, record: &[u8]) -> Result<Pending, SealError> {
        let bytes = self.open(label, record)?;
        Pending::dangerous_from_bytes(&bytes).map_err(|_| SealError::Malformed(label.to_string()))
    }

    /// Opens what this node has of a sharing that waits for its certificate. Public records that are known are not checked again.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_prepared(
        &self,
        label: &Label,
        record: &[u8],
        known: &Known<'_>,
    ) -> Result<Prepared, SealError> {
        let bytes = self.open(label, record)?;
        Prepared::dangerous_from_bytes_known(&bytes, known)
            .map_err(|_| SealError::Malformed(label.to_string()))
    }

    /// Seals this node's half of a setup with a peer.
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub fn seal_pair(&self, label: &Label, pair: &PairRecord) -> Result<Vec<u8>, SealError> {
        self.seal(label, &pair.dangerous_to_bytes())
    }

    /// Opens this node's half of a setup with a peer.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_pair(&self, label: &Label, record: &[u8]) -> Result<PairRecord, SealError> {
        let bytes = self.open(label, record)?;
        PairRecord::dangerous_from_bytes(&bytes)
            .map_err(|_| SealError::Malformed(label.to_string()))
    }

    /// Computes the tag of a stored row that is not secret: 32 bytes, HMAC in its HKDF form.
    pub(crate) fn row_tag(&self, parts: &[&[u8]]) -> Result<[u8; 32], SealError> {
        let key = self.derive(b"rows")?;
        let mut input = Writer::new();
        for part in parts {
            input = input.bytes(part);
        }
        let mut tag = [0; 32];
        let hkdf = Hkdf::<Sha256>::from_prk(key.as_slice())
            .map_err(|_| SealError::Malformed("row key".to_owned()))?;
        hkdf.expand(&input.finish(), &mut tag)
            .map_err(|_| SealError::Malformed("row key".to_owned()))?;
        Ok(tag)
    }

    fn derive(&self, purpose: &[u8]) -> Result<Zeroizing<[u8; 32]>, SealError> {
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(b"quorate/seal/v1"), self.data_key.as_slice())
            .expand(purpose, key.as_mut_slice())
            .map_err(|_| SealError::Malformed("data key".to_owned()))?;
        Ok(key)
    }

    fn cipher(&self, kind: Kind) -> Result<XChaCha20Poly1305, SealError> {
        let key = self.derive(kind.name().as_bytes())?;
        XChaCha20Poly1305::new_from_slice(key.as_slice())
            .map_err(|_| SealError::Malformed("data key".to_owned()))
    }

    fn header(&self, label: &Label) -> Vec<u8> {
        Writer::new()
            .fixed(MAGIC)
            .bytes(self.owner.cluster.as_bytes())
            .fixed(&self.owner.node)
            .u8(label.kind.byte())
            .fixed(&label.key)
            .u32(label.epoch)
            .u32(label.attempt)
            .finish()
    }
}

/// Says in words where a header belongs, for the message about a swapped record.
fn describe(header: &[u8]) -> Result<String, Malformed> {
    let mut reader = Reader::new("sealed record", header);
    let magic: [u8; 8] = reader.array()?;
    if &magic != MAGIC {
        return Err(Malformed("sealed record"));
    }
    let cluster = reader.text()?;
    let node: [u8; 32] = reader.array()?;
    let kind = reader.u8()?;
    let key: [u8; 32] = reader.array()?;
    let (epoch, attempt) = (reader.u32()?, reader.u32()?);
    reader.finish()?;
    let (node, key) = (hex::encode(node), hex::encode(key));
    Ok(format!(
        "cluster {cluster:?} node {node} kind {kind} key {key} epoch {epoch} attempt {attempt}"
    ))
}

/// Puts a key of 32 bytes under a secret, for a file of its own. `owner` names what the key is, and must be the same again.
///
/// # Errors
/// [`SealError::Randomness`].
pub fn wrap_key(
    secret: &Secret,
    owner: &Owner,
    effort: Effort,
    key: &Zeroizing<[u8; 32]>,
) -> Result<Vec<u8>, SealError> {
    wrap::wrap(secret, owner, effort, key)
}

/// Opens what [`wrap_key`] made.
///
/// # Errors
/// [`SealError::WrongSecret`], [`SealError::Swapped`] for the key of another owner, [`SealError::Damaged`] or
/// [`SealError::Malformed`].
pub fn unwrap_key(
    secret: &Secret,
    owner: &Owner,
    bytes: &[u8],
) -> Result<Box<Zeroizing<[u8; 32]>>, SealError> {
    wrap::unwrap(secret, owner, bytes)
}

/// Fills a buffer from the operating system.
pub(crate) fn random(buffer: &mut [u8]) -> Result<(), SealError> {
    getrandom::fill(buffer).map_err(|_| SealError::Randomness)
}
