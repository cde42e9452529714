//! Announcements: the node remembers when it first saw an intent, durably, and signs that it did.

use policy::intent::SignedIntent;
use proto::convert::array;
use proto::link::Receipt;
use proto::v1::{Announce, FailureCode, Receipt as ReceiptFrame, Withdraw};
use sha2::{Digest as _, Sha256};

use super::intents::{Record, Seen};
use super::{Engine, State};
use crate::clock::Now;
use crate::codec::Writer;
use crate::failure::Refusal;
use crate::store::{Change, Table};

/// What an initiator calls a request, as 32 bytes: the same for every intent under one idempotency key.
fn request_name(signed: &SignedIntent) -> [u8; 32] {
    let intent = signed.intent();
    let named = Writer::new()
        .bytes(b"quorate/request-name/v1")
        .bytes(intent.initiator.as_bytes())
        .bytes(intent.idempotency_key.as_bytes())
        .finish();
    Sha256::digest(named).into()
}

/// The request's name, unless another intent has it.
fn free_name(state: &State, signed: &SignedIntent) -> Result<[u8; 32], Refusal> {
    let name = request_name(signed);
    if state.intents.conflict(&name, &signed.digest()).is_some() {
        let message = "this idempotency key was used for another intent";
        let hint = "use a fresh idempotency key for a new request";
        return Err(Refusal::new(FailureCode::Conflict, message, hint));
    }
    Ok(name)
}

/// The row that goes with the first share for an intent that nobody announced here: its name is taken and its time runs from
/// `first_seen_ms`, as if it had been announced. `None` for an announced one.
///
/// # Errors
/// `Conflict` if another intent has the name: who relays requests cannot have both signed by announcing neither.
pub(super) fn unannounced(
    state: &mut State,
    now: Now,
    signed: &SignedIntent,
    first_seen_ms: u64,
) -> Result<Option<Record>, Refusal> {
    let digest = signed.digest();
    state.intents.expire(now.wall_ms);
    if state.intents.get(&digest).is_some() {
        return Ok(None);
    }
    Ok(Some(Record::Announced(Seen {
        intent: digest,
        first_seen_ms,
        witnessed_ms: now.witnessed(first_seen_ms),
        expires_ms: signed.intent().expires_ms,
        name: free_name(state, signed)?,
    })))
}

impl Engine {
    pub(super) async fn announce(&self, call: &Announce) -> Result<ReceiptFrame, Refusal> {
        let signed = SignedIntent::decode(&call.signed_intent).map_err(Refusal::malformed)?;
        let (seen, pending) = {
            let mut state = self.state();
            self.admit(&mut state, &signed)?
        };
        // Also for an intent that was there before: its row may still be on its way to the disk.
        if let Err(error) = pending.durable().await {
            // Not on disk: the next announcement must write it.
            self.state().intents.forget(&seen.intent);
            return Err(error.into());
        }
        Ok(ReceiptFrame {
            signed_receipt: self.receipt(&seen).encode().into(),
        })
    }

    fn admit(
        &self,
        state: &mut State,
        signed: &SignedIntent,
    ) -> Result<(Seen, crate::store::Pending), Refusal> {
        let (intent, digest) = (signed.intent(), signed.digest());
        let now = self.now(state)?;
        if intent.cluster_id != self.0.who.cluster.cluster_id.as_str() {
            return Err(Refusal::denied("the intent is for another cluster"));
        }
        if intent.expires_ms <= now.wall_ms {
            return Err(Refusal::denied("the intent has expired"));
        }
        let active = state.policies.active(&now)?;
        let keys = active.document().initiator_keys(&intent.initiator);
        if !keys.iter().any(|key| signed.verify(key).is_ok()) {
            let message = "the intent is not signed by an initiator of the active policy";
            return Err(Refusal::new(
                FailureCode::NotAuthorised,
                message,
                "sign it with a key that the policy names",
            ));
        }
        let named = active.document().wallets().values().any(|wallet| {
            wallet.id.as_str() == intent.wallet
                && wallet.key_id == intent.key_id
                && wallet.chain.to_string() == intent.chain
        });
        if !named {
            return Err(Refusal::unknown(
                "a wallet of that name with that key on that chain",
            ));
        }
        state.intents.expire(now.wall_ms);
        if let Some(seen) = state.intents.get(&digest) {
            return Ok((seen.clone(), self.commit(state, Vec::new())));
        }
        let name = free_name(state, signed)?;
        if u64::try_from(state.intents.len()).unwrap_or(u64::MAX) >= self.0.limits.live_intents {
            return Err(Refusal::unavailable(
                "too many live intents",
                "wait until some expire, or raise limits.live_intents",
            ));
        }
        self.check_space()?;
        let seen = Seen {
            intent: digest,
            first_seen_ms: now.wall_ms,
            witnessed_ms: now.witnessed_ms,
            expires_ms: intent.expires_ms,
            name,
        };
        let record = Record::Announced(seen.clone());
        let pending = self.commit(state, vec![append(&record)]);
        state.intents.record(record);
        Ok((seen, pending))
    }

    pub(super) async fn withdraw(&self, call: &Withdraw) -> Result<(), Refusal> {
        let digest = array("intent digest", &call.intent_digest).map_err(Refusal::malformed)?;
        let pending = {
            let mut state = self.state();
            if state.ledger.reserved_at(&digest).is_some() {
                let message = "a share for this request may have left; it cannot be withdrawn";
                return Err(Refusal::new(
                    FailureCode::Conflict,
                    message,
                    "wait for the request to expire",
                ));
            }
            if state.intents.get(&digest).is_none() || state.intents.withdrawn(&digest) {
                return Ok(());
            }
            let record = Record::Withdrawn(digest);
            let pending = self.commit(&state, vec![append(&record)]);
            state.intents.record(record);
            pending
        };
        pending.durable().await?;
        Ok(())
    }

    fn receipt(&self, seen: &Seen) -> Receipt {
        let who = &self.0.who;
        let node_id = *who.node.as_bytes();
        let digest = Receipt::digest(
            who.cluster.cluster_id.as_str(),
            &seen.intent,
            &node_id,
            seen.first_seen_ms,
        );
        Receipt {
            intent: seen.intent,
            node_id,
            first_seen_ms: seen.first_seen_ms,
            signature: who.identity.sign(&digest),
        }
    }

    /// Refuses early while the disk still has room for what is already under way.
    pub(super) fn check_space(&self) -> Result<(), Refusal> {
        if self.0.store.free_bytes() >= self.0.limits.free_bytes {
            return Ok(());
        }
        Err(Refusal::unavailable(
            "the store's file system is nearly full",
            "free space on this node",
        ))
    }
}

pub(super) fn append(record: &Record) -> Change {
    Change::Append {
        table: Table::Intents,
        key: record.key(),
        body: record.encode(),
    }
}
