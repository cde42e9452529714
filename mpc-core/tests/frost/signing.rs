//! FROST over the public interface: who can sign, who cannot, and what is refused to whom.

use std::collections::{BTreeMap, BTreeSet};

use mpc_core::frost::{
    self, Commitment, MAX_MESSAGE, Nonces, Package, Pool, SignatureShare, SigningRequest, Tweak,
};
use mpc_core::id::{KeyId, PartyIndex, Purpose};
use mpc_core::keys::{KeyFacts, KeyShare, PublicKeyPackage};
use mpc_core::secret::SecretScalar;
use mpc_core::{Error, Fault, Misuse, Strength};
use proptest::prelude::*;
use static_assertions::{assert_impl_all, assert_not_impl_any};

use crate::committee::{Committee, accepts, index, request, rng, subsets};

const FROST: [Purpose; 2] = [Purpose::Ed25519, Purpose::Bip340];

// Nonces: moved, never copied, never written or compared. Pools neither.
assert_not_impl_any!(Nonces: Clone, Copy, PartialEq, AsRef<[u8]>, Into<Vec<u8>>);
assert_not_impl_any!(Pool: Clone, Copy, AsRef<[u8]>, Into<Vec<u8>>);
assert_impl_all!(Nonces: Send);
assert_impl_all!(Package: Send, Sync);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_threshold_subset_signs_and_no_smaller_one(
        (parties, threshold) in (2_u16..=7).prop_flat_map(|parties| (Just(parties), 2..=parties)),
        taproot in any::<bool>(),
        seed in any::<u64>(),
        message in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let purpose = if taproot { Purpose::Bip340 } else { Purpose::Ed25519 };
        let committee = Committee::deal(purpose, threshold, parties, seed);
        let request = request(purpose, &message);
        for signers in subsets(parties, threshold.into()) {
            prop_assert!(committee.sign(&signers, &request, seed).is_ok());
        }
        for signers in subsets(parties, u32::from(threshold) - 1) {
            let refused = Err(Error::Misuse(Misuse::InvalidSigners("fewer than the threshold")));
            prop_assert_eq!(committee.sign(&signers, &request, seed), refused);
        }
        let everybody: Vec<_> = (1..=parties).collect();
        prop_assert!(committee.sign(&everybody, &request, seed).is_ok());
    }

    /// The library refuses to build a package for too few; this is what too few could do without it: sign as if the key had a
    /// lower threshold. The result is no signature.
    #[test]
    fn a39_shares_of_too_few_signers_do_not_add_up(taproot in any::<bool>(), parties in 3_u16..=5, seed in any::<u64>()) {
        let purpose = if taproot { Purpose::Bip340 } else { Purpose::Ed25519 };
        let committee = Committee::deal(purpose, parties, parties, seed);
        let request = request(purpose, b"too few");
        let everybody: Vec<_> = (1..=parties).collect();
        let (nonces, commitments) = committee.commit(&everybody, seed);
        let (package, mut shares) = committee.respond(nonces, &commitments, &request).unwrap();
        // The last signer is absent: its share is replaced by another's.
        let stand_in = shares[&index(1)];
        shares.insert(index(parties), stand_in);
        let error = frost::aggregate(&package, &shares).unwrap_err();
        prop_assert_eq!(error.culprits(), vec![committee.public.node(index(parties)).unwrap()]);
    }
}

#[test]
fn keys_of_the_key_generation_sign_with_every_subset() {
    for purpose in FROST {
        let mut simulator = mpc_core::testing::Simulator::start(purpose, 2, 3, 43);
        simulator.run();
        let request = request(purpose, b"made by nobody");
        for signers in subsets(3, 2) {
            let mut rng = rng(44);
            let (mut nonces, mut commitments) = (Vec::new(), BTreeMap::new());
            for number in &signers {
                let share = &simulator.output(*number).share;
                let (secret, commitment) = frost::commit(share, &mut rng).unwrap();
                nonces.push((share, secret));
                commitments.insert(share.index(), commitment);
            }
            let public = simulator.output(1).share.public();
            let package = Package::new(public, commitments, &request).unwrap();
            let answer = |(share, secret): (&KeyShare, Nonces)| {
                (share.index(), frost::sign(secret, share, &package).unwrap())
            };
            let shares = nonces.into_iter().map(answer).collect();
            assert!(accepts(
                &package,
                &frost::aggregate(&package, &shares).unwrap()
            ));
        }
    }
}

