//! Drives every live request from submission to its end.
//!
//! The store decides, in one durable step each; the engine only brings the steps about: on a call, an answer of a node,
//! or a deadline. No lock is held while anything is awaited, and every request is driven by at most one task.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use policy::cluster::ClusterFile;
use proto::{
    evidence_files::EvidenceFiles,
    v1::{self, Failure},
};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    clock,
    config::Config,
    error::{RunError, from_store, unknown},
    intake::{self, Intake, Stage},
    keys::{Key, Keys},
    links::{Link, Links, Report},
    signing::Signing,
    state::State,
    store::{Decided, Reach, Record, RequestId, Store, StoreError},
};

mod announce;
mod approve;
mod drain;
mod evidence;
mod expiry;
mod freeze;
mod keys;
pub(crate) mod orders;
mod policy_book;
mod release;

/// A request that has not ended.
struct Live {
    record: Arc<Record>,
    status: watch::Sender<v1::RequestStatus>,
    /// A task is at work on its signature.
    driven: bool,
    /// How often a signature was tried and did not come.
    tries: u32,
    /// When its submission arrived; absent after a restart.
    arrived: Option<Instant>,
    /// How long it took from arrival to the durable debit, in microseconds.
    reserve_us: Option<u64>,
}

/// Everything the coordinator does with requests, keys and orders.
pub(crate) struct Engine {
    pub(crate) cluster: ClusterFile,
    pub(crate) config: Config,
    pub(crate) links: Arc<Links>,
    pub(crate) keys: Keys,
    store: Arc<dyn Store>,
    signing: Arc<Signing>,
    policies: policy_book::Book,
    freeze: freeze::Switch,
    ceremonies: keys::Ceremonies,
    orders: orders::Orders,
    evidence: evidence::Archive,
    live: Mutex<BTreeMap<RequestId, Live>>,
    deadlines: expiry::Deadlines,
    /// One change of policy, freeze or keys at a time.
    admin: tokio::sync::Mutex<()>,
    tasks: TaskTracker,
    stopping: CancellationToken,
    /// No new requests: the service is about to stop.
    draining: AtomicBool,
    /// A task that drove a request has ended.
    rested: Notify,
}

impl core::fmt::Debug for Engine {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Engine")
            .field("cluster", &self.cluster.cluster_id)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Reads everything back from the store.
    ///
    /// # Errors
    /// [`RunError::Store`], or [`RunError::Mismatch`] if the stored policies do not follow from the cluster file.
    pub(crate) async fn load(
        config: Config,
        cluster: ClusterFile,
        links: Arc<Links>,
        store: Arc<dyn Store>,
        tasks: TaskTracker,
        stopping: CancellationToken,
    ) -> Result<Arc<Self>, RunError> {
        let start = store.begin(clock::now_ms()).await?;
        let signing = Arc::new(Signing::new(
            Arc::clone(&links),
            config.signing.clone(),
            start,
            tasks.clone(),
        ));
        let convictions = store.evidence().await?;
        for row in &convictions {
            signing.convict(row.node);
        }
        for set in store.failed_sets().await? {
            // What an operator has looked into does not count any more.
            if set.at_ms >= config.signing.forgive_failures_before_ms {
                signing.remember_failures(set);
            }
        }
        let files = EvidenceFiles::beside(&config.store);
        let evidence = evidence::Archive::load(&convictions, files);
        let keys = Keys::default();
        let ceremonies = keys::Ceremonies::default();
        for row in store.keys().await? {
            if let Some(key) = Key::read(&row)? {
                keys.insert(Arc::new(key));
            }
            ceremonies.note(row);
        }
        for row in store.sharings().await? {
            keys.follow(&row)?;
        }
        let orders = orders::Orders::load(store.key_orders(orders::KEPT).await?);
        for node in store.drained().await? {
            signing.drain(node, true);
        }
        let policies = policy_book::Book::load(&cluster, store.policies().await?)?;
        let freeze = freeze::Switch::load(&store.orders().await?)?;
        let live = store.live().await?;
        let engine = Arc::new(Self {
            cluster,
            config,
            links,
            keys,
            store,
            signing,
            policies,
            freeze,
            ceremonies,
            orders,
            evidence,
            live: Mutex::default(),
            deadlines: expiry::Deadlines::default(),
            admin: tokio::sync::Mutex::default(),
            tasks,
            stopping,
            draining: AtomicBool::new(false),
            rested: Notify::new(),
        });
        engine.end_keys();
        for record in live {
            engine.admit(record, None);
        }
        Ok(engine)
    }

