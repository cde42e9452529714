//! A cluster of real processes, with one key and one wallet, for one test.

use std::path::Path;

use cli::{
    local::{Key, LocalCluster},
    people,
    sample::{self, SampleWallet},
    verbs::request::transfer,
};
use client::{Client, Order, Prepared, Released};
use ed25519_dalek::{Signature, SigningKey, VerifyingKey};

pub(crate) const QUORATE: &str = env!("CARGO_BIN_EXE_quorate");
pub(crate) const WALLET: &str = "hot";
pub(crate) const PAYEE: [u8; 32] = [0xee; 32];
pub(crate) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) cluster: LocalCluster,
    pub(crate) key: Key,
    pub(crate) client: Client,
    pub(crate) initiator: SigningKey,
    payments: u32,
    _dir: tempfile::TempDir,
}

/// A running cluster without keys.
pub(crate) async fn bare() -> (LocalCluster, tempfile::TempDir) {
    bare_with("").await
}

/// A running cluster without keys, with these tables in the coordinator's configuration.
pub(crate) async fn bare_with(tables: &str) -> (LocalCluster, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut cluster =
        LocalCluster::create(Path::new(QUORATE), &dir.path().join("c"), false).expect("a cluster");
    cluster
        .configure_coordinator(tables)
        .expect("the configuration");
    cluster.start().await.expect("all services come up");
    (cluster, dir)
}

impl World {
    /// A wallet that may spend `daily` lamports in 24 hours, and up to `large` at a time without approvals.
    pub(crate) async fn new(daily: u64, large: u64) -> Self {
        let (cluster, dir) = bare().await;
        let key = cluster.create_key(WALLET).await.expect("a key");
        let mut sample = cluster.made().sample.clone();
        sample.wallets.push(SampleWallet::solana(
            WALLET,
            key.id,
            ("payee", PAYEE),
            (daily, large),
            "1s",
        ));
        cluster.install(&sample).await.expect("the policy");
        let client = cluster.client("client").await.expect("a client");
        let initiator = people::read_key(&cluster.layout().initiator_key()).expect("the initiator");
        Self {
            cluster,
            key,
            client,
            initiator,
            payments: 0,
            _dir: dir,
        }
    }

    /// A transaction that no other payment of this world has.
    pub(crate) fn raw(&mut self, lamports: u64) -> Vec<u8> {
        self.payments += 1;
        let mut blockhash = [9; 32];
        blockhash[..4].copy_from_slice(&self.payments.to_be_bytes());
        transfer(
            self.key.solana().expect("a solana key"),
            PAYEE,
            lamports,
            blockhash,
        )
        .expect("a transfer")
    }

    pub(crate) async fn order(&mut self, name: &str, lamports: u64) -> Prepared {
        let raw = self.raw(lamports);
        let order = Order::new(WALLET, raw, name, sample::INITIATOR);
        self.client
            .prepare(&order, &self.initiator)
            .await
            .expect("a good order")
    }

    /// Asserts with an independent call of the verifier that this is a signature of the wallet.
    pub(crate) fn assert_signed(&self, end: &Released) {
        let tx = end.signed_tx();
        assert_eq!(
            (tx[0], &tx[1..65]),
            (1, end.signature()),
            "one signature comes first"
        );
        VerifyingKey::from_bytes(&self.key.solana().expect("a solana key"))
            .expect("a point")
            .verify_strict(
                &tx[65..],
                &Signature::from_slice(end.signature()).expect("64 bytes"),
            )
            .expect("the wallet's signature");
    }
}
