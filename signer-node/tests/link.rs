//! The link, against a real listener with real certificates: greeting, calls side by side, deadlines, coming back.
#![cfg(test)]

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mpc_core::identity::IdentityPublic;
use policy::cluster::{ClusterFile, CoordinatorEntry, GenesisEntry, Governor, NodeEntry};
use policy::credential::CredentialKey;
use policy::id::{ClusterId, CredentialId, PersonId};
use proto::channel::acceptor::{self, Options};
use proto::channel::config::Files;
use proto::channel::identity::{Peer, Role};
use proto::channel::pki::{Authority, Validity, make_ca};
use proto::limits;
use proto::link::hello_digest;
use proto::v1::node_link_server::{NodeLink, NodeLinkServer};
use proto::v1::{
    self, CoordinatorFrame, FailureCode, NodeFrame, coordinator_frame::Body as Call,
    node_frame::Body as Answer,
};
use signer_node::Config;
use signer_node::config::Unlock;
use signer_node::init::create_store;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

const PATIENCE: Duration = Duration::from_secs(20);

/// One link as the coordinator's side sees it.
struct Link {
    peer: Peer,
    frames: Streaming<NodeFrame>,
    send: mpsc::Sender<Result<CoordinatorFrame, Status>>,
}

struct Listener(mpsc::Sender<Link>);

#[tonic::async_trait]
impl NodeLink for Listener {
    type LinkStream = ReceiverStream<Result<CoordinatorFrame, Status>>;

    async fn link(
        &self,
        request: Request<Streaming<NodeFrame>>,
    ) -> Result<Response<Self::LinkStream>, Status> {
        let peer = request
            .extensions()
            .get::<Peer>()
            .cloned()
            .ok_or_else(|| Status::internal("no peer"))?;
        let (send, receive) = mpsc::channel(1_024);
        let link = Link {
            peer,
            frames: request.into_inner(),
            send,
        };
        self.0
            .send(link)
            .await
            .map_err(|_| Status::unavailable("gone"))?;
        Ok(Response::new(ReceiverStream::new(receive)))
    }
}

struct Setting {
    dir: tempfile::TempDir,
    links: mpsc::Receiver<Link>,
    identity: IdentityPublic,
    stop: Option<oneshot::Sender<()>>,
    node: tokio::task::JoinHandle<Result<(), signer_node::RunError>>,
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn files(
    dir: &Path,
    name: &str,
    authority: &Authority,
    role: Role,
    names: &[&str],
    validity: Validity,
) -> ([u8; 32], Files) {
    let issued = authority.issue(role, names, validity).unwrap();
    let files = Files {
        ca: dir.join("ca.pem"),
        crl: dir.join("crl.pem"),
        cert: dir.join(format!("{name}.pem")),
        key: dir.join(format!("{name}.key")),
    };
    write(&files.cert, &issued.cert_pem);
    write(&files.key, &issued.key_pem);
    (*issued.leaf.pin.as_bytes(), files)
}

/// A listener and one node that dials it.
async fn start(limits: &str) -> Setting {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_path_buf();
    let cluster = ClusterId::parse("c-01").unwrap();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let validity = Validity::days(now, 30);
    let authority = make_ca(&cluster, validity).unwrap();
    write(&root.join("ca.pem"), authority.cert_pem());
    write(
        &root.join("crl.pem"),
        &authority.crl(&[], 1, validity).unwrap(),
    );
    let (pin, server) = files(
        &root,
        "coordinator",
        &authority,
        Role::Coordinator,
        &["coordinator"],
        validity,
    );
    files(&root, "tls", &authority, Role::Node(1), &[], validity);

    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr: SocketAddr = socket.local_addr().unwrap();
    let (sender, links) = mpsc::channel(16);
    let (incoming, _monitor) =
        acceptor::accept(socket, Options::coordinator(server, cluster.clone())).unwrap();
    let service =
        NodeLinkServer::new(Listener(sender)).max_decoding_message_size(limits::NODE_FRAME);
    tokio::spawn(
        acceptor::server()
            .add_service(service)
            .serve_with_incoming(incoming),
    );

    write(&root.join("store.key"), &"07".repeat(32));
    let unlock = Unlock::KeyFile(root.join("store.key"));
    let mut nodes = Vec::new();
    for index in 1..=2 {
        let name = root.join(format!("node-{index}.db"));
        let made = create_store(&name, &unlock, &cluster).unwrap();
        nodes.push(NodeEntry {
            index,
            identity: made.identity,
            exchange: made.exchange,
        });
    }
    let identity = IdentityPublic::from_bytes(&nodes[0].identity).unwrap();
    let governor = Governor {
        person: PersonId::parse("erin").unwrap(),
        credential: CredentialId::parse("laptop").unwrap(),
        key: CredentialKey::Ed25519(nodes[0].identity),
    };
    let file = ClusterFile {
        cluster_id: cluster,
        threshold: 2,
        minority_threshold: false,
        coordinator: CoordinatorEntry {
            addr: addr.to_string(),
            server_name: "coordinator".to_owned(),
            pins: vec![pin],
        },
        nodes,
        genesis: GenesisEntry {
            min: 1,
            governors: vec![governor],
        },
    };
    write(&root.join("cluster.toml"), &file.render());
    let text = format!(
        "schema = 1\nindex = 1\ncluster = \"cluster.toml\"\nstore = \"node-1.db\"\n[unlock]\nkind = \"key-file\"\npath = \"store.key\"\n\
         [tls]\nca = \"ca.pem\"\ncrl = \"crl.pem\"\ncert = \"tls.pem\"\nkey = \"tls.key\"\n[link]\nheartbeat = \"300ms\"\n{limits}"
    );
    write(&root.join("node.toml"), &text);
    let config = Config::load(&root.join("node.toml")).unwrap();
    let (stop, stopped) = oneshot::channel();
    let node = tokio::spawn(signer_node::run(config, async {
        let _ = stopped.await;
    }));
    Setting {
        dir,
        links,
        identity,
        stop: Some(stop),
        node,
    }
}

impl Setting {
    async fn next(&mut self) -> Link {
        timeout(PATIENCE, self.links.recv())
            .await
            .expect("a link in time")
            .expect("a link")
    }

