//! Handing a key out: only with everybody's consent, and what a node gives opens to the key and to nothing else.

use mpc_core::export::{ExportError, GiftFault, open};
use mpc_core::identity::{ExchangeKey, IdentityKey};
use policy::statement::{Export, Exportation, SignedStatement, Statement};
use proto::convert::reshare::key_ref;
use proto::v1::{
    self, Failure, FailureCode, coordinator_frame::Body as Call, node_frame::Body as Answer,
};
use rand_core::UnwrapErr;
use signer_node::export::consent_file;
use zeroize::Zeroizing;

use crate::cluster::*;

const EXPORTS: &str = "[governance]\nexport = { quorum = [{ group = \"security\", min = 2 }] }\n";

fn operator(node: usize, number: u8) -> IdentityKey {
    let mut seed = [number; 32];
    seed[0] = u8::try_from(node).unwrap();
    IdentityKey::from_seed(Zeroizing::new(seed))
}

fn recovery() -> ExchangeKey {
    ExchangeKey::generate(&mut UnwrapErr(getrandom::SysRng))
}

impl Cluster {
    /// Has a node's configuration name two operators; it is started again with that.
    async fn name_operators(&mut self, node: usize) {
        let keys = [1, 2].map(|number| hex::encode(operator(node, number).public().as_bytes()));
        let line = format!("export_operators = \"{}\"\n", keys.join(" "));
        std::fs::write(self.home(node).join("more.toml"), line).unwrap();
        self.restart(node).await;
    }

    fn consent(&self, node: usize, number: u8, order: &Exportation, about: usize) {
        let key = operator(node, number);
        let id = self.engine(about).node();
        let folder = self.home(node).join("consents");
        std::fs::create_dir_all(&folder).unwrap();
        let name = consent_file(&order.request, key.public().as_bytes());
        let signature = key.sign(&order.consent_digest("c-01", id.as_bytes()));
        std::fs::write(folder.join(name), hex::encode(signature)).unwrap();
    }

    fn export_order(&self, name: &str, recipient: [u8; 32]) -> Exportation {
        Exportation {
            request: [3; 32],
            key: key_ref(name, &self.keys[name]),
            recipient,
            reason: "the nodes are gone".to_owned(),
        }
    }

    /// Asks for a share that nobody has consented to.
    pub(crate) async fn export_refused(&self, node: usize, name: &str) -> FailureCode {
        let order = self.export_order(name, recovery().public());
        code(self.give(node, &order, &["erin", "frank"]).await)
    }

    async fn give(
        &self,
        node: usize,
        order: &Exportation,
        names: &[&str],
    ) -> Result<v1::Exported, Failure> {
        let sign = |name: &&str| {
            let statement = Statement::Export(Export {
                common: self.common(name, 9),
                matter: order.clone(),
            });
            SignedStatement::sign(&statement, &key(name))
                .unwrap()
                .encode()
                .into()
        };
        let call = v1::Export {
            statements: names.iter().map(sign).collect(),
        };
        match self.call(node, Call::Export(call)).await? {
            Answer::Exported(given) => Ok(given),
            other => panic!("{other:?}"),
        }
    }
}

const BOTH: [&str; 2] = ["erin", "frank"];

