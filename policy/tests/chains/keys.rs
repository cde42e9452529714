//! A key that lies in one place: what signers do together, alone.

use bitcoin::bip32::{ChildNumber, Xpriv};
use bitcoin::hashes::{Hash as _, sha256d};
use bitcoin::key::{Keypair, TapTweak as _};
use bitcoin::secp256k1::{All, Message, Secp256k1, SecretKey};
use policy::transaction::{Hash, Scheme, Task, Tweak, WalletKeys};

#[derive(Debug)]
pub(crate) struct Local {
    scheme: Scheme,
    root: Xpriv,
    secp: Secp256k1<All>,
}

impl Local {
    pub(crate) fn new(scheme: Scheme, seed: u8) -> Self {
        Self {
            scheme,
            root: Xpriv::new_master(bitcoin::Network::Regtest, &[seed; 32]).unwrap(),
            secp: Secp256k1::new(),
        }
    }

    fn secret(&self, path: &[u32]) -> Option<SecretKey> {
        let steps: Option<Vec<ChildNumber>> = path
            .iter()
            .map(|step| ChildNumber::from_normal_idx(*step).ok())
            .collect();
        let child = self.root.derive_priv(&self.secp, &steps?).ok()?;
        Some(child.private_key)
    }

    /// Signs one task the way its scheme does.
    pub(crate) fn sign(&self, task: &Task) -> Vec<u8> {
        assert_eq!(task.scheme, self.scheme);
        let secret = self.secret(&task.path).unwrap();
        match (task.scheme, task.hash, task.tweak) {
            (Scheme::Ecdsa, Hash::DoubleSha256, Tweak::None) => {
                let digest = sha256d::Hash::hash(&task.message).to_byte_array();
                let signature = self.secp.sign_ecdsa(&Message::from_digest(digest), &secret);
                signature.serialize_compact().to_vec()
            }
            (Scheme::Bip340, Hash::None, Tweak::TaprootKeyPath) => {
                let digest = <[u8; 32]>::try_from(task.message.as_slice()).unwrap();
                let pair = Keypair::from_secret_key(&self.secp, &secret);
                let pair = pair.tap_tweak(&self.secp, None).to_keypair();
                let message = Message::from_digest(digest);
                let signature = self.secp.sign_schnorr_no_aux_rand(&message, &pair);
                signature.serialize().to_vec()
            }
            other => panic!("no chain asks for {other:?}"),
        }
    }
}

impl WalletKeys for Local {
    fn scheme(&self) -> Option<Scheme> {
        Some(self.scheme)
    }

    fn public_key_at(&self, path: &[u32]) -> Option<Vec<u8>> {
        let secret = self.secret(path)?;
        Some(secret.public_key(&self.secp).serialize().to_vec())
    }
}
