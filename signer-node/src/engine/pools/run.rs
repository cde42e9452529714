//! The task of one run of preprocessing: write before check, look at the pairs before every message.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mpc_core::Error;
use mpc_core::ecdsa::{PoolEntry, Preprocessing, Setup};
use mpc_core::envelope::{Envelope, Kind as Message};
use mpc_core::id::{NodeId, PairId, PoolId};
use mpc_core::session::{Effects, Inbound, Outbound, Ready, Recipient, Session as _, Step};
use rand_core::UnwrapErr;
use tokio::sync::mpsc;

use super::super::checks::{Check, check_label};
use super::{Run, RunMessage, mask};
use crate::engine::Engine;
use crate::failure::Refusal;
use crate::seal::Label;
use crate::store::{Change, StoreError, Table};

/// Both rounds together may take this long, in milliseconds.
const TIMEOUT_MS: u64 = 10_000;
/// How often a run looks at its deadline.
const TICK: Duration = Duration::from_millis(500);
/// Messages that wait for a run's task.
const INBOX: usize = 256;

/// How a run ends early.
enum End {
    Protocol(Error),
    Refused(Refusal),
    /// A pair is not what it was when the run started: nothing is said any more.
    PairsChanged,
}

/// A run as its task sees it.
struct Task {
    pool: [u8; 32],
    signers: BTreeSet<NodeId>,
    pairs: BTreeMap<NodeId, PairId>,
    session: Preprocessing,
    inbox: mpsc::Receiver<Inbound>,
    /// First messages of round 1, by peer: needed to repeat the check of the second.
    commits: BTreeMap<NodeId, Vec<u8>>,
    /// Checks that are written down.
    checks: Vec<Label>,
}

impl Engine {
    /// Starts a run, or joins the one of that name.
    pub(super) fn start_run(&self, signers: &BTreeSet<NodeId>, pool: [u8; 32], own: bool) {
        let who = &self.0.who;
        let mut records = BTreeMap::new();
        {
            let pairs = self.pairs();
            for peer in signers.iter().filter(|node| **node != who.node) {
                let Some(live) = pairs.live(peer) else { return };
                records.insert(*peer, Arc::clone(live));
            }
            if !self.apart(&pairs, &self.pools(), signers).is_empty() {
                return;
            }
        }
        let names = records
            .iter()
            .map(|(peer, record)| (*peer, record.name()))
            .collect();
        let (sender, inbox) = mpsc::channel(INBOX);
        {
            let mut pools = self.pools();
            if pools.runs.contains_key(&pool) {
                return;
            }
            let early = core::mem::take(&mut pools.early);
            let (mine, rest) = early.into_iter().partition(|(_, held)| held.pool == pool);
            pools.early = rest;
            let mine: std::collections::VecDeque<(NodeId, RunMessage)> = mine;
            for (from, message) in mine {
                let _ = sender.try_send(Inbound {
                    from,
                    bytes: message.envelope,
                });
            }
            let run = Run {
                signers: signers.clone(),
                own,
                inbox: sender,
                said: Vec::new(),
            };
            pools.runs.insert(pool, run);
        }
        let setup = Setup {
            roster: who.roster.clone(),
            me: who.node,
            signers: signers.clone(),
            pool_id: PoolId::from_bytes(pool),
            pairs: records,
        };
        let engine = self.clone();
        tokio::spawn(async move {
            if let Err(end) = engine.preprocess(setup, pool, names, inbox).await {
                tracing::warn!(reason = %end, "a run of preprocessing ended without an entry");
            }
            engine.pools().runs.remove(&pool);
            engine.announce_pools();
        });
    }

    async fn preprocess(
        &self,
        setup: Setup,
        pool: [u8; 32],
        pairs: BTreeMap<NodeId, PairId>,
        inbox: mpsc::Receiver<Inbound>,
    ) -> Result<(), Refusal> {
        let signers = setup.signers.clone();
        let now_ms = self.boot_ms()?;
        let rng = &mut UnwrapErr(getrandom::SysRng);
        let identity = Arc::clone(&self.0.who.identity);
        let started = Preprocessing::start(setup, identity, rng, now_ms, TIMEOUT_MS);
        let (session, step) = started.map_err(Refusal::internal)?;
        let mut task = Task {
            pool,
            signers,
            pairs,
            session,
            inbox,
            commits: BTreeMap::new(),
            checks: Vec::new(),
        };
        let outcome = self.converse(&mut task, step).await;
        let erase: Vec<Change> = task
            .checks
            .iter()
            .map(|label| Change::Erase { label: *label })
            .collect();
        let name = *task.session.first_name().as_bytes();
        match outcome {
            Ok(entry) => {
                self.write_later(erase).await;
                let at_ms = self.boot_ms()?;
                // Under the guard: a pair that was poisoned meanwhile leaves no entry behind.
                let guard = self.pairs();
                if guard.are_live(&task.pairs) {
                    self.pools().keep(entry, at_ms);
                }
                drop(guard);
                Ok(())
            }
            Err(End::Protocol(error)) => {
                Err(self.judge_failure(&error, name, &task.pairs, erase).await)
            }
            Err(End::Refused(refusal)) => {
                self.write_later(erase).await;
                Err(refusal)
            }
            Err(End::PairsChanged) => {
                self.write_later(erase).await;
                Err(Refusal::stale("a pair has changed during the run"))
            }
        }
    }

