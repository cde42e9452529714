//! The order to replace the shares of keys: who deals, who holds them from then on, how many must sign.
//!
//! ```text
//! quorate/reshare/v1
//! cluster: c-01
//! request: <64 digits>
//! key: <64 digits> name hot scheme ecdsa epoch 0 attempt 0 sharing <64 digits> next 1 to 3
//! holder: 1 node 1 <64 digits>
//! holder: 2 node 2 <64 digits>
//! threshold: 2
//! dealer: node 1
//! dealer: node 2
//! member: 1 node 1 <64 digits>
//! member: 2 node 4 <64 digits>
//! new_threshold: 2
//! pair_setups: fresh
//! person: alice
//! ...
//! line: what it comes to, in words
//! ```
//!
//! `holder` and `member` are the committees before and after: index in the key, number in the cluster file, node id. The words
//! at the end follow from the fields; a text with other words is refused.

use core::fmt::Display;
use std::collections::BTreeSet;

use super::keys::{KeyRef, number};
use super::text::{TextReader, TextWriter, parse_hex};
use super::{Common, StatementError};

/// The most keys of one order.
pub const MAX_KEYS: usize = 64;
/// The most nodes of a committee.
pub const MAX_SEATS: usize = 32;
/// The most attempts that one order allows for a key.
pub const MAX_ATTEMPTS: u32 = 16;
/// Up to so many keys are named in the words; all of them are in the fields.
const NAMED: usize = 8;

/// One place in a committee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seat {
    /// The index in the key, from 1.
    pub index: u16,
    /// The number in the cluster file.
    pub node: u16,
    /// The node id, 32 bytes.
    pub id: [u8; 32],
}

/// One key whose shares are to be replaced.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReshareKey {
    /// The key and its active sharing.
    pub key: KeyRef,
    /// The first attempt of the next epoch that is allowed, from 1.
    pub first: u32,
    /// The last one; at most [`MAX_ATTEMPTS`] in all. A stuck attempt is passed by the next.
    pub last: u32,
}

/// What is ordered: new shares for keys of one committee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// 32 fresh bytes, the same in the statements of all who sign: the name of the order and of the protocol's request.
    pub request: [u8; 32],
    /// The keys, 1 to [`MAX_KEYS`], in the order in which they are done.
    pub keys: Vec<ReshareKey>,
    /// Who holds the shares now, by index.
    pub holders: Vec<Seat>,
    /// How many must sign now.
    pub threshold: u16,
    /// Who deals, by number in the cluster file, ascending; at least the threshold of the holders.
    pub dealers: Vec<u16>,
    /// Who will hold the shares, with the indices 1, 2, and so on.
    pub members: Vec<Seat>,
    /// How many must sign then.
    pub new_threshold: u16,
    /// Whether all pairs of members make new pair setups with the first key; otherwise they keep those they have.
    pub fresh_pairs: bool,
}

impl Plan {
    /// Whether nodes, indices and threshold stay as they are.
    #[must_use]
    pub fn is_refresh(&self) -> bool {
        self.holders == self.members && self.threshold == self.new_threshold
    }

