//! The one TLS configuration of the outer channels: TLS 1.3, both sides with certificates, nothing resumed.
//!
//! What is read from disk comes in two parts that are replaced independently: [`Trust`] (roots and revocation lists) and
//! [`Credential`] (own certificate and key). Both are checked in full before rustls sees them, because rustls itself
//! takes an empty list of revocation lists as "do not check", and ignores their expiry unless told otherwise.
mod files;
mod trust;
mod verifier;

use std::{fmt, sync::Arc};

use policy::id::ClusterId;
use rustls::{
    ClientConfig, ServerConfig,
    client::{Resumption, danger::ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::{NoServerSessionStorage, danger::ClientCertVerifier},
    version::TLS13,
};
use thiserror::Error;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};
use zeroize::Zeroize;

use self::files::certificates;
pub use self::{
    files::{Contents, FileKind, Files, MAX_FILE},
    trust::Trust,
    verifier::identity_error,
};
use super::identity::{IdentityError, Leaf, RoleKind, SpkiPin};

/// The protocol name that both ends of an outer channel must agree on.
pub const ALPN: &[u8] = b"h2";

/// The provider of all cryptography in TLS here: aws-lc-rs, hybrid post-quantum key exchange first, then X25519.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups = vec![
        aws_lc_rs::kx_group::X25519MLKEM768,
        aws_lc_rs::kx_group::X25519,
    ];
    Arc::new(provider)
}

/// Why files were not taken into use.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// A certificate of the CA file is outside its validity.
    #[error("authority certificate number {0} of the ca file is not valid now; remove or renew it")]
    CaNotValidNow(usize),
    /// Own certificate is outside its validity.
    #[error(
        "own certificate {serial} is valid from {not_before} to {not_after} (unix seconds), which does not include now; renew it"
    )]
    CertificateNotValidNow {
        /// Its serial number, hexadecimal.
        serial: String,
        /// First second of validity.
        not_before: u64,
        /// Last second of validity.
        not_after: u64,
    },
    /// Own certificate does not lead to the authority, is revoked, or is for another use.
    #[error("own certificate is refused by the authority's files ({0}); issue it again")]
    CertificateRefused(String),
    /// A revocation list is past its next update.
    #[error("revocation list expired at {next_update} (unix seconds); publish a new one")]
    CrlExpired {
        /// When the next one was promised for, seconds since 1970.
        next_update: u64,
    },
    /// A revocation list was issued by nobody in the CA file, or its signature does not hold.
    #[error(
        "revocation list is not signed by an authority of the ca file; sign it with the authority's key"
    )]
    CrlForeign,
    /// A certificate in the CA file has no revocation list, so nothing it issued could be accepted.
    #[error("authority certificate number {0} of the ca file has no revocation list; add one")]
    CrlMissing(usize),
    /// A revocation list that is not in force yet.
    #[error(
        "revocation list is dated {this_update} (unix seconds), in the future; check the clocks"
    )]
    CrlNotYetValid {
        /// When it starts, seconds since 1970.
        this_update: u64,
    },
    /// The list in use has a higher number.
    #[error(
        "revocation list is older than the one in use; a revocation cannot be taken back by an old list"
    )]
    CrlRolledBack,
    /// The file holds none of what it should hold.
    #[error("{0} holds nothing of its kind; write it again")]
    Empty(FileKind),
    /// The certificate names the wrong role or cluster.
    #[error("own certificate: {0}")]
    Identity(#[from] IdentityError),
    /// Others than the owner and the group may read the key file, or others than the owner may write it.
    #[error("key file has mode {mode:03o}; set it to 600")]
    KeyExposed {
        /// The permission bits.
        mode: u32,
    },
    /// The private key is not the certificate's.
    #[error("own key does not belong to own certificate; write both files from one issue")]
    KeyMismatch,
    /// The file's content cannot be read.
    #[error("{0} is malformed; write it again")]
    Malformed(FileKind),
    /// rustls refused a configuration that passed every check above.
    #[error("tls configuration refused: {0}")]
    Refused(String),
    /// The file is larger than [`MAX_FILE`].
    #[error("{0} is larger than 4 MiB")]
    TooLarge(FileKind),
    /// The file cannot be opened or read.
    #[error("{file} {path}: {kind}; check the path and its permissions")]
    Unreadable {
        /// Which of the files.
        file: FileKind,
        /// Where it was looked for.
        path: String,
        /// What the system said.
        kind: std::io::ErrorKind,
    },
}

/// Own certificate and key.
pub struct Credential {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    leaf: Leaf,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("leaf", &self.leaf)
            .finish_non_exhaustive()
    }
}

