//! `quorate node`, besides running it.

use std::collections::BTreeSet;

use client::{
    Client,
    ceremony::{self, Change},
};
use mpc_core::{id::NodeId, identity::IdentityPublic, keys::PublicKeyPackage};
use policy::{
    cluster::{ClusterFile, is_majority},
    governance::Matter,
};
use proto::{
    channel::pki::{Authority, Validity},
    v1::{KeyHolder, KeyInfo, NodeInfo},
};
use serde_json::{Value, json};

use super::{Context, cert::files::Place, order, services};
use crate::{
    args::{NodeCommand, NodeDrainArgs, NodeEnrollArgs, NodeReplaceArgs},
    fail::{Exit, Fail},
    init,
    output::Reply,
    verbs,
};

/// Certificates that expire within this many days are warned of.
pub const WARN_DAYS: i64 = 14;

/// Runs the verb.
///
/// # Errors
/// The service stops, or the coordinator is not there or refuses.
pub async fn run(context: &Context, command: NodeCommand) -> Result<Reply, Fail> {
    match command {
        NodeCommand::Run(args) => services::node(&args).await,
        NodeCommand::Status(args) => {
            let info = context.connect("operator").await?.cluster_info().await?;
            let asked = |node: &&NodeInfo| args.index.is_none_or(|index| index == node.index);
            let nodes: Vec<&NodeInfo> = info.nodes.iter().filter(asked).collect();
            if nodes.is_empty() {
                return Err(Fail::invalid("there is no such node")
                    .hint("numbers are those of the cluster file"));
            }
            let human: String = nodes.iter().map(|node| line(node)).collect();
            let nodes: Vec<Value> = nodes.into_iter().map(object).collect();
            Ok(Reply::new(human, json!({"nodes": nodes})))
        }
        NodeCommand::Drain(args) => drain(context, &args).await,
        NodeCommand::Resume(args) => {
            let client = context.connect("operator").await?;
            let node = client.drain_node(args.index, false).await?;
            Ok(Reply::new(line(&node), object(&node)))
        }
        NodeCommand::Enroll(args) => enroll(context, &args),
        NodeCommand::Replace(args) => replace(context, &args).await,
    }
}

async fn drain(context: &Context, args: &NodeDrainArgs) -> Result<Reply, Fail> {
    let client = context.connect("operator").await?;
    let index = args.node.index;
    let stuck = stuck_without(&client, index).await?;
    let mut human: String = stuck
        .iter()
        .map(|key| format!("key {key} has too few other nodes that are up: it signs nothing until this one is resumed\n"))
        .collect();
    if args.dry_run {
        human.push_str("nothing was changed");
        let json = json!({"dry_run": true, "index": index, "stuck_keys": stuck});
        return Ok(Reply::new(human, json));
    }
    let node = client.drain_node(index, true).await?;
    human.push_str(&line(&node));
    let mut json = object(&node);
    if let Value::Object(fields) = &mut json {
        fields.insert("stuck_keys".to_owned(), stuck.into());
    }
    Ok(Reply::new(human, json))
}

/// The keys that cannot sign while a node is not chosen, by name.
async fn stuck_without(client: &Client, index: u32) -> Result<Vec<String>, Fail> {
    let info = client.cluster_info().await?;
    if !info.nodes.iter().any(|node| node.index == index) {
        return Err(Fail::invalid(format_args!("there is no node {index}"))
            .hint("`quorate node status` lists the nodes"));
    }
    let ready: BTreeSet<u32> = info
        .nodes
        .iter()
        .filter(|node| node.connected && !node.drained && node.index != index)
        .map(|node| node.index)
        .collect();
    let mut keys = client.keys().await?;
    keys.retain(|key| {
        let members = key.holders.iter().filter(|holder| holder.member);
        // Of a key that has just been made a node may not have told yet.
        let signs = |holder: &&KeyHolder| {
            let told = holder.state.as_ref();
            let holds = |state: &str| matches!(state, "active" | "pending");
            ready.contains(&holder.node) && told.is_none_or(|told| holds(&told.state))
        };
        let left = members.clone().filter(signs).count();
        key.state == "active"
            && members.into_iter().any(|holder| holder.node == index)
            && u32::try_from(left).is_ok_and(|left| left < key.threshold)
    });
    Ok(keys.into_iter().map(|key| key.name).collect())
}

/// One node for people.
#[must_use]
pub fn line(node: &NodeInfo) -> String {
    let mut words = vec![if node.connected { "connected" } else { "away" }];
    let status = node.status.clone().unwrap_or_default();
    if node.drained {
        words.push("drained");
    }
    if !status.catching_up.is_empty() {
        words.push("catching up");
    }
    let mut text = format!(
        "node {:<4} {:<12} rtt {} us, clock {:+} ms, {} keys\n",
        node.index,
        words.join(", "),
        node.rtt_us,
        node.clock_offset_ms,
        status.keys.len(),
    );
    for warning in warnings(node) {
        text.push_str(&format!("  WARNING {warning}\n"));
    }
    text
}

/// What an operator must look after at a node.
#[must_use]
pub fn warnings(node: &NodeInfo) -> Vec<String> {
    let Some(status) = &node.status else {
        return Vec::new();
    };
    let mut warnings = Vec::new();
    if node.connected && status.certificate_days != 0 && status.certificate_days < WARN_DAYS {
        warnings.push(format!(
            "its certificate expires in {} days: quorate cert rotate node-{}",
            status.certificate_days, node.index
        ));
    }
    if status.free_bytes_least > 0 && status.free_bytes < status.free_bytes_least {
        warnings.push(format!(
            "its disk has {} bytes left and it takes no new work below {}",
            status.free_bytes, status.free_bytes_least
        ));
    }
    warnings
}

