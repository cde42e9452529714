//! Activation: a certificate, whoever brings it, moves this node up to a higher sharing. Nothing else does, and nothing moves it down.

use std::collections::BTreeSet;
use std::sync::Arc;

use mpc_core::keys::{KeyShare, PublicKeyPackage};
use mpc_core::known::Known;
use mpc_core::lineage::{Activation, Learned, Lineage, Sharing};
use mpc_core::pair::PairRecord;
use mpc_core::reshare::{Certificate, Prepared};
use proto::convert::array;
use proto::v1::{Activate, FailureCode, ReshareProgress, node_frame};

use super::erasures;
use crate::engine::Engine;
use crate::engine::dkg::sealed_digest;
use crate::engine::keys::Key;
use crate::engine::sharings::{
    self, Held, Joined, Place, Record, Stop, changes_committee, place_in_order as place, place_of,
    prepared_label, seal_lineage, share_label,
};
use crate::failure::Refusal;
use crate::store::{Change, StoreError};

/// What a certificate changes at this node.
struct Move {
    lineage: Lineage,
    now: Sharing,
    erase: Vec<Sharing>,
    lost: bool,
    /// The new share and the setups that were made with it.
    gained: Option<(KeyShare, Vec<PairRecord>)>,
    /// The sharings with which this node becomes a member of another committee.
    joins: Vec<Place>,
}

/// What follows from a certificate.
enum Judged {
    Nothing,
    Noted(Box<Lineage>),
    Move(Box<Move>),
    /// Another sharing is certified here for the same place: its certificate, and what to say.
    Conflict(Vec<u8>, Refusal),
}

impl Engine {
    pub(in crate::engine) async fn activate_sharing(
        &self,
        call: Activate,
    ) -> Result<ReshareProgress, Refusal> {
        let key: [u8; 32] = array("key id", &call.key_id).map_err(Refusal::malformed)?;
        let certificate = if call.certificate.is_empty() {
            match self.complete(&key, (call.epoch, call.attempt), &call.parts)? {
                Some(certificate) => certificate,
                None => return self.answer_active(&key),
            }
        } else if self.is_active(&key, &call.certificate) {
            return self.answer_active(&key);
        } else {
            let read = self.read_certificate(&key, &call.certificate);
            read.map_err(Refusal::malformed)?
        };
        if *certificate.request().key_id().as_bytes() != key {
            return Err(Refusal::malformed("the certificate is for another key"));
        }
        self.learn(&key, certificate).await
    }

    /// Whether these are the bytes of the certificate that is in force.
    fn is_active(&self, key: &[u8; 32], bytes: &[u8]) -> bool {
        let state = self.state();
        let held = state.sharings.get(key);
        let last = held.and_then(|held| held.lineage.chain().last());
        last.is_some_and(|last| last.encode() == bytes)
    }

    /// Decodes a certificate. What this node knows of the key is not checked again; the signatures are.
    pub(super) fn read_certificate(
        &self,
        key: &[u8; 32],
        bytes: &[u8],
    ) -> Result<Certificate, mpc_core::Rejection> {
        let packages: Vec<PublicKeyPackage> = {
            let state = self.state();
            let held = state.sharings.get(key).into_iter();
            let of_key = |held: &Held| -> Vec<PublicKeyPackage> {
                let prepared = held.prepared.values();
                let prepared = prepared.filter_map(|stored| stored.package.clone());
                prepared.chain([held.lineage.active().clone()]).collect()
            };
            held.flat_map(of_key).collect()
        };
        let known = Known::NOTHING.roster(&self.0.who.roster);
        let known = packages.iter().fold(known, Known::package);
        Certificate::decode_known(bytes, &known)
    }

    fn answer_active(&self, key: &[u8; 32]) -> Result<ReshareProgress, Refusal> {
        let state = self.state();
        let held = state.sharings.get(key);
        let held = held.ok_or_else(|| Refusal::unknown("the key"))?;
        Ok(self.active_reshare(held))
    }

