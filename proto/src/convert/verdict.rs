//! What policy says, as wire values.
use policy::evaluate::{Code, Denied, Missing, Needs, Reason};

use crate::v1::{self, Failure, FailureCode};

impl From<&Reason> for v1::Reason {
    fn from(reason: &Reason) -> Self {
        Self {
            code: reason.code.as_str().to_owned(),
            rule: reason
                .rule
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            message: reason.message.clone(),
            remedy: reason.remedy.clone().unwrap_or_default(),
        }
    }
}

impl From<&Missing> for v1::GroupNeed {
    fn from(missing: &Missing) -> Self {
        Self {
            group: missing.group.to_string(),
            min: missing.min,
            have: missing.have,
            candidates: missing.candidates.iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<&Needs> for v1::Needs {
    fn from(needs: &Needs) -> Self {
        Self {
            groups: needs.groups.iter().map(Into::into).collect(),
            not_before_ms: needs.not_before_ms,
            expires_ms: needs.expires_ms,
        }
    }
}

/// The failure that a reason alone would lead to.
#[must_use]
pub const fn code_of_reason(code: Code) -> FailureCode {
    match code {
        Code::Frozen => FailureCode::Frozen,
        Code::Limit => FailureCode::Limit,
        Code::Conflict => FailureCode::Conflict,
        Code::ApprovalsMissing
        | Code::Delay
        | Code::AddressCoolingOff
        | Code::FromTheFuture
        | Code::PolicyNotInForce => FailureCode::NotYet,
        Code::Initiator => FailureCode::NotAuthorised,
        Code::Undecodable => FailureCode::Malformed,
        Code::ApprovalIgnored
        | Code::ApprovalsUnreachable
        | Code::ChainMismatch
        | Code::ClusterMismatch
        | Code::DeniedByRule
        | Code::Expired
        | Code::FeeTooHigh
        | Code::KeyMismatch
        | Code::KindNotAllowed
        | Code::NoRule
        | Code::Rejected
        | Code::UnknownWallet => FailureCode::Denied,
    }
}

impl From<&Denied> for Failure {
    /// All reasons in words. A freeze comes before everything else, since nothing can be tried until it is lifted.
    /// Otherwise the code is the reasons' own if they all agree, and plain denial if not: what one reason would let
    /// pass later, another may forbid for good.
    fn from(denied: &Denied) -> Self {
        let counted = || {
            denied
                .reasons
                .iter()
                .filter(|reason| reason.code != Code::ApprovalIgnored)
        };
        let mut codes = counted().map(|reason| code_of_reason(reason.code));
        let code = if counted().any(|reason| reason.code == Code::Frozen) {
            FailureCode::Frozen
        } else {
            let first = codes.next().unwrap_or(FailureCode::Denied);
            if codes.all(|code| code == first) {
                first
            } else {
                FailureCode::Denied
            }
        };
        let hint = counted().find_map(|reason| reason.remedy.clone());
        Self::new(code, "policy does not allow it")
            .hint(hint.unwrap_or_else(|| {
                "read the reasons; this request will not pass as it is".to_owned()
            }))
            .reasons(denied.reasons.iter().map(ToString::to_string))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(codes: &[Code]) -> Failure {
        let reason = |code: &Code| Reason {
            code: *code,
            rule: None,
            message: "so it is".to_owned(),
            remedy: (*code == Code::Limit).then(|| "wait an hour".to_owned()),
        };
        Failure::from(&Denied {
            reasons: codes.iter().map(reason).collect(),
        })
    }

    #[test]
    fn one_hard_reason_outweighs_every_soft_one() {
        assert_eq!(denied(&[Code::Limit]).code(), FailureCode::Limit);
        assert_eq!(
            denied(&[Code::Limit, Code::Limit]).code(),
            FailureCode::Limit
        );
        assert_eq!(
            denied(&[Code::Limit, Code::ApprovalIgnored]).code(),
            FailureCode::Limit
        );
        assert_eq!(
            denied(&[Code::DeniedByRule, Code::Frozen]).code(),
            FailureCode::Frozen
        );
        assert_eq!(
            denied(&[Code::Delay, Code::DeniedByRule]).code(),
            FailureCode::Denied
        );
        assert_eq!(denied(&[]).code(), FailureCode::Denied);
    }

    #[test]
    fn reasons_and_the_first_remedy_are_in_words() {
        let failure = denied(&[Code::NoRule, Code::Limit]);
        assert_eq!(failure.reasons.len(), 2);
        assert_eq!(failure.hint, "wait an hour");
    }
}
