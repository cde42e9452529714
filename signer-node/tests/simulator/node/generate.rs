//! Key generation at a node: from the order to the share that signs.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use mpc_core::dkg::{self, DkgOutput, Pending, Setup};
use mpc_core::id::{Attempt, KeyId, Params, RequestId};
use mpc_core::keys::KeyShare;
use mpc_core::lineage::Lineage;
use mpc_core::session::{Effects, Held, Ready, Step, Write, WriteKind};
use mpc_core::{Error, Rejection};
use zeroize::Zeroizing;

use super::{Context, Key, Made, Node, ROUND_MS, Session, Then, post};
use crate::bug::Bug;
use crate::disk::{Change, Image, Table};
use crate::memo;
use crate::wire::{Body, NewKey, RunKind, RunName, short};

/// The keys on a disk that are certified.
pub(super) fn load(image: &Image) -> BTreeMap<KeyId, Key> {
    let mut keys = BTreeMap::new();
    for (request, bytes) in image.rows(Table::Pending) {
        let Some(certificate) = image.get(Table::Certified, request) else {
            continue;
        };
        let share = memo::born(bytes, certificate);
        let request = request.try_into().expect("32 bytes");
        keys.insert(share.public().key_id(), key(request, share));
    }
    keys
}

fn key(request: [u8; 32], share: Arc<KeyShare>) -> Key {
    let lineage = Lineage::new(share.public().clone(), true);
    Key::new(request, lineage, Some(share))
}

impl Made for DkgOutput {
    fn wait(name: RunName, held: Held<Effects<Self>>) -> Then {
        Then::Generate(name, Box::new(held))
    }

    fn arrive(self, node: &mut Node, name: RunName, context: &mut Context<'_>) {
        node.activate(name.request, Some(self), context);
    }
}

impl Node {
    pub(super) fn on_new_key(&mut self, order: NewKey, context: &mut Context<'_>) {
        let name = RunName::generate(&order);
        let is_known = self.disk.synced().has(Table::Pending, &order.request);
        if is_known
            || self
                .memory()
                .runs
                .keys()
                .any(|run| run.request == order.request)
        {
            return;
        }
        let setup = Setup {
            roster: self.cluster.roster(&order.members),
            me: self.id,
            purpose: order.purpose,
            params: Params::new(order.threshold, order.members.len() as u16).unwrap(),
            request_id: RequestId::from_bytes(order.request),
            attempt: Attempt(order.attempt),
            pairs: BTreeMap::new(),
        };
        let (now, identity) = (self.clock(context), Arc::clone(&self.identity));
        let started = dkg::Session::start(setup, identity, &mut self.memory().rng, now, ROUND_MS);
        let (session, step) = started.expect("a valid setup");
        self.enter(
            name,
            Session::Generate(Box::new(session)),
            order.members,
            None,
        );
        self.take(name, Ok(step), context);
        self.drain(name, context);
    }

    /// Does what a session's step asks for; what must be durable first waits for the disk.
    pub(super) fn take<O: Made>(
        &mut self,
        name: RunName,
        result: Result<Step<O>, Error>,
        context: &mut Context<'_>,
    ) {
        let step = match result {
            Ok(step) => step,
            Err(Error::Rejected(rejection)) => {
                if !matches!(rejection, Rejection::Replayed) {
                    context.say(format!("{}: {rejection}", name.label()));
                }
                return;
            }
            Err(error) => {
                let run = self.memory().runs.remove(&name);
                if let Some(run) = run {
                    self.accuse(&error, &run.members, context);
                }
                return self.give_up(name, error.to_string(), context);
            }
        };
        match step.split() {
            Ready::Now(effects) => self.carry_out(name, effects, context),
            Ready::AfterWrite(write, held) => {
                let changes = match name.kind {
                    RunKind::Generate => Ok(changes(&name, &write)),
                    RunKind::Reshare => self.reshare_changes(&name, &write),
                };
                let changes = match changes {
                    Ok(changes) => changes,
                    Err(why) => return self.give_up(name, why, context),
                };
                if self.bug == Bug::SendsBeforeSync {
                    let effects = held.release(write.stored()).expect("its own receipt");
                    self.submit(changes, None, Then::Nothing);
                    return self.carry_out(name, effects, context);
                }
                if let Some(run) = self.memory().runs.get_mut(&name) {
                    run.is_writing = true;
                }
                self.submit(changes, Some(write), O::wait(name, held));
            }
        }
    }

