//! One row: a share split into two halves, both encrypted, one of them opened.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "field and group operations wrap by definition"
)]

use rand_core::CryptoRng;

use super::Label;
use super::encryption::{Ciphertext, Recipient};
use crate::codec::{DecodeError, Reader, Writer};
use crate::group::{Point, Ristretto255, Scalar};
use crate::identity::ExchangeKey;
use crate::keys::KeyGroup;
use crate::secret::{SecretBytes, SecretScalar};
use crate::transcript::{self, Tag, Transcript};

/// `x_0`, which everybody can compute who knows its seed.
fn first_half<G: KeyGroup>(label: &Label<'_, G>, row: u8, seed: &[u8; 32]) -> SecretScalar<G> {
    let hash = label.absorb(transcript::wide(Tag::PVE_HALF).field(seed));
    SecretScalar::new(hash.u8(row).scalar())
}

/// The sending key of a half.
fn coins<G: KeyGroup>(
    label: &Label<'_, G>,
    row: u8,
    seed: &[u8; 32],
) -> SecretScalar<Ristretto255> {
    let hash = label.absorb(transcript::wide(Tag::PVE_COINS).field(seed));
    SecretScalar::new(hash.u8(row).scalar())
}

/// Both halves of a row with their seeds. Secret.
pub(super) struct Halves<G: KeyGroup> {
    row: u8,
    seeds: [SecretBytes<32>; 2],
    values: [SecretScalar<G>; 2],
}

impl<G: KeyGroup> Halves<G> {
    pub(super) fn draw(
        label: &Label<'_, G>,
        row: u8,
        secret: &SecretScalar<G>,
        rng: &mut impl CryptoRng,
    ) -> Self {
        let seeds = [SecretBytes::random(rng), SecretBytes::random(rng)];
        let [seed, _] = &seeds;
        let first = first_half(label, row, seed.expose_secret());
        let second = SecretScalar::new(*secret.expose_secret() - *first.expose_secret());
        Self {
            row,
            seeds,
            values: [first, second],
        }
    }

    pub(super) fn encrypt(&self, label: &Label<'_, G>, recipient: &Recipient) -> Pair<G> {
        let ([seed_0, seed_1], [first, second]) = (&self.seeds, &self.values);
        let seal = |seed: &SecretBytes<32>, value: &SecretScalar<G>| {
            let coins = coins(label, self.row, seed.expose_secret());
            recipient.encrypt(label, value.expose_secret(), &coins)
        };
        let commitment = first.mul_base();
        Pair {
            sealed: [seal(seed_0, first), seal(seed_1, second)],
            commitments: [commitment, label.share - commitment],
        }
    }

    /// The opened row. `side` is public by now; the other half stays secret.
    pub(super) fn open(&self, side: bool, pair: &Pair<G>) -> Opened {
        let ([seed_0, seed_1], [_, second]) = (&self.seeds, &self.values);
        let [sealed_0, sealed_1] = pair.sealed;
        if side {
            Opened {
                seed: *seed_1.expose_secret(),
                other: sealed_0,
                half: Some(second.expose_secret().encode()),
            }
        } else {
            Opened {
                seed: *seed_0.expose_secret(),
                other: sealed_1,
                half: None,
            }
        }
    }
}

/// What is fixed of a row before the decision.
pub(super) struct Pair<G: KeyGroup> {
    sealed: [Ciphertext; 2],
    commitments: [Point<G>; 2],
}

impl<G: KeyGroup> Pair<G> {
    pub(super) fn absorb(&self, hash: Transcript<1>) -> Transcript<1> {
        let ([sealed_0, sealed_1], [first, second]) = (&self.sealed, &self.commitments);
        hash.field(sealed_0.encode())
            .field(sealed_1.encode())
            .point(first)
            .point(second)
    }
}

/// A row as a backup carries it: the seed of the opened side, the other ciphertext, and the half itself on side 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Opened {
    seed: [u8; 32],
    other: Ciphertext,
    half: Option<[u8; 32]>,
}

impl Opened {
    pub(super) fn write(&self, out: &mut Writer) {
        out.bytes(&self.seed);
        self.other.write(out);
        if let Some(half) = &self.half {
            out.bytes(half);
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>, side: bool) -> Result<Self, DecodeError> {
        Ok(Self {
            seed: reader.array("seed")?,
            other: Ciphertext::read(reader)?,
            half: side.then(|| reader.array("half")).transpose()?,
        })
    }

    /// The half that is open.
    fn opened<G: KeyGroup>(&self, label: &Label<'_, G>, row: u8) -> Option<Scalar<G>> {
        match &self.half {
            Some(half) => Scalar::decode("half", half).ok(),
            None => Some(*first_half(label, row, &self.seed).expose_secret()),
        }
    }

    /// The row as it was before the decision, with the opened half encrypted again. `None` if it cannot have been one.
    pub(super) fn rebuild<G: KeyGroup>(
        &self,
        label: &Label<'_, G>,
        recipient: &Recipient,
        row: u8,
        side: bool,
    ) -> Option<Pair<G>> {
        let value = self.opened(label, row)?;
        let sealed = recipient.encrypt(label, &value, &coins(label, row, &self.seed));
        let commitment = Point::mul_base(&value);
        let rest = label.share - commitment;
        Some(if side {
            Pair {
                sealed: [self.other, sealed],
                commitments: [rest, commitment],
            }
        } else {
            Pair {
                sealed: [sealed, self.other],
                commitments: [commitment, rest],
            }
        })
    }

    /// The share, from the open half and the encrypted one. Whether it is the right one is for the caller to check.
    pub(super) fn join<G: KeyGroup>(
        &self,
        label: &Label<'_, G>,
        recipient: &Recipient,
        key: &ExchangeKey,
        row: u8,
    ) -> Option<SecretScalar<G>> {
        let open = self.opened(label, row)?;
        let sealed = recipient.decrypt(label, key, &self.other)?;
        Some(SecretScalar::new(open + *sealed.expose_secret()))
    }
}
