//! Bitcoin transactions: an unsigned PSBT in, typed transfers or a refusal out.
//!
//! Every input must be the wallet's own: P2WPKH for ECDSA keys, P2TR spent by key alone for BIP 340 keys, at the wallet's path
//! or below it where the PSBT says so. The key is derived here and must give the output that is spent.
//!
//! Choices against what has gone wrong elsewhere (attack A101):
//! * A P2WPKH input needs its whole previous transaction: the digest of one input does not commit to the amounts of the
//!   others (CVE-2020-14199). A P2TR digest commits to all of them.
//! * Only `SIGHASH_ALL`, and `SIGHASH_DEFAULT` for taproot.
//! * An output is change if the key derived here gives it, whatever the PSBT says. One that the PSBT says is ours and is not,
//!   is refused.
//! * An output that no address names (`OP_RETURN`, bare scripts, unknown witness versions) is refused.
//! * Change goes back where wallet software looks for it: to the wallet's own path, or below it to a number, or to 0 or 1 and a
//!   number, none above [`MAX_CHANGE_NUMBER`].
//! * The fee is at most [`MAX_RATE`] satoshi per virtual byte.
//! * The fee is the difference of sums that were both checked, so it is exact.

mod psbt;
#[cfg(test)]
mod vectors;

use std::collections::BTreeSet;

use bitcoin::{
    EcdsaSighashType, OutPoint, TapSighashType, TxOut, Witness, consensus, ecdsa,
    hashes::Hash as _,
    secp256k1,
    sighash::{Prevouts, SighashCache},
};

use crate::address::output;
use crate::amount::Amount;
use crate::bitcoin::psbt::{Owner, Psbt};
use crate::chain::{Address, Asset, BitcoinAddress, BitcoinScript, Chain, Kind, Network};
use crate::conflict::ConflictKey;
use crate::transaction::{
    AssembleError, Hash, MAX_PATH, Scheme, Task, Transaction, Transfer, Tweak, WalletKeys, decimal,
    path_text,
};

/// The most inputs, and the most outputs, so that an approver can read them.
pub const MAX_ENDS: usize = 40;
/// How many steps a PSBT may go below the wallet's path: change or not, and a number.
pub const MAX_BELOW: usize = 2;
/// The highest number of an address that change goes back to: higher ones no wallet software would find again.
pub const MAX_CHANGE_NUMBER: u32 = 1_000_000;
/// The highest fee in satoshi per virtual byte, whatever the wallet's own bound: nobody means more.
pub const MAX_RATE: u64 = 5_000;
/// Decimals of the coin.
const DECIMALS: u8 = 8;
/// The first index that BIP 32 calls hardened.
const HARDENED: u32 = 1 << 31;