#[test]
fn a39_the_set_of_signers_is_checked_before_anything_else() {
    for purpose in FROST {
        let committee = Committee::deal(purpose, 2, 3, 1);
        let outsiders = Committee::deal(purpose, 2, 5, 2);
        let request = request(purpose, b"message");
        let build = |commitments: BTreeMap<PartyIndex, Commitment>| {
            Package::new(&committee.public, commitments, &request)
                .map(|package| package.signers().len())
        };
        let (_, all) = outsiders.commit(&[1, 2, 3, 4, 5], 3);
        let only = |numbers: &[u16]| {
            numbers
                .iter()
                .map(|number| (index(*number), all[&index(*number)]))
                .collect()
        };
        assert_eq!(
            build(only(&[])),
            Err(Misuse::InvalidSigners("fewer than the threshold").into())
        );
        assert_eq!(
            build(only(&[1])),
            Err(Misuse::InvalidSigners("fewer than the threshold").into())
        );
        assert_eq!(
            build(only(&[1, 4])),
            Err(Misuse::InvalidSigners("one is not a member").into())
        );
        assert_eq!(
            build(only(&[1, 2, 3, 4])),
            Err(Misuse::InvalidSigners("one is not a member").into())
        );
        assert_eq!(build(only(&[1, 2])), Ok(2));
        assert_eq!(build(only(&[1, 2, 3])), Ok(3));
    }
}

#[test]
fn a36_nothing_comes_out_of_a_wrong_sum_and_every_liar_is_named() {
    for purpose in FROST {
        let committee = Committee::deal(purpose, 4, 5, 4);
        let request = request(purpose, b"message");
        for liars in [vec![1], vec![2, 4], vec![1, 2, 4, 5]] {
            let (nonces, commitments) = committee.commit(&[1, 2, 4, 5], 5);
            let (package, mut shares) = committee.respond(nonces, &commitments, &request).unwrap();
            let (nonces, commitments) = committee.commit(&[1, 2, 4, 5], 6);
            let (_, others) = committee.respond(nonces, &commitments, &request).unwrap();
            for liar in &liars {
                shares.insert(index(*liar), others[&index(*liar)]);
            }
            let Err(Error::Aborted(abort)) = frost::aggregate(&package, &shares) else {
                panic!("accepted")
            };
            assert_eq!(abort.fault, Fault::InvalidSignatureShare);
            let named = liars.iter().map(|liar| {
                (
                    committee.public.node(index(*liar)).unwrap(),
                    Strength::Local,
                )
            });
            assert_eq!(abort.culprits, named.collect::<Vec<_>>());
        }
    }
}

#[test]
fn a36_shares_must_be_exactly_those_of_the_package() {
    for purpose in FROST {
        let committee = Committee::deal(purpose, 2, 3, 7);
        let (nonces, commitments) = committee.commit(&[1, 3], 8);
        let (package, shares) = committee
            .respond(nonces, &commitments, &request(purpose, b"message"))
            .unwrap();
        let refused = Err(Misuse::InvalidSigners("there is not exactly one share for each").into());
        let mut missing = shares.clone();
        missing.remove(&index(3));
        assert_eq!(frost::aggregate(&package, &missing), refused);
        let mut extra = shares.clone();
        extra.insert(index(2), shares[&index(1)]);
        assert_eq!(frost::aggregate(&package, &extra), refused);
        let mut moved = missing;
        moved.insert(index(2), shares[&index(3)]);
        assert_eq!(frost::aggregate(&package, &moved), refused);
        assert!(accepts(
            &package,
            &frost::aggregate(&package, &shares).unwrap()
        ));
        let stranger = frost::verify_share(&package, index(2), &shares[&index(1)]);
        assert_eq!(
            stranger,
            Err(Misuse::InvalidSigners("this one does not sign").into())
        );
    }
}

#[test]
fn a44_nonces_answer_only_to_the_list_that_contains_them() {
    for purpose in FROST {
        let committee = Committee::deal(purpose, 2, 3, 9);
        let request = request(purpose, b"message");
        let (mut nonces, commitments) = committee.commit(&[1, 2], 10);
        let (_, other) = committee.commit(&[1, 2], 11);
        // A coordinator puts another commitment of this signer on the list.
        let forged = Package::new(&committee.public, other.clone(), &request).unwrap();
        let refused = frost::sign(
            nonces.remove(&index(1)).unwrap(),
            committee.share(1),
            &forged,
        );
        assert_eq!(refused, Err(Misuse::NonceMismatch.into()));
        // The refused nonces are gone; the other signer's still work, under a list that has them and anybody's new ones.
        let mixed = BTreeMap::from([
            (index(1), other[&index(1)]),
            (index(2), commitments[&index(2)]),
        ]);
        let package = Package::new(&committee.public, mixed, &request).unwrap();
        assert!(
            frost::sign(
                nonces.remove(&index(2)).unwrap(),
                committee.share(2),
                &package
            )
            .is_ok()
        );
    }
}

