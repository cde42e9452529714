//! SIGKILL at awkward moments: no key half made, no nonce used twice, no answer that changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use cli::{
    demo::rogue::{Reaction, Rogue},
    local::LocalCluster,
};
use client::{Client, Released, State};
use proto::v1::FailureCode;
use tokio::sync::mpsc;

use crate::world::{PATIENCE, World, bare_with};

/// Who dies.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Victim {
    Coordinator,
    Node(u16),
}

pub(crate) const EVERYBODY: [Victim; 4] = [
    Victim::Coordinator,
    Victim::Node(1),
    Victim::Node(2),
    Victim::Node(3),
];

impl Victim {
    pub(crate) fn crash(self, cluster: &mut LocalCluster) {
        match self {
            Self::Coordinator => cluster.crash_coordinator(),
            Self::Node(index) => cluster.crash_node(index),
        }
        .expect("it ran");
    }

    /// Forgets a process that was killed by somebody else.
    pub(crate) fn bury(self, cluster: &mut LocalCluster) {
        self.crash(cluster);
    }

    /// Its process id.
    pub(crate) fn process(self, cluster: &LocalCluster) -> u32 {
        match self {
            Self::Coordinator => cluster.coordinator_process(),
            Self::Node(index) => cluster.node_process(index),
        }
        .expect("it runs")
    }

    pub(crate) fn start(self, cluster: &mut LocalCluster) {
        match self {
            Self::Coordinator => cluster.start_coordinator(),
            Self::Node(index) => cluster.start_node(index),
        }
        .expect("it starts again");
    }
}

