//! The listening end of the outer channel: handshakes, caps, and the closing of connections that lost their admission.
//!
//! One rule decides about every connection at every moment: it stays open exactly as long as a fresh handshake with the
//! same certificate would be accepted. Handshakes use the configuration in use when they start and are judged again if
//! it changed meanwhile; live connections are judged again whenever the files change or something expires.
use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use arc_swap::ArcSwap;
use policy::id::ClusterId;
use rustls::{ServerConfig, pki_types::UnixTime, server::danger::ClientCertVerifier};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{broadcast, mpsc},
    task::{AbortHandle, JoinSet},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::Stream;
use tonic::transport::server::Connected;

use super::{
    config::{ALPN, ConfigError, Files, server_config},
    event::{Event, Events, Refusal},
    identity::{Leaf, Peer, RoleKind, SpkiPin},
    registry::{Chain, Registration, Registry},
    reload::Reloader,
    stream::Closable,
};

/// How long the accept loop waits after the system refused to accept, for want of file descriptors for instance.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Every how many polls all connections are judged again, whether anything is known to have changed or not.
const FULL_ROUND: u32 = 60;

/// Finished connections that wait for the server to take them.
const HANDOVER: usize = 16;

/// How much the outside may ask of an acceptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a handshake may take.
    pub handshake: Duration,
    /// How many handshakes may be unfinished at once. When one more comes, the oldest one of the address with the most
    /// of them is dropped.
    pub handshakes: usize,
    /// How many connections may be open in total.
    pub connections: usize,
    /// How many connections one key may have open.
    pub per_identity: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            handshakes: 64,
            connections: 1024,
            per_identity: 16,
        }
    }
}

/// What an acceptor is to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Own certificate and key, the authority and its revocation lists.
    pub files: Files,
    /// The cluster whose certificates are accepted.
    pub cluster: ClusterId,
    /// The roles that are accepted.
    pub roles: Vec<RoleKind>,
    /// How much the outside may ask.
    pub limits: Limits,
    /// How often the files are read again; a second is a good value.
    pub poll: Duration,
}

impl Options {
    /// The usual options of a coordinator: nodes, clients and operators are accepted.
    #[must_use]
    pub fn coordinator(files: Files, cluster: ClusterId) -> Self {
        Self {
            files,
            cluster,
            roles: vec![RoleKind::Client, RoleKind::Node, RoleKind::Operator],
            limits: Limits::default(),
            poll: Duration::from_secs(1),
        }
    }
}

/// A server with the transport limits that go with this acceptor. Message sizes are set per service.
#[must_use]
pub fn server() -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .concurrency_limit_per_connection(64)
        .max_concurrent_streams(64)
        .load_shed(true)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .http2_max_header_list_size(16 << 10)
        .http2_max_pending_accept_reset_streams(Some(20))
        .http2_keepalive_interval(Some(Duration::from_secs(10)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
}

/// What handshakes use and connections are judged by.
#[derive(Debug)]
struct Live {
    config: Arc<ServerConfig>,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl Live {
    fn new(files: &Reloader, options: &Options) -> Result<Self, ConfigError> {
        let verifier = files
            .trust()
            .client_verifier(&options.cluster, &options.roles)?;
        let config = server_config(files.credential(), verifier.clone())?;
        Ok(Self { config, verifier })
    }

    fn judge(&self, chain: &Chain) -> Result<(), Refusal> {
        self.verifier
            .verify_client_cert(&chain.leaf, &chain.rest, UnixTime::now())
            .map(drop)
            .map_err(|error| Refusal::of_tls(&error))
    }
}

#[derive(Debug)]
struct Shared {
    options: Options,
    live: ArcSwap<Live>,
    registry: Registry,
    events: Events,
}

/// The connections that were accepted, for `serve_with_incoming`. Dropping it stops the listening; connections that
/// were already taken go on, but no certificate is judged again.
#[derive(Debug)]
pub struct Incoming {
    connections: mpsc::Receiver<io::Result<Connection>>,
    _tasks: JoinSet<()>,
}

impl Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.connections.poll_recv(cx)
    }
}

/// Looks at an acceptor from outside.
#[derive(Clone, Debug)]
pub struct Monitor(Arc<Shared>);

impl Monitor {
    /// Events from now on. A listener that falls far behind loses the oldest.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.0.events.subscribe()
    }

    /// Who is connected.
    #[must_use]
    pub fn peers(&self) -> Vec<Peer> {
        self.0.registry.peers()
    }

    /// Closes every connection of one key; returns how many there were.
    #[must_use]
    pub fn close(&self, pin: SpkiPin) -> usize {
        self.0.registry.close(pin, &self.0.events)
    }
}

/// Starts to accept. Must be called inside a tokio runtime; reads the files once before it returns.
///
/// # Errors
/// What is wrong with the files.
pub fn accept(listener: TcpListener, options: Options) -> Result<(Incoming, Monitor), ConfigError> {
    let files = Reloader::load(
        options.files.clone(),
        options.cluster.clone(),
        &[RoleKind::Coordinator],
        UnixTime::now(),
    )?;
    let live = ArcSwap::from_pointee(Live::new(&files, &options)?);
    let shared = Arc::new(Shared {
        options,
        live,
        registry: Registry::default(),
        events: Events::new(),
    });
    let (sender, connections) = mpsc::channel(HANDOVER);
    let mut tasks = JoinSet::new();
    tasks.spawn(listen(listener, shared.clone(), sender));
    tasks.spawn(watch(files, shared.clone()));
    Ok((
        Incoming {
            connections,
            _tasks: tasks,
        },
        Monitor(shared),
    ))
}

