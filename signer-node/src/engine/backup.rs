//! Taking a node's secrets out of its store for a backup, and putting restored ones into a new store.
//!
//! What travels: the node's two keys, and per key the share with the public record that made it active. What never does:
//! nonces, pools and pair setups, which are made anew; the ledger, the announced intents and the policy, which an old copy
//! would roll back and which come from peers and people.

use std::sync::Arc;

use ::policy::cluster::ClusterFile;
use mpc_core::id::{NodeId, PartyIndex};
use mpc_core::identity::{ExchangeKey, IdentityKey, IdentityPublic};
use mpc_core::keys::KeyShare;

use super::dkg::sealed_digest;
use super::load::{OpenError, read_cluster};
use super::sharings::{self, Held as Known, Record, Stop, place_of, seal_lineage, share_label};
use crate::clock::Reading;
use crate::codec::Malformed;
use crate::config::Config;
use crate::init::{open_exchange, open_identity, seal_node};
use crate::seal::{Effort, Owner, SealError, Secret, Vault};
use crate::store::{Change, Contents, Store, StoreError};

/// A share, with what else a node keeps about its key.
#[derive(Debug)]
pub struct Held {
    /// What the operator called the key.
    pub name: String,
    /// The public record that made the share active, as the node stored it.
    pub history: Vec<u8>,
    /// The share. Secret.
    pub share: KeyShare,
}

/// The secrets of one node.
#[derive(Debug)]
pub struct Secrets {
    /// Identity key. Secret.
    pub identity: IdentityKey,
    /// Export key. Secret.
    pub exchange: ExchangeKey,
    /// One per key.
    pub keys: Vec<Held>,
}

/// Why a restored store was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The history of a key does not decode, or is another key's.
    #[error(
        "the record of key {0} in the backup is not one of this share; use the file as it was written"
    )]
    History(String),
    /// The keys are not those that the cluster file has for this node.
    #[error(
        "the backup is of another node than node {0} of the cluster file; restore it with that node's configuration"
    )]
    OtherNode(u16),
    /// The store was not made.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The share of a key belongs to another node.
    #[error("the share of key {0} is not this node's; the files do not belong together")]
    OtherShare(String),
    /// The same key twice.
    #[error("key {0} is there twice; give one backup per key, the newest")]
    Twice(String),
}

impl From<StoreError> for RestoreError {
    fn from(error: StoreError) -> Self {
        Self::Open(error.into())
    }
}

impl From<SealError> for RestoreError {
    fn from(error: SealError) -> Self {
        Self::Open(error.into())
    }
}

/// Reads the secrets of a node from its sealed store. The node may be running; nothing is changed.
///
/// # Errors
/// [`OpenError`]: the cluster file, the secret that unlocks the store, or the store is not in order.
pub fn export(config: &Config) -> Result<Secrets, OpenError> {
    let (cluster, node) = place(config)?;
    let secret = Secret::read(&config.unlock)?;
    let owner = Owner::new(cluster.cluster_id.as_str(), *node.as_bytes());
    let (contents, vault) = Store::look(&config.store, &secret, owner)?;
    Ok(Secrets {
        identity: IdentityKey::from_seed(open_identity(&contents, &vault)?),
        exchange: open_exchange(&contents, &vault)?,
        keys: active(&contents, &vault)?,
    })
}

/// The active sharing of every key that this node has a share of.
fn active(contents: &Contents, vault: &Vault) -> Result<Vec<Held>, StoreError> {
    let (known, keys) = sharings::load(contents, vault)?;
    let held = keys.into_iter().filter_map(|(key_id, key)| {
        let known = known.get(&key_id)?;
        // Nobody else has the share: it was read for this.
        let share = Arc::into_inner(key).and_then(|key| Arc::into_inner(key.share))?;
        Some(Held {
            name: known.name.clone(),
            history: known.history(),
            share,
        })
    });
    Ok(held.collect())
}

