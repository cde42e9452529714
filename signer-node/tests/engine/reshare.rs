//! New shares of keys that exist, at real nodes: refresh, other committees, lost messages, crashes.

mod conflict;
mod crash;
mod hostile;
mod limits;

use std::collections::BTreeSet;
use std::time::Duration;

use mpc_core::keys::PublicKeyPackage;
use mpc_core::reshare::Request;
use policy::statement::{Reshare, Retire, Retirement, SignedStatement, Statement};
use proto::convert::reshare::{Draft, key_ref, ordered};
use proto::v1::{
    self, Failure, FailureCode, coordinator_frame::Body as Call, node_frame::Body as Answer,
};

use crate::cluster::*;

/// A reshare as a test wants it; nodes are counted from 0.
#[derive(Clone)]
pub(crate) struct Wish {
    pub(crate) dealers: Vec<usize>,
    pub(crate) members: Vec<usize>,
    pub(crate) threshold: u16,
    pub(crate) attempt: u32,
    pub(crate) fresh: bool,
}

impl Wish {
    pub(crate) fn refresh(nodes: &[usize]) -> Self {
        Self {
            dealers: nodes.to_vec(),
            members: nodes.to_vec(),
            threshold: 2,
            attempt: 1,
            fresh: true,
        }
    }

    fn participants(&self) -> BTreeSet<usize> {
        self.dealers.iter().chain(&self.members).copied().collect()
    }
}

fn numbers(nodes: &[usize]) -> BTreeSet<u16> {
    nodes
        .iter()
        .map(|node| u16::try_from(node + 1).unwrap())
        .collect()
}

impl Cluster {
    /// What people sign, and the request that follows from it.
    pub(crate) fn draft(&self, name: &str, wish: &Wish) -> (v1::StartReshare, Request) {
        let package = &self.keys[name];
        let draft = Draft {
            request: rand_bytes(),
            keys: vec![(name, package, wish.attempt, wish.attempt)],
            members: numbers(&wish.members),
            threshold: wish.threshold,
            dealers: numbers(&wish.dealers),
            fresh_pairs: wish.fresh,
        };
        let plan = draft.plan(&self.roster).unwrap();
        let request = ordered(&plan, name, package, wish.attempt, &self.roster).unwrap();
        let sign = |person: &str| {
            let statement = Statement::Reshare(Reshare {
                common: self.common(person, 9),
                plan: plan.clone(),
            });
            SignedStatement::sign(&statement, &key(person))
                .unwrap()
                .encode()
                .into()
        };
        let order = Self::order(name, "");
        let call = v1::StartReshare {
            request: request.encode().into(),
            statements: ["erin", "frank"].map(sign).to_vec(),
            name: name.to_owned(),
            key_request: order.request_id,
            chain: None,
            deadline_ms: 60_000,
        };
        (call, request)
    }

