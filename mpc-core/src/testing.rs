//! A deterministic cluster in one thread, for tests and fuzz targets. Never for production: every seed is known.
//!
//! [`Simulator`] runs one key generation over a network that a test controls message by message.
#![expect(
    clippy::missing_panics_doc,
    reason = "a test helper fails its test by panicking"
)]
#![expect(
    clippy::expect_used,
    reason = "a test helper fails its test by panicking"
)]

mod signers;
mod stage;

use core::convert::Infallible;
use core::ops::{Deref, DerefMut};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, SeedableRng, TryCryptoRng, TryRng};

pub use signers::{Letter, Signers};
pub use stage::{Flight, Stage, Stored};

use crate::Error;
use crate::dkg::{self, DkgOutput, PairStatus, Setup};
use crate::envelope::{Envelope, Header};
use crate::id::{Attempt, NodeId, Params, PartyIndex, Purpose, RequestId};
use crate::identity::{ExchangeKey, IdentityKey};
use crate::pair::{COLUMNS, ReceiverSeeds, SEED_BYTES, SenderSeeds};
use crate::roster::{Member, Roster};

/// How long a round may take in a simulation.
pub const TIMEOUT_MS: u64 = 1000;

/// A generator with a seed that is a number.
#[must_use]
pub fn rng(seed: u64) -> ChaCha20Rng {
    let mut bytes = [0; 32];
    bytes
        .iter_mut()
        .zip(seed.to_be_bytes())
        .for_each(|(slot, byte)| *slot = byte);
    ChaCha20Rng::from_seed(bytes)
}

/// A generator that yields given bytes, for known answers: it feeds a protocol the choices of another implementation.
///
/// A scalar of secp256k1 is drawn as its 32 bytes. Panics when the bytes run out.
#[derive(Debug, Default)]
pub struct Script(VecDeque<u8>);

impl Script {
    /// Appends bytes.
    #[must_use]
    pub fn then(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    /// How many bytes are left.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.0.len()
    }

    fn next<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        let Ok(()) = self.try_fill_bytes(&mut bytes);
        bytes
    }
}

impl TryRng for Script {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(self.next()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(self.next()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for byte in bytes {
            *byte = self.0.pop_front().expect("the script is long enough");
        }
        Ok(())
    }
}

impl TryCryptoRng for Script {}

/// The seeds of one direction between two nodes, as if a trusted dealer had run the base transfers.
#[must_use]
pub fn deal_seeds(rng: &mut impl CryptoRng) -> (ReceiverSeeds, SenderSeeds) {
    let mut both = Box::new([[[0; SEED_BYTES]; 2]; COLUMNS]);
    both.iter_mut()
        .flatten()
        .for_each(|seed| rng.fill_bytes(seed));
    let mut delta = [0; COLUMNS / 8];
    rng.fill_bytes(&mut delta);
    let mut chosen = Box::new([[0; SEED_BYTES]; COLUMNS]);
    for (number, (chosen, [zero, one])) in chosen.iter_mut().zip(both.iter()).enumerate() {
        let bit = (u128::from_le_bytes(delta) >> number) & 1;
        *chosen = if bit == 1 { *one } else { *zero };
    }
    (ReceiverSeeds::new(both), SenderSeeds::new(delta, chosen))
}

/// `len` bytes that depend on a number.
#[must_use]
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    rand_core::Rng::fill_bytes(&mut rng(seed), &mut bytes);
    bytes
}

/// A committee with all its keys.
#[derive(Clone, Debug)]
pub struct Committee {
    /// The identity keys, by index.
    pub identities: Vec<Arc<IdentityKey>>,
    /// The roster.
    pub roster: Roster,
}

impl Committee {
    /// `parties` nodes with keys drawn from `seed`.
    #[must_use]
    pub fn new(parties: u16, seed: u64) -> Self {
        let mut rng = rng(seed);
        let identities: Vec<_> = (0..parties)
            .map(|_| Arc::new(IdentityKey::generate(&mut rng)))
            .collect();
        let member = |(index, identity): (u16, &Arc<IdentityKey>)| Member {
            index: PartyIndex::new(index).expect("an index in range"),
            identity: identity.public(),
            exchange: ExchangeKey::generate(&mut rng).public(),
        };
        let members: Vec<_> = (1..).zip(&identities).map(member).collect();
        Self {
            roster: Roster::new(members).expect("a valid roster"),
            identities,
        }
    }

