//! `node.toml`: the shipped example, defaults, all problems at once, modes of secret files.
#![cfg(test)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use signer_node::config::{ClockLimits, Config, FULL_EXAMPLE, Limits, LinkTimes};

const MINIMAL: &str = r#"
schema = 1
index = 2
cluster = "../cluster.toml"
[unlock]
kind = "passphrase"
path = "pass"
[tls]
ca = "ca.pem"
crl = "crl.pem"
cert = "tls.pem"
key = "/abs/tls.key"
"#;

#[test]
fn the_shipped_example_equals_the_defaults() {
    let (config, problems) = Config::parse(FULL_EXAMPLE, Path::new("/etc/q"));
    assert_eq!(problems, vec![]);
    let config = config.unwrap();
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.clock, ClockLimits::default());
    assert_eq!(config.link, LinkTimes::default());
    let (minimal, problems) = Config::parse(MINIMAL, Path::new("/etc/q"));
    assert_eq!(problems, vec![]);
    let minimal = minimal.unwrap();
    assert_eq!(
        (minimal.limits, minimal.clock, minimal.link),
        (config.limits, config.clock, config.link)
    );
    assert_eq!((minimal.store, minimal.log), (config.store, config.log));
    assert_eq!(minimal.tls.key, Path::new("/abs/tls.key"));
    assert_eq!(minimal.unlock.path(), Path::new("/etc/q/pass"));
}

#[test]
fn all_problems_are_reported_at_once_with_their_lines() {
    let text = "schema = 2\nindex = 0\nclutser = \"x\"\n[unlock]\nkind = \"magic\"\n[limits]\nfree_space = \"64\"\nkeys = -1\n[tls]\nca = 5\n[extra]\nx = 1\n";
    let (config, problems) = Config::parse(text, Path::new("."));
    assert!(config.is_none());
    let seen: Vec<(usize, &str)> = problems
        .iter()
        .map(|p| (p.line, p.message.as_str()))
        .collect();
    for expected in [
        (1, "schema must be a whole number from 1 to 1"),
        (2, "index must be a whole number from 1 to 32"),
        (3, "unknown key clutser"),
        (5, "unlock.kind must be one of: key-file, passphrase"),
        (8, "limits.keys must be a whole number from 1 to 4000"),
        (10, "tls.ca must be a non-empty string"),
        (11, "unknown table [extra]"),
        (0, "cluster is missing"),
        (4, "unlock.path is missing"),
        (9, "tls.crl is missing"),
        (9, "tls.cert is missing"),
        (9, "tls.key is missing"),
    ] {
        assert!(
            seen.iter()
                .any(|(line, message)| *line == expected.0 && message.starts_with(expected.1)),
            "{expected:?} not in {seen:?}"
        );
    }
    assert!(
        seen.iter()
            .any(|(line, message)| *line == 7 && message.contains("a size with a unit")),
        "{seen:?}"
    );
}

#[test]
fn broken_toml_names_its_line() {
    let (config, problems) = Config::parse("schema = 1\nindex = = 3\n", Path::new("."));
    assert!(config.is_none());
    assert!(problems.iter().any(|p| p.line == 2), "{problems:?}");
}

#[test]
fn secret_files_must_be_private() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for name in [
        "cluster.toml",
        "ca.pem",
        "crl.pem",
        "tls.pem",
        "tls.key",
        "store.key",
    ] {
        fs::write(at(name), "x").unwrap();
        fs::set_permissions(at(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let text = "schema = 1\nindex = 1\ncluster = \"cluster.toml\"\n[unlock]\nkind = \"key-file\"\npath = \"store.key\"\n[tls]\nca = \"ca.pem\"\ncrl = \"crl.pem\"\ncert = \"tls.pem\"\nkey = \"tls.key\"\n";
    fs::write(at("node.toml"), text).unwrap();
    assert_eq!(Config::load(&at("node.toml")).unwrap().store, at("node.db"));
    fs::set_permissions(at("store.key"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(at("tls.key"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::remove_file(at("ca.pem")).unwrap();
    let error = Config::load(&at("node.toml")).unwrap_err();
    let text = error.to_string();
    assert_eq!(error.problems.len(), 3, "{text}");
    assert!(text.contains("store.key has mode 0644"), "{text}");
    assert!(text.contains("tls.key has mode 0640"), "{text}");
    assert!(text.contains("ca.pem"), "{text}");
}
