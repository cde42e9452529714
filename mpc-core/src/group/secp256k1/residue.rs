//! Scalars before they are reduced: sums of many terms that pay for one reduction at the end.
//!
//! The order is `2^256 - C` with a `C` of 129 bits, so `high * 2^256 + low` is congruent to `low + high * C`. A few such folds
//! bring any sum below `2^256`, one conditional subtraction below the order. The curve library reduces after every operation,
//! which costs a multiplication of two nodes' secrets more than its hashes.
#![expect(
    clippy::indexing_slicing,
    reason = "loops over words of arrays whose lengths are constants"
)]

use subtle::{Choice, ConditionallySelectable};
use zeroize::{DefaultIsZeroes, Zeroize, ZeroizeOnDrop};

use super::{Scalar, Secp256k1};

/// Words of a residue, lowest first.
const WORDS: usize = 4;

/// `C = 2^256 - order`: two words and a leading 1.
const COMPLEMENT: [u64; 2] = [0x402D_A173_2FC9_BEBF, 0x4551_2319_50B7_5FC4];

/// The order.
const ORDER: [u64; WORDS] = [
    0xBFD2_5E8C_D036_4141,
    0xBAAE_DCE6_AF48_A03B,
    0xFFFF_FFFF_FFFF_FFFE,
    0xFFFF_FFFF_FFFF_FFFF,
];

/// Twice the order.
const TWICE_ORDER: [u64; WORDS + 1] = [
    0x7FA4_BD19_A06C_8282,
    0x755D_B9CD_5E91_4077,
    0xFFFF_FFFF_FFFF_FFFD,
    0xFFFF_FFFF_FFFF_FFFF,
    1,
];

/// An integer below 2^256 that stands for its class modulo the order of secp256k1. What is computed here is the same whichever
/// member of the class is used; only [`Residue::encode`] of a reduced one is a canonical scalar.
#[derive(Clone, Copy, Default)]
pub struct Residue([u64; WORDS]);

impl DefaultIsZeroes for Residue {}

impl Residue {
    /// Any 32 bytes as a big-endian integer.
    #[must_use]
    pub fn from_be_bytes(bytes: &[u8; 32]) -> Self {
        let mut words = [0; WORDS];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_be_bytes(*bytes);
        }
        Self::from_be_words(words)
    }

    /// Any four words as a big-endian integer.
    #[must_use]
    pub const fn from_be_words([a, b, c, d]: [u64; WORDS]) -> Self {
        Self([d, c, b, a])
    }

    /// 32 bytes that must be below the order. Variable time, for messages.
    #[must_use]
    pub fn decode(bytes: &[u8; 32]) -> Option<Self> {
        let value = Self::from_be_bytes(bytes);
        value.0.iter().rev().lt(ORDER.iter().rev()).then_some(value)
    }

    /// The 32 bytes, big-endian: canonical if this was reduced.
    #[must_use]
    pub fn encode(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().rev().zip(self.0) {
            *bytes = word.to_be_bytes();
        }
        bytes
    }

    /// The scalar.
    #[must_use]
    pub fn scalar(&self) -> Scalar<Secp256k1> {
        Scalar::from_be_reduced(&self.encode())
    }

    /// `self - minus + plus`, reduced.
    #[must_use]
    pub fn correct(&self, minus: &Self, plus: &Self) -> Self {
        let mut sum = TWICE_ORDER;
        let mut borrow = false;
        for (position, word) in sum.iter_mut().enumerate() {
            let minus = minus.0.get(position).copied().unwrap_or(0);
            (*word, borrow) = word.borrowing_sub(minus, borrow);
        }
        add_words(&mut sum, &self.0);
        add_words(&mut sum, &plus.0);
        settle(sum)
    }

    /// `self + other` if `choice` is set, else `self`; reduced.
    #[must_use]
    pub fn add_if(&self, other: &Self, choice: Choice) -> Self {
        let [a, b, c, d] = self.0;
        let mut sum = [a, b, c, d, 0];
        add_words(&mut sum, &other.only_if(choice).0);
        settle(sum)
    }

    /// This residue if `choice` is set, else 0.
    #[must_use]
    pub fn only_if(&self, choice: Choice) -> Self {
        let mask = u64::conditional_select(&0, &u64::MAX, choice);
        Self(self.0.map(|word| word & mask))
    }
}

