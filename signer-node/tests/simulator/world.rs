//! One schedule from beginning to end: everything that happens is an event with a time, and nothing else happens.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use mpc_core::id::KeyId;

use crate::bug::Bug;
use crate::checks::{Broken, Checks};
use crate::cluster::Cluster;
use crate::coordinator::reshare::Change;
use crate::coordinator::{self, Coordinator, Outcome, Task};
use crate::dice::Dice;
use crate::disk::Image;
use crate::figures::Figures;
use crate::made;
use crate::memo;
use crate::network::{Network, Weather};
use crate::node::{self, Node, Note, Out};
use crate::schedule::{Schedule, Wish};
use crate::treason::Treason;
use crate::treasury::{Merit, NOW, Treasury};
use crate::wire::{Address, Body, NewKey, short};

/// How long a schedule waits for what it asked for.
const PATIENCE_MS: u64 = 30_000;
/// How long everything may take to come to rest once nothing goes wrong any more.
const REST_MS: u64 = 120_000;
/// In this time a node that came back from a backup has asked its peers at least once.
const ASK_AGAIN_MS: u64 = 2 * node::PATIENT_MS;
/// The most events of one schedule.
const MAX_EVENTS: u64 = 60_000;

enum Event {
    Deliver {
        from: Address,
        to: Address,
        body: Body,
    },
    /// The disk of a node is done; for one life of it.
    Synced(usize, u64),
    Pulse(usize, u64),
    CoordinatorPulse(u64),
    Restart(Address),
    Weather,
}

/// What becomes of a write.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Synced,
    /// The node dies once it is synced, before anything follows from it.
    Crash,
}

/// The end of a schedule.
pub(crate) struct Report {
    pub(crate) figures: Figures,
    pub(crate) broken: Option<Broken>,
    pub(crate) trace: Vec<String>,
}

pub(crate) struct World {
    schedule: Schedule,
    cluster: Rc<Cluster>,
    dice: Dice,
    now_ms: u64,
    queue: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    nodes: Vec<Node>,
    lives: Vec<u64>,
    fates: Vec<Fate>,
    treasons: BTreeMap<usize, Treason>,
    coordinator: Coordinator,
    coordinator_life: u64,
    coordinator_is_up: bool,
    network: Network,
    treasury: Option<(KeyId, Rc<Treasury>)>,
    /// Reshares that operators have approved, and when they did.
    orders: BTreeMap<[u8; 32], u64>,
    backups: BTreeMap<usize, Image>,
    checks: Checks,
    requests: u64,
    trace: Option<Vec<String>>,
}

impl World {
    /// Plays the schedule of a seed.
    pub(crate) fn play(seed: u64, bug: Bug, wants_trace: bool) -> Report {
        memo::forget();
        let mut world = Self::new(seed, bug, wants_trace);
        let broken = world.run().err();
        if let Some(broken) = &broken {
            world.note(|| format!("BROKEN: {broken}"));
        }
        Report {
            figures: world.checks.figures,
            broken,
            trace: world.trace.unwrap_or_default(),
        }
    }

    fn new(seed: u64, bug: Bug, wants_trace: bool) -> Self {
        let mut dice = Dice::new(seed);
        let mut schedule = Schedule::draw(&mut dice);
        bug.favour(&mut schedule);
        let made = schedule.has_key.then(|| {
            made::key(
                schedule.purpose,
                schedule.threshold,
                schedule.members.len() as u16,
            )
        });
        let first = made.as_ref().map_or(&[][..], |made| &made.identities);
        let cluster = Rc::new(Cluster::new(first, schedule.nodes, &mut dice));
        let nodes: Vec<Node> = (0..schedule.nodes)
            .map(|place| Node::new(place, &cluster, dice.below(60_000), bug))
            .collect();
        let treasons = schedule
            .traitors
            .iter()
            .map(|node| (*node, Treason::default()));
        let checks = Checks::new(&cluster, &schedule, dice.fork());
        let mut world = Self {
            treasons: treasons.collect(),
            coordinator: Coordinator::new(&cluster, schedule.evil_coordinator),
            coordinator_life: 0,
            coordinator_is_up: true,
            network: Network::new(schedule.weather),
            lives: vec![0; nodes.len()],
            fates: vec![Fate::Synced; nodes.len()],
            nodes,
            now_ms: NOW,
            queue: BTreeMap::new(),
            sequence: 0,
            treasury: None,
            orders: BTreeMap::new(),
            backups: BTreeMap::new(),
            checks,
            requests: 0,
            trace: wants_trace.then(Vec::new),
            dice,
            cluster,
            schedule,
        };
        let schedule = world.schedule.clone();
        world.note(|| format!("{schedule:?}"));
        if let Some(made) = made {
            for (node, disk) in made.disks.iter().enumerate() {
                world.nodes[node].disk.restore(disk.clone());
            }
            world
                .checks
                .adopt(made.request, &schedule.members, &made.parts);
            world
                .coordinator
                .adopt(made.request, &schedule.members, &made.package, &made.parts);
            world.treasury = Some((made.package.key_id(), Rc::clone(&made.treasury)));
        }
        for node in 0..world.nodes.len() {
            world.start(node);
        }
        world.after(1, Event::CoordinatorPulse(0));
        world.after(50, Event::Weather);
        world
    }

