//! Nonces made ahead of time.

use core::fmt;
use std::collections::BTreeMap;

use rand_core::CryptoRng;

use super::commitment::Commitment;
use super::nonces::{Nonces, commit};
use crate::Error;
use crate::keys::KeyShare;

/// Unused nonces in memory, so that round one can be over before a request arrives.
///
/// # Security
/// Whatever is taken is gone; what is not taken dies with the process. There is no way to write a pool down, because a restored
/// copy would use nonces a second time.
#[derive(Default)]
pub struct Pool(BTreeMap<Vec<u8>, Nonces>);

impl Pool {
    /// An empty pool.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Makes `count` pairs of nonces and returns their commitments.
    ///
    /// # Errors
    /// Those of [`commit`]; [`Error::RandomnessUnavailable`] also if the generator makes a pair that is here already. What was made
    /// before the error stays in the pool.
    pub fn generate(
        &mut self,
        share: &KeyShare,
        count: usize,
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<Commitment>, Error> {
        let mut commitments = Vec::with_capacity(count);
        for _ in 0..count {
            let (nonces, commitment) = commit(share, rng)?;
            if self.0.insert(commitment.encode(), nonces).is_some() {
                return Err(Error::RandomnessUnavailable);
            }
            commitments.push(commitment);
        }
        Ok(commitments)
    }

    /// Takes the nonces behind a commitment out of the pool; nothing if they are not, or no longer, here.
    #[must_use]
    pub fn take(&mut self, commitment: &Commitment) -> Option<Nonces> {
        self.0.remove(&commitment.encode())
    }

    /// How many pairs are left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Destroys all nonces, as a new epoch demands.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({} pairs)", self.len())
    }
}
