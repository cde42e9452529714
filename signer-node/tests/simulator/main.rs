//! A cluster in one thread that plays random schedules: nodes, a coordinator, clocks, disks and a network that fail in every way
//! they may, and checks after every step. See docs/simulator.md.
//!
//! `QUORATE_SIM_SEED=<seed>` plays one schedule and prints everything that happened; `QUORATE_SIM_SCHEDULES=<count>` plays another
//! number of them, `QUORATE_SIM_FIRST=<seed>` begins elsewhere.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_in_result,
    clippy::unwrap_used,
    reason = "helpers of tests stand outside test functions and fail the test just the same"
)]

mod bug;
mod checks;
mod cluster;
mod coordinator;
mod dice;
mod disk;
mod figures;
mod made;
mod memo;
mod network;
mod node;
mod schedule;
mod treason;
mod treasury;
mod wire;
mod world;

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use bug::Bug;
use figures::Figures;
use world::World;

/// The first seed; the schedules of a run have this seed and those after it.
const FIRST: u64 = 1;
/// How many schedules are played unless the environment says otherwise.
const SCHEDULES: u64 = 300;
/// Within so many schedules every broken rule is found.
const WITHIN: u64 = 2_000;
/// Seeds that found something once, one to a line.
const FOUND: &str = include_str!("seeds.txt");

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number")),
    )
}

/// What a schedule says about itself: its figures, and what was broken.
fn play(seed: u64, bug: Bug) -> (Figures, Option<String>) {
    let played = catch_unwind(AssertUnwindSafe(|| World::play(seed, bug, false)));
    let (figures, broken) = played.map_or_else(
        |_| (Figures::default(), Some("a panic".to_owned())),
        |report| (report.figures, report.broken),
    );
    // Of a bug only what the check says that is there for it counts.
    let is_meant = |broken: &String| {
        let mut findings = bug.findings().iter();
        bug == Bug::None || findings.any(|finding| broken.contains(finding))
    };
    (figures, broken.filter(is_meant))
}

/// Plays schedules on all cores until one breaks something; gives the figures of all, and the first that did.
fn play_all(seeds: &[u64], bug: Bug) -> (Figures, Option<(u64, String)>) {
    let next = AtomicU64::new(0);
    let total = Mutex::new((Figures::default(), None::<(u64, String)>));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    let (figures, broken) = play(*seed, bug);
                    let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                    total.0.add(&figures);
                    if let Some(broken) = broken {
                        let earlier = total.1.as_ref().is_some_and(|(first, _)| first < seed);
                        if !earlier {
                            total.1 = Some((*seed, broken));
                        }
                        next.store(u64::MAX / 2, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    total.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Prints past the test runner, which keeps what passing tests print to itself.
fn show(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[test]
fn every_schedule_keeps_every_promise() {
    if let Some(seed) = number("QUORATE_SIM_SEED") {
        let report = World::play(seed, Bug::None, true);
        report.trace.iter().for_each(|line| show(line));
        assert_eq!(report.broken, None, "seed {seed}");
        return;
    }
    let count = number("QUORATE_SIM_SCHEDULES").unwrap_or(SCHEDULES);
    let found = FOUND.lines().filter(|line| !line.starts_with('#'));
    let found = found.map(|line| line.trim().parse().expect("a seed"));
    let first = number("QUORATE_SIM_FIRST").unwrap_or(FIRST);
    let seeds: Vec<u64> = found.chain(first..first + count).collect();
    let begin = Instant::now();
    let (figures, broken) = play_all(&seeds, Bug::None);
    if let Some((seed, broken)) = broken {
        panic!(
            "seed {seed}: {broken}\nreplay: QUORATE_SIM_SEED={seed} cargo test -p signer-node --test simulator every_schedule -- --nocapture"
        );
    }
    show(&format!(
        "simulator: schedules {}, seeds {first} to {} and those of seeds.txt, seconds {:.0}, {figures}",
        seeds.len(),
        first + count - 1,
        begin.elapsed().as_secs_f64()
    ));
}

/// A seed that fails tomorrow can be looked at: it plays the same schedule again, event by event.
#[test]
fn a_seed_plays_the_same_schedule_again() {
    for seed in [FIRST, FIRST + 1, FIRST + 2] {
        let (one, other) = (
            World::play(seed, Bug::None, true),
            World::play(seed, Bug::None, true),
        );
        assert!(one.trace.len() > 50, "seed {seed} does something");
        assert_eq!(one.trace, other.trace, "seed {seed}");
        assert_eq!(one.figures, other.figures, "seed {seed}");
    }
}

/// The checks are worth something only if they find what is wrong.
#[test]
fn every_broken_rule_is_found() {
    if number("QUORATE_SIM_SEED").is_some() {
        return;
    }
    let seeds: Vec<u64> = (FIRST..FIRST + WITHIN).collect();
    for bug in Bug::ALL {
        let (_, broken) = play_all(&seeds, bug);
        let (seed, what) = broken.unwrap_or_else(|| panic!("{bug:?} is not found"));
        show(&format!(
            "simulator: {bug:?} is found by schedule {seed}: {what}"
        ));
    }
}