    /// Starts the tasks that listen to the links and to the deadlines.
    pub(crate) fn start(self: &Arc<Self>, reports: mpsc::Receiver<Report>) {
        self.tasks.spawn(Arc::clone(self).listen(reports));
        self.tasks.spawn(Arc::clone(self).watch_deadlines());
        for id in self.live_ids() {
            self.deadlines
                .add(clock::now_ms(), expiry::Wake::Request(id));
        }
        self.schedule_policy();
        self.resume_ceremonies();
        self.tasks.spawn(Arc::clone(self).resume_and_tend());
    }

    async fn resume_and_tend(self: Arc<Self>) {
        self.resume_orders().await;
        self.tend().await;
    }

    async fn listen(self: Arc<Self>, mut reports: mpsc::Receiver<Report>) {
        loop {
            let report = tokio::select! {
                report = reports.recv() => report,
                () = self.stopping.cancelled() => None,
            };
            match report {
                None => return,
                Some(Report::Up(link)) => {
                    self.tasks.spawn(Arc::clone(&self).welcome(link));
                }
                Some(Report::Down(link)) => self.on_down(&link),
                Some(Report::Said(link, body)) => self.on_said(&link, *body),
            }
        }
    }

    /// Brings a node that has just connected up to date, and goes on with what waited for it.
    async fn welcome(self: Arc<Self>, link: Arc<Link>) {
        let _measured = link.heartbeat(self.config.links.heartbeat_timeout).await;
        self.send_policies(&link).await;
        self.send_orders(&link).await;
        self.end_lost_sessions(link.index());
        self.adopt_keys().await;
        self.send_certificates(&link).await;
        self.tend_node(&link).await;
        self.send_evidence(&link).await;
        for key in self.keys.all() {
            self.signing.refill(&key, &link);
        }
        for id in self.live_ids() {
            let Some(record) = self.peek(id) else {
                continue;
            };
            match record.state {
                State::Announced => self.announce_to(&link, &record),
                State::Reserved | State::Signing => self.drive(id, None),
                _ => {}
            }
        }
    }