    /// The node with this index.
    #[must_use]
    pub fn node(&self, index: u16) -> NodeId {
        self.identity(index).public().node_id()
    }

    /// The identity key of the node with this index.
    #[must_use]
    pub fn identity(&self, index: u16) -> &Arc<IdentityKey> {
        self.identities
            .get(usize::from(index).wrapping_sub(1))
            .expect("an index of the committee")
    }

    /// The identity key of a node.
    #[must_use]
    pub fn identity_of(&self, node: &NodeId) -> &Arc<IdentityKey> {
        self.identity(self.roster.index(node).expect("a member").get())
    }

    /// Signs a changed body under the header of `bytes`.
    #[must_use]
    pub fn reseal(&self, bytes: &[u8], change: impl FnOnce(&mut Header, &mut Vec<u8>)) -> Vec<u8> {
        let envelope = Envelope::open(&self.roster, bytes).expect("a valid envelope");
        let (mut header, mut body) = (*envelope.header(), envelope.body().to_vec());
        change(&mut header, &mut body);
        Envelope::seal(self.identity_of(&header.from), &header, &body)
    }
}

/// A key generation of a whole committee.
#[derive(Debug)]
pub struct Simulator {
    /// The parties.
    pub committee: Committee,
    stage: Stage<dkg::Session>,
}

impl Deref for Simulator {
    type Target = Stage<dkg::Session>;

    fn deref(&self) -> &Self::Target {
        &self.stage
    }
}

impl DerefMut for Simulator {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.stage
    }
}

impl Simulator {
    /// Starts a key generation at every node.
    #[must_use]
    pub fn start(purpose: Purpose, threshold: u16, parties: u16, seed: u64) -> Self {
        Self::start_with(Committee::new(parties, seed), purpose, threshold, seed)
    }

    /// Starts a key generation of an existing committee; `seed` also makes the request.
    #[must_use]
    pub fn start_with(committee: Committee, purpose: Purpose, threshold: u16, seed: u64) -> Self {
        Self::start_paired(committee, purpose, threshold, seed, BTreeMap::new())
    }

    /// As [`Self::start_with`], for nodes that have pair setups with each other: by node, what it has with its peers.
    #[must_use]
    pub fn start_paired(
        committee: Committee,
        purpose: Purpose,
        threshold: u16,
        seed: u64,
        mut pairs: BTreeMap<NodeId, BTreeMap<NodeId, PairStatus>>,
    ) -> Self {
        let parties = u16::try_from(committee.roster.len()).expect("a small committee");
        let params = Params::new(threshold, parties).expect("valid parameters");
        let stage = Stage::new(committee.roster.nodes());
        let mut simulator = Self { committee, stage };
        // Another stream than the committee's, whose identity seeds would be drawn again otherwise.
        let mut rng = rng(!seed);
        let mut request = [0; 32];
        rand_core::Rng::fill_bytes(&mut rng, &mut request);
        for index in 1..=parties {
            let setup = Setup {
                roster: simulator.committee.roster.clone(),
                me: simulator.committee.node(index),
                purpose,
                params,
                request_id: RequestId::from_bytes(request),
                attempt: Attempt(0),
                pairs: pairs
                    .remove(&simulator.committee.node(index))
                    .unwrap_or_default(),
            };
            let (me, identity) = (setup.me, Arc::clone(simulator.committee.identity(index)));
            let (session, step) = dkg::Session::start(setup, identity, &mut rng, 0, TIMEOUT_MS)
                .expect("a valid setup");
            simulator.stage.enter(me, session, step);
        }
        simulator
    }

    /// Delivers everything in order, passing each message through `adversary` first, until nothing is under way.
    pub fn run_with(&mut self, mut adversary: impl FnMut(&Committee, Flight) -> Vec<Flight>) {
        let Self { committee, stage } = self;
        stage.run_with(|flight| adversary(committee, flight));
    }

    /// The output of a node that finished.
    #[must_use]
    pub fn output(&self, index: u16) -> &DkgOutput {
        let result = self
            .results
            .get(&self.committee.node(index))
            .expect("the session has ended");
        result.as_ref().expect("the session has an output")
    }

    /// The error of a node that failed.
    #[must_use]
    pub fn error(&self, index: u16) -> &Error {
        let result = self
            .results
            .get(&self.committee.node(index))
            .expect("the session has ended");
        result.as_ref().expect_err("the session has failed")
    }
}
