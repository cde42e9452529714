//! This workspace's FROST.

use std::collections::BTreeMap;
use std::time::Duration;

use benches::timed;
use mpc_core::frost::{
    self, Commitment, Nonces, Package, Signature, SignatureShare, SigningRequest, Tweak,
};
use mpc_core::id::{PartyIndex, Purpose};
use mpc_core::keys::KeyShare;
use mpc_core::testing::Simulator;

use super::source::Source;
use super::{MESSAGE, Peer};
use crate::life::{Life, Pairs};

pub(crate) struct Ours {
    purpose: Purpose,
    request: SigningRequest,
    threshold: u16,
    parties: u16,
    simulator: Simulator,
    life: Life,
    source: Source,
}

type Commitments = BTreeMap<PartyIndex, Commitment>;

impl Ours {
    pub(crate) fn ed25519(threshold: u16, parties: u16) -> Self {
        Self::new(Purpose::Ed25519, Tweak::None, threshold, parties)
    }

    pub(crate) fn taproot(threshold: u16, parties: u16) -> Self {
        Self::new(
            Purpose::Bip340,
            Tweak::TaprootKeyPath { merkle_root: None },
            threshold,
            parties,
        )
    }

    fn new(purpose: Purpose, tweak: Tweak, threshold: u16, parties: u16) -> Self {
        let request = SigningRequest::new(purpose, MESSAGE.to_vec(), tweak).expect("a request");
        let mut simulator = Simulator::start(purpose, threshold, parties, 1);
        simulator.run();
        Self {
            purpose,
            request,
            threshold,
            parties,
            simulator,
            life: Life::new(purpose, threshold, parties),
            source: Source::new(2),
        }
    }

    fn share(&self, number: u16) -> &KeyShare {
        &self.simulator.output(number).share
    }

    fn commit(&mut self) -> (Vec<Nonces>, Commitments) {
        let (mut nonces, mut commitments) = (Vec::new(), BTreeMap::new());
        for number in 1..=self.threshold {
            let share = &self.simulator.output(number).share;
            let (secret, commitment) = frost::commit(share, &mut self.source.0).expect("round one");
            nonces.push(secret);
            commitments.insert(share.index(), commitment);
        }
        (nonces, commitments)
    }

    fn package(&self, number: u16, commitments: Commitments) -> Package {
        Package::new(self.share(number).public(), commitments, &self.request).expect("a package")
    }

    fn answer(&self, number: u16, nonces: Nonces, commitments: &Commitments) -> SignatureShare {
        let package = self.package(number, commitments.clone());
        frost::sign(nonces, self.share(number), &package).expect("round two")
    }

    fn answers(
        &self,
        nonces: Vec<Nonces>,
        commitments: &Commitments,
    ) -> BTreeMap<PartyIndex, SignatureShare> {
        let answer = |(number, nonces)| {
            (
                self.share(number).index(),
                self.answer(number, nonces, commitments),
            )
        };
        (1..).zip(nonces).map(answer).collect()
    }

    fn finish(
        &self,
        commitments: Commitments,
        shares: &BTreeMap<PartyIndex, SignatureShare>,
    ) -> Signature {
        frost::aggregate(&self.package(1, commitments), shares).expect("a signature")
    }

    fn decode(
        &self,
        encoded: &BTreeMap<PartyIndex, Vec<u8>>,
        own: Option<(PartyIndex, Commitment)>,
    ) -> Commitments {
        let decode = |(index, bytes): (&PartyIndex, &Vec<u8>)| match own {
            Some((own, commitment)) if own == *index => (own, commitment),
            _ => (
                *index,
                Commitment::decode(self.purpose, bytes).expect("a commitment"),
            ),
        };
        encoded.iter().map(decode).collect()
    }
}

impl Peer for Ours {
    fn name(&self) -> &'static str {
        "quorate"
    }

    fn round1(&mut self) -> Duration {
        let share = &self.simulator.output(1).share;
        timed(|| frost::commit(share, &mut self.source.0)).1
    }

    fn round2(&mut self) -> Duration {
        let (mut nonces, commitments) = self.commit();
        let nonces = nonces.swap_remove(0);
        timed(|| self.answer(1, nonces, &commitments)).1
    }

    fn aggregate(&mut self) -> Duration {
        let (nonces, commitments) = self.commit();
        let shares = self.answers(nonces, &commitments);
        timed(|| self.finish(commitments, &shares)).1
    }

    fn whole(&mut self) -> Duration {
        timed(|| {
            let (nonces, commitments) = self.commit();
            let shares = self.answers(nonces, &commitments);
            self.finish(commitments, &shares)
        })
        .1
    }

    fn over_bytes(&mut self) -> Duration {
        timed(|| {
            let (nonces, commitments) = self.commit();
            let encoded: BTreeMap<_, _> = commitments
                .iter()
                .map(|(index, commitment)| (*index, commitment.encode()))
                .collect();
            let mut sent = BTreeMap::new();
            for (number, nonces) in (1..).zip(nonces) {
                let own = (self.share(number).index(), *nonces.commitment());
                let received = self.decode(&encoded, Some(own));
                sent.insert(own.0, self.answer(number, nonces, &received).encode());
            }
            let received = self.decode(&encoded, None);
            let share = |(index, bytes): (&PartyIndex, &[u8; 32])| {
                (
                    *index,
                    SignatureShare::decode(self.purpose, bytes).expect("a share"),
                )
            };
            self.finish(received, &sent.iter().map(share).collect())
        })
        .1
    }

    fn keygen(&mut self) -> Option<Duration> {
        let run = || {
            let mut simulator = Simulator::start(self.purpose, self.threshold, self.parties, 3);
            simulator.run();
            simulator
        };
        Some(timed(run).1)
    }

    fn refresh(&mut self) -> Option<Duration> {
        Some(timed(|| self.life.refresh(Pairs::Kept)).1)
    }

    fn reshare(&mut self) -> Option<Duration> {
        Some(timed(|| self.life.grow(Pairs::Kept)).1)
    }
}
