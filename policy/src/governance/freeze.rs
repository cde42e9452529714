//! Stopping all signing, which one person can do at once, and resuming it, which takes a quorum and time.

use std::collections::BTreeMap;

use super::error::FreezeError;
use super::quorum::Consent;
use crate::codec::{CodecError, Reader, Writer};
use crate::document::Document;
use crate::evaluate::MAX_SKEW_MS;
use crate::statement::{SignedStatement, Statement, signed_hash};
use crate::time::format_utc;

/// The version byte of the encoding.
const VERSION: u8 = 1;

/// The most followed freezes that are remembered; each is forgotten when it expires.
const MAX_FOLLOWED: usize = 4096;

/// Whether signing goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// It goes on.
    #[default]
    Running,
    /// It is stopped.
    Frozen {
        /// Since the latest freeze, Unix milliseconds.
        since_ms: u64,
    },
    /// It is stopped and will go on.
    Thawing {
        /// Since the latest freeze, Unix milliseconds.
        since_ms: u64,
        /// From this instant on it goes on, Unix milliseconds.
        resumes_ms: u64,
    },
}

/// The state of the freeze switch, as one party keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FreezeState {
    phase: Phase,
    /// The freezes that were followed, by the hash of their text, with the instant they expire: none is followed twice, or
    /// an old one could stop what was resumed since.
    followed: BTreeMap<[u8; 32], u64>,
}