/// Why a transaction is not signed. Inputs and outputs are counted from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The outputs are worth more than the inputs, or the sums are beyond all coins.
    #[error("the outputs are worth more than the inputs")]
    Amounts,
    /// The same output is spent twice.
    #[error("input {input} spends what an earlier one spends")]
    DoubleSpend {
        /// The later input.
        input: usize,
    },
    /// Change that goes where no wallet software would look for it.
    #[error(
        "output {output} is change at {path}; it must be the wallet's own path, or below it 0 or 1 and a number up to {MAX_CHANGE_NUMBER}"
    )]
    FarChange {
        /// Which output.
        output: usize,
        /// The path.
        path: String,
    },
    /// The fee is beyond reason for the size of the transaction.
    #[error("the fee is {fee} satoshi for {vbytes} virtual bytes, more than {MAX_RATE} for each")]
    FeeRate {
        /// The fee.
        fee: u64,
        /// The size of the signed transaction.
        vbytes: u64,
    },
    /// A field that has no place in an unsigned transaction, or is not known.
    #[error("a field of type {0:#04x} is not known here, or belongs to a signed transaction")]
    Field(u8),
    /// An output that is said to go back to the wallet and does not.
    #[error("output {output} is said to be the wallet's own and its key gives another one")]
    ForeignChange {
        /// Which output.
        output: usize,
    },
    /// The bytes are not a PSBT that is read here.
    #[error("the transaction does not decode: {0}")]
    Malformed(&'static str),
    /// Everything goes back to the wallet.
    #[error("the transaction pays nobody but the wallet itself")]
    NoTransfer,
    /// An output that no address names.
    #[error("output {output} has a script that no address names")]
    NotAnAddress {
        /// Which output.
        output: usize,
    },
    /// An input that the wallet's key cannot spend.
    #[error("input {input} is not the wallet's: the key at {path} gives another output")]
    NotOurs {
        /// Which input.
        input: usize,
        /// Where the key was looked for.
        path: String,
    },
    /// A path outside of the wallet, too deep below it, or hardened.
    #[error("the path {path} is not the wallet's, or not at most two plain steps below it")]
    Path {
        /// The path.
        path: String,
    },
    /// What an input spends is not there or does not fit.
    #[error("input {input} needs {needed}")]
    Previous {
        /// Which input.
        input: usize,
        /// What is missing.
        needed: &'static str,
    },
    /// A signature that leaves parts of the transaction open.
    #[error(
        "input {input} asks for sighash type {got:#04x}; only all of the transaction is signed"
    )]
    Sighash {
        /// Which input.
        input: usize,
        /// What it asks for.
        got: u32,
    },
    /// More inputs or outputs than a person would read.
    #[error("at most {max} inputs and {max} outputs are signed")]
    TooMany {
        /// The most.
        max: usize,
    },
    /// An unknown version of the format.
    #[error("psbt version {0} is not known here; use 0 or 2")]
    Version(u32),
    /// A version of the transaction itself that nobody relays.
    #[error("transaction version {0} is not signed; use 1 or 2")]
    TransactionVersion(i32),
}

/// A decoded transaction with what is needed to put its signatures in.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) transaction: Transaction,
    tx: bitcoin::Transaction,
    spends: Vec<Spend>,
}

/// One input.
#[derive(Clone, Debug)]
struct Spend {
    previous: TxOut,
    path: Vec<u32>,
    key: Vec<u8>,
    /// `SIGHASH_ALL` was asked for by name, which adds a byte to a taproot signature.
    all: bool,
}

/// A key of the wallet and the output that pays it.
struct Own {
    path: Vec<u32>,
    key: Vec<u8>,
    script: BitcoinScript,
}

/// The wallet, as far as its transactions are concerned.
struct Wallet<'k> {
    keys: &'k dyn WalletKeys,
    scheme: Scheme,
    path: &'k [u32],
}

impl Wallet<'_> {
    /// The key that an owner names, or the wallet's own, and the output that pays it.
    fn derive(&self, owner: &Owner) -> Result<Option<Own>, Refusal> {
        let path = match &owner.origin {
            Some((_, path)) => path.as_slice(),
            None => self.path,
        };
        let wrong = || Refusal::Path {
            path: path_text(path),
        };
        let below = path.strip_prefix(self.path).ok_or_else(wrong)?;
        if below.len() > MAX_BELOW
            || path.len() > MAX_PATH
            || path.iter().any(|step| *step >= HARDENED)
        {
            return Err(wrong());
        }
        let Some(key) = self.keys.public_key_at(path) else {
            return Ok(None);
        };
        let Ok(script) = output(self.scheme, &key) else {
            return Ok(None);
        };
        let x_only = key.get(1..);
        let named = owner.origin.as_ref().map(|(named, _)| named.as_slice());
        let fits = match self.scheme {
            Scheme::Ecdsa => named.is_none_or(|named| named == key) && owner.internal.is_none(),
            Scheme::Bip340 => {
                named.is_none_or(|named| Some(named) == x_only)
                    && owner
                        .internal
                        .as_deref()
                        .is_none_or(|named| Some(named) == x_only)
            }
            Scheme::Ed25519 => false,
        };
        Ok(fits.then(|| Own {
            path: path.to_vec(),
            key,
            script,
        }))
    }
}

