//! The `dkls23` crate: the same family of protocols with 416 transfers per multiplication.

use std::collections::BTreeMap;

use dkls23::protocols::dkg_session::DkgSession;
use dkls23::protocols::sign_session::SignSession;
use dkls23::protocols::signing::SignData;
use dkls23::protocols::{Parameters, PartyIndex};
use dkls23::secp256k1::Party;
use rand::RngCore;
use serde::Serialize;

use crate::life::Pairs;
use crate::{Cost, Peer, measure};

pub(crate) struct Dkls {
    threshold: u8,
    parties: u8,
    keys: Vec<Party>,
}

fn size(value: &impl Serialize) -> usize {
    postcard::to_allocvec(value).expect("a message").len()
}

fn index(number: u8) -> PartyIndex {
    PartyIndex::new(number).expect("an index")
}

fn random() -> Vec<u8> {
    let mut bytes = vec![0; 32];
    rand::thread_rng().fill_bytes(&mut bytes);
    bytes
}

impl Dkls {
    pub(crate) fn new(threshold: u16, parties: u16) -> Self {
        let [threshold, parties] =
            [threshold, parties].map(|number| number.try_into().expect("small"));
        let (keys, _) = generate(threshold, parties);
        Self {
            threshold,
            parties,
            keys,
        }
    }

    fn sign(&self) -> usize {
        let (sign_id, mut message_hash) = (random(), [0; 32]);
        message_hash.copy_from_slice(&random());
        let signers: Vec<_> = (1..=self.threshold).map(index).collect();
        let others = usize::from(self.threshold) - 1;
        let mut bytes = 0;
        let (mut sessions, mut first) = (Vec::new(), Vec::new());
        for (key, me) in self.keys.iter().zip(&signers) {
            let counterparties = signers
                .iter()
                .copied()
                .filter(|other| other != me)
                .collect();
            let data = SignData {
                sign_id: sign_id.clone(),
                counterparties,
                message_hash,
            };
            let (session, sent) = SignSession::new(key, data).expect("phase 1");
            sessions.push(session);
            first.extend(sent);
        }
        bytes += first.iter().map(size).sum::<usize>();
        let mut second = Vec::new();
        for (session, me) in sessions.iter_mut().zip(&signers) {
            let mine: Vec<_> = first
                .iter()
                .filter(|sent| sent.parties.receiver == *me)
                .cloned()
                .collect();
            second.extend(session.phase2(&mine).expect("phase 2"));
        }
        bytes += second.iter().map(size).sum::<usize>();
        let mut third = Vec::new();
        for (session, me) in sessions.iter_mut().zip(&signers) {
            let mine: Vec<_> = second
                .iter()
                .filter(|sent| sent.parties.receiver == *me)
                .cloned()
                .collect();
            third.push(session.phase3(&mine).expect("phase 3"));
        }
        bytes += third.iter().map(size).sum::<usize>() * others;
        // The last phase is the same for everybody: once, as by a coordinator.
        let session = sessions.pop().expect("a signer");
        session.phase4(&third, true).expect("a signature");
        bytes
    }
}

/// A key generation; the keys, and how many bytes were sent.
fn generate(threshold: u8, parties: u8) -> (Vec<Party>, usize) {
    let parameters = Parameters::new(threshold, parties).expect("parameters");
    let name = random();
    let indices: Vec<_> = (1..=parties).map(index).collect();
    let others = usize::from(parties) - 1;
    let mut bytes = 0;
    let mut sessions: Vec<DkgSession<_>> = indices
        .iter()
        .map(|me| DkgSession::new(parameters.clone(), *me, name.clone()))
        .collect();
    let first: Vec<_> = sessions.iter().map(DkgSession::phase1).collect();
    bytes += 32 * usize::from(parties) * others;
    let (mut proofs, mut zeros2, mut derivation2) = (Vec::new(), Vec::new(), BTreeMap::new());
    for (place, (session, me)) in sessions.iter_mut().zip(&indices).enumerate() {
        let fragments: Vec<_> = first.iter().map(|row| row[place]).collect();
        let (proof, zero, derivation) = session.phase2(&fragments).expect("phase 2");
        bytes += (size(&proof) + size(&derivation)) * others;
        bytes += zero.iter().map(size).sum::<usize>();
        proofs.push(proof);
        zeros2.extend(zero);
        derivation2.insert(*me, derivation);
    }
    let (mut zeros3, mut multiplications, mut derivation3) =
        (Vec::new(), Vec::new(), BTreeMap::new());
    for (session, me) in sessions.iter_mut().zip(&indices) {
        let (zero, multiplication, derivation) = session.phase3().expect("phase 3");
        bytes += size(&derivation) * others;
        bytes += zero.iter().map(size).sum::<usize>();
        bytes += multiplication.iter().map(size).sum::<usize>();
        zeros3.extend(zero);
        multiplications.extend(multiplication);
        derivation3.insert(*me, derivation);
    }
    let keys = sessions.into_iter().zip(&indices).map(|(session, me)| {
        let zeros2: Vec<_> = zeros2
            .iter()
            .filter(|sent| sent.parties.receiver == *me)
            .cloned()
            .collect();
        let zeros3: Vec<_> = zeros3
            .iter()
            .filter(|sent| sent.parties.receiver == *me)
            .cloned()
            .collect();
        let mine: Vec<_> = multiplications
            .iter()
            .filter(|sent| sent.parties.receiver == *me)
            .cloned()
            .collect();
        let made = session.phase4(
            &proofs,
            &zeros2,
            &zeros3,
            &mine,
            &derivation2,
            &derivation3,
            |_| String::new(),
        );
        made.expect("a key").0
    });
    (keys.collect(), bytes)
}