impl FreezeState {
    /// Signing goes on and nothing was ever frozen.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            phase: Phase::Running,
            followed: BTreeMap::new(),
        }
    }

    /// The phase at that time.
    #[must_use]
    pub const fn phase(&self, now_ms: u64) -> Phase {
        match self.phase {
            Phase::Thawing { resumes_ms, .. } if now_ms >= resumes_ms => Phase::Running,
            phase => phase,
        }
    }

    /// Whether signing is stopped at that time.
    #[must_use]
    pub const fn is_frozen(&self, now_ms: u64) -> bool {
        !matches!(self.phase(now_ms), Phase::Running)
    }

    /// Stops signing on the word of one person or machine in a group that may freeze. A freeze during the wait before
    /// resumption ends that wait.
    ///
    /// # Errors
    /// [`FreezeError`]; the state stays.
    pub fn freeze(
        &self,
        document: &Document,
        signed: &SignedStatement,
        now_ms: u64,
    ) -> Result<Self, FreezeError> {
        let Statement::Freeze(freeze) = signed.statement() else {
            return Err(FreezeError::WrongKind { expected: "freeze" });
        };
        if freeze.common.cluster != document.cluster_id().as_str() {
            return Err(FreezeError::WrongCluster);
        }
        let (voter, key) = document
            .credential(signed.person(), signed.credential())
            .ok_or_else(|| FreezeError::UnknownSigner {
                name: signed.person().to_owned(),
                credential: signed.credential().to_owned(),
            })?;
        signed.verify(&key)?;
        if voter.groups().is_disjoint(&document.authority().freeze) {
            return Err(FreezeError::NotEntitled {
                name: signed.person().to_owned(),
            });
        }
        freeze.common.check_time(now_ms, MAX_SKEW_MS)?;
        let id = signed_hash(signed.body());
        if self.followed.contains_key(&id) {
            return Err(FreezeError::Replayed);
        }
        let mut followed = self.followed.clone();
        followed.retain(|_, expires_ms| *expires_ms > now_ms);
        if followed.len() < MAX_FOLLOWED {
            followed.insert(id, freeze.common.expires_ms);
        }
        Ok(Self {
            phase: Phase::Frozen { since_ms: now_ms },
            followed,
        })
    }

    /// Begins the wait before signing goes on, once the unfreeze clause of the policy in force is fulfilled.
    ///
    /// Only statements that were issued after the latest freeze, by their signers' clocks, and not in the future, count: a
    /// consent to lift one freeze does not lift the next. During the wait nothing is accepted, so that nobody without a
    /// quorum can have the wait recorded anew.
    ///
    /// # Errors
    /// [`FreezeError`]; the state stays.
    pub fn unfreeze(
        &self,
        document: &Document,
        signatures: &[SignedStatement],
        now_ms: u64,
    ) -> Result<Self, FreezeError> {
        let since_ms = match self.phase(now_ms) {
            Phase::Running => return Err(FreezeError::NotFrozen),
            Phase::Thawing { resumes_ms, .. } => return Err(FreezeError::Thawing { resumes_ms }),
            Phase::Frozen { since_ms } => since_ms,
        };
        let consent = Consent::count(document, signatures, now_ms, |statement| match statement {
            Statement::Unfreeze(unfreeze) if unfreeze.common.issued_ms <= since_ms => Err(format!(
                "it was issued before the freeze of {}",
                format_utc(since_ms)
            )),
            Statement::Unfreeze(unfreeze) if unfreeze.common.issued_ms > now_ms => {
                Err("it is issued in the future".to_owned())
            }
            Statement::Unfreeze(_) => Ok(()),
            _ => Err("it is no unfreeze".to_owned()),
        });
        let clause = &document.authority().unfreeze;
        let missing = consent.missing(document, &clause.quorum);
        if !missing.is_empty() {
            return Err(FreezeError::Quorum {
                missing,
                ignored: consent.ignored,
            });
        }
        let resumes_ms = now_ms.saturating_add(clause.delay.as_ms());
        Ok(Self {
            phase: Phase::Thawing {
                since_ms,
                resumes_ms,
            },
            followed: self.followed.clone(),
        })
    }

    /// Encodes for the store: version 1, phase, two instants, the followed freezes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (phase, since_ms, resumes_ms) = match self.phase {
            Phase::Running => (0, 0, 0),
            Phase::Frozen { since_ms } => (1, since_ms, 0),
            Phase::Thawing {
                since_ms,
                resumes_ms,
            } => (2, since_ms, resumes_ms),
        };
        let count = u64::try_from(self.followed.len()).unwrap_or(u64::MAX);
        let writer = Writer::new()
            .byte(VERSION)
            .byte(phase)
            .number(since_ms)
            .number(resumes_ms)
            .number(count);
        let write = |writer: Writer, (id, expires_ms): (&[u8; 32], &u64)| {
            writer.array(id).number(*expires_ms)
        };
        self.followed.iter().fold(writer, write).finish()
    }

    /// Decodes; total on any bytes.
    ///
    /// # Errors
    /// [`CodecError`] for bytes that are not exactly one encoding.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut reader = Reader::new(bytes);
        match reader.byte("version")? {
            VERSION => {}
            value => {
                return Err(CodecError::UnknownValue {
                    field: "version",
                    value,
                });
            }
        }
        let (tag, since_ms, resumes_ms) = (
            reader.byte("phase")?,
            reader.number("since")?,
            reader.number("resumes")?,
        );
        let phase = match (tag, since_ms, resumes_ms) {
            (0, 0, 0) => Phase::Running,
            (1, _, 0) => Phase::Frozen { since_ms },
            (2, _, _) => Phase::Thawing {
                since_ms,
                resumes_ms,
            },
            _ => {
                return Err(CodecError::UnknownValue {
                    field: "phase",
                    value: tag,
                });
            }
        };
        let count = usize::try_from(reader.number("followed")?).unwrap_or(usize::MAX);
        if count > MAX_FOLLOWED {
            return Err(CodecError::TooLong {
                field: "followed",
                len: count,
                max: MAX_FOLLOWED,
            });
        }
        let mut followed = BTreeMap::new();
        let mut last: Option<[u8; 32]> = None;
        for _ in 0..count {
            let id: [u8; 32] = reader.array("followed")?;
            if last.is_some_and(|last| last >= id) {
                return Err(CodecError::BadText { field: "followed" });
            }
            last = Some(id);
            followed.insert(id, reader.number("expires")?);
        }
        reader.finish()?;
        Ok(Self { phase, followed })
    }
}
