//! A disk that forgets what was not synced.
//!
//! The rules are those of the node's store: changes that belong together are one transaction; the transactions that wait are written
//! as one group and synced once; only then is anybody told. A crash cuts what is written and not synced at any byte: a transaction
//! of which a byte is missing is not there when the node comes back, one that is complete may be.

use std::collections::{BTreeMap, BTreeSet};

use mpc_core::session::{Durable, Write};
use mpc_core::transcript::body_digest;

use crate::dice::Dice;

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Table {
    /// Names of sessions ever joined.
    Replay,
    /// Shares of a key generation that may not be certified yet, by request. Secret.
    Pending,
    /// Certificates of key generations, by request.
    Certified,
    /// Prepared and active shares of later sharings, by key and sharing. Secret.
    Shares,
    /// The lineage of a key, by key.
    Lineage,
    /// Debits and released shares, by intent and package.
    Ledger,
    /// When an intent was first seen, by intent.
    Seen,
    /// Entries of preprocessing that were spent.
    Entries,
}

impl Table {
    const ALL: [Self; 8] = [
        Self::Replay,
        Self::Pending,
        Self::Certified,
        Self::Shares,
        Self::Lineage,
        Self::Ledger,
        Self::Seen,
        Self::Entries,
    ];
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A row that must be new.
    Append(Table, Vec<u8>, Vec<u8>),
    /// A row that may replace an older one.
    Put(Table, Vec<u8>, Vec<u8>),
    /// A row that goes.
    Erase(Table, Vec<u8>),
}

/// The rows of a disk at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Image(BTreeMap<(Table, Vec<u8>), Vec<u8>>);

impl Image {
    pub(crate) fn get(&self, table: Table, key: &[u8]) -> Option<&[u8]> {
        self.0.get(&(table, key.to_vec())).map(Vec::as_slice)
    }

    pub(crate) fn has(&self, table: Table, key: &[u8]) -> bool {
        self.get(table, key).is_some()
    }

    pub(crate) fn rows(&self, table: Table) -> impl Iterator<Item = (&[u8], &[u8])> {
        let rows = self.0.range((table, Vec::new())..);
        rows.take_while(move |((of, _), _)| *of == table)
            .map(|((_, key), body)| (key.as_slice(), body.as_slice()))
    }

    /// Puts a row into a content that is being put together.
    pub(crate) fn put(&mut self, table: Table, key: &[u8], body: &[u8]) {
        self.0.insert((table, key.to_vec()), body.to_vec());
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Append(table, key, body) | Change::Put(table, key, body) => {
                self.0.insert((*table, key.clone()), body.clone());
            }
            Change::Erase(table, key) => {
                self.0.remove(&(*table, key.clone()));
            }
        }
    }
}

/// Names a job of one boot.
pub(crate) type Ticket = u64;

struct Job {
    ticket: Ticket,
    changes: Vec<Change>,
    write: Option<Write>,
}

/// How a job ended.
pub(crate) enum Answer {
    /// Its changes survive everything but the loss of the disk; with the receipt of the write that came along.
    Durable(Option<Durable>),
    /// A row that had to be new was there; nothing was written.
    Conflict,
    /// No room; nothing was written.
    Full,
}

/// The disk of one node.
#[derive(Default)]
pub(crate) struct Disk {
    image: Image,
    /// Written and not synced.
    tail: Vec<u8>,
    queue: Vec<Job>,
    group: Vec<(Job, Option<Answer>)>,
    pub(crate) full: bool,
    next: Ticket,
}

impl Disk {
    /// What is there whatever happens.
    pub(crate) const fn synced(&self) -> &Image {
        &self.image
    }

    /// Queues changes; the ticket comes back with their answer.
    pub(crate) fn submit(&mut self, changes: Vec<Change>, write: Option<Write>) -> Ticket {
        self.next += 1;
        self.queue.push(Job {
            ticket: self.next,
            changes,
            write,
        });
        self.next
    }

    /// Whether there is something to write and nothing being written.
    pub(crate) fn is_due(&self) -> bool {
        self.group.is_empty() && !self.queue.is_empty()
    }

