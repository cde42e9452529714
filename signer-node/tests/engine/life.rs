//! The ordinary life of keys, policies and requests.

use policy::approval::Decision;
use proto::v1::{self, FailureCode, coordinator_frame::Body as Call, node_frame::Body as Answer};

use crate::cluster::*;

#[tokio::test]
async fn a_payment_is_signed_by_any_two_nodes() {
    let cluster = Cluster::ready().await;
    let policy = cluster.document(&[WALLET_RULES]);
    for (salt, quorum) in [(1, [0, 1]), (2, [0, 2]), (3, [1, 2])] {
        let signed = cluster.pay(SOL / 10, salt);
        for node in quorum {
            cluster.announce(node, &signed).await.unwrap();
        }
        let approval = cluster.approve(&signed, &policy, "alice");
        cluster.sign(&quorum, &signed, &[approval]).await.unwrap();
    }
    let status = cluster.engine(0).status();
    assert_eq!(
        (status.ledger_entries, status.index, status.keys.len()),
        (2, 1, 1)
    );
}

#[tokio::test]
async fn many_payments_side_by_side_are_each_signed_once() {
    let cluster = Cluster::ready().await;
    let policy = cluster.document(&[WALLET_RULES]);
    let payments: Vec<_> = (1..=100)
        .map(|salt| {
            let signed = cluster.pay(SOL / 1_000, salt);
            let approval = [cluster.approve(&signed, &policy, "alice")];
            (signed, approval)
        })
        .collect();
    let begun = std::time::Instant::now();
    let all = payments
        .iter()
        .map(|(signed, approval)| cluster.sign(&[0, 1], signed, approval));
    for outcome in futures_util::future::join_all(all).await {
        outcome.unwrap();
    }
    println!(
        "100 signatures by two nodes, side by side: {:?}",
        begun.elapsed()
    );
    assert_eq!(cluster.engine(0).status().ledger_entries, 100);
    assert_eq!(cluster.engine(1).status().ledger_entries, 100);
}

#[tokio::test]
async fn a_restarted_node_keeps_keys_policy_and_ledger() {
    let mut cluster = Cluster::ready().await;
    let policy = cluster.document(&[WALLET_RULES]);
    let signed = cluster.pay(SOL / 10, 1);
    let approval = cluster.approve(&signed, &policy, "alice");
    cluster
        .sign(&[0, 1], &signed, core::slice::from_ref(&approval))
        .await
        .unwrap();
    let status = |cluster: &Cluster| v1::NodeStatus {
        free_bytes: 0,
        ..cluster.engine(0).status()
    };
    let before = status(&cluster);
    for node in 0..3 {
        cluster.restart(node).await;
    }
    assert_eq!(status(&cluster), before);
    // The same request again, by another quorum, costs nothing.
    cluster.sign(&[0, 2], &signed, &[approval]).await.unwrap();
    let other = cluster.pay(SOL / 10, 2);
    let approval = cluster.approve(&other, &policy, "bob");
    cluster.sign(&[0, 1], &other, &[approval]).await.unwrap();
}

#[tokio::test]
async fn a_large_payment_waits_for_people_and_time() {
    let cluster = Cluster::ready().await;
    let policy = cluster.document(&[WALLET_RULES]);
    let signed = cluster.pay(3 * SOL / 2, 1);
    let both = [
        cluster.approve(&signed, &policy, "alice"),
        cluster.approve(&signed, &policy, "bob"),
    ];
    let mut receipts = Vec::new();
    for node in 0..2 {
        receipts.push(cluster.announce(node, &signed).await.unwrap());
    }
    let early = cluster.sign(&[0, 1], &signed, &both).await;
    assert_eq!(code(early), FailureCode::NotYet);
    let single = cluster.sign(&[0, 1], &signed, &both[..1]).await;
    assert_eq!(code(single), FailureCode::NotYet);
    cluster.advance(29 * MINUTE);
    assert_eq!(
        code(cluster.sign(&[0, 1], &signed, &both).await),
        FailureCode::NotYet
    );
    cluster.advance(2 * MINUTE);
    cluster.sign(&[0, 1], &signed, &both).await.unwrap();
    // Node 3 was away: the receipts of two nodes stand in for its own, one does not.
    let mut request = cluster.request(&[0, 2], &signed, &both).await;
    assert_eq!(code(cluster.share(2, &request).await), FailureCode::NotYet);
    request.receipts = vec![receipts[0].clone().into(), receipts[0].clone().into()];
    assert_eq!(code(cluster.share(2, &request).await), FailureCode::NotYet);
    request.receipts = receipts
        .iter()
        .map(|receipt| receipt.clone().into())
        .collect();
    cluster.share(2, &request).await.unwrap();
}

