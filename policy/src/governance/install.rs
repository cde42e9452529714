//! Installing documents, one after the other.

use std::collections::BTreeSet;

use super::classify::{Change, classify};
use super::error::GovernanceError;
use super::quorum::{self, Consent};
use crate::cluster::ClusterFile;
use crate::codec::{CodecError, Reader, Writer};
use crate::document::{Document, MAX_DOCUMENT, PolicyHash};
use crate::id::PersonId;
use crate::statement::{self, SignedStatement, Statement, StatementError};

/// The most signatures under one document.
pub const MAX_SIGNATURES: usize = 64;

/// The version byte of the encoding.
const VERSION: u8 = 1;

/// A document with the statements of consent that came with it; nothing is verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedDocument {
    /// The exact bytes of the document, at most 1 MiB.
    pub document: Vec<u8>,
    /// The statements, at most [`MAX_SIGNATURES`].
    pub signatures: Vec<SignedStatement>,
}

impl SignedDocument {
    /// Encodes: version 1, document, number of signatures, each as a byte string.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let count = u64::try_from(self.signatures.len()).unwrap_or(u64::MAX);
        let writer = Writer::new()
            .byte(VERSION)
            .bytes(&self.document)
            .number(count);
        self.signatures
            .iter()
            .fold(writer, |writer, signed| writer.bytes(&signed.encode()))
            .finish()
    }

    /// Decodes; total on any bytes.
    ///
    /// # Errors
    /// [`StatementError`] for bytes that are not exactly one encoding, or too many or too long parts.
    pub fn decode(bytes: &[u8]) -> Result<Self, StatementError> {
        let mut reader = Reader::new(bytes);
        match reader.byte("version")? {
            VERSION => {}
            value => {
                return Err(CodecError::UnknownValue {
                    field: "version",
                    value,
                }
                .into());
            }
        }
        let document = reader.bytes("document", MAX_DOCUMENT)?.to_vec();
        let count = usize::try_from(reader.number("signatures")?).unwrap_or(usize::MAX);
        if count > MAX_SIGNATURES {
            return Err(CodecError::TooLong {
                field: "signatures",
                len: count,
                max: MAX_SIGNATURES,
            }
            .into());
        }
        let mut signatures = Vec::with_capacity(count);
        for _ in 0..count {
            signatures.push(SignedStatement::decode(
                reader.bytes("signature", statement::MAX_SIGNED)?,
            )?);
        }
        reader.finish()?;
        Ok(Self {
            document,
            signatures,
        })
    }
}

/// A document whose signatures were found sufficient, and from when on it is in force. Only [`install`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    document: Document,
    hash: PolicyHash,
    change: Change,
    effective_ms: u64,
}

impl Installed {
    /// The document.
    #[must_use]
    pub const fn document(&self) -> &Document {
        &self.document
    }

    /// The hash of its exact bytes.
    #[must_use]
    pub const fn hash(&self) -> &PolicyHash {
        &self.hash
    }

    /// What sort of change it was from the version before; the first version is a loosening of nothing.
    #[must_use]
    pub const fn change(&self) -> Change {
        self.change
    }

    /// It is in force from this instant on, Unix milliseconds.
    #[must_use]
    pub const fn effective_ms(&self) -> u64 {
        self.effective_ms
    }
}

/// Installs the next document after `current`, or the first of a chain.
///
/// It comes into force at the latest of its own `not_before`, the end of the delay of the clause it was signed under
/// (counted from `now_ms`), and the instant `current` comes into force.
///
/// # Errors
/// [`GovernanceError`]; nothing changes.
pub fn install(
    current: Option<&Installed>,
    cluster: &ClusterFile,
    signed: &SignedDocument,
    now_ms: u64,
) -> Result<Installed, GovernanceError> {
    let document = Document::parse(&signed.document)?;
    let hash = PolicyHash::of(&signed.document);
    if *document.cluster_id() != cluster.cluster_id {
        return Err(GovernanceError::WrongCluster {
            expected: cluster.cluster_id.clone(),
            found: document.cluster_id().clone(),
        });
    }
    let (change, ready_ms) = match current {
        None => {
            check_first(&document, &hash, cluster, signed, now_ms)?;
            (Change::Loosen, now_ms)
        }
        Some(current) => {
            check_succession(current, &document, &hash)?;
            let before = &current.document;
            let consent = Consent::count(
                before,
                &signed.signatures,
                now_ms,
                consents(&document, &hash),
            );
            check_any_governor(before, &consent)?;
            let change = classify(before, &document).change;
            let ready_ms = check_quorum(before, change, consent, now_ms)?;
            (change, ready_ms.max(current.effective_ms))
        }
    };
    let effective_ms = ready_ms.max(document.not_before_ms());
    Ok(Installed {
        document,
        hash,
        change,
        effective_ms,
    })
}

