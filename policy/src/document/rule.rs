//! Rules: what they match and what they ask.

use std::collections::BTreeSet;

use super::problem::Problems;
use super::reader::Value;
use crate::amount::Amount;
use crate::chain::{Address, Asset, Kind, Selector};
use crate::ethereum;
use crate::id::{GroupId, PrincipalId, RuleId, WalletId};
use crate::time::Period;

/// One rule. Every rule that matches a transfer applies; none ends the reading of the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The name.
    pub id: RuleId,
    /// Whether it lets through or stops.
    pub effect: Effect,
    /// Which transfers it is about.
    pub matches: Match,
    /// How much may go; empty for a deny rule.
    pub limits: Vec<Limit>,
    /// Who must approve; empty for a deny rule.
    pub require: Vec<Requirement>,
    /// How long after a signer first saw the request it may sign.
    pub delay: Period,
    /// How long after a signer first saw the request it may no longer sign.
    pub expires: Option<Period>,
}

/// What a matching rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Lets through what satisfies its limits, approvals and delay.
    Allow,
    /// Stops, whatever other rules say.
    Deny,
}

/// Which transfers a rule is about. An absent key matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// The wallets.
    pub wallets: Option<BTreeSet<WalletId>>,
    /// The kinds of transfer.
    pub kinds: Option<BTreeSet<Kind>>,
    /// The destinations. That of a token transfer is the token account and not its owner: naming an owner's address, also in
    /// a deny rule, says nothing about the owner's token accounts.
    pub to: Destinations,
    /// The people and machines that started the request.
    pub initiators: Option<BTreeSet<PrincipalId>>,
    /// The contracts that are called. Together with [`selectors`](Self::selectors) this is what lets a call through whose effect
    /// nobody here knows; other transfers match only where it is absent.
    pub contracts: Option<BTreeSet<Address>>,
    /// The first four bytes of the data of such calls.
    pub selectors: Option<BTreeSet<Selector>>,
    /// The assets.
    pub assets: Option<BTreeSet<Asset>>,
    /// Only transactions that move more than this of the one asset that `assets` names. The whole transaction is summed,
    /// the highest possible fee included, so splitting it into many transfers changes nothing.
    pub amount_over: Option<Amount>,
}

/// Which destinations a rule is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Destinations {
    /// These addresses.
    Addresses(BTreeSet<Address>),
    /// Entries of the allow-list for the asset, past their cool-off.
    Allowlist,
    /// Every address.
    #[default]
    Any,
}

/// How much may go, counted over everything that leaves, whichever rule let it through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What is added up.
    pub scope: Scope,
    /// Over how long; absent exactly for [`Scope::Tx`].
    pub window: Option<Period>,
    /// Of which asset; always present where `max` is.
    pub asset: Option<Asset>,
    /// The highest total in base units.
    pub max: Option<Amount>,
    /// The highest number of transactions.
    pub count: Option<u32>,
}

/// What a limit adds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Everything of the asset, from every wallet on the chain.
    Asset,
    /// Everything that goes to one destination, from every wallet on the chain.
    Destination,
    /// The transaction alone.
    Tx,
    /// Everything that leaves one wallet.
    Wallet,
}

/// So many distinct members of a group must approve. The initiator never counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requirement {
    /// The group.
    pub group: GroupId,
    /// How many; at least one.
    pub min: u32,
}

impl Scope {
    /// The name in the document.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asset => "asset",
            Self::Destination => "destination",
            Self::Tx => "tx",
            Self::Wallet => "wallet",
        }
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        [Self::Asset, Self::Destination, Self::Tx, Self::Wallet]
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or("scope must be one of \"tx\", \"wallet\", \"destination\", \"asset\"")
    }
}

