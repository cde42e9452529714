//! Exactly once, and never over the limit, through the live service.

use cli::sample;
use client::{Error, Fix, Order, Prepared, State};

use crate::world::{PATIENCE, WALLET, World};

#[tokio::test(flavor = "multi_thread")]
async fn a86_end_to_end_fifty_at_once_never_pass_the_limit() {
    const DAILY: u64 = 1_000_000_000;
    let each = DAILY / 10 * 6;
    let mut world = World::new(DAILY, DAILY).await;
    let mut orders = Vec::new();
    for number in 0..50 {
        orders.push(world.order(&format!("race-{number}"), each).await);
    }
    let tasks: Vec<_> = orders
        .into_iter()
        .map(|prepared| {
            let client = world.client.clone();
            tokio::spawn(async move {
                let submitted = client.submit(&prepared).await;
                match submitted {
                    Ok(status) if status.state == State::Released => {
                        client.accept(status).await.map(|_| ())
                    }
                    Ok(status) if !status.state.has_ended() => {
                        client.wait(prepared.id(), PATIENCE).await.map(|_| ())
                    }
                    Ok(status) => Err(status.obstacle().expect("not released")),
                    Err(error) => Err(error),
                }
            })
        })
        .collect();
    let mut released = 0;
    let mut errors = Vec::new();
    for task in tasks {
        match task.await.expect("no panic") {
            Ok(()) => released += 1,
            Err(Error::Fix(Fix::Denied { .. })) => {}
            Err(other) => errors.push(other),
        }
    }
    assert_eq!(errors, [], "everything else was denied");
    assert_eq!(released, 1, "0.6 of the limit fits once");
    let listed = world
        .client
        .list("released", WALLET, 100)
        .await
        .expect("the list");
    assert_eq!(listed.len(), 1, "and the service remembers one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a96_one_name_is_one_transaction_for_ever() {
    let mut world = World::new(1_000_000_000, 1_000_000_000).await;
    let prepared = world.order("payout-1", 1000).await;
    let mut answers = Vec::new();
    for _ in 0..10 {
        let kept = Prepared::from_bytes(prepared.as_bytes()).expect("its own bytes");
        world.client.submit(&kept).await.expect("accepted again");
        let end = world
            .client
            .wait(kept.id(), PATIENCE)
            .await
            .expect("released");
        world.assert_signed(&end);
        answers.push(end.signed_tx().to_vec());
    }
    assert!(
        answers.windows(2).all(|w| w[0] == w[1]),
        "always the same bytes"
    );

    let other = Order::new(WALLET, world.raw(1001), "payout-1", sample::INITIATOR);
    let other = world
        .client
        .prepare(&other, &world.initiator)
        .await
        .expect("a good order");
    let refused = world.client.submit(&other).await;
    assert!(
        matches!(refused, Err(Error::Fix(Fix::Conflict { .. }))),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_reserves_nothing() {
    let mut world = World::new(1_000_000, 1_000_000).await;
    for number in 0..5 {
        let prepared = world.order(&format!("what-if-{number}"), 900_000).await;
        let status = world.client.explain(&prepared).await.expect("explained");
        assert_ne!(status.state, State::Denied, "{}", status.why());
        let unknown = world.client.status(prepared.id()).await;
        assert!(
            matches!(unknown, Err(Error::Fix(Fix::Unknown { .. }))),
            "{unknown:?}"
        );
    }
}
