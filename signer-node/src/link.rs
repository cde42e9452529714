//! The connection to the coordinator: dialled from here, proved with the roster key, kept for ever.
//!
//! The coordinator is not trusted; losing it is ordinary. Calls are worked on side by side up to a bound, each within its
//! deadline; bytes of nested sessions are handled in the order in which they came.

use core::future::Future;
use core::time::Duration;
use std::sync::Arc;

use policy::cluster::{ClusterFile, CoordinatorEntry};
use proto::channel::config::Files;
use proto::channel::dial::{Target, connect};
use proto::channel::identity::SpkiPin;
use proto::limits;
use proto::v1::node_link_client::NodeLinkClient;
use proto::v1::{CoordinatorFrame, Hello, HelloProof, NodeFrame, coordinator_frame, node_frame};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use crate::config::Config;
use crate::engine::{Engine, FRAME_VERSION, SOFTWARE};
use crate::failure::Refusal;
use crate::seal::random;

/// Frames on their way out.
const OUTGOING: usize = 1_024;
/// How long greeting and proof may take.
const GREETING: Duration = Duration::from_secs(10);
/// How often the pools are looked after.
const FILL: Duration = Duration::from_millis(200);
/// A connection that lived this long was a good one: the next pause is the first one again.
const SETTLED: Duration = Duration::from_secs(10);

/// Why the link cannot work at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The cluster file pins no coordinator key, so none would be believed.
    #[error("the cluster file pins no coordinator key; add the pin to coordinator.pins")]
    NoPins,
}

/// Why one connection ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Dial(#[from] proto::channel::dial::DialError),
    #[error("the coordinator ended the link: {0}")]
    Status(Box<tonic::Status>),
    #[error("the coordinator closed the link")]
    Closed,
    #[error("the coordinator did not greet in time")]
    Silent,
    #[error("the coordinator broke the greeting: {0}")]
    Greeting(&'static str),
}

impl From<tonic::Status> for Ended {
    fn from(status: tonic::Status) -> Self {
        Self::Status(Box::new(status))
    }
}

/// Keeps the connection until `shutdown` resolves.
///
/// # Errors
/// [`LinkError`]; a coordinator that is away is not an error.
pub async fn run(
    engine: &Engine,
    config: &Config,
    shutdown: impl Future<Output = ()>,
) -> Result<(), LinkError> {
    let cluster = engine.cluster();
    if cluster.coordinator.pins.is_empty() {
        return Err(LinkError::NoPins);
    }
    let tls = &config.tls;
    let files = Files {
        ca: tls.ca.clone(),
        crl: tls.crl.clone(),
        cert: tls.cert.clone(),
        key: tls.key.clone(),
    };
    let target = target(cluster, files);
    tokio::select! {
        () = shutdown => {}
        () = keep(engine, config, target) => {}
        () = keep_time(engine, config) => {}
    }
    Ok(())
}

fn target(cluster: &ClusterFile, files: Files) -> Target {
    let CoordinatorEntry {
        addr,
        server_name,
        pins,
    } = &cluster.coordinator;
    let pins = pins.iter().map(|pin| SpkiPin::from_bytes(*pin)).collect();
    Target::new(files, cluster.cluster_id.clone(), addr, server_name, pins)
}

/// Where the coordinator is and how it is recognised, as the cluster file has it now: its key can be renewed, and another
/// machine can take its place, without a restart here. Nothing else of a changed file counts before the next start.
fn renewed(engine: &Engine, config: &Config, old: Target) -> Target {
    let read = proto::settings::read_text(&config.cluster)
        .map_err(|problem| problem.message)
        .and_then(|text| ClusterFile::parse(text.as_bytes()).map_err(|error| error.to_string()));
    match read {
        Ok(cluster) if cluster.cluster_id == engine.cluster().cluster_id => {
            target(&cluster, old.files)
        }
        Ok(_) => old,
        Err(reason) => {
            tracing::warn!(reason, "the cluster file is kept as it was");
            old
        }
    }
}

async fn keep(engine: &Engine, config: &Config, mut target: Target) {
    let first = Duration::from_millis(config.link.retry_first_ms);
    let longest = Duration::from_millis(config.link.retry_max_ms);
    let mut pause = first;
    loop {
        let begun = Instant::now();
        target = renewed(engine, config, target);
        match session(engine, config, &target).await {
            Ok(()) => tracing::info!("link ended"),
            Err(error) => tracing::warn!(reason = ?error.to_string(), "link down"),
        }
        if begun.elapsed() >= SETTLED {
            pause = first;
        }
        sleep(jittered(pause)).await;
        pause = pause.saturating_mul(2).min(longest);
    }
}

/// Between half of a pause and all of it, so that nodes do not come back in step.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness the pause is merely the same every time.
    let _ = random(&mut byte);
    let [byte] = byte;
    pause.mul_f64(0.5 + f64::from(byte) / 512.0)
}

/// Stores the time while no call does, whether or not a coordinator is there.
async fn keep_time(engine: &Engine, config: &Config) {
    let mut ticks = ticks(config);
    loop {
        ticks.tick().await;
        if let Err(refusal) = engine.tick().await {
            tracing::error!(reason = %refusal, "the time could not be stored");
        }
    }
}

