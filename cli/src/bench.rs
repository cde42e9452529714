//! `quorate bench`: how many transactions a cluster signs, how long each takes, and where the time goes.

mod refresh;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use client::{Client, Error, Order};
use ed25519_dalek::SigningKey;
use policy::chain::{Address as ChainAddress, Chain};
use serde_json::json;

use crate::{
    args::BenchArgs,
    fail::{Exit, Fail},
    local::LocalCluster,
    output::Reply,
    people,
    sample::{self, SampleWallet},
    transactions::{TRANSFER_GAS, ethereum},
    verbs::{Context, request::transfer},
};

/// How long one request may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where the transfers of a local cluster go.
const SINK: [u8; 32] = [0xbe; 32];

/// Lifts the coordinator's limits per client out of the way of the measurement.
const OPEN: &str =
    "[limits]\nrequests_per_second = 100000\nburst = 100000\nlive_requests = 1000000\n";

/// What every worker sends.
#[derive(Debug)]
struct Load {
    client: Client,
    wallet: String,
    initiator: String,
    key: SigningKey,
    what: What,
    run: [u8; 16],
    next: AtomicU64,
    count: u64,
    until: Instant,
}

/// What every request moves one base unit of.
#[derive(Clone, Copy, Debug)]
enum What {
    Ethereum { chain_id: u64, to: [u8; 20] },
    Solana { from: [u8; 32], to: [u8; 32] },
}

/// What one worker saw.
#[derive(Debug, Default)]
struct Seen {
    latencies: Vec<Duration>,
    parts_us: BTreeMap<String, (u64, u64)>,
    errors: BTreeMap<String, u64>,
}

/// Runs the verb.
///
/// # Errors
/// There is no cluster to measure, or every request failed.
pub async fn run(context: &Context, args: &BenchArgs) -> Result<Reply, Fail> {
    if !args.local {
        let client = context.connect("client").await?;
        let load = remote(client, args).await?;
        return measure(context, args, load).await;
    }
    let dir = tempfile::Builder::new()
        .prefix("quorate-bench-")
        .tempdir()
        .map_err(|e| Fail::failed(format_args!("no temporary directory: {e}")))?;
    let executable = std::env::current_exe()
        .map_err(|e| Fail::failed(format_args!("cannot find this program's own file: {e}")))?;
    let progress = context.output.spinner("starting a cluster");
    let mut cluster = LocalCluster::create(&executable, &dir.path().join("cluster"), false)?;
    cluster.configure_coordinator(OPEN)?;
    if args.refresh {
        drop(progress);
        let end = refresh::measure(context, &mut cluster, args).await;
        cluster.check()?;
        return end;
    }
    let load = local(&mut cluster, args).await?;
    drop(progress);
    let end = measure(context, args, load).await;
    cluster.check()?;
    drop(cluster);
    end
}

async fn local(cluster: &mut LocalCluster, args: &BenchArgs) -> Result<Load, Fail> {
    cluster.start().await?;
    let key = cluster.create_key_of("bench", &args.scheme).await?;
    let mut sample = cluster.made().sample.clone();
    let limits = (u64::MAX, u64::MAX / 2);
    let mut wallet = SampleWallet::solana("bench", key.id, ("sink", SINK), limits, "1s");
    let mut to = bs58::encode(SINK).into_string();
    if args.scheme == "ecdsa" {
        to = ChainAddress::Ethereum([0xbe; 20]).to_string();
        wallet.chain = "ethereum:31337".to_owned();
        wallet.max_fee = u64::MAX;
        wallet.addresses = vec![("sink".to_owned(), to.clone())];
    }
    sample.wallets.push(wallet);
    cluster.install(&sample).await?;
    let client = cluster.client("client").await?;
    let initiator = people::read_key(&cluster.layout().initiator_key())?;
    Load::new(client, "bench", sample::INITIATOR, initiator, &to, args).await
}

