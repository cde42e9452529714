//! The policy document: one TOML text, signed as the bytes it is, that says who may move what.
//!
//! # Meaning
//! * Nothing is allowed unless a rule allows it. A `deny` rule that matches ends the matter.
//! * Every transfer of a transaction needs a matching `allow` rule. The limits, approvals, delays and expiries of *every*
//!   matching rule apply together, so the strictest of each kind decides.
//! * Limits count everything that leaves, whichever rule let it through, the highest possible fee included.
//! * Windows slide in 60 steps; the step that the window's beginning falls into counts whole (see [`crate::ledger`]).
//! * Amounts are integers in base units, written as strings. Durations carry a unit. Instants are RFC 3339 in UTC.
//!
//! # Strictness
//! An unknown key, a repeated name, a name without a thing, a key in two hands: the whole document is refused, and every
//! fault is reported at once with its line and path.
//!
//! # Hash
//! The hash of a document is taken over its exact bytes; no second encoding exists. Each version names the hash of the one
//! before.

mod authority;
mod check;
mod people;
pub(crate) mod problem;
pub(crate) mod reader;
mod rule;
mod wallet;

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use toml::de::DeTable;

pub use self::authority::{Authority, Clause};
pub use self::people::{Machine, Person};
pub use self::problem::{DocumentError, MAX_PROBLEMS, Problem};
pub use self::rule::{Destinations, Effect, Limit, Match, Requirement, Rule, Scope};
pub use self::wallet::{AddressEntry, Wallet};

use self::check::{Parts, Placed};
use self::problem::Problems;
use self::reader::{Table, Value};
use self::wallet::parse_hex32;
use crate::credential::CredentialKey;
use crate::digest::{self, Tag};
use crate::id::{ClusterId, GroupId, MachineId, PersonId, PolicyId, PrincipalId, WalletId};
use crate::statement::MACHINE_CREDENTIAL;
use crate::time::parse_utc;

/// The largest document, in bytes.
pub const MAX_DOCUMENT: usize = 1024 * 1024;

/// The most rules of a document.
pub const MAX_RULES: usize = 256;

/// The hash of a document's exact bytes, 32 bytes; shown as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyHash([u8; 32]);

impl PolicyHash {
    /// The hash of the document with these bytes.
    #[must_use]
    pub fn of(document: &[u8]) -> Self {
        Self(digest::hash(Tag::POLICY, &[document]))
    }

    /// A hash from its 32 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for PolicyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PolicyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PolicyHash({self})")
    }
}

/// A document that was read and found consistent. Whether its signatures suffice is for [`crate::governance`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    policy_id: PolicyId,
    version: u64,
    prev_hash: Option<PolicyHash>,
    cluster_id: ClusterId,
    not_before_ms: u64,
    authority: Authority,
    people: BTreeMap<PersonId, Person>,
    machines: BTreeMap<MachineId, Machine>,
    wallets: BTreeMap<WalletId, Wallet>,
    addresses: Vec<AddressEntry>,
    rules: Vec<Rule>,
}

/// Somebody whose word counts: a person, or a machine with the one key it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voter<'d> {
    /// A machine.
    Machine(&'d Machine),
    /// A person.
    Person(&'d Person),
}

impl<'d> Voter<'d> {
    /// The name.
    #[must_use]
    pub fn id(&self) -> PrincipalId {
        match self {
            Self::Machine(machine) => machine.id.clone().into(),
            Self::Person(person) => person.id.clone().into(),
        }
    }

    /// The groups the voter belongs to.
    #[must_use]
    pub const fn groups(&self) -> &'d BTreeSet<GroupId> {
        match self {
            Self::Machine(machine) => &machine.groups,
            Self::Person(person) => &person.groups,
        }
    }

    /// True for a human being.
    #[must_use]
    pub const fn is_person(&self) -> bool {
        matches!(self, Self::Person(_))
    }
}