/// What each node says about a key, by name: the state on the nodes that have it active.
pub(crate) async fn active_on(client: &Client, name: &str) -> BTreeSet<u32> {
    let info = client.cluster_info().await.expect("the cluster");
    info.nodes
        .iter()
        .filter(|node| {
            node.status
                .iter()
                .flat_map(|status| &status.keys)
                .any(|key| key.name == name && key.state == "active")
        })
        .map(|node| node.index)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_active_everywhere_or_nowhere() {
    let (mut cluster, _dir) =
        bare_with("[links]\ndkg_timeout = \"5s\"\nheartbeat = \"250ms\"\n").await;
    let mut outcomes = BTreeMap::new();
    let stages = ["round1", "round2", "round3", "active"];
    for victim in [Victim::Node(2), Victim::Coordinator] {
        for stage in stages {
            let name = format!("{stage}-{}", outcomes.len());
            let client = cluster.client("operator").await.expect("an operator");
            let (told, mut heard) = mpsc::unbounded_channel();
            let creation = tokio::spawn({
                let name = name.clone();
                async move {
                    let tell = |progress: &proto::v1::DkgProgress| {
                        let _gone = told.send(progress.stage.clone());
                    };
                    client.create_key(&name, "ed25519", 2, tell).await
                }
            });
            let mut seen = Vec::new();
            while let Some(now) = heard.recv().await {
                seen.push(now.clone());
                if now == stage {
                    break;
                }
            }
            victim.crash(&mut cluster);
            let told_active = tokio::time::timeout(PATIENCE, creation)
                .await
                .unwrap_or_else(|_| panic!("{victim:?} at {stage}: the caller is never answered"))
                .expect("no panic")
                .is_ok();
            victim.start(&mut cluster);
            cluster.connected(3).await.expect("all are back");

            // What was agreed on is completed by itself; what was not is dropped.
            let client = cluster.client("operator").await.expect("an operator");
            let until = Instant::now() + Duration::from_secs(15);
            let active = loop {
                let active = active_on(&client, &name).await;
                // What a node says of itself is as old as its last heartbeat, so a key that was reported is waited for.
                if active.len() == 3 || (active.is_empty() && !told_active) {
                    // Still so a moment later, so that this is no snapshot of a change under way.
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    if active_on(&client, &name).await == active {
                        break active;
                    }
                }
                assert!(
                    Instant::now() < until,
                    "{victim:?} at {stage} (saw {seen:?}): active on {active:?} only"
                );
                tokio::time::sleep(Duration::from_millis(200)).await;
            };
            assert!(
                !told_active || active.len() == 3,
                "{victim:?} at {stage}: what was reported active is active"
            );
            outcomes.insert(name, active.len());
        }
    }
    let count = |nodes| outcomes.values().filter(|n| **n == nodes).count();
    assert!(
        count(0) > 0 && count(3) > 0,
        "both ends were seen: {outcomes:?}"
    );
    // The cluster makes keys as before.
    cluster.create_key("after").await.expect("a key");
}

/// The nonce point of a signature, and what it signed.
pub(crate) type Seen = BTreeMap<[u8; 32], Vec<u8>>;

/// No two different signatures may share their nonce point: whoever sees both has the key.
pub(crate) fn record(seen: &mut Seen, end: &Released) {
    let mut nonce = [0; 32];
    nonce.copy_from_slice(&end.signature()[..32]);
    let signed = end.signed_tx().to_vec();
    let before = seen.insert(nonce, signed.clone());
    assert!(
        before.is_none_or(|before| before == signed),
        "one nonce, two signatures"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a96_a_crash_while_signing_changes_no_answer_and_reuses_no_nonce() {
    let mut world = World::new(1_000_000_000, 1_000_000_000).await;
    let mut seen = Seen::new();
    let victims = [
        Victim::Node(1),
        Victim::Coordinator,
        Victim::Node(2),
        Victim::Node(3),
    ];
    for (round, delay_ms) in [0, 1, 2, 4, 7, 12, 20, 40].into_iter().enumerate() {
        let victim = victims[round % victims.len()];
        let prepared = world.order(&format!("crash-{round}"), 1000).await;
        let client = world.client.clone();
        let sent = tokio::spawn({
            let prepared = prepared.clone();
            async move { client.submit(&prepared).await }
        });
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        victim.crash(&mut world.cluster);
        victim.start(&mut world.cluster);
        // Whether or not this attempt was answered, the same bytes are the same request.
        let _answered_or_not = sent.await.expect("no panic");
        world.cluster.connected(3).await.expect("all are back");
        world
            .client
            .submit(&prepared)
            .await
            .expect("the same bytes are welcome again");
        let end = world.client.wait(prepared.id(), PATIENCE).await;
        let end = end.unwrap_or_else(|e| panic!("{victim:?} after {delay_ms} ms: {e}"));
        world.assert_signed(&end);
        record(&mut seen, &end);
        let again = world
            .client
            .fetch(prepared.id())
            .await
            .expect("still there");
        assert_eq!(
            again.signed_tx(),
            end.signed_tx(),
            "the same answer for ever"
        );
    }

    // Everything dies at once; nothing that was answered changes.
    let before = world
        .client
        .list("released", "", 100)
        .await
        .expect("the list");
    assert_eq!(before.len(), 8);
    for victim in EVERYBODY {
        victim.crash(&mut world.cluster);
    }
    world
        .cluster
        .start()
        .await
        .expect("everything starts again");
    for status in &before {
        let end = world.client.fetch(status.id).await.expect("still there");
        record(&mut seen, &end);
    }
    assert_eq!(seen.len(), 8, "eight payments, eight nonces");
}

#[tokio::test(flavor = "multi_thread")]
async fn a88_what_was_spent_is_not_forgotten() {
    const DAILY: u64 = 3_000_000;
    let mut world = World::new(DAILY, DAILY).await;
    // Two thirds of the limit are what one node lets through by itself; 0.6 of it fits once.
    let most = world.order("most-of-it", DAILY / 10 * 6).await;
    world.client.submit(&most).await.expect("accepted");
    let end = world
        .client
        .wait(most.id(), PATIENCE)
        .await
        .expect("released");
    let signers = end.status().signers.clone();
    for victim in EVERYBODY {
        victim.crash(&mut world.cluster);
    }
    world
        .cluster
        .start()
        .await
        .expect("everything starts again");
    let more = world.order("more", DAILY / 10 * 6).await;
    let status = world.client.submit(&more).await.expect("an answer");
    assert_eq!(
        status.state,
        State::Denied,
        "the coordinator remembers: {}",
        status.why()
    );

    // A coordinator that lost its memory, or never had one: the nodes that signed have theirs.
    let little = world.order("little", DAILY / 100).await;
    for victim in EVERYBODY {
        victim.crash(&mut world.cluster);
    }
    for index in world.cluster.indexes() {
        world.cluster.start_node(index).expect("it starts again");
    }
    let address = world
        .cluster
        .made()
        .cluster
        .coordinator
        .addr
        .parse()
        .expect("an address");
    let id = &world.cluster.made().cluster.cluster_id;
    let rogue = Rogue::start(world.cluster.layout(), id, address)
        .await
        .expect("the port");
    rogue
        .connected(&signers, PATIENCE)
        .await
        .expect("the nodes dial it");
    let mut answers = Vec::new();
    for prepared in [&more, &little] {
        let (receipts, _) = rogue
            .announce(&signers, prepared.as_bytes())
            .await
            .expect("answers");
        let key = (&world.key.id, 0);
        answers.push(
            rogue
                .sign(&signers, key, prepared.as_bytes(), &[], &receipts)
                .await
                .expect("answers"),
        );
    }
    for reaction in answers[0].values() {
        assert!(
            matches!(reaction, Reaction::Refused(failure) if failure.code() == FailureCode::Limit),
            "the nodes remember: {reaction:?}"
        );
    }
    assert!(
        answers[1].values().all(|reaction| !reaction.is_refusal()),
        "what is left may be spent: {answers:?}"
    );
}
