//! Statements, approvals and intents: one spelling, nothing left out of the signature, no panic on any bytes.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose fixture is broken should stop there"
)]

use ed25519_dalek::SigningKey;
use policy::approval::{Approval, Decision, Mismatch, display_digest, summary_lines};
use policy::chain::Address;
use policy::codec::CodecError;
use policy::credential::CredentialKey;
use policy::intent::{Intent, IntentError, SignedIntent};
use policy::solana::{Version, build, decode};
use policy::statement::{
    Cancel, Common, Export, Exportation, Freeze, KeyRef, MAX_BODY, MAX_LIFETIME_MS, Plan,
    PolicyConsent, Reshare, Retire, Retirement, Signature, SignatureError, SignedStatement,
    Statement, StatementError, StatementKind, TimingError, Unfreeze,
    reshare::{ReshareKey, Seat},
};
use proptest::prelude::*;

/// One way to alter a value.
type Change<T> = fn(&mut T);

const NOW: u64 = 1_796_083_200_000;
const POLICY: [u8; 32] = [0xaa; 32];

fn key() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

fn enrolled(key: &SigningKey) -> CredentialKey {
    CredentialKey::Ed25519(key.verifying_key().to_bytes())
}

fn common() -> Common {
    Common {
        cluster: "c-01".to_owned(),
        person: "alice".to_owned(),
        credential: "laptop".to_owned(),
        nonce: [7; 16],
        issued_ms: NOW,
        expires_ms: NOW + 3_600_000,
    }
}

fn transaction(to: u8) -> Vec<u8> {
    let [wallet, to] = [1, to].map(|byte| Address::from_bytes([byte; 32]));
    build::transfer(wallet, to, 1_500_000_000, [9; 32], Version::V0).unwrap()
}

fn intent() -> Intent {
    Intent {
        cluster_id: "c-01".to_owned(),
        key_id: [5; 32],
        wallet: "hot-sol".to_owned(),
        chain: "solana:devnet".to_owned(),
        raw_tx: transaction(2),
        initiator: "svc:payout".to_owned(),
        idempotency_key: "order 17".to_owned(),
        created_ms: NOW,
        expires_ms: NOW + 3_600_000,
        note: "rent".to_owned(),
    }
}

fn lines(intent: &Intent) -> Vec<String> {
    summary_lines(intent, &decode(&intent.raw_tx, &[1; 32]).unwrap().rendering)
}

fn approval() -> Approval {
    Approval::new(
        common(),
        &intent(),
        POLICY,
        Decision::Approve,
        lines(&intent()),
    )
}

fn key_ref() -> KeyRef {
    KeyRef {
        key: [5; 32],
        name: "hot".into(),
        scheme: "ecdsa".into(),
        epoch: 3,
        attempt: 1,
        sharing: [6; 32],
    }
}

fn seat(index: u16, node: u16) -> Seat {
    Seat {
        index,
        node,
        id: [u8::try_from(node).unwrap(); 32],
    }
}

fn plan() -> Plan {
    Plan {
        request: [8; 32],
        keys: vec![ReshareKey {
            key: key_ref(),
            first: 1,
            last: 3,
        }],
        holders: vec![seat(1, 1), seat(2, 2), seat(3, 3)],
        threshold: 2,
        dealers: vec![1, 3],
        members: vec![seat(1, 1), seat(2, 3), seat(3, 4)],
        new_threshold: 3,
        fresh_pairs: true,
    }
}

fn one_of_each() -> Vec<Statement> {
    vec![
        Statement::Approval(approval()),
        Statement::Cancel(Cancel {
            common: common(),
            request: intent().digest(),
        }),
        Statement::Freeze(Freeze { common: common() }),
        Statement::Policy(PolicyConsent {
            common: common(),
            policy_id: "treasury".to_owned(),
            version: 42,
            policy: POLICY,
        }),
        Statement::Reshare(Reshare {
            common: common(),
            plan: plan(),
        }),
        Statement::Retire(Retire {
            common: common(),
            matter: Retirement {
                request: [8; 32],
                key: key_ref(),
                reason: "the product has ended".into(),
            },
        }),
        Statement::Export(Export {
            common: common(),
            matter: Exportation {
                request: [8; 32],
                key: key_ref(),
                recipient: [7; 32],
                reason: "we leave".into(),
            },
        }),
        Statement::Unfreeze(Unfreeze { common: common() }),
    ]
}