#[test]
fn a44_a_pool_gives_each_pair_once() {
    for purpose in FROST {
        let committee = Committee::deal(purpose, 2, 3, 12);
        let mut pool = Pool::new();
        let commitments = pool.generate(committee.share(1), 5, &mut rng(13)).unwrap();
        assert_eq!(
            commitments
                .iter()
                .map(Commitment::encode)
                .collect::<BTreeSet<_>>()
                .len(),
            5
        );
        assert_eq!(pool.len(), 5);
        assert!(
            pool.take(&commitments[2])
                .is_some_and(|nonces| *nonces.commitment() == commitments[2])
        );
        assert!(pool.take(&commitments[2]).is_none());
        assert_eq!(pool.len(), 4);
        pool.clear();
        assert!(
            pool.is_empty()
                && commitments
                    .iter()
                    .all(|commitment| pool.take(commitment).is_none())
        );
    }
}

#[test]
fn a44_share_nonces_and_package_are_of_one_key_epoch_and_party() {
    for purpose in FROST {
        let committee = Committee::deal(purpose, 2, 3, 14);
        let request = request(purpose, b"message");
        let next_epoch = with_facts(committee.share(1), |facts| facts.epoch.0 = 1);
        let other_key = with_facts(committee.share(1), |facts| {
            facts.key_id = KeyId::from_bytes([9; 32]);
        });
        let same_name = Committee::deal(purpose, 2, 3, 14 + 256);
        assert_eq!(same_name.public.key_id(), committee.public.key_id());
        for share in [
            &next_epoch,
            &other_key,
            committee.share(2),
            same_name.share(1),
        ] {
            let (mut nonces, commitments) = committee.commit(&[1, 2], 15);
            let package = Package::new(&committee.public, commitments, &request).unwrap();
            let refused = frost::sign(nonces.remove(&index(1)).unwrap(), share, &package);
            assert_eq!(refused, Err(Misuse::WrongKey.into()));
        }
        let (mut nonces, commitments) = committee.commit(&[1, 2], 16);
        let package = Package::new(next_epoch.public(), commitments, &request).unwrap();
        let refused = frost::sign(
            nonces.remove(&index(1)).unwrap(),
            committee.share(1),
            &package,
        );
        assert_eq!(refused, Err(Misuse::WrongKey.into()));
    }
}

/// The same share in a record with other facts.
pub(crate) fn with_facts(share: &KeyShare, change: impl Fn(&mut KeyFacts)) -> KeyShare {
    fn rebuild<G: mpc_core::keys::KeyGroup>(share: &KeyShare, facts: KeyFacts) -> Option<KeyShare> {
        let (points, secret) = share.view::<G>()?;
        let public =
            PublicKeyPackage::new(facts, share.public().nodes().clone(), points.clone()).unwrap();
        let secret = SecretScalar::<G>::decode("secret", &secret.dangerous_to_bytes()).unwrap();
        Some(KeyShare::new(public, share.index(), secret).unwrap())
    }
    let mut facts = *share.public().facts();
    change(&mut facts);
    rebuild::<mpc_core::group::Ed25519>(share, facts)
        .or_else(|| rebuild::<mpc_core::group::Secp256k1>(share, facts))
        .unwrap()
}

