//! The check matrix: 128 public random combinations of the 768 transfers.

use super::{CHECK_ROWS, COLUMN_BYTES, ROWS};
use crate::transcript::block::Counted;
use crate::transcript::{self, Tag};

/// Transfers whose combinations share one table.
const GROUP: usize = 8;

/// Tables that are used together.
const TABLES: usize = 4;
const _: () = assert!(ROWS.is_multiple_of(TABLES * GROUP));

/// Digests that a matrix is made of.
const DIGESTS: u16 = 384;
const _: () = assert!(DIGESTS as usize * 32 == CHECK_ROWS * ROWS / 8);

/// Combination `e` takes the transfers whose bit is set in row `e` of the matrix, and then check transfer `e`.
///
/// Kept as `ROWS / 8` groups of [`CHECK_ROWS`] bytes: byte `e` of group `g` has the bits of transfers `8g..8g + 8` in combination
/// `e`, lowest first.
pub(super) struct Matrix(Vec<u8>);

impl Matrix {
    /// The matrix of a message, from the hash of its corrections: no column can be chosen after the matrix is known.
    pub(super) fn new(corrections_hash: &[u8; 32]) -> Self {
        let seed = transcript::hash(Tag::OTX_X)
            .field(corrections_hash)
            .digest();
        let digests = Counted::new(&seed).take(DIGESTS);
        let mut bytes = Vec::with_capacity(CHECK_ROWS * ROWS / 8);
        digests.for_each(|digest| bytes.extend_from_slice(&digest.encode()));
        Self(bytes)
    }

    /// Combinations of one bit per transfer. Constant time in the bits.
    pub(super) fn combine_bits(&self, bits: &[u8; COLUMN_BYTES]) -> [u8; CHECK_ROWS / 8] {
        let (transfers, check) = bits.split_at(ROWS / 8);
        let mut sums = [0_u8; CHECK_ROWS];
        for (group, byte) in self.0.chunks_exact(CHECK_ROWS).zip(transfers) {
            for (sum, selected) in sums.iter_mut().zip(group) {
                *sum ^= selected & byte;
            }
        }
        let mut combined = [0; CHECK_ROWS / 8];
        for (out, (sums, check)) in combined.iter_mut().zip(sums.chunks_exact(8).zip(check)) {
            *out = *check;
            for (bit, sum) in sums.iter().enumerate() {
                let mut parity = *sum;
                parity ^= parity >> 4;
                parity ^= parity >> 2;
                parity ^= parity >> 1;
                *out ^= (parity & 1) << bit;
            }
        }
        combined
    }

    /// Combinations of one row per transfer, `rows` being those of all transfers. Constant time in the rows: the places looked up
    /// are those of the public matrix.
    pub(super) fn combine_rows(&self, rows: &[u128]) -> [u128; CHECK_ROWS] {
        debug_assert_eq!(rows.len(), ROWS + CHECK_ROWS, "all transfers");
        let mut combined = [0; CHECK_ROWS];
        let (transfers, check) = rows.split_at(ROWS);
        for (combined, check) in combined.iter_mut().zip(check) {
            *combined = *check;
        }
        let groups = self.0.as_chunks::<CHECK_ROWS>().0.as_chunks().0;
        for (groups, transfers) in groups.iter().zip(transfers.chunks_exact(TABLES * GROUP)) {
            let mut tables = [[0; 1 << GROUP]; TABLES];
            for (table, transfers) in tables.iter_mut().zip(transfers.chunks_exact(GROUP)) {
                subset_sums(transfers, table);
            }
            for (number, combined) in combined.iter_mut().enumerate() {
                for (table, group) in tables.iter().zip::<&[_; TABLES]>(groups) {
                    let selected = group.get(number).copied().map_or(0, usize::from);
                    *combined ^= table.get(selected).copied().unwrap_or(0);
                }
            }
        }
        combined
    }
}

/// The sums of all subsets of 8 rows, in the order of the subsets' bits. `sums` starts with the empty one.
fn subset_sums(rows: &[u128], sums: &mut [u128; 1 << GROUP]) {
    for (number, row) in rows.iter().enumerate() {
        let (without, rest) = sums.split_at_mut(1 << number);
        for (with, without) in rest.iter_mut().zip(without) {
            *with = *without ^ row;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entry of the matrix, straight from its definition.
    fn entry(matrix: &Matrix, e: usize, r: usize) -> bool {
        (matrix.0[CHECK_ROWS * (r / 8) + e] >> (r % 8)) & 1 == 1
    }

    #[test]
    fn combinations_are_those_of_the_definition() {
        let matrix = Matrix::new(&[5; 32]);
        assert_eq!(matrix.0.len(), 12_288);
        let words = crate::testing::bytes(2, 16 * 896);
        let rows: Vec<u128> = words
            .as_chunks()
            .0
            .iter()
            .map(|c| u128::from_le_bytes(*c))
            .collect();
        let mut bits = [0; COLUMN_BYTES];
        bits.copy_from_slice(&words[..COLUMN_BYTES]);
        let (combined, combined_bits) = (matrix.combine_rows(&rows), matrix.combine_bits(&bits));
        for e in 0..CHECK_ROWS {
            let bit = |r: usize| (bits[r / 8] >> (r % 8)) & 1;
            let (mut row, mut sum) = (rows[ROWS + e], bit(ROWS + e));
            for r in (0..ROWS).filter(|r| entry(&matrix, e, *r)) {
                row ^= rows[r];
                sum ^= bit(r);
            }
            assert_eq!(combined[e], row, "combination {e}");
            assert_eq!(
                (combined_bits[e / 8] >> (e % 8)) & 1,
                sum,
                "combination {e}"
            );
        }
    }
}
