//! A small treasury: people and machines with keys made from their names, one wallet, documents, requests, approvals.

use ed25519_dalek::SigningKey;
use policy::approval::{Approval, Decision, summary_lines};
use policy::chain::Address;
use policy::cluster::{ClusterFile, CoordinatorEntry, GenesisEntry, Governor};
use policy::credential::CredentialKey;
use policy::document::{Document, PolicyHash};
use policy::evaluate::{Code, Facts, Fraction, Verdict, evaluate};
use policy::governance::{Installed, SignedDocument, install};
use policy::id::{ClusterId, CredentialId, PersonId};
use policy::intent::{Intent, SignedIntent};
use policy::ledger::{Entry, Ledger};
use policy::solana::build::{self, Instruction};
use policy::solana::{self, Version};
use policy::statement::{Common, Freeze, PolicyConsent, SignedStatement, Statement, Unfreeze};
use policy::transaction::{RootKey, Scheme, WalletKeys};

/// 2026-12-01T00:00:00Z.
pub(crate) const NOW: u64 = 1_796_083_200_000;
pub(crate) const MINUTE: u64 = 60_000;
pub(crate) const HOUR: u64 = 60 * MINUTE;
pub(crate) const SOL: u64 = 1_000_000_000;
/// The fee of a transaction without priority.
pub(crate) const FEE: u64 = 5_000;

/// The key of a credential, from its names.
pub(crate) fn key(name: &str, credential: &str) -> SigningKey {
    let mut seed = [0; 32];
    for (slot, byte) in seed
        .iter_mut()
        .zip(format!("{credential}/{name}/................................").bytes())
    {
        *slot = byte;
    }
    SigningKey::from_bytes(&seed)
}

pub(crate) fn public(name: &str, credential: &str) -> [u8; 32] {
    key(name, credential).verifying_key().to_bytes()
}

pub(crate) fn root(key: [u8; 32]) -> RootKey {
    RootKey {
        scheme: Scheme::Ed25519,
        public_key: key.to_vec(),
    }
}

pub(crate) fn wallet_key() -> [u8; 32] {
    public("hot-sol", "wallet")
}

/// Some destination.
pub(crate) fn place(n: u8) -> Address {
    Address::from_bytes([n; 32])
}

pub(crate) fn person(name: &str, groups: &str, credentials: &[&str]) -> String {
    let mut text = format!("[[person]]\nid = \"{name}\"\ngroups = [{groups}]\n");
    for credential in credentials {
        let hex = hex::encode(public(name, credential));
        text.push_str(&format!(
            "[[person.credential]]\nid = \"{credential}\"\nkind = \"ed25519\"\nkey = \"{hex}\"\n"
        ));
    }
    text
}

pub(crate) fn machine(name: &str, groups: &str) -> String {
    let hex = hex::encode(public(name, "key"));
    format!("[[machine]]\nid = \"{name}\"\ngroups = [{groups}]\nkey = \"{hex}\"\n")
}

/// Everybody.
pub(crate) fn people() -> String {
    [
        person("alice", "\"treasury\"", &["laptop", "phone"]),
        person("bob", "\"treasury\"", &["laptop"]),
        person("carol", "\"treasury\"", &["laptop"]),
        person("dave", "\"risk\"", &["laptop"]),
        person("erin", "\"security\"", &["laptop"]),
        person("frank", "\"security\"", &["laptop"]),
        person("grace", "\"board\"", &["laptop"]),
        machine("svc:payout", ""),
        machine("aml-1", "\"aml\""),
        machine("siem-1", "\"siem\""),
    ]
    .concat()
}

pub(crate) const GOVERNANCE: &str = r#"[governance]
tighten = { quorum = [{ group = "security", min = 1 }] }
loosen = { quorum = [{ group = "security", min = 2 }, { group = "board", min = 1 }], delay = "48h" }
freeze = { any_of = ["security", "siem"] }
unfreeze = { quorum = [{ group = "security", min = 2 }, { group = "board", min = 1 }], delay = "4h" }
"#;

pub(crate) fn wallet() -> String {
    let key_id = "11".repeat(32);
    format!(
        "[[wallet]]\nid = \"hot-sol\"\nkey_id = \"{key_id}\"\nchain = \"solana:devnet\"\nkinds = [\"transfer\"]\nmax_fee = \"100000\"\n"
    )
}

pub(crate) fn address(label: &str, to: Address, usable_after: &str) -> String {
    format!(
        "[[address]]\nlabel = \"{label}\"\nchain = \"solana:devnet\"\nto = \"{to}\"\nassets = [\"native\"]\nadded = \"2026-11-01T00:00:00Z\"\nusable_after = \"{usable_after}\"\n"
    )
}

