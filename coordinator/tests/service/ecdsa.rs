//! ECDSA signatures over real links: real shares, real preprocessing, real rounds; only the conduct of the nodes is scripted.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use coordinator::store::Store as _;
use mpc_core::{
    ecdsa::{Opened, Payload, PoolEntry, Responded, SigningRequest},
    hd::DerivationPath,
    id::RequestId,
    testing::{Signers, rng},
    verify,
};
use policy::intent::SignedIntent;
use proto::v1::{
    self, Failure, FailureCode, NodeFrame, RequestState, coordinator_frame::Body as Call,
    node_frame::Body as Answer,
};
use tokio::sync::mpsc;

mod blame;

use super::{
    cluster::{Cluster, Running, now_ms, start_again, start_with, submission},
    node::{greet, wait_connected},
};

const QUICK: &str = "[limits]\nsubmit_wait = \"20s\"\n[signing]\nanswer_timeout = \"3s\"\nretry_first = \"50ms\"\n[links]\nheartbeat = \"100ms\"\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Script {
    Honest,
    /// Takes no part in either round.
    Silent,
    Refuses(FailureCode),
    /// Opens, and then says that what this peer opened does not hold.
    Accuses(u32),
    /// Answers the second round with a share of something else, and does not explain it.
    Lies,
    /// The same, with an explanation.
    Excuses,
}

/// What the nodes do among themselves, over their own connections.
struct Peers {
    signers: Arc<Signers>,
    entries: Mutex<BTreeMap<(u16, [u8; 32]), PoolEntry>>,
    made: AtomicU64,
}

impl Peers {
    /// The names of this node's entries of a set; one is made if the set shares none.
    fn fill(&self, index: u16, set: &[u16]) -> Vec<[u8; 32]> {
        let nodes = self.signers.set(set);
        let mut entries = self.entries.lock().expect("lock");
        let held = |entries: &BTreeMap<(u16, [u8; 32]), PoolEntry>, by: u16| -> Vec<[u8; 32]> {
            let own = entries
                .iter()
                .filter(|((of, _), entry)| *of == by && *entry.signers() == nodes);
            own.map(|((_, name), _)| *name).collect()
        };
        let shared = held(&entries, index).into_iter().any(|name| {
            let mut all = set.iter();
            all.all(|of| entries.contains_key(&(*of, name)))
        });
        if !shared {
            let seed = self.made.fetch_add(1, Ordering::Relaxed);
            for (node, entry) in self.signers.preprocess(&nodes, seed) {
                let of = self
                    .signers
                    .committee
                    .roster
                    .index(&node)
                    .expect("a member");
                entries.insert((of.get(), *entry.name().as_bytes()), entry);
            }
        }
        held(&entries, index)
    }
}

struct Node {
    script: Arc<Mutex<Script>>,
    opened: Arc<AtomicUsize>,
    shown: Arc<Mutex<Vec<Vec<u8>>>>,
    say: mpsc::Sender<NodeFrame>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Actor {
    index: u16,
    boot_id: [u8; 16],
    peers: Arc<Peers>,
    script: Arc<Mutex<Script>>,
    opened: Arc<AtomicUsize>,
    states: BTreeMap<[u8; 32], Opened>,
    answered: BTreeMap<[u8; 32], Responded>,
    /// Evidence that the coordinator has shown to it.
    shown: Arc<Mutex<Vec<Vec<u8>>>>,
}

fn no(code: FailureCode, culprits: Vec<u32>) -> Answer {
    let mut failure = Failure::new(code, "scripted refusal");
    failure.culprits = culprits;
    Answer::Failure(failure)
}

impl Actor {
    fn answer(&mut self, body: Call) -> Option<Answer> {
        let script = *self.script.lock().expect("lock");
        Some(match body {
            Call::StatusQuery(_) => Answer::Status(v1::NodeStatus {
                index: self.index.into(),
                clock_ms: now_ms(),
                keys: vec![v1::KeyState {
                    state: "active".into(),
                    request_id: vec![1; 32].into(),
                    ..Default::default()
                }],
                ..Default::default()
            }),
            Call::InstallPolicy(_) => Answer::PolicyState(v1::PolicyState::default()),
            Call::FillPool(_) if script == Script::Silent => return None,
            Call::FillPool(fill) => {
                let set: Vec<u16> = fill
                    .signers
                    .iter()
                    .map(|index| u16::try_from(*index).expect("small"))
                    .collect();
                let entries = self.peers.fill(self.index, &set);
                Answer::PoolEntries(v1::PoolEntries {
                    signers: fill.signers,
                    boot_id: self.boot_id.to_vec().into(),
                    entries: entries.iter().map(|name| name.to_vec().into()).collect(),
                })
            }
            Call::EcdsaOpen(open) => {
                self.opened.fetch_add(1, Ordering::Relaxed);
                match script {
                    Script::Silent => return None,
                    Script::Refuses(code) => no(code, Vec::new()),
                    Script::Honest | Script::Accuses(_) | Script::Lies | Script::Excuses => {
                        self.open(&open)
                    }
                }
            }
            Call::EcdsaFinish(_) if script == Script::Silent => return None,
            Call::EcdsaFinish(finish) => match script {
                Script::Accuses(peer) => no(FailureCode::Aborted, vec![peer]),
                _ => self.finish(&finish, matches!(script, Script::Lies | Script::Excuses)),
            },
            Call::EcdsaExplain(_) if script == Script::Lies => no(FailureCode::Stale, Vec::new()),
            Call::EcdsaExplain(call) => self.explain(&call),
            Call::Evidence(shown) => {
                let mut all = self.shown.lock().expect("lock");
                all.push(shown.evidence.to_vec());
                return None;
            }
            _ => return None,
        })
    }

