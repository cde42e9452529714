//! One share of a signature: judged, debited, and only then released.

use std::collections::{BTreeMap, btree_map};
use std::rc::Rc;
use std::sync::Arc;

use mpc_core::frost::{self, Nonces, Package, SigningRequest, Tweak, wire};
use mpc_core::hd::DerivationPath;
use mpc_core::id::{Attempt, KeyId, Purpose, RequestId};
use mpc_core::keys::{KeyShare, PublicKeyPackage};
use mpc_core::lineage::Sharing;
use mpc_core::session::{Effects, Ready as Split, Step, Write, WriteKind};
use mpc_core::transcript::body_digest;
use policy::evaluate::{Approved, Facts, Fraction, Verdict, evaluate};
use policy::intent::SignedIntent;
use policy::ledger::Entry;
use policy::transaction;
use proto::convert::wallet_keys::PackageKeys;
use zeroize::Zeroizing;

use super::{Context, Node, Note, Out, Released, Then, ledger};
use crate::bug::Bug;
use crate::disk::{Change, Table};
use crate::wire::{Body, SignCall};

/// Which call a debit is for.
#[derive(Clone, Copy)]
pub(super) struct Waiting {
    digest: [u8; 32],
    attempt: u32,
}

/// A share that is decided and debited.
pub(super) struct Ready {
    approved: Box<Approved>,
    nonces: Nonces,
    share: Arc<KeyShare>,
    package: Package,
    row: Vec<u8>,
    attempt: u32,
}

/// The request for the first signature that an approved intent needs.
pub(crate) fn signing_request(purpose: Purpose, task: &transaction::Task) -> SigningRequest {
    let tweak = match task.tweak {
        transaction::Tweak::None => Tweak::None,
        transaction::Tweak::TaprootKeyPath => Tweak::TaprootKeyPath { merkle_root: None },
    };
    let path = DerivationPath::new(task.path.clone()).unwrap();
    let request = SigningRequest::new(purpose, task.message.clone(), tweak);
    request.unwrap().with_path(path)
}

/// Names everything that is signed, the commitments included.
fn package_digest(package: &Package) -> [u8; 32] {
    let mut bytes = package.key_id().as_bytes().to_vec();
    bytes.extend(package.epoch().0.to_be_bytes());
    bytes.extend(package.request().message());
    for index in package.signers().keys() {
        bytes.extend(index.get().to_be_bytes());
        bytes.extend(package.commitment(*index).unwrap().encode());
    }
    body_digest(&bytes)
}

impl Node {
    pub(super) fn on_announce(&mut self, intent: &SignedIntent, context: &mut Context<'_>) {
        let (digest, now) = (intent.digest(), self.clock(context));
        if self.memory().seen.contains_key(&digest) {
            return;
        }
        self.memory().seen.insert(digest, now);
        let row = Change::Append(Table::Seen, digest.to_vec(), now.to_be_bytes().to_vec());
        self.submit(vec![row], None, Then::Nothing);
    }

    pub(super) fn on_prepare(
        &mut self,
        key_id: KeyId,
        digest: [u8; 32],
        context: &mut Context<'_>,
    ) {
        let (identity, me) = (Arc::clone(&self.identity), self.memory());
        let Some(key) = me.keys.get_mut(&key_id) else {
            return;
        };
        let Some(share) = key.share.as_ref().filter(|_| !key.unconfirmed) else {
            return;
        };
        if share.public().purpose().needs_pairs() {
            return;
        }
        let made = key
            .pool
            .generate(share, 1, &mut me.nonces)
            .expect("fresh nonces");
        let public = share.public();
        let list = made
            .iter()
            .map(|one| wire::seal_commitment(&identity, public, &me.boot, one))
            .collect();
        context.tell(Body::Commitments {
            key: key_id,
            digest,
            list,
        });
    }

    pub(super) fn on_sign(&mut self, call: &SignCall, context: &mut Context<'_>) {
        if let Err(why) = self.decide(call, context) {
            if matches!(why.as_str(), "need-cert" | "stale") {
                self.stand(call.key, context);
            }
            context.tell(Body::Refused {
                digest: call.intent.digest(),
                attempt: call.attempt,
                is_final: why.starts_with("denied"),
                why,
            });
        }
    }

