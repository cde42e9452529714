//! Partially signed transactions (BIP 174 and BIP 370), read strictly: only what an unsigned transaction needs.
//!
//! A field that is not known here, a field twice, a length that is not in its shortest form, a byte behind the end: the whole
//! is refused. Unknown fields are refused although the formats allow them, because no byte may be without a meaning that
//! was checked. Signatures, scripts and finished witnesses have no place in what is about to be signed.

use std::collections::BTreeMap;

use bitcoin::{
    Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness, absolute,
    consensus::{self, Decodable},
    hashes::Hash as _,
    transaction,
};

use super::Refusal;

/// What every PSBT starts with.
const MAGIC: &[u8; 5] = b"psbt\xff";

/// A parsed PSBT.
#[derive(Clone, Debug)]
pub(super) struct Psbt {
    /// 0 or 2.
    pub(super) version: u32,
    /// The transaction, without signatures.
    pub(super) tx: Transaction,
    pub(super) inputs: Vec<Input>,
    pub(super) outputs: Vec<Output>,
}

/// What is said about an input.
#[derive(Clone, Debug, Default)]
pub(super) struct Input {
    /// The whole transaction whose output it spends.
    pub(super) previous: Option<Transaction>,
    /// That output alone.
    pub(super) witness: Option<TxOut>,
    /// The sighash type that is asked for.
    pub(super) sighash: Option<u32>,
    /// Whose it is.
    pub(super) owner: Owner,
}

/// What is said about an output.
#[derive(Clone, Debug, Default)]
pub(super) struct Output {
    /// Whose it is, if it is said to be one of ours.
    pub(super) owner: Owner,
}

/// Where a key is said to be.
#[derive(Clone, Debug, Default)]
pub(super) struct Owner {
    /// The public key (33 bytes) or x-only key (32 bytes), and its path from the stored key.
    pub(super) origin: Option<(Vec<u8>, Vec<u32>)>,
    /// The x-only internal key.
    pub(super) internal: Option<Vec<u8>>,
}

type Map<'b> = BTreeMap<&'b [u8], &'b [u8]>;

impl Psbt {
    pub(super) fn parse(raw: &[u8]) -> Result<Self, Refusal> {
        let mut rest = raw
            .strip_prefix(MAGIC)
            .ok_or(Refusal::Malformed("the first bytes"))?;
        let mut global = map(&mut rest)?;
        let version = match global.remove([0xfb].as_slice()) {
            Some(bytes) => u32_le(bytes, "the version")?,
            None => 0,
        };
        let (tx, inputs, outputs) = match version {
            0 => version0(&mut global, &mut rest)?,
            2 => version2(&mut global, &mut rest)?,
            _ => return Err(Refusal::Version(version)),
        };
        nothing_else(&global)?;
        if !rest.is_empty() {
            return Err(Refusal::Malformed("bytes behind the end"));
        }
        Ok(Self {
            version,
            tx,
            inputs,
            outputs,
        })
    }
}

type Parts = (Transaction, Vec<Input>, Vec<Output>);

fn version0(global: &mut Map<'_>, rest: &mut &[u8]) -> Result<Parts, Refusal> {
    let bytes = global
        .remove([0].as_slice())
        .ok_or(Refusal::Malformed("the unsigned transaction"))?;
    let tx: Transaction = exact(bytes, "the unsigned transaction")?;
    let signed = tx
        .input
        .iter()
        .any(|input| !input.script_sig.is_empty() || !input.witness.is_empty());
    if signed || consensus::serialize(&tx) != bytes {
        return Err(Refusal::Malformed("the unsigned transaction"));
    }
    let mut inputs = Vec::new();
    for _ in &tx.input {
        let mut fields = map(rest)?;
        inputs.push(input(&mut fields)?);
        nothing_else(&fields)?;
    }
    let mut outputs = Vec::new();
    for _ in &tx.output {
        let mut fields = map(rest)?;
        outputs.push(output(&mut fields)?);
        nothing_else(&fields)?;
    }
    Ok((tx, inputs, outputs))
}

