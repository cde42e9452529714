//! Certified sharings: taken in by the rules the nodes follow too, stored, and spread until everybody concerned has them.
//!
//! A certificate proves itself to whoever knows the sharing before it, so it does not matter who brings it. Only a certificate lets a
//! node erase an old share, so it is worth chasing those who do not have it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError},
    time::Duration,
};

use mpc_core::{
    dkg::DkgCertificate,
    id::{Attempt, Epoch},
    keys::PublicKeyPackage,
    known::Known,
    lineage::{Learned, Refusal},
    reshare::Certificate,
    roster::{Member, Roster},
};
use prost::bytes::Bytes;
use proto::v1::{self, Failure, FailureCode, coordinator_frame, node_frame};

use super::{KeyName, refuse};
use crate::{
    clock,
    engine::Engine,
    error::from_store,
    keys::Key,
    links::{CallError, Link},
    store::{KeyRow, KeyStage, KeyStep, SharingRow},
};

/// How long a node may take to store a certificate or to show a history.
const NODE_TIMEOUT: Duration = Duration::from_secs(10);

impl Engine {
    /// Takes a certificate in; one that is known, or lower than what is known, changes nothing.
    ///
    /// # Errors
    /// `MALFORMED` if it does not hold, `STALE` if it does not continue what is known of the key.
    pub(super) async fn take_certificate(self: &Arc<Self>, bytes: &Bytes) -> Result<(), Failure> {
        let not_held = |error: &dyn core::fmt::Display| {
            let message = format!("the certificate does not hold: {error}");
            refuse(FailureCode::Malformed, message, "do not send it again")
        };
        let name = Certificate::key_of(bytes).map_err(|error| not_held(&error))?;
        let name = *name.as_bytes();
        let key = self.keys.get(&name).ok_or_else(crate::error::unknown)?;
        // Every holder shows it when it has it.
        let last = key.lineage.chain().last();
        if last.is_some_and(|last| last.encode() == *bytes) {
            return Ok(());
        }
        let known = Known::NOTHING
            .roster(self.links.roster())
            .package(&key.package);
        let certificate = Certificate::decode_known(bytes, &known);
        let certificate = certificate.map_err(|error| not_held(&error))?;
        let sharing = certificate.sharing();
        let _one_at_a_time = self.orders.learning.lock().await;
        let key = self.keys.get(&name).ok_or_else(crate::error::unknown)?;
        let now_ms = clock::now_ms();
        let (key, learned) = match key.learn(certificate, now_ms) {
            Ok(learned) => learned,
            Err(refusal) => {
                self.report_refusal(&key, &refusal).await;
                if matches!(refusal, Refusal::Conflict { .. }) && self.is_new(&name, None) {
                    self.show_conflict(&name, bytes);
                }
                return Err(refuse(
                    FailureCode::Stale,
                    refusal.to_string(),
                    "show the certificates in between first",
                ));
            }
        };
        if matches!(learned, Learned::Known | Learned::Behind) {
            return Ok(());
        }
        let row = SharingRow {
            key_id: name,
            epoch: sharing.epoch.0,
            attempt: sharing.attempt.0,
            certificate: bytes.clone(),
            at_ms: now_ms,
        };
        self.store.add_sharing(row).await.map_err(from_store)?;
        if matches!(learned, Learned::Activated(_)) {
            tracing::warn!(key = %key.row.name, sharing = %sharing, "the shares of a key have been replaced");
            self.take_into_use(key);
        } else {
            // Certified beside the chain; what comes later may continue it.
            self.keys.insert(Arc::new(key));
        }
        Ok(())
    }

    /// Signs with a new sharing from now on, and spreads it.
    fn take_into_use(self: &Arc<Self>, key: Key) {
        let key = Arc::new(key);
        self.keys.insert(Arc::clone(&key));
        for link in self.links.all() {
            let (engine, key) = (Arc::clone(self), Arc::clone(&key));
            self.tasks.spawn(async move {
                engine.bring_up(&link, &key).await;
                engine.signing.refill(&key, &link);
            });
        }
    }

    /// Whether this has not been said since the start.
    fn is_new(&self, name: &KeyName, node: Option<u16>) -> bool {
        let said = self.orders.contradicted.lock();
        said.unwrap_or_else(PoisonError::into_inner)
            .insert((*name, node))
    }

