//! How a verb fails: what happened, what to do next, and the exit code that says so.

use std::{fmt, io, path::Path};

/// What the exit code of `quorate` means. `docs/exit-codes.md` is the same table for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done as asked.
    Done,
    /// An error of this program or this machine.
    Failed,
    /// The command line itself.
    Usage,
    /// A file, an id or a document is wrong; sending it again cannot help.
    Invalid,
    /// The policy, or a freeze, says no.
    Denied,
    /// Approvals or time are missing; nothing is wrong.
    Waiting,
    /// The service was not reached or is busy: the same command may work later.
    Unavailable,
    /// This certificate, role or credential may not ask that.
    NotAuthorised,
    /// The idempotency key is taken by another body.
    Conflict,
    /// The request ended without a signature.
    Ended,
    /// Something that must never be retried: a signature that does not verify, a broken protocol.
    Security,
    /// A check that was asked for did not hold.
    CheckFailed,
    /// SIGINT.
    Interrupted,
}

impl Exit {
    /// Every exit code, ascending.
    pub const ALL: [Self; 13] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::Invalid,
        Self::Denied,
        Self::Waiting,
        Self::Unavailable,
        Self::NotAuthorised,
        Self::Conflict,
        Self::Ended,
        Self::Security,
        Self::CheckFailed,
        Self::Interrupted,
    ];

    /// The number that the process exits with.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Invalid => 3,
            Self::Denied => 4,
            Self::Waiting => 5,
            Self::Unavailable => 6,
            Self::NotAuthorised => 7,
            Self::Conflict => 8,
            Self::Ended => 9,
            Self::Security => 10,
            Self::CheckFailed => 11,
            Self::Interrupted => 130,
        }
    }

    /// The word for it in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::Invalid => "invalid",
            Self::Denied => "denied",
            Self::Waiting => "waiting",
            Self::Unavailable => "unavailable",
            Self::NotAuthorised => "not-authorised",
            Self::Conflict => "conflict",
            Self::Ended => "ended",
            Self::Security => "security",
            Self::CheckFailed => "check-failed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// A verb's failure: one line of what, one line of what next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fail {
    /// Which exit code.
    pub exit: Exit,
    /// What happened, and where.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

impl Fail {
    /// A failure with no hint yet.
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self {
            exit,
            message: message.to_string(),
            hint: None,
        }
    }

    /// A wrong file, id or document.
    pub fn invalid(message: impl fmt::Display) -> Self {
        Self::new(Exit::Invalid, message)
    }

    /// An error of this machine.
    pub fn failed(message: impl fmt::Display) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// A file that could not be read.
    #[must_use]
    pub fn read(path: &Path, error: &io::Error) -> Self {
        Self::invalid(format_args!("cannot read {}: {error}", path.display()))
    }

    /// A file that could not be written.
    #[must_use]
    pub fn write(path: &Path, error: &io::Error) -> Self {
        Self::failed(format_args!("cannot write {}: {error}", path.display()))
    }
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fail {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_written_table_names_every_code_and_word() {
        let table = include_str!("../../docs/exit-codes.md");
        let rows = table.lines().filter(|l| l.starts_with("| ")).count();
        assert_eq!(rows, Exit::ALL.len() + 1, "header and one row per code");
        for exit in Exit::ALL {
            let row = format!("| {} | `{}` |", exit.code(), exit.word());
            assert!(table.contains(&row), "{row} is missing");
        }
    }

    #[test]
    fn codes_are_distinct_and_ascending() {
        assert!(Exit::ALL.windows(2).all(|w| w[0].code() < w[1].code()));
    }
}
