//! Reshares at a node: what it takes part in, what it signs, and how a certificate moves it up.

use std::collections::BTreeSet;
use std::collections::btree_map::Entry;
use std::rc::Rc;
use std::sync::Arc;

use mpc_core::Error;
use mpc_core::frost::Pool;
use mpc_core::id::{KeyId, NodeId};
use mpc_core::keys::KeyShare;
use mpc_core::lineage::{Learned, Lineage, Refusal, Sharing};
use mpc_core::reshare::{self, Certificate, Output, Prepared, Request, Setup};
use mpc_core::session::{Effects, Held, Ready, Step, Write, WriteKind};
use zeroize::Zeroizing;

use super::{Context, Key, Made, Memory, Node, ROUND_MS, Session, Then};
use crate::bug::Bug;
use crate::disk::{Change, Image, Table};
use crate::memo;
use crate::wire::{Address, Body, ReshareCall, RunKind, RunName, short};

/// The row of what is prepared or active for a sharing.
pub(crate) fn row_of(key: &KeyId, sharing: &Sharing) -> Vec<u8> {
    let mut row = key.as_bytes().to_vec();
    row.extend(sharing.epoch.0.to_be_bytes());
    row.extend(sharing.attempt.0.to_be_bytes());
    row.extend(sharing.id.as_bytes());
    row
}

/// The row of a lineage: the request that made the key, whether peers must confirm it first, and the lineage.
pub(crate) fn encode_lineage(key: &Key) -> Vec<u8> {
    let mut row = key.request.to_vec();
    row.push(u8::from(key.unconfirmed));
    row.extend(key.lineage.encode());
    row
}

/// What is prepared on a disk for a sharing.
pub(crate) fn prepared(image: &Image, key: &KeyId, sharing: &Sharing) -> Option<Rc<Prepared>> {
    let bytes = image.get(Table::Shares, &row_of(key, sharing))?;
    Some(memo::prepared(bytes))
}

/// The share of the active sharing of a lineage, if it is one that a reshare made.
pub(crate) fn active_share(image: &Image, lineage: &Lineage) -> Option<Arc<KeyShare>> {
    let certificate = lineage.chain().last()?;
    let row = row_of(&lineage.key_id(), &lineage.sharing());
    memo::share(image.get(Table::Shares, &row)?, certificate)
}

impl Node {
    pub(super) fn on_reshare(&mut self, call: &ReshareCall, context: &mut Context<'_>) {
        let asked = memo::request(&call.request).expect("a request of the coordinator");
        let (request, digest) = &*asked;
        let name = RunName {
            kind: RunKind::Reshare,
            request: *digest,
            attempt: request.attempt().0,
        };
        if let Err(why) = self.begin_reshare(call, request, name, context) {
            context.tell(Body::Failed { run: name, why });
        }
    }

    fn begin_reshare(
        &mut self,
        call: &ReshareCall,
        request: &Request,
        name: RunName,
        context: &mut Context<'_>,
    ) -> Result<(), String> {
        let key_id = request.key_id();
        match context.orders.get(&name.request) {
            None if self.bug == Bug::IgnoresOrders => {}
            None => return Err("no operator has approved it".to_owned()),
            // The names of the sessions that this node has joined are lost: it may have joined this one.
            Some(issued) if *issued <= self.lost_ms && self.bug != Bug::JoinsAgain => {
                return Err("this was approved before the disk was lost".to_owned());
            }
            Some(_) => {}
        }
        if self.memory().runs.contains_key(&name) {
            return Ok(());
        }
        let me = self.id;
        if let Entry::Vacant(place) = self.memory().keys.entry(key_id) {
            let base = memo::package(&call.base).ok_or("no record of the key")?;
            let chain: Result<Vec<Certificate>, String> = call
                .chain
                .iter()
                .map(|bytes| memo::certificate(bytes))
                .collect();
            let lineage = Lineage::adopt(base, chain?, &me).map_err(|error| error.to_string())?;
            place.insert(Key::new([0; 32], lineage, None));
        }
        let now = self.clock(context);
        let (identity, pairs) = (Arc::clone(&self.identity), self.pairs.statuses(&me));
        let memory = self.memory.as_mut().expect("a running node");
        let key = memory.keys.get_mut(&key_id).expect("looked at above");
        if let Some((sharing, part)) = key.prepared.get(&name.request) {
            let row = row_of(&key_id, sharing);
            if self.disk.synced().has(Table::Shares, &row) {
                context.tell(Body::ResharePart {
                    digest: name.request,
                    part: part.clone(),
                });
            }
            return Ok(());
        }
        if let Err(refusal) = key.lineage.admit(request, &me)
            && !self.bug.overlooks(&refusal)
        {
            self.stand(key_id, context);
            return Err(refusal.to_string());
        }
        let share = match (&key.share, request.is_dealer(&me)) {
            (_, false) => None,
            (Some(share), true) if !key.unconfirmed => Some(Arc::clone(share)),
            _ => return Err("no share to deal".to_owned()),
        };
        let members: Vec<usize> = self
            .cluster
            .places(request.participants())
            .into_iter()
            .collect();
        let place = (key_id, (request.epoch(), request.attempt()));
        let setup = Setup {
            request: request.clone(),
            me,
            share,
            pairs,
        };
        let started = reshare::Session::start(setup, identity, &mut memory.rng, now, ROUND_MS);
        let (session, step) = started.map_err(|error| error.to_string())?;
        self.enter(
            name,
            Session::Reshare(Box::new(session)),
            members,
            Some(place),
        );
        self.take(name, Ok::<_, Error>(step), context);
        self.drain(name, context);
        Ok(())
    }

