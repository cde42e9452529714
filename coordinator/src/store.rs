//! What a coordinator must not forget, behind one trait.
//!
//! Every method is one atomic and durable step: when it answers, the step survives a crash; when it fails, nothing of
//! it happened. The decision about a request is taken *inside* the step that debits the ledger, on the ledger as it is
//! at that moment, so two requests can never both pass a limit that has room for one. Every step that changes
//! something also appends to the hash-chained audit trail.

use std::{collections::BTreeMap, fmt, sync::Arc};

use futures_util::future::BoxFuture;
use policy::{
    evaluate::Approved,
    ledger::{Debit, LedgerView},
};
use prost::bytes::Bytes;
use proto::v1;

use crate::state::{Event, State};

mod sqlite;

pub use sqlite::Sqlite;

/// Digest of an intent, 32 bytes: what a request is called everywhere after submission.
pub type RequestId = mpc_core::id::RequestId;

/// Why a step did not happen. Nothing of it is in the store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The initiator has used this idempotency key for another intent.
    #[error("idempotency key already names request {existing}")]
    Conflict {
        /// The request that has the key.
        existing: RequestId,
    },
    /// There is more of this than the configured bound; some must end first.
    #[error("{what} has reached its bound of {bound}")]
    Full {
        /// What is full.
        what: &'static str,
        /// How many there may be.
        bound: usize,
    },
    /// No such row.
    #[error("not found")]
    NotFound,
    /// Disk, lock or engine trouble; the same call may succeed later.
    #[error("store unavailable: {0}")]
    Unavailable(String),
    /// The request is in another state than the step needs.
    #[error("request is {found}, which does not allow this")]
    WrongState {
        /// Where it stands.
        found: State,
    },
    /// What was read back is not what this software writes.
    #[error("store is damaged: {0}")]
    Damaged(&'static str),
}

/// A request as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Digest of the intent.
    pub id: RequestId,
    /// Where it stands; equals `status.state`.
    pub state: State,
    /// Who submitted it.
    pub initiator: String,
    /// When it may no longer be signed, Unix milliseconds.
    pub expires_ms: u64,
    /// What callers are shown, signed intent included.
    pub status: v1::RequestStatus,
    /// Encoded signed statements, in the order of arrival.
    pub approvals: Vec<Bytes>,
    /// Encoded first-seen receipts by party index.
    pub receipts: BTreeMap<u16, Bytes>,
}

/// A verified intent that is not in the store yet.
#[derive(Clone, Debug)]
pub struct NewRequest {
    /// Digest of the intent.
    pub id: RequestId,
    /// Who signed it.
    pub initiator: String,
    /// The initiator's own name for it, unique per initiator.
    pub idempotency_key: String,
    /// Wallet of the intent.
    pub wallet: String,
    /// The bytes as submitted.
    pub signed_intent: Bytes,
    /// Hash of the raw transaction, 32 bytes.
    pub transaction: [u8; 32],
    /// When the intent's own lifetime ends, Unix milliseconds.
    pub expires_ms: u64,
    /// The coordinator's rendering, for people.
    pub lines: Vec<String>,
    /// Hash of the policy it was first judged by, 32 bytes.
    pub policy_hash: Bytes,
    /// How many requests may be live; one more is refused with [`StoreError::Full`].
    pub live_bound: usize,
}

/// A vote whose signature has been verified.
#[derive(Clone, Debug)]
pub struct NewApproval {
    /// Who, with what, when, and yes or no.
    pub info: v1::ApprovalInfo,
    /// The encoded signed statement.
    pub statement: Bytes,
}

/// What a [`Judge`] is shown: the facts at the moment of the step.
pub struct Case<'a> {
    /// The moment, Unix milliseconds.
    pub now_ms: u64,
    /// When the store first held the request; `now_ms` for a new one.
    pub first_seen_ms: u64,
    /// Encoded signed statements, the newest included.
    pub approvals: &'a [Bytes],
    /// Every debit but those of this request.
    pub ledger: &'a dyn LedgerView,
}

