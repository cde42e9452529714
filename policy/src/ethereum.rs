//! Ethereum transactions: the bytes that are hashed and signed in, typed transfers or a refusal out.
//!
//! The decoder understands legacy transactions with a chain id (EIP-155), access lists (EIP-2930) and the fee market
//! (EIP-1559). Contract creation, blobs (EIP-4844), delegations of the account (EIP-7702) and transactions for every chain
//! (before EIP-155) are refused.
//!
//! | data | becomes |
//! |---|---|
//! | none | [`Kind::Transfer`] of the value |
//! | ERC-20 `transfer`, `transferFrom` | [`Kind::Erc20Transfer`], whosever the tokens are |
//! | ERC-20 `approve`, `increaseAllowance`, `increaseApproval`, `permit`; `approve` of Permit2 | [`Kind::Erc20Approve`] of the whole allowance (attack A102) |
//! | `setApprovalForAll`, `permit` of DAI | [`Kind::Erc20Approve`] of everything |
//! | anything else | [`Kind::ContractCall`], for which a rule must name contract and selector |
//!
//! Known functions take exactly their arguments, each padded as the ABI says; a call that nearly is one is refused and never
//! passes as unknown data. The fee counted is the whole gas limit at the highest price; second layers that take a further fee
//! outside of gas take it on top.

mod call;
mod render;

pub(crate) use self::call::is_understood;

use alloy_consensus::{
    SignableTransaction, TxEip1559, TxEip2930, TxLegacy,
    transaction::{RlpEcdsaDecodableTx, RlpEcdsaEncodableTx},
};
use alloy_primitives::{Signature, TxKind, U256};
use alloy_rlp::{Decodable, Header};

use crate::address;
use crate::amount::Amount;
use crate::chain::{Address, Asset, Chain, Kind, Selector};
use crate::conflict::ConflictKey;
use crate::ethereum::call::Call;
use crate::transaction::{AssembleError, Hash, Scheme, Task, Transaction, Transfer, Tweak};

/// The longest data of a call, in bytes, so that an approver can look at it.
pub const MAX_DATA: usize = 4096;

/// Why a transaction is not signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A known function with other arguments than it has, or with bits set where padding belongs.
    #[error("the data is a call of {function} with arguments that are not exactly its own")]
    Arguments {
        /// Which function.
        function: &'static str,
    },
    /// For another chain than the wallet's.
    #[error("the transaction is for chain id {got}, the wallet is on {expected}")]
    ChainId {
        /// The wallet's.
        expected: u64,
        /// The transaction's.
        got: u64,
    },
    /// It creates a contract.
    #[error("the transaction creates a contract; deploy with another key")]
    Creation,
    /// Data of one to three bytes, which no contract can tell functions by.
    #[error("the data has {len} bytes, fewer than a selector")]
    DataTooShort {
        /// How many.
        len: usize,
    },
    /// More data than a person would look at.
    #[error("the data has {len} bytes; at most {max} are signed")]
    DataTooLong {
        /// How many.
        len: usize,
        /// The most.
        max: usize,
    },
    /// The public key is no point.
    #[error("the wallet's key is not a secp256k1 key")]
    Key,
    /// It does not decode, or encodes to other bytes than it was decoded from.
    #[error("the transaction does not decode; hand over the signing payload in its one encoding")]
    Malformed,
    /// A legacy transaction without a chain id is good on every chain.
    #[error("the transaction names no chain id and would be good on every chain; use EIP-155")]
    NoChainId,
    /// More is offered to the block's builder than the sender pays at all.
    #[error("the priority fee is higher than the highest fee")]
    Priority,
    /// Another type of transaction.
    #[error("transactions of type {number} are not signed: {why}")]
    Type {
        /// Its number.
        number: u8,
        /// Why not.
        why: &'static str,
    },
    /// Coin is sent along with a call of a token's function, which would keep it.
    #[error("{value} wei are sent along with a call of {function}")]
    ValueWithToken {
        /// How much.
        value: Amount,
        /// Which function.
        function: &'static str,
    },
}

