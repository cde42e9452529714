//! Round 2: reveal the polynomial in the exponent, prove knowledge of it, and send every share encrypted.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "field and group operations wrap by definition"
)]

use super::collect::Complete;
use super::plan::{Plan, Seat};
use super::round1::{self, Opening};
use crate::codec::{DecodeError, Problem, Reader, Writer};
use crate::group::{EncodedPoint, Group, Point, Ristretto255, Scalar};
use crate::id::{NodeId, PartyIndex, SessionId};
use crate::polynomial::{Commitment, SecretPolynomial};
use crate::proof::{Context, LogProof};
use crate::secret::{SecretBytes, SecretScalar};
use crate::transcript::{self, Tag};
use crate::{Error, Fault};

/// What a dealer reveals. `t*P + 64 + t*(P + 32) + 64 + 32n` bytes, where `P` is the length of a point, and 32 more for the chain code
/// where a new one is made.
#[derive(Clone, Debug)]
pub(super) struct Deal<G: Group> {
    /// `C_i`: exactly `t` points.
    pub(super) commitment: Commitment<G>,
    /// `E_i`: one-time key that the shares are encrypted from.
    pub(super) sending_key: EncodedPoint<Ristretto255>,
    /// `cc_i`: contribution to the chain code; zeros, and not sent, where there is one already.
    pub(super) chain_code: [u8; 32],
    /// `rho_i`: blinds the commitment of round 1.
    pub(super) blind: [u8; 32],
    /// `pop_ik`: knowledge of every coefficient.
    pub(super) coefficient_proofs: Vec<LogProof<G>>,
    /// `poe_i`: knowledge of the sending key.
    pub(super) sending_proof: LogProof<Ristretto255>,
    /// `ct_ij`: the encrypted share of every receiver, by index.
    pub(super) shares: Vec<Scalar<G>>,
}

/// The echo of round 1, and of a dealer what it reveals.
#[derive(Clone, Debug)]
pub(super) struct Message<G: Group> {
    /// `E_1`: echo of round 1.
    pub(super) echo: [u8; 32],
    pub(super) deal: Option<Deal<G>>,
}

impl<G: Group> Message<G> {
    pub(super) fn encode(&self, plan: &Plan) -> Vec<u8> {
        let mut out = Writer::default();
        out.bytes(&self.echo);
        let Some(deal) = &self.deal else {
            return out.finish();
        };
        out.bytes(&deal.commitment.encode())
            .bytes(deal.sending_key.as_slice());
        if plan.draws_chain_code() {
            out.bytes(&deal.chain_code);
        }
        out.bytes(&deal.blind);
        for proof in &deal.coefficient_proofs {
            proof.write(&mut out);
        }
        deal.sending_proof.write(&mut out);
        out.bytes(&deal.share_bytes());
        out.finish()
    }

    fn length(plan: &Plan, deals: bool) -> usize {
        if !deals {
            return 32;
        }
        let per_coefficient = G::POINT_BYTES + LogProof::<G>::BYTES;
        let fixed = if plan.draws_chain_code() {
            4 * 32
        } else {
            3 * 32
        };
        fixed
            + plan.threshold() * per_coefficient
            + LogProof::<Ristretto255>::BYTES
            + plan.parties() * 32
    }

