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

/// What was spent, scope by scope, oldest first. Where no single destination is told of, anything may have gone to any of them.
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
        let mut scopes: BTreeSet<&ScopeKey> = all.iter().flat_map(|one| one.0.keys()).collect();
        if all.iter().any(|one| one.is_coarse()) {
            scopes.retain(|scope| !is_destination(scope));
        }
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
        match (self.0.get(scope), scope) {
            (Some(list), _) => since(list, since_ms),
            (None, ScopeKey::Destination { chain, asset, .. }) if self.is_coarse() => {
                let mut sum = Vec::new();
                for (other, list) in &self.0 {
                    if matches!(other, ScopeKey::Asset { chain: on, asset: of } if on == chain && asset.is_none_or(|asset| asset == *of))
                    {
                        sum.extend_from_slice(list);
                    }
                }
                since(&sum, since_ms)
            }
            (None, _) => (Amount::ZERO, 0),
        }
    }

    /// Whether something is told, and of no single destination.
    pub(crate) fn is_coarse(&self) -> bool {
        !self.0.is_empty() && !self.0.keys().any(is_destination)
    }

    /// The same without a word on single destinations, for where there are too many.
    pub(crate) fn coarse(mut self) -> Self {
        self.0.retain(|scope, _| !is_destination(scope));
        self
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

    /// Whether one of them says nothing of single destinations.
    pub(crate) fn are_coarse(&self) -> bool {
        self.latest().any(|(_, part)| part.is_coarse())
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

/// Whether a scope is a single destination.
pub(crate) const fn is_destination(scope: &ScopeKey) -> bool {
    matches!(scope, ScopeKey::Destination { .. })
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
mod tests;
