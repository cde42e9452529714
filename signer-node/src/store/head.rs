//! Where every log starts and ends, and the last believed time: one authenticated record.

use super::{StoreError, Table};
use crate::clock::Mark;
use crate::codec::{Malformed, Reader, Writer};
use crate::seal::Vault;

/// Start and end of one log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extent {
    /// Rows up to this number were pruned.
    pub(super) base: u64,
    /// Tag of the row `base`, zeros at the beginning of time.
    pub(super) base_tag: [u8; 32],
    /// Number of the last row.
    pub(super) last: u64,
    /// Tag of the last row.
    pub(super) last_tag: [u8; 32],
}

/// The head of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    extents: [Extent; Table::ALL.len()],
    pub(super) mark: Option<Mark>,
}

impl Head {
    pub(super) const fn empty() -> Self {
        const NEW: Extent = Extent {
            base: 0,
            base_tag: [0; 32],
            last: 0,
            last_tag: [0; 32],
        };
        Self {
            extents: [NEW; Table::ALL.len()],
            mark: None,
        }
    }

    pub(super) fn extent(&self, table: Table) -> Extent {
        let position = Table::ALL
            .iter()
            .position(|other| *other == table)
            .unwrap_or(0);
        self.extents.get(position).copied().unwrap_or_default()
    }

    pub(super) fn set(&mut self, table: Table, extent: Extent) {
        if let Some((_, slot)) = Table::ALL
            .iter()
            .zip(&mut self.extents)
            .find(|(other, _)| **other == table)
        {
            *slot = extent;
        }
    }

    /// The body followed by its tag.
    pub(super) fn encode(&self, vault: &Vault) -> Result<Vec<u8>, StoreError> {
        let body = self.encode_body();
        let tag = vault.row_tag(&[b"head", &body])?;
        Ok(Writer::new().bytes(&body).fixed(&tag).finish())
    }

    pub(super) fn encode_body(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        for extent in &self.extents {
            writer = writer
                .u64(extent.base)
                .fixed(&extent.base_tag)
                .u64(extent.last)
                .fixed(&extent.last_tag);
        }
        let mark = self.mark.as_ref().map(Mark::encode).unwrap_or_default();
        writer.bytes(&mark).finish()
    }

    pub(super) fn decode(bytes: &[u8], vault: &Vault) -> Result<Self, StoreError> {
        let damaged = |what: &str| StoreError::Damaged {
            table: "meta",
            row: 0,
            what: format!("head record {what}"),
        };
        let malformed = |_: Malformed| damaged("is malformed");
        let mut outer = Reader::new("head", bytes);
        let body = outer.bytes().map_err(malformed)?;
        let tag: [u8; 32] = outer.array().map_err(malformed)?;
        outer.finish().map_err(malformed)?;
        if vault.row_tag(&[b"head", body])? != tag {
            return Err(damaged("was changed"));
        }
        Self::decode_body(body).map_err(malformed)
    }

    pub(super) fn decode_body(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new("head", body);
        let mut head = Self::empty();
        for extent in &mut head.extents {
            extent.base = reader.u64()?;
            extent.base_tag = reader.array()?;
            extent.last = reader.u64()?;
            extent.last_tag = reader.array()?;
        }
        let mark = reader.bytes()?;
        if !mark.is_empty() {
            head.mark = Some(Mark::decode(mark)?);
        }
        reader.finish()?;
        Ok(head)
    }
}

/// The tag of a row: chained to the row before it.
pub(super) fn row_tag(
    vault: &Vault,
    table: Table,
    number: u64,
    before: &[u8; 32],
    key: &[u8],
    body: &[u8],
) -> Result<[u8; 32], StoreError> {
    Ok(vault.row_tag(&[
        b"row",
        table.name().as_bytes(),
        &number.to_be_bytes(),
        before,
        key,
        body,
    ])?)
}
