//! The echo of a broadcast round: what every later message of its receivers repeats, so that parties that were told different
//! things find out before a secret depends on it. (Protocol notes, section 1.6.)

use std::collections::BTreeMap;

use crate::id::{NodeId, SessionId};
use crate::transcript::{self, Tag};

/// `H("echo"; ssid, u8 round, (nid_i || envh_i) list by node)`, from the signed values of the messages of a round.
pub(crate) fn echo(
    session: SessionId,
    round: u8,
    digests: impl Iterator<Item = (NodeId, [u8; 32])>,
) -> [u8; 32] {
    let sorted: BTreeMap<NodeId, [u8; 32]> = digests.collect();
    let items: Vec<Vec<u8>> = sorted
        .iter()
        .map(|(node, digest)| [node.as_bytes(), &digest[..]].concat())
        .collect();
    transcript::hash(Tag::ECHO)
        .field(session)
        .u8(round)
        .list(&items)
        .digest()
}
