//! Key generation: the certificate is kept before it is handed out, and nobody is left without it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use coordinator::store::{KeyStage, Store as _};
use mpc_core::{
    id::Purpose,
    testing::{Committee, Simulator},
};
use proto::{
    channel::identity::Role,
    v1::{self, DkgProgress, FailureCode, operator_client::OperatorClient},
};
use tonic::Streaming;

use super::{
    cluster::{COMMITTEE_SEED, Cluster, Running, start, start_again},
    node::{Generation, Node, Script, wait_connected},
};

type Memory = Arc<Mutex<Option<Generation>>>;

/// What each node has to contribute to a new key; the same people as in the cluster, another session.
fn memories() -> Vec<Memory> {
    memories_of(3)
}

/// The same for a key of the first nodes only.
fn memories_of(nodes: u16) -> Vec<Memory> {
    let committee = Committee::new(nodes, COMMITTEE_SEED);
    let mut simulator = Simulator::start_with(committee, Purpose::Ed25519, 2, 99);
    simulator.run();
    let memory = |index| {
        let output = simulator.output(index);
        let part = output.certificate.parts()[&simulator.committee.node(index)].clone();
        let package = output.share.public().encode();
        let generation = Generation {
            part,
            gives_part: true,
            aborts: false,
            package,
            request_id: None,
            nodes: (1..=u32::from(nodes)).collect(),
            active: false,
        };
        Arc::new(Mutex::new(Some(generation)))
    };
    (1..=nodes).map(memory).collect()
}

fn change(memory: &Memory, change: impl FnOnce(&mut Generation)) {
    change(memory.lock().expect("lock").as_mut().expect("there"));
}

async fn connect(cluster: &Cluster, running: &Running, memories: &[Memory]) -> Vec<Node> {
    let mut nodes = Vec::new();
    for (index, memory) in (1..).zip(memories) {
        nodes.push(
            Node::connect_with(cluster, running, index, Script::Honest, Arc::clone(memory)).await,
        );
    }
    wait_connected(cluster, running, memories.len()).await;
    nodes
}

async fn create(cluster: &Cluster, running: &Running) -> Streaming<DkgProgress> {
    create_on(cluster, running, &[]).await
}

async fn create_on(cluster: &Cluster, running: &Running, nodes: &[u32]) -> Streaming<DkgProgress> {
    let mut operator = OperatorClient::new(cluster.channel(Role::Operator, running).await);
    let request = v1::CreateKeyRequest {
        name: "new".into(),
        scheme: "ed25519".into(),
        threshold: 2,
        nodes: nodes.to_vec(),
        import: None,
    };
    operator
        .create_key(request)
        .await
        .expect("begins")
        .into_inner()
}

async fn last(mut progress: Streaming<DkgProgress>) -> DkgProgress {
    let mut last = None;
    while let Some(step) = progress.message().await.expect("goes on") {
        last = Some(step);
    }
    last.expect("an end")
}

async fn key(cluster: &Cluster, running: &Running) -> v1::KeyInfo {
    let mut operator = OperatorClient::new(cluster.channel(Role::Operator, running).await);
    let keys = operator
        .list_keys(v1::ListKeysQuery {})
        .await
        .expect("answers")
        .into_inner()
        .keys;
    keys.into_iter()
        .rev()
        .find(|key| key.name == "new")
        .expect("listed")
}

