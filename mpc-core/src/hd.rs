//! Child keys of a threshold key, derived from public values alone.
//!
//! secp256k1 keys follow BIP 32 public derivation. Ed25519 keys use a scheme of their own, which is neither SLIP-10 (hardened only)
//! nor BIP32-Ed25519 (needs keys of another form): `tau = Hs("hd/ed25519"; cc, K, u32 index)`, `K' = K + tau * g`,
//! `cc' = H("hd/ed25519/cc"; cc, K, u32 index)`. Hardened derivation needs the secret and is refused. (Protocol notes, section 13.)
//!
//! A child key is the parent plus a public number, so adding the same number to every share gives shares of the child.
//!
//! # Security
//! Whoever has one child's secret key and the chain code, which is public inside the group, has the parent's: exporting a child is
//! exporting the root.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "field and group operations wrap by definition"
)]

use core::fmt;
use core::str::FromStr;

use crate::group::{Ed25519, Point, Scalar, Secp256k1};
use crate::id::Suite;
use crate::keys::{KeyGroup, PublicKeyPackage};
use crate::transcript::ciphersuite::hmac_sha512;
use crate::transcript::{self, Tag};

/// The most steps of a path.
pub const MAX_DEPTH: usize = 16;

/// The first index that BIP 32 calls hardened.
const HARDENED: u32 = 1 << 31;

/// Where a child key is, seen from the stored key: at most [`MAX_DEPTH`] indices below 2^31. Empty for the stored key itself.
///
/// Written `m/0/5`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DerivationPath(Vec<u32>);

/// Why there is no such child key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HdError {
    /// An index of 2^31 or above, or one with an apostrophe.
    #[error("hardened derivation needs the secret key, which nobody has; use indices below 2^31")]
    Hardened,
    /// Not of the form `m/0/5`.
    #[error("a path is written m/0/5: `m`, then numbers below 2^31 after slashes")]
    Syntax,
    /// More than [`MAX_DEPTH`] steps.
    #[error("a path has at most 16 steps")]
    TooDeep,
    /// This index has no child key, which happens for one index in 2^127. Use the next one.
    #[error("index {index} has no child key here, use the next one")]
    NoSuchChild {
        /// The index.
        index: u32,
    },
}

impl DerivationPath {
    /// A path of these indices.
    ///
    /// # Errors
    /// [`HdError::Hardened`], [`HdError::TooDeep`].
    pub fn new(indices: impl Into<Vec<u32>>) -> Result<Self, HdError> {
        let indices = indices.into();
        if indices.len() > MAX_DEPTH {
            Err(HdError::TooDeep)
        } else if indices.iter().any(|index| *index >= HARDENED) {
            Err(HdError::Hardened)
        } else {
            Ok(Self(indices))
        }
    }

    /// The indices from the stored key down.
    #[must_use]
    pub fn indices(&self) -> &[u32] {
        &self.0
    }
}

impl FromStr for DerivationPath {
    type Err = HdError;

    fn from_str(text: &str) -> Result<Self, HdError> {
        let mut steps = text.split('/');
        if steps.next() != Some("m") {
            return Err(HdError::Syntax);
        }
        let index = |step: &str| {
            if step.ends_with(['\'', 'h', 'H']) {
                return Err(HdError::Hardened);
            }
            let plain = step.bytes().all(|byte| byte.is_ascii_digit())
                && (step.len() == 1 || !step.starts_with('0'));
            let number = plain.then(|| step.parse::<u32>().ok()).flatten();
            number.ok_or(HdError::Syntax)
        };
        Self::new(steps.map(index).collect::<Result<Vec<_>, _>>()?)
    }
}

impl fmt::Display for DerivationPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("m")?;
        self.0.iter().try_for_each(|index| write!(f, "/{index}"))
    }
}

/// A child key: public values only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildKey {
    /// 32 bytes (Ed25519) or 33 bytes SEC1 compressed (secp256k1).
    pub public_key: Vec<u8>,
    /// The chain code of the child.
    pub chain_code: [u8; 32],
}

