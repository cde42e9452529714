//! Wallets on Ethereum and Bitcoin under rules: what is counted, what is listed, what calls need.

use alloy_consensus::{SignableTransaction as _, TxEip1559};
use alloy_primitives::{Address as EthereumAddress, TxKind, U256, keccak256};
use policy::amount::Amount;
use policy::chain::{Address, Asset};
use policy::evaluate::{Code, Verdict};
use policy::governance::{Change, Installed, classify};
use policy::intent::{Intent, SignedIntent};
use policy::transaction::{RootKey, Scheme};

use crate::psbt::{self, CHAIN, stranger};
use crate::support::*;

const TOKEN: [u8; 20] = [0x70; 20];
const DESK: [u8; 20] = [0xde; 20];
const OTHER: [u8; 20] = [0x07; 20];
const GWEI: u64 = 1_000_000_000;

fn at(bytes: [u8; 20]) -> Address {
    Address::Ethereum(bytes)
}

fn keys() -> RootKey {
    // The point of the secret key 1.
    let point = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    RootKey {
        scheme: Scheme::Ecdsa,
        public_key: hex::decode(point).unwrap(),
    }
}

fn ethereum(rules: &str) -> String {
    let wallet = format!(
        "[[wallet]]\nid = \"eth\"\nkey_id = \"{}\"\nchain = \"ethereum:1\"\nkinds = [\"transfer\", \"erc20_transfer\", \"erc20_approve\", \"contract_call\"]\nmax_fee = \"{}\"\n",
        "22".repeat(32),
        100_000 * 50 * GWEI
    );
    let list = format!(
        "[[address]]\nlabel = \"desk\"\nchain = \"ethereum:1\"\nto = \"{}\"\nassets = [\"native\", \"{}\"]\nadded = \"2026-11-01T00:00:00Z\"\nusable_after = \"2026-11-02T00:00:00Z\"\n",
        at(DESK),
        Asset::Erc20(TOKEN)
    );
    document_of(1, None, &[GOVERNANCE, &people(), &wallet, &list, rules])
}

fn draft() -> TxEip1559 {
    TxEip1559 {
        chain_id: 1,
        nonce: 4,
        gas_limit: 100_000,
        max_fee_per_gas: u128::from(50 * GWEI),
        max_priority_fee_per_gas: 1,
        to: TxKind::Call(EthereumAddress::from(DESK)),
        ..TxEip1559::default()
    }
}

fn ask(transaction: &TxEip1559) -> SignedIntent {
    submit(Intent {
        wallet: "eth".to_owned(),
        chain: "ethereum:1".to_owned(),
        key_id: [0x22; 32],
        ..intent_of(transaction.encoded_for_signing(), "svc:payout")
    })
}

fn coins(to: [u8; 20], wei: u64) -> SignedIntent {
    ask(&TxEip1559 {
        to: TxKind::Call(EthereumAddress::from(to)),
        value: U256::from(wei),
        ..draft()
    })
}

fn call(contract: [u8; 20], signature: &str, words: &[[u8; 32]], wei: u64) -> SignedIntent {
    call_at(4, contract, signature, words, wei)
}

fn call_at(
    nonce: u64,
    contract: [u8; 20],
    signature: &str,
    words: &[[u8; 32]],
    wei: u64,
) -> SignedIntent {
    let data = [&keccak256(signature)[..4], &words.concat()].concat();
    ask(&TxEip1559 {
        nonce,
        to: TxKind::Call(EthereumAddress::from(contract)),
        value: U256::from(wei),
        input: data.into(),
        ..draft()
    })
}

fn word(address: [u8; 20]) -> [u8; 32] {
    EthereumAddress::from(address).into_word().0
}

fn number(value: u64) -> [u8; 32] {
    U256::from(value).to_be_bytes()
}

fn transfer(to: [u8; 20], amount: u64) -> SignedIntent {
    call_at(
        5,
        TOKEN,
        "transfer(address,uint256)",
        &[word(to), number(amount)],
        0,
    )
}

