//! Why a coordinator does not start or stops, and what a failed step of the store means to a caller.

use proto::v1::{Failure, FailureCode};

use crate::store::StoreError;

/// Why a coordinator does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The cluster file cannot be used.
    #[error("{path}: {message}")]
    Cluster {
        /// The file.
        path: String,
        /// Everything wrong with it.
        message: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address of the configuration.
        address: std::net::SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// What is stored does not fit the cluster file: another cluster's store, or a changed genesis.
    #[error("the store does not belong to this cluster file: {0}")]
    Mismatch(String),
    /// The server stopped by itself.
    #[error("the server stopped: {0}")]
    Server(#[source] tonic::transport::Error),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Certificates or keys cannot be used.
    #[error("tls: {0}")]
    Tls(String),
}

/// What a failed step of the store means to a caller.
pub(crate) fn store_failure(error: &StoreError) -> Failure {
    match error {
        StoreError::Conflict { .. } => Failure::new(FailureCode::Conflict, error.to_string())
            .hint("the same key always stands for the same intent; use a fresh key for a new one"),
        StoreError::Full { .. } => Failure::new(FailureCode::Limit, error.to_string())
            .hint("wait until some have ended, then send the same bytes again"),
        StoreError::NotFound => unknown(),
        StoreError::Unavailable(_) => {
            Failure::new(FailureCode::Unavailable, "the store is not available")
                .hint("send the same bytes again; see the coordinator's log")
        }
        StoreError::WrongState { found } => Failure::new(
            FailureCode::Conflict,
            format!("the request is {found}, which does not allow this"),
        )
        .hint("look at the request"),
        StoreError::Damaged(_) => Failure::new(FailureCode::Internal, "the store is damaged")
            .hint("stop the coordinator and look at its log"),
    }
}

/// The one answer about whatever the caller cannot know of: nothing tells a wrong id from another's.
pub(crate) fn unknown() -> Failure {
    Failure::new(FailureCode::Unknown, "not found").hint("check the id")
}

/// Logs what a caller is not told.
#[expect(clippy::needless_pass_by_value, reason = "made for `map_err`")]
pub(crate) fn from_store(error: StoreError) -> Failure {
    if matches!(error, StoreError::Unavailable(_) | StoreError::Damaged(_)) {
        tracing::error!(%error, "a step of the store failed");
    }
    store_failure(&error)
}