/// Whether a statement consents to exactly this document.
fn consents<'a>(
    document: &'a Document,
    hash: &'a PolicyHash,
) -> impl Fn(&Statement) -> Result<(), String> + 'a {
    move |statement| match statement {
        Statement::Policy(consent)
            if consent.policy == *hash.as_bytes()
                && consent.version == document.version()
                && consent.policy_id == document.policy_id().as_str() =>
        {
            Ok(())
        }
        Statement::Policy(_) => Err("the consent is to another document".to_owned()),
        _ => Err("it is no consent to a policy".to_owned()),
    }
}

fn check_first(
    document: &Document,
    hash: &PolicyHash,
    cluster: &ClusterFile,
    signed: &SignedDocument,
    now_ms: u64,
) -> Result<(), GovernanceError> {
    if document.version() != 1 {
        return Err(GovernanceError::NotFirst {
            version: document.version(),
        });
    }
    governors(
        cluster,
        &signed.signatures,
        now_ms,
        consents(document, hash),
    )
    .map_err(|(missing, ignored)| GovernanceError::Quorum {
        change: Change::Loosen,
        missing,
        ignored,
    })
}

/// Whether enough governors of the cluster file signed statements that `about` accepts.
///
/// # Errors
/// What is missing, and what was handed in and does not count.
pub(super) fn governors(
    cluster: &ClusterFile,
    signatures: &[SignedStatement],
    now_ms: u64,
    about: impl Fn(&Statement) -> Result<(), String>,
) -> Result<(), (Vec<String>, Vec<String>)> {
    let governors = &cluster.genesis.governors;
    let mut consent = Consent::default();
    for statement in signatures {
        let key = governors.iter().find(|governor| {
            governor.person.as_str() == statement.person()
                && governor.credential.as_str() == statement.credential()
        });
        let counted = quorum::check(statement, cluster.cluster_id.as_str(), now_ms, &about)
            .and_then(|()| {
                let governor = key.ok_or("the cluster file names no such governor")?;
                statement
                    .verify(&governor.key)
                    .map_err(|error| error.to_string())?;
                Ok(governor.person.clone())
            });
        consent.note(statement, counted);
    }
    let have = u32::try_from(consent.people.len()).unwrap_or(u32::MAX);
    // A cluster file with a minimum of zero would let anybody write the first policy.
    let min = cluster.genesis.min.max(1);
    if have >= min {
        return Ok(());
    }
    let able: BTreeSet<&str> = governors
        .iter()
        .map(|governor| &governor.person)
        .filter(|person| !consent.people.contains(*person))
        .map(PersonId::as_str)
        .collect();
    let able: Vec<&str> = able.into_iter().collect();
    let missing = vec![format!(
        "{} more of the governors ({})",
        min.saturating_sub(have),
        able.join(", ")
    )];
    Err((missing, consent.ignored))
}

fn check_succession(
    current: &Installed,
    document: &Document,
    hash: &PolicyHash,
) -> Result<(), GovernanceError> {
    let before = &current.document;
    if *hash == current.hash {
        return Err(GovernanceError::AlreadyInstalled {
            version: document.version(),
        });
    }
    if document.policy_id() != before.policy_id() {
        return Err(GovernanceError::WrongPolicy {
            expected: before.policy_id().clone(),
            found: document.policy_id().clone(),
        });
    }
    let expected = before.version().saturating_add(1);
    if document.version() != expected {
        return Err(GovernanceError::Version {
            expected,
            found: document.version(),
        });
    }
    match document.prev_hash() {
        Some(found) if *found == current.hash => Ok(()),
        Some(found) => Err(GovernanceError::PrevHash {
            expected: current.hash,
            found: *found,
        }),
        None => Err(GovernanceError::Version {
            expected,
            found: document.version(),
        }),
    }
}

