//! Unsigned transactions for the demonstration and the measurement: what a wallet backend would build.

use alloy_consensus::{SignableTransaction as _, TxEip1559};
use alloy_primitives::{Address as EthereumAddress, Bytes, TxKind, U256};
use bitcoin::{
    Amount, OutPoint, Psbt, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness,
    XOnlyPublicKey, absolute,
    bip32::{ChildNumber, DerivationPath, Fingerprint, KeySource},
    hashes::Hash as _,
    transaction::Version,
};
use client::{Error, keys, keys::Child};
use policy::chain::{Address, BitcoinAddress};

use crate::fail::Fail;

/// One gwei in wei.
const GWEI: u128 = 1_000_000_000;
/// What a plain transfer takes.
pub const TRANSFER_GAS: u64 = 21_000;
/// What a transfer of a token takes at most.
pub const TOKEN_GAS: u64 = 90_000;

/// The signing payload of an EIP-1559 transaction.
#[must_use]
pub fn ethereum(
    chain_id: u64,
    nonce: u64,
    gas_limit: u64,
    to: [u8; 20],
    value: u64,
    data: Vec<u8>,
) -> Vec<u8> {
    TxEip1559 {
        chain_id,
        nonce,
        gas_limit,
        max_fee_per_gas: GWEI.saturating_mul(20),
        max_priority_fee_per_gas: GWEI,
        to: TxKind::Call(EthereumAddress::from(to)),
        value: U256::from(value),
        access_list: Default::default(),
        input: Bytes::from(data),
    }
    .encoded_for_signing()
}

/// The data of an ERC-20 `transfer`.
#[must_use]
pub fn erc20_transfer(to: [u8; 20], amount: u64) -> Vec<u8> {
    two_words([0xa9, 0x05, 0x9c, 0xbb], to, U256::from(amount))
}

/// The data of an ERC-20 `approve` of everything.
#[must_use]
pub fn erc20_approve_all(spender: [u8; 20]) -> Vec<u8> {
    two_words([0x09, 0x5e, 0xa7, 0xb3], spender, U256::MAX)
}

fn two_words(selector: [u8; 4], account: [u8; 20], amount: U256) -> Vec<u8> {
    let mut data = selector.to_vec();
    data.extend([0; 12]);
    data.extend(account);
    data.extend(amount.to_be_bytes::<32>());
    data
}

/// Coins of a taproot wallet, and what becomes of them.
#[derive(Clone, Debug)]
pub struct Withdrawal<'w> {
    /// The wallet's key.
    pub key: &'w client::PublicKey,
    /// Where the wallet is below it.
    pub path: String,
    /// What is spent: satoshi, and the step below the wallet's path that they came to, if not to the wallet itself.
    pub coins: Vec<(u64, Option<&'static str>)>,
    /// Who is paid.
    pub to: BitcoinAddress,
    /// How much, in satoshi.
    pub amount: u64,
    /// What the miner gets, in satoshi; the rest is change.
    pub fee: u64,
    /// Sets the coins of one withdrawal apart from those of another.
    pub number: u8,
}

impl Withdrawal<'_> {
    /// The unsigned PSBT.
    ///
    /// # Errors
    /// The coins do not suffice, or a path is none.
    pub fn psbt(&self) -> Result<Vec<u8>, Fail> {
        let own = |below: Option<&str>| -> Result<Own, Fail> {
            let path = match below {
                Some(below) => format!("{}/{below}", self.path),
                None => self.path.clone(),
            };
            Own::new(&self.key.child(&keys::path(&path)?)?)
        };
        let mut inputs = Vec::new();
        let mut spent = Vec::new();
        for (index, (satoshi, below)) in (0_u32..).zip(&self.coins) {
            inputs.push(TxIn {
                previous_output: OutPoint {
                    txid: Txid::from_byte_array([self.number; 32]),
                    vout: index,
                },
                script_sig: ScriptBuf::new(),
                sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
                witness: Witness::new(),
            });
            spent.push((own(*below)?, *satoshi, below.is_some()));
        }
        let all: u64 = self.coins.iter().map(|(satoshi, _)| satoshi).sum();
        let rest = all
            .checked_sub(self.amount)
            .and_then(|rest| rest.checked_sub(self.fee))
            .ok_or_else(|| Fail::invalid("the coins do not suffice"))?;
        let change = own(Some("1/0"))?;
        let tx = Transaction {
            version: Version::TWO,
            lock_time: absolute::LockTime::ZERO,
            input: inputs,
            output: vec![
                TxOut {
                    value: Amount::from_sat(self.amount),
                    script_pubkey: self.to.script().to_script(),
                },
                TxOut {
                    value: Amount::from_sat(rest),
                    script_pubkey: change.script.clone(),
                },
            ],
        };
        let mut psbt = Psbt::from_unsigned_tx(tx).map_err(Fail::failed)?;
        for (input, (own, satoshi, derived)) in psbt.inputs.iter_mut().zip(&spent) {
            input.witness_utxo = Some(TxOut {
                value: Amount::from_sat(*satoshi),
                script_pubkey: own.script.clone(),
            });
            if *derived {
                input
                    .tap_key_origins
                    .insert(own.internal, (Vec::new(), own.source.clone()));
            }
        }
        if let Some(output) = psbt.outputs.last_mut() {
            output.tap_internal_key = Some(change.internal);
            output
                .tap_key_origins
                .insert(change.internal, (Vec::new(), change.source));
        }
        Ok(psbt.serialize())
    }
}

/// A taproot output of the wallet.
struct Own {
    internal: XOnlyPublicKey,
    script: ScriptBuf,
    source: KeySource,
}

impl Own {
    fn new(child: &Child) -> Result<Self, Fail> {
        let wrong = |_| {
            Error::from(client::Fix::Malformed {
                message: "a key that is no point".to_owned(),
            })
        };
        let address = Address::parse(&child.address("bitcoin:mainnet")?).map_err(Fail::failed)?;
        let Address::Bitcoin(address) = address else {
            return Err(Fail::failed("a bitcoin address was expected"));
        };
        let steps: Vec<ChildNumber> = child
            .path()
            .indices()
            .iter()
            .map(|index| ChildNumber::Normal { index: *index })
            .collect();
        Ok(Self {
            internal: XOnlyPublicKey::from_slice(child.public_key().get(1..).unwrap_or_default())
                .map_err(wrong)?,
            script: address.script().to_script(),
            source: (Fingerprint::default(), DerivationPath::from(steps)),
        })
    }
}
