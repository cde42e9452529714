//! Two nodes that do not work together any more, and what people have to do about it.

use std::time::Duration;

use policy::governance::Matter;
use proto::v1;

use crate::world::{World, now_ms};

/// What node 1 says of its pair with node 2.
async fn pair(world: &World) -> v1::PairState {
    let nodes = world.nodes().await;
    let statuses = nodes.iter().filter(|node| node.index == 1);
    let mut pairs = statuses
        .filter_map(|node| node.status.as_ref())
        .flat_map(|status| &status.pairs);
    pairs
        .find(|pair| pair.peer == 2)
        .cloned()
        .unwrap_or_default()
}

/// The entries that node 1 has for signatures with node 2.
async fn entries(world: &World) -> u32 {
    let nodes = world.nodes().await;
    let statuses = nodes.iter().filter(|node| node.index == 1);
    let pools = statuses
        .filter_map(|node| node.status.as_ref())
        .flat_map(|status| &status.pools);
    let shared = pools.filter(|pool| pool.signers == [1, 2]);
    shared.map(|pool| pool.entries).sum()
}

async fn until_entries(world: &World) {
    for _ in 0..900 {
        if entries(world).await > 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("nodes 1 and 2 prepare nothing: {:?}", pair(world).await);
}

/// Node 1 dies, and its store is free again.
async fn down(world: &mut World) {
    world.crash_node(1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a18_two_nodes_that_fell_out_work_together_again_when_people_order_it() {
    let mut world = World::new(3).await;
    let made = world.create_key("eth", "ecdsa", &[]).await;
    until_entries(&world).await;
    world.crash_node(1).await;
    world.poison(1, 2, now_ms() - 5_000).await;
    for _ in 0..2 {
        world.start_node(1);
        world.until_connected(3).await;
        let said = pair(&world).await;
        assert_eq!((said.status.as_str(), said.strikes), ("poisoned", 1));
        assert_eq!(said.why, "a check in a test");
        assert_eq!(entries(&world).await, 0);
        // A refresh that keeps the setups does not bring them together.
        let mut kept = world.plan(&[world.key("eth").await], &[], 0, &[]);
        kept.keys[0].last = kept.keys[0].first;
        let request = kept.request;
        world.order(kept).await;
        let end = world.ended(request).await;
        assert_eq!(end.state, "failed", "{end:?}");
        down(&mut world).await;
    }
    world.start_node(1);
    world.until_connected(3).await;

    let mut plan = world.plan(&[world.key("eth").await], &[], 0, &[]);
    plan.fresh_pairs = true;
    let one = World::signed(&Matter::Reshare(plan.clone()), &["erin"]);
    let waiting = world.submit(one).await.expect("is taken");
    assert_eq!(waiting.state, "waiting", "{waiting:?}");
    assert_eq!(pair(&world).await.status, "poisoned");
    world.done(plan).await;
    // The node says so with its next status.
    for _ in 0..300 {
        if pair(&world).await.status == "active" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let said = pair(&world).await;
    assert_eq!(
        (said.status.as_str(), said.generation, said.strikes),
        ("active", 2, 1)
    );
    until_entries(&world).await;
    let key = world.key("eth").await;
    assert_eq!((key.epoch, &key.public_key), (1, &made.public_key));
    down(&mut world).await;
    world.start_node(1);
    world.until_connected(3).await;
    assert_eq!(pair(&world).await.status, "active");
    until_entries(&world).await;
}