    /// Writes all that waits, without syncing it.
    pub(crate) fn write(&mut self) {
        let mut there: BTreeSet<(Table, Vec<u8>)> = BTreeSet::new();
        let mut payload = Vec::new();
        for job in std::mem::take(&mut self.queue) {
            let row = |change: &Change| match change {
                Change::Append(table, key, _) => Some((*table, key.clone())),
                Change::Put(..) | Change::Erase(..) => None,
            };
            let new: Vec<_> = job.changes.iter().filter_map(row).collect();
            let taken =
                |row: &(Table, Vec<u8>)| there.contains(row) || self.image.0.contains_key(row);
            let refused = if self.full {
                Some(Answer::Full)
            } else if new.iter().any(taken) {
                Some(Answer::Conflict)
            } else {
                job.changes
                    .iter()
                    .for_each(|change| encode(change, &mut payload));
                there.extend(new);
                None
            };
            self.group.push((job, refused));
        }
        self.tail.extend((payload.len() as u32).to_be_bytes());
        self.tail.extend(body_digest(&payload));
        self.tail.extend(payload);
    }

    /// Syncs what was written and answers everybody.
    pub(crate) fn sync(&mut self) -> Vec<(Ticket, Answer)> {
        recover(&mut self.image, &std::mem::take(&mut self.tail));
        let group = std::mem::take(&mut self.group);
        group
            .into_iter()
            .map(|(job, refused)| {
                let answer =
                    refused.unwrap_or_else(|| Answer::Durable(job.write.map(Write::stored)));
                (job.ticket, answer)
            })
            .collect()
    }

    /// The power fails: what waits is gone, what was written is cut somewhere, or nowhere.
    pub(crate) fn crash(&mut self, dice: &mut Dice) {
        self.queue.clear();
        self.group.clear();
        let mut tail = std::mem::take(&mut self.tail);
        let kept = match dice.below(3) {
            0 => 0,
            1 => tail.len(),
            _ => dice.place(tail.len() + 1),
        };
        tail.truncate(kept);
        // A block that was being written may hold anything.
        if kept > 0 && dice.chance(200) {
            let at = dice.place(kept);
            tail[at] ^= 1 << dice.below(8);
        }
        recover(&mut self.image, &tail);
    }

    /// Puts another content on the disk. The node must be down.
    pub(crate) fn restore(&mut self, image: Image) {
        *self = Self {
            image,
            ..Self::default()
        };
    }
}

/// Applies the transaction in `tail` if every byte of it is there.
fn recover(image: &mut Image, tail: &[u8]) {
    let Some((len, rest)) = tail.split_first_chunk::<4>() else {
        return;
    };
    let Some((digest, payload)) = rest.split_first_chunk::<32>() else {
        return;
    };
    if payload.len() != u32::from_be_bytes(*len) as usize || body_digest(payload) != *digest {
        return;
    }
    let mut reader = Reader(payload);
    while let Some(change) = reader.change() {
        image.apply(&change);
    }
}

fn encode(change: &Change, out: &mut Vec<u8>) {
    let (kind, table, key, body) = match change {
        Change::Append(table, key, body) => (0, table, key, body.as_slice()),
        Change::Put(table, key, body) => (1, table, key, body.as_slice()),
        Change::Erase(table, key) => (2, table, key, [].as_slice()),
    };
    out.extend([kind, *table as u8]);
    for field in [key.as_slice(), body] {
        out.extend((field.len() as u32).to_be_bytes());
        out.extend(field);
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn change(&mut self) -> Option<Change> {
        let ([kind, table], rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        let table = *Table::ALL.get(usize::from(*table))?;
        let (key, body) = (self.field()?, self.field()?);
        match kind {
            0 => Some(Change::Append(table, key, body)),
            1 => Some(Change::Put(table, key, body)),
            _ => Some(Change::Erase(table, key)),
        }
    }

    fn field(&mut self) -> Option<Vec<u8>> {
        let (len, rest) = self.0.split_first_chunk::<4>()?;
        let (field, rest) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)?;
        self.0 = rest;
        Some(field.to_vec())
    }
}
