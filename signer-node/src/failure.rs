//! Why a call was refused: a code the coordinator can act on, words for people, never a secret.

use proto::v1::{Failure, FailureCode, Sharing};

use crate::clock::ClockFault;
use crate::store::StoreError;

/// A refusal of one call.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal(pub(crate) Box<Failure>);

impl Refusal {
    pub(crate) fn new(code: FailureCode, message: impl Into<String>, hint: &str) -> Self {
        Self(Box::new(Failure {
            code: code.into(),
            message: message.into(),
            hint: hint.to_owned(),
            ..Failure::default()
        }))
    }

    pub(crate) fn malformed(what: impl core::fmt::Display) -> Self {
        Self::new(
            FailureCode::Malformed,
            format!("cannot read the call: {what}"),
            "do not send the same bytes again",
        )
    }

    pub(crate) fn version(got: u32) -> Self {
        let message = format!(
            "frame version {got} is not {}",
            crate::engine::FRAME_VERSION
        );
        Self::new(FailureCode::Version, message, "upgrade the older side")
    }

    pub(crate) fn unknown(what: impl core::fmt::Display) -> Self {
        Self::new(
            FailureCode::Unknown,
            format!("{what} is not known to this node"),
            "ask for the node's status",
        )
    }

    pub(crate) fn denied(message: impl Into<String>) -> Self {
        Self::new(
            FailureCode::Denied,
            message,
            "this request will not be signed by this node",
        )
    }

    pub(crate) fn stale(message: impl Into<String>) -> Self {
        Self::new(
            FailureCode::Stale,
            message,
            "fetch fresh commitments and try again",
        )
    }

    pub(crate) fn unavailable(message: impl Into<String>, hint: &str) -> Self {
        Self::new(FailureCode::Unavailable, message, hint)
    }

    pub(crate) fn internal(message: impl core::fmt::Display) -> Self {
        Self::new(
            FailureCode::Internal,
            format!("internal error: {message}"),
            "report this; see the node's log",
        )
    }

    pub(crate) fn with_reasons(mut self, reasons: Vec<String>) -> Self {
        self.0.reasons = reasons;
        self
    }

    /// Names the sharing that is active at this node.
    pub(crate) fn with_sharing(mut self, sharing: Sharing) -> Self {
        self.0.sharing = Some(sharing);
        self
    }

    pub(crate) fn with_culprits(mut self, culprits: Vec<u32>) -> Self {
        self.0.culprits = culprits;
        self
    }

    /// The code the coordinator acts on.
    #[must_use]
    pub fn code(&self) -> FailureCode {
        self.0.code()
    }
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", self.0.message)
    }
}

impl core::error::Error for Refusal {}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self(Box::new(failure))
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        *refusal.0
    }
}

impl From<ClockFault> for Refusal {
    fn from(fault: ClockFault) -> Self {
        Self::unavailable(
            fault.to_string(),
            "set this node's clock right; it then goes on by itself",
        )
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict { table } => Self::new(
                FailureCode::Replayed,
                format!("already recorded in {table}"),
                "ask for the node's status",
            ),
            StoreError::Unavailable { .. } => {
                Self::unavailable(error.to_string(), "try again later")
            }
            StoreError::Seal(_) => Self::internal("a secret could not be sealed"),
            StoreError::Busy(_)
            | StoreError::Damaged { .. }
            | StoreError::Exists(_)
            | StoreError::Missing { .. } => Self::internal(error),
        }
    }
}
