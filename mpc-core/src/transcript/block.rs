//! Hashes of fixed short inputs that fit one SHA-256 block: the expanders of the pair protocols.
//!
//! There are four, told apart by length and place of use, and none of their inputs can be the start of a tagged hash, which is
//! always longer than a block. Each costs one compression. (Protocol notes, end of section 1.3, and section 5.)
//!
//! | function | input | bytes |
//! |---|---|---|
//! | [`column_stream`] | seed 16, nonce 32, counter u8 | 49 |
//! | [`Counted`] | key 32, counter u16 (the check matrix; the gadget) | 34 |
//! | [`Pads`] | context 32, row 16, row number u16, column u8 | 51 |

use sha2::block_api::compress256;
use zeroize::{Zeroize, ZeroizeOnDrop};

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
const fn padded<const LEN: usize>() -> [u8; 64] {
    const { assert!(LEN <= 55, "the message and its padding share one block") };
    let mut block = [0; 64];
    block[LEN] = 0x80;
    let [.., high, low] = (LEN * 8).to_be_bytes();
    block[62] = high;
    block[63] = low;
    block
}

fn digest(block: &[u8; 64]) -> [u8; 32] {
    let mut state = START;
    compress256(&mut state, core::slice::from_ref(block));
    let mut out = [0; 32];
    for (out, word) in out.as_chunks_mut().0.iter_mut().zip(state) {
        *out = word.to_be_bytes();
    }
    out
}

/// The pseudorandom column of a seed: `SHA256(seed || nonce || u8(c))` for c = 0, 1, .., cut to the length of `out`, which is at
/// most 8 KiB.
pub fn column_stream(seed: &[u8; 16], nonce: &[u8; 32], out: &mut [u8]) {
    let mut block = padded::<49>();
    block[..16].copy_from_slice(seed);
    block[16..48].copy_from_slice(nonce);
    for (counter, out) in (0_u8..=255).zip(out.chunks_mut(32)) {
        block[48] = counter;
        let mut digest = digest(&block);
        for (out, byte) in out.iter_mut().zip(&digest) {
            *out = *byte;
        }
        digest.zeroize();
    }
    block.zeroize();
}

/// `SHA256(key || u16(c))`, a public function of a public key: rows of the check matrix, entries of the gadget.
#[derive(Clone, Debug)]
pub struct Counted {
    block: [u8; 64],
}

impl Counted {
    /// For one key, which is a tagged hash.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        let mut block = padded::<34>();
        block[..32].copy_from_slice(key);
        Self { block }
    }

    /// The digest of one counter.
    #[must_use]
    pub fn digest(&mut self, counter: u16) -> [u8; 32] {
        self.block[32..34].copy_from_slice(&counter.to_be_bytes());
        digest(&self.block)
    }
}

/// `SHA256(context || row || u16(number) || u8(column))`: the one-time pads of a multiplication. Wiped when dropped, because the
/// row is secret.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Pads {
    block: [u8; 64],
}

impl Pads {
    /// For one multiplication.
    #[must_use]
    pub fn new(context: &[u8; 32]) -> Self {
        let mut block = padded::<51>();
        block[..32].copy_from_slice(context);
        Self { block }
    }

    /// The pad of one place of the matrix.
    #[must_use]
    pub fn digest(&mut self, row: u128, number: u16, column: u8) -> [u8; 32] {
        self.block[32..48].copy_from_slice(&row.to_le_bytes());
        self.block[48..50].copy_from_slice(&number.to_be_bytes());
        self.block[50] = column;
        digest(&self.block)
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
        let mut stream = [0; 70];
        column_stream(&seed, &nonce, &mut stream);
        let expected = (0_u8..3).flat_map(|counter| {
            Sha256::new()
                .chain_update(seed)
                .chain_update(nonce)
                .chain_update([counter])
                .finalize()
        });
        assert!(expected.take(70).eq(stream));

        let expected = Sha256::new().chain_update(nonce).chain_update([1, 2]);
        assert_eq!(
            Counted::new(&nonce).digest(0x0102),
            <[u8; 32]>::from(expected.finalize())
        );

        let row = 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10_u128;
        let expected = Sha256::new()
            .chain_update(nonce)
            .chain_update(row.to_le_bytes())
            .chain_update([2, 255, 2]);
        assert_eq!(
            Pads::new(&nonce).digest(row, 767, 2),
            <[u8; 32]>::from(expected.finalize())
        );
    }
}
