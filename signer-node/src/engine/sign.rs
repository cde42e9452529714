//! One signature share: everything is judged again here, written down, and only then released.

use std::collections::BTreeMap;
use std::sync::Arc;

use mpc_core::frost::{Nonces, Package, SigningRequest, Tweak, wire};
use mpc_core::hd::DerivationPath;
use mpc_core::id::{Attempt, NodeId, Purpose};
use mpc_core::keys::PublicKeyPackage;
use mpc_core::{Error, Rejection};
use policy::chain::{Chain, Family};
use policy::conflict::ConflictKey;
use policy::evaluate::{Approved, Code, Facts, Fraction, Reason, Verdict, evaluate};
use policy::intent::SignedIntent;
use policy::statement::SignedStatement;
use policy::transaction;
use proto::convert::wallet_keys::PackageKeys;
use proto::link::Receipt as FirstSeen;
use proto::v1::{self, FailureCode, Share, Sign};
use tonic::codegen::Bytes;

use super::announce;
use super::intents::Record;
use super::keys::Key;
use super::ledger::Entry;
use super::sharings::{Held, require};
use super::{Engine, State};
use crate::clock::Now;
use crate::failure::Refusal;
use crate::release::{package_digest, release_share, task_of};
use crate::store::{Change, Pending, Table};

/// The most statements or receipts of one call.
const MAX_EVIDENCE: usize = 256;

/// A share that is decided, debited and on its way to the disk.
struct Ready {
    approved: Box<Approved>,
    nonces: Nonces,
    key: Arc<Key>,
    package: Package,
    attempt: Attempt,
    task: u32,
    pending: Pending,
}

/// What a coordinator shows for a signature.
pub(super) struct Evidence<'a> {
    pub(super) signed_intent: &'a [u8],
    pub(super) approvals: &'a [Bytes],
    pub(super) receipts: &'a [Bytes],
    pub(super) epoch: u32,
    pub(super) sharing: Option<&'a v1::Sharing>,
}

/// A request that this node's policy approves, at this moment.
pub(super) struct Judged {
    pub(super) approved: Box<Approved>,
    pub(super) key: Arc<Key>,
    now: Now,
    unannounced: Option<Record>,
}

impl Engine {
    pub(super) async fn sign(&self, call: &Sign) -> Result<Share, Refusal> {
        let ready = self.decide(call)?;
        let receipt = ready.pending.durable().await?;
        self.still_allowed(&ready.approved, &ready.key)?;
        let who = &self.0.who;
        let (key, package) = (&ready.key, &ready.package);
        let envelope = release_share(
            &who.identity,
            (&ready.approved, ready.task),
            ready.nonces,
            &key.share,
            package,
            ready.attempt,
            &receipt,
        )?;
        tracing::info!(
            request = %hex::encode(ready.approved.digest()),
            policy = %ready.approved.policy(),
            attempt = ready.attempt.0,
            signers = package.signers().len(),
            "share released"
        );
        let limit = usize::try_from(self.0.limits.nonces_per_key).unwrap_or(usize::MAX);
        let next_commitments = key.commitments(&who.identity, &who.boot, 1, limit)?;
        Ok(Share {
            envelope: envelope.into(),
            next_commitments: next_commitments.into_iter().map(Into::into).collect(),
        })
    }

    /// Looks again, after the wait for the disk, at what may have turned against a verdict in the meantime: an order to stop that
    /// was answered during the wait is not followed by a share.
    ///
    /// # Errors
    /// `Frozen`, `Denied` for a request that has expired, `Stale` if another policy is in force or another sharing is active. The debit
    /// stays.
    pub(super) fn still_allowed(&self, approved: &Approved, key: &Arc<Key>) -> Result<(), Refusal> {
        let mut state = self.state();
        let now = self.now(&mut state)?;
        if state.freeze.frozen(now) {
            let hint = "signing is stopped; it takes a signed unfreeze";
            return Err(Refusal::new(
                FailureCode::Frozen,
                "this node was stopped meanwhile",
                hint,
            ));
        }
        if approved.intent().expires_ms <= now.wall_ms {
            return Err(Refusal::denied("the intent expired meanwhile"));
        }
        if state.policies.active(&now)?.hash() != approved.policy() {
            return Err(Refusal::stale("another policy came into force meanwhile"));
        }
        let same = state
            .keys
            .get(&approved.intent().key_id)
            .is_some_and(|active| Arc::ptr_eq(active, key));
        if !same {
            return Err(Refusal::stale("another sharing became active meanwhile"));
        }
        let held = state.sharings.get(&approved.intent().key_id);
        held.map_or(Ok(()), Held::in_use)
    }

