//! The roster: which nodes hold the shares of a key, under which index, with which keys.
//!
//! It is agreed by people before any protocol starts ([`Roster::params_hash`] is what they compare), and it is the only
//! source of indices and identity keys. Nothing a peer sends can change it.

use std::collections::BTreeMap;

use crate::Misuse;
use crate::codec::{DecodeError, Problem, Reader, Writer};
use crate::id::{MAX_PARTIES, NodeId, PartyIndex, Purpose};
use crate::identity::{self, IdentityPublic};
use crate::known::Known;
use crate::transcript::{self, Tag};

/// One node of a roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its Shamir coordinate.
    pub index: PartyIndex,
    /// The key that signs its messages.
    pub identity: IdentityPublic,
    /// The ristretto255 point that exports and backups for it are encrypted to.
    pub exchange: [u8; 32],
}

/// 2 to 32 nodes with the indices 1..=n, each node once. Valid by construction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    members: BTreeMap<NodeId, Member>,
    by_index: BTreeMap<PartyIndex, NodeId>,
}

impl Roster {
    /// # Errors
    /// [`Misuse::InvalidRoster`] unless the indices are exactly 1..=n, every identity key occurs once, and every exchange
    /// key is a point.
    pub fn new(members: impl IntoIterator<Item = Member>) -> Result<Self, Misuse> {
        Self::with_known(members, &Known::NOTHING)
    }

    fn with_known(
        members: impl IntoIterator<Item = Member>,
        known: &Known<'_>,
    ) -> Result<Self, Misuse> {
        let (mut by_node, mut by_index) = (BTreeMap::new(), BTreeMap::new());
        for member in members {
            if !known.has_exchange(&member.exchange) {
                identity::check_exchange(&member.exchange)
                    .map_err(|_| Misuse::InvalidRoster("an exchange key is not a point"))?;
            }
            let node = member.identity.node_id();
            if by_index.insert(member.index, node).is_some() {
                return Err(Misuse::InvalidRoster("an index is used twice"));
            }
            if by_node.insert(node, member).is_some() {
                return Err(Misuse::InvalidRoster("an identity key is used twice"));
            }
        }
        if by_index.len() < 2 || by_index.len() > usize::from(MAX_PARTIES) {
            return Err(Misuse::InvalidRoster("a roster has 2 to 32 members"));
        }
        if !by_index
            .keys()
            .map(|index| index.get())
            .eq((1..=MAX_PARTIES).take(by_index.len()))
        {
            return Err(Misuse::InvalidRoster("indices are 1 to n without a gap"));
        }
        Ok(Self {
            members: by_node,
            by_index,
        })
    }

    /// The node with this index.
    #[must_use]
    pub fn node_id(&self, index: PartyIndex) -> Option<NodeId> {
        self.by_index.get(&index).copied()
    }

    /// The index of this node.
    #[must_use]
    pub fn index(&self, node: &NodeId) -> Option<PartyIndex> {
        self.members.get(node).map(|member| member.index)
    }

    /// The entry of this node.
    #[must_use]
    pub fn get(&self, node: &NodeId) -> Option<&Member> {
        self.members.get(node)
    }

    /// The entries in ascending order of their names.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// Number of members.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a roster is never empty")]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// The members in ascending order of their names.
    #[must_use]
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = NodeId> + Clone {
        self.members.keys().copied()
    }

    /// Indices and names in ascending order of the indices.
    #[must_use]
    pub fn by_index(&self) -> impl ExactSizeIterator<Item = (PartyIndex, NodeId)> + Clone {
        self.by_index.iter().map(|(index, node)| (*index, *node))
    }

    /// `u16 n | n times (u16 index, IK 32, EK 32)`, by index.
    pub(crate) fn write(&self, out: &mut Writer) {
        out.u16(u16::try_from(self.len()).unwrap_or(u16::MAX));
        for member in self
            .by_index
            .values()
            .filter_map(|node| self.members.get(node))
        {
            out.bytes(&entry(member));
        }
    }