fn decide(policy: &Installed, intent: &SignedIntent) -> Verdict {
    Case::new(policy).decide_with(&keys(), intent, &[])
}

fn listed_rule() -> String {
    format!(
        "[[rule]]\nid = \"listed\"\neffect = \"allow\"\nmatch = {{ wallet = \"eth\", to = \"allowlist\" }}\nlimits = [{{ scope = \"tx\", asset = \"native\", max = \"{}\" }}, {{ scope = \"wallet\", window = \"24h\", asset = \"{}\", max = \"1000\" }}]\n",
        // Two thousand wei, and the highest possible fee.
        100_000 * 50 * GWEI + 2_000,
        Asset::Erc20(TOKEN)
    )
}

#[test]
fn coins_and_tokens_are_counted_apart_and_go_where_the_list_says() {
    let policy = installed(&ethereum(&listed_rule()));
    assert!(is_approved(&decide(&policy, &coins(DESK, 2_000))));
    assert_eq!(denied(&decide(&policy, &coins(DESK, 2_001))), [Code::Limit]);
    assert_eq!(denied(&decide(&policy, &coins(OTHER, 1))), [Code::NoRule]);

    let Verdict::Approved(approved) = decide(&policy, &transfer(DESK, 1_000)) else {
        panic!("a listed destination of a token within the limit");
    };
    let debits: Vec<_> = approved
        .debits()
        .iter()
        .map(|debit| (debit.destination, debit.asset, debit.amount))
        .collect();
    let fee = Amount::from_u64(100_000 * 50 * GWEI);
    assert_eq!(
        debits,
        [
            (Some(at(DESK)), Asset::Erc20(TOKEN), Amount::from_u64(1_000)),
            (None, Asset::Native, fee)
        ]
    );
    assert_eq!(
        denied(&decide(&policy, &transfer(DESK, 1_001))),
        [Code::Limit]
    );
    assert_eq!(
        denied(&decide(&policy, &transfer(OTHER, 1))),
        [Code::NoRule]
    );
    // The same transfer of another token.
    let other = call(
        OTHER,
        "transfer(address,uint256)",
        &[word(DESK), number(1)],
        0,
    );
    assert_eq!(denied(&decide(&policy, &other)), [Code::NoRule]);
}

#[test]
fn a_fee_above_the_wallets_and_a_chain_that_is_not_the_wallets() {
    let policy = installed(&ethereum(&listed_rule()));
    let dear = ask(&TxEip1559 {
        gas_limit: 100_001,
        ..draft()
    });
    assert!(denied(&decide(&policy, &dear)).contains(&Code::FeeTooHigh));
    let elsewhere = ask(&TxEip1559 {
        chain_id: 10,
        ..draft()
    });
    assert_eq!(denied(&decide(&policy, &elsewhere)), [Code::Undecodable]);
}

#[test]
fn a102_leave_to_spend_uses_the_limit_up() {
    let rule = format!(
        "[[rule]]\nid = \"tokens\"\neffect = \"allow\"\nmatch = {{ wallet = \"eth\", asset = \"{0}\" }}\nlimits = [{{ scope = \"wallet\", window = \"24h\", asset = \"{0}\", max = \"1000\" }}]\n",
        Asset::Erc20(TOKEN)
    );
    let policy = installed(&ethereum(&rule));
    let approve =
        |amount: [u8; 32]| call(TOKEN, "approve(address,uint256)", &[word(OTHER), amount], 0);
    assert_eq!(
        denied(&decide(&policy, &approve([0xff; 32]))),
        [Code::Limit]
    );
    assert_eq!(
        denied(&decide(&policy, &approve(number(1_001)))),
        [Code::Limit]
    );
    let all = [word(OTHER), number(1)];
    let forever = call(TOKEN, "setApprovalForAll(address,bool)", &all, 0);
    assert_eq!(denied(&decide(&policy, &forever)), [Code::Limit]);

    let mut case = Case::new(&policy);
    assert!(case.spend_with(&keys(), &approve(number(600)), &[]));
    let verdict = case.decide_with(&keys(), &transfer(DESK, 401), &[]);
    assert_eq!(denied(&verdict), [Code::Limit]);
    assert!(case.spend_with(&keys(), &transfer(DESK, 400), &[]));
}