    pub(super) fn decode(plan: &Plan, from: &NodeId, bytes: &[u8]) -> Result<Self, DecodeError> {
        let seat = plan.seats.get(from);
        let seat = seat.ok_or_else(|| DecodeError::new("body", Problem::Unknown))?;
        let deals = seat.dealer.is_some();
        // Every length follows from t and n: the body is measured before anything in it is evaluated.
        let mut reader = Reader::measured("body", bytes, Self::length(plan, deals))?;
        let echo = reader.array("echo")?;
        if !deals {
            reader.finish("body")?;
            return Ok(Self { echo, deal: None });
        }
        let commitment = (0..plan.threshold())
            .map(|_| reader.bytes("coefficients", G::POINT_BYTES))
            .collect::<Result<Vec<_>, _>>()?;
        let sending_key = reader.bytes("sending_key", Ristretto255::POINT_BYTES)?;
        let chain_code = if plan.draws_chain_code() {
            reader.array("chain_code")?
        } else {
            [0; 32]
        };
        let blind = reader.array("blind")?;
        let coefficient_proofs = (0..plan.threshold())
            .map(|_| LogProof::read("coefficient_proofs", &mut reader))
            .collect::<Result<_, _>>()?;
        let sending_proof = LogProof::read("sending_proof", &mut reader)?;
        let shares = (0..plan.parties())
            .map(|_| reader.bytes("shares", 32))
            .collect::<Result<Vec<_>, _>>()?;
        reader.finish("body")?;

        let commitment = commitment
            .into_iter()
            .map(|bytes| EncodedPoint::decode("coefficients", bytes))
            .collect::<Result<_, _>>()?;
        let shares = shares
            .into_iter()
            .map(|bytes| Scalar::decode("shares", bytes))
            .collect::<Result<_, _>>()?;
        let deal = Deal {
            commitment: Commitment::new(commitment),
            sending_key: EncodedPoint::decode("sending_key", sending_key)?,
            chain_code,
            blind,
            coefficient_proofs,
            sending_proof,
            shares,
        };
        Ok(Self {
            echo,
            deal: Some(deal),
        })
    }

    /// What a dealer revealed.
    pub(super) fn deal(&self) -> Result<&Deal<G>, Error> {
        let deal = self.deal.as_ref();
        deal.ok_or(Error::Unreachable("a dealer that reveals nothing"))
    }

    /// Checks what every party can check of a participant: of a dealer the opening of its commitment, its constant term if that is not
    /// free, and all its proofs.
    pub(super) fn check(
        &self,
        plan: &Plan,
        session: SessionId,
        node: &NodeId,
        seat: &Seat,
        first: &round1::Message,
    ) -> Result<(), Fault> {
        match (&self.deal, seat.dealer) {
            (Some(deal), Some(index)) => deal.check(plan, session, node, index, first),
            _ => Ok(()),
        }
    }
}

impl<G: Group> Deal<G> {
    /// `ct_i1 || .. || ct_in`.
    pub(super) fn share_bytes(&self) -> Vec<u8> {
        self.shares.iter().flat_map(Scalar::encode).collect()
    }

    /// The encrypted share for a party.
    pub(super) fn share_for(&self, receiver: PartyIndex) -> Result<Scalar<G>, Error> {
        let at = usize::from(receiver.get()) - 1;
        self.shares.get(at).copied().ok_or(Error::Unreachable(
            "a share vector is shorter than the committee",
        ))
    }

    fn check(
        &self,
        plan: &Plan,
        session: SessionId,
        node: &NodeId,
        index: PartyIndex,
        first: &round1::Message,
    ) -> Result<(), Fault> {
        let opening = Opening {
            commitment: &self.commitment,
            sending_key: &self.sending_key,
            chain_code: &self.chain_code,
            blind: &self.blind,
        };
        let committed = opening.commit(plan, index, &first.nonce, first.receiving.as_ref());
        if first.commitment != Some(committed) {
            return Err(Fault::CommitmentMismatch);
        }
        let points = self.commitment.points();
        if let Some(expected) = plan.constant(node)
            && points.first().map(EncodedPoint::as_slice) != Some(expected)
        {
            return Err(Fault::WrongConstant);
        }
        for (number, point) in (0_u16..).zip(points) {
            let proof = self.coefficient_proofs.get(usize::from(number));
            let holds = proof.is_some_and(|proof| {
                proof.verify(
                    &coefficient_context(&[session.as_bytes(), &number.to_be_bytes()], index),
                    point,
                )
            });
            if !holds {
                return Err(Fault::InvalidProof {
                    proof: "coefficient",
                    number,
                });
            }
        }
        if self.sending_proof.verify(
            &sending_context(&[session.as_bytes()], index),
            &self.sending_key,
        ) {
            Ok(())
        } else {
            Err(Fault::InvalidProof {
                proof: "sending key",
                number: 0,
            })
        }
    }
}

