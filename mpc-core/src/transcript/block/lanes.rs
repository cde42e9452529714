//! Sixteen SHA-256 blocks at a time, one in each lane of wide vectors.
//!
//! A block is a chain of 64 rounds, each of which waits for the one before, so one block after the other leaves most of a processor
//! idle, with and without instructions made for SHA-256. What vectors there are is found out when the program runs, by a library
//! that hands out a token for them. Takes the same time for every input.

use core::num::Wrapping;
use core::ops::{Add, BitAnd, BitOr, BitXor};

use fearless_simd::{Avx2, Avx512, Level, Simd, SimdBase, u32x16};

use super::LANES;

/// The constants of the rounds (FIPS 180-4, section 4.2.2), sixteen in a row.
const ROUNDS: [[u32; 16]; 4] = [
    [
        0x428a_2f98,
        0x7137_4491,
        0xb5c0_fbcf,
        0xe9b5_dba5,
        0x3956_c25b,
        0x59f1_11f1,
        0x923f_82a4,
        0xab1c_5ed5,
        0xd807_aa98,
        0x1283_5b01,
        0x2431_85be,
        0x550c_7dc3,
        0x72be_5d74,
        0x80de_b1fe,
        0x9bdc_06a7,
        0xc19b_f174,
    ],
    [
        0xe49b_69c1,
        0xefbe_4786,
        0x0fc1_9dc6,
        0x240c_a1cc,
        0x2de9_2c6f,
        0x4a74_84aa,
        0x5cb0_a9dc,
        0x76f9_88da,
        0x983e_5152,
        0xa831_c66d,
        0xb003_27c8,
        0xbf59_7fc7,
        0xc6e0_0bf3,
        0xd5a7_9147,
        0x06ca_6351,
        0x1429_2967,
    ],
    [
        0x27b7_0a85,
        0x2e1b_2138,
        0x4d2c_6dfc,
        0x5338_0d13,
        0x650a_7354,
        0x766a_0abb,
        0x81c2_c92e,
        0x9272_2c85,
        0xa2bf_e8a1,
        0xa81a_664b,
        0xc24b_8b70,
        0xc76c_51a3,
        0xd192_e819,
        0xd699_0624,
        0xf40e_3585,
        0x106a_a070,
    ],
    [
        0x19a4_c116,
        0x1e37_6c08,
        0x2748_774c,
        0x34b0_bcb5,
        0x391c_0cb3,
        0x4ed8_aa4a,
        0x5b9c_ca4f,
        0x682e_6ff3,
        0x748f_82ee,
        0x78a5_636f,
        0x84c8_7814,
        0x8cc7_0208,
        0x90be_fffa,
        0xa450_6ceb,
        0xbef9_a3f7,
        0xc671_78f2,
    ],
];

/// A word of the hash function, or one in every lane.
trait Word:
    Copy + Add<Output = Self> + BitAnd<Output = Self> + BitOr<Output = Self> + BitXor<Output = Self>
{
    /// Rotates by so many bits to the right, which is so many to the left.
    fn rotate<const RIGHT: u32, const LEFT: u32>(self) -> Self;
}

impl Word for Wrapping<u32> {
    #[inline(always)]
    fn rotate<const RIGHT: u32, const LEFT: u32>(self) -> Self {
        Self(self.0.rotate_right(RIGHT))
    }
}

impl<S: Simd> Word for u32x16<S> {
    #[inline(always)]
    fn rotate<const RIGHT: u32, const LEFT: u32>(self) -> Self {
        const { assert!(RIGHT + LEFT == u32::BITS) };
        (self >> RIGHT) | (self << LEFT)
    }
}

/// One round, with the sum of its constant and its word of the schedule (FIPS 180-4, section 6.2.2).
#[inline(always)]
fn round<W: Word>([a, b, c, d, e, f, g, h]: [W; 8], input: W) -> [W; 8] {
    let high = e.rotate::<6, 26>() ^ e.rotate::<11, 21>() ^ e.rotate::<25, 7>();
    let choice = g ^ (e & (f ^ g));
    let first = h + high + choice + input;
    let low = a.rotate::<2, 30>() ^ a.rotate::<13, 19>() ^ a.rotate::<22, 10>();
    let majority = (a & b) | (c & (a | b));
    [first + low + majority, a, b, c, d + first, e, f, g]
}

