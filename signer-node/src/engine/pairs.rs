//! What this node has with every peer, and which peers it never works with again.
//!
//! A setup is prepared with the share of the session that made it, active with the certificate, retired by the next one. A failed
//! check poisons the pair: in memory before anything else happens, on disk before any answer. A poisoned pair stays poisoned: nothing
//! retries it, no key generation and no refresh that the policy asks for replaces it. Only a reshare that people ordered after the failure
//! makes a setup of a higher generation that works again; the failures stay counted. A store that came out of a backup has forgotten
//! which pairs had failed, so there people have to order the first setup with every peer of old.
//!
//! Everything that depends on a setup leaves under a read guard that has looked at the state again; poisoning takes the
//! write guard. So no message leaves after a failure was seen.

mod record;
mod stops;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLockReadGuard, RwLockWriteGuard};

use mpc_core::dkg::PairStatus;
use mpc_core::id::{NodeId, PairId};
use mpc_core::pair::PairRecord;
use mpc_core::roster::Roster;
use mpc_core::{Abort, Error, Fault};
use proto::v1::{FailureCode, PairAlarm, PairState, node_frame};

use super::dkg::sealed_digest;
use super::{Engine, Who};
use crate::failure::Refusal;
use crate::store::{Change, StoreError, Table};

pub(super) use record::{Poison, Record, label};
pub(super) use stops::Stops;

/// What this node has with one peer.
#[derive(Default)]
struct Peer {
    /// The highest generation that was ever stored, prepared ones included.
    last: u32,
    live: Option<Arc<PairRecord>>,
    /// The generation that the peer holds another setup for.
    rekeying: Option<u32>,
    poison: Option<Poison>,
    strikes: u32,
    /// The next session makes another setup, whatever is live: the peer would not go on with that one. In memory only.
    anew: bool,
}

impl Peer {
    /// Whether a failure forbids a setup of this generation.
    fn bans(&self, generation: u32) -> bool {
        self.poison
            .as_ref()
            .is_some_and(|poison| generation <= poison.generation)
    }

    /// A setup of this generation leaves behind what was wrong with lower ones.
    fn outgrow(&mut self, generation: u32) {
        self.anew = false;
        if self.rekeying.is_some_and(|old| old < generation) {
            self.rekeying = None;
        }
        if !self.bans(generation) {
            self.poison = None;
        }
    }
}

/// What this node has with all peers.
#[derive(Default)]
pub(super) struct Pairs {
    peers: BTreeMap<NodeId, Peer>,
    /// Changes that the disk has not taken: they stand in memory, and are tried again with every tick.
    pub(super) unwritten: Vec<Vec<Change>>,
}

impl Pairs {
    /// Follows a row of the log, but for the sealed record of an active setup.
    pub(super) fn follow(&mut self, record: &Record) {
        let (Record::Prepared {
            peer, generation, ..
        }
        | Record::Active {
            peer, generation, ..
        }
        | Record::Rekeying { peer, generation }
        | Record::Poisoned(Poison {
            peer, generation, ..
        })) = record;
        let state = self.peers.entry(*peer).or_default();
        state.last = state.last.max(*generation);
        match record {
            Record::Prepared { .. } => {}
            Record::Active { .. } => state.outgrow(*generation),
            Record::Rekeying { .. } => {
                state.rekeying = Some(*generation);
                state.live = None;
            }
            Record::Poisoned(poison) => {
                state.strikes = state.strikes.saturating_add(1);
                state.poison.get_or_insert_with(|| poison.clone());
                state.live = None;
            }
        }
    }

    /// Whether a setup of this generation could be in use.
    pub(super) fn wants(&self, peer: &NodeId, generation: u32) -> bool {
        self.peers.get(peer).is_none_or(|state| {
            let newer = state
                .live
                .as_ref()
                .is_none_or(|live| live.generation() < generation);
            let rekeyed = state.rekeying.is_some_and(|old| generation <= old);
            let banned = state.bans(generation);
            newer && !rekeyed && !banned
        })
    }

    /// Takes a setup into use, unless a newer one is or the pair is poisoned.
    pub(super) fn install(&mut self, record: PairRecord) {
        if self.wants(&record.peer(), record.generation()) {
            let state = self.peers.entry(record.peer()).or_default();
            state.last = state.last.max(record.generation());
            state.outgrow(record.generation());
            state.live = Some(Arc::new(record));
        }
    }