impl Drop for Credential {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl Credential {
    /// Checks the certificate and key files against each other and against `now`.
    ///
    /// # Errors
    /// `CertificateNotValidNow`, `Identity`, `KeyMismatch`, and `Empty` or `Malformed` for either file.
    pub fn parse(
        cert_pem: &[u8],
        key_pem: &[u8],
        cluster: &ClusterId,
        now: UnixTime,
    ) -> Result<Self, ConfigError> {
        let chain = certificates(FileKind::Certificate, cert_pem)?;
        let key = PrivateKeyDer::from_pem_slice(key_pem)
            .map_err(|_| ConfigError::Malformed(FileKind::Key))?;
        let first = chain
            .first()
            .ok_or(ConfigError::Empty(FileKind::Certificate))?;
        let leaf = Leaf::read(first, cluster)?;
        if !leaf.is_valid_at(now) {
            return Err(ConfigError::CertificateNotValidNow {
                serial: leaf.serial.to_string(),
                not_before: leaf.not_before,
                not_after: leaf.not_after,
            });
        }
        let signer = provider()
            .key_provider
            .load_private_key(key.clone_key())
            .map_err(|_| ConfigError::Malformed(FileKind::Key))?;
        let spki = signer
            .public_key()
            .ok_or(ConfigError::Malformed(FileKind::Key))?;
        if SpkiPin::of_spki(&spki) != leaf.pin {
            return Err(ConfigError::KeyMismatch);
        }
        Ok(Self { chain, key, leaf })
    }

    /// Checks that the certificate is for one of the roles that the own end of a channel can have.
    ///
    /// # Errors
    /// [`ConfigError::Identity`] with the role that was found.
    pub fn plays(&self, roles: &[RoleKind]) -> Result<(), ConfigError> {
        let found = self.leaf.role;
        if roles.contains(&found.kind()) {
            Ok(())
        } else {
            Err(IdentityError::Role { found }.into())
        }
    }

    /// What the certificate says.
    #[must_use]
    pub const fn leaf(&self) -> &Leaf {
        &self.leaf
    }

    /// Checks that a peer with the same files would accept this certificate.
    ///
    /// # Errors
    /// [`ConfigError::CertificateRefused`] with the reason.
    pub fn accepted_by(
        &self,
        trust: &Trust,
        cluster: &ClusterId,
        now: UnixTime,
    ) -> Result<(), ConfigError> {
        let refused = |e: rustls::Error| ConfigError::CertificateRefused(e.to_string());
        let (first, rest) = self
            .chain
            .split_first()
            .ok_or(ConfigError::Empty(FileKind::Certificate))?;
        match self.leaf.role.kind() {
            RoleKind::Coordinator => {
                let name =
                    own_server_name(first).ok_or(ConfigError::Malformed(FileKind::Certificate))?;
                trust
                    .web_pki()?
                    .verify_server_cert(first, rest, &name, &[], now)
                    .map_err(refused)?;
            }
            kind @ (RoleKind::Client | RoleKind::Node | RoleKind::Operator) => {
                trust
                    .client_verifier(cluster, &[kind])?
                    .verify_client_cert(first, rest, now)
                    .map_err(refused)?;
            }
        }
        Ok(())
    }
}

/// What the first certificate of a file says, for a report of when it ends. Nothing is verified.
///
/// # Errors
/// `Unreadable`, `Empty`, `Malformed` and `Identity`.
pub fn read_leaf(path: &std::path::Path, cluster: &ClusterId) -> Result<Leaf, ConfigError> {
    let pem = std::fs::read(path).map_err(|error| ConfigError::Unreadable {
        file: FileKind::Certificate,
        path: path.display().to_string(),
        kind: error.kind(),
    })?;
    let chain = certificates(FileKind::Certificate, &pem)?;
    let first = chain
        .first()
        .ok_or(ConfigError::Empty(FileKind::Certificate))?;
    Ok(Leaf::read(first, cluster)?)
}

/// The first DNS or IP name of a server certificate.
fn own_server_name(der: &CertificateDer<'_>) -> Option<ServerName<'static>> {
    use x509_parser::extensions::GeneralName;
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    names
        .value
        .general_names
        .iter()
        .find_map(|name| match name {
            GeneralName::DNSName(dns) => ServerName::try_from((*dns).to_owned()).ok(),
            GeneralName::IPAddress(raw) => {
                let v4 = <[u8; 4]>::try_from(*raw).map(std::net::IpAddr::from).ok();
                let v6 = <[u8; 16]>::try_from(*raw).map(std::net::IpAddr::from).ok();
                v4.or(v6).map(ServerName::from)
            }
            _ => None,
        })
}

/// The server side of an outer channel.
///
/// # Errors
/// [`ConfigError::Refused`] if rustls does not take the certificate.
pub fn server_config(
    credential: &Credential,
    verifier: Arc<dyn ClientCertVerifier>,
) -> Result<Arc<ServerConfig>, ConfigError> {
    let refused = |e: rustls::Error| ConfigError::Refused(e.to_string());
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(refused)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(credential.chain.clone(), credential.key.clone_key())
        .map_err(refused)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.max_early_data_size = 0;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

/// The client side of an outer channel.
///
/// # Errors
/// [`ConfigError::Refused`] if rustls does not take the certificate.
pub fn client_config(
    credential: &Credential,
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<Arc<ClientConfig>, ConfigError> {
    let refused = |e: rustls::Error| ConfigError::Refused(e.to_string());
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(refused)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(credential.chain.clone(), credential.key.clone_key())
        .map_err(refused)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(Arc::new(config))
}
