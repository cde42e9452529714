//! Every command in the written pages is one that `quorate` takes: in blocks whole, in running text as far as it goes.
#![expect(
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    reason = "a test that cannot go on must fail where it stands"
)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::{Parser as _, error::ErrorKind};
use cli::args::Cli;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate is in the repository")
        .to_owned()
}

/// The pages for people, with their text.
fn pages() -> Vec<(PathBuf, String)> {
    let root = repository();
    let mut paths = vec![root.join("README.md")];
    for dir in ["docs", "docs/runbooks"] {
        let entries = fs::read_dir(root.join(dir)).expect("a directory");
        paths.extend(entries.map(|entry| entry.expect("an entry").path()));
    }
    paths.retain(|path| path.extension().is_some_and(|end| end == "md"));
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a page");
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

/// The commands of `quorate` in one line of a shell.
fn commands(line: &str) -> Vec<Vec<String>> {
    line.split([';', '|', '&', '(', ')', '>', '#'])
        .map(|part| part.replace(['"', '`'], ""))
        .map(|part| {
            part.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .filter_map(|words: Vec<String>| {
            let at = words.iter().position(|word| word == "quorate")?;
            // `for …; do quorate …`, `while quorate …`: what comes before is the shell's.
            let shell = ["do", "while", "until", "if", "then", "!"];
            let before = words.get(..at)?;
            let ours = before.iter().all(|word| shell.contains(&word.as_str()));
            (ours && words.len() > 1).then(|| words.get(at..).unwrap_or_default().to_vec())
        })
        .collect()
}

/// The lines of the fenced blocks, with continued lines put together, and the `quoted` pieces of the rest.
fn pieces(page: &str) -> (Vec<String>, Vec<String>) {
    let (mut blocks, mut quoted) = (Vec::new(), Vec::new());
    let (mut inside, mut held) = (false, String::new());
    for line in page.lines() {
        if line.starts_with("```") {
            inside = !inside;
        } else if let (true, Some(begun)) = (inside, line.strip_suffix('\\')) {
            held.push_str(begun);
        } else if inside {
            held.push_str(line);
            blocks.push(std::mem::take(&mut held));
        } else {
            quoted.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    (blocks, quoted)
}

/// What is wrong with the commands of a page.
fn problems(page: &str) -> (usize, Vec<String>) {
    let (blocks, quoted) = pieces(page);
    let mut count = 0;
    let mut problems = Vec::new();
    let mut look = |text: &str, whole: bool| {
        for words in commands(text) {
            count += 1;
            let Err(error) = Cli::try_parse_from(&words) else {
                continue;
            };
            let kind = error.kind();
            let wrong = matches!(
                kind,
                ErrorKind::InvalidSubcommand | ErrorKind::UnknownArgument
            );
            if wrong || (whole && kind != ErrorKind::DisplayHelp) {
                problems.push(format!("`{}`: {error}", words.join(" ")));
            }
        }
    };
    for text in &blocks {
        look(text, true);
    }
    for text in quoted.iter().filter(|text| text.starts_with("quorate ")) {
        look(text, false);
    }
    (count, problems)
}

#[test]
fn every_written_command_is_one_that_there_is() {
    let mut all = 0;
    for (path, page) in pages() {
        let (count, problems) = problems(&page);
        all += count;
        assert!(problems.is_empty(), "{}: {problems:#?}", path.display());
    }
    assert!(all > 80, "commands were found: {all}");
}

#[test]
fn a_wrong_command_is_found() {
    for page in [
        "```sh\nfor n in 1 2; do quorate node statuss; done\n```",
        "```sh\nx=$(quorate order list --all | awk 1)\n```",
        "```sh\nquorate backup create \\\n  --out backups\n```",
        "Run `quorate cert renew all` then.",
    ] {
        assert_eq!(problems(page).1.len(), 1, "{page}");
    }
    assert_eq!(
        problems("```sh\nquorate node status | grep x\n```").1.len(),
        0
    );
}
