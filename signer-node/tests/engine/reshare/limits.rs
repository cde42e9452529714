//! Limits hold across a change of the committee: whoever comes counts what those who go have let out, and whoever stays counts what is
//! its part of it in the new committee.

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

    /// Spends nearly all of three SOL a day, evenly at the first three nodes.
    async fn spend_evenly(&self, policy: &str) {
        for (salt, quorum) in [(201, [0, 1]), (202, [1, 2]), (203, [0, 2])] {
            let done = self.spend(&quorum, SOL / 100 * 95, salt, policy).await;
            done.unwrap();
        }
        self.advance(5_000);
    }

    /// Makes another committee out of this one, and tells nobody anything.
    async fn change(&mut self, dealers: &[usize], members: &[usize], threshold: u16) {
        let wish = Wish {
            members: members.to_vec(),
            threshold,
            ..Wish::refresh(dealers)
        };
        let request = self.start_wish("hot", &wish).await;
        let place = (request.epoch().0, request.attempt().0);
        for node in dealers.iter().chain(members) {
            self.reached(*node, "hot", place).await;
        }
        self.follow(members[0], "hot").await;
    }

    async fn refused(&self, quorum: &[usize], lamports: u64, salt: u8, policy: &str) {
        let said = self.spend(quorum, lamports, salt, policy).await;
        assert_eq!(code(said), FailureCode::Limit, "{quorum:?}");
    }

    /// Of three SOL a day a tenth is left, and not more; a day later all of them.
    async fn a_tenth_is_left(&mut self, quorum: &[usize], policy: &str) {
        for node in quorum {
            self.restart(*node).await;
        }
        self.refused(quorum, SOL / 100 * 95, 211, policy).await;
        self.refused(quorum, SOL / 100 * 16, 212, policy).await;
        self.spend(quorum, SOL / 10, 213, policy).await.unwrap();
        self.refused(quorum, SOL / 10, 214, policy).await;
        for _ in 0..26 {
            self.advance(HOUR);
            for node in quorum {
                self.engine(*node).tick().await.unwrap();
            }
        }
        for salt in 215..218 {
            let done = self.spend(quorum, SOL / 100 * 95, salt, policy).await;
            done.unwrap();
        }
        self.refused(quorum, SOL / 100 * 95, 218, policy).await;
    }
}

#[tokio::test]
async fn a_member_that_stays_in_a_smaller_committee_counts_its_part_of_all_that_was_spent() {
    let (mut cluster, policy) = ready(3).await;
    cluster.spend_evenly(&policy).await;
    cluster.change(&[0, 1, 2], &[0, 1], 2).await;
    // Both that stay ask at once, and sign nothing before, also after a restart.
    assert_eq!(cluster.asking(), [0, 1]);
    cluster.refused(&[0, 1], SOL / 100, 204, &policy).await;
    cluster.restart(0).await;
    cluster.restart(1).await;
    assert_eq!(cluster.asking(), [0, 1]);
    cluster.refused(&[0, 1], SOL / 100, 205, &policy).await;
    cluster.tell_once().await;
    assert!(cluster.asking().is_empty());
    cluster.a_tenth_is_left(&[0, 1], &policy).await;
}

#[tokio::test]
async fn members_of_a_higher_threshold_count_their_part_of_all_that_was_spent() {
    let (mut cluster, policy) = ready(3).await;
    cluster.spend_evenly(&policy).await;
    cluster.change(&[0, 1, 2], &[0, 1, 2], 3).await;
    assert_eq!(cluster.asking(), [0, 1, 2]);
    cluster.refused(&[0, 1, 2], SOL / 100, 204, &policy).await;
    cluster.tell_once().await;
    assert!(cluster.asking().is_empty());
    cluster.a_tenth_is_left(&[0, 1, 2], &policy).await;
}

