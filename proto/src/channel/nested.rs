//! The session between two nodes that no relay can read: TLS 1.3 inside the frames that the coordinator passes on.
//!
//! Both sides present a self-signed certificate over their roster identity key, and each accepts exactly the one key that
//! the roster names for the other: no authority, no names, no dates. [`Tunnel`] does no input or output and reads no
//! clock: bytes of the peer go in through [`Tunnel::feed`], bytes for the peer come out of every call. Whoever drives it
//! sets the deadlines and starts a new tunnel, with a new connection id, after an error.
//!
//! # Security
//! The relay sees sizes, order and time. Whatever it changes, drops, repeats or reorders ends the session with a typed
//! error before any byte of the affected record is handed out. Contents of messages are wiped on drop; buffers inside
//! rustls are not under our control.
mod pinned;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    fmt,
    io::{Read as _, Write as _},
    sync::Arc,
};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ED25519};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection,
    client::Resumption,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
    server::NoServerSessionStorage,
    version::TLS13,
};
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

use self::pinned::{Own, Pinned};
use super::{config::provider, key};

/// The protocol name of this session; it is never offered or accepted outside of a tunnel.
pub const ALPN: &[u8] = b"quorate-peer/1";

/// The longest message, in bytes.
pub const MAX_MESSAGE: usize = 1 << 20;

/// The most bytes that may be fed at once: what one frame carries. Longer output is sent in several frames.
pub const MAX_CHUNK: usize = crate::limits::TUNNEL_DATA;

/// The most bytes of messages that may wait for the handshake to finish.
pub const MAX_WAITING: usize = 4 << 20;

/// Bytes of the length before every message.
const PREFIX: usize = 4;

/// Why a tunnel ended, or why one call was refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TunnelError {
    /// The session was closed by this side or ended by an earlier error.
    #[error("the tunnel has ended; start another")]
    Ended,
    /// The peer's key is not the one in the roster.
    #[error(
        "the peer's key is not the one in the roster; the relay may be connecting the wrong nodes"
    )]
    WrongPeer,
    /// The peer did not agree to the protocol of this tunnel.
    #[error("the peer does not speak quorate-peer/1; check the versions of both nodes")]
    WrongProtocol,
    /// The own identity key cannot be used.
    #[error("own identity key cannot be used: {0}")]
    Identity(String),
    /// A message or chunk is longer than allowed. The session is unharmed if it was ours, over if it was the peer's.
    #[error("{what} of {size} bytes; at most {most} are allowed")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The most there may be.
        most: usize,
    },
    /// TLS failed: bytes were changed, dropped, repeated, reordered, or were no TLS 1.3. The text is rustls' own.
    #[error("nested tls failed: {0}")]
    Tls(String),
    /// The session ended inside a message.
    #[error("the session ended inside a message")]
    Truncated,
}

impl TunnelError {
    fn of(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure) => {
                Self::WrongPeer
            }
            rustls::Error::NoApplicationProtocol => Self::WrongProtocol,
            _ => Self::Tls(error.to_string()),
        }
    }
}

/// A node's identity key, ready for tunnels: a self-signed certificate and a signing key that rustls holds.
#[derive(Clone)]
pub struct TunnelIdentity {
    key: Arc<rustls::sign::CertifiedKey>,
    public: [u8; 32],
}

impl fmt::Debug for TunnelIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TunnelIdentity").finish_non_exhaustive()
    }
}

impl TunnelIdentity {
    /// From the 32-byte seed of an Ed25519 identity key.
    ///
    /// # Errors
    /// [`TunnelError::Identity`] if the certificate cannot be made.
    pub fn from_seed(seed: &Zeroizing<[u8; 32]>) -> Result<Self, TunnelError> {
        Self::from_pkcs8(&key::pkcs8(seed)[..])
    }

