//! What a wallet backend links: submit a transaction, wait, and get a signature that was verified on this side.
//!
//! A coordinator is trusted for liveness only, so this crate believes nothing that it can check: the id of a request is
//! computed here from the bytes that were signed here, and a signature leaves [`Client::wait`] only after it verified,
//! strictly, under the key that the submitted transaction itself names as its signer.
//!
//! ```no_run
//! use std::{path::Path, time::Duration};
//!
//! use client::{Client, Error, Options, Order, Retry};
//!
//! # async fn pay(raw_tx: Vec<u8>, key: &ed25519_dalek::SigningKey) -> Result<Vec<u8>, Error> {
//! let client = Client::connect(&Options::beside(Path::new("custody/cluster.toml"), "client")).await?;
//! let order = Order::new("hot", raw_tx, "payout-7", "svc-payout");
//!
//! // Keep `prepared.as_bytes()` with the payment: after any failure, submit exactly these bytes again.
//! let prepared = client.prepare(&order, key).await?;
//! client.submit(&prepared).await?;
//! match client.wait(prepared.id(), Duration::from_secs(60)).await {
//!     Ok(released) => Ok(released.signed_tx().to_vec()),
//!     Err(Error::Ask(needs)) => panic!("tell the approvers: {needs}"),
//!     Err(Error::Retry(Retry::Deadline { .. })) => panic!("wait again later"),
//!     Err(other) => Err(other),
//! }
//! # }
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`error`] | errors, sorted by what the caller does next |
//! | [`status`] | what the coordinator says about a request |
//! | [`order`] | an intent made, signed and kept for retries |
//! | [`keys`] | child keys and addresses, derived here |
//! | [`signer`] | a wallet of the cluster in the place of a local key |
//! | [`connect`] | the mutual-TLS channel to the coordinator |
//! | [`requests`] | submit, follow, explain, cancel, approve |
//! | [`review`] | an intent fetched and decoded here, for whoever has to approve it |
//! | [`verify`] | the checks between the coordinator's answer and the caller |
//! | [`admin`] | what operators ask: wallets, policies, freezes |
//! | [`ceremony`] | what operators ask about keys: make, refresh, reshare, retire, export |
#![forbid(unsafe_code)]

pub mod admin;
pub mod ceremony;
pub mod connect;
pub mod error;
pub mod keys;
pub mod order;
pub mod requests;
pub mod review;
pub mod signer;
pub mod status;
pub mod verify;

pub use connect::{Client, Options};
pub use error::{Ask, Error, Fix, Retry, Stop};
pub use keys::PublicKey;
pub use order::{Order, Prepared};
pub use review::Review;
pub use signer::Signer;
pub use status::{RequestId, State, Status};
pub use verify::Released;
