//! The bodies of the five messages. Lengths follow from the number of signers; values are decoded where they are checked.

use std::collections::{BTreeMap, BTreeSet};

use super::{PointBytes, has_zero_shares, peers};
use crate::codec::{DecodeError, Reader, Writer};
use crate::envelope::{Envelope, Header, Kind, Recipient};
use crate::id::{NodeId, PairId, SessionId};
use crate::pair::{extension, vole};

/// A decoded broadcast with the signed bytes it came in.
#[derive(Clone, Debug)]
pub(super) struct Signed<M> {
    pub(super) envelope: Envelope,
    pub(super) message: M,
}

/// The header of a message of a session.
pub(super) const fn header(kind: Kind, session: SessionId, from: NodeId, to: Recipient) -> Header {
    let round = match kind {
        Kind::EcdsaMultiply => 2,
        Kind::EcdsaOpen => 3,
        Kind::EcdsaRespond => 4,
        Kind::EcdsaExplain => 5,
        _ => 1,
    };
    Header {
        kind,
        session,
        round,
        from,
        to,
    }
}

fn write_list<T: AsRef<[u8]>>(out: &mut Writer, items: &BTreeMap<NodeId, T>) {
    for item in items.values() {
        out.bytes(item.as_ref());
    }
}

/// P1B: what a signer commits to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Commit {
    /// `n`: contribution to the name of the session.
    pub(super) nonce: [u8; 32],
    /// `com`: commitment to `R` and `rho`.
    pub(super) commitment: [u8; 32],
    /// `cz`: commitments to the points of the zero shares; empty for two signers.
    pub(super) zeros: BTreeMap<NodeId, [u8; 32]>,
}

impl Commit {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.bytes(&self.nonce).bytes(&self.commitment);
        write_list(&mut out, &self.zeros);
        out.finish()
    }

    pub(super) fn decode(
        signers: &BTreeSet<NodeId>,
        from: &NodeId,
        bytes: &[u8],
    ) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let (nonce, commitment) = (reader.array("n")?, reader.array("com")?);
        let mut zeros = BTreeMap::new();
        if has_zero_shares(signers) {
            for peer in peers(signers, from) {
                zeros.insert(peer, reader.array("cz")?);
            }
        }
        reader.finish("body")?;
        Ok(Self {
            nonce,
            commitment,
            zeros,
        })
    }
}

/// P1P: the extension towards one peer, and its zero share.
#[derive(Clone, Debug)]
pub(super) struct Extend {
    pub(super) pair: PairId,
    pub(super) extension: extension::Message,
    /// `a`, encoded; secret until the session is over, so it only travels inside the channel of the two nodes.
    pub(super) zero: Option<zeroize::Zeroizing<[u8; 32]>>,
}

impl Extend {
    pub(super) fn encode(&self) -> zeroize::Zeroizing<Vec<u8>> {
        let mut out = Writer::with_capacity(64 + extension::Message::BYTES);
        out.bytes(self.pair.as_bytes());
        self.extension.write(&mut out);
        if let Some(zero) = &self.zero {
            out.bytes(zero.as_ref());
        }
        zeroize::Zeroizing::new(out.finish())
    }

    pub(super) fn decode(has_zero: bool, bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let pair = PairId::from_bytes(reader.array("pid")?);
        let extension = extension::Message::read(&mut reader)?;
        let zero = has_zero
            .then(|| reader.array("a").map(zeroize::Zeroizing::new))
            .transpose()?;
        reader.finish("body")?;
        Ok(Self {
            pair,
            extension,
            zero,
        })
    }
}

/// P2: the multiplication towards one peer.
#[derive(Clone, Debug)]
pub(super) struct Multiply<'a> {
    pub(super) echo: [u8; 32],
    pub(super) multiplication: vole::Message<'a>,
}

impl<'a> Multiply<'a> {
    pub(super) const BYTES: usize = 32 + vole::Message::BYTES;

