//! A small certificate authority: used to set a cluster up, to renew certificates and to revoke them.
//!
//! Everything is Ed25519. An authority signs one certificate per holder and role; whoever holds the authority's key can
//! admit anybody to the network, but cannot sign for a share, a node or a person.
mod revocations;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    PKCS_ED25519, PublicKeyData, RevocationReason, RevokedCertParams, SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject};
use sha2::{Digest, Sha256};
use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

use policy::id::ClusterId;

use super::{
    config::provider,
    identity::{IdentityError, Leaf, Role, Serial, SpkiPin, role_uri},
    key,
};

pub use revocations::Revocations;

/// 9999-12-31T23:59:59Z: the last second an X.509 time can name.
const LAST_SECOND: u64 = 253_402_300_799;

/// Why the authority did not sign.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PkiError {
    /// The authority's own certificate or key cannot be used.
    #[error("the authority's certificate or key cannot be read: {0}")]
    Authority(String),
    /// A revocation list that cannot be read.
    #[error("revocation list: {0}; give the one that is in use")]
    List(String),
    /// What was just issued does not read back as what was asked for.
    #[error("issued certificate: {0}")]
    Identity(#[from] IdentityError),
    /// A server name that is neither a DNS name nor an IP address.
    #[error("{0:?} is neither a dns name nor an ip address")]
    Name(String),
    /// The random source failed; nothing was made.
    #[error("no randomness: the random source failed, nothing was made")]
    Randomness,
    /// Reading a key back or signing failed.
    #[error("signing failed: {0}")]
    Signing(String),
    /// The validity is empty or outside what X.509 can express.
    #[error("validity from {from} to {until} (unix seconds) is empty or out of range")]
    Validity {
        /// First second.
        from: u64,
        /// Last second.
        until: u64,
    },
}

impl From<rcgen::Error> for PkiError {
    fn from(error: rcgen::Error) -> Self {
        Self::Signing(error.to_string())
    }
}

/// From when to when, in seconds since 1970, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// First second.
    pub from: u64,
    /// Last second.
    pub until: u64,
}

impl Validity {
    /// `days` from `now` (seconds since 1970), beginning five minutes earlier for clocks that are behind.
    #[must_use]
    pub const fn days(now: u64, days: u32) -> Self {
        let length = (days as u64).saturating_mul(86_400);
        Self {
            from: now.saturating_sub(300),
            until: now.saturating_add(length),
        }
    }

    fn times(self) -> Result<(SystemTime, SystemTime), PkiError> {
        let bad = PkiError::Validity {
            from: self.from,
            until: self.until,
        };
        if self.from >= self.until || self.until > LAST_SECOND {
            return Err(bad);
        }
        let at = |second| {
            UNIX_EPOCH
                .checked_add(Duration::from_secs(second))
                .ok_or_else(|| bad.clone())
        };
        Ok((at(self.from)?, at(self.until)?))
    }
}

/// A certificate and its private key, both PEM.
pub struct Issued {
    /// The certificate.
    pub cert_pem: String,
    /// Its PKCS#8 private key: secret, wiped on drop.
    pub key_pem: Zeroizing<String>,
    /// What the certificate says: role, pin, serial number, validity.
    pub leaf: Leaf,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued")
            .field("leaf", &self.leaf)
            .finish_non_exhaustive()
    }
}

/// A cluster's certificate authority, with its private key.
pub struct Authority {
    cluster: ClusterId,
    cert_pem: String,
    issuer: Issuer<'static, Signer>,
}

/// An rcgen key pair that is wiped on drop.
struct Signer(KeyPair);

impl Signer {
    fn generate() -> Result<Self, PkiError> {
        let mut seed = Zeroizing::new([0; 32]);
        let random = provider().secure_random;
        random.fill(&mut *seed).map_err(|_| PkiError::Randomness)?;
        let der = key::pkcs8(&seed);
        let der = PrivatePkcs8KeyDer::from(&der[..]);
        Ok(Self(KeyPair::from_pkcs8_der_and_sign_algo(
            &der,
            &PKCS_ED25519,
        )?))
    }

    fn from_pem(pem: &str) -> Result<Self, rcgen::Error> {
        KeyPair::from_pkcs8_pem_and_sign_algo(pem, &PKCS_ED25519).map(Self)
    }

    fn pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.serialize_pem())
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PublicKeyData for Signer {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.0.algorithm()
    }
}

