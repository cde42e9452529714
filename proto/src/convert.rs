//! Total conversions between wire values and what the services work with.
//!
//! Every byte string of the wire that stands for something of fixed length goes through [`array()`], which names the field.
//! Every refusal is a [`Failure`]: what happened, and what to do next. Between a client and the coordinator it travels in
//! the details of a gRPC status; the status code is only a hint for tools that do not know this system.
pub mod protocol;
pub mod reshare;
pub mod verdict;
pub mod wallet_keys;

use prost::Message;
use thiserror::Error;
use tonic::{Code, Status};

use crate::v1::{Failure, FailureCode};

/// The most bytes of an encoded [`Failure`] in a status. It travels in HTTP headers, which both ends keep small.
pub const MAX_DETAILS: usize = 8 << 10;

/// The longest single text of a [`Failure`] that is sent, in bytes.
pub const MAX_TEXT: usize = 1024;

/// A field of a message that is not what it should be.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum FieldError {
    /// A byte string of fixed length has another one.
    #[error("{field} has {got} bytes instead of {expected}")]
    Length {
        /// Which field.
        field: &'static str,
        /// How many bytes it must have.
        expected: usize,
        /// How many it has.
        got: usize,
    },
    /// A field that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A number or list is larger than it may be.
    #[error("{field} is {got}; at most {most} are allowed")]
    TooLarge {
        /// Which field.
        field: &'static str,
        /// The most there may be.
        most: u64,
        /// What it is.
        got: u64,
    },
    /// An enumeration's number that this version does not know.
    #[error("{field} has the unknown value {got}; check the versions of both ends")]
    Unknown {
        /// Which field.
        field: &'static str,
        /// The number.
        got: i32,
    },
}

impl From<FieldError> for Failure {
    fn from(error: FieldError) -> Self {
        Self::new(FailureCode::Malformed, error.to_string())
            .hint("the message was built wrongly; do not send the same bytes again")
    }
}

impl From<FieldError> for Status {
    fn from(error: FieldError) -> Self {
        Failure::from(error).into()
    }
}

/// Takes a byte string of exactly `N` bytes.
///
/// # Errors
/// [`FieldError::Length`] with the field's name.
pub fn array<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], FieldError> {
    bytes.try_into().map_err(|_| FieldError::Length {
        field,
        expected: N,
        got: bytes.len(),
    })
}

/// Takes a message field that must be present.
///
/// # Errors
/// [`FieldError::Missing`] with the field's name.
pub fn present<T>(field: &'static str, value: Option<T>) -> Result<T, FieldError> {
    value.ok_or(FieldError::Missing(field))
}

/// Takes a 32-bit number of the wire where 16 bits are meant.
///
/// # Errors
/// [`FieldError::TooLarge`] with the field's name.
pub fn small(field: &'static str, number: u32) -> Result<u16, FieldError> {
    let too_large = FieldError::TooLarge {
        field,
        most: u64::from(u16::MAX),
        got: u64::from(number),
    };
    u16::try_from(number).map_err(|_| too_large)
}

/// Holds a list to a length.
///
/// # Errors
/// [`FieldError::TooLarge`] with the field's name.
pub fn at_most<'a, T>(
    field: &'static str,
    list: &'a [T],
    most: usize,
) -> Result<&'a [T], FieldError> {
    let wide = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    if list.len() > most {
        return Err(FieldError::TooLarge {
            field,
            most: wide(most),
            got: wide(list.len()),
        });
    }
    Ok(list)
}

/// Takes an enumeration's number; zero, which stands for "not said", is refused too.
///
/// # Errors
/// [`FieldError::Unknown`] with the field's name.
pub fn known<E: TryFrom<i32>>(field: &'static str, number: i32) -> Result<E, FieldError> {
    let unknown = FieldError::Unknown { field, got: number };
    if number == 0 {
        Err(unknown)
    } else {
        E::try_from(number).map_err(|_| unknown)
    }
}

