//! RFC 9591, appendix E, and the vectors of the Zcash Foundation's crates, with all intermediate values.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "field and group operations wrap by definition"
)]

use super::commitment::Pair;
use super::nonces::SecretPair;
use super::package::Session;
use super::suite::{Ed25519Sha512, Secp256k1Sha256, Secp256k1Sha256Tr, Suite, lagrange_vartime};
use super::taproot::OutputKey;
use crate::codec::Reader;
use crate::group::{Point, Scalar};
use crate::id::{MAX_PARTIES, PartyIndex};
use crate::polynomial;
use crate::secret::SecretScalar;
use crate::verify;

#[path = "../../tests/frost/records.rs"]
pub(crate) mod records;

use records::Record;

fn index(number: u16) -> PartyIndex {
    PartyIndex::new(number).unwrap()
}

fn scalar<S: Suite>(record: &Record, name: &str) -> SecretScalar<S::Group> {
    SecretScalar::decode("vector", &record.array(name)).unwrap()
}

/// Runs one set and returns the group key, the message and the signature, after comparing every value on the way.
fn run<S: Suite>(case: &Record, signers: &[&Record]) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let secret = scalar::<S>(case, "secret");
    let (key, key_encoded, flipped) = S::normalize(&secret.mul_base(), secret.mul_base().encode());
    assert!(!flipped, "the vectors have keys with even y");
    assert_eq!(key_encoded.as_slice(), case.bytes("public"));
    let coefficient = scalar::<S>(case, "coefficient");
    let share = |number: u16| {
        let value = *secret.expose_secret()
            + Scalar::from_index(index(number)) * *coefficient.expose_secret();
        assert_eq!(
            value.encode().to_vec(),
            case.bytes(&format!("share.{number}"))
        );
        SecretScalar::new(value)
    };
    let shares: Vec<_> = (1..=3).map(share).collect();

    let mut nonces = Vec::new();
    let mut pairs = Vec::new();
    for signer in signers {
        let number: u16 = signer.text("index").parse().unwrap();
        let share = &shares[usize::from(number) - 1];
        let random = [
            signer.array("hiding_random"),
            signer.array("binding_random"),
        ];
        let (secrets, pair) = SecretPair::derive::<S>(&random[0], &random[1], share);
        let expected = [
            scalar::<S>(signer, "hiding_nonce"),
            scalar::<S>(signer, "binding_nonce"),
        ];
        assert_eq!(
            secrets.encoded(),
            expected.map(|nonce| nonce.expose_secret().encode())
        );
        let encoded: Vec<_> = pair.encoded().map(<[u8]>::to_vec).collect();
        assert_eq!(
            encoded,
            [signer.bytes("hiding_point"), signer.bytes("binding_point")]
        );
        assert!(Pair::<S>::read(&mut Reader::new(&encoded.concat())).is_ok());
        nonces.push((index(number), secrets));
        pairs.push((index(number), pair));
    }

    let message = case.bytes("message");
    let session =
        Session::<S>::new_vartime(OutputKey::unchanged(key, key_encoded), pairs, &message).unwrap();
    let mut sum = Scalar::zero();
    for ((number, secrets), signer) in nonces.into_iter().zip(signers) {
        let (input, factor) = session.factor(number, &message);
        assert_eq!(input, signer.bytes("factor_input"));
        assert_eq!(factor.encode().to_vec(), signer.bytes("factor"));
        let share = &shares[usize::from(number.get()) - 1];
        let answer = session.respond(number, secrets, share).unwrap();
        assert_eq!(answer.encode().to_vec(), signer.bytes("share"));
        assert!(session.verifies_share_vartime(number, &share.mul_base(), &answer));
        assert!(!session.verifies_share_vartime(number, &share.mul_base(), &-answer));
        sum += answer;
    }
    assert!(session.verifies_vartime(&sum));
    assert!(!session.verifies_vartime(&(sum + Scalar::one())));
    (
        key_encoded.as_slice().to_vec(),
        message,
        [session.nonce_encoded().as_slice(), &sum.encode()].concat(),
    )
}

#[test]
fn a45_published_vectors_with_all_intermediate_values() {
    let records = Record::parse(include_str!("../../tests/vectors/frost.txt"));
    let mut runs = 0;
    for (at, case) in records
        .iter()
        .enumerate()
        .filter(|(_, record)| record.text("record") == "case")
    {
        let signers: Vec<_> = records[at + 1..]
            .iter()
            .take_while(|record| record.text("record") == "signer")
            .collect();
        assert_eq!(signers.len(), 2);
        let expected = case.bytes("signature");
        match case.text("suite") {
            "ed25519" => {
                let (key, message, signature) = run::<Ed25519Sha512>(case, &signers);
                assert_eq!(signature, expected);
                assert!(verify::ed25519_verify_strict(
                    &key.try_into().unwrap(),
                    &message,
                    &signature.try_into().unwrap()
                ));
            }
            "secp256k1" => assert_eq!(run::<Secp256k1Sha256>(case, &signers).2, expected),
            "secp256k1-tr" => {
                let (key, message, signature) = run::<Secp256k1Sha256Tr>(case, &signers);
                assert_eq!(signature[1..], expected);
                assert!(verify::bip340_verify(
                    &key[1..].try_into().unwrap(),
                    &message,
                    &expected.try_into().unwrap()
                ));
            }
            other => panic!("unknown suite {other}"),
        }
        runs += 1;
    }
    assert_eq!(runs, 5);
}

fn coefficients_agree<S: Suite>() {
    for set in [vec![1, 2], vec![1, 3, 32], (1..=MAX_PARTIES).collect()] {
        let expected = polynomial::lagrange_at_zero::<S::Group>(
            &set.iter().map(|number| index(*number)).collect(),
        )
        .unwrap();
        for number in &set {
            assert!(
                lagrange_vartime::<S>(*number, set.iter().copied()) == expected[&index(*number)]
            );
        }
    }
}

#[test]
fn lagrange_coefficients_by_table_are_those_by_inversion() {
    coefficients_agree::<Ed25519Sha512>();
    coefficients_agree::<Secp256k1Sha256>();
    coefficients_agree::<Secp256k1Sha256Tr>();
}

/// RFC 9591 leaves a group commitment of the identity undefined; nobody signs under it.
fn cancelling_commitments<S: Suite>() {
    let secret = SecretScalar::<S::Group>::new(Scalar::from_u64(7));
    let (_, one) = SecretPair::derive::<S>(&[1; 32], &[2; 32], &secret);
    let key = OutputKey::unchanged(secret.mul_base(), secret.mul_base().encode());
    let identity = Point::identity();
    let nothing = Pair::<S>::raw(identity, identity, one);
    assert!(Session::new_vartime(key, [(index(1), nothing), (index(2), nothing)], b"").is_none());
}

#[test]
fn a48_a_group_commitment_of_the_identity_is_refused() {
    cancelling_commitments::<Ed25519Sha512>();
    cancelling_commitments::<Secp256k1Sha256Tr>();
}
