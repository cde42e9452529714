//! Bounded binary reading and writing: the only way bytes become values and back.
//!
//! Integers are big-endian and of fixed width. A length never comes from the sender where the parameters of the session
//! imply it; where it must, the reader is given a maximum. Every reader ends with [`Reader::finish`], which refuses
//! trailing bytes. (Protocol notes, section 1.2.)

use core::fmt;
use core::ops::Range;

/// Why a field of a message was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The point at infinity, where a point of the group is required.
    Identity,
    /// Fewer or more bytes or items than the parameters imply.
    Length,
    /// A second spelling of a value (scalar at or above the order, field element at or above the modulus).
    NotCanonical,
    /// Not the encoding of any point of the curve.
    NotOnCurve,
    /// A point outside the prime-order subgroup.
    Torsion,
    /// Bytes after the last field.
    Trailing,
    /// A value outside the set that the format defines.
    Unknown,
    /// Zero, where the protocol requires a non-zero scalar.
    Zero,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identity => "is the identity point",
            Self::Length => "has the wrong length",
            Self::NotCanonical => "is not in canonical form",
            Self::NotOnCurve => "is not a point of the curve",
            Self::Torsion => "is outside the prime-order subgroup",
            Self::Trailing => "is followed by unexpected bytes",
            Self::Unknown => "has a value that the format does not define",
            Self::Zero => "is zero",
        })
    }
}

/// A refused field: which one and why. Carries no byte of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("field `{field}` {problem}")]
pub struct DecodeError {
    /// Name of the field in the format's definition.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: Problem,
}

impl DecodeError {
    /// Names `field` as refused because of `problem`.
    #[must_use]
    pub const fn new(field: &'static str, problem: Problem) -> Self {
        Self { field, problem }
    }
}

/// Reads fixed fields from the front of a byte string. Total: it never panics, whatever the input.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the front of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// As [`Self::new`], for a message whose whole length is known before anything in it is evaluated.
    ///
    /// # Errors
    /// [`Problem::Length`] for another length; `field` names the message as a whole.
    pub const fn measured(
        field: &'static str,
        bytes: &'a [u8],
        len: usize,
    ) -> Result<Self, DecodeError> {
        if bytes.len() == len {
            Ok(Self::new(bytes))
        } else {
            Err(DecodeError::new(field, Problem::Length))
        }
    }

    /// Takes exactly `len` bytes.
    ///
    /// # Errors
    /// [`Problem::Length`] when fewer are left.
    pub fn bytes(&mut self, field: &'static str, len: usize) -> Result<&'a [u8], DecodeError> {
        let (head, tail) = self
            .rest
            .split_at_checked(len)
            .ok_or_else(|| DecodeError::new(field, Problem::Length))?;
        self.rest = tail;
        Ok(head)
    }

    /// Takes exactly `N` bytes as an array.
    ///
    /// # Errors
    /// [`Problem::Length`] when fewer are left.
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let (head, tail) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or_else(|| DecodeError::new(field, Problem::Length))?;
        self.rest = tail;
        Ok(*head)
    }

    /// Takes one byte.
    ///
    /// # Errors
    /// [`Problem::Length`] at the end of the input.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array::<1>(field).map(u8::from_be_bytes)
    }

    /// Takes a big-endian 16-bit integer.
    ///
    /// # Errors
    /// [`Problem::Length`] when fewer than 2 bytes are left.
    pub fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.array(field).map(u16::from_be_bytes)
    }

    /// Takes a big-endian 32-bit integer.
    ///
    /// # Errors
    /// [`Problem::Length`] when fewer than 4 bytes are left.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// Takes a big-endian 64-bit integer.
    ///
    /// # Errors
    /// [`Problem::Length`] when fewer than 8 bytes are left.
    pub fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// Takes a 32-bit length and that many bytes, at most `max`.
    ///
    /// # Errors
    /// [`Problem::Length`] when the length is above `max` or above what is left.
    pub fn var(&mut self, field: &'static str, max: usize) -> Result<&'a [u8], DecodeError> {
        let len = usize::try_from(self.u32(field)?).unwrap_or(usize::MAX);
        if len > max {
            return Err(DecodeError::new(field, Problem::Length));
        }
        self.bytes(field, len)
    }

    /// Everything that is left.
    pub(crate) const fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`Problem::Trailing`] when bytes are left; `field` names the message as a whole.
    pub const fn finish(self, field: &'static str) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::new(field, Problem::Trailing))
        }
    }
}

/// Writes the fields that a [`Reader`] reads.
#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// An empty writer with room for `capacity` bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            out: Vec::with_capacity(capacity),
        }
    }

    /// Appends `bytes` as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.out.extend_from_slice(bytes);
        self
    }

    /// Appends one byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&[value])
    }

    /// Appends a big-endian 16-bit integer.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    /// Appends a big-endian 32-bit integer.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    /// Appends a big-endian 64-bit integer.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    /// Appends a 32-bit length and the bytes. Input above 4 GiB is cut at the longest length that the prefix can say,
    /// which no reader accepts.
    pub fn var(&mut self, bytes: &[u8]) -> &mut Self {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.u32(len).bytes(bytes)
    }

    /// Appends a 32-bit length and what `write` appends, without a copy of it. Returns where that is.
    pub(crate) fn var_with(&mut self, write: impl FnOnce(&mut Self)) -> Range<usize> {
        self.u32(0);
        let start = self.out.len();
        write(self);
        let body = start..self.out.len();
        let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let prefix = start
            .checked_sub(4)
            .and_then(|at| self.out.get_mut(at..start));
        if let Some(prefix) = prefix {
            prefix.copy_from_slice(&len.to_be_bytes());
        }
        body
    }

    /// What has been written at `range`; nothing if there is no such place.
    pub(crate) fn written(&self, range: Range<usize>) -> &[u8] {
        self.out.get(range).unwrap_or_default()
    }

    /// The bytes written so far.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut w = Writer::default();
        w.u8(1).u16(2).u32(3).u64(4).bytes(&[5; 3]).var(b"six");
        let bytes = w.finish();
        let mut r = Reader::new(&bytes);
        assert_eq!(r.u8("a"), Ok(1));
        assert_eq!(r.u16("b"), Ok(2));
        assert_eq!(r.u32("c"), Ok(3));
        assert_eq!(r.u64("d"), Ok(4));
        assert_eq!(r.array("e"), Ok([5; 3]));
        assert_eq!(r.var("f", 3), Ok(&b"six"[..]));
        assert_eq!(r.finish("message"), Ok(()));
    }

    #[test]
    fn short_and_long_inputs_are_refused_by_name() {
        assert_eq!(
            Reader::new(&[0; 3]).u32("count"),
            Err(DecodeError::new("count", Problem::Length))
        );
        assert_eq!(
            Reader::new(&[0; 3]).finish("message"),
            Err(DecodeError::new("message", Problem::Trailing))
        );
    }

    #[test]
    fn a_huge_length_prefix_reserves_nothing() {
        let mut r = Reader::new(&[0xFF, 0xFF, 0xFF, 0xFF, 1]);
        assert_eq!(
            r.var("list", 1 << 20),
            Err(DecodeError::new("list", Problem::Length))
        );
        let mut r = Reader::new(&[0, 0, 0, 9, 1]);
        assert_eq!(
            r.var("list", 1 << 20),
            Err(DecodeError::new("list", Problem::Length))
        );
    }
}
