//! Long lives of keys: every committee of a chain signs, and what is left over of earlier ones is worth nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mpc_core::ecdsa::{self, Payload, Preprocessing};
use mpc_core::frost::{self, Package, Tweak};
use mpc_core::hd::DerivationPath;
use mpc_core::id::{PoolId, Purpose, RequestId};
use mpc_core::keys::KeyShare;
use mpc_core::testing::{Stage, TIMEOUT_MS, rng};
use mpc_core::{Error, Misuse};
use proptest::prelude::*;

use crate::world::{World, gives_key};

/// The shares of the active sharing, by number of the node.
fn holders(world: &World) -> Vec<(u16, Arc<KeyShare>)> {
    let active = world.active();
    let held = world.nodes.iter();
    held.filter_map(|(number, node)| Some((*number, node.share.clone()?)))
        .filter(|(_, share)| *share.public() == active)
        .collect()
}

fn frost_request(purpose: Purpose) -> frost::SigningRequest {
    let tweak = match purpose {
        Purpose::Bip340 => Tweak::PlainBip340,
        _ => Tweak::None,
    };
    frost::SigningRequest::new(purpose, b"after all these years".to_vec(), tweak).unwrap()
}

/// Signs with these shares by FROST; [`frost::aggregate`] verifies under the key of the package.
fn frost_signs(shares: &[Arc<KeyShare>]) {
    let mut rng = rng(5);
    let (mut nonces, mut commitments) = (Vec::new(), BTreeMap::new());
    for share in shares {
        let (secret, commitment) = frost::commit(share, &mut rng).unwrap();
        nonces.push(secret);
        commitments.insert(share.index(), commitment);
    }
    let public = shares[0].public();
    let package = Package::new(public, commitments, &frost_request(public.purpose())).unwrap();
    let answers = shares.iter().zip(nonces).map(|(share, nonces)| {
        let answer = frost::sign(nonces, share, &package).unwrap();
        (share.index(), answer)
    });
    frost::aggregate(&package, &answers.collect()).unwrap();
}

/// Signs with the shares of these nodes by ECDSA, over the setups that the reshares made; [`ecdsa::combine`] verifies.
fn ecdsa_signs(world: &World, numbers: &[u16]) {
    let active = world.active();
    let members: Vec<u16> = active
        .nodes()
        .values()
        .map(|node| world.number(node))
        .collect();
    let roster = world.roster(&members);
    let signers: BTreeSet<_> = numbers.iter().map(|number| world.id(*number)).collect();
    let mut stage = Stage::new(signers.clone());
    for number in numbers {
        let node = world.node(*number);
        let setup = ecdsa::Setup {
            roster: roster.clone(),
            me: node.id(),
            signers: signers.clone(),
            pool_id: PoolId::from_bytes([3; 32]),
            pairs: signers
                .iter()
                .filter(|peer| **peer != node.id())
                .map(|peer| (*peer, Arc::clone(&node.pairs[peer])))
                .collect(),
        };
        let identity = Arc::clone(&node.identity);
        let mut source = rng(u64::from(*number));
        let (run, step) =
            Preprocessing::start(setup, identity, &mut source, 0, TIMEOUT_MS).unwrap();
        stage.enter(node.id(), run, step);
    }
    stage.run();
    let path = DerivationPath::default();
    let payload = Payload::Keccak256(b"after all these years");
    let id = RequestId::from_bytes([4; 32]);
    let request = ecdsa::SigningRequest::new(&active, &signers, &path, &payload, id).unwrap();
    let (mut opened, mut openings, mut name) = (Vec::new(), Vec::new(), None);
    for (id, entry) in std::mem::take(&mut stage.results) {
        let entry = entry.unwrap();
        name = Some(entry.name());
        let node = world.node(world.number(&id));
        let share = node.share.as_ref().unwrap();
        let mut source = rng(u64::from(world.number(&id)) + 100);
        let (write, held) =
            ecdsa::open(entry, share, request.clone(), &node.identity, &mut source).unwrap();
        let (state, opening) = held.release(write.stored()).unwrap();
        opened.push((state, Arc::clone(&node.identity)));
        openings.push(opening);
    }
    let responses: Vec<Vec<u8>> = opened
        .into_iter()
        .map(|(state, identity)| state.respond(&roster, &identity, &openings).unwrap())
        .collect();
    ecdsa::combine(&roster, &request, &name.unwrap(), &openings, &responses).unwrap();
}

