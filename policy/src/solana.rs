//! Solana transactions: raw message bytes in, typed transfers or a refusal out.
//!
//! The decoder understands legacy and version 0 messages with exactly one signer, the wallet, that pays the fee, and these
//! instructions: System `Transfer`, SPL Token `TransferChecked`, Memo (versions 1 and 2), ComputeBudget
//! `SetComputeUnitLimit` and `SetComputeUnitPrice`. Everything else is refused with a reason that names the instruction
//! and the program: a node signs only what it can explain.
//!
//! Choices that are stricter than the chain:
//! * SPL Token `Transfer` is refused. It does not name the mint, so that no limit on an asset could be applied to it;
//!   `TransferChecked` does the same and the chain checks the mint it names.
//! * Token-2022 is refused: a mint may carry fees and hooks that the instruction does not show.
//! * Address lookup tables are refused: their contents are not in the signed bytes (attack A103).
//! * A durable nonce is refused: such a transaction does not expire.
//! * No account may be named that no instruction uses, none may be writable without need, no instruction may carry more
//!   accounts than it needs, and the message must fit one packet: no byte is without a meaning that was checked.
//!
//! The destination of an SPL transfer is a *token account*, not its owner: that is what allow-lists must name.

pub mod build;
mod program;
mod render;
mod wire;

use std::collections::BTreeSet;

use crate::amount::Amount;
use crate::chain::Address;
use crate::codec::CodecError;
use crate::solana::program::{Action, Context};
use crate::solana::wire::Message;
use crate::transaction::Transfer;

/// The longest message that fits one packet next to one signature: 1232 - 1 - 64 bytes.
pub const MAX_MESSAGE: usize = 1167;
/// The most transfers in one transaction, so that an approver can read them.
pub const MAX_TRANSFERS: usize = 32;
/// What the chain takes for each signature, in lamports.
pub const LAMPORTS_PER_SIGNATURE: u64 = 5_000;
/// The most compute units one transaction may have.
pub const MAX_COMPUTE_UNITS: u32 = 1_400_000;
/// The most compute units one instruction gets where the transaction sets no limit.
pub const DEFAULT_COMPUTE_UNITS: u32 = 200_000;

/// Which encoding a message has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Without a version byte.
    Legacy,
    /// With the byte 0x80 in front and an (empty) list of lookup tables behind.
    V0,
}

/// Everything a decision needs to know about a message. Only [`decode`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transaction {
    /// The encoding.
    pub version: Version,
    /// The movements, in the order of the message; at least one.
    pub transfers: Vec<Transfer>,
    /// The most the chain can take as fee, in lamports: 5000 for the signature and the priority fee rounded up, with
    /// 200 000 compute units for every instruction (1 400 000 in all at most) where the message sets no limit.
    pub fee_max: Amount,
    /// The memo, if there is one.
    pub memo: Option<String>,
    /// Who pays the fee: the wallet.
    pub fee_payer: Address,
    /// The recent blockhash, 32 bytes. The chain forgets the transaction about a minute after this block.
    pub blockhash: [u8; 32],
    /// The transaction in plain words, printable ASCII, one line each.
    pub rendering: Vec<String>,
}

