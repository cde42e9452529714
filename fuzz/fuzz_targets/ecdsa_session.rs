//! One ECDSA signature, from preprocessing to the end, by honest signers and one that lies, over a network that loses, repeats and
//! changes: no panic, no honest signer is ever blamed or banned, and without lies and losses there is a signature.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use mpc_core::ecdsa::blame::blame;
use mpc_core::ecdsa::{Opened, PoolEntry, combine};
use mpc_core::id::NodeId;
use mpc_core::testing::{Letter, rng};
use mpc_core::{Error, Fault};
use quorate_fuzz::script::Script;
use quorate_fuzz::signers::Trial;

/// Something was lost, or the liar said something else than it should have.
#[derive(Clone, Copy, Debug, Default)]
struct Damage(bool);

fuzz_target!(|bytes: &[u8]| {
    let mut script = Script::new(bytes);
    let trial = Trial::of(script.byte() % 2 == 1);
    let mut damage = Damage::default();
    let ended = trial.signers.preprocess_with(&trial.set, 7, |letter| {
        carry(trial, &mut script, &mut damage, letter)
    });
    let mut entries = BTreeMap::new();
    for (node, end) in ended {
        match end {
            Some(Ok(entry)) => {
                entries.insert(node, entry);
            }
            Some(Err(error)) if node != trial.cheat() => {
                trial.judge(&error);
                assert!(damage.0, "{error:?} although all went well");
            }
            _ => {}
        }
    }
    if entries.len() == trial.set.len() {
        sign(trial, &mut script, &mut damage, entries);
    } else {
        assert!(damage.0, "no entry although all went well");
    }
});

/// What the network, or the liar, makes of a message of preprocessing.
fn carry(
    trial: &Trial,
    script: &mut Script<'_>,
    damage: &mut Damage,
    mut letter: Letter,
) -> Vec<Letter> {
    match script.byte() % 8 {
        1 => {
            damage.0 = true;
            Vec::new()
        }
        2 => vec![letter.clone(), letter],
        3 => {
            // Nobody has signed what arrives; the genuine one comes after it.
            let genuine = letter.clone();
            script.change(&mut letter.bytes);
            vec![letter, genuine]
        }
        4 if letter.from == trial.cheat() => {
            damage.0 = true;
            letter.bytes = lie(trial, script, &letter.bytes);
            vec![letter]
        }
        _ => vec![letter],
    }
}

fn lie(trial: &Trial, script: &mut Script<'_>, genuine: &[u8]) -> Vec<u8> {
    trial.signers.committee.reseal(genuine, |header, body| {
        if script.byte() % 16 == 1 {
            header.round = script.byte();
        }
        script.change(body);
    })
}

/// What a signer is shown instead of what the others have said.
fn shown(
    trial: &Trial,
    script: &mut Script<'_>,
    damage: &mut Damage,
    genuine: &[Vec<u8>],
) -> Vec<Vec<u8>> {
    let mut list = Vec::new();
    for (node, bytes) in trial.set.iter().zip(genuine) {
        match script.byte() % 8 {
            1 => damage.0 = true,
            2 => {
                damage.0 = true;
                list.extend([bytes.clone(), bytes.clone()]);
            }
            3 => {
                damage.0 = true;
                let mut changed = bytes.clone();
                script.change(&mut changed);
                list.push(changed);
            }
            4 if *node == trial.cheat() => {
                damage.0 = true;
                list.push(lie(trial, script, bytes));
            }
            _ => list.push(bytes.clone()),
        }
    }
    list
}

fn sign(
    trial: &Trial,
    script: &mut Script<'_>,
    damage: &mut Damage,
    entries: BTreeMap<NodeId, PoolEntry>,
) {
    let committee = &trial.signers.committee;
    let mut names: Vec<_> = entries.values().map(PoolEntry::name).collect();
    let name = names[0];
    names.dedup();
    assert_eq!(names.len(), 1, "one session with two names");
    let mut openings = Vec::new();
    let mut states: Vec<(NodeId, Opened)> = Vec::new();
    for (number, (node, entry)) in (0..).zip(entries) {
        let opened = trial
            .signers
            .open(&node, entry, &trial.request, &mut rng(number));
        let (state, bytes) = opened.expect("an entry of these signers");
        states.push((node, state));
        openings.push(bytes);
    }
    let (mut responses, mut explaining) = (Vec::new(), Vec::new());
    for (node, state) in states {
        let identity = committee.identity_of(&node);
        let given = shown(trial, script, damage, &openings);
        match state.respond_accountably(&committee.roster, identity, &given) {
            Ok((bytes, state)) => {
                responses.push(bytes);
                explaining.push((node, state));
            }
            Err(_) if node == trial.cheat() => {}
            Err(error) => {
                assert!(damage.0, "{error:?} although all went well");
                trial.judge(&error);
            }
        }
    }
    if responses.len() < trial.set.len() {
        return;
    }
    let [openings, responses] =
        [&openings, &responses].map(|genuine| shown(trial, script, damage, genuine));
    let (roster, request) = (&committee.roster, &trial.request);
    match combine(roster, request, &name, &openings, &responses) {
        Ok(_) => {}
        Err(Error::Aborted(abort)) if abort.fault == Fault::InvalidSignature => {
            assert!(damage.0);
            let explain = |(node, state): (NodeId, mpc_core::ecdsa::Responded)| {
                let identity = committee.identity_of(&node);
                let rng = &mut rng(9);
                let said = state.explain_unchecked(roster, identity, &openings, &responses, rng);
                let said = said.expect("a spoilt signature");
                if node == trial.cheat() {
                    lie(trial, script, &said)
                } else {
                    said
                }
            };
            let explanations: Vec<Vec<u8>> = explaining.into_iter().map(explain).collect();
            match blame(roster, request, &name, &openings, &responses, &explanations) {
                Ok(verdict) => {
                    let guilty = verdict.guilty.iter();
                    guilty.for_each(|abort| trial.judge(&abort.clone().into()));
                    let silent = verdict.unexplained.iter();
                    silent.for_each(|node| assert_eq!(*node, trial.cheat()));
                    assert!(!verdict.guilty.is_empty() || !verdict.unexplained.is_empty());
                }
                Err(error) => trial.judge(&error),
            }
        }
        Err(error) => {
            assert!(damage.0, "{error:?} although all went well");
            trial.judge(&error);
        }
    }
}
