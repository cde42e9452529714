//! Reasons: a code for programs, a sentence and the way out for people.

use core::fmt;

use crate::id::RuleId;

/// One reason why a request is not signed (now).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// What sort of reason.
    pub code: Code,
    /// The rule it comes from, if it comes from one.
    pub rule: Option<RuleId>,
    /// What is the case.
    pub message: String,
    /// The smallest change that would pass, if there is one.
    pub remedy: Option<String>,
}

/// What sort of reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// The address is on the allow-list but its cool-off has not ended.
    AddressCoolingOff,
    /// An approval was handed in that does not count.
    ApprovalIgnored,
    /// More people must approve.
    ApprovalsMissing,
    /// So many people cannot approve: the group has not enough members besides the initiator.
    ApprovalsUnreachable,
    /// The request names another chain than the wallet's.
    ChainMismatch,
    /// The request is for another cluster.
    ClusterMismatch,
    /// Another request asked for the same transaction.
    Conflict,
    /// The delay has not passed.
    Delay,
    /// A deny rule matches.
    DeniedByRule,
    /// The time to sign has ended.
    Expired,
    /// The highest possible fee is above the wallet's.
    FeeTooHigh,
    /// Signing is stopped.
    Frozen,
    /// The request was made further in the future than clocks may differ.
    FromTheFuture,
    /// The initiator is unknown or did not sign.
    Initiator,
    /// The request names another key than the wallet's.
    KeyMismatch,
    /// The wallet may not make such a transfer.
    KindNotAllowed,
    /// A limit would be exceeded.
    Limit,
    /// No rule allows it.
    NoRule,
    /// The policy is not in force yet.
    PolicyNotInForce,
    /// Somebody said no.
    Rejected,
    /// The transaction is not one that can be explained.
    Undecodable,
    /// The policy has no such wallet.
    UnknownWallet,
}

impl Code {
    /// The stable name for programs, in lower case with underscores.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AddressCoolingOff => "address_cooling_off",
            Self::ApprovalIgnored => "approval_ignored",
            Self::ApprovalsMissing => "approvals_missing",
            Self::ApprovalsUnreachable => "approvals_unreachable",
            Self::ChainMismatch => "chain_mismatch",
            Self::ClusterMismatch => "cluster_mismatch",
            Self::Conflict => "conflict",
            Self::Delay => "delay",
            Self::DeniedByRule => "denied_by_rule",
            Self::Expired => "expired",
            Self::FeeTooHigh => "fee_too_high",
            Self::Frozen => "frozen",
            Self::FromTheFuture => "from_the_future",
            Self::Initiator => "initiator",
            Self::KeyMismatch => "key_mismatch",
            Self::KindNotAllowed => "kind_not_allowed",
            Self::Limit => "limit",
            Self::NoRule => "no_rule",
            Self::PolicyNotInForce => "policy_not_in_force",
            Self::Rejected => "rejected",
            Self::Undecodable => "undecodable",
            Self::UnknownWallet => "unknown_wallet",
        }
    }

    /// Whether time, or a lifted freeze, alone can take the reason away.
    #[must_use]
    pub const fn may_pass_later(self) -> bool {
        matches!(
            self,
            Self::AddressCoolingOff
                | Self::Delay
                | Self::Frozen
                | Self::FromTheFuture
                | Self::Limit
                | Self::PolicyNotInForce
        )
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Reason {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            rule: None,
            message: message.into(),
            remedy: None,
        }
    }

    #[must_use]
    pub(crate) fn rule(mut self, rule: &RuleId) -> Self {
        self.rule = Some(rule.clone());
        self
    }

    #[must_use]
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(rule) = &self.rule {
            write!(f, " (rule {rule})")?;
        }
        if let Some(remedy) = &self.remedy {
            write!(f, "; {remedy}")?;
        }
        Ok(())
    }
}
