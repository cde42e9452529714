//! Limits and windows (attacks A86, A87 and the per-node share).

use policy::amount::Amount;
use policy::chain::{Address, Asset, Chain};
use policy::evaluate::{Code, Facts, Fraction, Verdict, evaluate};
use policy::intent::SignedIntent;
use policy::ledger::{Debit, Entry, bucket_ms, window_start};
use policy::solana::Version;
use policy::solana::build::{self, Instruction, TokenTransfer};
use policy::time::Period;

use crate::support::*;

fn rule(limits: &str) -> String {
    format!(
        "[[rule]]\nid = \"hot\"\neffect = \"allow\"\nmatch = {{ wallet = \"hot-sol\" }}\nlimits = [{limits}]\n"
    )
}

/// A payment that differs from others of the same amount.
fn payment(n: u8, to: u8, lamports: u64) -> SignedIntent {
    submit(intent_of(
        message(&[(place(to), lamports)], &[], n),
        "svc:payout",
    ))
}

#[test]
fn a_transaction_limit_counts_the_fee() {
    let policy = installed(&document(&rule(&format!(
        "{{ scope = \"tx\", asset = \"native\", max = \"{SOL}\" }}"
    ))));
    let case = Case::new(&policy);
    assert!(is_approved(&case.decide(&pay(place(1), SOL - FEE), &[])));
    let verdict = case.decide(&pay(place(1), SOL - FEE + 1), &[]);
    assert_eq!(
        sentences(&verdict),
        [
            "a transaction may move 1000000000 native; this asks 1000000001, the highest possible fee included (rule hot); ask for at most 1000000000"
        ]
    );
}

#[test]
fn a86_fifty_requests_of_six_tenths_pass_once() {
    let limit =
        format!("{{ scope = \"wallet\", window = \"24h\", asset = \"native\", max = \"{SOL}\" }}");
    let policy = installed(&document(&rule(&limit)));
    let mut case = Case::new(&policy);
    let passed = (0..50)
        .filter(|n| case.spend(&payment(*n, *n, SOL / 10 * 6), &[]))
        .count();
    assert_eq!(passed, 1);
}

#[test]
fn a87_splitting_into_ten_does_not_help() {
    let limit =
        format!("{{ scope = \"wallet\", window = \"24h\", asset = \"native\", max = \"{SOL}\" }}");
    let policy = installed(&document(&rule(&limit)));
    // In ten requests: the fees leave no room for the tenth.
    let mut case = Case::new(&policy);
    let passed = (0..10)
        .filter(|n| case.spend(&payment(*n, *n, SOL / 10), &[]))
        .count();
    assert_eq!(passed, 9);
    let verdict = case.decide(&payment(99, 1, SOL / 10), &[]);
    assert_eq!(denied(&verdict), [Code::Limit]);
    let left = SOL - 9 * (SOL / 10 + FEE);
    assert!(sentences(&verdict)[0].contains(&format!(
        "1d limit of wallet hot-sol for native has {left} left; this asks 100005000"
    )));
    // In ten transfers of one transaction.
    let ten: Vec<_> = (0..10).map(|n| (place(n + 1), SOL / 10)).collect();
    let at_once = submit(intent_of(message(&ten, &[], 3), "svc:payout"));
    assert_eq!(
        denied(&Case::new(&policy).decide(&at_once, &[])),
        [Code::Limit]
    );
}

#[test]
fn a87_amount_over_sees_the_whole_transaction() {
    let rules = format!(
        "{}[[rule]]\nid = \"large\"\neffect = \"allow\"\nmatch = {{ asset = \"native\", amount_over = \"{SOL}\" }}\nrequire = [{{ group = \"treasury\", min = 1 }}]\n",
        rule("")
    );
    let policy = installed(&document(&rules));
    let case = Case::new(&policy);
    assert!(is_approved(&case.decide(&pay(place(1), SOL - FEE), &[])));
    let split = submit(intent_of(
        message(&[(place(1), SOL / 2), (place(2), SOL / 2)], &[], 3),
        "svc:payout",
    ));
    assert_eq!(needs(&case.decide(&split, &[])), [Code::ApprovalsMissing]);
}