/// What is for this party.
macro_rules! for_one {
    ($sent:expr, $me:expr) => {
        $sent
            .iter()
            .filter(|sent| sent.parties.receiver == *$me)
            .cloned()
            .collect::<Vec<_>>()
    };
}

impl Dkls {
    fn indices(&self) -> Vec<PartyIndex> {
        (1..=self.parties).map(index).collect()
    }

    /// The first phase, which both refreshes share: the shares of a zero, by receiver.
    fn zeros<S: Copy>(&self, first: impl Fn(&Party) -> Vec<S>) -> Vec<Vec<S>> {
        let rows: Vec<_> = self.keys.iter().map(first).collect();
        let place = |place: usize| rows.iter().map(|row| row[place]).collect();
        (0..rows.len()).map(place).collect()
    }

    /// Bytes of a broadcast of every party.
    fn told(&self, messages: &[impl Serialize]) -> usize {
        messages.iter().map(size).sum::<usize>() * (usize::from(self.parties) - 1)
    }

    /// The refresh that uses the setups on.
    fn refresh_shares(&self) -> usize {
        let (name, indices) = (random(), self.indices());
        let fragments = self.zeros(Party::refresh_phase1);
        let mut bytes = 32 * indices.len() * (indices.len() - 1);
        let (mut corrections, mut proofs) = (Vec::new(), Vec::new());
        let (mut kept, mut second, mut third) = (Vec::new(), Vec::new(), Vec::new());
        for (key, fragments) in self.keys.iter().zip(&fragments) {
            let (correction, proof, keep, sent) = key.refresh_phase2(&name, fragments);
            corrections.push(correction);
            proofs.push(proof);
            kept.push(keep);
            second.extend(sent);
        }
        bytes += self.told(&proofs) + second.iter().map(size).sum::<usize>();
        for (key, keep) in self.keys.iter().zip(&mut kept) {
            let (next, sent) = key.refresh_phase3(keep);
            third.push((next, sent));
        }
        let sent: Vec<_> = third.iter().flat_map(|(_, sent)| sent.clone()).collect();
        bytes += sent.iter().map(size).sum::<usize>();
        for ((key, me), (correction, (kept, _))) in self
            .keys
            .iter()
            .zip(&indices)
            .zip(corrections.iter().zip(&third))
        {
            let (second, third) = (for_one!(second, me), for_one!(sent, me));
            key.refresh_phase4(&name, correction, &proofs, kept, &second, &third)
                .expect("new shares");
        }
        bytes
    }

    /// The refresh that makes all setups anew.
    fn refresh_all(&self) -> usize {
        let (name, indices) = (random(), self.indices());
        let fragments = self.zeros(Party::refresh_complete_phase1);
        let mut bytes = 32 * indices.len() * (indices.len() - 1);
        let (mut corrections, mut proofs) = (Vec::new(), Vec::new());
        let (mut kept, mut second) = (Vec::new(), Vec::new());
        for (key, fragments) in self.keys.iter().zip(&fragments) {
            let (correction, proof, keep, sent) = key.refresh_complete_phase2(&name, fragments);
            corrections.push(correction);
            proofs.push(proof);
            kept.push(keep);
            second.extend(sent);
        }
        bytes += self.told(&proofs) + second.iter().map(size).sum::<usize>();
        let (mut keeps, mut third, mut multiplications) = (Vec::new(), Vec::new(), Vec::new());
        for (key, keep) in self.keys.iter().zip(&kept) {
            let (zero, sent, multiplication, offered) = key.refresh_complete_phase3(&name, keep);
            keeps.push((zero, multiplication));
            third.extend(sent);
            multiplications.extend(offered);
        }
        bytes += third.iter().map(size).sum::<usize>();
        bytes += multiplications.iter().map(size).sum::<usize>();
        for ((key, me), (correction, (zero, multiplication))) in self
            .keys
            .iter()
            .zip(&indices)
            .zip(corrections.iter().zip(&keeps))
        {
            key.refresh_complete_phase4(
                &name,
                correction,
                &proofs,
                zero,
                &for_one!(second, me),
                &for_one!(third, me),
                multiplication,
                &for_one!(multiplications, me),
            )
            .expect("new shares");
        }
        bytes
    }
}

impl Peer for Dkls {
    fn name(&self) -> &'static str {
        "dkls23"
    }

    fn whole(&mut self) -> Option<Cost> {
        Some(measure(self.threshold.into(), || self.sign()))
    }

    fn online(&mut self) -> Option<Cost> {
        None
    }

    fn fresh_dkg(&mut self) -> Option<Cost> {
        Some(measure(self.parties.into(), || {
            generate(self.threshold, self.parties).1
        }))
    }

    fn reusing_dkg(&mut self) -> Option<Cost> {
        None
    }

    fn refresh(&mut self, pairs: Pairs) -> Option<Cost> {
        let run = || match pairs {
            Pairs::Kept => self.refresh_shares(),
            Pairs::Fresh => self.refresh_all(),
        };
        Some(measure(self.parties.into(), run))
    }

    fn reshare(&mut self, _: Pairs) -> Option<Cost> {
        None
    }
}
