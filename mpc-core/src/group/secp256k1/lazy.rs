//! Sums of products that are reduced once, at the end.

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{Scalar, Secp256k1};

/// Words of a scalar, lowest first.
const WORDS: usize = 4;

/// A sum of products of secp256k1 scalars, kept as an integer of 576 bits: room for 2^64 products. Wiped when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
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

    /// Adds one scalar.
    pub fn add(&mut self, term: &Scalar<Secp256k1>) {
        let carry = add_words(&mut self.words, &words(term));
        debug_assert_eq!(carry, 0, "room for 2^64 products");
    }

    /// Adds the product of two scalars.
    #[expect(
        clippy::indexing_slicing,
        reason = "the loop bounds are constants: 3 + 3 + 1 + .. stays below the 9 words"
    )]
    #[inline]
    pub fn add_product(&mut self, a: &Scalar<Secp256k1>, b: &Scalar<Secp256k1>) {
        let (a, b) = (words(a), words(b));
        let mut product = [0; 2 * WORDS];
        for i in 0..WORDS {
            let mut carry = 0;
            for j in 0..WORDS {
                (product[i + j], carry) = a[i].carrying_mul_add(b[j], product[i + j], carry);
            }
            product[i + WORDS] = carry;
        }
        let carry = add_words(&mut self.words, &product);
        debug_assert_eq!(carry, 0, "room for 2^64 products");
    }

    /// The sum modulo the order.
    #[must_use]
    pub fn reduce(&self) -> Scalar<Secp256k1> {
        let [low @ .., top] = &self.words;
        let mut bytes = [0; 64];
        for (out, word) in bytes.as_chunks_mut().0.iter_mut().rev().zip(low) {
            *out = word.to_be_bytes();
        }
        let sum = Scalar::from_wide_be(&bytes) + Scalar::from_u64(*top) * two_to_the_512();
        bytes.zeroize();
        sum
    }
}

impl Default for LazySum {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for LazySum {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("LazySum(..)")
    }
}

/// The words of a scalar, lowest first.
#[inline]
fn words(scalar: &Scalar<Secp256k1>) -> [u64; WORDS] {
    let bytes = scalar.encode();
    let mut words = [0; WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0.iter().rev()) {
        *word = u64::from_be_bytes(*bytes);
    }
    words
}

/// Adds `term` at the low end of `sum`; what is left over comes back.
#[inline]
fn add_words(sum: &mut [u64], term: &[u64]) -> u64 {
    let mut carry = false;
    for (position, word) in sum.iter_mut().enumerate() {
        let add = term.get(position).copied().unwrap_or(0);
        (*word, carry) = word.carrying_add(add, carry);
    }
    u64::from(carry)
}

fn two_to_the_512() -> Scalar<Secp256k1> {
    let mut bytes = [0; 64];
    bytes[31] = 1;
    let half = Scalar::from_wide_be(&bytes);
    half * half
}
