//! Stopping and resuming: orders that people signed, kept so that a restart forgets neither.

use std::collections::BTreeSet;

use policy::governance::{FreezeState as Rule, Phase};
use policy::statement::{SignedStatement, StatementKind};
use proto::v1::{FailureCode, FreezeState, Order};
use sha2::{Digest as _, Sha256};

use super::Engine;
use super::policy::Anchor;
use crate::clock::Now;
use crate::codec::{Malformed, Reader, Writer};
use crate::failure::Refusal;
use crate::store::{Change, Table};

/// The most statements of one order.
const MAX_STATEMENTS: usize = 64;

/// A row of the log of orders: what was ordered, and the state that followed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    anchor: Anchor,
    statements: Vec<SignedStatement>,
    rule: Rule,
}

fn name(statement: &SignedStatement) -> [u8; 32] {
    Sha256::digest(statement.body()).into()
}

impl Record {
    /// One row per first statement: an order cannot be given twice.
    fn key(&self) -> Vec<u8> {
        self.statements
            .first()
            .map(|first| name(first).to_vec())
            .unwrap_or_default()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let statements: Vec<Vec<u8>> = self
            .statements
            .iter()
            .map(SignedStatement::encode)
            .collect();
        Writer::new()
            .u64(self.anchor.wall_ms)
            .u64(self.anchor.witnessed_ms)
            .list(&statements)
            .bytes(&self.rule.encode())
            .finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        const BAD: Malformed = Malformed("order");
        let mut reader = Reader::new("order", bytes);
        let anchor = Anchor {
            wall_ms: reader.u64()?,
            witnessed_ms: reader.u64()?,
        };
        let statements = reader
            .list()?
            .into_iter()
            .map(|bytes| SignedStatement::decode(bytes).map_err(|_| BAD));
        let statements = statements.collect::<Result<_, _>>()?;
        let rule = Rule::decode(reader.bytes()?).map_err(|_| BAD)?;
        reader.finish()?;
        Ok(Self {
            anchor,
            statements,
            rule,
        })
    }
}

/// Whether signing is stopped.
#[derive(Clone, Debug, Default)]
pub(crate) struct Switch {
    last: Option<Record>,
    /// Who stopped it.
    by: String,
    /// An order to stop that is not on disk (yet): it holds until the next order is.
    unsaved: bool,
    /// Every statement that was ever acted on; none counts twice.
    used: BTreeSet<[u8; 32]>,
}

impl Switch {
    pub(super) fn frozen(&self, now: Now) -> bool {
        let stored = |last: &Record| last.rule.is_frozen(last.anchor.reached(now));
        self.unsaved || self.last.as_ref().is_some_and(stored)
    }

    pub(super) fn record(&mut self, record: Record) {
        self.used.extend(record.statements.iter().map(name));
        if let Some(freeze) = record
            .statements
            .iter()
            .find(|statement| statement.statement().kind() == StatementKind::Freeze)
        {
            freeze.person().clone_into(&mut self.by);
        }
        self.last = Some(record);
        self.unsaved = false;
    }

    fn rule(&self) -> Rule {
        self.last
            .as_ref()
            .map_or_else(Rule::new, |last| last.rule.clone())
    }

    pub(super) fn state(&self, now: Now) -> FreezeState {
        let Some(last) = &self.last else {
            return FreezeState::default();
        };
        let (since_ms, lifts_ms) = match last.rule.phase(last.anchor.reached(now)) {
            Phase::Running => return FreezeState::default(),
            Phase::Frozen { since_ms } => (since_ms, 0),
            Phase::Thawing {
                since_ms,
                resumes_ms,
            } => (since_ms, resumes_ms),
        };
        FreezeState {
            frozen: true,
            by: self.by.clone(),
            since_ms,
            lifts_ms,
        }
    }
}

impl Engine {
    pub(super) async fn order(&self, call: Order) -> Result<FreezeState, Refusal> {
        if call.statements.is_empty() || call.statements.len() > MAX_STATEMENTS {
            return Err(Refusal::malformed("an order has 1 to 64 statements"));
        }
        let statements = call
            .statements
            .iter()
            .map(|bytes| SignedStatement::decode(bytes).map_err(Refusal::malformed));
        let statements: Vec<_> = statements.collect::<Result<_, _>>()?;
        // Orders and policies follow one another: each is on disk before the next is judged.
        let _turn = self.0.governance.lock().await;
        let (record, now, pending) = {
            let mut state = self.state();
            let now = self.now(&mut state)?;
            let used = |statement: &SignedStatement| state.freeze.used.contains(&name(statement));
            if statements.iter().all(used) {
                // The answer to a repeated order is the state as it is; nothing is done again.
                return Ok(state.freeze.state(now));
            }
            if statements.iter().any(used) {
                let message = "a statement of this order was used before";
                let hint = "have fresh statements signed";
                return Err(Refusal::new(FailureCode::Replayed, message, hint));
            }
            let document = state.policies.active(&now)?.document();
            let rule = apply(&state.freeze.rule(), document, &statements, now)?;
            let record = Record {
                anchor: Anchor::new(now),
                statements,
                rule,
            };
            let row = Change::Append {
                table: Table::Freezes,
                key: record.key(),
                body: record.encode(),
            };
            let pending = self.commit(&state, vec![row]);
            // A valid order to stop holds from here on, even if the disk fails.
            state.freeze.unsaved |= record.rule.is_frozen(now.wall_ms);
            (record, now, pending)
        };
        pending.durable().await?;
        let mut state = self.state();
        state.freeze.record(record);
        let answer = state.freeze.state(now);
        drop(state);
        tracing::warn!(frozen = answer.frozen, by = ?answer.by, "an order was carried out");
        Ok(answer)
    }
}

fn apply(
    rule: &Rule,
    document: &policy::document::Document,
    statements: &[SignedStatement],
    now: Now,
) -> Result<Rule, Refusal> {
    let kind = statements.first().map(|first| first.statement().kind());
    let outcome = match (kind, statements) {
        (Some(StatementKind::Freeze), [statement]) => rule.freeze(document, statement, now.wall_ms),
        (Some(StatementKind::Unfreeze), statements) => {
            rule.unfreeze(document, statements, now.wall_ms)
        }
        _ => {
            return Err(Refusal::malformed(
                "an order is one freeze, or the unfreezes of a quorum",
            ));
        }
    };
    outcome.map_err(|error| {
        let hint = "one person of a freeze group stops, a quorum of the unfreeze clause resumes";
        Refusal::new(FailureCode::NotAuthorised, error.to_string(), hint)
    })
}
