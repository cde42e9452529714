//! A payout from a wallet backend: build a Solana message, have Quorate sign it, get a transaction ready to be sent.
//!
//! Start a cluster with `quorate demo --keep-running --dir ./try`, then, with the address of the demo's exchange:
//! `cargo run -p client --example solana_transfer -- try/cluster <ADDRESS> 1000`
#![expect(clippy::print_stdout, reason = "an example talks to whoever starts it")]

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use client::{Client, Options, Order};
use ed25519_dalek::SigningKey;
use policy::chain::Address;
use policy::solana::{Version, build};

const USAGE: &str = "usage: solana_transfer CLUSTER_DIR ADDRESS LAMPORTS";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().ok_or(USAGE)?;
    let to = Address::parse(&arguments.next().ok_or(USAGE)?)?;
    let lamports: u64 = arguments.next().ok_or(USAGE)?.parse()?;
    let dir = Path::new(&dir);

    let client = Client::connect(&Options::beside(&dir.join("cluster.toml"), "client")).await?;
    let wallet = client.wallet("hot").await?;
    let from = wallet.ed25519().ok_or("the wallet is not on Solana")?;

    // A real backend asks its Solana node for a recent blockhash; here a fresh one keeps two runs apart.
    let mut blockhash = [0; 32];
    getrandom::fill(&mut blockhash)?;
    let message = build::transfer(
        Address::from_bytes(from),
        to,
        lamports,
        blockhash,
        Version::V0,
    )?;

    // The name of the payment. Keep `prepared` with it: after any failure, submit exactly the same bytes again.
    let name = format!("payout-{}", hex::encode(&blockhash[..8]));
    let order = Order::new("hot", message, name, "backend");
    let prepared = client
        .prepare(&order, &initiator_key(&dir.join("client/initiator.key"))?)
        .await?;
    client.submit(&prepared).await?;
    let released = client.wait(prepared.id(), Duration::from_secs(60)).await?;

    println!("request      {}", prepared.id());
    println!("signature    {}", hex::encode(released.signature()));
    println!("transaction  {}", hex::encode(released.signed_tx()));
    Ok(())
}

/// A key file of the demo: 64 hexadecimal digits. Production keeps this key in the backend's secret store.
fn initiator_key(path: &Path) -> Result<SigningKey, Box<dyn Error>> {
    let mut seed = [0; 32];
    hex::decode_to_slice(std::fs::read_to_string(path)?.trim_end(), &mut seed)?;
    Ok(SigningKey::from_bytes(&seed))
}
