//! Nonce commitments that nodes have given ahead of time, per key and node, for keys that are in use.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use mpc_core::{
    frost::{Commitment, wire},
    lineage::Sharing,
    roster::Roster,
};
use prost::bytes::Bytes;

use crate::{keys::Key, links::Link};

/// How long after its last request a key counts as in use. Commitments cost the nodes and the coordinator more than all the rest of a
/// refresh; of a thousand keys most wait for months.
const IN_USE: Duration = Duration::from_secs(3_600);

/// A verified commitment and the envelope it came in.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    pub(super) commitment: Commitment,
    pub(super) envelope: Bytes,
}

#[derive(Debug, Default)]
struct Pool {
    boot_id: [u8; 16],
    sharing: Option<Sharing>,
    ready: VecDeque<Ready>,
    filling: bool,
}

/// All pools. The nonces behind a commitment live only in one start of one node and are for one sharing, so a pool belongs to a boot
/// id and a sharing.
#[derive(Debug, Default)]
pub(super) struct Pools {
    all: Mutex<BTreeMap<([u8; 32], u16), Pool>>,
    /// When a key was wanted last.
    wanted: Mutex<BTreeMap<[u8; 32], Instant>>,
}

impl Pools {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<([u8; 32], u16), Pool>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A signature with this key is wanted, now or soon.
    pub(super) fn want(&self, key: &Key) {
        let wanted = self.wanted.lock();
        let mut wanted = wanted.unwrap_or_else(PoisonError::into_inner);
        wanted.insert(key.id(), Instant::now());
    }

    /// Whether one was wanted lately.
    fn is_wanted(&self, key: &Key) -> bool {
        let wanted = self.wanted.lock();
        let wanted = wanted.unwrap_or_else(PoisonError::into_inner);
        let last = wanted.get(&key.id());
        last.is_some_and(|last| last.elapsed() < IN_USE)
    }

    fn with<T>(&self, key: &Key, link: &Link, work: impl FnOnce(&mut Pool) -> T) -> T {
        let mut pools = self.lock();
        let pool = pools.entry((key.id(), link.index())).or_default();
        let sharing = Some(key.sharing());
        if pool.boot_id != *link.boot_id() || pool.sharing != sharing {
            *pool = Pool {
                boot_id: *link.boot_id(),
                sharing,
                ..Pool::default()
            };
        }
        work(pool)
    }

    /// Takes the oldest commitment.
    pub(super) fn take(&self, key: &Key, link: &Link) -> Option<Ready> {
        self.want(key);
        self.with(key, link, |pool| pool.ready.pop_front())
    }

    /// Gives one back that nobody was shown.
    pub(super) fn give_back(&self, key: &Key, link: &Link, ready: Ready) {
        self.with(key, link, |pool| pool.ready.push_front(ready));
    }

    /// Forgets what a node says it no longer has.
    pub(super) fn clear(&self, key: &Key, link: &Link) {
        self.with(key, link, |pool| pool.ready.clear());
    }

    /// How many to fetch now, if the key is in use, it is time and nobody else does; the caller must call [`Pools::filled`] afterwards.
    pub(super) fn begin_fill(
        &self,
        key: &Key,
        link: &Link,
        low: usize,
        high: usize,
    ) -> Option<usize> {
        if !self.is_wanted(key) {
            return None;
        }
        self.with(key, link, |pool| {
            if pool.filling || pool.ready.len() >= low {
                return None;
            }
            pool.filling = true;
            Some(high.saturating_sub(pool.ready.len()))
        })
    }

    /// Ends what [`Pools::begin_fill`] began.
    pub(super) fn filled(&self, key: &Key, link: &Link) {
        self.with(key, link, |pool| pool.filling = false);
    }

    /// Keeps a commitment if there is room.
    pub(super) fn add(&self, key: &Key, link: &Link, ready: Ready, high: usize) {
        self.with(key, link, |pool| {
            if pool.ready.len() < high.saturating_mul(2) {
                pool.ready.push_back(ready);
            }
        });
    }
}

/// Verifies an envelope: signed by this node, for this key, made in this start of the node.
pub(super) fn open(roster: &Roster, key: &Key, link: &Link, envelope: Bytes) -> Option<Ready> {
    let published = wire::open_commitment(roster, &key.package, &envelope).ok()?;
    let own = published.node == link.node() && published.boot_id == *link.boot_id();
    own.then_some(Ready {
        commitment: published.commitment,
        envelope,
    })
}
