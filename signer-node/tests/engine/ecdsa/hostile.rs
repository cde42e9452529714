//! What a hostile node, a hostile coordinator, a relay, a crash or an old backup can do to pairs and pools.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mpc_core::ecdsa::{Preprocessing, Setup};
use mpc_core::envelope::Envelope;
use mpc_core::id::PoolId;
use mpc_core::identity::IdentityKey;
use mpc_core::pair::PairRecord;
use mpc_core::session::{Ready, Recipient};
use proto::v1::FailureCode;
use signer_node::config::Unlock;
use signer_node::seal::{Kind, Label, Owner, Secret, Vault};
use signer_node::store::{Change, Contents, Store};
use zeroize::Zeroizing;

use super::*;

impl Cluster {
    /// Everything in a node's store, as its thief reads it: from a copy while the node runs.
    pub(crate) fn steal(&self, node: usize) -> (Contents, Arc<Vault>) {
        let copy = self.dir.path().join(format!("stolen-{node}.db"));
        let _ = std::fs::remove_file(&copy);
        self.backup(node, &copy);
        let unlock = Unlock::KeyFile(self.home(node).join("store.key"));
        let secret = Secret::read(&unlock).unwrap();
        let (store, contents, vault) = Store::open(&copy, &secret, self.owner(node)).unwrap();
        drop(store);
        (contents, vault)
    }

    fn owner(&self, node: usize) -> Owner {
        Owner::new("c-01", *self.id(node).as_bytes())
    }

    pub(crate) fn id(&self, node: usize) -> NodeId {
        *self.nodes_of(&[node]).first().unwrap()
    }

    pub(crate) fn backup(&self, node: usize, to: &std::path::Path) {
        let source = rusqlite::Connection::open(self.home(node).join("node.db")).unwrap();
        source
            .execute("VACUUM INTO ?1", [to.to_str().unwrap()])
            .unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(to, mode).unwrap();
    }

    pub(crate) async fn restore(&mut self, node: usize, from: &std::path::Path) {
        self.stop(node).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        for side in ["node.db", "node.db-wal", "node.db-shm"] {
            let _ = std::fs::remove_file(self.home(node).join(side));
        }
        std::fs::copy(from, self.home(node).join("node.db")).unwrap();
        self.start(node).await.unwrap();
    }

    pub(super) fn identity(&self, node: usize) -> Arc<IdentityKey> {
        let (contents, vault) = self.steal(node);
        let label = Label::new(Kind::Identity, [0; 32], 0, 0);
        let seed = vault
            .open(&label, contents.sealed(&label).unwrap())
            .unwrap();
        Arc::new(IdentityKey::from_seed(Zeroizing::new(
            seed.as_slice().try_into().unwrap(),
        )))
    }

    /// The bytes of a node's half of its setup with a peer.
    fn pair_bytes(&self, node: usize, peer: usize) -> Zeroizing<Vec<u8>> {
        let (contents, vault) = self.steal(node);
        let label = Label::new(Kind::Pair, *self.id(peer).as_bytes(), 1, 0);
        vault
            .open(&label, contents.sealed(&label).unwrap())
            .unwrap()
    }

    /// Asks for another key with pair setups.
    pub(crate) async fn ask_key(&self, node: usize, name: &str) -> Result<Answer, Failure> {
        let order = Self::order(name, "ecdsa");
        self.call(node, Call::StartDkg(order)).await
    }
}

/// The second node signs an opening whose masked nonce is off by a bit.
pub(super) fn spoil(cluster: &Cluster, envelope: &[u8], identity: &IdentityKey) -> Vec<u8> {
    let opened = Envelope::open(&cluster.roster, envelope).unwrap();
    let mut body = opened.body().to_vec();
    // hreq 32, echo 32, R 33, rho 32, then gk: its lowest bit.
    body[129 + 31] ^= 1;
    Envelope::seal(identity, opened.header(), &body)
}

