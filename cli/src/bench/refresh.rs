//! How fast the shares of many keys are replaced at one set of nodes: pair setups once, then key after key in orders of many.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use client::Client;
use client::ceremony::{self, Change};
use policy::governance::Matter;
use policy::statement::reshare::MAX_KEYS;
use proto::v1::KeyInfo;
use serde_json::json;

use super::rate;
use crate::args::BenchArgs;
use crate::fail::{Exit, Fail};
use crate::local::LocalCluster;
use crate::output::Reply;
use crate::verbs::Context;
use crate::{people, sample};

/// Key generations at a time; a node takes part in so many by default.
const MADE_AT_ONCE: usize = 4;

/// What a process has used.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    /// The most memory it ever had, bytes.
    memory: u64,
    /// Bytes that it had written to the disk.
    written: u64,
}

/// What node 1 and the coordinator used.
struct Cost {
    node: Used,
    written: u64,
    stored: u64,
    coordinator: Used,
}

/// The number behind a word of one of the kernel's files about a process; 0 if it is not there.
fn number(process: u32, file: &str, word: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/{file}")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(word));
    let digits = line.and_then(|line| line.split_whitespace().next());
    digits
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_default()
}

fn used(process: Option<u32>) -> Used {
    process.map_or_else(Used::default, |process| Used {
        memory: number(process, "status", "VmHWM:").saturating_mul(1024),
        written: number(process, "io", "write_bytes:"),
    })
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// Makes the keys and replaces all their shares, twice: with the pairs' setups made new, and with the setups kept.
///
/// # Errors
/// The cluster does not come up, or a key is not made or not refreshed.
pub(super) async fn measure(
    context: &Context,
    cluster: &mut LocalCluster,
    args: &BenchArgs,
) -> Result<Reply, Fail> {
    cluster.start().await?;
    cluster.install(&cluster.made().sample.clone()).await?;
    let operator = cluster.client("operator").await?;
    let begun = Instant::now();
    make(context, &operator, args).await?;
    let made = begun.elapsed();
    let store = cluster.layout().node(1).join("node.db");
    let (before, size_before) = (used(cluster.node_process(1)), size(&store));
    let mut rounds = Vec::new();
    for fresh_pairs in [true, false] {
        let bar = context.output.bar(u64::from(args.keys), "replacing shares");
        let begun = Instant::now();
        let mut keys = operator.keys().await?;
        keys.sort_by(|left, right| left.name.cmp(&right.name));
        for (at, batch) in keys.chunks(MAX_KEYS).enumerate() {
            let change = Change {
                fresh_pairs: fresh_pairs && at == 0,
                ..Change::default()
            };
            order(cluster, &operator, batch, &change).await?;
            batch.iter().for_each(|_| bar.step());
        }
        rounds.push(begun.elapsed());
    }
    let (after, size_after) = (used(cluster.node_process(1)), size(&store));
    let cost = Cost {
        node: after,
        written: after.written.saturating_sub(before.written),
        stored: size_after.saturating_sub(size_before),
        coordinator: used(cluster.coordinator_process()),
    };
    Ok(told(args, made, &rounds, &cost))
}

/// Makes the keys, a few at a time.
async fn make(context: &Context, operator: &Client, args: &BenchArgs) -> Result<(), Fail> {
    let threshold = operator.cluster_info().await?.threshold;
    let bar = Arc::new(context.output.bar(u64::from(args.keys), "making keys"));
    let next = Arc::new(AtomicU32::new(0));
    let workers: Vec<_> = (0..MADE_AT_ONCE)
        .map(|_| {
            let (operator, bar, next) = (operator.clone(), Arc::clone(&bar), Arc::clone(&next));
            let (scheme, count) = (args.scheme.clone(), args.keys);
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return Ok::<(), Fail>(());
                    }
                    let name = format!("bench-{number:04}");
                    operator
                        .create_key(&name, &scheme, threshold, |_| ())
                        .await?;
                    bar.step();
                }
            })
        })
        .collect();
    for worker in workers {
        worker
            .await
            .map_err(|error| Fail::failed(format_args!("a worker stopped: {error}")))??;
    }
    Ok(())
}

/// One order about some keys, carried to its end.
async fn order(
    cluster: &LocalCluster,
    operator: &Client,
    keys: &[KeyInfo],
    change: &Change,
) -> Result<(), Fail> {
    let matter = Matter::Reshare(ceremony::draft(&cluster.read()?, keys, change)?);
    let people = &cluster.made().sample.people;
    let person = people
        .first()
        .ok_or_else(|| Fail::failed("the sample policy has nobody"))?;
    let common = people::common(cluster.id(), &person.id, sample::CREDENTIAL)?;
    let statement = cluster.sign(&person.id, &matter.clone().statement(common))?;
    let mut status = operator.submit_order(&[statement], false).await?;
    if status.state == "running" {
        status = operator.watch_order(matter.request(), |_| ()).await?;
    }
    if status.state == "done" {
        return Ok(());
    }
    let why = status
        .failure
        .map_or(status.state, |failure| failure.message);
    Err(Fail::new(Exit::Ended, why))
}

fn told(args: &BenchArgs, made: Duration, rounds: &[Duration], cost: &Cost) -> Reply {
    let count = usize::try_from(args.keys).unwrap_or(usize::MAX);
    let speed = |elapsed: &Duration| rate(count, *elapsed);
    let refreshed = u64::from(args.keys).saturating_mul(2).max(1);
    let per_key = |bytes: u64| bytes.checked_div(refreshed).unwrap_or_default();
    let fresh = rounds.first().map_or(0.0, speed);
    let kept = rounds.last().map_or(0.0, speed);
    let human = format!(
        "keys         {} of {}, made at {:.1} keys/s\n\
         refresh      {fresh:.1} keys/s with new pair setups, {kept:.1} keys/s with kept ones\n\
         memory       node {} MiB, coordinator {} MiB at the most\n\
         disk         a node writes {} bytes for each key and refresh; its store grows by {}\n",
        args.keys,
        args.scheme,
        speed(&made),
        cost.node.memory >> 20,
        cost.coordinator.memory >> 20,
        per_key(cost.written),
        per_key(cost.stored),
    );
    let json = json!({
        "scheme": args.scheme, "keys": args.keys, "made_per_second": speed(&made),
        "refreshed_per_second": {"new_pairs": fresh, "kept_pairs": kept},
        "node_memory": cost.node.memory, "coordinator_memory": cost.coordinator.memory,
        "written_per_refresh": per_key(cost.written), "stored_per_refresh": per_key(cost.stored),
    });
    Reply::new(human, json)
}
