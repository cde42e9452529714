//! Pure decisions about what may be signed: a policy document, a raw transaction and the approvals of people go in,
//! a verdict with reasons comes out.
//!
//! Nothing here reads a clock, a file, a socket or a random source. Time is an argument in Unix milliseconds, so every
//! signer node, the coordinator and the command line reach the same verdict from the same facts.
//!
//! | module | what it holds |
//! |---|---|
//! | [`address`] | the address of a public key on each chain |
//! | [`amount`] | base-unit amounts, integers only |
//! | [`approval`] | a person's vote on one intent |
//! | [`bitcoin`] | the decoder of Bitcoin transactions |
//! | [`chain`] | chains, addresses, assets, transfer kinds |
//! | [`cluster`] | the file that names nodes, coordinator and first governors |
//! | [`codec`] | strict bounded binary encoding |
//! | [`conflict`] | what a transaction uses up on its chain |
//! | [`credential`] | the public keys of people and machines |
//! | [`digest`] | the one place that hashes |
//! | [`document`] | the policy as a text, read strictly |
//! | [`ethereum`] | the decoder of Ethereum transactions |
//! | [`evaluate`] | the decision |
//! | [`governance`] | changes of the policy, freeze and unfreeze |
//! | [`id`] | short names of people, machines, wallets, rules, groups |
//! | [`intent`] | what an initiator asks for |
//! | [`ledger`] | what was spent, by scope and window |
//! | [`lint`] | warnings about a valid document |
//! | [`solana`] | the decoder of Solana messages, and a builder |
//! | [`sshsig`] | signatures made with `ssh-keygen` |
//! | [`statement`] | the text form of everything a person signs |
//! | [`transaction`] | what every decoder makes of raw bytes, and what is to be signed |
//! | [`time`] | durations and UTC instants as text |

#![forbid(unsafe_code)]

pub mod address;
pub mod amount;
pub mod approval;
pub mod bitcoin;
pub mod chain;
pub mod cluster;
pub mod codec;
pub mod conflict;
pub mod credential;
pub mod digest;
pub mod document;
pub mod ethereum;
pub mod evaluate;
pub mod governance;
pub mod id;
pub mod intent;
pub mod ledger;
pub mod lint;
pub mod solana;
pub mod sshsig;
pub mod statement;
pub mod time;
pub mod transaction;
