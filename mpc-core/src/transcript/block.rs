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

use sha2::block_api::compress256;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::group::Residue;

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

/// A block with the padding of a message of `LEN` bytes, at most 55.
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "`LEN` is a constant, asserted to fit"
)]
const fn padded<const LEN: usize>() -> [u8; 64] {
    const { assert!(LEN <= 55, "the message and its padding share one block") };
    let mut block = [0; 64];
    block[LEN] = 0x80;
    let [.., high, low] = (LEN * 8).to_be_bytes();
    block[62] = high;
    block[63] = low;
    block
}

/// The digest of a padded message as big-endian words, the first one first.
#[inline]
fn digest(block: &[u8; 64]) -> [u64; 4] {
    let mut state = START;
    compress256(&mut state, core::slice::from_ref(block));
    let [a, b, c, d, e, f, g, h] = state.map(u64::from);
    [a << 32 | b, c << 32 | d, e << 32 | f, g << 32 | h]
}

/// Words of a pseudorandom column.
pub const COLUMN_WORDS: usize = 14;

/// The pseudorandom columns of seeds: `SHA256(seed || nonce || u8(c))` for c = 0, 1, 2, 3, one after the other, cut to 112 bytes.
/// Wiped when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Columns {
    blocks: [[u8; 64]; 4],
}

impl Columns {
    /// For one extension.
    #[must_use]
    pub fn new(nonce: &[u8; 32]) -> Self {
        let mut block = padded::<49>();
        block[16..48].copy_from_slice(nonce);
        let mut blocks = [block; 4];
        for (counter, block) in (0..).zip(&mut blocks) {
            block[48] = counter;
        }
        Self { blocks }
    }

    /// The column of a seed, as little-endian words of its bytes.
    #[must_use]
    pub fn column(&mut self, seed: &[u8; 16]) -> [u64; COLUMN_WORDS] {
        let mut column = [0; COLUMN_WORDS];
        for block in &mut self.blocks {
            block[..16].copy_from_slice(seed);
        }
        for (words, block) in column.chunks_mut(4).zip(&self.blocks) {
            for (word, digest) in words.iter_mut().zip(digest(block)) {
                *word = digest.swap_bytes();
            }
        }
        column
    }
}

impl core::fmt::Debug for Columns {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Columns(..)")
    }
}

/// `SHA256(key || u16(c))` for counters from 0, a public function of a public key: the check matrix, the gadget.
#[derive(Clone, Debug)]
pub struct Counted {
    blocks: [[u8; 64]; BATCH],
}

impl Counted {
    /// For one key, which is a tagged hash.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        let mut block = padded::<34>();
        block[..32].copy_from_slice(key);
        Self {
            blocks: [block; BATCH],
        }
    }

    /// The digests of as many counters, as integers.
    pub fn take(mut self, count: u16) -> impl Iterator<Item = Residue> {
        let first = (0..count).step_by(BATCH);
        let batches = first.flat_map(move |first| {
            for (counter, block) in (first..).zip(&mut self.blocks) {
                block[32..34].copy_from_slice(&counter.to_be_bytes());
            }
            self.blocks
                .each_ref()
                .map(|block| Residue::from_be_words(digest(block)))
        });
        batches.take(count.into())
    }
}

/// Columns of a multiplication.
const COLUMNS: usize = 3;

/// Blocks that are hashed together.
const BATCH: usize = 16;

/// `SHA256(context || row || u16(number) || u8(column))`: the one-time pads of a multiplication. Wiped when dropped, because the
/// rows are secret.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Pads {
    /// One for every column and row of a batch.
    blocks: [[[u8; 64]; COLUMNS]; BATCH],
}

impl Pads {
    /// Rows that are hashed together.
    pub const ROWS: usize = BATCH;

    /// For one multiplication.
    #[must_use]
    pub fn new(context: &[u8; 32]) -> Self {
        let mut block = padded::<51>();
        block[..32].copy_from_slice(context);
        let mut blocks = [block; COLUMNS];
        for (column, block) in (0..).zip(&mut blocks) {
            block[50] = column;
        }
        Self {
            blocks: [blocks; BATCH],
        }
    }

    /// Appends the pads of all columns of [`Self::ROWS`] rows, the number of the first one being `first`.
    pub fn append(&mut self, rows: &[u128; BATCH], first: u16, out: &mut Vec<[Residue; COLUMNS]>) {
        for ((number, row), blocks) in (first..).zip(rows).zip(&mut self.blocks) {
            for block in blocks {
                block[32..48].copy_from_slice(&row.to_le_bytes());
                block[48..50].copy_from_slice(&number.to_be_bytes());
            }
        }
        for blocks in &self.blocks {
            let pads = blocks.each_ref();
            out.push(pads.map(|block| Residue::from_be_words(digest(block))));
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

    #[test]
    fn each_is_plain_sha256_of_its_fields() {
        let (seed, nonce) = ([7; 16], [9; 32]);
        let expected = (0_u8..4).flat_map(|counter| {
            Sha256::new()
                .chain_update(seed)
                .chain_update(nonce)
                .chain_update([counter])
                .finalize()
        });
        let column = Columns::new(&nonce).column(&seed);
        let column = column.iter().flat_map(|word| word.to_le_bytes());
        assert!(expected.take(112).eq(column));

        let digests: Vec<_> = Counted::new(&nonce).take(300).collect();
        assert_eq!(digests.len(), 300);
        for (counter, digest) in (0_u16..).zip(digests) {
            let expected = Sha256::new()
                .chain_update(nonce)
                .chain_update(counter.to_be_bytes());
            assert_eq!(digest.encode(), <[u8; 32]>::from(expected.finalize()));
        }

        let rows = core::array::from_fn(|r| 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10 << r);
        let mut pads = Pads::new(&nonce);
        for first in [0, 250, 752] {
            let mut digests = Vec::new();
            pads.append(&rows, first, &mut digests);
            assert_eq!(digests.len(), Pads::ROWS);
            for ((number, row), digests) in (first..).zip(rows).zip(digests) {
                for (column, digest) in (0_u8..).zip(digests) {
                    let expected = Sha256::new()
                        .chain_update(nonce)
                        .chain_update(row.to_le_bytes())
                        .chain_update(number.to_be_bytes())
                        .chain_update([column]);
                    assert_eq!(digest.encode(), <[u8; 32]>::from(expected.finalize()));
                }
            }
        }
    }
}
