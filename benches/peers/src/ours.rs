//! Quorate.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mpc_core::dkg::PairStatus;
use mpc_core::ecdsa::{self, Payload, PoolEntry, SigningRequest};
use mpc_core::hd::DerivationPath;
use mpc_core::id::{NodeId, Purpose};
use mpc_core::testing::{Signers, Simulator, rng};

use crate::life::{Life, Pairs};
use crate::{Cost, Peer, measure};

/// What every node has with its peers.
type Setups = BTreeMap<NodeId, BTreeMap<NodeId, PairStatus>>;

/// Entries that are prepared together: a signature from a pool does not come right after their making.
const POOL: usize = 8;

pub(crate) struct Ours {
    signers: Signers,
    set: BTreeSet<NodeId>,
    threshold: u16,
    parties: u16,
    pairs: Setups,
    pool: Vec<BTreeMap<NodeId, PoolEntry>>,
    life: Option<Life>,
    request: SigningRequest,
    seed: u64,
}

impl Ours {
    pub(crate) fn new(threshold: u16, parties: u16) -> Self {
        let signers = Signers::deal(Purpose::Ecdsa, threshold, parties, 1);
        let set = signers.set(&(1..=threshold).collect::<Vec<_>>());
        let path = DerivationPath::new([44, 60, 0]).expect("a path");
        let request = signers.request(&set, &path, &Payload::Keccak256(b"a message"));
        Self {
            signers,
            set,
            threshold,
            parties,
            pairs: Setups::new(),
            pool: Vec::new(),
            life: None,
            request,
            seed: 0,
        }
    }

    /// A key that was made and not dealt.
    fn life(&mut self) -> &mut Life {
        let make = || Life::new(Purpose::Ecdsa, self.threshold, self.parties);
        self.life.get_or_insert_with(make)
    }

    /// A key generation of all parties; the pair setups they have then, and how many bytes were sent.
    fn generate(&self, pairs: Setups) -> (Setups, usize) {
        let committee = self.signers.committee.clone();
        let mut simulator =
            Simulator::start_paired(committee, Purpose::Ecdsa, self.threshold, 5, pairs);
        let mut bytes = 0;
        simulator.run_with(|_, flight| {
            bytes += flight.bytes.len();
            vec![flight]
        });
        let results = core::mem::take(&mut simulator.results);
        let statuses = results.into_iter().map(|(node, output)| {
            let made = output.expect("a key").pairs.into_iter().map(|pair| {
                let status = PairStatus {
                    last_generation: pair.generation(),
                    live: Some(Arc::new(pair)),
                };
                (status.live.as_ref().expect("just made").peer(), status)
            });
            (node, made.collect())
        });
        (statuses.collect(), bytes)
    }

    /// Fills a pool with one entry at every signer; says how many bytes were sent.
    fn preprocess(&mut self) -> (BTreeMap<NodeId, PoolEntry>, usize) {
        self.seed += 1;
        let mut bytes = 0;
        let results = self
            .signers
            .preprocess_with(&self.set, self.seed, |letter| {
                bytes += letter.bytes.len();
                vec![letter]
            });
        let entries = results.into_iter();
        let entries =
            entries.map(|(node, result)| (node, result.expect("an end").expect("an entry")));
        (entries.collect(), bytes)
    }

    /// Both online rounds of all signers, and what the coordinator does with them; says how many bytes were sent.
    fn sign(&self, entries: BTreeMap<NodeId, PoolEntry>) -> usize {
        let name = entries.values().next().expect("an entry").name();
        let roster = &self.signers.committee.roster;
        let (mut states, mut openings, mut responses) = (Vec::new(), Vec::new(), Vec::new());
        for (node, entry) in entries {
            let opened = self
                .signers
                .open(&node, entry, &self.request, &mut rng(self.seed));
            let (state, opening) = opened.expect("an opening");
            states.push((node, state));
            openings.push(opening);
        }
        for (node, state) in states {
            let identity = self.signers.committee.identity_of(&node);
            responses.push(
                state
                    .respond(roster, identity, &openings)
                    .expect("a response"),
            );
        }
        ecdsa::combine(roster, &self.request, &name, &openings, &responses).expect("a signature");
        let sent = openings
            .iter()
            .chain(&responses)
            .map(Vec::len)
            .sum::<usize>();
        sent * usize::from(self.threshold - 1)
    }
}

impl Peer for Ours {
    fn name(&self) -> &'static str {
        "quorate"
    }

    fn whole(&mut self) -> Option<Cost> {
        Some(measure(self.threshold, || {
            let (entries, bytes) = self.preprocess();
            bytes + self.sign(entries)
        }))
    }

    fn online(&mut self) -> Option<Cost> {
        if self.pool.is_empty() {
            self.pool = (0..POOL).map(|_| self.preprocess().0).collect();
        }
        let entries = self.pool.pop()?;
        Some(measure(self.threshold, || self.sign(entries)))
    }

    fn fresh_dkg(&mut self) -> Option<Cost> {
        Some(measure(self.parties, || self.generate(Setups::new()).1))
    }

    fn reusing_dkg(&mut self) -> Option<Cost> {
        if self.pairs.is_empty() {
            self.pairs = self.generate(Setups::new()).0;
        }
        let live = self.pairs.clone();
        Some(measure(self.parties, || self.generate(live).1))
    }

    fn refresh(&mut self, pairs: Pairs) -> Option<Cost> {
        let (parties, life) = (self.parties, self.life());
        Some(measure(parties, || life.refresh(pairs)))
    }

    fn reshare(&mut self, pairs: Pairs) -> Option<Cost> {
        // Two nodes join.
        let (parties, life) = (self.parties + 2, self.life());
        Some(measure(parties, || life.grow(pairs)))
    }
}
