//! The form of three messages for two signers without a pool.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use mpc_core::ecdsa::{EcdsaSignature, Fused, Payload, SigningRequest};
use mpc_core::envelope::{Envelope, Kind, Recipient};
use mpc_core::hd::DerivationPath;
use mpc_core::id::{NodeId, PoolId, Purpose};
use mpc_core::keys::KeyShare;
use mpc_core::session::{Effects, Inbound, Ready, Session, Step, WriteKind};
use mpc_core::testing::{Letter, Signers, rng};
use mpc_core::{Error, Fault, Misuse};

use crate::signing::verify;

/// What a run of two signers came to.
struct Run {
    results: BTreeMap<NodeId, Result<EcdsaSignature, Error>>,
    writes: BTreeMap<NodeId, Vec<WriteKind>>,
    /// How many messages had to arrive one after the other until each letter could be sent.
    rounds: usize,
}

fn own(share: &KeyShare) -> Arc<KeyShare> {
    let bytes = share.dangerous_to_bytes();
    Arc::new(KeyShare::dangerous_from_bytes(&bytes).unwrap())
}

fn run(
    signers: &Signers,
    request: &SigningRequest,
    set: &BTreeSet<NodeId>,
    seed: u64,
    mut meddle: impl FnMut(Letter) -> Vec<Letter>,
) -> Run {
    let mut letters = VecDeque::new();
    let (mut runs, mut results, mut writes) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut rounds = 0;
    let mut carry_out = |node: NodeId, step: Step<EcdsaSignature>| -> Effects<EcdsaSignature> {
        match step.split() {
            Ready::Now(effects) => effects,
            Ready::AfterWrite(write, held) => {
                writes
                    .entry(node)
                    .or_insert_with(Vec::new)
                    .push(write.kind());
                held.release(write.stored()).unwrap()
            }
        }
    };
    let post = |from: NodeId, effects: &Effects<EcdsaSignature>, round: usize| {
        let sent = effects.send.iter().map(move |outbound| {
            let Recipient::One(to) = outbound.to else {
                panic!("every message is addressed")
            };
            (
                round,
                Letter {
                    from,
                    to,
                    bytes: outbound.bytes.clone(),
                },
            )
        });
        sent.collect::<Vec<_>>()
    };
    for (number, node) in (0_u64..).zip(set) {
        let setup = signers.setup(set, *node, PoolId::from_bytes([7; 32]));
        let (share, identity) = (
            own(signers.share(node)),
            signers.committee.identity_of(node),
        );
        let mut source = rng(seed * 10 + number);
        let (fused, step) = Fused::start(
            setup,
            request.clone(),
            share,
            Arc::clone(identity),
            &mut source,
            0,
            1000,
        )
        .unwrap();
        letters.extend(post(*node, &carry_out(*node, step), 1));
        runs.insert(*node, fused);
    }
    while let Some((round, letter)) = letters.pop_front() {
        rounds = rounds.max(round);
        for Letter { from, to, bytes } in meddle(letter) {
            let step = match runs
                .get_mut(&to)
                .unwrap()
                .handle(Inbound { from, bytes }, 1)
            {
                Ok(step) => step,
                Err(Error::Rejected(_)) => continue,
                Err(error) => {
                    results.entry(to).or_insert(Err(error));
                    continue;
                }
            };
            let effects = carry_out(to, step);
            letters.extend(post(to, &effects, round + 1));
            if let Some(signature) = effects.output {
                results.insert(to, Ok(signature));
            }
        }
    }
    Run {
        results,
        writes,
        rounds,
    }
}

fn stage() -> (Signers, BTreeSet<NodeId>, SigningRequest) {
    let signers = Signers::deal(Purpose::Ecdsa, 2, 3, 120);
    let set = signers.set(&[1, 3]);
    let path = DerivationPath::new([44, 0]).unwrap();
    let request = signers.request(&set, &path, &Payload::Keccak256(b"fused"));
    (signers, set, request)
}

