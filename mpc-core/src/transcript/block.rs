//! Hashes of fixed short inputs that fit one SHA-256 block: the expanders of the pair protocols.
//!
//! There are four, told apart by length and place of use, and none of their inputs can be the start of a tagged hash, which is
//! always longer than a block. Each costs one compression. (Protocol notes, end of section 1.3, and section 5.)
//!
//! | function | input | bytes |
//! |---|---|---|
//! | [`Columns`] | seed 16, nonce 32, counter u8 | 49 |
//! | [`Counted`] | key 32, counter u16 (the check matrix; the gadget) | 34 |
//! | [`Pads`] | context 32, row 16, row number u16, column u8 | 51 |
//!
//! Sixteen are computed at a time, side by side where the processor has the vectors for it.
#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "places in blocks of constant length; counters that the types of the callers bound"
)]

#[cfg(target_arch = "x86_64")]
mod lanes;

use sha2::block_api::compress256;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::group::Residue;

/// Blocks that are hashed together.
const LANES: usize = 16;

/// The state that SHA-256 starts from (FIPS 180-4, section 5.3.3).
const START: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

#[cfg(target_arch = "x86_64")]
use lanes::Vectors;

/// Stands for the vectors of processors on which none are used.
#[cfg(not(target_arch = "x86_64"))]
#[derive(Clone, Copy, Debug)]
enum Vectors {}

#[cfg(not(target_arch = "x86_64"))]
impl Vectors {
    const fn detect() -> Option<Self> {
        None
    }

    fn compress<const DONE: usize>(
        self,
        _start: &[u32; 8],
        _words: &[[u32; LANES]; 16],
    ) -> [[u32; LANES]; 8] {
        match self {}
    }
}

/// Sixteen padded blocks. The first `DONE` words of all are the same.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
struct Blocks<const DONE: usize> {
    /// Word by word, those of all blocks side by side.
    words: [[u32; LANES]; 16],
    #[zeroize(skip)]
    vectors: Option<Vectors>,
}

impl<const DONE: usize> Blocks<DONE> {
    /// Blocks of a message of `bytes` bytes, at most 55, that is all zero so far.
    fn zero(bytes: u8) -> Self {
        let mut words = [[0; LANES]; 16];
        let end = usize::from(bytes);
        words[end / 4] = [0x80 << (24 - 8 * (end % 4)); LANES];
        words[15] = [8 * u32::from(bytes); LANES];
        Self {
            words,
            vectors: Vectors::detect(),
        }
    }

    /// Puts the same bytes into all blocks, `first` being the number of the word that they start with.
    fn put(&mut self, first: usize, bytes: &[u8; 32]) {
        for (word, bytes) in self.words[first..].iter_mut().zip(bytes.as_chunks().0) {
            *word = [u32::from_be_bytes(*bytes); LANES];
        }
    }

    /// The digests as big-endian words, the first one first.
    #[inline]
    fn digests(&self) -> [[u64; 4]; LANES] {
        let digest = |state: [u32; 8]| {
            let [a, b, c, d, e, f, g, h] = state.map(u64::from);
            [a << 32 | b, c << 32 | d, e << 32 | f, g << 32 | h]
        };
        if let Some(vectors) = self.vectors {
            let states = vectors.compress::<DONE>(&START, &self.words);
            return core::array::from_fn(|lane| digest(states.map(|word| word[lane])));
        }
        core::array::from_fn(|lane| {
            let mut block = [0; 64];
            for (bytes, word) in block.as_chunks_mut().0.iter_mut().zip(&self.words) {
                *bytes = word[lane].to_be_bytes();
            }
            let mut state = START;
            compress256(&mut state, core::slice::from_ref(&block));
            digest(state)
        })
    }
}

/// Words of a pseudorandom column.
pub const COLUMN_WORDS: usize = 14;

/// The pseudorandom columns of seeds: `SHA256(seed || nonce || u8(c))` for c = 0, 1, 2, 3, one after the other, cut to 112 bytes.
/// Wiped when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Columns(Blocks<0>);

impl Columns {
    /// Columns that are computed together.
    pub const BATCH: usize = LANES / 4;

    /// For one extension.
    #[must_use]
    pub fn new(nonce: &[u8; 32]) -> Self {
        let mut blocks = Blocks::zero(49);
        blocks.put(4, nonce);
        for (lane, word) in (0..).zip(&mut blocks.words[12]) {
            let counter: u32 = lane % 4;
            *word |= counter << 24;
        }
        Self(blocks)
    }

    /// The columns of seeds, as little-endian words of their bytes.
    #[must_use]
    pub fn columns(
        &mut self,
        seeds: [&[u8; 16]; Self::BATCH],
    ) -> [[u64; COLUMN_WORDS]; Self::BATCH] {
        for (number, seed) in seeds.iter().enumerate() {
            for (word, bytes) in self.0.words.iter_mut().zip(seed.as_chunks().0) {
                word[4 * number..][..4].fill(u32::from_be_bytes(*bytes));
            }
        }
        let mut columns = [[0; COLUMN_WORDS]; Self::BATCH];
        let digests = self.0.digests();
        for (column, digests) in columns.iter_mut().zip(digests.as_chunks::<4>().0) {
            for (word, digest) in column.iter_mut().zip(digests.as_flattened()) {
                *word = digest.swap_bytes();
            }
        }
        columns
    }
}