    /// The live setup with a peer.
    pub(super) fn live(&self, peer: &NodeId) -> Option<&Arc<PairRecord>> {
        self.peers.get(peer)?.live.as_ref()
    }

    /// Whether exactly these setups are live.
    pub(super) fn are_live(&self, names: &BTreeMap<NodeId, PairId>) -> bool {
        names
            .iter()
            .all(|(peer, name)| self.live(peer).is_some_and(|live| live.name() == *name))
    }

    /// The failure that stands against a peer, and how many there were in all.
    pub(super) fn poison_of(&self, peer: &NodeId) -> Option<(&Poison, u32)> {
        let state = self.peers.get(peer)?;
        Some((state.poison.as_ref()?, state.strikes))
    }

    /// Whether this failure is in the log, or was left behind by a newer setup.
    fn knows_failure(&self, poison: &Poison) -> bool {
        self.peers.get(&poison.peer).is_some_and(|state| {
            let same = |known: &Poison| known.session == poison.session;
            let newer = |live: &Arc<PairRecord>| live.generation() > poison.generation;
            state.poison.as_ref().is_some_and(same) || state.live.as_ref().is_some_and(newer)
        })
    }

    /// How often each peer has failed.
    pub(super) fn strikes(&self) -> BTreeMap<NodeId, u32> {
        let strikes = self.peers.iter();
        strikes
            .map(|(peer, state)| (*peer, state.strikes))
            .collect()
    }

    /// A failure of one of these peers since its failures were counted.
    pub(super) fn newly_poisoned(
        &self,
        mut peers: impl Iterator<Item = NodeId>,
        before: &BTreeMap<NodeId, u32>,
    ) -> Option<&Poison> {
        peers.find_map(|peer| {
            let state = self.peers.get(&peer)?;
            let counted = before.get(&peer).copied().unwrap_or(0);
            state.poison.as_ref().filter(|_| state.strikes > counted)
        })
    }

    /// The highest generation that was ever stored for a peer.
    pub(super) fn last_generation(&self, peer: &NodeId) -> u32 {
        self.peers.get(peer).map_or(0, |state| state.last)
    }

    /// The setup with a peer that another session may go on with: the live one, unless a newer one is prepared here or the two nodes
    /// have just found that they would not both do so.
    pub(super) fn reusable(&self, peer: &NodeId) -> Option<&Arc<PairRecord>> {
        let state = self.peers.get(peer)?;
        let live = state.live.as_ref()?;
        (live.generation() == state.last && !state.anew).then_some(live)
    }

    /// The failure that stands against a peer is on disk.
    fn stored(&mut self, peer: &NodeId) {
        let state = self.peers.get_mut(peer);
        if let Some(poison) = state.and_then(|state| state.poison.as_mut()) {
            poison.stored = true;
        }
    }

    /// The setups that a session is told to go on with, by their names.
    pub(super) fn names(statuses: &BTreeMap<NodeId, PairStatus>) -> BTreeMap<NodeId, PairId> {
        let live = |(peer, status): (&NodeId, &PairStatus)| {
            let live = status.live.as_ref()?;
            Some((*peer, live.name()))
        };
        statuses.iter().filter_map(live).collect()
    }

    /// What a key generation is told.
    pub(super) fn statuses(&self) -> BTreeMap<NodeId, PairStatus> {
        let status = |(peer, state): (&NodeId, &Peer)| {
            let live = self.reusable(peer).cloned();
            (
                *peer,
                PairStatus {
                    last_generation: state.last,
                    live,
                },
            )
        };
        self.peers.iter().map(status).collect()
    }

    /// What the node's status says.
    pub(super) fn states(&self, who: &Who) -> Vec<PairState> {
        let state = |(peer, state): (&NodeId, &Peer)| {
            let (status, generation) = match (&state.poison, &state.live, state.rekeying) {
                (Some(poison), _, _) if poison.stored => ("poisoned", poison.generation),
                (Some(poison), _, _) => ("stopped", poison.generation),
                (None, Some(live), _) => ("active", live.generation()),
                (None, None, Some(generation)) => ("rekeying", generation),
                (None, None, None) => ("prepared", state.last),
            };
            let poison = state.poison.as_ref().filter(|poison| poison.stored);
            let unstored = u32::from(poison.is_none() && state.poison.is_some());
            PairState {
                peer: who.roster.index(peer).map_or(0, |index| index.get().into()),
                generation,
                name: state
                    .live
                    .as_ref()
                    .map(|live| live.name().as_bytes().to_vec())
                    .unwrap_or_default()
                    .into(),
                status: status.to_owned(),
                why: poison.map(|poison| poison.why.clone()).unwrap_or_default(),
                session: poison
                    .map(|poison| poison.session.to_vec())
                    .unwrap_or_default()
                    .into(),
                at_ms: poison.map_or(0, |poison| poison.at_ms),
                strikes: state.strikes.saturating_sub(unstored),
            }
        };
        self.peers.iter().map(state).collect()
    }
}

