//! What operators and governors ask: wallets, the cluster's state, policies, freezes.

use std::fmt;

use policy::{
    chain::Chain,
    statement::SignedStatement,
    transaction::{self, Scheme, Transaction, WalletKeys},
};
use proto::{keys::DerivationPath, v1};

use crate::{
    connect::Client,
    error::{Error, Fix},
    keys::PublicKey,
};

/// A wallet of the active policy, with the key that the cluster has for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wallet {
    /// Its id in the policy.
    pub id: String,
    /// Its chain, for example `solana:devnet`.
    pub chain: String,
    /// Its key.
    pub key_id: [u8; 32],
    /// `ecdsa`, `bip340` or `ed25519`.
    pub scheme: String,
    /// Where the wallet's own key is, seen from the key that the nodes hold shares of.
    pub path: DerivationPath,
    /// The key that the nodes hold shares of; none as long as it is not active.
    pub key: Option<PublicKey>,
    /// The public key at the path: 32 bytes for Ed25519, 33 for secp256k1; empty as long as the key is not active.
    pub public_key: Vec<u8>,
    /// The public key as its chain writes it, computed here.
    pub address: String,
    /// Whether enough nodes are connected to sign with it.
    pub ready: bool,
}

impl Wallet {
    /// The public key, if it is an Ed25519 key.
    #[must_use]
    pub fn ed25519(&self) -> Option<[u8; 32]> {
        if self.scheme == "ed25519" {
            <[u8; 32]>::try_from(&self.public_key[..]).ok()
        } else {
            None
        }
    }
}

impl WalletKeys for Wallet {
    fn scheme(&self) -> Option<Scheme> {
        Scheme::parse(&self.scheme)
    }

    fn public_key_at(&self, path: &[u32]) -> Option<Vec<u8>> {
        if path == self.path.indices() {
            return (!self.public_key.is_empty()).then(|| self.public_key.clone());
        }
        let path = DerivationPath::new(path).ok()?;
        let child = self.key.as_ref()?.child(&path).ok()?;
        Some(child.public_key().to_vec())
    }
}

impl Wallet {
    /// Decodes an unsigned transaction of this wallet, as every node will.
    ///
    /// # Errors
    /// [`Fix::Malformed`] with the decoder's reason.
    pub fn decode(&self, raw_tx: &[u8]) -> Result<Transaction, Error> {
        let refuse = |why: &dyn fmt::Display| Fix::Malformed {
            message: format!("wallet {} cannot sign this transaction: {why}", self.id),
        };
        let chain = Chain::parse(&self.chain).map_err(|e| refuse(&e))?;
        Ok(
            transaction::decode(chain, raw_tx, self, self.path.indices())
                .map_err(|e| refuse(&e))?,
        )
    }

    /// The signed transaction, if every signature is the one that it needs.
    pub(crate) fn assemble(
        &self,
        raw_tx: &[u8],
        signatures: &[Vec<u8>],
    ) -> Result<Vec<u8>, String> {
        let chain = Chain::parse(&self.chain).map_err(|e| e.to_string())?;
        let path = self.path.indices();
        let decoded = transaction::decode(chain, raw_tx, self, path).map_err(|e| e.to_string())?;
        for (index, (task, signature)) in decoded.tasks.iter().zip(signatures).enumerate() {
            if !task.is_signed_by(self, signature) {
                return Err(format!("signature {index} does not verify"));
            }
        }
        transaction::assemble(chain, raw_tx, self, path, signatures).map_err(|e| e.to_string())
    }
}

impl TryFrom<v1::WalletInfo> for Wallet {
    type Error = Error;

    fn try_from(wire: v1::WalletInfo) -> Result<Self, Error> {
        let key_id = <[u8; 32]>::try_from(&wire.key_id[..])
            .map_err(|_| Error::wrong_answer("a key id that is not 32 bytes"))?;
        let path = DerivationPath::new(wire.path)
            .map_err(|e| Error::wrong_answer(format_args!("wallet {}: {e}", wire.id)))?;
        let mut wallet = Self {
            id: wire.id,
            chain: wire.chain,
            key_id,
            scheme: wire.scheme,
            path,
            key: None,
            public_key: Vec::new(),
            address: String::new(),
            ready: wire.ready,
        };
        if !wire.public_package.is_empty() {
            wallet.learn(&wire.public_package, &wire.public_key, &wire.address)?;
        }
        Ok(wallet)
    }
}

