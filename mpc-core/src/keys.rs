//! Keys: the public record that every member holds, and one member's share.
//!
//! The curve is erased at the surface, because a node holds keys of several curves; protocols get the typed inside with
//! [`PublicKeyPackage::view`] and [`KeyShare::view`]. A value of these types is consistent by construction.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::Misuse;
use crate::codec::{DecodeError, Problem, Reader, Writer};
use crate::group::{Ed25519, Group, Point, PointBytes, Scalar, Secp256k1};
use crate::id::{Attempt, Epoch, KeyId, NodeId, Params, PartyIndex, Purpose, SharingId, Suite};
use crate::known::Known;
use crate::polynomial;
use crate::secret::SecretScalar;

const VERSION: u8 = 2;

/// A group that keys live in: [`Ed25519`] or [`Secp256k1`].
pub trait KeyGroup: Group {
    /// Its name in key records.
    const SUITE: Suite;

    #[doc(hidden)]
    fn erase_points(points: PublicPoints<Self>) -> AnyPoints;
    #[doc(hidden)]
    fn points(points: &AnyPoints) -> Option<&PublicPoints<Self>>;
    #[doc(hidden)]
    fn erase_secret(secret: SecretScalar<Self>) -> AnySecret;
    #[doc(hidden)]
    fn secret(secret: &AnySecret) -> Option<&SecretScalar<Self>>;
}

/// The points of a key of one of the curves.
#[doc(hidden)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnyPoints {
    #[doc(hidden)]
    Ed25519(PublicPoints<Ed25519>),
    #[doc(hidden)]
    Secp256k1(PublicPoints<Secp256k1>),
}

/// The secret of a share of one of the curves.
#[doc(hidden)]
#[derive(Debug)]
pub enum AnySecret {
    #[doc(hidden)]
    Ed25519(SecretScalar<Ed25519>),
    #[doc(hidden)]
    Secp256k1(SecretScalar<Secp256k1>),
}

macro_rules! key_group {
    ($group:ident) => {
        impl KeyGroup for $group {
            const SUITE: Suite = Suite::$group;

            fn erase_points(points: PublicPoints<Self>) -> AnyPoints {
                AnyPoints::$group(points)
            }

            fn points(points: &AnyPoints) -> Option<&PublicPoints<Self>> {
                if let AnyPoints::$group(points) = points {
                    Some(points)
                } else {
                    None
                }
            }

            fn erase_secret(secret: SecretScalar<Self>) -> AnySecret {
                AnySecret::$group(secret)
            }

            fn secret(secret: &AnySecret) -> Option<&SecretScalar<Self>> {
                if let AnySecret::$group(secret) = secret {
                    Some(secret)
                } else {
                    None
                }
            }
        }
    };
}

key_group!(Ed25519);
key_group!(Secp256k1);

/// The points of a key: the group key and the verifying share of every member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicPoints<G: Group> {
    /// `X`: what signatures verify under.
    pub group_key: Point<G>,
    /// `S_i = s_i * g` for every member.
    pub verifying_shares: BTreeMap<PartyIndex, Point<G>>,
}

/// The facts about a key that go with its points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyFacts {
    /// The name of the key; the same in every epoch.
    pub key_id: KeyId,
    /// The sharing that the shares are of; another one in every epoch.
    pub sharing: SharingId,
    /// What the key is for.
    pub purpose: Purpose,
    /// How often its shares have been replaced.
    pub epoch: Epoch,
    /// Which try of that epoch the sharing is; 0 for the sharing of a key generation.
    pub attempt: Attempt,
    /// How many members must sign.
    pub threshold: u16,
    /// BIP 32 chain code, public inside the group.
    pub chain_code: [u8; 32],
}

/// One member of a key, as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyMember {
    /// Its Shamir coordinate.
    pub index: PartyIndex,
    /// The node.
    pub node: NodeId,
    /// `S_i`, encoded: 32 bytes (Ed25519) or 33 (secp256k1).
    pub verifying_share: Vec<u8>,
}

/// Everything public about a key in one epoch.
///
/// Invariants: 1. the points are of the purpose's curve; 2. members and verifying shares have the same indices; 3. no point
/// is the identity; 4. the verifying shares lie on one polynomial of degree below the threshold whose value at 0 is the
/// group key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKeyPackage {
    facts: KeyFacts,
    params: Params,
    nodes: BTreeMap<PartyIndex, NodeId>,
    points: AnyPoints,
    /// The encoding of the group key, which every signature hashes.
    public_key: Vec<u8>,
    /// The encodings of the verifying shares, by index: the record is encoded more often than it is made.
    encoded_shares: Vec<Vec<u8>>,
}