#[test]
fn the_text_of_an_approval() {
    let (request, policy) = (hex::encode(intent().digest()), hex::encode(POLICY));
    let display = hex::encode(display_digest(&lines(&intent())));
    let [wallet, to, blockhash] = [1, 2, 9].map(|byte| Address::from_bytes([byte; 32]));
    let expected = format!(
        "quorate/approval/v1\n\
         cluster: c-01\n\
         request: {request}\n\
         decision: approve\n\
         policy: {policy}\n\
         display: {display}\n\
         wallet: hot-sol\n\
         person: alice\n\
         credential: laptop\n\
         nonce: 07070707070707070707070707070707\n\
         issued: 2026-12-01T00:00:00Z\n\
         expires: 2026-12-01T01:00:00Z\n\
         line: initiator svc:payout asks wallet hot-sol on solana:devnet\n\
         line: request valid until 2026-12-01T01:00:00Z\n\
         line: transfer 1500000000 lamports (1.5 SOL) from {wallet} to {to}\n\
         line: fee at most 5000 lamports (0.000005 SOL) paid by {wallet}\n\
         line: version 0 message of {} bytes, blockhash {blockhash}\n\
         line: note by the initiator: rent\n",
        intent().raw_tx.len(),
    );
    let rendered = Statement::Approval(approval()).render();
    assert_eq!(String::from_utf8(rendered).unwrap(), expected);
}

#[test]
fn every_kind_survives_signing_and_encoding() {
    let kinds: Vec<StatementKind> = one_of_each().iter().map(Statement::kind).collect();
    assert_eq!(kinds.len(), 8);
    for statement in one_of_each() {
        assert_eq!(Statement::parse(&statement.render()), Ok(statement.clone()));
        let signed = SignedStatement::sign(&statement, &key()).unwrap();
        let read = SignedStatement::decode(&signed.encode()).unwrap();
        assert_eq!(read, signed);
        assert_eq!(read.statement(), &statement);
        assert_eq!(read.verify(&enrolled(&key())), Ok(()));
        let other = SigningKey::from_bytes(&[4; 32]);
        assert_eq!(read.verify(&enrolled(&other)), Err(SignatureError::Ed25519));
    }
}

#[test]
fn a91_every_field_of_an_approval_is_signed() {
    let signed = SignedStatement::sign(&Statement::Approval(approval()), &key()).unwrap();
    let changes: [(&str, Change<Approval>); 11] = [
        ("cluster", |it| it.common.cluster = "c-02".to_owned()),
        ("request", |it| it.request[31] ^= 1),
        ("decision", |it| it.decision = Decision::Reject),
        ("policy", |it| it.policy[0] ^= 1),
        ("wallet", |it| it.wallet = "hot-sol-2".to_owned()),
        ("person", |it| it.common.person = "bob".to_owned()),
        ("credential", |it| it.common.credential = "phone".to_owned()),
        ("nonce", |it| it.common.nonce[0] ^= 1),
        ("issued", |it| it.common.issued_ms += 1),
        ("expires", |it| it.common.expires_ms += 1),
        ("line", |it| {
            it.lines[2] = it.lines[2].replace("1.5 SOL", "0.5 SOL");
            it.display = display_digest(&it.lines);
        }),
    ];
    for (field, change) in changes {
        let mut changed = approval();
        change(&mut changed);
        let body = Statement::Approval(changed).render();
        assert_ne!(body, signed.body(), "{field}");
        let forged = SignedStatement::new(body, signed.signature().clone()).unwrap();
        assert_eq!(
            forged.verify(&enrolled(&key())),
            Err(SignatureError::Ed25519),
            "{field}"
        );
    }
}

