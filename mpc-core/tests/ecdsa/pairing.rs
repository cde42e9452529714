//! What a cheat can do to the setup that it makes with another party inside a key generation, field by field.
//!
//! Party 3 cheats towards party 1. All other pairs have live setups, so that only the one in question is made. Broadcasts convict by
//! evidence; what only the two have seen never accuses anybody of more than the bytes show, and nothing is poisoned.

use std::collections::BTreeMap;
use std::sync::Arc;

use mpc_core::codec::{DecodeError, Problem};
use mpc_core::dkg::{DkgCertificate, PairStatus};
use mpc_core::envelope::{Envelope, Kind};
use mpc_core::evidence;
use mpc_core::group::{Point, Ristretto255};
use mpc_core::id::{NodeId, Purpose};
use mpc_core::pair::PairRecord;
use mpc_core::session::WriteKind;
use mpc_core::testing::{Committee, Flight, Simulator, rng};
use mpc_core::transcript::{self, Tag};
use mpc_core::{Abort, Error, Fault, Rejection, Strength};
use proptest::prelude::*;

/// What is done to a body.
type Change<'a> = &'a dyn Fn(&mut Vec<u8>);

const SEED: u64 = 21;

/// Live setups for all pairs but the one of parties 1 and 3, of which `last` says which generation each of them has stored last.
fn start(seed: u64, last: [u32; 2]) -> Simulator {
    let committee = Committee::new(3, SEED);
    let node = |index| committee.node(index);
    let mut pairs: BTreeMap<NodeId, BTreeMap<NodeId, PairStatus>> = BTreeMap::new();
    for (one, other) in [(1, 2), (2, 3)] {
        let records = PairRecord::deal([node(one), node(other)], 1, &mut rng(9));
        for (of, record) in [one, other].into_iter().zip(records) {
            let peer = record.peer();
            let live = Some(Arc::new(record));
            let status = PairStatus {
                last_generation: 1,
                live,
            };
            pairs.entry(node(of)).or_default().insert(peer, status);
        }
    }
    for (of, peer, last_generation) in [(1, 3, last[0]), (3, 1, last[1])] {
        let status = PairStatus {
            last_generation,
            live: None,
        };
        pairs
            .entry(node(of))
            .or_default()
            .insert(node(peer), status);
    }
    Simulator::start_paired(committee, Purpose::Ecdsa, 2, seed, pairs)
}

/// Where round 1 of a party speaks about a peer.
fn about(committee: &Committee, party: u16, peer: u16) -> usize {
    let (party, peer) = (committee.node(party), committee.node(peer));
    let mut peers = committee.roster.nodes().filter(|node| *node != party);
    96 + 37 * peers.position(|node| node == peer).unwrap()
}

fn kind_of(committee: &Committee, flight: &Flight) -> Kind {
    let envelope = Envelope::open(&committee.roster, &flight.bytes).unwrap();
    envelope.header().kind
}

/// Runs with every message of one kind from party 3 changed. With `only`, the copies for one party.
fn cheated(kind: Kind, only: Option<u16>, change: impl Fn(&mut Vec<u8>)) -> Simulator {
    let mut run = start(1, [0; 2]);
    let cheat = run.committee.node(3);
    let only = only.map(|index| run.committee.node(index));
    run.run_with(|committee, mut flight| {
        if flight.from == cheat
            && only.is_none_or(|only| flight.to == only)
            && kind_of(committee, &flight) == kind
        {
            flight.bytes = committee.reseal(&flight.bytes, |_, body| change(body));
        }
        vec![flight]
    });
    run
}

fn abort(run: &Simulator, index: u16) -> &Abort {
    let Error::Aborted(abort) = run.error(index) else {
        panic!("{:?}", run.error(index))
    };
    assert_eq!(
        abort.poisons(),
        None,
        "nothing of a new setup was ever used"
    );
    abort
}

