//! Reshares: new shares, members and thresholds for the same key.

mod import;
mod lineage;
mod misbehaviour;
mod protocol;
mod world;
