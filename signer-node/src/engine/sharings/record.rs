//! What the log of sharings says.
//!
//! Rows that change what is known of a key carry the digest of the sealed lineage that was written with them: of all rows of a key,
//! the last one names the lineage that must be there.

use crate::codec::{Malformed, Reader, Writer};

const BAD: Malformed = Malformed("sharing");

/// A sharing by its place in the order: epoch, then attempt.
pub(crate) type Place = (u32, u32);

/// A row of the log of sharings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// A key became known to this node: by its generation, as a new member, or from a backup.
    Known {
        key: [u8; 32],
        name: String,
        /// The request of the key's generation.
        request: [u8; 32],
        /// This node's part of the certificate of that generation, if it took part.
        part: Vec<u8>,
        /// All parts of it; empty where they were not shown.
        parts: Vec<Vec<u8>>,
        at_ms: u64,
        lineage: [u8; 32],
    },
    /// This node signs for a sharing from here on: what it holds of it is stored.
    Prepared {
        key: [u8; 32],
        place: Place,
        /// The sharing's name.
        sharing: [u8; 32],
        /// Digest of the reshare's request.
        request: [u8; 32],
        /// Whether a share is in the sealed record. A dealer that leaves has none.
        holds: bool,
        /// This node's signature over the result.
        part: Vec<u8>,
        sealed: [u8; 32],
        lineage: [u8; 32],
    },
    /// A certificate was learnt, and the sharing is the active one.
    Active {
        key: [u8; 32],
        place: Place,
        at_ms: u64,
        /// Digest of the sealed share; zeros if this node holds none.
        sealed: [u8; 32],
        lineage: [u8; 32],
    },
    /// A certificate of a lower attempt beside the active sharing was learnt: others may go on from there.
    Noted {
        key: [u8; 32],
        place: Place,
        lineage: [u8; 32],
    },
    /// People ordered that the key signs no more.
    Retired {
        key: [u8; 32],
        at_ms: u64,
        statements: Vec<Vec<u8>>,
    },
    /// The key came out of a backup: it signs once peers have confirmed its sharing.
    Restored {
        key: [u8; 32],
        place: Place,
        at_ms: u64,
    },
    /// Peers confirmed, against the challenge of one start, that nothing higher is known.
    Confirmed {
        key: [u8; 32],
        challenge: [u8; 32],
        at_ms: u64,
    },
    /// This node gives its share to the recipient that people's order names; from here on it signs with the key no more.
    Exported {
        key: [u8; 32],
        /// The order.
        request: [u8; 32],
        at_ms: u64,
        statements: Vec<Vec<u8>>,
    },
    /// Another sharing was shown to be certified for the place of one known here; both certificates are kept. The one of the key's
    /// generation is empty.
    Conflict {
        key: [u8; 32],
        at_ms: u64,
        one: Vec<u8>,
        other: Vec<u8>,
    },
    /// From this sharing on this node is a member of another committee than before, or of one with another threshold: what it has to
    /// count of what was spent before this moment, witnessed milliseconds, is not known here.
    Joined {
        key: [u8; 32],
        place: Place,
        before_ms: u64,
    },
    /// The members of before have attested their totals, and this is what this node counts of them, in its witnessed milliseconds.
    Inherited {
        key: [u8; 32],
        place: Place,
        totals: Vec<u8>,
    },
    /// The store came out of a backup, and what was spent before this moment, witnessed milliseconds, is not known here.
    Blind { before_ms: u64 },
}

