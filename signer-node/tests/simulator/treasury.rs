//! The policy that every node holds, and requests that it allows or not.

use ed25519_dalek::SigningKey;
use mpc_core::id::{KeyId, Purpose};
use mpc_core::keys::PublicKeyPackage;
use policy::approval::{Approval, Decision, summary_lines};
use policy::chain::{Address, BitcoinAddress, BitcoinScript, Chain, Network};
use policy::cluster::{ClusterFile, CoordinatorEntry, GenesisEntry, Governor};
use policy::credential::CredentialKey;
use policy::document::PolicyHash;
use policy::governance::{Installed, SignedDocument, install};
use policy::id::{ClusterId, CredentialId, PersonId};
use policy::intent::{Intent, SignedIntent};
use policy::solana::{Version, build};
use policy::statement::{Common, PolicyConsent, SignedStatement, Statement};
use policy::transaction::{self, Scheme};
use proto::convert::wallet_keys::PackageKeys;

use crate::dice::Dice;

/// 2026-12-01T00:00:00Z: when every schedule begins.
pub(crate) const NOW: u64 = 1_796_083_200_000;
const MINUTE: u64 = 60_000;
/// The unit that amounts are drawn in.
pub(crate) const COIN: u64 = 1_000_000_000;
/// The window of the limit.
pub(crate) const WINDOW: u64 = 60 * MINUTE;
/// What may leave the wallet within the window, fees included.
pub(crate) const LIMIT: u64 = 30 * COIN;
/// How long an intent may be signed.
pub(crate) const LIFETIME: u64 = 10 * MINUTE;

const GOVERNANCE: &str = r#"[governance]
tighten = { quorum = [{ group = "security", min = 1 }] }
loosen = { quorum = [{ group = "security", min = 2 }], delay = "48h" }
freeze = { any_of = ["security"] }
unfreeze = { quorum = [{ group = "security", min = 2 }], delay = "4h" }
"#;

const TAIL: &str = r#"[[rule]]
id = "pay"
effect = "allow"
match = { wallet = "hot", to = "allowlist", initiator = ["svc:payout"] }
limits = [{ scope = "tx", asset = "native", max = "MAX" }, { scope = "wallet", window = "1h", asset = "native", max = "LIMIT" }]
[[rule]]
id = "large"
effect = "allow"
match = { wallet = "hot", to = "allowlist", asset = "native", amount_over = "LARGE" }
require = [{ group = "treasury", min = 2 }]
"#;

const LAX: &str = r#"[[rule]]
id = "pay"
effect = "allow"
match = { wallet = "hot", to = "any", initiator = ["svc:payout"] }
"#;

fn key(name: &str) -> SigningKey {
    let mut seed = [b'.'; 32];
    seed[..name.len()].copy_from_slice(name.as_bytes());
    SigningKey::from_bytes(&seed)
}

/// A policy in force, and what is needed to ask for something under it.
pub(crate) struct Treasury {
    installed: Installed,
    hash: PolicyHash,
    /// What nodes hold that were given another policy: it allows everything.
    lax: Installed,
}

/// How a purpose's chain is called and counts: name, allowed destination, units per coin, allowed fee.
struct Coin {
    chain: &'static str,
    friend: String,
    stranger: String,
    unit: u64,
    fee: u64,
}

impl Coin {
    fn of(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Ecdsa | Purpose::EcdsaRaw => Self {
                chain: "ethereum:1",
                friend: format!("0x{}", "22".repeat(20)),
                stranger: format!("0x{}", "33".repeat(20)),
                unit: COIN,
                fee: 21_000 * 1_000,
            },
            Purpose::Bip340 => Self {
                chain: "bitcoin:regtest",
                friend: bitcoin_place(9).to_string(),
                stranger: bitcoin_place(8).to_string(),
                unit: COIN,
                fee: 5_000,
            },
            Purpose::Ed25519 => Self {
                chain: "solana:devnet",
                friend: Address::from_bytes([9; 32]).to_string(),
                stranger: Address::from_bytes([8; 32]).to_string(),
                unit: COIN,
                fee: 5_000,
            },
        }
    }
}

