//! Key generation: drives the protocol's session, writes before it sends, and never drops a share that may be needed.
//!
//! A session lives in memory only. Its first id goes into the replay log before its first message leaves, so a session
//! that does not survive a crash is never run again. A share is sealed and stored before this node signs for it, and stays
//! until the certificate is there, however late.

mod ceremonies;
mod driver;
mod import;
mod record;

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError};

use mpc_core::dkg::{Session, Setup};
use mpc_core::id::{Attempt, NodeId, Params, PartyIndex, Purpose, RequestId};
use mpc_core::roster::{Member, Roster};
use mpc_core::session::{Inbound, Outbound, Recipient};
use proto::convert::array;
use proto::v1::{DkgCertificate, DkgProgress, FailureCode, StartDkg, Tunnel, node_frame};
use rand_core::UnwrapErr;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::Engine;
use super::pairs::Pairs;
use super::pools::{BOOT, Greeting, RUN};
use super::tunnels::Tunnels;
use crate::codec::{Malformed, Reader, Writer};
use crate::failure::Refusal;
use crate::seal::{Kind, Label};

pub(crate) use ceremonies::Ceremonies;
use ceremonies::Running;
pub(super) use ceremonies::{Early, Slot};
pub(super) use record::{Certified, Record, Uncertified, sealed_digest};

/// How far ahead of this node's clock a request may have been made, in milliseconds.
const AHEAD_MS: u64 = 10 * 60_000;
/// Messages that wait for a session's task.
const INBOX: usize = 256;

/// What an operator asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) name: String,
    pub(super) request: [u8; 32],
    pub(super) attempt: u32,
    pub(super) purpose: Purpose,
    pub(super) threshold: u16,
    /// The committee by node numbers; the first has index 1 in the key.
    pub(super) nodes: Vec<u16>,
    /// Whether a dealer brings the key: whoever kept a copy can sign alone.
    pub(super) imported: bool,
}

impl Order {
    /// The place of the share until its certificate is there.
    pub(super) const fn pending_label(&self) -> Label {
        Label::new(Kind::Pending, self.request, self.attempt, 0)
    }
}

/// A message inside a tunnel: which key generation it belongs to, and the envelope.
pub(super) fn encode_message(request: &[u8; 32], attempt: u32, envelope: &[u8]) -> Vec<u8> {
    Writer::new()
        .u8(1)
        .fixed(request)
        .u32(attempt)
        .bytes(envelope)
        .finish()
}

pub(super) fn decode_message(from: NodeId, bytes: &[u8]) -> Result<Early, Malformed> {
    let mut reader = Reader::new("peer message", bytes);
    if reader.u8()? != 1 {
        return Err(Malformed("peer message"));
    }
    let (request, attempt) = (reader.array()?, reader.u32()?);
    let envelope = reader.bytes()?.to_vec();
    reader.finish()?;
    Ok(Early {
        from,
        request,
        attempt,
        envelope,
    })
}

fn progress(order: &Order, stage: &str) -> DkgProgress {
    DkgProgress {
        request_id: order.request.to_vec().into(),
        stage: stage.to_owned(),
        ..DkgProgress::default()
    }
}

pub(super) fn is_name(name: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._:-".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(allowed)
}

impl Engine {
    pub(super) async fn start_dkg(&self, call: StartDkg) -> Result<DkgProgress, Refusal> {
        let order = self.read_order(&call)?;
        if let Some(answer) = self.known(&order) {
            return Ok(answer);
        }
        let timeout = call
            .deadline_ms
            .min(self.0.limits.dkg_deadline_ms)
            .max(1_000);
        let who = &self.0.who;
        let roster = self.committee(&order.nodes)?;
        let parties = u16::try_from(roster.len()).unwrap_or(u16::MAX);
        let room = self.room_for(false, order.purpose.needs_pairs()).await;
        let pairs = if order.purpose.needs_pairs() {
            self.pair_statuses(&roster)?
        } else {
            BTreeMap::new()
        };
        let setups = Pairs::names(&pairs);
        let params = Params::new(order.threshold, parties).map_err(Refusal::malformed)?;
        let peers = roster.nodes().collect();
        let import = call
            .import
            .as_ref()
            .map(|import| self.allowed_import(&order.name, import));
        let import = import.transpose()?;
        let dealer = import.as_ref().map(|import| import.dealer.node_id());
        let setup = Setup {
            roster,
            me: who.node,
            purpose: order.purpose,
            params,
            request_id: RequestId::from_bytes(order.request).named(&order.name),
            attempt: Attempt(order.attempt),
            pairs,
        };
        let now_ms = self.boot_ms()?;
        let rng = &mut UnwrapErr(getrandom::SysRng);
        let identity = Arc::clone(&who.identity);
        let started = match import {
            None => Session::start(setup, identity, rng, now_ms, timeout),
            Some(import) => Session::import(setup, import, identity, rng, now_ms, timeout),
        };
        let (session, step) = started.map_err(Refusal::malformed)?;
        self.check_new_key(&order)?;
        let inbox = self.open_slot(Slot {
            request: order.request,
            attempt: order.attempt,
            name: order.name.clone(),
            reshare: None,
            pairs: order.purpose.needs_pairs(),
            peers,
            dealer,
        })?;
        drop(room);
        let effects = match self.begin(&order, step).await {
            Ok(effects) => effects,
            Err(refusal) => {
                self.close_slot(&order.request);
                return Err(refusal);
            }
        };
        tracing::info!(request = %hex::encode(order.request), name = %order.name, "key generation started");
        let answer = progress(&order, "round1");
        tokio::spawn(self.clone().drive(session, order, setups, inbox, effects));
        Ok(answer)
    }

