//! A cluster's authority, certificate files in a directory, and a server that answers.
use std::{
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use policy::id::ClusterId;
use proto::{
    channel::{
        acceptor::{self, Monitor, Options},
        config::Files,
        dial::{self, Target},
        event::{Event, Refusal},
        identity::{Peer, Role, Serial, SpkiPin},
        pki::{Authority, Issued, Validity, make_ca},
    },
    limits,
    v1::{self, node_link_server::NodeLink, quorate_server::Quorate},
};
use tokio::{net::TcpListener, sync::broadcast, task::JoinHandle, time::timeout};
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming, transport::Channel};

pub(crate) const SERVER_NAME: &str = "coordinator.test";

pub(crate) fn cluster() -> ClusterId {
    ClusterId::parse("demo").unwrap()
}

pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

pub(crate) fn month() -> Validity {
    Validity::days(now(), 30)
}

/// An authority and the directory its files go to.
pub(crate) struct Pki {
    pub(crate) ca: Authority,
    dir: tempfile::TempDir,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let pki = Self {
            ca: make_ca(&cluster(), month()).unwrap(),
            dir: tempfile::tempdir().unwrap(),
        };
        pki.write("ca.pem", pki.ca.cert_pem().as_bytes());
        pki.publish(&[], 1);
        pki
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Replaces a file in one step, as an operator's tool would.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        replace(&self.path(name), bytes);
    }

    pub(crate) fn publish(&self, revoked: &[Serial], number: u64) {
        let crl = self.ca.crl(revoked, number, month()).unwrap();
        self.write("crl.pem", crl.as_bytes());
    }

    /// Issues a certificate of this authority and writes it under `name`.
    pub(crate) fn member(&self, name: &str, role: Role) -> (Files, Issued) {
        let names: &[&str] = if role == Role::Coordinator {
            &[SERVER_NAME]
        } else {
            &[]
        };
        let issued = self.ca.issue(role, names, month()).unwrap();
        (self.files(name, &issued), issued)
    }

    /// Writes a certificate, whoever issued it, next to this authority's own files.
    pub(crate) fn files(&self, name: &str, issued: &Issued) -> Files {
        let (cert, key) = (format!("{name}.pem"), format!("{name}.key"));
        self.write(&cert, issued.cert_pem.as_bytes());
        self.write(&key, issued.key_pem.as_bytes());
        Files {
            ca: self.path("ca.pem"),
            crl: self.path("crl.pem"),
            cert: self.path(&cert),
            key: self.path(&key),
        }
    }
}

pub(crate) fn replace(path: &Path, bytes: &[u8]) {
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, bytes).unwrap();
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(&fresh, path).unwrap();
}

/// A running coordinator-side server.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    pub(crate) pin: SpkiPin,
    pub(crate) monitor: Monitor,
    pub(crate) seen: Arc<Mutex<Vec<Peer>>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Options that make changes visible quickly.
pub(crate) fn options(files: Files) -> Options {
    let mut options = Options::coordinator(files, cluster());
    options.poll = Duration::from_millis(100);
    options
}

impl Server {
    pub(crate) async fn start(pki: &Pki) -> Self {
        let (files, issued) = pki.member("coordinator", Role::Coordinator);
        Self::start_with(options(files), issued.leaf.pin).await
    }

    pub(crate) async fn start_with(options: Options, pin: SpkiPin) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (incoming, monitor) = acceptor::accept(listener, options).unwrap();
        let service = Service::default();
        let seen = service.seen.clone();
        let router = acceptor::server()
            .add_service(
                v1::node_link_server::NodeLinkServer::new(service.clone())
                    .max_decoding_message_size(limits::NODE_FRAME),
            )
            .add_service(
                v1::quorate_server::QuorateServer::new(service)
                    .max_decoding_message_size(limits::REQUEST),
            );
        let task = tokio::spawn(async move { router.serve_with_incoming(incoming).await.unwrap() });
        Self {
            addr,
            pin,
            monitor,
            seen,
            task,
        }
    }

    pub(crate) fn target(&self, files: Files) -> Target {
        let mut target = Target::new(
            files,
            cluster(),
            &self.addr.to_string(),
            SERVER_NAME,
            vec![self.pin],
        );
        target.poll = Duration::from_millis(100);
        target
    }

    /// Connects as the holder of `files` and asks one question.
    pub(crate) async fn ask(&self, files: Files) -> Result<String, String> {
        let channel = dial::connect(self.target(files))
            .await
            .map_err(|e| e.to_string())?;
        ask(channel).await
    }
}

/// Asks which role the server sees.
pub(crate) async fn ask(channel: Channel) -> Result<String, String> {
    let mut client = v1::quorate_client::QuorateClient::new(channel);
    match timeout(
        Duration::from_secs(10),
        client.get_cluster(v1::ClusterQuery {}),
    )
    .await
    {
        Ok(Ok(answer)) => Ok(answer.into_inner().cluster_id),
        Ok(Err(status)) => Err(format!("{status:?}")),
        Err(_) => Err("no answer in 10 s".to_owned()),
    }
}

