//! An order to replace shares, key by key: the first alone if it makes the pair setups, the others several at a time, each with as
//! many attempts as the order allows.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use mpc_core::{id::NodeId, reshare::Request};
use policy::{
    governance::STANDING_ATTEMPTS,
    statement::{Plan, reshare::ReshareKey},
};
use proto::{
    convert::reshare,
    v1::{self, Failure, FailureCode},
};
use tokio_util::sync::CancellationToken;

use super::{KEYS_AT_ONCE, KeyName, OrderId, has_ended, refuse, request_of};
use crate::{clock, engine::Engine, error::from_store, keys::Key, links::Link};

/// Pause before the second attempt; every further one waits twice as long.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long members may take to say that they hold a certificate before the key counts as done all the same.
const ACK_PATIENCE: Duration = Duration::from_secs(15);

/// By what right a ceremony takes place.
#[derive(Clone, Debug)]
pub(super) enum Right {
    /// People's order.
    Ordered(Arc<Plan>),
    /// The policy's interval.
    Standing {
        /// Whether the pairs make new setups.
        fresh_pairs: bool,
    },
}

impl Right {
    /// The request of an attempt, as every node builds it as well.
    fn request(
        &self,
        engine: &Engine,
        id: &OrderId,
        key: &Key,
        attempt: u32,
    ) -> Result<Request, Failure> {
        let roster = engine.links.roster();
        let request = match self {
            Self::Ordered(plan) => {
                reshare::ordered(plan, &key.row.name, &key.package, attempt, roster)?
            }
            Self::Standing { fresh_pairs } => {
                let dealers: Vec<NodeId> = key.package.nodes().values().copied().collect();
                let attempt = mpc_core::id::Attempt(attempt);
                reshare::refresh(
                    &key.package,
                    &dealers,
                    attempt,
                    *fresh_pairs,
                    request_of(id),
                    roster,
                )?
            }
        };
        Ok(request)
    }

    /// The attempts that are allowed.
    fn attempts(&self, key: &KeyName) -> Option<(u32, u32)> {
        match self {
            Self::Ordered(plan) => {
                let one: Option<&ReshareKey> = plan.keys.iter().find(|one| one.key.key == *key);
                one.map(|one| (one.first, one.last))
            }
            Self::Standing { .. } => Some((1, STANDING_ATTEMPTS)),
        }
    }
}

impl Engine {
    /// Carries an order of people out.
    pub(super) async fn run_reshares(
        self: Arc<Self>,
        id: OrderId,
        plan: Arc<Plan>,
        stop: CancellationToken,
    ) {
        let right = Right::Ordered(Arc::clone(&plan));
        let mut names: Vec<KeyName> = plan.keys.iter().map(|one| one.key.key).collect();
        if plan.fresh_pairs && !names.is_empty() {
            // The others keep the setups that this one makes.
            let first = names.remove(0);
            let done = self.run_key(&id, &first, &right, true, &stop).await;
            if !done {
                let why = "the key before it was to make the pair setups, and failed";
                for name in &names {
                    self.fail_key(&id, name, refuse(FailureCode::Aborted, why, "see that key"))
                        .await;
                }
                names.clear();
            }
        }
        let runs: Vec<BoxFuture<'_, bool>> = names
            .iter()
            .map(|name| self.run_key(&id, name, &right, false, &stop).boxed())
            .collect();
        stream::iter(runs)
            .buffer_unordered(KEYS_AT_ONCE)
            .collect::<Vec<bool>>()
            .await;
        self.finish_order(&id).await;
    }

    /// Ends an order whose keys have all ended; one that a shutdown interrupts stays as it is.
    pub(super) async fn finish_order(&self, id: &OrderId) {
        let Some(status) = self.orders.status(id) else {
            return;
        };
        if !status.keys.iter().all(has_ended) {
            return;
        }
        let failed = status.keys.iter().find(|key| key.stage == "failed");
        match failed {
            None => self.end_order(id, "done", None).await,
            Some(key) => self.end_order(id, "failed", key.failure.clone()).await,
        }
    }

