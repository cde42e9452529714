//! A payout from a Bitcoin wallet: the cluster stands where a local key signed a PSBT.
//!
//! Start `quorate demo --keep-running`, then in the same directory
//! `cargo run -p client --features bitcoin --example bitcoin_withdrawal`
#![expect(
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "an example talks to whoever starts it, and knows its own transaction"
)]

#[path = "support/demo.rs"]
mod demo;

use std::error::Error;

use bitcoin::address::{Address, NetworkUnchecked};
use bitcoin::hashes::Hash as _;
use bitcoin::transaction::Version;
use bitcoin::{
    Amount, Network, OutPoint, Psbt, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness,
    absolute, consensus,
};
use client::signer::bitcoin::BitcoinSigner;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let demo = demo::Demo::read()?;
    let signer = BitcoinSigner::new(demo.signer("bitcoin_wallet").await?)?;

    // A real backend asks its Bitcoin node or its index for the wallet's coins.
    let own: Address<NetworkUnchecked> = signer.signer().wallet().address.parse()?;
    let own = own.require_network(Network::Regtest)?;
    let mut coin = [0; 32];
    coin[..8].copy_from_slice(&demo::fresh()?);
    let spent = TxOut {
        value: Amount::from_sat(500_000),
        script_pubkey: own.script_pubkey(),
    };
    let to: Address<NetworkUnchecked> = demo.get("bitcoin_to")?.parse()?;
    let to = to.require_network(Network::Regtest)?;
    let output = |satoshi, script_pubkey| TxOut {
        value: Amount::from_sat(satoshi),
        script_pubkey,
    };
    let mut psbt = Psbt::from_unsigned_tx(Transaction {
        version: Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::new(Txid::from_byte_array(coin), 0),
            script_sig: ScriptBuf::new(),
            sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
            witness: Witness::new(),
        }],
        output: vec![
            output(100_000, to.script_pubkey()),
            output(399_000, own.script_pubkey()),
        ],
    })?;
    psbt.inputs[0].witness_utxo = Some(spent);

    // Before: `psbt.sign(&keys, &secp)?;` and a finaliser.
    let signed = signer.sign_psbt(&mut psbt).await?;

    println!("from         {own}");
    println!("txid         {}", signed.compute_txid());
    println!("transaction  {}", consensus::encode::serialize_hex(&signed));
    Ok(())
}
