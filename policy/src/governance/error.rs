//! Why a change of the policy, a freeze or an unfreeze is refused.

use crate::document::{DocumentError, PolicyHash};
use crate::governance::Change;
use crate::id::{ClusterId, PolicyId};
use crate::statement::{SignatureError, TimingError};
use crate::time::format_utc;

/// Why a document is not installed. What is in force stays in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GovernanceError {
    /// This very document is installed already; nothing is left to do.
    #[error("policy version {version} with this hash is installed already")]
    AlreadyInstalled {
        /// Its version.
        version: u64,
    },
    /// The document does not read.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A later document without one in force.
    #[error("version {version} was offered first; a chain starts with version 1")]
    NotFirst {
        /// The version offered.
        version: u64,
    },
    /// Another change waits for its delay, and this one is not a tightening that could take its place.
    #[error(
        "version {version} waits to come into force at {}; until then only a tightening of the version in force is accepted",
        format_utc(*effective_ms)
    )]
    Pending {
        /// The version that waits.
        version: u64,
        /// When it comes into force, Unix milliseconds.
        effective_ms: u64,
    },
    /// The document continues another one.
    #[error("the document continues {found}, in force is {expected}")]
    PrevHash {
        /// The hash in force.
        expected: PolicyHash,
        /// The hash it names.
        found: PolicyHash,
    },
    /// Not enough of the right people signed.
    #[error("a {change} needs {}{}", missing.join(" and "), listed(ignored))]
    Quorum {
        /// What sort of change it is.
        change: Change,
        /// What is missing.
        missing: Vec<String>,
        /// The signatures that were handed in and do not count, with the reason.
        ignored: Vec<String>,
    },
    /// Nobody who governs the document in force signed.
    #[error(
        "nobody who may change the policy in force signed this document{}",
        listed(ignored)
    )]
    Unsigned {
        /// The signatures that were handed in and do not count, with the reason.
        ignored: Vec<String>,
    },
    /// The version is not the next one: an older document again (attack A94), or one that skips.
    #[error("version {found} was offered; the next version is {expected}")]
    Version {
        /// The next version.
        expected: u64,
        /// The version offered.
        found: u64,
    },
    /// The document is for another cluster.
    #[error("the document is for cluster {found}, this is {expected}")]
    WrongCluster {
        /// This cluster.
        expected: ClusterId,
        /// The cluster it names.
        found: ClusterId,
    },
    /// The document belongs to another chain.
    #[error("the document belongs to policy {found}, this is {expected}")]
    WrongPolicy {
        /// The chain in force.
        expected: PolicyId,
        /// The chain it names.
        found: PolicyId,
    },
}

/// Why a freeze or an unfreeze is refused. The state stays as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FreezeError {
    /// The signer is in none of the groups that may freeze.
    #[error("{name} is in none of the groups that may freeze")]
    NotEntitled {
        /// The name.
        name: String,
    },
    /// Nothing is frozen.
    #[error("signing is not stopped; there is nothing to resume")]
    NotFrozen,
    /// Not enough of the right people signed.
    #[error("an unfreeze needs {}{}", missing.join(" and "), listed(ignored))]
    Quorum {
        /// What is missing.
        missing: Vec<String>,
        /// The signatures that were handed in and do not count, with the reason.
        ignored: Vec<String>,
    },
    /// The same statement was followed before.
    #[error("this freeze was followed before; sign a new one")]
    Replayed,
    /// The signature is not the signer's.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The wait before resumption has begun already.
    #[error("signing resumes at {}; there is nothing more to order", format_utc(*resumes_ms))]
    Thawing {
        /// When it resumes, Unix milliseconds.
        resumes_ms: u64,
    },
    /// The statement is not in force.
    #[error(transparent)]
    Timing(#[from] TimingError),
    /// The policy has no such person or credential.
    #[error("the policy has no credential {credential} of {name}")]
    UnknownSigner {
        /// The name.
        name: String,
        /// The credential.
        credential: String,
    },
    /// The statement is for another cluster.
    #[error("the statement is for another cluster")]
    WrongCluster,
    /// The statement is of another kind.
    #[error("the statement is no {expected}")]
    WrongKind {
        /// What is due: `freeze` or `unfreeze`.
        expected: &'static str,
    },
}

pub(super) fn listed(ignored: &[String]) -> String {
    if ignored.is_empty() {
        String::new()
    } else {
        format!("; not counted: {}", ignored.join(", "))
    }
}
