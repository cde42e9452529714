//! Keys for ECDSA: the pair setups that a key generation makes or goes on with, and what they are good for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mpc_core::dkg::{DkgOutput, PairStatus, Pending};
use mpc_core::ecdsa::{self, Payload, PoolEntry, Preprocessing, Setup, SigningRequest, combine};
use mpc_core::envelope::{Envelope, Kind};
use mpc_core::hd::DerivationPath;
use mpc_core::id::{NodeId, PairId, PoolId, Purpose, RequestId};
use mpc_core::session::{Inbound, Ready, Recipient, Session as _, WriteKind};
use mpc_core::testing::{Committee, Flight, Simulator, rng};
use mpc_core::{Error, Fault, Strength};

use crate::signing::verify;

type Pairs = BTreeMap<NodeId, BTreeMap<NodeId, PairStatus>>;

/// Every node's setups after a run, as the next run finds them.
fn live(outputs: BTreeMap<NodeId, DkgOutput>) -> Pairs {
    let status = |pair| {
        let pair = Arc::new(pair);
        let last_generation = mpc_core::pair::PairRecord::generation(&pair);
        let live = Some(Arc::clone(&pair));
        let status = PairStatus {
            last_generation,
            live,
        };
        (pair.peer(), status)
    };
    outputs
        .into_iter()
        .map(|(node, output)| (node, output.pairs.into_iter().map(status).collect()))
        .collect()
}

fn outputs(mut run: Simulator) -> BTreeMap<NodeId, DkgOutput> {
    let end = |(node, result): (NodeId, Result<DkgOutput, Error>)| (node, result.unwrap());
    core::mem::take(&mut run.results)
        .into_iter()
        .map(end)
        .collect()
}

fn finished(purpose: Purpose, threshold: u16, parties: u16, seed: u64) -> Simulator {
    let mut run = Simulator::start(purpose, threshold, parties, seed);
    run.run();
    run
}

/// Signs with the shares and setups that key generations left, as the nodes would.
fn sign(
    committee: &Committee,
    outputs: &BTreeMap<NodeId, DkgOutput>,
    pairs: &Pairs,
    indices: &[u16],
) {
    let signers: BTreeSet<NodeId> = indices.iter().map(|index| committee.node(*index)).collect();
    let mut runs = BTreeMap::new();
    let mut letters = Vec::new();
    for (seed, node) in (0..).zip(&signers) {
        let setup = Setup {
            roster: committee.roster.clone(),
            me: *node,
            signers: signers.clone(),
            pool_id: PoolId::from_bytes([1; 32]),
            pairs: signers
                .iter()
                .filter(|peer| *peer != node)
                .map(|peer| (*peer, pairs[node][peer].live.clone().unwrap()))
                .collect(),
        };
        let identity = Arc::clone(committee.identity_of(node));
        let (run, step) = Preprocessing::start(setup, identity, &mut rng(seed), 0, 9).unwrap();
        runs.insert(*node, run);
        letters.push((*node, step));
    }
    let mut entries: BTreeMap<NodeId, PoolEntry> = BTreeMap::new();
    while let Some((from, step)) = letters.pop() {
        let effects = match step.split() {
            Ready::Now(effects) => effects,
            Ready::AfterWrite(write, held) => held.release(write.stored()).unwrap(),
        };
        if let Some(entry) = effects.output {
            entries.insert(from, entry);
        }
        for outbound in effects.send {
            let Recipient::One(to) = outbound.to else {
                panic!("every message has an address")
            };
            let bytes = outbound.bytes;
            let step = runs
                .get_mut(&to)
                .unwrap()
                .handle(Inbound { from, bytes }, 1);
            letters.push((to, step.unwrap()));
        }
    }
    let public = outputs.values().next().unwrap().share.public();
    let path = DerivationPath::new([4]).unwrap();
    let payload = Payload::Sha256(b"made together");
    let request_id = RequestId::from_bytes([2; 32]);
    let request = SigningRequest::new(public, &signers, &path, &payload, request_id).unwrap();
    let name = entries.values().next().unwrap().name();
    let (mut states, mut openings) = (Vec::new(), Vec::new());
    for (node, entry) in entries {
        let identity = committee.identity_of(&node);
        let share = &outputs[&node].share;
        let (write, held) =
            ecdsa::open(entry, share, request.clone(), identity, &mut rng(7)).unwrap();
        let (state, opening) = held.release(write.stored()).unwrap();
        states.push((node, state));
        openings.push(opening);
    }
    let responses: Vec<_> = states
        .into_iter()
        .map(|(node, state)| {
            let identity = committee.identity_of(&node);
            state
                .respond(&committee.roster, identity, &openings)
                .unwrap()
        })
        .collect();
    let signature = combine(&committee.roster, &request, &name, &openings, &responses).unwrap();
    verify(&request, &signature);
}

