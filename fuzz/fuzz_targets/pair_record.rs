//! What a node keeps of a pair setup: no panic, one encoding, and whatever the record says, it is used up to a refusal and no further.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use mpc_core::ecdsa::preprocess::{Preprocessing, Setup, recheck};
use mpc_core::envelope::Kind;
use mpc_core::id::PoolId;
use mpc_core::pair::PairRecord;
use mpc_core::session::{Inbound, Session as _};
use mpc_core::testing::rng;
use quorate_fuzz::signers::Trial;

fuzz_target!(|bytes: &[u8]| {
    let Ok(record) = PairRecord::dangerous_from_bytes(bytes) else {
        return;
    };
    assert_eq!(record.dangerous_to_bytes().as_slice(), bytes);
    assert!(record.generation() > 0);
    let trial = Trial::of(false);
    let (victim, cheat) = (trial.victim(), trial.cheat());
    let roster = &trial.signers.committee.roster;
    let genuine = trial.signers.pair(&victim, &cheat);
    let is_genuine = genuine.dangerous_to_bytes().as_slice() == bytes;
    let [commit, extend] =
        [Kind::EcdsaCommit, Kind::EcdsaExtend].map(|kind| trial.genuine(kind).to_vec());
    let checked = recheck(roster, &victim, &record, &trial.set, &commit, &extend);
    match &checked {
        Ok(_) if is_genuine => {}
        // Seeds that the check does not look at may be other ones.
        Ok(_) => assert_eq!(record.name(), genuine.name()),
        Err(error) => {
            assert!(!is_genuine, "{error:?}");
            trial.judge(error);
        }
    }
    let setup = Setup {
        roster: roster.clone(),
        me: victim,
        signers: trial.set.clone(),
        pool_id: PoolId::from_bytes([1; 32]),
        pairs: [(cheat, Arc::new(record))].into(),
    };
    let identity = Arc::clone(trial.signers.committee.identity_of(&victim));
    let started = Preprocessing::start(setup, identity, &mut rng(1), 0, 1000);
    let Ok((mut session, _)) = started else {
        return;
    };
    for bytes in [commit, extend] {
        // The messages are of another run.
        assert!(session.handle(Inbound { from: cheat, bytes }, 1).is_err());
    }
});
