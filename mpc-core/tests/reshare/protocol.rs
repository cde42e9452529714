//! What a reshare makes, and what has to be durable before it does.

use mpc_core::id::{Attempt, Purpose};
use mpc_core::reshare::{Certificate, Prepared, Request};
use mpc_core::session::{Session as _, WriteKind};
use mpc_core::{Error, Misuse, Rejection};

use crate::world::World;

const PURPOSES: [Purpose; 3] = [Purpose::Ed25519, Purpose::Bip340, Purpose::Ecdsa];

#[test]
fn a_refresh_keeps_the_key_and_changes_every_share() {
    for purpose in PURPOSES {
        let mut world = World::new(purpose, 2, 3, 3);
        world.assert_whole();
        let old: Vec<_> = world
            .nodes
            .values()
            .map(|node| node.share.clone().unwrap())
            .collect();
        world.reshare(&[1, 2, 3], &[1, 2, 3], 2);
        world.assert_whole();
        for (node, old) in world.nodes.values().zip(old) {
            let share = node.share.clone().unwrap();
            assert_ne!(
                share.dangerous_to_bytes()[..35],
                old.dangerous_to_bytes()[..35]
            );
            assert_eq!(share.public().epoch().0, 1);
            assert!(!super::world::gives_key(&[old, share]));
        }
    }
}

#[test]
fn members_come_and_go_and_any_quorum_of_holders_deals() {
    for purpose in PURPOSES {
        let mut world = World::new(purpose, 2, 3, 6);
        // 2 of 3 to 3 of 5 without node 3, indices unlike before.
        world.reshare(&[1, 2], &[5, 4, 1, 6, 2], 3);
        world.assert_whole();
        assert!(world.node(3).share.is_none(), "its share is erased");
        // Node 1 only deals.
        world.reshare(&[1, 5, 6], &[3, 4], 2);
        world.assert_whole();
        world.reshare(&[3, 4], &[1, 2, 3, 4], 2);
        world.assert_whole();
        let chain = world.node(4).lineage.as_ref().unwrap().chain().len();
        assert_eq!(chain, 3);
    }
}

#[test]
fn ecdsa_pairs_are_renewed_by_the_first_key_and_used_again_by_the_next() {
    let mut world = World::new(Purpose::Ecdsa, 2, 3, 3);
    let name = |world: &World| world.node(1).pairs[&world.id(2)].name();
    let before = name(&world);
    world.reshare(&[1, 2, 3], &[1, 2, 3], 2);
    let renewed = name(&world);
    assert_ne!(renewed, before);
    let fresh = world.request(&[1, 2, 3], &[1, 2, 3], 2, 0);
    let again = Request::new(mpc_core::reshare::Proposal {
        active: fresh.active().clone(),
        dealers: (1..=3).map(|number| world.identity(number)).collect(),
        roster: fresh.roster().clone(),
        threshold: 2,
        attempt: Attempt(0),
        fresh_pairs: false,
        request_id: fresh.request_id(),
    })
    .unwrap();
    assert_ne!(again.digest(), fresh.digest());
    let mut stage = world.start(&again);
    stage.run();
    let (one, two) = (world.id(1), world.id(2));
    let certificate = &stage.results[&one].as_ref().unwrap().certificate;
    assert_eq!(certificate.pair(&one, &two), Some(renewed));
    world.take_over(&mut stage);
    assert_eq!(name(&world), renewed);
    world.assert_whole();
}

#[test]
fn a_share_is_durable_before_its_signature_leaves_and_dealers_store_without_one() {
    let mut world = World::new(Purpose::Ed25519, 2, 3, 4);
    let request = world.request(&[1, 2], &[1, 4], 2, 7);
    let mut stage = world.start(&request);
    stage.run();
    for (number, holds) in [(1, true), (2, false), (4, true)] {
        let stored = &stage.stores[&world.id(number)];
        let kinds: Vec<_> = stored.iter().map(|stored| stored.kind).collect();
        let expected = [WriteKind::Replay, WriteKind::Share, WriteKind::Certificate];
        assert_eq!(kinds, expected, "node {number}");
        let prepared = Prepared::dangerous_from_bytes(&stored[1].bytes).unwrap();
        assert_eq!(prepared.holds_share(), holds);
        assert_eq!(
            (prepared.sharing().epoch.0, prepared.sharing().attempt.0),
            (1, 7)
        );
        assert_eq!(*prepared.request(), request);
        let certificate = Certificate::decode(&stored[2].bytes).unwrap();
        assert_eq!(certificate.sharing(), prepared.sharing());
        let output = prepared.activate(&certificate).unwrap();
        assert_eq!(output.share.is_some(), holds);
    }
}

