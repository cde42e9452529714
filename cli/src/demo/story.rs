//! The steps of the demonstration, in an order in which each leaves what the next needs.

pub(in crate::demo) mod chains;

use std::time::{Duration, Instant};

use client::{Ask, Client, Error, Order, Prepared, Released, State};
use ed25519_dalek::SigningKey;
use policy::{
    approval::Decision,
    intent::{Intent, SignedIntent},
    statement::{Freeze, SignedStatement, Statement, Unfreeze},
};

use super::{
    report::{CHAIN, Report, denial},
    rogue::{Reaction, Rogue},
    ssh::SshKey,
};
use crate::{
    fail::Fail,
    local::{Key, LocalCluster},
    people,
    sample::{self, SampleWallet},
    verbs::request::transfer,
};

const SOL: u64 = 1_000_000_000;
pub(in crate::demo) const WALLET: &str = "hot";
const DAILY: u64 = 12 * SOL;
const LARGE: u64 = SOL;
const LOCK: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(20);
/// On the allow-list.
pub(in crate::demo) const EXCHANGE: [u8; 32] = [0xee; 32];
/// Not on the allow-list.
const STRANGER: [u8; 32] = [0x66; 32];

/// What the steps share.
struct Story<'a> {
    cluster: &'a mut LocalCluster,
    report: &'a mut Report,
    client: Client,
    initiator: SigningKey,
    key: Key,
    taproot: Key,
    ssh: Option<SshKey>,
    payments: u8,
}

/// Runs every step.
pub(super) async fn tell(cluster: &mut LocalCluster, report: &mut Report) -> Result<(), Fail> {
    cluster.start().await?;
    report.check(
        "cluster-up",
        true,
        "3 nodes have dialled the coordinator and proved who they are",
    );

    report.title("A key that nobody holds");
    let key = cluster.create_key(WALLET).await?;
    report.check(
        "dkg",
        true,
        format!(
            "distributed key generation by all 3 nodes, 2 of 3 sign: {:?}",
            key.public
        ),
    );
    let ecdsa = cluster.create_key_of("ecdsa", "ecdsa").await?;
    report.check(
        "dkg-ecdsa",
        true,
        format!("for Ethereum, with pair set-ups: {:?}", ecdsa.public),
    );
    let taproot = cluster.create_key_of("taproot", "bip340").await?;
    report.check(
        "dkg-taproot",
        true,
        format!("for Bitcoin: {:?}", taproot.public),
    );

    report.title("A policy that two people signed");
    let ssh = SshKey::generate(&cluster.layout().people().join("carol-ssh"))?;
    let hash = cluster
        .install(&policy(cluster, [&key, &ecdsa, &taproot], ssh.as_ref()))
        .await?;
    report.check(
        "policy-installed",
        true,
        format!("in force on the coordinator and every node: {hash}"),
    );

    let client = cluster.client("client").await?;
    for wallet in [WALLET, chains::ETHEREUM, chains::BITCOIN] {
        let wallet = client.wallet(wallet).await?;
        report.say(&format!(
            "wallet {} at {} of its key: {} on {}",
            wallet.id, wallet.path, wallet.address, wallet.chain
        ));
        report.wallet(&wallet);
    }
    let initiator = people::read_key(&cluster.layout().initiator_key())?;
    let mut story = Story {
        cluster,
        report,
        client,
        initiator,
        key,
        taproot,
        ssh,
        payments: 0,
    };
    story
        .small(
            "small",
            "0.4 SOL to the exchange needs nobody",
            SOL * 4 / 10,
        )
        .await?;
    story.large().await?;
    story.over_limit().await?;
    story.not_listed().await?;
    story.other_chains().await?;
    story.freeze().await?;
    story.node_killed().await?;
    story.hostile().await
}

fn policy(
    cluster: &LocalCluster,
    [key, ecdsa, taproot]: [&Key; 3],
    ssh: Option<&SshKey>,
) -> sample::Sample {
    let mut sample = cluster.made().sample.clone();
    sample.loosen_delay = "0s".to_owned();
    sample.unfreeze_delay = "0s".to_owned();
    if let (Some(ssh), Some(carol)) = (ssh, sample.people.last_mut()) {
        carol
            .credentials
            .push(("ssh".to_owned(), ssh.public.clone()));
    }
    sample.wallets.push(SampleWallet::solana(
        WALLET,
        key.id,
        ("exchange", EXCHANGE),
        (DAILY, LARGE),
        &format!("{}s", LOCK.as_secs()),
    ));
    sample.wallets.push(chains::ethereum_wallet(ecdsa));
    sample.wallets.push(chains::bitcoin_wallet(taproot));
    sample
}

