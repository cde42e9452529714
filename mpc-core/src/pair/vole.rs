//! Multiplies secrets of two nodes: after one message from sender to receiver they hold shares of products.
//!
//! The sender gets random `alpha_k`, `alpha_x` and `t_k`, `t_x`, the receiver a random `beta` and `r_k`, `r_x`, and
//! `t_c + r_c = alpha_c * beta`. Nothing in it depends on a key or a message: the two columns are one-time factors for the nonce (k)
//! and the key (x) of a signature. A third column masks the check. (Protocol notes, sections 5.2 and 5.3.)
//!
//! The gadget vector is a hash of the sender's whole message, so the sender commits to everything before it learns with which
//! weights the receiver's bits are summed.
//!
//! # Timing
//! Constant time in rows, choices and scalars, on both sides. The messages are public.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "field operations wrap by definition"
)]

#[cfg(test)]
mod rigged;

use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::extension::{Direction, MessageHash, ROWS, Receiver, Sender};
use crate::codec::{DecodeError, Problem, Reader, Writer};
use crate::group::{LazySum, Residue, Secp256k1};
use crate::id::SessionId;
use crate::secret::SecretScalar;
use crate::transcript::block::{Counted, Pads};
use crate::transcript::{self, Tag};

type Scalar = crate::group::Scalar<Secp256k1>;

/// Nonce, key, mask: in this order everywhere.
const WIDTH: usize = 3;

/// What the pads of one multiplication are bound to: the session with everybody's contributions, the two nodes in their roles, their
/// setup, and the extension message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context(pub(super) [u8; 32]);

impl Context {
    /// `session` is the full name of the session.
    #[must_use]
    pub fn new(session: &SessionId, direction: &Direction, extension: &MessageHash) -> Self {
        let hash = transcript::hash(Tag::VOLE_CTX).field(session);
        let hash = hash.field(direction.receiver).field(direction.sender);
        Self(hash.field(direction.pair).field(extension.0).digest())
    }
}

/// The message of the sender: 73 792 bytes. Public, but sent to the receiver only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The corrections, row by row. Always `ROWS * WIDTH * 32` bytes.
    corrections: Vec<u8>,
    /// The hash of the combined rows.
    check: [u8; 32],
    /// The combined factors.
    factors: [u8; 32],
}

impl Message {
    /// Length of an encoded message.
    pub const BYTES: usize = Self::CORRECTIONS + 64;

    const CORRECTIONS: usize = ROWS * WIDTH * Scalar::BYTES;

    /// Reads [`Self::BYTES`] bytes. The scalars are decoded by [`receive`].
    ///
    /// # Errors
    /// `Length` when fewer are left.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            corrections: reader.bytes("Q", Self::CORRECTIONS)?.to_vec(),
            check: reader.array("hu")?,
            factors: reader.array("v")?,
        })
    }

    /// Whether every scalar of the message is canonical, which anybody can see.
    pub(crate) fn check_scalars(&self) -> Result<(), DecodeError> {
        Scalar::decode("v", &self.factors)?;
        for bytes in self.corrections.chunks_exact(Scalar::BYTES) {
            Scalar::decode("Q", bytes)?;
        }
        Ok(())
    }

    /// Appends [`Self::BYTES`] bytes.
    pub fn write(&self, writer: &mut Writer) {
        writer
            .bytes(&self.corrections)
            .bytes(&self.check)
            .bytes(&self.factors);
    }
}

/// Why the receiver refuses a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VoleError {
    /// A scalar is not canonical. The message is signed, so this is provable, and it leaks nothing.
    #[error("the multiplication message does not decode: {0}")]
    Malformed(#[from] DecodeError),
    /// The check failed. The pair must be poisoned, durably, before anything else happens.
    #[error("the multiplication message is inconsistent, the pair setup must not be used again")]
    CheckFailed,
}

/// The sender's shares. 128 bytes, wiped when dropped.
#[derive(Debug)]
pub struct SenderOutput {
    /// Factor of the nonce column.
    pub alpha_k: SecretScalar<Secp256k1>,
    /// Factor of the key column.
    pub alpha_x: SecretScalar<Secp256k1>,
    /// Share of `alpha_k * beta`.
    pub t_k: SecretScalar<Secp256k1>,
    /// Share of `alpha_x * beta`.
    pub t_x: SecretScalar<Secp256k1>,
}

