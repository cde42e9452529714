//! The certificate of a reshare: whoever holds it can convince every holder of the old sharing and every member of the new one.
//!
//! ```text
//! u8 1 | u32be length, request | u32be length, new package | digest of the messages 32
//!      | for each member, ascending by node: n' - 1 times pid 32 (ECDSA) | signature 64
//!      | for each dealer, ascending by node: signature 64
//! ```
//! (Protocol notes, section 12.2.)

use std::collections::BTreeMap;

use super::Request;
use crate::Rejection;
use crate::codec::{DecodeError, Problem, Reader, Writer};
use crate::dkg::certificate::{Holding, Outcome};
use crate::dkg::pending::disagreeing_pair;
use crate::dkg::round3::reshare_transcript;
use crate::group::{Ed25519, Secp256k1};
use crate::id::{KeyId, NodeId, PairId, SharingId, Suite};
use crate::keys::{KeyGroup, PublicKeyPackage};
use crate::known::Known;
use crate::lineage::Sharing;

const VERSION: u8 = 1;
const MAX_REQUEST: usize = 1 << 16;
const MAX_PACKAGE: usize = 1 << 16;

/// Longest encoded certificate in bytes.
pub(crate) const MAX_CERTIFICATE: usize = 1 << 18;

/// What a certificate says, whoever has signed it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) request: &'a Request,
    /// The new sharing.
    pub(crate) package: &'a PublicKeyPackage,
    /// Digest of the messages that made it.
    pub(crate) messages: &'a [u8; 32],
}

/// What one participant has signed.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) node: NodeId,
    pub(crate) holding: Option<Holding>,
    pub(crate) dealing: Option<[u8; 64]>,
}

/// Proof that a sharing is to be used instead of the one before: all members of its committee hold their shares, and all dealers have
/// approved. Public. Valid by construction in itself; [`Self::verify`] ties it to the sharing that it continues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    request: Request,
    package: PublicKeyPackage,
    messages: [u8; 32],
    holdings: BTreeMap<NodeId, Holding>,
    dealings: BTreeMap<NodeId, [u8; 64]>,
}

impl Certificate {
    /// Puts together what a session has checked part by part.
    pub(crate) fn collected(facts: &Facts<'_>, parts: impl IntoIterator<Item = Part>) -> Self {
        let (mut holdings, mut dealings) = (BTreeMap::new(), BTreeMap::new());
        for part in parts {
            if let Some(holding) = part.holding {
                holdings.insert(part.node, holding);
            }
            if let Some(dealing) = part.dealing {
                dealings.insert(part.node, dealing);
            }
        }
        Self {
            request: facts.request.clone(),
            package: facts.package.clone(),
            messages: *facts.messages,
            holdings,
            dealings,
        }
    }

    /// As [`Self::collected`], of parts from anywhere.
    ///
    /// # Errors
    /// [`Rejection::InvalidCertificate`] or [`Rejection::BadSignature`].
    pub(crate) fn from_parts(
        facts: &Facts<'_>,
        parts: impl IntoIterator<Item = Part>,
    ) -> Result<Self, Rejection> {
        let certificate = Self::collected(facts, parts);
        certificate.check()?;
        Ok(certificate)
    }

    /// What was asked for.
    #[must_use]
    pub const fn request(&self) -> &Request {
        &self.request
    }

    /// The sharing that it activates.
    #[must_use]
    pub const fn sharing(&self) -> Sharing {
        Sharing {
            epoch: self.package.epoch(),
            attempt: self.package.attempt(),
            id: self.package.sharing(),
        }
    }

    /// Checks that it continues `active`, a sharing that the caller has held or verified, and gives the new public record.
    ///
    /// # Errors
    /// [`Rejection::InvalidCertificate`] if it continues another one.
    pub fn verify(&self, active: &PublicKeyPackage) -> Result<PublicKeyPackage, Rejection> {
        if self.request.active() == active {
            Ok(self.package.clone())
        } else {
            Err(invalid("it continues another sharing"))
        }
    }

    /// The public record of the sharing that it activates. It means nothing before [`Self::verify`] has tied it to a known sharing.
    pub(crate) const fn package(&self) -> &PublicKeyPackage {
        &self.package
    }

    /// Whether this is the record of the sharing that it activates.
    pub(crate) fn verify_new(&self, package: &PublicKeyPackage) -> bool {
        self.package == *package
    }

    /// The name of the setup of two members, as both have signed it; `None` for keys without pair setups.
    #[must_use]
    pub fn pair(&self, one: &NodeId, other: &NodeId) -> Option<PairId> {
        self.holdings
            .get(one)?
            .pair(self.request.roster(), one, other)
    }

