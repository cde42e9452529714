//! Who is at the other end of a TLS connection: role, key pin and serial number, all read from one certificate.
//!
//! A certificate admits its holder to the network in one role. It never decides which party index a protocol message
//! belongs to: that is the roster key's business.
use std::{fmt, net::SocketAddr, str::FromStr};

use policy::id::ClusterId;
use rustls::pki_types::{CertificateDer, UnixTime};
use sha2::{Digest, Sha256};
use thiserror::Error;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

const SCHEME: &str = "quorate://";

/// The longest certificate serial number that RFC 5280 section 4.1.2.2 allows, in bytes.
pub const MAX_SERIAL: usize = 20;

/// What a certificate was refused for before any signature of it was looked at, or after they all held.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum IdentityError {
    /// The certificate belongs to another cluster.
    #[error("the certificate is for another cluster; ask this cluster's authority for one")]
    ForeignCluster,
    /// The bytes are no X.509 version 3 certificate, or a name or number in them is out of range.
    #[error("the certificate cannot be read: {0}; issue it again")]
    Malformed(&'static str),
    /// No URI name of the form `quorate://cluster/role` is present.
    #[error("the certificate names no role; issue it with a quorate:// uri name")]
    NoRole,
    /// The role is a known one, but not one that this end accepts.
    #[error("a certificate of role {found} is not accepted here")]
    Role {
        /// The role in the certificate.
        found: Role,
    },
    /// More than one URI name is present, so the role would be a matter of choice.
    #[error("the certificate has more than one uri name; issue one certificate per role")]
    Several,
    /// The certificate's key is not one of the pinned keys.
    #[error("the server's key {found} is not pinned; compare it with the pins in the cluster file")]
    Unpinned {
        /// The pin of the key that was presented.
        found: SpkiPin,
    },
}

/// The kind of a role, without the node index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoleKind {
    /// A wallet backend or an approver's tool.
    Client,
    /// The coordinator.
    Coordinator,
    /// A signer node.
    Node,
    /// An operator of the cluster.
    Operator,
}

impl RoleKind {
    /// The word used in certificates.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Coordinator => "coordinator",
            Self::Node => "node",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for RoleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a certificate admits its holder as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A wallet backend or an approver's tool.
    Client,
    /// The coordinator.
    Coordinator,
    /// The signer node with this index, from 1.
    Node(u16),
    /// An operator of the cluster.
    Operator,
}

impl Role {
    /// The role without the node index.
    #[must_use]
    pub const fn kind(self) -> RoleKind {
        match self {
            Self::Client => RoleKind::Client,
            Self::Coordinator => RoleKind::Coordinator,
            Self::Node(_) => RoleKind::Node,
            Self::Operator => RoleKind::Operator,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(index) => write!(f, "node/{index}"),
            Self::Client | Self::Coordinator | Self::Operator => f.write_str(self.kind().as_str()),
        }
    }
}

impl FromStr for Role {
    type Err = IdentityError;

    /// Reads `client`, `coordinator`, `operator` or `node/<index>`; every role has exactly one spelling.
    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let role = match text {
            "client" => Self::Client,
            "coordinator" => Self::Coordinator,
            "operator" => Self::Operator,
            _ => {
                let index = text
                    .strip_prefix("node/")
                    .ok_or(IdentityError::Malformed("unknown role"))?;
                Self::Node(
                    index
                        .parse()
                        .map_err(|_| IdentityError::Malformed("node index"))?,
                )
            }
        };
        if role == Self::Node(0) || role.to_string() != text {
            return Err(IdentityError::Malformed("node index"));
        }
        Ok(role)
    }
}

/// The URI name `quorate://<cluster>/<role>` that a certificate carries.
#[must_use]
pub fn role_uri(cluster: &ClusterId, role: Role) -> String {
    format!("{SCHEME}{cluster}/{role}")
}

/// SHA-256 over the DER `SubjectPublicKeyInfo` of a certificate: 32 bytes that survive the renewal of the certificate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpkiPin([u8; 32]);

impl SpkiPin {
    /// Takes the 32 bytes of a pin.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The pin of a certificate's key.
    ///
    /// # Errors
    /// [`IdentityError::Malformed`] if the bytes are no certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        Ok(Self::of_spki(parse(certificate)?.public_key().raw))
    }

    pub(crate) fn of_spki(spki: &[u8]) -> Self {
        Self(Sha256::digest(spki).into())
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for SpkiPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SpkiPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpkiPin({self})")
    }
}

impl FromStr for SpkiPin {
    type Err = IdentityError;

