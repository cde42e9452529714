//! Requests: taking them in, deciding them on the live ledger, moving them along the state table.

use std::collections::BTreeMap;

use prost::{Message as _, bytes::Bytes};
use proto::v1;
use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::{Value, json};

use super::{
    Decided, Filter, Judge, Judgement, Move, NewApproval, NewRequest, Reach, Record, RequestId,
    StoreError, from_sql, id_from_sql,
    ledger::{self, View},
    to_sql, trail,
};
use crate::{
    state::{Event, State},
    store::{Case, Decision},
};

/// Votes kept for one request; far above any quorum, far below a flood.
const APPROVALS_BOUND: usize = 64;

const UNREADABLE: StoreError = StoreError::Damaged("a stored message cannot be decoded");

const COLUMNS: &str = "id, initiator, idempotency_key, wallet, state, created_ms, updated_ms, expires_ms, signed_intent, detail, raw_hash";

/// A request with the column that only this module needs.
struct Row {
    record: Record,
    raw_hash: [u8; 32],
}

pub(super) fn submit(
    db: &Connection,
    new: &NewRequest,
    judge: &Judge,
    reach: Reach,
    now_ms: u64,
) -> Result<Decided, StoreError> {
    if let Some(existing) = holder_of_key(db, &new.initiator, &new.idempotency_key)? {
        if existing != new.id {
            return Err(StoreError::Conflict { existing });
        }
        return Ok(Decided {
            record: load(db, existing)?,
            changed: false,
            token: None,
        });
    }
    if count_live(db)? >= new.live_bound {
        return Err(StoreError::Full {
            what: "the number of live requests",
            bound: new.live_bound,
        });
    }
    let mut row = Row {
        record: blank(new, now_ms),
        raw_hash: new.transaction,
    };
    insert(db, &row)?;
    trail::append(
        db,
        "submit",
        Some(new.id),
        &json!({ "initiator": new.initiator, "wallet": new.wallet, "key": new.idempotency_key }),
        now_ms,
    )?;
    let (changed, token) = settle(db, &mut row, judge, reach, now_ms)?;
    if changed {
        save(db, &mut row.record, now_ms)?;
    }
    Ok(Decided {
        record: row.record,
        changed: true,
        token,
    })
}

pub(super) fn decide(
    db: &Connection,
    id: RequestId,
    approval: Option<&NewApproval>,
    judge: &Judge,
    reach: Reach,
    now_ms: u64,
) -> Result<Decided, StoreError> {
    let mut row = load_row(db, id)?;
    if row.record.state != State::Announced {
        return Err(StoreError::WrongState {
            found: row.record.state,
        });
    }
    let added = match approval {
        Some(approval) => add_approval(db, &mut row.record, approval, now_ms)?,
        None => false,
    };
    let (settled, token) = settle(db, &mut row, judge, reach, now_ms)?;
    let changed = added || settled;
    if changed {
        save(db, &mut row.record, now_ms)?;
    }
    Ok(Decided {
        record: row.record,
        changed,
        token,
    })
}

pub(super) fn advance(db: &Connection, id: RequestId, step: Move) -> Result<Record, StoreError> {
    let mut record = load(db, id)?;
    let Some(next) = record.state.after(step.event) else {
        return Err(StoreError::WrongState {
            found: record.state,
        });
    };
    let mut detail = json!({ "from": record.state.as_str() });
    record.state = next;
    if let Some(failure) = step.failure {
        note(&mut detail, "code", json!(failure.code));
        note(&mut detail, "why", json!(failure.message));
        record.status.failure = Some(failure);
    }
    if next.is_final() {
        record.status.needs = None;
    }
    if let Some(release) = step.release {
        note(&mut detail, "signers", json!(release.signers));
        record.status.signature = release.signatures.first().cloned().unwrap_or_default();
        record.status.signatures = release.signatures;
        record.status.signed_tx = release.signed_tx;
        record.status.signers = release.signers;
        record.status.timings_us.extend(release.timings_us);
    }
    save(db, &mut record, step.now_ms)?;
    trail::append(db, step.event.as_str(), Some(id), &detail, step.now_ms)?;
    Ok(record)
}

