//! The ciphersuites: a group and the hashes H1 to H5 of RFC 9591, section 6.
//!
//! Three suites exist. Two are those of the RFC, bit for bit; the third adds the x-only encodings of BIP 340 in the shape that
//! `frost-secp256k1-tr` gave them. Everything else in [`crate::frost`] is written once, over [`Suite`].
#![expect(
    clippy::arithmetic_side_effects,
    reason = "field and group operations wrap by definition"
)]

use core::fmt::Debug;
use std::sync::LazyLock;

use zeroize::Zeroizing;

use crate::group::{Ed25519, Group, Point, PointBytes, Scalar, Secp256k1};
use crate::keys::KeyGroup;
use crate::transcript::ciphersuite::{bip340_tagged, expand_message_xmd_sha256_48, sha256, sha512};

mod sealed {
    /// Suites are closed: one from outside would bring hashes that nobody compared with the RFC.
    pub trait Sealed {}
    impl Sealed for super::Ed25519Sha512 {}
    impl Sealed for super::Secp256k1Sha256 {}
    impl Sealed for super::Secp256k1Sha256Tr {}
}

/// A group and the hashes of one ciphersuite.
pub trait Suite: sealed::Sealed + Copy + Debug + Send + Sync + 'static {
    /// The group.
    type Group: KeyGroup;
    /// The output of H4 and H5: 64 bytes for SHA-512, 32 bytes for SHA-256.
    type Digest: AsRef<[u8]>;

    /// The context string, the prefix of every hash but some challenges.
    const CONTEXT: &'static str;

    /// H1, the binding factor hash.
    fn h1(input: &[u8]) -> Scalar<Self::Group>;
    /// H2, the challenge: over R, the group key and the message, each in the form that the suite's verifiers hash.
    fn h2(
        nonce: &PointBytes<Self::Group>,
        key: &PointBytes<Self::Group>,
        message: &[u8],
    ) -> Scalar<Self::Group>;
    /// H3, the nonce hash, over fresh random bytes and an encoded secret share. Constant time.
    fn h3(random: &[u8; 32], secret: &[u8; 32]) -> Scalar<Self::Group>;
    /// H4, the message hash.
    fn h4(message: &[u8]) -> Self::Digest;
    /// H5, the hash of the encoded list of commitments.
    fn h5(list: &[u8]) -> Self::Digest;

    /// The form of a point that verifiers know, its encoding, and whether it is the negative of `point`, whose encoding is `encoded`.
    ///
    /// Where verifiers know a point by its x coordinate and take the even y, this is the even one of the point and its
    /// negative; everywhere else the point itself.
    #[must_use]
    fn normalize(
        point: &Point<Self::Group>,
        encoded: PointBytes<Self::Group>,
    ) -> (Point<Self::Group>, PointBytes<Self::Group>, bool) {
        (*point, encoded, false)
    }

    /// Inverses of 0 (read as 0, never asked for), 1, 2, .. as far as the indices of one committee can lie apart.
    fn small_inverses() -> &'static [Scalar<Self::Group>];
}

fn invert_small<G: Group>() -> Vec<Scalar<G>> {
    let values = 0..u64::from(crate::id::MAX_PARTIES);
    values
        .map(|value| {
            Scalar::from_u64(value)
                .invert()
                .unwrap_or_else(Scalar::zero)
        })
        .collect()
}

/// The Lagrange coefficient at zero of `index` among `indices` (RFC 9591, section 4.2), from a table of inverses.
///
/// `indices` may contain `index`; it is skipped. The result is for public indices.
pub(crate) fn lagrange_vartime<S: Suite>(
    index: u16,
    indices: impl Iterator<Item = u16>,
) -> Scalar<S::Group> {
    let inverses = S::small_inverses();
    let quotient = |other: u16| {
        let inverse = inverses
            .get(usize::from(other.abs_diff(index)))
            .copied()
            .unwrap_or_else(Scalar::zero);
        let quotient = Scalar::from_u64(u64::from(other)) * inverse;
        if other < index { -quotient } else { quotient }
    };
    indices
        .filter(|other| *other != index)
        .fold(Scalar::one(), |product, other| product * quotient(other))
}

/// FROST-ED25519-SHA512-v1 (RFC 9591, section 6.1). Its signatures verify as RFC 8032 Ed25519 signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ed25519Sha512;

impl Suite for Ed25519Sha512 {
    type Group = Ed25519;
    type Digest = [u8; 64];

    const CONTEXT: &'static str = "FROST-ED25519-SHA512-v1";

    fn h1(input: &[u8]) -> Scalar<Ed25519> {
        Scalar::from_wide_le(&sha512(&[Self::CONTEXT.as_bytes(), b"rho", input]))
    }

    fn h2(
        nonce: &PointBytes<Ed25519>,
        key: &PointBytes<Ed25519>,
        message: &[u8],
    ) -> Scalar<Ed25519> {
        Scalar::from_wide_le(&sha512(&[nonce.as_slice(), key.as_slice(), message]))
    }

