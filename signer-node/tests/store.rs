//! The store: group commit, every kind of damage, two processes, a full disk.
#![cfg(test)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rusqlite::Connection;
use signer_node::clock::{Clock, Mark, Reading};
use signer_node::config::ClockLimits;
use signer_node::seal::{Effort, Kind, Label, Owner, SealError, Secret, Vault};
use signer_node::store::{Change, Contents, Store, StoreError, Table};

fn secret() -> Secret {
    Secret::KeyFile([1; 32].into())
}

fn owner() -> Owner {
    Owner::new("c-01", [1; 32])
}

fn mark(wall_ms: u64) -> Mark {
    Clock::resume(
        ClockLimits::default(),
        None,
        Reading::new(wall_ms, 0, [1; 16]),
    )
    .mark()
}

fn label() -> Label {
    Label::new(Kind::Identity, [0; 32], 0, 0)
}

fn new_store(path: &Path) {
    let (vault, wrapped) = Vault::create(&secret(), owner(), Effort::default()).unwrap();
    let record = vault.seal(&label(), &[7; 32]).unwrap();
    let first = Change::Seal {
        label: label(),
        record,
    };
    Store::create(path, &vault, &wrapped, &[first]).unwrap();
}

fn open(path: &Path) -> Result<(Store, Contents, Arc<Vault>), StoreError> {
    // The writer of a dropped store finishes by itself; wait until it let go of the lock.
    for _ in 0..200 {
        match Store::open(path, &secret(), owner()) {
            Err(StoreError::Busy(_)) => std::thread::sleep(std::time::Duration::from_millis(10)),
            other => return other,
        }
    }
    panic!("the store stays busy");
}

fn append(table: Table, key: &[u8], body: &[u8]) -> Change {
    Change::Append {
        table,
        key: key.to_vec(),
        body: body.to_vec(),
    }
}

/// A store with three rows in every log.
fn filled(path: &Path) {
    new_store(path);
    let (store, _, _) = open(path).unwrap();
    for number in 0..3_u8 {
        let changes = Table::ALL
            .iter()
            .map(|table| append(*table, &[number; 32], &[number; 40]))
            .collect();
        store
            .commit(changes, mark(u64::from(number)))
            .durable_blocking()
            .unwrap();
    }
    drop(store);
    drop(open(path).unwrap());
    wait_released(path);
}

fn wait_released(path: &Path) {
    drop(open(path).unwrap());
    while matches!(
        Store::open(path, &secret(), owner()),
        Err(StoreError::Busy(_))
    ) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    std::thread::sleep(std::time::Duration::from_millis(50));
}

fn edit(path: &Path, sql: &str) {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(sql).unwrap();
    connection
        .pragma_update(None, "wal_checkpoint", "TRUNCATE")
        .ok();
}

fn damage_at(error: StoreError) -> (&'static str, u64) {
    match error {
        StoreError::Damaged { table, row, .. } => (table, row),
        other => panic!("{other}"),
    }
}

#[test]
fn what_was_committed_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.db");
    filled(&path);
    let (_, contents, vault) = open(&path).unwrap();
    for table in Table::ALL {
        let rows = contents.rows(table);
        assert_eq!(rows.len(), 3);
        assert_eq!(
            (
                rows[2].number,
                rows[2].key.as_slice(),
                rows[2].body.as_slice()
            ),
            (3, &[2; 32][..], &[2; 40][..])
        );
    }
    assert_eq!(contents.mark, Some(mark(2)));
    let identity = vault
        .open(&label(), contents.sealed(&label()).unwrap())
        .unwrap();
    assert_eq!(identity.as_slice(), &[7; 32]);
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn a_share_is_never_active_twice() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.db");
    new_store(&path);
    let held = open(&path).unwrap();
    assert_eq!(
        Store::open(&path, &secret(), owner()).unwrap_err(),
        StoreError::Busy(path.clone())
    );
    let (vault, wrapped) = Vault::create(&secret(), owner(), Effort::default()).unwrap();
    assert_eq!(
        Store::create(&path, &vault, &wrapped, &[]).unwrap_err(),
        StoreError::Exists(path.clone())
    );
    drop(held);
    assert!(open(&path).is_ok());
}