    /// The public history of a key, as a node tells it.
    pub(crate) async fn chain(&self, node: usize, name: &str) -> v1::Chain {
        let call = Call::ChainQuery(v1::ChainQuery {
            key_id: self.key_id(name).to_vec().into(),
        });
        match self.call(node, call).await {
            Ok(Answer::Chain(chain)) => chain,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn begin(
        &self,
        node: usize,
        call: &v1::StartReshare,
    ) -> Result<v1::ReshareProgress, Failure> {
        match self.call(node, Call::StartReshare(call.clone())).await? {
            Answer::ReshareProgress(progress) => Ok(progress),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn activate(
        &self,
        node: usize,
        name: &str,
        certificate: &[u8],
    ) -> Result<v1::ReshareProgress, Failure> {
        let call = v1::Activate {
            key_id: self.key_id(name).to_vec().into(),
            certificate: certificate.to_vec().into(),
            ..v1::Activate::default()
        };
        match self.call(node, Call::Activate(call)).await? {
            Answer::ReshareProgress(progress) => Ok(progress),
            other => panic!("{other:?}"),
        }
    }

    /// What a node says of a key.
    pub(crate) fn key_state(&self, node: usize, name: &str) -> v1::KeyState {
        let id = self.key_id(name);
        let keys = self.engine(node).status().keys;
        keys.into_iter()
            .find(|key| *key.key_id == id)
            .unwrap_or_default()
    }

    fn place(&self, node: usize, name: &str) -> (u32, u32) {
        let sharing = self.key_state(node, name).sharing.unwrap_or_default();
        (sharing.epoch, sharing.attempt)
    }

    /// Starts a reshare at everybody who takes part.
    pub(crate) async fn start_wish(&self, name: &str, wish: &Wish) -> Request {
        self.start_wish_from(name, wish, wish.dealers[0]).await
    }

    /// The same, with the chain that new members are shown from a certain node.
    pub(crate) async fn start_wish_from(&self, name: &str, wish: &Wish, from: usize) -> Request {
        let (mut call, request) = self.draft(name, wish);
        let chain = self.chain(from, name).await;
        for node in wish.participants() {
            call.chain = Some(chain.clone());
            let begun = self.begin(node, &call).await.unwrap();
            assert_eq!(begun.stage, "round1", "node {node}");
        }
        request
    }

    /// Waits until a node has the sharing of that epoch and attempt.
    pub(crate) async fn reached(&self, node: usize, name: &str, place: (u32, u32)) {
        for _ in 0..2_000 {
            if self.place(node, name) == place {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!(
            "node {node} has {:?}: {:?}",
            self.place(node, name),
            self.reshares.lock().unwrap()
        );
    }

    /// Takes over what a node knows of a key now.
    pub(crate) async fn follow(&mut self, node: usize, name: &str) -> PublicKeyPackage {
        let chain = self.chain(node, name).await;
        let mut package = PublicKeyPackage::decode(&chain.base).unwrap();
        for bytes in chain.certificates {
            let certificate = mpc_core::reshare::Certificate::decode(&bytes).unwrap();
            package = certificate.verify(&package).unwrap();
        }
        self.keys.insert(name.to_owned(), package.clone());
        package
    }

    /// Carries a reshare through, and shows the certificate to every running node that knows the key.
    pub(crate) async fn reshare(&mut self, name: &str, wish: &Wish) -> PublicKeyPackage {
        let before = self.keys[name].clone();
        let request = self.start_wish(name, wish).await;
        let place = (request.epoch().0, request.attempt().0);
        for node in wish.participants() {
            self.reached(node, name, place).await;
        }
        let chain = self.chain(wish.members[0], name).await;
        let certificate = chain.certificates.last().unwrap();
        for node in 0..self.clocks.len() {
            if self.runs(node) && !self.key_state(node, name).key_id.is_empty() {
                let answer = self.activate(node, name, certificate).await.unwrap();
                assert_eq!(answer.stage, "active");
            }
        }
        self.tell_new_members().await;
        let after = self.follow(wish.members[0], name).await;
        assert_eq!(after.public_key(), before.public_key());
        assert_eq!(after.key_id(), before.key_id());
        after
    }

    /// Has all others tell those who ask what they have let out, as a coordinator does; again once they need no longer wait for those
    /// who are away.
    pub(crate) async fn tell_new_members(&self) {
        self.tell_once().await;
        if self.asking().is_empty() {
            return;
        }
        self.advance(11_000);
        self.tell_once().await;
    }

    /// The nodes that ask for the totals of others.
    pub(crate) fn asking(&self) -> Vec<usize> {
        let nodes = (0..self.clocks.len()).filter(|node| self.runs(*node));
        let asks = |node: &usize| !self.engine(*node).status().catching_up.is_empty();
        nodes.filter(asks).collect()
    }

    pub(crate) async fn tell_once(&self) {
        for node in self.asking() {
            let mut said = Vec::new();
            for other in (0..self.clocks.len()).filter(|other| *other != node && self.runs(*other))
            {
                said.push(self.attestation(other, node).await);
            }
            self.catch_up(node, &said).await.unwrap();
        }
    }

    /// Signs a payment with every quorum of some nodes.
    pub(crate) async fn every_quorum_signs(&self, policy: &str, nodes: &[usize], size: usize) {
        static SALT: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(1);
        for quorum in quorums(nodes, size) {
            let salt = SALT.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let signed = self.pay(SOL / 100, salt);
            let approval = self.approve(&signed, policy, "alice");
            let signature = self.sign(&quorum, &signed, &[approval]).await;
            signature.unwrap_or_else(|failure| panic!("{quorum:?}: {failure:?}"));
        }
    }
}

/// Every choice of so many nodes.
pub(crate) fn quorums(nodes: &[usize], size: usize) -> Vec<Vec<usize>> {
    match (size, nodes.split_first()) {
        (0, _) => vec![Vec::new()],
        (_, None) => Vec::new(),
        (_, Some((first, rest))) => {
            let with = quorums(rest, size - 1).into_iter();
            let with = with.map(|more| [&[*first][..], &more].concat());
            with.chain(quorums(rest, size)).collect()
        }
    }
}

fn rand_bytes() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

/// A cluster with a policy and a key `hot` of the first three of so many nodes.
pub(crate) async fn ready(count: usize) -> (Cluster, String) {
    let mut cluster = Cluster::of(tempfile::tempdir().unwrap(), count, 3).await;
    cluster.generate("hot", "ed25519").await;
    let policy = cluster.document(&[WALLET_RULES]);
    cluster.install(&policy, &["erin", "frank"]).await;
    (cluster, policy)
}

#[tokio::test]
async fn a_refresh_keeps_the_key_and_every_quorum_signs_before_and_after_a_restart() {
    let (mut cluster, policy) = ready(3).await;
    cluster.every_quorum_signs(&policy, &[0, 1, 2], 2).await;
    let old = cluster.keys["hot"].clone();
    let new = cluster.reshare("hot", &Wish::refresh(&[0, 1, 2])).await;
    assert_ne!(old.sharing(), new.sharing());
    assert_eq!((new.epoch().0, new.attempt().0), (1, 1));
    cluster.every_quorum_signs(&policy, &[0, 1, 2], 2).await;
    let before = cluster.engine(1).status();
    for node in 0..3 {
        cluster.restart(node).await;
        assert_eq!(cluster.key_state(node, "hot").state, "active");
    }
    assert_eq!(cluster.engine(1).status().keys, before.keys);
    cluster.every_quorum_signs(&policy, &[0, 1, 2], 2).await;
    // A second one, dealt by two of the three.
    let wish = Wish {
        dealers: vec![0, 2],
        attempt: 4,
        ..Wish::refresh(&[0, 1, 2])
    };
    let newer = cluster.reshare("hot", &wish).await;
    assert_eq!((newer.epoch().0, newer.attempt().0), (2, 4));
    cluster.every_quorum_signs(&policy, &[0, 1, 2], 2).await;
}

#[tokio::test]
async fn two_of_three_become_three_of_five_and_the_node_that_is_gone_has_nothing() {
    let (mut cluster, policy) = ready(6).await;
    // Node 2 is away and is not to come back; 3 to 5 are new.
    cluster.stop(1).await;
    let wish = Wish {
        dealers: vec![0, 2],
        members: vec![0, 2, 3, 4, 5],
        threshold: 3,
        attempt: 1,
        fresh: true,
    };
    let new = cluster.reshare("hot", &wish).await;
    assert_eq!((new.params().threshold(), new.params().parties()), (3, 5));
    cluster
        .every_quorum_signs(&policy, &[0, 2, 3, 4, 5], 3)
        .await;
    // It comes back with its old share: nobody signs with it, and once it has seen the certificate it has no share at all.
    cluster.start(1).await.unwrap();
    let signed = cluster.pay(SOL / 100, 200);
    let approval = [cluster.approve(&signed, &policy, "alice")];
    let ask = cluster.prepare(1, "hot", 1).await;
    assert_eq!(code(ask), FailureCode::NeedCertificate);
    let chain = cluster.chain(0, "hot").await;
    let certificate = chain.certificates.last().unwrap().clone();
    let label =
        signer_node::seal::Label::new(signer_node::seal::Kind::Share, cluster.key_id("hot"), 0, 0);
    let answer = cluster.activate(1, "hot", &certificate).await.unwrap();
    assert_eq!((answer.stage.as_str(), answer.holds), ("active", false));
    assert_eq!(cluster.key_state(1, "hot").state, "left");
    assert_eq!(
        code(cluster.prepare(1, "hot", 1).await),
        FailureCode::Denied
    );
    cluster.stop(1).await;
    let (contents, _) = cluster.steal(1);
    assert!(contents.sealed(&label).is_none(), "the old share is erased");
    cluster.start(1).await.unwrap();
    assert_eq!(cluster.key_state(1, "hot").state, "left");
    cluster.sign(&[0, 3, 5], &signed, &approval).await.unwrap();
}

#[tokio::test]
async fn a_node_that_was_away_catches_up_over_several_epochs() {
    let (mut cluster, policy) = ready(4).await;
    cluster.stop(2).await;
    let shrink = Wish {
        dealers: vec![0, 1],
        members: vec![0, 1, 3],
        ..Wish::refresh(&[0, 1])
    };
    cluster.reshare("hot", &shrink).await;
    let again = Wish {
        members: vec![0, 1, 3],
        dealers: vec![1, 3],
        ..Wish::refresh(&[0, 1, 3])
    };
    cluster.reshare("hot", &again).await;
    cluster.start(2).await.unwrap();
    let chain = cluster.chain(0, "hot").await;
    assert_eq!(chain.certificates.len(), 2);
    let late = cluster.activate(2, "hot", &chain.certificates[1]).await;
    assert_eq!(code(late), FailureCode::NeedCertificate);
    for certificate in &chain.certificates {
        cluster.activate(2, "hot", certificate).await.unwrap();
    }
    assert_eq!(cluster.key_state(2, "hot").state, "left");
    // It is taken back in, and deals again later.
    let back = Wish {
        dealers: vec![0, 3],
        members: vec![0, 2, 3],
        ..Wish::refresh(&[0, 2, 3])
    };
    cluster.reshare("hot", &back).await;
    cluster.every_quorum_signs(&policy, &[0, 2, 3], 2).await;
    assert_eq!(cluster.key_state(1, "hot").state, "left");
}

#[tokio::test]
async fn a_lost_share_is_said_and_mended_by_the_others() {
    let (mut cluster, policy) = ready(3).await;
    // Node 2 takes part up to the end, and its prepared share is lost with a certificate that it never helped to make: it was away.
    cluster.stop(1).await;
    let wish = Wish {
        dealers: vec![0, 2],
        members: vec![0, 2],
        ..Wish::refresh(&[0, 2])
    };
    cluster.reshare("hot", &wish).await;
    let mend = Wish {
        dealers: vec![0, 2],
        members: vec![0, 1, 2],
        ..Wish::refresh(&[0, 2])
    };
    cluster.start(1).await.unwrap();
    let chain = cluster.chain(0, "hot").await;
    cluster
        .activate(1, "hot", &chain.certificates[0])
        .await
        .unwrap();
    cluster.reshare("hot", &mend).await;
    cluster.every_quorum_signs(&policy, &[0, 1, 2], 2).await;
}

#[tokio::test]
async fn ecdsa_keys_get_new_setups_and_sign_with_them() {
    let mut cluster = Cluster::of(tempfile::tempdir().unwrap(), 4, 3).await;
    cluster.generate("eth", "ecdsa").await;
    let policy = cluster.document(&[crate::ecdsa::RULES]);
    cluster.install(&policy, &["erin", "frank"]).await;
    let names = |cluster: &Cluster| {
        let pairs = cluster.engine(0).status().pairs;
        pairs
            .iter()
            .map(|pair| (pair.peer, pair.generation, pair.status.clone()))
            .collect::<BTreeSet<_>>()
    };
    let active = |peer, generation| (peer, generation, "active".to_owned());
    assert_eq!(names(&cluster), [active(2, 1), active(3, 1)].into());
    cluster.reshare("eth", &Wish::refresh(&[0, 1, 2])).await;
    assert_eq!(names(&cluster), [active(2, 2), active(3, 2)].into());
    cluster
        .every_ecdsa_quorum_signs(&policy, &[0, 1, 2], 2)
        .await;
    // Kept setups and one new member: only its own are made.
    let wish = Wish {
        dealers: vec![0, 1],
        members: vec![0, 1, 3],
        fresh: false,
        ..Wish::refresh(&[0, 1])
    };
    cluster.reshare("eth", &wish).await;
    assert_eq!(
        names(&cluster),
        [active(2, 2), active(3, 2), active(4, 1)].into()
    );
    cluster
        .every_ecdsa_quorum_signs(&policy, &[0, 1, 3], 2)
        .await;
}

#[tokio::test]
async fn a_retired_key_signs_no_more() {
    let (mut cluster, policy) = ready(3).await;
    let matter = Retirement {
        request: [3; 32],
        key: key_ref("hot", &cluster.keys["hot"]),
        reason: "moved".to_owned(),
    };
    let sign = |cluster: &Cluster, names: &[&str]| {
        let sign = |name: &&str| {
            let statement = Statement::Retire(Retire {
                common: cluster.common(name, 9),
                matter: matter.clone(),
            });
            SignedStatement::sign(&statement, &key(name))
                .unwrap()
                .encode()
                .into()
        };
        Call::Retire(v1::Retire {
            statements: names.iter().map(sign).collect(),
        })
    };
    let few = sign(&cluster, &["erin"]);
    assert_eq!(code(cluster.call(0, few).await), FailureCode::NotAuthorised);
    cluster.every_quorum_signs(&policy, &[0, 1], 2).await;
    let enough = sign(&cluster, &["erin", "frank"]);
    for _ in 0..2 {
        let Ok(Answer::KeyState(state)) = cluster.call(0, enough.clone()).await else {
            panic!("not retired")
        };
        assert_eq!(state.state, "retired");
        assert_eq!(
            code(cluster.prepare(0, "hot", 1).await),
            FailureCode::Denied
        );
        cluster.restart(0).await;
    }
    let (call, _) = cluster.draft("hot", &Wish::refresh(&[0, 1, 2]));
    assert_eq!(code(cluster.begin(0, &call).await), FailureCode::Denied);
}