    /// What has to be written before the next step of a reshare.
    pub(super) fn reshare_changes(
        &mut self,
        name: &RunName,
        write: &Write,
    ) -> Result<Vec<Change>, String> {
        let me = self.id;
        match write.kind() {
            WriteKind::Share => {
                let prepared = memo::prepared(write.bytes());
                let (sharing, request) = (prepared.sharing(), prepared.request().clone());
                let bug = self.bug;
                let key = self.key(&request.key_id()).ok_or("no such key")?;
                let done = key
                    .lineage
                    .prepare(sharing, &request, &me, prepared.holds_share());
                if let Err(refusal) = done
                    && !bug.overlooks(&refusal)
                {
                    return Err(refusal.to_string());
                }
                let part = prepared.own_part().to_vec();
                key.prepared.insert(name.request, (sharing, part));
                let row = row_of(&request.key_id(), &sharing);
                let mut changes = vec![
                    Change::Put(Table::Shares, row, write.bytes().to_vec()),
                    key.change(),
                ];
                if bug == Bug::ErasesEarly {
                    let old = row_of(&request.key_id(), &key.lineage.sharing());
                    changes.push(Change::Erase(Table::Shares, old));
                    changes.push(Change::Erase(Table::Pending, key.request.to_vec()));
                }
                Ok(changes)
            }
            WriteKind::Certificate => {
                let certificate = memo::certificate(write.bytes()).expect("of this session");
                self.learn(certificate)
                    .map_err(|refusal| refusal.to_string())
            }
            _ => Ok(vec![Change::Append(
                Table::Replay,
                write.bytes().to_vec(),
                Vec::new(),
            )]),
        }
    }

    fn key(&mut self, key: &KeyId) -> Option<&mut Key> {
        self.memory().keys.get_mut(key)
    }

    /// Moves up in memory; from now on nothing is signed with the old share. The changes make it durable.
    fn learn(&mut self, certificate: Certificate) -> Result<Vec<Change>, Refusal> {
        let (me, bug, now) = (self.id, self.bug, self.now_ms);
        let key_id = certificate.request().key_id();
        let Some(key) = self.memory().keys.get_mut(&key_id) else {
            return Ok(Vec::new());
        };
        if bug == Bug::MovesDown && certificate.sharing().place() < key.lineage.sharing().place() {
            return Ok(key.move_down(&certificate, &me));
        }
        let activation = match key.lineage.learn(certificate, &me)? {
            Learned::Activated(activation) => activation,
            Learned::Noted => return Ok(vec![key.change()]),
            Learned::Known | Learned::Behind => return Ok(Vec::new()),
        };
        if bug != Bug::KeepsOldShare {
            key.share = None;
            key.pool = Pool::new();
        }
        let now_active = key.lineage.sharing().place();
        key.prepared
            .retain(|_, (sharing, _)| sharing.place() > now_active);
        let was_unconfirmed = std::mem::replace(&mut key.unconfirmed, false);
        let mut changes = vec![key.change()];
        for old in &activation.erase {
            if old.place() == (mpc_core::id::Epoch(0), mpc_core::id::Attempt(0)) {
                changes.push(Change::Erase(Table::Pending, key.request.to_vec()));
            }
            changes.push(Change::Erase(Table::Shares, row_of(&key_id, old)));
        }
        if was_unconfirmed && bug != Bug::ForgetsWindows {
            let purpose = key.lineage.active().purpose();
            changes.push(self.memory().use_up_windows(now, purpose));
        }
        Ok(changes)
    }

