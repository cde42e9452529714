//! Addresses from public values alone: every child key of a wallet's key is derived on this side.
//!
//! The coordinator hands out a key's public package; whatever follows from it (child keys, addresses) is computed here and
//! never believed.

use std::fmt;

use policy::address::{self, AddressError};
use proto::keys::{DerivationPath, HdError, PublicKeyPackage};

use crate::error::{Error, Fix};

/// The public side of a threshold key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    package: PublicKeyPackage,
}

/// A child of a threshold key: public values only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    scheme: &'static str,
    path: DerivationPath,
    public_key: Vec<u8>,
    chain_code: [u8; 32],
}

impl PublicKey {
    /// Reads an encoded public key package.
    ///
    /// # Errors
    /// [`Fix::Malformed`].
    pub fn decode(package: &[u8]) -> Result<Self, Error> {
        PublicKeyPackage::decode(package)
            .map(|package| Self { package })
            .map_err(|e| malformed(&format_args!("the public key package does not decode: {e}")))
    }

    /// The key's id, the same on every node.
    #[must_use]
    pub fn id(&self) -> [u8; 32] {
        *self.package.key_id().as_bytes()
    }

    /// `ecdsa`, `bip340` or `ed25519`.
    #[must_use]
    pub const fn scheme(&self) -> &'static str {
        self.package.purpose().as_str()
    }

    /// The key itself: 32 bytes for Ed25519, 33 bytes SEC1 for secp256k1.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.package.public_key()
    }

    /// Its chain code, with which everybody derives the same children. Public inside the group that uses the key; together
    /// with the secret key of one child it gives away the secret of all.
    #[must_use]
    pub fn chain_code(&self) -> &[u8; 32] {
        self.package.chain_code()
    }

    /// The child at a path; the key itself for `m`.
    ///
    /// # Errors
    /// [`Fix::Malformed`] for the one index in 2^127 that has no child.
    pub fn child(&self, path: &DerivationPath) -> Result<Child, Error> {
        let child = self
            .package
            .derive(path)
            .map_err(|e| malformed(&format_args!("path {path}: {e}")))?;
        Ok(Child {
            scheme: self.scheme(),
            path: path.clone(),
            public_key: child.public_key,
            chain_code: child.chain_code,
        })
    }

    /// The address at a path of a chain such as `bitcoin:mainnet`.
    ///
    /// # Errors
    /// [`Fix::Malformed`] when the chain does not take this key's signatures, or as [`child`](Self::child).
    pub fn address(&self, chain: &str, path: &DerivationPath) -> Result<String, Error> {
        self.child(path)?.address(chain)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = hex::encode(self.bytes());
        write!(f, "PublicKey({} {key})", self.scheme())
    }
}

impl Child {
    /// Where it is, seen from the key that the nodes hold shares of.
    #[must_use]
    pub const fn path(&self) -> &DerivationPath {
        &self.path
    }

    /// 32 bytes for Ed25519, 33 bytes SEC1 for secp256k1. For BIP 340 this is the internal key, before the taproot tweak.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// The chain code, for deriving further from here.
    #[must_use]
    pub const fn chain_code(&self) -> &[u8; 32] {
        &self.chain_code
    }

    /// The address on a chain such as `ethereum:1`.
    ///
    /// # Errors
    /// [`Fix::Malformed`] when the chain is unknown or takes no signatures of this scheme.
    pub fn address(&self, chain: &str) -> Result<String, Error> {
        address::of(chain, self.scheme, &self.public_key)
            .map_err(|e| malformed(&format_args!("{chain}: {e}")))
    }

    /// The addresses on the main networks that take signatures of this scheme, with their chains.
    #[must_use]
    pub fn addresses(&self) -> Vec<(&'static str, String)> {
        ["bitcoin:mainnet", "ethereum:1", "solana:mainnet"]
            .into_iter()
            .filter_map(
                |chain| match address::of(chain, self.scheme, &self.public_key) {
                    Ok(address) => Some((chain, address)),
                    Err(AddressError::Chain | AddressError::Key | AddressError::Scheme) => None,
                },
            )
            .collect()
    }
}

/// Reads a path such as `m/0/5`.
///
/// # Errors
/// [`Fix::Malformed`]: hardened steps need the secret key, which nobody has.
pub fn path(text: &str) -> Result<DerivationPath, Error> {
    text.parse()
        .map_err(|e: HdError| malformed(&format_args!("{text}: {e}")))
}

fn malformed(message: &dyn fmt::Display) -> Error {
    Fix::Malformed {
        message: message.to_string(),
    }
    .into()
}
