//! What time it is, as far as this node will believe.
//!
//! The wall clock can be set by whoever holds the host; the boot clock cannot, it only counts. A [`Clock`] compares both
//! with the last mark that was stored, and keeps a second time, the *witnessed* one, which never runs faster than the boot
//! clock. Delays and spending windows are measured in witnessed time: setting the wall clock shortens none of them.
//! A wall clock that falls back, or runs further ahead than the bound, stops everything that depends on time.

use crate::codec::{Malformed, Reader, Writer};
use crate::config::ClockLimits;

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reading {
    /// Unix milliseconds, as the host says.
    pub wall_ms: u64,
    /// Milliseconds since the kernel started, suspended time included.
    pub boot_ms: u64,
    /// Which start of the kernel `boot_ms` counts from.
    pub boot: [u8; 16],
}

impl Reading {
    /// Puts a reading together; [`Reading::take`] asks the system.
    #[must_use]
    pub const fn new(wall_ms: u64, boot_ms: u64, boot: [u8; 16]) -> Self {
        Self {
            wall_ms,
            boot_ms,
            boot,
        }
    }

    /// Asks the system.
    ///
    /// # Errors
    /// [`ClockFault::Unreadable`] if the wall clock stands before 1970.
    pub fn take(boot: [u8; 16]) -> Result<Self, ClockFault> {
        let wall = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_err(|_| ClockFault::Unreadable)?;
        let boot_clock = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(boot_clock.tv_sec).map_err(|_| ClockFault::Unreadable)?;
        let millis =
            u64::try_from(boot_clock.tv_nsec / 1_000_000).map_err(|_| ClockFault::Unreadable)?;
        Ok(Self {
            wall_ms: u64::try_from(wall.as_millis()).map_err(|_| ClockFault::Unreadable)?,
            boot_ms: seconds.saturating_mul(1_000).saturating_add(millis),
            boot,
        })
    }

    /// The identity of this start of the kernel; zeros where the system does not tell, which no stored mark ever matches.
    #[must_use]
    pub fn kernel_boot() -> [u8; 16] {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
        let mut id = [0; 16];
        if hex::decode_to_slice(digits, &mut id).is_err() {
            id = [0; 16];
        }
        id
    }
}

/// The last believed time; stored, so that a restart cannot forget it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mark {
    /// The highest believed wall time, unix milliseconds.
    pub wall_ms: u64,
    /// Witnessed time, milliseconds on the same scale; at most `wall_ms`.
    pub witnessed_ms: u64,
    /// Boot clock at that moment.
    pub boot_ms: u64,
    /// Which start of the kernel.
    pub boot: [u8; 16],
}

impl Mark {
    pub(crate) fn encode(&self) -> Vec<u8> {
        Writer::new()
            .u64(self.wall_ms)
            .u64(self.witnessed_ms)
            .u64(self.boot_ms)
            .fixed(&self.boot)
            .finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new("clock mark", bytes);
        let mark = Self {
            wall_ms: reader.u64()?,
            witnessed_ms: reader.u64()?,
            boot_ms: reader.u64()?,
            boot: reader.array()?,
        };
        reader.finish()?;
        Ok(mark)
    }
}

/// A believed moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Now {
    /// Unix milliseconds; never goes back.
    pub wall_ms: u64,
    /// Witnessed milliseconds; never goes back, never faster than real time.
    pub witnessed_ms: u64,
}

impl Now {
    /// Where a moment that was stored in witnessed time lies on today's wall clock.
    #[must_use]
    pub const fn on_wall(&self, witnessed_ms: u64) -> u64 {
        witnessed_ms.saturating_add(self.wall_ms.saturating_sub(self.witnessed_ms))
    }

    /// The reverse of [`Self::on_wall`].
    #[must_use]
    pub const fn witnessed(&self, wall_ms: u64) -> u64 {
        wall_ms.saturating_sub(self.wall_ms.saturating_sub(self.witnessed_ms))
    }
}

/// Why the time is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClockFault {
    /// The wall clock stands before the highest time ever believed.
    #[error(
        "the wall clock is {by_ms} ms behind the latest time this node has seen; set the clock right"
    )]
    Backward {
        /// How far behind.
        by_ms: u64,
    },
    /// The wall clock runs ahead of the time that passed.
    #[error(
        "the wall clock is {by_ms} ms ahead of the time that really passed; set the clock right"
    )]
    Forward {
        /// How far ahead.
        by_ms: u64,
    },
    /// The system gave no usable time.
    #[error("the system clock cannot be read")]
    Unreadable,
}

