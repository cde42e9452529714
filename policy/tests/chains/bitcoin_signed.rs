//! Transactions that are signed, and what becomes of them under Bitcoin's own consensus code.

use bitcoin::consensus::deserialize;
use bitcoin::{Psbt, ScriptBuf, Transaction};
use bitcoinconsensus::{Utxo, VERIFY_ALL_PRE_TAPROOT, VERIFY_TAPROOT, verify_with_flags};
use policy::amount::Amount;
use policy::chain::{Address, BitcoinAddress, BitcoinScript, Network};
use policy::transaction::{AssembleError, Scheme, assemble, decode};
use proptest::prelude::*;

use crate::psbt::{CHAIN, Case, Input, Output, script, stranger};

const SCHEMES: [Scheme; 2] = [Scheme::Bip340, Scheme::Ecdsa];

fn signatures(case: &Case, raw: &[u8]) -> Vec<Vec<u8>> {
    let decoded = decode(CHAIN, raw, &case.keys, &case.base).unwrap();
    decoded
        .tasks
        .iter()
        .map(|task| case.keys.sign(task))
        .collect()
}

/// Bitcoin's consensus code on one input of a signed transaction.
fn accepted(case: &Case, signed: &[u8], index: usize) -> bool {
    let spent: Vec<bitcoin::TxOut> = (0..case.inputs.len())
        .map(|index| case.previous(index).output[1].clone())
        .collect();
    let utxos: Vec<Utxo> = spent
        .iter()
        .map(|output| Utxo {
            script_pubkey: output.script_pubkey.as_bytes().as_ptr(),
            script_pubkey_len: output.script_pubkey.len() as u32,
            value: i64::try_from(output.value.to_sat()).unwrap(),
        })
        .collect();
    let flags = VERIFY_ALL_PRE_TAPROOT | VERIFY_TAPROOT;
    let output = &spent[index];
    let script = output.script_pubkey.as_bytes();
    verify_with_flags(
        script,
        output.value.to_sat(),
        signed,
        Some(&utxos),
        index,
        flags,
    )
    .is_ok()
}

fn all_accepted(case: &Case, signed: &[u8]) -> bool {
    (0..case.inputs.len()).all(|index| accepted(case, signed, index))
}

#[test]
fn bitcoins_consensus_code_accepts_what_is_assembled() {
    for scheme in SCHEMES {
        for version in [0, 2] {
            for hash_type in [None, Some(1)] {
                let mut case = Case::new(scheme);
                case.hash_type = hash_type;
                case.lock_time = 500_000;
                let raw = case.maps(version).write();
                let signatures = signatures(&case, &raw);
                let signed = assemble(CHAIN, &raw, &case.keys, &case.base, &signatures).unwrap();
                assert!(
                    all_accepted(&case, &signed),
                    "{scheme:?} {version} {hash_type:?}"
                );
                let transaction: Transaction = deserialize(&signed).unwrap();
                let unsigned = case.unsigned();
                assert_eq!(transaction.compute_txid(), unsigned.compute_txid());
            }
        }
    }
}

#[test]
fn bitcoins_consensus_code_refuses_signatures_in_the_wrong_place() {
    for scheme in SCHEMES {
        let case = Case::new(scheme);
        let raw = case.maps(0).write();
        let mut signatures = signatures(&case, &raw);
        signatures.reverse();
        let signed = assemble(CHAIN, &raw, &case.keys, &case.base, &signatures).unwrap();
        assert!(!accepted(&case, &signed, 0));
        assert!(!accepted(&case, &signed, 1));
    }
}

#[test]
fn a101_taproot_needs_no_previous_transaction_because_amounts_are_signed() {
    let mut case = Case::new(Scheme::Bip340);
    case.outputs_alone = true;
    let raw = case.maps(0).write();
    let good = signatures(&case, &raw);
    let signed = assemble(CHAIN, &raw, &case.keys, &case.base, &good).unwrap();
    assert!(all_accepted(&case, &signed));
    // A lie about an amount makes signatures that the network refuses on every input.
    let mut lie = case.maps(0);
    let mut said = case.previous(1).output[1].clone();
    said.value = bitcoin::Amount::from_sat(40_001);
    lie.inputs[1][0].1 = bitcoin::consensus::serialize(&said);
    let raw = lie.write();
    let signatures = signatures(&case, &raw);
    let signed = assemble(CHAIN, &raw, &case.keys, &case.base, &signatures).unwrap();
    assert!(!accepted(&case, &signed, 0));
    assert!(!accepted(&case, &signed, 1));
}

