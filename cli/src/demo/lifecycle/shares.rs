//! What somebody sees who copies a node's store together with the file that opens it.

use mpc_core::{
    group::{Ed25519, Group, Scalar, Secp256k1},
    id::{PartyIndex, Suite},
    keys::{KeyGroup, KeyShare},
    polynomial::lagrange_at_zero,
};
use signer_node::backup::{Held, export};

use crate::{
    fail::Fail,
    local::{Key, LocalCluster},
};

/// The shares of one node at one time.
pub(super) struct Sight(Vec<Held>);

impl Sight {
    /// Copies them from the node's sealed store.
    pub(super) fn of(cluster: &LocalCluster, node: u16) -> Result<Self, Fail> {
        let secrets = export(&cluster.config(node)?).map_err(Fail::failed)?;
        Ok(Self(secrets.keys))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn share(&self, key: &Key) -> Option<&KeyShare> {
        let mut held = self.0.iter();
        let held = held.find(|held| *held.share.public().key_id().as_bytes() == key.id)?;
        Some(&held.share)
    }

    /// Of how many keys these shares, put together with others, give the secret key.
    pub(super) fn with(&self, others: &[&Self], keys: &[Key]) -> Result<usize, Fail> {
        let mut count = 0_usize;
        for key in keys {
            let shares: Option<Vec<&KeyShare>> = std::iter::once(self)
                .chain(others.iter().copied())
                .map(|sight| sight.share(key))
                .collect();
            let shares = shares
                .ok_or_else(|| Fail::failed(format_args!("a share of {} is missing", key.name)))?;
            if key_of(&shares)? == key.public.bytes() {
                count = count.saturating_add(1);
            }
        }
        Ok(count)
    }
}

/// The public key of what these shares interpolate to.
fn key_of(shares: &[&KeyShare]) -> Result<Vec<u8>, Fail> {
    let first = shares
        .first()
        .ok_or_else(|| Fail::failed("no share was given"))?;
    match first.public().purpose().suite() {
        Suite::Ed25519 => key_on::<Ed25519>(shares),
        Suite::Secp256k1 => key_on::<Secp256k1>(shares),
    }
}

#[expect(
    clippy::arithmetic_side_effects,
    reason = "field and group operations wrap by definition"
)]
fn key_on<G: KeyGroup + Group>(shares: &[&KeyShare]) -> Result<Vec<u8>, Fail> {
    let indices = shares.iter().map(|share| share.index()).collect();
    let weights = lagrange_at_zero::<G>(&indices).map_err(Fail::failed)?;
    let term = |share: &&KeyShare| -> Option<Scalar<G>> {
        let index: PartyIndex = share.index();
        let (_, secret) = share.view::<G>()?;
        Some(*weights.get(&index)? * *secret.expose_secret())
    };
    let terms: Option<Vec<Scalar<G>>> = shares.iter().map(term).collect();
    let terms = terms.ok_or_else(|| Fail::failed("shares of two curves"))?;
    let sum: Scalar<G> = terms.into_iter().sum();
    let point = mpc_core::secret::SecretScalar::<G>::new(sum).mul_base();
    Ok(point.encode().as_slice().to_vec())
}
