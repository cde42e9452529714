//! Round 1: draw everything, commit to it, and say under which one-time key shares may be sent.

use rand_core::CryptoRng;

use super::collect::Complete;
use super::{Plan, round2};
use crate::Error;
use crate::codec::{DecodeError, Problem, Reader, Writer};
use crate::group::{EncodedPoint, Group, Ristretto255};
use crate::id::{PartyIndex, SessionId};
use crate::polynomial::{Commitment, SecretPolynomial};
use crate::secret::{SecretBytes, SecretScalar};
use crate::transcript::{self, Tag};

/// What a party says in round 1 about its pair setup with one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PairOffer {
    /// `gen_ij`: generation of the last setup it has stored, 0 for none.
    pub(super) generation: u32,
    /// `A_ij`: its offer of base transfers; none if it wants to go on with the live setup.
    pub(super) offer: Option<EncodedPoint<Ristretto255>>,
}

impl PairOffer {
    const BYTES: usize = 37;

    fn write(&self, out: &mut Writer) {
        out.u32(self.generation).u8(u8::from(self.offer.is_none()));
        match &self.offer {
            Some(offer) => out.bytes(offer.as_slice()),
            None => out.bytes(&[0; 32]),
        };
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let generation = reader.u32("generation")?;
        let reuse = reader.u8("reuse")?;
        let offer = reader.bytes("offer", Ristretto255::POINT_BYTES)?;
        let offer = match reuse {
            0 => Some(EncodedPoint::decode("offer", offer)?),
            1 if offer == [0; 32] => None,
            1 => return Err(DecodeError::new("offer", Problem::NotCanonical)),
            _ => return Err(DecodeError::new("reuse", Problem::Unknown)),
        };
        Ok(Self { generation, offer })
    }
}

/// `n_i || D_i || com_i`, 96 bytes; for keys with pair setups 37 bytes more per peer, in ascending order of the nodes.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// `n_i`: contribution to the name of the session.
    pub(super) nonce: [u8; 32],
    /// `D_i`: one-time key that shares for this party are encrypted to.
    pub(super) receiving_key: EncodedPoint<Ristretto255>,
    /// `com_i`: commitment to round 2.
    pub(super) commitment: [u8; 32],
    /// About every peer, in ascending order; empty for keys without pair setups.
    pub(super) pairs: Vec<PairOffer>,
}

impl Message {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.bytes(&self.nonce)
            .bytes(self.receiving_key.as_slice())
            .bytes(&self.commitment);
        for pair in &self.pairs {
            pair.write(&mut out);
        }
        out.finish()
    }

    pub(super) fn decode(plan: &Plan, bytes: &[u8]) -> Result<Self, DecodeError> {
        let offers = plan.paired_peers().saturating_mul(PairOffer::BYTES);
        let len = offers.saturating_add(96);
        let mut reader = Reader::measured("body", bytes, len)?;
        let nonce = reader.array("nonce")?;
        let receiving_key = reader.bytes("receiving_key", Ristretto255::POINT_BYTES)?;
        let commitment = reader.array("commitment")?;
        let pairs = (0..plan.paired_peers())
            .map(|_| PairOffer::read(&mut reader))
            .collect::<Result<_, _>>()?;
        reader.finish("body")?;
        Ok(Self {
            nonce,
            receiving_key: EncodedPoint::decode("receiving_key", receiving_key)?,
            commitment,
            pairs,
        })
    }
}

/// `ssid = H("ssid"; ssid0, (nid_i || n_i) list by node)`.
pub(super) fn session_id(plan: &Plan, round: &Complete<'_, Message>) -> SessionId {
    let mut items: Vec<Vec<u8>> = round
        .iter()
        .map(|entry| [&entry.node.as_bytes()[..], &entry.message().nonce].concat())
        .collect();
    items.sort_unstable();
    SessionId::from_bytes(
        transcript::hash(Tag::SSID)
            .field(plan.ssid0)
            .list(&items)
            .digest(),
    )
}

