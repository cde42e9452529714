//! Tests with dealers that follow the protocol on polynomials of their own choice.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "field and group operations wrap by definition"
)]

use super::collect::{Collect, Insert};
use super::complaint::Complaint;
use super::finish::Finish;
use super::plan::Plan;
use super::round2::{Dealt, Lane};
use super::round3::{self, Made, Received, Receiver};
use super::{originals, round1, round2};
use crate::envelope::Envelope;
use crate::group::{Ed25519, Point, Scalar, Secp256k1};
use crate::id::{Attempt, PartyIndex, Purpose, RequestId, SessionId};
use crate::keys::KeyShare;
use crate::polynomial::SecretPolynomial;
use crate::secret::SecretScalar;
use crate::testing::{Committee, rng};
use crate::{Error, Fault};

/// A session in which every party has dealt a chosen polynomial.
struct Run<G: Finish> {
    committee: Committee,
    plan: Plan,
    session: SessionId,
    first: Collect<round1::Message>,
    second: Collect<round2::Message<G>>,
    dealt: Vec<Dealt<G>>,
}

/// The polynomial with these coefficients, lowest first.
fn polynomial<G: Finish>(coefficients: &[Scalar<G>]) -> SecretPolynomial<G> {
    SecretPolynomial::from_coefficients(
        coefficients
            .iter()
            .map(|value| SecretScalar::new(*value))
            .collect(),
    )
}

fn scalar<G: Finish>(value: u64) -> Scalar<G> {
    Scalar::from_u64(value)
}

impl<G: Finish> Run<G> {
    fn new(purpose: Purpose, polynomials: Vec<SecretPolynomial<G>>) -> Self {
        let parties = u16::try_from(polynomials.len()).unwrap();
        let committee = Committee::new(parties, 1);
        let threshold = u16::try_from(polynomials.first().unwrap().coefficients().len()).unwrap();
        let request = RequestId::from_bytes([1; 32]);
        let plan = Plan::generate(
            committee.roster.clone(),
            purpose,
            threshold,
            request,
            Attempt(0),
        )
        .unwrap();
        let (mut first, mut second) = (Collect::new(plan.parties()), Collect::new(plan.parties()));
        let mut rng = rng(2);
        let mut committed = Vec::new();
        for (number, polynomial) in (1_u16..).zip(polynomials) {
            let seat = *plan.seats.get(&committee.node(number)).unwrap();
            let polynomial = Some(polynomial);
            let (state, message) =
                round1::Committed::start_with(polynomial, &plan, seat, Vec::new(), &mut rng);
            let header = originals::header(&plan, plan.ssid0, 1, committee.node(number)).unwrap();
            let envelope = Envelope::sealed(committee.identity(number), header, &message.encode());
            assert!(matches!(
                first.insert(envelope, |body| round1::Message::decode(
                    &plan,
                    &committee.node(number),
                    body
                )),
                Insert::New
            ));
            committed.push((number, state));
        }
        let complete = first.complete(&plan).unwrap();
        let session = round1::session_id(&plan, &complete);
        let mut dealt = Vec::new();
        for (number, state) in committed {
            let (state, message) = state.deal(&plan, session, &complete).unwrap();
            let header = originals::header(&plan, session, 2, committee.node(number)).unwrap();
            let body = message.encode(&plan);
            let envelope = Envelope::sealed(committee.identity(number), header, &body);
            let decode =
                |body: &[u8]| round2::Message::decode(&plan, &committee.node(number), body);
            assert!(matches!(second.insert(envelope, decode), Insert::New));
            dealt.push(state);
        }
        Self {
            committee,
            plan,
            session,
            first,
            second,
            dealt,
        }
    }

    fn receive(&self, number: u16) -> Result<Received<G>, Error> {
        let (first, second) = (
            self.first.complete(&self.plan)?,
            self.second.complete(&self.plan)?,
        );
        for entry in second.iter() {
            entry
                .message()
                .check(
                    &self.plan,
                    self.session,
                    &entry.node,
                    &entry.seat,
                    first.of(&entry.node)?,
                )
                .map_err(|_| Error::Unreachable("a rigged dealer keeps to the protocol"))?;
        }
        let receiver = Receiver {
            plan: &self.plan,
            session: self.session,
            me: self.committee.node(number),
            first: &first,
            second: &second,
        };
        receiver.receive(self.dealt(number))
    }

    fn share(&self, made: Made<G>, number: u16) -> KeyShare {
        let index = PartyIndex::new(number).unwrap();
        made.finish(&self.plan, Some(index)).unwrap().1.unwrap()
    }

    fn dealt(&self, number: u16) -> &Dealt<G> {
        self.dealt.get(usize::from(number) - 1).unwrap()
    }

    /// The complaint of one party against another, with a right proof.
    fn complain(&self, accuser: u16, accused: u16) -> Complaint {
        let (dealer, receiver) = (
            PartyIndex::new(accused).unwrap(),
            PartyIndex::new(accuser).unwrap(),
        );
        let lane = Lane {
            session: self.session,
            dealer,
            receiver,
            sending_key: &self
                .second
                .get(&self.committee.node(accused))
                .unwrap()
                .message
                .deal()
                .unwrap()
                .sending_key,
            receiving_key: self
                .first
                .get(&self.committee.node(accuser))
                .unwrap()
                .message
                .receiving_key()
                .unwrap(),
        };
        Complaint::new(
            self.committee.node(accused),
            receiver,
            self.session,
            &lane,
            self.dealt(accuser),
        )
        .unwrap()
    }

