//! What this node has debited, in memory, as the store has it.
//!
//! Times are witnessed milliseconds (see [`crate::clock`]): setting the wall clock ahead frees no room under a limit.
//! A reservation is never taken back: from the moment a share may have left, the amount is spent.

use std::collections::{BTreeMap, BTreeSet};

use policy::amount::Amount;
use policy::chain::{Address, Asset, Chain};
use policy::conflict::is_held;
use policy::id::WalletId;
use policy::ledger::{Debit, LedgerView, ScopeKey};

use super::inherit::{LONGEST_MS, Parts, Totals, is_destination};
use super::sharings::Place;
use crate::clock::Now;
use crate::codec::{Malformed, Reader, Writer};

/// Debits of one scope that are this close together are counted as one, at the later time.
const MERGE_MS: u64 = 1_000;
/// How long after its expiry an intent's own entry is kept; it cannot be signed any more by then.
const KEEP_MS: u64 = 86_400_000;

/// One row of the ledger: a share that may have left, and what its intent debits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Digest of the intent.
    pub(crate) intent: [u8; 32],
    /// Hash of the exact package the share is for.
    pub(crate) package: [u8; 32],
    /// When it was reserved, witnessed milliseconds.
    pub(crate) at_ms: u64,
    /// When the intent expires, unix milliseconds.
    pub(crate) expires_ms: u64,
    /// Digest of the raw transaction.
    pub(crate) raw: [u8; 32],
    /// What the transaction uses up on its chain, by name.
    pub(crate) conflicts: Vec<[u8; 32]>,
    /// Gross outflow.
    pub(crate) debits: Vec<Debit>,
}

impl Entry {
    /// The row's key: one share per intent and package.
    pub(crate) fn key(&self) -> Vec<u8> {
        row_key(&self.intent, &self.package)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let debits: Vec<Vec<u8>> = self.debits.iter().map(encode_debit).collect();
        Writer::new()
            .fixed(&self.intent)
            .fixed(&self.package)
            .u64(self.at_ms)
            .u64(self.expires_ms)
            .fixed(&self.raw)
            .list(&self.conflicts)
            .list(&debits)
            .finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new("ledger entry", bytes);
        let entry = Self {
            intent: reader.array()?,
            package: reader.array()?,
            at_ms: reader.u64()?,
            expires_ms: reader.u64()?,
            raw: reader.array()?,
            conflicts: reader
                .list()?
                .into_iter()
                .map(|name| name.try_into().map_err(|_| Malformed("ledger entry")))
                .collect::<Result<_, _>>()?,
            debits: reader
                .list()?
                .into_iter()
                .map(decode_debit)
                .collect::<Result<_, _>>()?,
        };
        reader.finish()?;
        Ok(entry)
    }
}

/// The key of the row that permits one share.
pub(crate) fn row_key(intent: &[u8; 32], package: &[u8; 32]) -> Vec<u8> {
    [intent.as_slice(), package.as_slice()].concat()
}

fn encode_debit(debit: &Debit) -> Vec<u8> {
    let to = debit
        .destination
        .map(|to| to.to_string())
        .unwrap_or_default();
    Writer::new()
        .bytes(debit.wallet.as_str().as_bytes())
        .bytes(debit.chain.to_string().as_bytes())
        .bytes(to.as_bytes())
        .bytes(debit.asset.to_string().as_bytes())
        .fixed(&debit.amount.to_be_bytes())
        .finish()
}

fn decode_debit(bytes: &[u8]) -> Result<Debit, Malformed> {
    const BAD: Malformed = Malformed("ledger entry");
    let mut reader = Reader::new("ledger entry", bytes);
    let wallet = WalletId::parse(&reader.text()?).map_err(|_| BAD)?;
    let chain = Chain::parse(&reader.text()?).map_err(|_| BAD)?;
    let to = reader.text()?;
    let destination = if to.is_empty() {
        None
    } else {
        Some(Address::parse(&to).map_err(|_| BAD)?)
    };
    let asset = Asset::parse(&reader.text()?).map_err(|_| BAD)?;
    let amount = Amount::from_be_bytes(reader.array()?);
    reader.finish()?;
    Ok(Debit {
        wallet,
        chain,
        destination,
        asset,
        amount,
    })
}

/// Everything debited up to a moment in one scope.
#[derive(Clone, Copy, Debug)]
struct Point {
    first_ms: u64,
    at_ms: u64,
    sum: Amount,
    count: u64,
}

