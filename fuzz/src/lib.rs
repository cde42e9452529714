//! What fuzz targets and the maker of their seeds share: one small committee whose third member is the adversary.
#![forbid(unsafe_code)]

pub mod committee;
pub mod forge;
pub mod script;
pub mod store;
