//! `quorate demo --lifecycle`: shares are replaced, moved, lost, stolen and brought back; keys and addresses stay.

mod shares;

use std::{
    collections::BTreeSet,
    path::PathBuf,
    time::{Duration, Instant},
};

use client::{Client, Order, ceremony::Change};
use ed25519_dalek::SigningKey;
use mpc_core::{id::Params, identity::ExchangeKey};
use rand_core::UnwrapErr;
use serde_json::json;

use self::shares::Sight;
use super::{
    report::Report,
    story::{
        EXCHANGE, WALLET,
        chains::{self, BITCOIN, ETHEREUM},
    },
};
use crate::{
    args::ClusterInitArgs,
    backup::{Problem, compare, file::BackupFile, words},
    fail::{Exit, Fail},
    local::{Key, LocalCluster, free_address},
    people,
    sample::{self, SampleWallet},
    verbs::{self, request::transfer},
};

const PATIENCE: Duration = Duration::from_secs(60);
const SOL: u64 = 1_000_000_000;
/// Names of the keys, in the order in which an order names them.
const KEYS: [&str; 3] = ["ecdsa", WALLET, "taproot"];

/// A cluster file with seven nodes, of which each key uses some.
pub(super) fn cluster(dir: PathBuf) -> Result<ClusterInitArgs, Fail> {
    Ok(ClusterInitArgs {
        dir,
        nodes: 7,
        threshold: 2,
        minority_threshold: true,
        listen: free_address()?,
        people: Vec::new(),
        genesis_min: 2,
        days: 7,
    })
}

/// What the steps share.
struct Life<'a> {
    cluster: &'a mut LocalCluster,
    report: &'a mut Report,
    client: Client,
    operator: Client,
    initiator: SigningKey,
    keys: Vec<Key>,
    payments: u8,
}

/// Runs every step.
pub(super) async fn tell(cluster: &mut LocalCluster, report: &mut Report) -> Result<(), Fail> {
    cluster.start_coordinator()?;
    for index in 1..=6 {
        cluster.start_node(index)?;
    }
    cluster.connected(6).await?;
    report.check(
        "cluster-up",
        true,
        "6 of 7 nodes are up; the keys will live on nodes 1, 2 and 3",
    );

    report.title("Three keys of nodes 1, 2 and 3, of which any two sign");
    let mut keys = Vec::new();
    for (name, scheme) in [
        ("ecdsa", "ecdsa"),
        (WALLET, "ed25519"),
        ("taproot", "bip340"),
    ] {
        keys.push(cluster.create_key_on(&[1, 2, 3], name, scheme, 2).await?);
    }
    report.check("dkg", true, "ECDSA, Ed25519 and BIP 340");
    let mut sample = cluster.made().sample.clone();
    sample.loosen_delay = "0s".to_owned();
    if let [ecdsa, hot, taproot] = keys.as_slice() {
        sample.wallets.push(SampleWallet::solana(
            WALLET,
            hot.id,
            ("exchange", EXCHANGE),
            (1000 * SOL, 100 * SOL),
            "3s",
        ));
        sample.wallets.push(chains::ethereum_wallet(ecdsa));
        sample.wallets.push(chains::bitcoin_wallet(taproot));
    }
    cluster.install(&sample).await?;
    let client = cluster.client("client").await?;
    for wallet in [WALLET, ETHEREUM, BITCOIN] {
        report.wallet(&client.wallet(wallet).await?);
    }
    let initiator = people::read_key(&cluster.layout().initiator_key())?;
    let operator = cluster.client("operator").await?;
    let mut life = Life {
        cluster,
        report,
        client,
        operator,
        initiator,
        keys,
        payments: 0,
    };
    life.works("begin", 0, 2, &[1, 2, 3]).await?;
    life.refresh().await?;
    life.reshare().await?;
    life.disk_lost().await?;
    life.total_loss().await
}

