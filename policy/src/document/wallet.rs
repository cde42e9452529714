//! Wallets and the allow-list of addresses.

use std::collections::BTreeSet;

use super::problem::Problems;
use super::reader::Value;
use crate::amount::Amount;
use crate::chain::{Address, Asset, Chain, Kind};
use crate::id::WalletId;
use crate::time::{Period, parse_utc};
use crate::transaction::MAX_PATH;

/// One key, or a child of it, on one chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wallet {
    /// The name.
    pub id: WalletId,
    /// The key that signs for it, 32 bytes.
    pub key_id: [u8; 32],
    /// Which child of that key: `path = "m/0/5"`, and the key itself where it is left out. No other wallet may have the same key
    /// and path where one transaction could be put on both chains.
    pub path: Vec<u32>,
    /// The chain it lives on.
    pub chain: Chain,
    /// The movements it may make; anything else is refused before a rule is read.
    pub kinds: BTreeSet<Kind>,
    /// The highest fee of one transaction, in base units of the native coin.
    pub max_fee: Amount,
    /// How often the shares of its key are to be replaced without anybody's order; left out: never.
    pub refresh_every: Option<Period>,
}

/// One entry of the allow-list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressEntry {
    /// What people call it; printable ASCII, at most 64 characters.
    pub label: String,
    /// The chain the address is on.
    pub chain: Chain,
    /// The address.
    pub to: Address,
    /// The assets that may be sent there.
    pub assets: BTreeSet<Asset>,
    /// When it was added, Unix milliseconds; for people to read.
    pub added_ms: u64,
    /// When its cool-off ends, Unix milliseconds; before that the entry matches nothing.
    pub usable_after_ms: u64,
}

pub(super) fn read_wallet(value: &Value<'_, '_>, problems: &mut Problems<'_>) -> Option<Wallet> {
    let mut table = value.table(problems)?;
    let id = table.required("id", problems, |v, p| v.parsed(p, WalletId::parse));
    let key_id = table.required("key_id", problems, |v, p| v.parsed(p, parse_hex32));
    let path = table.optional("path", problems, |v, p| v.parsed(p, parse_path));
    let chain = table.required("chain", problems, |v, p| v.parsed(p, Chain::parse));
    let kinds = table.required("kinds", problems, |v, p| {
        let kinds = v.set(p, |item, p| item.parsed(p, Kind::parse))?;
        if kinds.is_empty() {
            v.fault("a wallet needs at least one kind", p)
        } else {
            Some(kinds)
        }
    });
    let max_fee = table.required("max_fee", problems, |v, p| v.parsed(p, Amount::parse));
    let refresh_every = table.optional("refresh_every", problems, |v, p| {
        let every = v.parsed(p, Period::parse)?;
        if every.as_ms() == 0 {
            return v.fault(
                "the interval must not be zero; left out, there is no refresh",
                p,
            );
        }
        Some(every)
    });
    table.finish(problems);
    Some(Wallet {
        id: id?,
        key_id: key_id?,
        path: path?.unwrap_or_default(),
        chain: chain?,
        kinds: kinds?,
        max_fee: max_fee?,
        refresh_every: refresh_every?,
    })
}

pub(super) fn read_address(
    value: &Value<'_, '_>,
    problems: &mut Problems<'_>,
) -> Option<AddressEntry> {
    let mut table = value.table(problems)?;
    let label = table.required("label", problems, |v, p| v.label(64, p));
    let chain = table.required("chain", problems, |v, p| v.parsed(p, Chain::parse));
    let to = table.required("to", problems, |v, p| v.parsed(p, Address::parse));
    let assets = table.required("assets", problems, |v, p| v.one_or_more(p, Asset::parse));
    let added = table.required("added", problems, |v, p| v.parsed(p, parse_utc));
    let usable_after = table.required("usable_after", problems, |v, p| v.parsed(p, parse_utc));
    table.finish(problems);
    let entry = AddressEntry {
        label: label?,
        chain: chain?,
        to: to?,
        assets: assets?,
        added_ms: added?,
        usable_after_ms: usable_after?,
    };
    if !entry.to.is_on(entry.chain) {
        return value.fault("the address is not one of its chain", problems);
    }
    if entry.usable_after_ms < entry.added_ms {
        return value.fault("usable_after is before added", problems);
    }
    Some(entry)
}

/// Reads a path such as `m/0/5`: at most [`MAX_PATH`] plain numbers below 2^31, each in its shortest form.
fn parse_path(text: &str) -> Result<Vec<u32>, &'static str> {
    const HARDENED: u32 = 1 << 31;
    let wrong = "a path is m, or m/ and numbers below 2^31 with slashes between; hardened steps need the secret key";
    if text == "m" {
        return Ok(Vec::new());
    }
    let steps = text.strip_prefix("m/").ok_or(wrong)?.split('/');
    let path: Vec<u32> = steps
        .map(|step| {
            step.parse()
                .ok()
                .filter(|index: &u32| *index < HARDENED && index.to_string() == step)
                .ok_or(wrong)
        })
        .collect::<Result<_, _>>()?;
    if path.len() > MAX_PATH {
        return Err("a path has at most 16 steps");
    }
    Ok(path)
}

/// Reads 32 bytes as 64 lower-case hexadecimal digits.
pub(super) fn parse_hex32(text: &str) -> Result<[u8; 32], &'static str> {
    let mut bytes = [0; 32];
    let lower = !text.chars().any(|c| c.is_ascii_uppercase());
    match hex::decode_to_slice(text, &mut bytes) {
        Ok(()) if lower => Ok(bytes),
        _ => Err("expected 64 lower-case hexadecimal digits"),
    }
}
