//! The formats against an independent construction: see `data/formats/README.md`.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose fixture is broken should stop there"
)]

use ed25519_dalek::SigningKey;
use policy::approval::{Approval, Decision, display_digest};
use policy::credential::CredentialKey;
use policy::document::PolicyHash;
use policy::intent::{Intent, SignedIntent};
use policy::statement::{Common, SignedStatement, Statement, signed_hash};
use serde_json::Value;

const NOW: u64 = 1_796_083_200_000;

struct Formats(Value);

impl Formats {
    fn load() -> Self {
        Self(serde_json::from_str(include_str!("data/formats/formats.json")).unwrap())
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap()
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        hex::decode(self.text(name)).unwrap()
    }

    fn hash(&self, name: &str) -> [u8; 32] {
        self.bytes(name).try_into().unwrap()
    }

    fn intent(&self) -> Intent {
        Intent {
            cluster_id: "c-01".to_owned(),
            key_id: [5; 32],
            wallet: "hot-sol".to_owned(),
            chain: "solana:devnet".to_owned(),
            raw_tx: self.bytes("raw_tx"),
            initiator: "svc:payout".to_owned(),
            idempotency_key: "order 17".to_owned(),
            created_ms: NOW,
            expires_ms: NOW + 3_600_000,
            note: "rent".to_owned(),
        }
    }
}

#[test]
fn intents_have_the_documented_bytes() {
    let formats = Formats::load();
    let intent = formats.intent();
    assert_eq!(intent.encode(), formats.bytes("intent"));
    assert_eq!(intent.digest(), formats.hash("request"));
    assert_eq!(intent.raw_digest(), formats.hash("raw_digest"));
    let signed = SignedIntent::sign(intent, &SigningKey::from_bytes(&[3; 32])).unwrap();
    assert_eq!(signed.encode(), formats.bytes("signed_intent"));
    let read = SignedIntent::decode(&formats.bytes("signed_intent")).unwrap();
    assert_eq!(read.verify(&formats.hash("initiator_key")), Ok(()));
}

#[test]
fn approvals_have_the_documented_bytes() {
    let formats = Formats::load();
    let lines: Vec<String> = serde_json::from_value(formats.0["lines"].clone()).unwrap();
    assert_eq!(display_digest(&lines), formats.hash("display"));
    let policy = PolicyHash::of(formats.text("policy_text").as_bytes());
    assert_eq!(policy.as_bytes(), &formats.hash("policy_hash"));

    let common = Common {
        cluster: "c-01".to_owned(),
        person: "alice".to_owned(),
        credential: "laptop".to_owned(),
        nonce: [7; 16],
        issued_ms: NOW,
        expires_ms: NOW + 3_600_000,
    };
    let approval = Approval::new(
        common,
        &formats.intent(),
        *policy.as_bytes(),
        Decision::Approve,
        lines,
    );
    let statement = Statement::Approval(approval);
    assert_eq!(
        String::from_utf8(statement.render()).unwrap(),
        formats.text("approval_text")
    );
    assert_eq!(
        signed_hash(&statement.render()),
        formats.hash("approval_hash")
    );

    let signed = SignedStatement::sign(&statement, &SigningKey::from_bytes(&[4; 32])).unwrap();
    assert_eq!(signed.encode(), formats.bytes("signed_approval"));
    let read = SignedStatement::decode(&formats.bytes("signed_approval")).unwrap();
    assert_eq!(
        read.verify(&CredentialKey::Ed25519(formats.hash("approver_key"))),
        Ok(())
    );
}
