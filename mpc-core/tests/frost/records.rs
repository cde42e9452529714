//! Reader of the vector files: blocks of `name = value` lines, separated by blank lines; `#` starts a comment line.

use std::collections::BTreeMap;

/// One block.
#[derive(Debug)]
pub(crate) struct Record(BTreeMap<String, String>);

impl Record {
    /// All blocks of a file.
    pub(crate) fn parse(text: &str) -> Vec<Self> {
        let lines = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect::<Vec<_>>();
        let blocks = lines
            .split(|line| line.is_empty())
            .filter(|block| !block.is_empty());
        blocks
            .map(|block| Self(block.iter().map(|line| field(line)).collect()))
            .collect()
    }

    /// The value of a field that must be there.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0
            .get(name)
            .unwrap_or_else(|| panic!("no field {name} in {self:?}"))
    }

    /// A field in hexadecimal.
    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        hex::decode(self.text(name))
            .unwrap_or_else(|_| panic!("{name} is not hexadecimal in {self:?}"))
    }

    /// A field of `N` bytes in hexadecimal.
    pub(crate) fn array<const N: usize>(&self, name: &str) -> [u8; N] {
        self.bytes(name)
            .try_into()
            .unwrap_or_else(|_| panic!("{name} is not {N} bytes in {self:?}"))
    }
}

fn field(line: &str) -> (String, String) {
    let (name, value) = line
        .split_once('=')
        .unwrap_or_else(|| panic!("not a field: {line}"));
    (name.trim().to_owned(), value.trim().to_owned())
}
