//! Nonce commitments ahead of time.

use proto::convert::array;
use proto::v1::{Commitments, FailureCode, Prepare};

use super::Engine;
use super::sharings::{require, sharing_of};
use crate::failure::Refusal;

/// The most commitments in one answer, so that it stays below the limit of its frame.
const MAX_COUNT: usize = 256;

impl Engine {
    pub(super) fn prepare(&self, call: &Prepare) -> Result<Commitments, Refusal> {
        let key_id = array("key id", &call.key_id).map_err(Refusal::malformed)?;
        let key = require(
            &self.state(),
            &self.0.who.node,
            &key_id,
            call.epoch,
            call.sharing.as_ref(),
        )?;
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
            epoch: call.epoch,
            sharing: Some(sharing_of(key.share.public())),
            boot_id: who.boot.to_vec().into(),
            envelopes: envelopes.into_iter().map(Into::into).collect(),
        })
    }
}
