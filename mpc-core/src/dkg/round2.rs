//! Round 2: reveal the polynomial in the exponent, prove knowledge of it, and send every share encrypted.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "field and group operations wrap by definition"
)]

use super::Plan;
use super::collect::Complete;
use super::round1::{self, Opening};
use crate::codec::{DecodeError, Reader, Writer};
use crate::group::{EncodedPoint, Group, Point, Ristretto255, Scalar};
use crate::id::{PartyIndex, SessionId};
use crate::polynomial::{Commitment, SecretPolynomial};
use crate::proof::{Context, LogProof};
use crate::secret::{SecretBytes, SecretScalar};
use crate::transcript::{self, Tag};
use crate::{Error, Fault};

/// What a dealer reveals. `32 + t*P + 96 + t*(P + 32) + 64 + 32n` bytes, where `P` is the length of a point.
#[derive(Clone, Debug)]
pub(super) struct Message<G: Group> {
    /// `E_1`: echo of round 1.
    pub(super) echo: [u8; 32],
    /// `C_i`: exactly `t` points.
    pub(super) commitment: Commitment<G>,
    /// `E_i`: one-time key that the shares are encrypted from.
    pub(super) sending_key: EncodedPoint<Ristretto255>,
    /// `cc_i`: contribution to the chain code.
    pub(super) chain_code: [u8; 32],
    /// `rho_i`: blinds the commitment of round 1.
    pub(super) blind: [u8; 32],
    /// `pop_ik`: knowledge of every coefficient.
    pub(super) coefficient_proofs: Vec<LogProof<G>>,
    /// `poe_i`: knowledge of the sending key.
    pub(super) sending_proof: LogProof<Ristretto255>,
    /// `ct_ij`: the encrypted share of every party, by index.
    pub(super) shares: Vec<Scalar<G>>,
}

impl<G: Group> Message<G> {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.bytes(&self.echo)
            .bytes(&self.commitment.encode())
            .bytes(self.sending_key.as_slice());
        out.bytes(&self.chain_code).bytes(&self.blind);
        for proof in &self.coefficient_proofs {
            proof.write(&mut out);
        }
        self.sending_proof.write(&mut out);
        out.bytes(&self.share_bytes());
        out.finish()
    }

    const fn length(plan: &Plan) -> usize {
        let per_coefficient = G::POINT_BYTES + LogProof::<G>::BYTES;
        4 * 32
            + plan.threshold() * per_coefficient
            + LogProof::<Ristretto255>::BYTES
            + plan.parties() * 32
    }

    pub(super) fn decode(plan: &Plan, bytes: &[u8]) -> Result<Self, DecodeError> {
        // Every length follows from t and n: the body is measured before anything in it is evaluated.
        let mut reader = Reader::measured("body", bytes, Self::length(plan))?;
        let echo = reader.array("echo")?;
        let commitment = (0..plan.threshold())
            .map(|_| reader.bytes("coefficients", G::POINT_BYTES))
            .collect::<Result<Vec<_>, _>>()?;
        let sending_key = reader.bytes("sending_key", Ristretto255::POINT_BYTES)?;
        let chain_code = reader.array("chain_code")?;
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
        Ok(Self {
            echo,
            commitment: Commitment::new(commitment),
            sending_key: EncodedPoint::decode("sending_key", sending_key)?,
            chain_code,
            blind,
            coefficient_proofs,
            sending_proof,
            shares,
        })
    }

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

    /// Checks what every party can check of a dealer: the opening of its commitment and all its proofs.
    pub(super) fn check(
        &self,
        plan: &Plan,
        session: SessionId,
        index: PartyIndex,
        first: &round1::Message,
    ) -> Result<(), Fault> {
        let opening = Opening {
            commitment: &self.commitment,
            sending_key: &self.sending_key,
            chain_code: &self.chain_code,
            blind: &self.blind,
        };
        if opening.commit(plan, index, &first.nonce, &first.receiving_key) != first.commitment {
            return Err(Fault::CommitmentMismatch);
        }
        let points = self.commitment.points();
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

/// Everything a dealer needs to build its message.
pub(super) struct Dealer<'a, G: Group> {
    pub(super) plan: &'a Plan,
    pub(super) session: SessionId,
    pub(super) index: PartyIndex,
    pub(super) hedge: &'a SecretBytes<32>,
    pub(super) polynomial: &'a SecretPolynomial<G>,
    pub(super) sending: &'a SecretScalar<Ristretto255>,
    pub(super) sending_key: EncodedPoint<Ristretto255>,
}

impl<G: Group> Dealer<'_, G> {
    pub(super) fn message(
        &self,
        echo: [u8; 32],
        commitment: Commitment<G>,
        (chain_code, blind): ([u8; 32], [u8; 32]),
        round: &Complete<'_, round1::Message>,
    ) -> Result<Message<G>, Error> {
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
            let receiving_key = &round.of(receiver)?.receiving_key;
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
        let shares = self
            .plan
            .roster
            .by_index()
            .map(encrypt)
            .collect::<Result<_, Error>>()?;
        Ok(Message {
            echo,
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
    /// `d_i`.
    pub(super) receiving: SecretScalar<Ristretto255>,
    /// Randomness for the proof of a complaint.
    pub(super) hedge: SecretBytes<32>,
    /// `f_i(i)`: what this party dealt to itself.
    pub(super) own: SecretScalar<G>,
}
