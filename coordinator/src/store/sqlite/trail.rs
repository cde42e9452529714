//! The audit trail: rows chained by hash, so that a row cannot be changed, removed or put in later without every
//! following hash telling.

use rusqlite::{Connection, OptionalExtension as _, params};
use sha2::{Digest as _, Sha256};

use super::{EventRow, RequestId, StoreError, from_sql, id_from_sql, to_sql};

/// Appends one row inside the caller's transaction.
pub(super) fn append(
    db: &Connection,
    kind: &str,
    request: Option<RequestId>,
    detail: &serde_json::Value,
    now_ms: u64,
) -> Result<(), StoreError> {
    let last: Option<(i64, [u8; 32])> = db
        .prepare_cached("SELECT seq, hash FROM event ORDER BY seq DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (last_seq, last_hash) = last.unwrap_or((0, [0; 32]));
    let seq = from_sql(last_seq)?.saturating_add(1);
    let detail = detail.to_string();
    let hash = chain(&last_hash, seq, now_ms, kind, request.as_ref(), &detail);
    db.prepare_cached(
        "INSERT INTO event (seq, at_ms, kind, request, detail, hash) VALUES (?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        to_sql(seq)?,
        to_sql(now_ms)?,
        kind,
        request.as_ref().map(RequestId::as_bytes),
        detail,
        hash
    ])?;
    Ok(())
}

/// The hash of a row, given the hash of the row before (zero for the first).
fn chain(
    before: &[u8; 32],
    seq: u64,
    at_ms: u64,
    kind: &str,
    request: Option<&RequestId>,
    detail: &str,
) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"quorate/coordinator/event/v1");
    hash.update(before);
    hash.update(seq.to_be_bytes());
    hash.update(at_ms.to_be_bytes());
    let request: &[u8] = request.map_or(&[], |id| id.as_bytes());
    for part in [kind.as_bytes(), request, detail.as_bytes()] {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// Rows after `after`, each checked against the one before it.
pub(super) fn list(db: &Connection, after: u64, limit: u32) -> Result<Vec<EventRow>, StoreError> {
    let after = to_sql(after)?;
    let mut before: [u8; 32] = db
        .prepare_cached("SELECT hash FROM event WHERE seq = ?")?
        .query_row([after], |row| row.get(0))
        .optional()?
        .unwrap_or([0; 32]);
    let mut statement = db.prepare_cached(
        "SELECT seq, at_ms, kind, request, detail, hash FROM event WHERE seq > ? ORDER BY seq LIMIT ?",
    )?;
    let mut rows = statement.query(params![after, limit])?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        let request: Option<Vec<u8>> = row.get(3)?;
        let event = EventRow {
            seq: from_sql(row.get(0)?)?,
            at_ms: from_sql(row.get(1)?)?,
            kind: row.get(2)?,
            request: request.as_deref().map(id_from_sql).transpose()?,
            detail: row.get(4)?,
            hash: row.get(5)?,
        };
        let expected = chain(
            &before,
            event.seq,
            event.at_ms,
            &event.kind,
            event.request.as_ref(),
            &event.detail,
        );
        if expected != event.hash {
            return Err(StoreError::Damaged("the audit trail does not chain"));
        }
        before = event.hash;
        events.push(event);
    }
    Ok(events)
}