    fn read_order(&self, call: &StartDkg) -> Result<Order, Refusal> {
        let purpose = Purpose::parse(&call.scheme).ok_or_else(|| {
            Refusal::malformed("the scheme must be bip340, ecdsa, ecdsa-raw or ed25519")
        })?;
        if !is_name(&call.name) {
            return Err(Refusal::malformed(
                "a key's name has 1 to 64 of a-z 0-9 . _ : -",
            ));
        }
        let threshold = u16::try_from(call.threshold).unwrap_or(u16::MAX);
        let least = self.0.who.cluster.threshold;
        if threshold < least {
            let message = format!("threshold {threshold} is below the cluster's {least}");
            return Err(Refusal::new(
                FailureCode::NotAuthorised,
                message,
                "the cluster file sets the lowest threshold",
            ));
        }
        let request = array("request id", &call.request_id).map_err(Refusal::malformed)?;
        let number = |node: &u32| u16::try_from(*node).unwrap_or(u16::MAX);
        let mut nodes: Vec<u16> = call.nodes.iter().map(number).collect();
        if nodes.is_empty() {
            nodes = self
                .0
                .who
                .cluster
                .nodes
                .iter()
                .map(|node| node.index)
                .collect();
        }
        Ok(Order {
            name: call.name.clone(),
            request,
            attempt: call.attempt,
            purpose,
            threshold,
            nodes,
            imported: call.import.is_some(),
        })
    }

    /// The committee of a key: nodes of the cluster file in ascending order, this one among them.
    fn committee(&self, nodes: &[u16]) -> Result<Roster, Refusal> {
        let who = &self.0.who;
        let member = |(index, number): (u16, &u16)| {
            let node = who.roster.node_id(PartyIndex::new(*number).ok()?)?;
            let member = who.roster.get(&node)?;
            Some(Member {
                index: PartyIndex::new(index).ok()?,
                identity: member.identity,
                exchange: member.exchange,
            })
        };
        let members: Option<Vec<Member>> = (1..).zip(nodes).map(member).collect();
        let members = members
            .ok_or_else(|| Refusal::malformed("the committee names a node that is not there"))?;
        let roster = Roster::new(members).map_err(Refusal::malformed)?;
        if !nodes.is_sorted() || roster.get(&who.node).is_none() {
            return Err(Refusal::malformed(
                "a committee is listed in ascending order, this node among it",
            ));
        }
        Ok(roster)
    }

    /// The answer for an order that is being carried out or has been.
    fn known(&self, order: &Order) -> Option<DkgProgress> {
        let state = self.state();
        let mut held = state.sharings.values();
        if let Some(held) = held.find(|held| held.request == order.request) {
            return Some(Self::active_progress(held));
        }
        let running = state.ceremonies.running.get(&order.request);
        running
            .filter(|running| running.slot.attempt == order.attempt)
            .map(|_| progress(order, "round1"))
    }

    /// The time in a request's name is part of what the nodes agree on. A node that came out of a backup has lost its log of sessions:
    /// to begin one of before again would be to say two things in it.
    fn check_age(&self, request: &[u8; 32]) -> Result<(), Refusal> {
        let mut state = self.state();
        let now = self.now(&mut state)?;
        let stamp = request.first_chunk().copied().unwrap_or_default();
        let ordered_ms = u64::from_be_bytes(stamp);
        if ordered_ms > now.wall_ms.saturating_add(AHEAD_MS) {
            return Err(Refusal::malformed(
                "the time in the request id lies ahead of this node's clock",
            ));
        }
        match state.origin {
            Some(origin) if ordered_ms <= origin.restored_ms => Err(Refusal::new(
                FailureCode::Stale,
                "this node came out of a backup after the key was asked for",
                "use a fresh request id",
            )),
            _ => Ok(()),
        }
    }

