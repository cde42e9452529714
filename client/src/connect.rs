//! The one mutual-TLS channel to the coordinator.

use std::{
    collections::BTreeMap,
    future::Future,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use proto::v1::{operator_client::OperatorClient, quorate_client::QuorateClient};
use tonic::transport::Channel;

use crate::{
    admin::Wallet,
    error::{Error, Fix, Retry},
};

/// How long one call may take unless the options say otherwise; longer than a coordinator holds a submission back.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(20);

/// Where to connect and as whom.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The cluster's public description: address, name and pins of the coordinator.
    pub cluster: PathBuf,
    /// Certificate authority and revocation list to trust, certificate and key to present; all PEM.
    pub tls: proto::channel::Files,
    /// How long one call may take.
    pub timeout: Duration,
}

impl Options {
    /// Options for explicit files.
    #[must_use]
    pub fn new(cluster: &Path, tls: proto::channel::Files) -> Self {
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
        let tls = proto::channel::Files {
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
    cluster_id: String,
    timeout: Duration,
    wallets: Arc<Mutex<BTreeMap<String, Wallet>>>,
}
