//! A signer node without sockets: what the node's engine does, on a disk and a clock that a schedule controls.
//!
//! Key generation, signing, verdicts and the rule "write before you send" are the real ones, from `mpc-core` and `policy`. What is
//! written here is the order in which a node asks them, as in the engine of `signer-node`.

mod generate;
mod ledger;
mod pairs;
pub(crate) mod reshare;
pub(crate) mod restore;
mod sign;

pub(crate) use sign::signing_request;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use mpc_core::dkg::{self, DkgOutput};
use mpc_core::frost::Pool;
use mpc_core::id::{Attempt, Epoch, KeyId, NodeId};
use mpc_core::identity::IdentityKey;
use mpc_core::keys::KeyShare;
use mpc_core::lineage::{Lineage, Sharing};
use mpc_core::reshare::{Output as Reshared, Session as ReshareSession};
use mpc_core::session::{Effects, Held, Inbound, Outbound, Recipient, Session as _, Step};
use mpc_core::{Error, Fault};
use policy::ledger::Ledger;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

use crate::bug::Bug;
use crate::cluster::Cluster;
use crate::disk::{Answer, Change, Disk, Image, Ticket};
use crate::treasury::Treasury;
use crate::wire::{Address, Body, NewKey, RunKind, RunName};

/// How long a round of a protocol may take.
pub(crate) const ROUND_MS: u64 = 1_500;
/// How often a node looks at its deadlines and says again what may have been lost.
const PULSE_MS: u64 = 200;
/// After so many of them a run says everything again.
const PULSES_TO_REPEAT: u32 = 3;
/// How many messages of runs that have not started are kept.
const MAX_EARLY: usize = 64;

/// What a node asks of the world around it.
pub(crate) enum Out {
    Send(Address, Body),
    /// Wake me after so many milliseconds.
    Wake(u64),
    Note(Note),
    /// The process ends itself and is started again.
    Die,
}

/// What a node does that the checks must know.
pub(crate) enum Note {
    /// It lets a share of a signature out.
    Released(Released),
    /// It accuses somebody.
    Accused {
        culprits: Vec<NodeId>,
        fault: Fault,
        evidence: Option<Vec<u8>>,
        members: Vec<usize>,
    },
    /// A line for the trace.
    Said(String),
}

/// A share of a signature that leaves a node.
pub(crate) struct Released {
    pub(crate) key: KeyId,
    /// The intent that it is for.
    pub(crate) digest: [u8; 32],
    /// The row that must be durable.
    pub(crate) row: Vec<u8>,
    /// Everything that is signed, commitments included.
    pub(crate) package: [u8; 32],
    pub(crate) commitment: Vec<u8>,
    pub(crate) signers: BTreeSet<NodeId>,
    pub(crate) epoch: u32,
    pub(crate) attempt: u32,
    pub(crate) threshold: u64,
    pub(crate) parties: u64,
}

/// What a node is given with every input.
pub(crate) struct Context<'a> {
    /// The true time; a node's own clock differs from it.
    pub(crate) now_ms: u64,
    pub(crate) treasury: Option<&'a Treasury>,
    /// Digests of the reshares that operators have approved, and when they did.
    pub(crate) orders: &'a BTreeMap<[u8; 32], u64>,
    pub(crate) out: &'a mut Vec<Out>,
}

impl Context<'_> {
    pub(super) fn tell(&mut self, body: Body) {
        self.out.push(Out::Send(Address::Coordinator, body));
    }

    pub(super) fn say(&mut self, line: impl Into<String>) {
        self.out.push(Out::Note(Note::Said(line.into())));
    }
}

/// One node: what survives a crash, and what does not.
pub(crate) struct Node {
    pub(crate) place: usize,
    pub(crate) id: NodeId,
    identity: Arc<IdentityKey>,
    cluster: Rc<Cluster>,
    pub(crate) disk: Disk,
    /// How far its clock is ahead of the true time.
    ahead_ms: u64,
    /// What it said when this node last did something.
    now_ms: u64,
    /// When its disk was last lost, by its clock.
    lost_ms: u64,
    bug: Bug,
    pairs: pairs::Pairs,
    pub(crate) memory: Option<Memory>,
}

