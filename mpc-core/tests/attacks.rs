//! Attacks on key generation that are more than one broken field, named after the attack catalogue.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of a test may fail the test"
)]

use std::collections::BTreeSet;
use std::sync::Arc;

use mpc_core::codec::{DecodeError, Problem};
use mpc_core::dkg::{self, Setup};
use mpc_core::envelope::{Envelope, Header, Kind, Recipient};
use mpc_core::evidence;
use mpc_core::group::{Point, Ristretto255, Scalar};
use mpc_core::id::{Attempt, NodeId, Params, Purpose, RequestId, SessionId};
use mpc_core::identity::IdentityKey;
use mpc_core::session::{Inbound, Session, WriteKind};
use mpc_core::testing::{Committee, Flight, Simulator, TIMEOUT_MS, rng};
use mpc_core::{Abort, Error, Fault, Misuse, Rejection, Strength};

fn kind_of(committee: &Committee, bytes: &[u8]) -> Kind {
    Envelope::open(&committee.roster, bytes)
        .unwrap()
        .header()
        .kind
}

/// Party `index` accuses `culprit` of `fault`, with evidence that convinces a third party.
fn convicted(simulator: &Simulator, index: u16, culprit: u16, fault: &Fault) {
    let node = simulator.committee.node(culprit);
    let Error::Aborted(Abort {
        fault: found,
        culprits,
        evidence,
    }) = simulator.error(index)
    else {
        panic!("party {index} ended with {:?}", simulator.error(index));
    };
    assert_eq!(
        (found, &culprits[..]),
        (fault, &[(node, Strength::Transferable)][..]),
        "party {index}"
    );
    assert_eq!(simulator.error(index).culprits(), [node]);
    let bytes = evidence.as_ref().unwrap().encode();
    assert_eq!(
        evidence::verify(&simulator.committee.roster, &bytes),
        Ok((node, fault.clone()))
    );
}

/// Runs with every message of `cheat` of `kind` that `to` accepts changed by `change`.
fn run_changed(
    simulator: &mut Simulator,
    cheat: u16,
    kind: Kind,
    to: impl Fn(&NodeId) -> bool,
    change: impl Fn(&mut Vec<u8>),
) {
    let cheat = simulator.committee.node(cheat);
    simulator.run_with(|committee, flight| {
        let matches =
            flight.from == cheat && to(&flight.to) && kind_of(committee, &flight.bytes) == kind;
        let bytes = if matches {
            committee.reseal(&flight.bytes, |_, body| change(body))
        } else {
            flight.bytes.clone()
        };
        vec![Flight { bytes, ..flight }]
    });
}

fn stored_kinds(simulator: &Simulator, index: u16) -> Vec<WriteKind> {
    simulator.stores[&simulator.committee.node(index)]
        .iter()
        .map(|write| write.kind)
        .collect()
}

/// Round 2 of Ed25519 with other numbers of coefficients and proofs than the threshold.
fn resized(body: &[u8], coefficients: usize, proofs: usize) -> Vec<u8> {
    let (echo, points, middle) = (&body[..32], &body[32..64], &body[96..192]);
    let (proof, rest) = (&body[192..256], &body[320..]);
    [
        echo,
        &points.repeat(coefficients),
        middle,
        &proof.repeat(proofs),
        rest,
    ]
    .concat()
}

#[test]
fn a3_a4_a5_vectors_of_another_length_abort_before_anything_is_computed_or_stored() {
    for (coefficients, proofs) in [
        (3, 3),
        (7, 7),
        (1, 1),
        (0, 0),
        (2, 0),
        (2, 1),
        (3, 2),
        (10_000, 2),
        (2, 10_000),
    ] {
        let mut simulator = Simulator::start(Purpose::Ed25519, 2, 3, 1);
        run_changed(
            &mut simulator,
            3,
            Kind::DkgRound2,
            |_| true,
            |body| *body = resized(body, coefficients, proofs),
        );
        let error = DecodeError::new("body", Problem::Length);
        for index in [1, 2] {
            convicted(
                &simulator,
                index,
                3,
                &Fault::Malformed {
                    message: Kind::DkgRound2,
                    error,
                },
            );
            assert_eq!(stored_kinds(&simulator, index), [WriteKind::Replay]);
        }
    }
}

