//! Round 1: dealers draw everything and commit to it, receivers say under which one-time key shares may be sent.

use rand_core::CryptoRng;

use super::collect::Complete;
use super::plan::{Plan, Seat};
use super::round2;
use crate::codec::{DecodeError, Problem, Reader, Writer};
use crate::group::{EncodedPoint, Group, Ristretto255};
use crate::id::{NodeId, PartyIndex, SessionId};
use crate::polynomial::{Commitment, SecretPolynomial};
use crate::secret::{SecretBytes, SecretScalar};
use crate::transcript::{self, Tag};
use crate::{Error, Misuse};

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

/// What a party says that gets a share.
#[derive(Clone, Debug)]
pub(super) struct Receiving {
    /// `D_i`: one-time key that shares for this party are encrypted to.
    pub(super) key: EncodedPoint<Ristretto255>,
    /// About every peer that gets a share, in ascending order; empty for keys without pair setups.
    pub(super) pairs: Vec<PairOffer>,
}

/// `n_i || D_i || com_i`, 96 bytes; for keys with pair setups 37 bytes more per peer, in ascending order of the nodes. Who does not deal
/// leaves out `com_i`; who gets no share leaves out `D_i` and the peers.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// `n_i`: contribution to the name of the session.
    pub(super) nonce: [u8; 32],
    /// Of a receiver.
    pub(super) receiving: Option<Receiving>,
    /// `com_i`: a dealer's commitment to round 2.
    pub(super) commitment: Option<[u8; 32]>,
}

impl Message {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.bytes(&self.nonce);
        if let Some(receiving) = &self.receiving {
            out.bytes(receiving.key.as_slice());
        }
        if let Some(commitment) = &self.commitment {
            out.bytes(commitment);
        }
        for pair in self.receiving.iter().flat_map(|receiving| &receiving.pairs) {
            pair.write(&mut out);
        }
        out.finish()
    }

    pub(super) fn decode(plan: &Plan, from: &NodeId, bytes: &[u8]) -> Result<Self, DecodeError> {
        let seat = plan.seats.get(from);
        let seat = seat.ok_or_else(|| DecodeError::new("body", Problem::Unknown))?;
        let (deals, receives) = (seat.dealer.is_some(), seat.receiver.is_some());
        let peers = plan.paired_peers(from);
        let fixed = 32_usize
            .saturating_add(if receives {
                Ristretto255::POINT_BYTES
            } else {
                0
            })
            .saturating_add(if deals { 32 } else { 0 });
        let len = peers.saturating_mul(PairOffer::BYTES).saturating_add(fixed);
        let mut reader = Reader::measured("body", bytes, len)?;
        let nonce = reader.array("nonce")?;
        let key = if receives {
            Some(reader.bytes("receiving_key", Ristretto255::POINT_BYTES)?)
        } else {
            None
        };
        let commitment = if deals {
            Some(reader.array("commitment")?)
        } else {
            None
        };
        let pairs = (0..peers)
            .map(|_| PairOffer::read(&mut reader))
            .collect::<Result<_, _>>()?;
        reader.finish("body")?;
        let receiving = match key {
            Some(key) => Some(Receiving {
                key: EncodedPoint::decode("receiving_key", key)?,
                pairs,
            }),
            None => None,
        };
        Ok(Self {
            nonce,
            receiving,
            commitment,
        })
    }

    /// `D_i` of a receiver.
    pub(super) fn receiving_key(&self) -> Result<&EncodedPoint<Ristretto255>, Error> {
        let receiving = self.receiving.as_ref();
        receiving
            .map(|receiving| &receiving.key)
            .ok_or(Error::Unreachable("a receiver without a key"))
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

/// What a dealer reveals in round 2 and has committed to in round 1.
#[derive(Debug)]
pub(super) struct Opening<'a, G: Group> {
    pub(super) commitment: &'a Commitment<G>,
    pub(super) sending_key: &'a EncodedPoint<Ristretto255>,
    pub(super) chain_code: &'a [u8; 32],
    pub(super) blind: &'a [u8; 32],
}

impl<G: Group> Opening<'_, G> {
    /// `com_i = H("dkg/com"; ssid0, i, n_i, D_i, C_i, E_i, cc_i, rho_i)`. `D_i` is empty for a dealer that gets no share.
    pub(super) fn commit(
        &self,
        plan: &Plan,
        index: PartyIndex,
        nonce: &[u8; 32],
        receiving: Option<&Receiving>,
    ) -> [u8; 32] {
        let key = receiving.map(|receiving| receiving.key.as_slice());
        transcript::hash(Tag::DKG_COM)
            .field(plan.ssid0)
            .u16(index.get())
            .field(nonce)
            .field(key.unwrap_or_default())
            .field(self.commitment.encode())
            .field(self.sending_key)
            .field(self.chain_code)
            .field(self.blind)
            .digest()
    }
}

