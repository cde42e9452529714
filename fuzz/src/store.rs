//! The node whose store is fuzzed. Its key file is no secret.

use signer_node::seal::{Owner, Secret};
use zeroize::Zeroizing;

/// A data key as that node's store would hold it.
pub const DATA_KEY: &[u8] = include_bytes!("../seeds/data-key");

/// What unlocks it.
#[must_use]
pub fn secret() -> Secret {
    Secret::KeyFile(Zeroizing::new([7; 32]))
}

/// The node.
#[must_use]
pub fn owner() -> Owner {
    Owner::new("fuzz", [3; 32])
}