/// An unsigned transaction of one of the types that are signed.
#[derive(Clone, Debug)]
enum Unsigned {
    Eip1559(TxEip1559),
    Eip2930(TxEip2930),
    Legacy(TxLegacy),
}

impl Unsigned {
    fn parse(raw: &[u8]) -> Result<Self, Refusal> {
        let refuse = |number, why| Err(Refusal::Type { number, why });
        let parsed = match raw.split_first() {
            Some((1, body)) => Self::Eip2930(whole(body)?),
            Some((2, body)) => Self::Eip1559(whole(body)?),
            Some((3, _)) => return refuse(3, "they carry blobs"),
            Some((4, _)) => return refuse(4, "they hand the account over to a contract"),
            Some((0xc0.., _)) => Self::Legacy(legacy(raw)?),
            Some((number @ ..0x80, _)) => return refuse(*number, "the type is not known here"),
            Some(_) | None => return Err(Refusal::Malformed),
        };
        if parsed.encode() == raw {
            Ok(parsed)
        } else {
            Err(Refusal::Malformed)
        }
    }

    /// The signing payload.
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Eip1559(tx) => tx.encoded_for_signing(),
            Self::Eip2930(tx) => tx.encoded_for_signing(),
            Self::Legacy(tx) => tx.encoded_for_signing(),
        }
    }

    fn fields(&self) -> &dyn alloy_consensus::Transaction {
        match self {
            Self::Eip1559(tx) => tx,
            Self::Eip2930(tx) => tx,
            Self::Legacy(tx) => tx,
        }
    }

    /// The signed transaction.
    fn sign(&self, signature: &Signature) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Eip1559(tx) => tx.eip2718_encode(signature, &mut out),
            Self::Eip2930(tx) => tx.eip2718_encode(signature, &mut out),
            Self::Legacy(tx) => tx.eip2718_encode(signature, &mut out),
        }
        out
    }
}

/// Decodes all of the bytes.
fn whole<T: Decodable>(mut bytes: &[u8]) -> Result<T, Refusal> {
    let value = T::decode(&mut bytes).map_err(|_| Refusal::Malformed)?;
    if bytes.is_empty() {
        Ok(value)
    } else {
        Err(Refusal::Malformed)
    }
}

/// The nine fields of EIP-155: those of the transaction, the chain id, and two zeros.
fn legacy(mut bytes: &[u8]) -> Result<TxLegacy, Refusal> {
    let malformed = |_| Refusal::Malformed;
    let header = Header::decode(&mut bytes).map_err(malformed)?;
    if !header.list || header.payload_length != bytes.len() {
        return Err(Refusal::Malformed);
    }
    let mut tx = TxLegacy::rlp_decode_fields(&mut bytes).map_err(malformed)?;
    if bytes.is_empty() {
        return Err(Refusal::NoChainId);
    }
    let chain_id = u64::decode(&mut bytes).map_err(malformed)?;
    if chain_id == 0 {
        return Err(Refusal::NoChainId);
    }
    tx.chain_id = Some(chain_id);
    // The two zeros are compared with everything else when it is encoded again.
    Ok(tx)
}

