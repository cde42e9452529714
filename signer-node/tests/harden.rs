//! The process keeps its memory to itself. Alone in its file: the measures hold for the whole process.
#![cfg(test)]

use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};
use signer_node::harden::{Missing, harden};

#[test]
fn a80_no_core_file_and_no_debugger() {
    let missing = harden();
    assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    assert_eq!(getrlimit(Resource::Core).current, Some(0));
    assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
    // Locking memory needs a permission that not every machine gives; nothing else may be missing.
    assert!(
        missing
            .iter()
            .all(|missing| *missing == Missing::LockedMemory),
        "{missing:?}"
    );
}
