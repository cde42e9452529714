//! What a transaction uses up on its chain, so that of two that use the same at most one can ever be confirmed.
//!
//! Two requests for one outpoint or one account nonce are a mistake, or an attempt to have an approval of the one mistaken for the
//! other. The second is refused for as long as the first may still be signed. Afterwards it may take its place: a signature of the
//! first may be out, but the chain takes one of the two and never both.

use core::fmt;

use crate::chain::{Address, Chain};
use crate::digest::{Hasher, Tag};

/// How long after its end a request still keeps others from what it uses, in milliseconds: clocks differ.
pub const MARGIN_MS: u64 = 60_000;

/// Something on a chain that can be used once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConflictKey {
    /// The next transaction of an account.
    Nonce {
        /// The chain.
        chain: Chain,
        /// The account that sends.
        account: Address,
        /// The number of the transaction.
        nonce: u64,
    },
    /// An output that is spent.
    Outpoint {
        /// The chain.
        chain: Chain,
        /// The transaction that made it, as explorers write it.
        txid: String,
        /// Its number there.
        vout: u32,
    },
}

impl ConflictKey {
    /// Its name in a ledger, 32 bytes.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let hasher = Hasher::new(Tag::CONFLICT_KEY);
        match self {
            Self::Nonce {
                chain,
                account,
                nonce,
            } => hasher
                .field(b"nonce")
                .field(chain.to_string().as_bytes())
                .field(account.to_string().as_bytes())
                .field(&nonce.to_be_bytes()),
            Self::Outpoint { chain, txid, vout } => hasher
                .field(b"outpoint")
                .field(chain.to_string().as_bytes())
                .field(txid.as_bytes())
                .field(&vout.to_be_bytes()),
        }
        .finish()
    }
}

impl fmt::Display for ConflictKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nonce {
                chain,
                account,
                nonce,
            } => write!(f, "nonce {nonce} of {account} on {chain}"),
            Self::Outpoint { chain, txid, vout } => {
                write!(f, "output {vout} of {txid} on {chain}")
            }
        }
    }
}

/// Whether a request that could be signed until `expires_ms` still keeps what it uses.
#[must_use]
pub const fn is_held(expires_ms: u64, now_ms: u64) -> bool {
    now_ms < expires_ms.saturating_add(MARGIN_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_key_reaches_its_name() {
        let nonce = |chain: u64, account: u8, nonce: u64| ConflictKey::Nonce {
            chain: Chain::Ethereum(chain),
            account: Address::Ethereum([account; 20]),
            nonce,
        };
        let outpoint = |chain: &str, txid: &str, vout: u32| ConflictKey::Outpoint {
            chain: Chain::parse(chain).unwrap(),
            txid: txid.to_owned(),
            vout,
        };
        let keys = [
            nonce(1, 2, 3),
            nonce(2, 2, 3),
            nonce(1, 3, 3),
            nonce(1, 2, 4),
            outpoint("bitcoin:mainnet", "aa", 0),
            outpoint("bitcoin:testnet", "aa", 0),
            outpoint("bitcoin:mainnet", "ab", 0),
            outpoint("bitcoin:mainnet", "aa", 1),
        ];
        let names: std::collections::BTreeSet<_> = keys.iter().map(ConflictKey::digest).collect();
        assert_eq!(names.len(), keys.len());
        assert_eq!(
            outpoint("bitcoin:mainnet", "aa", 1).to_string(),
            "output 1 of aa on bitcoin:mainnet"
        );
    }

    #[test]
    fn what_is_used_is_kept_until_a_little_after_the_end() {
        assert!(is_held(1_000, 999) && is_held(1_000, 1_000 + MARGIN_MS - 1));
        assert!(!is_held(1_000, 1_000 + MARGIN_MS));
        assert!(is_held(u64::MAX, u64::MAX - 1));
    }
}
