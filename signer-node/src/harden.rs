//! Keeps the process's memory out of core dumps, debuggers and swap.

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// A measure that the system refused; the node still runs, the operator is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missing {
    /// Other processes of the same user may attach, and a crash may write a core file.
    NotDumpable,
    /// A crash may write a core file.
    CoreLimit,
    /// Pages that hold secrets may reach the swap.
    LockedMemory,
}

impl core::fmt::Display for Missing {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::NotDumpable => "the process could not be made undumpable",
            Self::CoreLimit => "the core file limit could not be set to zero",
            Self::LockedMemory => "memory could not be locked; raise the limit (systemd: LimitMEMLOCK=infinity) or switch swap off",
        })
    }
}

/// Turns core dumps and debugger access off and locks memory where the system allows it; says what it could not do.
#[must_use]
pub fn harden() -> Vec<Missing> {
    let mut missing = Vec::new();
    if set_dumpable_behavior(DumpableBehavior::NotDumpable).is_err() {
        missing.push(Missing::NotDumpable);
    }
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if setrlimit(Resource::Core, none).is_err() {
        missing.push(Missing::CoreLimit);
    }
    // Without a large enough limit a later allocation would fail; only a process without a limit locks what is to come.
    let unlimited = rustix::process::getrlimit(Resource::Memlock)
        .current
        .is_none();
    let flags = if unlimited {
        MlockAllFlags::CURRENT | MlockAllFlags::FUTURE
    } else {
        MlockAllFlags::CURRENT
    };
    if mlockall(flags).is_err() {
        missing.push(Missing::LockedMemory);
    }
    missing
}
