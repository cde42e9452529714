//! One attempt at a new sharing of one key: told to everybody who takes part, listened to, ended by a certificate, by somebody who
//! gives up, or by time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use mpc_core::{
    id::{Attempt, Epoch, NodeId},
    reshare::Request,
};
use prost::bytes::Bytes;
use proto::v1::{self, Failure, FailureCode, coordinator_frame, node_frame};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Ear, Heard, KeyName, OrderId, refuse, reshares::Right};
use crate::{
    engine::Engine,
    keys::Key,
    links::{CallError, Link},
};

/// How long everybody may take to be there before an attempt begins.
const PRESENCE: Duration = Duration::from_secs(20);

/// How long a node may take to answer the start.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a node may take to end a session.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a node may be away before the attempts whose session it had are given up.
const COME_BACK: Duration = Duration::from_secs(5);

/// How long the nodes may take to exchange the last parts among themselves before they are handed over from here.
const HAND_OVER: Duration = Duration::from_secs(2);

/// How often absences are looked at.
const TICK: Duration = Duration::from_millis(200);

/// Progress messages that wait.
const PROGRESS: usize = 256;

/// What is known of an attempt that runs.
struct Running {
    name: KeyName,
    place: (Epoch, Attempt),
    /// Everybody who takes part, by number, and the start of the node that its session lives in.
    boots: BTreeMap<u16, Option<[u8; 16]>>,
    gone: BTreeMap<u16, Instant>,
    parts: BTreeMap<u16, Bytes>,
    complete: Option<Instant>,
    handed: bool,
}

/// The outer error ends the key: `None` if the service stops. The inner one ends the attempt.
type Ended = Result<Result<(), Failure>, Option<Failure>>;

impl Engine {
    fn numbers(&self, nodes: &BTreeSet<NodeId>) -> Vec<u16> {
        let roster = self.links.roster();
        let numbers = nodes.iter().filter_map(|node| roster.index(node));
        numbers.map(mpc_core::id::PartyIndex::get).collect()
    }

    /// Waits until everybody who takes part is connected: an attempt that cannot succeed uses up no number. A node that came back from
    /// a backup is waited for as well, but people's order may be just what it needs, so that one begins without its having caught up.
    pub(super) async fn await_present(
        &self,
        request: &Request,
        right: &Right,
        stop: &CancellationToken,
    ) -> Result<(), Option<Failure>> {
        let numbers = self.numbers(&request.participants());
        let begun = Instant::now();
        loop {
            if stop.is_cancelled() {
                return Err(Some(cancelled()));
            }
            let without = |ready: &dyn Fn(u16) -> bool| -> Vec<u16> {
                let numbers = numbers.iter().copied();
                numbers.filter(|number| !ready(*number)).collect()
            };
            if without(&|number| self.is_ready(number)).is_empty() {
                return Ok(());
            }
            if begun.elapsed() >= PRESENCE {
                let mut absent = without(&|number| self.links.get(number).is_some());
                if absent.is_empty() && matches!(right, Right::Ordered(_)) {
                    return Ok(());
                }
                if absent.is_empty() {
                    absent = without(&|number| self.is_ready(number));
                }
                let message = format!(
                    "nodes {absent:?} are not connected, or wait for their peers after a restore"
                );
                let hint = "start them, or have an order signed that does without them";
                return Err(Some(refuse(FailureCode::Unavailable, message, hint)));
            }
            tokio::select! {
                () = tokio::time::sleep(TICK) => {}
                () = self.stopping.cancelled() => return Err(None),
            }
        }
    }

    /// Whether a node is connected and has caught up with its peers.
    pub(super) fn is_ready(&self, number: u16) -> bool {
        let status = self.links.get(number).and_then(|link| link.status());
        status.is_some_and(|status| status.catching_up.is_empty())
    }

