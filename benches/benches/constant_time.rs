//! Does the time of a function depend on its secret? Measures the pair layer with secrets of two classes in random order, one fixed and one
//! drawn anew each time, and compares the two populations with Welch's t-test, as in "dude, is my code constant time?" (Reparaz,
//! Balasch, Verbauwhede 2017).
//!
//! `cargo bench -p benches --bench constant_time` measures 10 000 calls of each function and prints its greatest |t|; a number as first
//! argument sets another count; `-- --test` runs everything a few times without a verdict. Above 4.5 the secret shows (once in 100 000
//! runs by chance; a busy machine does it more often: repeat with more calls), above 10 beyond doubt. The program fails above 10. The
//! last two rows test the test: a function that does leak must be found, and equal classes must not.
//!
//! What is compared at each function, everything else being equal:
//! * `extension::send`: delta = 0 against random deltas, each with the seeds that belong to it; the message is valid for all of them.
//! * `extension::receive`: x = 0 against random choices.
//! * `vole::send`: delta = 0 and fixed factors against random ones.
//! * `vole::receive`: x = 0 against random choices, with an honest message for them.
//!
//! Time is that of the wall clock around one call, inputs are made before the clock starts at the same places for both classes, and
//! the slowest measurements are cropped at several levels, because interruptions are not the function's.
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]
#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot go on has nothing better to do than to stop"
)]

use core::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use benches::Effort;
use mpc_core::id::{NodeId, PairId, SessionId};
use mpc_core::pair::extension::{self, Direction, Nonce};
use mpc_core::pair::{COLUMNS, ReceiverSeeds, SEED_BYTES, SenderSeeds, vole};
use mpc_core::testing::{Script, rng};
use rand_core::Rng;

/// Above this the two classes differ.
const SUSPICIOUS: f64 = 4.5;
/// Above this there is no doubt.
const CERTAIN: f64 = 10.0;
/// Shares of the measurements that are kept, fastest first.
const CROPS: [f64; 6] = [1.0, 0.99, 0.95, 0.9, 0.75, 0.5];

/// Whether the secret of this call is the fixed one.
#[derive(Clone, Copy, PartialEq)]
enum Class {
    Fixed,
    Random,
}

/// Mean, variance and size of a population.
fn moments(times: &[f64]) -> (f64, f64, f64) {
    let count = times.len() as f64;
    let mean = times.iter().sum::<f64>() / count;
    let squares = times.iter().map(|time| (time - mean).powi(2));
    (mean, squares.sum::<f64>() / (count - 1.0), count)
}

/// The greatest |t| over all crops, and the means of both classes in nanoseconds at the strictest crop that has both.
fn compare(measured: &[(Class, f64)]) -> (f64, [f64; 2]) {
    let mut sorted: Vec<f64> = measured.iter().map(|(_, time)| *time).collect();
    sorted.sort_by(f64::total_cmp);
    let mut greatest = 0.0_f64;
    let mut means = [0.0; 2];
    for crop in CROPS {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a length"
        )]
        let kept = (crop * sorted.len() as f64) as usize;
        let limit = sorted.get(kept).copied().unwrap_or(f64::INFINITY);
        let [fixed, random] = [Class::Fixed, Class::Random].map(|class| {
            let of_class = measured
                .iter()
                .filter(|(of, time)| *of == class && *time < limit);
            moments(&of_class.map(|(_, time)| *time).collect::<Vec<_>>())
        });
        if fixed.2.min(random.2) < 10.0 {
            break;
        }
        let error = (fixed.1 / fixed.2 + random.1 / random.2).sqrt();
        let t = (fixed.0 - random.0) / error;
        greatest = greatest.max(t.abs());
        means = [fixed.0, random.0];
    }
    (greatest, means)
}

/// Both seeds of every column, from which the seeds of any delta are taken.
struct Setup {
    both: [[[u8; SEED_BYTES]; 2]; COLUMNS],
    direction: Direction,
    nonce: Nonce,
    session: SessionId,
}

impl Setup {
    fn new() -> Self {
        let mut both = [[[0; SEED_BYTES]; 2]; COLUMNS];
        let mut rng = rng(1);
        both.iter_mut()
            .flatten()
            .for_each(|seed| rng.fill_bytes(seed));
        let direction = Direction {
            receiver: NodeId::from_bytes([1; 32]),
            sender: NodeId::from_bytes([2; 32]),
            pair: PairId::from_bytes([3; 32]),
        };
        let session = SessionId::from_bytes([4; 32]);
        Self {
            both,
            direction,
            nonce: Nonce::new(&session, &[5; 32], &direction),
            session,
        }
    }

    fn receiver(&self) -> ReceiverSeeds {
        ReceiverSeeds::new(Box::new(self.both))
    }

    fn sender(&self, delta: u128) -> SenderSeeds {
        let mut seeds = Box::new([[0; SEED_BYTES]; COLUMNS]);
        for (number, (seed, [zero, one])) in seeds.iter_mut().zip(&self.both).enumerate() {
            *seed = if (delta >> number) & 1 == 1 {
                *one
            } else {
                *zero
            };
        }
        SenderSeeds::new(delta.to_le_bytes(), seeds)
    }

    fn receive(&self, choices: &[u8; 112]) -> (extension::Receiver, extension::Message) {
        let mut script = Script::default().then(choices);
        extension::receive(&self.receiver(), &self.nonce, &self.direction, &mut script)
    }

