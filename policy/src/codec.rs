//! Bounded, strict binary encoding: big-endian numbers and length-prefixed byte strings, nothing optional.
//!
//! A decoder reads with [`Reader`], which refuses a length above the field's own bound before it copies anything, and ends
//! with [`Reader::finish`], which refuses trailing bytes. Each value has exactly one encoding.

use crate::id::{MAX_LENGTH, PrincipalId};

/// The longest identifier (person, credential, wallet, cluster, chain, initiator), in bytes.
pub const MAX_IDENTIFIER: usize = MAX_LENGTH;

/// Why bytes do not decode. The bytes are wrong; sending them again cannot help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// A text field holds something other than printable ASCII, or is no identifier where one is due.
    #[error("field {field} holds text that is not allowed there")]
    BadText {
        /// The field's name.
        field: &'static str,
    },
    /// A field's length is above its bound.
    #[error("field {field} says it is {len} bytes long, at most {max} are allowed")]
    TooLong {
        /// The field's name.
        field: &'static str,
        /// What the bytes claim.
        len: usize,
        /// The field's bound.
        max: usize,
    },
    /// Bytes are left after the last field.
    #[error("{count} bytes follow the last field")]
    Trailing {
        /// How many.
        count: usize,
    },
    /// The bytes end inside a field.
    #[error("the bytes end inside field {field}")]
    Truncated {
        /// The field's name.
        field: &'static str,
    },
    /// A tag or version byte has no meaning.
    #[error("field {field} has the unknown value {value}")]
    UnknownValue {
        /// The field's name.
        field: &'static str,
        /// The byte found.
        value: u8,
    },
}

/// Reads fields from the front of a byte string.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the first byte.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// One byte.
    ///
    /// # Errors
    /// [`CodecError::Truncated`].
    pub fn byte(&mut self, field: &'static str) -> Result<u8, CodecError> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    /// Eight bytes, big-endian.
    ///
    /// # Errors
    /// [`CodecError::Truncated`].
    pub fn number(&mut self, field: &'static str) -> Result<u64, CodecError> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// `N` bytes as they are.
    ///
    /// # Errors
    /// [`CodecError::Truncated`].
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], CodecError> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(CodecError::Truncated { field })?;
        self.rest = rest;
        Ok(*head)
    }

    /// `len` bytes as they are.
    ///
    /// # Errors
    /// [`CodecError::Truncated`].
    pub fn take(&mut self, field: &'static str, len: usize) -> Result<&'a [u8], CodecError> {
        let (head, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(CodecError::Truncated { field })?;
        self.rest = rest;
        Ok(head)
    }

    /// A byte string of at most `max` bytes: four bytes of length, big-endian, then the bytes.
    ///
    /// # Errors
    /// [`CodecError::TooLong`], [`CodecError::Truncated`].
    pub fn bytes(&mut self, field: &'static str, max: usize) -> Result<&'a [u8], CodecError> {
        let len = u32::from_be_bytes(self.array(field)?);
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len > max {
            return Err(CodecError::TooLong { field, len, max });
        }
        self.take(field, len)
    }

    /// A byte string that is printable ASCII (0x20 to 0x7e), possibly empty.
    ///
    /// # Errors
    /// [`CodecError::BadText`] and those of [`Reader::bytes`].
    pub fn text(&mut self, field: &'static str, max: usize) -> Result<String, CodecError> {
        let bytes = self.bytes(field, max)?;
        match core::str::from_utf8(bytes) {
            Ok(text) if is_printable(text) => Ok(text.to_owned()),
            _ => Err(CodecError::BadText { field }),
        }
    }

    /// A byte string that is an identifier, see [`is_identifier`].
    ///
    /// # Errors
    /// [`CodecError::BadText`] and those of [`Reader::bytes`].
    pub fn identifier(&mut self, field: &'static str) -> Result<String, CodecError> {
        let text = self.text(field, MAX_IDENTIFIER)?;
        if is_identifier(&text) {
            Ok(text)
        } else {
            Err(CodecError::BadText { field })
        }
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`CodecError::Trailing`] if bytes are left.
    pub const fn finish(self) -> Result<(), CodecError> {
        match self.rest.len() {
            0 => Ok(()),
            count => Err(CodecError::Trailing { count }),
        }
    }
}

/// Writes what [`Reader`] reads.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// Starts empty.
    pub const fn new() -> Self {
        Self { out: Vec::new() }
    }

    /// One byte.
    pub fn byte(mut self, value: u8) -> Self {
        self.out.push(value);
        self
    }

    /// Eight bytes, big-endian.
    pub fn number(self, value: u64) -> Self {
        self.array(&value.to_be_bytes())
    }

    /// Bytes of a fixed length, as they are.
    pub fn array(mut self, bytes: &[u8]) -> Self {
        self.out.extend_from_slice(bytes);
        self
    }

    /// A length-prefixed byte string.
    pub fn bytes(self, bytes: &[u8]) -> Self {
        // Beyond 4 GiB the result is one that every reader refuses; no bound of this crate is near.
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.array(&len.to_be_bytes()).array(bytes)
    }

    /// The bytes written.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.out
    }
}

/// Whether a text may name anything, by the rules of [`crate::id`]: 1 to 64 bytes of `[a-z0-9._:-]`.
#[must_use]
pub fn is_identifier(text: &str) -> bool {
    PrincipalId::parse(text).is_ok()
}

/// Whether every byte is printable ASCII, 0x20 to 0x7e.
#[must_use]
pub fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| (0x20..=0x7e).contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let bytes = Writer::new()
            .byte(3)
            .number(9)
            .array(&[1, 2])
            .bytes(b"abc")
            .bytes(b"who")
            .finish();
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.byte("a"), Ok(3));
        assert_eq!(reader.number("b"), Ok(9));
        assert_eq!(reader.array("c"), Ok([1, 2]));
        assert_eq!(reader.bytes("d", 3), Ok(b"abc".as_slice()));
        assert_eq!(reader.identifier("e"), Ok("who".to_owned()));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn a_length_above_the_bound_is_refused_before_the_bytes_are_looked_at() {
        let mut reader = Reader::new(&[0x80, 0, 0, 0]);
        assert_eq!(
            reader.bytes("x", 10),
            Err(CodecError::TooLong {
                field: "x",
                len: 0x8000_0000,
                max: 10
            })
        );
        let mut reader = Reader::new(&[0, 0, 0, 5, 1]);
        assert_eq!(
            reader.bytes("x", 10),
            Err(CodecError::Truncated { field: "x" })
        );
    }

    #[test]
    fn trailing_bytes_are_refused() {
        assert_eq!(
            Reader::new(&[0]).finish(),
            Err(CodecError::Trailing { count: 1 })
        );
    }

    #[test]
    fn text_is_printable_ascii_only() {
        for bad in ["a\n", "a\u{7f}", "\u{e9}"] {
            let bytes = Writer::new().bytes(bad.as_bytes()).finish();
            assert_eq!(
                Reader::new(&bytes).text("t", 10),
                Err(CodecError::BadText { field: "t" })
            );
        }
        let bytes = Writer::new().bytes(&[0xff]).finish();
        assert_eq!(
            Reader::new(&bytes).text("t", 10),
            Err(CodecError::BadText { field: "t" })
        );
    }
}
