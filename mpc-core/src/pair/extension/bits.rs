//! Columns to rows: the transpose of a bit matrix with 128 columns.

use super::{COLUMN_BYTES, COLUMNS};
use crate::transcript::block::COLUMN_WORDS;

const _: () = assert!(COLUMN_BYTES == 8 * COLUMN_WORDS);

/// Half a row.
const HALF: usize = COLUMNS / 2;

/// A column: bit `r` is the bit of row `r`, lowest first in every word.
pub(super) type Column = [u64; COLUMN_WORDS];

/// The column with these bytes.
pub(super) fn column_of(bytes: &[u8; COLUMN_BYTES]) -> Column {
    let mut column = [0; COLUMN_WORDS];
    for (word, bytes) in column.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    column
}

/// The rows of a matrix: bit `l` of row `r` is bit `r` of column `l`. Constant time.
pub(super) fn rows(columns: &[Column; COLUMNS]) -> Vec<u128> {
    let (low, high) = columns.split_at(HALF);
    let mut rows = Vec::with_capacity(64 * COLUMN_WORDS);
    for place in 0..COLUMN_WORDS {
        let (low, high) = (square(low, place), square(high, place));
        let pairs = low.iter().zip(&high);
        rows.extend(pairs.map(|(low, high)| u128::from(*low) | u128::from(*high) << HALF));
    }
    rows
}

/// The transpose of word `place` of each of 64 columns.
fn square(columns: &[Column], place: usize) -> [u64; HALF] {
    let mut square = [0; HALF];
    for (word, column) in square.iter_mut().zip(columns) {
        *word = column.get(place).copied().unwrap_or_default();
    }
    exchange::<32>(&mut square, 0x0000_0000_FFFF_FFFF);
    exchange::<16>(&mut square, 0x0000_FFFF_0000_FFFF);
    exchange::<8>(&mut square, 0x00FF_00FF_00FF_00FF);
    exchange::<4>(&mut square, 0x0F0F_0F0F_0F0F_0F0F);
    exchange::<2>(&mut square, 0x3333_3333_3333_3333);
    exchange::<1>(&mut square, 0x5555_5555_5555_5555);
    square
}

/// Exchanges the two off-diagonal `N` by `N` squares of every `2N` by `2N` square on the way to a transpose. `mask` has the
/// lower `N` of every `2N` bits.
fn exchange<const N: usize>(square: &mut [u64; HALF], mask: u64) {
    for block in square.chunks_exact_mut(2 * N) {
        let (upper, lower) = block.split_at_mut(N);
        for (upper, lower) in upper.iter_mut().zip(lower) {
            let differing = ((*upper >> N) ^ *lower) & mask;
            *upper ^= differing << N;
            *lower ^= differing;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_lands_in_its_row() {
        let bytes = crate::testing::bytes(1, COLUMNS * 112);
        let mut columns = [[0; COLUMN_WORDS]; COLUMNS];
        for (column, bytes) in columns.iter_mut().zip(bytes.chunks(112)) {
            *column = column_of(bytes.try_into().unwrap());
        }
        let rows = rows(&columns);
        assert_eq!(rows.len(), 896);
        for (number, column) in bytes.chunks(112).enumerate() {
            for (r, row) in rows.iter().enumerate() {
                let bit = (column[r / 8] >> (r % 8)) & 1;
                assert_eq!(
                    u128::from(bit),
                    (row >> number) & 1,
                    "row {r}, column {number}"
                );
            }
        }
    }
}
