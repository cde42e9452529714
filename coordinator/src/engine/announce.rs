//! Telling the nodes of a request, collecting their first-seen receipts, and taking it back.

use std::{sync::Arc, time::Duration};

use proto::{
    link::Receipt,
    v1::{self, coordinator_frame, node_frame},
};

use super::Engine;
use crate::{
    clock,
    links::{CallError, Link},
    store::{Record, RequestId},
};

/// How long a node may take to store an announcement.
const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(5);

/// How much of a node's own words is kept.
const WHY_CHARS: usize = 256;

impl Engine {
    /// Tells every connected node; the others hear of it when they connect.
    pub(super) fn announce(self: &Arc<Self>, record: &Record) {
        for link in self.links.all() {
            self.announce_to(&link, record);
        }
    }

    /// Tells one node, unless it has already said that it knows.
    pub(super) fn announce_to(self: &Arc<Self>, link: &Arc<Link>, record: &Record) {
        if record.receipts.contains_key(&link.index()) {
            return;
        }
        let (engine, link, id) = (Arc::clone(self), Arc::clone(link), record.id);
        let announce = v1::Announce {
            signed_intent: record.status.signed_intent.clone(),
        };
        self.tasks.spawn(async move {
            let call = link.call(
                coordinator_frame::Body::Announce(announce),
                ANNOUNCE_TIMEOUT,
            );
            match call.await {
                Ok(node_frame::Body::Receipt(receipt)) => {
                    engine.take_receipt(&link, id, receipt).await;
                }
                Ok(_) => tracing::warn!(
                    node = link.index(),
                    "an announcement was answered by something else"
                ),
                Err(CallError::Gone) => {}
                Err(error) => {
                    tracing::warn!(request = %id, node = link.index(), %error, "not announced");
                }
            }
        });
    }

    /// Keeps a receipt that is this node's, about this request, and signed.
    async fn take_receipt(&self, link: &Link, id: RequestId, receipt: v1::Receipt) {
        let bytes = receipt.signed_receipt;
        let Some(decoded) = Receipt::decode(&bytes) else {
            tracing::warn!(
                node = link.index(),
                "dropped a receipt that does not decode"
            );
            return;
        };
        let cluster = self.cluster.cluster_id.as_str();
        let digest = Receipt::digest(
            cluster,
            id.as_bytes(),
            link.node().as_bytes(),
            decoded.first_seen_ms,
        );
        let valid = decoded.intent == *id.as_bytes()
            && decoded.node_id == *link.node().as_bytes()
            && self
                .links
                .roster()
                .get(&link.node())
                .is_some_and(|member| member.identity.verify(&digest, &decoded.signature));
        if !valid {
            tracing::warn!(request = %id, node = link.index(), "dropped a receipt that does not verify");
            return;
        }
        if let Err(error) = self
            .store
            .add_receipt(id, link.index(), bytes.clone(), clock::now_ms())
            .await
        {
            tracing::warn!(request = %id, node = link.index(), %error, "a receipt was not stored");
            return;
        }
        if let Some(live) = self.live().get_mut(&id) {
            let mut record = Record::clone(&live.record);
            record.receipts.entry(link.index()).or_insert(bytes);
            live.record = Arc::new(record);
        }
    }

    /// Tells the nodes that a request will not be signed.
    pub(super) fn withdraw(&self, record: &Record, reason: &str) {
        for link in self.links.all() {
            let withdraw = v1::Withdraw {
                intent_digest: record.status.request_id.clone(),
                reason: reason.to_owned(),
            };
            // A node that does not hear of it drops the request when it expires.
            let _unheard = link.tell(coordinator_frame::Body::Withdraw(withdraw));
        }
    }

    /// What a node says without having been asked.
    pub(super) fn on_said(self: &Arc<Self>, link: &Arc<Link>, body: node_frame::Body) {
        match body {
            node_frame::Body::DkgProgress(progress) => self.ceremonies.hear(link.index(), progress),
            node_frame::Body::ReshareProgress(progress) => self.hear_reshare(link, progress),
            node_frame::Body::Receipt(receipt) => {
                let Some(decoded) = Receipt::decode(&receipt.signed_receipt) else {
                    return;
                };
                let (engine, link) = (Arc::clone(self), Arc::clone(link));
                let id = RequestId::from_bytes(decoded.intent);
                if self.peek(id).is_some() {
                    self.tasks
                        .spawn(async move { engine.take_receipt(&link, id, receipt).await });
                }
            }
            node_frame::Body::PoolEntries(list) => self.signing.note_entries(link, &list),
            node_frame::Body::PairAlarm(alarm) => {
                let is_news = self.signing.note_alarm(link, &alarm);
                if is_news {
                    self.tasks
                        .spawn(Arc::clone(self).store_alarm(link.index(), alarm));
                }
            }
            node_frame::Body::Evidence(said) => {
                let (engine, from) = (Arc::clone(self), link.index());
                self.tasks.spawn(async move {
                    engine.keep_evidence(Some(from), None, said.evidence).await;
                });
            }
            node_frame::Body::Failure(failure) => {
                tracing::warn!(node = link.index(), code = ?failure.code(), reason = failure.message, "the node reports");
            }
            _ => {}
        }
    }

    /// Keeps that a node will not use its setup with a peer any more. Only an operator may bring the two together again.
    async fn store_alarm(self: Arc<Self>, node: u16, alarm: v1::PairAlarm) {
        let why: String = alarm.why.chars().take(WHY_CHARS).collect();
        tracing::error!(node, peer = alarm.peer, generation = alarm.generation, why = ?why, "alert: a check between two nodes failed");
        let detail = serde_json::json!({
            "what": "pair alarm",
            "node": node,
            "peer": alarm.peer,
            "generation": alarm.generation,
            "why": why,
            "session": hex::encode(&alarm.session),
        });
        if let Err(error) = self
            .store
            .note("alert", None, detail, clock::now_ms())
            .await
        {
            tracing::error!(%error, "an alert was not stored");
        }
    }

    /// A node has gone.
    pub(super) fn on_down(self: &Arc<Self>, link: &Link) {
        tracing::warn!(
            node = link.index(),
            connected = self.links.count(),
            "a node has gone"
        );
        self.tasks
            .spawn(Arc::clone(self).end_lost_sessions_later(link.index()));
    }
}