/// Why a message is not signed. Instructions are counted from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// An account is writable that no instruction changes, or read-only though one must change it.
    #[error("account {address} is writable without need, or read-only where it must be writable")]
    Access {
        /// The account.
        address: Address,
    },
    /// An instruction names an account that the message does not have.
    #[error("instruction {instruction} names account {index}, which the message does not have")]
    AccountIndex {
        /// Which instruction.
        instruction: usize,
        /// The index it names.
        index: u8,
    },
    /// A token transfer under another authority than the wallet.
    #[error(
        "instruction {instruction} moves tokens under the authority {authority}, which is not the wallet"
    )]
    AuthorityNotWallet {
        /// Which instruction.
        instruction: usize,
        /// The authority it names.
        authority: Address,
    },
    /// The account list has the same account twice.
    #[error("account {address} is listed twice")]
    DuplicateAccount {
        /// The account.
        address: Address,
    },
    /// A durable nonce, so that the transaction would never expire.
    #[error("instruction {instruction} advances a durable nonce; use a recent blockhash")]
    DurableNonce {
        /// Which instruction.
        instruction: usize,
    },
    /// The fee does not fit 64 bits.
    #[error("the priority fee is larger than any balance")]
    FeeTooLarge,
    /// The counts in the header contradict each other.
    #[error("the header's counts do not fit the account list")]
    Header,
    /// An instruction's data is not of the exact length, or a value in it is out of range.
    #[error("instruction {instruction} of program {program} has data that is not valid for it")]
    InstructionData {
        /// Which instruction.
        instruction: usize,
        /// The program's name.
        program: &'static str,
    },
    /// An instruction has more or fewer accounts than it needs, or others.
    #[error(
        "instruction {instruction} of program {program} must have exactly the accounts {expected}"
    )]
    InstructionAccounts {
        /// Which instruction.
        instruction: usize,
        /// The program's name.
        program: &'static str,
        /// What is due.
        expected: &'static str,
    },
    /// A length is not in its shortest form or above 65535.
    #[error("the length of {field} is not in its one canonical form")]
    Length {
        /// Whose length.
        field: &'static str,
    },
    /// Accounts from lookup tables, whose contents nobody here can see.
    #[error("{count} address lookup tables are used; list every account in the message itself")]
    LookupTables {
        /// How many.
        count: usize,
    },
    /// The bytes end early or go on after the end.
    #[error("the message does not decode: {0}")]
    Malformed(#[from] CodecError),
    /// A memo that is not UTF-8.
    #[error("instruction {instruction} is a memo that is not utf-8")]
    MemoNotUtf8 {
        /// Which instruction.
        instruction: usize,
    },
    /// The message moves nothing.
    #[error("the message has no transfer")]
    NoTransfer,
    /// What was decoded encodes to other bytes.
    #[error("the message encodes to other bytes than it was decoded from")]
    NotCanonical,
    /// A transfer out of an account that is not the wallet.
    #[error("instruction {instruction} moves lamports out of {from}, which is not the wallet")]
    NotFromWallet {
        /// Which instruction.
        instruction: usize,
        /// The account it debits.
        from: Address,
    },
    /// An instruction that may stand only once stands twice.
    #[error("instruction {instruction} repeats what an earlier one of program {program} set")]
    Repeated {
        /// The later instruction.
        instruction: usize,
        /// The program's name.
        program: &'static str,
    },
    /// The fee payer is called as a program.
    #[error("instruction {instruction} calls the fee payer as a program")]
    ProgramIsPayer {
        /// Which instruction.
        instruction: usize,
    },
    /// Another number of signers than one.
    #[error("the message needs {required} signatures; exactly one, the wallet's, is given")]
    Signers {
        /// How many it needs.
        required: u8,
    },
    /// Token-2022, whose mints may take fees or call hooks.
    #[error(
        "instruction {instruction} calls Token-2022, whose mints may take fees or call other programs"
    )]
    Token2022 {
        /// Which instruction.
        instruction: usize,
    },
    /// The message does not fit a packet.
    #[error("the message has {len} bytes, at most {max} fit one packet")]
    TooLong {
        /// Its length.
        len: usize,
        /// The bound.
        max: usize,
    },
    /// More transfers than an approver can be asked to read.
    #[error("the message has more than {max} transfers")]
    TooManyTransfers {
        /// The bound.
        max: usize,
    },
    /// SPL Token `Transfer`, which does not name the mint.
    #[error(
        "instruction {instruction} is a token transfer that does not name the mint; use TransferChecked"
    )]
    UncheckedTokenTransfer {
        /// Which instruction.
        instruction: usize,
    },
    /// A known program is asked for something else than a transfer.
    #[error(
        "instruction {instruction} asks program {program} for operation {code}, which is not supported"
    )]
    UnknownInstruction {
        /// Which instruction.
        instruction: usize,
        /// The program's name.
        program: &'static str,
        /// The program's own number for the operation.
        code: u32,
    },
    /// A program that this decoder does not know.
    #[error("instruction {instruction} calls the unknown program {program}")]
    UnknownProgram {
        /// Which instruction.
        instruction: usize,
        /// The program's address.
        program: Address,
    },
    /// Neither a legacy message nor version 0.
    #[error("the message has version {version}; only legacy and version 0 are known")]
    UnknownVersion {
        /// The version.
        version: u8,
    },
    /// An account that no instruction uses.
    #[error("account {address} is listed but no instruction uses it")]
    UnusedAccount {
        /// The account.
        address: Address,
    },
    /// The fee is paid by somebody else than the wallet.
    #[error("the fee payer and signer is {payer}, not the wallet")]
    WalletNotPayer {
        /// Who pays.
        payer: Address,
    },
}

