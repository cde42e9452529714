//! Signing by two honest members and one that lies, over a network that reorders, repeats and holds back: no panic, no honest member
//! is ever blamed, every signature verifies, and the two honest members always get theirs in the end.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};

use libfuzzer_sys::fuzz_target;
use mpc_core::frost::robust::{Action, Coordinator};
use mpc_core::frost::{self, Package, Pool, Signature, SignatureShare, SigningRequest, wire};
use mpc_core::id::{Attempt, PartyIndex, Purpose, RequestId};
use mpc_core::{Error, Rejection, evidence, verify};
use quorate_fuzz::committee::{
    CHEAT, HONEST, Key, PARTIES, PURPOSES, THRESHOLD, cheat, committee, index, signing_request,
};
use quorate_fuzz::script::Script;
use rand_chacha::ChaCha20Rng;

/// Decisions per run.
const MAX_STEPS: usize = 64;
const REQUEST: RequestId = RequestId::from_bytes([8; 32]);
const BOOT: [u8; 16] = [4; 16];

struct Run {
    key: &'static Key,
    request: SigningRequest,
    coordinator: Coordinator,
    rng: ChaCha20Rng,
    pools: BTreeMap<u16, Pool>,
    /// Every commitment that was sent, for sending it again.
    published: Vec<(u16, Vec<u8>)>,
    asked: BTreeMap<Attempt, Box<Package>>,
    /// What every signer has answered, for sending it again: its nonces are gone.
    answers: BTreeMap<(u16, Attempt), Vec<u8>>,
    signature: Option<Signature>,
    lied: bool,
}

fuzz_target!(|bytes: &[u8]| {
    let mut script = Script::new(bytes);
    let key = Key::of(PURPOSES[script.below(PURPOSES.len())]);
    let root = (script.byte() % 2 == 1).then_some([6; 32]);
    let request = signing_request(key.purpose, script.bytes(), root);
    let coordinator =
        Coordinator::new(key.public().clone(), request.clone()).expect("a key for the request");
    let mut run = Run {
        key,
        request,
        coordinator,
        rng: mpc_core::testing::rng(11),
        pools: (1..=PARTIES).map(|number| (number, Pool::new())).collect(),
        published: Vec::new(),
        asked: BTreeMap::new(),
        answers: BTreeMap::new(),
        signature: None,
        lied: false,
    };
    for _ in 0..MAX_STEPS {
        let Some(decision) = script.next() else { break };
        run.step(&mut script, decision);
    }
    run.finish();
});

impl Run {
    fn step(&mut self, script: &mut Script<'_>, decision: u8) {
        let number = [1, 2, CHEAT][script.below(3)];
        match decision % 10 {
            0 | 1 => self.publish(number),
            2 | 3 => self.answer(number, script.below(2)),
            4 => {
                let again = self
                    .published
                    .get(script.below(self.published.len()))
                    .cloned();
                if let Some((_, bytes)) = again {
                    self.receive_commitment(&bytes);
                }
            }
            5 => {
                let sent = self.answers.iter().nth(script.below(self.answers.len()));
                if let Some((attempt, bytes)) =
                    sent.map(|((_, attempt), bytes)| (*attempt, bytes.clone()))
                {
                    self.receive_share(attempt, &bytes);
                }
            }
            6 => {
                let result = self.coordinator.on_silence(index(number));
                self.take(result);
            }
            7 => self.disturb(script),
            8 => self.lie(script),
            _ => {
                // A share that nobody asked for, by an attempt or an index that need not exist.
                let attempt = Attempt(u32::from(script.byte() % 4));
                let index = PartyIndex::new(u16::from(script.byte() % 5).max(1))
                    .expect("an index in range");
                let foreign = self
                    .asked
                    .get(&attempt)
                    .is_none_or(|package| !package.signers().contains_key(&index));
                if foreign && let Ok(share) = SignatureShare::decode(self.key.purpose, &[1; 32]) {
                    let result = self.coordinator.on_share(index, attempt, share);
                    assert!(matches!(result, Err(Error::Rejected(_))), "{result:?}");
                }
            }
        }
    }