#[test]
fn signatures_of_another_form_are_not_put_in() {
    for (scheme, len, fine) in [
        (Scheme::Bip340, 64, true),
        (Scheme::Bip340, 65, false),
        (Scheme::Ecdsa, 65, true),
        (Scheme::Ecdsa, 66, false),
        (Scheme::Ecdsa, 63, false),
    ] {
        let case = Case::new(scheme);
        let raw = case.maps(0).write();
        let mut signatures = signatures(&case, &raw);
        signatures[1].resize(len, 0);
        let made = assemble(CHAIN, &raw, &case.keys, &case.base, &signatures);
        match made {
            Ok(_) => assert!(fine),
            Err(AssembleError::Signature { index: 1, .. }) => assert!(!fine),
            Err(other) => panic!("{other}"),
        }
        signatures.pop();
        assert_eq!(
            assemble(CHAIN, &raw, &case.keys, &case.base, &signatures),
            Err(AssembleError::Count { needed: 2, got: 1 })
        );
    }
}

#[test]
fn a100_the_library_reads_the_same_psbt() {
    for scheme in SCHEMES {
        let case = Case::new(scheme);
        let raw = case.maps(0).write();
        let theirs = Psbt::deserialize(&raw).unwrap();
        let ours = decode(CHAIN, &raw, &case.keys, &case.base).unwrap();
        let fee = theirs.fee().unwrap().to_sat();
        assert_eq!(ours.fee_max, Amount::from_u64(fee));
        // What the library writes, in its own order of fields, is read to the same.
        let again = decode(CHAIN, &theirs.serialize(), &case.keys, &case.base).unwrap();
        assert_eq!(again, ours);
    }
}

#[test]
fn both_versions_say_the_same() {
    for scheme in SCHEMES {
        let case = Case::new(scheme);
        let [zero, two] = [0, 2].map(|version| {
            let raw = case.maps(version).write();
            decode(CHAIN, &raw, &case.keys, &case.base).unwrap()
        });
        assert_eq!(zero.tasks, two.tasks);
        assert_eq!(zero.transfers, two.transfers);
        assert_eq!(zero.fee_max, two.fee_max);
    }
}

#[test]
fn a101_change_is_what_is_derived_here_and_nothing_else() {
    for scheme in SCHEMES {
        let case = Case::new(scheme);
        let decoded = decode(CHAIN, &case.maps(0).write(), &case.keys, &case.base).unwrap();
        let [payment] = decoded.transfers.as_slice() else {
            panic!("one payment: {:?}", decoded.transfers);
        };
        let script = BitcoinScript::read(&stranger(1)).unwrap();
        let to = Address::Bitcoin(BitcoinAddress::new(Network::Regtest, script));
        assert_eq!((payment.to, payment.amount), (to, Amount::from_u64(70_000)));
        assert_eq!(decoded.fee_max, Amount::from_u64(2_000));
        let words = decoded.rendering.join("\n");
        for word in [
            "70000",
            "28000",
            "m/3/1/4",
            "m/3/0/9",
            "60000",
            "2000",
            &to.to_string(),
        ] {
            assert!(words.contains(word), "{word} is missing in\n{words}");
        }

        // Without the hint nobody can know: it is a payment to a stranger's address.
        let mut maps = case.maps(0);
        maps.outputs[1].clear();
        let decoded = decode(CHAIN, &maps.write(), &case.keys, &case.base).unwrap();
        assert_eq!(decoded.transfers.len(), 2);
    }
}