    /// Runs one attempt. With `Ok(Ok(()))` its certificate, or a higher one, has been stored.
    pub(super) async fn attempt(
        self: &Arc<Self>,
        id: &OrderId,
        right: &Right,
        key: &Arc<Key>,
        request: &Request,
        stop: &CancellationToken,
    ) -> Ended {
        let name = key.id();
        let place = (request.epoch(), request.attempt());
        let (sender, mut heard) = mpsc::channel(PROGRESS);
        let numbers = self.numbers(&request.participants());
        let ear = Ear {
            place,
            numbers: numbers.iter().copied().collect(),
            sender,
        };
        self.ears().insert(name, ear);
        let mut running = Running {
            name,
            place,
            boots: numbers
                .iter()
                .map(|number| (*number, self.links.get(*number).map(|link| *link.boot_id())))
                .collect(),
            gone: BTreeMap::new(),
            parts: BTreeMap::new(),
            complete: None,
            handed: false,
        };
        tracing::info!(key = %key.row.name, epoch = place.0.0, attempt = place.1.0, "new shares: attempt begins");
        for number in numbers {
            self.start_at(number, id, right, key, request);
        }
        let ended = self.listen_to(id, &mut running, &mut heard, stop).await;
        self.ears().remove(&name);
        if !matches!(ended, Ok(Ok(())) | Err(None)) {
            self.stop_attempt(&running).await;
        }
        ended
    }

    fn ears(&self) -> std::sync::MutexGuard<'_, BTreeMap<KeyName, Ear>> {
        self.orders
            .ears
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Takes in what a node says of a ceremony. A certificate counts whether or not anybody waits for it.
    pub(in crate::engine) fn hear_reshare(
        self: &Arc<Self>,
        link: &Arc<Link>,
        progress: v1::ReshareProgress,
    ) {
        let Ok(name) = <KeyName>::try_from(progress.key_id.as_ref()) else {
            return;
        };
        let place = (Epoch(progress.epoch), Attempt(progress.attempt));
        let sender = self
            .ears()
            .get(&name)
            .filter(|ear| ear.is_for(place, link.index()))
            .map(|ear| ear.sender.clone());
        match sender {
            Some(sender) => {
                let heard = sender.try_send((link.index(), progress));
                let _kept = heard.inspect_err(|_| {
                    tracing::warn!(
                        node = link.index(),
                        "a progress message of a ceremony was dropped"
                    );
                });
            }
            None if !progress.certificate.is_empty() => {
                let (engine, number) = (Arc::clone(self), link.index());
                self.tasks.spawn(async move {
                    if let Err(failure) = engine.take_certificate(&progress.certificate).await {
                        tracing::warn!(
                            node = number,
                            reason = failure.message,
                            "a certificate was not taken"
                        );
                    }
                });
            }
            None => {}
        }
    }

    fn start_at(
        self: &Arc<Self>,
        number: u16,
        id: &OrderId,
        right: &Right,
        key: &Arc<Key>,
        request: &Request,
    ) {
        let deadline_ms =
            u64::try_from(self.config.links.dkg_timeout.as_millis()).unwrap_or(u64::MAX);
        let statements = match right {
            Right::Ordered(_) => self.orders.status(id).map(|status| status.statements),
            Right::Standing { .. } => None,
        };
        let (engine, key) = (Arc::clone(self), Arc::clone(key));
        let start = v1::StartReshare {
            request: request.encode().into(),
            statements: statements.unwrap_or_default(),
            name: key.row.name.clone(),
            key_request: Bytes::copy_from_slice(&key.row.request_id),
            chain: None,
            deadline_ms,
        };
        let place = (request.epoch(), request.attempt());
        let request_id = Bytes::copy_from_slice(id);
        self.tasks.spawn(async move {
            let progress = match engine.start_one(number, &key, start).await {
                Ok(progress) => progress,
                Err(failure) => v1::ReshareProgress {
                    request_id,
                    key_id: Bytes::copy_from_slice(&key.id()),
                    epoch: place.0.0,
                    attempt: place.1.0,
                    stage: "aborted".to_owned(),
                    failure: Some(failure),
                    ..Default::default()
                },
            };
            let sender = engine
                .ears()
                .get(&key.id())
                .filter(|ear| ear.is_for(place, number))
                .map(|ear| ear.sender.clone());
            if let Some(sender) = sender {
                // Nobody listens any more: the attempt is over.
                let _over = sender.send((number, progress)).await;
            }
        });
    }