#[test]
fn a45_every_input_changes_every_answer() {
    for purpose in FROST {
        let committee = Committee::deal(purpose, 2, 4, 17);
        let answer =
            |committee: &Committee, numbers: &[u16], message: &[u8], replace: Option<u16>| {
                let (mut nonces, mut commitments) = committee.commit(numbers, 18);
                if let Some(other) = replace {
                    let (_, others) = committee.commit(numbers, 19);
                    commitments.insert(index(other), others[&index(other)]);
                }
                let package =
                    Package::new(&committee.public, commitments, &request(purpose, message))
                        .unwrap();
                frost::sign(
                    nonces.remove(&index(1)).unwrap(),
                    committee.share(1),
                    &package,
                )
                .unwrap()
                .encode()
            };
        let other_tweak = |root| {
            let (mut nonces, commitments) = committee.commit(&[1, 2], 18);
            let tweak = Tweak::TaprootKeyPath { merkle_root: root };
            let request = SigningRequest::new(Purpose::Bip340, b"message".to_vec(), tweak).unwrap();
            let package = Package::new(&committee.public, commitments, &request).unwrap();
            frost::sign(
                nonces.remove(&index(1)).unwrap(),
                committee.share(1),
                &package,
            )
            .unwrap()
            .encode()
        };
        let mut answers = vec![
            answer(&committee, &[1, 2], b"message", None),
            answer(&committee, &[1, 2], b"message.", None),
            answer(&committee, &[1, 2], b"message", Some(2)),
            answer(&committee, &[1, 2, 3], b"message", None),
            answer(&committee, &[1, 3], b"message", None),
            answer(&committee, &[1, 2, 3], b"message", Some(3)),
        ];
        if purpose == Purpose::Bip340 {
            answers.extend([other_tweak(Some([0; 32])), other_tweak(Some([1; 32]))]);
        }
        assert_eq!(answers.iter().collect::<BTreeSet<_>>().len(), answers.len());
    }
}

/// A generator that is broken in one of the ways that hardware is.
struct Broken(u8);

impl rand_core::TryRng for Broken {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(u32::from_be_bytes([self.0; 4]))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(u64::from_be_bytes([self.0; 8]))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        out.fill(self.0);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Broken {}

#[test]
fn a46_a_stuck_generator_is_refused_and_a_weak_one_is_hedged() {
    for purpose in FROST {
        let committee = Committee::deal(purpose, 2, 3, 20);
        for stuck in [0, 1, 0xff] {
            assert_eq!(
                frost::commit(committee.share(1), &mut Broken(stuck)).err(),
                Some(Error::RandomnessUnavailable)
            );
            let mut pool = Pool::new();
            let refused = pool.generate(committee.share(1), 1, &mut Broken(stuck));
            assert_eq!(refused, Err(Error::RandomnessUnavailable));
            assert!(pool.is_empty());
        }
        // The same random bytes at two signers still give different nonces, because the share is hashed with them.
        let [one, two] = [1, 2].map(|number| {
            frost::commit(committee.share(number), &mut rng(21))
                .unwrap()
                .1
        });
        assert_ne!(one, two);
        // The same bytes twice at one signer give one pair twice: seen where both are kept.
        let mut pool = Pool::new();
        pool.generate(committee.share(1), 1, &mut rng(21)).unwrap();
        assert_eq!(
            pool.generate(committee.share(1), 1, &mut rng(21)),
            Err(Error::RandomnessUnavailable)
        );
    }
}

#[test]
fn a47_shares_of_concurrent_sessions_cannot_be_combined() {
    for purpose in FROST {
        let committee = Committee::deal(purpose, 2, 3, 22);
        let sessions = 128_u64;
        let mut rounds = Vec::new();
        for session in 0..sessions {
            rounds.push(committee.commit(&[1, 2], 1000 + session));
        }
        let mut answered = Vec::new();
        for (session, (nonces, commitments)) in (0..sessions).zip(rounds) {
            let request = request(purpose, &session.to_be_bytes());
            answered.push((
                committee.respond(nonces, &commitments, &request).unwrap(),
                commitments,
            ));
        }
        for at in 0..answered.len() {
            let ((package, shares), commitments) = &answered[at];
            let ((_, later), later_commitments) = &answered[(at + 1) % answered.len()];
            assert!(accepts(
                package,
                &frost::aggregate(package, shares).unwrap()
            ));
            // A share moved over from another session.
            let moved =
                BTreeMap::from([(index(1), shares[&index(1)]), (index(2), later[&index(2)])]);
            assert_eq!(
                frost::aggregate(package, &moved).unwrap_err().culprits(),
                [package.signers()[&index(2)]]
            );
            // The list changed after the answers.
            let mut changed = commitments.clone();
            changed.insert(index(2), later_commitments[&index(2)]);
            let repackaged = Package::new(&committee.public, changed, package.request()).unwrap();
            assert!(frost::aggregate(&repackaged, shares).is_err());
        }
    }
}

#[test]
fn a53_the_key_is_taken_from_the_record_only() {
    for purpose in FROST {
        let committee = Committee::deal(purpose, 2, 3, 23);
        // A record with the same names and this signer's nonces, but another group key.
        let imposter = Committee::deal(purpose, 2, 3, 23 + 256);
        assert_eq!(imposter.public.facts(), committee.public.facts());
        let (mut nonces, commitments) = committee.commit(&[1, 2], 24);
        let package =
            Package::new(&imposter.public, commitments, &request(purpose, b"message")).unwrap();
        let refused = frost::sign(
            nonces.remove(&index(1)).unwrap(),
            committee.share(1),
            &package,
        );
        assert_eq!(refused, Err(Misuse::WrongKey.into()));
    }
}

#[test]
fn a54_every_combination_of_odd_points_signs_and_its_shares_verify() {
    let mut odd_keys = 0;
    for seed in 0..48 {
        let committee = Committee::deal(Purpose::Bip340, 2, 3, seed);
        odd_keys += usize::from(committee.public.public_key()[0] == 3);
        for tweak in [
            Tweak::PlainBip340,
            Tweak::TaprootKeyPath { merkle_root: None },
            Tweak::TaprootKeyPath {
                merkle_root: Some([3; 32]),
            },
        ] {
            // Sixteen group commitments per key: both parities of R with near certainty.
            for session in 0..4 {
                let request = SigningRequest::new(Purpose::Bip340, vec![0x51; 32], tweak).unwrap();
                let (nonces, commitments) = committee.commit(&[1, 3], 1000 * seed + session);
                let (package, shares) = committee.respond(nonces, &commitments, &request).unwrap();
                for (number, share) in &shares {
                    assert_eq!(frost::verify_share(&package, *number, share), Ok(()));
                    let flipped = [index(1), index(3)]
                        .into_iter()
                        .find(|other| other != number)
                        .unwrap();
                    assert!(frost::verify_share(&package, flipped, share).is_err());
                }
                assert!(accepts(
                    &package,
                    &frost::aggregate(&package, &shares).unwrap()
                ));
            }
        }
    }
    assert!(
        (16..=32).contains(&odd_keys),
        "{odd_keys} of 48 keys are odd"
    );
}

#[test]
fn a55_tweaked_and_plain_requests_sign_under_different_keys() {
    let committee = Committee::deal(Purpose::Bip340, 2, 3, 25);
    let key = |tweak| {
        let (_, commitments) = committee.commit(&[1, 2], 26);
        let request = SigningRequest::new(Purpose::Bip340, Vec::new(), tweak).unwrap();
        Package::new(&committee.public, commitments, &request)
            .unwrap()
            .output_key()
    };
    let keys = [
        key(Tweak::PlainBip340),
        key(Tweak::TaprootKeyPath { merkle_root: None }),
        key(Tweak::TaprootKeyPath {
            merkle_root: Some([0; 32]),
        }),
        key(Tweak::TaprootKeyPath {
            merkle_root: Some([1; 32]),
        }),
    ];
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 4);
    assert_eq!(keys[0], committee.public.public_key()[1..]);
}

