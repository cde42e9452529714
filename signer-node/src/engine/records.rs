//! The engine's decoders, for [`crate::fuzzing`].

use mpc_core::id::NodeId;

use super::{checks, dkg, freeze, intents, pairs, policy, pools, sharings};

pub(crate) fn ceremony(bytes: &[u8]) -> Option<Vec<u8>> {
    let (record, digest) = dkg::Record::decode(bytes).ok()?;
    let mut again = record.encode();
    // A stored share comes back without its sealed record, so its digest is not made again.
    again.truncate(again.len().saturating_sub(digest.len()));
    again.extend_from_slice(&digest);
    Some(again)
}

pub(crate) fn check(bytes: &[u8]) -> Option<Vec<u8>> {
    let check = checks::Check::decode(bytes).ok()?;
    Some(check.encode())
}

pub(crate) fn history(bytes: &[u8], me: &NodeId) -> Option<Vec<u8>> {
    let held = sharings::Held::decode_history(bytes, me).ok()?;
    Some(held.history())
}

pub(crate) fn intent(bytes: &[u8]) -> Option<Vec<u8>> {
    let record = intents::Record::decode(bytes).ok()?;
    Some(record.encode())
}

pub(crate) fn order(bytes: &[u8]) -> Option<Vec<u8>> {
    let record = freeze::Record::decode(bytes).ok()?;
    Some(record.encode())
}

pub(crate) fn pair(bytes: &[u8]) -> Option<Vec<u8>> {
    let record = pairs::Record::decode(bytes).ok()?;
    Some(record.encode())
}

pub(crate) fn peer_message(bytes: &[u8]) -> Option<Vec<u8>> {
    let early = dkg::decode_message(NodeId::from_bytes([0; 32]), bytes).ok()?;
    Some(dkg::encode_message(
        &early.request,
        early.attempt,
        &early.envelope,
    ))
}

pub(crate) fn policy(bytes: &[u8]) -> Option<Vec<u8>> {
    let record = policy::Record::decode(bytes).ok()?;
    Some(record.encode())
}

pub(crate) fn run_message(bytes: &[u8]) -> Option<Vec<u8>> {
    let message = pools::RunMessage::decode(bytes).ok()?;
    Some(message.encode())
}

pub(crate) fn sharing(bytes: &[u8]) -> Option<Vec<u8>> {
    let record = sharings::Record::decode(bytes).ok()?;
    Some(record.encode())
}