    fn decide(&mut self, call: &SignCall, context: &mut Context<'_>) -> Result<(), String> {
        let (now, treasury) = (self.clock(context), context.treasury);
        let treasury = treasury.ok_or("no policy")?;
        let (cluster, bug, me) = (Rc::clone(&self.cluster), self.bug, self.id);
        let memory = self.memory();
        let digest = call.intent.digest();
        let key = memory.keys.get_mut(&call.key).ok_or("no such key")?;
        let active = key.lineage.sharing();
        if call.sharing.place() > active.place() {
            return Err("need-cert".to_owned());
        }
        if call.sharing != active && bug != Bug::KeepsOldShare {
            return Err("stale".to_owned());
        }
        let share = key.share.as_ref().ok_or("no share")?;
        if key.unconfirmed {
            return Err("catching up".to_owned());
        }
        let share = Arc::clone(share);
        let public = share.public();
        let params = public.params();
        let facts = Facts {
            now_ms: now,
            first_seen_ms: memory.seen.get(&digest).copied(),
            frozen: false,
            ledger: &memory.ledger.view(digest),
            share_of_limit: Fraction::new(params.threshold().into(), params.parties().into())
                .unwrap(),
        };
        let keys = PackageKeys(public);
        let approvals = &call.approvals;
        let document = match bug {
            Bug::SignsWithoutVerdict => treasury.lax(),
            _ => treasury.installed(),
        };
        let approved = match evaluate(document, &keys, &call.intent, approvals, &facts) {
            Verdict::Approved(approved) => approved,
            Verdict::Denied(denied) => return Err(format!("denied: {}", denied.reasons[0])),
            Verdict::Needs(_) => return Err("denied: approvals are missing".to_owned()),
        };
        let package = open_package(&cluster, public, &approved, &call.commitments)?;
        let name = package_digest(&package);
        let row = ledger::row_key(&digest, &name);
        if memory.released.contains(&row) {
            return Err("released before".to_owned());
        }
        let index = public.index_of(&me).ok_or("not a member")?;
        let own = package.commitment(index).ok_or("not a signer")?;
        let nonces = key.pool.take(&own).ok_or("the nonces are gone")?;
        let entry = Entry {
            at_ms: now,
            raw_digest: *approved.raw_digest(),
            debits: approved.debits().to_vec(),
        };
        let body = ledger::encode(&entry);
        let ready = Ready {
            approved,
            nonces,
            share: Arc::clone(&share),
            package,
            row: row.clone(),
            attempt: call.attempt,
        };
        let mut changes = vec![Change::Append(Table::Ledger, row.clone(), body.clone())];
        if bug != Bug::ForgetsDebits {
            memory.ledger.record(digest, entry);
        }
        memory.released.insert(row);
        if let btree_map::Entry::Vacant(place) = memory.seen.entry(digest) {
            place.insert(now);
            let seen = now.to_be_bytes().to_vec();
            changes.push(Change::Append(Table::Seen, digest.to_vec(), seen));
        }
        let write = Write::new(WriteKind::Entry, Zeroizing::new(body));
        let effects = Effects {
            send: Vec::new(),
            output: Some(ready),
        };
        if let Split::AfterWrite(write, held) = Step::after(write, effects).split() {
            let waiting = Waiting {
                digest,
                attempt: call.attempt,
            };
            if bug == Bug::SignsBeforeSync {
                let effects = held.release(write.stored()).expect("its own receipt");
                self.submit(changes, None, Then::Nothing);
                self.on_debited(waiting, Ok(effects), context);
            } else {
                let then = Then::Release(waiting, Box::new(held));
                self.submit(changes, Some(write), then);
            }
        }
        Ok(())
    }

    /// The debit is durable: the share may leave.
    pub(super) fn on_debited(
        &mut self,
        waiting: Waiting,
        outcome: Result<Effects<Ready>, String>,
        context: &mut Context<'_>,
    ) {
        let Waiting { digest, attempt } = waiting;
        let result = outcome.and_then(|effects| {
            let ready = effects.output.ok_or("nothing to release")?;
            self.release(ready, context)
        });
        context.tell(match result {
            Ok(envelope) => Body::Share {
                digest,
                attempt,
                envelope,
            },
            Err(why) => Body::Refused {
                digest,
                attempt,
                is_final: false,
                why,
            },
        });
    }

    fn release(&mut self, ready: Ready, context: &mut Context<'_>) -> Result<Vec<u8>, String> {
        let approved = ready.approved;
        let bug = self.bug;
        let key = self.memory().keys.get(&ready.package.key_id());
        let is_active =
            key.is_some_and(|key| key.lineage.sharing() == Sharing::of(ready.share.public()));
        if !is_active && bug != Bug::KeepsOldShare {
            return Err("another sharing is active meanwhile".to_owned());
        }
        if approved.intent().expires_ms <= self.clock(context) {
            return Err("expired meanwhile".to_owned());
        }
        let package = &ready.package;
        let index = ready.share.index();
        let note = Released {
            key: package.key_id(),
            digest: *approved.digest(),
            row: ready.row,
            package: package_digest(package),
            commitment: package.commitment(index).unwrap().encode(),
            signers: package.signers().values().copied().collect(),
            epoch: package.epoch().0,
            attempt: ready.share.public().attempt().0,
            threshold: ready.share.public().params().threshold().into(),
            parties: ready.share.public().params().parties().into(),
        };
        let share = frost::sign(ready.nonces, &ready.share, package);
        let share = share.map_err(|error| error.to_string())?;
        context.out.push(Out::Note(Note::Released(note)));
        let request = RequestId::from_bytes(*approved.digest());
        wire::seal_share(
            &self.identity,
            package,
            request,
            Attempt(ready.attempt),
            &share,
        )
        .map_err(|error| error.to_string())
    }
}

fn open_package(
    cluster: &crate::cluster::Cluster,
    public: &PublicKeyPackage,
    approved: &Approved,
    envelopes: &[Vec<u8>],
) -> Result<Package, String> {
    let roster = cluster.roster_of(public);
    let mut commitments = BTreeMap::new();
    for bytes in envelopes {
        let opened = wire::open_commitment(&roster, public, bytes);
        let opened = opened.map_err(|error| error.to_string())?;
        commitments.insert(opened.index, opened.commitment);
    }
    let request = signing_request(public.purpose(), &approved.tasks()[0]);
    Package::new(public, commitments, &request).map_err(|error| error.to_string())
}
