//! One ECDSA signature: a set of exactly `t` signers, one entry of their pool, two rounds, and the combination.
//!
//! Everybody sends to everybody through here: the coordinator shows all first-round envelopes to all signers and combines the
//! second-round ones, which takes no secret. Whatever goes wrong, the entry is gone; another one, or another set, is tried.

mod explain;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use mpc_core::{
    Abort, Error,
    ecdsa::{Payload, SigningRequest, combine},
    envelope::{Envelope, Kind},
    hd::DerivationPath,
    id::{NodeId, SessionId},
};
use policy::transaction::{Hash, Task};
use prost::bytes::Bytes;
use proto::{
    convert::reshare::{sharing_of, sharing_to_wire},
    v1::{self, Failure, FailureCode, coordinator_frame, node_frame},
};

use super::{Job, NoSignature, Signing, TaskOutcome, TaskSigned, entries::Set, tally::Tally};
use crate::{
    clock,
    links::{CallError, Link},
};

/// Entries that one run may burn.
const TRIES: usize = 8;

/// How long a run waits for preprocessing when a pool is empty.
const FILL_PATIENCE: Duration = Duration::from_secs(15);

/// How often nodes are asked again meanwhile.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// Entries below which more are asked for in the background.
const ENTRIES_LOW: usize = 2;

/// Entries asked for at a time.
const ENTRIES_WANTED: u32 = 4;

/// Where one try ended.
enum Tried {
    Done(Vec<u8>),
    /// The same signers may be tried again with another entry.
    Burned,
}

/// A round that not everybody took part in.
struct Incomplete {
    /// All refused, so that the entry is as it was.
    untouched: bool,
}