fn convicted(run: &Simulator, index: u16, fault: &Fault) {
    let abort = abort(run, index);
    let cheat = run.committee.node(3);
    assert_eq!(abort.fault, *fault);
    assert_eq!(abort.culprits, [(cheat, Strength::Transferable)]);
    let bytes = abort.evidence.as_ref().unwrap().encode();
    let verdict = evidence::verify(&run.committee.roster, &bytes);
    assert_eq!(verdict, Ok((cheat, fault.clone())));
}

fn malformed(message: Kind, field: &'static str, problem: Problem) -> Fault {
    let error = DecodeError::new(field, problem);
    Fault::Malformed { message, error }
}

fn stored_a_share(run: &Simulator, index: u16) -> bool {
    let stored = run.stores.get(&run.committee.node(index)).unwrap();
    stored.iter().any(|stored| stored.kind == WriteKind::Share)
}

fn negated(point: &[u8]) -> Vec<u8> {
    let point = Point::<Ristretto255>::decode("", point).unwrap();
    (-point).encode().as_slice().to_vec()
}

/// Bodies of one kind that party `from` sends in an honest run.
fn bodies(mut run: Simulator, kind: Kind, from: u16) -> Vec<Vec<u8>> {
    let (mut bodies, from) = (Vec::new(), run.committee.node(from));
    run.run_with(|committee, flight| {
        let envelope = Envelope::open(&committee.roster, &flight.bytes).unwrap();
        if (flight.from, envelope.header().kind) == (from, kind) {
            bodies.push(envelope.body().to_vec());
        }
        vec![flight]
    });
    bodies
}

#[test]
fn a24_offers_are_broadcast_and_convict() {
    let kind = Kind::DkgRound1;
    let at = about(&Committee::new(3, SEED), 3, 1);
    let offer = at + 5..at + 37;
    let own = bodies(start(1, [0; 2]), kind, 3).swap_remove(0);
    let old = bodies(start(2, [0; 2]), kind, 3).swap_remove(0);
    let theirs = bodies(start(1, [0; 2]), kind, 1).swap_remove(0);
    let their_offer = about(&Committee::new(3, SEED), 1, 3) + 5;
    let equivocated = Fault::Equivocated { message: kind };
    for (bytes, fault) in [
        (vec![0; 32], malformed(kind, "offer", Problem::Identity)),
        (
            vec![0xFF; 32],
            malformed(kind, "offer", Problem::NotOnCurve),
        ),
        // The cheat goes on with its own, so its echo exposes two versions.
        (negated(&own[offer.clone()]), equivocated.clone()),
        (old[offer.clone()].to_vec(), equivocated.clone()),
        (theirs[their_offer..][..32].to_vec(), equivocated.clone()),
    ] {
        let run = cheated(kind, None, |body| {
            body[offer.clone()].copy_from_slice(&bytes);
        });
        (1..3).for_each(|index| convicted(&run, index, &fault));
    }
    for (reuse, fault) in [
        (1, malformed(kind, "offer", Problem::NotCanonical)),
        (2, malformed(kind, "reuse", Problem::Unknown)),
    ] {
        let run = cheated(kind, None, |body| body[at + 4] = reuse);
        (1..3).for_each(|index| convicted(&run, index, &fault));
    }
    let run = cheated(kind, None, |body| body[at + 3] ^= 8);
    (1..3).for_each(|index| convicted(&run, index, &equivocated));
}

/// Everybody sees the flags of every pair: the run stops everywhere at once, and no share is left behind.
#[test]
fn a_setup_that_only_one_end_goes_on_with_stops_everybody() {
    let at = about(&Committee::new(3, SEED), 3, 1);
    let run = cheated(Kind::DkgRound1, None, |body| {
        body[at + 4] = 1;
        body[at + 5..at + 37].fill(0);
    });
    let [one, cheat] = [1, 3].map(|index| run.committee.node(index));
    assert_eq!(abort(&run, 1).fault, Fault::StalePair { peer: cheat });
    let pair = Box::new((one.min(cheat), one.max(cheat)));
    let fault = Fault::PairsDiffer { pair };
    assert_eq!(abort(&run, 2).fault, fault);
    for index in 1..3 {
        assert!(abort(&run, index).culprits.is_empty());
        assert!(!stored_a_share(&run, index));
    }
}

