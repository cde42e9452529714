//! One threshold signature from the nodes that can be had: who is asked, with which nonces, and what is done about the
//! silent, the refusing and the lying.
//!
//! The rules are those of the robust wrapper in [`mpc_core::frost::robust`]; this module adds the network around it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use mpc_core::id::Purpose;
use policy::{
    evaluate::Approved,
    transaction::{Scheme, Task},
};
use prost::bytes::Bytes;
use proto::{
    convert::{
        reshare::{sharing_of, sharing_to_wire},
        wallet_keys::PackageKeys,
    },
    v1::{self, coordinator_frame, node_frame},
};
use tokio::sync::{Notify, futures::Notified};
use tokio_util::task::TaskTracker;

use crate::{
    clock, config,
    keys::Key,
    links::{CallError, Link, Links},
    store::{FailedSet, RequestId},
};

mod disputes;
mod ecdsa;
mod entries;
mod pools;
mod run;
mod tally;

use disputes::Disputes;
use entries::Entries;
use pools::Pools;

/// Signatures of one request that are made at the same time.
const TASKS_AT_ONCE: usize = 4;

/// Commitments asked for in one call; keeps the answer below its size limit.
const PREPARE_MAX: usize = 256;

/// Attempt numbers that one run may use.
const ATTEMPTS_PER_RUN: u32 = 64;

/// How much slower than four times the nearest a node must be to be asked later, in microseconds.
const FAR_US: u64 = 100_000;

/// How long a node whose own ledger is full for a wallet is asked last for that wallet, in milliseconds.
const CROWDED_MS: u64 = 30_000;

/// How long a node that was late is asked last, in milliseconds.
const LATE_MS: u64 = 2_000;

/// How long a node that stayed silent is asked last, in milliseconds.
const SILENT_MS: u64 = 10_000;

/// What is to be signed.
#[derive(Debug)]
pub(crate) struct Job {
    /// The request.
    pub(crate) id: RequestId,
    /// The key of its wallet.
    pub(crate) key: Arc<Key>,
    /// The signed intent as submitted.
    pub(crate) signed_intent: Bytes,
    /// Encoded approvals.
    pub(crate) approvals: Vec<Bytes>,
    /// Encoded receipts.
    pub(crate) receipts: Vec<Bytes>,
    /// The verdict that allows it.
    pub(crate) approved: Box<Approved>,
}

/// All signatures of a request; each verifies.
#[derive(Debug)]
pub(crate) struct Signed {
    /// In the order of the tasks: 64 bytes, or 65 with a recovery id.
    pub(crate) signatures: Vec<Vec<u8>>,
    /// Party indices of everybody who took part, ascending.
    pub(crate) signers: Vec<u32>,
    /// Durations in microseconds; of several signatures the longest.
    pub(crate) timings_us: BTreeMap<String, u64>,
}

/// One of them.
#[derive(Debug)]
struct TaskSigned {
    signature: Vec<u8>,
    signers: Vec<u32>,
    timings_us: BTreeMap<String, u64>,
}

/// What came of one of them.
#[derive(Debug)]
struct TaskOutcome {
    result: Result<TaskSigned, NoSignature>,
    culprits: Vec<Culprit>,
    alarms: Vec<u16>,
    /// Sets of signers whose parts made no valid signature, and nobody can say through whom.
    unexplained: Vec<Vec<u16>>,
}

/// Why there is no signature.
#[derive(Debug)]
pub(crate) enum NoSignature {
    /// Another try may succeed.
    Again(v1::Failure),
    /// It must not, or cannot, be tried again.
    Never(v1::Failure),
}

/// A node that broke the protocol.
#[derive(Debug)]
pub(crate) struct Culprit {
    /// Its party index.
    pub(crate) index: u16,
    /// What it did.
    pub(crate) fault: String,
    /// Encoded evidence; empty if nothing can be shown to others.
    pub(crate) evidence: Bytes,
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The signature or the reason.
    pub(crate) result: Result<Signed, NoSignature>,
    /// Who was caught, whatever the result.
    pub(crate) culprits: Vec<Culprit>,
    /// Who refused with a security abort, whatever the result.
    pub(crate) alarms: Vec<u16>,
    /// Sets of signers whose parts made no valid signature, and nobody can say through whom.
    pub(crate) unexplained: Vec<Vec<u16>>,
}

