//! Takes requests, gathers approvals, keeps the ledger and the locks, relays rounds; trusted for liveness only.
//!
//! A coordinator holds no key material. With its database, its certificate and its host in hostile hands nothing is
//! signed that the nodes' own policies do not allow; what is lost is that requests are answered at all.
//!
//! | module | what it does |
//! |---|---|
//! | [`config`] | `coordinator.toml` |
//! | [`state`] | which event may move a request from which state |
//! | [`store`] | what must survive: requests, ledger, keys, policies, audit trail |
//! | `intake` | what an intent must be before anything is stored for it |
//! | `engine` | brings every live request to its end; policies, freezes, key generation |
//! | `signing` | one signature from the nodes that can be had |
//! | `links` | the links that nodes dial |
//! | `api` | the services that callers see |
#![forbid(unsafe_code)]

mod api;
mod clock;
pub mod config;
mod engine;
mod error;
mod intake;
mod keys;
mod links;
mod server;
mod signing;
pub mod state;
pub mod store;

pub use config::{Config, ConfigError};
pub use error::RunError;
pub use server::{run, run_with_ready};
