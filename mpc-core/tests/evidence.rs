//! What evidence proves, and above all what it does not: nobody who kept to the protocol can be convicted.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of a test may fail the test"
)]

use mpc_core::envelope::{Envelope, Header, Kind, Recipient};
use mpc_core::evidence::{self, EvidenceError};
use mpc_core::group::{Point, Ristretto255, Scalar};
use mpc_core::id::{Purpose, SessionId};
use mpc_core::roster::Roster;
use mpc_core::session::Session;
use mpc_core::testing::{Committee, Flight, Simulator};
use mpc_core::{Abort, Error, Fault, Strength};

const ROUND3: u8 = 4;
const ECHO: u8 = 5;

fn header_of(committee: &Committee, bytes: &[u8]) -> Header {
    *Envelope::open(&committee.roster, bytes).unwrap().header()
}

/// Every message of an undisturbed run, once.
fn sent(simulator: &mut Simulator) -> Vec<Vec<u8>> {
    let mut sent: Vec<Vec<u8>> = Vec::new();
    simulator.run_with(|_, flight| {
        if !sent.contains(&flight.bytes) {
            sent.push(flight.bytes.clone());
        }
        vec![flight]
    });
    sent
}

/// The messages of each round, by node.
fn rounds(simulator: &Simulator, sent: &[Vec<u8>]) -> [Vec<Vec<u8>>; 3] {
    [Kind::DkgRound1, Kind::DkgRound2, Kind::DkgRound3].map(|kind| {
        let header = |bytes: &Vec<u8>| header_of(&simulator.committee, bytes);
        let of_kind = sent.iter().filter(|bytes| header(bytes).kind == kind);
        let mut messages: Vec<_> = of_kind.cloned().collect();
        messages.sort_by_key(|bytes| header(bytes).from);
        messages
    })
}

/// Party 3 breaks a share in round 2; the evidence that party 1 has of it.
fn cheated(simulator: &mut Simulator) -> Vec<u8> {
    let three = simulator.committee.node(3);
    simulator.run_with(|committee, flight| {
        let header = header_of(committee, &flight.bytes);
        let bytes = if (header.from, header.kind) == (three, Kind::DkgRound2) {
            committee.reseal(&flight.bytes, |_, body| body[32 * 4] ^= 1)
        } else {
            flight.bytes
        };
        vec![Flight { bytes, ..flight }]
    });
    let Error::Aborted(Abort {
        evidence: Some(evidence),
        ..
    }) = simulator.error(1)
    else {
        panic!("no evidence")
    };
    evidence.encode()
}

/// The context of evidence about the run of this committee with this seed, with its length in front.
fn context(simulator: &Simulator, seed: u64) -> Vec<u8> {
    let committee = simulator.committee.clone();
    let genuine = cheated(&mut Simulator::start_with(
        committee,
        Purpose::Ed25519,
        2,
        seed,
    ));
    // Version and claim come before it; its length fits into the last byte of four.
    genuine[2..6 + usize::from(genuine[5])].to_vec()
}

/// Evidence as anybody can put it together.
fn claimed(claim: u8, context: &[u8], messages: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = vec![1, claim];
    bytes.extend(context);
    bytes.extend(u16::try_from(messages.len()).unwrap().to_be_bytes());
    for message in messages {
        bytes.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        bytes.extend(message);
    }
    bytes
}