    async fn fail_key(&self, id: &OrderId, name: &KeyName, failure: Failure) {
        tracing::error!(
            key = hex::encode(name),
            reason = failure.message,
            "the shares of a key were not replaced"
        );
        self.show_key(id, name, |key| {
            "failed".clone_into(&mut key.stage);
            key.failure = Some(failure);
            key.ended_ms = clock::now_ms();
        });
        if let Err(error) = self.store_order(id).await {
            tracing::error!(order = hex::encode(id), %error, "the state of an order was not stored");
        }
    }

    /// One key of an order: true if its shares have been replaced.
    pub(super) async fn run_key(
        self: &Arc<Self>,
        id: &OrderId,
        name: &KeyName,
        right: &Right,
        makes_pairs: bool,
        stop: &CancellationToken,
    ) -> bool {
        let status = self.orders.status(id);
        let known = status.and_then(|status| {
            let mut keys = status.keys.into_iter();
            keys.find(|one| one.key_id.as_ref() == name)
        });
        let Some(known) = known else { return false };
        if has_ended(&known) {
            return known.stage == "done";
        }
        let _pairs = if makes_pairs {
            Some(self.orders.pairs.lock().await)
        } else {
            None
        };
        let Ok(_slot) = self.orders.slots.acquire().await else {
            return false;
        };
        match self.try_key(id, name, right, &known, stop).await {
            Ok(()) => {
                self.show_key(id, name, |key| {
                    "done".clone_into(&mut key.stage);
                    key.ended_ms = clock::now_ms();
                });
                if let Err(error) = self.store_order(id).await {
                    tracing::error!(order = hex::encode(id), %error, "the state of an order was not stored");
                }
                true
            }
            Err(Some(failure)) => {
                self.fail_key(id, name, failure).await;
                false
            }
            // The service stops: after the restart it goes on where it is.
            Err(None) => false,
        }
    }