#[tokio::test]
async fn a26_a_failed_check_poisons_the_pair_for_ever_and_kills_everything_that_depends_on_it() {
    let (mut cluster, policy) = ready().await;
    let quorum = [0, 1];
    let entries = cluster.filled(&quorum, 2).await;
    let hostile = cluster.identity(1);
    let mut opened = Vec::new();
    for (nonce, entry) in [(0, &entries[0]), (1, &entries[1])] {
        let signed = cluster.withdrawal(nonce, FINNEY);
        let approval = cluster.approve_ecdsa(&signed, &policy);
        let call = cluster.open_call(&quorum, &signed, &approval, entry);
        let mut first = Vec::new();
        for node in quorum {
            first.push(cluster.open_entry(node, &call).await.unwrap());
        }
        opened.push(first);
    }
    let bad = vec![
        opened[0][0].clone(),
        spoil(&cluster, &opened[0][1], &hostile),
    ];
    let failure = cluster
        .finish_entry(0, &entries[0], &bad)
        .await
        .expect_err("a failed check");
    assert_eq!(
        (failure.code(), failure.culprits),
        (FailureCode::SecurityAbort, vec![2])
    );
    // The other signature with that peer is dead, although its messages are right.
    let other = cluster.finish_entry(0, &entries[1], &opened[1]).await;
    assert_eq!(code(other), FailureCode::Stale);
    let alarm = || cluster.alarms.lock().unwrap().pop();
    let (alarmed, alarm) = cluster.until(alarm).await;
    assert_eq!((alarmed, alarm.peer, alarm.generation), (0, 2, 1));
    assert_eq!(alarm.session, entries[0]);
    for _ in 0..2 {
        let pair = cluster.pair(0, 2);
        assert_eq!((pair.status.as_str(), pair.strikes), ("poisoned", 1));
        assert!(pair.why.contains("product"), "{}", pair.why);
        assert_eq!(cluster.pair(0, 3).status, "active");
        // A18: nothing tries again by itself, not even with a new setup.
        assert_eq!(
            code(cluster.ask_key(0, "again").await),
            FailureCode::SecurityAbort
        );
        tokio::time::sleep(Duration::from_millis(300)).await;
        let pools = cluster.engine(0).status().pools;
        let dead = pools.iter().find(|pool| pool.signers == [1, 2]);
        assert!(dead.is_none_or(|pool| pool.entries == 0));
        cluster.restart(0).await;
    }
    // The other pairs work on.
    cluster.pools.lock().unwrap().clear();
    let entry = cluster.filled(&[0, 2], 1).await.remove(0);
    let signed = cluster.withdrawal(9, FINNEY);
    let approval = cluster.approve_ecdsa(&signed, &policy);
    cluster
        .withdraw_with(&[0, 2], &signed, &approval, &entry)
        .await
        .unwrap();
}

#[tokio::test]
async fn a26_nobody_hears_of_a_failed_check_before_it_is_on_disk_and_the_pair_is_stopped_at_once() {
    // What a refused transaction leaves of the write-ahead log may hold one small row: then the disk has to be filled anew.
    for _ in 0..8 {
        if a_full_disk_stops_the_pair().await {
            return;
        }
    }
    panic!("a full disk takes every failed check");
}

