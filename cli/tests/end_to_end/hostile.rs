//! Nodes driven by somebody who has everything the coordinator has: its port, certificate, key and traffic.

use std::{collections::BTreeMap, time::Duration};

use cli::{
    demo::rogue::{Reaction, Rogue},
    people, sample,
};
use client::Prepared;
use policy::{
    approval::Decision,
    document::{Document, PolicyHash},
    statement::{Freeze, PolicyConsent, SignedStatement, Statement, Unfreeze},
};
use proto::v1::{
    FailureCode, InstallPolicy, Order, coordinator_frame::Body as Ask, node_frame::Body as Answer,
};

use crate::world::World;

const NODES: [u32; 3] = [1, 2, 3];

async fn take_over(world: &mut World) -> Rogue {
    let address = world
        .cluster
        .made()
        .cluster
        .coordinator
        .addr
        .parse()
        .expect("an address");
    world.cluster.crash_coordinator().expect("it ran");
    let id = &world.cluster.made().cluster.cluster_id;
    let rogue = Rogue::start(world.cluster.layout(), id, address)
        .await
        .expect("the port");
    rogue
        .connected(&NODES, Duration::from_secs(20))
        .await
        .expect("the nodes dial it");
    rogue
}

/// Approvals of two people for a request that the real coordinator knows.
async fn approvals(world: &World, prepared: &Prepared, decision: Decision) -> Vec<SignedStatement> {
    let review = world.client.review(prepared.id()).await.expect("a review");
    ["alice", "bob"]
        .into_iter()
        .map(|person| {
            let common =
                people::common(world.cluster.id(), person, sample::CREDENTIAL).expect("a nonce");
            let statement = review.statement(common, decision);
            world.cluster.sign(person, &statement).expect("signed")
        })
        .collect()
}