/// A child of a key of one curve.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Child<G: Derive> {
    /// `tau`: what is added to the secret key.
    pub(crate) tweak: Scalar<G>,
    /// The child's public key.
    pub(crate) point: Point<G>,
    pub(crate) chain_code: [u8; 32],
}

/// A curve with a rule for one step.
pub(crate) trait Derive: KeyGroup {
    /// What is added to the key, and the next chain code; `None` if the rule gives none.
    fn step(
        key: &Point<Self>,
        chain_code: &[u8; 32],
        index: u32,
    ) -> Option<(Scalar<Self>, [u8; 32])>;
}

impl Derive for Secp256k1 {
    fn step(
        key: &Point<Self>,
        chain_code: &[u8; 32],
        index: u32,
    ) -> Option<(Scalar<Self>, [u8; 32])> {
        let digest = hmac_sha512(chain_code, &[key.encode().as_slice(), &index.to_be_bytes()]);
        from_hmac(&digest)
    }
}

/// BIP 32: the left half is the number to add unless it is at or above the order, the right half the chain code.
fn from_hmac(digest: &[u8; 64]) -> Option<(Scalar<Secp256k1>, [u8; 32])> {
    let (left, right) = digest.split_at(32);
    let tweak = Scalar::decode("tweak", left).ok()?;
    Some((tweak, right.try_into().ok()?))
}

impl Derive for Ed25519 {
    fn step(
        key: &Point<Self>,
        chain_code: &[u8; 32],
        index: u32,
    ) -> Option<(Scalar<Self>, [u8; 32])> {
        let tweak = transcript::wide(Tag::HD_ED25519)
            .field(chain_code)
            .point(key);
        let next = transcript::hash(Tag::HD_ED25519_CC)
            .field(chain_code)
            .point(key);
        Some((tweak.u32(index).scalar(), next.u32(index).digest()))
    }
}

/// The child of `key` at `path`. Public values, variable time.
pub(crate) fn derive<G: Derive>(
    key: &Point<G>,
    chain_code: &[u8; 32],
    path: &DerivationPath,
) -> Result<Child<G>, HdError> {
    let start = Child {
        tweak: Scalar::zero(),
        point: *key,
        chain_code: *chain_code,
    };
    path.0.iter().try_fold(start, |parent, index| {
        let none = HdError::NoSuchChild { index: *index };
        let (tweak, chain_code) = G::step(&parent.point, &parent.chain_code, *index).ok_or(none)?;
        let point = parent.point + Point::mul_base(&tweak);
        if point.is_identity() {
            return Err(none);
        }
        Ok(Child {
            tweak: parent.tweak + tweak,
            point,
            chain_code,
        })
    })
}

