//! What must be true at every moment, whatever has happened: looked at after every step, from outside of the nodes.

mod sharings;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use mpc_core::dkg::{DkgCertificate, Pending};
use mpc_core::evidence;
use mpc_core::frost::{self, Package, SigningRequest, Tweak};
use mpc_core::id::{NodeId, PartyIndex, Purpose};
use mpc_core::keys::KeyShare;
use policy::chain::Chain;
use policy::ledger::window_start;
use policy::time::Period;
use policy::transaction;
use proto::convert::wallet_keys::PackageKeys;
use rand_chacha::ChaCha20Rng;

use crate::cluster::Cluster;
use crate::disk::{Image, Table};
use crate::figures::Figures;
use crate::node::{Note, Released};
use crate::schedule::Schedule;
use crate::treasury::{LIFETIME, LIMIT, Merit, Request, WINDOW};
use crate::wire::{Body, RunKind, short};

/// A promise that was broken.
pub(crate) type Broken = String;

/// A signature that may exist: all its honest signers have let their shares out.
#[derive(Debug)]
struct Attempted {
    digest: [u8; 32],
    signers: BTreeSet<usize>,
    released: BTreeSet<usize>,
}

/// A key that was made or is in the making.
#[derive(Debug, Default)]
struct Made {
    members: Vec<usize>,
    parts: BTreeMap<usize, Vec<u8>>,
    is_born: bool,
}

pub(crate) struct Checks {
    cluster: Rc<Cluster>,
    traitors: BTreeSet<usize>,
    threshold: u64,
    parties: u64,
    requests: BTreeMap<[u8; 32], (Merit, u64)>,
    wanted: BTreeMap<[u8; 32], Request>,
    /// What every nonce was used for.
    nonces: BTreeMap<Vec<u8>, [u8; 32]>,
    attempted: BTreeMap<[u8; 32], Attempted>,
    /// Requests that may have a signature: when, and what left.
    spent: BTreeMap<[u8; 32], (u64, u64)>,
    keys: BTreeMap<[u8; 32], Made>,
    sharings: sharings::Sharings,
    /// Nodes that have lost a disk.
    lost: BTreeSet<usize>,
    /// When nodes came back from a backup with a share in it.
    restored: BTreeMap<usize, u64>,
    /// What every node let go: when, of which request, how much.
    let_go: BTreeMap<usize, BTreeMap<[u8; 32], (u64, u64)>>,
    /// Sets of shares that were made to sign.
    signed: BTreeSet<([u8; 32], Vec<usize>)>,
    rng: ChaCha20Rng,
    pub(crate) figures: Figures,
}

impl Checks {
    pub(crate) fn new(cluster: &Rc<Cluster>, schedule: &Schedule, rng: ChaCha20Rng) -> Self {
        Self {
            cluster: Rc::clone(cluster),
            traitors: schedule.traitors.clone(),
            threshold: schedule.threshold.into(),
            parties: schedule.members.len() as u64,
            requests: BTreeMap::new(),
            wanted: BTreeMap::new(),
            nonces: BTreeMap::new(),
            attempted: BTreeMap::new(),
            spent: BTreeMap::new(),
            keys: BTreeMap::new(),
            sharings: sharings::Sharings::default(),
            lost: BTreeSet::new(),
            restored: BTreeMap::new(),
            let_go: BTreeMap::new(),
            signed: BTreeSet::new(),
            rng,
            figures: Figures::default(),
        }
    }

    /// Nodes that have lost a disk.
    pub(crate) const fn lost(&self) -> &BTreeSet<usize> {
        &self.lost
    }

    /// Somebody asks for something.
    pub(crate) fn on_request(&mut self, request: &Request) {
        let known = (request.merit, request.amount);
        self.requests.insert(request.intent.digest(), known);
        self.wanted.insert(request.intent.digest(), request.clone());
    }

    /// A message leaves an honest node.
    pub(crate) fn on_send(&mut self, from: usize, body: &Body, disk: &Image) -> Result<(), Broken> {
        if self.traitors.contains(&from) {
            return Ok(());
        }
        match body {
            Body::NewKey(_) => Ok(()),
            Body::Peer { run, envelope } if run.kind == RunKind::Generate => {
                if kind_of(envelope) == b"DKG/R3" && is_certificate(envelope) {
                    return self.on_part(from, run.request, envelope, disk);
                }
                if kind_of(envelope) == b"DKG/R1" {
                    let session = &envelope[2 + 6..2 + 6 + 32];
                    if !disk.has(Table::Replay, session) {
                        return Err(format!(
                            "node {from} joined a session that its disk does not know"
                        ));
                    }
                }
                Ok(())
            }
            Body::Part { request, part } => self.on_part(from, *request, part, disk),
            body => self.on_reshare_send(from, body, disk),
        }
    }

