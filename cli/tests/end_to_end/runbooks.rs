//! Every runbook is followed to the letter: the commands of its `sh` blocks, in order, in one shell.

use std::{
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
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

/// How long a page may take, in seconds: a loop in one that never ends must fail it.
const PATIENCE: &str = "240";

fn page(name: &str) -> String {
    let page = repository().join("docs/runbooks").join(name);
    std::fs::read_to_string(&page).expect("the runbook")
}

/// Runs the commands of a page; kills what they leave behind.
fn run(page: &str) -> Output {
    let script = commands(page);
    assert!(
        script.starts_with("source docs/runbooks/practice.sh\n") && script.contains("pay "),
        "it begins with a cluster to practise on, and signs: {script}"
    );
    let dir = tempfile::tempdir().expect("a temporary directory");
    let bin = dir.path().join("bin");
    std::fs::create_dir(&bin).expect("a directory");
    std::os::unix::fs::symlink(QUORATE, bin.join("quorate")).expect("a link");
    let path = std::env::var("PATH").unwrap_or_default();
    let child = Command::new("timeout")
        .args(["-k", "5", PATIENCE, "bash", "-c"])
        .arg(format!("set -euxo pipefail\n{script}"))
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
    output
}

/// Runs a page, which must hold.
fn follow(name: &str) {
    let output = run(&page(name));
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

#[test]
fn a_page_with_a_wrong_step_fails() {
    let page = page("rotate-certificates.md");
    let end = page
        .find("## 2.")
        .expect("the page goes on after its first look");
    let begun = page.get(..end).expect("text");
    let wrong = format!("{begun}```sh\nquorate cert rotate node-9 --dir custody\nfinish\n```\n");
    let wrong = format!("{wrong}\nSomebody pays: `pay 2`\n```sh\npay 2\n```\n");
    let output = run(&wrong);
    assert_eq!(output.status.code(), Some(3), "the step's own exit code");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !said.contains("+ pay 2"),
        "nothing after it was run: {said}"
    );
}