/// Decodes the signing payload of a transaction from the account of `key` (SEC1, 33 bytes) on a chain.
///
/// Total on any bytes. What decodes encodes to exactly the same bytes, and the signature is over their hash.
///
/// # Errors
/// [`Refusal`], the first reason found.
pub fn decode(raw: &[u8], chain_id: u64, key: &[u8], path: &[u32]) -> Result<Transaction, Refusal> {
    let from =
        address::at(Chain::Ethereum(chain_id), Scheme::Ecdsa, key).map_err(|_| Refusal::Key)?;
    let unsigned = Unsigned::parse(raw)?;
    let tx = unsigned.fields();
    let got = tx.chain_id().ok_or(Refusal::NoChainId)?;
    if got != chain_id {
        return Err(Refusal::ChainId {
            expected: chain_id,
            got,
        });
    }
    let TxKind::Call(to) = tx.kind() else {
        return Err(Refusal::Creation);
    };
    if tx
        .max_priority_fee_per_gas()
        .is_some_and(|priority| priority > tx.max_fee_per_gas())
    {
        return Err(Refusal::Priority);
    }
    let data = tx.input();
    if data.len() > MAX_DATA {
        return Err(Refusal::DataTooLong {
            len: data.len(),
            max: MAX_DATA,
        });
    }
    // 64 bits times 128 bits fit 256.
    let fee = U256::from(tx.gas_limit()).saturating_mul(U256::from(tx.max_fee_per_gas()));
    let fee_max = amount(fee);
    let to = Address::Ethereum(to.into_array());
    let transfer = transfer(from, to, amount(tx.value()), data)?;
    let mut rendering = render::transfer(&transfer, &to, data);
    rendering.push(render::fee(fee_max, tx, &from));
    rendering.push(render::envelope(chain_id, tx));
    Ok(Transaction {
        transfers: vec![transfer],
        fee_max,
        conflicts: vec![ConflictKey::Nonce {
            chain: Chain::Ethereum(chain_id),
            account: from,
            nonce: tx.nonce(),
        }],
        rendering,
        tasks: vec![Task {
            scheme: Scheme::Ecdsa,
            path: path.to_vec(),
            hash: Hash::Keccak256,
            message: raw.to_vec(),
            tweak: Tweak::None,
        }],
    })
}

/// What a transaction to `contract` moves.
fn transfer(
    from: Address,
    contract: Address,
    value: Amount,
    data: &[u8],
) -> Result<Transfer, Refusal> {
    let native = Transfer {
        kind: Kind::Transfer,
        asset: Asset::Native,
        from,
        to: contract,
        amount: value,
        instruction: 0,
        selector: None,
    };
    let Address::Ethereum(called) = contract else {
        return Err(Refusal::Key);
    };
    let without_coin = |function| {
        if value.is_zero() {
            Ok(())
        } else {
            Err(Refusal::ValueWithToken { value, function })
        }
    };
    match Call::read(data)? {
        Call::None => Ok(native),
        Call::Approve {
            function,
            token,
            spender,
            amount,
        } => {
            without_coin(function)?;
            Ok(Transfer {
                kind: Kind::Erc20Approve,
                asset: Asset::Erc20(token.unwrap_or(called)),
                to: Address::Ethereum(spender),
                amount,
                ..native
            })
        }
        Call::Transfer {
            function,
            from: owner,
            to,
            amount,
        } => {
            without_coin(function)?;
            Ok(Transfer {
                kind: Kind::Erc20Transfer,
                asset: Asset::Erc20(called),
                from: owner.map_or(from, Address::Ethereum),
                to: Address::Ethereum(to),
                amount,
                ..native
            })
        }
        Call::Unknown { selector } => Ok(Transfer {
            kind: Kind::ContractCall,
            selector: Some(Selector(selector)),
            ..native
        }),
    }
}

fn amount(value: U256) -> Amount {
    Amount::from_be_bytes(value.to_be_bytes())
}

/// The signed transaction: `signature` is r, s and the recovery id, 65 bytes.
///
/// # Errors
/// [`AssembleError`].
pub(crate) fn assemble(raw: &[u8], signature: &[u8]) -> Result<Vec<u8>, AssembleError> {
    let unsigned = Unsigned::parse(raw).map_err(crate::transaction::Refusal::from)?;
    let wrong = |why| AssembleError::Signature { index: 0, why };
    let (both, odd) = match (signature.get(..64), signature.get(64..)) {
        (Some(both), Some([odd @ (0 | 1)])) => (both, *odd == 1),
        _ => return Err(wrong("it is not r, s and a recovery id of 0 or 1")),
    };
    let signature = Signature::from_bytes_and_parity(both, odd);
    if signature.normalize_s().is_some() {
        return Err(wrong("s is above half the order"));
    }
    Ok(unsigned.sign(&signature))
}