impl Record {
    pub(crate) fn key(&self) -> Vec<u8> {
        match self {
            Self::Known { key, .. } => Writer::new().u8(1).fixed(key).finish(),
            Self::Prepared { key, place, .. } => at(2, key, *place).finish(),
            Self::Active { key, place, .. } => at(3, key, *place).finish(),
            Self::Noted { key, place, .. } => at(7, key, *place).finish(),
            Self::Blind { .. } => Writer::new().u8(8).finish(),
            Self::Joined { key, place, .. } => at(11, key, *place).finish(),
            Self::Inherited { key, place, .. } => at(12, key, *place).finish(),
            Self::Retired { key, .. } => Writer::new().u8(4).fixed(key).finish(),
            Self::Exported { key, request, .. } => {
                Writer::new().u8(9).fixed(key).fixed(request).finish()
            }
            Self::Conflict { key, .. } => Writer::new().u8(10).fixed(key).finish(),
            Self::Restored { key, place, .. } => at(5, key, *place).finish(),
            Self::Confirmed { key, challenge, .. } => {
                Writer::new().u8(6).fixed(key).fixed(challenge).finish()
            }
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Known {
                key,
                name,
                request,
                part,
                parts,
                at_ms,
                lineage,
            } => Writer::new()
                .u8(1)
                .fixed(key)
                .bytes(name.as_bytes())
                .fixed(request)
                .bytes(part)
                .list(parts)
                .u64(*at_ms)
                .fixed(lineage),
            Self::Prepared {
                key,
                place,
                sharing,
                request,
                holds,
                part,
                sealed,
                lineage,
            } => at(2, key, *place)
                .fixed(sharing)
                .fixed(request)
                .u8(u8::from(*holds))
                .bytes(part)
                .fixed(sealed)
                .fixed(lineage),
            Self::Active {
                key,
                place,
                at_ms,
                sealed,
                lineage,
            } => at(3, key, *place).u64(*at_ms).fixed(sealed).fixed(lineage),
            Self::Noted {
                key,
                place,
                lineage,
            } => at(7, key, *place).fixed(lineage),
            Self::Retired {
                key,
                at_ms,
                statements,
            } => Writer::new().u8(4).fixed(key).u64(*at_ms).list(statements),
            Self::Exported {
                key,
                request,
                at_ms,
                statements,
            } => Writer::new()
                .u8(9)
                .fixed(key)
                .fixed(request)
                .u64(*at_ms)
                .list(statements),
            Self::Conflict {
                key,
                at_ms,
                one,
                other,
            } => Writer::new()
                .u8(10)
                .fixed(key)
                .u64(*at_ms)
                .bytes(one)
                .bytes(other),
            Self::Joined {
                key,
                place,
                before_ms,
            } => at(11, key, *place).u64(*before_ms),
            Self::Inherited { key, place, totals } => at(12, key, *place).bytes(totals),
            Self::Restored { key, place, at_ms } => at(5, key, *place).u64(*at_ms),
            Self::Confirmed {
                key,
                challenge,
                at_ms,
            } => Writer::new().u8(6).fixed(key).fixed(challenge).u64(*at_ms),
            Self::Blind { before_ms } => Writer::new().u8(8).fixed(&[0; 32]).u64(*before_ms),
        }
        .finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new("sharing", bytes);
        let kind = reader.u8()?;
        let key = reader.array()?;
        let record = match kind {
            1 => Self::Known {
                key,
                name: reader.text()?,
                request: reader.array()?,
                part: reader.bytes()?.to_vec(),
                parts: list(&mut reader)?,
                at_ms: reader.u64()?,
                lineage: reader.array()?,
            },
            2 => Self::Prepared {
                key,
                place: place(&mut reader)?,
                sharing: reader.array()?,
                request: reader.array()?,
                holds: match reader.u8()? {
                    0 => false,
                    1 => true,
                    _ => return Err(BAD),
                },
                part: reader.bytes()?.to_vec(),
                sealed: reader.array()?,
                lineage: reader.array()?,
            },
            3 => Self::Active {
                key,
                place: place(&mut reader)?,
                at_ms: reader.u64()?,
                sealed: reader.array()?,
                lineage: reader.array()?,
            },
            4 => Self::Retired {
                key,
                at_ms: reader.u64()?,
                statements: list(&mut reader)?,
            },
            5 => Self::Restored {
                key,
                place: place(&mut reader)?,
                at_ms: reader.u64()?,
            },
            6 => Self::Confirmed {
                key,
                challenge: reader.array()?,
                at_ms: reader.u64()?,
            },
            8 if key == [0; 32] => Self::Blind {
                before_ms: reader.u64()?,
            },
            9 => Self::Exported {
                key,
                request: reader.array()?,
                at_ms: reader.u64()?,
                statements: list(&mut reader)?,
            },
            10 => Self::Conflict {
                key,
                at_ms: reader.u64()?,
                one: reader.bytes()?.to_vec(),
                other: reader.bytes()?.to_vec(),
            },
            11 => Self::Joined {
                key,
                place: place(&mut reader)?,
                before_ms: reader.u64()?,
            },
            12 => Self::Inherited {
                key,
                place: place(&mut reader)?,
                totals: reader.bytes()?.to_vec(),
            },
            7 => Self::Noted {
                key,
                place: place(&mut reader)?,
                lineage: reader.array()?,
            },
            _ => return Err(BAD),
        };
        reader.finish()?;
        Ok(record)
    }
}

fn at(kind: u8, key: &[u8; 32], place: Place) -> Writer {
    Writer::new().u8(kind).fixed(key).u32(place.0).u32(place.1)
}

fn place(reader: &mut Reader<'_>) -> Result<Place, Malformed> {
    Ok((reader.u32()?, reader.u32()?))
}

fn list(reader: &mut Reader<'_>) -> Result<Vec<Vec<u8>>, Malformed> {
    Ok(reader.list()?.into_iter().map(<[u8]>::to_vec).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_one_encoding() {
        let (key, place) = ([1; 32], (2, 3));
        let all = [
            Record::Known {
                key,
                name: "hot".to_owned(),
                request: [2; 32],
                part: vec![7],
                parts: vec![vec![1], vec![]],
                at_ms: 5,
                lineage: [3; 32],
            },
            Record::Prepared {
                key,
                place,
                sharing: [4; 32],
                request: [5; 32],
                holds: true,
                part: vec![8, 8],
                sealed: [6; 32],
                lineage: [7; 32],
            },
            Record::Active {
                key,
                place,
                at_ms: 9,
                sealed: [0; 32],
                lineage: [8; 32],
            },
            Record::Noted {
                key,
                place,
                lineage: [8; 32],
            },
            Record::Retired {
                key,
                at_ms: 9,
                statements: vec![vec![4]],
            },
            Record::Restored {
                key,
                place,
                at_ms: 9,
            },
            Record::Confirmed {
                key,
                challenge: [9; 32],
                at_ms: 9,
            },
            Record::Blind { before_ms: 8 },
            Record::Exported {
                key,
                request: [3; 32],
                at_ms: 9,
                statements: vec![vec![4]],
            },
            Record::Joined {
                key,
                place,
                before_ms: 8,
            },
            Record::Inherited {
                key,
                place,
                totals: vec![1],
            },
            Record::Conflict {
                key,
                at_ms: 9,
                one: Vec::new(),
                other: vec![1, 2],
            },
        ];
        let mut keys = std::collections::BTreeSet::new();
        for record in all {
            let bytes = record.encode();
            assert_eq!(Record::decode(&bytes).as_ref(), Ok(&record));
            assert!(keys.insert(record.key()));
            for end in 0..bytes.len() {
                assert!(Record::decode(&bytes[..end]).is_err());
            }
        }
    }
}
