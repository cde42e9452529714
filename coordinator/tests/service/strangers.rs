//! Callers that ask for what is not theirs: wrong roles, wrong ids, other clusters, other nodes' places.

use policy::approval::Decision;
use proto::{
    channel::identity::Role,
    v1::{
        self, Failure, FailureCode, operator_client::OperatorClient, quorate_client::QuorateClient,
    },
};
use tonic::Status;

use super::{
    cluster::{cancellation, signed, start, submission, vote},
    node::{self, Node, Script},
};

fn code(status: &Status) -> FailureCode {
    Failure::from(status).code()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a99_an_unknown_id_is_not_found_and_says_no_more() {
    let (cluster, running) = start("");
    let policy = cluster.install_policy(&running).await;
    let mut client = cluster.client(&running).await;
    // A request that somebody made elsewhere: well formed, signed, and not here.
    let elsewhere = cluster.intent(7, 5_000_000);
    let id = signed(elsewhere.clone()).digest();
    let query = || v1::RequestQuery {
        request_id: id.to_vec().into(),
    };
    let statement = vote("alice", &elsewhere, &policy, Decision::Approve, &[]);
    let approve = v1::ApproveRequest {
        request_id: id.to_vec().into(),
        signed_statement: statement,
    };
    let cancel = v1::CancelRequest {
        request_id: id.to_vec().into(),
        signed_statement: cancellation("svc:payout", id),
    };
    let refusals = [
        client
            .get_request(query())
            .await
            .map(drop)
            .expect_err("get"),
        client
            .watch_request(query())
            .await
            .map(drop)
            .expect_err("watch"),
        client
            .approve(approve)
            .await
            .map(drop)
            .expect_err("approve"),
        client.cancel(cancel).await.map(drop).expect_err("cancel"),
        client
            .get_policy(v1::PolicyQuery { version: 99 })
            .await
            .map(drop)
            .expect_err("policy"),
    ];
    for refusal in &refusals {
        assert_eq!(refusal.code(), tonic::Code::NotFound);
        assert_eq!(
            Failure::from(refusal),
            Failure::from(&refusals[0]),
            "all say the same"
        );
    }
    for short in [0, 31, 33] {
        let query = v1::RequestQuery {
            request_id: vec![1; short].into(),
        };
        assert_eq!(
            code(&client.get_request(query).await.expect_err("not an id")),
            FailureCode::Malformed
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a99_an_intent_for_another_cluster_wallet_or_key_is_refused() {
    let (cluster, running) = start("");
    cluster.install_policy(&running).await;
    let mut client = cluster.client(&running).await;
    let mut other = cluster.intent(1, 1_000);
    other.cluster_id = "c-other".into();
    let refused = client
        .submit(submission(other))
        .await
        .expect_err("another cluster");
    assert_eq!(code(&refused), FailureCode::NotAuthorised);

    let mut other = cluster.intent(2, 1_000);
    other.wallet = "cold".into();
    let refused = client
        .submit(submission(other))
        .await
        .expect_err("no such wallet");
    assert_eq!(code(&refused), FailureCode::Unknown);

    let mut other = cluster.intent(3, 1_000);
    other.key_id = [5; 32];
    let denied = client
        .submit(submission(other))
        .await
        .expect("answers")
        .into_inner();
    assert_eq!(denied.reasons[0].code, "key_mismatch");

    let mut other = cluster.intent(4, 1_000);
    other.initiator = "mallory".into();
    let refused = client
        .submit(submission(other))
        .await
        .expect_err("not enrolled");
    assert_eq!(code(&refused), FailureCode::NotAuthorised);
    let list = client
        .list_requests(v1::ListRequestsQuery::default())
        .await
        .expect("answers")
        .into_inner();
    assert_eq!(list.requests.len(), 1, "nothing is kept of strangers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a99_every_rpc_is_closed_to_roles_that_have_no_business_there() {
    let (cluster, running) = start("");
    let client = cluster.channel(Role::Client, &running).await;
    let node = cluster.channel(Role::Node(1), &running).await;
    let mut operator = OperatorClient::new(client.clone());
    let mut refusals = vec![
        operator
            .list_keys(v1::ListKeysQuery {})
            .await
            .map(drop)
            .expect_err("keys"),
        operator
            .create_key(v1::CreateKeyRequest::default())
            .await
            .map(drop)
            .expect_err("key"),
        operator
            .install_policy(v1::InstallPolicy::default())
            .await
            .map(drop)
            .expect_err("policy"),
        operator
            .propose_policy(v1::InstallPolicy::default())
            .await
            .map(drop)
            .expect_err("policy"),
    ];
    let mut links = v1::node_link_client::NodeLinkClient::new(client);
    refusals.push(
        links
            .link(tokio_stream::empty())
            .await
            .map(drop)
            .expect_err("link"),
    );
    let mut quorate = QuorateClient::new(node.clone());
    refusals.extend([
        quorate
            .submit(v1::SubmitRequest::default())
            .await
            .map(drop)
            .expect_err("submit"),
        quorate
            .get_request(v1::RequestQuery::default())
            .await
            .map(drop)
            .expect_err("get"),
        quorate
            .watch_request(v1::RequestQuery::default())
            .await
            .map(drop)
            .expect_err("watch"),
        quorate
            .list_requests(v1::ListRequestsQuery::default())
            .await
            .map(drop)
            .expect_err("list"),
        quorate
            .cancel(v1::CancelRequest::default())
            .await
            .map(drop)
            .expect_err("cancel"),
        quorate
            .approve(v1::ApproveRequest::default())
            .await
            .map(drop)
            .expect_err("approve"),
        quorate
            .explain(v1::SubmitRequest::default())
            .await
            .map(drop)
            .expect_err("explain"),
        quorate
            .list_wallets(v1::ListWalletsQuery {})
            .await
            .map(drop)
            .expect_err("wallets"),
        quorate
            .get_policy(v1::PolicyQuery::default())
            .await
            .map(drop)
            .expect_err("policy"),
        quorate
            .get_cluster(v1::ClusterQuery {})
            .await
            .map(drop)
            .expect_err("cluster"),
        quorate
            .freeze(v1::OrderRequest::default())
            .await
            .map(drop)
            .expect_err("freeze"),
        quorate
            .unfreeze(v1::OrderRequest::default())
            .await
            .map(drop)
            .expect_err("unfreeze"),
    ]);
    for refusal in refusals {
        assert_eq!(code(&refusal), FailureCode::NotAuthorised, "{refusal:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a71_a_certificate_without_the_roster_key_gets_no_place() {
    let (cluster, running) = start("");
    cluster.install_policy(&running).await;
    let honest = Node::connect(&cluster, &running, 1, Script::Honest).await;
    node::wait_connected(&cluster, &running, 1).await;
    // The certificate of node 2 with the identity key of node 3.
    let (_out, mut stream) = node::greet(&cluster, &running, 2, &cluster.identities[2], [3; 16])
        .await
        .expect("is challenged");
    let refused = stream
        .message()
        .await
        .expect_err("the proof does not verify");
    assert_eq!(code(&refused), FailureCode::NotAuthorised);
    node::wait_connected(&cluster, &running, 1).await;
    drop(honest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_link_of_a_node_replaces_the_older() {
    let (cluster, running) = start("");
    cluster.install_policy(&running).await;
    let (_out, mut old) = node::greet(&cluster, &running, 1, &cluster.identities[0], [1; 16])
        .await
        .expect("greets");
    node::wait_connected(&cluster, &running, 0).await;
    let _new = Node::connect(&cluster, &running, 1, Script::Honest).await;
    let ended = tokio::time::timeout(std::time::Duration::from_secs(5), async {
        while let Ok(Some(_)) = old.message().await {}
    });
    ended.await.expect("the older link is closed");
    node::wait_connected(&cluster, &running, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_only_begun_when_every_node_is_there() {
    let (cluster, running) = start("");
    cluster.install_policy(&running).await;
    let _one = Node::connect(&cluster, &running, 1, Script::Honest).await;
    let mut operator = OperatorClient::new(cluster.channel(Role::Operator, &running).await);
    let ask = |name: &str, scheme: &str, threshold| v1::CreateKeyRequest {
        name: name.into(),
        scheme: scheme.into(),
        threshold,
        nodes: Vec::new(),
    };
    let refused = |status: Status| code(&status);
    let missing = operator
        .create_key(ask("new", "ed25519", 2))
        .await
        .map(drop)
        .expect_err("two are missing");
    assert_eq!(refused(missing), FailureCode::Unavailable);
    for (name, scheme, threshold) in [
        ("New", "ed25519", 2),
        ("new", "rsa", 2),
        ("new", "ed25519", 1),
        ("new", "ed25519", 4),
    ] {
        let status = operator
            .create_key(ask(name, scheme, threshold))
            .await
            .map(drop)
            .expect_err("cannot be");
        assert_eq!(
            refused(status),
            FailureCode::Malformed,
            "{name} {scheme} {threshold}"
        );
    }
    let taken = operator
        .create_key(ask("hot", "ed25519", 2))
        .await
        .map(drop)
        .expect_err("the name is taken");
    assert_eq!(refused(taken), FailureCode::Conflict);
    let keys = operator
        .list_keys(v1::ListKeysQuery {})
        .await
        .expect("answers")
        .into_inner()
        .keys;
    assert_eq!(keys.len(), 1);
    assert_eq!((keys[0].state.as_str(), keys[0].threshold), ("active", 2));
}