/// The receiver's shares. 96 bytes, wiped when dropped.
#[derive(Debug)]
pub struct ReceiverOutput {
    /// The common factor of both columns.
    pub beta: SecretScalar<Secp256k1>,
    /// Share of `alpha_k * beta`.
    pub r_k: SecretScalar<Secp256k1>,
    /// Share of `alpha_x * beta`.
    pub r_x: SecretScalar<Secp256k1>,
}

/// Three scalars for each of some transfers.
type Batch = [[Residue; WIDTH]; Pads::ROWS];

/// Three scalars for every transfer. Wiped when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Rows(pub(super) Vec<[Residue; WIDTH]>);

impl Rows {
    /// Nothing yet.
    fn new() -> Self {
        Self(vec![Default::default(); ROWS])
    }

    /// The pads of rows.
    #[cfg(test)]
    pub(super) fn pads(context: &Context, rows: &[u128]) -> Self {
        let mut pads = Pads::new(&context.0);
        let mut out = Self::new();
        for (first, rows, out) in out.batches(rows) {
            pads.fill(rows, first, out);
        }
        out
    }

    /// Batches of these rows: the number of the first, the rows, and the scalars to be.
    fn batches<'a>(
        &'a mut self,
        rows: &'a [u128],
    ) -> impl Iterator<Item = (u16, &'a [u128; Pads::ROWS], &'a mut Batch)> {
        let places = self.0.as_chunks_mut().0.iter_mut();
        let batches = rows.as_chunks().0.iter().zip(places);
        let numbered = (0..).step_by(Pads::ROWS).zip(batches);
        numbered.map(|(first, (rows, places))| (first, rows, places))
    }

    /// The sums of the nonce and key columns with the weights of the gadget.
    fn weigh(&self, gadget: &[Residue]) -> [Scalar; 2] {
        let (mut k_sum, mut x_sum) = (LazySum::new(), LazySum::new());
        for (weight, [k, x, _]) in gadget.iter().zip(&self.0) {
            k_sum.add_product(weight, k);
            x_sum.add_product(weight, x);
        }
        [k_sum, x_sum].map(|sum| sum.reduce().scalar())
    }
}

/// The challenges that combine nonce and key columns, after the corrections are fixed.
pub(super) struct Challenges {
    corrections_hash: [u8; 32],
    pub(super) chi: [Residue; 2],
}

impl Challenges {
    pub(super) fn new(context: &Context, corrections: &[u8]) -> Self {
        let hash = transcript::hash(Tag::VOLE_Q).field(context.0);
        let corrections_hash = hash.field(corrections).digest();
        let chi = [0, 1].map(|number| {
            let hash = transcript::wide(Tag::VOLE_CHI).field(context.0);
            Residue::from(&hash.field(corrections_hash).u8(number).scalar())
        });
        Self {
            corrections_hash,
            chi,
        }
    }

    /// `mask + chi_k * k + chi_x * x`.
    #[inline]
    fn combine(&self, [k, x, mask]: &[Residue; WIDTH]) -> Residue {
        let [chi_k, chi_x] = &self.chi;
        let mut sum = LazySum::new();
        sum.add_product(chi_k, k);
        sum.add_product(chi_x, x);
        sum.add(mask);
        sum.reduce()
    }

    /// The hash of the combined rows.
    fn check(&self, context: &Context, combined: &[u8]) -> [u8; 32] {
        let hash = transcript::hash(Tag::VOLE_U).field(context.0);
        hash.field(self.corrections_hash).field(combined).digest()
    }

    /// The weights of the transfers: a hash of everything that the sender says.
    pub(super) fn gadget(
        &self,
        context: &Context,
        check: &[u8; 32],
        factors: &[u8; 32],
    ) -> Vec<Residue> {
        let hash = transcript::hash(Tag::VOLE_G).field(context.0);
        let hash = hash.field(self.corrections_hash).field(check);
        let digests = Counted::new(&hash.field(factors).digest()).take(ROWS_U16);
        digests.collect()
    }
}

/// [`ROWS`] as the counter in the hashes.
const ROWS_U16: u16 = 768;
const _: () = assert!(ROWS_U16 as usize == ROWS && ROWS.is_multiple_of(Pads::ROWS));

/// What the sender multiplies: `alpha_k`, `alpha_x` and the mask, fresh for one multiplication. Wiped when dropped.
#[derive(Debug)]
pub struct Factors([SecretScalar<Secp256k1>; WIDTH]);

