//! The task of one key generation: input, step, write, send.

use core::time::Duration;

use mpc_core::dkg::{DkgCertificate, DkgOutput, Session as DkgSession};
use mpc_core::lineage::Lineage;
use mpc_core::pair::PairRecord;
use mpc_core::session::{Effects, Inbound, Ready, Session as _, Step, Write, WriteKind};
use mpc_core::{Error, Fault};
use proto::v1::{DkgProgress, FailureCode, node_frame};
use std::sync::Arc;
use tokio::sync::mpsc;

use super::record::sealed_digest;
use super::{Certified, Order, Record, Uncertified, progress};
use crate::engine::Engine;
use crate::engine::keys::Key;
use crate::engine::pairs;
use crate::engine::sharings::{self, Held, place_of, seal_lineage, share_label};
use crate::failure::Refusal;
use crate::store::{Change, StoreError, Table};

/// How often deadlines and broken tunnels are looked at.
const TICK: Duration = Duration::from_millis(200);

type Output = Effects<DkgOutput>;

/// How a session's task ends early.
pub(in crate::engine) enum End {
    Protocol(Error),
    Refused(Refusal),
}

impl Engine {
    /// Carries out the step that a session starts with: nothing leaves before its id is in the replay log.
    pub(super) async fn write_first(
        &self,
        order: &Order,
        step: Step<DkgOutput>,
    ) -> Result<Output, Refusal> {
        self.carry_out(order, step).await.map_err(|end| match end {
            End::Protocol(error) => Refusal::internal(error),
            End::Refused(refusal) => refusal,
        })
    }

    pub(super) async fn drive(
        self,
        mut session: DkgSession,
        order: Order,
        mut inbox: mpsc::Receiver<Inbound>,
        first: Output,
    ) {
        self.redial();
        let end = match self.take_effects(&order, first).await {
            Ok(true) => None,
            Ok(false) => self.run(&mut session, &order, &mut inbox).await.err(),
            Err(end) => Some(end),
        };
        self.close_slot(&order.request);
        if let Some(end) = end {
            if let End::Protocol(Error::Aborted(abort)) = &end
                && let Fault::StalePair { peer } = abort.fault
            {
                self.need_rekey(peer).await;
            }
            self.report_end(&order, end);
        }
    }

