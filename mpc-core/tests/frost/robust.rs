//! ROAST: signatures in spite of silent and lying signers.

use std::collections::{BTreeMap, BTreeSet};

use mpc_core::frost::robust::{Action, Coordinator};
use mpc_core::frost::{self, Package, Pool, SignatureShare, SigningRequest};
use mpc_core::id::{Attempt, PartyIndex, Purpose};
use mpc_core::{Error, Fault, Misuse, Rejection, Strength};
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;

use crate::committee::{Committee, accepts, index, request, rng};

/// What a signer does when it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Answers,
    Lies,
    Sleeps,
}

/// A coordinator and its signers, with nothing in between but the test.
struct Run {
    committee: Committee,
    request: SigningRequest,
    manners: BTreeMap<PartyIndex, Manner>,
    pools: BTreeMap<PartyIndex, Pool>,
    coordinator: Coordinator,
    rng: ChaCha20Rng,
    excluded: BTreeSet<PartyIndex>,
    packages: Vec<Package>,
    signature: Option<frost::Signature>,
}

impl Run {
    fn new(purpose: Purpose, threshold: u16, manners: &[Manner], seed: u64) -> Self {
        let parties = u16::try_from(manners.len()).unwrap();
        let committee = Committee::deal(purpose, threshold, parties, seed);
        let request = request(purpose, b"robust");
        let coordinator = Coordinator::new(committee.public.clone(), request.clone()).unwrap();
        Self {
            manners: (1..).map(index).zip(manners.iter().copied()).collect(),
            pools: (1..=parties)
                .map(|number| (index(number), Pool::new()))
                .collect(),
            committee,
            request,
            coordinator,
            rng: rng(seed),
            excluded: BTreeSet::new(),
            packages: Vec::new(),
            signature: None,
        }
    }

    /// Lets every signer that sleeps not publish commitments, in this order.
    fn publish(&mut self, order: &[u16]) -> Result<(), Error> {
        for number in order {
            self.offer(index(*number))?;
        }
        Ok(())
    }

