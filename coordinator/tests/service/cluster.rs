//! A coordinator in a runtime of its own, so that it can be stopped as suddenly as a process.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use coordinator::{
    Config,
    store::{KeyRow, KeyStage, KeyStep, Sqlite, Store},
};
use ed25519_dalek::SigningKey;
use mpc_core::{
    id::Purpose,
    identity::IdentityKey,
    keys::KeyShare,
    testing::{Committee, Signers, Simulator},
};
use policy::{
    approval::{Approval, Decision},
    chain::Address,
    cluster::{ClusterFile, CoordinatorEntry, GenesisEntry, Governor, NodeEntry},
    credential::CredentialKey,
    document::{Document, PolicyHash},
    id::{ClusterId, CredentialId, PersonId},
    intent::{Intent, SignedIntent},
    solana::{Version, build},
    statement::{Cancel, Common, Freeze, PolicyConsent, SignedStatement, Statement},
};
use proto::{
    channel::{
        config::Files,
        dial::{self, Target},
        identity::{Role, SpkiPin},
        pki::{Authority, Validity, make_ca},
    },
    v1::{self, operator_client::OperatorClient, quorate_client::QuorateClient},
};
use tokio::{runtime::Runtime, sync::oneshot};
use tonic::transport::Channel;

pub(crate) const FEE: u64 = 5_000;

/// Makes the same three nodes every time.
pub(crate) const COMMITTEE_SEED: u64 = 7;

const NAME: &str = "coordinator.test";

const RULES: &str = r#"
[[rule]]
id = "all"
effect = "allow"
match = { wallet = "hot", kind = ["transfer"], to = "any", initiator = ["svc:payout"] }
limits = [{ scope = "wallet", window = "24h", asset = "native", max = "20000000" }]

[[rule]]
id = "large"
effect = "allow"
match = { wallet = "hot", kind = ["transfer"], to = "any", initiator = ["svc:payout"], asset = "native", amount_over = "1000000" }
require = [{ group = "treasury", min = 1, exclude = "initiator" }]
"#;

pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    u64::try_from(since.as_millis()).expect("fits")
}

pub(crate) fn cluster_id() -> ClusterId {
    ClusterId::parse("c-test").expect("valid")
}

fn person_key(name: &str) -> SigningKey {
    let mut seed = [b'.'; 32];
    seed[..name.len()].copy_from_slice(name.as_bytes());
    SigningKey::from_bytes(&seed)
}

fn public_hex(name: &str) -> String {
    hex::encode(person_key(name).verifying_key().to_bytes())
}

/// Everything that outlives a coordinator's process.
pub(crate) struct Cluster {
    folder: tempfile::TempDir,
    authority: Authority,
    pub(crate) identities: Vec<Arc<IdentityKey>>,
    pub(crate) shares: Vec<Arc<KeyShare>>,
    /// The dealt ECDSA key that takes the place of the Ed25519 key, and the pair setups that go with it.
    pub(crate) signers: Option<Arc<Signers>>,
    file: ClusterFile,
    config: PathBuf,
}

/// A coordinator that runs.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    runtime: Option<Runtime>,
    stop: Option<oneshot::Sender<()>>,
    ended: Option<tokio::task::JoinHandle<Result<(), coordinator::RunError>>>,
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("writes");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("mode");
}

impl Cluster {
    /// Three nodes, two of which sign; `options` are more lines for `coordinator.toml`.
    pub(crate) fn new(options: &str) -> Self {
        let committee = Committee::new(3, COMMITTEE_SEED);
        let mut simulator = Simulator::start_with(committee, Purpose::Ed25519, 2, 7);
        simulator.run();
        let order: Vec<_> = (1..=3)
            .map(|index| simulator.committee.node(index))
            .collect();
        let outputs: Vec<_> = order
            .iter()
            .map(|node| {
                simulator
                    .results
                    .remove(node)
                    .expect("ended")
                    .expect("made a key")
            })
            .collect();
        let parts: BTreeMap<u16, _> = (1_u16..)
            .zip(&order)
            .map(|(index, node)| (index, outputs[0].certificate.parts()[node].clone().into()))
            .collect();
        let shares: Vec<_> = outputs
            .into_iter()
            .map(|output| Arc::new(output.share))
            .collect();

        Self::with_key(options, &simulator.committee, shares, parts, None)
    }

