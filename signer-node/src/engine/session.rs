//! The task of one ceremony, whether it makes a key or moves one: input, step, write, send.

use core::time::Duration;
use std::collections::BTreeMap;

use mpc_core::id::{NodeId, PairId};
use mpc_core::session::{Effects, Inbound, Ready, Session, Step, Write, WriteKind};
use mpc_core::{Error, Fault};
use proto::v1::FailureCode;
use tokio::sync::{MutexGuard, mpsc};

use super::Engine;
use crate::failure::Refusal;
use crate::store::{Change, Table};

/// How often deadlines and broken tunnels are looked at.
const TICK: Duration = Duration::from_millis(200);

/// Between two looks whether there is room for a ceremony.
const LOOK: Duration = Duration::from_millis(20);

/// How a ceremony's task ends early.
pub(super) enum End {
    Protocol(Error),
    Refused(Refusal),
}

/// What a ceremony does with the results of its session.
pub(super) trait Work: Sized + Send + Sync {
    type Session: Session<Output = Self::Output> + Send;
    type Output: Send;

    /// What it is, for people.
    const NAME: &'static str;

    /// The name of its slot: what its messages carry.
    fn name(&self) -> &[u8; 32];

    /// Makes a new share, or a certificate, durable.
    fn write(
        &self,
        engine: &Engine,
        write: &Write,
    ) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Sends what is due. True at the end of the session.
    fn take(&self, engine: &Engine, effects: Effects<Self::Output>) -> bool;

    /// Tells the coordinator of an early end.
    fn report(&self, engine: &Engine, end: End);
}

impl Engine {
    /// Carries out the step that a session starts with: nothing leaves before its id is in the replay log.
    pub(super) async fn begin<W: Work>(
        &self,
        work: &W,
        step: Step<W::Output>,
    ) -> Result<Effects<W::Output>, Refusal> {
        let done = self.carry_out(work, step).await;
        done.map_err(|end| match end {
            End::Protocol(error) => Refusal::internal(error),
            End::Refused(refusal) => refusal,
        })
    }

