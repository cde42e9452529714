//! The data of a call: the few functions that move tokens, each down to its last bit, and everything else as unknown.

use super::Refusal;
use crate::amount::Amount;

/// What the data of a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// There is no data.
    None,
    /// Somebody else may move tokens of the wallet.
    Approve {
        function: &'static str,
        spender: [u8; 20],
        amount: Amount,
    },
    /// Tokens of the wallet move.
    Transfer {
        function: &'static str,
        to: [u8; 20],
        amount: Amount,
    },
    /// A function that is not known here.
    Unknown { selector: [u8; 4] },
}

/// The functions that are known, by the first four bytes of the hash of their signature.
const APPROVE: [u8; 4] = [0x09, 0x5e, 0xa7, 0xb3];
const INCREASE_ALLOWANCE: [u8; 4] = [0x39, 0x50, 0x93, 0x51];
const SET_APPROVAL_FOR_ALL: [u8; 4] = [0xa2, 0x2c, 0xb4, 0x65];
const TRANSFER: [u8; 4] = [0xa9, 0x05, 0x9c, 0xbb];
const TRANSFER_FROM: [u8; 4] = [0x23, 0xb8, 0x72, 0xdd];

impl Call {
    pub(super) fn read(data: &[u8], wallet: &[u8; 20]) -> Result<Self, Refusal> {
        if data.is_empty() {
            return Ok(Self::None);
        }
        let Some((selector, arguments)) = data.split_first_chunk::<4>() else {
            return Err(Refusal::DataTooShort { len: data.len() });
        };
        let selector = *selector;
        match selector {
            APPROVE => Self::approve("approve", arguments),
            INCREASE_ALLOWANCE => Self::approve("increaseAllowance", arguments),
            SET_APPROVAL_FOR_ALL => {
                let function = "setApprovalForAll";
                let [operator, on] = words(function, arguments)?;
                let spender = account(function, operator)?;
                match number(on).to_u64() {
                    Some(0) => Ok(Self::Unknown { selector }),
                    Some(1) => Ok(Self::Approve {
                        function,
                        spender,
                        amount: Amount::MAX,
                    }),
                    _ => Err(Refusal::Arguments { function }),
                }
            }
            TRANSFER => {
                let function = "transfer";
                let [to, amount] = words(function, arguments)?;
                Ok(Self::Transfer {
                    function,
                    to: account(function, to)?,
                    amount: number(amount),
                })
            }
            TRANSFER_FROM => {
                let function = "transferFrom";
                let [from, to, amount] = words(function, arguments)?;
                if account(function, from)? == *wallet {
                    Ok(Self::Transfer {
                        function,
                        to: account(function, to)?,
                        amount: number(amount),
                    })
                } else {
                    account(function, to)?;
                    Ok(Self::Unknown { selector })
                }
            }
            _ => Ok(Self::Unknown { selector }),
        }
    }

    fn approve(function: &'static str, arguments: &[u8]) -> Result<Self, Refusal> {
        let [spender, amount] = words(function, arguments)?;
        Ok(Self::Approve {
            function,
            spender: account(function, spender)?,
            amount: number(amount),
        })
    }
}

/// Exactly so many words of 32 bytes.
fn words<'d, const N: usize>(
    function: &'static str,
    arguments: &'d [u8],
) -> Result<[&'d [u8; 32]; N], Refusal> {
    let (words, rest) = arguments.as_chunks::<32>();
    let words: Vec<&[u8; 32]> = words.iter().collect();
    match <[&[u8; 32]; N]>::try_from(words) {
        Ok(words) if rest.is_empty() => Ok(words),
        _ => Err(Refusal::Arguments { function }),
    }
}

/// An account: the upper twelve bytes are zero.
fn account(function: &'static str, word: &[u8; 32]) -> Result<[u8; 20], Refusal> {
    let (padding, account) = word.split_at(12);
    match account.try_into() {
        Ok(account) if padding.iter().all(|byte| *byte == 0) => Ok(account),
        _ => Err(Refusal::Arguments { function }),
    }
}

fn number(word: &[u8; 32]) -> Amount {
    Amount::from_be_bytes(*word)
}

#[cfg(test)]
mod tests {
    use alloy_primitives::keccak256;

    use super::*;

    #[test]
    fn selectors_are_those_of_the_signatures() {
        for (signature, selector) in [
            ("approve(address,uint256)", APPROVE),
            ("increaseAllowance(address,uint256)", INCREASE_ALLOWANCE),
            ("setApprovalForAll(address,bool)", SET_APPROVAL_FOR_ALL),
            ("transfer(address,uint256)", TRANSFER),
            ("transferFrom(address,address,uint256)", TRANSFER_FROM),
        ] {
            assert_eq!(keccak256(signature)[..4], selector, "{signature}");
        }
    }

    #[test]
    fn a102_a_known_function_takes_exactly_its_arguments() {
        let wallet = [7; 20];
        let mut good = TRANSFER.to_vec();
        good.extend([[0; 12].as_slice(), &[9; 20], &[0; 31], &[5]].concat());
        assert_eq!(
            Call::read(&good, &wallet),
            Ok(Call::Transfer {
                function: "transfer",
                to: [9; 20],
                amount: Amount::from_u64(5)
            })
        );
        let refused = Err(Refusal::Arguments {
            function: "transfer",
        });
        for end in 4..good.len() {
            assert_eq!(Call::read(&good[..end], &wallet), refused, "{end} bytes");
        }
        for extra in [1, 31, 32] {
            let long = [&good[..], &vec![0; extra]].concat();
            assert_eq!(Call::read(&long, &wallet), refused, "{extra} more");
        }
        for at in 4..16 {
            let mut dirty = good.clone();
            dirty[at] = 1;
            assert_eq!(Call::read(&dirty, &wallet), refused, "dirty byte {at}");
        }
        for len in 1..4 {
            assert_eq!(
                Call::read(&good[..len], &wallet),
                Err(Refusal::DataTooShort { len })
            );
        }
    }
}
