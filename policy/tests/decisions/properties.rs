//! What must hold for every request and every document: more approvals never hurt, more spending never helps, and a
//! document that is called tighter lets nothing through that the one before did not.

use std::sync::LazyLock;

use policy::approval::Decision;
use policy::chain::Address;
use policy::document::Document;
use policy::evaluate::{Code, Fraction, Verdict};
use policy::governance::{Change, Installed, classify};
use policy::intent::SignedIntent;
use policy::ledger::{Debit, Entry, Ledger};
use policy::statement::{SignedStatement, Statement};
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};

use crate::support::*;

const VOTERS: [&str; 7] = [
    "alice",
    "bob",
    "carol",
    "dave",
    "zoe",
    "aml-1",
    "svc:payout",
];

fn credential(name: &str) -> &'static str {
    if name.contains(':') || name.contains('-') {
        "key"
    } else {
        "laptop"
    }
}

fn cast(
    intent: &SignedIntent,
    policy: &Installed,
    name: &str,
    decision: Decision,
) -> SignedStatement {
    sign(&Statement::Approval(vote(
        intent.intent(),
        policy.hash(),
        name,
        credential(name),
        decision,
    )))
}

/// The text of a rule from small numbers, so that two documents often differ in one part only.
#[derive(Clone, Debug)]
struct RuleShape {
    deny: bool,
    wallet: bool,
    to: usize,
    initiator: usize,
    over: usize,
    tx: usize,
    window: usize,
    length: usize,
    count: usize,
    treasury: usize,
    risk: usize,
    aml: usize,
    delay: usize,
    expires: usize,
}

impl RuleShape {
    fn text(&self, id: usize) -> String {
        let mut matches = Vec::new();
        if self.wallet {
            matches.push("wallet = \"hot-sol\"".to_owned());
        }
        match self.to {
            1 if !self.deny => matches.push("to = \"allowlist\"".to_owned()),
            2 => matches.push(format!("to = [\"{}\"]", place(1))),
            3 => matches.push(format!("to = [\"{}\", \"{}\"]", place(1), place(2))),
            _ => {}
        }
        match self.initiator {
            1 => matches.push("initiator = \"alice\"".to_owned()),
            2 => matches.push("initiator = [\"alice\", \"svc:payout\"]".to_owned()),
            _ => {}
        }
        if self.over > 0 {
            matches.push(format!(
                "asset = \"native\", amount_over = \"{}\"",
                self.over * 100_000
            ));
        }
        let effect = if self.deny { "deny" } else { "allow" };
        let mut text = format!(
            "[[rule]]\nid = \"r{id}\"\neffect = \"{effect}\"\nmatch = {{ {} }}\n",
            matches.join(", ")
        );
        if self.deny {
            return text;
        }
        let mut limits = Vec::new();
        if self.tx > 0 {
            limits.push(format!(
                "{{ scope = \"tx\", asset = \"native\", max = \"{}\" }}",
                self.tx * 150_000
            ));
        }
        let scopes = ["wallet", "destination", "asset"];
        if self.window > 0 {
            let scope = scopes[self.window % 3];
            let length = ["1h", "24h", "86401s", "25h"][self.length % 4];
            let max = self.window * 200_000;
            limits.push(format!("{{ scope = \"{scope}\", window = \"{length}\", asset = \"native\", max = \"{max}\" }}"));
        }
        if self.count > 0 {
            limits.push(format!(
                "{{ scope = \"wallet\", window = \"24h\", count = {} }}",
                self.count
            ));
        }
        text.push_str(&format!("limits = [{}]\n", limits.join(", ")));
        let groups = [
            ("treasury", self.treasury),
            ("risk", self.risk),
            ("aml", self.aml),
        ];
        let asked: Vec<String> = groups
            .iter()
            .filter(|(_, min)| *min > 0)
            .map(|(group, min)| format!("{{ group = \"{group}\", min = {min} }}"))
            .collect();
        text.push_str(&format!("require = [{}]\n", asked.join(", ")));
        text.push_str(&format!("delay = \"{}m\"\n", self.delay * 10));
        if self.expires > 0 {
            text.push_str(&format!("expires = \"{}h\"\n", self.expires));
        }
        text
    }
}

fn rule_shape() -> impl Strategy<Value = RuleShape> {
    let matching = (
        prop::bool::weighted(0.1),
        any::<bool>(),
        0..4usize,
        0..3usize,
        prop_oneof![3 => Just(0), 1 => 1..4usize],
    );
    let limits = (0..3usize, 0..4usize, 0..4usize, 0..3usize);
    let asking = (
        prop_oneof![2 => Just(0), 1 => 1..3usize],
        prop_oneof![3 => Just(0usize), 1 => Just(1)],
        prop_oneof![3 => Just(0usize), 1 => Just(1)],
    );
    let times = (prop_oneof![2 => Just(0), 1 => 1..3usize], 0..3usize);
    (matching, limits, asking, times).prop_map(
        |(
            (deny, wallet, to, initiator, over),
            (tx, window, length, count),
            (treasury, risk, aml),
            (delay, expires),
        )| {
            RuleShape {
                deny,
                wallet,
                to,
                initiator,
                over,
                tx,
                window,
                length,
                count,
                treasury,
                risk,
                aml,
                delay,
                expires,
            }
        },
    )
}

