//! What operators ask about keys: make one, have its shares replaced, take it out of use, hand it out, follow all that.
//!
//! People order what happens to a key by signing statements. The coordinator collects these until enough people have signed; every
//! node then judges them for itself. A person who signs compares [`Matter::lines`] computed on this side, never what the
//! coordinator says.

use std::{collections::BTreeSet, fmt};

use policy::{
    cluster::ClusterFile,
    governance::Matter,
    statement::{Exportation, Plan, Retirement, SignedStatement},
};
use proto::{
    convert::reshare::{self, PlanError},
    keys::PublicKeyPackage,
    v1,
};

use crate::{
    admin::encode,
    connect::Client,
    error::{Error, Fix},
};

/// How many attempts a drafted order allows: a stuck one is passed by the next without asking people again.
pub const ATTEMPTS: u32 = 4;

/// What is to be done with the shares of keys of one committee.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Who holds the shares afterwards, by number in the cluster file; empty: the same nodes.
    pub members: BTreeSet<u16>,
    /// How many must sign afterwards; zero: as many as today.
    pub threshold: u16,
    /// Who deals, by number; empty: all who hold a share today. Name those that are up if one is lost.
    pub dealers: BTreeSet<u16>,
    /// Whether the pairs of members make new setups, too; means something for ECDSA only.
    pub fresh_pairs: bool,
}

/// The order that people are shown and sign.
///
/// # Errors
/// [`Fix::Malformed`] when a key is not active, the keys are of several committees, or the change is not possible.
pub fn draft(cluster: &ClusterFile, keys: &[v1::KeyInfo], change: &Change) -> Result<Plan, Error> {
    let mut packages = Vec::with_capacity(keys.len());
    for key in keys {
        packages.push((key, package(key)?));
    }
    let keys = packages.iter().map(|(key, package)| {
        let first = key.next_attempt.max(1);
        let last = first.saturating_add(ATTEMPTS.saturating_sub(1));
        (key.name.as_str(), package, first, last)
    });
    let draft = reshare::Draft {
        request: fresh()?,
        keys: keys.collect(),
        members: change.members.clone(),
        threshold: change.threshold,
        dealers: change.dealers.clone(),
        fresh_pairs: change.fresh_pairs,
    };
    let roster = reshare::roster_of(cluster).map_err(|e| malformed(&e))?;
    let plan = draft.plan(&roster).map_err(|e: PlanError| malformed(&e))?;
    plan.check().map_err(|e| malformed(&e))?;
    Ok(plan)
}

/// The order to take a key out of use.
///
/// # Errors
/// [`Fix::Malformed`] when the key is not active.
pub fn draft_retirement(key: &v1::KeyInfo, reason: &str) -> Result<Retirement, Error> {
    Ok(Retirement {
        request: fresh()?,
        key: reshare::key_ref(&key.name, &package(key)?),
        reason: reason.to_owned(),
    })
}

/// The order to hand a key out. `recipient` is a ristretto255 exchange key.
///
/// # Errors
/// [`Fix::Malformed`] when the key is not active.
pub fn draft_export(
    key: &v1::KeyInfo,
    recipient: [u8; 32],
    reason: &str,
) -> Result<Exportation, Error> {
    Ok(Exportation {
        request: fresh()?,
        key: reshare::key_ref(&key.name, &package(key)?),
        recipient,
        reason: reason.to_owned(),
    })
}

/// What an order is about, from a statement that somebody has signed for it: what the next person is to be shown and to sign.
///
/// # Errors
/// [`Stop::WrongAnswer`](crate::Stop::WrongAnswer) when the coordinator shows statements that are no order of this name.
pub fn matter(order: &v1::OrderStatus) -> Result<Matter, Error> {
    let wrong = |what: &dyn fmt::Display| Error::wrong_answer(format_args!("order: {what}"));
    let bytes = order
        .statements
        .first()
        .ok_or_else(|| wrong(&"nobody has signed it"))?;
    let signed = SignedStatement::decode(bytes).map_err(|e| wrong(&e))?;
    let matter =
        Matter::of(signed.statement()).ok_or_else(|| wrong(&"its statement orders nothing"))?;
    if matter.request()[..] != order.request_id[..] {
        return Err(wrong(&"its statement is of another order"));
    }
    Ok(matter)
}

fn package(key: &v1::KeyInfo) -> Result<PublicKeyPackage, Error> {
    let name = &key.name;
    if key.public_package.is_empty() {
        return Err(malformed(&format_args!("key {name} is {}", key.state)));
    }
    PublicKeyPackage::decode(&key.public_package)
        .map_err(|e| Error::wrong_answer(format_args!("key {name}: {e}")))
}

fn fresh() -> Result<[u8; 32], Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|e| malformed(&format_args!("no randomness: {e}")))?;
    Ok(bytes)
}

fn malformed(message: &dyn fmt::Display) -> Error {
    Fix::Malformed {
        message: message.to_string(),
    }
    .into()
}

impl Client {
    /// Runs a distributed key generation on all nodes and tells every stage of it until the key is active.
    ///
    /// # Errors
    /// [`Error::Stop`] when a node broke the protocol, [`Error::Retry`] when a node was silent.
    pub async fn create_key(
        &self,
        name: &str,
        scheme: &str,
        threshold: u32,
        told: impl FnMut(&v1::DkgProgress),
    ) -> Result<v1::DkgProgress, Error> {
        self.create_key_on(&[], name, scheme, threshold, told).await
    }

