//! The few instructions that are understood, each down to its last byte and account.

use super::wire::{Compiled, Message};
use super::{MAX_COMPUTE_UNITS, Refusal};
use crate::amount::Amount;
use crate::chain::{Address, Asset, Kind};
use crate::transaction::Transfer;

/// The name of the ComputeBudget program in refusals.
pub(super) const BUDGET_NAME: &str = "ComputeBudget";
/// The name of the Memo programs in refusals.
pub(super) const MEMO_NAME: &str = "Memo";
const SYSTEM_NAME: &str = "System";
const TOKEN_NAME: &str = "Token";

/// The programs that are called by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    ComputeBudget,
    MemoV1,
    MemoV2,
    System,
    Token,
    Token2022,
}

impl Program {
    const ALL: [Self; 6] = [
        Self::ComputeBudget,
        Self::MemoV1,
        Self::MemoV2,
        Self::System,
        Self::Token,
        Self::Token2022,
    ];

    /// The program's address.
    pub(super) const fn address(self) -> Address {
        match self {
            Self::ComputeBudget => COMPUTE_BUDGET,
            Self::MemoV1 => MEMO_V1,
            Self::MemoV2 => MEMO_V2,
            Self::System => Address::from_bytes([0; 32]),
            Self::Token => TOKEN,
            Self::Token2022 => TOKEN_2022,
        }
    }

    fn find(address: &Address) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|program| program.address() == *address)
    }
}

const COMPUTE_BUDGET: Address = known("ComputeBudget111111111111111111111111111111");
const MEMO_V1: Address = known("Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo");
const MEMO_V2: Address = known("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXwDLGmfcHr");
const TOKEN: Address = known("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA");
const TOKEN_2022: Address = known("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb");

/// An address known at compile time; a wrong text does not compile.
const fn known(base58: &str) -> Address {
    Address::from_bytes(bs58::decode(base58.as_bytes()).into_array_const_unwrap())
}

/// What one instruction asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Memo(String),
    Transfer {
        transfer: Transfer,
        /// The mint's decimals, for people.
        decimals: Option<u8>,
    },
    UnitLimit(u32),
    UnitPrice(u64),
}

/// One instruction with its indices resolved.
#[derive(Debug)]
pub(super) struct Context<'a> {
    instruction: usize,
    program: Address,
    accounts: Vec<Address>,
    data: &'a [u8],
    wallet: &'a Address,
}

impl<'a> Context<'a> {
    pub(super) fn new(
        instruction: usize,
        message: &Message,
        compiled: &'a Compiled,
        wallet: &'a Address,
    ) -> Result<Self, Refusal> {
        let resolve = |index: u8| {
            message
                .accounts
                .get(usize::from(index))
                .copied()
                .ok_or(Refusal::AccountIndex { instruction, index })
        };
        Ok(Self {
            instruction,
            program: resolve(compiled.program)?,
            accounts: compiled
                .accounts
                .iter()
                .map(|index| resolve(*index))
                .collect::<Result<_, _>>()?,
            data: &compiled.data,
            wallet,
        })
    }

    fn accounts<const N: usize>(
        &self,
        program: &'static str,
        expected: &'static str,
    ) -> Result<[Address; N], Refusal> {
        <[Address; N]>::try_from(self.accounts.as_slice()).map_err(|_| {
            Refusal::InstructionAccounts {
                instruction: self.instruction,
                program,
                expected,
            }
        })
    }

    const fn bad_data(&self, program: &'static str) -> Refusal {
        Refusal::InstructionData {
            instruction: self.instruction,
            program,
        }
    }

    const fn unknown(&self, program: &'static str, code: u32) -> Refusal {
        Refusal::UnknownInstruction {
            instruction: self.instruction,
            program,
            code,
        }
    }
}

/// Understands one instruction or refuses it.
pub(super) fn interpret(context: &Context<'_>) -> Result<Action, Refusal> {
    let instruction = context.instruction;
    match Program::find(&context.program) {
        Some(Program::System) => system(context),
        Some(Program::Token) => token(context),
        Some(Program::MemoV1 | Program::MemoV2) => memo(context),
        Some(Program::ComputeBudget) => compute_budget(context),
        Some(Program::Token2022) => Err(Refusal::Token2022 { instruction }),
        None => Err(Refusal::UnknownProgram {
            instruction,
            program: context.program,
        }),
    }
}

