//! Making a store, opening one, and reading everything back with every check.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use rustix::fs::FlockOperation;

use super::head::{Head, row_tag};
use super::{Change, Store, StoreError, Table, parent, writer};
use crate::clock::Mark;
use crate::seal::{Label, Owner, Secret, Vault};

/// Layout of the database; raised with every change of it.
const FORMAT: i64 = 3;

/// One row of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Row {
    /// Its number, from 1, without gaps.
    pub number: u64,
    /// Its key, unique within the log.
    pub key: Vec<u8>,
    /// What it says.
    pub body: Vec<u8>,
}

/// Everything a store holds, checked; secrets are still sealed.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Contents {
    /// The last believed time; none in a store that never ran.
    pub mark: Option<Mark>,
    logs: Vec<(Table, Vec<Row>)>,
    sealed: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Contents {
    /// The rows of a log, oldest first.
    #[must_use]
    pub fn rows(&self, table: Table) -> &[Row] {
        self.logs
            .iter()
            .find(|(name, _)| *name == table)
            .map_or(&[], |(_, rows)| rows.as_slice())
    }

    /// The sealed record in a label's place.
    #[must_use]
    pub fn sealed(&self, label: &Label) -> Option<&[u8]> {
        let row = label.row();
        self.sealed
            .iter()
            .find(|(id, _)| *id == row)
            .map(|(_, record)| record.as_slice())
    }
}

impl Contents {
    /// All sealed records of a kind, with their labels.
    pub(crate) fn sealed_of(
        &self,
        kind: crate::seal::Kind,
    ) -> impl Iterator<Item = (Label, &[u8])> {
        self.sealed.iter().filter_map(move |(row, record)| {
            let label = Label::of_row(kind, row)?;
            Some((label, record.as_slice()))
        })
    }
}

impl Store {
    /// Makes a store that holds the wrapped data key and what these changes put there and nothing else; mode 0600.
    ///
    /// # Errors
    /// [`StoreError::Exists`], or [`StoreError::Unavailable`].
    pub fn create(
        path: &Path,
        vault: &Vault,
        wrapped: &[u8],
        first: &[Change],
    ) -> Result<(), StoreError> {
        let lock = lock(path, true)?;
        let mut connection = connect(path)?;
        let failed = |error: rusqlite::Error| StoreError::Unavailable {
            reason: error.to_string(),
        };
        let transaction = connection.transaction().map_err(failed)?;
        transaction
            .execute_batch(
                "CREATE TABLE meta (name TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT;
                 CREATE TABLE sealed (id BLOB PRIMARY KEY, body BLOB NOT NULL) STRICT;",
            )
            .map_err(failed)?;
        for table in Table::ALL {
            let statement = format!(
                "CREATE TABLE {} (number INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, body BLOB NOT NULL, tag BLOB NOT NULL) STRICT;",
                table.name()
            );
            transaction.execute_batch(&statement).map_err(failed)?;
        }
        let mut head = Head::empty();
        for change in first {
            apply(&transaction, &mut head, vault, change)?;
        }
        let head = head.encode(vault)?;
        for (name, body) in [("data_key", wrapped), ("head", &head)] {
            transaction
                .execute(
                    "INSERT INTO meta (name, body) VALUES (?1, ?2)",
                    (name, body),
                )
                .map_err(failed)?;
        }
        transaction
            .pragma_update(None, "user_version", FORMAT)
            .map_err(failed)?;
        transaction.commit().map_err(failed)?;
        connection.close().map_err(|(_, error)| failed(error))?;
        drop(lock);
        Ok(())
    }

    /// Opens a store: takes the process lock, unlocks the data key, reads and checks every row, starts the writer.
    ///
    /// # Errors
    /// [`StoreError::Busy`], [`StoreError::Missing`], [`StoreError::Seal`] for a wrong secret, [`StoreError::Damaged`]
    /// naming the table and row.
    pub fn open(
        path: &Path,
        secret: &Secret,
        owner: Owner,
    ) -> Result<(Self, Contents, std::sync::Arc<Vault>), StoreError> {
        let lock = lock(path, false)?;
        let connection = connect(path)?;
        let (head, contents, vault) = checked(&connection, secret, owner)?;
        let store = writer::start(
            connection,
            lock,
            std::sync::Arc::clone(&vault),
            head,
            parent(path),
        )?;
        Ok((store, contents, vault))
    }

