//! `quorate cluster`.

use serde_json::json;

use super::Context;
use crate::{args::ClusterCommand, fail::Fail, init, output::Reply};

/// Runs the verb.
///
/// # Errors
/// The directory cannot be written, or the coordinator is not there.
pub async fn run(context: &Context, command: ClusterCommand) -> Result<Reply, Fail> {
    match command {
        ClusterCommand::Init(args) => {
            let progress = context
                .output
                .spinner("making certificates and sealed stores");
            let made = init::run(&args)?;
            drop(progress);
            Ok(made.reply())
        }
        ClusterCommand::Status => status(context).await,
    }
}

async fn status(context: &Context) -> Result<Reply, Fail> {
    let info = context.connect("client").await?.cluster_info().await?;
    let frozen = info.freeze.as_ref().is_some_and(|f| f.frozen);
    let policy = info.policy.clone().unwrap_or_default();
    let mut human = format!(
        "cluster   {}\nthreshold {} of {}\npolicy    version {}{}\nfrozen    {}\n",
        info.cluster_id,
        info.threshold,
        info.nodes.len(),
        policy.version,
        if policy.active { "" } else { " (not active)" },
        if frozen { "YES" } else { "no" },
    );
    human.extend(info.nodes.iter().map(super::node::line));
    let nodes: Vec<_> = info
        .nodes
        .iter()
        .map(|n| {
            json!({
                "index": n.index, "node_id": hex::encode(&n.node_id), "connected": n.connected,
                "rtt_us": n.rtt_us, "clock_offset_ms": n.clock_offset_ms,
                "ledger_entries": n.status.as_ref().map(|s| s.ledger_entries),
            })
        })
        .collect();
    let json = json!({
        "cluster_id": info.cluster_id, "threshold": info.threshold, "nodes": nodes, "frozen": frozen,
        "policy": {"version": policy.version, "hash": hex::encode(&policy.hash), "active": policy.active},
        "software": info.software, "clock_ms": info.clock_ms,
    });
    Ok(Reply::new(human, json))
}
