//! The byte form of messages, both ways, and the rules the chain itself applies before it looks at instructions.

use std::collections::BTreeSet;

use super::{Refusal, Version};
use crate::chain::Address;
use crate::codec::Reader;

/// The bit of the first byte that says that a version follows in the other seven.
const VERSION_BIT: u8 = 0x80;

/// An instruction as the message holds it: indices into the account list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Compiled {
    pub(super) program: u8,
    pub(super) accounts: Vec<u8>,
    pub(super) data: Vec<u8>,
}

/// A message without lookup tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) version: Version,
    pub(super) required_signatures: u8,
    pub(super) readonly_signed: u8,
    pub(super) readonly_unsigned: u8,
    pub(super) accounts: Vec<Address>,
    pub(super) blockhash: [u8; 32],
    pub(super) instructions: Vec<Compiled>,
}

impl Message {
    /// Reads all of `raw`.
    pub(super) fn parse(raw: &[u8]) -> Result<Self, Refusal> {
        let mut reader = Reader::new(raw);
        let first = reader.byte("version or header")?;
        let (version, required_signatures) = match first & VERSION_BIT {
            0 => (Version::Legacy, first),
            _ if first == VERSION_BIT => (Version::V0, reader.byte("header")?),
            _ => {
                return Err(Refusal::UnknownVersion {
                    version: first & !VERSION_BIT,
                });
            }
        };
        let readonly_signed = reader.byte("header")?;
        let readonly_unsigned = reader.byte("header")?;
        let accounts = list(&mut reader, "account list", |reader| {
            Ok(Address::from_bytes(reader.array("account")?))
        })?;
        let blockhash = reader.array("blockhash")?;
        let instructions = list(&mut reader, "instruction list", |reader| {
            Ok(Compiled {
                program: reader.byte("program index")?,
                accounts: sequence(reader, "instruction accounts")?,
                data: sequence(reader, "instruction data")?,
            })
        })?;
        if version == Version::V0 {
            let count = length(&mut reader, "lookup table list")?;
            if count != 0 {
                return Err(Refusal::LookupTables { count });
            }
        }
        reader.finish()?;
        Ok(Self {
            version,
            required_signatures,
            readonly_signed,
            readonly_unsigned,
            accounts,
            blockhash,
            instructions,
        })
    }

    /// Writes what [`Message::parse`] reads.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.version == Version::V0 {
            out.push(VERSION_BIT);
        }
        out.extend_from_slice(&[
            self.required_signatures,
            self.readonly_signed,
            self.readonly_unsigned,
        ]);
        put_length(&mut out, self.accounts.len());
        for account in &self.accounts {
            out.extend_from_slice(account.solana().map_or(&[], |bytes| bytes.as_slice()));
        }
        out.extend_from_slice(&self.blockhash);
        put_length(&mut out, self.instructions.len());
        for instruction in &self.instructions {
            out.push(instruction.program);
            put_length(&mut out, instruction.accounts.len());
            out.extend_from_slice(&instruction.accounts);
            put_length(&mut out, instruction.data.len());
            out.extend_from_slice(&instruction.data);
        }
        if self.version == Version::V0 {
            put_length(&mut out, 0);
        }
        out
    }

    /// The chain's own rules for a message, and ours for who signs and pays.
    pub(super) fn check(&self, wallet: &Address) -> Result<(), Refusal> {
        let claimed = usize::from(self.required_signatures)
            .saturating_add(usize::from(self.readonly_unsigned));
        if claimed > self.accounts.len() || self.readonly_signed >= self.required_signatures {
            return Err(Refusal::Header);
        }
        if self.required_signatures != 1 {
            return Err(Refusal::Signers {
                required: self.required_signatures,
            });
        }
        match self.accounts.first() {
            Some(payer) if payer == wallet => {}
            Some(payer) => return Err(Refusal::WalletNotPayer { payer: *payer }),
            None => return Err(Refusal::Header),
        }
        let mut seen = BTreeSet::new();
        if let Some(address) = self.accounts.iter().find(|address| !seen.insert(**address)) {
            return Err(Refusal::DuplicateAccount { address: *address });
        }
        for (instruction, compiled) in self.instructions.iter().enumerate() {
            if compiled.program == 0 {
                return Err(Refusal::ProgramIsPayer { instruction });
            }
            let mut indices = compiled.accounts.iter().chain([&compiled.program]);
            if let Some(index) = indices.find(|index| usize::from(**index) >= self.accounts.len()) {
                return Err(Refusal::AccountIndex {
                    instruction,
                    index: *index,
                });
            }
        }
        Ok(())
    }

    /// Whether exactly these accounts are writable, beside the payer, which always is.
    pub(super) fn check_access(&self, changed: &BTreeSet<Address>) -> Result<(), Refusal> {
        let first_readonly = self
            .accounts
            .len()
            .saturating_sub(usize::from(self.readonly_unsigned));
        let mut accounts = self.accounts.iter().enumerate().skip(1);
        match accounts
            .find(|(index, address)| (*index < first_readonly) != changed.contains(address))
        {
            None => Ok(()),
            Some((_, address)) => Err(Refusal::Access { address: *address }),
        }
    }

    /// Whether each account is the payer or named by some instruction.
    pub(super) fn check_every_account_is_used(&self) -> Result<(), Refusal> {
        let used: BTreeSet<usize> = self
            .instructions
            .iter()
            .flat_map(|it| it.accounts.iter().copied().chain([it.program]))
            .map(usize::from)
            .chain([0])
            .collect();
        match self
            .accounts
            .iter()
            .enumerate()
            .find(|(index, _)| !used.contains(index))
        {
            None => Ok(()),
            Some((_, address)) => Err(Refusal::UnusedAccount { address: *address }),
        }
    }
}

