//! The keys this node holds a share of, and their nonces.

use std::sync::{Arc, Mutex, PoisonError};

use mpc_core::frost::{Commitment, Nonces, Pool, wire};
use mpc_core::identity::IdentityKey;
use mpc_core::keys::KeyShare;
use rand_core::UnwrapErr;

use crate::failure::Refusal;

/// An active share. Its nonces live here and nowhere else: they are never stored, and a restart starts with none.
pub(crate) struct Key {
    /// The share.
    pub(crate) share: Arc<KeyShare>,
    pool: Mutex<Pool>,
}

impl Key {
    pub(crate) fn new(share: KeyShare) -> Self {
        Self {
            share: Arc::new(share),
            pool: Mutex::new(Pool::new()),
        }
    }

    /// Makes nonces and returns their signed commitments. A pool that would grow beyond `limit` is emptied first: whoever
    /// had those commitments has not used them.
    pub(crate) fn commitments(
        &self,
        identity: &IdentityKey,
        boot: &[u8; 16],
        count: usize,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, Refusal> {
        let public = self.share.public();
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.len().saturating_add(count) > limit {
            pool.clear();
        }
        let made = pool.generate(
            &self.share,
            count.min(limit),
            &mut UnwrapErr(getrandom::SysRng),
        );
        let made =
            made.map_err(|error| Refusal::unavailable(error.to_string(), "see the node's log"))?;
        let seal = |commitment| wire::seal_commitment(identity, public, boot, commitment);
        Ok(made.iter().map(seal).collect())
    }

    /// Takes the nonces behind a commitment; they are gone from here whatever follows.
    pub(crate) fn take(&self, commitment: &Commitment) -> Option<Nonces> {
        self.pool
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(commitment)
    }
}
