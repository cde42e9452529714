//! Measuring implementations of one thing side by side.
//!
//! On a shared machine a figure means little and a ratio a lot, if both were measured at the same time. So time is what the processor
//! spent on the thread, the contestants of a row take turns, run by run, and the table shows medians and how many times each is the
//! first one's.
#![forbid(unsafe_code)]

use core::fmt;
use core::hint::black_box;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// How long to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Until the median of every contestant is worth something.
    Full,
    /// Once each: does it still run?
    Smoke,
}

impl Effort {
    /// What the command line asks for. Cargo passes `--bench` to a benchmark that is meant to be one; with `--test`, or when run as a
    /// test, everything runs once.
    #[must_use]
    pub fn from_args(args: impl Iterator<Item = String>) -> Self {
        let args: Vec<_> = args.collect();
        let has = |name: &str| args.iter().any(|arg| arg == name);
        if has("--bench") && !has("--test") {
            Self::Full
        } else {
            Self::Smoke
        }
    }
}

/// Which rows to measure: all, or those whose name contains one of the words on the command line.
#[derive(Clone, Debug)]
pub struct Filter(Vec<String>);

impl Filter {
    /// The arguments that are not flags.
    #[must_use]
    pub fn from_args(args: impl Iterator<Item = String>) -> Self {
        Self(args.skip(1).filter(|arg| !arg.starts_with('-')).collect())
    }

    /// Whether a row is wanted.
    #[must_use]
    pub fn admits(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|word| name.contains(word.as_str()))
    }
}

/// Processor time of this thread so far.
fn spent() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// Processor time that a call takes. What it returns is kept alive and not optimised away.
pub fn timed<T>(call: impl FnOnce() -> T) -> (T, Duration) {
    let start = spent();
    let result = black_box(call());
    (result, spent().saturating_sub(start))
}

/// One of several ways to do a thing: its name, and a function that does it once and says how long it took.
pub type Contestant<'a> = (&'static str, Box<dyn FnMut() -> Duration + 'a>);

/// Medians of one row, in the order of the contestants.
#[derive(Clone, Debug)]
pub struct Row {
    name: String,
    medians: Vec<(&'static str, Duration)>,
}

/// Lets the contestants take turns and returns the median of each.
#[must_use]
pub fn compare(name: String, effort: Effort, contestants: Vec<Contestant<'_>>) -> Row {
    const ROUNDS: usize = 301;
    const LIMIT: Duration = Duration::from_secs(4);
    let mut contestants = contestants;
    let mut samples = vec![Vec::with_capacity(ROUNDS); contestants.len()];
    let start = Instant::now();
    for round in 0..ROUNDS {
        for ((_, run), samples) in contestants.iter_mut().zip(&mut samples) {
            samples.push(run());
        }
        // At least a few rounds, so that what is slow has a median too.
        if effort == Effort::Smoke || round >= 8 && start.elapsed() > LIMIT {
            break;
        }
    }
    let medians = contestants
        .iter()
        .zip(samples)
        .map(|((name, _), mut samples)| {
            samples.sort_unstable();
            (
                *name,
                samples.get(samples.len() / 2).copied().unwrap_or_default(),
            )
        });
    Row {
        name,
        medians: medians.collect(),
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<34}", self.name)?;
        let first = self
            .medians
            .first()
            .map_or(Duration::ZERO, |(_, median)| *median);
        for (name, median) in &self.medians {
            let micros = median.as_secs_f64() * 1e6;
            let ratio = median.as_secs_f64() / first.as_secs_f64().max(1e-9);
            write!(f, " {name:>18} {micros:>9.1} us {ratio:>5.2}x")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_per_contestant_and_in_order() {
        let slow = || Duration::from_micros(30);
        let mut next = 0;
        let uneven = move || {
            next += 1;
            Duration::from_micros(if next % 2 == 0 { 10 } else { 20 })
        };
        let row = compare(
            "row".to_owned(),
            Effort::Full,
            vec![("slow", Box::new(slow)), ("uneven", Box::new(uneven))],
        );
        let medians: Vec<_> = row
            .medians
            .iter()
            .map(|(name, median)| (*name, median.as_micros()))
            .collect();
        assert_eq!(medians, [("slow", 30), ("uneven", 20)]);
        assert!(row.to_string().ends_with("0.67x"));
    }

    #[test]
    fn a_smoke_run_measures_once() {
        let mut runs = 0;
        let run = || {
            runs += 1;
            Duration::ZERO
        };
        assert_eq!(
            compare(String::new(), Effort::Smoke, vec![("one", Box::new(run))])
                .medians
                .len(),
            1
        );
        assert_eq!(runs, 1);
    }

    #[test]
    fn effort_follows_cargo() {
        let effort = |args: &[&str]| Effort::from_args(args.iter().map(|arg| (*arg).to_owned()));
        assert_eq!(effort(&["bench", "--bench"]), Effort::Full);
        assert_eq!(effort(&["bench", "--test", "--bench"]), Effort::Smoke);
        assert_eq!(effort(&["bench"]), Effort::Smoke);
        let filter = |args: &[&str]| Filter::from_args(args.iter().map(|arg| (*arg).to_owned()));
        assert!(filter(&["bench", "--bench"]).admits("anything"));
        assert!(filter(&["bench", "2 of 3", "--bench"]).admits("ed25519 2 of 3: whole"));
        assert!(!filter(&["bench", "2 of 3", "--bench"]).admits("ed25519 3 of 5: whole"));
    }
}
