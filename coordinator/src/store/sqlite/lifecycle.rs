//! Sharings of keys, orders about keys, and nodes that are not chosen.

use prost::{Message as _, bytes::Bytes};
use proto::v1;
use rusqlite::{Connection, params};
use serde_json::json;

use super::{from_sql, to_sql, trail};
use crate::store::{KeyOrderRow, SharingRow, StoreError};

pub(super) fn put_order(db: &Connection, row: &KeyOrderRow) -> Result<(), StoreError> {
    let known = db
        .query_row(
            "SELECT state FROM key_order WHERE request_id = ?",
            [row.request_id],
            |found| found.get::<_, String>(0),
        )
        .map(Some)
        .or_else(|error| match error {
            rusqlite::Error::QueryReturnedNoRows => Ok(None),
            other => Err(other),
        })?;
    let status = &row.status;
    db.execute(
        "INSERT INTO key_order (request_id, state, created_ms, updated_ms, status) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (request_id) DO UPDATE SET state = ?2, updated_ms = ?4, status = ?5",
        params![
            row.request_id,
            status.state,
            to_sql(status.created_ms)?,
            to_sql(status.updated_ms)?,
            status.encode_to_vec(),
        ],
    )?;
    if known.as_deref() == Some(status.state.as_str()) {
        return Ok(());
    }
    let detail = json!({
        "order": hex::encode(row.request_id),
        "kind": status.kind,
        "state": status.state,
        "lines": status.lines,
    });
    trail::append(db, "key-order", None, &detail, status.updated_ms)
}

pub(super) fn orders(db: &Connection, limit: u32) -> Result<Vec<KeyOrderRow>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT request_id, status FROM key_order ORDER BY created_ms DESC, rowid DESC LIMIT ?",
    )?;
    let mut rows = statement.query([limit])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let status = v1::OrderStatus::decode(Bytes::from(row.get::<_, Vec<u8>>(1)?))
            .map_err(|_| StoreError::Damaged("an order does not decode"))?;
        found.push(KeyOrderRow {
            request_id: row.get(0)?,
            status,
        });
    }
    found.reverse();
    Ok(found)
}

pub(super) fn add_sharing(db: &Connection, row: &SharingRow) -> Result<(), StoreError> {
    let changed = db.execute(
        "INSERT OR IGNORE INTO sharing (key_id, epoch, attempt, certificate, at_ms) VALUES (?, ?, ?, ?, ?)",
        params![
            row.key_id,
            row.epoch,
            row.attempt,
            row.certificate.as_ref(),
            to_sql(row.at_ms)?,
        ],
    )?;
    if changed == 0 {
        return Ok(());
    }
    let detail =
        json!({ "key": hex::encode(row.key_id), "epoch": row.epoch, "attempt": row.attempt });
    trail::append(db, "key-resharing", None, &detail, row.at_ms)
}

pub(super) fn sharings(db: &Connection) -> Result<Vec<SharingRow>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT key_id, epoch, attempt, certificate, at_ms FROM sharing ORDER BY key_id, epoch, attempt",
    )?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(SharingRow {
            key_id: row.get(0)?,
            epoch: row.get(1)?,
            attempt: row.get(2)?,
            certificate: Bytes::from(row.get::<_, Vec<u8>>(3)?),
            at_ms: from_sql(row.get(4)?)?,
        });
    }
    Ok(found)
}

pub(super) fn set_drained(
    db: &Connection,
    node: u16,
    drained: bool,
    now_ms: u64,
) -> Result<(), StoreError> {
    let changed = if drained {
        db.execute("INSERT OR IGNORE INTO drained (node) VALUES (?)", [node])?
    } else {
        db.execute("DELETE FROM drained WHERE node = ?", [node])?
    };
    if changed == 0 {
        return Ok(());
    }
    let kind = if drained {
        "node-drained"
    } else {
        "node-resumed"
    };
    trail::append(db, kind, None, &json!({ "node": node }), now_ms)
}

pub(super) fn drained(db: &Connection) -> Result<Vec<u16>, StoreError> {
    let mut statement = db.prepare_cached("SELECT node FROM drained ORDER BY node")?;
    let rows = statement.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
