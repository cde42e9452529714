//! The one TLS configuration of the outer channels: TLS 1.3, both sides with certificates, nothing resumed.
//!
//! What is read from disk comes in two parts that are replaced independently: [`Trust`] (roots and revocation lists) and
//! [`Credential`] (own certificate and key). Both are checked in full before rustls sees them, because rustls itself
//! takes an empty list of revocation lists as "do not check", and ignores their expiry unless told otherwise.
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig,
    SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{
        CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, UnixTime,
        pem::PemObject,
    },
    server::{
        NoServerSessionStorage, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    version::TLS13,
};
use sha2::{Digest, Sha256};
use thiserror::Error;
use x509_parser::{
    certificate::X509Certificate, prelude::FromDer, revocation_list::CertificateRevocationList,
};
use zeroize::{Zeroize, Zeroizing};

use policy::id::ClusterId;

use super::identity::{IdentityError, Leaf, RoleKind, SpkiPin};

/// The protocol name that both ends of an outer channel must agree on.
pub const ALPN: &[u8] = b"h2";

/// The largest certificate, key or revocation list file that is read, in bytes.
pub const MAX_FILE: u64 = 4 << 20;

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

/// Where the PEM files of one end are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Certificates of the cluster's authority, one or more.
    pub ca: PathBuf,
    /// Revocation lists, one or more per authority certificate.
    pub crl: PathBuf,
    /// Own certificate, leaf first.
    pub cert: PathBuf,
    /// Own private key, PKCS#8.
    pub key: PathBuf,
}

/// One of the four files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    /// Certificates of the authority.
    Ca,
    /// Own certificate.
    Certificate,
    /// Revocation lists.
    Crl,
    /// Own private key.
    Key,
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ca => "ca file",
            Self::Certificate => "certificate file",
            Self::Crl => "revocation list file",
            Self::Key => "key file",
        })
    }
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

/// The bytes of the four files, read together, and a digest that changes when any of them does.
pub struct Contents {
    pub(crate) ca: Vec<u8>,
    pub(crate) crl: Vec<u8>,
    pub(crate) cert: Vec<u8>,
    pub(crate) key: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contents").finish_non_exhaustive()
    }
}

impl Contents {
    /// Reads the files. Blocking: call it where that is allowed.
    ///
    /// # Errors
    /// [`ConfigError::Unreadable`] or [`ConfigError::TooLarge`], for the first file that has the problem.
    pub fn read(files: &Files) -> Result<Self, ConfigError> {
        Ok(Self {
            ca: read(FileKind::Ca, &files.ca)?,
            crl: read(FileKind::Crl, &files.crl)?,
            cert: read(FileKind::Certificate, &files.cert)?,
            key: Zeroizing::new(read(FileKind::Key, &files.key)?),
        })
    }

    pub(crate) fn trust_digest(&self) -> [u8; 32] {
        digest([&self.ca, &self.crl])
    }

    pub(crate) fn credential_digest(&self) -> [u8; 32] {
        digest([&self.cert, &self.key])
    }
}

fn digest(parts: [&[u8]; 2]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(Sha256::digest(part));
    }
    hash.finalize().into()
}

fn read(file: FileKind, path: &Path) -> Result<Vec<u8>, ConfigError> {
    use std::io::Read as _;
    let unreadable = |e: std::io::Error| ConfigError::Unreadable {
        file,
        path: path.display().to_string(),
        kind: e.kind(),
    };
    let handle = std::fs::File::open(path).map_err(unreadable)?;
    if file == FileKind::Key {
        check_mode(&handle.metadata().map_err(unreadable)?)?;
    }
    // The final buffer is sized up front, so that no copy of a key is left behind in a smaller one.
    let size = handle.metadata().map_err(unreadable)?.len();
    if size > MAX_FILE {
        return Err(ConfigError::TooLarge(file));
    }
    let room = usize::try_from(size.saturating_add(1)).map_err(|_| ConfigError::TooLarge(file))?;
    let mut bytes = Vec::with_capacity(room);
    let length = handle
        .take(MAX_FILE.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    match u64::try_from(length) {
        Ok(length) if length <= MAX_FILE => Ok(bytes),
        _ => Err(ConfigError::TooLarge(file)),
    }
}

#[cfg(unix)]
fn check_mode(metadata: &std::fs::Metadata) -> Result<(), ConfigError> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o037 == 0 {
        Ok(())
    } else {
        Err(ConfigError::KeyExposed { mode })
    }
}

#[cfg(not(unix))]
fn check_mode(_: &std::fs::Metadata) -> Result<(), ConfigError> {
    Ok(())
}

