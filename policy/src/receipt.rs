//! A node's signed word on when it first saw an intent: the proof that a delay has run.

use ed25519_dalek::{Signer as _, SigningKey};

use crate::codec::{CodecError, Reader, Writer};
use crate::digest::{Hasher, Tag};
use crate::statement::verify_ed25519;

/// The version byte of the encoding.
const VERSION: u8 = 1;

/// What a node says it saw, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The cluster; an identifier.
    pub cluster_id: String,
    /// The node's id, 32 bytes.
    pub node_id: [u8; 32],
    /// The intent's digest, 32 bytes.
    pub intent_digest: [u8; 32],
    /// When the node stored the intent durably, by its own clock, unix milliseconds.
    pub first_seen_ms: u64,
}

impl Receipt {
    /// The 32 bytes that the node's identity key signs.
    #[must_use]
    pub fn signed_hash(&self) -> [u8; 32] {
        Hasher::new(Tag::RECEIPT)
            .field(self.cluster_id.as_bytes())
            .field(&self.node_id)
            .field(&self.intent_digest)
            .number(self.first_seen_ms)
            .finish()
    }
}

/// Why a receipt is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// The bytes do not decode.
    #[error("the receipt does not decode: {0}")]
    Codec(#[from] CodecError),
    /// The signature is not by the node's identity key.
    #[error("the signature does not verify under the node's identity key")]
    Signature,
}

/// A receipt with its signature. Decoding one does not verify it, see [`SignedReceipt::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedReceipt {
    /// What is said.
    pub receipt: Receipt,
    /// Ed25519 by the node's identity key over [`Receipt::signed_hash`].
    pub signature: [u8; 64],
}

impl SignedReceipt {
    /// Signs with an Ed25519 key at hand; a node that keeps its key elsewhere signs [`Receipt::signed_hash`] there.
    #[must_use]
    pub fn sign(receipt: Receipt, key: &SigningKey) -> Self {
        let signature = key.sign(&receipt.signed_hash()).to_bytes();
        Self { receipt, signature }
    }

    /// The canonical encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Writer::new()
            .byte(VERSION)
            .bytes(self.receipt.cluster_id.as_bytes())
            .array(&self.receipt.node_id)
            .array(&self.receipt.intent_digest)
            .number(self.receipt.first_seen_ms)
            .array(&self.signature)
            .finish()
    }

    /// Decodes; total on any bytes.
    ///
    /// # Errors
    /// [`ReceiptError::Codec`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ReceiptError> {
        let mut reader = Reader::new(bytes);
        match reader.byte("version")? {
            VERSION => {}
            value => return Err(CodecError::UnknownValue { field: "version", value }.into()),
        }
        let receipt = Receipt {
            cluster_id: reader.identifier("cluster_id")?,
            node_id: reader.array("node_id")?,
            intent_digest: reader.array("intent_digest")?,
            first_seen_ms: reader.number("first_seen_ms")?,
        };
        let signature = reader.array("signature")?;
        reader.finish()?;
        Ok(Self { receipt, signature })
    }

    /// Whether the signature is by this identity key. The caller maps `receipt.node_id` to the key through the roster and
    /// compares cluster and intent.
    ///
    /// # Errors
    /// [`ReceiptError::Signature`].
    pub fn verify(&self, identity: &[u8; 32]) -> Result<(), ReceiptError> {
        verify_ed25519(identity, &self.receipt.signed_hash(), &self.signature)
            .then_some(())
            .ok_or(ReceiptError::Signature)
    }
}