impl Life<'_> {
    /// Everybody's addresses are as they were, the sharing is the expected one, and every key signs.
    async fn works(
        &mut self,
        step: &str,
        epoch: u32,
        threshold: u32,
        nodes: &[u16],
    ) -> Result<(), Fail> {
        let infos = self.operator.keys().await?;
        let cluster = self.cluster.read()?;
        let mut rows = Vec::new();
        let mut same = true;
        for key in &self.keys {
            let info = infos
                .iter()
                .find(|info| info.key_id[..] == key.id[..])
                .ok_or_else(|| Fail::failed(format_args!("key {} is not listed", key.name)))?;
            let now = client::PublicKey::decode(&info.public_package)?;
            let committee: Vec<u16> = verbs::node::committee(&cluster, info)?
                .into_iter()
                .collect();
            same = same
                && now.bytes() == key.public.bytes()
                && now.chain_code() == key.public.chain_code()
                && now.package().epoch().0 == epoch
                && u32::from(now.package().params().threshold()) == threshold
                && committee == nodes;
            rows.push(json!({
                "name": key.name, "public_key": hex::encode(now.bytes()), "chain_code": hex::encode(now.chain_code()),
                "epoch": now.package().epoch().0, "attempt": now.package().attempt().0,
                "threshold": now.package().params().threshold(), "nodes": committee,
            }));
        }
        self.report.step(step, rows);
        self.report.check(
            format!("{step}-same-keys"),
            same,
            format!(
                "public keys and addresses as at the beginning; epoch {epoch}, {threshold} of nodes {nodes:?}"
            ),
        );
        self.sign(step).await
    }

    /// One payment per chain, which nobody has to approve.
    async fn sign(&mut self, step: &str) -> Result<(), Fail> {
        self.payments = self.payments.saturating_add(1);
        let number = self.payments;
        let [_, hot, taproot] = self.keys.as_slice() else {
            return Err(Fail::failed("three keys were made"));
        };
        let payments = [
            (
                "solana",
                WALLET,
                transfer(hot.solana()?, EXCHANGE, SOL / 100, [number; 32])?,
            ),
            ("ethereum", ETHEREUM, chains::small_ether(u64::from(number))),
            (
                "bitcoin",
                BITCOIN,
                chains::small_withdrawal(taproot, number)?,
            ),
        ];
        for (chain, wallet, raw) in payments {
            let started = Instant::now();
            let name = format!("{step}-{chain}");
            let order = Order::new(wallet, raw.clone(), &name, sample::INITIATOR);
            let prepared = self.client.prepare(&order, &self.initiator).await?;
            self.client.submit(&prepared).await?;
            let end = self.client.wait(prepared.id(), PATIENCE).await?;
            let on = self.client.wallet(wallet).await?.chain;
            self.report.released(&name, &on, &raw, &end, started);
            self.report.check(
                name,
                true,
                format!(
                    "signed by nodes {:?}, verified here under the same key",
                    end.status().signers
                ),
            );
        }
        Ok(())
    }

    /// Has people order a change of the shares of all three keys, and follows it to its end.
    async fn order(&mut self, step: &str, change: &Change, who: &[&str]) -> Result<(), Fail> {
        let started = Instant::now();
        let ended = self.cluster.reshare(&KEYS, change, who).await?;
        for line in &ended.lines {
            self.report.say(&format!("| {line}"));
        }
        self.report.check(
            format!("{step}-ordered"),
            ended.is_done(),
            format!(
                "{} of {} keys in {:.2} s, ordered by {}: {}",
                ended.status.finished,
                ended.status.total,
                started.elapsed().as_secs_f64(),
                who.join(" and "),
                ended.why()
            ),
        );
        if ended.is_done() {
            Ok(())
        } else {
            Err(Fail::new(
                Exit::Ended,
                format_args!("the order of {step} was not carried out: {}", ended.why()),
            ))
        }
    }

    async fn refresh(&mut self) -> Result<(), Fail> {
        self.report
            .title("Refresh: new shares at the same nodes; one person may order that");
        let stolen = Sight::of(self.cluster, 1)?;
        let other = Sight::of(self.cluster, 2)?;
        self.report.check(
            "control-two-shares-are-the-key",
            stolen.with(&[&other], &self.keys)? == self.keys.len(),
            "a thief who copies the stores of nodes 1 and 2 in one epoch has every key",
        );
        let change = Change {
            fresh_pairs: true,
            ..Change::default()
        };
        self.order("refresh", &change, &["alice"]).await?;
        self.works("refresh", 1, 2, &[1, 2, 3]).await?;
        let other = Sight::of(self.cluster, 2)?;
        self.report.check(
            "old-share-useless",
            stolen.with(&[&other], &self.keys)? == 0,
            "the copy of node 1 from before and one of node 2 from after are no key at all",
        );
        Ok(())
    }

    async fn reshare(&mut self) -> Result<(), Fail> {
        self.report
            .title("Reshare from 2 of 3 to 3 of 5, while node 1 is gone for good");
        let removed = Sight::of(self.cluster, 1)?;
        self.cluster.crash_node(1)?;
        let change = Change {
            members: BTreeSet::from([2, 3, 4, 5, 6]),
            threshold: 3,
            dealers: BTreeSet::from([2, 3]),
            fresh_pairs: true,
        };
        self.order("reshare", &change, &["alice", "bob"]).await?;
        self.works("reshare", 2, 3, &[2, 3, 4, 5, 6]).await?;
        let others = [Sight::of(self.cluster, 2)?, Sight::of(self.cluster, 3)?];
        let control = Sight::of(self.cluster, 4)?;
        let [two, three] = &others;
        self.report.check(
            "removed-share-useless",
            removed.with(&[two, three], &self.keys)? == 0
                && control.with(&[two, three], &self.keys)? == self.keys.len(),
            "node 1's share with those of nodes 2 and 3 is no key; node 4's with them is (control)",
        );
        self.cluster.start_node(1)?;
        self.cluster.connected(6).await?;
        let erased = self.erased(1).await?;
        self.report.check(
            "removed-share-erased",
            erased,
            "node 1 came back, was shown the certificate and erased its shares",
        );
        Ok(())
    }

    /// Whether a node has no share left, soon.
    async fn erased(&self, node: u16) -> Result<bool, Fail> {
        let until = Instant::now()
            .checked_add(PATIENCE)
            .ok_or_else(|| Fail::failed("the clock of this machine is out of range"))?;
        while Instant::now() < until {
            if Sight::of(self.cluster, node)?.is_empty() {
                return Ok(true);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(false)
    }

    async fn disk_lost(&mut self) -> Result<(), Fail> {
        self.report
            .title("Node 4's disk is lost; node 7, a new machine, takes its place");
        self.cluster.crash_node(4)?;
        self.cluster.lose_store(4)?;
        self.cluster.start_node(7)?;
        self.cluster.connected(6).await?;
        self.sign("without-node-4").await?;
        let change = Change {
            members: BTreeSet::from([2, 3, 5, 6, 7]),
            threshold: 0,
            dealers: BTreeSet::from([2, 3, 5, 6]),
            fresh_pairs: true,
        };
        self.order("replace", &change, &["alice", "bob"]).await?;
        self.works("replace", 3, 3, &[2, 3, 5, 6, 7]).await
    }

    async fn total_loss(&mut self) -> Result<(), Fail> {
        const NODES: [u16; 5] = [2, 3, 5, 6, 7];
        self.report.title("Backups, then every node is lost");
        let mut rng = UnwrapErr(getrandom::SysRng);
        let recovery = ExchangeKey::generate(&mut rng);
        let params = Params::new(2, 3).map_err(Fail::failed)?;
        let parts = mpc_core::backup::split(&recovery, params, &mut rng);
        let cluster = self.cluster.read()?;
        let mut files = Vec::new();
        for node in NODES {
            let made = self.cluster.back_up(node, recovery.public())?;
            files.extend(made.into_iter().map(|file| (node, file)));
        }
        let infos = self.operator.keys().await?;
        let mut good = 0_usize;
        for (_, text) in &files {
            let file = BackupFile::parse(text.as_bytes())?;
            let verified = file.verify(&cluster)?;
            for info in &infos {
                let known = client::PublicKey::decode(&info.public_package)?;
                if compare(verified.package(), known.package()).is_ok() {
                    good = good.saturating_add(1);
                }
            }
        }
        let due = NODES.len().saturating_mul(self.keys.len());
        self.report.check(
            "backups-verified",
            good == due && files.len() == due,
            format!(
                "{} backups, each checked without opening it against the public key",
                files.len()
            ),
        );
        drop(recovery);

        for node in NODES {
            self.cluster.crash_node(node)?;
            self.cluster.lose_store(node)?;
        }
        self.cluster.connected(1).await?;
        // The printed words of two of the three parts, typed again.
        let typed = parts
            .iter()
            .skip(1)
            .map(|part| words::read(&words::print(part).join(" ")))
            .collect::<Result<Vec<_>, _>>()
            .map_err(Fail::failed)?;
        let recovery = mpc_core::backup::join(&typed).map_err(Fail::failed)?;
        let started = Instant::now();
        for node in NODES {
            let mine: Vec<String> = files
                .iter()
                .filter(|(of, _)| *of == node)
                .map(|(_, text)| text.clone())
                .collect();
            self.cluster.restore(node, &mine, &recovery)?;
            self.cluster.start_node(node)?;
        }
        self.cluster.connected(6).await?;
        self.report.check(
            "restored",
            true,
            format!(
                "all five nodes back from backups and two of three printed parts in {:.2} s",
                started.elapsed().as_secs_f64()
            ),
        );
        self.report.title(
            "After a restore: no pair set-ups, no nonces, and copies of the shares are about; refresh",
        );
        let change = Change {
            fresh_pairs: true,
            ..Change::default()
        };
        self.order("restore", &change, &["alice"]).await?;
        self.works("restore", 4, 3, &NODES).await?;
        let stale = files
            .first()
            .map(|(_, text)| BackupFile::parse(text.as_bytes()))
            .transpose()?
            .ok_or_else(|| Fail::failed("no backup was made"))?;
        let verified = stale.verify(&cluster)?;
        let mut outdated = false;
        for info in self.operator.keys().await? {
            let known = client::PublicKey::decode(&info.public_package)?;
            outdated = outdated
                || matches!(
                    compare(verified.package(), known.package()),
                    Err(Problem::Stale { .. })
                );
        }
        self.report.check(
            "old-backup-refused",
            outdated,
            "the backups from before the refresh are refused as stale",
        );
        Ok(())
    }
}
