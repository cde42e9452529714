//! What the log of pairs says.

use mpc_core::id::NodeId;

use crate::codec::{Malformed, Reader, Writer};
use crate::seal::{Kind, Label};

/// A failed check: why this node never uses its setups with a peer again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Poison {
    pub(crate) peer: NodeId,
    pub(crate) generation: u32,
    /// What failed, in words.
    pub(crate) why: String,
    /// The session in which it failed.
    pub(crate) session: [u8; 32],
    /// When it was noticed, unix milliseconds.
    pub(crate) at_ms: u64,
    /// Whether this is on disk. Until then nobody is told; the pair is stopped all the same. Not part of the row.
    pub(crate) stored: bool,
}

/// A row of the log of pairs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// A setup was stored together with a share that has no certificate yet.
    Prepared {
        peer: NodeId,
        generation: u32,
        name: [u8; 32],
        request: [u8; 32],
        attempt: u32,
    },
    /// The certificate is there. The digest ties the row to the sealed record that was written with it.
    Active {
        peer: NodeId,
        generation: u32,
        name: [u8; 32],
        sealed: [u8; 32],
    },
    /// The peer holds another setup than this node, perhaps after one of the two was restored: another one is needed.
    Rekeying { peer: NodeId, generation: u32 },
    /// A check failed.
    Poisoned(Poison),
}

/// The place of a setup's sealed record.
pub(crate) const fn label(peer: &NodeId, generation: u32) -> Label {
    Label::new(Kind::Pair, *peer.as_bytes(), generation, 0)
}

impl Record {
    pub(crate) fn key(&self) -> Vec<u8> {
        match self {
            Self::Prepared {
                peer,
                generation,
                request,
                attempt,
                ..
            } => place(1, peer, *generation)
                .fixed(request)
                .u32(*attempt)
                .finish(),
            Self::Active {
                peer, generation, ..
            } => place(2, peer, *generation).finish(),
            Self::Rekeying { peer, generation } => place(3, peer, *generation).finish(),
            Self::Poisoned(poison) => place(4, &poison.peer, poison.generation)
                .fixed(&poison.session)
                .finish(),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Prepared {
                peer,
                generation,
                name,
                request,
                attempt,
            } => place(1, peer, *generation)
                .fixed(name)
                .fixed(request)
                .u32(*attempt)
                .finish(),
            Self::Active {
                peer,
                generation,
                name,
                sealed,
            } => place(2, peer, *generation)
                .fixed(name)
                .fixed(sealed)
                .finish(),
            Self::Rekeying { peer, generation } => place(3, peer, *generation).finish(),
            Self::Poisoned(poison) => place(4, &poison.peer, poison.generation)
                .fixed(&poison.session)
                .u64(poison.at_ms)
                .bytes(poison.why.as_bytes())
                .finish(),
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new("pair", bytes);
        let kind = reader.u8()?;
        let (peer, generation) = (NodeId::from_bytes(reader.array()?), reader.u32()?);
        let record = match kind {
            1 => Self::Prepared {
                peer,
                generation,
                name: reader.array()?,
                request: reader.array()?,
                attempt: reader.u32()?,
            },
            2 => Self::Active {
                peer,
                generation,
                name: reader.array()?,
                sealed: reader.array()?,
            },
            3 => Self::Rekeying { peer, generation },
            4 => Self::Poisoned(Poison {
                peer,
                generation,
                session: reader.array()?,
                at_ms: reader.u64()?,
                why: reader.text()?,
                stored: true,
            }),
            _ => return Err(Malformed("pair")),
        };
        reader.finish()?;
        Ok(record)
    }
}

fn place(kind: u8, peer: &NodeId, generation: u32) -> Writer {
    Writer::new()
        .u8(kind)
        .fixed(peer.as_bytes())
        .u32(generation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_one_encoding_and_a_key_of_its_own() {
        let peer = NodeId::from_bytes([1; 32]);
        let rows = [
            Record::Prepared {
                peer,
                generation: 2,
                name: [3; 32],
                request: [4; 32],
                attempt: 5,
            },
            Record::Active {
                peer,
                generation: 2,
                name: [3; 32],
                sealed: [6; 32],
            },
            Record::Rekeying {
                peer,
                generation: 2,
            },
            Record::Poisoned(Poison {
                peer,
                generation: 2,
                why: "a check".to_owned(),
                session: [7; 32],
                at_ms: 8,
                stored: true,
            }),
        ];
        let mut keys = std::collections::BTreeSet::new();
        for row in rows {
            let bytes = row.encode();
            assert_eq!(Record::decode(&bytes).as_ref(), Ok(&row));
            for end in 0..bytes.len() {
                assert!(Record::decode(&bytes[..end]).is_err());
            }
            assert!(keys.insert(row.key()));
        }
    }
}