    /// Starts the session of one node: a stranger to the key is shown its history, one behind is brought up first.
    async fn start_one(
        self: &Arc<Self>,
        number: u16,
        key: &Arc<Key>,
        mut start: v1::StartReshare,
    ) -> Result<v1::ReshareProgress, Failure> {
        let gone = |error: &CallError| {
            let message = format!("node {number}: {error}");
            refuse(FailureCode::Unavailable, message, "see its log")
        };
        let link = self
            .links
            .get(number)
            .ok_or_else(|| gone(&CallError::Gone))?;
        let id = key.id();
        if !knows(&link, &id) {
            start.chain = Some(self.chain_of(key));
        }
        self.bring_up(&link, key).await;
        for last in [false, true] {
            let body = coordinator_frame::Body::StartReshare(start.clone());
            match link.call(body, START_TIMEOUT).await {
                Ok(node_frame::Body::ReshareProgress(progress)) => return Ok(progress),
                Ok(_) => return Err(gone(&CallError::WrongKind)),
                Err(CallError::Refused(failure)) if !last => match failure.code() {
                    FailureCode::NeedCertificate => self.bring_up_again(&link, key).await,
                    FailureCode::Unknown => start.chain = Some(self.chain_of(key)),
                    _ => return Err(named(number, failure)),
                },
                Err(CallError::Refused(failure)) => return Err(named(number, failure)),
                Err(error) => return Err(gone(&error)),
            }
        }
        Err(gone(&CallError::TimedOut))
    }

    async fn listen_to(
        self: &Arc<Self>,
        id: &OrderId,
        running: &mut Running,
        heard: &mut mpsc::Receiver<Heard>,
        stop: &CancellationToken,
    ) -> Ended {
        let end = tokio::time::sleep(self.config.links.dkg_timeout);
        tokio::pin!(end);
        let mut ticks = tokio::time::interval(TICK);
        loop {
            let over = self
                .keys
                .get(&running.name)
                .is_some_and(|key| key.sharing().place() >= running.place);
            if over {
                return Ok(Ok(()));
            }
            tokio::select! {
                () = self.stopping.cancelled() => return Err(None),
                () = stop.cancelled() => return Err(Some(cancelled())),
                () = &mut end => return Ok(Err(too_late(running))),
                Some((number, progress)) = heard.recv() => {
                    if let Err(failure) = self.take_progress_of(id, running, number, progress).await {
                        return Ok(Err(failure));
                    }
                }
                _ = ticks.tick() => {
                    if let Err(failure) = self.look_around(running) {
                        return Ok(Err(failure));
                    }
                }
            }
        }
    }

    async fn take_progress_of(
        self: &Arc<Self>,
        id: &OrderId,
        running: &mut Running,
        number: u16,
        progress: v1::ReshareProgress,
    ) -> Result<(), Failure> {
        if !running.boots.contains_key(&number) {
            return Ok(());
        }
        self.show_key(id, &running.name, |key| {
            let stage = progress.stage.as_str();
            if matches!(stage, "round1" | "round2" | "round3") {
                stage.clone_into(&mut key.stage);
            }
            let nodes = key.nodes.iter_mut();
            if let Some(node) = nodes
                .into_iter()
                .find(|node| node.node == u32::from(number))
            {
                stage.clone_into(&mut node.stage);
            }
        });
        if !progress.part.is_empty() {
            running.parts.insert(number, progress.part.clone());
            if running.parts.len() == running.boots.len() {
                running.complete.get_or_insert_with(Instant::now);
            }
        }
        if !progress.evidence.is_empty() {
            self.keep_evidence(Some(number), None, progress.evidence.clone())
                .await;
        }
        if !progress.certificate.is_empty()
            && let Err(failure) = self.take_certificate(&progress.certificate).await
        {
            tracing::warn!(
                node = number,
                reason = failure.message,
                "a certificate was not taken"
            );
        }
        if progress.stage != "aborted" || running.parts.contains_key(&number) {
            return Ok(());
        }
        Err(named(number, progress.failure.unwrap_or_default()))
    }