/// Comparing two documents takes time that grows with their product, so nothing is compared on the word of strangers.
fn check_any_governor(before: &Document, consent: &Consent) -> Result<(), GovernanceError> {
    let authority = before.authority();
    let governs = |person: &PersonId| {
        let groups = before.people().get(person).map(|person| &person.groups);
        let asked = authority
            .loosen
            .quorum
            .iter()
            .chain(&authority.tighten.quorum);
        asked
            .into_iter()
            .any(|one| groups.is_some_and(|groups| groups.contains(&one.group)))
    };
    if consent.people.iter().any(governs) {
        Ok(())
    } else {
        Err(GovernanceError::Unsigned {
            ignored: consent.ignored.clone(),
        })
    }
}

/// The end of the delay, if the clause for this sort of change is fulfilled by people of the document in force.
fn check_quorum(
    before: &Document,
    change: Change,
    consent: Consent,
    now_ms: u64,
) -> Result<u64, GovernanceError> {
    let clause = match change {
        Change::Loosen => &before.authority().loosen,
        Change::Tighten => &before.authority().tighten,
    };
    let missing = consent.missing(before, &clause.quorum);
    if missing.is_empty() {
        Ok(now_ms.saturating_add(clause.delay.as_ms()))
    } else {
        Err(GovernanceError::Quorum {
            change,
            missing,
            ignored: consent.ignored,
        })
    }
}

/// The document in force and at most one that waits.
///
/// A party stores every [`SignedDocument`] it accepted with the time it accepted it, and rebuilds this with
/// [`Policies::replay`]: the store holds nothing that has to be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policies {
    active: Installed,
    pending: Option<Installed>,
}

impl Policies {
    /// Starts a chain with its first document.
    ///
    /// # Errors
    /// [`GovernanceError`].
    pub fn start(
        cluster: &ClusterFile,
        signed: &SignedDocument,
        now_ms: u64,
    ) -> Result<Self, GovernanceError> {
        install(None, cluster, signed, now_ms).map(|active| Self {
            active,
            pending: None,
        })
    }

    /// Rebuilds the state from the accepted documents, each with the time of its acceptance in Unix milliseconds, in the
    /// order of acceptance.
    ///
    /// # Errors
    /// [`GovernanceError`] of the first document that does not follow; `None` for an empty list.
    pub fn replay(
        cluster: &ClusterFile,
        accepted: &[(SignedDocument, u64)],
    ) -> Result<Option<Self>, GovernanceError> {
        let Some(((first, at_ms), rest)) = accepted.split_first() else {
            return Ok(None);
        };
        let mut policies = Self::start(cluster, first, *at_ms)?;
        for (signed, at_ms) in rest {
            policies.install(cluster, signed, *at_ms)?;
        }
        Ok(Some(policies))
    }

    /// Accepts the next document.
    ///
    /// While one waits, only a tightening of the document in force is accepted, and takes its place; where the one that
    /// waits is a tightening itself, only one that is tighter still and comes into force no later: nobody can put off a
    /// tightening by tightening.
    ///
    /// # Errors
    /// [`GovernanceError`]; nothing changes.
    pub fn install(
        &mut self,
        cluster: &ClusterFile,
        signed: &SignedDocument,
        now_ms: u64,
    ) -> Result<&Installed, GovernanceError> {
        let waiting = self.pending(now_ms).cloned();
        if let Some(waiting) = &waiting
            && waiting.hash == PolicyHash::of(&signed.document)
        {
            return Err(GovernanceError::AlreadyInstalled {
                version: waiting.document.version(),
            });
        }
        let next = install(Some(self.in_force(now_ms)), cluster, signed, now_ms)?;
        if let Some(waiting) = waiting {
            let tighter_still = || {
                next.effective_ms <= waiting.effective_ms
                    && classify(&waiting.document, &next.document).change == Change::Tighten
            };
            let takes_its_place = next.change == Change::Tighten
                && (waiting.change == Change::Loosen || tighter_still());
            if !takes_its_place {
                return Err(GovernanceError::Pending {
                    version: waiting.document.version(),
                    effective_ms: waiting.effective_ms,
                });
            }
        }
        self.active = self.in_force(now_ms).clone();
        Ok(self.pending.insert(next))
    }

    /// The document in force. Before the first one comes into force it is that one, and nothing is signed under it yet.
    #[must_use]
    pub fn in_force(&self, now_ms: u64) -> &Installed {
        match &self.pending {
            Some(pending) if now_ms >= pending.effective_ms => pending,
            _ => &self.active,
        }
    }

    /// The document that waits to come into force.
    #[must_use]
    pub fn pending(&self, now_ms: u64) -> Option<&Installed> {
        self.pending
            .as_ref()
            .filter(|pending| now_ms < pending.effective_ms)
    }
}