    /// As [`create_key`](Self::create_key), on some of the cluster's nodes, by number.
    ///
    /// # Errors
    /// As [`create_key`](Self::create_key).
    pub async fn create_key_on(
        &self,
        nodes: &[u32],
        name: &str,
        scheme: &str,
        threshold: u32,
        mut told: impl FnMut(&v1::DkgProgress),
    ) -> Result<v1::DkgProgress, Error> {
        let request = v1::CreateKeyRequest {
            name: name.to_owned(),
            scheme: scheme.to_owned(),
            threshold,
            nodes: nodes.to_vec(),
        };
        let mut stream = self
            .operator()
            .create_key(request)
            .await
            .map_err(|s| self.refused(&s))?
            .into_inner();
        let mut last = None;
        while let Some(progress) = stream.message().await.map_err(|s| self.refused(&s))? {
            told(&progress);
            if let Some(failure) = &progress.failure {
                return Err(Error::from_failure(failure));
            }
            last = Some(progress);
        }
        match last {
            Some(progress) if progress.stage == "active" => Ok(progress),
            Some(progress) => Err(Error::wrong_answer(format_args!(
                "key generation ended at stage {}",
                progress.stage
            ))),
            None => Err(Error::wrong_answer("key generation told nothing")),
        }
    }

    /// The keys of the cluster: sharing, holders, age, and when a refresh is due.
    ///
    /// # Errors
    /// [`Fix::NotAuthorised`] unless this certificate is an operator's.
    pub async fn keys(&self) -> Result<Vec<v1::KeyInfo>, Error> {
        self.call_operator(|mut api| async move { api.list_keys(v1::ListKeysQuery {}).await })
            .await
            .map(|list| list.keys)
    }

    /// One key, by name or by id in hexadecimal.
    ///
    /// # Errors
    /// [`Fix::Unknown`] when there is none that came to be; otherwise as [`keys`](Self::keys).
    pub async fn key(&self, name: &str) -> Result<v1::KeyInfo, Error> {
        let found = self.keys().await?.into_iter().find(|key| {
            key.state != "aborted" && (key.name == name || hex::encode(&key.key_id) == name)
        });
        found.ok_or_else(|| {
            Fix::Unknown {
                message: format!("there is no key {name}"),
            }
            .into()
        })
    }

    /// Hands in people's statements about one order. While the quorum is not complete, the order waits for more of them; with it,
    /// it is carried out. With `dry_run` the answer says what would happen, and nothing does.
    ///
    /// # Errors
    /// [`Fix::Malformed`] when the order does not fit the keys as they are, [`Fix::Conflict`] when another order is under way for one
    /// of them, [`Fix::Denied`] when nobody may order that.
    pub async fn submit_order(
        &self,
        statements: &[SignedStatement],
        dry_run: bool,
    ) -> Result<v1::OrderStatus, Error> {
        let request = v1::KeyOrderRequest {
            statements: encode(statements),
            dry_run,
        };
        self.call_operator(|mut api| async move { api.submit_order(request).await })
            .await
    }

    /// Follows an order until it has ended, and tells every change. The first message has all keys, later ones those that changed.
    ///
    /// # Errors
    /// [`Fix::Unknown`] for an order that is not there. How the order ended is in the answer.
    pub async fn watch_order(
        &self,
        request: [u8; 32],
        mut told: impl FnMut(&v1::OrderStatus),
    ) -> Result<v1::OrderStatus, Error> {
        let mut stream = self
            .operator()
            .watch_order(query(request))
            .await
            .map_err(|s| self.refused(&s))?
            .into_inner();
        let mut last = None;
        while let Some(status) = stream.message().await.map_err(|s| self.refused(&s))? {
            told(&status);
            last = Some(status);
        }
        last.ok_or_else(|| Error::wrong_answer("the order told nothing"))
    }

    /// Orders, newest first; with `ended` also those that have ended.
    ///
    /// # Errors
    /// As [`keys`](Self::keys).
    pub async fn orders(&self, ended: bool, limit: u32) -> Result<Vec<v1::OrderStatus>, Error> {
        let query = v1::ListOrdersQuery { ended, limit };
        self.call_operator(|mut api| async move { api.list_orders(query).await })
            .await
            .map(|list| list.orders)
    }

    /// Starts no further attempt of an order. What is certified stays so.
    ///
    /// # Errors
    /// [`Fix::Unknown`] for an order that is not there.
    pub async fn cancel_order(&self, request: [u8; 32]) -> Result<v1::OrderStatus, Error> {
        self.call_operator(|mut api| async move { api.cancel_order(query(request)).await })
            .await
    }

    /// Stops (or resumes) choosing a node for signatures and key ceremonies.
    ///
    /// # Errors
    /// [`Fix::Unknown`] for a node that is not there.
    pub async fn drain_node(&self, index: u32, drained: bool) -> Result<v1::NodeInfo, Error> {
        let request = v1::DrainRequest { index, drained };
        self.call_operator(|mut api| async move { api.drain_node(request).await })
            .await
    }
}

fn query(request: [u8; 32]) -> v1::OrderQuery {
    v1::OrderQuery {
        request_id: request.to_vec().into(),
    }
}
