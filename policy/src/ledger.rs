//! What was spent: the debits of a request, the scopes they count in, and the windows limits look back over.
//!
//! # Windows
//! A window of length `w` slides in [`BUCKETS`] = 60 steps of `ceil(w / 60)` milliseconds, aligned to the Unix epoch, so
//! that a restart computes the same. The step in which the window begins counts whole: a limit looks back over at least
//! `w` and less than `w` plus one step, never over less than it says.
//!
//! # Debits
//! What counts is the gross outflow: every transfer, and the highest possible fee as native coin. Once a signer may have
//! let its part of a signature out, the amount is spent whatever happens later.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use crate::amount::Amount;
use crate::chain::{Address, Asset, Chain};
use crate::conflict::{ConflictKey, is_held};
use crate::id::WalletId;
use crate::time::Period;

/// Steps per window.
pub const BUCKETS: u64 = 60;

/// The length of one step of a window, in milliseconds; at least 1.
#[must_use]
pub const fn bucket_ms(window: Period) -> u64 {
    match window.as_ms().div_ceil(BUCKETS) {
        0 => 1,
        ms => ms,
    }
}

/// The first instant that a window ending now looks back to, Unix milliseconds: at most `now_ms - window`.
#[must_use]
pub fn window_start(now_ms: u64, window: Period) -> u64 {
    let step = bucket_ms(window);
    let begin = now_ms.saturating_sub(window.as_ms());
    begin.saturating_sub(begin.checked_rem(step).unwrap_or(0))
}

/// What a sum or a count is about. Its text is one to one and fit for a row key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ScopeKey {
    /// An asset, from every wallet of the chain.
    Asset {
        /// The chain.
        chain: Chain,
        /// The asset.
        asset: Asset,
    },
    /// A destination, from every wallet of the chain.
    Destination {
        /// The chain.
        chain: Chain,
        /// The destination.
        to: Address,
        /// One asset, or whichever (then only a count makes sense).
        asset: Option<Asset>,
    },
    /// One wallet.
    Wallet {
        /// The wallet.
        wallet: WalletId,
        /// One asset, or whichever (then only a count makes sense).
        asset: Option<Asset>,
    },
}

impl fmt::Display for ScopeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let any =
            |asset: &Option<Asset>| asset.map_or_else(|| "*".to_owned(), |asset| asset.to_string());
        match self {
            Self::Asset { chain, asset } => write!(f, "asset/{chain}/{asset}"),
            Self::Destination { chain, to, asset } => {
                write!(f, "destination/{chain}/{to}/{}", any(asset))
            }
            Self::Wallet { wallet, asset } => write!(f, "wallet/{wallet}/{}", any(asset)),
        }
    }
}

/// One movement out of a wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Debit {
    /// The wallet it leaves.
    pub wallet: WalletId,
    /// The wallet's chain.
    pub chain: Chain,
    /// Where it goes; absent for the fee, which goes to no destination.
    pub destination: Option<Address>,
    /// The asset.
    pub asset: Asset,
    /// How much, in base units.
    pub amount: Amount,
}

impl Debit {
    /// Every scope in which a limit may ask for this debit, sums and counts alike.
    #[must_use]
    pub fn scopes(&self) -> Vec<ScopeKey> {
        let mut scopes = vec![
            ScopeKey::Asset {
                chain: self.chain,
                asset: self.asset,
            },
            ScopeKey::Wallet {
                wallet: self.wallet.clone(),
                asset: Some(self.asset),
            },
            ScopeKey::Wallet {
                wallet: self.wallet.clone(),
                asset: None,
            },
        ];
        if let Some(to) = self.destination {
            scopes.push(ScopeKey::Destination {
                chain: self.chain,
                to,
                asset: Some(self.asset),
            });
            scopes.push(ScopeKey::Destination {
                chain: self.chain,
                to,
                asset: None,
            });
        }
        scopes
    }

    /// Whether the debit counts in a scope.
    #[must_use]
    pub fn is_in(&self, scope: &ScopeKey) -> bool {
        self.scopes().contains(scope)
    }
}

