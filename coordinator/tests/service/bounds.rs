//! What one caller can make the coordinator do.

use proto::v1::{self, Failure, FailureCode, RequestState};
use tonic::Code;

use super::{
    cluster::{start, submission},
    node::{Script, connect_all},
};
use proto::channel::identity::Role;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a75_a_flood_is_shed_per_certificate_and_others_are_served() {
    let (cluster, running) = start("[limits]\nrequests_per_second = 1\nburst = 10\n");
    let mut flood = cluster.client(&running).await;
    let mut refused = None;
    for _ in 0..20 {
        if let Err(status) = flood.get_cluster(v1::ClusterQuery {}).await {
            refused = Some(status);
        }
    }
    let status = refused.expect("the eleventh call is refused");
    assert_eq!(status.code(), Code::ResourceExhausted);
    let failure = Failure::from(&status);
    assert_eq!(failure.code(), FailureCode::Limit);
    assert!(
        failure.hint.starts_with("call again in "),
        "{}",
        failure.hint
    );
    let mut other =
        v1::quorate_client::QuorateClient::new(cluster.channel(Role::Operator, &running).await);
    assert!(other.get_cluster(v1::ClusterQuery {}).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a75_a_huge_message_is_refused_and_the_next_call_is_answered() {
    let (cluster, running) = start("");
    cluster.install_policy(&running).await;
    let mut client = cluster.client(&running).await;
    let huge = v1::SubmitRequest {
        signed_intent: vec![0; 8 << 20].into(),
    };
    let status = client.submit(huge).await.expect_err("too large");
    assert!(
        matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted),
        "{status:?}"
    );
    let large = v1::SubmitRequest {
        signed_intent: vec![0; 200 << 10].into(),
    };
    let status = client
        .submit(large)
        .await
        .expect_err("no intent is so large");
    assert_eq!(Failure::from(&status).code(), FailureCode::Malformed);
    let garbage = v1::SubmitRequest {
        signed_intent: vec![0xFF; 300].into(),
    };
    let status = client.submit(garbage).await.expect_err("garbage");
    assert_eq!(Failure::from(&status).code(), FailureCode::Malformed);
    assert!(client.get_cluster(v1::ClusterQuery {}).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a75_live_requests_and_watchers_are_bounded() {
    let (cluster, running) = start("[limits]\nlive_requests = 2\nwatchers = 1\n");
    cluster.install_policy(&running).await;
    let mut client = cluster.client(&running).await;
    let mut ids = Vec::new();
    for number in 1..=2 {
        let request = submission(cluster.intent(number, 5_000_000));
        ids.push(
            client
                .submit(request)
                .await
                .expect("answers")
                .into_inner()
                .request_id,
        );
    }
    let third = client
        .submit(submission(cluster.intent(3, 5_000_000)))
        .await
        .expect_err("full");
    assert_eq!(Failure::from(&third).code(), FailureCode::Limit);
    let watch = |id: &prost::bytes::Bytes| v1::RequestQuery {
        request_id: id.clone(),
    };
    let first = client.watch_request(watch(&ids[0])).await.expect("follows");
    let second = client
        .watch_request(watch(&ids[1]))
        .await
        .expect_err("one at a time");
    assert_eq!(Failure::from(&second).code(), FailureCode::Limit);
    drop(first);
    for attempt in 0..50 {
        if client.watch_request(watch(&ids[1])).await.is_ok() {
            return;
        }
        assert!(
            attempt < 49,
            "the place of a watcher that left is not given back"
        );
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a96_the_same_key_with_another_body_is_refused_and_changes_nothing() {
    let (cluster, running) = start("");
    cluster.install_policy(&running).await;
    let _nodes = connect_all(&cluster, &running, [Script::Honest; 3]).await;
    let mut client = cluster.client(&running).await;
    let first = cluster.intent(1, 1_000);
    let mut other = cluster.intent(2, 2_000);
    other.idempotency_key.clone_from(&first.idempotency_key);
    let released = client
        .submit(submission(first.clone()))
        .await
        .expect("answers")
        .into_inner();
    assert_eq!(released.state(), RequestState::Released);
    let refused = client
        .submit(submission(other))
        .await
        .expect_err("conflict");
    assert_eq!(
        (refused.code(), Failure::from(&refused).code()),
        (Code::AlreadyExists, FailureCode::Conflict)
    );
    let mut same_transaction = first;
    same_transaction.idempotency_key = "another".into();
    let twin = client
        .submit(submission(same_transaction))
        .await
        .expect("answers")
        .into_inner();
    assert_eq!(twin.state(), RequestState::Denied);
    assert_eq!(twin.reasons[0].code, "conflict");
}