    /// Shows every node a certificate that contradicts the one in use; each judges it for itself, and stops the key.
    fn show_conflict(self: &Arc<Self>, name: &KeyName, certificate: &Bytes) {
        for link in self.links.all() {
            let activate = v1::Activate {
                key_id: Bytes::copy_from_slice(name),
                certificate: certificate.clone(),
                ..Default::default()
            };
            self.tasks.spawn(async move {
                let body = coordinator_frame::Body::Activate(activate);
                if let Err(error) = link.call(body, NODE_TIMEOUT).await {
                    tracing::warn!(node = link.index(), %error, "what a node says of a contradicting certificate");
                }
            });
        }
    }

    /// Raises an alert, once, about a node that has stopped a key because its sharings contradict each other.
    pub(super) async fn note_stopped(&self, name: &KeyName, key: &Key, node: u16) {
        if !self.is_new(name, Some(node)) {
            return;
        }
        tracing::error!(key = %key.row.name, node, "alert: a node knows two certified sharings for one place, and signs with the key no more");
        let detail = serde_json::json!({
            "what": "conflict",
            "key": hex::encode(name),
            "node": node,
        });
        let noted = self.store.note("alert", None, detail, clock::now_ms());
        if let Err(error) = noted.await {
            tracing::error!(%error, "an alert was not stored");
        }
    }

    async fn report_refusal(&self, key: &Key, refusal: &Refusal) {
        let (Refusal::Conflict { .. } | Refusal::Fork { .. }) = refusal else {
            return;
        };
        tracing::error!(key = %key.row.name, %refusal, "alert: a certificate contradicts what is certified");
        let detail = serde_json::json!({
            "what": "contradicting certificate",
            "key": hex::encode(key.id()),
            "why": refusal.to_string(),
        });
        if let Err(error) = self
            .store
            .note("alert", None, detail, clock::now_ms())
            .await
        {
            tracing::error!(%error, "an alert was not stored");
        }
    }

    /// The nodes that have said that they hold the certificate of this place or a higher one.
    pub(super) fn acked(&self, name: &KeyName, place: (Epoch, Attempt)) -> BTreeSet<u32> {
        let roster = self.links.roster();
        let numbers = roster.by_index().map(|(index, _)| index.get());
        numbers
            .filter(|number| self.place_of(name, *number).is_some_and(|at| at >= place))
            .map(u32::from)
            .collect()
    }

    /// Where a node is with a key, as far as it has said: by its acknowledgements and its status.
    fn place_of(&self, name: &KeyName, number: u16) -> Option<(Epoch, Attempt)> {
        let acks = self.orders.acks.lock();
        let acked = acks
            .unwrap_or_else(PoisonError::into_inner)
            .get(&(*name, number))
            .copied();
        let told = self.links.get(number).and_then(|link| stated(&link, name));
        acked.max(told)
    }

    fn note_ack(&self, name: &KeyName, number: u16, sharing: Option<&v1::Sharing>) {
        let Some(sharing) = sharing else { return };
        let place = (Epoch(sharing.epoch), Attempt(sharing.attempt));
        let mut acks = self
            .orders
            .acks
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let known = acks.entry((*name, number)).or_insert(place);
        *known = place.max(*known);
    }

    /// Shows a node the certificates that it does not have, lowest first. Nodes that have no record of the key have no use for them.
    pub(super) async fn bring_up(&self, link: &Link, key: &Key) {
        if let Some(place) = self.place_of(&key.id(), link.index())
            && !self.show_certificates(link, key, place).await
        {
            self.bring_up_again(link, key).await;
        }
    }

