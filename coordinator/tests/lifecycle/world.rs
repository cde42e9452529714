//! The cluster that the tests work on: every service in a runtime of its own, so that it can be stopped as suddenly as a process.

use std::{
    collections::BTreeMap,
    future::Future,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ed25519_dalek::{Signature, SigningKey, VerifyingKey};
use mpc_core::identity::IdentityPublic;
use mpc_core::roster::Roster;
use policy::{
    chain::Address,
    cluster::{ClusterFile, CoordinatorEntry, GenesisEntry, Governor, NodeEntry},
    credential::CredentialKey,
    document::PolicyHash,
    governance::Matter,
    id::{ClusterId, CredentialId, PersonId},
    intent::{Intent, SignedIntent},
    solana::{Version, build},
    statement::{Common, Plan, PolicyConsent, SignedStatement, Statement},
};
use proto::{
    channel::{
        config::Files,
        dial::{self, Target},
        identity::{Role, SpkiPin},
        pki::{Authority, Validity, make_ca},
    },
    convert::reshare::{Draft, roster_of},
    keys::PublicKeyPackage,
    v1::{self, operator_client::OperatorClient, quorate_client::QuorateClient},
};
use signer_node::{
    config::Unlock,
    init::create_store,
    seal::{Owner, Secret},
    store::{Change, Store, StoreError, Table},
};
use tokio::{runtime::Runtime, sync::oneshot};
use tonic::{Status, transport::Channel};

const NAME: &str = "coordinator.test";
const CLUSTER: &str = "c-test";

/// Nothing in these tests takes longer.
const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.expect("after 1970").as_millis()).expect("fits")
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("writes");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("mode");
}

fn person_key(name: &str) -> SigningKey {
    let mut seed = [b'.'; 32];
    seed[..name.len()].copy_from_slice(name.as_bytes());
    SigningKey::from_bytes(&seed)
}

/// A service in a runtime of its own.
struct Service {
    runtime: Option<Runtime>,
}

impl Service {
    fn start(work: impl Future<Output = ()> + Send + 'static) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.spawn(work);
        Self {
            runtime: Some(runtime),
        }
    }

