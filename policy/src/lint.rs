//! Warnings about a document that is valid and may still not mean what its author meant.

use core::fmt;
use std::collections::BTreeSet;

use crate::amount::Amount;
use crate::chain::{Asset, Kind};
use crate::document::{Destinations, Document, Effect, Limit, Match, Rule, Scope, Wallet};
use crate::evaluate::Fraction;
use crate::governance::rule_contains;
use crate::id::{GroupId, PrincipalId, RuleId};

/// What a warning is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lint {
    /// The allow-list has entries and no rule speaks of it.
    AllowlistUnused,
    /// An asset that an allow rule moves and none of its limits counts.
    AssetWithoutLimit,
    /// Calls of unknown effect are let through: what they move besides the coin is counted nowhere.
    CallNotCounted,
    /// A delay during which nobody is asked.
    DelayWithoutApprovals,
    /// A group that no rule and no governance clause names.
    GroupUnused,
    /// What the nodes' share of a limit comes to.
    NodeShare,
    /// An allow rule without limits.
    NoLimit,
    /// One person can loosen the document.
    OnePersonLoosens,
    /// One person fulfils two requirements of one rule.
    OnePersonTwoGroups,
    /// A rule that matches nothing, or nothing that a deny rule does not stop.
    RuleNeverMatches,
    /// A limit on single transactions above what a window lets through.
    TxLimitAboveWindow,
    /// Money goes anywhere and nobody approves.
    Unattended,
    /// A group that cannot approve in the number asked.
    UnreachableGroup,
    /// A wallet that no allow rule lets move anything.
    WalletUnused,
}

/// One warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What it is about.
    pub lint: Lint,
    /// The rule, if it is about one.
    pub rule: Option<RuleId>,
    /// What is the case, in one sentence.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rule {
            Some(rule) => write!(f, "rule {rule}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// How many nodes sign, of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nodes {
    /// How many must sign.
    pub threshold: u16,
    /// How many there are.
    pub parties: u16,
}

/// Every warning about a document; with `nodes`, what the nodes' share of each limit comes to.
#[must_use]
pub fn lint(document: &Document, nodes: Option<Nodes>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for rule in document.rules() {
        let mut say = |lint, message: String| {
            warnings.push(Warning {
                lint,
                rule: Some(rule.id.clone()),
                message,
            });
        };
        if let Some(why) = never_matches(document, rule) {
            say(Lint::RuleNeverMatches, why);
        }
        if rule.effect == Effect::Allow {
            lint_limits(rule, &mut say);
            if rule.matches.contracts.is_some() {
                let message = "the effect of the calls it names is not known here: only the coin that goes with them is counted, not the tokens that they move";
                say(Lint::CallNotCounted, message.to_owned());
            }
            lint_assets(document, rule, &mut say);
            lint_approvals(document, rule, &mut say);
            if let Some(nodes) = nodes {
                lint_share(rule, nodes, &mut say);
            }
        }
    }
    lint_whole(document, &mut warnings);
    warnings
}

fn never_matches(document: &Document, rule: &Rule) -> Option<String> {
    let wallets = wallets_of(document, &rule.matches);
    if wallets.is_empty() {
        return Some("there is no wallet it could match".to_owned());
    }
    let kinds: BTreeSet<Kind> = wallets
        .iter()
        .flat_map(|wallet| &wallet.kinds)
        .copied()
        .collect();
    let possible = |kind: &Kind| {
        let asset_fits = |asset: &Asset| kind.moves(asset);
        // A rule with functions is about calls of unknown effect alone; an allow rule without is about everything else.
        let call_fits = match (&rule.matches.contracts, rule.effect) {
            (Some(_), _) => *kind == Kind::ContractCall,
            (None, Effect::Allow) => *kind != Kind::ContractCall,
            (None, Effect::Deny) => true,
        };
        call_fits
            && rule
                .matches
                .kinds
                .as_ref()
                .is_none_or(|wanted| wanted.contains(kind))
            && rule
                .matches
                .assets
                .as_ref()
                .is_none_or(|assets| assets.iter().any(asset_fits))
    };
    if !kinds.iter().any(possible) {
        return Some("none of its wallets makes a transfer of these kinds and assets".to_owned());
    }
    let mut askers = rule.matches.initiators.iter().flatten();
    if rule.matches.initiators.is_some()
        && askers.all(|id| document.initiator_keys(id.as_str()).is_empty())
    {
        return Some("none of its initiators has an ed25519 key to sign a request with".to_owned());
    }
    if rule.matches.to == Destinations::Allowlist {
        let usable = document.addresses().iter().any(|entry| {
            wallets.iter().any(|wallet| wallet.chain == entry.chain)
                && rule
                    .matches
                    .assets
                    .as_ref()
                    .is_none_or(|assets| !assets.is_disjoint(&entry.assets))
        });
        if !usable {
            return Some("the allow-list has no entry for its wallets and assets".to_owned());
        }
    }
    let deny = document.rules().iter().find(|other| {
        other.effect == Effect::Deny
            && other.id != rule.id
            && rule_contains(document, &other.matches, &rule.matches)
    });
    match (rule.effect, deny) {
        (Effect::Allow, Some(deny)) => {
            Some(format!("deny rule {} stops everything it matches", deny.id))
        }
        _ => None,
    }
}