    /// What is ordered, in words.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let refresh = self.is_refresh();
        let named: Vec<String> = self.keys.iter().map(|key| key.key.shown()).collect();
        let keys = if named.len() <= NAMED {
            format!("key {}", named.join(", key "))
        } else {
            format!("{} keys, as listed above", named.len())
        };
        let mut lines = vec![format!(
            "{} {keys}",
            if refresh {
                "refresh the shares of"
            } else {
                "replace the shares of"
            }
        )];
        let holders = nodes(self.holders.iter().map(|seat| seat.node));
        let members = nodes(self.members.iter().map(|seat| seat.node));
        if refresh {
            lines.push(format!(
                "{holders} hold them before and after, any {} of them sign",
                self.threshold
            ));
        } else {
            lines.push(format!(
                "before: {holders} hold them, any {} of them sign",
                self.threshold
            ));
            lines.push(format!(
                "after: {members} hold them, any {} of them sign",
                self.new_threshold
            ));
            let (old, new) = (ids(&self.holders), ids(&self.members));
            let gone = self.holders.iter().filter(|seat| !new.contains(&seat.id));
            let come = self.members.iter().filter(|seat| !old.contains(&seat.id));
            let (gone, come): (Vec<u16>, Vec<u16>) = (
                gone.map(|seat| seat.node).collect(),
                come.map(|seat| seat.node).collect(),
            );
            if !gone.is_empty() {
                lines.push(format!("{} can no longer take part", nodes(gone)));
            }
            if !come.is_empty() {
                lines.push(format!("{} can take part from then on", nodes(come)));
            }
        }
        lines.push(format!(
            "{} deal the new shares; the old ones are worth nothing once they are erased",
            nodes(self.dealers.iter().copied())
        ));
        if self.fresh_pairs {
            lines.push("all pairs of nodes make new pair setups".to_owned());
        }
        lines.push("public keys and addresses stay as they are".to_owned());
        lines
    }

    pub(super) fn write(&self, writer: TextWriter) -> TextWriter {
        let seats = |key: &str, writer: TextWriter, seats: &[Seat]| {
            seats.iter().fold(writer, |writer, seat| {
                let value = format!("{} node {} {}", seat.index, seat.node, hex::encode(seat.id));
                writer.line(key, &value)
            })
        };
        let writer = writer.line("request", &hex::encode(self.request));
        let writer = self.keys.iter().fold(writer, |writer, one| {
            let value = format!("{} next {} to {}", one.key.render(), one.first, one.last);
            writer.line("key", &value)
        });
        let writer =
            seats("holder", writer, &self.holders).line("threshold", &self.threshold.to_string());
        let writer = self.dealers.iter().fold(writer, |writer, node| {
            writer.line("dealer", &format!("node {node}"))
        });
        seats("member", writer, &self.members)
            .line("new_threshold", &self.new_threshold.to_string())
            .line(
                "pair_setups",
                if self.fresh_pairs { "fresh" } else { "kept" },
            )
    }

    fn read(reader: &mut TextReader<'_>) -> Result<Self, StatementError> {
        let request = parse_hex("request", reader.value("request")?)?;
        let keys = reader
            .run("key", MAX_KEYS)?
            .into_iter()
            .map(read_key)
            .collect::<Result<_, _>>()?;
        let holders = read_seats("holder", reader)?;
        let threshold = number("threshold", reader.value("threshold")?)?;
        let dealers = reader
            .run("dealer", MAX_SEATS)?
            .into_iter()
            .map(|text| number("dealer", text.strip_prefix("node ").unwrap_or_default()))
            .collect::<Result<_, _>>()?;
        let members = read_seats("member", reader)?;
        let new_threshold = number("new_threshold", reader.value("new_threshold")?)?;
        let fresh_pairs = match reader.value("pair_setups")? {
            "fresh" => true,
            "kept" => false,
            _ => return Err(StatementError::BadValue { key: "pair_setups" }),
        };
        let plan = Self {
            request,
            keys,
            holders,
            threshold,
            dealers,
            members,
            new_threshold,
            fresh_pairs,
        };
        plan.check()?;
        Ok(plan)
    }

    /// What can be seen from the plan alone; whether it fits the keys and the cluster is for those who know these.
    ///
    /// # Errors
    /// [`StatementError::BadValue`] with the key of the first line that is wrong.
    pub fn check(&self) -> Result<(), StatementError> {
        let bad = |key| Err(StatementError::BadValue { key });
        let mut names = BTreeSet::new();
        let sound = |one: &ReshareKey| {
            one.first >= 1
                && one.first <= one.last
                && one.last.abs_diff(one.first) < MAX_ATTEMPTS
                && one.key.epoch < u32::MAX
        };
        if self.keys.is_empty()
            || self.keys.len() > MAX_KEYS
            || !self
                .keys
                .iter()
                .all(|one| sound(one) && names.insert(one.key.key))
        {
            return bad("key");
        }
        if !is_committee(&self.holders) {
            return bad("holder");
        }
        let fits = |threshold: u16, seats: &[Seat]| {
            threshold >= 2 && usize::from(threshold) <= seats.len()
        };
        if !fits(self.threshold, &self.holders) {
            return bad("threshold");
        }
        let ascending = self.dealers.is_sorted_by(|a, b| a < b);
        let hold = |node: &u16| self.holders.iter().any(|seat| seat.node == *node);
        if !ascending
            || !self.dealers.iter().all(hold)
            || self.dealers.len() < usize::from(self.threshold)
        {
            return bad("dealer");
        }
        let in_order = self
            .members
            .iter()
            .zip(1_u16..)
            .all(|(seat, due)| seat.index == due);
        // One number, one node: the cluster file does not change within an order.
        let same = |seat: &Seat| {
            self.holders
                .iter()
                .all(|old| (old.node == seat.node) == (old.id == seat.id))
        };
        if !is_committee(&self.members) || !in_order || !self.members.iter().all(same) {
            return bad("member");
        }
        if !fits(self.new_threshold, &self.members) {
            return bad("new_threshold");
        }
        Ok(())
    }
}