    /// The active sharing is durable: its share may be used.
    pub(super) fn take_over(&mut self, key_id: KeyId, context: &mut Context<'_>) {
        let memory = self.memory.as_mut().expect("a running node");
        let Some(key) = memory.keys.get_mut(&key_id) else {
            return;
        };
        let image = self.disk.synced();
        let stored = image
            .get(Table::Lineage, key_id.as_bytes())
            .map(memo::lineage);
        let is_newest = stored.is_some_and(|stored| stored.2.sharing() == key.lineage.sharing());
        let keeps = self.bug == Bug::KeepsOldShare && key.share.is_some();
        if is_newest
            && !keeps
            && key
                .share
                .as_ref()
                .is_none_or(|share| Sharing::of(share.public()) != key.lineage.sharing())
        {
            key.share = active_share(image, &key.lineage);
            key.pool = Pool::new();
            let now = key.lineage.sharing();
            let holds = if key.share.is_some() {
                ""
            } else {
                ", without a share"
            };
            context.say(format!(
                "{now} of key {} is active{holds}",
                short(key_id.as_bytes())
            ));
            let certificate = key
                .lineage
                .chain()
                .last()
                .map(Certificate::encode)
                .unwrap_or_default();
            let chain = key.lineage.chain();
            let everybody: BTreeSet<usize> = chain
                .last()
                .map(|last| {
                    let request = last.request();
                    let old = request.active().nodes().values().copied();
                    self.cluster.places(old.chain(request.roster().nodes()))
                })
                .unwrap_or_default();
            for to in everybody.into_iter().filter(|to| *to != self.place) {
                let body = Body::Activate {
                    key: key_id,
                    certificate: certificate.clone(),
                };
                context.out.push(super::Out::Send(Address::Node(to), body));
            }
        }
        self.stand(key_id, context);
    }

    /// Tells the coordinator which sharing is active here.
    pub(super) fn stand(&mut self, key_id: KeyId, context: &mut Context<'_>) {
        let Some(key) = self.memory().keys.get(&key_id) else {
            context.tell(Body::Standing {
                key: key_id,
                place: None,
                holds: false,
                certificate: Vec::new(),
            });
            return;
        };
        let now = key.lineage.sharing();
        context.tell(Body::Standing {
            key: key_id,
            place: Some((now.epoch.0, now.attempt.0)),
            holds: key.lineage.holds_active() && !key.unconfirmed,
            certificate: key
                .lineage
                .chain()
                .last()
                .map(Certificate::encode)
                .unwrap_or_default(),
        });
    }

    pub(super) fn on_activate(&mut self, key: KeyId, bytes: &[u8], context: &mut Context<'_>) {
        let chain = self.memory().keys.get(&key).map(|key| key.lineage.chain());
        let is_known =
            chain.is_none_or(|chain| chain.last().is_some_and(|last| last.encode() == bytes));
        if is_known {
            return self.stand(key, context);
        }
        match memo::certificate(bytes) {
            Ok(certificate) => self.move_up(key, certificate, context),
            Err(error) => context.say(format!("a certificate is refused: {error}")),
        }
    }

    /// The parts of a certificate, from the coordinator: finishes what is prepared.
    pub(super) fn on_reshare_parts(
        &mut self,
        key_id: KeyId,
        sharing: &Sharing,
        parts: &[Vec<u8>],
        context: &mut Context<'_>,
    ) {
        let row = row_of(&key_id, sharing);
        let Some(bytes) = self.disk.synced().get(Table::Shares, &row) else {
            return self.stand(key_id, context);
        };
        let prepared = Prepared::dangerous_from_bytes(bytes).expect("what was written");
        let active = self
            .memory()
            .keys
            .get(&key_id)
            .map(|key| key.lineage.sharing());
        if active.is_some_and(|active| active.place() >= sharing.place()) {
            return self.stand(key_id, context);
        }
        match prepared.finish(parts) {
            Ok(output) => self.move_up(key_id, output.certificate, context),
            Err(error) => context.say(format!("parts are refused: {error}")),
        }
    }

