//! Who has allowed a reshare: people who signed exactly this request, or a policy that asks for refreshes.

use mpc_core::id::{NodeId, PartyIndex};
use mpc_core::reshare::Request;
use policy::governance::orders_reshare;
use policy::statement::{ReshareOrder, SignedStatement};
use proto::v1::FailureCode;

use super::super::{Engine, State};
use crate::clock::Now;
use crate::engine::pairs::MAX_STRIKES;
use crate::engine::sharings::Held;
use crate::failure::Refusal;

/// Clocks may differ by so much when a refresh comes due, in milliseconds.
const EARLY_MS: u64 = 300_000;

impl Engine {
    /// # Errors
    /// `NotAuthorised` with what is missing; `Denied` for a committee that the cluster file does not allow.
    pub(super) fn permit(
        &self,
        state: &State,
        now: Now,
        held: &Held,
        request: &Request,
        statements: &[SignedStatement],
    ) -> Result<(), Refusal> {
        self.check_committee(request)?;
        let active = state.policies.active(&now)?;
        if statements.is_empty() {
            self.permit_refresh(now, held, request, active.document().refresh_every())?;
            return self.check_setups(request, false);
        }
        let order = self.order_of(request)?;
        orders_reshare(active.document(), statements, &order, now.wall_ms).map_err(|error| {
            Refusal::new(
                FailureCode::NotAuthorised,
                error.to_string(),
                "have exactly this reshare signed by the people of the policy's loosen clause",
            )
        })?;
        self.check_setups(request, true)
    }

    /// What people must have signed, in the numbers of this node's cluster file.
    fn order_of(&self, request: &Request) -> Result<ReshareOrder, Refusal> {
        let roster = &self.0.who.roster;
        let number = |node: NodeId| {
            roster
                .index(&node)
                .map(PartyIndex::get)
                .ok_or_else(|| Refusal::unknown("a node of the reshare"))
        };
        let dealers = request.dealers().into_iter().map(number);
        let mut dealers: Vec<u16> = dealers.collect::<Result<_, _>>()?;
        dealers.sort_unstable();
        let members = request.roster().by_index().map(|(_, node)| number(node));
        Ok(ReshareOrder {
            key: *request.key_id().as_bytes(),
            sharing: *request.active().sharing().as_bytes(),
            epoch: request.epoch().0,
            attempt: request.attempt().0,
            threshold: request.threshold(),
            dealers,
            members: members.collect::<Result<_, _>>()?,
            fresh_pairs: request.fresh_pairs(),
            ceremony: *request.request_id().as_bytes(),
            request: request.digest(),
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

    /// A refresh changes neither the committee nor the threshold; the policy may ask for it by itself, and not before its time.
    fn permit_refresh(
        &self,
        now: Now,
        held: &Held,
        request: &Request,
        every_ms: Option<u64>,
    ) -> Result<(), Refusal> {
        let refuse = |message: String| {
            let hint = "have the reshare signed by the people of the policy's loosen clause";
            Err(Refusal::new(FailureCode::NotAuthorised, message, hint))
        };
        let active = held.lineage.active();
        let same = request
            .roster()
            .by_index()
            .eq(active.nodes().iter().map(|(index, node)| (*index, *node)))
            && request.params() == active.params();
        if !same {
            return refuse("nobody has ordered another committee or threshold".to_owned());
        }
        let Some(every_ms) = every_ms else {
            return refuse("nobody has ordered this refresh, and the policy asks for none".to_owned());
        };
        let due_ms = held.since_ms.saturating_add(every_ms);
        if now.wall_ms.saturating_add(EARLY_MS) < due_ms {
            return refuse("the refresh that the policy asks for is not due yet".to_owned());
        }
        Ok(())
    }

    /// A pair that has failed works again only with a new setup; after too many failures only people may want that.
    fn check_setups(&self, request: &Request, ordered: bool) -> Result<(), Refusal> {
        let me = self.0.who.node;
        if !request.active().purpose().needs_pairs() || !request.is_member(&me) {
            return Ok(());
        }
        let pairs = self.pairs();
        let peers = request.roster().nodes().filter(|node| *node != me);
        for peer in peers {
            let Some((poison, strikes)) = pairs.poison_of(&peer) else {
                continue;
            };
            if !request.fresh_pairs() || (!ordered && strikes >= MAX_STRIKES) {
                return Err(self.banned(poison));
            }
        }
        Ok(())
    }
}