    /// Reads and checks a store without the process lock and without a writer: beside a node that runs, too. What comes
    /// back is the state of one moment.
    ///
    /// # Errors
    /// As [`Self::open`], without [`StoreError::Busy`].
    pub fn look(
        path: &Path,
        secret: &Secret,
        owner: Owner,
    ) -> Result<(Contents, std::sync::Arc<Vault>), StoreError> {
        proto::settings::check_secret_file(path).map_err(|reason| StoreError::Missing {
            path: path.to_path_buf(),
            reason,
        })?;
        let mut connection = connect(path)?;
        let moment = connection
            .transaction()
            .map_err(|error| unreadable("meta", 0, &error))?;
        let (_, contents, vault) = checked(&moment, secret, owner)?;
        Ok((contents, vault))
    }
}

/// Everything in the store, after every check.
fn checked(
    connection: &Connection,
    secret: &Secret,
    owner: Owner,
) -> Result<(Head, Contents, std::sync::Arc<Vault>), StoreError> {
    let format = connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0));
    let format = format.map_err(|error| unreadable("meta", 0, &error))?;
    if format != FORMAT {
        return Err(damaged(
            "meta",
            0,
            format!("layout {format}, this software knows {FORMAT}"),
        ));
    }
    let check: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| unreadable("meta", 0, &error))?;
    if check != "ok" {
        return Err(damaged("meta", 0, check));
    }
    let wrapped = meta(connection, "data_key")?;
    let vault = std::sync::Arc::new(Vault::unlock(secret, owner, &wrapped)?);
    let head = Head::decode(&meta(connection, "head")?, &vault)?;
    let contents = read(connection, &head, &vault)?;
    Ok((head, contents, vault))
}

fn lock(path: &Path, new: bool) -> Result<File, StoreError> {
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(new)
        .mode(0o600)
        .open(path);
    let file = opened.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => StoreError::Exists(path.to_path_buf()),
        _ => StoreError::Missing {
            path: path.to_path_buf(),
            reason: error.to_string(),
        },
    })?;
    if !new {
        proto::settings::check_secret_file(path).map_err(|reason| StoreError::Missing {
            path: path.to_path_buf(),
            reason,
        })?;
    }
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| StoreError::Busy(path.to_path_buf()))?;
    Ok(file)
}

pub(super) fn connect(path: &Path) -> Result<Connection, StoreError> {
    let connect = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection
            .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "secure_delete", true)?;
        connection.busy_timeout(core::time::Duration::from_secs(5))?;
        Ok(connection)
    };
    connect().map_err(|error| unreadable("meta", 0, &error))
}

fn damaged(table: &'static str, row: u64, what: impl Into<String>) -> StoreError {
    StoreError::Damaged {
        table,
        row,
        what: what.into(),
    }
}

/// A file that is no database is damaged; a disk that does not answer is unavailable.
fn unreadable(table: &'static str, row: u64, error: &rusqlite::Error) -> StoreError {
    use rusqlite::ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, OutOfMemory, PermissionDenied,
        ReadOnly, SystemIoFailure,
    };
    match error.sqlite_error_code() {
        Some(
            CannotOpen | DatabaseBusy | DatabaseLocked | DiskFull | OutOfMemory | PermissionDenied
            | ReadOnly | SystemIoFailure,
        ) => StoreError::Unavailable {
            reason: error.to_string(),
        },
        _ => damaged(table, row, error.to_string()),
    }
}

fn meta(connection: &Connection, name: &str) -> Result<Vec<u8>, StoreError> {
    connection
        .query_row("SELECT body FROM meta WHERE name = ?1", [name], |row| {
            row.get(0)
        })
        .optional()
        .map_err(|error| unreadable("meta", 0, &error))?
        .ok_or_else(|| damaged("meta", 0, format!("the record {name} is missing")))
}

fn read(connection: &Connection, head: &Head, vault: &Vault) -> Result<Contents, StoreError> {
    let mut contents = Contents {
        mark: head.mark,
        ..Contents::default()
    };
    for table in Table::ALL {
        contents
            .logs
            .push((table, read_log(connection, head, vault, table)?));
    }
    let failed = |error: rusqlite::Error| unreadable("sealed", 0, &error);
    let mut statement = connection
        .prepare("SELECT id, body FROM sealed ORDER BY id")
        .map_err(failed)?;
    let rows = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .map_err(failed)?;
    contents.sealed = rows.collect::<Result<_, _>>().map_err(failed)?;
    Ok(contents)
}