    fn decide(&self, call: &Sign) -> Result<Ready, Refusal> {
        let evidence = Evidence {
            signed_intent: &call.signed_intent,
            approvals: &call.approvals,
            receipts: &call.receipts,
            epoch: call.epoch,
            sharing: call.sharing.as_ref(),
        };
        let mut state = self.state();
        let judged = self.judge_call(&mut state, &evidence)?;
        let (key, approved) = (&judged.key, &judged.approved);
        let package = self.package(key, approved, call.task, &call.commitments)?;
        let digest = package_digest(call.task, &package);
        if state.ledger.released(approved.digest(), &digest) {
            let message = "a share for exactly these commitments was released before";
            return Err(Refusal::new(
                FailureCode::Replayed,
                message,
                "start another attempt with fresh commitments",
            ));
        }
        self.check_space()?;
        // From here on these nonces are spent, whatever happens.
        let own = package
            .commitment(key.share.index())
            .and_then(|commitment| key.take(&commitment));
        let nonces = own.ok_or_else(|| {
            Refusal::stale("this node no longer has the nonces of its commitment")
        })?;
        let key = Arc::clone(key);
        let (approved, pending) = self.debit(&mut state, judged, digest, Vec::new());
        Ok(Ready {
            approved,
            nonces,
            key,
            package,
            attempt: Attempt(call.attempt),
            task: call.task,
            pending,
        })
    }

    /// Decides about a request from this node's own state and what the call shows. The same for every kind of signature.
    pub(super) fn judge_call(
        &self,
        state: &mut State,
        evidence: &Evidence<'_>,
    ) -> Result<Judged, Refusal> {
        if evidence.approvals.len() > MAX_EVIDENCE || evidence.receipts.len() > MAX_EVIDENCE {
            return Err(Refusal::malformed("too many approvals or receipts"));
        }
        let signed = SignedIntent::decode(evidence.signed_intent).map_err(Refusal::malformed)?;
        let approvals: Vec<SignedStatement> = evidence
            .approvals
            .iter()
            .map(|bytes| SignedStatement::decode(bytes).map_err(Refusal::malformed))
            .collect::<Result<_, _>>()?;
        let now = self.now(state)?;
        let key = self.key_for(state, &signed, evidence)?;
        let public = key.share.public();
        let first_seen_ms =
            self.first_seen(state, now, &signed.digest(), evidence.receipts, public);
        let approved = self.judge(state, now, &key, &signed, &approvals, first_seen_ms)?;
        let seen_ms = first_seen_ms.unwrap_or(now.wall_ms);
        let unannounced = announce::unannounced(state, now, &signed, seen_ms)?;
        Ok(Judged {
            approved,
            key,
            now,
            unannounced,
        })
    }

    /// Books what a request takes, with everything else that must be on disk before a contribution to its signature leaves.
    pub(super) fn debit(
        &self,
        state: &mut State,
        judged: Judged,
        package: [u8; 32],
        also: Vec<Change>,
    ) -> (Box<Approved>, Pending) {
        let approved = judged.approved;
        let entry = Entry {
            intent: *approved.digest(),
            package,
            at_ms: judged.now.witnessed_ms,
            expires_ms: approved.intent().expires_ms,
            raw: *approved.raw_digest(),
            conflicts: approved
                .conflicts()
                .iter()
                .map(ConflictKey::digest)
                .collect(),
            debits: approved.debits().to_vec(),
        };
        let mut rows = also;
        rows.push(Change::Append {
            table: Table::Ledger,
            key: entry.key(),
            body: entry.encode(),
        });
        state.ledger.record(&entry);
        if let Some(record) = judged.unannounced {
            rows.push(announce::append(&record));
            state.intents.record(record);
        }
        let pending = self.commit(state, rows);
        (approved, pending)
    }

