//! A hostile coordinator: it holds the real one's address, certificate and key, and asks nodes for whatever it likes.
//!
//! Everything a thief of the coordinator's host has is used here. The nodes cannot tell it from the real one, and need
//! not: what they sign is decided by what they check themselves.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use policy::{id::ClusterId, statement::SignedStatement};
use proto::{
    channel::{
        acceptor::{self, Options},
        config::Files,
    },
    v1::{
        Announce, Challenge, CoordinatorFrame, Failure, NodeFrame, Prepare, Sign,
        coordinator_frame::Body as Ask,
        node_frame::Body as Answer,
        node_link_server::{NodeLink, NodeLinkServer},
    },
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

use crate::{fail::Fail, layout::Layout};

const FRAME_VERSION: u32 = 1;
/// How long one node may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// How long the port of a killed coordinator may stay taken.
const PORT: Duration = Duration::from_secs(5);

/// The hostile coordinator. Dropping it frees the port.
#[derive(Debug)]
pub struct Rogue {
    links: Links,
    call: AtomicU64,
    stop: Option<oneshot::Sender<()>>,
    server: tokio::task::JoinHandle<()>,
}

type Links = Arc<Mutex<BTreeMap<u32, Link>>>;

#[derive(Clone, Debug)]
struct Link {
    frames: mpsc::Sender<Result<CoordinatorFrame, Status>>,
    waiting: Arc<Mutex<BTreeMap<u64, oneshot::Sender<Answer>>>>,
}

/// What a node did with a request for its share.
#[derive(Clone, Debug)]
pub enum Reaction {
    /// It gave the share.
    Share,
    /// It refused, and said why.
    Refused(Failure),
}

impl Reaction {
    /// Whether the node refused.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_))
    }

    /// What the node said.
    #[must_use]
    pub fn why(&self) -> String {
        match self {
            Self::Share => "gave its share".to_owned(),
            Self::Refused(failure) if failure.reasons.is_empty() => failure.message.clone(),
            Self::Refused(failure) => failure.reasons.join("; "),
        }
    }
}

impl Rogue {
    /// Takes the place of a coordinator that has stopped.
    ///
    /// # Errors
    /// The port is taken or the coordinator's files cannot be used.
    pub async fn start(
        layout: &Layout,
        cluster: &ClusterId,
        address: SocketAddr,
    ) -> Result<Self, Fail> {
        let until = Instant::now().checked_add(PORT);
        let listener = loop {
            match TcpListener::bind(address).await {
                Ok(listener) => break listener,
                Err(_) if until.is_some_and(|until| Instant::now() < until) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(e) => {
                    return Err(Fail::failed(format_args!(
                        "cannot listen on {address}: {e}"
                    )));
                }
            }
        };
        let files = Files {
            ca: layout.ca().join("ca.pem"),
            crl: layout.ca().join("crl.pem"),
            cert: layout.coordinator().join("tls.pem"),
            key: layout.coordinator().join("tls.key"),
        };
        let (incoming, _monitor) =
            acceptor::accept(listener, Options::coordinator(files, cluster.clone()))
                .map_err(Fail::failed)?;
        let links = Links::default();
        let service = Service {
            links: links.clone(),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(async move {
            let stopped = async {
                // A dropped sender stops it just as well.
                let _dropped = stopped.await;
            };
            let served = acceptor::server()
                .add_service(NodeLinkServer::new(service))
                .serve_with_incoming_shutdown(incoming, stopped);
            // A transport error ends the server; the calls that wait on it then time out and say so.
            let _ended = served.await;
        });
        Ok(Self {
            links,
            call: AtomicU64::new(1),
            stop: Some(stop),
            server,
        })
    }

    /// Waits until these nodes have connected.
    ///
    /// # Errors
    /// They do not.
    pub async fn connected(&self, nodes: &[u32], patience: Duration) -> Result<(), Fail> {
        let until = Instant::now().checked_add(patience);
        while until.is_some_and(|until| Instant::now() < until) {
            let here = self
                .links
                .lock()
                .is_ok_and(|l| nodes.iter().all(|n| l.contains_key(n)));
            if here {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(Fail::failed(format_args!(
            "nodes {nodes:?} did not connect to the hostile coordinator"
        )))
    }

    /// Asks one node and waits for its answer.
    ///
    /// # Errors
    /// The node is not connected or does not answer.
    pub async fn ask(&self, node: u32, body: Ask) -> Result<Answer, Fail> {
        let gone = |why: &str| Fail::failed(format_args!("node {node}: {why}"));
        let link = self
            .links
            .lock()
            .ok()
            .and_then(|links| links.get(&node).cloned())
            .ok_or_else(|| gone("not connected"))?;
        let call_id = self.call.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        if let Ok(mut waiting) = link.waiting.lock() {
            waiting.insert(call_id, answer);
        }
        let frame = CoordinatorFrame {
            version: FRAME_VERSION,
            call_id,
            body: Some(body),
        };
        link.frames
            .send(Ok(frame))
            .await
            .map_err(|_| gone("the link is closed"))?;
        match tokio::time::timeout(ANSWER, answered).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(gone("the link was closed before an answer")),
            Err(_) => Err(gone("no answer")),
        }
    }

    /// Shows an intent to nodes; gives their first-seen receipts, and the refusals of those that gave none.
    ///
    /// # Errors
    /// A node does not answer.
    pub async fn announce(
        &self,
        nodes: &[u32],
        intent: &[u8],
    ) -> Result<(Vec<Vec<u8>>, BTreeMap<u32, Failure>), Fail> {
        let mut receipts = Vec::new();
        let mut refusals = BTreeMap::new();
        for node in nodes {
            let announce = Announce {
                signed_intent: intent.to_vec().into(),
            };
            match self.ask(*node, Ask::Announce(announce)).await? {
                Answer::Receipt(receipt) => receipts.push(receipt.signed_receipt.to_vec()),
                Answer::Failure(failure) => {
                    refusals.insert(*node, failure);
                }
                other => return Err(unexpected(*node, &other)),
            }
        }
        Ok((receipts, refusals))
    }

    /// Asks nodes for their shares of one signature, with fresh and honest commitments of theirs.
    ///
    /// # Errors
    /// A node does not answer, or answers something else than a share or a refusal.
    pub async fn sign(
        &self,
        nodes: &[u32],
        key: (&[u8; 32], u32),
        intent: &[u8],
        approvals: &[SignedStatement],
        receipts: &[Vec<u8>],
    ) -> Result<BTreeMap<u32, Reaction>, Fail> {
        let (key_id, epoch) = key;
        let mut commitments = Vec::new();
        for node in nodes {
            let prepare = Prepare {
                key_id: key_id.to_vec().into(),
                epoch,
                count: 1,
                sharing: None,
            };
            match self.ask(*node, Ask::Prepare(prepare)).await? {
                Answer::Commitments(found) => {
                    let first = found.envelopes.into_iter().next();
                    commitments.push(first.ok_or_else(|| {
                        Fail::failed(format_args!("node {node} gave no commitment"))
                    })?);
                }
                other => return Err(unexpected(*node, &other)),
            }
        }
        let sign = Sign {
            signed_intent: intent.to_vec().into(),
            approvals: approvals.iter().map(|a| a.encode().into()).collect(),
            receipts: receipts.iter().map(|r| r.clone().into()).collect(),
            epoch,
            attempt: 1,
            commitments,
            task: 0,
            sharing: None,
        };
        let mut reactions = BTreeMap::new();
        for node in nodes {
            let reaction = match self.ask(*node, Ask::Sign(sign.clone())).await? {
                Answer::Share(_) => Reaction::Share,
                Answer::Failure(failure) => Reaction::Refused(failure),
                other => return Err(unexpected(*node, &other)),
            };
            reactions.insert(*node, reaction);
        }
        Ok(reactions)
    }

    /// Leaves the coordinator's place.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        if let Ok(mut links) = self.links.lock() {
            links.clear();
        }
        self.server.abort();
        // An aborted task ends as cancelled.
        let _cancelled = (&mut self.server).await;
    }
}

