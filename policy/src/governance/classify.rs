//! Tighter or looser, by proof and not by what the author says.
//!
//! A change is a tightening only if it can be shown here, part by part, that whatever the new document lets through the old
//! one lets through as well, that nobody loses the means to stop anything, and that nobody gains a say. What cannot be shown
//! is a loosening, even where it happens to be harmless.
//!
//! # What is shown
//! * Cluster, policy, governance, its quorums' members, and people with their keys are the same; more groups may freeze.
//! * Machines may go, unless they could freeze or reject. Nobody joins a group that a rule of the old document asks.
//! * Wallets may go, lose kinds, pay less. Allow-list entries may go, lose assets, wait longer.
//! * Each new allow rule matches within an old one: nothing new is let through.
//! * Each old deny rule is contained in a new one.
//! * What an old allow rule asks is asked by new rules wherever it matched, or nothing is let through there any more.

mod matches;

use core::fmt;
use std::collections::BTreeSet;

use self::matches::{Side, contains, covers, disjoint};
use crate::document::{Clause, Document, Effect, Limit, Match, Requirement, Rule};
use crate::id::MachineId;
use crate::ledger::bucket_ms;

/// What sort of change a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It may let something through that was not let through before.
    Loosen,
    /// It provably lets nothing new through.
    Tighten,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loosen => "loosening",
            Self::Tighten => "tightening",
        })
    }
}

/// A change with the parts that could not be shown to be tighter or equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classification {
    /// What sort of change.
    pub change: Change,
    /// The parts that make it a loosening, one sentence each; empty for a tightening.
    pub loosened: Vec<String>,
}

/// Compares two documents of one chain. Version, hash chain and `not_before` are not compared.
#[must_use]
pub fn classify(old: &Document, new: &Document) -> Classification {
    let mut loosened = Vec::new();
    compare_identity(old, new, &mut loosened);
    compare_authority(old, new, &mut loosened);
    compare_people(old, new, &mut loosened);
    compare_machines(old, new, &mut loosened);
    compare_groups(old, new, &mut loosened);
    compare_wallets(old, new, &mut loosened);
    compare_addresses(old, new, &mut loosened);
    compare_rules(old, new, &mut loosened);
    let change = if loosened.is_empty() {
        Change::Tighten
    } else {
        Change::Loosen
    };
    Classification { change, loosened }
}

fn compare_identity(old: &Document, new: &Document, loosened: &mut Vec<String>) {
    if old.cluster_id() != new.cluster_id() || old.policy_id() != new.policy_id() {
        loosened.push("the cluster or the policy id differs".to_owned());
    }
}

fn compare_authority(old: &Document, new: &Document, loosened: &mut Vec<String>) {
    let (before, after) = (old.authority(), new.authority());
    let clauses = [
        ("loosen", &before.loosen, &after.loosen),
        ("tighten", &before.tighten, &after.tighten),
        ("unfreeze", &before.unfreeze, &after.unfreeze),
    ];
    for (name, before, after) in clauses {
        if !same_clause(old, before, new, after) {
            loosened.push(format!(
                "governance.{name} or the people of its groups change"
            ));
        }
    }
    let quorums = [
        ("reshare", &before.reshare, &after.reshare),
        ("export", &before.export, &after.export),
    ];
    for (name, before, after) in quorums {
        let kept = before == after && same_people(old, before.as_deref().unwrap_or_default(), new);
        // That nobody may hand out a key any more is tighter whoever could before.
        if !kept && !(name == "export" && after.is_none()) {
            loosened.push(format!(
                "governance.{name} or the people of its groups change"
            ));
        }
    }
    if !before.freeze.is_subset(&after.freeze) {
        loosened.push("a group may no longer freeze".to_owned());
    }
    for group in &before.freeze {
        let kept = everybody(new, group);
        if everybody(old, group)
            .iter()
            .any(|name| !kept.contains(name))
        {
            loosened.push(format!("somebody leaves group {group}, which may freeze"));
        }
    }
}

fn same_clause(old: &Document, before: &Clause, new: &Document, after: &Clause) -> bool {
    before == after && same_people(old, &before.quorum, new)
}

fn same_people(old: &Document, quorum: &[Requirement], new: &Document) -> bool {
    quorum
        .iter()
        .all(|one| old.people_of(&one.group) == new.people_of(&one.group))
}