#[test]
fn a_generation_that_cannot_be_followed_is_refused() {
    let mut run = start(1, [0, u32::MAX]);
    run.run();
    for index in 1..=3 {
        assert!(abort(&run, index).culprits.is_empty());
        assert!(!stored_a_share(&run, index));
    }
    let mut run = start(1, [u32::MAX - 1, 4]);
    run.run();
    for index in [1, 3] {
        let [pair] = &run.output(index).pairs[..] else {
            panic!("one setup is made")
        };
        assert_eq!(pair.generation(), u32::MAX);
    }
}

#[test]
fn a24_every_field_of_the_reply() {
    let kind = Kind::DkgReply;
    let old = bodies(start(2, [0; 2]), kind, 3).swap_remove(0);
    let theirs = bodies(start(1, [0; 2]), kind, 1).swap_remove(0);
    let local = |run: &Simulator, fault: Fault| {
        assert_eq!(abort(run, 1).fault, fault);
        let cheat = run.committee.node(3);
        assert_eq!(abort(run, 1).culprits, [(cheat, Strength::Local)]);
        assert!(!stored_a_share(run, 1));
    };
    let run = cheated(kind, Some(1), |body| body.truncate(8191));
    local(&run, malformed(kind, "phi", Problem::Length));
    let run = cheated(kind, Some(1), |body| body.push(0));
    local(&run, malformed(kind, "body", Problem::Trailing));
    for at in [0, 32, 127 * 64, 8160] {
        let field = at..at + 32;
        let run = cheated(kind, Some(1), |body| body[field.clone()].fill(0));
        local(&run, malformed(kind, "phi", Problem::Identity));
        let run = cheated(kind, Some(1), |body| body[field.clone()].fill(0xFF));
        local(&run, malformed(kind, "phi", Problem::NotOnCurve));
        let changes: [Change<'_>; 3] = [
            &|body| {
                let other = negated(&body[field.clone()]);
                body[field.clone()].copy_from_slice(&other);
            },
            &|body| body[field.clone()].copy_from_slice(&old[field.clone()]),
            &|body| body[field.clone()].copy_from_slice(&theirs[field.clone()]),
        ];
        for change in changes {
            let run = cheated(kind, Some(1), change);
            let peer = run.committee.node(3);
            assert_eq!(abort(&run, 1).fault, Fault::PairSetupFailed { peer });
            assert!(abort(&run, 1).culprits.is_empty() && !stored_a_share(&run, 1));
        }
    }
}

#[test]
fn every_field_of_the_trial() {
    let check = |kind, at: usize, fault: Option<Fault>| {
        let run = cheated(kind, Some(1), |body| body[at] ^= 1);
        let peer = run.committee.node(3);
        let expected = fault.unwrap_or(Fault::PairSetupFailed { peer });
        assert_eq!(abort(&run, 1).fault, expected, "{kind} {at}");
        assert!(!stored_a_share(&run, 1));
    };
    // pid, U, xt, hV
    for at in [0, 31, 32, 32 + 14_335, 32 + 14_336, 32 + 14_352] {
        check(Kind::DkgTrialExtension, at, None);
    }
    // hu, v
    for at in [32 + 73_728, 73_823] {
        check(Kind::DkgTrialMultiply, at, None);
    }
    let message = Kind::DkgRound1;
    let unsupported = Fault::EchoUnsupported { message };
    check(Kind::DkgTrialMultiply, 0, Some(unsupported));
    let changes: [Change<'_>; 3] = [
        &|body| body.truncate(body.len() - 1),
        &|body| body.push(0),
        &|body| body.clear(),
    ];
    for kind in [Kind::DkgTrialExtension, Kind::DkgTrialMultiply] {
        for change in changes {
            let run = cheated(kind, Some(1), change);
            let Fault::Malformed { message, .. } = abort(&run, 1).fault else {
                panic!("{:?}", run.error(1))
            };
            assert_eq!(message, kind);
            let cheat = run.committee.node(3);
            assert_eq!(abort(&run, 1).culprits, [(cheat, Strength::Local)]);
        }
    }
    let run = cheated(Kind::DkgTrialMultiply, Some(1), |body| {
        body[32..64].fill(0xFF);
    });
    let Fault::Malformed { message, error } = &abort(&run, 1).fault else {
        panic!("{:?}", run.error(1))
    };
    let expected = (Kind::DkgTrialMultiply, Problem::NotCanonical);
    assert_eq!((*message, error.problem), expected);
}

