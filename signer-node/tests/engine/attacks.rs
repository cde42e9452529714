//! What a hostile coordinator, a thief of backups or a curious operator can try (numbers of the attack catalogue).

use mpc_core::frost::wire;
use policy::intent::SignedIntent;
use policy::statement::{Signature, SignedStatement};
use proto::v1::{self, FailureCode, coordinator_frame::Body as Call, node_frame::Body as Answer};
use signer_node::engine::OpenError;
use signer_node::store::StoreError;

use crate::cluster::*;

/// A ready cluster, its policy, a small payment and the approval for it.
async fn setting() -> (Cluster, String, SignedIntent, SignedStatement) {
    let cluster = Cluster::ready().await;
    let policy = cluster.document(&[WALLET_RULES]);
    let signed = cluster.pay(SOL / 10, 1);
    let approval = cluster.approve(&signed, &policy, "alice");
    (cluster, policy, signed, approval)
}

#[tokio::test]
async fn a29_a_commitment_answers_once() {
    let (mut cluster, _, signed, approval) = setting().await;
    let mut request = cluster.request(&[0, 1], &signed, &[approval]).await;
    cluster.share(0, &request).await.unwrap();
    assert_eq!(
        code(cluster.share(0, &request).await),
        FailureCode::Replayed
    );
    request.attempt = 1;
    assert_eq!(
        code(cluster.share(0, &request).await),
        FailureCode::Replayed
    );
    // Also after a crash, when the nonces are gone anyway.
    cluster.restart(0).await;
    assert_eq!(code(cluster.share(0, &request).await), FailureCode::Stale);
    assert_eq!(cluster.engine(0).status().ledger_entries, 1);
}