    /// Takes no new requests and waits until no signature is under way.
    pub(crate) async fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        loop {
            let rested = self.rested.notified();
            if !self.live().values().any(|live| live.driven) {
                return;
            }
            rested.await;
        }
    }

    fn live(&self) -> MutexGuard<'_, BTreeMap<RequestId, Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn live_ids(&self) -> Vec<RequestId> {
        self.live().keys().copied().collect()
    }

    /// A live request as it stands.
    fn peek(&self, id: RequestId) -> Option<Arc<Record>> {
        self.live().get(&id).map(|live| Arc::clone(&live.record))
    }

    /// Takes in a request that is not here yet.
    fn admit(&self, record: Record, arrived: Option<Instant>) -> Arc<Record> {
        let record = Arc::new(record);
        if !record.state.is_final() {
            let live = Live {
                record: Arc::clone(&record),
                status: watch::Sender::new(record.status.clone()),
                driven: false,
                tries: 0,
                arrived,
                reserve_us: arrived.map(clock::micros_since),
            };
            self.live().entry(record.id).or_insert(live);
        }
        record
    }

    /// Takes a request's new state in: watchers hear of it, and an ended one is forgotten here.
    ///
    /// Two steps of one request may come back from the store in either order; the later one stays.
    fn put(&self, record: Record) -> Arc<Record> {
        let record = Arc::new(record);
        let mut table = self.live();
        if let Some(live) = table.get_mut(&record.id) {
            let known = (live.record.state, live.record.approvals.len());
            if (record.state, record.approvals.len()) < known {
                return Arc::clone(&live.record);
            }
            live.record = Arc::clone(&record);
            live.status.send_replace(record.status.clone());
        }
        if record.state.is_final() {
            table.remove(&record.id);
        }
        record
    }

    /// Looks again at a request that the store knows to have moved on.
    async fn refresh(&self, id: RequestId) {
        match self.store.request(id).await {
            Ok(record) => drop(self.put(record)),
            Err(error) => {
                tracing::error!(request = %id, %error, "a live request could not be read");
            }
        }
    }

    /// Follows a request; the channel closes when it has ended.
    ///
    /// # Errors
    /// `UNKNOWN`.
    pub(crate) async fn follow(
        &self,
        id: RequestId,
    ) -> Result<watch::Receiver<v1::RequestStatus>, Failure> {
        if let Some(live) = self.live().get(&id) {
            return Ok(live.status.subscribe());
        }
        let status = self.status(id).await?;
        Ok(watch::Sender::new(status).subscribe())
    }

    /// A request's status.
    ///
    /// # Errors
    /// `UNKNOWN`.
    pub(crate) async fn status(&self, id: RequestId) -> Result<v1::RequestStatus, Failure> {
        if let Some(live) = self.live().get(&id) {
            return Ok(live.status.borrow().clone());
        }
        Ok(self.store.request(id).await.map_err(from_store)?.status)
    }

    /// Takes an intent in. The answer waits a little for a signature that needs nobody.
    ///
    /// One initiator's idempotency key stands for one intent and one outcome, for ever: a submission that was refused, be it for a
    /// full window or a freeze that has been lifted since, stays refused, and trying again takes a fresh key.
    ///
    /// # Errors
    /// Those of [`intake::read`]; `CONFLICT` for a used idempotency key; `LIMIT` if too many requests are live.
    pub(crate) async fn submit(
        self: &Arc<Self>,
        bytes: prost::bytes::Bytes,
    ) -> Result<v1::RequestStatus, Failure> {
        if self.draining.load(Ordering::Relaxed) {
            let failure = Failure::new(
                v1::FailureCode::Unavailable,
                "the coordinator is shutting down",
            );
            return Err(failure.hint("send the same bytes again in a moment"));
        }
        let arrived = Instant::now();
        let now_ms = clock::now_ms();
        let policy = self.policies.in_force(now_ms)?;
        let cluster_id = self.cluster.cluster_id.as_str();
        let intake = match intake::read(cluster_id, &policy, &self.keys, bytes.clone()) {
            Ok(intake) => intake,
            // The same bytes have the same answer for ever, even if the policy would not let them in any more.
            Err(failure) => return self.answered(&bytes).await.ok_or(failure),
        };
        let judge = intake::judge(
            Arc::clone(&policy),
            self.freeze.is_frozen(now_ms),
            &intake,
            Stage::New,
        );
        let row = intake.row(&policy, self.config.limits.live_requests);
        let decided = self
            .store
            .submit(row, judge, self.reach(&intake.key), now_ms)
            .await
            .map_err(from_store)?;
        let fresh = decided.changed;
        let record = self.settle(decided, Some(arrived));
        if fresh {
            tracing::info!(request = %record.id, wallet = record.status.wallet, state = %record.state, "request taken in");
            if record.state == State::Announced {
                self.announce(&record);
                self.signing.expect(&intake.key);
            }
        }
        if matches!(record.state, State::Reserved | State::Signing) {
            return self
                .await_signature(record.id, self.config.limits.submit_wait)
                .await;
        }
        Ok(record.status.clone())
    }

    /// What became of a submission of exactly these bytes, if there was one.
    async fn answered(&self, bytes: &[u8]) -> Option<v1::RequestStatus> {
        let signed = policy::intent::SignedIntent::decode(bytes).ok()?;
        let id = RequestId::from_bytes(signed.digest());
        let record = self.record(id).await.ok()?;
        let same = record.status.signed_intent.as_ref() == bytes;
        same.then(|| record.status.clone())
    }

    /// Waits until a request is no longer being signed, at most `patience`.
    async fn await_signature(
        &self,
        id: RequestId,
        patience: Duration,
    ) -> Result<v1::RequestStatus, Failure> {
        let mut status = self.follow(id).await?;
        let busy = |status: &v1::RequestStatus| {
            matches!(
                status.state(),
                v1::RequestState::Reserved | v1::RequestState::Signing
            )
        };
        // Whether the wait ended by time, by the end of the request or by a change, the latest status is the answer.
        drop(tokio::time::timeout(patience, status.wait_for(|status| !busy(status))).await);
        let latest = status.borrow().clone();
        Ok(latest)
    }

    /// Says what would happen to an intent, without storing anything.
    ///
    /// # Errors
    /// Those of [`intake::read`].
    pub(crate) async fn explain(
        &self,
        bytes: prost::bytes::Bytes,
    ) -> Result<v1::RequestStatus, Failure> {
        let now_ms = clock::now_ms();
        let policy = self.policies.in_force(now_ms)?;
        let intake = intake::read(self.cluster.cluster_id.as_str(), &policy, &self.keys, bytes)?;
        let judge = intake::judge(
            Arc::clone(&policy),
            self.freeze.is_frozen(now_ms),
            &intake,
            Stage::New,
        );
        let judgement = self
            .store
            .weigh(intake.id, judge, now_ms)
            .await
            .map_err(from_store)?;
        Ok(release::explained(
            &intake,
            &policy,
            judgement.decision,
            now_ms,
        ))
    }

    /// Requests, newest first.
    ///
    /// # Errors
    /// `UNAVAILABLE`.
    pub(crate) async fn list(
        &self,
        filter: crate::store::Filter,
    ) -> Result<Vec<v1::RequestStatus>, Failure> {
        let records = self.store.list(filter).await.map_err(from_store)?;
        Ok(records.into_iter().map(|record| record.status).collect())
    }

    /// How far a positive decision may go now.
    fn reach(&self, key: &Key) -> Reach {
        if self.signing.has_quorum(key) {
            Reach::Sign
        } else {
            Reach::Reserve
        }
    }

    /// Takes in what a deciding step has made of a request and does what follows from it.
    fn settle(self: &Arc<Self>, decided: Decided, arrived: Option<Instant>) -> Arc<Record> {
        let Decided {
            record,
            changed,
            token,
        } = decided;
        let record = match (changed, arrived) {
            (true, Some(_)) => self.admit(record, arrived),
            (true, None) => self.put(record),
            (false, _) => Arc::new(record),
        };
        if changed {
            self.schedule(&record);
            match record.state {
                State::Reserved | State::Signing => self.drive(record.id, token),
                State::Denied => self.withdraw(&record, "denied"),
                _ => {}
            }
        }
        record
    }

    /// Judges an announced request again, on the facts as they are now.
    async fn decide_again(self: &Arc<Self>, id: RequestId) {
        let Some(record) = self.peek(id) else { return };
        let Ok((intake, judge)) = self.rejudge(&record) else {
            // Without its initiator or wallet in the policy it can only expire.
            self.schedule(&record);
            return;
        };
        let reach = self.reach(&intake.key);
        match self
            .store
            .decide(id, None, judge, reach, clock::now_ms())
            .await
        {
            Ok(decided) => {
                if !decided.changed {
                    self.schedule(&decided.record);
                }
                self.settle(decided, None);
            }
            Err(StoreError::WrongState { .. } | StoreError::NotFound) => self.refresh(id).await,
            Err(error) => {
                tracing::error!(request = %id, %error, "a request could not be decided");
                self.deadlines.add(
                    clock::now_ms().saturating_add(1_000),
                    expiry::Wake::Request(id),
                );
            }
        }
    }

    /// A judge for a request that is stored already.
    fn rejudge(&self, record: &Record) -> Result<(Intake, crate::store::Judge), Failure> {
        let now_ms = clock::now_ms();
        let policy = self.policies.in_force(now_ms)?;
        let bytes = record.status.signed_intent.clone();
        let intake = intake::read(self.cluster.cluster_id.as_str(), &policy, &self.keys, bytes)?;
        let judge = intake::judge(
            policy,
            self.freeze.is_frozen(now_ms),
            &intake,
            Stage::Waiting,
        );
        Ok((intake, judge))
    }

    /// A request, live or ended.
    ///
    /// # Errors
    /// `UNKNOWN`.
    async fn record(&self, id: RequestId) -> Result<Arc<Record>, Failure> {
        if let Some(record) = self.peek(id) {
            return Ok(record);
        }
        match self.store.request(id).await {
            Ok(record) => Ok(Arc::new(record)),
            Err(StoreError::NotFound) => Err(unknown()),
            Err(error) => Err(from_store(error)),
        }
    }
}
