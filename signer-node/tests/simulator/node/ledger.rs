//! Debits and first-seen times on disk.

use policy::amount::Amount;
use policy::chain::{Address, Asset, Chain};
use policy::id::WalletId;
use policy::ledger::{Debit, Entry};

use super::Memory;
use crate::disk::{Image, Table};

/// The name of the row that permits one share.
pub(super) fn row_key(digest: &[u8; 32], package: &[u8; 32]) -> Vec<u8> {
    [digest.as_slice(), package].concat()
}

/// Reads debits and times back after a start.
pub(super) fn load(image: &Image, memory: &mut Memory) {
    for (row, body) in image.rows(Table::Ledger) {
        let (digest, _) = row.split_first_chunk::<32>().expect("an intent's digest");
        memory.ledger.record(*digest, decode(body));
        memory.released.insert(row.to_vec());
    }
    for (digest, body) in image.rows(Table::Seen) {
        let at = u64::from_be_bytes(body.try_into().expect("8 bytes"));
        memory.seen.insert(digest.try_into().expect("32 bytes"), at);
    }
}

/// One line of text for every field.
pub(super) fn encode(entry: &Entry) -> Vec<u8> {
    let mut text = format!("{}\n{}\n", entry.at_ms, hex::encode(entry.raw_digest));
    for debit in &entry.debits {
        let to = debit
            .destination
            .map(|to| to.to_string())
            .unwrap_or_default();
        let amount = hex::encode(debit.amount.to_be_bytes());
        text += &format!(
            "{} {} {to} {} {amount}\n",
            debit.wallet.as_str(),
            debit.chain,
            debit.asset
        );
    }
    text.into_bytes()
}

fn decode(body: &[u8]) -> Entry {
    let text = std::str::from_utf8(body).expect("text");
    let mut lines = text.lines();
    let at_ms = lines.next().unwrap().parse().unwrap();
    let raw = hex::decode(lines.next().unwrap()).unwrap();
    let debit = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        let [wallet, chain, to, asset, amount] = fields[..] else {
            panic!("five fields: {line}")
        };
        Debit {
            wallet: WalletId::parse(wallet).unwrap(),
            chain: Chain::parse(chain).unwrap(),
            destination: (!to.is_empty()).then(|| Address::parse(to).unwrap()),
            asset: Asset::parse(asset).unwrap(),
            amount: Amount::from_be_bytes(hex::decode(amount).unwrap().try_into().unwrap()),
        }
    };
    Entry {
        at_ms,
        raw_digest: raw.try_into().unwrap(),
        debits: lines.map(debit).collect(),
    }
}
