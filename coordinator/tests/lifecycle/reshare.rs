//! Refresh and reshare, with everything that may go wrong between the services.

use std::time::Duration;

use policy::governance::Matter;
use proto::v1::{self, FailureCode};

use crate::world::World;

fn failure(status: &tonic::Status) -> v1::Failure {
    v1::Failure::from(status)
}

/// The nodes that say they hold a share of the active sharing.
fn held_by(key: &v1::KeyInfo) -> Vec<u32> {
    key.nodes.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_moves_through_committees_and_signs_as_before() {
    let mut world = World::new(5).await;
    let made = world.create_key("hot", "ed25519", &[1, 2, 3]).await;
    assert_eq!(made.epoch, 0);
    world.install_policy(&made, "").await;
    world
        .until("hot", "three hold it", |key| held_by(key) == [1, 2, 3])
        .await;
    world.pay(&made).await;

    // The same nodes, the same threshold.
    let plan = world.plan(&[world.key("hot").await], &[], 0, &[]);
    assert!(plan.is_refresh());
    let end = world.done(plan).await;
    assert_eq!(
        (end.kind.as_str(), end.finished, end.failed),
        ("refresh", 1, 0)
    );
    assert!(end.keys[0].nodes.iter().all(|node| node.acked), "{end:?}");
    let key = world.key("hot").await;
    assert_eq!((key.epoch, &key.public_key), (1, &made.public_key));
    world.pay(&made).await;

    // To three of five, where indices and numbers part ways, then away from the first node.
    let plan = world.plan(&[world.key("hot").await], &[1, 2, 3, 4, 5], 3, &[1, 3]);
    world.done(plan).await;
    world
        .until("hot", "five hold it", |key| held_by(key) == [1, 2, 3, 4, 5])
        .await;
    world.pay(&made).await;
    let plan = world.plan(&[world.key("hot").await], &[2, 4, 5], 2, &[]);
    world.done(plan).await;
    world
        .until("hot", "three others hold it", |key| {
            held_by(key) == [2, 4, 5]
        })
        .await;
    let signed = world.pay(&made).await;
    assert!(
        signed
            .signers
            .iter()
            .all(|signer| [2, 4, 5].contains(signer)),
        "{signed:?}"
    );
    let key = world.key("hot").await;
    assert_eq!(
        (key.epoch, key.threshold, &key.public_key),
        (3, 2, &made.public_key)
    );
    let left: Vec<u32> = key
        .holders
        .iter()
        .filter(|holder| {
            holder
                .state
                .as_ref()
                .is_some_and(|state| state.state == "left")
        })
        .map(|holder| holder.node)
        .collect();
    assert_eq!(left, [1, 3], "{key:?}");

    // A drained node is not chosen.
    let drain = v1::DrainRequest {
        index: 4,
        drained: true,
    };
    let info = world
        .operator()
        .await
        .drain_node(drain)
        .await
        .expect("drains");
    assert!(info.into_inner().drained);
    for _ in 0..3 {
        assert_eq!(world.pay(&made).await.signers, [2, 5]);
    }

    // All of it is known after a restart, and whoever was away learns it.
    world.crash_coordinator().await;
    world.start_coordinator().await;
    world.until_connected(5).await;
    assert_eq!(world.pay(&made).await.signers, [2, 5]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_waits_for_its_quorum_and_for_nothing_else() {
    let world = World::new(3).await;
    let key = world.create_key("hot", "ed25519", &[]).await;
    let other = world.create_key("cold", "bip340", &[]).await;
    let plan = world.plan(&[key.clone(), other.clone()], &[], 0, &[]);
    let request = plan.request;
    let matter = Matter::Reshare(plan.clone());
    let mut dry = World::signed(&matter, &["erin"]);
    dry.dry_run = true;
    let status = world.submit(dry).await.expect("a look");
    assert_eq!(
        (status.state.as_str(), status.missing.len()),
        ("waiting", 1)
    );
    let query = v1::ListOrdersQuery {
        ended: true,
        limit: 0,
    };
    let listed = world
        .operator()
        .await
        .list_orders(query)
        .await
        .expect("lists");
    assert!(
        listed.into_inner().orders.is_empty(),
        "a dry run keeps nothing"
    );

    let first = World::signed(&matter, &["erin"]);
    let waiting = world.submit(first.clone()).await.expect("kept");
    assert_eq!(waiting.state, "waiting");
    assert_eq!(waiting.lines, matter.lines());
    // The same person again does not count twice; somebody whom nobody knows does not count at all.
    assert_eq!(world.submit(first).await.expect("kept").state, "waiting");
    assert_eq!(
        world
            .submit(World::signed(&matter, &["erin"]))
            .await
            .expect("kept")
            .state,
        "waiting"
    );
    let stranger = world
        .submit(World::signed(&matter, &["mallory"]))
        .await
        .expect_err("refused");
    assert_eq!(failure(&stranger).code(), FailureCode::NotAuthorised);
    // Another matter under the same name is another order.
    let mut twin = plan.clone();
    twin.fresh_pairs = true;
    let twin = world
        .submit(World::signed(&Matter::Reshare(twin), &["frank"]))
        .await
        .expect_err("refused");
    assert_eq!(failure(&twin).code(), FailureCode::Malformed, "{twin:?}");

    let second = World::signed(&matter, &["frank"]);
    assert_eq!(
        world.submit(second.clone()).await.expect("begins").state,
        "running"
    );
    // A second order for a key that is being worked on waits its turn; the same one again is no second one.
    let rival = world.plan(core::slice::from_ref(&key), &[], 0, &[]);
    let rival = World::signed(&Matter::Reshare(rival), &["erin", "frank"]);
    let refused = world.submit(rival.clone()).await;
    let end = world.ended(request).await;
    assert_eq!((end.state.as_str(), end.finished), ("done", 2), "{end:?}");
    if let Err(refused) = refused {
        assert_eq!(failure(&refused).code(), FailureCode::Conflict);
    }
    assert_eq!(world.submit(second).await.expect("the same").state, "done");
    // What was ordered for a sharing that is gone is ordered for nothing.
    let late = world.submit(rival).await;
    let late = late
        .map(|status| status.state)
        .map_err(|status| failure(&status).code());
    assert!(late == Err(FailureCode::Stale) || late.is_ok_and(|state| state != "waiting"));
    assert!(world.key("hot").await.epoch >= 1 && world.key("cold").await.epoch == 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ceremony_survives_a_coordinator_that_dies_in_its_midst() {
    let mut world = World::new(3).await;
    let key = world.create_key("hot", "ed25519", &[]).await;
    for round in 0..3_u64 {
        let plan = world.plan(&[world.key("hot").await], &[], 0, &[]);
        let request = plan.request;
        world.order(plan).await;
        tokio::time::sleep(Duration::from_millis(40 * round)).await;
        world.crash_coordinator().await;
        world.start_coordinator().await;
        let end = world.ended(request).await;
        assert_eq!(end.state, "done", "round {round}: {end:?}");
    }
    let now = world.key("hot").await;
    assert_eq!((now.epoch, &now.public_key), (3, &key.public_key));
    world
        .until("hot", "all hold it", |key| held_by(key) == [1, 2, 3])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_attempt_is_passed_by_the_next_and_never_repeated() {
    let mut world = World::new(3).await;
    let key = world.create_key("hot", "ecdsa", &[]).await;
    let plan = world.plan(core::slice::from_ref(&key), &[], 0, &[]);
    let request = plan.request;
    let begun = world.order(plan).await;
    assert_eq!(begun.keys[0].epoch, 1);
    // A node that dies takes its session with it; it comes back, and another attempt is begun with it.
    world.crash_node(3).await;
    world.start_node(3);
    let end = world.ended(request).await;
    assert_eq!(end.state, "done", "{end:?}");
    let now = world.key("hot").await;
    assert_eq!((now.epoch, &now.public_key), (1, &key.public_key));
    assert_eq!(now.sharing.expect("active").attempt, end.keys[0].attempt);
    world
        .until("hot", "all hold it", |key| held_by(key) == [1, 2, 3])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_node_is_replaced_and_learns_of_it_when_it_comes_back() {
    let mut world = World::new(4).await;
    let key = world.create_key("hot", "ed25519", &[1, 2, 3]).await;
    world.crash_node(3).await;
    // With it nothing can be done, and no attempt is used up by trying.
    let with = world.plan(core::slice::from_ref(&key), &[], 0, &[]);
    let request = with.request;
    world.order(with).await;
    let cancel = v1::OrderQuery {
        request_id: request.to_vec().into(),
    };
    let cancelled = world
        .operator()
        .await
        .cancel_order(cancel)
        .await
        .expect("stops");
    assert_eq!(cancelled.into_inner().state, "cancelled");
    let without = world.plan(&[world.key("hot").await], &[1, 2, 4], 2, &[1, 2]);
    let end = world.done(without).await;
    assert!(
        end.lines
            .iter()
            .any(|line| line == "node 3 can no longer take part"),
        "{:?}",
        end.lines
    );
    let acked = |end: &v1::OrderStatus, node: u32| {
        end.keys[0]
            .nodes
            .iter()
            .any(|one| one.node == node && one.acked)
    };
    assert!(acked(&end, 4) && !acked(&end, 3), "{end:?}");

    world.start_node(3);
    world
        .until("hot", "node 3 has left", |key| {
            let mut holders = key.holders.iter();
            let third = holders
                .find(|holder| holder.node == 3)
                .and_then(|holder| holder.state.as_ref());
            third.is_some_and(|state| state.state == "left" && state.sharing == key.sharing)
        })
        .await;
    world
        .until("hot", "the others hold it", |key| held_by(key) == [1, 2, 4])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_refreshed_by_the_policys_interval_with_nobodys_order() {
    let mut world = World::new(3).await;
    let key = world.create_key("hot", "ed25519", &[]).await;
    assert_eq!((key.refresh_every_ms, key.refresh_overdue), (0, false));
    world.install_policy(&key, "refresh_every = \"3s\"").await;
    world
        .until("hot", "it was refreshed twice", |key| key.epoch >= 2)
        .await;
    let now = world.key("hot").await;
    assert_eq!(
        (now.refresh_every_ms, &now.public_key),
        (3_000, &key.public_key)
    );
    assert_eq!(now.refresh_due_ms, now.since_ms + 3_000);
    let query = v1::ListOrdersQuery {
        ended: true,
        limit: 0,
    };
    let orders = world
        .operator()
        .await
        .list_orders(query)
        .await
        .expect("lists")
        .into_inner()
        .orders;
    assert!(
        orders
            .iter()
            .all(|order| order.kind == "scheduled" && order.statements.is_empty())
    );
    world.pay(&key).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_store_learns_a_key_of_a_later_epoch_from_the_nodes() {
    let mut world = World::new(4).await;
    let key = world.create_key("hot", "ed25519", &[1, 2, 3]).await;
    let plan = world.plan(core::slice::from_ref(&key), &[1, 2, 4], 2, &[]);
    world.done(plan).await;
    world.crash_coordinator().await;
    world.lose_store();
    world.start_coordinator().await;
    world.until_connected(4).await;
    world
        .until("hot", "the key is known again", |known| known.epoch == 1)
        .await;
    let known = world.key("hot").await;
    assert_eq!(
        (&known.key_id, &known.public_key),
        (&key.key_id, &key.public_key)
    );
    assert_eq!(held_by(&known), [1, 2, 4]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_keys_of_one_committee_renew_their_pair_setups_once() {
    let world = World::new(3).await;
    let mut keys = Vec::new();
    for number in 0..4 {
        keys.push(world.create_key(&format!("k{number}"), "ecdsa", &[]).await);
    }
    let generations = |nodes: &[v1::NodeInfo]| -> Vec<u32> {
        let statuses = nodes.iter().filter_map(|node| node.status.as_ref());
        let pairs = statuses.flat_map(|status| &status.pairs);
        pairs.map(|pair| pair.generation).collect()
    };
    let before = generations(&world.nodes().await);
    let mut plan = world.plan(&keys, &[], 0, &[]);
    plan.fresh_pairs = true;
    let end = world.done(plan).await;
    assert_eq!((end.total, end.finished, end.failed), (4, 4, 0));
    for (number, made) in keys.iter().enumerate() {
        let name = format!("k{number}");
        world
            .until(&name, "all hold it", |key| held_by(key) == [1, 2, 3])
            .await;
        let key = world.key(&name).await;
        assert_eq!((key.epoch, &key.public_key), (1, &made.public_key));
    }
    let after = generations(&world.nodes().await);
    let once: Vec<u32> = before.iter().map(|generation| generation + 1).collect();
    assert_eq!(
        after, once,
        "one new setup for each pair, and not one for each key"
    );
}