/// Decodes a serialised message that the wallet with this public key is asked to sign.
///
/// Total on any bytes. What decodes encodes to exactly the same bytes, and the signature is over these bytes: there is no
/// second parser (attack A100).
///
/// # Errors
/// [`Refusal`], the first reason found.
pub fn decode(raw: &[u8], wallet: &[u8; 32]) -> Result<Transaction, Refusal> {
    if raw.len() > MAX_MESSAGE {
        return Err(Refusal::TooLong {
            len: raw.len(),
            max: MAX_MESSAGE,
        });
    }
    let message = Message::parse(raw)?;
    let wallet = Address::from_bytes(*wallet);
    message.check(&wallet)?;
    if message.encode() != raw {
        return Err(Refusal::NotCanonical);
    }

    let mut draft = Draft::default();
    for (instruction, compiled) in message.instructions.iter().enumerate() {
        let context = Context::new(instruction, &message, compiled, &wallet)?;
        draft.add(program::interpret(&context)?, instruction)?;
    }
    message.check_every_account_is_used()?;
    if draft.transfers.is_empty() {
        return Err(Refusal::NoTransfer);
    }
    message.check_access(&draft.changed_accounts())?;
    let fee_max = draft.fee_max(message.instructions.len())?;
    let mut rendering = draft.lines;
    rendering.push(render::fee(fee_max, &wallet));
    rendering.push(render::envelope(
        message.version,
        raw.len(),
        &message.blockhash,
    ));
    Ok(Transaction {
        version: message.version,
        transfers: draft.transfers,
        fee_max: Amount::from_u64(fee_max),
        memo: draft.memo,
        fee_payer: wallet,
        blockhash: message.blockhash,
        rendering,
    })
}

/// The transaction that goes to the chain: one signature in front of the message.
#[must_use]
pub fn assemble(raw: &[u8], signature: &[u8; 64]) -> Vec<u8> {
    let mut out = vec![1];
    out.extend_from_slice(signature);
    out.extend_from_slice(raw);
    out
}

/// What has been understood so far.
#[derive(Debug, Default)]
struct Draft {
    transfers: Vec<Transfer>,
    memo: Option<String>,
    unit_limit: Option<u32>,
    unit_price: Option<u64>,
    lines: Vec<String>,
}

impl Draft {
    fn add(&mut self, action: Action, instruction: usize) -> Result<(), Refusal> {
        match action {
            Action::Transfer { transfer, decimals } => {
                if self.transfers.len() >= MAX_TRANSFERS {
                    return Err(Refusal::TooManyTransfers { max: MAX_TRANSFERS });
                }
                self.lines.push(render::transfer(&transfer, decimals));
                self.transfers.push(transfer);
            }
            Action::Memo(text) => {
                self.lines.push(render::memo(&text));
                set_once(&mut self.memo, text, instruction, program::MEMO_NAME)?;
            }
            Action::UnitLimit(limit) => {
                set_once(
                    &mut self.unit_limit,
                    limit,
                    instruction,
                    program::BUDGET_NAME,
                )?;
            }
            Action::UnitPrice(price) => {
                set_once(
                    &mut self.unit_price,
                    price,
                    instruction,
                    program::BUDGET_NAME,
                )?;
            }
        }
        Ok(())
    }

    /// The accounts that must be writable.
    fn changed_accounts(&self) -> BTreeSet<Address> {
        self.transfers
            .iter()
            .flat_map(|it| [it.from, it.to])
            .collect()
    }

    /// The most the chain can take, in lamports.
    fn fee_max(&self, instructions: usize) -> Result<u64, Refusal> {
        let per_instruction = u32::try_from(instructions)
            .unwrap_or(u32::MAX)
            .saturating_mul(DEFAULT_COMPUTE_UNITS)
            .min(MAX_COMPUTE_UNITS);
        let units = u128::from(self.unit_limit.unwrap_or(per_instruction));
        let micro_lamports = units.saturating_mul(u128::from(self.unit_price.unwrap_or(0)));
        u64::try_from(micro_lamports.div_ceil(1_000_000))
            .ok()
            .and_then(|priority| priority.checked_add(LAMPORTS_PER_SIGNATURE))
            .ok_or(Refusal::FeeTooLarge)
    }
}

fn set_once<T>(
    slot: &mut Option<T>,
    value: T,
    instruction: usize,
    program: &'static str,
) -> Result<(), Refusal> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Refusal::Repeated {
            instruction,
            program,
        }),
    }
}