    /// Whether there is room for one more key, nothing of this request is left over, and the name is free: this node confirms to people
    /// which key has which name, so no name may have two.
    fn check_new_key(&self, order: &Order) -> Result<(), Refusal> {
        self.check_age(&order.request)?;
        let state = self.state();
        let keys = state
            .sharings
            .len()
            .saturating_add(state.ceremonies.uncertified.len());
        if u64::try_from(keys).unwrap_or(u64::MAX) >= self.0.limits.keys {
            return Err(Refusal::unavailable(
                "too many keys",
                "retire some, or raise limits.keys",
            ));
        }
        let mut held = state.sharings.values();
        let mut running = state.ceremonies.running.values();
        if held.any(|held| held.name == order.name)
            || running.any(|other| other.slot.name == order.name)
        {
            return Err(Refusal::new(
                FailureCode::Conflict,
                "this node has a key of this name, or is making one",
                "choose another name",
            ));
        }
        // The share may be part of a key by now; only its certificate is still missing.
        if state.ceremonies.uncertified.contains_key(&order.request) {
            return Err(Refusal::new(
                FailureCode::Conflict,
                "a share of this request waits for its certificate",
                "hand over the certificate, or use a fresh request id",
            ));
        }
        Ok(())
    }

    /// Makes room for a session, with the messages that came before it.
    pub(super) fn open_slot(&self, slot: Slot) -> Result<mpsc::Receiver<Inbound>, Refusal> {
        let mut state = self.state();
        let reshare = slot.reshare.is_some();
        if state.ceremonies.is_full(reshare, &self.0.limits) {
            let name = if reshare {
                "limits.reshare_sessions"
            } else {
                "limits.dkg_sessions"
            };
            return Err(Refusal::unavailable(
                "too many sessions of this kind at once",
                &format!("wait, or raise {name}"),
            ));
        }
        if state.ceremonies.running.contains_key(&slot.request) {
            return Err(Refusal::new(
                FailureCode::Conflict,
                "another attempt is running",
                "wait for it to end",
            ));
        }
        // Two at a time would make two setups of one generation.
        if slot.pairs && state.ceremonies.makes_pairs() {
            return Err(Refusal::new(
                FailureCode::Conflict,
                "another session makes pair setups",
                "wait for it to end",
            ));
        }
        let (inbox, receiver) = mpsc::channel(INBOX);
        for early in state.ceremonies.take_early(&slot.request, slot.attempt) {
            let dealer = slot.dealer.filter(|_| early.from == import::DEALER);
            let _ = inbox.try_send(Inbound {
                from: dealer.unwrap_or(early.from),
                bytes: early.envelope,
            });
        }
        let running = Running {
            slot,
            inbox,
            said: Vec::new(),
        };
        let request = running.slot.request;
        state.ceremonies.running.insert(request, running);
        Ok(receiver)
    }

    pub(super) fn close_slot(&self, request: &[u8; 32]) {
        self.state().ceremonies.running.remove(request);
    }

    pub(super) async fn certify(&self, call: DkgCertificate) -> Result<DkgProgress, Refusal> {
        let request: [u8; 32] =
            array("request id", &call.request_id).map_err(Refusal::malformed)?;
        let parts: Vec<Vec<u8>> = call.parts.iter().map(|part| part.to_vec()).collect();
        let done = self.finish(&request, &parts).await?;
        // A session that still waits for a part has nothing left to do.
        self.close_slot(&request);
        Ok(done)
    }

    pub(super) fn indices(&self, nodes: &[NodeId]) -> Vec<u32> {
        let roster = &self.0.who.roster;
        nodes
            .iter()
            .filter_map(|node| roster.index(node))
            .map(|index| index.get().into())
            .collect()
    }

    /// Milliseconds that no one can set: what the deadlines of key generations run on.
    pub(super) fn boot_ms(&self) -> Result<u64, Refusal> {
        Ok((self.0.time)()?.boot_ms)
    }

