//! A key goes out: by people's order, with two operators at each node, to one recovery key; and not otherwise.

use std::fs;
use std::path::Path;
use std::process::Output;

use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use cli::{local::LocalCluster, people, sample};
use serde_json::Value;

use crate::verbs::{ok, quorate};
use crate::world::{PATIENCE, QUORATE};

/// Standard output and error of a command that failed.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Gives a node two operators, and their keys to the test.
fn name_operators(root: &Path, node: u16) {
    let mut names = Vec::new();
    for number in 1..=2 {
        let key = people::generate_key().expect("randomness");
        names.push(hex::encode(key.verifying_key().as_bytes()));
        let file = root.join(format!("operator-{node}-{number}.key"));
        people::write_key(&file, &key).expect("a file");
    }
    let file = root.join(format!("node-{node}/node.toml"));
    let text = fs::read_to_string(&file).expect("a configuration");
    let line = format!("export_operators = \"{}\"\n", names.join(" "));
    fs::write(&file, line + &text).expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_handed_out_with_everybodys_consent_and_is_out_of_use_then() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut cluster =
        LocalCluster::create(Path::new(QUORATE), &dir.path().join("c"), false).expect("a cluster");
    let root = cluster.layout().root().to_owned();
    for node in 1..=2 {
        name_operators(&root, node);
    }
    cluster.start().await.expect("all services come up");
    let key = cluster.create_key_of("eth", "ecdsa").await.expect("a key");
    let mut policy = cluster.made().sample.clone();
    policy.exports = 2;
    cluster.install(&policy).await.expect("the policy");
    let made = ok(&quorate(
        &root,
        &["backup", "keygen", "--out", "recovery.key", "--json"],
    ));
    let recipient = made["recovery_key"].as_str().expect("a key").to_owned();

    let people: Vec<String> = policy.people.iter().map(|one| one.id.clone()).collect();
    let signing = |person: &str| {
        let file = cluster.layout().person_key(person);
        [
            "--person",
            person,
            "--credential",
            sample::CREDENTIAL,
            "--signing-key",
            file.to_str().expect("a path"),
            "--yes",
            "--no-wait",
            "--json",
        ]
        .map(str::to_owned)
    };
    let run = |verb: &[&str], more: &[String]| {
        let mut args: Vec<&str> = verb.to_vec();
        args.extend(more.iter().map(String::as_str));
        quorate(&root, &args)
    };
    let export = [
        "key", "export", "eth", "--to", &recipient, "--reason", "exit",
    ];
    let shown = run(&export, &["--dry-run".to_owned()]);
    assert!(said(&shown).contains("WARNING"), "{}", said(&shown));
    let begun = run(&export, &signing(&people[0]));
    let begun: Value = serde_json::from_slice(&begun.stdout).expect("JSON");
    assert_eq!(begun["state"], "waiting");
    let order = begun["order"].as_str().expect("an id").to_owned();
    let consent = |node: u16, number: u16, more: &[&str]| {
        let config = format!("node-{node}/node.toml");
        let key = format!("operator-{node}-{number}.key");
        let mut args = vec!["key", "export-consent", &order, "--config", &config];
        args.extend(["--operator-key", &key, "--yes", "--json"]);
        args.extend(more);
        quorate(&root, &args)
    };
    // The operators of node 1 agree before the people have; nothing follows from it.
    let nothing = ok(&consent(1, 1, &["--dry-run"]));
    assert_eq!(nothing["dry_run"], true);
    ok(&consent(1, 1, &[]));
    ok(&consent(1, 2, &[]));
    assert!(!consent(1, 2, &[]).status.success(), "once is enough");
    let fetch = |file: &str| {
        quorate(
            &root,
            &["key", "export-fetch", &order, "--out", file, "--json"],
        )
    };
    assert!(said(&fetch("none")).contains("no node has given"));

    let sign = run(&["order", "sign", &order], &signing(&people[1]));
    assert_eq!(ok(&sign)["state"], "running");
    let begun = std::time::Instant::now();
    while !fetch("one.export").status.success() {
        assert!(begun.elapsed() < PATIENCE, "node 1 gives its share");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    let open = |file: &str, out: &str| {
        let verb = ["key", "export-open", file, "--recovery-key", "recovery.key"];
        quorate(&root, &[&verb[..], &["--out", out, "--json"]].concat())
    };
    assert!(said(&open("one.export", "secret")).contains("1 shares, 2 are needed"));
    // One operator of node 2 is not enough, and an operator of node 1 is none of node 2.
    ok(&consent(2, 1, &[]));
    fs::copy(root.join("operator-1-2.key"), root.join("operator-2-9.key")).expect("copied");
    assert!(said(&consent(2, 9, &[])).contains("is none of the operators"));
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    let still = ok(&quorate(&root, &["order", "show", &order, "--json"]));
    assert_eq!(still["state"], "running");
    ok(&consent(2, 2, &[]));
    let end = ok(&quorate(&root, &["order", "watch", &order, "--json"]));
    assert_eq!(end["state"], "done");
    ok(&fetch("all.export"));

    // A gift that was touched on the way is named, and there is no key.
    let text = fs::read_to_string(root.join("all.export")).expect("a file");
    let mut spoilt: Value = serde_json::from_str(&text).expect("JSON");
    let gift = spoilt["gifts"][1].as_str().expect("hex").to_owned();
    let last = if gift.ends_with('0') { "1" } else { "0" };
    spoilt["gifts"][1] = format!("{}{last}", &gift[..gift.len() - 1]).into();
    fs::write(root.join("spoilt.export"), spoilt.to_string()).expect("written");
    let refused = said(&open("spoilt.export", "secret"));
    assert!(refused.contains("gift 2, of member 2"), "{refused}");
    assert!(!root.join("secret").exists());

    let opened = ok(&open("all.export", "secret"));
    let secret = fs::read_to_string(root.join("secret")).expect("the secret");
    let secret: SecretKey = secret.trim().parse().expect("a scalar");
    let public = PublicKey::from_secret_key(&Secp256k1::new(), &secret);
    assert_eq!(opened["public_key"], public.to_string());
    assert_eq!(key.public.bytes(), public.serialize());

    let client = cluster.client("operator").await.expect("an operator");
    assert_eq!(client.key("eth").await.expect("the key").state, "exported");
}
