//! ECDSA at three real nodes: pair setups with the key, pools, signatures, and what a hostile node or relay can do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k256::ecdsa::signature::hazmat::PrehashVerifier as _;
use mpc_core::ecdsa::{EcdsaSignature, Payload, SigningRequest, combine};
use mpc_core::hd::DerivationPath;
use mpc_core::id::{NodeId, PartyIndex, RequestId, SessionId};
use mpc_core::keys::PublicKeyPackage;
use policy::approval::{Approval, Decision, summary_lines};
use policy::chain::Chain;
use policy::document::PolicyHash;
use policy::intent::{Intent, SignedIntent};
use policy::statement::{SignedStatement, Statement};
use policy::transaction;
use proto::convert::reshare::{sharing_of, sharing_to_wire};
use proto::convert::wallet_keys::PackageKeys;
use proto::v1::{self, Failure, coordinator_frame::Body as Call, node_frame::Body as Answer};

mod blame;
mod hostile;
mod renew;

use crate::cluster::*;

/// Up to 20 finney with one approval.
pub(crate) const RULES: &str = r#"[[address]]
label = "shop"
chain = "ethereum:1"
to = "0x2222222222222222222222222222222222222222"
assets = ["native"]
added = "2026-11-01T00:00:00Z"
usable_after = "2026-11-02T00:00:00Z"
[[rule]]
id = "pay"
effect = "allow"
match = { wallet = "eth", to = "allowlist", initiator = ["svc:payout"] }
limits = [{ scope = "wallet", window = "24h", asset = "native", max = "30000000000000000" }]
require = [{ group = "treasury", min = 1 }]
"#;

fn rlp(bytes: &[u8]) -> Vec<u8> {
    match bytes {
        [byte] if *byte < 0x80 => vec![*byte],
        _ => [&[0x80 + u8::try_from(bytes.len()).unwrap()][..], bytes].concat(),
    }
}

fn number(value: u64) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    rlp(&bytes[zeros..])
}

/// The signing payload of a transfer (EIP-1559).
fn transfer(nonce: u64, value: u64) -> Vec<u8> {
    let items = [
        number(1),
        number(nonce),
        number(1),
        number(100_000_000_000),
        number(21_000),
        rlp(&[0x22; 20]),
        number(value),
        rlp(&[]),
        vec![0xc0],
    ]
    .concat();
    let length = u8::try_from(items.len()).unwrap();
    assert!(length < 56);
    [&[2, 0xc0 + length][..], &items].concat()
}

/// A cluster with the key `eth` and its policy.
async fn ready() -> (Cluster, String) {
    let mut cluster = Cluster::new().await;
    cluster.generate("eth", "ecdsa").await;
    let policy = cluster.document(&[RULES]);
    cluster.install(&policy, &["erin", "frank"]).await;
    (cluster, policy)
}

impl Cluster {
    pub(crate) fn withdrawal(&self, nonce: u8, value: u64) -> SignedIntent {
        let intent = Intent {
            cluster_id: "c-01".to_owned(),
            key_id: self.key_id("eth"),
            wallet: "eth".to_owned(),
            chain: "ethereum:1".to_owned(),
            raw_tx: transfer(nonce.into(), value),
            initiator: "svc:payout".to_owned(),
            idempotency_key: format!("withdrawal {nonce}"),
            created_ms: self.now(),
            expires_ms: self.now() + 20 * HOUR,
            note: String::new(),
        };
        SignedIntent::sign(intent, &key("svc:payout")).unwrap()
    }

    pub(crate) fn approve_ecdsa(&self, signed: &SignedIntent, policy: &str) -> SignedStatement {
        let intent = signed.intent();
        let keys = PackageKeys(&self.keys["eth"]);
        let chain = Chain::parse(&intent.chain).unwrap();
        let decoded = transaction::decode(chain, &intent.raw_tx, &keys, &[]).unwrap();
        let lines = summary_lines(intent, &decoded.rendering);
        let hash = *PolicyHash::of(policy.as_bytes()).as_bytes();
        let approval = Approval::new(
            self.common("alice", 3),
            intent,
            hash,
            Decision::Approve,
            lines,
        );
        SignedStatement::sign(&Statement::Approval(approval), &key("alice")).unwrap()
    }

    fn nodes_of(&self, quorum: &[usize]) -> BTreeSet<NodeId> {
        let node = |at: &usize| {
            let index = PartyIndex::new(u16::try_from(at + 1).unwrap()).unwrap();
            self.roster.node_id(index).unwrap()
        };
        quorum.iter().map(node).collect()
    }

    /// Entries that all nodes of a quorum have announced.
    fn entries(&self, quorum: &[usize]) -> Vec<Vec<u8>> {
        let set: Vec<u32> = quorum
            .iter()
            .map(|at| u32::try_from(at + 1).unwrap())
            .collect();
        let pools = self.pools.lock().unwrap();
        let list = |at: &usize| pools.get(&(*at, set.clone())).cloned().unwrap_or_default();
        let mut common = list(&quorum[0]);
        for at in &quorum[1..] {
            let other = list(at);
            common.retain(|name| other.contains(name));
        }
        common
    }

