//! A disk that fills up under running nodes.

use std::process::Command;

use proto::v1::{FailureCode, coordinator_frame::Body as Call, node_frame::Body as Answer};

use crate::cluster::*;

#[tokio::test]
async fn a_full_disk_refuses_forgets_nothing_and_still_stops() {
    let place = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=3m", "tmpfs"])
        .arg(place.path())
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        println!("skipped: a small file system cannot be mounted here (needs root)");
        return;
    }
    let mut cluster = Cluster::ready_in(tempfile::tempdir_in(place.path()).unwrap()).await;
    let policy = cluster.document(&[WALLET_RULES]);
    let signed = cluster.pay(SOL / 10, 1);
    let approval = [cluster.approve(&signed, &policy, "alice")];
    let request = cluster.request(&[0, 1], &signed, &approval).await;
    let ballast = place.path().join("ballast");
    let mut file = std::fs::File::create(&ballast).unwrap();
    for size in [64 << 10, 4 << 10, 1] {
        while std::io::Write::write_all(&mut file, &vec![0; size]).is_ok() {}
    }
    // Small writes may still find room inside the write-ahead log; sooner or later none does, and no share leaves.
    let mut salt = 100;
    let refused = loop {
        let probe = cluster.pay(SOL / 1_000, salt);
        if let Err(failure) = cluster.announce(0, &probe).await {
            break failure;
        }
        salt += 1;
        assert!(salt < 250, "the disk never fills");
    };
    assert_eq!(refused.code(), FailureCode::Unavailable);
    assert_eq!(
        code(cluster.share(0, &request).await),
        FailureCode::Unavailable
    );
    // A valid order to stop holds although it cannot be stored.
    let freeze = cluster.freeze("alice", 1);
    assert_eq!(
        code(cluster.call(0, Call::Order(freeze.clone())).await),
        FailureCode::Unavailable
    );
    drop(file);
    std::fs::remove_file(&ballast).unwrap();
    let again = cluster.request(&[0, 1], &signed, &approval).await;
    assert_eq!(code(cluster.share(0, &again).await), FailureCode::Frozen);
    // Sent again, it is stored; then a quorum resumes, and the node signs, restarted or not.
    let Ok(Answer::FreezeState(state)) = cluster.call(0, Call::Order(freeze)).await else {
        panic!("not stored")
    };
    assert!(state.frozen);
    cluster.restart(0).await;
    assert!(cluster.engine(0).status().freeze.unwrap().frozen);
    cluster.advance(1_000);
    cluster
        .call(0, Call::Order(cluster.unfreeze(&["erin", "frank"], 2)))
        .await
        .unwrap();
    cluster.sign(&[0, 1], &signed, &approval).await.unwrap();
    drop(cluster);
    Command::new("umount")
        .arg("-l")
        .arg(place.path())
        .status()
        .unwrap();
}
