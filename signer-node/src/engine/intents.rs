//! Announced intents and when this node first saw them.

use std::collections::{BTreeMap, BTreeSet};

use crate::codec::{Malformed, Reader, Writer};

/// What is remembered of an intent. The first-seen time is never moved, whatever is announced or withdrawn later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Digest of the intent.
    pub(crate) intent: [u8; 32],
    /// Wall time of the first announcement, unix milliseconds: what the receipt says.
    pub(crate) first_seen_ms: u64,
    /// The same moment, witnessed milliseconds: what delays are measured from.
    pub(crate) witnessed_ms: u64,
    /// When the intent expires.
    pub(crate) expires_ms: u64,
    /// Hash over initiator and idempotency key.
    pub(crate) name: [u8; 32],
}

/// A row of the log of intents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// An announcement.
    Announced(Seen),
    /// A withdrawal.
    Withdrawn([u8; 32]),
}

impl Record {
    pub(crate) fn key(&self) -> Vec<u8> {
        match self {
            Self::Announced(seen) => Writer::new().u8(1).fixed(&seen.intent).finish(),
            Self::Withdrawn(intent) => Writer::new().u8(2).fixed(intent).finish(),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Announced(seen) => Writer::new()
                .u8(1)
                .fixed(&seen.intent)
                .u64(seen.first_seen_ms)
                .u64(seen.witnessed_ms)
                .u64(seen.expires_ms)
                .fixed(&seen.name)
                .finish(),
            Self::Withdrawn(intent) => Writer::new().u8(2).fixed(intent).finish(),
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new("intent", bytes);
        let record = match reader.u8()? {
            1 => Self::Announced(Seen {
                intent: reader.array()?,
                first_seen_ms: reader.u64()?,
                witnessed_ms: reader.u64()?,
                expires_ms: reader.u64()?,
                name: reader.array()?,
            }),
            2 => Self::Withdrawn(reader.array()?),
            _ => return Err(Malformed("intent")),
        };
        reader.finish()?;
        Ok(record)
    }
}

/// All intents that have not expired.
#[derive(Clone, Debug, Default)]
pub(crate) struct Intents {
    seen: BTreeMap<[u8; 32], Seen>,
    names: BTreeMap<[u8; 32], [u8; 32]>,
    by_expiry: BTreeSet<(u64, [u8; 32])>,
    withdrawn: BTreeSet<[u8; 32]>,
}

impl Intents {
    pub(crate) fn record(&mut self, record: Record) {
        match record {
            Record::Announced(seen) => {
                self.names.entry(seen.name).or_insert(seen.intent);
                self.by_expiry.insert((seen.expires_ms, seen.intent));
                self.seen.entry(seen.intent).or_insert(seen);
            }
            Record::Withdrawn(intent) => {
                self.withdrawn.insert(intent);
            }
        }
    }

    pub(crate) fn get(&self, intent: &[u8; 32]) -> Option<&Seen> {
        self.seen.get(intent)
    }

    pub(crate) fn withdrawn(&self, intent: &[u8; 32]) -> bool {
        self.withdrawn.contains(intent)
    }

    /// Another intent of the same initiator under the same idempotency key.
    pub(crate) fn conflict(&self, name: &[u8; 32], intent: &[u8; 32]) -> Option<[u8; 32]> {
        self.names
            .get(name)
            .copied()
            .filter(|other| other != intent)
    }

    pub(crate) fn len(&self) -> usize {
        self.seen.len()
    }

    /// Forgets one intent whose row could not be written.
    pub(crate) fn forget(&mut self, intent: &[u8; 32]) {
        if let Some(seen) = self.seen.remove(intent) {
            self.by_expiry.remove(&(seen.expires_ms, *intent));
            if self.names.get(&seen.name) == Some(intent) {
                self.names.remove(&seen.name);
            }
        }
    }

    /// Forgets what has expired: it can be neither announced nor signed any more.
    pub(crate) fn expire(&mut self, wall_ms: u64) {
        while let Some((expires_ms, intent)) = self
            .by_expiry
            .first()
            .copied()
            .filter(|(at, _)| *at <= wall_ms)
        {
            self.by_expiry.remove(&(expires_ms, intent));
            self.withdrawn.remove(&intent);
            self.forget(&intent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(intent: u8, name: u8, expires_ms: u64) -> Seen {
        Seen {
            intent: [intent; 32],
            first_seen_ms: 5,
            witnessed_ms: 4,
            expires_ms,
            name: [name; 32],
        }
    }

    #[test]
    fn records_have_one_encoding() {
        for record in [Record::Announced(seen(1, 2, 3)), Record::Withdrawn([4; 32])] {
            let bytes = record.encode();
            assert_eq!(Record::decode(&bytes), Ok(record));
            assert!(Record::decode(&bytes[..bytes.len() - 1]).is_err());
        }
        assert_eq!(Record::decode(&[3; 33]), Err(Malformed("intent")));
    }

    #[test]
    fn the_first_announcement_counts_and_expiry_forgets() {
        let mut intents = Intents::default();
        intents.record(Record::Announced(seen(1, 7, 100)));
        intents.record(Record::Announced(Seen {
            first_seen_ms: 50,
            ..seen(1, 7, 100)
        }));
        intents.record(Record::Withdrawn([1; 32]));
        assert_eq!(intents.get(&[1; 32]).unwrap().first_seen_ms, 5);
        assert_eq!(intents.conflict(&[7; 32], &[2; 32]), Some([1; 32]));
        assert_eq!(intents.conflict(&[7; 32], &[1; 32]), None);
        intents.expire(99);
        assert!(intents.len() == 1 && intents.withdrawn(&[1; 32]));
        intents.expire(100);
        assert!(
            intents.len() == 0
                && !intents.withdrawn(&[1; 32])
                && intents.conflict(&[7; 32], &[2; 32]).is_none()
        );
    }
}
