//! Ed25519 keys as DER (RFC 8410), for the certificates of both kinds of channel.
use zeroize::Zeroizing;

/// A PKCS#8 version 1 private key up to the seed. Version 2, which also holds the public key, is what aws-lc-rs writes
/// by itself; OpenSSL 3.0 does not read it.
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// A `SubjectPublicKeyInfo` up to the key.
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// The PKCS#8 private key, 48 bytes, of a 32-byte seed.
pub(crate) fn pkcs8(seed: &Zeroizing<[u8; 32]>) -> Zeroizing<[u8; 48]> {
    let mut der = Zeroizing::new([0; 48]);
    let (prefix, rest) = der.split_at_mut(PKCS8_PREFIX.len());
    prefix.copy_from_slice(&PKCS8_PREFIX);
    rest.copy_from_slice(&**seed);
    der
}

/// The `SubjectPublicKeyInfo`, 44 bytes, of a 32-byte public key.
pub(crate) fn spki(public: &[u8; 32]) -> Vec<u8> {
    [&SPKI_PREFIX[..], public].concat()
}