    /// As [`Cluster::new`], with an ECDSA key for Ethereum.
    pub(crate) fn ecdsa(options: &str) -> Self {
        let signers = Signers::deal(Purpose::Ecdsa, 2, 3, COMMITTEE_SEED);
        let shares = (1..=3).map(|index| {
            let bytes = signers
                .share(&signers.committee.node(index))
                .dangerous_to_bytes();
            Arc::new(KeyShare::dangerous_from_bytes(&bytes).expect("a share"))
        });
        // The store keeps parts of certificates; whoever reads a key that is active does not look at them.
        let parts = (1..=3).map(|index| (index, vec![1].into())).collect();
        let committee = Committee::new(3, COMMITTEE_SEED);
        Self::with_key(
            options,
            &committee,
            shares.collect(),
            parts,
            Some(Arc::new(signers)),
        )
    }

    fn with_key(
        options: &str,
        committee: &Committee,
        shares: Vec<Arc<KeyShare>>,
        parts: BTreeMap<u16, prost::bytes::Bytes>,
        signers: Option<Arc<Signers>>,
    ) -> Self {
        let identities: Vec<_> = (1..=3)
            .map(|index| Arc::clone(committee.identity(index)))
            .collect();
        let nodes = (1..=3).map(|index| {
            let member = *committee
                .roster
                .get(&committee.node(index))
                .expect("member");
            NodeEntry {
                index,
                identity: *member.identity.as_bytes(),
                exchange: member.exchange,
            }
        });
        let nodes: Vec<NodeEntry> = nodes.collect();
        let folder = tempfile::tempdir().expect("folder");
        let base = folder.path().to_path_buf();
        let authority =
            make_ca(&cluster_id(), Validity::days(now_ms() / 1_000, 30)).expect("authority");
        write(&base.join("ca.pem"), authority.cert_pem());
        let crl = authority
            .crl(&[], 1, Validity::days(now_ms() / 1_000, 30))
            .expect("list");
        write(&base.join("crl.pem"), &crl);
        let pin = issue(&authority, &base, "coordinator", Role::Coordinator, &[NAME]);
        let file = ClusterFile {
            cluster_id: cluster_id(),
            threshold: 2,
            minority_threshold: false,
            coordinator: CoordinatorEntry {
                addr: "127.0.0.1:7443".into(),
                server_name: NAME.into(),
                pins: vec![*pin.as_bytes()],
            },
            nodes,
            genesis: GenesisEntry {
                min: 1,
                governors: vec![Governor {
                    person: PersonId::parse("erin").expect("valid"),
                    credential: CredentialId::parse("laptop").expect("valid"),
                    key: CredentialKey::Ed25519(person_key("erin").verifying_key().to_bytes()),
                }],
            },
        };
        write(&base.join("cluster.toml"), &file.render());
        let config = base.join("coordinator.toml");
        let text = format!(
            "schema = 1\ncluster = \"cluster.toml\"\nlisten = \"127.0.0.1:0\"\n[tls]\nca = \"ca.pem\"\ncrl = \"crl.pem\"\ncert = \"coordinator.pem\"\nkey = \"coordinator.key\"\n{options}"
        );
        write(&config, &text);
        let cluster = Self {
            folder,
            authority,
            identities,
            shares,
            signers,
            file,
            config,
        };
        cluster.store_key(parts);
        cluster
    }

