//! The list of attacks in docs/attacks.md names exactly the tests that exist, each in its file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

const CRATES: [&str; 7] = [
    "mpc-core",
    "policy",
    "proto",
    "signer-node",
    "coordinator",
    "client",
    "cli",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, found)?;
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

/// The name of the function that a line begins, if it is named after an attack: `a`, a number, an underscore.
fn attack_test(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let rest = line.strip_prefix("async ").unwrap_or(line);
    let (name, _) = rest.strip_prefix("fn ")?.split_once('(')?;
    let number = name.strip_prefix('a')?.split('_').next()?;
    let named = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    named.then_some(name)
}

fn tests_in_the_tree() -> io::Result<BTreeSet<(String, String)>> {
    let root = root();
    let mut files = Vec::new();
    for name in CRATES {
        for folder in ["src", "tests"] {
            let folder = root.join(name).join(folder);
            if folder.is_dir() {
                sources(&folder, &mut files)?;
            }
        }
    }
    let mut tests = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(&file)?;
        let path = file.strip_prefix(&root).unwrap_or(&file);
        let path = path.to_string_lossy().into_owned();
        tests.extend(
            text.lines()
                .filter_map(attack_test)
                .map(|name| (name.to_owned(), path.clone())),
        );
    }
    Ok(tests)
}

fn tests_in_the_list() -> io::Result<BTreeSet<(String, String)>> {
    let text = fs::read_to_string(root().join("docs/attacks.md"))?;
    let entry = |line: &str| {
        let (name, path) = line.strip_prefix("- `")?.split_once("` (")?;
        Some((name.to_owned(), path.strip_suffix(')')?.to_owned()))
    };
    Ok(text.lines().filter_map(entry).collect())
}

#[test]
fn the_list_of_attacks_names_every_test_and_no_other() -> io::Result<()> {
    let (tree, list) = (tests_in_the_tree()?, tests_in_the_list()?);
    let missing: Vec<_> = tree.difference(&list).collect();
    let stale: Vec<_> = list.difference(&tree).collect();
    assert!(missing.is_empty(), "not in docs/attacks.md: {missing:#?}");
    assert!(stale.is_empty(), "no longer in the tree: {stale:#?}");
    assert!(tree.len() > 200, "found only {} tests", tree.len());
    Ok(())
}
