//! Threshold ECDSA from preprocessing to a verified signature.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "helpers of a test may fail the test"
)]

mod blame;
mod derivation;
mod edges;
mod fused;
mod keygen;
mod misbehaviour;
mod pairing;
#[path = "../frost/records.rs"]
mod records;
mod signing;
mod vectors;
mod verifier;
