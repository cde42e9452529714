//! The data of a call: the few functions that move tokens, each down to its last bit, and everything else as unknown.

use super::Refusal;
use crate::amount::Amount;

/// What the data of a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// There is no data.
    None,
    /// Somebody else may move tokens.
    Approve {
        function: &'static str,
        /// The token, where the contract that is called is not it.
        token: Option<[u8; 20]>,
        spender: [u8; 20],
        amount: Amount,
    },
    /// Tokens move.
    Transfer {
        function: &'static str,
        /// Whose they are, where the call names somebody.
        from: Option<[u8; 20]>,
        to: [u8; 20],
        amount: Amount,
    },
    /// A function that is not known here.
    Unknown { selector: [u8; 4] },
}

/// The functions that are known, by the first four bytes of the hash of their signature.
const APPROVE: [u8; 4] = [0x09, 0x5e, 0xa7, 0xb3];
const DAI_PERMIT: [u8; 4] = [0x8f, 0xcb, 0xaf, 0x0c];
const INCREASE_ALLOWANCE: [u8; 4] = [0x39, 0x50, 0x93, 0x51];
const INCREASE_APPROVAL: [u8; 4] = [0xd7, 0x3d, 0xd6, 0x23];
const PERMIT: [u8; 4] = [0xd5, 0x05, 0xac, 0xcf];
const PERMIT2_APPROVE: [u8; 4] = [0x87, 0x51, 0x7c, 0x45];
const SET_APPROVAL_FOR_ALL: [u8; 4] = [0xa2, 0x2c, 0xb4, 0x65];
const TRANSFER: [u8; 4] = [0xa9, 0x05, 0x9c, 0xbb];
const TRANSFER_FROM: [u8; 4] = [0x23, 0xb8, 0x72, 0xdd];

/// What Permit2 takes as an allowance that is never used up: 160 bits of ones.
const PERMIT2_ALL: [u8; 20] = [0xff; 20];

impl Call {
    pub(super) fn read(data: &[u8]) -> Result<Self, Refusal> {
        if data.is_empty() {
            return Ok(Self::None);
        }
        let Some((selector, arguments)) = data.split_first_chunk::<4>() else {
            return Err(Refusal::DataTooShort { len: data.len() });
        };
        match *selector {
            APPROVE => Self::approve("approve", arguments),
            INCREASE_ALLOWANCE => Self::approve("increaseAllowance", arguments),
            INCREASE_APPROVAL => Self::approve("increaseApproval", arguments),
            DAI_PERMIT | PERMIT => Self::permit(*selector, arguments),
            PERMIT2_APPROVE => Self::permit2(arguments),
            SET_APPROVAL_FOR_ALL => {
                let function = "setApprovalForAll";
                let [operator, on] = words(function, arguments)?;
                Ok(Self::Approve {
                    function,
                    token: None,
                    spender: account(function, operator)?,
                    amount: all_or_nothing(function, on)?,
                })
            }
            TRANSFER => {
                let function = "transfer";
                let [to, amount] = words(function, arguments)?;
                Ok(Self::Transfer {
                    function,
                    from: None,
                    to: account(function, to)?,
                    amount: number(amount),
                })
            }
            TRANSFER_FROM => {
                let function = "transferFrom";
                let [from, to, amount] = words(function, arguments)?;
                Ok(Self::Transfer {
                    function,
                    from: Some(account(function, from)?),
                    to: account(function, to)?,
                    amount: number(amount),
                })
            }
            selector => Ok(Self::Unknown { selector }),
        }
    }

    fn approve(function: &'static str, arguments: &[u8]) -> Result<Self, Refusal> {
        let [spender, amount] = words(function, arguments)?;
        Ok(Self::Approve {
            function,
            token: None,
            spender: account(function, spender)?,
            amount: number(amount),
        })
    }

