//! Wire types, their total conversions, and the mutual-TLS channels they travel over.
//!
//! | module | what it holds |
//! |---|---|
//! | [`channel`] | the mutual-TLS channels to the coordinator, and the nested one between two nodes |
//! | [`convert`] | wire values to and from what the services work with; failures and gRPC statuses |
//! | [`evidence_files`] | evidence of faults as files |
//! | [`keys`] | the public side of threshold keys |
//! | [`limits`] | how large each kind of message may be |
//! | [`link`] | what a node signs on its link |
//! | [`settings`] | the reader of the services' settings files |
//! | [`v1`] | generated from `proto/quorate/v1` |
#![forbid(unsafe_code)]

pub mod channel;
pub mod convert;
pub mod evidence_files;
pub mod keys;
pub mod limits;
pub mod link;
pub mod settings;

/// Generated from `proto/quorate/v1`.
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    clippy::allow_attributes,
    unreachable_pub,
    unused_qualifications,
    missing_debug_implementations,
    reason = "generated code; the .proto files carry the documentation"
)]
pub mod v1 {
    tonic::include_proto!("quorate.v1");
}

/// The compiled descriptor set, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));
