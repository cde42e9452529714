//! Which rules match which transfers.

use std::collections::BTreeSet;

use super::reason::{Code, Reason};
use super::request::Request;
use crate::chain::{Address, Kind};
use crate::document::{Destinations, Document, Effect, Match, Rule};
use crate::time::{Period, format_utc};
use crate::transaction::Transfer;

/// How a transfer stands to a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    /// It matches.
    Yes,
    /// It would match once the cool-off of its destination ends at that instant.
    Cooling(u64),
    /// It would match if its destination were one of the rule's.
    OtherDestination,
    /// It does not match.
    No,
}

/// A rule and the transfers it matches, by their index.
#[derive(Debug)]
pub(super) struct RuleMatch<'d> {
    pub(super) rule: &'d Rule,
    pub(super) transfers: BTreeSet<usize>,
}

/// Every rule that matches a transfer, and what nearly does.
#[derive(Debug)]
pub(super) struct Matched<'d> {
    allow: Vec<RuleMatch<'d>>,
    deny: Vec<RuleMatch<'d>>,
    near: Vec<(usize, &'d Rule, Fit)>,
}

impl<'d> Matched<'d> {
    pub(super) fn find(document: &'d Document, request: &Request<'d>, now_ms: u64) -> Self {
        let mut matched = Self {
            allow: Vec::new(),
            deny: Vec::new(),
            near: Vec::new(),
        };
        for rule in document.rules() {
            let mut transfers = BTreeSet::new();
            for (index, transfer) in request.transaction.transfers.iter().enumerate() {
                match fit(rule, document, request, transfer, now_ms) {
                    Fit::Yes => {
                        transfers.insert(index);
                    }
                    Fit::No => {}
                    near if rule.effect == Effect::Allow => matched.near.push((index, rule, near)),
                    Fit::Cooling(_) | Fit::OtherDestination => {}
                }
            }
            if transfers.is_empty() {
                continue;
            }
            let found = RuleMatch { rule, transfers };
            match rule.effect {
                Effect::Allow => matched.allow.push(found),
                Effect::Deny => matched.deny.push(found),
            }
        }
        matched
    }

    /// The allow rules that apply with the transfers they match.
    pub(super) fn allow(&self) -> &[RuleMatch<'d>] {
        &self.allow
    }