    async fn end(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        timeout(Duration::from_secs(2), self.node)
            .await
            .expect("it stops within two seconds")
            .unwrap()
            .unwrap();
        drop(self.dir);
    }
}

impl Link {
    async fn receive(&mut self) -> Option<NodeFrame> {
        timeout(PATIENCE, self.frames.message())
            .await
            .expect("a frame in time")
            .ok()
            .flatten()
    }

    async fn send(&self, call_id: u64, body: Call) {
        self.send
            .send(Ok(CoordinatorFrame {
                version: 1,
                call_id,
                body: Some(body),
            }))
            .await
            .unwrap();
    }

    /// Greets as a coordinator does; returns what the node said of itself, with a valid proof.
    async fn greet(&mut self, identity: &IdentityPublic) -> v1::Hello {
        let Some(Answer::Hello(hello)) = self.receive().await.unwrap().body else {
            panic!("no hello")
        };
        let nonce = [0x5c; 32];
        self.send(
            0,
            Call::Challenge(v1::Challenge {
                nonce: nonce.to_vec().into(),
            }),
        )
        .await;
        let Some(Answer::HelloProof(proof)) = self.receive().await.unwrap().body else {
            panic!("no proof")
        };
        let boot = hello.boot_id.as_ref().try_into().unwrap();
        let digest = hello_digest("c-01", identity.node_id().as_bytes(), boot, &nonce);
        assert!(identity.verify(&digest, proof.signature.as_ref().try_into().unwrap()));
        hello
    }