fn version2(global: &mut Map<'_>, rest: &mut &[u8]) -> Result<Parts, Refusal> {
    let mut number = |key: u8, what| {
        global
            .remove([key].as_slice())
            .map(|bytes| u32_le(bytes, what))
            .transpose()
    };
    let tx_version =
        number(2, "the transaction's version")?.ok_or(Refusal::Malformed("the version"))?;
    let locktime = number(3, "the lock time")?.unwrap_or(0);
    let mut count = |key: u8, what| {
        let bytes = global
            .remove([key].as_slice())
            .ok_or(Refusal::Malformed(what))?;
        let mut bytes = bytes;
        let count = compact(&mut bytes)?;
        if bytes.is_empty() && count <= super::MAX_ENDS {
            Ok(count)
        } else {
            Err(Refusal::TooMany {
                max: super::MAX_ENDS,
            })
        }
    };
    let (ins, outs) = (count(4, "the input count")?, count(5, "the output count")?);
    if let Some(flags) = global.remove([6].as_slice())
        && flags != [0]
    {
        return Err(Refusal::Malformed("the transaction may still be changed"));
    }
    let mut tx = Transaction {
        version: transaction::Version(i32::from_le_bytes(tx_version.to_le_bytes())),
        lock_time: absolute::LockTime::from_consensus(locktime),
        input: Vec::new(),
        output: Vec::new(),
    };
    let mut inputs = Vec::new();
    for _ in 0..ins {
        let mut fields = map(rest)?;
        let missing = Refusal::Malformed("the spent output's name");
        let txid = fields
            .remove([0x0e].as_slice())
            .ok_or_else(|| missing.clone())?;
        let txid = <[u8; 32]>::try_from(txid).map_err(|_| missing.clone())?;
        let vout = fields.remove([0x0f].as_slice()).ok_or(missing)?;
        let sequence = match fields.remove([0x10].as_slice()) {
            Some(bytes) => Sequence(u32_le(bytes, "the sequence")?),
            None => Sequence::MAX,
        };
        tx.input.push(TxIn {
            previous_output: OutPoint {
                txid: Txid::from_byte_array(txid),
                vout: u32_le(vout, "the spent output's index")?,
            },
            script_sig: ScriptBuf::new(),
            sequence,
            witness: Witness::new(),
        });
        inputs.push(input(&mut fields)?);
        nothing_else(&fields)?;
    }
    let mut outputs = Vec::new();
    for _ in 0..outs {
        let mut fields = map(rest)?;
        let amount = fields
            .remove([3].as_slice())
            .and_then(|bytes| <[u8; 8]>::try_from(bytes).ok())
            .ok_or(Refusal::Malformed("an output's amount"))?;
        let script = fields
            .remove([4].as_slice())
            .ok_or(Refusal::Malformed("an output's script"))?;
        tx.output.push(TxOut {
            value: Amount::from_sat(u64::from_le_bytes(amount)),
            script_pubkey: ScriptBuf::from_bytes(script.to_vec()),
        });
        outputs.push(output(&mut fields)?);
        nothing_else(&fields)?;
    }
    Ok((tx, inputs, outputs))
}

fn input(fields: &mut Map<'_>) -> Result<Input, Refusal> {
    let previous = fields
        .remove([0].as_slice())
        .map(|bytes| exact(bytes, "a previous transaction"))
        .transpose()?;
    let witness = fields
        .remove([1].as_slice())
        .map(|bytes| exact(bytes, "a spent output"))
        .transpose()?;
    let sighash = fields
        .remove([3].as_slice())
        .map(|bytes| u32_le(bytes, "the sighash type"))
        .transpose()?;
    Ok(Input {
        previous,
        witness,
        sighash,
        owner: owner(fields, [0x06, 0x16, 0x17])?,
    })
}

