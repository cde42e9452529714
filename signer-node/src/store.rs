//! The node's durable state: one SQLite file, one process, one writer thread.
//!
//! Every table but `meta` and `sealed` is an append-only log. Each row carries a tag over its table, number, key, body and
//! the tag of the row before; the `head` record says where every log starts and ends and is authenticated too. A row that
//! was changed, removed, added or moved is found at start, and the node refuses to run rather than guess. What no local
//! check can find is the replacement of the whole file by an older one; nonces are therefore never stored at all.
//!
//! Jobs are committed in groups: one transaction, one fsync, then all replies. See [`Store::commit`].

mod head;
mod open;
mod writer;

use core::fmt;
use std::path::{Path, PathBuf};

use tokio::sync::oneshot;

use crate::clock::Mark;
use crate::seal::{Label, SealError};

pub use open::{Contents, Row};

/// Decodes and encodes the body of the head record, for [`crate::fuzzing`].
#[cfg(feature = "fuzzing")]
pub(crate) fn recode_head(body: &[u8]) -> Option<Vec<u8>> {
    let head = head::Head::decode_body(body).ok()?;
    Some(head.encode_body())
}

/// An append-only log of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Table {
    /// Key generations: pending shares, certificates.
    Ceremonies,
    /// Pool entries that were spent, with what they were spent on.
    Entries,
    /// Freeze and unfreeze orders.
    Freezes,
    /// Announced intents with the time they were first seen.
    Intents,
    /// Debits and released shares.
    Ledger,
    /// What became of the setups with other nodes: prepared, active, poisoned.
    Pairs,
    /// Installed policy documents with their signatures.
    Policies,
    /// First session ids of key generations, reshares and runs of preprocessing this node ever joined.
    Replay,
    /// Sharings of keys: prepared, certified, retired.
    Sharings,
}

impl Table {
    /// All tables, in the order of the head record.
    pub const ALL: [Self; 9] = [
        Self::Ceremonies,
        Self::Entries,
        Self::Freezes,
        Self::Intents,
        Self::Ledger,
        Self::Pairs,
        Self::Policies,
        Self::Replay,
        Self::Sharings,
    ];

    /// The table's name in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ceremonies => "ceremonies",
            Self::Entries => "entries",
            Self::Freezes => "freezes",
            Self::Intents => "intents",
            Self::Ledger => "ledger",
            Self::Pairs => "pairs",
            Self::Policies => "policies",
            Self::Replay => "replay",
            Self::Sharings => "sharings",
        }
    }
}

/// One change of the store.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Adds a row at the end of a log; the key must be new in that log.
    Append {
        /// The log.
        table: Table,
        /// Unique within the log.
        key: Vec<u8>,
        /// What the row says.
        body: Vec<u8>,
    },
    /// Writes a sealed record, in place of an older one of the same label.
    Seal {
        /// The record's label.
        label: Label,
        /// As made by [`crate::seal::Vault::seal`].
        record: Vec<u8>,
    },
    /// Removes a sealed record.
    Erase {
        /// The record's label.
        label: Label,
    },
    /// Removes the rows of a log up to and including a number.
    Prune {
        /// The log.
        table: Table,
        /// The last row to go.
        through: u64,
    },
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Append { table, key, .. } => {
                write!(f, "Append({}, {})", table.name(), hex::encode(key))
            }
            Self::Seal { label, .. } => write!(f, "Seal({label})"),
            Self::Erase { label } => write!(f, "Erase({label})"),
            Self::Prune { table, through } => write!(f, "Prune({}, {through})", table.name()),
        }
    }
}

/// Why the store cannot be used, or did not take a change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has the store open.
    #[error("{} is in use by another process; a share must never be active twice", .0.display())]
    Busy(PathBuf),
    /// A row with this key exists already.
    #[error("a row with this key is already in {table}")]
    Conflict {
        /// The log.
        table: &'static str,
    },
    /// What is stored is not what was written.
    #[error(
        "store damaged in {table}, row {row}: {what}; restore this node's own backup or rebuild the node, do not edit the file"
    )]
    Damaged {
        /// The table.
        table: &'static str,
        /// The row, or 0 for the table as a whole.
        row: u64,
        /// What was found.
        what: String,
    },
    /// A store is there already.
    #[error("{} exists; a new node needs an empty place", .0.display())]
    Exists(PathBuf),
    /// The file is missing or unreadable.
    #[error("{}: {reason}", .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A sealed record or the data key did not open.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The disk is full or failing; nothing of the change was written.
    #[error(
        "the store cannot be written ({reason}); free space or repair the disk, then ask again"
    )]
    Unavailable {
        /// What the system said.
        reason: String,
    },
}

/// Evidence that a group of changes is on disk: only the writer makes one, after the commit.
#[derive(Debug)]
pub struct Receipt {
    appended: Vec<(Table, Vec<u8>)>,
    sealed: Vec<Label>,
}

impl Receipt {
    /// Whether this commit wrote that row.
    #[must_use]
    pub fn wrote(&self, table: Table, key: &[u8]) -> bool {
        self.appended
            .iter()
            .any(|(written, row)| *written == table && row == key)
    }

    /// Whether this commit wrote that sealed record.
    #[must_use]
    pub fn sealed(&self, label: &Label) -> bool {
        self.sealed.contains(label)
    }

    fn of(changes: &[Change]) -> Self {
        let mut receipt = Self {
            appended: Vec::new(),
            sealed: Vec::new(),
        };
        for change in changes {
            match change {
                Change::Append { table, key, .. } => receipt.appended.push((*table, key.clone())),
                Change::Seal { label, .. } => receipt.sealed.push(*label),
                Change::Erase { .. } | Change::Prune { .. } => {}
            }
        }
        receipt
    }
}

/// A handle to the writer; cheap to clone.
#[derive(Clone)]
pub struct Store {
    jobs: std::sync::mpsc::Sender<writer::Job>,
    directory: PathBuf,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Queues changes that become durable together or not at all; the answer comes after the fsync.
    ///
    /// `mark` is the time of the change; the stored clock never goes back.
    pub fn commit(&self, changes: Vec<Change>, mark: Mark) -> Pending {
        let (reply, answer) = oneshot::channel();
        // A failed send drops the reply, and the answer says that the writer is gone.
        let _ = self.jobs.send(writer::Job {
            changes,
            mark,
            reply,
        });
        Pending(answer)
    }

    /// Free bytes on the store's file system for this user; 0 if the system does not say.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        rustix::fs::statvfs(&self.directory)
            .map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// A change on its way to the disk.
#[derive(Debug)]
#[must_use = "a change is durable only once this has answered"]
pub struct Pending(oneshot::Receiver<Result<Receipt, StoreError>>);

impl Pending {
    /// Waits until the change is on disk.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] or [`StoreError::Unavailable`]; nothing was written then.
    pub async fn durable(self) -> Result<Receipt, StoreError> {
        self.0.await.unwrap_or_else(|_| Err(gone()))
    }

    /// As [`Self::durable`], for a thread that may block.
    ///
    /// # Errors
    /// As [`Self::durable`].
    pub fn durable_blocking(self) -> Result<Receipt, StoreError> {
        self.0.blocking_recv().unwrap_or_else(|_| Err(gone()))
    }
}

fn gone() -> StoreError {
    StoreError::Unavailable {
        reason: "the writer has stopped".to_owned(),
    }
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}
