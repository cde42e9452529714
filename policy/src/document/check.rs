//! What a document must hold across its parts: nothing named twice, nothing named that is not there, no quorum that the
//! people of the document cannot form where that would lock the document for ever.

use std::collections::{BTreeMap, BTreeSet};

use super::authority::Authority;
use super::people::{Machine, Person};
use super::problem::Problems;
use super::rule::{Requirement, Rule};
use super::wallet::{AddressEntry, Wallet};
use crate::chain::Family;
use crate::credential::CredentialKey;
use crate::id::{GroupId, PrincipalId, WalletId};

/// A part of the document with the place it was read from.
#[derive(Debug)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) offset: usize,
    pub(super) path: String,
}

/// All the parts, before they become a document.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) authority: Option<Placed<Authority>>,
    pub(super) people: Vec<Placed<Person>>,
    pub(super) machines: Vec<Placed<Machine>>,
    pub(super) wallets: Vec<Placed<Wallet>>,
    pub(super) addresses: Vec<Placed<AddressEntry>>,
    pub(super) rules: Vec<Placed<Rule>>,
}

/// Notes a fault wherever a key comes a second time.
fn unique<K: Ord>(
    problems: &mut Problems<'_>,
    seen: &mut BTreeMap<K, String>,
    key: K,
    offset: usize,
    path: &str,
    message: impl FnOnce(&str) -> String,
) {
    if let Some(first) = seen.get(&key) {
        problems.add(offset, path, message(first));
    } else {
        seen.insert(key, path.to_owned());
    }
}

/// Runs every check.
pub(super) fn check(parts: &Parts, problems: &mut Problems<'_>) {
    check_principals(parts, problems);
    check_wallets(parts, problems);
    check_addresses(parts, problems);
    check_rules(parts, problems);
    check_groups(parts, problems);
    if let Some(authority) = &parts.authority {
        check_authority(authority, parts, problems);
    }
}

fn check_principals(parts: &Parts, problems: &mut Problems<'_>) {
    let mut names = BTreeMap::new();
    let mut keys = BTreeMap::new();
    for person in &parts.people {
        let Placed {
            value,
            offset,
            path,
        } = person;
        unique(
            problems,
            &mut names,
            value.id.to_string(),
            *offset,
            &format!("{path}.id"),
            |first| format!("the name {} is already taken by {first}", value.id),
        );
        for (id, key) in &value.credentials {
            unique(
                problems,
                &mut keys,
                key.material(),
                *offset,
                &format!("{path}.credential"),
                |first| {
                    format!(
                        "the key of credential {id} is already that of {first}: one key cannot speak for two"
                    )
                },
            );
        }
    }
    for machine in &parts.machines {
        let Placed {
            value,
            offset,
            path,
        } = machine;
        unique(
            problems,
            &mut names,
            value.id.to_string(),
            *offset,
            &format!("{path}.id"),
            |first| format!("the name {} is already taken by {first}", value.id),
        );
        let material = CredentialKey::Ed25519(value.key).material();
        unique(
            problems,
            &mut keys,
            material,
            *offset,
            &format!("{path}.key"),
            |first| format!("the key is already that of {first}: one key cannot speak for two"),
        );
    }
}

fn check_wallets(parts: &Parts, problems: &mut Problems<'_>) {
    let mut names = BTreeMap::new();
    let mut before: Vec<&Placed<Wallet>> = Vec::new();
    for placed in &parts.wallets {
        let Placed {
            value,
            offset,
            path,
        } = placed;
        unique(
            problems,
            &mut names,
            &value.id,
            *offset,
            &format!("{path}.id"),
            |first| format!("wallet {} is already defined by {first}", value.id),
        );
        let twin = before.iter().find(|other| overlap(&other.value, value));
        if let Some(first) = twin {
            let message = format!(
                "the key and path meet those of {}: one transaction would be good for both, each with limits of its own",
                first.path
            );
            problems.add(*offset, &format!("{path}.key_id"), message);
        }
        before.push(placed);
    }
}

/// Whether one transaction could be signed for both wallets. On Bitcoin a wallet has all the keys below its path.
fn overlap(one: &Wallet, other: &Wallet) -> bool {
    let paths = if one.chain.family() == Family::Bitcoin {
        one.path.starts_with(&other.path) || other.path.starts_with(&one.path)
    } else {
        one.path == other.path
    };
    one.key_id == other.key_id && paths && one.chain.shares_transactions_with(other.chain)
}

