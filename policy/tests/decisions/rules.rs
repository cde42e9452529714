//! Rules, wallets, times: what matches, what is denied, and what the refusal says.

use policy::chain::{Asset, Kind};
use policy::evaluate::{Code, Verdict};
use policy::intent::SignedIntent;
use policy::solana::build::Instruction;
use policy::transaction::{RootKey, Scheme};

use crate::support::*;

const OPEN: &str =
    "[[rule]]\nid = \"open\"\neffect = \"allow\"\nmatch = { wallet = \"hot-sol\" }\n";

#[test]
fn nothing_is_allowed_without_a_rule() {
    let policy = installed(&document(""));
    let verdict = Case::new(&policy).decide(&pay(place(1), SOL), &[]);
    assert_eq!(denied(&verdict), [Code::NoRule]);
}

#[test]
fn what_a_rule_allows_is_approved_as_it_was_decoded() {
    let policy = installed(&document(OPEN));
    let intent = pay(place(1), SOL);
    let Verdict::Approved(approved) = Case::new(&policy).decide(&intent, &[]) else {
        panic!()
    };
    assert_eq!(*approved.digest(), intent.digest());
    let [task] = approved.tasks() else {
        panic!("one signature");
    };
    assert_eq!(task.message, intent.intent().raw_tx);
    assert_eq!(approved.policy(), policy.hash());
    assert_eq!(approved.expires_ms(), intent.intent().expires_ms);
    let debits: Vec<_> = approved
        .debits()
        .iter()
        .map(|d| (d.destination, d.asset, d.amount.to_string()))
        .collect();
    assert_eq!(
        debits,
        [
            (Some(place(1)), Asset::Native, SOL.to_string()),
            (None, Asset::Native, FEE.to_string())
        ]
    );
    assert_eq!(
        approved.outline().transaction.transfers[0].kind,
        Kind::Transfer
    );
}

#[test]
fn deny_beats_allow_whatever_the_order() {
    let deny = format!(
        "[[rule]]\nid = \"not-there\"\neffect = \"deny\"\nmatch = {{ to = \"{}\" }}\n",
        place(2)
    );
    for rules in [format!("{OPEN}{deny}"), format!("{deny}{OPEN}")] {
        let policy = installed(&document(&rules));
        let verdict = Case::new(&policy).decide(&pay(place(2), SOL), &[]);
        assert_eq!(denied(&verdict), [Code::DeniedByRule]);
        assert!(is_approved(
            &Case::new(&policy).decide(&pay(place(1), SOL), &[])
        ));
        // One transfer that is denied takes the others with it.
        let both = submit(intent_of(
            message(&[(place(1), 1), (place(2), 1)], &[], 3),
            "svc:payout",
        ));
        assert_eq!(
            denied(&Case::new(&policy).decide(&both, &[])),
            [Code::DeniedByRule]
        );
    }
}

#[test]
fn every_transfer_needs_its_own_allow_rule() {
    let rules = format!(
        "[[rule]]\nid = \"one\"\neffect = \"allow\"\nmatch = {{ to = \"{}\" }}\n",
        place(1)
    );
    let policy = installed(&document(&rules));
    let both = submit(intent_of(
        message(&[(place(1), 1), (place(2), 1)], &[], 3),
        "svc:payout",
    ));
    let verdict = Case::new(&policy).decide(&both, &[]);
    assert_eq!(denied(&verdict), [Code::NoRule]);
    assert_eq!(
        sentences(&verdict),
        [format!(
            "no rule allows the transfer of 1 native from wallet hot-sol to {} by svc:payout",
            place(2)
        )]
    );
}