    /// The active share of the intent's key, if the call is for its sharing and the chain for its purpose.
    fn key_for(
        &self,
        state: &State,
        signed: &SignedIntent,
        evidence: &Evidence<'_>,
    ) -> Result<Arc<Key>, Refusal> {
        let intent = signed.intent();
        let key = require(
            state,
            &self.0.who.node,
            &intent.key_id,
            evidence.epoch,
            evidence.sharing,
        )?;
        let public = key.share.public();
        let chain = Chain::parse(&intent.chain).map_err(Refusal::malformed)?;
        if !takes(chain, public.purpose()) {
            return Err(Refusal::denied(format!(
                "the key is for {}, which {chain} does not use",
                public.purpose()
            )));
        }
        Ok(key)
    }

    fn judge(
        &self,
        state: &State,
        now: Now,
        key: &Key,
        signed: &SignedIntent,
        approvals: &[SignedStatement],
        first_seen_ms: Option<u64>,
    ) -> Result<Box<Approved>, Refusal> {
        let digest = signed.digest();
        if state.intents.withdrawn(&digest) {
            return Err(Refusal::denied("the request was withdrawn"));
        }
        let active = state.policies.active(&now)?;
        let params = key.share.public().params();
        let share_of_limit = Fraction::new(params.threshold().into(), params.parties().into())
            .ok_or_else(|| Refusal::internal("key parameters"))?;
        let held = state.sharings.get(&signed.intent().key_id);
        let blind_ms = held.map_or(0, |held| held.blind_ms(now.witnessed_ms));
        let view = state.ledger.view(digest, now, blind_ms);
        let facts = Facts {
            now_ms: now.wall_ms,
            first_seen_ms,
            frozen: state.freeze.frozen(now),
            ledger: &view,
            share_of_limit,
        };
        match evaluate(
            active,
            &PackageKeys(key.share.public()),
            signed,
            approvals,
            &facts,
        ) {
            Verdict::Approved(approved) => Ok(approved),
            Verdict::Denied(denied) => {
                let (code, hint) = refusal_code(&denied.reasons);
                let message = "this node's policy refuses the request";
                Err(Refusal::new(code, message, hint).with_reasons(sentences(&denied.reasons)))
            }
            Verdict::Needs(needs) => {
                let hint = "gather the missing approvals or wait, then ask again";
                let refusal =
                    Refusal::new(FailureCode::NotYet, "approvals or time are missing", hint);
                Err(refusal.with_reasons(sentences(&needs.reasons)))
            }
        }
    }

    /// When the request was first seen: by this node, else the latest of `threshold` receipts of distinct members of the key's
    /// committee. At most `threshold - 1` of them lie, so the latest is not earlier than an honest one.
    fn first_seen(
        &self,
        state: &State,
        now: Now,
        digest: &[u8; 32],
        receipts: &[Bytes],
        public: &PublicKeyPackage,
    ) -> Option<u64> {
        let threshold = public.params().threshold();
        if let Some(seen) = state.intents.get(digest) {
            return Some(now.on_wall(seen.witnessed_ms));
        }
        let who = &self.0.who;
        let mut times: BTreeMap<[u8; 32], u64> = BTreeMap::new();
        for receipt in receipts.iter().filter_map(|bytes| FirstSeen::decode(bytes)) {
            let node = NodeId::from_bytes(receipt.node_id);
            let Some(member) = public.index_of(&node).and_then(|_| who.roster.get(&node)) else {
                continue;
            };
            let signed = FirstSeen::digest(
                who.cluster.cluster_id.as_str(),
                &receipt.intent,
                &receipt.node_id,
                receipt.first_seen_ms,
            );
            if receipt.intent == *digest && member.identity.verify(&signed, &receipt.signature) {
                let time = times
                    .entry(receipt.node_id)
                    .or_insert(receipt.first_seen_ms);
                *time = (*time).max(receipt.first_seen_ms);
            }
        }
        if times.len() < usize::from(threshold) {
            return None;
        }
        // More receipts than needed: the threshold earliest are the ones that any honest caller could have shown.
        let mut earliest: Vec<u64> = times.into_values().collect();
        earliest.sort_unstable();
        earliest
            .get(usize::from(threshold).saturating_sub(1))
            .copied()
    }

