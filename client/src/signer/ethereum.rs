//! alloy's signer traits: `EthereumWallet::from(signer)`, and every provider signs through the cluster.
//!
//! Transactions are signed whole. [`sign_hash`](alloy_signer::Signer::sign_hash), and with it messages (EIP-191) and typed
//! data (EIP-712), would be blind and are refused with [`Fix::Blind`](crate::Fix::Blind).

use alloy_consensus::SignableTransaction;
use alloy_network::TxSigner;
use alloy_primitives::{Address, B256, ChainId, Signature};
use async_trait::async_trait;

use super::{Signer, blind};
use crate::error::{Error, Fix, Stop};

/// An Ethereum account of the cluster.
#[derive(Clone, Debug)]
pub struct EthereumSigner {
    signer: Signer,
    address: Address,
    chain_id: ChainId,
}

impl EthereumSigner {
    /// Dresses a signer whose wallet is on `ethereum:<chain id>`.
    ///
    /// # Errors
    /// [`Fix::Malformed`] for a wallet of another chain.
    pub fn new(signer: Signer) -> Result<Self, Error> {
        let wallet = signer.wallet();
        let malformed = |what: &str| Fix::Malformed {
            message: format!("wallet {} is on {}: {what}", wallet.id, wallet.chain),
        };
        let chain_id = wallet
            .chain
            .strip_prefix("ethereum:")
            .and_then(|id| id.parse().ok())
            .ok_or_else(|| malformed("an ethereum signer needs a wallet on ethereum"))?;
        let address = wallet
            .address
            .parse()
            .map_err(|_| malformed("its key is not known yet; try again when it is active"))?;
        Ok(Self {
            signer,
            address,
            chain_id,
        })
    }

    /// The signer underneath.
    #[must_use]
    pub const fn signer(&self) -> &Signer {
        &self.signer
    }

    /// Signs an unsigned transaction: its EIP-2718 signing payload goes to the cluster, not its hash.
    ///
    /// # Errors
    /// As [`Signer::sign`].
    pub async fn sign_payload(&self, payload: Vec<u8>) -> Result<Signature, Error> {
        let released = self.signer.sign(payload).await?;
        let bad = |message: &str| Stop::BadSignature {
            wallet: self.signer.wallet().id.clone(),
            message: message.to_owned(),
        };
        let [bytes] = released.signatures() else {
            return Err(bad("an ethereum transaction has one signature").into());
        };
        let (both, parity) = match (bytes.get(..64), bytes.get(64..)) {
            (Some(both), Some([parity @ (0 | 1)])) => (both, *parity == 1),
            _ => return Err(bad("it is not r, s and a recovery id of 0 or 1").into()),
        };
        Ok(Signature::from_bytes_and_parity(both, parity))
    }
}

#[async_trait]
impl TxSigner<Signature> for EthereumSigner {
    fn address(&self) -> Address {
        self.address
    }

    async fn sign_transaction(
        &self,
        tx: &mut dyn SignableTransaction<Signature>,
    ) -> alloy_signer::Result<Signature> {
        if !tx.set_chain_id_checked(self.chain_id) {
            return Err(alloy_signer::Error::TransactionChainIdMismatch {
                signer: self.chain_id,
                tx: tx.chain_id().unwrap_or_default(),
            });
        }
        let payload = tx.encoded_for_signing();
        self.sign_payload(payload)
            .await
            .map_err(alloy_signer::Error::other)
    }
}

#[async_trait]
impl alloy_signer::Signer<Signature> for EthereumSigner {
    async fn sign_hash(&self, _hash: &B256) -> alloy_signer::Result<Signature> {
        Err(alloy_signer::Error::other(Error::from(blind(
            "a bare digest",
        ))))
    }

    async fn sign_message(&self, _message: &[u8]) -> alloy_signer::Result<Signature> {
        Err(alloy_signer::Error::other(Error::from(blind(
            "a message that is no transaction",
        ))))
    }

    fn address(&self) -> Address {
        self.address
    }

    fn chain_id(&self) -> Option<ChainId> {
        Some(self.chain_id)
    }

    /// Does nothing: the chain is the wallet's, and a transaction for another one is refused by every node.
    fn set_chain_id(&mut self, _chain_id: Option<ChainId>) {}
}
