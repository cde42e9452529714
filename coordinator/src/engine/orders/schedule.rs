//! Refreshes that nobody has to order, by the policy's interval or after an import: proposed when they are due, permitted by every
//! node on its own policy and clock, and reported when they do not happen.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError},
};

use mpc_core::id::NodeId;
use policy::governance::{STANDING_ATTEMPTS, refresh_every};
use prost::bytes::Bytes;
use proto::v1;

use super::{OrderId, SCHEDULED, reshares::Right};
use crate::{clock, engine::Engine, keys::Key};

/// A refresh is overdue when a tenth of its interval has passed since it was due, and so many milliseconds at least.
const GRACE_MS: u64 = 30_000;

/// The least pause after a proposal that came to nothing, in milliseconds.
const PAUSE_MS: u64 = 60_000;

/// When the shares of a key are to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Due {
    pub(in crate::engine) every_ms: u64,
    pub(in crate::engine) due_ms: u64,
    pub(in crate::engine) overdue: bool,
}

impl Due {
    fn new(every_ms: u64, since_ms: u64, now_ms: u64) -> Self {
        let due_ms = since_ms.saturating_add(every_ms);
        let grace_ms = (every_ms / 10).max(GRACE_MS);
        Self {
            every_ms,
            due_ms,
            overdue: now_ms > due_ms.saturating_add(grace_ms),
        }
    }
}

impl Engine {
    /// When a key's shares are to be replaced: those of an imported key at once, others by the policy in force; `None` if it has no
    /// interval for the key.
    pub(in crate::engine) fn due(&self, key: &Key, now_ms: u64) -> Option<Due> {
        if key.row.imported && key.package.epoch().0 == 0 && !key.ended {
            return Some(Due::new(0, key.since_ms, now_ms));
        }
        let policy = self.policies.in_force(now_ms).ok()?;
        let every = refresh_every(policy.document(), &key.id())?;
        (!key.ended).then(|| Due::new(every.as_ms(), key.since_ms, now_ms))
    }

    /// Proposes the refreshes that are due and can take place, and raises an alert about those that are overdue.
    pub(super) async fn propose_refreshes(self: &Arc<Self>) {
        let now_ms = clock::now_ms();
        let busy = self.orders.busy();
        // Of the keys that one committee has, the first that is due makes new setups for all of them.
        let mut renewed: BTreeSet<Vec<NodeId>> = BTreeSet::new();
        for key in self.keys.all() {
            let Some(due) = self.due(&key, now_ms) else {
                continue;
            };
            self.say_overdue(&key, due).await;
            let name = key.id();
            let missing = key
                .package
                .nodes()
                .values()
                .any(|node| self.links.by_node(node).is_none());
            let next = self.next_attempt(&name, key.package.epoch().0.saturating_add(1));
            if now_ms < due.due_ms
                || busy.contains_key(&name)
                || missing
                || next > STANDING_ATTEMPTS
                || self.failed_lately(&key, now_ms)
            {
                continue;
            }
            let committee: Vec<NodeId> = key.package.nodes().values().copied().collect();
            let fresh_pairs = key.package.purpose().needs_pairs() && renewed.insert(committee);
            self.propose(&key, fresh_pairs, now_ms).await;
        }
    }

    /// Whether a refresh of this sharing came to nothing a short while ago.
    fn failed_lately(&self, key: &Key, now_ms: u64) -> bool {
        let epoch = key.package.epoch().0.saturating_add(1);
        let name = key.id();
        self.orders.statuses().iter().any(|(_, status)| {
            let about = |one: &v1::OrderKey| one.key_id.as_ref() == name && one.epoch == epoch;
            status.kind == SCHEDULED
                && status.keys.iter().any(about)
                && status.updated_ms.saturating_add(PAUSE_MS) > now_ms
        })
    }

    async fn say_overdue(&self, key: &Key, due: Due) {
        let name = key.id();
        let is_news = {
            let mut said = self
                .orders
                .overdue
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if due.overdue {
                said.insert(name)
            } else {
                said.remove(&name);
                false
            }
        };
        if !is_news {
            return;
        }
        tracing::error!(key = %key.row.name, due_ms = due.due_ms, "alert: the refresh of a key is overdue");
        let detail = serde_json::json!({
            "what": "refresh overdue",
            "key": hex::encode(name),
            "name": key.row.name,
            "due_ms": due.due_ms,
        });
        if let Err(error) = self
            .store
            .note("alert", None, detail, clock::now_ms())
            .await
        {
            tracing::error!(%error, "an alert was not stored");
        }
    }

    async fn propose(self: &Arc<Self>, key: &Arc<Key>, fresh_pairs: bool, now_ms: u64) {
        let mut id: OrderId = [0; 32];
        if getrandom::fill(&mut id).is_err() {
            return;
        }
        let name = key.id();
        let reason = if key.row.imported && key.package.epoch().0 == 0 {
            "which a dealer brought"
        } else {
            "as the policy's refresh_every says"
        };
        let queued = v1::OrderKey {
            key_id: Bytes::copy_from_slice(&name),
            name: key.row.name.clone(),
            epoch: key.package.epoch().0.saturating_add(1),
            stage: "queued".to_owned(),
            ..Default::default()
        };
        let status = v1::OrderStatus {
            request_id: Bytes::copy_from_slice(&id),
            kind: SCHEDULED.to_owned(),
            state: "running".to_owned(),
            lines: vec![format!(
                "refresh the shares of key {}, {reason}",
                key.row.name
            )],
            keys: vec![queued],
            total: 1,
            created_ms: now_ms,
            updated_ms: now_ms,
            ..Default::default()
        };
        self.note_order(id, None, status);
        if let Err(error) = self.store_order(&id).await {
            tracing::error!(%error, "a refresh was not stored");
            self.orders.table().remove(&id);
            return;
        }
        tracing::info!(key = %key.row.name, "a refresh is due");
        let stop = match self.orders.table().get(&id) {
            Some(entry) => entry.stop.clone(),
            None => return,
        };
        let engine = Arc::clone(self);
        self.tasks.spawn(async move {
            let right = Right::Standing { fresh_pairs };
            engine.run_key(&id, &name, &right, fresh_pairs, &stop).await;
            engine.finish_order(&id).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refresh_is_due_after_its_interval_and_overdue_a_while_later() {
        let day = 86_400_000;
        let at = |now_ms| Due::new(day, 1_000, now_ms);
        assert_eq!(at(0).due_ms, day + 1_000);
        assert!(!at(day + 1_000).overdue);
        assert!(!at(day + day / 10 + 1_000).overdue);
        assert!(at(day + day / 10 + 1_001).overdue);
        assert!(!Due::new(10_000, 0, 40_000).overdue && Due::new(10_000, 0, 40_001).overdue);
    }
}
