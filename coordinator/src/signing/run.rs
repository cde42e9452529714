//! One run: the robust coordinator of one request, fed from the pools and the links.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use mpc_core::{
    Error, Misuse,
    frost::{
        Package, SigningRequest, Tweak,
        robust::{Action, Coordinator},
        wire,
    },
    hd::DerivationPath,
    id::{Attempt, PartyIndex, Purpose},
};
use policy::transaction::{self, Task};
use prost::bytes::Bytes;
use proto::{
    convert::reshare::{sharing_of, sharing_to_wire},
    v1::{self, Failure, FailureCode, coordinator_frame, node_frame},
};

use super::{
    Job, LATE_MS, NoSignature, Signing, TaskOutcome, TaskSigned, pools::Ready, tally::Tally,
};
use crate::{
    clock,
    links::{CallError, Link},
};

/// Commitments fetched for one signature when a pool is empty; the background fills the pool up.
const ON_DEMAND: usize = 2;

/// What a run waits for.
enum Heard {
    /// A node answered, or did not.
    Answer {
        index: u16,
        attempt: Attempt,
        result: Box<Result<node_frame::Body, CallError>>,
    },
    /// An attempt has taken longer than it should.
    Late { attempt: Attempt },
    /// A node without a stock was asked for commitments.
    Stocked {
        index: u16,
        result: Result<(), CallError>,
    },
}

struct Asked {
    package: Package,
    signers: Vec<u16>,
}

/// How a node stands in this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Not asked yet.
    Spare,
    /// Its commitment is with the robust coordinator, or on its way.
    Offered,
    /// It was asked for a share and has not answered.
    Owing,
    /// It has given a good share and may be asked again.
    Answered,
    /// It refused, lied or stayed silent.
    Out,
}

