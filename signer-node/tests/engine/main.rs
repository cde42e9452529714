//! Three nodes driven by frames, as a coordinator would, and as a hostile coordinator would.
#![cfg(test)]
#![expect(clippy::arithmetic_side_effects, reason = "small numbers of a test")]

mod attacks;
mod clock;
mod cluster;
mod disk;
mod ecdsa;
mod export;
mod life;
mod reshare;
mod restore;
mod secrets;
