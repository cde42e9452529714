//! Putting the state together from the store; whatever does not fit stops the start.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, RwLock};

use ::policy::cluster::ClusterFile;
use mpc_core::id::{NodeId, PartyIndex};
use mpc_core::identity::{IdentityKey, IdentityPublic};
use mpc_core::roster::{Member, Roster};
use proto::channel::nested::TunnelIdentity;
use proto::evidence_files::EvidenceFiles;

use super::dkg::{Ceremonies, Record as Ceremony};
use super::inherit::LONGEST_MS;
use super::ledger::Entry;
use super::pairs::{self, Pairs, Record as PairRow};
use super::tunnels::Tunnels;
use super::{Engine, Inner, State, TimeSource, Who};
use crate::clock::{Clock, ClockFault};
use crate::codec::Malformed;
use crate::config::Config;
use crate::init::open_identity;
use crate::seal::{Label, Owner, SealError, Secret, Vault, random};
use crate::store::{Change, Contents, Row, Store, StoreError, Table};

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The clock cannot be read.
    #[error(transparent)]
    Clock(#[from] ClockFault),
    /// The cluster file is unreadable, or does not name this node.
    #[error("{path}: {reason}")]
    Cluster {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The store is damaged, locked, or belongs to somebody else.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<SealError> for OpenError {
    fn from(error: SealError) -> Self {
        Self::Store(error.into())
    }
}

impl Engine {
    /// Opens the store and takes up where the node stopped. Nonces and sessions of an earlier start are gone.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(config: &Config, time: TimeSource) -> Result<Self, OpenError> {
        let (cluster, roster) = read_cluster(&config.cluster)?;
        let refuse = |reason: String| OpenError::Cluster {
            path: config.cluster.display().to_string(),
            reason,
        };
        let index = PartyIndex::new(config.index).map_err(|error| refuse(error.to_string()))?;
        let node = roster
            .node_id(index)
            .ok_or_else(|| refuse(format!("there is no node {index}")))?;
        let secret = Secret::read(&config.unlock)?;
        let owner = Owner::new(cluster.cluster_id.as_str(), *node.as_bytes());
        let (store, contents, vault) = Store::open(&config.store, &secret, owner)?;
        let seed = open_identity(&contents, &vault)?;
        let tunnel = TunnelIdentity::from_seed(&seed).map_err(|error| refuse(error.to_string()))?;
        let identity = IdentityKey::from_seed(seed);
        if identity.public().node_id() != node {
            return Err(refuse(format!(
                "node {index} has another identity than this store"
            )));
        }
        let mut boot = [0; 16];
        random(&mut boot)?;
        let mut challenge = [0; 32];
        random(&mut challenge)?;
        let who = Who {
            cluster,
            roster,
            node,
            index,
            identity: Arc::new(identity),
            tunnel,
            boot,
        };
        let clock = Clock::resume(config.clock, contents.mark, time()?);
        let state = State {
            clock,
            policies: super::policy::Policies::default(),
            freeze: super::freeze::Switch::default(),
            intents: super::intents::Intents::default(),
            ledger: super::ledger::Ledger::default(),
            keys: BTreeMap::new(),
            sharings: super::sharings::Sharings::new(),
            turns: BTreeMap::new(),
            origin: super::sharings::origin(&contents)?,
            challenge,
            ceremonies: Ceremonies::default(),
            spent: contents
                .rows(Table::Entries)
                .iter()
                .filter_map(|row| row.key.as_slice().try_into().ok())
                .collect(),
            outdated: outdated(&contents),
        };
        let state = fill(state, &who, &contents, &vault)?;
        let mut pairs = fill_pairs(&contents, &vault)?;
        let stops = pairs::Stops::beside(&config.store);
        stops.bring_back(&who.roster, &mut pairs);
        super::checks::repeat(&who, &contents, &vault, &mut pairs)?;
        let tunnels = Mutex::new(Tunnels::new(who.node, who.tunnel.clone(), &who.roster));
        Ok(Self(Arc::new(Inner {
            who,
            certificate: config.tls.cert.clone(),
            limits: config.limits.clone(),
            import: config.import.to_ascii_lowercase(),
            export: super::export::Consents {
                operators: config.export_operators.clone(),
                folder: config.export_consents.clone(),
            },
            store,
            evidence: EvidenceFiles::beside(&config.store),
            vault,
            stops,
            time,
            state: Mutex::new(state),
            pairs: RwLock::new(pairs),
            pools: Mutex::default(),
            tunnels,
            governance: tokio::sync::Mutex::new(()),
            starting: [tokio::sync::Mutex::new(()), tokio::sync::Mutex::new(())],
            activation: tokio::sync::Mutex::new(()),
            outbox: Mutex::new(None),
        })))
    }
}

/// Longer than any intent lives (30 days), in milliseconds.
const INTENTS_KEPT_MS: u64 = 31 * 86_400_000;

/// Rows that no decision can need any more. Measured in the witnessed time that was stored, which nobody can set: a clock
/// set ahead must not make a node forget what it spent.
fn outdated(contents: &Contents) -> Vec<Change> {
    let now_ms = contents.mark.map_or(0, |mark| mark.witnessed_ms);
    let is_old = |at_ms: u64, kept_ms: u64| at_ms.saturating_add(kept_ms) < now_ms;
    let ledger = contents.rows(Table::Ledger).iter().take_while(|row| {
        Entry::decode(&row.body).is_ok_and(|entry| is_old(entry.at_ms, LONGEST_MS))
    });
    // A withdrawal carries no time; it is as old as the announcements around it.
    let intents =
        contents.rows(Table::Intents).iter().take_while(
            |row| match super::intents::Record::decode(&row.body) {
                Ok(super::intents::Record::Announced(seen)) => {
                    is_old(seen.witnessed_ms, INTENTS_KEPT_MS)
                }
                Ok(super::intents::Record::Withdrawn(_)) => true,
                Err(_) => false,
            },
        );
    let last = [
        (Table::Ledger, ledger.last()),
        (Table::Intents, intents.last()),
    ];
    let prune = last.into_iter().filter_map(|(table, row)| {
        Some(Change::Prune {
            table,
            through: row?.number,
        })
    });
    prune.collect()
}

pub(super) fn read_cluster(path: &Path) -> Result<(ClusterFile, Roster), OpenError> {
    let refuse = |reason: String| OpenError::Cluster {
        path: path.display().to_string(),
        reason,
    };
    let text = proto::settings::read_text(path).map_err(|problem| refuse(problem.message))?;
    let cluster = ClusterFile::parse(text.as_bytes()).map_err(|error| refuse(error.to_string()))?;
    let members = cluster.nodes.iter().map(|entry| {
        let index = PartyIndex::new(entry.index).map_err(|error| refuse(error.to_string()))?;
        let identity = IdentityPublic::from_bytes(&entry.identity)
            .map_err(|error| refuse(error.to_string()))?;
        Ok(Member {
            index,
            identity,
            exchange: entry.exchange,
        })
    });
    let members = members.collect::<Result<Vec<_>, OpenError>>()?;
    let roster = Roster::new(members).map_err(|error| refuse(error.to_string()))?;
    Ok((cluster, roster))
}

/// A row whose bytes are authentic and still do not decode was written by other software.
pub(super) fn bad(table: Table, row: &Row) -> impl Fn(Malformed) -> StoreError {
    let number = row.number;
    move |error| StoreError::Damaged {
        table: table.name(),
        row: number,
        what: error.to_string(),
    }
}

fn fill(
    mut state: State,
    who: &Who,
    contents: &Contents,
    vault: &Vault,
) -> Result<State, StoreError> {
    for row in contents.rows(Table::Policies) {
        let record = super::policy::Record::decode(&row.body).map_err(bad(Table::Policies, row))?;
        state
            .policies
            .install(who, &record)
            .map_err(|refusal| StoreError::Damaged {
                table: Table::Policies.name(),
                row: row.number,
                what: format!("the policy no longer verifies: {refusal}"),
            })?;
    }
    for row in contents.rows(Table::Freezes) {
        state
            .freeze
            .record(super::freeze::Record::decode(&row.body).map_err(bad(Table::Freezes, row))?);
    }
    for row in contents.rows(Table::Intents) {
        state
            .intents
            .record(super::intents::Record::decode(&row.body).map_err(bad(Table::Intents, row))?);
    }
    for row in contents.rows(Table::Ledger) {
        state
            .ledger
            .record(&Entry::decode(&row.body).map_err(bad(Table::Ledger, row))?);
    }
    let mut active = Vec::new();
    for row in contents.rows(Table::Ceremonies) {
        let (record, digest) = Ceremony::decode(&row.body).map_err(bad(Table::Ceremonies, row))?;
        match record {
            Ceremony::Stored(mut stored) => {
                let label = stored.order.pending_label();
                match sealed_as(contents, &label, &digest) {
                    Some(sealed) => {
                        stored.sealed = sealed.to_vec();
                        state.ceremonies.restore(stored);
                    }
                    // Erased in the step that made the key active; the row of that step follows.
                    None => active.push((stored.order.request, None)),
                }
            }
            Ceremony::Active(certified, _) => {
                state.ceremonies.certified(&certified.order);
                active.push((certified.order.request, Some(())));
            }
        }
    }
    (state.sharings, state.keys) = super::sharings::load(contents, vault)?;
    for (key, place, before_ms, part) in super::sharings::inherited(contents)? {
        state.ledger.inherit(key, place, before_ms, part);
    }
    if let Some(origin) = state.origin {
        state
            .ledger
            .blind_before(origin.settled.unwrap_or(u64::MAX));
    }
    let lost = active
        .iter()
        .find(|(request, done)| done.is_none() && !active.contains(&(*request, Some(()))));
    match lost {
        Some((request, _)) => Err(StoreError::Damaged {
            table: "sealed",
            row: 0,
            what: format!(
                "the pending share of request {} is missing or was replaced",
                hex::encode(request)
            ),
        }),
        None => Ok(state),
    }
}

/// The pairs as the log has them, with the newest active setup of each opened.
fn fill_pairs(contents: &Contents, vault: &Vault) -> Result<Pairs, StoreError> {
    let mut pairs = Pairs::default();
    let rows = contents.rows(Table::Pairs);
    let mut newest: BTreeMap<NodeId, (u32, [u8; 32], &Row)> = BTreeMap::new();
    for row in rows {
        let record = PairRow::decode(&row.body).map_err(bad(Table::Pairs, row))?;
        pairs.follow(&record);
        if let PairRow::Active {
            peer,
            generation,
            sealed,
            ..
        } = record
        {
            let held = newest.entry(peer).or_insert((generation, sealed, row));
            if held.0 <= generation {
                *held = (generation, sealed, row);
            }
        }
    }
    for (peer, (generation, digest, row)) in newest {
        if !pairs.wants(&peer, generation) {
            continue;
        }
        let label = pairs::label(&peer, generation);
        let sealed = sealed_as(contents, &label, &digest);
        let sealed = sealed.ok_or_else(|| StoreError::Damaged {
            table: "sealed",
            row: row.number,
            what: format!("the setup {label} is missing or was replaced"),
        })?;
        pairs.install(vault.open_pair(&label, sealed)?);
    }
    Ok(pairs)
}

/// The sealed record of a label, if it is the one that a row was written with.
fn sealed_as<'a>(contents: &'a Contents, label: &Label, digest: &[u8; 32]) -> Option<&'a [u8]> {
    contents
        .sealed(label)
        .filter(|sealed| super::dkg::sealed_digest(sealed) == *digest)
}
