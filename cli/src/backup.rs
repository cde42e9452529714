//! Backup files: one share of one key, for the holders of recovery keys, checkable by everybody.
//!
//! | module | holds |
//! |---|---|
//! | [`file`](mod@file) | the file: its one text form, what it must prove |
//! | [`recovery`] | the recovery key, in a file of its own |
//! | [`words`] | a recovery key in printed parts |

pub mod file;
pub mod recovery;
pub mod words;

use mpc_core::{backup::BackupError, keys::PublicKeyPackage};

use crate::fail::{Exit, Fail};

/// Why a backup was not made, not believed or not restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not the text that `backup create` writes.
    #[error("not a backup file: {0}")]
    Malformed(String),
    /// The node's signature over the file does not hold.
    #[error("the file was changed after node {0} signed it")]
    Changed(u16),
    /// Made in another cluster.
    #[error("the backup is of cluster {0}")]
    ForeignCluster(String),
    /// The cluster file knows no such node.
    #[error("node {0} of the cluster file has other keys than the node that made this backup")]
    ForeignNode(u16),
    /// What the file says in words is not what its public key package says.
    #[error("the line {0} does not agree with the public key package in the file")]
    Contradiction(&'static str),
    /// Another key than the one it was held against.
    #[error("the backup is of key {0}, which is not the expected one")]
    WrongKey(String),
    /// The share is of a sharing that was replaced.
    #[error(
        "the backup is of epoch {epoch} attempt {attempt}; the key is at epoch {known_epoch} attempt {known_attempt}"
    )]
    Stale {
        /// Epoch of the backup.
        epoch: u32,
        /// Attempt of the backup.
        attempt: u32,
        /// Epoch that is known.
        known_epoch: u32,
        /// Attempt that is known.
        known_attempt: u32,
    },
    /// The same epoch and attempt, and another sharing.
    #[error("the backup is of another sharing of epoch {0} than the one that is known")]
    OtherSharing(u32),
    /// It does not prove to hold the share.
    #[error("the part for recovery key {recovery} does not prove that it holds the share: {why}")]
    Unproven {
        /// The recovery key.
        recovery: String,
        /// What failed.
        why: BackupError,
    },
    /// Not encrypted to this recovery key.
    #[error("the backup was not made for recovery key {0}")]
    NotFor(String),
    /// The recovery key does not open what is encrypted to it.
    #[error("the recovery key does not open the backup: {0}")]
    Unopened(BackupError),
    /// A file that is not a recovery key.
    #[error("not a recovery key file: {0}")]
    NoRecoveryKey(String),
    /// The passphrase of the recovery key is another one.
    #[error("the passphrase does not open the recovery key")]
    WrongPassphrase,
    /// The recovery key is under a passphrase, and none was given.
    #[error("the recovery key is under a passphrase")]
    PassphraseMissing,
    /// A printed part that does not read.
    #[error("{0}")]
    Part(#[from] words::PartProblem),
}

impl Problem {
    /// What to do next.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Malformed(_)
            | Self::Changed(_)
            | Self::Contradiction(_)
            | Self::Unproven { .. } => {
                "do not rely on this file: fetch it again as it was written, or make a new backup on the node"
            }
            Self::ForeignCluster(_) | Self::ForeignNode(_) => {
                "give the cluster.toml of that cluster with --cluster, or the backup of this one"
            }
            Self::WrongKey(_) => "files were mixed up: look for the backup of the right key",
            Self::Stale { .. } => {
                "use a backup of the current epoch; a node without one comes back by `quorate node replace`"
            }
            Self::OtherSharing(_) => {
                "stop and compare the files of all nodes: two sharings of one epoch must not exist"
            }
            Self::NotFor(_) | Self::Unopened(_) => {
                "the file lists the recovery keys that open it; use one of them"
            }
            Self::NoRecoveryKey(_) => "give the file that `quorate backup keygen` or `join` wrote",
            Self::WrongPassphrase => "check which passphrase this recovery key was made with",
            Self::PassphraseMissing => "name the file that holds it with --passphrase",
            Self::Part(_) => "compare the words with the paper, then try again",
        }
    }
}

impl From<Problem> for Fail {
    fn from(problem: Problem) -> Self {
        let exit = match &problem {
            Problem::Changed(_)
            | Problem::Contradiction(_)
            | Problem::Unproven { .. }
            | Problem::OtherSharing(_) => Exit::Security,
            Problem::Stale { .. } => Exit::Conflict,
            Problem::NotFor(_)
            | Problem::Unopened(_)
            | Problem::WrongPassphrase
            | Problem::PassphraseMissing => Exit::NotAuthorised,
            _ => Exit::Invalid,
        };
        Self::new(exit, &problem).hint(problem.hint())
    }
}

/// Refuses a package that is not the known one, or is of a sharing that the known one has replaced.
///
/// # Errors
/// [`Problem::WrongKey`], [`Problem::Stale`] (also for a known package that is older: one of the two is out of date),
/// [`Problem::OtherSharing`].
pub fn compare(found: &PublicKeyPackage, known: &PublicKeyPackage) -> Result<(), Problem> {
    if found.key_id() != known.key_id() || found.public_key() != known.public_key() {
        return Err(Problem::WrongKey(found.key_id().to_string()));
    }
    let place = |package: &PublicKeyPackage| (package.epoch(), package.attempt());
    if place(found) != place(known) {
        return Err(Problem::Stale {
            epoch: found.epoch().0,
            attempt: found.attempt().0,
            known_epoch: known.epoch().0,
            known_attempt: known.attempt().0,
        });
    }
    if found == known {
        Ok(())
    } else {
        Err(Problem::OtherSharing(found.epoch().0))
    }
}
