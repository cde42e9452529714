//! Nonce commitments ahead of time.

use proto::convert::array;
use proto::convert::reshare::{sharing_of, sharing_to_wire};
use proto::v1::{Commitments, FailureCode, Prepare};

use super::Engine;
use crate::failure::Refusal;

/// The most commitments in one answer, so that it stays below the limit of its frame.
const MAX_COUNT: usize = 256;

impl Engine {
    pub(super) fn prepare(&self, call: &Prepare) -> Result<Commitments, Refusal> {
        let key_id = array("key id", &call.key_id).map_err(Refusal::malformed)?;
        let key = self
            .state()
            .keys
            .get(&key_id)
            .cloned()
            .ok_or_else(|| Refusal::unknown("the key"))?;
        let epoch = key.share.public().epoch().0;
        if call.epoch != epoch {
            return Err(Refusal::stale(format!("the key is at epoch {epoch}")));
        }
        let count = usize::try_from(call.count).unwrap_or(usize::MAX);
        let limit = usize::try_from(self.0.limits.nonces_per_key).unwrap_or(usize::MAX);
        if count == 0 || count > MAX_COUNT.min(limit) {
            let message = format!("{count} commitments were asked for");
            return Err(Refusal::new(
                FailureCode::Malformed,
                message,
                "ask for 1 to 256 at a time, within limits.nonces_per_key",
            ));
        }
        let who = &self.0.who;
        let envelopes = key.commitments(&who.identity, &who.boot, count, limit)?;
        Ok(Commitments {
            key_id: call.key_id.clone(),
            epoch,
            boot_id: who.boot.to_vec().into(),
            sharing: Some(sharing_to_wire(sharing_of(key.share.public()))),
            envelopes: envelopes.into_iter().map(Into::into).collect(),
        })
    }
}