/// What a request is, and so whether any share of its signature may ever leave an honest node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merit {
    /// A payment that one service may ask for.
    Small,
    /// A payment with the approvals that it needs.
    Approved,
    /// The same with one approval missing.
    Unapproved,
    /// More than one transaction may move.
    TooLarge,
    /// To somebody who is not on the list.
    Stranger,
    /// Signed by somebody else than it says.
    Forged,
    /// Its time was over before it was asked.
    Expired,
}

impl Merit {
    pub(crate) const fn may_be_signed(self) -> bool {
        matches!(self, Self::Small | Self::Approved)
    }
}

/// A request as the outside world makes it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) intent: SignedIntent,
    pub(crate) approvals: Vec<SignedStatement>,
    pub(crate) merit: Merit,
    /// The record of the key from when it was made.
    pub(crate) package: PublicKeyPackage,
    /// What leaves, fee included.
    pub(crate) amount: u64,
}

impl Treasury {
    /// The policy for one key, as governors have signed it.
    pub(crate) fn new(key_id: &KeyId, purpose: Purpose) -> Self {
        let strict = document(key_id, purpose, TAIL);
        let installed = put_in_force(&strict);
        Self {
            hash: *installed.hash(),
            installed,
            lax: put_in_force(&document(key_id, purpose, LAX)),
        }
    }

    pub(crate) const fn lax(&self) -> &Installed {
        &self.lax
    }

    pub(crate) const fn installed(&self) -> &Installed {
        &self.installed
    }

    /// Some request to this key at this moment.
    pub(crate) fn request(
        &self,
        package: &PublicKeyPackage,
        now_ms: u64,
        number: u64,
        merit: Merit,
        dice: &mut Dice,
    ) -> Request {
        let coin = Coin::of(package.purpose());
        let coins = match merit {
            Merit::Small | Merit::Stranger | Merit::Forged | Merit::Expired => dice.between(1, 4),
            Merit::Approved | Merit::Unapproved => dice.between(6, 10),
            Merit::TooLarge => dice.between(13, 25),
        };
        let amount = coins * coin.unit;
        let stranger = merit == Merit::Stranger;
        let raw_tx = match package.purpose() {
            Purpose::Ecdsa | Purpose::EcdsaRaw => ethereum(number, amount, stranger),
            Purpose::Bip340 => bitcoin(package, number, amount, coin.fee, stranger),
            Purpose::Ed25519 => solana(package, number, amount, stranger),
        };
        let (created_ms, expires_ms) = match merit {
            Merit::Expired => (now_ms - 2 * LIFETIME, now_ms - LIFETIME),
            _ => (now_ms, now_ms + LIFETIME),
        };
        let intent = Intent {
            cluster_id: "c-01".to_owned(),
            key_id: *package.key_id().as_bytes(),
            wallet: "hot".to_owned(),
            chain: coin.chain.to_owned(),
            raw_tx,
            initiator: "svc:payout".to_owned(),
            idempotency_key: format!("payout {number}"),
            created_ms,
            expires_ms,
            note: String::new(),
        };
        let signer = if merit == Merit::Forged {
            "svc:other"
        } else {
            "svc:payout"
        };
        let intent = SignedIntent::sign(intent, &key(signer)).unwrap();
        let voters: &[&str] = match merit {
            Merit::Approved => &["alice", "bob"],
            Merit::Unapproved => &["bob"],
            _ => &[],
        };
        let approvals = voters
            .iter()
            .map(|name| self.approve(package, &intent, name, now_ms))
            .collect();
        Request {
            intent,
            approvals,
            merit,
            package: package.clone(),
            amount: amount + coin.fee,
        }
    }

