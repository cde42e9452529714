//! What a new member of a key has to count as spent: it has signed nothing for the key, but others have, and at a node that began with
//! an empty record a limit would allow everything once more.
//!
//! The members before it attest their totals, scope by scope. Where `k` of `n` members have done so, every signature of theirs, by `t`
//! signers, was one of at least `k + t - n` of those; so the highest total among them, times `k / (k + t - n)`, is no less than what was
//! spent in all. The new member counts its own part of that, `t' / n'` of the new committee, rounded up. Whoever attests signs with the
//! old sharing no more, and among any `t` one is honest.

use std::collections::{BTreeMap, BTreeSet};

use policy::amount::Amount;
use policy::chain::{Address, Asset, Chain};
use policy::id::WalletId;
use policy::ledger::ScopeKey;

use crate::codec::{Malformed, Reader, Writer};

const BAD: Malformed = Malformed("totals");

/// The most moments that are told of one scope. Older ones are told together, at the latest of them, which is the careful one.
const MAX_POINTS: usize = 16;

/// No committee makes a larger factor: at most 32 members, each of whom may have to be counted once.
const MAX_TIMES: usize = 1_024;

/// The most bytes of totals in one statement.
const MAX_BYTES: usize = 192 << 10;

/// What was spent at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spent {
    pub(crate) at_ms: u64,
    pub(crate) amount: Amount,
    pub(crate) count: u64,
}

/// What was spent, scope by scope, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals(pub(crate) BTreeMap<ScopeKey, Vec<Spent>>);

impl Totals {
    /// Adds what was spent in a scope.
    pub(crate) fn put(&mut self, scope: ScopeKey, spent: &[Spent]) {
        let each = spent.len().div_ceil(MAX_POINTS).max(1);
        let told = spent.chunks(each).filter_map(|several| {
            let add = |sum: Amount, one: &Spent| sum.saturating_add(one.amount);
            Some(Spent {
                at_ms: several.last()?.at_ms,
                amount: several.iter().fold(Amount::ZERO, add),
                count: several
                    .iter()
                    .fold(0, |sum: u64, one| sum.saturating_add(one.count)),
            })
        });
        self.0.insert(scope, told.collect());
    }

    /// The same at other times.
    pub(crate) fn shifted(&self, to: impl Fn(u64) -> u64) -> Self {
        let shift = |spent: &Vec<Spent>| {
            let all = spent.iter().map(|one| Spent {
                at_ms: to(one.at_ms),
                ..*one
            });
            all.collect()
        };
        Self(
            self.0
                .iter()
                .map(|(scope, all)| (scope.clone(), shift(all)))
                .collect(),
        )
    }

    /// For every scope and every moment the highest of what any says was spent since.
    pub(crate) fn highest(all: &[&Self]) -> Self {
        let scopes: BTreeSet<&ScopeKey> = all.iter().flat_map(|one| one.0.keys()).collect();
        let mut highest = Self::default();
        for scope in scopes {
            let lists: Vec<&Vec<Spent>> = all.iter().filter_map(|one| one.0.get(scope)).collect();
            let times: BTreeSet<u64> = lists
                .iter()
                .flat_map(|list| list.iter().map(|spent| spent.at_ms))
                .collect();
            let (mut amount, mut count) = (Amount::ZERO, 0_u64);
            let mut found: Vec<Spent> = Vec::new();
            for at_ms in times.into_iter().rev() {
                let since = lists.iter().map(|list| since(list, at_ms));
                let (most, times) = since.fold((amount, count), |high, one| {
                    (high.0.max(one.0), high.1.max(one.1))
                });
                found.push(Spent {
                    at_ms,
                    amount: most.saturating_sub(amount),
                    count: times.saturating_sub(count),
                });
                (amount, count) = (most, times);
            }
            found.reverse();
            highest.0.insert(scope.clone(), found);
        }
        highest
    }

