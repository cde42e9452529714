//! The public side of threshold keys, for those who may not depend on the protocols: read, derive, name.
//!
//! A [`PublicKeyPackage`] is public, so whoever has one derives every child key and address without asking anybody.

pub use mpc_core::hd::{ChildKey, DerivationPath, HdError, MAX_DEPTH};
pub use mpc_core::id::Purpose;
pub use mpc_core::keys::PublicKeyPackage;
