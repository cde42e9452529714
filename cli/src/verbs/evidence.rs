//! `quorate evidence`.

use mpc_core::{
    evidence,
    id::PartyIndex,
    identity::IdentityPublic,
    roster::{Member, Roster},
};
use policy::cluster::ClusterFile;
use serde_json::json;

use super::Context;
use crate::{
    args::EvidenceCommand,
    fail::{Exit, Fail},
    output::Reply,
    verbs,
};

/// Runs the verb.
///
/// # Errors
/// A file cannot be read, or the evidence does not hold.
pub fn run(context: &Context, command: &EvidenceCommand) -> Result<Reply, Fail> {
    let EvidenceCommand::Verify(args) = command;
    let path = &context.common.cluster;
    let cluster = ClusterFile::parse(&verbs::read(path)?)
        .map_err(|e| Fail::invalid(format_args!("{}: {e}", path.display())))?;
    let roster = roster(&cluster)?;
    let bytes = verbs::read(&args.file)?;
    let text = std::str::from_utf8(&bytes)
        .map(str::trim)
        .unwrap_or_default();
    let bytes = hex::decode(text)
        .ok()
        .filter(|b| !b.is_empty())
        .unwrap_or(bytes);
    let (node, fault) = evidence::verify(&roster, &bytes).map_err(|e| {
        Fail::new(
            Exit::CheckFailed,
            format_args!("{}: the evidence does not hold: {e}", args.file.display()),
        )
        .hint("accuse nobody on the ground of it")
    })?;
    let index = roster.get(&node).map(|member| member.index.get());
    let human = format!(
        "the evidence holds\nnode   {} ({node})\nfault  {fault:?}",
        index.map_or_else(|| "?".to_owned(), |i| i.to_string())
    );
    let json = json!({"holds": true, "node": index, "node_id": node.to_string(), "fault": format!("{fault:?}")});
    Ok(Reply::new(human, json))
}

fn roster(cluster: &ClusterFile) -> Result<Roster, Fail> {
    let mut members = Vec::new();
    for node in &cluster.nodes {
        let wrong = |what: &dyn std::fmt::Debug| {
            Fail::invalid(format_args!("node {}: {what:?}", node.index))
        };
        members.push(Member {
            index: PartyIndex::new(node.index).map_err(|e| wrong(&e))?,
            identity: IdentityPublic::from_bytes(&node.identity).map_err(|e| wrong(&e))?,
            exchange: node.exchange,
        });
    }
    Roster::new(members).map_err(|e| Fail::invalid(format_args!("the roster is refused: {e:?}")))
}
