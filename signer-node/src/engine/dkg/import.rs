//! The dealer of an import: no node of the cluster, so its messages come and go through the coordinator.
//!
//! That is enough: the dealer broadcasts only, what it broadcasts is signed with the key that the announcement names, and the shares
//! in it are encrypted to the members.

use mpc_core::id::NodeId;
use mpc_core::identity::IdentityPublic;
use mpc_core::import::Announcement;
use mpc_core::session::Inbound;
use proto::convert::array;
use proto::v1::{FailureCode, Import, ImportMessage};

use super::Early;
use crate::engine::Engine;
use crate::failure::Refusal;

/// Stands for the dealer while its name is not known yet. No node has it: a name is a hash.
pub(super) const DEALER: NodeId = NodeId::from_bytes([0; 32]);

impl Engine {
    /// What the coordinator says is to be imported, if this node's own operator has said the same, name and key. Without that, a coordinator could pass
    /// a key that it knows off as a new one.
    pub(super) fn allowed_import(
        &self,
        name: &str,
        import: &Import,
    ) -> Result<Announcement, Refusal> {
        let public_key = hex::encode(&import.public_key);
        if public_key.is_empty() || format!("{name} {public_key}") != self.0.import {
            return Err(Refusal::new(
                FailureCode::NotAuthorised,
                format!(
                    "this node's operator has not allowed the import of the key {public_key} as {name}"
                ),
                "compare the public key with its owner, write `import = \"<name> <public key>\"` into node.toml of every node and restart them",
            ));
        }
        let dealer = array("dealer", &import.dealer).map_err(Refusal::malformed)?;
        Ok(Announcement {
            dealer: IdentityPublic::from_bytes(&dealer).map_err(Refusal::malformed)?,
            public_key: import.public_key.to_vec(),
            chain_code: array("chain code", &import.chain_code).map_err(Refusal::malformed)?,
        })
    }

    /// Hands a dealer's message to the session it is for, or keeps it until that starts.
    pub(in crate::engine) fn on_import(&self, call: &ImportMessage) -> Result<(), Refusal> {
        let request = array("request id", &call.request_id).map_err(Refusal::malformed)?;
        let envelope = call.envelope.to_vec();
        let mut state = self.state();
        let running = state.ceremonies.running.get(&request);
        match running.map(|running| (running.slot.dealer, running.slot.attempt)) {
            Some((Some(dealer), attempt)) if attempt == call.attempt => {
                let inbound = Inbound {
                    from: dealer,
                    bytes: envelope,
                };
                if let Some(running) = running
                    && running.inbox.try_send(inbound).is_err()
                {
                    tracing::debug!("a message of an import was dropped");
                }
            }
            Some(_) => tracing::debug!("a dealer's message for a session without one was dropped"),
            None => state.ceremonies.keep_early(Early {
                from: DEALER,
                request,
                attempt: call.attempt,
                envelope,
            }),
        }
        Ok(())
    }
}
