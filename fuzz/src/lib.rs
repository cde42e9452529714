//! What fuzz targets and the maker of their seeds share: one small committee whose third member is the adversary.
#![forbid(unsafe_code)]

pub mod approval;
pub mod committee;
pub mod forge;
pub mod script;
pub mod signers;
pub mod store;
pub mod wallet;