impl Story<'_> {
    /// The raw transaction and the signed intent of one more payment.
    async fn order(
        &mut self,
        name: &str,
        to: [u8; 32],
        lamports: u64,
    ) -> Result<(Vec<u8>, Prepared), Fail> {
        self.payments = self.payments.saturating_add(1);
        let raw = transfer(self.key.solana()?, to, lamports, [self.payments; 32])?;
        let order = Order::new(WALLET, raw.clone(), name, sample::INITIATOR);
        let prepared = self.client.prepare(&order, &self.initiator).await?;
        Ok((raw, prepared))
    }

    /// A payment that needs nobody.
    async fn small(
        &mut self,
        name: &'static str,
        what: &str,
        lamports: u64,
    ) -> Result<Released, Fail> {
        self.report.title(what);
        let started = Instant::now();
        let (raw, prepared) = self.order(name, EXCHANGE, lamports).await?;
        self.client.submit(&prepared).await?;
        let end = self.client.wait(prepared.id(), PATIENCE).await?;
        self.report.released(name, CHAIN, &raw, &end, started);
        self.report.check(
            name,
            true,
            format!(
                "released by nodes {:?}, signature verified here",
                end.status().signers
            ),
        );
        Ok(end)
    }

    async fn large(&mut self) -> Result<(), Fail> {
        self.report
            .title("5 SOL need 2 of 3 people, and 3 seconds in which anybody can object");
        let started = Instant::now();
        let (raw, prepared) = self.order("large", EXCHANGE, 5 * SOL).await?;
        let status = self.client.submit(&prepared).await?;
        self.report.check(
            "large-waits",
            status.state == State::Announced,
            format!("{}: {}", status.state, status.why()),
        );
        let review = self.client.review(prepared.id()).await?;
        for line in review.lines() {
            self.report.say(&format!("| {line}"));
        }
        let alice = self.approval("alice", sample::CREDENTIAL, &review)?;
        let status = self
            .client
            .decide(prepared.id(), &self.cluster.sign("alice", &alice)?)
            .await?;
        self.report.check(
            "large-one-approval",
            status.state == State::Announced,
            format!("alice approved: {}", status.why()),
        );
        let (second, how) = self.second_approval(&review)?;
        self.client.decide(prepared.id(), &second).await?;
        let early = self
            .client
            .wait(prepared.id(), Duration::from_millis(500))
            .await;
        self.report.check(
            "large-locked",
            matches!(early, Err(Error::Ask(Ask::Approvals { .. }))),
            match early {
                Ok(_) => format!("{how}, and it was released before its time"),
                Err(error) => format!("{how}; {error}"),
            },
        );
        let end = self.client.wait(prepared.id(), PATIENCE).await?;
        let waited = started.elapsed();
        self.report.released("large", CHAIN, &raw, &end, started);
        self.report.check(
            "large-released",
            waited >= LOCK,
            format!(
                "released {:.2} s after it was announced",
                waited.as_secs_f64()
            ),
        );
        Ok(())
    }

    fn approval(
        &self,
        person: &str,
        credential: &str,
        review: &client::Review,
    ) -> Result<Statement, Fail> {
        let common = people::common(self.cluster.id(), person, credential)?;
        Ok(review.statement(common, Decision::Approve))
    }

    /// Carol's approval: by `ssh-keygen` where there is one.
    fn second_approval(
        &self,
        review: &client::Review,
    ) -> Result<(SignedStatement, &'static str), Fail> {
        match &self.ssh {
            Some(ssh) => {
                let statement = self.approval("carol", "ssh", review)?;
                let body = self.cluster.layout().people().join("carol-approval.txt");
                Ok((
                    ssh.sign(&statement, &body)?,
                    "carol approved with ssh-keygen",
                ))
            }
            None => {
                let statement = self.approval("carol", sample::CREDENTIAL, review)?;
                Ok((
                    self.cluster.sign("carol", &statement)?,
                    "carol approved (no ssh-keygen here)",
                ))
            }
        }
    }

    /// Submits a payment that must be denied.
    async fn denied(
        &mut self,
        name: &'static str,
        to: [u8; 32],
        lamports: u64,
    ) -> Result<(), Fail> {
        let started = Instant::now();
        let (raw, prepared) = self.order(name, to, lamports).await?;
        self.refusal(name, CHAIN, raw, &prepared, started).await
    }

    /// Submits what must be denied and tells why it was.
    async fn refusal(
        &mut self,
        name: &'static str,
        chain: &str,
        raw: Vec<u8>,
        prepared: &Prepared,
        started: Instant,
    ) -> Result<(), Fail> {
        let end = match self.client.submit(prepared).await {
            Ok(status) if status.state == State::Announced => Err(Ask::Approvals {
                needs: status.needs.unwrap_or_default(),
            }
            .into()),
            Ok(_) => self.client.fetch(prepared.id()).await,
            Err(error) => Err(error),
        };
        match end {
            Ok(_) => self.report.check(name, false, "it was released"),
            Err(error) => {
                let why = denial(&error).ok_or_else(|| Fail::from(error))?;
                self.report
                    .refused(name, chain, &raw, prepared, &why, started);
                self.report.check(name, true, why);
            }
        }
        Ok(())
    }

    async fn over_limit(&mut self) -> Result<(), Fail> {
        self.report
            .title("7 SOL more would pass the limit of 12 SOL in 24 hours");
        self.denied("over-limit", EXCHANGE, 7 * SOL).await
    }

    async fn not_listed(&mut self) -> Result<(), Fail> {
        self.report
            .title("0.1 SOL to an address that is not on the allow-list");
        self.denied("not-on-allow-list", STRANGER, SOL / 10).await
    }

    async fn freeze(&mut self) -> Result<(), Fail> {
        self.report
            .title("One person freezes everything; two allow it again");
        let common = people::common(self.cluster.id(), "bob", sample::CREDENTIAL)?;
        let freeze = self
            .cluster
            .sign("bob", &Statement::Freeze(Freeze { common }))?;
        let state = self.client.freeze(&freeze).await?;
        self.report
            .check("freeze", state.frozen, "bob alone froze the cluster");
        self.denied("frozen", EXCHANGE, SOL / 10).await?;

        let mut statements = Vec::new();
        for person in ["alice", "carol"] {
            let common = people::common(self.cluster.id(), person, sample::CREDENTIAL)?;
            statements.push(
                self.cluster
                    .sign(person, &Statement::Unfreeze(Unfreeze { common }))?,
            );
        }
        let alone = self
            .client
            .unfreeze(statements.get(..1).unwrap_or_default())
            .await;
        let still = match &alone {
            Ok(state) => state.frozen,
            Err(_) => true,
        };
        self.report
            .check("unfreeze-needs-quorum", still, "alice alone cannot lift it");
        let state = self.client.unfreeze(&statements).await?;
        self.report.check(
            "unfreeze",
            !state.frozen,
            "alice and carol together lifted it",
        );
        self.small("after-unfreeze", "0.1 SOL after that", SOL / 10)
            .await?;
        Ok(())
    }

    async fn node_killed(&mut self) -> Result<(), Fail> {
        self.report.title("Node 3 dies (SIGKILL)");
        self.cluster.crash_node(3)?;
        let end = self
            .small(
                "node-killed",
                "0.1 SOL with the nodes that are left",
                SOL / 10,
            )
            .await?;
        self.report.check(
            "signed-without-node-3",
            end.status().signers == [1, 2],
            format!("nodes {:?} signed", end.status().signers),
        );
        Ok(())
    }

    /// Takes the coordinator's place and asks nodes 1 and 2 directly.
    async fn hostile(&mut self) -> Result<(), Fail> {
        self.report
            .title("The coordinator is taken over: its host, its certificate, its key");
        let (_, plain) = self.order("no-approvals", EXCHANGE, 3 * SOL / 2).await?;
        let (raw, approved) = self.order("approved", EXCHANGE, 3 * SOL / 2 + 7).await?;
        self.client.submit(&approved).await?;
        let review = self.client.review(approved.id()).await?;
        let approvals = self.approvals(&review)?;

        let address = self
            .cluster
            .made()
            .cluster
            .coordinator
            .addr
            .parse()
            .map_err(Fail::failed)?;
        self.cluster.crash_coordinator()?;
        let id = &self.cluster.made().cluster.cluster_id;
        let rogue = Rogue::start(self.cluster.layout(), id, address).await?;
        let nodes = [1, 2];
        rogue.connected(&nodes, PATIENCE).await?;
        self.report.check(
            "take-over",
            true,
            "nodes 1 and 2 have connected to the hostile coordinator",
        );

        let started = Instant::now();
        let (flipped_raw, flipped) = flip(approved.as_bytes(), None)?;
        let (_, resigned) = flip(approved.as_bytes(), Some(&self.initiator))?;
        let mut receipts = Vec::new();
        for prepared in [&plain, &approved, &flipped, &resigned] {
            receipts.push(rogue.announce(&nodes, prepared.as_bytes()).await?.0);
        }
        // So that the lock is not what refuses it.
        tokio::time::sleep(LOCK.saturating_add(Duration::from_millis(500))).await;

        let plain_raw = intent_of(&plain)?.raw_tx;
        let cases = [
            (
                "no-approvals",
                &plain,
                &plain_raw,
                &[][..],
                0,
                "asked for 1.5 SOL without any approval",
            ),
            (
                "byte-changed",
                &flipped,
                &flipped_raw,
                &approvals[..],
                2,
                "one byte of the amount changed after two people approved",
            ),
            (
                "byte-changed-and-re-signed",
                &resigned,
                &flipped_raw,
                &approvals[..],
                3,
                "the same, signed again with the initiator's stolen key and under a new name",
            ),
        ];
        for (name, prepared, raw, approvals, at, what) in cases {
            let own = receipts.get(at).map_or(&[][..], |r| &r[..]);
            let reactions = rogue
                .sign(
                    &nodes,
                    (&self.key.id, 0),
                    prepared.as_bytes(),
                    approvals,
                    own,
                )
                .await?;
            let refused = reactions.values().all(Reaction::is_refusal);
            let why = reactions
                .iter()
                .map(|(node, reaction)| format!("node {node}: {}", reaction.why()))
                .collect::<Vec<_>>()
                .join("; ");
            self.report
                .refused(name, CHAIN, raw, prepared, &why, started);
            self.report.check(name, refused, format!("{what}: {why}"));
        }
        let own = receipts.get(1).map_or(&[][..], |r| &r[..]);
        let reactions = rogue
            .sign(
                &nodes,
                (&self.key.id, 0),
                approved.as_bytes(),
                &approvals,
                own,
            )
            .await?;
        self.report.check(
            "same-question-unchanged",
            !raw.is_empty() && reactions.values().all(|r| !r.is_refusal()),
            "asked the same with the bytes that were approved, both give their share: it is the change they refuse",
        );
        rogue.stop().await;
        self.cluster.start_coordinator()?;
        self.cluster.start_node(3)?;
        self.cluster.connected(3).await?;
        self.report.check(
            "everybody-back",
            true,
            "the real coordinator is back, and node 3 from its own disk",
        );
        Ok(())
    }

    fn approvals(&self, review: &client::Review) -> Result<Vec<SignedStatement>, Fail> {
        ["alice", "bob"]
            .into_iter()
            .map(|person| {
                let statement = self.approval(person, sample::CREDENTIAL, review)?;
                self.cluster.sign(person, &statement)
            })
            .collect()
    }
}

