//! Reshares: new shares of a key that exists, for the same committee or another one.
//!
//! Nothing that a coordinator says decides who holds a key. This node rebuilds the request from its own record of the key and its own
//! cluster file, and goes on only if the digest is the one that enough people have signed, or if it is a mere refresh that the policy
//! has come to ask for.

mod activate;
mod driver;
mod permit;

use std::collections::BTreeMap;
use std::sync::Arc;

use mpc_core::dkg::PairStatus;
use mpc_core::id::NodeId;
use mpc_core::keys::PublicKeyPackage;
use mpc_core::known::Known;
use mpc_core::lineage::Lineage;
use mpc_core::reshare::{Certificate, Request, Session, Setup};
use policy::governance::MAX_STATEMENTS;
use policy::statement::SignedStatement;
use proto::convert::array;
use proto::limits;
use proto::v1::{
    Chain, ChainQuery, FailureCode, NodeFrame, ReshareProgress, StartReshare, StopReshare,
    node_frame,
};
use rand_core::UnwrapErr;

use super::Engine;
use super::dkg::{Slot, is_name};
use super::pairs::Pairs;
use super::sharings::{Held, Place, place_of, prepared_label, share_label, sharing_of};
use crate::failure::Refusal;
use crate::store::Change;

/// The longest chain of certificates that a call may carry.
const MAX_CHAIN: usize = 4_096;

/// A reshare that this node has approved.
struct Approved {
    request: Request,
    digest: [u8; 32],
    key: [u8; 32],
    place: Place,
    /// How often each peer of the new committee has failed, when it was approved.
    strikes: BTreeMap<NodeId, u32>,
    /// The key as it is to be known here once this node has signed; none if it is known already.
    newcomer: Option<Held>,
}

/// How a reshare is named in what nodes and coordinators say.
fn progress(approved: &Approved, stage: &str) -> ReshareProgress {
    ReshareProgress {
        request_id: approved.digest.to_vec().into(),
        key_id: approved.key.to_vec().into(),
        epoch: approved.place.0,
        attempt: approved.place.1,
        stage: stage.to_owned(),
        ..ReshareProgress::default()
    }
}

/// The place of what a request makes.
fn place_of_request(request: &Request) -> Place {
    (request.epoch().0, request.attempt().0)
}

impl Engine {
    pub(super) async fn start_reshare(
        &self,
        call: StartReshare,
    ) -> Result<ReshareProgress, Refusal> {
        let request = self.read_request(&call.request)?;
        let key = *request.key_id().as_bytes();
        if let Some(answer) = self.known_reshare(&request) {
            return Ok(answer);
        }
        self.check_space()?;
        let needs_pairs = request.active().purpose().needs_pairs();
        let makes_pairs = needs_pairs && self.makes_pairs(&request);
        let room = self.room_for(true, makes_pairs).await;
        let approved = self.approve(&call, &request)?;
        let timeout = call
            .deadline_ms
            .min(self.0.limits.dkg_deadline_ms)
            .max(1_000);
        let me = self.0.who.node;
        let makes_pairs = needs_pairs && self.makes_pairs(&approved.request);
        let pairs = if needs_pairs && approved.request.is_member(&me) {
            self.statuses_among(&approved.request)
        } else {
            BTreeMap::new()
        };
        let setups = Pairs::names(&pairs);
        let setup = Setup {
            request: approved.request.clone(),
            me,
            share: self.dealt_share(&key, &approved.request, !call.statements.is_empty())?,
            pairs,
        };
        let now_ms = self.boot_ms()?;
        let identity = Arc::clone(&self.0.who.identity);
        let rng = &mut UnwrapErr(getrandom::SysRng);
        let started = Session::start(setup, identity, rng, now_ms, timeout);
        let (session, step) = started.map_err(Refusal::malformed)?;
        let slot = Slot {
            request: approved.digest,
            attempt: approved.place.1,
            name: String::new(),
            reshare: Some((key, approved.place)),
            pairs: makes_pairs,
            peers: approved.request.participants(),
            dealer: None,
        };
        let inbox = self.open_slot(slot)?;
        drop(room);
        let answer = progress(&approved, "round1");
        let begun = self.begin(&approved, step).await;
        let effects = match begun {
            Ok(effects) => effects,
            Err(refusal) => {
                self.close_slot(&approved.digest);
                return Err(refusal);
            }
        };
        tracing::info!(
            key = %hex::encode(key), epoch = approved.place.0, attempt = approved.place.1, "reshare started"
        );
        tokio::spawn(
            self.clone()
                .drive(session, approved, setups, inbox, effects),
        );
        Ok(answer)
    }

