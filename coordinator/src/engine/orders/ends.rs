//! Orders that end a key's use: taken out of use, or handed out.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures_util::future::join_all;
use policy::statement::{Exportation, Retirement};
use prost::bytes::Bytes;
use proto::v1::{self, FailureCode, coordinator_frame, node_frame};
use tokio_util::sync::CancellationToken;

use super::{KeyName, OrderId, refuse};
use crate::{
    clock,
    engine::Engine,
    keys::Key,
    links::{CallError, Link},
};

/// Between two rounds of asking nodes whose operators have not consented.
const EXPORT_PAUSE: Duration = Duration::from_secs(2);

/// How long a node may take to judge and store such an order.
const NODE_TIMEOUT: Duration = Duration::from_secs(10);

impl Engine {
    /// Marks the keys that people have ordered to sign no more, or that were handed out.
    pub(in crate::engine) fn end_keys(&self) {
        let mut names: BTreeSet<KeyName> = self.orders.ended_keys().into_keys().collect();
        names.extend(self.orders.exported_keys());
        for name in names {
            if let Some(key) = self.keys.get(&name).filter(|key| !key.ended) {
                let ended = Key {
                    ended: true,
                    ..Key::clone(&key)
                };
                self.keys.insert(Arc::new(ended));
            }
        }
    }

    pub(super) async fn run_retirement(self: Arc<Self>, id: OrderId, matter: Retirement) {
        self.end_keys();
        let name = matter.key.key;
        let told = self.holders(&name).into_iter().map(|link| {
            let engine = &self;
            async move {
                let acked = engine.retire_at(&link, &name).await;
                v1::OrderNode {
                    node: u32::from(link.index()),
                    member: true,
                    connected: true,
                    acked,
                    ..Default::default()
                }
            }
        });
        let nodes = join_all(told).await;
        self.show_key(&id, &name, |key| {
            "done".clone_into(&mut key.stage);
            key.nodes = nodes;
            key.ended_ms = clock::now_ms();
        });
        self.end_order(&id, "done", None).await;
    }

    /// Shows a node that a key has been taken out of use; true if it has taken note.
    pub(super) async fn retire_at(&self, link: &Link, name: &KeyName) -> bool {
        let ended = self.orders.ended_keys();
        let Some(statements) = ended.get(name).cloned() else {
            return false;
        };
        let retire = coordinator_frame::Body::Retire(v1::Retire { statements });
        match link.call(retire, NODE_TIMEOUT).await {
            Ok(node_frame::Body::KeyState(_)) => true,
            Ok(_) => false,
            Err(error) => {
                tracing::warn!(node = link.index(), %error, "the end of a key was not taken note of");
                false
            }
        }
    }

    /// The connected members of a key.
    fn holders(&self, name: &KeyName) -> Vec<Arc<Link>> {
        let key = self.keys.get(name);
        let nodes = key
            .map(|key| key.package.nodes().clone())
            .unwrap_or_default();
        let links = nodes.values().filter_map(|node| self.links.by_node(node));
        links.collect()
    }

    /// Gathers what the nodes give, as far as their own operators let them. The order waits for those until it expires or is cancelled.
    pub(super) async fn run_export(
        self: Arc<Self>,
        id: OrderId,
        matter: Exportation,
        stop: CancellationToken,
    ) {
        let name = matter.key.key;
        let needed = self
            .keys
            .get(&name)
            .map_or(u16::MAX, |key| key.package.params().threshold());
        loop {
            let Some(status) = self.orders.status(&id) else {
                return;
            };
            let mut exported = status.exported;
            let reasons = self
                .gather(&id, &name, &status.statements, &mut exported)
                .await;
            self.end_keys();
            if exported.len() >= usize::from(needed) {
                self.show_key(&id, &name, |key| {
                    "done".clone_into(&mut key.stage);
                    key.failure = None;
                    key.ended_ms = clock::now_ms();
                });
                return self.end_order(&id, "done", None).await;
            }
            let failure = refuse(
                FailureCode::NotYet,
                format!(
                    "{} of {needed} nodes have given their share; {}",
                    exported.len(),
                    reasons.join("; ")
                ),
                "two operators of each node must let it, on its own machine",
            );
            if status.expires_ms <= clock::now_ms() {
                self.show_key(&id, &name, |key| {
                    "failed".clone_into(&mut key.stage);
                    key.failure = Some(failure.clone());
                    key.ended_ms = clock::now_ms();
                });
                return self.end_order(&id, "expired", Some(failure)).await;
            }
            self.show_key(&id, &name, |key| key.failure = Some(failure));
            tokio::select! {
                () = tokio::time::sleep(EXPORT_PAUSE) => {}
                () = stop.cancelled() => return,
                () = self.stopping.cancelled() => return,
            }
        }
    }

    /// Asks every member once that has given nothing yet; what is new is stored before anything follows from it. The reasons of the
    /// others.
    async fn gather(
        &self,
        id: &OrderId,
        name: &KeyName,
        statements: &[Bytes],
        exported: &mut Vec<v1::Exported>,
    ) -> Vec<String> {
        let Some(key) = self.keys.get(name) else {
            return vec!["the key is not here".to_owned()];
        };
        let index = |link: &Link| {
            let index = key.package.index_of(&link.node());
            index.map_or(0, |index| u32::from(index.get()))
        };
        let links = self.holders(name).into_iter();
        let asked = links.filter(|link| exported.iter().all(|one| one.index != index(link)));
        let calls = asked.map(|link| {
            let export = v1::Export {
                statements: statements.to_vec(),
            };
            async move {
                let call = link.call(coordinator_frame::Body::Export(export), NODE_TIMEOUT);
                let answer = call.await;
                (link, answer)
            }
        });
        let (mut reasons, mut gave) = (Vec::new(), false);
        for (link, answer) in join_all(calls).await {
            let number = link.index();
            match answer {
                Ok(node_frame::Body::Exported(part))
                    if part.key_id.as_ref() == name && part.index == index(&link) =>
                {
                    tracing::error!(node = number, key = %key.row.name, "alert: a node has handed its share of a key out");
                    exported.push(part);
                    gave = true;
                }
                Ok(_) => reasons.push(format!("node {number}: {}", CallError::WrongKind)),
                Err(error) => reasons.push(format!("node {number}: {error}")),
            }
        }
        if gave {
            self.show(id, |status| status.exported.clone_from(exported));
            if let Err(error) = self.store_order(id).await {
                tracing::error!(order = hex::encode(id), %error, "a share that was handed out was not stored; it is asked for again");
            }
            let detail = serde_json::json!({
                "what": "export",
                "key": hex::encode(name),
                "order": hex::encode(id),
                "given": exported.len(),
            });
            let noted = self
                .store
                .note("alert", None, detail, clock::now_ms())
                .await;
            if let Err(error) = noted {
                tracing::error!(%error, "an alert was not stored");
            }
        }
        reasons
    }
}
