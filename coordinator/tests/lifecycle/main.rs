//! A coordinator and real signer nodes in one process each in its own runtime, over real TLS with real stores: the life of keys.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests"
)]

mod pairs;
mod reshare;
mod world;