fn assert_refused(what: &str, reactions: &BTreeMap<u32, Reaction>) {
    assert!(
        !reactions.is_empty() && reactions.values().all(Reaction::is_refusal),
        "{what}: {reactions:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a85_a_stolen_coordinator_gets_no_share_outside_the_policy() {
    // Everything over 1000 lamports needs two approvals and a second.
    let mut world = World::new(1_000_000, 1000).await;
    let approved = world.order("approved", 5000).await;
    let other = world.order("other", 5001).await;
    let silent = world.order("silent", 5002).await;
    let late = world.order("late", 5003).await;
    for prepared in [&approved, &other] {
        world.client.submit(prepared).await.expect("accepted");
    }
    let good = approvals(&world, &approved, Decision::Approve).await;
    let for_other = approvals(&world, &other, Decision::Approve).await;
    let rejections = approvals(&world, &approved, Decision::Reject).await;

    let rogue = take_over(&mut world).await;
    let key = (&world.key.id, 0);
    let two = [1, 2];
    let mut receipts = BTreeMap::new();
    for prepared in [&approved, &other, &silent] {
        let (own, refusals) = rogue
            .announce(&NODES, prepared.as_bytes())
            .await
            .expect("answers");
        assert!(refusals.is_empty(), "{refusals:?}");
        receipts.insert(prepared.id(), own);
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let of = |prepared: &Prepared| receipts.get(&prepared.id()).cloned().unwrap_or_default();

    let alone = &good[..1];
    let twice = [good[0].clone(), good[0].clone()];
    let mixed = [good[0].clone(), for_other[1].clone()];
    let rejected = [&good[..], &rejections[..1]].concat();
    let cases: [(&str, &Prepared, &[SignedStatement]); 6] = [
        ("no approvals", &silent, &[]),
        ("one of two approvals", &approved, alone),
        ("a92: the same approval twice", &approved, &twice),
        ("a91: approvals of another request", &other, &good),
        ("a91: one approval of another request", &approved, &mixed),
        ("a rejection beside the approvals", &approved, &rejected),
    ];
    for (what, prepared, approvals) in cases {
        let reactions = rogue
            .sign(&two, key, prepared.as_bytes(), approvals, &of(prepared))
            .await
            .expect("answers");
        assert_refused(what, &reactions);
    }

    // a90: the lock counts from what the nodes saw themselves, not from what they are told.
    let at_once = rogue
        .sign(&two, key, late.as_bytes(), &good, &of(&approved))
        .await
        .expect("answers");
    assert_refused("never announced, with another request's receipts", &at_once);

    // a91: every byte of the intent that approvals are for.
    for at in (0..approved.as_bytes().len()).step_by(7) {
        let mut bytes = approved.as_bytes().to_vec();
        bytes[at] ^= 0x20;
        let reactions = rogue
            .sign(&two, key, &bytes, &good, &of(&approved))
            .await
            .expect("answers");
        assert_refused(&format!("byte {at} changed"), &reactions);
    }
    governance(&world, &rogue).await;
}

/// What a coordinator may carry, but not decide.
async fn governance(world: &World, rogue: &Rogue) {
    let text = std::fs::read(world.cluster.layout().policy()).expect("the policy");
    let mut loosened = String::from_utf8(text.clone()).expect("text");
    loosened = loosened.replace("max = \"1000000\"", "max = \"9000000000\"");
    assert_ne!(loosened.as_bytes(), text, "it really is another policy");
    let document = Document::parse(loosened.as_bytes()).expect("a policy");
    let consent = Statement::Policy(PolicyConsent {
        common: people::common(world.cluster.id(), "alice", sample::CREDENTIAL).expect("a nonce"),
        policy_id: document.policy_id().as_str().to_owned(),
        version: document.version(),
        policy: *PolicyHash::of(loosened.as_bytes()).as_bytes(),
    });
    let one = world
        .cluster
        .sign("alice", &consent)
        .expect("signed")
        .encode();
    for signatures in [
        vec![],
        vec![one.clone().into()],
        vec![one.clone().into(), one.into()],
    ] {
        let install = InstallPolicy {
            document: loosened.clone().into_bytes().into(),
            signatures,
        };
        let answer = rogue
            .ask(1, Ask::InstallPolicy(install))
            .await
            .expect("an answer");
        assert!(
            matches!(answer, Answer::Failure(_)),
            "fewer signatures than it takes: {answer:?}"
        );
    }

    // One person may freeze; the coordinator can neither invent that nor lift it with one signature.
    let common =
        |person| people::common(world.cluster.id(), person, sample::CREDENTIAL).expect("a nonce");
    let freeze = Statement::Freeze(Freeze {
        common: common("bob"),
    });
    let by_nobody =
        SignedStatement::sign(&freeze, &people::generate_key().expect("a key")).expect("signed");
    let order = |statements: Vec<&SignedStatement>| {
        Ask::Order(Order {
            statements: statements.into_iter().map(|s| s.encode().into()).collect(),
        })
    };
    let answer = rogue
        .ask(1, order(vec![&by_nobody]))
        .await
        .expect("an answer");
    assert!(
        matches!(answer, Answer::Failure(_)),
        "a forged freeze: {answer:?}"
    );
    let by_bob = world.cluster.sign("bob", &freeze).expect("signed");
    let answer = rogue.ask(1, order(vec![&by_bob])).await.expect("an answer");
    assert!(
        matches!(&answer, Answer::FreezeState(state) if state.frozen),
        "{answer:?}"
    );
    let unfreeze = Statement::Unfreeze(Unfreeze {
        common: common("alice"),
    });
    let by_alice = world.cluster.sign("alice", &unfreeze).expect("signed");
    for statements in [vec![&by_alice], vec![&by_alice, &by_alice], vec![&by_bob]] {
        let answer = rogue.ask(1, order(statements)).await.expect("an answer");
        let still = match &answer {
            Answer::FreezeState(state) => state.frozen,
            Answer::Failure(_) => true,
            _ => false,
        };
        assert!(still, "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a44_the_same_commitments_never_sign_twice() {
    use proto::v1::{Prepare, Sign};
    let mut world = World::new(1_000_000, 1_000_000).await;
    let first = world.order("first", 1000).await;
    let second = world.order("second", 1001).await;
    let rogue = take_over(&mut world).await;
    let mut receipts = BTreeMap::new();
    for prepared in [&first, &second] {
        let (own, _) = rogue
            .announce(&NODES, prepared.as_bytes())
            .await
            .expect("answers");
        receipts.insert(prepared.id(), own);
    }
    let mut commitments = Vec::new();
    for node in [1, 2] {
        let prepare = Prepare {
            key_id: world.key.id.to_vec().into(),
            epoch: 0,
            count: 1,
            sharing: None,
        };
        let Answer::Commitments(found) = rogue
            .ask(node, Ask::Prepare(prepare))
            .await
            .expect("an answer")
        else {
            panic!("no commitments");
        };
        commitments.push(found.envelopes[0].clone());
    }
    let sign = |prepared: &Prepared, attempt| {
        Ask::Sign(Sign {
            signed_intent: prepared.as_bytes().to_vec().into(),
            approvals: vec![],
            receipts: receipts[&prepared.id()]
                .iter()
                .map(|r| r.clone().into())
                .collect(),
            epoch: 0,
            attempt,
            commitments: commitments.clone(),
            task: 0,
            sharing: None,
        })
    };
    let answer = rogue.ask(1, sign(&first, 1)).await.expect("an answer");
    assert!(
        matches!(answer, Answer::Share(_)),
        "the policy allows it: {answer:?}"
    );
    for (prepared, attempt) in [(&second, 1), (&first, 2), (&first, 1)] {
        let answer = rogue
            .ask(1, sign(prepared, attempt))
            .await
            .expect("an answer");
        let Answer::Failure(failure) = &answer else {
            panic!("a second share from the same nonces: {answer:?}");
        };
        let code = failure.code();
        assert!(
            matches!(
                code,
                FailureCode::Stale | FailureCode::Replayed | FailureCode::Unknown
            ),
            "{failure:?}"
        );
    }
    // After a restart the nonces are gone for good.
    drop(world.cluster.crash_node(1));
    world.cluster.start_node(1).expect("started");
    rogue
        .connected(&[2], Duration::from_secs(20))
        .await
        .expect("node 2");
    tokio::time::sleep(Duration::from_secs(1)).await;
    rogue
        .connected(&[1], Duration::from_secs(20))
        .await
        .expect("node 1");
    let answer = rogue.ask(1, sign(&first, 3)).await.expect("an answer");
    assert!(matches!(answer, Answer::Failure(_)), "{answer:?}");
}