/// A whole document from small numbers.
#[derive(Clone, Debug)]
struct Shape {
    rules: Vec<RuleShape>,
    /// For each of two places: 0 not listed, else usable since or from that hour around now.
    listed: [usize; 2],
    /// Who is in which group, one bit each.
    treasury: [bool; 3],
    dave_in_risk: bool,
    dave_in_treasury: bool,
    max_fee: usize,
    payout: bool,
    aml: bool,
}

impl Shape {
    fn text(&self) -> String {
        let group = |name: &str, is: bool| {
            if is {
                format!("\"{name}\"")
            } else {
                String::new()
            }
        };
        let mut all = String::new();
        for (name, is) in ["alice", "bob", "carol"].iter().zip(self.treasury) {
            all.push_str(&person(name, &group("treasury", is)));
        }
        let dave: Vec<String> = [
            group("risk", self.dave_in_risk),
            group("treasury", self.dave_in_treasury),
        ]
        .into_iter()
        .filter(|name| !name.is_empty())
        .collect();
        all.push_str(&person("dave", &dave.join(", ")));
        // Somebody keeps each group from being empty, so that rules may name it.
        all.push_str(&person("zoe", "\"treasury\", \"risk\""));
        for (name, groups) in [
            ("erin", "\"security\""),
            ("frank", "\"security\""),
            ("grace", "\"board\""),
        ] {
            all.push_str(&person(name, groups));
        }
        all.push_str(&machine("siem-1", "\"siem\""));
        all.push_str(&machine("aml-2", "\"aml\""));
        all.push_str(&machine("aml-1", &group("aml", self.aml)));
        if self.payout || self.rules.iter().any(|rule| rule.initiator == 2) {
            all.push_str(&machine("svc:payout", ""));
        }
        let fee = format!("max_fee = \"{}\"", 4_000 + self.max_fee * 2_000);
        all.push_str(&wallet().replace("max_fee = \"100000\"", &fee));
        for (n, hours) in (1u8..).zip(self.listed) {
            let usable = [
                "",
                "2026-11-30T23:00:00Z",
                "2026-12-01T00:00:00Z",
                "2026-12-01T01:00:00Z",
            ][hours];
            if hours > 0 {
                all.push_str(&address(&format!("place {n}"), place(n), usable));
            }
        }
        for (id, rule) in self.rules.iter().enumerate() {
            all.push_str(&rule.text(id));
        }
        document_of(1, None, &[GOVERNANCE, &all])
    }
}

fn person(name: &str, groups: &str) -> String {
    let hex = hex::encode(public(name, "laptop"));
    format!(
        "[[person]]\nid = \"{name}\"\ngroups = [{groups}]\ncredential = [{{ id = \"laptop\", kind = \"ed25519\", key = \"{hex}\" }}]\n"
    )
}

fn shape() -> impl Strategy<Value = Shape> {
    let rules = prop::collection::vec(rule_shape(), 1..4);
    let people = (any::<[bool; 3]>(), any::<bool>(), any::<bool>());
    (
        rules,
        [0..4usize, 0..4usize],
        people,
        0..4usize,
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(rules, listed, (treasury, dave_in_risk, dave_in_treasury), max_fee, payout, aml)| {
                Shape {
                    rules,
                    listed,
                    treasury,
                    dave_in_risk,
                    dave_in_treasury,
                    max_fee,
                    payout,
                    aml,
                }
            },
        )
}

/// One small change of a document, towards tighter or looser as it happens.
fn change(shape: &Shape, which: u8, at: Index, to: usize) -> Shape {
    let mut new = shape.clone();
    let count = new.rules.len();
    let index = at.index(count);
    let rule = &mut new.rules[index];
    match which {
        0 => rule.tx = to % 3,
        1 => rule.window = to % 4,
        2 => rule.length = to % 4,
        3 => rule.count = to % 3,
        4 => rule.treasury = to % 3,
        5 => rule.risk = to % 2,
        6 => rule.aml = to % 2,
        7 => rule.delay = to % 3,
        8 => rule.expires = to % 3,
        9 => rule.to = to % 4,
        10 => rule.initiator = to % 3,
        11 => rule.over = to % 4,
        12 => rule.wallet = !rule.wallet,
        13 => rule.deny = !rule.deny,
        14 => {
            new.rules.remove(index);
        }
        15 => {
            let copy = new.rules[index].clone();
            new.rules.push(copy);
        }
        16 => new.listed[to % 2] = to / 2 % 4,
        17 => new.treasury[to % 3] = !new.treasury[to % 3],
        18 => new.dave_in_risk = !new.dave_in_risk,
        19 => new.dave_in_treasury = !new.dave_in_treasury,
        20 => new.max_fee = to % 4,
        21 => new.payout = !new.payout,
        _ => new.aml = !new.aml,
    }
    new
}