    /// Waits until a quorum has so many entries that nobody has opened.
    pub(crate) async fn filled(&self, quorum: &[usize], count: usize) -> Vec<Vec<u8>> {
        self.until(|| {
            let mut entries = self.entries(quorum);
            entries.retain(|name| !self.opened.lock().unwrap().contains(name));
            (entries.len() >= count).then_some(entries)
        })
        .await
    }

    async fn until<T>(&self, mut done: impl FnMut() -> Option<T>) -> T {
        for _ in 0..1_500 {
            if let Some(value) = done() {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it did not come to that")
    }

    /// Spends an entry of every quorum of some nodes.
    pub(crate) async fn every_ecdsa_quorum_signs(
        &self,
        policy: &str,
        nodes: &[usize],
        size: usize,
    ) {
        static NONCE: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(100);
        for quorum in crate::reshare::quorums(nodes, size) {
            let entry = self.filled(&quorum, 1).await.remove(0);
            let nonce = NONCE.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let signed = self.withdrawal(nonce, FINNEY);
            let approval = self.approve_ecdsa(&signed, policy);
            self.withdraw_with(&quorum, &signed, &approval, &entry)
                .await
                .unwrap();
        }
    }

    pub(crate) fn open_call(
        &self,
        quorum: &[usize],
        signed: &SignedIntent,
        approval: &SignedStatement,
        entry: &[u8],
    ) -> v1::EcdsaOpen {
        v1::EcdsaOpen {
            signed_intent: signed.encode().into(),
            approvals: vec![approval.encode().into()],
            receipts: Vec::new(),
            epoch: self.keys["eth"].epoch().0,
            attempt: 0,
            task: 0,
            entry: entry.to_vec().into(),
            signers: quorum
                .iter()
                .map(|at| u32::try_from(at + 1).unwrap())
                .collect(),
            sharing: Some(sharing_to_wire(sharing_of(&self.keys["eth"]))),
        }
    }

    pub(crate) async fn open_entry(
        &self,
        node: usize,
        call: &v1::EcdsaOpen,
    ) -> Result<Vec<u8>, Failure> {
        match self.call(node, Call::EcdsaOpen(call.clone())).await? {
            Answer::EcdsaRound1(answer) => {
                self.opened.lock().unwrap().insert(call.entry.to_vec());
                Ok(answer.envelope.to_vec())
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn finish_entry(
        &self,
        node: usize,
        entry: &[u8],
        round1: &[Vec<u8>],
    ) -> Result<Vec<u8>, Failure> {
        let call = v1::EcdsaFinish {
            entry: entry.to_vec().into(),
            round1: round1.iter().map(|bytes| bytes.clone().into()).collect(),
        };
        match self.call(node, Call::EcdsaFinish(call)).await? {
            Answer::EcdsaRound2(answer) => Ok(answer.envelope.to_vec()),
            other => panic!("{other:?}"),
        }
    }

    fn ecdsa_request(&self, quorum: &[usize], signed: &SignedIntent) -> SigningRequest {
        SigningRequest::new(
            &self.keys["eth"],
            &self.nodes_of(quorum),
            &DerivationPath::default(),
            &Payload::Keccak256(&signed.intent().raw_tx),
            RequestId::from_bytes(signed.digest()),
        )
        .unwrap()
    }

    /// Everything a coordinator does for one signature, verified by another library.
    async fn withdraw_with(
        &self,
        quorum: &[usize],
        signed: &SignedIntent,
        approval: &SignedStatement,
        entry: &[u8],
    ) -> Result<EcdsaSignature, Failure> {
        let call = self.open_call(quorum, signed, approval, entry);
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for node in quorum {
            first.push(self.open_entry(*node, &call).await?);
        }
        for node in quorum {
            second.push(self.finish_entry(*node, entry, &first).await?);
        }
        let request = self.ecdsa_request(quorum, signed);
        let name = SessionId::from_bytes(entry.try_into().unwrap());
        let signature = combine(&self.roster, &request, &name, &first, &second).unwrap();
        let public = self.keys["eth"].public_key();
        let verifying = k256::ecdsa::VerifyingKey::from_sec1_bytes(&public).unwrap();
        let parsed = k256::ecdsa::Signature::from_slice(&signature.to_bytes()).unwrap();
        verifying.verify_prehash(request.digest(), &parsed).unwrap();
        Ok(signature)
    }

    fn pair(&self, node: usize, peer: u32) -> v1::PairState {
        let status = self.engine(node).status();
        status
            .pairs
            .into_iter()
            .find(|pair| pair.peer == peer)
            .expect("a pair")
    }

    fn pair_names(&self, node: usize) -> BTreeMap<u32, Vec<u8>> {
        let pairs = self.engine(node).status().pairs.into_iter();
        pairs.map(|pair| (pair.peer, pair.name.to_vec())).collect()
    }
}

fn purpose_is_ecdsa(key: &PublicKeyPackage) -> bool {
    key.purpose() == mpc_core::id::Purpose::Ecdsa
}

#[tokio::test]
async fn every_quorum_signs_from_its_pool_and_a_second_key_goes_on_with_the_pairs() {
    let (mut cluster, policy) = ready().await;
    assert!(purpose_is_ecdsa(&cluster.keys["eth"]));
    for (nonce, quorum) in [(0, [0, 1]), (1, [0, 2]), (2, [1, 2])] {
        let entry = cluster.filled(&quorum, 1).await.remove(0);
        let signed = cluster.withdrawal(nonce, FINNEY);
        let approval = cluster.approve_ecdsa(&signed, &policy);
        cluster
            .withdraw_with(&quorum, &signed, &approval, &entry)
            .await
            .unwrap();
        let gone = || (!cluster.entries(&quorum).contains(&entry)).then_some(());
        cluster.until(gone).await;
    }
    let before = cluster.pair_names(0);
    assert_eq!(before.len(), 2);
    let states = cluster.engine(0).status().pairs;
    assert!(
        states
            .iter()
            .all(|pair| pair.status == "active" && pair.generation == 1)
    );
    cluster.generate("second", "ecdsa").await;
    assert_eq!(cluster.pair_names(0), before);
    // A restart keeps the pairs and starts with empty pools, which fill again.
    cluster.restart(0).await;
    assert_eq!(cluster.pair_names(0), before);
    cluster.pools.lock().unwrap().clear();
    cluster.filled(&[0, 1], 1).await;
}

#[tokio::test]
async fn a_key_generation_waits_for_the_setups_of_the_one_before_it() {
    let mut cluster = Cluster::new().await;
    let start = |name: &str| v1::StartDkg {
        nodes: vec![1, 2, 3],
        ..Cluster::order(name, "ecdsa")
    };
    let (first, second) = (start("first"), start("second"));
    for node in [0, 1] {
        let begun = cluster.call(node, Call::StartDkg(first.clone())).await;
        begun.expect("begins");
    }
    let later = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        cluster.call(2, Call::StartDkg(first.clone())).await
    };
    let early = cluster.call(0, Call::StartDkg(second.clone()));
    let (waited, last) = tokio::join!(early, later);
    waited.expect("waits, and begins");
    last.expect("begins");
    cluster.finish(&first).await;
    let setups = cluster.pair_names(0);
    for node in [1, 2] {
        let begun = cluster.call(node, Call::StartDkg(second.clone())).await;
        begun.expect("begins");
    }
    cluster.finish(&second).await;
    assert_eq!(cluster.pair_names(0), setups, "it uses the setups again");
}

#[tokio::test]
async fn a96_a_nonce_that_one_request_uses_is_refused_to_another_after_a_restart_as_well() {
    let (mut cluster, policy) = ready().await;
    let quorum = [0, 1];
    let entries = cluster.filled(&quorum, 2).await;
    let elsewhere = cluster.filled(&[1, 2], 1).await.remove(0);
    let first = cluster.withdrawal(4, FINNEY);
    let approval = cluster.approve_ecdsa(&first, &policy);
    let call = cluster.open_call(&quorum, &first, &approval, &entries[0]);
    cluster.open_entry(0, &call).await.unwrap();
    let other = {
        let mut intent = first.intent().clone();
        intent.raw_tx = transfer(4, 2 * FINNEY);
        intent.idempotency_key = "another".to_owned();
        SignedIntent::sign(intent, &key("svc:payout")).unwrap()
    };
    let approval = cluster.approve_ecdsa(&other, &policy);
    for _ in 0..2 {
        let unspent = || {
            let mut listed = cluster.entries(&quorum).into_iter();
            listed.rfind(|name| *name != entries[0])
        };
        let entry = cluster.until(unspent).await;
        let call = cluster.open_call(&quorum, &other, &approval, &entry);
        let refusal = cluster.open_entry(0, &call).await;
        let failure = refusal.expect_err("the nonce is taken");
        assert_eq!(failure.code(), v1::FailureCode::Conflict);
        let reason = failure.reasons.join("\n");
        assert!(reason.contains(&hex::encode(first.digest())), "{reason}");
        assert!(reason.contains("nonce 4"), "{reason}");
        cluster.pools.lock().unwrap().clear();
        cluster.restart(0).await;
    }
    // The node that has not seen the first decides for itself: only one of the two can have a quorum.
    let call = cluster.open_call(&[1, 2], &other, &approval, &elsewhere);
    cluster.open_entry(2, &call).await.unwrap();
}
