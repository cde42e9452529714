//! Tests of FROST through the public interface, and of the verifiers of finished signatures.

mod committee;
mod interop;
mod records;
mod robust;
mod signing;
mod verifiers;
mod wire;