impl From<&Scalar<Secp256k1>> for Residue {
    fn from(scalar: &Scalar<Secp256k1>) -> Self {
        Self::from_be_bytes(&scalar.encode())
    }
}

impl core::fmt::Debug for Residue {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Residue(..)")
    }
}

/// A sum of products of residues, as an integer of 576 bits: room for 2^63 terms. Wiped when dropped.
#[derive(Default, Zeroize, ZeroizeOnDrop)]
pub struct LazySum {
    words: [u64; 2 * WORDS + 1],
}

impl LazySum {
    /// Nothing added yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            words: [0; 2 * WORDS + 1],
        }
    }

    /// Adds one residue.
    #[inline(always)]
    pub fn add(&mut self, term: &Residue) {
        add_words(&mut self.words, &term.0);
    }

    /// Adds the product of two residues.
    #[inline(always)]
    pub fn add_product(&mut self, a: &Residue, b: &Residue) {
        let mut product = [0; 2 * WORDS];
        for i in 0..WORDS {
            let mut carry = 0;
            for j in 0..WORDS {
                let place = &mut product[i + j];
                (*place, carry) = a.0[i].carrying_mul_add(b.0[j], *place, carry);
            }
            product[i + WORDS] = carry;
        }
        add_words(&mut self.words, &product);
    }

    /// The sum of at most eight terms, reduced.
    #[inline(always)]
    #[must_use]
    pub fn reduce_few(&self) -> Residue {
        debug_assert!(self.words[2 * WORDS] <= 8, "few terms");
        let sum: [u64; 7] = fold(&self.words); // below 2^390
        let sum: [u64; 5] = fold(&sum); // below 2^264
        settle(sum)
    }

    /// The sum, reduced.
    #[inline]
    #[must_use]
    pub fn reduce(&self) -> Residue {
        let sum: [u64; 8] = fold(&self.words); // below 2^450
        let sum: [u64; 6] = fold(&sum); // below 2^324
        let sum: [u64; 5] = fold(&sum); // below 2^257
        settle(sum)
    }
}

impl core::fmt::Debug for LazySum {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("LazySum(..)")
    }
}

/// Adds `term` at the low end of `sum`, which has room for it.
#[inline(always)]
fn add_words<const N: usize>(sum: &mut [u64; N], term: &[u64]) {
    let mut carry = false;
    for (position, word) in sum.iter_mut().enumerate() {
        let term = term.get(position).copied().unwrap_or(0);
        (*word, carry) = word.carrying_add(term, carry);
    }
}

/// `low + high * C` of `high * 2^256 + low`: the same class, about 127 bits shorter. `OUT` words have room for it.
#[inline(always)]
fn fold<const IN: usize, const OUT: usize>(value: &[u64; IN]) -> [u64; OUT] {
    let mut sum = [0; OUT];
    sum[..WORDS].copy_from_slice(&value[..WORDS]);
    for position in 0..IN - WORDS {
        let high = value[WORDS + position];
        let (low, carry) = high.carrying_mul(COMPLEMENT[0], 0);
        let (middle, top) = high.carrying_mul(COMPLEMENT[1], carry);
        let (top, over) = top.overflowing_add(high);
        let mut carry = false;
        for (word, term) in
            sum[position..]
                .iter_mut()
                .zip([low, middle, top, u64::from(over), 0, 0, 0, 0])
        {
            (*word, carry) = word.carrying_add(term, carry);
        }
    }
    sum
}

/// The canonical member of the class of an integer below 2^264.
#[inline(always)]
fn settle(value: [u64; WORDS + 1]) -> Residue {
    // The fold leaves less than 2^256 + 2^8 C, which is less than twice the order. Subtracting the order is adding C and forgetting
    // 2^256; it was due if anything was there to forget.
    let value: [u64; WORDS + 1] = fold(&value);
    let mut less = value;
    add_words(&mut less, &[COMPLEMENT[0], COMPLEMENT[1], 1]);
    let subtract = Choice::from(u8::from(less[WORDS] != 0));
    let mask = u64::conditional_select(&0, &u64::MAX, subtract);
    let mut out = [0; WORDS];
    for ((out, word), less) in out.iter_mut().zip(value).zip(less) {
        *out = word ^ ((word ^ less) & mask);
    }
    Residue(out)
}
