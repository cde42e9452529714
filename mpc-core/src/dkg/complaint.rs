//! Complaints: a receiver shows everybody the one pad with which a dealer encrypted a wrong share.
//!
//! The pad comes from one-time keys of this session, so showing it reveals nothing but the share in question, which the
//! dealer knows anyway. Everybody can check both sides: the proof that the pad is right, and the share under it.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "field and group operations wrap by definition"
)]

use super::collect::Complete;
use super::plan::Plan;
use super::round1;
use super::round2::{self, Dealt, Lane};
use crate::codec::{DecodeError, Reader, Writer};
use crate::group::{Group, Point, Ristretto255};
use crate::id::{NodeId, PartyIndex, SessionId};
use crate::proof::{Context, EqualityProof, EqualityStatement};
use crate::transcript::Tag;
use crate::{Error, Fault};

/// `accused || K || proof`, 160 bytes.
#[derive(Clone, Debug)]
pub(super) struct Complaint {
    pub(super) accused: NodeId,
    /// `K = d_j * E_i`.
    shared: Point<Ristretto255>,
    /// `(B_r, D_j)` and `(E_i, K)` have the same logarithm.
    proof: EqualityProof<Ristretto255>,
}

impl Complaint {
    /// Accuses a dealer. Constant time in the receiving key.
    pub(super) fn new<G: Group>(
        accused: NodeId,
        accuser: PartyIndex,
        session: SessionId,
        lane: &Lane<'_>,
        dealt: &Dealt<G>,
    ) -> Result<Self, Error> {
        let receiving = dealt.receiving.as_ref();
        let receiving = receiving.ok_or(Error::Unreachable("a complaint of one without a key"))?;
        let shared = *lane.sending_key.point() * receiving.expose_secret();
        let fields: [&[u8]; 2] = [session.as_bytes(), accused.as_bytes()];
        let statement = statement(lane, &shared);
        let proof = EqualityProof::prove(
            &context(&fields, accuser),
            &dealt.hedge,
            receiving,
            &statement,
        );
        Ok(Self {
            accused,
            shared,
            proof,
        })
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.bytes(self.accused.as_bytes())
            .bytes(self.shared.encode().as_slice());
        self.proof.write(out);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let accused = NodeId::from_bytes(reader.array("accused")?);
        let shared = Point::decode(
            "shared_key",
            reader.bytes("shared_key", Ristretto255::POINT_BYTES)?,
        )?;
        Ok(Self {
            accused,
            shared,
            proof: EqualityProof::read("complaint_proof", reader)?,
        })
    }

    /// Who is at fault, the accused or the accuser.
    pub(super) fn judge<G: Group>(
        &self,
        plan: &Plan,
        session: SessionId,
        accuser: NodeId,
        first: &Complete<'_, round1::Message>,
        second: &Complete<'_, round2::Message<G>>,
    ) -> Result<(NodeId, Fault), Error> {
        let accuser_is_wrong = (accuser, Fault::FalseComplaint);
        // Only who gets a share can complain, and only about another who deals.
        let seat = plan.seats.get(&self.accused);
        let dealer = seat.and_then(|seat| seat.dealer);
        let (Some(receiver), Some(dealer)) = (plan.seat(&accuser)?.receiver, dealer) else {
            return Ok(accuser_is_wrong);
        };
        if self.accused == accuser {
            return Ok(accuser_is_wrong);
        }
        let dealt = second.dealer(dealer)?.deal()?;
        let receiving_key = first.receiver(receiver)?.receiving_key()?;
        let lane = Lane {
            session,
            dealer,
            receiver,
            sending_key: &dealt.sending_key,
            receiving_key,
        };
        let fields: [&[u8]; 2] = [session.as_bytes(), self.accused.as_bytes()];
        if !self
            .proof
            .verify(&context(&fields, receiver), &statement(&lane, &self.shared))
        {
            return Ok(accuser_is_wrong);
        }
        let share = dealt.share_for(receiver)? - *lane.pad::<G>(&self.shared).expose_secret();
        let good = Point::mul_base(&share) == dealt.commitment.evaluate_vartime(receiver);
        Ok(if good {
            accuser_is_wrong
        } else {
            (self.accused, Fault::InvalidShare)
        })
    }
}

const fn context<'a>(fields: &'a [&'a [u8]; 2], prover: PartyIndex) -> Context<'a> {
    Context {
        tag: Tag::DKG_COMPLAINT,
        fields,
        prover,
    }
}

fn statement(lane: &Lane<'_>, shared: &Point<Ristretto255>) -> EqualityStatement<Ristretto255> {
    EqualityStatement {
        bases: [Point::generator(), *lane.sending_key.point()],
        images: [*lane.receiving_key.point(), *shared],
    }
}
