//! The command line itself: the tour of the quick start, exit codes, wrong configurations.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use crate::world::{QUORATE, World};

pub(crate) fn quorate(dir: &Path, args: &[&str]) -> Output {
    Command::new(QUORATE)
        .args(args)
        .current_dir(dir)
        .env("QUORATE_CLUSTER", dir.join("cluster.toml"))
        .stdin(Stdio::null())
        .output()
        .expect("it runs")
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8(output.stdout.clone()).expect("text");
    assert_eq!(text.lines().count(), 1, "one object: {text}");
    serde_json::from_str(&text).expect("JSON")
}

#[track_caller]
pub(crate) fn ok(output: &Output) -> Value {
    assert!(
        output.status.success(),
        "{:?}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    json(output)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_from_the_command_line() {
    let world = World::new(1_000_000_000, 1000).await;
    let dir = world.cluster.layout().root().to_owned();
    let to = bs58::encode(crate::world::PAYEE).into_string();
    let blockhash = bs58::encode([5; 32]).into_string();
    let submit = |lamports: &str, name: &str| {
        let save = format!("{name}.intent");
        quorate(
            &dir,
            &[
                "request",
                "submit",
                "--json",
                "--wallet",
                "hot",
                "--to",
                &to,
                "--lamports",
                lamports,
                "--blockhash",
                &blockhash,
                "--idempotency-key",
                name,
                "--initiator",
                "backend",
                "--initiator-key",
                "client/initiator.key",
                "--save",
                &save,
            ],
        )
    };
    // No two nodes have anything with each other before there is an ECDSA key, so nothing can be renewed.
    let pairs = ok(&quorate(&dir, &["pair", "list", "--json"]));
    assert_eq!(pairs["pairs"].as_array().map(Vec::len), Some(0));
    let renew = quorate(&dir, &["pair", "renew", "1", "2", "--dry-run"]);
    assert_eq!(renew.status.code(), Some(3), "{renew:?}");
    let output = submit("5000", "payout-7");
    assert_eq!(output.status.code(), Some(5), "it waits: {output:?}");
    let told = json(&output);
    assert_eq!(told["state"], "announced");
    let id = told["request_id"].as_str().expect("an id").to_owned();

    // Nobody is there to confirm.
    let approve = |person: &str, rest: &[&str]| {
        let key = format!("people/{person}.key");
        let mut args = vec![
            "approve",
            &id,
            "--json",
            "--person",
            person,
            "--credential",
            "key",
            "--key",
            &key,
        ];
        args.extend(rest);
        quorate(&dir, &args)
    };
    assert_eq!(approve("alice", &[]).status.code(), Some(2));
    let output = approve("alice", &["--yes"]);
    ok(&output);
    let shown = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        shown.contains(&to) && shown.contains("5000"),
        "what is signed was shown: {shown}"
    );
    ok(&approve("bob", &["--yes"]));

    let done = ok(&quorate(
        &dir,
        &["request", "status", &id, "--wait", "30", "--json"],
    ));
    assert_eq!(done["state"], "released");
    // The kept bytes, sent again, are the same payment.
    let again = ok(&quorate(
        &dir,
        &[
            "request",
            "submit",
            "--intent",
            "payout-7.intent",
            "--json",
            "--wait",
            "5",
        ],
    ));
    assert_eq!(again["signed_tx"], done["signed_tx"]);

    let listed = ok(&quorate(&dir, &["request", "list", "--json"]));
    assert_eq!(listed["requests"].as_array().map(Vec::len), Some(1));
    let status = ok(&quorate(&dir, &["cluster", "status", "--json"]));
    assert_eq!(status["nodes"].as_array().map(Vec::len), Some(3));
    let key = ok(&quorate(&dir, &["key", "show", "hot", "--json"]));
    assert_eq!(key["state"], "active");
    let policy = ok(&quorate(&dir, &["policy", "show", "--json"]));
    let linted = ok(&quorate(&dir, &["policy", "lint", "policy.toml", "--json"]));
    assert_eq!(policy["hash"], linted["hash"]);

    // Its initiator takes a request back; nobody else can.
    let waiting = json(&submit("6000", "payout-8"));
    let id = waiting["request_id"].as_str().expect("an id").to_owned();
    let cancel = |person: &str, key: &str| {
        quorate(
            &dir,
            &[
                "request",
                "cancel",
                &id,
                "--json",
                "--person",
                person,
                "--credential",
                "key",
                "--key",
                key,
            ],
        )
    };
    assert_eq!(cancel("alice", "people/alice.key").status.code(), Some(7));
    assert_eq!(
        ok(&cancel("backend", "client/initiator.key"))["state"],
        "cancelled"
    );

    let frozen = quorate(
        &dir,
        &[
            "freeze",
            "--json",
            "--person",
            "alice",
            "--credential",
            "key",
            "--key",
            "people/alice.key",
        ],
    );
    assert_eq!(ok(&frozen)["frozen"], true);
    for person in ["alice", "bob"] {
        let (key, out) = (format!("people/{person}.key"), format!("{person}.unfreeze"));
        ok(&quorate(
            &dir,
            &[
                "unfreeze",
                "--json",
                "--person",
                person,
                "--credential",
                "key",
                "--key",
                &key,
                "--out",
                &out,
            ],
        ));
    }
    let alone = quorate(&dir, &["unfreeze", "--statement", "alice.unfreeze"]);
    assert_ne!(alone.status.code(), Some(0), "one is not a quorum");
    let both = quorate(
        &dir,
        &[
            "unfreeze",
            "--json",
            "--statement",
            "alice.unfreeze",
            "--statement",
            "bob.unfreeze",
        ],
    );
    assert_eq!(ok(&both)["frozen"], false);
}

