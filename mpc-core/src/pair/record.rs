//! The record of a pair setup: everything that one of the two nodes keeps of it.

use core::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{COLUMNS, ReceiverSeeds, SEED_BYTES, SenderSeeds};
use crate::codec::{DecodeError, Problem, Reader, Writer};
use crate::id::{NodeId, PairId};

const VERSION: u8 = 1;

/// Length of an encoded record in bytes.
pub const RECORD_BYTES: usize = 1 + 32 + 4 + 32 + COLUMNS * 3 * SEED_BYTES + COLUMNS / 8;

/// One node's half of the setup with one peer. Secret; wiped when dropped. One process owns it: two that do not share what became
/// of it would let a peer guess at `delta` twice.
///
/// The name tells the records of two nodes apart where the counter would not: nodes that hold different seeds hold different
/// names.
#[derive(Debug)]
pub struct PairRecord {
    peer: NodeId,
    generation: u32,
    name: PairId,
    receiver: ReceiverSeeds,
    sender: SenderSeeds,
}

impl PairRecord {
    pub(crate) const fn new(
        peer: NodeId,
        generation: u32,
        name: PairId,
        receiver: ReceiverSeeds,
        sender: SenderSeeds,
    ) -> Self {
        Self {
            peer,
            generation,
            name,
            receiver,
            sender,
        }
    }

    /// The other node.
    #[must_use]
    pub const fn peer(&self) -> NodeId {
        self.peer
    }

    /// How often the two nodes have made a setup, from 1.
    #[must_use]
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// The name of the setup: the same at both nodes.
    #[must_use]
    pub const fn name(&self) -> PairId {
        self.name
    }

    /// What this node needs to receive extended transfers.
    #[must_use]
    pub const fn receiver_seeds(&self) -> &ReceiverSeeds {
        &self.receiver
    }

    /// What this node needs to send extended transfers.
    #[must_use]
    pub const fn sender_seeds(&self) -> &SenderSeeds {
        &self.sender
    }

    /// The record as bytes, to be sealed at rest:
    /// `u8 1 | peer 32 | u32 generation | name 32 | both seeds 4096 | delta 16 | chosen seeds 2048`.
    ///
    /// # Security
    /// Whoever reads these bytes can open everything that was multiplied with this setup.
    #[must_use]
    pub fn dangerous_to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Writer::with_capacity(RECORD_BYTES);
        out.u8(VERSION)
            .bytes(self.peer.as_bytes())
            .u32(self.generation)
            .bytes(self.name.as_bytes())
            .bytes(self.receiver.expose_secret().as_flattened().as_flattened())
            .bytes(self.sender.delta())
            .bytes(self.sender.expose_secret().as_flattened());
        Zeroizing::new(out.finish())
    }

    /// Decodes a record.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn dangerous_from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::measured("record", bytes, RECORD_BYTES)?;
        if reader.u8("version")? != VERSION {
            return Err(DecodeError::new("version", Problem::Unknown));
        }
        let peer = NodeId::from_bytes(reader.array("peer")?);
        let generation = reader.u32("generation")?;
        let name = PairId::from_bytes(reader.array("name")?);
        if generation == 0 {
            return Err(DecodeError::new("generation", Problem::Zero));
        }
        let mut both = Box::new([[[0; SEED_BYTES]; 2]; COLUMNS]);
        for seed in both.as_flattened_mut() {
            *seed = reader.array("receiver_seeds")?;
        }
        let mut delta = reader.array("delta")?;
        let mut chosen = Box::new([[0; SEED_BYTES]; COLUMNS]);
        for seed in chosen.iter_mut() {
            *seed = reader.array("sender_seeds")?;
        }
        reader.finish("record")?;
        let sender = SenderSeeds::new(delta, chosen);
        delta.zeroize();
        Ok(Self {
            peer,
            generation,
            name,
            receiver: ReceiverSeeds::new(both),
            sender,
        })
    }

    /// Two matching records from a dealer who knows both: for tests and measurements only.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn deal(
        nodes: [NodeId; 2],
        generation: u32,
        rng: &mut impl rand_core::CryptoRng,
    ) -> [Self; 2] {
        let [one, other] = nodes;
        let mut name = [0; 32];
        rng.fill_bytes(&mut name);
        let name = PairId::from_bytes(name);
        let (receiver, matching) = crate::testing::deal_seeds(rng);
        let (back, sender) = crate::testing::deal_seeds(rng);
        [
            Self::new(other, generation, name, receiver, sender),
            Self::new(one, generation, name, back, matching),
        ]
    }
}

impl ZeroizeOnDrop for PairRecord {}

impl fmt::Display for PairRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "setup {} with {}, generation {}",
            self.name, self.peer, self.generation
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::rng;

    #[test]
    fn a_record_is_read_back_and_nothing_else_is_a_record() {
        let nodes = [NodeId::from_bytes([1; 32]), NodeId::from_bytes([2; 32])];
        let [record, _] = PairRecord::deal(nodes, 3, &mut rng(5));
        let bytes = record.dangerous_to_bytes();
        assert_eq!(bytes.len(), RECORD_BYTES);
        let read = PairRecord::dangerous_from_bytes(&bytes).unwrap();
        assert_eq!(read.dangerous_to_bytes(), bytes);
        assert_eq!((read.peer(), read.generation()), (nodes[1], 3));
        for len in [0, 1, RECORD_BYTES - 1] {
            assert!(PairRecord::dangerous_from_bytes(&bytes[..len]).is_err());
        }
        let mut changed = bytes.to_vec();
        changed[0] = 2;
        assert_eq!(
            PairRecord::dangerous_from_bytes(&changed).unwrap_err(),
            DecodeError::new("version", Problem::Unknown)
        );
        changed[0] = 1;
        changed[33..37].fill(0);
        assert_eq!(
            PairRecord::dangerous_from_bytes(&changed).unwrap_err(),
            DecodeError::new("generation", Problem::Zero)
        );
    }
}