#[test]
fn a91_an_approval_does_not_fit_another_request() {
    let approval = approval();
    assert_eq!(
        approval.check(&intent(), &POLICY, &lines(&intent())),
        Ok(())
    );
    let changes: [(&'static str, Change<Intent>); 10] = [
        ("cluster", |it| it.cluster_id = "c-02".to_owned()),
        ("request", |it| it.key_id[0] ^= 1),
        ("request", |it| it.wallet = "hot-sol-2".to_owned()),
        ("request", |it| it.chain = "solana:mainnet".to_owned()),
        ("request", |it| it.raw_tx = transaction(4)),
        ("request", |it| it.initiator = "svc:other".to_owned()),
        ("request", |it| it.idempotency_key = "order 18".to_owned()),
        ("request", |it| it.created_ms += 1),
        ("request", |it| it.expires_ms += 1),
        ("request", |it| it.note = "bribe".to_owned()),
    ];
    for (field, change) in changes {
        let mut other = intent();
        change(&mut other);
        assert_eq!(
            approval.check(&other, &POLICY, &lines(&other)),
            Err(Mismatch { field })
        );
    }
    assert_eq!(
        approval.check(&intent(), &[0xab; 32], &lines(&intent())),
        Err(Mismatch { field: "policy" })
    );
    let mut elsewhere = approval;
    elsewhere.wallet = "cold-sol".to_owned();
    assert_eq!(
        elsewhere.check(&intent(), &POLICY, &lines(&intent())),
        Err(Mismatch { field: "wallet" })
    );
}

/// The coordinator shows an approver another recipient than the raw bytes have.
#[test]
fn a104_an_approval_of_other_lines_is_refused() {
    let mut shown = intent();
    shown.raw_tx = transaction(4);
    let deceived = Approval::new(
        common(),
        &intent(),
        POLICY,
        Decision::Approve,
        lines(&shown),
    );
    assert_eq!(
        deceived.check(&intent(), &POLICY, &lines(&intent())),
        Err(Mismatch { field: "display" })
    );

    let body = Statement::Approval(deceived).render();
    let text = String::from_utf8(body).unwrap();
    let mixed = text.replace(
        &hex::encode(display_digest(&lines(&shown))),
        &hex::encode(display_digest(&lines(&intent()))),
    );
    assert_eq!(
        Statement::parse(mixed.as_bytes()),
        Err(StatementError::BadValue { key: "display" })
    );
}

#[test]
fn a104_a_line_cannot_bring_its_own_lines() {
    for line in [
        "",
        " a",
        "a ",
        "a\nline: b",
        "a\tb",
        "1\u{2024}5 SOL",
        "\u{430}",
    ] {
        let approval = Approval::new(
            common(),
            &intent(),
            POLICY,
            Decision::Approve,
            vec![line.to_owned()],
        );
        let signed = SignedStatement::sign(&Statement::Approval(approval.clone()), &key());
        let survives = signed.is_ok_and(|it| it.statement() == &Statement::Approval(approval));
        assert!(!survives, "{line:?}");
    }
}

#[test]
fn texts_that_are_no_statement() {
    let good = String::from_utf8(Statement::Freeze(Freeze { common: common() }).render()).unwrap();
    let policy = String::from_utf8(one_of_each()[3].render()).unwrap();
    let expected = |line, key| StatementError::Expected { line, key };
    let bad = |key| StatementError::BadValue { key };
    for (text, error) in [
        (String::new(), StatementError::NoFinalNewline),
        ("\n".to_owned(), StatementError::UnknownKind),
        (
            good.replace("freeze/v1", "freeze/v2"),
            StatementError::UnknownKind,
        ),
        (good.replace("freeze", "raise"), StatementError::UnknownKind),
        (good.trim_end().to_owned(), StatementError::NoFinalNewline),
        (format!("{good}\n"), StatementError::Unexpected { line: 8 }),
        (
            format!("{good}note: more\n"),
            StatementError::Unexpected { line: 8 },
        ),
        (
            good.replace('\n', "\r\n"),
            StatementError::NotText { offset: 17 },
        ),
        (
            good.replace("alice", "al\u{456}ce"),
            StatementError::NotText { offset: 42 },
        ),
        (good.replace("alice", "Alice"), bad("person")),
        (good.replace("person: ", "person:"), expected(3, "person")),
        (good.replace("person", "Person"), expected(3, "person")),
        (good.replace("person: alice\n", ""), expected(3, "person")),
        (
            good.replace("person: alice\n", "person: alice\nperson: alice\n"),
            expected(4, "credential"),
        ),
        (
            good.replace("person: alice", "person:  alice"),
            bad("person"),
        ),
        (good.replace("person: alice", "person: "), bad("person")),
        (good.replace("0707", "07AF"), bad("nonce")),
        (good.replace("nonce: 0707", "nonce: 07"), bad("nonce")),
        (good.replace("T00:", "t00:"), bad("issued")),
        (good.replace("00:00:00Z", "00:00:00.000Z"), bad("issued")),
        (good.replace("T01:00:00Z", "T00:00:00Z"), bad("expires")),
        (
            good.replace("2026-12-01T01", "2027-12-01T01"),
            bad("expires"),
        ),
        (
            policy.replace("version: 42", "version: 042"),
            StatementError::NotCanonical,
        ),
        (
            policy.replace("version: 42", "version: +42"),
            StatementError::NotCanonical,
        ),
        (
            policy.replace("version: 42", "version: 18446744073709551616"),
            bad("version"),
        ),
        (
            "x".repeat(MAX_BODY + 1),
            StatementError::TooLong {
                len: MAX_BODY + 1,
                max: MAX_BODY,
            },
        ),
    ] {
        assert_eq!(Statement::parse(text.as_bytes()), Err(error), "{text:?}");
    }
}

#[test]
fn a_field_that_no_statement_may_have_cannot_be_signed() {
    let mut freeze = Freeze { common: common() };
    freeze.common.person = "alice\ncredential: root".to_owned();
    let refused = SignedStatement::sign(&Statement::Freeze(freeze), &key());
    assert_eq!(
        refused,
        Err(StatementError::Expected {
            line: 5,
            key: "nonce"
        })
    );
}

#[test]
fn the_signer_beside_the_text_must_be_the_one_in_it() {
    let signed = SignedStatement::sign(&one_of_each()[2], &key()).unwrap();
    let bytes = signed.encode();
    let at = bytes.len() - 64 - 1 - "laptop".len() - 4 - "alice".len();
    let mut other = bytes.clone();
    other[at..at + 5].copy_from_slice(b"mally");
    assert_eq!(
        SignedStatement::decode(&other),
        Err(StatementError::SignerMismatch { field: "person" })
    );
    let mut other = bytes;
    other[at + 9..at + 15].copy_from_slice(b"phone1");
    assert_eq!(
        SignedStatement::decode(&other),
        Err(StatementError::SignerMismatch {
            field: "credential"
        })
    );
}

#[test]
fn statements_have_their_time() {
    let common = common();
    assert_eq!(common.check_time(NOW, 0), Ok(()));
    assert_eq!(common.check_time(NOW + 3_599_999, 0), Ok(()));
    let expires_ms = NOW + 3_600_000;
    assert_eq!(
        common.check_time(expires_ms, 0),
        Err(TimingError::Expired {
            expires_ms,
            now_ms: expires_ms
        })
    );
    assert_eq!(common.check_time(NOW - 5_000, 5_000), Ok(()));
    let now_ms = NOW - 5_001;
    assert_eq!(
        common.check_time(now_ms, 5_000),
        Err(TimingError::FromTheFuture {
            issued_ms: NOW,
            now_ms
        })
    );
    let mut long = Freeze { common };
    long.common.expires_ms = NOW + MAX_LIFETIME_MS;
    assert!(SignedStatement::sign(&Statement::Freeze(long.clone()), &key()).is_ok());
    long.common.expires_ms += 1;
    let refused = SignedStatement::sign(&Statement::Freeze(long), &key());
    assert_eq!(refused, Err(StatementError::BadValue { key: "expires" }));
}

#[test]
fn a91_every_field_of_an_intent_is_in_its_digest_and_signature() {
    let signed = SignedIntent::sign(intent(), &key()).unwrap();
    assert_eq!(SignedIntent::decode(&signed.encode()), Ok(signed.clone()));
    assert_eq!(Intent::decode(&intent().encode()), Ok(intent()));
    assert_eq!(signed.verify(&key().verifying_key().to_bytes()), Ok(()));
    let stranger = SigningKey::from_bytes(&[8; 32]).verifying_key().to_bytes();
    assert_eq!(signed.verify(&stranger), Err(IntentError::Signature));

    let encoded = signed.encode();
    let message_len = encoded.len() - 64;
    for place in 0..encoded.len() {
        let mut changed = encoded.clone();
        changed[place] ^= 1;
        if let Ok(other) = SignedIntent::decode(&changed) {
            assert_eq!(
                other.digest() == signed.digest(),
                place >= message_len,
                "byte {place}"
            );
            assert_eq!(
                other.verify(&key().verifying_key().to_bytes()),
                Err(IntentError::Signature),
                "byte {place}"
            );
        }
    }
}

#[test]
fn two_intents_for_one_transaction_share_its_digest() {
    let mut again = intent();
    again.idempotency_key = "order 18".to_owned();
    assert_ne!(again.digest(), intent().digest());
    assert_eq!(again.raw_digest(), intent().raw_digest());
    again.chain = "solana:mainnet".to_owned();
    assert_ne!(again.raw_digest(), intent().raw_digest());
}

#[test]
fn intents_out_of_bounds_are_neither_signed_nor_decoded() {
    let text = |field| IntentError::Codec(CodecError::BadText { field });
    let long = |field, len, max| IntentError::Codec(CodecError::TooLong { field, len, max });
    let cases: [(Change<Intent>, IntentError); 12] = [
        (|it| it.cluster_id = String::new(), text("cluster_id")),
        (|it| it.wallet = "hot sol".to_owned(), text("wallet")),
        (|it| it.chain = "SOLANA".to_owned(), text("chain")),
        (|it| it.initiator = "svc\n".to_owned(), text("initiator")),
        (
            |it| it.idempotency_key = String::new(),
            text("idempotency_key"),
        ),
        (
            |it| it.idempotency_key = "k".repeat(129),
            long("idempotency_key", 129, 128),
        ),
        (|it| it.note = "a\nb".to_owned(), text("note")),
        (|it| it.note = "\u{202e}".to_owned(), text("note")),
        (|it| it.note = "n".repeat(257), long("note", 257, 256)),
        (
            |it| it.raw_tx = vec![0; 65_537],
            long("raw_tx", 65_537, 65_536),
        ),
        (|it| it.expires_ms = it.created_ms, IntentError::Lifetime),
        (|it| it.expires_ms = u64::MAX, IntentError::Lifetime),
    ];
    for (change, error) in cases {
        let mut bad = intent();
        change(&mut bad);
        assert_eq!(Intent::decode(&bad.encode()), Err(error));
        assert_eq!(SignedIntent::sign(bad, &key()), Err(error));
    }
    let mut empty = intent();
    empty.raw_tx.clear();
    assert_eq!(
        SignedIntent::sign(empty, &key()),
        Err(CodecError::Truncated { field: "raw_tx" }.into())
    );
}

#[test]
fn cut_or_extended_encodings_do_not_decode() {
    let signed = SignedStatement::sign(&Statement::Approval(approval()), &key())
        .unwrap()
        .encode();
    let intent = SignedIntent::sign(intent(), &key()).unwrap().encode();
    for len in 0..signed.len() {
        assert!(SignedStatement::decode(&signed[..len]).is_err());
    }
    for len in 0..intent.len() {
        assert!(SignedIntent::decode(&intent[..len]).is_err());
    }
    let trailing = Err(StatementError::Codec(CodecError::Trailing { count: 1 }));
    assert_eq!(
        SignedStatement::decode(&[signed, vec![0]].concat()),
        trailing
    );
    let trailing = Err(IntentError::Codec(CodecError::Trailing { count: 1 }));
    assert_eq!(SignedIntent::decode(&[intent, vec![0]].concat()), trailing);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_decodes_encodes_to_the_same_bytes(
        which in 0..5_usize,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let signed = SignedStatement::sign(&one_of_each()[which], &key()).unwrap();
        let mut bytes = signed.encode();
        for (place, value) in &changes {
            let place = place.index(bytes.len());
            bytes[place] = *value;
        }
        if let Ok(read) = SignedStatement::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes.clone());
            prop_assert_eq!(read.verify(&enrolled(&key())).is_ok(), bytes == signed.encode());
        }
        let mut bytes = SignedIntent::sign(intent(), &key()).unwrap().encode();
        for (place, value) in &changes {
            let place = place.index(bytes.len());
            bytes[place] = *value;
        }
        if let Ok(read) = SignedIntent::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes);
        }
    }

    #[test]
    fn any_bytes_are_safe_to_read(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(SignedStatement::decode(&bytes).is_err());
        prop_assert!(SignedIntent::decode(&bytes).is_err());
        prop_assert!(Statement::parse(&bytes).is_err());
        let body = one_of_each()[2].render();
        let pem = String::from_utf8_lossy(&bytes).into_owned();
        if let Ok(signed) = SignedStatement::new(body, Signature::Ssh(pem)) {
            prop_assert!(signed.verify(&enrolled(&key())).is_err());
        }
    }
}
