//! `quorate drill`: losses rehearsed with this binary on this machine, on a shadow key in a cluster of its own.
//!
//! Nothing of a real cluster is touched; the steps are those of the runbooks, and the times are what they take here.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use client::{Order, ceremony::Change};
use mpc_core::{id::Params, identity::ExchangeKey};
use rand_core::UnwrapErr;
use serde_json::{Value, json};

use crate::{
    args::{ClusterInitArgs, DrillCommand, Loss},
    fail::{Exit, Fail},
    local::{Key, LocalCluster, free_address},
    output::{Output, Reply},
    people,
    sample::{self, SampleWallet},
    verbs::request::transfer,
};

const PATIENCE: Duration = Duration::from_secs(60);
const SHADOW: &str = "shadow";
const PAYEE: [u8; 32] = [0xee; 32];
/// The shadow key lives on these nodes; one more stands by.
const HOLDERS: [u16; 3] = [1, 2, 3];
const SPARE: u16 = 4;

/// Runs the drill.
///
/// # Errors
/// The shadow cluster cannot be set up, or a step of the drill fails.
pub async fn run(command: &DrillCommand, output: Output) -> Result<Reply, Fail> {
    let DrillCommand::Run(args) = command;
    let executable = std::env::current_exe()
        .map_err(|e| Fail::failed(format_args!("cannot find this program's own file: {e}")))?;
    let dir = tempfile::Builder::new()
        .prefix("quorate-drill-")
        .tempdir()
        .map_err(|e| Fail::failed(format_args!("no temporary directory: {e}")))?;
    let init = ClusterInitArgs {
        dir: dir.path().join("cluster"),
        nodes: 4,
        threshold: 2,
        minority_threshold: true,
        listen: free_address()?,
        people: Vec::new(),
        genesis_min: 2,
        days: 7,
    };
    let mut drill = Drill {
        cluster: LocalCluster::create_as(&executable, &init, false)?,
        output,
        step: Instant::now(),
        steps: Vec::new(),
        payments: 0,
        key: None,
    };
    drill.begin().await?;
    let end = match args.loss {
        Loss::NodeLoss => drill.node_loss().await,
        Loss::TotalLoss => drill.total_loss().await,
        Loss::CoordinatorLoss => drill.coordinator_loss().await,
    };
    Ok(drill.finish(args.loss, end))
}

struct Drill {
    cluster: LocalCluster,
    output: Output,
    step: Instant,
    steps: Vec<(&'static str, Duration)>,
    payments: u8,
    key: Option<Key>,
}

impl Drill {
    /// Ends a step and says how long it took.
    fn done(&mut self, what: &'static str) {
        let took = self.step.elapsed();
        self.step = Instant::now();
        let text = format!("{:>8.2} s  {what}", took.as_secs_f64());
        self.output.say(&text);
        self.steps.push((what, took));
    }

    async fn begin(&mut self) -> Result<(), Fail> {
        self.cluster.start_coordinator()?;
        for node in HOLDERS {
            self.cluster.start_node(node)?;
        }
        self.cluster.connected(HOLDERS.len()).await?;
        let nodes = HOLDERS.map(u32::from);
        let key = self
            .cluster
            .create_key_on(&nodes, SHADOW, "ed25519", 2)
            .await?;
        let mut sample = self.cluster.made().sample.clone();
        sample.wallets.push(SampleWallet::solana(
            SHADOW,
            key.id,
            ("payee", PAYEE),
            (1_000_000_000, 1_000_000_000),
            "1s",
        ));
        self.key = Some(key);
        self.cluster.install(&sample).await?;
        self.done("a shadow cluster with a shadow key (2 of 3) is up");
        self.sign().await?;
        self.done("it signs");
        Ok(())
    }

