//! Crashes at every durable step of a reshare, at every node, just before the write and just after it; full disks.

use super::*;

/// What a node writes in the course of a reshare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Replay,
    Prepared,
    Active,
}

const STEPS: [Step; 3] = [Step::Replay, Step::Prepared, Step::Active];

impl Step {
    fn table(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Prepared | Self::Active => "sharings",
        }
    }

    /// The first byte of the rows of this step.
    fn filter(self) -> &'static str {
        match self {
            Self::Replay => "1",
            Self::Prepared => "substr(body, 1, 1) = x'02'",
            Self::Active => "substr(body, 1, 1) = x'03'",
        }
    }
}

impl Cluster {
    pub(super) fn database(&self, node: usize) -> rusqlite::Connection {
        let database = rusqlite::Connection::open(self.config(node).store).unwrap();
        database.busy_timeout(Duration::from_secs(5)).unwrap();
        database
    }

    /// Lets every write of a step fail at a node: what follows is as if it had died before.
    pub(super) fn forbid(&self, node: usize, step: &str, filter: &str) {
        let filter = filter.replace("body", "NEW.body");
        let sql = format!(
            "CREATE TRIGGER forbidden BEFORE INSERT ON {step} WHEN {filter} BEGIN SELECT RAISE(ABORT, 'no'); END"
        );
        self.database(node).execute_batch(&sql).unwrap();
    }

    pub(super) fn allow(&self, node: usize) {
        self.database(node)
            .execute_batch("DROP TRIGGER forbidden")
            .unwrap();
    }

    fn rows(&self, node: usize, step: Step) -> i64 {
        let sql = format!(
            "SELECT count(*) FROM {} WHERE {}",
            step.table(),
            step.filter()
        );
        self.database(node)
            .query_row(&sql, [], |row| row.get(0))
            .unwrap()
    }

