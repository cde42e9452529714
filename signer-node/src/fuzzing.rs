//! The decoders of stored bytes, for fuzz targets. They do nothing but decode, and none of these bytes is secret.

use mpc_core::id::NodeId;

use crate::clock::Mark;
use crate::engine::ledger::Entry;
use crate::engine::records;
use crate::store;

/// Decodes bytes and encodes them again; nothing where they do not decode.
pub type Recode = fn(&[u8]) -> Option<Vec<u8>>;

/// Every record, by name. Whatever decodes must encode to the same bytes.
pub const RECORDS: [(&str, Recode); 12] = [
    ("ceremony", records::ceremony),
    ("check", records::check),
    ("clock mark", |bytes| {
        Mark::decode(bytes).ok().map(|mark| mark.encode())
    }),
    ("head", store::recode_head),
    ("intent", records::intent),
    ("ledger entry", |bytes| {
        Entry::decode(bytes).ok().map(|entry| entry.encode())
    }),
    ("order", records::order),
    ("pair", records::pair),
    ("peer message", records::peer_message),
    ("policy", records::policy),
    ("run message", records::run_message),
    ("sharing", records::sharing),
];

/// Reads what a backup says about a key beside its share, for the node that made it, and writes it again: without the certificates beside
/// the chain, which nobody has verified.
#[must_use]
pub fn history(bytes: &[u8], me: &NodeId) -> Option<Vec<u8>> {
    records::history(bytes, me)
}
