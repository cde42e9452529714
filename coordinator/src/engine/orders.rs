//! What people order about keys: collected until enough of them have signed, then carried out, and followed.
//!
//! The statements count at the nodes, which judge them for themselves; here they are only kept together, and judged so that a
//! person learns at once what is missing. Every step that a restart must not forget is stored before anything follows from it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mpc_core::id::{Attempt, Epoch, RequestId};
use policy::{
    governance::{Matter, OrderError, authorise},
    statement::{Plan, SignedStatement},
};
use prost::bytes::Bytes;
use proto::{
    convert::reshare,
    v1::{self, Failure, FailureCode},
};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{Engine, approve};
use crate::{
    clock,
    error::{from_store, unknown},
    keys::Key,
    store::{KeyOrderRow, StoreError},
};

mod attempt;
mod ends;
mod reshares;
mod schedule;
mod sharings;
mod tend;

/// Orders that are read back after a restart, and that a list can show.
pub(super) const KEPT: u32 = 1_000;

/// Keys that are worked on at a time, over all orders: half of the ceremonies that a node takes part in by default. What waits for
/// the disk at one key shares its write with what waits at the others.
const KEYS_AT_ONCE: usize = 16;

/// Orders that may wait for signatures.
const WAITING: usize = 256;

/// Who orders it: people, or the policy's interval.
pub(super) const SCHEDULED: &str = "scheduled";

/// The name of an order, 32 bytes.
type OrderId = [u8; 32];
type KeyName = [u8; 32];
type Heard = (u16, v1::ReshareProgress);

/// One order, followed through its status.
#[derive(Debug)]
struct Entry {
    status: watch::Sender<v1::OrderStatus>,
    /// Absent for a refresh by the policy's interval.
    matter: Option<Matter>,
    stop: CancellationToken,
}

/// Where an attempt is listened to.
#[derive(Debug)]
struct Ear {
    place: (Epoch, Attempt),
    /// Everybody who takes part, by number; nobody else is listened to.
    numbers: BTreeSet<u16>,
    sender: mpsc::Sender<Heard>,
}

impl Ear {
    fn is_for(&self, place: (Epoch, Attempt), number: u16) -> bool {
        self.place == place && self.numbers.contains(&number)
    }
}

/// All orders about keys, and what their work needs.
#[derive(Debug)]
pub(super) struct Orders {
    table: Mutex<BTreeMap<OrderId, Entry>>,
    ears: Mutex<BTreeMap<KeyName, Ear>>,
    /// How far each node has said that it holds certificates durably.
    acks: Mutex<BTreeMap<(KeyName, u16), (Epoch, Attempt)>>,
    /// Nodes that are being brought up to date with a key.
    spreading: Mutex<BTreeSet<(KeyName, u16)>>,
    /// Keys of which two sharings are certified for one place, and that was said; with the nodes that say so.
    contradicted: Mutex<BTreeSet<(KeyName, Option<u16>)>>,
    /// Keys whose interval has passed without a refresh, and that was said.
    overdue: Mutex<BTreeSet<KeyName>>,
    /// Keys at a time.
    slots: Semaphore,
    /// One ceremony that makes pair setups at a time: two would make two setups of one generation.
    pairs: tokio::sync::Mutex<()>,
    /// One certificate at a time.
    learning: tokio::sync::Mutex<()>,
}