fn note(detail: &mut Value, key: &str, value: Value) {
    if let Some(map) = detail.as_object_mut() {
        map.insert(key.to_owned(), value);
    }
}

pub(super) fn weigh(
    db: &Connection,
    id: RequestId,
    judge: &Judge,
    now_ms: u64,
) -> Result<Judgement, StoreError> {
    let (first_seen_ms, approvals) = match load(db, id) {
        Ok(record) => (record.status.created_ms, record.approvals),
        Err(StoreError::NotFound) => (now_ms, Vec::new()),
        Err(error) => return Err(error),
    };
    let view = View::new(db, id);
    let judgement = judge(&Case {
        now_ms,
        first_seen_ms,
        approvals: &approvals,
        ledger: &view,
    });
    view.failure()?;
    Ok(judgement)
}

/// Asks the judge and applies what it says to the row; the caller saves it.
fn settle(
    db: &Connection,
    row: &mut Row,
    judge: &Judge,
    reach: Reach,
    now_ms: u64,
) -> Result<(bool, Option<Box<crate::store::Approved>>), StoreError> {
    let record = &mut row.record;
    let view = View::new(db, record.id);
    let judgement = judge(&Case {
        now_ms,
        first_seen_ms: record.status.created_ms,
        approvals: &record.approvals,
        ledger: &view,
    });
    view.failure()?;
    match judgement.decision {
        Decision::Deny(reasons) => {
            step(
                db,
                record,
                Event::Deny,
                &json!({ "reasons": codes(&reasons) }),
                now_ms,
            )?;
            record.status.reasons = reasons;
            record.status.needs = None;
            Ok((true, None))
        }
        Decision::Wait(reasons, needs) => {
            let changed =
                record.status.reasons != reasons || record.status.needs.as_ref() != Some(&needs);
            record.status.reasons = reasons;
            record.status.needs = Some(needs);
            Ok((changed, None))
        }
        Decision::Approve(debits, conflicts) => {
            step(
                db,
                record,
                Event::Approve,
                &json!({ "approvals": record.approvals.len() }),
                now_ms,
            )?;
            ledger::debit(db, record.id, &row.raw_hash, &debits, now_ms)?;
            ledger::hold(db, record.id, &conflicts, record.expires_ms)?;
            step(
                db,
                record,
                Event::Reserve,
                &json!({ "debits": debits.len() }),
                now_ms,
            )?;
            if reach == Reach::Sign {
                step(db, record, Event::Sign, &json!({}), now_ms)?;
            }
            record.status.reasons.clear();
            record.status.needs = None;
            Ok((true, judgement.token))
        }
    }
}

fn codes(reasons: &[v1::Reason]) -> Vec<&str> {
    reasons.iter().map(|reason| reason.code.as_str()).collect()
}

fn step(
    db: &Connection,
    record: &mut Record,
    event: Event,
    detail: &Value,
    now_ms: u64,
) -> Result<(), StoreError> {
    let found = record.state;
    record.state = found.after(event).ok_or(StoreError::WrongState { found })?;
    trail::append(db, event.as_str(), Some(record.id), detail, now_ms)
}

fn blank(new: &NewRequest, now_ms: u64) -> Record {
    Record {
        id: new.id,
        state: State::Announced,
        initiator: new.initiator.clone(),
        expires_ms: new.expires_ms,
        status: v1::RequestStatus {
            request_id: Bytes::copy_from_slice(new.id.as_bytes()),
            state: State::Announced.wire().into(),
            wallet: new.wallet.clone(),
            idempotency_key: new.idempotency_key.clone(),
            signed_intent: new.signed_intent.clone(),
            created_ms: now_ms,
            updated_ms: now_ms,
            intent_lines: new.lines.clone(),
            policy_hash: new.policy_hash.clone(),
            ..Default::default()
        },
        approvals: Vec::new(),
        receipts: BTreeMap::new(),
    }
}

