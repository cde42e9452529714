//! Roots and revocation lists.
use std::{collections::BTreeMap, fmt, sync::Arc};

use policy::id::ClusterId;
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    pki_types::{CertificateRevocationListDer, UnixTime, pem::PemObject},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use x509_parser::{
    certificate::X509Certificate, prelude::FromDer, revocation_list::CertificateRevocationList,
};

use super::{
    ConfigError, FileKind,
    files::certificates,
    provider,
    verifier::{CoordinatorVerifier, MemberVerifier},
};
use crate::channel::identity::{RoleKind, SpkiPin};

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

    pub(super) fn web_pki(&self) -> Result<Arc<WebPkiServerVerifier>, ConfigError> {
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