    async fn try_key(
        self: &Arc<Self>,
        id: &OrderId,
        name: &KeyName,
        right: &Right,
        known: &v1::OrderKey,
        stop: &CancellationToken,
    ) -> Result<(), Option<Failure>> {
        let unknown = || refuse(FailureCode::Unknown, "the key is not here", "list the keys");
        let epoch = known.epoch;
        let (first, last) = right.attempts(name).ok_or_else(unknown)?;
        // An attempt that a restart interrupted may still be running at the nodes; it is listened to again, and not begun again.
        let interrupted = !matches!(known.stage.as_str(), "" | "queued") && known.attempt > 0;
        let mut attempt = if interrupted {
            known.attempt
        } else {
            self.next_attempt(name, epoch).max(first)
        };
        let mut pause = PAUSE;
        loop {
            let key = self.keys.get(name).ok_or_else(unknown)?;
            if key.package.epoch().0 >= epoch {
                return self.settle_key(id, &key, epoch).await.map_err(Some);
            }
            if attempt > last {
                let message =
                    format!("the attempts that are allowed are used up, {first} to {last}");
                let failure = refuse(
                    FailureCode::Aborted,
                    message,
                    "look at the failure of the last attempt, then have a new order signed",
                );
                let last = self.orders.status(id).and_then(|status| {
                    let mut keys = status.keys.into_iter();
                    keys.find(|one| one.key_id.as_ref() == name)?.failure
                });
                let reasons = last.map(|last| last.message);
                return Err(Some(failure.reasons(reasons)));
            }
            let request = right.request(self, id, &key, attempt)?;
            self.await_present(&request, right, stop).await?;
            // The number is used up from here on, whatever happens.
            self.show_key(id, name, |one| {
                one.attempt = attempt;
                "started".clone_into(&mut one.stage);
                one.started_ms = clock::now_ms();
                one.nodes = self.nodes_of(&request);
            });
            self.store_order(id).await.map_err(from_store)?;
            match self.attempt(id, right, &key, &request, stop).await? {
                Ok(()) => {}
                Err(failure) => {
                    tracing::warn!(key = %key.row.name, epoch, attempt, reason = failure.message, "an attempt to replace the shares failed");
                    self.show_key(id, name, |one| {
                        "queued".clone_into(&mut one.stage);
                        one.failure = Some(failure);
                    });
                    self.store_order(id).await.map_err(from_store)?;
                    attempt = self
                        .next_attempt(name, epoch)
                        .max(attempt.saturating_add(1));
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = stop.cancelled() => {}
                        () = self.stopping.cancelled() => return Err(None),
                    }
                    pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// The lowest attempt of an epoch that no order is known to have used. What the nodes say they have signed counts as far as so many
    /// members say it that one of them is honest: a single one could otherwise claim that all the numbers are used up.
    pub(in crate::engine) fn next_attempt(&self, name: &KeyName, epoch: u32) -> u32 {
        let own = self.orders.next_attempt(name, epoch);
        let Some(key) = self.keys.get(name) else {
            return own;
        };
        let signed = |link: &Link| {
            let status = link.status();
            let about = status.iter().flat_map(|status| &status.keys);
            let about = about.filter(|key| key.key_id.as_ref() == name);
            let prepared = about.flat_map(|key| &key.prepared);
            let places = prepared.filter_map(|prepared| prepared.sharing.as_ref());
            let mine = places.filter(|place| place.epoch == epoch);
            mine.map(|place| place.attempt).max()
        };
        let nodes = key.package.nodes().values();
        let links = nodes.filter_map(|node| self.links.by_node(node));
        let mut claims: Vec<u32> = links.filter_map(|link| signed(&link)).collect();
        claims.sort_unstable_by(|left, right| right.cmp(left));
        let needed = usize::from(key.package.params().threshold());
        let believed = claims.get(needed.saturating_sub(1)).copied();
        own.max(believed.map_or(0, |attempt| attempt.saturating_add(1)))
    }

    /// Waits until the members say that they hold the certificate, and new ones have been told what was spent; those that do not are told
    /// again for as long as it takes.
    async fn settle_key(&self, id: &OrderId, key: &Key, epoch: u32) -> Result<(), Failure> {
        let sharing = key.sharing();
        if sharing.epoch.0 > epoch {
            // Overtaken by a later order; this one was carried out before, or is no more to be.
            return Ok(());
        }
        let name = key.id();
        self.show_key(id, &name, |one| {
            "certified".clone_into(&mut one.stage);
            one.attempt = sharing.attempt.0;
            one.sharing = Some(reshare::sharing_to_wire(reshare::sharing_of(&key.package)));
        });
        let begun = std::time::Instant::now();
        loop {
            let acked = self.acked(&name, sharing.place());
            self.show_key(id, &name, |one| {
                for node in &mut one.nodes {
                    node.acked = acked.contains(&node.node);
                    node.connected = self.is_connected(node.node);
                }
            });
            let members = key.package.nodes().values();
            let numbers = members.filter_map(|node| self.links.roster().index(node));
            let missing: Vec<u16> = numbers
                .map(mpc_core::id::PartyIndex::get)
                .filter(|number| !acked.contains(&u32::from(*number)) || !self.is_ready(*number))
                .collect();
            if missing.is_empty() {
                return Ok(());
            }
            if begun.elapsed() >= ACK_PATIENCE {
                tracing::warn!(key = %key.row.name, nodes = ?missing, "these members have not taken the new sharing yet; they are told again when they come");
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(super) fn is_connected(&self, node: u32) -> bool {
        u16::try_from(node).is_ok_and(|index| self.links.get(index).is_some())
    }

    /// Everybody who has to do with a request, as shown: dealers, new members, and those who only lose their share.
    fn nodes_of(&self, request: &Request) -> Vec<v1::OrderNode> {
        let roster = self.links.roster();
        let mut nodes: Vec<NodeId> = request.participants().into_iter().collect();
        nodes.extend(request.active().nodes().values());
        nodes.sort_unstable();
        nodes.dedup();
        let mut shown: Vec<v1::OrderNode> = nodes
            .iter()
            .filter_map(|node| {
                let number = u32::from(roster.index(node)?.get());
                Some(v1::OrderNode {
                    node: number,
                    dealer: request.is_dealer(node),
                    member: request.is_member(node),
                    connected: self.is_connected(number),
                    ..Default::default()
                })
            })
            .collect();
        shown.sort_by_key(|node| node.node);
        shown
    }
}
