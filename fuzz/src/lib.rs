//! What fuzz targets and the maker of their seeds share: one small committee whose third member is the adversary.
#![forbid(unsafe_code)]

pub mod adversary;
pub mod approval;
pub mod backups;
pub mod committee;
pub mod exports;
pub mod forge;
pub mod script;
pub mod sharings;
pub mod signers;
pub mod store;
pub mod wallet;