    /// A signer sends a fresh commitment.
    fn publish(&mut self, number: u16) {
        let Some(pool) = self.pools.get_mut(&number) else {
            return;
        };
        let fresh = pool
            .generate(self.key.share(number), 1, &mut self.rng)
            .expect("round one");
        for commitment in fresh {
            let bytes = wire::seal_commitment(
                committee().identity(number),
                self.key.public(),
                &BOOT,
                &commitment,
            );
            self.published.push((number, bytes.clone()));
            self.receive_commitment(&bytes);
        }
    }

    fn receive_commitment(&mut self, bytes: &[u8]) {
        let published =
            wire::open_commitment(&committee().roster, self.key.public(), bytes).expect("genuine");
        let result = self
            .coordinator
            .on_commitment(published.index, published.commitment);
        self.take(result);
    }

    /// A signer answers the attempt that it was asked for last, or an earlier one.
    fn answer(&mut self, number: u16, back: usize) {
        let asked = self
            .asked
            .iter()
            .rev()
            .filter(|(_, package)| package.signers().contains_key(&index(number)));
        let Some(attempt) = asked.map(|(attempt, _)| *attempt).nth(back) else {
            return;
        };
        if let Some(bytes) = self.share(number, attempt) {
            self.receive_share(attempt, &bytes);
        }
    }

    /// The right share of a signer, made once.
    fn share(&mut self, number: u16, attempt: Attempt) -> Option<Vec<u8>> {
        if let Some(bytes) = self.answers.get(&(number, attempt)) {
            return Some(bytes.clone());
        }
        let package = self.asked.get(&attempt)?;
        let own = package.commitment(index(number))?;
        let nonces = self
            .pools
            .get_mut(&number)?
            .take(&own)
            .expect("every commitment is asked for once");
        // A signer builds the package itself.
        let commitments = package
            .signers()
            .keys()
            .filter_map(|signer| Some((*signer, package.commitment(*signer)?)));
        let rebuilt = Package::new(
            self.key.share(number).public(),
            commitments.collect(),
            &self.request,
        )
        .expect("a package");
        let share = frost::sign(nonces, self.key.share(number), &rebuilt).expect("round two");
        let bytes = wire::seal_share(
            committee().identity(number),
            &rebuilt,
            REQUEST,
            attempt,
            &share,
        )
        .expect("a signer");
        self.answers.insert((number, attempt), bytes.clone());
        Some(bytes)
    }

    fn receive_share(&mut self, attempt: Attempt, bytes: &[u8]) {
        let package = self.asked.get(&attempt).expect("it was asked for");
        let (index, share) =
            wire::open_share(&committee().roster, package, REQUEST, attempt, bytes)
                .expect("genuine");
        let right = frost::verify_share(package, index, &share).is_ok();
        if index != crate::index(CHEAT) {
            assert!(right, "an honest share is wrong");
            let fault = wire::convict(&committee().roster, package, REQUEST, attempt, bytes);
            assert!(
                matches!(fault, Err(Error::Misuse(mpc_core::Misuse::NoFault))),
                "{fault:?}"
            );
        } else if !right {
            let abort = wire::convict(&committee().roster, package, REQUEST, attempt, bytes)
                .expect("the share is wrong");
            let evidence = abort
                .evidence
                .expect("what is transferable has evidence")
                .encode();
            assert_eq!(
                evidence::verify(&committee().roster, &evidence),
                Ok((cheat(), abort.fault))
            );
        }
        let result = self.coordinator.on_share(index, attempt, share);
        self.take(result);
    }

