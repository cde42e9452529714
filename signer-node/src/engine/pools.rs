//! Entries of preprocessing, made in the background and kept in memory only: a restart starts with none.
//!
//! For every set of ECDSA signers with this node, the node with the lowest index of the set starts runs until the pool is as
//! full as configured; the others take part as long as their own pool has room. Coordinators learn the names of all entries
//! and ask for one of them at all signers of its set.

mod run;
mod wire;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Instant;

use mpc_core::ecdsa::{Opened, PoolEntry, Responded};
use mpc_core::id::{NodeId, PairId, PartyIndex, Purpose, SessionId};
use mpc_core::session::{Inbound, Outbound, Recipient};
use policy::evaluate::Approved;
use proto::v1::{FillPool, PoolEntries, PoolState, node_frame};
use tokio::sync::mpsc;

use super::keys::Key;
use super::pairs::Pairs;
use super::{Engine, State, Who};
use crate::failure::Refusal;

pub(super) use wire::{BOOT, Greeting, RUN, RunMessage, mask, unmask};

/// Runs under way at one time that this node has started.
const OWN_RUNS: usize = 2;
/// Runs under way at one time, whoever started them.
const MAX_RUNS: usize = 64;
/// Messages of one node for runs that have not started here yet.
const MAX_EARLY: usize = 16;
/// More sets than this are served on demand only.
const MAX_SETS: usize = 64;
/// An entry that was not used for so long, in milliseconds, is made anew: its peers may have lost theirs.
const MAX_AGE_MS: u64 = 900_000;
/// How long an opened signature may wait for its second round, in milliseconds.
const OPENED_MS: u64 = 60_000;
/// Opened signatures that wait at one time.
const MAX_OPENED: usize = 1_024;
/// How long an answered signature can be explained, in milliseconds.
const ANSWERED_MS: u64 = 60_000;
/// Answered signatures that can be explained at one time.
const MAX_ANSWERED: usize = 1_024;
/// Explanations given within [`EXPLAIN_MS`]: whoever has a liar at his command learns group elements of that many spent sessions.
const MAX_EXPLAINED: usize = 16;
/// Over how long explanations are counted, in milliseconds.
const EXPLAIN_MS: u64 = 3_600_000;

/// How often a node is greeted again that another setup is in use at.
const NUDGE: Duration = Duration::from_secs(1);

/// An entry and when it was made.
struct Kept {
    entry: PoolEntry,
    at_ms: u64,
}

/// The pool of one set of signers.
#[derive(Default)]
struct Pool {
    entries: BTreeMap<SessionId, Kept>,
    /// How many a coordinator wants there to be, for the moment.
    wanted: usize,
}

/// A run under way.
struct Run {
    signers: BTreeSet<NodeId>,
    own: bool,
    inbox: mpsc::Sender<Inbound>,
    /// Everything said so far, to be said again when a session between nodes had to be replaced.
    said: Vec<Outbound>,
}

/// A signature between its two online rounds.
pub(super) struct Waiting {
    pub(super) opened: Opened,
    /// The verdict: looked at again before the second message leaves.
    pub(super) approved: Box<Approved>,
    /// The share it was opened with.
    pub(super) key: Arc<Key>,
    pub(super) pairs: BTreeMap<NodeId, PairId>,
    pub(super) since_ms: u64,
}

/// A signature that this node has answered, and can still explain.
struct Answered {
    responded: Responded,
    pairs: BTreeMap<NodeId, PairId>,
    since_ms: u64,
}

/// Everything about ECDSA that is in memory only.
#[derive(Default)]
pub(super) struct Pools {
    pools: BTreeMap<BTreeSet<NodeId>, Pool>,
    runs: BTreeMap<[u8; 32], Run>,
    early: VecDeque<(NodeId, RunMessage)>,
    opened: BTreeMap<SessionId, Waiting>,
    answered: BTreeMap<SessionId, Answered>,
    /// When the last explanations were given, on the boot clock.
    explained: VecDeque<u64>,
    /// What every peer has said of itself last.
    greetings: BTreeMap<NodeId, Greeting>,
    /// When this node last greeted a peer that it does not agree with.
    nudged: BTreeMap<NodeId, Instant>,
    /// Sets whose list of entries has changed since it was last announced.
    changed: BTreeSet<BTreeSet<NodeId>>,
}

