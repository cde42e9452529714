//! What the log of ceremonies says.

use mpc_core::id::Purpose;
use sha2::{Digest as _, Sha256};

use super::Order;
use crate::codec::{Malformed, Reader, Writer};

/// A stored share that waits for its certificate.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Uncertified {
    pub(crate) order: Order,
    /// This node's signature over the result.
    pub(crate) part: Vec<u8>,
    /// The sealed record.
    pub(crate) sealed: Vec<u8>,
}

/// A key that became active.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Certified {
    pub(crate) order: Order,
    pub(crate) key_id: [u8; 32],
}

/// A row of the log of ceremonies. The digest ties it to the sealed record that was written with it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// The share was stored; this node may have signed for it.
    Stored(Uncertified),
    /// The certificate was stored and the share is active, as the log of sharings says.
    Active(Certified, [u8; 32]),
}

/// The digest that ties a row to a sealed record.
pub(crate) fn sealed_digest(sealed: &[u8]) -> [u8; 32] {
    Sha256::digest(sealed).into()
}

impl Record {
    pub(crate) fn key(&self) -> Vec<u8> {
        match self {
            Self::Stored(stored) => Writer::new()
                .u8(1)
                .fixed(&stored.order.request)
                .u32(stored.order.attempt)
                .finish(),
            Self::Active(active, _) => Writer::new().u8(2).fixed(&active.key_id).finish(),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Stored(stored) => write_order(Writer::new().u8(1), &stored.order)
                .bytes(&stored.part)
                .fixed(&sealed_digest(&stored.sealed))
                .finish(),
            Self::Active(active, sealed) => write_order(Writer::new().u8(2), &active.order)
                .fixed(&active.key_id)
                .fixed(sealed)
                .finish(),
        }
    }

    /// Reads a row. A stored share comes back without its sealed record; the second value is that record's digest.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, [u8; 32]), Malformed> {
        let mut reader = Reader::new("ceremony", bytes);
        let kind = reader.u8()?;
        let order = read_order(&mut reader)?;
        let (record, digest) = match kind {
            1 => {
                let part = reader.bytes()?.to_vec();
                (
                    Self::Stored(Uncertified {
                        order,
                        part,
                        sealed: Vec::new(),
                    }),
                    reader.array()?,
                )
            }
            2 => {
                let key_id = reader.array()?;
                let digest = reader.array()?;
                (Self::Active(Certified { order, key_id }, digest), digest)
            }
            _ => return Err(Malformed("ceremony")),
        };
        reader.finish()?;
        Ok((record, digest))
    }
}

fn write_order(writer: Writer, order: &Order) -> Writer {
    writer
        .bytes(order.name.as_bytes())
        .fixed(&order.request)
        .u32(order.attempt)
        .bytes(order.purpose.as_str().as_bytes())
        .u16(order.threshold)
        .list(
            &order
                .nodes
                .iter()
                .map(|node| node.to_be_bytes())
                .collect::<Vec<_>>(),
        )
}

fn read_order(reader: &mut Reader<'_>) -> Result<Order, Malformed> {
    let (name, request, attempt) = (reader.text()?, reader.array()?, reader.u32()?);
    let purpose = Purpose::parse(&reader.text()?).ok_or(Malformed("ceremony"))?;
    let threshold = reader.u16()?;
    let node = |bytes: &[u8]| {
        let bytes = bytes.try_into().map_err(|_| Malformed("ceremony"))?;
        Ok(u16::from_be_bytes(bytes))
    };
    Ok(Order {
        name,
        request,
        attempt,
        purpose,
        threshold,
        nodes: reader
            .list()?
            .into_iter()
            .map(node)
            .collect::<Result<_, Malformed>>()?,
    })
}