    /// Makes the certificate of a prepared sharing out of its parts. None if a sharing as high is active already.
    fn complete(
        &self,
        key: &[u8; 32],
        at: Place,
        parts: &[tonic::codegen::Bytes],
    ) -> Result<Option<Certificate>, Refusal> {
        let sealed = {
            let state = self.state();
            let held = state.sharings.get(key);
            let held = held.ok_or_else(|| Refusal::unknown("the key"))?;
            if place_of(held.lineage.active()) >= at {
                return Ok(None);
            }
            let stored = held.prepared.get(&at);
            let stored =
                stored.ok_or_else(|| Refusal::unknown("a prepared sharing of that number"))?;
            stored.sealed.clone()
        };
        let known = Known::NOTHING.roster(&self.0.who.roster);
        let prepared = self.open_prepared(key, at, &sealed, &known)?;
        let made = prepared.finish(parts).map_err(Refusal::malformed)?;
        Ok(Some(made.certificate))
    }

    fn open_prepared(
        &self,
        key: &[u8; 32],
        at: Place,
        sealed: &[u8],
        known: &Known<'_>,
    ) -> Result<Prepared, Refusal> {
        let label = prepared_label(*key, at);
        let opened = self.0.vault.open_prepared(&label, sealed, known);
        opened.map_err(Refusal::internal)
    }

    /// Takes a certificate: checked, stored, and only then in force. The same one again changes nothing.
    pub(super) async fn learn(
        &self,
        key: &[u8; 32],
        certificate: Certificate,
    ) -> Result<ReshareProgress, Refusal> {
        let turn = self.turn_of(key);
        let _turn = turn.lock().await;
        let change = match self.judge_certificate(key, &certificate)? {
            Judged::Nothing => return self.answer_active(key),
            Judged::Noted(lineage) => return self.note(key, &certificate, *lineage).await,
            Judged::Conflict(one, refusal) => {
                return Err(self.stop_for(key, one, &certificate, refusal).await?);
            }
            Judged::Move(change) => *change,
        };
        // Setups of one pair become active one after the other.
        let makes_pairs = change
            .gained
            .as_ref()
            .is_some_and(|(_, pairs)| !pairs.is_empty());
        let _pairs = if makes_pairs {
            Some(self.0.activation.lock().await)
        } else {
            None
        };
        self.activate_move(key, change).await
    }

    fn judge_certificate(
        &self,
        key: &[u8; 32],
        certificate: &Certificate,
    ) -> Result<Judged, Refusal> {
        let (before, sealed, active) = {
            let state = self.state();
            let held = state.sharings.get(key);
            let held = held.ok_or_else(|| Refusal::unknown("the key"))?;
            let at = place(&certificate.sharing());
            let stored = held.prepared.get(&at);
            (
                held.lineage.clone(),
                stored.map(|stored| stored.sealed.clone()),
                sharings::sharing_of(held.lineage.active()),
            )
        };
        let mut lineage = before.clone();
        let learned = lineage.learn(certificate.clone(), &self.0.who.node);
        let learned = match learned {
            Ok(learned) => learned,
            Err(refusal) => {
                let said = refused(&refusal).with_sharing(active);
                let mpc_core::lineage::Refusal::Conflict { one, .. } = refusal else {
                    return Err(said);
                };
                let one = lineage.certificate_of(&one).map(Certificate::encode);
                return Ok(Judged::Conflict(one.unwrap_or_default(), said));
            }
        };
        let activation = match learned {
            Learned::Activated(activation) => activation,
            Learned::Noted => return Ok(Judged::Noted(Box::new(lineage))),
            Learned::Known | Learned::Behind => return Ok(Judged::Nothing),
        };
        let Activation {
            now,
            erase,
            member,
            share_lost,
        } = activation;
        let gained = if member && !share_lost {
            let sealed = sealed.ok_or_else(|| {
                Refusal::internal("the prepared share of that sharing is missing")
            })?;
            let known = Known::NOTHING
                .roster(&self.0.who.roster)
                .package(certificate.request().active())
                .package(lineage.active());
            let prepared = self.open_prepared(key, place(&now), &sealed, &known)?;
            let made = prepared.activate(certificate).map_err(Refusal::internal)?;
            let share = made.share.ok_or_else(|| {
                Refusal::internal("what is prepared for that sharing has no share")
            })?;
            Some((share, made.pairs))
        } else {
            None
        };
        let joins = self.joins(key, &before, &lineage);
        Ok(Judged::Move(Box::new(Move {
            lineage,
            now,
            erase,
            lost: share_lost,
            gained,
            joins,
        })))
    }