    /// An allowance that the owner signed elsewhere, of a number or of everything.
    fn permit(selector: [u8; 4], arguments: &[u8]) -> Result<Self, Refusal> {
        let function = "permit";
        let (owner, spender, amount, v) = if selector == DAI_PERMIT {
            let [owner, spender, _nonce, _expiry, on, v, _r, _s] = words(function, arguments)?;
            (owner, spender, all_or_nothing(function, on)?, v)
        } else {
            let [owner, spender, amount, _deadline, v, _r, _s] = words(function, arguments)?;
            (owner, spender, number(amount), v)
        };
        account(function, owner)?;
        narrow::<1>(function, v)?;
        Ok(Self::Approve {
            function,
            token: None,
            spender: account(function, spender)?,
            amount,
        })
    }

    /// `approve` of Permit2, which passes the allowance of any token on.
    fn permit2(arguments: &[u8]) -> Result<Self, Refusal> {
        let function = "approve of Permit2";
        let [token, spender, amount, expiration] = words(function, arguments)?;
        narrow::<6>(function, expiration)?;
        let bits = narrow::<20>(function, amount)?;
        Ok(Self::Approve {
            function,
            token: Some(account(function, token)?),
            spender: account(function, spender)?,
            amount: if bits == PERMIT2_ALL {
                Amount::MAX
            } else {
                number(amount)
            },
        })
    }
}

/// Whether calls of a function are understood, so that none is ever one of unknown effect.
pub(crate) const fn is_understood(selector: [u8; 4]) -> bool {
    matches!(
        selector,
        APPROVE
            | DAI_PERMIT
            | INCREASE_ALLOWANCE
            | INCREASE_APPROVAL
            | PERMIT
            | PERMIT2_APPROVE
            | SET_APPROVAL_FOR_ALL
            | TRANSFER
            | TRANSFER_FROM
    )
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

/// A number of so many bytes; those above are zero.
fn narrow<const N: usize>(function: &'static str, word: &[u8; 32]) -> Result<[u8; N], Refusal> {
    let (padding, low) = word.split_at(32_usize.saturating_sub(N));
    match low.try_into() {
        Ok(low) if padding.iter().all(|byte| *byte == 0) => Ok(low),
        _ => Err(Refusal::Arguments { function }),
    }
}

fn account(function: &'static str, word: &[u8; 32]) -> Result<[u8; 20], Refusal> {
    narrow(function, word)
}

/// What an allowance without a number counts as.
fn all_or_nothing(function: &'static str, word: &[u8; 32]) -> Result<Amount, Refusal> {
    match narrow(function, word)? {
        [0] => Ok(Amount::ZERO),
        [1] => Ok(Amount::MAX),
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
            ("increaseApproval(address,uint256)", INCREASE_APPROVAL),
            ("approve(address,address,uint160,uint48)", PERMIT2_APPROVE),
            (
                "permit(address,address,uint256,uint256,uint8,bytes32,bytes32)",
                PERMIT,
            ),
            (
                "permit(address,address,uint256,uint256,bool,uint8,bytes32,bytes32)",
                DAI_PERMIT,
            ),
        ] {
            assert_eq!(keccak256(signature)[..4], selector, "{signature}");
            assert!(is_understood(selector), "{signature}");
        }
    }

    #[test]
    fn a102_a_known_function_takes_exactly_its_arguments() {
        let mut good = TRANSFER.to_vec();
        good.extend([[0; 12].as_slice(), &[9; 20], &[0; 31], &[5]].concat());
        assert_eq!(
            Call::read(&good),
            Ok(Call::Transfer {
                function: "transfer",
                from: None,
                to: [9; 20],
                amount: Amount::from_u64(5)
            })
        );
        let refused = Err(Refusal::Arguments {
            function: "transfer",
        });
        for end in 4..good.len() {
            assert_eq!(Call::read(&good[..end]), refused, "{end} bytes");
        }
        for extra in [1, 31, 32] {
            let long = [&good[..], &vec![0; extra]].concat();
            assert_eq!(Call::read(&long), refused, "{extra} more");
        }
        for at in 4..16 {
            let mut dirty = good.clone();
            dirty[at] = 1;
            assert_eq!(Call::read(&dirty), refused, "dirty byte {at}");
        }
        for len in 1..4 {
            assert_eq!(Call::read(&good[..len]), Err(Refusal::DataTooShort { len }));
        }
    }
}