/// False if the disk took the row of the failed check.
async fn a_full_disk_stops_the_pair() -> bool {
    let place = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=6m", "tmpfs"])
        .arg(place.path())
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        println!("skipped: a small file system cannot be mounted here (needs root)");
        return true;
    }
    let unmount = || {
        let mut command = std::process::Command::new("umount");
        command.arg("-l").arg(place.path()).status().unwrap();
    };
    let mut cluster = Cluster::new_in(tempfile::tempdir_in(place.path()).unwrap()).await;
    cluster.generate("eth", "ecdsa").await;
    let policy = cluster.document(&[RULES]);
    cluster.install(&policy, &["erin", "frank"]).await;
    let quorum = [0, 1];
    let entries = cluster.filled(&quorum, 1).await;
    let signed = cluster.withdrawal(0, FINNEY);
    let approval = cluster.approve_ecdsa(&signed, &policy);
    let call = cluster.open_call(&quorum, &signed, &approval, &entries[0]);
    let mut first = Vec::new();
    for node in quorum {
        first.push(cluster.open_entry(node, &call).await.unwrap());
    }
    first[1] = spoil(&cluster, &first[1], &cluster.identity(1));
    let _ = std::fs::remove_file(cluster.dir.path().join("stolen-1.db"));
    let ballast = place.path().join("ballast");
    let mut file = std::fs::File::create(&ballast).unwrap();
    for size in [64 << 10, 4 << 10, 1] {
        while std::io::Write::write_all(&mut file, &vec![0; size]).is_ok() {}
    }
    // The write-ahead log may have room for a little more.
    for salt in 100..=250 {
        assert!(salt < 250, "the disk never fills");
        if cluster
            .announce(0, &cluster.withdrawal(salt, FINNEY))
            .await
            .is_err()
        {
            break;
        }
    }
    let failure = cluster.finish_entry(0, &entries[0], &first).await;
    let failure = failure.expect_err("a failed check");
    if failure.code() == FailureCode::SecurityAbort {
        drop(cluster);
        unmount();
        return false;
    }
    assert_eq!(
        (failure.code(), failure.culprits.len()),
        (FailureCode::Internal, 0)
    );
    let pair = cluster.pair(0, 2);
    assert_eq!((pair.status.as_str(), pair.strikes), ("stopped", 0));
    assert_eq!((pair.why.as_str(), pair.at_ms), ("", 0));
    assert_eq!(
        code(cluster.ask_key(0, "again").await),
        FailureCode::Internal
    );
    assert!(cluster.alarms.lock().unwrap().is_empty());
    // It stops before there is room again, and more than once: it has not forgotten.
    cluster.stop(0).await;
    drop(file);
    std::fs::remove_file(&ballast).unwrap();
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        cluster.start(0).await.unwrap();
        let pair = cluster.pair(0, 2);
        assert_eq!((pair.status.as_str(), pair.strikes), ("stopped", 0));
        assert_eq!(
            code(cluster.ask_key(0, "again").await),
            FailureCode::Internal
        );
        cluster.stop(0).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    cluster.start(0).await.unwrap();
    // With room again it is written, and only then said.
    cluster.engine(0).tick().await.unwrap();
    let alarms = Arc::clone(&cluster.alarms);
    let (alarmed, alarm) = cluster.until(|| alarms.lock().unwrap().pop()).await;
    assert_eq!((alarmed, alarm.peer), (0, 2));
    for _ in 0..2 {
        let pair = cluster.pair(0, 2);
        assert_eq!((pair.status.as_str(), pair.strikes), ("poisoned", 1));
        assert_eq!(
            code(cluster.ask_key(0, "again").await),
            FailureCode::SecurityAbort
        );
        cluster.restart(0).await;
    }
    drop(cluster);
    unmount();
    true
}

