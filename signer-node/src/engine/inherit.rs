//! What a member of a new committee has to count as spent. One that was none before has signed nothing for the key, but others have, and
//! one that stays has booked its part for the old committee, which is another part than for the new one.
//!
//! The members before it attest their totals, scope by scope; a member that stays is one of those itself. Where `k` of `n` members have
//! done so, every signature of theirs, by `t` signers, was one of at least `k + t - n` of those; so the highest total among them, times
//! `k / (k + t - n)`, is no less than what was spent in all. A member counts its own part of that, `t' / n'` of the new committee,
//! rounded up, or what it had booked itself when it joined, whichever is more. Whoever attests signs with the old sharing no more. Too
//! little is counted only where all of those `k + t - n` lie: the fewer tell, the fewer that are. So fewer than all are believed only
//! after a while.
//!
//! What somebody inherited at a sharing is told to nobody who joins at the same one: it is a part for the new committee, and would be
//! taken for one of the old.

use std::collections::{BTreeMap, BTreeSet};

use policy::amount::Amount;
use policy::chain::{Address, Asset, Chain};
use policy::id::WalletId;
use policy::ledger::ScopeKey;

use super::sharings::Place;
use crate::codec::{Malformed, Reader, Writer};

const BAD: Malformed = Malformed("totals");

/// The most moments that are told of one scope. Older ones are told together, at the latest of them, which is the careful one.
const MAX_POINTS: usize = 16;

/// The most members of a committee, and so the most that tell.
const MAX_TELLERS: usize = mpc_core::id::MAX_PARTIES as usize;

/// No committee makes a larger factor: at most 32 members, each of whom may have to be counted once.
const MAX_TIMES: usize = 1_024;

/// The most bytes of totals in one statement.
const MAX_BYTES: usize = 192 << 10;

