//! Tests with a dealer that keeps to the protocol in everything but its constant term.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Output, Proposal, Request, Session, Setup};
use crate::dkg::ceremony::{Ceremony, Dealing, Start};
use crate::dkg::plan::Plan;
use crate::group::{Ed25519, Group, Scalar, Secp256k1};
use crate::id::{Attempt, Purpose, RequestId};
use crate::keys::KeyShare;
use crate::secret::SecretBytes;
use crate::session::WriteKind;
use crate::testing::{Simulator, Stage, TIMEOUT_MS, rng};
use crate::{Error, Fault, Strength, evidence};

/// A reshare of a new key in which node 2 deals `constant`.
fn rigged<G: Group>(purpose: Purpose, constant: &Scalar<G>) {
    let mut simulator = Simulator::start(purpose, 2, 3, 5);
    simulator.run();
    let committee = simulator.committee.clone();
    let request = Request::new(Proposal {
        active: simulator.output(1).share.public().clone(),
        dealers: (1..=3)
            .map(|number| committee.identity(number).public())
            .collect(),
        roster: committee.roster.clone(),
        threshold: 2,
        attempt: Attempt(0),
        fresh_pairs: true,
        request_id: RequestId::from_bytes([3; 32]),
    })
    .unwrap();
    let mut stage = Stage::<Session>::new(request.participants());
    for number in 1..=3 {
        let (me, identity) = (
            committee.node(number),
            Arc::clone(committee.identity(number)),
        );
        let mut rng = rng(u64::from(number));
        let (session, step) = if number == 2 {
            let start = Start {
                me,
                identity,
                now_ms: 0,
                timeout_ms: TIMEOUT_MS,
            };
            let dealing = Dealing::Rigged(SecretBytes::take(&mut constant.encode()));
            let plan = Plan::reshare(request.clone()).unwrap();
            let (ceremony, step) =
                Ceremony::start(plan, start, &dealing, BTreeMap::new(), &mut rng).unwrap();
            (Session(ceremony), step.try_map(Output::of).unwrap())
        } else {
            let bytes = simulator.output(number).share.dangerous_to_bytes();
            let setup = Setup {
                request: request.clone(),
                me,
                share: Some(Arc::new(KeyShare::dangerous_from_bytes(&bytes).unwrap())),
                pairs: BTreeMap::new(),
            };
            Session::start(setup, identity, &mut rng, 0, TIMEOUT_MS).unwrap()
        };
        stage.enter(me, session, step);
    }
    stage.run();
    for number in [1, 3] {
        let me = committee.node(number);
        let Err(Error::Aborted(abort)) = &stage.results[&me] else {
            panic!("node {number}: {:?}", stage.results.get(&me))
        };
        assert_eq!(abort.fault, Fault::WrongConstant);
        assert_eq!(
            abort.culprits,
            [(committee.node(2), Strength::Transferable)]
        );
        let proof = abort.evidence.as_ref().unwrap().encode();
        let verdict = evidence::verify(&committee.roster, &proof).unwrap();
        assert_eq!(verdict, (committee.node(2), Fault::WrongConstant));
        // The old shares are all there is: nothing was prepared.
        let stored = &stage.stores[&me];
        assert!(stored.iter().all(|stored| stored.kind == WriteKind::Replay));
    }
}

#[test]
fn a65_a_dealer_that_would_change_the_key_is_convicted() {
    rigged::<Ed25519>(Purpose::Ed25519, &Scalar::one());
    rigged::<Secp256k1>(Purpose::Bip340, &Scalar::from_u64(77));
    rigged::<Secp256k1>(Purpose::Ecdsa, &Scalar::one());
}