fn certificates(file: FileKind, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let all = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| ConfigError::Malformed(file))?;
    if all.is_empty() {
        Err(ConfigError::Empty(file))
    } else {
        Ok(all)
    }
}

/// Whose certificates are believed: the authority's own, and its signed revocation lists.
pub struct Trust {
    roots: Arc<RootCertStore>,
    /// The newest list of every authority.
    lists: Vec<CheckedList>,
    next_update: u64,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("roots", &self.roots.len())
            .field("lists", &self.lists.len())
            .field("next_update", &self.next_update)
            .finish_non_exhaustive()
    }
}

impl Trust {
    /// Checks the CA and revocation list files against each other and against `now`.
    ///
    /// # Errors
    /// `CaNotValidNow`, every `Crl..` variant except `CrlRolledBack`, and `Empty` or `Malformed` for either file.
    pub fn parse(ca_pem: &[u8], crl_pem: &[u8], now: UnixTime) -> Result<Self, ConfigError> {
        let authorities = certificates(FileKind::Ca, ca_pem)?;
        let crls = CertificateRevocationListDer::pem_slice_iter(crl_pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| ConfigError::Malformed(FileKind::Crl))?;
        if crls.is_empty() {
            return Err(ConfigError::Empty(FileKind::Crl));
        }
        let bad_ca = |_| ConfigError::Malformed(FileKind::Ca);
        let parsed = authorities
            .iter()
            .map(|der| X509Certificate::from_der(der).map(|(_, parsed)| parsed))
            .collect::<Result<Vec<_>, _>>()
            .map_err(bad_ca)?;
        // Of several lists by one authority only the newest counts: rustls would take whichever comes first.
        let mut newest: BTreeMap<SpkiPin, CheckedList> = BTreeMap::new();
        for crl in crls {
            let list = checked_list(crl, &parsed, now)?;
            match newest.get(&list.issuer) {
                Some(other) if !older(&other.number, &list.number) => {}
                _ => drop(newest.insert(list.issuer, list)),
            }
        }
        for (position, authority) in parsed.iter().enumerate() {
            let pin = SpkiPin::of_spki(authority.public_key().raw);
            let validity = authority.validity();
            let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
            if seconds < validity.not_before.timestamp() || seconds > validity.not_after.timestamp()
            {
                return Err(ConfigError::CaNotValidNow(position.saturating_add(1)));
            }
            if !newest.contains_key(&pin) {
                return Err(ConfigError::CrlMissing(position.saturating_add(1)));
            }
        }
        let mut roots = RootCertStore::empty();
        for authority in &authorities {
            roots
                .add(authority.clone())
                .map_err(|_| ConfigError::Malformed(FileKind::Ca))?;
        }
        let trust = Self {
            roots: Arc::new(roots),
            next_update: newest
                .values()
                .map(|list| list.next_update)
                .min()
                .unwrap_or_default(),
            lists: newest.into_values().collect(),
        };
        // Whether rustls takes the lists is found out before they are in use.
        trust.web_pki()?;
        Ok(trust)
    }

    fn crls(&self) -> impl Iterator<Item = CertificateRevocationListDer<'static>> {
        self.lists.iter().map(|list| list.der.clone())
    }

    fn web_pki(&self) -> Result<Arc<WebPkiServerVerifier>, ConfigError> {
        WebPkiServerVerifier::builder_with_provider(self.roots.clone(), provider())
            .with_crls(self.crls())
            .enforce_revocation_expiration()
            .build()
            .map_err(|e| ConfigError::Refused(e.to_string()))
    }

    /// When the first of the revocation lists expires, seconds since 1970. From then on nobody is admitted.
    #[must_use]
    pub const fn next_update(&self) -> u64 {
        self.next_update
    }

    /// Refuses to replace `self` by a trust with an older revocation list of the same authority.
    ///
    /// # Errors
    /// [`ConfigError::CrlRolledBack`].
    pub fn allows(&self, next: &Self) -> Result<(), ConfigError> {
        let rolled_back = self.lists.iter().any(|current| {
            let same = |list: &&CheckedList| list.issuer == current.issuer;
            next.lists
                .iter()
                .filter(same)
                .any(|list| older(&list.number, &current.number))
        });
        if rolled_back {
            Err(ConfigError::CrlRolledBack)
        } else {
            Ok(())
        }
    }

    /// The verifier of those who connect to us.
    ///
    /// # Errors
    /// [`ConfigError::Refused`] if rustls does not take the lists.
    pub fn client_verifier(
        &self,
        cluster: &ClusterId,
        roles: &[RoleKind],
    ) -> Result<Arc<dyn ClientCertVerifier>, ConfigError> {
        let inner = WebPkiClientVerifier::builder_with_provider(self.roots.clone(), provider())
            .with_crls(self.crls())
            .enforce_revocation_expiration()
            .clear_root_hint_subjects()
            .build()
            .map_err(|e| ConfigError::Refused(e.to_string()))?;
        Ok(Arc::new(MemberVerifier {
            inner,
            cluster: cluster.clone(),
            roles: roles.to_vec(),
        }))
    }

    /// The verifier of the coordinator we connect to: authority, revocation, server name, role and pinned key.
    ///
    /// # Errors
    /// [`ConfigError::Refused`] if rustls does not take the lists.
    pub fn server_verifier(
        &self,
        cluster: &ClusterId,
        pins: &[SpkiPin],
    ) -> Result<Arc<dyn ServerCertVerifier>, ConfigError> {
        let inner = self.web_pki()?;
        Ok(Arc::new(CoordinatorVerifier {
            inner,
            cluster: cluster.clone(),
            pins: pins.to_vec(),
        }))
    }
}

