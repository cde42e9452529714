//! `quorate demo` does what it says, and leaves nothing behind.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use ed25519_dalek::{Signature, VerifyingKey};
use serde_json::Value;

use crate::{
    verdicts::{Anvil, bitcoin_accepts},
    world::QUORATE,
};

/// Every check that the demonstration promises, in its order.
const CHECKS: &[&str] = &[
    "cluster-init",
    "cluster-up",
    "dkg",
    "dkg-ecdsa",
    "dkg-taproot",
    "policy-installed",
    "small",
    "large-waits",
    "large-one-approval",
    "large-locked",
    "large-released",
    "over-limit",
    "not-on-allow-list",
    "ethereum-transfer",
    "erc20-transfer",
    "bitcoin-withdrawal",
    "ethereum-not-on-allow-list",
    "ethereum-unlimited-approve",
    "bitcoin-over-limit",
    "freeze",
    "frozen",
    "unfreeze-needs-quorum",
    "unfreeze",
    "after-unfreeze",
    "node-killed",
    "signed-without-node-3",
    "take-over",
    "no-approvals",
    "byte-changed",
    "byte-changed-and-re-signed",
    "same-question-unchanged",
    "everybody-back",
    "completed",
];

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("a string")).expect("hexadecimal")
}

/// Processes whose command line mentions this directory.
fn processes_of(dir: &Path) -> Vec<String> {
    let needle = dir.to_str().expect("a plain path");
    fs::read_dir("/proc")
        .expect("proc")
        .filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(needle) && line.contains("run"))
        .collect()
}

#[test]
fn the_demo_shows_what_it_says() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let run = Command::new(QUORATE)
        .args(["demo", "--json"])
        .env("TMPDIR", home.path())
        .stdin(Stdio::null())
        .output()
        .expect("the demo runs");
    let stdout = String::from_utf8(run.stdout).expect("text");
    assert_eq!(stdout.lines().count(), 1, "exactly one object: {stdout}");
    let told: Value = serde_json::from_str(&stdout).expect("JSON");

    let failed: Vec<&Value> = told["checks"]
        .as_array()
        .expect("checks")
        .iter()
        .filter(|c| c["ok"] != true)
        .collect();
    assert!(
        failed.is_empty(),
        "{failed:#?}\n{}",
        String::from_utf8_lossy(&run.stderr)
    );
    let names: Vec<&str> = told["checks"]
        .as_array()
        .expect("checks")
        .iter()
        .map(|c| c["name"].as_str().expect("a name"))
        .collect();
    assert_eq!(names, CHECKS);
    assert_eq!(run.status.code(), Some(0));
    assert_eq!(
        told["cluster"],
        serde_json::json!({"nodes": 3, "threshold": 2})
    );

    let wallet = &told["wallets"][0];
    assert_eq!(wallet["scheme"], "ed25519");
    let public: [u8; 32] = bytes(&wallet["public_key"]).try_into().expect("32 bytes");
    let key = VerifyingKey::from_bytes(&public).expect("a point");
    assert_eq!(wallet["address"], bs58::encode(public).into_string());

    let (mut outcomes, mut to_mine) = (Vec::new(), Vec::new());
    for request in told["requests"].as_array().expect("requests") {
        let outcome = request["outcome"].as_str().expect("an outcome");
        outcomes.push((request["name"].as_str().expect("a name"), outcome));
        let unsigned = bytes(&request["unsigned_tx"]);
        assert_eq!(bytes(&request["digest"]).len(), 32);
        assert!(request["timings_ms"].is_object());
        if outcome == "released" {
            let signed = bytes(&request["signed_tx"]);
            match request["chain"].as_str().expect("a chain") {
                "bitcoin:regtest" => {
                    assert_eq!(request["signatures"].as_array().expect("list").len(), 2);
                    bitcoin_accepts(&unsigned, &signed);
                    continue;
                }
                "ethereum:31337" => {
                    to_mine.push(signed);
                    continue;
                }
                chain => assert_eq!(chain, wallet["chain"]),
            }
            let signature: [u8; 64] = bytes(&request["signature"]).try_into().expect("64 bytes");
            key.verify_strict(&unsigned, &Signature::from_bytes(&signature))
                .expect("a signature of the wallet over the unsigned transaction");
            let signed = [&[1], &signature[..], &unsigned[..]].concat();
            assert_eq!(bytes(&request["signed_tx"]), signed);
        } else {
            assert_eq!(
                (&request["signature"], &request["signed_tx"]),
                (&"".into(), &"".into())
            );
            assert_ne!(request["reason"], "");
        }
    }
    assert_eq!(
        outcomes,
        [
            ("small", "released"),
            ("large", "released"),
            ("over-limit", "denied"),
            ("not-on-allow-list", "denied"),
            ("ethereum-transfer", "released"),
            ("erc20-transfer", "released"),
            ("bitcoin-withdrawal", "released"),
            ("ethereum-not-on-allow-list", "denied"),
            ("ethereum-unlimited-approve", "denied"),
            ("bitcoin-over-limit", "denied"),
            ("frozen", "denied"),
            ("after-unfreeze", "released"),
            ("node-killed", "released"),
            ("no-approvals", "denied"),
            ("byte-changed", "denied"),
            ("byte-changed-and-re-signed", "denied"),
        ]
    );
    assert_left_nothing(home.path());
    assert_eq!(to_mine.len(), 2);
    if let Some(anvil) = Anvil::start() {
        let ethereum = told["wallets"][1]["address"].as_str().expect("an address");
        anvil.fund(ethereum);
        for signed in to_mine {
            anvil.mines(&signed, ethereum);
        }
    }
}

fn assert_left_nothing(home: &Path) {
    assert_eq!(processes_of(home), Vec::<String>::new(), "no child is left");
    let left: Vec<_> = fs::read_dir(home).expect("the directory").collect();
    assert!(left.is_empty(), "nothing is left: {left:?}");
}

#[test]
fn an_interrupted_or_killed_demo_leaves_no_process_behind() {
    for signal in ["INT", "TERM", "KILL"] {
        let home = tempfile::tempdir().expect("a temporary directory");
        let mut demo = Command::new(QUORATE)
            .arg("demo")
            .env("TMPDIR", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the demo starts");
        let until = Instant::now() + Duration::from_secs(60);
        while processes_of(home.path()).len() < 4 {
            assert!(Instant::now() < until, "four services come up");
            std::thread::sleep(Duration::from_millis(20));
        }
        let sent = Command::new("kill")
            .args(["-s", signal, &demo.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(sent.success());
        let status = demo.wait().expect("it ends");
        if signal == "KILL" {
            // Nothing can tidy up for it, but its services read the end of their lifeline.
            let until = Instant::now() + Duration::from_secs(20);
            while !processes_of(home.path()).is_empty() {
                assert!(Instant::now() < until, "{:?}", processes_of(home.path()));
                std::thread::sleep(Duration::from_millis(50));
            }
        } else {
            assert_eq!(status.code(), Some(130), "after SIG{signal}");
            assert_left_nothing(home.path());
        }
    }
}
