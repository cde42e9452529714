//! Participants that break the protocol: who is named, and that the key stays what it is.

use mpc_core::envelope::{Envelope, Kind};
use mpc_core::id::{NodeId, Purpose};
use mpc_core::reshare::Session;
use mpc_core::session::{Session as _, WriteKind};
use mpc_core::testing::{Flight, Stage};
use mpc_core::{Error, Fault, Rejection, evidence};

use crate::world::{World, reseal};

/// 2 of 3 to 2 of 3: dealers 1 and 2, members 2, 3 and 4.
const DEALERS: [u16; 2] = [1, 2];
const MEMBERS: [u16; 3] = [2, 3, 4];

fn kind_of(world: &World, bytes: &[u8]) -> Kind {
    let all: Vec<u16> = world.nodes.keys().copied().collect();
    Envelope::open(&world.roster(&all), bytes)
        .unwrap()
        .header()
        .kind
}

/// Runs a reshare in which the messages of one kind from `cheat` are changed and signed again.
fn with_changed(
    world: &mut World,
    cheat: u16,
    kind: Kind,
    change: impl Fn(&mut Vec<u8>),
) -> Stage<Session> {
    let request = world.request(&DEALERS, &MEMBERS, 2, 0);
    let mut stage = world.start(&request);
    let id = world.id(cheat);
    stage.run_with(|mut flight| {
        let sent = kind_of(world, &flight.bytes);
        if flight.from == id && sent == kind {
            flight.bytes = reseal(world, &flight.bytes, |_, body| change(body));
        }
        // It does not show afterwards what it would have said.
        let gives_away = flight.from == id && kind == Kind::ReshareRound2 && sent != kind;
        if gives_away && sent != Kind::ReshareRound1 {
            return vec![];
        }
        vec![flight]
    });
    stage.expire();
    stage
}

/// All honest nodes convict `cheat`, with evidence that anybody can check, and nobody has a new sharing.
fn assert_convicted(
    world: &World,
    stage: &Stage<Session>,
    cheat: u16,
    fault: impl Fn(&Fault) -> bool,
) {
    let all: Vec<u16> = world.nodes.keys().copied().collect();
    let id = world.id(cheat);
    for number in [1, 2, 3, 4].into_iter().filter(|number| *number != cheat) {
        let Err(error) = &stage.results[&world.id(number)] else {
            panic!("node {number} has a result")
        };
        let Error::Aborted(abort) = error else {
            panic!("node {number}: {error:?}")
        };
        assert!(fault(&abort.fault), "node {number}: {:?}", abort.fault);
        assert_eq!(error.culprits(), [id], "node {number}");
        let proof = abort.evidence.as_ref().unwrap().encode();
        let (named, proven) = evidence::verify(&world.roster(&all), &proof).unwrap();
        assert_eq!((named, &proven), (id, &abort.fault), "node {number}");
    }
    world.assert_whole();
}

fn malformed(kind: Kind) -> impl Fn(&Fault) -> bool {
    move |fault| matches!(fault, Fault::Malformed { message, .. } if *message == kind)
}

#[test]
fn a65_a_commitment_vector_of_another_length_is_refused_by_its_length() {
    for purpose in [Purpose::Ed25519, Purpose::Bip340] {
        let mut world = World::new(purpose, 2, 3, 4);
        let changes: [fn(&mut Vec<u8>); 4] = [
            |body| drop(body.drain(32..64)),
            |body| {
                let coefficient = body[32..65].to_vec();
                body.splice(32..32, coefficient);
            },
            |body| body.truncate(32),
            Vec::clear,
        ];
        for change in changes {
            let stage = with_changed(&mut world, 1, Kind::ReshareRound2, change);
            assert_convicted(&world, &stage, 1, malformed(Kind::ReshareRound2));
        }
    }
}

#[test]
fn every_field_of_round_one_is_bound() {
    let mut world = World::new(Purpose::Ed25519, 2, 3, 4);
    // Node 2 deals and is a member: nonce, receiving key, commitment.
    // Its echo of round 1 shows that it had said something else.
    let stage = with_changed(&mut world, 2, Kind::ReshareRound1, |body| body[70] ^= 1);
    let message = Kind::ReshareRound1;
    assert_convicted(&world, &stage, 2, |fault| {
        *fault == Fault::Equivocated { message }
    });
    for len in [0, 32, 64, 95] {
        let stage = with_changed(&mut world, 2, Kind::ReshareRound1, |body| {
            body.truncate(len);
        });
        assert_convicted(&world, &stage, 2, malformed(Kind::ReshareRound1));
    }
    // A member that does not deal may not send a commitment, a dealer that is no member no key.
    for cheat in [4, 1] {
        let stage = with_changed(&mut world, cheat, Kind::ReshareRound1, |body| {
            body.extend([7; 32]);
        });
        assert_convicted(&world, &stage, cheat, malformed(Kind::ReshareRound1));
    }
}

#[test]
fn a67_a_wrong_share_for_one_member_convicts_its_dealer_everywhere() {
    for purpose in [Purpose::Ed25519, Purpose::Bip340] {
        let mut world = World::new(purpose, 2, 3, 4);
        for member in 0..3 {
            let stage = with_changed(&mut world, 1, Kind::ReshareRound2, |body| {
                let at = body.len() - 32 * (3 - member) + 16;
                body[at] ^= 1;
            });
            assert_convicted(&world, &stage, 1, |fault| *fault == Fault::InvalidShare);
        }
    }
}

