//! Amounts in the smallest unit of an asset (lamports, token base units).
//!
//! An amount is an integer of 256 bits. There is no decimal point anywhere in this crate: text with a point, an
//! exponent, a sign, a separator or a digit outside ASCII is refused (attack A104).

use core::fmt;

use ruint::aliases::U256;

/// The longest decimal text of a 256-bit integer: 2^256 - 1 has 78 digits.
const MAX_DIGITS: usize = 78;

/// A non-negative integer count of base units, at most 2^256 - 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(U256);

/// Why a text is not an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// The text has no characters.
    #[error("amount is empty; write an integer in base units such as \"5000000000\"")]
    Empty,
    /// The text has a leading zero.
    #[error("amount has a leading zero; write it without")]
    LeadingZero,
    /// A character is not one of the ASCII digits 0 to 9.
    #[error(
        "amount has a character that is not a digit 0-9 at position {position}; write an integer in base units, without point, sign, exponent or separator"
    )]
    NotADigit {
        /// One-based position, counted in characters.
        position: usize,
    },
    /// The value does not fit 256 bits.
    #[error("amount is larger than 2^256 - 1")]
    TooLarge,
}

impl Amount {
    /// The largest amount, 2^256 - 1.
    pub const MAX: Self = Self(U256::MAX);
    /// Nothing.
    pub const ZERO: Self = Self(U256::ZERO);

    /// Reads a decimal integer.
    ///
    /// # Errors
    /// Anything but one or more ASCII digits without a leading zero (except `"0"` itself) that fits 256 bits.
    pub fn parse(text: &str) -> Result<Self, AmountError> {
        if text.is_empty() {
            return Err(AmountError::Empty);
        }
        if let Some(offset) = text.chars().position(|c| !c.is_ascii_digit()) {
            return Err(AmountError::NotADigit {
                position: offset.saturating_add(1),
            });
        }
        if text.len() > 1 && text.starts_with('0') {
            return Err(AmountError::LeadingZero);
        }
        if text.len() > MAX_DIGITS {
            return Err(AmountError::TooLarge);
        }
        U256::from_str_radix(text, 10)
            .map(Self)
            .map_err(|_| AmountError::TooLarge)
    }

    /// The amount of that many base units.
    #[must_use]
    pub fn from_u64(value: u64) -> Self {
        Self(U256::from(value))
    }

    /// The amount whose 32 bytes, most significant first, are given.
    #[must_use]
    pub fn from_be_bytes(bytes: [u8; 32]) -> Self {
        Self(U256::from_be_bytes(bytes))
    }

    /// The 32 bytes of the amount, most significant first.
    #[must_use]
    pub fn to_be_bytes(self) -> [u8; 32] {
        self.0.to_be_bytes()
    }

    /// The amount as 64 bits, or `None` where it does not fit.
    #[must_use]
    pub fn to_u64(self) -> Option<u64> {
        u64::try_from(self.0).ok()
    }

    /// True for zero.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// The sum, or `None` past 2^256 - 1.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference, or `None` below zero.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// The sum, held at 2^256 - 1: for totals that are only compared with a limit.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, held at zero: for what is left of a limit.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// `floor(self * numerator / denominator)` for a fraction of at most one; `None` for a fraction above one or a zero
    /// denominator. Exact for every amount: no intermediate product leaves 256 bits.
    #[must_use]
    pub fn scaled_floor(self, numerator: u64, denominator: u64) -> Option<Self> {
        if denominator == 0 || numerator > denominator {
            return None;
        }
        let (numerator, denominator) = (U256::from(numerator), U256::from(denominator));
        let whole = self.0.checked_div(denominator)?.checked_mul(numerator)?;
        let rest = self
            .0
            .checked_rem(denominator)?
            .checked_mul(numerator)?
            .checked_div(denominator)?;
        whole.checked_add(rest).map(Self)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl From<u64> for Amount {
    fn from(value: u64) -> Self {
        Self::from_u64(value)
    }
}

#[cfg(test)]
mod tests {
    use super::{Amount, AmountError};

    #[test]
    fn a104_amounts_are_ascii_integers_and_nothing_else() {
        let max = "115792089237316195423570985008687907853269984665640564039457584007913129639935";
        let over = "115792089237316195423570985008687907853269984665640564039457584007913129639936";
        assert_eq!(Amount::parse(max), Ok(Amount::MAX));
        assert_eq!(Amount::MAX.to_string(), max);
        assert_eq!(Amount::parse(over), Err(AmountError::TooLarge));
        assert_eq!(Amount::parse(&"9".repeat(4096)), Err(AmountError::TooLarge));
        assert_eq!(Amount::parse("0"), Ok(Amount::ZERO));
        assert_eq!(
            Amount::parse("5000000000"),
            Ok(Amount::from_u64(5_000_000_000))
        );
        assert_eq!(Amount::parse(""), Err(AmountError::Empty));
        assert_eq!(Amount::parse("00"), Err(AmountError::LeadingZero));
        assert_eq!(Amount::parse("07"), Err(AmountError::LeadingZero));
        for (text, position) in [
            ("1e-19", 2),
            ("1e9", 2),
            ("1,000", 2),
            ("1_000", 2),
            ("1 000", 2),
            ("1.0", 2),
            ("-1", 1),
            ("+1", 1),
            (" 1", 1),
            ("1 ", 2),
            ("1\n", 2),
            ("0x10", 2),
            ("0b1", 2),
            ("\u{0661}", 1),
            ("\u{ff11}", 1),
            ("1\u{0660}", 2),
            ("1\u{200b}", 2),
            ("1\u{00a0}000", 2),
            ("\u{2212}1", 1),
            ("1\0", 2),
            ("NaN", 1),
            ("inf", 1),
        ] {
            assert_eq!(
                Amount::parse(text),
                Err(AmountError::NotADigit { position }),
                "{text:?}"
            );
        }
    }

    #[test]
    fn arithmetic_never_wraps() {
        let one = Amount::from_u64(1);
        assert_eq!(Amount::MAX.checked_add(one), None);
        assert_eq!(Amount::ZERO.checked_sub(one), None);
        assert_eq!(Amount::MAX.saturating_add(one), Amount::MAX);
        assert_eq!(Amount::ZERO.saturating_sub(one), Amount::ZERO);
    }

    #[test]
    fn a_share_of_a_limit_is_rounded_down() {
        assert_eq!(
            Amount::from_u64(10).scaled_floor(2, 3),
            Some(Amount::from_u64(6))
        );
        assert_eq!(Amount::from_u64(1).scaled_floor(2, 3), Some(Amount::ZERO));
        assert_eq!(
            Amount::MAX.scaled_floor(u64::MAX, u64::MAX),
            Some(Amount::MAX)
        );
        assert_eq!(Amount::MAX.scaled_floor(1, 1), Some(Amount::MAX));
        assert_eq!(Amount::from_u64(9).scaled_floor(3, 2), None);
        assert_eq!(Amount::from_u64(9).scaled_floor(0, 0), None);
    }
}
