//! From a reservation to a released signature: who drives it, when it is tried again, and when it is given up.

use std::sync::Arc;

use policy::{evaluate::Approved, governance::Installed};
use prost::bytes::Bytes;
use proto::{
    convert::wallet_keys::PackageKeys,
    v1::{self, Failure, FailureCode},
};

use super::{Engine, expiry::Wake};
use crate::{
    clock,
    error::from_store,
    intake::Intake,
    signing::{Culprit, Job, NoSignature, Signed},
    state::{Event, State},
    store::{Decision, EvidenceRow, Move, Record, Release, RequestId, StoreError},
};

/// What one try came to.
enum Tried {
    /// It has ended, one way or the other.
    Ended,
    /// It is to be tried again later.
    Again(Failure),
}

impl Engine {
    /// Has a task work on a request's signature, unless one does. `token` is the verdict of the step that reserved it.
    pub(super) fn drive(self: &Arc<Self>, id: RequestId, token: Option<Box<Approved>>) {
        {
            let mut live = self.live();
            let Some(live) = live.get_mut(&id) else {
                return;
            };
            if live.driven || self.stopping.is_cancelled() {
                return;
            }
            live.driven = true;
        }
        let engine = Arc::clone(self);
        self.tasks.spawn(async move {
            let tried = engine.try_once(id, token).await;
            engine.after_try(id, tried);
            engine.rested.notify_waiters();
        });
    }

    fn after_try(&self, id: RequestId, tried: Tried) {
        let mut table = self.live();
        let Some(live) = table.get_mut(&id) else {
            return;
        };
        live.driven = false;
        let Tried::Again(failure) = tried else { return };
        let config = &self.config.signing;
        let doubled = config
            .retry_first_ms
            .saturating_mul(1_u64.checked_shl(live.tries).unwrap_or(u64::MAX));
        let pause_ms = doubled.min(config.retry_max_ms);
        live.tries = live.tries.saturating_add(1).min(63);
        // Shown to whoever asks; the store keeps only how it ends.
        live.status
            .send_modify(|status| status.failure = Some(failure));
        drop(table);
        self.deadlines
            .add(clock::now_ms().saturating_add(pause_ms), Wake::Request(id));
    }

    async fn try_once(self: &Arc<Self>, id: RequestId, token: Option<Box<Approved>>) -> Tried {
        let Some(mut record) = self.peek(id) else {
            return Tried::Ended;
        };
        let (intake, approved) = match (self.rejudge(&record), token) {
            (Ok((intake, _)), Some(token)) => (intake, token),
            (Ok((intake, judge)), None) => match self.store.weigh(id, judge, clock::now_ms()).await
            {
                Ok(judgement) => match (judgement.decision, judgement.token) {
                    (Decision::Approve(..), Some(token)) => (intake, token),
                    (Decision::Approve(..), None) => return Tried::Again(no_verdict(Vec::new())),
                    (Decision::Wait(reasons, _), _) => {
                        return self.later(&record, no_verdict(reasons)).await;
                    }
                    (Decision::Deny(reasons), _) => {
                        return self.give_up(&record, no_verdict(reasons)).await;
                    }
                },
                Err(error) => return Tried::Again(from_store(error)),
            },
            (Err(failure), _) => return self.later(&record, failure).await,
        };
        if record.state == State::Reserved {
            if !self.signing.has_quorum(&intake.key) {
                let failure = Failure::new(FailureCode::Unavailable, "too few nodes are connected");
                return self
                    .later(
                        &record,
                        failure.hint("it goes on as soon as enough nodes are back"),
                    )
                    .await;
            }
            match self
                .store
                .advance(id, Move::plain(Event::Sign, clock::now_ms()))
                .await
            {
                Ok(moved) => record = self.put(moved),
                Err(StoreError::WrongState { .. }) => {
                    self.refresh(id).await;
                    return Tried::Ended;
                }
                Err(error) => return Tried::Again(from_store(error)),
            }
        }
        let job = Job {
            id,
            key: intake.key,
            signed_intent: record.status.signed_intent.clone(),
            approvals: record.approvals.clone(),
            receipts: record.receipts.values().cloned().collect(),
            approved,
        };
        let outcome = self.signing.sign(&job).await;
        self.accuse(id, outcome.culprits).await;
        self.raise_alarm(id, &outcome.alarms).await;
        self.report_unexplained(id, outcome.unexplained).await;
        match outcome.result {
            Ok(signed) => self.release(&record, &job, signed).await,
            Err(NoSignature::Again(failure)) => self.later(&record, failure).await,
            Err(NoSignature::Never(failure)) => self.give_up(&record, failure).await,
        }
    }

    /// Stores all signatures and what they make, in one step, then lets them be seen.
    async fn release(&self, record: &Record, job: &Job, signed: Signed) -> Tried {
        let mut timings_us = signed.timings_us;
        if let Some(live) = self.live().get(&job.id) {
            timings_us.extend(live.reserve_us.map(|us| ("reserve".to_owned(), us)));
            timings_us.extend(
                live.arrived
                    .map(|arrived| ("total".to_owned(), clock::micros_since(arrived))),
            );
        }
        let keys = PackageKeys(&job.key.package);
        let signed_tx = match job.approved.assemble(&keys, &signed.signatures) {
            Ok(signed_tx) => signed_tx,
            Err(error) => {
                let failure = Failure::new(FailureCode::Internal, error.to_string());
                let failure = failure.hint("nothing was released; please report it");
                return self.give_up(record, failure).await;
            }
        };
        let release = Release {
            signatures: signed.signatures.into_iter().map(Bytes::from).collect(),
            signed_tx: signed_tx.into(),
            signers: signed.signers,
            timings_us,
        };
        let step = Move {
            release: Some(release),
            ..Move::plain(Event::Release, clock::now_ms())
        };
        match self.store.advance(job.id, step).await {
            Ok(record) => {
                let record = self.put(record);
                tracing::info!(request = %record.id, signers = ?record.status.signers, "signature released");
                Tried::Ended
            }
            // Nothing has left. The same bytes are signed again with other nonces.
            Err(error) => self.not_moved(job.id, error).await,
        }
    }