fn ticks(config: &Config) -> tokio::time::Interval {
    let mut ticks = interval(Duration::from_millis(config.link.heartbeat_ms));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn session(engine: &Engine, config: &Config, target: &Target) -> Result<(), Ended> {
    let channel = connect(target.clone()).await?;
    let mut client = NodeLinkClient::new(channel)
        .max_decoding_message_size(limits::COORDINATOR_FRAME)
        .max_encoding_message_size(limits::NODE_FRAME);
    let (outgoing, frames) = mpsc::channel(OUTGOING);
    let mut incoming = timeout(GREETING, async {
        post(&outgoing, hello(engine)).await?;
        let mut incoming = client.link(ReceiverStream::new(frames)).await?.into_inner();
        let first = incoming.next().await.ok_or(Ended::Closed)??;
        let Some(coordinator_frame::Body::Challenge(challenge)) = first.body else {
            return Err(Ended::Greeting("its first frame is no challenge"));
        };
        let nonce = challenge
            .nonce
            .as_ref()
            .try_into()
            .map_err(|_| Ended::Greeting("the challenge is not 32 bytes"))?;
        post(
            &outgoing,
            node_frame::Body::HelloProof(HelloProof {
                signature: engine.prove(&nonce).to_vec().into(),
            }),
        )
        .await?;
        Ok(incoming)
    })
    .await
    .map_err(|_| Ended::Silent)??;
    tracing::info!("link up");
    let mut unasked = engine.attach();
    let calls = Arc::new(Semaphore::new(
        usize::try_from(config.limits.concurrent_calls).unwrap_or(usize::MAX),
    ));
    let deadline = Duration::from_millis(config.limits.call_deadline_ms);
    let mut heartbeat = ticks(config);
    let mut fill = interval(FILL);
    fill.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            frame = incoming.next() => {
                let frame = frame.ok_or(Ended::Closed)??;
                take(engine, &calls, deadline, &outgoing, frame).await?;
            }
            frame = unasked.recv() => {
                // Another connection took over.
                let Some(frame) = frame else { return Ok(()) };
                outgoing.send(frame).await.map_err(|_| Ended::Closed)?;
            }
            _ = fill.tick() => engine.fill_pools(),
            _ = heartbeat.tick() => post(&outgoing, node_frame::Body::Status(engine.status())).await?,
        }
    }
}

async fn post(outgoing: &mpsc::Sender<NodeFrame>, body: node_frame::Body) -> Result<(), Ended> {
    let frame = NodeFrame {
        version: FRAME_VERSION,
        call_id: 0,
        body: Some(body),
    };
    outgoing.send(frame).await.map_err(|_| Ended::Closed)
}

fn hello(engine: &Engine) -> node_frame::Body {
    node_frame::Body::Hello(Hello {
        cluster_id: engine.cluster().cluster_id.as_str().to_owned(),
        node_id: engine.node().as_bytes().to_vec().into(),
        index: engine.index().get().into(),
        boot_id: engine.boot().to_vec().into(),
        software: SOFTWARE.to_owned(),
    })
}

async fn take(
    engine: &Engine,
    calls: &Arc<Semaphore>,
    deadline: Duration,
    outgoing: &mpsc::Sender<NodeFrame>,
    frame: CoordinatorFrame,
) -> Result<(), Ended> {
    let call_id = frame.call_id;
    let refuse = |refusal: Refusal| NodeFrame {
        version: FRAME_VERSION,
        call_id,
        body: Some(node_frame::Body::Failure(refusal.into())),
    };
    if let Err(error) = limits::coordinator_frame(&frame) {
        tracing::warn!(%error, "a frame of the coordinator was refused");
        return outgoing
            .send(refuse(Refusal::malformed(error)))
            .await
            .map_err(|_| Ended::Closed);
    }
    if matches!(frame.body, Some(coordinator_frame::Body::Tunnel(_))) {
        // In order, and without waiting for anything.
        let _ = engine.call(frame).await;
        return Ok(());
    }
    let Ok(permit) = Arc::clone(calls).try_acquire_owned() else {
        let busy = Refusal::unavailable("too many calls at once", "send fewer calls side by side");
        return outgoing.send(refuse(busy)).await.map_err(|_| Ended::Closed);
    };
    let (engine, outgoing) = (engine.clone(), outgoing.clone());
    // A call that has begun runs to its end, whoever still waits: what it has put on disk must also be taken into memory.
    let work = tokio::spawn(async move {
        let answer = engine.call(frame).await;
        drop(permit);
        answer
    });
    tokio::spawn(async move {
        let failed = |refusal: Refusal| NodeFrame {
            version: FRAME_VERSION,
            call_id,
            body: Some(node_frame::Body::Failure(refusal.into())),
        };
        let answer = match timeout(deadline, work).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Some(failed(Refusal::internal("the call ended badly"))),
            Err(_) => Some(failed(Refusal::unavailable(
                "the call took too long",
                "ask for the node's status before asking again",
            ))),
        };
        if let Some(answer) = answer {
            // A link that is gone takes no answer; the caller asks again.
            let _ = outgoing.send(answer).await;
        }
    });
    Ok(())
}