fn holder_of_key(
    db: &Connection,
    initiator: &str,
    key: &str,
) -> Result<Option<RequestId>, StoreError> {
    let id: Option<Vec<u8>> = db
        .prepare_cached("SELECT id FROM request WHERE initiator = ? AND idempotency_key = ?")?
        .query_row([initiator, key], |row| row.get(0))
        .optional()?;
    id.as_deref().map(id_from_sql).transpose()
}

fn count_live(db: &Connection) -> Result<usize, StoreError> {
    let count: i64 = db
        .prepare_cached(
            "SELECT count(*) FROM request WHERE state IN ('announced', 'approved', 'reserved', 'signing')",
        )?
        .query_row([], |row| row.get(0))?;
    usize::try_from(count).map_err(|_| StoreError::Damaged("a count is negative"))
}

/// The columns of `detail`: the status without what has a column or a table of its own.
fn detail(status: &v1::RequestStatus) -> Vec<u8> {
    let mut slim = status.clone();
    slim.request_id.clear();
    slim.signed_intent.clear();
    slim.approvals.clear();
    slim.wallet.clear();
    slim.idempotency_key.clear();
    slim.encode_to_vec()
}

fn insert(db: &Connection, row: &Row) -> Result<(), StoreError> {
    let record = &row.record;
    db.prepare_cached(
        "INSERT INTO request (id, initiator, idempotency_key, wallet, state, created_ms, updated_ms, expires_ms, signed_intent, detail, raw_hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![
        record.id.as_bytes(),
        record.initiator,
        record.status.idempotency_key,
        record.status.wallet,
        record.state.as_str(),
        to_sql(record.status.created_ms)?,
        to_sql(record.status.updated_ms)?,
        to_sql(record.expires_ms)?,
        record.status.signed_intent.as_ref(),
        detail(&record.status),
        row.raw_hash
    ])?;
    Ok(())
}

fn save(db: &Connection, record: &mut Record, now_ms: u64) -> Result<(), StoreError> {
    record.status.state = record.state.wire().into();
    record.status.updated_ms = now_ms.max(record.status.updated_ms);
    db.prepare_cached("UPDATE request SET state = ?, updated_ms = ?, detail = ? WHERE id = ?")?
        .execute(params![
            record.state.as_str(),
            to_sql(record.status.updated_ms)?,
            detail(&record.status),
            record.id.as_bytes()
        ])?;
    Ok(())
}

/// Adds a vote unless exactly this statement is there already.
fn add_approval(
    db: &Connection,
    record: &mut Record,
    approval: &NewApproval,
    now_ms: u64,
) -> Result<bool, StoreError> {
    if record.approvals.contains(&approval.statement) {
        return Ok(false);
    }
    if record.approvals.len() >= APPROVALS_BOUND {
        return Err(StoreError::Full {
            what: "the number of votes on one request",
            bound: APPROVALS_BOUND,
        });
    }
    db.prepare_cached("INSERT INTO approval (request, statement, info) VALUES (?, ?, ?)")?
        .execute(params![
            record.id.as_bytes(),
            approval.statement.as_ref(),
            approval.info.encode_to_vec()
        ])?;
    record.approvals.push(approval.statement.clone());
    record.status.approvals.push(approval.info.clone());
    let detail = json!({ "person": approval.info.person, "decision": approval.info.decision });
    trail::append(db, "vote", Some(record.id), &detail, now_ms)?;
    Ok(true)
}

