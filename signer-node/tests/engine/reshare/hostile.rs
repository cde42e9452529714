//! What a hostile coordinator, a hostile member or an old disk can do to the sharings of a key: nothing.

use signer_node::seal::{Kind, Label};

use super::*;

#[tokio::test]
async fn a63_a_certificate_that_one_node_alone_has_seen_loses_nobody_a_share() {
    let (mut cluster, policy) = ready(4).await;
    // The first attempt is certified, and only node 1 gets to know of it.
    for node in [1, 2] {
        cluster.forbid(node, "sharings", "substr(body, 1, 1) = x'03'");
    }
    let first = Wish::refresh(&[0, 1, 2]);
    cluster.start_wish("hot", &first).await;
    cluster.reached(0, "hot", (1, 1)).await;
    for node in [1, 2] {
        for _ in 0..500 {
            let prepared = cluster.key_state(node, "hot").prepared;
            if prepared.last().is_some_and(|prepared| !prepared.running) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        cluster.allow(node);
        cluster.restart(node).await;
        assert_eq!(cluster.key_state(node, "hot").prepared.len(), 1);
    }
    let lost = cluster.chain(0, "hot").await.certificates[0].clone();
    // It takes part in no other attempt of that epoch, and shows the certificate instead.
    let second = Wish {
        attempt: 2,
        ..first.clone()
    };
    let (call, _) = cluster.draft("hot", &second);
    let shown = cluster.begin(0, &call).await;
    assert_eq!(code(shown), FailureCode::StaleSharing);
    // The others pass it with another committee, and everybody ends there, also those who see the first certificate late.
    let passing = Wish {
        dealers: vec![1, 2],
        members: vec![1, 2, 3],
        attempt: 2,
        ..first
    };
    let request = cluster.start_wish_from("hot", &passing, 1).await;
    for node in [1, 2, 3] {
        cluster.reached(node, "hot", (1, request.attempt().0)).await;
    }
    let late = cluster.activate(1, "hot", &lost).await.unwrap();
    assert_eq!(late.sharing.unwrap().attempt, 2);
    let winner = cluster.chain(1, "hot").await.certificates[0].clone();
    let moved = cluster.activate(0, "hot", &winner).await.unwrap();
    assert!(!moved.holds);
    let back = cluster.activate(0, "hot", &lost).await.unwrap();
    assert_eq!(back.sharing.unwrap().attempt, 2, "nobody moves down");
    cluster.follow(1, "hot").await;
    cluster.tell_new_members().await;
    cluster.every_quorum_signs(&policy, &[1, 2, 3], 2).await;
    let (contents, _) = cluster.steal(0);
    for attempt in 0..3 {
        let label = Label::new(Kind::Share, cluster.key_id("hot"), 1, attempt);
        assert!(contents.sealed(&label).is_none());
    }
}

#[tokio::test]
async fn a64_a_refresh_that_nobody_ordered_waits_its_time_and_has_few_attempts() {
    let (mut cluster, _) = ready(3).await;
    let policy =
        cluster.document_version(2, Some(&cluster.document(&[WALLET_RULES])), &[WALLET_RULES]);
    let policy = policy.replace("[[wallet]]\n", "[[wallet]]\nrefresh_every = \"30d\"\n");
    cluster.advance(HOUR);
    cluster.install(&policy, &["erin", "frank"]).await;
    cluster.advance(49 * HOUR);
    let unordered = |cluster: &Cluster, wish: &Wish| {
        let (mut call, _) = cluster.draft("hot", wish);
        call.statements.clear();
        call
    };
    let wish = Wish::refresh(&[0, 1, 2]);
    let early = unordered(&cluster, &wish);
    assert_eq!(
        code(cluster.begin(0, &early).await),
        FailureCode::NotAuthorised
    );
    for _ in 0..29 {
        cluster.advance(24 * HOUR);
        for node in 0..3 {
            cluster.engine(node).tick().await.unwrap();
        }
    }
    let many = Wish {
        attempt: 65,
        ..wish.clone()
    };
    let call = unordered(&cluster, &many);
    assert_eq!(
        code(cluster.begin(0, &call).await),
        FailureCode::NotAuthorised
    );
    let call = unordered(&cluster, &wish);
    for node in 0..3 {
        cluster.begin(node, &call).await.unwrap();
    }
    for node in 0..3 {
        cluster.reached(node, "hot", (1, 1)).await;
    }
    cluster.follow(0, "hot").await;
    // The next one is not due for a month.
    let again = unordered(&cluster, &wish);
    assert_eq!(
        code(cluster.begin(0, &again).await),
        FailureCode::NotAuthorised
    );
}

#[tokio::test]
async fn a65_no_refresh_changes_committee_or_threshold_and_no_order_goes_below_the_cluster() {
    let (cluster, _) = ready(4).await;
    let wishes = [
        Wish {
            members: vec![0, 1, 3],
            ..Wish::refresh(&[0, 1, 2])
        },
        Wish {
            threshold: 3,
            ..Wish::refresh(&[0, 1, 2])
        },
    ];
    for wish in wishes {
        let (mut call, _) = cluster.draft("hot", &wish);
        call.statements.clear();
        assert_eq!(
            code(cluster.begin(0, &call).await),
            FailureCode::NotAuthorised
        );
        // One of the two people who must agree is not enough, and one twice is not two.
        let (mut call, _) = cluster.draft("hot", &wish);
        call.statements.truncate(1);
        let one = call.statements[0].clone();
        call.statements.push(one);
        assert_eq!(
            code(cluster.begin(0, &call).await),
            FailureCode::NotAuthorised
        );
    }
}

#[tokio::test]
async fn a66_nodes_of_different_epochs_never_sign_together() {
    let (mut cluster, policy) = ready(3).await;
    let signed = cluster.pay(SOL / 100, 1);
    let approval = [cluster.approve(&signed, &policy, "alice")];
    let old = cluster.request(&[0, 1], &signed, &approval).await;
    let before = cluster.keys["hot"].clone();
    // Node 2 is certified and does not know it yet.
    cluster.forbid(1, "sharings", "substr(body, 1, 1) = x'03'");
    cluster.start_wish("hot", &Wish::refresh(&[0, 1, 2])).await;
    cluster.reached(0, "hot", (1, 1)).await;
    cluster.reached(2, "hot", (1, 1)).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    cluster.allow(1);
    // The one that is ahead answers nothing of the old sharing, the one behind nothing of the new one.
    let stale = cluster.share(0, &old).await.expect_err("an old sharing");
    assert_eq!(stale.code(), FailureCode::StaleSharing);
    assert_eq!(stale.sharing.unwrap().epoch, 1);
    cluster.follow(0, "hot").await;
    let behind = cluster.prepare(1, "hot", 1).await.expect_err("a new one");
    assert_eq!(behind.code(), FailureCode::NeedCertificate);
    assert_eq!(behind.sharing.unwrap().epoch, 0);
    // Commitments of the old sharing under a call that names the new one.
    let mut mixed = cluster.request(&[0, 2], &signed, &approval).await;
    mixed.commitments[0] = old.commitments[0].clone();
    assert_eq!(code(cluster.share(2, &mixed).await), FailureCode::Stale);
    // Only the number is new, the sharing is the old one: somebody is lying about what is certified.
    let mut forged = cluster.request(&[0, 2], &signed, &approval).await;
    forged.sharing.as_mut().unwrap().id = before.sharing().as_bytes().to_vec().into();
    assert_eq!(
        code(cluster.share(0, &forged).await),
        FailureCode::SecurityAbort
    );
    let certificate = cluster.chain(0, "hot").await.certificates[0].clone();
    cluster.activate(1, "hot", &certificate).await.unwrap();
    cluster.every_quorum_signs(&policy, &[0, 1, 2], 2).await;
}

#[tokio::test]
async fn a67_a_coordinator_that_changes_anything_about_the_committee_is_refused() {
    let (cluster, _) = ready(5).await;
    let ordered = Wish {
        dealers: vec![0, 1],
        members: vec![0, 1, 3],
        ..Wish::refresh(&[0, 1, 2])
    };
    let (good, _) = cluster.draft("hot", &ordered);
    let others = [
        Wish {
            members: vec![0, 1, 4],
            ..ordered.clone()
        },
        Wish {
            members: vec![0, 1, 3, 4],
            threshold: 3,
            ..ordered.clone()
        },
        Wish {
            dealers: vec![0, 2],
            ..ordered.clone()
        },
        Wish {
            attempt: 2,
            ..ordered.clone()
        },
        Wish {
            fresh: false,
            ..ordered.clone()
        },
    ];
    for other in others {
        let (mut changed, _) = cluster.draft("hot", &other);
        changed.statements = good.statements.clone();
        let refused = cluster.begin(0, &changed).await.expect_err("not ordered");
        assert!(
            matches!(
                refused.code(),
                FailureCode::Denied | FailureCode::NotAuthorised
            ),
            "{refused:?}"
        );
    }
    // A new member believes no chain of another key, none that is cut, and none without people's order.
    let chain = cluster.chain(0, "hot").await;
    let mut strange = chain.clone();
    let mut base = strange.base.to_vec();
    base[1] ^= 1;
    strange.base = base.into();
    let mut call = good.clone();
    call.chain = Some(strange);
    assert!(cluster.begin(3, &call).await.is_err());
    call.chain = Some(chain.clone());
    let mut unsigned = call.clone();
    unsigned.statements.clear();
    assert_eq!(
        code(cluster.begin(3, &unsigned).await),
        FailureCode::NotAuthorised
    );
    call.chain = None;
    assert_eq!(code(cluster.begin(3, &call).await), FailureCode::Unknown);
    // A node that takes no part in it takes no part in it.
    assert_eq!(code(cluster.begin(2, &good).await), FailureCode::Malformed);
    // What was ordered runs.
    call.chain = Some(chain);
    for node in [0, 1, 3] {
        cluster.begin(node, &call).await.unwrap();
    }
    for node in [0, 1, 3] {
        cluster.reached(node, "hot", (1, 1)).await;
    }
}

#[tokio::test]
async fn a69_entries_and_nonces_of_before_a_refresh_are_dead() {
    let mut cluster = Cluster::of(tempfile::tempdir().unwrap(), 3, 3).await;
    cluster.generate("eth", "ecdsa").await;
    cluster.generate("hot", "ed25519").await;
    let mine = WALLET_RULES.replace("id = \"pay\"", "id = \"pay-hot\"");
    let policy = cluster.document(&[&mine, crate::ecdsa::RULES]);
    cluster.install(&policy, &["erin", "frank"]).await;
    let quorum = [0, 1];
    let entries = cluster.filled(&quorum, 2).await;
    let withdrawal = cluster.withdrawal(1, FINNEY);
    let consent = cluster.approve_ecdsa(&withdrawal, &policy);
    let call = cluster.open_call(&quorum, &withdrawal, &consent, &entries[0]);
    let mut round1 = Vec::new();
    for node in quorum {
        round1.push(cluster.open_entry(node, &call).await.unwrap());
    }
    let payment = cluster.pay(SOL / 100, 1);
    let approval = [cluster.approve(&payment, &policy, "alice")];
    let frost = cluster.request(&quorum, &payment, &approval).await;
    for name in ["eth", "hot"] {
        cluster.reshare(name, &Wish::refresh(&[0, 1, 2])).await;
    }
    // Opened before, answered after: never.
    let finish = cluster.finish_entry(0, &entries[0], &round1).await;
    assert_eq!(code(finish), FailureCode::Stale);
    // Made with the old setups.
    let call = cluster.open_call(&quorum, &withdrawal, &consent, &entries[1]);
    assert_eq!(code(cluster.open_entry(0, &call).await), FailureCode::Stale);
    // Nonces of the old sharing, asked for as the new one.
    let fresh = cluster.request(&quorum, &payment, &approval).await;
    let mixed = v1::Sign {
        commitments: frost.commitments,
        ..fresh
    };
    assert_eq!(code(cluster.share(0, &mixed).await), FailureCode::Stale);
    cluster
        .every_ecdsa_quorum_signs(&policy, &[0, 1, 2], 2)
        .await;
    cluster.every_quorum_signs(&policy, &[0, 1, 2], 2).await;
}

#[tokio::test]
async fn a70_an_old_share_is_nowhere_on_the_disk_once_the_new_one_is_certified() {
    let (mut cluster, _) = ready(3).await;
    let label = Label::new(Kind::Share, cluster.key_id("hot"), 0, 0);
    let (contents, _) = cluster.steal(0);
    let sealed = contents.sealed(&label).unwrap().to_vec();
    // The last bytes of the record: nonce, ciphertext and tag.
    let needle = &sealed[sealed.len() - 48..];
    let found = |cluster: &Cluster| {
        let files = std::fs::read_dir(cluster.home(0)).unwrap();
        files
            .map(|file| std::fs::read(file.unwrap().path()).unwrap())
            .any(|bytes| bytes.windows(needle.len()).any(|window| window == needle))
    };
    assert!(found(&cluster));
    cluster.reshare("hot", &Wish::refresh(&[0, 1, 2])).await;
    assert!(!found(&cluster), "neither in the database nor beside it");
}

#[tokio::test]
async fn a79_two_copies_of_one_node_never_make_the_same_nonces() {
    let (mut cluster, _) = ready(3).await;
    let copy = cluster.dir.path().join("copy.db");
    cluster.stop(0).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    cluster.backup(0, &copy);
    let mut all = BTreeSet::new();
    for _ in 0..2 {
        cluster.restore(0, &copy).await;
        for commitment in cluster.prepare(0, "hot", 16).await.unwrap() {
            assert!(all.insert(commitment), "the same nonce twice");
        }
    }
    assert_eq!(all.len(), 32);
}

#[tokio::test]
async fn a83_a_share_of_an_older_sharing_put_back_is_found_at_the_start() {
    let (mut cluster, _) = ready(3).await;
    let old = Label::new(Kind::Share, cluster.key_id("hot"), 0, 0);
    let new = Label::new(Kind::Share, cluster.key_id("hot"), 1, 1);
    let (contents, _) = cluster.steal(0);
    let sealed = contents.sealed(&old).unwrap().to_vec();
    cluster.reshare("hot", &Wish::refresh(&[0, 1, 2])).await;
    cluster.stop(0).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let database = rusqlite::Connection::open(cluster.config(0).store).unwrap();
    let mut id = vec![4];
    id.extend(new.key);
    id.extend(new.epoch.to_be_bytes());
    id.extend(new.attempt.to_be_bytes());
    let changed = database
        .execute("UPDATE sealed SET body = ?1 WHERE id = ?2", (&sealed, &id))
        .unwrap();
    assert_eq!(changed, 1);
    drop(database);
    let error = cluster.start(0).await.expect_err("damaged");
    assert!(error.to_string().contains("was replaced"), "{error}");
}

#[tokio::test]
async fn a84_a_certificate_is_judged_anew_whatever_was_judged_before() {
    let (mut cluster, policy) = ready(3).await;
    cluster.stop(1).await;
    let wish = Wish {
        dealers: vec![0, 2],
        members: vec![0, 2],
        ..Wish::refresh(&[0, 2])
    };
    cluster.reshare("hot", &wish).await;
    let good = cluster.chain(0, "hot").await.certificates[0].to_vec();
    cluster.start(1).await.unwrap();
    let bad = |at: usize| {
        let mut bytes = good.clone();
        let at = bytes.len() - at;
        bytes[at] ^= 1;
        bytes
    };
    // The signatures stand at its end.
    for at in [1, 40, 100, 200] {
        assert!(cluster.activate(1, "hot", &bad(at)).await.is_err());
        assert_eq!(cluster.place(1, "hot"), (0, 0));
    }
    cluster.activate(1, "hot", &good).await.unwrap();
    for at in [1, 40, 100, 200] {
        assert!(cluster.activate(1, "hot", &bad(at)).await.is_err());
    }
    assert_eq!(cluster.key_state(1, "hot").state, "left");
    cluster.every_quorum_signs(&policy, &[0, 2], 2).await;
}

#[tokio::test]
async fn an_attempt_above_the_hours_of_the_clock_uses_up_nothing() {
    let (mut cluster, policy) = ready(3).await;
    let wish = Wish::refresh(&[0, 1, 2]);
    let last = Wish {
        attempt: 900_000,
        ..wish.clone()
    };
    let (call, _) = cluster.draft("hot", &last);
    assert_eq!(
        code(cluster.begin(0, &call).await),
        FailureCode::NotAuthorised
    );
    cluster.start_wish("hot", &wish).await;
    for node in 0..3 {
        cluster.reached(node, "hot", (1, 1)).await;
    }
    cluster.follow(0, "hot").await;
    cluster.every_quorum_signs(&policy, &[0, 1, 2], 2).await;
}