/// Reads a length: seven bits a byte, least significant first, at most three bytes, at most 65535, shortest form only.
fn length(reader: &mut Reader<'_>, field: &'static str) -> Result<usize, Refusal> {
    let mut value: u32 = 0;
    for shift in [0_u32, 7, 14] {
        let byte = reader.byte(field)?;
        value |= u32::from(byte & 0x7f)
            .checked_shl(shift)
            .unwrap_or(u32::MAX);
        if byte & 0x80 == 0 {
            let shortest = byte != 0 || shift == 0;
            return match u16::try_from(value) {
                Ok(value) if shortest => Ok(usize::from(value)),
                _ => Err(Refusal::Length { field }),
            };
        }
    }
    Err(Refusal::Length { field })
}

/// Reads a length and that many bytes.
fn sequence(reader: &mut Reader<'_>, field: &'static str) -> Result<Vec<u8>, Refusal> {
    let len = length(reader, field)?;
    Ok(reader.take(field, len)?.to_vec())
}

/// Reads a length and that many items. Nothing is allocated ahead of the bytes that fill it.
fn list<'a, T>(
    reader: &mut Reader<'a>,
    field: &'static str,
    item: impl Fn(&mut Reader<'a>) -> Result<T, Refusal>,
) -> Result<Vec<T>, Refusal> {
    let count = length(reader, field)?;
    (0..count).map(|_| item(reader)).collect()
}

/// Writes a length in its shortest form. Lengths of messages are far below 65535, see [`super::MAX_MESSAGE`].
fn put_length(out: &mut Vec<u8>, len: usize) {
    let mut rest = u16::try_from(len).unwrap_or(u16::MAX);
    loop {
        let [low, _] = rest.to_le_bytes();
        rest >>= 7;
        if rest == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::CodecError;

    #[test]
    fn every_length_has_one_form() {
        for value in 0..=u16::MAX {
            let mut bytes = Vec::new();
            put_length(&mut bytes, usize::from(value));
            let mut reader = Reader::new(&bytes);
            assert_eq!(length(&mut reader, "x"), Ok(usize::from(value)));
            assert_eq!(reader.finish(), Ok(()));
        }
    }

    #[test]
    fn longer_forms_and_larger_values_are_refused() {
        for bytes in [
            [0x80, 0x00, 0x00],
            [0xff, 0x00, 0x00],
            [0x80, 0x80, 0x00],
            [0x81, 0x80, 0x00],
            [0xff, 0xff, 0x04],
            [0xff, 0xff, 0x80],
            [0x80, 0x80, 0x80],
        ] {
            assert_eq!(
                length(&mut Reader::new(&bytes), "x"),
                Err(Refusal::Length { field: "x" }),
                "{bytes:?}"
            );
        }
        let cut = length(&mut Reader::new(&[0x80]), "x");
        assert_eq!(
            cut,
            Err(Refusal::Malformed(CodecError::Truncated { field: "x" }))
        );
    }
}
