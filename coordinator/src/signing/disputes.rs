//! Which nodes can no longer be asked together.
//!
//! A node that says that a check with a peer failed is never asked together with that peer: one of the two is faulty and nobody
//! else can tell which. So neither is excluded, only the pair. A set of signers whose finished signatures did not verify
//! [`FAILURES`] times is not asked any more: somebody in it lies, and every failure may teach the liar something.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use super::entries::Set;
use crate::{links::Link, store::FailedSet};

/// Signatures of one set that did not verify before it is stopped.
const FAILURES: u32 = 3;

/// Accusations of one node against one other that are stored, per start.
const TOLD: u32 = 16;

/// Sets that are looked at before the search for one is given up.
const SEARCH: usize = 20_000;

/// States of a pair setup in which it must not be used.
const UNUSABLE: [&str; 3] = ["poisoned", "rekeying", "stopped"];

#[derive(Debug, Default)]
struct Known {
    /// Accuser and accused, with the generation of their setup.
    accused: BTreeMap<(u16, u16), u32>,
    /// How often each accuser has said something new about each peer.
    told: BTreeMap<(u16, u16), u32>,
    failures: BTreeMap<Set, Failures>,
}

/// How often signatures of a set did not verify, and when last, Unix milliseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Failures {
    count: u32,
    at_ms: u64,
}

/// What is known against pairs and sets.
#[derive(Debug, Default)]
pub(super) struct Disputes(Mutex<Known>);

/// Pairs in dispute, the smaller index first.
#[derive(Debug)]
pub(super) struct Edges {
    pairs: BTreeSet<(u16, u16)>,
    stopped: BTreeSet<Set>,
}

impl Disputes {
    fn with<T>(&self, work: impl FnOnce(&mut Known) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Remembers that a node accuses another of its setup of this generation. What it says of itself or of strangers is nothing.
    /// True if it is news that is worth keeping: a node that goes on making up accusations is not listened to for ever.
    pub(super) fn accuse(
        &self,
        accuser: u16,
        accused: u16,
        generation: u32,
        parties: usize,
    ) -> bool {
        if accuser == accused || !(1..=parties).contains(&usize::from(accused)) {
            return false;
        }
        self.with(|known| {
            let pair = (accuser, accused);
            let before = known.accused.get(&pair).copied();
            if before.is_some_and(|before| before >= generation) {
                return false;
            }
            known.accused.insert(pair, generation);
            let told = known.told.entry(pair).or_default();
            *told = told.saturating_add(1);
            *told <= TOLD
        })
    }

    /// Counts a finished signature that does not verify; true if the set is stopped by it.
    pub(super) fn failed(&self, set: &[u16], now_ms: u64) -> bool {
        self.with(|known| {
            let failures = known.failures.entry(set.to_vec()).or_default();
            failures.count = failures.count.saturating_add(1);
            failures.at_ms = now_ms;
            failures.count == FAILURES
        })
    }

    /// Takes in what an earlier start had counted.
    pub(super) fn remember(&self, set: FailedSet) {
        let failures = Failures {
            count: set.failures,
            at_ms: set.at_ms,
        };
        self.with(|known| known.failures.insert(set.signers, failures));
    }

    /// The sets that are not asked any more.
    pub(super) fn stopped(&self) -> Vec<FailedSet> {
        self.with(|known| {
            let stopped = known
                .failures
                .iter()
                .filter(|(_, failures)| failures.count >= FAILURES);
            stopped
                .map(|(set, failures)| FailedSet {
                    signers: set.clone(),
                    failures: failures.count,
                    at_ms: failures.at_ms,
                })
                .collect()
        })
    }

    /// Everything in dispute now: what nodes have said, and what their latest status says.
    pub(super) fn edges(&self, links: &BTreeMap<u16, Arc<Link>>) -> Edges {
        let mut pairs = BTreeSet::new();
        let mut renewed = BTreeSet::new();
        for link in links.values() {
            let status = link.status();
            for pair in status.iter().flat_map(|status| &status.pairs) {
                let Ok(peer) = u16::try_from(pair.peer) else {
                    continue;
                };
                if UNUSABLE.contains(&pair.status.as_str()) {
                    pairs.insert(ordered(link.index(), peer));
                } else if pair.status == "active" {
                    renewed.insert((link.index(), peer, pair.generation));
                }
            }
        }
        self.with(|known| {
            // A setup that the accuser itself has replaced settles the matter.
            let settled = |accuser: u16, accused: u16, generation: u32| {
                renewed.iter().any(|(node, peer, newer)| {
                    (*node, *peer) == (accuser, accused) && *newer > generation
                })
            };
            known
                .accused
                .retain(|(accuser, accused), generation| !settled(*accuser, *accused, *generation));
            pairs.extend(
                known
                    .accused
                    .keys()
                    .map(|(accuser, accused)| ordered(*accuser, *accused)),
            );
            let stopped = known
                .failures
                .iter()
                .filter(|(_, failures)| failures.count >= FAILURES);
            Edges {
                pairs,
                stopped: stopped.map(|(set, _)| set.clone()).collect(),
            }
        })
    }
}

fn ordered(one: u16, other: u16) -> (u16, u16) {
    (one.min(other), one.max(other))
}

impl Edges {
    /// Leaves these sets out as well.
    pub(super) fn bar(&mut self, sets: &BTreeSet<Set>) {
        self.stopped.extend(sets.iter().cloned());
    }