    /// `numerator / denominator` of everything, rounded up.
    pub(crate) fn scaled(mut self, numerator: u64, denominator: u64) -> Self {
        let most = Amount::from_be_bytes([0xff; 32]);
        let whole = numerator.checked_div(denominator).unwrap_or(u64::MAX);
        let rest = numerator.checked_rem(denominator).unwrap_or_default();
        for spent in self.0.values_mut().flatten() {
            if !spent.amount.is_zero() {
                let part = spent.amount.scaled_floor(rest, denominator);
                let part = part.map_or(most, |part| part.saturating_add(Amount::from_u64(1)));
                let times = usize::try_from(whole).unwrap_or(usize::MAX).min(MAX_TIMES);
                spent.amount =
                    core::iter::repeat_n(spent.amount, times).fold(part, Amount::saturating_add);
            }
            let part = u128::from(spent.count).saturating_mul(numerator.into());
            let part = part.div_ceil(u128::from(denominator).max(1));
            spent.count = u64::try_from(part).unwrap_or(u64::MAX);
        }
        self
    }

    /// What is told of a scope since a moment.
    pub(crate) fn since(&self, scope: &ScopeKey, since_ms: u64) -> (Amount, u64) {
        let list = self.0.get(scope);
        list.map_or((Amount::ZERO, 0), |list| since(list, since_ms))
    }

    /// Whether so much can be told in one statement.
    pub(crate) fn fits(&self) -> bool {
        self.encode().len() <= MAX_BYTES
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let scopes: Vec<Vec<u8>> = self
            .0
            .iter()
            .map(|(scope, all)| {
                let points: Vec<Vec<u8>> = all.iter().map(encode_spent).collect();
                encode_scope(scope).list(&points).finish()
            })
            .collect();
        Writer::new().list(&scopes).finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new("totals", bytes);
        let mut totals = Self::default();
        for bytes in reader.list()? {
            let mut reader = Reader::new("totals", bytes);
            let scope = decode_scope(&mut reader)?;
            let all = reader.list()?.into_iter().map(decode_spent);
            let all: Vec<Spent> = all.collect::<Result<_, _>>()?;
            reader.finish()?;
            let ascending = all.is_sorted_by(|one, next| one.at_ms <= next.at_ms);
            if !ascending || totals.0.insert(scope, all).is_some() {
                return Err(BAD);
            }
        }
        reader.finish()?;
        Ok(totals)
    }
}

fn since(list: &[Spent], since_ms: u64) -> (Amount, u64) {
    let counted = list.iter().filter(|one| one.at_ms >= since_ms);
    counted.fold((Amount::ZERO, 0), |(amount, count), one| {
        (
            amount.saturating_add(one.amount),
            count.saturating_add(one.count),
        )
    })
}

fn encode_spent(one: &Spent) -> Vec<u8> {
    Writer::new()
        .u64(one.at_ms)
        .fixed(&one.amount.to_be_bytes())
        .u64(one.count)
        .finish()
}

fn decode_spent(bytes: &[u8]) -> Result<Spent, Malformed> {
    let mut reader = Reader::new("totals", bytes);
    let spent = Spent {
        at_ms: reader.u64()?,
        amount: Amount::from_be_bytes(reader.array()?),
        count: reader.u64()?,
    };
    reader.finish()?;
    Ok(spent)
}

/// `u8 kind | wallet or chain | destination | asset`, empty where there is none.
fn encode_scope(scope: &ScopeKey) -> Writer {
    let text = |asset: &Option<Asset>| asset.map_or_else(String::new, |asset| asset.to_string());
    let (kind, where_, to, asset) = match scope {
        ScopeKey::Asset { chain, asset } => {
            (1, chain.to_string(), String::new(), asset.to_string())
        }
        ScopeKey::Destination { chain, to, asset } => {
            (2, chain.to_string(), to.to_string(), text(asset))
        }
        ScopeKey::Wallet { wallet, asset } => {
            (3, wallet.as_str().to_owned(), String::new(), text(asset))
        }
    };
    Writer::new()
        .u8(kind)
        .bytes(where_.as_bytes())
        .bytes(to.as_bytes())
        .bytes(asset.as_bytes())
}

