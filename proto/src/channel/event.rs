//! What happens on the channels that somebody should hear of.
use std::net::SocketAddr;

use tokio::sync::broadcast;

use super::{
    config::{ConfigError, identity_error},
    identity::{IdentityError, Peer, SpkiPin},
};

/// How many events a slow listener may lag behind before it loses the oldest.
const BACKLOG: usize = 256;

/// The two parts of a configuration that are replaced independently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Own certificate and key.
    Credential,
    /// The authority's certificates and revocation lists.
    Trust,
}

/// Why a handshake did not become a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The peer's certificate is not acceptable; the text is rustls' own.
    Certificate(String),
    /// Nothing acceptable within the deadline.
    Deadline,
    /// Too many unfinished handshakes, most of them from this address.
    Evicted,
    /// The certificate holds, but not for this end.
    Identity(IdentityError),
    /// The connection broke or was closed by the peer.
    Io(std::io::ErrorKind),
    /// The peer did not ask for HTTP/2.
    NoHttp2,
    /// What the peer sent is no acceptable TLS 1.3 handshake; the text is rustls' own.
    Tls(String),
    /// This key already has as many connections as it may.
    TooManyOfIdentity(SpkiPin),
    /// There are as many connections as there may be in total.
    TooManyInTotal,
}

impl Refusal {
    pub(crate) fn of_io(error: &std::io::Error) -> Self {
        let Some(tls) = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        else {
            return Self::Io(error.kind());
        };
        Self::of_tls(tls)
    }

    pub(crate) fn of_tls(error: &rustls::Error) -> Self {
        match (identity_error(error), error) {
            (Some(identity), _) => Self::Identity(identity.clone()),
            (
                None,
                rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented,
            ) => Self::Certificate(error.to_string()),
            (None, rustls::Error::NoApplicationProtocol) => Self::NoHttp2,
            (None, _) => Self::Tls(error.to_string()),
        }
    }
}

/// Why a live connection was closed from this end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// A fresh handshake with the same certificate would now be refused.
    NoLongerAdmitted(Refusal),
    /// Somebody asked for it.
    OnRequest,
}

/// Something that happened on a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A connection was closed from this end.
    ConnectionClosed {
        /// Whose it was.
        peer: Peer,
        /// Why.
        why: Closed,
    },
    /// New files were not taken into use; the previous configuration goes on.
    FilesKept {
        /// Which part; `None` if the files could not be read at all.
        part: Option<Part>,
        /// What is wrong with the new files.
        error: ConfigError,
    },
    /// New files are in use.
    FilesReplaced(Part),
    /// A connection attempt was refused.
    Refused {
        /// Where it came from.
        addr: SocketAddr,
        /// Why.
        why: Refusal,
    },
    /// The revocation list in use expired and no newer one is there: nobody is admitted any more.
    TrustExpired {
        /// When it expired, seconds since 1970.
        next_update: u64,
    },
}

/// Where events go: to the log, and to whoever subscribed.
#[derive(Clone, Debug)]
pub(crate) struct Events(broadcast::Sender<Event>);

impl Events {
    pub(crate) fn new() -> Self {
        Self(broadcast::Sender::new(BACKLOG))
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.0.subscribe()
    }

    pub(crate) fn emit(&self, event: Event) {
        match &event {
            Event::ConnectionClosed { peer, why } => {
                tracing::warn!(role = %peer.role, pin = %peer.pin, serial = %peer.serial, ?why, "connection closed");
            }
            Event::FilesKept { part, error } => {
                tracing::error!(?part, %error, "new tls files are not usable; the previous ones stay in use");
            }
            Event::FilesReplaced(part) => tracing::info!(?part, "new tls files in use"),
            Event::Refused { addr, why } => tracing::debug!(%addr, ?why, "connection refused"),
            Event::TrustExpired { next_update } => {
                tracing::error!(
                    next_update,
                    "the revocation list expired; nobody is admitted until a new one comes"
                );
            }
        }
        // Nobody listening is no fault.
        drop(self.0.send(event));
    }
}
