//! Limits hold across a change of the committee: whoever comes counts what those who go have let out.

use proto::v1::FailureCode;

use super::{Wish, ready};
use crate::cluster::*;

impl Cluster {
    async fn spend(
        &self,
        quorum: &[usize],
        lamports: u64,
        salt: u8,
        policy: &str,
    ) -> Result<(), proto::v1::Failure> {
        let signed = self.pay(lamports, salt);
        let approval = self.approve(&signed, policy, "alice");
        self.sign(quorum, &signed, &[approval]).await.map(drop)
    }
}

#[tokio::test]
async fn new_members_count_what_was_spent_before_them() {
    let (mut cluster, policy) = ready(6).await;
    // Three SOL a day, and nearly all of it is spent.
    for (salt, quorum) in [(201, [0, 1]), (202, [1, 2]), (203, [0, 2])] {
        cluster
            .spend(&quorum, SOL / 100 * 95, salt, &policy)
            .await
            .unwrap();
    }
    let wish = Wish {
        members: vec![3, 4, 5],
        ..Wish::refresh(&[0, 1, 2])
    };
    let request = cluster.start_wish("hot", &wish).await;
    let place = (request.epoch().0, request.attempt().0);
    for node in 0..6 {
        cluster.reached(node, "hot", place).await;
    }
    cluster.install(&policy, &["erin", "frank"]).await;
    cluster.follow(3, "hot").await;
    // Before anybody has told them, everything counts as spent, also after a restart.
    cluster.restart(3).await;
    let early = cluster.spend(&[3, 4], SOL / 100, 204, &policy).await;
    assert_eq!(code(early), FailureCode::Limit);
    // One member may lie: it alone is not believed.
    let one = [cluster.attestation(0, 3).await];
    cluster.catch_up(3, &one).await.unwrap();
    assert_eq!(cluster.engine(3).status().catching_up.len(), 32);

    cluster.tell_new_members().await;
    for node in 3..6 {
        assert!(cluster.engine(node).status().catching_up.is_empty());
        cluster.restart(node).await;
    }
    // What is left of the day is left, and not more.
    let more = cluster.spend(&[3, 4], SOL / 100 * 95, 205, &policy).await;
    assert_eq!(code(more), FailureCode::Limit);
    cluster
        .spend(&[3, 4], SOL / 100, 206, &policy)
        .await
        .unwrap();
    for _ in 0..26 {
        cluster.advance(HOUR);
        for node in 3..6 {
            cluster.engine(node).tick().await.unwrap();
        }
    }
    cluster
        .spend(&[4, 5], SOL / 100 * 95, 207, &policy)
        .await
        .unwrap();
}