impl PublicKeyPackage {
    /// Puts a package together and checks its invariants.
    ///
    /// # Errors
    /// [`Misuse::InvalidParams`] or [`Misuse::InvalidKey`].
    pub fn new<G: KeyGroup>(
        facts: KeyFacts,
        nodes: BTreeMap<PartyIndex, NodeId>,
        points: PublicPoints<G>,
    ) -> Result<Self, Misuse> {
        check_polynomial(&points, usize::from(facts.threshold))?;
        Self::computed(facts, nodes, points)
    }

    /// As [`Self::new`], for points that were computed from one polynomial: invariant 4 is not checked again.
    pub(crate) fn computed<G: KeyGroup>(
        facts: KeyFacts,
        nodes: BTreeMap<PartyIndex, NodeId>,
        points: PublicPoints<G>,
    ) -> Result<Self, Misuse> {
        let params = Params::new(
            facts.threshold,
            u16::try_from(nodes.len()).unwrap_or(u16::MAX),
        )?;
        if facts.purpose.suite() != G::SUITE {
            return Err(Misuse::InvalidKey("the curve is not the purpose's curve"));
        }
        if !nodes.keys().eq(points.verifying_shares.keys()) {
            return Err(Misuse::InvalidKey("members and verifying shares differ"));
        }
        if nodes.values().collect::<BTreeSet<_>>().len() != nodes.len() {
            return Err(Misuse::InvalidKey("a node holds two shares"));
        }
        if points.group_key.is_identity()
            || points.verifying_shares.values().any(Point::is_identity)
        {
            return Err(Misuse::InvalidKey("a point is the identity"));
        }
        let encode = |point: &Point<G>| point.encode().as_slice().to_vec();
        let public_key = encode(&points.group_key);
        let encoded_shares = points.verifying_shares.values().map(encode).collect();
        Ok(Self {
            facts,
            params,
            nodes,
            points: G::erase_points(points),
            public_key,
            encoded_shares,
        })
    }

