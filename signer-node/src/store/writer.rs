//! The writer thread: many changes, one transaction, one fsync, then the answers.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::oneshot;

use super::head::Head;
use super::open::{apply, failed, put_head};
use super::{Change, Receipt, Store, StoreError};
use crate::clock::Mark;
use crate::seal::{Kind, Vault};

/// At most so many jobs share a transaction, so that no answer waits for long.
const MAX_GROUP: usize = 256;

/// Changes that belong together, and who waits for them.
pub(super) struct Job {
    pub(super) changes: Vec<Change>,
    pub(super) mark: Mark,
    pub(super) reply: oneshot::Sender<Result<Receipt, StoreError>>,
}

struct Writer {
    connection: Connection,
    vault: Arc<Vault>,
    head: Head,
    /// Something secret was removed, and copies of its pages may still stand in the write-ahead log.
    unwiped: bool,
    // Declared last: the process lock goes after the connection is closed.
    _lock: File,
}

pub(super) fn start(
    connection: Connection,
    lock: File,
    vault: Arc<Vault>,
    head: Head,
    directory: PathBuf,
) -> Result<Store, StoreError> {
    let (sender, receiver): (Sender<Job>, Receiver<Job>) = channel();
    let mut writer = Writer {
        connection,
        vault,
        head,
        unwiped: true,
        _lock: lock,
    };
    std::thread::Builder::new()
        .name("store".to_owned())
        .spawn(move || {
            while let Ok(first) = receiver.recv() {
                let mut group = vec![first];
                group.extend(receiver.try_iter().take(MAX_GROUP.saturating_sub(1)));
                writer.serve(group);
            }
        })
        .map_err(|error| StoreError::Unavailable {
            reason: error.to_string(),
        })?;
    Ok(Store {
        jobs: sender,
        directory,
    })
}

impl Writer {
    fn serve(&mut self, group: Vec<Job>) {
        if self.write(&group).is_ok() {
            self.wipe();
            for job in group {
                answer(job, None);
            }
            return;
        }
        // Nothing of the group was written. One bad job must not fail the others: each goes alone.
        for job in group {
            let outcome = self.write(core::slice::from_ref(&job)).err();
            self.wipe();
            answer(job, outcome);
        }
    }

    /// Empties the write-ahead log after something secret was removed: the database file has been overwritten with zeros there. Whoever
    /// reads the store at this moment may delay it until the next change.
    fn wipe(&mut self) {
        if !self.unwiped {
            return;
        }
        let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
        let busy = self
            .connection
            .query_row(checkpoint, [], |row| row.get::<_, i64>(0));
        match busy {
            Ok(0) => self.unwiped = false,
            Ok(_) => tracing::debug!(
                "a reader keeps old pages of the store; they go with the next change"
            ),
            Err(error) => {
                tracing::warn!(%error, "the write-ahead log of the store could not be emptied");
            }
        }
    }

    /// Returns only after the commit is on disk; on an error nothing was written and the head is as before.
    fn write(&mut self, group: &[Job]) -> Result<(), StoreError> {
        let mut head = self.head.clone();
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| failed(&error))?;
        for job in group {
            for change in &job.changes {
                apply(&transaction, &mut head, &self.vault, change)?;
            }
            if head
                .mark
                .is_none_or(|mark| mark.wall_ms <= job.mark.wall_ms)
            {
                head.mark = Some(job.mark);
            }
        }
        put_head(&transaction, &head, &self.vault)?;
        transaction.commit().map_err(|error| failed(&error))?;
        self.head = head;
        self.unwiped |= group.iter().flat_map(|job| &job.changes).any(is_erasure);
        Ok(())
    }
}

/// Whether a change removes something that must not be found again.
const fn is_erasure(change: &Change) -> bool {
    let Change::Erase { label } = change else {
        return false;
    };
    matches!(
        label.kind,
        Kind::Pair | Kind::Pending | Kind::Prepared | Kind::Share
    )
}

fn answer(job: Job, error: Option<StoreError>) {
    let outcome = error.map_or_else(|| Ok(Receipt::of(&job.changes)), Err);
    // Whoever asked may have given up waiting; the change is durable all the same.
    let _ = job.reply.send(outcome);
}
