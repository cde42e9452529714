//! What a key generation does with the results of its session.

use mpc_core::dkg::{DkgCertificate, DkgOutput, Session as DkgSession};
use mpc_core::lineage::Lineage;
use mpc_core::pair::PairRecord;
use mpc_core::session::{Effects, Write, WriteKind};
use proto::v1::{DkgProgress, FailureCode, node_frame};
use std::sync::Arc;

use super::record::sealed_digest;
use super::{Certified, Order, Record, Uncertified, progress};
use crate::engine::Engine;
use crate::engine::keys::Key;
use crate::engine::pairs;
use crate::engine::session::{End, Work};
use crate::engine::sharings::{self, Held, place_of, seal_lineage, share_label};
use crate::failure::Refusal;
use crate::store::{Change, StoreError, Table};

impl Work for Order {
    type Session = DkgSession;
    type Output = DkgOutput;
    const NAME: &'static str = "key generation";

    fn name(&self) -> &[u8; 32] {
        &self.request
    }

    async fn write(&self, engine: &Engine, write: &Write) -> Result<(), Refusal> {
        match write.kind() {
            WriteKind::Share => engine.store_pending(self, write.bytes()).await,
            WriteKind::Certificate => {
                let roster = engine.committee(&self.nodes)?;
                let certificate =
                    DkgCertificate::decode(&roster, write.bytes()).map_err(Refusal::internal)?;
                let parts: Vec<Vec<u8>> = certificate.parts().values().cloned().collect();
                engine.finish(&self.request, &parts).await.map(|_| ())
            }
            _ => Err(Refusal::internal(
                "a key generation asked for a write this node does not know",
            )),
        }
    }

    /// The write of the certificate has made the key active when the session ends.
    fn take(&self, engine: &Engine, effects: Effects<DkgOutput>) -> bool {
        if !effects.send.is_empty() {
            let mut update = progress(self, "round2");
            if let Some(pending) = engine.state().ceremonies.uncertified.get(&self.request) {
                "round3".clone_into(&mut update.stage);
                update.certificate_part = pending.part.clone().into();
            }
            for outbound in effects.send {
                engine.say(&self.request, self.attempt, outbound);
            }
            engine.send(node_frame::Body::DkgProgress(update));
        }
        if effects.output.is_none() {
            return false;
        }
        let state = engine.state();
        let mut held = state.sharings.values();
        let active = held
            .find(|held| held.request == self.request)
            .map(Engine::active_progress);
        drop(state);
        if let Some(active) = active {
            engine.send(node_frame::Body::DkgProgress(active));
        }
        true
    }

    fn report(&self, engine: &Engine, end: End) {
        let (failure, evidence) = engine.explain_end(end);
        tracing::error!(request = %hex::encode(self.request), reason = %failure, "key generation aborted");
        let mut update = progress(self, "aborted");
        update.evidence = evidence.into();
        update.failure = Some(failure.into());
        engine.send(node_frame::Body::DkgProgress(update));
    }
}

impl Engine {
    /// Stores the new share, sealed, and its setups, all of them waiting for the certificate.
    async fn store_pending(&self, order: &Order, bytes: &[u8]) -> Result<(), Refusal> {
        let label = order.pending_label();
        let sealed = self.0.vault.seal(&label, bytes).map_err(StoreError::from)?;
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
}