#[test]
fn two_signers_need_three_messages_and_both_get_the_signature() {
    let (signers, set, request) = stage();
    for seed in 1..6 {
        let run = run(&signers, &request, &set, seed, |letter| vec![letter]);
        assert_eq!(run.rounds, 3);
        let signatures: Vec<_> = run
            .results
            .values()
            .map(|result| *result.as_ref().unwrap())
            .collect();
        let [one, two] = signatures[..] else {
            panic!("both finish")
        };
        assert_eq!(one, two);
        verify(&request, &one);
        for writes in run.writes.values() {
            assert_eq!(writes[..], [WriteKind::Replay, WriteKind::Entry]);
        }
    }
}

#[test]
fn a38_nothing_of_the_nonce_is_opened_before_the_peer_has_committed_and_proven() {
    // Until the peer's extension has been checked no opening leaves; until its multiplication has been checked no response.
    let (signers, set, request) = stage();
    let kind = |letter: &Letter| {
        let roster = &signers.committee.roster;
        Envelope::open(roster, &letter.bytes).unwrap().header().kind
    };
    for dropped in [
        Kind::EcdsaCommit,
        Kind::EcdsaExtend,
        Kind::EcdsaMultiply,
        Kind::EcdsaOpen,
    ] {
        let mut seen = BTreeSet::new();
        let run = run(&signers, &request, &set, 1, |letter| {
            seen.insert(kind(&letter));
            if kind(&letter) == dropped {
                vec![]
            } else {
                vec![letter]
            }
        });
        assert!(run.results.is_empty());
        assert!(!seen.contains(&Kind::EcdsaRespond), "without {dropped}");
        if matches!(dropped, Kind::EcdsaCommit | Kind::EcdsaExtend) {
            assert!(!seen.contains(&Kind::EcdsaOpen), "without {dropped}");
        }
    }
}

#[test]
fn a38_order_of_arrival_does_not_matter_to_the_fused_form() {
    let (signers, set, request) = stage();
    // Every letter in turn is late by one to four others.
    for late in 0..10 {
        for by in 1..=4 {
            let (mut number, mut held) = (0, None);
            let run = run(&signers, &request, &set, 1, |letter| {
                number += 1;
                if number == late + 1 {
                    held = Some(letter);
                    return vec![];
                }
                let due = number > late + 1 + by;
                let old = if due { held.take() } else { None };
                [letter].into_iter().chain(old).collect()
            });
            assert!(
                run.results.values().all(Result::is_ok),
                "letter {late} late by {by}"
            );
            if held.is_none() {
                assert_eq!(run.results.len(), 2, "letter {late} late by {by}");
            }
        }
    }
}

#[test]
fn a17_a19_a27_the_fused_form_checks_the_same_values() {
    let (signers, set, request) = stage();
    let cheater = *set.first().unwrap();
    let (victim, roster) = (*set.last().unwrap(), &signers.committee.roster);
    // Kind, a byte of a field of it, and whether the setup is poisoned.
    let changes = [
        (Kind::EcdsaCommit, 31, true),
        (Kind::EcdsaCommit, 63, false),
        (Kind::EcdsaExtend, 31, false),
        (Kind::EcdsaExtend, 32 + 100, true),
        (Kind::EcdsaExtend, 32 + 14_340, true),
        (Kind::EcdsaExtend, 32 + 14_383, true),
        (Kind::EcdsaMultiply, 31, false),
        (Kind::EcdsaMultiply, 32 + 31, true),
        (Kind::EcdsaMultiply, 32 + 73_759, true),
        (Kind::EcdsaMultiply, 32 + 73_791, true),
        (Kind::EcdsaOpen, 31, false),
        (Kind::EcdsaOpen, 63, false),
        (Kind::EcdsaOpen, 128, false),
        (Kind::EcdsaOpen, 129 + 31, true),
        (Kind::EcdsaOpen, 129 + 63, true),
        (Kind::EcdsaRespond, 31, false),
        (Kind::EcdsaRespond, 63, false),
        (Kind::EcdsaRespond, 95, false),
    ];
    for (kind, place, poisons) in changes {
        let mut run = run(&signers, &request, &set, 1, |mut letter| {
            let envelope = Envelope::open(roster, &letter.bytes).unwrap();
            if letter.from == cheater && envelope.header().kind == kind {
                letter.bytes = signers
                    .committee
                    .reseal(&letter.bytes, |_, body| body[place] ^= 1);
            }
            vec![letter]
        });
        let error = run.results.remove(&victim).unwrap().unwrap_err();
        let Error::Aborted(abort) = &error else {
            panic!("{kind} {place}: {error:?}")
        };
        assert_eq!(
            abort.poisons(),
            poisons.then_some(cheater),
            "{kind} {place}: {:?}",
            abort.fault
        );
        assert!(
            error.culprits().iter().all(|culprit| *culprit == cheater),
            "{kind} {place}"
        );
    }
}