/// Drives signatures; shared by all requests.
#[derive(Debug)]
pub(crate) struct Signing {
    links: Arc<Links>,
    config: config::Signing,
    pools: Pools,
    entries: Entries,
    disputes: Disputes,
    tasks: TaskTracker,
    /// Nodes that operators have taken out of the choice.
    drained: Mutex<BTreeSet<u16>>,
    /// Nodes that have said that they are behind with a key, and the key.
    behind: Mutex<BTreeSet<(u16, [u8; 32])>>,
    told_behind: Notify,
    /// Nodes that were caught; asked only if no quorum exists without them.
    convicted: Mutex<BTreeSet<u16>>,
    /// Until when a node is asked last for a wallet because its own ledger is full, Unix milliseconds.
    crowded: Mutex<BTreeMap<(String, u16), u64>>,
    next_attempt: AtomicU32,
    turn: AtomicUsize,
}

impl Signing {
    /// `start` is the number of this start of the process: attempts of different starts have different numbers.
    pub(crate) fn new(
        links: Arc<Links>,
        config: config::Signing,
        start: u64,
        tasks: TaskTracker,
    ) -> Self {
        let low_bits = u32::try_from(start & 0xFFF).unwrap_or_default();
        Self {
            links,
            config,
            pools: Pools::default(),
            entries: Entries::default(),
            disputes: Disputes::default(),
            tasks,
            drained: Mutex::default(),
            behind: Mutex::default(),
            told_behind: Notify::new(),
            convicted: Mutex::default(),
            crowded: Mutex::default(),
            next_attempt: AtomicU32::new(low_bits << 20),
            turn: AtomicUsize::new(0),
        }
    }

    /// Remembers that a node was caught, now or before a restart.
    pub(crate) fn convict(&self, index: u16) {
        self.convicted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(index);
    }

    /// Takes a node out of the choice, or puts it back.
    pub(crate) fn drain(&self, index: u16, drained: bool) {
        let mut nodes = self.drained.lock().unwrap_or_else(PoisonError::into_inner);
        if drained {
            nodes.insert(index);
        } else {
            nodes.remove(&index);
        }
    }

