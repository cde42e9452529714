//! How large a message may be, in bytes, kind by kind.
//!
//! tonic refuses a message above the limit of its service from the length prefix alone, before it takes memory for it.
//! Inside a stream with many kinds that limit is the one of the largest kind; [`node_frame()`] and [`coordinator_frame()`]
//! hold every other kind to its own.
use std::collections::BTreeSet;

use prost::Message;
use thiserror::Error;

use crate::v1::{self, coordinator_frame, node_frame};

/// A request to the coordinator: a signed intent, an approval, a policy document with signatures.
pub const REQUEST: usize = 256 << 10;

/// An answer of the coordinator; lists are paged to stay below it.
pub const ANSWER: usize = 4 << 20;

/// Anything a node sends on its link.
pub const NODE_FRAME: usize = CHAIN + 1024;

/// Anything the coordinator sends on a link.
pub const COORDINATOR_FRAME: usize = CHAIN + 1024;

/// Bytes of a nested session: one relayed piece, and room for the names around it.
pub const TUNNEL: usize = TUNNEL_DATA + 1024;

/// The most bytes of a nested session in one piece.
pub const TUNNEL_DATA: usize = 256 << 10;

/// Whatever has a fixed shape: greetings, proofs, receipts, state.
pub const SMALL: usize = 4 << 10;

/// One request's evidence: intent, approvals, receipts, commitments.
pub const SIGN: usize = 256 << 10;

/// Nonce commitments for many signatures ahead.
pub const COMMITMENTS: usize = 128 << 10;

/// What a node says of one key or ceremony, or the parts of a certificate.
pub const STATUS: usize = 128 << 10;

/// The names of all entries of a pool.
pub const POOL: usize = 64 << 10;

/// The status of a node with all its keys, some 500 bytes each.
pub const NODE_STATUS: usize = 3 << 20;

/// The keys in a status: all that a node may hold, and as many that are being made.
pub const KEYS: usize = 8_000;

/// The pairs in a status: one for every other node there can be.
pub const PAIRS: usize = 64;

/// Of what is prepared for a key, a status names the highest only.
pub const PREPARED: usize = 1;

/// What a node attests of all its keys, some 90 bytes each.
pub const ATTESTATION: usize = 512 << 10;

/// The history of a key: a certificate for every time its shares have been replaced. That of five nodes has 3 KiB, of 32 nodes 40.
pub const CHAIN: usize = 4 << 20;

/// An activation certificate, or the parts of one.
pub const RESHARE: usize = 256 << 10;

/// The envelopes of one online round of an ECDSA signature, of all signers.
pub const ROUND: usize = 256 << 10;

/// Evidence of a fault. What is larger stays where it was found.
pub const EVIDENCE: usize = 256 << 10;

/// A frame that is larger than its kind may be, or has no kind.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum FrameError {
    /// No body, or one of a newer protocol version.
    #[error("frame has no known body; check the versions of both ends")]
    NoBody,
    /// More entries than there can be.
    #[error("{count} {kind}; at most {limit} are allowed")]
    TooMany {
        /// Of what.
        kind: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// Too large for its kind.
    #[error("{kind} of {size} bytes; at most {limit} are allowed")]
    TooLarge {
        /// What it is.
        kind: &'static str,
        /// Its encoded size.
        size: usize,
        /// What its kind may have.
        limit: usize,
    },
}

fn check(kind: &'static str, size: usize, limit: usize) -> Result<(), FrameError> {
    if size <= limit {
        Ok(())
    } else {
        Err(FrameError::TooLarge { kind, size, limit })
    }
}

fn count(kind: &'static str, count: usize, limit: usize) -> Result<(), FrameError> {
    if count <= limit {
        Ok(())
    } else {
        Err(FrameError::TooMany { kind, count, limit })
    }
}

/// An entry of a status takes two bytes on the wire and hundreds in memory, so their numbers are bounded beside its size.
fn status(body: &v1::NodeStatus) -> Result<(), FrameError> {
    check("status", body.encoded_len(), NODE_STATUS)?;
    count("keys in a status", body.keys.len(), KEYS)?;
    count("pairs in a status", body.pairs.len(), PAIRS)?;
    let mut prepared = body.keys.iter().map(|key| key.prepared.len());
    prepared.try_for_each(|found| count("prepared sharings of a key", found, PREPARED))?;
    let names = body.keys.iter();
    let names = names.map(|key| (key.key_id.as_ref(), key.request_id.as_ref()));
    let different: BTreeSet<(&[u8], &[u8])> = names.collect();
    let doubled = body.keys.len().saturating_sub(different.len());
    count("keys twice in a status", doubled, 0)
}