pub(super) struct Run<'a> {
    signing: &'a Arc<Signing>,
    job: &'a Job,
    number: u32,
    task: &'a Task,
    base: u32,
    start: Instant,
    links: BTreeMap<u16, Arc<Link>>,
    ranked: Vec<u16>,
    /// Nodes that are not asked again in this run.
    out: BTreeSet<u16>,
    /// Sets that are not asked again in this run.
    barred: BTreeSet<Set>,
    tally: Tally,
    timings_us: BTreeMap<String, u64>,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        signing: &'a Arc<Signing>,
        job: &'a Job,
        number: u32,
        task: &'a Task,
        base: u32,
    ) -> Self {
        let order = signing.order(job);
        Self {
            signing,
            job,
            number,
            task,
            base,
            start: Instant::now(),
            ranked: order.iter().map(|link| link.index()).collect(),
            links: order.into_iter().map(|link| (link.index(), link)).collect(),
            out: BTreeSet::new(),
            barred: BTreeSet::new(),
            tally: Tally::default(),
            timings_us: BTreeMap::new(),
        }
    }

    /// Runs to the end.
    pub(super) async fn finish(mut self) -> TaskOutcome {
        let result = self.work().await;
        TaskOutcome {
            result,
            culprits: self.tally.culprits,
            alarms: self.tally.alarms,
            unexplained: self.tally.unexplained,
        }
    }

    async fn work(&mut self) -> Result<TaskSigned, NoSignature> {
        let mut attempt = self.base;
        for _ in 0..TRIES {
            let Some(set) = self.choose() else {
                break;
            };
            let Some(entry) = self.entry(&set).await else {
                tracing::warn!(request = %self.job.id, signers = ?set, "no pool entry was made in time");
                self.barred.insert(set);
                continue;
            };
            let request = self.request(&set)?;
            match self.attempt(&set, &entry, &request, attempt).await {
                Tried::Done(signature) => {
                    return Ok(TaskSigned {
                        signature,
                        signers: set.iter().map(|index| u32::from(*index)).collect(),
                        timings_us: core::mem::take(&mut self.timings_us),
                    });
                }
                Tried::Burned => attempt = attempt.wrapping_add(1),
            }
        }
        Err(self.tally.conclude(self.job.key.package.params()))
    }

    /// The signers to ask: a set with an entry ready if there is one, else the best.
    fn choose(&self) -> Option<Set> {
        let size = usize::from(self.job.key.package.params().threshold());
        let free: Vec<u16> = self
            .ranked
            .iter()
            .copied()
            .filter(|index| !self.out.contains(index))
            .collect();
        let trusted: Vec<u16> = free
            .iter()
            .copied()
            .filter(|index| !self.signing.is_convicted(*index))
            .collect();
        // Whoever is convicted is asked only where nobody else is left to ask.
        self.choose_among(&trusted, size)
            .or_else(|| self.choose_among(&free, size))
    }

    fn choose_among(&self, free: &[u16], size: usize) -> Option<Set> {
        let mut edges = self.signing.disputes.edges(&self.links);
        edges.bar(&self.barred);
        let rank = |set: &Set| -> Option<usize> {
            let places = set
                .iter()
                .map(|index| free.iter().position(|other| other == index));
            places.sum()
        };
        let ready = self
            .signing
            .entries
            .sets()
            .into_iter()
            .filter(|set| set.len() == size && edges.allow(set))
            .filter(|set| self.signing.entries.depth(set, &self.links) > 0)
            .filter_map(|set| Some((rank(&set)?, set)))
            .min();
        ready.map(|(_, set)| set).or_else(|| edges.pick(free, size))
    }

    /// Takes an entry, or has the nodes make one.
    async fn entry(&mut self, set: &Set) -> Option<SessionId> {
        let signing = self.signing;
        if let Some(entry) = signing.entries.take(set, &self.links) {
            if signing.entries.depth(set, &self.links) < ENTRIES_LOW {
                signing.fill(set, &self.links);
            }
            return Some(entry);
        }
        let members = set
            .iter()
            .filter_map(|index| self.links.get(index).cloned());
        let asked = members.map(|link| async move {
            let answer = signing.ask_entries(&link, set).await;
            (link, answer)
        });
        let mut all = true;
        for (link, answer) in join_all(asked).await {
            if let Err(error) = answer {
                all = false;
                self.lost(set, &link, &error);
            }
        }
        if !all {
            return None;
        }
        let end = tokio::time::sleep(FILL_PATIENCE);
        tokio::pin!(end);
        let mut again = tokio::time::interval(ASK_AGAIN);
        again.reset();
        loop {
            let changed = signing.entries.changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(entry) = signing.entries.take(set, &self.links) {
                return Some(entry);
            }
            tokio::select! {
                () = changed => {}
                // A list may have been lost on the way.
                _ = again.tick() => signing.fill(set, &self.links),
                () = &mut end => return None,
            }
        }
    }

    fn request(&self, set: &Set) -> Result<SigningRequest, NoSignature> {
        let internal = |message: String| {
            let failure = Failure::new(FailureCode::Internal, message);
            NoSignature::Never(failure.hint("nothing was released; please report it"))
        };
        let payload = match self.task.hash {
            Hash::DoubleSha256 => Payload::DoubleSha256(&self.task.message),
            Hash::Keccak256 => Payload::Keccak256(&self.task.message),
            Hash::None => return Err(internal("ecdsa signs no message unhashed".into())),
        };
        let path = DerivationPath::new(self.task.path.as_slice())
            .map_err(|error| internal(error.to_string()))?;
        let package = &self.job.key.package;
        let signers: BTreeSet<NodeId> = set
            .iter()
            .filter_map(|index| self.links.get(index))
            .map(|link| link.node())
            .collect();
        SigningRequest::new(package, &signers, &path, &payload, self.job.id)
            .map_err(|error| internal(error.to_string()))
    }

    /// Two rounds with one entry, which is spent whatever comes of it.
    async fn attempt(
        &mut self,
        set: &Set,
        entry: &SessionId,
        request: &SigningRequest,
        attempt: u32,
    ) -> Tried {
        let begin_us = clock::micros_since(self.start);
        self.timings_us.insert("entry".into(), begin_us);
        let open = v1::EcdsaOpen {
            signed_intent: self.job.signed_intent.clone(),
            approvals: self.job.approvals.clone(),
            receipts: self.job.receipts.clone(),
            epoch: self.job.key.package.epoch().0,
            attempt,
            task: self.number,
            entry: name(entry),
            signers: set.iter().map(|index| u32::from(*index)).collect(),
            sharing: Some(sharing_to_wire(sharing_of(&self.job.key.package))),
        };
        let body = coordinator_frame::Body::EcdsaOpen(open);
        let openings = match self.round(set, entry, body, Kind::EcdsaOpen).await {
            Ok(openings) => openings,
            Err(Incomplete { untouched }) => {
                if untouched {
                    self.signing.entries.give_back(entry);
                }
                return Tried::Burned;
            }
        };
        let opened_us = clock::micros_since(self.start);
        let finish = v1::EcdsaFinish {
            entry: name(entry),
            round1: openings.clone(),
        };
        let body = coordinator_frame::Body::EcdsaFinish(finish);
        let Ok(responses) = self.round(set, entry, body, Kind::EcdsaRespond).await else {
            return Tried::Burned;
        };
        let answered_us = clock::micros_since(self.start);
        self.timings_us
            .insert("open".into(), opened_us.saturating_sub(begin_us));
        self.timings_us
            .insert("respond".into(), answered_us.saturating_sub(opened_us));
        let plain = |envelopes: Vec<Bytes>| -> Vec<Vec<u8>> {
            envelopes.into_iter().map(|bytes| bytes.to_vec()).collect()
        };
        let roster = self.signing.links.roster();
        let rounds = [plain(openings), plain(responses)];
        let [openings, responses] = &rounds;
        match combine(roster, request, entry, openings, responses) {
            Ok(signature) => Tried::Done(match self.task.hash {
                Hash::Keccak256 => signature.to_recoverable_bytes().to_vec(),
                Hash::DoubleSha256 | Hash::None => signature.to_bytes().to_vec(),
            }),
            Err(error) => {
                if !self
                    .is_explained(set, entry, request, &rounds, &error)
                    .await
                {
                    self.failed(set, &error);
                }
                Tried::Burned
            }
        }
    }

    /// Asks all signers at once; their envelopes, if every one of them gave a good one.
    async fn round(
        &mut self,
        set: &Set,
        entry: &SessionId,
        body: coordinator_frame::Body,
        kind: Kind,
    ) -> Result<Vec<Bytes>, Incomplete> {
        let deadline = self.signing.config.answer_timeout;
        let calls = set
            .iter()
            .filter_map(|index| self.links.get(index))
            .map(|link| {
                let (link, body) = (Arc::clone(link), body.clone());
                async move {
                    let answer = link.call(body, deadline).await;
                    (link, answer)
                }
            });
        let answers = join_all(calls).await;
        let mut envelopes = Vec::with_capacity(set.len());
        // A node that lost the entry or opened it before keeps it from being offered again.
        let untouched = answers.iter().all(
            |(_, answer)| matches!(answer, Err(CallError::Refused(failure)) if !is_gone(failure)),
        );
        for (link, answer) in answers {
            match answer.and_then(|body| envelope_of(body, entry, kind)) {
                Ok(envelope) => {
                    if self.is_by(&link, kind, &envelope) {
                        envelopes.push(envelope);
                    }
                }
                Err(error) => self.lost(set, &link, &error),
            }
        }
        if envelopes.len() == set.len() {
            Ok(envelopes)
        } else {
            Err(Incomplete { untouched })
        }
    }

    /// Whether an envelope is of this round and signed by the node whose link it came on.
    fn is_by(&mut self, link: &Link, kind: Kind, envelope: &Bytes) -> bool {
        let opened = Envelope::open(self.signing.links.roster(), envelope);
        let good = opened.is_ok_and(|opened| {
            opened.header().kind == kind && opened.header().from == link.node()
        });
        if !good {
            self.out.insert(link.index());
            let fault = "answered with an envelope that is not its own".to_owned();
            self.tally
                .caught(self.signing, link.index(), fault, Bytes::new());
        }
        good
    }

    /// A signer gave nothing. Where it names another of the set, these two are not asked together again; it is not believed further,
    /// so whom it cannot have worked with it cannot accuse.
    fn lost(&mut self, set: &Set, link: &Link, error: &CallError) {
        tracing::info!(request = %self.job.id, task = self.number, node = link.index(), %error, "no part of a signature from this node");
        if let CallError::Refused(failure) = error {
            // An entry that is no longer there says nothing against the node.
            if is_gone(failure) {
                return;
            }
            if failure.code() == FailureCode::NeedCertificate {
                self.signing.note_behind(link.index(), &self.job.key);
            }
            let peers = failure
                .culprits
                .iter()
                .filter_map(|index| u16::try_from(*index).ok())
                .filter(|index| *index != link.index() && set.contains(index));
            let parties = self.signing.links.roster().len();
            let mut parted = false;
            for peer in peers {
                self.signing
                    .disputes
                    .accuse(link.index(), peer, u32::MAX, parties);
                parted = true;
            }
            if failure.code() == FailureCode::Aborted && parted {
                return;
            }
        }
        self.out.insert(link.index());
        let wallet = &self.job.approved.intent().wallet;
        self.tally.lost(self.signing, wallet, link, error);
    }

    /// All signers answered and there is no signature.
    fn failed(&mut self, set: &Set, error: &Error) {
        tracing::error!(request = %self.job.id, task = self.number, signers = ?set, %error, "alert: the parts of a signature do not fit together");
        let Error::Aborted(abort) = error else {
            self.barred.insert(set.clone());
            return;
        };
        if abort.culprits.is_empty() {
            if self.signing.disputes.failed(set, clock::now_ms()) {
                tracing::error!(signers = ?set, "alert: signatures of these signers do not verify; they are not asked together again");
            }
            self.barred.insert(set.clone());
            self.tally.unexplained.push(set.clone());
            return;
        }
        self.accuse(abort);
    }

    fn accuse(&mut self, abort: &Abort) {
        let evidence = abort
            .evidence
            .as_ref()
            .map(|evidence| Bytes::from(evidence.encode()))
            .unwrap_or_default();
        for (node, _) in &abort.culprits {
            let Some(index) = self.signing.links.roster().index(node) else {
                continue;
            };
            self.out.insert(index.get());
            let fault = abort.fault.to_string();
            self.tally
                .caught(self.signing, index.get(), fault, evidence.clone());
        }
    }
}

