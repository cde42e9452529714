//! Takes requests, gathers approvals, keeps the ledger and the locks, relays rounds; trusted for liveness only.
#![forbid(unsafe_code)]

mod clock;
pub mod config;
mod keys;
mod links;
mod signing;
pub mod state;
pub mod store;

pub use config::{Config, ConfigError};
