//! Who may change the policy, stop signing and resume it, and order things about keys.
//!
//! Documents form a chain: each names the hash of the one before and carries the next version number. The first is signed by
//! the people named in the cluster file, every later one by people of the document in force, who sign its hash, its
//! version, the policy id and the cluster ([`PolicyConsent`](crate::statement::PolicyConsent)).
//!
//! A change that provably permits nothing new ([`classify`]) takes the `tighten` clause, every other the `loosen` clause
//! with its delay. While a loosening waits, a tightening of the document in force takes its place: that is the veto.

mod classify;
mod error;
mod freeze;
mod install;
mod order;
mod quorum;

pub(crate) use self::classify::rule_contains;
pub use self::classify::{Change, Classification, classify};
pub use self::error::{FreezeError, GovernanceError};
pub use self::freeze::{FreezeState, Phase};
pub use self::install::{Installed, MAX_SIGNATURES, Policies, SignedDocument, install};
pub use self::order::{
    MAX_STATEMENTS, Matter, NotDue, OrderError, REFRESH_SLACK_MS, STANDING_ATTEMPTS, authorise,
    refresh_every, standing_refresh,
};
