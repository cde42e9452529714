//! Who may change the document, stop signing and resume it, and have shares replaced or handed out.

use std::collections::BTreeSet;

use super::problem::Problems;
use super::reader::Value;
use super::rule::{Requirement, read_requirements};
use crate::id::GroupId;
use crate::time::Period;

/// The governance table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// For a change that provably permits nothing new.
    pub tighten: Clause,
    /// For any other change.
    pub loosen: Clause,
    /// Any one member of any of these groups may stop signing.
    pub freeze: BTreeSet<GroupId>,
    /// For resuming.
    pub unfreeze: Clause,
    /// For giving the shares of a key to other nodes or under another threshold, and for retiring a key; so many distinct people
    /// of each group. Left out, the quorum of `loosen` stands in.
    pub reshare: Option<Vec<Requirement>>,
    /// For handing out a key. Left out, nobody may.
    pub export: Option<Vec<Requirement>>,
}

/// People who must agree, and how long their agreement waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// So many distinct people of each group; never empty. Machines do not count here.
    pub quorum: Vec<Requirement>,
    /// The wait after the quorum is complete.
    pub delay: Period,
}

pub(super) fn read_authority(
    value: &Value<'_, '_>,
    problems: &mut Problems<'_>,
) -> Option<Authority> {
    let mut table = value.table(problems)?;
    let tighten = table.required("tighten", problems, |v, p| read_clause(v, p, false));
    let loosen = table.required("loosen", problems, |v, p| read_clause(v, p, true));
    let freeze = table.required("freeze", problems, |v, p| {
        let mut table = v.table(p)?;
        let groups = table.required("any_of", p, |v, p| v.one_or_more(p, GroupId::parse));
        table.finish(p);
        groups
    });
    let unfreeze = table.required("unfreeze", problems, |v, p| read_clause(v, p, true));
    let quorum_only = |v: &Value<'_, '_>, p: &mut Problems<'_>| {
        let mut table = v.table(p)?;
        let quorum = table.required("quorum", p, read_quorum);
        table.finish(p);
        quorum
    };
    let reshare = table.optional("reshare", problems, quorum_only);
    let export = table.optional("export", problems, quorum_only);
    table.finish(problems);
    Some(Authority {
        tighten: tighten?,
        loosen: loosen?,
        freeze: freeze?,
        unfreeze: unfreeze?,
        reshare: reshare?,
        export: export?,
    })
}

fn read_quorum(value: &Value<'_, '_>, problems: &mut Problems<'_>) -> Option<Vec<Requirement>> {
    let quorum = read_requirements(value, problems)?;
    if quorum.is_empty() {
        value.fault("a quorum needs at least one group", problems)
    } else {
        Some(quorum)
    }
}

fn read_clause(
    value: &Value<'_, '_>,
    problems: &mut Problems<'_>,
    needs_delay: bool,
) -> Option<Clause> {
    let mut table = value.table(problems)?;
    let quorum = table.required("quorum", problems, read_quorum);
    let read = |v: &Value<'_, '_>, p: &mut Problems<'_>| v.parsed(p, Period::parse);
    let delay = if needs_delay {
        table.required("delay", problems, read)
    } else {
        table
            .optional("delay", problems, read)
            .map(Option::unwrap_or_default)
    };
    table.finish(problems);
    Some(Clause {
        quorum: quorum?,
        delay: delay?,
    })
}