/// What a decision needs to know of earlier requests.
///
/// Every answer is about requests *other* than the one under decision: its own debits, where it was reserved before, are
/// left out, so that trying the same request again neither counts it twice nor escapes a limit.
pub trait LedgerView {
    /// The sum of all debits in the scope with a time of `since_ms` or later.
    fn sum(&self, scope: &ScopeKey, since_ms: u64) -> Amount;

    /// How many distinct requests have a debit in the scope with a time of `since_ms` or later.
    fn count(&self, scope: &ScopeKey, since_ms: u64) -> u64;

    /// The digest of another request that was recorded for the same raw transaction, see
    /// [`Intent::raw_digest`](crate::intent::Intent::raw_digest).
    fn conflict(&self, raw_digest: &[u8; 32]) -> Option<[u8; 32]>;

    /// The digest of another request that was recorded as using what this is the name of, see
    /// [`ConflictKey::digest`](crate::conflict::ConflictKey::digest), and may still be signed at `now_ms`, see
    /// [`is_held`].
    fn holder(&self, key: &[u8; 32], now_ms: u64) -> Option<[u8; 32]>;
}

/// One recorded request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it was reserved, Unix milliseconds.
    pub at_ms: u64,
    /// The digest of its raw transaction, 32 bytes.
    pub raw_digest: [u8; 32],
    /// What leaves.
    pub debits: Vec<Debit>,
}

/// A ledger in memory: for `policy eval`, for replays of an audit log, and as the model that stored ledgers are held to.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    entries: BTreeMap<[u8; 32], Entry>,
    /// Who uses what, and how long it can be signed.
    held: BTreeMap<[u8; 32], ([u8; 32], u64)>,
}

impl Ledger {
    /// A ledger without entries.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            entries: BTreeMap::new(),
            held: BTreeMap::new(),
        }
    }

    /// Records what a request uses up; it can be signed until `expires_ms`.
    pub fn hold(&mut self, digest: [u8; 32], conflicts: &[ConflictKey], expires_ms: u64) {
        let names = conflicts.iter().map(ConflictKey::digest);
        self.held
            .extend(names.map(|name| (name, (digest, expires_ms))));
    }

    /// Records a request under its digest. A request that is already there keeps its first entry.
    pub fn record(&mut self, digest: [u8; 32], entry: Entry) {
        self.entries.entry(digest).or_insert(entry);
    }

    /// The ledger as the request with this digest sees it: without its own entry.
    #[must_use]
    pub const fn view(&self, digest: [u8; 32]) -> View<'_> {
        View {
            ledger: self,
            digest,
        }
    }
}

/// A [`Ledger`] without the entry of one request.
#[derive(Clone, Copy, Debug)]
pub struct View<'l> {
    ledger: &'l Ledger,
    digest: [u8; 32],
}

impl View<'_> {
    fn others(&self) -> impl Iterator<Item = (&[u8; 32], &Entry)> {
        self.ledger
            .entries
            .iter()
            .filter(|(digest, _)| **digest != self.digest)
    }
}

