//! Which sharing counts, and which share may be erased.

use mpc_core::Rejection;
use mpc_core::id::Purpose;
use mpc_core::lineage::{Learned, Lineage, Refusal, Sharing};
use mpc_core::reshare::{Certificate, Request};

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

fn lineage(world: &World, number: u16) -> Lineage {
    world.node(number).lineage.clone().unwrap()
}

fn activated(learned: Learned) -> mpc_core::lineage::Activation {
    match learned {
        Learned::Activated(activation) => activation,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a63_whoever_sees_the_certificate_moves_and_only_then_is_the_old_share_erased() {
    let mut world = world();
    let request = world.request(&[1, 2], &[1, 2, 3], 2, 0);
    let certificate = certify(&mut world, &request);
    let now = certificate.sharing();
    for number in 1..=3 {
        let (mut lineage, me) = (lineage(&world, number), world.id(number));
        let old = lineage.sharing();
        lineage.prepare(now, &request, &me, true).unwrap();
        assert_eq!(lineage.sharing(), old, "prepared is not active");
        assert_eq!(lineage.held().len(), 2);
        let activation = activated(lineage.learn(certificate.clone(), &me).unwrap());
        assert_eq!((activation.now, activation.erase), (now, vec![old]));
        assert!(activation.member && !activation.share_lost && lineage.holds_active());
        assert_eq!(lineage.learn(certificate.clone(), &me), Ok(Learned::Known));
    }
}

#[test]
fn a_removed_holder_erases_and_a_member_without_its_share_says_so() {
    let mut world = world();
    let request = world.request(&[1, 2], &[1, 2, 4], 2, 0);
    let certificate = certify(&mut world, &request);
    let (mut removed, me) = (lineage(&world, 3), world.id(3));
    let activation = activated(removed.learn(certificate.clone(), &me).unwrap());
    assert!(!activation.member && !activation.share_lost && !removed.holds_active());
    assert_eq!(activation.erase, [Sharing::of(&world.base)]);
    let (mut lost, me) = (lineage(&world, 1), world.id(1));
    let activation = activated(lost.learn(certificate, &me).unwrap());
    assert!(activation.share_lost && !lost.holds_active());
    let next = world_after(&mut world, &lost, &[1, 2]);
    assert_eq!(
        lost.admit(&next, &me),
        Err(Refusal::ShareLost {
            active: lost.sharing()
        })
    );
}

/// A request on top of what this lineage has.
fn world_after(world: &mut World, lineage: &Lineage, dealers: &[u16]) -> Request {
    let request_id = world.request(&[1, 2], &[1, 2, 3], 2, 0).request_id();
    Request::new(mpc_core::reshare::Proposal {
        active: lineage.active().clone(),
        dealers: dealers
            .iter()
            .map(|number| world.identity(*number))
            .collect(),
        roster: world.roster(&[1, 2, 3]),
        threshold: 2,
        attempt: mpc_core::id::Attempt(0),
        fresh_pairs: false,
        request_id,
    })
    .unwrap()
}

#[test]
fn a68_one_signature_for_each_attempt_and_only_upward() {
    let mut world = world();
    let (mut one, me) = (lineage(&world, 1), world.id(1));
    let third = world.request(&[1, 2], &[1, 2, 3], 2, 3);
    let certificate = certify(&mut world, &third);
    let used = Refusal::AttemptUsed {
        epoch: third.epoch(),
        attempt: third.attempt(),
    };
    one.admit(&third, &me).unwrap();
    one.prepare(certificate.sharing(), &third, &me, true)
        .unwrap();
    for attempt in [0, 2, 3] {
        let request = world.request(&[1, 2], &[1, 2, 3], 2, attempt);
        assert_eq!(one.admit(&request, &me), Err(used), "attempt {attempt}");
        let mut sharing = certificate.sharing();
        sharing.attempt = request.attempt();
        assert_eq!(one.prepare(sharing, &request, &me, true), Err(used));
    }
    let fourth = world.request(&[1, 2], &[1, 2, 3], 2, 4);
    one.admit(&fourth, &me).unwrap();
    // With the certificate the whole epoch is over, for higher attempts, too.
    one.learn(certificate.clone(), &me).unwrap();
    let certified = certificate.sharing();
    assert_eq!(one.admit(&fourth, &me), Err(Refusal::Passed { certified }));
}

#[test]
fn a63_a_split_delivery_ends_with_the_highest_attempt_everywhere() {
    let mut world = world();
    let low = world.request(&[1, 2], &[1, 2, 3], 2, 0);
    let high = world.request(&[1, 2], &[1, 2, 3], 2, 1);
    let (first, second) = (certify(&mut world, &low), certify(&mut world, &high));
    let base = Sharing::of(&world.base);
    for order in [[&first, &second], [&second, &first]] {
        let (mut one, me) = (lineage(&world, 1), world.id(1));
        one.prepare(first.sharing(), &low, &me, true).unwrap();
        one.prepare(second.sharing(), &high, &me, true).unwrap();
        let mut erased = Vec::new();
        for certificate in order {
            match one.learn(certificate.clone(), &me).unwrap() {
                Learned::Activated(activation) => erased.extend(activation.erase),
                Learned::Noted => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(one.sharing(), second.sharing());
        assert!(one.holds_active());
        assert_eq!(erased, [base, first.sharing()]);
        assert_eq!(one.chain(), std::slice::from_ref(&second));
    }
}

#[test]
fn a63_a_certificate_that_forks_off_below_is_refused() {
    let mut world = world();
    let first = world.request(&[1, 2], &[1, 2, 3], 2, 0);
    let fork = world.request(&[1, 2], &[1, 2, 3], 2, 9);
    let forked = certify(&mut world, &fork);
    let mut stage = world.start(&first);
    stage.run();
    world.take_over(&mut stage);
    world.reshare(&[1, 2, 3], &[1, 2, 3], 2);
    let (mut one, me) = (lineage(&world, 1), world.id(1));
    assert_eq!(one.sharing().epoch.0, 2);
    // Two epochs back, and lower: it does not matter any more.
    assert_eq!(one.learn(forked.clone(), &me), Ok(Learned::Behind));
    // What continues it continues nothing that is known here.
    let mut other = World::new(Purpose::Ed25519, 2, 3, 5);
    let (mut two, two_id) = (lineage(&other, 2), other.id(2));
    two.prepare(forked.sharing(), &fork, &two_id, true).unwrap();
    two.learn(forked, &two_id).unwrap();
    let mut stage = other.start(&fork);
    stage.run();
    other.take_over(&mut stage);
    let next = other.request(&[1, 2], &[1, 2, 3], 2, 5);
    let above = certify(&mut other, &next);
    let active = one.sharing();
    assert!(above.sharing() > active);
    assert_eq!(one.learn(above, &me), Err(Refusal::Gap { active }));
    assert_eq!(one.sharing(), active, "a refusal changes nothing");
}

#[test]
fn a_node_follows_others_that_went_on_from_a_lower_attempt() {
    let mut world = world();
    let low = world.request(&[1, 2], &[1, 2, 3], 2, 1);
    let high = world.request(&[1, 2], &[1, 2, 3], 2, 2);
    let certified = certify(&mut world, &high);
    let mut stage = world.start(&low);
    stage.run();
    world.take_over(&mut stage);
    let first = world.node(1).lineage.clone().unwrap().chain()[0].clone();
    // Everybody knows 1.1 only, and prepares 2.0 on top of it.
    let next = world.request(&[1, 2, 3], &[1, 2, 3], 2, 0);
    let above = certify(&mut world, &next);
    let (mut three, me) = (lineage(&world, 3), world.id(3));
    three.prepare(above.sharing(), &next, &me, true).unwrap();
    // Then the higher attempt turns up here, before the certificate of what the others have gone on to.
    let activation = activated(three.learn(certified.clone(), &me).unwrap());
    assert_eq!(
        (activation.now, activation.erase),
        (certified.sharing(), vec![first.sharing()])
    );
    let stored = Lineage::decode(&three.encode()).unwrap();
    assert_eq!(stored, three);
    let activation = activated(three.learn(above.clone(), &me).unwrap());
    assert!(!activation.share_lost && three.holds_active());
    assert_eq!(three.chain(), [first.clone(), above.clone()]);
    // As well if it had jumped over the lower attempt, and has to be told of it.
    let mut one = Lineage::new(world.base.clone(), true);
    activated(one.learn(certified.clone(), &me).unwrap());
    let active = one.sharing();
    assert_eq!(one.learn(above.clone(), &me), Err(Refusal::Gap { active }));
    assert_eq!(one.learn(first.clone(), &me), Ok(Learned::Noted));
    assert_eq!(one.learn(first, &me), Ok(Learned::Known));
    activated(one.learn(above, &me).unwrap());
    assert_eq!(one.learn(certified, &me), Ok(Learned::Known));
    assert_eq!(one.sharing(), three.sharing());
}

#[test]
fn a_node_that_was_away_follows_the_chain_from_its_lowest_certificate() {
    let mut world = world();
    let away = lineage(&world, 3);
    world.reshare(&[1, 2], &[1, 2], 2);
    world.reshare(&[1, 2], &[1, 2, 4], 2);
    let chain = lineage(&world, 4).chain().to_vec();
    let (mut lineage, me) = (away, world.id(3));
    let active = lineage.sharing();
    assert_eq!(
        lineage.learn(chain[1].clone(), &me),
        Err(Refusal::Gap { active })
    );
    for certificate in chain {
        activated(lineage.learn(certificate, &me).unwrap());
    }
    assert!(!lineage.holds_active() && lineage.held().is_empty());
    assert_eq!(*lineage.active(), world.active());
}

#[test]
fn two_sharings_for_one_place_are_a_conflict() {
    let mut world = world();
    let one = world.request(&[1, 2], &[1, 2, 3], 2, 0);
    let other = world.request(&[1, 2], &[1, 2, 3], 2, 0);
    let (one, other) = (certify(&mut world, &one), certify(&mut world, &other));
    let (mut lineage, me) = (lineage(&world, 1), world.id(1));
    lineage.learn(one.clone(), &me).unwrap();
    let conflict = Refusal::Conflict {
        one: one.sharing(),
        other: other.sharing(),
    };
    assert_eq!(lineage.learn(other, &me), Err(conflict));
    assert_eq!(lineage.sharing(), one.sharing());
}

#[test]
fn a67_a_new_member_checks_the_chain_to_the_making_of_the_key() {
    let mut world = world();
    world.reshare(&[1, 2], &[1, 2, 3], 2);
    world.reshare(&[1, 2], &[1, 2, 3], 2);
    let (source, me) = (lineage(&world, 1), world.id(5));
    let adopted = Lineage::adopt(source.base().clone(), source.chain().to_vec(), &me).unwrap();
    assert_eq!(adopted.active(), source.active());
    assert!(!adopted.holds_active());
    let from_the_middle = Lineage::adopt(source.active().clone(), [], &me);
    assert_eq!(from_the_middle, Err(Refusal::NoOrigin));
    let gap = Lineage::adopt(source.base().clone(), source.chain()[1..].to_vec(), &me);
    assert!(matches!(gap, Err(Refusal::Gap { .. })));
    let stranger = World::new(Purpose::Bip340, 2, 3, 5);
    let other = Lineage::adopt(stranger.base, source.chain().to_vec(), &me);
    assert_eq!(other, Err(Refusal::OtherKey));
}

#[test]
fn a67_no_certificate_without_every_signature_for_exactly_this_content() {
    let mut world = world();
    let request = world.request(&[1, 2], &[2, 3, 4], 2, 0);
    let certificate = certify(&mut world, &request);
    let bytes = certificate.encode();
    assert_eq!(Certificate::decode(&bytes).as_ref(), Ok(&certificate));
    // The request id is inside the request, just before the package: a request nobody approved.
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(Certificate::decode(&changed).is_err(), "byte {at}");
    }
    for len in 0..bytes.len() {
        assert!(Certificate::decode(&bytes[..len]).is_err(), "length {len}");
    }
    // Signatures of members in the place of dealers.
    let (members, dealers) = (bytes.len() - 5 * 64, bytes.len() - 2 * 64);
    let mut swapped = bytes;
    swapped.copy_within(members..members + 64, dealers);
    assert_eq!(Certificate::decode(&swapped), Err(Rejection::BadSignature));
    let continued = certificate.verify(&world.base).unwrap();
    assert_eq!(continued.public_key(), world.base.public_key());
    assert!(certificate.verify(&continued).is_err());
}

#[test]
fn a_lineage_is_stored_whole() {
    let mut world = world();
    world.reshare(&[1, 2], &[1, 2, 3], 2);
    let request = world.request(&[1, 2], &[1, 2, 3], 2, 4);
    let certificate = certify(&mut world, &request);
    let (mut one, me) = (lineage(&world, 1), world.id(1));
    one.prepare(certificate.sharing(), &request, &me, true)
        .unwrap();
    let bytes = one.encode();
    assert_eq!(Lineage::decode(&bytes).as_ref(), Ok(&one));
    for len in 0..bytes.len() {
        assert!(Lineage::decode(&bytes[..len]).is_err(), "length {len}");
    }
    assert!(Lineage::decode(&[&bytes[..], &[0]].concat()).is_err());
    one.lose(&certificate.sharing());
    assert_ne!(one.encode(), bytes);
}

#[test]
fn a_lineage_has_one_encoding_and_contradicts_nothing() {
    let mut world = world();
    let requests = [0, 1].map(|attempt| world.request(&[1, 2], &[1, 2, 3], 2, attempt));
    let [low, high] = requests.map(|request| certify(&mut world, &request));
    let (mut lineage, me) = (lineage(&world, 1), world.id(1));
    activated(lineage.learn(high.clone(), &me).unwrap());
    let alone = lineage.encode();
    assert_eq!(lineage.learn(low.clone(), &me), Ok(Learned::Noted));
    let bytes = lineage.encode();
    assert_eq!(Lineage::decode(&bytes).as_ref(), Ok(&lineage));
    let var = |certificate: &Certificate| {
        let bytes = certificate.encode();
        let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        [&length[..], &bytes].concat()
    };
    // Beside the chain: the same twice, in the wrong order, or what is on the chain.
    let piece = var(&low);
    let found = bytes.windows(piece.len()).position(|part| part == piece);
    let (before, after) = bytes.split_at(found.unwrap());
    let (before, _) = before.split_at(before.len() - 2);
    let after = &after[piece.len()..];
    let with = |pieces: &[&Certificate]| {
        let count = u16::try_from(pieces.len()).unwrap().to_be_bytes();
        let pieces = pieces.iter().flat_map(|certificate| var(certificate));
        [before, &count, &pieces.collect::<Vec<u8>>(), after].concat()
    };
    assert_eq!(with(&[&low]), bytes);
    for beside in [vec![&low, &low], vec![&high], vec![&low, &high]] {
        assert!(Lineage::decode(&with(&beside)).is_err(), "{}", beside.len());
    }
    // Two signatures for one place.
    let mut twice = bytes[..bytes.len() - 2].to_vec();
    twice.extend([0, 2]);
    for id in [1, 2] {
        twice.extend([0, 0, 0, 2, 0, 0, 0, 0]);
        twice.extend([id; 32]);
    }
    assert!(Lineage::decode(&twice).is_err());

    lineage.keep_chain();
    assert_eq!(lineage.encode(), alone);
    assert_eq!(lineage.learn(low, &me), Ok(Learned::Noted));
}