/// The debits of one scope, oldest first, as running totals.
#[derive(Clone, Debug, Default)]
struct Series {
    points: Vec<Point>,
    /// A total that no longer fits: from then on the scope counts as spent without end.
    overflowed: bool,
}

impl Series {
    fn add(&mut self, at_ms: u64, amount: Amount) {
        // Rows are written in the order of time; the later time is the careful one should they ever not be.
        let at_ms = self
            .points
            .last()
            .map_or(at_ms, |last| last.at_ms.max(at_ms));
        let (sum, count) = self
            .points
            .last()
            .map_or((Amount::ZERO, 0), |last| (last.sum, last.count));
        let Some(sum) = sum.checked_add(amount) else {
            self.overflowed = true;
            return;
        };
        let count = count.saturating_add(1);
        match self.points.last_mut() {
            Some(last) if at_ms.saturating_sub(last.first_ms) < MERGE_MS => {
                last.at_ms = last.at_ms.max(at_ms);
                (last.sum, last.count) = (sum, count);
            }
            _ => self.points.push(Point {
                first_ms: at_ms,
                at_ms,
                sum,
                count,
            }),
        }
    }

    fn since(&self, since_ms: u64) -> (Amount, u64) {
        if self.overflowed {
            return (Amount::from_be_bytes([0xff; 32]), u64::MAX);
        }
        let (end, count) = self
            .points
            .last()
            .map_or((Amount::ZERO, 0), |last| (last.sum, last.count));
        let first = self.points.partition_point(|point| point.at_ms < since_ms);
        let before = first.checked_sub(1).and_then(|at| self.points.get(at));
        let (start, counted) = before.map_or((Amount::ZERO, 0), |point| (point.sum, point.count));
        (end.saturating_sub(start), count.saturating_sub(counted))
    }
}

/// What was let out in a scope since a moment, and what was inherited beside that.
fn counted(
    series: Option<&Series>,
    inherited: &Parts,
    scope: &ScopeKey,
    since_ms: u64,
) -> [(Amount, u64); 2] {
    let since = |at_ms| series.map_or((Amount::ZERO, 0), |series| series.since(at_ms));
    let (amount, count) = since(since_ms);
    let more = inherited.beside(scope, since_ms, |before_ms| {
        let later = since(before_ms.max(since_ms));
        (
            amount.saturating_sub(later.0),
            count.saturating_sub(later.1),
        )
    });
    [(amount, count), more]
}

/// One intent's own record, kept while it may still be retried.
#[derive(Clone, Debug)]
struct Own {
    at_ms: u64,
    raw: [u8; 32],
    conflicts: Vec<[u8; 32]>,
    debits: Vec<Debit>,
    packages: BTreeSet<[u8; 32]>,
}

/// All debits of this node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    own: BTreeMap<[u8; 32], Own>,
    by_raw: BTreeMap<[u8; 32], [u8; 32]>,
    /// Who uses what on a chain, and how long it can be signed.
    held: BTreeMap<[u8; 32], ([u8; 32], u64)>,
    by_expiry: BTreeSet<(u64, [u8; 32])>,
    scopes: BTreeMap<ScopeKey, Series>,
    rows: u64,
    /// What was spent before this moment is not known here, because it was lost with the store.
    blind_ms: u64,
    /// What this node counts as spent because it was, before it became a member; witnessed milliseconds.
    inherited: Parts,
}

impl Ledger {
    /// Records that a share may leave. The amount is debited with the intent's first share only.
    pub(crate) fn record(&mut self, entry: &Entry) {
        self.rows = self.rows.saturating_add(1);
        if let Some(own) = self.own.get_mut(&entry.intent) {
            own.packages.insert(entry.package);
            return;
        }
        let mut sums: BTreeMap<ScopeKey, Amount> = BTreeMap::new();
        for debit in &entry.debits {
            for scope in debit.scopes() {
                let sum = sums.entry(scope).or_insert(Amount::ZERO);
                *sum = sum.saturating_add(debit.amount);
            }
        }
        for (scope, sum) in sums {
            self.scopes.entry(scope).or_default().add(entry.at_ms, sum);
        }
        self.by_raw.entry(entry.raw).or_insert(entry.intent);
        for name in &entry.conflicts {
            self.held.insert(*name, (entry.intent, entry.expires_ms));
        }
        self.by_expiry.insert((entry.expires_ms, entry.intent));
        let own = Own {
            at_ms: entry.at_ms,
            raw: entry.raw,
            conflicts: entry.conflicts.clone(),
            debits: entry.debits.clone(),
            packages: BTreeSet::from([entry.package]),
        };
        self.own.insert(entry.intent, own);
    }

