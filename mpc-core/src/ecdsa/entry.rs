//! One entry of preprocessing: a shared nonce that nobody knows, ready for any request of any key of its signers.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use super::wire::{Commit, Signed};
use super::{PointBytes, SecretScalar};
use crate::group::{EncodedPoint, Secp256k1};
use crate::id::{NodeId, PairId, SessionId};
use crate::pair::vole::{ReceiverOutput, SenderOutput};

/// What a node keeps of one run of preprocessing. Good for one signature, whatever comes of it. Secret; wiped when dropped; has no
/// encoding, so that neither a disk nor a backup can bring it back.
pub struct PoolEntry {
    /// `ssid0` and `ssid` of the run.
    pub(super) first_name: SessionId,
    pub(super) name: SessionId,
    pub(super) me: NodeId,
    pub(super) signers: BTreeSet<NodeId>,
    /// `k_i`, `R_i`, `rho_i`.
    pub(super) nonce: SecretScalar,
    pub(super) nonce_point: EncodedPoint<Secp256k1>,
    pub(super) blind: [u8; 32],
    /// Everybody's commitments, this node's included.
    pub(super) commits: BTreeMap<NodeId, Signed<Commit>>,
    pub(super) echo: [u8; 32],
    pub(super) peers: BTreeMap<NodeId, Shared>,
}

/// What a node shares with one other signer.
pub(super) struct Shared {
    pub(super) pair: PairId,
    /// Factors and product shares where this node was the sender.
    pub(super) sent: SenderOutput,
    /// `t_k * G` and `t_x * G`.
    pub(super) sent_points: [PointBytes; 2],
    /// Factor and product shares where the peer was.
    pub(super) received: ReceiverOutput,
    pub(super) zero: Option<ZeroShare>,
}

/// The one-time zero share of two signers.
pub(super) struct ZeroShare {
    /// `a_ij - a_ji`.
    pub(super) difference: SecretScalar,
    /// `Z_ij`, this node's part as a point.
    pub(super) point: PointBytes,
}

impl PoolEntry {
    /// The name of the entry: the same at all its signers.
    #[must_use]
    pub const fn name(&self) -> SessionId {
        self.name
    }

    /// Whose entry it is. All of them sign, nobody else.
    #[must_use]
    pub const fn signers(&self) -> &BTreeSet<NodeId> {
        &self.signers
    }

    /// The pair setups that went into it, by peer. When one of them is poisoned or replaced, the entry must go.
    pub fn pairs(&self) -> impl Iterator<Item = (NodeId, PairId)> + '_ {
        self.peers.iter().map(|(node, shared)| (*node, shared.pair))
    }
}

impl fmt::Debug for PoolEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolEntry")
            .field("name", &self.name)
            .field("signers", &self.signers)
            .finish_non_exhaustive()
    }
}
