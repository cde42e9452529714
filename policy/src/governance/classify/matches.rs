//! Which transfers one rule's match takes in, compared with another's.

use std::collections::{BTreeMap, BTreeSet};

use crate::chain::{Address, Asset, Chain};
use crate::document::{Destinations, Document, Match, Rule};

/// The allow-list of one document: for each place and asset, when it becomes usable.
#[derive(Debug)]
pub(super) struct Side {
    usable: BTreeMap<(Chain, Address, Asset), u64>,
}

impl Side {
    pub(super) fn new(document: &Document) -> Self {
        let entries = document.addresses().iter();
        let each = entries.flat_map(|entry| {
            entry
                .assets
                .iter()
                .map(|asset| ((entry.chain, entry.to, *asset), entry.usable_after_ms))
        });
        Self {
            usable: each.collect(),
        }
    }

    /// Whether this allow-list has, at every time, all that the other has.
    fn has_all_of(&self, other: &Self) -> bool {
        other
            .usable
            .iter()
            .all(|(place, from_ms)| self.usable.get(place).is_some_and(|own| own <= from_ms))
    }
}

/// Absence is everything.
fn set_contains<T: Ord>(wide: Option<&BTreeSet<T>>, narrow: Option<&BTreeSet<T>>) -> bool {
    match (wide, narrow) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(wide), Some(narrow)) => narrow.is_subset(wide),
    }
}

fn set_disjoint<T: Ord>(one: Option<&BTreeSet<T>>, other: Option<&BTreeSet<T>>) -> bool {
    matches!((one, other), (Some(one), Some(other)) if one.is_disjoint(other))
}

/// Everything but the destination.
fn rest_contains(wide: &Match, narrow: &Match) -> bool {
    let amounts = match (wide.amount_over, narrow.amount_over) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(wide), Some(narrow)) => wide <= narrow,
    };
    // A rule that names functions is about calls of unknown effect, one that names none is about everything else: neither
    // takes in what the other does, so there the absence of names is not everything.
    let same_business = wide.contracts.is_some() == narrow.contracts.is_some();
    amounts
        && same_business
        && set_contains(wide.wallets.as_ref(), narrow.wallets.as_ref())
        && set_contains(wide.kinds.as_ref(), narrow.kinds.as_ref())
        && set_contains(wide.initiators.as_ref(), narrow.initiators.as_ref())
        && set_contains(wide.assets.as_ref(), narrow.assets.as_ref())
        && set_contains(wide.contracts.as_ref(), narrow.contracts.as_ref())
        && set_contains(wide.selectors.as_ref(), narrow.selectors.as_ref())
}

/// Whether every transfer that `narrow` matches on its side is, at every time, one that `wide` matches on its own.
pub(super) fn contains(wide_side: &Side, wide: &Match, narrow_side: &Side, narrow: &Match) -> bool {
    let destinations = match (&wide.to, &narrow.to) {
        (Destinations::Any, _) => true,
        (Destinations::Addresses(wide), Destinations::Addresses(narrow)) => narrow.is_subset(wide),
        (Destinations::Allowlist, Destinations::Allowlist) => wide_side.has_all_of(narrow_side),
        _ => false,
    };
    destinations && rest_contains(wide, narrow)
}

/// Whether no transfer can match both.
pub(super) fn disjoint(one: &Match, other: &Match) -> bool {
    let destinations = match (&one.to, &other.to) {
        (Destinations::Addresses(one), Destinations::Addresses(other)) => one.is_disjoint(other),
        _ => false,
    };
    destinations
        || set_disjoint(one.wallets.as_ref(), other.wallets.as_ref())
        || set_disjoint(one.kinds.as_ref(), other.kinds.as_ref())
        || set_disjoint(one.initiators.as_ref(), other.initiators.as_ref())
        || set_disjoint(one.assets.as_ref(), other.assets.as_ref())
        || set_disjoint(one.contracts.as_ref(), other.contracts.as_ref())
        || set_disjoint(one.selectors.as_ref(), other.selectors.as_ref())
}

/// Whether `new` applies to every transfer that `old` applied to and that the new document could still let through.
///
/// Beyond plain containment this holds for a rule about the allow-list whose list became smaller: a destination that left it
/// is out of the rule's reach, which is harmless if every other allow rule is about the allow-list too or about something
/// else altogether.
pub(super) fn covers(
    new_side: &Side,
    new: &Match,
    old_side: &Side,
    old: &Match,
    new_allow: &[&Rule],
) -> bool {
    if contains(new_side, new, old_side, old) {
        return true;
    }
    let both_lists = new.to == Destinations::Allowlist && old.to == Destinations::Allowlist;
    both_lists
        && rest_contains(new, old)
        && new_allow
            .iter()
            .all(|rule| rule.matches.to == Destinations::Allowlist || disjoint(&rule.matches, old))
}