/// A row for the log of pairs.
pub(super) fn append(record: &Record) -> Change {
    Change::Append {
        table: Table::Pairs,
        key: record.key(),
        body: record.encode(),
    }
}

/// The rows that go with a share that has no certificate yet.
pub(super) fn prepared(request: &[u8; 32], attempt: u32, pairs: &[PairRecord]) -> Vec<Record> {
    let row = |pair: &PairRecord| Record::Prepared {
        peer: pair.peer(),
        generation: pair.generation(),
        name: *pair.name().as_bytes(),
        request: *request,
        attempt,
    };
    pairs.iter().map(row).collect()
}

impl Engine {
    /// The state of the pairs, to be looked at while something that depends on them is sent.
    pub(super) fn pairs(&self) -> RwLockReadGuard<'_, Pairs> {
        self.0.pairs.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn pairs_mut(&self) -> RwLockWriteGuard<'_, Pairs> {
        self.0.pairs.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a key generation of a committee with pair setups starts from.
    pub(super) fn pair_statuses(
        &self,
        committee: &Roster,
    ) -> Result<BTreeMap<NodeId, PairStatus>, Refusal> {
        let old = self.peers_of_old();
        let pairs = self.pairs();
        let forgotten = |peer: &NodeId| old.contains(peer) && pairs.last_generation(peer) == 0;
        if let Some(peer) = committee.nodes().find(forgotten) {
            return Err(self.forgotten(&peer));
        }
        let mut peers = committee.nodes();
        match peers.find_map(|peer| pairs.poison_of(&peer)) {
            None => {
                let mut statuses = pairs.statuses();
                statuses.retain(|peer, _| committee.get(peer).is_some());
                Ok(statuses)
            }
            Some((poison, _)) => Err(self.banned(poison)),
        }
    }

    /// The peers that this node had setups with before its store came out of a backup. Which of those pairs had failed is not in it.
    fn peers_of_old(&self) -> BTreeSet<NodeId> {
        let state = self.state();
        if state.origin.is_none() {
            return BTreeSet::new();
        }
        let me = self.0.who.node;
        let active = state
            .sharings
            .values()
            .filter(|held| held.stopped.is_none());
        active
            .map(|held| held.lineage.active())
            .filter(|public| public.purpose().needs_pairs() && public.index_of(&me).is_some())
            .flat_map(|public| public.nodes().values().copied())
            .filter(|peer| *peer != me)
            .collect()
    }

    fn forgotten(&self, peer: &NodeId) -> Refusal {
        let peer = self.indices(&[*peer]);
        Refusal::new(
            FailureCode::Denied,
            format!(
                "this node came out of a backup, which does not say whether its pair with node {} had failed",
                peer.first().copied().unwrap_or_default()
            ),
            "have people order a reshare with fresh pairs of a key that both hold",
        )
    }

    pub(super) fn banned(&self, poison: &Poison) -> Refusal {
        if !poison.stored {
            return not_stored();
        }
        Refusal::new(
            FailureCode::SecurityAbort,
            format!(
                "this node does not work with node {} any more: {}",
                self.indices(&[poison.peer])
                    .first()
                    .copied()
                    .unwrap_or_default(),
                poison.why
            ),
            "find out which of the two lies; people may then order another setup (quorate pair renew), and what they ordered before does not count",
        )
        .with_culprits(self.indices(&[poison.peer]))
    }

