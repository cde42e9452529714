//! The coordinator's part in reshares: attempts, collected parts, and everybody brought to the same sharing.

use std::collections::{BTreeMap, BTreeSet};

use mpc_core::id::{Attempt, KeyId, NodeId, RequestId};
use mpc_core::keys::PublicKeyPackage;
use mpc_core::lineage::{Learned, Lineage, Sharing};
use mpc_core::reshare::{Certificate, Proposal, Request};

use super::{Context, Coordinator, Outcome};
use crate::dice::Dice;
use crate::memo;
use crate::wire::{Body, ReshareCall, RunName};

/// How long an attempt may take before the next one.
const ATTEMPT_MS: u64 = 5_000;
/// How many attempts are made.
const ATTEMPTS: u32 = 6;

/// New shares that somebody wants.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// The new committee; the first has index 1.
    pub(crate) members: Vec<usize>,
    pub(crate) threshold: u16,
    /// Who does not deal, if others can.
    pub(crate) absent: BTreeSet<usize>,
    /// When operators approved it.
    pub(crate) issued_ms: u64,
}

/// One attempt; durable.
#[derive(Clone, Debug)]
struct Attempted {
    request: Request,
    /// What its participants are told.
    call: ReshareCall,
    parts: BTreeMap<usize, Vec<u8>>,
}

/// What is known of the history of the key, and of attempts to continue it.
#[derive(Default)]
pub(super) struct Reshares {
    lineage: Option<Lineage>,
    wanted: Option<Change>,
    attempts: BTreeMap<[u8; 32], Attempted>,
    current: Option<([u8; 32], u64)>,
    count: u32,
    failures: u32,
    /// The attempts of each epoch, counted up for ever.
    next: BTreeMap<u32, u32>,
    /// What each node is known to have.
    standing: BTreeMap<usize, Option<(u32, u32)>>,
    /// Who has said that it holds no share of the active sharing.
    without: BTreeSet<usize>,
}

impl Reshares {
    pub(super) fn want(&mut self, change: Change) {
        self.wanted = Some(change);
        self.count = 0;
        self.failures = 0;
        self.current = None;
    }

    pub(super) const fn is_idle(&self) -> bool {
        self.wanted.is_none()
    }

    /// Forgets what is not on disk.
    pub(super) fn crash(&mut self) {
        self.current = None;
        self.standing.clear();
    }
}

impl Coordinator {
    /// The active sharing as far as it is known here.
    pub(crate) fn active(&self) -> Option<&PublicKeyPackage> {
        self.reshares.lineage.as_ref().map(Lineage::active)
    }

    /// Sometimes a sharing that is over, if the coordinator is evil.
    pub(super) fn past(&self, dice: &mut Dice) -> Option<PublicKeyPackage> {
        let chain = self.reshares.lineage.as_ref()?.chain();
        if !self.is_evil || chain.is_empty() || !dice.chance(500) {
            return None;
        }
        Some(dice.pick(chain).request().active().clone())
    }

    /// Whether the last change left the committee and its threshold as they were.
    pub(crate) fn was_refresh(&self) -> bool {
        let lineage = self.reshares.lineage.as_ref();
        let last = lineage.and_then(|lineage| lineage.chain().last());
        last.is_some_and(|last| {
            let request = last.request();
            let before: BTreeSet<NodeId> = request.active().nodes().values().copied().collect();
            before == request.roster().nodes().collect()
                && request.active().params().threshold() == request.threshold()
        })
    }

    /// The record of the key from when it was made.
    pub(crate) fn first_key(&self) -> Option<&PublicKeyPackage> {
        self.reshares.lineage.as_ref().map(Lineage::base)
    }

    pub(super) fn know(&mut self, base: PublicKeyPackage) {
        self.reshares.lineage = Some(Lineage::new(base, false));
    }

    pub(super) fn reshare_pulse(&mut self, context: &mut Context<'_>) {
        let Some(change) = self.reshares.wanted.clone() else {
            return self.chase(context);
        };
        let late = self
            .reshares
            .current
            .is_none_or(|(_, since)| since + ATTEMPT_MS <= context.now_ms);
        if late || self.reshares.failures > 0 {
            if self.reshares.count >= ATTEMPTS {
                self.reshares.wanted = None;
                self.outcomes
                    .push(Outcome::Failed("no reshare in time".to_owned()));
                return;
            }
            self.propose(&change, context);
        }
        self.call(context);
        self.hand_out_parts(context);
        self.chase(context);
    }

