//! A coordinator: it collects, repeats and tries again. Nothing of what it does is needed for safety.
//!
//! It keeps on disk what it was asked to do and what it has collected; what is under way is in memory and starts over after a crash.

pub(crate) mod reshare;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use mpc_core::dkg::DkgCertificate;
use mpc_core::frost::robust::{self, Action};
use mpc_core::frost::{Package, Signature, wire};
use mpc_core::id::{Attempt, KeyId, NodeId, RequestId};
use mpc_core::keys::PublicKeyPackage;
use mpc_core::lineage::Sharing;
use policy::chain::Chain;
use policy::transaction;
use proto::convert::wallet_keys::PackageKeys;

use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::memo;
use crate::node::signing_request;
use crate::treasury::Request;
use crate::wire::{Address, Body, NewKey, RunKind, RunName, SignCall};

/// How often it looks at what is under way.
pub(crate) const PULSE_MS: u64 = 250;
/// How long it waits for a share before it asks others.
const PATIENCE_MS: u64 = 1_000;
/// How long it waits for a key before it tries with a fresh request.
const KEY_PATIENCE_MS: u64 = 6_000;
/// How long it tries to get one signature.
const SIGN_PATIENCE_MS: u64 = 15_000;

/// How many commitments an evil one keeps.
const MAX_HOARD: usize = 32;

/// A job for the coordinator.
#[derive(Clone, Debug)]
pub(crate) enum Task {
    /// Make a key, whatever it takes.
    MakeKey(NewKey),
    /// Get a signature of this request.
    Sign(Box<Request>),
    /// Replace the shares of the key.
    Reshare(reshare::Change),
}

/// How a job ended.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Key,
    Reshared,
    Signed([u8; 32], Signature),
    Failed(String),
}

/// What it needs from the world.
pub(crate) struct Context<'a> {
    pub(crate) now_ms: u64,
    pub(crate) dice: &'a mut Dice,
    pub(crate) out: &'a mut Vec<(Address, Body)>,
    /// Reshares that operators have approved, and when they did.
    pub(crate) orders: &'a mut BTreeMap<[u8; 32], u64>,
    /// Whom it takes for a liar.
    pub(crate) accused: &'a mut Vec<NodeId>,
}

impl Context<'_> {
    fn send(&mut self, node: usize, body: Body) {
        self.out.push((Address::Node(node), body));
    }
}

/// A key in the making.
#[derive(Clone, Debug)]
struct Making {
    order: NewKey,
    since_ms: u64,
}

/// What it was told about one request for a key; durable.
#[derive(Clone, Debug, Default)]
struct Collected {
    members: Vec<usize>,
    parts: BTreeMap<usize, Vec<u8>>,
    /// Whether the parts were found to be a certificate.
    is_complete: bool,
    active: BTreeSet<usize>,
    package: Option<PublicKeyPackage>,
}

struct Signing {
    request: Request,
    /// The sharing that is to sign.
    package: PublicKeyPackage,
    robust: robust::Coordinator,
    packages: BTreeMap<Attempt, Package>,
    envelopes: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Commitments that nobody has been asked to use.
    spare: BTreeMap<usize, usize>,
    /// Who will never sign this.
    refused: BTreeSet<usize>,
    asked_ms: u64,
    since_ms: u64,
}

pub(crate) struct Coordinator {
    cluster: Rc<Cluster>,
    /// It shows the commitments of one request to the signers of another, and uses those of sharings that are over.
    is_evil: bool,
    /// Commitments that an evil one keeps, by who made them.
    hoard: Vec<(usize, Vec<u8>)>,
    // Durable.
    template: Option<NewKey>,
    wanted: BTreeMap<[u8; 32], Request>,
    requests: BTreeMap<[u8; 32], Collected>,
    /// The key that schedules use: the first that became complete.
    pub(crate) key: Option<PublicKeyPackage>,
    reshares: reshare::Reshares,
    outcomes: Vec<Outcome>,
    // Lost with a crash.
    making: Option<Making>,
    signings: BTreeMap<[u8; 32], Signing>,
}

impl Coordinator {
    pub(crate) fn new(cluster: &Rc<Cluster>, is_evil: bool) -> Self {
        Self {
            cluster: Rc::clone(cluster),
            is_evil,
            hoard: Vec::new(),
            template: None,
            wanted: BTreeMap::new(),
            requests: BTreeMap::new(),
            key: None,
            reshares: reshare::Reshares::default(),
            outcomes: Vec::new(),
            making: None,
            signings: BTreeMap::new(),
        }
    }

