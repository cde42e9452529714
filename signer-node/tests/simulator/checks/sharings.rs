//! Sharings that replace each other: who must hold which share, and who may let one go.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use mpc_core::id::{Attempt, Epoch, KeyId};
use mpc_core::keys::{KeyShare, PublicKeyPackage};
use mpc_core::lineage::{Lineage, Sharing};

use super::{Broken, Checks, is_certificate, kind_of};
use crate::coordinator::reshare::sharing_of;
use crate::disk::{Image, Table};
use crate::memo::{self, Asked};
use crate::node::reshare::{active_share, prepared, row_of};
use crate::wire::Body;

/// Where a sharing stands in the order.
type Place = (Epoch, Attempt);

/// The place of the first sharing.
const ORIGIN: Place = (Epoch(0), Attempt(0));

/// What was seen of reshares.
#[derive(Default)]
pub(super) struct Sharings {
    requests: BTreeMap<[u8; 32], Rc<Asked>>,
    /// Parts that honest nodes let out, by sharing and node.
    parts: BTreeMap<Vec<u8>, BTreeMap<usize, Vec<u8>>>,
    of: BTreeMap<Vec<u8>, (Sharing, [u8; 32])>,
    /// The public key of every key, from when it was first seen.
    public: BTreeMap<KeyId, Vec<u8>>,
    /// What a node has signed for a place of a key.
    signed: BTreeMap<(usize, KeyId, Place), Sharing>,
    /// The rows with shares on each disk, when it was last looked at.
    rows: BTreeMap<usize, BTreeSet<Vec<u8>>>,
    /// The lineages on each disk: the row, and what it says.
    lineages: BTreeMap<usize, BTreeMap<KeyId, (Vec<u8>, Lineage)>>,
    /// Nodes whose disk was lost after they had a share of a sharing (by the row of the sharing, or the request that made the key).
    excused: BTreeSet<(usize, Vec<u8>)>,
    /// What a node that came back must at least know before it signs: what all others knew by then.
    floors: BTreeMap<(usize, KeyId), Place>,
    /// Keys whose newest sharing has to be looked at.
    dirty: BTreeSet<KeyId>,
}

impl Sharings {
    pub(super) fn is_excused(&self, node: usize, name: &[u8]) -> bool {
        self.excused.contains(&(node, name.to_vec()))
    }

    /// The active sharing of a key at a node, as its disk has it.
    fn lineage(&self, node: usize, key: &KeyId) -> Option<&Lineage> {
        let (_, lineage) = self.lineages.get(&node)?.get(key)?;
        Some(lineage)
    }

    pub(super) fn place(&self, node: usize, key: &KeyId) -> (u32, u32) {
        let place = self
            .lineage(node, key)
            .map_or(ORIGIN, |lineage| lineage.sharing().place());
        (place.0.0, place.1.0)
    }

    /// Whether the shares of some key have been replaced.
    pub(super) fn has_changed(&self) -> bool {
        let mut all = self.lineages.values().flat_map(BTreeMap::values);
        all.any(|(_, lineage)| lineage.sharing().place() > ORIGIN)
    }
}

impl Checks {
    /// The coordinator asks for a reshare, perhaps for one that operators have approved.
    pub(crate) fn on_reshare_order(&mut self, request: &[u8], approved: &BTreeMap<[u8; 32], u64>) {
        let asked = memo::request(request).expect("of the coordinator");
        if approved.contains_key(&asked.1) {
            self.sharings.requests.entry(asked.1).or_insert(asked);
        }
    }

    pub(super) fn on_reshare_send(
        &mut self,
        from: usize,
        body: &Body,
        disk: &Image,
    ) -> Result<(), Broken> {
        match body {
            Body::Peer { run, envelope }
                if kind_of(envelope) == b"RESHARE/R3" && is_certificate(envelope) =>
            {
                self.on_reshare_part(from, run.request, envelope, disk)
            }
            Body::ResharePart { digest, part } => self.on_reshare_part(from, *digest, part, disk),
            _ => Ok(()),
        }
    }

    /// A node lets its signature over a sharing out: what it promises must be on its disk, and it promises one thing only.
    fn on_reshare_part(
        &mut self,
        from: usize,
        digest: [u8; 32],
        part: &[u8],
        disk: &Image,
    ) -> Result<(), Broken> {
        self.figures.checks += 1;
        let sharings = &mut self.sharings;
        let Some((request, _)) = sharings.requests.get(&digest).map(|asked| &**asked) else {
            return Err(format!(
                "node {from} takes part in a reshare that nobody has ordered"
            ));
        };
        let sharing = sharing_of(request, part).expect("a certificate's part");
        let key = request.key_id();
        let row = row_of(&key, &sharing);
        let known = sharings.parts.entry(row.clone()).or_default();
        if known.get(&from).is_some_and(|known| known == part) {
            return Ok(());
        }
        if prepared(disk, &key, &sharing).is_none_or(|prepared| prepared.own_part() != part) {
            return Err(format!(
                "node {from} certified {sharing}, which is not on its disk"
            ));
        }
        known.insert(from, part.to_vec());
        sharings.of.insert(row, (sharing, digest));
        let before = sharings
            .signed
            .insert((from, key, sharing.place()), sharing);
        if before.is_some_and(|before| before != sharing) {
            return Err(format!(
                "node {from} certified two sharings for one place: {sharing}"
            ));
        }
        Ok(())
    }