impl Pools {
    /// Drops everything that depends on a peer.
    pub(super) fn forget_peer(&mut self, peer: &NodeId) {
        for (set, pool) in &mut self.pools {
            if set.contains(peer) && !pool.entries.is_empty() {
                pool.entries.clear();
                self.changed.insert(set.clone());
            }
        }
        self.runs.retain(|_, run| !run.signers.contains(peer));
        self.early.retain(|(from, _)| from != peer);
        self.opened
            .retain(|_, waiting| !waiting.pairs.contains_key(peer));
        self.answered
            .retain(|_, answered| !answered.pairs.contains_key(peer));
    }

    /// Drops every signature by a key that waits for its second round: the share it was opened with is worthless.
    pub(super) fn forget_key(&mut self, key: &[u8; 32]) {
        self.opened
            .retain(|_, waiting| waiting.key.share.public().key_id().as_bytes() != key);
    }

    /// Notes which start of a peer speaks, and says whether this is the first word of it. Entries of an earlier one are dead.
    pub(super) fn greet(&mut self, peer: NodeId, greeting: Greeting) -> bool {
        let before = self.greetings.insert(peer, greeting);
        let first = before.is_none_or(|before| before.boot != greeting.boot);
        if first && before.is_some() {
            self.forget_peer(&peer);
        }
        first
    }

    /// What a peer has said of itself last.
    pub(super) fn greeting(&self, peer: &NodeId) -> Option<&Greeting> {
        self.greetings.get(peer)
    }

    /// Whether both nodes use the same setup, as far as the other has said.
    fn agrees(&self, pairs: &Pairs, peer: &NodeId) -> bool {
        match (pairs.live(peer), self.greetings.get(peer)) {
            (Some(live), Some(theirs)) => *live.name().as_bytes() == theirs.name,
            _ => false,
        }
    }

    /// Whether it is time to greet a peer again that this node does not agree with.
    fn nudge(&mut self, peer: NodeId) -> bool {
        let due = self
            .nudged
            .get(&peer)
            .is_none_or(|last| last.elapsed() >= NUDGE);
        if due {
            self.nudged.insert(peer, Instant::now());
        }
        due
    }

    fn pool(&mut self, signers: &BTreeSet<NodeId>) -> &mut Pool {
        self.pools.entry(signers.clone()).or_default()
    }

    fn size(&self, signers: &BTreeSet<NodeId>) -> usize {
        let running = self.runs.values().filter(|run| run.signers == *signers);
        let entries = self.pools.get(signers).map_or(0, |pool| pool.entries.len());
        entries.saturating_add(running.count())
    }

    fn keep(&mut self, entry: PoolEntry, at_ms: u64) {
        let signers = entry.signers().clone();
        let pool = self.pool(&signers);
        pool.entries.insert(entry.name(), Kept { entry, at_ms });
        self.changed.insert(signers);
    }

    /// The set and the pair setups of an entry.
    pub(super) fn look(&self, name: &SessionId) -> Option<&PoolEntry> {
        let mut pools = self.pools.values();
        pools.find_map(|pool| pool.entries.get(name).map(|kept| &kept.entry))
    }

    /// Takes an entry; it is gone from here whatever follows.
    pub(super) fn take(&mut self, name: &SessionId) -> Option<PoolEntry> {
        let mut pools = self.pools.iter_mut();
        let (set, kept) =
            pools.find_map(|(set, pool)| Some((set.clone(), pool.entries.remove(name)?)))?;
        self.changed.insert(set);
        Some(kept.entry)
    }