/// Two versions of an offer, and trials that fail long before round 2 is complete: the trial must not hide who lied.
#[test]
fn a20_an_equivocated_offer_convicts_though_the_trial_fails_first() {
    let mut run = start(1, [0; 2]);
    let old = bodies(start(2, [0; 2]), Kind::DkgRound1, 3).swap_remove(0);
    let [one, cheat] = [1, 3].map(|index| run.committee.node(index));
    let at = about(&run.committee, 3, 1);
    let mut late = Vec::new();
    run.run_with(|committee, mut flight| {
        let kind = kind_of(committee, &flight);
        if flight.from == cheat && matches!(kind, Kind::DkgRound2 | Kind::DkgOriginals) {
            late.push(flight);
            return Vec::new();
        }
        if (flight.from, flight.to, kind) == (cheat, one, Kind::DkgRound1) {
            flight.bytes = committee.reseal(&flight.bytes, |_, body| {
                body[at + 5..at + 37].copy_from_slice(&old[at + 5..at + 37]);
            });
        }
        vec![flight]
    });
    assert!(!run.results.contains_key(&one), "it waits for round 2");
    run.network.extend(late);
    run.run();
    let message = Kind::DkgRound1;
    (1..3).for_each(|index| convicted(&run, index, &Fault::Equivocated { message }));
}

/// A second reply, another one, changes nothing; and messages about a setup that is not being made are refused.
#[test]
fn a61_repeated_and_foreign_messages_change_nothing() {
    let mut run = start(1, [0; 2]);
    let [one, two, cheat] = [1, 2, 3].map(|index| run.committee.node(index));
    let old = bodies(start(2, [0; 2]), Kind::DkgReply, 3).swap_remove(0);
    let mut replies = Vec::new();
    run.run_with(|committee, flight| {
        if (flight.from, kind_of(committee, &flight)) != (cheat, Kind::DkgReply) {
            return vec![flight];
        }
        replies.push(flight.clone());
        let mut again = flight.clone();
        again.bytes = committee.reseal(&flight.bytes, |_, body| body.copy_from_slice(&old));
        vec![flight, again]
    });
    for index in 1..=3 {
        assert!(run.results[&run.committee.node(index)].is_ok());
    }
    // The same letter at another address, and through a party that did not write it.
    let mut other = start(1, [0; 2]);
    let letter = replies.swap_remove(0);
    let refused = other.deliver(Flight {
        to: two,
        ..letter.clone()
    });
    assert_eq!(refused, Err(Rejection::WrongRecipient.into()));
    let refused = other.deliver(Flight {
        from: two,
        ..letter
    });
    assert_eq!(refused, Err(Rejection::WrongSender.into()));
    assert!(!other.results.contains_key(&one));
}

