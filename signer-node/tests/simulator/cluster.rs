//! The nodes there are, as every node's `cluster.toml` names them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mpc_core::id::{NodeId, PartyIndex};
use mpc_core::identity::{ExchangeKey, IdentityKey};
use mpc_core::keys::PublicKeyPackage;
use mpc_core::roster::{Member, Roster};

use crate::dice::Dice;

/// All nodes that may ever be members of the key.
pub(crate) struct Cluster {
    pub(crate) identities: Vec<Arc<IdentityKey>>,
    pub(crate) nodes: Vec<NodeId>,
    exchange: [u8; 32],
    rosters: RefCell<BTreeMap<Vec<usize>, Roster>>,
}

impl Cluster {
    /// So many nodes; the first ones are these.
    pub(crate) fn new(first: &[Arc<IdentityKey>], count: usize, dice: &mut Dice) -> Self {
        let mut rng = dice.fork();
        let mut identities = first.to_vec();
        while identities.len() < count {
            identities.push(Arc::new(IdentityKey::generate(&mut rng)));
        }
        Self {
            nodes: identities
                .iter()
                .map(|key| key.public().node_id())
                .collect(),
            identities,
            exchange: ExchangeKey::generate(&mut rng).public(),
            rosters: RefCell::default(),
        }
    }

    /// The number of a node.
    pub(crate) fn place(&self, node: &NodeId) -> Option<usize> {
        self.nodes.iter().position(|other| other == node)
    }

    /// The roster of these nodes; the first has index 1.
    pub(crate) fn roster(&self, members: &[usize]) -> Roster {
        if let Some(roster) = self.rosters.borrow().get(members) {
            return roster.clone();
        }
        let indices = (1_u16..).map(|index| PartyIndex::new(index).unwrap());
        let member = |(index, place): (PartyIndex, &usize)| Member {
            index,
            identity: self.identities[*place].public(),
            exchange: self.exchange,
        };
        let roster = Roster::new(indices.zip(members).map(member)).unwrap();
        self.rosters
            .borrow_mut()
            .insert(members.to_vec(), roster.clone());
        roster
    }

    /// The roster of a key.
    pub(crate) fn roster_of(&self, package: &PublicKeyPackage) -> Roster {
        self.roster(&self.members_of(package))
    }

    /// The members of a key in the order of their indices.
    pub(crate) fn members_of(&self, package: &PublicKeyPackage) -> Vec<usize> {
        let places = package.nodes().values().map(|node| self.place(node));
        places.map(Option::unwrap).collect()
    }

    /// The numbers of these nodes.
    pub(crate) fn places(&self, nodes: impl IntoIterator<Item = NodeId>) -> BTreeSet<usize> {
        nodes
            .into_iter()
            .filter_map(|node| self.place(&node))
            .collect()
    }
}