#[test]
fn a87_requests_around_the_edge_of_a_window() {
    let limit =
        format!("{{ scope = \"wallet\", window = \"24h\", asset = \"native\", max = \"{SOL}\" }}");
    let policy = installed(&document(&rule(&limit)));
    let day = Period::parse("24h").unwrap();
    let mut case = Case::new(&policy);
    assert!(case.spend(&payment(1, 1, SOL / 10 * 9), &[]));
    let second = payment(2, 1, SOL / 10 * 2);
    let verdict = case.decide(&second, &[]);
    // The refusal names the instant from which it would pass, and that is exact.
    let unlocks = NOW + day.as_ms() + bucket_ms(day);
    let Verdict::Denied(denial) = &verdict else {
        panic!()
    };
    let remedy = denial.reasons[0].remedy.clone().unwrap();
    assert_eq!(
        remedy,
        format!(
            "ask for at most 99995000, or wait until {} while nothing else is spent",
            policy::time::format_utc(unlocks)
        )
    );
    let mut later = second.intent().clone();
    later.expires_ms = NOW + 72 * HOUR;
    let second = submit(later);
    for (at, passes) in [
        (NOW + day.as_ms() - 1000, false),
        (NOW + day.as_ms(), false),
        (NOW + day.as_ms() + 1000, false),
        (unlocks - 1, false),
        (unlocks, true),
    ] {
        case.now_ms = at;
        assert_eq!(
            is_approved(&case.decide(&second, &[])),
            passes,
            "{}",
            at - NOW
        );
    }
    assert!(window_start(unlocks, day) > NOW);
}

#[test]
fn a87_destination_and_asset_limits_count_on_their_own() {
    let limits = format!(
        "{{ scope = \"destination\", window = \"24h\", asset = \"native\", max = \"{SOL}\" }}, \
         {{ scope = \"asset\", window = \"24h\", asset = \"native\", max = \"{}\" }}",
        2 * SOL
    );
    let policy = installed(&document(&rule(&limits)));
    let mut case = Case::new(&policy);
    // The fee goes to no destination.
    assert!(case.spend(&payment(1, 1, SOL), &[]));
    let verdict = case.decide(&payment(2, 1, 1), &[]);
    assert_eq!(denied(&verdict), [Code::Limit]);
    assert!(sentences(&verdict)[0].contains(&format!("destination {}", place(1))));
    // Another destination has its own, and the asset's total is shared.
    assert_eq!(
        denied(&case.decide(&payment(3, 2, SOL), &[])),
        [Code::Limit]
    );
    assert!(is_approved(
        &case.decide(&payment(4, 2, SOL - 2 * FEE), &[])
    ));
    // Two transfers to one destination within one transaction add up.
    let twice = submit(intent_of(
        message(&[(place(2), SOL / 2), (place(2), SOL / 2 + 1)], &[], 9),
        "svc:payout",
    ));
    assert!(denied(&Case::new(&policy).decide(&twice, &[])).contains(&Code::Limit));
}

#[test]
fn a_count_limit_counts_requests() {
    let policy = installed(&document(&rule(
        "{ scope = \"wallet\", window = \"1h\", count = 3 }",
    )));
    let mut case = Case::new(&policy);
    let passed = (0..10)
        .filter(|n| case.spend(&payment(*n, 1, 1), &[]))
        .count();
    assert_eq!(passed, 3);
    // The same request again is not a fourth one.
    assert!(is_approved(&case.decide(&payment(0, 1, 1), &[])));
    let verdict = case.decide(&payment(9, 1, 1), &[]);
    assert!(
        sentences(&verdict)[0]
            .starts_with("1h limit of wallet hot-sol is 3 transactions and 3 were made (rule hot)")
    );
}

#[test]
fn limits_count_what_other_rules_let_through() {
    let rules = format!(
        "[[rule]]\nid = \"one\"\neffect = \"allow\"\nmatch = {{ to = \"{}\" }}\n\
         [[rule]]\nid = \"two\"\neffect = \"allow\"\nmatch = {{ to = \"{}\" }}\nlimits = [{{ scope = \"wallet\", window = \"24h\", asset = \"native\", max = \"{SOL}\" }}]\n",
        place(1),
        place(2)
    );
    let policy = installed(&document(&rules));
    let mut case = Case::new(&policy);
    assert!(case.spend(&payment(1, 1, SOL), &[]));
    assert_eq!(denied(&case.decide(&payment(2, 2, 1), &[])), [Code::Limit]);
}