    fn run(&mut self) -> Result<(), Broken> {
        if !self.schedule.has_key {
            let order = NewKey {
                request: [0; 32],
                attempt: 0,
                purpose: self.schedule.purpose,
                threshold: self.schedule.threshold,
                members: self.schedule.members.clone(),
            };
            self.coordinator.begin(Task::MakeKey(order));
            self.go_on(PATIENCE_MS)?;
        }
        // Careful operators back up a new key at once.
        if self.dice.chance(500) {
            (0..self.nodes.len()).for_each(|node| self.back_up(node));
        }
        let wishes = self.schedule.wishes.clone();
        for wish in wishes
            .into_iter()
            .filter(|_| self.treasury.is_some())
            .collect::<Vec<_>>()
        {
            self.grant(wish)?;
        }
        self.rest()
    }

    /// Nothing goes wrong any more: whatever was begun must come to its end, and the key must sign.
    fn rest(&mut self) -> Result<(), Broken> {
        self.note(|| "from here on nothing goes wrong".to_owned());
        self.network.weather = Weather::default();
        self.network.heal();
        self.coordinator.reform();
        (
            self.schedule.crashes,
            self.schedule.accidents,
            self.schedule.full_disks,
        ) = (0, 0, 0);
        for node in &mut self.nodes {
            node.disk.full = false;
        }
        self.go_on(REST_MS)?;
        let deadline = self.now_ms + REST_MS;
        while !self.coordinator.is_settled(self.checks.lost()) && self.now_ms < deadline {
            self.step()?;
        }
        if !self.coordinator.is_settled(self.checks.lost()) {
            return Err("a complete key does not reach all of its members".to_owned());
        }
        // Whoever came back from a backup and can be confirmed is, before the hours that its limits need.
        let until = self.now_ms + ASK_AGAIN_MS;
        while self.now_ms < until && self.nodes.iter().any(Node::is_catching_up) {
            self.step()?;
        }
        // Limits of the past are over.
        self.pass(2 * 3_600_000)?;
        let has_key = self.treasury.is_some();
        if !has_key && self.schedule.traitors.is_empty() {
            return Err("no key, though nobody lies and nothing goes wrong".to_owned());
        }
        let able = self
            .coordinator
            .active()
            .is_some_and(|active| self.checks.may_sign(active));
        if has_key && able {
            let before = self.checks.figures.signatures;
            self.ask(Merit::Small);
            self.go_on(REST_MS)?;
            if self.checks.figures.signatures == before {
                return Err("the key does not sign, though nothing goes wrong".to_owned());
            }
            if self.schedule.traitors.is_empty() && self.dice.chance(300) {
                let before = self.checks.figures.refreshes;
                self.grant(Wish::Refresh)?;
                self.go_on(REST_MS)?;
                if self.checks.figures.refreshes == before {
                    return Err("the key is not refreshed, though nothing goes wrong".to_owned());
                }
            }
        }
        Ok(())
    }

    fn grant(&mut self, wish: Wish) -> Result<(), Broken> {
        self.note(|| format!("{wish:?}"));
        match wish {
            Wish::Refresh => {
                if let Some(active) = self.coordinator.active() {
                    let members = self.cluster.members_of(active);
                    let threshold = active.params().threshold();
                    self.reshare(members, threshold);
                }
            }
            Wish::Reshare(count, threshold) => {
                let all: Vec<usize> = (0..self.nodes.len()).collect();
                let members = self.dice.some(&all, count);
                let honest = members
                    .iter()
                    .filter(|node| !self.schedule.traitors.contains(node))
                    .count();
                let liars = members.len() - honest;
                // More liars than a committee bears are not what is played here.
                if honest >= usize::from(threshold)
                    && liars < usize::from(threshold)
                    && members.len() == count
                {
                    self.reshare(members, threshold);
                }
            }
            Wish::LoseDisk => {
                let node = self.dice.place(self.nodes.len());
                self.lose_disk(node, Image::default())?;
            }
            Wish::BackUp => {
                let node = self.dice.place(self.nodes.len());
                self.back_up(node);
            }
            Wish::Restore => {
                let node = self.dice.place(self.nodes.len());
                if !self.backups.contains_key(&node) {
                    self.back_up(node);
                }
                let image = self.backups[&node].clone();
                self.lose_disk(node, image)?;
                self.ask(Merit::Small);
            }
            Wish::Wait(ms) => return self.pass(ms),
            Wish::Sign(merit) => self.ask(merit),
            Wish::Burst(count) => (0..count).for_each(|_| self.ask(Merit::Small)),
        }
        // Often the next wish comes in the midst of this one.
        let patience = if self.dice.chance(400) {
            self.dice.below(500)
        } else {
            PATIENCE_MS
        };
        self.go_on(patience)
    }

