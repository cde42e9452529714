//! Signers of threshold ECDSA in one process: keys and pair setups are dealt, messages go from hand to hand.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use rand_core::{CryptoRng, Rng};

use super::{Committee, rng};
use crate::Error;
use crate::ecdsa::preprocess::{Preprocessing, Setup};
use crate::ecdsa::{self, EcdsaSignature, Opened, Payload, PoolEntry, SigningRequest};
use crate::group::Secp256k1;
use crate::hd::DerivationPath;
use crate::id::{Attempt, Epoch, KeyId, NodeId, PartyIndex, PoolId, Purpose, RequestId, SharingId};
use crate::keys::{KeyFacts, KeyShare, PublicKeyPackage, PublicPoints};
use crate::pair::PairRecord;
use crate::polynomial::SecretPolynomial;
use crate::session::{Effects, Inbound, Outbound, Ready, Recipient, Session, Step};

/// A message on its way: sender, receiver, bytes.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Who sent it.
    pub from: NodeId,
    /// Who gets it.
    pub to: NodeId,
    /// The envelope.
    pub bytes: Vec<u8>,
}

/// A committee with a dealt ECDSA key and dealt pair setups.
#[derive(Debug)]
pub struct Signers {
    /// The nodes.
    pub committee: Committee,
    /// The public key.
    pub public: PublicKeyPackage,
    shares: BTreeMap<PartyIndex, KeyShare>,
    pairs: BTreeMap<(NodeId, NodeId), Arc<PairRecord>>,
}

impl Signers {
    /// A random key of this purpose, `threshold` of `parties`, and a setup for every pair.
    #[must_use]
    pub fn deal(purpose: Purpose, threshold: u16, parties: u16, seed: u64) -> Self {
        let mut source = rng(seed);
        let committee = Committee::new(parties, seed);
        let polynomial = SecretPolynomial::<Secp256k1>::random(threshold, &mut source);
        let index = |number| PartyIndex::new(number).expect("small");
        let secrets: BTreeMap<PartyIndex, _> = (1..=parties)
            .map(|number| (index(number), polynomial.evaluate(index(number))))
            .collect();
        let points = PublicPoints {
            group_key: polynomial.commit().constant(),
            verifying_shares: secrets
                .iter()
                .map(|(index, secret)| (*index, secret.mul_base()))
                .collect(),
        };
        let mut name = [0; 32];
        source.fill_bytes(&mut name);
        let facts = KeyFacts {
            key_id: KeyId::from_bytes(name),
            sharing: SharingId::from_bytes([0x5A; 32]),
            purpose,
            epoch: Epoch(0),
            attempt: Attempt(0),
            threshold,
            chain_code: [7; 32],
        };
        let nodes = committee.roster.by_index().collect();
        let public = PublicKeyPackage::new(facts, nodes, points).expect("a consistent key");
        let shares = secrets
            .into_iter()
            .map(|(index, secret)| {
                let share = KeyShare::new(public.clone(), index, secret).expect("its share");
                (index, share)
            })
            .collect();
        let nodes: Vec<NodeId> = committee.roster.nodes().collect();
        let mut pairs = BTreeMap::new();
        for (at, one) in nodes.iter().enumerate() {
            for other in nodes.iter().skip(at).skip(1) {
                let [first, second] = PairRecord::deal([*one, *other], 1, &mut source);
                pairs.insert((*one, *other), Arc::new(first));
                pairs.insert((*other, *one), Arc::new(second));
            }
        }
        Self {
            committee,
            public,
            shares,
            pairs,
        }
    }

    /// The share of a node.
    #[must_use]
    pub fn share(&self, node: &NodeId) -> &KeyShare {
        let index = self.committee.roster.index(node).expect("a member");
        self.shares.get(&index).expect("a member")
    }

    /// The setup that `node` has with `peer`.
    #[must_use]
    pub fn pair(&self, node: &NodeId, peer: &NodeId) -> &Arc<PairRecord> {
        self.pairs.get(&(*node, *peer)).expect("two members")
    }

    /// The names of the nodes with these indices.
    #[must_use]
    pub fn set(&self, indices: &[u16]) -> BTreeSet<NodeId> {
        indices
            .iter()
            .map(|index| self.committee.node(*index))
            .collect()
    }

    /// What a node starts preprocessing with.
    #[must_use]
    pub fn setup(&self, signers: &BTreeSet<NodeId>, me: NodeId, pool_id: PoolId) -> Setup {
        let pairs = signers
            .iter()
            .filter(|node| **node != me)
            .map(|peer| (*peer, Arc::clone(self.pair(&me, peer))))
            .collect();
        Setup {
            roster: self.committee.roster.clone(),
            me,
            signers: signers.clone(),
            pool_id,
            pairs,
        }
    }