/// Longer than any window of a policy (366 days), in milliseconds: what was spent before that is of no account.
pub(crate) const LONGEST_MS: u64 = 367 * 86_400_000;

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
    /// Adds what was spent in a scope: so much since a moment, which changes at these times, oldest first.
    pub(crate) fn put(
        &mut self,
        scope: ScopeKey,
        times: &[u64],
        since: impl Fn(u64) -> (Amount, u64),
    ) {
        let each = times.len().div_ceil(MAX_POINTS).max(1);
        let together = times.chunks(each);
        let together = together.filter_map(|times| Some((*times.first()?, *times.last()?)));
        let together: Vec<(u64, u64)> = together.collect();
        self.0.insert(scope, steps(&together, since));
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
            let times = lists.iter().flat_map(|list| list.iter());
            let times: BTreeSet<u64> = times.map(|spent| spent.at_ms).collect();
            let times: Vec<(u64, u64)> = times.into_iter().map(|at_ms| (at_ms, at_ms)).collect();
            let most = |at_ms| {
                let since = lists.iter().map(|list| since(list, at_ms));
                since.fold((Amount::ZERO, 0), higher)
            };
            highest.0.insert(scope.clone(), steps(&times, most));
        }
        highest
    }

    /// `numerator / denominator` of everything that was spent since any moment, rounded up.
    pub(crate) fn scaled(&self, numerator: u64, denominator: u64) -> Self {
        let part = |list: &Vec<Spent>| {
            let times: Vec<(u64, u64)> = list.iter().map(|one| (one.at_ms, one.at_ms)).collect();
            steps(&times, |at_ms| {
                let (amount, count) = since(list, at_ms);
                let count = u128::from(count).saturating_mul(numerator.into());
                let count = count.div_ceil(u128::from(denominator).max(1));
                (
                    scaled(amount, numerator, denominator),
                    u64::try_from(count).unwrap_or(u64::MAX),
                )
            })
        };
        let parts = self.0.iter().map(|(scope, all)| (scope.clone(), part(all)));
        Self(parts.collect())
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

    /// Reads the totals of one node.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::decode_within(bytes, MAX_BYTES, MAX_POINTS)
    }

    /// Reads what this node has made of the totals of several.
    pub(crate) fn decode_stored(bytes: &[u8]) -> Result<Self, Malformed> {
        let most = MAX_BYTES.saturating_mul(MAX_TELLERS);
        Self::decode_within(bytes, most, MAX_POINTS.saturating_mul(MAX_TELLERS))
    }

    fn decode_within(bytes: &[u8], most: usize, points: usize) -> Result<Self, Malformed> {
        if bytes.len() > most {
            return Err(BAD);
        }
        let mut reader = Reader::new("totals", bytes);
        let mut totals = Self::default();
        for bytes in reader.list()? {
            let mut reader = Reader::new("totals", bytes);
            let scope = decode_scope(&mut reader)?;
            let all = reader.list()?;
            if all.len() > points {
                return Err(BAD);
            }
            let all = all.into_iter().map(decode_spent);
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

    /// The times at which something is told of a scope.
    pub(crate) fn times(&self, scope: &ScopeKey) -> impl Iterator<Item = u64> {
        let all = self.0.get(scope).into_iter().flatten();
        all.map(|spent| spent.at_ms)
    }
}

/// What a node counts because others have told it, by key and by the sharing with which it joined: when that was, in its witnessed
/// milliseconds, and its part of what was spent before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parts(BTreeMap<([u8; 32], Place), (u64, Totals)>);

impl Parts {
    pub(crate) fn add(&mut self, key: [u8; 32], place: Place, before_ms: u64, part: Totals) {
        self.0.insert((key, place), (before_ms, part));
    }

    /// What counts in a scope beside the own bookings since a moment. The own bookings of before a sharing was joined and the part that
    /// was told then speak of the same payments, so the higher of both counts; what was booked later comes on top of either. `own` says
    /// what was booked from that moment on and before another one.
    pub(crate) fn beside(
        &self,
        scope: &ScopeKey,
        since_ms: u64,
        own: impl Fn(u64) -> (Amount, u64),
    ) -> (Amount, u64) {
        let more = self.latest().map(|(before_ms, part)| {
            let (amount, count) = part.since(scope, since_ms);
            if amount.is_zero() && count == 0 {
                return (amount, count);
            }
            let own = own(*before_ms);
            (amount.saturating_sub(own.0), count.saturating_sub(own.1))
        });
        more.fold((Amount::ZERO, 0), higher)
    }

    /// The last one of every key: it is a part of all that was spent before, and takes the place of the earlier ones, which were parts
    /// for other committees.
    fn latest(&self) -> impl Iterator<Item = &(u64, Totals)> {
        let mut last = None;
        let all = self.0.iter().rev();
        let latest = all.filter(move |((key, _), _)| last.replace(*key) != Some(*key));
        latest.map(|(_, one)| one)
    }

    /// Those of some sharings only.
    pub(crate) fn only(&self, which: impl Fn(&[u8; 32], Place) -> bool) -> Self {
        let all = self.0.iter().filter(|((key, place), _)| which(key, *place));
        Self(all.map(|(at, part)| (*at, part.clone())).collect())
    }

    /// All scopes of which something is told.
    pub(crate) fn scopes(&self) -> impl Iterator<Item = &ScopeKey> {
        self.latest().flat_map(|(_, part)| part.0.keys())
    }

    /// All times at which something is told of a scope.
    pub(crate) fn times(&self, scope: &ScopeKey) -> impl Iterator<Item = u64> {
        self.latest().flat_map(|(_, part)| part.times(scope))
    }
}

fn higher(one: (Amount, u64), other: (Amount, u64)) -> (Amount, u64) {
    (one.0.max(other.0), one.1.max(other.1))
}

/// What was spent, told at the last of times that are told together, oldest first: since each of them never less than `since` says.
fn steps(together: &[(u64, u64)], since: impl Fn(u64) -> (Amount, u64)) -> Vec<Spent> {
    let mut later = (Amount::ZERO, 0_u64);
    let mut found = Vec::with_capacity(together.len());
    for (first_ms, at_ms) in together.iter().rev() {
        let all = higher(later, since(*first_ms));
        found.push(Spent {
            at_ms: *at_ms,
            amount: all.0.saturating_sub(later.0),
            count: all.1.saturating_sub(later.1),
        });
        later = all;
    }
    found.reverse();
    found
}

fn scaled(amount: Amount, numerator: u64, denominator: u64) -> Amount {
    let most = Amount::from_be_bytes([0xff; 32]);
    let whole = numerator.checked_div(denominator).unwrap_or(u64::MAX);
    let rest = numerator.checked_rem(denominator).unwrap_or_default();
    let part = match rest {
        _ if amount.is_zero() => return amount,
        0 => Amount::ZERO,
        rest => {
            let part = amount.scaled_floor(rest, denominator);
            part.map_or(most, |part| part.saturating_add(Amount::from_u64(1)))
        }
    };
    let times = usize::try_from(whole).unwrap_or(usize::MAX).min(MAX_TIMES);
    core::iter::repeat_n(amount, times).fold(part, Amount::saturating_add)
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
        let part = both.scaled(2, 5);
        assert!(part.since(&scope("hot"), 0).0 >= Amount::from_u64(3));
        // Where few of many have told, more is counted than any of them says; and not much more than that.
        let more = both.scaled(6, 5).since(&scope("hot"), 0).0;
        assert!(more >= Amount::from_u64(8) && more <= Amount::from_u64(11));
    }

    #[test]
    fn many_moments_are_told_together_and_never_too_early() {
        let points: Vec<(u64, u64)> = (0..1_000).map(|at| (at, 1)).collect();
        let (points, times) = (spent(&points), (0..1_000).collect::<Vec<_>>());
        let mut all = Totals::default();
        all.put(scope("hot"), &times, |since_ms| since(&points, since_ms));
        assert!(all.0[&scope("hot")].len() <= MAX_POINTS);
        for since_ms in [0, 1, 500, 999] {
            let exact = Amount::from_u64(1_000 - since_ms);
            assert!(all.since(&scope("hot"), since_ms).0 >= exact);
        }
        assert_eq!(all.since(&scope("hot"), 1_000).0, Amount::ZERO);
        assert_eq!(Totals::decode(&all.encode()), Ok(all));
    }

    #[test]
    fn a_part_is_rounded_up_once_and_not_for_every_payment() {
        let all = totals(&[(1, 1), (2, 1), (3, 1), (4, 1)]);
        let part = all.scaled(2, 3);
        let (amount, count) = part.since(&scope("hot"), 0);
        assert_eq!((amount, count), (Amount::from_u64(3), 3));
        for (since_ms, count) in [(2, 2), (3, 2), (4, 1), (5, 0)] {
            assert_eq!(part.since(&scope("hot"), since_ms).1, count);
        }
        assert_eq!(all.scaled(3, 3), all);
        assert_eq!(
            all.scaled(3, 2).since(&scope("hot"), 0).0,
            Amount::from_u64(7)
        );
    }

    #[test]
    fn the_higher_of_part_and_own_bookings_counts_and_later_ones_beside_it() {
        let mut parts = Parts::default();
        parts.add([1; 32], (1, 1), 100, totals(&[(10, 6), (50, 5)]));
        // Booked at 10 and 40 before the sharing was joined, and at 200 after.
        let own = spent(&[(10, 9), (40, 1), (200, 2)]);
        let count = |parts: &Parts, since_ms: u64| {
            let booked = |at_ms| since(&own, at_ms).0;
            let more = parts.beside(&scope("hot"), since_ms, |before_ms| {
                let before = booked(since_ms).saturating_sub(booked(before_ms.max(since_ms)));
                (before, 0)
            });
            booked(since_ms).saturating_add(more.0).to_u64().unwrap()
        };
        // Since 10 the part is 11 and the own bookings were 10; since 20 it is 5 against 1; since 51 there is neither.
        let is = [
            (10, 13),
            (20, 7),
            (41, 7),
            (50, 7),
            (51, 2),
            (200, 2),
            (201, 0),
        ];
        for (since_ms, amount) in is {
            assert_eq!(count(&parts, since_ms), amount, "since {since_ms}");
        }
        // Another reshare, later: its part is one of the same payments and of the one at 200, and takes the place of the first.
        parts.add([1; 32], (2, 1), 300, totals(&[(10, 12), (200, 3)]));
        for (since_ms, amount) in [(10, 15), (20, 3), (51, 3), (200, 3), (201, 0)] {
            assert_eq!(count(&parts, since_ms), amount, "since {since_ms}");
        }
        let first = parts.only(|_, place| place < (2, 1));
        assert_eq!(count(&first, 20), 7);
        // Another key may share the scope: what it was told of counts as well, where it is more.
        parts.add([2; 32], (1, 1), 300, totals(&[(20, 9)]));
        for (since_ms, amount) in [(10, 15), (20, 9), (51, 3)] {
            assert_eq!(count(&parts, since_ms), amount, "since {since_ms}");
        }
        // A part that is less than the own bookings changes nothing.
        let mut less = Parts::default();
        less.add([1; 32], (1, 1), 300, totals(&[(10, 1), (200, 1)]));
        for since_ms in [0, 10, 11, 40, 41, 200, 201] {
            assert_eq!(
                count(&less, since_ms),
                since(&own, since_ms).0.to_u64().unwrap()
            );
        }
        let none = less.only(|key, place| *key == [1; 32] && place < (1, 1));
        assert_eq!(none.scopes().count(), 0);
    }

    #[test]
    fn no_more_is_read_than_a_node_may_tell() {
        let most: Vec<(u64, u64)> = (0..16).map(|at| (at, 1)).collect();
        let one = totals(&most);
        assert_eq!(Totals::decode(&one.encode()).as_ref(), Ok(&one));
        let more: Vec<(u64, u64)> = (0..17).map(|at| (at, 1)).collect();
        let more = totals(&more);
        assert!(Totals::decode(&more.encode()).is_err());
        // What was made of the totals of several may have as many moments as they have together.
        assert_eq!(Totals::decode_stored(&more.encode()).as_ref(), Ok(&more));
        let tellers: Vec<Totals> = (0..32_u64)
            .map(|teller| {
                let points: Vec<_> = (0..16).map(|at| (at * 32 + teller, teller + 1)).collect();
                totals(&points)
            })
            .collect();
        let highest = Totals::highest(&tellers.iter().collect::<Vec<_>>()).scaled(3, 2);
        assert_eq!(highest.0[&scope("hot")].len(), 512);
        assert_eq!(Totals::decode_stored(&highest.encode()), Ok(highest));
        let beyond: Vec<(u64, u64)> = (0..513).map(|at| (at, 1)).collect();
        assert!(Totals::decode_stored(&totals(&beyond).encode()).is_err());

        let mut large = Totals::default();
        for number in 0..4_000 {
            let name = format!("wallet-{number}-{}", "x".repeat(24));
            large.0.insert(scope(&name), spent(&[(1, 1)]));
        }
        assert!(!large.fits());
        assert!(Totals::decode(&large.encode()).is_err());
        assert_eq!(Totals::decode_stored(&large.encode()), Ok(large));
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