impl Orders {
    /// Takes up what was stored. What was under way goes on with [`Engine::resume_orders`].
    pub(super) fn load(rows: Vec<KeyOrderRow>) -> Self {
        let table = rows.into_iter().map(|row| {
            let matter = matter_of(&row.status);
            let entry = Entry {
                status: watch::Sender::new(row.status),
                matter,
                stop: CancellationToken::new(),
            };
            (row.request_id, entry)
        });
        Self {
            table: Mutex::new(table.collect()),
            ears: Mutex::default(),
            acks: Mutex::default(),
            spreading: Mutex::default(),
            contradicted: Mutex::default(),
            overdue: Mutex::default(),
            slots: Semaphore::new(KEYS_AT_ONCE),
            pairs: tokio::sync::Mutex::default(),
            learning: tokio::sync::Mutex::default(),
        }
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<OrderId, Entry>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn status(&self, id: &OrderId) -> Option<v1::OrderStatus> {
        self.table()
            .get(id)
            .map(|entry| entry.status.borrow().clone())
    }

    /// Every order as it stands.
    fn statuses(&self) -> Vec<(OrderId, v1::OrderStatus)> {
        let table = self.table();
        let all = table.iter();
        all.map(|(id, entry)| (*id, entry.status.borrow().clone()))
            .collect()
    }

    /// The keys that orders are at work on, with the order.
    pub(super) fn busy(&self) -> BTreeMap<KeyName, OrderId> {
        let mut busy = BTreeMap::new();
        for (id, entry) in self.table().iter() {
            let status = entry.status.borrow();
            if status.state == "running" {
                let keys = status.keys.iter().filter(|key| !has_ended(key));
                let names = keys.filter_map(|key| key.key_id.as_ref().try_into().ok());
                busy.extend(names.map(|name: KeyName| (name, *id)));
            }
        }
        busy
    }

    /// The keys that people have ordered to sign no more.
    pub(super) fn ended_keys(&self) -> BTreeMap<KeyName, Vec<Bytes>> {
        let mut ended = BTreeMap::new();
        for entry in self.table().values() {
            let status = entry.status.borrow();
            let carried = matches!(status.state.as_str(), "running" | "done");
            if let (true, Some(Matter::Retire(matter))) = (carried, &entry.matter) {
                ended.insert(matter.key.key, status.statements.clone());
            }
        }
        ended
    }

    /// The keys of which a node has handed its share out.
    pub(super) fn exported_keys(&self) -> BTreeSet<KeyName> {
        let table = self.table();
        let keys = table.values().filter_map(|entry| {
            let given = !entry.status.borrow().exported.is_empty();
            match &entry.matter {
                Some(Matter::Export(matter)) if given => Some(matter.key.key),
                _ => None,
            }
        });
        keys.collect()
    }

    /// The lowest attempt of the epoch that no order has begun.
    pub(super) fn next_attempt(&self, key: &KeyName, epoch: u32) -> u32 {
        let mut next = 1;
        for entry in self.table().values() {
            let status = entry.status.borrow();
            let tried = status
                .keys
                .iter()
                .filter(|one| one.key_id.as_ref() == key && one.epoch == epoch)
                .map(|one| one.attempt.saturating_add(1));
            next = tried.fold(next, u32::max);
        }
        next
    }
}

/// What an order's first statement is about.
fn matter_of(status: &v1::OrderStatus) -> Option<Matter> {
    let first = status.statements.first()?;
    let signed = SignedStatement::decode(first).ok()?;
    Matter::of(signed.statement())
}

fn has_ended(key: &v1::OrderKey) -> bool {
    matches!(key.stage.as_str(), "done" | "failed")
}

/// Whether nothing follows any more.
pub(crate) fn is_over(status: &v1::OrderStatus) -> bool {
    matches!(
        status.state.as_str(),
        "done" | "failed" | "cancelled" | "expired"
    )
}

fn refuse(code: FailureCode, message: impl Into<String>, hint: &str) -> Failure {
    Failure::new(code, message).hint(hint)
}

/// An order as people hand it in.
struct Submitted {
    matter: Matter,
    statements: Vec<Bytes>,
    signed: Vec<SignedStatement>,
}

fn read(statements: &[Bytes]) -> Result<Submitted, Failure> {
    let malformed = |message: &str| refuse(FailureCode::Malformed, message, "do not send it again");
    let signed = statements
        .iter()
        .map(|bytes| approve::decode(bytes))
        .collect::<Result<Vec<_>, _>>()?;
    let matters: Vec<Option<Matter>> = signed
        .iter()
        .map(|signed| Matter::of(signed.statement()))
        .collect();
    let Some(Some(matter)) = matters.first().cloned() else {
        return Err(malformed(
            "an order about keys has at least one statement about keys",
        ));
    };
    if matters.iter().any(|other| other.as_ref() != Some(&matter)) {
        return Err(malformed(
            "the statements of one order must be about the same matter",
        ));
    }
    Ok(Submitted {
        matter,
        statements: statements.to_vec(),
        signed,
    })
}

impl Engine {
    /// Takes people's statements about one order in; carries the order out once enough have signed.
    ///
    /// # Errors
    /// `MALFORMED` if the order does not fit the keys, `STALE` if it has been overtaken, `NOT_AUTHORISED` for a statement that does
    /// not count, `DENIED` if nobody may order that, `CONFLICT` if one of the keys is being worked on, `LIMIT` if too many wait.
    pub(crate) async fn submit_order(
        self: &Arc<Self>,
        request: v1::KeyOrderRequest,
    ) -> Result<v1::OrderStatus, Failure> {
        let submitted = read(&request.statements)?;
        let id = submitted.matter.request();
        let _one_at_a_time = self.admin.lock().await;
        let now_ms = clock::now_ms();
        let known = self.orders.status(&id);
        if let Some(known) = known.as_ref().filter(|known| known.state != "waiting") {
            return self.answer_again(&submitted, known);
        }
        self.check_matter(&submitted.matter)?;
        let policy = self.policies.in_force(now_ms).ok();
        let document = policy.as_ref().map(|policy| policy.document());
        // Whoever hands in a statement that does not count is told, and not left to wait.
        if let Err(OrderError::Quorum { ignored, .. }) =
            authorise(document, &self.cluster, &submitted.signed, now_ms)
            && !ignored.is_empty()
        {
            let message = format!("a statement does not count: {}", ignored.join(", "));
            return Err(refuse(
                FailureCode::NotAuthorised,
                message,
                "sign it with a credential that the policy has",
            ));
        }
        let mut statements = known.map(|known| known.statements).unwrap_or_default();
        for bytes in &submitted.statements {
            if !statements.contains(bytes) {
                statements.push(bytes.clone());
            }
        }
        let signed = read(&statements)?;
        if signed.matter != submitted.matter {
            return Err(refuse(
                FailureCode::Conflict,
                "another order has this request id",
                "draft a new order",
            ));
        }
        let missing = match authorise(document, &self.cluster, &signed.signed, now_ms) {
            Ok(_) => Vec::new(),
            Err(OrderError::Quorum { missing, .. }) => missing,
            Err(error @ OrderError::Never) => {
                return Err(refuse(
                    FailureCode::Denied,
                    error.to_string(),
                    "change the policy first",
                ));
            }
            Err(error) => {
                return Err(refuse(
                    FailureCode::Malformed,
                    error.to_string(),
                    "do not send it again",
                ));
            }
        };
        let status = self.new_status(&signed, missing, now_ms);
        if status.state == "running" {
            self.check_idle(&signed.matter)?;
        }
        if request.dry_run {
            return Ok(status);
        }
        self.keep_order(signed.matter, status).await
    }

