//! Published vectors for the verifier of finished ECDSA signatures.

use mpc_core::transcript::body_digest;
use mpc_core::verify;

use crate::records::Record;

/// The two numbers of a DER signature: one spelling each, as Bitcoin asks for.
fn from_der(bytes: &[u8]) -> Option<[u8; 64]> {
    fn integer(bytes: &[u8]) -> Option<([u8; 32], &[u8])> {
        let [0x02, len, rest @ ..] = bytes else {
            return None;
        };
        let (digits, rest) = rest.split_at_checked((*len).into())?;
        let digits = match digits {
            [0, next, ..] if *next >= 0x80 => &digits[1..],
            [0] | [1..0x80, ..] => digits,
            _ => return None,
        };
        let mut number = [0; 32];
        number
            .get_mut(32_usize.checked_sub(digits.len())?..)?
            .copy_from_slice(digits);
        Some((number, rest))
    }
    let [0x30, len, rest @ ..] = bytes else {
        return None;
    };
    let (r, rest) = integer(
        rest.get(..)
            .filter(|rest| rest.len() == usize::from(*len))?,
    )?;
    let (s, rest) = integer(rest)?;
    let mut both = [0; 64];
    both[..32].copy_from_slice(&r);
    both[32..].copy_from_slice(&s);
    rest.is_empty().then_some(both)
}

#[test]
fn a37_wycheproof_ecdsa_bitcoin() {
    let records = Record::parse(include_str!("../vectors/wycheproof_ecdsa_bitcoin.txt"));
    assert_eq!(records.len(), 463);
    let (mut accepted, mut numbers) = (0, 0);
    for case in &records {
        let signature = from_der(&case.bytes("signature"));
        numbers += usize::from(signature.is_some());
        let digest = body_digest(&case.bytes("message"));
        let valid = signature.is_some_and(|signature| {
            verify::ecdsa_verify(&case.bytes("public"), &digest, &signature)
        });
        assert_eq!(
            valid.to_string(),
            case.text("valid"),
            "case {}",
            case.text("case")
        );
        accepted += usize::from(valid);
    }
    assert_eq!(accepted, 162);
    assert!(
        numbers > 220,
        "{numbers} cases are about numbers and not about their encoding"
    );
}

#[test]
fn a37_numbers_out_of_range_and_keys_that_are_none_are_refused() {
    let records = Record::parse(include_str!("../vectors/wycheproof_ecdsa_bitcoin.txt"));
    let good = records
        .iter()
        .find(|case| case.text("valid") == "true")
        .unwrap();
    let signature = from_der(&good.bytes("signature")).unwrap();
    let (key, digest) = (good.bytes("public"), body_digest(&good.bytes("message")));
    assert!(verify::ecdsa_verify(&key, &digest, &signature));
    for half in [0..32, 32..64] {
        for fill in [0, 0xFF] {
            let mut changed = signature;
            changed[half.clone()].fill(fill);
            assert!(!verify::ecdsa_verify(&key, &digest, &changed));
        }
    }
    let mut other = digest;
    other[0] ^= 1;
    assert!(!verify::ecdsa_verify(&key, &other, &signature));
    for key in [
        vec![],
        vec![0],
        vec![0; 33],
        vec![2; 32],
        [&[4], &key[1..]].concat(),
    ] {
        assert!(!verify::ecdsa_verify(&key, &digest, &signature));
    }
}
