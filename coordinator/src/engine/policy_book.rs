//! The policy in force, the one that waits, and handing both to the nodes.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use policy::{
    cluster::ClusterFile,
    document::MAX_DOCUMENT,
    governance::{GovernanceError, Installed, MAX_SIGNATURES, Policies, SignedDocument},
};
use prost::bytes::Bytes;
use proto::v1::{self, Failure, FailureCode, coordinator_frame, node_frame};

use super::{Engine, approve, expiry::Wake};
use crate::{
    clock,
    error::{RunError, from_store, unknown},
    links::{CallError, Link},
    store::PolicyRow,
};

/// How long a node may take to judge and store a policy.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The chain of policies.
#[derive(Debug)]
pub(super) struct Book(RwLock<Pages>);

#[derive(Debug, Default)]
struct Pages {
    policies: Option<Policies>,
    /// The one in force, shared; replaced when another comes into force.
    current: Option<Arc<Installed>>,
    rows: Vec<PolicyRow>,
}

fn none_yet() -> Failure {
    Failure::new(FailureCode::NotYet, "no policy is installed")
        .hint("an operator installs the first one")
}

/// Reads a row back into what governance works with.
fn signed_document(document: &Bytes, signatures: &[Bytes]) -> Result<SignedDocument, Failure> {
    let malformed = |message: String| {
        Failure::new(FailureCode::Malformed, message).hint("do not send it again")
    };
    if document.len() > MAX_DOCUMENT {
        return Err(malformed(format!(
            "a policy has at most {MAX_DOCUMENT} bytes"
        )));
    }
    if signatures.len() > MAX_SIGNATURES {
        return Err(malformed(format!(
            "a policy has at most {MAX_SIGNATURES} signatures"
        )));
    }
    let signatures = signatures
        .iter()
        .map(|bytes| approve::decode(bytes))
        .collect::<Result<_, _>>()?;
    Ok(SignedDocument {
        document: document.to_vec(),
        signatures,
    })
}

fn refused(error: &GovernanceError) -> Failure {
    let code = match error {
        GovernanceError::Document(_) => FailureCode::Malformed,
        GovernanceError::AlreadyInstalled { .. } => FailureCode::Replayed,
        GovernanceError::Quorum { .. } => FailureCode::NotAuthorised,
        _ => FailureCode::Denied,
    };
    Failure::new(code, error.to_string())
        .hint("the policy in force stays; see what the message asks for")
}

impl Book {
    /// Rebuilds the chain from the accepted documents.
    ///
    /// # Errors
    /// [`RunError::Mismatch`] if they do not follow from the cluster file.
    pub(super) fn load(cluster: &ClusterFile, rows: Vec<PolicyRow>) -> Result<Self, RunError> {
        let mismatch = |message: String| RunError::Mismatch(format!("its policies: {message}"));
        let accepted = rows
            .iter()
            .map(|row| {
                Ok((
                    signed_document(&row.document, &row.signatures)?,
                    row.installed_ms,
                ))
            })
            .collect::<Result<Vec<_>, Failure>>()
            .map_err(|failure| mismatch(failure.message))?;
        let policies =
            Policies::replay(cluster, &accepted).map_err(|error| mismatch(error.to_string()))?;
        Ok(Self(RwLock::new(Pages {
            policies,
            current: None,
            rows,
        })))
    }

    /// The policy in force.
    ///
    /// # Errors
    /// `NOT_YET` before the first one.
    pub(super) fn in_force(&self, now_ms: u64) -> Result<Arc<Installed>, Failure> {
        {
            let pages = self.0.read().unwrap_or_else(PoisonError::into_inner);
            let policies = pages.policies.as_ref().ok_or_else(none_yet)?;
            let current = pages.current.as_ref();
            if let Some(current) =
                current.filter(|current| current.hash() == policies.in_force(now_ms).hash())
            {
                return Ok(Arc::clone(current));
            }
        }
        let mut pages = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let policies = pages.policies.as_ref().ok_or_else(none_yet)?;
        let current = Arc::new(policies.in_force(now_ms).clone());
        pages.current = Some(Arc::clone(&current));
        Ok(current)
    }

