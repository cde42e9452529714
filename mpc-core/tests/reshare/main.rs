//! Reshares: new shares, members and thresholds for the same key.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, a panic is a failure with a line number"
)]

mod chains;
mod forgery;
mod import;
mod known;
mod lineage;
mod misbehaviour;
mod protocol;
mod world;