#[tokio::test]
async fn a30_a_restored_store_brings_back_no_nonces() {
    let (mut cluster, _, signed, approval) = setting().await;
    let request = cluster.request(&[0, 1], &signed, &[approval]).await;
    // A backup while the commitment is unused; then the share is given.
    let live = cluster.home(0).join("node.db");
    let backup = cluster.dir.path().join("backup.db");
    let source = rusqlite::Connection::open(&live).unwrap();
    source
        .execute("VACUUM INTO ?1", [backup.to_str().unwrap()])
        .unwrap();
    drop(source);
    cluster.share(0, &request).await.unwrap();
    cluster.stop(0).await;
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    for side in ["node.db", "node.db-wal", "node.db-shm"] {
        let _ = std::fs::remove_file(cluster.home(0).join(side));
    }
    std::fs::copy(&backup, &live).unwrap();
    std::fs::set_permissions(&live, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    cluster.start(0).await.unwrap();
    assert_eq!(cluster.engine(0).status().ledger_entries, 0);
    assert_eq!(code(cluster.share(0, &request).await), FailureCode::Stale);
    // A clone beside the running node does not start at all.
    assert!(matches!(
        cluster.open(0),
        Err(OpenError::Store(StoreError::Busy(_)))
    ));
}

#[tokio::test]
async fn a44_the_same_commitments_serve_no_second_message_or_list() {
    let (cluster, policy, signed, approval) = setting().await;
    let request = cluster.request(&[0, 1], &signed, &[approval]).await;
    cluster.share(0, &request).await.unwrap();
    // Another message under the same list.
    let second = cluster.pay(SOL / 10, 2);
    let mut other = request.clone();
    other.signed_intent = second.encode().into();
    other.approvals = vec![cluster.approve(&second, &policy, "alice").encode().into()];
    assert_eq!(code(cluster.share(0, &other).await), FailureCode::Stale);
    // The same message under a list with another second signer.
    let mut other = request.clone();
    other.commitments[1] = cluster.prepare(2, "hot", 1).await.unwrap().remove(0).into();
    assert_eq!(code(cluster.share(0, &other).await), FailureCode::Stale);
    // Two lists side by side: one is answered.
    let fresh = cluster
        .request(
            &[0, 1],
            &signed,
            &[cluster.approve(&signed, &policy, "bob")],
        )
        .await;
    let mut twin = fresh.clone();
    twin.commitments[1] = other.commitments[1].clone();
    let (one, two) = tokio::join!(cluster.share(0, &fresh), cluster.share(0, &twin));
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
}

#[tokio::test]
async fn a57_a_key_serves_one_purpose() {
    let mut cluster = Cluster::ready().await;
    cluster.generate("tap", "bip340").await;
    let rules = WALLET_RULES.replace("\"hot\"", "\"tap\"");
    let one = cluster.document(&[WALLET_RULES]);
    // The wallets of the document are those of all keys: now both.
    let two = cluster.document_version(2, Some(&without_wallet(&one, "tap")), &[&rules]);
    cluster.install(&two, &["erin", "frank"]).await;
    cluster.advance(49 * HOUR);
    let signed = SignedIntent::sign(
        cluster.intent("tap", place(9), SOL / 10, 1),
        &key("svc:payout"),
    )
    .unwrap();
    let request = cluster
        .request(&[0, 1], &signed, &[cluster.approve(&signed, &two, "alice")])
        .await;
    let refused = cluster.share(0, &request).await.unwrap_err();
    assert_eq!(refused.code(), FailureCode::Denied);
    assert!(refused.message.contains("bip340"), "{refused:?}");
}

/// The document as it was before a wallet was added.
fn without_wallet(text: &str, name: &str) -> String {
    let (before, wallet) = text
        .split_once(&format!("[[wallet]]\nid = \"{name}\""))
        .unwrap();
    let (_, after) = wallet.split_once("max_fee = \"100000\"\n").unwrap();
    [before, after].concat()
}

#[tokio::test]
async fn a61_a_key_generation_is_never_run_again() {
    let mut cluster = Cluster::new().await;
    let order = Cluster::order("hot", "ed25519");
    cluster
        .call(0, Call::StartDkg(order.clone()))
        .await
        .unwrap();
    // The node crashes in round 1; its first message may have left.
    cluster.restart(0).await;
    assert_eq!(
        code(cluster.call(0, Call::StartDkg(order.clone())).await),
        FailureCode::Replayed
    );
    // Neither does another name for the same request help; another attempt does.
    let renamed = v1::StartDkg {
        name: "other".to_owned(),
        ..order.clone()
    };
    assert_eq!(
        code(cluster.call(0, Call::StartDkg(renamed)).await),
        FailureCode::Replayed
    );
    let again = v1::StartDkg {
        attempt: 1,
        ..order.clone()
    };
    for node in 0..3 {
        cluster
            .call(node, Call::StartDkg(again.clone()))
            .await
            .unwrap();
    }
    cluster.finish(&again).await;
    // A finished one answers with what it made.
    let Ok(Answer::DkgProgress(done)) = cluster.call(0, Call::StartDkg(order)).await else {
        panic!("no answer")
    };
    assert_eq!(
        (done.stage.as_str(), done.key_id.as_ref()),
        ("active", cluster.key_id("hot").as_slice())
    );
}

#[tokio::test]
async fn a71_frames_of_strangers_and_for_others_change_nothing() {
    let mut cluster = Cluster::new().await;
    let order = Cluster::order("hot", "ed25519");
    for node in 0..3 {
        cluster
            .call(node, Call::StartDkg(order.clone()))
            .await
            .unwrap();
    }
    let ids: Vec<Vec<u8>> = cluster
        .roster
        .by_index()
        .map(|(_, node)| node.as_bytes().to_vec())
        .collect();
    for (from, to) in [
        (vec![7; 32], &ids[0]),
        (ids[0].clone(), &ids[0]),
        (ids[1].clone(), &ids[2]),
        (vec![], &ids[0]),
        (vec![1; 31], &ids[0]),
    ] {
        for reset in [false, true] {
            let frame = v1::Tunnel {
                from: from.clone().into(),
                to: to.clone().into(),
                connection: vec![9; 16].into(),
                seq: 0,
                data: vec![1; 64].into(),
                reset,
            };
            let frame = v1::CoordinatorFrame {
                version: 1,
                call_id: 0,
                body: Some(Call::Tunnel(frame)),
            };
            assert!(cluster.send(0, frame).await.is_none());
        }
    }
    // In the name of a member, on a new connection: the session with the real one is replaced, fails, and comes back.
    for (victim, name) in [(0, 1), (1, 0), (2, 0), (0, 2)] {
        let frame = v1::Tunnel {
            from: ids[name].clone().into(),
            to: ids[victim].clone().into(),
            connection: vec![8; 16].into(),
            seq: 0,
            data: vec![1; 64].into(),
            reset: false,
        };
        let frame = v1::CoordinatorFrame {
            version: 1,
            call_id: 0,
            body: Some(Call::Tunnel(frame)),
        };
        cluster.send(victim, frame).await;
    }
    cluster.finish(&order).await;
}

#[tokio::test]
async fn a71_a_node_starts_only_under_its_own_index() {
    let mut cluster = Cluster::new().await;
    cluster.stop(0).await;
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    for name in ["node.db", "store.key"] {
        std::fs::copy(cluster.home(0).join(name), cluster.dir.path().join(name)).unwrap();
    }
    cluster.stop(1).await;
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    for name in ["node.db", "store.key"] {
        std::fs::copy(cluster.dir.path().join(name), cluster.home(1).join(name)).unwrap();
    }
    let error = cluster.start(1).await.unwrap_err();
    assert!(
        matches!(error, OpenError::Store(StoreError::Seal(_))),
        "{error}"
    );
}

#[tokio::test]
async fn a85_the_coordinators_word_counts_for_nothing() {
    let (cluster, policy, signed, approval) = setting().await;
    let sign = |approvals: Vec<SignedStatement>| {
        let (cluster, signed) = (&cluster, &signed);
        async move { cluster.sign(&[0, 1], signed, &approvals).await }
    };
    assert_eq!(code(sign(vec![]).await), FailureCode::NotYet);
    // Signed by somebody else's key, by a person outside the group, by the initiator, or not signed at all.
    let forged = cluster.vote(
        &signed,
        &policy,
        "alice",
        "mallory",
        policy::approval::Decision::Approve,
    );
    assert_eq!(code(sign(vec![forged]).await), FailureCode::NotYet);
    assert_eq!(
        code(sign(vec![cluster.approve(&signed, &policy, "erin")]).await),
        FailureCode::NotYet
    );
    assert_eq!(
        code(
            sign(vec![cluster.vote(
                &signed,
                &policy,
                "svc:payout",
                "svc:payout",
                policy::approval::Decision::Approve
            )])
            .await
        ),
        FailureCode::NotYet
    );
    let blank =
        SignedStatement::new(approval.body().to_vec(), Signature::Ed25519([0; 64])).unwrap();
    assert_eq!(code(sign(vec![blank]).await), FailureCode::NotYet);
    // A destination that is not on the list, an amount over the limit of a transaction, an unknown initiator.
    for (intent, signer) in [
        (cluster.intent("hot", place(8), SOL / 10, 2), "svc:payout"),
        (
            policy::intent::Intent {
                initiator: "svc:other".to_owned(),
                ..cluster.intent("hot", place(9), SOL / 10, 4)
            },
            "svc:other",
        ),
        (cluster.intent("hot", place(9), SOL / 10, 5), "svc:other"),
    ] {
        let signed = SignedIntent::sign(intent, &key(signer)).unwrap();
        let votes = [
            cluster.approve(&signed, &policy, "alice"),
            cluster.approve(&signed, &policy, "bob"),
        ];
        assert_eq!(
            code(cluster.sign(&[0, 1], &signed, &votes).await),
            FailureCode::Denied,
            "{signed:?}"
        );
    }
    let large = cluster.pay(3 * SOL, 3);
    let votes = [
        cluster.approve(&large, &policy, "alice"),
        cluster.approve(&large, &policy, "bob"),
    ];
    assert_eq!(
        code(cluster.sign(&[0, 1], &large, &votes).await),
        FailureCode::Limit
    );
    assert_eq!(cluster.engine(0).status().ledger_entries, 0);
    sign(vec![approval]).await.unwrap();
}

#[tokio::test]
async fn a88_counters_survive_everything() {
    let (mut cluster, policy, _, _) = setting().await;
    // One node lets two thirds of 3 SOL go in a day.
    for salt in 10..12 {
        let signed = cluster.pay(9 * SOL / 10, salt);
        let approval = cluster.approve(&signed, &policy, "alice");
        cluster.sign(&[0, 1], &signed, &[approval]).await.unwrap();
    }
    let over = cluster.pay(SOL / 4, 12);
    let approval = cluster.approve(&over, &policy, "alice");
    for node in 0..2 {
        let refused = cluster
            .sign(&[node, 2], &over, core::slice::from_ref(&approval))
            .await;
        assert_eq!(code(refused), FailureCode::Limit);
        cluster.restart(node).await;
        let refused = cluster
            .sign(&[node, 2], &over, core::slice::from_ref(&approval))
            .await;
        assert!(reasons(refused).contains("limit"));
    }
    // What still fits is signed; the day after, there is room again.
    let small = cluster.pay(SOL / 10, 13);
    let votes = [cluster.approve(&small, &policy, "bob")];
    cluster.sign(&[0, 1], &small, &votes).await.unwrap();
    cluster.advance(25 * HOUR);
    let later = cluster.pay(SOL / 4, 14);
    let votes = [cluster.approve(&later, &policy, "bob")];
    cluster.sign(&[0, 1], &later, &votes).await.unwrap();
}

#[tokio::test]
async fn a89_a_share_that_left_is_spent_whatever_follows() {
    let (mut cluster, policy, _, _) = setting().await;
    for salt in 10..12 {
        let signed = cluster.pay(9 * SOL / 10, salt);
        let request = cluster
            .request(
                &[0, 1],
                &signed,
                &[cluster.approve(&signed, &policy, "alice")],
            )
            .await;
        // Node 2 never answers: the signature does not come about.
        cluster.share(0, &request).await.unwrap();
    }
    cluster.restart(0).await;
    let over = cluster.pay(SOL / 4, 12);
    let request = cluster
        .request(&[0, 1], &over, &[cluster.approve(&over, &policy, "alice")])
        .await;
    assert_eq!(code(cluster.share(0, &request).await), FailureCode::Limit);
    // The node that let nothing go has room.
    cluster.share(1, &request).await.unwrap();
}

#[tokio::test]
async fn a91_an_approval_is_for_exactly_one_thing() {
    let (cluster, policy, signed, approval) = setting().await;
    // Any change of the approved text, and any change of the transaction, ends it.
    let body = approval.body().to_vec();
    for at in (0..body.len()).step_by(7) {
        let mut changed = body.clone();
        changed[at] ^= 1;
        let Ok(changed) = SignedStatement::new(changed, approval.signature().clone()) else {
            continue;
        };
        let refused = cluster.sign(&[0, 1], &signed, &[changed]).await;
        assert!(
            matches!(code(refused), FailureCode::NotYet | FailureCode::Denied),
            "byte {at}"
        );
    }
    let raw = signed.intent().raw_tx.clone();
    for at in (0..raw.len()).step_by(5) {
        let mut intent = signed.intent().clone();
        intent.raw_tx[at] ^= 1;
        let changed = SignedIntent::sign(intent, &key("svc:payout")).unwrap();
        let refused = cluster
            .sign(&[0, 1], &changed, core::slice::from_ref(&approval))
            .await;
        assert!(
            matches!(
                code(refused),
                FailureCode::NotYet | FailureCode::Denied | FailureCode::Limit
            ),
            "byte {at}"
        );
    }
    // Another request for the same money, with the approval of the first.
    let mut again = signed.intent().clone();
    again.idempotency_key = "payout again".to_owned();
    let again = SignedIntent::sign(again, &key("svc:payout")).unwrap();
    assert_eq!(
        code(
            cluster
                .sign(&[0, 1], &again, core::slice::from_ref(&approval))
                .await
        ),
        FailureCode::NotYet
    );
    // Two votes of one person are one, and a request for the same transaction is refused once the first was signed.
    let large = SignedIntent::sign(
        cluster.intent("hot", place(9), 3 * SOL / 2, 6),
        &key("svc:payout"),
    )
    .unwrap();
    let twice = [
        cluster.approve(&large, &policy, "alice"),
        cluster.approve(&large, &policy, "alice"),
    ];
    cluster.announce(0, &large).await.unwrap();
    cluster.advance(HOUR);
    assert_eq!(
        code(cluster.sign(&[0, 1], &large, &twice).await),
        FailureCode::NotYet
    );
    cluster.sign(&[0, 1], &signed, &[approval]).await.unwrap();
    let own = cluster.approve(&again, &policy, "alice");
    assert_eq!(
        code(cluster.sign(&[0, 1], &again, &[own]).await),
        FailureCode::Conflict
    );
}

#[tokio::test]
async fn requests_expire_and_may_not_come_from_the_future() {
    let (cluster, policy, signed, approval) = setting().await;
    let mut early = signed.intent().clone();
    early.created_ms += 2 * HOUR;
    let early = SignedIntent::sign(early, &key("svc:payout")).unwrap();
    let vote = cluster.approve(&early, &policy, "alice");
    assert_eq!(
        code(cluster.sign(&[0, 1], &early, &[vote]).await),
        FailureCode::Denied
    );
    cluster.advance(13 * HOUR);
    assert_eq!(
        code(cluster.sign(&[0, 1], &signed, &[approval]).await),
        FailureCode::NotYet,
        "the approval has expired"
    );
    cluster.advance(8 * HOUR);
    let fresh = cluster.approve(&signed, &policy, "alice");
    assert_eq!(
        code(cluster.sign(&[0, 1], &signed, &[fresh]).await),
        FailureCode::Denied,
        "the request has expired"
    );
    assert_eq!(
        code(cluster.announce(0, &signed).await),
        FailureCode::Denied
    );
}

#[tokio::test]
async fn a93_a_change_of_the_policy_voids_approvals() {
    let (cluster, one, signed, approval) = setting().await;
    // Version 2 takes a credential away: a tightening, in force at once.
    let two = cluster.document_version(
        2,
        Some(&one),
        &[&WALLET_RULES.replace("\"2500000000\"", "\"2400000000\"")],
    );
    let state = cluster.install(&two, &["erin"]).await;
    assert_eq!((state.version, state.pending_version), (2, 0));
    let refused = cluster
        .sign(&[0, 1], &signed, core::slice::from_ref(&approval))
        .await;
    assert_eq!(code(refused), FailureCode::NotYet);
    let again = cluster.approve(&signed, &two, "alice");
    cluster.sign(&[0, 1], &signed, &[again]).await.unwrap();
}

#[tokio::test]
async fn a94_the_policy_never_goes_back_and_loosens_slowly() {
    let (mut cluster, one, _, _) = setting().await;
    let two = cluster.document_version(
        2,
        Some(&one),
        &[&WALLET_RULES.replace("\"2500000000\"", "\"2400000000\"")],
    );
    cluster.install(&two, &["erin"]).await;
    let refuse = |text: String, names: &'static [&'static str]| {
        let call = Call::InstallPolicy(cluster.signed_policy(&text, names));
        let cluster = &cluster;
        async move { code(cluster.call(0, call).await) }
    };
    // The old version again, a version with a gap, one on the wrong base, one with too few or the wrong signatures.
    assert_eq!(
        refuse(one.clone(), &["erin", "frank"]).await,
        FailureCode::NotAuthorised
    );
    let rules = WALLET_RULES.replace("\"2500000000\"", "\"9000000000\"");
    assert_eq!(
        refuse(
            cluster.document_version(4, Some(&two), &[&rules]),
            &["erin", "frank"]
        )
        .await,
        FailureCode::NotAuthorised
    );
    assert_eq!(
        refuse(
            cluster.document_version(3, Some(&one), &[&rules]),
            &["erin", "frank"]
        )
        .await,
        FailureCode::NotAuthorised
    );
    let three = cluster.document_version(3, Some(&two), &[&rules]);
    assert_eq!(
        refuse(three.clone(), &["erin"]).await,
        FailureCode::NotAuthorised
    );
    assert_eq!(
        refuse(three.clone(), &["alice", "bob"]).await,
        FailureCode::NotAuthorised
    );
    // A loosening waits two days, over restarts too.
    let state = cluster.install(&three, &["erin", "frank"]).await;
    assert_eq!((state.version, state.pending_version), (2, 3));
    cluster.restart(0).await;
    cluster.advance(47 * HOUR);
    let policy = |cluster: &Cluster| cluster.engine(0).status().policy.unwrap();
    assert_eq!(
        (policy(&cluster).version, policy(&cluster).pending_version),
        (2, 3)
    );
    cluster.advance(2 * HOUR);
    assert_eq!(
        (policy(&cluster).version, policy(&cluster).pending_version),
        (3, 0)
    );
    cluster.restart(0).await;
    assert_eq!(policy(&cluster).version, 3);
    // Sending it once more is answered, not repeated.
    assert_eq!(cluster.install(&three, &["erin", "frank"]).await.version, 3);
}