impl Document {
    /// Reads a document.
    ///
    /// # Errors
    /// Every fault with its line and path; see the module documentation for what is one.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        let whole = |message: String| DocumentError {
            problems: vec![Problem {
                line: 1,
                column: 1,
                path: String::new(),
                message,
            }],
        };
        if bytes.len() > MAX_DOCUMENT {
            return Err(whole(format!(
                "document has {} bytes; at most {MAX_DOCUMENT} are allowed",
                bytes.len()
            )));
        }
        let text = core::str::from_utf8(bytes).map_err(|error| {
            whole(format!(
                "document is not UTF-8 from byte {} on",
                error.valid_up_to()
            ))
        })?;
        let mut problems = Problems::new(text);
        problems.add_deceptive();
        let (root, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let offset = error.span().map_or(0, |span| span.start);
            problems.add(offset, "", format!("not valid TOML: {}", error.message()));
        }
        if !problems.is_empty() {
            // What could be recovered from broken text would only raise faults that are not there.
            return Err(problems.into_error());
        }
        let document = read(Table::root(root.get_ref()), &mut problems);
        match document {
            Some(document) if problems.is_empty() => Ok(document),
            _ => Err(problems.into_error()),
        }
    }

    /// The chain of documents this one belongs to.
    #[must_use]
    pub const fn policy_id(&self) -> &PolicyId {
        &self.policy_id
    }

    /// The number of the document in its chain, from 1.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The hash of the version before; absent exactly in version 1.
    #[must_use]
    pub const fn prev_hash(&self) -> Option<&PolicyHash> {
        self.prev_hash.as_ref()
    }

    /// The cluster it is for.
    #[must_use]
    pub const fn cluster_id(&self) -> &ClusterId {
        &self.cluster_id
    }

    /// It is not in force before this instant, Unix milliseconds.
    #[must_use]
    pub const fn not_before_ms(&self) -> u64 {
        self.not_before_ms
    }

    /// Who may change it, stop and resume.
    #[must_use]
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The people by name.
    #[must_use]
    pub const fn people(&self) -> &BTreeMap<PersonId, Person> {
        &self.people
    }

    /// The machines by name.
    #[must_use]
    pub const fn machines(&self) -> &BTreeMap<MachineId, Machine> {
        &self.machines
    }

    /// The wallets by name.
    #[must_use]
    pub const fn wallets(&self) -> &BTreeMap<WalletId, Wallet> {
        &self.wallets
    }

    /// The allow-list, in the order of the text.
    #[must_use]
    pub fn addresses(&self) -> &[AddressEntry] {
        &self.addresses
    }

    /// The rules, in the order of the text, which has no meaning.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The person or machine of that name.
    #[must_use]
    pub fn voter(&self, name: &str) -> Option<Voter<'_>> {
        let person = PersonId::parse(name)
            .ok()
            .and_then(|id| self.people.get(&id));
        let machine = || {
            MachineId::parse(name)
                .ok()
                .and_then(|id| self.machines.get(&id))
        };
        person
            .map(Voter::Person)
            .or_else(|| machine().map(Voter::Machine))
    }

    /// The voter of that name and the key that goes with that credential. A machine has one credential,
    /// [`MACHINE_CREDENTIAL`].
    #[must_use]
    pub fn credential(&self, name: &str, credential: &str) -> Option<(Voter<'_>, CredentialKey)> {
        let voter = self.voter(name)?;
        let key = match voter {
            Voter::Person(person) => person
                .credentials
                .iter()
                .find(|(id, _)| id.as_str() == credential)
                .map(|(_, key)| key.clone()),
            Voter::Machine(machine) => {
                (credential == MACHINE_CREDENTIAL).then_some(CredentialKey::Ed25519(machine.key))
            }
        };
        key.map(|key| (voter, key))
    }

    /// The Ed25519 keys with which that person or machine may sign a request.
    #[must_use]
    pub fn initiator_keys(&self, name: &str) -> Vec<[u8; 32]> {
        match self.voter(name) {
            None => Vec::new(),
            Some(Voter::Machine(machine)) => vec![machine.key],
            Some(Voter::Person(person)) => person
                .credentials
                .values()
                .filter_map(|key| match key {
                    CredentialKey::Ed25519(bytes) => Some(*bytes),
                    CredentialKey::Ssh(_) => None,
                })
                .collect(),
        }
    }

    /// Everybody in a group who counts there: its people, and its machines where the group has no people or the machine may
    /// count as a human.
    #[must_use]
    pub fn members(&self, group: &GroupId) -> BTreeSet<PrincipalId> {
        let people = self
            .people
            .values()
            .filter(|person| person.groups.contains(group));
        let mut members: BTreeSet<PrincipalId> =
            people.map(|person| person.id.clone().into()).collect();
        let only_machines = members.is_empty();
        for machine in self
            .machines
            .values()
            .filter(|machine| machine.groups.contains(group))
        {
            if only_machines || machine.may_count_as_human {
                members.insert(machine.id.clone().into());
            }
        }
        members
    }

    /// The people of a group, without machines.
    #[must_use]
    pub fn people_of(&self, group: &GroupId) -> BTreeSet<PersonId> {
        let people = self
            .people
            .values()
            .filter(|person| person.groups.contains(group));
        people.map(|person| person.id.clone()).collect()
    }
}

