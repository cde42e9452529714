//! Signatures of child keys: by every quorum, robust, and with evidence that knows the path.

use mpc_core::evidence::{self, EvidenceError};
use mpc_core::frost::robust::{Action, Coordinator};
use mpc_core::frost::{self, Package, SignatureShare, SigningRequest, Tweak, wire};
use mpc_core::hd::DerivationPath;
use mpc_core::id::{Attempt, Purpose, RequestId};
use mpc_core::{Error, Fault, Misuse, Rejection};

use crate::committee::{Committee, accepts, index, subsets};
use crate::signing::with_facts;

const REQUEST: RequestId = RequestId::from_bytes([0x22; 32]);
const ATTEMPT: Attempt = Attempt(1);

fn path(text: &str) -> DerivationPath {
    text.parse().unwrap()
}

/// Every form of request that a purpose has.
fn requests() -> Vec<(Purpose, SigningRequest)> {
    let tweaks = [
        (Purpose::Ed25519, Tweak::None),
        (Purpose::Bip340, Tweak::PlainBip340),
        (Purpose::Bip340, Tweak::TaprootKeyPath { merkle_root: None }),
        (
            Purpose::Bip340,
            Tweak::TaprootKeyPath {
                merkle_root: Some([5; 32]),
            },
        ),
    ];
    tweaks
        .into_iter()
        .map(|(purpose, tweak)| {
            let request = SigningRequest::new(purpose, b"from a child".to_vec(), tweak);
            (purpose, request.unwrap())
        })
        .collect()
}

#[test]
fn every_quorum_signs_for_every_child() {
    for (threshold, parties) in [(2, 3), (3, 4)] {
        for (seed, (purpose, request)) in (100..).zip(requests()) {
            let committee = Committee::deal(purpose, threshold, parties, seed);
            for text in [
                "m",
                "m/0",
                "m/1/2147483647",
                "m/0/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15",
            ] {
                let request = request.clone().with_path(path(text));
                let mut keys = Vec::new();
                for signers in subsets(parties, u32::from(threshold)) {
                    committee.sign(&signers, &request, seed).unwrap();
                    let (_, commitments) = committee.commit(&signers, seed);
                    let package = Package::new(&committee.public, commitments, &request).unwrap();
                    keys.push(package.output_key());
                }
                keys.dedup();
                assert_eq!(keys.len(), 1, "every quorum signs for one key");
                let child = committee.public.derive(&path(text)).unwrap().public_key;
                match request.tweak() {
                    Tweak::None => assert_eq!(keys[0], child[..]),
                    Tweak::PlainBip340 => assert_eq!(keys[0], child[1..]),
                    Tweak::TaprootKeyPath { .. } => assert_ne!(keys[0], child[1..]),
                }
            }
        }
    }
}

#[test]
fn every_share_is_verified_under_the_child() {
    for (seed, (purpose, request)) in (200..).zip(requests()) {
        // Eight keys, so that children and outputs are odd and even.
        for seed in (0..8).map(|number| seed + 10 * number) {
            let committee = Committee::deal(purpose, 2, 3, seed);
            let request = request.clone().with_path(path("m/3/1"));
            let (nonces, commitments) = committee.commit(&[1, 3], seed);
            let (package, shares) = committee.respond(nonces, &commitments, &request).unwrap();
            let parent = request.clone().with_path(path("m/3"));
            let (nonces, _) = committee.commit(&[1, 3], seed);
            let (other, of_the_parent) = committee.respond(nonces, &commitments, &parent).unwrap();
            for (index, share) in &shares {
                assert_eq!(frost::verify_share(&package, *index, share), Ok(()));
                assert!(frost::verify_share(&other, *index, share).is_err());
                assert!(frost::verify_share(&package, *index, &of_the_parent[index]).is_err());
            }
            let signature = frost::aggregate(&package, &shares).unwrap();
            assert!(accepts(&package, &signature) && !accepts(&other, &signature));
        }
    }
}