#[tokio::test]
async fn announcing_again_gives_the_same_receipt_and_withdrawing_ends_it() {
    let mut cluster = Cluster::ready().await;
    let policy = cluster.document(&[WALLET_RULES]);
    let signed = cluster.pay(SOL / 10, 1);
    let first = cluster.announce(0, &signed).await.unwrap();
    cluster.advance(MINUTE);
    assert_eq!(cluster.announce(0, &signed).await.unwrap(), first);
    cluster.restart(0).await;
    assert_eq!(cluster.announce(0, &signed).await.unwrap(), first);
    // Another intent under the same idempotency key.
    let mut other = signed.intent().clone();
    other.note = "other".to_owned();
    let other = policy::intent::SignedIntent::sign(other, &key("svc:payout")).unwrap();
    assert_eq!(
        code(cluster.announce(0, &other).await),
        FailureCode::Conflict
    );
    let withdraw = v1::Withdraw {
        intent_digest: signed.digest().to_vec().into(),
        reason: String::new(),
    };
    cluster
        .call(0, Call::Withdraw(withdraw.clone()))
        .await
        .unwrap();
    cluster.restart(0).await;
    let approval = cluster.approve(&signed, &policy, "alice");
    assert_eq!(
        code(
            cluster
                .sign(&[0, 1], &signed, core::slice::from_ref(&approval))
                .await
        ),
        FailureCode::Denied
    );
    // After a share may have left, nothing can be withdrawn.
    cluster.announce(1, &signed).await.unwrap();
    let request = cluster.request(&[1, 2], &signed, &[approval]).await;
    cluster.share(1, &request).await.unwrap();
    assert_eq!(
        code(cluster.call(1, Call::Withdraw(withdraw)).await),
        FailureCode::Conflict
    );
}

#[tokio::test]
async fn a96_an_idempotency_key_counts_though_nothing_was_announced() {
    let mut cluster = Cluster::ready().await;
    let policy = cluster.document(&[WALLET_RULES]);
    let (one, other) = (cluster.pay(SOL / 10, 1), cluster.pay(SOL / 5, 1));
    let approve = |signed| [cluster.approve(signed, &policy, "alice")];
    let (votes, other_votes) = (approve(&one), approve(&other));
    cluster.sign(&[0, 1], &one, &votes).await.unwrap();
    cluster.restart(0).await;
    let second = cluster.sign(&[0, 1], &other, &other_votes).await;
    assert_eq!(code(second), FailureCode::Conflict);
    assert_eq!(
        code(cluster.announce(0, &other).await),
        FailureCode::Conflict
    );
    // The first one still is what it was, by another quorum too.
    cluster.sign(&[0, 2], &one, &votes).await.unwrap();
}

#[tokio::test]
async fn one_person_stops_everything_and_a_quorum_resumes_it() {
    let mut cluster = Cluster::ready().await;
    let policy = cluster.document(&[WALLET_RULES]);
    let signed = cluster.pay(SOL / 10, 1);
    let approval = cluster.approve(&signed, &policy, "alice");
    let freeze = cluster.freeze("alice", 1);
    let Ok(Answer::FreezeState(state)) = cluster.call(0, Call::Order(freeze.clone())).await else {
        panic!("not frozen")
    };
    assert!(state.frozen && state.by == "alice");
    assert_eq!(
        code(
            cluster
                .sign(&[0, 1], &signed, core::slice::from_ref(&approval))
                .await
        ),
        FailureCode::Frozen
    );
    cluster.restart(0).await;
    assert_eq!(
        code(
            cluster
                .sign(&[0, 1], &signed, core::slice::from_ref(&approval))
                .await
        ),
        FailureCode::Frozen
    );
    cluster.advance(1_000);
    assert_eq!(
        code(
            cluster
                .call(0, Call::Order(cluster.unfreeze(&["erin"], 2)))
                .await
        ),
        FailureCode::NotAuthorised
    );
    assert_eq!(
        code(
            cluster
                .call(0, Call::Order(cluster.unfreeze(&["alice", "bob"], 2)))
                .await
        ),
        FailureCode::NotAuthorised
    );
    let resume = cluster.unfreeze(&["erin", "frank"], 2);
    let Ok(Answer::FreezeState(state)) = cluster.call(0, Call::Order(resume)).await else {
        panic!("not resumed")
    };
    assert!(!state.frozen);
    // The old order, sent again, stops nothing.
    let Ok(Answer::FreezeState(state)) = cluster.call(0, Call::Order(freeze)).await else {
        panic!("no answer")
    };
    assert!(!state.frozen);
    cluster.sign(&[0, 1], &signed, &[approval]).await.unwrap();
}