impl LedgerView for View<'_> {
    fn sum(&self, scope: &ScopeKey, since_ms: u64) -> Amount {
        let recent = self.others().filter(|(_, entry)| entry.at_ms >= since_ms);
        let debits = recent
            .flat_map(|(_, entry)| &entry.debits)
            .filter(|debit| debit.is_in(scope));
        debits.fold(Amount::ZERO, |sum, debit| sum.saturating_add(debit.amount))
    }

    fn count(&self, scope: &ScopeKey, since_ms: u64) -> u64 {
        let recent = self.others().filter(|(_, entry)| entry.at_ms >= since_ms);
        let touched: BTreeSet<&[u8; 32]> = recent
            .filter(|(_, entry)| entry.debits.iter().any(|debit| debit.is_in(scope)))
            .map(|(digest, _)| digest)
            .collect();
        u64::try_from(touched.len()).unwrap_or(u64::MAX)
    }

    fn conflict(&self, raw_digest: &[u8; 32]) -> Option<[u8; 32]> {
        self.others()
            .find(|(_, entry)| entry.raw_digest == *raw_digest)
            .map(|(digest, _)| *digest)
    }

    fn holder(&self, key: &[u8; 32], now_ms: u64) -> Option<[u8; 32]> {
        let (digest, expires_ms) = self.ledger.held.get(key)?;
        (*digest != self.digest && is_held(*expires_ms, now_ms)).then_some(*digest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn debit(amount: u64) -> Debit {
        Debit {
            wallet: WalletId::parse("hot").unwrap(),
            chain: Chain::SolanaDevnet,
            destination: Some(Address::from_bytes([9; 32])),
            asset: Asset::Native,
            amount: Amount::from_u64(amount),
        }
    }

    #[test]
    fn a87_a_window_never_looks_back_less_than_it_says() {
        let day = Period::parse("24h").unwrap();
        let step = bucket_ms(day);
        assert_eq!(step, 24 * 60 * 1000);
        let now = 1_796_083_200_000 + 17 * 60_000;
        // One second inside the window, one second outside it but in the step that the window begins in, and just before.
        let begin = now - day.as_ms();
        let start = window_start(now, day);
        assert_eq!(start, begin - begin % step);
        let mut ledger = Ledger::new();
        for (n, at_ms) in [begin + 1_000, begin, begin - 1_000, start, start - 1]
            .into_iter()
            .enumerate()
        {
            let n = u8::try_from(n).unwrap();
            ledger.record(
                [n; 32],
                Entry {
                    at_ms,
                    raw_digest: [n; 32],
                    debits: vec![debit(1 << n)],
                },
            );
        }
        let scope = debit(0).scopes().remove(0);
        assert_eq!(
            ledger.view([99; 32]).sum(&scope, start),
            Amount::from_u64(0b01111)
        );
        assert_eq!(ledger.view([99; 32]).count(&scope, start), 4);
    }

    #[test]
    fn the_own_entry_is_left_out_and_a_second_entry_changes_nothing() {
        let mut ledger = Ledger::new();
        ledger.record(
            [1; 32],
            Entry {
                at_ms: 5,
                raw_digest: [7; 32],
                debits: vec![debit(3), debit(4)],
            },
        );
        ledger.record(
            [1; 32],
            Entry {
                at_ms: 5,
                raw_digest: [7; 32],
                debits: vec![debit(9)],
            },
        );
        for scope in debit(0).scopes() {
            assert_eq!(ledger.view([1; 32]).sum(&scope, 0), Amount::ZERO);
            assert_eq!(
                ledger.view([2; 32]).sum(&scope, 0),
                Amount::from_u64(7),
                "{scope}"
            );
            assert_eq!(ledger.view([2; 32]).count(&scope, 0), 1, "{scope}");
        }
        assert_eq!(ledger.view([2; 32]).conflict(&[7; 32]), Some([1; 32]));
        assert_eq!(ledger.view([1; 32]).conflict(&[7; 32]), None);
        assert_eq!(ledger.view([2; 32]).conflict(&[8; 32]), None);
    }

    #[test]
    fn scopes_have_texts_of_their_own() {
        let texts: BTreeSet<String> = debit(0).scopes().iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), debit(0).scopes().len());
        assert!(texts.contains("wallet/hot/native"), "{texts:?}");
        let fee = Debit {
            destination: None,
            ..debit(1)
        };
        assert_eq!(fee.scopes().len(), 3);
    }

    proptest! {
        #[test]
        fn a87_window_starts_are_conservative_and_monotone(now in 0u64..4_000_000_000_000, ms in 1u64..31_622_400_000, later in 0u64..100_000) {
            let window = Period::from_ms(ms);
            let start = window_start(now, window);
            prop_assert!(start <= now.saturating_sub(ms));
            prop_assert!(now.saturating_sub(ms).saturating_sub(start) < bucket_ms(window));
            prop_assert!(window_start(now.saturating_add(later), window) >= start);
        }
    }
}
