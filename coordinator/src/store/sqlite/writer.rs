//! The one thread that writes: it takes every job that waits, runs each in its own savepoint and commits them together,
//! so that many requests share one flush to disk.

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::mpsc;

use super::{StoreError, unavailable};

/// Jobs in one commit at most; bounds how long the first of them waits.
const GROUP: usize = 128;

/// Tells the caller of a job how it ended, once the commit has succeeded or failed. A caller whose job is dropped
/// before it ran learns that from its closed channel.
pub(super) type Finish = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Runs inside the transaction; the flag says whether its changes are to be kept.
pub(super) type Job = Box<dyn FnOnce(&Connection) -> (bool, Finish) + Send>;

/// Runs until every sender is gone.
pub(super) fn run(mut connection: Connection, mut jobs: mpsc::Receiver<Job>) {
    let mut finished: Vec<Finish> = Vec::with_capacity(GROUP);
    while let Some(first) = jobs.blocking_recv() {
        let outcome = commit_group(&mut connection, first, &mut jobs, &mut finished);
        if let Err(error) = &outcome {
            tracing::error!(%error, jobs = finished.len(), "a group of steps was not stored");
        }
        for finish in finished.drain(..) {
            finish(outcome.clone());
        }
    }
}

fn commit_group(
    connection: &mut Connection,
    first: Job,
    jobs: &mut mpsc::Receiver<Job>,
    finished: &mut Vec<Finish>,
) -> Result<(), StoreError> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|error| unavailable(&error))?;
    let mut next = Some(first);
    while let Some(job) = next {
        run_one(&transaction, job, finished)?;
        next = if finished.len() < GROUP {
            jobs.try_recv().ok()
        } else {
            None
        };
    }
    transaction.commit().map_err(|error| unavailable(&error))
}

fn run_one(
    connection: &Connection,
    job: Job,
    finished: &mut Vec<Finish>,
) -> Result<(), StoreError> {
    let statement = |sql| {
        connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute([]))
            .map_err(|error| unavailable(&error))
    };
    statement("SAVEPOINT job")?;
    let (keep, finish) = job(connection);
    finished.push(finish);
    if !keep {
        statement("ROLLBACK TO job")?;
    }
    statement("RELEASE job")?;
    Ok(())
}
