//! Writes PSBTs of both versions field by field, so that tests can put in what no library would.

use bitcoin::absolute::LockTime;
use bitcoin::consensus::serialize;
use bitcoin::hashes::Hash as _;
use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness};
use policy::address;
use policy::chain::{Address, Chain, Network};
use policy::transaction::{Scheme, WalletKeys};

use crate::keys::Local;

pub(crate) const CHAIN: Chain = Chain::Bitcoin(Network::Regtest);

/// One field: type and key, value.
pub(crate) type Field = (Vec<u8>, Vec<u8>);

/// A wallet's transaction to be.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) keys: Local,
    pub(crate) base: Vec<u32>,
    pub(crate) inputs: Vec<Input>,
    pub(crate) outputs: Vec<Output>,
    pub(crate) version: i32,
    pub(crate) lock_time: u32,
    /// Leave the whole previous transactions out and give the outputs alone.
    pub(crate) outputs_alone: bool,
    /// The signature hash type that the inputs ask for.
    pub(crate) hash_type: Option<u32>,
}

#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) satoshi: u64,
    pub(crate) path: Vec<u32>,
    pub(crate) sequence: u32,
}

#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) script: ScriptBuf,
    pub(crate) satoshi: u64,
    /// Where the PSBT says that the key is.
    pub(crate) hint: Option<Vec<u32>>,
}

/// The maps of a PSBT before they are written.
pub(crate) struct Maps {
    pub(crate) global: Vec<Field>,
    pub(crate) inputs: Vec<Vec<Field>>,
    pub(crate) outputs: Vec<Vec<Field>>,
}

impl Case {
    /// Two inputs, of the wallet itself and of a child, a payment and change.
    pub(crate) fn new(scheme: Scheme) -> Self {
        let keys = Local::new(scheme, 7);
        let base = vec![3];
        let change = vec![3, 1, 4];
        let output = |script, satoshi, hint| Output {
            script,
            satoshi,
            hint,
        };
        let outputs = vec![
            output(stranger(1), 70_000, None),
            output(script(&keys, &change), 28_000, Some(change)),
        ];
        let inputs = vec![
            Input {
                satoshi: 60_000,
                path: vec![3],
                sequence: 0xffff_fffd,
            },
            Input {
                satoshi: 40_000,
                path: vec![3, 0, 9],
                sequence: 0xffff_ffff,
            },
        ];
        Self {
            keys,
            base,
            inputs,
            outputs,
            version: 2,
            lock_time: 0,
            outputs_alone: false,
            hash_type: None,
        }
    }