#[test]
fn a57_a_key_signs_for_its_own_purpose_only() {
    let message = b"message".to_vec();
    for key in [Purpose::Ed25519, Purpose::Bip340, Purpose::Ecdsa] {
        let committee = Committee::deal(key, 2, 3, 27);
        for asked in FROST.into_iter().filter(|asked| *asked != key) {
            let like = Committee::deal(asked, 2, 3, 28);
            let (_, commitments) = like.commit(&[1, 2], 29);
            let refused =
                Package::new(&committee.public, commitments, &request(asked, b"message")).err();
            assert_eq!(
                refused,
                Some(
                    Misuse::WrongPurpose {
                        key,
                        request: asked
                    }
                    .into()
                )
            );
        }
    }
    let ecdsa = Committee::deal(Purpose::Ecdsa, 2, 3, 30);
    let no_frost = Misuse::InvalidRequest("ecdsa keys do not sign by FROST");
    assert_eq!(
        frost::commit(ecdsa.share(1), &mut rng(31)).err(),
        Some(no_frost.clone().into())
    );
    for tweak in [
        Tweak::None,
        Tweak::PlainBip340,
        Tweak::TaprootKeyPath { merkle_root: None },
    ] {
        assert_eq!(
            SigningRequest::new(Purpose::Ecdsa, message.clone(), tweak),
            Err(no_frost.clone())
        );
    }
    for tweak in [
        Tweak::PlainBip340,
        Tweak::TaprootKeyPath { merkle_root: None },
    ] {
        let refused = SigningRequest::new(Purpose::Ed25519, message.clone(), tweak);
        assert_eq!(
            refused,
            Err(Misuse::InvalidRequest("ed25519 keys take no tweak"))
        );
    }
    let vague = Misuse::InvalidRequest("a bip340 request must say whether it is a taproot spend");
    assert_eq!(
        SigningRequest::new(Purpose::Bip340, message, Tweak::None),
        Err(vague)
    );
}

