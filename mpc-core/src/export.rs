//! Export: the emergency exit. Holders give their shares to one recipient, who puts the key together.
//!
//! After it the key is known in one place, for ever; move the funds. Whether an export may happen is decided by people at every node;
//! this module only makes sure that nobody but the recipient can read what a holder gives, and that a holder that gives something else
//! is named. (Protocol notes, section 12.5.)
//!
//! ```text
//! u8 1 | key id 32 | sharing 32 | u16 index | E 32 | ct 32
//! ct = s_i + Hs("export"; key id, sharing, u16 index, EK_r, reason, E, e * EK_r)
//! ```
#![expect(
    clippy::arithmetic_side_effects,
    reason = "field and group operations wrap by definition"
)]

use std::collections::{BTreeMap, BTreeSet};

use rand_core::CryptoRng;

use crate::codec::{DecodeError, Problem, Reader, Writer};
use crate::group::{Ed25519, Point, PointBytes, Ristretto255, Scalar, Secp256k1};
use crate::id::{KeyId, NodeId, PartyIndex, SharingId, Suite};
use crate::identity::{self, ExchangeKey};
use crate::keys::{KeyGroup, KeyShare, PublicKeyPackage};
use crate::polynomial;
use crate::secret::{SecretBytes, SecretScalar};
use crate::transcript::{self, Tag};

const VERSION: u8 = 1;

/// Why an export gives no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The recipient's key, or what a holder gave, does not decode.
    #[error("does not decode: {0}")]
    Malformed(#[from] DecodeError),
    /// Something is about another key or sharing than the record.
    #[error("it is about another key or sharing")]
    OtherSharing,
    /// Fewer different holders than the threshold.
    #[error("{got} holders, {needed} are needed")]
    TooFew {
        /// How many have given something.
        got: usize,
        /// The threshold.
        needed: u16,
    },
    /// What these holders gave is not their share, or was made for another recipient or reason. Ask others.
    #[error("{} holders gave something that is not their share", nodes.len())]
    WrongShares {
        /// The holders.
        nodes: BTreeSet<NodeId>,
    },
}

/// Encrypts this node's share for the recipient. `reason` is 32 bytes that say what was approved, the digest of the order.
///
/// 131 bytes. Constant time in the share.
///
/// # Errors
/// [`ExportError::Malformed`] for a recipient that is no ristretto255 point.
pub fn seal(
    share: &KeyShare,
    recipient: &[u8; 32],
    reason: &[u8; 32],
    rng: &mut impl CryptoRng,
) -> Result<Vec<u8>, ExportError> {
    let sending = SecretScalar::<Ristretto255>::random(rng);
    match share.public().purpose().suite() {
        Suite::Ed25519 => seal_on::<Ed25519>(share, recipient, reason, &sending),
        Suite::Secp256k1 => seal_on::<Secp256k1>(share, recipient, reason, &sending),
    }
}

fn seal_on<G: KeyGroup>(
    share: &KeyShare,
    recipient: &[u8; 32],
    reason: &[u8; 32],
    sending: &SecretScalar<Ristretto255>,
) -> Result<Vec<u8>, ExportError> {
    let (_, secret) = share.view::<G>().ok_or(ExportError::OtherSharing)?;
    let lane = Lane {
        key: share.public().key_id(),
        sharing: share.public().sharing(),
        index: share.index(),
        recipient,
        reason,
        sent: sending.mul_base().encode(),
    };
    let agreed = identity::exchange_point(recipient)? * sending.expose_secret();
    let padded = *secret.expose_secret() + lane.pad::<G>(&agreed);
    let mut out = Writer::with_capacity(131);
    out.u8(VERSION)
        .bytes(lane.key.as_bytes())
        .bytes(lane.sharing.as_bytes())
        .u16(lane.index.get())
        .bytes(lane.sent.as_slice())
        .bytes(&padded.encode());
    Ok(out.finish())
}

/// Opens what holders gave and puts the key together: the canonical encoding of its scalar (secp256k1 big-endian, Ed25519
/// little-endian), which is checked against the public key.
///
/// # Errors
/// [`ExportError`]; holders whose gift is not their share are named, all at once.
pub fn open<T: AsRef<[u8]>>(
    gifts: impl IntoIterator<Item = T>,
    recipient: &ExchangeKey,
    reason: &[u8; 32],
    package: &PublicKeyPackage,
) -> Result<SecretBytes<32>, ExportError> {
    let gifts: Vec<T> = gifts.into_iter().collect();
    match package.purpose().suite() {
        Suite::Ed25519 => open_on::<Ed25519, T>(&gifts, recipient, reason, package),
        Suite::Secp256k1 => open_on::<Secp256k1, T>(&gifts, recipient, reason, package),
    }
}

