//! Some real nodes in one process, three unless a test wants more: real stores, real key generation through nested sessions, real policy documents.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use mpc_core::frost::{self, Package, SigningRequest, Tweak, wire};
use mpc_core::id::{Attempt, Purpose, RequestId};
use mpc_core::keys::PublicKeyPackage;
use mpc_core::roster::{Member, Roster};
use mpc_core::{id::PartyIndex, identity::IdentityPublic};
use policy::approval::{Approval, Decision, summary_lines};
use policy::chain::Address;
use policy::cluster::{ClusterFile, CoordinatorEntry, GenesisEntry, Governor, NodeEntry};
use policy::credential::CredentialKey;
use policy::document::PolicyHash;
use policy::id::{ClusterId, CredentialId, PersonId};
use policy::intent::{Intent, SignedIntent};
use policy::solana::build::{self, Instruction};
use policy::solana::{self, Version};
use policy::statement::{Common, Freeze, PolicyConsent, SignedStatement, Statement, Unfreeze};
use proto::convert::reshare::{sharing_of, sharing_to_wire};
use proto::v1::{
    self, CoordinatorFrame, Failure, FailureCode, coordinator_frame::Body as Call,
    node_frame::Body as Answer,
};
use signer_node::clock::Reading;
use signer_node::config::{Config, Unlock};
use signer_node::engine::{Engine, FRAME_VERSION, OpenError};
use signer_node::init::create_store;
use signer_node::store::StoreError;
use tokio::runtime::{Handle, Runtime};

/// 2026-12-01T00:00:00Z.
pub(crate) const NOW: u64 = 1_796_083_200_000;
pub(crate) const MINUTE: u64 = 60_000;
pub(crate) const HOUR: u64 = 60 * MINUTE;
pub(crate) const SOL: u64 = 1_000_000_000;
/// A thousandth of an ether, in wei.
pub(crate) const FINNEY: u64 = 1_000_000_000_000_000;

/// A clock that a test sets.
pub(crate) struct TestClock {
    pub(crate) wall: AtomicU64,
    pub(crate) boot: AtomicU64,
    pub(crate) machine: AtomicU64,
}

/// The nodes, and everything the tests need to talk to them.
pub(crate) struct Cluster {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) clocks: Vec<Arc<TestClock>>,
    pub(crate) roster: Roster,
    pub(crate) keys: BTreeMap<String, PublicKeyPackage>,
    pub(crate) progress: Arc<Mutex<Vec<(usize, v1::DkgProgress)>>>,
    pub(crate) reshares: Arc<Mutex<Vec<(usize, v1::ReshareProgress)>>>,
    pub(crate) alarms: Arc<Mutex<Vec<(usize, v1::PairAlarm)>>>,
    /// Evidence that a node has told of.
    pub(crate) evidence: Arc<Mutex<Evidence>>,
    /// The last list of entries that a node announced, by node and set.
    pub(crate) pools: Arc<Mutex<Announced>>,
    /// Entries that were opened. What nodes announce of their pools comes a little later.
    pub(crate) opened: Mutex<BTreeSet<Vec<u8>>>,
    /// What the relay does with a piece of a session between two nodes: it goes on with what this returns.
    pub(crate) relay: Arc<Mutex<Relay>>,
    switch: Arc<Mutex<Vec<Option<Node>>>>,
    /// The first so many nodes make the keys.
    committee: usize,
}

/// A relay that may do as it likes.
pub(crate) type Relay = Box<dyn FnMut(v1::Tunnel) -> Vec<v1::Tunnel> + Send>;

/// Encoded evidence, with the node that told of it.
pub(crate) type Evidence = Vec<(usize, Vec<u8>)>;

/// Names of entries, by node and set of signers.
pub(crate) type Announced = BTreeMap<(usize, Vec<u32>), Vec<Vec<u8>>>;

/// A running node: its own runtime, so that a crash takes all its tasks along.
#[derive(Clone)]
struct Node {
    engine: Engine,
    runtime: Handle,
    stop: Arc<Mutex<Option<Runtime>>>,
}

pub(crate) fn key(name: &str) -> SigningKey {
    let mut seed = [b'.'; 32];
    seed[..name.len()].copy_from_slice(name.as_bytes());
    SigningKey::from_bytes(&seed)
}