    /// A disk has changed: no share may be gone for which no certificate of a higher sharing is there.
    pub(super) fn on_sharings(&mut self, node: usize, disk: &Image) -> Result<(), Broken> {
        let sharings = &mut self.sharings;
        let known = sharings.lineages.entry(node).or_default();
        let epochs: BTreeMap<KeyId, u32> = known
            .iter()
            .map(|(key, (_, lineage))| (*key, lineage.sharing().epoch.0))
            .collect();
        for (key, row) in disk.rows(Table::Lineage) {
            let key = KeyId::from_bytes(key.try_into().expect("32 bytes"));
            if known.get(&key).is_some_and(|(before, _)| before == row) {
                continue;
            }
            let stored = memo::lineage(row);
            let lineage = stored.2.clone();
            if let Some((_, before)) = known.get(&key)
                && before.sharing().place() > lineage.sharing().place()
            {
                return Err(format!("node {node} went back to {}", lineage.sharing()));
            }
            let public = lineage.active().public_key();
            if *sharings.public.entry(key).or_insert_with(|| public.clone()) != public {
                return Err(format!("node {node} knows another public key"));
            }
            known.insert(key, (row.to_vec(), lineage));
            sharings.dirty.insert(key);
        }
        let rows: BTreeSet<Vec<u8>> = disk
            .rows(Table::Shares)
            .map(|(row, _)| row.to_vec())
            .collect();
        let before = sharings.rows.insert(node, rows.clone()).unwrap_or_default();
        for new in rows.difference(&before) {
            // A node that holds a certificate for an epoch promises nothing else for it. What it has promised before may leave later.
            let key = KeyId::from_bytes(new[..32].try_into().expect("32 bytes"));
            let epoch = be32(&new[32..36]);
            if epochs.get(&key).is_some_and(|active| *active >= epoch) {
                return Err(format!(
                    "node {node} prepared epoch {epoch} when it had a certificate for that epoch"
                ));
            }
            // The key and the epoch are the first bytes of a row, the attempt follows.
            let mut others = before.iter().filter(|row| row[..36] == new[..36]);
            if others.any(|row| row[36..40] > new[36..40]) {
                let attempt = be32(&new[36..40]);
                return Err(format!(
                    "node {node} prepared attempt {attempt} after a higher attempt"
                ));
            }
        }
        for gone in before.difference(&rows) {
            let key = KeyId::from_bytes(gone[..32].try_into().expect("32 bytes"));
            let place = (be32(&gone[32..36]), be32(&gone[36..40]));
            let active = sharings.place(node, &key);
            if active <= place {
                return Err(format!(
                    "node {node} erased its share of {place:?} and has no higher certificate"
                ));
            }
        }
        Ok(())
    }

    /// Whether the first share of a key may be gone from a disk.
    pub(super) fn first_share_may_go(&self, node: usize, request: &[u8; 32], disk: &Image) -> bool {
        let mut rows = disk
            .rows(Table::Lineage)
            .filter(|(_, row)| row.starts_with(request))
            .map(|(_, row)| memo::lineage(row));
        rows.any(|row| row.2.sharing().place() > ORIGIN) || self.sharings.is_excused(node, request)
    }

    /// The newest sharing that any honest node holds a certificate of: every subset of its members signs.
    pub(super) fn check_newest(&mut self, disks: &[&Image]) -> Result<(), Broken> {
        for key in std::mem::take(&mut self.sharings.dirty) {
            let Some((lineage, _)) = self.newest(&key) else {
                continue;
            };
            let sharing = lineage.sharing();
            if sharing.place() == ORIGIN {
                continue;
            }
            let lineage = lineage.clone();
            let row = row_of(&key, &sharing);
            let mut shares: BTreeMap<usize, Arc<KeyShare>> = BTreeMap::new();
            for node in self
                .cluster
                .places(lineage.active().nodes().values().copied())
            {
                if self.traitors.contains(&node) || self.sharings.is_excused(node, &row) {
                    continue;
                }
                let share = active_share(disks[node], &lineage);
                let share = share.ok_or_else(|| {
                    format!("{sharing} is active and node {node} has no share of it")
                })?;
                shares.insert(node, share);
            }
            self.check_shares(sharing.id.as_bytes(), &shares)?;
        }
        Ok(())
    }