    /// Reads what [`Self::write`] has written.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::read_known(reader, &Known::NOTHING)
    }

    /// As [`Self::read`]; keys that are known are not checked again.
    pub(crate) fn read_known(
        reader: &mut Reader<'_>,
        known: &Known<'_>,
    ) -> Result<Self, DecodeError> {
        let count = reader.u16("members")?;
        if count > MAX_PARTIES {
            return Err(DecodeError::new("members", Problem::Length));
        }
        let mut members: Vec<Member> = Vec::new();
        for _ in 0..count {
            let index = PartyIndex::new(reader.u16("index")?)
                .map_err(|_| DecodeError::new("index", Problem::Unknown))?;
            if members.last().is_some_and(|last| last.index >= index) {
                return Err(DecodeError::new("index", Problem::NotCanonical));
            }
            members.push(Member {
                index,
                identity: IdentityPublic::read_known(&reader.array("identity")?, known)?,
                exchange: reader.array("exchange")?,
            });
        }
        Self::with_known(members, known).map_err(|_| DecodeError::new("members", Problem::Unknown))
    }

    /// What people compare before a key is made: roster, purpose and threshold in 32 bytes.
    ///
    /// `H("roster"; suite, purpose, u16 t, u16 n, (u16 i || IK_i || EK_i) list by index)`
    #[must_use]
    pub fn params_hash(&self, purpose: Purpose, threshold: u16) -> [u8; 32] {
        let entries: Vec<[u8; 66]> = self
            .by_index
            .values()
            .filter_map(|node| self.members.get(node))
            .map(entry)
            .collect();
        let parties = u16::try_from(self.len()).unwrap_or(u16::MAX);
        transcript::hash(Tag::ROSTER)
            .field(purpose.suite().as_str())
            .field(purpose.as_str())
            .u16(threshold)
            .u16(parties)
            .list(&entries)
            .digest()
    }
}

fn entry(member: &Member) -> [u8; 66] {
    let mut out = [0; 66];
    let (index, keys) = out.split_at_mut(2);
    let (identity, exchange) = keys.split_at_mut(32);
    index.copy_from_slice(&member.index.get().to_be_bytes());
    identity.copy_from_slice(member.identity.as_bytes());
    exchange.copy_from_slice(&member.exchange);
    out
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;
    use crate::identity::{ExchangeKey, IdentityKey};

    fn members(indices: &[u16]) -> Vec<Member> {
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let member = |index: &u16| Member {
            index: PartyIndex::new(*index).unwrap(),
            identity: IdentityKey::generate(&mut rng).public(),
            exchange: ExchangeKey::generate(&mut rng).public(),
        };
        indices.iter().map(member).collect()
    }

    #[test]
    fn a2_indices_are_distinct_and_without_gaps() {
        assert!(Roster::new(members(&[3, 1, 2])).is_ok());
        assert_eq!(
            Roster::new(members(&[1, 2, 2])),
            Err(Misuse::InvalidRoster("an index is used twice"))
        );
        assert_eq!(
            Roster::new(members(&[1, 3])),
            Err(Misuse::InvalidRoster("indices are 1 to n without a gap"))
        );
        assert_eq!(
            Roster::new(members(&[1])),
            Err(Misuse::InvalidRoster("a roster has 2 to 32 members"))
        );
        let mut twice = members(&[1, 2]);
        twice[1].identity = twice[0].identity;
        assert_eq!(
            Roster::new(twice),
            Err(Misuse::InvalidRoster("an identity key is used twice"))
        );
        let mut broken = members(&[1, 2]);
        broken[1].exchange = [0; 32];
        assert_eq!(
            Roster::new(broken),
            Err(Misuse::InvalidRoster("an exchange key is not a point"))
        );
    }

    #[test]
    fn params_hash_covers_everything_people_agree_on() {
        let base = members(&[1, 2, 3]);
        let hash = |members: &[Member], purpose, threshold| {
            Roster::new(members.to_vec())
                .unwrap()
                .params_hash(purpose, threshold)
        };
        let reference = hash(&base, Purpose::Ed25519, 2);
        let (mut reordered, mut other_key) = (base.clone(), base.clone());
        (reordered[0].index, reordered[1].index) = (base[1].index, base[0].index);
        other_key[2].exchange = base[0].exchange;
        for different in [
            hash(&base, Purpose::Ed25519, 3),
            hash(&base, Purpose::Bip340, 2),
            hash(&reordered, Purpose::Ed25519, 2),
            hash(&other_key, Purpose::Ed25519, 2),
        ] {
            assert_ne!(different, reference);
        }
    }
}
