//! The keys of the cluster: what is known of each, and the generation of new ones.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use mpc_core::{
    id::{Attempt, Epoch, NodeId, Purpose},
    keys::PublicKeyPackage,
    lineage::{Learned, Lineage, Refusal, Sharing},
    reshare::Certificate,
};

use crate::store::{KeyRow, KeyStage, SharingRow, StoreError};

/// The coordinator follows the sharings of a key and is no member of any.
const OUTSIDER: NodeId = NodeId::from_bytes([0; 32]);

/// A key that can be used, with the sharing that is active. Every change makes another value.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    /// What the store has of its generation.
    pub(crate) row: KeyRow,
    /// Its sharings up to the active one, by the rules that the nodes follow as well.
    pub(crate) lineage: Lineage,
    /// The public record of the active sharing.
    pub(crate) package: PublicKeyPackage,
    /// 32 bytes (Ed25519) or 33 (secp256k1).
    pub(crate) public_key: Vec<u8>,
    /// When the active sharing was stored here, Unix milliseconds.
    pub(crate) since_ms: u64,
    /// People have ordered that it signs no more.
    pub(crate) ended: bool,
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
            lineage: Lineage::new(package.clone(), false),
            package,
            public_key,
            since_ms: row.created_ms,
            ended: false,
        }))
    }

    /// The key after one more certificate, and what the certificate changes.
    ///
    /// # Errors
    /// [`Refusal`] if it does not continue what is known of the key.
    pub(crate) fn learn(
        &self,
        certificate: Certificate,
        now_ms: u64,
    ) -> Result<(Self, Learned), Refusal> {
        let mut key = self.clone();
        let learned = key.lineage.learn(certificate, &OUTSIDER)?;
        if matches!(learned, Learned::Activated(_)) {
            key.package = key.lineage.active().clone();
            key.since_ms = now_ms;
        }
        Ok((key, learned))
    }

    /// The name of the key, 32 bytes.
    pub(crate) const fn id(&self) -> [u8; 32] {
        *self.package.key_id().as_bytes()
    }

    /// The active sharing.
    pub(crate) const fn sharing(&self) -> Sharing {
        Sharing::of(&self.package)
    }

    /// The certificates of sharings higher than this place, lowest first: what whoever is there needs to come up.
    pub(crate) fn above(&self, place: (Epoch, Attempt)) -> Vec<&Certificate> {
        let chain = self.lineage.chain().iter();
        chain
            .filter(|certificate| certificate.sharing().place() > place)
            .collect()
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

    /// Takes a stored certificate in.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if it does not continue the key's earlier ones.
    pub(crate) fn follow(&self, row: &SharingRow) -> Result<(), StoreError> {
        let damaged = StoreError::Damaged("a stored certificate does not hold");
        let Some(key) = self.get(&row.key_id) else {
            return Err(damaged);
        };
        let certificate = Certificate::decode(&row.certificate).map_err(|_| damaged.clone())?;
        let (key, _) = key.learn(certificate, row.at_ms).map_err(|_| damaged)?;
        self.insert(Arc::new(key));
        Ok(())
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