/// Whether a node says no more than that it does not have the entry.
fn is_gone(failure: &Failure) -> bool {
    matches!(failure.code(), FailureCode::Stale | FailureCode::Replayed)
}

fn name(entry: &SessionId) -> Bytes {
    Bytes::copy_from_slice(entry.as_bytes())
}

/// The envelope of an answer of the right round about the right entry.
fn envelope_of(body: node_frame::Body, entry: &SessionId, kind: Kind) -> Result<Bytes, CallError> {
    let (about, envelope) = match (body, kind) {
        (node_frame::Body::EcdsaRound1(answer), Kind::EcdsaOpen) => (answer.entry, answer.envelope),
        (node_frame::Body::EcdsaRound2(answer), Kind::EcdsaRespond) => {
            (answer.entry, answer.envelope)
        }
        _ => return Err(CallError::WrongKind),
    };
    if about.as_ref() == entry.as_bytes() {
        Ok(envelope)
    } else {
        Err(CallError::WrongKind)
    }
}

impl Signing {
    /// Asks the nodes of a set for entries; they come unasked when they are there.
    pub(super) fn fill(self: &Arc<Self>, set: &Set, links: &BTreeMap<u16, Arc<Link>>) {
        for link in set.iter().filter_map(|index| links.get(index)) {
            let (signing, link, set) = (Arc::clone(self), Arc::clone(link), set.clone());
            self.tasks.spawn(async move {
                if let Err(error) = signing.ask_entries(&link, &set).await {
                    tracing::info!(node = link.index(), %error, "no preprocessing");
                }
            });
        }
    }