    fn propose(&mut self, change: &Change, context: &mut Context<'_>) {
        let reshares = &mut self.reshares;
        let Some(lineage) = &reshares.lineage else {
            return;
        };
        let active = lineage.active().clone();
        let holders = self.cluster.members_of(&active);
        let able = |node: &usize| !reshares.without.contains(node);
        let present: Vec<usize> = holders
            .iter()
            .copied()
            .filter(|node| !change.absent.contains(node))
            .filter(able)
            .collect();
        let holders: Vec<usize> = holders.iter().copied().filter(able).collect();
        let needed = usize::from(active.params().threshold());
        if holders.len() < needed {
            return;
        }
        let from = if present.len() >= needed {
            &present
        } else {
            &holders
        };
        let spare = (from.len() - needed) as u64;
        let count = needed + context.dice.below(spare + 1) as usize;
        let dealers = context.dice.some(from, count);
        let epoch = active.epoch().0 + 1;
        let next = reshares.next.entry(epoch).or_insert(0);
        // An evil one uses a number for several requests, or one that is over.
        let attempt = if self.is_evil && context.dice.chance(400) {
            Attempt(context.dice.below(u64::from(*next) + 1) as u32)
        } else {
            *next += 1;
            Attempt(*next - 1)
        };
        // A second attempt may be for fewer members.
        let mut members = change.members.clone();
        if reshares.count > 1
            && members.len() > usize::from(change.threshold)
            && context.dice.chance(300)
        {
            members.remove(context.dice.place(members.len()));
        }
        let identity = |node: &usize| self.cluster.identities[*node].public();
        let request = Request::new(Proposal {
            active,
            dealers: dealers.iter().map(identity).collect(),
            roster: self.cluster.roster(&members),
            threshold: change.threshold,
            attempt,
            fresh_pairs: false,
            request_id: RequestId::from_bytes(context.dice.bytes()),
        });
        let request = request.expect("a request that can be");
        let digest = request.digest();
        // An evil one asks for what no operator has approved, too.
        if !self.is_evil || context.dice.chance(750) {
            context.orders.insert(digest, change.issued_ms);
        }
        reshares.count += 1;
        reshares.failures = 0;
        reshares.current = Some((digest, context.now_ms));
        let call = ReshareCall {
            request: request.encode(),
            base: lineage.base().encode(),
            chain: lineage.chain().iter().map(Certificate::encode).collect(),
        };
        let attempted = Attempted {
            request,
            call,
            parts: BTreeMap::new(),
        };
        reshares.attempts.insert(digest, attempted);
    }

    /// Calls those to the current attempt who have not handed in their part.
    fn call(&self, context: &mut Context<'_>) {
        let reshares = &self.reshares;
        let Some((digest, _)) = reshares.current else {
            return;
        };
        let Some(attempted) = reshares.attempts.get(&digest) else {
            return;
        };
        for node in self.cluster.places(attempted.request.participants()) {
            if !attempted.parts.contains_key(&node) {
                context.send(node, Body::Reshare(Box::new(attempted.call.clone())));
            }
        }
    }

    /// Complete parts go to all participants: whoever has its share finishes with them.
    fn hand_out_parts(&self, context: &mut Context<'_>) {
        let Some(active) = self.active() else { return };
        for attempted in self.reshares.attempts.values() {
            let request = &attempted.request;
            let is_next = *request.active() == *active;
            if !is_next || attempted.parts.len() < request.participants().len() {
                continue;
            }
            let Some(sharing) = attempted.sharing() else {
                continue;
            };
            let parts: Vec<Vec<u8>> = attempted.parts.values().cloned().collect();
            for node in self.cluster.places(request.participants()) {
                let body = Body::ReshareParts {
                    key: request.key_id(),
                    sharing,
                    parts: parts.clone(),
                };
                context.send(node, body);
            }
        }
    }