    /// Waits for another try, or gives up if the request's time is over.
    async fn later(&self, record: &Record, failure: Failure) -> Tried {
        if clock::now_ms() < record.expires_ms {
            return Tried::Again(failure);
        }
        if record.state == State::Reserved {
            return match self
                .store
                .advance(record.id, Move::plain(Event::Expire, clock::now_ms()))
                .await
            {
                Ok(record) => {
                    let record = self.put(record);
                    self.withdraw(&record, "expired");
                    Tried::Ended
                }
                Err(error) => self.not_moved(record.id, error).await,
            };
        }
        let mut failure = failure;
        failure.set_code(FailureCode::TimedOut);
        failure.message = format!(
            "the request expired while it was being signed: {}",
            failure.message
        );
        failure.hint = "the amount stays debited; submit a new request".into();
        self.give_up(record, failure).await
    }

    async fn give_up(&self, record: &Record, failure: Failure) -> Tried {
        tracing::warn!(request = %record.id, code = ?failure.code(), reason = failure.message, "request failed");
        let alarm = failure.code() == FailureCode::SecurityAbort;
        match self
            .store
            .advance(record.id, Move::failed(failure, clock::now_ms()))
            .await
        {
            Ok(record) => {
                self.put(record);
                Tried::Ended
            }
            // Not retried by itself: after a restart it would be tried anew only if this could never be stored.
            Err(error) if alarm && !matches!(error, StoreError::WrongState { .. }) => {
                tracing::error!(%error, "a security abort was not stored");
                Tried::Ended
            }
            Err(error) => self.not_moved(record.id, error).await,
        }
    }

    /// A step that did not happen. One that the store has got over already, since a write that was reported as failed had
    /// succeeded after all, is taken in; anything else is tried again.
    async fn not_moved(&self, id: RequestId, error: StoreError) -> Tried {
        if matches!(error, StoreError::WrongState { .. }) {
            self.refresh(id).await;
            return Tried::Ended;
        }
        Tried::Again(from_store(error))
    }

    /// Stores that signers gave parts that made no valid signature.
    async fn report_unexplained(&self, request: RequestId, sets: Vec<Vec<u16>>) {
        for nodes in sets {
            tracing::error!(request = %request, ?nodes, "alert: a signature does not verify");
            if let Err(error) = self
                .store
                .count_failure(nodes, Some(request), clock::now_ms())
                .await
            {
                tracing::error!(%error, "that a signature does not verify was not stored");
            }
        }
    }

    /// Stores that nodes refused with a security abort, signature or not.
    async fn raise_alarm(&self, request: RequestId, nodes: &[u16]) {
        if nodes.is_empty() {
            return;
        }
        tracing::error!(request = %request, ?nodes, "alert: security abort");
        let detail = serde_json::json!({ "what": "security abort", "nodes": nodes });
        if let Err(error) = self
            .store
            .note("alert", Some(request), detail, clock::now_ms())
            .await
        {
            tracing::error!(%error, "an alert was not stored");
        }
    }

    /// Stores what is known against nodes that broke the protocol.
    async fn accuse(&self, request: RequestId, culprits: Vec<Culprit>) {
        for culprit in culprits {
            tracing::error!(node = culprit.index, fault = culprit.fault, request = %request, "alert: a node broke the protocol");
            if !culprit.evidence.is_empty() {
                self.keep_evidence(None, Some(request), culprit.evidence)
                    .await;
                continue;
            }
            let row = EvidenceRow {
                node: culprit.index,
                at_ms: clock::now_ms(),
                request: Some(request),
                evidence: culprit.evidence,
                fault: culprit.fault,
            };
            if let Err(error) = self.store.add_evidence(row).await {
                tracing::error!(%error, "evidence was not stored");
            }
        }
    }
}

fn no_verdict(reasons: Vec<v1::Reason>) -> Failure {
    Failure::new(FailureCode::Denied, "the policy no longer allows it")
        .hint("see the reasons; the amount stays debited")
        .reasons(reasons.into_iter().map(|reason| reason.message))
}

/// What a dry run shows: the request as it would be after submission.
pub(super) fn explained(
    intake: &Intake,
    policy: &Installed,
    decision: Decision,
    now_ms: u64,
) -> v1::RequestStatus {
    let intent = intake.signed.intent();
    let (state, reasons, needs) = match decision {
        Decision::Deny(reasons) => (State::Denied, reasons, None),
        Decision::Wait(reasons, needs) => (State::Announced, reasons, Some(needs)),
        Decision::Approve(..) => (State::Approved, Vec::new(), None),
    };
    v1::RequestStatus {
        request_id: Bytes::copy_from_slice(intake.id.as_bytes()),
        state: state.wire().into(),
        wallet: intent.wallet.clone(),
        idempotency_key: intent.idempotency_key.clone(),
        signed_intent: intake.bytes.clone(),
        reasons,
        needs,
        created_ms: now_ms,
        updated_ms: now_ms,
        intent_lines: intake.lines.clone(),
        policy_hash: Bytes::copy_from_slice(policy.hash().as_bytes()),
        ..Default::default()
    }
}