    /// The transaction that made the output which an input spends.
    pub(crate) fn previous(&self, index: usize) -> Transaction {
        let input = &self.inputs[index];
        let txout = |script_pubkey, satoshi| TxOut {
            value: Amount::from_sat(satoshi),
            script_pubkey,
        };
        Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn {
                previous_output: OutPoint::new(
                    bitcoin::Txid::from_byte_array([9; 32]),
                    index as u32,
                ),
                script_sig: ScriptBuf::new(),
                sequence: Sequence::MAX,
                witness: Witness::new(),
            }],
            output: vec![
                txout(stranger(8), 1_000),
                txout(script(&self.keys, &input.path), input.satoshi),
            ],
        }
    }

    pub(crate) fn unsigned(&self) -> Transaction {
        let input = (0..self.inputs.len()).map(|index| TxIn {
            previous_output: OutPoint::new(self.previous(index).compute_txid(), 1),
            script_sig: ScriptBuf::new(),
            sequence: Sequence(self.inputs[index].sequence),
            witness: Witness::new(),
        });
        let output = self.outputs.iter().map(|output| TxOut {
            value: Amount::from_sat(output.satoshi),
            script_pubkey: output.script.clone(),
        });
        Transaction {
            version: Version(self.version),
            lock_time: LockTime::from_consensus(self.lock_time),
            input: input.collect(),
            output: output.collect(),
        }
    }

    /// The maps of the PSBT of version 0 or 2.
    pub(crate) fn maps(&self, version: u32) -> Maps {
        let unsigned = self.unsigned();
        let mut global = Vec::new();
        if version == 0 {
            global.push((vec![0], serialize(&unsigned)));
        } else {
            global.push((vec![2], self.version.to_le_bytes().to_vec()));
            global.push((vec![3], self.lock_time.to_le_bytes().to_vec()));
            global.push((vec![4], vec![self.inputs.len() as u8]));
            global.push((vec![5], vec![self.outputs.len() as u8]));
            global.push((vec![0xfb], version.to_le_bytes().to_vec()));
        }
        let inputs = self.inputs.iter().enumerate().map(|(index, input)| {
            let previous = self.previous(index);
            let mut fields = vec![(vec![1], serialize(&previous.output[1]))];
            if !self.outputs_alone {
                fields.push((vec![0], serialize(&previous)));
            }
            if let Some(kind) = self.hash_type {
                fields.push((vec![3], kind.to_le_bytes().to_vec()));
            }
            if version == 2 {
                let outpoint = unsigned.input[index].previous_output;
                fields.push((vec![0x0e], outpoint.txid.to_byte_array().to_vec()));
                fields.push((vec![0x0f], outpoint.vout.to_le_bytes().to_vec()));
                fields.push((vec![0x10], input.sequence.to_le_bytes().to_vec()));
            }
            if input.path != self.base {
                fields.push(self.hint(0x06, 0x16, &input.path));
            }
            fields
        });
        let outputs = self.outputs.iter().map(|output| {
            let mut fields = Vec::new();
            if version == 2 {
                fields.push((vec![3], output.satoshi.to_le_bytes().to_vec()));
                fields.push((vec![4], output.script.to_bytes()));
            }
            if let Some(path) = &output.hint {
                fields.push(self.hint(0x02, 0x07, path));
            }
            fields
        });
        Maps {
            global,
            inputs: inputs.collect(),
            outputs: outputs.collect(),
        }
    }

    /// Says that the key at a path is whose a script is.
    pub(crate) fn hint(&self, plain: u8, taproot: u8, path: &[u32]) -> Field {
        let key = self.keys.public_key_at(path).unwrap();
        let steps = path.iter().flat_map(|step| step.to_le_bytes());
        let origin = [0xaa; 4].into_iter().chain(steps);
        match self.keys.scheme().unwrap() {
            Scheme::Bip340 => (
                [&[taproot], &key[1..]].concat(),
                [0].into_iter().chain(origin).collect(),
            ),
            _ => ([&[plain], key.as_slice()].concat(), origin.collect()),
        }
    }
}

impl Maps {
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = b"psbt\xff".to_vec();
        for map in [&self.global]
            .into_iter()
            .chain(&self.inputs)
            .chain(&self.outputs)
        {
            for (key, value) in map {
                string(&mut out, key);
                string(&mut out, value);
            }
            out.push(0);
        }
        out
    }
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.len() < 0xfd {
        out.push(bytes.len() as u8);
    } else {
        out.push(0xfd);
        out.extend((bytes.len() as u16).to_le_bytes());
    }
    out.extend(bytes);
}

/// The output script of a key of the wallet.
pub(crate) fn script(keys: &Local, path: &[u32]) -> ScriptBuf {
    let scheme = keys.scheme().unwrap();
    let key = keys.public_key_at(path).unwrap();
    match address::at(CHAIN, scheme, &key).unwrap() {
        Address::Bitcoin(address) => address.script().to_script(),
        other => panic!("{other} is no bitcoin address"),
    }
}

/// Somebody else's output.
pub(crate) fn stranger(seed: u8) -> ScriptBuf {
    script(&Local::new(Scheme::Ecdsa, 100 + seed), &[])
}
