//! Two sharings certified for one place, which needs every member to have signed twice: the key stops for good.

use proto::v1::FailureCode;

use super::{Wish, ready};
use crate::cluster::*;

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn two_certificates_for_one_place_stop_the_key_for_good() {
    let (mut cluster, policy) = ready(3).await;
    let wish = Wish::refresh(&[0, 1, 2]);
    // All three machines are set back to before the first refresh, and refresh again.
    for node in 0..3 {
        cluster.stop(node).await;
    }
    let settle = std::time::Duration::from_millis(300);
    tokio::time::sleep(settle).await;
    let aside = tempfile::tempdir().unwrap();
    for node in 0..3 {
        let home = cluster.home(node);
        copy(&home, &aside.path().join(node.to_string()));
    }
    for node in 0..3 {
        cluster.start(node).await.unwrap();
    }
    let before = cluster.keys.clone();
    cluster.reshare("hot", &wish).await;
    let first = cluster.chain(0, "hot").await.certificates.pop().unwrap();
    for node in 0..3 {
        cluster.stop(node).await;
    }
    tokio::time::sleep(settle).await;
    for node in 0..3 {
        let home = cluster.home(node);
        std::fs::remove_dir_all(&home).unwrap();
        copy(&aside.path().join(node.to_string()), &home);
        cluster.start(node).await.unwrap();
    }
    cluster.keys = before;
    cluster.reshare("hot", &wish).await;
    let second = cluster.chain(0, "hot").await.certificates.pop().unwrap();
    assert_ne!(first, second);
    cluster.every_quorum_signs(&policy, &[0, 1, 2], 2).await;

    // Whoever has the other certificate shows it: twice, and across a restart.
    for _ in 0..2 {
        let shown = cluster.activate(0, "hot", &first).await;
        assert_eq!(code(shown), FailureCode::SecurityAbort);
        assert_eq!(cluster.key_state(0, "hot").state, "conflict");
        assert_eq!(
            code(cluster.prepare(0, "hot", 1).await),
            FailureCode::SecurityAbort
        );
        cluster.restart(0).await;
    }
    // Handing it out, with everybody's consent, is all that is left to do with it.
    let denied = cluster.export_refused(0, "hot").await;
    assert_eq!(denied, FailureCode::NotAuthorised, "not for the conflict");
    let refresh = Wish::refresh(&[0, 1, 2]);
    let (call, _) = cluster.draft("hot", &refresh);
    assert_eq!(
        code(cluster.begin(0, &call).await),
        FailureCode::SecurityAbort
    );
    // The one in use is no conflict with itself, and nothing else has stopped.
    cluster.activate(1, "hot", &second).await.unwrap();
    assert_eq!(cluster.key_state(1, "hot").state, "active");
}
