//! Round 3: check what everybody dealt, and add it up; or complain.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "field and group operations wrap by definition"
)]

use std::collections::BTreeMap;

use super::collect::Complete;
use super::complaint::Complaint;
use super::finish::{Finish, Shift};
use super::plan::{Plan, Task};
use super::round1;
use super::round2::{self, Dealt, Lane};
use crate::group::{Point, Ristretto255, Scalar};
use crate::id::{KeyId, NodeId, PartyIndex, SessionId, SharingId};
use crate::keys::{KeyFacts, KeyGroup, KeyShare, PublicKeyPackage, PublicPoints};
use crate::polynomial::PublicPolynomial;
use crate::reshare::Request;
use crate::secret::SecretScalar;
use crate::transcript::{self, Tag};
use crate::{Abort, Error, Fault};

/// What the session agreed on, from public messages alone.
#[derive(Debug)]
pub(super) struct Agreed<G: KeyGroup> {
    /// `T`.
    pub(super) transcript: [u8; 32],
    /// Digest of the messages, which a reshare's `T` contains.
    pub(super) messages: [u8; 32],
    chain_code: [u8; 32],
    points: PublicPoints<G>,
}

/// Adds up what all dealers have revealed. Every message has been checked by itself.
///
/// # Errors
/// `IdentityResult`, which has no author, when a sum is the identity.
pub(super) fn agree<G: KeyGroup>(
    plan: &Plan,
    session: SessionId,
    first: &Complete<'_, round1::Message>,
    second: &Complete<'_, round2::Message<G>>,
) -> Result<Agreed<G>, Error> {
    let deals = second
        .dealers()
        .map(|(_, entry)| entry.message().deal())
        .collect::<Result<Vec<_>, _>>()?;
    let total = PublicPolynomial::sum(deals.iter().map(|deal| &deal.commitment))?;
    let indices = plan.roster.by_index().map(|(index, _)| index);
    let points = PublicPoints {
        group_key: total.constant(),
        verifying_shares: indices
            .map(|index| (index, total.evaluate_vartime(index)))
            .collect(),
    };
    if points.group_key.is_identity() || points.verifying_shares.values().any(Point::is_identity) {
        return Err(Abort::unattributed(Fault::IdentityResult).into());
    }
    let receiving_keys = first
        .receivers()
        .map(|(_, entry)| entry.message().receiving_key().copied())
        .collect::<Result<Vec<_>, _>>()?;
    let dealt = |hash: transcript::Transcript<1>| {
        hash.list(&receiving_keys)
            .list(deals.iter().map(|deal| deal.commitment.encode()))
            .list(deals.iter().map(|deal| deal.sending_key))
            .list(deals.iter().map(|deal| deal.share_bytes()))
    };
    let start = || transcript::hash(Tag::DKG_TRANSCRIPT);
    let messages = dealt(start().field("messages").field(session)).digest();
    if let Task::Reshare(request) = &plan.task {
        let expected = request.active().view::<G>();
        if expected.is_none_or(|expected| expected.group_key != points.group_key) {
            return Err(Error::Unreachable("right constant terms give another key"));
        }
        return Ok(Agreed {
            transcript: reshare_transcript(request, &points, &messages),
            messages,
            chain_code: *request.active().chain_code(),
            points,
        });
    }
    let chain_code = match &plan.task {
        Task::Import(announcement) => announcement.chain_code,
        Task::Generate | Task::Reshare(_) => transcript::hash(Tag::DKG_CC)
            .field(session)
            .list(deals.iter().map(|deal| deal.chain_code))
            .digest(),
    };
    let hash = start()
        .field(session)
        .u16(plan.params.threshold())
        .u16(plan.params.parties())
        .field(plan.params_hash);
    let transcript = dealt(hash)
        .point(&points.group_key)
        .field(chain_code)
        .list(points.verifying_shares.values().map(Point::encode))
        .digest();
    Ok(Agreed {
        transcript,
        messages,
        chain_code,
        points,
    })
}

/// `T' = H("dkg/transcript"; "reshare", key id, purpose, u32 e, u32 e + 1, u32 a, T, request, X, cc, u16 t', u16 n', params_hash', (S'_l)
/// list, messages)`. Everything but the messages is in the certificate, with their digest in place of them, so that whoever holds a
/// certificate can check what it certifies.
pub(crate) fn reshare_transcript<G: KeyGroup>(
    request: &Request,
    points: &PublicPoints<G>,
    messages: &[u8; 32],
) -> [u8; 32] {
    let (active, params) = (request.active(), request.params());
    let params_hash = request
        .roster()
        .params_hash(active.purpose(), params.threshold());
    transcript::hash(Tag::DKG_TRANSCRIPT)
        .field("reshare")
        .field(active.key_id())
        .field(active.purpose().as_str())
        .u32(active.epoch().0)
        .u32(request.epoch().0)
        .u32(request.attempt().0)
        .field(active.sharing())
        .field(request.digest())
        .point(&points.group_key)
        .field(active.chain_code())
        .u16(params.threshold())
        .u16(params.parties())
        .field(params_hash)
        .list(points.verifying_shares.values().map(Point::encode))
        .field(messages)
        .digest()
}

