//! What the node says about itself.

use proto::convert::reshare::{sharing_of, sharing_to_wire};
use proto::v1::{FreezeState, KeyState, NodeStatus, PolicyState};

use super::Engine;

/// Name and version of this software.
pub const SOFTWARE: &str = concat!("quorate/", env!("CARGO_PKG_VERSION"));

impl Engine {
    /// The node's state; with a clock that is not believed, policy and freeze are left out and `clock_ms` is 0.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        let mut state = self.state();
        let now = self.now(&mut state).ok();
        let active = state.keys.iter().map(|(key_id, key)| {
            let public = key.share.public();
            KeyState {
                key_id: key_id.to_vec().into(),
                name: key.name.clone(),
                scheme: public.purpose().as_str().to_owned(),
                epoch: public.epoch().0,
                state: "active".to_owned(),
                public_key: public.public_key().into(),
                request_id: key.request.to_vec().into(),
                certificate_part: key.part.clone().into(),
                threshold: public.params().threshold().into(),
                sharing: Some(sharing_to_wire(sharing_of(public))),
                index: key.share.index().get().into(),
                ..KeyState::default()
            }
        });
        let keys = active.chain(state.ceremonies.key_states()).collect();
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
            ..NodeStatus::default()
        }
    }
}
