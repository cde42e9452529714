//! What a submitted intent must be before anything is stored for it.

use std::sync::Arc;

use policy::{
    approval::summary_lines,
    conflict::ConflictKey,
    evaluate::{Facts, Fraction, Verdict, evaluate},
    governance::Installed,
    intent::{MAX_SIGNED, SignedIntent},
    statement::SignedStatement,
    transaction,
};
use prost::bytes::Bytes;
use proto::{
    convert::wallet_keys::PackageKeys,
    v1::{self, Failure, FailureCode},
};

use crate::{
    keys::{Key, Keys},
    store::{Case, Decision, Judge, Judgement, NewRequest, RequestId},
};

pub(crate) mod limit;

/// An intent whose bytes, size, cluster, initiator and wallet hold. What the policy says of it is another matter.
#[derive(Clone, Debug)]
pub(crate) struct Intake {
    /// Digest of the intent.
    pub(crate) id: RequestId,
    /// The bytes as submitted.
    pub(crate) bytes: Bytes,
    /// The decoded intent.
    pub(crate) signed: Arc<SignedIntent>,
    /// The key of its wallet.
    pub(crate) key: Arc<Key>,
    /// What approvers see.
    pub(crate) lines: Vec<String>,
}

fn refuse(code: FailureCode, message: impl Into<String>, hint: &str) -> Failure {
    Failure::new(code, message).hint(hint)
}

/// Reads a submitted intent.
///
/// # Errors
/// `MALFORMED` for bytes that are no signed intent; `NOT_AUTHORISED` for another cluster, an unknown initiator or a
/// signature that does not verify; `UNKNOWN` for a wallet that the policy does not have or whose key is not ready.
pub(crate) fn read(
    cluster_id: &str,
    policy: &Installed,
    keys: &Keys,
    bytes: Bytes,
) -> Result<Intake, Failure> {
    if bytes.len() > MAX_SIGNED {
        let message = format!(
            "a signed intent has at most {MAX_SIGNED} bytes, this has {}",
            bytes.len()
        );
        return Err(refuse(
            FailureCode::Malformed,
            message,
            "do not send it again",
        ));
    }
    let signed = SignedIntent::decode(&bytes).map_err(|error| {
        refuse(
            FailureCode::Malformed,
            error.to_string(),
            "do not send it again",
        )
    })?;
    let intent = signed.intent();
    if intent.cluster_id != cluster_id {
        return Err(refuse(
            FailureCode::NotAuthorised,
            "the intent is for another cluster",
            "check cluster_id",
        ));
    }
    let document = policy.document();
    let known = document.initiator_keys(&intent.initiator);
    if !known.iter().any(|key| signed.verify(key).is_ok()) {
        let message = "the intent is not signed by a key that the policy has for its initiator";
        return Err(refuse(
            FailureCode::NotAuthorised,
            message,
            "check the initiator's name and key",
        ));
    }
    let wallet = document
        .wallets()
        .values()
        .find(|wallet| wallet.id.as_str() == intent.wallet);
    let (wallet, key) = wallet
        .and_then(|wallet| Some((wallet, keys.get(&wallet.key_id)?)))
        .ok_or_else(|| {
            let message = "the policy has no such wallet, or its key is not ready";
            refuse(FailureCode::Unknown, message, "list the wallets")
        })?;
    if key.ended {
        return Err(refuse(
            FailureCode::Denied,
            "the key of this wallet has been taken out of use",
            "use another wallet",
        ));
    }
    // What cannot be decoded is refused by the verdict, with the decoder's own words.
    let own = PackageKeys(&key.package);
    let lines = transaction::decode(wallet.chain, &intent.raw_tx, &own, &wallet.path)
        .map(|decoded| summary_lines(intent, &decoded.rendering))
        .unwrap_or_default();
    Ok(Intake {
        id: RequestId::from_bytes(signed.digest()),
        bytes,
        signed: Arc::new(signed),
        key,
        lines,
    })
}

/// How far a request has come when it is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It is new: what time alone could change is still a refusal, so that the caller learns it at once.
    New,
    /// It waits, or is being signed: what time alone could change means waiting on.
    Waiting,
}

/// A judge that asks the policy, with the whole limit.
pub(crate) fn judge(policy: Arc<Installed>, frozen: bool, intake: &Intake, stage: Stage) -> Judge {
    let (signed, key) = (Arc::clone(&intake.signed), Arc::clone(&intake.key));
    Arc::new(move |case: &Case<'_>| {
        let approvals: Vec<_> = case
            .approvals
            .iter()
            .filter_map(|bytes| SignedStatement::decode(bytes).ok())
            .collect();
        let facts = Facts {
            now_ms: case.now_ms,
            first_seen_ms: Some(case.first_seen_ms),
            frozen,
            ledger: case.ledger,
            share_of_limit: Fraction::WHOLE,
        };
        match evaluate(
            &policy,
            &PackageKeys(&key.package),
            &signed,
            &approvals,
            &facts,
        ) {
            Verdict::Approved(approved) => {
                let conflicts = approved
                    .conflicts()
                    .iter()
                    .map(ConflictKey::digest)
                    .collect();
                let decision = Decision::Approve(approved.debits().to_vec(), conflicts);
                Judgement {
                    decision,
                    token: Some(approved),
                }
            }
            Verdict::Denied(denied) => {
                let reasons = denied.reasons.iter().map(v1::Reason::from).collect();
                let decision = if stage == Stage::Waiting && denied.may_pass_later() {
                    Decision::Wait(reasons, v1::Needs::default())
                } else {
                    Decision::Deny(reasons)
                };
                Judgement {
                    decision,
                    token: None,
                }
            }
            Verdict::Needs(needs) => {
                let reasons = needs.reasons.iter().map(v1::Reason::from).collect();
                Judgement {
                    decision: Decision::Wait(reasons, v1::Needs::from(&needs)),
                    token: None,
                }
            }
        }
    })
}

impl Intake {
    /// The row that the store is to keep.
    pub(crate) fn row(&self, policy: &Installed, live_bound: usize) -> NewRequest {
        let intent = self.signed.intent();
        NewRequest {
            id: self.id,
            initiator: intent.initiator.clone(),
            idempotency_key: intent.idempotency_key.clone(),
            wallet: intent.wallet.clone(),
            signed_intent: self.bytes.clone(),
            transaction: intent.raw_digest(),
            expires_ms: intent.expires_ms,
            lines: self.lines.clone(),
            policy_hash: Bytes::copy_from_slice(policy.hash().as_bytes()),
            live_bound,
        }
    }
}
