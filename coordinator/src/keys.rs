//! The keys of the cluster: what is known of each, and the generation of new ones.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use mpc_core::{id::Purpose, keys::PublicKeyPackage};

use crate::store::{KeyRow, KeyStage, StoreError};

/// A key that can be used.
#[derive(Debug)]
pub(crate) struct Key {
    /// What the store has.
    pub(crate) row: KeyRow,
    /// The decoded public key package.
    pub(crate) package: PublicKeyPackage,
    /// 32 bytes (Ed25519) or 33 (secp256k1).
    pub(crate) public_key: Vec<u8>,
}

impl Key {
    /// Reads an active row; `None` if it is not active.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if the package does not decode.
    pub(crate) fn read(row: &KeyRow) -> Result<Option<Self>, StoreError> {
        if row.stage != KeyStage::Active {
            return Ok(None);
        }
        let package = PublicKeyPackage::decode(&row.package)
            .map_err(|_| StoreError::Damaged("a public key package does not decode"))?;
        let public_key = package.public_key();
        Ok(Some(Self {
            row: row.clone(),
            package,
            public_key,
        }))
    }

    /// The name of the key, 32 bytes.
    pub(crate) const fn id(&self) -> [u8; 32] {
        *self.package.key_id().as_bytes()
    }

    /// How a chain writes the key as an address; empty where the chain takes no signatures of the key's scheme.
    pub(crate) fn address(&self, chain: &str) -> String {
        let scheme = self.package.purpose().as_str();
        policy::address::of(chain, scheme, &self.public_key).unwrap_or_default()
    }

    /// The address on the main network that keys of this scheme are mostly for.
    pub(crate) fn main_address(&self) -> String {
        self.address(match self.package.purpose() {
            Purpose::Bip340 => "bitcoin:mainnet",
            Purpose::Ecdsa => "ethereum:1",
            // A key for raw digests holds no funds.
            Purpose::EcdsaRaw => return String::new(),
            Purpose::Ed25519 => "solana:mainnet",
        })
    }
}

/// Every key that can be used, by name.
#[derive(Debug, Default)]
pub(crate) struct Keys(RwLock<BTreeMap<[u8; 32], Arc<Key>>>);

impl Keys {
    /// Adds a key.
    pub(crate) fn insert(&self, key: Arc<Key>) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key.id(), key);
    }

    /// The key of this name.
    pub(crate) fn get(&self, id: &[u8; 32]) -> Option<Arc<Key>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .cloned()
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Arc<Key>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }
}