fn public(name: &str) -> [u8; 32] {
    key(name).verifying_key().to_bytes()
}

pub(crate) fn place(byte: u8) -> Address {
    Address::from_bytes([byte; 32])
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

impl Cluster {
    /// Three nodes, two of which must sign, without keys or policy.
    pub(crate) async fn new() -> Self {
        Self::new_in(tempfile::tempdir().unwrap()).await
    }

    pub(crate) async fn new_in(dir: tempfile::TempDir) -> Self {
        Self::of(dir, 3, 3).await
    }

    /// So many nodes, of which the first few make the keys.
    pub(crate) async fn of(dir: tempfile::TempDir, count: usize, committee: usize) -> Self {
        let cluster_id = ClusterId::parse("c-01").unwrap();
        let mut nodes = Vec::new();
        for index in 1..=u16::try_from(count).unwrap() {
            let home = dir.path().join(format!("node-{index}"));
            std::fs::create_dir(&home).unwrap();
            write(
                &home.join("store.key"),
                &format!("{}\n", format!("{index:02x}").repeat(32)),
            );
            let unlock = Unlock::KeyFile(home.join("store.key"));
            let made = create_store(&home.join("node.db"), &unlock, &cluster_id).unwrap();
            nodes.push(NodeEntry {
                index,
                identity: made.identity,
                exchange: made.exchange,
            });
        }
        let governor = |name: &str| Governor {
            person: PersonId::parse(name).unwrap(),
            credential: CredentialId::parse("laptop").unwrap(),
            key: CredentialKey::Ed25519(public(name)),
        };
        let file = ClusterFile {
            cluster_id,
            threshold: 2,
            minority_threshold: count > 3,
            coordinator: CoordinatorEntry {
                addr: "127.0.0.1:1".to_owned(),
                server_name: "coordinator".to_owned(),
                pins: vec![[0; 32]],
            },
            nodes,
            genesis: GenesisEntry {
                min: 2,
                governors: vec![governor("erin"), governor("frank")],
            },
        };
        std::fs::write(dir.path().join("cluster.toml"), file.render()).unwrap();
        let members = file.nodes.iter().map(|node| Member {
            index: PartyIndex::new(node.index).unwrap(),
            identity: IdentityPublic::from_bytes(&node.identity).unwrap(),
            exchange: node.exchange,
        });
        let roster = Roster::new(members).unwrap();
        let clock = || TestClock {
            wall: NOW.into(),
            boot: 1_000_000.into(),
            machine: 1.into(),
        };
        let clocks = (0..count).map(|_| Arc::new(clock())).collect();
        let cluster = Self {
            dir,
            clocks,
            roster,
            keys: BTreeMap::new(),
            progress: Arc::default(),
            reshares: Arc::default(),
            alarms: Arc::default(),
            evidence: Arc::default(),
            pools: Arc::default(),
            opened: Mutex::default(),
            relay: Arc::new(Mutex::new(Box::new(|piece| vec![piece]))),
            switch: Arc::new(Mutex::new(vec![None; count])),
            committee,
        };
        for node in 0..count {
            cluster.run(node, cluster.open(node).unwrap());
        }
        cluster
    }

    /// With an Ed25519 key `hot` and the usual policy.
    pub(crate) async fn ready() -> Self {
        Self::ready_in(tempfile::tempdir().unwrap()).await
    }

    pub(crate) async fn ready_in(dir: tempfile::TempDir) -> Self {
        let mut cluster = Self::new_in(dir).await;
        cluster.generate("hot", "ed25519").await;
        let text = cluster.document(&[WALLET_RULES]);
        cluster.install(&text, &["erin", "frank"]).await;
        cluster
    }

    pub(crate) fn home(&self, node: usize) -> PathBuf {
        self.dir.path().join(format!("node-{}", node + 1))
    }

    pub(crate) fn config(&self, node: usize) -> Config {
        let more = std::fs::read_to_string(self.home(node).join("more.toml")).unwrap_or_default();
        let text = format!(
            "schema = 1\nindex = {}\n{more}cluster = \"../cluster.toml\"\n[unlock]\nkind = \"key-file\"\npath = \"store.key\"\n[limits]\nfree_space = \"0B\"\npool_entries = 2\n\
             [tls]\nca = \"ca\"\ncrl = \"crl\"\ncert = \"cert\"\nkey = \"key\"\n",
            node + 1
        );
        let (config, problems) = Config::parse(&text, &self.home(node));
        config.unwrap_or_else(|| panic!("{problems:?}"))
    }

    pub(crate) fn open(&self, node: usize) -> Result<Engine, OpenError> {
        let clock = Arc::clone(&self.clocks[node]);
        let time = Arc::new(move || {
            let machine = clock.machine.load(Ordering::SeqCst).to_be_bytes();
            let mut boot = [1; 16];
            boot[..8].copy_from_slice(&machine);
            Ok(Reading::new(
                clock.wall.load(Ordering::SeqCst),
                clock.boot.load(Ordering::SeqCst),
                boot,
            ))
        });
        Engine::open(&self.config(node), time)
    }

    /// Takes a node into service, with what a coordinator does for it: passes tunnel frames on.
    fn run(&self, node: usize, engine: Engine) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let ticking = engine.clone();
        runtime.spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            loop {
                ticks.tick().await;
                ticking.fill_pools();
            }
        });
        let found = Arc::clone(&self.evidence);
        let (alarms, pools, relay) = (
            Arc::clone(&self.alarms),
            Arc::clone(&self.pools),
            Arc::clone(&self.relay),
        );
        let (mut receiver, switch, progress, reshares) = (
            engine.attach(),
            Arc::clone(&self.switch),
            Arc::clone(&self.progress),
            Arc::clone(&self.reshares),
        );
        let ids: Vec<Vec<u8>> = self
            .roster
            .by_index()
            .map(|(_, node)| node.as_bytes().to_vec())
            .collect();
        runtime.spawn(async move {
            while let Some(frame) = receiver.recv().await {
                match frame.body {
                    Some(Answer::Tunnel(piece)) => {
                        let pieces = (*relay.lock().unwrap())(piece);
                        for tunnel in pieces {
                            let Some(to) = ids.iter().position(|id| tunnel.to == *id) else {
                                continue;
                            };
                            let target = switch.lock().unwrap()[to].clone();
                            let frame = CoordinatorFrame {
                                version: FRAME_VERSION,
                                call_id: 0,
                                body: Some(Call::Tunnel(tunnel)),
                            };
                            if let Some(target) = target {
                                let _ = target
                                    .runtime
                                    .spawn(async move { target.engine.call(frame).await })
                                    .await;
                            }
                        }
                    }
                    Some(Answer::PairAlarm(alarm)) => alarms.lock().unwrap().push((node, alarm)),
                    Some(Answer::Evidence(said)) => {
                        found.lock().unwrap().push((node, said.evidence.to_vec()));
                    }
                    Some(Answer::PoolEntries(list)) => {
                        let names = list.entries.iter().map(|name| name.to_vec()).collect();
                        pools.lock().unwrap().insert((node, list.signers), names);
                    }
                    Some(Answer::ReshareProgress(update)) => {
                        reshares.lock().unwrap().push((node, update));
                    }
                    Some(Answer::DkgProgress(update)) => {
                        progress.lock().unwrap().push((node, update));
                    }
                    _ => {}
                }
            }
        });
        let running = Node {
            engine,
            runtime: runtime.handle().clone(),
            stop: Arc::new(Mutex::new(Some(runtime))),
        };
        self.switch.lock().unwrap()[node] = Some(running);
    }

    /// Stops a node as a crash would: nothing of its memory survives.
    pub(crate) async fn restart(&mut self, node: usize) {
        self.stop(node).await;
        self.start(node).await.unwrap();
    }

    pub(crate) async fn stop(&mut self, node: usize) {
        let Some(running) = self.switch.lock().unwrap()[node].take() else {
            return;
        };
        running
            .stop
            .lock()
            .unwrap()
            .take()
            .unwrap()
            .shutdown_background();
    }

    /// Ends every node; what remains is what is on disk.
    pub(crate) async fn shut_down(mut self) -> tempfile::TempDir {
        for node in 0..self.clocks.len() {
            self.stop(node).await;
        }
        core::mem::replace(&mut self.dir, tempfile::tempdir().unwrap())
    }

    pub(crate) async fn start(&mut self, node: usize) -> Result<(), OpenError> {
        let engine = loop {
            match self.open(node) {
                Err(OpenError::Store(StoreError::Busy(_))) => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                other => break other?,
            }
        };
        self.run(node, engine);
        Ok(())
    }

    pub(crate) fn advance(&self, ms: u64) {
        for clock in &self.clocks {
            clock.wall.fetch_add(ms, Ordering::SeqCst);
            clock.boot.fetch_add(ms, Ordering::SeqCst);
        }
    }

    pub(crate) fn now(&self) -> u64 {
        self.clocks[0].wall.load(Ordering::SeqCst)
    }

    pub(crate) fn runs(&self, node: usize) -> bool {
        self.switch.lock().unwrap()[node].is_some()
    }

    /// A running node.
    pub(crate) fn engine(&self, node: usize) -> Engine {
        self.switch.lock().unwrap()[node]
            .clone()
            .expect("the node runs")
            .engine
    }

    /// Hands a frame to a node; there may be no answer.
    pub(crate) async fn send(&self, node: usize, frame: CoordinatorFrame) -> Option<v1::NodeFrame> {
        let running = self.switch.lock().unwrap()[node]
            .clone()
            .expect("the node runs");
        running
            .runtime
            .spawn(async move { running.engine.call(frame).await })
            .await
            .unwrap()
    }

    pub(crate) async fn call(&self, node: usize, body: Call) -> Result<Answer, Failure> {
        let frame = CoordinatorFrame {
            version: FRAME_VERSION,
            call_id: 7,
            body: Some(body),
        };
        let answer = self
            .send(node, frame)
            .await
            .expect("a call with a number is answered");
        assert_eq!((answer.version, answer.call_id), (FRAME_VERSION, 7));
        match answer.body.unwrap() {
            Answer::Failure(failure) => Err(failure),
            body => Ok(body),
        }
    }

    pub(crate) fn order(name: &str, scheme: &str) -> v1::StartDkg {
        let mut request = [0xd6; 32];
        request[..8].copy_from_slice(&NOW.to_be_bytes());
        request[8..8 + name.len()].copy_from_slice(name.as_bytes());
        v1::StartDkg {
            name: name.to_owned(),
            scheme: scheme.to_owned(),
            threshold: 2,
            request_id: request.to_vec().into(),
            attempt: 0,
            deadline_ms: 60_000,
            nodes: Vec::new(),
            import: None,
        }
    }

    /// Makes a key on all nodes.
    pub(crate) async fn generate(&mut self, name: &str, scheme: &str) -> PublicKeyPackage {
        let mut order = Self::order(name, scheme);
        order.nodes = (1..=u32::try_from(self.committee).unwrap()).collect();
        for node in 0..self.committee {
            let Ok(Answer::DkgProgress(started)) =
                self.call(node, Call::StartDkg(order.clone())).await
            else {
                panic!("not started")
            };
            assert_eq!(started.stage, "round1");
        }
        self.finish(&order).await
    }

    pub(crate) async fn finish(&mut self, order: &v1::StartDkg) -> PublicKeyPackage {
        for _ in 0..2_000 {
            let ready = (0..self.committee).filter(|node| {
                self.engine(*node)
                    .status()
                    .keys
                    .iter()
                    .any(|key| key.state == "active" && key.request_id == order.request_id)
            });
            if ready.count() == self.committee {
                let Ok(Answer::DkgProgress(active)) =
                    self.call(0, Call::StartDkg(order.clone())).await
                else {
                    panic!("no answer")
                };
                assert_eq!(active.stage, "active");
                let package = PublicKeyPackage::decode(&active.public_package).unwrap();
                self.keys.insert(order.name.clone(), package.clone());
                return package;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("no key: {:?}", self.progress.lock().unwrap());
    }

    pub(crate) fn key_id(&self, name: &str) -> [u8; 32] {
        *self.keys[name].key_id().as_bytes()
    }

    /// Version 1 of a document around some parts.
    pub(crate) fn document(&self, parts: &[&str]) -> String {
        self.document_version(1, None, parts)
    }

    pub(crate) fn document_version(
        &self,
        version: u64,
        prev: Option<&str>,
        parts: &[&str],
    ) -> String {
        let person = |name: &str, group: &str| {
            let key = hex::encode(public(name));
            format!(
                "[[person]]\nid = \"{name}\"\ngroups = [\"{group}\"]\n[[person.credential]]\nid = \"laptop\"\nkind = \"ed25519\"\nkey = \"{key}\"\n"
            )
        };
        let people: String = [
            ("alice", "treasury"),
            ("bob", "treasury"),
            ("erin", "security"),
            ("frank", "security"),
        ]
        .map(|(name, group)| person(name, group))
        .concat();
        self.document_with(version, prev, &people, parts)
    }

    pub(crate) fn document_with(
        &self,
        version: u64,
        prev: Option<&str>,
        people: &str,
        parts: &[&str],
    ) -> String {
        let prev = prev.map_or_else(String::new, |text| {
            format!("prev_hash = \"{}\"\n", PolicyHash::of(text.as_bytes()))
        });
        let wallets: String = self
            .keys
            .iter()
            .map(|(name, package)| {
                let key = hex::encode(package.key_id().as_bytes());
                let (chain, fee) = match package.purpose() {
                    Purpose::Ecdsa => ("ethereum:1", 10 * FINNEY),
                    _ => ("solana:devnet", 100_000),
                };
                format!("[[wallet]]\nid = \"{name}\"\nkey_id = \"{key}\"\nchain = \"{chain}\"\nkinds = [\"transfer\"]\nmax_fee = \"{fee}\"\n")
            })
            .collect();
        let machines = ["svc:payout", "svc:other"]
            .map(|name| {
                format!(
                    "[[machine]]\nid = \"{name}\"\ngroups = []\nkey = \"{}\"\n",
                    hex::encode(public(name))
                )
            })
            .concat();
        let address = format!(
            "[[address]]\nlabel = \"friend\"\nchain = \"solana:devnet\"\nto = \"{}\"\nassets = [\"native\"]\nadded = \"2026-11-01T00:00:00Z\"\nusable_after = \"2026-11-02T00:00:00Z\"\n",
            place(9)
        );
        format!(
            "schema = 1\npolicy_id = \"treasury\"\nversion = {version}\n{prev}cluster_id = \"c-01\"\nnot_before = \"2026-11-01T00:00:00Z\"\n{GOVERNANCE}{people}{machines}{wallets}{address}{}",
            parts.concat()
        )
    }

    pub(crate) fn common(&self, name: &str, nonce: u8) -> Common {
        Common {
            cluster: "c-01".to_owned(),
            person: name.to_owned(),
            credential: "laptop".to_owned(),
            nonce: [nonce; 16],
            issued_ms: self.now(),
            expires_ms: self.now() + 12 * HOUR,
        }
    }

    pub(crate) fn signed_policy(&self, text: &str, names: &[&str]) -> v1::InstallPolicy {
        let version = text
            .lines()
            .find_map(|line| line.strip_prefix("version = "))
            .unwrap()
            .parse()
            .unwrap();
        let sign = |name: &&str| {
            let statement = Statement::Policy(PolicyConsent {
                common: self.common(name, 1),
                policy_id: "treasury".to_owned(),
                version,
                policy: *PolicyHash::of(text.as_bytes()).as_bytes(),
            });
            SignedStatement::sign(&statement, &key(name))
                .unwrap()
                .encode()
                .into()
        };
        v1::InstallPolicy {
            document: text.as_bytes().to_vec().into(),
            signatures: names.iter().map(sign).collect(),
        }
    }

    pub(crate) async fn install(&self, text: &str, names: &[&str]) -> v1::PolicyState {
        let mut last = None;
        for node in 0..self.clocks.len() {
            if !self.runs(node) {
                continue;
            }
            let call = Call::InstallPolicy(self.signed_policy(text, names));
            match self.call(node, call).await {
                Ok(Answer::PolicyState(state)) => last = Some(state),
                other => panic!("{other:?}"),
            }
        }
        last.unwrap()
    }

    pub(crate) fn freeze(&self, name: &str, nonce: u8) -> v1::Order {
        let statement = Statement::Freeze(Freeze {
            common: self.common(name, nonce),
        });
        v1::Order {
            statements: vec![
                SignedStatement::sign(&statement, &key(name))
                    .unwrap()
                    .encode()
                    .into(),
            ],
        }
    }

    pub(crate) fn unfreeze(&self, names: &[&str], nonce: u8) -> v1::Order {
        let sign = |name: &&str| {
            let statement = Statement::Unfreeze(Unfreeze {
                common: self.common(name, nonce),
            });
            SignedStatement::sign(&statement, &key(name))
                .unwrap()
                .encode()
                .into()
        };
        v1::Order {
            statements: names.iter().map(sign).collect(),
        }
    }

    /// A transfer from the wallet `wallet`, as the payout service asks for it.
    pub(crate) fn intent(&self, wallet: &str, to: Address, lamports: u64, salt: u8) -> Intent {
        let from = self.wallet_address(wallet);
        let message = build::message(
            from,
            &[Instruction::transfer(from, to, lamports)],
            [salt; 32],
            Version::V0,
        )
        .unwrap();
        Intent {
            cluster_id: "c-01".to_owned(),
            key_id: self.key_id(wallet),
            wallet: wallet.to_owned(),
            chain: "solana:devnet".to_owned(),
            raw_tx: message,
            initiator: "svc:payout".to_owned(),
            idempotency_key: format!("payout {salt}"),
            created_ms: self.now(),
            expires_ms: self.now() + 20 * HOUR,
            note: String::new(),
        }
    }

    fn wallet_address(&self, wallet: &str) -> Address {
        let public = self.keys[wallet].public_key();
        Address::from_bytes(public[public.len() - 32..].try_into().unwrap())
    }

    pub(crate) fn pay(&self, lamports: u64, salt: u8) -> SignedIntent {
        SignedIntent::sign(
            self.intent("hot", place(9), lamports, salt),
            &key("svc:payout"),
        )
        .unwrap()
    }

    pub(crate) fn approve(
        &self,
        signed: &SignedIntent,
        policy: &str,
        name: &str,
    ) -> SignedStatement {
        self.vote(signed, policy, name, name, Decision::Approve)
    }

    pub(crate) fn vote(
        &self,
        signed: &SignedIntent,
        policy: &str,
        name: &str,
        signer: &str,
        decision: Decision,
    ) -> SignedStatement {
        let intent = signed.intent();
        let wallet = self.wallet_address(&intent.wallet);
        let transaction = solana::decode(&intent.raw_tx, wallet.solana().unwrap()).unwrap();
        let lines = summary_lines(intent, &transaction.rendering);
        let hash = *PolicyHash::of(policy.as_bytes()).as_bytes();
        let approval = Approval::new(self.common(name, 3), intent, hash, decision, lines);
        SignedStatement::sign(&Statement::Approval(approval), &key(signer)).unwrap()
    }

    pub(crate) async fn announce(
        &self,
        node: usize,
        signed: &SignedIntent,
    ) -> Result<Vec<u8>, Failure> {
        let call = Call::Announce(v1::Announce {
            signed_intent: signed.encode().into(),
        });
        match self.call(node, call).await? {
            Answer::Receipt(receipt) => Ok(receipt.signed_receipt.to_vec()),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn prepare(
        &self,
        node: usize,
        key: &str,
        count: u32,
    ) -> Result<Vec<Vec<u8>>, Failure> {
        let call = Call::Prepare(v1::Prepare {
            key_id: self.key_id(key).to_vec().into(),
            epoch: self.keys[key].epoch().0,
            count,
            sharing: Some(sharing_to_wire(sharing_of(&self.keys[key]))),
        });
        match self.call(node, call).await? {
            Answer::Commitments(answer) => Ok(answer
                .envelopes
                .iter()
                .map(|bytes| bytes.to_vec())
                .collect()),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn request(
        &self,
        quorum: &[usize],
        signed: &SignedIntent,
        approvals: &[SignedStatement],
    ) -> v1::Sign {
        let name = self
            .keys
            .iter()
            .find(|(_, key)| *key.key_id().as_bytes() == signed.intent().key_id)
            .map_or("hot", |(name, _)| name.as_str());
        let mut commitments = Vec::new();
        for node in quorum {
            commitments.push(self.prepare(*node, name, 1).await.unwrap().remove(0).into());
        }
        v1::Sign {
            signed_intent: signed.encode().into(),
            approvals: approvals
                .iter()
                .map(|approval| approval.encode().into())
                .collect(),
            receipts: Vec::new(),
            epoch: self.keys[name].epoch().0,
            attempt: 0,
            commitments,
            task: 0,
            sharing: Some(sharing_to_wire(sharing_of(&self.keys[name]))),
        }
    }

    pub(crate) async fn share(
        &self,
        node: usize,
        request: &v1::Sign,
    ) -> Result<v1::Share, Failure> {
        match self.call(node, Call::Sign(request.clone())).await? {
            Answer::Share(share) => Ok(share),
            other => panic!("{other:?}"),
        }
    }

    /// Everything a coordinator does for one signature; the signature is verified.
    pub(crate) async fn sign(
        &self,
        quorum: &[usize],
        signed: &SignedIntent,
        approvals: &[SignedStatement],
    ) -> Result<[u8; 64], Failure> {
        let request = self.request(quorum, signed, approvals).await;
        let key = self
            .keys
            .values()
            .find(|key| *key.key_id().as_bytes() == signed.intent().key_id)
            .unwrap();
        let commitments = request.commitments.iter().map(|bytes| {
            let opened = wire::open_commitment(&self.roster, key, bytes).unwrap();
            (opened.index, opened.commitment)
        });
        let message =
            SigningRequest::new(key.purpose(), signed.intent().raw_tx.clone(), Tweak::None)
                .unwrap();
        let package = Package::new(key, commitments.collect(), &message).unwrap();
        let mut shares = BTreeMap::new();
        for node in quorum {
            let share = self.share(*node, &request).await?;
            let request_id = RequestId::from_bytes(signed.digest());
            let (index, share) = wire::open_share(
                &self.roster,
                &package,
                request_id,
                Attempt(0),
                &share.envelope,
            )
            .unwrap();
            shares.insert(index, share);
        }
        let signature = frost::aggregate(&package, &shares).unwrap();
        let bytes: [u8; 64] = signature.as_bytes().to_owned();
        let verifying = ed25519_dalek::VerifyingKey::from_bytes(
            self.wallet_address(&signed.intent().wallet)
                .solana()
                .unwrap(),
        )
        .unwrap();
        verifying
            .verify_strict(
                &signed.intent().raw_tx,
                &ed25519_dalek::Signature::from_bytes(&bytes),
            )
            .unwrap();
        Ok(bytes)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for running in self
            .switch
            .lock()
            .unwrap()
            .iter_mut()
            .filter_map(Option::take)
        {
            if let Some(runtime) = running.stop.lock().unwrap().take() {
                runtime.shutdown_background();
            }
        }
    }
}

/// The code and the reasons of a refusal.
pub(crate) fn code<T: core::fmt::Debug>(outcome: Result<T, Failure>) -> FailureCode {
    outcome.expect_err("a refusal").code()
}

pub(crate) fn reasons<T: core::fmt::Debug>(outcome: Result<T, Failure>) -> String {
    outcome.expect_err("a refusal").reasons.join("\n")
}

const GOVERNANCE: &str = r#"[governance]
tighten = { quorum = [{ group = "security", min = 1 }] }
loosen = { quorum = [{ group = "security", min = 2 }], delay = "48h" }
freeze = { any_of = ["security", "treasury"] }
unfreeze = { quorum = [{ group = "security", min = 2 }], delay = "0s" }
"#;

/// Up to 1 SOL with one approval, above that two approvals and half an hour; 3 SOL a day, of which one node lets go two.
pub(crate) const WALLET_RULES: &str = r#"[[rule]]
id = "pay"
effect = "allow"
match = { wallet = "hot", to = "allowlist", initiator = ["svc:payout"] }
limits = [{ scope = "tx", asset = "native", max = "2500000000" }, { scope = "wallet", window = "24h", asset = "native", max = "3000000000" }]
require = [{ group = "treasury", min = 1 }]
[[rule]]
id = "large"
effect = "allow"
match = { wallet = "hot", to = "any", asset = "native", amount_over = "1000000000" }
require = [{ group = "treasury", min = 2 }]
delay = "30m"
"#;