#[test]
fn the_wrong_secret_and_the_wrong_node_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.db");
    new_store(&path);
    let wrong = Store::open(&path, &Secret::KeyFile([2; 32].into()), owner()).unwrap_err();
    assert_eq!(wrong, StoreError::Seal(SealError::WrongSecret("key file")));
    let other = Store::open(&path, &secret(), Owner::new("c-01", [2; 32])).unwrap_err();
    assert!(
        matches!(other, StoreError::Seal(SealError::Swapped { .. })),
        "{other}"
    );
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(open(&path).unwrap_err().to_string().contains("0644"));
}

#[test]
fn every_edit_of_a_log_is_found_and_named() {
    let template = tempfile::tempdir().unwrap();
    let original = template.path().join("node.db");
    filled(&original);
    for table in Table::ALL {
        let name = table.name();
        let edits = [
            (
                format!("UPDATE {name} SET body = zeroblob(40) WHERE number = 2"),
                2,
            ),
            (
                format!("UPDATE {name} SET key = zeroblob(31) WHERE number = 1"),
                1,
            ),
            (
                format!("UPDATE {name} SET tag = zeroblob(32) WHERE number = 3"),
                3,
            ),
            (format!("DELETE FROM {name} WHERE number = 2"), 2),
            (format!("DELETE FROM {name} WHERE number = 3"), 3),
            (format!("DELETE FROM {name}"), 1),
            (
                format!(
                    "INSERT INTO {name} SELECT 4, zeroblob(3), body, tag FROM {name} WHERE number = 3"
                ),
                4,
            ),
            (format!("UPDATE {name} SET number = 7 WHERE number = 3"), 3),
        ];
        for (sql, row) in edits {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("node.db");
            std::fs::copy(&original, &path).unwrap();
            edit(&path, &sql);
            assert_eq!(damage_at(open(&path).unwrap_err()), (name, row), "{sql}");
        }
    }
}

#[test]
fn a_row_moved_to_another_log_and_an_edited_head_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.db");
    filled(&path);
    for (copy, sql, table) in [
        (
            "a.db",
            "UPDATE intents SET tag = (SELECT tag FROM replay WHERE number = 2) WHERE number = 2",
            "intents",
        ),
        (
            "b.db",
            "UPDATE meta SET body = zeroblob(400) WHERE name = 'head'",
            "meta",
        ),
        ("c.db", "DELETE FROM meta WHERE name = 'head'", "meta"),
        ("d.db", "DELETE FROM meta WHERE name = 'data_key'", "meta"),
        ("e.db", "PRAGMA user_version = 9", "meta"),
        ("f.db", "DROP TABLE ledger", "ledger"),
    ] {
        let copied = dir.path().join(copy);
        std::fs::copy(&path, &copied).unwrap();
        edit(&copied, sql);
        assert_eq!(damage_at(open(&copied).unwrap_err()).0, table, "{sql}");
    }
}

#[test]
fn a_truncated_or_overwritten_file_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.db");
    filled(&path);
    let whole = std::fs::read(&path).unwrap();
    for length in [
        0,
        10,
        100,
        4_096,
        8_192,
        whole.len() / 2,
        whole.len() - 4_096,
    ] {
        std::fs::write(&path, &whole[..length]).unwrap();
        for side in ["node.db-wal", "node.db-shm"] {
            let _ = std::fs::remove_file(dir.path().join(side));
        }
        let error = open(&path).unwrap_err();
        assert!(
            matches!(error, StoreError::Damaged { .. }),
            "{length}: {error}"
        );
    }
    // Noise over any one page is found too.
    for page in 0..whole.len() / 4_096 {
        let mut noisy = whole.clone();
        noisy[page * 4_096..page * 4_096 + 4_096].fill(0xa5);
        std::fs::write(&path, &noisy).unwrap();
        match open(&path) {
            Err(StoreError::Damaged { .. } | StoreError::Seal(_)) => {}
            // A page of the sealed table is covered by the records' own authentication.
            Ok((_, contents, vault)) => {
                let record = contents.sealed(&label());
                assert!(
                    record.is_none_or(|record| vault.open(&label(), record).is_err()),
                    "page {page}"
                );
            }
            Err(other) => panic!("page {page}: {other}"),
        }
    }
}

