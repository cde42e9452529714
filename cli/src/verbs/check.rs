//! `quorate check-config`.

use policy::{cluster::ClusterFile, document::Document};
use serde_json::json;

use crate::{
    args::CheckConfigArgs,
    fail::{Exit, Fail},
    output::Reply,
    verbs,
};

/// What a file is the configuration of, told by the keys that only it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Cluster,
    Coordinator,
    Node,
    Policy,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Coordinator => "coordinator",
            Self::Node => "node",
            Self::Policy => "policy",
        }
    }
}

/// Runs the verb.
///
/// # Errors
/// The file cannot be read or has problems; every one of them is in the message.
pub fn run(args: &CheckConfigArgs) -> Result<Reply, Fail> {
    let path = &args.file;
    let bytes = verbs::read(path)?;
    let kind = kind(&String::from_utf8_lossy(&bytes)).ok_or_else(|| {
        Fail::invalid(format_args!("cannot tell what {} configures", path.display()))
            .hint("a node has `index`, a coordinator `listen`, a cluster file [genesis], a policy `policy_id`")
    })?;
    let problem = match kind {
        Kind::Cluster => ClusterFile::parse(&bytes)
            .map(drop)
            .map_err(|e| e.to_string()),
        Kind::Coordinator => coordinator::Config::load(path)
            .map(drop)
            .map_err(|e| e.to_string()),
        Kind::Node => signer_node::Config::load(path)
            .map(drop)
            .map_err(|e| e.to_string()),
        Kind::Policy => Document::parse(&bytes).map(drop).map_err(|e| e.to_string()),
    };
    match problem {
        Ok(()) => Ok(Reply::new(
            format!(
                "{} is a good {} configuration",
                path.display(),
                kind.as_str()
            ),
            json!({"file": path, "kind": kind.as_str(), "problems": []}),
        )),
        Err(problems) => Err(Fail::new(Exit::CheckFailed, problems)
            .hint("every problem is listed; correct them together")),
    }
}

/// Looks at the keys only, so that a file with problems still gets the report of its own kind.
fn kind(text: &str) -> Option<Kind> {
    let has = |key: &str| {
        text.lines().any(|line| {
            let line = line.trim_start();
            line.starts_with(key)
                && line
                    .strip_prefix(key)
                    .is_some_and(|rest| rest.trim_start().starts_with('='))
        })
    };
    if text.contains("[genesis]") {
        Some(Kind::Cluster)
    } else if has("policy_id") {
        Some(Kind::Policy)
    } else if has("listen") {
        Some(Kind::Coordinator)
    } else if has("index") || text.contains("[unlock]") {
        Some(Kind::Node)
    } else {
        None
    }
}
