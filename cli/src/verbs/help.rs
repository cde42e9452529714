//! Help topics and shell completion.

use clap::CommandFactory as _;
use serde_json::json;

use crate::{
    args::{Cli, HelpArgs},
    fail::{Exit, Fail},
    output::Reply,
};

const EXIT_CODES: &str = include_str!("../../../docs/exit-codes.md");

/// `quorate help`.
///
/// # Errors
/// There is no such topic and no such verb.
pub fn run(args: &HelpArgs) -> Result<Reply, Fail> {
    let topic = args.topic.join(" ");
    if topic == "exit-codes" {
        return Ok(Reply::new(
            EXIT_CODES,
            json!({"topic": topic, "text": EXIT_CODES}),
        ));
    }
    let mut command = Cli::command();
    command.build();
    let mut found = &mut command;
    for word in &args.topic {
        found = found.find_subcommand_mut(word).ok_or_else(|| {
            Fail::new(Exit::Usage, format_args!("no verb and no topic `{topic}`"))
                .hint("`quorate help` lists the verbs; the only topic is exit-codes")
        })?;
    }
    let text = found.render_long_help().to_string();
    let json = json!({"topic": topic, "text": text});
    Ok(Reply::new(text, json))
}

/// `quorate completion`.
#[must_use]
pub fn completion(shell: clap_complete::Shell) -> Reply {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "quorate", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    let json = json!({"shell": shell.to_string(), "script": script});
    Reply::new(script, json)
}