    fn snapshot(&self) -> (Option<Policies>, Vec<PolicyRow>) {
        let pages = self.0.read().unwrap_or_else(PoisonError::into_inner);
        (pages.policies.clone(), pages.rows.clone())
    }

    /// What the chain would be with one more document.
    fn with(
        &self,
        cluster: &ClusterFile,
        signed: &SignedDocument,
        now_ms: u64,
    ) -> Result<(Policies, Installed), Failure> {
        let Some(mut policies) = self.snapshot().0 else {
            let first =
                Policies::start(cluster, signed, now_ms).map_err(|error| refused(&error))?;
            let installed = first.in_force(now_ms).clone();
            return Ok((first, installed));
        };
        let installed = policies
            .install(cluster, signed, now_ms)
            .map_err(|error| refused(&error))?
            .clone();
        Ok((policies, installed))
    }

    fn replace(&self, policies: Policies, row: PolicyRow) {
        let mut pages = self.0.write().unwrap_or_else(PoisonError::into_inner);
        pages.policies = Some(policies);
        pages.rows.push(row);
    }

    /// When the waiting policy comes into force, if one waits.
    fn next_change(&self, now_ms: u64) -> Option<u64> {
        let pages = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(pages.policies.as_ref()?.pending(now_ms)?.effective_ms())
    }
}

impl Engine {
    /// The policy in force, for the interface.
    ///
    /// # Errors
    /// `NOT_YET` before the first one.
    pub(crate) fn policy(&self) -> Result<Arc<Installed>, Failure> {
        self.policies.in_force(clock::now_ms())
    }

    /// Wakes everything when the waiting policy comes into force.
    pub(super) fn schedule_policy(&self) {
        if let Some(at_ms) = self.policies.next_change(clock::now_ms()) {
            self.deadlines.add(at_ms, Wake::Everything);
        }
    }

    /// The state of the chain as one line for `GetCluster`.
    pub(crate) fn policy_state(&self) -> v1::PolicyState {
        let now_ms = clock::now_ms();
        let Some(policies) = self.policies.snapshot().0 else {
            return v1::PolicyState::default();
        };
        let active = policies.in_force(now_ms);
        v1::PolicyState {
            version: active.document().version(),
            hash: Bytes::copy_from_slice(active.hash().as_bytes()),
            effective_ms: active.effective_ms(),
            active: now_ms >= active.effective_ms(),
            pending_version: policies
                .pending(now_ms)
                .map_or(0, |pending| pending.document().version()),
        }
    }

    /// A policy by version; 0 is the one in force. Of several with a version the latest accepted counts.
    ///
    /// # Errors
    /// `UNKNOWN`.
    pub(crate) fn policy_info(&self, version: u64) -> Result<v1::PolicyInfo, Failure> {
        let now_ms = clock::now_ms();
        let (policies, rows) = self.policies.snapshot();
        let policies = policies.ok_or_else(none_yet)?;
        let active = policies.in_force(now_ms);
        let wanted = if version == 0 {
            active.document().version()
        } else {
            version
        };
        let by_hash = |row: &&PolicyRow| row.hash.as_ref() == active.hash().as_bytes();
        let found = if version == 0 {
            rows.iter().find(by_hash)
        } else {
            rows.iter().rev().find(|row| row.version == wanted)
        };
        let row = found.ok_or_else(unknown)?;
        let is_active = by_hash(&row);
        let effective_ms = if is_active {
            active.effective_ms()
        } else {
            policies
                .pending(now_ms)
                .filter(|pending| pending.hash().as_bytes() == row.hash.as_ref())
                .map_or(row.installed_ms, Installed::effective_ms)
        };
        Ok(info(row, effective_ms, is_active && now_ms >= effective_ms))
    }