    /// Runs preprocessing; `meddle` may change, drop or add letters. Gives what every signer ended with: an entry, an error, or
    /// nothing.
    pub fn preprocess_with(
        &self,
        signers: &BTreeSet<NodeId>,
        seed: u64,
        mut meddle: impl FnMut(Letter) -> Vec<Letter>,
    ) -> BTreeMap<NodeId, Option<Result<PoolEntry, Error>>> {
        let mut pool_id = [0; 32];
        rng(seed).fill_bytes(&mut pool_id);
        let mut runs = BTreeMap::new();
        let mut results = BTreeMap::new();
        let mut letters = VecDeque::new();
        for (number, node) in (0..).zip(signers) {
            let setup = self.setup(signers, *node, PoolId::from_bytes(pool_id));
            let identity = Arc::clone(self.committee.identity_of(node));
            let mut source = rng(seed.wrapping_mul(1000).wrapping_add(number));
            let (run, step) =
                Preprocessing::start(setup, identity, &mut source, 0, 1000).expect("a setup");
            letters.extend(post(*node, carry_out(step).send));
            runs.insert(*node, run);
            results.insert(*node, None);
        }
        while let Some(letter) = letters.pop_front() {
            for Letter { from, to, bytes } in meddle(letter) {
                let Some(run) = runs.get_mut(&to) else {
                    continue;
                };
                match run.handle(Inbound { from, bytes }, 1) {
                    Ok(step) => {
                        let effects = carry_out(step);
                        letters.extend(post(to, effects.send));
                        if let Some(entry) = effects.output {
                            results.insert(to, Some(Ok(entry)));
                        }
                    }
                    Err(Error::Rejected(_)) => {}
                    Err(error) => {
                        results.entry(to).and_modify(|result| {
                            result.get_or_insert(Err(error));
                        });
                    }
                }
            }
        }
        results
    }

    /// Runs preprocessing among honest signers.
    #[must_use]
    pub fn preprocess(&self, signers: &BTreeSet<NodeId>, seed: u64) -> BTreeMap<NodeId, PoolEntry> {
        self.preprocess_with(signers, seed, |letter| vec![letter])
            .into_iter()
            .map(|(node, result)| (node, result.expect("an end").expect("an entry")))
            .collect()
    }

    /// The request that every signer computes.
    #[must_use]
    pub fn request(
        &self,
        signers: &BTreeSet<NodeId>,
        path: &DerivationPath,
        payload: &Payload<'_>,
    ) -> SigningRequest {
        let request_id = RequestId::from_bytes([3; 32]);
        SigningRequest::new(&self.public, signers, path, payload, request_id).expect("a request")
    }

    /// Opens an entry for a request: the state, and the message.
    ///
    /// # Errors
    /// Those of [`ecdsa::open`].
    pub fn open(
        &self,
        node: &NodeId,
        entry: PoolEntry,
        request: &SigningRequest,
        rng: &mut impl CryptoRng,
    ) -> Result<(Opened, Vec<u8>), Error> {
        let identity = self.committee.identity_of(node);
        let (write, held) = ecdsa::open(entry, self.share(node), request.clone(), identity, rng)?;
        held.release(write.stored())
    }

    #[expect(clippy::result_large_err, reason = "a test looks at every part of it")]
    /// Signs with entries of honest signers; `openings` and `responses` may change what is handed round.
    ///
    /// # Errors
    /// What the first signer that noticed says, or the one who combines.
    pub fn sign_with(
        &self,
        entries: BTreeMap<NodeId, PoolEntry>,
        request: &SigningRequest,
        mut openings: impl FnMut(&NodeId, Vec<Vec<u8>>) -> Vec<Vec<u8>>,
        responses: impl FnOnce(Vec<Vec<u8>>) -> Vec<Vec<u8>>,
    ) -> Result<EcdsaSignature, (Option<NodeId>, Error)> {
        let name = entries.values().next().expect("an entry").name();
        let mut states = BTreeMap::new();
        let mut first = Vec::new();
        for (number, (node, entry)) in (0_u64..).zip(entries) {
            let mut source = rng(number ^ 0xF00D);
            let opened = self.open(&node, entry, request, &mut source);
            let (state, message) = opened.map_err(|error| (Some(node), error))?;
            states.insert(node, state);
            first.push(message);
        }
        let mut second = Vec::new();
        for (node, state) in states {
            let shown = openings(&node, first.clone());
            let identity = self.committee.identity_of(&node);
            let message = state
                .respond(&self.committee.roster, identity, &shown)
                .map_err(|error| (Some(node), error))?;
            second.push(message);
        }
        let second = responses(second);
        ecdsa::combine(&self.committee.roster, request, &name, &first, &second)
            .map_err(|error| (None, error))
    }

    /// Signs among honest signers.
    #[must_use]
    pub fn sign(
        &self,
        entries: BTreeMap<NodeId, PoolEntry>,
        request: &SigningRequest,
    ) -> EcdsaSignature {
        self.sign_with(
            entries,
            request,
            |_, openings| openings,
            |responses| responses,
        )
        .expect("honest signers sign")
    }
}

fn carry_out<O>(step: Step<O>) -> Effects<O> {
    match step.split() {
        Ready::Now(effects) => effects,
        Ready::AfterWrite(write, held) => held.release(write.stored()).expect("its own receipt"),
    }
}

fn post(from: NodeId, sent: Vec<Outbound>) -> impl Iterator<Item = Letter> {
    sent.into_iter().map(move |outbound| {
        let to = match outbound.to {
            Recipient::One(to) => Some(to),
            Recipient::Everyone => None,
        };
        let to = to.expect("preprocessing addresses every message");
        Letter {
            from,
            to,
            bytes: outbound.bytes,
        }
    })
}
