//! Policies, orders, keys, evidence and the count of starts.

use std::collections::BTreeMap;

use prost::{Message as _, bytes::Bytes};
use proto::v1;
use rusqlite::{Connection, Row, params};
use serde_json::json;

use super::{
    EvidenceRow, FailedSet, KeyRow, KeyStep, OrderRow, PolicyRow, RequestId, StoreError, from_sql,
    id_from_sql, to_sql, trail,
};
use crate::store::KeyStage;

const UNREADABLE: StoreError = StoreError::Damaged("a stored message cannot be decoded");

pub(super) fn begin(db: &Connection, now_ms: u64) -> Result<u64, StoreError> {
    let count: i64 = db.query_row(
        "INSERT INTO meta (name, value) VALUES ('starts', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value",
        [],
        |row| row.get(0),
    )?;
    trail::append(db, "start", None, &json!({ "count": count }), now_ms)?;
    from_sql(count)
}

pub(super) fn add_policy(db: &Connection, row: PolicyRow) -> Result<(), StoreError> {
    let detail = json!({ "version": row.version, "hash": hex::encode(&row.hash) });
    let install = v1::InstallPolicy {
        document: row.document,
        signatures: row.signatures,
    };
    db.execute(
        "INSERT INTO policy (version, hash, install, installed_ms) VALUES (?, ?, ?, ?)",
        params![
            to_sql(row.version)?,
            row.hash.as_ref(),
            install.encode_to_vec(),
            to_sql(row.installed_ms)?
        ],
    )?;
    trail::append(db, "policy", None, &detail, row.installed_ms)
}

pub(super) fn policies(db: &Connection) -> Result<Vec<PolicyRow>, StoreError> {
    let mut statement =
        db.prepare_cached("SELECT version, hash, install, installed_ms FROM policy ORDER BY seq")?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let install: Vec<u8> = row.get(2)?;
        let install = v1::InstallPolicy::decode(Bytes::from(install)).map_err(|_| UNREADABLE)?;
        found.push(PolicyRow {
            version: from_sql(row.get(0)?)?,
            hash: blob(row, 1)?,
            document: install.document,
            signatures: install.signatures,
            installed_ms: from_sql(row.get(3)?)?,
        });
    }
    Ok(found)
}

pub(super) fn add_order(db: &Connection, row: OrderRow, kind: &str) -> Result<(), StoreError> {
    let count = row.statements.len();
    let body = v1::Order {
        statements: row.statements,
    }
    .encode_to_vec();
    db.execute(
        "INSERT INTO person_order (accepted_ms, body, state) VALUES (?, ?, ?)",
        params![to_sql(row.accepted_ms)?, body, row.state.as_ref()],
    )?;
    trail::append(
        db,
        kind,
        None,
        &json!({ "statements": count }),
        row.accepted_ms,
    )
}

pub(super) fn orders(db: &Connection) -> Result<Vec<OrderRow>, StoreError> {
    let mut statement =
        db.prepare_cached("SELECT accepted_ms, body, state FROM person_order ORDER BY seq")?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let body: Vec<u8> = row.get(1)?;
        let order = v1::Order::decode(Bytes::from(body)).map_err(|_| UNREADABLE)?;
        found.push(OrderRow {
            accepted_ms: from_sql(row.get(0)?)?,
            statements: order.statements,
            state: blob(row, 2)?,
        });
    }
    Ok(found)
}

const fn stage_word(stage: KeyStage) -> &'static str {
    match stage {
        KeyStage::Running => "running",
        KeyStage::Certified => "certified",
        KeyStage::Active => "active",
        KeyStage::Aborted => "aborted",
    }
}

fn stage_of(word: &str) -> Result<KeyStage, StoreError> {
    [
        KeyStage::Running,
        KeyStage::Certified,
        KeyStage::Active,
        KeyStage::Aborted,
    ]
    .into_iter()
    .find(|stage| stage_word(*stage) == word)
    .ok_or(StoreError::Damaged("a key stage is unknown"))
}

pub(super) fn add_key(db: &Connection, row: &KeyRow) -> Result<(), StoreError> {
    db.execute(
        "INSERT INTO generation (request_id, name, scheme, threshold, stage, created_ms, package, nodes, imported) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            row.request_id,
            row.name,
            row.scheme,
            row.threshold,
            stage_word(row.stage),
            to_sql(row.created_ms)?,
            row.package.as_ref(),
            json!(row.nodes).to_string(),
            row.imported,
        ],
    )?;
    let detail = json!({ "generation": hex::encode(row.request_id), "name": row.name, "scheme": row.scheme, "nodes": row.nodes, "imported": row.imported });
    trail::append(db, "key-start", None, &detail, row.created_ms)
}