    /// What a coordinator does after the crash, from nothing but what the nodes say: a certificate goes round, or one is made of the
    /// parts, or the attempt is given up and another one follows. Returns whether the attempt came to something.
    async fn recover(&mut self, wish: &Wish, policy: &str) -> bool {
        let epoch = self.keys["hot"].epoch().0 + 1;
        let wanted = (epoch, wish.attempt);
        let nodes = [0, 1, 2];
        // What is still under way is stopped first: then the nodes say what will stay.
        for node in nodes {
            let stop = v1::StopReshare {
                key_id: self.key_id("hot").to_vec().into(),
                epoch,
                attempt: wish.attempt,
            };
            self.call(node, Call::StopReshare(stop)).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        if let Some(ahead) = nodes
            .into_iter()
            .find(|node| self.place(*node, "hot") == wanted)
        {
            let chain = self.chain(ahead, "hot").await;
            for node in nodes {
                let certificate = chain.certificates.last().unwrap();
                self.activate(node, "hot", certificate).await.unwrap();
            }
        } else {
            let parts: Vec<_> = nodes
                .iter()
                .filter_map(|node| {
                    let prepared = self.key_state(*node, "hot").prepared;
                    prepared.last().map(|prepared| prepared.part.clone())
                })
                .collect();
            if parts.len() < nodes.len() {
                // Nothing is lost: the old sharing signs, whatever is prepared.
                self.every_quorum_signs(policy, &nodes, 2).await;
                return false;
            }
            for node in nodes {
                let call = v1::Activate {
                    key_id: self.key_id("hot").to_vec().into(),
                    epoch,
                    attempt: wish.attempt,
                    parts: parts.clone(),
                    ..v1::Activate::default()
                };
                self.call(node, Call::Activate(call)).await.unwrap();
            }
        }
        for node in nodes {
            assert_eq!(self.place(node, "hot"), wanted);
        }
        self.follow(0, "hot").await;
        true
    }
}

/// One crash: node, step, before or after the write.
async fn crash(cluster: &mut Cluster, victim: usize, step: Step, before: bool) {
    let policy = cluster.document(&[WALLET_RULES]);
    let name = format!("node {victim}, {step:?}, before: {before}");
    let wish = Wish::refresh(&[0, 1, 2]);
    let rows = cluster.rows(victim, step);
    if before {
        cluster.forbid(victim, step.table(), step.filter());
    }
    let (call, _) = cluster.draft("hot", &wish);
    for node in [0, 1, 2] {
        let begun = cluster.begin(node, &call).await;
        assert_eq!(
            begun.is_err(),
            before && step == Step::Replay && node == victim,
            "{name}"
        );
    }
    if before {
        // Long enough for the others to get as far as they can.
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!(cluster.rows(victim, step), rows, "{name}");
    } else {
        while cluster.rows(victim, step) == rows {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    cluster.stop(victim).await;
    if before {
        cluster.allow(victim);
    }
    cluster.start(victim).await.unwrap();
    let done = cluster.recover(&wish, &policy).await;
    if !done {
        // A stuck attempt is passed by the next one.
        let next = Wish {
            attempt: 2,
            ..wish.clone()
        };
        cluster.reshare("hot", &next).await;
    } else if before {
        assert_eq!(step, Step::Active, "{name}");
    }
    cluster.every_quorum_signs(&policy, &[0, 1, 2], 2).await;
    for node in [0, 1, 2] {
        let state = cluster.key_state(node, "hot");
        assert!(state.prepared.is_empty(), "{name}: {:?}", state.prepared);
        let (contents, _) = cluster.steal(node);
        let epoch = cluster.keys["hot"].epoch().0;
        for attempt in 0..3 {
            for kind in [
                signer_node::seal::Kind::Share,
                signer_node::seal::Kind::Prepared,
            ] {
                let key = cluster.key_id("hot");
                for old in 0..epoch {
                    let label = signer_node::seal::Label::new(kind, key, old, attempt);
                    assert!(contents.sealed(&label).is_none(), "{name}: {label}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a68_a_crash_at_any_durable_step_of_any_node_loses_no_share() {
    let (mut cluster, _) = ready(3).await;
    for victim in 0..3 {
        for step in STEPS {
            for before in [true, false] {
                crash(&mut cluster, victim, step, before).await;
            }
        }
    }
    let end = cluster.keys["hot"].epoch().0;
    assert_eq!(end, 18, "every crash was followed by a new sharing");
}

#[tokio::test]
async fn a68_a_full_disk_stops_a_reshare_and_leaves_the_old_shares() {
    let place = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=3m", "tmpfs"])
        .arg(place.path())
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        println!("skipped: a small file system cannot be mounted here (needs root)");
        return;
    }
    let dir = tempfile::tempdir_in(place.path()).unwrap();
    let mut cluster = Cluster::ready_in(dir).await;
    let policy = cluster.document(&[WALLET_RULES]);
    let ballast = place.path().join("ballast");
    let mut file = std::fs::File::create(&ballast).unwrap();
    for size in [64 << 10, 4 << 10, 1] {
        while std::io::Write::write_all(&mut file, &vec![0; size]).is_ok() {}
    }
    // Whatever still fits into the write-ahead log is used up by attempts that come to nothing, at one node or another.
    let mut failed = false;
    for attempt in 1..40 {
        let wish = Wish {
            attempt,
            ..Wish::refresh(&[0, 1, 2])
        };
        let (call, request) = cluster.draft("hot", &wish);
        let mut begun = Vec::new();
        for node in 0..3 {
            begun.push(cluster.begin(node, &call).await);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        if let Some(Err(failure)) = begun.iter().find(|begun| begun.is_err()) {
            assert_eq!(failure.code(), FailureCode::Unavailable);
            failed = true;
            break;
        }
        for node in 0..3 {
            let stop = v1::StopReshare {
                key_id: cluster.key_id("hot").to_vec().into(),
                epoch: request.epoch().0,
                attempt,
            };
            cluster.call(node, Call::StopReshare(stop)).await.unwrap();
        }
        let places: BTreeSet<_> = (0..3).map(|node| cluster.place(node, "hot")).collect();
        if places == BTreeSet::from([(request.epoch().0, attempt)]) {
            cluster.follow(0, "hot").await;
        } else if places.len() > 1
            || cluster.place(0, "hot")
                != (
                    cluster.keys["hot"].epoch().0,
                    cluster.keys["hot"].attempt().0,
                )
        {
            failed = true;
            break;
        }
    }
    assert!(failed, "the disk never fills");
    drop(file);
    std::fs::remove_file(&ballast).unwrap();
    // With room again every node comes to the highest certified sharing, and signs.
    for node in 0..3 {
        cluster.restart(node).await;
    }
    let highest = (0..3)
        .max_by_key(|node| cluster.place(*node, "hot"))
        .unwrap();
    let chain = cluster.chain(highest, "hot").await;
    for node in 0..3 {
        for certificate in &chain.certificates {
            cluster.activate(node, "hot", certificate).await.unwrap();
        }
    }
    cluster.follow(highest, "hot").await;
    for node in 0..3 {
        assert_eq!(cluster.key_state(node, "hot").state, "active", "{node}");
    }
    cluster.every_quorum_signs(&policy, &[0, 1, 2], 2).await;
    drop(cluster);
    std::process::Command::new("umount")
        .arg("-l")
        .arg(place.path())
        .status()
        .unwrap();
}