    fn store_key(&self, parts: BTreeMap<u16, prost::bytes::Bytes>) {
        let store = self.store();
        let row = KeyRow {
            request_id: [1; 32],
            name: "hot".into(),
            scheme: self.shares[0].public().purpose().as_str().into(),
            threshold: 2,
            stage: KeyStage::Running,
            created_ms: now_ms(),
            package: Vec::new().into(),
            parts: BTreeMap::new(),
            nodes: Vec::new(),
        };
        let package = self.shares[0].public().encode();
        Runtime::new().expect("runtime").block_on(async {
            store.add_key(row).await.expect("stored");
            store
                .step_key([1; 32], KeyStep::Certify(parts), 1)
                .await
                .expect("stored");
            store
                .step_key([1; 32], KeyStep::Activate(package.into()), 2)
                .await
                .expect("stored");
        });
    }

    /// The store of a coordinator that does not run.
    pub(crate) fn store(&self) -> Sqlite {
        Sqlite::open(&self.folder.path().join("coordinator.db")).expect("opens")
    }

    /// The files of evidence that a coordinator has written, by name.
    pub(crate) fn evidence_files(&self) -> BTreeMap<String, Vec<u8>> {
        let folder = self.folder.path().join("evidence");
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        let read = |entry: std::fs::DirEntry| {
            let name = entry.file_name().into_string().expect("a name");
            (name, std::fs::read(entry.path()).expect("reads"))
        };
        entries.map(|entry| read(entry.expect("lists"))).collect()
    }

    /// As if the disk had died.
    pub(crate) fn lose_store(&self) {
        for suffix in ["", "-wal", "-shm"] {
            let path = self.folder.path().join(format!("coordinator.db{suffix}"));
            assert!(!path.exists() || std::fs::remove_file(&path).is_ok());
        }
    }

    pub(crate) fn start(&self) -> Running {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("runtime");
        let config = Config::load(&self.config).expect("valid");
        let (ready, address) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let ended = runtime.spawn(coordinator::run_with_ready(config, ready, async {
            let _dropped = stopped.await;
        }));
        let address = runtime.block_on(async { address.await.expect("starts") });
        Running {
            address,
            runtime: Some(runtime),
            stop: Some(stop),
            ended: Some(ended),
        }
    }

    /// Certificate files of a role, made at first use.
    pub(crate) fn files(&self, role: Role) -> Files {
        let name = role.to_string().replace('/', "-");
        let base = self.folder.path();
        if !base.join(format!("{name}.pem")).exists() {
            issue(&self.authority, base, &name, role, &[]);
        }
        Files {
            ca: base.join("ca.pem"),
            crl: base.join("crl.pem"),
            cert: base.join(format!("{name}.pem")),
            key: base.join(format!("{name}.key")),
        }
    }

    pub(crate) async fn channel(&self, role: Role, running: &Running) -> Channel {
        let pins = self
            .file
            .coordinator
            .pins
            .iter()
            .map(|pin| SpkiPin::from_bytes(*pin))
            .collect();
        let address = running.address.to_string();
        dial::connect(Target::new(
            self.files(role),
            cluster_id(),
            &address,
            NAME,
            pins,
        ))
        .await
        .expect("connects")
    }

    pub(crate) async fn client(&self, running: &Running) -> QuorateClient<Channel> {
        QuorateClient::new(self.channel(Role::Client, running).await)
    }

    /// Installs the usual policy as version 1.
    pub(crate) async fn install_policy(&self, running: &Running) -> PolicyHash {
        self.install(running, self.policy(), 1).await
    }

    /// Installs a second version, in which the wallet has another name.
    pub(crate) async fn rename_wallet(&self, running: &Running) {
        let before = PolicyHash::of(self.policy().as_bytes());
        let version = format!("version = 2\nprev_hash = \"{before}\"");
        let text = self.policy().replace("version = 1", &version);
        self.install(running, text.replace("\"hot\"", "\"cold\""), 2)
            .await;
    }