#[test]
fn unknown_keys_and_wrong_files_are_refused_all_at_once() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let dir = home.path().join("c");
    ok(&quorate(
        home.path(),
        &[
            "cluster",
            "init",
            "--json",
            "--dir",
            dir.to_str().expect("plain"),
            "--listen",
            "127.0.0.1:1",
        ],
    ));
    let again = quorate(
        home.path(),
        &["cluster", "init", "--dir", dir.to_str().expect("plain")],
    );
    assert_eq!(again.status.code(), Some(3), "nothing is overwritten");

    for (file, role) in [
        ("node-1/node.toml", Some("node")),
        ("coordinator/coordinator.toml", Some("coordinator")),
        ("cluster.toml", None),
        ("policy.toml", None),
    ] {
        let path = dir.join(file);
        ok(&quorate(&dir, &["check-config", file, "--json"]));
        let good = std::fs::read_to_string(&path).expect("the file");
        std::fs::write(&path, format!("colour = \"red\"\nshape = 3\n{good}")).expect("written");
        let refused = quorate(&dir, &["check-config", file]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(11), "{file}: {said}");
        assert!(
            said.contains("colour") && said.contains("shape"),
            "{file}: both at once: {said}"
        );
        assert!(
            said.starts_with("quorate: error: ") && said.contains("\nhint: "),
            "{said}"
        );
        if let Some(role) = role {
            let refused = quorate(&dir, &[role, "run", "--config", file]);
            assert_eq!(refused.status.code(), Some(3), "{role} does not start");
        }
        std::fs::write(&path, good).expect("written");
    }
}

#[test]
fn nobody_there_is_unavailable_and_help_is_always_there() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let dir = home.path().join("c");
    ok(&quorate(
        home.path(),
        &[
            "cluster",
            "init",
            "--json",
            "--dir",
            dir.to_str().expect("plain"),
            "--listen",
            "127.0.0.1:1",
        ],
    ));
    let away = quorate(&dir, &["cluster", "status", "--json"]);
    assert_eq!(away.status.code(), Some(6));
    assert_eq!(json(&away)["error"]["code"], "unavailable");

    let help = quorate(home.path(), &["help", "exit-codes"]);
    assert!(String::from_utf8_lossy(&help.stdout).contains("| 6 | `unavailable` |"));
    assert_eq!(
        quorate(home.path(), &["help", "nonsense"]).status.code(),
        Some(2)
    );
    assert_eq!(quorate(home.path(), &["nonsense"]).status.code(), Some(2));
    assert!(
        quorate(home.path(), &["completion", "bash"])
            .status
            .success()
    );
}
