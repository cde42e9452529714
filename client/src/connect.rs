//! The one mutual-TLS channel to the coordinator.

use std::{
    collections::BTreeMap,
    future::Future,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use policy::cluster::ClusterFile;
use proto::{
    channel::{
        config::Files,
        dial::{self, DialError, Target},
        identity::SpkiPin,
    },
    v1::{operator_client::OperatorClient, quorate_client::QuorateClient},
};
use tonic::transport::Channel;

use crate::{
    admin::Wallet,
    error::{Error, Fix, Retry},
};

/// How long one call may take unless the options say otherwise; longer than a coordinator holds a submission back.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(20);

/// The largest answer that is read, in bytes.
const MAX_ANSWER: usize = 8 << 20;

/// Where to connect and as whom.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The cluster's public description: address, name and pins of the coordinator.
    pub cluster: PathBuf,
    /// Certificate authority and revocation list to trust, certificate and key to present; all PEM.
    pub tls: Files,
    /// How long one call may take.
    pub timeout: Duration,
}

impl Options {
    /// Options for explicit files.
    #[must_use]
    pub fn new(cluster: &Path, tls: Files) -> Self {
        Self {
            cluster: cluster.to_owned(),
            tls,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// Options for the layout that `quorate cluster init` writes: `ca/` and `IDENTITY/` beside the cluster file.
    #[must_use]
    pub fn beside(cluster: &Path, identity: &str) -> Self {
        let dir = cluster.parent().unwrap_or_else(|| Path::new("."));
        let own = dir.join(identity);
        let tls = Files {
            ca: dir.join("ca/ca.pem"),
            crl: dir.join("ca/crl.pem"),
            cert: own.join("tls.pem"),
            key: own.join("tls.key"),
        };
        Self::new(cluster, tls)
    }
}

/// A connection to one coordinator. Cheap to clone; clones share the connection.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
    address: String,
    cluster: Arc<ClusterFile>,
    timeout: Duration,
    wallets: Arc<Mutex<BTreeMap<String, Wallet>>>,
}

impl Client {
    /// Reads the cluster file and connects.
    ///
    /// The files of the identity are read again at every reconnection, so a renewed certificate needs no restart.
    ///
    /// # Errors
    /// [`Fix::Config`] for a wrong file, [`Fix::NotAuthorised`] when one side does not accept the other's certificate,
    /// [`Retry::Unreachable`] when nobody answers.
    pub async fn connect(options: &Options) -> Result<Self, Error> {
        let cluster = read_cluster(&options.cluster)?;
        let pins = cluster
            .coordinator
            .pins
            .iter()
            .map(|pin| SpkiPin::from_bytes(*pin))
            .collect();
        let address = cluster.coordinator.addr.clone();
        let target = Target::new(
            options.tls.clone(),
            cluster.cluster_id.clone(),
            &address,
            &cluster.coordinator.server_name,
            pins,
        );
        let channel = dial::connect(target)
            .await
            .map_err(|e| dial_error(options, &e))?;
        Ok(Self {
            channel,
            address,
            cluster: Arc::new(cluster),
            timeout: options.timeout,
            wallets: Arc::default(),
        })
    }

    /// The cluster's id.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        self.cluster.cluster_id.as_str()
    }

    /// The cluster's public description, as it was when this client connected.
    #[must_use]
    pub fn cluster(&self) -> &ClusterFile {
        &self.cluster
    }

    /// The coordinator's address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn api(&self) -> QuorateClient<Channel> {
        QuorateClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    pub(crate) fn operator(&self) -> OperatorClient<Channel> {
        OperatorClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    /// One call of the public service, with its deadline.
    pub(crate) async fn call<T, F>(
        &self,
        call: impl FnOnce(QuorateClient<Channel>) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        self.in_time(call(self.api())).await
    }

    /// One call of the operators' service, with its deadline.
    pub(crate) async fn call_operator<T, F>(
        &self,
        call: impl FnOnce(OperatorClient<Channel>) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        self.in_time(call(self.operator())).await
    }

    async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(self.timeout, answer).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(self.refused(&status)),
            Err(_late) => Err(Error::unreachable(
                &self.address,
                format_args!("no answer within {} ms", self.timeout.as_millis()),
            )),
        }
    }

    pub(crate) fn refused(&self, status: &tonic::Status) -> Error {
        match DialError::find(status) {
            Some(DialError::Refused { why, .. }) => Fix::NotAuthorised {
                message: format!("tls with {} failed: {why:?}", self.address),
            }
            .into(),
            _ => Error::from_status(&self.address, status),
        }
    }

    pub(crate) fn known_wallet(&self, id: &str) -> Option<Wallet> {
        self.wallets.lock().ok()?.get(id).cloned()
    }

    /// Keeps a wallet's key for good; a coordinator that later names another one is not believed.
    pub(crate) fn remember_wallet(&self, wallet: &Wallet) {
        if let Ok(mut known) = self.wallets.lock() {
            known
                .entry(wallet.id.clone())
                .or_insert_with(|| wallet.clone());
        }
    }
}

fn read_cluster(path: &Path) -> Result<ClusterFile, Error> {
    let wrong = |message: String| Fix::Config {
        path: path.to_owned(),
        message,
    };
    let bytes = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
    ClusterFile::parse(&bytes).map_err(|e| wrong(e.to_string()).into())
}

fn dial_error(options: &Options, error: &DialError) -> Error {
    match error {
        DialError::Files(_) | DialError::Name(_) => Fix::Config {
            path: options.tls.cert.clone(),
            message: error.to_string(),
        }
        .into(),
        DialError::Refused { .. } => Fix::NotAuthorised {
            message: error.to_string(),
        }
        .into(),
        DialError::Connect { addr, kind } => Error::unreachable(addr, kind),
        DialError::TimedOut { addr, .. } => Error::unreachable(addr, error),
        DialError::Transport(message) => Retry::Unavailable {
            message: message.clone(),
        }
        .into(),
    }
}