    fn open(&mut self, open: &v1::EcdsaOpen) -> Answer {
        let signers = &self.peers.signers;
        let name: [u8; 32] = open.entry.as_ref().try_into().expect("32 bytes");
        let entry = self
            .peers
            .entries
            .lock()
            .expect("lock")
            .remove(&(self.index, name));
        let Some(entry) = entry else {
            return no(FailureCode::Replayed, Vec::new());
        };
        let set: Vec<u16> = open
            .signers
            .iter()
            .map(|index| u16::try_from(*index).expect("small"))
            .collect();
        let intent = SignedIntent::decode(&open.signed_intent).expect("decodes");
        let request = SigningRequest::new(
            &signers.public,
            &signers.set(&set),
            &DerivationPath::new(Vec::new()).expect("the root"),
            &Payload::Keccak256(&intent.intent().raw_tx),
            RequestId::from_bytes(intent.digest()),
        );
        let node = signers.committee.node(self.index);
        let mut source = rng(u64::from_be_bytes(name[..8].try_into().expect("8 bytes")));
        let (state, envelope) = signers
            .open(&node, entry, &request.expect("valid"), &mut source)
            .expect("opens");
        self.states.insert(name, state);
        Answer::EcdsaRound1(v1::EcdsaRound1 {
            entry: open.entry.clone(),
            envelope: envelope.into(),
        })
    }

    fn finish(&mut self, finish: &v1::EcdsaFinish, lies: bool) -> Answer {
        let committee = &self.peers.signers.committee;
        let name: [u8; 32] = finish.entry.as_ref().try_into().expect("32 bytes");
        let state = self.states.remove(&name).expect("opened before");
        let openings: Vec<Vec<u8>> = finish.round1.iter().map(|bytes| bytes.to_vec()).collect();
        let identity = committee.identity(self.index);
        let (mut envelope, responded) = state
            .respond_accountably(&committee.roster, identity, &openings)
            .expect("responds");
        self.answered.insert(name, responded);
        if lies {
            envelope = committee.reseal(&envelope, |_, body| body[31] ^= 1);
        }
        Answer::EcdsaRound2(v1::EcdsaRound2 {
            entry: finish.entry.clone(),
            envelope: envelope.into(),
        })
    }

