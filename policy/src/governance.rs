//! Who may change the policy, stop signing and resume it.
//!
//! Documents form a chain: each names the hash of the one before and carries the next version number. The first is signed by
//! the people named in the cluster file, every later one by people of the document in force, who sign its hash, its
//! version, the policy id and the cluster ([`PolicyConsent`](crate::statement::PolicyConsent)).
//!
//! A change that provably permits nothing new ([`classify`]) takes the `tighten` clause, every other the `loosen` clause
//! with its delay. While a loosening waits, a tightening of the document in force takes its place: that is the veto.

mod ceremony;
mod classify;
mod error;
mod freeze;
mod install;
mod quorum;

pub use self::ceremony::{OrderError, orders_reshare, orders_retirement};
pub(crate) use self::classify::rule_contains;
pub use self::classify::{Change, Classification, classify};
pub use self::error::{FreezeError, GovernanceError};
pub use self::freeze::{FreezeState, Phase};
pub use self::install::{Installed, MAX_SIGNATURES, Policies, SignedDocument, install};
