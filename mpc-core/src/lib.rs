//! Threshold signatures without a dealer: pure protocols for wallet back ends.
//!
//! A key that is made here never exists in one place. `n` nodes run a distributed key generation ([`dkg`]) and from then
//! on any `t` of them can sign together. Nothing in this crate reads a clock, opens a socket, touches a disk or owns a
//! source of randomness: time, bytes and the random generator are arguments, so every run can be replayed.
//!
//! # The layers
//! * Algebra and encodings: [`group`], [`polynomial`], [`proof`], [`codec`], [`transcript`], [`secret`].
//! * Who is who: [`id`], [`identity`], [`roster`], [`envelope`].
//! * Protocols as state machines behind one trait, [`session::Session`]: [`dkg`], [`import`], [`reshare`], [`ecdsa`]; and [`frost`].
//! * What comes out: [`keys`], and [`evidence`] against a party that broke the protocol.
//! * The life of a key: [`lineage`] says which sharing counts and which share may be erased, [`backup`] and [`export`] what may leave.
//!
//! # Errors
//! Every fallible call of a protocol returns [`Error`], sorted by what the caller does next.
//!
//! # Timing
//! Operations on secrets run in constant time as far as the curve libraries provide it. Functions whose name ends in
//! `_vartime` take public values only.
#![forbid(unsafe_code)]

pub mod backup;
pub mod codec;
pub mod dkg;
pub mod ecdsa;
mod echo;
pub mod envelope;
mod error;
pub mod evidence;
pub mod export;
pub mod frost;
pub mod group;
pub mod hd;
pub mod id;
pub mod identity;
pub mod import;
pub mod keys;
pub mod known;
pub mod lineage;
pub mod pair;
pub mod polynomial;
pub mod proof;
pub mod reshare;
pub mod roster;
pub mod secret;
pub mod session;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod transcript;
pub mod verify;

pub use error::{Abort, Error, Fault, Misuse, Rejection, Strength};
