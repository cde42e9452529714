//! The ledger of debits: what windows are summed over, and the one place that adds to it.

use core::cell::RefCell;
use std::collections::BTreeMap;

use policy::{
    amount::Amount,
    conflict::is_held,
    ledger::{Debit, LedgerView, ScopeKey},
};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{RequestId, StoreError, from_sql, id_from_sql, to_sql};

/// The ledger as it is inside the caller's transaction, without the debits of one request.
///
/// A ledger that cannot be read looks full, and [`View::failure`] says so afterwards.
pub(super) struct View<'c> {
    db: &'c Connection,
    own: RequestId,
    failure: RefCell<Option<StoreError>>,
}

impl<'c> View<'c> {
    pub(super) const fn new(db: &'c Connection, own: RequestId) -> Self {
        Self {
            db,
            own,
            failure: RefCell::new(None),
        }
    }

    /// The first thing that went wrong while the view was used.
    pub(super) fn failure(self) -> Result<(), StoreError> {
        self.failure.into_inner().map_or(Ok(()), Err)
    }

    fn or_full<T>(&self, result: Result<T, StoreError>, full: T) -> T {
        result.unwrap_or_else(|error| {
            self.failure.borrow_mut().get_or_insert(error);
            full
        })
    }

    /// Sum and number of entries of a scope with `at_ms >= since_ms`, the request's own left out.
    fn window(&self, scope: &ScopeKey, since_ms: u64) -> Result<(Amount, u64), StoreError> {
        let scope = scope.to_string();
        let since = to_sql(since_ms)?;
        let Some(last) = last_row(self.db, &scope)? else {
            return Ok((Amount::ZERO, 0));
        };
        let before: Option<(i64, [u8; 32])> = self
            .db
            .prepare_cached(
                "SELECT seq, total FROM debit WHERE scope = ? AND at_ms < ? ORDER BY at_ms DESC, seq DESC LIMIT 1",
            )?
            .query_row(params![scope, since], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let (before_seq, before_total) = before.unwrap_or((0, [0; 32]));
        let mut sum = minus(last.total, Amount::from_be_bytes(before_total))?;
        let mut entries = last
            .seq
            .checked_sub(from_sql(before_seq)?)
            .ok_or(BACKWARDS)?;
        let mut own = self.db.prepare_cached(
            "SELECT amount FROM debit WHERE request = ? AND scope = ? AND at_ms >= ?",
        )?;
        let mut rows = own.query(params![self.own.as_bytes(), scope, since])?;
        while let Some(row) = rows.next()? {
            sum = minus(sum, Amount::from_be_bytes(row.get(0)?))?;
            entries = entries.checked_sub(1).ok_or(BACKWARDS)?;
        }
        Ok((sum, entries))
    }

    fn held(&self, name: &[u8; 32], now_ms: u64) -> Result<Option<RequestId>, StoreError> {
        let held: Option<(Vec<u8>, i64)> = self
            .db
            .prepare_cached("SELECT request, expires_ms FROM held WHERE name = ? AND request <> ?")?
            .query_row(params![name, self.own.as_bytes()], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        let Some((request, expires_ms)) = held else {
            return Ok(None);
        };
        if is_held(from_sql(expires_ms)?, now_ms) {
            id_from_sql(&request).map(Some)
        } else {
            Ok(None)
        }
    }

    fn same_bytes(&self, raw_hash: &[u8; 32]) -> Result<Option<RequestId>, StoreError> {
        let holder: Option<Vec<u8>> = self
            .db
            .prepare_cached("SELECT request FROM spent WHERE raw_hash = ? AND request <> ?")?
            .query_row(params![raw_hash, self.own.as_bytes()], |row| row.get(0))
            .optional()?;
        holder.as_deref().map(id_from_sql).transpose()
    }
}

const TOO_LARGE: StoreError =
    StoreError::Damaged("a running total of the ledger does not fit 256 bits");

const BACKWARDS: StoreError = StoreError::Damaged("a running total of the ledger goes back");

fn minus(left: Amount, right: Amount) -> Result<Amount, StoreError> {
    left.checked_sub(right).ok_or(BACKWARDS)
}

struct Last {
    seq: u64,
    at_ms: u64,
    total: Amount,
}

fn last_row(db: &Connection, scope: &str) -> Result<Option<Last>, StoreError> {
    let row: Option<(i64, i64, [u8; 32])> = db
        .prepare_cached(
            "SELECT seq, at_ms, total FROM debit WHERE scope = ? ORDER BY seq DESC LIMIT 1",
        )?
        .query_row([scope], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    row.map(|(seq, at_ms, total)| {
        Ok(Last {
            seq: from_sql(seq)?,
            at_ms: from_sql(at_ms)?,
            total: Amount::from_be_bytes(total),
        })
    })
    .transpose()
}

/// Debits a request, once: a request that is in the ledger already is left as it is.
///
/// A clock that went back does not move an entry before the ones that are there.
pub(super) fn debit(
    db: &Connection,
    id: RequestId,
    raw_hash: &[u8; 32],
    debits: &[Debit],
    now_ms: u64,
) -> Result<(), StoreError> {
    let there = db
        .prepare_cached("SELECT 1 FROM debit WHERE request = ?")?
        .exists([id.as_bytes()])?;
    if there {
        return Ok(());
    }
    db.prepare_cached("INSERT INTO spent (raw_hash, request) VALUES (?, ?)")?
        .execute(params![raw_hash, id.as_bytes()])?;
    let mut insert = db.prepare_cached(
        "INSERT INTO debit (scope, seq, at_ms, request, amount, total) VALUES (?, ?, ?, ?, ?, ?)",
    )?;
    for (scope, amount) in per_scope(debits)? {
        let scope = scope.to_string();
        let last = last_row(db, &scope)?.unwrap_or(Last {
            seq: 0,
            at_ms: 0,
            total: Amount::ZERO,
        });
        let total = last.total.checked_add(amount).ok_or(TOO_LARGE)?;
        insert.execute(params![
            scope,
            to_sql(last.seq.saturating_add(1))?,
            to_sql(now_ms.max(last.at_ms))?,
            id.as_bytes(),
            amount.to_be_bytes(),
            total.to_be_bytes()
        ])?;
    }
    Ok(())
}

/// Records what a request uses up on its chain; it can be signed until `expires_ms`. Who held it before has expired.
pub(super) fn hold(
    db: &Connection,
    id: RequestId,
    conflicts: &[[u8; 32]],
    expires_ms: u64,
) -> Result<(), StoreError> {
    let mut insert = db.prepare_cached(
        "INSERT OR REPLACE INTO held (name, request, expires_ms) VALUES (?, ?, ?)",
    )?;
    for name in conflicts {
        insert.execute(params![name, id.as_bytes(), to_sql(expires_ms)?])?;
    }
    Ok(())
}

/// One amount per scope, so that a scope has one row per request and its rows count requests.
fn per_scope(debits: &[Debit]) -> Result<BTreeMap<ScopeKey, Amount>, StoreError> {
    let mut sums = BTreeMap::new();
    for debit in debits {
        for scope in debit.scopes() {
            let sum = sums.entry(scope).or_insert(Amount::ZERO);
            *sum = sum.checked_add(debit.amount).ok_or(TOO_LARGE)?;
        }
    }
    Ok(sums)
}

impl LedgerView for View<'_> {
    fn sum(&self, scope: &ScopeKey, since_ms: u64) -> Amount {
        let full = (Amount::MAX, u64::MAX);
        self.or_full(self.window(scope, since_ms), full).0
    }

    fn count(&self, scope: &ScopeKey, since_ms: u64) -> u64 {
        let full = (Amount::MAX, u64::MAX);
        self.or_full(self.window(scope, since_ms), full).1
    }

    fn conflict(&self, raw_hash: &[u8; 32]) -> Option<[u8; 32]> {
        let unknown = Some(RequestId::from_bytes([0; 32]));
        self.or_full(self.same_bytes(raw_hash), unknown)
            .map(|id| *id.as_bytes())
    }

    fn holder(&self, key: &[u8; 32], now_ms: u64) -> Option<[u8; 32]> {
        let unknown = Some(RequestId::from_bytes([0; 32]));
        self.or_full(self.held(key, now_ms), unknown)
            .map(|id| *id.as_bytes())
    }
}