    /// Reads 64 lower-case hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, IdentityError> {
        const BAD: IdentityError = IdentityError::Malformed("pin");
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte.wrapping_sub(b'0')),
            b'a'..=b'f' => Ok(byte.wrapping_sub(b'a').wrapping_add(10)),
            _ => Err(BAD),
        };
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() {
            return Err(BAD);
        }
        let mut bytes = [0; 32];
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Ok(Self(bytes))
    }
}

/// A certificate's serial number: at most 20 bytes, big-endian, as in the certificate.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(Vec<u8>);

impl Serial {
    /// Takes the bytes of a serial number.
    ///
    /// # Errors
    /// [`IdentityError::Malformed`] unless there are 1 to 20 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdentityError> {
        if bytes.is_empty() || bytes.len() > MAX_SERIAL {
            return Err(IdentityError::Malformed("serial number"));
        }
        Ok(Self(bytes.to_vec()))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serial({self})")
    }
}

/// What one end-entity certificate of a cluster says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// What it admits its holder as.
    pub role: Role,
    /// The pin of its key.
    pub pin: SpkiPin,
    /// Its serial number.
    pub serial: Serial,
    /// First second of validity, seconds since 1970.
    pub not_before: u64,
    /// Last second of validity, seconds since 1970.
    pub not_after: u64,
}

impl Leaf {
    /// Reads a certificate of `cluster`. Signatures are not looked at: call this on certificates that were verified.
    ///
    /// # Errors
    /// Every variant of [`IdentityError`] except `Role` and `Unpinned`.
    pub fn read(
        certificate: &CertificateDer<'_>,
        cluster: &ClusterId,
    ) -> Result<Self, IdentityError> {
        let parsed = parse(certificate)?;
        let names = parsed
            .subject_alternative_name()
            .map_err(|_| IdentityError::Malformed("alternative names"))?
            .ok_or(IdentityError::NoRole)?;
        let mut uris = names
            .value
            .general_names
            .iter()
            .filter_map(|name| match name {
                GeneralName::URI(uri) => Some(*uri),
                _ => None,
            });
        let uri = uris.next().ok_or(IdentityError::NoRole)?;
        if uris.next().is_some() {
            return Err(IdentityError::Several);
        }
        let (found, role) = uri
            .strip_prefix(SCHEME)
            .and_then(|rest| rest.split_once('/'))
            .ok_or(IdentityError::NoRole)?;
        if found != cluster.as_str() {
            return Err(IdentityError::ForeignCluster);
        }
        let seconds = |at: i64| u64::try_from(at).map_err(|_| IdentityError::Malformed("validity"));
        Ok(Self {
            role: role.parse()?,
            pin: SpkiPin::of_spki(parsed.public_key().raw),
            serial: Serial::from_bytes(parsed.raw_serial())?,
            not_before: seconds(parsed.validity().not_before.timestamp())?,
            not_after: seconds(parsed.validity().not_after.timestamp())?,
        })
    }

    /// Whether `now` lies within the validity of the certificate.
    #[must_use]
    pub const fn is_valid_at(&self, now: UnixTime) -> bool {
        let now = now.as_secs();
        self.not_before <= now && now <= self.not_after
    }
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, IdentityError> {
    match X509Certificate::from_der(certificate) {
        Ok(([], parsed)) => Ok(parsed),
        Ok(_) => Err(IdentityError::Malformed("bytes after its end")),
        Err(_) => Err(IdentityError::Malformed("encoding")),
    }
}

/// The authenticated other end of a connection. Request handlers read it with `request.extensions().get::<Peer>()`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What its certificate admits it as.
    pub role: Role,
    /// The pin of its key: the name to count, limit and log by.
    pub pin: SpkiPin,
    /// The serial number of its certificate.
    pub serial: Serial,
    /// Where it connected from.
    pub addr: SocketAddr,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_have_one_spelling() {
        for text in ["client", "coordinator", "operator", "node/1", "node/65535"] {
            assert_eq!(text.parse::<Role>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "Client",
            "node",
            "node/",
            "node/0",
            "node/01",
            "node/+1",
            "node/65536",
            "node/1/",
            "client/",
        ] {
            assert!(
                matches!(text.parse::<Role>(), Err(IdentityError::Malformed(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn pins_round_trip_as_lower_case_hex() {
        let pin = SpkiPin::from_bytes(std::array::from_fn(|i| u8::try_from(i * 7 % 256).unwrap()));
        assert_eq!(pin.to_string().parse::<SpkiPin>().unwrap(), pin);
        let text = pin.to_string();
        for bad in [
            text.to_uppercase(),
            text.chars().skip(1).collect(),
            format!("{text}0"),
            text.replace('0', "g"),
        ] {
            assert_eq!(bad.parse::<SpkiPin>(), Err(IdentityError::Malformed("pin")));
        }
    }
}