    /// The sharings that a change of the active one makes this node join: every one that is new in the history of the key, that it is a
    /// member of, and that has other members or another threshold than the one before. Where this node had gone another way than the
    /// certificate, nothing can be said of the one before, and it joins as well.
    fn joins(&self, key: &[u8; 32], before: &Lineage, after: &Lineage) -> Vec<Place> {
        let state = self.state();
        let joined = state.sharings.get(key).map(|held| &held.joined);
        let old: BTreeSet<Sharing> = before.chain().iter().map(Certificate::sharing).collect();
        let new = after.chain().iter();
        let new = new.filter(|certificate| !old.contains(&certificate.sharing()));
        let joins = new.filter(|certificate| {
            let request = certificate.request();
            let elsewhere = request.active() != before.active();
            request.is_member(&self.0.who.node) && (elsewhere || changes_committee(request))
        });
        let places = joins.map(|certificate| place(&certificate.sharing()));
        let is_new = |place: &Place| joined.is_none_or(|joined| !joined.contains_key(place));
        places.filter(is_new).collect()
    }

    /// Two sharings are certified for one place, which takes more broken holders than the protocol can bear: nothing that is signed with
    /// this key from here on can be trusted to be wanted. It signs no more at this node, and both certificates are kept.
    async fn stop_for(
        &self,
        key: &[u8; 32],
        one: Vec<u8>,
        other: &Certificate,
        refusal: Refusal,
    ) -> Result<Refusal, Refusal> {
        {
            let mut state = self.state();
            if let Some(held) = state.sharings.get_mut(key) {
                held.stop(Stop::Conflict);
            }
            state
                .ceremonies
                .stop_reshares_through(key, (u32::MAX, u32::MAX));
        }
        self.pools().forget_key(key);
        let record = Record::Conflict {
            key: *key,
            at_ms: self.state().clock.mark().wall_ms,
            one,
            other: other.encode(),
        };
        match self.commit_now(vec![sharings::append(&record)]).await {
            Ok(()) => {
                tracing::error!(key = %hex::encode(key), %refusal, "alert: two sharings of a key are certified for one place; this node signs with it no more and keeps both certificates");
                self.send(node_frame::Body::Status(self.status()));
            }
            // It is on disk since an earlier time.
            Err(error) if error.code() == FailureCode::Replayed => {}
            Err(error) => return Err(error),
        }
        Ok(refusal)
    }

    /// Stores a certificate that changes nothing here, but that a later one may continue.
    async fn note(
        &self,
        key: &[u8; 32],
        certificate: &Certificate,
        lineage: Lineage,
    ) -> Result<ReshareProgress, Refusal> {
        let (seal, digest) = seal_lineage(&self.0.vault, &lineage).map_err(StoreError::from)?;
        let row = Record::Noted {
            key: *key,
            place: place(&certificate.sharing()),
            lineage: digest,
        };
        match self.commit_now(vec![seal, sharings::append(&row)]).await {
            Ok(()) => {
                if let Some(held) = self.state().sharings.get_mut(key) {
                    held.lineage = lineage;
                }
            }
            // It was noted before.
            Err(refusal) if refusal.code() == FailureCode::Replayed => {}
            Err(refusal) => return Err(refusal),
        }
        self.answer_active(key)
    }

