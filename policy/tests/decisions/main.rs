//! What the policy lets through and what it does not, with real keys, real transactions and real documents.
//! Names starting with `a` and a number follow the project's catalogue of attacks.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests stand outside test functions and fail the test just the same"
)]

mod approvals;
mod chains;
mod governance;
#[path = "../chains/keys.rs"]
mod keys;
mod limits;
mod lint;
mod orders;
mod properties;
#[path = "../chains/psbt.rs"]
mod psbt;
mod rules;
mod support;