/// A request, what was spent before, and when it is decided.
#[derive(Clone, Debug)]
struct Scene {
    transfers: Vec<(Address, u64)>,
    initiator: &'static str,
    yes: Vec<&'static str>,
    no: Option<&'static str>,
    spent: Vec<(u64, u8, u64)>,
    seen_minutes_ago: Option<u64>,
}

fn scene() -> impl Strategy<Value = Scene> {
    let transfers = prop::collection::vec((1..4u8, 1..150_000u64), 1..3).prop_map(|all| {
        all.into_iter()
            .map(|(n, lamports)| (place(n), lamports))
            .collect()
    });
    let initiator = select(vec!["svc:payout", "svc:payout", "alice"]);
    let yes = prop_oneof![
        Just(VOTERS.to_vec()),
        subsequence(VOTERS.to_vec(), 0..=VOTERS.len())
    ];
    let no = prop::option::weighted(0.05, select(VOTERS.to_vec()));
    let spent = prop::collection::vec((0..1_600u64, 1..4u8, 1..200_000u64), 0..3);
    let seen = prop_oneof![1 => Just(None), 4 => (0..70u64).prop_map(Some)];
    (transfers, initiator, yes, no, spent, seen).prop_map(
        |(transfers, initiator, yes, no, spent, seen_minutes_ago)| Scene {
            transfers,
            initiator,
            yes,
            no,
            spent,
            seen_minutes_ago,
        },
    )
}

impl Scene {
    fn intent(&self) -> SignedIntent {
        submit(intent_of(message(&self.transfers, &[], 3), self.initiator))
    }

    fn ledger(&self) -> Ledger {
        let mut ledger = Ledger::new();
        for (n, spent) in (1u8..).zip(&self.spent) {
            ledger.record([n; 32], entry(n, *spent));
        }
        ledger
    }

    fn votes(&self, intent: &SignedIntent, policy: &Installed) -> Vec<SignedStatement> {
        let yes = self
            .yes
            .iter()
            .map(|name| cast(intent, policy, name, Decision::Approve));
        let no = self
            .no
            .iter()
            .map(|name| cast(intent, policy, name, Decision::Reject));
        yes.chain(no).collect()
    }

    fn case<'a>(&self, policy: &'a Installed) -> Case<'a> {
        let mut case = Case::new(policy);
        case.ledger = self.ledger();
        case.first_seen_ms = self.seen_minutes_ago.map(|minutes| NOW - minutes * MINUTE);
        case
    }
}

fn entry(n: u8, (minutes_ago, to, lamports): (u64, u8, u64)) -> Entry {
    let debit = Debit {
        wallet: policy::id::WalletId::parse("hot-sol").unwrap(),
        chain: policy::chain::Chain::SolanaDevnet,
        destination: Some(place(to)),
        asset: policy::chain::Asset::Native,
        amount: policy::amount::Amount::from_u64(lamports),
    };
    Entry {
        at_ms: NOW - minutes_ago * MINUTE,
        raw_digest: [n; 32],
        debits: vec![debit],
    }
}

/// 0 denied, 1 waits, 2 approved.
fn rank(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Denied(_) => 0,
        Verdict::Needs(_) => 1,
        Verdict::Approved(_) => 2,
    }
}

