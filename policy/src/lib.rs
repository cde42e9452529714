//! Pure decisions: a transaction and a policy in, a verdict with reasons out.
//!
//! No input or output, no clock, no randomness of its own: time is an argument, and the same arguments always give the
//! same answer, at a node, at the coordinator and on an approver's machine.

#![forbid(unsafe_code)]

pub mod approval;
pub mod codec;
pub mod digest;
pub mod intent;
pub mod receipt;
pub mod sshsig;
pub mod statement;