/// One node for a program.
#[must_use]
pub fn object(node: &NodeInfo) -> Value {
    let status = node.status.clone().unwrap_or_default();
    let keys: Vec<Value> = status
        .keys
        .iter()
        .map(|key| {
            json!({
                "name": key.name, "state": key.state, "epoch": key.sharing.as_ref().map(|s| s.epoch),
                "attempt": key.sharing.as_ref().map(|s| s.attempt), "index": key.index,
            })
        })
        .collect();
    json!({
        "index": node.index, "node_id": hex::encode(&node.node_id), "connected": node.connected,
        "drained": node.drained, "catching_up": !status.catching_up.is_empty(), "rtt_us": node.rtt_us,
        "clock_offset_ms": node.clock_offset_ms, "certificate_days": status.certificate_days,
        "free_bytes": status.free_bytes, "keys": keys, "warnings": warnings(node),
    })
}

/// Writes the directory of one more node and adds it to the cluster file.
fn enroll(context: &Context, args: &NodeEnrollArgs) -> Result<Reply, Fail> {
    let place = Place::open(context, &args.place)?;
    let mut cluster: ClusterFile = place.cluster.clone();
    let count = cluster.nodes.len().saturating_add(1);
    let index = u16::try_from(count).unwrap_or(u16::MAX);
    if !cluster.minority_threshold && !is_majority(cluster.threshold, count) {
        if !args.minority_threshold {
            return Err(Fail::new(
                Exit::Usage,
                format_args!(
                    "{} of {count} nodes is not a majority; every key has its own committee and threshold, but the cluster's least threshold would allow keys of a minority",
                    cluster.threshold
                ),
            )
            .hint("say --minority-threshold if that is meant"));
        }
        cluster.minority_threshold = true;
    }
    let authority: Authority = place.authority()?;
    let validity = Validity::days(verbs::now_ms()? / 1000, u32::from(args.days));
    let layout = place.layout();
    let entry = init::node(layout, &cluster.cluster_id, &authority, index, validity)?;
    cluster.nodes.push(entry);
    place.write_cluster(&cluster)?;
    let human = format!(
        "node {index} is in {} and in {}\nCopy the cluster file to every host and restart coordinator and nodes, one after the other; then start\n  \
         quorate node run --config {}",
        layout.node(index).display(),
        place.cluster_path().display(),
        layout.node_config(index).display()
    );
    Ok(Reply::new(
        human,
        json!({"index": index, "dir": layout.node(index), "cluster": place.cluster_path()}),
    ))
}

/// Which nodes of the cluster file hold a key.
///
/// # Errors
/// The key is not active, or somebody else holds a share of it.
pub fn committee(cluster: &ClusterFile, key: &KeyInfo) -> Result<BTreeSet<u16>, Fail> {
    let package = PublicKeyPackage::decode(&key.public_package)
        .map_err(|_| Fail::invalid(format_args!("key {} is {}", key.name, key.state)))?;
    let number = |id: &NodeId| {
        let mut nodes = cluster.nodes.iter();
        let node = nodes.find(|node| {
            IdentityPublic::from_bytes(&node.identity).is_ok_and(|it| it.node_id() == *id)
        });
        node.map(|node| node.index).ok_or_else(|| {
            Fail::invalid(format_args!(
                "the cluster file has no node {id} of key {}",
                key.name
            ))
            .hint("a node stays in the cluster file until no key has a share there")
        })
    };
    package.nodes().values().map(number).collect()
}

async fn replace(context: &Context, args: &NodeReplaceArgs) -> Result<Reply, Fail> {
    let client: Client = context.connect("operator").await?;
    let bytes = verbs::read(&context.common.cluster)?;
    let cluster = ClusterFile::parse(&bytes).map_err(Fail::invalid)?;
    let mut committees: Vec<(BTreeSet<u16>, Vec<KeyInfo>)> = Vec::new();
    for key in client.keys().await? {
        let named = args.keys.is_empty() || args.keys.contains(&key.name);
        if !named
            || key.public_package.is_empty()
            || matches!(key.state.as_str(), "retired" | "exported" | "conflict")
        {
            continue;
        }
        let held = committee(&cluster, &key)?;
        if !held.contains(&args.old) {
            continue;
        }
        match committees.iter_mut().find(|(nodes, _)| *nodes == held) {
            Some((_, keys)) => keys.push(key),
            None => committees.push((held, vec![key])),
        }
    }
    let (held, keys) = match committees.as_slice() {
        [] => {
            return Err(
                Fail::invalid(format_args!("node {} holds no key", args.old))
                    .hint("nothing has to be replaced"),
            );
        }
        [one] => one,
        _ => {
            return Err(
                Fail::new(Exit::Usage, "its keys are held by different committees")
                    .hint("one order is about one committee: name the keys with --key"),
            );
        }
    };
    if held.contains(&args.new) {
        return Err(Fail::new(
            Exit::Usage,
            format_args!("node {} holds a share already", args.new),
        ));
    }
    let here: BTreeSet<u16> = client
        .cluster_info()
        .await?
        .nodes
        .iter()
        .filter(|node| node.connected)
        .filter_map(|node| u16::try_from(node.index).ok())
        .collect();
    // Whoever goes does not deal: it is lost, or it is not trusted.
    let dealers: BTreeSet<u16> = held
        .iter()
        .copied()
        .filter(|node| *node != args.old && here.contains(node))
        .collect();
    let mut members = held.clone();
    members.remove(&args.old);
    members.insert(args.new);
    let change = Change {
        members,
        threshold: 0,
        dealers,
        fresh_pairs: true,
    };
    let plan = ceremony::draft(&cluster, keys, &change)?;
    order::place(context, &client, &Matter::Reshare(plan), &args.order).await
}
