//! What a reshare does with the results of its session.

use mpc_core::known::Known;
use mpc_core::lineage::{Lineage, Sharing};
use mpc_core::reshare::{Output, Prepared, Session};
use mpc_core::session::{Effects, Write, WriteKind};
use proto::v1::{ReshareProgress, node_frame};

use super::{Approved, progress};
use crate::engine::Engine;
use crate::engine::dkg::sealed_digest;
use crate::engine::pairs::{self, prepared};
use crate::engine::session::{End, Work};
use crate::engine::sharings::{self, Record, Stored, prepared_label, seal_lineage};
use crate::failure::Refusal;
use crate::store::{Change, StoreError};

impl Work for Approved {
    type Session = Session;
    type Output = Output;
    const NAME: &'static str = "reshare";

    fn name(&self) -> &[u8; 32] {
        &self.digest
    }

    async fn write(&self, engine: &Engine, write: &Write) -> Result<(), Refusal> {
        match write.kind() {
            WriteKind::Share => engine.store_prepared(self, write.bytes()).await,
            WriteKind::Certificate => {
                let certificate = engine.read_certificate(&self.key, write.bytes());
                let certificate = certificate.map_err(Refusal::internal)?;
                engine.learn(&self.key, certificate).await.map(|_| ())
            }
            _ => Err(Refusal::internal(
                "a reshare asked for a write this node does not know",
            )),
        }
    }

    /// The write of the certificate has made the sharing active when the session ends.
    fn take(&self, engine: &Engine, effects: Effects<Output>) -> bool {
        let ended = effects.output.is_some();
        if !effects.send.is_empty() {
            let mut update = progress(self, "round2");
            if let Some(held) = engine.state().sharings.get(&self.key)
                && let Some(stored) = held.prepared.get(&self.place)
                && stored.request == self.digest
            {
                "round3".clone_into(&mut update.stage);
                update.part = stored.part.clone().into();
            }
            for outbound in effects.send {
                engine.say(&self.digest, self.place.1, outbound);
            }
            engine.send(node_frame::Body::ReshareProgress(update));
        }
        ended
    }

    fn report(&self, engine: &Engine, end: End) {
        let (failure, evidence) = engine.explain_end(end);
        tracing::error!(
            key = %hex::encode(self.key), epoch = self.place.0, attempt = self.place.1, reason = %failure, "reshare aborted"
        );
        let update = ReshareProgress {
            evidence: evidence.into(),
            failure: Some(failure.into()),
            ..progress(self, "aborted")
        };
        engine.send(node_frame::Body::ReshareProgress(update));
    }
}

impl Engine {
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
}
