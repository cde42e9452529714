//! What a node signs on its link to a coordinator: the proof of who dialled, first-seen receipts, and which key has which name.
//!
//! Only encodings and the 32-byte digests live here. Signing belongs to the holder of the identity key; nothing in this module trusts
//! the bytes it reads.

use mpc_core::identity::IdentityPublic;
use mpc_core::keys::PublicKeyPackage;
use sha2::{Digest, Sha256};

/// Length of an encoded [`Receipt`] in bytes.
pub const RECEIPT_BYTES: usize = 1 + 32 + 32 + 8 + 64;

const RECEIPT_VERSION: u8 = 1;

/// What the identity key signs to answer a `Challenge`: cluster, node, this start of the node, and the fresh nonce.
///
/// Every variable part is preceded by its length, so no two inputs share an encoding.
#[must_use]
pub fn hello_digest(
    cluster_id: &str,
    node_id: &[u8; 32],
    boot_id: &[u8; 16],
    nonce: &[u8; 32],
) -> [u8; 32] {
    let mut hash = tagged("quorate/link/hello/v1");
    absorb(&mut hash, cluster_id.as_bytes());
    absorb(&mut hash, node_id);
    absorb(&mut hash, boot_id);
    absorb(&mut hash, nonce);
    hash.finalize().into()
}

/// One node's signed statement of when it first saw an intent, by its own clock.
///
/// A node that was away takes the latest of `threshold` receipts from distinct nodes: at most `threshold - 1` of them
/// lie, so the latest is not earlier than an honest one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Digest of the intent, 32 bytes.
    pub intent: [u8; 32],
    /// Who signed, 32 bytes; must be in the roster.
    pub node_id: [u8; 32],
    /// Unix milliseconds.
    pub first_seen_ms: u64,
    /// Ed25519 over [`Receipt::digest`], 64 bytes.
    pub signature: [u8; 64],
}

impl Receipt {
    /// What the identity key signs.
    #[must_use]
    pub fn digest(
        cluster_id: &str,
        intent: &[u8; 32],
        node_id: &[u8; 32],
        first_seen_ms: u64,
    ) -> [u8; 32] {
        let mut hash = tagged("quorate/link/receipt/v1");
        absorb(&mut hash, cluster_id.as_bytes());
        absorb(&mut hash, intent);
        absorb(&mut hash, node_id);
        absorb(&mut hash, &first_seen_ms.to_be_bytes());
        hash.finalize().into()
    }

    /// The fixed-length form: version 1, intent, node, time (big endian), signature.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(RECEIPT_BYTES);
        out.push(RECEIPT_VERSION);
        out.extend_from_slice(&self.intent);
        out.extend_from_slice(&self.node_id);
        out.extend_from_slice(&self.first_seen_ms.to_be_bytes());
        out.extend_from_slice(&self.signature);
        out
    }

    /// Reads exactly [`RECEIPT_BYTES`] bytes; `None` for any other length or version. The signature is not checked.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != RECEIPT_BYTES {
            return None;
        }
        let (version, rest) = bytes.split_first()?;
        if *version != RECEIPT_VERSION {
            return None;
        }
        let (intent, rest) = rest.split_first_chunk::<32>()?;
        let (node_id, rest) = rest.split_first_chunk::<32>()?;
        let (time, rest) = rest.split_first_chunk::<8>()?;
        Some(Self {
            intent: *intent,
            node_id: *node_id,
            first_seen_ms: u64::from_be_bytes(*time),
            signature: rest.try_into().ok()?,
        })
    }
}

/// What a node says of a key to people and backends: this name belongs to this public key. It stays so for the whole life of the key.
///
/// Fewer than `threshold` nodes lie, so as many that say the same have an honest one among them.
#[derive(Clone, Copy, Debug)]
pub struct KeyRecord<'a> {
    /// The cluster.
    pub cluster_id: &'a str,
    /// What people call the key.
    pub name: &'a str,
    /// The key's public side, in any epoch.
    pub package: &'a PublicKeyPackage,
}

impl KeyRecord<'_> {
    /// What the identity key signs: nothing of it changes with the epoch.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = tagged("quorate/link/key/v1");
        absorb(&mut hash, self.cluster_id.as_bytes());
        absorb(&mut hash, self.name.as_bytes());
        absorb(&mut hash, self.package.key_id().as_bytes());
        absorb(&mut hash, self.package.purpose().as_str().as_bytes());
        absorb(&mut hash, &self.package.public_key());
        absorb(&mut hash, self.package.chain_code());
        hash.finalize().into()
    }

    /// Whether a node with this identity key has signed it, strictly; false for anything malformed.
    #[must_use]
    pub fn is_signed(&self, identity: &[u8; 32], signature: &[u8]) -> bool {
        let identity = IdentityPublic::from_bytes(identity);
        let signature = <[u8; 64]>::try_from(signature);
        match (identity, signature) {
            (Ok(identity), Ok(signature)) => identity.verify(&self.digest(), &signature),
            _ => false,
        }
    }
}

fn tagged(tag: &str) -> Sha256 {
    let tag = Sha256::digest(tag.as_bytes());
    let mut hash = Sha256::new();
    hash.update(tag);
    hash.update(tag);
    hash
}

fn absorb(hash: &mut Sha256, part: &[u8]) {
    hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
    hash.update(part);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_survives_encoding_and_nothing_longer_or_shorter_does() {
        let receipt = Receipt {
            intent: [1; 32],
            node_id: [2; 32],
            first_seen_ms: 0x0102_0304_0506_0708,
            signature: [3; 64],
        };
        let bytes = receipt.encode();
        assert_eq!(bytes.len(), RECEIPT_BYTES);
        assert_eq!(Receipt::decode(&bytes), Some(receipt));
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(Receipt::decode(&longer), None);
        assert_eq!(Receipt::decode(&bytes[..RECEIPT_BYTES - 1]), None);
        let mut other = bytes;
        other[0] = 2;
        assert_eq!(Receipt::decode(&other), None);
    }

    #[test]
    fn every_field_reaches_the_digests() {
        let base = hello_digest("c", &[1; 32], &[2; 16], &[3; 32]);
        assert_ne!(base, hello_digest("d", &[1; 32], &[2; 16], &[3; 32]));
        assert_ne!(base, hello_digest("c", &[9; 32], &[2; 16], &[3; 32]));
        assert_ne!(base, hello_digest("c", &[1; 32], &[9; 16], &[3; 32]));
        assert_ne!(base, hello_digest("c", &[1; 32], &[2; 16], &[9; 32]));
        let base = Receipt::digest("c", &[1; 32], &[2; 32], 3);
        assert_ne!(base, Receipt::digest("d", &[1; 32], &[2; 32], 3));
        assert_ne!(base, Receipt::digest("c", &[9; 32], &[2; 32], 3));
        assert_ne!(base, Receipt::digest("c", &[1; 32], &[9; 32], 3));
        assert_ne!(base, Receipt::digest("c", &[1; 32], &[2; 32], 9));
    }
}
