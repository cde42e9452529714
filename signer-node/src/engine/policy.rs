//! The policy documents this node has verified and keeps itself.

use policy::document::PolicyHash;
use policy::governance::{self, Installed, SignedDocument};
use policy::statement::SignedStatement;
use proto::v1::{FailureCode, InstallPolicy, PolicyState};

use super::Engine;
use crate::clock::Now;
use crate::codec::{Malformed, Reader, Writer};
use crate::failure::Refusal;
use crate::store::{Change, Table};

/// The most signatures under one document.
const MAX_SIGNATURES: usize = 64;

/// When something with a time lock arrived, on both clocks.
///
/// Time locks count from there in real time: neither a wall clock set ahead nor time that passed unwitnessed shortens one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Anchor {
    pub(super) wall_ms: u64,
    pub(super) witnessed_ms: u64,
}

impl Anchor {
    pub(super) const fn new(now: Now) -> Self {
        Self {
            wall_ms: now.wall_ms,
            witnessed_ms: now.witnessed_ms,
        }
    }

    /// The wall time that has come for sure since the anchor.
    pub(super) fn reached(&self, now: Now) -> u64 {
        self.reached_at(&Self::new(now))
    }

    fn reached_at(&self, now: &Self) -> u64 {
        let passed = now.witnessed_ms.saturating_sub(self.witnessed_ms);
        now.wall_ms.min(self.wall_ms.saturating_add(passed))
    }
}

/// A row of the log of policies.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    pub(super) anchor: Anchor,
    pub(super) signed: SignedDocument,
}

impl Record {
    fn key(&self) -> Vec<u8> {
        PolicyHash::of(&self.signed.document).as_bytes().to_vec()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let signatures: Vec<Vec<u8>> = self
            .signed
            .signatures
            .iter()
            .map(SignedStatement::encode)
            .collect();
        Writer::new()
            .u64(self.anchor.wall_ms)
            .u64(self.anchor.witnessed_ms)
            .bytes(&self.signed.document)
            .list(&signatures)
            .finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new("policy", bytes);
        let anchor = Anchor {
            wall_ms: reader.u64()?,
            witnessed_ms: reader.u64()?,
        };
        let document = reader.bytes()?.to_vec();
        let signatures = reader
            .list()?
            .into_iter()
            .map(|bytes| SignedStatement::decode(bytes).map_err(|_| Malformed("policy")));
        let signatures = signatures.collect::<Result<_, _>>()?;
        reader.finish()?;
        Ok(Self {
            anchor,
            signed: SignedDocument {
                document,
                signatures,
            },
        })
    }
}

/// The policy in force and, at most, the one that waits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policies {
    chain: Option<governance::Policies>,
    anchor: Option<Anchor>,
}

impl Policies {
    /// The policy in force.
    ///
    /// # Errors
    /// `Denied` while there is none: nothing is allowed without a policy.
    pub(super) fn active(&self, now: &Now) -> Result<&Installed, Refusal> {
        match (&self.chain, &self.anchor) {
            (Some(chain), Some(anchor)) => Ok(chain.in_force(anchor.reached(*now))),
            _ => Err(Refusal::new(
                FailureCode::Denied,
                "this node has no policy",
                "install a signed policy first",
            )),
        }
    }

    fn pending(&self, now: &Now) -> Option<&Installed> {
        self.chain.as_ref()?.pending(self.anchor?.reached(*now))
    }

    /// Whether the wall clock says of the document that waits that it is in force, and the time since its arrival does not. A
    /// successor would bring it into force early.
    fn waits_only_here(&self, at: &Anchor) -> bool {
        let (Some(chain), Some(anchor)) = (&self.chain, &self.anchor) else {
            return false;
        };
        chain.pending(anchor.reached_at(at)).is_some() && chain.pending(at.wall_ms).is_none()
    }

    fn holds(&self, hash: &PolicyHash, now: &Now) -> bool {
        let active = self.active(now).is_ok_and(|active| active.hash() == hash);
        active
            || self
                .pending(now)
                .is_some_and(|pending| pending.hash() == hash)
    }

    /// Verifies and takes a document, as of the moment it arrived.
    pub(super) fn install(&mut self, engine: &super::Who, record: &Record) -> Result<(), Refusal> {
        let refused = |error: governance::GovernanceError| {
            let hint = "have it signed by the governors the active policy asks for, on top of the active version";
            Refusal::new(FailureCode::NotAuthorised, error.to_string(), hint)
        };
        let (now, signed) = (record.anchor.wall_ms, &record.signed);
        if self.waits_only_here(&record.anchor) {
            let message = "a policy waits that is in force by the wall clock alone";
            let hint = "ask again once this node has been up for as long as the policy must wait";
            return Err(Refusal::new(FailureCode::NotYet, message, hint));
        }
        match &mut self.chain {
            Some(chain) => {
                chain
                    .install(&engine.cluster, signed, now)
                    .map_err(refused)?;
            }
            None => {
                let chain = governance::Policies::start(&engine.cluster, signed, now);
                self.chain = Some(chain.map_err(refused)?);
            }
        }
        self.anchor = Some(record.anchor);
        Ok(())
    }

    pub(super) fn state(&self, now: &Now) -> PolicyState {
        let Ok(active) = self.active(now) else {
            return PolicyState::default();
        };
        PolicyState {
            version: active.document().version(),
            hash: active.hash().as_bytes().to_vec().into(),
            effective_ms: active.effective_ms(),
            active: true,
            pending_version: self
                .pending(now)
                .map_or(0, |pending| pending.document().version()),
        }
    }
}

impl Engine {
    pub(super) async fn install_policy(&self, call: InstallPolicy) -> Result<PolicyState, Refusal> {
        if call.signatures.len() > MAX_SIGNATURES {
            return Err(Refusal::malformed("too many signatures"));
        }
        let signatures = call
            .signatures
            .iter()
            .map(|bytes| SignedStatement::decode(bytes).map_err(Refusal::malformed));
        let signatures = signatures.collect::<Result<_, _>>()?;
        let signed = SignedDocument {
            document: call.document.into(),
            signatures,
        };
        let hash = PolicyHash::of(&signed.document);
        // Orders and policies follow one another: each is on disk before the next is judged.
        let _turn = self.0.governance.lock().await;
        let (after, now, pending) = {
            let mut state = self.state();
            let now = self.now(&mut state)?;
            if state.policies.holds(&hash, &now) {
                return Ok(state.policies.state(&now));
            }
            let record = Record {
                anchor: Anchor::new(now),
                signed,
            };
            let mut after = state.policies.clone();
            after.install(&self.0.who, &record)?;
            let row = Change::Append {
                table: Table::Policies,
                key: record.key(),
                body: record.encode(),
            };
            let pending = self.commit(&state, vec![row]);
            (after, now, pending)
        };
        pending.durable().await?;
        let answer = after.state(&now);
        self.state().policies = after;
        tracing::info!(version = answer.version, hash = %hash, pending = answer.pending_version, "policy installed");
        Ok(answer)
    }
}
