//! Whoever spoils a signature is convicted by its own signed words, and everybody is shown them.

use mpc_core::{
    Fault,
    envelope::{Header, Kind, Recipient},
    evidence::{self, Evidence},
    id::SessionId,
    testing::Committee,
};

use super::*;

/// Evidence that a member has signed two different things.
fn two_faced(committee: &Committee, index: u16, session: u8) -> Vec<u8> {
    let header = Header {
        kind: Kind::EcdsaOpen,
        session: SessionId::from_bytes([session; 32]),
        round: 1,
        from: committee.node(index),
        to: Recipient::Everyone,
    };
    let seal = |body: &[u8]| {
        let bytes = mpc_core::envelope::Envelope::seal(committee.identity(index), &header, body);
        mpc_core::envelope::Envelope::open(&committee.roster, &bytes).expect("genuine")
    };
    Evidence::equivocation(&seal(b"one"), &seal(b"two")).encode()
}

fn say(evidence: Vec<u8>) -> NodeFrame {
    NodeFrame {
        version: 1,
        call_id: 0,
        body: Some(Answer::Evidence(v1::Evidence {
            evidence: evidence.into(),
        })),
    }
}

fn shown(node: &Node) -> Vec<Vec<u8>> {
    node.shown.lock().expect("lock").clone()
}

async fn wait_shown(node: &Node, count: usize) -> Vec<Vec<u8>> {
    for _ in 0..200 {
        let all = shown(node);
        if all.len() >= count {
            return all;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} were shown", shown(node).len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a35_whoever_spoils_a_signature_is_convicted_and_asked_no_more() {
    let (cluster, running) = start_with(QUICK, Cluster::ecdsa);
    cluster.install_policy(&running).await;
    let peers = peers(&cluster);
    let scripts = [Script::Excuses, Script::Honest, Script::Honest];
    let nodes = connect(&cluster, &running, &peers, scripts).await;
    for number in 1..=6 {
        let status = pay(&cluster, &running, number).await;
        assert_eq!(
            status.state(),
            RequestState::Released,
            "{:?}",
            status.failure
        );
        assert_eq!(status.signers, [2, 3]);
    }
    assert_eq!(opened(&nodes)[0], 1, "one lie is enough");
    let proof = wait_shown(&nodes[1], 1).await.remove(0);
    assert_eq!(wait_shown(&nodes[2], 1).await, std::slice::from_ref(&proof));
    let roster = &peers.signers.committee.roster;
    let guilty = peers.signers.committee.node(1);
    let judged = evidence::verify(roster, &proof).expect("it holds");
    assert_eq!(judged, (guilty, Fault::InvalidSignatureShare));
    drop(nodes);
    running.stop().await;
    let files = cluster.evidence_files();
    let (name, bytes) = files.first_key_value().expect("a file");
    assert!(
        name.starts_with("node-1-") && name.ends_with(".evidence"),
        "{name}"
    );
    assert_eq!((files.len(), bytes), (1, &proof));
    let rows = cluster.store().evidence().await.expect("reads");
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].node, rows[0].evidence.as_ref()), (1, &proof[..]));

    // A restart forgives nothing, and whoever was away hears of it.
    let running = start_again(&cluster);
    let nodes = connect(&cluster, &running, &peers, [Script::Honest; 3]).await;
    assert_eq!(wait_shown(&nodes[1], 1).await, [proof]);
    for number in 7..=9 {
        assert_eq!(pay(&cluster, &running, number).await.signers, [2, 3]);
    }
    assert_eq!(opened(&nodes)[0], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_convict_is_asked_where_nobody_else_is_left() {
    let (cluster, running) = start_with(QUICK, Cluster::ecdsa);
    cluster.install_policy(&running).await;
    let peers = peers(&cluster);
    let mut nodes = connect(&cluster, &running, &peers, [Script::Honest; 3]).await;
    let proof = two_faced(&peers.signers.committee, 1, 1);
    nodes[1].say.send(say(proof)).await.expect("open");
    wait_shown(&nodes[2], 1).await;
    drop(nodes.pop());
    wait_connected(&cluster, &running, 2).await;
    let status = pay(&cluster, &running, 1).await;
    assert_eq!(
        (status.state(), &status.signers[..]),
        (RequestState::Released, &[1, 2][..])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evidence_from_a_node_is_judged_kept_once_and_shown_to_the_others() {
    let (cluster, running) = start_with(QUICK, Cluster::ecdsa);
    cluster.install_policy(&running).await;
    let peers = peers(&cluster);
    let committee = &peers.signers.committee;
    let nodes = connect(&cluster, &running, &peers, [Script::Honest; 3]).await;
    let proof = two_faced(committee, 2, 1);
    let mut forged = proof.clone();
    *forged.last_mut().expect("bytes") ^= 1;
    for evidence in [forged, Vec::new(), proof.clone(), proof.clone()] {
        nodes[2].say.send(say(evidence)).await.expect("open");
    }
    assert_eq!(wait_shown(&nodes[0], 1).await, std::slice::from_ref(&proof));
    assert_eq!(wait_shown(&nodes[1], 1).await, std::slice::from_ref(&proof));
    // Any number of proofs against one node are worth no more than a few.
    for session in 2..40 {
        let more = two_faced(committee, 2, session);
        nodes[2].say.send(say(more)).await.expect("open");
    }
    wait_shown(&nodes[0], proto::evidence_files::PER_NODE).await;
    // Who only cries wolf is not listened to any more.
    for number in 0..64 {
        nodes[0].say.send(say(vec![number; 8])).await.expect("open");
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let late = two_faced(committee, 3, 1);
    nodes[0].say.send(say(late)).await.expect("open");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(
        shown(&nodes[2]).is_empty(),
        "nothing comes back to who brought it"
    );
    drop(nodes);
    running.stop().await;
    let rows = cluster.store().evidence().await.expect("reads");
    assert_eq!(rows.len(), proto::evidence_files::PER_NODE);
    assert!(rows.iter().all(|row| row.node == 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sets_that_failed_stay_stopped_over_a_restart_until_an_operator_forgives_them() {
    let forgiving = QUICK.replace(
        "[signing]\n",
        "[signing]\nforgive_failures_before = \"2999-01-01T00:00:00Z\"\n",
    );
    for (options, stopped) in [(QUICK, true), (forgiving.as_str(), false)] {
        let (cluster, running) = start_with(options, Cluster::ecdsa);
        cluster.install_policy(&running).await;
        running.stop().await;
        let store = cluster.store();
        for set in [[1, 2], [1, 3]] {
            for _ in 0..3 {
                let counted = store.count_failure(set.to_vec(), None, now_ms());
                counted.await.expect("stored");
            }
        }
        drop(store);
        let running = start_again(&cluster);
        let peers = peers(&cluster);
        let nodes = connect(&cluster, &running, &peers, [Script::Honest; 3]).await;
        let mut client = cluster.client(&running).await;
        let info = client.get_cluster(v1::ClusterQuery {}).await;
        let sets: Vec<_> = info
            .expect("answers")
            .into_inner()
            .stopped
            .into_iter()
            .map(|set| (set.signers, set.failures))
            .collect();
        let expected = [(vec![1, 2], 3), (vec![1, 3], 3)];
        assert_eq!(sets, if stopped { &expected[..] } else { &[] });
        for number in 1..=4 {
            let status = pay(&cluster, &running, number).await;
            assert_eq!(status.state(), RequestState::Released);
        }
        assert_eq!(opened(&nodes)[0] == 0, stopped);
    }
}