/// Accepts for ever. No error of one connection, and none of the system, ends the loop.
async fn listen(
    listener: TcpListener,
    shared: Arc<Shared>,
    sender: mpsc::Sender<io::Result<Connection>>,
) {
    let mut tasks = JoinSet::new();
    let mut unfinished = Unfinished::default();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((tcp, addr)) => {
                    if let Some((addr, victim)) = unfinished.make_room(shared.options.limits.handshakes) {
                        victim.abort();
                        shared.events.emit(Event::Refused { addr, why: Refusal::Evicted });
                    }
                    let (shared, sender) = (shared.clone(), sender.clone());
                    let task = tasks.spawn(async move {
                        match handshake(tcp, addr, &shared).await {
                            // A closed channel means that the server is gone, and the connection with it.
                            Ok(connection) => drop(sender.send(Ok(connection)).await),
                            Err(why) => shared.events.emit(Event::Refused { addr, why }),
                        }
                    });
                    unfinished.0.push_back((addr, task));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection; going on");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = tasks.join_next() => {}
        }
    }
}

/// Handshakes that are under way, oldest first.
#[derive(Debug, Default)]
struct Unfinished(VecDeque<(SocketAddr, AbortHandle)>);

impl Unfinished {
    /// Makes room for one more; returns the one that has to go for it.
    fn make_room(&mut self, most: usize) -> Option<(SocketAddr, AbortHandle)> {
        self.0.retain(|(_, task)| !task.is_finished());
        if self.0.len() < most {
            return None;
        }
        let mut counts: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for (addr, _) in &self.0 {
            let count = counts.entry(addr.ip()).or_default();
            *count = count.saturating_add(1);
        }
        let (crowded, _) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        let oldest = self.0.iter().position(|(addr, _)| addr.ip() == crowded)?;
        self.0.remove(oldest)
    }
}

async fn handshake(
    tcp: TcpStream,
    addr: SocketAddr,
    shared: &Arc<Shared>,
) -> Result<Connection, Refusal> {
    let limits = &shared.options.limits;
    tcp.set_nodelay(true)
        .map_err(|error| Refusal::of_io(&error))?;
    let live = shared.live.load_full();
    let tls = timeout(
        limits.handshake,
        TlsAcceptor::from(live.config.clone()).accept(tcp),
    )
    .await
    .map_err(|_| Refusal::Deadline)?
    .map_err(|error| Refusal::of_io(&error))?;
    let (_, session) = tls.get_ref();
    if session.alpn_protocol() != Some(ALPN) {
        return Err(Refusal::NoHttp2);
    }
    let certificates = session.peer_certificates().and_then(<[_]>::split_first);
    let (leaf, rest) =
        certificates.ok_or_else(|| Refusal::Certificate("none presented".to_owned()))?;
    let read = Leaf::read(leaf, &shared.options.cluster).map_err(Refusal::Identity)?;
    let peer = Peer {
        role: read.role,
        pin: read.pin,
        serial: read.serial,
        addr,
    };
    let chain = Arc::new(Chain {
        leaf: leaf.clone(),
        rest: rest.to_vec(),
        not_after: read.not_after,
    });
    let registration = shared.registry.register(
        peer.clone(),
        chain.clone(),
        limits.connections,
        limits.per_identity,
    )?;
    // A sweep judges what is registered after the swap of the configuration. What registers later sees the swap here.
    let now = shared.live.load_full();
    if !Arc::ptr_eq(&live, &now) {
        now.judge(&chain)?;
    }
    Ok(Connection {
        io: Closable::new(tls, registration.close.clone(), registration),
        peer,
    })
}

/// Polls the files and judges the live connections again when it may make a difference.
async fn watch(mut files: Reloader, shared: Arc<Shared>) {
    let mut ticks = interval(shared.options.poll.max(Duration::from_millis(10)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for round in (0..FULL_ROUND).cycle() {
        ticks.tick().await;
        let events = shared.events.clone();
        let polled = tokio::task::spawn_blocking(move || {
            let changed = files.poll(UnixTime::now(), &events);
            (files, changed)
        });
        let Ok((back, changed)) = polled.await else {
            // Only a panic or the end of the runtime leads here, and neither can be repaired from within.
            tracing::error!(
                "the watcher of the tls files ended; changes are no longer taken into use"
            );
            return;
        };
        files = back;
        if changed.trust || changed.credential {
            match Live::new(&files, &shared.options) {
                Ok(live) => {
                    shared.live.store(Arc::new(live));
                    for part in changed.parts() {
                        shared.events.emit(Event::FilesReplaced(part));
                    }
                }
                Err(error) => shared.events.emit(Event::FilesKept { part: None, error }),
            }
        }
        let live = shared.live.load_full();
        let now = UnixTime::now().as_secs();
        shared.registry.sweep(&shared.events, |chain| {
            if changed.any() || round == 0 || now > chain.not_after {
                live.judge(chain)
            } else {
                Ok(())
            }
        });
    }
}

/// An accepted connection of an authenticated peer.
#[derive(Debug)]
pub struct Connection {
    io: Closable<TlsStream<TcpStream>, Registration>,
    peer: Peer,
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
