//! `quorate demo`: a whole cluster on this machine, what it signs, and what it refuses.

mod lifecycle;
pub mod report;
pub mod rogue;
mod ssh;
mod story;

use std::path::{Path, PathBuf};

use self::report::Report;
use crate::{
    args::DemoArgs,
    fail::Fail,
    local::LocalCluster,
    output::{Output, Reply},
    sample,
};

/// Runs the demonstration.
///
/// # Errors
/// The cluster cannot even be set up. Everything after that is reported as a check.
pub async fn run(args: &DemoArgs, output: Output) -> Result<Reply, Fail> {
    let executable = std::env::current_exe()
        .map_err(|e| Fail::failed(format_args!("cannot find this program's own file: {e}")))?;
    let place = Place::new(args)?;
    let mut report = Report::new(output);
    report.title("A cluster of nodes and a coordinator, each its own process");
    let mut cluster = if args.lifecycle {
        let init = lifecycle::cluster(place.dir())?;
        LocalCluster::create_as(&executable, &init, args.keep_running)?
    } else {
        LocalCluster::create(&executable, &place.dir(), args.keep_running)?
    };
    report.check(
        "cluster-init",
        true,
        format!(
            "certificates, sealed stores, roster written to {}",
            place.dir().display()
        ),
    );
    let end = if args.lifecycle {
        lifecycle::tell(&mut cluster, &mut report).await
    } else {
        story::tell(&mut cluster, &mut report).await
    };
    let (nodes, threshold) = (
        cluster.made().cluster.nodes.len(),
        cluster.made().cluster.threshold,
    );
    if args.keep_running && end.is_ok() {
        let dir = place.keep();
        report.title("The cluster keeps running:");
        report.say(&format!(
            "quorate cluster status --cluster {}/cluster.toml",
            dir.display()
        ));
        report.say(&format!(
            "logs: {}/node-*/log {}/coordinator/log",
            dir.display(),
            dir.display()
        ));
        let ids: Vec<String> = cluster
            .process_ids()
            .iter()
            .map(ToString::to_string)
            .collect();
        report.say(&format!("stop it: kill {}", ids.join(" ")));
        let connection = connection(&dir, &ids.join(" "))?;
        std::fs::write(&args.connection, connection)
            .map_err(|e| Fail::write(&args.connection, &e))?;
        report.say(&format!(
            "the examples read {}: cargo run -p client --all-features --example ethereum_withdrawal",
            args.connection.display()
        ));
        cluster.release();
    }
    Ok(report.finish(nodes, threshold, &end))
}

/// What a wallet backend needs to use the cluster: paths and names, no secrets.
fn connection(dir: &Path, pids: &str) -> Result<String, Fail> {
    let dir = std::path::absolute(dir)
        .map_err(|e| Fail::failed(format_args!("{}: {e}", dir.display())))?;
    let path = |below: &str| dir.join(below).display().to_string();
    let mut lines = vec![
        ("pids", pids.to_owned()),
        ("cluster", path("cluster.toml")),
        ("initiator", sample::INITIATOR.to_owned()),
        ("initiator_key", path("client/initiator.key")),
        ("solana_wallet", story::WALLET.to_owned()),
        ("ethereum_wallet", story::chains::ETHEREUM.to_owned()),
        ("bitcoin_wallet", story::chains::BITCOIN.to_owned()),
    ];
    lines.extend(story::chains::destinations());
    let mut text = String::from("# A running demonstration, for the examples.\n");
    for (key, value) in lines {
        text.push_str(&format!("{key} = {}\n", toml::Value::from(value)));
    }
    Ok(text)
}

/// Where the demonstration's files are: a directory that was asked for, or one that goes away with it.
#[derive(Debug)]
enum Place {
    Asked(PathBuf),
    Temporary(tempfile::TempDir),
}

impl Place {
    fn new(args: &DemoArgs) -> Result<Self, Fail> {
        if let Some(dir) = &args.dir {
            return Ok(Self::Asked(dir.clone()));
        }
        tempfile::Builder::new()
            .prefix("quorate-demo-")
            .tempdir()
            .map(Self::Temporary)
            .map_err(|e| Fail::failed(format_args!("no temporary directory: {e}")))
    }

    fn dir(&self) -> PathBuf {
        match self {
            Self::Asked(dir) => dir.clone(),
            Self::Temporary(dir) => dir.path().join("cluster"),
        }
    }

    /// Leaves the directory behind.
    fn keep(self) -> PathBuf {
        match self {
            Self::Asked(dir) => dir,
            Self::Temporary(dir) => dir.keep().join("cluster"),
        }
    }
}
