//! Nodes with lineages and shares of one key, and reshares among them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mpc_core::dkg::PairStatus;
use mpc_core::envelope::{Envelope, Header};
use mpc_core::group::{Ed25519, Point, Secp256k1};
use mpc_core::id::{Attempt, NodeId, PartyIndex, Purpose, RequestId};
use mpc_core::identity::{ExchangeKey, IdentityKey, IdentityPublic};
use mpc_core::keys::{KeyGroup, KeyShare, PublicKeyPackage};
use mpc_core::lineage::Lineage;
use mpc_core::pair::PairRecord;
use mpc_core::polynomial;
use mpc_core::reshare::{Certificate, Output, Proposal, Request, Session, Setup};
use mpc_core::roster::{Member, Roster};
use mpc_core::testing::{Committee, Simulator, Stage, TIMEOUT_MS, rng};

/// A node.
pub(crate) struct Node {
    pub(crate) identity: Arc<IdentityKey>,
    exchange: [u8; 32],
    pub(crate) share: Option<Arc<KeyShare>>,
    pub(crate) lineage: Option<Lineage>,
    pub(crate) pairs: BTreeMap<NodeId, Arc<PairRecord>>,
}

impl Node {
    pub(crate) fn id(&self) -> NodeId {
        self.identity.public().node_id()
    }
}

/// Nodes by number, from 1; those with a share of the key first.
pub(crate) struct World {
    pub(crate) nodes: BTreeMap<u16, Node>,
    pub(crate) base: PublicKeyPackage,
    seed: u64,
}

impl World {
    /// A key made by `parties` nodes, and nodes up to `all` that have nothing to do with it yet.
    pub(crate) fn new(purpose: Purpose, threshold: u16, parties: u16, all: u16) -> Self {
        let committee = Committee::new(parties, 77);
        let mut simulator = Simulator::start_with(committee.clone(), purpose, threshold, 77);
        simulator.run();
        let base = simulator.output(1).share.public().clone();
        let mut outputs = std::mem::take(&mut simulator.results);
        let mut rng = rng(99);
        let mut nodes = BTreeMap::new();
        for number in 1..=all {
            let (mut share, mut lineage, mut pairs) = (None, None, BTreeMap::new());
            let mut identity = Arc::new(IdentityKey::generate(&mut rng));
            let mut exchange = ExchangeKey::generate(&mut rng).public();
            if number <= parties {
                identity = Arc::clone(committee.identity(number));
                let node = committee.node(number);
                exchange = committee.roster.get(&node).unwrap().exchange;
                let output = outputs.remove(&node).unwrap().unwrap();
                share = Some(Arc::new(output.share));
                lineage = Some(Lineage::new(base.clone(), true));
                let record = |record: PairRecord| (record.peer(), Arc::new(record));
                pairs = output.pairs.into_iter().map(record).collect();
            }
            let node = Node {
                identity,
                exchange,
                share,
                lineage,
                pairs,
            };
            nodes.insert(number, node);
        }
        Self {
            nodes,
            base,
            seed: 1000,
        }
    }

    pub(crate) fn node(&self, number: u16) -> &Node {
        &self.nodes[&number]
    }

    pub(crate) fn id(&self, number: u16) -> NodeId {
        self.node(number).id()
    }

    pub(crate) fn number(&self, id: &NodeId) -> u16 {
        let found = self.nodes.iter().find(|(_, node)| node.id() == *id);
        *found.unwrap().0
    }

    pub(crate) fn identity(&self, number: u16) -> IdentityPublic {
        self.node(number).identity.public()
    }

    /// The committee of these nodes, indices in the order given.
    pub(crate) fn roster(&self, members: &[u16]) -> Roster {
        let member = |(index, number): (u16, &u16)| Member {
            index: PartyIndex::new(index).unwrap(),
            identity: self.identity(*number),
            exchange: self.node(*number).exchange,
        };
        Roster::new((1..).zip(members).map(member).collect::<Vec<_>>()).unwrap()
    }

    /// The active record, as the first holder of it knows it.
    pub(crate) fn active(&self) -> PublicKeyPackage {
        let lineages = self.nodes.values().filter_map(|node| node.lineage.as_ref());
        let highest = lineages.max_by_key(|lineage| lineage.sharing());
        highest.unwrap().active().clone()
    }

    pub(crate) fn request(
        &mut self,
        dealers: &[u16],
        members: &[u16],
        threshold: u16,
        attempt: u32,
    ) -> Request {
        self.seed += 1;
        let mut request_id = [0; 32];
        request_id[..8].copy_from_slice(&self.seed.to_be_bytes());
        Request::new(Proposal {
            active: self.active(),
            dealers: dealers
                .iter()
                .map(|number| self.identity(*number))
                .collect(),
            roster: self.roster(members),
            threshold,
            attempt: Attempt(attempt),
            fresh_pairs: true,
            request_id: RequestId::from_bytes(request_id),
        })
        .unwrap()
    }

    /// Everybody who takes part enters.
    pub(crate) fn start(&mut self, request: &Request) -> Stage<Session> {
        let mut stage = Stage::new(request.participants());
        for id in request.participants() {
            let (session, step) = self.enter(request, &id).unwrap();
            stage.enter(id, session, step);
        }
        stage
    }