#[test]
fn a41_the_fused_form_of_two_requests_ends_without_consequences() {
    let (signers, set, request) = stage();
    let path = DerivationPath::new([44, 1]).unwrap();
    let other = signers.request(&set, &path, &Payload::Keccak256(b"fused"));
    // One node is asked for something else: its letters come from another run of the same preprocessing.
    let nodes: Vec<_> = set.iter().copied().collect();
    let mut theirs = Vec::new();
    run(&signers, &other, &set, 1, |letter| {
        if letter.from == nodes[0] {
            theirs.push(letter.clone());
        }
        vec![letter]
    });
    let mut number = 0;
    let run = run(&signers, &request, &set, 1, |letter| {
        if letter.from != nodes[0] {
            return vec![letter];
        }
        number += 1;
        theirs.get(number - 1).cloned().into_iter().collect()
    });
    let Some(Err(Error::Aborted(abort))) = run.results.get(&nodes[1]) else {
        panic!("another request was signed")
    };
    assert_eq!(abort.fault, Fault::RequestMismatch { node: nodes[0] });
    assert!(abort.culprits.is_empty());
}

#[test]
fn the_fused_form_is_for_two() {
    let signers = Signers::deal(Purpose::Ecdsa, 3, 3, 121);
    let set = signers.set(&[1, 2, 3]);
    let path = DerivationPath::new([]).unwrap();
    let request = signers.request(&set, &path, &Payload::Sha256(b"m"));
    let me = *set.first().unwrap();
    let start = |set: &BTreeSet<NodeId>, request: &SigningRequest| {
        let setup = signers.setup(set, me, PoolId::from_bytes([7; 32]));
        let identity = Arc::clone(signers.committee.identity_of(&me));
        let share = own(signers.share(&me));
        let started = Fused::start(
            setup,
            request.clone(),
            share,
            identity,
            &mut rng(1),
            0,
            1000,
        );
        started.map(|_| ()).unwrap_err()
    };
    assert!(matches!(
        start(&set, &request),
        Error::Misuse(Misuse::InvalidSigners(_))
    ));
    assert!(matches!(
        start(&signers.set(&[1, 2]), &request),
        Error::Misuse(Misuse::InvalidSigners(_))
    ));
    let _: BTreeSet<NodeId> = set;
}

#[test]
fn silence_ends_the_fused_form_in_time() {
    let (signers, set, request) = stage();
    let me = *set.first().unwrap();
    let peer = *set.last().unwrap();
    let setup = signers.setup(&set, me, PoolId::from_bytes([7; 32]));
    let identity = Arc::clone(signers.committee.identity_of(&me));
    let share = own(signers.share(&me));
    let (mut fused, _) =
        Fused::start(setup, request, share, identity, &mut rng(1), 5, 1000).unwrap();
    assert_eq!(fused.deadline_ms(), Some(1005));
    assert!(fused.tick(1004).is_ok());
    let missing = BTreeSet::from([peer]);
    assert_eq!(fused.waiting_for(), missing);
    assert_eq!(
        fused.tick(1005).unwrap_err(),
        Error::TimedOut {
            missing: missing.clone()
        }
    );
    assert_eq!(fused.tick(2000).unwrap_err(), Error::TimedOut { missing });
    assert_eq!(fused.deadline_ms(), None);
}
