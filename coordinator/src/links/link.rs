//! One link: its outgoing queue, the calls that wait for answers, and how well the node answers.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use mpc_core::id::NodeId;
use proto::v1::{self, coordinator_frame, node_frame};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::frame;
use crate::clock;

/// What a node's answer was, or why there is none.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum CallError {
    /// The outgoing queue is full: the node does not keep up.
    #[error("the node does not keep up")]
    Busy,
    /// The link is gone.
    #[error("the link is gone")]
    Gone,
    /// The node said no, and why.
    #[error("refused: {}", .0.message)]
    Refused(v1::Failure),
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// An answer of another kind than the call asks for.
    #[error("an answer of the wrong kind")]
    WrongKind,
}

pub(super) type Outgoing = mpsc::Sender<Result<v1::CoordinatorFrame, Status>>;

/// A proved link to a node.
pub(crate) struct Link {
    index: u16,
    node: NodeId,
    boot_id: [u8; 16],
    software: String,
    out: Outgoing,
    calls: Mutex<BTreeMap<u64, oneshot::Sender<node_frame::Body>>>,
    next_call: AtomicU64,
    closed: CancellationToken,
    status: Mutex<Option<Arc<v1::NodeStatus>>>,
    in_flight: AtomicUsize,
    rtt_us: AtomicU64,
    offset_ms: AtomicI64,
    /// Until when it is asked last, Unix milliseconds.
    shunned_until_ms: AtomicU64,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("index", &self.index)
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

/// Takes a call out of the table however it ends.
struct Waiting<'l> {
    link: &'l Link,
    call_id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.link.table().remove(&self.call_id);
        self.link.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Link {
    pub(super) fn new(
        index: u16,
        node: NodeId,
        boot_id: [u8; 16],
        software: String,
        out: Outgoing,
    ) -> Self {
        Self {
            index,
            node,
            boot_id,
            software,
            out,
            calls: Mutex::new(BTreeMap::new()),
            next_call: AtomicU64::new(1),
            closed: CancellationToken::new(),
            status: Mutex::new(None),
            in_flight: AtomicUsize::new(0),
            rtt_us: AtomicU64::new(0),
            offset_ms: AtomicI64::new(0),
            shunned_until_ms: AtomicU64::new(0),
        }
    }

    /// Party index, proved.
    pub(crate) const fn index(&self) -> u16 {
        self.index
    }

    /// Node id, proved.
    pub(crate) const fn node(&self) -> NodeId {
        self.node
    }

    /// This start of the node.
    pub(crate) const fn boot_id(&self) -> &[u8; 16] {
        &self.boot_id
    }

    /// What the node says it runs.
    pub(crate) fn software(&self) -> &str {
        &self.software
    }

    /// Calls that wait for an answer.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Smoothed round-trip time in microseconds; 0 before the first heartbeat.
    pub(crate) fn rtt_us(&self) -> u64 {
        self.rtt_us.load(Ordering::Relaxed)
    }

    /// How far the node's clock is ahead of ours, in milliseconds.
    pub(crate) fn offset_ms(&self) -> i64 {
        self.offset_ms.load(Ordering::Relaxed)
    }

    /// The latest status it has given.
    pub(crate) fn status(&self) -> Option<Arc<v1::NodeStatus>> {
        self.status
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether it is to be asked only if nobody else is left.
    pub(crate) fn is_shunned(&self, now_ms: u64) -> bool {
        self.shunned_until_ms.load(Ordering::Relaxed) > now_ms
    }

    /// Has it asked last for a while.
    pub(crate) fn shun(&self, until_ms: u64) {
        self.shunned_until_ms.fetch_max(until_ms, Ordering::Relaxed);
    }

    /// Ends the link.
    pub(crate) fn close(&self) {
        self.closed.cancel();
    }

    pub(super) const fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    fn table(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, oneshot::Sender<node_frame::Body>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a frame that asks for no answer.
    ///
    /// # Errors
    /// [`CallError::Busy`] or [`CallError::Gone`].
    pub(crate) fn tell(&self, body: coordinator_frame::Body) -> Result<(), CallError> {
        self.send(frame(0, body))
    }

    fn send(&self, frame: v1::CoordinatorFrame) -> Result<(), CallError> {
        if self.closed.is_cancelled() {
            return Err(CallError::Gone);
        }
        self.out.try_send(Ok(frame)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => CallError::Busy,
            mpsc::error::TrySendError::Closed(_) => CallError::Gone,
        })
    }

    /// Asks and waits for the answer, at most `deadline`. An answer that comes later is dropped.
    ///
    /// # Errors
    /// [`CallError`]; a `Failure` frame is [`CallError::Refused`].
    pub(crate) async fn call(
        &self,
        body: coordinator_frame::Body,
        deadline: Duration,
    ) -> Result<node_frame::Body, CallError> {
        let call_id = self.next_call.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.table().insert(call_id, sender);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting {
            link: self,
            call_id,
        };
        self.send(frame(call_id, body))?;
        tokio::select! {
            answer = receiver => match answer {
                Ok(node_frame::Body::Failure(failure)) => Err(CallError::Refused(failure)),
                Ok(answer) => Ok(answer),
                Err(_) => Err(CallError::Gone),
            },
            () = self.closed.cancelled() => Err(CallError::Gone),
            () = tokio::time::sleep(deadline) => Err(CallError::TimedOut),
        }
    }

    /// Hands an answer to the call that waits for it; false if none does.
    pub(super) fn answer(&self, call_id: u64, body: node_frame::Body) -> bool {
        let waiting = self.table().remove(&call_id);
        waiting.is_some_and(|sender| sender.send(body).is_ok())
    }

    /// Keeps a status that the node sent.
    pub(crate) fn note_status(&self, status: v1::NodeStatus) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(status));
    }

    /// Asks for the status, measuring the way there and back.
    pub(crate) async fn heartbeat(&self, deadline: Duration) -> Result<(), CallError> {
        let (start, start_ms) = (Instant::now(), clock::now_ms());
        let query = coordinator_frame::Body::StatusQuery(v1::StatusQuery {});
        let node_frame::Body::Status(status) = self.call(query, deadline).await? else {
            return Err(CallError::WrongKind);
        };
        let took_us = clock::micros_since(start).max(1);
        let old_us = self.rtt_us.load(Ordering::Relaxed);
        let smooth_us = if old_us == 0 {
            took_us
        } else {
            old_us.saturating_mul(7).saturating_add(took_us) / 8
        };
        self.rtt_us.store(smooth_us, Ordering::Relaxed);
        let middle_ms = start_ms.saturating_add(took_us / 2_000);
        self.offset_ms.store(
            status.clock_ms.wrapping_sub(middle_ms).cast_signed(),
            Ordering::Relaxed,
        );
        self.note_status(status);
        Ok(())
    }
}

/// Asks for the status at a steady pace until the link ends; a node that stops answering is disconnected.
pub(super) async fn keep_alive(link: Arc<Link>, pause: Duration, deadline: Duration) {
    loop {
        match link.heartbeat(deadline).await {
            Ok(()) => {}
            Err(CallError::Gone) => return,
            Err(error) => {
                tracing::warn!(node = link.index(), %error, "no heartbeat; closing the link");
                link.close();
                return;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = link.closed().cancelled() => return,
        }
    }
}
