//! A new share that waits for its certificate.
//!
//! ```text
//! u8 1 | u32be length, request | u32be length, new package | digest of the messages 32 | u32be length, own part
//!      | u32be length, share (empty at a dealer that gets none) | u16 count | count times a pair record
//! ```
//! From the moment a participant has signed, this must not be lost until a certificate of this sharing or a higher one is durable: no
//! timeout and no abort deletes it. (Protocol notes, section 12.2.)

use core::fmt;

use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::{Certificate, Facts, Output, Part, Request};
use crate::codec::{DecodeError, Problem, Reader, Writer};
use crate::dkg::certificate;
use crate::dkg::plan::Plan;
use crate::envelope::MAX_ENVELOPE;
use crate::id::SessionId;
use crate::keys::{KeyShare, PublicKeyPackage};
use crate::known::Known;
use crate::lineage::Sharing;
use crate::pair::{PairRecord, RECORD_BYTES};
use crate::{Error, Rejection};

const VERSION: u8 = 1;
const MAX_PART: usize = 1 << 16;

/// What a participant has stored before it signed. Secret; wiped when dropped.
pub struct Prepared {
    request: Request,
    package: PublicKeyPackage,
    messages: [u8; 32],
    part: Vec<u8>,
    share: Option<KeyShare>,
    pairs: Vec<PairRecord>,
}

impl Prepared {
    /// Encodes what has to be durable before `part`, this node's signed message of round 3, may leave.
    pub(crate) fn encode<'a>(
        facts: &Facts<'_>,
        part: &[u8],
        share: Option<&KeyShare>,
        pairs: impl Iterator<Item = &'a PairRecord>,
    ) -> Zeroizing<Vec<u8>> {
        let pairs: Vec<_> = pairs.map(PairRecord::dangerous_to_bytes).collect();
        let share = share.map(KeyShare::dangerous_to_bytes).unwrap_or_default();
        let (request, package) = (facts.request.encode(), facts.package.encode());
        // Reserved in full, so that growing leaves no copy of the secret behind.
        let lengths = [request.len(), package.len(), part.len(), share.len()];
        let fixed = pairs.len().saturating_mul(RECORD_BYTES).saturating_add(64);
        let capacity = lengths.into_iter().fold(fixed, usize::saturating_add);
        let mut out = Writer::with_capacity(capacity);
        out.u8(VERSION)
            .var(&request)
            .var(&package)
            .bytes(facts.messages);
        out.var(part).var(&share);
        out.u16(u16::try_from(pairs.len()).unwrap_or(u16::MAX));
        for pair in &pairs {
            out.bytes(pair);
        }
        Zeroizing::new(out.finish())
    }

    /// Decodes the bytes of a [`crate::session::WriteKind::Share`] write of a reshare.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn dangerous_from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::dangerous_from_bytes_known(bytes, &Known::NOTHING)
    }

    /// As [`Self::dangerous_from_bytes`]; public records and keys that are known are not checked again.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn dangerous_from_bytes_known(
        bytes: &[u8],
        known: &Known<'_>,
    ) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.u8("version")? != VERSION {
            return Err(DecodeError::new("version", Problem::Unknown));
        }
        let request = Request::decode_known(reader.var("request", MAX_PART)?, known)?;
        let package = PublicKeyPackage::decode_known(reader.var("package", MAX_PART)?, known)?;
        let messages = reader.array("messages")?;
        let part = reader.var("part", MAX_ENVELOPE)?.to_vec();
        let share = match reader.var("share", MAX_PART)? {
            [] => None,
            bytes => {
                let known = Known::NOTHING.package(&package);
                Some(KeyShare::dangerous_from_bytes_known(bytes, &known)?)
            }
        };
        let count = reader.u16("pairs")?;
        let pairs = (0..count)
            .map(|_| PairRecord::dangerous_from_bytes(reader.bytes("pair", RECORD_BYTES)?))
            .collect::<Result<_, _>>()?;
        reader.finish("prepared")?;
        // The certificate that releases the share proves nothing about a share of another sharing.
        if share
            .as_ref()
            .is_some_and(|share| *share.public() != package)
        {
            return Err(DecodeError::new("share", Problem::Unknown));
        }
        Ok(Self {
            request,
            package,
            messages,
            part,
            share,
            pairs,
        })
    }

    /// The sharing that waits. It must not be used before its certificate is there.
    #[must_use]
    pub const fn sharing(&self) -> Sharing {
        Sharing {
            epoch: self.package.epoch(),
            attempt: self.package.attempt(),
            id: self.package.sharing(),
        }
    }

    /// The public record of that sharing.
    #[must_use]
    pub const fn package(&self) -> &PublicKeyPackage {
        &self.package
    }

    /// What was asked for.
    #[must_use]
    pub const fn request(&self) -> &Request {
        &self.request
    }

    /// Whether there is a share in it: not at a dealer outside the new committee.
    #[must_use]
    pub const fn holds_share(&self) -> bool {
        self.share.is_some()
    }

    /// The pair setups that were made together with the sharing: active with its certificate.
    #[must_use]
    pub fn pairs(&self) -> &[PairRecord] {
        &self.pairs
    }

    /// This node's own part of the certificate, to be sent again to whoever misses it.
    #[must_use]
    pub fn own_part(&self) -> &[u8] {
        &self.part
    }

    /// Finishes with the parts of all participants, whoever delivered them. This node's own part may be left out.
    ///
    /// # Errors
    /// A [`Rejection`] when the parts are not the certificate of this sharing; the stored bytes stay valid.
    pub fn finish<T: AsRef<[u8]>>(
        self,
        parts: impl IntoIterator<Item = T>,
    ) -> Result<Output, Error> {
        let plan = Plan::reshare(self.request.clone())?;
        let mut session = None;
        let mut collected = vec![self.open(&plan, &self.part, &mut session)?];
        for part in parts {
            collected.push(self.open(&plan, part.as_ref(), &mut session)?);
        }
        let facts = Facts {
            request: &self.request,
            package: &self.package,
            messages: &self.messages,
        };
        let certificate = Certificate::from_parts(&facts, collected)?;
        Ok(self.output(certificate))
    }

    /// Finishes with the certificate.
    ///
    /// # Errors
    /// [`Rejection::InvalidCertificate`] for the certificate of another sharing; the stored bytes stay valid.
    pub fn activate(self, certificate: &Certificate) -> Result<Output, Error> {
        if certificate.sharing() != self.sharing() || *certificate.request() != self.request {
            let why = "the certificate is for another sharing";
            return Err(Rejection::InvalidCertificate(why).into());
        }
        Ok(self.output(certificate.clone()))
    }

    fn output(self, certificate: Certificate) -> Output {
        Output {
            certificate,
            share: self.share,
            pairs: self.pairs,
        }
    }

    /// One part. All must be of one session.
    fn open(
        &self,
        plan: &Plan,
        bytes: &[u8],
        session: &mut Option<SessionId>,
    ) -> Result<Part, Rejection> {
        let signed = certificate::open_part(plan, bytes)?;
        if *session.get_or_insert(signed.session) != signed.session {
            return Err(Rejection::WrongSession);
        }
        if signed.transcript != *self.package.sharing().as_bytes() {
            return Err(Rejection::InvalidCertificate(
                "a part is about another sharing",
            ));
        }
        Ok(Part {
            node: signed.from,
            holding: signed.holding,
            dealing: signed.dealing,
        })
    }
}

impl ZeroizeOnDrop for Prepared {}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared")
            .field("sharing", &self.sharing())
            .finish_non_exhaustive()
    }
}