#[test]
fn a_liar_does_not_stop_the_signature_of_a_child() {
    for (seed, (purpose, request)) in (300..).zip(requests()) {
        let committee = Committee::deal(purpose, 2, 3, seed);
        let request = request.with_path(path("m/9"));
        let mut coordinator = Coordinator::new(committee.public.clone(), request).unwrap();
        let (mut nonces, mut actions) = (Vec::new(), Vec::new());
        for round in 0..2 {
            let (secrets, commitments) = committee.commit(&[1, 2, 3], seed + 1000 * round);
            nonces.push(secrets);
            for (index, commitment) in commitments {
                actions.extend(coordinator.on_commitment(index, commitment).unwrap());
            }
        }
        let (liar, mut signature) = (index(2), None);
        while let Some(action) = actions.pop() {
            let (attempt, package) = match action {
                Action::Ask { attempt, package } => (attempt, package),
                Action::Done(done) => {
                    signature = Some(done);
                    continue;
                }
                Action::Exclude { index, .. } => {
                    assert_eq!(index, liar);
                    continue;
                }
            };
            for index in package.signers().keys() {
                let share = if *index == liar {
                    SignatureShare::decode(purpose, &[1; 32]).unwrap()
                } else {
                    let asked = package.commitment(*index);
                    let own = nonces.iter_mut().find_map(|round| {
                        let found = *round.get(index)?.commitment();
                        (Some(found) == asked).then(|| round.remove(index))?
                    });
                    frost::sign(own.unwrap(), &committee.shares[index], &package).unwrap()
                };
                match coordinator.on_share(*index, attempt, share) {
                    Ok(more) => actions.extend(more),
                    Err(Error::Rejected(Rejection::Finished)) => {}
                    Err(other) => panic!("{other:?}"),
                }
            }
        }
        assert!(signature.is_some());
    }
}

#[test]
fn a50_evidence_about_the_share_of_a_child_knows_the_path() {
    for (seed, (purpose, request)) in (400..).zip(requests()) {
        let committee = Committee::deal(purpose, 2, 3, seed);
        let request = request.with_path(path("m/4/2"));
        let (nonces, commitments) = committee.commit(&[1, 2], seed);
        let (package, shares) = committee.respond(nonces, &commitments, &request).unwrap();
        let seal = |share: &SignatureShare| {
            let identity = &committee.identities[&index(1)];
            wire::seal_share(identity, &package, REQUEST, ATTEMPT, share).unwrap()
        };
        let open = |package: &Package, bytes: &[u8]| {
            wire::open_share(&committee.roster, package, REQUEST, ATTEMPT, bytes)
        };
        let right = seal(&shares[&index(1)]);
        assert_eq!(open(&package, &right), Ok((index(1), shares[&index(1)])));
        for elsewhere in ["m", "m/4", "m/2/4", "m/4/2/0"] {
            let request = request.clone().with_path(path(elsewhere));
            let other = Package::new(&committee.public, commitments.clone(), &request).unwrap();
            assert_eq!(open(&other, &right), Err(Rejection::WrongSession.into()));
        }
        let convict = |bytes| wire::convict(&committee.roster, &package, REQUEST, ATTEMPT, bytes);
        assert_eq!(convict(&right), Err(Misuse::NoFault.into()));
        let wrong = seal(&shares[&index(2)]);
        let proof = convict(&wrong).unwrap().evidence.unwrap().encode();
        let judged = |bytes: &[u8]| evidence::verify(&committee.roster, bytes);
        let node = committee.public.node(index(1)).unwrap();
        assert_eq!(judged(&proof), Ok((node, Fault::InvalidSignatureShare)));
        // The honest share under the same statement convicts nobody, and no byte of the statement can be changed.
        let context_end = proof.len() - 2 - 4 - wrong.len();
        let forged = [&proof[..context_end + 6], &right].concat();
        assert_eq!(
            judged(&forged),
            Err(EvidenceError::NotProven("the share is right"))
        );
        for at in 0..context_end {
            let mut forged = proof.clone();
            forged[at] ^= 1;
            assert!(judged(&forged).is_err(), "byte {at}");
        }
    }
}

/// The same share under a record with another chain code: its children are other keys.
#[test]
fn a53_the_chain_code_is_taken_from_the_record_only() {
    for (seed, (purpose, request)) in (500..).zip(requests()) {
        let committee = Committee::deal(purpose, 2, 3, seed);
        let public = &committee.public;
        let other = with_facts(committee.share(1), |facts| facts.chain_code = [7; 32]);
        let request = request.with_path(path("m/1"));
        let (mut nonces, commitments) = committee.commit(&[1, 2], seed);
        let package = Package::new(other.public(), commitments.clone(), &request).unwrap();
        let ours = Package::new(public, commitments, &request).unwrap();
        assert_ne!(package.output_key(), ours.output_key());
        let nonces = nonces.remove(&index(1)).unwrap();
        let refused = frost::sign(nonces, committee.share(1), &package);
        assert_eq!(refused, Err(Misuse::WrongKey.into()));
    }
}
