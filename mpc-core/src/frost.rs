//! Threshold Schnorr signatures: FROST (RFC 9591) for Ed25519 and for BIP 340 with BIP 341 key path spends.
//!
//! # Protocol
//! 1. *Round one.* Each signer draws a pair of [`Nonces`] and publishes the [`Commitment`] to it: [`commit`], or ahead of time a
//!    [`Pool`] of them.
//! 2. *Round two.* From `threshold` or more commitments, one [`SigningRequest`] and its own record of the key, each signer builds
//!    the [`Package`] and answers with a [`SignatureShare`]: [`sign`].
//! 3. Anybody adds the shares up: [`aggregate`] returns a verified [`Signature`] or the names of those whose share is wrong.
//!
//! [`robust`] drives this so that silent or lying signers cannot stop it; [`wire`] has the signed forms in which commitments and
//! shares travel, so that a wrong share is evidence against its author.
//!
//! # Security
//! Unforgeable with up to `threshold - 1` corrupt signers and a hostile coordinator, for any number of concurrent sessions, because
//! binding factors tie every nonce to the key, the message and the whole list of commitments. All of it rests on one rule: nonces
//! are used once. See [`Nonces`].
//!
//! ```
//! # use std::collections::BTreeMap;
//! use mpc_core::frost::{self, Package, SigningRequest, Tweak};
//! # use mpc_core::{Error, id::Purpose, keys::KeyShare, verify};
//! # use rand_core::CryptoRng;
//!
//! # fn run(shares: &[KeyShare], rng: &mut impl CryptoRng) -> Result<(), Error> {
//! let request = SigningRequest::new(Purpose::Ed25519, b"the whole message".to_vec(), Tweak::None)?;
//! let (mut nonces, mut commitments) = (Vec::new(), BTreeMap::new());
//! for share in shares {
//!     let (secret, commitment) = frost::commit(share, rng)?;
//!     nonces.push(secret);
//!     commitments.insert(share.index(), commitment);
//! }
//! let mut signature_shares = BTreeMap::new();
//! for (share, nonces) in shares.iter().zip(nonces) {
//!     let package = Package::new(share.public(), commitments.clone(), &request)?;
//!     signature_shares.insert(share.index(), frost::sign(nonces, share, &package)?);
//! }
//! # let public = shares.first().ok_or(Error::Unreachable("no shares"))?.public();
//! let package = Package::new(public, commitments, &request)?;
//! let signature = frost::aggregate(&package, &signature_shares)?;
//! # let _ = signature; Ok(())
//! # }
//! ```

mod aggregate;
mod commitment;
mod nonces;
mod package;
mod pool;
mod request;
pub mod robust;
mod sign;
pub mod suite;
mod taproot;
pub mod wire;

#[cfg(test)]
pub(crate) mod vectors;

pub use aggregate::{Signature, aggregate, verify_share};
pub use commitment::Commitment;
pub use nonces::{Nonces, commit};
pub use package::Package;
pub use pool::Pool;
pub use request::{MAX_MESSAGE, SigningRequest, Tweak};
pub use sign::{SignatureShare, sign};

/// A value that exists for each of the suites that keys sign with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Erased<E, T> {
    Ed25519(E),
    Taproot(T),
}
