//! The quick start, typed by somebody: from an empty directory to a signed transfer, with the binary only.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use cli::local::free_address;
use mpc_core::{
    envelope::{Envelope, Header, Kind, Recipient},
    evidence::Evidence,
    id::{PartyIndex, SessionId},
    identity::{ExchangeKey, IdentityKey},
    roster::{Member, Roster},
};
use policy::cluster::{ClusterFile, NodeEntry};
use rand_core::UnwrapErr;
use serde_json::Value;

use crate::{
    verbs::{ok, quorate},
    world::QUORATE,
};

/// Child processes that end with the test.
struct Services(Vec<std::process::Child>);

impl Services {
    fn start(&mut self, dir: &Path, role: &str, config: &str) {
        let child = Command::new(QUORATE)
            .args([role, "run", "--stop-on-eof", "--config", config])
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.0.push(child.expect("it starts"));
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _gone = child.kill();
            let _gone = child.wait();
        }
    }
}

/// The template at the end of a new policy, with its blanks filled in, and a person's SSH key beside the usual one.
fn fill_in(policy: &Path, key_id: &str, address: &str, ssh: &str) {
    let text = std::fs::read_to_string(policy).expect("the policy");
    let (head, template) = text
        .split_once("# After `quorate key create hot`")
        .expect("the template");
    let template: String = template
        .lines()
        .skip(1)
        .filter_map(|line| line.strip_prefix("# "))
        .map(|line| format!("{line}\n"))
        .collect();
    let template = template
        .replacen("\"...\"", &format!("\"{key_id}\""), 1)
        .replacen("\"...\"", &format!("\"{address}\""), 1)
        .replace("usable_after = \"2026-11-22", "usable_after = \"2026-11-20")
        .replace("delay = \"30m\"", "delay = \"1s\"");
    let (before, after) = head.split_once("[[machine]]").expect("a machine");
    let credential =
        format!("[[person.credential]]\nid = \"ssh\"\nkind = \"ssh\"\nkey = \"{ssh}\"\n\n");
    let text = format!("{before}{credential}[[machine]]{after}{template}");
    std::fs::write(policy, text).expect("written");
}