    /// The changes that make setups active. Those that are outdated or whose pair is poisoned are left out.
    pub(super) fn activate_pairs(
        &self,
        records: Vec<PairRecord>,
    ) -> Result<(Vec<Change>, Vec<PairRecord>), Refusal> {
        let pairs = self.pairs();
        let (mut changes, mut wanted) = (Vec::new(), Vec::new());
        for record in records {
            let (peer, generation) = (record.peer(), record.generation());
            if !pairs.wants(&peer, generation) {
                continue;
            }
            let place = label(&peer, generation);
            let sealed = self
                .0
                .vault
                .seal_pair(&place, &record)
                .map_err(StoreError::from)?;
            changes.push(append(&Record::Active {
                peer,
                generation,
                name: *record.name().as_bytes(),
                sealed: sealed_digest(&sealed),
            }));
            changes.push(Change::Seal {
                label: place,
                record: sealed,
            });
            if let Some(old) = pairs.live(&peer) {
                changes.push(Change::Erase {
                    label: label(&peer, old.generation()),
                });
            }
            wanted.push(record);
        }
        Ok((changes, wanted))
    }

    /// Never uses the setups with a peer again. Everything that depends on them is dead at once; this says so only after the disk has
    /// it. While the disk refuses, whoever asks is told no more than that. `also` is written with it.
    pub(super) async fn poison(
        &self,
        peer: NodeId,
        why: &Fault,
        session: [u8; 32],
        also: Vec<Change>,
    ) -> Refusal {
        let (poison, pending, changes) = {
            let state = self.state();
            let mut pairs = self.pairs_mut();
            let generation = pairs.last_generation(&peer);
            let poison = Poison {
                peer,
                generation,
                why: why.to_string(),
                session,
                at_ms: state.clock.mark().wall_ms,
                stored: false,
            };
            let changes = poison_in_memory(&mut pairs, &poison, also);
            self.pools().forget_peer(&peer);
            let pending = self.commit(&state, changes.clone());
            (poison, pending, changes)
        };
        match pending.durable().await {
            Ok(_) => {}
            // This very failure is on disk already.
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => {
                tracing::error!(%error, %peer, why = %poison.why, "alert: a check failed, and that is not on disk yet");
                self.note_stop(&poison);
                self.pairs_mut().unwritten.push(changes);
                self.announce_pools();
                return not_stored();
            }
        }
        self.announce_poison(&poison);
        self.announce_pools();
        self.banned(&Poison {
            stored: true,
            ..poison
        })
    }

    /// A failure that the store does not take, where the next start finds it all the same.
    fn note_stop(&self, poison: &Poison) {
        let Some(number) = self.0.who.roster.index(&poison.peer) else {
            return;
        };
        if let Err(error) = self.0.stops.note(number, poison) {
            tracing::error!(%error, peer = %poison.peer, "alert: if this node stops before its disk has room, it forgets a failed check");
        }
    }

    /// Tells of a failed check that is on disk.
    fn announce_poison(&self, poison: &Poison) {
        self.pairs_mut().stored(&poison.peer);
        tracing::error!(peer = %poison.peer, why = %poison.why, "alert: a pair is poisoned");
        self.send(node_frame::Body::PairAlarm(self.alarm(poison)));
    }

    fn alarm(&self, poison: &Poison) -> PairAlarm {
        PairAlarm {
            peer: self
                .indices(&[poison.peer])
                .first()
                .copied()
                .unwrap_or_default(),
            generation: poison.generation,
            why: poison.why.clone(),
            session: poison.session.to_vec().into(),
            at_ms: poison.at_ms,
        }
    }

    /// The peer holds another setup: a new one is needed, and nobody is to blame. A peer that knows of this one has not lost it: one of
    /// the two is merely behind, and a certificate will bring them together. `used` is the setup that this was found with: nothing follows
    /// for one that has taken its place since.
    pub(super) async fn need_rekey(&self, peer: NodeId, used: PairId) {
        let pending = {
            let state = self.state();
            let mut pairs = self.pairs_mut();
            let Some(live) = pairs.live(&peer).filter(|live| live.name() == used) else {
                return;
            };
            let generation = live.generation();
            let theirs = self.pools().greeting(&peer).map(|theirs| theirs.last);
            if theirs.is_some_and(|last| last >= generation) {
                if let Some(state) = pairs.peers.get_mut(&peer) {
                    state.anew = true;
                }
                return;
            }
            let record = Record::Rekeying { peer, generation };
            pairs.follow(&record);
            self.pools().forget_peer(&peer);
            let erase = Change::Erase {
                label: label(&peer, generation),
            };
            self.commit(&state, vec![append(&record), erase])
        };
        if let Err(error) = pending.durable().await {
            tracing::error!(%error, "that a pair needs another setup could not be stored");
        }
        tracing::warn!(%peer, "the peer holds another setup; the next key generation makes a new one");
        self.announce_pools();
    }

