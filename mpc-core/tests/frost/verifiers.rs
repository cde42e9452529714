//! Published vectors for the two verifiers of finished signatures.

use mpc_core::verify;

use crate::records::Record;

/// Whether Ed25519 accepts; signatures and keys of a wrong length cannot even be asked about.
fn ed25519(case: &Record) -> bool {
    let (Ok(key), Ok(signature)) = (
        case.bytes("public").try_into(),
        case.bytes("signature").try_into(),
    ) else {
        return false;
    };
    verify::ed25519_verify_strict(&key, &case.bytes("message"), &signature)
}

fn check(text: &str, cases: usize, verifier: impl Fn(&Record) -> bool) {
    let records = Record::parse(text);
    assert_eq!(records.len(), cases);
    for case in &records {
        assert_eq!(
            verifier(case).to_string(),
            case.text("valid"),
            "case {}",
            case.text("case")
        );
    }
}

#[test]
fn a52_wycheproof_ed25519() {
    check(
        include_str!("../vectors/wycheproof_ed25519.txt"),
        151,
        ed25519,
    );
}

#[test]
fn rfc8032() {
    check(include_str!("../vectors/rfc8032.txt"), 4, ed25519);
}

#[test]
fn a52_small_order_keys_sign_nothing() {
    // Under the identity and the other small-order keys, (R, s) = (identity, 0) satisfies the equation without a factor of 8.
    let identity = {
        let mut bytes = [0; 32];
        bytes[0] = 1;
        bytes
    };
    let minus_one = {
        let mut bytes = [0xff; 32];
        (bytes[0], bytes[31]) = (0xec, 0x7f);
        bytes
    };
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&identity);
    for key in [identity, minus_one, [0; 32]] {
        for message in 0..16_u8 {
            assert!(!verify::ed25519_verify_strict(&key, &[message], &signature));
        }
    }
}

#[test]
fn bip340() {
    check(include_str!("../vectors/bip340.txt"), 19, |case| {
        verify::bip340_verify(
            &case.array("public"),
            &case.bytes("message"),
            &case.array("signature"),
        )
    });
}

#[test]
fn bip341_key_path_spends_verify_under_the_output_key() {
    let records = Record::parse(include_str!("../vectors/bip341.txt"));
    let outputs: Vec<_> = records
        .iter()
        .filter(|record| record.text("record") == "output")
        .collect();
    let spends: Vec<_> = records
        .iter()
        .filter(|record| record.text("record") == "spend")
        .collect();
    assert_eq!((outputs.len(), spends.len()), (7, 7));
    for spend in spends {
        let output = outputs
            .iter()
            .find(|output| output.text("internal") == spend.text("internal"))
            .unwrap();
        let (message, signature) = (spend.bytes("message"), spend.array("signature"));
        assert!(verify::bip340_verify(
            &output.array("output"),
            &message,
            &signature
        ));
        assert!(!verify::bip340_verify(
            &output.array("internal"),
            &message,
            &signature
        ));
    }
}
