//! A payout from an Ethereum wallet: the cluster stands where alloy's local key stood.
//!
//! Start `quorate demo --keep-running`, then in the same directory
//! `cargo run -p client --features alloy --example ethereum_withdrawal`
#![expect(clippy::print_stdout, reason = "an example talks to whoever starts it")]

#[path = "support/demo.rs"]
mod demo;

use std::error::Error;

use alloy_consensus::{TxEip1559, TypedTransaction};
use alloy_network::eip2718::Encodable2718 as _;
use alloy_network::{Ethereum, EthereumWallet, NetworkWallet};
use alloy_primitives::{TxKind, U256};
use client::signer::ethereum::EthereumSigner;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let demo = demo::Demo::read()?;
    // Before: `let signer: PrivateKeySigner = key.parse()?;`
    let signer = EthereumSigner::new(demo.signer("ethereum_wallet").await?)?;

    // From here on nothing differs: a provider with this wallet signs through the cluster.
    let wallet = EthereumWallet::from(signer);
    let tx = TypedTransaction::Eip1559(TxEip1559 {
        chain_id: 31_337,
        // A real backend asks its node.
        nonce: u64::from(u32::from_be_bytes(
            *demo::fresh()?.first_chunk().ok_or("bytes")?,
        )),
        gas_limit: 21_000,
        max_fee_per_gas: 20_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
        to: TxKind::Call(demo.get("ethereum_to")?.parse()?),
        value: U256::from(1_000_000_000_000_000_u64),
        ..TxEip1559::default()
    });
    let signed = NetworkWallet::<Ethereum>::sign_transaction(&wallet, tx).await?;

    println!(
        "from         {}",
        NetworkWallet::<Ethereum>::default_signer_address(&wallet)
    );
    println!("hash         {}", signed.tx_hash());
    println!("transaction  {}", hex::encode(signed.encoded_2718()));
    Ok(())
}