#[tokio::test]
async fn a97_nothing_signs_a_digest() {
    let (cluster, _, signed, _) = setting().await;
    for raw in [
        vec![0x5a; 32],
        vec![0; 32],
        [vec![1], vec![0x5a; 31]].concat(),
        vec![0x5a; 64],
    ] {
        let mut intent = signed.intent().clone();
        intent.raw_tx = raw;
        let digest = SignedIntent::sign(intent, &key("svc:payout")).unwrap();
        assert_eq!(
            code(cluster.sign(&[0, 1], &digest, &[]).await),
            FailureCode::Denied
        );
    }
    assert_eq!(cluster.engine(0).status().ledger_entries, 0);
}

#[tokio::test]
async fn a99_wallets_and_keys_are_not_mixed_up() {
    let mut cluster = Cluster::ready().await;
    let one = cluster.document(&[WALLET_RULES]);
    cluster.generate("cold", "ed25519").await;
    let cold = WALLET_RULES
        .replace("\"hot\"", "\"cold\"")
        .replace("\"pay\"", "\"cold-pay\"")
        .replace("\"large\"", "\"cold-large\"")
        .replace("min = 1 }", "min = 2 }");
    let two = cluster.document_version(2, Some(&one), &[WALLET_RULES, &cold]);
    cluster.install(&two, &["erin", "frank"]).await;
    cluster.advance(49 * HOUR);
    // The easy wallet's name with the strict wallet's key, and the other way round; a foreign cluster; an unknown key.
    for change in [
        |intent: &mut policy::intent::Intent, cluster: &Cluster| {
            intent.key_id = cluster.key_id("cold");
        },
        |intent: &mut policy::intent::Intent, _: &Cluster| intent.wallet = "cold".to_owned(),
        |intent: &mut policy::intent::Intent, _: &Cluster| intent.cluster_id = "c-02".to_owned(),
        |intent: &mut policy::intent::Intent, _: &Cluster| {
            intent.chain = "solana:mainnet".to_owned();
        },
        |intent: &mut policy::intent::Intent, _: &Cluster| intent.key_id = [3; 32],
    ] {
        let mut intent = cluster.intent("hot", place(9), SOL / 10, 1);
        change(&mut intent, &cluster);
        let signed = SignedIntent::sign(intent, &key("svc:payout")).unwrap();
        let request = cluster.request(&[0, 1], &signed, &[]).await;
        let refused = code(cluster.share(0, &request).await);
        assert!(
            matches!(refused, FailureCode::Denied | FailureCode::Unknown),
            "{signed:?} {refused:?}"
        );
        let announced = code(cluster.announce(0, &signed).await);
        assert!(
            matches!(announced, FailureCode::Denied | FailureCode::Unknown),
            "{announced:?}"
        );
    }
    // A transaction that moves another wallet's money.
    let mut crossed = cluster.intent("cold", place(9), SOL / 10, 2);
    (crossed.wallet, crossed.key_id) = ("hot".to_owned(), cluster.key_id("hot"));
    let crossed = SignedIntent::sign(crossed, &key("svc:payout")).unwrap();
    let request = cluster.request(&[0, 1], &crossed, &[]).await;
    assert_eq!(code(cluster.share(0, &request).await), FailureCode::Denied);
    // Commitments of one key in a request for the other.
    let signed = cluster.pay(SOL / 10, 3);
    let mut request = cluster
        .request(&[0, 1], &signed, &[cluster.approve(&signed, &two, "alice")])
        .await;
    request.commitments[1] = cluster
        .prepare(1, "cold", 1)
        .await
        .unwrap()
        .remove(0)
        .into();
    assert_eq!(code(cluster.share(0, &request).await), FailureCode::Stale);
}

