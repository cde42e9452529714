//! Key generation: started on all nodes at once, its certificate kept here for whoever missed it.
//!
//! The coordinator cannot influence the key. It collects the signed parts of the certificate, stores them before it
//! hands them out, and believes a public key package only if `threshold` nodes report the same one for the certified
//! key: at least one of them is honest.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use mpc_core::{
    dkg::DkgCertificate,
    id::{Params, PartyIndex, Purpose},
    roster::{Member, Roster},
};
use prost::bytes::Bytes;
use proto::v1::{self, Failure, FailureCode, coordinator_frame};
use tokio::sync::mpsc;

mod ceremony;
mod list;
mod recovery;

pub(super) use ceremony::Ceremonies;
use ceremony::{Ceremony, Heard};

use super::Engine;
use crate::{
    clock,
    error::from_store,
    keys::Key,
    links::Link,
    store::{KeyRow, KeyStage, KeyStep},
};

/// Progress messages that wait for whoever asked for the key; it may be slow, the generation is not held up.
const PROGRESS: usize = 256;

/// How long a node may take to answer the start of a generation or to activate a key.
const NODE_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest name of a key, in bytes.
const NAME_BYTES: usize = 64;

/// What whoever asked for a key hears.
pub(crate) type Progress = mpsc::Receiver<v1::DkgProgress>;

fn refuse(code: FailureCode, message: impl Into<String>, hint: &str) -> Failure {
    Failure::new(code, message).hint(hint)
}

fn stage(name: &str) -> v1::DkgProgress {
    v1::DkgProgress {
        stage: name.to_owned(),
        ..Default::default()
    }
}

impl Engine {
    /// Passes a broadcast of an import's dealer on to the members that are connected. They authenticate it.
    ///
    /// # Errors
    /// `UNKNOWN` if there is no such import under way.
    pub(crate) fn pass_import(&self, message: &v1::ImportMessage) -> Result<(), Failure> {
        let request_id = <[u8; 32]>::try_from(message.request_id.as_ref()).unwrap_or_default();
        let row = self.ceremonies.rows().get(&request_id).cloned();
        let row = row.filter(|row| row.imported && row.stage == KeyStage::Running);
        let row = row.ok_or_else(|| {
            let what = "there is no such import under way";
            refuse(FailureCode::Unknown, what, "start another one")
        })?;
        for index in self.committee(&row) {
            let body = coordinator_frame::Body::ImportMessage(message.clone());
            let told = self.links.get(index).map(|link| link.tell(body));
            if !matches!(told, Some(Ok(()))) {
                tracing::warn!(node = index, "a message of an import was not passed on");
            }
        }
        Ok(())
    }

    /// Begins a key generation on all nodes.
    ///
    /// # Errors
    /// `MALFORMED` for a name, scheme or threshold that cannot be; `CONFLICT` for a name in use; `UNAVAILABLE` unless
    /// every node is connected.
    pub(crate) async fn create_key(
        self: &Arc<Self>,
        request: v1::CreateKeyRequest,
    ) -> Result<Progress, Failure> {
        let row = self.read_key_request(&request)?;
        let _one_at_a_time = self.admin.lock().await;
        let taken = self
            .ceremonies
            .rows()
            .values()
            .any(|other| other.name == row.name && other.stage != KeyStage::Aborted);
        if taken {
            return Err(refuse(
                FailureCode::Conflict,
                "a key of this name exists",
                "choose another name",
            ));
        }
        let numbers = self.committee(&row);
        let absent: Vec<u16> = numbers
            .iter()
            .copied()
            .filter(|index| self.links.get(*index).is_none())
            .collect();
        if !absent.is_empty() {
            let message =
                format!("all its nodes must be connected to make a key; missing: {absent:?}");
            return Err(refuse(
                FailureCode::Unavailable,
                message,
                "start the missing nodes, then ask again",
            ));
        }
        self.store.add_key(row.clone()).await.map_err(from_store)?;
        tracing::info!(
            name = row.name,
            scheme = row.scheme,
            generation = hex::encode(row.request_id),
            "key generation begins"
        );
        self.ceremonies.note(row.clone());
        let members: Vec<Arc<Link>> = numbers
            .iter()
            .filter_map(|index| self.links.get(*index))
            .collect();
        let boots = members
            .iter()
            .map(|link| (link.index(), *link.boot_id()))
            .collect();
        let heard = self.ceremonies.open(row.request_id, boots);
        let (out, progress) = mpsc::channel(PROGRESS);
        let deadline = self.config.links.dkg_timeout;
        for link in members {
            self.start_on(link, &row, request.import.clone());
        }
        self.tasks.spawn(Arc::clone(self).run_ceremony(
            Ceremony::new(row, out),
            heard,
            Some(deadline),
        ));
        Ok(progress)
    }

