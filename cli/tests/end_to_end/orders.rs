//! Orders about keys at the command line: what their signers are shown, what they are kept from signing, and what comes of it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::Value;

use crate::{verbs::quorate, world::bare};

/// More keys than the words of an order name.
const KEYS: usize = 10;

/// Runs a verb with `--json`; its exit code, its reply, what it wrote to standard error.
fn run(dir: &Path, args: &[&str]) -> (i32, Value, String) {
    let mut args = args.to_vec();
    args.push("--json");
    let Output {
        status,
        stdout,
        stderr,
    } = quorate(dir, &args);
    let text = String::from_utf8(stdout).expect("text");
    let said = String::from_utf8(stderr).expect("text");
    assert!(!text.is_empty(), "{args:?} says something: {said}");
    let reply = serde_json::from_str(&text).expect("one JSON object");
    documented(&reply);
    (status.code().expect("an exit code"), reply, said)
}

/// Every field of a reply is in the written description of replies.
fn documented(reply: &Value) {
    const PAGE: &str = include_str!("../../../docs/json.md");
    match reply {
        Value::Object(fields) => {
            for (name, value) in fields {
                let written = [format!("`{name}`"), format!("`error.{name}`")];
                let listed = name == "error" || written.iter().any(|it| PAGE.contains(it));
                assert!(listed, "docs/json.md does not explain {name}");
                // The names in there are those of chains.
                if name != "addresses" {
                    documented(value);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(documented),
        _ => {}
    }
}

/// The options with which a sample person signs.
fn person(name: &str) -> [String; 7] {
    [
        "--person",
        name,
        "--credential",
        "key",
        "--signing-key",
        &format!("people/{name}.key"),
        "--yes",
    ]
    .map(str::to_owned)
}

fn with<'a>(args: &[&'a str], more: &'a [String]) -> Vec<&'a str> {
    let more = more.iter().map(String::as_str);
    args.iter().copied().chain(more).collect()
}

/// The cluster file with the identities of nodes 1 and 2 exchanged.
fn confused(dir: &Path) -> PathBuf {
    let text = fs::read_to_string(dir.join("cluster.toml")).expect("the cluster file");
    let identities: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("identity = "))
        .take(2)
        .collect();
    let (one, two) = (identities[0], identities[1]);
    let swapped = text
        .replace(one, "identity = here")
        .replace(two, one)
        .replace("identity = here", two);
    let path = dir.join("confused.toml");
    fs::write(&path, swapped).expect("a new file");
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_signs_an_order_sees_every_key_attempt_and_node() {
    let (cluster, _dir) = bare().await;
    let dir = cluster.layout().root().to_owned();
    let names: Vec<String> = (0..KEYS).map(|n| format!("key-{n}")).collect();
    for name in &names {
        cluster.create_key(name).await.expect("a key");
    }
    let (_, listed, _) = run(&dir, &["key", "list"]);
    let ids: Vec<String> = listed["keys"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|key| key["key_id"].as_str().expect("hex").to_owned())
        .collect();
    assert_eq!(ids.len(), KEYS);
    for key in listed["keys"].as_array().expect("a list") {
        assert!(
            key["age_ms"].as_u64().is_some_and(|age| age < 600_000),
            "{key}"
        );
        assert_eq!(key["refresh_due_ms"], Value::Null, "no policy, no interval");
        assert_eq!(key["holders"].as_array().map(Vec::len), Some(3));
    }

    // Shown before anybody signs: every key with its attempts, every node with its id.
    let mut refresh = vec!["key", "refresh"];
    refresh.extend(names.iter().map(String::as_str));
    let mut dry = refresh.clone();
    dry.push("--dry-run");
    let (code, reply, said) = run(&dir, &dry);
    assert_eq!((code, &reply["kind"]), (0, &Value::from("refresh")));
    let nodes: Vec<String> = run(&dir, &["node", "status"]).1["nodes"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|node| node["node_id"].as_str().expect("hex").to_owned())
        .collect();
    let whole = |text: &str| {
        ids.iter().all(|id| {
            let mut lines = text.lines();
            lines.any(|line| line.contains(&format!("key: {id} ")) && line.contains(" next 1 to "))
        }) && nodes.iter().all(|id| {
            (1..=3).any(|number| text.contains(&format!("member: {number} node {number} {id}")))
        })
    };
    assert!(whole(&said), "{said}");
    let object = &reply["order"];
    assert_eq!(object["keys"].as_array().map(Vec::len), Some(KEYS));
    assert_eq!(object["keys"][9]["first_attempt"], 1);
    assert_eq!(object["holders"], object["members"]);

    // The first of two people; the order waits.
    let alice = person("alice");
    let (code, waiting, said) = run(&dir, &with(&refresh, &alice));
    assert_eq!(code, 5, "{waiting}");
    assert!(whole(&said), "{said}");
    let order = waiting["order"].as_str().expect("hex").to_owned();
    let shown = quorate(&dir, &["order", "show", &order]);
    assert_eq!(shown.status.code(), Some(5));
    assert!(whole(&String::from_utf8_lossy(&shown.stdout)), "{shown:?}");
    let (_, told, _) = run(&dir, &["order", "show", &order]);
    let text = told["text"].as_array().expect("lines");
    let text: Vec<&str> = text.iter().filter_map(Value::as_str).collect();
    assert!(whole(&text.join("\n")), "{told}");
    assert_eq!(told["ordered"]["keys"].as_array().map(Vec::len), Some(KEYS));

    let list = quorate(&dir, &["order", "list"]);
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    assert!(list.contains("waiting   0 of 10 keys, missing: "), "{list}");

    // The second: whose cluster file calls other nodes by these numbers, signs nothing.
    let bob = person("bob");
    let sign = ["order", "sign", order.as_str()];
    let other = confused(&dir);
    let other = other.to_str().expect("a path").to_owned();
    let mut mistaken = with(&sign, &bob);
    mistaken.extend(["--cluster", &other]);
    let (code, reply, _) = run(&dir, &mistaken);
    assert_eq!(code, 10, "{reply}");
    let message = reply["error"]["message"].as_str().expect("text");
    assert!(
        message.contains("the cluster file here does not"),
        "{message}"
    );

    // A body for ssh-keygen with one more attempt than was shown is another order, though its words are the same.
    let bodied = |extra: &[&str]| {
        let mut args = sign.to_vec();
        args.extend([
            "--person",
            "bob",
            "--credential",
            "key",
            "--ssh-body",
            "body.txt",
        ]);
        args.extend(extra);
        run(&dir, &args)
    };
    assert_eq!(bodied(&[]).0, 0);
    let body = fs::read_to_string(dir.join("body.txt")).expect("the body");
    assert!(whole(&body), "{body}");
    let more = body.replacen(" next 1 to 4", " next 1 to 5", 1);
    assert_ne!(body, more, "the first key's attempts are raised");
    fs::write(dir.join("body.txt"), more).expect("written");
    fs::write(dir.join("body.sig"), "not looked at").expect("written");
    let (code, reply, said) = bodied(&["--ssh-signature", "body.sig"]);
    assert_eq!(code, 3, "{reply}");
    assert!(
        !said.contains("This is the order"),
        "another order is not shown as this one: {said}"
    );

    // Read and signed: done, and the keys say so.
    let (code, reply, said) = run(&dir, &with(&sign, &bob));
    assert_eq!(
        (code, &reply["state"]),
        (0, &Value::from("done")),
        "{reply}"
    );
    assert!(whole(&said), "{said}");
    assert!(said.contains("attempt 1"), "each stage is told: {said}");
    let (_, listed, _) = run(&dir, &["key", "list"]);
    assert!(
        listed["keys"]
            .as_array()
            .expect("a list")
            .iter()
            .all(|key| key["epoch"] == 1),
        "{listed}"
    );
    let (code, watched, _) = run(&dir, &["order", "watch", &order]);
    assert_eq!((code, &watched["finished"]), (0, &Value::from(KEYS)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_what_a_drained_node_leaves_and_how_old_keys_are() {
    let (mut cluster, _dir) = bare().await;
    let dir = cluster.layout().root().to_owned();
    let key = cluster.create_key("hot").await.expect("a key");
    let stuck = |node: &str| {
        let (code, told, _) = run(&dir, &["node", "drain", node, "--dry-run"]);
        assert_eq!((code, &told["dry_run"]), (0, &Value::from(true)), "{told}");
        told["stuck_keys"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(stuck("1"), 0, "two are left, and two sign");
    assert_eq!(run(&dir, &["node", "drain", "9", "--dry-run"]).0, 3);
    let (_, drained, _) = run(&dir, &["node", "drain", "1"]);
    assert_eq!(drained["drained"], true);
    assert_eq!(stuck("2"), 1, "only one would be left");
    let (_, status, _) = run(&dir, &["node", "status", "2"]);
    assert_eq!(status["nodes"][0]["drained"], false, "nothing was changed");
    assert_eq!(run(&dir, &["node", "resume", "1"]).1["drained"], false);

    // Of three shares one is away: the key is still one of three.
    cluster.crash_node(3).expect("it ran");
    cluster.connected(2).await.expect("it is missed");
    let list = quorate(&dir, &["key", "list"]);
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    assert!(list.contains("2-of-3 epoch 0 "), "{list}");
    assert!(list.contains(" old, no refresh set"), "{list}");
    assert!(list.trim_end().ends_with(&hex::encode(key.id)), "{list}");
    let shown = quorate(&dir, &["key", "show", "hot"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown.contains("held by     nodes 1, 2, 3 (away)"),
        "{shown}"
    );
    assert!(shown.contains("refresh     by order only"), "{shown}");

    // Nothing that takes a person begins without one, and --dry-run asks for nobody.
    for verb in [
        &["key", "refresh", "hot"][..],
        &[
            "key",
            "reshare",
            "hot",
            "--nodes",
            "1,2",
            "--dealers",
            "1,2",
        ],
        &["key", "retire", "hot", "--reason", "moved"],
    ] {
        assert_eq!(quorate(&dir, verb).status.code(), Some(2), "{verb:?}");
        let mut dry = verb.to_vec();
        dry.push("--dry-run");
        let (code, told, said) = run(&dir, &dry);
        assert_eq!((code, &told["dry_run"]), (0, &Value::from(true)), "{told}");
        assert!(said.contains(&hex::encode(key.id)), "{said}");
    }
    let (_, orders, _) = run(&dir, &["order", "list", "--ended"]);
    assert_eq!(
        orders["orders"].as_array().map(Vec::len),
        Some(0),
        "none was sent"
    );
}
