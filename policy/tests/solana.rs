//! The decoder against an independent library: see `data/solana/README.md`.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose fixture is broken should stop there"
)]

use std::collections::BTreeSet;

use ed25519_dalek::{Signature, VerifyingKey};
use policy::approval::{Approval, Decision, summary_lines};
use policy::chain::{Address, Asset};
use policy::intent::{Intent, MAX_NOTE};
use policy::solana::build::{self, Instruction, TokenTransfer};
use policy::solana::{MAX_MESSAGE, Refusal, Transaction, Version, assemble, decode};
use policy::statement::{Common, Statement};
use proptest::prelude::*;
use serde_json::{Value, json};

fn corpus() -> Value {
    serde_json::from_str(include_str!("data/solana/messages.json")).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn wallet(corpus: &Value) -> [u8; 32] {
    bytes(&corpus["wallet"]).try_into().unwrap()
}

/// Our reading, in the corpus' words.
fn reading(transaction: &Transaction) -> Value {
    let transfers: Vec<Value> = transaction
        .transfers
        .iter()
        .map(|it| {
            json!([
                it.asset.to_string(),
                it.from.to_string(),
                it.to.to_string(),
                it.amount.to_string()
            ])
        })
        .collect();
    let version = match transaction.version {
        Version::Legacy => "legacy",
        Version::V0 => "v0",
    };
    json!({
        "version": version,
        "transfers": transfers,
        "memo": transaction.memo,
        "fee_max": transaction.fee_max.to_string(),
        "blockhash": hex::encode(transaction.blockhash),
    })
}

/// The variant's name.
fn name(refusal: &Refusal) -> String {
    let text = format!("{refusal:?}");
    text.split([' ', '(']).next().unwrap_or_default().to_owned()
}

#[test]
fn a100_what_the_library_compiles_is_read_equally() {
    let corpus = corpus();
    let wallet = wallet(&corpus);
    let cases = corpus["good"].as_array().unwrap();
    assert_eq!(cases.len(), 30);
    for case in cases {
        let message = bytes(&case["message"]);
        let transaction =
            decode(&message, &wallet).unwrap_or_else(|error| panic!("{}: {error}", case["name"]));
        assert_eq!(reading(&transaction), case["expected"], "{}", case["name"]);
        assert_eq!(transaction.fee_payer.solana().unwrap(), &wallet);
        for line in &transaction.rendering {
            assert!(policy::statement::is_display_line(line), "{line:?}");
        }

        let signature: [u8; 64] = bytes(&case["signature"]).try_into().unwrap();
        assert_eq!(
            assemble(&message, &signature),
            bytes(&case["transaction"]),
            "{}",
            case["name"]
        );
        VerifyingKey::from_bytes(&wallet)
            .unwrap()
            .verify_strict(&message, &Signature::from_bytes(&signature))
            .unwrap();
    }
}

#[test]
fn a103_everything_else_is_refused_by_its_name() {
    let corpus = corpus();
    let wallet = wallet(&corpus);
    let cases = corpus["refused"].as_array().unwrap();
    assert_eq!(cases.len(), 51);
    let mut names = BTreeSet::new();
    for case in cases {
        let refusal = decode(&bytes(&case["message"]), &wallet).unwrap_err();
        assert_eq!(
            name(&refusal),
            case["why"].as_str().unwrap(),
            "{}: {refusal}",
            case["name"]
        );
        names.insert(name(&refusal));
    }
    // Every refusal there is has its case, but for the one that no bytes can reach while encoding is the inverse of decoding.
    assert_eq!(names.len(), 27, "{names:?}");
}

#[test]
fn a100_changed_bytes_are_never_read_differently() {
    /// Where the library reads on, these rules of ours may still refuse.
    const STRICTER: [&str; 5] = [
        "Access",
        "InstructionAccounts",
        "InstructionData",
        "Repeated",
        "UnusedAccount",
    ];
    let corpus = corpus();
    let wallet = wallet(&corpus);
    let cases = corpus["mutated"].as_array().unwrap();
    assert_eq!(cases.len(), 400);
    let mut both = 0;
    for case in cases {
        let message = bytes(&case["message"]);
        match decode(&message, &wallet) {
            Ok(transaction) => {
                assert_eq!(
                    reading(&transaction),
                    case["expected"],
                    "{}",
                    case["message"]
                );
                both += 1;
            }
            Err(refusal) if !case["expected"].is_null() => {
                assert!(
                    STRICTER.contains(&name(&refusal).as_str()),
                    "{refusal}: {}",
                    case["message"]
                );
            }
            Err(_) => {}
        }
    }
    assert!(
        both >= 100,
        "only {both} of the changed messages are still read by both"
    );
}

#[test]
fn the_builder_compiles_what_the_library_compiles() {
    let corpus = corpus();
    let wallet = Address::from_bytes(wallet(&corpus));
    let mut rebuilt = 0;
    for case in corpus["good"].as_array().unwrap() {
        let message = bytes(&case["message"]);
        let name = case["name"].as_str().unwrap();
        if !["one transfer", "three transfers", "to itself", "thirty-two"]
            .iter()
            .any(|it| name.starts_with(it))
        {
            continue;
        }
        let transaction = decode(&message, wallet.solana().unwrap()).unwrap();
        let instructions: Vec<Instruction> = transaction
            .transfers
            .iter()
            .map(|it| Instruction::transfer(it.from, it.to, it.amount.to_u64().unwrap()))
            .collect();
        let built = build::message(
            wallet,
            &instructions,
            transaction.blockhash,
            transaction.version,
        )
        .unwrap();
        assert_eq!(built, message, "{name}");
        rebuilt += 1;
    }
    assert_eq!(rebuilt, 8);
}

fn sample(version: Version) -> Vec<u8> {
    let [wallet, to, mint, from] = [1, 2, 3, 4].map(|byte| Address::from_bytes([byte; 32]));
    let tokens = TokenTransfer {
        from,
        mint,
        to,
        authority: wallet,
        decimals: 6,
    };
    let instructions = [
        Instruction::unit_price(1_000_000_000),
        Instruction::unit_limit(1_000_000),
        Instruction::transfer(wallet, to, 1_500_000_000),
        Instruction::token_transfer(&tokens, 2_500_000),
        Instruction::memo("invoice 7"),
    ];
    build::message(wallet, &instructions, [9; 32], version).unwrap()
}

#[test]
fn a104_the_rendering_says_everything() {
    let wallet = Address::from_bytes([1; 32]);
    let transaction = decode(&sample(Version::V0), wallet.solana().unwrap()).unwrap();
    let [to, mint, from, blockhash] = [2, 3, 4, 9].map(|byte| Address::from_bytes([byte; 32]));
    assert_eq!(
        transaction.rendering,
        [
            format!("transfer 1500000000 lamports (1.5 SOL) from {wallet} to {to}"),
            format!(
                "transfer 2500000 base units (2.5 with 6 decimals) of token {mint} from token account {from} to token account {to}"
            ),
            "memo \"invoice 7\"".to_owned(),
            format!("fee at most 1000005000 lamports (1.000005 SOL) paid by {wallet}"),
            format!(
                "version 0 message of {} bytes, blockhash {blockhash}",
                sample(Version::V0).len()
            ),
        ]
    );
    assert_eq!(transaction.transfers[1].asset, Asset::SplMint([3; 32]));
}

#[test]
fn a100_no_cut_and_no_addition_decodes() {
    for version in [Version::Legacy, Version::V0] {
        let message = sample(version);
        for len in 0..message.len() {
            assert!(decode(&message[..len], &[1; 32]).is_err(), "cut at {len}");
        }
        for byte in 0..=u8::MAX {
            let longer = [message.as_slice(), &[byte]].concat();
            assert!(decode(&longer, &[1; 32]).is_err(), "followed by {byte}");
        }
    }
}

/// Every flipped bit, and every byte set to a value that means something in lengths and counts: what still decodes is
/// another message, and says so.
#[test]
fn a100_no_changed_byte_decodes_to_the_same_meaning() {
    for version in [Version::Legacy, Version::V0] {
        let message = sample(version);
        let original = decode(&message, &[1; 32]).unwrap();
        for (place, byte) in message.iter().enumerate() {
            let flips = (0..8).map(|bit| byte ^ (1 << bit));
            for value in flips
                .chain([0, 1, 2, 3, 0x7f, 0x80, 0x81, 0xff])
                .filter(|value| value != byte)
            {
                let mut changed = message.clone();
                changed[place] = value;
                if let Ok(transaction) = decode(&changed, &[1; 32]) {
                    assert_ne!(
                        transaction, original,
                        "byte {place} set to {value} changed nothing"
                    );
                }
            }
        }
    }
}

/// The largest transaction, every text around it as long as it may be, still fits into an approval.
#[test]
fn a104_an_approver_can_always_be_shown_everything() {
    let [wallet, mint, from, to] =
        [1, 0xfd, 0xfe, 0xff].map(|byte| Address::from_bytes([byte; 32]));
    let tokens = TokenTransfer {
        from,
        mint,
        to,
        authority: wallet,
        decimals: 19,
    };
    let mut instructions = vec![Instruction::token_transfer(&tokens, u64::MAX); 32];
    let used = build::message(wallet, &instructions, [0xff; 32], Version::V0)
        .unwrap()
        .len();
    // The memo's program, its instruction and its two bytes of length take 36 bytes.
    let room = MAX_MESSAGE - used - 36;
    instructions.push(Instruction::memo(&"\u{7f}".repeat(room)));
    let message = build::message(wallet, &instructions, [0xff; 32], Version::V0).unwrap();
    assert_eq!(message.len(), MAX_MESSAGE);
    let longest = "z".repeat(64);
    let intent = Intent {
        cluster_id: longest.clone(),
        key_id: [0; 32],
        wallet: longest.clone(),
        chain: longest.clone(),
        raw_tx: message.clone(),
        initiator: longest.clone(),
        idempotency_key: longest.clone(),
        created_ms: 1,
        expires_ms: 2,
        note: "z".repeat(MAX_NOTE),
    };
    let common = Common {
        cluster: longest.clone(),
        person: longest.clone(),
        credential: longest,
        nonce: [0; 16],
        issued_ms: 1,
        expires_ms: 2,
    };
    let lines = summary_lines(
        &intent,
        &decode(&message, wallet.solana().unwrap())
            .unwrap()
            .rendering,
    );
    let approval = Statement::Approval(Approval::new(
        common,
        &intent,
        [0; 32],
        Decision::Approve,
        lines,
    ));
    assert_eq!(Statement::parse(&approval.render()), Ok(approval));
}

#[test]
fn another_wallet_refuses() {
    let refusal = decode(&sample(Version::Legacy), &[5; 32]);
    assert_eq!(
        refusal,
        Err(Refusal::WalletNotPayer {
            payer: Address::from_bytes([1; 32])
        })
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_bytes_never_panic(message in proptest::collection::vec(any::<u8>(), 0..=MAX_MESSAGE + 2)) {
        prop_assert!(decode(&message, &[1; 32]).is_err());
    }

    #[test]
    fn several_changes_never_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        v0 in any::<bool>(),
    ) {
        let mut message = sample(if v0 { Version::V0 } else { Version::Legacy });
        for (place, value) in changes {
            let place = place.index(message.len());
            message[place] = value;
        }
        if let Ok(transaction) = decode(&message, &[1; 32]) {
            prop_assert_eq!(transaction.fee_payer.solana().unwrap(), &[1; 32]);
        }
    }

    #[test]
    fn what_is_built_is_read_back(
        amounts in proptest::collection::vec((any::<[u8; 32]>(), any::<u64>()), 1..12),
        price in 0..10_000_000_u64,
        v0 in any::<bool>(),
    ) {
        let wallet = Address::from_bytes([1; 32]);
        let mut instructions = vec![Instruction::unit_price(price)];
        for (to, amount) in &amounts {
            instructions.push(Instruction::transfer(wallet, Address::from_bytes(*to), *amount));
        }
        let version = if v0 { Version::V0 } else { Version::Legacy };
        let message = build::message(wallet, &instructions, [9; 32], version).unwrap();
        let transaction = decode(&message, wallet.solana().unwrap()).unwrap();
        let read: Vec<([u8; 32], u64)> =
            transaction.transfers.iter().map(|it| (*it.to.solana().unwrap(), it.amount.to_u64().unwrap())).collect();
        prop_assert_eq!(read, amounts);
    }
}