    /// Says what installing a document would do, without doing it.
    ///
    /// # Errors
    /// As [`Engine::install_policy`].
    pub(crate) fn propose_policy(
        &self,
        request: &v1::InstallPolicy,
    ) -> Result<v1::PolicyInfo, Failure> {
        let now_ms = clock::now_ms();
        let signed = signed_document(&request.document, &request.signatures)?;
        let (_, installed) = self.policies.with(&self.cluster, &signed, now_ms)?;
        Ok(info(
            &row(request, &installed, now_ms),
            installed.effective_ms(),
            false,
        ))
    }

    /// Installs a document here, durably, and on every connected node.
    ///
    /// # Errors
    /// What governance refuses. A document that is here already is handed to the nodes again and is no error.
    pub(crate) async fn install_policy(
        self: &Arc<Self>,
        request: v1::InstallPolicy,
    ) -> Result<v1::PolicyInfo, Failure> {
        let _one_at_a_time = self.admin.lock().await;
        let now_ms = clock::now_ms();
        let signed = signed_document(&request.document, &request.signatures)?;
        let hash = policy::document::PolicyHash::of(&signed.document);
        let (_, rows) = self.policies.snapshot();
        let known = rows
            .iter()
            .find(|row| row.hash.as_ref() == hash.as_bytes())
            .map(|row| row.version);
        let version = if let Some(version) = known {
            version
        } else {
            let (policies, installed) = self.policies.with(&self.cluster, &signed, now_ms)?;
            let row = row(&request, &installed, now_ms);
            self.store
                .add_policy(row.clone())
                .await
                .map_err(from_store)?;
            self.policies.replace(policies, row);
            let version = installed.document().version();
            tracing::info!(
                version,
                effective_ms = installed.effective_ms(),
                "policy installed"
            );
            self.deadlines
                .add(installed.effective_ms(), Wake::Everything);
            version
        };
        let mut info = self.policy_info(version)?;
        let asked = self.links.all().into_iter().map(|link| {
            let frame = coordinator_frame::Body::InstallPolicy(request.clone());
            async move { (link.index(), link.call(frame, INSTALL_TIMEOUT).await) }
        });
        for (index, answer) in futures_util::future::join_all(asked).await {
            let (state, failure) = match answer {
                Ok(node_frame::Body::PolicyState(state)) => (Some(state), None),
                Ok(_) => (
                    None,
                    Some(Failure::new(
                        FailureCode::Malformed,
                        "an answer of the wrong kind",
                    )),
                ),
                Err(CallError::Refused(failure)) => (None, Some(failure)),
                Err(error) => (
                    None,
                    Some(Failure::new(FailureCode::TimedOut, error.to_string())),
                ),
            };
            info.nodes.push(v1::NodePolicy {
                index: u32::from(index),
                state,
                failure,
            });
        }
        Ok(info)
    }

    /// Hands a node the documents that it does not have, oldest first.
    pub(super) async fn send_policies(&self, link: &Arc<Link>) {
        let known = link
            .status()
            .and_then(|status| status.policy.clone())
            .unwrap_or_default();
        let have = known.version.max(known.pending_version);
        let (_, rows) = self.policies.snapshot();
        for row in rows.into_iter().filter(|row| row.version > have) {
            let install = v1::InstallPolicy {
                document: row.document,
                signatures: row.signatures,
            };
            match link
                .call(
                    coordinator_frame::Body::InstallPolicy(install),
                    INSTALL_TIMEOUT,
                )
                .await
            {
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(node = link.index(), version = row.version, %error, "policy not taken by the node");
                    return;
                }
            }
        }
    }
}

fn row(request: &v1::InstallPolicy, installed: &Installed, now_ms: u64) -> PolicyRow {
    PolicyRow {
        version: installed.document().version(),
        hash: Bytes::copy_from_slice(installed.hash().as_bytes()),
        document: request.document.clone(),
        signatures: request.signatures.clone(),
        installed_ms: now_ms,
    }
}

fn info(row: &PolicyRow, effective_ms: u64, active: bool) -> v1::PolicyInfo {
    v1::PolicyInfo {
        version: row.version,
        hash: row.hash.clone(),
        document: row.document.clone(),
        signatures: row.signatures.clone(),
        effective_ms,
        active,
        nodes: Vec::new(),
    }
}
