//! Nodes that come back from backups: nothing is signed before peers agree, and nothing is spent twice.

use proto::v1::{
    self, Failure, FailureCode, coordinator_frame::Body as Call, node_frame::Body as Answer,
};
use signer_node::engine::backup::{Secrets, export, restore};

use crate::cluster::*;
use crate::reshare::{Wish, ready};

impl Cluster {
    pub(crate) fn secrets(&self, node: usize) -> Secrets {
        export(&self.config(node)).unwrap()
    }

    /// The disk is lost; a new one gets what the backup has.
    pub(crate) async fn rebuild(&mut self, node: usize, secrets: &Secrets) {
        self.stop(node).await;
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        for side in ["node.db", "node.db-wal", "node.db-shm"] {
            let _ = std::fs::remove_file(self.home(node).join(side));
        }
        restore(&self.config(node), secrets).unwrap();
        self.start(node).await.unwrap();
    }

    pub(crate) async fn attestation(&self, by: usize, about: usize) -> Vec<u8> {
        let challenge = self.engine(about).status().catching_up;
        let call = Call::AttestQuery(v1::AttestQuery {
            about: self.id(about).as_bytes().to_vec().into(),
            challenge,
        });
        match self.call(by, call).await {
            Ok(Answer::Attestation(attestation)) => attestation.signed.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn catch_up(
        &self,
        node: usize,
        said: &[Vec<u8>],
    ) -> Result<v1::NodeStatus, Failure> {
        let call = Call::CatchUp(v1::CatchUp {
            attestations: said.iter().map(|bytes| bytes.clone().into()).collect(),
        });
        match self.call(node, call).await? {
            Answer::Status(status) => Ok(status),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a30_a_restored_node_signs_when_peers_confirm_and_not_what_it_may_have_spent_before() {
    let (mut cluster, policy) = ready(3).await;
    cluster.every_quorum_signs(&policy, &[0, 1, 2], 2).await;
    let secrets = cluster.secrets(0);
    cluster.rebuild(0, &secrets).await;
    assert_eq!(cluster.engine(0).status().catching_up.len(), 32);
    assert_eq!(
        code(cluster.prepare(0, "hot", 1).await),
        FailureCode::CatchingUp
    );
    let said = [
        cluster.attestation(1, 0).await,
        cluster.attestation(2, 0).await,
    ];
    // One member may lie; the same one twice is one.
    let one = [said[0].clone(), said[0].clone()];
    assert_eq!(
        code(cluster.catch_up(0, &one).await),
        FailureCode::CatchingUp
    );
    let mut forged = said.to_vec();
    let end = forged[1].len() - 1;
    forged[1][end] ^= 1;
    assert_eq!(
        code(cluster.catch_up(0, &forged).await),
        FailureCode::CatchingUp
    );
    assert_eq!(
        code(cluster.catch_up(0, &forged[1..]).await),
        FailureCode::Malformed
    );
    // Statements answer one start of one node.
    cluster.restart(0).await;
    assert_eq!(
        code(cluster.catch_up(0, &said).await),
        FailureCode::Replayed
    );
    let said = [
        cluster.attestation(1, 0).await,
        cluster.attestation(2, 0).await,
    ];
    // A statement that nobody has signed takes nothing from those of the others.
    let with_garbage = [vec![vec![0; 40]], forged, said.to_vec()].concat();
    let status = cluster.catch_up(0, &with_garbage).await.unwrap();
    assert!(status.catching_up.is_empty());
    cluster.restart(0).await;
    assert!(cluster.engine(0).status().catching_up.is_empty());
    // It has forgotten what it spent: its part of every window counts as used up until the window is over.
    cluster.install(&policy, &["erin", "frank"]).await;
    let signed = cluster.pay(SOL / 100, 240);
    let approval = [cluster.approve(&signed, &policy, "alice")];
    assert_eq!(
        code(cluster.sign(&[0, 1], &signed, &approval).await),
        FailureCode::Limit
    );
    cluster.sign(&[1, 2], &signed, &approval).await.unwrap();
    for _ in 0..26 {
        cluster.advance(HOUR);
        cluster.engine(0).tick().await.unwrap();
    }
    cluster.every_quorum_signs(&policy, &[0, 1], 2).await;
}

#[tokio::test]
async fn a_restored_node_makes_no_key_that_was_asked_for_before() {
    let (mut cluster, _) = ready(3).await;
    let secrets = cluster.secrets(0);
    cluster.rebuild(0, &secrets).await;
    let at = |ms: u64| {
        let mut order = Cluster::order("new", "ed25519");
        let mut request = order.request_id.to_vec();
        request[..8].copy_from_slice(&ms.to_be_bytes());
        order.request_id = request.into();
        Call::StartDkg(order)
    };
    // What was made before the restore may have been begun here already, with other randomness.
    assert_eq!(code(cluster.call(0, at(1)).await), FailureCode::Stale);
    let ahead = NOW + 11 * MINUTE;
    assert_eq!(
        code(cluster.call(1, at(ahead)).await),
        FailureCode::Malformed
    );
    cluster.call(1, at(1)).await.unwrap();
    cluster.call(0, at(NOW)).await.unwrap();
}

#[tokio::test]
async fn a70_a_restored_share_of_an_old_sharing_is_refused_and_mended() {
    let (mut cluster, policy) = ready(3).await;
    let secrets = cluster.secrets(0);
    cluster.reshare("hot", &Wish::refresh(&[0, 1, 2])).await;
    cluster.rebuild(0, &secrets).await;
    let said = [
        cluster.attestation(1, 0).await,
        cluster.attestation(2, 0).await,
    ];
    assert_eq!(
        code(cluster.catch_up(0, &said).await),
        FailureCode::NeedCertificate
    );
    let chain = cluster.chain(1, "hot").await;
    let shown = cluster
        .activate(0, "hot", &chain.certificates[0])
        .await
        .unwrap();
    assert!(!shown.holds);
    assert_eq!(cluster.key_state(0, "hot").state, "lost");
    assert_eq!(
        code(cluster.prepare(0, "hot", 1).await),
        FailureCode::ShareLost
    );
    cluster.install(&policy, &["erin", "frank"]).await;
    // Lost, and not to be dealt from.
    let (call, _) = cluster.draft("hot", &Wish::refresh(&[0, 1, 2]));
    assert!(cluster.begin(0, &call).await.is_err());
    let mend = Wish {
        dealers: vec![1, 2],
        attempt: 2,
        ..Wish::refresh(&[0, 1, 2])
    };
    cluster.reshare("hot", &mend).await;
    cluster.every_quorum_signs(&policy, &[1, 2], 2).await;
    for _ in 0..26 {
        cluster.advance(HOUR);
        cluster.engine(0).tick().await.unwrap();
    }
    cluster.every_quorum_signs(&policy, &[0, 1, 2], 2).await;
}

#[tokio::test]
async fn after_a_total_loss_all_nodes_come_back_together_and_sign() {
    let (mut cluster, policy) = ready(3).await;
    cluster.reshare("hot", &Wish::refresh(&[0, 1, 2])).await;
    let all: Vec<Secrets> = (0..3).map(|node| cluster.secrets(node)).collect();
    for (node, secrets) in all.iter().enumerate() {
        cluster.rebuild(node, secrets).await;
    }
    for node in 0..3 {
        let others: Vec<usize> = (0..3).filter(|other| *other != node).collect();
        let first = [cluster.attestation(others[0], node).await];
        if node == 0 {
            assert_eq!(
                code(cluster.catch_up(node, &first).await),
                FailureCode::CatchingUp
            );
        }
        let said = [first[0].clone(), cluster.attestation(others[1], node).await];
        cluster.catch_up(node, &said).await.unwrap();
    }
    cluster.install(&policy, &["erin", "frank"]).await;
    for node in 0..3 {
        assert_eq!(cluster.key_state(node, "hot").state, "active");
    }
    // What was spent is in no backup: nothing that a window limits is signed before the window is over.
    let signed = cluster.pay(SOL / 100, 99);
    let approval = cluster.approve(&signed, &policy, "alice");
    let early = cluster.sign(&[0, 1], &signed, &[approval]).await;
    assert_eq!(code(early), FailureCode::Limit);
    for _ in 0..26 {
        cluster.advance(HOUR);
        for node in 0..3 {
            cluster.engine(node).tick().await.unwrap();
        }
    }
    cluster.every_quorum_signs(&policy, &[0, 1, 2], 2).await;
    cluster.reshare("hot", &Wish::refresh(&[0, 1, 2])).await;
}

#[tokio::test]
async fn a18_a_backup_is_no_way_around_a_failed_pair() {
    let mut cluster = Cluster::of(tempfile::tempdir().unwrap(), 3, 3).await;
    cluster.generate("eth", "ecdsa").await;
    let policy = cluster.document(&[crate::ecdsa::RULES]);
    cluster.install(&policy, &["erin", "frank"]).await;
    cluster.fail_check(&policy, 0).await;
    let secrets = cluster.secrets(0);
    cluster.rebuild(0, &secrets).await;
    let said = [
        cluster.attestation(1, 0).await,
        cluster.attestation(2, 0).await,
    ];
    cluster.catch_up(0, &said).await.unwrap();
    cluster.install(&policy, &["erin", "frank"]).await;
    // It has forgotten which pair had failed, so it makes none with those peers because somebody asks for another key.
    for _ in 0..2 {
        assert!(cluster.engine(0).status().pairs.is_empty());
        assert_eq!(code(cluster.ask_key(0, "again").await), FailureCode::Denied);
        cluster.restart(0).await;
    }
    // People may.
    cluster.advance(HOUR);
    cluster.reshare("eth", &Wish::refresh(&[0, 1, 2])).await;
    let pairs = cluster.engine(0).status().pairs;
    assert_eq!(pairs.len(), 2);
    assert!(pairs.iter().all(|pair| pair.status == "active"));
    cluster.ask_key(0, "again").await.unwrap();
}
