//! Every PSBT that is not signed, and the reason that is given.

use bitcoin::ScriptBuf;
use bitcoin::consensus::serialize;
use policy::bitcoin::{MAX_ENDS, MAX_RATE, Refusal};
use policy::transaction::{self, Scheme, decode};

use crate::keys::Local;
use crate::psbt::{CHAIN, Case, Input, Maps, Output, script, stranger};

const SCHEMES: [Scheme; 2] = [Scheme::Bip340, Scheme::Ecdsa];

fn refusal(case: &Case, raw: &[u8]) -> Refusal {
    match decode(CHAIN, raw, &case.keys, &case.base) {
        Err(transaction::Refusal::Bitcoin(refusal)) => refusal,
        other => panic!("{other:?} is no refusal"),
    }
}

/// What a change to the maps leads to, in both versions and schemes.
fn everywhere(change: impl Fn(&mut Maps, u32), expected: impl Fn(u32) -> Refusal) {
    for scheme in SCHEMES {
        for version in [0, 2] {
            let case = Case::new(scheme);
            let mut maps = case.maps(version);
            change(&mut maps, version);
            assert_eq!(refusal(&case, &maps.write()), expected(version));
        }
    }
}

#[test]
fn a101_a_segwit_input_without_its_previous_transaction_is_refused() {
    let mut case = Case::new(Scheme::Ecdsa);
    case.outputs_alone = true;
    for version in [0, 2] {
        assert!(matches!(
            refusal(&case, &case.maps(version).write()),
            Refusal::Previous { input: 0, .. }
        ));
    }
}

#[test]
fn a101_a_lie_about_the_amount_is_refused() {
    for scheme in SCHEMES {
        let case = Case::new(scheme);
        // The output alone says something else than the whole transaction.
        let mut maps = case.maps(0);
        let mut output = case.previous(1).output[1].clone();
        output.value = bitcoin::Amount::from_sat(1);
        maps.inputs[1][0].1 = serialize(&output);
        assert!(matches!(
            refusal(&case, &maps.write()),
            Refusal::Previous { input: 1, .. }
        ));
        // The whole transaction is another one.
        let mut maps = case.maps(0);
        let mut previous = case.previous(1);
        previous.output[1].value = bitcoin::Amount::from_sat(1);
        maps.inputs[1][1].1 = serialize(&previous);
        assert!(matches!(
            refusal(&case, &maps.write()),
            Refusal::Previous { input: 1, .. }
        ));
    }
}

#[test]
fn a101_only_all_of_the_transaction_is_signed() {
    for scheme in SCHEMES {
        for kind in 0..=255_u32 {
            let mut case = Case::new(scheme);
            case.hash_type = Some(kind);
            let raw = case.maps(0).write();
            let fine = kind == 1 || (kind == 0 && scheme == Scheme::Bip340);
            if fine {
                assert!(decode(CHAIN, &raw, &case.keys, &case.base).is_ok());
            } else {
                let expected = Refusal::Sighash {
                    input: 0,
                    got: kind,
                };
                assert_eq!(refusal(&case, &raw), expected);
            }
        }
    }
}

#[test]
fn a101_an_input_of_somebody_else_is_refused() {
    for scheme in SCHEMES {
        let case = Case::new(scheme);
        let raw = case.maps(0).write();
        // The same transaction, asked of another wallet of the same key and of another key.
        let other = decode(CHAIN, &raw, &case.keys, &[4]);
        assert!(matches!(
            other,
            Err(transaction::Refusal::Bitcoin(Refusal::NotOurs {
                input: 0,
                ..
            }))
        ));
        let keys = Local::new(scheme, 8);
        let other = decode(CHAIN, &raw, &keys, &case.base);
        assert!(matches!(
            other,
            Err(transaction::Refusal::Bitcoin(Refusal::NotOurs {
                input: 0,
                ..
            }))
        ));
    }
}