/// Judges readings against the last mark.
#[derive(Clone, Debug)]
pub struct Clock {
    limits: ClockLimits,
    mark: Mark,
    /// How far wall and boot clock had drifted apart in this run's favour, summed over all readings.
    drift_ms: u64,
    /// While the wall clock is too far ahead: the boot time at which the time it claims will really have come.
    held_until_ms: Option<u64>,
}

impl Clock {
    /// Starts from the stored mark, or from the first reading of a new store.
    ///
    /// Under the same start of the kernel the boot clock tells how much time passed while the process was away. After a
    /// start of the machine nothing tells: the wall clock is taken, but no witnessed time is counted for the gap.
    #[must_use]
    pub fn resume(limits: ClockLimits, stored: Option<Mark>, reading: Reading) -> Self {
        let fresh = Mark {
            wall_ms: reading.wall_ms,
            witnessed_ms: reading.wall_ms,
            boot_ms: reading.boot_ms,
            boot: reading.boot,
        };
        let mark = match stored {
            None => fresh,
            Some(mark)
                if mark.boot == reading.boot
                    && mark.boot != [0; 16]
                    && mark.boot_ms <= reading.boot_ms =>
            {
                mark
            }
            Some(mark) => Mark {
                wall_ms: mark.wall_ms.max(reading.wall_ms),
                witnessed_ms: mark.witnessed_ms,
                ..fresh
            },
        };
        // After a start of the machine with the wall clock behind the mark, `mark.wall_ms` stays and `now` reports it.
        Self {
            limits,
            mark,
            drift_ms: 0,
            held_until_ms: None,
        }
    }

    /// Judges a reading.
    ///
    /// # Errors
    /// [`ClockFault`]; the mark does not move then.
    pub fn now(&mut self, reading: Reading) -> Result<Now, ClockFault> {
        let behind = self.mark.wall_ms.saturating_sub(reading.wall_ms);
        if behind > self.limits.backward_ms {
            return Err(ClockFault::Backward { by_ms: behind });
        }
        let wall_passed = reading.wall_ms.saturating_sub(self.mark.wall_ms);
        let really_passed = reading.boot_ms.saturating_sub(self.mark.boot_ms);
        let ahead = wall_passed.saturating_sub(really_passed);
        let drift = self.drift_ms.saturating_add(ahead);
        if drift > self.limits.forward_ms {
            let until = *self
                .held_until_ms
                .get_or_insert_with(|| reading.boot_ms.saturating_add(ahead));
            if reading.boot_ms < until {
                return Err(ClockFault::Forward { by_ms: drift });
            }
            self.drift_ms = 0;
        } else {
            self.drift_ms = drift;
        }
        self.held_until_ms = None;
        self.mark.wall_ms = self.mark.wall_ms.max(reading.wall_ms);
        self.mark.witnessed_ms = self
            .mark
            .witnessed_ms
            .saturating_add(wall_passed.min(really_passed));
        self.mark.boot_ms = reading.boot_ms.max(self.mark.boot_ms);
        Ok(Now {
            wall_ms: self.mark.wall_ms,
            witnessed_ms: self.mark.witnessed_ms,
        })
    }