static LARGE: LazyLock<Installed> = LazyLock::new(|| {
    let rules = "[[rule]]\nid = \"pay\"\neffect = \"allow\"\nmatch = { }\n\
        limits = [{ scope = \"wallet\", window = \"24h\", asset = \"native\", max = \"500000\" }, { scope = \"destination\", window = \"1h\", asset = \"native\", max = \"300000\" }, { scope = \"wallet\", window = \"24h\", count = 3 }]\n\
        [[rule]]\nid = \"large\"\neffect = \"allow\"\nmatch = { asset = \"native\", amount_over = \"100000\" }\nrequire = [{ group = \"treasury\", min = 2 }, { group = \"aml\", min = 1 }]\n";
    installed(&document(rules))
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn another_approval_never_hurts(scene in scene(), extra in select(VOTERS.to_vec()), at in any::<Index>()) {
        let intent = scene.intent();
        let case = scene.case(&LARGE);
        let mut votes = scene.votes(&intent, &LARGE);
        let before = rank(&case.decide(&intent, &votes));
        let place = at.index(votes.len() + 1);
        votes.insert(place, cast(&intent, &LARGE, extra, Decision::Approve));
        let after = rank(&case.decide(&intent, &votes));
        prop_assert!(after >= before, "{before} {after}");
        // A no from any person ends it, whatever else there is.
        votes.insert(place, cast(&intent, &LARGE, "grace", Decision::Reject));
        let Verdict::Denied(denied) = case.decide(&intent, &votes) else { return Err(TestCaseError::fail("not denied")) };
        prop_assert!(denied.reasons.iter().any(|reason| reason.code == Code::Rejected));
    }

    #[test]
    fn more_spending_and_a_smaller_share_never_help(
        scene in scene(),
        more in (0..1_600u64, 1..4u8, 1..300_000u64),
        share in 0..4u64,
    ) {
        let intent = scene.intent();
        let mut case = scene.case(&LARGE);
        let votes = scene.votes(&intent, &LARGE);
        let before = rank(&case.decide(&intent, &votes));
        case.share = Fraction::new(share, 3).unwrap_or(Fraction::WHOLE);
        let shared = rank(&case.decide(&intent, &votes));
        prop_assert!(shared <= before);
        case.ledger.record([200; 32], entry(200, more));
        prop_assert!(rank(&case.decide(&intent, &votes)) <= shared);
    }

    #[test]
    fn a_remedy_in_time_is_exact(scene in scene()) {
        let intent = scene.intent();
        let mut case = scene.case(&LARGE);
        case.first_seen_ms = None;
        let votes: Vec<SignedStatement> = Vec::new();
        if let Verdict::Denied(denied) = case.decide(&intent, &votes) {
            let limits: Vec<_> = denied.reasons.iter().filter(|reason| reason.code == Code::Limit).collect();
            let times: Vec<u64> = limits
                .iter()
                .filter_map(|reason| reason.remedy.as_deref()?.split("wait until ").nth(1)?.split(' ').next())
                .map(|text| policy::time::parse_utc(text).unwrap())
                .collect();
            if times.len() == denied.reasons.len() && !times.is_empty() {
                let last = times.iter().copied().max().unwrap();
                let mut longer = intent.intent().clone();
                longer.expires_ms = NOW + 20 * 24 * HOUR;
                let longer = submit(longer);
                case.now_ms = last;
                prop_assert!(rank(&case.decide(&longer, &votes)) > 0);
                case.now_ms = last - 1;
                prop_assert_eq!(rank(&case.decide(&longer, &votes)), 0);
            }
        }
    }

    #[test]
    fn whatever_is_approved_was_allowed_by_a_rule_and_is_debited_whole(shape in shape(), scene in scene()) {
        let Ok(document) = Document::parse(shape.text().as_bytes()) else { return Ok(()) };
        let policy = installed(&shape.text());
        let intent = scene.intent();
        if let Verdict::Approved(approved) = scene.case(&policy).decide(&intent, &scene.votes(&intent, &policy)) {
            prop_assert!(!approved.outline().rules.is_empty());
            let total: u64 = approved.debits().iter().map(|debit| debit.amount.to_u64().unwrap()).sum();
            prop_assert_eq!(total, scene.transfers.iter().map(|(_, lamports)| lamports).sum::<u64>() + FEE);
            prop_assert!(!document.rules().is_empty());
            prop_assert_eq!(&approved.tasks()[0].message, &intent.intent().raw_tx);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 384, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a94_a_tighter_document_approves_nothing_that_the_old_one_did_not(
        shape in shape(),
        changes in prop::collection::vec((0..23u8, any::<Index>(), 0..12usize), 1..3),
        scenes in prop::collection::vec(scene(), 8),
    ) {
        let new = changes.into_iter().fold(shape.clone(), |shape, (which, at, to)| {
            if shape.rules.is_empty() { shape } else { change(&shape, which, at, to) }
        });
        let (old_text, new_text) = (shape.text(), new.text());
        let (Ok(old), Ok(new)) = (Document::parse(old_text.as_bytes()), Document::parse(new_text.as_bytes())) else {
            return Ok(());
        };
        if classify(&old, &new).change == Change::Loosen {
            return Ok(());
        }
        let (old, new) = (installed(&old_text), installed(&new_text));
        for scene in scenes {
            let intent = scene.intent();
            let after = scene.case(&new).decide(&intent, &scene.votes(&intent, &new));
            if is_approved(&after) {
                let before = scene.case(&old).decide(&intent, &scene.votes(&intent, &old));
                prop_assert!(is_approved(&before), "{before:?}\n{old_text}\n----\n{new_text}");
            }
        }
    }
}
