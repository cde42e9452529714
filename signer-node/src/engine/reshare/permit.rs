//! Who has allowed a reshare: people who ordered it, a policy that asks for refreshes, or an import, which is followed by one. Either way this node makes the request by
//! itself, from its own record of the key and its own cluster file, and compares.

use mpc_core::id::NodeId;
use mpc_core::reshare::Request;
use policy::governance::{self, Matter};
use policy::statement::SignedStatement;
use proto::convert::reshare::{ordered, standing};
use proto::v1::{Failure, FailureCode};

use super::super::{Engine, State};
use crate::clock::Now;
use crate::engine::sharings::Held;
use crate::failure::Refusal;

/// A node takes no attempt above the hours that its clock has counted since 1970, which people never reach by trying. So nobody who gets
/// a high attempt signed can use up all that there are: every hour brings another. A bound by what the node has signed before would
/// keep newcomers out, who have signed nothing.
const HOUR_MS: u64 = 3_600_000;

impl Engine {
    /// The request as this node makes it, if it is the one that was sent and somebody has allowed it.
    ///
    /// # Errors
    /// `NotAuthorised` with what is missing; what [`ordered`] finds to be different; `Denied` for another request.
    pub(super) fn permit(
        &self,
        state: &State,
        now: Now,
        held: &Held,
        sent: &Request,
        statements: &[SignedStatement],
    ) -> Result<Request, Refusal> {
        let who = &self.0.who;
        let active = held.lineage.active();
        let document = state.policies.active(&now).ok();
        let document = document.map(governance::Installed::document);
        let refuse = |message: String| {
            let hint = "have exactly this reshare ordered by the people whom the policy names";
            Refusal::new(FailureCode::NotAuthorised, message, hint)
        };
        let (attempt, most) = (u64::from(sent.attempt().0), now.wall_ms / HOUR_MS);
        if attempt > most {
            return Err(refuse(format!(
                "attempt {attempt} is above {most}, the highest that is taken at this hour"
            )));
        }
        if let Some(origin) = state.origin {
            // Its log of sessions is lost: whatever was allowed before may have been begun here already.
            let late = |signed: &SignedStatement| {
                signed.statement().common().issued_ms > origin.restored_ms
            };
            let fresh = if statements.is_empty() {
                held.since_ms > origin.restored_ms
            } else {
                statements.iter().all(late)
            };
            if !fresh {
                return Err(refuse(
                    "this node came out of a backup after this was allowed".to_owned(),
                ));
            }
            if document.is_none() && Self::unsettled(state) {
                return Err(refuse(
                    "this node came out of a backup and has no policy yet".to_owned(),
                ));
            }
        }
        // The operator who allowed an import has allowed the refresh that takes the key out of its dealer's hands.
        let import = active.epoch().0 == 0 && state.ceremonies.is_imported(&held.request);
        let rebuilt = if statements.is_empty() && import {
            if sent.attempt().0 > governance::STANDING_ATTEMPTS {
                return Err(refuse("nobody has ordered one more attempt".to_owned()));
            }
            standing(sent, active, &who.roster)
        } else if statements.is_empty() {
            let document = document.ok_or_else(|| refuse("nobody has ordered this".to_owned()))?;
            governance::standing_refresh(
                document,
                active.key_id().as_bytes(),
                sent.attempt().0,
                held.since_ms,
                now.wall_ms,
            )
            .map_err(|error| refuse(format!("nobody has ordered this: {error}")))?;
            standing(sent, active, &who.roster)
        } else {
            let matter = governance::authorise(document, &who.cluster, statements, now.wall_ms)
                .map_err(|error| refuse(error.to_string()))?;
            let Matter::Reshare(plan) = matter else {
                return Err(refuse("the order is not about new shares".to_owned()));
            };
            ordered(&plan, &held.name, active, sent.attempt().0, &who.roster)
        };
        let rebuilt = rebuilt.map_err(Failure::from)?;
        if rebuilt.digest() != sent.digest() {
            return Err(Refusal::denied(
                "this node's own record of the key and its own cluster file make another request",
            ));
        }
        self.check_committee(&rebuilt)?;
        let issued = |signed: &SignedStatement| signed.statement().common().issued_ms;
        self.check_setups(&rebuilt, statements.iter().map(issued).min())?;
        Ok(rebuilt)
    }

    /// Whether enough people ordered something about keys, whatever it is.
    ///
    /// # Errors
    /// `NotAuthorised`.
    pub(super) fn check_order(&self, statements: &[SignedStatement]) -> Result<(), Refusal> {
        let mut state = self.state();
        let now = self.now(&mut state)?;
        let document = state.policies.active(&now).ok();
        let document = document.map(governance::Installed::document);
        let cluster = &self.0.who.cluster;
        let ordered = governance::authorise(document, cluster, statements, now.wall_ms);
        ordered.map(|_| ()).map_err(|error| {
            Refusal::new(
                FailureCode::NotAuthorised,
                error.to_string(),
                "have the reshare ordered by the people whom the policy names",
            )
        })
    }

    /// The bounds of the cluster file, which no order lifts.
    fn check_committee(&self, request: &Request) -> Result<(), Refusal> {
        let cluster = &self.0.who.cluster;
        let params = request.params();
        let threshold = params.threshold();
        if threshold < cluster.threshold {
            let message = format!(
                "threshold {threshold} is below the cluster's {}",
                cluster.threshold
            );
            return Err(Refusal::new(
                FailureCode::NotAuthorised,
                message,
                "the cluster file sets the lowest threshold",
            ));
        }
        if !cluster.minority_threshold && threshold.saturating_mul(2) <= params.parties() {
            return Err(Refusal::new(
                FailureCode::NotAuthorised,
                format!("{threshold} of {} is no majority", params.parties()),
                "the cluster file does not allow a minority to sign",
            ));
        }
        Ok(())
    }

    /// A pair that has failed works again only with a new setup, and only because people want it, who ordered this at `ordered_ms` or
    /// later: after the failure, so that they could know of it. A policy that asks for refreshes knows nothing.
    fn check_setups(&self, request: &Request, ordered_ms: Option<u64>) -> Result<(), Refusal> {
        let me = self.0.who.node;
        if !request.active().purpose().needs_pairs() || !request.is_member(&me) {
            return Ok(());
        }
        let pairs = self.pairs();
        let peers = request.roster().nodes().filter(|node: &NodeId| *node != me);
        for peer in peers {
            let Some((poison, _)) = pairs.poison_of(&peer) else {
                continue;
            };
            // What is not on disk yet nobody can have seen.
            let known = ordered_ms.is_some_and(|ordered_ms| ordered_ms >= poison.at_ms);
            if !request.fresh_pairs() || !known || !poison.stored {
                return Err(self.banned(poison));
            }
        }
        Ok(())
    }
}