fn read(mut table: Table<'_, '_>, problems: &mut Problems<'_>) -> Option<Document> {
    let schema = table.required("schema", problems, |v, p| match v.number(p)? {
        1 => Some(()),
        other => v.fault(
            format!("schema {other} is not known; this version reads schema 1"),
            p,
        ),
    });
    let policy_id = table.required("policy_id", problems, |v, p| v.parsed(p, PolicyId::parse));
    let version = table.required("version", problems, |v, p| match v.number(p)? {
        0 => v.fault("versions start at 1", p),
        version => Some(version),
    });
    let prev_value = table.take("prev_hash");
    let prev_hash = match (&prev_value, version) {
        (None, Some(2..)) => {
            problems.add(
                0,
                "prev_hash",
                "this key is missing: from version 2 on it names the hash of the version before",
            );
            None
        }
        (Some(value), Some(1)) => value.fault(
            "version 1 has no version before it; leave this key out",
            problems,
        ),
        (Some(value), _) => value.parsed(problems, parse_hex32).map(PolicyHash),
        (None, _) => None,
    };
    let cluster_id = table.required("cluster_id", problems, |v, p| v.parsed(p, ClusterId::parse));
    let not_before = table.required("not_before", problems, |v, p| v.parsed(p, parse_utc));
    let authority = table.required("governance", problems, |v, p| {
        let value = authority::read_authority(v, p)?;
        Some(Placed {
            value,
            offset: v.offset,
            path: v.path.clone(),
        })
    });
    let parts = Parts {
        authority,
        people: read_all(&mut table, "person", problems, people::read_person),
        machines: read_all(&mut table, "machine", problems, people::read_machine),
        wallets: read_all(&mut table, "wallet", problems, wallet::read_wallet),
        addresses: read_all(&mut table, "address", problems, wallet::read_address),
        rules: read_all(&mut table, "rule", problems, rule::read_rule),
    };
    if parts.rules.len() > MAX_RULES {
        let message = format!(
            "document has {} rules; at most {MAX_RULES} are allowed",
            parts.rules.len()
        );
        problems.add(0, "rule", message);
    }
    table.finish(problems);
    if problems.is_empty() {
        // A name whose definition is itself faulty would be reported as missing, so these checks wait.
        check::check(&parts, problems);
    }
    schema?;
    Some(Document {
        policy_id: policy_id?,
        version: version?.into(),
        prev_hash,
        cluster_id: cluster_id?,
        not_before_ms: not_before?,
        authority: parts.authority?.value,
        people: by_name(parts.people, |person| person.id.clone()),
        machines: by_name(parts.machines, |machine| machine.id.clone()),
        wallets: by_name(parts.wallets, |wallet| wallet.id.clone()),
        addresses: parts
            .addresses
            .into_iter()
            .map(|placed| placed.value)
            .collect(),
        rules: parts.rules.into_iter().map(|placed| placed.value).collect(),
    })
}

/// Every entry of an array of tables that may be absent; faulty entries are noted and left out.
fn read_all<T>(
    table: &mut Table<'_, '_>,
    key: &'static str,
    problems: &mut Problems<'_>,
    read: impl Fn(&Value<'_, '_>, &mut Problems<'_>) -> Option<T>,
) -> Vec<Placed<T>> {
    let items = table
        .take(key)
        .and_then(|list| list.items(problems))
        .unwrap_or_default();
    let mut all = Vec::with_capacity(items.len());
    for item in items {
        if let Some(value) = read(&item, problems) {
            all.push(Placed {
                value,
                offset: item.offset,
                path: item.path,
            });
        }
    }
    all
}

fn by_name<K: Ord, T>(list: Vec<Placed<T>>, name: impl Fn(&T) -> K) -> BTreeMap<K, T> {
    list.into_iter()
        .map(|placed| (name(&placed.value), placed.value))
        .collect()
}
