//! Extends the 128 base transfers of a pair setup to 768 fresh ones, with one message from the receiver to the sender.
//!
//! Afterwards the receiver holds a choice bit `x_r` and a row `V_r` for every `r`, the sender a row `W_r`, and
//! `W_r = V_r xor x_r * delta`. The sender checks with 128 public random combinations of the rows, one of fresh rows added to
//! each, that the receiver used one `x` for all columns. A failed check may mean that a bit of `delta` was guessed wrong: never
//! let the receiver try again (protocol notes, section 6). (Section 5.1.)
//!
//! # Timing
//! Constant time in seeds, choices and rows. The check matrix and the message are public.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "shifts and offsets by constants within their types"
)]

mod bits;
mod check;
#[cfg(test)]
mod rigged;

use rand_core::CryptoRng;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{COLUMNS, ReceiverSeeds, SenderSeeds};
use crate::codec::{DecodeError, Reader, Writer};
use crate::id::{NodeId, PairId, SessionId};
use crate::transcript::block::Columns;
use crate::transcript::{self, Tag};
use check::Matrix;

/// Number of transfers that come out.
pub const ROWS: usize = 768;

/// Number of transfers that are spent on the check.
pub const CHECK_ROWS: usize = 128;

/// Statistical security of the multiplication in bits.
const STATISTICAL: usize = (ROWS - SCALAR_BITS - 2 * COMPUTATIONAL) / 3;
/// Computational security in bits.
const COMPUTATIONAL: usize = 128;
/// Length of a scalar in bits.
const SCALAR_BITS: usize = 256;

// Section 5.5: enough transfers that the leakage of a malicious sender does not bias the product, and one mask column is enough.
const _: () = assert!(ROWS >= SCALAR_BITS + 3 * 80 + 2 * COMPUTATIONAL && STATISTICAL == 85);
const _: () = assert!(SCALAR_BITS >= COMPUTATIONAL + 2 * (ROWS.ilog2() as usize + 1));
const _: () = assert!(CHECK_ROWS == COMPUTATIONAL && COLUMNS == COMPUTATIONAL);

/// Length of a column in bytes: one bit for every transfer, those of the check included.
const COLUMN_BYTES: usize = (ROWS + CHECK_ROWS) / 8;

/// Who extends towards whom, and on which setup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Direction {
    /// The node that holds the choices, and whose message this is.
    pub receiver: NodeId,
    /// The node that holds `delta`.
    pub sender: NodeId,
    /// The setup.
    pub pair: PairId,
}

/// The public name of one extension. Bound to the session, to the receiver's contribution to it, and to the setup, so that no two
/// extensions ever expand a seed to the same columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonce(pub(super) [u8; 32]);

impl Nonce {
    /// `session` is the name of the session before anybody has contributed, `contribution` the fresh nonce of the receiver.
    #[must_use]
    pub fn new(session: &SessionId, contribution: &[u8; 32], direction: &Direction) -> Self {
        let hash = transcript::hash(Tag::OTX_NONCE)
            .field(session)
            .field(contribution);
        Self(
            hash.field(direction.receiver)
                .field(direction.sender)
                .field(direction.pair)
                .digest(),
        )
    }
}

/// The hash of a whole extension message: what the following multiplication is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageHash(pub(super) [u8; 32]);

/// The message of the receiver: 14 384 bytes. Public, but sent to the sender only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The corrections, column by column. Always `COLUMNS * COLUMN_BYTES` bytes.
    corrections: Vec<u8>,
    /// The combinations of the choices.
    choices: [u8; CHECK_ROWS / 8],
    /// The hash of the combinations of the rows.
    rows: [u8; 32],
}

impl Message {
    /// Length of an encoded message.
    pub const BYTES: usize = COLUMNS * COLUMN_BYTES + CHECK_ROWS / 8 + 32;