    /// What was changed on the way is not even looked at.
    fn disturb(&mut self, script: &mut Script<'_>) {
        if let Some((_, genuine)) = self.published.get(script.below(self.published.len())) {
            let mut bytes = genuine.clone();
            script.change(&mut bytes);
            let opened = wire::open_commitment(&committee().roster, self.key.public(), &bytes);
            assert!(
                bytes == *genuine || matches!(opened, Err(Error::Rejected(_))),
                "{opened:?}"
            );
        }
        if let Some(((_, attempt), genuine)) =
            self.answers.iter().nth(script.below(self.answers.len()))
            && let Some(package) = self.asked.get(attempt)
        {
            let mut bytes = genuine.clone();
            script.change(&mut bytes);
            let opened = wire::open_share(&committee().roster, package, REQUEST, *attempt, &bytes);
            assert!(
                bytes == *genuine || matches!(opened, Err(Error::Rejected(_))),
                "{opened:?}"
            );
            // The share of one attempt is nothing in another.
            let other = wire::open_share(
                &committee().roster,
                package,
                REQUEST,
                Attempt(attempt.0.wrapping_add(1)),
                genuine,
            );
            assert_eq!(other, Err(Rejection::WrongSession.into()));
        }
    }

    /// Member 3 signs another share than the right one.
    fn lie(&mut self, script: &mut Script<'_>) {
        let asked = self
            .asked
            .iter()
            .rev()
            .filter(|(_, package)| package.signers().contains_key(&index(CHEAT)));
        let Some(attempt) = asked.map(|(attempt, _)| *attempt).nth(script.below(2)) else {
            return;
        };
        let Some(right) = self.share(CHEAT, attempt) else {
            return;
        };
        let bytes = committee().reseal(&right, |_, body| script.change(body));
        let package = self.asked.get(&attempt).expect("it was asked for");
        match wire::open_share(&committee().roster, package, REQUEST, attempt, &bytes) {
            Ok(_) => {
                self.lied |= bytes != right;
                self.receive_share(attempt, &bytes);
            }
            Err(Error::Aborted(abort)) => {
                let evidence = abort
                    .evidence
                    .expect("what is transferable has evidence")
                    .encode();
                assert_eq!(
                    evidence::verify(&committee().roster, &evidence),
                    Ok((cheat(), abort.fault))
                );
            }
            Err(error) => panic!("{error:?}"),
        }
    }

    fn take(&mut self, result: Result<Vec<Action>, Error>) {
        let actions = match result {
            Ok(actions) => actions,
            Err(Error::Rejected(_) | Error::TimedOut { .. }) => return,
            Err(error) => panic!("two honest members are enough: {error:?}"),
        };
        for action in actions {
            assert!(self.signature.is_none(), "something comes after the end");
            match action {
                Action::Ask { attempt, package } => {
                    assert_eq!(package.signers().len(), usize::from(THRESHOLD));
                    assert!(
                        self.asked.insert(attempt, package).is_none(),
                        "an attempt begins twice"
                    );
                }
                Action::Exclude { index, node, .. } => {
                    assert!(self.lied, "somebody is excluded without a lie");
                    assert_eq!((index, node), (crate::index(CHEAT), cheat()));
                }
                Action::Done(signature) => {
                    self.check(&signature);
                    self.signature = Some(signature);
                }
            }
        }
        assert!(
            self.coordinator.attempts() <= usize::from(PARTIES - THRESHOLD + 1),
            "too many attempts"
        );
    }

    fn check(&self, signature: &Signature) {
        let keys: BTreeSet<_> = self
            .asked
            .values()
            .map(|package| package.output_key())
            .collect();
        assert_eq!(keys.len(), 1);
        let (key, message) = (keys.first().expect("an attempt"), self.request.message());
        assert!(match self.key.purpose {
            Purpose::Ed25519 => verify::ed25519_verify_strict(key, message, signature.as_bytes()),
            _ => verify::bip340_verify(key, message, signature.as_bytes()),
        });
    }

    /// Everything arrives in the end: the honest members answer whatever they were asked, and send fresh commitments.
    fn finish(&mut self) {
        for _ in 0..=usize::from(PARTIES) {
            for number in HONEST {
                let attempts: Vec<_> = self.asked.keys().copied().collect();
                for attempt in attempts {
                    if let Some(bytes) = self.share(number, attempt) {
                        self.receive_share(attempt, &bytes);
                    }
                }
                self.publish(number);
            }
            let result = self.coordinator.on_silence(index(CHEAT));
            self.take(result);
        }
        assert!(
            self.signature.is_some(),
            "two honest members did not get their signature"
        );
    }
}
