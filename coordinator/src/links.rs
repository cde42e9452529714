//! The links that signer nodes dial: who is connected, calls with deadlines, and the relay between nodes.
//!
//! A certificate only admits to the handshake; the identity key of the roster decides which node is on a link. Nothing
//! a node sends is believed beyond what it can only say about itself.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use mpc_core::{id::NodeId, roster::Roster};
use proto::v1::{self, node_frame};
use tokio::sync::{Semaphore, mpsc};

use crate::config;

mod handshake;
mod link;
mod relay;
mod service;

pub(crate) use link::{CallError, Link};
pub(crate) use service::LinkService;

/// The frame layout spoken here.
pub(crate) const FRAME_VERSION: u32 = 1;

/// Reports that wait for the engine; a full queue slows the links down.
const REPORTS: usize = 4_096;

/// What happened on the links.
#[derive(Debug)]
pub(crate) enum Report {
    /// A node has proved who it is.
    Up(Arc<Link>),
    /// Its link is gone.
    Down(Arc<Link>),
    /// It said something unasked, or progress of a key generation.
    Said(Arc<Link>, Box<node_frame::Body>),
}

/// Every connected node, at most one link each.
#[derive(Debug)]
pub(crate) struct Links {
    cluster_id: String,
    roster: Arc<Roster>,
    config: config::Links,
    live: RwLock<BTreeMap<u16, Arc<Link>>>,
    reports: mpsc::Sender<Report>,
    /// Handshakes under way; bounds what unproved peers can hold.
    handshakes: Arc<Semaphore>,
}

impl Links {
    /// No links yet; what happens on them comes out of the receiver.
    pub(crate) fn new(
        cluster_id: String,
        roster: Arc<Roster>,
        config: config::Links,
    ) -> (Arc<Self>, mpsc::Receiver<Report>) {
        let (reports, receiver) = mpsc::channel(REPORTS);
        let handshakes = Arc::new(Semaphore::new(roster.len().saturating_mul(2)));
        let live = RwLock::new(BTreeMap::new());
        let links = Self {
            cluster_id,
            roster,
            config,
            live,
            reports,
            handshakes,
        };
        (Arc::new(links), receiver)
    }

    /// The link to the node with this index, if it is connected.
    pub(crate) fn get(&self, index: u16) -> Option<Arc<Link>> {
        self.live
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&index)
            .cloned()
    }

    /// All links, by index.
    pub(crate) fn all(&self) -> Vec<Arc<Link>> {
        self.live
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    /// How many nodes are connected.
    pub(crate) fn count(&self) -> usize {
        self.live
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// The node's place in the roster.
    pub(crate) fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Ends every link; used at shutdown.
    pub(crate) fn close(&self) {
        for link in self.all() {
            link.close();
        }
    }

    /// Registers a proved link. An older link of the same node is closed: the newer start knows better.
    fn register(&self, link: &Arc<Link>) {
        let old = {
            let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
            live.insert(link.index(), Arc::clone(link))
        };
        if let Some(old) = old {
            tracing::info!(node = old.index(), "a newer link replaces this one");
            old.close();
        }
    }

    /// Takes a link out, unless a newer one has its place.
    fn remove(&self, link: &Arc<Link>) {
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        if live
            .get(&link.index())
            .is_some_and(|current| Arc::ptr_eq(current, link))
        {
            live.remove(&link.index());
        }
    }

    /// The link to the node with this id, if it is connected.
    pub(crate) fn by_node(&self, node: &NodeId) -> Option<Arc<Link>> {
        let index = self.roster.index(node)?;
        self.get(index.get())
    }

    async fn report(&self, report: Report) {
        // Without a receiver the service is shutting down, and the link with it.
        let _closing = self.reports.send(report).await;
    }
}

/// A frame for a node.
fn frame(call_id: u64, body: v1::coordinator_frame::Body) -> v1::CoordinatorFrame {
    v1::CoordinatorFrame {
        version: FRAME_VERSION,
        call_id,
        body: Some(body),
    }
}