/// The gRPC code that a failure travels under.
#[must_use]
pub const fn grpc_code(code: FailureCode) -> Code {
    match code {
        FailureCode::Unspecified => Code::Unknown,
        FailureCode::Malformed => Code::InvalidArgument,
        FailureCode::NotAuthorised => Code::PermissionDenied,
        FailureCode::Denied
        | FailureCode::NotYet
        | FailureCode::Frozen
        | FailureCode::ShareLost
        | FailureCode::CatchingUp => Code::FailedPrecondition,
        FailureCode::Stale
        | FailureCode::Aborted
        | FailureCode::NeedCertificate
        | FailureCode::StaleSharing => Code::Aborted,
        FailureCode::Replayed | FailureCode::Conflict => Code::AlreadyExists,
        FailureCode::Unknown => Code::NotFound,
        FailureCode::Limit => Code::ResourceExhausted,
        FailureCode::Unavailable => Code::Unavailable,
        FailureCode::TimedOut => Code::DeadlineExceeded,
        FailureCode::Version => Code::Unimplemented,
        FailureCode::SecurityAbort => Code::DataLoss,
        FailureCode::Internal => Code::Internal,
    }
}

/// The nearest failure code of a status that carries no [`Failure`]: one made by the transport, or by a proxy.
#[must_use]
pub const fn failure_code(code: Code) -> FailureCode {
    match code {
        Code::InvalidArgument | Code::OutOfRange => FailureCode::Malformed,
        Code::PermissionDenied | Code::Unauthenticated => FailureCode::NotAuthorised,
        Code::FailedPrecondition => FailureCode::Denied,
        Code::Aborted => FailureCode::Aborted,
        Code::AlreadyExists => FailureCode::Conflict,
        Code::NotFound => FailureCode::Unknown,
        Code::ResourceExhausted => FailureCode::Limit,
        Code::Unavailable | Code::Cancelled => FailureCode::Unavailable,
        Code::DeadlineExceeded => FailureCode::TimedOut,
        Code::Unimplemented => FailureCode::Version,
        Code::DataLoss => FailureCode::SecurityAbort,
        Code::Internal => FailureCode::Internal,
        Code::Ok | Code::Unknown => FailureCode::Unspecified,
    }
}

/// Whether the same request may be sent again without a person looking at it.
#[must_use]
pub const fn may_retry(code: FailureCode) -> bool {
    match code {
        FailureCode::Stale | FailureCode::Unavailable | FailureCode::TimedOut => true,
        FailureCode::Unspecified
        | FailureCode::Malformed
        | FailureCode::NotAuthorised
        | FailureCode::Denied
        | FailureCode::NotYet
        | FailureCode::Replayed
        | FailureCode::Unknown
        | FailureCode::Frozen
        | FailureCode::Limit
        | FailureCode::Aborted
        | FailureCode::Version
        | FailureCode::SecurityAbort
        | FailureCode::Conflict
        | FailureCode::Internal
        | FailureCode::NeedCertificate
        | FailureCode::StaleSharing
        | FailureCode::ShareLost
        | FailureCode::CatchingUp => false,
    }
}

impl Failure {
    /// A failure with a message; add a [`hint`](Self::hint) wherever something can be done about it.
    #[must_use]
    pub fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            ..Self::default()
        }
    }

    /// Says what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// Adds reasons, one line each.
    #[must_use]
    pub fn reasons(mut self, reasons: impl IntoIterator<Item = String>) -> Self {
        self.reasons.extend(reasons);
        self
    }

    /// Shortens the failure until it fits into a status. What is cut is visible.
    fn bounded(mut self) -> Self {
        for text in [&mut self.message, &mut self.hint]
            .into_iter()
            .chain(&mut self.reasons)
        {
            if text.len() > MAX_TEXT {
                text.truncate(text.floor_char_boundary(MAX_TEXT));
                text.push_str(" ...");
            }
        }
        self.culprits.truncate(64);
        while self.encoded_len() > MAX_DETAILS && self.reasons.pop().is_some() {}
        self
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let failure = failure.bounded();
        let code = grpc_code(failure.code());
        let message = failure.message.clone();
        Self::with_details(code, message, failure.encode_to_vec().into())
    }
}

