//! What nodes say to each other about pools, inside their sessions.
//!
//! ```text
//! 2 | pool id 32 | set of signers 4 (bit i: index i + 1) | envelope     a message of a run
//! 3 | boot id 16 | name 32 | u32be last generation                       this start of the node, and its setup with the other
//! ```

use std::collections::BTreeSet;

use mpc_core::id::NodeId;
use mpc_core::roster::Roster;

use crate::codec::{Malformed, Reader, Writer};

/// First byte of a message of a run.
pub(crate) const RUN: u8 = 2;
/// First byte of a greeting.
pub(crate) const BOOT: u8 = 3;

/// A message of a run of preprocessing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunMessage {
    pub(crate) pool: [u8; 32],
    pub(crate) signers: u32,
    pub(crate) envelope: Vec<u8>,
}

impl RunMessage {
    pub(crate) fn encode(&self) -> Vec<u8> {
        Writer::new()
            .u8(RUN)
            .fixed(&self.pool)
            .u32(self.signers)
            .bytes(&self.envelope)
            .finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new("message of a run", bytes);
        if reader.u8()? != RUN {
            return Err(Malformed("message of a run"));
        }
        let message = Self {
            pool: reader.array()?,
            signers: reader.u32()?,
            envelope: reader.bytes()?.to_vec(),
        };
        reader.finish()?;
        Ok(message)
    }
}

/// What a node says when a session begins, and whenever its setup with the other has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Greeting {
    /// This start of the node.
    pub(crate) boot: [u8; 16],
    /// The name of its live setup with the other; zeros if there is none.
    pub(crate) name: [u8; 32],
    /// The highest generation that it has ever stored, live or not.
    pub(crate) last: u32,
}

impl Greeting {
    pub(crate) fn encode(&self) -> Vec<u8> {
        Writer::new()
            .u8(BOOT)
            .fixed(&self.boot)
            .fixed(&self.name)
            .u32(self.last)
            .finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new("greeting", bytes);
        if reader.u8()? != BOOT {
            return Err(Malformed("greeting"));
        }
        let greeting = Self {
            boot: reader.array()?,
            name: reader.array()?,
            last: reader.u32()?,
        };
        reader.finish()?;
        Ok(greeting)
    }
}

/// A set of signers as bits.
pub(crate) fn mask(roster: &Roster, signers: &BTreeSet<NodeId>) -> u32 {
    let bits = signers.iter().filter_map(|node| roster.index(node));
    bits.fold(0, |mask, index| {
        mask | 1_u32
            .checked_shl(u32::from(index.get()).saturating_sub(1))
            .unwrap_or(0)
    })
}

/// The set of signers of some bits, if all of them are nodes.
pub(crate) fn unmask(roster: &Roster, mask: u32) -> Option<BTreeSet<NodeId>> {
    let set: BTreeSet<NodeId> = roster
        .by_index()
        .filter(|(index, _)| {
            mask.checked_shr(u32::from(index.get()).saturating_sub(1))
                .is_some_and(|bits| bits & 1 == 1)
        })
        .map(|(_, node)| node)
        .collect();
    (u32::try_from(set.len()) == Ok(mask.count_ones())).then_some(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_one_encoding_and_their_lengths_are_checked() {
        let message = RunMessage {
            pool: [7; 32],
            signers: 5,
            envelope: vec![1, 2, 3],
        };
        let bytes = message.encode();
        assert_eq!(RunMessage::decode(&bytes).as_ref(), Ok(&message));
        let greeting = Greeting {
            boot: [9; 16],
            name: [8; 32],
            last: 7,
        };
        let boot = greeting.encode();
        assert_eq!(Greeting::decode(&boot), Ok(greeting));
        for end in 0..bytes.len() {
            assert!(RunMessage::decode(&bytes[..end]).is_err());
        }
        for end in 0..boot.len() {
            assert!(Greeting::decode(&boot[..end]).is_err());
        }
        assert!(RunMessage::decode(&boot).is_err() && Greeting::decode(&bytes).is_err());
    }
}
