//! Pure decisions about what may be signed: a policy document, a raw transaction and the approvals of people go in,
//! a verdict with reasons comes out.
//!
//! Nothing here reads a clock, a file, a socket or a random source. Time is an argument in Unix milliseconds, so every
//! signer node, the coordinator and the command line reach the same verdict from the same facts.
//!
//! | module | what it holds |
//! |---|---|
//! | [`amount`] | base-unit amounts, integers only |
//! | [`chain`] | chains, addresses, assets, transfer kinds |
//! | [`credential`] | the public keys of people and machines |
//! | [`id`] | short names of people, machines, wallets, rules, groups |
//! | [`time`] | durations and UTC instants as text |

#![forbid(unsafe_code)]

pub mod amount;
pub mod chain;
pub mod credential;
pub mod id;
pub mod time;