#[test]
fn a_key_comes_with_a_setup_for_every_pair_and_signs() {
    for (threshold, parties, quorum) in [(2, 2, &[1, 2][..]), (2, 3, &[1, 3]), (3, 4, &[1, 2, 4])] {
        let run = finished(Purpose::Ecdsa, threshold, parties, 5);
        let committee = run.committee.clone();
        let mut outputs = outputs(run);
        let mut names: BTreeMap<BTreeSet<NodeId>, BTreeSet<PairId>> = BTreeMap::new();
        for (node, output) in &outputs {
            assert_eq!(output.pairs.len(), usize::from(parties) - 1);
            for pair in &output.pairs {
                assert_eq!(pair.generation(), 1);
                let both = BTreeSet::from([*node, pair.peer()]);
                names.entry(both).or_default().insert(pair.name());
            }
        }
        assert!(
            names.values().all(|names| names.len() == 1),
            "both name a setup alike"
        );
        let all: BTreeSet<_> = names.values().flatten().collect();
        assert_eq!(all.len(), names.len(), "no two setups have one name");
        let taken = outputs
            .iter_mut()
            .map(|(node, output)| {
                let pairs = std::mem::take(&mut output.pairs);
                let status = pairs.into_iter().map(|pair| {
                    let pair = Arc::new(pair);
                    let live = Some(Arc::clone(&pair));
                    (
                        pair.peer(),
                        PairStatus {
                            last_generation: 1,
                            live,
                        },
                    )
                });
                (*node, status.collect())
            })
            .collect();
        sign(&committee, &outputs, &taken, quorum);
    }
}

#[test]
fn a_second_key_goes_on_with_the_setups_of_the_first() {
    let first = finished(Purpose::Ecdsa, 2, 3, 6);
    let committee = first.committee.clone();
    let pairs = live(outputs(first));
    let mut second =
        Simulator::start_paired(committee.clone(), Purpose::Ecdsa, 2, 7, pairs.clone());
    second.run();
    let bytes: usize = second
        .stores
        .values()
        .flatten()
        .map(|stored| stored.bytes.len())
        .sum();
    assert!(bytes < 10_000, "nothing about setups is stored again");
    let outputs = outputs(second);
    assert!(outputs.values().all(|output| output.pairs.is_empty()));
    sign(&committee, &outputs, &pairs, &[2, 3]);
}

#[test]
fn setups_are_made_again_where_they_are_missing_at_both_ends() {
    let first = finished(Purpose::Ecdsa, 2, 3, 8);
    let committee = first.committee.clone();
    let mut pairs = live(outputs(first));
    let (one, two) = (committee.node(1), committee.node(2));
    // One of them has lost its store altogether, the other keeps count.
    pairs.get_mut(&one).unwrap().remove(&two);
    pairs.get_mut(&two).unwrap().get_mut(&one).unwrap().live = None;
    let mut second = Simulator::start_paired(committee, Purpose::Ecdsa, 2, 9, pairs);
    second.run();
    for (node, output) in outputs(second) {
        let made: Vec<_> = output
            .pairs
            .iter()
            .map(|pair| (pair.peer(), pair.generation()))
            .collect();
        let expected = [(one, two), (two, one)].into_iter();
        let expected = expected
            .filter(|(of, _)| *of == node)
            .map(|(_, peer)| (peer, 2));
        assert_eq!(made, expected.collect::<Vec<_>>());
    }
}

#[test]
fn a_setup_that_one_end_has_and_the_other_has_not_stops_the_run_and_blames_nobody() {
    let first = finished(Purpose::Ecdsa, 2, 2, 10);
    let committee = first.committee.clone();
    let mut pairs = live(outputs(first));
    let (one, two) = (committee.node(1), committee.node(2));
    pairs.get_mut(&one).unwrap().clear();
    let mut second = Simulator::start_paired(committee, Purpose::Ecdsa, 2, 11, pairs);
    second.run();
    for (index, peer) in [(1, two), (2, one)] {
        let Error::Aborted(abort) = second.error(index) else {
            panic!("{:?}", second.error(index))
        };
        assert_eq!(abort.fault, Fault::StalePair { peer });
        assert!(abort.culprits.is_empty() && abort.poisons().is_none());
    }
}

#[test]
fn setups_with_different_seeds_are_found_when_the_key_is_certified() {
    let [a, b] = [12, 13].map(|seed| finished(Purpose::Ecdsa, 2, 2, seed));
    let committee = a.committee.clone();
    let other = Simulator::start_with(committee.clone(), Purpose::Ecdsa, 2, 14);
    let mut other = other;
    other.run();
    drop(b);
    let (mut ours, theirs) = (live(outputs(a)), live(outputs(other)));
    let two = committee.node(2);
    ours.insert(two, theirs[&two].clone());
    let mut second = Simulator::start_paired(committee.clone(), Purpose::Ecdsa, 2, 15, ours);
    second.run();
    for (index, peer) in [(1, two), (2, committee.node(1))] {
        let Error::Aborted(abort) = second.error(index) else {
            panic!("{:?}", second.error(index))
        };
        assert_eq!(abort.fault, Fault::StalePair { peer });
        assert!(abort.culprits.is_empty());
    }
}

