//! The body of an explanation.

use std::collections::{BTreeMap, BTreeSet};

use super::Proof;
#[cfg(feature = "blame")]
use crate::codec::Writer;
use crate::codec::{DecodeError, Reader};
use crate::ecdsa::{Point, PointBytes, peers};
use crate::id::NodeId;

/// The images of one secret factor, and the proof that it is the same in all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Factor {
    /// Times the generator, a nonce point, a key point.
    pub(super) images: [Point; 3],
    pub(super) proof: Proof,
}

/// What a signer says about its response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Explanation {
    /// The echo of the responses.
    pub(super) echo: [u8; 32],
    /// The hash of the public values.
    pub(super) facts: [u8; 32],
    /// `Phi`, `Kk`, `Kx`
    pub(super) own: Factor,
    /// `B`, `Ek`, `Ex` by peer
    pub(super) peers: BTreeMap<NodeId, Factor>,
}

/// The echo at the beginning of a body; nothing if it is too short for one.
pub(super) fn echo_of(body: &[u8]) -> Option<[u8; 32]> {
    body.first_chunk().copied()
}

impl Factor {
    #[cfg(feature = "blame")]
    fn write(&self, out: &mut Writer) {
        for image in &self.images {
            out.bytes(image.encode().as_slice());
        }
        self.proof.write(out);
    }

    fn read(names: [&'static str; 3], reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut images = [Point::generator(); 3];
        for (image, name) in images.iter_mut().zip(names) {
            *image = PointBytes::from_slice(name, reader.bytes(name, 33)?)?.decode(name)?;
        }
        let proof = Proof::read("proof", reader)?;
        Ok(Self { images, proof })
    }
}

impl Explanation {
    #[cfg(feature = "blame")]
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.bytes(&self.echo).bytes(&self.facts);
        self.own.write(&mut out);
        self.peers
            .values()
            .for_each(|factor| factor.write(&mut out));
        out.finish()
    }

    pub(super) fn decode(
        signers: &BTreeSet<NodeId>,
        from: &NodeId,
        bytes: &[u8],
    ) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let (echo, facts) = (reader.array("echo")?, reader.array("facts")?);
        let own = Factor::read(["Phi", "Kk", "Kx"], &mut reader)?;
        let mut factors = BTreeMap::new();
        for peer in peers(signers, from) {
            factors.insert(peer, Factor::read(["B", "Ek", "Ex"], &mut reader)?);
        }
        reader.finish("body")?;
        Ok(Self {
            echo,
            facts,
            own,
            peers: factors,
        })
    }
}