#[test]
fn the_quick_start_works_as_written() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let at = home.path().join("custody");
    let listen = free_address().expect("a port").to_string();
    ok(&quorate(
        home.path(),
        &[
            "cluster", "init", "--json", "--dir", "custody", "--listen", &listen,
        ],
    ));
    let mut services = Services(Vec::new());
    services.start(&at, "coordinator", "coordinator/coordinator.toml");
    for index in 1..=3 {
        services.start(&at, "node", &format!("node-{index}/node.toml"));
    }
    for _ in 0..200 {
        let status = quorate(&at, &["cluster", "status", "--json"]);
        if status.status.success() {
            let told = ok(&status);
            let nodes = told["nodes"].as_array().expect("nodes").clone();
            if nodes.iter().all(|n| n["connected"] == true) {
                break;
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }

    let key = ok(&quorate(&at, &["key", "create", "hot", "--json"]));
    assert_eq!(key["confirmed"], true, "{key}");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f", "carol-ssh"])
        .current_dir(&at)
        .status();
    assert!(made.expect("ssh-keygen is there").success());
    let ssh = std::fs::read_to_string(at.join("carol-ssh.pub")).expect("the public key");
    let ssh = ssh.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let to = bs58::encode([0xab; 32]).into_string();
    let key_id = key["key_id"].as_str().expect("an id");
    fill_in(&at.join("policy.toml"), key_id, &to, &ssh);

    let linted = ok(&quorate(&at, &["policy", "lint", "policy.toml", "--json"]));
    assert_eq!(linted["wallets"], 1);
    let sign = |person: &str| {
        let (key, out) = (
            format!("people/{person}.key"),
            format!("{person}.statement"),
        );
        ok(&quorate(
            &at,
            &[
                "policy",
                "sign",
                "policy.toml",
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
    };
    sign("alice");
    let install = |verb: &str, statements: &[&str]| {
        let mut args = vec!["policy", verb, "policy.toml", "--json"];
        for statement in statements {
            args.extend(["--statement", statement]);
        }
        quorate(&at, &args)
    };
    let alone = install("activate", &["alice.statement"]);
    assert!(!alone.status.success(), "one of two signatures");
    sign("bob");
    ok(&install("propose", &["alice.statement", "bob.statement"]));
    let active = ok(&install("activate", &["alice.statement", "bob.statement"]));
    assert_eq!(
        (&active["active"], &active["hash"]),
        (&Value::Bool(true), &linted["hash"])
    );

    let blockhash = bs58::encode([5; 32]).into_string();
    let submit = |lamports: &str, name: &str| {
        let save = format!("{name}.intent");
        quorate(
            &at,
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
                "--wait",
                "2",
            ],
        )
    };
    assert_eq!(ok(&submit("1000", "small"))["state"], "released");
    assert_eq!(
        submit("6000000000", "large").status.code(),
        Some(5),
        "it waits"
    );
    let listed = ok(&quorate(
        &at,
        &["request", "list", "--json", "--state", "announced"],
    ));
    let id = listed["requests"][0]["request_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    ok(&quorate(
        &at,
        &[
            "approve",
            &id,
            "--json",
            "--yes",
            "--person",
            "alice",
            "--credential",
            "key",
            "--key",
            "people/alice.key",
        ],
    ));
    let carol = [
        "approve",
        &id,
        "--json",
        "--person",
        "carol",
        "--credential",
        "ssh",
        "--ssh-body",
        "body.txt",
    ];
    ok(&quorate(&at, &carol));
    let signed = Command::new("ssh-keygen")
        .args([
            "-q",
            "-Y",
            "sign",
            "-n",
            "quorate",
            "-f",
            "carol-ssh",
            "body.txt",
        ])
        .current_dir(&at)
        .status();
    assert!(signed.expect("ssh-keygen runs").success());
    ok(&quorate(
        &at,
        &[&carol[..], &["--ssh-signature", "body.txt.sig"]].concat(),
    ));
    let done = ok(&quorate(
        &at,
        &["request", "status", &id, "--json", "--wait", "30"],
    ));
    assert_eq!(done["state"], "released");

    let eval = |rest: &[&str]| {
        let public = key["public_key"].as_str().expect("a key");
        let args = [
            "policy",
            "eval",
            "policy.toml",
            "--json",
            "--intent",
            "large.intent",
            "--public-key",
            public,
        ];
        quorate(&at, &[&args[..], rest].concat())
    };
    let waits = eval(&[]);
    assert_eq!(
        waits.status.code(),
        Some(5),
        "offline, it would wait: {}",
        String::from_utf8_lossy(&waits.stdout)
    );
}

#[test]
fn bench_measures_a_cluster_of_its_own() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let told = ok(&quorate(
        home.path(),
        &[
            "bench",
            "--local",
            "--json",
            "--requests",
            "20",
            "--concurrency",
            "4",
        ],
    ));
    assert_eq!((&told["signed"], &told["failed"]), (&20.into(), &0.into()));
    assert!(
        told["latency_ms"]["p50"]
            .as_f64()
            .is_some_and(|ms| ms > 0.0)
    );
    assert!(told["mean_ms"]["total"].as_f64().is_some_and(|ms| ms > 0.0));
}

#[test]
fn evidence_convicts_whoever_said_two_things_and_nobody_else() {
    let home = tempfile::tempdir().expect("a temporary directory");
    ok(&quorate(
        home.path(),
        &["cluster", "init", "--json", "--dir", "."],
    ));
    let mut rng = UnwrapErr(getrandom::SysRng);
    let identities: Vec<_> = (0..3).map(|_| IdentityKey::generate(&mut rng)).collect();
    let mut members = Vec::new();
    let mut nodes = Vec::new();
    for (index, identity) in (1..).zip(&identities) {
        let exchange = ExchangeKey::generate(&mut rng).public();
        members.push(Member {
            index: PartyIndex::new(index).expect("an index"),
            identity: identity.public(),
            exchange,
        });
        nodes.push(NodeEntry {
            index,
            identity: *identity.public().as_bytes(),
            exchange,
        });
    }
    let path = home.path().join("cluster.toml");
    let mut file = ClusterFile::parse(&std::fs::read(&path).expect("the file")).expect("a cluster");
    file.nodes = nodes;
    std::fs::write(&path, file.render()).expect("written");

    let roster = Roster::new(members).expect("a roster");
    let header = Header {
        kind: Kind::DkgRound1,
        session: SessionId::from_bytes([7; 32]),
        round: 1,
        from: identities[1].public().node_id(),
        to: Recipient::Everyone,
    };
    let said = |body: &[u8]| {
        let bytes = Envelope::seal(&identities[1], &header, body);
        Envelope::open(&roster, &bytes).expect("a message of node 2")
    };
    let evidence = Evidence::equivocation(&said(b"one"), &said(b"two")).encode();
    let verify = |bytes: &[u8]| {
        std::fs::write(home.path().join("evidence.bin"), bytes).expect("written");
        quorate(
            home.path(),
            &["evidence", "verify", "evidence.bin", "--json"],
        )
    };
    let told = ok(&verify(&evidence));
    assert_eq!(
        (&told["holds"], &told["node"]),
        (&Value::Bool(true), &2.into())
    );
    ok(&verify(hex::encode(&evidence).as_bytes()));

    let twice = Evidence::equivocation(&said(b"one"), &said(b"one")).encode();
    assert_eq!(
        verify(&twice).status.code(),
        Some(11),
        "saying one thing twice is no fault"
    );
    for at in (0..evidence.len()).step_by(11) {
        let mut changed = evidence.clone();
        changed[at] ^= 1;
        assert_eq!(
            verify(&changed).status.code(),
            Some(11),
            "byte {at} changed"
        );
    }
}