    /// The one encoding of this certificate.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u8(VERSION)
            .var(&self.request.encode())
            .var(&self.package.encode())
            .bytes(&self.messages);
        for holding in self.holdings.values() {
            for pair in &holding.pairs {
                out.bytes(pair.as_bytes());
            }
            out.bytes(&holding.signature);
        }
        for dealing in self.dealings.values() {
            out.bytes(dealing);
        }
        out.finish()
    }

    /// Decodes a certificate and checks everything that can be checked without knowing the sharing it continues: the transcript and all
    /// signatures.
    ///
    /// # Errors
    /// `Malformed`, `InvalidCertificate` or `BadSignature`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Rejection> {
        Self::decode_known(bytes, &Known::NOTHING)
    }

    /// As [`Self::decode`]; records and keys that are known are not checked again, signatures are.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode_known(bytes: &[u8], known: &Known<'_>) -> Result<Self, Rejection> {
        let certificate = Self::read(bytes, known).map_err(Rejection::Malformed)?;
        certificate.check()?;
        Ok(certificate)
    }

    /// Decodes a certificate whose signatures this node has checked before it stored it.
    pub(crate) fn stored(bytes: &[u8]) -> Result<Self, DecodeError> {
        let certificate = Self::read(bytes, &Known::NOTHING)?;
        let right = certificate.check_content().is_ok();
        right
            .then_some(certificate)
            .ok_or_else(|| DecodeError::new("certificate", Problem::Unknown))
    }

    /// The key that an encoded certificate is about, for whoever looks up what it knows of that key. Nothing else is read.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn key_of(bytes: &[u8]) -> Result<KeyId, DecodeError> {
        Request::key_of(Self::read_request(&mut Reader::new(bytes))?)
    }

    fn read_request<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
        if reader.u8("version")? != VERSION {
            return Err(DecodeError::new("version", Problem::Unknown));
        }
        reader.var("request", MAX_REQUEST)
    }

    fn read(bytes: &[u8], known: &Known<'_>) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_CERTIFICATE {
            return Err(DecodeError::new("certificate", Problem::Length));
        }
        let mut reader = Reader::new(bytes);
        let request = Request::decode_known(Self::read_request(&mut reader)?, known)?;
        let package = PublicKeyPackage::decode_known(reader.var("package", MAX_PACKAGE)?, known)?;
        let messages = reader.array("messages")?;
        let peers = paired_peers(&request);
        let (mut holdings, mut dealings) = (BTreeMap::new(), BTreeMap::new());
        for node in request.roster().nodes() {
            let pairs = (0..peers)
                .map(|_| reader.array("pid").map(PairId::from_bytes))
                .collect::<Result<_, _>>()?;
            let signature = reader.array("signature")?;
            holdings.insert(node, Holding { pairs, signature });
        }
        for node in request.dealers() {
            dealings.insert(node, reader.array("dealer_signature")?);
        }
        reader.finish("certificate")?;
        Ok(Self {
            request,
            package,
            messages,
            holdings,
            dealings,
        })
    }

    fn check(&self) -> Result<(), Rejection> {
        self.check_content()?;
        self.check_signatures()
    }

    fn check_content(&self) -> Result<(), Rejection> {
        let (request, package) = (&self.request, &self.package);
        let (active, facts) = (request.active(), package.facts());
        let continues = facts.key_id == active.key_id()
            && facts.purpose == active.purpose()
            && facts.chain_code == *active.chain_code()
            && package.public_key() == active.public_key();
        if !continues {
            return Err(invalid("it is about another key"));
        }
        let asked = facts.epoch == request.epoch()
            && facts.attempt == request.attempt()
            && package.params() == request.params()
            && request
                .roster()
                .by_index()
                .eq(package.nodes().iter().map(|(index, node)| (*index, *node)));
        if !asked {
            return Err(invalid("the sharing is not the one asked for"));
        }
        let transcript = match facts.purpose.suite() {
            Suite::Ed25519 => self.transcript::<Ed25519>(),
            Suite::Secp256k1 => self.transcript::<Secp256k1>(),
        };
        if transcript.map(SharingId::from_bytes) != Some(facts.sharing) {
            return Err(invalid(
                "the name of the sharing does not cover its content",
            ));
        }
        Ok(())
    }

    fn transcript<G: KeyGroup>(&self) -> Option<[u8; 32]> {
        let points = self.package.view::<G>()?;
        Some(reshare_transcript(&self.request, points, &self.messages))
    }

    fn check_signatures(&self) -> Result<(), Rejection> {
        let request = &self.request;
        let roster = request.roster();
        if !roster.nodes().eq(self.holdings.keys().copied())
            || request.dealers() != self.dealings.keys().copied().collect()
        {
            return Err(invalid("a part is missing"));
        }
        let outcome = Outcome {
            form: "reshare",
            transcript: *self.package.sharing().as_bytes(),
            epoch: request.epoch(),
            attempt: request.attempt(),
        };
        let peers = paired_peers(request);
        for (node, holding) in &self.holdings {
            if holding.pairs.len() != peers || !holding.verify(&outcome, roster, node) {
                return Err(Rejection::BadSignature);
            }
        }
        let digest = outcome.dealer_digest();
        for (node, signature) in &self.dealings {
            let identity = request.identity(node);
            if !identity.is_some_and(|identity| identity.verify(&digest, signature)) {
                return Err(Rejection::BadSignature);
            }
        }
        if disagreeing_pair(roster, &self.holdings).is_some() {
            return Err(invalid("two members name different setups for their pair"));
        }
        Ok(())
    }
}

/// Of how many peers every member's part speaks.
fn paired_peers(request: &Request) -> usize {
    if request.active().purpose().needs_pairs() {
        request.roster().len().saturating_sub(1)
    } else {
        0
    }
}

const fn invalid(why: &'static str) -> Rejection {
    Rejection::InvalidCertificate(why)
}