fn open_on<G: KeyGroup, T: AsRef<[u8]>>(
    gifts: &[T],
    recipient: &ExchangeKey,
    reason: &[u8; 32],
    package: &PublicKeyPackage,
) -> Result<SecretBytes<32>, ExportError> {
    let points = package.view::<G>().ok_or(ExportError::OtherSharing)?;
    let public = recipient.public();
    let (mut shares, mut wrong) = (BTreeMap::new(), BTreeSet::new());
    for gift in gifts {
        let (lane, padded) = read::<G>(gift.as_ref(), &public, reason)?;
        if lane.key != package.key_id() || lane.sharing != package.sharing() {
            return Err(ExportError::OtherSharing);
        }
        let node = package.node(lane.index);
        let (Some(node), Some(expected)) = (node, points.verifying_shares.get(&lane.index)) else {
            return Err(ExportError::OtherSharing);
        };
        let agreed = lane.sent.decode("sent")? * recipient.secret().expose_secret();
        let share = SecretScalar::<G>::new(padded - lane.pad::<G>(&agreed));
        if share.mul_base() == *expected {
            shares.insert(lane.index, share);
        } else {
            wrong.insert(node);
        }
    }
    if !wrong.is_empty() {
        return Err(ExportError::WrongShares { nodes: wrong });
    }
    let needed = package.params().threshold();
    let indices: BTreeSet<PartyIndex> = shares.keys().copied().collect();
    if indices.len() < usize::from(needed) {
        let got = indices.len();
        return Err(ExportError::TooFew { got, needed });
    }
    let weights = polynomial::lagrange_at_zero::<G>(&indices);
    let weights = weights.map_err(|_| ExportError::OtherSharing)?;
    let mut key = SecretScalar::<G>::new(Scalar::zero());
    for (index, share) in &shares {
        let weight = weights.get(index).ok_or(ExportError::OtherSharing)?;
        key = SecretScalar::new(*key.expose_secret() + *weight * *share.expose_secret());
    }
    if key.mul_base() != points.group_key {
        return Err(ExportError::OtherSharing);
    }
    let mut bytes = key.dangerous_to_bytes();
    Ok(SecretBytes::take(&mut bytes))
}

/// What one gift is about: everything that its pad is bound to.
struct Lane<'a> {
    key: KeyId,
    sharing: SharingId,
    index: PartyIndex,
    recipient: &'a [u8; 32],
    reason: &'a [u8; 32],
    sent: PointBytes<Ristretto255>,
}

impl Lane<'_> {
    fn pad<G: KeyGroup>(&self, agreed: &Point<Ristretto255>) -> Scalar<G> {
        transcript::wide(Tag::EXPORT)
            .field(self.key)
            .field(self.sharing)
            .u16(self.index.get())
            .field(self.recipient)
            .field(self.reason)
            .field(self.sent)
            .point(agreed)
            .scalar()
    }
}

fn read<'a, G: KeyGroup>(
    bytes: &[u8],
    recipient: &'a [u8; 32],
    reason: &'a [u8; 32],
) -> Result<(Lane<'a>, Scalar<G>), DecodeError> {
    let mut reader = Reader::measured("gift", bytes, 131)?;
    if reader.u8("version")? != VERSION {
        return Err(DecodeError::new("version", Problem::Unknown));
    }
    let key = KeyId::from_bytes(reader.array("key_id")?);
    let sharing = SharingId::from_bytes(reader.array("sharing")?);
    let index = PartyIndex::new(reader.u16("index")?)
        .map_err(|_| DecodeError::new("index", Problem::Unknown))?;
    let sent = PointBytes::from_slice("sent", reader.bytes("sent", 32)?)?;
    let padded = Scalar::decode("padded", reader.bytes("padded", 32)?)?;
    reader.finish("gift")?;
    let lane = Lane {
        key,
        sharing,
        index,
        recipient,
        reason,
        sent,
    };
    Ok((lane, padded))
}