#[test]
fn a101_foreign_change_is_refused() {
    for scheme in SCHEMES {
        let mut case = Case::new(scheme);
        case.outputs[1].script = stranger(2);
        assert_eq!(
            refusal(&case, &case.maps(0).write()),
            Refusal::ForeignChange { output: 1 }
        );
    }
}

#[test]
fn a101_a_key_of_the_other_type_of_output_is_no_change() {
    for (scheme, other) in [
        (Scheme::Bip340, Scheme::Ecdsa),
        (Scheme::Ecdsa, Scheme::Bip340),
    ] {
        let mut case = Case::new(scheme);
        // The same key under the other type of output: another purpose signs for it.
        case.outputs[1].script = script(&Local::new(other, 7), &[3, 1, 4]);
        assert_eq!(
            refusal(&case, &case.maps(0).write()),
            Refusal::ForeignChange { output: 1 }
        );
    }
}

#[test]
fn a_path_outside_of_the_wallet_is_refused() {
    for scheme in SCHEMES {
        for path in [vec![4, 0, 9], vec![3, 0, 9, 1], vec![]] {
            let mut case = Case::new(scheme);
            case.inputs[1].path.clone_from(&path);
            let found = refusal(&case, &case.maps(0).write());
            assert!(matches!(found, Refusal::Path { .. }), "{path:?}: {found}");
        }
        let case = Case::new(scheme);
        let mut maps = case.maps(0);
        let field = maps.inputs[1].last_mut().unwrap();
        let at = field.1.len() - 1;
        field.1[at] = 0x80;
        assert!(matches!(
            refusal(&case, &maps.write()),
            Refusal::Path { .. }
        ));
    }
}

#[test]
fn a_field_that_has_no_place_is_refused() {
    // Partial signatures, scripts, final scripts, preimages, taproot signatures and scripts, merkle root, proprietary, unknown.
    for kind in [
        0x02, 0x04, 0x05, 0x07, 0x08, 0x0a, 0x13, 0x14, 0x15, 0x18, 0x21, 0xfc,
    ] {
        everywhere(
            |maps, _| maps.inputs[0].push((vec![kind], vec![1, 2, 3])),
            |_| Refusal::Field(kind),
        );
    }
    for kind in [0x00, 0x01, 0x06, 0x21, 0xfc] {
        everywhere(
            |maps, _| maps.outputs[0].push((vec![kind], vec![1])),
            |_| Refusal::Field(kind),
        );
    }
    for kind in [0x01, 0x07, 0x21, 0xfc] {
        everywhere(
            |maps, _| maps.global.push((vec![kind], vec![1])),
            |_| Refusal::Field(kind),
        );
    }
    // Required lock times of version 2.
    for kind in [0x11, 0x12] {
        everywhere(
            |maps, _| maps.inputs[0].push((vec![kind], vec![1, 0, 0, 0])),
            |_| Refusal::Field(kind),
        );
    }
}

#[test]
fn fields_of_the_other_version_are_refused() {
    let case = Case::new(Scheme::Ecdsa);
    for (kind, value) in [(0x0e, vec![0; 32]), (0x0f, vec![0; 4]), (0x10, vec![0; 4])] {
        let mut maps = case.maps(0);
        maps.inputs[0].push((vec![kind], value));
        assert_eq!(refusal(&case, &maps.write()), Refusal::Field(kind));
    }
    let mut maps = case.maps(2);
    maps.global.push((vec![0], serialize(&case.unsigned())));
    assert_eq!(refusal(&case, &maps.write()), Refusal::Field(0));
    for version in [1_u32, 3] {
        let mut maps = case.maps(2);
        maps.global.last_mut().unwrap().1 = version.to_le_bytes().to_vec();
        assert_eq!(refusal(&case, &maps.write()), Refusal::Version(version));
    }
}

#[test]
fn a_field_twice_is_refused() {
    everywhere(
        |maps, _| {
            let field = maps.inputs[0][0].clone();
            maps.inputs[0].push(field);
        },
        |_| Refusal::Malformed("a field twice"),
    );
}

