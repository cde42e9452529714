//! What a reshare is to do: the request that all participants agree on before the first message.
//!
//! ```text
//! u8 1 | u32be length, package of the active sharing | u16 d | d times IK 32, ascending by node
//!      | u16 n' | n' times (u16 index, IK 32, EK 32), by index | u16 t' | u32 attempt | u8 fresh pairs | request id 32
//! ```
//! (Protocol notes, section 12.2.)

use std::collections::{BTreeMap, BTreeSet};

use crate::Misuse;
use crate::codec::{DecodeError, Problem, Reader, Writer};
use crate::id::{Attempt, Epoch, KeyId, MAX_PARTIES, NodeId, Params, PartyIndex, RequestId};
use crate::identity::IdentityPublic;
use crate::keys::PublicKeyPackage;
use crate::known::Known;
use crate::roster::Roster;
use crate::transcript::{self, Tag};

const VERSION: u8 = 1;
const MAX_PACKAGE: usize = 1 << 16;

/// A reshare, as everybody who takes part has to approve it. Public; valid by construction.
///
/// Invariants: 1. every dealer holds a share of the active sharing; 2. there are at least as many dealers as that sharing's threshold;
/// 3. the new threshold fits the new committee; 4. the active sharing is not of the last epoch there can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    active: PublicKeyPackage,
    dealers: BTreeMap<NodeId, IdentityPublic>,
    roster: Roster,
    params: Params,
    epoch: Epoch,
    attempt: Attempt,
    fresh_pairs: bool,
    request_id: RequestId,
}

/// What [`Request::new`] puts together.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// The sharing that is to be replaced.
    pub active: PublicKeyPackage,
    /// Who deals: holders of that sharing, at least its threshold.
    pub dealers: Vec<IdentityPublic>,
    /// The new committee `N`.
    pub roster: Roster,
    /// The new threshold `t'`.
    pub threshold: u16,
    /// Which try of the next epoch this is. A stuck try is passed by the next number.
    pub attempt: Attempt,
    /// Whether all pairs of the new committee make new pair setups. Keys without pair setups ignore it. To renew many keys of one
    /// committee, ask for it with the first only.
    pub fresh_pairs: bool,
    /// 32 fresh bytes, never used before.
    pub request_id: RequestId,
}

impl Request {
    /// # Errors
    /// [`Misuse::InvalidSigners`] for dealers that cannot deal, [`Misuse::InvalidParams`] for a threshold that does not fit, and
    /// [`Misuse::InvalidKey`] at the last epoch.
    pub fn new(proposal: Proposal) -> Result<Self, Misuse> {
        let Proposal {
            active,
            dealers,
            roster,
            threshold,
            attempt,
            fresh_pairs,
            request_id,
        } = proposal;
        let count = dealers.len();
        let dealers: BTreeMap<_, _> = dealers
            .into_iter()
            .map(|key| (key.node_id(), key))
            .collect();
        if dealers.len() != count {
            return Err(Misuse::InvalidSigners("a dealer is named twice"));
        }
        if dealers.keys().any(|node| active.index_of(node).is_none()) {
            return Err(Misuse::InvalidSigners(
                "a dealer holds no share of the active sharing",
            ));
        }
        if dealers.len() < usize::from(active.params().threshold()) {
            return Err(Misuse::InvalidSigners(
                "fewer dealers than the threshold of the active sharing",
            ));
        }
        let parties = u16::try_from(roster.len()).unwrap_or(u16::MAX);
        let params = Params::new(threshold, parties)?;
        let epoch = active.epoch().0.checked_add(1);
        let epoch = epoch.ok_or(Misuse::InvalidKey("there is no epoch after this one"))?;
        Ok(Self {
            active,
            dealers,
            roster,
            params,
            epoch: Epoch(epoch),
            attempt,
            fresh_pairs,
            request_id,
        })
    }

    /// The sharing that is to be replaced.
    #[must_use]
    pub const fn active(&self) -> &PublicKeyPackage {
        &self.active
    }

