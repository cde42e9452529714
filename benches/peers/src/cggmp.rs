//! The `cggmp24` crate: Paillier encryption in place of oblivious transfer.

use std::cell::Cell;
use std::rc::Rc;

use cggmp24::key_refresh::PregeneratedPrimes;
use cggmp24::security_level::SecurityLevel128;
use cggmp24::supported_curves::Secp256k1;
use cggmp24::{DataToSign, ExecutionId, KeyShare};
use paillier_zk::backend::Integer;
use rand::RngCore;
use rand::rngs::OsRng;
use round_based::sim::Simulation;
use round_based::state_machine::{ProceedResult, StateMachine};
use serde::Serialize;
use sha2::Sha256;

use crate::life::Pairs;
use crate::{Cost, Peer, measure};

type Primes = PregeneratedPrimes<SecurityLevel128>;

pub(crate) struct Cggmp {
    threshold: u16,
    parties: u16,
    primes: Vec<[Integer; 4]>,
    keys: Vec<KeyShare<Secp256k1, SecurityLevel128>>,
}

/// Blum primes where the crate would take safe ones, which need minutes: the cost of using them is the same.
fn primes() -> [Integer; 4] {
    [(); 4].map(|()| {
        loop {
            let prime = Integer::generate_prime(&mut OsRng, 1536);
            if prime.mod_u(4) == 3 {
                break prime;
            }
        }
    })
}

fn given(primes: &[Integer; 4]) -> Primes {
    Primes::try_from(primes.clone()).expect("primes that are long enough")
}

/// Counts what a party sends.
struct Counted<S> {
    inner: S,
    receivers: usize,
    sent: Rc<Cell<usize>>,
}

impl<S: StateMachine<Msg: Serialize>> StateMachine for Counted<S> {
    type Output = S::Output;
    type Msg = S::Msg;

    fn proceed(&mut self) -> ProceedResult<S::Output, S::Msg> {
        let result = self.inner.proceed();
        if let ProceedResult::SendMsg(message) = &result {
            let size = postcard::to_allocvec(&message.msg)
                .expect("a message")
                .len();
            let times = if message.recipient.is_p2p() {
                1
            } else {
                self.receivers
            };
            self.sent.set(self.sent.get() + size * times);
        }
        result
    }

    fn received_msg(
        &mut self,
        message: round_based::Incoming<S::Msg>,
    ) -> Result<(), round_based::Incoming<S::Msg>> {
        self.inner.received_msg(message)
    }
}

/// Runs a protocol among `parties`; what comes out, and how many bytes were sent.
fn run<'a, S, T, E>(parties: u16, mut start: impl FnMut(u16) -> S) -> (Vec<T>, usize)
where
    S: StateMachine<Output = Result<T, E>, Msg: Serialize + Clone + 'static> + 'a,
    E: std::fmt::Debug,
    T: 'a,
{
    let sent = Rc::new(Cell::new(0));
    let mut simulation = Simulation::with_capacity(parties);
    for party in 0..parties {
        simulation.add_party(Counted {
            inner: start(party),
            receivers: usize::from(parties) - 1,
            sent: Rc::clone(&sent),
        });
    }
    let results = simulation.run().expect("a run").into_vec();
    let results = results.into_iter().map(|result| result.expect("a result"));
    (results.collect(), sent.get())
}

fn name() -> [u8; 32] {
    let mut name = [0; 32];
    OsRng.fill_bytes(&mut name);
    name
}

impl Cggmp {
    pub(crate) fn new(threshold: u16, parties: u16) -> Self {
        let primes: Vec<_> = (0..parties).map(|_| primes()).collect();
        let keys = cggmp24::trusted_dealer::builder::<Secp256k1, SecurityLevel128>(parties)
            .set_threshold(Some(threshold))
            .set_pregenerated_primes(primes.iter().map(given).collect())
            .generate_shares(&mut OsRng)
            .expect("a dealt key");
        Self {
            threshold,
            parties,
            primes,
            keys,
        }
    }

    fn keygen(&self) -> usize {
        let name = name();
        let mut sources = vec![OsRng; self.parties.into()];
        let mut sources = sources.iter_mut();
        run(self.parties, |party| {
            cggmp24::keygen::<Secp256k1>(ExecutionId::new(&name), party, self.parties)
                .set_threshold(self.threshold)
                .into_state_machine(sources.next().expect("one each"))
        })
        .1
    }

    fn auxiliary(&self) -> usize {
        let name = name();
        let mut sources = vec![OsRng; self.parties.into()];
        let mut sources = sources.iter_mut();
        run(self.parties, |party| {
            let primes = given(&self.primes[usize::from(party)]);
            cggmp24::aux_info_gen(ExecutionId::new(&name), party, self.parties, primes)
                .into_state_machine(sources.next().expect("one each"))
        })
        .1
    }
}

impl Peer for Cggmp {
    fn name(&self) -> &'static str {
        "cggmp24"
    }

    fn whole(&mut self) -> Option<Cost> {
        let signers: Vec<u16> = (0..self.threshold).collect();
        let data = DataToSign::digest::<Sha256>(b"a message");
        let name = name();
        let mut sources = vec![OsRng; self.threshold.into()];
        Some(measure(self.threshold, || {
            let mut sources = sources.iter_mut();
            run(self.threshold, |party| {
                let key = &self.keys[usize::from(party)];
                cggmp24::signing(ExecutionId::new(&name), party, &signers, key)
                    .sign_sync(sources.next().expect("one each"), &data)
            })
            .1
        }))
    }

    fn online(&mut self) -> Option<Cost> {
        let signers: Vec<u16> = (0..self.threshold).collect();
        let name = name();
        let mut sources = vec![OsRng; self.threshold.into()];
        let mut sources = sources.iter_mut();
        let (presignatures, _) = run(self.threshold, |party| {
            let key = &self.keys[usize::from(party)];
            cggmp24::signing(ExecutionId::new(&name), party, &signers, key)
                .generate_presignature_sync(sources.next().expect("one each"))
        });
        let data = DataToSign::digest::<Sha256>(b"a message");
        let public = self.keys[0].shared_public_key;
        Some(measure(self.threshold, || {
            let (mut partial, mut commitments) = (Vec::new(), Vec::new());
            for (presignature, commitment) in presignatures {
                partial.push(presignature.issue_partial_signature(data));
                commitments.push(commitment);
            }
            for commitment in &commitments {
                let signature = cggmp24::PartialSignature::combine(&partial, commitment, data);
                signature
                    .expect("a signature")
                    .verify(&public, &data)
                    .expect("a valid one");
            }
            let sent: usize = partial
                .iter()
                .map(|partial| postcard::to_allocvec(partial).expect("a message").len())
                .sum();
            sent * usize::from(self.threshold - 1)
        }))
    }

    fn fresh_dkg(&mut self) -> Option<Cost> {
        Some(measure(self.parties, || self.keygen() + self.auxiliary()))
    }

    fn reusing_dkg(&mut self) -> Option<Cost> {
        Some(measure(self.parties, || self.keygen()))
    }

    fn refresh(&mut self, _: Pairs) -> Option<Cost> {
        None
    }

    fn reshare(&mut self, _: Pairs) -> Option<Cost> {
        None
    }
}