    pub(crate) fn enter(
        &mut self,
        request: &Request,
        id: &NodeId,
    ) -> Result<(Session, mpc_core::session::Step<Output>), mpc_core::Error> {
        self.seed += 1;
        let number = self.number(id);
        let node = &self.nodes[&number];
        let status = |(peer, record): (&NodeId, &Arc<PairRecord>)| {
            let status = PairStatus {
                last_generation: record.generation(),
                live: Some(Arc::clone(record)),
            };
            (*peer, status)
        };
        let peers = node
            .pairs
            .iter()
            .filter(|(peer, _)| request.is_member(peer));
        let setup = Setup {
            request: request.clone(),
            me: *id,
            share: node.share.clone().filter(|_| request.is_dealer(id)),
            pairs: peers.map(status).collect(),
        };
        let identity = Arc::clone(&node.identity);
        Session::start(setup, identity, &mut rng(self.seed), 0, TIMEOUT_MS)
    }

    /// A whole reshare: everybody takes over what came out.
    pub(crate) fn reshare(&mut self, dealers: &[u16], members: &[u16], threshold: u16) {
        let request = self.request(dealers, members, threshold, 0);
        let mut stage = self.start(&request);
        stage.run();
        self.take_over(&mut stage);
    }

    /// Outputs become shares, records and lineages; nodes that did not take part learn the certificate.
    pub(crate) fn take_over(&mut self, stage: &mut Stage<Session>) {
        let results = std::mem::take(&mut stage.results);
        let mut certificate = None;
        for (id, result) in results {
            let output = result.unwrap();
            let number = self.number(&id);
            let adopted = self.adopted(&id, &output.certificate);
            let node = self.nodes.get_mut(&number).unwrap();
            let lineage = node.lineage.get_or_insert(adopted);
            let (sharing, holds) = (output.certificate.sharing(), output.share.is_some());
            let request = output.certificate.request().clone();
            lineage.prepare(sharing, &request, &id, holds).unwrap();
            lineage.learn(output.certificate.clone(), &id).unwrap();
            node.share = output.share.map(Arc::new);
            for record in output.pairs {
                node.pairs.insert(record.peer(), Arc::new(record));
            }
            certificate = Some(output.certificate);
        }
        let certificate = certificate.unwrap();
        for node in self.nodes.values_mut() {
            let id = node.id();
            if let Some(lineage) = &mut node.lineage {
                lineage.learn(certificate.clone(), &id).unwrap();
                if !lineage.holds_active() {
                    node.share = None;
                }
            }
        }
    }

    /// What a node knows of the key that has just been told of it: all that came before this certificate.
    fn adopted(&self, id: &NodeId, under_way: &Certificate) -> Lineage {
        let lineages = self.nodes.values().filter_map(|node| node.lineage.as_ref());
        let longest = lineages.max_by_key(|lineage| lineage.sharing()).unwrap();
        let chain = longest.chain().iter().filter(|one| *one != under_way);
        Lineage::adopt(longest.base().clone(), chain.cloned(), id).unwrap()
    }

    /// Every quorum of shares of the active sharing gives the key, and no smaller set does.
    pub(crate) fn assert_whole(&self) {
        let active = self.active();
        assert_eq!(active.public_key(), self.base.public_key());
        assert_eq!(active.chain_code(), self.base.chain_code());
        assert_eq!(active.key_id(), self.base.key_id());
        let shares: Vec<_> = self
            .nodes
            .values()
            .filter_map(|node| node.share.clone())
            .filter(|share| *share.public() == active)
            .collect();
        assert_eq!(shares.len(), usize::from(active.params().parties()));
        for mask in 1_u32..1 << shares.len() {
            let chosen: Vec<_> = (0..)
                .zip(&shares)
                .filter(|(bit, _)| mask >> bit & 1 == 1)
                .map(|(_, share)| Arc::clone(share))
                .collect();
            let enough = chosen.len() >= usize::from(active.params().threshold());
            assert_eq!(gives_key(&chosen), enough, "{} shares", chosen.len());
        }
    }
}

/// Whether these shares, taken together, are the key.
pub(crate) fn gives_key(shares: &[Arc<KeyShare>]) -> bool {
    fn on<G: KeyGroup>(shares: &[Arc<KeyShare>]) -> Option<bool> {
        let indices: BTreeSet<PartyIndex> = shares.iter().map(|share| share.index()).collect();
        let weights = polynomial::lagrange_at_zero::<G>(&indices).unwrap();
        let mut sum = Point::<G>::identity();
        for share in shares {
            let (_, secret) = share.view::<G>()?;
            sum = sum + Point::mul_base(&(weights[&share.index()] * *secret.expose_secret()));
        }
        Some(sum == shares[0].view::<G>()?.0.group_key)
    }
    on::<Ed25519>(shares)
        .or_else(|| on::<Secp256k1>(shares))
        .unwrap()
}

/// Signs a changed body under the header of `bytes`.
pub(crate) fn reseal(
    world: &World,
    bytes: &[u8],
    change: impl FnOnce(&mut Header, &mut Vec<u8>),
) -> Vec<u8> {
    let all: Vec<u16> = world.nodes.keys().copied().collect();
    let envelope = Envelope::open(&world.roster(&all), bytes).unwrap();
    let (mut header, mut body) = (*envelope.header(), envelope.body().to_vec());
    let identity = Arc::clone(&world.node(world.number(&header.from)).identity);
    change(&mut header, &mut body);
    Envelope::seal(&identity, &header, &body)
}
