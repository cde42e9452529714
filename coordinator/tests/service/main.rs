//! A whole coordinator over real TLS, with a real store and real key shares; only the nodes are scripted, so that they
//! can be silent, refuse or lie on purpose.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests"
)]

mod approvals;
mod bounds;
mod cluster;
mod ecdsa;
mod faults;
mod keys;
mod node;
mod strangers;
