//! The store in one SQLite file: write-ahead log, flushed at every commit, one writing thread, one process.

use std::{
    fs::{File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use futures_util::FutureExt as _;
use prost::bytes::Bytes;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::{
    Answer, Decided, EventRow, EvidenceRow, FailedSet, Filter, Judge, Judgement, KeyOrderRow,
    KeyRow, KeyStep, Move, NewApproval, NewRequest, OrderRow, PolicyRow, Reach, Record, RequestId,
    SharingRow, Store, StoreError,
};

mod ledger;
mod lifecycle;
mod requests;
mod rows;
mod trail;
mod writer;

/// Applied in order, once each; `user_version` counts those that are in.
const MIGRATIONS: &[&str] = &[
    include_str!("sqlite/schema.sql"),
    include_str!("sqlite/held.sql"),
    include_str!("sqlite/failed_set.sql"),
    include_str!("sqlite/lifecycle.sql"),
];

/// Steps that wait for the writer; further callers wait for room.
const QUEUE: usize = 4_096;

/// Reading connections kept for reuse.
const READERS: usize = 4;

/// A store in one SQLite file. Dropping it finishes the steps that were accepted and closes the file.
pub struct Sqlite {
    jobs: Option<mpsc::Sender<writer::Job>>,
    thread: Option<JoinHandle<()>>,
    readers: Arc<Readers>,
    _lock: File,
}

struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl core::fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Sqlite")
            .field("path", &self.readers.path)
            .finish_non_exhaustive()
    }
}

fn unavailable(error: &dyn core::fmt::Display) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error {
            rusqlite::Error::QueryReturnedNoRows => Self::NotFound,
            other => unavailable(&other),
        }
    }
}

/// SQLite keeps signed numbers; none of ours reaches 2^63.
fn to_sql(value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| StoreError::Damaged("a number is above 2^63"))
}

fn from_sql(value: i64) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| StoreError::Damaged("a number is negative"))
}

fn id_from_sql(bytes: &[u8]) -> Result<RequestId, StoreError> {
    let bytes: [u8; 32] = bytes
        .try_into()
        .map_err(|_| StoreError::Damaged("an id is not 32 bytes"))?;
    Ok(RequestId::from_bytes(bytes))
}

impl Sqlite {
    /// Opens or creates the file, brings its tables up to date and takes the process lock `<path>.lock`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if another process holds the lock or the file cannot be used;
    /// [`StoreError::Damaged`] if a newer version of this software wrote it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let lock = lock(path)?;
        let connection = connect(path)?;
        let (jobs, receiver) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || writer::run(connection, receiver))
            .map_err(|error| unavailable(&error))?;
        let readers = Readers {
            path: path.to_path_buf(),
            idle: Mutex::new(Vec::new()),
        };
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
            readers: Arc::new(readers),
            _lock: lock,
        })
    }

    /// Runs `work` in the next group of steps; answers when the group is on disk.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (sender, receiver) = oneshot::channel();
        let job: writer::Job = Box::new(move |connection| {
            let result = work(connection);
            let keep = result.is_ok();
            let finish: writer::Finish = Box::new(move |stored| {
                // A caller that has gone away needs no answer; the step stands either way.
                let _gone = sender.send(stored.and(result));
            });
            (keep, finish)
        });
        let closed = || StoreError::Unavailable("the step was not stored".into());
        let jobs = self.jobs.as_ref().ok_or_else(closed)?;
        jobs.send(job).await.map_err(|_| closed())?;
        receiver.await.map_err(|_| closed())?
    }

    /// Runs `work` on a reading connection, away from the asynchronous threads.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let readers = Arc::clone(&self.readers);
        tokio::task::spawn_blocking(move || {
            let connection = readers.take()?;
            let transaction = connection.unchecked_transaction()?;
            let result = work(&transaction);
            drop(transaction);
            readers.give_back(connection);
            result
        })
        .await
        .map_err(|error| unavailable(&error))?
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the writing thread of the store ended badly");
        }
    }
}

impl Readers {
    fn take(&self) -> Result<Connection, StoreError> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        if let Some(connection) = idle {
            return Ok(connection);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        Ok(connection)
    }

