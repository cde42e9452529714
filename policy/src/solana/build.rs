//! Makes messages: what a wallet backend sends, and what tests and the demo need.
//!
//! The account order is the one of Solana's own compiler: the payer, then writable accounts, then read-only ones, each
//! class in ascending order of its bytes.

use std::collections::BTreeMap;

use super::program::Program;
use super::wire::{Compiled, Message};
use super::{MAX_MESSAGE, Version};
use crate::chain::Address;

/// Why a message cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The message would not fit one packet.
    #[error("the message does not fit one packet of {MAX_MESSAGE} bytes")]
    TooLong,
}

/// One account of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Which.
    pub address: Address,
    /// Whether the instruction may change it.
    pub writable: bool,
}

/// One instruction, before its accounts are numbered. Only the payer signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// The program called.
    pub program: Address,
    /// Its accounts, in the program's order.
    pub accounts: Vec<Account>,
    /// Its data.
    pub data: Vec<u8>,
}

impl Instruction {
    const fn new(program: Program, accounts: Vec<Account>, data: Vec<u8>) -> Self {
        Self {
            program: program.address(),
            accounts,
            data,
        }
    }

    /// System `Transfer`.
    #[must_use]
    pub fn transfer(from: Address, to: Address, lamports: u64) -> Self {
        let data = [&[2, 0, 0, 0], lamports.to_le_bytes().as_slice()].concat();
        Self::new(Program::System, vec![writable(from), writable(to)], data)
    }

    /// SPL Token `TransferChecked` between token accounts.
    #[must_use]
    pub fn token_transfer(token: &TokenTransfer, amount: u64) -> Self {
        let data = [&[12], amount.to_le_bytes().as_slice(), &[token.decimals]].concat();
        let accounts = vec![
            writable(token.from),
            readonly(token.mint),
            writable(token.to),
            readonly(token.authority),
        ];
        Self::new(Program::Token, accounts, data)
    }

    /// Memo, version 2, without accounts.
    #[must_use]
    pub fn memo(text: &str) -> Self {
        Self::new(Program::MemoV2, Vec::new(), text.as_bytes().to_vec())
    }

    /// ComputeBudget `SetComputeUnitLimit`.
    #[must_use]
    pub fn unit_limit(units: u32) -> Self {
        Self::new(
            Program::ComputeBudget,
            Vec::new(),
            [&[2], units.to_le_bytes().as_slice()].concat(),
        )
    }

    /// ComputeBudget `SetComputeUnitPrice`, in millionths of a lamport per unit.
    #[must_use]
    pub fn unit_price(micro_lamports: u64) -> Self {
        Self::new(
            Program::ComputeBudget,
            Vec::new(),
            [&[3], micro_lamports.to_le_bytes().as_slice()].concat(),
        )
    }
}

/// The accounts of a token transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenTransfer {
    /// The token account that is debited.
    pub from: Address,
    /// The mint of the token.
    pub mint: Address,
    /// The token account that is credited.
    pub to: Address,
    /// The owner of `from`: the wallet.
    pub authority: Address,
    /// The mint's decimals; the chain refuses a wrong number.
    pub decimals: u8,
}

const fn writable(address: Address) -> Account {
    Account {
        address,
        writable: true,
    }
}

const fn readonly(address: Address) -> Account {
    Account {
        address,
        writable: false,
    }
}

/// A message with one transfer of the native coin.
///
/// # Errors
/// None in practice, see [`BuildError`]: one transfer always fits.
pub fn transfer(
    from: Address,
    to: Address,
    lamports: u64,
    blockhash: [u8; 32],
    version: Version,
) -> Result<Vec<u8>, BuildError> {
    message(
        from,
        &[Instruction::transfer(from, to, lamports)],
        blockhash,
        version,
    )
}

/// A message of these instructions, paid and signed by `payer` alone.
///
/// # Errors
/// [`BuildError::TooLong`].
pub fn message(
    payer: Address,
    instructions: &[Instruction],
    blockhash: [u8; 32],
    version: Version,
) -> Result<Vec<u8>, BuildError> {
    let mut writable: BTreeMap<Address, bool> = BTreeMap::new();
    for instruction in instructions {
        writable.entry(instruction.program).or_insert(false);
        for account in &instruction.accounts {
            *writable.entry(account.address).or_insert(false) |= account.writable;
        }
    }
    writable.remove(&payer);
    let class = |wanted: bool| {
        writable
            .iter()
            .filter(move |(_, is)| **is == wanted)
            .map(|(address, _)| *address)
    };
    let accounts: Vec<Address> = [payer]
        .into_iter()
        .chain(class(true))
        .chain(class(false))
        .collect();
    let readonly_unsigned = u8::try_from(class(false).count()).map_err(|_| BuildError::TooLong)?;

    let index = |address: &Address| {
        accounts
            .iter()
            .position(|it| it == address)
            .and_then(|position| u8::try_from(position).ok())
            .ok_or(BuildError::TooLong)
    };
    let compiled = instructions
        .iter()
        .map(|instruction| {
            Ok(Compiled {
                program: index(&instruction.program)?,
                accounts: instruction
                    .accounts
                    .iter()
                    .map(|it| index(&it.address))
                    .collect::<Result<_, _>>()?,
                data: instruction.data.clone(),
            })
        })
        .collect::<Result<_, BuildError>>()?;
    let message = Message {
        version,
        required_signatures: 1,
        readonly_signed: 0,
        readonly_unsigned,
        instructions: compiled,
        blockhash,
        accounts,
    };
    let bytes = message.encode();
    if bytes.len() > MAX_MESSAGE {
        Err(BuildError::TooLong)
    } else {
        Ok(bytes)
    }
}
