//! Holds one share; checks everything again for itself; signs only what its own policy allows.
#![forbid(unsafe_code)]

pub mod clock;
mod codec;
pub mod config;
pub mod harden;
pub mod seal;
pub mod store;

pub use codec::Malformed;
