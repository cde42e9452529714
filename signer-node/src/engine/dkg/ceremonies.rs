//! The ceremonies of this node that are not finished: sessions in memory, and shares that wait for their certificate.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mpc_core::id::NodeId;
use mpc_core::session::{Inbound, Outbound};
use proto::v1::KeyState;
use tokio::sync::mpsc;

use super::{Order, Uncertified};
use crate::config::Limits;
use crate::engine::sharings::Place;

/// Messages of one peer for key generations that have not started here yet: this many in all.
const MAX_EARLY: usize = 256;
/// And this many bytes in all.
const MAX_EARLY_BYTES: usize = 1 << 20;

/// What a session is, to those that carry its messages.
pub(in crate::engine) struct Slot {
    /// Request id of a key generation, digest of a reshare's request.
    pub(in crate::engine) request: [u8; 32],
    pub(in crate::engine) attempt: u32,
    /// The name of the key; empty for a reshare.
    pub(in crate::engine) name: String,
    /// The key and the place of a reshare.
    pub(in crate::engine) reshare: Option<([u8; 32], Place)>,
    /// Whether it makes pair setups.
    pub(in crate::engine) pairs: bool,
    /// Who takes part, this node or not.
    pub(in crate::engine) peers: BTreeSet<NodeId>,
    /// The dealer of an import. It is no node: its messages come and go through the coordinator.
    pub(in crate::engine) dealer: Option<NodeId>,
}

/// A session under way.
pub(super) struct Running {
    pub(super) slot: Slot,
    pub(super) inbox: mpsc::Sender<Inbound>,
    /// Everything said so far, to be said again when a tunnel had to be replaced.
    pub(super) said: Vec<Outbound>,
}

pub(in crate::engine) struct Early {
    pub(super) from: NodeId,
    pub(in crate::engine) request: [u8; 32],
    pub(in crate::engine) attempt: u32,
    pub(in crate::engine) envelope: Vec<u8>,
}

/// All key generations that are not finished.
#[derive(Default)]
pub(crate) struct Ceremonies {
    pub(super) running: BTreeMap<[u8; 32], Running>,
    pub(super) uncertified: BTreeMap<[u8; 32], Uncertified>,
    early: BTreeMap<NodeId, VecDeque<Early>>,
    /// Requests whose key a dealer brought.
    imported: BTreeSet<[u8; 32]>,
}

impl Ceremonies {
    pub(in crate::engine) fn restore(&mut self, uncertified: Uncertified) {
        self.uncertified
            .insert(uncertified.order.request, uncertified);
    }

    /// Forgets a share that waited for its certificate; what its order said of where the key comes from is kept.
    pub(in crate::engine) fn certified(&mut self, order: &Order) {
        self.uncertified.remove(&order.request);
        if order.imported {
            self.imported.insert(order.request);
        }
    }

    /// Whether the key of this request was brought by a dealer, who may still know it.
    pub(in crate::engine) fn is_imported(&self, request: &[u8; 32]) -> bool {
        self.imported.contains(request)
    }

    pub(in crate::engine) fn is_running(&self, request: &[u8; 32]) -> bool {
        self.running.contains_key(request)
    }

    /// The reshares of a key that are under way.
    pub(in crate::engine) fn reshares_of(&self, key: &[u8; 32]) -> Vec<Place> {
        let reshares = self.running.values().filter_map(|one| one.slot.reshare);
        reshares
            .filter(|(other, _)| other == key)
            .map(|(_, place)| place)
            .collect()
    }

    pub(in crate::engine) fn stop_reshare(&mut self, key: &[u8; 32], place: Place) {
        self.running
            .retain(|_, one| one.slot.reshare != Some((*key, place)));
    }

    /// Whether a session is running that makes setups between nodes.
    pub(super) fn makes_pairs(&self) -> bool {
        self.running.values().any(|one| one.slot.pairs)
    }