/// What a property test puts together.
fn cases() -> impl Strategy<Value = Case> {
    let input = (
        1_000_u64..1 << 40,
        prop_oneof![Just(None), (0_u32..2, 0_u32..1_000).prop_map(Some)],
    );
    let output = (1_u64..1_000_000, 0_u8..8, any::<bool>());
    (
        prop::sample::select(&SCHEMES),
        prop::collection::vec(input, 1..4),
        prop::collection::vec(output, 0..4),
        1_u8..8,
        1_u64..500,
        prop::sample::select(&[0xffff_ffff_u32, 0xffff_fffe, 0xffff_fffd, 0]),
    )
        .prop_map(|(scheme, inputs, outputs, pays, amount, sequence)| {
            let mut case = Case::new(scheme);
            case.inputs = inputs
                .into_iter()
                .map(|(satoshi, below)| Input {
                    satoshi: satoshi + 10_000_000,
                    path: below.map_or_else(|| vec![3], |(change, index)| vec![3, change, index]),
                    sequence,
                })
                .collect();
            let first = Output {
                script: stranger(pays),
                satoshi: amount,
                hint: None,
            };
            let rest = outputs.into_iter().map(|(satoshi, seed, own)| {
                let path = vec![3, 1, seed.into()];
                Output {
                    script: if own {
                        script(&case.keys, &path)
                    } else {
                        stranger(seed)
                    },
                    satoshi,
                    hint: own.then_some(path),
                }
            });
            let mut outputs: Vec<Output> = [first].into_iter().chain(rest).collect();
            // What is left beside a small fee returns, so that the fee is one that somebody would pay.
            let total: u64 = case.inputs.iter().map(|input| input.satoshi).sum();
            let spent: u64 = outputs.iter().map(|output| output.satoshi).sum();
            outputs.push(Output {
                script: script(&case.keys, &[3]),
                satoshi: total - spent - 1_234,
                hint: None,
            });
            case.outputs = outputs;
            case
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_built_is_what_is_decoded(case in cases(), version in prop::sample::select(&[0_u32, 2])) {
        let raw = case.maps(version).write();
        let decoded = decode(CHAIN, &raw, &case.keys, &case.base).unwrap();
        let own = script(&case.keys, &[3]);
        let payments: Vec<(ScriptBuf, u64)> = case
            .outputs
            .iter()
            .filter(|output| output.hint.is_none() && output.script != own)
            .map(|output| (output.script.clone(), output.satoshi))
            .collect();
        let found: Vec<(ScriptBuf, u64)> = decoded
            .transfers
            .iter()
            .map(|transfer| {
                let Address::Bitcoin(to) = transfer.to else { panic!("{:?}", transfer.to) };
                (to.script().to_script(), transfer.amount.to_u64().unwrap())
            })
            .collect();
        prop_assert_eq!(found, payments);
        prop_assert_eq!(decoded.fee_max, Amount::from_u64(1_234));
        prop_assert_eq!(decoded.tasks.len(), case.inputs.len());
        let signatures: Vec<Vec<u8>> = decoded.tasks.iter().map(|task| case.keys.sign(task)).collect();
        let signed = assemble(CHAIN, &raw, &case.keys, &case.base, &signatures).unwrap();
        prop_assert!(all_accepted(&case, &signed));
    }

    /// Whatever is changed in the bytes: either it is refused, or it means the same, or other messages are signed.
    #[test]
    fn a100_no_changed_byte_changes_the_meaning_of_what_is_signed(
        scheme in prop::sample::select(&SCHEMES),
        version in prop::sample::select(&[0_u32, 2]),
        at in any::<prop::sample::Index>(),
        flip in 1_u8..=255,
    ) {
        let case = Case::new(scheme);
        let raw = case.maps(version).write();
        let before = decode(CHAIN, &raw, &case.keys, &case.base).unwrap();
        let mut changed = raw.clone();
        let at = at.index(raw.len());
        changed[at] ^= flip;
        if let Ok(after) = decode(CHAIN, &changed, &case.keys, &case.base)
            && after.tasks == before.tasks
        {
            prop_assert_eq!(after.transfers, before.transfers);
            prop_assert_eq!(after.fee_max, before.fee_max);
        }
    }

    #[test]
    fn the_decoder_is_total(mut bytes in prop::collection::vec(any::<u8>(), 0..400), magic in any::<bool>()) {
        if magic {
            bytes.splice(..0, *b"psbt\xff");
        }
        let case = Case::new(Scheme::Ecdsa);
        prop_assert!(decode(CHAIN, &bytes, &case.keys, &case.base).is_err());
    }
}