#[test]
fn a102_an_unknown_call_needs_a_rule_that_names_contract_and_function() {
    let open =
        "[[rule]]\nid = \"open\"\neffect = \"allow\"\nmatch = { wallet = \"eth\", to = \"any\" }\n";
    let function = "stake(uint256)";
    let selector = hex::encode(&keccak256(function)[..4]);
    let named = format!(
        "[[rule]]\nid = \"stake\"\neffect = \"allow\"\nmatch = {{ contract = \"{}\", selector = \"0x{selector}\" }}\nlimits = [{{ scope = \"wallet\", window = \"24h\", asset = \"native\", max = \"{}\" }}]\n",
        at(OTHER),
        100_000 * 50 * GWEI + 70,
    );
    let stake = |contract, wei| call(contract, function, &[number(5)], wei);

    let policy = installed(&ethereum(open));
    assert!(is_approved(&decide(&policy, &coins(OTHER, 1))));
    assert_eq!(denied(&decide(&policy, &stake(OTHER, 1))), [Code::NoRule]);

    let policy = installed(&ethereum(&named));
    assert!(is_approved(&decide(&policy, &stake(OTHER, 70))));
    assert_eq!(denied(&decide(&policy, &stake(OTHER, 71))), [Code::Limit]);
    assert_eq!(denied(&decide(&policy, &stake(DESK, 1))), [Code::NoRule]);
    let other = call(OTHER, "unstake(uint256)", &[number(5)], 0);
    assert_eq!(denied(&decide(&policy, &other)), [Code::NoRule]);
    // The rule is about that function and lets nothing else through.
    assert_eq!(denied(&decide(&policy, &coins(OTHER, 1))), [Code::NoRule]);

    // A deny rule without names is about everything, calls included.
    let deny = "[[rule]]\nid = \"no\"\neffect = \"deny\"\nmatch = { wallet = \"eth\" }\n";
    let policy = installed(&ethereum(&format!("{named}{deny}")));
    assert_eq!(
        denied(&decide(&policy, &stake(OTHER, 1))),
        [Code::DeniedByRule]
    );
}

#[test]
fn a102_what_an_unknown_call_is_stands_in_the_lines_that_people_sign() {
    let named = format!(
        "[[rule]]\nid = \"stake\"\neffect = \"allow\"\nmatch = {{ contract = \"{}\", selector = \"0x01020304\" }}\n",
        at(OTHER)
    );
    let policy = installed(&ethereum(&named));
    let intent = ask(&TxEip1559 {
        to: TxKind::Call(EthereumAddress::from(OTHER)),
        input: vec![1, 2, 3, 4, 0xab, 0xcd].into(),
        ..draft()
    });
    let Verdict::Approved(approved) = decide(&policy, &intent) else {
        panic!("the rule names it");
    };
    let words = approved.outline().lines.join("\n");
    for word in ["not known", "01020304abcd", &at(OTHER).to_string()] {
        assert!(words.contains(word), "{word} is missing in\n{words}");
    }
}

#[test]
fn a94_naming_a_function_in_a_rule_is_no_tightening() {
    let rule = |more: &str| {
        ethereum(&format!(
            "[[rule]]\nid = \"open\"\neffect = \"allow\"\nmatch = {{ wallet = \"eth\"{more} }}\n"
        ))
    };
    let name = |contracts: &str, selectors: &str| {
        rule(&format!(
            ", contract = [{contracts}], selector = [{selectors}]"
        ))
    };
    let [one, two] = [OTHER, DESK].map(|contract| format!("\"{}\"", at(contract)));
    let (first, second) = ("\"0x00000001\"", "\"0x00000002\"");
    let both = format!("{one}, {two}");
    let selectors = format!("{first}, {second}");
    for (why, old, new, expected) in [
        (
            "names where there were none",
            rule(""),
            name(&one, first),
            Change::Loosen,
        ),
        (
            "no names where there were some",
            name(&one, first),
            rule(""),
            Change::Loosen,
        ),
        (
            "fewer contracts",
            name(&both, first),
            name(&one, first),
            Change::Tighten,
        ),
        (
            "more contracts",
            name(&one, first),
            name(&both, first),
            Change::Loosen,
        ),
        (
            "fewer functions",
            name(&one, &selectors),
            name(&one, first),
            Change::Tighten,
        ),
        (
            "more functions",
            name(&one, first),
            name(&one, &selectors),
            Change::Loosen,
        ),
    ] {
        let change = classify(&parse(&old), &parse(&new)).change;
        assert_eq!(change, expected, "{why}");
    }
}

