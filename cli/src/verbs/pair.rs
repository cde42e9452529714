//! `quorate pair`: what two nodes have with each other for ECDSA, and how people bring two together that have fallen out.
//!
//! A setup is renewed by new shares of one key that both nodes hold, with fresh pairs: a reshare that people order like any other. No
//! node makes another setup with a peer that failed a check for less than that, and none for an order that is older than the failure.

use std::collections::BTreeSet;

use client::ceremony::{self, Change};
use mpc_core::keys::PublicKeyPackage;
use policy::{cluster::ClusterFile, governance::Matter, time::format_utc};
use proto::v1::{ClusterInfo, KeyInfo, PairState};
use serde_json::{Value, json};

use super::{Context, cluster::printable, node, order};
use crate::{
    args::{PairCommand, PairRenewArgs},
    fail::{Exit, Fail},
    output::Reply,
    verbs,
};

/// Runs the verb.
///
/// # Errors
/// The coordinator is not there or refuses, or the pair is not to be renewed.
pub async fn run(context: &Context, command: PairCommand) -> Result<Reply, Fail> {
    match command {
        PairCommand::List => list(context).await,
        PairCommand::Renew(args) => renew(context, &args).await,
    }
}

/// What one node says of its pair with another.
#[derive(Clone, Debug)]
struct Said {
    node: u32,
    state: PairState,
}

impl Said {
    fn works(&self) -> bool {
        matches!(self.state.status.as_str(), "active" | "prepared")
    }

    fn words(&self) -> String {
        let Self { node, state } = self;
        let failures = match state.strikes {
            0 => String::new(),
            1 => ", one failure in its life".to_owned(),
            more => format!(", {more} failures in its life"),
        };
        match state.status.as_str() {
            "poisoned" => format!(
                "node {node} works with it no more since {}: {}{failures}",
                format_utc(state.at_ms),
                printable(&state.why),
            ),
            "stopped" => format!(
                "node {node} has stopped it and cannot write down why: its disk refuses{failures}"
            ),
            "rekeying" => format!(
                "node {node} has another setup than its peer, and nobody is to blame{failures}"
            ),
            status => format!(
                "node {node} has setup {}, {}{failures}",
                state.generation,
                printable(status)
            ),
        }
    }
}

/// What both sides say, for every pair that one of them speaks of; the smaller number first.
fn all(info: &ClusterInfo) -> Vec<((u32, u32), Vec<Said>)> {
    let mut pairs: Vec<((u32, u32), Vec<Said>)> = Vec::new();
    for node in &info.nodes {
        for state in node.status.iter().flat_map(|status| &status.pairs) {
            let place = (node.index.min(state.peer), node.index.max(state.peer));
            let said = Said {
                node: node.index,
                state: state.clone(),
            };
            match pairs.iter_mut().find(|(known, _)| *known == place) {
                Some((_, sides)) => sides.push(said),
                None => pairs.push((place, vec![said])),
            }
        }
    }
    pairs.sort_by_key(|(place, _)| *place);
    pairs
}

async fn list(context: &Context) -> Result<Reply, Fail> {
    let info = context.connect("operator").await?.cluster_info().await?;
    let pairs = all(&info);
    let mut human = String::new();
    for ((one, other), sides) in &pairs {
        let word = if sides.iter().all(Said::works) {
            "works"
        } else {
            "STOPPED"
        };
        human.push_str(&format!("nodes {one} and {other}  {word}\n"));
        for said in sides {
            human.push_str(&format!("  {}\n", said.words()));
        }
    }
    if pairs.is_empty() {
        human.push_str("no two nodes have a setup: there is no ECDSA key yet");
    }
    let object = |((one, other), sides): &((u32, u32), Vec<Said>)| {
        let side = |said: &Said| {
            let state = &said.state;
            json!({
                "node": said.node, "status": state.status, "generation": state.generation, "why": state.why,
                "at_ms": state.at_ms, "strikes": state.strikes,
            })
        };
        json!({
            "nodes": [one, other], "works": sides.iter().all(Said::works),
            "sides": sides.iter().map(side).collect::<Vec<Value>>(),
        })
    };
    let pairs: Vec<Value> = pairs.iter().map(object).collect();
    Ok(Reply::new(human, json!({"pairs": pairs})))
}

/// What stands against renewing this pair; what both sides say of it if nothing does.
fn to_renew(info: &ClusterInfo, one: u16, other: u16) -> Result<Vec<Said>, Fail> {
    let place = (u32::from(one.min(other)), u32::from(one.max(other)));
    let found = all(info).into_iter().find(|(known, _)| *known == place);
    let Some((_, sides)) = found else {
        return Err(Fail::invalid(format_args!(
            "nodes {one} and {other} have no setup with each other"
        ))
        .hint(
            "a setup is made together with an ECDSA key, or when a node joins the holders of one",
        ));
    };
    if let Some(convicted) = info
        .convicted
        .iter()
        .find(|node| **node == place.0 || **node == place.1)
    {
        return Err(Fail::new(
            Exit::Security,
            format_args!("node {convicted} is convicted by evidence of breaking the protocol"),
        )
        .hint("replace it with another one: quorate node replace"));
    }
    if sides.iter().all(Said::works) {
        return Err(
            Fail::invalid(format_args!("nodes {one} and {other} work together")).hint(
                "`quorate key refresh KEY --fresh-pairs` makes new setups of pairs that work",
            ),
        );
    }
    if let Some(stopped) = sides.iter().find(|said| said.state.status == "stopped") {
        return Err(
            Fail::invalid(stopped.words()).hint("free space on that node; then see what it says")
        );
    }
    Ok(sides)
}