pub(super) struct Run<'a> {
    signing: &'a Arc<Signing>,
    job: &'a Job,
    number: u32,
    task: &'a Task,
    base: u32,
    start: Instant,
    links: BTreeMap<u16, Arc<Link>>,
    order: Vec<u16>,
    standing: BTreeMap<u16, Standing>,
    offered: BTreeMap<Vec<u8>, (u16, Ready)>,
    asked: BTreeMap<Attempt, Asked>,
    shares: BTreeMap<(Attempt, u16), Bytes>,
    next: Vec<(u16, Vec<Bytes>)>,
    heard: FuturesUnordered<BoxFuture<'static, Heard>>,
    /// Answers and stocks that are still to come; late marks are not among them.
    open: usize,
    tally: Tally,
    timings_us: BTreeMap<String, u64>,
    done: Option<[u8; 64]>,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        signing: &'a Arc<Signing>,
        job: &'a Job,
        number: u32,
        task: &'a Task,
        base: u32,
    ) -> Self {
        // From here on nodes go by their index in the key.
        let order: Vec<(u16, Arc<Link>)> = signing
            .order(job)
            .into_iter()
            .filter_map(|link| Some((job.key.package.index_of(&link.node())?.get(), link)))
            .collect();
        let links: BTreeMap<_, _> = order
            .iter()
            .map(|(index, link)| (*index, Arc::clone(link)))
            .collect();
        Self {
            signing,
            job,
            number,
            task,
            base,
            start: Instant::now(),
            standing: links
                .keys()
                .map(|index| (*index, Standing::Spare))
                .collect(),
            order: order.iter().map(|(index, _)| *index).collect(),
            links,
            offered: BTreeMap::new(),
            asked: BTreeMap::new(),
            shares: BTreeMap::new(),
            next: Vec::new(),
            heard: FuturesUnordered::new(),
            open: 0,
            tally: Tally::default(),
            timings_us: BTreeMap::new(),
            done: None,
        }
    }

    /// Runs to the end.
    pub(super) async fn finish(mut self) -> TaskOutcome {
        let result = match self.work().await {
            Ok(()) => self.conclude(),
            Err(error) => Err(NoSignature::Never(internal(&error))),
        };
        self.tidy();
        TaskOutcome {
            result,
            culprits: self.tally.culprits,
            alarms: self.tally.alarms,
            unexplained: self.tally.unexplained,
        }
    }

    async fn work(&mut self) -> Result<(), Error> {
        let key = &self.job.key.package;
        let tweak = match self.task.tweak {
            transaction::Tweak::None if key.purpose() == Purpose::Bip340 => Tweak::PlainBip340,
            transaction::Tweak::None => Tweak::None,
            transaction::Tweak::TaprootKeyPath => Tweak::TaprootKeyPath { merkle_root: None },
        };
        let path = DerivationPath::new(self.task.path.as_slice())
            .map_err(|_| Misuse::InvalidRequest("there is no child key at this path"))?;
        let request =
            SigningRequest::new(key.purpose(), self.task.message.clone(), tweak)?.with_path(path);
        let mut robust = Coordinator::new(key.clone(), request)?;
        let threshold = usize::from(key.params().threshold());
        let first: Vec<u16> = self.order.iter().copied().take(threshold).collect();
        for index in first {
            self.offer(&mut robust, index)?;
        }
        while self.done.is_none() && self.open > 0 {
            let Some(heard) = self.heard.next().await else {
                break;
            };
            self.on(&mut robust, heard)?;
        }
        Ok(())
    }

    fn on(&mut self, robust: &mut Coordinator, heard: Heard) -> Result<(), Error> {
        match heard {
            Heard::Stocked { index, result } => {
                self.open = self.open.saturating_sub(1);
                match result {
                    Ok(()) => self.offer_stock(robust, index),
                    Err(error) => self.lose(robust, index, &error),
                }
            }
            Heard::Late { attempt } => self.late(robust, attempt),
            Heard::Answer {
                index,
                attempt,
                result,
            } => {
                self.open = self.open.saturating_sub(1);
                match *result {
                    Ok(node_frame::Body::Share(share)) => self.share(robust, index, attempt, share),
                    Ok(_) => self.lose(robust, index, &CallError::WrongKind),
                    Err(error) => self.lose(robust, index, &error),
                }
            }
        }
    }

    /// Takes a commitment of a node out of its pool, or asks the node for some first.
    fn offer(&mut self, robust: &mut Coordinator, index: u16) -> Result<(), Error> {
        let Some(link) = self.links.get(&index).cloned() else {
            return Ok(());
        };
        self.standing.insert(index, Standing::Offered);
        let ready = self.signing.pools.take(&self.job.key, &link);
        self.signing.refill(&self.job.key, &link);
        if let Some(ready) = ready {
            return self.give(robust, index, ready);
        }
        let (signing, key) = (Arc::clone(self.signing), Arc::clone(&self.job.key));
        self.open = self.open.saturating_add(1);
        self.heard.push(
            async move {
                let result = signing.prepare(&key, &link, ON_DEMAND).await;
                Heard::Stocked { index, result }
            }
            .boxed(),
        );
        Ok(())
    }

    fn offer_stock(&mut self, robust: &mut Coordinator, index: u16) -> Result<(), Error> {
        let ready = self
            .links
            .get(&index)
            .and_then(|link| self.signing.pools.take(&self.job.key, link));
        match ready {
            Some(ready) => self.give(robust, index, ready),
            None => self.lose(robust, index, &CallError::WrongKind),
        }
    }

    fn give(&mut self, robust: &mut Coordinator, index: u16, ready: Ready) -> Result<(), Error> {
        let party = PartyIndex::new(index)?;
        let commitment = ready.commitment;
        self.offered.insert(commitment.encode(), (index, ready));
        let actions = robust.on_commitment(party, commitment);
        self.follow(actions)
    }

    /// Does what the robust coordinator wants. What it refuses changes nothing here: the answer was late or repeated.
    fn follow(&mut self, actions: Result<Vec<Action>, Error>) -> Result<(), Error> {
        let actions = match actions {
            Ok(actions) => actions,
            Err(Error::Rejected(_) | Error::TimedOut { .. } | Error::Aborted(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        for action in actions {
            match action {
                Action::Ask { attempt, package } => self.ask(attempt, *package),
                Action::Done(signature) => self.done = Some(*signature.as_bytes()),
                Action::Exclude { index, attempt, .. } => self.exclude(index.get(), attempt),
            }
        }
        Ok(())
    }

    const fn on_wire(&self, attempt: Attempt) -> Attempt {
        Attempt(self.base.wrapping_add(attempt.0))
    }

    fn ask(&mut self, attempt: Attempt, package: Package) {
        let elapsed_us = clock::micros_since(self.start);
        self.timings_us
            .entry("commitments".into())
            .or_insert(elapsed_us);
        let signers: Vec<u16> = package.signers().keys().map(|index| index.get()).collect();
        let commitments = package
            .signers()
            .keys()
            .filter_map(|index| package.commitment(*index))
            .filter_map(|commitment| self.offered.remove(&commitment.encode()))
            .map(|(_, ready)| ready.envelope)
            .collect();
        let sign = v1::Sign {
            signed_intent: self.job.signed_intent.clone(),
            approvals: self.job.approvals.clone(),
            receipts: self.job.receipts.clone(),
            epoch: self.job.key.package.epoch().0,
            attempt: self.on_wire(attempt).0,
            commitments,
            task: self.number,
            sharing: Some(sharing_to_wire(sharing_of(&self.job.key.package))),
        };
        let deadline = self.signing.config.answer_timeout;
        for index in &signers {
            let Some(link) = self.links.get(index).cloned() else {
                continue;
            };
            self.standing.insert(*index, Standing::Owing);
            let (index, frame) = (*index, coordinator_frame::Body::Sign(sign.clone()));
            self.open = self.open.saturating_add(1);
            self.heard.push(
                async move {
                    let result = Box::new(link.call(frame, deadline).await);
                    Heard::Answer {
                        index,
                        attempt,
                        result,
                    }
                }
                .boxed(),
            );
        }
        let late_after = self.signing.config.late_after;
        self.heard.push(
            async move {
                tokio::time::sleep(late_after).await;
                Heard::Late { attempt }
            }
            .boxed(),
        );
        self.asked.insert(attempt, Asked { package, signers });
    }

    fn share(
        &mut self,
        robust: &mut Coordinator,
        index: u16,
        attempt: Attempt,
        share: v1::Share,
    ) -> Result<(), Error> {
        self.next.push((index, share.next_commitments));
        let Some(asked) = self.asked.get(&attempt) else {
            return Ok(());
        };
        let (request, on_wire) = (self.job.id, self.on_wire(attempt));
        let roster = self.signing.links.roster();
        match wire::open_share(roster, &asked.package, request, on_wire, &share.envelope) {
            Ok((party, value)) if party.get() == index => {
                self.shares.insert((attempt, index), share.envelope);
                self.standing.insert(index, Standing::Answered);
                let before = clock::micros_since(self.start);
                match robust.on_share(party, attempt, value) {
                    // The last liar that there was room for: the robust coordinator has ended.
                    Err(Error::Aborted(_)) => self.exclude(index, attempt),
                    actions => self.follow(actions)?,
                }
                if self.done.is_some() {
                    let after = clock::micros_since(self.start);
                    let asked_us = self
                        .timings_us
                        .get("commitments")
                        .copied()
                        .unwrap_or_default();
                    self.timings_us
                        .insert("shares".into(), before.saturating_sub(asked_us));
                    self.timings_us
                        .insert("aggregate".into(), after.saturating_sub(before));
                    return Ok(());
                }
                if self.standing.get(&index) == Some(&Standing::Out) || !self.is_hopeful() {
                    self.widen(robust)
                } else {
                    Ok(())
                }
            }
            Ok(_) => self.accuse(
                robust,
                index,
                "answered in another node's name".into(),
                Bytes::new(),
            ),
            Err(Error::Aborted(abort)) => {
                let evidence = abort
                    .evidence
                    .map(|evidence| evidence.encode())
                    .unwrap_or_default();
                self.accuse(robust, index, abort.fault.to_string(), evidence.into())
            }
            Err(error) => self.accuse(
                robust,
                index,
                format!("its share cannot be used: {error}"),
                Bytes::new(),
            ),
        }
    }

    /// Whether some attempt may still succeed with the nodes that owe it a share.
    fn is_hopeful(&self) -> bool {
        self.asked.values().any(|asked| {
            asked.signers.iter().all(|index| {
                matches!(
                    self.standing.get(index),
                    Some(Standing::Owing | Standing::Answered)
                )
            })
        })
    }

    fn exclude(&mut self, index: u16, attempt: Attempt) {
        self.standing.insert(index, Standing::Out);
        let convicted = self
            .asked
            .get(&attempt)
            .zip(self.shares.get(&(attempt, index)))
            .map(|(asked, envelope)| {
                let roster = self.signing.links.roster();
                wire::convict(
                    roster,
                    &asked.package,
                    self.job.id,
                    self.on_wire(attempt),
                    envelope,
                )
            });
        let (fault, evidence) = match convicted {
            Some(Ok(abort)) => {
                let evidence = abort
                    .evidence
                    .map(|evidence| evidence.encode())
                    .unwrap_or_default();
                (abort.fault.to_string(), Bytes::from(evidence))
            }
            Some(Err(_)) | None => (
                "its signature share does not verify".to_owned(),
                Bytes::new(),
            ),
        };
        self.caught(index, fault, evidence);
    }

    fn caught(&mut self, index: u16, fault: String, evidence: Bytes) {
        let number = self.number_of(index);
        self.tally.caught(self.signing, number, fault, evidence);
    }

    /// The number in the cluster file of a member of the key.
    fn number_of(&self, index: u16) -> u16 {
        self.links.get(&index).map_or(index, |link| link.index())
    }

    fn accuse(
        &mut self,
        robust: &mut Coordinator,
        index: u16,
        fault: String,
        evidence: Bytes,
    ) -> Result<(), Error> {
        self.caught(index, fault, evidence);
        self.drop_out(robust, index)
    }

    /// A node gave no share: it refused, or could not be reached.
    fn lose(
        &mut self,
        robust: &mut Coordinator,
        index: u16,
        error: &CallError,
    ) -> Result<(), Error> {
        let Some(link) = self.links.get(&index).cloned() else {
            return Ok(());
        };
        if matches!(error, CallError::Refused(failure) if failure.code() == FailureCode::Stale) {
            self.signing.pools.clear(&self.job.key, &link);
        }
        if matches!(error, CallError::Refused(failure) if failure.code() == FailureCode::NeedCertificate)
        {
            self.signing.note_behind(link.index(), &self.job.key);
        }
        let wallet = &self.job.approved.intent().wallet;
        self.tally.lost(self.signing, wallet, &link, error);
        tracing::info!(request = %self.job.id, node = link.index(), %error, "no share from this node");
        self.drop_out(robust, index)
    }

    fn drop_out(&mut self, robust: &mut Coordinator, index: u16) -> Result<(), Error> {
        self.standing.insert(index, Standing::Out);
        let actions = robust.on_silence(PartyIndex::new(index)?);
        self.follow(actions)?;
        self.widen(robust)
    }

    fn late(&mut self, robust: &mut Coordinator, attempt: Attempt) -> Result<(), Error> {
        let Some(asked) = self.asked.get(&attempt) else {
            return Ok(());
        };
        let owing: Vec<u16> = asked
            .signers
            .iter()
            .copied()
            .filter(|index| self.standing.get(index) == Some(&Standing::Owing))
            .collect();
        for index in &owing {
            if let Some(link) = self.links.get(index) {
                link.shun(clock::now_ms().saturating_add(LATE_MS));
            }
            let actions = robust.on_silence(PartyIndex::new(*index)?);
            self.follow(actions)?;
        }
        if owing.is_empty() {
            Ok(())
        } else {
            self.widen(robust)
        }
    }

    /// Offers everybody who is free: those not asked yet, and those who have answered.
    fn widen(&mut self, robust: &mut Coordinator) -> Result<(), Error> {
        if self.done.is_some() {
            return Ok(());
        }
        let free: Vec<u16> = self
            .order
            .iter()
            .copied()
            .filter(|index| {
                matches!(
                    self.standing.get(index),
                    Some(Standing::Spare | Standing::Answered)
                )
            })
            .collect();
        for index in free {
            self.offer(robust, index)?;
        }
        Ok(())
    }

    fn conclude(&mut self) -> Result<TaskSigned, NoSignature> {
        let Some(signature) = self.done else {
            return Err(self.tally.conclude(self.job.key.package.params()));
        };
        let complete = self.asked.iter().rev().find(|(attempt, asked)| {
            asked
                .signers
                .iter()
                .all(|index| self.shares.contains_key(&(**attempt, *index)))
        });
        let signers = complete.map(|(_, asked)| {
            asked
                .signers
                .iter()
                .map(|index| u32::from(self.number_of(*index)))
                .collect()
        });
        Ok(TaskSigned {
            signature: signature.to_vec(),
            signers: signers.unwrap_or_default(),
            timings_us: core::mem::take(&mut self.timings_us),
        })
    }

    /// Returns unused commitments and takes the new ones in, away from the caller's path.
    fn tidy(&mut self) {
        for (index, ready) in core::mem::take(&mut self.offered).into_values() {
            if let Some(link) = self.links.get(&index) {
                self.signing.pools.give_back(&self.job.key, link, ready);
            }
        }
        let next = core::mem::take(&mut self.next);
        for (index, envelopes) in next {
            let Some(link) = self.links.get(&index).cloned() else {
                continue;
            };
            let (signing, key) = (Arc::clone(self.signing), Arc::clone(&self.job.key));
            self.signing.tasks.spawn(async move {
                signing.keep(&key, &link, envelopes).await;
                signing.refill(&key, &link);
            });
        }
    }
}

fn internal(error: &Error) -> Failure {
    Failure::new(FailureCode::Internal, error.to_string())
        .hint("nothing was released; please report it")
}