    /// As [`Engine::bring_up`], for a node that says itself that something is missing: what it acknowledged before does not count, and
    /// it is shown all of its own epoch, where it may be beside the chain.
    pub(super) async fn bring_up_again(&self, link: &Link, key: &Key) {
        self.orders
            .acks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&(key.id(), link.index()));
        let (epoch, _) = stated(link, &key.id()).unwrap_or_default();
        let below = (epoch.min(key.sharing().epoch), Attempt(0));
        self.show_certificates(link, key, below).await;
    }

    /// False if the node refused one because it does not know what that one continues.
    async fn show_certificates(&self, link: &Link, key: &Key, place: (Epoch, Attempt)) -> bool {
        let name = key.id();
        let missing = key.above(place);
        if missing.is_empty() {
            return true;
        }
        let entry = (name, link.index());
        let free = self
            .orders
            .spreading
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(entry);
        if !free {
            return true;
        }
        let mut known = true;
        for certificate in missing {
            let sharing = certificate.sharing();
            let activate = v1::Activate {
                key_id: Bytes::copy_from_slice(&name),
                certificate: certificate.encode().into(),
                epoch: sharing.epoch.0,
                attempt: sharing.attempt.0,
                parts: Vec::new(),
            };
            let body = coordinator_frame::Body::Activate(activate);
            match link.call(body, NODE_TIMEOUT).await {
                Ok(node_frame::Body::ReshareProgress(progress)) => {
                    self.note_ack(&name, link.index(), progress.sharing.as_ref());
                }
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(node = link.index(), key = %key.row.name, %error, "a certificate was not taken; it is shown again");
                    known = !matches!(&error, CallError::Refused(failure) if failure.code() == FailureCode::NeedCertificate);
                    break;
                }
            }
        }
        self.orders
            .spreading
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&entry);
        known
    }

    /// The public history of a key, for a node that has no record of it.
    pub(super) fn chain_of(&self, key: &Key) -> v1::Chain {
        let chain = key.lineage.chain().iter();
        v1::Chain {
            key_id: Bytes::copy_from_slice(&key.id()),
            base: key.row.package.clone(),
            base_parts: key.row.parts.values().cloned().collect(),
            certificates: chain
                .map(|certificate| certificate.encode().into())
                .collect(),
            name: key.row.name.clone(),
            key_request: Bytes::copy_from_slice(&key.row.request_id),
        }
    }

    async fn ask_chain(&self, link: &Link, name: &KeyName) -> Result<v1::Chain, Failure> {
        let query = v1::ChainQuery {
            key_id: Bytes::copy_from_slice(name),
        };
        let answer = link
            .call(coordinator_frame::Body::ChainQuery(query), NODE_TIMEOUT)
            .await;
        match answer {
            Ok(node_frame::Body::Chain(chain)) => Ok(chain),
            Ok(_) => Err(malformed("an answer of the wrong kind".to_owned())),
            Err(error) => Err(malformed(error.to_string())),
        }
    }

    /// Asks a node that is ahead for the certificates that are missing here: the store is an older copy, or a certificate was formed
    /// that nobody brought.
    pub(super) async fn learn_from(
        self: &Arc<Self>,
        link: &Link,
        name: &KeyName,
    ) -> Result<(), Failure> {
        let chain = self.ask_chain(link, name).await?;
        for certificate in &chain.certificates {
            self.take_certificate(certificate).await?;
        }
        Ok(())
    }

    /// Takes up a key that the store does not know: it was lost or is an older copy. The record of the key is believed only if more
    /// than half of those who made it show the same one, and only with the certificate of all of them.
    pub(super) async fn adopt_unknown(
        self: &Arc<Self>,
        name: &KeyName,
        links: &[Arc<Link>],
    ) -> Result<(), Failure> {
        let mut shown: BTreeMap<Bytes, Vec<v1::Chain>> = BTreeMap::new();
        for link in links {
            if let Ok(chain) = self.ask_chain(link, name).await {
                let base = PublicKeyPackage::decode(&chain.base);
                // Only who made the key can say what it was like.
                if base.is_ok_and(|base| base.index_of(&link.node()).is_some()) {
                    shown.entry(chain.base.clone()).or_default().push(chain);
                }
            }
        }
        let most = shown.into_iter().max_by_key(|(_, chains)| chains.len());
        let (base, mut chains) =
            most.ok_or_else(|| malformed("no node shows its history".to_owned()))?;
        let base = PublicKeyPackage::decode(&base)
            .map_err(|error| malformed(format!("the key's record does not decode: {error}")))?;
        // The record brings its own threshold, so more than half of its members have to show it, whatever it says.
        let enough = (base.nodes().len() / 2).saturating_add(1);
        if chains.len() < enough.max(usize::from(self.cluster.threshold)) {
            return Err(malformed("too few nodes show the same record".to_owned()));
        }
        // What one of them adds or leaves out does not keep the others from being heard.
        chains.sort_by_key(|chain| chain.certificates.len());
        let mut last = Ok(());
        for chain in &chains {
            let taken = self.adopt_key(name, &base, chain).await;
            if taken.is_err() {
                last = taken;
                continue;
            }
            for certificate in &chain.certificates {
                if let Err(failure) = self.take_certificate(certificate).await {
                    last = Err(failure);
                    break;
                }
            }
        }
        if self.keys.get(name).is_some() {
            Ok(())
        } else {
            last
        }
    }

    /// Takes up a key from the certificate of its generation.
    async fn adopt_key(
        &self,
        name: &KeyName,
        base: &PublicKeyPackage,
        chain: &v1::Chain,
    ) -> Result<(), Failure> {
        let cluster = self.links.roster();
        let members = base.nodes().iter().map(|(index, node)| {
            let member = cluster.get(node).copied();
            member.map(|member| {
                (
                    cluster.index(node),
                    Member {
                        index: *index,
                        ..member
                    },
                )
            })
        });
        let members: Option<Vec<_>> = members.collect();
        let members =
            members.ok_or_else(|| malformed("a holder is not in the cluster file".to_owned()))?;
        let roster = Roster::new(members.iter().map(|(_, member)| *member))
            .map_err(|error| malformed(error.to_string()))?;
        let parts: Vec<&[u8]> = chain.base_parts.iter().map(AsRef::as_ref).collect();
        let certificate = DkgCertificate::from_parts(&roster, parts)
            .map_err(|error| malformed(format!("the key's certificate does not hold: {error}")))?;
        if certificate.key_id() != base.key_id() || base.key_id().as_bytes() != name {
            return Err(malformed("the certificate is of another key".to_owned()));
        }
        let request_id = chain.key_request.as_ref().try_into();
        let request_id = request_id.map_err(|_| malformed("no request id".to_owned()))?;
        let numbers: Vec<u16> = members
            .iter()
            .filter_map(|(number, _)| number.map(mpc_core::id::PartyIndex::get))
            .collect();
        let parts = certificate.parts().iter().filter_map(|(node, part)| {
            Some((cluster.index(node)?.get(), Bytes::from(part.clone())))
        });
        let row = KeyRow {
            request_id,
            name: chain.name.clone(),
            scheme: base.purpose().as_str().to_owned(),
            threshold: base.params().threshold(),
            stage: KeyStage::Running,
            created_ms: clock::now_ms(),
            package: Bytes::new(),
            parts: BTreeMap::new(),
            nodes: numbers,
            imported: false,
        };
        let _one_at_a_time = self.admin.lock().await;
        if self.keys.get(name).is_some() || self.ceremonies.is_cared_for(&request_id) {
            return Ok(());
        }
        tracing::warn!(
            name = row.name,
            "the nodes have a key that the store does not know; taking it up"
        );
        // A generation that waits for nodes which may never show themselves again ends here.
        self.ceremonies.close(&request_id);
        if !self.ceremonies.has(&request_id) {
            self.store.add_key(row).await.map_err(from_store)?;
        }
        let steps = [
            KeyStep::Certify(parts.collect()),
            KeyStep::Activate(chain.base.clone()),
        ];
        for step in steps {
            let row = self.store.step_key(request_id, step, clock::now_ms());
            let row = row.await.map_err(from_store)?;
            if let Some(key) = Key::read(&row).map_err(from_store)? {
                self.keys.insert(Arc::new(key));
            }
            self.ceremonies.note(row);
        }
        Ok(())
    }
}

fn malformed(message: String) -> Failure {
    refuse(FailureCode::Malformed, message, "see the node's log")
}

/// The sharing that a node's status names for a key.
pub(super) fn stated(link: &Link, name: &KeyName) -> Option<(Epoch, Attempt)> {
    let status = link.status()?;
    let key = status.keys.iter().find(|key| key.key_id.as_ref() == name)?;
    let sharing = key.sharing.as_ref()?;
    Some((Epoch(sharing.epoch), Attempt(sharing.attempt)))
}