fn check_addresses(parts: &Parts, problems: &mut Problems<'_>) {
    let mut targets = BTreeMap::new();
    let mut labels = BTreeMap::new();
    for Placed {
        value,
        offset,
        path,
    } in &parts.addresses
    {
        unique(
            problems,
            &mut targets,
            (value.chain, value.to),
            *offset,
            &format!("{path}.to"),
            |first| format!("the address is already listed by {first}"),
        );
        unique(
            problems,
            &mut labels,
            (value.chain, &value.label),
            *offset,
            &format!("{path}.label"),
            |first| format!("the label is already that of {first}"),
        );
    }
}

fn check_rules(parts: &Parts, problems: &mut Problems<'_>) {
    let wallets: BTreeSet<&WalletId> = parts
        .wallets
        .iter()
        .map(|wallet| &wallet.value.id)
        .collect();
    let people = parts
        .people
        .iter()
        .map(|person| PrincipalId::from(person.value.id.clone()));
    let machines = parts
        .machines
        .iter()
        .map(|machine| PrincipalId::from(machine.value.id.clone()));
    let principals: BTreeSet<PrincipalId> = people.chain(machines).collect();
    let groups = named_groups(parts);
    let mut names = BTreeMap::new();
    for Placed {
        value,
        offset,
        path,
    } in &parts.rules
    {
        unique(
            problems,
            &mut names,
            &value.id,
            *offset,
            &format!("{path}.id"),
            |first| format!("rule {} is already defined by {first}", value.id),
        );
        for wallet in value
            .matches
            .wallets
            .iter()
            .flatten()
            .filter(|id| !wallets.contains(id))
        {
            problems.add(
                *offset,
                &format!("{path}.match.wallet"),
                format!("there is no wallet {wallet}"),
            );
        }
        for initiator in value
            .matches
            .initiators
            .iter()
            .flatten()
            .filter(|id| !principals.contains(id))
        {
            let message = format!("there is no person or machine {initiator}");
            problems.add(*offset, &format!("{path}.match.initiator"), message);
        }
        for one in value
            .require
            .iter()
            .filter(|one| !groups.contains(&one.group))
        {
            let message = format!("nobody is in group {}", one.group);
            problems.add(*offset, &format!("{path}.require"), message);
        }
    }
}

fn named_groups(parts: &Parts) -> BTreeSet<&GroupId> {
    let people = parts.people.iter().flat_map(|person| &person.value.groups);
    let machines = parts
        .machines
        .iter()
        .flat_map(|machine| &machine.value.groups);
    people.chain(machines).collect()
}

/// A group is of people or of machines, unless each of its machines may count as a human.
fn check_groups(parts: &Parts, problems: &mut Problems<'_>) {
    let human: BTreeSet<&GroupId> = parts
        .people
        .iter()
        .flat_map(|person| &person.value.groups)
        .collect();
    for Placed {
        value,
        offset,
        path,
    } in &parts.machines
    {
        let mixed: Vec<&GroupId> = value
            .groups
            .iter()
            .filter(|group| human.contains(group))
            .collect();
        if value.may_count_as_human {
            continue;
        }
        for group in mixed {
            let message = format!(
                "group {group} has people: a machine belongs to groups of machines unless may_count_as_human = true"
            );
            problems.add(*offset, &format!("{path}.groups"), message);
        }
    }
}

fn check_authority(authority: &Placed<Authority>, parts: &Parts, problems: &mut Problems<'_>) {
    let Placed {
        value,
        offset,
        path,
    } = authority;
    let quorums: [(&str, &[Requirement]); 5] = [
        ("loosen", &value.loosen.quorum),
        ("tighten", &value.tighten.quorum),
        ("unfreeze", &value.unfreeze.quorum),
        ("reshare", value.reshare.as_deref().unwrap_or_default()),
        ("export", value.export.as_deref().unwrap_or_default()),
    ];
    for (name, quorum) in quorums {
        for one in quorum {
            let members = parts
                .people
                .iter()
                .filter(|person| person.value.groups.contains(&one.group))
                .count();
            if u32::try_from(members).unwrap_or(u32::MAX) < one.min {
                let message = format!(
                    "{} people of group {} are asked for and it has {members}: nobody could ever do this",
                    one.min, one.group
                );
                problems.add(*offset, &format!("{path}.{name}.quorum"), message);
            }
        }
    }
    let groups = named_groups(parts);
    for group in value.freeze.iter().filter(|group| !groups.contains(group)) {
        problems.add(
            *offset,
            &format!("{path}.freeze.any_of"),
            format!("nobody is in group {group}"),
        );
    }
}