    /// Whether operators have taken a node out of the choice.
    pub(crate) fn is_drained(&self, index: u16) -> bool {
        self.drained
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&index)
    }

    /// Remembers that a node is behind with a key; it is shown the certificates.
    fn note_behind(&self, index: u16, key: &Key) {
        self.behind
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert((index, key.id()));
        self.told_behind.notify_one();
    }

    /// Resolves when a node has said that it is behind.
    pub(crate) fn behind(&self) -> Notified<'_> {
        self.told_behind.notified()
    }

    /// The nodes that have said that they are behind since the last call, with the key.
    pub(crate) fn take_behind(&self) -> BTreeSet<(u16, [u8; 32])> {
        core::mem::take(&mut self.behind.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The connected members of a key that may be chosen, by node number.
    fn members(&self, key: &Key) -> Vec<Arc<Link>> {
        let links = key.package.nodes().values();
        let links = links.filter_map(|node| self.links.by_node(node));
        links
            .filter(|link| !self.is_drained(link.index()))
            .collect()
    }

    /// Takes in how often signatures of a set did not verify before a restart.
    pub(crate) fn remember_failures(&self, set: FailedSet) {
        self.disputes.remember(set);
    }

    /// Sets of signers that are not asked any more, because their signatures did not verify.
    pub(crate) fn stopped_sets(&self) -> Vec<FailedSet> {
        self.disputes.stopped()
    }

    /// Nodes that were caught.
    pub(crate) fn convicts(&self) -> Vec<u16> {
        let convicted = self.convicted.lock();
        let convicted = convicted.unwrap_or_else(PoisonError::into_inner);
        convicted.iter().copied().collect()
    }

    /// Whether enough members of a key are connected.
    pub(crate) fn has_quorum(&self, key: &Key) -> bool {
        self.members(key).len() >= usize::from(key.package.params().threshold())
    }

    /// Makes all signatures of a request, or says why not. None is begun after one has failed, but all that have begun are seen
    /// to their end: what they find out about nodes is kept.
    pub(crate) async fn sign(self: &Arc<Self>, job: &Job) -> Outcome {
        let failed = AtomicBool::new(false);
        let failed = &failed;
        let runs: Vec<BoxFuture<'_, Option<TaskOutcome>>> = (0_u32..)
            .zip(job.approved.tasks())
            .map(|(number, task)| {
                let run = async move {
                    if failed.load(Ordering::Relaxed) {
                        return None;
                    }
                    let outcome = self.sign_task(job, number, task).await;
                    failed.fetch_or(outcome.result.is_err(), Ordering::Relaxed);
                    Some(outcome)
                };
                run.boxed()
            })
            .collect();
        let ended: Vec<Option<TaskOutcome>> =
            stream::iter(runs).buffered(TASKS_AT_ONCE).collect().await;
        merge(ended)
    }

    async fn sign_task(self: &Arc<Self>, job: &Job, number: u32, task: &Task) -> TaskOutcome {
        let base = self
            .next_attempt
            .fetch_add(ATTEMPTS_PER_RUN, Ordering::Relaxed);
        let mut outcome = match task.scheme {
            Scheme::Ecdsa => {
                ecdsa::Run::new(self, job, number, task, base)
                    .finish()
                    .await
            }
            Scheme::Bip340 | Scheme::Ed25519 => {
                run::Run::new(self, job, number, task, base).finish().await
            }
        };
        // The last look before anything leaves: by libraries that had no part in it, under the wallet's key, over exactly the
        // bytes that the verdict was about.
        let keys = PackageKeys(&job.key.package);
        let holds = |signed: &TaskSigned| task.is_signed_by(&keys, &signed.signature);
        if outcome.result.as_ref().is_ok_and(|signed| !holds(signed)) {
            let failure = v1::Failure::new(
                v1::FailureCode::Internal,
                "the assembled signature does not verify",
            );
            let failure = failure.hint("nothing was released; please report it");
            outcome.result = Err(NoSignature::Never(failure));
        }
        outcome
    }

    /// The connected members of a key, best first: unsuspected, with room, near, idle; turns decide between equals.
    fn order(&self, job: &Job) -> Vec<Arc<Link>> {
        let now_ms = clock::now_ms();
        let members = job.key.package.nodes();
        let links = self.members(&job.key);
        let nearest = links
            .iter()
            .map(|link| link.rtt_us())
            .filter(|rtt| *rtt > 0)
            .min()
            .unwrap_or_default();
        let far = nearest.saturating_mul(4).saturating_add(FAR_US);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let wallet = &job.approved.intent().wallet;
        let mut ranked: Vec<_> = links
            .into_iter()
            .enumerate()
            .map(|(position, link)| {
                let place = position
                    .wrapping_add(turn)
                    .checked_rem(members.len())
                    .unwrap_or_default();
                let rank = (
                    self.is_convicted(link.index()),
                    link.is_shunned(now_ms),
                    self.is_crowded(wallet, link.index(), now_ms),
                    link.rtt_us() > far,
                    link.in_flight(),
                    place,
                );
                (rank, link)
            })
            .collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, link)| link).collect()
    }

    fn is_convicted(&self, index: u16) -> bool {
        self.convicted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&index)
    }

    fn is_crowded(&self, wallet: &str, index: u16, now_ms: u64) -> bool {
        let mut crowded = self.crowded.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (wallet.to_owned(), index);
        match crowded.get(&key) {
            Some(until_ms) if *until_ms > now_ms => true,
            Some(_) => {
                crowded.remove(&key);
                false
            }
            None => false,
        }
    }

    fn note_crowded(&self, wallet: &str, index: u16) {
        let until_ms = clock::now_ms().saturating_add(CROWDED_MS);
        let mut crowded = self.crowded.lock().unwrap_or_else(PoisonError::into_inner);
        crowded.insert((wallet.to_owned(), index), until_ms);
    }

    /// Prepares for signatures that will be wanted as soon as people have approved them.
    pub(crate) fn expect(self: &Arc<Self>, key: &Arc<Key>) {
        self.pools.want(key);
        for link in self.members(key) {
            self.refill(key, &link);
        }
    }

    /// Fetches commitments in the background where a pool of a key in use runs low.
    pub(crate) fn refill(self: &Arc<Self>, key: &Arc<Key>, link: &Arc<Link>) {
        // The nodes keep the pools of ECDSA among themselves.
        if matches!(key.package.purpose(), Purpose::Ecdsa | Purpose::EcdsaRaw) {
            return;
        }
        if key.package.index_of(&link.node()).is_none() {
            return;
        }
        let (low, high) = (self.config.nonces_low, self.config.nonces_high);
        let Some(count) = self.pools.begin_fill(key, link, low, high) else {
            return;
        };
        let (signing, key, link) = (Arc::clone(self), Arc::clone(key), Arc::clone(link));
        self.tasks.spawn(async move {
            if let Err(error) = signing.prepare(&key, &link, count.min(PREPARE_MAX)).await {
                tracing::debug!(node = link.index(), %error, "no nonce commitments");
            }
            signing.pools.filled(&key, &link);
        });
    }

    /// Asks a node for commitments and keeps those that verify.
    async fn prepare(&self, key: &Key, link: &Link, count: usize) -> Result<(), CallError> {
        let prepare = coordinator_frame::Body::Prepare(v1::Prepare {
            key_id: Bytes::copy_from_slice(&key.id()),
            epoch: key.package.epoch().0,
            count: u32::try_from(count).unwrap_or(u32::MAX),
            sharing: Some(sharing_to_wire(sharing_of(&key.package))),
        });
        let node_frame::Body::Commitments(answer) =
            link.call(prepare, self.config.answer_timeout).await?
        else {
            return Err(CallError::WrongKind);
        };
        self.keep(key, link, answer.envelopes).await;
        Ok(())
    }

    /// Verifies commitments and puts them into the pool, giving way to other tasks in between.
    async fn keep(&self, key: &Key, link: &Link, envelopes: Vec<Bytes>) {
        for envelope in envelopes.into_iter().take(PREPARE_MAX) {
            match pools::open(self.links.roster(), key, link, envelope) {
                Some(ready) => self.pools.add(key, link, ready, self.config.nonces_high),
                None => {
                    tracing::warn!(
                        node = link.index(),
                        "dropped a nonce commitment that does not verify"
                    );
                    return;
                }
            }
            tokio::task::yield_now().await;
        }
    }
}