fn wallets_of<'d>(document: &'d Document, matches: &Match) -> Vec<&'d Wallet> {
    let wanted = |wallet: &&Wallet| {
        matches
            .wallets
            .as_ref()
            .is_none_or(|ids| ids.contains(&wallet.id))
    };
    document.wallets().values().filter(wanted).collect()
}

fn lint_limits(rule: &Rule, say: &mut impl FnMut(Lint, String)) {
    if rule.limits.is_empty() {
        say(
            Lint::NoLimit,
            "it has no limit: one request can empty the wallet".to_owned(),
        );
    }
    for tx in rule.limits.iter().filter(|limit| limit.scope == Scope::Tx) {
        let windows = rule
            .limits
            .iter()
            .filter(|limit| limit.scope != Scope::Tx && limit.asset == tx.asset);
        for window in windows {
            if let (Some(one), Some(all)) = (tx.max, window.max)
                && one > all
            {
                let message = format!(
                    "a transaction may move {one}, its {} limit lets only {all} through",
                    describe(window)
                );
                say(Lint::TxLimitAboveWindow, message);
            }
        }
    }
}

/// A limit counts one asset: what a rule moves beside it, each of any number of tokens, is moved without end (attack A87).
fn lint_assets(document: &Document, rule: &Rule, say: &mut impl FnMut(Lint, String)) {
    if rule.limits.is_empty() {
        return; // said already
    }
    let wallets = wallets_of(document, &rule.matches);
    let makes = |kind: Kind| {
        let wanted = rule.matches.kinds.as_ref();
        let calls = rule.matches.contracts.is_some();
        (kind == Kind::ContractCall) == calls
            && wanted.is_none_or(|kinds| kinds.contains(&kind))
            && wallets.iter().any(|wallet| wallet.kinds.contains(&kind))
    };
    let listed = || -> BTreeSet<Asset> {
        let entries = document
            .addresses()
            .iter()
            .filter(|entry| wallets.iter().any(|wallet| wallet.chain == entry.chain));
        entries.flat_map(|entry| &entry.assets).copied().collect()
    };
    let named = match (&rule.matches.assets, &rule.matches.to) {
        (Some(assets), _) => Some(assets.clone()),
        (None, Destinations::Allowlist) => Some(listed()),
        (None, _) => None,
    };
    let tokens = [Kind::Erc20Approve, Kind::Erc20Transfer, Kind::SplTransfer];
    let any_token = named.is_none() && tokens.into_iter().any(makes);
    // Rules that apply wherever this one does have their say too.
    let limits: Vec<&Limit> = document
        .rules()
        .iter()
        .filter(|other| other.effect == Effect::Allow)
        .filter(|other| {
            other.id == rule.id || rule_contains(document, &other.matches, &rule.matches)
        })
        .flat_map(|other| &other.limits)
        .filter(|limit| limit.max.is_some())
        .collect();
    for asset in named.unwrap_or_else(|| BTreeSet::from([Asset::Native])) {
        let moved = Kind::ALL
            .into_iter()
            .any(|kind| kind.moves(&asset) && makes(kind));
        if moved && !limits.iter().any(|limit| limit.asset == Some(asset)) {
            say(
                Lint::AssetWithoutLimit,
                format!("nothing limits how much of {asset} it moves"),
            );
        }
    }
    if any_token {
        say(
            Lint::AssetWithoutLimit,
            "it moves any token and a limit counts one: name the assets it is about".to_owned(),
        );
    }
}

fn describe(limit: &Limit) -> String {
    let window = limit
        .window
        .map_or_else(String::new, |window| format!("{window} "));
    format!("{window}{}", limit.scope.as_str())
}

