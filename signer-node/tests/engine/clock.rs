//! Clocks that somebody sets (attack A90).

use std::sync::atomic::Ordering;

use proto::v1::FailureCode;

use crate::cluster::*;

#[tokio::test]
async fn a90_a_node_whose_clock_was_set_signs_nothing() {
    let mut cluster = Cluster::ready().await;
    let policy = cluster.document(&[WALLET_RULES]);
    let signed = cluster.pay(SOL / 10, 1);
    let approval = [cluster.approve(&signed, &policy, "alice")];
    for jump in [48 * HOUR, (48 * HOUR).wrapping_neg()] {
        cluster.clocks[0].wall.fetch_add(jump, Ordering::SeqCst);
        assert_eq!(
            code(cluster.sign(&[0, 1], &signed, &approval).await),
            FailureCode::Unavailable
        );
        cluster.restart(0).await;
        assert_eq!(
            code(cluster.sign(&[0, 1], &signed, &approval).await),
            FailureCode::Unavailable
        );
        assert_eq!(
            code(cluster.announce(0, &signed).await),
            FailureCode::Unavailable
        );
        assert_eq!(cluster.engine(0).status().clock_ms, 0);
        // The others go on without it.
        cluster.sign(&[1, 2], &signed, &approval).await.unwrap();
        cluster.clocks[0].wall.fetch_sub(jump, Ordering::SeqCst);
    }
    cluster.sign(&[0, 1], &signed, &approval).await.unwrap();
}

#[tokio::test]
async fn a90_setting_every_clock_while_the_machines_are_off_shortens_no_delay_and_frees_no_limit() {
    let mut cluster = Cluster::ready().await;
    let policy = cluster.document(&[WALLET_RULES]);
    let spent = cluster.pay(4 * SOL / 10, 1);
    let votes = [cluster.approve(&spent, &policy, "alice")];
    cluster.sign(&[0, 1], &spent, &votes).await.unwrap();
    let large = cluster.pay(3 * SOL / 2, 2);
    for node in 0..3 {
        cluster.announce(node, &large).await.unwrap();
    }
    for node in 0..3 {
        cluster.stop(node).await;
        let clock = &cluster.clocks[node];
        clock.wall.fetch_add(2 * HOUR, Ordering::SeqCst);
        clock.boot.store(5_000, Ordering::SeqCst);
        clock.machine.fetch_add(1, Ordering::SeqCst);
    }
    for node in 0..3 {
        cluster.start(node).await.unwrap();
    }
    let votes = [
        cluster.approve(&large, &policy, "alice"),
        cluster.approve(&large, &policy, "bob"),
    ];
    assert_eq!(
        code(cluster.sign(&[1, 2], &large, &votes).await),
        FailureCode::NotYet
    );
    cluster.advance(31 * MINUTE);
    cluster.sign(&[1, 2], &large, &votes).await.unwrap();
    // A day on the wall, of which the machines saw nothing.
    for node in 0..3 {
        cluster.stop(node).await;
        let clock = &cluster.clocks[node];
        clock.wall.fetch_add(30 * HOUR, Ordering::SeqCst);
        clock.machine.fetch_add(1, Ordering::SeqCst);
    }
    for node in 0..3 {
        cluster.start(node).await.unwrap();
    }
    let over = cluster.pay(9 * SOL / 10, 3);
    let votes = [cluster.approve(&over, &policy, "alice")];
    assert_eq!(
        code(cluster.sign(&[1, 2], &over, &votes).await),
        FailureCode::Limit
    );
    // What the day really brings, it brings.
    cluster.advance(25 * HOUR);
    let votes = [cluster.approve(&over, &policy, "bob")];
    assert_eq!(
        code(cluster.sign(&[1, 2], &over, &votes).await),
        FailureCode::Denied,
        "the request has expired"
    );
    let fresh = cluster.pay(9 * SOL / 10, 4);
    let votes = [cluster.approve(&fresh, &policy, "bob")];
    cluster.sign(&[1, 2], &fresh, &votes).await.unwrap();
}