    async fn install(&self, running: &Running, text: String, version: u64) -> PolicyHash {
        let document =
            Document::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let hash = PolicyHash::of(text.as_bytes());
        let consent = Statement::Policy(PolicyConsent {
            common: common("erin"),
            policy_id: document.policy_id().to_string(),
            version,
            policy: *hash.as_bytes(),
        });
        let signed = SignedStatement::sign(&consent, &person_key("erin")).expect("signs");
        let mut operator = OperatorClient::new(self.channel(Role::Operator, running).await);
        let install = v1::InstallPolicy {
            document: text.into_bytes().into(),
            signatures: vec![signed.encode().into()],
        };
        let proposed = operator
            .propose_policy(install.clone())
            .await
            .expect("acceptable")
            .into_inner();
        assert_eq!((proposed.version, proposed.active), (version, false));
        let info = operator
            .install_policy(install.clone())
            .await
            .expect("installed")
            .into_inner();
        assert_eq!((info.version, info.active), (version, true));
        operator
            .install_policy(install)
            .await
            .expect("again is no error");
        hash
    }

    fn policy(&self) -> String {
        let key = hex::encode(self.shares[0].public().key_id().as_bytes());
        let chain = self.chain();
        let people: String = [("alice", "treasury"), ("erin", "security")]
            .map(|(name, group)| {
                format!(
                    "[[person]]\nid = \"{name}\"\ngroups = [\"{group}\"]\n[[person.credential]]\nid = \"laptop\"\nkind = \"ed25519\"\nkey = \"{}\"\n",
                    public_hex(name)
                )
            })
            .concat();
        format!(
            "schema = 1\npolicy_id = \"main\"\nversion = 1\ncluster_id = \"c-test\"\nnot_before = \"2020-01-01T00:00:00Z\"\n\
             [governance]\ntighten = {{ quorum = [{{ group = \"security\", min = 1 }}] }}\nloosen = {{ quorum = [{{ group = \"security\", min = 1 }}], delay = \"0s\" }}\n\
             freeze = {{ any_of = [\"security\"] }}\nunfreeze = {{ quorum = [{{ group = \"security\", min = 1 }}], delay = \"0s\" }}\n\
             {people}[[machine]]\nid = \"svc:payout\"\ngroups = []\nkey = \"{machine}\"\n\
             [[wallet]]\nid = \"hot\"\nkey_id = \"{key}\"\nchain = \"{chain}\"\nkinds = [\"transfer\"]\nmax_fee = \"100000\"\n{RULES}",
            machine = public_hex("svc:payout")
        )
    }

    fn chain(&self) -> &'static str {
        if self.signers.is_some() {
            "ethereum:1"
        } else {
            "solana:devnet"
        }
    }

    pub(crate) fn wallet_key(&self) -> [u8; 32] {
        self.shares[0]
            .public()
            .public_key()
            .as_slice()
            .try_into()
            .expect("32 bytes")
    }

    /// A transfer; `number` makes it and its idempotency key different from others.
    pub(crate) fn intent(&self, number: u8, amount: u64) -> Intent {
        let raw_tx = if self.signers.is_some() {
            ethereum_transfer(number, amount)
        } else {
            self.solana_transfer(number, amount)
        };
        Intent {
            cluster_id: "c-test".into(),
            key_id: *self.shares[0].public().key_id().as_bytes(),
            wallet: "hot".into(),
            chain: self.chain().into(),
            raw_tx,
            initiator: "svc:payout".into(),
            idempotency_key: format!("pay-{number}"),
            created_ms: now_ms(),
            expires_ms: now_ms() + 600_000,
            note: String::new(),
        }
    }

    fn solana_transfer(&self, number: u8, lamports: u64) -> Vec<u8> {
        let from = Address::from_bytes(self.wallet_key());
        build::transfer(
            from,
            Address::from_bytes([9; 32]),
            lamports,
            [number; 32],
            Version::V0,
        )
        .expect("builds")
    }
}