fn read_log(
    connection: &Connection,
    head: &Head,
    vault: &Vault,
    table: Table,
) -> Result<Vec<Row>, StoreError> {
    let extent = head.extent(table);
    let (mut number, mut before) = (extent.base, extent.base_tag);
    let at = |row: u64, error: &rusqlite::Error| unreadable(table.name(), row, error);
    let sql = format!(
        "SELECT number, key, body, tag FROM {} ORDER BY number",
        table.name()
    );
    let mut statement = connection.prepare(&sql).map_err(|error| at(0, &error))?;
    let mut cursor = statement.query([]).map_err(|error| at(0, &error))?;
    let mut rows = Vec::new();
    while let Some(row) = cursor
        .next()
        .map_err(|error| at(number.saturating_add(1), &error))?
    {
        let due = number.saturating_add(1);
        let fields = || {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, Vec<u8>>(1)?,
                row.get::<_, Vec<u8>>(2)?,
                row.get::<_, Vec<u8>>(3)?,
            ))
        };
        let (found, key, body, tag) = fields().map_err(|error| at(due, &error))?;
        if u64::try_from(found) != Ok(due) {
            return Err(damaged(
                table.name(),
                due,
                format!("the next row is numbered {found}"),
            ));
        }
        if due > extent.last {
            return Err(damaged(
                table.name(),
                due,
                "a row follows the end of the log",
            ));
        }
        let expected = row_tag(vault, table, due, &before, &key, &body)?;
        if tag != expected {
            return Err(damaged(table.name(), due, "the row was changed"));
        }
        (number, before) = (due, expected);
        rows.push(Row {
            number: due,
            key,
            body,
        });
    }
    if number != extent.last || before != extent.last_tag {
        let missing = number.saturating_add(1);
        return Err(damaged(
            table.name(),
            missing,
            format!("the log must reach row {}", extent.last),
        ));
    }
    Ok(rows)
}

/// Applies one change inside a transaction.
pub(super) fn apply(
    connection: &Connection,
    head: &mut Head,
    vault: &Vault,
    change: &Change,
) -> Result<(), StoreError> {
    match change {
        Change::Append { table, key, body } => append(connection, head, vault, *table, key, body),
        Change::Seal { label, record } => {
            let sql = "INSERT INTO sealed (id, body) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET body = excluded.body";
            run(connection, sql, (label.row(), record))
        }
        Change::Erase { label } => run(
            connection,
            "DELETE FROM sealed WHERE id = ?1",
            (label.row(),),
        ),
        Change::Prune { table, through } => prune(connection, head, *table, *through),
    }
}

pub(super) fn put_head(
    connection: &Connection,
    head: &Head,
    vault: &Vault,
) -> Result<(), StoreError> {
    run(
        connection,
        "UPDATE meta SET body = ?1 WHERE name = 'head'",
        (head.encode(vault)?,),
    )
}

fn append(
    connection: &Connection,
    head: &mut Head,
    vault: &Vault,
    table: Table,
    key: &[u8],
    body: &[u8],
) -> Result<(), StoreError> {
    let mut extent = head.extent(table);
    extent.last = extent.last.saturating_add(1);
    extent.last_tag = row_tag(vault, table, extent.last, &extent.last_tag, key, body)?;
    let number = i64::try_from(extent.last)
        .map_err(|_| damaged(table.name(), extent.last, "the log is full"))?;
    let sql = format!(
        "INSERT INTO {} (number, key, body, tag) VALUES (?1, ?2, ?3, ?4)",
        table.name()
    );
    let inserted = connection
        .prepare_cached(&sql)
        .and_then(|mut statement| statement.execute((number, key, body, &extent.last_tag)));
    match inserted {
        Ok(_) => {
            head.set(table, extent);
            Ok(())
        }
        Err(error)
            if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) =>
        {
            Err(StoreError::Conflict {
                table: table.name(),
            })
        }
        Err(error) => Err(failed(&error)),
    }
}

fn prune(
    connection: &Connection,
    head: &mut Head,
    table: Table,
    through: u64,
) -> Result<(), StoreError> {
    let mut extent = head.extent(table);
    if through <= extent.base || through > extent.last {
        return Ok(());
    }
    let number =
        i64::try_from(through).map_err(|_| damaged(table.name(), through, "no such row"))?;
    let sql = format!("SELECT tag FROM {} WHERE number = ?1", table.name());
    let tag: Vec<u8> = connection
        .query_row(&sql, [number], |row| row.get(0))
        .map_err(|error| failed(&error))?;
    extent.base_tag = tag
        .try_into()
        .map_err(|_| damaged(table.name(), through, "the row was changed"))?;
    extent.base = through;
    run(
        connection,
        &format!("DELETE FROM {} WHERE number <= ?1", table.name()),
        (number,),
    )?;
    head.set(table, extent);
    Ok(())
}

fn run(
    connection: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
) -> Result<(), StoreError> {
    let done = connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.execute(values));
    done.map(|_| ()).map_err(|error| failed(&error))
}

pub(super) fn failed(error: &rusqlite::Error) -> StoreError {
    StoreError::Unavailable {
        reason: error.to_string(),
    }
}