    /// One payment of the shadow wallet, as a backend sends it: until it is released, whatever is in between.
    async fn sign(&mut self) -> Result<(), Fail> {
        let until = Instant::now().checked_add(PATIENCE);
        self.payments = self.payments.saturating_add(1);
        let key = self
            .key
            .as_ref()
            .ok_or_else(|| Fail::failed("the drill has no key"))?;
        let raw = transfer(key.solana()?, PAYEE, 1, [self.payments; 32])?;
        let initiator = people::read_key(&self.cluster.layout().initiator_key())?;
        let name = format!("drill-{}", self.payments);
        loop {
            match self.pay(&raw, &name, &initiator).await {
                Err(fail)
                    if fail.exit == Exit::Unavailable
                        && until.is_some_and(|until| Instant::now() < until) =>
                {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                end => return end,
            }
        }
    }

    async fn pay(
        &self,
        raw: &[u8],
        name: &str,
        initiator: &ed25519_dalek::SigningKey,
    ) -> Result<(), Fail> {
        let client = self.cluster.client("client").await?;
        let order = Order::new(SHADOW, raw.to_vec(), name, sample::INITIATOR);
        let prepared = client.prepare(&order, initiator).await?;
        client.submit(&prepared).await?;
        client.wait(prepared.id(), PATIENCE).await?;
        Ok(())
    }

    async fn reshare(&self, change: &Change, who: &[&str]) -> Result<(), Fail> {
        let ended = self.cluster.reshare(&[SHADOW], change, who).await?;
        if ended.is_done() {
            Ok(())
        } else {
            Err(Fail::new(
                Exit::Ended,
                format_args!("the order was not carried out: {}", ended.why()),
            ))
        }
    }

    async fn node_loss(&mut self) -> Result<(), Fail> {
        self.cluster.crash_node(3)?;
        self.cluster.lose_store(3)?;
        self.done("node 3 is killed and its disk is gone");
        self.sign().await?;
        self.done("the other two sign");
        self.cluster.start_node(SPARE)?;
        self.cluster.connected(3).await?;
        self.done("node 4 has started");
        let change = Change {
            members: BTreeSet::from([1, 2, SPARE]),
            threshold: 0,
            dealers: BTreeSet::from([1, 2]),
            fresh_pairs: true,
        };
        self.reshare(&change, &["alice", "bob"]).await?;
        self.done("two people ordered that it takes node 3's place, and it has");
        self.cluster.crash_node(1)?;
        self.sign().await?;
        self.done("it signs with node 2 while node 1 is away, too");
        Ok(())
    }

    async fn total_loss(&mut self) -> Result<(), Fail> {
        let mut rng = UnwrapErr(getrandom::SysRng);
        let recovery = ExchangeKey::generate(&mut rng);
        let params = Params::new(2, 3).map_err(Fail::failed)?;
        let parts = mpc_core::backup::split(&recovery, params, &mut rng);
        let mut backups = Vec::new();
        for node in HOLDERS {
            backups.push((node, self.cluster.back_up(node, recovery.public())?));
        }
        drop(recovery);
        self.done("every node is backed up for a recovery key in three parts");
        for node in HOLDERS {
            self.cluster.crash_node(node)?;
            self.cluster.lose_store(node)?;
        }
        self.done("all nodes are killed and their disks are gone");
        let kept = parts.get(1..).unwrap_or_default();
        let recovery = mpc_core::backup::join(kept).map_err(Fail::failed)?;
        for (node, files) in &backups {
            self.cluster.restore(*node, files, &recovery)?;
        }
        self.done("all stores are restored with two of the three parts");
        for node in HOLDERS {
            self.cluster.start_node(node)?;
        }
        self.cluster.connected(HOLDERS.len()).await?;
        self.done("the nodes are up");
        self.reshare(&Change::default(), &["alice"]).await?;
        self.done("a person ordered a refresh, so that the backups are worth nothing");
        self.sign().await?;
        self.done("the first signature after the loss");
        Ok(())
    }

    async fn coordinator_loss(&mut self) -> Result<(), Fail> {
        self.cluster.crash_coordinator()?;
        self.cluster.lose_coordinator_store()?;
        self.done("the coordinator is killed and its database is gone");
        self.cluster.start_coordinator()?;
        self.cluster.connected(HOLDERS.len()).await?;
        self.done("a new one is up with the old configuration, and the nodes have come back");
        self.install_again().await?;
        self.done("the policy is installed again from the signed documents that operators keep");
        self.sign().await?;
        self.done("the first signature after the loss");
        Ok(())
    }

    /// Hands the document in again; the statements are made anew here, where operators send those they kept.
    async fn install_again(&self) -> Result<(), Fail> {
        let client = self.cluster.client("operator").await?;
        if client.policy(0).await.is_ok_and(|policy| policy.active) {
            return Ok(());
        }
        let mut sample = self.cluster.made().sample.clone();
        let key = self
            .key
            .as_ref()
            .ok_or_else(|| Fail::failed("the drill has no key"))?;
        sample.wallets.push(SampleWallet::solana(
            SHADOW,
            key.id,
            ("payee", PAYEE),
            (1_000_000_000, 1_000_000_000),
            "1s",
        ));
        self.cluster.install(&sample).await.map(|_| ())
    }

    fn finish(self, loss: Loss, end: Result<(), Fail>) -> Reply {
        let word = match loss {
            Loss::NodeLoss => "node-loss",
            Loss::TotalLoss => "total-loss",
            Loss::CoordinatorLoss => "coordinator-loss",
        };
        // From the loss on: without the set-up and the first signature.
        let recovery: Duration = self.steps.iter().skip(2).map(|(_, took)| *took).sum();
        let steps: Vec<Value> = self
            .steps
            .iter()
            .map(|(what, took)| json!({"step": what, "ms": took.as_secs_f64() * 1000.0}))
            .collect();
        let failure = end.as_ref().err().map(|fail| fail.message.clone());
        let json = json!({
            "drill": word, "ok": failure.is_none(), "steps": steps, "failure": failure,
            "recovery_ms": recovery.as_secs_f64() * 1000.0,
        });
        match failure {
            None => Reply::new(
                format!(
                    "{word}: from the loss to the end {:.2} s",
                    recovery.as_secs_f64()
                ),
                json,
            ),
            Some(why) => Reply::new(format!("{word}: FAILED: {why}"), json).exit(Exit::CheckFailed),
        }
    }
}
