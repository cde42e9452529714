//! Nodes that operators have taken out of the choice: before maintenance, or before their shares go to others.

use mpc_core::id::PartyIndex;
use proto::v1::Failure;

use super::Engine;
use crate::{
    clock,
    error::{from_store, unknown},
};

impl Engine {
    /// Stops, or resumes, choosing a node for signatures. It stays a member of its keys and takes part in ceremonies that people
    /// order with it.
    ///
    /// # Errors
    /// `UNKNOWN` for a number that is not in the cluster file.
    pub(crate) async fn drain_node(
        &self,
        number: u32,
        drained: bool,
    ) -> Result<PartyIndex, Failure> {
        let index = u16::try_from(number)
            .ok()
            .and_then(|number| PartyIndex::new(number).ok())
            .filter(|index| self.links.roster().node_id(*index).is_some())
            .ok_or_else(unknown)?;
        self.store
            .set_drained(index.get(), drained, clock::now_ms())
            .await
            .map_err(from_store)?;
        self.signing.drain(index.get(), drained);
        tracing::warn!(node = index.get(), drained, "choice of a node changed");
        Ok(index)
    }

    /// Whether a node is out of the choice.
    pub(crate) fn is_drained(&self, number: u16) -> bool {
        self.signing.is_drained(number)
    }
}