    /// Waits a little for room for another session. The other nodes may be through with the one before, and whoever asked for it may
    /// have its result, while this node still writes. Whoever waits longest starts first: keep the guard until the slot is open.
    pub(super) async fn room_for(&self, reshare: bool, pairs: bool) -> Option<MutexGuard<'_, ()>> {
        let begun = tokio::time::Instant::now();
        // The rest of the call's time is for the ceremony itself.
        let most = Duration::from_millis(self.0.limits.call_deadline_ms / 2);
        let [dkg, resharing] = &self.0.starting;
        let queue = if reshare { resharing } else { dkg };
        let turn = tokio::time::timeout(most, queue.lock()).await.ok();
        let busy = |engine: &Self| {
            let state = engine.state();
            let limits = &engine.0.limits;
            state.ceremonies.are_busy(reshare, pairs, limits)
        };
        while busy(self) && begun.elapsed() < most {
            tokio::time::sleep(LOOK).await;
        }
        turn
    }

    /// Carries a ceremony to its end. `setups` are those with peers that it was told to go on with.
    pub(super) async fn drive<W: Work>(
        self,
        mut session: W::Session,
        work: W,
        setups: BTreeMap<NodeId, PairId>,
        mut inbox: mpsc::Receiver<Inbound>,
        first: Effects<W::Output>,
    ) {
        self.redial();
        let end = match work.take(&self, first) {
            true => None,
            false => self.run(&mut session, &work, &mut inbox).await.err(),
        };
        self.close_slot(work.name());
        if let Some(end) = end {
            if let End::Protocol(Error::Aborted(abort)) = &end
                && let Fault::StalePair { peer } = abort.fault
                && let Some(used) = setups.get(&peer)
            {
                self.need_rekey(peer, *used).await;
            }
            work.report(&self, end);
        }
    }

    async fn run<W: Work>(
        &self,
        session: &mut W::Session,
        work: &W,
        inbox: &mut mpsc::Receiver<Inbound>,
    ) -> Result<(), End> {
        let mut ticks = tokio::time::interval(TICK);
        loop {
            let input = tokio::select! {
                input = inbox.recv() => match input {
                    Some(input) => Some(input),
                    // It was stopped, or its certificate came from elsewhere.
                    None => return Ok(()),
                },
                _ = ticks.tick() => None,
            };
            let now_ms = self.boot_ms().map_err(End::Refused)?;
            let step = match input {
                Some(input) => session.handle(input, now_ms),
                None => {
                    self.redial();
                    Ok(Step::idle())
                }
            };
            if self.follow(work, step).await? {
                return Ok(());
            }
            while session
                .deadline_ms()
                .is_some_and(|deadline| deadline <= now_ms)
            {
                let step = session.tick(now_ms);
                if self.follow(work, step).await? {
                    return Ok(());
                }
            }
        }
    }

    async fn follow<W: Work>(
        &self,
        work: &W,
        step: Result<Step<W::Output>, Error>,
    ) -> Result<bool, End> {
        let step = match step {
            Ok(step) => step,
            Err(Error::Rejected(rejection)) => {
                tracing::debug!(%rejection, "a message of a {} was dropped", W::NAME);
                return Ok(false);
            }
            Err(error) => return Err(End::Protocol(error)),
        };
        let effects = self.carry_out(work, step).await?;
        Ok(work.take(self, effects))
    }

    /// Writes what has to be written; the effects come out only then.
    async fn carry_out<W: Work>(
        &self,
        work: &W,
        step: Step<W::Output>,
    ) -> Result<Effects<W::Output>, End> {
        match step.split() {
            Ready::Now(effects) => Ok(effects),
            Ready::AfterWrite(write, held) => {
                let written = match write.kind() {
                    WriteKind::Replay => self.write_replay(work.name(), &write).await,
                    _ => work.write(self, &write).await,
                };
                written.map_err(End::Refused)?;
                held.release(write.stored()).map_err(End::Protocol)
            }
        }
    }

    async fn write_replay(&self, name: &[u8; 32], write: &Write) -> Result<(), Refusal> {
        let append = Change::Append {
            table: Table::Replay,
            key: write.bytes().to_vec(),
            body: name.to_vec(),
        };
        self.commit_now(vec![append]).await
    }

    /// Waits until the changes are durable.
    pub(super) async fn commit_now(&self, changes: Vec<Change>) -> Result<(), Refusal> {
        let pending = {
            let state = self.state();
            self.commit(&state, changes)
        };
        pending.durable().await?;
        Ok(())
    }

    /// What to say of an early end, and the evidence for it. Evidence that convicts somebody is kept.
    pub(super) fn explain_end(&self, end: End) -> (Refusal, Vec<u8>) {
        if let End::Protocol(Error::Aborted(abort)) = &end {
            abort.evidence.iter().for_each(|found| self.found(found));
        }
        match end {
            End::Refused(refusal) => (refusal, Vec::new()),
            End::Protocol(error) => self.explain(&error),
        }
    }

    /// What to say of an error of a protocol.
    pub(super) fn explain(&self, error: &Error) -> (Refusal, Vec<u8>) {
        let retry = "start another attempt";
        match error {
            Error::Aborted(abort) => {
                let evidence = abort
                    .evidence
                    .as_ref()
                    .map(mpc_core::evidence::Evidence::encode)
                    .unwrap_or_default();
                let refusal = Refusal::new(
                    FailureCode::Aborted,
                    error.to_string(),
                    "look at the accused nodes before starting again",
                );
                (
                    refusal.with_culprits(self.indices(&error.culprits())),
                    evidence,
                )
            }
            Error::TimedOut { missing } => {
                let silent: Vec<_> = missing.iter().copied().collect();
                let reasons = self
                    .indices(&silent)
                    .iter()
                    .map(|index| format!("node {index} stayed silent"))
                    .collect();
                (
                    Refusal::new(FailureCode::TimedOut, error.to_string(), retry)
                        .with_reasons(reasons),
                    Vec::new(),
                )
            }
            Error::Misuse(_)
            | Error::RandomnessUnavailable
            | Error::Rejected(_)
            | Error::Unreachable(_) => (Refusal::internal(error), Vec::new()),
        }
    }
}
