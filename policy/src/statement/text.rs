//! Lines of `key: value` in a fixed order: the text form under every statement.

use super::StatementError;
use crate::codec::is_printable;
use crate::time::parse_utc;

/// The most bytes a statement may have.
pub(crate) const MAX_BODY: usize = 16 * 1024;

/// Writes a statement line by line.
#[derive(Debug)]
pub(crate) struct TextWriter(String);

impl TextWriter {
    pub(crate) fn new(first_line: &str) -> Self {
        Self(format!("{first_line}\n"))
    }

    #[must_use]
    pub(crate) fn line(mut self, key: &str, value: &str) -> Self {
        self.0.push_str(key);
        self.0.push_str(": ");
        self.0.push_str(value);
        self.0.push('\n');
        self
    }

    /// What a statement comes to, in words.
    #[must_use]
    pub(crate) fn words(self, words: &[String]) -> Self {
        words
            .iter()
            .fold(self, |writer, line| writer.line("line", line))
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0.into_bytes()
    }
}

/// Reads a statement line by line, each key where it must be.
#[derive(Debug)]
pub(crate) struct TextReader<'a> {
    lines: core::iter::Peekable<core::str::Split<'a, char>>,
    number: usize,
}

impl<'a> TextReader<'a> {
    /// Checks size and characters and returns the first line with a reader over the rest.
    pub(crate) fn new(body: &'a [u8]) -> Result<(&'a str, Self), StatementError> {
        if body.len() > MAX_BODY {
            return Err(StatementError::TooLong {
                len: body.len(),
                max: MAX_BODY,
            });
        }
        if let Some(offset) = body
            .iter()
            .position(|byte| *byte != b'\n' && !(0x20..=0x7e).contains(byte))
        {
            return Err(StatementError::NotText { offset });
        }
        let text = core::str::from_utf8(body).map_err(|error| StatementError::NotText {
            offset: error.valid_up_to(),
        })?;
        let text = text
            .strip_suffix('\n')
            .ok_or(StatementError::NoFinalNewline)?;
        let mut lines = text.split('\n').peekable();
        let first = lines.next().unwrap_or_default();
        Ok((first, Self { lines, number: 1 }))
    }

    /// The value of the next line, which must have this key.
    pub(crate) fn value(&mut self, key: &'static str) -> Result<&'a str, StatementError> {
        self.number = self.number.saturating_add(1);
        let line = self.number;
        let value = self
            .lines
            .next()
            .and_then(|text| text.strip_prefix(key))
            .and_then(|rest| rest.strip_prefix(": "))
            .ok_or(StatementError::Expected { line, key })?;
        if is_value(value) {
            Ok(value)
        } else {
            Err(StatementError::BadValue { key })
        }
    }

    /// The values of all the lines with this key that come next, possibly none.
    pub(crate) fn values(&mut self, key: &'static str) -> Result<Vec<String>, StatementError> {
        let mut values = Vec::new();
        while self.lines.peek().is_some() {
            values.push(self.value(key)?.to_owned());
        }
        Ok(values)
    }

    /// The values of the lines with this key that come next, at most `most`, possibly none.
    pub(crate) fn run(
        &mut self,
        key: &'static str,
        most: usize,
    ) -> Result<Vec<&'a str>, StatementError> {
        let mut values = Vec::new();
        let mine = |text: &&str| {
            text.strip_prefix(key)
                .is_some_and(|rest| rest.starts_with(": "))
        };
        while self.lines.peek().is_some_and(mine) {
            if values.len() >= most {
                return Err(StatementError::BadValue { key });
            }
            values.push(self.value(key)?);
        }
        Ok(values)
    }

    /// The rest must be exactly these words, one line each.
    pub(crate) fn same_lines(&mut self, words: &[String]) -> Result<(), StatementError> {
        if self.values("line")? == words {
            Ok(())
        } else {
            Err(StatementError::BadValue { key: "line" })
        }
    }

    /// Ends the reading; nothing may be left.
    pub(crate) fn finish(mut self) -> Result<(), StatementError> {
        match self.lines.next() {
            None => Ok(()),
            Some(_) => Err(StatementError::Unexpected {
                line: self.number.saturating_add(1),
            }),
        }
    }
}

/// Whether a text may stand as a value: printable ASCII, not empty, no space at either end.
pub(crate) fn is_value(text: &str) -> bool {
    !text.is_empty() && is_printable(text) && !text.starts_with(' ') && !text.ends_with(' ')
}

/// An instant in its one spelling.
pub(crate) fn parse_time(key: &'static str, text: &str) -> Result<u64, StatementError> {
    parse_utc(text).map_err(|_| StatementError::BadValue { key })
}

/// Lower-case hexadecimal of exactly `N` bytes.
pub(crate) fn parse_hex<const N: usize>(
    key: &'static str,
    text: &str,
) -> Result<[u8; N], StatementError> {
    let bad = StatementError::BadValue { key };
    let bytes = hex::decode(text).map_err(|_| bad.clone())?;
    let bytes = <[u8; N]>::try_from(bytes).map_err(|_| bad.clone())?;
    if hex::encode(bytes) == text {
        Ok(bytes)
    } else {
        Err(bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_one_spelling() {
        assert_eq!(
            parse_time("t", "2026-11-20T10:00:00.123Z"),
            Ok(1_795_168_800_123)
        );
        for bad in [
            "2026-11-20T10:00:00.000Z",
            "2026-11-20T10:00:00.1230Z",
            "2026-11-20t10:00:00.123z",
            "2026-11-20 10:00:00.123Z",
            "2026-11-20T11:00:00.123+01:00",
            "1969-12-31T23:59:59.999Z",
            "1795168800123",
            "",
        ] {
            assert_eq!(
                parse_time("t", bad),
                Err(StatementError::BadValue { key: "t" }),
                "{bad}"
            );
        }
    }

    #[test]
    fn hex_has_one_spelling() {
        assert_eq!(parse_hex::<2>("h", "0aff"), Ok([10, 255]));
        for bad in ["0AFF", "0af", "0aff00", "", "0x0aff"] {
            assert_eq!(
                parse_hex::<2>("h", bad),
                Err(StatementError::BadValue { key: "h" }),
                "{bad}"
            );
        }
    }
}
