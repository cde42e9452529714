//! A recovery key in several parts, of which some number are needed: for paper in several safes.
//!
//! Shamir's sharing over the scalars of ristretto255. The parts of one key carry a name that is a hash of the public key, so
//! that parts of different keys, or a part with a changed byte, cannot silently give a wrong key.
//!
//! ```text
//! part   1 | set 8 | threshold 2 | index 2 | value 32
//! ```
#![expect(
    clippy::arithmetic_side_effects,
    reason = "field and group operations wrap by definition"
)]

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::Misuse;
use crate::codec::{DecodeError, Problem, Reader, Writer};
use crate::group::Ristretto255;
use crate::id::{Params, PartyIndex};
use crate::identity::ExchangeKey;
use crate::polynomial::{SecretPolynomial, lagrange_at_zero};
use crate::secret::SecretScalar;
use crate::transcript::{self, Tag};

const VERSION: u8 = 1;

/// Length of an encoded part in bytes.
pub const PART_BYTES: usize = 45;

/// One part of a recovery key. Secret; wiped when dropped.
pub struct RecoveryPart {
    set: [u8; 8],
    threshold: u16,
    index: PartyIndex,
    value: SecretScalar<Ristretto255>,
}

/// Why parts do not give a recovery key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartsError {
    /// Fewer than needed.
    #[error("{have} different parts given, {need} are needed")]
    TooFew {
        /// How many different ones there are.
        have: usize,
        /// How many it takes.
        need: usize,
    },
    /// They were not made together.
    #[error("part {index} belongs to another recovery key; keep only the parts of one set")]
    Mixed {
        /// The part that differs from the first one.
        index: u16,
    },
    /// The result is not the key that was split.
    #[error(
        "the parts give another key than the one that was split; at least one part was changed or misread"
    )]
    Wrong,
}

/// The name of the parts of a key.
fn set_name(key: &ExchangeKey) -> [u8; 8] {
    let digest = transcript::hash(Tag::PVE_PARTS)
        .field(key.public())
        .digest();
    let mut name = [0; 8];
    name.iter_mut()
        .zip(digest)
        .for_each(|(slot, byte)| *slot = byte);
    name
}

/// Splits a recovery key so that any `params.threshold()` of `params.parties()` parts give it back and fewer say nothing.
#[must_use]
pub fn split(key: &ExchangeKey, params: Params, rng: &mut impl CryptoRng) -> Vec<RecoveryPart> {
    let set = set_name(key);
    let polynomial = SecretPolynomial::with_constant(key.secret(), params.threshold(), rng);
    params
        .indices()
        .map(|index| RecoveryPart {
            set,
            threshold: params.threshold(),
            index,
            value: polynomial.evaluate(index),
        })
        .collect()
}

/// Puts a recovery key together again, from as many parts as are needed, lowest index first.
///
/// # Errors
/// [`PartsError`]; the order of the parts does not matter and a part given twice counts once.
pub fn join(parts: &[RecoveryPart]) -> Result<ExchangeKey, PartsError> {
    let Some(first) = parts.first() else {
        return Err(PartsError::TooFew { have: 0, need: 2 });
    };
    let same = |part: &&RecoveryPart| part.set == first.set && part.threshold == first.threshold;
    if let Some(other) = parts.iter().find(|part| !same(part)) {
        return Err(PartsError::Mixed {
            index: other.index.get(),
        });
    }
    let by_index: BTreeMap<_, _> = parts.iter().map(|part| (part.index, part)).collect();
    let need = usize::from(first.threshold);
    if by_index.len() < need {
        return Err(PartsError::TooFew {
            have: by_index.len(),
            need,
        });
    }
    let chosen: BTreeSet<_> = by_index.keys().copied().take(need).collect();
    let coefficients = lagrange_at_zero(&chosen).map_err(|_: Misuse| PartsError::Wrong)?;
    let terms = coefficients.into_iter().filter_map(|(index, coefficient)| {
        by_index
            .get(&index)
            .map(|part| coefficient * *part.value.expose_secret())
    });
    let key = ExchangeKey::from_secret(SecretScalar::new(terms.sum()));
    if set_name(&key) == first.set {
        Ok(key)
    } else {
        Err(PartsError::Wrong)
    }
}

impl RecoveryPart {
    /// Its number, from 1.
    #[must_use]
    pub const fn index(&self) -> PartyIndex {
        self.index
    }

    /// How many parts are needed.
    #[must_use]
    pub const fn threshold(&self) -> u16 {
        self.threshold
    }

    /// The 45 bytes of the part, to be printed or written down.
    #[must_use]
    pub fn dangerous_to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Writer::with_capacity(PART_BYTES);
        out.u8(VERSION)
            .bytes(&self.set)
            .u16(self.threshold)
            .u16(self.index.get())
            .bytes(self.value.dangerous_to_bytes().as_ref());
        Zeroizing::new(out.finish())
    }

    /// Decodes a part.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn dangerous_from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::measured("part", bytes, PART_BYTES)?;
        if reader.u8("version")? != VERSION {
            return Err(DecodeError::new("version", Problem::Unknown));
        }
        let set = reader.array("set")?;
        let (threshold, number) = (reader.u16("threshold")?, reader.u16("index")?);
        let value = Zeroizing::new(reader.array("value")?);
        if threshold < 2 {
            return Err(DecodeError::new("threshold", Problem::Unknown));
        }
        Ok(Self {
            set,
            threshold,
            index: PartyIndex::new(number)
                .map_err(|_| DecodeError::new("index", Problem::Unknown))?,
            value: SecretScalar::decode("value", &value)?,
        })
    }
}

impl fmt::Debug for RecoveryPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "RecoveryPart({} of at least {})",
            self.index, self.threshold
        )
    }
}
