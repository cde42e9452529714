//! Errors, sorted by what the caller does next.

use std::{fmt, path::PathBuf};

use proto::v1;

use crate::status::{Needs, Reason, State};

/// Why a call gave no result.
///
/// The outer variant is the decision a backend has to take; the inner one is for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing is wrong: people or time are missing.
    #[error(transparent)]
    Ask(#[from] Ask),
    /// These bytes, this identity or this configuration will never work; correct them first.
    #[error(transparent)]
    Fix(#[from] Fix),
    /// Send exactly the same bytes again, later.
    #[error(transparent)]
    Retry(#[from] Retry),
    /// Never retry: stop, keep the logs and find out why.
    #[error(transparent)]
    Stop(#[from] Stop),
}

/// What people have to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Ask {
    /// The request waits for approvals or for its delay to pass.
    #[error("the request waits: {needs}")]
    Approvals {
        /// What is missing.
        needs: Needs,
    },
    /// The cluster is frozen until a quorum of people lifts it.
    #[error("signing is frozen: {message}")]
    Frozen {
        /// What the service said.
        message: String,
    },
}

/// What the caller has to correct.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fix {
    /// Nobody could read what would be signed, so nobody could decide about it.
    #[error(
        "refused to sign {what}: hand over the whole unsigned transaction instead; a bare digest takes a key whose purpose is raw digests, never one that holds funds"
    )]
    Blind {
        /// What it was.
        what: &'static str,
    },
    /// A local file or setting.
    #[error("{}: {message}", path.display())]
    Config {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The idempotency key belongs to a request with another body.
    #[error("idempotency key is taken by another request: {message}")]
    Conflict {
        /// What the service said.
        message: String,
    },
    /// The policy says no.
    #[error("denied: {}", Reasons(reasons))]
    Denied {
        /// Every reason.
        reasons: Vec<Reason>,
    },
    /// The request ended without a signature; pay again under a new idempotency key.
    #[error("the request ended as {state}: {message}")]
    Ended {
        /// Expired, cancelled or failed.
        state: State,
        /// Why.
        message: String,
    },
    /// The bytes are not what the service reads.
    #[error("malformed: {message}")]
    Malformed {
        /// What and where.
        message: String,
    },
    /// This certificate, role or credential may not ask that.
    #[error("not authorised: {message}")]
    NotAuthorised {
        /// What was asked.
        message: String,
    },
    /// No such request, wallet or key.
    #[error("unknown: {message}")]
    Unknown {
        /// What was looked for.
        message: String,
    },
}

/// Why it may work later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Retry {
    /// The deadline passed while the request was still on its way; it may still be signed.
    #[error("the request is still {state} after {waited_ms} ms")]
    Deadline {
        /// The last state seen.
        state: State,
        /// How long was waited, in milliseconds.
        waited_ms: u64,
    },
    /// The service answered that it cannot now.
    #[error("the service cannot now: {message}")]
    Unavailable {
        /// Why.
        message: String,
    },
    /// No answer.
    #[error("cannot reach {address}: {message}")]
    Unreachable {
        /// Who was called.
        address: String,
        /// Why.
        message: String,
    },
}

/// Why it must not be tried again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Stop {
    /// The returned signature or transaction does not verify.
    #[error(
        "the returned signature is not one of wallet {wallet} over the submitted transaction: {message}"
    )]
    BadSignature {
        /// The wallet.
        wallet: String,
        /// Which check failed.
        message: String,
    },
    /// The cluster stopped for security.
    #[error("the cluster stopped: {message}")]
    Security {
        /// What it said.
        message: String,
        /// Indexes of the nodes it names.
        culprits: Vec<u32>,
    },
    /// The service answered something that no honest service answers.
    #[error("the service's answer contradicts itself: {message}")]
    WrongAnswer {
        /// Which part.
        message: String,
    },
}

struct Reasons<'a>(&'a [Reason]);

impl fmt::Display for Reasons<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, reason) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{reason}")?;
        }
        if self.0.is_empty() {
            f.write_str("no reason given")?;
        }
        Ok(())
    }
}