    async fn converse(&self, task: &mut Task, first: Step<PoolEntry>) -> Result<PoolEntry, End> {
        if let Some(entry) = self.carry(task, first).await? {
            return Ok(entry);
        }
        let mut ticks = tokio::time::interval(TICK);
        loop {
            let input = tokio::select! {
                input = task.inbox.recv() => match input {
                    Some(input) => Some(input),
                    // Somebody took the run away: a pair is poisoned, or a peer has started anew.
                    None => return Err(End::PairsChanged),
                },
                _ = ticks.tick() => None,
            };
            let now_ms = self.boot_ms().map_err(End::Refused)?;
            let step = match input {
                Some(input) => {
                    if !self.write_check(task, &input).await? {
                        continue;
                    }
                    task.session.handle(input, now_ms)
                }
                None => task.session.tick(now_ms),
            };
            let step = match step {
                Ok(step) => step,
                Err(Error::Rejected(rejection)) => {
                    tracing::debug!(%rejection, "a message of a run was dropped");
                    continue;
                }
                Err(error) => return Err(End::Protocol(error)),
            };
            if let Some(entry) = self.carry(task, step).await? {
                return Ok(entry);
            }
        }
    }

    /// Writes down what is about to be checked, so that a crash in the middle of the check is no way around the ban. False for
    /// a message that nothing can be done with.
    async fn write_check(&self, task: &mut Task, input: &Inbound) -> Result<bool, End> {
        let roster = &self.0.who.roster;
        let Ok(envelope) = Envelope::open(roster, &input.bytes) else {
            return Ok(false);
        };
        if envelope.header().from != input.from {
            return Ok(false);
        }
        match envelope.header().kind {
            Message::EcdsaCommit => {
                task.commits
                    .entry(input.from)
                    .or_insert_with(|| input.bytes.clone());
                Ok(true)
            }
            Message::EcdsaExtend => {
                let (Some(commit), Some(index), Some(pair)) = (
                    task.commits.get(&input.from),
                    roster.index(&input.from),
                    task.pairs.get(&input.from),
                ) else {
                    // Its sender says both in order; without the first the check could not be repeated.
                    return Ok(false);
                };
                let label = check_label(task.session.first_name(), index);
                if task.checks.contains(&label) {
                    return Ok(true);
                }
                let check = Check {
                    session: *task.session.first_name().as_bytes(),
                    peer: input.from,
                    pair: *pair.as_bytes(),
                    signers: task.signers.clone(),
                    commit: commit.clone(),
                    extend: input.bytes.clone(),
                };
                let record = self.0.vault.seal(&label, &check.encode());
                let record =
                    record.map_err(|error| End::Refused(StoreError::from(error).into()))?;
                self.commit_now(vec![Change::Seal { label, record }])
                    .await
                    .map_err(End::Refused)?;
                task.checks.push(label);
                Ok(true)
            }
            _ => Ok(true),
        }
    }

    async fn carry(&self, task: &Task, step: Step<PoolEntry>) -> Result<Option<PoolEntry>, End> {
        let effects = match step.split() {
            Ready::Now(effects) => effects,
            Ready::AfterWrite(write, held) => {
                let append = Change::Append {
                    table: Table::Replay,
                    key: write.bytes().to_vec(),
                    body: task.pool.to_vec(),
                };
                self.commit_now(vec![append]).await.map_err(End::Refused)?;
                held.release(write.stored()).map_err(End::Protocol)?
            }
        };
        let Effects { send, output } = effects;
        self.say_in_run(task, send)?;
        Ok(output)
    }

    /// Sends under the guard, after another look at the pairs.
    fn say_in_run(&self, task: &Task, send: Vec<Outbound>) -> Result<(), End> {
        let guard = self.pairs();
        if !guard.are_live(&task.pairs) {
            return Err(End::PairsChanged);
        }
        let signers = mask(&self.0.who.roster, &task.signers);
        for outbound in send {
            let Recipient::One(to) = outbound.to else {
                continue;
            };
            let message = RunMessage {
                pool: task.pool,
                signers,
                envelope: outbound.bytes.clone(),
            };
            {
                let mut pools = self.pools();
                let run = pools.runs.get_mut(&task.pool).ok_or(End::PairsChanged)?;
                run.said.push(outbound);
            }
            self.tell_node(&to, &message.encode());
        }
        drop(guard);
        Ok(())
    }
}
