//! The dialling end of the outer channel: how nodes, clients and operators reach the coordinator.
//!
//! Every connection, also every reconnection that tonic makes by itself, reads the files again. A connection is closed
//! from this end too once the coordinator's certificate would no longer be accepted.
use std::{error::Error as _, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use policy::id::ClusterId;
use rustls::{
    client::danger::ServerCertVerifier,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use thiserror::Error;
use tokio::{
    net::TcpStream,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::{Channel, Endpoint};

use super::{
    config::{ALPN, ConfigError, Files, client_config},
    event::{Event, Events, Refusal},
    identity::{RoleKind, SpkiPin},
    reload::Reloader,
    stream::Closable,
};

/// The coordinator to dial, and what is accepted as its proof.
#[derive(Clone, Debug)]
pub struct Target {
    /// Own certificate and key, the authority and its revocation lists.
    pub files: Files,
    /// The cluster whose coordinator is meant.
    pub cluster: ClusterId,
    /// Where to connect: `host:port`.
    pub addr: String,
    /// The DNS name or IP address in the coordinator's certificate.
    pub server_name: String,
    /// The keys it may have; none means that nothing is accepted.
    pub pins: Vec<SpkiPin>,
    /// How long connecting and the handshake may take together.
    pub deadline: Duration,
    /// How often a live connection is judged again; a second is a good value.
    pub poll: Duration,
}

impl Target {
    /// A target with the usual times: 5 s to connect, judged again every second.
    #[must_use]
    pub fn new(
        files: Files,
        cluster: ClusterId,
        addr: &str,
        server_name: &str,
        pins: Vec<SpkiPin>,
    ) -> Self {
        Self {
            files,
            cluster,
            addr: addr.to_owned(),
            server_name: server_name.to_owned(),
            pins,
            deadline: Duration::from_secs(5),
            poll: Duration::from_secs(1),
        }
    }
}

/// Why the coordinator could not be reached.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DialError {
    /// Own files are not in order.
    #[error(transparent)]
    Files(#[from] ConfigError),
    /// The server name is neither a DNS name nor an IP address.
    #[error("server name {0:?} is neither a dns name nor an ip address")]
    Name(String),
    /// The coordinator could not be connected to.
    #[error("cannot connect to {addr}: {kind}; check the address and that the coordinator runs")]
    Connect {
        /// Where.
        addr: String,
        /// What the system said.
        kind: std::io::ErrorKind,
    },
    /// The coordinator's proof was not accepted, or it did not accept ours.
    #[error("tls handshake with {addr} failed: {why:?}")]
    Refused {
        /// Where.
        addr: String,
        /// Why.
        why: Refusal,
    },
    /// No connection within the deadline.
    #[error("no connection to {addr} within {} ms", deadline.as_millis())]
    TimedOut {
        /// Where.
        addr: String,
        /// How long was waited.
        deadline: Duration,
    },
    /// Something in between failed that is none of the above.
    #[error("transport: {0}")]
    Transport(String),
}

impl DialError {
    /// The dial error behind a transport error, if a dial was what failed.
    #[must_use]
    pub fn find<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            next = error.source();
        }
        None
    }
}

/// The roles that dial.
const OWN: [RoleKind; 3] = [RoleKind::Client, RoleKind::Node, RoleKind::Operator];

fn endpoint() -> Endpoint {
    // The scheme says that tonic adds no TLS of its own; the connector decides where the bytes go.
    Endpoint::from_static("http://coordinator")
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .http2_max_header_list_size(16 << 10)
}

/// Connects now.
///
/// In TLS 1.3 the client is done before the server has judged its certificate: a refusal of our certificate may show
/// only at the first request.
///
/// # Errors
/// Why the first connection failed. Later ones show as a status of the request, see [`DialError::find`].
pub async fn connect(target: Target) -> Result<Channel, DialError> {
    let target = Arc::new(target);
    endpoint()
        .connect_with_connector(tower::service_fn(move |_| dial(target.clone())))
        .await
        .map_err(|error| {
            let found = error.source().and_then(DialError::find);
            found
                .cloned()
                .unwrap_or_else(|| DialError::Transport(format!("{error:?}")))
        })
}

/// Connects at the first request.
#[must_use]
pub fn connect_lazy(target: Target) -> Channel {
    let target = Arc::new(target);
    endpoint().connect_with_connector_lazy(tower::service_fn(move |_| dial(target.clone())))
}

type Dialled = TokioIo<Closable<TlsStream<TcpStream>, DropGuard>>;

async fn dial(target: Arc<Target>) -> Result<Dialled, DialError> {
    let timed_out = |_| DialError::TimedOut {
        addr: target.addr.clone(),
        deadline: target.deadline,
    };
    timeout(target.deadline, dial_now(&target))
        .await
        .map_err(timed_out)?
}

async fn dial_now(target: &Arc<Target>) -> Result<Dialled, DialError> {
    let (files, cluster) = (target.files.clone(), target.cluster.clone());
    let files =
        tokio::task::spawn_blocking(move || Reloader::load(files, cluster, &OWN, UnixTime::now()))
            .await
            .map_err(|error| DialError::Transport(error.to_string()))??;
    let name = ServerName::try_from(target.server_name.clone())
        .map_err(|_| DialError::Name(target.server_name.clone()))?;
    let verifier = files
        .trust()
        .server_verifier(&target.cluster, &target.pins)?;
    let connector = TlsConnector::from(client_config(files.credential(), verifier.clone())?);
    let tcp = TcpStream::connect(&target.addr)
        .await
        .and_then(|tcp| tcp.set_nodelay(true).map(|()| tcp))
        .map_err(|error| DialError::Connect {
            addr: target.addr.clone(),
            kind: error.kind(),
        })?;
    let refused = |why| DialError::Refused {
        addr: target.addr.clone(),
        why,
    };
    let tls = connector
        .connect(name.clone(), tcp)
        .await
        .map_err(|error| refused(Refusal::of_io(&error)))?;
    let (_, session) = tls.get_ref();
    if session.alpn_protocol() != Some(ALPN) {
        return Err(refused(Refusal::NoHttp2));
    }
    let chain = session
        .peer_certificates()
        .map(<[_]>::to_vec)
        .unwrap_or_default();
    let close = CancellationToken::new();
    let judge = Judge {
        target: target.clone(),
        files,
        verifier,
        chain,
        name,
    };
    tokio::spawn(judge.watch(close.clone()));
    Ok(TokioIo::new(Closable::new(
        tls,
        close.clone(),
        close.drop_guard(),
    )))
}

/// Judges one live connection to the coordinator again and again.
struct Judge {
    target: Arc<Target>,
    files: Reloader,
    verifier: Arc<dyn ServerCertVerifier>,
    chain: Vec<CertificateDer<'static>>,
    name: ServerName<'static>,
}

impl Judge {
    /// Ends with the connection, or ends the connection.
    async fn watch(mut self, close: CancellationToken) {
        let events = Events::new();
        let mut ticks = interval(self.target.poll.max(Duration::from_millis(10)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = close.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let (quiet, mut files) = (events.clone(), self.files);
            let polled = tokio::task::spawn_blocking(move || {
                let changed = files.poll(UnixTime::now(), &quiet);
                (files, changed)
            });
            let Ok((files, changed)) = polled.await else {
                close.cancel();
                return;
            };
            self.files = files;
            for part in changed.parts() {
                events.emit(Event::FilesReplaced(part));
            }
            if changed.trust
                && let Ok(verifier) = self
                    .files
                    .trust()
                    .server_verifier(&self.target.cluster, &self.target.pins)
            {
                self.verifier = verifier;
            }
            if let Err(error) = self.verdict() {
                tracing::warn!(addr = self.target.addr, %error, "connection to the coordinator closed");
                close.cancel();
                return;
            }
        }
    }

    fn verdict(&self) -> Result<(), rustls::Error> {
        let (leaf, rest) = self
            .chain
            .split_first()
            .ok_or(rustls::Error::NoCertificatesPresented)?;
        let now = UnixTime::now();
        self.verifier
            .verify_server_cert(leaf, rest, &self.name, &[], now)
            .map(drop)
    }
}
