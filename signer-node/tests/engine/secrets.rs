//! Secrets stay where they are (attack A80).

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use mpc_core::keys::KeyShare;
use signer_node::seal::{Kind, Label, Owner, Secret};
use signer_node::store::{Store, StoreError};
use tracing_subscriber::fmt::MakeWriter;

use crate::cluster::*;

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Every spelling in which bytes get into logs.
fn spellings(secret: &[u8]) -> Vec<String> {
    let reversed: Vec<u8> = secret.iter().rev().copied().collect();
    let mut out = Vec::new();
    for bytes in [secret, &reversed] {
        out.push(hex::encode(bytes));
        out.push(hex::encode_upper(bytes));
        let inner = format!("{bytes:?}");
        out.push(inner.trim_matches(['[', ']']).to_owned());
        for engine in [
            base64::engine::general_purpose::STANDARD_NO_PAD,
            base64::engine::general_purpose::URL_SAFE_NO_PAD,
        ] {
            out.push(engine.encode(bytes));
        }
        out.push(String::from_utf8_lossy(bytes).into_owned());
        out.push(format!("{}", bytes.escape_ascii()));
    }
    out
}

#[tokio::test]
async fn a80_the_most_talkative_log_tells_no_secret() {
    let log = Captured::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(log.clone())
        .with_max_level(tracing::Level::TRACE)
        .json()
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let mut cluster = Cluster::ready().await;
    let policy = cluster.document(&[WALLET_RULES]);
    let signed = cluster.pay(SOL / 10, 1);
    let approval = cluster.approve(&signed, &policy, "alice");
    cluster.announce(0, &signed).await.unwrap();
    cluster
        .sign(&[0, 1], &signed, core::slice::from_ref(&approval))
        .await
        .unwrap();
    // Refusals and errors talk too.
    cluster.sign(&[0, 1], &signed, &[]).await.unwrap_err();
    let request = cluster.request(&[0, 1], &signed, &[approval]).await;
    cluster.restart(0).await;
    cluster.share(0, &request).await.unwrap_err();
    let talk = format!(
        "{:?} {:?} {:?}",
        cluster.engine(0),
        cluster.config(0),
        cluster.engine(0).status()
    );
    let texts = vec![
        talk,
        String::from_utf8(log.0.lock().unwrap().clone()).unwrap(),
    ];
    assert!(
        texts[1].contains("share released"),
        "the log was not captured"
    );
    let ids: Vec<[u8; 32]> = cluster
        .roster
        .by_index()
        .map(|(_, node)| *node.as_bytes())
        .collect();
    let key_id = cluster.key_id("hot");
    let (home, roster_ids) = (
        (0..3).map(|node| cluster.home(node)).collect::<Vec<_>>(),
        ids,
    );
    let _dir = cluster.shut_down().await;
    let mut secrets = Vec::new();
    for node in 0..3_usize {
        let file_key = [u8::try_from(node + 1).unwrap(); 32];
        secrets.push(file_key.to_vec());
        let secret = Secret::KeyFile(file_key.into());
        let owner = Owner::new("c-01", roster_ids[node]);
        let (_store, contents, vault) = loop {
            match Store::open(&home[node].join("node.db"), &secret, owner.clone()) {
                Err(StoreError::Busy(_)) => {
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
                other => break other.unwrap(),
            }
        };
        for kind in [Kind::Identity, Kind::Exchange] {
            let label = Label::new(kind, [0; 32], 0, 0);
            secrets.push(
                vault
                    .open(&label, contents.sealed(&label).unwrap())
                    .unwrap()
                    .to_vec(),
            );
        }
        let label = Label::new(Kind::Share, key_id, 0, 0);
        let share: KeyShare = vault
            .open_share(&label, contents.sealed(&label).unwrap())
            .unwrap();
        let (_, scalar) = share.view::<mpc_core::group::Ed25519>().unwrap();
        secrets.push(scalar.dangerous_to_bytes().to_vec());
        // On disk they are sealed: neither the database nor its log holds them in clear.
        for side in ["node.db", "node.db-wal"] {
            let bytes = std::fs::read(home[node].join(side)).unwrap_or_default();
            for secret in &secrets {
                assert!(
                    !bytes
                        .windows(secret.len())
                        .any(|window| window == secret.as_slice()),
                    "a secret in {side}"
                );
            }
        }
    }
    assert_eq!(secrets.len(), 12);
    for text in &texts {
        for secret in &secrets {
            for spelling in spellings(secret) {
                assert!(
                    !text.contains(&spelling),
                    "a secret was written as {spelling}"
                );
            }
        }
    }
}
