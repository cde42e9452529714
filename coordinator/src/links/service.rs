//! The gRPC end of the links.

use std::sync::Arc;

use proto::{
    channel::identity::{Peer, Role},
    v1::{
        CoordinatorFrame, Failure, FailureCode, NodeFrame, node_frame, node_link_server::NodeLink,
    },
};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

use super::{
    FRAME_VERSION, Links, Report, handshake,
    link::{self, Link, Outgoing},
    relay,
};

/// Serves `NodeLink`.
#[derive(Clone, Debug)]
pub(crate) struct LinkService {
    links: Arc<Links>,
    tasks: TaskTracker,
}

impl LinkService {
    pub(crate) const fn new(links: Arc<Links>, tasks: TaskTracker) -> Self {
        Self { links, tasks }
    }
}

#[tonic::async_trait]
impl NodeLink for LinkService {
    type LinkStream = ReceiverStream<Result<CoordinatorFrame, Status>>;

    async fn link(
        &self,
        request: Request<Streaming<NodeFrame>>,
    ) -> Result<Response<Self::LinkStream>, Status> {
        let role = request.extensions().get::<Peer>().map(|peer| peer.role);
        let Some(Role::Node(certificate)) = role else {
            let failure = Failure::new(FailureCode::NotAuthorised, "only nodes may open a link");
            return Err(failure.hint("use a node's certificate").into());
        };
        let permit = Arc::clone(&self.links.handshakes)
            .try_acquire_owned()
            .map_err(|_| {
                let failure =
                    Failure::new(FailureCode::Unavailable, "too many greetings are under way");
                Status::from(failure.hint("dial again in a second"))
            })?;
        let (out, outgoing) = mpsc::channel(self.links.config.queue);
        let links = Arc::clone(&self.links);
        self.tasks
            .spawn(run(links, certificate, request.into_inner(), out, permit));
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }
}

/// A link from greeting to end.
async fn run(
    links: Arc<Links>,
    certificate: u16,
    mut stream: Streaming<NodeFrame>,
    out: Outgoing,
    permit: OwnedSemaphorePermit,
) {
    let greeting = handshake::greet(&links, certificate, &mut stream, &out);
    let proved = match tokio::time::timeout(links.config.hello_timeout, greeting).await {
        Ok(Ok(proved)) => proved,
        Ok(Err(status)) => {
            tracing::warn!(certificate, reason = status.message(), "link refused");
            // The refusal is for the dialler's log; whether it arrives changes nothing here.
            let _unread = out.try_send(Err(status));
            return;
        }
        Err(_) => {
            tracing::warn!(certificate, "link refused: no proof in time");
            let failure = Failure::new(FailureCode::TimedOut, "no proof of identity in time");
            let _unread = out.try_send(Err(failure.hint("dial again").into()));
            return;
        }
    };
    drop(permit);
    let link = Arc::new(Link::new(
        proved.index,
        proved.node,
        proved.boot_id,
        proved.software,
        out,
    ));
    links.register(&link);
    tracing::info!(
        node = link.index(),
        software = link.software(),
        "node connected"
    );
    let beats = tokio::spawn(link::keep_alive(
        Arc::clone(&link),
        links.config.heartbeat,
        links.config.heartbeat_timeout,
    ));
    links.report(Report::Up(Arc::clone(&link))).await;
    listen(&links, &link, &mut stream).await;
    link.close();
    beats.abort();
    links.remove(&link);
    tracing::info!(node = link.index(), "node disconnected");
    links.report(Report::Down(link)).await;
}

async fn listen(links: &Links, link: &Arc<Link>, stream: &mut Streaming<NodeFrame>) {
    loop {
        let frame = tokio::select! {
            frame = stream.message() => frame,
            () = link.closed().cancelled() => return,
        };
        match frame {
            Ok(Some(frame)) => {
                if let Err(reason) = take(links, link, frame).await {
                    tracing::warn!(node = link.index(), reason, "closing the link");
                    return;
                }
            }
            Ok(None) => return,
            Err(status) => {
                tracing::info!(
                    node = link.index(),
                    reason = status.message(),
                    "the link broke"
                );
                return;
            }
        }
    }
}

async fn take(links: &Links, link: &Arc<Link>, frame: NodeFrame) -> Result<(), &'static str> {
    if frame.version != FRAME_VERSION {
        return Err("a frame of another version");
    }
    if let Err(error) = proto::limits::node_frame(&frame) {
        tracing::warn!(node = link.index(), %error, "bad frame");
        return Err("a frame that is too large or empty");
    }
    let Some(body) = frame.body else {
        return Err("a frame without a body");
    };
    match body {
        node_frame::Body::Tunnel(piece) => relay::pass_on(links, link, piece),
        node_frame::Body::Hello(_) | node_frame::Body::HelloProof(_) => {
            return Err("a second greeting");
        }
        body => {
            // Progress of a key generation matters beyond the call that it may answer.
            if let node_frame::Body::DkgProgress(progress) = &body {
                let said = node_frame::Body::DkgProgress(progress.clone());
                links
                    .report(Report::Said(Arc::clone(link), Box::new(said)))
                    .await;
            }
            if frame.call_id != 0 {
                if !link.answer(frame.call_id, body) {
                    tracing::debug!(
                        node = link.index(),
                        call = frame.call_id,
                        "a late answer was dropped"
                    );
                }
            } else if let node_frame::Body::Status(status) = body {
                link.note_status(status);
            } else if !matches!(body, node_frame::Body::DkgProgress(_)) {
                links
                    .report(Report::Said(Arc::clone(link), Box::new(body)))
                    .await;
            }
        }
    }
    Ok(())
}