fn intent_of(prepared: &Prepared) -> Result<Intent, Fail> {
    SignedIntent::decode(prepared.as_bytes())
        .map(|signed| signed.intent().clone())
        .map_err(Fail::failed)
}

/// The same signed bytes with one byte of the amount changed; with a key, signed again under
/// another name, so that nothing but the missing approvals is left to object to.
fn flip(signed: &[u8], key: Option<&SigningKey>) -> Result<(Vec<u8>, Prepared), Fail> {
    let bytes = SignedIntent::decode(signed).map_err(Fail::failed)?;
    let mut intent = bytes.intent().clone();
    let old = intent.raw_tx.clone();
    // The amount is the last eight bytes, the lowest first.
    let at = old.len().saturating_sub(8);
    if let Some(byte) = intent.raw_tx.get_mut(at) {
        *byte ^= 1;
    }
    let raw = intent.raw_tx.clone();
    let prepared = match key {
        Some(key) => {
            intent.idempotency_key.push_str("-again");
            let again = SignedIntent::sign(intent, key).map_err(Fail::failed)?;
            Prepared::from_bytes(&again.encode())?
        }
        None => {
            let mut changed = signed.to_vec();
            let start = signed
                .windows(old.len())
                .position(|window| window == old)
                .ok_or_else(|| Fail::failed("the intent does not hold its transaction"))?;
            if let Some(place) = start.checked_add(at).and_then(|at| changed.get_mut(at)) {
                *place ^= 1;
            }
            Prepared::from_bytes(&changed)?
        }
    };
    Ok((raw, prepared))
}
