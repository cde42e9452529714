//! A payout from a Solana wallet: the cluster stands where a keypair stood.
//!
//! Start `quorate demo --keep-running`, then in the same directory
//! `cargo run -p client --features solana --example solana_withdrawal`
#![expect(clippy::print_stdout, reason = "an example talks to whoever starts it")]

#[path = "support/demo.rs"]
mod demo;

use std::error::Error;

use client::signer::solana::SolanaSigner;
use policy::chain::Address;
use policy::solana::{Version, assemble, build};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let demo = demo::Demo::read()?;
    // Before: `let signer = solana_keypair::read_keypair_file(path)?;`
    let signer = SolanaSigner::new(demo.signer("solana_wallet").await?)?;

    // A real backend asks its Solana node for a recent blockhash.
    let mut blockhash = [0; 32];
    blockhash[..8].copy_from_slice(&demo::fresh()?);
    let from = Address::from_bytes(signer.pubkey().to_bytes());
    let to = Address::parse(demo.get("solana_to")?)?;
    let message = build::transfer(from, to, 1000, blockhash, Version::V0)?;

    // Before: `let signature = signer.try_sign_message(&message)?;`
    let signature = signer.try_sign_message(&message).await?;

    println!("from         {}", signer.pubkey());
    println!("signature    {signature}");
    let signed = assemble(&message, signature.as_array());
    println!("transaction  {}", hex::encode(signed));
    Ok(())
}