    /// Whether these may be asked together. `set` is ascending.
    pub(super) fn allow(&self, set: &[u16]) -> bool {
        let apart = self
            .pairs
            .iter()
            .any(|(one, other)| set.contains(one) && set.contains(other));
        !apart && !self.stopped.contains(set)
    }

    /// The first set of `size` nodes that may be asked together, earlier ones of `ranked` preferred; ascending.
    pub(super) fn pick(&self, ranked: &[u16], size: usize) -> Option<Set> {
        let mut budget = SEARCH;
        self.extend(&mut Vec::with_capacity(size), ranked, size, &mut budget)
    }

    fn extend(
        &self,
        chosen: &mut Vec<u16>,
        rest: &[u16],
        size: usize,
        budget: &mut usize,
    ) -> Option<Set> {
        *budget = budget.checked_sub(1)?;
        if chosen.len() == size {
            let mut set = chosen.clone();
            set.sort_unstable();
            return self.allow(&set).then_some(set);
        }
        let mut rest = rest;
        while let Some((next, later)) = rest.split_first() {
            let fits = chosen
                .iter()
                .all(|index| !self.pairs.contains(&ordered(*index, *next)));
            if fits {
                chosen.push(*next);
                let found = self.extend(chosen, later, size, budget);
                chosen.pop();
                if found.is_some() {
                    return found;
                }
            }
            rest = later;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(pairs: &[(u16, u16)], stopped: &[&[u16]]) -> Edges {
        Edges {
            pairs: pairs.iter().copied().collect(),
            stopped: stopped.iter().map(|set| set.to_vec()).collect(),
        }
    }

    #[test]
    fn the_best_set_without_a_dispute_is_asked() {
        assert_eq!(edges(&[], &[]).pick(&[3, 1, 2], 2), Some(vec![1, 3]));
        assert_eq!(edges(&[(1, 3)], &[]).pick(&[3, 1, 2], 2), Some(vec![2, 3]));
        assert_eq!(
            edges(&[(1, 3), (2, 3)], &[]).pick(&[3, 1, 2], 2),
            Some(vec![1, 2])
        );
        assert_eq!(
            edges(&[(1, 2), (1, 3), (2, 3)], &[]).pick(&[1, 2, 3], 2),
            None
        );
        assert_eq!(edges(&[], &[&[1, 3]]).pick(&[3, 1, 2], 2), Some(vec![2, 3]));
        assert_eq!(
            edges(&[(1, 2)], &[]).pick(&[1, 2, 3, 4], 3),
            Some(vec![1, 3, 4])
        );
        assert_eq!(edges(&[], &[]).pick(&[1, 2], 3), None);
    }

    #[test]
    fn an_accusation_parts_a_pair_and_excludes_nobody() {
        let disputes = Disputes::default();
        disputes.accuse(1, 2, 1, 3);
        for nonsense in [(1, 1), (1, 0), (1, 4)] {
            disputes.accuse(nonsense.0, nonsense.1, 1, 3);
        }
        let edges = disputes.edges(&BTreeMap::new());
        assert!(!edges.allow(&[1, 2]) && edges.allow(&[1, 3]) && edges.allow(&[2, 3]));
    }

    #[test]
    fn a_set_whose_signatures_do_not_verify_is_stopped() {
        let disputes = Disputes::default();
        let verdicts: Vec<bool> = (0..4).map(|at| disputes.failed(&[1, 2], at)).collect();
        assert_eq!(verdicts, [false, false, true, false]);
        let edges = disputes.edges(&BTreeMap::new());
        assert!(!edges.allow(&[1, 2]) && edges.allow(&[1, 3]));
    }
}
