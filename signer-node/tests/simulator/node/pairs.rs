//! Setups with other nodes, for threshold ECDSA.

use std::collections::BTreeMap;

use mpc_core::dkg::PairStatus;
use mpc_core::id::NodeId;

/// What a node has with its peers.
#[derive(Default)]
pub(super) struct Pairs(BTreeMap<NodeId, PairStatus>);

impl Pairs {
    /// What goes into a session of this node.
    pub(super) fn statuses(&self, me: &NodeId) -> BTreeMap<NodeId, PairStatus> {
        let others = self.0.iter().filter(|(node, _)| *node != me);
        others
            .map(|(node, status)| (*node, status.clone()))
            .collect()
    }
}
