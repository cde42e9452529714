//! Who may change the policy, stop signing and resume it.

use crate::document::{Document, PolicyHash};

/// A document whose signatures were found sufficient, and from when on it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    document: Document,
    hash: PolicyHash,
    effective_ms: u64,
}

impl Installed {
    /// The document.
    #[must_use]
    pub const fn document(&self) -> &Document {
        &self.document
    }

    /// The hash of its exact bytes.
    #[must_use]
    pub const fn hash(&self) -> &PolicyHash {
        &self.hash
    }

    /// It is in force from this instant on, Unix milliseconds.
    #[must_use]
    pub const fn effective_ms(&self) -> u64 {
        self.effective_ms
    }
}
