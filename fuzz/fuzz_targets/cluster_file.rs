//! Cluster files: no panic, what is read renders to a file that reads the same, and an explanation for every refusal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use policy::cluster::ClusterFile;

fuzz_target!(|bytes: &[u8]| match ClusterFile::parse(bytes) {
    Ok(file) => assert_eq!(ClusterFile::parse(file.render().as_bytes()), Ok(file)),
    Err(error) => assert!(!error.problems.is_empty()),
});