#[test]
fn answers_come_only_after_the_commit_and_in_groups() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.db");
    new_store(&path);
    let (store, _, _) = open(&path).unwrap();
    let reader = Connection::open(&path).unwrap();
    let jobs: Vec<_> = (0..2_000_u32)
        .map(|number| {
            (
                number,
                store.commit(
                    vec![append(Table::Ledger, &number.to_be_bytes(), b"x")],
                    mark(u64::from(number)),
                ),
            )
        })
        .collect();
    for (number, pending) in jobs {
        let receipt = pending.durable_blocking().unwrap();
        assert!(receipt.wrote(Table::Ledger, &number.to_be_bytes()));
        assert!(!receipt.wrote(Table::Replay, &number.to_be_bytes()));
        if number % 100 == 0 {
            // Another connection sees it: the transaction has ended.
            let seen: i64 = reader
                .query_row(
                    "SELECT count(*) FROM ledger WHERE key = ?1",
                    [&number.to_be_bytes()[..]],
                    |row| row.get(0),
                )
                .unwrap();
            assert_eq!(seen, 1);
        }
    }
    // 2000 single commits would have needed 2000 writes of the head.
    let frames = std::fs::metadata(dir.path().join("node.db-wal"))
        .unwrap()
        .len()
        / 4_096;
    assert!(frames < 1_990, "{frames}");
}

#[test]
fn a_conflict_in_a_group_fails_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.db");
    new_store(&path);
    let (store, _, _) = open(&path).unwrap();
    let pending: Vec<_> = (0..300_u32)
        .map(|number| {
            store.commit(
                vec![append(Table::Replay, &(number / 2).to_be_bytes(), b"x")],
                mark(5),
            )
        })
        .collect();
    let outcomes: Vec<_> = pending
        .into_iter()
        .map(|job| job.durable_blocking().map(|_| ()))
        .collect();
    for (number, outcome) in outcomes.iter().enumerate() {
        let expected = if number % 2 == 0 {
            Ok(())
        } else {
            Err(StoreError::Conflict { table: "replay" })
        };
        assert_eq!(*outcome, expected);
    }
    drop(store);
    assert_eq!(open(&path).unwrap().1.rows(Table::Replay).len(), 150);
}

#[test]
fn pruning_keeps_the_chain_and_the_clock_never_goes_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.db");
    filled(&path);
    let (store, _, _) = open(&path).unwrap();
    let prune = |through| {
        vec![Change::Prune {
            table: Table::Intents,
            through,
        }]
    };
    store.commit(prune(2), mark(1)).durable_blocking().unwrap();
    store.commit(prune(2), mark(1)).durable_blocking().unwrap();
    store
        .commit(vec![append(Table::Intents, b"new", b"row")], mark(0))
        .durable_blocking()
        .unwrap();
    drop(store);
    let (store, contents, _) = open(&path).unwrap();
    assert_eq!(
        contents
            .rows(Table::Intents)
            .iter()
            .map(|row| row.number)
            .collect::<Vec<_>>(),
        [3, 4]
    );
    assert_eq!(contents.mark, Some(mark(2)));
    drop(store);
    wait_released(&path);
    edit(&path, "DELETE FROM intents WHERE number = 3");
    assert_eq!(damage_at(open(&path).unwrap_err()), ("intents", 3));
}