fn ids(seats: &[Seat]) -> BTreeSet<[u8; 32]> {
    seats.iter().map(|seat| seat.id).collect()
}

/// At most [`MAX_SEATS`], indices ascending from 1 or above, and nobody twice.
fn is_committee(seats: &[Seat]) -> bool {
    let nodes: BTreeSet<u16> = seats.iter().map(|seat| seat.node).collect();
    (2..=MAX_SEATS).contains(&seats.len())
        && seats.first().is_some_and(|first| first.index >= 1)
        && seats.is_sorted_by(|a, b| a.index < b.index)
        && nodes.len() == seats.len()
        && !nodes.contains(&0)
        && ids(seats).len() == seats.len()
}

fn nodes(numbers: impl IntoIterator<Item = impl Display>) -> String {
    let numbers: Vec<String> = numbers.into_iter().map(|n| n.to_string()).collect();
    match numbers.len() {
        1 => format!("node {}", numbers.concat()),
        _ => format!("nodes {}", numbers.join(", ")),
    }
}

fn read_key(text: &str) -> Result<ReshareKey, StatementError> {
    let bad = StatementError::BadValue { key: "key" };
    let mut words = text.split(' ');
    let key = KeyRef::read(&mut words)?;
    let rest: Vec<&str> = words.collect();
    match rest.as_slice() {
        ["next", first, "to", last] => Ok(ReshareKey {
            key,
            first: number("key", first)?,
            last: number("key", last)?,
        }),
        _ => Err(bad),
    }
}

fn read_seats(key: &'static str, reader: &mut TextReader<'_>) -> Result<Vec<Seat>, StatementError> {
    let read = |text: &str| {
        let words: Vec<&str> = text.split(' ').collect();
        match words.as_slice() {
            [index, "node", node, id] => Ok(Seat {
                index: number(key, index)?,
                node: number(key, node)?,
                id: parse_hex(key, id)?,
            }),
            _ => Err(StatementError::BadValue { key }),
        }
    };
    reader.run(key, MAX_SEATS)?.into_iter().map(read).collect()
}

/// One person's signature under a [`Plan`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reshare {
    /// Where, who, how long.
    pub common: Common,
    /// What is ordered.
    pub plan: Plan,
}

impl Reshare {
    pub(super) fn read(
        cluster: String,
        reader: &mut TextReader<'_>,
    ) -> Result<Self, StatementError> {
        let plan = Plan::read(reader)?;
        let common = Common::read(cluster, reader)?;
        reader.same_lines(&plan.lines())?;
        Ok(Self { common, plan })
    }
}
