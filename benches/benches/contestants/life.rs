//! A key of this workspace after it was made: refreshes, and reshares to another committee. Every run starts from the same sharing.

use std::collections::BTreeMap;
use std::sync::Arc;

use mpc_core::dkg::PairStatus;
use mpc_core::id::{Attempt, NodeId, PartyIndex, Purpose, RequestId};
use mpc_core::identity::IdentityKey;
use mpc_core::keys::{KeyShare, PublicKeyPackage};
use mpc_core::reshare::{Proposal, Request, Session, Setup};
use mpc_core::roster::{Member, Roster};
use mpc_core::testing::{Committee, Simulator, Stage, TIMEOUT_MS, rng};

/// What becomes of the pair setups of nodes that stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pairs {
    /// They are used on.
    Kept,
    /// They are made anew.
    Fresh,
}

/// How many nodes may join.
const NEWCOMERS: u16 = 2;

/// A key, the nodes that hold it, and nodes that may join them.
pub(crate) struct Life {
    threshold: u16,
    parties: u16,
    /// Holders first.
    nodes: Vec<(Arc<IdentityKey>, Member)>,
    active: PublicKeyPackage,
    shares: BTreeMap<NodeId, Arc<KeyShare>>,
    pairs: BTreeMap<NodeId, BTreeMap<NodeId, PairStatus>>,
    runs: u64,
}

impl Life {
    /// A key of `parties` nodes, with two more that may join.
    pub(crate) fn new(purpose: Purpose, threshold: u16, parties: u16) -> Self {
        let committee = Committee::new(parties, 6);
        let mut simulator = Simulator::start_with(committee.clone(), purpose, threshold, 6);
        simulator.run();
        let active = simulator.output(1).share.public().clone();
        let (mut shares, mut pairs) = (BTreeMap::new(), BTreeMap::new());
        for (node, output) in core::mem::take(&mut simulator.results) {
            let output = output.expect("a key");
            let live = output.pairs.into_iter().map(|pair| {
                let status = PairStatus {
                    last_generation: pair.generation(),
                    live: Some(Arc::new(pair)),
                };
                (status.live.as_ref().expect("just made").peer(), status)
            });
            pairs.insert(node, live.collect());
            shares.insert(node, Arc::new(output.share));
        }
        let mut nodes = Vec::new();
        for committee in [committee, Committee::new(NEWCOMERS, 7)] {
            for identity in &committee.identities {
                let node = identity.public().node_id();
                let member = *committee.roster.get(&node).expect("a member");
                nodes.push((Arc::clone(identity), member));
            }
        }
        Self {
            threshold,
            parties,
            nodes,
            active,
            shares,
            pairs,
            runs: 0,
        }
    }

    /// New shares for the same nodes; says how many bytes were sent.
    pub(crate) fn refresh(&mut self, pairs: Pairs) -> usize {
        self.reshare(self.threshold, self.parties, pairs)
    }

    /// New shares for two nodes more, one more of which will have to sign; says how many bytes were sent.
    pub(crate) fn grow(&mut self, pairs: Pairs) -> usize {
        self.reshare(self.threshold + 1, self.parties + NEWCOMERS, pairs)
    }

    /// New shares for the first `parties` nodes; says how many bytes were sent. As many old nodes as are needed deal.
    fn reshare(&mut self, threshold: u16, parties: u16, pairs: Pairs) -> usize {
        let request = self.request(threshold, parties, pairs);
        let mut stage = Stage::new(request.participants());
        let (mut source, mut entered, mut bytes) = (rng(self.runs), 0, 0);
        for (identity, _) in &self.nodes {
            let me = identity.public().node_id();
            if !request.is_member(&me) {
                continue;
            }
            let known = self.pairs.get(&me).cloned().unwrap_or_default();
            let setup = Setup {
                request: request.clone(),
                me,
                share: self
                    .shares
                    .get(&me)
                    .cloned()
                    .filter(|_| request.is_dealer(&me)),
                pairs: known,
            };
            let identity = Arc::clone(identity);
            let (session, step) =
                Session::start(setup, identity, &mut source, 0, TIMEOUT_MS).expect("a reshare");
            stage.enter(me, session, step);
            entered += 1;
        }
        stage.run_with(|flight| {
            bytes += flight.bytes.len();
            vec![flight]
        });
        let made = stage.results.values().filter(|result| result.is_ok());
        assert_eq!(made.count(), entered, "everybody has a new share");
        bytes
    }

    fn request(&mut self, threshold: u16, parties: u16, pairs: Pairs) -> Request {
        self.runs += 1;
        let mut request_id = [0; 32];
        request_id[..8].copy_from_slice(&self.runs.to_be_bytes());
        let members = (1..=parties)
            .zip(&self.nodes)
            .map(|(number, (_, member))| Member {
                index: PartyIndex::new(number).expect("an index"),
                ..*member
            });
        let dealers = self.nodes.iter().take(self.threshold.into());
        let proposal = Proposal {
            active: self.active.clone(),
            dealers: dealers.map(|(identity, _)| identity.public()).collect(),
            roster: Roster::new(members.collect::<Vec<_>>()).expect("a roster"),
            threshold,
            attempt: Attempt(0),
            fresh_pairs: pairs == Pairs::Fresh,
            request_id: RequestId::from_bytes(request_id),
        };
        Request::new(proposal).expect("a proposal")
    }
}