    /// Sends a session's message, and remembers it for tunnels that come later.
    pub(super) fn say(&self, request: &[u8; 32], attempt: u32, outbound: Outbound) {
        let message = encode_message(request, attempt, &outbound.bytes);
        let me = self.0.who.node;
        let recipients: Vec<NodeId> = {
            let mut state = self.state();
            let Some(running) = state.ceremonies.running.get_mut(request) else {
                return;
            };
            let to = outbound.to;
            if to == Recipient::Everyone && running.slot.dealer.is_some() {
                let said = DkgProgress {
                    request_id: request.to_vec().into(),
                    stage: "import".to_owned(),
                    said: outbound.bytes.clone().into(),
                    ..DkgProgress::default()
                };
                self.send(node_frame::Body::DkgProgress(said));
            }
            running.said.push(outbound);
            let peers = running.slot.peers.iter().copied();
            match to {
                Recipient::Everyone => peers.filter(|node| *node != me).collect(),
                Recipient::One(node) => vec![node],
            }
        };
        let mut tunnels = self.tunnels();
        for node in recipients {
            let frames = tunnels.send(&node, &message);
            self.relay(&tunnels, frames);
        }
    }

    fn tunnels(&self) -> MutexGuard<'_, Tunnels> {
        self.0
            .tunnels
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues frames while the tunnels are locked: their numbers must leave in order.
    fn relay(&self, _order: &MutexGuard<'_, Tunnels>, frames: Vec<Tunnel>) {
        for frame in frames {
            self.send(node_frame::Body::Tunnel(frame));
        }
    }

    pub(super) fn on_tunnel(&self, frame: &Tunnel) {
        let mut tunnels = self.tunnels();
        let Some((from, outcome)) = tunnels.receive(frame) else {
            tracing::warn!("a tunnel frame by a stranger or for another node was dropped");
            return;
        };
        self.relay(&tunnels, outcome.frames);
        drop(tunnels);
        if outcome.began {
            self.repeat(from);
        }
        for message in outcome.messages {
            self.deliver(from, &message);
        }
    }

    /// Starts every tunnel over; the connection to the coordinator is a new one.
    pub(super) fn reconnect_tunnels(&self) {
        let idle = self.state().ceremonies.running.is_empty() && self.pools().is_idle();
        let mut tunnels = self.tunnels();
        let frames = tunnels.reset();
        if !idle {
            self.relay(&tunnels, frames);
            drop(tunnels);
            self.redial();
        }
    }

    /// Dials the peers that this node dials and has no tunnel with.
    pub(super) fn redial(&self) {
        let mut tunnels = self.tunnels();
        let mut begun = Vec::new();
        for (node, frames) in tunnels.dial() {
            self.relay(&tunnels, frames);
            begun.push(node);
        }
        drop(tunnels);
        begun.into_iter().for_each(|node| self.repeat(node));
    }

    /// Says everything again that running sessions have said to a node.
    fn repeat(&self, node: NodeId) {
        let messages: Vec<Vec<u8>> = {
            let state = self.state();
            let to_node = |said: &&Outbound| {
                said.to == Recipient::Everyone || said.to == Recipient::One(node)
            };
            let running = state.ceremonies.running.iter();
            let all = running
                .filter(|(_, running)| running.slot.peers.contains(&node))
                .flat_map(|(request, running)| {
                    let said = running.said.iter().filter(to_node);
                    said.map(|said| encode_message(request, running.slot.attempt, &said.bytes))
                        .collect::<Vec<_>>()
                });
            all.collect()
        };
        let again = self.pools().said_to(&self.0.who, &node);
        let greeting = self.greeting_for(&node).encode();
        let mut tunnels = self.tunnels();
        for message in core::iter::once(greeting).chain(messages).chain(again) {
            let frames = tunnels.send(&node, &message);
            self.relay(&tunnels, frames);
        }
    }

    /// Sends one message to one node, if there is a session with it.
    pub(super) fn tell_node(&self, to: &NodeId, message: &[u8]) {
        let mut tunnels = self.tunnels();
        let frames = tunnels.send(to, message);
        self.relay(&tunnels, frames);
    }

    fn deliver(&self, from: NodeId, message: &Zeroizing<Vec<u8>>) {
        match message.first() {
            Some(&RUN) => return self.on_run_message(from, message),
            Some(&BOOT) => {
                if let Ok(greeting) = Greeting::decode(message) {
                    self.on_greeting(from, greeting);
                }
                return;
            }
            _ => {}
        }
        let Ok(early) = decode_message(from, message) else {
            tracing::warn!(peer = %from, "a peer's message was malformed");
            return;
        };
        let mut state = self.state();
        match state.ceremonies.running.get(&early.request) {
            Some(running)
                if running.slot.attempt == early.attempt && running.slot.peers.contains(&from) =>
            {
                if running
                    .inbox
                    .try_send(Inbound {
                        from,
                        bytes: early.envelope,
                    })
                    .is_err()
                {
                    tracing::warn!(peer = %from, "too many messages wait for a key generation");
                }
            }
            _ => state.ceremonies.keep_early(early),
        }
    }
}
