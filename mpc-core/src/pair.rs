//! What two nodes share with each other so that they can multiply secrets: the pair setup.
//!
//! A setup is made once and used for every signature of every key that the two nodes have in common. Each of them is
//! receiver of oblivious transfers towards the other and sender of the other direction, so it keeps both kinds of seeds.
//! (Protocol notes, sections 4 and 5.)

pub(crate) mod base_ot;
pub mod extension;
mod record;
#[cfg(test)]
mod vectors;
pub mod vole;

use zeroize::{Zeroize, ZeroizeOnDrop};

pub use record::{PairRecord, RECORD_BYTES};

/// Number of base transfers of a setup, and of columns of an extended one.
pub const COLUMNS: usize = 128;

/// Length of a seed in bytes.
pub const SEED_BYTES: usize = 16;

/// Both seeds of every base transfer: what the receiver of extended transfers keeps. 4096 bytes, secret.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct ReceiverSeeds(Box<[[[u8; SEED_BYTES]; 2]; COLUMNS]>);

impl ReceiverSeeds {
    /// Takes the seeds: for every column the one of choice 0, then the one of choice 1.
    #[must_use]
    pub const fn new(seeds: Box<[[[u8; SEED_BYTES]; 2]; COLUMNS]>) -> Self {
        Self(seeds)
    }

    /// The seeds.
    #[must_use]
    pub const fn expose_secret(&self) -> &[[[u8; SEED_BYTES]; 2]; COLUMNS] {
        &self.0
    }
}

impl core::fmt::Debug for ReceiverSeeds {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ReceiverSeeds(..)")
    }
}

/// One seed of every base transfer and the choices: what the sender of extended transfers keeps. 2064 bytes, secret.
///
/// `delta` is the secret that a selective failure would leak bit by bit. Bit `l` (lowest first in every byte) is the choice
/// of column `l`.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct SenderSeeds {
    delta: [u8; COLUMNS / 8],
    seeds: Box<[[u8; SEED_BYTES]; COLUMNS]>,
}

impl SenderSeeds {
    /// Takes the choices and the seed of each choice.
    #[must_use]
    pub const fn new(delta: [u8; COLUMNS / 8], seeds: Box<[[u8; SEED_BYTES]; COLUMNS]>) -> Self {
        Self { delta, seeds }
    }

    /// The choices.
    #[must_use]
    pub const fn delta(&self) -> &[u8; COLUMNS / 8] {
        &self.delta
    }

    /// The seeds.
    #[must_use]
    pub const fn expose_secret(&self) -> &[[u8; SEED_BYTES]; COLUMNS] {
        &self.seeds
    }
}

impl core::fmt::Debug for SenderSeeds {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SenderSeeds(..)")
    }
}