/// Holds a node's frame to the limit of its kind.
///
/// # Errors
/// [`FrameError`].
pub fn node_frame(frame: &v1::NodeFrame) -> Result<(), FrameError> {
    use node_frame::Body;
    match frame.body.as_ref().ok_or(FrameError::NoBody)? {
        Body::Hello(body) => check("hello", body.encoded_len(), SMALL),
        Body::HelloProof(body) => check("hello proof", body.encoded_len(), SMALL),
        Body::Tunnel(body) => tunnel(body),
        Body::Receipt(body) => check("receipt", body.encoded_len(), SMALL),
        Body::Commitments(body) => check("commitments", body.encoded_len(), COMMITMENTS),
        Body::Share(body) => check("share", body.encoded_len(), COMMITMENTS),
        Body::DkgProgress(body) => check("dkg progress", body.encoded_len(), STATUS),
        Body::PolicyState(body) => check("policy state", body.encoded_len(), SMALL),
        Body::FreezeState(body) => check("freeze state", body.encoded_len(), SMALL),
        Body::Status(body) => status(body),
        Body::Failure(body) => check("failure", body.encoded_len(), STATUS),
        Body::EcdsaRound1(body) => check("ecdsa round 1", body.encoded_len(), COMMITMENTS),
        Body::EcdsaRound2(body) => check("ecdsa round 2", body.encoded_len(), SMALL),
        Body::PoolEntries(body) => check("pool entries", body.encoded_len(), POOL),
        Body::PairAlarm(body) => check("pair alarm", body.encoded_len(), SMALL),
        Body::ReshareProgress(body) => check("reshare progress", body.encoded_len(), STATUS),
        Body::Chain(body) => check("chain", body.encoded_len(), CHAIN),
        Body::Exported(body) => check("exported", body.encoded_len(), SMALL),
        Body::KeyState(body) => check("key state", body.encoded_len(), STATUS),
        Body::Attestation(body) => check("attestation", body.encoded_len(), ATTESTATION),
        Body::EcdsaExplanation(body) => check("ecdsa explanation", body.encoded_len(), COMMITMENTS),
        Body::Evidence(body) => check("evidence", body.encoded_len(), EVIDENCE),
    }
}

/// Holds the coordinator's frame to the limit of its kind.
///
/// # Errors
/// [`FrameError`].
pub fn coordinator_frame(frame: &v1::CoordinatorFrame) -> Result<(), FrameError> {
    use coordinator_frame::Body;
    match frame.body.as_ref().ok_or(FrameError::NoBody)? {
        Body::Challenge(body) => check("challenge", body.encoded_len(), SMALL),
        Body::Tunnel(body) => tunnel(body),
        Body::Announce(body) => check("announce", body.encoded_len(), REQUEST),
        Body::Prepare(body) => check("prepare", body.encoded_len(), SMALL),
        Body::Sign(body) => check("sign", body.encoded_len(), SIGN),
        Body::StartDkg(body) => check("start dkg", body.encoded_len(), SMALL),
        Body::DkgCertificate(body) => check("dkg certificate", body.encoded_len(), STATUS),
        Body::InstallPolicy(body) => check("install policy", body.encoded_len(), REQUEST),
        Body::Order(body) => check("order", body.encoded_len(), REQUEST),
        Body::StatusQuery(body) => check("status query", body.encoded_len(), SMALL),
        Body::Withdraw(body) => check("withdraw", body.encoded_len(), SMALL),
        Body::EcdsaOpen(body) => check("ecdsa open", body.encoded_len(), SIGN),
        Body::EcdsaFinish(body) => check("ecdsa finish", body.encoded_len(), ROUND),
        Body::FillPool(body) => check("fill pool", body.encoded_len(), SMALL),
        Body::ImportMessage(body) => check("import message", body.encoded_len(), ROUND),
        Body::StartReshare(body) => check("start reshare", body.encoded_len(), CHAIN),
        Body::Activate(body) => check("activate", body.encoded_len(), RESHARE),
        Body::StopReshare(body) => check("stop reshare", body.encoded_len(), SMALL),
        Body::ChainQuery(body) => check("chain query", body.encoded_len(), SMALL),
        Body::Retire(body) => check("retire", body.encoded_len(), REQUEST),
        Body::Export(body) => check("export", body.encoded_len(), REQUEST),
        Body::AttestQuery(body) => check("attest query", body.encoded_len(), SMALL),
        Body::CatchUp(body) => check("catch up", body.encoded_len(), CHAIN),
        Body::EcdsaExplain(body) => check("ecdsa explain", body.encoded_len(), ROUND),
        Body::Evidence(body) => check("evidence", body.encoded_len(), EVIDENCE),
    }
}