pub(super) fn read_rule(value: &Value<'_, '_>, problems: &mut Problems<'_>) -> Option<Rule> {
    let mut table = value.table(problems)?;
    let id = table.required("id", problems, |v, p| v.parsed(p, RuleId::parse));
    let effect = table.required("effect", problems, |v, p| {
        v.parsed(p, |text| match text {
            "allow" => Ok(Effect::Allow),
            "deny" => Ok(Effect::Deny),
            _ => Err("effect must be \"allow\" or \"deny\""),
        })
    });
    let matches = table.required("match", problems, read_match);
    let denies = effect == Some(Effect::Deny);
    for key in ["limits", "require", "delay", "expires"] {
        if denies && let Some(found) = table.take(key) {
            found.fault::<()>(
                "a deny rule always denies; this key belongs to allow rules",
                problems,
            );
        }
    }
    let limits = table.optional("limits", problems, |v, p| v.list(p, read_limit));
    let require = table.optional("require", problems, read_requirements);
    let delay = table.optional("delay", problems, |v, p| v.parsed(p, Period::parse));
    let expires = table.optional("expires", problems, |v, p| v.parsed(p, Period::parse));
    table.finish(problems);
    let rule = Rule {
        id: id?,
        effect: effect?,
        matches: matches?,
        limits: limits?.unwrap_or_default(),
        require: require?.unwrap_or_default(),
        delay: delay?.unwrap_or_default(),
        expires: expires?,
    };
    if denies && rule.matches.to == Destinations::Allowlist {
        return value.fault(
            "a deny rule cannot name the allow-list; name addresses or leave `to` out",
            problems,
        );
    }
    if rule.expires.is_some_and(|expires| expires <= rule.delay) {
        return value.fault(
            "expires must be longer than delay, or nothing can ever be signed",
            problems,
        );
    }
    Some(rule)
}

fn read_match(value: &Value<'_, '_>, problems: &mut Problems<'_>) -> Option<Match> {
    let mut table = value.table(problems)?;
    let wallets = table.optional("wallet", problems, |v, p| v.one_or_more(p, WalletId::parse));
    let kinds = table.optional("kind", problems, |v, p| v.one_or_more(p, Kind::parse));
    let to = table.optional("to", problems, read_destinations);
    let initiators = table.optional("initiator", problems, |v, p| {
        v.one_or_more(p, PrincipalId::parse)
    });
    let contracts = table.optional("contract", problems, |v, p| {
        v.one_or_more(p, parse_contract)
    });
    let selectors = table.optional("selector", problems, |v, p| {
        v.one_or_more(p, parse_selector)
    });
    let assets = table.optional("asset", problems, |v, p| v.one_or_more(p, Asset::parse));
    let amount_over = table.optional("amount_over", problems, |v, p| v.parsed(p, Amount::parse));
    table.finish(problems);
    let matches = Match {
        wallets: wallets?,
        kinds: kinds?,
        to: to?.unwrap_or_default(),
        initiators: initiators?,
        contracts: contracts?,
        selectors: selectors?,
        assets: assets?,
        amount_over: amount_over?,
    };
    if matches.contracts.is_some() != matches.selectors.is_some() {
        return value.fault(
            "contract and selector stand together: a function is named by both",
            problems,
        );
    }
    let one_asset = matches
        .assets
        .as_ref()
        .is_some_and(|assets| assets.len() == 1);
    if matches.amount_over.is_some() && !one_asset {
        return value.fault(
            "amount_over needs exactly one asset beside it: amounts of different assets cannot be compared",
            problems,
        );
    }
    Some(matches)
}

fn read_destinations(value: &Value<'_, '_>, problems: &mut Problems<'_>) -> Option<Destinations> {
    let named = |text: &str| match text {
        "allowlist" => Some(Destinations::Allowlist),
        "any" => Some(Destinations::Any),
        _ => None,
    };
    if value.is_text()
        && let Some(named) = named(value.text(problems)?)
    {
        return Some(named);
    }
    value
        .one_or_more(problems, |text| {
            Address::parse(text)
                .map_err(|_| "to must be \"allowlist\", \"any\" or addresses, each in its one form")
        })
        .map(Destinations::Addresses)
}

