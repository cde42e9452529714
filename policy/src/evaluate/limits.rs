//! What leaves, held against every limit of every rule that applies.

use super::Facts;
use super::reason::{Code, Reason};
use super::request::Request;
use super::rules::{Matched, RuleMatch};
use crate::amount::Amount;
use crate::document::{Limit, Scope};
use crate::ledger::{BUCKETS, ScopeKey, bucket_ms, window_start};
use crate::time::{Period, format_utc};

/// Notes a denial for each limit that would be exceeded.
pub(super) fn check(
    matched: &Matched<'_>,
    request: &Request<'_>,
    facts: &Facts<'_>,
    denials: &mut Vec<Reason>,
) {
    for found in matched.allow() {
        for limit in &found.rule.limits {
            let reasons = check_limit(limit, found, request, facts);
            denials.extend(
                reasons
                    .into_iter()
                    .map(|reason| reason.rule(&found.rule.id)),
            );
        }
    }
}

fn check_limit(
    limit: &Limit,
    found: &RuleMatch<'_>,
    request: &Request<'_>,
    facts: &Facts<'_>,
) -> Vec<Reason> {
    let Some(window) = limit.window else {
        return check_transaction(limit, request).into_iter().collect();
    };
    let wallet = request.wallet;
    match limit.scope {
        Scope::Tx => Vec::new(),
        Scope::Asset => {
            let asset = limit.asset.map(|asset| ScopeKey::Asset {
                chain: wallet.chain,
                asset,
            });
            asset
                .into_iter()
                .flat_map(|scope| check_window(&scope, limit, window, request, facts))
                .collect()
        }
        Scope::Wallet => {
            let scope = ScopeKey::Wallet {
                wallet: wallet.id.clone(),
                asset: limit.asset,
            };
            check_window(&scope, limit, window, request, facts)
        }
        Scope::Destination => {
            let scopes =
                Matched::destinations(found, request)
                    .into_iter()
                    .map(|to| ScopeKey::Destination {
                        chain: wallet.chain,
                        to,
                        asset: limit.asset,
                    });
            scopes
                .flat_map(|scope| check_window(&scope, limit, window, request, facts))
                .collect()
        }
    }
}

fn check_transaction(limit: &Limit, request: &Request<'_>) -> Option<Reason> {
    let (asset, max) = (limit.asset?, limit.max?);
    let asked = request.total(asset);
    (asked > max).then(|| {
        let message = format!("a transaction may move {max} {asset}; this asks {asked}, the highest possible fee included");
        Reason::new(Code::Limit, message).remedy(format!("ask for at most {max}"))
    })
}

/// What this request adds to a scope.
fn asked(scope: &ScopeKey, request: &Request<'_>) -> Amount {
    match scope {
        ScopeKey::Asset { asset, .. }
        | ScopeKey::Wallet {
            asset: Some(asset), ..
        } => request.total(*asset),
        ScopeKey::Destination {
            to,
            asset: Some(asset),
            ..
        } => request.total_to(*to, *asset),
        ScopeKey::Destination { asset: None, .. } | ScopeKey::Wallet { asset: None, .. } => {
            Amount::ZERO
        }
    }
}

fn check_window(
    scope: &ScopeKey,
    limit: &Limit,
    window: Period,
    request: &Request<'_>,
    facts: &Facts<'_>,
) -> Vec<Reason> {
    if !request.debits.iter().any(|debit| debit.is_in(scope)) {
        return Vec::new();
    }
    let start = window_start(facts.now_ms, window);
    let mut reasons = Vec::new();
    if let Some(max) = limit.max {
        let cap = facts.share_of_limit.of(max);
        let asked = asked(scope, request);
        let used = facts.ledger.sum(scope, start);
        let fits = |used: Amount| used.checked_add(asked).is_some_and(|total| total <= cap);
        if !fits(used) {
            let left = cap.saturating_sub(used);
            let message = format!(
                "{window} limit of {} has {left} left; this asks {asked}",
                name(scope)
            );
            let mut remedy = format!("ask for at most {left}");
            if let Some(ms) = unlocks(start, window, |since_ms| {
                fits(facts.ledger.sum(scope, since_ms))
            }) {
                remedy.push_str(&format!(
                    ", or wait until {} while nothing else is spent",
                    format_utc(ms)
                ));
            }
            reasons.push(Reason::new(Code::Limit, message).remedy(remedy));
        }
    }
    if let Some(count) = limit.count {
        let cap = facts.share_of_limit.of(Amount::from_u64(count.into()));
        let used = facts.ledger.count(scope, start);
        let fits = |used: u64| Amount::from_u64(used).saturating_add(Amount::from_u64(1)) <= cap;
        if !fits(used) {
            let message = format!(
                "{window} limit of {} is {cap} transactions and {used} were made",
                name(scope)
            );
            let reason = Reason::new(Code::Limit, message);
            let later = unlocks(start, window, |since_ms| {
                fits(facts.ledger.count(scope, since_ms))
            });
            reasons.push(match later {
                Some(ms) => reason.remedy(format!(
                    "wait until {} while nothing else is signed",
                    format_utc(ms)
                )),
                None => reason,
            });
        }
    }
    reasons
}

fn name(scope: &ScopeKey) -> String {
    let of = |asset: &Option<_>| {
        asset.map_or_else(String::new, |asset: crate::chain::Asset| {
            format!(" for {asset}")
        })
    };
    match scope {
        ScopeKey::Asset { chain, asset } => format!("{asset} on {chain}"),
        ScopeKey::Destination { to, asset, .. } => format!("destination {to}{}", of(asset)),
        ScopeKey::Wallet { wallet, asset } => format!("wallet {wallet}{}", of(asset)),
    }
}

/// When enough has slid out of the window for the request to fit, if nothing else comes in: the end of the first step after
/// whose going `fits` holds. It only grows truer as the window's beginning moves on, so halving finds the step.
fn unlocks(start: u64, window: Period, fits: impl Fn(u64) -> bool) -> Option<u64> {
    let begin = |step: u64| start.saturating_add(bucket_ms(window).saturating_mul(step));
    let (mut low, mut high) = (0, BUCKETS.saturating_add(2));
    if !fits(begin(high)) {
        return None;
    }
    while high.saturating_sub(low) > 1 {
        let middle = low.midpoint(high);
        if fits(begin(middle)) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(begin(high).saturating_add(window.as_ms()))
}
