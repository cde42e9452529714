//! Every verb explains itself.

use clap::CommandFactory as _;
use cli::args::Cli;

fn walk(command: &clap::Command, path: &str, seen: &mut Vec<String>) {
    for sub in command.get_subcommands() {
        let path = format!("{path} {}", sub.get_name());
        let after = sub
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        assert!(after.contains("Examples:"), "`{path}` shows no example");
        let named = path.trim_start();
        assert!(
            after.contains(named) || after.contains("ssh-keygen"),
            "an example of `{named}` runs `{named}`: {after}"
        );
        assert!(sub.get_about().is_some(), "`{path}` says what it does");
        for argument in sub.get_arguments() {
            assert!(
                argument.get_help().is_some(),
                "`{path}`: argument {} is explained",
                argument.get_id()
            );
        }
        seen.push(named.to_owned());
        walk(sub, &path, seen);
    }
}

#[test]
fn every_verb_has_an_example_and_every_argument_a_meaning() {
    let command = Cli::command();
    let mut seen = Vec::new();
    walk(&command, "quorate", &mut seen);
    assert!(seen.len() > 25, "the whole tree was walked: {seen:?}");
}

#[test]
fn the_tree_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_example_parses() {
    use clap::Parser as _;
    let mut examples = Vec::new();
    fn collect(command: &clap::Command, to: &mut Vec<String>) {
        let after = command
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        to.extend(
            after
                .lines()
                .map(str::trim)
                .filter(|l| l.starts_with("quorate "))
                .map(str::to_owned),
        );
        command.get_subcommands().for_each(|sub| collect(sub, to));
    }
    collect(&Cli::command(), &mut examples);
    assert!(
        examples.len() > 30,
        "examples were found: {}",
        examples.len()
    );
    for example in examples {
        let words = example
            .split(['>', '|'])
            .next()
            .unwrap_or_default()
            .split_whitespace();
        if let Err(error) = Cli::try_parse_from(words) {
            panic!("`{example}`: {error}");
        }
    }
}
