//! Votes and cancellations: what people and initiators sign about a request.

use std::sync::Arc;

use policy::{
    approval::Approval,
    governance::Installed,
    intent::SignedIntent,
    statement::{MAX_SIGNED, SignedStatement, Statement},
};
use prost::bytes::Bytes;
use proto::v1::{self, Failure, FailureCode};

use super::Engine;
use crate::{
    clock,
    error::from_store,
    state::{Event, State},
    store::{Move, NewApproval, Record, RequestId, StoreError},
};

/// How far the clock of a signer may be ahead, in milliseconds; the same as the policy allows initiators.
const SKEW_MS: u64 = policy::evaluate::MAX_SKEW_MS;

fn refuse(code: FailureCode, message: impl Into<String>, hint: &str) -> Failure {
    Failure::new(code, message).hint(hint)
}

/// Decodes a signed statement of bounded size.
///
/// # Errors
/// `MALFORMED`.
pub(super) fn decode(bytes: &[u8]) -> Result<SignedStatement, Failure> {
    if bytes.len() > MAX_SIGNED {
        let message = format!("a signed statement has at most {MAX_SIGNED} bytes");
        return Err(refuse(
            FailureCode::Malformed,
            message,
            "do not send it again",
        ));
    }
    SignedStatement::decode(bytes).map_err(|error| {
        refuse(
            FailureCode::Malformed,
            error.to_string(),
            "do not send it again",
        )
    })
}

/// Whether the statement is by whom it says, by a credential that the policy has.
fn verify(policy: &Installed, statement: &SignedStatement) -> Result<(), Failure> {
    let stranger = || {
        let message =
            "the policy has no such person and credential, or the signature does not verify";
        refuse(
            FailureCode::NotAuthorised,
            message,
            "sign with an enrolled credential",
        )
    };
    let (_, key) = policy
        .document()
        .credential(statement.person(), statement.credential())
        .ok_or_else(stranger)?;
    statement.verify(&key).map_err(|_| stranger())
}

impl Engine {
    /// Adds a vote to a request.
    ///
    /// # Errors
    /// `UNKNOWN` for a request that is not here; `MALFORMED` for bytes that are no vote on it; `NOT_AUTHORISED` for a
    /// credential that does not count or a signature that does not verify; `STALE` for another policy or rendering;
    /// `CONFLICT` if the request no longer waits.
    pub(crate) async fn approve(
        self: &Arc<Self>,
        id: RequestId,
        bytes: Bytes,
    ) -> Result<v1::RequestStatus, Failure> {
        let statement = decode(&bytes)?;
        let record = self.record(id).await?;
        let Statement::Approval(vote) = statement.statement() else {
            return Err(refuse(
                FailureCode::Malformed,
                "the statement is not a vote",
                "sign an approval",
            ));
        };
        let now_ms = clock::now_ms();
        let policy = self.policies.in_force(now_ms)?;
        self.check_vote(&policy, &record, &statement, vote, now_ms)?;
        if record.approvals.contains(&bytes) {
            return Ok(record.status.clone());
        }
        if record.state != State::Announced {
            return Err(from_store(StoreError::WrongState {
                found: record.state,
            }));
        }
        let approval = NewApproval {
            info: v1::ApprovalInfo {
                person: statement.person().to_owned(),
                decision: vote.decision.as_str().to_owned(),
                credential: statement.credential().to_owned(),
                issued_ms: vote.common.issued_ms,
            },
            statement: bytes,
        };
        let (intake, judge) = self.rejudge(&record)?;
        let reach = self.reach(&intake.key);
        let decided = self
            .store
            .decide(id, Some(approval), judge, reach, now_ms)
            .await
            .map_err(from_store)?;
        tracing::info!(request = %id, person = statement.person(), decision = vote.decision.as_str(), "vote taken in");
        Ok(self.settle(decided, None).status.clone())
    }

    fn check_vote(
        &self,
        policy: &Installed,
        record: &Record,
        statement: &SignedStatement,
        vote: &Approval,
        now_ms: u64,
    ) -> Result<(), Failure> {
        let intent = SignedIntent::decode(&record.status.signed_intent)
            .map_err(|_| from_store(StoreError::Damaged("a stored intent does not decode")))?;
        vote.check(
            intent.intent(),
            policy.hash().as_bytes(),
            &record.status.intent_lines,
        )
        .map_err(|mismatch| {
            let message = format!(
                "the vote does not fit this request: {} differs",
                mismatch.field
            );
            refuse(
                FailureCode::Stale,
                message,
                "fetch the request again, look at it and sign anew",
            )
        })?;
        verify(policy, statement)?;
        vote.common
            .check_time(now_ms, SKEW_MS)
            .map_err(|error| refuse(FailureCode::Stale, error.to_string(), "sign anew"))
    }

    /// Takes a request back for its initiator.
    ///
    /// # Errors
    /// `UNKNOWN`; `MALFORMED` for bytes that are no cancellation of it; `NOT_AUTHORISED` for anybody but its initiator;
    /// `CONFLICT` once a share may have left.
    pub(crate) async fn cancel(
        &self,
        id: RequestId,
        bytes: Bytes,
    ) -> Result<v1::RequestStatus, Failure> {
        let statement = decode(&bytes)?;
        let record = self.record(id).await?;
        let Statement::Cancel(cancel) = statement.statement() else {
            return Err(refuse(
                FailureCode::Malformed,
                "the statement is not a cancellation",
                "sign one",
            ));
        };
        if cancel.request != *id.as_bytes()
            || cancel.common.cluster != self.cluster.cluster_id.as_str()
        {
            return Err(refuse(
                FailureCode::Malformed,
                "the cancellation is for another request",
                "check the id",
            ));
        }
        if statement.person() != record.initiator {
            let message = "only the initiator may cancel";
            return Err(refuse(
                FailureCode::NotAuthorised,
                message,
                "approvers can vote no instead",
            ));
        }
        let now_ms = clock::now_ms();
        verify(&*self.policies.in_force(now_ms)?, &statement)?;
        cancel
            .common
            .check_time(now_ms, SKEW_MS)
            .map_err(|error| refuse(FailureCode::Stale, error.to_string(), "sign anew"))?;
        if record.state == State::Cancelled {
            return Ok(record.status.clone());
        }
        let moved = self
            .store
            .advance(id, Move::plain(Event::Cancel, now_ms))
            .await
            .map_err(from_store)?;
        let record = self.put(moved);
        tracing::info!(request = %id, "request cancelled");
        self.withdraw(&record, "cancelled");
        Ok(record.status.clone())
    }
}
