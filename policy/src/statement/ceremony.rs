//! What people order about a whole key: its shares dealt anew, or no more signatures by it.
//!
//! A reshare names everything that decides who holds the key afterwards, in words that people can compare, and the digest of the
//! request that every node builds for itself: a node that knows another key record or another cluster file than the people who
//! signed gets another digest and refuses.

use super::text::{TextReader, TextWriter, parse_hex};
use super::{Common, StatementError};
use crate::cluster::MAX_NODES;

/// One order to deal the shares of a key anew; what all its signers must agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReshareOrder {
    /// The key, 32 bytes.
    pub key: [u8; 32],
    /// The sharing that is replaced, 32 bytes: nothing is dealt from any other.
    pub sharing: [u8; 32],
    /// The epoch of the new sharing.
    pub epoch: u32,
    /// Which attempt at that epoch this is.
    pub attempt: u32,
    /// How many members must sign afterwards.
    pub threshold: u16,
    /// The nodes that deal, by their numbers in the cluster file, ascending.
    pub dealers: Vec<u16>,
    /// The nodes that hold a share afterwards, by their numbers; the first has index 1 in the key, the second 2, and so on.
    pub members: Vec<u16>,
    /// Whether all setups between two members are made anew.
    pub fresh_pairs: bool,
    /// Names this ceremony; 32 fresh bytes.
    pub ceremony: [u8; 32],
    /// Digest of the request, 32 bytes.
    pub request: [u8; 32],
}

/// A person orders a reshare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reshare {
    /// Where, who, how long the order may be delivered.
    pub common: Common,
    /// What is ordered.
    pub order: ReshareOrder,
}

/// A person orders that a key signs no more. Its shares stay where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retire {
    /// Where, who, how long the order may be delivered.
    pub common: Common,
    /// The key, 32 bytes.
    pub key: [u8; 32],
}

impl Reshare {
    pub(super) fn write(&self, writer: TextWriter) -> TextWriter {
        let order = &self.order;
        let pairs = if order.fresh_pairs { "fresh" } else { "kept" };
        writer
            .line("key", &hex::encode(order.key))
            .line("sharing", &hex::encode(order.sharing))
            .line("epoch", &order.epoch.to_string())
            .line("attempt", &order.attempt.to_string())
            .line("threshold", &order.threshold.to_string())
            .line("dealers", &list(&order.dealers))
            .line("members", &list(&order.members))
            .line("pairs", pairs)
            .line("ceremony", &hex::encode(order.ceremony))
            .line("request", &hex::encode(order.request))
    }

    pub(super) fn read(
        cluster: String,
        reader: &mut TextReader<'_>,
    ) -> Result<Self, StatementError> {
        let order = ReshareOrder {
            key: parse_hex("key", reader.value("key")?)?,
            sharing: parse_hex("sharing", reader.value("sharing")?)?,
            epoch: number("epoch", reader)?,
            attempt: number("attempt", reader)?,
            threshold: number("threshold", reader)?,
            dealers: nodes("dealers", reader)?,
            members: nodes("members", reader)?,
            fresh_pairs: match reader.value("pairs")? {
                "fresh" => true,
                "kept" => false,
                _ => return Err(StatementError::BadValue { key: "pairs" }),
            },
            ceremony: parse_hex("ceremony", reader.value("ceremony")?)?,
            request: parse_hex("request", reader.value("request")?)?,
        };
        if !order.dealers.is_sorted() {
            return Err(StatementError::BadValue { key: "dealers" });
        }
        Ok(Self {
            common: Common::read(cluster, reader)?,
            order,
        })
    }
}

impl Retire {
    pub(super) fn write(&self, writer: TextWriter) -> TextWriter {
        writer.line("key", &hex::encode(self.key))
    }

    pub(super) fn read(
        cluster: String,
        reader: &mut TextReader<'_>,
    ) -> Result<Self, StatementError> {
        let key = parse_hex("key", reader.value("key")?)?;
        Ok(Self {
            common: Common::read(cluster, reader)?,
            key,
        })
    }
}

fn list(nodes: &[u16]) -> String {
    let numbers: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    numbers.join(",")
}

fn number<T: core::str::FromStr>(
    key: &'static str,
    reader: &mut TextReader<'_>,
) -> Result<T, StatementError> {
    let text = reader.value(key)?;
    text.parse().map_err(|_| StatementError::BadValue { key })
}

/// Node numbers, none twice and none zero.
fn nodes(key: &'static str, reader: &mut TextReader<'_>) -> Result<Vec<u16>, StatementError> {
    let bad = || StatementError::BadValue { key };
    let parsed = reader.value(key)?.split(',').map(str::parse);
    let numbers: Vec<u16> = parsed.collect::<Result<_, _>>().map_err(|_| bad())?;
    let distinct: std::collections::BTreeSet<&u16> = numbers.iter().collect();
    let fine = distinct.len() == numbers.len() && numbers.len() <= MAX_NODES;
    if fine && !numbers.contains(&0) {
        Ok(numbers)
    } else {
        Err(bad())
    }
}