/// Every quorum of the active sharing signs; for ECDSA the first and the last.
fn assert_signs(world: &World) {
    world.assert_whole();
    let active = world.active();
    let threshold = usize::from(active.params().threshold());
    let all = holders(world);
    if active.purpose() == Purpose::Ecdsa {
        let numbers: Vec<u16> = all.iter().map(|(number, _)| *number).collect();
        ecdsa_signs(world, &numbers[..threshold]);
        ecdsa_signs(world, &numbers[numbers.len() - threshold..]);
        return;
    }
    for mask in 0_u32..1 << all.len() {
        if mask.count_ones() as usize == threshold {
            let chosen = (0..).zip(&all).filter(|(bit, _)| mask >> bit & 1 == 1);
            let chosen: Vec<_> = chosen.map(|(_, (_, share))| Arc::clone(share)).collect();
            frost_signs(&chosen);
        }
    }
}

fn chain(purpose: Purpose) {
    let mut world = World::new(purpose, 2, 3, 9);
    assert_signs(&world);
    world.reshare(&[1, 3], &[1, 3, 4, 5, 6], 3);
    assert_signs(&world);
    world.reshare(&[4, 5, 6], &[7, 4], 2);
    assert_signs(&world);
    world.reshare(&[4, 7], &[2, 4, 5, 6, 7, 8, 9], 4);
    assert_signs(&world);
    assert_eq!(world.active().epoch().0, 3);
    assert_eq!(world.active().public_key(), world.base.public_key());
}

#[test]
fn an_ed25519_key_goes_from_2_of_3_to_3_of_5_to_2_of_2_to_4_of_7() {
    chain(Purpose::Ed25519);
}

#[test]
fn a_bip340_key_goes_from_2_of_3_to_3_of_5_to_2_of_2_to_4_of_7() {
    chain(Purpose::Bip340);
}

#[test]
fn an_ecdsa_key_goes_from_2_of_3_to_3_of_5_to_2_of_2_to_4_of_7() {
    chain(Purpose::Ecdsa);
}

/// A key, some reshares, and every share that there ever was.
fn all_shares(purpose: Purpose, steps: &[(u16, u16)]) -> Vec<Arc<KeyShare>> {
    let mut world = World::new(purpose, 2, 3, 5);
    let mut all: Vec<Arc<KeyShare>> = Vec::new();
    let mut collect =
        |world: &World| all.extend(holders(world).into_iter().map(|(_, share)| share));
    collect(&world);
    for (members, threshold) in steps {
        let now = holders(&world);
        let dealers: Vec<u16> = now.iter().map(|(number, _)| *number).collect();
        let members: Vec<u16> = (1..=*members).rev().collect();
        world.reshare(&dealers, &members, *threshold);
        collect(&world);
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a66_shares_of_different_epochs_never_combine_to_the_key(
        steps in prop::collection::vec((3_u16..=5, 1_u16..4), 1..=3),
        secp in any::<bool>(),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 60),
        sizes in prop::collection::vec(2_usize..=6, 60),
    ) {
        let purpose = if secp { Purpose::Bip340 } else { Purpose::Ed25519 };
        let steps: Vec<(u16, u16)> = steps
            .into_iter()
            .map(|(members, more)| (members, (2 + more).min(members)))
            .collect();
        let all = all_shares(purpose, &steps);
        let mut pick = picks.iter().cycle();
        for size in sizes {
            let mut mixed: BTreeMap<_, Arc<KeyShare>> = BTreeMap::new();
            for _ in 0..size {
                let share = Arc::clone(pick.next().unwrap().get(&all));
                mixed.entry(share.index()).or_insert(share);
            }
            let mixed: Vec<_> = mixed.into_values().collect();
            let mut epochs: BTreeMap<_, u16> = BTreeMap::new();
            for share in &mixed {
                *epochs.entry(share.public().epoch()).or_default() += 1;
            }
            // Two shares of each of two 2-of-n sharings do give the key at some indices, as two of them do alone.
            let has_quorum = mixed.iter().any(|share| {
                epochs[&share.public().epoch()] >= share.public().params().threshold()
            });
            if epochs.len() > 1 && !has_quorum {
                prop_assert!(!gives_key(&mixed), "{} shares of {epochs:?}", mixed.len());
            }
        }
    }
}

#[test]
fn a66_a_share_of_another_epoch_does_not_sign_along() {
    let all = all_shares(Purpose::Ed25519, &[(3, 2)]);
    let of = |epoch: u32, index: u16| {
        let mut found = all
            .iter()
            .filter(|share| share.public().epoch().0 == epoch && share.index().get() == index);
        Arc::clone(found.next().unwrap())
    };
    let (old, new) = (of(0, 1), of(1, 2));
    let mut rng = rng(8);
    let (nonces, first) = frost::commit(&old, &mut rng).unwrap();
    let (_, second) = frost::commit(&new, &mut rng).unwrap();
    let commitments = BTreeMap::from([(old.index(), first), (new.index(), second)]);
    let request = frost_request(Purpose::Ed25519);
    let package = Package::new(new.public(), commitments, &request).unwrap();
    let refused = frost::sign(nonces, &old, &package);
    assert_eq!(refused, Err(Error::Misuse(Misuse::WrongKey)));
}
