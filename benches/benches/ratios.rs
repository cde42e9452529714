//! The contestants side by side: key generation, both rounds, aggregation and whole signatures, for Ed25519 and Taproot.
//!
//! `cargo bench -p benches --bench ratios` measures and prints a table; with `-- --test` everything runs once; further words select
//! rows by name, as in `-- "2 of 3: whole"`.
//!
//! All figures are of one thread. `round 1`, `round 2` and `aggregate` are the work of one party: round 2 contains everything that a
//! signer has to compute from the list of commitments, aggregation everything that a coordinator has to. `whole` is the work of
//! `threshold` signers and one coordinator together, with values handed over as they are; `whole, over bytes` also encodes what is
//! sent and decodes and validates it at every receiver. `keygen`, `refresh` (new shares for the same parties) and `reshare` (for two
//! parties more, with a threshold one higher) are the work of all parties; ours signs, encrypts and echoes every message and ends with
//! a certificate, which the others leave to the caller. The crates of the Zcash Foundation can refresh but not reshare, givre neither.
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on has nothing better to do than to stop"
)]

use benches::{Effort, Filter, compare};

#[expect(
    clippy::arithmetic_side_effects,
    reason = "a benchmark counts runs and bytes"
)]
#[path = "contestants/life.rs"]
mod life;
#[path = "contestants/suites.rs"]
mod suites;

fn main() {
    let (effort, filter) = (
        Effort::from_args(std::env::args()),
        Filter::from_args(std::env::args()),
    );
    println!("processor time of one thread, median, and how many times the first one's");
    suites::for_each_row(
        |name| filter.admits(name),
        |name, contestants| println!("{}", compare(name, effort, contestants)),
    );
}
