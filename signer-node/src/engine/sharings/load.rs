//! Reading the sharings back at a start; whatever does not fit stops the start.

use std::collections::BTreeMap;
use std::sync::Arc;

use mpc_core::lineage::Lineage;

use super::{
    Held, Joined, Origin, Place, Record, Sharings, Stop, Stored, lineage_label, place_of,
    prepared_label, share_label,
};
use crate::codec::Malformed;
use crate::engine::dkg::sealed_digest;
use crate::engine::inherit::Totals;
use crate::engine::keys::Key;
use crate::seal::{Label, Vault};
use crate::store::{Contents, Row, StoreError, Table};

/// The active shares.
type Keys = BTreeMap<[u8; 32], Arc<Key>>;

const NEVER_JOINED: &str = "totals for a sharing that no row says was joined";

/// What the rows of one key say, one after the other.
struct Told {
    name: String,
    request: [u8; 32],
    part: Vec<u8>,
    parts: Vec<Vec<u8>>,
    since_ms: u64,
    /// The digest that the last row names.
    lineage: [u8; 32],
    prepared: BTreeMap<Place, (Stored, [u8; 32])>,
    /// The place and the sealed share of the last activation.
    active: Option<(Place, [u8; 32])>,
    stopped: Option<Stop>,
    joined: BTreeMap<Place, Joined>,
    unconfirmed: bool,
    row: u64,
}

fn damaged(row: u64, what: impl Into<String>) -> StoreError {
    StoreError::Damaged {
        table: Table::Sharings.name(),
        row,
        what: what.into(),
    }
}

/// The keys as the log and the sealed records have them.
///
/// # Errors
/// [`StoreError`] naming what is missing or does not fit.
pub(crate) fn load(contents: &Contents, vault: &Vault) -> Result<(Sharings, Keys), StoreError> {
    let mut told: BTreeMap<[u8; 32], Told> = BTreeMap::new();
    for row in contents.rows(Table::Sharings) {
        let record = Record::decode(&row.body)
            .map_err(|error: Malformed| damaged(row.number, error.to_string()))?;
        follow(&mut told, record, row)?;
    }
    let (mut sharings, mut keys) = (Sharings::new(), Keys::new());
    for (key, told) in told {
        let (held, share) = settle(&key, told, contents, vault)?;
        if let Some(share) = share {
            keys.insert(key, share);
        }
        sharings.insert(key, held);
    }
    Ok((sharings, keys))
}

/// When the store was put together from a backup, if it was, and up to when it does not know what was spent.
pub(crate) fn origin(contents: &Contents) -> Result<Option<Origin>, StoreError> {
    let mut origin: Option<Origin> = None;
    for row in contents.rows(Table::Sharings) {
        let record = Record::decode(&row.body)
            .map_err(|error: Malformed| damaged(row.number, error.to_string()))?;
        match record {
            Record::Restored { at_ms, .. } => {
                let known = origin.get_or_insert(Origin {
                    restored_ms: at_ms,
                    settled: None,
                });
                known.restored_ms = known.restored_ms.max(at_ms);
            }
            Record::Blind { before_ms } => {
                if let Some(known) = &mut origin {
                    known.settled = Some(before_ms);
                }
            }
            _ => {}
        }
    }
    Ok(origin)
}

/// What counts of what was spent before a sharing was joined: the key, the sharing, when that was, and the totals.
type Part = ([u8; 32], Place, u64, Totals);

/// What this node counts as spent that it has not let out itself.
pub(crate) fn inherited(contents: &Contents) -> Result<Vec<Part>, StoreError> {
    let (mut all, mut joined) = (Vec::new(), BTreeMap::new());
    for row in contents.rows(Table::Sharings) {
        let bad = |error: Malformed| damaged(row.number, error.to_string());
        match Record::decode(&row.body).map_err(bad)? {
            Record::Joined {
                key,
                place,
                before_ms,
            } => {
                joined.insert((key, place), before_ms);
            }
            Record::Inherited { key, place, totals } => {
                let before_ms = joined.get(&(key, place));
                let before_ms = before_ms.ok_or_else(|| damaged(row.number, NEVER_JOINED))?;
                let totals = Totals::decode_stored(&totals).map_err(bad)?;
                all.push((key, place, *before_ms, totals));
            }
            _ => {}
        }
    }
    Ok(all)
}

