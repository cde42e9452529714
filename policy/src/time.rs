//! Durations and instants as text.
//!
//! An instant is a `u64` of milliseconds since 1970-01-01T00:00:00Z, a duration is a [`Period`]. Only UTC is spoken: there
//! is no time zone data in anything that nodes must agree on, and leap seconds do not exist.

use core::fmt;

use jiff::Timestamp;

/// The longest duration that a document may name: 366 days.
pub const MAX_PERIOD_MS: u64 = 366 * 24 * 60 * 60 * 1000;

/// The last instant that has a text form: 9999-12-30T22:00:00Z, the end of the range the calendar library covers.
pub const MAX_INSTANT_MS: u64 = 253_402_207_200_000;

/// A length of time in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(u64);

/// Why a text is not a duration or an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// The text is not a whole number followed by one of the units s, m, h, d.
    #[error("duration must be a whole number and a unit s, m, h or d, such as \"30m\"")]
    BadPeriod,
    /// The text is not an RFC 3339 instant in UTC.
    #[error("instant must be RFC 3339 in UTC, such as \"2026-12-01T00:00:00Z\"")]
    BadInstant,
    /// The duration is longer than 366 days.
    #[error("duration is longer than 366 days")]
    TooLong,
}

impl Period {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// Reads a duration: a whole number without a leading zero and one unit, `s`, `m`, `h` or `d`; at most 366 days.
    ///
    /// # Errors
    /// Another shape, or a longer duration.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        let unit = text.chars().last().ok_or(TimeError::BadPeriod)?;
        let factor: u64 = match unit {
            's' => 1_000,
            'm' => 60_000,
            'h' => 3_600_000,
            'd' => 86_400_000,
            _ => return Err(TimeError::BadPeriod),
        };
        let digits = text.strip_suffix(unit).ok_or(TimeError::BadPeriod)?;
        let plain = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
        if !plain || (digits.len() > 1 && digits.starts_with('0')) {
            return Err(TimeError::BadPeriod);
        }
        let count: u64 = digits.parse().map_err(|_| TimeError::TooLong)?;
        match count.checked_mul(factor) {
            Some(ms) if ms <= MAX_PERIOD_MS => Ok(Self(ms)),
            _ => Err(TimeError::TooLong),
        }
    }

    /// The duration of that many milliseconds.
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// The duration in milliseconds.
    #[must_use]
    pub const fn as_ms(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Period {
    /// The largest unit that divides the duration, so that `"24h"` reads `1d` and `"90m"` reads `90m`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, factor) in [
            ("d", 86_400_000_u64),
            ("h", 3_600_000),
            ("m", 60_000),
            ("s", 1_000),
        ] {
            if self.0 != 0 && self.0.is_multiple_of(factor) {
                return write!(f, "{}{unit}", self.0.checked_div(factor).unwrap_or(0));
            }
        }
        match self.0 {
            0 => f.write_str("0s"),
            ms => write!(f, "{ms}ms"),
        }
    }
}

/// Reads an RFC 3339 instant in UTC as Unix milliseconds.
///
/// One instant has one text: `YYYY-MM-DDTHH:MM:SSZ`, with `.mmm` before the `Z` only where the milliseconds are not zero.
///
/// # Errors
/// Another shape, a date that does not exist, or an instant before 1970.
pub fn parse_utc(text: &str) -> Result<u64, TimeError> {
    let shape = match text.len() {
        20 => b"dddd-dd-ddTdd:dd:ddZ".as_slice(),
        24 => b"dddd-dd-ddTdd:dd:dd.dddZ".as_slice(),
        _ => return Err(TimeError::BadInstant),
    };
    let fits = text.bytes().zip(shape).all(|(got, want)| match want {
        b'd' => got.is_ascii_digit(),
        other => got == *other,
    });
    if !fits {
        return Err(TimeError::BadInstant);
    }
    let stamp: Timestamp = text.parse().map_err(|_| TimeError::BadInstant)?;
    let ms = u64::try_from(stamp.as_millisecond()).map_err(|_| TimeError::BadInstant)?;
    if format_utc(ms) == text {
        Ok(ms)
    } else {
        Err(TimeError::BadInstant)
    }
}

/// The text of an instant, the exact inverse of [`parse_utc`]. An instant past [`MAX_INSTANT_MS`] is shown as that one.
#[must_use]
pub fn format_utc(ms: u64) -> String {
    let held = i64::try_from(ms.min(MAX_INSTANT_MS)).unwrap_or(i64::MAX);
    match Timestamp::from_millisecond(held) {
        Ok(stamp) if held.rem_euclid(1000) == 0 => format!("{stamp:.0}"),
        Ok(stamp) => format!("{stamp:.3}"),
        Err(_) => "9999-12-30T22:00:00Z".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_INSTANT_MS, MAX_PERIOD_MS, Period, TimeError, format_utc, parse_utc};

    #[test]
    fn durations_need_a_unit() {
        for (text, ms) in [
            ("0s", 0),
            ("30m", 1_800_000),
            ("24h", 86_400_000),
            ("48h", 172_800_000),
            ("366d", MAX_PERIOD_MS),
        ] {
            assert_eq!(Period::parse(text), Ok(Period::from_ms(ms)), "{text}");
        }
        for text in [
            "",
            "s",
            "30",
            "30 m",
            "-1s",
            "+1s",
            "1.5h",
            "01h",
            "00s",
            "1w",
            "1ms",
            "1H",
            "\u{0661}h",
            "1h30m",
            "1\u{1d6c}",
        ] {
            assert_eq!(Period::parse(text), Err(TimeError::BadPeriod), "{text:?}");
        }
        for text in ["367d", "99999999999999999999h", "18446744073709551615d"] {
            assert_eq!(Period::parse(text), Err(TimeError::TooLong), "{text:?}");
        }
    }

    #[test]
    fn durations_print_in_their_largest_exact_unit() {
        for (text, shown) in [("24h", "1d"), ("90m", "90m"), ("3600s", "1h"), ("0h", "0s")] {
            assert_eq!(
                Period::parse(text).map(|p| p.to_string()),
                Ok(shown.to_owned())
            );
        }
        assert_eq!(Period::from_ms(1500).to_string(), "1500ms");
    }

    #[test]
    fn instants_have_one_text_form() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-12-01T00:00:00Z", 1_796_083_200_000),
            ("2026-12-01T00:00:00.007Z", 1_796_083_200_007),
            ("2024-02-29T23:59:59Z", 1_709_251_199_000),
        ] {
            assert_eq!(parse_utc(text), Ok(ms), "{text}");
            assert_eq!(format_utc(ms), text);
        }
        for text in [
            "",
            "2026-12-01",
            "2026-12-01T00:00:00",
            "2026-12-01T00:00:00+00:00",
            "2026-12-01t00:00:00z",
            "2026-12-01 00:00:00Z",
            "2026-12-01T00:00:00.000Z",
            "2026-12-01T00:00:00.1Z",
            "2026-12-01T24:00:00Z",
            "2026-12-01T23:59:60Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "\u{0662}026-12-01T00:00:0Z",
        ] {
            assert_eq!(parse_utc(text), Err(TimeError::BadInstant), "{text:?}");
        }
    }

    #[test]
    fn every_millisecond_has_a_text() {
        assert_eq!(format_utc(u64::MAX), format_utc(MAX_INSTANT_MS));
        assert_eq!(format_utc(MAX_INSTANT_MS), "9999-12-30T22:00:00Z");
        assert_eq!(parse_utc("9999-12-30T22:00:00Z"), Ok(MAX_INSTANT_MS));
    }
}