#[test]
fn a100_trailing_and_missing_bytes_are_refused() {
    for scheme in SCHEMES {
        for version in [0, 2] {
            let case = Case::new(scheme);
            let raw = case.maps(version).write();
            for end in 0..raw.len() {
                let cut = decode(CHAIN, &raw[..end], &case.keys, &case.base);
                assert!(cut.is_err(), "the first {end} bytes");
            }
            let long = [raw.as_slice(), &[0]].concat();
            assert_eq!(
                refusal(&case, &long),
                Refusal::Malformed("bytes behind the end")
            );
        }
    }
}

#[test]
fn a100_a_length_in_a_longer_form_is_refused() {
    let case = Case::new(Scheme::Ecdsa);
    let raw = case.maps(2).write();
    // The first key is one byte long, behind the magic.
    assert_eq!(raw[5], 1);
    let mut long = raw;
    long.splice(5..6, [0xfd, 1, 0]);
    assert_eq!(refusal(&case, &long), Refusal::Malformed("a length"));
}

#[test]
fn the_same_output_twice_is_refused() {
    for scheme in SCHEMES {
        let case = Case::new(scheme);
        let mut unsigned = case.unsigned();
        unsigned.input[1].previous_output = unsigned.input[0].previous_output;
        let mut maps = case.maps(0);
        maps.global[0].1 = serialize(&unsigned);
        maps.inputs[1] = maps.inputs[0].clone();
        assert_eq!(
            refusal(&case, &maps.write()),
            Refusal::DoubleSpend { input: 1 }
        );
    }
}

#[test]
fn a101_outputs_that_no_address_names_are_refused() {
    let unknown = [
        ScriptBuf::new_op_return([1, 2, 3]),
        ScriptBuf::new(),
        ScriptBuf::from_bytes([&[0x52, 32][..], &[1; 32]].concat()),
        ScriptBuf::from_bytes(vec![0x51, 2, 0x4e, 0x73]),
    ];
    for script in unknown {
        let mut case = Case::new(Scheme::Bip340);
        case.outputs[0].script = script;
        assert_eq!(
            refusal(&case, &case.maps(0).write()),
            Refusal::NotAnAddress { output: 0 }
        );
    }
}

#[test]
fn amounts_that_do_not_add_up_are_refused() {
    for scheme in SCHEMES {
        let mut case = Case::new(scheme);
        case.outputs[0].satoshi = 72_001;
        assert_eq!(refusal(&case, &case.maps(0).write()), Refusal::Amounts);
        case.outputs[0].satoshi = u64::MAX;
        assert_eq!(refusal(&case, &case.maps(2).write()), Refusal::Amounts);
    }
}

#[test]
fn a_transaction_that_pays_nobody_is_refused() {
    for scheme in SCHEMES {
        let mut case = Case::new(scheme);
        case.outputs.remove(0);
        assert_eq!(refusal(&case, &case.maps(0).write()), Refusal::NoTransfer);
    }
}

#[test]
fn other_versions_of_transactions_are_refused() {
    for version in [-1, 0, 3] {
        let mut case = Case::new(Scheme::Bip340);
        case.version = version;
        assert_eq!(
            refusal(&case, &case.maps(0).write()),
            Refusal::TransactionVersion(version)
        );
    }
}

#[test]
fn more_than_a_person_reads_is_refused() {
    let mut case = Case::new(Scheme::Bip340);
    case.outputs_alone = true;
    let many = (0..=MAX_ENDS).map(|_| Input {
        satoshi: 5_000,
        path: vec![3],
        sequence: 0,
    });
    case.inputs = many.collect();
    for version in [0, 2] {
        assert_eq!(
            refusal(&case, &case.maps(version).write()),
            Refusal::TooMany { max: MAX_ENDS }
        );
    }
}

#[test]
fn a_psbt_that_can_still_be_changed_is_refused() {
    let case = Case::new(Scheme::Ecdsa);
    for flags in [1, 2, 4] {
        let mut maps = case.maps(2);
        maps.global.push((vec![6], vec![flags]));
        assert_eq!(
            refusal(&case, &maps.write()),
            Refusal::Malformed("the transaction may still be changed")
        );
    }
    let mut maps = case.maps(2);
    maps.global.push((vec![6], vec![0]));
    assert!(decode(CHAIN, &maps.write(), &case.keys, &case.base).is_ok());
}