    fn judge(&self, accuser: u16, complaint: &Complaint) -> (u16, Fault) {
        let (first, second) = (
            self.first.complete(&self.plan).unwrap(),
            self.second.complete(&self.plan).unwrap(),
        );
        let node = self.committee.node(accuser);
        let (culprit, fault) = complaint
            .judge(&self.plan, self.session, node, &first, &second)
            .unwrap();
        (self.plan.roster.index(&culprit).unwrap().get(), fault)
    }
}

fn random<G: Finish>(seed: u64) -> SecretPolynomial<G> {
    SecretPolynomial::random(2, &mut rng(seed))
}

fn a_dealer_whose_share_is_zero<G: Finish>(purpose: Purpose) {
    // f(x) = 14 - 7x is zero at party 2.
    let zero_at_two = polynomial(&[scalar(14), -scalar::<G>(7)]);
    let run = Run::<G>::new(purpose, vec![random(1), random(2), zero_at_two]);
    for number in 1..=3 {
        let Received::Certify(made) = run.receive(number).unwrap() else {
            panic!("a share of zero is a share")
        };
        let share = run.share(*made, number);
        assert_eq!(share.index().get(), number);
    }
}

#[test]
fn a6_a_share_of_zero_is_a_share() {
    a_dealer_whose_share_is_zero::<Ed25519>(Purpose::Ed25519);
    a_dealer_whose_share_is_zero::<Secp256k1>(Purpose::Bip340);
}

fn sums_at_the_identity<G: Finish>(purpose: Purpose) {
    let seven = scalar::<G>(7);
    let cases = [
        // The constant terms cancel: no group key.
        ([seven, scalar(5)], [-seven, scalar(6)]),
        // The sum vanishes at party 2: 7 + 1x and 7 - 8x.
        ([seven, scalar(1)], [seven, -scalar::<G>(8)]),
    ];
    for (one, two) in cases {
        let run = Run::<G>::new(purpose, vec![polynomial(&one), polynomial(&two)]);
        for number in 1..=2 {
            let error = run.receive(number).unwrap_err();
            let Error::Aborted(abort) = &error else {
                panic!("{error:?}")
            };
            assert_eq!(abort.fault, Fault::IdentityResult);
            assert!(error.culprits().is_empty() && abort.evidence.is_none());
        }
    }
}

#[test]
fn a6_a_key_or_public_share_at_the_identity_aborts_without_a_culprit() {
    sums_at_the_identity::<Ed25519>(Purpose::Ed25519);
    sums_at_the_identity::<Secp256k1>(Purpose::Bip340);
}

#[test]
fn a4_cancelling_leading_coefficients_of_two_dealers_do_not_lower_the_threshold() {
    let (one, two) = (
        polynomial(&[scalar(3), scalar(9)]),
        polynomial(&[scalar(4), -scalar::<Ed25519>(9)]),
    );
    let run = Run::<Ed25519>::new(Purpose::Ed25519, vec![one, two, random(3)]);
    for number in 1..=3 {
        let Received::Certify(made) = run.receive(number).unwrap() else {
            panic!("all shares are right")
        };
        let share = run.share(*made, number);
        assert_eq!(share.public().params().threshold(), 2);
        let (points, secret) = share.view::<Ed25519>().unwrap();
        assert_ne!(Point::mul_base(secret.expose_secret()), points.group_key);
    }
}

#[test]
fn a50_a_complaint_with_a_right_proof_about_a_right_share_convicts_the_accuser() {
    let run = Run::<Secp256k1>::new(Purpose::Bip340, vec![random(1), random(2), random(3)]);
    for (accuser, accused) in [(1, 2), (3, 1), (2, 3)] {
        let complaint = run.complain(accuser, accused);
        assert_eq!(
            run.judge(accuser, &complaint),
            (accuser, Fault::FalseComplaint)
        );
    }
    // Another party cannot use it.
    assert_eq!(
        run.judge(2, &run.complain(1, 3)),
        (2, Fault::FalseComplaint)
    );
}

#[test]
fn the_transcript_covers_every_public_value() {
    let transcript = |run: &Run<Ed25519>| {
        let (first, second) = (
            run.first.complete(&run.plan).unwrap(),
            run.second.complete(&run.plan).unwrap(),
        );
        round3::agree(&run.plan, run.session, &first, &second)
            .unwrap()
            .transcript
    };
    let run = Run::<Ed25519>::new(Purpose::Ed25519, vec![random(1), random(2)]);
    let reference = transcript(&run);
    assert_eq!(
        reference,
        transcript(&Run::new(Purpose::Ed25519, vec![random(1), random(2)]))
    );
    let body = run
        .second
        .get(&run.committee.node(1))
        .unwrap()
        .message
        .encode(&run.plan);
    // Chain code and shares; what else round 2 contains is checked against round 1 or proven.
    for at in [32 + 64 + 32, body.len() - 64, body.len() - 32] {
        let mut changed = Run::<Ed25519>::new(Purpose::Ed25519, vec![random(1), random(2)]);
        let mut body = body.clone();
        *body.get_mut(at).unwrap() ^= 1;
        let message =
            round2::Message::decode(&changed.plan, &changed.committee.node(1), &body).unwrap();
        let mut second = Collect::new(2);
        for (node, signed) in changed.second.iter() {
            let replacement = if *node == changed.committee.node(1) {
                message.clone()
            } else {
                signed.message.clone()
            };
            second.insert(signed.envelope.clone(), |_| Ok(replacement));
        }
        changed.second = second;
        assert_ne!(transcript(&changed), reference, "byte {at}");
    }
}
