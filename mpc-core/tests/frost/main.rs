//! Tests of FROST through the public interface, and of the verifiers of finished signatures.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_in_result,
    clippy::unwrap_used,
    reason = "in a test, a panic is a failure with a line number"
)]

mod committee;
mod derived;
mod interop;
mod records;
mod robust;
mod signing;
mod verifiers;
mod wire;
