//! The one place of this crate that hashes: SHA-256 under a tag, over an encoding in which no two different inputs meet.
//!
//! ```text
//! tagh(tag)      = SHA256("quorate/policy/v1/" || tag)
//! enc(f1..fk)    = for each field: u32be(len) || bytes        (a list: u32be(count), then each item as a field)
//! H(tag; f1..fk) = SHA256(tagh(tag) || tagh(tag) || enc(f1..fk))
//! ```
//!
//! The shape is that of the signing protocols, under a prefix of its own, so that no value of one can ever stand for a
//! value of the other.

use sha2::{Digest as _, Sha256};

/// What every tag of this crate starts with.
const PREFIX: &[u8] = b"quorate/policy/v1/";

/// Says what is being hashed. The constants below are the whole registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(&'static str);

impl Tag {
    /// What a transaction uses up on its chain.
    pub const CONFLICT_KEY: Self = Self("conflict-key");
    /// Lines a person was shown before deciding.
    pub const DISPLAY: Self = Self("display");
    /// What people order when a key is handed out.
    pub const EXPORT: Self = Self("export");
    /// What an operator of one node signs to let it hand its share out.
    pub const EXPORT_CONSENT: Self = Self("export/consent");
    /// An encoded intent; the result is the request id.
    pub const INTENT: Self = Self("intent");
    /// What the initiator's key signs for an intent.
    pub const INTENT_SIGNATURE: Self = Self("intent/signature");
    /// The exact bytes of a policy document.
    pub const POLICY: Self = Self("policy");
    /// The raw bytes of a transaction, to notice two intents for the same one.
    pub const RAW_TRANSACTION: Self = Self("raw-transaction");
    /// What an Ed25519 credential signs for a statement.
    pub const STATEMENT: Self = Self("statement");

    /// The tag's own text, without the prefix.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

/// Hashes the fields, in order, under the tag; 32 bytes.
#[must_use]
pub fn hash(tag: Tag, fields: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Hasher::new(tag);
    for field in fields {
        hasher = hasher.field(field);
    }
    hasher.finish()
}

/// Hashes one list of items under the tag; 32 bytes.
#[must_use]
pub fn hash_list<I: AsRef<[u8]>>(tag: Tag, items: &[I]) -> [u8; 32] {
    let mut hasher = Hasher::new(tag).count(items.len());
    for item in items {
        hasher = hasher.field(item.as_ref());
    }
    hasher.finish()
}

/// Field by field, for statements whose fields are not all byte strings.
#[derive(Clone, Debug)]
#[must_use]
pub struct Hasher(Sha256);

impl Hasher {
    /// Starts under a tag.
    pub fn new(tag: Tag) -> Self {
        let tag_hash = Sha256::new()
            .chain_update(PREFIX)
            .chain_update(tag.0.as_bytes())
            .finalize();
        Self(Sha256::new().chain_update(tag_hash).chain_update(tag_hash))
    }

    /// One byte string.
    pub fn field(self, bytes: &[u8]) -> Self {
        let counted = self.count(bytes.len());
        Self(counted.0.chain_update(bytes))
    }

    /// One number, as the field of its eight big-endian bytes.
    pub fn number(self, value: u64) -> Self {
        self.field(&value.to_be_bytes())
    }

    /// The count that opens a list; its items follow as fields.
    pub fn count(self, count: usize) -> Self {
        // Nothing in this crate is near 4 GiB: every decoder bounds its input far below.
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        Self(self.0.chain_update(count.to_be_bytes()))
    }

    /// The 32-byte result.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_is_the_documented_one() {
        let tag_hash: [u8; 32] = Sha256::digest(b"quorate/policy/v1/intent").into();
        let mut input = Vec::new();
        input.extend_from_slice(&tag_hash);
        input.extend_from_slice(&tag_hash);
        input.extend_from_slice(&[0, 0, 0, 2]);
        input.extend_from_slice(b"ab");
        input.extend_from_slice(&[0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 7]);
        let expected: [u8; 32] = Sha256::digest(&input).into();
        assert_eq!(
            Hasher::new(Tag::INTENT).field(b"ab").number(7).finish(),
            expected
        );
    }

    #[test]
    fn moving_a_boundary_changes_the_hash() {
        assert_ne!(
            hash(Tag::INTENT, &[b"ab", b"c"]),
            hash(Tag::INTENT, &[b"a", b"bc"])
        );
        assert_ne!(
            hash(Tag::INTENT, &[b"abc"]),
            hash(Tag::INTENT, &[b"abc", b""])
        );
        assert_ne!(
            hash_list(Tag::DISPLAY, &["a", "b"]),
            hash_list(Tag::DISPLAY, &["ab"])
        );
    }

    #[test]
    fn every_tag_is_its_own_function() {
        let tags = [
            Tag::DISPLAY,
            Tag::INTENT,
            Tag::INTENT_SIGNATURE,
            Tag::POLICY,
            Tag::RAW_TRANSACTION,
            Tag::STATEMENT,
        ];
        let hashes: std::collections::BTreeSet<[u8; 32]> =
            tags.iter().map(|tag| hash(*tag, &[b"x"])).collect();
        assert_eq!(hashes.len(), tags.len());
    }
}