#[test]
fn a_transaction_that_is_signed_already_is_refused() {
    let case = Case::new(Scheme::Ecdsa);
    let mut unsigned = case.unsigned();
    unsigned.input[0].script_sig = ScriptBuf::from_bytes(vec![1, 2]);
    let mut maps = case.maps(0);
    maps.global[0].1 = serialize(&unsigned);
    assert_eq!(
        refusal(&case, &maps.write()),
        Refusal::Malformed("the unsigned transaction")
    );
}

#[test]
fn a101_a_fee_beyond_reason_is_refused_whatever_the_wallets_bound() {
    for scheme in SCHEMES {
        let mut case = Case::new(scheme);
        case.inputs[0].satoshi = 100_000_000;
        let found = refusal(&case, &case.maps(0).write());
        let Refusal::FeeRate { fee, vbytes } = found else {
            panic!("{found}");
        };
        assert_eq!(fee, 100_000_000 + 40_000 - 98_000);
        // Two inputs and two outputs: the sizes that every wallet's estimate comes to.
        let expected = if scheme == Scheme::Bip340 { 200 } else { 208 };
        assert_eq!(vbytes, expected);
        // The last satoshi that passes.
        let most = MAX_RATE * vbytes + 98_000 - 40_000;
        case.inputs[0].satoshi = most;
        assert!(decode(CHAIN, &case.maps(0).write(), &case.keys, &case.base).is_ok());
        case.inputs[0].satoshi = most + 1;
        assert!(matches!(
            refusal(&case, &case.maps(0).write()),
            Refusal::FeeRate { .. }
        ));
    }
}

#[test]
fn change_goes_back_where_wallets_look_for_it() {
    for scheme in SCHEMES {
        for (path, near) in [
            (vec![3], true),
            (vec![3, 1_000_000], true),
            (vec![3, 0, 0], true),
            (vec![3, 1, 1_000_000], true),
            (vec![3, 1_000_001], false),
            (vec![3, 1, 1_000_001], false),
            (vec![3, 2, 0], false),
            (vec![3, 1, 0x7fff_ffff], false),
        ] {
            let mut case = Case::new(scheme);
            case.outputs[1].script = script(&case.keys, &path);
            case.outputs[1].hint = Some(path.clone());
            let raw = case.maps(0).write();
            if near {
                let decoded = decode(CHAIN, &raw, &case.keys, &case.base).unwrap();
                assert_eq!(decoded.transfers.len(), 1, "{path:?}");
            } else {
                let found = refusal(&case, &raw);
                assert!(
                    matches!(found, Refusal::FarChange { output: 1, .. }),
                    "{path:?}"
                );
            }
        }
    }
}

#[test]
fn the_largest_transaction_still_fits_an_approval() {
    let mut case = Case::new(Scheme::Bip340);
    case.outputs_alone = true;
    let many = (0..MAX_ENDS).map(|_| Input {
        satoshi: 1 << 49,
        path: vec![3, 1, 999_999],
        sequence: 0xffff_fffd,
    });
    case.inputs = many.collect();
    let many = (1..MAX_ENDS).map(|_| Output {
        script: case.outputs[0].script.clone(),
        satoshi: 1 << 49,
        hint: None,
    });
    case.outputs = many.collect();
    case.outputs.push(Output {
        script: script(&case.keys, &[3, 1, 999_998]),
        satoshi: (1 << 49) - 20_000,
        hint: Some(vec![3, 1, 999_998]),
    });
    let decoded = decode(CHAIN, &case.maps(2).write(), &case.keys, &case.base).unwrap();
    // Each line stands behind a name and a number; a kilobyte for everything else in the statement.
    let lines = decoded.rendering.iter();
    let size: usize = lines.map(|line| line.len() + 12).sum();
    assert!(size + 1_024 <= policy::statement::MAX_BODY, "{size}");
}