    /// As honest as it gets: a liar explains what it should have answered.
    fn explain(&mut self, call: &v1::EcdsaExplain) -> Answer {
        let committee = &self.peers.signers.committee;
        let name: [u8; 32] = call.entry.as_ref().try_into().expect("32 bytes");
        let responded = self.answered.remove(&name).expect("answered before");
        let plain = |list: &[prost::bytes::Bytes]| -> Vec<Vec<u8>> {
            list.iter().map(|bytes| bytes.to_vec()).collect()
        };
        let envelope = responded
            .explain_unchecked(
                &committee.roster,
                committee.identity(self.index),
                &plain(&call.round1),
                &plain(&call.round2),
                &mut rng(9),
            )
            .expect("a failed signature");
        Answer::EcdsaExplanation(v1::EcdsaExplanation {
            entry: call.entry.clone(),
            envelope: envelope.into(),
        })
    }
}

async fn connect(
    cluster: &Cluster,
    running: &Running,
    peers: &Arc<Peers>,
    scripts: [Script; 3],
) -> Vec<Node> {
    let mut nodes = Vec::new();
    for (index, script) in (1_u16..).zip(scripts) {
        let boot_id = [u8::try_from(index).expect("small"); 16];
        let identity = Arc::clone(&cluster.identities[usize::from(index) - 1]);
        let (out, mut stream) = greet(cluster, running, index, &identity, boot_id)
            .await
            .expect("greets");
        let (script, opened) = (Arc::new(Mutex::new(script)), Arc::<AtomicUsize>::default());
        let shown = Arc::default();
        let mut actor = Actor {
            index,
            boot_id,
            peers: Arc::clone(peers),
            script: Arc::clone(&script),
            opened: Arc::clone(&opened),
            states: BTreeMap::new(),
            answered: BTreeMap::new(),
            shown: Arc::clone(&shown),
        };
        let say = out.clone();
        let task = tokio::spawn(async move {
            while let Ok(Some(frame)) = stream.message().await {
                let answer = frame.body.and_then(|body| actor.answer(body));
                let Some(answer) = answer.filter(|_| frame.call_id != 0) else {
                    continue;
                };
                let answer = NodeFrame {
                    version: 1,
                    call_id: frame.call_id,
                    body: Some(answer),
                };
                if out.send(answer).await.is_err() {
                    return;
                }
            }
        });
        nodes.push(Node {
            script,
            opened,
            shown,
            say,
            task,
        });
    }
    wait_connected(cluster, running, 3).await;
    nodes
}

fn peers(cluster: &Cluster) -> Arc<Peers> {
    Arc::new(Peers {
        signers: Arc::clone(cluster.signers.as_ref().expect("an ecdsa cluster")),
        entries: Mutex::default(),
        made: AtomicU64::new(1),
    })
}

fn opened(nodes: &[Node]) -> Vec<usize> {
    nodes
        .iter()
        .map(|node| node.opened.load(Ordering::Relaxed))
        .collect()
}

/// Signs one payment; the signature is verified by a library under the key of the wallet.
async fn pay(cluster: &Cluster, running: &Running, number: u8) -> v1::RequestStatus {
    let intent = cluster.intent(number, 1_000);
    let mut client = cluster.client(running).await;
    let status = client
        .submit(submission(intent.clone()))
        .await
        .expect("answers")
        .into_inner();
    if status.state() == RequestState::Released {
        let signature = status.signatures[0].as_ref();
        assert_eq!((status.signatures.len(), signature.len()), (1, 65));
        assert_eq!(status.signature, status.signatures[0]);
        let signers = cluster.signers.as_ref().expect("an ecdsa cluster");
        let request = signers.request(
            &signers.set(&[1, 2]),
            &DerivationPath::new(Vec::new()).expect("the root"),
            &Payload::Keccak256(&intent.raw_tx),
        );
        let both = signature[..64].try_into().expect("64 bytes");
        assert!(verify::ecdsa_verify(
            &signers.public.public_key(),
            request.digest(),
            both
        ));
        assert_eq!(status.signed_tx[0], 0x02);
        assert_eq!(status.signers.len(), 2);
    }
    status
}

/// The stored alerts of a coordinator that has stopped.
async fn alerts(cluster: &Cluster) -> String {
    let events = cluster.store().events(0, 1_000).await.expect("reads");
    let alerts = events.into_iter().filter(|event| event.kind == "alert");
    alerts.map(|event| event.detail + "\n").collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_of_three_sign_for_ethereum_and_the_answer_survives_a_crash() {
    let (cluster, running) = start_with(QUICK, Cluster::ecdsa);
    cluster.install_policy(&running).await;
    let peers = peers(&cluster);
    let nodes = connect(&cluster, &running, &peers, [Script::Honest; 3]).await;
    let first = pay(&cluster, &running, 1).await;
    assert_eq!(first.state(), RequestState::Released, "{:?}", first.failure);
    let second = pay(&cluster, &running, 2).await;
    assert_eq!(
        second.state(),
        RequestState::Released,
        "{:?}",
        second.failure
    );
    for phase in ["entry", "open", "respond", "total"] {
        assert!(
            first.timings_us.contains_key(phase),
            "{phase} is not measured"
        );
    }
    let before = opened(&nodes);
    assert_eq!(
        before.iter().sum::<usize>(),
        4,
        "two openings per signature"
    );
    drop(nodes);
    tokio::task::spawn_blocking(move || running.crash())
        .await
        .expect("ends");
    let running = start_again(&cluster);
    let intent = first.signed_intent.clone();
    let mut client = cluster.client(&running).await;
    let again = client
        .submit(v1::SubmitRequest {
            signed_intent: intent,
        })
        .await
        .expect("answers")
        .into_inner();
    assert_eq!(
        (again.signatures, again.signed_tx),
        (first.signatures, first.signed_tx)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_or_refusing_signer_costs_an_entry_and_another_set_signs() {
    for script in [Script::Silent, Script::Refuses(FailureCode::Unavailable)] {
        let (cluster, running) = start_with(QUICK, Cluster::ecdsa);
        cluster.install_policy(&running).await;
        let peers = peers(&cluster);
        let nodes = connect(&cluster, &running, &peers, [Script::Honest; 3]).await;
        *nodes[0].script.lock().expect("lock") = script;
        for number in 1..=3 {
            let status = pay(&cluster, &running, number).await;
            assert_eq!(
                status.state(),
                RequestState::Released,
                "{:?}",
                status.failure
            );
            assert_eq!(status.signers, [2, 3]);
        }
        drop((nodes, running));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_accusation_parts_two_nodes_for_good_and_both_go_on_with_others() {
    let (cluster, running) = start_with(QUICK, Cluster::ecdsa);
    cluster.install_policy(&running).await;
    let peers = peers(&cluster);
    let scripts = [Script::Accuses(2), Script::Accuses(1), Script::Honest];
    let nodes = connect(&cluster, &running, &peers, scripts).await;
    // Whoever accuses may lie: with node 3 neither of them is stopped, and together they are not asked again.
    let alarm = v1::PairAlarm {
        peer: 2,
        generation: 1,
        why: "a multiplication check failed".into(),
        session: vec![7; 32].into(),
        at_ms: now_ms(),
    };
    let say = |body| NodeFrame {
        version: 1,
        call_id: 0,
        body: Some(body),
    };
    for _ in 0..40 {
        nodes[0]
            .say
            .send(say(Answer::PairAlarm(alarm.clone())))
            .await
            .expect("open");
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    for node in &nodes {
        *node.script.lock().expect("lock") = Script::Honest;
    }
    for number in 1..=6 {
        let status = pay(&cluster, &running, number).await;
        assert_eq!(
            status.state(),
            RequestState::Released,
            "{:?}",
            status.failure
        );
        assert!(
            status.signers == [1, 3] || status.signers == [2, 3],
            "{:?}",
            status.signers
        );
    }
    drop(nodes);
    running.stop().await;
    let alerts = alerts(&cluster).await;
    assert_eq!(
        alerts.matches("pair alarm").count(),
        1,
        "said often, stored once: {alerts}"
    );
    assert!(alerts.contains("a multiplication check failed"), "{alerts}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_accusation_in_the_second_round_is_followed_by_another_set() {
    let (cluster, running) = start_with(QUICK, Cluster::ecdsa);
    cluster.install_policy(&running).await;
    let peers = peers(&cluster);
    let nodes = connect(&cluster, &running, &peers, [Script::Honest; 3]).await;
    *nodes[0].script.lock().expect("lock") = Script::Accuses(2);
    let mut released = 0;
    for number in 1..=3 {
        let status = pay(&cluster, &running, number).await;
        if status.signers.contains(&1) {
            assert_ne!(
                status.signers,
                [1, 2],
                "the disputed pair is never asked again"
            );
        }
        released += usize::from(status.state() == RequestState::Released);
    }
    assert_eq!(released, 3);
    let total: usize = opened(&nodes).iter().sum();
    assert!(total <= 12, "one dispute costs one entry: {total} openings");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signature_that_does_not_verify_is_an_alert_and_never_leaves() {
    let (cluster, running) = start_with(QUICK, Cluster::ecdsa);
    cluster.install_policy(&running).await;
    let peers = peers(&cluster);
    let nodes = connect(
        &cluster,
        &running,
        &peers,
        [Script::Lies, Script::Honest, Script::Honest],
    )
    .await;
    for number in 1..=8 {
        let status = pay(&cluster, &running, number).await;
        assert_eq!(
            status.state(),
            RequestState::Released,
            "{:?}",
            status.failure
        );
        assert_eq!(status.signers, [2, 3]);
    }
    // Three failures of a set stop it, so the liar is soon asked no more.
    let before = nodes[0].opened.load(Ordering::Relaxed);
    assert!(before <= 6, "{before}");
    drop(nodes);
    running.stop().await;
    let alerts = alerts(&cluster).await;
    assert_eq!(
        alerts.matches("signature does not verify").count(),
        before,
        "{alerts}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_a_request_waits_and_is_signed_when_there_is_one() {
    let options = QUICK.replace("20s", "1s");
    let (cluster, running) = start_with(&options, Cluster::ecdsa);
    cluster.install_policy(&running).await;
    let peers = peers(&cluster);
    let refuses = Script::Refuses(FailureCode::Unavailable);
    let nodes = connect(
        &cluster,
        &running,
        &peers,
        [Script::Honest, refuses, refuses],
    )
    .await;
    let status = pay(&cluster, &running, 1).await;
    assert_eq!(
        status.state(),
        RequestState::Signing,
        "{:?}",
        status.failure
    );
    for node in &nodes {
        *node.script.lock().expect("lock") = Script::Honest;
    }
    let mut client = cluster.client(&running).await;
    let mut last = status.clone();
    for _ in 0..200 {
        let query = v1::RequestQuery {
            request_id: status.request_id.clone(),
        };
        let now = client
            .get_request(query)
            .await
            .expect("answers")
            .into_inner();
        if now.state() == RequestState::Released {
            return;
        }
        last = now;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it was not signed: {last:?}");
}