/// What a party reveals in round 2 and has committed to in round 1.
#[derive(Debug)]
pub(super) struct Opening<'a, G: Group> {
    pub(super) commitment: &'a Commitment<G>,
    pub(super) sending_key: &'a EncodedPoint<Ristretto255>,
    pub(super) chain_code: &'a [u8; 32],
    pub(super) blind: &'a [u8; 32],
}

impl<G: Group> Opening<'_, G> {
    /// `com_i = H("dkg/com"; ssid0, i, n_i, D_i, C_i, E_i, cc_i, rho_i)`.
    pub(super) fn commit(
        &self,
        plan: &Plan,
        index: PartyIndex,
        nonce: &[u8; 32],
        receiving_key: &EncodedPoint<Ristretto255>,
    ) -> [u8; 32] {
        transcript::hash(Tag::DKG_COM)
            .field(plan.ssid0)
            .u16(index.get())
            .field(nonce)
            .field(receiving_key)
            .field(self.commitment.encode())
            .field(self.sending_key)
            .field(self.chain_code)
            .field(self.blind)
            .digest()
    }
}

/// State between rounds 1 and 2. Secret; wiped when dropped.
#[derive(Debug)]
pub(super) struct Committed<G: Group> {
    polynomial: SecretPolynomial<G>,
    commitment: Commitment<G>,
    sending: SecretScalar<Ristretto255>,
    sending_key: EncodedPoint<Ristretto255>,
    receiving: SecretScalar<Ristretto255>,
    chain_code: SecretBytes<32>,
    blind: SecretBytes<32>,
    hedge: SecretBytes<32>,
}

impl<G: Group> Committed<G> {
    /// Draws polynomial, one-time keys and coins, and commits to them. All randomness of the session is drawn here.
    pub(super) fn start(
        plan: &Plan,
        index: PartyIndex,
        pairs: Vec<PairOffer>,
        rng: &mut impl CryptoRng,
    ) -> (Self, Message) {
        let polynomial = SecretPolynomial::random(plan.params.threshold(), rng);
        Self::start_with(polynomial, plan, index, pairs, rng)
    }

    /// As [`Self::start`], with a polynomial that exists already.
    pub(super) fn start_with(
        polynomial: SecretPolynomial<G>,
        plan: &Plan,
        index: PartyIndex,
        pairs: Vec<PairOffer>,
        rng: &mut impl CryptoRng,
    ) -> (Self, Message) {
        let sending = SecretScalar::random(rng);
        let state = Self {
            commitment: polynomial.commit(),
            polynomial,
            sending_key: EncodedPoint::new(sending.mul_base()),
            sending,
            receiving: SecretScalar::random(rng),
            chain_code: SecretBytes::random(rng),
            blind: SecretBytes::random(rng),
            hedge: SecretBytes::random(rng),
        };
        let mut nonce = [0; 32];
        rng.fill_bytes(&mut nonce);
        let receiving_key = EncodedPoint::new(state.receiving.mul_base());
        let opening = Opening {
            commitment: &state.commitment,
            sending_key: &state.sending_key,
            chain_code: state.chain_code.expose_secret(),
            blind: state.blind.expose_secret(),
        };
        let commitment = opening.commit(plan, index, &nonce, &receiving_key);
        (
            state,
            Message {
                nonce,
                receiving_key,
                commitment,
                pairs,
            },
        )
    }

    /// Reveals the commitment and encrypts a share for every party.
    pub(super) fn deal(
        self,
        plan: &Plan,
        index: PartyIndex,
        session: SessionId,
        round: &Complete<'_, Message>,
    ) -> Result<(round2::Dealt<G>, round2::Message<G>), Error> {
        let dealer = round2::Dealer {
            plan,
            session,
            index,
            hedge: &self.hedge,
            polynomial: &self.polynomial,
            sending: &self.sending,
            sending_key: self.sending_key,
        };
        let echo = round.echo(session, 1);
        let coins = (
            *self.chain_code.expose_secret(),
            *self.blind.expose_secret(),
        );
        let message = dealer.message(echo, self.commitment, coins, round)?;
        let own = self.polynomial.evaluate(index);
        Ok((
            round2::Dealt {
                receiving: self.receiving,
                hedge: self.hedge,
                own,
            },
            message,
        ))
    }
}
