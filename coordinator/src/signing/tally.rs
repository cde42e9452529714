//! Who gave nothing to a signature, and what follows from it for the request.

use std::collections::{BTreeMap, BTreeSet};

use mpc_core::id::Params;
use prost::bytes::Bytes;
use proto::v1::{Failure, FailureCode};

use super::{Culprit, NoSignature, SILENT_MS, Signing};
use crate::{
    clock,
    links::{CallError, Link},
};

/// What went wrong in one run.
#[derive(Debug, Default)]
pub(super) struct Tally {
    refusals: BTreeMap<u16, Failure>,
    /// Nodes that refused with a security abort. Others may still sign, these are not asked again.
    pub(super) alarms: Vec<u16>,
    pub(super) culprits: Vec<Culprit>,
    /// Sets of signers whose parts made no valid signature, and nobody can say through whom.
    pub(super) unexplained: Vec<Vec<u16>>,
}

impl Tally {
    /// A node gave nothing: it refused, or could not be reached.
    pub(super) fn lost(&mut self, signing: &Signing, wallet: &str, link: &Link, error: &CallError) {
        match error {
            CallError::Refused(failure) => {
                let mut failure = failure.clone();
                match failure.code() {
                    FailureCode::SecurityAbort => self.alarms.push(link.index()),
                    // After a reshare everything counts as spent until it is told what was: that is no word on this request.
                    FailureCode::Limit if is_catching_up(link) => {
                        failure.set_code(FailureCode::CatchingUp);
                    }
                    FailureCode::Limit => signing.note_crowded(wallet, link.index()),
                    _ => {}
                }
                self.refusals.insert(link.index(), failure);
            }
            CallError::Busy | CallError::Gone | CallError::TimedOut | CallError::WrongKind => {
                link.shun(clock::now_ms().saturating_add(SILENT_MS));
                let failure = Failure::new(FailureCode::TimedOut, error.to_string());
                self.refusals.insert(link.index(), failure);
            }
        }
    }

    /// A node broke the protocol.
    pub(super) fn caught(&mut self, signing: &Signing, index: u16, fault: String, evidence: Bytes) {
        signing.convict(index);
        self.culprits.push(Culprit {
            index,
            fault,
            evidence,
        });
    }

    /// Why there is no signature: whether enough nodes are left that may still give one.
    pub(super) fn conclude(&self, params: Params) -> NoSignature {
        let lost = |code: FailureCode| {
            matches!(
                code,
                FailureCode::Malformed
                    | FailureCode::NotAuthorised
                    | FailureCode::Denied
                    | FailureCode::Limit
                    | FailureCode::Version
                    | FailureCode::Conflict
                    | FailureCode::Internal
            )
        };
        let final_nos: Vec<&Failure> = self
            .refusals
            .values()
            .filter(|failure| lost(failure.code()))
            .collect();
        let liars: BTreeSet<u32> = self
            .culprits
            .iter()
            .map(|culprit| u32::from(culprit.index))
            .collect();
        let gone = final_nos.len().saturating_add(liars.len());
        let left = usize::from(params.parties()).saturating_sub(gone);
        let reasons = self.refusals.iter().flat_map(|(index, failure)| {
            let first = format!("node {index}: {}", failure.message);
            core::iter::once(first).chain(
                failure
                    .reasons
                    .iter()
                    .map(move |reason| format!("node {index}: {reason}")),
            )
        });
        let never = left < usize::from(params.threshold());
        // Another run would ask the nodes that raised the alarm again, so there is none.
        let alarmed = !self.alarms.is_empty();
        let code = match (never, final_nos.first()) {
            _ if alarmed => FailureCode::SecurityAbort,
            (true, Some(failure)) => failure.code(),
            (true, None) => FailureCode::Aborted,
            (false, _) => FailureCode::Unavailable,
        };
        let mut failure = Failure::new(code, "too few nodes gave a share").reasons(reasons);
        failure.culprits = liars.into_iter().collect();
        if alarmed {
            let hint =
                "find out what happened before anything is signed again; this is never retried";
            NoSignature::Never(failure.hint(hint))
        } else if never {
            NoSignature::Never(
                failure.hint("see the reasons of each node; the amount stays debited"),
            )
        } else {
            NoSignature::Again(failure.hint("it is tried again until the request expires"))
        }
    }
}

fn is_catching_up(link: &Link) -> bool {
    let status = link.status();
    status.is_some_and(|status| !status.catching_up.is_empty())
}
