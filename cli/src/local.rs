//! A whole cluster on this machine: one process per service, over loopback, in one directory.

mod life;
mod process;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use client::{Client, Options, PublicKey};
use policy::{
    document::PolicyHash,
    statement::{PolicyConsent, SignedStatement, Statement},
};
use proto::v1;

pub use self::{life::Ended, process::Process};
use crate::{
    args::ClusterInitArgs,
    fail::{Exit, Fail},
    init::{self, Made},
    layout::Layout,
    people,
    sample::{self, Sample},
};

/// How long services may take to find each other.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often to look whether they have.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A loopback address that nobody listens on at the moment.
///
/// # Errors
/// The machine has no port to give.
pub fn free_address() -> Result<SocketAddr, Fail> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|l| l.local_addr())
        .map_err(|e| Fail::failed(format_args!("no free loopback port: {e}")))
}

/// The services of one cluster. Dropping it kills them.
#[derive(Debug)]
pub struct LocalCluster {
    executable: PathBuf,
    made: Made,
    nodes: BTreeMap<u16, Process>,
    coordinator: Option<Process>,
    may_outlive: bool,
}

impl LocalCluster {
    /// Writes a cluster of three nodes, two of which must sign, under `dir`; starts nothing yet.
    ///
    /// # Errors
    /// The directory is in use.
    pub fn create(executable: &Path, dir: &Path, may_outlive: bool) -> Result<Self, Fail> {
        let args = ClusterInitArgs {
            dir: dir.to_owned(),
            nodes: 3,
            threshold: 2,
            minority_threshold: false,
            listen: free_address()?,
            people: Vec::new(),
            genesis_min: 2,
            days: 7,
        };
        Self::create_as(executable, &args, may_outlive)
    }

    /// Writes the cluster that is asked for; starts nothing yet.
    ///
    /// # Errors
    /// The directory is in use, or the numbers do not go together.
    pub fn create_as(
        executable: &Path,
        args: &ClusterInitArgs,
        may_outlive: bool,
    ) -> Result<Self, Fail> {
        Ok(Self {
            executable: executable.to_owned(),
            made: init::run(args)?,
            nodes: BTreeMap::new(),
            coordinator: None,
            may_outlive,
        })
    }

    /// Adds tables to the coordinator's configuration; takes effect at its next start.
    ///
    /// # Errors
    /// Its configuration cannot be written.
    pub fn configure_coordinator(&self, tables: &str) -> Result<(), Fail> {
        let path = self.layout().coordinator_config();
        let mut text = std::fs::read_to_string(&path).map_err(|e| Fail::read(&path, &e))?;
        text.push('\n');
        text.push_str(tables);
        std::fs::write(&path, text).map_err(|e| Fail::write(&path, &e))
    }

    /// What was written.
    #[must_use]
    pub const fn made(&self) -> &Made {
        &self.made
    }

