//! A node that follows a script. Its cryptography is real; what it does with it is up to the test.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use mpc_core::{
    frost::{self, Package, Pool, SignatureShare, SigningRequest, Tweak, wire},
    id::{Attempt, Purpose, RequestId},
    identity::IdentityKey,
    keys::{KeyShare, PublicKeyPackage},
    roster::{Member, Roster},
};
use policy::intent::SignedIntent;
use proto::{
    channel::identity::Role,
    link::{Receipt, hello_digest},
    v1::{
        self, CoordinatorFrame, Failure, FailureCode, NodeFrame, coordinator_frame, node_frame,
        node_link_client::NodeLinkClient,
    },
};
use rand_core::UnwrapErr;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::cluster::{Cluster, Running, now_ms};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Script {
    Honest,
    /// Sends shares that are wrong.
    Lies,
    /// Says no to every signature.
    Refuses(FailureCode),
    /// Takes questions and answers nothing but heartbeats and announcements.
    Silent,
}

/// What a node does in key generations.
#[derive(Clone, Debug)]
pub(crate) struct Generation {
    /// Its part of the certificate, if it gives it away at once.
    pub(crate) part: Vec<u8>,
    pub(crate) gives_part: bool,
    pub(crate) aborts: bool,
    /// The encoded package and the key, once it has the whole certificate.
    pub(crate) package: Vec<u8>,
    /// The generation it takes part in.
    pub(crate) request_id: Option<Vec<u8>>,
    /// Everybody who takes part in it.
    pub(crate) nodes: Vec<u32>,
    pub(crate) active: bool,
}

/// A connected scripted node.
pub(crate) struct Node {
    script: Arc<Mutex<Script>>,
    /// How often it was asked for a share.
    pub(crate) asked: Arc<AtomicUsize>,
    /// How many intents were announced to it.
    pub(crate) announced: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

struct Actor {
    index: u16,
    identity: Arc<IdentityKey>,
    share: Arc<KeyShare>,
    roster: Roster,
    boot_id: [u8; 16],
    generation: Arc<Mutex<Option<Generation>>>,
    pool: Pool,
    script: Arc<Mutex<Script>>,
    asked: Arc<AtomicUsize>,
    announced: Arc<AtomicUsize>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn roster(cluster: &Cluster) -> Roster {
    let members = cluster
        .shares
        .iter()
        .zip(&cluster.identities)
        .map(|(share, identity)| Member {
            index: share.index(),
            identity: identity.public(),
            exchange: mpc_core::identity::ExchangeKey::generate(&mut UnwrapErr(getrandom::SysRng))
                .public(),
        });
    Roster::new(members).expect("valid")
}

/// Greets as node `index`, signing with `identity`; the stream is what the coordinator sends after that.
pub(crate) async fn greet(
    cluster: &Cluster,
    running: &Running,
    index: u16,
    identity: &IdentityKey,
    boot_id: [u8; 16],
) -> Result<(mpsc::Sender<NodeFrame>, Streaming<CoordinatorFrame>), tonic::Status> {
    let mut client = NodeLinkClient::new(cluster.channel(Role::Node(index), running).await);
    let (out, outgoing) = mpsc::channel(256);
    let node = cluster.identities[usize::from(index) - 1]
        .public()
        .node_id();
    let frame = |body| NodeFrame {
        version: 1,
        call_id: 0,
        body: Some(body),
    };
    let hello = v1::Hello {
        cluster_id: "c-test".into(),
        node_id: node.as_bytes().to_vec().into(),
        index: index.into(),
        boot_id: boot_id.to_vec().into(),
        software: "test".into(),
    };
    out.send(frame(node_frame::Body::Hello(hello)))
        .await
        .expect("open");
    let mut stream = client
        .link(ReceiverStream::new(outgoing))
        .await?
        .into_inner();
    let first = stream.message().await?.expect("a challenge");
    let Some(coordinator_frame::Body::Challenge(challenge)) = first.body else {
        panic!("no challenge: {first:?}")
    };
    let nonce = challenge.nonce.as_ref().try_into().expect("32 bytes");
    let signature = identity.sign(&hello_digest("c-test", node.as_bytes(), &boot_id, &nonce));
    let proof = v1::HelloProof {
        signature: signature.to_vec().into(),
    };
    out.send(frame(node_frame::Body::HelloProof(proof)))
        .await
        .expect("open");
    Ok((out, stream))
}

impl Node {
    pub(crate) async fn connect(
        cluster: &Cluster,
        running: &Running,
        index: u16,
        script: Script,
    ) -> Self {
        Self::connect_with(cluster, running, index, script, Arc::default()).await
    }