    /// The allow rules that apply.
    pub(super) fn allows(&self) -> impl Iterator<Item = &'d Rule> {
        self.allow.iter().map(|found| found.rule)
    }

    /// Notes a denial for each deny rule that matches and for each transfer that no allow rule matches.
    pub(super) fn check(&self, request: &Request<'_>, denials: &mut Vec<Reason>) {
        for found in &self.deny {
            let message = "a deny rule matches and no other rule can overrule it";
            denials.push(Reason::new(Code::DeniedByRule, message).rule(&found.rule.id));
        }
        for (index, transfer) in request.transaction.transfers.iter().enumerate() {
            if !self
                .allow
                .iter()
                .any(|found| found.transfers.contains(&index))
            {
                denials.push(self.no_rule(index, transfer, request));
            }
        }
    }

    fn no_rule(&self, index: usize, transfer: &Transfer, request: &Request<'_>) -> Reason {
        let near = || self.near.iter().filter(|(at, _, _)| *at == index);
        let cooling = near().filter_map(|(_, rule, fit)| match fit {
            Fit::Cooling(until_ms) => Some((*until_ms, *rule)),
            _ => None,
        });
        if let Some((until_ms, rule)) = cooling.min_by_key(|(until_ms, _)| *until_ms) {
            let message = format!("{} is on the allow-list but in its cool-off", transfer.to);
            let remedy = format!("usable from {}", format_utc(until_ms));
            return Reason::new(Code::AddressCoolingOff, message)
                .rule(&rule.id)
                .remedy(remedy);
        }
        let message = format!(
            "no rule allows the {} of {} {} from wallet {} to {} by {}",
            transfer.kind,
            transfer.amount,
            transfer.asset,
            request.wallet.id,
            transfer.to,
            request.initiator
        );
        let reason = Reason::new(Code::NoRule, message);
        match near().find(|(_, rule, _)| rule.matches.to == Destinations::Allowlist) {
            Some((_, rule, _)) => {
                let remedy = format!(
                    "rule {} would match if {} were on the allow-list for it",
                    rule.id, transfer.to
                );
                reason.remedy(remedy)
            }
            None => reason,
        }
    }

    /// The longest delay of the allow rules that apply.
    pub(super) fn delay(&self) -> Period {
        self.allows()
            .map(|rule| rule.delay)
            .max()
            .unwrap_or_default()
    }

    /// The shortest expiry of the allow rules that apply.
    pub(super) fn expires(&self) -> Option<Period> {
        self.allows().filter_map(|rule| rule.expires).min()
    }

    /// Says until when the longest delay lasts.
    pub(super) fn delay_reason(&self, not_before_ms: u64) -> Reason {
        let longest = self.delay();
        let reason = Reason::new(Code::Delay, format!("a delay of {longest} applies"))
            .remedy(format!("unlocks at {}", format_utc(not_before_ms)));
        match self.allows().find(|rule| rule.delay == longest) {
            Some(rule) => reason.rule(&rule.id),
            None => reason,
        }
    }

    /// The distinct destinations of the transfers that one rule matches.
    pub(super) fn destinations(found: &RuleMatch<'_>, request: &Request<'_>) -> BTreeSet<Address> {
        let transfers = request.transaction.transfers.iter().enumerate();
        transfers
            .filter(|(index, _)| found.transfers.contains(index))
            .map(|(_, transfer)| transfer.to)
            .collect()
    }
}

/// Absent keys match everything.
fn in_set<T: Ord>(set: Option<&BTreeSet<T>>, value: &T) -> bool {
    set.is_none_or(|set| set.contains(value))
}

/// Whether a rule speaks of the function that is called. A call whose effect nobody knows is let through only by a rule that
/// names contract and selector.
fn fits_call(rule: &Rule, transfer: &Transfer) -> bool {
    let Match {
        contracts,
        selectors,
        ..
    } = &rule.matches;
    match (contracts, selectors) {
        (None, None) => transfer.kind != Kind::ContractCall || rule.effect == Effect::Deny,
        _ => transfer.selector.is_some_and(|selector| {
            in_set(contracts.as_ref(), &transfer.to) && in_set(selectors.as_ref(), &selector)
        }),
    }
}

fn fit(
    rule: &Rule,
    document: &Document,
    request: &Request<'_>,
    transfer: &Transfer,
    now_ms: u64,
) -> Fit {
    let matches = &rule.matches;
    let rest = fits_call(rule, transfer)
        && in_set(matches.wallets.as_ref(), &request.wallet.id)
        && in_set(matches.kinds.as_ref(), &transfer.kind)
        && in_set(matches.initiators.as_ref(), &request.initiator)
        && in_set(matches.assets.as_ref(), &transfer.asset)
        && matches
            .amount_over
            .is_none_or(|over| request.total(transfer.asset) > over);
    if !rest {
        return Fit::No;
    }
    match &matches.to {
        Destinations::Any => Fit::Yes,
        Destinations::Addresses(addresses) if addresses.contains(&transfer.to) => Fit::Yes,
        Destinations::Addresses(_) => Fit::OtherDestination,
        Destinations::Allowlist => {
            let mut entries = document.addresses().iter().filter(|entry| {
                entry.chain == request.wallet.chain
                    && entry.to == transfer.to
                    && entry.assets.contains(&transfer.asset)
            });
            match entries.next() {
                None => Fit::OtherDestination,
                Some(entry) if now_ms < entry.usable_after_ms => {
                    Fit::Cooling(entry.usable_after_ms)
                }
                Some(_) => Fit::Yes,
            }
        }
    }
}