/// How round 3 starts for this party.
#[derive(Debug)]
pub(super) enum Received<G: KeyGroup> {
    /// All shares are right, or this party gets none.
    Certify(Box<Made<G>>),
    /// A share is wrong.
    Complain(Box<Complaint>),
}

/// What came out, and this party's share of it.
#[derive(Debug)]
pub(super) struct Made<G: KeyGroup> {
    pub(super) agreed: Agreed<G>,
    secret: Option<SecretScalar<G>>,
}

/// This party's side of a session when round 2 is complete.
pub(super) struct Receiver<'a, G: KeyGroup> {
    pub(super) plan: &'a Plan,
    pub(super) session: SessionId,
    pub(super) me: NodeId,
    pub(super) first: &'a Complete<'a, round1::Message>,
    pub(super) second: &'a Complete<'a, round2::Message<G>>,
}

impl<G: KeyGroup + Finish> Receiver<'_, G> {
    /// Decrypts and checks every share, and adds them up. The echo of round 1 and every dealer's proofs hold already.
    pub(super) fn receive(&self, dealt: &Dealt<G>) -> Result<Received<G>, Error> {
        let seat = self.plan.seat(&self.me)?;
        let mut secret = None;
        if let (Some(index), Some(receiving)) = (seat.receiver, &dealt.receiving) {
            match self.add_up(index, receiving, dealt)? {
                Ok(sum) => secret = Some(sum),
                Err(complaint) => return Ok(Received::Complain(complaint)),
            }
        }
        let agreed = agree(self.plan, self.session, self.first, self.second)?;
        Ok(Received::Certify(Box::new(Made { agreed, secret })))
    }

    fn add_up(
        &self,
        index: PartyIndex,
        receiving: &SecretScalar<Ristretto255>,
        dealt: &Dealt<G>,
    ) -> Result<Result<SecretScalar<G>, Box<Complaint>>, Error> {
        let receiving_key = self.first.receiver(index)?.receiving_key()?;
        let own = dealt.own.as_ref();
        let mut sum = SecretScalar::new(own.map_or_else(Scalar::zero, |own| *own.expose_secret()));
        let others = self
            .second
            .dealers()
            .filter(|(_, entry)| entry.node != self.me);
        for (dealer, entry) in others {
            let deal = entry.message().deal()?;
            let lane = Lane {
                session: self.session,
                dealer,
                receiver: index,
                sending_key: &deal.sending_key,
                receiving_key,
            };
            let pad = lane.pad::<G>(&(*deal.sending_key.point() * receiving.expose_secret()));
            let share = SecretScalar::new(deal.share_for(index)? - *pad.expose_secret());
            if share.mul_base() != deal.commitment.evaluate_vartime(index) {
                let complaint = Complaint::new(entry.node, index, self.session, &lane, dealt)?;
                return Ok(Err(Box::new(complaint)));
            }
            sum = SecretScalar::new(*sum.expose_secret() + *share.expose_secret());
        }
        Ok(Ok(sum))
    }
}

impl<G: KeyGroup + Finish> Made<G> {
    /// The public record of what was made, and this party's share of it if it gets one.
    pub(super) fn finish(
        self,
        plan: &Plan,
        index: Option<PartyIndex>,
    ) -> Result<(PublicKeyPackage, Option<KeyShare>), Error> {
        let Self { agreed, secret } = self;
        let facts = KeyFacts {
            key_id: match &plan.task {
                Task::Reshare(request) => request.key_id(),
                Task::Generate | Task::Import(_) => key_id(&agreed.transcript),
            },
            sharing: SharingId::from_bytes(agreed.transcript),
            purpose: plan.purpose,
            epoch: plan.epoch(),
            attempt: plan.certified_attempt(),
            threshold: plan.params.threshold(),
            chain_code: agreed.chain_code,
        };
        let nodes: BTreeMap<PartyIndex, NodeId> = plan.roster.by_index().collect();
        let (points, shift) = match &plan.task {
            Task::Reshare(_) => (agreed.points, Shift::none()),
            Task::Generate | Task::Import(_) => G::finish(agreed.points, plan.purpose)?,
        };
        let package =
            PublicKeyPackage::computed(facts, nodes, points).map_err(|_| identity_result())?;
        let share = match index.zip(secret) {
            Some((index, secret)) => Some(
                KeyShare::new(package.clone(), index, shift.apply(&secret))
                    .map_err(|_| Error::Unreachable("the share is not the sum of shares"))?,
            ),
            None => None,
        };
        Ok((package, share))
    }
}

/// `key_id = H("key"; T)`.
pub(crate) fn key_id(transcript: &[u8; 32]) -> KeyId {
    KeyId::from_bytes(transcript::hash(Tag::KEY).field(transcript).digest())
}

pub(super) fn identity_result() -> Error {
    Abort::unattributed(Fault::IdentityResult).into()
}