/// What a running node knows.
pub(crate) struct Memory {
    boot: [u8; 16],
    rng: ChaCha20Rng,
    /// Where nonces come from.
    nonces: ChaCha20Rng,
    runs: BTreeMap<RunName, Run>,
    early: VecDeque<(usize, RunName, Vec<u8>)>,
    keys: BTreeMap<KeyId, Key>,
    /// This node's parts of certificates, by request.
    parts: BTreeMap<[u8; 32], Vec<u8>>,
    ledger: Ledger,
    released: BTreeSet<Vec<u8>>,
    seen: BTreeMap<[u8; 32], u64>,
    waiting: BTreeMap<Ticket, Then>,
    is_waking: bool,
}

/// A key at this node.
pub(crate) struct Key {
    /// The request that made it; zero at a node that had no part in that.
    request: [u8; 32],
    lineage: Lineage,
    /// The share of the active sharing, once that is durable.
    share: Option<Arc<KeyShare>>,
    pool: Pool,
    /// This node's parts of certificates that it has not seen complete, by digest of the request.
    prepared: BTreeMap<[u8; 32], (Sharing, Vec<u8>)>,
    /// It came out of a backup, and peers have not confirmed it.
    unconfirmed: bool,
    /// What they say.
    said: BTreeMap<NodeId, Sharing>,
}

impl Key {
    fn new(request: [u8; 32], lineage: Lineage, share: Option<Arc<KeyShare>>) -> Self {
        Self {
            request,
            lineage,
            share,
            pool: Pool::new(),
            prepared: BTreeMap::new(),
            unconfirmed: false,
            said: BTreeMap::new(),
        }
    }
}

/// The state machine of a run.
enum Session {
    Generate(Box<dkg::Session>),
    Reshare(Box<ReshareSession>),
}

impl Session {
    fn deadline_ms(&self) -> Option<u64> {
        match self {
            Self::Generate(session) => session.deadline_ms(),
            Self::Reshare(session) => session.deadline_ms(),
        }
    }
}

/// A protocol run.
struct Run {
    session: Session,
    members: Vec<usize>,
    /// The place of the sharing that a reshare makes.
    place: Option<(KeyId, (Epoch, Attempt))>,
    said: Vec<Outbound>,
    /// Pulses since it said something new.
    silent_pulses: u32,
    /// A step waits for the disk; what arrives meanwhile waits here.
    is_writing: bool,
    inbox: VecDeque<Inbound>,
}

/// What happens once a job of the disk is done.
enum Then {
    Generate(RunName, Box<Held<Effects<DkgOutput>>>),
    Reshare(RunName, Box<Held<Effects<Reshared>>>),
    Certified([u8; 32], Box<Held<Effects<DkgOutput>>>),
    Moved(Box<Held<Effects<KeyId>>>),
    Release(sign::Waiting, Box<Held<Effects<sign::Ready>>>),
    Nothing,
}

/// What a protocol makes.
trait Made: Sized {
    /// What waits for the disk.
    fn wait(name: RunName, held: Held<Effects<Self>>) -> Then;
    /// It is there, and durable.
    fn arrive(self, node: &mut Node, name: RunName, context: &mut Context<'_>);
}

impl Node {
    pub(crate) fn new(place: usize, cluster: &Rc<Cluster>, ahead_ms: u64, bug: Bug) -> Self {
        Self {
            place,
            id: cluster.nodes[place],
            identity: Arc::clone(&cluster.identities[place]),
            cluster: Rc::clone(cluster),
            disk: Disk::default(),
            ahead_ms,
            now_ms: 0,
            lost_ms: 0,
            bug,
            pairs: pairs::Pairs::default(),
            memory: None,
        }
    }

    /// The node's own clock.
    fn clock(&self, context: &Context<'_>) -> u64 {
        context.now_ms + self.ahead_ms
    }