/// Decodes an unsigned PSBT that the wallet at `path` is asked to sign. Total on any bytes.
pub(crate) fn plan(
    raw: &[u8],
    network: Network,
    scheme: Scheme,
    keys: &dyn WalletKeys,
    path: &[u32],
) -> Result<Plan, Refusal> {
    let parsed = Psbt::parse(raw)?;
    let tx = &parsed.tx;
    if tx.input.is_empty() || tx.output.is_empty() {
        return Err(Refusal::Malformed("no inputs or no outputs"));
    }
    if tx.input.len() > MAX_ENDS || tx.output.len() > MAX_ENDS {
        return Err(Refusal::TooMany { max: MAX_ENDS });
    }
    if !matches!(tx.version.0, 1 | 2) {
        return Err(Refusal::TransactionVersion(tx.version.0));
    }
    let wallet = Wallet { keys, scheme, path };
    let own = wallet
        .derive(&Owner::default())?
        .ok_or(Refusal::Malformed("the wallet has no key at its path"))?;
    let from = Address::Bitcoin(BitcoinAddress::new(network, own.script));

    let spends = spends(&parsed, &wallet)?;
    let (transfers, mut rendering, out) = transfers(&parsed, &wallet, network, &from, &own.script)?;
    let sum = spends.iter().try_fold(0_u64, |sum, spend| {
        sum.checked_add(spend.previous.value.to_sat())
    });
    let fee = sum
        .and_then(|sum| sum.checked_sub(out))
        .ok_or(Refusal::Amounts)?;
    let vbytes = vbytes(tx, scheme);
    if fee > MAX_RATE.saturating_mul(vbytes) {
        return Err(Refusal::FeeRate { fee, vbytes });
    }
    for (spend, input) in spends.iter().zip(&tx.input) {
        rendering.push(format!(
            "spends output {} of {}: {} satoshi at {}, sequence {:#010x}",
            input.previous_output.vout,
            input.previous_output.txid,
            spend.previous.value.to_sat(),
            path_text(&spend.path),
            input.sequence.to_consensus_u32(),
        ));
    }
    rendering.push(format!(
        "fee exactly {fee} satoshi ({} BTC), {} for each virtual byte, paid by {from}",
        coins(fee),
        fee.checked_div(vbytes).unwrap_or(fee)
    ));
    rendering.push(envelope(&parsed, network));
    let tasks = tasks(tx, &spends, scheme)?;
    let outpoint = |input: &bitcoin::TxIn| ConflictKey::Outpoint {
        chain: Chain::Bitcoin(network),
        txid: input.previous_output.txid.to_string(),
        vout: input.previous_output.vout,
    };
    let conflicts = tx.input.iter().map(outpoint).collect();
    Ok(Plan {
        transaction: Transaction {
            transfers,
            fee_max: Amount::from_u64(fee),
            conflicts,
            rendering,
            tasks,
        },
        tx: parsed.tx,
        spends,
    })
}

/// The size of the signed transaction: four units of weight make a virtual byte.
fn vbytes(tx: &bitcoin::Transaction, scheme: Scheme) -> u64 {
    // The witness of an input: how many items, then each behind its length. Two units more for marker and flag.
    let witness: u64 = match scheme {
        Scheme::Bip340 => 66,
        Scheme::Ecdsa | Scheme::Ed25519 => 107,
    };
    let inputs = u64::try_from(tx.input.len()).unwrap_or(u64::MAX);
    let weight = tx.weight().to_wu().saturating_add(2);
    weight
        .saturating_add(witness.saturating_mul(inputs))
        .div_ceil(4)
}

/// Whether wallet software finds change at a path again.
fn is_near(below: &[u32]) -> bool {
    matches!(
        below,
        [] | [0..=MAX_CHANGE_NUMBER] | [0 | 1, 0..=MAX_CHANGE_NUMBER]
    )
}