/// One outcome of many: a failure that is final counts before one that is not.
fn merge(ended: Vec<Option<TaskOutcome>>) -> Outcome {
    let mut signed = Signed {
        signatures: Vec::with_capacity(ended.len()),
        signers: Vec::new(),
        timings_us: BTreeMap::new(),
    };
    let mut failure = None;
    let (mut culprits, mut alarms, mut unexplained) = (Vec::new(), Vec::new(), Vec::new());
    for outcome in ended.into_iter().flatten() {
        culprits.extend(outcome.culprits);
        alarms.extend(outcome.alarms);
        unexplained.extend(outcome.unexplained);
        match (outcome.result, &failure) {
            (Ok(task), _) => {
                signed.signatures.push(task.signature);
                signed.signers.extend(task.signers);
                for (name, took_us) in task.timings_us {
                    let longest = signed.timings_us.entry(name).or_default();
                    *longest = took_us.max(*longest);
                }
            }
            (Err(_), Some(NoSignature::Never(_))) => {}
            (Err(NoSignature::Again(_)), Some(_)) => {}
            (Err(reason), _) => failure = Some(reason),
        }
    }
    signed.signers.sort_unstable();
    signed.signers.dedup();
    alarms.sort_unstable();
    alarms.dedup();
    Outcome {
        result: failure.map_or(Ok(signed), Err),
        culprits,
        alarms,
        unexplained,
    }
}
