//! The two online rounds of an ECDSA signature: a pool entry is spent on an approved request, once.

use std::collections::BTreeMap;
use std::sync::Arc;

use mpc_core::Error;
use mpc_core::id::{NodeId, PairId, SessionId};
use policy::evaluate::Approved;
use proto::convert::array;
use proto::v1::{
    EcdsaExplain, EcdsaExplanation, EcdsaFinish, EcdsaOpen, EcdsaRound1, EcdsaRound2, FailureCode,
};
use rand_core::UnwrapErr;
use tonic::codegen::Bytes;

use super::Engine;
use super::keys::Key;
use super::pools::Waiting;
use super::sign::Evidence;
use crate::failure::Refusal;
use crate::release::{Spend, ecdsa_request, opening_digest, spend};
use crate::store::Pending;

/// An entry that is burnt and debited, on its way to the disk.
struct Burnt {
    spend: Spend,
    pending: Pending,
    approved: Box<Approved>,
    key: Arc<Key>,
    pairs: BTreeMap<NodeId, PairId>,
}

impl Engine {
    pub(super) async fn ecdsa_open(&self, call: &EcdsaOpen) -> Result<EcdsaRound1, Refusal> {
        let name = SessionId::from_bytes(array("entry", &call.entry).map_err(Refusal::malformed)?);
        let burnt = self.burn(call, name)?;
        let receipt = burnt.pending.durable().await;
        self.announce_pools();
        let receipt = receipt?;
        self.still_allowed(&burnt.approved, &burnt.key)?;
        let intent = *burnt.approved.digest();
        let since_ms = self.boot_ms()?;
        let guard = self.pairs();
        if !guard.are_live(&burnt.pairs) {
            return Err(Refusal::stale("a pair has changed; the entry is spent"));
        }
        let (opened, envelope) = burnt.spend.release(&receipt)?;
        let waiting = Waiting {
            opened,
            approved: burnt.approved,
            key: burnt.key,
            pairs: burnt.pairs,
            since_ms,
        };
        self.pools().wait(name, waiting);
        drop(guard);
        tracing::info!(
            request = %hex::encode(intent), entry = %name, task = call.task, attempt = call.attempt, "entry opened"
        );
        Ok(EcdsaRound1 {
            entry: call.entry.clone(),
            envelope: envelope.into(),
        })
    }

    fn burn(&self, call: &EcdsaOpen, name: SessionId) -> Result<Burnt, Refusal> {
        let signers = self.signer_set(&call.signers)?;
        let evidence = Evidence {
            signed_intent: &call.signed_intent,
            approvals: &call.approvals,
            receipts: &call.receipts,
            epoch: call.epoch,
            sharing: call.sharing.as_ref(),
        };
        let mut state = self.state();
        if state.spent.contains(name.as_bytes()) {
            return Err(Refusal::new(
                FailureCode::Replayed,
                "this entry was spent before",
                "take another entry",
            ));
        }
        let judged = self.judge_call(&mut state, &evidence)?;
        let key = Arc::clone(&judged.key);
        let share = &key.share;
        let request = ecdsa_request(&judged.approved, call.task, share, &signers)?;
        self.check_space()?;
        let pairs = self.pairs();
        let mut pools = self.pools();
        let entry = pools
            .look(&name)
            .ok_or_else(|| Refusal::stale("this node has no such entry"))?;
        if *entry.signers() != signers {
            return Err(Refusal::malformed("the entry is for other signers"));
        }
        let names = entry.pairs().collect();
        if !pairs.are_live(&names) {
            return Err(Refusal::stale(
                "a pair has changed since the entry was made",
            ));
        }
        // From here on the entry is spent, whatever happens.
        let entry = pools
            .take(&name)
            .ok_or_else(|| Refusal::stale("this node has no such entry"))?;
        state.spent.insert(*name.as_bytes());
        drop(pools);
        drop(pairs);
        let who = &self.0.who;
        let spend = spend(&who.identity, (&judged.approved, call.task), entry, share)?;
        let digest = opening_digest(&name, &request);
        let burn = vec![spend.burn()];
        let (approved, pending) = self.debit(&mut state, judged, digest, burn);
        Ok(Burnt {
            spend,
            pending,
            approved,
            key,
            pairs: names,
        })
    }

