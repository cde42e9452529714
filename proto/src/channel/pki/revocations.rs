//! What a revocation list says, for whoever signs the next one.
use rustls::pki_types::{CertificateRevocationListDer, pem::PemObject};
use x509_parser::{prelude::FromDer, revocation_list::CertificateRevocationList};

use super::PkiError;
use crate::channel::identity::Serial;

/// The newest list of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocations {
    /// Its number; the next list needs a higher one.
    pub number: u64,
    /// The serial numbers of the certificates that are refused.
    pub serials: Vec<Serial>,
    /// When nobody is admitted any more unless a newer list has come, seconds since 1970.
    pub next_update: u64,
}

impl Revocations {
    /// Reads a file of one or more lists by one authority. Signatures are not looked at.
    ///
    /// # Errors
    /// [`PkiError::List`].
    pub fn read(pem: &str) -> Result<Self, PkiError> {
        let bad = |what: &str| PkiError::List(what.to_owned());
        let mut newest: Option<Self> = None;
        for der in CertificateRevocationListDer::pem_slice_iter(pem.as_bytes()) {
            let der = der.map_err(|_| bad("it is not PEM"))?;
            let list = Self::of(&der).ok_or_else(|| bad("it does not read"))?;
            if newest.as_ref().is_none_or(|held| held.number < list.number) {
                newest = Some(list);
            }
        }
        newest.ok_or_else(|| bad("it is empty"))
    }

    fn of(der: &CertificateRevocationListDer<'_>) -> Option<Self> {
        let Ok(([], list)) = CertificateRevocationList::from_der(der) else {
            return None;
        };
        let digits = list.crl_number()?.to_bytes_be();
        let number = digits.iter().try_fold(0_u64, |number, digit| {
            number.checked_mul(256)?.checked_add(u64::from(*digit))
        })?;
        let serials = list
            .iter_revoked_certificates()
            .map(|entry| Serial::from_bytes(entry.raw_serial()).ok())
            .collect::<Option<_>>()?;
        Some(Self {
            number,
            serials,
            next_update: u64::try_from(list.next_update()?.timestamp()).ok()?,
        })
    }

    /// Whether a certificate is refused by this list.
    #[must_use]
    pub fn names(&self, serial: &Serial) -> bool {
        self.serials.contains(serial)
    }
}