    /// The same order once more: what became of it.
    fn answer_again(
        &self,
        submitted: &Submitted,
        known: &v1::OrderStatus,
    ) -> Result<v1::OrderStatus, Failure> {
        if matter_of(known).as_ref() == Some(&submitted.matter) {
            Ok(known.clone())
        } else {
            Err(refuse(
                FailureCode::Conflict,
                "another order has this request id",
                "draft a new order",
            ))
        }
    }

    /// Stores an order and begins with it if enough people have signed.
    async fn keep_order(
        self: &Arc<Self>,
        matter: Matter,
        status: v1::OrderStatus,
    ) -> Result<v1::OrderStatus, Failure> {
        let id = matter.request();
        if status.state == "waiting" && self.orders.status(&id).is_none() {
            let statuses = self.orders.statuses();
            let waiting = statuses.iter().filter(|(_, one)| one.state == "waiting");
            if waiting.count() >= WAITING {
                return Err(refuse(
                    FailureCode::Limit,
                    "too many orders wait for signatures",
                    "cancel some of them",
                ));
            }
        }
        let row = KeyOrderRow {
            request_id: id,
            status: status.clone(),
        };
        self.store.put_key_order(row).await.map_err(from_store)?;
        tracing::warn!(
            order = hex::encode(id),
            kind = matter.word(),
            state = status.state,
            signed = status.statements.len(),
            "order about keys"
        );
        self.note_order(id, Some(matter), status.clone());
        if status.state == "running" {
            self.begin_order(id);
        }
        Ok(status)
    }

    fn note_order(&self, id: OrderId, matter: Option<Matter>, status: v1::OrderStatus) {
        let mut table = self.orders.table();
        if let Some(entry) = table.get_mut(&id) {
            entry.status.send_replace(status);
            return;
        }
        let entry = Entry {
            status: watch::Sender::new(status),
            matter,
            stop: CancellationToken::new(),
        };
        table.insert(id, entry);
    }