    /// Asks one node for entries of a set; what it has at once is taken in.
    async fn ask_entries(&self, link: &Link, set: &Set) -> Result<(), CallError> {
        let fill = v1::FillPool {
            signers: set.iter().map(|index| u32::from(*index)).collect(),
            count: ENTRIES_WANTED,
        };
        let body = coordinator_frame::Body::FillPool(fill);
        match link.call(body, self.config.answer_timeout).await? {
            node_frame::Body::PoolEntries(list) => {
                self.note_entries(link, &list);
                Ok(())
            }
            _ => Err(CallError::WrongKind),
        }
    }

    /// Takes in which entries of a set a node holds.
    pub(crate) fn note_entries(&self, link: &Link, list: &v1::PoolEntries) {
        if !self.entries.note(link, self.links.roster().len(), list) {
            tracing::warn!(
                node = link.index(),
                "dropped a list of entries that this node cannot give"
            );
        }
    }

    /// Takes in that a check between a node and a peer has failed; they are not asked together until the setup is replaced. True
    /// if it is news that is to be stored.
    pub(crate) fn note_alarm(&self, link: &Link, alarm: &v1::PairAlarm) -> bool {
        let parties = self.links.roster().len();
        u16::try_from(alarm.peer).is_ok_and(|peer| {
            self.disputes
                .accuse(link.index(), peer, alarm.generation, parties)
        })
    }
}