    /// Whether the peer has said that it uses this setup. What it sent of another one is then left over from a run that it began before.
    fn is_used_by(&self, peer: &NodeId, setup: &PairId) -> bool {
        let pools = self.pools();
        let theirs = pools.greeting(peer);
        theirs.is_some_and(|theirs| theirs.name == *setup.as_bytes())
    }

    /// What follows from a failed session for the pairs, before anything else happens. The refusal says it to the caller.
    pub(super) async fn judge_failure(
        &self,
        error: &Error,
        session: [u8; 32],
        setups: &BTreeMap<NodeId, PairId>,
        also: Vec<Change>,
    ) -> Refusal {
        if let Error::Aborted(abort) = error {
            if let Some(peer) = abort.poisons() {
                return self.poison(peer, &abort.fault, session, also).await;
            }
            abort.evidence.iter().for_each(|found| self.found(found));
            if let Fault::StalePair { peer } = abort.fault
                && let Some(used) = setups.get(&peer)
                && !self.is_used_by(&peer, used)
            {
                self.need_rekey(peer, *used).await;
            }
        }
        self.write_later(also).await;
        self.aborted(error)
    }

    /// Writes what nobody waits for; a disk that fails gets it again with a later tick.
    pub(super) async fn write_later(&self, changes: Vec<Change>) {
        self.is_written(changes).await;
    }

    /// True if it is on disk now; otherwise it is tried again with a later tick.
    async fn is_written(&self, changes: Vec<Change>) -> bool {
        if changes.is_empty() {
            return true;
        }
        let pending = {
            let state = self.state();
            self.commit(&state, changes.clone())
        };
        match pending.durable().await {
            Ok(_) | Err(StoreError::Conflict { .. }) => true,
            Err(_) => {
                self.pairs_mut().unwritten.push(changes);
                false
            }
        }
    }

    /// Tries again what the disk has not taken.
    pub(super) async fn write_unwritten(&self) {
        let unwritten = core::mem::take(&mut self.pairs_mut().unwritten);
        for changes in unwritten {
            let failures = poisons_in(&changes);
            if self.is_written(changes).await {
                for poison in &failures {
                    self.announce_poison(poison);
                    if let Some(number) = self.0.who.roster.index(&poison.peer) {
                        self.0.stops.clear(number);
                    }
                }
            }
        }
    }

    fn aborted(&self, error: &Error) -> Refusal {
        let culprits = self.indices(&error.culprits());
        match error {
            Error::Aborted(Abort { .. }) => Refusal::new(
                FailureCode::Aborted,
                error.to_string(),
                "take another entry, and look at the accused nodes",
            )
            .with_culprits(culprits),
            Error::TimedOut { .. } => Refusal::new(
                FailureCode::TimedOut,
                error.to_string(),
                "take another entry",
            ),
            Error::Rejected(_) | Error::Misuse(_) => Refusal::malformed(error),
            Error::RandomnessUnavailable | Error::Unreachable(_) => Refusal::internal(error),
        }
    }
}

/// The failed checks that changes record.
fn poisons_in(changes: &[Change]) -> Vec<Poison> {
    let poison = |change: &Change| match change {
        Change::Append {
            table: Table::Pairs,
            body,
            ..
        } => match Record::decode(body) {
            Ok(Record::Poisoned(poison)) => Some(poison),
            _ => None,
        },
        _ => None,
    };
    changes.iter().filter_map(poison).collect()
}

/// What is said while the outcome of a check is not on disk: nothing about the outcome.
fn not_stored() -> Refusal {
    Refusal::internal("the disk refuses what must be written first; this pair is stopped meanwhile")
}

/// Poisons in memory; the changes that make it last.
pub(super) fn poison_in_memory(
    pairs: &mut Pairs,
    poison: &Poison,
    mut also: Vec<Change>,
) -> Vec<Change> {
    let record = Record::Poisoned(poison.clone());
    if let Some(live) = pairs.live(&poison.peer) {
        also.push(Change::Erase {
            label: label(&poison.peer, live.generation()),
        });
    }
    pairs.follow(&record);
    also.push(append(&record));
    also
}