fn system(context: &Context<'_>) -> Result<Action, Refusal> {
    const TRANSFER: u32 = 2;
    const ADVANCE_NONCE: u32 = 4;
    let (code, rest) = context
        .data
        .split_first_chunk()
        .ok_or_else(|| context.bad_data(SYSTEM_NAME))?;
    match u32::from_le_bytes(*code) {
        TRANSFER => {}
        ADVANCE_NONCE => {
            return Err(Refusal::DurableNonce {
                instruction: context.instruction,
            });
        }
        code => return Err(context.unknown(SYSTEM_NAME, code)),
    }
    let lamports = <[u8; 8]>::try_from(rest).map_err(|_| context.bad_data(SYSTEM_NAME))?;
    let [from, to] = context.accounts(SYSTEM_NAME, "source, destination")?;
    if from != *context.wallet {
        return Err(Refusal::NotFromWallet {
            instruction: context.instruction,
            from,
        });
    }
    Ok(Action::Transfer {
        transfer: Transfer {
            kind: Kind::Transfer,
            asset: Asset::Native,
            from,
            to,
            amount: Amount::from_u64(u64::from_le_bytes(lamports)),
            instruction: context.instruction,
            selector: None,
        },
        decimals: None,
    })
}

fn token(context: &Context<'_>) -> Result<Action, Refusal> {
    const TRANSFER: u8 = 3;
    const TRANSFER_CHECKED: u8 = 12;
    let (code, rest) = context
        .data
        .split_first()
        .ok_or_else(|| context.bad_data(TOKEN_NAME))?;
    match *code {
        TRANSFER_CHECKED => {}
        TRANSFER => {
            return Err(Refusal::UncheckedTokenTransfer {
                instruction: context.instruction,
            });
        }
        code => return Err(context.unknown(TOKEN_NAME, u32::from(code))),
    }
    let (amount, rest) = rest
        .split_first_chunk()
        .ok_or_else(|| context.bad_data(TOKEN_NAME))?;
    let [decimals] = <[u8; 1]>::try_from(rest).map_err(|_| context.bad_data(TOKEN_NAME))?;
    let [from, mint, to, authority] =
        context.accounts(TOKEN_NAME, "source, mint, destination, authority")?;
    let Some(mint) = mint.solana().copied() else {
        return Err(context.bad_data(TOKEN_NAME));
    };
    if authority != *context.wallet {
        return Err(Refusal::AuthorityNotWallet {
            instruction: context.instruction,
            authority,
        });
    }
    Ok(Action::Transfer {
        transfer: Transfer {
            kind: Kind::SplTransfer,
            asset: Asset::SplMint(mint),
            from,
            to,
            amount: Amount::from_u64(u64::from_le_bytes(*amount)),
            instruction: context.instruction,
            selector: None,
        },
        decimals: Some(decimals),
    })
}

fn memo(context: &Context<'_>) -> Result<Action, Refusal> {
    if !context
        .accounts
        .iter()
        .all(|account| account == context.wallet)
        || context.accounts.len() > 1
    {
        return Err(Refusal::InstructionAccounts {
            instruction: context.instruction,
            program: MEMO_NAME,
            expected: "none, or the wallet",
        });
    }
    core::str::from_utf8(context.data)
        .map(|text| Action::Memo(text.to_owned()))
        .map_err(|_| Refusal::MemoNotUtf8 {
            instruction: context.instruction,
        })
}

fn compute_budget(context: &Context<'_>) -> Result<Action, Refusal> {
    const SET_LIMIT: u8 = 2;
    const SET_PRICE: u8 = 3;
    let [] = context.accounts(BUDGET_NAME, "none")?;
    let bad = || context.bad_data(BUDGET_NAME);
    let (code, rest) = context.data.split_first().ok_or_else(bad)?;
    match *code {
        SET_LIMIT => {
            let units = <[u8; 4]>::try_from(rest)
                .map(u32::from_le_bytes)
                .map_err(|_| bad())?;
            if units > MAX_COMPUTE_UNITS {
                Err(bad())
            } else {
                Ok(Action::UnitLimit(units))
            }
        }
        SET_PRICE => <[u8; 8]>::try_from(rest)
            .map(|price| Action::UnitPrice(u64::from_le_bytes(price)))
            .map_err(|_| bad()),
        code => Err(context.unknown(BUDGET_NAME, u32::from(code))),
    }
}

#[cfg(test)]
mod tests {
    use super::Program;
    use crate::chain::Address;

    #[test]
    fn program_addresses_are_the_published_ones_and_found() {
        for (program, base58) in [
            (
                Program::ComputeBudget,
                "ComputeBudget111111111111111111111111111111",
            ),
            (Program::System, "11111111111111111111111111111111"),
            (
                Program::Token,
                "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA",
            ),
        ] {
            assert_eq!(program.address().to_string(), base58);
            assert_eq!(
                Program::find(&Address::parse(base58).unwrap()),
                Some(program)
            );
        }
        assert_eq!(Program::find(&Address::from_bytes([1; 32])), None);
    }
}
