//! Counting people who agree.

use std::collections::BTreeSet;

use crate::document::{Document, Requirement, Voter};
use crate::evaluate::MAX_SKEW_MS;
use crate::id::PersonId;
use crate::statement::{SignedStatement, Statement};

/// The people whose statement counts, and what does not count.
#[derive(Debug, Default)]
pub(super) struct Consent {
    pub(super) people: BTreeSet<PersonId>,
    pub(super) ignored: Vec<String>,
}

impl Consent {
    /// Counts each person whose credential signed a statement that is in force and that `about` accepts.
    pub(super) fn count(
        document: &Document,
        signatures: &[SignedStatement],
        now_ms: u64,
        about: impl Fn(&Statement) -> Result<(), String>,
    ) -> Self {
        let mut consent = Self::default();
        for signed in signatures {
            let counted =
                check(signed, document.cluster_id().as_str(), now_ms, &about).and_then(|()| {
                    match document.credential(signed.person(), signed.credential()) {
                        Some((Voter::Person(person), key)) => {
                            signed.verify(&key).map_err(|error| error.to_string())?;
                            Ok(person.id.clone())
                        }
                        Some((Voter::Machine(_), _)) => {
                            Err("a machine does not count here".to_owned())
                        }
                        None => Err(format!(
                            "the policy has no credential {} of that name",
                            signed.credential()
                        )),
                    }
                });
            consent.note(signed, counted);
        }
        consent
    }

    pub(super) fn note(&mut self, signed: &SignedStatement, counted: Result<PersonId, String>) {
        match counted {
            Ok(person) => {
                self.people.insert(person);
            }
            Err(why) => self.ignored.push(format!("{} ({why})", signed.person())),
        }
    }

    /// What a quorum still lacks; empty if it is complete.
    pub(super) fn missing(&self, document: &Document, quorum: &[Requirement]) -> Vec<String> {
        let mut missing = Vec::new();
        for one in quorum {
            let members = document.people_of(&one.group);
            let have =
                u32::try_from(members.intersection(&self.people).count()).unwrap_or(u32::MAX);
            if have < one.min {
                let able: Vec<&str> = members
                    .difference(&self.people)
                    .map(PersonId::as_str)
                    .collect();
                let more = one.min.saturating_sub(have);
                missing.push(format!(
                    "{more} more of {} ({})",
                    one.group,
                    able.join(", ")
                ));
            }
        }
        missing
    }
}

/// Whether a statement is for this cluster, in force now, and about the matter.
pub(super) fn check(
    signed: &SignedStatement,
    cluster: &str,
    now_ms: u64,
    about: impl Fn(&Statement) -> Result<(), String>,
) -> Result<(), String> {
    let common = signed.statement().common();
    if common.cluster != cluster {
        return Err("the statement is for another cluster".to_owned());
    }
    about(signed.statement())?;
    common
        .check_time(now_ms, MAX_SKEW_MS)
        .map_err(|error| error.to_string())
}