    /// A key that was made before.
    pub(crate) fn adopt(&mut self, request: [u8; 32], members: &[usize], parts: &[Vec<u8>]) {
        let made = Made {
            members: members.to_vec(),
            parts: members.iter().copied().zip(parts.iter().cloned()).collect(),
            is_born: true,
        };
        self.keys.insert(request, made);
    }

    /// Remembers who the members of a key are.
    pub(crate) fn on_order(&mut self, request: [u8; 32], members: &[usize]) {
        self.keys.entry(request).or_insert_with(|| Made {
            members: members.to_vec(),
            ..Made::default()
        });
    }

    fn on_part(
        &mut self,
        from: usize,
        request: [u8; 32],
        part: &[u8],
        disk: &Image,
    ) -> Result<(), Broken> {
        self.figures.checks += 1;
        let known = self
            .keys
            .get(&request)
            .and_then(|made| made.parts.get(&from));
        if known.is_some_and(|known| known == part) && disk.has(Table::Pending, &request) {
            return Ok(());
        }
        let held = disk.get(Table::Pending, &request);
        let held = held.and_then(|bytes| Pending::dangerous_from_bytes(bytes).ok());
        if held.is_none_or(|pending| pending.own_part() != part) {
            return Err(format!(
                "node {from} certified key {} whose share is not on its disk",
                short(&request)
            ));
        }
        let made = self.keys.entry(request).or_default();
        if let Some(before) = made.parts.insert(from, part.to_vec())
            && before != part
        {
            return Err(format!("node {from} certified two keys for one request"));
        }
        Ok(())
    }

    /// The disk of an honest node has changed: no share that was promised may be missing.
    pub(crate) fn on_disk(&mut self, node: usize, disk: &Image) -> Result<(), Broken> {
        if self.traitors.contains(&node) {
            return Ok(());
        }
        self.figures.checks += 1;
        for (request, made) in &self.keys {
            let is_gone = made.parts.contains_key(&node) && !disk.has(Table::Pending, request);
            if is_gone && !self.first_share_may_go(node, request, disk) {
                return Err(format!(
                    "node {node} has lost its share of key {}",
                    short(request)
                ));
            }
        }
        self.on_sharings(node, disk)
    }

    /// Every key that may be known to somebody signs with every set of members, from what is on their disks alone.
    pub(crate) fn check_keys(&mut self, disks: &[&Image]) -> Result<(), Broken> {
        let born: Vec<[u8; 32]> = self
            .keys
            .iter_mut()
            .filter(|(_, made)| !made.is_born && made.is_complete(&self.traitors))
            .map(|(request, made)| {
                made.is_born = true;
                *request
            })
            .collect();
        for request in born {
            self.figures.dkgs += 1;
            self.check_key(&request, disks)?;
        }
        self.check_newest(disks)
    }

    fn check_key(&mut self, request: &[u8; 32], disks: &[&Image]) -> Result<(), Broken> {
        let made = &self.keys[request];
        let honest: Vec<usize> = made
            .members
            .iter()
            .copied()
            .filter(|node| !self.traitors.contains(node))
            .collect();
        // The parts of liars are on their disks, whatever they have sent.
        let mut parts = Vec::new();
        for node in &made.members {
            let bytes = disks[*node].get(Table::Pending, request);
            let Some(pending) = bytes.and_then(|bytes| Pending::dangerous_from_bytes(bytes).ok())
            else {
                return Ok(());
            };
            parts.push(pending.own_part().to_vec());
        }
        let roster = self.cluster.roster(&made.members);
        if DkgCertificate::from_parts(&roster, &parts).is_err() {
            return Ok(());
        }
        let mut shares = BTreeMap::new();
        for node in honest {
            let bytes = disks[node]
                .get(Table::Pending, request)
                .expect("looked at above");
            let pending = Pending::dangerous_from_bytes(bytes).expect("looked at above");
            let output = pending.finish(&parts);
            let output = output.map_err(|error| format!("the share of node {node}: {error}"))?;
            shares.insert(node, Arc::new(output.share));
        }
        self.check_shares(request, &shares)
    }

