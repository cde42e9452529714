//! Approvals: which of them count, for whom, and who is still missing.

use std::collections::{BTreeMap, BTreeSet};

use super::reason::{Code, Reason};
use super::rules::Matched;
use super::{MAX_SKEW_MS, Missing};
use crate::approval::{Approval, Decision};
use crate::document::{Document, PolicyHash, Voter};
use crate::id::{GroupId, PrincipalId, RuleId};
use crate::intent::Intent;
use crate::statement::{SignedStatement, Statement};

/// The votes on one request.
#[derive(Debug)]
pub(super) struct Votes {
    /// Whose approval counts.
    pub(super) approvers: BTreeSet<PrincipalId>,
    /// Who said no.
    rejecters: BTreeSet<PrincipalId>,
    /// What was handed in and does not count.
    pub(super) ignored: Vec<Reason>,
}

enum Vote {
    Approve(PrincipalId),
    Reject(PrincipalId),
}

impl Votes {
    pub(super) fn count(
        document: &Document,
        hash: &PolicyHash,
        matched: &Matched<'_>,
        intent: &Intent,
        statements: &[SignedStatement],
        lines: &[String],
        now_ms: u64,
    ) -> Self {
        let mut votes = Self {
            approvers: BTreeSet::new(),
            rejecters: BTreeSet::new(),
            ignored: Vec::new(),
        };
        for signed in statements {
            match vote(document, hash, matched, intent, signed, lines, now_ms) {
                Ok(Vote::Approve(id)) => {
                    votes.approvers.insert(id);
                }
                Ok(Vote::Reject(id)) => {
                    votes.rejecters.insert(id);
                }
                Err(why) => {
                    let message =
                        format!("the statement by {} does not count: {why}", signed.person());
                    votes
                        .ignored
                        .push(Reason::new(Code::ApprovalIgnored, message));
                }
            }
        }
        votes
    }

    /// One no is enough.
    pub(super) fn check_rejections(&self, denials: &mut Vec<Reason>) {
        for id in &self.rejecters {
            denials.push(
                Reason::new(Code::Rejected, format!("{id} said no")).remedy("submit a new request"),
            );
        }
    }

    /// The groups whose approvals are not complete. Where a group cannot complete them, that is a denial.
    pub(super) fn missing(
        &self,
        document: &Document,
        matched: &Matched<'_>,
        intent: &Intent,
        denials: &mut Vec<Reason>,
    ) -> Vec<Missing> {
        let mut strictest: BTreeMap<&GroupId, (u32, &RuleId)> = BTreeMap::new();
        for rule in matched.allows() {
            for one in &rule.require {
                let entry = strictest.entry(&one.group).or_insert((0, &rule.id));
                if one.min > entry.0 {
                    *entry = (one.min, &rule.id);
                }
            }
        }
        let mut missing = Vec::new();
        for (group, (min, rule)) in strictest {
            let members = document.members(group);
            let able = || members.iter().filter(|id| id.as_str() != intent.initiator);
            let have = u32::try_from(able().filter(|id| self.approvers.contains(id)).count())
                .unwrap_or(u32::MAX);
            let possible = u32::try_from(able().count()).unwrap_or(u32::MAX);
            if have >= min {
                continue;
            }
            if possible < min {
                let message = format!(
                    "{min} of {group} must approve and only {possible} besides the initiator could"
                );
                denials.push(Reason::new(Code::ApprovalsUnreachable, message).rule(rule));
            }
            let candidates = able()
                .filter(|id| !self.approvers.contains(id))
                .cloned()
                .collect();
            missing.push(Missing {
                group: group.clone(),
                rule: rule.clone(),
                min,
                have,
                candidates,
            });
        }
        missing
    }
}

impl Missing {
    /// Says how many more of whom.
    pub(super) fn reason(&self) -> Reason {
        let names: Vec<&str> = self.candidates.iter().map(PrincipalId::as_str).collect();
        let more = self.min.saturating_sub(self.have);
        let message = format!("{} of {} {} approved", self.have, self.min, self.group);
        let remedy = format!("needs {more} more of {} ({})", self.group, names.join(", "));
        Reason::new(Code::ApprovalsMissing, message)
            .rule(&self.rule)
            .remedy(remedy)
    }
}

fn vote(
    document: &Document,
    hash: &PolicyHash,
    matched: &Matched<'_>,
    intent: &Intent,
    signed: &SignedStatement,
    lines: &[String],
    now_ms: u64,
) -> Result<Vote, String> {
    let Statement::Approval(approval) = signed.statement() else {
        return Err("it is not an approval".to_owned());
    };
    let (voter, key) = document
        .credential(signed.person(), signed.credential())
        .ok_or_else(|| {
            format!(
                "the policy has no credential {} of that name",
                signed.credential()
            )
        })?;
    signed.verify(&key).map_err(|error| error.to_string())?;
    match approval.decision {
        Decision::Reject => reject(voter, matched, intent, approval),
        Decision::Approve => {
            approval
                .check(intent, hash.as_bytes(), lines)
                .map_err(|error| error.to_string())?;
            approval
                .common
                .check_time(now_ms, MAX_SKEW_MS)
                .map_err(|error| error.to_string())?;
            if signed.person() == intent.initiator {
                return Err("the initiator cannot approve the own request".to_owned());
            }
            Ok(Vote::Approve(voter.id()))
        }
    }
}

/// A no counts whatever lines its signer saw, under whichever policy, and does not age: it can only stop. Every person may
/// say it, a machine where a rule that applies names one of its groups.
fn reject(
    voter: Voter<'_>,
    matched: &Matched<'_>,
    intent: &Intent,
    approval: &Approval,
) -> Result<Vote, String> {
    if approval.common.cluster != intent.cluster_id || approval.request != intent.digest() {
        return Err("it is about another request".to_owned());
    }
    let asked = || {
        matched
            .allows()
            .flat_map(|rule| &rule.require)
            .any(|one| voter.groups().contains(&one.group))
    };
    if voter.is_person() || asked() {
        Ok(Vote::Reject(voter.id()))
    } else {
        Err("no rule that applies asks this machine".to_owned())
    }
}