/// Every person and machine that lists the group, whether or not it counts there.
fn everybody(document: &Document, group: &crate::id::GroupId) -> Vec<String> {
    let people = document
        .people()
        .values()
        .filter(|person| person.groups.contains(group));
    let machines = document
        .machines()
        .values()
        .filter(|machine| machine.groups.contains(group));
    people
        .map(|person| person.id.to_string())
        .chain(machines.map(|machine| machine.id.to_string()))
        .collect()
}

fn compare_people(old: &Document, new: &Document, loosened: &mut Vec<String>) {
    for person in new.people().values() {
        match old.people().get(&person.id) {
            None => loosened.push(format!("person {} is new", person.id)),
            Some(before) if before.credentials != person.credentials => {
                loosened.push(format!("the credentials of {} change", person.id));
            }
            Some(_) => {}
        }
    }
    for person in old
        .people()
        .keys()
        .filter(|id| !new.people().contains_key(id))
    {
        loosened.push(format!(
            "{person} is gone and can no longer reject; leave the person in, without groups"
        ));
    }
}

fn compare_machines(old: &Document, new: &Document, loosened: &mut Vec<String>) {
    for machine in new.machines().values() {
        match old.machines().get(&machine.id) {
            None => loosened.push(format!("machine {} is new", machine.id)),
            Some(before)
                if before.key != machine.key
                    || before.may_count_as_human != machine.may_count_as_human =>
            {
                loosened.push(format!(
                    "the key or the standing of machine {} changes",
                    machine.id
                ));
            }
            Some(_) => {}
        }
    }
    let asked = |machine: &&MachineId| {
        let groups = old.machines().get(*machine).map(|machine| &machine.groups);
        let kept = new.machines().get(*machine).map(|machine| &machine.groups);
        requirements(old).any(|group| {
            groups.is_some_and(|groups| groups.contains(group))
                && !kept.is_some_and(|kept| kept.contains(group))
        })
    };
    for machine in old.machines().keys().filter(asked) {
        loosened.push(format!(
            "machine {machine} leaves a group that a rule asks and can no longer reject"
        ));
    }
}

fn requirements(document: &Document) -> impl Iterator<Item = &crate::id::GroupId> {
    document
        .rules()
        .iter()
        .flat_map(|rule| &rule.require)
        .map(|one| &one.group)
}

fn compare_groups(old: &Document, new: &Document, loosened: &mut Vec<String>) {
    let mut groups: Vec<_> = requirements(old).collect();
    groups.sort();
    groups.dedup();
    for group in groups {
        if !new.members(group).is_subset(&old.members(group)) {
            loosened.push(format!("somebody new counts in group {group}"));
        }
    }
}

fn compare_wallets(old: &Document, new: &Document, loosened: &mut Vec<String>) {
    for wallet in new.wallets().values() {
        let tighter = old.wallets().get(&wallet.id).is_some_and(|before| {
            before.key_id == wallet.key_id
                && before.chain == wallet.chain
                && before.path == wallet.path
                && wallet.kinds.is_subset(&before.kinds)
                && wallet.max_fee <= before.max_fee
                && wallet.refresh_every == before.refresh_every
        });
        if !tighter {
            loosened.push(format!(
                "wallet {} is new, another, or may do more",
                wallet.id
            ));
        }
    }
}

fn compare_addresses(old: &Document, new: &Document, loosened: &mut Vec<String>) {
    for entry in new.addresses() {
        let tighter = old.addresses().iter().any(|before| {
            before.chain == entry.chain
                && before.to == entry.to
                && before.label == entry.label
                && entry.assets.is_subset(&before.assets)
                && entry.usable_after_ms >= before.usable_after_ms
        });
        if !tighter {
            loosened.push(format!(
                "allow-list entry {} is new, another, or usable for more or earlier",
                entry.label
            ));
        }
    }
}