#[test]
fn every_matching_rule_applies_and_the_strictest_decides() {
    let rules = format!(
        "{OPEN}delay = \"10m\"\nexpires = \"2h\"\nrequire = [{{ group = \"treasury\", min = 1 }}]\n\
         [[rule]]\nid = \"large\"\neffect = \"allow\"\nmatch = {{ asset = \"native\", amount_over = \"{SOL}\" }}\n\
         delay = \"30m\"\nexpires = \"1h\"\nrequire = [{{ group = \"treasury\", min = 2 }}, {{ group = \"risk\", min = 1 }}]\n"
    );
    let policy = installed(&document(&rules));
    let mut case = Case::new(&policy);
    case.first_seen_ms = Some(NOW);

    let small = pay(place(1), SOL / 2);
    let Verdict::Needs(needs) = case.decide(&small, &[approve(&small, &policy, "bob")]) else {
        panic!()
    };
    assert_eq!(
        (needs.not_before_ms, needs.expires_ms),
        (NOW + 10 * MINUTE, NOW + 2 * HOUR)
    );
    assert!(needs.groups.is_empty());

    let large = pay(place(1), SOL);
    let Verdict::Needs(needs) = case.decide(&large, &[approve(&large, &policy, "bob")]) else {
        panic!()
    };
    assert_eq!(
        (needs.not_before_ms, needs.expires_ms),
        (NOW + 30 * MINUTE, NOW + HOUR)
    );
    let sentences: Vec<String> = needs.reasons.iter().map(ToString::to_string).collect();
    assert_eq!(
        sentences,
        [
            "0 of 1 risk approved (rule large); needs 1 more of risk (dave)",
            "1 of 2 treasury approved (rule large); needs 1 more of treasury (alice, carol)",
            "a delay of 30m applies (rule large); unlocks at 2026-12-01T00:30:00Z",
        ]
    );
}

#[test]
fn a_delay_runs_from_the_first_sight_and_an_expiry_ends_it() {
    let policy = installed(&document(&format!(
        "{OPEN}delay = \"30m\"\nexpires = \"1h\"\n"
    )));
    let mut case = Case::new(&policy);
    let intent = pay(place(1), SOL);
    assert_eq!(needs(&case.decide(&intent, &[])), [Code::Delay]);
    case.first_seen_ms = Some(NOW - 30 * MINUTE + 1);
    assert_eq!(needs(&case.decide(&intent, &[])), [Code::Delay]);
    case.first_seen_ms = Some(NOW - 30 * MINUTE);
    assert!(is_approved(&case.decide(&intent, &[])));
    case.first_seen_ms = Some(NOW - HOUR + 1);
    let Verdict::Approved(approved) = case.decide(&intent, &[]) else {
        panic!()
    };
    assert_eq!(approved.expires_ms(), NOW + 1);
    case.first_seen_ms = Some(NOW - HOUR);
    assert_eq!(denied(&case.decide(&intent, &[])), [Code::Expired]);
}

#[test]
fn a90_a_clock_that_is_set_back_does_not_shorten_a_delay() {
    let policy = installed(&document(&format!("{OPEN}delay = \"30m\"\n")));
    let intent = pay(place(1), SOL);
    for back in [1, MINUTE, 48 * HOUR] {
        let mut case = Case::new(&policy);
        case.first_seen_ms = Some(NOW);
        case.now_ms = NOW - back;
        // The delay still ends 30 minutes after the first sight on the same clock, never earlier.
        match case.decide(&intent, &[]) {
            Verdict::Needs(needs) => assert_eq!(needs.not_before_ms, NOW + 30 * MINUTE),
            Verdict::Denied(_) => assert!(back > HOUR, "{back}"),
            Verdict::Approved(_) => panic!("{back}"),
        }
    }
    // A request from further ahead than clocks may differ is refused: its initiator's clock, or this one, is wrong.
    for (ahead, refused) in [(5 * MINUTE, false), (5 * MINUTE + 1, true)] {
        let mut intent = intent.intent().clone();
        intent.created_ms = NOW + ahead;
        let verdict = Case::new(&policy).decide(&submit(intent), &[]);
        if refused {
            assert_eq!(denied(&verdict), [Code::FromTheFuture]);
        } else {
            assert_eq!(needs(&verdict), [Code::Delay]);
        }
    }
}