/// The state after the first `DONE` rounds of blocks that start with the same words.
#[inline(always)]
fn begin<const DONE: usize>(start: &[u32; 8], words: &[[u32; LANES]; 16]) -> [u32; 8] {
    let mut state = start.map(Wrapping);
    let [constants, ..] = &ROUNDS;
    for (constant, [word, ..]) in constants.iter().zip(words).take(DONE) {
        state = round(state, Wrapping(*constant) + Wrapping(*word));
    }
    state.map(|word| word.0)
}

#[inline(always)]
fn compress_with<S: Simd, const DONE: usize>(
    simd: S,
    start: &[u32; 8],
    words: &[[u32; LANES]; 16],
) -> [[u32; LANES]; 8] {
    let splat = |word: u32| u32x16::splat(simd, word);
    let mut state = begin::<DONE>(start, words).map(splat);
    let mut schedule = words
        .each_ref()
        .map(|lanes| u32x16::from_slice(simd, lanes));
    for (sixteen, constants) in ROUNDS.iter().enumerate() {
        for (number, constant) in constants.iter().enumerate() {
            if sixteen > 0 {
                let [early, late] = [schedule[(number + 1) % 16], schedule[(number + 14) % 16]];
                let low = early.rotate::<7, 25>() ^ early.rotate::<18, 14>() ^ (early >> 3);
                let high = late.rotate::<17, 15>() ^ late.rotate::<19, 13>() ^ (late >> 10);
                schedule[number] = schedule[number] + low + schedule[(number + 9) % 16] + high;
            }
            if sixteen > 0 || number >= DONE {
                state = round(state, splat(*constant) + schedule[number]);
            }
        }
    }
    let mut out = [[0; LANES]; 8];
    for (out, (word, start)) in out.iter_mut().zip(state.into_iter().zip(start)) {
        *out = (word + splat(*start)).into();
    }
    out
}

/// The vectors that this processor hashes faster with than with one block after the other.
#[derive(Clone, Copy, Debug)]
pub(super) enum Vectors {
    /// Sixteen lanes, with rotations.
    Avx512(Avx512),
    /// Eight lanes: for processors without instructions for SHA-256.
    Avx2(Avx2),
}

impl Vectors {
    /// Those to use, if any.
    pub(super) fn detect() -> Option<Self> {
        let level = Level::new();
        match level.as_avx512() {
            Some(vectors) => Some(Self::Avx512(vectors)),
            None if std::arch::is_x86_feature_detected!("sha") => None,
            None => level.as_avx2().map(Self::Avx2),
        }
    }

    /// The states that 16 blocks lead to from `start`. Word by word, the words of all blocks side by side. In all blocks, the first
    /// `DONE` words are the same.
    pub(super) fn compress<const DONE: usize>(
        self,
        start: &[u32; 8],
        words: &[[u32; LANES]; 16],
    ) -> [[u32; LANES]; 8] {
        match self {
            Self::Avx512(simd) => simd.vectorize(
                #[inline(always)]
                || compress_with::<_, DONE>(simd, start, words),
            ),
            Self::Avx2(simd) => simd.vectorize(
                #[inline(always)]
                || compress_with::<_, DONE>(simd, start, words),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use sha2::block_api::compress256;

    use super::super::START;
    use super::*;

    #[test]
    fn every_kind_of_vector_agrees_with_the_library() {
        let level = Level::new();
        let kinds = [
            level.as_avx512().map(Vectors::Avx512),
            level.as_avx2().map(Vectors::Avx2),
        ];
        let bytes = crate::testing::bytes(3, LANES * 64);
        let mut blocks: Vec<[u8; 64]> = bytes.as_chunks().0.to_vec();
        for vectors in kinds.into_iter().flatten() {
            for done in [0, 8] {
                let first = blocks[0];
                blocks
                    .iter_mut()
                    .for_each(|block| block[..4 * done].copy_from_slice(&first[..4 * done]));
                let word = |place: usize, lane: usize| {
                    u32::from_be_bytes(blocks[lane].as_chunks().0[place])
                };
                let words =
                    core::array::from_fn(|place| core::array::from_fn(|lane| word(place, lane)));
                let states = match done {
                    0 => vectors.compress::<0>(&START, &words),
                    _ => vectors.compress::<8>(&START, &words),
                };
                for (lane, block) in blocks.iter().enumerate() {
                    let mut expected = START;
                    compress256(&mut expected, core::slice::from_ref(block));
                    assert_eq!(states.map(|word| word[lane]), expected, "{vectors:?}");
                }
            }
        }
    }
}