    /// Every subset of as many shares as are needed makes a signature under one and the same key.
    fn check_shares(
        &mut self,
        name: &[u8; 32],
        shares: &BTreeMap<usize, Arc<KeyShare>>,
    ) -> Result<(), Broken> {
        let Some(first) = shares.values().next() else {
            return Ok(());
        };
        let package = first.public().clone();
        if let Some((node, _)) = shares.iter().find(|(_, share)| *share.public() != package) {
            return Err(format!(
                "node {node} knows key {} as another one",
                short(name)
            ));
        }
        let holders: Vec<usize> = shares.keys().copied().collect();
        for subset in subsets(&holders, package.params().threshold().into()) {
            if !self.signed.insert((*name, subset.clone())) {
                continue;
            }
            self.figures.subsets += 1;
            self.figures.checks += 1;
            let chosen: Vec<&KeyShare> = subset.iter().map(|node| &*shares[node]).collect();
            sign_with(&chosen, &mut self.rng).map_err(|why| {
                format!(
                    "nodes {subset:?} do not sign with key {}: {why}",
                    short(name)
                )
            })?;
        }
        Ok(())
    }

    /// Something that an honest node does on its own.
    pub(crate) fn on_note(
        &mut self,
        from: usize,
        note: &Note,
        disk: &Image,
        now_ms: u64,
    ) -> Result<(), Broken> {
        if self.traitors.contains(&from) {
            return Ok(());
        }
        match note {
            Note::Said(_) => Ok(()),
            Note::Released(released) => self.on_released(from, released, disk, now_ms),
            Note::Accused {
                culprits,
                fault,
                evidence,
                members,
            } => {
                self.figures.accused += culprits.len() as u64;
                self.on_accused(culprits, &format!("node {from} ({fault})"))?;
                let Some(bytes) = evidence else { return Ok(()) };
                let roster = self.cluster.roster(members);
                match evidence::verify(&roster, bytes) {
                    Ok((culprit, _)) if culprits.contains(&culprit) => Ok(()),
                    other => Err(format!("the evidence of node {from} says {other:?}")),
                }
            }
        }
    }

    /// A signature is out: it is one of what was asked for, under the key that there was from the beginning.
    pub(crate) fn on_signature(
        &mut self,
        digest: &[u8; 32],
        signature: &[u8; 64],
    ) -> Result<(), Broken> {
        self.figures.signatures += 1;
        self.figures.checks += 1;
        let Some(request) = self.wanted.get(digest) else {
            return Err("a signature that nobody has asked for".to_owned());
        };
        let package = &request.package;
        let chain = Chain::parse(&request.intent.intent().chain).expect("a chain");
        let decoded = transaction::decode(
            chain,
            &request.intent.intent().raw_tx,
            &PackageKeys(package),
            &[],
        );
        let decoded = decoded.map_err(|error| error.to_string())?;
        if decoded.tasks[0].is_signed_by(&PackageKeys(package), signature) {
            Ok(())
        } else {
            Err("a signature that does not verify under the key".to_owned())
        }
    }

    /// No honest member is ever called a liar.
    pub(crate) fn on_accused(&self, culprits: &[NodeId], by: &str) -> Result<(), Broken> {
        for node in culprits.iter().filter_map(|node| self.cluster.place(node)) {
            if !self.traitors.contains(&node) {
                return Err(format!("honest node {node} is accused by {by}"));
            }
        }
        Ok(())
    }

    fn on_released(
        &mut self,
        from: usize,
        released: &Released,
        disk: &Image,
        now_ms: u64,
    ) -> Result<(), Broken> {
        self.figures.shares += 1;
        self.figures.checks += 1;
        let request = short(&released.digest);
        // No signature without a verdict.
        let Some((merit, amount)) = self.requests.get(&released.digest).copied() else {
            return Err(format!(
                "node {from} signed {request}, which nobody has asked for"
            ));
        };
        if !merit.may_be_signed() {
            return Err(format!("node {from} signed {request}, which is {merit:?}"));
        }
        if !disk.has(Table::Ledger, &released.row) {
            return Err(format!(
                "node {from} signed {request} and its disk does not know"
            ));
        }
        // Never with another sharing than the highest certified one that its disk knows.
        let place = self.sharings.place(from, &released.key);
        if place != (released.epoch, released.attempt) {
            return Err(format!(
                "node {from} signed {request} with a share of {}.{} when {place:?} was active",
                released.epoch, released.attempt
            ));
        }
        self.check_floor(from, &released.key, place)?;
        // No nonce twice.
        let used = self
            .nonces
            .insert(released.commitment.clone(), released.package);
        if used.is_some() {
            return Err(format!(
                "node {from} used a nonce twice, the second time for {request}"
            ));
        }
        // The sum that leaves is within the limit.
        let cluster = &self.cluster;
        let attempted = self
            .attempted
            .entry(released.package)
            .or_insert_with(|| Attempted {
                digest: released.digest,
                signers: cluster.places(released.signers.iter().copied()),
                released: BTreeSet::new(),
            });
        attempted.released.insert(from);
        let traitors = &self.traitors;
        let mut missing = attempted.signers.difference(&attempted.released);
        if missing.all(|node| traitors.contains(node)) {
            self.spent
                .entry(attempted.digest)
                .or_insert((now_ms, amount));
        }
        let mine = self.let_go.entry(from).or_default();
        mine.entry(released.digest).or_insert((now_ms, amount));
        if let Some(since) = self.restored.get(&from)
            && now_ms < since + WINDOW
        {
            return Err(format!(
                "node {from} signed {request} when its limits count as used up"
            ));
        }
        if self.lost.contains(&from) {
            return Ok(());
        }
        let since = window_start(now_ms, Period::from_ms(WINDOW - LIFETIME));
        let sum: u64 = mine
            .values()
            .filter(|(at, _)| *at > since)
            .map(|(_, amount)| amount)
            .sum();
        if sum * released.parties > LIMIT * released.threshold {
            return Err(format!("node {from} let {sum} go within the window"));
        }
        self.check_limit(now_ms)
    }

