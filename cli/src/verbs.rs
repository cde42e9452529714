//! The verbs, one module per noun.

pub mod backup;
pub mod cert;
pub mod check;
pub mod cluster;
pub mod decide;
pub mod evidence;
pub mod freeze;
pub mod help;
pub mod key;
pub mod node;
pub mod order;
pub mod pair;
pub mod policy;
pub mod request;
pub mod services;

use std::path::Path;

use client::{Ask, Client, Error, Fix, Options, Retry};

use crate::{
    args::{Cli, Command, Common},
    bench, demo, drill,
    fail::{Exit, Fail},
    output::{Output, Reply},
};

/// Runs one verb to its end.
///
/// # Errors
/// Whatever the verb's own module says.
pub async fn run(cli: Cli, output: Output) -> Result<Reply, Fail> {
    let context = Context {
        common: cli.common,
        output,
    };
    match cli.command {
        Command::Demo(args) => demo::run(&args, output).await,
        Command::Cluster(command) => cluster::run(&context, command).await,
        Command::Node(command) => node::run(&context, command).await,
        Command::Order(command) => order::run(&context, command).await,
        Command::Pair(command) => pair::run(&context, command).await,
        Command::Coordinator(command) => services::coordinator(command).await,
        Command::Key(command) => key::run(&context, command).await,
        Command::Backup(command) => backup::run(&context, command).await,
        Command::Cert(command) => cert::run(&context, &command),
        Command::Policy(command) => policy::run(&context, command).await,
        Command::Request(command) => request::run(&context, command).await,
        Command::Approve(args) => decide::approve(&context, &args).await,
        Command::Reject(args) => decide::reject(&context, &args).await,
        Command::Freeze(args) => freeze::freeze(&context, &args).await,
        Command::Unfreeze(args) => freeze::unfreeze(&context, &args).await,
        Command::Bench(args) => bench::run(&context, &args).await,
        Command::Drill(command) => drill::run(&command, output).await,
        Command::Evidence(command) => evidence::run(&context, &command),
        Command::CheckConfig(args) => check::run(&args),
        Command::Completion(args) => Ok(help::completion(args.shell)),
        Command::Help(args) => help::run(&args),
    }
}

/// What every verb has at hand.
#[derive(Clone, Debug)]
pub struct Context {
    /// The options that every verb takes.
    pub common: Common,
    /// Where to print.
    pub output: Output,
}

impl Context {
    /// Connects with the identity that was asked for, or with the usual one of this verb (`client`, `operator`).
    ///
    /// # Errors
    /// A file is missing or wrong, or the coordinator cannot be reached.
    pub async fn connect(&self, usual: &str) -> Result<Client, Fail> {
        let mut options = Options::beside(&self.common.cluster, usual);
        if let Some(dir) = &self.common.identity {
            options.tls.cert = dir.join("tls.pem");
            options.tls.key = dir.join("tls.key");
        }
        if let Some(dir) = &self.common.trust {
            options.tls.ca = dir.join("ca.pem");
            options.tls.crl = dir.join("crl.pem");
        }
        Ok(Client::connect(&options).await?)
    }
}

impl From<Error> for Fail {
    fn from(error: Error) -> Self {
        let exit = match &error {
            Error::Ask(Ask::Frozen { .. }) | Error::Fix(Fix::Denied { .. }) => Exit::Denied,
            Error::Ask(_) => Exit::Waiting,
            Error::Fix(Fix::Conflict { .. }) => Exit::Conflict,
            Error::Fix(Fix::Ended { .. }) => Exit::Ended,
            Error::Fix(Fix::NotAuthorised { .. }) => Exit::NotAuthorised,
            Error::Fix(_) => Exit::Invalid,
            Error::Retry(Retry::Deadline { .. } | Retry::Unavailable { .. } | _) => {
                Exit::Unavailable
            }
            Error::Stop(_) => Exit::Security,
            _ => Exit::Failed,
        };
        Self::new(exit, &error).hint(error.next_step())
    }
}

/// Reads a whole file.
///
/// # Errors
/// It cannot be read.
pub fn read(path: &Path) -> Result<Vec<u8>, Fail> {
    std::fs::read(path).map_err(|e| Fail::read(path, &e))
}

/// Writes a whole file that must not exist yet.
///
/// # Errors
/// It exists, or it cannot be written.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Fail> {
    use std::io::Write as _;
    std::fs::File::options()
        .write(true)
        .create_new(true)
        .open(path)
        .and_then(|mut f| f.write_all(bytes))
        .map_err(|e| Fail::write(path, &e))
}

/// Now, in Unix milliseconds.
///
/// # Errors
/// The clock stands before 1970.
pub fn now_ms() -> Result<u64, Fail> {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .ok()
        .and_then(|d| u64::try_from(d.as_millis()).ok())
        .ok_or_else(|| Fail::failed("the clock of this machine stands before 1970").hint("set it"))
}