fn compare_rules(old: &Document, new: &Document, loosened: &mut Vec<String>) {
    let rules = |document, effect| -> Vec<&Rule> { of_effect(document, effect) };
    let (old_allow, new_allow) = (rules(old, Effect::Allow), rules(new, Effect::Allow));
    let new_deny = rules(new, Effect::Deny);
    let (before, after) = (Side::new(old), Side::new(new));

    for deny in rules(old, Effect::Deny) {
        let Some(reach) = reach(&deny.matches, new) else {
            continue;
        };
        if !new_deny
            .iter()
            .any(|other| contains(&after, &other.matches, &before, &reach))
        {
            loosened.push(format!(
                "what rule {} denied is not denied as widely any more",
                deny.id
            ));
        }
    }
    for allow in &new_allow {
        if !old_allow
            .iter()
            .any(|other| contains(&before, &other.matches, &after, &allow.matches))
        {
            loosened.push(format!(
                "rule {} allows what no single rule allowed before",
                allow.id
            ));
        }
    }
    for allow in &old_allow {
        let Some(reach) = reach(&allow.matches, new) else {
            continue;
        };
        let denied = new_deny
            .iter()
            .any(|other| contains(&after, &other.matches, &before, &reach));
        let dead = new_allow
            .iter()
            .all(|other| disjoint(&other.matches, &reach));
        if denied || dead {
            continue;
        }
        let covering: Vec<&Rule> = new_allow
            .iter()
            .copied()
            .filter(|other| covers(&after, &other.matches, &before, &reach, &new_allow))
            .collect();
        loosened.extend(
            unasked(allow, &covering)
                .into_iter()
                .map(|what| format!("rule {}: {what}", allow.id)),
        );
    }
}

/// What an old rule matches of the wallets and initiators that are left; `None` if none is. A request of any other is denied
/// before a rule is read.
fn reach(matches: &Match, new: &Document) -> Option<Match> {
    let mut left = matches.clone();
    if let Some(wallets) = &mut left.wallets {
        wallets.retain(|id| new.wallets().contains_key(id));
    }
    if let Some(initiators) = &mut left.initiators {
        initiators.retain(|id| new.voter(id.as_str()).is_some());
    }
    let empty = left.wallets.as_ref().is_some_and(BTreeSet::is_empty)
        || left.initiators.as_ref().is_some_and(BTreeSet::is_empty);
    (!empty).then_some(left)
}

/// Whether, within one document, every transfer that `narrow` matches is one that `wide` matches.
pub(crate) fn rule_contains(document: &Document, wide: &Match, narrow: &Match) -> bool {
    let side = Side::new(document);
    contains(&side, wide, &side, narrow)
}

fn of_effect(document: &Document, effect: Effect) -> Vec<&Rule> {
    document
        .rules()
        .iter()
        .filter(|rule| rule.effect == effect)
        .collect()
}

/// What the old rule asked that none of the new rules, each of which applies wherever it did, asks as strictly.
fn unasked(old: &Rule, covering: &[&Rule]) -> Vec<String> {
    let mut missing = Vec::new();
    for limit in &old.limits {
        let kept = |part: &Limit| {
            covering
                .iter()
                .flat_map(|rule| &rule.limits)
                .any(|new| implies(new, part))
        };
        let parts = [
            Limit {
                count: None,
                ..limit.clone()
            },
            Limit {
                max: None,
                ..limit.clone()
            },
        ];
        if parts
            .iter()
            .any(|part| (part.max.is_some() || part.count.is_some()) && !kept(part))
        {
            missing.push(format!("a {} limit is wider or gone", limit.scope.as_str()));
        }
    }
    for one in &old.require {
        let new = covering.iter().flat_map(|rule| &rule.require);
        if !new
            .into_iter()
            .any(|new| new.group == one.group && new.min >= one.min)
        {
            missing.push(format!("fewer approvals of group {} are asked", one.group));
        }
    }
    if old.delay.as_ms() > 0 && !covering.iter().any(|rule| rule.delay >= old.delay) {
        missing.push("the delay is shorter or gone".to_owned());
    }
    if let Some(expires) = old.expires
        && !covering
            .iter()
            .any(|rule| rule.expires.is_some_and(|new| new <= expires))
    {
        missing.push("the expiry is later or gone".to_owned());
    }
    missing
}

/// Whether keeping the new limit keeps the old one, of which exactly one of `max` and `count` is set. A longer window must be
/// longer by a whole step of the old one, or its beginning could fall behind.
fn implies(new: &Limit, old: &Limit) -> bool {
    let windows = match (new.window, old.window) {
        (None, None) => true,
        (Some(new), Some(old)) => {
            new == old || new.as_ms() >= old.as_ms().saturating_add(bucket_ms(old))
        }
        _ => false,
    };
    let max = old
        .max
        .is_none_or(|old| new.max.is_some_and(|new| new <= old));
    let count = old
        .count
        .is_none_or(|old| new.count.is_some_and(|new| new <= old));
    new.scope == old.scope && new.asset == old.asset && windows && max && count
}