    fn offer(&mut self, index: PartyIndex) -> Result<(), Error> {
        let commitments = self.pools.get_mut(&index).unwrap().generate(
            &self.committee.shares[&index],
            1,
            &mut self.rng,
        )?;
        match self.coordinator.on_commitment(index, commitments[0]) {
            Ok(actions) => self.perform(actions),
            Err(Error::Rejected(Rejection::Finished)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn answer(&mut self, index: PartyIndex, package: &Package) -> Option<SignatureShare> {
        let nonces = self
            .pools
            .get_mut(&index)
            .unwrap()
            .take(&package.commitment(index).unwrap())
            .unwrap();
        let share = frost::sign(nonces, &self.committee.shares[&index], package).unwrap();
        match self.manners[&index] {
            Manner::Answers => Some(share),
            Manner::Lies => {
                let mut bytes = share.encode();
                bytes[15] ^= 1;
                Some(SignatureShare::decode(package.purpose(), &bytes).unwrap())
            }
            Manner::Sleeps => None,
        }
    }

    fn perform(&mut self, actions: Vec<Action>) -> Result<(), Error> {
        for action in actions {
            match action {
                Action::Ask { attempt, package } => {
                    self.packages.push((*package).clone());
                    let mut silent = Vec::new();
                    for index in package.signers().keys() {
                        match self.answer(*index, &package) {
                            Some(share) => self.deliver(*index, attempt, share)?,
                            None => silent.push(*index),
                        }
                    }
                    for index in silent {
                        let actions = self.coordinator.on_silence(index)?;
                        self.perform(actions)?;
                    }
                }
                Action::Done(signature) => {
                    assert!(
                        self.signature.replace(signature).is_none(),
                        "two signatures"
                    );
                }
                Action::Exclude { index, node, .. } => {
                    assert_eq!(self.manners[&index], Manner::Lies);
                    assert_eq!(self.committee.public.node(index), Some(node));
                    assert!(self.excluded.insert(index), "excluded twice");
                }
            }
        }
        Ok(())
    }

    fn deliver(
        &mut self,
        index: PartyIndex,
        attempt: Attempt,
        share: SignatureShare,
    ) -> Result<(), Error> {
        let actions = self.coordinator.on_share(index, attempt, share)?;
        self.perform(actions)?;
        if self.signature.is_none() && !self.excluded.contains(&index) {
            self.offer(index)
        } else {
            Ok(())
        }
    }

    fn check(&self) {
        let signature = self.signature.expect("no signature");
        assert!(
            self.packages
                .iter()
                .any(|package| accepts(package, &signature))
        );
        assert!(
            self.packages
                .iter()
                .all(|package| *package.request() == self.request)
        );
        let bound =
            self.manners.len() + 1 - usize::from(self.committee.public.params().threshold());
        assert!(
            self.coordinator.attempts() <= bound,
            "{} attempts, {bound} allowed",
            self.coordinator.attempts()
        );
        // No commitment served two attempts.
        let used: Vec<_> = self
            .packages
            .iter()
            .flat_map(|package| {
                package
                    .signers()
                    .keys()
                    .map(|index| package.commitment(*index).unwrap().encode())
            })
            .collect();
        assert_eq!(used.iter().collect::<BTreeSet<_>>().len(), used.len());
    }
}

#[test]
fn one_silent_or_lying_signer_of_three_does_not_stop_a_signature() {
    for purpose in [Purpose::Ed25519, Purpose::Bip340] {
        for fault in [Manner::Lies, Manner::Sleeps] {
            for faulty in 0..3 {
                for order in [[1, 2, 3], [3, 2, 1], [2, 1, 3], [2, 3, 1]] {
                    let mut manners = [Manner::Answers; 3];
                    manners[faulty] = fault;
                    let mut run = Run::new(purpose, 2, &manners, 1);
                    run.publish(&order).unwrap();
                    run.check();
                    assert!(run.excluded.len() <= usize::from(fault == Manner::Lies));
                }
            }
        }
    }
}

#[test]
fn without_faults_there_is_one_attempt() {
    let mut run = Run::new(Purpose::Ed25519, 3, &[Manner::Answers; 5], 2);
    run.publish(&[5, 1, 4, 2, 3]).unwrap();
    run.check();
    assert_eq!(run.coordinator.attempts(), 1);
    assert!(run.coordinator.waiting_for().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// With `threshold` honest signers there is a signature within `parties - threshold + 1` attempts, whoever the others are
    /// and in whatever order commitments arrive; with fewer there is none, and only liars are accused.
    #[test]
    fn liveness_and_bound(
        (parties, threshold) in (2_u16..=7).prop_flat_map(|parties| (Just(parties), 2..=parties)),
        faults in prop::collection::vec(prop::sample::select(vec![Manner::Answers, Manner::Answers, Manner::Lies, Manner::Sleeps]), 7),
        order in Just((1_u16..=7).collect::<Vec<_>>()).prop_shuffle(),
        seed in any::<u64>(),
    ) {
        let manners = &faults[..usize::from(parties)];
        let honest = manners.iter().filter(|manner| **manner == Manner::Answers).count();
        let mut run = Run::new(Purpose::Ed25519, threshold, manners, seed);
        let order: Vec<_> = order.into_iter().filter(|number| *number <= parties).collect();
        let outcome = run.publish(&order);
        if honest >= usize::from(threshold) {
            // Silence may be reported while the honest ones have not even published; that is not final.
            let goes_on = matches!(outcome, Ok(()) | Err(Error::TimedOut { .. }));
            prop_assert!(goes_on, "{:?}", outcome);
            for number in 1..=parties {
                if run.signature.is_none() {
                    let _ = run.offer(index(number));
                }
            }
            run.check();
        } else {
            prop_assert!(run.signature.is_none());
            if let Err(Error::Aborted(abort)) = &outcome {
                prop_assert_eq!(&abort.fault, &Fault::InvalidSignatureShare);
                for (node, strength) in &abort.culprits {
                    prop_assert_eq!(run.manners[&run.committee.public.index_of(node).unwrap()], Manner::Lies);
                    prop_assert_eq!(*strength, Strength::Local);
                }
            }
        }
    }
}

#[test]
fn a_signer_that_wakes_up_completes_its_old_attempt() {
    let committee = Committee::deal(Purpose::Ed25519, 2, 3, 3);
    let request = request(Purpose::Ed25519, b"late");
    let mut coordinator = Coordinator::new(committee.public.clone(), request).unwrap();
    let (mut nonces, commitments) = committee.commit(&[1, 2], 4);
    assert!(
        coordinator
            .on_commitment(index(1), commitments[&index(1)])
            .unwrap()
            .is_empty()
    );
    let asked = coordinator
        .on_commitment(index(2), commitments[&index(2)])
        .unwrap();
    let [Action::Ask { attempt, package }] = asked.as_slice() else {
        panic!("{asked:?}")
    };
    let share = |nonces: &mut BTreeMap<_, _>, number| {
        frost::sign(
            nonces.remove(&index(number)).unwrap(),
            committee.share(number),
            package,
        )
        .unwrap()
    };
    assert_eq!(
        coordinator.waiting_for(),
        package.signers().values().copied().collect()
    );
    // Both are silent: too few are left, which is reported but not the end.
    assert!(coordinator.on_silence(index(1)).unwrap().is_empty());
    let missing = [1, 2]
        .map(|number| committee.public.node(index(number)).unwrap())
        .into();
    assert_eq!(
        coordinator.on_silence(index(2)).unwrap_err(),
        Error::TimedOut { missing }
    );
    assert!(
        coordinator
            .on_share(index(2), *attempt, share(&mut nonces, 2))
            .unwrap()
            .is_empty()
    );
    let done = coordinator
        .on_share(index(1), *attempt, share(&mut nonces, 1))
        .unwrap();
    assert!(matches!(done.as_slice(), [Action::Done(signature)] if accepts(package, signature)));
    assert_eq!(coordinator.attempts(), 1);
}

#[test]
fn a49_late_repeated_and_foreign_inputs_change_nothing() {
    let committee = Committee::deal(Purpose::Bip340, 2, 3, 5);
    let strangers = Committee::deal(Purpose::Bip340, 2, 4, 6);
    let request = request(Purpose::Bip340, b"noise");
    let mut coordinator = Coordinator::new(committee.public.clone(), request).unwrap();
    let (mut nonces, commitments) = committee.commit(&[1, 2, 3], 7);
    let (_, foreign) = strangers.commit(&[4], 7);

    let refused = |result: Result<Vec<Action>, Error>| result.map(|_| ()).unwrap_err();
    assert_eq!(
        refused(coordinator.on_commitment(index(4), foreign[&index(4)])),
        Rejection::UnknownSender.into()
    );
    coordinator
        .on_commitment(index(1), commitments[&index(1)])
        .unwrap();
    assert_eq!(
        refused(coordinator.on_commitment(index(1), commitments[&index(1)])),
        Rejection::Replayed.into()
    );
    // Nor can another signer offer it as its own.
    assert_eq!(
        refused(coordinator.on_commitment(index(2), commitments[&index(1)])),
        Rejection::Replayed.into()
    );
    assert_eq!(coordinator.attempts(), 0);

    let asked = coordinator
        .on_commitment(index(2), commitments[&index(2)])
        .unwrap();
    let [Action::Ask { attempt, package }] = asked.as_slice() else {
        panic!("{asked:?}")
    };
    let mut sign = |number| {
        frost::sign(
            nonces.remove(&index(number)).unwrap(),
            committee.share(number),
            package,
        )
        .unwrap()
    };
    let (first, second) = (sign(1), sign(2));
    for (number, attempt) in [(3, *attempt), (1, Attempt(1)), (1, Attempt(u32::MAX))] {
        assert_eq!(
            refused(coordinator.on_share(index(number), attempt, first)),
            Rejection::WrongSession.into()
        );
    }
    assert_eq!(
        refused(coordinator.on_share(index(4), *attempt, first)),
        Rejection::UnknownSender.into()
    );
    assert_eq!(
        refused(coordinator.on_silence(index(4))),
        Rejection::UnknownSender.into()
    );
    assert!(
        coordinator
            .on_share(index(1), *attempt, first)
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        refused(coordinator.on_share(index(1), *attempt, first)),
        Rejection::WrongSession.into()
    );
    assert_eq!(
        refused(coordinator.on_share(index(1), *attempt, second)),
        Rejection::WrongSession.into()
    );
    assert!(matches!(
        coordinator
            .on_share(index(2), *attempt, second)
            .unwrap()
            .as_slice(),
        [Action::Done(_)]
    ));

    let (_, fresh) = committee.commit(&[3], 8);
    assert_eq!(
        refused(coordinator.on_commitment(index(3), fresh[&index(3)])),
        Rejection::Finished.into()
    );
    assert_eq!(
        refused(coordinator.on_share(index(2), *attempt, second)),
        Rejection::Finished.into()
    );
    assert_eq!(
        refused(coordinator.on_silence(index(3))),
        Rejection::Finished.into()
    );
}

#[test]
fn spare_commitments_are_bounded_and_the_purpose_is_checked() {
    let committee = Committee::deal(Purpose::Ed25519, 2, 3, 9);
    let request_ = request(Purpose::Ed25519, b"spare");
    let mut coordinator = Coordinator::new(committee.public.clone(), request_).unwrap();
    for seed in 0..16 {
        let (_, commitments) = committee.commit(&[1], 100 + seed);
        assert!(
            coordinator
                .on_commitment(index(1), commitments[&index(1)])
                .unwrap()
                .is_empty()
        );
    }
    let (_, commitments) = committee.commit(&[1], 200);
    let refused = coordinator
        .on_commitment(index(1), commitments[&index(1)])
        .map(|_| ());
    assert_eq!(refused, Err(Rejection::BufferFull.into()));

    let refused = Coordinator::new(committee.public, request(Purpose::Bip340, b"")).err();
    assert_eq!(
        refused,
        Some(Misuse::WrongPurpose {
            key: Purpose::Ed25519,
            request: Purpose::Bip340
        })
    );
}

#[test]
fn a50_too_many_liars_are_all_named_and_nobody_else() {
    for purpose in [Purpose::Ed25519, Purpose::Bip340] {
        let manners = [Manner::Answers, Manner::Lies, Manner::Answers, Manner::Lies];
        let mut run = Run::new(purpose, 3, &manners, 10);
        let Err(Error::Aborted(abort)) = run.publish(&[1, 2, 3, 4]) else {
            panic!("no abort")
        };
        let liars: BTreeSet<_> = [2, 4]
            .map(|number| run.committee.public.node(index(number)).unwrap())
            .into();
        assert_eq!(
            abort
                .culprits
                .iter()
                .map(|(node, _)| *node)
                .collect::<BTreeSet<_>>(),
            liars
        );
        assert!(run.signature.is_none());
        assert_eq!(
            run.coordinator.on_silence(index(1)).map(|_| ()),
            Err(Rejection::Finished.into())
        );
    }
}