    /// What left within any window that ends now. A node counts from the moment it lets its share go, and two nodes do so within
    /// the life of a request: the sum is over a window that is shorter by that.
    fn check_limit(&self, now_ms: u64) -> Result<(), Broken> {
        // Between two committees the sum is what each node has let go.
        if self.sharings.has_changed() || !self.lost.is_empty() {
            return Ok(());
        }
        let since = window_start(now_ms, Period::from_ms(WINDOW - LIFETIME));
        let recent = self.spent.values().filter(|(at, _)| *at > since);
        let sum: u64 = recent.map(|(_, amount)| amount).sum();
        // With liars among the signers fewer honest nodes are needed for a request, and each has its part of the limit.
        let (n, t) = (self.parties, self.threshold);
        let liars = (self.traitors.len() as u64).min(t - 1);
        let scaled = u128::from(sum) * u128::from(n) * u128::from(t - liars);
        if scaled > u128::from(LIMIT) * u128::from(t) * u128::from(n - liars) {
            return Err(format!(
                "{sum} left within the window of a limit of {LIMIT}"
            ));
        }
        Ok(())
    }
}

impl Made {
    fn is_complete(&self, traitors: &BTreeSet<usize>) -> bool {
        let mut honest = self.members.iter().filter(|node| !traitors.contains(node));
        !self.members.is_empty() && honest.all(|node| self.parts.contains_key(node))
    }
}

/// The name of the kind of an envelope.
fn kind_of(envelope: &[u8]) -> &[u8] {
    &envelope[2..2 + usize::from(envelope[1])]
}

/// Whether a message of round 3 is part of a certificate and no complaint.
fn is_certificate(envelope: &[u8]) -> bool {
    let body = 2 + usize::from(envelope[1]) + 32 + 1 + 32 + 32 + 4;
    envelope.get(body) == Some(&1)
}

/// All subsets of this size.
pub(crate) fn subsets(of: &[usize], size: usize) -> Vec<Vec<usize>> {
    if size == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (at, first) in of.iter().enumerate() {
        for mut rest in subsets(&of[at + 1..], size - 1) {
            rest.insert(0, *first);
            all.push(rest);
        }
    }
    all
}

/// Makes these shares sign; the signature is verified under the key.
fn sign_with(shares: &[&KeyShare], rng: &mut ChaCha20Rng) -> Result<(), String> {
    let package = shares[0].public();
    let tweak = match package.purpose() {
        Purpose::Bip340 => Tweak::PlainBip340,
        _ => Tweak::None,
    };
    let request = SigningRequest::new(package.purpose(), b"still here".to_vec(), tweak);
    let request = request.map_err(|error| error.to_string())?;
    let (mut nonces, mut commitments) = (Vec::new(), BTreeMap::new());
    for share in shares {
        let (secret, public) = frost::commit(share, rng).map_err(|error| error.to_string())?;
        nonces.push(secret);
        commitments.insert(share.index(), public);
    }
    let package =
        Package::new(package, commitments, &request).map_err(|error| error.to_string())?;
    let mut answers: BTreeMap<PartyIndex, _> = BTreeMap::new();
    for (share, nonces) in shares.iter().zip(nonces) {
        let answer = frost::sign(nonces, share, &package).map_err(|error| error.to_string())?;
        answers.insert(share.index(), answer);
    }
    frost::aggregate(&package, &answers).map_err(|error| error.to_string())?;
    Ok(())
}