#[test]
fn a_node_that_misses_the_last_round_finishes_from_what_it_stored() {
    let mut world = World::new(Purpose::Ecdsa, 2, 3, 4);
    let request = world.request(&[1, 2], &[2, 3, 4], 2, 0);
    let mut stage = world.start(&request);
    let late = world.id(3);
    // Nobody's round 3 reaches node 3.
    stage.run_with(|flight| {
        let third = flight.bytes.windows(10).any(|bytes| bytes == b"RESHARE/R3");
        if third && flight.to == late {
            vec![]
        } else {
            vec![flight]
        }
    });
    assert!(!stage.results.contains_key(&late));
    stage.expire();
    assert!(matches!(stage.results[&late], Err(Error::TimedOut { .. })));
    let stored = stage.stores[&late][1].bytes.clone();
    let open = || Prepared::dangerous_from_bytes(&stored).unwrap();
    let parts: Vec<_> = [1, 2, 4]
        .map(|number| stage.stores[&world.id(number)][1].bytes.clone())
        .iter()
        .map(|bytes| {
            Prepared::dangerous_from_bytes(bytes)
                .unwrap()
                .own_part()
                .to_vec()
        })
        .collect();
    let output = open().finish(&parts).unwrap();
    assert_eq!(output.pairs.len(), 2);
    let other = stage.results[&world.id(4)].as_ref().unwrap();
    assert_eq!(output.certificate, other.certificate);
    assert_eq!(
        open().activate(&other.certificate).unwrap().certificate,
        output.certificate
    );
    // A part is missing, or twice instead of another.
    let missing = open().finish(&parts[1..]).unwrap_err();
    let refused = Rejection::InvalidCertificate("a part is missing");
    assert_eq!(missing, Error::Rejected(refused));
    assert!(open().finish([&parts[1], &parts[1]]).is_err());
    let mut results = std::mem::take(&mut stage.results);
    results.insert(late, Ok(output));
    stage.results = results;
    world.take_over(&mut stage);
    world.assert_whole();
}

#[test]
fn nobody_waits_for_holders_that_do_not_take_part() {
    let mut world = World::new(Purpose::Ed25519, 2, 3, 4);
    let request = world.request(&[2, 3], &[3, 4], 2, 0);
    let stage = world.start(&request);
    let waits = stage.sessions[&world.id(3)].waiting_for();
    assert_eq!(waits, [2, 4].map(|number| world.id(number)).into());
}

#[test]
fn requests_that_cannot_be_are_refused() {
    let world = World::new(Purpose::Ed25519, 2, 3, 4);
    let proposal = || mpc_core::reshare::Proposal {
        active: world.active(),
        dealers: vec![world.identity(1), world.identity(2)],
        roster: world.roster(&[1, 2, 4]),
        threshold: 2,
        attempt: Attempt(0),
        fresh_pairs: false,
        request_id: mpc_core::id::RequestId::from_bytes([1; 32]),
    };
    let request = Request::new(proposal()).unwrap();
    assert_eq!(Request::decode(&request.encode()).as_ref(), Ok(&request));
    let with = |change: &dyn Fn(&mut mpc_core::reshare::Proposal)| {
        let mut changed = proposal();
        change(&mut changed);
        Request::new(changed).unwrap_err()
    };
    let few = with(&|proposal| proposal.dealers.truncate(1));
    assert!(matches!(few, Misuse::InvalidSigners(why) if why.contains("fewer")));
    let twice = with(&|proposal| proposal.dealers[1] = proposal.dealers[0]);
    assert!(matches!(twice, Misuse::InvalidSigners(why) if why.contains("twice")));
    let stranger = with(&|proposal| proposal.dealers[1] = world.identity(4));
    assert!(matches!(stranger, Misuse::InvalidSigners(why) if why.contains("no share")));
    assert!(matches!(
        with(&|proposal| proposal.threshold = 1),
        Misuse::InvalidParams { .. }
    ));
    assert!(matches!(
        with(&|proposal| proposal.threshold = 4),
        Misuse::InvalidParams { .. }
    ));
    let bytes = request.encode();
    for len in 0..bytes.len() {
        assert!(Request::decode(&bytes[..len]).is_err(), "length {len}");
    }
    assert!(Request::decode(&[&bytes[..], &[0]].concat()).is_err());
}

#[test]
fn whoever_brings_the_wrong_share_does_not_get_in() {
    let mut world = World::new(Purpose::Ed25519, 2, 3, 4);
    let request = world.request(&[1, 2], &[1, 2, 4], 2, 0);
    let (one, four) = (world.id(1), world.id(4));
    let swap = world.node(3).share.clone();
    let own = std::mem::replace(&mut world.nodes.get_mut(&1).unwrap().share, swap);
    assert!(matches!(
        world.enter(&request, &one),
        Err(Error::Misuse(Misuse::WrongKey))
    ));
    world.nodes.get_mut(&1).unwrap().share = None;
    assert!(matches!(
        world.enter(&request, &one),
        Err(Error::Misuse(Misuse::WrongKey))
    ));
    world.nodes.get_mut(&1).unwrap().share = own;
    assert!(world.enter(&request, &one).is_ok() && world.enter(&request, &four).is_ok());
    let stranger = world.id(3);
    let refused = world.enter(&request, &stranger);
    assert!(matches!(refused, Err(Error::Misuse(Misuse::NotAMember))));
}