    fn read_key_request(&self, request: &v1::CreateKeyRequest) -> Result<KeyRow, Failure> {
        let malformed =
            |message: &str| refuse(FailureCode::Malformed, message, "correct it and ask again");
        let allowed = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._:-".contains(&byte)
        };
        if request.name.is_empty()
            || request.name.len() > NAME_BYTES
            || !request.name.bytes().all(allowed)
        {
            return Err(malformed(
                "a key's name has 1 to 64 of a-z, 0-9, '.', '_', ':' and '-'",
            ));
        }
        if Purpose::parse(&request.scheme).is_none() {
            return Err(malformed(
                "the scheme must be bip340, ecdsa, ecdsa-raw or ed25519",
            ));
        }
        let nodes = self.read_nodes(&request.nodes)?;
        let parties = if nodes.is_empty() {
            self.links.roster().len()
        } else {
            nodes.len()
        };
        let parties = u16::try_from(parties).unwrap_or(u16::MAX);
        let asked = u16::try_from(request.threshold)
            .map_err(|_| malformed("the threshold is too large"))?;
        let threshold = if asked == 0 {
            self.cluster.threshold
        } else {
            asked
        };
        Params::new(threshold, parties)
            .map_err(|_| malformed("the threshold must be from 2 to the number of nodes"))?;
        let mut request_id = [0; 32];
        // Nodes that came out of a backup make no key that was asked for before.
        let (made, fresh) = request_id.split_at_mut(8);
        made.copy_from_slice(&clock::now_ms().to_be_bytes());
        getrandom::fill(fresh)
            .map_err(|_| refuse(FailureCode::Unavailable, "no randomness", "ask again"))?;
        Ok(KeyRow {
            request_id,
            name: request.name.clone(),
            scheme: request.scheme.clone(),
            threshold,
            stage: KeyStage::Running,
            created_ms: clock::now_ms(),
            package: Bytes::new(),
            parts: BTreeMap::new(),
            nodes,
            imported: request.import.is_some(),
        })
    }

    /// Numbers of nodes to make a key on, ascending; empty for all of them.
    fn read_nodes(&self, asked: &[u32]) -> Result<Vec<u16>, Failure> {
        let numbers: Option<BTreeSet<u16>> = asked
            .iter()
            .map(|number| u16::try_from(*number).ok())
            .collect();
        let known = |number: &u16| {
            PartyIndex::new(*number).is_ok_and(|index| self.links.roster().node_id(index).is_some())
        };
        match numbers {
            Some(numbers) if numbers.len() == asked.len() && numbers.iter().all(known) => {
                let all = numbers.len() == self.links.roster().len();
                let numbers = if all { BTreeSet::new() } else { numbers };
                Ok(numbers.into_iter().collect())
            }
            _ => Err(refuse(
                FailureCode::Malformed,
                "the nodes must be distinct numbers of the cluster file",
                "correct it and ask again",
            )),
        }
    }

    /// The nodes that a key is made on, by number, ascending.
    pub(super) fn committee(&self, row: &KeyRow) -> Vec<u16> {
        if row.nodes.is_empty() {
            let all = self.links.roster().by_index();
            all.map(|(index, _)| index.get()).collect()
        } else {
            row.nodes.clone()
        }
    }

    /// These nodes with the indices that they have in the key: 1, 2, and so on.
    fn committee_roster(&self, row: &KeyRow) -> Result<Roster, Failure> {
        let cluster = self.links.roster();
        let members = self
            .committee(row)
            .into_iter()
            .zip(1_u16..)
            .map(|(number, index)| {
                let node = cluster.node_id(PartyIndex::new(number).ok()?)?;
                let index = PartyIndex::new(index).ok()?;
                Some(Member {
                    index,
                    ..*cluster.get(&node)?
                })
            })
            .collect::<Option<Vec<_>>>();
        members
            .and_then(|members| Roster::new(members).ok())
            .ok_or_else(|| {
                let message = "the nodes of the key are not in the cluster file";
                refuse(FailureCode::Internal, message, "see the cluster file")
            })
    }

    fn start_on(self: &Arc<Self>, link: Arc<Link>, row: &KeyRow, import: Option<v1::Import>) {
        let deadline_ms =
            u64::try_from(self.config.links.dkg_timeout.as_millis()).unwrap_or(u64::MAX);
        let start = v1::StartDkg {
            name: row.name.clone(),
            scheme: row.scheme.clone(),
            threshold: u32::from(row.threshold),
            request_id: Bytes::copy_from_slice(&row.request_id),
            attempt: 0,
            deadline_ms,
            nodes: row.nodes.iter().copied().map(u32::from).collect(),
            import,
        };
        let (engine, request_id) = (Arc::clone(self), start.request_id.clone());
        self.tasks.spawn(async move {
            // The answer itself is heard like every other progress message.
            if let Err(error) = link
                .call(coordinator_frame::Body::StartDkg(start), NODE_TIMEOUT)
                .await
            {
                let failure = refuse(
                    FailureCode::Unavailable,
                    format!("node {}: {error}", link.index()),
                    "see its log",
                );
                let aborted = v1::DkgProgress {
                    request_id,
                    failure: Some(failure),
                    ..stage("aborted")
                };
                engine.ceremonies.hear(link.index(), aborted);
            }
        });
    }

    async fn run_ceremony(
        self: Arc<Self>,
        mut ceremony: Ceremony,
        mut heard: mpsc::Receiver<Heard>,
        deadline: Option<Duration>,
    ) {
        let request_id = ceremony.row.request_id;
        let end = async {
            match deadline {
                Some(deadline) => tokio::time::sleep(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(end);
        let result = loop {
            match self.advance_ceremony(&mut ceremony).await {
                Ok(true) => break Ok(()),
                Ok(false) => {}
                Err(failure) => break Err(failure),
            }
            tokio::select! {
                () = self.stopping.cancelled() => return,
                () = &mut end => break Err(self.too_late(&ceremony)),
                said = heard.recv() => {
                    // The key was taken up with its history meanwhile.
                    let Some((index, progress)) = said else { return };
                    if let Err(failure) = self.take_progress(&mut ceremony, index, progress).await {
                        break Err(failure);
                    }
                }
            }
        };
        self.ceremonies.close(&request_id);
        if let Err(failure) = result {
            self.end_without_key(&ceremony, failure).await;
        }
    }

    fn too_late(&self, ceremony: &Ceremony) -> Failure {
        let missing: Vec<u16> = self
            .committee(&ceremony.row)
            .into_iter()
            .filter(|index| !ceremony.parts.contains_key(index))
            .collect();
        let message =
            format!("the key generation took too long; no certificate part of nodes {missing:?}");
        refuse(
            FailureCode::TimedOut,
            message,
            "look at these nodes, then ask for a new key",
        )
    }

    /// Keeps what a node has said; an abort before its part is there ends the generation.
    async fn take_progress(
        &self,
        ceremony: &mut Ceremony,
        index: u16,
        progress: v1::DkgProgress,
    ) -> Result<(), Failure> {
        // Whoever is no member has no say in it: neither a part, nor a vote for the record, nor an end.
        if !self.committee(&ceremony.row).contains(&index) {
            return Ok(());
        }
        if !progress.certificate_part.is_empty() {
            ceremony
                .parts
                .entry(index)
                .or_insert_with(|| progress.certificate_part.clone());
        }
        if !progress.public_package.is_empty() {
            ceremony
                .packages
                .insert(index, progress.public_package.clone());
        }
        if !progress.said.is_empty() {
            ceremony.tell(progress);
            return Ok(());
        }
        if progress.stage != "aborted" {
            // How it ends is said once, at the end, for all nodes together.
            let shown = if progress.stage == "active" {
                "certified".to_owned()
            } else {
                progress.stage.clone()
            };
            ceremony.tell(v1::DkgProgress {
                stage: shown,
                ..Default::default()
            });
            return Ok(());
        }
        if !progress.evidence.is_empty() {
            self.keep_evidence(Some(index), None, progress.evidence)
                .await;
        }
        if ceremony.parts.contains_key(&index) {
            return Ok(());
        }
        let failure = progress.failure.unwrap_or_default();
        let message = format!("node {index} aborted: {}", failure.message);
        let mut told = Failure::new(failure.code(), message)
            .hint("look at the named nodes, then ask for a new key");
        told.culprits = failure.culprits;
        Err(told)
    }

    /// Goes as far as what is there allows: true once the key can be used.
    async fn advance_ceremony(self: &Arc<Self>, ceremony: &mut Ceremony) -> Result<bool, Failure> {
        if ceremony.certified.is_none() {
            let roster = &self.committee_roster(&ceremony.row)?;
            if ceremony.parts.len() < roster.len() {
                return Ok(false);
            }
            let parts: Vec<&[u8]> = ceremony.parts.values().map(AsRef::as_ref).collect();
            let certificate = DkgCertificate::from_parts(roster, parts).map_err(|error| {
                refuse(
                    FailureCode::Aborted,
                    format!("the certificate does not hold: {error}"),
                    "ask for a new key",
                )
            })?;
            if ceremony.row.stage == KeyStage::Running {
                let step = KeyStep::Certify(ceremony.parts.clone());
                let row = self
                    .store
                    .step_key(ceremony.row.request_id, step, clock::now_ms())
                    .await
                    .map_err(from_store)?;
                self.ceremonies.note(row.clone());
                ceremony.row = row;
            }
            ceremony.certified = Some(certificate.key_id());
            ceremony.tell(stage("certified"));
            for link in self.links.all() {
                self.hand_certificate(link, &ceremony.row);
            }
        }
        let Some(package) = ceremony.agreed() else {
            return Ok(false);
        };
        let step = KeyStep::Activate(package);
        let row = self
            .store
            .step_key(ceremony.row.request_id, step, clock::now_ms())
            .await
            .map_err(from_store)?;
        let key = Key::read(&row).map_err(from_store)?.map(Arc::new);
        self.ceremonies.note(row);
        let Some(key) = key else { return Ok(false) };
        tracing::info!(name = key.row.name, key = %key.package.key_id(), "key active");
        self.keys.insert(Arc::clone(&key));
        for link in self.links.all() {
            self.signing.refill(&key, &link);
        }
        ceremony.tell(v1::DkgProgress {
            key_id: Bytes::copy_from_slice(&key.id()),
            public_key: Bytes::copy_from_slice(&key.public_key),
            public_package: key.row.package.clone(),
            ..stage("active")
        });
        Ok(true)
    }

    async fn end_without_key(&self, ceremony: &Ceremony, failure: Failure) {
        tracing::error!(
            name = ceremony.row.name,
            reason = failure.message,
            "key generation ended without a key"
        );
        match self
            .store
            .step_key(ceremony.row.request_id, KeyStep::Abort, clock::now_ms())
            .await
        {
            Ok(row) => self.ceremonies.note(row),
            Err(error) => tracing::error!(%error, "the end of a key generation was not stored"),
        }
        ceremony.tell(v1::DkgProgress {
            failure: Some(failure),
            ..stage("aborted")
        });
    }

    /// Gives a node all parts of a certificate. Its answer is heard like every other progress message.
    fn hand_certificate(&self, link: Arc<Link>, row: &KeyRow) {
        let certificate = v1::DkgCertificate {
            request_id: Bytes::copy_from_slice(&row.request_id),
            parts: row.parts.values().cloned().collect(),
        };
        self.tasks.spawn(async move {
            let call = link.call(coordinator_frame::Body::DkgCertificate(certificate), NODE_TIMEOUT);
            if let Err(error) = call.await {
                tracing::warn!(node = link.index(), %error, "certificate not taken; it is handed over again");
            }
        });
    }
}
