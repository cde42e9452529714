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
            certificate_days: self.0.certificate_days(),
        }
    }
}
