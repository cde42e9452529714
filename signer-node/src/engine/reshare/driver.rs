//! The task of one reshare: input, step, write, send.

use core::time::Duration;
use mpc_core::known::Known;
use mpc_core::lineage::{Lineage, Sharing};
use mpc_core::reshare::{Output, Prepared, Session};
use mpc_core::session::{Effects, Inbound, Ready, Session as _, Step, Write, WriteKind};
use mpc_core::{Error, Fault};
use proto::v1::{ReshareProgress, node_frame};
use tokio::sync::mpsc;

use super::{Approved, progress};
use crate::engine::Engine;
use crate::engine::dkg::{End, sealed_digest};
use crate::engine::pairs::{self, prepared};
use crate::engine::sharings::{self, Record, Stored, prepared_label, seal_lineage};
use crate::failure::Refusal;
use crate::store::{Change, StoreError, Table};

/// How often deadlines and broken tunnels are looked at.
const TICK: Duration = Duration::from_millis(200);

type Done = Effects<Output>;

impl Engine {
    /// Carries out the step that a session starts with: nothing leaves before its id is in the replay log.
    pub(super) async fn begin(
        &self,
        approved: &Approved,
        step: Step<Output>,
    ) -> Result<Done, Refusal> {
        let done = self.carry_out_reshare(approved, step).await;
        done.map_err(|end| match end {
            End::Protocol(error) => Refusal::internal(error),
            End::Refused(refusal) => refusal,
        })
    }

    pub(super) async fn drive_reshare(
        self,
        mut session: Session,
        approved: Approved,
        mut inbox: mpsc::Receiver<Inbound>,
        first: Done,
    ) {
        self.redial();
        let end = match self.take_reshare(&approved, first) {
            true => None,
            false => self
                .run_reshare(&mut session, &approved, &mut inbox)
                .await
                .err(),
        };
        self.close_slot(&approved.digest);
        if let Some(end) = end {
            if let End::Protocol(Error::Aborted(abort)) = &end
                && let Fault::StalePair { peer } = abort.fault
            {
                self.need_rekey(peer).await;
            }
            self.report_reshare(&approved, end);
        }
    }