#[tokio::test]
async fn a17_a_crash_in_the_middle_of_a_check_is_no_way_around_the_ban() {
    for cheats in [true, false] {
        let (mut cluster, _) = ready().await;
        let hostile = cluster.identity(1);
        let mut bytes = cluster.pair_bytes(1, 0);
        if cheats {
            // The second seed of the first 16 columns: each is a guess at a bit of the victim's secret.
            for column in 0..16 {
                bytes[69 + column * 32 + 16] ^= 1;
            }
        }
        let record = Arc::new(PairRecord::dangerous_from_bytes(&bytes).unwrap());
        let signers = cluster.nodes_of(&[0, 1]);
        let setup = Setup {
            roster: cluster.roster.clone(),
            me: cluster.id(1),
            signers: signers.clone(),
            pool_id: PoolId::from_bytes([7; 32]),
            pairs: [(cluster.id(0), Arc::clone(&record))].into(),
        };
        let rng = &mut rand_core::UnwrapErr(getrandom::SysRng);
        let (session, step) = Preprocessing::start(setup, hostile, rng, 0, 1_000).unwrap();
        let Ready::AfterWrite(write, held) = step.split() else {
            panic!("a write is due")
        };
        let sent = held.release(write.stored()).unwrap().send;
        assert!(
            sent.iter()
                .all(|said| said.to == Recipient::One(cluster.id(0)))
        );
        // What the victim had on disk when it died.
        let list = |item: &[u8]| {
            let length = u32::try_from(item.len()).unwrap().to_be_bytes();
            [&length[..], item].concat()
        };
        let mut check = [
            session.first_name().as_bytes().to_vec(),
            cluster.id(1).as_bytes().to_vec(),
            record.name().as_bytes().to_vec(),
            2_u32.to_be_bytes().to_vec(),
        ]
        .concat();
        signers
            .iter()
            .for_each(|node| check.extend(list(node.as_bytes())));
        sent.iter().for_each(|said| check.extend(list(&said.bytes)));
        cluster.stop(0).await;
        let secret = Secret::read(&Unlock::KeyFile(cluster.home(0).join("store.key"))).unwrap();
        let path = cluster.home(0).join("node.db");
        let (store, contents, vault) = loop {
            match Store::open(&path, &secret, cluster.owner(0)) {
                Ok(opened) => break opened,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
        let label = Label::new(Kind::Check, *session.first_name().as_bytes(), 2, 0);
        let record = vault.seal(&label, &check).unwrap();
        let written = store.commit(vec![Change::Seal { label, record }], contents.mark.unwrap());
        written.durable().await.unwrap();
        drop(store);
        tokio::time::sleep(Duration::from_millis(50)).await;
        // Dying again and again does not help either.
        for _ in 0..3 {
            cluster.start(0).await.unwrap();
            // It holds at once, and is told once it is on disk.
            let expected = if cheats { "stopped" } else { "active" };
            assert_eq!(cluster.pair(0, 2).status, expected);
            cluster.stop(0).await;
        }
        cluster.start(0).await.unwrap();
        cluster.engine(0).tick().await.unwrap();
        cluster.restart(0).await;
        let expected = if cheats { "poisoned" } else { "active" };
        assert_eq!(cluster.pair(0, 2).status, expected);
        let (contents, _) = cluster.steal(0);
        assert!(contents.sealed(&label).is_none(), "the check is cleared");
    }
}

#[tokio::test]
async fn a19_no_relay_can_make_honest_nodes_ban_each_other() {
    let cluster = {
        let mut cluster = Cluster::new().await;
        cluster.generate("eth", "ecdsa").await;
        cluster
    };
    let count = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&count);
    let mut held: Option<v1::Tunnel> = None;
    *cluster.relay.lock().unwrap() = Box::new(move |mut piece| {
        let number = seen.fetch_add(1, Ordering::SeqCst);
        match number % 23 {
            // Flipped, lost, said twice, in another order.
            3 => {
                let mut bytes = piece.data.to_vec();
                if let Some(byte) = bytes.last_mut() {
                    *byte ^= 1;
                }
                piece.data = bytes.into();
                vec![piece]
            }
            9 => Vec::new(),
            14 => vec![piece.clone(), piece],
            18 => {
                held = Some(piece);
                Vec::new()
            }
            19 => match held.take() {
                Some(before) => vec![piece, before],
                None => vec![piece],
            },
            _ => vec![piece],
        }
    });
    // Use up what is there, again and again.
    for round in 0..2_000 {
        if round >= 40 && count.load(Ordering::SeqCst) > 46 {
            break;
        }
        for set in [[1, 2], [1, 3], [2, 3]] {
            let call = v1::FillPool {
                signers: set.to_vec(),
                count: 4,
            };
            let leader = usize::try_from(set[0] - 1).unwrap();
            cluster.call(leader, Call::FillPool(call)).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(
        count.load(Ordering::SeqCst) > 46,
        "the relay had its chances"
    );
    *cluster.relay.lock().unwrap() = Box::new(|piece| vec![piece]);
    for node in 0..3 {
        let pairs = cluster.engine(node).status().pairs;
        assert!(
            pairs
                .iter()
                .all(|pair| pair.status == "active" && pair.strikes == 0)
        );
    }
    assert!(cluster.alarms.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a29_an_entry_is_opened_once_whatever_happens_then() {
    let (mut cluster, policy) = ready().await;
    let quorum = [0, 1];
    let entries = cluster.filled(&quorum, 2).await;
    let signed = cluster.withdrawal(0, FINNEY);
    let approval = cluster.approve_ecdsa(&signed, &policy);
    let call = cluster.open_call(&quorum, &signed, &approval, &entries[0]);
    let first = cluster.open_entry(0, &call).await.unwrap();
    let second = cluster.open_entry(1, &call).await.unwrap();
    // The same again, and another request with the same entry.
    assert_eq!(
        code(cluster.open_entry(0, &call).await),
        FailureCode::Replayed
    );
    let other = cluster.withdrawal(1, FINNEY);
    let approval_of_other = cluster.approve_ecdsa(&other, &policy);
    let other = cluster.open_call(&quorum, &other, &approval_of_other, &entries[0]);
    assert_eq!(
        code(cluster.open_entry(0, &other).await),
        FailureCode::Replayed
    );
    assert_eq!(cluster.engine(0).status().ledger_entries, 1);
    let round1 = [first, second];
    // The second round is answered once as well.
    cluster.finish_entry(1, &entries[0], &round1).await.unwrap();
    assert_eq!(
        code(cluster.finish_entry(1, &entries[0], &round1).await),
        FailureCode::Stale
    );
    // A crash between the rounds: the entry is spent, the debit stands.
    cluster.restart(0).await;
    assert_eq!(
        code(cluster.finish_entry(0, &entries[0], &round1).await),
        FailureCode::Stale
    );
    assert_eq!(
        code(cluster.open_entry(0, &call).await),
        FailureCode::Replayed
    );
    let unused = cluster.open_call(&quorum, &signed, &approval, &entries[1]);
    assert_eq!(
        code(cluster.open_entry(0, &unused).await),
        FailureCode::Stale
    );
    assert_eq!(cluster.engine(0).status().ledger_entries, 1);
}

/// Keeps the writer of a node's store waiting until it is dropped.
fn block_disk(cluster: &Cluster, node: usize) -> rusqlite::Connection {
    let store = rusqlite::Connection::open(cluster.config(node).store).unwrap();
    store.execute_batch("BEGIN IMMEDIATE").unwrap();
    store
}

#[tokio::test]
async fn a86_an_order_to_stop_that_arrives_while_an_entry_is_burned_keeps_the_opening_back() {
    let (cluster, policy) = ready().await;
    let quorum = [0, 1];
    let entries = cluster.filled(&quorum, 2).await;
    let signed = cluster.withdrawal(0, FINNEY);
    let approval = cluster.approve_ecdsa(&signed, &policy);
    // Opened in time, and asked for the second round after the order.
    let early = cluster.open_call(&quorum, &signed, &approval, &entries[0]);
    let mut round1 = Vec::new();
    for node in quorum {
        round1.push(cluster.open_entry(node, &early).await.unwrap());
    }
    let late = cluster.open_call(&quorum, &signed, &approval, &entries[1]);
    let blocked = block_disk(&cluster, 0);
    let pause = |ms| tokio::time::sleep(Duration::from_millis(ms));
    let (opened, order, ()) = tokio::join!(
        cluster.open_entry(0, &late),
        async {
            pause(100).await;
            cluster
                .call(0, Call::Order(cluster.freeze("alice", 1)))
                .await
        },
        async {
            pause(400).await;
            drop(blocked);
        }
    );
    assert!(order.is_ok());
    assert_eq!(code(opened), FailureCode::Frozen);
    assert_eq!(
        code(cluster.finish_entry(0, &entries[0], &round1).await),
        FailureCode::Frozen
    );
}

#[tokio::test]
async fn a41_signers_that_are_shown_different_requests_accuse_nobody() {
    let (cluster, policy) = ready().await;
    let quorum = [0, 1];
    let entry = cluster.filled(&quorum, 1).await.remove(0);
    let mut round1 = Vec::new();
    for node in quorum {
        let signed = cluster.withdrawal(u8::try_from(node).unwrap(), FINNEY);
        let approval = cluster.approve_ecdsa(&signed, &policy);
        let call = cluster.open_call(&quorum, &signed, &approval, &entry);
        round1.push(cluster.open_entry(node, &call).await.unwrap());
    }
    for node in quorum {
        let failure = cluster
            .finish_entry(node, &entry, &round1)
            .await
            .unwrap_err();
        assert_eq!(
            (failure.code(), failure.culprits),
            (FailureCode::Aborted, vec![])
        );
        assert!(
            cluster
                .engine(node)
                .status()
                .pairs
                .iter()
                .all(|pair| pair.status == "active")
        );
    }
}

#[tokio::test]
async fn a33_an_entry_is_spent_on_nothing_that_the_policy_has_not_approved() {
    let (cluster, policy) = ready().await;
    let quorum = [0, 1];
    let entry = cluster.filled(&quorum, 1).await.remove(0);
    let signed = cluster.withdrawal(0, FINNEY);
    let approval = cluster.approve_ecdsa(&signed, &policy);
    let good = cluster.open_call(&quorum, &signed, &approval, &entry);
    let large = cluster.withdrawal(1, 25 * FINNEY);
    let approval_of_large = cluster.approve_ecdsa(&large, &policy);
    let with = |change: &dyn Fn(&mut v1::EcdsaOpen)| {
        let mut call = good.clone();
        change(&mut call);
        call
    };
    let cases = [
        (with(&|call| call.approvals.clear()), FailureCode::NotYet),
        (with(&|call| call.task = 1), FailureCode::Malformed),
        (
            with(&|call| (call.epoch, call.sharing) = (1, None)),
            FailureCode::NeedCertificate,
        ),
        (
            with(&|call| call.signers = vec![1, 3]),
            FailureCode::Malformed,
        ),
        (
            with(&|call| call.signers = vec![2, 1]),
            FailureCode::Malformed,
        ),
        (
            with(&|call| call.signers = vec![2, 3]),
            FailureCode::Malformed,
        ),
        (
            with(&|call| call.signers = vec![1, 2, 3]),
            FailureCode::Malformed,
        ),
        (
            with(&|call| call.signers = vec![1, 99]),
            FailureCode::Malformed,
        ),
        (
            with(&|call| call.entry = vec![0; 32].into()),
            FailureCode::Stale,
        ),
        (
            with(&|call| call.entry = vec![0; 31].into()),
            FailureCode::Malformed,
        ),
        // Above this node's part of the limit.
        (
            cluster.open_call(&quorum, &large, &approval_of_large, &entry),
            FailureCode::Limit,
        ),
    ];
    for (call, expected) in cases {
        assert_eq!(
            code(cluster.open_entry(0, &call).await),
            expected,
            "{call:?}"
        );
    }
    assert_eq!(cluster.engine(0).status().ledger_entries, 0);
    // Stopped between the rounds: no second half.
    let first = cluster.open_entry(0, &good).await.unwrap();
    let second = cluster.open_entry(1, &good).await.unwrap();
    cluster
        .call(0, Call::Order(cluster.freeze("alice", 8)))
        .await
        .unwrap();
    let round1 = [first, second];
    assert_eq!(
        code(cluster.finish_entry(0, &entry, &round1).await),
        FailureCode::Frozen
    );
    cluster.finish_entry(1, &entry, &round1).await.unwrap();
}

#[tokio::test]
async fn a30_an_old_backup_leads_to_new_setups_and_not_to_a_ban() {
    let mut cluster = Cluster::new().await;
    let backup = cluster.dir.path().join("old.db");
    cluster.backup(0, &backup);
    cluster.generate("eth", "ecdsa").await;
    cluster.restore(0, &backup).await;
    assert!(cluster.engine(0).status().pairs.is_empty());
    // The nodes find out that they hold different things; nobody is accused.
    for node in 0..3 {
        cluster.ask_key(node, "next").await.unwrap();
    }
    cluster
        .until(|| {
            let needs = |node: usize| cluster.pair(node, 1).status == "rekeying";
            (needs(1) && needs(2)).then_some(())
        })
        .await;
    assert_eq!(cluster.pair(1, 3).status, "active");
    cluster
        .until(|| {
            let aborted = cluster.progress.lock().unwrap();
            let stages = aborted
                .iter()
                .filter(|(_, update)| update.stage == "aborted");
            (stages.count() == 3).then_some(())
        })
        .await;
    cluster.generate("later", "ecdsa").await;
    for (node, peer, generation) in [(0, 2, 2), (0, 3, 2), (1, 1, 2), (1, 3, 1), (2, 1, 2)] {
        let pair = cluster.pair(node, peer);
        assert_eq!(
            (pair.status.as_str(), pair.generation),
            ("active", generation)
        );
        assert_eq!(pair.strikes, 0);
    }
    cluster.filled(&[0, 1], 1).await;
    cluster.filled(&[1, 2], 1).await;
}