impl Factors {
    /// Draws the three scalars, in this order.
    #[must_use]
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        Self([(); WIDTH].map(|()| SecretScalar::random(rng)))
    }
}

/// The sender's side.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the rows serve one multiplication and are wiped here"
)]
#[must_use]
pub fn send(sender: Sender, context: &Context, factors: Factors) -> (SenderOutput, Message) {
    let Factors([alpha_k, alpha_x, mask]) = factors;
    let factors = [&alpha_k, &alpha_x, &mask].map(|factor| Residue::from(factor.expose_secret()));
    let factors = Zeroizing::new(factors);

    let (mut zero, mut one) = (Rows::new(), Zeroizing::new(Batch::default()));
    let mut pads = Pads::new(&context.0);
    let mut corrections = Vec::with_capacity(Message::CORRECTIONS);
    for (first, rows, zero) in zero.batches(sender.rows()) {
        pads.fill(rows, first, zero);
        let others = Zeroizing::new(rows.map(|row| row ^ sender.delta()));
        pads.fill(&others, first, &mut one);
        for (zero, one) in zero.iter().zip(one.iter()) {
            for (factor, (zero, one)) in factors.iter().zip(zero.iter().zip(one)) {
                corrections.extend_from_slice(&zero.correct(one, factor).encode());
            }
        }
    }

    let challenges = Challenges::new(context, &corrections);
    // Known to both nodes: the mask column hides the others.
    let mut combined = Vec::with_capacity(ROWS * Scalar::BYTES);
    for row in &zero.0 {
        combined.extend_from_slice(&challenges.combine(row).encode());
    }
    let check = challenges.check(context, &combined);
    let factors = challenges.combine(&factors).encode();
    let gadget = challenges.gadget(context, &check, &factors);
    let [k, x] = zero.weigh(&gadget);
    let output = SenderOutput {
        alpha_k,
        alpha_x,
        t_k: SecretScalar::new(-k),
        t_x: SecretScalar::new(-x),
    };
    let message = Message {
        corrections,
        check,
        factors,
    };
    (output, message)
}

/// The receiver's side.
///
/// # Errors
/// [`VoleError::Malformed`] for a scalar at or above the order, before any secret is used; [`VoleError::CheckFailed`].
#[expect(
    clippy::needless_pass_by_value,
    reason = "the rows serve one multiplication and are wiped here, whether it succeeds or not"
)]
pub fn receive(
    receiver: Receiver,
    context: &Context,
    message: &Message,
) -> Result<ReceiverOutput, VoleError> {
    let decode = |field, bytes| {
        Residue::decode(bytes).ok_or_else(|| DecodeError::new(field, Problem::NotCanonical))
    };
    let factors = decode("v", &message.factors)?;
    let corrections = message.corrections.as_chunks().0;
    for bytes in corrections {
        decode("Q", bytes)?;
    }

    let challenges = Challenges::new(context, &message.corrections);
    let mut rows = Rows::new();
    let mut pads = Pads::new(&context.0);
    let mut corrections = corrections.as_chunks::<WIDTH>().0.iter();
    let mut choices = receiver.choices();
    // Known to both nodes: the mask column hides the others.
    let mut combined = Vec::with_capacity(ROWS * Scalar::BYTES);
    for (first, transfers, rows) in rows.batches(receiver.rows()) {
        pads.fill(transfers, first, rows);
        for (row, (corrections, choice)) in rows
            .iter_mut()
            .zip(corrections.by_ref().zip(choices.by_ref()))
        {
            for (entry, correction) in row.iter_mut().zip(corrections) {
                *entry = entry.add_if(&Residue::from_be_bytes(correction), choice);
            }
            let sum = challenges.combine(row);
            let sum = sum.correct(&factors.only_if(choice), &Residue::default());
            combined.extend_from_slice(&sum.encode());
        }
    }
    let check = challenges.check(context, &combined);
    if !bool::from(check.ct_eq(&message.check)) {
        return Err(VoleError::CheckFailed);
    }

    let gadget = challenges.gadget(context, &message.check, &message.factors);
    let mut beta = LazySum::new();
    for (weight, choice) in gadget.iter().zip(receiver.choices()) {
        beta.add(&weight.only_if(choice));
    }
    let [r_k, r_x] = rows.weigh(&gadget).map(SecretScalar::new);
    Ok(ReceiverOutput {
        beta: SecretScalar::new(beta.reduce().scalar()),
        r_k,
        r_x,
    })
}