async fn remote(client: Client, args: &BenchArgs) -> Result<Load, Fail> {
    let missing = |what: &str| Fail::new(Exit::Usage, format_args!("{what} is missing"));
    let wallet = args.wallet.as_deref().ok_or_else(|| missing("--wallet"))?;
    let initiator = args
        .initiator
        .as_deref()
        .ok_or_else(|| missing("--initiator"))?;
    let key = args
        .initiator_key
        .as_deref()
        .ok_or_else(|| missing("--initiator-key"))?;
    let to = args.to.as_deref().ok_or_else(|| missing("--to"))?;
    let key = people::read_key(key)?;
    Load::new(client, wallet, initiator, key, to, args).await
}

impl Load {
    async fn new(
        client: Client,
        wallet: &str,
        initiator: &str,
        key: SigningKey,
        to: &str,
        args: &BenchArgs,
    ) -> Result<Self, Fail> {
        let own = client.wallet(wallet).await?;
        let chain = Chain::parse(&own.chain).map_err(Fail::invalid)?;
        let to = ChainAddress::parse(to).map_err(|e| Fail::invalid(format_args!("{to}: {e}")))?;
        let what = match (chain, to, own.ed25519()) {
            (Chain::Ethereum(chain_id), ChainAddress::Ethereum(to), _) => {
                What::Ethereum { chain_id, to }
            }
            (_, ChainAddress::Solana(to), Some(from)) => What::Solana { from, to },
            _ => {
                return Err(Fail::invalid(format_args!(
                    "wallet {wallet} on {chain} and {to} do not go together; solana and ethereum wallets are measured"
                )));
            }
        };
        let mut run = [0_u8; 16];
        getrandom::fill(&mut run)
            .map_err(|e| Fail::failed(format_args!("no randomness from this machine: {e}")))?;
        let until = Instant::now()
            .checked_add(Duration::from_secs(args.seconds))
            .ok_or_else(|| Fail::new(Exit::Usage, "--seconds is out of range"))?;
        Ok(Self {
            client,
            wallet: wallet.to_owned(),
            initiator: initiator.to_owned(),
            key,
            what,
            run,
            next: AtomicU64::new(0),
            count: u64::from(args.requests),
            until,
        })
    }

    /// Sends one request after another until there are no more, or no more time.
    async fn work(&self, mut done: impl FnMut()) -> Seen {
        let mut seen = Seen::default();
        while Instant::now() < self.until {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.count {
                break;
            }
            let started = Instant::now();
            match self.one(number).await {
                Ok(parts) => {
                    seen.latencies.push(started.elapsed());
                    for (part, us) in parts {
                        let (sum, count) = seen.parts_us.entry(part).or_default();
                        *sum = sum.saturating_add(us);
                        *count = count.saturating_add(1);
                    }
                }
                Err(fail) => {
                    let count = seen.errors.entry(fail.message).or_default();
                    *count = count.saturating_add(1);
                }
            }
            done();
        }
        seen
    }

    async fn one(&self, number: u64) -> Result<BTreeMap<String, u64>, Fail> {
        let mut blockhash = [0_u8; 32];
        for (place, byte) in blockhash
            .iter_mut()
            .zip(self.run.iter().chain(&number.to_be_bytes()))
        {
            *place = *byte;
        }
        let raw = match self.what {
            What::Ethereum { chain_id, to } => {
                // The first bytes of the run keep two runs on one cluster apart.
                let start = u64::from_be_bytes(self.run.first_chunk().copied().unwrap_or_default());
                let nonce = (start >> 1).saturating_add(number);
                ethereum(chain_id, nonce, TRANSFER_GAS, to, 1, Vec::new())
            }
            What::Solana { from, to } => transfer(from, to, 1, blockhash)?,
        };
        let name = format!("bench-{}-{number}", hex::encode(self.run));
        let order = Order::new(&self.wallet, raw, name, &self.initiator);
        let prepared = self.client.prepare(&order, &self.key).await?;
        let started = Instant::now();
        let status = self.client.submit(&prepared).await?;
        let end = match status.obstacle() {
            None => self.client.accept(status).await?,
            Some(Error::Retry(_)) => self.client.wait(prepared.id(), PATIENCE).await?,
            Some(other) => return Err(other.into()),
        };
        let mut parts = end.status().timings_us.clone();
        let whole = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let served = parts.get("total").copied().unwrap_or_default();
        parts.insert(
            "transport and queues".to_owned(),
            whole.saturating_sub(served),
        );
        Ok(parts)
    }
}