/// The key to replace the shares of: the named one, or that with the fewest holders, since all pairs among them are renewed.
fn choose<'a>(
    cluster: &ClusterFile,
    keys: &'a [KeyInfo],
    args: &PairRenewArgs,
) -> Result<&'a KeyInfo, Fail> {
    let mut fitting: Vec<(usize, &KeyInfo)> = Vec::new();
    for key in keys {
        let package = PublicKeyPackage::decode(&key.public_package);
        let needs_pairs = package.is_ok_and(|package| package.purpose().needs_pairs());
        if !needs_pairs || key.state == "retired" {
            continue;
        }
        let held: BTreeSet<u16> = node::committee(cluster, key)?;
        if held.contains(&args.one) && held.contains(&args.other) {
            fitting.push((held.len(), key));
        }
    }
    fitting.sort_by(|(fewer, a), (more, b)| (fewer, &a.name).cmp(&(more, &b.name)));
    let named = |(_, key): &&(usize, &KeyInfo)| args.key.as_ref().is_none_or(|n| *n == key.name);
    fitting
        .iter()
        .find(named)
        .map(|(_, key)| *key)
        .ok_or_else(|| {
            Fail::invalid(format_args!(
                "nodes {} and {} hold no such ECDSA key together",
                args.one, args.other
            ))
            .hint("`quorate key list` shows the keys, `quorate key show KEY` who holds them")
        })
}

async fn renew(context: &Context, args: &PairRenewArgs) -> Result<Reply, Fail> {
    if args.one == args.other {
        return Err(Fail::new(Exit::Usage, "a pair has two nodes"));
    }
    let client = context.connect("operator").await?;
    let sides = to_renew(&client.cluster_info().await?, args.one, args.other)?;
    let cluster = verbs::read(&context.common.cluster)?;
    let cluster = ClusterFile::parse(&cluster).map_err(Fail::invalid)?;
    let keys = client.keys().await?;
    let key = choose(&cluster, &keys, args)?;
    for said in &sides {
        context.output.must_see(&said.words());
    }
    context.output.must_see(&format!(
        "A new setup forgets what may have leaked, not who did it: one of the nodes {} and {} lied or broke, and nobody else can tell which.",
        args.one, args.other
    ));
    let change = Change {
        fresh_pairs: true,
        ..Change::default()
    };
    let plan = ceremony::draft(&cluster, std::slice::from_ref(key), &change)?;
    order::place(context, &client, &Matter::Reshare(plan), &args.order).await
}

#[cfg(test)]
mod tests {
    use proto::v1::{NodeInfo, NodeStatus};

    use super::*;

    /// A cluster in which these nodes say this of their pairs: node, peer, status.
    fn info(said: &[(u32, u32, &str)]) -> ClusterInfo {
        let node = |index: u32| NodeInfo {
            index,
            status: Some(NodeStatus {
                pairs: said
                    .iter()
                    .filter(|(node, ..)| *node == index)
                    .map(|(_, peer, status)| PairState {
                        peer: *peer,
                        status: (*status).to_owned(),
                        generation: 1,
                        why: "a check".to_owned(),
                        strikes: u32::from(*status == "poisoned"),
                        ..PairState::default()
                    })
                    .collect(),
                ..NodeStatus::default()
            }),
            ..NodeInfo::default()
        };
        ClusterInfo {
            nodes: (1..=3).map(node).collect(),
            ..ClusterInfo::default()
        }
    }

    #[test]
    fn a_pair_is_renewed_when_one_side_says_that_it_failed() {
        let mut known = info(&[
            (1, 2, "poisoned"),
            (1, 3, "active"),
            (2, 1, "active"),
            (3, 1, "active"),
        ]);
        let sides = to_renew(&known, 2, 1).map_err(|fail| fail.message);
        let words: Vec<String> = sides.unwrap().iter().map(Said::words).collect();
        assert_eq!(words.len(), 2);
        assert!(words[0].contains("no more") && words[0].contains("one failure"));
        assert!(to_renew(&known, 1, 3).is_err(), "they work together");
        assert!(to_renew(&known, 2, 3).is_err(), "they have nothing");
        known.convicted = vec![2];
        let refused = to_renew(&known, 1, 2).unwrap_err();
        assert_eq!(refused.exit, Exit::Security);
    }

    #[test]
    fn a_pair_is_not_renewed_while_the_failure_is_not_on_disk() {
        let known = info(&[(1, 2, "stopped"), (2, 1, "poisoned")]);
        let refused = to_renew(&known, 1, 2).unwrap_err();
        assert!(refused.message.contains("disk"), "{}", refused.message);
    }
}