/// A document: version 1 where `prev` is `None`.
pub(crate) fn document_of(version: u64, prev: Option<&PolicyHash>, parts: &[&str]) -> String {
    let prev = prev.map_or_else(String::new, |hash| format!("prev_hash = \"{hash}\"\n"));
    format!(
        "schema = 1\npolicy_id = \"treasury\"\nversion = {version}\n{prev}cluster_id = \"c-01\"\nnot_before = \"2026-11-01T00:00:00Z\"\n{}",
        parts.concat()
    )
}

/// The usual document with these rules.
pub(crate) fn document(rules: &str) -> String {
    document_of(1, None, &[GOVERNANCE, &people(), &wallet(), rules])
}

pub(crate) fn parse(text: &str) -> Document {
    Document::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

pub(crate) fn cluster() -> ClusterFile {
    let governor = |name: &str| Governor {
        person: PersonId::parse(name).unwrap(),
        credential: CredentialId::parse("laptop").unwrap(),
        key: CredentialKey::Ed25519(public(name, "laptop")),
    };
    ClusterFile {
        cluster_id: ClusterId::parse("c-01").unwrap(),
        threshold: 2,
        minority_threshold: false,
        coordinator: CoordinatorEntry {
            addr: "127.0.0.1:7443".to_owned(),
            server_name: "coordinator.c-01".to_owned(),
            pins: vec![[0; 32]],
        },
        nodes: Vec::new(),
        genesis: GenesisEntry {
            min: 2,
            governors: vec![governor("erin"), governor("frank"), governor("grace")],
        },
    }
}

pub(crate) fn common(name: &str, credential: &str, issued_ms: u64) -> Common {
    Common {
        cluster: "c-01".to_owned(),
        person: name.to_owned(),
        credential: credential.to_owned(),
        nonce: [7; 16],
        issued_ms,
        expires_ms: issued_ms + HOUR,
    }
}

pub(crate) fn sign(statement: &Statement) -> SignedStatement {
    let common = statement.common();
    SignedStatement::sign(statement, &key(&common.person, &common.credential)).unwrap()
}

pub(crate) fn consent(text: &str, name: &str, now_ms: u64) -> SignedStatement {
    let document = parse(text);
    sign(&Statement::Policy(PolicyConsent {
        common: common(name, "laptop", now_ms),
        policy_id: document.policy_id().to_string(),
        version: document.version(),
        policy: *PolicyHash::of(text.as_bytes()).as_bytes(),
    }))
}

pub(crate) fn signed_document(text: &str, names: &[&str], now_ms: u64) -> SignedDocument {
    SignedDocument {
        document: text.as_bytes().to_vec(),
        signatures: names
            .iter()
            .map(|name| consent(text, name, now_ms))
            .collect(),
    }
}

pub(crate) fn freeze(name: &str, credential: &str, issued_ms: u64) -> SignedStatement {
    sign(&Statement::Freeze(Freeze {
        common: common(name, credential, issued_ms),
    }))
}

pub(crate) fn unfreeze(name: &str, issued_ms: u64) -> SignedStatement {
    sign(&Statement::Unfreeze(Unfreeze {
        common: common(name, "laptop", issued_ms),
    }))
}

/// The first document of a chain, installed.
pub(crate) fn installed(text: &str) -> Installed {
    install(
        None,
        &cluster(),
        &signed_document(text, &["erin", "frank"], NOW - HOUR),
        NOW - HOUR,
    )
    .unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The message of some transfers.
pub(crate) fn message(transfers: &[(Address, u64)], extra: &[Instruction], salt: u8) -> Vec<u8> {
    let from = Address::from_bytes(wallet_key());
    let moves = transfers
        .iter()
        .map(|(to, lamports)| Instruction::transfer(from, *to, *lamports));
    let all: Vec<Instruction> = moves.chain(extra.iter().cloned()).collect();
    build::message(from, &all, [salt; 32], Version::V0).unwrap()
}

pub(crate) fn intent_of(raw_tx: Vec<u8>, initiator: &str) -> Intent {
    Intent {
        cluster_id: "c-01".to_owned(),
        key_id: [0x11; 32],
        wallet: "hot-sol".to_owned(),
        chain: "solana:devnet".to_owned(),
        raw_tx,
        initiator: initiator.to_owned(),
        idempotency_key: "payout 1".to_owned(),
        created_ms: NOW - MINUTE,
        expires_ms: NOW + 24 * HOUR,
        note: "invoice 7".to_owned(),
    }
}

pub(crate) fn initiator_key(name: &str) -> SigningKey {
    key(name, if name.contains(':') { "key" } else { "laptop" })
}

pub(crate) fn submit(intent: Intent) -> SignedIntent {
    let key = initiator_key(&intent.initiator);
    SignedIntent::sign(intent, &key).unwrap()
}

/// A request of the payout service for one transfer.
pub(crate) fn pay(to: Address, lamports: u64) -> SignedIntent {
    submit(intent_of(message(&[(to, lamports)], &[], 3), "svc:payout"))
}

/// A vote as its signer's own side makes it.
pub(crate) fn vote(
    intent: &Intent,
    hash: &PolicyHash,
    name: &str,
    credential: &str,
    decision: Decision,
) -> Approval {
    let transaction = solana::decode(&intent.raw_tx, &wallet_key()).unwrap();
    let lines = summary_lines(intent, &transaction.rendering);
    Approval::new(
        common(name, credential, NOW - MINUTE),
        intent,
        *hash.as_bytes(),
        decision,
        lines,
    )
}

pub(crate) fn approve(intent: &SignedIntent, policy: &Installed, name: &str) -> SignedStatement {
    let credential = if name.contains("aml") || name.contains(':') {
        "key"
    } else {
        "laptop"
    };
    sign(&Statement::Approval(vote(
        intent.intent(),
        policy.hash(),
        name,
        credential,
        Decision::Approve,
    )))
}

pub(crate) fn reject(intent: &SignedIntent, policy: &Installed, name: &str) -> SignedStatement {
    let credential = if name.contains('-') || name.contains(':') {
        "key"
    } else {
        "laptop"
    };
    sign(&Statement::Approval(vote(
        intent.intent(),
        policy.hash(),
        name,
        credential,
        Decision::Reject,
    )))
}

/// A decision with everything that can vary.
pub(crate) struct Case<'a> {
    pub(crate) policy: &'a Installed,
    pub(crate) ledger: Ledger,
    pub(crate) now_ms: u64,
    pub(crate) first_seen_ms: Option<u64>,
    pub(crate) frozen: bool,
    pub(crate) share: Fraction,
}

impl<'a> Case<'a> {
    pub(crate) fn new(policy: &'a Installed) -> Self {
        Self {
            policy,
            ledger: Ledger::new(),
            now_ms: NOW,
            first_seen_ms: None,
            frozen: false,
            share: Fraction::WHOLE,
        }
    }

    pub(crate) fn decide(&self, intent: &SignedIntent, approvals: &[SignedStatement]) -> Verdict {
        self.decide_with(&root(wallet_key()), intent, approvals)
    }

    /// Decides for a wallet with these keys.
    pub(crate) fn decide_with(
        &self,
        keys: &dyn WalletKeys,
        intent: &SignedIntent,
        approvals: &[SignedStatement],
    ) -> Verdict {
        let facts = Facts {
            now_ms: self.now_ms,
            first_seen_ms: self.first_seen_ms,
            frozen: self.frozen,
            ledger: &self.ledger.view(intent.digest()),
            share_of_limit: self.share,
        };
        evaluate(self.policy, keys, intent, approvals, &facts)
    }

    /// Decides and, if it is approved, records it as a signer does.
    pub(crate) fn spend(&mut self, intent: &SignedIntent, approvals: &[SignedStatement]) -> bool {
        self.spend_with(&root(wallet_key()), intent, approvals)
    }

    /// The same for a wallet with these keys.
    pub(crate) fn spend_with(
        &mut self,
        keys: &dyn WalletKeys,
        intent: &SignedIntent,
        approvals: &[SignedStatement],
    ) -> bool {
        match self.decide_with(keys, intent, approvals) {
            Verdict::Approved(approved) => {
                let entry = Entry {
                    at_ms: self.now_ms,
                    raw_digest: *approved.raw_digest(),
                    debits: approved.debits().to_vec(),
                };
                let until_ms = approved.intent().expires_ms;
                self.ledger
                    .hold(*approved.digest(), approved.conflicts(), until_ms);
                self.ledger.record(*approved.digest(), entry);
                true
            }
            Verdict::Denied(_) | Verdict::Needs(_) => false,
        }
    }
}

pub(crate) fn is_approved(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Approved(_))
}

/// The codes of a denial, in order.
pub(crate) fn denied(verdict: &Verdict) -> Vec<Code> {
    match verdict {
        Verdict::Denied(denied) => denied.reasons.iter().map(|reason| reason.code).collect(),
        other => panic!("expected a denial, found {other:?}"),
    }
}

/// The sentences of whatever is not an approval.
pub(crate) fn sentences(verdict: &Verdict) -> Vec<String> {
    match verdict {
        Verdict::Approved(_) => Vec::new(),
        Verdict::Denied(denied) => denied.reasons.iter().map(ToString::to_string).collect(),
        Verdict::Needs(needs) => needs.reasons.iter().map(ToString::to_string).collect(),
    }
}

/// The codes of what is needed, in order.
pub(crate) fn needs(verdict: &Verdict) -> Vec<Code> {
    match verdict {
        Verdict::Needs(needs) => needs.reasons.iter().map(|reason| reason.code).collect(),
        other => panic!("expected a wait, found {other:?}"),
    }
}
