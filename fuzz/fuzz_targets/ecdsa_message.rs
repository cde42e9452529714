//! Each message of threshold ECDSA with any body, signed by member 3: no panic, and it can only ever accuse member 3.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mpc_core::ecdsa::blame::blame;
use mpc_core::ecdsa::combine;
use mpc_core::ecdsa::preprocess::recheck;
use mpc_core::envelope::Kind;
use quorate_fuzz::forge;
use quorate_fuzz::signers::Trial;

const KINDS: [Kind; 6] = [
    Kind::EcdsaCommit,
    Kind::EcdsaExtend,
    Kind::EcdsaMultiply,
    Kind::EcdsaOpen,
    Kind::EcdsaRespond,
    Kind::EcdsaExplain,
];

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, body)) = bytes.split_first() else {
        return;
    };
    let trial = Trial::of(choice & 0x80 != 0);
    let kind = KINDS[usize::from(choice & 0x7F) % KINDS.len()];
    let genuine = trial.genuine(kind);
    let committee = &trial.signers.committee;
    let forged = committee.reseal(genuine, |_, own| *own = body.to_vec());
    let alone = forge::evidence(8, &trial.context(), std::slice::from_ref(&forged));
    trial.convicts_nobody_else(&alone);
    match kind {
        Kind::EcdsaCommit | Kind::EcdsaExtend => extension(trial, kind, &forged),
        Kind::EcdsaMultiply => multiplication(trial, genuine, &forged),
        _ => online(trial, kind, &forged),
    }
});

fn extension(trial: &Trial, kind: Kind, forged: &[u8]) {
    let pick = |wanted| {
        let bytes = if wanted == kind {
            forged
        } else {
            trial.genuine(wanted)
        };
        bytes.to_vec()
    };
    let [commit, extend] = [Kind::EcdsaCommit, Kind::EcdsaExtend].map(pick);
    let victim = trial.victim();
    let pair = trial.signers.pair(&victim, &trial.cheat());
    let roster = &trial.signers.committee.roster;
    if let Err(error) = recheck(roster, &victim, pair, &trial.set, &commit, &extend) {
        trial.judge(&error);
    }
    let zero = forge::evidence(9, &trial.context(), &[commit.clone(), extend]);
    trial.convicts_nobody_else(&zero);
    let of_others = trial
        .set
        .iter()
        .filter(|node| **node != trial.cheat())
        .map(|node| trial.said[&(Kind::EcdsaCommit, *node, None)].clone());
    let mut messages: Vec<Vec<u8>> = of_others.chain([commit]).collect();
    messages.push(trial.genuine(Kind::EcdsaOpen).to_vec());
    trial.convicts_nobody_else(&forge::evidence(10, &trial.context(), &messages));
}

fn multiplication(trial: &Trial, genuine: &[u8], forged: &[u8]) {
    let ended = trial.signers.preprocess_with(&trial.set, 5, |mut letter| {
        if letter.bytes == genuine {
            letter.bytes = forged.to_vec();
        }
        vec![letter]
    });
    for (node, end) in ended {
        if let (true, Some(Err(error))) = (node != trial.cheat(), end) {
            trial.judge(&error);
        }
    }
}

fn online(trial: &Trial, kind: Kind, forged: &[u8]) {
    let genuine = trial.genuine(kind);
    let swap = |list: &[Vec<u8>]| -> Vec<Vec<u8>> {
        let change = |bytes: &Vec<u8>| match bytes == genuine {
            true => forged.to_vec(),
            false => bytes.clone(),
        };
        list.iter().map(change).collect()
    };
    let [openings, responses] = [swap(&trial.rounds[0]), swap(&trial.rounds[1])];
    let roster = &trial.signers.committee.roster;
    let (request, entry) = (&trial.request, &trial.entry);
    if let Err(error) = combine(roster, request, entry, &openings, &responses) {
        trial.judge(&error);
    }
    let explanations = swap(&trial.explanations);
    match blame(roster, request, entry, &openings, &responses, &explanations) {
        Ok(verdict) => {
            for abort in verdict.guilty {
                trial.judge(&abort.into());
            }
            let honest = verdict
                .unexplained
                .iter()
                .all(|node| *node == trial.cheat());
            assert!(honest, "{:?}", verdict.unexplained);
        }
        Err(error) => trial.judge(&error),
    }
    let (context, messages) = &trial.proof;
    trial.convicts_nobody_else(&forge::evidence(11, context, &swap(messages)));
    let mut opened: Vec<Vec<u8>> = trial
        .set
        .iter()
        .map(|node| trial.said[&(Kind::EcdsaCommit, *node, None)].clone())
        .collect();
    opened.push(forged.to_vec());
    trial.convicts_nobody_else(&forge::evidence(10, &trial.context(), &opened));
}