const fn coefficient_context<'a>(fields: &'a [&'a [u8]; 2], prover: PartyIndex) -> Context<'a> {
    Context {
        tag: Tag::DKG_POP,
        fields,
        prover,
    }
}

const fn sending_context<'a>(fields: &'a [&'a [u8]; 1], prover: PartyIndex) -> Context<'a> {
    Context {
        tag: Tag::DKG_EPH,
        fields,
        prover,
    }
}

/// Who sends a share to whom, under which one-time keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lane<'a> {
    pub(super) session: SessionId,
    pub(super) dealer: PartyIndex,
    pub(super) receiver: PartyIndex,
    pub(super) sending_key: &'a EncodedPoint<Ristretto255>,
    pub(super) receiving_key: &'a EncodedPoint<Ristretto255>,
}

impl Lane<'_> {
    /// `Hs("dkg/pad"; ssid, i, j, E_i, D_j, K)`, where `K` is the shared point of both one-time keys.
    pub(super) fn pad<G: Group>(&self, shared: &Point<Ristretto255>) -> SecretScalar<G> {
        let transcript = transcript::wide(Tag::DKG_PAD).field(self.session);
        let transcript = transcript.u16(self.dealer.get()).u16(self.receiver.get());
        SecretScalar::new(
            transcript
                .field(self.sending_key)
                .field(self.receiving_key)
                .point(shared)
                .scalar(),
        )
    }
}

/// Everything a dealer needs to build what it reveals.
pub(super) struct Dealer<'a, G: Group> {
    pub(super) session: SessionId,
    pub(super) index: PartyIndex,
    pub(super) hedge: &'a SecretBytes<32>,
    pub(super) polynomial: &'a SecretPolynomial<G>,
    pub(super) sending: &'a SecretScalar<Ristretto255>,
    pub(super) sending_key: EncodedPoint<Ristretto255>,
}

impl<G: Group> Dealer<'_, G> {
    pub(super) fn deal(
        &self,
        commitment: Commitment<G>,
        (chain_code, blind): ([u8; 32], [u8; 32]),
        plan: &Plan,
        round: &Complete<'_, round1::Message>,
    ) -> Result<Deal<G>, Error> {
        let sending_key = self.sending_key;
        let prove = |((number, secret), public): ((u16, &SecretScalar<G>), &EncodedPoint<G>)| {
            let fields: [&[u8]; 2] = [self.session.as_bytes(), &number.to_be_bytes()];
            LogProof::prove(
                &coefficient_context(&fields, self.index),
                self.hedge,
                secret,
                public,
            )
        };
        let secrets = (0_u16..).zip(self.polynomial.coefficients());
        let coefficient_proofs = secrets.zip(commitment.points()).map(prove).collect();
        let fields: [&[u8]; 1] = [self.session.as_bytes()];
        let sending_proof = LogProof::prove(
            &sending_context(&fields, self.index),
            self.hedge,
            self.sending,
            &sending_key,
        );
        let encrypt = |(receiver, _)| {
            let receiving_key = round.receiver(receiver)?.receiving_key()?;
            let lane = Lane {
                session: self.session,
                dealer: self.index,
                receiver,
                sending_key: &sending_key,
                receiving_key,
            };
            let shared = *receiving_key.point() * self.sending.expose_secret();
            let pad = lane.pad::<G>(&shared);
            Ok(*self.polynomial.evaluate(receiver).expose_secret() + *pad.expose_secret())
        };
        let shares = plan
            .roster
            .by_index()
            .map(encrypt)
            .collect::<Result<_, Error>>()?;
        Ok(Deal {
            commitment,
            sending_key,
            chain_code,
            blind,
            coefficient_proofs,
            sending_proof,
            shares,
        })
    }
}

/// State between rounds 2 and 3. Secret; wiped when dropped. The polynomial is gone already.
#[derive(Debug)]
pub(super) struct Dealt<G: Group> {
    /// `d_i` of a receiver.
    pub(super) receiving: Option<SecretScalar<Ristretto255>>,
    /// Randomness for the proof of a complaint.
    pub(super) hedge: SecretBytes<32>,
    /// What this party dealt to itself, if it deals and gets a share.
    pub(super) own: Option<SecretScalar<G>>,
}
