//! People, machines and the groups they form.

use std::collections::{BTreeMap, BTreeSet};

use super::problem::Problems;
use super::reader::{Table, Value};
use crate::credential::CredentialKey;
use crate::id::{CredentialId, GroupId, MachineId, PersonId};

/// A human being. A person, not a credential, counts in a quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The name.
    pub id: PersonId,
    /// The groups the person belongs to.
    pub groups: BTreeSet<GroupId>,
    /// The keys the person signs with; at least one.
    pub credentials: BTreeMap<CredentialId, CredentialKey>,
}

/// A service with a key of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The name.
    pub id: MachineId,
    /// The groups the machine belongs to.
    pub groups: BTreeSet<GroupId>,
    /// Its Ed25519 public key, 32 bytes.
    pub key: [u8; 32],
    /// Whether the machine counts beside people in a group that has both. Off unless the document says otherwise: then a
    /// group is either of people or of machines.
    pub may_count_as_human: bool,
}

pub(super) fn read_person(value: &Value<'_, '_>, problems: &mut Problems<'_>) -> Option<Person> {
    let mut table = value.table(problems)?;
    let id = table.required("id", problems, |v, p| v.parsed(p, PersonId::parse));
    let groups = read_groups(&mut table, problems);
    let credentials = table.required("credential", problems, read_credentials);
    table.finish(problems);
    Some(Person {
        id: id?,
        groups: groups?,
        credentials: credentials?,
    })
}

fn read_groups(
    table: &mut Table<'_, '_>,
    problems: &mut Problems<'_>,
) -> Option<BTreeSet<GroupId>> {
    table
        .optional("groups", problems, |v, p| {
            v.set(p, |item, p| item.parsed(p, GroupId::parse))
        })
        .map(Option::unwrap_or_default)
}

fn read_credentials(
    value: &Value<'_, '_>,
    problems: &mut Problems<'_>,
) -> Option<BTreeMap<CredentialId, CredentialKey>> {
    let mut all = BTreeMap::new();
    let mut good = true;
    let items = value.items(problems)?;
    if items.is_empty() {
        return value.fault("a person needs at least one credential", problems);
    }
    for item in items {
        let Some((id, key)) = read_credential(&item, problems) else {
            good = false;
            continue;
        };
        if all.contains_key(&id) {
            good = false;
            item.fault::<()>(
                format!("credential {id} is defined twice for this person"),
                problems,
            );
        }
        all.insert(id, key);
    }
    good.then_some(all)
}

fn read_credential(
    value: &Value<'_, '_>,
    problems: &mut Problems<'_>,
) -> Option<(CredentialId, CredentialKey)> {
    let mut table = value.table(problems)?;
    let id = table.required("id", problems, |v, p| v.parsed(p, CredentialId::parse));
    let kind = table.required("kind", problems, |v, p| {
        v.parsed(p, |text| match text {
            "ed25519" | "ssh" => Ok(text.to_owned()),
            _ => Err(crate::credential::CredentialError::BadKind),
        })
    });
    let key = table.need("key", problems);
    table.finish(problems);
    let key = match (kind, key) {
        (Some(kind), Some(key)) => key.parsed(problems, |text| CredentialKey::parse(&kind, text)),
        _ => None,
    };
    Some((id?, key?))
}

pub(super) fn read_machine(value: &Value<'_, '_>, problems: &mut Problems<'_>) -> Option<Machine> {
    let mut table = value.table(problems)?;
    let id = table.required("id", problems, |v, p| v.parsed(p, MachineId::parse));
    let groups = read_groups(&mut table, problems);
    let key = table.required("key", problems, |v, p| {
        v.parsed(p, |text| CredentialKey::parse("ed25519", text))
    });
    let human = table.optional("may_count_as_human", problems, Value::boolean);
    table.finish(problems);
    let key = match key? {
        CredentialKey::Ed25519(bytes) => bytes,
        CredentialKey::Ssh(_) => return None,
    };
    Some(Machine {
        id: id?,
        groups: groups?,
        key,
        may_count_as_human: human?.unwrap_or(false),
    })
}