fn decode_scope(reader: &mut Reader<'_>) -> Result<ScopeKey, Malformed> {
    let kind = reader.u8()?;
    let (where_, to, asset) = (reader.text()?, reader.text()?, reader.text()?);
    let some = |text: &str| match text {
        "" => Ok(None),
        text => Asset::parse(text).map(Some).map_err(|_| BAD),
    };
    let chain = || Chain::parse(&where_).map_err(|_| BAD);
    Ok(match (kind, to.as_str()) {
        (1, "") => ScopeKey::Asset {
            chain: chain()?,
            asset: some(&asset)?.ok_or(BAD)?,
        },
        (2, to) => ScopeKey::Destination {
            chain: chain()?,
            to: Address::parse(to).map_err(|_| BAD)?,
            asset: some(&asset)?,
        },
        (3, "") => ScopeKey::Wallet {
            wallet: WalletId::parse(&where_).map_err(|_| BAD)?,
            asset: some(&asset)?,
        },
        _ => return Err(BAD),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(name: &str) -> ScopeKey {
        ScopeKey::Wallet {
            wallet: WalletId::parse(name).unwrap(),
            asset: Some(Asset::Native),
        }
    }

    fn spent(points: &[(u64, u64)]) -> Vec<Spent> {
        let one = |(at_ms, amount): &(u64, u64)| Spent {
            at_ms: *at_ms,
            amount: Amount::from_u64(*amount),
            count: 1,
        };
        points.iter().map(one).collect()
    }

    fn totals(points: &[(u64, u64)]) -> Totals {
        Totals(BTreeMap::from([(scope("hot"), spent(points))]))
    }

    #[test]
    fn the_highest_of_all_counts_for_every_window() {
        let (one, two) = (totals(&[(10, 5), (30, 1)]), totals(&[(20, 4)]));
        let both = Totals::highest(&[&one, &two]);
        for (since_ms, amount) in [(0, 6), (10, 6), (11, 4), (20, 4), (21, 1), (31, 0)] {
            let (found, _) = both.since(&scope("hot"), since_ms);
            assert_eq!(found, Amount::from_u64(amount), "since {since_ms}");
        }
        assert_eq!(both.since(&scope("other"), 0), (Amount::ZERO, 0));
        let part = both.clone().scaled(2, 5);
        assert!(part.since(&scope("hot"), 0).0 >= Amount::from_u64(3));
        // Where few of many have told, more is counted than any of them says; and not much more than that.
        let more = both.scaled(6, 5).since(&scope("hot"), 0).0;
        assert!(more >= Amount::from_u64(8) && more <= Amount::from_u64(11));
    }

    #[test]
    fn many_moments_are_told_together_and_never_too_early() {
        let points: Vec<(u64, u64)> = (0..1_000).map(|at| (at, 1)).collect();
        let mut all = Totals::default();
        all.put(scope("hot"), &spent(&points));
        assert!(all.0[&scope("hot")].len() <= MAX_POINTS);
        for since_ms in [0, 1, 500, 999] {
            let exact = Amount::from_u64(1_000 - since_ms);
            assert!(all.since(&scope("hot"), since_ms).0 >= exact);
        }
        assert_eq!(all.since(&scope("hot"), 1_000).0, Amount::ZERO);
        assert_eq!(Totals::decode(&all.encode()), Ok(all));
    }

    #[test]
    fn every_scope_has_one_encoding() {
        let to = Address::from_bytes([7; 32]);
        let chain = Chain::SolanaDevnet;
        let scopes = [
            scope("hot"),
            ScopeKey::Wallet {
                wallet: WalletId::parse("hot").unwrap(),
                asset: None,
            },
            ScopeKey::Asset {
                chain,
                asset: Asset::Native,
            },
            ScopeKey::Destination {
                chain,
                to,
                asset: None,
            },
            ScopeKey::Destination {
                chain,
                to,
                asset: Some(Asset::Native),
            },
        ];
        let all = scopes.map(|scope| (scope, spent(&[(1, 2)])));
        let all = Totals(all.into_iter().collect());
        let bytes = all.encode();
        assert_eq!(Totals::decode(&bytes), Ok(all));
        for end in 0..bytes.len() {
            assert!(Totals::decode(&bytes[..end]).is_err());
        }
    }
}