    /// Ends it like a crash: nothing is finished that was not finished.
    async fn crash(mut self) {
        let runtime = self.runtime.take().expect("runs");
        tokio::task::spawn_blocking(move || runtime.shutdown_timeout(Duration::from_secs(10)))
            .await
            .expect("ends");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

pub(crate) struct World {
    folder: tempfile::TempDir,
    authority: Authority,
    file: ClusterFile,
    coordinator: Option<Service>,
    nodes: BTreeMap<u16, Service>,
    payments: u8,
    policies: Vec<PolicyHash>,
}

impl World {
    /// A cluster of so many nodes, two of which sign, all of them running. Two governors have to sign an order.
    pub(crate) async fn new(nodes: u16) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let base = folder.path().to_path_buf();
        let cluster = ClusterId::parse(CLUSTER).expect("valid");
        let validity = Validity::days(now_ms() / 1_000, 30);
        let authority = make_ca(&cluster, validity).expect("an authority");
        write(&base.join("ca.pem"), authority.cert_pem());
        let crl = authority.crl(&[], 1, validity).expect("a list");
        write(&base.join("crl.pem"), &crl);
        write(&base.join("store.key"), &"07".repeat(32));
        let unlock = Unlock::KeyFile(base.join("store.key"));
        let entries: Vec<NodeEntry> = (1..=nodes)
            .map(|index| {
                let store = base.join(format!("node-{index}.db"));
                let made = create_store(&store, &unlock, &cluster).expect("a store");
                NodeEntry {
                    index,
                    identity: made.identity,
                    exchange: made.exchange,
                }
            })
            .collect();
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = free.local_addr().expect("bound").to_string();
        drop(free);
        let pin = issue(&authority, &base, "coordinator", Role::Coordinator, &[NAME]);
        let governors = ["erin", "frank"].map(|name| Governor {
            person: PersonId::parse(name).expect("valid"),
            credential: CredentialId::parse("laptop").expect("valid"),
            key: CredentialKey::Ed25519(person_key(name).verifying_key().to_bytes()),
        });
        let file = ClusterFile {
            cluster_id: cluster,
            threshold: 2,
            minority_threshold: true,
            coordinator: CoordinatorEntry {
                addr: addr.clone(),
                server_name: NAME.into(),
                pins: vec![*pin.as_bytes()],
            },
            nodes: entries,
            genesis: GenesisEntry {
                min: 2,
                governors: governors.to_vec(),
            },
        };
        write(&base.join("cluster.toml"), &file.render());
        let tls = "[tls]\nca = \"ca.pem\"\ncrl = \"crl.pem\"";
        let config = format!(
            "schema = 1\ncluster = \"cluster.toml\"\nlisten = \"{addr}\"\n[links]\nheartbeat = \"300ms\"\ndkg_timeout = \"30s\"\n{tls}\ncert = \"coordinator.pem\"\nkey = \"coordinator.key\"\n"
        );
        write(&base.join("coordinator.toml"), &config);
        for index in 1..=nodes {
            issue(
                &authority,
                &base,
                &format!("tls-{index}"),
                Role::Node(index),
                &[],
            );
            let config = format!(
                "schema = 1\nindex = {index}\ncluster = \"cluster.toml\"\nstore = \"node-{index}.db\"\n[unlock]\nkind = \"key-file\"\npath = \"store.key\"\n{tls}\ncert = \"tls-{index}.pem\"\nkey = \"tls-{index}.key\"\n[link]\nheartbeat = \"300ms\"\n"
            );
            write(&base.join(format!("node-{index}.toml")), &config);
        }
        let mut world = Self {
            folder,
            authority,
            file,
            coordinator: None,
            nodes: BTreeMap::new(),
            payments: 0,
            policies: Vec::new(),
        };
        world.start_coordinator().await;
        for index in 1..=nodes {
            world.start_node(index);
        }
        world.until_connected(usize::from(nodes)).await;
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) async fn start_coordinator(&mut self) {
        let config = coordinator::Config::load(&self.path("coordinator.toml")).expect("valid");
        let (ready, address) = oneshot::channel();
        self.coordinator = Some(Service::start(async move {
            let ended = coordinator::run_with_ready(config, ready, std::future::pending()).await;
            panic!("the coordinator ended: {ended:?}");
        }));
        address.await.expect("it starts");
    }

    pub(crate) async fn crash_coordinator(&mut self) {
        self.coordinator.take().expect("runs").crash().await;
    }

    /// As if the coordinator's disk had died.
    pub(crate) fn lose_store(&self) {
        for suffix in ["", "-wal", "-shm"] {
            let path = self.path(&format!("coordinator.db{suffix}"));
            assert!(!path.exists() || std::fs::remove_file(&path).is_ok());
        }
    }

    pub(crate) fn start_node(&mut self, index: u16) {
        let config = self.path(&format!("node-{index}.toml"));
        let config = signer_node::Config::load(&config).expect("valid");
        let service = Service::start(async move {
            let ended = signer_node::run(config, std::future::pending()).await;
            panic!("node {index} ended: {ended:?}");
        });
        self.nodes.insert(index, service);
    }

    pub(crate) async fn crash_node(&mut self, index: u16) {
        self.nodes.remove(&index).expect("runs").crash().await;
    }

    fn files(&self, role: Role) -> Files {
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

    async fn channel(&self, role: Role) -> Channel {
        let pins = self.file.coordinator.pins.iter();
        dial::connect(Target::new(
            self.files(role),
            self.file.cluster_id.clone(),
            &self.file.coordinator.addr,
            NAME,
            pins.map(|pin| SpkiPin::from_bytes(*pin)).collect(),
        ))
        .await
        .expect("connects")
    }

    pub(crate) async fn operator(&self) -> OperatorClient<Channel> {
        OperatorClient::new(self.channel(Role::Operator).await)
    }

    pub(crate) async fn until_connected(&self, nodes: usize) {
        let mut client = QuorateClient::new(self.channel(Role::Client).await);
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let cluster = client.get_cluster(v1::ClusterQuery {}).await;
            let infos = cluster.expect("answers").into_inner().nodes;
            let up = |info: &&v1::NodeInfo| info.connected && info.status.is_some();
            if infos.iter().filter(up).count() == nodes {
                return;
            }
            assert!(
                tokio::time::Instant::now() < end,
                "not connected: {infos:?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What the nodes say of themselves.
    pub(crate) async fn nodes(&self) -> Vec<v1::NodeInfo> {
        let mut client = QuorateClient::new(self.channel(Role::Client).await);
        let cluster = client.get_cluster(v1::ClusterQuery {}).await;
        cluster.expect("answers").into_inner().nodes
    }

    /// As if a check of a node with a peer had failed at this time. The node does not run.
    pub(crate) async fn poison(&self, node: u16, peer: u16, at_ms: u64) {
        let identity = |number: u16| {
            let entry = self.file.node(number).expect("a node");
            let public = IdentityPublic::from_bytes(&entry.identity).expect("a key");
            *public.node_id().as_bytes()
        };
        let secret = Secret::read(&Unlock::KeyFile(self.path("store.key"))).expect("a secret");
        let path = self.path(&format!("node-{node}.db"));
        let (store, contents, _) = loop {
            let owner = Owner::new(CLUSTER, identity(node));
            match Store::open(&path, &secret, owner) {
                Err(StoreError::Busy(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
                opened => break opened.expect("opens"),
            }
        };
        let mut key = vec![4];
        key.extend(identity(peer));
        key.extend(1_u32.to_be_bytes());
        key.extend([7; 32]);
        let why = "a check in a test";
        let length = u32::try_from(why.len()).expect("short").to_be_bytes();
        let body = [&key, &at_ms.to_be_bytes()[..], &length, why.as_bytes()].concat();
        let row = Change::Append {
            table: Table::Pairs,
            key,
            body,
        };
        let written = store.commit(vec![row], contents.mark.expect("it has run"));
        written.durable().await.expect("is written");
        drop(store);
        // Its writer lets go of the file a moment later.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    pub(crate) async fn create_key(&self, name: &str, scheme: &str, nodes: &[u32]) -> v1::KeyInfo {
        let request = v1::CreateKeyRequest {
            import: None,
            name: name.into(),
            scheme: scheme.into(),
            threshold: 2,
            nodes: nodes.to_vec(),
        };
        let mut stream = self
            .operator()
            .await
            .create_key(request)
            .await
            .expect("begins")
            .into_inner();
        let mut last = v1::DkgProgress::default();
        while let Some(progress) = stream.message().await.expect("goes on") {
            last = progress;
        }
        assert_eq!(last.stage, "active", "{:?}", last.failure);
        self.key(name).await
    }

    pub(crate) async fn key(&self, name: &str) -> v1::KeyInfo {
        let keys = self.operator().await.list_keys(v1::ListKeysQuery {}).await;
        let keys = keys.expect("answers").into_inner().keys;
        let found = keys.into_iter().find(|key| key.name == name);
        found.unwrap_or_default()
    }

    /// Waits until the key is as `wanted` says.
    pub(crate) async fn until(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&v1::KeyInfo) -> bool,
    ) {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let key = self.key(name).await;
            if wanted(&key) {
                return;
            }
            assert!(tokio::time::Instant::now() < end, "{what}: {key:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) fn roster(&self) -> Roster {
        roster_of(&self.file).expect("a roster")
    }

    /// The order for these keys, with up to four attempts each.
    pub(crate) fn plan(
        &self,
        keys: &[v1::KeyInfo],
        members: &[u16],
        threshold: u16,
        dealers: &[u16],
    ) -> Plan {
        let packages: Vec<PublicKeyPackage> = keys
            .iter()
            .map(|key| PublicKeyPackage::decode(&key.public_package).expect("a package"))
            .collect();
        let mut request = [0; 32];
        getrandom::fill(&mut request).expect("random");
        let draft = Draft {
            request,
            keys: keys
                .iter()
                .zip(&packages)
                .map(|(key, package)| {
                    (
                        key.name.as_str(),
                        package,
                        key.next_attempt,
                        key.next_attempt + 3,
                    )
                })
                .collect(),
            members: members.iter().copied().collect(),
            threshold,
            dealers: dealers.iter().copied().collect(),
            fresh_pairs: false,
        };
        draft.plan(&self.roster()).expect("a plan")
    }

    /// What these people sign, each their own statement.
    pub(crate) fn signed(matter: &Matter, people: &[&str]) -> v1::KeyOrderRequest {
        let sign = |name: &&str| {
            let statement = matter.clone().statement(common(name));
            let signed = SignedStatement::sign(&statement, &person_key(name));
            signed.expect("signs").encode().into()
        };
        v1::KeyOrderRequest {
            statements: people.iter().map(sign).collect(),
            dry_run: false,
        }
    }

    pub(crate) async fn submit(
        &self,
        order: v1::KeyOrderRequest,
    ) -> Result<v1::OrderStatus, Status> {
        let answer = self.operator().await.submit_order(order).await;
        answer.map(tonic::Response::into_inner)
    }

    /// Has both governors order it.
    pub(crate) async fn order(&self, plan: Plan) -> v1::OrderStatus {
        let order = Self::signed(&Matter::Reshare(plan), &["erin", "frank"]);
        self.submit(order).await.expect("is taken")
    }

    /// Follows an order to its end.
    pub(crate) async fn ended(&self, request: [u8; 32]) -> v1::OrderStatus {
        let query = v1::OrderQuery {
            request_id: request.to_vec().into(),
        };
        let follow = async {
            let mut stream = self
                .operator()
                .await
                .watch_order(query)
                .await
                .expect("there")
                .into_inner();
            let mut keys: BTreeMap<Vec<u8>, v1::OrderKey> = BTreeMap::new();
            let mut last = v1::OrderStatus::default();
            while let Some(status) = stream.message().await.expect("goes on") {
                for key in &status.keys {
                    keys.insert(key.key_id.to_vec(), key.clone());
                }
                last = status;
            }
            last.keys = keys.into_values().collect();
            last
        };
        tokio::time::timeout(PATIENCE, follow)
            .await
            .expect("it ends")
    }

    pub(crate) async fn done(&self, plan: Plan) -> v1::OrderStatus {
        let request = plan.request;
        self.order(plan).await;
        let end = self.ended(request).await;
        assert_eq!(end.state, "done", "{end:?}");
        end
    }

    /// A policy with a wallet on this Ed25519 key; `more` are more lines of the wallet.
    pub(crate) async fn install_policy(&mut self, key: &v1::KeyInfo, more: &str) {
        let people: String = ["erin", "frank"]
            .map(|name| {
                let key = hex::encode(person_key(name).verifying_key().to_bytes());
                format!("[[person]]\nid = \"{name}\"\ngroups = [\"security\"]\n[[person.credential]]\nid = \"laptop\"\nkind = \"ed25519\"\nkey = \"{key}\"\n")
            })
            .concat();
        let machine = hex::encode(person_key("svc:payout").verifying_key().to_bytes());
        let text = format!(
            "schema = 1\npolicy_id = \"main\"\nversion = 1\ncluster_id = \"{CLUSTER}\"\nnot_before = \"2020-01-01T00:00:00Z\"\n\
             [governance]\ntighten = {{ quorum = [{{ group = \"security\", min = 2 }}] }}\nloosen = {{ quorum = [{{ group = \"security\", min = 2 }}], delay = \"0s\" }}\n\
             freeze = {{ any_of = [\"security\"] }}\nunfreeze = {{ quorum = [{{ group = \"security\", min = 2 }}], delay = \"0s\" }}\n\
             {people}[[machine]]\nid = \"svc:payout\"\ngroups = []\nkey = \"{machine}\"\n\
             [[wallet]]\nid = \"hot\"\nkey_id = \"{}\"\nchain = \"solana:devnet\"\nkinds = [\"transfer\"]\nmax_fee = \"100000\"\n{more}\n\
             [[rule]]\nid = \"all\"\neffect = \"allow\"\nmatch = {{ wallet = \"hot\", kind = [\"transfer\"], to = \"any\", initiator = [\"svc:payout\"] }}\n\
             limits = [{{ scope = \"wallet\", window = \"24h\", asset = \"native\", max = \"2000000000\" }}]\n",
            hex::encode(&key.key_id)
        );
        let hash = PolicyHash::of(text.as_bytes());
        let sign = |name: &str| {
            let consent = Statement::Policy(PolicyConsent {
                common: common(name),
                policy_id: "main".into(),
                version: 1,
                policy: *hash.as_bytes(),
            });
            let signed = SignedStatement::sign(&consent, &person_key(name));
            signed.expect("signs").encode().into()
        };
        let install = v1::InstallPolicy {
            signatures: vec![sign("erin"), sign("frank")],
            document: text.into_bytes().into(),
        };
        let info = self.operator().await.install_policy(install).await;
        assert!(info.expect("installed").into_inner().active);
        self.policies.push(hash);
    }

    /// Has the wallet pay, and verifies the signature under the key's public key.
    pub(crate) async fn pay(&mut self, key: &v1::KeyInfo) -> v1::RequestStatus {
        self.payments += 1;
        let public: [u8; 32] = key.public_key.as_ref().try_into().expect("32 bytes");
        let raw_tx = build::transfer(
            Address::from_bytes(public),
            Address::from_bytes([9; 32]),
            1_000,
            [self.payments; 32],
            Version::V0,
        );
        let intent = Intent {
            cluster_id: CLUSTER.into(),
            key_id: key.key_id.as_ref().try_into().expect("32 bytes"),
            wallet: "hot".into(),
            chain: "solana:devnet".into(),
            raw_tx: raw_tx.expect("builds"),
            initiator: "svc:payout".into(),
            idempotency_key: format!("pay-{}", self.payments),
            created_ms: now_ms(),
            expires_ms: now_ms() + 600_000,
            note: String::new(),
        };
        let message = intent.raw_tx.clone();
        let signed = SignedIntent::sign(intent, &person_key("svc:payout")).expect("signs");
        let mut client = QuorateClient::new(self.channel(Role::Client).await);
        let submit = v1::SubmitRequest {
            signed_intent: signed.encode().into(),
        };
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let status = client
                .submit(submit.clone())
                .await
                .expect("is taken")
                .into_inner();
            if status.state() == v1::RequestState::Released {
                let signature = Signature::from_slice(&status.signature).expect("64 bytes");
                let public = VerifyingKey::from_bytes(&public).expect("a point");
                public
                    .verify_strict(&message, &signature)
                    .expect("the key's signature");
                return status;
            }
            assert!(
                matches!(
                    status.state(),
                    v1::RequestState::Reserved
                        | v1::RequestState::Signing
                        | v1::RequestState::Announced
                ),
                "{status:?}"
            );
            assert!(tokio::time::Instant::now() < end, "{status:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

pub(crate) fn common(name: &str) -> Common {
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).expect("random");
    Common {
        cluster: CLUSTER.into(),
        person: name.into(),
        credential: "laptop".into(),
        nonce,
        // Statements carry whole seconds.
        issued_ms: now_ms() / 1_000 * 1_000,
        expires_ms: now_ms() / 1_000 * 1_000 + 600_000,
    }
}

fn issue(authority: &Authority, base: &Path, name: &str, role: Role, names: &[&str]) -> SpkiPin {
    let validity = Validity::days(now_ms() / 1_000, 30);
    let issued = authority.issue(role, names, validity).expect("issues");
    write(&base.join(format!("{name}.pem")), &issued.cert_pem);
    write(&base.join(format!("{name}.key")), &issued.key_pem);
    issued.leaf.pin
}