    /// The name of the key.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.facts.key_id
    }

    /// The sharing that the shares are of.
    #[must_use]
    pub const fn sharing(&self) -> SharingId {
        self.facts.sharing
    }

    /// What the key is for.
    #[must_use]
    pub const fn purpose(&self) -> Purpose {
        self.facts.purpose
    }

    /// How often its shares have been replaced.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.facts.epoch
    }

    /// Which try of its epoch the sharing is.
    #[must_use]
    pub const fn attempt(&self) -> Attempt {
        self.facts.attempt
    }

    /// Threshold and number of members.
    #[must_use]
    pub const fn params(&self) -> Params {
        self.params
    }

    /// BIP 32 chain code, public inside the group. 32 bytes.
    #[must_use]
    pub const fn chain_code(&self) -> &[u8; 32] {
        &self.facts.chain_code
    }

    /// The facts that go with the points.
    #[must_use]
    pub const fn facts(&self) -> &KeyFacts {
        &self.facts
    }

    /// Which node holds which index.
    #[must_use]
    pub const fn nodes(&self) -> &BTreeMap<PartyIndex, NodeId> {
        &self.nodes
    }

    /// The node with this index.
    #[must_use]
    pub fn node(&self, index: PartyIndex) -> Option<NodeId> {
        self.nodes.get(&index).copied()
    }

    /// The index of this node.
    #[must_use]
    pub fn index_of(&self, node: &NodeId) -> Option<PartyIndex> {
        self.nodes
            .iter()
            .find_map(|(index, member)| (member == node).then_some(*index))
    }

    /// All members with their encoded verifying shares, by index.
    #[must_use]
    pub fn members(&self) -> Vec<KeyMember> {
        let member = |((index, node), share): ((&PartyIndex, &NodeId), &Vec<u8>)| KeyMember {
            index: *index,
            node: *node,
            verifying_share: share.clone(),
        };
        let members = self.nodes.iter().zip(&self.encoded_shares);
        members.map(member).collect()
    }

    /// The group key, encoded: 32 bytes (Ed25519) or 33 bytes SEC1 compressed (secp256k1).
    #[must_use]
    pub fn public_key(&self) -> Vec<u8> {
        self.public_key.clone()
    }

    /// As [`Self::public_key`], typed; `None` if the key is of the other curve.
    pub(crate) fn public_key_as<G: KeyGroup>(&self) -> Option<PointBytes<G>> {
        self.view::<G>()?;
        PointBytes::from_slice("group_key", &self.public_key).ok()
    }

    /// The points, typed; `None` if the key is of the other curve.
    #[must_use]
    pub fn view<G: KeyGroup>(&self) -> Option<&PublicPoints<G>> {
        G::points(&self.points)
    }

    /// The one encoding of this package:
    /// `u8 2 | key id 32 | sharing 32 | u8 purpose | u32 epoch | u32 attempt | u16 t | u16 n | chain code 32 | X | n times (u16 i, nid 32, S_i)`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u8(VERSION)
            .bytes(self.facts.key_id.as_bytes())
            .bytes(self.facts.sharing.as_bytes())
            .u8(purpose_code(self.facts.purpose))
            .u32(self.facts.epoch.0)
            .u32(self.facts.attempt.0);
        out.u16(self.params.threshold())
            .u16(self.params.parties())
            .bytes(&self.facts.chain_code);
        out.bytes(&self.public_key);
        for ((index, node), share) in self.nodes.iter().zip(&self.encoded_shares) {
            out.u16(index.get()).bytes(node.as_bytes()).bytes(share);
        }
        out.finish()
    }

    /// Decodes a package and checks its invariants.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let package = Self::read(&mut reader)?;
        reader.finish("package")?;
        Ok(package)
    }

    /// As [`Self::decode`]; a record that is known is not checked again.
    pub(crate) fn decode_known(bytes: &[u8], known: &Known<'_>) -> Result<Self, DecodeError> {
        match known.find_package(bytes) {
            Some(package) => Ok(package.clone()),
            None => Self::decode(bytes),
        }
    }

    /// The key that an encoded record is about, for whoever looks up what it knows of that key. Nothing else is read.
    pub(crate) fn key_of(bytes: &[u8]) -> Result<KeyId, DecodeError> {
        Self::read_key_id(&mut Reader::new(bytes))
    }

    fn read_key_id(reader: &mut Reader<'_>) -> Result<KeyId, DecodeError> {
        if reader.u8("version")? != VERSION {
            return Err(DecodeError::new("version", Problem::Unknown));
        }
        Ok(KeyId::from_bytes(reader.array("key_id")?))
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let key_id = Self::read_key_id(reader)?;
        let sharing = SharingId::from_bytes(reader.array("sharing")?);
        let purpose = purpose_from_code(reader.u8("purpose")?)?;
        let epoch = Epoch(reader.u32("epoch")?);
        let attempt = Attempt(reader.u32("attempt")?);
        let (threshold, parties) = (reader.u16("threshold")?, reader.u16("parties")?);
        Params::new(threshold, parties)
            .map_err(|_| DecodeError::new("threshold", Problem::Unknown))?;
        let facts = KeyFacts {
            key_id,
            sharing,
            purpose,
            epoch,
            attempt,
            threshold,
            chain_code: reader.array("chain_code")?,
        };
        match purpose.suite() {
            Suite::Ed25519 => Self::read_points::<Ed25519>(reader, facts, parties),
            Suite::Secp256k1 => Self::read_points::<Secp256k1>(reader, facts, parties),
        }
    }

    fn read_points<G: KeyGroup>(
        reader: &mut Reader<'_>,
        facts: KeyFacts,
        parties: u16,
    ) -> Result<Self, DecodeError> {
        let group_key =
            Point::<G>::decode("group_key", reader.bytes("group_key", G::POINT_BYTES)?)?;
        let (mut nodes, mut verifying_shares) = (BTreeMap::new(), BTreeMap::new());
        let mut last = 0;
        for _ in 0..parties {
            let number = reader.u16("index")?;
            let index =
                PartyIndex::new(number).map_err(|_| DecodeError::new("index", Problem::Unknown))?;
            if number <= last {
                return Err(DecodeError::new("index", Problem::NotCanonical));
            }
            last = number;
            nodes.insert(index, NodeId::from_bytes(reader.array("node")?));
            let share = reader.bytes("verifying_share", G::POINT_BYTES)?;
            verifying_shares.insert(index, Point::decode("verifying_share", share)?);
        }
        Self::new(
            facts,
            nodes,
            PublicPoints {
                group_key,
                verifying_shares,
            },
        )
        .map_err(|_| DecodeError::new("package", Problem::Unknown))
    }
}

fn check_polynomial<G: Group>(points: &PublicPoints<G>, threshold: usize) -> Result<(), Misuse> {
    let shares = points
        .verifying_shares
        .iter()
        .map(|(index, point)| (*index, *point));
    let first: BTreeMap<_, _> = shares.clone().take(threshold).collect();
    if polynomial::interpolate_vartime(&first, Scalar::zero())? != points.group_key {
        return Err(Misuse::InvalidKey(
            "the verifying shares do not give the group key",
        ));
    }
    for (index, point) in shares.skip(threshold) {
        if polynomial::interpolate_vartime(&first, Scalar::from_index(index))? != point {
            return Err(Misuse::InvalidKey(
                "the verifying shares are not on one polynomial",
            ));
        }
    }
    Ok(())
}