    fn give_back(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < READERS {
            idle.push(connection);
        }
    }
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&name)
        .map_err(|error| {
            StoreError::Unavailable(format!("{}: {error}", Path::new(&name).display()))
        })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Unavailable(format!(
            "{} is in use by another process; stop it first",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(unavailable(&error)),
    }
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let mut connection = Connection::open(path)
        .map_err(|error| StoreError::Unavailable(format!("{}: {error}", path.display())))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(64);
    let done: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let done = usize::try_from(done).map_err(|_| StoreError::Damaged("its version is negative"))?;
    if done > MIGRATIONS.len() {
        return Err(StoreError::Damaged(
            "it was written by a newer version of this software",
        ));
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    for migration in MIGRATIONS.iter().skip(done) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", to_sql(MIGRATIONS.len() as u64)?)?;
    transaction.commit()?;
    Ok(connection)
}

impl Store for Sqlite {
    fn submit(
        &self,
        new: NewRequest,
        judge: Judge,
        reach: Reach,
        now_ms: u64,
    ) -> Answer<'_, Decided> {
        self.write(move |db| requests::submit(db, &new, &judge, reach, now_ms))
            .boxed()
    }

    fn decide(
        &self,
        id: RequestId,
        approval: Option<NewApproval>,
        judge: Judge,
        reach: Reach,
        now_ms: u64,
    ) -> Answer<'_, Decided> {
        self.write(move |db| requests::decide(db, id, approval.as_ref(), &judge, reach, now_ms))
            .boxed()
    }

    fn advance(&self, id: RequestId, step: Move) -> Answer<'_, Record> {
        self.write(move |db| requests::advance(db, id, step))
            .boxed()
    }

    fn weigh(&self, id: RequestId, judge: Judge, now_ms: u64) -> Answer<'_, Judgement> {
        self.read(move |db| requests::weigh(db, id, &judge, now_ms))
            .boxed()
    }

    fn request(&self, id: RequestId) -> Answer<'_, Record> {
        self.read(move |db| requests::load(db, id)).boxed()
    }

    fn list(&self, filter: Filter) -> Answer<'_, Vec<Record>> {
        self.read(move |db| requests::list(db, &filter)).boxed()
    }

    fn live(&self) -> Answer<'_, Vec<Record>> {
        self.read(requests::live).boxed()
    }

    fn add_receipt(&self, id: RequestId, node: u16, receipt: Bytes, now_ms: u64) -> Answer<'_, ()> {
        self.write(move |db| requests::add_receipt(db, id, node, &receipt, now_ms))
            .boxed()
    }

    fn add_policy(&self, row: PolicyRow) -> Answer<'_, ()> {
        self.write(move |db| rows::add_policy(db, row)).boxed()
    }

    fn policies(&self) -> Answer<'_, Vec<PolicyRow>> {
        self.read(rows::policies).boxed()
    }

    fn add_order(&self, row: OrderRow, kind: &'static str) -> Answer<'_, ()> {
        self.write(move |db| rows::add_order(db, row, kind)).boxed()
    }

    fn orders(&self) -> Answer<'_, Vec<OrderRow>> {
        self.read(rows::orders).boxed()
    }

    fn add_key(&self, row: KeyRow) -> Answer<'_, ()> {
        self.write(move |db| rows::add_key(db, &row)).boxed()
    }

    fn step_key(&self, request_id: [u8; 32], step: KeyStep, now_ms: u64) -> Answer<'_, KeyRow> {
        self.write(move |db| rows::step_key(db, &request_id, &step, now_ms))
            .boxed()
    }

    fn keys(&self) -> Answer<'_, Vec<KeyRow>> {
        self.read(rows::keys).boxed()
    }

    fn add_evidence(&self, row: EvidenceRow) -> Answer<'_, ()> {
        self.write(move |db| rows::add_evidence(db, &row)).boxed()
    }

    fn evidence(&self) -> Answer<'_, Vec<EvidenceRow>> {
        self.read(rows::evidence).boxed()
    }

    fn put_key_order(&self, row: KeyOrderRow) -> Answer<'_, ()> {
        self.write(move |db| lifecycle::put_order(db, &row)).boxed()
    }

    fn key_orders(&self, limit: u32) -> Answer<'_, Vec<KeyOrderRow>> {
        self.read(move |db| lifecycle::orders(db, limit)).boxed()
    }

    fn add_sharing(&self, row: SharingRow) -> Answer<'_, ()> {
        self.write(move |db| lifecycle::add_sharing(db, &row))
            .boxed()
    }

    fn sharings(&self) -> Answer<'_, Vec<SharingRow>> {
        self.read(lifecycle::sharings).boxed()
    }

    fn set_drained(&self, node: u16, drained: bool, now_ms: u64) -> Answer<'_, ()> {
        self.write(move |db| lifecycle::set_drained(db, node, drained, now_ms))
            .boxed()
    }

    fn drained(&self) -> Answer<'_, Vec<u16>> {
        self.read(lifecycle::drained).boxed()
    }

    fn count_failure(
        &self,
        signers: Vec<u16>,
        request: Option<RequestId>,
        now_ms: u64,
    ) -> Answer<'_, u32> {
        self.write(move |db| rows::count_failure(db, &signers, request, now_ms))
            .boxed()
    }

    fn failed_sets(&self) -> Answer<'_, Vec<FailedSet>> {
        self.read(rows::failed_sets).boxed()
    }

    fn note(
        &self,
        kind: &'static str,
        request: Option<RequestId>,
        detail: serde_json::Value,
        now_ms: u64,
    ) -> Answer<'_, ()> {
        self.write(move |db| trail::append(db, kind, request, &detail, now_ms))
            .boxed()
    }

    fn events(&self, after: u64, limit: u32) -> Answer<'_, Vec<EventRow>> {
        self.read(move |db| trail::list(db, after, limit)).boxed()
    }

    fn begin(&self, now_ms: u64) -> Answer<'_, u64> {
        self.write(move |db| rows::begin(db, now_ms)).boxed()
    }
}
