//! Distributed key generation: commit, reveal, certify.
//!
//! # Protocol
//! (Protocol notes, section 3.) Every party deals a random polynomial; the key is the sum of the constant terms.
//! 1. Round 1 ([`Kind::DkgRound1`]): a commitment to everything that round 2 reveals, and a one-time receiving key.
//! 2. Round 2 ([`Kind::DkgRound2`]): the polynomial in the exponent, proofs of knowledge of its coefficients, and the
//!    share of every party encrypted under its one-time key, all as one broadcast.
//! 3. Round 3 ([`Kind::DkgRound3`]): a signature over everything that was agreed, or a complaint about a share.
//!
//! A key exists when all parties have signed the same transcript; the signatures are its [`DkgCertificate`], and a party
//! that misses one of them finishes later from its [`Pending`] share. Every round carries an echo of the round before, so
//! parties that were told different things find out before anything depends on it, exchange what they hold
//! ([`Kind::DkgOriginals`]), and convict whoever signed two versions.
//!
//! ```text
//! DKG/R1    n 32 | D 32 | com 32
//! DKG/R2    E_1 32 | C t points | E 32 | cc 32 | rho 32 | pop t times (point, scalar) | poe 64 | ct n times 32, by index
//! DKG/R3    1 | E_2 32 | T 32 | epoch 4 | attempt 4 | signature 64            certificate
//!           2 | E_2 32 | accused 32 | K 32 | T_1 32 | T_2 32 | z 32            complaint
//! DKG/ORIG  ssid 32 | n times (u32be length, envelope of the round), in ascending order of the node names
//! ```
//! # Pair setups
//! (Protocol notes, section 4.) Keys for Ed25519 and BIP 340 need nothing pairwise. With ECDSA keys every pair of nodes also makes a
//! setup, or goes on with the live one: round 1 then has 37 bytes more for every peer, in ascending order of the peers, three more
//! messages go to each peer without a live setup, and the certificate has the name of the setup with every peer before its signature.
//!
//! ```text
//! DKG/R1    .. | n - 1 times (last generation 4 | reuse 1 | A 32, zero with reuse)
//! DKG/R2P   phi 8192                                 to one peer: the reply to its offer A
//! DKG/T1    pid 32 | extension 14384                 to one peer: a trial of the new setup
//! DKG/T2    E_1 32 | multiplication 73792            to one peer: the answer
//! DKG/R3    1 | E_2 32 | T 32 | epoch 4 | attempt 4 | n - 1 times pid 32 | signature 64
//! ```
//! If the two flags of any pair differ, every party stops at the end of round 1 and nobody is accused. A trial that fails is said only
//! when the echoes of round 1 are known to be the same, so that it hides no equivocation; the setup is discarded and nobody is
//! poisoned, because its secret was never used. New setups are stored together with the share, before the certificate leaves, and
//! are active with the certificate.
//!
//! # Security
//! Secure against any number of corrupted parties below the threshold as to secrecy, and against all but one as to
//! correctness. A run never goes on without an accused party: it aborts and names it.

pub(crate) mod ceremony;
pub(crate) mod certificate;
mod collect;
mod complaint;
mod finish;
pub(crate) mod judge;
mod machine;
mod originals;
mod pairing;
pub(crate) mod pending;
pub(crate) mod plan;
#[cfg(test)]
mod rigged;
mod round1;
mod round2;
pub(crate) mod round3;
mod session;

pub use pairing::PairStatus;
pub use pending::{DkgCertificate, Pending};
pub use session::Session;

use std::collections::BTreeMap;

#[cfg(doc)]
use crate::envelope::Kind;
use crate::id::{Attempt, NodeId, Params, Purpose, RequestId};
use crate::keys::KeyShare;
use crate::pair::PairRecord;
use crate::roster::Roster;

/// What a key generation is to make, and with whom. All parties must use the same values, except `me`.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The parties.
    pub roster: Roster,
    /// This node.
    pub me: NodeId,
    /// What the key is for.
    pub purpose: Purpose,
    /// Threshold and number of parties.
    pub params: Params,
    /// 32 fresh bytes chosen for this key, never used before.
    pub request_id: RequestId,
    /// Which try for this request it is.
    pub attempt: Attempt,
    /// What this node has with its peers. Read for ECDSA keys only: nodes with a live setup go on with it, others make one. A peer
    /// that is not mentioned has none and never had one.
    pub pairs: BTreeMap<NodeId, PairStatus>,
}

/// A finished key.
#[derive(Debug)]
pub struct DkgOutput {
    /// This node's share. Secret.
    pub share: KeyShare,
    /// The signatures of all parties.
    pub certificate: DkgCertificate,
    /// The pair setups that were made on the way, to be active from now on. Secret.
    pub pairs: Vec<PairRecord>,
}