    /// Decodes a request. What this node knows of the key and of its peers is not checked again.
    fn read_request(&self, bytes: &[u8]) -> Result<Request, Refusal> {
        let key = Request::key_of(bytes).map_err(Refusal::malformed)?;
        let active = {
            let state = self.state();
            let held = state.sharings.get(key.as_bytes());
            held.map(|held| held.lineage.active().clone())
        };
        let known = Known::NOTHING.roster(&self.0.who.roster);
        let known = active.iter().fold(known, Known::package);
        Request::decode_known(bytes, &known).map_err(Refusal::malformed)
    }

    /// The answer for a reshare that runs, is prepared or has been carried out.
    fn known_reshare(&self, request: &Request) -> Option<ReshareProgress> {
        let (key, place, digest) = (
            *request.key_id().as_bytes(),
            place_of_request(request),
            request.digest(),
        );
        let state = self.state();
        let said = |stage: &str| ReshareProgress {
            request_id: digest.to_vec().into(),
            key_id: key.to_vec().into(),
            epoch: place.0,
            attempt: place.1,
            stage: stage.to_owned(),
            ..ReshareProgress::default()
        };
        if let Some(held) = state.sharings.get(&key) {
            if place_of(held.lineage.active()) >= place {
                return Some(self.active_reshare(held));
            }
            let stored = held.prepared.get(&place);
            if let Some(stored) = stored.filter(|stored| stored.request == digest) {
                return Some(ReshareProgress {
                    part: stored.part.clone().into(),
                    holds: stored.holds,
                    sharing: Some(proto::v1::Sharing {
                        epoch: place.0,
                        attempt: place.1,
                        id: stored.sharing.to_vec().into(),
                    }),
                    ..said("prepared")
                });
            }
        }
        state.ceremonies.is_running(&digest).then(|| said("round1"))
    }

    /// What is said of a key whose certificate is durable here.
    fn active_reshare(&self, held: &Held) -> ReshareProgress {
        let public = held.lineage.active();
        let certificate = held.lineage.chain().last().map(Certificate::encode);
        ReshareProgress {
            key_id: public.key_id().as_bytes().to_vec().into(),
            epoch: public.epoch().0,
            attempt: public.attempt().0,
            stage: "active".to_owned(),
            sharing: Some(sharing_of(public)),
            holds: held.lineage.holds_active(),
            certificate: certificate.unwrap_or_default().into(),
            ..ReshareProgress::default()
        }
    }

    /// Judges a request from what this node knows itself.
    fn approve(&self, call: &StartReshare, request: &Request) -> Result<Approved, Refusal> {
        let who = &self.0.who;
        if !request.participants().contains(&who.node) {
            return Err(Refusal::malformed("this node takes no part in the reshare"));
        }
        if call.statements.len() > MAX_STATEMENTS {
            return Err(Refusal::malformed("an order has at most 64 statements"));
        }
        let statements = call
            .statements
            .iter()
            .map(|bytes| SignedStatement::decode(bytes).map_err(Refusal::malformed));
        let statements: Vec<_> = statements.collect::<Result<_, _>>()?;
        let key = *request.key_id().as_bytes();
        let newcomer = {
            let known = self.state().sharings.contains_key(&key);
            if known {
                None
            } else {
                Some(self.newcomer(call, &statements)?)
            }
        };
        let mut state = self.state();
        let now = self.now(&mut state)?;
        let held = match (&newcomer, state.sharings.get(&key)) {
            (_, Some(held)) => held,
            (Some(held), None) => held,
            (None, None) => return Err(Refusal::unknown("the key")),
        };
        held.in_use()?;
        let lineage = &held.lineage;
        self.check_active(lineage.active(), request)?;
        let rebuilt = self.permit(&state, now, held, request, &statements)?;
        lineage
            .admit(&rebuilt, &who.node)
            .map_err(|refusal| Refusal::denied(refusal.to_string()))?;
        let strikes = self.pairs().strikes();
        Ok(Approved {
            digest: rebuilt.digest(),
            key,
            place: place_of_request(&rebuilt),
            request: rebuilt,
            strikes,
            newcomer,
        })
    }

    /// Says which certificates are missing where, if the request starts from another sharing than the active one.
    fn check_active(&self, active: &PublicKeyPackage, request: &Request) -> Result<(), Refusal> {
        let (own, asked) = (place_of(active), place_of(request.active()));
        if asked == own {
            return Ok(());
        }
        let (code, message) = if asked > own {
            (
                FailureCode::NeedCertificate,
                "the reshare starts from a sharing that this node does not know",
            )
        } else {
            (
                FailureCode::StaleSharing,
                "the reshare starts from a sharing that is not the active one",
            )
        };
        let hint = "bring all participants to the same sharing first";
        Err(Refusal::new(code, message, hint).with_sharing(sharing_of(active)))
    }