    /// Ends an attempt whose session a node has lost; hands the parts over if the nodes do not get them to each other.
    fn look_around(self: &Arc<Self>, running: &mut Running) -> Result<(), Failure> {
        for (number, boot) in &running.boots {
            if running.parts.contains_key(number) {
                continue;
            }
            let link = self.links.get(*number);
            let same = link.as_ref().map(|link| *link.boot_id()) == *boot && boot.is_some();
            if same {
                running.gone.remove(number);
                continue;
            }
            let since = *running.gone.entry(*number).or_insert_with(Instant::now);
            if link.is_some() || since.elapsed() >= COME_BACK {
                let message = format!("node {number} left during the ceremony");
                return Err(refuse(FailureCode::Unavailable, message, "see its log"));
            }
        }
        let waited = running.complete.map(|since| since.elapsed());
        if !running.handed && waited.is_some_and(|waited| waited >= HAND_OVER) {
            running.handed = true;
            self.hand_parts(running);
        }
        Ok(())
    }

    fn hand_parts(self: &Arc<Self>, running: &Running) {
        let activate = v1::Activate {
            key_id: Bytes::copy_from_slice(&running.name),
            certificate: Bytes::new(),
            epoch: running.place.0.0,
            attempt: running.place.1.0,
            parts: running.parts.values().cloned().collect(),
        };
        let links = running
            .boots
            .keys()
            .filter_map(|number| self.links.get(*number));
        for link in links {
            let (engine, activate) = (Arc::clone(self), activate.clone());
            self.tasks.spawn(async move {
                let body = coordinator_frame::Body::Activate(activate);
                match link.call(body, START_TIMEOUT).await {
                    Ok(node_frame::Body::ReshareProgress(progress)) => {
                        engine.hear_reshare(&link, progress);
                    }
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!(node = link.index(), %error, "parts of a certificate not taken");
                    }
                }
            });
        }
    }

    /// Has everybody end an attempt, and waits a little for their word: a node whose session still runs may begin no other.
    async fn stop_attempt(&self, running: &Running) {
        let numbers = running.boots.keys();
        let links = numbers.filter_map(|number| self.links.get(*number));
        let calls = links.map(|link| {
            let stop = v1::StopReshare {
                key_id: Bytes::copy_from_slice(&running.name),
                epoch: running.place.0.0,
                attempt: running.place.1.0,
            };
            async move {
                let body = coordinator_frame::Body::StopReshare(stop);
                // A node that does not hear of it gives up when its own time is over.
                let _unheard = link.call(body, STOP_TIMEOUT).await;
            }
        });
        join_all(calls).await;
    }
}

/// Whether a node says that it has a record of a key.
fn knows(link: &Link, name: &KeyName) -> bool {
    link.status()
        .is_some_and(|status| status.keys.iter().any(|key| key.key_id.as_ref() == name))
}

fn named(number: u16, mut failure: Failure) -> Failure {
    failure.message = format!("node {number}: {}", failure.message);
    failure
}

fn cancelled() -> Failure {
    refuse(FailureCode::Aborted, "the order was cancelled", "")
}

fn too_late(running: &Running) -> Failure {
    let silent: Vec<u16> = running
        .boots
        .keys()
        .copied()
        .filter(|number| !running.parts.contains_key(number))
        .collect();
    let message = format!("the attempt took too long; nothing of nodes {silent:?}");
    refuse(FailureCode::TimedOut, message, "look at these nodes")
}