fn follow(
    told: &mut BTreeMap<[u8; 32], Told>,
    record: Record,
    row: &Row,
) -> Result<(), StoreError> {
    let unknown = || damaged(row.number, "a row about a key that no row makes known");
    match record {
        Record::Known {
            key,
            name,
            request,
            part,
            parts,
            at_ms,
            lineage,
        } => {
            let fresh = Told {
                name,
                request,
                part,
                parts,
                since_ms: at_ms,
                lineage,
                prepared: BTreeMap::new(),
                active: None,
                stopped: None,
                joined: BTreeMap::new(),
                unconfirmed: false,
                row: row.number,
            };
            told.insert(key, fresh);
        }
        Record::Prepared {
            key,
            place,
            sharing,
            request,
            holds,
            part,
            sealed,
            lineage,
        } => {
            let told = told.get_mut(&key).ok_or_else(unknown)?;
            let stored = Stored {
                sharing,
                request,
                holds,
                part,
                package: None,
                sealed: Vec::new(),
            };
            told.prepared.insert(place, (stored, sealed));
            (told.lineage, told.row) = (lineage, row.number);
        }
        Record::Active {
            key,
            place,
            at_ms,
            sealed,
            lineage,
        } => {
            let told = told.get_mut(&key).ok_or_else(unknown)?;
            told.prepared.retain(|other, _| *other > place);
            told.active = Some((place, sealed));
            told.unconfirmed = false;
            (told.since_ms, told.lineage, told.row) = (at_ms, lineage, row.number);
        }
        Record::Noted { key, lineage, .. } => {
            let told = told.get_mut(&key).ok_or_else(unknown)?;
            (told.lineage, told.row) = (lineage, row.number);
        }
        Record::Blind { .. } => {}
        Record::Joined {
            key,
            place,
            before_ms,
        } => {
            let told = told.get_mut(&key).ok_or_else(unknown)?;
            let joined = Joined {
                before_ms,
                told_ms: None,
            };
            told.joined.insert(place, joined);
        }
        Record::Inherited { key, place, .. } => {
            let told = told.get_mut(&key).ok_or_else(unknown)?;
            let joined = told.joined.get_mut(&place);
            let joined = joined.ok_or_else(|| damaged(row.number, NEVER_JOINED))?;
            joined.told_ms = Some(0);
        }
        Record::Retired { key, .. } => {
            let told = told.get_mut(&key).ok_or_else(unknown)?;
            told.stopped = told.stopped.max(Some(Stop::Retired));
        }
        Record::Exported { key, .. } => {
            let told = told.get_mut(&key).ok_or_else(unknown)?;
            told.stopped = told.stopped.max(Some(Stop::Exported));
        }
        Record::Conflict { key, .. } => {
            let told = told.get_mut(&key).ok_or_else(unknown)?;
            told.stopped = told.stopped.max(Some(Stop::Conflict));
        }
        Record::Restored { key, .. } => told.get_mut(&key).ok_or_else(unknown)?.unconfirmed = true,
        Record::Confirmed { key, .. } => {
            told.get_mut(&key).ok_or_else(unknown)?.unconfirmed = false;
        }
    }
    Ok(())
}

fn settle(
    key: &[u8; 32],
    told: Told,
    contents: &Contents,
    vault: &Vault,
) -> Result<(Held, Option<Arc<Key>>), StoreError> {
    let row = told.row;
    let label = lineage_label(*key);
    let bytes = vault.open(&label, sealed_as(contents, &label, &told.lineage, row)?)?;
    let lineage = Lineage::decode(&bytes)
        .map_err(|error| damaged(row, format!("the {label} does not decode: {error}")))?;
    let public = lineage.active();
    if public.key_id().as_bytes() != key {
        return Err(damaged(row, format!("the {label} is another key's")));
    }
    let share = match told.active {
        Some((place, sealed)) if lineage.holds_active() && place == place_of(public) => {
            let label = share_label(*key, place);
            let share = vault.open_share(&label, sealed_as(contents, &label, &sealed, row)?)?;
            if share.public() != public {
                return Err(damaged(row, format!("the {label} is of another sharing")));
            }
            Some(Arc::new(Key::new(share)))
        }
        _ if lineage.holds_active() => {
            return Err(damaged(row, "the active share has no row"));
        }
        _ => None,
    };
    let mut prepared = BTreeMap::new();
    for (place, (mut stored, digest)) in told.prepared {
        let label = prepared_label(*key, place);
        stored.sealed = sealed_as(contents, &label, &digest, row)?.to_vec();
        prepared.insert(place, stored);
    }
    let held = Held {
        stopped: told.stopped,
        joined: told.joined,
        unconfirmed: told.unconfirmed,
        prepared,
        ..Held::new(
            told.name,
            told.request,
            (told.part, told.parts),
            lineage,
            told.since_ms,
        )
    };
    Ok((held, share))
}

/// The sealed record of a label, if it is the one that a row was written with.
fn sealed_as<'a>(
    contents: &'a Contents,
    label: &Label,
    digest: &[u8; 32],
    row: u64,
) -> Result<&'a [u8], StoreError> {
    contents
        .sealed(label)
        .filter(|sealed| sealed_digest(sealed) == *digest)
        .ok_or_else(|| damaged(row, format!("the {label} is missing or was replaced")))
}
