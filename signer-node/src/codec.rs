//! The one byte form of everything this node stores: fixed-size integers, and byte strings behind a 32-bit length.
//!
//! Decoding is total and strict: what is left over is an error, so every value has exactly one encoding.

use zeroize::Zeroizing;

/// The bytes are not an encoding of what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {0}")]
pub struct Malformed(pub &'static str);

/// Appends fields to a buffer.
#[derive(Default)]
pub(crate) struct Writer(Zeroizing<Vec<u8>>);

impl Writer {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub(crate) fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    #[must_use]
    pub(crate) fn u16(mut self, value: u16) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    #[must_use]
    pub(crate) fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    #[must_use]
    pub(crate) fn u64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Bytes whose length the reader knows.
    #[must_use]
    pub(crate) fn fixed(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Bytes behind their length. A field of 4 GiB or more does not occur; its length would saturate and fail to decode.
    #[must_use]
    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX))
            .fixed(bytes)
    }

    /// A list of byte strings behind its count.
    #[must_use]
    pub(crate) fn list<T: AsRef<[u8]>>(self, items: &[T]) -> Self {
        let count = self.u32(u32::try_from(items.len()).unwrap_or(u32::MAX));
        items
            .iter()
            .fold(count, |writer, item| writer.bytes(item.as_ref()))
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        core::mem::take(&mut *self.0)
    }
}

/// Takes fields off the front of a slice.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { rest: bytes, what }
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(Malformed(self.what))?;
        self.rest = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.u32()?).map_err(|_| Malformed(self.what))?;
        let (head, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(Malformed(self.what))?;
        self.rest = rest;
        Ok(head)
    }

    pub(crate) fn text(&mut self) -> Result<String, Malformed> {
        let bytes = self.bytes()?;
        String::from_utf8(bytes.to_vec()).map_err(|_| Malformed(self.what))
    }

    pub(crate) fn list(&mut self) -> Result<Vec<&'a [u8]>, Malformed> {
        let count = self.u32()?;
        // The count comes from the bytes: nothing is allocated for items that are not there.
        (0..count).map(|_| self.bytes()).collect()
    }

    pub(crate) fn finish(self) -> Result<(), Malformed> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Malformed(self.what))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let bytes = Writer::new()
            .u8(1)
            .u16(2)
            .u32(3)
            .u64(4)
            .bytes(b"five")
            .list(&[b"six".as_slice(), b""])
            .finish();
        let mut reader = Reader::new("sample", &bytes);
        assert_eq!(
            (reader.u8(), reader.u16(), reader.u32(), reader.u64()),
            (Ok(1), Ok(2), Ok(3), Ok(4))
        );
        assert_eq!(reader.text(), Ok("five".to_owned()));
        assert_eq!(reader.list(), Ok(vec![b"six".as_slice(), b""]));
        assert_eq!(reader.finish(), Ok(()));
        assert_eq!(
            Reader::new("sample", &bytes).finish(),
            Err(Malformed("sample"))
        );
    }

    #[test]
    fn lengths_beyond_the_end_are_refused_without_allocating() {
        let mut huge = Reader::new("sample", &[0xff, 0xff, 0xff, 0xff, 1]);
        assert_eq!(huge.bytes(), Err(Malformed("sample")));
        let mut list = Reader::new("sample", &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        assert_eq!(list.list(), Err(Malformed("sample")));
    }
}
