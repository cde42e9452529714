//! Every operation of every contestant by itself, with the statistics of Criterion: confidence intervals, outliers, and the change
//! since the last run. What the operations contain is said at the table of ratios.
//!
//! `cargo bench -p benches --bench operations` measures; with `-- --test` everything runs once; a further word selects by name, as in
//! `-- "taproot 2 of 3: round 2/quorate"`. The time is what the processor spent on the thread, not what the clock on the wall says.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark that cannot go on has nothing better to do than to stop"
)]

use std::time::Duration;

use benches::Contestant;
use criterion::Criterion;

#[expect(
    clippy::arithmetic_side_effects,
    reason = "a benchmark counts a few bytes and divides times"
)]
#[path = "contestants/ecdsa.rs"]
mod ecdsa;
#[expect(
    clippy::arithmetic_side_effects,
    reason = "a benchmark counts runs and bytes"
)]
#[path = "contestants/life.rs"]
mod life;
#[path = "contestants/suites.rs"]
mod suites;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    let mut measure = |name: String, contestants: Vec<Contestant<'_>>| {
        let mut group = criterion.benchmark_group(name);
        for (contestant, mut run) in contestants {
            group.bench_function(contestant, |bencher| {
                bencher.iter_custom(|times| (0..times).map(|_| run()).sum());
            });
        }
        group.finish();
    };
    ecdsa::for_each_row(&mut measure);
    suites::for_each_row(|_| true, &mut measure);
    criterion.final_summary();
}
