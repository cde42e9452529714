//! Key generations that a restart, a lost link or a lost store interrupted: ended, completed, or taken up again.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use prost::bytes::Bytes;
use proto::v1::{self, FailureCode};
use tokio::sync::mpsc;

use super::{Ceremony, Engine, refuse, stage};
use crate::{
    links::Link,
    store::{KeyRow, KeyStage},
};

/// How long a node may be away before the key generations it takes part in are given up.
const COME_BACK: Duration = Duration::from_secs(5);

/// What a node's status says of a generation, as progress.
fn part_of(state: &v1::KeyState) -> v1::DkgProgress {
    v1::DkgProgress {
        request_id: state.request_id.clone(),
        certificate_part: state.certificate_part.clone(),
        ..stage("round3")
    }
}

impl Engine {
    /// Goes on with generations that a restart interrupted; what is missing comes as nodes connect.
    pub(in crate::engine) fn resume_ceremonies(self: &Arc<Self>) {
        let open: Vec<KeyRow> = self
            .ceremonies
            .rows()
            .values()
            .filter(|row| matches!(row.stage, KeyStage::Running | KeyStage::Certified))
            .cloned()
            .collect();
        for row in open {
            self.complete(row);
        }
    }

    /// Waits for what is missing of a generation that nodes have finished or will not finish.
    fn complete(self: &Arc<Self>, row: KeyRow) {
        let heard = self.ceremonies.open(row.request_id, BTreeMap::new());
        // Nobody listens; ListKeys shows how it ends.
        let (out, _) = mpsc::channel(1);
        self.tasks
            .spawn(Arc::clone(self).run_ceremony(Ceremony::new(row, out), heard, None));
    }

    /// Ends the generations whose session on this node is gone: the node has not come back, or not as it was.
    pub(in crate::engine) fn end_lost_sessions(&self, index: u16) {
        let link = self.links.get(index);
        for request_id in self
            .ceremonies
            .lost(index, link.as_ref().map(|link| link.boot_id()))
        {
            let failure = refuse(
                FailureCode::Unavailable,
                "it left during the key generation",
                "ask for a new key",
            );
            let aborted = v1::DkgProgress {
                request_id: Bytes::copy_from_slice(&request_id),
                failure: Some(failure),
                ..stage("aborted")
            };
            self.ceremonies.hear(index, aborted);
        }
    }

    /// As [`Engine::end_lost_sessions`], after a node had time to come back.
    pub(in crate::engine) async fn end_lost_sessions_later(self: Arc<Self>, index: u16) {
        tokio::select! {
            () = tokio::time::sleep(COME_BACK) => self.end_lost_sessions(index),
            () = self.stopping.cancelled() => {}
        }
    }

    /// Takes up a generation that the store does not know but enough nodes do: the store was lost or is an older copy.
    ///
    /// It is then completed like an interrupted generation, so nothing is believed that is not certified by all nodes. A key that was
    /// refreshed or reshared since is left to its history: the nodes that made it may be gone for good.
    async fn adopt(self: &Arc<Self>, state: &v1::KeyState) {
        let of_it = |other: &&v1::KeyState| other.request_id == state.request_id;
        let same = |other: &v1::KeyState| {
            (&other.name, &other.scheme, other.threshold, &other.nodes)
                == (&state.name, &state.scheme, state.threshold, &state.nodes)
        };
        let links = self.links.all().into_iter();
        let statuses = links.filter_map(|link| link.status());
        let claims = statuses.filter_map(|status| status.keys.iter().find(of_it).cloned());
        let claims: Vec<v1::KeyState> = claims.collect();
        if claims.iter().any(|claim| claim.epoch > 0) {
            return;
        }
        let claims = claims.into_iter().filter(same).count();
        let threshold = usize::try_from(state.threshold).unwrap_or(usize::MAX);
        if claims < threshold.max(usize::from(self.cluster.threshold)) {
            return;
        }
        let request = v1::CreateKeyRequest {
            name: state.name.clone(),
            scheme: state.scheme.clone(),
            threshold: state.threshold,
            nodes: state.nodes.clone(),
            import: None,
        };
        let Ok(mut row) = self.read_key_request(&request) else {
            return;
        };
        let Ok(request_id) = state.request_id.as_ref().try_into() else {
            return;
        };
        row.request_id = request_id;
        let _one_at_a_time = self.admin.lock().await;
        if self.ceremonies.rows().contains_key(&row.request_id) {
            return;
        }
        if let Err(error) = self.store.add_key(row.clone()).await {
            tracing::error!(name = row.name, %error, "a key that the nodes have was not taken up");
            return;
        }
        tracing::warn!(
            name = row.name,
            "the nodes have a key that the store does not know; taking it up"
        );
        self.ceremonies.note(row.clone());
        self.complete(row);
        for link in self.links.all() {
            let status = link.status();
            let states = status.iter().flat_map(|status| &status.keys);
            for state in states.filter(of_it) {
                self.ceremonies.hear(link.index(), part_of(state));
            }
        }
    }

    /// Brings a node's keys up to date, and generations that wait for it.
    pub(in crate::engine) async fn send_certificates(self: &Arc<Self>, link: &Arc<Link>) {
        let status = link.status();
        for state in status.iter().flat_map(|status| &status.keys) {
            let Ok(request_id) = <[u8; 32]>::try_from(state.request_id.as_ref()) else {
                continue;
            };
            let row = self.ceremonies.rows().get(&request_id).cloned();
            let Some(row) = row else {
                self.adopt(state).await;
                continue;
            };
            match row.stage {
                KeyStage::Running => self.ceremonies.hear(link.index(), part_of(state)),
                KeyStage::Certified => self.hand_certificate(Arc::clone(link), &row),
                KeyStage::Active if state.state == "pending" => {
                    self.hand_certificate(Arc::clone(link), &row);
                }
                KeyStage::Active | KeyStage::Aborted => {}
            }
        }
    }
}
