//! The mutual-TLS channels: one kind between a cluster member and the coordinator, one nested kind between two nodes.
//!
//! | module | what it holds |
//! |---|---|
//! | [`acceptor`] | the listening end: handshakes, caps, closing of connections that lost their admission |
//! | [`config`] | the one TLS configuration, and the checks of the files it is made of |
//! | [`dial`] | the dialling end |
//! | [`event`] | what happens on the channels that somebody should hear of |
//! | [`identity`] | roles, key pins, serial numbers |
//! | [`nested`] | the session between two nodes, inside the frames a coordinator relays |
//! | [`pki`] | a small certificate authority |
//! | [`reload`] | takes changed files into use |
pub mod acceptor;
pub mod config;
pub mod dial;
pub mod event;
pub mod identity;
mod key;
pub mod nested;
pub mod pki;
mod registry;
pub mod reload;
mod stream;