impl rcgen::SigningKey for Signer {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.sign(message)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

fn params(name: &str, validity: Validity, key: &Signer) -> Result<CertificateParams, PkiError> {
    let (from, until) = validity.times()?;
    let mut params = CertificateParams::default();
    params.not_before = from.into();
    params.not_after = until.into();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(serial(key, validity));
    Ok(params)
}

/// 16 bytes derived from the fresh key, so unique per issue; the top bits make it positive and of fixed length.
fn serial(key: &Signer, validity: Validity) -> SerialNumber {
    let mut hash = Sha256::new();
    hash.update(b"quorate/pki/serial/v1");
    hash.update(validity.from.to_be_bytes());
    hash.update(validity.until.to_be_bytes());
    hash.update(key.der_bytes());
    let mut bytes: [u8; 32] = hash.finalize().into();
    bytes[0] = bytes[0] & 0x3f | 0x40;
    SerialNumber::from_slice(&bytes[..16])
}

/// Makes a new authority for a cluster, with a key that exists nowhere else.
///
/// # Errors
/// [`PkiError::Validity`] or [`PkiError::Signing`].
pub fn make_ca(cluster: &ClusterId, validity: Validity) -> Result<Authority, PkiError> {
    let key = Signer::generate()?;
    // The key is part of the name: lists and certificates of an authority and of its successor are told apart by name.
    let pin = SpkiPin::of_spki(&key.subject_public_key_info()).to_string();
    let name = format!("quorate {cluster} authority {pin:.16}");
    let mut params = params(&name, validity, &key)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let cert_pem = params.self_signed(&key).map_err(PkiError::from)?.pem();
    Ok(Authority {
        cluster: cluster.clone(),
        cert_pem,
        issuer: Issuer::new(params, key),
    })
}

impl Authority {
    /// Takes up an authority from its files.
    ///
    /// # Errors
    /// [`PkiError::Authority`] if either cannot be read, or the key is another certificate's.
    pub fn from_pem(cluster: &ClusterId, cert_pem: &str, key_pem: &str) -> Result<Self, PkiError> {
        let unreadable = |e: rcgen::Error| PkiError::Authority(e.to_string());
        let key = Signer::from_pem(key_pem).map_err(unreadable)?;
        let der = CertificateDer::from_pem_slice(cert_pem.as_bytes())
            .map_err(|e| PkiError::Authority(e.to_string()))?;
        let pin = SpkiPin::of(&der)?;
        if SpkiPin::of_spki(&key.subject_public_key_info()) != pin {
            return Err(PkiError::Authority(
                "the key is another certificate's".to_owned(),
            ));
        }
        let issuer = Issuer::from_ca_cert_der(&der, key).map_err(unreadable)?;
        Ok(Self {
            cluster: cluster.clone(),
            cert_pem: cert_pem.to_owned(),
            issuer,
        })
    }

    /// The authority's certificate, PEM.
    #[must_use]
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// The authority's private key, PKCS#8 PEM: secret, wiped on drop.
    #[must_use]
    pub fn key_pem(&self) -> Zeroizing<String> {
        self.issuer.key().pem()
    }

    /// Issues a certificate with a fresh key. `server_names` (DNS names or IP addresses) are what a coordinator is
    /// dialled by; other roles have none. A coordinator's certificate serves only servers, every other only clients.
    ///
    /// # Errors
    /// [`PkiError::Name`], [`PkiError::Validity`] or [`PkiError::Signing`].
    pub fn issue(
        &self,
        role: Role,
        server_names: &[&str],
        validity: Validity,
    ) -> Result<Issued, PkiError> {
        self.certify(&Signer::generate()?, role, server_names, validity)
    }

    /// Issues a certificate for a key that exists, so that whoever has pinned it need not learn anything.
    ///
    /// # Errors
    /// As [`Self::issue`]; [`PkiError::Signing`] for a key that does not read.
    pub fn renew(
        &self,
        role: Role,
        server_names: &[&str],
        validity: Validity,
        key_pem: &str,
    ) -> Result<Issued, PkiError> {
        self.certify(&Signer::from_pem(key_pem)?, role, server_names, validity)
    }