#[test]
fn a90_nothing_overflows_at_the_end_of_time() {
    let policy = installed(&document(
        &format!("{OPEN}delay = \"366d\"\nexpires = \"24h\"\n").replace("\"366d\"", "\"23h\""),
    ));
    let intent = pay(place(1), SOL);
    for now_ms in [0, 1, NOW, u64::MAX - 1, u64::MAX] {
        for seen in [None, Some(0), Some(NOW), Some(u64::MAX)] {
            let mut case = Case::new(&policy);
            case.now_ms = now_ms;
            case.first_seen_ms = seen;
            assert!(
                !is_approved(&case.decide(&intent, &[]))
                    || seen == Some(0)
                    || now_ms >= NOW + 23 * HOUR
            );
        }
    }
}

#[test]
fn the_allow_list_is_by_all_bytes_by_asset_and_after_its_cool_off() {
    let rule = "[[rule]]\nid = \"list\"\neffect = \"allow\"\nmatch = { to = \"allowlist\" }\n";
    let text = document_of(
        1,
        None,
        &[
            GOVERNANCE,
            &people(),
            &wallet(),
            &address("old", place(1), "2026-11-20T00:00:00Z"),
            &address("new", place(2), "2026-12-01T00:00:00.001Z"),
            rule,
        ],
    );
    let policy = installed(&text);
    let mut case = Case::new(&policy);
    assert!(is_approved(&case.decide(&pay(place(1), 1), &[])));
    let verdict = case.decide(&pay(place(2), 1), &[]);
    assert_eq!(denied(&verdict), [Code::AddressCoolingOff]);
    assert!(
        sentences(&verdict)[0].ends_with("usable from 2026-12-01T00:00:00.001Z"),
        "{:?}",
        sentences(&verdict)
    );
    let Verdict::Denied(denial) = &verdict else {
        panic!()
    };
    assert!(denial.may_pass_later());
    case.now_ms = NOW + 1;
    assert!(is_approved(&case.decide(&pay(place(2), 1), &[])));
    // An address that agrees in its first and last bytes is another address.
    let mut alike = *place(1).solana().unwrap();
    alike[16] ^= 1;
    let verdict = case.decide(&pay(policy::chain::Address::from_bytes(alike), 1), &[]);
    assert_eq!(denied(&verdict), [Code::NoRule]);
}

#[test]
fn a99_names_of_another_cluster_wallet_key_or_chain_are_refused() {
    let policy = installed(&document(OPEN));
    let case = Case::new(&policy);
    let good = pay(place(1), SOL).intent().clone();
    assert!(is_approved(&case.decide(&submit(good.clone()), &[])));
    let mut cases = Vec::new();
    let mut other = good.clone();
    other.cluster_id = "c-02".to_owned();
    cases.push((other, Code::ClusterMismatch));
    let mut other = good.clone();
    other.wallet = "hot-sol2".to_owned();
    cases.push((other, Code::UnknownWallet));
    let mut other = good.clone();
    other.key_id[31] ^= 1;
    cases.push((other, Code::KeyMismatch));
    let mut other = good.clone();
    other.chain = "solana:mainnet".to_owned();
    cases.push((other, Code::ChainMismatch));
    let mut other = good.clone();
    other.raw_tx[0] ^= 0x40;
    cases.push((other, Code::Undecodable));
    for (intent, code) in cases {
        assert_eq!(denied(&case.decide(&submit(intent), &[])), [code]);
    }
    // The wallet's key as this side knows it decides what the bytes mean.
    let facts_key = public("somebody", "else");
    let ledger = policy::ledger::Ledger::new();
    let intent = submit(good);
    let facts = policy::evaluate::Facts {
        now_ms: NOW,
        first_seen_ms: None,
        frozen: false,
        ledger: &ledger.view(intent.digest()),
        share_of_limit: policy::evaluate::Fraction::WHOLE,
    };
    for (key, code) in [
        (facts_key.as_slice(), Code::Undecodable),
        (&[2; 33], Code::KeyMismatch),
        (&[], Code::KeyMismatch),
    ] {
        assert_eq!(
            denied(&policy::evaluate::evaluate(
                &policy,
                &RootKey {
                    scheme: Scheme::Ed25519,
                    public_key: key.to_vec()
                },
                &intent,
                &[],
                &facts
            )),
            [code]
        );
    }
}