    /// Reads [`Self::BYTES`] bytes. Every bit pattern is a message.
    ///
    /// # Errors
    /// `Length` when fewer are left.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            corrections: reader.bytes("U", COLUMNS * COLUMN_BYTES)?.to_vec(),
            choices: reader.array("xt")?,
            rows: reader.array("hV")?,
        })
    }

    /// Appends [`Self::BYTES`] bytes.
    pub fn write(&self, writer: &mut Writer) {
        writer
            .bytes(&self.corrections)
            .bytes(&self.choices)
            .bytes(&self.rows);
    }

    /// The hash that seeds the check matrix.
    fn corrections_hash(&self, nonce: &Nonce, direction: &Direction) -> [u8; 32] {
        transcript::hash(Tag::OTX_U)
            .field(nonce.0)
            .field(direction.receiver)
            .field(direction.sender)
            .field(&self.corrections)
            .digest()
    }

    fn hash(&self, corrections_hash: &[u8; 32]) -> MessageHash {
        let hash = transcript::hash(Tag::OTX_MSG).field(corrections_hash);
        MessageHash(hash.field(self.choices).field(self.rows).digest())
    }
}

/// The sender's check failed. The pair must be poisoned, durably, before anything else happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the extension message is inconsistent, the pair setup must not be used again")]
pub struct CheckFailed;

/// What the receiver holds: choices and rows of 768 transfers, for one multiplication. Wiped when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Receiver {
    /// Bit `r` is the choice of transfer `r`, lowest first in every byte.
    choices: Zeroizing<[u8; ROWS / 8]>,
    /// [`ROWS`] rows.
    rows: Vec<u128>,
    #[zeroize(skip)]
    message: MessageHash,
}

impl Receiver {
    /// The hash of the message that was sent.
    #[must_use]
    pub const fn message_hash(&self) -> MessageHash {
        self.message
    }

    /// The choices in order.
    pub(super) fn choices(&self) -> impl Iterator<Item = Choice> {
        let bytes = self.choices.iter();
        bytes.flat_map(|byte| (0..8).map(move |bit| Choice::from((byte >> bit) & 1)))
    }

    /// The rows in order.
    pub(super) fn rows(&self) -> &[u128] {
        &self.rows
    }
}

impl core::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Receiver(..)")
    }
}

/// What the sender holds: rows of 768 transfers, for one multiplication. Wiped when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Sender {
    delta: u128,
    /// [`ROWS`] rows.
    rows: Vec<u128>,
    #[zeroize(skip)]
    message: MessageHash,
}

impl Sender {
    /// The hash of the message that was received.
    #[must_use]
    pub const fn message_hash(&self) -> MessageHash {
        self.message
    }

    /// The rows of choice 0, in order. Those of choice 1 differ by [`Self::delta`].
    pub(super) fn rows(&self) -> &[u128] {
        &self.rows
    }

    /// The difference of the two rows of every transfer.
    pub(super) const fn delta(&self) -> u128 {
        self.delta
    }
}

impl core::fmt::Debug for Sender {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Sender(..)")
    }
}

/// The receiver's choices of one extension, and the bits that hide their combinations: 112 bytes, wiped when dropped.
pub struct Choices(Zeroizing<[u8; COLUMN_BYTES]>);

impl Choices {
    /// Fresh choices.
    #[must_use]
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        let mut choices = Zeroizing::new([0; COLUMN_BYTES]);
        rng.fill_bytes(choices.as_mut());
        Self(choices)
    }
}

impl core::fmt::Debug for Choices {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Choices(..)")
    }
}

/// The receiver's side. Draws 112 bytes: the choices, then the bits that hide their combinations.
#[must_use]
pub fn receive(
    seeds: &ReceiverSeeds,
    nonce: &Nonce,
    direction: &Direction,
    rng: &mut impl CryptoRng,
) -> (Receiver, Message) {
    receive_with(seeds, nonce, direction, &Choices::random(rng))
}