/// `0x02 || rlp` of a plain transfer of `wei` under EIP-1559.
fn ethereum_transfer(nonce: u8, wei: u64) -> Vec<u8> {
    let number = |value: u64| {
        let bytes = value.to_be_bytes();
        let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(8);
        match &bytes[first..] {
            [small] if *small < 0x80 => vec![*small],
            bytes => {
                let mut out = vec![0x80 + u8::try_from(bytes.len()).expect("short")];
                out.extend(bytes);
                out
            }
        }
    };
    let mut body = [1, nonce.into(), 1, 1, 21_000].map(number).concat();
    body.push(0x94);
    body.extend([9; 20]);
    body.extend(number(wei));
    body.extend([0x80, 0xC0]);
    let mut raw = vec![0x02, 0xC0 + u8::try_from(body.len()).expect("short")];
    raw.extend(body);
    raw
}

pub(crate) fn signed(intent: Intent) -> SignedIntent {
    let key = person_key(&intent.initiator);
    SignedIntent::sign(intent, &key).expect("signs")
}

pub(crate) fn submission(intent: Intent) -> v1::SubmitRequest {
    v1::SubmitRequest {
        signed_intent: signed(intent).encode().into(),
    }
}

fn common(name: &str) -> Common {
    let credential = if name.contains(':') { "key" } else { "laptop" };
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).expect("random");
    Common {
        cluster: "c-test".into(),
        person: name.into(),
        credential: credential.into(),
        nonce,
        // Statements carry whole seconds.
        issued_ms: now_ms() / 1_000 * 1_000,
        expires_ms: now_ms() / 1_000 * 1_000 + 600_000,
    }
}

fn sign(statement: &Statement) -> prost::bytes::Bytes {
    let key = person_key(&statement.common().person);
    SignedStatement::sign(statement, &key)
        .expect("signs")
        .encode()
        .into()
}

/// A vote of `name` on what the coordinator shows.
pub(crate) fn vote(
    name: &str,
    intent: &Intent,
    policy: &PolicyHash,
    decision: Decision,
    lines: &[String],
) -> prost::bytes::Bytes {
    let approval = Approval::new(
        common(name),
        intent,
        *policy.as_bytes(),
        decision,
        lines.to_vec(),
    );
    sign(&Statement::Approval(approval))
}

pub(crate) fn cancellation(name: &str, request: [u8; 32]) -> prost::bytes::Bytes {
    sign(&Statement::Cancel(Cancel {
        common: common(name),
        request,
    }))
}

pub(crate) fn freeze(name: &str) -> prost::bytes::Bytes {
    sign(&Statement::Freeze(Freeze {
        common: common(name),
    }))
}

fn issue(authority: &Authority, base: &Path, name: &str, role: Role, names: &[&str]) -> SpkiPin {
    let issued = authority
        .issue(role, names, Validity::days(now_ms() / 1_000, 30))
        .expect("issues");
    write(&base.join(format!("{name}.pem")), &issued.cert_pem);
    write(&base.join(format!("{name}.key")), &issued.key_pem);
    issued.leaf.pin
}

impl Running {
    /// Ends it like a crash: nothing is finished that was not finished.
    pub(crate) fn crash(mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(10));
        }
    }

    /// Stops it as an operator would.
    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        let ended = self.ended.take().expect("runs");
        ended.await.expect("no panic").expect("ends well");
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A new cluster and its coordinator; made away from the test's own runtime.
pub(crate) fn start(options: &str) -> (Cluster, Running) {
    start_with(options, Cluster::new)
}

/// As [`start`], for a cluster made in this way.
pub(crate) fn start_with(options: &str, make: fn(&str) -> Cluster) -> (Cluster, Running) {
    let options = options.to_owned();
    let made = std::thread::spawn(move || {
        let cluster = make(&options);
        let running = cluster.start();
        (cluster, running)
    });
    made.join().expect("starts")
}

/// Another coordinator over the same store.
pub(crate) fn start_again(cluster: &Cluster) -> Running {
    std::thread::scope(|scope| scope.spawn(|| cluster.start()).join().expect("starts"))
}