    fn reshare(&mut self, members: Vec<usize>, threshold: u16) {
        let absent = self.dice.place(self.nodes.len());
        let change = Change {
            members,
            threshold,
            absent: BTreeSet::from([absent]),
            issued_ms: self.now_ms,
        };
        self.note(|| format!("{change:?}"));
        self.coordinator.begin(Task::Reshare(change));
    }

    /// A disk breaks, unless that would be one more than the key bears.
    fn lose_disk(&mut self, node: usize, instead: Image) -> Result<(), Broken> {
        let disks: Vec<&Image> = self.nodes.iter().map(|node| node.disk.synced()).collect();
        if !self.checks.may_lose(node, &disks) {
            return Ok(());
        }
        if instead == Image::default() {
            self.checks.figures.lost_disks += 1;
            self.note(|| format!("node {node} loses its disk"));
        } else {
            self.checks.figures.restores += 1;
            self.note(|| format!("node {node} comes back from its backup"));
        }
        self.crash(node)?;
        self.nodes[node].replace_disk(instead, self.now_ms);
        self.checks.on_lost(node);
        self.checks.on_disk(node, self.nodes[node].disk.synced())?;
        self.checks.on_restored(node, self.now_ms);
        Ok(())
    }

    fn back_up(&mut self, node: usize) {
        let image = node::restore::backup(self.nodes[node].disk.synced());
        self.note(|| format!("backup of node {node}"));
        self.backups.insert(node, image);
    }

    fn ask(&mut self, merit: Merit) {
        let Some((_, treasury)) = self.treasury.clone() else {
            return;
        };
        let package = self.coordinator.first_key().expect("a key with a policy");
        self.requests += 1;
        let number = self.requests;
        let request = treasury.request(package, self.now_ms, number, merit, &mut self.dice);
        self.checks.on_request(&request);
        self.note(|| format!("asked for {}, {merit:?}", short(&request.intent.digest())));
        self.coordinator.begin(Task::Sign(Box::new(request)));
    }

    /// Until the coordinator has nothing to do, or has tried long enough.
    fn go_on(&mut self, patience_ms: u64) -> Result<(), Broken> {
        let deadline = self.now_ms + patience_ms;
        while !self.coordinator.is_idle() && self.now_ms < deadline {
            self.step()?;
        }
        Ok(())
    }

    /// Lets time pass.
    fn pass(&mut self, ms: u64) -> Result<(), Broken> {
        let deadline = self.now_ms + ms;
        // Long waits are not played pulse by pulse.
        while self
            .queue
            .first_key_value()
            .is_some_and(|((at, _), _)| *at < deadline.min(self.now_ms + 3_000))
        {
            self.step()?;
            if self.now_ms + 3_000 < deadline && self.is_quiet() {
                break;
            }
        }
        self.now_ms = self.now_ms.max(deadline);
        Ok(())
    }

    /// Whether nothing but pulses is under way.
    fn is_quiet(&self) -> bool {
        self.queue.values().all(|event| match event {
            Event::Weather | Event::CoordinatorPulse(_) => true,
            Event::Pulse(node, _) => !self.nodes[*node].has_runs(),
            _ => false,
        })
    }