    pub(super) fn carry_out<O: Made>(
        &mut self,
        name: RunName,
        effects: Effects<O>,
        context: &mut Context<'_>,
    ) {
        let (me, cluster) = (self.id, Rc::clone(&self.cluster));
        if let Some(run) = self.memory().runs.get_mut(&name) {
            run.is_writing = false;
            for outbound in effects.send {
                post(&cluster, me, name, &run.members, &outbound, context);
                run.said.push(outbound);
                run.silent_pulses = 0;
            }
        }
        if let Some(output) = effects.output {
            self.memory().runs.remove(&name);
            output.arrive(self, name, context);
        } else {
            self.drain(name, context);
        }
    }

    /// Tells the coordinator this node's part of the certificate of a key whose share is on disk.
    pub(super) fn report_part(&mut self, request: &[u8; 32], context: &mut Context<'_>) {
        let Some(bytes) = self.disk.synced().get(Table::Pending, request) else {
            return;
        };
        let memory = self.memory.as_mut().expect("a running node");
        let part = memory.parts.entry(*request).or_insert_with(|| {
            let pending = Pending::dangerous_from_bytes(bytes).expect("what was written");
            pending.own_part().to_vec()
        });
        context.tell(Body::Part {
            request: *request,
            part: part.clone(),
        });
    }

    pub(super) fn activate(
        &mut self,
        request: [u8; 32],
        output: Option<DkgOutput>,
        context: &mut Context<'_>,
    ) {
        let Some(output) = output else { return };
        self.memory().runs.retain(|name, _| name.request != request);
        let package = output.share.public().encode();
        let key_id = output.share.public().key_id();
        self.memory()
            .keys
            .entry(key_id)
            .or_insert_with(|| key(request, Arc::new(output.share)));
        context.say(format!("key {} is active", short(key_id.as_bytes())));
        context.tell(Body::Active { request, package });
    }

    /// The parts of a certificate, from the coordinator: finishes a share that waits for it.
    pub(super) fn on_certify(
        &mut self,
        request: [u8; 32],
        parts: &[Vec<u8>],
        context: &mut Context<'_>,
    ) {
        if self.report_active(&request, context) {
            return;
        }
        let Some(bytes) = self.disk.synced().get(Table::Pending, &request) else {
            return;
        };
        let pending = Pending::dangerous_from_bytes(bytes).expect("what was written");
        match pending.finish(parts) {
            Ok(output) => {
                let bytes = output.certificate.encode();
                let change = Change::Append(Table::Certified, request.to_vec(), bytes.clone());
                let write = Write::new(WriteKind::Certificate, Zeroizing::new(bytes));
                let effects = Effects {
                    send: Vec::new(),
                    output: Some(output),
                };
                if let Ready::AfterWrite(write, held) = Step::after(write, effects).split() {
                    self.submit(
                        vec![change],
                        Some(write),
                        Then::Certified(request, Box::new(held)),
                    );
                }
            }
            Err(error) => context.say(format!("{}: {error}", short(&request))),
        }
    }

    fn report_active(&mut self, request: &[u8; 32], context: &mut Context<'_>) -> bool {
        let keys = &self.memory().keys;
        let found = keys.values().find(|key| key.request == *request);
        if let Some(key) = found {
            context.tell(Body::Active {
                request: *request,
                package: key.lineage.base().encode(),
            });
        }
        found.is_some()
    }

    /// Tells the coordinator everything again.
    pub(super) fn on_query(&mut self, context: &mut Context<'_>) {
        let image = self.disk.synced();
        let requests: Vec<[u8; 32]> = image
            .rows(Table::Pending)
            .map(|(request, _)| request.try_into().expect("32 bytes"))
            .collect();
        for request in requests {
            self.report_part(&request, context);
        }
        let keys: Vec<[u8; 32]> = self.memory().keys.values().map(|key| key.request).collect();
        for request in keys {
            self.report_active(&request, context);
        }
        self.report_prepared(context);
    }
}

/// Where a session's write goes.
fn changes(name: &RunName, write: &Write) -> Vec<Change> {
    let bytes = write.bytes().to_vec();
    match write.kind() {
        WriteKind::Share => vec![Change::Append(Table::Pending, name.request.to_vec(), bytes)],
        WriteKind::Certificate => {
            vec![Change::Append(
                Table::Certified,
                name.request.to_vec(),
                bytes,
            )]
        }
        _ => vec![Change::Append(Table::Replay, bytes, Vec::new())],
    }
}