    /// Windows that reach back before this moment count as used up.
    pub(crate) const fn blind_before(&mut self, witnessed_ms: u64) {
        self.blind_ms = witnessed_ms;
    }

    /// From here on this part of what was spent before this node joined a sharing of a key counts.
    pub(crate) fn inherit(&mut self, key: [u8; 32], place: Place, before_ms: u64, part: Totals) {
        self.inherited.add(key, place, before_ms, part);
    }

    /// What this node has let out or inherited, for somebody who has to be as strict, in witnessed milliseconds; of what it inherited
    /// only that at some sharings. `None` if it does not know it itself, or if it is too much to be told.
    pub(crate) fn totals(
        &self,
        now: Now,
        which: impl Fn(&[u8; 32], Place) -> bool,
    ) -> Option<Totals> {
        if self.blind_ms != 0 && self.blind_ms.saturating_add(LONGEST_MS) > now.witnessed_ms {
            return None;
        }
        let inherited = self.inherited.only(which);
        let mut scopes: BTreeSet<&ScopeKey> =
            self.scopes.keys().chain(inherited.scopes()).collect();
        if inherited.are_coarse() {
            scopes.retain(|scope| !is_destination(scope));
        }
        let mut told = Totals::default();
        for scope in scopes {
            let series = self.scopes.get(scope);
            if series.is_some_and(|series| series.overflowed) {
                return None;
            }
            let points = series.into_iter().flat_map(|series| &series.points);
            let own = points.map(|point| point.at_ms);
            let times: BTreeSet<u64> = own.chain(inherited.times(scope)).collect();
            let times: Vec<u64> = times.into_iter().collect();
            told.put(scope.clone(), &times, |since_ms| {
                let [own, more] = counted(series, &inherited, scope, since_ms);
                (own.0.saturating_add(more.0), own.1.saturating_add(more.1))
            });
        }
        let told = if told.fits() { told } else { told.coarse() };
        told.fits().then_some(told)
    }

    /// When the intent was first debited, witnessed milliseconds.
    pub(crate) fn reserved_at(&self, intent: &[u8; 32]) -> Option<u64> {
        self.own.get(intent).map(|own| own.at_ms)
    }

    /// Whether a share for exactly this package may have left.
    pub(crate) fn released(&self, intent: &[u8; 32], package: &[u8; 32]) -> bool {
        self.own
            .get(intent)
            .is_some_and(|own| own.packages.contains(package))
    }

    /// Forgets the own records of intents that expired long ago; their debits stay in the windows.
    pub(crate) fn compact(&mut self, wall_ms: u64) {
        let old = |expires_ms: u64| expires_ms.saturating_add(KEEP_MS) <= wall_ms;
        while let Some((expires_ms, intent)) =
            self.by_expiry.first().copied().filter(|(at, _)| old(*at))
        {
            self.by_expiry.remove(&(expires_ms, intent));
            let Some(own) = self.own.remove(&intent) else {
                continue;
            };
            if self.by_raw.get(&own.raw) == Some(&intent) {
                self.by_raw.remove(&own.raw);
            }
            for name in &own.conflicts {
                if self.held.get(name).is_some_and(|(by, _)| *by == intent) {
                    self.held.remove(name);
                }
            }
        }
    }

    /// Shares released in all.
    pub(crate) const fn rows(&self) -> u64 {
        self.rows
    }

    /// The ledger as one intent sees it at one moment.
    /// Windows that reach back before `blind_ms`, witnessed milliseconds, count as used up.
    pub(crate) fn view(&self, intent: [u8; 32], now: Now, blind_ms: u64) -> View<'_> {
        View {
            ledger: self,
            intent,
            now,
            blind_ms: self.blind_ms.max(blind_ms),
        }
    }
}

/// The ledger without the intent's own debits, on today's wall clock.
#[derive(Debug)]
pub(crate) struct View<'a> {
    ledger: &'a Ledger,
    intent: [u8; 32],
    now: Now,
    blind_ms: u64,
}

