//! The entries of preprocessing that nodes say they hold, per set of signers.
//!
//! An entry can be used while every node of its set lists it, in the start of the node that is connected now. It is handed out
//! once; what became of it afterwards is the nodes' business, which open an entry once as well.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mpc_core::id::SessionId;
use proto::v1;
use tokio::sync::{Notify, futures::Notified};

use crate::links::Link;

/// Sets of signers that one node may talk about.
const SETS_PER_NODE: usize = 256;

/// Names handed out that are remembered, so that a list that was under way does not bring one back.
const REMEMBERED: usize = 4_096;

/// Party indices of the signers, ascending.
pub(super) type Set = Vec<u16>;

/// What one node has said of one set.
#[derive(Debug)]
struct Told {
    boot_id: [u8; 16],
    entries: BTreeSet<[u8; 32]>,
}

#[derive(Debug, Default)]
struct Table {
    told: BTreeMap<Set, BTreeMap<u16, Told>>,
    taken: BTreeSet<[u8; 32]>,
    order: VecDeque<[u8; 32]>,
}

/// All lists.
#[derive(Debug, Default)]
pub(super) struct Entries {
    table: Mutex<Table>,
    changed: Notify,
}

impl Table {
    /// What all nodes of a set list, in the starts that are connected.
    fn shared(&self, set: &[u16], links: &BTreeMap<u16, Arc<Link>>) -> BTreeSet<[u8; 32]> {
        let Some(told) = self.told.get(set) else {
            return BTreeSet::new();
        };
        let mut lists = set.iter().map(|index| {
            let (told, link) = (told.get(index)?, links.get(index)?);
            (told.boot_id == *link.boot_id()).then_some(&told.entries)
        });
        let Some(Some(first)) = lists.next() else {
            return BTreeSet::new();
        };
        let mut shared: BTreeSet<_> = first.difference(&self.taken).copied().collect();
        for list in lists {
            match list {
                Some(list) => shared.retain(|entry| list.contains(entry)),
                None => return BTreeSet::new(),
            }
        }
        shared
    }
}

impl Entries {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a node's list of one set in the place of its earlier one; false if it is none that this node can give.
    pub(super) fn note(&self, link: &Link, parties: usize, list: &v1::PoolEntries) -> bool {
        let set: Option<Set> = list
            .signers
            .iter()
            .map(|index| u16::try_from(*index).ok())
            .collect();
        let entries: Option<BTreeSet<[u8; 32]>> = list
            .entries
            .iter()
            .map(|entry| entry.as_ref().try_into().ok())
            .collect();
        let (Some(set), Some(entries)) = (set, entries) else {
            return false;
        };
        let ascending = set.is_sorted_by(|left, right| left < right);
        let members = set
            .iter()
            .all(|index| (1..=parties).contains(&usize::from(*index)));
        let own = set.contains(&link.index()) && list.boot_id.as_ref() == link.boot_id().as_slice();
        if !ascending || !members || !own || set.len() < 2 {
            return false;
        }
        let mut table = self.lock();
        let known = table
            .told
            .values()
            .filter(|told| told.contains_key(&link.index()));
        let is_new = !table
            .told
            .get(&set)
            .is_some_and(|told| told.contains_key(&link.index()));
        if is_new && known.count() >= SETS_PER_NODE {
            return false;
        }
        let boot_id = *link.boot_id();
        let told = Told { boot_id, entries };
        table
            .told
            .entry(set)
            .or_default()
            .insert(link.index(), told);
        drop(table);
        self.changed.notify_waiters();
        true
    }

    /// Resolves with the next list that comes after this call.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Takes an entry of exactly this set. It is never handed out again.
    pub(super) fn take(&self, set: &[u16], links: &BTreeMap<u16, Arc<Link>>) -> Option<SessionId> {
        let mut table = self.lock();
        let entry = table.shared(set, links).pop_first()?;
        table.taken.insert(entry);
        table.order.push_back(entry);
        if table.order.len() > REMEMBERED
            && let Some(oldest) = table.order.pop_front()
        {
            table.taken.remove(&oldest);
        }
        Some(SessionId::from_bytes(entry))
    }

    /// Makes an entry available again that all its signers refused to open.
    pub(super) fn give_back(&self, entry: &SessionId) {
        self.lock().taken.remove(entry.as_bytes());
    }

    /// How many entries a set has.
    pub(super) fn depth(&self, set: &[u16], links: &BTreeMap<u16, Arc<Link>>) -> usize {
        self.lock().shared(set, links).len()
    }

    /// The sets that have been talked about.
    pub(super) fn sets(&self) -> Vec<Set> {
        self.lock().told.keys().cloned().collect()
    }
}
