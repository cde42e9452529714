//! The `quorate` command: demo, operators' and approvers' verbs, and both services as subcommands.
//!
//! | module | holds |
//! |---|---|
//! | [`args`] | the argument tree |
//! | [`output`] | replies, notes, progress |
//! | [`fail`] | failures and exit codes |
//! | [`layout`], [`init`] | a cluster's files, and how they are made |
//! | [`local`] | a cluster as child processes of this binary |
//! | [`sample`] | the policy documents that this program writes |
//! | [`people`] | key files, statements, `ssh-keygen` |
//! | [`mod@backup`] | backup files, recovery keys and their printed parts |
//! | [`demo`] | the demonstration |
//! | [`drill`] | losses, rehearsed |
//! | [`mod@bench`] | the load generator |
//! | [`verbs`] | everything else |
#![forbid(unsafe_code)]

pub mod args;
pub mod backup;
pub mod bench;
pub mod demo;
pub mod drill;
pub mod fail;
pub mod init;
pub mod layout;
pub mod local;
pub mod output;
pub mod people;
pub mod sample;
pub mod transactions;
pub mod verbs;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{
    args::Cli,
    fail::{Exit, Fail},
    output::{Output, Reply},
};

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output::new(cli.common.json, cli.common.quiet);
    let end = runtime().and_then(|runtime| runtime.block_on(until_interrupted(cli, output)));
    ExitCode::from(output.finish(end))
}

fn runtime() -> Result<tokio::runtime::Runtime, Fail> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Fail::failed(format_args!("cannot start the runtime: {e}")))
}

/// Runs the verb; a signal drops it where it stands, and with it every child process and temporary directory.
async fn until_interrupted(cli: Cli, output: Output) -> Result<Reply, Fail> {
    if cli.command.handles_signals() {
        return verbs::run(cli, output).await;
    }
    tokio::select! {
        end = verbs::run(cli, output) => end,
        signal = verbs::services::stop_signal() => {
            let name = signal?;
            Err(Fail::new(Exit::Interrupted, format_args!("stopped by {name}")))
        }
    }
}
