//! Threshold ECDSA of Quorate beside its peers: `cargo run --release --manifest-path benches/peers/Cargo.toml`.
//!
//! Words on the command line select rows by name, as in `-- "2 of 3"`; `--smoke` runs everything once. All parties run in one thread,
//! contestants take turns; a figure is the median of the processor time, divided by the number of parties. Bytes are what one party
//! sends, counted once per receiver, in each contestant's own encoding (`postcard` where it has none).
//!
//! * `whole`: a signature from key shares (and pair setups, or auxiliary information) to the verified result. What a coordinator can
//!   do for all is done once; cggmp24 does it at every party.
//! * `online`: what remains of it when the request is known, with everything prepared that can be.
//! * `dkg, fresh`: a key generation with all that signing needs. For cggmp24 the primes are given: they take minutes.
//! * `dkg, reuse`: a key generation between parties that have signed together before.
//! * `refresh, kept` and `refresh, fresh`: new shares of the same key for the same parties, with what pairs of them need for signing
//!   used on, or made anew. For dkls23 these are its two refreshes. cggmp24 announces one but this release has none.
//! * `reshare, kept` and `reshare, fresh`: new shares for two parties more, with a threshold one higher. No peer has it.
//!
//! Ours signs every message it sends and verifies every message it receives, encodes and decodes it; the others hand values over.
#![forbid(unsafe_code)]

mod cggmp;
mod dkls;
#[path = "../../benches/contestants/life.rs"]
mod life;
mod ours;

use std::time::{Duration, Instant};

use benches::{Filter, timed};
use life::Pairs;

/// One run of one contestant.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    /// Processor time of all parties.
    time: Duration,
    /// Bytes that all parties send.
    bytes: usize,
    /// How many they are.
    parties: u32,
}

/// Runs `call` and takes its time; it says how many bytes were sent.
fn measure(parties: u16, call: impl FnOnce() -> usize) -> Cost {
    let (bytes, time) = timed(call);
    Cost {
        time,
        bytes,
        parties: parties.into(),
    }
}

/// One implementation with a key, ready to do things once.
trait Peer {
    fn name(&self) -> &'static str;
    fn whole(&mut self) -> Option<Cost>;
    fn online(&mut self) -> Option<Cost>;
    fn fresh_dkg(&mut self) -> Option<Cost>;
    fn reusing_dkg(&mut self) -> Option<Cost>;
    fn refresh(&mut self, pairs: Pairs) -> Option<Cost>;
    fn reshare(&mut self, pairs: Pairs) -> Option<Cost>;
}

type Step = fn(&mut dyn Peer) -> Option<Cost>;

const STEPS: [(&str, Step); 8] = [
    ("whole", |peer| peer.whole()),
    ("online", |peer| peer.online()),
    ("dkg, fresh", |peer| peer.fresh_dkg()),
    ("dkg, reuse", |peer| peer.reusing_dkg()),
    ("refresh, kept", |peer| peer.refresh(Pairs::Kept)),
    ("refresh, fresh", |peer| peer.refresh(Pairs::Fresh)),
    ("reshare, kept", |peer| peer.reshare(Pairs::Kept)),
    ("reshare, fresh", |peer| peer.reshare(Pairs::Fresh)),
];

/// Median time of a party in microseconds, and the bytes it sends.
fn summarise(samples: &mut [Cost]) -> (f64, usize) {
    samples.sort_unstable_by_key(|cost| cost.time);
    let median = samples[samples.len() / 2];
    let parties = median.parties.max(1);
    (
        median.time.as_secs_f64() * 1e6 / f64::from(parties),
        median.bytes / parties as usize,
    )
}

fn row(name: &str, smoke: bool, peers: &mut [Box<dyn Peer>], step: Step) {
    let (most, least) = if smoke { (1, 1) } else { (51, 3) };
    let limit = Duration::from_secs(6);
    let mut samples = vec![Vec::new(); peers.len()];
    let mut spent = vec![Duration::ZERO; peers.len()];
    for _ in 0..most {
        for ((peer, samples), spent) in peers.iter_mut().zip(&mut samples).zip(&mut spent) {
            if samples.len() < least || *spent < limit {
                let start = Instant::now();
                samples.extend(step(peer.as_mut()));
                *spent += start.elapsed();
            }
        }
    }
    let mut ours = None;
    for (peer, samples) in peers.iter().zip(&mut samples) {
        if samples.is_empty() {
            continue;
        }
        let (micros, bytes) = summarise(samples);
        let ratio = micros / *ours.get_or_insert(micros);
        println!(
            "{name:<22} {:<10} {micros:>12.1} us {ratio:>8.2}x {bytes:>10} bytes   {} runs",
            peer.name(),
            samples.len()
        );
    }
}

fn main() {
    let smoke = std::env::args().any(|argument| argument == "--smoke");
    let filter = Filter::from_args(std::env::args());
    println!("per party: median processor time, how many times ours, bytes sent");
    for (threshold, parties) in [(2, 3), (3, 5), (5, 9), (10, 20)] {
        let names = STEPS.map(|(step, run)| (format!("{threshold} of {parties}: {step}"), run));
        let wanted: Vec<_> = names
            .iter()
            .filter(|(name, _)| filter.admits(name))
            .collect();
        if wanted.is_empty() {
            continue;
        }
        let mut peers: Vec<Box<dyn Peer>> = vec![Box::new(ours::Ours::new(threshold, parties))];
        // Beyond these, one run of theirs takes minutes.
        if parties <= 9 {
            peers.push(Box::new(dkls::Dkls::new(threshold, parties)));
        }
        if parties <= 5 {
            peers.push(Box::new(cggmp::Cggmp::new(threshold, parties)));
        }
        for (name, step) in wanted {
            row(name, smoke, &mut peers, *step);
        }
    }
}