/// A certificate, properly signed, with another name for the setup with party 1.
#[test]
fn names_that_differ_stop_the_key_and_make_no_certificate() {
    let mut run = start(1, [0; 2]);
    let [one, two, cheat] = [1, 2, 3].map(|index| run.committee.node(index));
    let peers: Vec<_> = run.committee.roster.nodes().collect();
    let mut parts = BTreeMap::new();
    run.run_with(|committee, mut flight| {
        if kind_of(committee, &flight) == Kind::DkgRound3 {
            if flight.from == cheat {
                flight.bytes = committee.reseal(&flight.bytes, |_, body| {
                    let at = 73 + usize::from(one > two) * 32;
                    body[at] ^= 1;
                    let names = body[73..137].chunks(32);
                    let items: Vec<_> = peers
                        .iter()
                        .filter(|node| **node != cheat)
                        .zip(names)
                        .map(|(node, name)| [node.as_bytes(), name].concat())
                        .collect();
                    let digest = transcript::hash(Tag::CERT)
                        .field("dkg")
                        .field(&body[33..65])
                        .u32(0)
                        .u32(0)
                        .list(items)
                        .digest();
                    let signature = committee.identity(3).sign(&digest);
                    body[137..201].copy_from_slice(&signature);
                });
            }
            parts.insert(flight.from, flight.bytes.clone());
        }
        vec![flight]
    });
    assert_eq!(abort(&run, 1).fault, Fault::StalePair { peer: cheat });
    assert!(matches!(abort(&run, 2).fault, Fault::PairsDiffer { .. }));
    assert!((1..3).all(|index| abort(&run, index).culprits.is_empty()));
    assert!((1..3).all(|index| stored_a_share(&run, index)));
    let assembled = DkgCertificate::from_parts(&run.committee.roster, parts.values());
    let differ = Rejection::InvalidCertificate("two members name different setups for their pair");
    assert_eq!(assembled, Err(differ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// Any mix of live, lost and never made setups, at any threshold, in any order of messages.
    #[test]
    fn any_committee_gets_a_key_and_one_setup_for_every_pair(
        parties in 2..=5_u16,
        seed in 0..1000_u64,
        live in any::<u32>(),
    ) {
        let threshold = 2 + u16::try_from(seed).unwrap() % (parties - 1);
        let committee = Committee::new(parties, seed);
        let mut pairs: BTreeMap<NodeId, BTreeMap<NodeId, PairStatus>> = BTreeMap::new();
        let mut names = BTreeMap::new();
        let couples = (1..=parties).flat_map(|one| (1..one).map(move |other| (other, one)));
        for (number, (one, other)) in couples.enumerate() {
            if (live >> number) & 1 == 0 {
                continue;
            }
            let nodes = [committee.node(one), committee.node(other)];
            for (node, record) in nodes.into_iter().zip(PairRecord::deal(nodes, 7, &mut rng(seed))) {
                names.insert((node, record.peer()), record.name());
                let status = PairStatus { last_generation: 7, live: Some(Arc::new(record)) };
                let peer = status.live.as_ref().unwrap().peer();
                pairs.entry(node).or_default().insert(peer, status);
            }
        }
        let mut run = Simulator::start_paired(committee.clone(), Purpose::Ecdsa, threshold, seed, pairs);
        let mut at = usize::try_from(seed).unwrap();
        while !run.network.is_empty() {
            at = at.wrapping_mul(31).wrapping_add(7);
            let at = at % run.network.len();
            let flight = run.network.remove(at).unwrap();
            prop_assert_eq!(run.deliver(flight), Ok(()));
        }
        for index in 1..=parties {
            for pair in &run.output(index).pairs {
                prop_assert_eq!(pair.generation(), 1);
                prop_assert!(names.insert((committee.node(index), pair.peer()), pair.name()).is_none());
            }
        }
        prop_assert_eq!(names.len(), usize::from(parties) * usize::from(parties - 1));
        for ((node, peer), name) in &names {
            prop_assert_eq!(&names[&(*peer, *node)], name);
        }
    }
}