#[test]
fn a8_a9_a_copied_commitment_and_its_opening_are_refused() {
    // Party 3 has no session of its own: it repeats what party 1 says, under its own name.
    let mut simulator = Simulator::start(Purpose::Ed25519, 2, 3, 2);
    let (one, three) = (simulator.committee.node(1), simulator.committee.node(3));
    simulator.run_with(|committee, flight| {
        if flight.from == three || flight.to == three {
            let copy = |header: &mut Header, _: &mut Vec<u8>| header.from = three;
            let copied = committee.reseal(&flight.bytes, copy);
            // What party 1 sends to party 3 goes to parties 1 and 2 as party 3's own.
            return if flight.from == one {
                let to = [one, committee.node(2)];
                to.map(|to| Flight {
                    from: three,
                    to,
                    bytes: copied.clone(),
                })
                .into()
            } else {
                vec![]
            };
        }
        vec![flight]
    });
    for index in [1, 2] {
        convicted(&simulator, index, 3, &Fault::CommitmentMismatch);
    }
}

#[test]
fn a7_a_party_that_opens_something_else_after_seeing_the_others_is_refused() {
    // The rogue constant term would cancel the others' and leave a key of the cheat's choice.
    let mut simulator = Simulator::start(Purpose::Bip340, 2, 3, 3);
    let target = Point::<mpc_core::group::Secp256k1>::mul_base(&Scalar::from_u64(7)).encode();
    run_changed(
        &mut simulator,
        3,
        Kind::DkgRound2,
        |_| true,
        |body| {
            body[32..65].copy_from_slice(target.as_slice());
        },
    );
    for index in [1, 2] {
        convicted(&simulator, index, 3, &Fault::CommitmentMismatch);
    }
}

#[test]
fn a10_two_versions_of_a_broadcast_are_found_in_every_echoed_round() {
    // The message, and a byte that is changed towards party 1 only; 512 is the share of party 2.
    let cases = [
        (Kind::DkgRound1, 0),
        (Kind::DkgRound1, 64),
        (Kind::DkgRound2, 512),
    ];
    for (kind, at) in cases {
        let mut simulator = Simulator::start(Purpose::Ed25519, 3, 4, 4);
        let one = simulator.committee.node(1);
        run_changed(
            &mut simulator,
            4,
            kind,
            |to| *to == one,
            |body| body[at] ^= 1,
        );
        for index in 1..=3 {
            convicted(&simulator, index, 4, &Fault::Equivocated { message: kind });
        }
    }
}

#[test]
fn a12_an_equivocated_chain_code_aborts() {
    let mut simulator = Simulator::start(Purpose::Bip340, 2, 3, 5);
    let one = simulator.committee.node(1);
    // cc follows the echo, two points of 33 bytes and the sending key.
    run_changed(
        &mut simulator,
        3,
        Kind::DkgRound2,
        |to| *to == one,
        |body| body[130] ^= 1,
    );
    convicted(&simulator, 1, 3, &Fault::CommitmentMismatch);
    assert!(!matches!(
        simulator.results.get(&simulator.committee.node(2)),
        Some(Ok(_))
    ));
}

#[test]
fn a76_two_versions_for_one_place_at_one_receiver_convict_at_once() {
    for kind in [Kind::DkgRound1, Kind::DkgRound2, Kind::DkgRound3] {
        let mut simulator = Simulator::start(Purpose::Ed25519, 2, 3, 6);
        let (one, two, three) = (
            simulator.committee.node(1),
            simulator.committee.node(2),
            simulator.committee.node(3),
        );
        simulator.run_with(|committee, flight| {
            let doubled = flight.from == three
                && flight.to == one
                && kind_of(committee, &flight.bytes) == kind;
            // Party 2 is held back towards party 1, so that the round stays open.
            if flight.from == two && flight.to == one && kind_of(committee, &flight.bytes) == kind {
                return vec![];
            }
            let second = committee.reseal(&flight.bytes, |_, body| *body.last_mut().unwrap() ^= 1);
            let second = doubled.then(|| Flight {
                bytes: second,
                ..flight.clone()
            });
            [Some(flight), second].into_iter().flatten().collect()
        });
        convicted(&simulator, 1, 3, &Fault::Equivocated { message: kind });
    }
}

