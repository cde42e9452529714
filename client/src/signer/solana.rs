//! The shape of `solana_signer::Signer`, as asynchronous methods: where a backend calls `keypair.try_sign_message(&bytes)`,
//! it calls `signer.try_sign_message(&bytes).await`.

use solana_pubkey::Pubkey;
use solana_signature::Signature;

use super::{Signer, blind};
use crate::error::{Error, Fix};

/// A Solana account of the cluster.
#[derive(Clone, Debug)]
pub struct SolanaSigner {
    signer: Signer,
    public_key: [u8; 32],
}

impl SolanaSigner {
    /// Dresses a signer whose wallet is on `solana:<network>`.
    ///
    /// # Errors
    /// [`Fix::Malformed`] for a wallet of another chain.
    pub fn new(signer: Signer) -> Result<Self, Error> {
        let wallet = signer.wallet();
        let public_key = wallet
            .ed25519()
            .filter(|_| wallet.chain.starts_with("solana:"));
        let public_key = public_key.ok_or_else(|| Fix::Malformed {
            message: format!(
                "wallet {} is on {}: a solana signer needs a wallet on solana with an active key",
                wallet.id, wallet.chain
            ),
        })?;
        Ok(Self { signer, public_key })
    }

    /// The signer underneath.
    #[must_use]
    pub const fn signer(&self) -> &Signer {
        &self.signer
    }

    /// The account.
    #[must_use]
    pub const fn pubkey(&self) -> Pubkey {
        Pubkey::new_from_array(self.public_key)
    }

    /// Signs the serialised message of a transaction, legacy or version 0.
    ///
    /// # Errors
    /// [`Fix::Blind`] for bytes that are no transaction of this account; otherwise as [`Signer::sign`].
    pub async fn try_sign_message(&self, message: &[u8]) -> Result<Signature, Error> {
        if self.signer.wallet().decode(message).is_err() {
            return Err(blind("bytes that are no transaction of this account").into());
        }
        let released = self.signer.sign(message.to_vec()).await?;
        let signature = <[u8; 64]>::try_from(released.signature())
            .map_err(|_| Error::wrong_answer("a signature of a solana transaction has 64 bytes"))?;
        Ok(Signature::from(signature))
    }

    /// Whether somebody may have to act before a signature comes: yes, when the policy says so.
    #[must_use]
    pub const fn is_interactive(&self) -> bool {
        true
    }
}