    /// Where its files are.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.made.layout
    }

    /// The cluster's id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.made.cluster.cluster_id.as_str()
    }

    /// Starts the coordinator and every node, and waits until they have found each other.
    ///
    /// # Errors
    /// A service does not start.
    pub async fn start(&mut self) -> Result<(), Fail> {
        self.start_coordinator()?;
        for index in self.indexes() {
            self.start_node(index)?;
        }
        self.connected(self.made.cluster.nodes.len()).await
    }

    /// The index of every node.
    #[must_use]
    pub fn indexes(&self) -> Vec<u16> {
        self.made.cluster.nodes.iter().map(|n| n.index).collect()
    }

    /// Starts the coordinator.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn start_coordinator(&mut self) -> Result<(), Fail> {
        let layout = &self.made.layout;
        let process = Process::start(
            &self.executable,
            "coordinator",
            &layout.coordinator_config(),
            &layout.coordinator().join("log"),
            self.may_outlive,
        )?;
        self.coordinator = Some(process);
        Ok(())
    }

    /// Starts a node.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn start_node(&mut self, index: u16) -> Result<(), Fail> {
        let layout = &self.made.layout;
        let process = Process::start(
            &self.executable,
            "node",
            &layout.node_config(index),
            &layout.node(index).join("log"),
            self.may_outlive,
        )?;
        self.nodes.insert(index, process);
        Ok(())
    }

    /// Kills a node with SIGKILL.
    ///
    /// # Errors
    /// It does not run.
    pub fn crash_node(&mut self, index: u16) -> Result<(), Fail> {
        match self.nodes.remove(&index) {
            Some(process) => process.crash(),
            None => Err(Fail::failed(format_args!("node {index} does not run"))),
        }
    }

    /// Kills the coordinator with SIGKILL.
    ///
    /// # Errors
    /// It does not run.
    pub fn crash_coordinator(&mut self) -> Result<(), Fail> {
        match self.coordinator.take() {
            Some(process) => process.crash(),
            None => Err(Fail::failed("the coordinator does not run")),
        }
    }

    /// Connects with the `client` or the `operator` identity.
    ///
    /// # Errors
    /// The coordinator is not there.
    pub async fn client(&self, identity: &str) -> Result<Client, Fail> {
        Ok(Client::connect(&Options::beside(&self.layout().cluster(), identity)).await?)
    }

    /// Waits until exactly this many nodes are connected to the coordinator.
    ///
    /// # Errors
    /// A service has stopped, or it takes too long.
    pub async fn connected(&mut self, count: usize) -> Result<(), Fail> {
        let mut last = "the coordinator does not answer".to_owned();
        let until = deadline(PATIENCE)?;
        while Instant::now() < until {
            self.check()?;
            match self.client("client").await {
                Ok(client) => match client.cluster_info().await {
                    Ok(info) => {
                        let here = info.nodes.iter().filter(|n| n.connected).count();
                        if here == count {
                            return Ok(());
                        }
                        last = format!("{here} of {count} nodes are connected");
                    }
                    Err(error) => last = error.to_string(),
                },
                Err(fail) => last = fail.message,
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Err(Fail::new(
            Exit::Unavailable,
            format_args!(
                "the cluster is not complete after {} s: {last}",
                PATIENCE.as_secs()
            ),
        )
        .hint(format_args!(
            "read the logs under {}",
            self.layout().root().display()
        )))
    }

    /// Fails if a service that was started has stopped.
    ///
    /// # Errors
    /// One has.
    pub fn check(&mut self) -> Result<(), Fail> {
        self.nodes.values_mut().try_for_each(Process::check)?;
        self.coordinator.as_mut().map_or(Ok(()), Process::check)
    }

    /// Creates an Ed25519 key by a distributed key generation over all nodes.
    ///
    /// # Errors
    /// It fails.
    pub async fn create_key(&self, name: &str) -> Result<Key, Fail> {
        self.create_key_of(name, "ed25519").await
    }

    /// Creates a key of a scheme by a distributed key generation over all nodes.
    ///
    /// # Errors
    /// It fails.
    pub async fn create_key_of(&self, name: &str, scheme: &str) -> Result<Key, Fail> {
        let threshold = u32::from(self.made.cluster.threshold);
        self.create_key_on(&[], name, scheme, threshold).await
    }

    /// Creates a key on some of the nodes.
    ///
    /// # Errors
    /// It fails.
    pub async fn create_key_on(
        &self,
        nodes: &[u32],
        name: &str,
        scheme: &str,
        threshold: u32,
    ) -> Result<Key, Fail> {
        let client = self.client("operator").await?;
        let mut stages = Vec::new();
        let end = client
            .create_key_on(nodes, name, scheme, threshold, |told| {
                if stages.last() != Some(&told.stage) {
                    stages.push(told.stage.clone());
                }
            })
            .await?;
        Key::new(name, &end)
    }

    /// Signs a document as the first people that genesis asks for, installs it everywhere, and waits until it holds.
    ///
    /// # Errors
    /// The coordinator or a node refuses it.
    pub async fn install(&self, sample: &Sample) -> Result<PolicyHash, Fail> {
        let text = sample.render();
        std::fs::write(self.layout().policy(), &text)
            .map_err(|e| Fail::write(&self.layout().policy(), &e))?;
        let document = policy::document::Document::parse(text.as_bytes()).map_err(Fail::failed)?;
        let hash = PolicyHash::of(text.as_bytes());
        let mut statements = Vec::new();
        for person in sample.people.iter().take(usize::from(sample.quorum)) {
            let consent = PolicyConsent {
                common: people::common(self.id(), &person.id, sample::CREDENTIAL)?,
                policy_id: document.policy_id().as_str().to_owned(),
                version: document.version(),
                policy: *hash.as_bytes(),
            };
            statements.push(self.sign(&person.id, &Statement::Policy(consent))?);
        }
        let client = self.client("operator").await?;
        let info = client.install_policy(text.as_bytes(), &statements).await?;
        for node in &info.nodes {
            if let Some(failure) = &node.failure {
                return Err(Fail::failed(format_args!(
                    "node {} refused the policy: {}",
                    node.index, failure.message
                )));
            }
        }
        let until = deadline(PATIENCE)?;
        while Instant::now() < until {
            if client
                .policy(0)
                .await
                .is_ok_and(|p| p.hash[..] == hash.as_bytes()[..])
            {
                return Ok(hash);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Err(Fail::new(
            Exit::Unavailable,
            "the policy was installed and does not come into force",
        ))
    }

    /// Signs a statement with a sample person's key.
    ///
    /// # Errors
    /// The key file is not there.
    pub fn sign(&self, person: &str, statement: &Statement) -> Result<SignedStatement, Fail> {
        let key = people::read_key(&self.layout().person_key(person))?;
        SignedStatement::sign(statement, &key).map_err(Fail::failed)
    }

    /// The process id of a node, if it runs.
    #[must_use]
    pub fn node_process(&self, index: u16) -> Option<u32> {
        self.nodes.get(&index).map(Process::id)
    }

    /// The process id of the coordinator, if it runs.
    #[must_use]
    pub fn coordinator_process(&self) -> Option<u32> {
        self.coordinator.as_ref().map(Process::id)
    }

    /// The process ids of the services that run.
    #[must_use]
    pub fn process_ids(&self) -> Vec<u32> {
        self.nodes
            .values()
            .chain(&self.coordinator)
            .map(Process::id)
            .collect()
    }

    /// Lets every service run on after this process.
    pub fn release(self) {
        self.nodes.into_values().for_each(Process::release);
        if let Some(coordinator) = self.coordinator {
            coordinator.release();
        }
    }
}

/// A key that was generated.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: [u8; 32],
    /// Its public side.
    pub public: PublicKey,
}

impl Key {
    fn new(name: &str, end: &v1::DkgProgress) -> Result<Self, Fail> {
        let public = PublicKey::decode(&end.public_package)?;
        if public.id()[..] != end.key_id[..] || public.bytes() != end.public_key {
            return Err(Fail::new(
                Exit::Security,
                format_args!("the public key package of {name} is of another key"),
            ));
        }
        Ok(Self {
            name: name.to_owned(),
            id: public.id(),
            public,
        })
    }

    /// The Solana account of an Ed25519 key.
    ///
    /// # Errors
    /// It is of another scheme.
    pub fn solana(&self) -> Result<[u8; 32], Fail> {
        <[u8; 32]>::try_from(self.public.bytes())
            .map_err(|_| Fail::failed(format_args!("key {} is not an ed25519 key", self.name)))
    }
}

fn deadline(patience: Duration) -> Result<Instant, Fail> {
    Instant::now()
        .checked_add(patience)
        .ok_or_else(|| Fail::failed("the clock of this machine is out of range"))
}
