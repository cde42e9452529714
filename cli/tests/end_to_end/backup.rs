//! Backups as an operator, a peer and an auditor use them, and every file that must not pass as one.

use std::path::{Path, PathBuf};

use serde_json::Value;

use cli::sample;
use client::{Order, ceremony::Change};

use crate::{
    verbs::{ok, quorate},
    world::{PATIENCE, WALLET, World, bare},
};

/// Runs a verb and returns its JSON.
fn run(dir: &Path, args: &[&str]) -> Value {
    let mut args = args.to_vec();
    args.push("--json");
    ok(&quorate(dir, &args))
}

/// Runs a verb that must fail; returns the word of its exit code and its message.
fn refused(dir: &Path, args: &[&str]) -> (String, String) {
    let mut args = args.to_vec();
    args.push("--json");
    let output = quorate(dir, &args);
    assert!(!output.status.success(), "{args:?} must fail");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let told: Value = serde_json::from_str(&text).expect("one JSON object");
    let field = |name: &str| told["error"][name].as_str().expect("text").to_owned();
    assert!(!field("hint").is_empty(), "it says what to do next: {text}");
    (field("code"), field("message"))
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a file")
}

/// Writes a copy of a file with one change.
fn changed(path: &Path, name: &str, from: &str, to: &str) -> PathBuf {
    let old = text(path);
    let new = old.replacen(from, to, 1);
    assert_ne!(old, new, "{from} is there");
    let copy = path.with_file_name(name);
    std::fs::write(&copy, new).expect("a new file");
    copy
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

#[tokio::test(flavor = "multi_thread")]
async fn a83_a_backup_is_checked_without_opening_it_and_opens_for_its_recovery_key_only() {
    let (mut cluster, _dir) = bare().await;
    cluster.create_key("hot").await.expect("a key");
    cluster.create_key_of("tap", "bip340").await.expect("a key");
    let dir = cluster.layout().root().to_owned();
    std::fs::write(dir.join("pass"), "correct horse\n").expect("a file");
    std::fs::write(dir.join("wrong"), "battery staple\n").expect("a file");
    for file in ["pass", "wrong"] {
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(dir.join(file), private).expect("chmod");
    }

    // An operator, an auditor with another recovery key, and somebody else.
    let keygen = |name: &str, rest: &[&str]| {
        let mut args = vec!["backup", "keygen", "--out", name];
        args.extend(rest);
        let told = run(&dir, &args);
        told["recovery_key"].as_str().expect("hex").to_owned()
    };
    let mine = keygen("mine.key", &["--passphrase", "pass"]);
    let second = keygen("second.key", &[]);
    keygen("strange.key", &[]);
    run(
        &dir,
        &[
            "backup",
            "split",
            "--recovery-key",
            "second.key",
            "--parts",
            "3",
            "--needed",
            "2",
            "--out",
            "parts",
        ],
    );

    // Made while the nodes run.
    let made: Vec<Vec<PathBuf>> = (1..=2)
        .map(|node| {
            let config = format!("node-{node}/node.toml");
            let told = run(
                &dir,
                &[
                    "backup",
                    "create",
                    "--config",
                    &config,
                    "--recipient",
                    &mine,
                    "--recipient",
                    &second,
                    "--out",
                    "backups",
                ],
            );
            let rows = told["backups"].as_array().expect("a list").clone();
            assert_eq!(rows.len(), 2, "one file per key");
            rows.iter()
                .map(|row| dir.join(row["file"].as_str().expect("a path")))
                .collect()
        })
        .collect();
    let hot = made[0]
        .iter()
        .find(|p| path(p).contains("hot"))
        .expect("a backup of hot")
        .clone();
    let tap = made[0]
        .iter()
        .find(|p| path(p).contains("tap"))
        .expect("a backup of tap")
        .clone();

    // A peer or an auditor: everything verifies, against the cluster and against a package kept elsewhere.
    let mut all = vec!["backup", "verify"];
    all.extend(made.iter().flatten().map(|p| path(p)));
    assert_eq!(run(&dir, &all)["backups"].as_array().map(Vec::len), Some(4));
    run(&dir, &["key", "show", "hot", "--package", "hot.package"]);
    let verify = |file: &Path, package: &str| {
        refused(
            &dir,
            &["backup", "verify", path(file), "--package", package],
        )
    };
    run(
        &dir,
        &["backup", "verify", path(&hot), "--package", "hot.package"],
    );
    assert_eq!(verify(&tap, "hot.package").0, "invalid", "another key");

    // Any change is seen, in words and in what is encrypted, and so is a file of another node or cluster.
    let epoch = changed(&hot, "epoch.backup", "epoch = 0", "epoch = 7");
    assert_eq!(verify(&epoch, "hot.package").0, "security");
    let share = text(&hot)
        .split_once("share = \"\"\"\n")
        .expect("a share")
        .1[..40]
        .to_owned();
    let swapped: String = share.chars().rev().collect();
    let share = changed(&hot, "share.backup", &share, &swapped);
    assert_eq!(verify(&share, "hot.package").0, "security");
    let node = changed(&hot, "node.backup", "node = 1", "node = 2");
    let (code, message) = verify(&node, "hot.package");
    assert_eq!(code, "invalid", "{message}");
    let spaces = changed(&hot, "spaces.backup", "epoch = 0", "epoch  = 0");
    let (_, message) = verify(&spaces, "hot.package");
    assert!(message.contains("not a backup file"), "{message}");
    let cut = dir.join("cut.backup");
    std::fs::write(&cut, &text(&hot)[..2000]).expect("a new file");
    assert_eq!(verify(&cut, "hot.package").0, "invalid");
    let foreign = text(&dir.join("cluster.toml")).replacen(cluster.id(), "c-other", 1);
    std::fs::write(dir.join("other.toml"), foreign).expect("a new file");
    let (_, message) = refused(
        &dir,
        &[
            "backup",
            "verify",
            path(&hot),
            "--offline",
            "--cluster",
            "other.toml",
        ],
    );
    assert!(message.contains("of cluster"), "{message}");

    // Opening: wrong keys, wrong passphrase, parts that are too few or mistyped.
    let restore = |file: &Path, rest: &[&str]| -> Vec<String> {
        let base = [
            "backup",
            "restore",
            path(file),
            "--config",
            "node-1/node.toml",
        ];
        base.iter().chain(rest).map(ToString::to_string).collect()
    };
    let fails = |file: &Path, rest: &[&str]| {
        let args = restore(file, rest);
        refused(&dir, &args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let mine = ["--recovery-key", "mine.key", "--passphrase"];
    assert_eq!(
        fails(&hot, &["--recovery-key", "strange.key"]).0,
        "not-authorised"
    );
    let (code, message) = fails(&hot, &[mine[0], mine[1], mine[2], "wrong"]);
    assert_eq!(code, "not-authorised");
    assert!(message.contains("passphrase"), "{message}");
    assert_eq!(fails(&hot, &mine[..2]).0, "not-authorised");
    let (_, message) = fails(&hot, &["--part", "parts/part-1.txt"]);
    assert!(
        message.contains("1 different parts given, 2 are needed"),
        "{message}"
    );
    let page = text(&dir.join("parts/part-2.txt"));
    let word = page
        .lines()
        .last()
        .and_then(|l| l.split(' ').rfind(|w| !w.is_empty()));
    let word = word.expect("the last word");
    let at = page.rfind(word).expect("it is there");
    let other = if word == "zoo" { "zone" } else { "zoo" };
    std::fs::write(dir.join("typo.txt"), format!("{}{other}\n", &page[..at])).expect("a new file");
    let (_, message) = fails(&hot, &["--part", "parts/part-1.txt", "--part", "typo.txt"]);
    assert!(
        message.contains(&format!(
            "word 36 is wrong; the part is whole with \"{word}\""
        )),
        "{message}"
    );
    let (_, message) = fails(&made[1][0], &["--recovery-key", "second.key"]);
    assert!(message.contains("of node 2"), "{message}");

    // The old store is never written over; on the empty place the node comes back, same identity and same share.
    let parts = ["--part", "parts/part-3.txt", "--part", "parts/part-1.txt"];
    let (_, message) = fails(&hot, &parts);
    assert!(message.contains("exists"), "{message}");
    cluster.crash_node(1).expect("it ran");
    for file in ["node.db", "node.db-wal", "node.db-shm"] {
        let _absent = std::fs::remove_file(dir.join("node-1").join(file));
    }
    let both = |rest: &[&str]| {
        let mut args = restore(&hot, &parts);
        args.push(path(&tap).to_owned());
        args.extend(rest.iter().map(ToString::to_string));
        run(&dir, &args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    both(&["--dry-run"]);
    assert!(!dir.join("node-1/node.db").exists(), "nothing was written");
    both(&[]);
    cluster.start_node(1).expect("it starts");
    cluster.connected(3).await.expect("its peers know it");
    let again = run(
        &dir,
        &[
            "backup",
            "create",
            "--config",
            "node-1/node.toml",
            "--recipient",
            &second,
            "--out",
            "again",
        ],
    );
    assert_eq!(again["backups"][0]["node"], 1);
}

/// Two recovery keys, one of them in two of three parts, and a backup of each of nodes 1 and 2 for the first.
struct Backups {
    dir: PathBuf,
    hot: [PathBuf; 2],
}

impl Backups {
    fn make(dir: &Path) -> Self {
        let mut public = String::new();
        for name in ["mine", "other"] {
            let file = format!("{name}.key");
            let told = run(dir, &["backup", "keygen", "--out", &file]);
            if name == "mine" {
                told["recovery_key"]
                    .as_str()
                    .expect("hex")
                    .clone_into(&mut public);
            }
            let mut split = vec!["backup", "split", "--recovery-key", &file, "--parts", "3"];
            split.extend(["--needed", "2", "--out", name]);
            run(dir, &split);
        }
        let hot = ["1", "2"].map(|node| {
            let config = format!("node-{node}/node.toml");
            let mut create = vec!["backup", "create", "--config", &config, "--out", "backups"];
            create.extend(["--recipient", &public]);
            let told = run(dir, &create);
            dir.join(told["backups"][0]["file"].as_str().expect("a path"))
        });
        Self {
            dir: dir.to_owned(),
            hot,
        }
    }

    fn restore(&self, file: &Path, rest: &[&str]) -> (String, String) {
        let mut args = vec![
            "backup",
            "restore",
            path(file),
            "--config",
            "node-1/node.toml",
        ];
        args.extend(rest);
        refused(&self.dir, &args)
    }
}

/// What stands between two lines of a file.
fn between(text: &str, from: &str, to: &str) -> String {
    let (_, rest) = text.split_once(from).expect("the beginning");
    rest.split_once(to).expect("the end").0.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn swapped_mixed_up_and_outdated_backups_bring_nothing_back_and_the_key_signs_on() {
    let mut world = World::new(1_000_000_000, 1_000_000_000).await;
    let dir = world.cluster.layout().root().to_owned();
    let backups = Backups::make(&dir);
    let [one, two] = &backups.hot;
    let public_key = run(&dir, &["key", "show", "hot"])["public_key"].clone();
    let parts = |a: &'static str, b: &'static str| ["--part", a, "--part", b];
    let right = parts("mine/part-1.txt", "mine/part-3.txt");

    // Node 2's share in the file of node 1: whoever swapped it cannot sign for node 1.
    let share = |file: &Path| between(&text(file), "share = \"\"\"\n", "\"\"\"");
    let swapped = changed(one, "swapped.backup", &share(one), &share(two));
    let (code, message) = backups.restore(&swapped, &right);
    assert_eq!(code, "security", "{message}");
    assert!(
        message.contains("was changed after node 1 signed it"),
        "{message}"
    );
    let (code, message) = backups.restore(two, &right);
    assert_eq!(code, "invalid", "{message}");
    assert!(message.contains("is of node 2"), "{message}");

    // Parts of another recovery key, parts of two keys, the same part twice.
    let (code, message) = backups.restore(one, &parts("other/part-1.txt", "other/part-2.txt"));
    assert_eq!(code, "not-authorised", "{message}");
    assert!(
        message.contains("was not made for recovery key"),
        "{message}"
    );
    let (code, message) = backups.restore(one, &parts("mine/part-1.txt", "other/part-2.txt"));
    assert_eq!(code, "invalid", "{message}");
    let (code, message) = backups.restore(one, &parts("mine/part-1.txt", "mine/part-1.txt"));
    assert_eq!(code, "invalid", "{message}");

    // After a refresh the backup is of an epoch that was replaced.
    let change = Change::default();
    let ended = world.cluster.reshare(&[WALLET], &change, &["alice"]);
    let ended = ended.await.expect("an order");
    assert!(ended.is_done(), "{}", ended.why());
    for verb in ["verify", "restore"] {
        let mut args = vec!["backup", verb, path(one)];
        if verb == "restore" {
            args.extend(["--config", "node-1/node.toml"]);
            args.extend(right);
        }
        let (code, message) = refused(&dir, &args);
        assert_eq!(code, "conflict", "{message}");
        assert!(
            message.contains("epoch 0 attempt 0; the key is at epoch 1 attempt 1"),
            "{message}"
        );
    }

    // With nobody to ask the outdated share does come back, and its node never signs with it: the others say what is newer.
    world.cluster.crash_node(1).expect("it ran");
    world.cluster.lose_store(1).expect("its disk is gone");
    let mut args = vec![
        "backup",
        "restore",
        path(one),
        "--config",
        "node-1/node.toml",
        "--offline",
    ];
    args.extend(right);
    run(&dir, &args);
    world.cluster.start_node(1).expect("it starts");
    world.cluster.connected(3).await.expect("its peers know it");
    let until = tokio::time::Instant::now() + PATIENCE;
    let (mut last, mut tries) = (String::new(), 0);
    let end = loop {
        assert!(
            tokio::time::Instant::now() < until,
            "the others sign: {last}"
        );
        let (raw, name) = (world.raw(7), format!("after-{tries}"));
        tries += 1;
        let order = Order::new(WALLET, raw, &name, sample::INITIATOR);
        let prepared = world.client.prepare(&order, &world.initiator).await;
        let prepared = prepared.expect("a good order");
        match world.client.submit(&prepared).await {
            Ok(_) => match world.client.wait(prepared.id(), PATIENCE).await {
                Ok(end) => break end,
                Err(error) => last = error.to_string(),
            },
            Err(error) => last = error.to_string(),
        }
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    };
    world.assert_signed(&end);
    let shown = run(&dir, &["key", "show", "hot"]);
    assert_eq!(
        (&shown["public_key"], &shown["epoch"]),
        (&public_key, &Value::from(1))
    );
    let active = shown["nodes"].as_array().expect("a list");
    assert!(
        !active.contains(&Value::from(1)),
        "an outdated share is no share: {shown}"
    );
}