async fn until_active(cluster: &Cluster, running: &Running, nodes: &[u32]) {
    for _ in 0..200 {
        let key = key(cluster, running).await;
        if key.state == "active" && key.nodes == nodes {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not active: {:?}", key(cluster, running).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_active_once_all_parts_are_kept() {
    let (cluster, running) = start("[links]\nheartbeat = \"100ms\"\n");
    let memories = memories();
    let _nodes = connect(&cluster, &running, &memories).await;
    let end = last(create(&cluster, &running).await).await;
    assert_eq!(end.stage, "active", "{:?}", end.failure);
    assert_eq!(end.public_key.len(), 32);
    until_active(&cluster, &running, &[1, 2, 3]).await;
    running.stop().await;
    let rows = cluster.store().keys().await.expect("read");
    assert_eq!((rows[1].stage, rows[1].parts.len()), (KeyStage::Active, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_missed_the_certificate_gets_it_when_it_comes_back() {
    let (cluster, running) = start("[links]\nheartbeat = \"100ms\"\n");
    let memories = memories();
    let nodes = connect(&cluster, &running, &memories).await;
    let end = last(create(&cluster, &running).await).await;
    assert_eq!(end.stage, "active", "{:?}", end.failure);
    until_active(&cluster, &running, &[1, 2, 3]).await;
    drop(nodes);
    change(&memories[2], |generation| generation.active = false);
    let _again = connect(&cluster, &running, &memories).await;
    until_active(&cluster, &running, &[1, 2, 3]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generation_that_a_crash_interrupted_is_completed_from_what_the_nodes_kept() {
    let (cluster, running) = start("[links]\nheartbeat = \"100ms\"\n");
    let memories = memories();
    change(&memories[2], |generation| generation.gives_part = false);
    let nodes = connect(&cluster, &running, &memories).await;
    let progress = create(&cluster, &running).await;
    for _ in 0..100 {
        if memories.iter().all(|memory| {
            memory
                .lock()
                .expect("lock")
                .as_ref()
                .is_some_and(|all| all.request_id.is_some())
        }) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(key(&cluster, &running).await.state, "running");
    drop((progress, nodes));
    tokio::task::spawn_blocking(move || running.crash())
        .await
        .expect("ends");

    let running = start_again(&cluster);
    let _nodes = connect(&cluster, &running, &memories).await;
    until_active(&cluster, &running, &[1, 2, 3]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_aborts_ends_it_and_the_name_is_free_again() {
    let (cluster, running) = start("[links]\nheartbeat = \"100ms\"\n");
    let memories = memories();
    change(&memories[1], |generation| generation.aborts = true);
    let _nodes = connect(&cluster, &running, &memories).await;
    let end = last(create(&cluster, &running).await).await;
    assert_eq!(end.stage, "aborted");
    let failure = end.failure.expect("a reason");
    assert_eq!(
        (failure.code(), failure.culprits.as_slice()),
        (FailureCode::Aborted, [1].as_slice())
    );
    assert_eq!(key(&cluster, &running).await.state, "aborted");
    change(&memories[1], |generation| generation.aborts = false);
    let end = last(create(&cluster, &running).await).await;
    assert_eq!(end.stage, "active", "{:?}", end.failure);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_leaves_ends_a_generation_soon() {
    let (cluster, running) = start("[links]\nheartbeat = \"100ms\"\n");
    let memories = memories();
    change(&memories[2], |generation| generation.gives_part = false);
    let mut nodes = connect(&cluster, &running, &memories).await;
    let progress = create(&cluster, &running).await;
    drop(nodes.pop());
    let end = tokio::time::timeout(Duration::from_secs(20), last(progress))
        .await
        .expect("soon");
    assert_eq!(end.stage, "aborted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_store_learns_the_keys_from_the_nodes() {
    let (cluster, running) = start("[links]\nheartbeat = \"100ms\"\n");
    let memories = memories();
    let nodes = connect(&cluster, &running, &memories).await;
    let end = last(create(&cluster, &running).await).await;
    until_active(&cluster, &running, &[1, 2, 3]).await;
    drop(nodes);
    running.stop().await;
    cluster.lose_store();

    let running = start_again(&cluster);
    let two = connect(&cluster, &running, &memories[..2]).await;
    until_listed(&cluster, &running).await;
    assert_eq!(
        key(&cluster, &running).await.state,
        "running",
        "not before all nodes have shown their part"
    );
    drop(two);
    let _all = connect(&cluster, &running, &memories).await;
    until_active(&cluster, &running, &[1, 2, 3]).await;
    assert_eq!(key(&cluster, &running).await.key_id, end.key_id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_store_learns_a_key_of_some_of_the_nodes() {
    let (cluster, running) = start("[links]\nheartbeat = \"100ms\"\n");
    let memories = memories_of(2);
    let nodes = connect(&cluster, &running, &memories).await;
    let end = last(create_on(&cluster, &running, &[1, 2]).await).await;
    assert_eq!(end.stage, "active", "{:?}", end.failure);
    drop(nodes);
    running.stop().await;
    cluster.lose_store();

    let running = start_again(&cluster);
    let _both = connect(&cluster, &running, &memories).await;
    until_listed(&cluster, &running).await;
    until_active(&cluster, &running, &[1, 2]).await;
    assert_eq!(key(&cluster, &running).await.key_id, end.key_id);
}

async fn until_listed(cluster: &Cluster, running: &Running) {
    let mut operator = OperatorClient::new(cluster.channel(Role::Operator, running).await);
    for _ in 0..100 {
        let keys = operator
            .list_keys(v1::ListKeysQuery {})
            .await
            .expect("answers")
            .into_inner()
            .keys;
        if keys.iter().any(|key| key.name == "new") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not listed");
}
