//! FROST beside its peers: key generation, both rounds, aggregation and whole signatures, for Ed25519 and Taproot.
//!
//! `cargo bench -p benches` measures and prints a table; `cargo bench -p benches -- --test` runs everything once; further words
//! select rows by name, as in `cargo bench -p benches -- "2 of 3: whole"`.
//!
//! All figures are of one thread. `round 1`, `round 2` and `aggregate` are the work of one party: round 2 contains everything that a
//! signer has to compute from the list of commitments, aggregation everything that a coordinator has to. `whole` is the work of
//! `threshold` signers and one coordinator together, with values handed over as they are; `whole, over bytes` also encodes what is
//! sent and decodes and validates it at every receiver. `keygen` is the work of all parties; ours signs, encrypts and echoes every
//! message and ends with a certificate, which the others leave to the caller.
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on has nothing better to do than to stop"
)]

use std::time::Duration;

use benches::{Contestant, Effort, Filter, compare};

#[path = "frost/givre.rs"]
mod givre_peer;
#[path = "frost/ours.rs"]
mod ours;
#[path = "frost/source.rs"]
mod source;
#[path = "frost/zcash.rs"]
mod zcash;

/// What is signed.
const MESSAGE: &[u8] = b"Thirty-two bytes, as a digest is";

/// One implementation with the shares of one key, ready to sign.
trait Peer {
    /// What the table calls it.
    fn name(&self) -> &'static str;
    /// One signer's first round.
    fn round1(&mut self) -> Duration;
    /// One signer's second round.
    fn round2(&mut self) -> Duration;
    /// The coordinator's part.
    fn aggregate(&mut self) -> Duration;
    /// A whole signature.
    fn whole(&mut self) -> Duration;
    /// A whole signature, with everything that is sent encoded and decoded.
    fn over_bytes(&mut self) -> Duration;
    /// A whole key generation, of all parties.
    fn keygen(&mut self) -> Option<Duration>;
}

/// Threshold and parties.
const SIZES: [(u16, u16); 3] = [(2, 3), (3, 5), (5, 9)];

type Step = (&'static str, fn(&mut dyn Peer) -> Duration);

const STEPS: [Step; 5] = [
    ("round 1", |peer| peer.round1()),
    ("round 2", |peer| peer.round2()),
    ("aggregate", |peer| peer.aggregate()),
    ("whole", |peer| peer.whole()),
    ("whole, over bytes", |peer| peer.over_bytes()),
];

fn table(suite: &str, peers: impl Fn(u16, u16) -> Vec<Box<dyn Peer>>) {
    let (effort, filter) = (
        Effort::from_args(std::env::args()),
        Filter::from_args(std::env::args()),
    );
    for (threshold, parties) in SIZES {
        let mut peers = peers(threshold, parties);
        for (step, run) in STEPS {
            let name = format!("{suite} {threshold} of {parties}: {step}");
            if !filter.admits(&name) {
                continue;
            }
            let contestants = peers.iter_mut().map(|peer| -> Contestant<'_> {
                (peer.name(), Box::new(move || run(peer.as_mut())))
            });
            println!("{}", compare(name, effort, contestants.collect()));
        }
        let name = format!("{suite} {threshold} of {parties}: keygen");
        if !filter.admits(&name) {
            continue;
        }
        let keygen = peers
            .iter_mut()
            .filter_map(|peer| -> Option<Contestant<'_>> {
                peer.keygen()?;
                Some((
                    peer.name(),
                    Box::new(move || peer.keygen().unwrap_or_default()),
                ))
            });
        let keygen = keygen.collect();
        println!("{}", compare(name, effort, keygen));
    }
}

fn main() {
    println!("processor time of one thread, median, and how many times the first one's");
    table("ed25519", |threshold, parties| {
        vec![
            Box::new(ours::Ours::ed25519(threshold, parties)),
            Box::new(givre_peer::Givre::new(threshold, parties)),
            Box::new(zcash::ed25519::Zcash::new(threshold, parties)),
        ]
    });
    table("taproot", |threshold, parties| {
        vec![
            Box::new(ours::Ours::taproot(threshold, parties)),
            Box::new(zcash::taproot::Zcash::new(threshold, parties)),
        ]
    });
}