    fn certify(
        &self,
        key: &Signer,
        role: Role,
        server_names: &[&str],
        validity: Validity,
    ) -> Result<Issued, PkiError> {
        let mut params = params(&format!("{role} of {}", self.cluster), validity, key)?;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match role {
            Role::Coordinator => ExtendedKeyUsagePurpose::ServerAuth,
            Role::Client | Role::Node(_) | Role::Operator => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        let uri = role_uri(&self.cluster, role);
        let uri = uri.as_str().try_into().map_err(PkiError::from)?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        for name in server_names {
            let bad = || PkiError::Name((*name).to_owned());
            params.subject_alt_names.push(match name.parse() {
                Ok(ip) => SanType::IpAddress(ip),
                Err(_) => {
                    rustls::pki_types::DnsName::try_from(*name).map_err(|_| bad())?;
                    SanType::DnsName((*name).try_into().map_err(|_| bad())?)
                }
            });
        }
        let cert = params
            .signed_by(key, &self.issuer)
            .map_err(PkiError::from)?;
        let leaf = Leaf::read(cert.der(), &self.cluster)?;
        Ok(Issued {
            cert_pem: cert.pem(),
            key_pem: key.pem(),
            leaf,
        })
    }

    /// Signs a revocation list. `number` must grow with every list; `validity.until` is when the next is due, and
    /// when everybody stops being admitted if it has not come.
    ///
    /// # Errors
    /// [`PkiError::Validity`] or [`PkiError::Signing`].
    pub fn crl(
        &self,
        revoked: &[Serial],
        number: u64,
        validity: Validity,
    ) -> Result<String, PkiError> {
        let (this_update, next_update) = validity.times()?;
        let entry = |serial: &Serial| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial.as_bytes()),
            revocation_time: this_update.into(),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        };
        CertificateRevocationListParams {
            this_update: this_update.into(),
            next_update: next_update.into(),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        }
        .signed_by(&self.issuer)
        .and_then(|list| list.pem())
        .map_err(PkiError::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_000;

    fn demo() -> ClusterId {
        ClusterId::parse("demo").unwrap()
    }

    fn authority() -> Authority {
        make_ca(&demo(), Validity::days(NOW, 3650)).unwrap()
    }

    #[test]
    fn what_is_issued_says_what_was_asked_for() {
        let ca = authority();
        let validity = Validity {
            from: NOW,
            until: NOW + 86_400,
        };
        let one = ca.issue(Role::Node(7), &[], validity).unwrap();
        assert_eq!(one.leaf.role, Role::Node(7));
        assert_eq!(
            (one.leaf.not_before, one.leaf.not_after),
            (NOW, NOW + 86_400)
        );
        let two = ca.issue(Role::Node(7), &[], validity).unwrap();
        assert!(one.leaf.serial != two.leaf.serial && one.leaf.pin != two.leaf.pin);
        // Positive, and never shortened by leading zeros.
        for _ in 0..50 {
            let serial = ca.issue(Role::Client, &[], validity).unwrap().leaf.serial;
            assert!(serial.as_bytes().len() == 16 && serial.as_bytes()[0] & 0xc0 == 0x40);
        }
    }

    #[test]
    fn a_renewed_certificate_keeps_its_key_and_a_list_reads_back() {
        let ca = authority();
        let old = ca
            .issue(Role::Coordinator, &["localhost"], Validity::days(NOW, 1))
            .unwrap();
        let day = Validity::days(NOW, 2);
        let new = ca
            .renew(Role::Coordinator, &["localhost"], day, &old.key_pem)
            .unwrap();
        assert_eq!(new.leaf.pin, old.leaf.pin);
        assert_ne!(new.leaf.serial, old.leaf.serial);
        let lists = [
            ca.crl(&[], 1, day).unwrap(),
            ca.crl(&[old.leaf.serial.clone()], 300, day).unwrap(),
        ];
        let read = Revocations::read(&lists.concat()).unwrap();
        assert_eq!((read.number, read.next_update), (300, day.until));
        assert!(read.names(&old.leaf.serial) && !read.names(&new.leaf.serial));
        for bad in ["", "nothing", ca.cert_pem()] {
            assert!(matches!(Revocations::read(bad), Err(PkiError::List(_))));
        }
    }

    #[test]
    fn an_authority_survives_its_files_and_keeps_its_key_to_itself() {
        let ca = authority();
        let again = Authority::from_pem(&demo(), ca.cert_pem(), &ca.key_pem()).unwrap();
        assert_eq!(again.key_pem(), ca.key_pem());
        let other = authority();
        let mixed = Authority::from_pem(&demo(), ca.cert_pem(), &other.key_pem());
        assert!(matches!(mixed, Err(PkiError::Authority(_))));
        let issued = ca.issue(Role::Client, &[], Validity::days(NOW, 1)).unwrap();
        for (text, key) in [
            (format!("{ca:?}"), ca.key_pem()),
            (format!("{issued:?}"), issued.key_pem),
        ] {
            let body = key.lines().nth(1).unwrap();
            assert!(!text.contains(body) && !text.contains("PRIVATE"));
        }
    }

    #[test]
    fn names_and_times_that_cannot_be_are_refused() {
        let ca = authority();
        let day = Validity::days(NOW, 1);
        for name in ["", "a b", "quorate://demo/node/1", "a..b", "\u{e9}.test"] {
            let refused = ca.issue(Role::Coordinator, &[name], day).map(drop);
            assert_eq!(refused, Err(PkiError::Name(name.to_owned())));
        }
        assert!(
            ca.issue(Role::Coordinator, &["localhost", "127.0.0.1", "::1"], day)
                .is_ok()
        );
        for (from, until) in [
            (NOW, NOW),
            (NOW, NOW - 1),
            (NOW, LAST_SECOND + 1),
            (u64::MAX, u64::MAX),
        ] {
            let validity = Validity { from, until };
            let refused = Err(PkiError::Validity { from, until });
            assert_eq!(ca.issue(Role::Client, &[], validity).map(drop), refused);
            assert_eq!(ca.crl(&[], 1, validity).map(drop), refused);
            assert_eq!(make_ca(&demo(), validity).map(drop), refused);
        }
        let last = Validity {
            from: 0,
            until: LAST_SECOND,
        };
        assert_eq!(
            ca.issue(Role::Client, &[], last).unwrap().leaf.not_after,
            LAST_SECOND
        );
    }
}
