//! A wallet's key and its children, by a library that the signing side does not use.

use bitcoin::bip32::{ChildNumber, Xpub};
use bitcoin::secp256k1::{Secp256k1, VerifyOnly};
use policy::transaction::{Scheme, WalletKeys};

/// The wallet of the seeds: the master key of BIP 32 for 32 bytes of 7, without the secret.
const ROOT: &str = "tpubD6NzVbkrYhZ4Y529GvCkRKDNJ6AAF8VptYbpg3GSbqTkUQnNi3cYTzzDtjPqfcoZdii14nQRPLt4A9LCHGUUzL6RC3z1ZPUdP1yCaAwR3nZ";

/// Where the wallet of the Bitcoin seeds lies below its key.
pub const PATH: [u32; 1] = [3];

/// The keys of a wallet.
#[derive(Debug)]
pub struct Keys {
    scheme: Scheme,
    root: Xpub,
    secp: Secp256k1<VerifyOnly>,
}

impl Keys {
    /// For signatures of this kind.
    #[must_use]
    pub fn new(scheme: Scheme) -> Self {
        Self {
            scheme,
            root: ROOT.parse().expect("an extended key"),
            secp: Secp256k1::verification_only(),
        }
    }
}

impl WalletKeys for Keys {
    fn scheme(&self) -> Option<Scheme> {
        Some(self.scheme)
    }

    fn public_key_at(&self, path: &[u32]) -> Option<Vec<u8>> {
        let step = |step: &u32| ChildNumber::from_normal_idx(*step).ok();
        let steps = path.iter().map(step).collect::<Option<Vec<_>>>()?;
        let child = self.root.derive_pub(&self.secp, &steps).ok()?;
        Some(child.public_key.serialize().to_vec())
    }
}
