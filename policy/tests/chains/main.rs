//! Ethereum and Bitcoin: published numbers, other implementations beside ours, signed transactions put before the code that
//! decides on each chain, and every refusal. Names starting with `a` and a number follow the catalogue of attacks.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests stand outside test functions and fail the test just the same"
)]

mod bitcoin_refusals;
mod bitcoin_signed;
mod ethereum;
mod keys;
mod psbt;