impl Wallet {
    /// Takes the wallet's key from its public package, and holds what else was said against it.
    fn learn(&mut self, package: &[u8], root: &[u8], address: &str) -> Result<(), Error> {
        let wrong = |what: &str| Error::wrong_answer(format_args!("wallet {}: {what}", self.id));
        let key = PublicKey::decode(package).map_err(|e| wrong(&e.to_string()))?;
        if key.id() != self.key_id || key.scheme() != self.scheme || key.bytes() != root {
            return Err(wrong("its public key package is of another key"));
        }
        let child = key.child(&self.path).map_err(|e| wrong(&e.to_string()))?;
        // A policy may name a chain that takes no signatures of the key; then there is no address on either side.
        let own = child.address(&self.chain).unwrap_or_default();
        if own != address {
            return Err(wrong(&format!(
                "its address is {own} when derived here, and the service says {address}"
            )));
        }
        self.public_key = child.public_key().to_vec();
        self.address = own;
        self.key = Some(key);
        Ok(())
    }
}

impl Client {
    /// The wallets of the active policy.
    ///
    /// # Errors
    /// [`Error::Retry`] when the service is not there, [`Error::Stop`] when its answer makes no sense.
    pub async fn wallets(&self) -> Result<Vec<Wallet>, Error> {
        let list = self
            .call(|mut api| async move { api.list_wallets(v1::ListWalletsQuery {}).await })
            .await?;
        list.wallets.into_iter().map(Wallet::try_from).collect()
    }

    /// One wallet.
    ///
    /// # Errors
    /// [`Fix::Unknown`] when the active policy has no such wallet; otherwise as [`wallets`](Self::wallets).
    pub async fn wallet(&self, id: &str) -> Result<Wallet, Error> {
        if let Some(known) = self.known_wallet(id) {
            return Ok(known);
        }
        let wallets = self.wallets().await?;
        let found = wallets.into_iter().find(|w| w.id == id).ok_or_else(|| {
            Error::from(Fix::Unknown {
                message: format!("the active policy has no wallet {id}"),
            })
        })?;
        self.remember_wallet(&found);
        Ok(found)
    }

    /// What the coordinator says about itself and its nodes.
    ///
    /// # Errors
    /// [`Error::Retry`] when the service is not there.
    pub async fn cluster_info(&self) -> Result<v1::ClusterInfo, Error> {
        self.call(|mut api| async move { api.get_cluster(v1::ClusterQuery {}).await })
            .await
    }

    /// A policy document by version; zero for the active one.
    ///
    /// # Errors
    /// [`Fix::Unknown`] when there is none.
    pub async fn policy(&self, version: u64) -> Result<v1::PolicyInfo, Error> {
        self.call(|mut api| async move { api.get_policy(v1::PolicyQuery { version }).await })
            .await
    }

    /// Stops all signing: one authorised person is enough.
    ///
    /// # Errors
    /// [`Fix::NotAuthorised`] when the statement is not by somebody who may freeze.
    pub async fn freeze(&self, statement: &SignedStatement) -> Result<v1::FreezeState, Error> {
        let order = v1::OrderRequest {
            statements: vec![statement.encode().into()],
        };
        self.call(|mut api| async move { api.freeze(order).await })
            .await
    }

    /// Allows signing again: takes the statements of the quorum that the policy names.
    ///
    /// # Errors
    /// [`Error::Ask`] when the quorum is not complete.
    pub async fn unfreeze(&self, statements: &[SignedStatement]) -> Result<v1::FreezeState, Error> {
        let order = v1::OrderRequest {
            statements: encode(statements),
        };
        self.call(|mut api| async move { api.unfreeze(order).await })
            .await
    }

    /// Installs a signed policy on the coordinator and every node.
    ///
    /// # Errors
    /// [`Fix::Denied`] or [`Error::Ask`] when the signatures do not suffice.
    pub async fn install_policy(
        &self,
        document: &[u8],
        statements: &[SignedStatement],
    ) -> Result<v1::PolicyInfo, Error> {
        let policy = install(document, statements);
        self.call_operator(|mut api| async move { api.install_policy(policy).await })
            .await
    }

    /// Says what installing would do, and installs nothing.
    ///
    /// # Errors
    /// As [`install_policy`](Self::install_policy).
    pub async fn propose_policy(
        &self,
        document: &[u8],
        statements: &[SignedStatement],
    ) -> Result<v1::PolicyInfo, Error> {
        let policy = install(document, statements);
        self.call_operator(|mut api| async move { api.propose_policy(policy).await })
            .await
    }
}

fn install(document: &[u8], statements: &[SignedStatement]) -> v1::InstallPolicy {
    v1::InstallPolicy {
        document: document.to_vec().into(),
        signatures: encode(statements),
    }
}

pub(crate) fn encode<B: From<Vec<u8>>>(statements: &[SignedStatement]) -> Vec<B> {
    statements.iter().map(|s| s.encode().into()).collect()
}
