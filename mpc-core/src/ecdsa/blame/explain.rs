//! The signer's side: explaining a response.

use rand_core::CryptoRng;

use super::message::{Explanation, Factor};
use super::{Case, Proof, Statement, context};
use crate::ecdsa::SecretScalar;
use crate::ecdsa::sign::Responded;
use crate::envelope::Envelope;
use crate::id::NodeId;
use crate::identity::IdentityKey;
use crate::roster::Roster;
use crate::secret::SecretBytes;
use crate::{Error, Misuse};

impl Responded {
    /// Explains this signer's response after a signature that does not verify ("BLAME", an envelope for all). `openings` and `responses`
    /// are the envelopes of all signers, this one's included, in any order.
    ///
    /// Consumes the state: a response is explained once. Constant time in all secrets.
    ///
    /// # Errors
    /// [`Misuse::NoFault`] if the signature verifies; what [`super::combine`] says if it fails for another reason;
    /// [`Misuse::InvalidSigners`] if this signer's own response was changed. Nothing is revealed then.
    pub fn explain(
        self,
        roster: &Roster,
        identity: &IdentityKey,
        openings: &[Vec<u8>],
        responses: &[Vec<u8>],
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<u8>, Error> {
        if identity.public().node_id() != self.me {
            return Err(Misuse::IdentityMismatch.into());
        }
        let case = Case::failed(roster, &self.request, &self.entry, openings, responses)?;
        // Its response has the echo of the openings that it checked, and all responses have the same.
        let own = case.responses.get(&self.me);
        if own.map(|held| held.envelope.digest()) != Some(&self.response) {
            return Err(Misuse::InvalidSigners("this signer's own message was changed").into());
        }
        self.sign(&case, identity, rng)
    }

    /// As [`Self::explain`] without asking whether the messages are this signer's own: what a liar can do, for tests.
    ///
    /// # Errors
    /// As [`Self::explain`].
    #[cfg(any(test, feature = "testing"))]
    pub fn explain_unchecked(
        self,
        roster: &Roster,
        identity: &IdentityKey,
        openings: &[Vec<u8>],
        responses: &[Vec<u8>],
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<u8>, Error> {
        let case = Case::failed(roster, &self.request, &self.entry, openings, responses)?;
        self.sign(&case, identity, rng)
    }

    fn sign(
        &self,
        case: &Case,
        identity: &IdentityKey,
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<u8>, Error> {
        let hedge = SecretBytes::random(rng);
        let peers = self.betas.iter().map(|(peer, beta)| {
            let factor = case.show(&self.me, peer, beta, &hedge)?;
            Ok((*peer, factor))
        });
        let explanation = Explanation {
            echo: case.echo,
            facts: case.facts.hash(),
            own: case.show(&self.me, &self.me, &self.factor, &hedge)?,
            peers: peers.collect::<Result<_, Error>>()?,
        };
        let place = case.place(self.me);
        Ok(Envelope::seal(identity, &place, &explanation.encode()))
    }
}

impl Case {
    /// A factor in the exponent, with the proof.
    fn show(
        &self,
        me: &NodeId,
        about: &NodeId,
        factor: &SecretScalar,
        hedge: &SecretBytes<32>,
    ) -> Result<Factor, Error> {
        let bases = self
            .bases(about)
            .ok_or(Error::Unreachable("a signer without points"))?;
        let images = bases.map(|base| base * factor.expose_secret());
        let fields: [&[u8]; 1] = [self.session.as_bytes()];
        let statement = Statement { bases, images };
        let proof = Proof::prove(&context(&fields, *me), hedge, factor, &statement);
        Ok(Factor { images, proof })
    }
}
