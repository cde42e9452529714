//! What is looked at again and again: nodes that are behind or ahead, keys that have ended, orders that nobody completes, refreshes
//! that are due, nodes that came back from a backup.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use prost::bytes::Bytes;
use proto::v1::{self, coordinator_frame, node_frame};

use super::{KeyName, sharings::stated};
use crate::{clock, engine::Engine, links::Link};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// Between two looks at keys that the store does not know.
const UNKNOWN_KEYS: Duration = Duration::from_secs(10);

/// How long a node may take to attest what it knows of another, or to take that in.
const NODE_TIMEOUT: Duration = Duration::from_secs(10);

impl Engine {
    /// Looks after keys and nodes until shutdown.
    pub(in crate::engine) async fn tend(self: Arc<Self>) {
        let mut looked = tokio::time::Instant::now();
        loop {
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = self.signing.behind() => {}
                () = self.stopping.cancelled() => return,
            }
            for (number, name) in self.signing.take_behind() {
                if let (Some(link), Some(key)) = (self.links.get(number), self.keys.get(&name)) {
                    self.bring_up_again(&link, &key).await;
                }
            }
            for link in self.links.all() {
                self.tend_node(&link).await;
            }
            if looked.elapsed() > UNKNOWN_KEYS {
                self.adopt_keys().await;
                looked = tokio::time::Instant::now();
            }
            self.expire_orders().await;
            self.propose_refreshes().await;
        }
    }

    /// Brings one node up to date, or this coordinator up to the node.
    pub(in crate::engine) async fn tend_node(self: &Arc<Self>, link: &Arc<Link>) {
        let Some(status) = link.status() else { return };
        if !status.catching_up.is_empty() {
            self.attest(link, &status.catching_up).await;
        }
        let ended = self.orders.ended_keys();
        let begun = tokio::time::Instant::now();
        for state in &status.keys {
            // A node that answers nothing must not keep the others waiting, however much it claims. The next look goes on with it.
            if begun.elapsed() > NODE_TIMEOUT {
                return;
            }
            let Ok(name) = <KeyName>::try_from(state.key_id.as_ref()) else {
                continue;
            };
            let Some(key) = self.keys.get(&name) else {
                continue;
            };
            if state.state == "conflict" {
                self.note_stopped(&name, &key, link.index()).await;
            }
            let Some(place) = stated(link, &name) else {
                continue;
            };
            if place > key.sharing().place() {
                if let Err(failure) = self.learn_from(link, &name).await {
                    tracing::warn!(node = link.index(), key = %key.row.name, reason = failure.message, "a node is ahead and its history was not taken");
                }
            } else {
                self.bring_up(link, &key).await;
            }
            if ended.contains_key(&name) && matches!(state.state.as_str(), "active" | "lost") {
                self.retire_at(link, &name).await;
            }
        }
    }

    /// Takes up keys that the store does not know and enough nodes have.
    pub(in crate::engine) async fn adopt_keys(self: &Arc<Self>) {
        let mut claims: BTreeMap<KeyName, Vec<Arc<Link>>> = BTreeMap::new();
        for link in self.links.all() {
            let status = link.status();
            let states = status.iter().flat_map(|status| &status.keys);
            for state in states.filter(|state| state.state != "pending") {
                let Ok(name) = <KeyName>::try_from(state.key_id.as_ref()) else {
                    continue;
                };
                let generation = state.request_id.as_ref().try_into();
                let known = generation.is_ok_and(|id| self.ceremonies.is_cared_for(&id));
                if self.keys.get(&name).is_none() && !known {
                    claims.entry(name).or_default().push(Arc::clone(&link));
                }
            }
        }
        for (name, links) in claims {
            if links.len() < usize::from(self.cluster.threshold) {
                continue;
            }
            if let Err(failure) = self.adopt_unknown(&name, &links).await {
                tracing::warn!(
                    key = hex::encode(name),
                    reason = failure.message,
                    "a key that nodes have was not taken up"
                );
            }
        }
    }

    /// Has every other node say what it knows of a node that came back from a backup, and passes that on.
    async fn attest(&self, link: &Arc<Link>, challenge: &Bytes) {
        let others = self.links.all().into_iter();
        let others = others.filter(|other| other.index() != link.index());
        let asked = others.map(|other| {
            let query = v1::AttestQuery {
                about: Bytes::copy_from_slice(link.node().as_bytes()),
                challenge: challenge.clone(),
            };
            async move {
                let body = coordinator_frame::Body::AttestQuery(query);
                match other.call(body, NODE_TIMEOUT).await {
                    Ok(node_frame::Body::Attestation(answer)) => Some(answer.signed),
                    Ok(_) => None,
                    Err(error) => {
                        tracing::warn!(node = other.index(), %error, "no attestation about another node");
                        None
                    }
                }
            }
        });
        let attestations: Vec<Bytes> = join_all(asked).await.into_iter().flatten().collect();
        if attestations.is_empty() {
            return;
        }
        let body = coordinator_frame::Body::CatchUp(v1::CatchUp { attestations });
        match link.call(body, NODE_TIMEOUT).await {
            Ok(node_frame::Body::Status(status)) => link.note_status(status),
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(node = link.index(), %error, "a node that came back from a backup stays locked");
            }
        }
    }

    async fn expire_orders(&self) {
        let now_ms = clock::now_ms();
        for (id, status) in self.orders.statuses() {
            if status.state == "waiting" && status.expires_ms <= now_ms {
                self.end_order(&id, "expired", None).await;
            }
        }
    }
}