    fn move_up(&mut self, key: KeyId, certificate: Certificate, context: &mut Context<'_>) {
        let write = Write::new(WriteKind::Certificate, Zeroizing::new(certificate.encode()));
        match self.learn(certificate) {
            Ok(changes) if changes.is_empty() => self.stand(key, context),
            Ok(changes) => {
                let effects = Effects {
                    send: Vec::new(),
                    output: Some(key),
                };
                if let Ready::AfterWrite(write, held) = Step::after(write, effects).split() {
                    self.submit(changes, Some(write), Then::Moved(Box::new(held)));
                }
            }
            Err(refusal) => context.say(format!("a certificate is refused: {refusal}")),
        }
    }

    /// Tells the coordinator this node's parts of certificates that are not complete here.
    pub(super) fn report_prepared(&mut self, context: &mut Context<'_>) {
        let keys: Vec<KeyId> = self.memory().keys.keys().copied().collect();
        let memory = self.memory.as_ref().expect("a running node");
        for (id, key) in &memory.keys {
            for (digest, (sharing, part)) in &key.prepared {
                // What is on its way to the disk is not said.
                if self.disk.synced().has(Table::Shares, &row_of(id, sharing)) {
                    context.tell(Body::ResharePart {
                        digest: *digest,
                        part: part.clone(),
                    });
                }
            }
        }
        for key in keys {
            self.stand(key, context);
        }
    }
}

impl Key {
    /// Goes back to a sharing of its history, which no node may.
    fn move_down(&mut self, certificate: &Certificate, me: &NodeId) -> Vec<Change> {
        let mut chain = self.lineage.chain().to_vec();
        let known = chain.iter().position(|one| one == certificate);
        chain.truncate(known.map_or(0, |at| at + 1));
        let base = self.lineage.base().clone();
        self.lineage = Lineage::adopt(base, chain, me).expect("a part of its own history");
        self.share = None;
        self.pool = Pool::new();
        vec![self.change()]
    }

    /// The row that makes the state of the lineage durable.
    pub(super) fn change(&self) -> Change {
        let key = self.lineage.key_id().as_bytes().to_vec();
        Change::Put(Table::Lineage, key, encode_lineage(self))
    }
}

impl Made for Output {
    fn wait(name: RunName, held: Held<Effects<Self>>) -> Then {
        Then::Reshare(name, Box::new(held))
    }

    fn arrive(self, node: &mut Node, _name: RunName, context: &mut Context<'_>) {
        let key = self.certificate.request().key_id();
        node.take_over(key, context);
    }
}

/// The keys on a disk that have a history.
pub(super) fn load(image: &Image, memory: &mut Memory, bug: Bug) {
    for (key_id, row) in image.rows(Table::Lineage) {
        let key_id = KeyId::from_bytes(key_id.try_into().expect("32 bytes"));
        let (request, unconfirmed, lineage) = (*memo::lineage(row)).clone();
        let first = memory.keys.remove(&key_id).and_then(|key| key.share);
        let is_first = lineage.chain().is_empty();
        let share = if is_first {
            first
        } else {
            active_share(image, &lineage)
        };
        let share = share.filter(|_| lineage.holds_active());
        let mut key = Key::new(request, lineage, share);
        key.unconfirmed = unconfirmed && bug != Bug::TrustsBackups;
        memory.keys.insert(key_id, key);
    }
    for (row, bytes) in image.rows(Table::Shares) {
        let prepared = memo::prepared(bytes);
        let key_id = KeyId::from_bytes(row[..32].try_into().expect("32 bytes"));
        let Some(key) = memory.keys.get_mut(&key_id) else {
            continue;
        };
        if prepared.sharing().place() > key.lineage.sharing().place() {
            let digest = prepared.request().digest();
            let part = prepared.own_part().to_vec();
            key.prepared.insert(digest, (prepared.sharing(), part));
        }
    }
}
