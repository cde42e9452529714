//! Signatures in spite of faulty nodes, and no signature where there must be none.

use std::time::{Duration, Instant};

use coordinator::store::Store as _;
use mpc_core::{evidence, verify};
use policy::solana;
use proto::v1::{self, Failure, FailureCode, RequestState};

use super::{
    cluster::{Cluster, FEE, start, start_again, submission},
    node::{Node, Script, connect_all, roster, wait_connected},
};

const QUICK: &str = "[signing]\nanswer_timeout = \"500ms\"\nlate_after = \"100ms\"\nretry_first = \"50ms\"\n[links]\nheartbeat = \"100ms\"\n";

fn assert_released(cluster: &Cluster, status: &v1::RequestStatus, raw_tx: &[u8]) {
    assert_eq!(
        status.state(),
        RequestState::Released,
        "{:?} {:?}",
        status.failure,
        status.reasons
    );
    let signature: [u8; 64] = status.signature.as_ref().try_into().expect("64 bytes");
    assert!(verify::ed25519_verify_strict(
        &cluster.wallet_key(),
        raw_tx,
        &signature
    ));
    assert_eq!(
        status.signed_tx.as_ref(),
        solana::assemble(raw_tx, &signature)
    );
    assert_eq!(status.signers.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_honest_nodes_sign_and_the_answer_never_changes() {
    let (cluster, running) = start(QUICK);
    cluster.install_policy(&running).await;
    let nodes = connect_all(&cluster, &running, [Script::Honest; 3]).await;
    let mut client = cluster.client(&running).await;
    let mut first = Vec::new();
    let asked = || nodes.iter().map(Node::times_asked).collect::<Vec<_>>();
    for number in 1..=200 {
        // On a busy machine a node may seem slow for a while; no node is left out for long.
        if number > 6 && asked().iter().all(|count| *count >= 2) {
            break;
        }
        assert!(number < 200, "the load is not spread: {:?}", asked());
        let intent = cluster.intent(number, 1_000);
        let request = submission(intent.clone());
        let status = client
            .submit(request.clone())
            .await
            .expect("answers")
            .into_inner();
        assert_released(&cluster, &status, &intent.raw_tx);
        for phase in ["reserve", "commitments", "shares", "aggregate", "total"] {
            assert!(
                status.timings_us.contains_key(phase),
                "{phase} is not measured"
            );
        }
        first.push((request, status));
    }
    let before = asked();
    assert!(
        before.iter().sum::<usize>() >= 2 * first.len(),
        "two shares per signature"
    );
    for (request, status) in first {
        let again = client.submit(request).await.expect("answers").into_inner();
        assert_eq!(
            (again.signature, again.signed_tx),
            (status.signature, status.signed_tx)
        );
    }
    assert_eq!(asked(), before, "nothing was signed again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_silent_node_delays_at_most_the_first_requests() {
    let (cluster, running) = start(QUICK);
    cluster.install_policy(&running).await;
    let nodes = connect_all(&cluster, &running, [Script::Honest; 3]).await;
    let mut client = cluster.client(&running).await;
    nodes[0].play(Script::Silent);
    for number in 1..=6 {
        let intent = cluster.intent(number, 1_000);
        let began = Instant::now();
        let status = client
            .submit(submission(intent.clone()))
            .await
            .expect("answers")
            .into_inner();
        assert_released(&cluster, &status, &intent.raw_tx);
        assert_eq!(status.signers, [2, 3]);
        assert!(began.elapsed() < Duration::from_secs(5));
    }
    assert!(
        nodes[0].times_asked() <= 3,
        "a silent node is asked last: {}",
        nodes[0].times_asked()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lying_node_is_named_with_evidence_and_the_signature_comes() {
    let (cluster, running) = start(QUICK);
    cluster.install_policy(&running).await;
    let nodes = connect_all(
        &cluster,
        &running,
        [Script::Honest, Script::Lies, Script::Honest],
    )
    .await;
    let mut client = cluster.client(&running).await;
    for number in 1..=6 {
        let intent = cluster.intent(number, 1_000);
        let status = client
            .submit(submission(intent.clone()))
            .await
            .expect("answers")
            .into_inner();
        assert_released(&cluster, &status, &intent.raw_tx);
        assert_eq!(status.signers, [1, 3]);
    }
    assert_eq!(nodes[1].times_asked(), 1, "it is not asked again");
    running.stop().await;
    let store = cluster.store();
    let rows = store.evidence().await.expect("read");
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].node, 2);
    let (culprit, _) =
        evidence::verify(&roster(&cluster), &rows[0].evidence).expect("holds for anybody");
    assert_eq!(culprit, cluster.identities[1].public().node_id());
    let alerts = store
        .events(0, 1_000)
        .await
        .expect("read")
        .into_iter()
        .filter(|row| row.kind == "alert");
    assert_eq!(alerts.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_without_room_is_replaced_and_two_end_the_request() {
    let (cluster, running) = start(QUICK);
    cluster.install_policy(&running).await;
    let nodes = connect_all(&cluster, &running, [Script::Honest; 3]).await;
    let mut client = cluster.client(&running).await;
    nodes[2].play(Script::Refuses(FailureCode::Limit));
    for number in 1..=4 {
        let intent = cluster.intent(number, 1_000);
        let status = client
            .submit(submission(intent.clone()))
            .await
            .expect("answers")
            .into_inner();
        assert_released(&cluster, &status, &intent.raw_tx);
        assert_eq!(status.signers, [1, 2]);
    }
    nodes[1].play(Script::Refuses(FailureCode::Limit));
    let status = client
        .submit(submission(cluster.intent(9, 1_000)))
        .await
        .expect("answers")
        .into_inner();
    assert_eq!(status.state(), RequestState::Failed);
    assert_eq!(status.failure.expect("a reason").code(), FailureCode::Limit);
    assert!(status.signature.is_empty() && status.signed_tx.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a36_two_liars_get_no_signature_out() {
    let (cluster, running) = start(QUICK);
    cluster.install_policy(&running).await;
    let _nodes = connect_all(
        &cluster,
        &running,
        [Script::Lies, Script::Lies, Script::Honest],
    )
    .await;
    let mut client = cluster.client(&running).await;
    let status = client
        .submit(submission(cluster.intent(1, 1_000)))
        .await
        .expect("answers")
        .into_inner();
    assert_eq!(status.state(), RequestState::Failed);
    let failure = status.failure.expect("a reason");
    assert_eq!(
        (failure.code(), failure.culprits),
        (FailureCode::Aborted, vec![1, 2])
    );
    assert!(status.signature.is_empty() && status.signed_tx.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a18_a_security_abort_is_shown_and_never_tried_again() {
    let (cluster, running) = start(QUICK);
    cluster.install_policy(&running).await;
    let nodes = connect_all(
        &cluster,
        &running,
        [Script::Refuses(FailureCode::SecurityAbort); 3],
    )
    .await;
    let mut client = cluster.client(&running).await;
    let request = submission(cluster.intent(1, 1_000));
    let status = client
        .submit(request.clone())
        .await
        .expect("answers")
        .into_inner();
    assert_eq!(status.state(), RequestState::Failed);
    assert_eq!(
        status.failure.expect("a reason").code(),
        FailureCode::SecurityAbort
    );
    let asked = || nodes.iter().map(Node::times_asked).sum::<usize>();
    assert!(
        nodes.iter().all(|node| node.times_asked() <= 1),
        "nobody is asked twice"
    );
    for node in &nodes {
        node.play(Script::Honest);
    }
    let before = asked();
    let again = client.submit(request).await.expect("answers").into_inner();
    assert_eq!(again.state(), RequestState::Failed);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(asked(), before, "nobody was asked again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a18_one_node_cannot_veto_by_crying_wolf_but_it_is_heard() {
    let (cluster, running) = start(QUICK);
    cluster.install_policy(&running).await;
    let wolf = Script::Refuses(FailureCode::SecurityAbort);
    let nodes = connect_all(&cluster, &running, [wolf, Script::Honest, Script::Honest]).await;
    let mut client = cluster.client(&running).await;
    for number in 1..=3 {
        let intent = cluster.intent(number, 1_000);
        let status = client
            .submit(submission(intent.clone()))
            .await
            .expect("answers")
            .into_inner();
        assert_released(&cluster, &status, &intent.raw_tx);
        assert_eq!(status.signers, [2, 3]);
    }
    let cries = nodes[0].times_asked();
    assert!(cries >= 1);
    running.stop().await;
    let events = cluster.store().events(0, 1_000).await.expect("read");
    assert_eq!(
        events.iter().filter(|row| row.kind == "alert").count(),
        cries
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a96_a_request_that_was_being_signed_at_a_crash_goes_on_and_is_debited_once() {
    let (cluster, running) = start(QUICK);
    cluster.install_policy(&running).await;
    let nodes = connect_all(&cluster, &running, [Script::Silent; 3]).await;
    let mut client = cluster.client(&running).await;
    let intent = cluster.intent(1, 900_000);
    let request = submission(intent.clone());
    let waiting = {
        let request = request.clone();
        tokio::spawn(async move { client.submit(request).await })
    };
    for _ in 0..100 {
        if nodes.iter().map(Node::times_asked).sum::<usize>() > 0 || waiting.is_finished() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(nodes);
    tokio::task::spawn_blocking(move || running.crash())
        .await
        .expect("ends");
    drop(waiting);

    let running = start_again(&cluster);
    let nodes = connect_all(&cluster, &running, [Script::Honest; 3]).await;
    let mut client = cluster.client(&running).await;
    let mut status = client.submit(request).await.expect("answers").into_inner();
    for _ in 0..100 {
        if status.state() == RequestState::Released {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        let query = v1::RequestQuery {
            request_id: status.request_id.clone(),
        };
        status = client
            .get_request(query)
            .await
            .expect("answers")
            .into_inner();
    }
    assert_released(&cluster, &status, &intent.raw_tx);
    drop(nodes);
    running.stop().await;
    let kinds: Vec<_> = cluster.store().events(0, 10_000).await.expect("read");
    let debits = kinds.iter().filter(|row| {
        row.kind == "reserve"
            && row.request.map(|id| id.as_bytes().to_vec()) == Some(status.request_id.to_vec())
    });
    assert_eq!(debits.count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_without_a_quorum_waits_reserved_and_is_signed_when_nodes_come() {
    let options = format!("{QUICK}[limits]\nsubmit_wait = \"100ms\"\n");
    let (cluster, running) = start(&options);
    cluster.install_policy(&running).await;
    let _one = Node::connect(&cluster, &running, 1, Script::Honest).await;
    wait_connected(&cluster, &running, 1).await;
    let mut client = cluster.client(&running).await;
    let intent = cluster.intent(1, 1_000);
    let status = client
        .submit(submission(intent.clone()))
        .await
        .expect("answers")
        .into_inner();
    assert_eq!(status.state(), RequestState::Reserved);
    let query = v1::RequestQuery {
        request_id: status.request_id,
    };
    let mut changes = client
        .watch_request(query)
        .await
        .expect("follows")
        .into_inner();
    let _two = Node::connect(&cluster, &running, 2, Script::Honest).await;
    let mut last = None;
    while let Some(status) = changes.message().await.expect("goes on") {
        last = Some(status);
    }
    assert_released(&cluster, &last.expect("the end is shown"), &intent.raw_tx);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a86_the_limit_holds_for_many_callers_at_once() {
    let (cluster, running) = start(QUICK);
    cluster.install_policy(&running).await;
    let _nodes = connect_all(&cluster, &running, [Script::Honest; 3]).await;
    let client = cluster.client(&running).await;
    // With its fee each takes a twentieth of the wallet's limit.
    let each = 1_000_000 - FEE;
    let tasks: Vec<_> = (1..=30)
        .map(|number| {
            let (mut client, request) = (client.clone(), submission(cluster.intent(number, each)));
            tokio::spawn(async move {
                client
                    .submit(request)
                    .await
                    .expect("answers")
                    .into_inner()
                    .state()
            })
        })
        .collect();
    let mut released = 0;
    for task in tasks {
        match task.await.expect("runs") {
            RequestState::Released => released += 1,
            state => assert_eq!(state, RequestState::Denied),
        }
    }
    assert_eq!(released, 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a96_the_same_bytes_have_the_same_answer_though_the_policy_knows_the_wallet_no_more() {
    let (cluster, running) = start(QUICK);
    cluster.install_policy(&running).await;
    let _nodes = connect_all(&cluster, &running, [Script::Honest; 3]).await;
    let mut client = cluster.client(&running).await;
    let request = submission(cluster.intent(1, 1_000));
    let first = client
        .submit(request.clone())
        .await
        .expect("answers")
        .into_inner();
    assert_eq!(first.state(), RequestState::Released);
    cluster.rename_wallet(&running).await;
    let again = client.submit(request).await.expect("answers").into_inner();
    assert_eq!(again.signature, first.signature);
    // Anything new for the old name is refused.
    let fresh = client.submit(submission(cluster.intent(2, 1_000))).await;
    assert_eq!(
        Failure::from(&fresh.expect_err("no such wallet")).code(),
        FailureCode::Unknown
    );
}
