//! Columns to rows: the transpose of a bit matrix with 128 columns.

use super::{COLUMN_BYTES, COLUMNS};

/// Half a row.
const HALF: usize = COLUMNS / 2;

/// The rows of a matrix that is given column after column, [`COLUMN_BYTES`] bytes each. Bit `l` of row `r` is bit `r` of column
/// `l`, lowest first in every byte. Constant time.
pub(super) fn rows(columns: &[u8]) -> Vec<u128> {
    debug_assert_eq!(columns.len(), COLUMNS * COLUMN_BYTES, "a whole matrix");
    let (low, high) = columns.split_at(HALF * COLUMN_BYTES);
    let mut rows = Vec::with_capacity(8 * COLUMN_BYTES);
    for offset in (0..COLUMN_BYTES).step_by(8) {
        let (low, high) = (square(low, offset), square(high, offset));
        let pairs = low.iter().zip(&high);
        rows.extend(pairs.map(|(low, high)| u128::from(*low) | u128::from(*high) << HALF));
    }
    rows
}

/// The transpose of the 64 bits from byte `offset` of each of 64 columns.
fn square(columns: &[u8], offset: usize) -> [u64; HALF] {
    let mut square = [0; HALF];
    for (word, column) in square.iter_mut().zip(columns.chunks_exact(COLUMN_BYTES)) {
        let bytes = column.get(offset..).and_then(|rest| rest.first_chunk());
        *word = u64::from_le_bytes(bytes.copied().unwrap_or_default());
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
        let columns: Vec<u8> = crate::testing::bytes(1, COLUMNS * COLUMN_BYTES);
        let rows = rows(&columns);
        assert_eq!(rows.len(), 896);
        for (number, column) in columns.chunks(COLUMN_BYTES).enumerate() {
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