    /// Starts the process: everything it knows is read from the disk.
    pub(crate) fn start(&mut self, mut rng: ChaCha20Rng) {
        let mut boot = [0; 16];
        rand_core::Rng::fill_bytes(&mut rng, &mut boot);
        let mut seed = [0; 32];
        rand_core::Rng::fill_bytes(&mut rng, &mut seed);
        if self.bug == Bug::RepeatsNonces {
            seed = *self.id.as_bytes();
        }
        let image = self.disk.synced();
        let mut memory = Memory {
            boot,
            rng,
            nonces: ChaCha20Rng::from_seed(seed),
            runs: BTreeMap::new(),
            early: VecDeque::new(),
            keys: generate::load(image),
            parts: BTreeMap::new(),
            ledger: Ledger::new(),
            released: BTreeSet::new(),
            seen: BTreeMap::new(),
            waiting: BTreeMap::new(),
            is_waking: false,
        };
        ledger::load(image, &mut memory);
        reshare::load(image, &mut memory, self.bug);
        self.memory = Some(memory);
    }

    /// The disk is lost; another content is there instead.
    pub(crate) fn replace_disk(&mut self, content: Image, now_ms: u64) {
        self.disk.restore(content);
        self.lost_ms = now_ms + self.ahead_ms;
    }

    /// The process dies, in the middle of whatever it was doing.
    pub(crate) fn stop(&mut self) {
        self.memory = None;
    }

    /// Takes a message. The node is running.
    pub(crate) fn receive(&mut self, from: Address, body: Body, context: &mut Context<'_>) {
        self.now_ms = self.clock(context);
        match body {
            Body::Peer { run, envelope } => {
                if let Address::Node(from) = from {
                    self.on_peer(from, run, envelope, context);
                }
            }
            Body::NewKey(order) => self.on_new_key(order, context),
            Body::Certify { request, parts } => self.on_certify(request, &parts, context),
            Body::Query => self.on_query(context),
            Body::Announce(intent) => self.on_announce(&intent, context),
            Body::Prepare { key, digest } => self.on_prepare(key, digest, context),
            Body::Sign(call) => self.on_sign(&call, context),
            Body::Reshare(call) => self.on_reshare(&call, context),
            Body::ReshareParts {
                key,
                sharing,
                parts,
            } => self.on_reshare_parts(key, &sharing, &parts, context),
            Body::Attest { key, challenge } => {
                if let Address::Node(from) = from {
                    self.on_attest(from, key, challenge, context);
                }
            }
            Body::Attested {
                key,
                challenge,
                sharing,
            } => {
                if let Address::Node(from) = from {
                    self.on_attested(from, (key, challenge), sharing, context);
                }
            }
            Body::Activate { key, certificate } => self.on_activate(key, &certificate, context),
            Body::Part { .. }
            | Body::ResharePart { .. }
            | Body::Standing { .. }
            | Body::Active { .. }
            | Body::Failed { .. }
            | Body::Commitments { .. }
            | Body::Share { .. }
            | Body::Refused { .. } => {}
        }
        self.keep_awake(context);
    }

    /// Jobs of the disk are done.
    pub(crate) fn on_synced(&mut self, done: Vec<(Ticket, Answer)>, context: &mut Context<'_>) {
        self.now_ms = self.clock(context);
        for (ticket, answer) in done {
            let Some(then) = self.memory().waiting.remove(&ticket) else {
                continue;
            };
            match then {
                Then::Nothing => {}
                Then::Generate(run, held) => match released(answer, *held) {
                    Ok(effects) => {
                        self.report_part(&run.request, context);
                        self.carry_out(run, effects, context);
                    }
                    Err(why) => self.give_up(run, why, context),
                },
                Then::Reshare(run, held) => match released(answer, *held) {
                    // A higher sharing has become active meanwhile: what was prepared is gone, and nothing is said of it.
                    Ok(effects) if effects.output.is_none() && self.is_over(&run) => {
                        self.give_up(run, "a higher sharing is active".to_owned(), context);
                    }
                    Ok(effects) => self.carry_out(run, effects, context),
                    // What is in memory of the lineage is not on disk: start over from the disk.
                    Err(_) => context.out.push(Out::Die),
                },
                Then::Moved(held) => match released(answer, *held).map(|effects| effects.output) {
                    Ok(Some(key)) => self.take_over(key, context),
                    _ => context.out.push(Out::Die),
                },
                Then::Certified(request, held) => {
                    if let Ok(effects) = released(answer, *held) {
                        self.activate(request, effects.output, context);
                    }
                }
                Then::Release(waiting, held) => {
                    self.on_debited(waiting, released(answer, *held), context);
                }
            }
        }
        self.keep_awake(context);
    }

