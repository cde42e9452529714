//! Every runbook is followed to the letter: the commands of its `sh` blocks, in order, in one shell.

use std::{
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::world::QUORATE;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate is in the repository")
        .to_owned()
}

/// The `sh` blocks of a page, one after the other.
fn commands(page: &str) -> String {
    let mut script = String::new();
    let mut inside = false;
    for line in page.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            _ if inside => {
                script.push_str(line);
                script.push('\n');
            }
            _ => {}
        }
    }
    script
}

/// Runs a page; kills what it leaves behind.
fn follow(name: &str) {
    let page = repository().join("docs/runbooks").join(name);
    let page = std::fs::read_to_string(&page).expect("the runbook");
    let script = commands(&page);
    assert!(
        script.starts_with("source docs/runbooks/practice.sh\n") && script.contains("pay "),
        "{name} begins with a cluster to practise on, and signs"
    );
    let dir = tempfile::tempdir().expect("a temporary directory");
    let bin = dir.path().join("bin");
    std::fs::create_dir(&bin).expect("a directory");
    std::os::unix::fs::symlink(QUORATE, bin.join("quorate")).expect("a link");
    let path = std::env::var("PATH").unwrap_or_default();
    let child = Command::new("bash")
        .args(["-c", &format!("set -euxo pipefail\n{script}")])
        .current_dir(repository())
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("TMPDIR", dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .expect("bash");
    let group = format!("-{}", child.id());
    let output = child.wait_with_output().expect("it ends");
    // Whatever a failed page left running.
    let _gone = Command::new("kill")
        .args(["-9", "--", &group])
        .stderr(Stdio::null())
        .status();
    assert!(
        output.status.success(),
        "{name}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn rotate_certificates() {
    follow("rotate-certificates.md");
}

#[test]
fn node_lost() {
    follow("node-lost.md");
}

#[test]
fn total_loss() {
    follow("total-loss.md");
}

#[test]
fn suspected_compromise() {
    follow("suspected-compromise.md");
}