impl View<'_> {
    fn totals(&self, scope: &ScopeKey, since_ms: u64) -> (Amount, u64) {
        let since = self.now.witnessed(since_ms);
        if since < self.blind_ms {
            return (Amount::from_be_bytes([0xff; 32]), u64::MAX);
        }
        let series = self.ledger.scopes.get(scope);
        let [(sum, count), more] = counted(series, &self.ledger.inherited, scope, since);
        let overflowed = series.is_some_and(|series| series.overflowed);
        let own = self
            .ledger
            .own
            .get(&self.intent)
            .filter(|own| own.at_ms >= since && !overflowed);
        let mine: Vec<Amount> = own
            .into_iter()
            .flat_map(|own| &own.debits)
            .filter(|debit| debit.is_in(scope))
            .map(|debit| debit.amount)
            .collect();
        let amount = mine
            .iter()
            .fold(Amount::ZERO, |sum, amount| sum.saturating_add(*amount));
        (
            sum.saturating_sub(amount).saturating_add(more.0),
            count
                .saturating_sub(u64::from(!mine.is_empty()))
                .saturating_add(more.1),
        )
    }
}

impl LedgerView for View<'_> {
    fn sum(&self, scope: &ScopeKey, since_ms: u64) -> Amount {
        self.totals(scope, since_ms).0
    }

    fn count(&self, scope: &ScopeKey, since_ms: u64) -> u64 {
        self.totals(scope, since_ms).1
    }

    fn conflict(&self, raw_digest: &[u8; 32]) -> Option<[u8; 32]> {
        self.ledger
            .by_raw
            .get(raw_digest)
            .copied()
            .filter(|other| *other != self.intent)
    }

    fn holder(&self, key: &[u8; 32], now_ms: u64) -> Option<[u8; 32]> {
        let (intent, expires_ms) = self.ledger.held.get(key)?;
        (*intent != self.intent && is_held(*expires_ms, now_ms)).then_some(*intent)
    }
}