#[test]
fn a61_a_recorded_session_replayed_into_another_changes_nothing() {
    let committee = Committee::new(3, 8);
    let undisturbed = {
        let mut simulator = Simulator::start_with(committee.clone(), Purpose::Ed25519, 2, 81);
        simulator.run();
        simulator.output(1).share.public().clone()
    };
    let mut recorded = Vec::new();
    Simulator::start_with(committee.clone(), Purpose::Ed25519, 2, 80).run_with(|_, flight| {
        recorded.push(flight.clone());
        vec![flight]
    });
    let mut simulator = Simulator::start_with(committee.clone(), Purpose::Ed25519, 2, 81);
    let replay = |simulator: &mut Simulator| {
        for flight in &recorded {
            let result = simulator.deliver(flight.clone());
            let early = kind_of(&committee, &flight.bytes) != Kind::DkgRound1;
            match result {
                Ok(()) => assert!(early),
                Err(Error::Rejected(Rejection::WrongSession | Rejection::Finished)) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
    };
    replay(&mut simulator);
    while let Some(flight) = simulator.network.pop_front() {
        simulator.deliver(flight).unwrap();
        replay(&mut simulator);
    }
    for index in 1..=3 {
        assert_eq!(simulator.output(index).share.public(), &undisturbed);
    }
}

#[test]
fn a61_the_same_request_has_the_same_first_name_which_a_store_refuses_twice() {
    let committee = Committee::new(2, 9);
    let start = |request: u8, attempt: u32, purpose| {
        let setup = Setup {
            roster: committee.roster.clone(),
            me: committee.node(1),
            purpose,
            params: Params::new(2, 2).unwrap(),
            request_id: RequestId::from_bytes([request; 32]),
            attempt: Attempt(attempt),
            pairs: std::collections::BTreeMap::new(),
        };
        let identity = Arc::clone(committee.identity(1));
        dkg::Session::start(setup, identity, &mut rng(9), 0, TIMEOUT_MS)
            .unwrap()
            .0
            .first_name()
    };
    let name = start(1, 0, Purpose::Ed25519);
    assert_eq!(name, start(1, 0, Purpose::Ed25519));
    for other in [
        start(2, 0, Purpose::Ed25519),
        start(1, 1, Purpose::Ed25519),
        start(1, 0, Purpose::Bip340),
    ] {
        assert_ne!(name, other);
    }
}

#[test]
fn a62_a_peer_of_another_version_is_refused_by_name_and_not_accused() {
    let mut simulator = Simulator::start(Purpose::Ed25519, 2, 3, 10);
    let three = simulator.committee.node(3);
    let mut flight = simulator
        .network
        .iter()
        .find(|flight| flight.from == three)
        .unwrap()
        .clone();
    flight.bytes[0] = 2;
    let refused = simulator.deliver(flight).unwrap_err();
    assert_eq!(
        refused,
        Error::Rejected(Rejection::VersionMismatch { got: 2 })
    );
    assert!(refused.culprits().is_empty());
    simulator.run();
    assert_eq!(
        simulator.output(1).certificate,
        simulator.output(2).certificate
    );
}

#[test]
fn a15_strangers_impostors_and_misaddressed_messages_are_dropped_and_the_session_goes_on() {
    let mut simulator = Simulator::start(Purpose::Ed25519, 2, 3, 11);
    let committee = simulator.committee.clone();
    let (one, two, three) = (committee.node(1), committee.node(2), committee.node(3));
    let genuine = simulator
        .network
        .iter()
        .find(|f| f.from == two && f.to == one)
        .unwrap()
        .bytes
        .clone();
    let header = *Envelope::open(&committee.roster, &genuine)
        .unwrap()
        .header();
    let stranger = IdentityKey::generate(&mut rng(99));
    let body = vec![1; 96];
    let seal = |key: &IdentityKey, header: Header| Envelope::seal(key, &header, &body);
    let cases = [
        // First to speak for index 2, with a key that is in no roster.
        (two, seal(&stranger, header), Rejection::BadSignature),
        (
            two,
            seal(
                &stranger,
                Header {
                    from: stranger.public().node_id(),
                    ..header
                },
            ),
            Rejection::UnknownSender,
        ),
        // Party 3 with its own key as party 2, or with party 2's message through its own channel.
        (
            three,
            seal(committee.identity(3), header),
            Rejection::BadSignature,
        ),
        (three, genuine, Rejection::WrongSender),
        (
            one,
            seal(
                committee.identity(1),
                Header {
                    from: one,
                    ..header
                },
            ),
            Rejection::WrongSender,
        ),
        (
            two,
            seal(
                committee.identity(2),
                Header {
                    to: Recipient::One(one),
                    ..header
                },
            ),
            Rejection::WrongRecipient,
        ),
        (
            two,
            seal(committee.identity(2), Header { round: 2, ..header }),
            Rejection::Unexpected {
                kind: Kind::DkgRound1,
            },
        ),
        (
            two,
            seal(
                committee.identity(2),
                Header {
                    kind: Kind::FrostShare,
                    ..header
                },
            ),
            Rejection::Unexpected {
                kind: Kind::FrostShare,
            },
        ),
        (
            two,
            vec![1, 2, 3],
            Rejection::Malformed(DecodeError::new("kind", Problem::Length)),
        ),
    ];
    for (from, bytes, expected) in cases {
        assert_eq!(
            simulator.deliver(Flight {
                from,
                to: one,
                bytes
            }),
            Err(Error::Rejected(expected))
        );
    }
    simulator.run();
    for index in 1..=3 {
        assert_eq!(
            simulator.output(index).certificate,
            simulator.output(1).certificate
        );
    }
}

#[test]
fn a75_early_messages_of_one_sender_are_bounded() {
    let mut simulator = Simulator::start(Purpose::Ed25519, 2, 3, 12);
    let committee = simulator.committee.clone();
    let (one, three) = (committee.node(1), committee.node(3));
    let mut early_of = |session: u8, body: &[u8]| {
        let header = Header {
            kind: Kind::DkgRound2,
            session: SessionId::from_bytes([session; 32]),
            round: 2,
            from: three,
            to: Recipient::Everyone,
        };
        let bytes = Envelope::seal(committee.identity(3), &header, body);
        simulator.deliver(Flight {
            from: three,
            to: one,
            bytes,
        })
    };
    let full = Err(Error::Rejected(Rejection::BufferFull));
    assert_eq!(early_of(0, &vec![0; 1 << 18]), full, "one that is too long");
    let mut early = |session: u8, body: u8| early_of(session, &[body]);
    for session in 0..9 {
        assert_eq!(early(session, 0), Ok(()));
        assert_eq!(early(session, 0), Ok(()), "the same again needs no room");
    }
    assert_eq!(early(9, 0), full);
    let Err(Error::Aborted(abort)) = early(0, 1) else {
        panic!("two versions of an early message")
    };
    assert_eq!(
        abort.fault,
        Fault::Equivocated {
            message: Kind::DkgRound2
        }
    );
}

#[test]
fn silence_is_named_and_not_blamed_in_every_round() {
    for kind in [Kind::DkgRound1, Kind::DkgRound2, Kind::DkgRound3] {
        let mut simulator = Simulator::start(Purpose::Ed25519, 2, 3, 13);
        let three = simulator.committee.node(3);
        simulator.run_with(|committee, flight| {
            let dropped = flight.from == three && kind_of(committee, &flight.bytes) == kind;
            if dropped { vec![] } else { vec![flight] }
        });
        let one = simulator.committee.node(1);
        assert_eq!(
            simulator.sessions[&one].waiting_for(),
            BTreeSet::from([three])
        );
        simulator.now_ms = TIMEOUT_MS - 1;
        let now_ms = simulator.now_ms;
        let before = simulator.sessions.get_mut(&one).unwrap().tick(now_ms);
        assert!(before.is_ok(), "not yet");
        simulator.now_ms = 0;
        simulator.expire();
        let error = simulator.error(1).clone();
        assert_eq!(
            error,
            Error::TimedOut {
                missing: [three].into()
            }
        );
        assert!(error.culprits().is_empty());
        let session = simulator.sessions.get_mut(&one).unwrap();
        let again = session.handle(
            Inbound {
                from: three,
                bytes: Vec::new(),
            },
            0,
        );
        assert_eq!(again.unwrap_err(), error, "an ended session stays ended");
        let expected: &[WriteKind] = if kind == Kind::DkgRound3 {
            &[WriteKind::Replay, WriteKind::Share]
        } else {
            &[WriteKind::Replay]
        };
        assert_eq!(stored_kinds(&simulator, 1), expected);
    }
}

/// `form | E_2 | accused | K | T_1 | T_2 | z` with the echo of a genuine certificate.
fn complaint(certificate: &[u8], accused: &NodeId, rest: &[u8]) -> Vec<u8> {
    [&[2], &certificate[1..33], accused.as_bytes(), rest].concat()
}

#[test]
fn a50_a_false_complaint_convicts_the_accuser() {
    let mut random = rng(14);
    let point = |random: &mut _| {
        Point::<Ristretto255>::mul_base(&Scalar::random(random))
            .encode()
            .as_slice()
            .to_vec()
    };
    let committee = Committee::new(3, 14);
    let scalar = Scalar::<Ristretto255>::random(&mut random).encode();
    let rest = [
        point(&mut random),
        point(&mut random),
        point(&mut random),
        scalar.to_vec(),
    ]
    .concat();
    let malformed = |field, problem| Fault::Malformed {
        message: Kind::DkgRound3,
        error: DecodeError::new(field, problem),
    };
    let identity = [vec![0; 32], rest[32..].to_vec()].concat();
    let not_canonical = [rest[..96].to_vec(), vec![0xFF; 32]].concat();
    let cases = [
        (committee.node(1), rest.clone(), Fault::FalseComplaint),
        (committee.node(3), rest.clone(), Fault::FalseComplaint),
        (
            NodeId::from_bytes([5; 32]),
            rest.clone(),
            Fault::FalseComplaint,
        ),
        (
            committee.node(1),
            identity,
            malformed("shared_key", Problem::Identity),
        ),
        (
            committee.node(1),
            not_canonical,
            malformed("complaint_proof", Problem::NotCanonical),
        ),
        (
            committee.node(1),
            rest[1..].to_vec(),
            malformed("body", Problem::Length),
        ),
        (
            committee.node(1),
            [&rest[..], &[0]].concat(),
            malformed("body", Problem::Length),
        ),
    ];
    for (accused, rest, fault) in cases {
        let mut simulator = Simulator::start_with(committee.clone(), Purpose::Ed25519, 2, 15);
        run_changed(
            &mut simulator,
            3,
            Kind::DkgRound3,
            |_| true,
            |body| *body = complaint(body, &accused, &rest),
        );
        for index in [1, 2] {
            convicted(&simulator, index, 3, &fault);
            assert_eq!(
                stored_kinds(&simulator, index),
                [WriteKind::Replay, WriteKind::Share],
                "the share is kept"
            );
        }
    }
}

#[test]
fn a50_a_true_complaint_with_any_field_broken_convicts_nobody_but_its_author() {
    // Party 3 deals a wrong share to party 2, whose complaint reaches party 1 changed by party 2 itself.
    let share_of_two = 32 + 64 + 96 + 128 + 64 + 32;
    for field in 0..5 {
        let mut simulator = Simulator::start(Purpose::Ed25519, 2, 3, 16);
        let (one, two, three) = (
            simulator.committee.node(1),
            simulator.committee.node(2),
            simulator.committee.node(3),
        );
        let other = Point::<Ristretto255>::mul_base(&Scalar::from_u64(5)).encode();
        simulator.run_with(|committee, flight| {
            let kind = kind_of(committee, &flight.bytes);
            let bytes = committee.reseal(&flight.bytes, |_, body| {
                if flight.from == three && kind == Kind::DkgRound2 {
                    body[share_of_two] ^= 1;
                }
                if flight.from == two && kind == Kind::DkgRound3 {
                    assert_eq!((body[0], body.len()), (2, 193));
                    match field {
                        0 => {}
                        1 => body[33..65].copy_from_slice(one.as_bytes()),
                        4 => body[161] ^= 1,
                        _ => {
                            body[32 * field + 1..32 * field + 33].copy_from_slice(other.as_slice());
                        }
                    }
                }
            });
            vec![Flight { bytes, ..flight }]
        });
        convicted(&simulator, 2, 3, &Fault::InvalidShare);
        if field == 0 {
            convicted(&simulator, 1, 3, &Fault::InvalidShare);
        } else {
            convicted(&simulator, 1, 2, &Fault::FalseComplaint);
        }
    }
}

#[test]
fn a_setup_that_contradicts_itself_is_refused() {
    let committee = Committee::new(3, 20);
    let setup = |me, purpose, parties| Setup {
        roster: committee.roster.clone(),
        me,
        purpose,
        params: Params::new(2, parties).unwrap(),
        request_id: RequestId::from_bytes([1; 32]),
        attempt: Attempt(0),
        pairs: std::collections::BTreeMap::new(),
    };
    let start = |setup, identity: &Arc<IdentityKey>| {
        let result = dkg::Session::start(setup, Arc::clone(identity), &mut rng(1), 0, TIMEOUT_MS);
        result.map(|_| ()).unwrap_err()
    };
    let (one, key) = (committee.node(1), committee.identity(1));
    assert_eq!(
        start(setup(one, Purpose::Ed25519, 3), committee.identity(2)),
        Error::Misuse(Misuse::IdentityMismatch)
    );
    let stranger = Arc::new(IdentityKey::generate(&mut rng(2)));
    let outside = setup(stranger.public().node_id(), Purpose::Ed25519, 3);
    assert_eq!(start(outside, &stranger), Error::Misuse(Misuse::NotAMember));
    let size = Misuse::InvalidRoster("the roster and the parameters differ in size");
    assert_eq!(
        start(setup(one, Purpose::Ed25519, 4), key),
        Error::Misuse(size)
    );
}