#[test]
fn only_a_known_initiator_with_the_own_key_may_ask() {
    let policy = installed(&document(OPEN));
    let case = Case::new(&policy);
    let intent = intent_of(message(&[(place(1), SOL)], &[], 3), "svc:payout");
    let forged = SignedIntent::sign(intent.clone(), &key("aml-1", "key")).unwrap();
    assert_eq!(denied(&case.decide(&forged, &[])), [Code::Initiator]);
    let mut stranger = intent.clone();
    stranger.initiator = "mallory".to_owned();
    assert_eq!(
        denied(&case.decide(&submit(stranger), &[])),
        [Code::Initiator]
    );
    // A person may ask with any of the own ed25519 keys.
    let mut person = intent;
    person.initiator = "alice".to_owned();
    for credential in ["laptop", "phone"] {
        let signed = SignedIntent::sign(person.clone(), &key("alice", credential)).unwrap();
        assert!(is_approved(&case.decide(&signed, &[])));
    }
}

#[test]
fn a_rule_can_name_its_initiators() {
    let rules = "[[rule]]\nid = \"own\"\neffect = \"allow\"\nmatch = { initiator = [\"alice\", \"bob\"] }\n";
    let policy = installed(&document(rules));
    let raw = || message(&[(place(1), SOL)], &[], 3);
    assert!(is_approved(
        &Case::new(&policy).decide(&submit(intent_of(raw(), "alice")), &[])
    ));
    let verdict = Case::new(&policy).decide(&submit(intent_of(raw(), "svc:payout")), &[]);
    assert_eq!(denied(&verdict), [Code::NoRule]);
}

#[test]
fn a87_a_fee_above_the_wallets_is_refused() {
    let policy = installed(&document(OPEN));
    let raw = |price| {
        message(
            &[(place(1), SOL)],
            &[
                Instruction::unit_limit(200_000),
                Instruction::unit_price(price),
            ],
            3,
        )
    };
    // 200 000 units at 0.475 lamports are 95 000 lamports: with the signature exactly the wallet's 100 000.
    let at_most = submit(intent_of(raw(475_000), "svc:payout"));
    assert!(is_approved(&Case::new(&policy).decide(&at_most, &[])));
    let more = submit(intent_of(raw(475_001), "svc:payout"));
    let verdict = Case::new(&policy).decide(&more, &[]);
    assert_eq!(denied(&verdict), [Code::FeeTooHigh]);
    assert!(
        sentences(&verdict)[0]
            .starts_with("the fee can reach 100001, wallet hot-sol pays at most 100000")
    );
}

#[test]
fn a_frozen_cluster_signs_nothing() {
    let policy = installed(&document(OPEN));
    let mut case = Case::new(&policy);
    case.frozen = true;
    let verdict = case.decide(&pay(place(1), SOL), &[]);
    assert_eq!(denied(&verdict), [Code::Frozen]);
}

#[test]
fn a_policy_that_is_not_in_force_signs_nothing() {
    let text = document(OPEN).replace(
        "not_before = \"2026-11-01T00:00:00Z\"",
        "not_before = \"2026-12-01T00:00:01Z\"",
    );
    let policy = installed(&text);
    let mut case = Case::new(&policy);
    assert_eq!(
        denied(&case.decide(&pay(place(1), SOL), &[])),
        [Code::PolicyNotInForce]
    );
    case.now_ms = NOW + 1000;
    assert!(is_approved(&case.decide(&pay(place(1), SOL), &[])));
}

#[test]
fn a96_a_second_request_for_the_same_transaction_is_a_conflict() {
    let policy = installed(&document(OPEN));
    let mut case = Case::new(&policy);
    let first = pay(place(1), SOL);
    assert!(case.spend(&first, &[]));
    let mut again = first.intent().clone();
    again.idempotency_key = "payout 2".to_owned();
    let verdict = case.decide(&submit(again), &[]);
    assert_eq!(denied(&verdict), [Code::Conflict]);
    assert!(sentences(&verdict)[0].contains(&hex::encode(first.digest())));
    // The first one itself may be tried again.
    assert!(is_approved(&case.decide(&first, &[])));
}