#[test]
fn the_shares_of_all_nodes_never_exceed_the_limit() {
    // Any two of three nodes sign; a hostile coordinator rotates the pairs. Each node applies two thirds of the limit to what
    // it took part in itself.
    let limit =
        format!("{{ scope = \"wallet\", window = \"24h\", asset = \"native\", max = \"{SOL}\" }}");
    let policy = installed(&document(&rule(&limit)));
    let mut nodes: Vec<Case<'_>> = (0..3).map(|_| Case::new(&policy)).collect();
    for node in &mut nodes {
        node.share = Fraction::new(2, 3).unwrap();
    }
    let mut spent = 0;
    for n in 0..200u8 {
        let (one, other) = (usize::from(n) % 3, (usize::from(n) + 1) % 3);
        let intent = payment(n, 1, SOL / 20);
        if is_approved(&nodes[one].decide(&intent, &[]))
            && is_approved(&nodes[other].decide(&intent, &[]))
        {
            assert!(nodes[one].spend(&intent, &[]) && nodes[other].spend(&intent, &[]));
            spent += SOL / 20 + FEE;
        }
    }
    assert!(spent <= SOL, "{spent}");
    assert!(spent > SOL / 10 * 8, "{spent}");
}

#[test]
fn a_share_is_of_windows_and_not_of_single_transactions() {
    let limits = format!(
        "{{ scope = \"tx\", asset = \"native\", max = \"{SOL}\" }}, {{ scope = \"wallet\", window = \"24h\", asset = \"native\", max = \"{}\" }}, {{ scope = \"wallet\", window = \"24h\", count = 4 }}",
        3 * SOL
    );
    let policy = installed(&document(&rule(&limits)));
    let mut case = Case::new(&policy);
    case.share = Fraction::new(2, 3).unwrap();
    assert!(case.spend(&payment(1, 1, SOL - FEE), &[]));
    assert!(case.spend(&payment(2, 1, SOL - FEE), &[]));
    // Two of four by the share, and two SOL of three.
    assert_eq!(
        denied(&case.decide(&payment(3, 1, 1), &[])),
        [Code::Limit, Code::Limit]
    );
    assert_eq!(Fraction::new(3, 2), None);
    assert_eq!(Fraction::new(0, 0), None);
    assert_eq!(
        Fraction::new(2, 3).unwrap().of(Amount::from_u64(100)),
        Amount::from_u64(66)
    );
}

/// A message of the wallet with this key: a token transfer, paid in lamports.
fn token_message(mint: u8, to: u8, amount: u64) -> Vec<u8> {
    let wallet = Address::from_bytes(wallet_key());
    let token = TokenTransfer {
        from: place(90),
        mint: place(mint),
        to: place(to),
        authority: wallet,
        decimals: 6,
    };
    build::message(
        wallet,
        &[Instruction::token_transfer(&token, amount)],
        [4; 32],
        Version::V0,
    )
    .unwrap()
}

#[test]
fn a87_each_asset_has_its_own_limit_and_a_token_transfer_still_costs_its_fee() {
    let mint = format!("spl:{}", place(60));
    let rules = format!(
        "[[rule]]\nid = \"tokens\"\neffect = \"allow\"\nmatch = {{ asset = \"{mint}\" }}\nlimits = [{{ scope = \"wallet\", window = \"24h\", asset = \"{mint}\", max = \"1000\" }}, {{ scope = \"wallet\", window = \"24h\", asset = \"native\", max = \"{}\" }}]\n",
        3 * FEE - 1
    );
    let text = document(&rules).replace(
        "kinds = [\"transfer\"]",
        "kinds = [\"transfer\", \"spl_transfer\"]",
    );
    let policy = installed(&text);
    let mut case = Case::new(&policy);
    let pay = |mint, to, amount| submit(intent_of(token_message(mint, to, amount), "svc:payout"));
    assert!(case.spend(&pay(60, 1, 600), &[]));
    let verdict = case.decide(&pay(60, 2, 401), &[]);
    assert_eq!(denied(&verdict), [Code::Limit]);
    assert!(sentences(&verdict)[0].contains(&format!(
        "wallet hot-sol for {mint} has 400 left; this asks 401"
    )));
    assert!(case.spend(&pay(60, 2, 399), &[]));
    // One token would be left, but the third fee passes the limit on lamports.
    let verdict = case.decide(&pay(60, 3, 1), &[]);
    assert!(
        sentences(&verdict)[0].contains("wallet hot-sol for native has 4999 left; this asks 5000")
    );
    // A mint that no rule names, and the native coin.
    assert_eq!(denied(&case.decide(&pay(61, 1, 1), &[])), [Code::NoRule]);
    assert!(denied(&case.decide(&payment(1, 1, 1), &[])).contains(&Code::NoRule));
}

