//! Key generation among honest parties: every committee up to seven, both curves, every order of messages.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of a test may fail the test"
)]

use std::collections::{BTreeMap, BTreeSet};

use mpc_core::codec::{DecodeError, Problem};
use mpc_core::dkg::{DkgCertificate, Pending};
use mpc_core::envelope::{Envelope, Kind};
use mpc_core::group::{Ed25519, Point, Scalar, Secp256k1};
use mpc_core::id::{PartyIndex, Purpose};
use mpc_core::keys::{KeyGroup, KeyShare};
use mpc_core::polynomial::lagrange_at_zero;
use mpc_core::session::WriteKind;
use mpc_core::testing::{Committee, Flight, Simulator};
use mpc_core::transcript::ciphersuite::bip340_tagged;
use mpc_core::{Error, Rejection};

fn subsets(size: usize, of: u16) -> Vec<BTreeSet<PartyIndex>> {
    (0_u32..1 << of)
        .filter(|mask| mask.count_ones() as usize == size)
        .map(|mask| {
            (1..=of)
                .filter(|i| mask >> (i - 1) & 1 == 1)
                .map(|i| PartyIndex::new(i).unwrap())
                .collect()
        })
        .collect()
}

fn interpolate<G: KeyGroup>(
    shares: &BTreeMap<PartyIndex, &KeyShare>,
    set: &BTreeSet<PartyIndex>,
) -> Point<G> {
    let coefficients = lagrange_at_zero::<G>(set).unwrap();
    let secret: Scalar<G> = coefficients
        .iter()
        .map(|(i, c)| *c * *shares[i].view::<G>().unwrap().1.expose_secret())
        .sum();
    Point::mul_base(&secret)
}

fn shares_make_the_key<G: KeyGroup>(simulator: &Simulator, threshold: u16, parties: u16) {
    let shares: BTreeMap<_, _> = (1..=parties)
        .map(|i| (PartyIndex::new(i).unwrap(), &simulator.output(i).share))
        .collect();
    let public = simulator.output(1).share.public().clone();
    let key = public.view::<G>().unwrap().group_key;
    for (index, share) in &shares {
        assert_eq!(share.public(), &public);
        assert_eq!(share.index(), *index);
        assert_eq!(
            share.view::<G>().unwrap().1.mul_base(),
            public.view::<G>().unwrap().verifying_shares[index]
        );
    }
    for set in subsets(threshold.into(), parties) {
        assert_eq!(interpolate::<G>(&shares, &set), key, "{set:?}");
    }
    for set in subsets(usize::from(threshold) - 1, parties) {
        assert_ne!(interpolate::<G>(&shares, &set), key, "{set:?}");
    }
}

#[test]
fn a14_every_committee_makes_one_key_that_exactly_the_threshold_can_use() {
    for parties in 2..=7 {
        for threshold in 2..=parties {
            let seed = u64::from(parties * 10 + threshold);
            let mut simulator = Simulator::start(Purpose::Ed25519, threshold, parties, seed);
            simulator.run();
            shares_make_the_key::<Ed25519>(&simulator, threshold, parties);
            let mut simulator = Simulator::start(Purpose::Bip340, threshold, parties, seed);
            simulator.run();
            shares_make_the_key::<Secp256k1>(&simulator, threshold, parties);
        }
    }
}

#[test]
fn a11_the_certificate_is_the_same_everywhere_and_verifies_alone() {
    let mut simulator = Simulator::start(Purpose::Ed25519, 2, 3, 1);
    simulator.run();
    let certificate = &simulator.output(1).certificate;
    let roster = &simulator.committee.roster;
    for index in 1..=3 {
        assert_eq!(&simulator.output(index).certificate, certificate);
        assert_eq!(
            simulator.output(index).share.public().key_id(),
            certificate.key_id()
        );
    }
    assert_eq!(certificate.verify(roster), Ok(()));
    let bytes = certificate.encode();
    assert_eq!(
        DkgCertificate::decode(roster, &bytes).as_ref(),
        Ok(certificate)
    );
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(
            DkgCertificate::decode(roster, &changed).is_err(),
            "byte {at}"
        );
    }
    let two: Vec<_> = certificate.parts().values().take(2).collect();
    let missing = Err(Rejection::InvalidCertificate("a part is missing"));
    assert_eq!(DkgCertificate::from_parts(roster, two), missing);
}

#[test]
fn writes_come_before_what_depends_on_them() {
    let mut simulator = Simulator::start(Purpose::Ed25519, 2, 3, 2);
    for (node, session) in &simulator.sessions {
        let stored = &simulator.stores[node];
        assert_eq!(stored.len(), 1);
        assert_eq!(
            (stored[0].kind, &stored[0].bytes[..]),
            (WriteKind::Replay, &session.first_name().as_bytes()[..])
        );
    }
    simulator.run();
    for stored in simulator.stores.values() {
        let kinds: Vec<_> = stored.iter().map(|write| write.kind).collect();
        assert_eq!(
            kinds,
            [WriteKind::Replay, WriteKind::Share, WriteKind::Certificate]
        );
    }
}