/// Waits for the first event that `pick` takes.
pub(crate) async fn event<T>(
    events: &mut broadcast::Receiver<Event>,
    mut pick: impl FnMut(&Event) -> Option<T>,
) -> T {
    let wait = async {
        loop {
            if let Some(found) = pick(&events.recv().await.unwrap()) {
                return found;
            }
        }
    };
    timeout(Duration::from_secs(10), wait)
        .await
        .expect("the event came")
}

/// Waits for the next refused connection and says why.
pub(crate) async fn refusal(events: &mut broadcast::Receiver<Event>) -> Refusal {
    event(events, |event| match event {
        Event::Refused { why, .. } => Some(why.clone()),
        _ => None,
    })
    .await
}

/// Answers with what it knows of the peer.
#[derive(Clone, Default)]
struct Service {
    seen: Arc<Mutex<Vec<Peer>>>,
}

type Frames = std::pin::Pin<Box<dyn Stream<Item = Result<v1::CoordinatorFrame, Status>> + Send>>;

#[tonic::async_trait]
impl NodeLink for Service {
    type LinkStream = Frames;

    /// Sends every tunnel frame back, until the node ends the stream.
    async fn link(
        &self,
        request: Request<Streaming<v1::NodeFrame>>,
    ) -> Result<Response<Frames>, Status> {
        let peer = request.extensions().get::<Peer>().cloned();
        let peer = peer.ok_or_else(|| Status::internal("no peer"))?;
        if !matches!(peer.role, Role::Node(_)) {
            return Err(Status::permission_denied("not a node"));
        }
        self.seen.lock().unwrap().push(peer);
        let back = request.into_inner().map(|frame| {
            let frame = frame?;
            let body = match frame.body {
                Some(v1::node_frame::Body::Tunnel(tunnel)) => {
                    Some(v1::coordinator_frame::Body::Tunnel(tunnel))
                }
                _ => None,
            };
            Ok(v1::CoordinatorFrame {
                version: frame.version,
                call_id: frame.call_id,
                body,
            })
        });
        Ok(Response::new(Box::pin(back)))
    }
}

fn no<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not part of this test"))
}

#[tonic::async_trait]
impl Quorate for Service {
    type WatchRequestStream = ReceiverStream<Result<v1::RequestStatus, Status>>;

    async fn get_cluster(
        &self,
        request: Request<v1::ClusterQuery>,
    ) -> Result<Response<v1::ClusterInfo>, Status> {
        let peer = request.extensions().get::<Peer>().cloned();
        let peer = peer.ok_or_else(|| Status::internal("no peer"))?;
        let cluster_id = peer.role.to_string();
        self.seen.lock().unwrap().push(peer);
        Ok(Response::new(v1::ClusterInfo {
            cluster_id,
            ..Default::default()
        }))
    }

    async fn submit(
        &self,
        request: Request<v1::SubmitRequest>,
    ) -> Result<Response<v1::RequestStatus>, Status> {
        let signed_intent = request.into_inner().signed_intent;
        Ok(Response::new(v1::RequestStatus {
            signed_intent,
            ..Default::default()
        }))
    }

    async fn get_request(
        &self,
        _: Request<v1::RequestQuery>,
    ) -> Result<Response<v1::RequestStatus>, Status> {
        no()
    }
    async fn watch_request(
        &self,
        _: Request<v1::RequestQuery>,
    ) -> Result<Response<Self::WatchRequestStream>, Status> {
        no()
    }
    async fn list_requests(
        &self,
        _: Request<v1::ListRequestsQuery>,
    ) -> Result<Response<v1::RequestList>, Status> {
        no()
    }
    async fn cancel(
        &self,
        _: Request<v1::CancelRequest>,
    ) -> Result<Response<v1::RequestStatus>, Status> {
        no()
    }
    async fn approve(
        &self,
        _: Request<v1::ApproveRequest>,
    ) -> Result<Response<v1::RequestStatus>, Status> {
        no()
    }
    async fn explain(
        &self,
        _: Request<v1::SubmitRequest>,
    ) -> Result<Response<v1::RequestStatus>, Status> {
        no()
    }
    async fn list_wallets(
        &self,
        _: Request<v1::ListWalletsQuery>,
    ) -> Result<Response<v1::WalletList>, Status> {
        no()
    }
    async fn get_policy(
        &self,
        _: Request<v1::PolicyQuery>,
    ) -> Result<Response<v1::PolicyInfo>, Status> {
        no()
    }
    async fn freeze(
        &self,
        _: Request<v1::OrderRequest>,
    ) -> Result<Response<v1::FreezeState>, Status> {
        no()
    }
    async fn unfreeze(
        &self,
        _: Request<v1::OrderRequest>,
    ) -> Result<Response<v1::FreezeState>, Status> {
        no()
    }
}