    fn send(&self, seeds: &SenderSeeds, message: &extension::Message) -> extension::Sender {
        extension::send(seeds, &self.nonce, &self.direction, message).expect("an honest receiver")
    }

    fn context(&self, message: &extension::MessageHash) -> vole::Context {
        vole::Context::new(&self.session, &self.direction, message)
    }
}

/// `N` bytes of a class: zeros or random ones. Both cost the same.
fn secret<const N: usize>(class: Class, rng: &mut impl Rng) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill_bytes(&mut bytes);
    let mask = if class == Class::Fixed { 0 } else { 0xFF };
    bytes.map(|byte| byte & mask)
}

fn nanoseconds<T>(call: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    let result = black_box(call());
    let time = start.elapsed();
    drop(result);
    time.as_secs_f64() * 1e9
}

/// One measured call with a secret of a class.
type Measure<'a> = Box<dyn FnMut(Class) -> f64 + 'a>;

fn functions(setup: &Setup) -> Vec<(&'static str, bool, Measure<'_>)> {
    let (_, message) = setup.receive(&[0x5A; 112]);
    let [copy, again, leaky] = [(); 3].map(|()| message.clone());
    let [
        mut draw_a,
        mut draw_b,
        mut draw_c,
        mut draw_d,
        mut draw_e,
        mut draw_f,
    ] = [10, 11, 12, 13, 14, 15].map(rng);
    let functions: [(_, _, Measure<'_>); 6] = [
        (
            "extension::send",
            false,
            Box::new(move |class| {
                let delta = u128::from_le_bytes(secret(class, &mut draw_a));
                let seeds = setup.sender(delta);
                nanoseconds(|| setup.send(&seeds, &message))
            }),
        ),
        (
            "extension::receive",
            false,
            Box::new(move |class| {
                let choices: [_; 112] = secret(class, &mut draw_b);
                let (seeds, mut script) = (setup.receiver(), Script::default().then(&choices));
                nanoseconds(|| {
                    extension::receive(&seeds, &setup.nonce, &setup.direction, &mut script)
                })
            }),
        ),
        (
            "vole::send",
            false,
            Box::new(move |class| {
                let delta = u128::from_le_bytes(secret(class, &mut draw_c));
                let sender = setup.send(&setup.sender(delta), &copy);
                let context = setup.context(&sender.message_hash());
                // The fixed factors are small; a random one may be above the order once in 2^128 times.
                let factors: [u8; 96] = secret(class, &mut draw_c);
                let mut script = Script::default().then(&factors);
                let factors = vole::Factors::random(&mut script);
                nanoseconds(|| vole::send(sender, &context, factors))
            }),
        ),
        (
            "vole::receive",
            false,
            Box::new(move |class| {
                let (receiver, message) = setup.receive(&secret(class, &mut draw_d));
                let sender = setup.send(&setup.sender(0x1234_5678), &message);
                let context = setup.context(&receiver.message_hash());
                let factors = vole::Factors::random(&mut draw_d);
                let (_, message) = vole::send(sender, &context, factors);
                nanoseconds(|| {
                    vole::receive(receiver, &context, &message).expect("an honest sender")
                })
            }),
        ),
        (
            "control: a class against itself",
            false,
            Box::new(move |_| {
                let delta = u128::from_le_bytes(secret(Class::Random, &mut draw_f));
                let seeds = setup.sender(delta);
                nanoseconds(|| setup.send(&seeds, &again))
            }),
        ),
        (
            "control: the first one, and a branch for each bit",
            true,
            Box::new(move |class| {
                let delta = u128::from_le_bytes(secret(class, &mut draw_e));
                let seeds = setup.sender(delta);
                nanoseconds(|| {
                    let sender = setup.send(&seeds, &leaky);
                    let mut sum = 0_u64;
                    for number in 0..COLUMNS {
                        if black_box((delta >> number) & 1 == 1) {
                            sum ^= black_box(7);
                        }
                    }
                    (sender, sum)
                })
            }),
        ),
    ];
    functions.into()
}

fn main() -> ExitCode {
    let smoke = Effort::from_args(std::env::args()) == Effort::Smoke;
    let count = std::env::args().find_map(|argument| argument.parse().ok());
    let count: u32 = if smoke { 8 } else { count.unwrap_or(10_000) };
    let setup = Setup::new();
    let mut failed = false;
    println!(
        "{:50} {:>7} {:>12} {:>12} {:>8}",
        "function", "calls", "fixed ns", "random ns", "max |t|"
    );
    let mut classes = rng(2);
    for (name, leaks, mut measure) in functions(&setup) {
        for _ in 0..count / 20 {
            measure(Class::Random);
        }
        let measured: Vec<_> = (0..count)
            .map(|_| {
                let class = if classes.next_u32() & 1 == 0 {
                    Class::Fixed
                } else {
                    Class::Random
                };
                (class, measure(class))
            })
            .collect();
        let (t, [fixed, random]) = compare(&measured);
        let verdict = match (leaks, t) {
            (false, t) if t > CERTAIN => "LEAKS",
            (false, t) if t > SUSPICIOUS => "suspicious: measure again with more calls",
            (false, _) => "",
            (true, t) if t > CERTAIN => "found, as it must be",
            (true, _) => "NOT FOUND: this machine is too noisy for a verdict",
        };
        failed |= (t > CERTAIN) != leaks;
        println!("{name:50} {count:>7} {fixed:>12.0} {random:>12.0} {t:>8.2}  {verdict}");
    }
    if failed && !smoke {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