fn tunnel(body: &v1::Tunnel) -> Result<(), FrameError> {
    check("tunnel data", body.data.len(), TUNNEL_DATA)?;
    check("tunnel", body.encoded_len(), TUNNEL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_no_more_entries_than_there_can_be_and_none_twice() {
        let key = |number: usize| v1::KeyState {
            key_id: number.to_be_bytes().to_vec().into(),
            ..Default::default()
        };
        let status = |keys: Vec<v1::KeyState>, pairs: usize| v1::NodeFrame {
            body: Some(node_frame::Body::Status(v1::NodeStatus {
                keys,
                pairs: vec![v1::PairState::default(); pairs],
                ..Default::default()
            })),
            ..Default::default()
        };
        let many = |count: usize| status((0..count).map(key).collect(), PAIRS);
        let refused = |frame| matches!(node_frame(&frame), Err(FrameError::TooMany { .. }));
        assert_eq!(node_frame(&many(KEYS)), Ok(()));
        assert!(refused(many(KEYS + 1)));
        assert!(refused(status(Vec::new(), PAIRS + 1)));
        assert!(refused(status(vec![key(1), key(1)], 0)));
        let prepared = v1::KeyState {
            prepared: vec![v1::PreparedState::default(); PREPARED + 1],
            ..key(1)
        };
        assert!(refused(status(vec![prepared], 0)));
    }

    #[test]
    fn a_small_kind_may_not_use_the_room_of_a_large_one() {
        let hello = |length: usize| v1::NodeFrame {
            body: Some(node_frame::Body::Hello(v1::Hello {
                software: "x".repeat(length),
                ..Default::default()
            })),
            ..Default::default()
        };
        assert_eq!(node_frame(&hello(SMALL - 3)), Ok(()));
        let size = SMALL + 1;
        let error = FrameError::TooLarge {
            kind: "hello",
            size,
            limit: SMALL,
        };
        assert_eq!(node_frame(&hello(SMALL - 2)), Err(error));
        assert_eq!(
            node_frame(&v1::NodeFrame::default()),
            Err(FrameError::NoBody)
        );
        assert_eq!(
            coordinator_frame(&v1::CoordinatorFrame::default()),
            Err(FrameError::NoBody)
        );
    }

    #[test]
    fn a_full_piece_of_a_tunnel_fits_its_frame_and_one_more_byte_does_not() {
        let tunnel = |length: usize| v1::Tunnel {
            from: vec![1; 32].into(),
            to: vec![2; 32].into(),
            connection: vec![3; 16].into(),
            seq: u64::MAX,
            data: vec![4; length].into(),
            reset: true,
        };
        let there = v1::CoordinatorFrame {
            version: u32::MAX,
            call_id: u64::MAX,
            body: Some(coordinator_frame::Body::Tunnel(tunnel(TUNNEL_DATA))),
        };
        let back = v1::NodeFrame {
            version: u32::MAX,
            call_id: u64::MAX,
            body: Some(node_frame::Body::Tunnel(tunnel(TUNNEL_DATA))),
        };
        assert!(there.encoded_len() <= COORDINATOR_FRAME && coordinator_frame(&there).is_ok());
        assert!(back.encoded_len() <= NODE_FRAME && node_frame(&back).is_ok());
        let more = v1::NodeFrame {
            body: Some(node_frame::Body::Tunnel(tunnel(TUNNEL_DATA + 1))),
            ..Default::default()
        };
        let error = FrameError::TooLarge {
            kind: "tunnel data",
            size: TUNNEL_DATA + 1,
            limit: TUNNEL_DATA,
        };
        assert_eq!(node_frame(&more), Err(error));
    }
}
