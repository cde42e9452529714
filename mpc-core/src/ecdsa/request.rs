//! What is to be signed, by whom, under which key: fixed by every signer before the nonce is known.

use std::collections::{BTreeMap, BTreeSet};

use super::{Point, Scalar};
use crate::Misuse;
use crate::group::Secp256k1;
use crate::hd::{self, DerivationPath};
use crate::id::{NodeId, PartyIndex, Purpose, RequestId, SessionId};
use crate::keys::PublicKeyPackage;
use crate::polynomial;
use crate::transcript::ciphersuite::{keccak256, sha256};
use crate::transcript::{self, Tag};

/// The longest message in bytes.
pub(super) const MAX_MESSAGE: usize = 1 << 20;

/// The bytes to sign, and how they become the number that ECDSA signs.
///
/// # Security
/// Whoever chooses a digest freely can have a signature for anything that hashes to it, unseen. So the message itself is asked for,
/// and a digest alone needs a key of [`Purpose::EcdsaRaw`], which signs nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// A message to be hashed with SHA-256.
    Sha256(&'a [u8]),
    /// A message to be hashed with SHA-256 twice, as Bitcoin does.
    DoubleSha256(&'a [u8]),
    /// A message to be hashed with Keccak-256, as Ethereum does.
    Keccak256(&'a [u8]),
    /// A digest whose message nobody has seen.
    RawDigest([u8; 32]),
}

impl Payload<'_> {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "sha256",
            Self::DoubleSha256(_) => "sha256d",
            Self::Keccak256(_) => "keccak256",
            Self::RawDigest(_) => "raw",
        }
    }

    const fn purpose(&self) -> Purpose {
        match self {
            Self::RawDigest(_) => Purpose::EcdsaRaw,
            Self::Sha256(_) | Self::DoubleSha256(_) | Self::Keccak256(_) => Purpose::Ecdsa,
        }
    }

    fn digest(&self) -> Result<[u8; 32], Misuse> {
        let bounded = |message: &[u8]| {
            if message.len() > MAX_MESSAGE {
                Err(Misuse::InvalidRequest("the message is longer than 1 MiB"))
            } else {
                Ok(())
            }
        };
        match self {
            Self::Sha256(message) => bounded(message).map(|()| sha256(&[message])),
            Self::DoubleSha256(message) => {
                bounded(message).map(|()| sha256(&[&sha256(&[message])]))
            }
            Self::Keccak256(message) => bounded(message).map(|()| keccak256(message)),
            Self::RawDigest(digest) => Ok(*digest),
        }
    }
}

/// A request as every signer computes it for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningRequest {
    name: [u8; 32],
    signers: BTreeMap<NodeId, PartyIndex>,
    /// `lambda_i` and `S_i` for every signer.
    shares: BTreeMap<NodeId, (Scalar, Point)>,
    digest: [u8; 32],
    tweak: Scalar,
    public_key: Point,
}

impl SigningRequest {
    /// A request to sign `payload` with the child of `key` at `path`, by exactly these signers.
    ///
    /// # Errors
    /// [`Misuse::WrongPurpose`] if the key is not for such a payload; [`Misuse::InvalidSigners`] unless there are exactly as many
    /// signers as the threshold says, all of them members; [`Misuse::InvalidRequest`] for a path without a child key or a message
    /// above 1 MiB.
    pub fn new(
        key: &PublicKeyPackage,
        signers: &BTreeSet<NodeId>,
        path: &DerivationPath,
        payload: &Payload<'_>,
        request_id: RequestId,
    ) -> Result<Self, Misuse> {
        if key.purpose() != payload.purpose() {
            return Err(Misuse::WrongPurpose {
                key: key.purpose(),
                request: payload.purpose(),
            });
        }
        let points = key
            .view::<Secp256k1>()
            .ok_or(Misuse::InvalidKey("the key is of another curve"))?;
        if signers.len() != usize::from(key.params().threshold()) {
            return Err(Misuse::InvalidSigners("exactly the threshold signs"));
        }
        let indexed: BTreeMap<NodeId, PartyIndex> = signers
            .iter()
            .map(|node| key.index_of(node).map(|index| (*node, index)))
            .collect::<Option<_>>()
            .ok_or(Misuse::InvalidSigners("a signer holds no share of the key"))?;
        let child = hd::derive(&points.group_key, key.chain_code(), path)
            .map_err(|_| Misuse::InvalidRequest("there is no child key at this path"))?;
        let lambda =
            polynomial::lagrange_at_zero::<Secp256k1>(&indexed.values().copied().collect())?;
        let weigh = |(node, index): (&NodeId, &PartyIndex)| {
            let lambda = *lambda.get(index)?;
            let share = *points.verifying_shares.get(index)?;
            Some((*node, (lambda, share)))
        };
        let shares = indexed
            .iter()
            .map(weigh)
            .collect::<Option<_>>()
            .ok_or(Misuse::InvalidSigners("a signer holds no share of the key"))?;
        let digest = payload.digest()?;
        let name = transcript::hash(Tag::REQ)
            .field(key.key_id())
            .field(key.sharing())
            .field(key.purpose().as_str())
            .u32(key.epoch().0)
            .u32(key.attempt().0)
            .list(signers)
            .list(path.indices().iter().map(|index| index.to_be_bytes()))
            .scalar_field(&child.tweak)
            .field(payload.kind())
            .field(digest)
            .field(request_id)
            .digest();
        Ok(Self {
            name,
            signers: indexed,
            shares,
            digest,
            tweak: child.tweak,
            public_key: child.point,
        })
    }

    /// `hreq`: the hash of everything about the request. 32 bytes.
    #[must_use]
    pub const fn name(&self) -> &[u8; 32] {
        &self.name
    }

    /// What ECDSA signs. 32 bytes.
    #[must_use]
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The key that the signature verifies under, 33 bytes SEC1 compressed.
    #[must_use]
    pub fn public_key(&self) -> Vec<u8> {
        self.public_key.encode().as_slice().to_vec()
    }

    /// The signers and their indices.
    #[must_use]
    pub const fn signers(&self) -> &BTreeMap<NodeId, PartyIndex> {
        &self.signers
    }

    pub(super) fn signer_set(&self) -> BTreeSet<NodeId> {
        self.signers.keys().copied().collect()
    }

    /// The name of the signing session that an entry of preprocessing and this request make.
    pub(super) fn session(&self, entry: &SessionId) -> SessionId {
        let hash = transcript::hash(Tag::SSID_SIGN).field(entry);
        SessionId::from_bytes(hash.field(self.name).digest())
    }

    /// `lambda_i` and `S_i`.
    pub(super) fn share(&self, node: &NodeId) -> Option<&(Scalar, Point)> {
        self.shares.get(node)
    }

    /// `lambda_i * S_i` for every signer.
    pub(super) fn weighted_shares(&self) -> BTreeMap<NodeId, Point> {
        let weigh = |(node, share): (&NodeId, &(Scalar, Point))| {
            (*node, Point::multi_mul_vartime(&[*share]))
        };
        self.shares.iter().map(weigh).collect()
    }

    /// `tau`.
    pub(super) const fn tweak(&self) -> &Scalar {
        &self.tweak
    }

    /// The digest as a number.
    pub(super) fn message_scalar(&self) -> Scalar {
        Scalar::from_be_reduced(&self.digest)
    }

    pub(super) const fn public_point(&self) -> &Point {
        &self.public_key
    }
}
