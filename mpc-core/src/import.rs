//! Import: shares of a key that somebody knows already.
//!
//! A dealer with the secret deals it to the members and to nobody else, in a session that is a key generation in every other respect:
//! commitments, encrypted shares, complaints, echoes, pair setups and certificates. The operators have told the members which key to
//! expect, so a dealer cannot bring another one.
//!
//! An imported key is never as good as one that nobody has seen: whoever kept a copy can sign alone, for ever. Refresh it at once and
//! move the funds to a generated key as soon as that can be done. (Protocol notes, section 12.4.)

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand_core::CryptoRng;

use crate::Error;
use crate::codec::{DecodeError, Problem, Reader, Writer};
use crate::dkg::ceremony::{self, Ceremony, Dealing, Formed, Start};
use crate::dkg::plan::Plan;
use crate::dkg::{DkgCertificate, Setup};
use crate::id::{NodeId, RequestId, SessionId};
use crate::identity::{IdentityKey, IdentityPublic};
use crate::secret::SecretBytes;
use crate::session::{self, Inbound, Step};
use crate::transcript::{self, Tag};

const MAX_POINT: usize = 33;

/// What the operators have told every member about a key that is to be imported. Public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Who brings it: the one-time key that signs the dealer's messages.
    pub dealer: IdentityPublic,
    /// The key, encoded as in [`crate::keys::PublicKeyPackage::public_key`]. For BIP 340 the internal key, before the tweak that every
    /// such key gets.
    pub public_key: Vec<u8>,
    /// Its BIP 32 chain code, so that its children stay what they are. Zeros if it has none.
    pub chain_code: [u8; 32],
}

impl Announcement {
    pub(crate) fn write(&self, out: &mut Writer) {
        out.bytes(self.dealer.as_bytes())
            .var(&self.public_key)
            .bytes(&self.chain_code);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let dealer = IdentityPublic::from_bytes(&reader.array("dealer")?)?;
        let public_key = reader.var("public_key", MAX_POINT)?.to_vec();
        if public_key.len() < 32 {
            return Err(DecodeError::new("public_key", Problem::Length));
        }
        Ok(Self {
            dealer,
            public_key,
            chain_code: reader.array("chain_code")?,
        })
    }

    /// `H("import/rq"; dealer, public key, chain code, request id)`: names the session in place of the request id alone.
    pub(crate) fn digest(&self, request_id: &RequestId) -> [u8; 32] {
        transcript::hash(Tag::IMPORT)
            .field(self.dealer.as_bytes())
            .field(&self.public_key)
            .field(self.chain_code)
            .field(request_id)
            .digest()
    }
}

/// The dealer's side of an import. It stores nothing, so its steps never wait for a write; if it is interrupted, start again with
/// another attempt.
#[derive(Debug)]
pub struct Dealer(Ceremony);

impl Dealer {
    /// Starts an import. `secret` is the scalar in the canonical encoding of its curve (secp256k1 big-endian, Ed25519 little-endian);
    /// `identity` is the one-time key of the announcement, and `setup.me` is its node. `setup.pairs` is not read.
    ///
    /// # Errors
    /// [`crate::Misuse`] when the setup contradicts itself, or the secret is not that of the announced key.
    pub fn start(
        setup: Setup,
        announcement: Announcement,
        secret: SecretBytes<32>,
        identity: Arc<IdentityKey>,
        rng: &mut impl CryptoRng,
        now_ms: u64,
        timeout_ms: u64,
    ) -> Result<(Self, Step<DkgCertificate>), Error> {
        let threshold = setup.params.threshold();
        let plan = Plan::import(
            announcement,
            setup.roster,
            setup.purpose,
            threshold,
            setup.request_id,
            setup.attempt,
        )?;
        let start = Start {
            me: setup.me,
            identity,
            now_ms,
            timeout_ms,
        };
        let dealing = Dealing::Secret(secret);
        let (ceremony, step) = Ceremony::start(plan, start, &dealing, BTreeMap::new(), rng)?;
        Ok((Self(ceremony), finished(step)?))
    }

    /// The name of the session before round 1 is complete.
    #[must_use]
    pub const fn first_name(&self) -> SessionId {
        self.0.first_name()
    }
}

fn finished(step: Step<ceremony::Output>) -> Result<Step<DkgCertificate>, Error> {
    step.without_write()
        .try_map(|output| match output.certificate {
            Formed::New(certificate) => Ok(certificate),
            Formed::Reshared(_) => Err(Error::Unreachable("an import that reshared a key")),
        })
}

impl session::Session for Dealer {
    type Output = DkgCertificate;

    fn handle(&mut self, input: Inbound, now_ms: u64) -> Result<Step<DkgCertificate>, Error> {
        finished(self.0.handle(&input, now_ms)?)
    }

    fn tick(&mut self, now_ms: u64) -> Result<Step<DkgCertificate>, Error> {
        finished(self.0.tick(now_ms)?)
    }

    fn deadline_ms(&self) -> Option<u64> {
        self.0.deadline_ms()
    }

    fn waiting_for(&self) -> BTreeSet<NodeId> {
        self.0.waiting_for()
    }
}