impl fmt::Debug for Case<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case")
            .field("now_ms", &self.now_ms)
            .field("first_seen_ms", &self.first_seen_ms)
            .field("approvals", &self.approvals.len())
            .finish_non_exhaustive()
    }
}

/// What is to become of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// It is refused for good.
    Deny(Vec<v1::Reason>),
    /// People or time are missing.
    Wait(Vec<v1::Reason>, v1::Needs),
    /// It may be signed once these amounts are debited, and what it uses up on its chain is held, by name.
    Approve(Vec<Debit>, Vec<[u8; 32]>),
}

/// A decision, with the token that a signature needs if it is positive.
#[derive(Debug)]
pub struct Judgement {
    /// What is to be done.
    pub decision: Decision,
    /// Only a policy verdict can make one.
    pub token: Option<Box<Approved>>,
}

/// Decides a request on the ledger as it is inside the step. It may be called more than once for one step.
pub type Judge = Arc<dyn Fn(&Case<'_>) -> Judgement + Send + Sync>;

/// The outcome of a step that may have decided a request.
#[derive(Debug)]
pub struct Decided {
    /// The request after the step.
    pub record: Record,
    /// Whether this step changed it.
    pub changed: bool,
    /// Present exactly if this step reserved it.
    pub token: Option<Box<Approved>>,
}

/// How far a positive decision goes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Stop at `Reserved`: nobody can be asked now.
    Reserve,
    /// Go on to `Signing`: nodes are asked as soon as the step is durable.
    Sign,
}

/// One guarded move of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Move {
    /// What happened; the state table decides whether it may.
    pub event: Event,
    /// When, Unix milliseconds.
    pub now_ms: u64,
    /// Why, for an end that needs a reason.
    pub failure: Option<v1::Failure>,
    /// The product, for [`Event::Release`].
    pub release: Option<Release>,
}

impl Move {
    /// A move without a reason or a product.
    #[must_use]
    pub const fn plain(event: Event, now_ms: u64) -> Self {
        Self {
            event,
            now_ms,
            failure: None,
            release: None,
        }
    }

    /// A move to `Failed`.
    #[must_use]
    pub const fn failed(failure: v1::Failure, now_ms: u64) -> Self {
        Self {
            event: Event::Fail,
            now_ms,
            failure: Some(failure),
            release: None,
        }
    }
}

/// Verified signatures and what was made of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// One for each task of the request, in order: 64 bytes, or 65 with a recovery id.
    pub signatures: Vec<Bytes>,
    /// The assembled transaction.
    pub signed_tx: Bytes,
    /// Party indices of the signers.
    pub signers: Vec<u32>,
    /// Durations of the phases in microseconds.
    pub timings_us: BTreeMap<String, u64>,
}

/// Which requests to list, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only those that stand here.
    pub state: Option<State>,
    /// Only those of this wallet.
    pub wallet: Option<String>,
    /// At most so many.
    pub limit: u32,
}

/// An installed policy document with the statements that make it valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRow {
    /// Version inside the document.
    pub version: u64,
    /// Hash of the exact document bytes, 32 bytes.
    pub hash: Bytes,
    /// The document.
    pub document: Bytes,
    /// Encoded signed statements.
    pub signatures: Vec<Bytes>,
    /// When it was installed here, Unix milliseconds.
    pub installed_ms: u64,
}

/// A freeze or unfreeze order that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRow {
    /// When it was accepted here, Unix milliseconds.
    pub accepted_ms: u64,
    /// Encoded signed statements.
    pub statements: Vec<Bytes>,
    /// The encoded freeze state after it.
    pub state: Bytes,
}

/// How far a key has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyStage {
    /// The nodes are generating it.
    Running,
    /// All certificate parts are stored, so that every node can activate it.
    Certified,
    /// Its public key package is known as well: it can be used.
    Active,
    /// It came to nothing.
    Aborted,
}