    /// Whether an order is about the keys as they are.
    fn check_matter(&self, matter: &Matter) -> Result<(), Failure> {
        match matter {
            Matter::Export(matter) => self.ordered_key(&matter.key).map(drop),
            Matter::Retire(matter) => self.ordered_key(&matter.key).map(drop),
            Matter::Reshare(plan) => {
                for one in &plan.keys {
                    let key = self.ordered_key(&one.key)?;
                    reshare::ordered(
                        plan,
                        &key.row.name,
                        &key.package,
                        one.first,
                        self.links.roster(),
                    )?;
                }
                Ok(())
            }
        }
    }

    fn ordered_key(&self, ordered: &policy::statement::KeyRef) -> Result<Arc<Key>, Failure> {
        let key = self.keys.get(&ordered.key).ok_or_else(unknown)?;
        reshare::check_key(ordered, &key.row.name, &key.package)?;
        Ok(key)
    }

    /// Whether nothing is at work on any of the order's keys.
    fn check_idle(&self, matter: &Matter) -> Result<(), Failure> {
        let Matter::Reshare(Plan { keys, .. }) = matter else {
            return Ok(());
        };
        let busy = self.orders.busy();
        match keys.iter().find(|one| busy.contains_key(&one.key.key)) {
            None => Ok(()),
            Some(one) => Err(refuse(
                FailureCode::Conflict,
                format!("another order is at work on key {}", one.key.name),
                "wait for it to end, or cancel it",
            )),
        }
    }

    fn new_status(&self, signed: &Submitted, missing: Vec<String>, now_ms: u64) -> v1::OrderStatus {
        let id = signed.matter.request();
        let expires = signed.signed.iter();
        let expires = expires.map(|one| one.statement().common().expires_ms);
        let queued = |key: &policy::statement::KeyRef| v1::OrderKey {
            key_id: Bytes::copy_from_slice(&key.key),
            name: key.name.clone(),
            stage: "queued".to_owned(),
            ..Default::default()
        };
        let keys: Vec<v1::OrderKey> = match &signed.matter {
            Matter::Export(matter) => vec![queued(&matter.key)],
            Matter::Retire(matter) => vec![queued(&matter.key)],
            Matter::Reshare(plan) => plan
                .keys
                .iter()
                .map(|one| v1::OrderKey {
                    epoch: one.key.epoch.saturating_add(1),
                    ..queued(&one.key)
                })
                .collect(),
        };
        let known = self.orders.status(&id);
        let state = if missing.is_empty() {
            "running"
        } else {
            "waiting"
        };
        v1::OrderStatus {
            request_id: Bytes::copy_from_slice(&id),
            kind: signed.matter.word().to_owned(),
            state: state.to_owned(),
            lines: signed.matter.lines(),
            statements: signed.statements.clone(),
            missing,
            total: u32::try_from(keys.len()).unwrap_or(u32::MAX),
            keys,
            created_ms: known.map_or(now_ms, |known| known.created_ms),
            updated_ms: now_ms,
            expires_ms: expires.min().unwrap_or_default(),
            ..Default::default()
        }
    }

    /// Begins, or goes on, with an order that enough people have signed.
    fn begin_order(self: &Arc<Self>, id: OrderId) {
        let (matter, stop) = match self.orders.table().get(&id) {
            Some(entry) => (entry.matter.clone(), entry.stop.clone()),
            None => return,
        };
        let engine = Arc::clone(self);
        match matter {
            Some(Matter::Reshare(plan)) => {
                self.tasks
                    .spawn(async move { engine.run_reshares(id, Arc::new(plan), stop).await });
            }
            Some(Matter::Retire(matter)) => {
                self.tasks
                    .spawn(async move { engine.run_retirement(id, matter).await });
            }
            Some(Matter::Export(matter)) => {
                self.tasks
                    .spawn(async move { engine.run_export(id, matter, stop).await });
            }
            None => {}
        }
    }

    /// Goes on with orders that a restart interrupted. A refresh by the policy's interval is proposed anew when it is still due.
    pub(super) async fn resume_orders(self: &Arc<Self>) {
        for (id, status) in self.orders.statuses() {
            if status.state != "running" {
                continue;
            }
            if status.kind == SCHEDULED {
                let failure = refuse(
                    FailureCode::Unavailable,
                    "the coordinator was restarted",
                    "the refresh is proposed again",
                );
                self.end_order(&id, "failed", Some(failure)).await;
            } else {
                self.begin_order(id);
            }
        }
    }