#[test]
fn what_is_stored_before_the_certificate_leaves_holds_the_new_setups() {
    let run = finished(Purpose::Ecdsa, 2, 3, 16);
    let node = run.committee.node(1);
    let stored = run.stores[&node]
        .iter()
        .find(|stored| stored.kind == WriteKind::Share)
        .unwrap();
    let pending = Pending::dangerous_from_bytes(&stored.bytes).unwrap();
    let names: Vec<_> = pending
        .pairs()
        .iter()
        .map(|pair| (pair.peer(), pair.name()))
        .collect();
    let parts = run.output(2).certificate.parts().clone();
    let finished = pending.finish(parts.values()).unwrap();
    let expected = &run.output(1).pairs;
    assert_eq!(
        names,
        expected
            .iter()
            .map(|pair| (pair.peer(), pair.name()))
            .collect::<Vec<_>>()
    );
    for (ours, theirs) in finished.pairs.iter().zip(expected) {
        assert_eq!(ours.dangerous_to_bytes(), theirs.dangerous_to_bytes());
    }
}

/// Node 2 changes one byte of what it tells node 1 about their setup.
fn meddled(kind: Kind, at: usize, signed: bool) -> Simulator {
    let mut run = Simulator::start(Purpose::Ecdsa, 2, 3, 17);
    let (one, two) = (run.committee.node(1), run.committee.node(2));
    run.run_with(|committee, mut flight| {
        let envelope = Envelope::open(&committee.roster, &flight.bytes).unwrap();
        if (flight.from, flight.to, envelope.header().kind) == (two, one, kind) {
            flight.bytes = if signed {
                committee.reseal(&flight.bytes, |_, body| body[at] ^= 1)
            } else {
                let mut bytes = flight.bytes;
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                bytes
            };
        }
        vec![flight]
    });
    run
}

#[test]
fn a_setup_that_fails_its_trial_is_discarded_and_nobody_is_poisoned() {
    for (kind, at) in [
        (Kind::DkgTrialExtension, 32),
        (Kind::DkgTrialExtension, 14_000),
        (Kind::DkgTrialMultiply, 32 + 31),
        (Kind::DkgTrialMultiply, 73_800),
    ] {
        let run = meddled(kind, at, true);
        let Error::Aborted(abort) = run.error(1) else {
            panic!("{kind} {at}: {:?}", run.error(1))
        };
        let peer = run.committee.node(2);
        assert_eq!(abort.fault, Fault::PairSetupFailed { peer }, "{kind} {at}");
        assert!(abort.culprits.is_empty() && abort.poisons().is_none());
        let stored = run.stores.get(&run.committee.node(1)).unwrap();
        assert!(stored.iter().all(|stored| stored.kind != WriteKind::Share));
    }
}

#[test]
fn a24_a_reply_that_is_no_point_is_the_senders_fault() {
    let mut found = 0;
    for at in 0..12 {
        let run = meddled(Kind::DkgReply, at * 32, true);
        let two = run.committee.node(2);
        match run.error(1) {
            // Half of all strings are no points.
            Error::Aborted(abort) if !abort.culprits.is_empty() => {
                assert!(matches!(
                    abort.fault,
                    Fault::Malformed {
                        message: Kind::DkgReply,
                        ..
                    }
                ));
                assert_eq!(abort.culprits, [(two, Strength::Local)]);
                found += 1;
            }
            Error::Aborted(abort) => assert_eq!(abort.fault, Fault::PairSetupFailed { peer: two }),
            other => panic!("{other:?}"),
        }
    }
    assert!(found > 0);
}

#[test]
fn a19_what_a_relay_changes_is_dropped() {
    for kind in [
        Kind::DkgReply,
        Kind::DkgTrialExtension,
        Kind::DkgTrialMultiply,
    ] {
        let mut run = meddled(kind, 0, false);
        let one = run.committee.node(1);
        assert!(
            !run.results.contains_key(&one),
            "{kind}: it waits for the genuine message"
        );
        run.expire();
        assert!(matches!(run.error(1), Error::TimedOut { .. }), "{kind}");
        assert!(run.error(1).culprits().is_empty());
    }
}

#[test]
fn messages_about_setups_may_come_in_any_order_and_twice() {
    for seed in 0..40 {
        let mut run = Simulator::start(Purpose::Ecdsa, 2, 3, 18);
        let mut source = rng(seed);
        let mut below = |bound: usize| {
            let mut byte = [0; 2];
            rand_core::Rng::fill_bytes(&mut source, &mut byte);
            usize::from(u16::from_be_bytes(byte)) % bound
        };
        while !run.network.is_empty() {
            let at = below(run.network.len());
            let flight = run.network.remove(at).unwrap();
            if below(4) == 0 {
                let again: Flight = flight.clone();
                run.network.push_back(again);
            }
            let _duplicates_are_rejected = run.deliver(flight);
        }
        for index in 1..=3 {
            assert_eq!(run.output(index).pairs.len(), 2, "seed {seed}");
        }
    }
}
