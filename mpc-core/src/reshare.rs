//! Refresh and reshare: new shares of an existing key, for the same committee or another one.
//!
//! (Protocol notes, sections 12.1 and 12.2.)

mod request;

pub use request::{Proposal, Request};