    /// Keeps a signature until its second round.
    pub(super) fn wait(&mut self, name: SessionId, waiting: Waiting) {
        make_room(&mut self.opened, MAX_OPENED, |held| held.since_ms);
        self.opened.insert(name, waiting);
    }

    /// Keeps what a response can be explained with, should the signature not verify.
    pub(super) fn answered(
        &mut self,
        name: SessionId,
        responded: Responded,
        pairs: BTreeMap<NodeId, PairId>,
        since_ms: u64,
    ) {
        make_room(&mut self.answered, MAX_ANSWERED, |held| held.since_ms);
        let answered = Answered {
            responded,
            pairs,
            since_ms,
        };
        self.answered.insert(name, answered);
    }

    /// Takes what a response can be explained with; it is gone from here whatever follows. The setups that it depends on come with it.
    pub(super) fn take_answered(
        &mut self,
        name: &SessionId,
    ) -> Option<(Responded, BTreeMap<NodeId, PairId>)> {
        let answered = self.answered.remove(name)?;
        Some((answered.responded, answered.pairs))
    }

    /// Whether one more explanation may be given now; if so, it is counted.
    pub(super) fn may_explain(&mut self, now_ms: u64) -> bool {
        self.explained
            .retain(|at_ms| now_ms.saturating_sub(*at_ms) < EXPLAIN_MS);
        let may = self.explained.len() < MAX_EXPLAINED;
        if may {
            self.explained.push_back(now_ms);
        }
        may
    }

    /// Takes a signature that waits for its second round; it is gone from here whatever follows.
    pub(super) fn take_opened(&mut self, name: &SessionId) -> Option<Waiting> {
        self.opened.remove(name)
    }

    /// Drops what is too old.
    fn age(&mut self, now_ms: u64) {
        for (set, pool) in &mut self.pools {
            let before = pool.entries.len();
            pool.entries
                .retain(|_, kept| now_ms.saturating_sub(kept.at_ms) < MAX_AGE_MS);
            if pool.entries.len() != before {
                self.changed.insert(set.clone());
            }
        }
        self.opened
            .retain(|_, held| now_ms.saturating_sub(held.since_ms) < OPENED_MS);
        self.answered
            .retain(|_, held| now_ms.saturating_sub(held.since_ms) < ANSWERED_MS);
    }

    fn list(&self, who: &Who, signers: &BTreeSet<NodeId>) -> PoolEntries {
        let entries = self
            .pools
            .get(signers)
            .into_iter()
            .flat_map(|pool| pool.entries.keys());
        PoolEntries {
            signers: indices(who, signers),
            boot_id: who.boot.to_vec().into(),
            entries: entries
                .map(|name| name.as_bytes().to_vec().into())
                .collect(),
        }
    }

    /// Says again everything that runs have said to a node.
    pub(super) fn said_to(&self, who: &Who, node: &NodeId) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        for (pool, run) in &self.runs {
            let mine = run
                .said
                .iter()
                .filter(|said| said.to == Recipient::One(*node));
            messages.extend(mine.map(|said| {
                RunMessage {
                    pool: *pool,
                    signers: mask(&who.roster, &run.signers),
                    envelope: said.bytes.clone(),
                }
                .encode()
            }));
        }
        messages
    }

    pub(super) fn is_idle(&self) -> bool {
        self.runs.is_empty()
    }

    pub(super) fn states(&self, who: &Who, target: u64) -> Vec<PoolState> {
        let count = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        let state = |(signers, pool): (&BTreeSet<NodeId>, &Pool)| PoolState {
            signers: indices(who, signers),
            entries: count(pool.entries.len()),
            target: u32::try_from(target).unwrap_or(u32::MAX),
        };
        self.pools.iter().map(state).collect()
    }
}