pub(super) fn step_key(
    db: &Connection,
    request_id: &[u8; 32],
    step: &KeyStep,
    now_ms: u64,
) -> Result<KeyRow, StoreError> {
    let (from, to, kind) = match step {
        KeyStep::Certify(_) => (KeyStage::Running, KeyStage::Certified, "key-certified"),
        KeyStep::Activate(_) => (KeyStage::Certified, KeyStage::Active, "key-active"),
        KeyStep::Abort => (KeyStage::Running, KeyStage::Aborted, "key-aborted"),
    };
    let changed = db.execute(
        "UPDATE generation SET stage = ? WHERE request_id = ? AND stage = ?",
        params![stage_word(to), request_id, stage_word(from)],
    )?;
    if changed != 1 {
        return Err(StoreError::NotFound);
    }
    match step {
        KeyStep::Certify(parts) => {
            for (node, part) in parts {
                db.execute(
                    "INSERT INTO part (request_id, node, part) VALUES (?, ?, ?)",
                    params![request_id, node, part.as_ref()],
                )?;
            }
        }
        KeyStep::Activate(package) => {
            db.execute(
                "UPDATE generation SET package = ? WHERE request_id = ?",
                params![package.as_ref(), request_id],
            )?;
        }
        KeyStep::Abort => {}
    }
    trail::append(
        db,
        kind,
        None,
        &json!({ "generation": hex::encode(request_id) }),
        now_ms,
    )?;
    read_keys(db, Some(request_id))?
        .pop()
        .ok_or(StoreError::NotFound)
}

pub(super) fn keys(db: &Connection) -> Result<Vec<KeyRow>, StoreError> {
    read_keys(db, None)
}

/// All key generations, oldest first, or the one of this name.
fn read_keys(db: &Connection, only: Option<&[u8; 32]>) -> Result<Vec<KeyRow>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT request_id, name, scheme, threshold, stage, created_ms, package, nodes, imported FROM generation \
         WHERE ?1 IS NULL OR request_id = ?1 ORDER BY created_ms, rowid",
    )?;
    let mut rows = statement.query(params![only])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let stage: String = row.get(4)?;
        let request_id: [u8; 32] = row.get(0)?;
        found.push(KeyRow {
            request_id,
            name: row.get(1)?,
            scheme: row.get(2)?,
            threshold: row.get(3)?,
            stage: stage_of(&stage)?,
            created_ms: from_sql(row.get(5)?)?,
            package: blob(row, 6)?,
            parts: parts(db, &request_id)?,
            nodes: serde_json::from_str(&row.get::<_, String>(7)?)
                .map_err(|_| StoreError::Damaged("a list of nodes does not decode"))?,
            imported: row.get(8)?,
        });
    }
    Ok(found)
}

fn parts(db: &Connection, request_id: &[u8; 32]) -> Result<BTreeMap<u16, Bytes>, StoreError> {
    let mut statement = db.prepare_cached("SELECT node, part FROM part WHERE request_id = ?")?;
    let rows = statement.query_map([request_id], |row| {
        Ok((row.get(0)?, Bytes::from(row.get::<_, Vec<u8>>(1)?)))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn count_failure(
    db: &Connection,
    signers: &[u16],
    request: Option<RequestId>,
    now_ms: u64,
) -> Result<u32, StoreError> {
    let names: Vec<String> = signers.iter().map(ToString::to_string).collect();
    let failures = db.query_row(
        "INSERT INTO failed_set (signers, failures, at_ms) VALUES (?1, 1, ?2) \
         ON CONFLICT (signers) DO UPDATE SET failures = failures + 1, at_ms = ?2 RETURNING failures",
        params![names.join(","), to_sql(now_ms)?],
        |row| row.get(0),
    )?;
    let detail =
        json!({ "what": "signature does not verify", "nodes": signers, "times": failures });
    trail::append(db, "alert", request, &detail, now_ms)?;
    Ok(failures)
}

pub(super) fn failed_sets(db: &Connection) -> Result<Vec<FailedSet>, StoreError> {
    let mut statement =
        db.prepare("SELECT signers, failures, at_ms FROM failed_set ORDER BY signers")?;
    let mut rows = statement.query([])?;
    let mut sets = Vec::new();
    while let Some(row) = rows.next()? {
        let signers: String = row.get(0)?;
        let signers = signers.split(',').map(str::parse).collect::<Result<_, _>>();
        sets.push(FailedSet {
            signers: signers.map_err(|_| StoreError::Damaged("a set of signers is no list"))?,
            failures: row.get(1)?,
            at_ms: from_sql(row.get(2)?)?,
        });
    }
    Ok(sets)
}

pub(super) fn add_evidence(db: &Connection, row: &EvidenceRow) -> Result<(), StoreError> {
    db.execute(
        "INSERT INTO evidence (node, at_ms, request, evidence, fault) VALUES (?, ?, ?, ?, ?)",
        params![
            row.node,
            to_sql(row.at_ms)?,
            row.request.as_ref().map(RequestId::as_bytes),
            row.evidence.as_ref(),
            row.fault
        ],
    )?;
    let detail =
        json!({ "node": row.node, "fault": row.fault, "transferable": !row.evidence.is_empty() });
    trail::append(db, "alert", row.request, &detail, row.at_ms)
}

pub(super) fn evidence(db: &Connection) -> Result<Vec<EvidenceRow>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT node, at_ms, request, evidence, fault FROM evidence ORDER BY seq",
    )?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let request: Option<Vec<u8>> = row.get(2)?;
        found.push(EvidenceRow {
            node: row.get(0)?,
            at_ms: from_sql(row.get(1)?)?,
            request: request.as_deref().map(id_from_sql).transpose()?,
            evidence: blob(row, 3)?,
            fault: row.get(4)?,
        });
    }
    Ok(found)
}

fn blob(row: &Row<'_>, column: usize) -> Result<Bytes, StoreError> {
    Ok(Bytes::from(row.get::<_, Vec<u8>>(column)?))
}