    /// Whether as many key generations, or as many reshares, are running as there may be.
    pub(super) fn is_full(&self, reshares: bool, limits: &Limits) -> bool {
        let most = if reshares {
            limits.reshare_sessions
        } else {
            limits.dkg_sessions
        };
        let running = self.running.values();
        let alike = running.filter(|one| one.slot.reshare.is_some() == reshares);
        u64::try_from(alike.count()).unwrap_or(u64::MAX) >= most
    }

    /// Whether another session has to wait.
    pub(in crate::engine) fn are_busy(&self, reshare: bool, pairs: bool, limits: &Limits) -> bool {
        self.is_full(reshare, limits) || pairs && self.makes_pairs()
    }

    /// Ends every reshare of a key that cannot lead anywhere any more.
    pub(in crate::engine) fn stop_reshares_through(&mut self, key: &[u8; 32], place: Place) {
        let is_over = |slot: &Slot| {
            slot.reshare
                .is_some_and(|(other, at)| other == *key && at <= place)
        };
        self.running.retain(|_, one| !is_over(&one.slot));
    }

    pub(in crate::engine) fn key_states(&self) -> impl Iterator<Item = KeyState> + '_ {
        self.uncertified.values().map(|pending| KeyState {
            name: pending.order.name.clone(),
            scheme: pending.order.purpose.as_str().to_owned(),
            state: "pending".to_owned(),
            request_id: pending.order.request.to_vec().into(),
            certificate_part: pending.part.clone().into(),
            threshold: pending.order.threshold.into(),
            nodes: pending.order.nodes.iter().copied().map(u32::from).collect(),
            ..KeyState::default()
        })
    }

    /// Keeps a message until its key generation starts. Every peer has its own room, and its newest messages push out its oldest:
    /// what one peer sends for generations that never start costs the others nothing.
    pub(super) fn keep_early(&mut self, early: Early) {
        if early.envelope.len() > MAX_EARLY_BYTES {
            return;
        }
        let mine = self.early.entry(early.from).or_default();
        mine.push_back(early);
        while mine.len() > MAX_EARLY || bytes(mine) > MAX_EARLY_BYTES {
            mine.pop_front();
        }
    }

    pub(super) fn take_early(&mut self, request: &[u8; 32], attempt: u32) -> Vec<Early> {
        let mut taken = Vec::new();
        for waiting in self.early.values_mut() {
            let all = core::mem::take(waiting).into_iter();
            let (mine, rest): (VecDeque<_>, VecDeque<_>) =
                all.partition(|early| early.request == *request);
            *waiting = rest;
            taken.extend(mine.into_iter().filter(|early| early.attempt == attempt));
        }
        self.early.retain(|_, waiting| !waiting.is_empty());
        taken
    }
}

fn bytes(waiting: &VecDeque<Early>) -> usize {
    let sizes = waiting.iter().map(|early| early.envelope.len());
    sizes.fold(0, usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn early(from: u8, request: u8, size: usize) -> Early {
        Early {
            from: NodeId::from_bytes([from; 32]),
            request: [request; 32],
            attempt: 0,
            envelope: vec![0; size],
        }
    }

    #[test]
    fn a75_messages_for_generations_that_never_start_take_no_room_of_other_peers() {
        let mut ceremonies = Ceremonies::default();
        for request in 0..=255 {
            ceremonies.keep_early(early(1, request, 200_000));
        }
        ceremonies.keep_early(early(1, 0, MAX_EARLY_BYTES + 1));
        ceremonies.keep_early(early(2, 7, 5_000));
        let held: usize = ceremonies.early.values().map(bytes).sum();
        assert!(held <= 2 * MAX_EARLY_BYTES, "{held} bytes");
        assert_eq!(ceremonies.take_early(&[7; 32], 0).len(), 1);
        // The newest of a peer are kept, those of another attempt are not handed out.
        assert_eq!(ceremonies.take_early(&[255; 32], 1).len(), 0);
        assert_eq!(ceremonies.take_early(&[254; 32], 0).len(), 1);
        assert_eq!(ceremonies.take_early(&[1; 32], 0).len(), 0);
    }
}