    pub(crate) async fn connect_with(
        cluster: &Cluster,
        running: &Running,
        index: u16,
        script: Script,
        generation: Arc<Mutex<Option<Generation>>>,
    ) -> Self {
        let position = usize::from(index) - 1;
        let mut boot_id = [0; 16];
        getrandom::fill(&mut boot_id).expect("random");
        let identity = Arc::clone(&cluster.identities[position]);
        let (out, stream) = greet(cluster, running, index, &identity, boot_id)
            .await
            .expect("greets");
        let script = Arc::new(Mutex::new(script));
        let (asked, announced) = (Arc::default(), Arc::default());
        let actor = Actor {
            index,
            identity,
            share: Arc::clone(&cluster.shares[position]),
            roster: roster(cluster),
            boot_id,
            generation,
            pool: Pool::new(),
            script: Arc::clone(&script),
            asked: Arc::clone(&asked),
            announced: Arc::clone(&announced),
        };
        let task = tokio::spawn(actor.run(out, stream));
        Self {
            script,
            asked,
            announced,
            task,
        }
    }

    pub(crate) fn play(&self, script: Script) {
        *self.script.lock().expect("lock") = script;
    }

    pub(crate) fn times_asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// Connects all three, and waits until the coordinator has commitments of each.
pub(crate) async fn connect_all(
    cluster: &Cluster,
    running: &Running,
    scripts: [Script; 3],
) -> Vec<Node> {
    let mut nodes = Vec::new();
    for (index, script) in (1..).zip(scripts) {
        nodes.push(Node::connect(cluster, running, index, script).await);
    }
    wait_connected(cluster, running, 3).await;
    nodes
}

pub(crate) async fn wait_connected(cluster: &Cluster, running: &Running, count: usize) {
    let mut client = cluster.client(running).await;
    for _ in 0..100 {
        let info = client
            .get_cluster(v1::ClusterQuery {})
            .await
            .expect("answers")
            .into_inner();
        if info
            .nodes
            .iter()
            .filter(|node| node.connected && node.status.is_some())
            .count()
            == count
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{count} nodes did not connect");
}

impl Actor {
    async fn run(mut self, out: mpsc::Sender<NodeFrame>, mut stream: Streaming<CoordinatorFrame>) {
        while let Ok(Some(frame)) = stream.message().await {
            let Some(body) = frame.body else { continue };
            if let Some(body) = self.answer(body) {
                let answer = NodeFrame {
                    version: 1,
                    call_id: frame.call_id,
                    body: Some(body),
                };
                if frame.call_id != 0 && out.send(answer).await.is_err() {
                    return;
                }
            }
        }
    }

    fn answer(&mut self, body: coordinator_frame::Body) -> Option<node_frame::Body> {
        use coordinator_frame::Body as Call;
        use node_frame::Body as Answer;
        let script = *self.script.lock().expect("lock");
        match body {
            Call::StatusQuery(_) => Some(Answer::Status(self.status())),
            Call::InstallPolicy(_) => Some(Answer::PolicyState(v1::PolicyState::default())),
            Call::StartDkg(start) => Some(Answer::DkgProgress(self.generate(&start))),
            Call::DkgCertificate(certificate) => {
                Some(Answer::DkgProgress(self.certify(&certificate)))
            }
            Call::Order(_) => Some(Answer::FreezeState(v1::FreezeState::default())),
            Call::Announce(announce) => {
                self.announced.fetch_add(1, Ordering::Relaxed);
                Some(Answer::Receipt(self.receipt(&announce.signed_intent)))
            }
            Call::Prepare(_) if script == Script::Silent => None,
            Call::Prepare(prepare) => Some(Answer::Commitments(v1::Commitments {
                key_id: prepare.key_id,
                epoch: prepare.epoch,
                boot_id: self.boot_id.to_vec().into(),
                envelopes: self.commitments(usize::try_from(prepare.count).expect("small")),
                sharing: None,
            })),
            Call::Sign(sign) => {
                self.asked.fetch_add(1, Ordering::Relaxed);
                match script {
                    Script::Silent => None,
                    Script::Refuses(code) => {
                        Some(Answer::Failure(Failure::new(code, "scripted refusal")))
                    }
                    Script::Honest | Script::Lies => Some(self.sign(&sign, script == Script::Lies)),
                }
            }
            Call::ChainQuery(_) => Some(Answer::Failure(Failure::new(
                FailureCode::Version,
                "no history here",
            ))),
            _ => None,
        }
    }

    fn generate(&self, start: &v1::StartDkg) -> v1::DkgProgress {
        let mut generation = self.generation.lock().expect("lock");
        let generation = generation.as_mut().expect("a script for key generations");
        generation.request_id = Some(start.request_id.to_vec());
        let mut progress = v1::DkgProgress {
            request_id: start.request_id.clone(),
            ..Default::default()
        };
        if generation.aborts {
            progress.stage = "aborted".into();
            let mut failure = Failure::new(FailureCode::Aborted, "a bad share");
            failure.culprits = vec![1];
            progress.failure = Some(failure);
        } else if generation.gives_part {
            progress.stage = "round3".into();
            progress.certificate_part = generation.part.clone().into();
        } else {
            progress.stage = "round1".into();
        }
        progress
    }

    fn certify(&self, certificate: &v1::DkgCertificate) -> v1::DkgProgress {
        let mut generation = self.generation.lock().expect("lock");
        let generation = generation.as_mut().expect("a script for key generations");
        assert_eq!(
            certificate.parts.len(),
            generation.nodes.len(),
            "a certificate is handed over whole"
        );
        generation.active = true;
        v1::DkgProgress {
            request_id: certificate.request_id.clone(),
            stage: "active".into(),
            public_package: generation.package.clone().into(),
            ..Default::default()
        }
    }

    fn status(&self) -> v1::NodeStatus {
        let mut keys = vec![v1::KeyState {
            key_id: self.share.public().key_id().as_bytes().to_vec().into(),
            state: "active".into(),
            request_id: vec![1; 32].into(),
            ..Default::default()
        }];
        let generation = self.generation.lock().expect("lock");
        if let Some((generation, request_id)) = generation
            .as_ref()
            .and_then(|all| Some((all, all.request_id.clone()?)))
        {
            let package = PublicKeyPackage::decode(&generation.package).expect("a package");
            keys.push(v1::KeyState {
                key_id: if generation.active {
                    package.key_id().as_bytes().to_vec().into()
                } else {
                    Vec::new().into()
                },
                state: if generation.active {
                    "active"
                } else {
                    "pending"
                }
                .into(),
                request_id: request_id.into(),
                certificate_part: generation.part.clone().into(),
                name: "new".into(),
                scheme: "ed25519".into(),
                threshold: 2,
                nodes: generation.nodes.clone(),
                ..Default::default()
            });
        }
        v1::NodeStatus {
            index: self.index.into(),
            clock_ms: now_ms(),
            keys,
            ..Default::default()
        }
    }

    fn receipt(&self, signed_intent: &[u8]) -> v1::Receipt {
        let intent = SignedIntent::decode(signed_intent)
            .expect("decodes")
            .digest();
        let node_id = *self.identity.public().node_id().as_bytes();
        let first_seen_ms = now_ms();
        let signature =
            self.identity
                .sign(&Receipt::digest("c-test", &intent, &node_id, first_seen_ms));
        v1::Receipt {
            signed_receipt: Receipt {
                intent,
                node_id,
                first_seen_ms,
                signature,
            }
            .encode()
            .into(),
        }
    }

    fn commitments(&mut self, count: usize) -> Vec<prost::bytes::Bytes> {
        let made = self
            .pool
            .generate(&self.share, count, &mut UnwrapErr(getrandom::SysRng))
            .expect("makes");
        let seal = |commitment| {
            wire::seal_commitment(
                &self.identity,
                self.share.public(),
                &self.boot_id,
                commitment,
            )
        };
        made.iter()
            .map(|commitment| seal(commitment).into())
            .collect()
    }

    fn sign(&mut self, sign: &v1::Sign, lies: bool) -> node_frame::Body {
        let intent = SignedIntent::decode(&sign.signed_intent).expect("decodes");
        let public = self.share.public();
        let commitments: BTreeMap<_, _> = sign
            .commitments
            .iter()
            .map(|bytes| wire::open_commitment(&self.roster, public, bytes).expect("opens"))
            .map(|published| (published.index, published.commitment))
            .collect();
        let own = commitments[&self.share.index()];
        let Some(nonces) = self.pool.take(&own) else {
            return node_frame::Body::Failure(Failure::new(FailureCode::Stale, "no such nonces"));
        };
        let request = SigningRequest::new(
            Purpose::Ed25519,
            intent.intent().raw_tx.clone(),
            Tweak::None,
        )
        .expect("valid");
        let package = Package::new(public, commitments, &request).expect("valid");
        let mut share = frost::sign(nonces, &self.share, &package).expect("signs");
        if lies {
            let mut bytes = share.encode();
            bytes[0] ^= 1;
            share = SignatureShare::decode(Purpose::Ed25519, &bytes).expect("still a scalar");
        }
        let request = RequestId::from_bytes(intent.digest());
        let envelope = wire::seal_share(
            &self.identity,
            &package,
            request,
            Attempt(sign.attempt),
            &share,
        );
        node_frame::Body::Share(v1::Share {
            envelope: envelope.expect("seals").into(),
            next_commitments: self.commitments(1),
        })
    }
}