#[tokio::test]
async fn nobody_without_all_consents_gets_a_share() {
    let mut cluster = Cluster::new().await;
    cluster.generate("hot", "ed25519").await;
    let closed = cluster.document(&[WALLET_RULES]);
    cluster.install(&closed, &BOTH).await;
    let order = cluster.export_order("hot", recovery().public());
    cluster.name_operators(0).await;
    cluster.consent(0, 1, &order, 0);
    cluster.consent(0, 2, &order, 0);
    // The policy in force lets nobody export.
    let refused = cluster.give(0, &order, &BOTH).await.unwrap_err();
    assert_eq!(refused.code(), FailureCode::NotAuthorised);
    assert!(
        refused.message.contains("no key is ever exported"),
        "{refused:?}"
    );

    let mut cluster = Cluster::new().await;
    cluster.generate("hot", "ed25519").await;
    let policy = cluster
        .document(&[WALLET_RULES])
        .replace("[governance]\n", EXPORTS);
    cluster.install(&policy, &BOTH).await;
    let order = cluster.export_order("hot", recovery().public());
    // The default: this node's operators have never allowed it.
    let refused = cluster.give(0, &order, &BOTH).await.unwrap_err();
    assert!(
        refused.message.contains("names no operators"),
        "{refused:?}"
    );
    for node in 0..2 {
        cluster.name_operators(node).await;
    }
    let consented = |refused: Failure, count: usize| {
        assert_eq!(refused.code(), FailureCode::NotAuthorised);
        let said = format!("{count} of this node's operators");
        assert!(refused.message.contains(&said), "{refused:?}");
    };
    consented(cluster.give(0, &order, &BOTH).await.unwrap_err(), 0);
    // A consent for another node, one by a stranger, one of one operator only.
    cluster.consent(0, 1, &order, 1);
    consented(cluster.give(0, &order, &BOTH).await.unwrap_err(), 0);
    cluster.consent(0, 1, &order, 0);
    cluster.consent(0, 7, &order, 0);
    consented(cluster.give(0, &order, &BOTH).await.unwrap_err(), 1);
    // Consents for another recipient.
    let other = cluster.export_order("hot", recovery().public());
    cluster.consent(0, 1, &other, 0);
    cluster.consent(0, 2, &other, 0);
    consented(cluster.give(0, &order, &BOTH).await.unwrap_err(), 0);
    cluster.consent(0, 1, &order, 0);
    cluster.consent(0, 2, &order, 0);
    // One person is not enough for the policy, whatever the operators say.
    let refused = cluster.give(0, &order, &BOTH[..1]).await;
    assert_eq!(code(refused), FailureCode::NotAuthorised);
    // A node that is stopped gives nothing.
    let stop = cluster.freeze("erin", 5);
    cluster.call(0, Call::Order(stop)).await.unwrap();
    assert_eq!(
        code(cluster.give(0, &order, &BOTH).await),
        FailureCode::Frozen
    );
    cluster.advance(MINUTE);
    let go = cluster.unfreeze(&BOTH, 6);
    cluster.call(0, Call::Order(go)).await.unwrap();
    // Nothing of this has marked the key.
    assert_eq!(cluster.engine(0).status().keys[0].state, "active");
    cluster.every_quorum_signs(&policy, &[0, 1, 2], 2).await;
    cluster.give(0, &order, &BOTH).await.unwrap();
}

#[tokio::test]
async fn what_the_nodes_give_opens_to_the_key_and_they_sign_no_more() {
    let mut cluster = Cluster::new().await;
    cluster.generate("hot", "ed25519").await;
    let policy = cluster
        .document(&[WALLET_RULES])
        .replace("[governance]\n", EXPORTS);
    cluster.install(&policy, &BOTH).await;
    let key = recovery();
    let order = cluster.export_order("hot", key.public());
    let mut gifts = Vec::new();
    for node in 0..2 {
        cluster.name_operators(node).await;
        cluster.consent(node, 1, &order, node);
        cluster.consent(node, 2, &order, node);
        let given = cluster.give(node, &order, &BOTH).await.unwrap();
        assert_eq!(given.index, u32::try_from(node + 1).unwrap());
        gifts.push(given.sealed.to_vec());
    }
    let package = &cluster.keys["hot"].clone();
    let reason = order.digest("c-01");
    let opened = open(&gifts, &key, &reason, package).unwrap();
    assert_ne!(opened.secret.expose_secret(), &[0; 32]);
    assert_eq!(opened.refused, []);
    // Nobody else opens it, it opens for no other order, and a gift that was touched is named.
    assert!(open(&gifts, &recovery(), &reason, package).is_err());
    assert!(open(&gifts, &key, &[0; 32], package).is_err());
    let mut spoilt = gifts.clone();
    spoilt[1][130] ^= 1;
    let Err(ExportError::TooFew { got, refused, .. }) = open(&spoilt, &key, &reason, package)
    else {
        panic!("one share is no key");
    };
    let culprit = cluster.engine(1).node();
    assert_eq!((got, refused.len()), (1, 1));
    assert_eq!(
        (refused[0].node, refused[0].why),
        (Some(culprit), GiftFault::WrongShare)
    );

    // Both are marked for good; asked again, they give the same share again.
    for node in 0..2 {
        cluster.restart(node).await;
        assert_eq!(cluster.engine(node).status().keys[0].state, "exported");
        assert_eq!(
            code(cluster.prepare(node, "hot", 1).await),
            FailureCode::Denied
        );
        let again = cluster.give(node, &order, &BOTH).await.unwrap();
        let again = [again.sealed.to_vec(), gifts[1 - node].clone()];
        assert!(open(&again, &key, &reason, package).is_ok());
    }
    let wish = crate::reshare::Wish::refresh(&[0, 1, 2]);
    let (call, _) = cluster.draft("hot", &wish);
    assert_eq!(code(cluster.begin(0, &call).await), FailureCode::Denied);
}