    /// A key that was made before.
    pub(crate) fn adopt(
        &mut self,
        request: [u8; 32],
        members: &[usize],
        package: &PublicKeyPackage,
        parts: &[Vec<u8>],
    ) {
        let collected = Collected {
            members: members.to_vec(),
            parts: members.iter().copied().zip(parts.iter().cloned()).collect(),
            is_complete: true,
            active: members.iter().copied().collect(),
            package: Some(package.clone()),
        };
        self.requests.insert(request, collected);
        self.key = Some(package.clone());
        self.know(package.clone());
    }

    pub(crate) fn begin(&mut self, task: Task) {
        match task {
            Task::MakeKey(template) => self.template = Some(template),
            Task::Reshare(change) => self.reshares.want(change),
            Task::Sign(request) => {
                self.wanted.insert(request.intent.digest(), *request);
            }
        }
    }

    /// What has ended since the last call.
    pub(crate) fn finished(&mut self) -> Vec<Outcome> {
        std::mem::take(&mut self.outcomes)
    }

    /// Whether nothing is left to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.template.is_none() && self.wanted.is_empty() && self.reshares.is_idle()
    }

    /// From here on it does what it should.
    pub(crate) fn reform(&mut self) {
        self.is_evil = false;
        self.signings.clear();
    }

    /// Forgets what is not on disk.
    pub(crate) fn crash(&mut self) {
        self.making = None;
        self.signings.clear();
        self.reshares.crash();
    }

    pub(crate) fn on_pulse(&mut self, context: &mut Context<'_>) {
        if let Some(template) = self.template.clone() {
            self.make_key(&template, context);
        }
        let digests: Vec<[u8; 32]> = self.wanted.keys().copied().collect();
        for digest in digests {
            self.sign(digest, context);
        }
        self.certify(context);
        self.ask_again(context);
        self.reshare_pulse(context);
    }

    /// Asks those for their part of a certificate, or for word that it arrived, who have not said.
    fn ask_again(&self, context: &mut Context<'_>) {
        let mut silent = BTreeSet::new();
        for collected in self.requests.values() {
            let is_done = collected.active.len() == collected.members.len();
            let is_begun = self.key.is_none() || collected.package.is_some();
            if is_begun && !is_done {
                silent.extend(collected.members.iter().copied());
            }
        }
        for node in silent {
            context.send(node, Body::Query);
        }
    }

    pub(crate) fn receive(&mut self, from: usize, body: Body, context: &mut Context<'_>) {
        match body {
            Body::Part { request, part } => {
                if let Some(collected) = self.requests.get_mut(&request) {
                    let is_new = collected.parts.get(&from) != Some(&part);
                    collected.is_complete &= !is_new;
                    collected.parts.insert(from, part);
                    if is_new {
                        self.certify(context);
                    }
                }
            }
            Body::Active { request, package } => self.on_active(from, request, &package),
            Body::Failed { run, .. } => match run.kind {
                RunKind::Generate => self.on_failed(run),
                RunKind::Reshare => self.on_reshare_failed(run),
            },
            Body::ResharePart { digest, part } => self.on_reshare_part(from, digest, part, context),
            Body::Standing {
                key,
                place,
                holds,
                certificate,
            } => self.on_standing(from, key, (place, holds), &certificate),
            Body::Commitments { key, digest, list } => {
                self.on_commitments(from, key, digest, &list, context);
            }
            Body::Share {
                digest,
                attempt,
                envelope,
            } => self.on_share(digest, attempt, &envelope, context),
            Body::Refused {
                digest,
                attempt,
                is_final,
                ..
            } => self.on_refusal(from, digest, attempt, is_final, context),
            _ => {}
        }
    }

    fn make_key(&mut self, template: &NewKey, context: &mut Context<'_>) {
        if self.key.is_some() {
            self.template = None;
            self.making = None;
            self.outcomes.push(Outcome::Key);
            return;
        }
        let is_late = |making: &Making| making.since_ms + KEY_PATIENCE_MS <= context.now_ms;
        if self.making.as_ref().is_none_or(is_late) {
            // A share of an older request may wait for its certificate for ever: a try has a request of its own.
            let order = NewKey {
                request: context.dice.bytes(),
                ..template.clone()
            };
            self.requests.insert(
                order.request,
                Collected {
                    members: order.members.clone(),
                    ..Collected::default()
                },
            );
            self.making = Some(Making {
                order,
                since_ms: context.now_ms,
            });
        }
        if let Some(making) = &self.making {
            let done = self.requests.get(&making.order.request);
            for node in making.order.members.clone() {
                if done.is_none_or(|done| !done.parts.contains_key(&node)) {
                    context.send(node, Body::NewKey(making.order.clone()));
                }
            }
        }
    }

    /// Hands complete certificates to those who have not said that they have them.
    fn certify(&mut self, context: &mut Context<'_>) {
        for (request, collected) in &mut self.requests {
            if collected.members.is_empty() || collected.parts.len() < collected.members.len() {
                continue;
            }
            if collected.active.len() == collected.members.len() {
                continue;
            }
            if !collected.is_complete {
                let roster = self.cluster.roster(&collected.members);
                let parts = collected.parts.values();
                if DkgCertificate::from_parts(&roster, parts).is_err() {
                    continue;
                }
                collected.is_complete = true;
            }
            for node in &collected.members {
                if !collected.active.contains(node) {
                    let body = Body::Certify {
                        request: *request,
                        parts: collected.parts.values().cloned().collect(),
                    };
                    context.send(*node, body);
                }
            }
        }
    }

    fn on_active(&mut self, from: usize, request: [u8; 32], package: &[u8]) {
        let Some(collected) = self.requests.get_mut(&request) else {
            return;
        };
        let Some(package) = memo::package(package) else {
            return;
        };
        collected.active.insert(from);
        collected.package.get_or_insert_with(|| package.clone());
        if self.key.is_none() && collected.active.len() == collected.members.len() {
            self.key = Some(package.clone());
            self.know(package);
        }
    }

    fn on_failed(&mut self, run: RunName) {
        if self
            .making
            .as_ref()
            .is_some_and(|making| making.order.request == run.request)
        {
            self.making = None;
        }
    }

    /// Whether every member of every complete key is said to hold it, but for those who have lost a disk.
    pub(crate) fn is_settled(&self, lost: &BTreeSet<usize>) -> bool {
        let is_known = |collected: &Collected| {
            let mut members = collected.members.iter();
            collected.package.is_none()
                || members.all(|node| collected.active.contains(node) || lost.contains(node))
        };
        self.requests.values().all(is_known) && self.is_everybody_there()
    }

    fn sign(&mut self, digest: [u8; 32], context: &mut Context<'_>) {
        let (Some(newest), Some(request)) = (self.key.clone(), self.wanted.get(&digest)) else {
            return;
        };
        let now = context.now_ms;
        let Some(signing) = self.signings.get_mut(&digest) else {
            // An evil one may ask for shares of a sharing of the past.
            let past = self.past(context.dice);
            let is_past = past.is_some();
            let package = past.unwrap_or(newest);
            let key = package.key_id();
            let spare = usize::from(package.params().threshold()) - 1;
            let signing = start(&self.cluster, package, request.clone(), context);
            self.signings.insert(digest, signing);
            let hoard = if is_past {
                self.hoard.clone()
            } else {
                Vec::new()
            };
            // One signer less than needed: who is fooled makes the last commitment.
            let mut kept = BTreeSet::new();
            for (from, bytes) in hoard {
                if kept.len() < spare && kept.insert(from) {
                    self.on_commitments(from, key, digest, &[bytes], context);
                }
            }
            return;
        };
        if signing.since_ms + SIGN_PATIENCE_MS <= now {
            self.end(digest, Outcome::Failed("no signature in time".to_owned()));
            return;
        }
        if signing.asked_ms + PATIENCE_MS <= now {
            signing.asked_ms = now;
            let package = &signing.package;
            let silent = signing.robust.waiting_for();
            let mut actions = Vec::new();
            for index in silent.iter().filter_map(|node| package.index_of(node)) {
                actions.extend(signing.robust.on_silence(index).unwrap_or_default());
            }
            let key = package.key_id();
            for node in self.cluster.members_of(package) {
                // Perhaps it holds a newer sharing, and its word of that was lost.
                context.send(node, Body::Query);
                if signing.spare.get(&node).is_none_or(|spare| *spare == 0) {
                    context.send(node, Body::Prepare { key, digest });
                }
            }
            self.act(digest, actions, context);
        }
    }

    fn end(&mut self, digest: [u8; 32], outcome: Outcome) {
        self.wanted.remove(&digest);
        self.signings.remove(&digest);
        self.outcomes.push(outcome);
    }

    fn on_commitments(
        &mut self,
        from: usize,
        key: KeyId,
        digest: [u8; 32],
        list: &[Vec<u8>],
        context: &mut Context<'_>,
    ) {
        let Some(signing) = self.signings.get_mut(&digest) else {
            return;
        };
        let package = &signing.package;
        if package.key_id() != key {
            return;
        }
        let roster = self.cluster.roster_of(package);
        let mut actions = Vec::new();
        if signing.spare.get(&from).is_some_and(|spare| *spare > 1) {
            return;
        }
        for bytes in list {
            let Ok(opened) = wire::open_commitment(&roster, package, bytes) else {
                continue;
            };
            if opened.node == self.cluster.nodes[from] {
                if self.is_evil && self.hoard.len() < MAX_HOARD {
                    self.hoard.push((from, bytes.clone()));
                }
                signing
                    .envelopes
                    .insert(opened.commitment.encode(), bytes.clone());
                *signing.spare.entry(from).or_default() += 1;
                let more = signing
                    .robust
                    .on_commitment(opened.index, opened.commitment);
                actions.extend(more.unwrap_or_default());
            }
        }
        self.act(digest, actions, context);
    }

    fn on_share(
        &mut self,
        digest: [u8; 32],
        attempt: u32,
        envelope: &[u8],
        context: &mut Context<'_>,
    ) {
        let Some(signing) = self.signings.get_mut(&digest) else {
            return;
        };
        let key = &signing.package;
        let attempt = Attempt(attempt);
        let Some(package) = signing.packages.get(&attempt) else {
            return;
        };
        let roster = self.cluster.roster_of(key);
        let request = RequestId::from_bytes(digest);
        let Ok((index, share)) = wire::open_share(&roster, package, request, attempt, envelope)
        else {
            return;
        };
        let actions = signing.robust.on_share(index, attempt, share);
        self.act(digest, actions.unwrap_or_default(), context);
    }

    fn on_refusal(
        &mut self,
        from: usize,
        digest: [u8; 32],
        attempt: u32,
        is_final: bool,
        context: &mut Context<'_>,
    ) {
        let Some(signing) = self.signings.get_mut(&digest) else {
            return;
        };
        let key = &signing.package;
        if is_final {
            signing.refused.insert(from);
            let left = key.nodes().len() - signing.refused.len();
            if left < usize::from(key.params().threshold()) {
                return self.end(digest, Outcome::Failed("refused".to_owned()));
            }
        }
        if !signing.packages.contains_key(&Attempt(attempt)) {
            return;
        }
        if let Some(index) = key.index_of(&self.cluster.nodes[from]) {
            let actions = signing.robust.on_silence(index);
            self.act(digest, actions.unwrap_or_default(), context);
        }
    }

    fn act(&mut self, digest: [u8; 32], actions: Vec<Action>, context: &mut Context<'_>) {
        for action in actions {
            match action {
                Action::Done(signature) => {
                    self.end(digest, Outcome::Signed(digest, signature));
                    return;
                }
                Action::Exclude { node, .. } => context.accused.push(node),
                Action::Ask { attempt, package } => self.ask(digest, attempt, *package, context),
            }
        }
    }

    fn ask(
        &mut self,
        digest: [u8; 32],
        attempt: Attempt,
        package: Package,
        context: &mut Context<'_>,
    ) {
        let other = self
            .wanted
            .values()
            .find(|other| other.intent.digest() != digest)
            .cloned();
        let Some(signing) = self.signings.get_mut(&digest) else {
            return;
        };
        let sharing = Sharing::of(&signing.package);
        signing.asked_ms = context.now_ms;
        let sealed = |index| {
            let commitment = package.commitment(index).unwrap().encode();
            signing.envelopes[&commitment].clone()
        };
        let call = SignCall {
            key: package.key_id(),
            intent: signing.request.intent.clone(),
            approvals: signing.request.approvals.clone(),
            commitments: package
                .signers()
                .keys()
                .map(|index| sealed(*index))
                .collect(),
            attempt: attempt.0,
            sharing,
        };
        for node in package.signers().values() {
            let Some(to) = self.cluster.place(node) else {
                continue;
            };
            if let Some(spare) = signing.spare.get_mut(&to) {
                *spare = spare.saturating_sub(1);
            }
            let mut calls = vec![call.clone()];
            if let Some(other) = other.as_ref().filter(|_| self.is_evil) {
                calls.push(SignCall {
                    intent: other.intent.clone(),
                    approvals: other.approvals.clone(),
                    ..call.clone()
                });
                if context.dice.chance(500) {
                    calls.reverse();
                }
            }
            for call in calls {
                context.send(to, Body::Sign(Box::new(call)));
            }
        }
        signing.packages.insert(attempt, package);
    }
}

fn start(
    cluster: &Cluster,
    package: PublicKeyPackage,
    request: Request,
    context: &mut Context<'_>,
) -> Signing {
    let intent = request.intent.intent();
    let chain = Chain::parse(&intent.chain).unwrap();
    let decoded = transaction::decode(chain, &intent.raw_tx, &PackageKeys(&package), &[]);
    let task = decoded.expect("a request that decodes").tasks.remove(0);
    let wanted = signing_request(package.purpose(), &task);
    let (key, digest) = (package.key_id(), request.intent.digest());
    for node in cluster.members_of(&package) {
        context.send(node, Body::Announce(Box::new(request.intent.clone())));
        context.send(node, Body::Prepare { key, digest });
    }
    let robust = robust::Coordinator::new(package.clone(), wanted).expect("a key of this purpose");
    Signing {
        request,
        package,
        robust,
        packages: BTreeMap::new(),
        envelopes: BTreeMap::new(),
        spare: BTreeMap::new(),
        refused: BTreeSet::new(),
        asked_ms: context.now_ms,
        since_ms: context.now_ms,
    }
}