/// What happens to a key generation next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyStep {
    /// From `Running`: all certificate parts are there, by party index.
    Certify(BTreeMap<u16, Bytes>),
    /// From `Certified`: the encoded public key package.
    Activate(Bytes),
    /// From `Running`: no key comes of it.
    Abort,
}

/// A key generation and the key it made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// 32 fresh bytes that name the generation.
    pub request_id: [u8; 32],
    /// The operator's name for the key.
    pub name: String,
    /// `bip340`, `ecdsa`, `ecdsa-raw` or `ed25519`.
    pub scheme: String,
    /// How many must sign.
    pub threshold: u16,
    /// How far it has come.
    pub stage: KeyStage,
    /// When it was asked for, Unix milliseconds.
    pub created_ms: u64,
    /// The encoded public key package, once active.
    pub package: Bytes,
    /// Signed certificate parts by node number.
    pub parts: BTreeMap<u16, Bytes>,
    /// The nodes it is generated on, by number, ascending; empty for all nodes of the cluster.
    pub nodes: Vec<u16>,
}

/// A certified sharing of a key after its first one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharingRow {
    /// The key, 32 bytes.
    pub key_id: [u8; 32],
    /// How often the shares have been replaced.
    pub epoch: u32,
    /// Which attempt at that epoch.
    pub attempt: u32,
    /// The encoded activation certificate.
    pub certificate: Bytes,
    /// When it was stored here, Unix milliseconds.
    pub at_ms: u64,
}

/// An order of people about keys, or a refresh by the policy's interval.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyOrderRow {
    /// 32 fresh bytes that name it.
    pub request_id: [u8; 32],
    /// What callers are shown, the signed statements included.
    pub status: v1::OrderStatus,
}

/// One row of the audit trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// From 1, without gaps.
    pub seq: u64,
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// What kind of thing happened.
    pub kind: String,
    /// Which request, if it was about one.
    pub request: Option<RequestId>,
    /// Details as JSON text; never a secret.
    pub detail: String,
    /// Hash over this row and the hash of the one before, 32 bytes.
    pub hash: [u8; 32],
}

/// A proof or a report that a node broke the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceRow {
    /// Party index of the culprit.
    pub node: u16,
    /// When it was noticed, Unix milliseconds.
    pub at_ms: u64,
    /// The request it happened in, if any.
    pub request: Option<RequestId>,
    /// Encoded evidence; empty if the fault is only seen here and cannot be shown to others.
    pub evidence: Bytes,
    /// The fault in words.
    pub fault: String,
}

/// A set of signers that has made signatures that do not verify, and nobody can say through whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedSet {
    /// Party indices, ascending.
    pub signers: Vec<u16>,
    /// How often.
    pub failures: u32,
    /// When last, Unix milliseconds.
    pub at_ms: u64,
}

/// A step's answer.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Durable memory of a coordinator.
pub trait Store: Send + Sync + fmt::Debug {
    /// Takes a request in and decides it, or answers with the request that is already there.
    ///
    /// The same initiator, key and intent always finds the same request, whatever its state; the judge is not asked
    /// again. The same initiator and key with another intent is [`StoreError::Conflict`].
    fn submit(
        &self,
        new: NewRequest,
        judge: Judge,
        reach: Reach,
        now_ms: u64,
    ) -> Answer<'_, Decided>;

    /// Adds an approval, if one is given, and decides an announced request anew.
    ///
    /// An approval that is already there changes nothing. A request that is not `Announced` is
    /// [`StoreError::WrongState`].
    fn decide(
        &self,
        id: RequestId,
        approval: Option<NewApproval>,
        judge: Judge,
        reach: Reach,
        now_ms: u64,
    ) -> Answer<'_, Decided>;