fn spends(parsed: &Psbt, wallet: &Wallet<'_>) -> Result<Vec<Spend>, Refusal> {
    let mut seen: BTreeSet<OutPoint> = BTreeSet::new();
    let mut spends = Vec::new();
    for (index, (outer, said)) in parsed.tx.input.iter().zip(&parsed.inputs).enumerate() {
        let input = index;
        if outer.previous_output.is_null() || !seen.insert(outer.previous_output) {
            return Err(Refusal::DoubleSpend { input });
        }
        let all = match (wallet.scheme, said.sighash) {
            (Scheme::Bip340, None | Some(0)) | (Scheme::Ecdsa, None) => false,
            (_, Some(1)) => true,
            (_, got) => {
                return Err(Refusal::Sighash {
                    input,
                    got: got.unwrap_or(0),
                });
            }
        };
        let previous = previous(input, outer.previous_output, said, wallet.scheme)?;
        let named = said
            .owner
            .origin
            .as_ref()
            .map_or(wallet.path, |(_, path)| path);
        let not_ours = || Refusal::NotOurs {
            input,
            path: path_text(named),
        };
        let own = wallet.derive(&said.owner)?.ok_or_else(not_ours)?;
        if own.script.to_script() != previous.script_pubkey {
            return Err(not_ours());
        }
        spends.push(Spend {
            previous,
            path: own.path,
            key: own.key,
            all,
        });
    }
    Ok(spends)
}

/// What an input spends, held against the transaction that made it.
fn previous(
    input: usize,
    outpoint: OutPoint,
    said: &psbt::Input,
    scheme: Scheme,
) -> Result<TxOut, Refusal> {
    let needs = |needed| Refusal::Previous { input, needed };
    let Some(transaction) = &said.previous else {
        return match (&said.witness, scheme) {
            (Some(output), Scheme::Bip340) => Ok(output.clone()),
            (None, Scheme::Bip340) => Err(needs("the output that it spends")),
            _ => Err(needs(
                "the whole previous transaction, because its amount is not in the digests of the other inputs",
            )),
        };
    };
    if transaction.compute_txid() != outpoint.txid {
        return Err(needs(
            "the previous transaction that it names, and has another one",
        ));
    }
    let output = usize::try_from(outpoint.vout)
        .ok()
        .and_then(|vout| transaction.output.get(vout))
        .ok_or_else(|| needs("a previous transaction with the output that it names"))?;
    if said.witness.as_ref().is_some_and(|said| said != output) {
        return Err(needs(
            "the spent output of its previous transaction, and says another one",
        ));
    }
    Ok(output.clone())
}

type Outputs = (Vec<Transfer>, Vec<String>, u64);

/// What the outputs move and to whom, in words too, and their sum in satoshi.
fn transfers(
    parsed: &Psbt,
    wallet: &Wallet<'_>,
    network: Network,
    from: &Address,
    own: &BitcoinScript,
) -> Result<Outputs, Refusal> {
    let (mut transfers, mut lines, mut sum) = (Vec::new(), Vec::new(), 0_u64);
    for (index, (outer, said)) in parsed.tx.output.iter().zip(&parsed.outputs).enumerate() {
        let satoshi = outer.value.to_sat();
        sum = sum.checked_add(satoshi).ok_or(Refusal::Amounts)?;
        let script = BitcoinScript::read(&outer.script_pubkey)
            .ok_or(Refusal::NotAnAddress { output: index })?;
        let to = Address::Bitcoin(BitcoinAddress::new(network, script));
        let claimed = said.owner.origin.is_some() || said.owner.internal.is_some();
        let change = if claimed {
            let foreign = Refusal::ForeignChange { output: index };
            match wallet.derive(&said.owner)? {
                Some(Own {
                    path,
                    script: derived,
                    ..
                }) if derived == script => {
                    if !path.strip_prefix(wallet.path).is_some_and(is_near) {
                        let path = path_text(&path);
                        return Err(Refusal::FarChange {
                            output: index,
                            path,
                        });
                    }
                    Some(path)
                }
                _ => return Err(foreign),
            }
        } else {
            (script == *own).then(|| wallet.path.to_vec())
        };
        if let Some(path) = change {
            lines.push(format!(
                "change {satoshi} satoshi ({} BTC) back to {to} at {}",
                coins(satoshi),
                path_text(&path)
            ));
            continue;
        }
        lines.push(format!(
            "transfer {satoshi} satoshi ({} BTC) to {to}",
            coins(satoshi)
        ));
        transfers.push(Transfer {
            kind: Kind::Transfer,
            asset: Asset::Native,
            from: *from,
            to,
            amount: Amount::from_u64(satoshi),
            instruction: index,
            selector: None,
        });
    }
    if transfers.is_empty() {
        return Err(Refusal::NoTransfer);
    }
    Ok((transfers, lines, sum))
}

