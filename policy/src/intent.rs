//! What an initiator asks for: one raw transaction from one wallet, signed by the initiator's key.

use ed25519_dalek::{Signer as _, SigningKey};

use crate::codec::{CodecError, Reader, Writer, is_identifier, is_printable};
use crate::digest::{self, Tag};
use crate::statement::verify_ed25519;

/// The longest raw transaction, in bytes.
pub const MAX_RAW_TX: usize = 64 * 1024;
/// The longest idempotency key, in bytes.
pub const MAX_IDEMPOTENCY_KEY: usize = 128;
/// The longest note, in bytes.
pub const MAX_NOTE: usize = 256;
/// The longest encoding of a signed intent, in bytes.
pub const MAX_SIGNED: usize = MAX_RAW_TX.saturating_add(2048);
/// The longest time between creation and expiry of an intent, in milliseconds: 30 days.
pub const MAX_LIFETIME_MS: u64 = 30 * 24 * 3_600_000;

/// The version byte of the encoding.
const VERSION: u8 = 1;

/// Why an intent is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntentError {
    /// The bytes do not decode, or a field holds what no intent may hold.
    #[error("the intent does not decode: {0}")]
    Codec(#[from] CodecError),
    /// It expires before it is created, or lives longer than 30 days.
    #[error("the intent must expire after its creation and within 30 days of it")]
    Lifetime,
    /// The signature is not the initiator's.
    #[error("the signature does not verify under the initiator's key")]
    Signature,
}

/// A request to sign one transaction. Its digest is the request id everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The cluster that is asked; an identifier.
    pub cluster_id: String,
    /// The key that is to sign.
    pub key_id: [u8; 32],
    /// The wallet's id in the policy; an identifier.
    pub wallet: String,
    /// The chain, for example `solana:devnet`; an identifier.
    pub chain: String,
    /// The unsigned transaction (Solana: the serialised message), 1 byte to 64 KiB.
    pub raw_tx: Vec<u8>,
    /// The machine or person that asks; an identifier.
    pub initiator: String,
    /// The caller's own name for the request, 1 to 128 printable ASCII bytes: the same name never means two requests.
    pub idempotency_key: String,
    /// When it was made, unix milliseconds.
    pub created_ms: u64,
    /// From when on it must not be signed, unix milliseconds.
    pub expires_ms: u64,
    /// Why, for people: up to 256 printable ASCII bytes, may be empty.
    pub note: String,
}

