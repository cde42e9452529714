//! A wallet of the cluster in the place of a local key.
//!
//! A [`Signer`] submits a transaction, waits for the policy (people, delays, limits) and gives the verified signature. The
//! modules beside it dress it as the signer that each chain's own libraries expect:
//!
//! | feature | module | stands for |
//! |---|---|---|
//! | `alloy` | `signer::ethereum` | `alloy_signer::Signer`, `alloy_network::TxSigner` |
//! | `bitcoin` | `signer::bitcoin` | signing and finalising a `bitcoin::Psbt` |
//! | `solana` | `signer::solana` | `solana_signer::Signer`, as asynchronous methods |
//!
//! # Security
//! Only whole transactions are signed, which every node decodes for itself. What would be signed blindly, such as a bare
//! digest, is refused here with [`Fix::Blind`] before anything is sent.

#[cfg(feature = "bitcoin")]
pub mod bitcoin;
#[cfg(feature = "alloy")]
pub mod ethereum;
#[cfg(feature = "solana")]
pub mod solana;

use std::{fmt, sync::Arc, time::Duration};

use ed25519_dalek::SigningKey;
use policy::{
    digest::{Tag, hash},
    intent::SignedIntent,
};

use crate::{
    admin::Wallet,
    connect::Client,
    error::{Error, Fix},
    order::Order,
    status::RequestId,
    verify::Released,
};

/// How long a signature is waited for unless told otherwise.
pub const DEFAULT_PATIENCE: Duration = Duration::from_secs(120);

/// How many of the newest requests are searched for one that was submitted before.
const SEARCHED: u32 = 1000;

/// One wallet, ready to sign as one initiator. Cheap to clone.
#[derive(Clone)]
pub struct Signer {
    client: Client,
    wallet: Wallet,
    initiator: String,
    key: Arc<SigningKey>,
    patience: Duration,
    note: String,
    prefix: String,
}

impl Signer {
    /// A signer for a wallet of the active policy; `initiator` and `key` are those of the machine or person that asks.
    ///
    /// # Errors
    /// [`Fix::Unknown`] when there is no such wallet.
    pub async fn new(
        client: Client,
        wallet: &str,
        initiator: impl Into<String>,
        key: SigningKey,
    ) -> Result<Self, Error> {
        let wallet = client.wallet(wallet).await?;
        Ok(Self {
            client,
            wallet,
            initiator: initiator.into(),
            key: Arc::new(key),
            patience: DEFAULT_PATIENCE,
            note: String::new(),
            prefix: "tx-".to_owned(),
        })
    }

    /// How long a signature is waited for. A call that gives up loses nothing: calling again with the same transaction waits
    /// for the same request.
    #[must_use]
    pub const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// What approvers read beside the decoded transaction.
    #[must_use]
    pub fn with_note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// What idempotency keys begin with; the rest is the transaction's digest. A transaction whose request has expired or
    /// was denied is asked for again under another prefix.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// The wallet, with the key and the address that were derived on this side.
    #[must_use]
    pub const fn wallet(&self) -> &Wallet {
        &self.wallet
    }

    /// Submits a transaction, waits for the policy, and gives the signature that was verified here.
    ///
    /// The same bytes are the same request, in this process and after a restart: two calls never count twice against a
    /// limit.
    ///
    /// # Errors
    /// [`Error::Ask`] when people or time are missing when the patience ends, [`Fix::Denied`] when the policy says no.
    pub async fn sign(&self, raw_tx: Vec<u8>) -> Result<Released, Error> {
        let name = hex::encode(hash(Tag::RAW_TRANSACTION, &[&raw_tx]));
        let name = name.get(..32).unwrap_or(&name);
        let mut order = Order::new(
            &self.wallet.id,
            raw_tx,
            format!("{}{name}", self.prefix),
            &self.initiator,
        );
        order.note.clone_from(&self.note);
        let prepared = self.client.prepare(&order, &self.key).await?;
        let id = match self.client.submit(&prepared).await {
            Ok(_) => prepared.id(),
            Err(Error::Fix(conflict @ Fix::Conflict { .. })) => {
                self.earlier(&order).await?.ok_or(conflict)?
            }
            Err(other) => return Err(other),
        };
        self.client.wait(id, self.patience).await
    }

    /// The request that this very transaction was submitted with before.
    async fn earlier(&self, order: &Order) -> Result<Option<RequestId>, Error> {
        let requests = self.client.list("", &self.wallet.id, SEARCHED).await?;
        let same = |signed: &[u8], id: &RequestId| {
            SignedIntent::decode(signed).is_ok_and(|signed| {
                let intent = signed.intent();
                &signed.digest() == id.as_bytes()
                    && intent.idempotency_key == order.idempotency_key
                    && intent.raw_tx == order.raw_tx
                    && intent.initiator == order.initiator
            })
        };
        Ok(requests
            .into_iter()
            .find(|status| same(&status.signed_intent, &status.id))
            .map(|status| status.id))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Signer({} for {}, {})",
            self.initiator, self.wallet.id, self.wallet.address
        )
    }
}

/// The refusal to sign what nobody could read.
#[cfg(any(feature = "alloy", feature = "solana"))]
const fn blind(what: &'static str) -> Fix {
    Fix::Blind { what }
}