pub(super) fn add_receipt(
    db: &Connection,
    id: RequestId,
    node: u16,
    receipt: &Bytes,
    now_ms: u64,
) -> Result<(), StoreError> {
    let known = db
        .prepare_cached("SELECT 1 FROM request WHERE id = ?")?
        .exists([id.as_bytes()])?;
    if !known {
        return Err(StoreError::NotFound);
    }
    let added = db
        .prepare_cached("INSERT OR IGNORE INTO receipt (request, node, receipt) VALUES (?, ?, ?)")?
        .execute(params![id.as_bytes(), node, receipt.as_ref()])?;
    if added == 1 {
        trail::append(db, "receipt", Some(id), &json!({ "node": node }), now_ms)?;
    }
    Ok(())
}

pub(super) fn load(db: &Connection, id: RequestId) -> Result<Record, StoreError> {
    Ok(load_row(db, id)?.record)
}

fn load_row(db: &Connection, id: RequestId) -> Result<Row, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM request WHERE id = ?");
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query([id.as_bytes()])?;
    let row = rows.next()?.ok_or(StoreError::NotFound)?;
    read(db, row)
}

fn read(db: &Connection, row: &rusqlite::Row<'_>) -> Result<Row, StoreError> {
    let id = id_from_sql(row.get_ref(0)?.as_blob().map_err(|_| UNREADABLE)?)?;
    let detail: Vec<u8> = row.get(9)?;
    let mut status = v1::RequestStatus::decode(Bytes::from(detail)).map_err(|_| UNREADABLE)?;
    let state = row.get_ref(4)?.as_str().map_err(|_| UNREADABLE)?;
    let state = State::parse(state).ok_or(StoreError::Damaged("a state is unknown"))?;
    status.request_id = Bytes::copy_from_slice(id.as_bytes());
    status.state = state.wire().into();
    status.idempotency_key = row.get(2)?;
    status.wallet = row.get(3)?;
    status.created_ms = from_sql(row.get(5)?)?;
    status.updated_ms = from_sql(row.get(6)?)?;
    status.signed_intent = Bytes::from(row.get::<_, Vec<u8>>(8)?);
    let (approvals, infos) = approvals(db, id)?;
    status.approvals = infos;
    let record = Record {
        id,
        state,
        initiator: row.get(1)?,
        expires_ms: from_sql(row.get(7)?)?,
        status,
        approvals,
        receipts: receipts(db, id)?,
    };
    Ok(Row {
        record,
        raw_hash: row.get(10)?,
    })
}

fn approvals(
    db: &Connection,
    id: RequestId,
) -> Result<(Vec<Bytes>, Vec<v1::ApprovalInfo>), StoreError> {
    let mut statement =
        db.prepare_cached("SELECT statement, info FROM approval WHERE request = ? ORDER BY rowid")?;
    let mut rows = statement.query([id.as_bytes()])?;
    let (mut statements, mut infos) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        statements.push(Bytes::from(row.get::<_, Vec<u8>>(0)?));
        let info: Vec<u8> = row.get(1)?;
        infos.push(v1::ApprovalInfo::decode(Bytes::from(info)).map_err(|_| UNREADABLE)?);
    }
    Ok((statements, infos))
}

fn receipts(db: &Connection, id: RequestId) -> Result<BTreeMap<u16, Bytes>, StoreError> {
    let mut statement = db.prepare_cached("SELECT node, receipt FROM receipt WHERE request = ?")?;
    let rows = statement.query_map([id.as_bytes()], |row| {
        Ok((row.get(0)?, Bytes::from(row.get::<_, Vec<u8>>(1)?)))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn list(db: &Connection, filter: &Filter) -> Result<Vec<Record>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM request WHERE (?1 IS NULL OR state = ?1) AND (?2 IS NULL OR wallet = ?2) ORDER BY rowid DESC LIMIT ?3"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let state = filter.state.map(State::as_str);
    let mut rows = statement.query(params![state, filter.wallet, filter.limit])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(db, row)?.record);
    }
    Ok(found)
}

pub(super) fn live(db: &Connection) -> Result<Vec<Record>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM request WHERE state IN ('announced', 'approved', 'reserved', 'signing') ORDER BY rowid"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(db, row)?.record);
    }
    Ok(found)
}