impl core::fmt::Debug for Columns {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Columns(..)")
    }
}

/// `SHA256(key || u16(c))` for counters from 0, a public function of a public key: the check matrix, the gadget.
#[derive(Clone)]
pub struct Counted(Blocks<8>);

impl Counted {
    /// For one key, which is a tagged hash.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        let mut blocks = Blocks::zero(34);
        blocks.put(0, key);
        Self(blocks)
    }

    /// The digests of as many counters, as integers.
    pub fn take(mut self, count: u16) -> impl Iterator<Item = Residue> {
        let first = (0..count).step_by(LANES);
        let batches = first.flat_map(move |first| {
            for (counter, word) in (first..).zip(&mut self.0.words[8]) {
                *word = u32::from(counter) << 16 | 0x8000;
            }
            self.0.digests().map(Residue::from_be_words)
        });
        batches.take(count.into())
    }
}

impl core::fmt::Debug for Counted {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Counted(..)")
    }
}

/// Columns of a multiplication.
const COLUMNS: usize = 3;

/// `SHA256(context || row || u16(number) || u8(column))`: the one-time pads of a multiplication. Wiped when dropped, because the
/// rows are secret.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Pads(Blocks<8>);

impl Pads {
    /// Rows that are hashed together.
    pub const ROWS: usize = LANES;

    /// For one multiplication.
    #[must_use]
    pub fn new(context: &[u8; 32]) -> Self {
        let mut blocks = Blocks::zero(51);
        blocks.put(0, context);
        Self(blocks)
    }

    /// The pads of all columns of rows, the number of the first one being `first`.
    pub fn fill(
        &mut self,
        rows: &[u128; Self::ROWS],
        first: u16,
        out: &mut [[Residue; COLUMNS]; Self::ROWS],
    ) {
        for (lane, row) in rows.iter().enumerate() {
            let row = row.to_le_bytes();
            for (word, bytes) in self.0.words[8..].iter_mut().zip(row.as_chunks().0) {
                word[lane] = u32::from_be_bytes(*bytes);
            }
        }
        for (number, column) in (0..).zip(0..COLUMNS) {
            let column_bits: u32 = number << 8 | 0x80;
            for (number, word) in (first..).zip(&mut self.0.words[12]) {
                *word = u32::from(number) << 16 | column_bits;
            }
            for (out, digest) in out.iter_mut().zip(self.0.digests()) {
                out[column] = Residue::from_be_words(digest);
            }
        }
    }
}

impl core::fmt::Debug for Pads {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Pads(..)")
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    fn columns(mut columns: Columns, nonce: &[u8; 32]) {
        let seeds = [7, 8, 9, 10].map(|byte| [byte; 16]);
        let found = columns.columns(seeds.each_ref());
        for (seed, column) in seeds.iter().zip(found) {
            let expected = (0_u8..4).flat_map(|counter| {
                Sha256::new()
                    .chain_update(seed)
                    .chain_update(nonce)
                    .chain_update([counter])
                    .finalize()
            });
            let column = column.iter().flat_map(|word| word.to_le_bytes());
            assert!(expected.take(112).eq(column));
        }
    }

    fn counted(counted: &Counted, key: &[u8; 32]) {
        for count in [0, 1, 16, 300] {
            let digests: Vec<_> = counted.clone().take(count).collect();
            assert_eq!(digests.len(), usize::from(count));
            for (counter, digest) in (0_u16..).zip(digests) {
                let expected = Sha256::new()
                    .chain_update(key)
                    .chain_update(counter.to_be_bytes());
                assert_eq!(digest.encode(), <[u8; 32]>::from(expected.finalize()));
            }
        }
    }

    fn pads(mut pads: Pads, context: &[u8; 32]) {
        let rows = core::array::from_fn(|r| 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10 << r);
        for first in [0, 250, 752] {
            let mut digests = [[Residue::default(); 3]; Pads::ROWS];
            pads.fill(&rows, first, &mut digests);
            for ((number, row), digests) in (first..).zip(rows).zip(digests) {
                for (column, digest) in (0_u8..).zip(digests) {
                    let expected = Sha256::new()
                        .chain_update(context)
                        .chain_update(row.to_le_bytes())
                        .chain_update(number.to_be_bytes())
                        .chain_update([column]);
                    assert_eq!(digest.encode(), <[u8; 32]>::from(expected.finalize()));
                }
            }
        }
    }

    #[test]
    fn each_is_plain_sha256_of_its_fields() {
        let key = &[9; 32];
        columns(Columns::new(key), key);
        counted(&Counted::new(key), key);
        pads(Pads::new(key), key);
    }

    /// What is used where there are no vectors, on whatever runs this test.
    #[test]
    fn each_is_the_same_without_vectors() {
        let key = &[10; 32];
        let mut narrow = (Columns::new(key), Counted::new(key), Pads::new(key));
        narrow.0.0.vectors = None;
        narrow.1.0.vectors = None;
        narrow.2.0.vectors = None;
        columns(narrow.0, key);
        counted(&narrow.1, key);
        pads(narrow.2, key);
    }
}