#[test]
fn a87_an_asset_limit_spans_all_wallets_and_a_destination_limit_too() {
    let second = "[[wallet]]\nid = \"warm-sol\"\nkey_id = \"2222222222222222222222222222222222222222222222222222222222222222\"\nchain = \"solana:devnet\"\nkinds = [\"transfer\"]\nmax_fee = \"100000\"\n";
    for scope in ["asset", "destination"] {
        let rules = format!(
            "{second}[[rule]]\nid = \"all\"\neffect = \"allow\"\nmatch = {{ }}\nlimits = [{{ scope = \"{scope}\", window = \"24h\", asset = \"native\", max = \"{SOL}\" }}]\n"
        );
        let policy = installed(&document(&rules));
        let mut case = Case::new(&policy);
        assert!(case.spend(&payment(1, 1, SOL / 10 * 6), &[]));
        // The other wallet, whose key this side knows to be another one.
        let mut intent = intent_of(Vec::new(), "svc:payout");
        let warm = Address::from_bytes(public("warm-sol", "wallet"));
        intent.raw_tx =
            build::transfer(warm, place(1), SOL / 10 * 6, [5; 32], Version::V0).unwrap();
        intent.wallet = "warm-sol".to_owned();
        intent.key_id = [0x22; 32];
        let intent = submit(intent);
        let facts = Facts {
            now_ms: NOW,
            first_seen_ms: None,
            frozen: false,
            ledger: &case.ledger.view(intent.digest()),
            share_of_limit: Fraction::WHOLE,
        };
        let verdict = evaluate(
            &policy,
            &root(*warm.solana().unwrap()),
            &intent,
            &[],
            &facts,
        );
        assert_eq!(denied(&verdict), [Code::Limit], "{scope}");
    }
}

#[test]
fn amounts_at_the_end_of_256_bits_neither_wrap_nor_pass() {
    let rules = rule(&format!(
        "{{ scope = \"wallet\", window = \"24h\", asset = \"native\", max = \"{}\" }}",
        Amount::MAX
    ));
    let policy = installed(&document(&rules));
    let mut case = Case::new(&policy);
    let wallet = policy::id::WalletId::parse("hot-sol").unwrap();
    let debit = |amount| Debit {
        wallet: wallet.clone(),
        chain: Chain::SolanaDevnet,
        destination: None,
        asset: Asset::Native,
        amount,
    };
    let nearly = Amount::MAX
        .checked_sub(Amount::from_u64(SOL + FEE))
        .unwrap();
    case.ledger.record(
        [1; 32],
        Entry {
            at_ms: NOW,
            raw_digest: [1; 32],
            debits: vec![debit(nearly)],
        },
    );
    assert!(is_approved(&case.decide(&pay(place(1), SOL), &[])));
    assert_eq!(
        denied(&case.decide(&pay(place(1), SOL + 1), &[])),
        [Code::Limit]
    );
    case.ledger.record(
        [2; 32],
        Entry {
            at_ms: NOW,
            raw_digest: [2; 32],
            debits: vec![debit(Amount::MAX)],
        },
    );
    assert_eq!(denied(&case.decide(&pay(place(1), 1), &[])), [Code::Limit]);
}

#[test]
fn a_place_on_the_allow_list_takes_only_the_assets_listed_for_it() {
    let rules = "[[rule]]\nid = \"list\"\neffect = \"allow\"\nmatch = { to = \"allowlist\" }\n";
    let entry = address("native only", place(1), "2026-11-20T00:00:00Z");
    let text = document(&format!("{entry}{rules}")).replace(
        "kinds = [\"transfer\"]",
        "kinds = [\"transfer\", \"spl_transfer\"]",
    );
    let policy = installed(&text);
    let case = Case::new(&policy);
    assert!(is_approved(&case.decide(&pay(place(1), 1), &[])));
    let token = submit(intent_of(token_message(60, 1, 1), "svc:payout"));
    assert_eq!(denied(&case.decide(&token, &[])), [Code::NoRule]);
}
