//! The freeze switch: one person stops everything, a quorum resumes it.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use policy::{
    governance::{FreezeError, FreezeState, Phase},
    statement::StatementKind,
};
use prost::bytes::Bytes;
use proto::v1::{self, Failure, FailureCode, coordinator_frame};

use super::{Engine, approve, expiry::Wake};
use crate::{
    clock,
    error::{RunError, from_store},
    links::Link,
    store::OrderRow,
};

/// Statements in one order at most.
const STATEMENTS_BOUND: usize = 64;

/// How long a node may take to judge and store an order.
const ORDER_TIMEOUT: Duration = Duration::from_secs(5);

/// The state of the switch and the orders that led to it.
#[derive(Debug)]
pub(super) struct Switch(RwLock<Position>);

#[derive(Clone, Debug, Default)]
struct Position {
    state: FreezeState,
    by: String,
    last_freeze: Vec<Bytes>,
    last_unfreeze: Vec<Bytes>,
}

impl Switch {
    /// Takes up the position after the last accepted order.
    ///
    /// # Errors
    /// [`RunError::Mismatch`] if an order does not decode.
    pub(super) fn load(orders: &[OrderRow]) -> Result<Self, RunError> {
        let mismatch = |_| RunError::Mismatch("a stored order does not decode".into());
        let mut position = Position::default();
        for order in orders {
            let state = FreezeState::decode(&order.state)
                .map_err(|_| RunError::Mismatch("a stored freeze state does not decode".into()))?;
            let first = order
                .statements
                .first()
                .map(|bytes| approve::decode(bytes))
                .transpose();
            let first = first.map_err(mismatch)?;
            let freezes = first
                .as_ref()
                .is_some_and(|first| first.statement().kind() == StatementKind::Freeze);
            if freezes {
                position.last_freeze.clone_from(&order.statements);
                position.by = first
                    .map(|first| first.person().to_owned())
                    .unwrap_or_default();
            } else {
                position.last_unfreeze.clone_from(&order.statements);
            }
            position.state = state;
        }
        Ok(Self(RwLock::new(position)))
    }

    fn position(&self) -> Position {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether signing is stopped.
    pub(super) fn is_frozen(&self, now_ms: u64) -> bool {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .state
            .is_frozen(now_ms)
    }
}

fn refused(error: &FreezeError) -> Failure {
    let code = match error {
        FreezeError::WrongKind { .. } => FailureCode::Malformed,
        FreezeError::NotFrozen | FreezeError::Thawing { .. } => FailureCode::Conflict,
        FreezeError::Replayed => FailureCode::Replayed,
        _ => FailureCode::NotAuthorised,
    };
    Failure::new(code, error.to_string()).hint("the state stays; see what the message asks for")
}

impl Engine {
    /// The state of the switch.
    pub(crate) fn freeze_state(&self) -> v1::FreezeState {
        let position = self.freeze.position();
        let (frozen, since_ms, lifts_ms) = match position.state.phase(clock::now_ms()) {
            Phase::Running => return v1::FreezeState::default(),
            Phase::Frozen { since_ms } => (true, since_ms, 0),
            Phase::Thawing {
                since_ms,
                resumes_ms,
            } => (true, since_ms, resumes_ms),
        };
        v1::FreezeState {
            frozen,
            by: position.by,
            since_ms,
            lifts_ms,
        }
    }

    /// Follows a freeze or an unfreeze order, durably, and passes it to every connected node. Exactly the statements
    /// of `kind` are accepted.
    ///
    /// # Errors
    /// `MALFORMED`, `NOT_AUTHORISED`, `REPLAYED`, or `CONFLICT` if nothing is frozen.
    pub(crate) async fn order(
        self: &Arc<Self>,
        statements: Vec<Bytes>,
        kind: StatementKind,
    ) -> Result<v1::FreezeState, Failure> {
        if statements.is_empty() || statements.len() > STATEMENTS_BOUND {
            let message = format!("an order has 1 to {STATEMENTS_BOUND} statements");
            return Err(Failure::new(FailureCode::Malformed, message).hint("do not send it again"));
        }
        let signed = statements
            .iter()
            .map(|bytes| approve::decode(bytes))
            .collect::<Result<Vec<_>, _>>()?;
        if signed
            .iter()
            .any(|signed| signed.statement().kind() != kind)
        {
            let failure = Failure::new(FailureCode::Malformed, "a statement is of another kind");
            return Err(failure.hint("do not send it again"));
        }
        let _one_at_a_time = self.admin.lock().await;
        let now_ms = clock::now_ms();
        let policy = self.policies.in_force(now_ms)?;
        let mut position = self.freeze.position();
        let document = policy.document();
        if kind == StatementKind::Freeze {
            for statement in &signed {
                position.state = position
                    .state
                    .freeze(document, statement, now_ms)
                    .map_err(|error| refused(&error))?;
                statement.person().clone_into(&mut position.by);
            }
            position.last_freeze.clone_from(&statements);
        } else {
            position.state = position
                .state
                .unfreeze(document, &signed, now_ms)
                .map_err(|error| refused(&error))?;
            position.last_unfreeze.clone_from(&statements);
        }
        let word = if kind == StatementKind::Freeze {
            "freeze"
        } else {
            "unfreeze"
        };
        let state = Bytes::from(position.state.encode());
        let row = OrderRow {
            accepted_ms: now_ms,
            statements: statements.clone(),
            state,
        };
        self.store.add_order(row, word).await.map_err(from_store)?;
        tracing::warn!(order = word, by = position.by, "order followed");
        if let Phase::Thawing { resumes_ms, .. } = position.state.phase(now_ms) {
            self.deadlines.add(resumes_ms, Wake::Everything);
        } else if kind == StatementKind::Unfreeze {
            self.deadlines.add(now_ms, Wake::Everything);
        }
        *self
            .freeze
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner) = position;
        let told = self.links.all().into_iter().map(|link| {
            let statements = statements.clone();
            async move { give_order(&link, statements).await }
        });
        futures_util::future::join_all(told).await;
        Ok(self.freeze_state())
    }

    /// Brings a node to the same position of the switch.
    pub(super) async fn send_orders(&self, link: &Arc<Link>) {
        let theirs = link
            .status()
            .and_then(|status| status.freeze.clone())
            .unwrap_or_default();
        let position = self.freeze.position();
        let phase = position.state.phase(clock::now_ms());
        if !theirs.frozen && phase != Phase::Running {
            give_order(link, position.last_freeze).await;
        }
        let lifted = !matches!(phase, Phase::Frozen { .. });
        if lifted && theirs.lifts_ms == 0 && (theirs.frozen || phase != Phase::Running) {
            give_order(link, position.last_unfreeze).await;
        }
    }
}

async fn give_order(link: &Link, statements: Vec<Bytes>) {
    if statements.is_empty() {
        return;
    }
    let order = coordinator_frame::Body::Order(v1::Order { statements });
    if let Err(error) = link.call(order, ORDER_TIMEOUT).await {
        tracing::warn!(node = link.index(), %error, "order not taken by the node");
    }
}