    /// Some time has passed.
    pub(crate) fn on_pulse(&mut self, context: &mut Context<'_>) {
        self.memory().is_waking = false;
        let now = self.clock(context);
        self.now_ms = now;
        let due = |(name, run): (&RunName, &Run)| {
            let deadline = run.session.deadline_ms().filter(|_| !run.is_writing);
            deadline.is_some_and(|at| at <= now).then_some(*name)
        };
        let due: Vec<RunName> = self.memory().runs.iter().filter_map(due).collect();
        for run in due {
            self.tick(run, context);
        }
        self.repeat(context);
        self.ask_peers(context);
        self.keep_awake(context);
    }

    /// Whether a sharing as high as the one that a run makes is active.
    fn is_over(&mut self, run: &RunName) -> bool {
        let memory = self.memory();
        let place = memory.runs.get(run).and_then(|run| run.place);
        place.is_some_and(|(key, place)| {
            let key = memory.keys.get(&key);
            key.is_some_and(|key| key.lineage.sharing().place() >= place)
        })
    }

    fn memory(&mut self) -> &mut Memory {
        self.memory.as_mut().expect("a running node")
    }

    fn keep_awake(&mut self, context: &mut Context<'_>) {
        let memory = self.memory();
        let is_busy = !memory.runs.is_empty() || memory.is_catching_up();
        if is_busy && !memory.is_waking {
            memory.is_waking = true;
            context.out.push(Out::Wake(PULSE_MS));
        }
    }

    fn submit(
        &mut self,
        changes: Vec<Change>,
        write: Option<mpc_core::session::Write>,
        then: Then,
    ) {
        let ticket = self.disk.submit(changes, write);
        self.memory().waiting.insert(ticket, then);
    }

    fn on_peer(&mut self, from: usize, run: RunName, bytes: Vec<u8>, context: &mut Context<'_>) {
        let inbound = Inbound {
            from: self.cluster.nodes[from],
            bytes: bytes.clone(),
        };
        let memory = self.memory();
        match memory.runs.get_mut(&run) {
            Some(found) => {
                found.inbox.push_back(inbound);
                self.drain(run, context);
            }
            None => {
                memory.early.push_back((from, run, bytes));
                if memory.early.len() > MAX_EARLY {
                    memory.early.pop_front();
                }
            }
        }
    }

    /// Works on what has arrived for a run.
    fn drain(&mut self, name: RunName, context: &mut Context<'_>) {
        let now = self.clock(context);
        loop {
            let Some(run) = self.memory().runs.get_mut(&name) else {
                return;
            };
            if run.is_writing {
                return;
            }
            let due = run.session.deadline_ms().is_some_and(|at| at <= now);
            let inbound = if due { None } else { run.inbox.pop_front() };
            if !due && inbound.is_none() {
                return;
            }
            self.advance(name, inbound, context);
        }
    }

    fn tick(&mut self, name: RunName, context: &mut Context<'_>) {
        self.advance(name, None, context);
        self.drain(name, context);
    }