    fn h3(random: &[u8; 32], secret: &[u8; 32]) -> Scalar<Ed25519> {
        let digest = Zeroizing::new(sha512(&[
            Self::CONTEXT.as_bytes(),
            b"nonce",
            random,
            secret,
        ]));
        Scalar::from_wide_le(&digest)
    }

    fn h4(message: &[u8]) -> [u8; 64] {
        sha512(&[Self::CONTEXT.as_bytes(), b"msg", message])
    }

    fn h5(list: &[u8]) -> [u8; 64] {
        sha512(&[Self::CONTEXT.as_bytes(), b"com", list])
    }

    fn small_inverses() -> &'static [Scalar<Ed25519>] {
        static INVERSES: LazyLock<Vec<Scalar<Ed25519>>> = LazyLock::new(invert_small);
        &INVERSES
    }
}

/// FROST-secp256k1-SHA256-v1 (RFC 9591, section 6.5).
///
/// Keys of no purpose sign with it, because no chain verifies its signatures; it ties the shared code to the RFC's own vectors
/// for this curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Secp256k1Sha256;

/// FROST-secp256k1-SHA256-TR-v1, as in `frost-secp256k1-tr`. Its signatures verify under BIP 340.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Secp256k1Sha256Tr;

/// hash_to_field of RFC 9380 for one scalar, with `context || domain` as domain separation tag.
fn hash_to_scalar(context: &str, domain: &str, parts: &[&[u8]]) -> Scalar<Secp256k1> {
    let uniform = Zeroizing::new(expand_message_xmd_sha256_48(
        parts,
        &[context.as_bytes(), domain.as_bytes()],
    ));
    let mut wide = Zeroizing::new([0; 64]);
    wide.iter_mut()
        .skip(16)
        .zip(uniform.iter())
        .for_each(|(wide, byte)| *wide = *byte);
    Scalar::from_wide_be(&wide)
}

/// What both suites over secp256k1 have in common but for the context string.
macro_rules! secp256k1_hashes {
    () => {
        type Group = Secp256k1;
        type Digest = [u8; 32];

        fn h1(input: &[u8]) -> Scalar<Secp256k1> {
            hash_to_scalar(Self::CONTEXT, "rho", &[input])
        }

        fn h3(random: &[u8; 32], secret: &[u8; 32]) -> Scalar<Secp256k1> {
            hash_to_scalar(Self::CONTEXT, "nonce", &[random, secret])
        }

        fn h4(message: &[u8]) -> [u8; 32] {
            sha256(&[Self::CONTEXT.as_bytes(), b"msg", message])
        }

        fn h5(list: &[u8]) -> [u8; 32] {
            sha256(&[Self::CONTEXT.as_bytes(), b"com", list])
        }

        fn small_inverses() -> &'static [Scalar<Secp256k1>] {
            static INVERSES: LazyLock<Vec<Scalar<Secp256k1>>> = LazyLock::new(invert_small);
            &INVERSES
        }
    };
}

impl Suite for Secp256k1Sha256 {
    secp256k1_hashes!();

    const CONTEXT: &'static str = "FROST-secp256k1-SHA256-v1";

    fn h2(
        nonce: &PointBytes<Secp256k1>,
        key: &PointBytes<Secp256k1>,
        message: &[u8],
    ) -> Scalar<Secp256k1> {
        hash_to_scalar(
            Self::CONTEXT,
            "chal",
            &[nonce.as_slice(), key.as_slice(), message],
        )
    }
}

impl Suite for Secp256k1Sha256Tr {
    secp256k1_hashes!();

    const CONTEXT: &'static str = "FROST-secp256k1-SHA256-TR-v1";

    fn h2(
        nonce: &PointBytes<Secp256k1>,
        key: &PointBytes<Secp256k1>,
        message: &[u8],
    ) -> Scalar<Secp256k1> {
        let digest = bip340_tagged("BIP0340/challenge", &[x_only(nonce), x_only(key), message]);
        let mut wide = [0; 64];
        wide.iter_mut()
            .skip(32)
            .zip(digest)
            .for_each(|(wide, byte)| *wide = byte);
        Scalar::from_wide_be(&wide)
    }

    fn normalize(
        point: &Point<Secp256k1>,
        encoded: PointBytes<Secp256k1>,
    ) -> (Point<Secp256k1>, PointBytes<Secp256k1>, bool) {
        if encoded.as_slice().first() != Some(&ODD) {
            return (*point, encoded, false);
        }
        let mut even = [EVEN; 33];
        even.iter_mut()
            .skip(1)
            .zip(x_only(&encoded))
            .for_each(|(even, byte)| *even = *byte);
        let even =
            PointBytes::from_slice("even point", &even).unwrap_or_else(|_| (-*point).encode());
        (-*point, even, true)
    }
}

/// SEC1 prefixes of compressed points.
const EVEN: u8 = 2;
const ODD: u8 = 3;

/// The x coordinate out of a compressed encoding.
pub(crate) fn x_only(encoded: &PointBytes<Secp256k1>) -> &[u8] {
    encoded.as_slice().get(1..).unwrap_or_default()
}
