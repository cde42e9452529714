//! Who is measured at what: the implementations of every suite behind one trait, and the steps they all have.

mod givre;
mod ours;
mod source;
mod zcash;

use std::time::Duration;

use benches::Contestant;

/// What is signed.
const MESSAGE: &[u8] = b"Thirty-two bytes, as a digest is";

/// One implementation with the shares of one key, ready to sign. Every method does a thing once and says how long it took.
pub(crate) trait Peer {
    /// The crate.
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
    /// A whole key generation, of all parties, where the crate has one.
    fn keygen(&mut self) -> Option<Duration>;
    /// New shares of the same key for the same parties, the work of all of them, where the crate has that.
    fn refresh(&mut self) -> Option<Duration>;
    /// New shares of the same key for two parties more and a threshold one higher, where the crate has that.
    fn reshare(&mut self) -> Option<Duration>;
}

/// One step of a contestant; nothing where it has no such step.
type Step = fn(&mut dyn Peer) -> Option<Duration>;

const STEPS: [(&str, Step); 8] = [
    ("keygen", |peer| peer.keygen()),
    ("refresh", |peer| peer.refresh()),
    ("reshare", |peer| peer.reshare()),
    ("round 1", |peer| Some(peer.round1())),
    ("round 2", |peer| Some(peer.round2())),
    ("aggregate", |peer| Some(peer.aggregate())),
    ("whole", |peer| Some(peer.whole())),
    ("whole, over bytes", |peer| Some(peer.over_bytes())),
];

/// Threshold and parties.
const SIZES: [(u16, u16); 3] = [(2, 3), (3, 5), (5, 9)];

type Make = fn(u16, u16) -> Vec<Box<dyn Peer>>;

const SUITES: [(&str, Make); 2] = [
    ("ed25519", |threshold, parties| {
        vec![
            Box::new(ours::Ours::ed25519(threshold, parties)),
            Box::new(givre::Givre::new(threshold, parties)),
            Box::new(zcash::ed25519::Zcash::new(threshold, parties)),
        ]
    }),
    ("taproot", |threshold, parties| {
        vec![
            Box::new(ours::Ours::taproot(threshold, parties)),
            Box::new(zcash::taproot::Zcash::new(threshold, parties)),
        ]
    }),
];

/// Calls `measure` for every row that `admits` wants, with its name and those contestants that have its step.
pub(crate) fn for_each_row(
    admits: impl Fn(&str) -> bool,
    mut measure: impl FnMut(String, Vec<Contestant<'_>>),
) {
    for (suite, make) in SUITES {
        for (threshold, parties) in SIZES {
            let row = |(step, run)| (format!("{suite} {threshold} of {parties}: {step}"), run);
            let rows = STEPS.map(row).into_iter();
            let mut rows = rows.filter(|(name, _)| admits(name)).peekable();
            if rows.peek().is_none() {
                continue;
            }
            let mut peers = make(threshold, parties);
            for (name, run) in rows {
                let able = peers
                    .iter_mut()
                    .filter_map(|peer| -> Option<Contestant<'_>> {
                        run(peer.as_mut())?;
                        let name = peer.name();
                        let again = move || run(peer.as_mut()).unwrap_or_default();
                        Some((name, Box::new(again)))
                    });
                measure(name, able.collect());
            }
        }
    }
}