#[test]
fn two_messages_are_equivocation_only_for_one_place() {
    let committee = Committee::new(3, 7);
    let header = |round, kind| Header {
        kind,
        session: SessionId::from_bytes([1; 32]),
        round,
        from: committee.node(1),
        to: Recipient::Everyone,
    };
    let seal = |header: Header, body: &[u8]| {
        Envelope::open(
            &committee.roster,
            &Envelope::seal(committee.identity(1), &header, body),
        )
        .unwrap()
    };
    let verify = |a: &Envelope, b: &Envelope| {
        let bytes = evidence::Evidence::equivocation(a, b).encode();
        evidence::verify(&committee.roster, &bytes)
    };
    let base = header(1, Kind::DkgRound1);
    let first = seal(base, b"one");
    let fault = Fault::Equivocated {
        message: Kind::DkgRound1,
    };
    assert_eq!(
        verify(&first, &seal(base, b"two")),
        Ok((committee.node(1), fault))
    );
    let elsewhere = Header {
        session: SessionId::from_bytes([2; 32]),
        ..base
    };
    let private = Header {
        to: Recipient::One(committee.node(2)),
        ..base
    };
    for (a, b) in [
        (first.clone(), seal(base, b"one")),
        (first.clone(), seal(elsewhere, b"two")),
        (first.clone(), seal(header(2, Kind::DkgRound2), b"two")),
        (first, seal(private, b"two")),
        (seal(private, b"one"), seal(private, b"two")),
    ] {
        assert!(matches!(verify(&a, &b), Err(EvidenceError::NotProven(_))));
    }
}

#[test]
fn evidence_is_refused_by_another_roster_and_with_any_byte_changed() {
    let mut simulator = Simulator::start(Purpose::Ed25519, 2, 3, 17);
    let bytes = cheated(&mut simulator);
    let stranger = Committee::new(3, 18).roster;
    assert!(evidence::verify(&stranger, &bytes).is_err());
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(
            evidence::verify(&simulator.committee.roster, &changed).is_err(),
            "byte {at}"
        );
    }
}

#[test]
fn honest_messages_are_evidence_of_nothing() {
    // Every claim that can be built from the messages of an honest run is refused.
    let mut simulator = Simulator::start(Purpose::Ed25519, 2, 3, 19);
    let context = context(&simulator, 19);
    let sent = sent(&mut simulator);
    let [first, second, third] = rounds(&simulator, &sent);
    for accused in first.iter().chain(&second).chain(&third) {
        let sets = [
            vec![accused.clone()],
            [first.clone(), vec![accused.clone()]].concat(),
            [first.clone(), second.clone(), vec![accused.clone()]].concat(),
            vec![accused.clone(), accused.clone()],
        ];
        for messages in sets {
            for claim in 1..=5 {
                let bytes = claimed(claim, &context, &messages);
                let verdict = evidence::verify(&simulator.committee.roster, &bytes);
                assert!(
                    matches!(verdict, Err(EvidenceError::NotProven(_))),
                    "claim {claim}: {verdict:?}"
                );
            }
        }
    }
}

#[test]
fn a50_a_second_version_of_round_1_convicts_nobody_who_saw_the_first() {
    // Party 3 signs another receiving key with the nonce it had sent: the name of the session stays, the transcript does not.
    let mut simulator = Simulator::start(Purpose::Ed25519, 2, 3, 21);
    let context = context(&simulator, 21);
    let sent = sent(&mut simulator);
    let [first, second, third] = rounds(&simulator, &sent);
    let committee = &simulator.committee;
    let other = Point::<Ristretto255>::mul_base(&Scalar::from_u64(5)).encode();
    let (one, three) = (committee.node(1), committee.node(3));
    let version = |bytes: &Vec<u8>| {
        if header_of(committee, bytes).from == three {
            committee.reseal(bytes, |_, body| {
                body[32..64].copy_from_slice(other.as_slice());
            })
        } else {
            bytes.clone()
        }
    };
    let changed: Vec<_> = first.iter().map(version).collect();
    assert_ne!(first, changed);
    let certificate = third
        .iter()
        .find(|bytes| header_of(committee, bytes).from == one);
    let verdict = |first: &[Vec<u8>]| {
        let messages = [first, &second, &[certificate.unwrap().clone()]].concat();
        evidence::verify(&committee.roster, &claimed(ROUND3, &context, &messages))
    };
    assert_eq!(
        verdict(&first),
        Err(EvidenceError::NotProven("the certificate is right"))
    );
    assert_eq!(
        verdict(&changed),
        Err(EvidenceError::NotProven(
            "the accused had seen another round 1"
        ))
    );
}