fn coins(satoshi: u64) -> String {
    decimal(Amount::from_u64(satoshi), DECIMALS)
}

fn envelope(parsed: &Psbt, network: Network) -> String {
    let tx = &parsed.tx;
    let replaceable = if tx.is_explicitly_rbf() {
        "replaceable"
    } else {
        "final"
    };
    format!(
        "{} transaction of version {} in psbt version {}, {replaceable}, lock time {}, {} inputs, {} outputs",
        Chain::Bitcoin(network),
        tx.version.0,
        parsed.version,
        tx.lock_time.to_consensus_u32(),
        tx.input.len(),
        tx.output.len(),
    )
}

/// What each input's signature is over.
fn tasks(
    tx: &bitcoin::Transaction,
    spends: &[Spend],
    scheme: Scheme,
) -> Result<Vec<Task>, Refusal> {
    let previous: Vec<&TxOut> = spends.iter().map(|spend| &spend.previous).collect();
    let mut cache = SighashCache::new(tx);
    let each = spends.iter().enumerate();
    each.map(|(input, spend)| task(&mut cache, &previous, input, spend, scheme))
        .collect()
}

/// What one input's signature is over; `previous` is what all of them spend.
fn task(
    cache: &mut SighashCache<&bitcoin::Transaction>,
    previous: &[&TxOut],
    input: usize,
    spend: &Spend,
    scheme: Scheme,
) -> Result<Task, Refusal> {
    let digest = || Refusal::Malformed("the digest of an input");
    let (hash, message, tweak) = match scheme {
        Scheme::Bip340 => {
            let kind = if spend.all {
                TapSighashType::All
            } else {
                TapSighashType::Default
            };
            let message = cache
                .taproot_key_spend_signature_hash(input, &Prevouts::All(previous), kind)
                .map_err(|_| digest())?;
            let message = message.to_byte_array().to_vec();
            (Hash::None, message, Tweak::TaprootKeyPath)
        }
        Scheme::Ecdsa => {
            let TxOut {
                value,
                script_pubkey,
            } = &spend.previous;
            let code = script_pubkey.p2wpkh_script_code().ok_or_else(digest)?;
            let mut message = Vec::new();
            cache
                .segwit_v0_encode_signing_data_to(
                    &mut message,
                    input,
                    &code,
                    *value,
                    EcdsaSighashType::All,
                )
                .map_err(|_| digest())?;
            (Hash::DoubleSha256, message, Tweak::None)
        }
        Scheme::Ed25519 => return Err(digest()),
    };
    Ok(Task {
        scheme,
        path: spend.path.clone(),
        hash,
        message,
        tweak,
    })
}

impl Plan {
    /// The signed transaction.
    pub(crate) fn assemble(mut self, signatures: &[Vec<u8>]) -> Result<Vec<u8>, AssembleError> {
        let taproot = self
            .transaction
            .tasks
            .iter()
            .all(|task| task.scheme == Scheme::Bip340);
        let ends = self.tx.input.iter_mut().zip(&self.spends).zip(signatures);
        for (index, ((input, spend), signature)) in ends.enumerate() {
            let wrong = |why| AssembleError::Signature { index, why };
            input.witness = if taproot {
                let mut element = <[u8; 64]>::try_from(signature.as_slice())
                    .map_err(|_| wrong("it does not have 64 bytes"))?
                    .to_vec();
                if spend.all {
                    element.push(1);
                }
                Witness::from_slice(&[element])
            } else {
                let both = match signature.len() {
                    64 | 65 => signature.get(..64).unwrap_or_default(),
                    _ => return Err(wrong("it is not r and s")),
                };
                let parsed = secp256k1::ecdsa::Signature::from_compact(both)
                    .map_err(|_| wrong("it is not r and s"))?;
                let mut low = parsed;
                low.normalize_s();
                if low != parsed {
                    return Err(wrong("s is above half the order"));
                }
                let element = ecdsa::Signature::sighash_all(parsed).serialize();
                Witness::from_slice(&[element.as_ref(), spend.key.as_slice()])
            };
        }
        Ok(consensus::serialize(&self.tx))
    }
}