fn bitcoin(max: u64, max_fee: u64) -> String {
    let wallet = format!(
        "[[wallet]]\nid = \"btc\"\nkey_id = \"{}\"\npath = \"m/3\"\nchain = \"bitcoin:regtest\"\nkinds = [\"transfer\"]\nmax_fee = \"{max_fee}\"\n",
        "33".repeat(32)
    );
    let listed = policy::chain::BitcoinScript::read(&stranger(1)).unwrap();
    let listed = policy::chain::BitcoinAddress::new(policy::chain::Network::Regtest, listed);
    let list = format!(
        "[[address]]\nlabel = \"desk\"\nchain = \"bitcoin:regtest\"\nto = \"{listed}\"\nassets = [\"native\"]\nadded = \"2026-11-01T00:00:00Z\"\nusable_after = \"2026-11-02T00:00:00Z\"\n"
    );
    let rule = format!(
        "[[rule]]\nid = \"pay\"\neffect = \"allow\"\nmatch = {{ wallet = \"btc\", to = \"allowlist\" }}\nlimits = [{{ scope = \"wallet\", window = \"24h\", asset = \"native\", max = \"{max}\" }}]\n"
    );
    document_of(1, None, &[GOVERNANCE, &people(), &wallet, &list, &rule])
}

fn withdraw(case: &psbt::Case, version: u32) -> SignedIntent {
    submit(Intent {
        wallet: "btc".to_owned(),
        chain: CHAIN.to_string(),
        key_id: [0x33; 32],
        ..intent_of(case.maps(version).write(), "svc:payout")
    })
}

#[test]
fn a_bitcoin_payment_counts_without_its_change_and_with_its_fee() {
    for scheme in [Scheme::Bip340, Scheme::Ecdsa] {
        let case = psbt::Case::new(scheme);
        let intent = withdraw(&case, 2);
        // 70 000 to the desk, 28 000 back, 2 000 as fee.
        let policy = installed(&bitcoin(72_000, 2_000));
        let verdict = Case::new(&policy).decide_with(&case.keys, &intent, &[]);
        let Verdict::Approved(approved) = verdict else {
            panic!("{:?}", sentences(&verdict));
        };
        let total = approved
            .debits()
            .iter()
            .fold(Amount::ZERO, |sum, debit| sum.saturating_add(debit.amount));
        assert_eq!(total, Amount::from_u64(72_000));
        let signatures: Vec<Vec<u8>> = approved
            .tasks()
            .iter()
            .map(|task| case.keys.sign(task))
            .collect();
        for (task, signature) in approved.tasks().iter().zip(&signatures) {
            assert!(task.is_signed_by(&case.keys, signature));
        }
        let signed = approved.assemble(&case.keys, &signatures).unwrap();
        let signed: bitcoin::Transaction = bitcoin::consensus::deserialize(&signed).unwrap();
        assert_eq!(signed.compute_txid(), case.unsigned().compute_txid());

        for (max, max_fee, code) in [
            (71_999, 2_000, Code::Limit),
            (72_000, 1_999, Code::FeeTooHigh),
        ] {
            let policy = installed(&bitcoin(max, max_fee));
            let verdict = Case::new(&policy).decide_with(&case.keys, &intent, &[]);
            assert_eq!(denied(&verdict), [code]);
        }
    }
}