    /// From the DER of a PKCS#8 Ed25519 private key.
    ///
    /// # Errors
    /// [`TunnelError::Identity`] if it is none.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, TunnelError> {
        let bad = |error: String| TunnelError::Identity(error);
        let der = PrivatePkcs8KeyDer::from(der);
        let mut pair = KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ED25519)
            .map_err(|e| bad(e.to_string()))?;
        let cert = self_signed(&pair);
        let public = pair
            .public_key_raw()
            .try_into()
            .map_err(|_| bad("not ed25519".to_owned()));
        pair.zeroize();
        let key = provider()
            .key_provider
            .load_private_key(PrivateKeyDer::Pkcs8(der.clone_key()))
            .map_err(|e| bad(e.to_string()))?;
        let cert = cert.map_err(|e| bad(e.to_string()))?;
        Ok(Self {
            key: Arc::new(rustls::sign::CertifiedKey::new(vec![cert], key)),
            public: public?,
        })
    }

    /// The public key that peers pin: 32 bytes, Ed25519.
    #[must_use]
    pub const fn public(&self) -> &[u8; 32] {
        &self.public
    }
}

fn self_signed(pair: &KeyPair) -> Result<CertificateDer<'static>, rcgen::Error> {
    // Only the key in it is looked at. Everything else is the same for every node and every time.
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "quorate node");
    params.self_signed(pair).map(|cert| cert.der().clone())
}

/// What a call brought to light.
#[derive(Default)]
pub struct Fed {
    /// Whole messages of the peer, in order.
    pub messages: Vec<Zeroizing<Vec<u8>>>,
    /// Bytes for the peer; empty if there are none.
    pub send: Vec<u8>,
    /// The peer closed the session in good order. Nothing more comes.
    pub closed: bool,
}

impl fmt::Debug for Fed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fed")
            .field("messages", &self.messages.len())
            .field("send", &self.send.len())
            .field("closed", &self.closed)
            .finish()
    }
}

/// How a tunnel ended, and the last bytes for the peer: a TLS alert that says why, or nothing.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{error}")]
pub struct Failed {
    /// What happened.
    #[source]
    pub error: TunnelError,
    /// Bytes that may still be passed to the peer.
    pub send: Vec<u8>,
}

enum State {
    Handshaking {
        waiting: VecDeque<Zeroizing<Vec<u8>>>,
        bytes: usize,
    },
    Open,
    Ended,
}

/// One session with one peer, from one side.
pub struct Tunnel {
    tls: Connection,
    state: State,
    /// Plaintext of a message that has not arrived in full, length prefix included.
    partial: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel")
            .field("established", &self.is_established())
            .finish_non_exhaustive()
    }
}

impl Tunnel {
    /// Opens a session as the dialling side. The bytes are the first flight for the peer.
    ///
    /// # Errors
    /// [`TunnelError::Tls`] if rustls refuses to start.
    pub fn dial(own: &TunnelIdentity, peer: &[u8; 32]) -> Result<(Self, Vec<u8>), TunnelError> {
        let config = client_config(own, peer).map_err(|e| TunnelError::of(&e))?;
        // A server name is part of the interface of rustls; it is not sent and not looked at.
        let name = ServerName::try_from("peer").map_err(|e| TunnelError::Tls(e.to_string()))?;
        let tls = ClientConnection::new(config, name).map_err(|e| TunnelError::of(&e))?;
        let mut tunnel = Self::new(tls.into());
        let first = tunnel.drain()?;
        Ok((tunnel, first))
    }

    /// Waits for a session as the accepting side.
    ///
    /// # Errors
    /// [`TunnelError::Tls`] if rustls refuses to start.
    pub fn accept(own: &TunnelIdentity, peer: &[u8; 32]) -> Result<Self, TunnelError> {
        let config = server_config(own, peer).map_err(|e| TunnelError::of(&e))?;
        let tls = ServerConnection::new(config).map_err(|e| TunnelError::of(&e))?;
        Ok(Self::new(tls.into()))
    }