pub(crate) const fn purpose_code(purpose: Purpose) -> u8 {
    match purpose {
        Purpose::Bip340 => 1,
        Purpose::Ecdsa => 2,
        Purpose::Ed25519 => 3,
        Purpose::EcdsaRaw => 4,
    }
}

pub(crate) const fn purpose_from_code(code: u8) -> Result<Purpose, DecodeError> {
    match code {
        1 => Ok(Purpose::Bip340),
        2 => Ok(Purpose::Ecdsa),
        3 => Ok(Purpose::Ed25519),
        4 => Ok(Purpose::EcdsaRaw),
        _ => Err(DecodeError::new("purpose", Problem::Unknown)),
    }
}

/// One member's share of a key. Secret; wiped when dropped.
///
/// Invariant: the secret times the generator is the verifying share that the package has for the index.
pub struct KeyShare {
    index: PartyIndex,
    public: PublicKeyPackage,
    secret: AnySecret,
}

impl KeyShare {
    /// Puts a share together and checks its invariant.
    ///
    /// # Errors
    /// [`Misuse::InvalidKey`] when the secret is not the one that the package has a verifying share for.
    pub fn new<G: KeyGroup>(
        public: PublicKeyPackage,
        index: PartyIndex,
        secret: SecretScalar<G>,
    ) -> Result<Self, Misuse> {
        let points = public
            .view::<G>()
            .ok_or(Misuse::InvalidKey("the share is of another curve"))?;
        let expected = points
            .verifying_shares
            .get(&index)
            .ok_or(Misuse::InvalidKey("the index is not a member"))?;
        if secret.mul_base() != *expected {
            return Err(Misuse::InvalidKey(
                "the secret does not match its verifying share",
            ));
        }
        Ok(Self {
            index,
            public,
            secret: G::erase_secret(secret),
        })
    }

    /// The Shamir coordinate.
    #[must_use]
    pub const fn index(&self) -> PartyIndex {
        self.index
    }

    /// The public record.
    #[must_use]
    pub const fn public(&self) -> &PublicKeyPackage {
        &self.public
    }

    /// The typed inside for a protocol; `None` if the key is of the other curve.
    #[must_use]
    pub fn view<G: KeyGroup>(&self) -> Option<(&PublicPoints<G>, &SecretScalar<G>)> {
        Some((self.public.view()?, G::secret(&self.secret)?))
    }

    /// The share as bytes, to be sealed at rest: `u8 1 | u16 index | secret 32 | package`.
    ///
    /// # Security
    /// Whoever reads these bytes holds the share.
    #[must_use]
    pub fn dangerous_to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let secret = match &self.secret {
            AnySecret::Ed25519(secret) => secret.dangerous_to_bytes(),
            AnySecret::Secp256k1(secret) => secret.dangerous_to_bytes(),
        };
        let package = self.public.encode();
        // Reserved in full, so that growing leaves no copy of the secret behind.
        let mut out = Writer::with_capacity(package.len().saturating_add(35));
        out.u8(VERSION)
            .u16(self.index.get())
            .bytes(secret.as_ref())
            .bytes(&package);
        Zeroizing::new(out.finish())
    }

    /// Decodes a share and checks it against its verifying share.
    ///
    /// # Errors
    /// The first field that is wrong; `secret` with `Unknown` when it belongs to another package.
    pub fn dangerous_from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::dangerous_from_bytes_known(bytes, &Known::NOTHING)
    }

    /// As [`Self::dangerous_from_bytes`]; a public record that is known is not checked again.
    pub(crate) fn dangerous_from_bytes_known(
        bytes: &[u8],
        known: &Known<'_>,
    ) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.u8("version")? != VERSION {
            return Err(DecodeError::new("version", Problem::Unknown));
        }
        let index = PartyIndex::new(reader.u16("index")?)
            .map_err(|_| DecodeError::new("index", Problem::Unknown))?;
        let secret = Zeroizing::new(reader.array::<32>("secret")?);
        let public = PublicKeyPackage::decode_known(reader.rest(), known)?;
        let share = match public.purpose().suite() {
            Suite::Ed25519 => {
                Self::new::<Ed25519>(public, index, SecretScalar::decode("secret", &secret)?)
            }
            Suite::Secp256k1 => {
                Self::new::<Secp256k1>(public, index, SecretScalar::decode("secret", &secret)?)
            }
        };
        share.map_err(|_| DecodeError::new("secret", Problem::Unknown))
    }
}

impl ZeroizeOnDrop for KeyShare {}

impl fmt::Debug for KeyShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyShare")
            .field("index", &self.index)
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}