impl Intent {
    /// The canonical encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Writer::new()
            .byte(VERSION)
            .bytes(self.cluster_id.as_bytes())
            .array(&self.key_id)
            .bytes(self.wallet.as_bytes())
            .bytes(self.chain.as_bytes())
            .bytes(&self.raw_tx)
            .bytes(self.initiator.as_bytes())
            .bytes(self.idempotency_key.as_bytes())
            .number(self.created_ms)
            .number(self.expires_ms)
            .bytes(self.note.as_bytes())
            .finish()
    }

    /// Decodes; total on any bytes. What decodes encodes to the same bytes.
    ///
    /// # Errors
    /// [`IntentError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, IntentError> {
        let mut reader = Reader::new(bytes);
        let intent = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(intent)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, IntentError> {
        match reader.byte("version")? {
            VERSION => {}
            value => {
                return Err(CodecError::UnknownValue {
                    field: "version",
                    value,
                }
                .into());
            }
        }
        let intent = Self {
            cluster_id: reader.identifier("cluster_id")?,
            key_id: reader.array("key_id")?,
            wallet: reader.identifier("wallet")?,
            chain: reader.identifier("chain")?,
            raw_tx: reader.bytes("raw_tx", MAX_RAW_TX)?.to_vec(),
            initiator: reader.identifier("initiator")?,
            idempotency_key: reader.text("idempotency_key", MAX_IDEMPOTENCY_KEY)?,
            created_ms: reader.number("created_ms")?,
            expires_ms: reader.number("expires_ms")?,
            note: reader.text("note", MAX_NOTE)?,
        };
        intent.check()?;
        Ok(intent)
    }

    /// Whether every field is within its bounds.
    ///
    /// # Errors
    /// [`IntentError::Codec`] naming the field, [`IntentError::Lifetime`].
    pub fn check(&self) -> Result<(), IntentError> {
        for (field, text) in [
            ("cluster_id", &self.cluster_id),
            ("wallet", &self.wallet),
            ("chain", &self.chain),
            ("initiator", &self.initiator),
        ] {
            if !is_identifier(text) {
                return Err(CodecError::BadText { field }.into());
            }
        }
        for (field, text, max) in [
            (
                "idempotency_key",
                &self.idempotency_key,
                MAX_IDEMPOTENCY_KEY,
            ),
            ("note", &self.note, MAX_NOTE),
        ] {
            if text.len() > max {
                return Err(CodecError::TooLong {
                    field,
                    len: text.len(),
                    max,
                }
                .into());
            }
            if !is_printable(text) || text.starts_with(' ') || text.ends_with(' ') {
                return Err(CodecError::BadText { field }.into());
            }
        }
        if self.idempotency_key.is_empty() {
            return Err(CodecError::BadText {
                field: "idempotency_key",
            }
            .into());
        }
        if self.raw_tx.is_empty() {
            return Err(CodecError::Truncated { field: "raw_tx" }.into());
        }
        if self.raw_tx.len() > MAX_RAW_TX {
            return Err(CodecError::TooLong {
                field: "raw_tx",
                len: self.raw_tx.len(),
                max: MAX_RAW_TX,
            }
            .into());
        }
        let latest = self.created_ms.saturating_add(MAX_LIFETIME_MS);
        if self.expires_ms <= self.created_ms || self.expires_ms > latest {
            return Err(IntentError::Lifetime);
        }
        Ok(())
    }

    /// The request id: the tagged hash of the encoding, 32 bytes.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        digest::hash(Tag::INTENT, &[&self.encode()])
    }

    /// The tagged hash of the chain and the raw transaction, 32 bytes: equal for two intents that ask for the same transaction.
    #[must_use]
    pub fn raw_digest(&self) -> [u8; 32] {
        digest::hash(Tag::RAW_TRANSACTION, &[self.chain.as_bytes(), &self.raw_tx])
    }
}

/// An intent with its initiator's signature. Holding one says that the intent is well-formed, *not* that the signature was
/// verified: that needs the initiator's key from the policy, see [`SignedIntent::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIntent {
    intent: Intent,
    digest: [u8; 32],
    signature: [u8; 64],
}

impl SignedIntent {
    /// Signs as the initiator.
    ///
    /// # Errors
    /// [`IntentError`] if a field is out of its bounds.
    pub fn sign(intent: Intent, key: &SigningKey) -> Result<Self, IntentError> {
        intent.check()?;
        let digest = intent.digest();
        let signature = key.sign(&signed_hash(&digest)).to_bytes();
        Ok(Self {
            intent,
            digest,
            signature,
        })
    }

    /// Decodes; total on any bytes.
    ///
    /// # Errors
    /// [`IntentError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, IntentError> {
        let mut reader = Reader::new(bytes);
        let intent = Intent::read(&mut reader)?;
        let signature = reader.array("signature")?;
        reader.finish()?;
        let digest = intent.digest();
        Ok(Self {
            intent,
            digest,
            signature,
        })
    }

    /// Encodes: the intent's encoding and the 64 bytes of the signature; at most [`MAX_SIGNED`] bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Writer::new()
            .array(&self.intent.encode())
            .array(&self.signature)
            .finish()
    }

    /// What is asked for.
    #[must_use]
    pub const fn intent(&self) -> &Intent {
        &self.intent
    }

    /// The request id.
    #[must_use]
    pub const fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The 64-byte signature, unverified.
    #[must_use]
    pub const fn signature(&self) -> &[u8; 64] {
        &self.signature
    }

    /// Whether the signature is by this Ed25519 key. The caller looks the key up in the policy under `intent().initiator`.
    ///
    /// # Errors
    /// [`IntentError::Signature`].
    pub fn verify(&self, initiator_key: &[u8; 32]) -> Result<(), IntentError> {
        verify_ed25519(initiator_key, &signed_hash(&self.digest), &self.signature)
            .then_some(())
            .ok_or(IntentError::Signature)
    }
}

/// The 32 bytes the initiator's key signs: never the request id itself.
fn signed_hash(intent_digest: &[u8; 32]) -> [u8; 32] {
    digest::hash(Tag::INTENT_SIGNATURE, &[intent_digest])
}