fn output(fields: &mut Map<'_>) -> Result<Output, Refusal> {
    Ok(Output {
        owner: owner(fields, [0x02, 0x07, 0x05])?,
    })
}

/// Reads whose an input or output is: the types of the derivation, the taproot derivation, the internal key.
fn owner(fields: &mut Map<'_>, [plain, taproot, internal]: [u8; 3]) -> Result<Owner, Refusal> {
    let found: Vec<&[u8]> = fields
        .keys()
        .copied()
        .filter(|key| {
            matches!((key.first(), key.len()), (Some(kind), 34) if *kind == plain)
                || matches!((key.first(), key.len()), (Some(kind), 33) if *kind == taproot)
        })
        .collect();
    let origin = match found.as_slice() {
        [] => None,
        [field] => {
            let value = fields.remove(field).unwrap_or_default();
            let key = field.get(1..).unwrap_or_default();
            let value = if key.len() == 32 {
                // How many scripts use the key: none, it spends alone.
                value
                    .strip_prefix(&[0])
                    .ok_or(Refusal::Malformed("a taproot derivation"))?
            } else {
                value
            };
            Some((key.to_vec(), steps(value)?))
        }
        _ => {
            return Err(Refusal::Malformed(
                "more than one key of an input or output",
            ));
        }
    };
    let internal = fields.remove([internal].as_slice()).map(<[u8]>::to_vec);
    Ok(Owner { origin, internal })
}

/// A path behind the four bytes of a fingerprint, which names the root and is not needed: the key itself is compared.
fn steps(value: &[u8]) -> Result<Vec<u32>, Refusal> {
    let wrong = Refusal::Malformed("a derivation path");
    let (_, path) = value
        .split_first_chunk::<4>()
        .ok_or_else(|| wrong.clone())?;
    let (steps, rest) = path.as_chunks::<4>();
    if rest.is_empty() {
        Ok(steps.iter().map(|step| u32::from_le_bytes(*step)).collect())
    } else {
        Err(wrong)
    }
}

/// One map: keys and values up to the zero that ends it.
fn map<'b>(rest: &mut &'b [u8]) -> Result<Map<'b>, Refusal> {
    let mut fields = BTreeMap::new();
    loop {
        let key = bytes(rest)?;
        if key.is_empty() {
            return Ok(fields);
        }
        if fields.insert(key, bytes(rest)?).is_some() {
            return Err(Refusal::Malformed("a field twice"));
        }
    }
}

fn bytes<'b>(rest: &mut &'b [u8]) -> Result<&'b [u8], Refusal> {
    let len = compact(rest)?;
    let (bytes, after) = rest
        .split_at_checked(len)
        .ok_or(Refusal::Malformed("a length"))?;
    *rest = after;
    Ok(bytes)
}

/// A length in its shortest form.
fn compact(rest: &mut &[u8]) -> Result<usize, Refusal> {
    let wrong = Refusal::Malformed("a length");
    // The shortest form is what the library insists on too.
    let value = consensus::encode::VarInt::consensus_decode(rest).map_err(|_| wrong.clone())?;
    usize::try_from(value.0).map_err(|_| wrong)
}

fn u32_le(bytes: &[u8], what: &'static str) -> Result<u32, Refusal> {
    <[u8; 4]>::try_from(bytes)
        .map(u32::from_le_bytes)
        .map_err(|_| Refusal::Malformed(what))
}

/// Decodes all of the bytes.
fn exact<T: Decodable>(bytes: &[u8], what: &'static str) -> Result<T, Refusal> {
    consensus::deserialize(bytes).map_err(|_| Refusal::Malformed(what))
}

fn nothing_else(fields: &Map<'_>) -> Result<(), Refusal> {
    match fields.keys().next().and_then(|key| key.first()) {
        None => Ok(()),
        Some(kind) => Err(Refusal::Field(*kind)),
    }
}
