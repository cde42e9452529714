//! Threshold ECDSA over secp256k1.
//!
//! # Protocol
//! (Protocol notes, section 7.) Two rounds that need neither key nor message run ahead and fill a pool; two small rounds turn an entry
//! of the pool and a request into a signature.
//! 1. [`preprocess`]: a set of exactly `t` nodes draws shares of a nonce and multiplies with every other ([`crate::pair`]). Each keeps a
//!    [`PoolEntry`].
//! 2. [`open`]: a node that approves a request consumes its entry and opens its part of the nonce, together with its key share and
//!    nonce masked by the products ("S1").
//! 3. [`Opened::respond`]: after checking what all others opened, each sends its share of numerator and denominator ("S2").
//! 4. [`combine`] divides, verifies, and only then gives the signature out. It needs no secret; a coordinator does it.
//!
//! When every check passes and the signature does not verify all the same, [`blame`] finds out whose response is wrong.
//! Two signers without a pool need three messages each instead of four: [`fused`].
//!
//! The nonce point is unknown to everybody until all signers have fixed the request, derivation path included.
//!
//! ```text
//! SIG/P1B   n 32 | com 32 | [cz 32 per peer]                                               to all
//! SIG/P1P   pid 32 | extension 14384 | [a 32]                                              to one
//! SIG/P2    echo of P1B 32 | multiplication 73792                                          to one
//! SIG/S1    hreq 32 | echo of P1B 32 | R 33 | rho 32 | per peer: gk 32, gx 32, Gk 33, Gx 33, [psi 32, Z 33]    to all
//! SIG/S2    u 32 | w 32 | echo of S1 32 | R 33                                             to all
//! SIG/BLAME echo of S2 32 | facts 32 | Phi 33 | Kk 33 | Kx 33 | proof 131 | per peer: B 33, Ek 33, Ex 33, proof 131    to all
//! ```
//! Brackets: for three or more signers. Lists per peer are in ascending order of the node names, the sender left out.
//!
//! # Security
//! Secure with abort against all but one of the signers. Failed checks of extension, multiplication and products leak a bit of a secret:
//! [`crate::Abort::poisons`] says which pair setup must never be used again, and that has to be durable before anything else happens.
//! Nobody can make two honest nodes fail such a check with each other: all that enters it is signed by one of the two.

pub mod blame;
mod combine;
mod entry;
pub mod fused;
pub(crate) mod judge;
pub mod preprocess;
mod products;
mod request;
mod sign;
mod wire;

pub use combine::{EcdsaSignature, combine};
pub use entry::PoolEntry;
pub use fused::Fused;
pub use preprocess::{Preprocessing, Setup};
pub use request::{Payload, SigningRequest};
#[cfg(feature = "blame")]
pub use sign::Responded;
pub use sign::{HeldOpening, Opened, open};

use std::collections::BTreeSet;

use crate::group::Secp256k1;
use crate::id::NodeId;

type Point = crate::group::Point<Secp256k1>;
type PointBytes = crate::group::PointBytes<Secp256k1>;
type Scalar = crate::group::Scalar<Secp256k1>;
type SecretScalar = crate::secret::SecretScalar<Secp256k1>;

/// The name of protocol and parameters in the names of sessions.
const SUITE: &str = "ECDSA-secp256k1-DKLs-AsharovII-v1";

/// Everybody of `signers` except `me`, in ascending order.
fn peers<'a>(
    signers: &'a BTreeSet<NodeId>,
    me: &'a NodeId,
) -> impl Iterator<Item = NodeId> + Clone + 'a {
    signers.iter().filter(move |node| *node != me).copied()
}

/// Whether zero shares and masks of the common factor are needed: with two signers there is nobody to hide them from.
fn has_zero_shares(signers: &BTreeSet<NodeId>) -> bool {
    signers.len() > 2
}