/// The cluster, and which node of it the configuration is for.
fn place(config: &Config) -> Result<(ClusterFile, NodeId), OpenError> {
    let (cluster, roster) = read_cluster(&config.cluster)?;
    let index = PartyIndex::new(config.index).ok();
    let node = index.and_then(|index| roster.node_id(index));
    let node = node.ok_or_else(|| OpenError::Cluster {
        path: config.cluster.display().to_string(),
        reason: format!("there is no node {}", config.index),
    })?;
    Ok((cluster, node))
}

/// Makes a new store at the place that the configuration names, with a data key of its own, and puts the secrets into it.
///
/// The node has no policy, no ledger and no setups then; it takes part in nothing before its peers have brought it up to
/// date. A store that exists is never touched.
///
/// # Errors
/// [`RestoreError`].
pub fn restore(config: &Config, secrets: &Secrets) -> Result<(), RestoreError> {
    let (cluster, node) = place(config)?;
    let entry = cluster.node(config.index);
    let is_node = |public: IdentityPublic| {
        entry.is_some_and(|entry| {
            entry.identity == *public.as_bytes() && entry.exchange == secrets.exchange.public()
        })
    };
    if !is_node(secrets.identity.public()) {
        return Err(RestoreError::OtherNode(config.index));
    }
    let secret = Secret::read(&config.unlock)?;
    let owner = Owner::new(cluster.cluster_id.as_str(), *node.as_bytes());
    let (vault, wrapped) = Vault::create(&secret, owner, Effort::default())?;
    let mut changes = seal_node(&vault, &secrets.identity, &secrets.exchange)?;
    let at_ms = Reading::take(Reading::kernel_boot())
        .map_err(OpenError::from)?
        .wall_ms;
    let mut seen = std::collections::BTreeSet::new();
    for held in &secrets.keys {
        if !seen.insert(held.share.public().key_id()) {
            return Err(RestoreError::Twice(held.name.clone()));
        }
        changes.extend(restored(&vault, &node, held, at_ms)?);
    }
    Store::create(&config.store, &vault, &wrapped, &changes)?;
    Ok(())
}

/// The records of one key, as the node itself would have written them, and the mark that it came out of a backup.
fn restored(
    vault: &Vault,
    node: &NodeId,
    held: &Held,
    at_ms: u64,
) -> Result<Vec<Change>, RestoreError> {
    let public = held.share.public();
    if public.node(held.share.index()) != Some(*node) {
        return Err(RestoreError::OtherShare(held.name.clone()));
    }
    let history = || RestoreError::History(held.name.clone());
    let known = Known::decode_history(&held.history, node).map_err(|_: Malformed| history())?;
    if known.lineage.active() != public || !known.lineage.holds_active() || known.name != held.name
    {
        return Err(history());
    }
    let (key, place) = (*public.key_id().as_bytes(), place_of(public));
    let label = share_label(key, place);
    let share = vault.seal_share(&label, &held.share)?;
    let (lineage, digest) = seal_lineage(vault, &known.lineage)?;
    let active = Record::Active {
        key,
        place,
        at_ms: known.since_ms,
        sealed: sealed_digest(&share),
        lineage: digest,
    };
    let mark = Record::Restored { key, place, at_ms };
    let (at_ms, statements) = (known.since_ms, Vec::new());
    let stopped = known.stopped.map(|stop| match stop {
        Stop::Retired => Record::Retired {
            key,
            at_ms,
            statements,
        },
        Stop::Exported => Record::Exported {
            key,
            request: [0; 32],
            at_ms,
            statements,
        },
        Stop::Conflict => Record::Conflict {
            key,
            at_ms,
            one: Vec::new(),
            other: Vec::new(),
        },
    });
    let mut changes = vec![
        lineage,
        Change::Seal {
            label,
            record: share,
        },
        known.known(digest),
        sharings::append(&active),
        sharings::append(&mark),
    ];
    changes.extend(stopped.iter().map(sharings::append));
    Ok(changes)
}