    /// What to store.
    #[must_use]
    pub const fn mark(&self) -> Mark {
        self.mark
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;
    const BOOT: [u8; 16] = [7; 16];

    fn clock(stored: Option<Mark>, reading: Reading) -> Clock {
        Clock::resume(ClockLimits::default(), stored, reading)
    }

    fn at(wall_ms: u64, boot_ms: u64) -> Reading {
        Reading::new(wall_ms, boot_ms, BOOT)
    }

    #[test]
    fn ordinary_time_passes_on_both_scales() {
        let mut clock = clock(None, at(1_000_000, 50));
        let now = clock.now(at(1_010_000, 10_050)).unwrap();
        assert_eq!((now.wall_ms, now.witnessed_ms), (1_010_000, 1_010_000));
    }

    #[test]
    fn a90_a_step_back_beyond_the_tolerance_stops_and_a_small_one_stands_still() {
        let mut clock = clock(None, at(10 * HOUR, 0));
        assert_eq!(
            clock.now(at(10 * HOUR - 1_500, 10)).unwrap().wall_ms,
            10 * HOUR
        );
        assert_eq!(
            clock.now(at(10 * HOUR - 3_000, 20)),
            Err(ClockFault::Backward { by_ms: 3_000 })
        );
        // The mark was stored; a restart does not forget it.
        let mut again = Clock::resume(
            ClockLimits::default(),
            Some(clock.mark()),
            at(10 * HOUR - 48 * HOUR / 10, 30),
        );
        assert!(matches!(
            again.now(at(5 * HOUR, 30)),
            Err(ClockFault::Backward { .. })
        ));
    }

    #[test]
    fn a90_a_jump_ahead_stops_until_that_much_time_has_passed() {
        let mut clock = clock(None, at(100 * HOUR, 0));
        let fault = clock.now(at(148 * HOUR, 1_000)).unwrap_err();
        assert_eq!(
            fault,
            ClockFault::Forward {
                by_ms: 48 * HOUR - 1_000
            }
        );
        // A restart of the process under the same kernel sees the same jump.
        let mut again = Clock::resume(
            ClockLimits::default(),
            Some(clock.mark()),
            at(148 * HOUR, 2_000),
        );
        assert!(matches!(
            again.now(at(148 * HOUR, 2_000)),
            Err(ClockFault::Forward { .. })
        ));
        // Set right, it runs on.
        assert_eq!(
            clock
                .now(at(100 * HOUR + 5_000, 5_000))
                .unwrap()
                .witnessed_ms,
            100 * HOUR + 5_000
        );
        // Left wrong, it is believed once the time it claimed has come, and counts no more than what passed.
        assert!(clock.now(at(200 * HOUR, 6_000)).is_err());
        assert!(clock.now(at(250 * HOUR, 50 * HOUR)).is_err());
        let now = clock.now(at(300 * HOUR, 100 * HOUR)).unwrap();
        assert_eq!(now.wall_ms, 300 * HOUR);
        assert_eq!(now.witnessed_ms, 200 * HOUR);
    }

    #[test]
    fn a90_many_small_jumps_add_up_and_never_count_as_witnessed() {
        let mut clock = clock(None, at(100 * HOUR, 0));
        let mut last = Ok(Now {
            wall_ms: 0,
            witnessed_ms: 0,
        });
        for step in 1..=10 {
            last = clock.now(at(100 * HOUR + step * HOUR / 5, step));
            if last.is_err() {
                break;
            }
        }
        assert!(matches!(last, Err(ClockFault::Forward { .. })), "{last:?}");
        assert!(clock.mark().witnessed_ms <= 100 * HOUR + 10);
    }

    #[test]
    fn a90_a_start_of_the_machine_counts_no_witnessed_time() {
        let mut clock = clock(None, at(100 * HOUR, 500));
        clock.now(at(101 * HOUR, HOUR + 500)).unwrap();
        let other = |wall, boot| Reading::new(wall, boot, [8; 16]);
        let mut again = Clock::resume(
            ClockLimits::default(),
            Some(clock.mark()),
            other(149 * HOUR, 10),
        );
        let now = again.now(other(149 * HOUR + 1_000, 1_010)).unwrap();
        assert_eq!(
            (now.wall_ms, now.witnessed_ms),
            (149 * HOUR + 1_000, 101 * HOUR + 1_000)
        );
        assert_eq!(now.on_wall(101 * HOUR), 149 * HOUR);
        assert_eq!(now.witnessed(149 * HOUR), 101 * HOUR);
        // And with the wall clock set back over the start, it stops.
        let mut back = Clock::resume(
            ClockLimits::default(),
            Some(clock.mark()),
            other(53 * HOUR, 10),
        );
        assert!(matches!(
            back.now(other(53 * HOUR, 20)),
            Err(ClockFault::Backward { .. })
        ));
    }

    #[test]
    fn a_mark_has_one_encoding() {
        let mark = clock(None, at(1, 2)).mark();
        assert_eq!(Mark::decode(&mark.encode()), Ok(mark));
        assert_eq!(
            Mark::decode(&mark.encode()[1..]),
            Err(Malformed("clock mark"))
        );
    }
}