    /// The key as a node knows it that has had nothing to do with it: from the chain in the call, which people's order vouches for.
    fn newcomer(
        &self,
        call: &StartReshare,
        statements: &[SignedStatement],
    ) -> Result<Held, Refusal> {
        let chain = call.chain.as_ref();
        let chain = chain.ok_or_else(|| Refusal::unknown("the key"))?;
        // Nobody but the people of an order makes this node verify a long chain.
        self.check_order(statements)?;
        if statements.is_empty() {
            return Err(Refusal::new(
                FailureCode::NotAuthorised,
                "this node has no record of the key; only people's order makes it a member",
                "have the order signed",
            ));
        }
        if !is_name(&call.name) || chain.certificates.len() > MAX_CHAIN {
            return Err(Refusal::malformed("the name or the chain of the key"));
        }
        let base = PublicKeyPackage::decode(&chain.base).map_err(Refusal::malformed)?;
        let certificates = chain
            .certificates
            .iter()
            .map(|bytes| Certificate::decode(bytes).map_err(Refusal::malformed));
        let certificates: Vec<_> = certificates.collect::<Result<_, _>>()?;
        let lineage = Lineage::adopt(base, certificates, &self.0.who.node)
            .map_err(|refusal| Refusal::denied(refusal.to_string()))?;
        let request = array("key request", &call.key_request).map_err(Refusal::malformed)?;
        let parts = chain.base_parts.iter().map(|part| part.to_vec()).collect();
        let now_ms = self.state().clock.mark().wall_ms;
        Ok(Held::new(
            call.name.clone(),
            request,
            (Vec::new(), parts),
            lineage,
            now_ms,
        ))
    }

    /// This node's share of the active sharing, if it deals. One out of a backup that peers have not confirmed is dealt only on people's
    /// order, which names the sharing: all dealers must agree on it, or nothing comes of it.
    fn dealt_share(
        &self,
        key: &[u8; 32],
        request: &Request,
        ordered: bool,
    ) -> Result<Option<Arc<mpc_core::keys::KeyShare>>, Refusal> {
        if !request.is_dealer(&self.0.who.node) {
            return Ok(None);
        }
        let state = self.state();
        let unconfirmed = state.sharings.get(key).is_some_and(|held| held.unconfirmed);
        let share = state.keys.get(key).filter(|_| ordered || !unconfirmed);
        let share = share.ok_or_else(|| {
            Refusal::new(
                FailureCode::ShareLost,
                "this node has no confirmed share of the active sharing to deal from",
                "choose other dealers",
            )
        })?;
        Ok(Some(Arc::clone(&share.share)))
    }

    /// Whether setups between members are made, of which there is to be one at a time.
    fn makes_pairs(&self, request: &Request) -> bool {
        let (me, pairs) = (self.0.who.node, self.pairs());
        let mut peers = request.roster().nodes().filter(|node| *node != me);
        request.is_member(&me)
            && (request.fresh_pairs() || peers.any(|peer| pairs.reusable(&peer).is_none()))
    }

    fn statuses_among(&self, request: &Request) -> BTreeMap<NodeId, PairStatus> {
        let mut statuses = self.pairs().statuses();
        statuses.retain(|peer, _| request.is_member(peer));
        statuses
    }

    /// Ends an attempt that is still running. What is prepared stays.
    pub(super) fn stop_reshare(&self, call: &StopReshare) -> Result<ReshareProgress, Refusal> {
        let key: [u8; 32] = array("key id", &call.key_id).map_err(Refusal::malformed)?;
        let place = (call.epoch, call.attempt);
        let mut state = self.state();
        state.ceremonies.stop_reshare(&key, place);
        let held = state.sharings.get(&key);
        let held = held.ok_or_else(|| Refusal::unknown("the key"))?;
        Ok(self.active_reshare(held))
    }

    /// The public history of a key.
    pub(super) fn chain_of(&self, call: &ChainQuery) -> Result<Chain, Refusal> {
        let key: [u8; 32] = array("key id", &call.key_id).map_err(Refusal::malformed)?;
        let state = self.state();
        let held = state.sharings.get(&key);
        let held = held.ok_or_else(|| Refusal::unknown("the key"))?;
        let certificates = held.lineage.chain().iter();
        let chain = Chain {
            key_id: call.key_id.clone(),
            base: held.lineage.base().encode().into(),
            base_parts: held.parts.iter().map(|part| part.clone().into()).collect(),
            certificates: certificates
                .map(|certificate| certificate.encode().into())
                .collect(),
            name: held.name.clone(),
            key_request: held.request.to_vec().into(),
        };
        let frame = NodeFrame {
            body: Some(node_frame::Body::Chain(chain.clone())),
            ..NodeFrame::default()
        };
        limits::node_frame(&frame).map_err(|error| {
            Refusal::unavailable(
                format!("the chain of the key does not fit into one answer: {error}"),
                "move what the key holds to a new key",
            )
        })?;
        Ok(chain)
    }
}

/// Shares of sharings that a certificate has made worthless, in both places where one could be.
fn erasures(key: [u8; 32], place: Place) -> [Change; 2] {
    [
        Change::Erase {
            label: share_label(key, place),
        },
        Change::Erase {
            label: prepared_label(key, place),
        },
    ]
}
