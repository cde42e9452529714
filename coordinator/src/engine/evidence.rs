//! Evidence against nodes: judged here, stored, kept as a file, and shown to every node.
//!
//! It proves itself to whoever knows the roster, so it does not matter who brings it. What convicts nobody is only counted against
//! whoever brought it; what one node says of another without proof is no evidence.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use mpc_core::evidence;
use prost::bytes::Bytes;
use proto::{
    evidence_files::{EvidenceFiles, PER_NODE},
    limits,
    v1::{self, coordinator_frame},
};
use sha2::{Digest as _, Sha256};

use super::Engine;
use crate::{
    clock,
    links::Link,
    store::{EvidenceRow, RequestId},
};

/// Evidence of one node that does not hold and is still looked at, per start.
const BAD: u32 = 16;

#[derive(Debug, Default)]
struct Known {
    digests: BTreeSet<[u8; 32]>,
    against: BTreeMap<u16, usize>,
    /// How much of what a node brought did not hold.
    bad: BTreeMap<u16, u32>,
}

/// What is there already.
#[derive(Debug)]
pub(super) struct Archive {
    known: Mutex<Known>,
    files: EvidenceFiles,
}

impl Archive {
    pub(super) fn load(rows: &[EvidenceRow], files: EvidenceFiles) -> Self {
        let mut known = Known::default();
        for row in rows.iter().filter(|row| !row.evidence.is_empty()) {
            known.add(row.node, &row.evidence);
        }
        Self {
            known: Mutex::new(known),
            files,
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Known) -> T) -> T {
        work(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Known {
    /// True if it is new and there is room for it.
    fn add(&mut self, node: u16, evidence: &[u8]) -> bool {
        let against = self.against.entry(node).or_default();
        let fresh = *against < PER_NODE && self.digests.insert(Sha256::digest(evidence).into());
        *against = against.saturating_add(usize::from(fresh));
        fresh
    }

    fn is_worth_a_look(&self, from: Option<u16>, evidence: &[u8]) -> bool {
        let bad = from.and_then(|from| self.bad.get(&from)).copied();
        let known = self
            .digests
            .contains(&<[u8; 32]>::from(Sha256::digest(evidence)));
        !known && bad.unwrap_or_default() < BAD
    }
}

impl Engine {
    /// Keeps evidence that holds and is new, and shows it to every node. `from` brought it.
    pub(super) async fn keep_evidence(
        &self,
        from: Option<u16>,
        request: Option<RequestId>,
        bytes: Bytes,
    ) {
        let archive = &self.evidence;
        if !archive.with(|known| known.is_worth_a_look(from, &bytes)) {
            return;
        }
        let roster = self.links.roster();
        let (node, fault) = match evidence::verify(roster, &bytes) {
            Ok(verdict) => verdict,
            Err(error) => {
                tracing::warn!(from, %error, "evidence that convicts nobody was dropped");
                archive.with(|known| {
                    let bad = from.map(|from| known.bad.entry(from).or_default());
                    bad.into_iter().for_each(|bad| *bad = bad.saturating_add(1));
                });
                return;
            }
        };
        let Some(index) = roster.index(&node).map(|index| index.get()) else {
            return;
        };
        self.signing.convict(index);
        if !archive.with(|known| known.add(index, &bytes)) {
            return;
        }
        match archive.files.keep(index, &bytes) {
            Ok(_) => {
                tracing::error!(node = index, %fault, folder = %archive.files.folder().display(), "alert: there is evidence against a node");
            }
            Err(error) => tracing::error!(%error, "evidence was not written to a file"),
        }
        let row = EvidenceRow {
            node: index,
            at_ms: clock::now_ms(),
            request,
            evidence: bytes.clone(),
            fault: fault.to_string(),
        };
        if let Err(error) = self.store.add_evidence(row).await {
            tracing::error!(%error, "evidence was not stored");
        }
        for link in self.links.all() {
            if Some(link.index()) != from {
                show(&link, &bytes);
            }
        }
    }

    /// The nodes that were caught.
    pub(crate) fn convicts(&self) -> Vec<u32> {
        self.signing.convicts().into_iter().map(u32::from).collect()
    }

    /// The sets of signers that are not asked any more.
    pub(crate) fn stopped_sets(&self) -> Vec<v1::StoppedSet> {
        let stopped = self.signing.stopped_sets().into_iter();
        let set = stopped.map(|set| v1::StoppedSet {
            signers: set.signers.into_iter().map(u32::from).collect(),
            failures: set.failures,
            at_ms: set.at_ms,
        });
        set.collect()
    }

    /// Shows everything that is known to a node that has just connected.
    pub(super) async fn send_evidence(&self, link: &Link) {
        match self.store.evidence().await {
            Ok(rows) => rows
                .iter()
                .filter(|row| !row.evidence.is_empty())
                .for_each(|row| show(link, &row.evidence)),
            Err(error) => tracing::error!(%error, "evidence could not be read"),
        }
    }
}

/// A node that does not hear of it now hears of it when it connects again.
fn show(link: &Link, evidence: &Bytes) {
    if evidence.len() <= limits::EVIDENCE {
        let evidence = evidence.clone();
        let _unheard = link.tell(coordinator_frame::Body::Evidence(v1::Evidence { evidence }));
    }
}