    /// One step of a run: a message, or the time.
    fn advance(&mut self, name: RunName, inbound: Option<Inbound>, context: &mut Context<'_>) {
        fn step<S: mpc_core::session::Session>(
            session: &mut S,
            inbound: Option<Inbound>,
            now: u64,
        ) -> Result<Step<S::Output>, Error> {
            match inbound {
                Some(inbound) => session.handle(inbound, now),
                None => session.tick(now),
            }
        }
        let now = self.clock(context);
        let Some(run) = self.memory().runs.get_mut(&name) else {
            return;
        };
        match &mut run.session {
            Session::Generate(session) => {
                let result = step(&mut **session, inbound, now);
                self.take(name, result, context);
            }
            Session::Reshare(session) => {
                let result = step(&mut **session, inbound, now);
                self.take(name, result, context);
            }
        }
    }

    /// Opens a run, with what has arrived for it before.
    fn enter(
        &mut self,
        name: RunName,
        session: Session,
        members: Vec<usize>,
        place: Option<(KeyId, (Epoch, Attempt))>,
    ) {
        let cluster = Rc::clone(&self.cluster);
        let memory = self.memory();
        let (mine, rest) = std::mem::take(&mut memory.early)
            .into_iter()
            .partition::<VecDeque<_>, _>(|(_, run, _)| *run == name);
        memory.early = rest;
        let inbox = mine.into_iter().map(|(from, _, bytes)| Inbound {
            from: cluster.nodes[from],
            bytes,
        });
        let run = Run {
            session,
            members,
            place,
            said: Vec::new(),
            silent_pulses: 0,
            is_writing: false,
            inbox: inbox.collect(),
        };
        memory.runs.insert(name, run);
    }

    /// Says again what running sessions have said, as on every new connection to a peer.
    fn repeat(&mut self, context: &mut Context<'_>) {
        let me = self.id;
        for (name, run) in &mut self.memory.as_mut().expect("a running node").runs {
            run.silent_pulses += 1;
            if run.silent_pulses % PULSES_TO_REPEAT != 0 {
                continue;
            }
            for outbound in &run.said {
                post(&self.cluster, me, *name, &run.members, outbound, context);
            }
        }
    }

    /// A run has ended without a result. What it has stored stays.
    fn give_up(&mut self, name: RunName, why: String, context: &mut Context<'_>) {
        self.memory().runs.remove(&name);
        context.tell(Body::Failed { run: name, why });
    }

    fn accuse(&self, error: &Error, members: &[usize], context: &mut Context<'_>) {
        if let Error::Aborted(abort) = error {
            context.out.push(Out::Note(Note::Accused {
                culprits: error.culprits(),
                fault: abort.fault.clone(),
                evidence: abort
                    .evidence
                    .as_ref()
                    .map(mpc_core::evidence::Evidence::encode),
                members: members.to_vec(),
            }));
        }
    }
}

/// Sends one message of a run to whom it is for.
fn post(
    cluster: &Cluster,
    me: NodeId,
    run: RunName,
    members: &[usize],
    outbound: &Outbound,
    context: &mut Context<'_>,
) {
    let receivers: Vec<usize> = match outbound.to {
        Recipient::Everyone => members.to_vec(),
        Recipient::One(node) => cluster.place(&node).into_iter().collect(),
    };
    for to in receivers.into_iter().filter(|to| cluster.nodes[*to] != me) {
        let body = Body::Peer {
            run,
            envelope: outbound.bytes.clone(),
        };
        context.out.push(Out::Send(Address::Node(to), body));
    }
}

/// Opens what has waited for the disk, if the disk took it.
fn released<T>(answer: Answer, held: Held<T>) -> Result<T, String> {
    match answer {
        Answer::Durable(Some(receipt)) => held.release(receipt).map_err(|error| error.to_string()),
        Answer::Durable(None) => Err("no write came along".to_owned()),
        Answer::Conflict => Err("a row of this name is there".to_owned()),
        Answer::Full => Err("the disk is full".to_owned()),
    }
}

impl RunName {
    fn generate(order: &NewKey) -> Self {
        Self {
            kind: RunKind::Generate,
            request: order.request,
            attempt: order.attempt,
        }
    }
}