impl Drop for Rogue {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn unexpected(node: u32, answer: &Answer) -> Fail {
    match answer {
        Answer::Failure(failure) => Fail::failed(format_args!("node {node}: {}", failure.message)),
        _ => Fail::failed(format_args!(
            "node {node} answered something else than it was asked"
        )),
    }
}

#[derive(Debug)]
struct Service {
    links: Links,
}

type FrameStream = Pin<Box<dyn Stream<Item = Result<CoordinatorFrame, Status>> + Send>>;

#[tonic::async_trait]
impl NodeLink for Service {
    type LinkStream = FrameStream;

    async fn link(
        &self,
        request: Request<Streaming<NodeFrame>>,
    ) -> Result<Response<FrameStream>, Status> {
        let mut from_node = request.into_inner();
        let links = self.links.clone();
        let (frames, to_node) = mpsc::channel(64);
        tokio::spawn(async move {
            // Whatever goes wrong ends this link; the node dials again.
            let _ended = serve(&mut from_node, frames, &links).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(to_node))))
    }
}

/// The handshake of a link, then its answers until it ends.
async fn serve(
    from_node: &mut Streaming<NodeFrame>,
    frames: mpsc::Sender<Result<CoordinatorFrame, Status>>,
    links: &Links,
) -> Result<(), Status> {
    let Some(Answer::Hello(hello)) = from_node.message().await?.and_then(|f| f.body) else {
        return Err(Status::invalid_argument("the first frame is not a hello"));
    };
    let challenge = CoordinatorFrame {
        version: FRAME_VERSION,
        call_id: 0,
        body: Some(Ask::Challenge(Challenge {
            nonce: vec![7; 32].into(),
        })),
    };
    frames
        .send(Ok(challenge))
        .await
        .map_err(|_| Status::cancelled("gone"))?;
    let Some(Answer::HelloProof(_)) = from_node.message().await?.and_then(|f| f.body) else {
        return Err(Status::invalid_argument("the second frame is not a proof"));
    };
    let link = Link {
        frames,
        waiting: Arc::default(),
    };
    let waiting = link.waiting.clone();
    if let Ok(mut links) = links.lock() {
        links.insert(hello.index, link);
    }
    while let Some(frame) = from_node.message().await? {
        let asker = waiting
            .lock()
            .ok()
            .and_then(|mut w| w.remove(&frame.call_id));
        if let (Some(asker), Some(body)) = (asker, frame.body) {
            // Whoever asked may have given up.
            let _late = asker.send(body);
        }
    }
    if let Ok(mut links) = links.lock() {
        links.remove(&hello.index);
    }
    Ok(())
}