#[cfg(test)]
mod told;

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "small numbers of a test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(super) fn debit(wallet: &str, to: Option<u8>, amount: u64) -> Debit {
        Debit {
            wallet: WalletId::parse(wallet).unwrap(),
            chain: Chain::SolanaDevnet,
            destination: to.map(|byte| Address::from_bytes([byte; 32])),
            asset: Asset::Native,
            amount: Amount::from_u64(amount),
        }
    }

    pub(super) fn entry(intent: u8, package: u8, at_ms: u64, debits: Vec<Debit>) -> Entry {
        Entry {
            intent: [intent; 32],
            package: [package; 32],
            at_ms,
            expires_ms: at_ms + 10,
            raw: [intent; 32],
            conflicts: vec![[package; 32], [0xee; 32]],
            debits,
        }
    }

    pub(super) fn now(wall_ms: u64, witnessed_ms: u64) -> Now {
        Now {
            wall_ms,
            witnessed_ms,
        }
    }

    #[test]
    fn an_entry_has_one_encoding() {
        let entry = entry(
            1,
            2,
            3,
            vec![debit("hot", Some(9), 5), debit("hot", None, 1)],
        );
        let bytes = entry.encode();
        assert_eq!(Entry::decode(&bytes), Ok(entry));
        for end in 0..bytes.len() {
            assert!(Entry::decode(&bytes[..end]).is_err());
        }
    }

    #[test]
    fn a89_a_second_share_of_one_intent_debits_nothing_and_nothing_is_given_back() {
        let mut ledger = Ledger::default();
        ledger.record(&entry(1, 1, 1_000, vec![debit("hot", Some(9), 5)]));
        ledger.record(&entry(1, 2, 9_000, vec![debit("hot", Some(9), 5)]));
        let scope = debit("hot", None, 0).scopes().remove(1);
        let other = ledger.view([2; 32], now(10_000, 10_000), 0);
        assert_eq!(
            (other.sum(&scope, 0), other.count(&scope, 0)),
            (Amount::from_u64(5), 1)
        );
        assert_eq!(
            ledger.view([1; 32], now(10_000, 10_000), 0).sum(&scope, 0),
            Amount::ZERO
        );
        assert!(ledger.released(&[1; 32], &[2; 32]) && !ledger.released(&[1; 32], &[3; 32]));
        ledger.compact(u64::MAX);
        assert_eq!(
            ledger.view([2; 32], now(10_000, 10_000), 0).sum(&scope, 0),
            Amount::from_u64(5)
        );
    }

    #[test]
    fn a96_what_a_request_uses_is_its_own_until_it_has_expired() {
        let mut ledger = Ledger::default();
        ledger.record(&entry(1, 7, 1_000, Vec::new()));
        let end = 1_010 + policy::conflict::MARGIN_MS;
        let holder = |ledger: &Ledger, intent: u8, now_ms: u64| {
            let view = ledger.view([intent; 32], now(0, 0), 0);
            view.holder(&[7; 32], now_ms)
        };
        assert_eq!(holder(&ledger, 2, end - 1), Some([1; 32]));
        assert_eq!(holder(&ledger, 1, end - 1), None);
        assert_eq!(holder(&ledger, 2, end), None);
        // Whoever comes next keeps it, also when the first is forgotten.
        ledger.record(&entry(2, 7, end, Vec::new()));
        ledger.compact(1_010 + KEEP_MS);
        assert_eq!(holder(&ledger, 3, end + 1), Some([2; 32]));
        ledger.compact(end + 10 + KEEP_MS);
        assert!(ledger.held.is_empty() && ledger.own.is_empty());
    }

    #[test]
    fn a90_a_wall_clock_set_ahead_frees_no_room() {
        let mut ledger = Ledger::default();
        ledger.record(&entry(1, 1, 100_000, vec![debit("hot", Some(9), 5)]));
        let scope = debit("hot", None, 0).scopes().remove(1);
        // The wall says that two days passed, the boot clock says one second.
        let view = ledger.view([2; 32], now(100_000 + 172_800_000, 101_000), 0);
        assert_eq!(
            view.sum(&scope, 100_000 + 172_800_000 - 86_400_000),
            Amount::from_u64(5)
        );
        let later = ledger.view(
            [2; 32],
            now(100_000 + 172_800_000, 100_000 + 172_800_000),
            0,
        );
        assert_eq!(
            later.sum(&scope, 100_000 + 172_800_000 - 86_400_000),
            Amount::ZERO
        );
    }

    #[test]
    fn a_total_that_does_not_fit_counts_as_spent_for_ever() {
        let mut ledger = Ledger::default();
        let huge = Debit {
            amount: Amount::from_be_bytes([0xff; 32]),
            ..debit("hot", None, 0)
        };
        ledger.record(&entry(1, 1, 1, vec![huge.clone()]));
        ledger.record(&entry(2, 1, 5_000, vec![huge.clone()]));
        let scope = huge.scopes().remove(0);
        assert_eq!(
            ledger
                .view([3; 32], now(9_000, 9_000), 0)
                .sum(&scope, 8_000),
            huge.amount
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Never below the plain sum over a list, and equal to it once the merging interval is left out.
        #[test]
        fn a88_running_totals_agree_with_a_plain_list(
            steps in proptest::collection::vec((0_u64..5_000, 0_u8..3, 0_u64..100, 0_u8..20), 1..60), since in 0_u64..200_000, me in 0_u8..20,
        ) {
            let (mut ledger, mut plain, mut at) = (Ledger::default(), policy::ledger::Ledger::new(), 0);
            for (gap, to, amount, intent) in steps {
                at += gap;
                let entry = entry(intent, to, at, vec![debit("hot", Some(to), amount), debit("hot", None, 1)]);
                ledger.record(&entry);
                let record = policy::ledger::Entry { at_ms: at, raw_digest: entry.raw, debits: entry.debits };
                plain.record([intent; 32], record);
            }
            for scope in debit("hot", Some(1), 0).scopes() {
                let (mine, theirs) = (ledger.view([me; 32], now(at, at), 0), plain.view([me; 32]));
                prop_assert!(mine.sum(&scope, since) >= theirs.sum(&scope, since));
                prop_assert!(mine.count(&scope, since) >= theirs.count(&scope, since));
                // An own debit at the far edge of the window may be counted as if it were another's: too much, never too little.
                let at_the_edge = |at: u64| (since..since + MERGE_MS).contains(&at);
                if !ledger.reserved_at(&[me; 32]).is_some_and(at_the_edge) {
                    prop_assert!(mine.sum(&scope, since + MERGE_MS) <= theirs.sum(&scope, since));
                }
                prop_assert_eq!(mine.sum(&scope, 0), theirs.sum(&scope, 0));
                prop_assert_eq!(mine.conflict(&[3; 32]), theirs.conflict(&[3; 32]));
            }
        }
    }
}
