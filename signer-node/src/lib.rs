//! Holds one share; checks everything again for itself; signs only what its own policy allows.
//!
//! | module | what it does |
//! |---|---|
//! | [`config`] | reads `node.toml` |
//! | [`harden`] | keeps the process's memory to itself |
//! | [`seal`] | encrypts shares at rest; the only place that sees their bytes |
//! | [`store`] | the durable state, authenticated row by row |
//! | [`clock`] | which time is believed |
//! | [`engine`] | decides every call of a coordinator from this node's own state |
//! | [`link`] | keeps the connection to the coordinator |
//! | [`init`] | makes the store of a new node |
//!
//! The one function through which a contribution to a signature leaves is in `release`.
#![forbid(unsafe_code)]

pub mod clock;
mod codec;
pub mod config;
pub mod engine;
mod failure;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod harden;
pub mod init;
pub mod link;
mod release;
pub mod seal;
pub mod store;

use core::future::Future;
use std::sync::Arc;

pub use codec::Malformed;
pub use config::{Config, ConfigError};
pub use engine::{Engine, OpenError, backup, export};
pub use failure::Refusal;

use clock::Reading;

/// Why a node stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The node did not start.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The connection's configuration is unusable.
    #[error(transparent)]
    Link(#[from] link::LinkError),
}

/// Runs a node until `shutdown` resolves.
///
/// # Errors
/// [`RunError`] if the node cannot start; a lost connection is not an error.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
    for missing in harden::harden() {
        tracing::warn!(%missing, "hardening incomplete");
    }
    let boot = Reading::kernel_boot();
    let engine = Engine::open(&config, Arc::new(move || Reading::take(boot)))?;
    tracing::info!(node = %engine.node(), index = config.index, software = engine::SOFTWARE, "node started");
    link::run(&engine, &config, shutdown).await?;
    tracing::info!("node stopped");
    Ok(())
}
