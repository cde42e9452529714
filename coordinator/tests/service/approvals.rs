//! Requests that wait for people: announced, voted on, cancelled, frozen.

use std::time::Duration;

use policy::approval::Decision;
use proto::v1::{self, Failure, FailureCode, RequestState};

use super::{
    cluster::{cancellation, freeze, signed, start, submission, vote},
    node::{Node, Script, connect_all},
};

fn code(status: &tonic::Status) -> FailureCode {
    Failure::from(status).code()
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..100 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{what} did not happen");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_transfer_is_announced_and_signed_after_a_vote() {
    let (cluster, running) = start("");
    let policy = cluster.install_policy(&running).await;
    let nodes = connect_all(&cluster, &running, [Script::Honest; 3]).await;
    let mut client = cluster.client(&running).await;
    let intent = cluster.intent(1, 5_000_000);
    let explained = client
        .explain(submission(intent.clone()))
        .await
        .expect("answers")
        .into_inner();
    assert_eq!(explained.state(), RequestState::Announced);
    let status = client
        .submit(submission(intent.clone()))
        .await
        .expect("answers")
        .into_inner();
    assert_eq!(status.state(), RequestState::Announced);
    let needs = status.needs.clone().expect("says what is missing");
    assert_eq!(
        (
            needs.groups[0].group.as_str(),
            needs.groups[0].min,
            needs.groups[0].have
        ),
        ("treasury", 1, 0)
    );
    until("the announcement", || {
        nodes
            .iter()
            .all(|node| node.announced.load(std::sync::atomic::Ordering::Relaxed) == 1)
    })
    .await;
    assert_eq!(
        nodes.iter().map(Node::times_asked).sum::<usize>(),
        0,
        "nobody signs before the vote"
    );

    let other = cluster.intent(2, 5_000_000);
    let foreign = vote(
        "alice",
        &other,
        &policy,
        Decision::Approve,
        &status.intent_lines,
    );
    let approve = |statement| v1::ApproveRequest {
        request_id: status.request_id.clone(),
        signed_statement: statement,
    };
    let refused = client
        .approve(approve(foreign))
        .await
        .expect_err("a91: a vote for another request");
    assert_eq!(code(&refused), FailureCode::Stale);
    let altered = vote(
        "alice",
        &intent,
        &policy,
        Decision::Approve,
        &["something else".to_owned()],
    );
    let refused = client
        .approve(approve(altered))
        .await
        .expect_err("a91: other lines than shown");
    assert_eq!(code(&refused), FailureCode::Stale);
    let stranger = vote(
        "mallory",
        &intent,
        &policy,
        Decision::Approve,
        &status.intent_lines,
    );
    let refused = client
        .approve(approve(stranger))
        .await
        .expect_err("not enrolled");
    assert_eq!(code(&refused), FailureCode::NotAuthorised);

    let good = vote(
        "alice",
        &intent,
        &policy,
        Decision::Approve,
        &status.intent_lines,
    );
    let approved = client
        .approve(approve(good.clone()))
        .await
        .expect("counts")
        .into_inner();
    assert_eq!(approved.approvals[0].person, "alice");
    let query = v1::RequestQuery {
        request_id: status.request_id.clone(),
    };
    let mut changes = client
        .watch_request(query)
        .await
        .expect("follows")
        .into_inner();
    let mut last = approved;
    while let Some(status) = changes.message().await.expect("goes on") {
        last = status;
    }
    assert_eq!(last.state(), RequestState::Released, "{:?}", last.failure);
    let again = client
        .approve(approve(good))
        .await
        .expect("the same vote again is no error")
        .into_inner();
    assert_eq!(again.state(), RequestState::Released);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_no_ends_a_request() {
    let (cluster, running) = start("");
    let policy = cluster.install_policy(&running).await;
    let mut client = cluster.client(&running).await;
    let intent = cluster.intent(1, 5_000_000);
    let status = client
        .submit(submission(intent.clone()))
        .await
        .expect("answers")
        .into_inner();
    let no = vote(
        "alice",
        &intent,
        &policy,
        Decision::Reject,
        &status.intent_lines,
    );
    let request = v1::ApproveRequest {
        request_id: status.request_id,
        signed_statement: no,
    };
    let ended = client.approve(request).await.expect("counts").into_inner();
    assert_eq!(ended.state(), RequestState::Denied);
    assert_eq!(ended.reasons[0].code, "rejected");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_node_hears_of_waiting_requests() {
    let (cluster, running) = start("");
    cluster.install_policy(&running).await;
    let mut client = cluster.client(&running).await;
    client
        .submit(submission(cluster.intent(1, 5_000_000)))
        .await
        .expect("answers");
    let node = Node::connect(&cluster, &running, 2, Script::Honest).await;
    until("the announcement", || {
        node.announced.load(std::sync::atomic::Ordering::Relaxed) == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_initiator_cancels_and_only_before_signing() {
    let (cluster, running) = start("");
    cluster.install_policy(&running).await;
    let _nodes = connect_all(&cluster, &running, [Script::Honest; 3]).await;
    let mut client = cluster.client(&running).await;
    let intent = cluster.intent(1, 5_000_000);
    let id = signed(intent.clone()).digest();
    client.submit(submission(intent)).await.expect("answers");
    let cancel = |name: &str, id: [u8; 32]| v1::CancelRequest {
        request_id: id.to_vec().into(),
        signed_statement: cancellation(name, id),
    };
    let refused = client
        .cancel(cancel("alice", id))
        .await
        .expect_err("not hers");
    assert_eq!(code(&refused), FailureCode::NotAuthorised);
    let ended = client
        .cancel(cancel("svc:payout", id))
        .await
        .expect("his own")
        .into_inner();
    assert_eq!(ended.state(), RequestState::Cancelled);

    let small = cluster.intent(2, 1_000);
    let id = signed(small.clone()).digest();
    let status = client
        .submit(submission(small))
        .await
        .expect("answers")
        .into_inner();
    assert_eq!(status.state(), RequestState::Released);
    let refused = client
        .cancel(cancel("svc:payout", id))
        .await
        .expect_err("too late");
    assert_eq!(code(&refused), FailureCode::Conflict);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_person_stops_everything_and_it_stays_stopped_over_a_restart() {
    let (cluster, running) = start("");
    cluster.install_policy(&running).await;
    let nodes = connect_all(&cluster, &running, [Script::Honest; 3]).await;
    let mut client = cluster.client(&running).await;
    let order = |statement| v1::OrderRequest {
        statements: vec![statement],
    };
    let refused = client
        .freeze(order(freeze("alice")))
        .await
        .expect_err("not entitled");
    assert_eq!(code(&refused), FailureCode::NotAuthorised);
    let state = client
        .freeze(order(freeze("erin")))
        .await
        .expect("entitled")
        .into_inner();
    assert_eq!((state.frozen, state.by.as_str()), (true, "erin"));
    drop(nodes);
    running.stop().await;

    let running = super::cluster::start_again(&cluster);
    let _nodes = connect_all(&cluster, &running, [Script::Honest; 3]).await;
    let mut client = cluster.client(&running).await;
    let status = client
        .submit(submission(cluster.intent(1, 1_000)))
        .await
        .expect("answers")
        .into_inner();
    assert_eq!(status.state(), RequestState::Denied);
    assert_eq!(status.reasons[0].code, "frozen");
}
