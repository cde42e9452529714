//! Help topics and shell completion.

use clap::CommandFactory as _;
use serde_json::json;

use crate::{
    args::{Cli, HelpArgs},
    fail::{Exit, Fail},
    output::Reply,
};

/// What can be read beside the verbs.
const TOPICS: [(&str, &str); 2] = [
    ("exit-codes", include_str!("../../../docs/exit-codes.md")),
    ("json", include_str!("../../../docs/json.md")),
];

/// `quorate help`.
///
/// # Errors
/// There is no such topic and no such verb.
pub fn run(args: &HelpArgs) -> Result<Reply, Fail> {
    let topic = args.topic.join(" ");
    if let Some((_, text)) = TOPICS.into_iter().find(|(name, _)| *name == topic) {
        return Ok(Reply::new(text, json!({"topic": topic, "text": text})));
    }
    let mut command = Cli::command();
    command.build();
    let mut found = &mut command;
    for word in &args.topic {
        found = found.find_subcommand_mut(word).ok_or_else(|| {
            Fail::new(Exit::Usage, format_args!("no verb and no topic `{topic}`"))
                .hint("`quorate help` lists the verbs; the topics are exit-codes and json")
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