#[tokio::test]
async fn a_refresh_before_anybody_was_told_changes_nothing_about_it() {
    let (mut cluster, policy) = ready(3).await;
    cluster.spend_evenly(&policy).await;
    cluster.change(&[0, 1, 2], &[0, 1], 2).await;
    cluster.change(&[0, 1], &[0, 1], 2).await;
    assert_eq!(cluster.asking(), [0, 1]);
    cluster.refused(&[0, 1], SOL / 100, 204, &policy).await;
    cluster.restart(1).await;
    // Node 2 knows nothing of the refresh, and has to know nothing of it.
    cluster.tell_once().await;
    assert!(cluster.asking().is_empty());
    cluster.a_tenth_is_left(&[0, 1], &policy).await;
}

#[tokio::test]
async fn a_refresh_after_all_were_told_asks_nobody() {
    let (mut cluster, policy) = ready(3).await;
    cluster.spend_evenly(&policy).await;
    cluster.change(&[0, 1, 2], &[0, 1], 2).await;
    cluster.tell_once().await;
    cluster.change(&[0, 1], &[0, 1], 2).await;
    assert!(cluster.asking().is_empty());
    cluster.a_tenth_is_left(&[0, 1], &policy).await;
}

#[tokio::test]
async fn two_reshares_before_anybody_was_told_are_told_one_after_the_other() {
    let (mut cluster, policy) = ready(4).await;
    cluster.spend_evenly(&policy).await;
    cluster.change(&[0, 1, 2], &[0, 1], 2).await;
    cluster.change(&[0, 1], &[0, 1, 3], 2).await;
    cluster.install(&policy, &["erin", "frank"]).await;
    assert_eq!(cluster.asking(), [0, 1, 3]);
    // The two of the committee in between do not know themselves what they have to count: nobody is told by them, however long it asks.
    cluster.advance(MINUTE);
    let two = [
        cluster.attestation(0, 3).await,
        cluster.attestation(1, 3).await,
    ];
    cluster.catch_up(3, &two).await.unwrap();
    assert_eq!(cluster.asking(), [0, 1, 3]);
    cluster.tell_once().await;
    for node in [0, 1] {
        assert!(cluster.asking().contains(&node));
        cluster.restart(node).await;
    }
    cluster.refused(&[0, 3], SOL / 100, 204, &policy).await;
    cluster.tell_new_members().await;
    assert!(cluster.asking().is_empty());
    // Two thirds of the limit for each again, and nineteen twentieths of that are spent.
    for quorum in [[0, 1], [0, 3], [1, 3]] {
        cluster.refused(&quorum, SOL / 100 * 11, 205, &policy).await;
    }
    for (salt, quorum) in [(206, [0, 1]), (207, [0, 3]), (208, [1, 3])] {
        let done = cluster.spend(&quorum, SOL / 100 * 4, salt, &policy).await;
        done.unwrap();
    }
    cluster.refused(&[0, 3], SOL / 100 * 4, 209, &policy).await;
}

#[tokio::test]
async fn own_bookings_that_are_more_than_the_part_win_and_are_not_added_to_it() {
    let (mut cluster, policy) = ready(4).await;
    let done = cluster.spend(&[0, 1], SOL / 100 * 95, 201, &policy).await;
    done.unwrap();
    cluster.advance(5_000);
    // Three quarters of what one node had: less than the 0.95 that two of them have booked, and 1.5 is what each may.
    cluster.change(&[0, 1, 2], &[0, 1, 2, 3], 2).await;
    cluster.install(&policy, &["erin", "frank"]).await;
    cluster.tell_once().await;
    assert!(cluster.asking().is_empty());
    cluster.refused(&[0, 2], SOL / 100 * 60, 202, &policy).await;
    let done = cluster.spend(&[0, 1], SOL / 100 * 50, 203, &policy).await;
    done.unwrap();
    // Those that booked nothing count the part.
    cluster.refused(&[2, 3], SOL / 100 * 80, 204, &policy).await;
    let done = cluster.spend(&[2, 3], SOL / 100 * 70, 205, &policy).await;
    done.unwrap();
}

