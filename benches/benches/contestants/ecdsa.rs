//! This workspace's threshold ECDSA, step by step. `preprocessing`, `open`, `respond` and `combine` are the work of one party, and
//! `whole` is all of it: preprocessing, both online rounds and the verification of the result, divided by the number of signers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use benches::{Contestant, timed};
use mpc_core::ecdsa::{self, Fused, Opened, Payload, PoolEntry, SigningRequest};
use mpc_core::hd::DerivationPath;
use mpc_core::id::{NodeId, PoolId, Purpose, RequestId, SessionId};
use mpc_core::keys::KeyShare;
use mpc_core::session::{Effects, Inbound, Ready, Recipient, Session, Step};
use mpc_core::testing::{Signers, rng};
use rand_core::Rng;

use crate::life::{Life, Pairs};

/// What is signed.
const MESSAGE: &[u8] = b"Thirty-two bytes, as a digest is";

/// Threshold and parties.
const SIZES: [(u16, u16); 4] = [(2, 3), (3, 5), (5, 9), (10, 20)];

/// Entries that are prepared together: a signature from a pool does not come right after their making.
const POOL: usize = 8;

type Part = fn(&mut Bench) -> Duration;

const STEPS: [(&str, Part); 7] = [
    ("preprocessing", Bench::preprocessing),
    ("request", Bench::requesting),
    ("open", Bench::opening),
    ("respond", Bench::responding),
    ("combine", Bench::combining),
    ("online", Bench::online),
    ("whole", Bench::whole),
];

struct Bench {
    signers: Signers,
    set: BTreeSet<NodeId>,
    seed: u64,
    pool: Vec<(BTreeMap<NodeId, PoolEntry>, SessionId)>,
    /// Bytes that one party sends for one signature, envelopes included.
    sent: usize,
}

impl Bench {
    fn new(threshold: u16, parties: u16) -> Self {
        let signers = Signers::deal(Purpose::Ecdsa, threshold, parties, 1);
        let indices: Vec<u16> = (1..=threshold).collect();
        let mut bench = Self {
            set: signers.set(&indices),
            signers,
            seed: 0,
            pool: Vec::new(),
            sent: 0,
        };
        bench.count();
        bench
    }

    fn parts(&self) -> u32 {
        u32::try_from(self.set.len()).expect("few signers")
    }

    fn next(&mut self) -> u64 {
        self.seed += 1;
        self.seed
    }

    fn count(&mut self) {
        let seed = self.next();
        let mut sent = 0;
        let entries = self.signers.preprocess_with(&self.set, seed, |letter| {
            sent += letter.bytes.len();
            vec![letter]
        });
        let entries = entries
            .into_iter()
            .map(|(node, entry)| (node, entry.expect("an end").expect("an entry")))
            .collect();
        let request = self.request();
        let (states, openings) = self.open(entries, &request);
        let responses = self.respond(states, &openings);
        let online = openings.iter().chain(&responses).map(Vec::len);
        self.sent = (sent + online.sum::<usize>()) / self.set.len();
    }

    fn request(&self) -> SigningRequest {
        SigningRequest::new(
            &self.signers.public,
            &self.set,
            &DerivationPath::default(),
            &Payload::Sha256(MESSAGE),
            RequestId::from_bytes([3; 32]),
        )
        .expect("a request")
    }

    fn open(
        &mut self,
        entries: BTreeMap<NodeId, PoolEntry>,
        request: &SigningRequest,
    ) -> (Vec<(NodeId, Opened)>, Vec<Vec<u8>>) {
        let mut source = rng(self.next());
        let open = |(node, entry)| {
            let opened = self.signers.open(&node, entry, request, &mut source);
            let (state, message) = opened.expect("an opening");
            ((node, state), message)
        };
        entries.into_iter().map(open).unzip()
    }

    fn respond(&self, states: Vec<(NodeId, Opened)>, openings: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let roster = &self.signers.committee.roster;
        let respond = |(node, state): (NodeId, Opened)| {
            let identity = self.signers.committee.identity_of(&node);
            state
                .respond(roster, identity, openings)
                .expect("a response")
        };
        states.into_iter().map(respond).collect()
    }

    fn combine(&self, request: &SigningRequest, name: &SessionId, both: [&[Vec<u8>]; 2]) {
        let [openings, responses] = both;
        let roster = &self.signers.committee.roster;
        ecdsa::combine(roster, request, name, openings, responses).expect("a signature");
    }

    fn entries(&mut self) -> (BTreeMap<NodeId, PoolEntry>, SessionId) {
        let seed = self.next();
        let entries = self.signers.preprocess(&self.set, seed);
        let name = entries.values().next().expect("an entry").name();
        (entries, name)
    }

    fn preprocessing(&mut self) -> Duration {
        let seed = self.next();
        timed(|| self.signers.preprocess(&self.set, seed)).1 / self.parts()
    }

    fn requesting(&mut self) -> Duration {
        timed(|| self.request()).1
    }

    fn opening(&mut self) -> Duration {
        let ((entries, _), request) = (self.entries(), self.request());
        timed(|| self.open(entries, &request)).1 / self.parts()
    }

    fn responding(&mut self) -> Duration {
        let ((entries, _), request) = (self.entries(), self.request());
        let (states, openings) = self.open(entries, &request);
        timed(|| self.respond(states, &openings)).1 / self.parts()
    }

