//! The end of a key: it signs no more, on the order of a quorum. Its share stays, because only a certificate erases shares.

use policy::governance::{self, MAX_STATEMENTS, Matter};
use policy::statement::SignedStatement;
use proto::convert::reshare::check_key;
use proto::v1::{Failure, FailureCode, KeyState, Retire};
use tonic::codegen::Bytes;

use super::Engine;
use super::sharings::{self, Record, Stop};
use crate::failure::Refusal;

/// People's statements, and what the first of them orders about keys.
pub(super) fn read_order(
    statements: &[Bytes],
) -> Result<(Vec<SignedStatement>, Option<Matter>), Refusal> {
    if statements.is_empty() || statements.len() > MAX_STATEMENTS {
        return Err(Refusal::malformed("an order has 1 to 64 statements"));
    }
    let statements = statements
        .iter()
        .map(|bytes| SignedStatement::decode(bytes).map_err(Refusal::malformed));
    let statements: Vec<_> = statements.collect::<Result<_, _>>()?;
    let first = statements.first().map(SignedStatement::statement);
    let matter = first.and_then(Matter::of);
    Ok((statements, matter))
}

impl Engine {
    pub(super) async fn retire(&self, call: Retire) -> Result<KeyState, Refusal> {
        let (statements, matter) = read_order(&call.statements)?;
        let Some(Matter::Retire(order)) = matter else {
            return Err(Refusal::malformed("the order retires no key"));
        };
        let key = order.key.key;
        if !self.state().sharings.contains_key(&key) {
            return Err(Refusal::unknown("the key"));
        }
        let turn = self.turn_of(&key);
        let _turn = turn.lock().await;
        let pending = {
            let mut state = self.state();
            let now = self.now(&mut state)?;
            let held = state.sharings.get(&key);
            let held = held.ok_or_else(|| Refusal::unknown("the key"))?;
            if held.stopped.is_some() {
                None
            } else {
                let document = state.policies.active(&now).ok();
                let document = document.map(governance::Installed::document);
                let cluster = &self.0.who.cluster;
                governance::authorise(document, cluster, &statements, now.wall_ms).map_err(
                    |error| {
                        let hint = "have the order signed by the people whom the policy names";
                        Refusal::new(FailureCode::NotAuthorised, error.to_string(), hint)
                    },
                )?;
                check_key(&order.key, &held.name, held.lineage.active()).map_err(Failure::from)?;
                let record = Record::Retired {
                    key,
                    at_ms: now.wall_ms,
                    statements: statements.iter().map(SignedStatement::encode).collect(),
                };
                Some(self.commit(&state, vec![sharings::append(&record)]))
            }
        };
        if let Some(pending) = pending {
            pending.durable().await?;
            if let Some(held) = self.state().sharings.get_mut(&key) {
                held.stop(Stop::Retired);
            }
            tracing::warn!(key = %hex::encode(key), "a key is retired");
        }
        self.key_state(&key)
    }

    fn key_state(&self, key: &[u8; 32]) -> Result<KeyState, Refusal> {
        let state = self.state();
        let states = self.key_states(&state);
        let mut mine = states.into_iter().filter(|one| *one.key_id == *key);
        mine.next().ok_or_else(|| Refusal::unknown("the key"))
    }
}
