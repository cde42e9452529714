//! A transaction in plain words. Every side renders for itself and compares, so the words are part of the format.

use crate::amount::Amount;
use crate::chain::{Address, Asset, Kind};
use crate::transaction::{Transfer, decimal};

/// Decimals of the coin.
const ETHER: u8 = 18;
/// Decimals of a price of gas as people say it.
const GWEI: u8 = 9;
/// How many bytes of data stand in one line.
const DATA_PER_LINE: usize = 64;

pub(super) fn transfer(transfer: &Transfer, called: &Address, data: &[u8]) -> Vec<String> {
    let Transfer {
        kind,
        asset,
        from,
        to,
        amount,
        ..
    } = transfer;
    match (kind, asset) {
        (Kind::Erc20Approve, Asset::Erc20(token)) => vec![format!(
            "approve: {to} may take {} of token {} at any time, by a call of {called} from {from}; counted as spent",
            all_or(*amount),
            Address::Ethereum(*token)
        )],
        (Kind::Erc20Transfer, Asset::Erc20(_)) => vec![format!(
            "transfer {amount} base units of token {called} from {from} to {to}"
        )],
        (Kind::ContractCall, _) => {
            let mut lines = vec![format!(
                "call {to} with {amount} wei ({} ETH) from {from} and {} bytes of data, whose effect is not known here",
                decimal(*amount, ETHER),
                data.len()
            )];
            for (line, bytes) in data.chunks(DATA_PER_LINE).enumerate() {
                lines.push(format!(
                    "data from byte {}: {}",
                    line.saturating_mul(DATA_PER_LINE),
                    hex::encode(bytes)
                ));
            }
            lines
        }
        _ => vec![format!(
            "transfer {amount} wei ({} ETH) from {from} to {to}",
            decimal(*amount, ETHER)
        )],
    }
}

fn all_or(amount: Amount) -> String {
    if amount == Amount::MAX {
        "everything".to_owned()
    } else {
        format!("{amount} base units")
    }
}

pub(super) fn fee(
    fee_max: Amount,
    tx: &dyn alloy_consensus::Transaction,
    payer: &Address,
) -> String {
    let price = |wei: u128| {
        let mut bytes = [0; 32];
        if let Some(low) = bytes.last_chunk_mut::<16>() {
            *low = wei.to_be_bytes();
        }
        decimal(Amount::from_be_bytes(bytes), GWEI)
    };
    let tip = tx
        .max_priority_fee_per_gas()
        .map(|tip| format!(", {} gwei of it to the block's builder", price(tip)))
        .unwrap_or_default();
    format!(
        "fee at most {fee_max} wei ({} ETH) paid by {payer}: {} gas at {} gwei{tip}",
        decimal(fee_max, ETHER),
        tx.gas_limit(),
        price(tx.max_fee_per_gas()),
    )
}

pub(super) fn envelope(chain_id: u64, tx: &dyn alloy_consensus::Transaction) -> String {
    let kind = match tx.ty() {
        0 => "legacy",
        1 => "EIP-2930",
        _ => "EIP-1559",
    };
    let listed = tx.access_list().map_or(0, |list| list.len());
    format!(
        "{kind} transaction on chain id {chain_id}, nonce {}, {listed} entries in the access list",
        tx.nonce()
    )
}
