//! The fuzzer's bytes as a sequence of decisions.

/// Bytes that are used up decision by decision. After the last one every decision is zero.
#[derive(Debug)]
pub struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    /// A script of these bytes.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next decision; nothing at the end.
    pub fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// The next decision.
    pub fn byte(&mut self) -> u8 {
        self.next().unwrap_or_default()
    }

    /// One of `count` choices; zero if there is none.
    pub fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte())
            .checked_rem(count)
            .unwrap_or_default()
    }

    /// As many of the next bytes as the next byte says, or all that are left.
    pub fn bytes(&mut self) -> &'a [u8] {
        let count = usize::from(self.byte()).min(self.0.len());
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    /// Changes bytes as the script says: one of them, the end, or all.
    pub fn change(&mut self, bytes: &mut Vec<u8>) {
        match self.byte() % 5 {
            0 | 1 => {
                let at = usize::from(u16::from_be_bytes([self.byte(), self.byte()]));
                let at = at.checked_rem(bytes.len()).unwrap_or_default();
                let mask = self.byte().max(1);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= mask;
                }
            }
            2 => bytes.truncate(bytes.len().saturating_sub(usize::from(self.byte()).max(1))),
            3 => bytes.extend_from_slice(self.bytes()),
            _ => *bytes = self.bytes().to_vec(),
        }
    }
}
