//! Evidence of faults in threshold ECDSA: what a third party can see from signed messages alone.
//!
//! ```text
//! EcdsaMalformed   context: u16 t, t times nid     messages: the accused one
//! EcdsaZeroShare   context: u16 t, t times nid     messages: commitments and extension of the accused
//! EcdsaOpening     context: u16 t, t times nid     messages: the commitments of all signers, then the opening of the accused
//! ```

use std::collections::BTreeSet;

use super::{Claim, Evidence, EvidenceError};
use crate::codec::{DecodeError, Problem, Reader, Writer};
use crate::ecdsa::judge;
use crate::envelope::Envelope;
use crate::id::NodeId;
use crate::{Abort, Error, Fault};

fn context(signers: &BTreeSet<NodeId>) -> Vec<u8> {
    let mut out = Writer::default();
    out.u16(u16::try_from(signers.len()).unwrap_or(u16::MAX));
    for node in signers {
        out.bytes(node.as_bytes());
    }
    out.finish()
}

fn read_context(bytes: &[u8]) -> Result<BTreeSet<NodeId>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let count = reader.u16("signers")?;
    let mut signers = BTreeSet::new();
    for _ in 0..count {
        let node = NodeId::from_bytes(reader.array("signer")?);
        if signers.last().is_some_and(|last| *last >= node) {
            return Err(DecodeError::new("signer", Problem::NotCanonical));
        }
        signers.insert(node);
    }
    reader.finish("context")?;
    Ok(signers)
}

/// A signed message that does not decode.
pub(crate) fn malformed(
    signers: &BTreeSet<NodeId>,
    accused: &Envelope,
    error: DecodeError,
) -> Error {
    let messages = vec![accused.as_bytes().to_vec()];
    let evidence = Evidence::new(Claim::EcdsaMalformed, context(signers), messages);
    let fault = Fault::Malformed {
        message: accused.header().kind,
        error,
    };
    Abort::proven(accused.header().from, fault, evidence).into()
}

/// A zero share that is not the one committed to.
pub(crate) fn zero_share(
    signers: &BTreeSet<NodeId>,
    commit: &Envelope,
    extend: &Envelope,
) -> Evidence {
    let messages = [commit, extend].map(|envelope| envelope.as_bytes().to_vec());
    Evidence::new(Claim::EcdsaZeroShare, context(signers), messages.into())
}

/// An opening that is not what was committed to.
pub(crate) fn opening<'a>(
    signers: &BTreeSet<NodeId>,
    commits: impl Iterator<Item = &'a Envelope>,
    opening: &Envelope,
) -> Evidence {
    let mut messages: Vec<_> = commits
        .map(|envelope| envelope.as_bytes().to_vec())
        .collect();
    messages.push(opening.as_bytes().to_vec());
    Evidence::new(Claim::EcdsaOpening, context(signers), messages)
}

/// Judges one of the claims of this module.
pub(super) fn judge(
    claim: Claim,
    context: &[u8],
    messages: &[Envelope],
) -> Result<(NodeId, Fault), EvidenceError> {
    let signers = read_context(context)?;
    if !messages
        .iter()
        .all(|message| signers.contains(&message.header().from))
    {
        return Err(EvidenceError::NotProven("a message is not of a signer"));
    }
    match (claim, messages) {
        (Claim::EcdsaMalformed, [accused]) => judge::malformed(&signers, accused),
        (Claim::EcdsaZeroShare, [commit, extend]) => judge::zero_share(&signers, commit, extend),
        (Claim::EcdsaOpening, [commits @ .., opening]) => {
            judge::opening(&signers, commits, opening)
        }
        _ => Err(EvidenceError::NotProven(
            "another number of messages is needed",
        )),
    }
}