impl From<&Status> for Failure {
    /// Total: a status of another origin becomes a failure with the nearest code and the same message.
    fn from(status: &Status) -> Self {
        let details = status.details();
        if !details.is_empty()
            && details.len() <= MAX_DETAILS
            && let Ok(failure) = Self::decode(details)
            && failure.code() != FailureCode::Unspecified
        {
            return failure;
        }
        Self::new(failure_code(status.code()), status.message()).bounded()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = FailureCode> {
        (0..).map_while(|number| FailureCode::try_from(number).ok())
    }

    #[test]
    fn every_failure_survives_the_way_through_a_status() {
        assert_eq!(all().count(), 21);
        for code in all().skip(1) {
            let failure = Failure::new(code, "what")
                .hint("next")
                .reasons(["why".to_owned()]);
            let status = Status::from(failure.clone());
            assert_eq!(status.code(), grpc_code(code));
            assert_eq!(Failure::from(&status), failure);
        }
    }

    #[test]
    fn only_the_unspecified_code_hides_behind_unknown_and_none_is_ok() {
        for code in all() {
            assert_ne!(grpc_code(code), Code::Ok);
            assert_eq!(
                grpc_code(code) == Code::Unknown,
                code == FailureCode::Unspecified
            );
        }
    }

    #[test]
    fn a_foreign_status_becomes_the_nearest_failure() {
        for number in 0..=17 {
            let status = Status::new(Code::from_i32(number), "elsewhere");
            let failure = Failure::from(&status);
            assert_eq!(failure.code(), failure_code(status.code()));
            assert_eq!(failure.message, "elsewhere");
        }
        let garbage = Status::with_details(Code::Unavailable, "m", vec![0xff; 40].into());
        assert_eq!(Failure::from(&garbage).code(), FailureCode::Unavailable);
    }

    #[test]
    fn a_huge_failure_is_cut_to_what_a_header_holds() {
        let long = "\u{e9}".repeat(5000);
        let failure = Failure::new(FailureCode::Denied, long.clone())
            .hint(long.clone())
            .reasons(vec![long; 100]);
        let status = Status::from(failure);
        assert!(status.details().len() <= MAX_DETAILS);
        let back = Failure::from(&status);
        assert_eq!(back.code(), FailureCode::Denied);
        assert!(back.message.ends_with(" ...") && !back.reasons.is_empty());
    }

    #[test]
    fn only_three_failures_are_retried_blindly() {
        let retried: Vec<_> = all().filter(|code| may_retry(*code)).collect();
        assert_eq!(
            retried,
            [
                FailureCode::Stale,
                FailureCode::Unavailable,
                FailureCode::TimedOut
            ]
        );
    }

    #[test]
    fn fields_are_named_when_they_are_wrong() {
        assert_eq!(array::<4>("key_id", &[1, 2, 3, 4]), Ok([1, 2, 3, 4]));
        let short = FieldError::Length {
            field: "key_id",
            expected: 32,
            got: 3,
        };
        assert_eq!(array::<32>("key_id", &[0; 3]), Err(short));
        assert_eq!(short.to_string(), "key_id has 3 bytes instead of 32");
        let wide = FieldError::TooLarge {
            field: "index",
            most: 65_535,
            got: 65_536,
        };
        assert_eq!(small("index", 65_536), Err(wide));
        assert_eq!(
            known::<FailureCode>("code", 0),
            Err(FieldError::Unknown {
                field: "code",
                got: 0
            })
        );
        assert_eq!(
            known::<FailureCode>("code", 99),
            Err(FieldError::Unknown {
                field: "code",
                got: 99
            })
        );
        assert_eq!(known::<FailureCode>("code", 4), Ok(FailureCode::NotYet));
        assert!(at_most("list", &[1, 2, 3], 2).is_err() && at_most("list", &[1, 2, 3], 3).is_ok());
    }
}
