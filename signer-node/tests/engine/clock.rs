//! Clocks that somebody sets (attack A90).

use std::sync::atomic::Ordering;

use proto::v1::{FailureCode, coordinator_frame::Body as Call};

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

/// Time passes on the wall while the machine of a node is off.
async fn off(cluster: &mut Cluster, node: usize, ms: u64) {
    cluster.stop(node).await;
    let clock = &cluster.clocks[node];
    clock.wall.fetch_add(ms, Ordering::SeqCst);
    clock.machine.fetch_add(1, Ordering::SeqCst);
    cluster.start(node).await.unwrap();
}

#[tokio::test]
async fn a90_no_later_document_brings_a_waiting_one_into_force_by_the_wall_clock() {
    let mut cluster = Cluster::ready().await;
    let one = cluster.document(&[WALLET_RULES]);
    let looser = WALLET_RULES.replace("\"2500000000\"", "\"9000000000\"");
    let two = cluster.document_version(2, Some(&one), &[&looser]);
    let three = cluster.document_version(3, Some(&two), &[&looser.replace("9000", "8999")]);
    cluster.install(&two, &["erin", "frank"]).await;
    off(&mut cluster, 0, 49 * HOUR).await;
    let call = Call::InstallPolicy(cluster.signed_policy(&three, &["erin"]));
    assert_eq!(code(cluster.call(0, call).await), FailureCode::NotYet);
    let policy = cluster.engine(0).status().policy.unwrap();
    assert_eq!((policy.version, policy.pending_version), (1, 2));
    cluster.advance(49 * HOUR);
    let call = Call::InstallPolicy(cluster.signed_policy(&three, &["erin"]));
    cluster.call(0, call).await.unwrap();
    assert_eq!(cluster.engine(0).status().policy.unwrap().version, 3);
}

#[tokio::test]
async fn a90_no_order_shortens_the_wait_before_signing_resumes() {
    let mut cluster = Cluster::ready().await;
    let one = cluster.document(&[WALLET_RULES]);
    let two = cluster
        .document_version(2, Some(&one), &[WALLET_RULES])
        .replace("delay = \"0s\"", "delay = \"4h\"");
    cluster.install(&two, &["erin", "frank"]).await;
    cluster.advance(49 * HOUR);
    let freeze = Call::Order(cluster.freeze("alice", 1));
    cluster.call(0, freeze).await.unwrap();
    cluster.advance(1_000);
    let resume = Call::Order(cluster.unfreeze(&["erin", "frank"], 2));
    cluster.call(0, resume).await.unwrap();
    off(&mut cluster, 0, 3 * HOUR).await;
    // Neither somebody's order nor a second one of the quorum has the wait counted from another moment.
    for names in [&["svc:other"][..], &["erin", "frank"]] {
        let again = Call::Order(cluster.unfreeze(names, 3));
        assert_eq!(
            code(cluster.call(0, again).await),
            FailureCode::NotAuthorised
        );
        assert!(cluster.engine(0).status().freeze.unwrap().frozen);
    }
    cluster.advance(2 * HOUR);
    assert!(cluster.engine(0).status().freeze.unwrap().frozen);
    cluster.advance(2 * HOUR);
    assert!(!cluster.engine(0).status().freeze.unwrap().frozen);
}
