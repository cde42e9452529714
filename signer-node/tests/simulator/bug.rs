//! Nodes that break a rule, to show that the checks notice.

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
    /// What was let go is not counted.
    ForgetsDebits,
    /// The share of the sharing before is used for as long as the new one is not there.
    KeepsOldShare,
    /// A second sharing is signed for an epoch and attempt, or one for an epoch that is passed.
    SignsTwoSharings,
    /// A share is erased as soon as a newer one is prepared.
    ErasesEarly,
    /// What comes out of a backup is used though peers know something newer.
    TrustsBackups,
}

impl Bug {
    /// Every rule that can be broken.
    pub(crate) const ALL: [Self; 7] = [
        Self::SendsBeforeSync,
        Self::SignsBeforeSync,
        Self::ForgetsDebits,
        Self::KeepsOldShare,
        Self::SignsTwoSharings,
        Self::ErasesEarly,
        Self::TrustsBackups,
    ];
}
