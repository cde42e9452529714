//! `quorate cluster`.

use policy::time::format_utc;
use proto::v1;
use serde_json::{Value, json};

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
    human.push_str(&alarms(&info));
    let nodes: Vec<_> = info
        .nodes
        .iter()
        .map(|n| {
            json!({
                "index": n.index, "node_id": hex::encode(&n.node_id), "connected": n.connected,
                "rtt_us": n.rtt_us, "clock_offset_ms": n.clock_offset_ms, "drained": n.drained,
                "warnings": super::node::warnings(n),
                "ledger_entries": n.status.as_ref().map(|s| s.ledger_entries),
                "pairs": n.status.iter().flat_map(|s| &s.pairs).map(pair).collect::<Vec<_>>(),
            })
        })
        .collect();
    let json = json!({
        "cluster_id": info.cluster_id, "threshold": info.threshold, "nodes": nodes, "frozen": frozen,
        "policy": {"version": policy.version, "hash": hex::encode(&policy.hash), "active": policy.active},
        "software": info.software, "clock_ms": info.clock_ms, "convicted": info.convicted,
        "stopped": info.stopped.iter().map(|s| json!({
            "signers": s.signers, "failures": s.failures, "last_ms": s.at_ms,
        })).collect::<Vec<_>>(),
    });
    Ok(Reply::new(human, json))
}

fn pair(pair: &v1::PairState) -> Value {
    json!({
        "peer": pair.peer, "generation": pair.generation, "status": pair.status, "why": pair.why,
        "session": hex::encode(&pair.session), "at_ms": pair.at_ms, "strikes": pair.strikes,
    })
}

/// What stands in the way of signatures until somebody decides.
fn alarms(info: &v1::ClusterInfo) -> String {
    let mut lines = String::new();
    for node in &info.nodes {
        let pairs = node.status.iter().flat_map(|status| &status.pairs);
        for pair in pairs.filter(|pair| pair.status == "poisoned") {
            lines.push_str(&format!(
                "POISONED  nodes {} and {} since {}: node {} says: {}\n          they sign nothing together; find out which of the two lies, then replace it, or quorate pair renew {} {}\n",
                node.index, pair.peer, format_utc(pair.at_ms), node.index, printable(&pair.why), node.index, pair.peer,
            ));
        }
    }
    for set in &info.stopped {
        lines.push_str(&format!(
            "STOPPED   nodes {:?}: {} signatures did not verify, the last at {}\n          one of them lies; see forgive_failures_before in coordinator.toml\n",
            set.signers, set.failures, format_utc(set.at_ms),
        ));
    }
    for node in &info.convicted {
        lines.push_str(&format!(
            "CONVICTED node {node}: see the files in evidence/ beside the stores\n"
        ));
    }
    lines
}

/// The words of a node, as a terminal may show them.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}