    /// Changes an order's status for those who follow it; nothing is stored.
    fn show(&self, id: &OrderId, change: impl FnOnce(&mut v1::OrderStatus)) {
        if let Some(entry) = self.orders.table().get(id) {
            entry.status.send_modify(|status| {
                change(status);
                status.updated_ms = clock::now_ms();
                let ended = |stage: &str| {
                    let count = status.keys.iter().filter(|key| key.stage == stage).count();
                    u32::try_from(count).unwrap_or(u32::MAX)
                };
                (status.finished, status.failed) = (ended("done"), ended("failed"));
            });
        }
    }

    /// Changes one key of an order.
    fn show_key(&self, id: &OrderId, key: &KeyName, change: impl FnOnce(&mut v1::OrderKey)) {
        self.show(id, |status| {
            let found = status.keys.iter_mut();
            if let Some(one) = found.into_iter().find(|one| one.key_id.as_ref() == key) {
                change(one);
            }
        });
    }

    /// Stores an order as it stands.
    ///
    /// # Errors
    /// [`StoreError`]; what follows from the change must not be done then.
    async fn store_order(&self, id: &OrderId) -> Result<(), StoreError> {
        let Some(status) = self.orders.status(id) else {
            return Err(StoreError::NotFound);
        };
        let request_id = *id;
        self.store
            .put_key_order(KeyOrderRow { request_id, status })
            .await
    }

    /// Ends an order, unless it has ended.
    async fn end_order(&self, id: &OrderId, state: &str, failure: Option<Failure>) {
        self.show(id, |status| {
            if !is_over(status) {
                state.clone_into(&mut status.state);
                status.failure = failure;
            }
        });
        if let Err(error) = self.store_order(id).await {
            tracing::error!(order = hex::encode(id), %error, "the end of an order was not stored");
        }
        tracing::warn!(order = hex::encode(id), state, "order about keys ended");
    }

    /// Follows an order.
    ///
    /// # Errors
    /// `UNKNOWN`.
    pub(crate) fn follow_order(
        &self,
        id: &[u8],
    ) -> Result<watch::Receiver<v1::OrderStatus>, Failure> {
        let id: OrderId = id.try_into().map_err(|_| unknown())?;
        let table = self.orders.table();
        let entry = table.get(&id).ok_or_else(unknown)?;
        Ok(entry.status.subscribe())
    }

    /// Orders, newest first.
    pub(crate) fn list_orders(&self, ended: bool, limit: u32) -> Vec<v1::OrderStatus> {
        let limit = if limit == 0 { KEPT } else { limit.min(KEPT) };
        let mut all: Vec<v1::OrderStatus> = self
            .orders
            .statuses()
            .into_iter()
            .map(|(_, status)| status)
            .filter(|status| ended || !is_over(status))
            .collect();
        all.sort_by_key(|status| core::cmp::Reverse(status.created_ms));
        all.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        all
    }

    /// Begins no further attempt of an order, and has the nodes end the one that runs.
    ///
    /// # Errors
    /// `UNKNOWN`, or `CONFLICT` for an order that has ended or cannot be stopped.
    pub(crate) async fn cancel_order(&self, id: &[u8]) -> Result<v1::OrderStatus, Failure> {
        let id: OrderId = id.try_into().map_err(|_| unknown())?;
        let _one_at_a_time = self.admin.lock().await;
        let status = self.orders.status(&id).ok_or_else(unknown)?;
        let stoppable = status.state == "waiting"
            || matches!(
                status.kind.as_str(),
                "refresh" | "reshare" | "export" | SCHEDULED
            );
        if is_over(&status) || !stoppable {
            return Err(refuse(
                FailureCode::Conflict,
                format!("the order is {}", status.state),
                "it cannot be stopped any more",
            ));
        }
        if let Some(entry) = self.orders.table().get(&id) {
            entry.stop.cancel();
        }
        self.end_order(&id, "cancelled", None).await;
        self.orders.status(&id).ok_or_else(unknown)
    }
}

/// How the protocol names an order.
const fn request_of(id: &OrderId) -> RequestId {
    RequestId::from_bytes(*id)
}