    pub(super) fn write(&self, out: &mut Writer) {
        out.bytes(&self.echo);
        self.multiplication.write(out);
    }

    pub(super) fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let echo = reader.array("echo")?;
        let multiplication = vole::Message::read(&mut reader)?;
        reader.finish("body")?;
        Ok(Self {
            echo,
            multiplication,
        })
    }
}

/// What S1 has for one peer. Scalars and points as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Masked {
    /// `gk`: the nonce share minus the factor of the product.
    pub(super) nonce: [u8; 32],
    /// `gx`: the key share minus the factor of the product.
    pub(super) key: [u8; 32],
    /// `Gk`: the sender's share of the nonce product, times the generator.
    pub(super) nonce_point: PointBytes,
    /// `Gx`: the sender's share of the key product, times the generator.
    pub(super) key_point: PointBytes,
    /// `psi` and `Z`, for three or more signers.
    pub(super) extra: Option<Extra>,
}

/// What S1 has for one peer with three or more signers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Extra {
    /// `psi`: the common factor masked for this peer.
    pub(super) mask: [u8; 32],
    /// `Z`: the point of the zero share for this peer.
    pub(super) zero: PointBytes,
}

/// S1: a signer's opening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Opening {
    pub(super) request: [u8; 32],
    pub(super) echo: [u8; 32],
    pub(super) nonce: PointBytes,
    pub(super) blind: [u8; 32],
    pub(super) masked: BTreeMap<NodeId, Masked>,
}

impl Opening {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.bytes(&self.request).bytes(&self.echo);
        out.bytes(self.nonce.as_slice()).bytes(&self.blind);
        for masked in self.masked.values() {
            out.bytes(&masked.nonce).bytes(&masked.key);
            out.bytes(masked.nonce_point.as_slice());
            out.bytes(masked.key_point.as_slice());
            if let Some(extra) = &masked.extra {
                out.bytes(&extra.mask).bytes(extra.zero.as_slice());
            }
        }
        out.finish()
    }

    pub(super) fn decode(
        signers: &BTreeSet<NodeId>,
        from: &NodeId,
        bytes: &[u8],
    ) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let point = |reader: &mut Reader<'_>, field| {
            PointBytes::from_slice(field, reader.bytes(field, 33)?)
        };
        let (request, echo) = (reader.array("hreq")?, reader.array("echo")?);
        let nonce = point(&mut reader, "R")?;
        let blind = reader.array("rho")?;
        let mut masked = BTreeMap::new();
        for peer in peers(signers, from) {
            let (nonce, key) = (reader.array("gk")?, reader.array("gx")?);
            let nonce_point = point(&mut reader, "Gk")?;
            let key_point = point(&mut reader, "Gx")?;
            let extra = if has_zero_shares(signers) {
                Some(Extra {
                    mask: reader.array("psi")?,
                    zero: point(&mut reader, "Z")?,
                })
            } else {
                None
            };
            let entry = Masked {
                nonce,
                key,
                nonce_point,
                key_point,
                extra,
            };
            masked.insert(peer, entry);
        }
        reader.finish("body")?;
        Ok(Self {
            request,
            echo,
            nonce,
            blind,
            masked,
        })
    }
}

/// S2: a signer's shares of denominator and numerator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Response {
    /// `u`
    pub(super) denominator: [u8; 32],
    /// `w`
    pub(super) numerator: [u8; 32],
    pub(super) echo: [u8; 32],
    /// `R`, the sum of all.
    pub(super) nonce: PointBytes,
}

impl Response {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.bytes(&self.denominator).bytes(&self.numerator);
        out.bytes(&self.echo).bytes(self.nonce.as_slice());
        out.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let (denominator, numerator) = (reader.array("u")?, reader.array("w")?);
        let echo = reader.array("echo")?;
        let nonce = PointBytes::from_slice("R", reader.bytes("R", 33)?)?;
        reader.finish("body")?;
        Ok(Self {
            denominator,
            numerator,
            echo,
            nonce,
        })
    }
}