/// As [`receive`], with choices that were drawn before. Use them once.
#[must_use]
pub fn receive_with(
    seeds: &ReceiverSeeds,
    nonce: &Nonce,
    direction: &Direction,
    choices: &Choices,
) -> (Receiver, Message) {
    let choices = &choices.0;
    let choice_words = Zeroizing::new(bits::column_of(choices));
    let mut streams = Columns::new(&nonce.0);
    let mut columns = Zeroizing::new([bits::Column::default(); COLUMNS]);
    let mut corrections = Vec::with_capacity(COLUMNS * COLUMN_BYTES);
    // Two columns at a time, each from two seeds.
    let pairs = seeds.expose_secret().as_chunks().0.iter();
    for ([first, second], places) in pairs.zip(columns.as_chunks_mut::<2>().0) {
        let [[a, b], [c, d]] = [first, second].map(|[zero, one]| [zero, one]);
        let made = Zeroizing::new(streams.columns([a, b, c, d]));
        let made = made.as_chunks().0.iter();
        for (column, [zero, one]) in places.iter_mut().zip(made) {
            *column = *zero;
            for ((zero, one), choice) in zero.iter().zip(one).zip(choice_words.iter()) {
                corrections.extend_from_slice(&(zero ^ one ^ choice).to_le_bytes());
            }
        }
    }
    let mut rows = bits::rows(&columns);

    let mut message = Message {
        corrections,
        choices: [0; CHECK_ROWS / 8],
        rows: [0; 32],
    };
    let corrections_hash = message.corrections_hash(nonce, direction);
    let matrix = Matrix::new(&corrections_hash);
    message.choices = matrix.combine_bits(choices);
    message.rows = hash_rows(&corrections_hash, &matrix.combine_rows(&rows));

    rows.truncate(ROWS);
    let mut kept = Zeroizing::new([0; ROWS / 8]);
    kept.iter_mut()
        .zip(choices.iter())
        .for_each(|(kept, byte)| *kept = *byte);
    let receiver = Receiver {
        choices: kept,
        rows,
        message: message.hash(&corrections_hash),
    };
    (receiver, message)
}

/// The sender's side.
///
/// # Errors
/// [`CheckFailed`]: the receiver deviated, or guesses at `delta`.
pub fn send(
    seeds: &SenderSeeds,
    nonce: &Nonce,
    direction: &Direction,
    message: &Message,
) -> Result<Sender, CheckFailed> {
    let delta = u128::from_le_bytes(*seeds.delta());
    let mut streams = Columns::new(&nonce.0);
    let mut columns = Zeroizing::new([bits::Column::default(); COLUMNS]);
    let batches = seeds.expose_secret().as_chunks().0.iter();
    for (seeds, places) in batches.zip(columns.as_chunks_mut().0) {
        *places = streams.columns(seeds.each_ref());
    }
    let corrections = message.corrections.as_chunks().0.iter();
    for (number, (column, correction)) in columns.iter_mut().zip(corrections).enumerate() {
        let chosen = Choice::from(u8::from((delta >> number) & 1 == 1));
        let mask = u64::conditional_select(&0, &u64::MAX, chosen);
        for (word, correction) in column.iter_mut().zip(bits::column_of(correction)) {
            *word ^= correction & mask;
        }
    }
    let mut rows = bits::rows(&columns);

    let corrections_hash = message.corrections_hash(nonce, direction);
    let matrix = Matrix::new(&corrections_hash);
    let mut combined = matrix.combine_rows(&rows);
    let choices = u128::from_le_bytes(message.choices);
    for (number, row) in combined.iter_mut().enumerate() {
        // `choices` is public.
        *row ^= delta & 0_u128.wrapping_sub((choices >> number) & 1);
    }
    let expected = hash_rows(&corrections_hash, &combined);
    rows.truncate(ROWS);
    let sender = Sender {
        delta,
        rows,
        message: message.hash(&corrections_hash),
    };
    if bool::from(expected.ct_eq(&message.rows)) {
        Ok(sender)
    } else {
        Err(CheckFailed)
    }
}

fn hash_rows(corrections_hash: &[u8; 32], combined: &[u128; CHECK_ROWS]) -> [u8; 32] {
    let mut bytes = Zeroizing::new(Vec::with_capacity(CHECK_ROWS * 16));
    combined
        .iter()
        .for_each(|row| bytes.extend_from_slice(&row.to_le_bytes()));
    transcript::hash(Tag::OTX_V)
        .field(corrections_hash)
        .field(&*bytes)
        .digest()
}
