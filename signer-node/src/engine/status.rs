//! What the node says about itself.

use proto::v1::{FreezeState, NodeStatus, PolicyState};

use super::Engine;

/// Name and version of this software.
pub const SOFTWARE: &str = concat!("quorate/", env!("CARGO_PKG_VERSION"));

impl Engine {
    /// The node's state; with a clock that is not believed, policy and freeze are left out and `clock_ms` is 0.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        let mut state = self.state();
        let now = self.now(&mut state).ok();
        let keys = self.key_states(&state);
        NodeStatus {
            index: self.0.who.index.get().into(),
            clock_ms: now.map_or(0, |now| now.wall_ms),
            policy: Some(now.map_or_else(PolicyState::default, |now| state.policies.state(&now))),
            freeze: Some(now.map_or_else(FreezeState::default, |now| state.freeze.state(now))),
            keys,
            software: SOFTWARE.to_owned(),
            ledger_entries: state.ledger.rows(),
            pairs: self.pairs().states(&self.0.who),
            pools: self.pool_states(),
            catching_up: Self::open_challenge(&state).into(),
            free_bytes: self.0.store.free_bytes(),
            free_bytes_least: self.0.limits.free_bytes,
            certificate_days: self.certificate_days(),
        }
    }

    /// Whole days until the certificate of the outer channel ends; negative once it has ended, 0 if it cannot be read.
    fn certificate_days(&self) -> i64 {
        let (who, path) = (&self.0.who, &self.0.certificate);
        let leaf = proto::channel::config::read_leaf(path, &who.cluster.cluster_id).ok();
        let reading = (self.0.time)().ok();
        let (Some(leaf), Some(reading)) = (leaf, reading) else {
            return 0;
        };
        let seconds = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let left = seconds(leaf.not_after).saturating_sub(seconds(reading.wall_ms / 1_000));
        left.div_euclid(86_400)
    }
}