#[test]
fn a11_a_party_that_misses_the_last_message_finishes_from_its_stored_share() {
    let mut simulator = Simulator::start(Purpose::Bip340, 2, 3, 3);
    let stuck = simulator.committee.node(2);
    // Nothing of round 3 reaches party 2. Round 3 certificates are the third message of every sender.
    let mut sent = BTreeMap::new();
    simulator.run_with(|_, flight| {
        let count = sent.entry((flight.from, flight.to)).or_insert(0);
        *count += 1;
        if flight.to == stuck && *count == 3 {
            vec![]
        } else {
            vec![flight]
        }
    });
    assert!(!simulator.results.contains_key(&stuck));
    simulator.expire();
    let missing = [1, 3].map(|i| simulator.committee.node(i)).into();
    assert_eq!(simulator.error(2), &Error::TimedOut { missing });
    assert!(simulator.error(2).culprits().is_empty());

    let stored = simulator.stores[&stuck].last().unwrap();
    assert_eq!(stored.kind, WriteKind::Share);
    let pending = || Pending::dangerous_from_bytes(&stored.bytes).unwrap();
    let parts = simulator.output(1).certificate.parts();
    let incomplete: Vec<_> = parts.values().take(1).collect();
    assert!(pending().finish(incomplete).is_err());
    let others: Vec<_> = parts
        .iter()
        .filter(|(node, _)| **node != stuck)
        .map(|(_, part)| part)
        .collect();
    let finished = pending().finish(others).unwrap();
    assert_eq!(&finished.certificate, &simulator.output(1).certificate);
    assert_eq!(finished.share.public(), simulator.output(1).share.public());
    assert_eq!(pending().own_part(), &parts[&stuck][..]);

    // The certificate of another key is refused.
    let mut other = Simulator::start_with(simulator.committee.clone(), Purpose::Bip340, 2, 4);
    other.run();
    assert!(
        pending()
            .finish(other.output(1).certificate.parts().values())
            .is_err()
    );
}

#[test]
fn a13_a_bip340_key_commits_to_an_empty_script_tree() {
    let mut parities = BTreeSet::new();
    for seed in 0..12 {
        let mut simulator = Simulator::start(Purpose::Bip340, 2, 2, seed);
        // The internal key is the sum of the constant terms, which follow the echo in round 2.
        let mut internal = Point::<Secp256k1>::identity();
        simulator.run_with(|committee, flight| {
            let envelope = Envelope::open(&committee.roster, &flight.bytes).unwrap();
            if envelope.header().kind == Kind::DkgRound2 {
                internal = internal + Point::decode("C", &envelope.body()[32..65]).unwrap();
            }
            vec![flight]
        });
        let even = Point::lift_x("x", &internal.x_bytes()).unwrap();
        let tweak = bip340_tagged("TapTweak", &[&even.x_bytes()]);
        let output = even + Point::mul_base(&Scalar::decode("tweak", &tweak).unwrap());
        assert_eq!(
            simulator.output(1).share.public().public_key(),
            output.encode().as_slice()
        );
        parities.insert((internal.has_even_y(), output.has_even_y()));
    }
    assert_eq!(parities.len(), 4, "all combinations of parities occur");
}

#[test]
fn a76_every_order_of_the_messages_gives_the_same_key() {
    let reference = {
        let mut simulator = Simulator::start(Purpose::Ed25519, 2, 3, 6);
        simulator.run();
        simulator.output(1).share.public().clone()
    };
    for order in 0_u64..300 {
        let mut simulator = Simulator::start(Purpose::Ed25519, 2, 3, 6);
        let mut state = order.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut delivered: Vec<Flight> = Vec::new();
        while !simulator.network.is_empty() {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let pick = (state >> 33) as usize % simulator.network.len();
            let flight = simulator.network.remove(pick).unwrap();
            simulator.deliver(flight.clone()).unwrap();
            // Every third message is an exact copy of an earlier one: nothing may happen.
            if let Some(copy) = delivered.get(pick).filter(|_| state >> 20 & 3 == 0) {
                let before = simulator.network.len();
                let again = simulator.deliver(copy.clone());
                assert!(
                    matches!(again, Ok(()) | Err(Error::Rejected(Rejection::Finished))),
                    "{again:?}"
                );
                assert_eq!(simulator.network.len(), before);
            }
            delivered.push(flight);
        }
        for index in 1..=3 {
            assert_eq!(
                simulator.output(index).share.public(),
                &reference,
                "order {order}"
            );
        }
    }
}

#[test]
fn a83_a_pending_share_of_another_key_is_refused() {
    let committee = Committee::new(3, 24);
    let run = |seed| {
        let mut simulator = Simulator::start_with(committee.clone(), Purpose::Ed25519, 2, seed);
        simulator.run();
        let stored = simulator.stores[&committee.node(1)][1].bytes.clone();
        let share = simulator.output(1).share.dangerous_to_bytes().len();
        (stored, share)
    };
    let ((first, share), (second, _)) = (run(24), run(25));
    assert!(Pending::dangerous_from_bytes(&first).is_ok());
    let at = first.len() - share;
    let mixed = [&first[..at], &second[at..]].concat();
    assert_eq!(
        Pending::dangerous_from_bytes(&mixed).map(|_| ()),
        Err(DecodeError::new("share", Problem::Unknown))
    );
}
