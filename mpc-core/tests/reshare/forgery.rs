//! Certificates that prove something, but not what they are shown for.

use std::sync::Arc;

use mpc_core::group::Ed25519;
use mpc_core::id::{Attempt, PartyIndex, Purpose, RequestId};
use mpc_core::keys::{KeyFacts, KeyShare, PublicKeyPackage};
use mpc_core::lineage::{Lineage, Refusal};
use mpc_core::reshare::{Certificate, Proposal, Request, Session, Setup};
use mpc_core::secret::SecretScalar;
use mpc_core::testing::{Committee, Simulator, Stage, TIMEOUT_MS, rng};

use crate::world::World;

fn world() -> World {
    World::new(Purpose::Ed25519, 2, 3, 5)
}

/// A certificate of this request, without anybody taking it over.
fn certify(world: &mut World, request: &Request) -> Certificate {
    let mut stage = world.start(request);
    stage.run();
    let (_, result) = stage.results.into_iter().next().unwrap();
    result.unwrap().certificate
}

/// A certificate that strangers make among themselves, on top of a record of their own that merely carries the name of the key. It
/// takes none of the key's holders.
fn forged(victim: &PublicKeyPackage, attempt: u32) -> Certificate {
    let strangers = Committee::new(3, 4_321);
    let mut simulator = Simulator::start_with(strangers.clone(), Purpose::Ed25519, 2, 4_321);
    simulator.run();
    let own = simulator.output(1).share.public().clone();
    let facts = KeyFacts {
        key_id: victim.key_id(),
        epoch: victim.epoch(),
        attempt: victim.attempt(),
        sharing: victim.sharing(),
        ..*own.facts()
    };
    let points = own.view::<Ed25519>().unwrap().clone();
    let active = PublicKeyPackage::new(facts, own.nodes().clone(), points).unwrap();
    let request = Request::new(Proposal {
        active: active.clone(),
        dealers: vec![
            strangers.identity(1).public(),
            strangers.identity(2).public(),
        ],
        roster: strangers.roster.clone(),
        threshold: 2,
        attempt: Attempt(attempt),
        fresh_pairs: false,
        request_id: RequestId::from_bytes([9; 32]),
    })
    .unwrap();
    let mut stage: Stage<Session> = Stage::new(request.participants());
    for number in 1..=3 {
        let me = strangers.node(number);
        let index = PartyIndex::new(number).unwrap();
        let secret = {
            let share = &simulator.output(number).share;
            let (_, secret) = share.view::<Ed25519>().unwrap();
            SecretScalar::new(*secret.expose_secret())
        };
        let share = KeyShare::new(active.clone(), index, secret).unwrap();
        let setup = Setup {
            request: request.clone(),
            me,
            share: request.is_dealer(&me).then(|| Arc::new(share)),
            pairs: std::collections::BTreeMap::new(),
        };
        let identity = Arc::clone(strangers.identity(number));
        let rng = &mut rng(u64::from(number));
        let (session, step) = Session::start(setup, identity, rng, 0, TIMEOUT_MS).unwrap();
        stage.enter(me, session, step);
    }
    stage.run();
    let (_, result) = stage.results.into_iter().next().unwrap();
    let certificate = result.unwrap().certificate;
    // It holds in itself: only the parent is made up.
    assert!(Certificate::decode(&certificate.encode()).is_ok());
    certificate
}

#[test]
fn a_certificate_of_strangers_is_no_conflict_and_no_fork() {
    let mut world = world();
    let certificate = forged(&world.base, 0);
    world.reshare(&[1, 2], &[1, 2, 3], 2);
    let (mut lineage, me) = (world.node(1).lineage.clone().unwrap(), world.id(1));
    let active = lineage.sharing();
    assert_eq!(certificate.sharing().place(), active.place());
    // The name, the epoch and the attempt are those of the active sharing. Whoever has none of the shares must not be able to
    // make nodes and coordinators say that the holders have broken the protocol.
    let refusal = lineage.learn(certificate, &me).unwrap_err();
    assert!(!matches!(refusal, Refusal::Conflict { .. }), "{refusal}");
    let refusal = lineage.learn(forged(&world.base, 7), &me).unwrap_err();
    assert!(!matches!(refusal, Refusal::Fork { .. }), "{refusal}");
    assert_eq!(lineage.sharing(), active);
}

#[test]
fn a_chain_that_leaves_the_history_two_epochs_below_is_refused_also_over_an_attempt_beside_it() {
    let mut world = world();
    let low = world.request(&[1, 2], &[1, 2, 3], 2, 1);
    let high = world.request(&[1, 2], &[1, 2, 3], 2, 2);
    let mut over_high = world.start(&high);
    over_high.run();
    // Some go on from 1.1, and have 2.5.
    let mut over_low = world.start(&low);
    over_low.run();
    world.take_over(&mut over_low);
    let first = world.node(1).lineage.clone().unwrap().chain()[0].clone();
    let fork = world.request(&[1, 2], &[1, 2, 3], 2, 5);
    let fork = certify(&mut world, &fork);
    // Others from 1.2, and have 2.1.
    let mut second = None;
    for (id, result) in std::mem::take(&mut over_high.results) {
        let output = result.unwrap();
        let number = world.number(&id);
        let mut lineage = Lineage::new(world.base.clone(), true);
        lineage.learn(first.clone(), &id).unwrap();
        let _lost = lineage.learn(output.certificate.clone(), &id).unwrap();
        second = Some(output.certificate);
        let node = world.nodes.get_mut(&number).unwrap();
        (node.lineage, node.share) = (Some(lineage), output.share.map(Arc::new));
    }
    let request = world.request(&[1, 2], &[1, 2, 3], 2, 1);
    let next = certify(&mut world, &request);
    let me = world.id(1);
    let mut lineage = Lineage::new(world.base.clone(), true);
    for certificate in [first, second.unwrap(), next] {
        lineage.learn(certificate, &me).unwrap();
    }
    let active = lineage.sharing();
    assert_eq!((active.epoch.0, active.attempt.0), (2, 1));
    assert!(fork.sharing() > active);
    // 2.5 leaves the history of this node at the making of the key: two epochs below 2.1.
    assert_eq!(lineage.learn(fork, &me), Err(Refusal::Fork { active }));
    assert_eq!(lineage.sharing(), active, "a refusal changes nothing");
}

#[test]
fn a_newcomer_can_join_whatever_attempts_others_have_signed() {
    let mut world = world();
    let (mut holder, me) = (world.node(1).lineage.clone().unwrap(), world.id(1));
    // Two stuck attempts, each within what a bound on jumps would allow.
    for attempt in [1_000, 2_000] {
        let stuck = world.request(&[1, 2], &[1, 2, 3], 2, attempt);
        let sharing = certify(&mut world, &stuck).sharing();
        holder.prepare(sharing, &stuck, &me, true).unwrap();
    }
    // The holder takes nothing below this one, so the newcomer must take it.
    let next = world.request(&[1, 2], &[1, 2, 4], 2, 2_001);
    assert_eq!(holder.admit(&next, &me), Ok(()));
    let newcomer = Lineage::adopt(world.base.clone(), [], &world.id(4)).unwrap();
    assert_eq!(newcomer.admit(&next, &world.id(4)), Ok(()));
}
