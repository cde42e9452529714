//! Untagged hashes that published ciphersuites prescribe (RFC 9591, RFC 9380, BIP 340, BIP 341).
//!
//! Their encodings are theirs: use these only to build the functions of such a suite, never for a statement of our own.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};

/// SHA-256 of the concatenation of `parts`.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    parts
        .iter()
        .fold(Sha256::new(), |hash, part| hash.chain_update(part))
        .finalize()
        .into()
}

/// SHA-512 of the concatenation of `parts`.
#[must_use]
pub fn sha512(parts: &[&[u8]]) -> [u8; 64] {
    parts
        .iter()
        .fold(Sha512::new(), |hash, part| hash.chain_update(part))
        .finalize()
        .into()
}

/// Keccak-256 as Ethereum uses it (the padding from before FIPS 202).
#[must_use]
pub fn keccak256(message: &[u8]) -> [u8; 32] {
    sha3::Keccak256::digest(message).into()
}

/// HMAC-SHA-512 of the concatenation of `parts` under a key of 32 bytes (BIP 32).
#[must_use]
pub fn hmac_sha512(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 64] {
    let mut block = [0; 128];
    let (head, _) = block.split_at_mut(32);
    head.copy_from_slice(key);
    parts
        .iter()
        .fold(Hmac::<Sha512>::new(&block.into()), |mac, part| {
            mac.chain_update(part)
        })
        .finalize()
        .into_bytes()
        .into()
}

/// The tagged hash of BIP 340: `SHA256(SHA256(tag) || SHA256(tag) || parts)`.
#[must_use]
pub fn bip340_tagged(tag: &str, parts: &[&[u8]]) -> [u8; 32] {
    let tag = Sha256::digest(tag.as_bytes());
    let start = Sha256::new().chain_update(tag).chain_update(tag);
    parts
        .iter()
        .fold(start, |hash, part| hash.chain_update(part))
        .finalize()
        .into()
}

/// `expand_message_xmd` of RFC 9380, section 5.3.1, with SHA-256, for 48 bytes (one field element of 256 bits).
///
/// The message is the concatenation of `parts`, the domain separation tag that of `dst`, at most 255 bytes.
#[must_use]
pub fn expand_message_xmd_sha256_48(parts: &[&[u8]], dst: &[&[u8]]) -> [u8; 48] {
    let dst: Vec<u8> = dst.concat();
    let dst_len = [u8::try_from(dst.len()).unwrap_or(u8::MAX)];
    let first = parts
        .iter()
        .fold(Sha256::new().chain_update([0; 64]), |hash, part| {
            hash.chain_update(part)
        })
        .chain_update([0, 48, 0])
        .chain_update(&dst)
        .chain_update(dst_len)
        .finalize();
    let one = Sha256::new()
        .chain_update(first)
        .chain_update([1])
        .chain_update(&dst)
        .chain_update(dst_len)
        .finalize();
    let mut mixed = [0; 32];
    mixed
        .iter_mut()
        .zip(first.iter().zip(&one))
        .for_each(|(out, (a, b))| *out = a ^ b);
    let two = Sha256::new()
        .chain_update(mixed)
        .chain_update([2])
        .chain_update(&dst)
        .chain_update(dst_len)
        .finalize();
    let mut out = [0; 48];
    out.iter_mut()
        .zip(one.iter().chain(&two))
        .for_each(|(out, byte)| *out = *byte);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tagged_hash_is_two_copies_of_the_tag_digest_then_the_message() {
        let tag = sha256(&[b"TapTweak"]);
        assert_eq!(
            bip340_tagged("TapTweak", &[b"a", b"b"]),
            sha256(&[&tag, &tag, b"ab"])
        );
    }

    #[test]
    fn parts_are_concatenated() {
        assert_eq!(sha512(&[b"ab", b"c"]), sha512(&[b"a", b"bc"]));
        assert_eq!(
            expand_message_xmd_sha256_48(&[b"ab"], &[b"QU"]),
            expand_message_xmd_sha256_48(&[b"a", b"b"], &[b"Q", b"U"])
        );
    }
}