#[test]
fn a_wrong_signature_of_a_member_or_dealer_convicts_it() {
    let mut world = World::new(Purpose::Ed25519, 2, 3, 4);
    let invalid = |fault: &Fault| {
        matches!(
            fault,
            Fault::InvalidProof {
                proof: "certificate",
                ..
            }
        )
    };
    // Node 1 signs as a dealer, node 4 as a member, node 2 as both: 105 bytes and then the signatures.
    for (cheat, at) in [(1, 110), (4, 110), (2, 110), (2, 180)] {
        let stage = with_changed(&mut world, cheat, Kind::ReshareRound3, |body| body[at] ^= 1);
        assert_convicted(&world, &stage, cheat, invalid);
    }
    let stage = with_changed(&mut world, 4, Kind::ReshareRound3, |body| body[40] ^= 1);
    assert_convicted(&world, &stage, 4, |fault| {
        *fault == Fault::CertificateMismatch
    });
    // Epoch and attempt have to be those of the request.
    for at in [68, 72] {
        let stage = with_changed(&mut world, 4, Kind::ReshareRound3, |body| body[at] ^= 1);
        assert_convicted(&world, &stage, 4, malformed(Kind::ReshareRound3));
    }
}

#[test]
fn an_equivocating_dealer_is_convicted_by_its_two_messages() {
    let mut world = World::new(Purpose::Ed25519, 2, 3, 4);
    let request = world.request(&DEALERS, &MEMBERS, 2, 0);
    let mut stage = world.start(&request);
    let (cheat, victim) = (world.id(1), world.id(3));
    stage.run_with(|mut flight| {
        let first = kind_of(&world, &flight.bytes) == Kind::ReshareRound1;
        if first && flight.from == cheat && flight.to == victim {
            flight.bytes = reseal(&world, &flight.bytes, |_, body| body[40] ^= 1);
        }
        vec![flight]
    });
    let accused: Vec<_> = [2, 3, 4]
        .map(|number| {
            stage.results[&world.id(number)]
                .as_ref()
                .unwrap_err()
                .culprits()
        })
        .into();
    assert!(accused.iter().any(|named| named == &[cheat]), "{accused:?}");
    assert!(
        accused
            .iter()
            .all(|named| named.is_empty() || named == &[cheat])
    );
    world.assert_whole();
}

#[test]
fn a68_a_member_that_keeps_its_signature_back_only_delays() {
    let mut world = World::new(Purpose::Ed25519, 2, 3, 4);
    let request = world.request(&DEALERS, &MEMBERS, 2, 0);
    let mut stage = world.start(&request);
    let silent = world.id(4);
    let mut kept: Option<Flight> = None;
    stage.run_with(|flight| {
        if flight.from == silent && kind_of(&world, &flight.bytes) == Kind::ReshareRound3 {
            kept = Some(flight);
            return vec![];
        }
        vec![flight]
    });
    stage.expire();
    for number in [1, 2, 3] {
        let missing = [silent].into();
        let result = stage.results[&world.id(number)].as_ref();
        assert_eq!(result.unwrap_err(), &Error::TimedOut { missing });
        let kinds: Vec<_> = stage.stores[&world.id(number)]
            .iter()
            .map(|s| s.kind)
            .collect();
        assert_eq!(
            kinds,
            [WriteKind::Replay, WriteKind::Share],
            "kept until a higher one is certified"
        );
    }
    world.assert_whole();
    // Attempt 1 without it. What it says later about attempt 0 changes nothing there.
    let request = world.request(&DEALERS, &[1, 2, 3], 2, 1);
    let mut again = world.start(&request);
    again.run();
    let late = kept.unwrap();
    let two = world.id(2);
    let inbound = mpc_core::session::Inbound {
        from: late.from,
        bytes: late.bytes,
    };
    let refused = again.sessions.get_mut(&two).unwrap().handle(inbound, 0);
    assert!(matches!(refused, Err(Error::Rejected(_))));
    world.take_over(&mut again);
    world.assert_whole();
}

#[test]
fn a66_messages_of_another_attempt_epoch_or_request_are_not_of_this_session() {
    let mut world = World::new(Purpose::Ed25519, 2, 3, 4);
    let old = world.request(&DEALERS, &MEMBERS, 2, 0);
    let other = world.start(&old);
    let replay: Vec<Flight> = other.network.iter().cloned().collect();
    let deliver = |world: &mut World, attempt| {
        let request = world.request(&DEALERS, &MEMBERS, 2, attempt);
        let mut stage = world.start(&request);
        stage.network.clear();
        for flight in &replay {
            let refused = stage.deliver(flight.clone());
            assert_eq!(refused, Err(Error::Rejected(Rejection::WrongSession)));
        }
    };
    deliver(&mut world, 1);
    deliver(&mut world, 0);
    world.reshare(&DEALERS, &MEMBERS, 2);
    let request = world.request(&[2, 3], &[2, 3, 4], 2, 0);
    let mut stage = world.start(&request);
    stage.network.clear();
    let members: Vec<NodeId> = request.participants().into_iter().collect();
    for flight in replay
        .into_iter()
        .filter(|flight| members.contains(&flight.to))
    {
        assert!(stage.deliver(flight).is_err());
    }
    assert!(
        stage.results.is_empty(),
        "nobody is accused, nothing is over"
    );
}