    fn package(
        &self,
        key: &Key,
        approved: &Approved,
        task: u32,
        envelopes: &[Bytes],
    ) -> Result<Package, Refusal> {
        let (who, public) = (&self.0.who, key.share.public());
        let mut commitments = BTreeMap::new();
        for bytes in envelopes {
            let opened =
                wire::open_commitment(&who.roster, public, bytes).map_err(|error| match error {
                    Error::Rejected(Rejection::WrongSession) => {
                        Refusal::stale("a commitment is for another key or epoch")
                    }
                    other => {
                        let culprits = self.indices(&other.culprits());
                        Refusal::malformed(other).with_culprits(culprits)
                    }
                })?;
            if opened.node == who.node && opened.boot_id != who.boot {
                return Err(Refusal::stale(
                    "this node's commitment is from before its last start",
                ));
            }
            if commitments
                .last_key_value()
                .is_some_and(|(last, _)| *last >= opened.index)
            {
                return Err(Refusal::malformed(
                    "commitments are not in ascending order of their signers",
                ));
            }
            commitments.insert(opened.index, opened.commitment);
        }
        let task = task_of(approved, task)?;
        if public.purpose().needs_pairs() {
            return Err(Refusal::denied("such a signature is not made by this call"));
        }
        let tweak = match task.tweak {
            transaction::Tweak::None => Tweak::None,
            transaction::Tweak::TaprootKeyPath => Tweak::TaprootKeyPath { merkle_root: None },
        };
        let request = SigningRequest::new(public.purpose(), task.message.clone(), tweak);
        let path = DerivationPath::new(task.path.clone()).map_err(Refusal::malformed)?;
        let request = request.map_err(Refusal::malformed)?.with_path(path);
        Package::new(public, commitments, &request).map_err(|error| {
            Refusal::new(
                FailureCode::Malformed,
                error.to_string(),
                "fetch fresh commitments of enough signers",
            )
        })
    }
}

/// Whether a chain takes signatures of keys that were made for a purpose.
const fn takes(chain: Chain, purpose: Purpose) -> bool {
    match chain.family() {
        Family::Bitcoin => matches!(purpose, Purpose::Bip340 | Purpose::Ecdsa),
        Family::Ethereum => matches!(purpose, Purpose::Ecdsa),
        Family::Solana => matches!(purpose, Purpose::Ed25519),
    }
}

fn sentences(reasons: &[Reason]) -> Vec<String> {
    reasons.iter().map(ToString::to_string).collect()
}

fn refusal_code(reasons: &[Reason]) -> (FailureCode, &'static str) {
    if reasons.iter().any(|reason| reason.code == Code::Frozen) {
        (
            FailureCode::Frozen,
            "signing is stopped; it takes a signed unfreeze",
        )
    } else if reasons.iter().any(|reason| reason.code == Code::Conflict) {
        (
            FailureCode::Conflict,
            "another request uses the same; follow that one",
        )
    } else if reasons.iter().all(|reason| reason.code == Code::Limit) {
        (
            FailureCode::Limit,
            "this node's share of a limit is spent; another quorum may have room",
        )
    } else {
        (
            FailureCode::Denied,
            "this request will not be signed as it is",
        )
    }
}
