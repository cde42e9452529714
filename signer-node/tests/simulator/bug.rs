//! Nodes that break a rule, to show that the checks notice: each rule, and what the check that is there for it says.

use mpc_core::lineage::Refusal;

use crate::schedule::{Schedule, Wish};
use crate::treasury::Merit;

/// The rule that every node of a schedule breaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Bug {
    /// None: nodes as they should be.
    #[default]
    None,
    /// Messages of a ceremony leave before what they promise is on disk.
    SendsBeforeSync,
    /// A share of a signature leaves before its debit is on disk.
    SignsBeforeSync,
    /// Requests are decided by a policy that nobody has signed and that allows everything.
    SignsWithoutVerdict,
    /// What was let go is not counted.
    ForgetsDebits,
    /// Nonces are the same again after every start.
    RepeatsNonces,
    /// The share of the sharing before is used for as long as the new one is not there.
    KeepsOldShare,
    /// A second sharing is signed for an epoch and attempt, or one for an epoch that is passed.
    SignsTwoSharings,
    /// A sharing of a lower attempt is signed after one of a higher.
    TakesLowerAttempts,
    /// A certificate of the past makes its sharing the active one again.
    MovesDown,
    /// Reshares are taken part in that no operator has approved.
    IgnoresOrders,
    /// A share is erased as soon as a newer one is prepared, before that one has a certificate.
    ErasesEarly,
    /// What comes out of a backup is used though nobody has confirmed it.
    TrustsBackups,
    /// After coming back from a backup limits begin anew.
    ForgetsWindows,
    /// After its disk was lost a node joins sessions that it may have joined before.
    JoinsAgain,
}

impl Bug {
    /// Every rule that can be broken.
    pub(crate) const ALL: [Self; 14] = [
        Self::JoinsAgain,
        Self::ForgetsWindows,
        Self::TrustsBackups,
        Self::SendsBeforeSync,
        Self::SignsBeforeSync,
        Self::SignsWithoutVerdict,
        Self::ForgetsDebits,
        Self::RepeatsNonces,
        Self::KeepsOldShare,
        Self::SignsTwoSharings,
        Self::TakesLowerAttempts,
        Self::MovesDown,
        Self::IgnoresOrders,
        Self::ErasesEarly,
    ];

    /// What the check that is there for this rule says; one of these.
    pub(crate) const fn findings(self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::SendsBeforeSync => &["is not on its disk", "that its disk does not know"],
            Self::SignsBeforeSync => &["and its disk does not know"],
            Self::SignsWithoutVerdict => &[", which is "],
            Self::ForgetsDebits => &["within the window"],
            Self::RepeatsNonces => &["used a nonce twice"],
            Self::KeepsOldShare => &["was active"],
            Self::SignsTwoSharings => {
                &["two sharings for one place", "a certificate for that epoch"]
            }
            Self::TakesLowerAttempts => &["after a higher attempt"],
            Self::MovesDown => &["went back to"],
            Self::IgnoresOrders => &["a reshare that nobody has ordered"],
            Self::ErasesEarly => &["has lost its share", "erased its share"],
            Self::TrustsBackups => &["out of a backup"],
            Self::ForgetsWindows => &["when its limits count as used up"],
            Self::JoinsAgain => &["is accused by"],
        }
    }

    /// Gives a schedule what it needs for this rule to matter, where that would come together in few of them.
    pub(crate) fn favour(self, schedule: &mut Schedule) {
        let pay = Wish::Sign(Merit::Small);
        match self {
            Self::TrustsBackups => {
                schedule.evil_coordinator = true;
                schedule.wishes = vec![pay, Wish::Refresh, Wish::Restore, pay, pay];
            }
            Self::ForgetsWindows => schedule.wishes = vec![pay, Wish::Restore, pay],
            Self::JoinsAgain => schedule.wishes = vec![Wish::Refresh, Wish::Restore, pay],
            _ => {}
        }
    }

    /// Whether a node with this bug does what it should refuse for this reason.
    pub(crate) const fn overlooks(self, refusal: &Refusal) -> bool {
        match self {
            Self::SignsTwoSharings => true,
            Self::TakesLowerAttempts => matches!(refusal, Refusal::AttemptUsed { .. }),
            _ => false,
        }
    }
}
