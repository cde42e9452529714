//! Honest signers: every quorum signs, with and without derivation, and independent libraries verify.

use std::collections::BTreeSet;

use k256::ecdsa::signature::hazmat::PrehashVerifier;
use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
use mpc_core::ecdsa::{self, EcdsaSignature, Payload, SigningRequest};
use mpc_core::hd::DerivationPath;
use mpc_core::id::{NodeId, Purpose};
use mpc_core::testing::{Signers, rng};
use mpc_core::{Error, Rejection};

/// Verifies with k256 and libsecp256k1, and recovers the key.
pub(crate) fn verify(request: &SigningRequest, signature: &EcdsaSignature) {
    let key = VerifyingKey::from_sec1_bytes(&request.public_key()).unwrap();
    let plain = Signature::from_slice(&signature.to_bytes()).unwrap();
    key.verify_prehash(request.digest(), &plain).unwrap();
    assert!(plain.normalize_s() == plain, "s is low");
    let recovery = RecoveryId::from_byte(signature.recovery_id()).unwrap();
    let recovered = VerifyingKey::recover_from_prehash(request.digest(), &plain, recovery).unwrap();
    assert_eq!(recovered, key);
    let message = secp256k1::Message::from_digest(*request.digest());
    let theirs = secp256k1::ecdsa::Signature::from_compact(&signature.to_bytes()).unwrap();
    let key = secp256k1::PublicKey::from_slice(&request.public_key()).unwrap();
    secp256k1::Secp256k1::verification_only()
        .verify_ecdsa(message, &theirs, &key)
        .unwrap();
}

fn subsets(parties: u16, size: u16) -> impl Iterator<Item = Vec<u16>> {
    (0_u32..1 << parties)
        .filter(move |mask| mask.count_ones() == u32::from(size))
        .map(move |mask| {
            (1..=parties)
                .filter(|index| (mask >> (index - 1)) & 1 == 1)
                .collect()
        })
}

fn sign(signers: &Signers, set: &BTreeSet<NodeId>, path: &DerivationPath, seed: u64) {
    let message = seed.to_be_bytes();
    let request = signers.request(set, path, &Payload::Keccak256(&message));
    let signature = signers.sign(signers.preprocess(set, seed), &request);
    verify(&request, &signature);
}

#[test]
fn every_quorum_of_every_committee_up_to_seven_signs() {
    let mut seed = 0;
    for parties in 2..=7 {
        for threshold in 2..=parties {
            let signers = Signers::deal(Purpose::Ecdsa, threshold, parties, u64::from(parties));
            for subset in subsets(parties, threshold) {
                seed += 1;
                let indices: Vec<u32> = (0..u32::try_from(seed % 3).unwrap()).collect();
                let path = DerivationPath::new(indices).unwrap();
                sign(&signers, &signers.set(&subset), &path, seed);
            }
        }
    }
    assert_eq!(seed, 219, "all quorums were tried");
}

/// What is wrong with an envelope does not matter to a signature that verifies, and names nobody where there is none.
#[test]
fn only_the_result_vouches_for_responses_and_only_their_signatures_accuse() {
    for threshold in [2, 3] {
        let signers = Signers::deal(Purpose::Ecdsa, threshold, 3, 1);
        let set = signers.set(&(1..=threshold).collect::<Vec<_>>());
        let payload = Payload::Keccak256(b"a message");
        let request = signers.request(&set, &DerivationPath::default(), &payload);
        let entries = signers.preprocess(&set, 1);
        let name = entries.values().next().unwrap().name();
        let (mut states, mut openings) = (Vec::new(), Vec::new());
        for (node, entry) in entries {
            let opened = signers.open(&node, entry, &request, &mut rng(2));
            let (state, opening) = opened.unwrap();
            states.push((node, state));
            openings.push(opening);
        }
        let roster = &signers.committee.roster;
        let respond = |(node, state): (NodeId, ecdsa::Opened)| {
            let identity = signers.committee.identity_of(&node);
            state.respond(roster, identity, &openings).unwrap()
        };
        let responses: Vec<_> = states.into_iter().map(respond).collect();
        let combine = |openings: &[Vec<u8>], responses: &[Vec<u8>]| {
            ecdsa::combine(roster, &request, &name, openings, responses)
        };
        let signature = combine(&openings, &responses).unwrap();
        verify(&request, &signature);
        let flipped = |envelopes: &[Vec<u8>], from_end: usize| {
            let mut envelopes = envelopes.to_vec();
            let place = envelopes[0].len() - from_end;
            envelopes[0][place] ^= 1;
            envelopes
        };
        // A bit of the sender's signature.
        assert_eq!(combine(&flipped(&openings, 1), &responses), Ok(signature));
        assert_eq!(combine(&openings, &flipped(&responses, 1)), Ok(signature));
        // A bit of u, w, the echo, R; and of what the openings end with.
        for from_end in [64 + 129, 64 + 97, 64 + 65, 64 + 1] {
            let refused = Err(Error::Rejected(Rejection::BadSignature));
            assert_eq!(combine(&openings, &flipped(&responses, from_end)), refused);
        }
        let refused = Err(Error::Rejected(Rejection::BadSignature));
        assert_eq!(combine(&flipped(&openings, 65), &responses), refused);
    }
}