fn lint_approvals(document: &Document, rule: &Rule, say: &mut impl FnMut(Lint, String)) {
    if rule.require.is_empty() && rule.matches.to == Destinations::Any {
        say(
            Lint::Unattended,
            "it lets transfers go to any address without an approval".to_owned(),
        );
    }
    if rule.require.is_empty() && rule.delay.as_ms() > 0 {
        say(
            Lint::DelayWithoutApprovals,
            format!(
                "its delay of {} passes without anybody being asked",
                rule.delay
            ),
        );
    }
    let initiators = rule.matches.initiators.as_ref();
    for one in &rule.require {
        let members = document.members(&one.group);
        let size = u32::try_from(members.len()).unwrap_or(u32::MAX);
        let may_ask = |id: &PrincipalId| initiators.is_none_or(|ids| ids.contains(id));
        if size < one.min {
            let message = format!(
                "{} of group {} must approve and it has {size}",
                one.min, one.group
            );
            say(Lint::UnreachableGroup, message);
        } else if size == one.min && members.iter().any(may_ask) {
            let message = format!(
                "all {size} of group {} must approve, so no request that one of them starts can be signed",
                one.group
            );
            say(Lint::UnreachableGroup, message);
        }
    }
    for (index, one) in rule.require.iter().enumerate() {
        for other in rule.require.iter().skip(index.saturating_add(1)) {
            let both: Vec<String> = document
                .members(&one.group)
                .intersection(&document.members(&other.group))
                .map(ToString::to_string)
                .collect();
            if !both.is_empty() {
                let message = format!(
                    "{} counts for {} and for {} at once",
                    both.join(", "),
                    one.group,
                    other.group
                );
                say(Lint::OnePersonTwoGroups, message);
            }
        }
    }
}

fn lint_share(rule: &Rule, nodes: Nodes, say: &mut impl FnMut(Lint, String)) {
    let Nodes { threshold, parties } = nodes;
    let Some(share) = Fraction::new(threshold.into(), parties.into()) else {
        return;
    };
    for limit in rule.limits.iter().filter(|limit| limit.scope != Scope::Tx) {
        let caps = [
            limit.max,
            limit.count.map(|count| Amount::from_u64(count.into())),
        ];
        for whole in caps.into_iter().flatten() {
            let part = share.of(whole);
            let mut message = format!(
                "{} limit {whole}: with {threshold} of {parties} nodes each node lets {part} through on its own, so that all of them together never pass {whole}",
                describe(limit)
            );
            let hostile = threshold.saturating_sub(1);
            let honest = parties.saturating_sub(hostile);
            let bound = (0..honest).fold(Amount::ZERO, |sum, _| sum.saturating_add(part));
            if bound > whole {
                message.push_str(&format!(
                    " while all are honest, and never pass {bound} with {hostile} hostile among them"
                ));
            }
            if part < whole {
                message.push_str(&format!(
                    "; if the same {threshold} nodes sign all the time, signing stops at {part}"
                ));
            }
            say(Lint::NodeShare, message);
        }
    }
}

fn lint_whole(document: &Document, warnings: &mut Vec<Warning>) {
    let mut say = |lint, message: String| {
        warnings.push(Warning {
            lint,
            rule: None,
            message,
        });
    };
    for wallet in document.wallets().values() {
        let mut allows = document
            .rules()
            .iter()
            .filter(|rule| rule.effect == Effect::Allow);
        if !allows.any(|rule| {
            rule.matches
                .wallets
                .as_ref()
                .is_none_or(|ids| ids.contains(&wallet.id))
        }) {
            say(
                Lint::WalletUnused,
                format!("no rule lets wallet {} move anything", wallet.id),
            );
        }
    }
    let list_used = document
        .rules()
        .iter()
        .any(|rule| rule.matches.to == Destinations::Allowlist);
    if !document.addresses().is_empty() && !list_used {
        say(
            Lint::AllowlistUnused,
            "the allow-list has entries and no rule says to = \"allowlist\"".to_owned(),
        );
    }
    let authority = document.authority();
    let clauses = [&authority.loosen, &authority.tighten, &authority.unfreeze];
    let mut named: BTreeSet<&GroupId> = authority.freeze.iter().collect();
    named.extend(
        clauses
            .iter()
            .flat_map(|clause| &clause.quorum)
            .map(|one| &one.group),
    );
    let quorums = [&authority.reshare, &authority.export];
    named.extend(
        quorums
            .into_iter()
            .flatten()
            .flatten()
            .map(|one| &one.group),
    );
    named.extend(
        document
            .rules()
            .iter()
            .flat_map(|rule| &rule.require)
            .map(|one| &one.group),
    );
    let people = document.people().values().flat_map(|person| &person.groups);
    let groups: BTreeSet<&GroupId> = people
        .chain(
            document
                .machines()
                .values()
                .flat_map(|machine| &machine.groups),
        )
        .collect();
    for group in groups.difference(&named) {
        say(Lint::GroupUnused, format!("nothing names group {group}"));
    }
    let alone = document.people().values().find(|person| {
        authority
            .loosen
            .quorum
            .iter()
            .all(|one| one.min == 1 && person.groups.contains(&one.group))
    });
    if let Some(person) = alone {
        let delay = authority.loosen.delay;
        say(
            Lint::OnePersonLoosens,
            format!(
                "{} alone can loosen this document, after a delay of {delay}",
                person.id
            ),
        );
    }
}