/// Lets the oldest go if there are as many as there may be.
fn make_room<T>(held: &mut BTreeMap<SessionId, T>, most: usize, since_ms: impl Fn(&T) -> u64) {
    if held.len() >= most {
        let oldest = held.iter().min_by_key(|(_, item)| since_ms(item));
        if let Some(oldest) = oldest.map(|(name, _)| *name) {
            held.remove(&oldest);
        }
    }
}

fn indices(who: &Who, signers: &BTreeSet<NodeId>) -> Vec<u32> {
    let mut list: Vec<u32> = signers
        .iter()
        .filter_map(|node| who.roster.index(node))
        .map(|index| index.get().into())
        .collect();
    list.sort_unstable();
    list
}

/// Whether this node starts the runs of a set: the lowest index does.
fn leads(who: &Who, signers: &BTreeSet<NodeId>) -> bool {
    leader(who, signers) == Some(who.node)
}

fn leader(who: &Who, signers: &BTreeSet<NodeId>) -> Option<NodeId> {
    let mut by_index = who.roster.by_index();
    by_index
        .find(|(_, node)| signers.contains(node))
        .map(|(_, node)| node)
}

/// The nodes of a key and how many of them sign.
type Committee = (BTreeSet<NodeId>, usize);

/// Every set of signers of a committee with this node; none if there are too many.
fn sets(who: &Who, (committee, size): &Committee) -> Vec<BTreeSet<NodeId>> {
    let size = *size;
    let others: Vec<NodeId> = committee
        .iter()
        .copied()
        .filter(|node| *node != who.node)
        .collect();
    let mut found = vec![BTreeSet::from([who.node])];
    for (position, node) in others.iter().enumerate() {
        let left = others.len().saturating_sub(position);
        let mut grown = Vec::new();
        for set in found {
            let missing = size.saturating_sub(set.len());
            if missing > 0 {
                let mut with = set.clone();
                with.insert(*node);
                grown.push(with);
            }
            // Without this node there must still be enough others.
            if missing < left {
                grown.push(set);
            }
        }
        if grown.len() > MAX_SETS.saturating_mul(64) {
            return Vec::new();
        }
        found = grown;
    }
    found.retain(|set| set.len() == size);
    if found.len() > MAX_SETS {
        Vec::new()
    } else {
        found
    }
}

/// The committees of the active ECDSA keys.
fn committees(state: &State) -> BTreeSet<Committee> {
    let keys = state.keys.values().map(|key| key.share.public());
    keys.filter(|public| matches!(public.purpose(), Purpose::Ecdsa | Purpose::EcdsaRaw))
        .map(|public| {
            let nodes = public.nodes().values().copied().collect();
            (nodes, usize::from(public.params().threshold()))
        })
        .collect()
}

/// Whether a set of nodes signs for one of the committees.
fn is_quorum(committees: &BTreeSet<Committee>, signers: &BTreeSet<NodeId>) -> bool {
    committees
        .iter()
        .any(|(nodes, size)| signers.len() == *size && signers.is_subset(nodes))
}

impl Engine {
    pub(super) fn pools(&self) -> MutexGuard<'_, Pools> {
        self.0.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node ids of a call's list of indices: ascending, this node among them, and as many as a key here has as threshold.
    pub(super) fn signer_set(&self, indices: &[u32]) -> Result<BTreeSet<NodeId>, Refusal> {
        let who = &self.0.who;
        if !indices.is_sorted_by(|one, next| one < next) {
            return Err(Refusal::malformed(
                "signers must be listed in ascending order",
            ));
        }
        let node = |index: &u32| {
            let index = PartyIndex::new(u16::try_from(*index).ok()?).ok()?;
            who.roster.node_id(index)
        };
        let set: Option<BTreeSet<NodeId>> = indices.iter().map(node).collect();
        set.filter(|set| set.contains(&who.node))
            .ok_or_else(|| Refusal::malformed("the signers must be nodes, this one among them"))
    }

