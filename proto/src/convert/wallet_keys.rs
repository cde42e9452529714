//! The public side of a threshold key as the policy wants to see it, and the check of finished signatures.
use mpc_core::{hd::DerivationPath, id::Purpose, keys::PublicKeyPackage};
use policy::transaction::{Scheme, WalletKeys};

/// A key's public package as the keys of the wallets that use it.
#[derive(Clone, Copy, Debug)]
pub struct PackageKeys<'p>(pub &'p PublicKeyPackage);

impl WalletKeys for PackageKeys<'_> {
    fn scheme(&self) -> Option<Scheme> {
        match self.0.purpose() {
            Purpose::Bip340 => Some(Scheme::Bip340),
            Purpose::Ecdsa => Some(Scheme::Ecdsa),
            Purpose::Ed25519 => Some(Scheme::Ed25519),
            // Raw digests say nothing of what they are for, so no wallet may use such a key.
            Purpose::EcdsaRaw => None,
        }
    }

    fn public_key_at(&self, path: &[u32]) -> Option<Vec<u8>> {
        let path = DerivationPath::new(path).ok()?;
        self.0.derive(&path).ok().map(|child| child.public_key)
    }
}