    /// The lineage that has come furthest at an honest node.
    fn newest(&self, key: &KeyId) -> Option<(&Lineage, usize)> {
        let honest = self
            .sharings
            .lineages
            .iter()
            .filter(|(node, _)| !self.traitors.contains(node));
        let all = honest.filter_map(|(node, lineages)| Some((&lineages.get(key)?.1, *node)));
        all.max_by_key(|(lineage, _)| lineage.sharing().place())
    }

    /// Whether the key still signs, now and after every certificate that may turn up, when this node's disk is gone.
    pub(crate) fn may_lose(&self, node: usize, disks: &[&Image]) -> bool {
        for (request, made) in &self.keys {
            let holders = made.members.iter().filter(|other| {
                **other != node
                    && !self.traitors.contains(other)
                    && disks[**other].has(Table::Pending, request)
            });
            let newest = self.sharings.lineages.values().flat_map(BTreeMap::values);
            let is_over = newest
                .into_iter()
                .any(|(row, lineage)| row[..32] == *request && lineage.sharing().place() > ORIGIN);
            if !is_over && !made.parts.is_empty() && (holders.count() as u64) < self.threshold {
                return false;
            }
        }
        for (row, (_, digest)) in &self.sharings.of {
            let request = &self.sharings.requests[digest].0;
            let members = self.cluster.places(request.roster().nodes());
            let left = members.into_iter().filter(|other| {
                *other != node
                    && !self.traitors.contains(other)
                    && !self.sharings.is_excused(*other, row)
            });
            if left.count() < usize::from(request.threshold()) {
                return false;
            }
        }
        true
    }

    /// Whether enough honest nodes hold shares of this sharing.
    pub(crate) fn may_sign(&self, active: &PublicKeyPackage) -> bool {
        let row = row_of(&active.key_id(), &Sharing::of(active));
        let first = |node: usize| {
            let mut made = self
                .keys
                .iter()
                .filter(|(_, made)| made.members.contains(&node));
            Sharing::of(active).place() == ORIGIN
                && made.any(|(request, _)| self.sharings.is_excused(node, request))
        };
        let members = self
            .cluster
            .places(active.nodes().values().copied())
            .into_iter();
        let able = members.filter(|node| {
            !self.traitors.contains(node) && !self.sharings.is_excused(*node, &row) && !first(*node)
        });
        able.count() >= usize::from(active.params().threshold())
    }

    /// A node has come back, from a backup or with nothing: from now on every peer that it asks knows at least what it knows now.
    pub(crate) fn on_restored(&mut self, node: usize, now_ms: u64) {
        let known = self.sharings.lineages.get(&node);
        if known.is_some_and(|known| !known.is_empty()) {
            self.restored.insert(node, now_ms);
        }
        let Some(mine) = self.sharings.lineages.get(&node) else {
            return;
        };
        let mut floors = BTreeMap::new();
        for (key, (_, lineage)) in mine {
            let members = self
                .cluster
                .places(lineage.active().nodes().values().copied());
            let others = members
                .into_iter()
                .filter(|other| *other != node && !self.traitors.contains(other));
            let places = others.map(|other| {
                self.sharings
                    .lineage(other, key)
                    .map_or(ORIGIN, |one| one.sharing().place())
            });
            if let Some(floor) = places.min() {
                floors.insert((node, *key), floor);
            }
        }
        self.sharings.floors.extend(floors);
    }

    /// A node signs with a sharing: not with one that everybody else had left when it came back from its backup.
    pub(super) fn check_floor(
        &self,
        node: usize,
        key: &KeyId,
        place: (u32, u32),
    ) -> Result<(), Broken> {
        let floor = self.sharings.floors.get(&(node, *key));
        match floor {
            Some((epoch, attempt)) if place < (epoch.0, attempt.0) => Err(format!(
                "node {node} signed with the share of {place:?} out of a backup, when all others had {epoch}.{attempt}"
            )),
            _ => Ok(()),
        }
    }

    /// A disk is gone, with everything on it.
    pub(crate) fn on_lost(&mut self, node: usize) {
        let sharings = &mut self.sharings;
        sharings.rows.remove(&node);
        sharings.lineages.remove(&node);
        let rows: Vec<Vec<u8>> = sharings.of.keys().cloned().collect();
        sharings
            .excused
            .extend(rows.into_iter().map(|row| (node, row)));
        let requests: Vec<[u8; 32]> = self.keys.keys().copied().collect();
        let sharings = &mut self.sharings;
        sharings
            .excused
            .extend(requests.iter().map(|request| (node, request.to_vec())));
        sharings.signed.retain(|(who, _, _), _| *who != node);
        self.restored.remove(&node);
        self.lost.insert(node);
    }
}

fn be32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().expect("4 bytes"))
}