    /// Moves a request if its state allows the event.
    fn advance(&self, id: RequestId, step: Move) -> Answer<'_, Record>;

    /// Runs a judge on the live ledger without changing anything. A stored request is shown with its approvals and the
    /// time it was first seen; its own debits are left out.
    fn weigh(&self, id: RequestId, judge: Judge, now_ms: u64) -> Answer<'_, Judgement>;

    /// One request.
    fn request(&self, id: RequestId) -> Answer<'_, Record>;

    /// Requests, newest first.
    fn list(&self, filter: Filter) -> Answer<'_, Vec<Record>>;

    /// Every request that has not ended.
    fn live(&self) -> Answer<'_, Vec<Record>>;

    /// Keeps a node's first-seen receipt; the first one of a node stands.
    fn add_receipt(&self, id: RequestId, node: u16, receipt: Bytes, now_ms: u64) -> Answer<'_, ()>;

    /// Keeps an accepted policy document. One that is there already is refused.
    fn add_policy(&self, row: PolicyRow) -> Answer<'_, ()>;

    /// Every accepted policy document, in the order of acceptance.
    fn policies(&self) -> Answer<'_, Vec<PolicyRow>>;

    /// Keeps an accepted freeze or unfreeze order.
    fn add_order(&self, row: OrderRow, kind: &'static str) -> Answer<'_, ()>;

    /// Every order, oldest first.
    fn orders(&self) -> Answer<'_, Vec<OrderRow>>;

    /// Begins a key generation.
    fn add_key(&self, row: KeyRow) -> Answer<'_, ()>;

    /// Moves a key generation on; [`StoreError::NotFound`] if it is not at the stage that the step starts from.
    fn step_key(&self, request_id: [u8; 32], step: KeyStep, now_ms: u64) -> Answer<'_, KeyRow>;

    /// Every key generation, oldest first.
    fn keys(&self) -> Answer<'_, Vec<KeyRow>>;

    /// Keeps an order about keys as it stands now, in the place of what was known of it.
    fn put_key_order(&self, row: KeyOrderRow) -> Answer<'_, ()>;

    /// The newest orders about keys, at most `limit`, oldest first.
    fn key_orders(&self, limit: u32) -> Answer<'_, Vec<KeyOrderRow>>;

    /// Keeps the certificate of a sharing; one that is there already stays.
    fn add_sharing(&self, row: SharingRow) -> Answer<'_, ()>;

    /// Every certified sharing, lowest first for each key.
    fn sharings(&self) -> Answer<'_, Vec<SharingRow>>;

    /// Has a node chosen no more, or again.
    fn set_drained(&self, node: u16, drained: bool, now_ms: u64) -> Answer<'_, ()>;

    /// The nodes that are not chosen.
    fn drained(&self) -> Answer<'_, Vec<u16>>;

    /// Keeps evidence against a node.
    fn add_evidence(&self, row: EvidenceRow) -> Answer<'_, ()>;

    /// All evidence, oldest first.
    fn evidence(&self) -> Answer<'_, Vec<EvidenceRow>>;

    /// Counts a signature of these signers that does not verify; how often that has happened.
    fn count_failure(
        &self,
        signers: Vec<u16>,
        request: Option<RequestId>,
        now_ms: u64,
    ) -> Answer<'_, u32>;

    /// Every set with such signatures.
    fn failed_sets(&self) -> Answer<'_, Vec<FailedSet>>;

    /// Appends to the audit trail.
    fn note(
        &self,
        kind: &'static str,
        request: Option<RequestId>,
        detail: serde_json::Value,
        now_ms: u64,
    ) -> Answer<'_, ()>;

    /// Rows of the audit trail after `after`, oldest first.
    fn events(&self, after: u64, limit: u32) -> Answer<'_, Vec<EventRow>>;

    /// Counts a start of the process, from 1: a number that no earlier start had.
    fn begin(&self, now_ms: u64) -> Answer<'_, u64>;
}
