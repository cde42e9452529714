//! PSBT signing: `signer.sign_psbt(&mut psbt).await?` where a local wallet says `psbt.sign(&keys, &secp)`.
//!
//! The whole PSBT goes to the cluster, with every previous transaction in it, because each node computes amounts, fee and
//! digests itself.

use bitcoin::{Psbt, Transaction, consensus};

use super::Signer;
use crate::error::{Error, Fix, Stop};

/// A Bitcoin wallet of the cluster.
#[derive(Clone, Debug)]
pub struct BitcoinSigner {
    signer: Signer,
}

impl BitcoinSigner {
    /// Dresses a signer whose wallet is on `bitcoin:<network>`.
    ///
    /// # Errors
    /// [`Fix::Malformed`] for a wallet of another chain.
    pub fn new(signer: Signer) -> Result<Self, Error> {
        let wallet = signer.wallet();
        if wallet.chain.starts_with("bitcoin:") {
            Ok(Self { signer })
        } else {
            Err(Fix::Malformed {
                message: format!(
                    "wallet {} is on {}: a bitcoin signer needs a wallet on bitcoin",
                    wallet.id, wallet.chain
                ),
            }
            .into())
        }
    }

    /// The signer underneath.
    #[must_use]
    pub const fn signer(&self) -> &Signer {
        &self.signer
    }

    /// Signs every input, finalises the PSBT and gives the transaction, ready to be broadcast.
    ///
    /// # Errors
    /// As [`Signer::sign`]; [`Stop::BadSignature`] when another transaction came back. The PSBT is unchanged then.
    pub async fn sign_psbt(&self, psbt: &mut Psbt) -> Result<Transaction, Error> {
        let released = self.signer.sign(psbt.serialize()).await?;
        let signed: Transaction = consensus::deserialize(released.signed_tx())
            .map_err(|e| self.bad(&format!("the transaction does not decode: {e}")))?;
        if signed.compute_txid() != psbt.unsigned_tx.compute_txid()
            || signed.input.len() != psbt.inputs.len()
        {
            return Err(self.bad("another transaction was signed"));
        }
        for (input, signed) in psbt.inputs.iter_mut().zip(&signed.input) {
            input.final_script_witness = Some(signed.witness.clone());
            // BIP 174: a finaliser leaves the amounts and the final scripts and removes what led to them.
            input.partial_sigs.clear();
            input.bip32_derivation.clear();
            input.tap_key_origins.clear();
            input.tap_key_sig = None;
            input.tap_internal_key = None;
            input.sighash_type = None;
        }
        Ok(signed)
    }

    fn bad(&self, message: &str) -> Error {
        Stop::BadSignature {
            wallet: self.signer.wallet().id.clone(),
            message: message.to_owned(),
        }
        .into()
    }
}