    fn combining(&mut self) -> Duration {
        let ((entries, name), request) = (self.entries(), self.request());
        let (states, openings) = self.open(entries, &request);
        let responses = self.respond(states, &openings);
        timed(|| self.combine(&request, &name, [&openings, &responses])).1
    }

    /// From the request to the verified signature at every party, with an entry from the pool.
    fn finish(&mut self, entries: BTreeMap<NodeId, PoolEntry>, name: &SessionId) {
        let request = self.request();
        let (states, openings) = self.open(entries, &request);
        let responses = self.respond(states, &openings);
        for _ in 0..self.parts() {
            self.combine(&request, name, [&openings, &responses]);
        }
    }

    fn online(&mut self) -> Duration {
        if self.pool.is_empty() {
            self.pool = (0..POOL).map(|_| self.entries()).collect();
        }
        let (entries, name) = self.pool.pop().expect("just filled");
        timed(|| self.finish(entries, &name)).1 / self.parts()
    }

    fn whole(&mut self) -> Duration {
        let whole = || {
            let (entries, name) = self.entries();
            self.finish(entries, &name);
        };
        timed(whole).1 / self.set.len().try_into().expect("few signers")
    }
}

/// A whole signature of two signers in three messages: the work of one of them, bytes sent.
fn fused(signers: &Signers, set: &BTreeSet<NodeId>, seed: u64) -> (Duration, usize) {
    let mut pool_id = [0; 32];
    rng(seed).fill_bytes(&mut pool_id);
    let pool_id = PoolId::from_bytes(pool_id);
    let share = |node: &NodeId| {
        let bytes = signers.share(node).dangerous_to_bytes();
        (
            *node,
            Arc::new(KeyShare::dangerous_from_bytes(&bytes).expect("a share")),
        )
    };
    let shares: BTreeMap<NodeId, Arc<KeyShare>> = set.iter().map(share).collect();
    let mut sent = 0;
    let run = || {
        let mut letters = VecDeque::new();
        let mut runs = BTreeMap::new();
        let mut done = 0;
        for (number, node) in (0..).zip(set) {
            let request =
                signers.request(set, &DerivationPath::default(), &Payload::Sha256(MESSAGE));
            let start = Fused::start(
                signers.setup(set, *node, pool_id),
                request,
                Arc::clone(shares.get(node).expect("a signer")),
                Arc::clone(signers.committee.identity_of(node)),
                &mut rng(seed.wrapping_mul(2).wrapping_add(number)),
                0,
                1000,
            );
            let (session, step) = start.expect("a run");
            runs.insert(*node, session);
            let effects = carry_out(step);
            letters.extend(effects.send.into_iter().map(|letter| (*node, letter)));
        }
        while let Some((from, letter)) = letters.pop_front() {
            let Recipient::One(to) = letter.to else {
                continue;
            };
            sent += letter.bytes.len();
            let session = runs.get_mut(&to).expect("a signer");
            let bytes = letter.bytes;
            let effects = carry_out(session.handle(Inbound { from, bytes }, 1).expect("a step"));
            letters.extend(effects.send.into_iter().map(|letter| (to, letter)));
            done += usize::from(effects.output.is_some());
        }
        assert_eq!(done, 2, "both have the signature");
    };
    let (_, time) = timed(run);
    (time / 2, sent / 2)
}

fn carry_out<O>(step: Step<O>) -> Effects<O> {
    match step.split() {
        Ready::Now(effects) => effects,
        Ready::AfterWrite(write, held) => held.release(write.stored()).expect("its own receipt"),
    }
}

/// Calls `measure` for every row.
pub(crate) fn for_each_row(mut measure: impl FnMut(String, Vec<Contestant<'_>>)) {
    for (threshold, parties) in SIZES {
        let mut bench = Bench::new(threshold, parties);
        let sent = bench.sent;
        for (step, run) in STEPS {
            let name = match step {
                "whole" => format!("ecdsa {threshold} of {parties}: whole ({sent} bytes sent)"),
                _ => format!("ecdsa {threshold} of {parties}: {step}"),
            };
            measure(name, vec![("quorate", Box::new(|| run(&mut bench)))]);
        }
        if threshold == 2 {
            let (_, sent) = fused(&bench.signers, &bench.set, 1);
            let name = format!("ecdsa {threshold} of {parties}: fused ({sent} bytes sent)");
            let mut seed = 0;
            let run = || {
                seed += 1;
                fused(&bench.signers, &bench.set, seed).0
            };
            measure(name, vec![("quorate", Box::new(run))]);
            for_each_stage(threshold, parties, &mut measure);
        }
    }
}

/// What happens to a key later, the work of one party: new shares for the same parties; for two more, with a threshold one higher.
fn for_each_stage(
    threshold: u16,
    parties: u16,
    mut measure: impl FnMut(String, Vec<Contestant<'_>>),
) {
    let mut life = Life::new(Purpose::Ecdsa, threshold, parties);
    for (kind, pairs) in [("kept", Pairs::Kept), ("fresh", Pairs::Fresh)] {
        let name = format!("ecdsa {threshold} of {parties}: refresh, {kind} pairs");
        let run = || timed(|| life.refresh(pairs)).1 / parties.into();
        measure(name, vec![("quorate", Box::new(run))]);
        let (higher, more) = (threshold + 1, parties + 2);
        let name =
            format!("ecdsa {threshold} of {parties}: reshare to {higher} of {more}, {kind} pairs");
        let run = || timed(|| life.grow(pairs)).1 / more.into();
        measure(name, vec![("quorate", Box::new(run))]);
    }
}