    async fn run(
        &self,
        session: &mut DkgSession,
        order: &Order,
        inbox: &mut mpsc::Receiver<Inbound>,
    ) -> Result<(), End> {
        let mut ticks = tokio::time::interval(TICK);
        loop {
            let input = tokio::select! {
                input = inbox.recv() => match input {
                    Some(input) => Some(input),
                    // The certificate came from elsewhere and the slot is gone.
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
            if self.follow_step(order, step).await? {
                return Ok(());
            }
            while session
                .deadline_ms()
                .is_some_and(|deadline| deadline <= now_ms)
            {
                let step = session.tick(now_ms);
                if self.follow_step(order, step).await? {
                    return Ok(());
                }
            }
        }
    }

    async fn follow_step(
        &self,
        order: &Order,
        step: Result<Step<DkgOutput>, Error>,
    ) -> Result<bool, End> {
        let step = match step {
            Ok(step) => step,
            Err(Error::Rejected(rejection)) => {
                tracing::debug!(%rejection, "a message of a key generation was dropped");
                return Ok(false);
            }
            Err(error) => return Err(End::Protocol(error)),
        };
        let effects = self.carry_out(order, step).await?;
        self.take_effects(order, effects).await
    }

    /// Writes what has to be written; the effects come out only then.
    async fn carry_out(&self, order: &Order, step: Step<DkgOutput>) -> Result<Output, End> {
        match step.split() {
            Ready::Now(effects) => Ok(effects),
            Ready::AfterWrite(write, held) => {
                self.write(order, &write).await.map_err(End::Refused)?;
                held.release(write.stored()).map_err(End::Protocol)
            }
        }
    }

    async fn write(&self, order: &Order, write: &Write) -> Result<(), Refusal> {
        match write.kind() {
            WriteKind::Replay => {
                let key = write.bytes().to_vec();
                let append = Change::Append {
                    table: Table::Replay,
                    key,
                    body: order.request.to_vec(),
                };
                self.commit_now(vec![append]).await
            }
            WriteKind::Share => {
                let label = order.pending_label();
                let sealed = self
                    .0
                    .vault
                    .seal(&label, write.bytes())
                    .map_err(StoreError::from)?;
                let pending = self
                    .0
                    .vault
                    .open_pending(&label, &sealed)
                    .map_err(StoreError::from)?;
                let part = pending.own_part().to_vec();
                let uncertified = Uncertified {
                    order: order.clone(),
                    part,
                    sealed: sealed.clone(),
                };
                let pairs = pairs::prepared(&order.request, order.attempt, pending.pairs());
                let row = Record::Stored(uncertified.clone());
                let append = Change::Append {
                    table: Table::Ceremonies,
                    key: row.key(),
                    body: row.encode(),
                };
                let seal = Change::Seal {
                    label,
                    record: sealed,
                };
                let mut changes = vec![seal, append];
                changes.extend(pairs.iter().map(pairs::append));
                self.commit_now(changes).await?;
                let mut known = self.pairs_mut();
                pairs.iter().for_each(|row| known.follow(row));
                drop(known);
                self.state().ceremonies.restore(uncertified);
                Ok(())
            }
            WriteKind::Certificate => {
                let roster = self.committee(&order.nodes)?;
                let certificate =
                    DkgCertificate::decode(&roster, write.bytes()).map_err(Refusal::internal)?;
                let parts: Vec<Vec<u8>> = certificate.parts().values().cloned().collect();
                self.finish(&order.request, &parts).await.map(|_| ())
            }
            _ => Err(Refusal::internal(
                "a key generation asked for a write this node does not know",
            )),
        }
    }

    pub(in crate::engine) async fn commit_now(&self, changes: Vec<Change>) -> Result<(), Refusal> {
        let pending = {
            let state = self.state();
            self.commit(&state, changes)
        };
        pending.durable().await?;
        Ok(())
    }

    /// Sends what is due and, if there is a result, makes the key active. True at the end of the session.
    async fn take_effects(&self, order: &Order, effects: Output) -> Result<bool, End> {
        if !effects.send.is_empty() {
            let mut update = progress(order, "round2");
            if let Some(pending) = self.state().ceremonies.uncertified.get(&order.request) {
                "round3".clone_into(&mut update.stage);
                update.certificate_part = pending.part.clone().into();
            }
            for outbound in effects.send {
                self.say(&order.request, order.attempt, outbound);
            }
            self.send(node_frame::Body::DkgProgress(update));
        }
        if effects.output.is_none() {
            return Ok(false);
        }
        // The write of the certificate has made the key active.
        let state = self.state();
        let mut held = state.sharings.values();
        let active = held
            .find(|held| held.request == order.request)
            .map(Self::active_progress);
        drop(state);
        if let Some(active) = active {
            self.send(node_frame::Body::DkgProgress(active));
        }
        Ok(true)
    }

    /// Completes a stored share with the parts of its certificate, whoever brought them.
    pub(super) async fn finish(
        &self,
        request: &[u8; 32],
        parts: &[Vec<u8>],
    ) -> Result<DkgProgress, Refusal> {
        let (order, record) = {
            let state = self.state();
            let mut held = state.sharings.values();
            if let Some(held) = held.find(|held| held.request == *request) {
                return Ok(Self::active_progress(held));
            }
            let pending = state.ceremonies.uncertified.get(request);
            let pending =
                pending.ok_or_else(|| Refusal::unknown("a pending share of this request"))?;
            (pending.order.clone(), pending.sealed.clone())
        };
        let pending = self
            .0
            .vault
            .open_pending(&order.pending_label(), &record)
            .map_err(Refusal::internal)?;
        let made = pending.finish(parts).map_err(Refusal::malformed)?;
        self.activate(&order, made).await
    }

    /// Stores a certified share and takes it into use.
    async fn activate(&self, order: &Order, made: DkgOutput) -> Result<DkgProgress, Refusal> {
        let DkgOutput {
            share,
            certificate,
            pairs,
        } = made;
        let _one_at_a_time = self.0.activation.lock().await;
        let (key_id, place) = (
            *share.public().key_id().as_bytes(),
            place_of(share.public()),
        );
        let vault = &self.0.vault;
        let label = share_label(key_id, place);
        let sealed = vault.seal_share(&label, &share).map_err(StoreError::from)?;
        let parts: Vec<Vec<u8>> = certificate.parts().values().cloned().collect();
        let part = certificate
            .parts()
            .get(&self.0.who.node)
            .cloned()
            .unwrap_or_default();
        let at_ms = self.state().clock.mark().wall_ms;
        let lineage = Lineage::new(share.public().clone(), true);
        let (lineage_seal, lineage_digest) =
            seal_lineage(vault, &lineage).map_err(StoreError::from)?;
        let held = Held::new(
            order.name.clone(),
            order.request,
            (part, parts),
            lineage,
            at_ms,
        );
        let answer = Self::active_progress(&held);
        let certified = Certified {
            order: order.clone(),
            key_id,
        };
        let row = Record::Active(certified, sealed_digest(&sealed));
        let active = sharings::Record::Active {
            key: key_id,
            place,
            at_ms,
            sealed: sealed_digest(&sealed),
            lineage: lineage_digest,
        };
        let (mut changes, pairs) = self.activate_pairs(pairs)?;
        changes.extend([
            Change::Seal {
                label,
                record: sealed,
            },
            Change::Append {
                table: Table::Ceremonies,
                key: row.key(),
                body: row.encode(),
            },
            lineage_seal,
            held.known(lineage_digest),
            sharings::append(&active),
            Change::Erase {
                label: order.pending_label(),
            },
        ]);
        match self.commit_now(changes).await {
            Ok(()) => {
                let mut state = self.state();
                state.keys.insert(key_id, Arc::new(Key::new(share)));
                state.sharings.insert(key_id, held);
                state.ceremonies.certified(order);
                drop(state);
                let peers: Vec<_> = pairs.iter().map(PairRecord::peer).collect();
                let mut known = self.pairs_mut();
                pairs.into_iter().for_each(|pair| known.install(pair));
                drop(known);
                peers.iter().for_each(|peer| self.greet(peer));
                tracing::info!(key = %hex::encode(key_id), name = %order.name, "key active");
                Ok(answer)
            }
            // The session and the coordinator's certificate may finish the same key at the same time.
            Err(refusal) if refusal.code() == FailureCode::Replayed => Ok(answer),
            Err(refusal) => Err(refusal),
        }
    }

    pub(super) fn active_progress(held: &Held) -> DkgProgress {
        let public = held.lineage.active();
        DkgProgress {
            request_id: held.request.to_vec().into(),
            stage: "active".to_owned(),
            key_id: public.key_id().as_bytes().to_vec().into(),
            certificate_part: held.part.clone().into(),
            public_key: public.public_key().into(),
            public_package: public.encode().into(),
            ..DkgProgress::default()
        }
    }

    fn report_end(&self, order: &Order, end: End) {
        if let End::Protocol(Error::Aborted(abort)) = &end {
            abort.evidence.iter().for_each(|found| self.found(found));
        }
        let (failure, evidence) = match end {
            End::Refused(refusal) => (refusal, Vec::new()),
            End::Protocol(error) => self.explain(&error),
        };
        tracing::error!(request = %hex::encode(order.request), reason = %failure, "key generation aborted");
        let mut update = progress(order, "aborted");
        update.evidence = evidence.into();
        update.failure = Some(failure.into());
        self.send(node_frame::Body::DkgProgress(update));
    }

    pub(in crate::engine) fn explain(&self, error: &Error) -> (Refusal, Vec<u8>) {
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
