//! Pairs that have failed and work again: because people want it, and for no other reason.

use policy::governance::Matter;
use proto::v1::FailureCode;

use super::hostile::spoil;
use super::*;
use crate::reshare::Wish;

impl Cluster {
    /// The second node spoils an opening, and the first one notices.
    pub(crate) async fn fail_check(&self, policy: &str, nonce: u8) {
        let quorum = [0, 1];
        let entry = self.filled(&quorum, 1).await.remove(0);
        let signed = self.withdrawal(nonce, FINNEY);
        let approval = self.approve_ecdsa(&signed, policy);
        let call = self.open_call(&quorum, &signed, &approval, &entry);
        let mut first = Vec::new();
        for node in quorum {
            first.push(self.open_entry(node, &call).await.unwrap());
        }
        first[1] = spoil(self, &first[1], &self.identity(1));
        let failure = self.finish_entry(0, &entry, &first).await;
        let failure = failure.expect_err("a failed check");
        assert_eq!(
            (failure.code(), failure.culprits),
            (FailureCode::SecurityAbort, vec![2])
        );
    }

    /// The same order, by somebody else.
    fn as_signed_by(&self, person: &str, order: &[u8]) -> tonic::codegen::Bytes {
        let order = SignedStatement::decode(order).unwrap();
        let matter = Matter::of(order.statement()).unwrap();
        let statement = matter.statement(self.common(person, 8));
        let signed = SignedStatement::sign(&statement, &key(person));
        signed.unwrap().encode().into()
    }

    fn is_poisoned(&self, strikes: u32) {
        let pair = self.pair(0, 2);
        assert_eq!((pair.status.as_str(), pair.strikes), ("poisoned", strikes));
    }
}

#[tokio::test]
async fn a18_a_failed_pair_works_again_when_people_order_it_after_the_failure_and_not_before() {
    let (mut cluster, policy) = ready().await;
    let all = Wish::refresh(&[0, 1, 2]);
    let (early, _) = cluster.draft("eth", &all);
    cluster.advance(60_000);
    cluster.engine(0).tick().await.unwrap();
    cluster.fail_check(&policy, 0).await;
    for _ in 0..2 {
        cluster.is_poisoned(1);
        // Whoever signed this had not seen what would fail.
        assert_eq!(
            code(cluster.begin(0, &early).await),
            FailureCode::SecurityAbort
        );
        let kept = Wish {
            fresh: false,
            ..all.clone()
        };
        let (call, _) = cluster.draft("eth", &kept);
        assert_eq!(
            code(cluster.begin(0, &call).await),
            FailureCode::SecurityAbort
        );
        // Nor can the coordinator have it, or a person whom the policy does not name for it.
        let (mut call, _) = cluster.draft("eth", &all);
        call.statements = vec![cluster.as_signed_by("alice", &call.statements[0])];
        for _ in 0..2 {
            assert_eq!(
                code(cluster.begin(0, &call).await),
                FailureCode::NotAuthorised
            );
            call.statements.clear();
        }
        assert_eq!(
            code(cluster.ask_key(0, "again").await),
            FailureCode::SecurityAbort
        );
        cluster.restart(0).await;
    }
    cluster.advance(60_000);
    cluster.reshare("eth", &all).await;
    for _ in 0..2 {
        let pair = cluster.pair(0, 2);
        // What has happened is not forgotten.
        assert_eq!(
            (pair.status.as_str(), pair.generation, pair.strikes),
            ("active", 2, 1)
        );
        cluster
            .every_ecdsa_quorum_signs(&policy, &[0, 1, 2], 2)
            .await;
        cluster.restart(0).await;
        // Its entries are gone; those of the others are not told again.
        let mut pools = cluster.pools.lock().unwrap();
        pools.retain(|(_, signers), _| !signers.contains(&1));
    }
    // The next failure is a failure of the new setup.
    cluster.fail_check(&policy, 1).await;
    cluster.is_poisoned(2);
    assert_eq!(cluster.pair(0, 2).generation, 2);
    cluster.advance(60_000);
    cluster.restart(0).await;
    cluster.is_poisoned(2);
    cluster.reshare("eth", &all).await;
    assert_eq!(cluster.pair(0, 2).generation, 3);
}

#[tokio::test]
async fn a18_a_refresh_that_the_policy_asks_for_renews_no_failed_pair() {
    let (cluster, first) = ready().await;
    let policy = cluster.document_version(2, Some(&first), &[RULES]);
    let policy = policy.replace("[[wallet]]\n", "[[wallet]]\nrefresh_every = \"30d\"\n");
    cluster.advance(HOUR);
    cluster.install(&policy, &["erin", "frank"]).await;
    for _ in 0..33 {
        cluster.advance(24 * HOUR);
        for node in 0..3 {
            cluster.engine(node).tick().await.unwrap();
        }
    }
    cluster.fail_check(&policy, 0).await;
    let (mut call, _) = cluster.draft("eth", &Wish::refresh(&[0, 1, 2]));
    call.statements.clear();
    assert_eq!(
        code(cluster.begin(0, &call).await),
        FailureCode::SecurityAbort
    );
    // To the nodes that have seen nothing fail it is due.
    cluster.begin(2, &call).await.unwrap();
    cluster.is_poisoned(1);
}