impl PublicKeyPackage {
    /// The child key at `path`, from public values alone. For BIP 340 keys this is the key before the taproot tweak.
    ///
    /// # Errors
    /// [`HdError::NoSuchChild`].
    pub fn derive(&self, path: &DerivationPath) -> Result<ChildKey, HdError> {
        fn child<G: Derive>(
            package: &PublicKeyPackage,
            path: &DerivationPath,
        ) -> Result<ChildKey, HdError> {
            let Some(points) = package.view::<G>() else {
                return Err(HdError::Syntax);
            };
            let child = derive(&points.group_key, package.chain_code(), path)?;
            Ok(ChildKey {
                public_key: child.point.encode().as_slice().to_vec(),
                chain_code: child.chain_code,
            })
        }
        match self.purpose().suite() {
            Suite::Ed25519 => child::<Ed25519>(self, path),
            Suite::Secp256k1 => child::<Secp256k1>(self, path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex32(text: &str) -> [u8; 32] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    /// BIP 32, test vectors 1 and 2: the public derivations, as the public keys and chain codes inside the extended keys.
    #[test]
    fn bip32_public_vectors() {
        for (key, chain_code, index, child, child_code) in [
            (
                "035a784662a4a20a65bf6aab9ae98a6c068a81c52e4b032c0fb5400c706cfccc56",
                "47fdacbd0f1097043b78c63c20c34ef4ed9a111d980047ad16282c7ae6236141",
                1,
                "03501e454bf00751f24b1b489aa925215d66af2234e3891c3b21a52bedb3cd711c",
                "2a7857631386ba23dacac34180dd1983734e444fdbf774041578e9b6adb37c19",
            ),
            (
                "0357bfe1e341d01c69fe5654309956cbea516822fba8a601743a012a7896ee8dc2",
                "04466b9cc8e161e966409ca52986c584f07e9dc81f735db683c3ff6ec7b1503f",
                2,
                "02e8445082a72f29b75ca48748a914df60622a609cacfce8ed0e35804560741d29",
                "cfb71883f01676f587d023cc53a35bc7f88f724b1f8c2892ac1275ac822a3edd",
            ),
            (
                "02e8445082a72f29b75ca48748a914df60622a609cacfce8ed0e35804560741d29",
                "cfb71883f01676f587d023cc53a35bc7f88f724b1f8c2892ac1275ac822a3edd",
                1_000_000_000,
                "022a471424da5e657499d1ff51cb43c47481a03b1e77f951fe64cec9f5a48f7011",
                "c783e67b921d2beb8f6b389cc646d7263b4145701dadd2161548a8b078e65e9e",
            ),
            (
                "03cbcaa9c98c877a26977d00825c956a238e8dddfbd322cce4f74b0b5bd6ace4a7",
                "60499f801b896d83179a4374aeb7822aaeaceaa0db1f85ee3e904c4defbd9689",
                0,
                "02fc9e5af0ac8d9b3cecfe2a888e2117ba3d089d8585886c9c826b6b22a98d12ea",
                "f0909affaa7ee7abe5dd4e100598d4dc53cd709d5a5c2cac40e7412f232f7c9c",
            ),
        ] {
            let point = Point::<Secp256k1>::decode("key", &hex::decode(key).unwrap()).unwrap();
            let path = DerivationPath::new([index]).unwrap();
            let derived = derive(&point, &hex32(chain_code), &path).unwrap();
            assert_eq!(hex::encode(derived.point.encode().as_slice()), child);
            assert_eq!(hex::encode(derived.chain_code), child_code);
            assert_eq!(point + Point::mul_base(&derived.tweak), derived.point);
        }
    }

    #[test]
    fn a56_halves_that_are_no_scalar_give_no_child() {
        let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
        let above = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364142";
        for left in [order, above, &"ff".repeat(32)] {
            let mut digest = [7; 64];
            digest[..32].copy_from_slice(&hex32(left));
            assert!(from_hmac(&digest).is_none());
        }
        let mut below = [7; 64];
        below[..32].copy_from_slice(&hex32(order));
        below[31] -= 1;
        assert!(from_hmac(&below).is_some());
    }

    #[test]
    fn a56_paths_are_plain_and_bounded() {
        for (text, error) in [
            ("", HdError::Syntax),
            ("0/1", HdError::Syntax),
            ("m/", HdError::Syntax),
            ("m/01", HdError::Syntax),
            ("m/+1", HdError::Syntax),
            ("m/4294967296", HdError::Syntax),
            ("m/44'", HdError::Hardened),
            ("m/44h/0", HdError::Hardened),
            ("m/2147483648", HdError::Hardened),
            ("m/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0", HdError::TooDeep),
        ] {
            assert_eq!(text.parse::<DerivationPath>(), Err(error), "{text}");
        }
        for text in ["m", "m/0", "m/2147483647/5"] {
            assert_eq!(text.parse::<DerivationPath>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn children_of_ed25519_keys_are_the_parent_plus_the_tweak() {
        let key = Point::<Ed25519>::generator();
        let path = DerivationPath::new([3, 4]).unwrap();
        let child = derive(&key, &[9; 32], &path).unwrap();
        assert_eq!(key + Point::mul_base(&child.tweak), child.point);
        let other = derive(&key, &[8; 32], &path).unwrap();
        assert_ne!(other.point, child.point);
        let step = |index| derive(&key, &[9; 32], &DerivationPath::new([index]).unwrap());
        let (three, four) = (step(3).unwrap(), step(4).unwrap());
        assert_ne!(three.point, four.point);
        assert_ne!(three.chain_code, four.chain_code);
    }
}
