//! What the protocols say, as wire values.
use mpc_core::{
    Error, Rejection,
    id::{KeyId, NodeId, Purpose, RequestId},
};

use super::{FieldError, array};
use crate::v1::{Failure, FailureCode};

/// Takes a node id of 32 bytes.
///
/// # Errors
/// [`FieldError::Length`] with the field's name.
pub fn node_id(field: &'static str, bytes: &[u8]) -> Result<NodeId, FieldError> {
    array(field, bytes).map(NodeId::from_bytes)
}

/// Takes a key id of 32 bytes.
///
/// # Errors
/// [`FieldError::Length`] with the field's name.
pub fn key_id(field: &'static str, bytes: &[u8]) -> Result<KeyId, FieldError> {
    array(field, bytes).map(KeyId::from_bytes)
}

/// Takes a request id of 32 bytes.
///
/// # Errors
/// [`FieldError::Length`] with the field's name.
pub fn request_id(field: &'static str, bytes: &[u8]) -> Result<RequestId, FieldError> {
    array(field, bytes).map(RequestId::from_bytes)
}

/// Takes the name of a signature scheme.
///
/// # Errors
/// A malformed-message failure that repeats no more of the name than its length.
pub fn purpose(field: &'static str, name: &str) -> Result<Purpose, Failure> {
    Purpose::parse(name).ok_or_else(|| {
        let message = format!("{field} of {} bytes is no known scheme", name.len());
        Failure::new(FailureCode::Malformed, message).hint("use ed25519 or bip340")
    })
}

/// The failure that a refused input leads to.
#[must_use]
pub const fn code_of_rejection(rejection: &Rejection) -> FailureCode {
    match rejection {
        Rejection::BufferFull => FailureCode::Unavailable,
        Rejection::Finished | Rejection::WrongSession => FailureCode::Stale,
        Rejection::Replayed => FailureCode::Replayed,
        Rejection::UnknownSender => FailureCode::NotAuthorised,
        Rejection::VersionMismatch { .. } => FailureCode::Version,
        // The bytes themselves are at fault, and so is whatever a later version of the protocols will refuse.
        _ => FailureCode::Malformed,
    }
}

/// A protocol error as a failure. `index` gives the roster's index of a node; those that are accused are named by it.
/// The words of our own mistakes stay in our own log: they may say something about the state of a key.
#[must_use]
pub fn protocol_failure(error: &Error, index: impl Fn(&NodeId) -> Option<u16>) -> Failure {
    match error {
        Error::Aborted(_) => {
            let mut failure = Failure::new(FailureCode::Aborted, error.to_string())
                .hint("look at the accused nodes before starting again");
            failure.culprits = error
                .culprits()
                .iter()
                .filter_map(index)
                .map(u32::from)
                .collect();
            failure
        }
        Error::TimedOut { missing } => {
            let name = |node: &NodeId| match index(node) {
                Some(index) => format!("node {index} stayed silent"),
                None => format!("node {node} stayed silent"),
            };
            Failure::new(FailureCode::TimedOut, error.to_string())
                .hint("see that the silent nodes run, then start again")
                .reasons(missing.iter().map(name))
        }
        Error::Rejected(rejection) => Failure::new(code_of_rejection(rejection), error.to_string())
            .hint("nothing has changed"),
        Error::RandomnessUnavailable => {
            Failure::new(FailureCode::Unavailable, error.to_string()).hint("see the node's host")
        }
        Error::Misuse(_) | Error::Unreachable(_) => {
            Failure::new(FailureCode::Internal, "internal error")
                .hint("report it; the log of the node says more")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use mpc_core::{Abort, Fault, Misuse};

    use super::*;

    fn node(byte: u8) -> NodeId {
        NodeId::from_bytes([byte; 32])
    }

    fn failure(error: &Error) -> Failure {
        protocol_failure(error, |id| (*id == node(3)).then_some(3))
    }

    #[test]
    fn only_a_broken_protocol_accuses_and_silence_does_not() {
        let aborted = failure(&Abort::local(node(3), Fault::InvalidShare).into());
        assert_eq!(
            (aborted.code(), aborted.culprits),
            (FailureCode::Aborted, vec![3])
        );
        let silent = failure(&Error::TimedOut {
            missing: BTreeSet::from([node(3)]),
        });
        assert_eq!(silent.code(), FailureCode::TimedOut);
        assert!(silent.culprits.is_empty());
        assert_eq!(silent.reasons, ["node 3 stayed silent"]);
    }

    #[test]
    fn our_own_mistakes_stay_at_home() {
        for error in [
            Misuse::InvalidKey("a word about a share").into(),
            Error::Unreachable("a word about a share"),
        ] {
            let failure = failure(&error);
            assert_eq!(failure.code(), FailureCode::Internal);
            assert!(!format!("{failure:?}").contains("share"));
        }
    }

    #[test]
    fn refused_inputs_keep_apart_what_is_late_foreign_or_wrong() {
        for (rejection, code) in [
            (Rejection::WrongSession, FailureCode::Stale),
            (Rejection::UnknownSender, FailureCode::NotAuthorised),
            (Rejection::BadSignature, FailureCode::Malformed),
            (Rejection::VersionMismatch { got: 9 }, FailureCode::Version),
            (Rejection::BufferFull, FailureCode::Unavailable),
        ] {
            assert_eq!(failure(&rejection.into()).code(), code);
        }
    }

    #[test]
    fn ids_have_their_length_and_schemes_their_names() {
        assert_eq!(node_id("from", &[3; 32]), Ok(node(3)));
        let error = FieldError::Length {
            field: "from",
            expected: 32,
            got: 31,
        };
        assert_eq!(node_id("from", &[3; 31]), Err(error));
        assert!(key_id("key_id", &[0; 33]).is_err() && request_id("request_id", &[]).is_err());
        assert_eq!(purpose("scheme", "bip340"), Ok(Purpose::Bip340));
        let refused = purpose("scheme", "rot13\n").unwrap_err();
        assert_eq!(refused.code(), FailureCode::Malformed);
        assert!(!refused.message.contains("rot13"));
    }
}