    /// The key.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.active.key_id()
    }

    /// The dealers `D`, in ascending order.
    #[must_use]
    pub fn dealers(&self) -> BTreeSet<NodeId> {
        self.dealers.keys().copied().collect()
    }

    /// The dealers with the index each has in the active sharing.
    pub(crate) fn dealer_indices(&self) -> BTreeMap<NodeId, PartyIndex> {
        let index = |node: &NodeId| Some((*node, self.active.index_of(node)?));
        self.dealers.keys().filter_map(index).collect()
    }

    /// The new committee `N`.
    #[must_use]
    pub const fn roster(&self) -> &Roster {
        &self.roster
    }

    /// The new threshold `t'`.
    #[must_use]
    pub const fn threshold(&self) -> u16 {
        self.params.threshold()
    }

    /// Threshold and size of the new committee.
    #[must_use]
    pub const fn params(&self) -> Params {
        self.params
    }

    /// The epoch of the new sharing.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Which try of that epoch it is.
    #[must_use]
    pub const fn attempt(&self) -> Attempt {
        self.attempt
    }

    /// Whether all pairs of the new committee make new pair setups.
    #[must_use]
    pub const fn fresh_pairs(&self) -> bool {
        self.fresh_pairs
    }

    /// The fresh name of this request.
    #[must_use]
    pub const fn request_id(&self) -> RequestId {
        self.request_id
    }

    /// Whether this node deals.
    #[must_use]
    pub fn is_dealer(&self, node: &NodeId) -> bool {
        self.dealers.contains_key(node)
    }

    /// Whether this node gets a share.
    #[must_use]
    pub fn is_member(&self, node: &NodeId) -> bool {
        self.roster.get(node).is_some()
    }

    /// Everybody who takes part: dealers and new members.
    #[must_use]
    pub fn participants(&self) -> BTreeSet<NodeId> {
        self.dealers
            .keys()
            .copied()
            .chain(self.roster.nodes())
            .collect()
    }

    /// The key that signs the messages of a participant.
    #[must_use]
    pub fn identity(&self, node: &NodeId) -> Option<IdentityPublic> {
        let member = self.roster.get(node).map(|member| member.identity);
        member.or_else(|| self.dealers.get(node).copied())
    }

    /// The one encoding of this request.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u8(VERSION).var(&self.active.encode());
        out.u16(u16::try_from(self.dealers.len()).unwrap_or(u16::MAX));
        for identity in self.dealers.values() {
            out.bytes(identity.as_bytes());
        }
        self.roster.write(&mut out);
        out.u16(self.params.threshold())
            .u32(self.attempt.0)
            .u8(u8::from(self.fresh_pairs))
            .bytes(self.request_id.as_bytes());
        out.finish()
    }

    /// Decodes a request and checks its invariants.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::decode_known(bytes, &Known::NOTHING)
    }

    /// As [`Self::decode`]; records and keys that are known are not checked again.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn decode_known(bytes: &[u8], known: &Known<'_>) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let request = Self::read(&mut reader, known)?;
        reader.finish("request")?;
        Ok(request)
    }

    /// The key that an encoded request is about, for whoever looks up what it knows of that key. Nothing else is read.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn key_of(bytes: &[u8]) -> Result<KeyId, DecodeError> {
        PublicKeyPackage::key_of(Self::read_active(&mut Reader::new(bytes))?)
    }

    fn read_active<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
        if reader.u8("version")? != VERSION {
            return Err(DecodeError::new("version", Problem::Unknown));
        }
        reader.var("package", MAX_PACKAGE)
    }

    pub(crate) fn read(reader: &mut Reader<'_>, known: &Known<'_>) -> Result<Self, DecodeError> {
        let active = PublicKeyPackage::decode_known(Self::read_active(reader)?, known)?;
        let count = reader.u16("dealers")?;
        if count > MAX_PARTIES {
            return Err(DecodeError::new("dealers", Problem::Length));
        }
        let mut dealers: Vec<IdentityPublic> = Vec::new();
        for _ in 0..count {
            let identity = IdentityPublic::read_known(&reader.array("dealer")?, known)?;
            if dealers
                .last()
                .is_some_and(|last| last.node_id() >= identity.node_id())
            {
                return Err(DecodeError::new("dealer", Problem::NotCanonical));
            }
            dealers.push(identity);
        }
        let roster = Roster::read_known(reader, known)?;
        let threshold = reader.u16("threshold")?;
        let attempt = Attempt(reader.u32("attempt")?);
        let fresh_pairs = match reader.u8("fresh_pairs")? {
            0 => false,
            1 => true,
            _ => return Err(DecodeError::new("fresh_pairs", Problem::Unknown)),
        };
        let request_id = RequestId::from_bytes(reader.array("request_id")?);
        let proposal = Proposal {
            active,
            dealers,
            roster,
            threshold,
            attempt,
            fresh_pairs,
            request_id,
        };
        Self::new(proposal).map_err(|misuse| {
            let field = match misuse {
                Misuse::InvalidSigners(_) => "dealers",
                Misuse::InvalidKey(_) => "package",
                _ => "threshold",
            };
            DecodeError::new(field, Problem::Unknown)
        })
    }

    /// `H("reshare/rq"; encoding)`: what operators, nodes and the names of the session agree on.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        transcript::hash(Tag::RESHARE_REQUEST)
            .field(self.encode())
            .digest()
    }
}