    async fn run_reshare(
        &self,
        session: &mut Session,
        approved: &Approved,
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
            if self.follow_reshare(approved, step).await? {
                return Ok(());
            }
            while session
                .deadline_ms()
                .is_some_and(|deadline| deadline <= now_ms)
            {
                let step = session.tick(now_ms);
                if self.follow_reshare(approved, step).await? {
                    return Ok(());
                }
            }
        }
    }

    async fn follow_reshare(
        &self,
        approved: &Approved,
        step: Result<Step<Output>, Error>,
    ) -> Result<bool, End> {
        let step = match step {
            Ok(step) => step,
            Err(Error::Rejected(rejection)) => {
                tracing::debug!(%rejection, "a message of a reshare was dropped");
                return Ok(false);
            }
            Err(error) => return Err(End::Protocol(error)),
        };
        let effects = self.carry_out_reshare(approved, step).await?;
        Ok(self.take_reshare(approved, effects))
    }

    /// Writes what has to be written; the effects come out only then.
    async fn carry_out_reshare(
        &self,
        approved: &Approved,
        step: Step<Output>,
    ) -> Result<Done, End> {
        match step.split() {
            Ready::Now(effects) => Ok(effects),
            Ready::AfterWrite(write, held) => {
                self.write_reshare(approved, &write)
                    .await
                    .map_err(End::Refused)?;
                held.release(write.stored()).map_err(End::Protocol)
            }
        }
    }

    async fn write_reshare(&self, approved: &Approved, write: &Write) -> Result<(), Refusal> {
        match write.kind() {
            WriteKind::Replay => {
                let append = Change::Append {
                    table: Table::Replay,
                    key: write.bytes().to_vec(),
                    body: approved.digest.to_vec(),
                };
                self.commit_now(vec![append]).await
            }
            WriteKind::Share => self.store_prepared(approved, write.bytes()).await,
            WriteKind::Certificate => {
                let certificate = self.read_certificate(&approved.key, write.bytes());
                let certificate = certificate.map_err(Refusal::internal)?;
                self.learn(&approved.key, certificate).await.map(|_| ())
            }
            _ => Err(Refusal::internal(
                "a reshare asked for a write this node does not know",
            )),
        }
    }

    /// Stores what this node is about to sign for: its new share and setups, and its word that it signs for no other result of this
    /// attempt.
    async fn store_prepared(&self, approved: &Approved, bytes: &[u8]) -> Result<(), Refusal> {
        let (key, place) = (approved.key, approved.place);
        let label = prepared_label(key, place);
        let known = Known::NOTHING
            .roster(&self.0.who.roster)
            .package(approved.request.active());
        let opened =
            Prepared::dangerous_from_bytes_known(bytes, &known).map_err(Refusal::internal)?;
        let sharing = opened.sharing();
        let holds = opened.holds_share();
        let sealed = self.0.vault.seal(&label, bytes).map_err(StoreError::from)?;
        let stored = Stored {
            sharing: *sharing.id.as_bytes(),
            request: approved.digest,
            holds,
            part: opened.own_part().to_vec(),
            package: Some(opened.package().clone()),
            sealed: sealed.clone(),
        };
        let rows = prepared(&approved.digest, place.1, opened.pairs());
        let turn = self.turn_of(&key);
        let _turn = turn.lock().await;
        let lineage = self.promise(approved, sharing, holds)?;
        let (seal, digest) = seal_lineage(&self.0.vault, &lineage).map_err(StoreError::from)?;
        let mut changes = vec![seal];
        if let Some(newcomer) = &approved.newcomer
            && !self.state().sharings.contains_key(&key)
        {
            changes.push(newcomer.known(digest));
        }
        changes.push(sharings::append(&Record::Prepared {
            key,
            place,
            sharing: stored.sharing,
            request: stored.request,
            holds,
            part: stored.part.clone(),
            sealed: sealed_digest(&sealed),
            lineage: digest,
        }));
        changes.push(Change::Seal {
            label,
            record: sealed,
        });
        changes.extend(rows.iter().map(pairs::append));
        self.commit_now(changes).await?;
        let mut known = self.pairs_mut();
        rows.iter().for_each(|row| known.follow(row));
        drop(known);
        let mut state = self.state();
        if let Some(newcomer) = &approved.newcomer {
            let known = state.sharings.entry(key);
            known.or_insert_with(|| newcomer.clone());
        }
        if let Some(held) = state.sharings.get_mut(&key) {
            held.lineage = lineage;
            held.prepared.insert(place, stored);
        }
        Ok(())
    }

    /// The lineage with this node's promise in it, judged by the lineage as it is at this moment.
    fn promise(
        &self,
        approved: &Approved,
        sharing: Sharing,
        holds: bool,
    ) -> Result<Lineage, Refusal> {
        let denied = |refusal: mpc_core::lineage::Refusal| Refusal::denied(refusal.to_string());
        let state = self.state();
        let known = state.sharings.get(&approved.key);
        let held = known.or(approved.newcomer.as_ref());
        let held = held.ok_or_else(|| Refusal::unknown("the key"))?;
        held.in_use()?;
        let mut lineage = held.lineage.clone();
        lineage
            .prepare(sharing, &approved.request, &self.0.who.node, holds)
            .map_err(denied)?;
        let pairs = self.pairs();
        let peers = approved.request.roster().nodes();
        if let Some(poison) = pairs.newly_poisoned(peers, &approved.strikes) {
            return Err(self.banned(poison));
        }
        Ok(lineage)
    }

    /// Sends what is due. True at the end of the session: the write of the certificate has made the sharing active.
    fn take_reshare(&self, approved: &Approved, effects: Done) -> bool {
        let ended = effects.output.is_some();
        if !effects.send.is_empty() {
            let mut update = progress(approved, "round2");
            if let Some(held) = self.state().sharings.get(&approved.key)
                && let Some(stored) = held.prepared.get(&approved.place)
                && stored.request == approved.digest
            {
                "round3".clone_into(&mut update.stage);
                update.part = stored.part.clone().into();
            }
            for outbound in effects.send {
                self.say(&approved.digest, approved.place.1, outbound);
            }
            self.send(node_frame::Body::ReshareProgress(update));
        }
        ended
    }

    fn report_reshare(&self, approved: &Approved, end: End) {
        if let End::Protocol(Error::Aborted(abort)) = &end {
            abort.evidence.iter().for_each(|found| self.found(found));
        }
        let (failure, evidence) = match end {
            End::Refused(refusal) => (refusal, Vec::new()),
            End::Protocol(error) => self.explain(&error),
        };
        tracing::error!(
            key = %hex::encode(approved.key), epoch = approved.place.0, attempt = approved.place.1, reason = %failure, "reshare aborted"
        );
        let update = ReshareProgress {
            evidence: evidence.into(),
            failure: Some(failure.into()),
            ..progress(approved, "aborted")
        };
        self.send(node_frame::Body::ReshareProgress(update));
    }
}