#[tokio::test]
async fn fewer_than_all_members_of_before_are_believed_only_after_a_while() {
    let (mut cluster, policy) = ready(3).await;
    cluster.spend_evenly(&policy).await;
    cluster.change(&[0, 1, 2], &[0, 1], 2).await;
    let one = [cluster.attestation(1, 0).await];
    cluster.catch_up(0, &one).await.unwrap();
    assert_eq!(cluster.asking(), [0, 1]);
    cluster.advance(11_000);
    cluster.catch_up(0, &one).await.unwrap();
    assert_eq!(cluster.asking(), [1]);
    // Node 2 may have signed with either of them all that they have booked: twice that is what the two have to expect.
    cluster.tell_once().await;
    cluster.refused(&[0, 1], SOL / 100, 204, &policy).await;
}

#[tokio::test]
async fn whoever_is_told_by_nobody_waits_until_the_window_is_over() {
    let (mut cluster, policy) = ready(3).await;
    cluster.spend_evenly(&policy).await;
    cluster.change(&[0, 1, 2], &[0, 1], 2).await;
    // It asks for an hour, and then it is ready for the next order again.
    for hour in 0..24 {
        assert_eq!(cluster.asking().is_empty(), hour > 0, "hour {hour}");
        cluster.refused(&[0, 1], SOL / 100, 204, &policy).await;
        cluster.advance(HOUR);
        for node in [0, 1] {
            cluster.engine(node).tick().await.unwrap();
        }
        if hour == 12 {
            cluster.restart(0).await;
        }
    }
    cluster.advance(HOUR);
    let done = cluster.spend(&[0, 1], SOL / 100 * 95, 205, &policy).await;
    done.unwrap();
}

#[tokio::test]
async fn limits_of_one_transaction_need_nobodys_word() {
    let mut cluster = Cluster::of(tempfile::tempdir().unwrap(), 3, 3).await;
    cluster.generate("hot", "ed25519").await;
    let window = r#", { scope = "wallet", window = "24h", asset = "native", max = "3000000000" }"#;
    let rules = WALLET_RULES.replace(window, "");
    assert_ne!(rules, WALLET_RULES);
    let policy = cluster.document(&[&rules]);
    cluster.install(&policy, &["erin", "frank"]).await;
    cluster.change(&[0, 1, 2], &[0, 1], 2).await;
    assert_eq!(cluster.asking(), [0, 1]);
    let done = cluster.spend(&[0, 1], SOL / 100 * 95, 201, &policy).await;
    done.unwrap();
}

#[tokio::test]
async fn a_restored_key_that_is_refused_does_not_keep_another_from_being_told() {
    let mut cluster = Cluster::of(tempfile::tempdir().unwrap(), 3, 3).await;
    cluster.generate("hot", "ed25519").await;
    cluster.generate("cold", "ed25519").await;
    let policy = cluster.document(&[WALLET_RULES]);
    cluster.install(&policy, &["erin", "frank"]).await;
    let secrets = cluster.secrets(0);
    cluster.rebuild(0, &secrets).await;
    cluster.install(&policy, &["erin", "frank"]).await;
    // The others go on without it with one key, and with it and another threshold with the other.
    let mend = Wish {
        dealers: vec![1, 2],
        threshold: 3,
        ..Wish::refresh(&[0, 1, 2])
    };
    for (name, wish) in [("hot", Wish::refresh(&[1, 2])), ("cold", mend)] {
        let request = cluster.start_wish(name, &wish).await;
        for node in wish.members {
            let place = (request.epoch().0, request.attempt().0);
            cluster.reached(node, name, place).await;
        }
    }
    let told = |cluster: &Cluster| -> i64 {
        let sql = "SELECT count(*) FROM sharings WHERE substr(body, 1, 1) = x'0c'";
        let rows = cluster.database(0).query_row(sql, [], |row| row.get(0));
        rows.unwrap()
    };
    cluster.advance(11_000);
    let said = [
        cluster.attestation(1, 0).await,
        cluster.attestation(2, 0).await,
    ];
    assert_eq!(told(&cluster), 0);
    for _ in 0..2 {
        let refused = code(cluster.catch_up(0, &said).await);
        assert_eq!(refused, FailureCode::NeedCertificate);
        assert_eq!(told(&cluster), 1);
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