    fn step(&mut self) -> Result<(), Broken> {
        let Some(((at, _), event)) = self.queue.pop_first() else {
            return Err("nothing is under way any more".to_owned());
        };
        self.now_ms = self.now_ms.max(at);
        self.checks.figures.steps += 1;
        if self.checks.figures.steps > MAX_EVENTS {
            return Err("the schedule does not end".to_owned());
        }
        match event {
            Event::Deliver { from, to, body } => self.deliver(from, to, body)?,
            Event::Synced(node, life) => self.synced(node, life)?,
            Event::Pulse(node, life) => {
                if self.lives[node] == life {
                    self.with_node(node, |node, context| node.on_pulse(context))?;
                }
            }
            Event::CoordinatorPulse(life) => {
                if self.coordinator_life == life && self.coordinator_is_up {
                    self.with_coordinator(Coordinator::on_pulse)?;
                    self.after(coordinator::PULSE_MS, Event::CoordinatorPulse(life));
                }
            }
            Event::Restart(Address::Coordinator) => {
                self.coordinator_is_up = true;
                self.after(1, Event::CoordinatorPulse(self.coordinator_life));
            }
            Event::Restart(Address::Node(node)) => self.start(node),
            Event::Weather => self.weather(),
        }
        if self.dice.below(10_000) < self.schedule.accidents {
            match self.dice.place(self.nodes.len() + 1).checked_sub(1) {
                Some(node) => self.crash(node)?,
                None => self.crash_coordinator(),
            }
        }
        let disks: Vec<&Image> = self.nodes.iter().map(|node| node.disk.synced()).collect();
        self.checks.check_keys(&disks)
    }

    fn deliver(&mut self, from: Address, to: Address, body: Body) -> Result<(), Broken> {
        match to {
            Address::Node(node) if self.nodes[node].memory.is_some() => {
                self.note(|| format!("{from:?} -> {to:?}: {}", body.label()));
                self.with_node(node, |node, context| node.receive(from, body, context))
            }
            Address::Coordinator if self.coordinator_is_up => {
                self.note(|| format!("{from:?} -> {to:?}: {}", body.label()));
                let Address::Node(from) = from else {
                    return Ok(());
                };
                if matches!(body, Body::Refused { .. }) {
                    self.checks.figures.refusals += 1;
                }
                self.with_coordinator(|coordinator, context| {
                    coordinator.receive(from, body, context);
                })
            }
            _ => {
                self.checks.figures.drops += 1;
                Ok(())
            }
        }
    }

    fn synced(&mut self, node: usize, life: u64) -> Result<(), Broken> {
        if self.lives[node] != life {
            return Ok(());
        }
        let done = self.nodes[node].disk.sync();
        self.checks.on_disk(node, self.nodes[node].disk.synced())?;
        if self.fates[node] == Fate::Crash {
            self.note(|| format!("node {node} dies after a write"));
            return self.crash(node);
        }
        self.with_node(node, |node, context| node.on_synced(done, context))
    }