    /// The next answer to a call; what the node says unasked is passed over.
    async fn answer(&mut self) -> NodeFrame {
        loop {
            let frame = self.receive().await.expect("the link is up");
            if frame.call_id != 0 {
                return frame;
            }
        }
    }
}

fn failure(frame: NodeFrame) -> FailureCode {
    match frame.body {
        Some(Answer::Failure(failure)) => failure.code(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a71_the_node_proves_its_roster_key_and_reports_itself() {
    let mut setting = start("").await;
    let mut link = setting.next().await;
    assert_eq!(link.peer.role, Role::Node(1));
    let identity = setting.identity;
    let hello = link.greet(&identity).await;
    assert_eq!((hello.cluster_id.as_str(), hello.index), ("c-01", 1));
    assert_eq!(hello.node_id.as_ref(), identity.node_id().as_bytes());
    // Heartbeats come unasked.
    for _ in 0..2 {
        let frame = link.receive().await.unwrap();
        assert!(
            matches!((frame.call_id, frame.body), (0, Some(Answer::Status(status))) if status.index == 1)
        );
    }
    link.send(9, Call::StatusQuery(v1::StatusQuery {})).await;
    let answer = link.answer().await;
    assert!(
        matches!((answer.call_id, answer.body), (9, Some(Answer::Status(status))) if status.clock_ms > 0 && status.keys.is_empty())
    );
    setting.end().await;
}

#[tokio::test]
async fn a_lost_link_comes_back_with_the_same_boot_and_a_coordinator_that_greets_wrongly_is_left() {
    let mut setting = start("").await;
    let identity = setting.identity;
    let mut first = setting.next().await;
    let hello = first.greet(&identity).await;
    drop(first);
    let mut second = setting.next().await;
    let Some(Answer::Hello(again)) = second.receive().await.unwrap().body else {
        panic!("no hello")
    };
    assert_eq!(again, hello);
    // A call before the challenge, a challenge of the wrong length.
    second.send(1, Call::StatusQuery(v1::StatusQuery {})).await;
    assert!(
        second.receive().await.is_none(),
        "nothing is answered before the proof"
    );
    let mut third = setting.next().await;
    third.receive().await.unwrap();
    third
        .send(
            0,
            Call::Challenge(v1::Challenge {
                nonce: vec![1; 31].into(),
            }),
        )
        .await;
    assert!(
        third.receive().await.is_none(),
        "no proof over a short nonce"
    );
    let mut fourth = setting.next().await;
    fourth.greet(&identity).await;
    setting.end().await;
}

#[tokio::test]
async fn a75_floods_and_nonsense_are_answered_and_the_link_stays() {
    let mut setting = start("[limits]\nconcurrent_calls = 2\n").await;
    let identity = setting.identity;
    let mut link = setting.next().await;
    link.greet(&identity).await;
    // Far more calls than are worked on side by side: every one is answered, some with a refusal.
    let announce = v1::Announce {
        signed_intent: vec![7; 60_000].into(),
    };
    for call_id in 1..=500 {
        link.send(call_id, Call::Announce(announce.clone())).await;
    }
    let mut codes = Vec::new();
    for _ in 0..500 {
        codes.push(failure(link.answer().await));
    }
    assert!(
        codes
            .iter()
            .all(|code| matches!(code, FailureCode::Malformed | FailureCode::Unavailable)),
        "{codes:?}"
    );
    // Frames above the size of their kind, without a body, of another version; tunnel frames of strangers.
    link.send(
        600,
        Call::Withdraw(v1::Withdraw {
            intent_digest: vec![0; 5_000].into(),
            reason: String::new(),
        }),
    )
    .await;
    assert_eq!(failure(link.answer().await), FailureCode::Malformed);
    link.send
        .send(Ok(CoordinatorFrame {
            version: 1,
            call_id: 601,
            body: None,
        }))
        .await
        .unwrap();
    assert_eq!(failure(link.answer().await), FailureCode::Malformed);
    link.send
        .send(Ok(CoordinatorFrame {
            version: 9,
            call_id: 602,
            body: Some(Call::StatusQuery(v1::StatusQuery {})),
        }))
        .await
        .unwrap();
    assert_eq!(failure(link.answer().await), FailureCode::Version);
    for seq in 0..2_000 {
        let frame = v1::Tunnel {
            from: vec![1; 32].into(),
            to: identity.node_id().as_bytes().to_vec().into(),
            seq,
            ..v1::Tunnel::default()
        };
        link.send(0, Call::Tunnel(frame)).await;
    }
    link.send(603, Call::StatusQuery(v1::StatusQuery {})).await;
    assert_eq!(link.answer().await.call_id, 603);
    setting.end().await;
}

#[tokio::test]
async fn a_call_that_outlives_its_deadline_is_carried_to_its_end() {
    let mut setting = start("[limits]\ncall_deadline = \"200ms\"\ndkg_sessions = 1\n").await;
    let identity = setting.identity;
    let mut link = setting.next().await;
    link.greet(&identity).await;
    let generation = |request: u8| {
        Call::StartDkg(v1::StartDkg {
            name: "hot".to_owned(),
            scheme: "ed25519".to_owned(),
            threshold: 2,
            request_id: [vec![0; 8], vec![request; 24]].concat().into(),
            attempt: 0,
            deadline_ms: 1_000,
            nodes: Vec::new(),
            import: None,
        })
    };
    let store = rusqlite::Connection::open(setting.dir.path().join("node-1.db")).unwrap();
    store.execute_batch("BEGIN IMMEDIATE").unwrap();
    link.send(1, generation(1)).await;
    assert_eq!(failure(link.answer().await), FailureCode::Unavailable);
    drop(store);
    // The generation goes on by itself, ends by its own deadline for want of the peer, and gives its place back.
    let begun = std::time::Instant::now();
    for call_id in 2.. {
        link.send(call_id, generation(2)).await;
        match link.answer().await.body {
            Some(Answer::DkgProgress(_)) => break,
            other => assert!(begun.elapsed() < PATIENCE, "{other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(link);
    setting.end().await;
}