/// Kills the process (this test binary, run again as a child) in the middle of a stream of commits: every row whose
/// commit was answered is there afterwards, and what is there is a prefix.
#[test]
fn a_killed_process_loses_nothing_it_had_answered_for() {
    const ROLE: &str = "QUORATE_TEST_STORE_CHILD";
    if let Ok(path) = std::env::var(ROLE) {
        let (store, _, _) = open(Path::new(&path)).unwrap();
        for number in 0..u32::MAX {
            store
                .commit(
                    vec![append(Table::Ledger, &number.to_be_bytes(), b"x")],
                    mark(1),
                )
                .durable_blocking()
                .unwrap();
            println!("done {number}");
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.db");
    new_store(&path);
    for round in 0..4_u64 {
        use std::io::{BufRead as _, BufReader};
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "a_killed_process_loses_nothing_it_had_answered_for",
                "--nocapture",
            ])
            .env(ROLE, &path)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut answered = None;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for line in lines.by_ref().map_while(Result::ok) {
            if let Some(number) = line
                .split("done ")
                .nth(1)
                .and_then(|text| text.parse::<u32>().ok())
            {
                answered = Some(number);
            }
            if answered == Some(u32::try_from(20 + 13 * round).unwrap()) {
                break;
            }
        }
        child.kill().unwrap();
        for line in lines.map_while(Result::ok) {
            answered = line
                .split("done ")
                .nth(1)
                .and_then(|text| text.parse::<u32>().ok())
                .or(answered);
        }
        child.wait().unwrap();
        let (store, contents, _) = open(&path).unwrap();
        let rows = contents.rows(Table::Ledger);
        assert!(
            rows.len() > usize::try_from(answered.unwrap()).unwrap(),
            "{} rows, {answered:?} answered",
            rows.len()
        );
        for (number, row) in rows.iter().enumerate() {
            assert_eq!(row.key, u32::try_from(number).unwrap().to_be_bytes());
        }
        store
            .commit(
                vec![Change::Prune {
                    table: Table::Ledger,
                    through: rows.last().unwrap().number,
                }],
                mark(1),
            )
            .durable_blocking()
            .unwrap();
        drop(store);
        open(&path).unwrap();
        let fresh = dir.path().join(format!("{round}.db"));
        new_store(&fresh);
        std::fs::rename(&fresh, &path).unwrap();
        for side in ["node.db-wal", "node.db-shm"] {
            let _ = std::fs::remove_file(dir.path().join(side));
        }
    }
}

#[test]
fn a_full_disk_is_unavailable_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(&disk)
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        println!("skipped: a small file system cannot be mounted here (needs root)");
        return;
    }
    let path = disk.join("node.db");
    let outcome = std::panic::catch_unwind(|| {
        new_store(&path);
        let (store, _, _) = open(&path).unwrap();
        let before = store.free_bytes();
        assert!(before > 0 && before <= 1 << 20);
        let ballast = disk.join("ballast");
        let mut written = 0_u32;
        std::fs::write(&ballast, vec![0; 300 << 10]).unwrap();
        let error = loop {
            let row = append(Table::Ledger, &written.to_be_bytes(), &[3; 8 << 10]);
            match store.commit(vec![row], mark(1)).durable_blocking() {
                Ok(_) => written += 1,
                Err(error) => break error,
            }
            assert!(written < 1_000);
        };
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
        std::fs::remove_file(&ballast).unwrap();
        store
            .commit(vec![append(Table::Ledger, b"after", b"x")], mark(1))
            .durable_blocking()
            .unwrap();
        drop(store);
        let (_, contents, _) = open(&path).unwrap();
        let rows = contents.rows(Table::Ledger);
        assert_eq!(rows.len(), usize::try_from(written).unwrap() + 1);
        assert_eq!(rows.last().unwrap().key, b"after");
    });
    std::thread::sleep(std::time::Duration::from_millis(200));
    Command::new("umount")
        .arg("-l")
        .arg(&disk)
        .status()
        .unwrap();
    outcome.unwrap();
}