    fn with_node(
        &mut self,
        place: usize,
        act: impl FnOnce(&mut Node, &mut node::Context<'_>),
    ) -> Result<(), Broken> {
        let mut out = Vec::new();
        let mut context = node::Context {
            now_ms: self.now_ms,
            treasury: self.treasury.as_ref().map(|(_, treasury)| &**treasury),
            orders: &self.orders,
            out: &mut out,
        };
        act(&mut self.nodes[place], &mut context);
        for effect in out {
            match effect {
                Out::Die => {
                    self.note(|| format!("node {place} starts over"));
                    return self.crash(place);
                }
                Out::Send(to, body) => self.send_from_node(place, to, body)?,
                Out::Wake(ms) => self.after(ms, Event::Pulse(place, self.lives[place])),
                Out::Note(note) => {
                    if let Note::Said(line) = &note {
                        self.note(|| format!("node {place}: {line}"));
                    }
                    let disk = self.nodes[place].disk.synced();
                    self.checks.on_note(place, &note, disk, self.now_ms)?;
                }
            }
        }
        self.start_writing(place)
    }

    fn send_from_node(&mut self, place: usize, to: Address, body: Body) -> Result<(), Broken> {
        let disk = self.nodes[place].disk.synced();
        self.checks.on_send(place, &body, disk)?;
        let body = match self.treasons.get_mut(&place) {
            Some(treason) => treason.twist(&self.cluster, place, to, body, &mut self.dice),
            None => Some(body),
        };
        if let Some(body) = body {
            self.send(Address::Node(place), to, &body);
        }
        Ok(())
    }

    /// The disk of a node begins to write; here is where nodes die.
    fn start_writing(&mut self, place: usize) -> Result<(), Broken> {
        if !self.nodes[place].disk.is_due() {
            return Ok(());
        }
        let crashes = self.dice.chance(self.schedule.crashes);
        let moment = self.dice.below(3);
        if crashes && moment == 0 {
            self.note(|| format!("node {place} dies before a write"));
            return self.crash(place);
        }
        self.nodes[place].disk.write();
        if crashes && moment == 1 {
            self.note(|| format!("node {place} dies within a write"));
            return self.crash(place);
        }
        self.fates[place] = if crashes { Fate::Crash } else { Fate::Synced };
        let takes = self.dice.between(1, 25);
        self.after(takes, Event::Synced(place, self.lives[place]));
        Ok(())
    }

    fn crash(&mut self, place: usize) -> Result<(), Broken> {
        if self.nodes[place].memory.is_none() {
            return Ok(());
        }
        self.checks.figures.crashes += 1;
        self.note(|| format!("node {place} is down"));
        self.lives[place] += 1;
        self.nodes[place].stop();
        self.nodes[place].disk.crash(&mut self.dice);
        self.checks
            .on_disk(place, self.nodes[place].disk.synced())?;
        let pause = self.dice.between(10, 4_000);
        self.after(pause, Event::Restart(Address::Node(place)));
        Ok(())
    }

    fn start(&mut self, place: usize) {
        self.note(|| format!("node {place} starts"));
        self.lives[place] += 1;
        self.fates[place] = Fate::Synced;
        let rng = self.dice.fork();
        self.nodes[place].start(rng);
        self.after(1, Event::Pulse(place, self.lives[place]));
    }

    fn crash_coordinator(&mut self) {
        if self.coordinator_is_up {
            self.note(|| "the coordinator is down".to_owned());
            self.coordinator_is_up = false;
            self.coordinator_life += 1;
            self.coordinator.crash();
            let pause = self.dice.between(10, 3_000);
            self.after(pause, Event::Restart(Address::Coordinator));
        }
    }

    fn with_coordinator(
        &mut self,
        act: impl FnOnce(&mut Coordinator, &mut coordinator::Context<'_>),
    ) -> Result<(), Broken> {
        let (mut out, mut accused) = (Vec::new(), Vec::new());
        let mut context = coordinator::Context {
            now_ms: self.now_ms,
            dice: &mut self.dice,
            out: &mut out,
            orders: &mut self.orders,
            accused: &mut accused,
        };
        act(&mut self.coordinator, &mut context);
        self.checks.on_accused(&accused, "the coordinator")?;
        for (to, body) in out {
            match &body {
                Body::NewKey(order) => self.checks.on_order(order.request, &order.members),
                Body::Reshare(call) => self.checks.on_reshare_order(&call.request, &self.orders),
                _ => {}
            }
            self.send(Address::Coordinator, to, &body);
        }
        for outcome in self.coordinator.finished() {
            match outcome {
                Outcome::Key => self.install_policy(),
                Outcome::Reshared => {
                    if self.coordinator.was_refresh() {
                        self.checks.figures.refreshes += 1;
                    } else {
                        self.checks.figures.reshares += 1;
                    }
                    let now = self
                        .coordinator
                        .active()
                        .map(mpc_core::lineage::Sharing::of);
                    self.note(|| format!("reshared: {now:?}"));
                }
                Outcome::Signed(digest, signature) => {
                    self.checks.on_signature(&digest, signature.as_bytes())?;
                    self.note(|| format!("signed {}", short(&digest)));
                }
                Outcome::Failed(why) => self.note(|| format!("given up: {why}")),
            }
        }
        Ok(())
    }

    fn install_policy(&mut self) {
        let Some(package) = &self.coordinator.key else {
            return;
        };
        let key = package.key_id();
        self.treasury = Some((key, Rc::new(Treasury::new(&key, package.purpose()))));
        self.note(|| format!("the policy for key {} is in force", short(key.as_bytes())));
    }

    fn weather(&mut self) {
        if self.network.change(self.nodes.len(), &mut self.dice) {
            self.checks.figures.partitions += 1;
        }
        if self.schedule.full_disks > 0 {
            for node in &mut self.nodes {
                if self.dice.chance(self.schedule.full_disks) {
                    node.disk.full = !node.disk.full;
                }
            }
        }
        self.after(400, Event::Weather);
    }

    fn send(&mut self, from: Address, to: Address, body: &Body) {
        let arrivals = self.network.arrivals(from, to, &mut self.dice);
        match arrivals.len() {
            0 => self.checks.figures.drops += 1,
            1 => {}
            _ => self.checks.figures.duplicates += 1,
        }
        for delay in arrivals {
            let body = body.clone();
            self.after(delay, Event::Deliver { from, to, body });
        }
    }

    fn after(&mut self, ms: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now_ms + ms, self.sequence), event);
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let at = self.now_ms - NOW;
            trace.push(format!("{:>5}.{:03} {}", at / 1000, at % 1000, line()));
        }
    }
}
