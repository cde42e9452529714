//! SIGKILL at every durable step: a tracer kills the process when it enters its n-th write to a file or its n-th sync, for every n
//! until the run gets through.

use std::{
    collections::BTreeMap,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use cli::local::LocalCluster;
use client::Client;

use crate::crashes::{EVERYBODY, Seen, Victim, active_on, record};
use crate::world::{PATIENCE, World, bare_with};

/// More steps than any process has in one run.
const MOST_STEPS: usize = 80;
/// Longer than either test takes on a slow machine: none may hang.
const MOST_TIME: Duration = Duration::from_secs(600);

/// Whether processes can be traced here; says why not.
fn can_trace() -> bool {
    let works = Command::new("strace")
        .args(["-qq", "-e", "trace=none", "true"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !works {
        eprintln!(
            "skipped: killing a process at each of its writes needs `strace` and the right to trace"
        );
    }
    works
}

/// Kills `process` when it enters its `step`-th positioned write or sync from now on.
struct Tracer(Child);

impl Tracer {
    fn attach(process: u32, step: usize) -> Self {
        let calls = "pwrite64,fsync,fdatasync";
        let mut child = Command::new("strace")
            .args([
                "-f",
                "-p",
                &process.to_string(),
                "-e",
                &format!("trace={calls}"),
            ])
            .args(["-e", &format!("inject={calls}:signal=SIGKILL:when={step}")])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace runs");
        // It says `attached` when it watches; waiting for the first byte of that is enough. What it says afterwards is read away,
        // so that it never waits for a reader.
        let mut said = child.stderr.take().expect("a pipe");
        let (attached, wait) = mpsc::channel();
        std::thread::spawn(move || {
            let mut first = [0];
            let _gone = attached.send(std::io::Read::read_exact(&mut said, &mut first).is_ok());
            std::io::copy(&mut said, &mut std::io::sink())
        });
        let works = wait.recv_timeout(Duration::from_secs(30));
        assert_eq!(works, Ok(true), "strace attaches");
        std::thread::sleep(Duration::from_millis(20));
        Self(child)
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // On SIGTERM it detaches and ends; it has ended already if it has killed. It may also be waiting for a thread of a process that
        // is dead already: then SIGKILL, with which the kernel detaches.
        let _asked = Command::new("kill")
            .args(["-TERM", &self.0.id().to_string()])
            .stderr(Stdio::null())
            .status();
        let until = Instant::now() + Duration::from_secs(2);
        while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _killed = self.0.kill();
        let _reaped = self.0.wait();
        // What it was about to kill is dead by then.
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until a key is active everywhere or nowhere, and stays so.
async fn settled(client: &Client, name: &str, what: &str, told_active: bool) -> usize {
    let until = Instant::now() + Duration::from_secs(15);
    loop {
        // A coordinator that has just come back does not know yet what the nodes have.
        let info = client.cluster_info().await.expect("the cluster");
        let known = info.nodes.iter().all(|node| node.status.is_some());
        let active = active_on(client, name).await;
        if known && (active.len() == 3 || (active.is_empty() && !told_active)) {
            // Longer than a heartbeat: what a node says of itself is as old as that.
            tokio::time::sleep(Duration::from_millis(600)).await;
            if active_on(client, name).await == active {
                return active.len();
            }
        }
        assert!(Instant::now() < until, "{what}: active on {active:?} only");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Starts the victim again if it is dead; says whether it was.
fn revive(victim: Victim, cluster: &mut LocalCluster) -> bool {
    let dead = cluster.check().is_err();
    if dead {
        victim.bury(cluster);
        victim.start(cluster);
    }
    dead
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_generation_killed_at_any_write_is_active_everywhere_or_nowhere() {
    if can_trace() {
        let end = tokio::time::timeout(MOST_TIME, key_generations());
        end.await.expect("it ends");
    }
}

async fn key_generations() {
    let (mut cluster, _dir) =
        bare_with("[links]\ndkg_timeout = \"5s\"\nheartbeat = \"250ms\"\n").await;
    let mut outcomes = BTreeMap::new();
    for victim in [Victim::Node(1), Victim::Node(3), Victim::Coordinator] {
        for step in 1..=MOST_STEPS {
            let what = format!("{victim:?} at write {step}");
            let name = format!("key-{}", outcomes.len());
            let client = cluster.client("operator").await.expect("an operator");
            let tracer = Tracer::attach(victim.process(&cluster), step);
            let creation = tokio::spawn({
                let name = name.clone();
                async move { client.create_key(&name, "ed25519", 2, |_| ()).await.is_ok() }
            });
            // It comes back at once, while the others still wait for it.
            let mut killed = false;
            let until = Instant::now() + PATIENCE;
            while !creation.is_finished() {
                assert!(
                    Instant::now() < until,
                    "{what}: the caller is never answered"
                );
                killed |= revive(victim, &mut cluster);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let told_active = creation.await.expect("no panic");
            drop(tracer);
            killed |= revive(victim, &mut cluster);
            cluster.connected(3).await.expect("all are back");
            let client = cluster.client("operator").await.expect("an operator");
            let active = settled(&client, &name, &what, told_active).await;
            assert!(
                !told_active || active == 3,
                "{what}: what was reported active is active"
            );
            outcomes.insert(name, (what, killed, active));
            if !killed {
                break;
            }
        }
    }
    let count = |nodes| {
        outcomes
            .values()
            .filter(|(_, killed, n)| *killed && *n == nodes)
            .count()
    };
    assert!(
        count(0) > 0 && count(3) > 0,
        "both ends were seen: {outcomes:?}"
    );
    eprintln!(
        "{} kills while keys were made: {} left no key, {} a whole one",
        count(0) + count(3),
        count(0),
        count(3)
    );
    cluster.create_key("after").await.expect("a key");
}

#[tokio::test(flavor = "multi_thread")]
async fn a96_a_signature_killed_at_any_write_is_answered_once_and_reuses_no_nonce() {
    if can_trace() {
        let end = tokio::time::timeout(MOST_TIME, signatures());
        end.await.expect("it ends");
    }
}

async fn signatures() {
    let mut world = World::new(1_000_000_000, 1_000_000_000).await;
    let mut seen = Seen::new();
    let (mut kills, mut payments) = (0_usize, 0_usize);
    for victim in [Victim::Node(1), Victim::Node(2), Victim::Coordinator] {
        for step in 1..=MOST_STEPS {
            let what = format!("{victim:?} at write {step}");
            let prepared = world.order(&format!("{victim:?}-{step}"), 1000).await;
            let client = world.client.clone();
            let tracer = Tracer::attach(victim.process(&world.cluster), step);
            // Whether or not this is answered, the same bytes are the same request.
            let _answer = client.submit(&prepared).await;
            let _end = client.wait(prepared.id(), Duration::from_secs(2)).await;
            drop(tracer);
            let killed = revive(victim, &mut world.cluster);
            kills += usize::from(killed);
            world.cluster.connected(3).await.expect("all are back");
            world.client = world.cluster.client("client").await.expect("a client");
            let welcome = world.client.submit(&prepared).await;
            assert!(
                welcome.is_ok(),
                "{what}: the same bytes, again: {welcome:?}"
            );
            let end = world.client.wait(prepared.id(), PATIENCE).await;
            assert!(end.is_ok(), "{what}: {end:?}");
            let end = end.expect("it was looked at");
            world.assert_signed(&end);
            record(&mut seen, &end);
            payments += 1;
            let again = world
                .client
                .fetch(prepared.id())
                .await
                .expect("still there");
            assert_eq!(
                again.signed_tx(),
                end.signed_tx(),
                "{what}: the same answer for ever"
            );
            if !killed {
                break;
            }
        }
    }
    assert!(kills > 6, "only {kills} kills");
    assert_eq!(seen.len(), payments, "a nonce for every payment");
    eprintln!("{kills} kills in {payments} payments");
    for victim in EVERYBODY {
        victim.crash(&mut world.cluster);
    }
    world
        .cluster
        .start()
        .await
        .expect("everything starts again");
}
