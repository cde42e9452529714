//! A transaction in plain words. Every side renders for itself and compares, so the words are part of the format.

use super::Version;
use crate::amount::Amount;
use crate::chain::{Address, Asset};
use crate::transaction::{Transfer, decimal};

/// Decimals of the native coin.
const SOL_DECIMALS: u8 = 9;
/// The most decimals that are written out; no real mint has more.
const MAX_DECIMALS: u8 = 19;

pub(super) fn transfer(transfer: &Transfer, decimals: Option<u8>) -> String {
    let Transfer {
        asset,
        from,
        to,
        amount,
        ..
    } = transfer;
    match asset {
        // No token of another chain comes out of a Solana message.
        Asset::Erc20(_) | Asset::Native => {
            format!(
                "transfer {amount} lamports ({} SOL) from {from} to {to}",
                decimal(*amount, SOL_DECIMALS)
            )
        }
        Asset::SplMint(mint) => {
            let places = decimals.unwrap_or(0);
            let readable = if places > MAX_DECIMALS {
                format!("{places} decimals")
            } else {
                format!("{} with {places} decimals", decimal(*amount, places))
            };
            let mint = Address::from_bytes(*mint);
            format!(
                "transfer {amount} base units ({readable}) of token {mint} from token account {from} to token account {to}"
            )
        }
    }
}

pub(super) fn memo(text: &str) -> String {
    format!("memo \"{}\"", text.escape_default())
}

pub(super) fn fee(lamports: u64, payer: &Address) -> String {
    format!(
        "fee at most {lamports} lamports ({} SOL) paid by {payer}",
        decimal(Amount::from_u64(lamports), SOL_DECIMALS)
    )
}

pub(super) fn envelope(version: Version, len: usize, blockhash: &[u8; 32]) -> String {
    let version = match version {
        Version::Legacy => "legacy",
        Version::V0 => "version 0",
    };
    format!(
        "{version} message of {len} bytes, blockhash {}",
        Address::from_bytes(*blockhash)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a104_decimals_are_exact() {
        for (amount, places, text) in [
            (0, 9, "0"),
            (1, 9, "0.000000001"),
            (1_500_000_000, 9, "1.5"),
            (1_000_000_000, 9, "1"),
            (u64::MAX, 9, "18446744073.709551615"),
            (u64::MAX, 0, "18446744073709551615"),
            (u64::MAX, 19, "1.8446744073709551615"),
            (10, 0, "10"),
            (100, 1, "10"),
        ] {
            assert_eq!(decimal(Amount::from_u64(amount), places), text);
        }
    }

    #[test]
    fn a104_a_memo_cannot_forge_a_line() {
        assert_eq!(
            memo("a\"\nline: b\u{202e}\u{7f}"),
            "memo \"a\\\"\\nline: b\\u{202e}\\u{7f}\""
        );
    }
}