#[test]
fn a57_commitments_and_shares_of_the_other_curve_are_refused() {
    let (ed25519, taproot) = (
        Committee::deal(Purpose::Ed25519, 2, 3, 32),
        Committee::deal(Purpose::Bip340, 2, 3, 32),
    );
    let (nonces, commitments) = ed25519.commit(&[1, 2], 33);
    let (package, shares) = ed25519
        .respond(nonces, &commitments, &request(Purpose::Ed25519, b""))
        .unwrap();
    let (other_nonces, other_commitments) = taproot.commit(&[1, 2], 33);
    let (other_package, other_shares) = taproot
        .respond(
            other_nonces,
            &other_commitments,
            &request(Purpose::Bip340, b""),
        )
        .unwrap();

    let mixed = BTreeMap::from([
        (index(1), commitments[&index(1)]),
        (index(2), other_commitments[&index(2)]),
    ]);
    for (committee, purpose) in [(&ed25519, Purpose::Ed25519), (&taproot, Purpose::Bip340)] {
        let refused = Package::new(&committee.public, mixed.clone(), &request(purpose, b"")).err();
        assert_eq!(
            refused,
            Some(Misuse::InvalidSigners("a commitment is of another curve").into())
        );
    }
    for (package, shares, foreign) in [
        (&package, &shares, &other_shares),
        (&other_package, &other_shares, &shares),
    ] {
        let mixed = BTreeMap::from([
            (index(1), shares[&index(1)]),
            (index(2), foreign[&index(2)]),
        ]);
        let refused = frost::aggregate(package, &mixed);
        assert_eq!(
            refused,
            Err(Misuse::InvalidSigners("a share is of another curve").into())
        );
        let refused = frost::verify_share(package, index(2), &foreign[&index(2)]);
        assert_eq!(
            refused.unwrap_err().culprits(),
            [package.signers()[&index(2)]]
        );
    }
    let (mut nonces, _) = taproot.commit(&[1], 34);
    let refused = frost::sign(
        nonces.remove(&index(1)).unwrap(),
        ed25519.share(1),
        &package,
    );
    assert_eq!(refused, Err(Misuse::NonceMismatch.into()));
}

#[test]
fn messages_are_bounded() {
    for purpose in FROST {
        let committee = Committee::deal(purpose, 2, 2, 35);
        assert!(committee.sign(&[1, 2], &request(purpose, &[]), 36).is_ok());
        assert!(
            committee
                .sign(&[1, 2], &request(purpose, &vec![7; MAX_MESSAGE]), 37)
                .is_ok()
        );
    }
    let long = SigningRequest::new(Purpose::Ed25519, vec![0; MAX_MESSAGE + 1], Tweak::None);
    assert_eq!(
        long,
        Err(Misuse::InvalidRequest(
            "the message is longer than 32768 bytes"
        ))
    );
}

#[test]
fn debug_output_shows_no_nonce() {
    for purpose in FROST {
        let committee = Committee::deal(purpose, 2, 3, 38);
        let (nonces, _) = frost::commit(committee.share(1), &mut rng(39)).unwrap();
        let shown = format!("{nonces:?}");
        assert_eq!(
            shown,
            format!(
                "Nonces {{ key_id: {:?}, epoch: Epoch(0), .. }}",
                nonces.key_id()
            )
        );
        let mut pool = Pool::new();
        pool.generate(committee.share(1), 2, &mut rng(40)).unwrap();
        assert_eq!(format!("{pool:?}"), "Pool(2 pairs)");
    }
}

#[test]
fn encodings_round_trip() {
    for purpose in FROST {
        let committee = Committee::deal(purpose, 2, 3, 41);
        let (nonces, commitments) = committee.commit(&[1, 2], 42);
        let (package, shares) = committee
            .respond(nonces, &commitments, &request(purpose, b""))
            .unwrap();
        for (number, commitment) in &commitments {
            assert_eq!(
                Commitment::decode(purpose, &commitment.encode()),
                Ok(*commitment)
            );
            assert_eq!(package.commitment(*number), Some(*commitment));
        }
        for share in shares.values() {
            assert_eq!(SignatureShare::decode(purpose, &share.encode()), Ok(*share));
        }
    }
}