#[test]
fn a50_honest_originals_prove_nothing_to_a_smaller_roster() {
    // Party 4 sends party 1 another round 2, so that party 1 shows what it holds.
    let mut simulator = Simulator::start(Purpose::Ed25519, 3, 4, 22);
    let (one, four) = (simulator.committee.node(1), simulator.committee.node(4));
    let mut said = Vec::new();
    simulator.run_with(|committee, flight| {
        let header = header_of(committee, &flight.bytes);
        if header.from == one {
            said.push(flight.bytes.clone());
        }
        let bytes = if (header.from, header.kind, flight.to) == (four, Kind::DkgRound2, one) {
            committee.reseal(&flight.bytes, |_, body| body[512] ^= 1)
        } else {
            flight.bytes
        };
        vec![Flight { bytes, ..flight }]
    });
    let committee = &simulator.committee;
    let find = |kind, round| {
        let place = |bytes: &&Vec<u8>| {
            let header = header_of(committee, bytes);
            (header.kind, header.round) == (kind, round)
        };
        said.iter().find(place).unwrap().clone()
    };
    let (claim, shown) = (find(Kind::DkgRound3, 3), find(Kind::DkgOriginals, 2));
    let members = (1..=3).map(|index| *committee.roster.get(&committee.node(index)).unwrap());
    let smaller = Roster::new(members).unwrap();
    let three = Simulator::start(Purpose::Ed25519, 2, 3, 22);
    let bytes = claimed(ECHO, &context(&three, 22), &[claim, shown]);
    for roster in [&smaller, &committee.roster] {
        assert!(matches!(
            evidence::verify(roster, &bytes),
            Err(EvidenceError::NotProven(_))
        ));
    }
}

#[test]
fn a50_originals_of_a_round_that_is_open_here_wait_and_then_convict() {
    // Party 3 is silent in round 2 towards party 1, and sends it a round 3 and originals that fit nothing.
    let mut simulator = Simulator::start(Purpose::Ed25519, 2, 3, 23);
    let (one, three) = (simulator.committee.node(1), simulator.committee.node(3));
    let mut held = None;
    simulator.run_with(|committee, flight| {
        let kind = header_of(committee, &flight.bytes).kind;
        match (flight.from == three && flight.to == one, kind) {
            (true, Kind::DkgRound2) => held = Some(flight),
            (true, Kind::DkgRound3) => {}
            _ => return vec![flight],
        }
        vec![]
    });
    let committee = simulator.committee.clone();
    let session = simulator.sessions[&one].name().unwrap();
    let mut send = |kind, round, body: &[u8]| {
        let header = Header {
            kind,
            session,
            round,
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
    let certificate = [&[1][..], &[7; 64], &[0; 8], &[7; 64]].concat();
    assert_eq!(send(Kind::DkgRound3, 3, &certificate), Ok(()));
    let originals = [&session.as_bytes()[..], &[7; 9]].concat();
    assert_eq!(send(Kind::DkgOriginals, 2, &originals), Ok(()));
    assert_eq!(simulator.sessions[&one].waiting_for(), [three].into());

    let _ = simulator.deliver(held.unwrap());
    let fault = Fault::EchoUnsupported {
        message: Kind::DkgRound2,
    };
    let Error::Aborted(abort) = simulator.error(1) else {
        panic!("party 1 ended with {:?}", simulator.error(1));
    };
    assert_eq!(
        (&abort.fault, &abort.culprits[..]),
        (&fault, &[(three, Strength::Transferable)][..])
    );
    let bytes = abort.evidence.as_ref().unwrap().encode();
    assert_eq!(
        evidence::verify(&committee.roster, &bytes),
        Ok((three, fault))
    );
}