    pub(super) fn fill_pool(&self, call: &FillPool) -> Result<PoolEntries, Refusal> {
        let signers = self.signer_set(&call.signers)?;
        if !is_quorum(&committees(&self.state()), &signers) {
            return Err(Refusal::unknown("an ECDSA key with these signers"));
        }
        let count = usize::try_from(call.count).unwrap_or(usize::MAX);
        let most = self.most_entries();
        let list = {
            let mut pools = self.pools();
            let pool = pools.pool(&signers);
            pool.wanted = pool.entries.len().saturating_add(count).min(most);
            pools.list(&self.0.who, &signers)
        };
        self.fill_pools();
        Ok(list)
    }

    fn target(&self) -> usize {
        usize::try_from(self.0.limits.pool_entries).unwrap_or(usize::MAX)
    }

    /// The most entries of one set, however many are asked for.
    fn most_entries(&self) -> usize {
        self.target().saturating_mul(4).max(64)
    }

    /// Starts what the pools lack and drops what is too old. Call it a few times a second, inside the runtime of the node.
    pub fn fill_pools(&self) {
        let committees = committees(&self.state());
        let Ok(now_ms) = self.boot_ms() else { return };
        if committees.is_empty() {
            return;
        }
        self.redial();
        let who = &self.0.who;
        let mut all: BTreeSet<BTreeSet<NodeId>> = committees
            .iter()
            .flat_map(|committee| sets(who, committee))
            .collect();
        self.join_early(&committees);
        let (mut due, mut strangers) = (Vec::new(), BTreeSet::new());
        {
            let pairs = self.pairs();
            let mut pools = self.pools();
            pools.age(now_ms);
            let pooled = pools.pools.keys();
            all.extend(pooled.filter(|set| is_quorum(&committees, set)).cloned());
            let mut room =
                OWN_RUNS.saturating_sub(pools.runs.values().filter(|run| run.own).count());
            for signers in all {
                if room == 0 {
                    break;
                }
                let size = pools.size(&signers);
                let goal = self.target().max(pools.pool(&signers).wanted);
                if size < goal && leads(who, &signers) {
                    let apart = self.apart(&pairs, &pools, &signers);
                    if apart.is_empty() {
                        room = room.saturating_sub(1);
                        due.push(signers);
                    } else {
                        strangers.extend(apart);
                    }
                } else if size >= goal {
                    pools.pool(&signers).wanted = 0;
                }
            }
        }
        for peer in strangers {
            if self.pools().nudge(peer) {
                self.greet(&peer);
            }
        }
        for signers in due {
            let mut pool = [0; 32];
            if crate::seal::random(&mut pool).is_ok() {
                self.start_run(&signers, pool, true);
            }
        }
        self.announce_pools();
    }

    /// The signers that have another setup with this node than it has with them, or have not said.
    fn apart(&self, pairs: &Pairs, pools: &Pools, signers: &BTreeSet<NodeId>) -> Vec<NodeId> {
        let peers = signers.iter().filter(|node| **node != self.0.who.node);
        peers
            .filter(|peer| pairs.live(peer).is_some() && !pools.agrees(pairs, peer))
            .copied()
            .collect()
    }

    /// Says to a peer which start of this node it is, and which setup it uses with it.
    pub(super) fn greet(&self, peer: &NodeId) {
        let greeting = self.greeting_for(peer).encode();
        self.tell_node(peer, &greeting);
    }

    pub(super) fn greeting_for(&self, peer: &NodeId) -> Greeting {
        let pairs = self.pairs();
        Greeting {
            boot: self.0.who.boot,
            name: pairs
                .live(peer)
                .map_or([0; 32], |live| *live.name().as_bytes()),
            last: pairs.last_generation(peer),
        }
    }