impl Error {
    /// One line that says what to do next.
    #[must_use]
    pub const fn next_step(&self) -> &'static str {
        match self {
            Self::Ask(Ask::Approvals { .. }) => {
                "ask the approvers named above, or wait for the delay"
            }
            Self::Ask(Ask::Frozen { .. }) => "have a quorum sign an unfreeze",
            Self::Fix(Fix::Blind { .. }) => "hand over the whole unsigned transaction",
            Self::Fix(Fix::Config { .. }) => "correct the file",
            Self::Fix(Fix::Conflict { .. }) => "use a new idempotency key for a new payment",
            Self::Fix(Fix::Denied { .. }) => "change the request, or the policy",
            Self::Fix(Fix::Ended { .. }) => "submit a new request under a new idempotency key",
            Self::Fix(Fix::Malformed { .. }) => "correct the bytes; the same bytes will never work",
            Self::Fix(Fix::NotAuthorised { .. }) => {
                "use a certificate of the right role, or a credential that the policy names"
            }
            Self::Fix(Fix::Unknown { .. }) => "check the name or id",
            Self::Retry(_) => "send exactly the same bytes again later",
            Self::Stop(_) => "do not retry; keep the logs and find out why",
        }
    }

    pub(crate) fn unreachable(address: impl fmt::Display, message: impl fmt::Display) -> Self {
        Retry::Unreachable {
            address: address.to_string(),
            message: message.to_string(),
        }
        .into()
    }

    pub(crate) fn wrong_answer(message: impl fmt::Display) -> Self {
        Stop::WrongAnswer {
            message: message.to_string(),
        }
        .into()
    }

    /// What the service said, by the failure it attached or, without one, by the gRPC code.
    pub(crate) fn from_status(address: &str, status: &tonic::Status) -> Self {
        match attached(status) {
            Some(failure) => Self::from_failure(&failure),
            None => Self::from_code(address, status),
        }
    }

    /// What a failure of the wire means to the caller.
    pub(crate) fn from_failure(failure: &v1::Failure) -> Self {
        use v1::FailureCode as Code;
        let message = failure.message.clone();
        match failure.code() {
            Code::Malformed | Code::Replayed | Code::Version => Fix::Malformed { message }.into(),
            Code::NotAuthorised => Fix::NotAuthorised { message }.into(),
            Code::Denied => Fix::Denied {
                reasons: Reason::of_failure(failure),
            }
            .into(),
            Code::NotYet => Ask::Approvals {
                needs: Needs::unspecified(message),
            }
            .into(),
            Code::Frozen => Ask::Frozen { message }.into(),
            Code::Unknown => Fix::Unknown { message }.into(),
            Code::Conflict => Fix::Conflict { message }.into(),
            Code::Aborted | Code::SecurityAbort => Stop::Security {
                message,
                culprits: failure.culprits.clone(),
            }
            .into(),
            // As an error of a call, a limit is one on calls; what a policy's limits refuse is a denied request.
            Code::Stale
            | Code::Limit
            | Code::Unavailable
            | Code::TimedOut
            | Code::Internal
            | Code::NeedCertificate
            | Code::StaleSharing
            | Code::ShareLost
            | Code::CatchingUp => Retry::Unavailable { message }.into(),
            Code::Unspecified => {
                Self::wrong_answer(format_args!("a failure with no code: {message}"))
            }
        }
    }

    fn from_code(address: &str, status: &tonic::Status) -> Self {
        use tonic::Code;
        let message = status.message().to_owned();
        match status.code() {
            Code::InvalidArgument | Code::OutOfRange | Code::Unimplemented => {
                Fix::Malformed { message }.into()
            }
            Code::NotFound => Fix::Unknown { message }.into(),
            Code::AlreadyExists => Fix::Conflict { message }.into(),
            Code::PermissionDenied | Code::Unauthenticated => Fix::NotAuthorised { message }.into(),
            Code::FailedPrecondition => Ask::Frozen { message }.into(),
            Code::DataLoss => Self::wrong_answer(message),
            Code::ResourceExhausted | Code::Internal | Code::Aborted => {
                Retry::Unavailable { message }.into()
            }
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unavailable => Self::unreachable(address, message),
        }
    }
}

fn attached(status: &tonic::Status) -> Option<v1::Failure> {
    if status.details().is_empty() {
        return None;
    }
    prost::Message::decode(status.details()).ok()
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    fn with_details(code: v1::FailureCode) -> Error {
        let failure = v1::Failure {
            code: code.into(),
            message: "m".to_owned(),
            ..v1::Failure::default()
        };
        let status = tonic::Status::with_details(
            tonic::Code::Internal,
            "other",
            failure.encode_to_vec().into(),
        );
        Error::from_status("here", &status)
    }

    #[test]
    fn every_failure_code_tells_the_caller_what_to_do() {
        use v1::FailureCode as Code;
        for raw in 1..=20 {
            let code = Code::try_from(raw).expect("codes are dense");
            let error = with_details(code);
            let expected = match code {
                Code::NotYet | Code::Frozen => matches!(error, Error::Ask(_)),
                Code::Stale
                | Code::Limit
                | Code::Unavailable
                | Code::TimedOut
                | Code::Internal
                | Code::NeedCertificate
                | Code::StaleSharing
                | Code::ShareLost
                | Code::CatchingUp => matches!(error, Error::Retry(_)),
                Code::Aborted | Code::SecurityAbort => matches!(error, Error::Stop(_)),
                _ => matches!(error, Error::Fix(_)),
            };
            assert!(expected, "{code:?} became {error:?}");
        }
        assert!(
            Code::try_from(21).is_err(),
            "a new code needs a decision here"
        );
    }

    #[test]
    fn an_answer_without_a_failure_falls_back_to_its_code() {
        let error = Error::from_status("here:1", &tonic::Status::unavailable("down"));
        assert_eq!(
            error,
            Error::Retry(Retry::Unreachable {
                address: "here:1".to_owned(),
                message: "down".to_owned()
            })
        );
    }
}