#[test]
fn a_bitcoin_payment_to_somebody_who_is_not_listed_is_denied() {
    let mut case = psbt::Case::new(Scheme::Bip340);
    case.outputs[0].script = stranger(2);
    let policy = installed(&bitcoin(1_000_000, 100_000));
    let verdict = Case::new(&policy).decide_with(&case.keys, &withdraw(&case, 0), &[]);
    assert_eq!(denied(&verdict), [Code::NoRule]);
    // Change that nobody says is change is a payment like any other.
    let mut case = psbt::Case::new(Scheme::Bip340);
    case.outputs[1].hint = None;
    let verdict = Case::new(&policy).decide_with(&case.keys, &withdraw(&case, 0), &[]);
    assert_eq!(denied(&verdict), [Code::NoRule]);
}

/// The same request under another name, with other bytes.
fn another(intent: &SignedIntent, raw_tx: Vec<u8>) -> SignedIntent {
    submit(Intent {
        raw_tx,
        idempotency_key: "another".to_owned(),
        ..intent.intent().clone()
    })
}

#[test]
fn a96_a_nonce_of_an_account_is_used_by_one_request_at_a_time() {
    let policy = installed(&ethereum(&listed_rule()));
    let mut case = Case::new(&policy);
    let first = coins(DESK, 1_000);
    assert!(case.spend_with(&keys(), &first, &[]));
    let raise = TxEip1559 {
        to: TxKind::Call(EthereumAddress::from(DESK)),
        value: U256::from(1_001),
        ..draft()
    };
    let other = another(&first, raise.encoded_for_signing());
    let verdict = case.decide_with(&keys(), &other, &[]);
    assert_eq!(denied(&verdict), [Code::Conflict]);
    let said = &sentences(&verdict)[0];
    let named = hex::encode(first.digest());
    assert!(
        said.contains(&named) && said.contains("nonce 4 of 0x"),
        "{said}"
    );
    // Itself it may be tried again, and the next nonce is free.
    assert!(is_approved(&case.decide_with(&keys(), &first, &[])));
    let next = TxEip1559 { nonce: 5, ..raise };
    let next = another(&first, next.encoded_for_signing());
    assert!(is_approved(&case.decide_with(&keys(), &next, &[])));

    // Once the first can be signed no more, the other may take its place; it is counted besides it.
    let mut later = other.intent().clone();
    later.expires_ms = first.intent().expires_ms + 3_600_000;
    let later = submit(later);
    case.now_ms = first.intent().expires_ms + policy::conflict::MARGIN_MS - 1;
    assert_eq!(
        denied(&case.decide_with(&keys(), &later, &[])),
        [Code::Conflict]
    );
    case.now_ms += 1;
    assert!(case.spend_with(&keys(), &later, &[]));
    // And then keeps the nonce in turn.
    let third = TxEip1559 {
        to: TxKind::Call(EthereumAddress::from(DESK)),
        max_priority_fee_per_gas: 2,
        ..draft()
    };
    let third = another(&later, third.encoded_for_signing());
    assert_eq!(
        denied(&case.decide_with(&keys(), &third, &[])),
        [Code::Conflict]
    );
}

#[test]
fn a96_an_output_is_spent_by_one_request_at_a_time() {
    for scheme in [Scheme::Bip340, Scheme::Ecdsa] {
        let coin = psbt::Case::new(scheme);
        let policy = installed(&bitcoin(200_000, 4_000));
        let mut case = Case::new(&policy);
        let first = withdraw(&coin, 2);
        assert!(case.spend_with(&coin.keys, &first, &[]));
        // The same inputs in another encoding: other bytes, so another request.
        let other = another(&first, withdraw(&coin, 0).intent().raw_tx.clone());
        assert_ne!(first.intent().raw_digest(), other.intent().raw_digest());
        let verdict = case.decide_with(&coin.keys, &other, &[]);
        let codes = denied(&verdict);
        assert_eq!(codes, vec![Code::Conflict; coin.unsigned().input.len()]);
        let spent = coin.unsigned().input[0].previous_output;
        let expected = format!("output {} of {}", spent.vout, spent.txid);
        assert!(sentences(&verdict)[0].contains(&expected));
    }
}