    fn approve(
        &self,
        package: &PublicKeyPackage,
        signed: &SignedIntent,
        name: &str,
        now_ms: u64,
    ) -> SignedStatement {
        let intent = signed.intent();
        let chain = Chain::parse(&intent.chain).unwrap();
        let decoded =
            transaction::decode(chain, &intent.raw_tx, &PackageKeys(package), &[]).unwrap();
        let lines = summary_lines(intent, &decoded.rendering);
        let hash = *self.hash.as_bytes();
        let approval = Approval::new(common(name, now_ms), intent, hash, Decision::Approve, lines);
        SignedStatement::sign(&Statement::Approval(approval), &key(name)).unwrap()
    }
}

/// A document as governors have signed it, in force.
fn put_in_force(text: &str) -> Installed {
    let governors = ["erin", "frank"];
    let sign = |name: &&str| {
        let statement = Statement::Policy(PolicyConsent {
            common: common(name, NOW - MINUTE),
            policy_id: "treasury".to_owned(),
            version: 1,
            policy: *PolicyHash::of(text.as_bytes()).as_bytes(),
        });
        SignedStatement::sign(&statement, &key(name)).unwrap()
    };
    let signed = SignedDocument {
        document: text.as_bytes().to_vec(),
        signatures: governors.iter().map(sign).collect(),
    };
    install(None, &cluster(), &signed, NOW - MINUTE)
        .unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn common(name: &str, now_ms: u64) -> Common {
    Common {
        cluster: "c-01".to_owned(),
        person: name.to_owned(),
        credential: "laptop".to_owned(),
        nonce: [7; 16],
        issued_ms: now_ms,
        expires_ms: now_ms + 60 * MINUTE,
    }
}

fn cluster() -> ClusterFile {
    let governor = |name: &str| Governor {
        person: PersonId::parse(name).unwrap(),
        credential: CredentialId::parse("laptop").unwrap(),
        key: CredentialKey::Ed25519(key(name).verifying_key().to_bytes()),
    };
    ClusterFile {
        cluster_id: ClusterId::parse("c-01").unwrap(),
        threshold: 2,
        minority_threshold: false,
        coordinator: CoordinatorEntry {
            addr: "127.0.0.1:7443".to_owned(),
            server_name: "coordinator".to_owned(),
            pins: vec![[0; 32]],
        },
        nodes: Vec::new(),
        genesis: GenesisEntry {
            min: 2,
            governors: vec![governor("erin"), governor("frank")],
        },
    }
}

fn document(key_id: &KeyId, purpose: Purpose, rules: &str) -> String {
    let public = |name: &str| hex::encode(key(name).verifying_key().to_bytes());
    let coin = Coin::of(purpose);
    let mut text = "schema = 1\npolicy_id = \"treasury\"\nversion = 1\ncluster_id = \"c-01\"\nnot_before = \"2026-11-01T00:00:00Z\"\n".to_owned();
    let (_, rules) = rules.split_once("[[rule]]").unwrap();
    text.push_str(GOVERNANCE);
    for (name, group) in [
        ("alice", "treasury"),
        ("bob", "treasury"),
        ("erin", "security"),
        ("frank", "security"),
    ] {
        text.push_str(&format!(
            "[[person]]\nid = \"{name}\"\ngroups = [\"{group}\"]\n[[person.credential]]\nid = \"laptop\"\nkind = \"ed25519\"\nkey = \"{}\"\n",
            public(name)
        ));
    }
    text.push_str(&format!(
        "[[machine]]\nid = \"svc:payout\"\ngroups = []\nkey = \"{}\"\n",
        public("svc:payout")
    ));
    text.push_str(&format!(
        "[[wallet]]\nid = \"hot\"\nkey_id = \"{}\"\nchain = \"{}\"\nkinds = [\"transfer\"]\nmax_fee = \"{}\"\n",
        hex::encode(key_id.as_bytes()),
        coin.chain,
        coin.fee
    ));
    text.push_str(&format!(
        "[[address]]\nlabel = \"friend\"\nchain = \"{}\"\nto = \"{}\"\nassets = [\"native\"]\nadded = \"2026-11-01T00:00:00Z\"\nusable_after = \"2026-11-02T00:00:00Z\"\n",
        coin.chain, coin.friend
    ));
    debug_assert_ne!(coin.friend, coin.stranger);
    let rules = format!("[[rule]]{rules}")
        .replace("MAX", &(12 * coin.unit).to_string())
        .replace("LIMIT", &LIMIT.to_string())
        .replace("LARGE", &(5 * coin.unit).to_string());
    text + &rules
}

fn solana(package: &PublicKeyPackage, number: u64, amount: u64, stranger: bool) -> Vec<u8> {
    let from = Address::from_bytes(package.public_key().try_into().unwrap());
    let to = Address::from_bytes([if stranger { 8 } else { 9 }; 32]);
    let mut recent = [1; 32];
    recent[..8].copy_from_slice(&number.to_be_bytes());
    build::transfer(from, to, amount, recent, Version::V0).unwrap()
}

/// The chain on which keys of a purpose are used.
pub(crate) fn chain_of(purpose: Purpose) -> Chain {
    Chain::parse(Coin::of(purpose).chain).unwrap()
}

fn bitcoin_place(number: u8) -> Address {
    let script = BitcoinScript::P2wpkh([number; 20]);
    Address::Bitcoin(BitcoinAddress::new(Network::Regtest, script))
}

/// A partially signed transaction, version 2, that spends one output of the wallet.
fn bitcoin(
    package: &PublicKeyPackage,
    number: u64,
    amount: u64,
    fee: u64,
    stranger: bool,
) -> Vec<u8> {
    let field = |kind: u8, value: &[u8]| [&[1, kind, value.len() as u8][..], value].concat();
    let script = |address: &Address| match address {
        Address::Bitcoin(place) => place.script().to_script().to_bytes(),
        _ => panic!("a place on another chain"),
    };
    let chain = Chain::Bitcoin(Network::Regtest);
    let own = policy::address::at(chain, Scheme::Bip340, &package.public_key()).unwrap();
    let own = script(&own);
    let spent = [
        &(amount + fee).to_le_bytes()[..],
        &[own.len() as u8],
        own.as_slice(),
    ]
    .concat();
    let mut name = [1; 32];
    name[..8].copy_from_slice(&number.to_be_bytes());
    let to = script(&bitcoin_place(if stranger { 8 } else { 9 }));
    [
        b"psbt\xff".to_vec(),
        field(2, &2_u32.to_le_bytes()),
        field(4, &[1]),
        field(5, &[1]),
        field(0xfb, &2_u32.to_le_bytes()),
        vec![0],
        field(1, &spent),
        field(0x0e, &name),
        field(0x0f, &0_u32.to_le_bytes()),
        vec![0],
        field(3, &amount.to_le_bytes()),
        field(4, &to),
        vec![0],
    ]
    .concat()
}

fn rlp(bytes: &[u8]) -> Vec<u8> {
    match bytes {
        [byte] if *byte < 0x80 => vec![*byte],
        _ => [&[0x80 + bytes.len() as u8][..], bytes].concat(),
    }
}

fn rlp_number(value: u64) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    rlp(&bytes[zeros..])
}

/// The signing payload of a transfer (EIP-1559).
fn ethereum(number: u64, amount: u64, stranger: bool) -> Vec<u8> {
    let items = [
        rlp_number(1),
        rlp_number(number),
        rlp_number(1),
        rlp_number(1_000),
        rlp_number(21_000),
        rlp(&[if stranger { 0x33 } else { 0x22 }; 20]),
        rlp_number(amount),
        rlp(&[]),
        vec![0xc0],
    ]
    .concat();
    [&[2, 0xc0 + items.len() as u8][..], &items].concat()
}