    /// One write: the certificate, the new share in its place, the setups, and every share that is worthless now removed.
    async fn activate_move(
        &self,
        key: &[u8; 32],
        change: Move,
    ) -> Result<ReshareProgress, Refusal> {
        let Move {
            lineage,
            now,
            erase,
            lost,
            gained,
            joins,
        } = change;
        let at = place(&now);
        let vault = &self.0.vault;
        let mut changes = Vec::new();
        let mut sealed = [0; 32];
        let (mut share, mut setups) = (None, Vec::new());
        if let Some((gained, pairs)) = gained {
            let label = share_label(*key, at);
            let record = vault
                .seal_share(&label, &gained)
                .map_err(StoreError::from)?;
            sealed = sealed_digest(&record);
            changes.push(Change::Seal { label, record });
            let (rows, wanted) = self.activate_pairs(pairs)?;
            changes.extend(rows);
            setups = wanted;
            share = Some(gained);
        }
        changes.extend(self.worthless(key, at));
        for old in erase.iter().filter(|old| place(old) != at) {
            changes.extend(erasures(*key, place(old)));
        }
        let (seal, digest) = seal_lineage(vault, &lineage).map_err(StoreError::from)?;
        let at_ms = self.state().clock.mark().wall_ms;
        changes.push(seal);
        changes.push(sharings::append(&Record::Active {
            key: *key,
            place: at,
            at_ms,
            sealed,
            lineage: digest,
        }));
        let before_ms = match joins.is_empty() {
            true => 0,
            false => self.now(&mut self.state())?.witnessed_ms,
        };
        changes.extend(joins.iter().map(|place| {
            sharings::append(&Record::Joined {
                key: *key,
                place: *place,
                before_ms,
            })
        }));
        let settles = {
            let mut state = self.state();
            let unsettled = Self::unsettled(&state);
            let now = unsettled.then(|| self.now(&mut state)).transpose()?;
            now.map(|now| now.witnessed_ms)
        };
        if let Some(before_ms) = settles {
            changes.push(sharings::append(&Record::Blind { before_ms }));
        }
        self.commit_now(changes).await?;
        if let Some(before_ms) = settles {
            Self::settle(&mut self.state(), before_ms);
        }
        if let Some(held) = self.state().sharings.get_mut(key) {
            let joined = Joined {
                before_ms,
                told_ms: None,
            };
            let all = joins.iter().map(|place| (*place, joined));
            held.joined.extend(all);
        }
        let peers: Vec<_> = setups.iter().map(PairRecord::peer).collect();
        let answer = self.take_over(key, lineage, (at, at_ms), share, setups);
        peers.iter().for_each(|peer| self.greet(peer));
        for old in &erase {
            tracing::info!(key = %hex::encode(key), epoch = old.epoch.0, attempt = old.attempt.0, "old share erased");
        }
        if lost {
            tracing::error!(key = %hex::encode(key), "alert: the share of the active sharing is lost; this node signs no more with that key until it is refreshed");
        }
        self.announce_pools();
        if !joins.is_empty() {
            // It asks for the totals of those before it; said before the certificate is acknowledged.
            self.send(node_frame::Body::Status(self.status()));
        }
        self.send(node_frame::Body::ReshareProgress(answer.clone()));
        Ok(answer)
    }

    /// What was prepared for this sharing or a lower one, with a share or without.
    fn worthless(&self, key: &[u8; 32], at: Place) -> Vec<Change> {
        let state = self.state();
        let held = state.sharings.get(key).into_iter();
        let places = held.flat_map(|held| held.prepared.keys()).copied();
        places
            .filter(|place| *place <= at)
            .map(|place| Change::Erase {
                label: prepared_label(*key, place),
            })
            .collect()
    }

    /// What is on disk is now also true in memory. Nonces, sessions and openings of lower sharings are gone with this.
    fn take_over(
        &self,
        key: &[u8; 32],
        lineage: Lineage,
        (at, at_ms): (Place, u64),
        share: Option<KeyShare>,
        setups: Vec<PairRecord>,
    ) -> ReshareProgress {
        let mut state = self.state();
        let state = &mut *state;
        state.ceremonies.stop_reshares_through(key, at);
        match share {
            Some(share) => state.keys.insert(*key, Arc::new(Key::new(share))),
            None => state.keys.remove(key),
        };
        let mut answer = ReshareProgress::default();
        if let Some(held) = state.sharings.get_mut(key) {
            held.lineage = lineage;
            held.since_ms = at_ms;
            held.unconfirmed = false;
            held.prepared.retain(|place, _| *place > at);
            answer = self.active_reshare(held);
        }
        let mut pairs = self.pairs_mut();
        let mut pools = self.pools();
        pools.forget_key(key);
        for setup in setups {
            let peer = setup.peer();
            pairs.install(setup);
            pools.forget_peer(&peer);
        }
        tracing::info!(key = %hex::encode(key), epoch = at.0, attempt = at.1, holds = answer.holds, "sharing active");
        answer
    }
}

/// What a caller can do about a certificate that is not taken.
fn refused(refusal: &mpc_core::lineage::Refusal) -> Refusal {
    use mpc_core::lineage::Refusal as Why;
    let message = refusal.to_string();
    match refusal {
        Why::Gap { .. } => Refusal::new(
            FailureCode::NeedCertificate,
            message,
            "send the certificates above this node's own sharing, lowest first",
        ),
        Why::Conflict { .. } | Why::Fork { .. } => Refusal::new(
            FailureCode::SecurityAbort,
            message,
            "keep both certificates as evidence; an operator has to decide",
        ),
        _ => Refusal::malformed(message),
    }
}
