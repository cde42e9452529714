//! Orders that end a key's use: taken out of use, or handed out.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use policy::statement::{Exportation, Retirement};
use prost::bytes::Bytes;
use proto::v1::{self, FailureCode, coordinator_frame, node_frame};

use super::{KeyName, OrderId, refuse};
use crate::{
    clock,
    engine::Engine,
    keys::Key,
    links::{CallError, Link},
};

/// How long a node may take to judge and store such an order.
const NODE_TIMEOUT: Duration = Duration::from_secs(10);

impl Engine {
    /// Marks the keys that people have ordered to sign no more.
    pub(in crate::engine) fn end_keys(&self) {
        for name in self.orders.ended_keys().keys() {
            if let Some(key) = self.keys.get(name).filter(|key| !key.ended) {
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

    pub(super) async fn run_export(self: Arc<Self>, id: OrderId, matter: Exportation) {
        let name = matter.key.key;
        let statements = self
            .orders
            .status(&id)
            .map(|status| status.statements)
            .unwrap_or_default();
        let calls = self.holders(&name).into_iter().map(|link| {
            let export = v1::Export {
                statements: statements.clone(),
            };
            async move {
                let call = link.call(coordinator_frame::Body::Export(export), NODE_TIMEOUT);
                (link.index(), call.await)
            }
        });
        let (mut exported, mut reasons) = (Vec::new(), Vec::new());
        for (number, answer) in join_all(calls).await {
            match answer {
                Ok(node_frame::Body::Exported(part)) if part.key_id.as_ref() == name => {
                    exported.push(part);
                }
                Ok(_) => reasons.push(format!("node {number}: {}", CallError::WrongKind)),
                Err(error) => reasons.push(format!("node {number}: {error}")),
            }
        }
        let needed = self
            .keys
            .get(&name)
            .map_or(u16::MAX, |key| key.package.params().threshold());
        let enough = exported.len() >= usize::from(needed);
        self.show(&id, |status| status.exported = exported);
        self.show_key(&id, &name, |key| {
            key.key_id = Bytes::copy_from_slice(&name);
            if enough { "done" } else { "failed" }.clone_into(&mut key.stage);
            key.ended_ms = clock::now_ms();
        });
        if enough {
            self.end_order(&id, "done", None).await;
        } else {
            let failure = refuse(
                FailureCode::Unavailable,
                "too few nodes handed their share out",
                "see the reasons of each node",
            );
            self.end_order(&id, "failed", Some(failure.reasons(reasons)))
                .await;
        }
    }
}