/// A contract's address.
fn parse_contract(text: &str) -> Result<Address, &'static str> {
    match Address::parse(text) {
        Ok(address @ Address::Ethereum(_)) => Ok(address),
        _ => Err("contract must be an ethereum address in the case of EIP-55"),
    }
}

/// The first four bytes of the data of a call whose effect nobody here knows.
fn parse_selector(text: &str) -> Result<Selector, &'static str> {
    match Selector::parse(text) {
        Ok(Selector(bytes)) if ethereum::is_understood(bytes) => Err(
            "calls of this function are understood and are never of unknown effect; name them by the kind erc20_transfer or erc20_approve",
        ),
        Ok(selector) => Ok(selector),
        Err(_) => Err("selector must be 0x and eight lower-case hexadecimal digits"),
    }
}

fn read_limit(value: &Value<'_, '_>, problems: &mut Problems<'_>) -> Option<Limit> {
    let mut table = value.table(problems)?;
    let scope = table.required("scope", problems, |v, p| v.parsed(p, Scope::parse));
    let window = table.optional("window", problems, |v, p| {
        let window = v.parsed(p, Period::parse)?;
        if window == Period::ZERO {
            v.fault("window must be longer than zero", p)
        } else {
            Some(window)
        }
    });
    let asset = table.optional("asset", problems, |v, p| v.parsed(p, Asset::parse));
    let max = table.optional("max", problems, |v, p| v.parsed(p, Amount::parse));
    let count = table.optional("count", problems, Value::number);
    table.finish(problems);
    let limit = Limit {
        scope: scope?,
        window: window?,
        asset: asset?,
        max: max?,
        count: count?,
    };
    let fault = match (limit.scope, &limit) {
        (
            _,
            Limit {
                max: None,
                count: None,
                ..
            },
        ) => "limit needs max or count",
        (
            _,
            Limit {
                max: Some(_),
                asset: None,
                ..
            },
        ) => "max needs the asset it is counted in",
        (
            Scope::Tx,
            Limit {
                window: Some(_), ..
            },
        ) => "scope \"tx\" has no window",
        (Scope::Tx, Limit { count: Some(_), .. }) => "scope \"tx\" has no count",
        (Scope::Asset, Limit { asset: None, .. }) => "scope \"asset\" needs the asset",
        (Scope::Asset | Scope::Destination | Scope::Wallet, Limit { window: None, .. }) => {
            "this scope needs a window"
        }
        _ => return Some(limit),
    };
    value.fault(fault, problems)
}

pub(super) fn read_requirements(
    value: &Value<'_, '_>,
    problems: &mut Problems<'_>,
) -> Option<Vec<Requirement>> {
    let all = value.list(problems, read_requirement)?;
    let groups: BTreeSet<&GroupId> = all.iter().map(|one| &one.group).collect();
    if groups.len() != all.len() {
        return value.fault(
            "a group is listed twice; one entry with the higher min says the same",
            problems,
        );
    }
    Some(all)
}

fn read_requirement(value: &Value<'_, '_>, problems: &mut Problems<'_>) -> Option<Requirement> {
    let mut table = value.table(problems)?;
    let group = table.required("group", problems, |v, p| v.parsed(p, GroupId::parse));
    let min = table.required("min", problems, |v, p| {
        let min = v.number(p)?;
        if min == 0 {
            v.fault("min must be at least 1", p)
        } else {
            Some(min)
        }
    });
    table.optional("exclude", problems, |v, p| {
        v.parsed(p, |text| match text {
            "initiator" => Ok(()),
            _ => Err("exclude can only be \"initiator\", which is also what its absence means"),
        })
    });
    table.finish(problems);
    Some(Requirement {
        group: group?,
        min: min?,
    })
}