    /// Whom the active sharing concerns: holders before and after.
    fn concerned(&self) -> BTreeSet<usize> {
        let last = self
            .reshares
            .lineage
            .as_ref()
            .and_then(|lineage| lineage.chain().last());
        last.map(|last| {
            let old = last.request().active().nodes().values().copied();
            let new: Vec<NodeId> = last.request().roster().nodes().collect();
            self.cluster.places(old.chain(new))
        })
        .unwrap_or_default()
    }

    /// Brings everybody to the active sharing.
    fn chase(&self, context: &mut Context<'_>) {
        let Some(lineage) = &self.reshares.lineage else {
            return;
        };
        let now = lineage.sharing();
        let place = (now.epoch.0, now.attempt.0);
        for node in self.concerned() {
            match self.reshares.standing.get(&node) {
                Some(None) => {}
                Some(Some(at)) if *at >= place => {}
                _ => {
                    for certificate in lineage.chain() {
                        let body = Body::Activate {
                            key: lineage.key_id(),
                            certificate: certificate.encode(),
                        };
                        context.send(node, body);
                    }
                }
            }
        }
    }

    pub(super) fn is_everybody_there(&self) -> bool {
        let Some(lineage) = &self.reshares.lineage else {
            return true;
        };
        let now = lineage.sharing();
        let place = (now.epoch.0, now.attempt.0);
        self.concerned()
            .iter()
            .all(|node| match self.reshares.standing.get(node) {
                Some(Some(at)) => *at >= place,
                Some(None) => true,
                None => false,
            })
    }

    pub(super) fn on_reshare_part(
        &mut self,
        from: usize,
        digest: [u8; 32],
        part: Vec<u8>,
        context: &mut Context<'_>,
    ) {
        let Some(attempted) = self.reshares.attempts.get_mut(&digest) else {
            return;
        };
        let is_new = attempted.parts.insert(from, part).is_none();
        if is_new && attempted.parts.len() == attempted.request.participants().len() {
            self.hand_out_parts(context);
        }
    }

    pub(super) fn on_standing(
        &mut self,
        from: usize,
        key: KeyId,
        (place, holds): (Option<(u32, u32)>, bool),
        certificate: &[u8],
    ) {
        let me = NodeId::from_bytes([0; 32]);
        let Some(lineage) = self
            .reshares
            .lineage
            .as_mut()
            .filter(|lineage| lineage.key_id() == key)
        else {
            return;
        };
        self.reshares.standing.insert(from, place);
        if holds {
            self.reshares.without.remove(&from);
        } else {
            self.reshares.without.insert(from);
        }
        let own = lineage.sharing();
        if place.is_none_or(|place| place <= (own.epoch.0, own.attempt.0)) {
            return;
        }
        let Ok(certificate) = memo::certificate(certificate) else {
            return;
        };
        if let Ok(Learned::Activated(_)) = lineage.learn(certificate, &me) {
            self.key = Some(lineage.active().clone());
            if self.reshares.wanted.take().is_some() {
                self.outcomes.push(Outcome::Reshared);
            }
            self.reshares.current = None;
            // What was asked for under the old sharing starts over.
            self.signings.clear();
        }
    }

    pub(super) fn on_reshare_failed(&mut self, run: RunName) {
        if self
            .reshares
            .current
            .is_some_and(|(digest, _)| digest == run.request)
        {
            self.reshares.failures += 1;
        }
    }
}

impl Attempted {
    /// The sharing that the parts are about.
    fn sharing(&self) -> Option<Sharing> {
        let part = self.parts.values().next()?;
        sharing_of(&self.request, part)
    }
}

/// The sharing that a part of a certificate of this request is about.
pub(crate) fn sharing_of(request: &Request, part: &[u8]) -> Option<Sharing> {
    let body = body_of(part)?;
    let id: [u8; 32] = body.get(33..65)?.try_into().ok()?;
    Some(Sharing {
        epoch: request.epoch(),
        attempt: request.attempt(),
        id: mpc_core::id::SharingId::from_bytes(id),
    })
}

/// The body of an envelope.
fn body_of(envelope: &[u8]) -> Option<&[u8]> {
    let at = 2 + usize::from(*envelope.get(1)?) + 32 + 1 + 32 + 32 + 4;
    let end = envelope.len().checked_sub(64)?;
    envelope.get(at..end)
}