    pub(super) async fn ecdsa_finish(&self, call: &EcdsaFinish) -> Result<EcdsaRound2, Refusal> {
        let name = SessionId::from_bytes(array("entry", &call.entry).map_err(Refusal::malformed)?);
        let openings: Vec<Vec<u8>> = call.round1.iter().map(|bytes| bytes.to_vec()).collect();
        let waiting = self.take_waiting(&name)?;
        let who = &self.0.who;
        let response = waiting
            .opened
            .respond_accountably(&who.roster, &who.identity, &openings);
        let (envelope, responded) = match response {
            Ok(answered) => answered,
            Err(error) => {
                return Err(self
                    .judge_failure(&error, *name.as_bytes(), &waiting.pairs, Vec::new())
                    .await);
            }
        };
        let guard = self.pairs();
        if !guard.are_live(&waiting.pairs) {
            return Err(Refusal::stale("a pair has changed; the entry is spent"));
        }
        tracing::info!(request = %hex::encode(waiting.approved.digest()), entry = %name, "entry answered");
        let answer = EcdsaRound2 {
            entry: call.entry.clone(),
            envelope: envelope.into(),
        };
        self.pools()
            .answered(name, responded, waiting.pairs, waiting.since_ms);
        drop(guard);
        Ok(answer)
    }

    /// Explains this node's answer of a signature that does not verify, once. What it reveals are group elements of a session that is
    /// spent; it needs the answers of all signers, which show that the signature fails over this node's own.
    pub(super) fn ecdsa_explain(&self, call: &EcdsaExplain) -> Result<EcdsaExplanation, Refusal> {
        let name = SessionId::from_bytes(array("entry", &call.entry).map_err(Refusal::malformed)?);
        let plain =
            |list: &[Bytes]| -> Vec<Vec<u8>> { list.iter().map(|bytes| bytes.to_vec()).collect() };
        let (openings, responses) = (plain(&call.round1), plain(&call.round2));
        let now_ms = self.boot_ms()?;
        let (responded, pairs) = {
            let mut pools = self.pools();
            let held = pools.take_answered(&name).ok_or_else(|| {
                Refusal::stale("this node has nothing to explain about that entry")
            })?;
            if !pools.may_explain(now_ms) {
                let hint = "find out who spoils signatures; it goes on within the hour";
                return Err(Refusal::unavailable("too many explanations", hint));
            }
            held
        };
        let who = &self.0.who;
        let rng = &mut UnwrapErr(getrandom::SysRng);
        let explained = responded.explain(&who.roster, &who.identity, &openings, &responses, rng);
        let envelope = explained.map_err(|error| self.no_explanation(&error))?;
        let guard = self.pairs();
        if !guard.are_live(&pairs) {
            return Err(Refusal::stale("a pair has changed; the entry is spent"));
        }
        tracing::warn!(entry = %name, "alert: a signature did not verify; this node has explained its part");
        let answer = EcdsaExplanation {
            entry: call.entry.clone(),
            envelope: envelope.into(),
        };
        drop(guard);
        Ok(answer)
    }

    fn no_explanation(&self, error: &Error) -> Refusal {
        let culprits = self.indices(&error.culprits());
        let hint = "show both rounds of all signers, as they were given";
        Refusal::new(FailureCode::Denied, error.to_string(), hint).with_culprits(culprits)
    }

    /// Takes what waits for its second round, if it may still be answered. It is gone afterwards either way.
    fn take_waiting(&self, name: &SessionId) -> Result<Waiting, Refusal> {
        let waiting = self
            .pools()
            .take_opened(name)
            .ok_or_else(|| Refusal::stale("no signature waits for its second round there"))?;
        self.still_allowed(&waiting.approved, &waiting.key)?;
        if self.state().intents.withdrawn(waiting.approved.digest()) {
            return Err(Refusal::denied("the request was withdrawn"));
        }
        Ok(waiting)
    }
}