    /// Takes a peer's greeting. One that has started anew and has never heard of the setup that this node uses has lost it. A later
    /// greeting of the same start may only be late: the setup was made, and certified, while it was under way.
    pub(super) fn on_greeting(&self, from: NodeId, greeting: Greeting) {
        let first = self.pools().greet(from, greeting);
        let lost = {
            let pairs = self.pairs();
            let live = pairs.live(&from);
            let lost = live.filter(|live| first && greeting.last < live.generation());
            lost.map(|live| live.name())
        };
        if let Some(used) = lost {
            let engine = self.clone();
            tokio::spawn(async move { engine.need_rekey(from, used).await });
        }
        self.announce_pools();
    }

    /// Joins the runs whose first messages came before this node could take part: its key was not active yet, or its pool full.
    fn join_early(&self, committees: &BTreeSet<Committee>) {
        let who = &self.0.who;
        let due: BTreeMap<[u8; 32], BTreeSet<NodeId>> = {
            let pools = self.pools();
            let held = pools.early.iter().filter_map(|(from, message)| {
                let signers = unmask(&who.roster, message.signers)?;
                self.may_join(&pools, committees, &signers, from)
                    .then_some((message.pool, signers))
            });
            held.collect()
        };
        for (pool, signers) in due {
            self.start_run(&signers, pool, false);
        }
    }

    /// Whether a run that another node has started is one to join now.
    fn may_join(
        &self,
        pools: &Pools,
        committees: &BTreeSet<Committee>,
        signers: &BTreeSet<NodeId>,
        from: &NodeId,
    ) -> bool {
        let who = &self.0.who;
        leader(who, signers) == Some(*from)
            && *from != who.node
            && is_quorum(committees, signers)
            && pools.runs.len() < MAX_RUNS
            && pools.size(signers) < self.most_entries()
    }

    /// Tells the coordinator which entries there are, for every set whose list has changed.
    pub(super) fn announce_pools(&self) {
        let lists: Vec<PoolEntries> = {
            let mut pools = self.pools();
            let changed = core::mem::take(&mut pools.changed);
            changed
                .iter()
                .map(|signers| pools.list(&self.0.who, signers))
                .collect()
        };
        for list in lists {
            self.send(node_frame::Body::PoolEntries(list));
        }
    }

    /// Tells a new connection about every pool.
    pub(super) fn announce_all_pools(&self) {
        {
            let mut pools = self.pools();
            let all: Vec<_> = pools.pools.keys().cloned().collect();
            pools.changed.extend(all);
        }
        self.announce_pools();
    }

    pub(super) fn pool_states(&self) -> Vec<PoolState> {
        self.pools().states(&self.0.who, self.0.limits.pool_entries)
    }

    /// Takes a message of a run, and joins the run if the set's first node has started it.
    pub(super) fn on_run_message(&self, from: NodeId, bytes: &[u8]) {
        let who = &self.0.who;
        let Ok(message) = RunMessage::decode(bytes) else {
            tracing::warn!(peer = %from, "a peer's message was malformed");
            return;
        };
        let Some(signers) = unmask(&who.roster, message.signers)
            .filter(|set| set.contains(&who.node) && set.contains(&from))
        else {
            return;
        };
        let committees = committees(&self.state());
        let join = {
            let mut pools = self.pools();
            if let Some(run) = pools.runs.get(&message.pool) {
                let inbound = Inbound {
                    from,
                    bytes: message.envelope,
                };
                if run.signers == signers && run.inbox.try_send(inbound).is_err() {
                    tracing::warn!(peer = %from, "too many messages wait for a run");
                }
                return;
            }
            let may_join = self.may_join(&pools, &committees, &signers, &from);
            let pool = message.pool;
            let of_sender = pools.early.iter().filter(|(sender, _)| *sender == from);
            if of_sender.count() >= MAX_EARLY {
                let oldest = pools.early.iter().position(|(sender, _)| *sender == from);
                oldest.and_then(|oldest| pools.early.remove(oldest));
            }
            pools.early.push_back((from, message));
            may_join.then_some(pool)
        };
        if let Some(pool) = join {
            self.start_run(&signers, pool, false);
        }
    }
}