    fn new(mut tls: Connection) -> Self {
        // Everything written is taken out again within the same call, so no limit inside rustls is needed; a limit
        // would show as a short write in the middle of a message.
        tls.set_buffer_limit(None);
        Self {
            tls,
            state: State::Handshaking {
                waiting: VecDeque::new(),
                bytes: 0,
            },
            partial: Zeroizing::default(),
        }
    }

    /// Whether both sides have proved their keys.
    #[must_use]
    pub const fn is_established(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Whether the session is over, in good order or not.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// Takes bytes from the peer, in order.
    ///
    /// # Errors
    /// [`Failed`]: the session is over, unless this side fed more than [`MAX_CHUNK`] at once. Nothing that arrived in the
    /// same call is handed out.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Fed, Failed> {
        let silent = |error| Failed {
            error,
            send: Vec::new(),
        };
        if self.is_ended() {
            return Err(silent(TunnelError::Ended));
        }
        if bytes.len() > MAX_CHUNK {
            let error = TunnelError::TooLarge {
                what: "chunk",
                size: bytes.len(),
                most: MAX_CHUNK,
            };
            return Err(silent(error));
        }
        self.take(bytes).map_err(|error| {
            self.state = State::Ended;
            self.partial.zeroize();
            Failed {
                error,
                send: self.drain().unwrap_or_default(),
            }
        })
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<Fed, TunnelError> {
        let mut fed = Fed::default();
        while !bytes.is_empty() && !fed.closed {
            let taken = self
                .tls
                .read_tls(&mut bytes)
                .map_err(|e| TunnelError::Tls(e.to_string()))?;
            let state = self
                .tls
                .process_new_packets()
                .map_err(|e| TunnelError::of(&e))?;
            if self.tls.is_handshaking() && state.plaintext_bytes_to_read() > 0 {
                return Err(TunnelError::Tls(
                    "data before the end of the handshake".to_owned(),
                ));
            }
            self.read(state.plaintext_bytes_to_read(), &mut fed.messages)?;
            fed.closed = state.peer_has_closed();
            if taken == 0 && !fed.closed {
                return Err(TunnelError::Tls("no progress".to_owned()));
            }
        }
        if !self.tls.is_handshaking() {
            self.establish()?;
        }
        if fed.closed {
            self.state = State::Ended;
            if !self.partial.is_empty() {
                return Err(TunnelError::Truncated);
            }
            self.tls.send_close_notify();
        }
        fed.send = self.drain()?;
        Ok(fed)
    }

    /// Moves `count` bytes of plaintext out of rustls and cuts them into messages.
    fn read(
        &mut self,
        count: usize,
        messages: &mut Vec<Zeroizing<Vec<u8>>>,
    ) -> Result<(), TunnelError> {
        let mut plain = Zeroizing::new(vec![0; count]);
        self.tls
            .reader()
            .read_exact(&mut plain)
            .map_err(|e| TunnelError::Tls(e.to_string()))?;
        let mut rest = plain.as_slice();
        while !rest.is_empty() {
            let wanted = match self.partial.first_chunk::<PREFIX>() {
                None => PREFIX,
                Some(prefix) => {
                    let size = usize::try_from(u32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
                    if size > MAX_MESSAGE {
                        return Err(TunnelError::TooLarge {
                            what: "message",
                            size,
                            most: MAX_MESSAGE,
                        });
                    }
                    PREFIX.saturating_add(size)
                }
            };
            let missing = wanted.saturating_sub(self.partial.len());
            let (now, later) = rest.split_at_checked(missing).unwrap_or((rest, &[]));
            append(&mut self.partial, now);
            rest = later;
            if wanted > PREFIX && self.partial.len() == wanted || self.is_empty_message() {
                let body = self.partial.get(PREFIX..).unwrap_or_default().to_vec();
                messages.push(Zeroizing::new(body));
                self.partial.zeroize();
            }
        }
        Ok(())
    }

    fn is_empty_message(&self) -> bool {
        *self.partial == [0; PREFIX]
    }

    /// After the handshake: checks the protocol and sends what has waited.
    fn establish(&mut self) -> Result<(), TunnelError> {
        let State::Handshaking { waiting, .. } = &mut self.state else {
            return Ok(());
        };
        let waiting = std::mem::take(waiting);
        if self.tls.alpn_protocol() != Some(ALPN) {
            return Err(TunnelError::WrongProtocol);
        }
        self.state = State::Open;
        waiting.iter().try_for_each(|message| self.write(message))
    }

    /// Sends a message. Before the handshake is finished it waits, up to [`MAX_WAITING`] bytes in all; the bytes for the
    /// peer are then empty.
    ///
    /// # Errors
    /// [`TunnelError::TooLarge`], which harms nothing, or [`TunnelError::Ended`].
    pub fn send(&mut self, message: &[u8]) -> Result<Vec<u8>, TunnelError> {
        if message.len() > MAX_MESSAGE {
            return Err(TunnelError::TooLarge {
                what: "message",
                size: message.len(),
                most: MAX_MESSAGE,
            });
        }
        match &mut self.state {
            State::Ended => Err(TunnelError::Ended),
            State::Open => {
                self.write(message)?;
                self.drain()
            }
            State::Handshaking { waiting, bytes } => {
                let size = bytes.saturating_add(message.len()).saturating_add(PREFIX);
                if size > MAX_WAITING {
                    return Err(TunnelError::TooLarge {
                        what: "waiting messages",
                        size,
                        most: MAX_WAITING,
                    });
                }
                *bytes = size;
                waiting.push_back(Zeroizing::new(message.to_vec()));
                Ok(Vec::new())
            }
        }
    }

    fn write(&mut self, message: &[u8]) -> Result<(), TunnelError> {
        let too_large = TunnelError::TooLarge {
            what: "message",
            size: message.len(),
            most: MAX_MESSAGE,
        };
        let length = u32::try_from(message.len()).map_err(|_| too_large)?;
        // Written at once, so that a short message is one record.
        let mut framed = Zeroizing::new(Vec::with_capacity(PREFIX.saturating_add(message.len())));
        framed.extend_from_slice(&length.to_be_bytes());
        framed.extend_from_slice(message);
        self.tls
            .writer()
            .write_all(&framed)
            .map_err(|e| TunnelError::Tls(e.to_string()))
    }

    /// Closes the session in good order. The bytes tell the peer.
    #[must_use]
    pub fn close(&mut self) -> Vec<u8> {
        if self.is_ended() {
            return Vec::new();
        }
        self.state = State::Ended;
        self.tls.send_close_notify();
        self.drain().unwrap_or_default()
    }

    fn drain(&mut self) -> Result<Vec<u8>, TunnelError> {
        let mut out = Vec::new();
        while self.tls.wants_write() {
            let written = self
                .tls
                .write_tls(&mut out)
                .map_err(|e| TunnelError::Tls(e.to_string()))?;
            if written == 0 {
                break;
            }
        }
        Ok(out)
    }
}

/// Appends without leaving a copy behind in a smaller buffer.
fn append(buffer: &mut Zeroizing<Vec<u8>>, bytes: &[u8]) {
    if buffer.capacity().saturating_sub(buffer.len()) < bytes.len() {
        let room = buffer.len().saturating_add(bytes.len()).next_power_of_two();
        let mut larger = Zeroizing::new(Vec::with_capacity(room));
        larger.extend_from_slice(buffer);
        *buffer = larger;
    }
    buffer.extend_from_slice(bytes);
}

fn client_config(
    own: &TunnelIdentity,
    peer: &[u8; 32],
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned::new(peer)))
        .with_client_cert_resolver(Arc::new(Own(own.key.clone())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false;
    Ok(Arc::new(config))
}

fn server_config(
    own: &TunnelIdentity,
    peer: &[u8; 32],
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(Pinned::new(peer)))
        .with_cert_resolver(Arc::new(Own(own.key.clone())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.max_early_data_size = 0;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}