async fn measure(context: &Context, args: &BenchArgs, load: Load) -> Result<Reply, Fail> {
    let bar = Arc::new(context.output.bar(u64::from(args.requests), "signing"));
    let load = Arc::new(load);
    let started = Instant::now();
    let workers: Vec<_> = (0..args.concurrency)
        .map(|_| {
            let (load, bar) = (load.clone(), bar.clone());
            tokio::spawn(async move { load.work(|| bar.step()).await })
        })
        .collect();
    let mut all = Seen::default();
    for worker in workers {
        let seen = worker
            .await
            .map_err(|e| Fail::failed(format_args!("a worker stopped: {e}")))?;
        all.latencies.extend(seen.latencies);
        for (part, (sum, count)) in seen.parts_us {
            let total = all.parts_us.entry(part).or_default();
            *total = (total.0.saturating_add(sum), total.1.saturating_add(count));
        }
        for (error, count) in seen.errors {
            let total = all.errors.entry(error).or_default();
            *total = total.saturating_add(count);
        }
    }
    drop(bar);
    Ok(told(args, all, started.elapsed()))
}

fn told(args: &BenchArgs, mut all: Seen, elapsed: Duration) -> Reply {
    all.latencies.sort_unstable();
    let signed = all.latencies.len();
    let failed: u64 = all.errors.values().sum();
    let per_second = rate(signed, elapsed);
    let at = |percent: usize| milliseconds(percentile(&all.latencies, percent));
    let (p50, p90, p99, max) = (at(50), at(90), at(99), at(100));
    let mut human = format!(
        "signed       {signed} of {} requests, {} in flight, in {:.2} s\nthroughput   {per_second:.1} signatures/s\n\
         latency      p50 {p50:.1} ms, p90 {p90:.1} ms, p99 {p99:.1} ms, max {max:.1} ms\n",
        args.requests,
        args.concurrency,
        elapsed.as_secs_f64(),
    );
    if !all.parts_us.is_empty() {
        human.push_str("where the time goes, mean per request that had this part:\n");
    }
    let mut parts = serde_json::Map::new();
    for (part, (sum, count)) in &all.parts_us {
        let mean = milliseconds(Duration::from_micros(
            sum.checked_div(*count).unwrap_or_default(),
        ));
        human.push_str(&format!("  {part:<22} {mean:>9.2} ms\n"));
        parts.insert(part.clone(), json!(mean));
    }
    for (error, count) in &all.errors {
        human.push_str(&format!("failed {count} times: {error}\n"));
    }
    let json = json!({
        "scheme": args.scheme, "requests": args.requests, "concurrency": args.concurrency,
        "signed": signed, "failed": failed, "seconds": elapsed.as_secs_f64(), "per_second": per_second,
        "latency_ms": {"p50": p50, "p90": p90, "p99": p99, "max": max},
        "mean_ms": parts, "errors": all.errors,
    });
    let exit = if signed == 0 || failed > 0 {
        Exit::CheckFailed
    } else {
        Exit::Done
    };
    Reply::new(human, json).exit(exit)
}

/// The smallest latency that this many percent of the requests did not exceed (nearest rank).
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = sorted.len().saturating_mul(percent).div_ceil(100);
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a count of requests is far below 2^52"
)]
fn rate(count: usize, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_rank() {
        let ms: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(percentile(&ms, 50), Duration::from_millis(50));
        assert_eq!(percentile(&ms, 99), Duration::from_millis(99));
        assert_eq!(percentile(&ms, 100), Duration::from_millis(100));
        assert_eq!(percentile(&ms[..1], 50), Duration::from_millis(1));
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }
}
