//! The policy document: the annotated example, and a corpus of documents that must be refused with exact faults.

use std::fs;
use std::path::Path;

use policy::document::{Document, Effect, MAX_DOCUMENT, MAX_PROBLEMS, PolicyHash};

const FULL: &str = include_str!("data/full.toml");

#[test]
fn the_annotated_example_parses() {
    let document = Document::parse(FULL.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(document.version(), 42);
    assert_eq!(document.people().len(), 9);
    assert_eq!(document.machines().len(), 3);
    assert_eq!(document.wallets().len(), 2);
    assert_eq!(document.addresses().len(), 2);
    assert_eq!(document.rules().len(), 4);
    assert_eq!(document.rules()[3].effect, Effect::Deny);
    assert_eq!(policy::lint::lint(&document, None), []);
}

/// The example in docs/policy.md says what it means and means what it says.
#[test]
fn the_example_of_the_manual_parses() {
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/policy.md");
    let manual = fs::read_to_string(manual).unwrap();
    let (_, example) = manual.split_once("```toml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let document =
        Document::parse(example.as_bytes()).unwrap_or_else(|problems| panic!("{problems}"));
    let found: Vec<String> = policy::lint::lint(&document, None)
        .iter()
        .map(ToString::to_string)
        .collect();
    let [call] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert!(call.starts_with("rule eth-stake: the effect of the calls"));
}

/// Every file under `data/bad` begins with the faults that must be found in it, one `#! ` line each and nothing else.
#[test]
fn every_bad_document_is_refused_with_exactly_its_faults() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/bad");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let mut wrong = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        let expected: Vec<&str> = text
            .lines()
            .map_while(|line| line.strip_prefix("#! "))
            .collect();
        let found: Vec<String> = match Document::parse(text.as_bytes()) {
            Ok(_) => Vec::new(),
            Err(error) => error.problems.iter().map(ToString::to_string).collect(),
        };
        if expected.is_empty() || expected != found {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            wrong.push(format!(
                "{name}\n{}",
                found
                    .iter()
                    .map(|line| format!("#! {line}\n"))
                    .collect::<String>()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(files.len(), 47);
}

#[test]
fn any_unknown_key_anywhere_refuses_the_document() {
    // Behind every line that sets a key, and in every inline table, one key too many.
    let mut tried = 0;
    for (number, line) in FULL.lines().enumerate() {
        let trimmed = line.trim_start();
        let sets_a_key = trimmed
            .chars()
            .next()
            .is_some_and(|c| c.is_ascii_lowercase())
            && trimmed.contains('=')
            && !trimmed.contains("= [ #")
            && !trimmed.ends_with('[');
        let mut texts = Vec::new();
        if sets_a_key {
            texts.push(replace_line(
                number,
                &format!("{line}\nsurplus_{number} = 1"),
            ));
        }
        if !trimmed.starts_with('#') && line.contains("{ ") {
            texts.push(replace_line(
                number,
                &line.replacen("{ ", "{ surplus = 1, ", 1),
            ));
        }
        for text in texts {
            let error = Document::parse(text.as_bytes()).unwrap_err();
            assert_eq!(error.problems.len(), 1, "{error}");
            assert!(
                error.problems[0].message.starts_with("unknown key"),
                "{error}"
            );
            tried += 1;
        }
    }
    assert!(tried > 80, "{tried}");
}

fn replace_line(number: usize, with: &str) -> String {
    let lines = FULL
        .lines()
        .enumerate()
        .map(|(at, line)| if at == number { with } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

/// TOML lets the second set of control characters stand in comments, where terminals obey them.
#[test]
fn a104_a_comment_cannot_hide_or_add_lines_on_a_screen() {
    for hidden in ['\u{85}', '\u{9b}', '\u{3164}', '\u{fe0f}', '\u{e0100}'] {
        let text = format!("# {hidden}\n{FULL}");
        let error = Document::parse(text.as_bytes()).unwrap_err();
        let message = format!(
            "line 1, column 3: invisible or direction-changing character U+{:04X}",
            u32::from(hidden)
        );
        assert_eq!(
            error
                .problems
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
            [message]
        );
    }
}

#[test]
fn bytes_that_are_no_text_or_too_many_are_refused() {
    let error = Document::parse(b"schema = 1\n\xff").unwrap_err();
    assert_eq!(
        error.to_string(),
        "policy document refused\n  line 1, column 1: document is not UTF-8 from byte 11 on"
    );
    let error = Document::parse(&vec![b'#'; MAX_DOCUMENT + 1]).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("document has 1048577 bytes; at most 1048576 are allowed")
    );
    assert!(Document::parse(b"").is_err());
    let nested = "a = ".to_owned() + &"[".repeat(100_000);
    assert!(Document::parse(nested.as_bytes()).is_err());
    let cut = FULL.char_indices().map(|(at, _)| at).step_by(97);
    for at in cut {
        // Whatever a cut leaves, it is read without a panic; before the last rule is complete it is refused or shorter.
        let _ = Document::parse(&FULL.as_bytes()[..at]);
    }
}

#[test]
fn a_hundred_faults_are_reported_and_the_rest_is_not_looked_for() {
    let keys: String = (0..50_000).map(|n| format!("k{n} = 1\n")).collect();
    let error = Document::parse(keys.as_bytes()).unwrap_err();
    assert_eq!(error.problems.len(), MAX_PROBLEMS);
    let hidden = "#\u{200b}".repeat(200_000);
    assert_eq!(
        Document::parse(hidden.as_bytes())
            .unwrap_err()
            .problems
            .len(),
        MAX_PROBLEMS
    );
}

#[test]
fn the_hash_is_of_the_exact_bytes() {
    let hash = PolicyHash::of(FULL.as_bytes());
    assert_ne!(hash, PolicyHash::of(FULL.trim_end().as_bytes()));
    assert_eq!(hash, PolicyHash::from_bytes(*hash.as_bytes()));
    assert_eq!(hash.to_string().len(), 64);
}