#[tokio::test]
async fn a_rejection_denies() {
    let cluster = Cluster::ready().await;
    let policy = cluster.document(&[WALLET_RULES]);
    let signed = cluster.pay(SOL / 10, 1);
    let votes = [
        cluster.approve(&signed, &policy, "alice"),
        cluster.vote(&signed, &policy, "bob", "bob", Decision::Reject),
    ];
    assert_eq!(
        code(cluster.sign(&[0, 1], &signed, &votes).await),
        FailureCode::Denied
    );
}

#[tokio::test]
async fn a_node_that_missed_the_certificate_finishes_later() {
    let mut cluster = Cluster::new().await;
    let order = Cluster::order("hot", "ed25519");
    for node in 0..3 {
        cluster
            .call(node, Call::StartDkg(order.clone()))
            .await
            .unwrap();
    }
    // As soon as node 3 has stored its share, it loses its memory; the others may or may not have its signature.
    for _ in 0..2_000 {
        let pending = cluster
            .engine(2)
            .status()
            .keys
            .iter()
            .any(|key| key.request_id == order.request_id);
        if pending {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    cluster.restart(2).await;
    let own = |node: usize, cluster: &Cluster| {
        let keys = cluster.engine(node).status().keys;
        keys.into_iter()
            .find(|key| key.request_id == order.request_id)
            .map(|key| key.certificate_part)
    };
    for _ in 0..2_000 {
        if (0..3).all(|node| own(node, &cluster).is_some_and(|part| !part.is_empty())) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    let parts: Vec<_> = (0..3).map(|node| own(node, &cluster).unwrap()).collect();
    // A certificate with a part missing, or with one changed, makes nothing active.
    let incomplete = v1::DkgCertificate {
        request_id: order.request_id.clone(),
        parts: parts[..1].to_vec(),
    };
    if cluster.engine(2).status().keys[0].state == "pending" {
        assert_eq!(
            code(cluster.call(2, Call::DkgCertificate(incomplete)).await),
            FailureCode::Malformed
        );
    }
    let certificate = v1::DkgCertificate {
        request_id: order.request_id.clone(),
        parts,
    };
    for node in 0..3 {
        let Ok(Answer::DkgProgress(done)) = cluster
            .call(node, Call::DkgCertificate(certificate.clone()))
            .await
        else {
            panic!("not done")
        };
        assert_eq!(done.stage, "active");
    }
    cluster.finish(&order).await;
    for node in 0..3 {
        cluster.restart(node).await;
    }
    let text = cluster.document(&[WALLET_RULES]);
    cluster.install(&text, &["erin", "frank"]).await;
    let signed = cluster.pay(SOL / 10, 1);
    let approval = cluster.approve(&signed, &text, "alice");
    cluster.sign(&[1, 2], &signed, &[approval]).await.unwrap();
}

#[tokio::test]
async fn a_silent_node_ends_a_key_generation_without_blame() {
    let cluster = Cluster::new().await;
    let order = Cluster::order("hot", "ed25519");
    for node in 0..2 {
        cluster
            .call(node, Call::StartDkg(order.clone()))
            .await
            .unwrap();
    }
    // Let the two who are there say what they have to say.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    cluster.advance(61_000);
    let aborted = loop {
        let found = cluster
            .progress
            .lock()
            .unwrap()
            .iter()
            .find(|(node, update)| *node == 0 && update.stage == "aborted")
            .cloned();
        if let Some((_, update)) = found {
            break update;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    let failure = aborted.failure.unwrap();
    assert_eq!(failure.code(), FailureCode::TimedOut);
    assert!(
        failure.culprits.is_empty() && failure.reasons == ["node 3 stayed silent"],
        "{failure:?}"
    );
}

#[tokio::test]
async fn calls_that_make_no_sense_are_refused() {
    let cluster = Cluster::ready().await;
    let order = |change: fn(&mut v1::StartDkg)| {
        let mut order = Cluster::order("other", "ed25519");
        change(&mut order);
        Call::StartDkg(order)
    };
    for call in [
        order(|order| order.scheme = "rsa".to_owned()),
        order(|order| order.scheme = "ed25519\n".to_owned()),
        order(|order| order.name = "no spaces".to_owned()),
        order(|order| order.threshold = 4),
        order(|order| order.request_id = vec![1; 31].into()),
        Call::Challenge(v1::Challenge::default()),
        Call::Prepare(v1::Prepare {
            key_id: cluster.key_id("hot").to_vec().into(),
            epoch: 0,
            count: 0,
            sharing: None,
        }),
        Call::Prepare(v1::Prepare {
            key_id: cluster.key_id("hot").to_vec().into(),
            epoch: 0,
            count: u32::MAX,
            sharing: None,
        }),
        Call::Announce(v1::Announce {
            signed_intent: vec![1, 2, 3].into(),
        }),
        Call::Sign(v1::Sign::default()),
        Call::Order(v1::Order::default()),
        Call::InstallPolicy(v1::InstallPolicy {
            document: b"x".to_vec().into(),
            signatures: vec![vec![0].into()],
        }),
        Call::Withdraw(v1::Withdraw::default()),
    ] {
        assert_eq!(
            code(cluster.call(0, call.clone()).await),
            FailureCode::Malformed,
            "{call:?}"
        );
    }
    assert_eq!(
        code(cluster.call(0, order(|order| order.threshold = 1)).await),
        FailureCode::NotAuthorised
    );
    let unknown = Call::Prepare(v1::Prepare {
        key_id: vec![1; 32].into(),
        epoch: 0,
        count: 1,
        sharing: None,
    });
    assert_eq!(code(cluster.call(0, unknown).await), FailureCode::Unknown);
    let unknown = Call::DkgCertificate(v1::DkgCertificate {
        request_id: vec![1; 32].into(),
        parts: Vec::new(),
    });
    assert_eq!(code(cluster.call(0, unknown).await), FailureCode::Unknown);
    let other = v1::CoordinatorFrame {
        version: 2,
        call_id: 1,
        body: Some(Call::StatusQuery(v1::StatusQuery {})),
    };
    let Some(Answer::Failure(failure)) = cluster.send(0, other).await.unwrap().body else {
        panic!("answered")
    };
    assert_eq!(failure.code(), FailureCode::Version);
}

#[tokio::test]
async fn a_node_makes_one_key_of_a_name() {
    let cluster = Cluster::ready().await;
    let mut again = Cluster::order("hot", "ed25519");
    let mut request = again.request_id.to_vec();
    request[31] ^= 1;
    again.request_id = request.into();
    let refused = cluster.call(0, Call::StartDkg(again)).await;
    assert_eq!(code(refused), FailureCode::Conflict);
}

#[tokio::test]
async fn key_generations_side_by_side_take_turns() {
    let mut cluster = Cluster::new().await;
    let all: Vec<v1::StartDkg> = (0..10)
        .map(|number| v1::StartDkg {
            nodes: vec![1, 2, 3],
            ..Cluster::order(&format!("key-{number}"), "ed25519")
        })
        .collect();
    let begun = all.iter().flat_map(|order| {
        let starts = (0..3).map(|node| cluster.call(node, Call::StartDkg(order.clone())));
        starts.collect::<Vec<_>>()
    });
    for started in futures_util::future::join_all(begun).await {
        started.expect("has its turn");
    }
    for order in &all {
        cluster.finish(order).await;
    }
}