#[tokio::test]
async fn lists_of_commitments_are_checked() {
    let (cluster, _, signed, approval) = setting().await;
    let request = cluster.request(&[0, 1], &signed, &[approval]).await;
    let with = |commitments: Vec<_>| v1::Sign {
        commitments,
        ..request.clone()
    };
    let (first, second) = (
        request.commitments[0].clone(),
        request.commitments[1].clone(),
    );
    let third: prost::bytes::Bytes = cluster.prepare(2, "hot", 1).await.unwrap().remove(0).into();
    let mut forged = second.to_vec();
    *forged.last_mut().unwrap() ^= 1;
    for (list, expected) in [
        (vec![], FailureCode::Malformed),
        (vec![first.clone()], FailureCode::Malformed),
        (vec![second.clone(), first.clone()], FailureCode::Malformed),
        (vec![first.clone(), first.clone()], FailureCode::Malformed),
        (vec![first.clone(), forged.into()], FailureCode::Malformed),
        (vec![second.clone(), third], FailureCode::Stale),
    ] {
        assert_eq!(code(cluster.share(0, &with(list)).await), expected);
    }
    let wrong_epoch = v1::Sign {
        epoch: 1,
        sharing: None,
        ..request.clone()
    };
    assert_eq!(
        code(cluster.share(0, &wrong_epoch).await),
        FailureCode::NeedCertificate
    );
    // All of that cost neither nonces nor money.
    assert_eq!(cluster.engine(0).status().ledger_entries, 0);
    let share = cluster.share(0, &request).await.unwrap();
    assert_eq!(share.next_commitments.len(), 1);
    let next = wire::open_commitment(
        &cluster.roster,
        &cluster.keys["hot"],
        &share.next_commitments[0],
    )
    .unwrap();
    assert_eq!(
        (next.node, next.boot_id),
        (cluster.engine(0).node(), cluster.engine(0).boot())
    );
}

/// Keeps the writer of a node's store waiting until it is dropped.
fn block_disk(cluster: &Cluster, node: usize) -> rusqlite::Connection {
    let store = rusqlite::Connection::open(cluster.config(node).store).unwrap();
    store.execute_batch("BEGIN IMMEDIATE").unwrap();
    store
}

#[tokio::test]
async fn a86_an_order_to_stop_that_arrives_while_a_share_is_written_down_keeps_it_back() {
    let (cluster, _, signed, approval) = setting().await;
    let request = cluster.request(&[0, 1], &signed, &[approval]).await;
    let blocked = block_disk(&cluster, 0);
    let pause = |ms| tokio::time::sleep(core::time::Duration::from_millis(ms));
    let (share, order, ()) = tokio::join!(
        cluster.share(0, &request),
        async {
            pause(100).await;
            cluster
                .call(0, Call::Order(cluster.freeze("alice", 1)))
                .await
        },
        async {
            pause(400).await;
            drop(blocked);
        }
    );
    assert_eq!(code(share), FailureCode::Frozen);
    let Ok(Answer::FreezeState(state)) = order else {
        panic!("{order:?}")
    };
    assert!(state.frozen);
}