/// A dealer's secrets between rounds 1 and 2.
#[derive(Debug)]
struct Dealing<G: Group> {
    index: PartyIndex,
    polynomial: SecretPolynomial<G>,
    commitment: Commitment<G>,
    sending: SecretScalar<Ristretto255>,
    sending_key: EncodedPoint<Ristretto255>,
    chain_code: SecretBytes<32>,
    blind: SecretBytes<32>,
}

impl<G: Group> Dealing<G> {
    fn draw(
        plan: &Plan,
        index: PartyIndex,
        polynomial: SecretPolynomial<G>,
        rng: &mut impl CryptoRng,
    ) -> Self {
        let sending = SecretScalar::random(rng);
        let chain_code = if plan.draws_chain_code() {
            SecretBytes::random(rng)
        } else {
            SecretBytes::take(&mut [0; 32])
        };
        Self {
            index,
            commitment: polynomial.commit(),
            polynomial,
            sending_key: EncodedPoint::new(sending.mul_base()),
            sending,
            chain_code,
            blind: SecretBytes::random(rng),
        }
    }
}

/// State between rounds 1 and 2. Secret; wiped when dropped.
#[derive(Debug)]
pub(super) struct Committed<G: Group> {
    seat: Seat,
    dealing: Option<Dealing<G>>,
    receiving: Option<SecretScalar<Ristretto255>>,
    hedge: SecretBytes<32>,
}

impl<G: Group> Committed<G> {
    /// Draws polynomial, one-time keys and coins, and commits to them. All randomness of the session is drawn here. A dealer that is
    /// not free in its constant term brings it.
    pub(super) fn start(
        plan: &Plan,
        seat: Seat,
        constant: Option<&SecretScalar<G>>,
        pairs: Vec<PairOffer>,
        rng: &mut impl CryptoRng,
    ) -> Result<(Self, Message), Error> {
        let threshold = plan.params.threshold();
        let polynomial = match (seat.dealer, constant, plan.dealers_sign()) {
            (None, None, _) => None,
            (Some(_), None, false) => Some(SecretPolynomial::random(threshold, rng)),
            (Some(_), Some(constant), true) => {
                Some(SecretPolynomial::with_constant(constant, threshold, rng))
            }
            _ => {
                let why = "a dealer of an existing key brings its share, nobody else does";
                return Err(Misuse::InvalidKey(why).into());
            }
        };
        Ok(Self::start_with(polynomial, plan, seat, pairs, rng))
    }

    /// As [`Self::start`], with a polynomial that exists already.
    pub(super) fn start_with(
        polynomial: Option<SecretPolynomial<G>>,
        plan: &Plan,
        seat: Seat,
        pairs: Vec<PairOffer>,
        rng: &mut impl CryptoRng,
    ) -> (Self, Message) {
        let dealing = seat
            .dealer
            .zip(polynomial)
            .map(|(index, polynomial)| Dealing::draw(plan, index, polynomial, rng));
        let receiving_secret = seat.receiver.map(|_| SecretScalar::random(rng));
        let receiving = receiving_secret.as_ref().map(|secret| Receiving {
            key: EncodedPoint::new(secret.mul_base()),
            pairs,
        });
        let mut nonce = [0; 32];
        rng.fill_bytes(&mut nonce);
        let commitment = dealing.as_ref().map(|dealing| {
            let opening = Opening {
                commitment: &dealing.commitment,
                sending_key: &dealing.sending_key,
                chain_code: dealing.chain_code.expose_secret(),
                blind: dealing.blind.expose_secret(),
            };
            opening.commit(plan, dealing.index, &nonce, receiving.as_ref())
        });
        let state = Self {
            seat,
            dealing,
            receiving: receiving_secret,
            hedge: SecretBytes::random(rng),
        };
        let message = Message {
            nonce,
            receiving,
            commitment,
        };
        (state, message)
    }

    /// Reveals the commitment and encrypts a share for every receiver.
    pub(super) fn deal(
        self,
        plan: &Plan,
        session: SessionId,
        round: &Complete<'_, Message>,
    ) -> Result<(round2::Dealt<G>, round2::Message<G>), Error> {
        let echo = round.echo(session, 1);
        let (mut own, mut deal) = (None, None);
        if let Some(dealing) = self.dealing {
            let dealer = round2::Dealer {
                session,
                index: dealing.index,
                hedge: &self.hedge,
                polynomial: &dealing.polynomial,
                sending: &dealing.sending,
                sending_key: dealing.sending_key,
            };
            let coins = (
                *dealing.chain_code.expose_secret(),
                *dealing.blind.expose_secret(),
            );
            deal = Some(dealer.deal(dealing.commitment, coins, plan, round)?);
            own = self
                .seat
                .receiver
                .map(|index| dealing.polynomial.evaluate(index));
        }
        let dealt = round2::Dealt {
            receiving: self.receiving,
            hedge: self.hedge,
            own,
        };
        Ok((dealt, round2::Message { echo, deal }))
    }
}