struct CheckedList {
    der: CertificateRevocationListDer<'static>,
    issuer: SpkiPin,
    number: Vec<u8>,
    next_update: u64,
}

fn checked_list(
    der: CertificateRevocationListDer<'static>,
    authorities: &[X509Certificate<'_>],
    now: UnixTime,
) -> Result<CheckedList, ConfigError> {
    const MALFORMED: ConfigError = ConfigError::Malformed(FileKind::Crl);
    let Ok(([], list)) = CertificateRevocationList::from_der(&der) else {
        return Err(MALFORMED);
    };
    let signer = authorities
        .iter()
        .filter(|authority| authority.subject().as_raw() == list.issuer().as_raw())
        .find(|authority| list.verify_signature(authority.public_key()).is_ok())
        .ok_or(ConfigError::CrlForeign)?;
    let seconds = |at: i64| u64::try_from(at).map_err(|_| MALFORMED);
    let this_update = seconds(list.last_update().timestamp())?;
    let next_update = seconds(list.next_update().ok_or(MALFORMED)?.timestamp())?;
    if now.as_secs() < this_update {
        return Err(ConfigError::CrlNotYetValid { this_update });
    }
    if now.as_secs() >= next_update {
        return Err(ConfigError::CrlExpired { next_update });
    }
    let issuer = SpkiPin::of_spki(signer.public_key().raw);
    let number = list.crl_number().ok_or(MALFORMED)?.to_bytes_be();
    Ok(CheckedList {
        der,
        issuer,
        number,
        next_update,
    })
}

/// Compares list numbers: big-endian, without leading zeros.
fn older(a: &[u8], b: &[u8]) -> bool {
    (a.len(), a) < (b.len(), b)
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

fn refusal(error: IdentityError) -> rustls::Error {
    rustls::Error::InvalidCertificate(rustls::CertificateError::Other(rustls::OtherError(
        Arc::new(error),
    )))
}

/// The identity error inside a TLS error, if that is what ended the handshake.
#[must_use]
pub fn identity_error(error: &rustls::Error) -> Option<&IdentityError> {
    match error {
        rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other)) => {
            other.0.downcast_ref()
        }
        _ => None,
    }
}

/// Authority, validity, revocation; then cluster and role.
#[derive(Debug)]
struct MemberVerifier {
    inner: Arc<dyn ClientCertVerifier>,
    cluster: ClusterId,
    roles: Vec<RoleKind>,
}

impl ClientCertVerifier for MemberVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.inner.verify_client_cert(leaf, intermediates, now)?;
        let found = Leaf::read(leaf, &self.cluster).map_err(refusal)?.role;
        if self.roles.contains(&found.kind()) {
            Ok(verified)
        } else {
            Err(refusal(IdentityError::Role { found }))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Authority, validity, revocation, server name; then cluster, role and pin.
#[derive(Debug)]
struct CoordinatorVerifier {
    inner: Arc<WebPkiServerVerifier>,
    cluster: ClusterId,
    pins: Vec<SpkiPin>,
}

impl ServerCertVerifier for CoordinatorVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self
            .inner
            .verify_server_cert(leaf, intermediates, name, ocsp, now)?;
        let found = Leaf::read(leaf, &self.cluster).map_err(refusal)?;
        if found.role.kind() != RoleKind::Coordinator {
            return Err(refusal(IdentityError::Role { found: found.role }));
        }
        if self.pins.contains(&found.pin) {
            Ok(verified)
        } else {
            Err(refusal(IdentityError::Unpinned { found: found.pin }))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
