//! Robust signing: a signature in spite of silent and lying signers, as long as `threshold` honest ones answer.
//!
//! ROAST (Ruffing and others, ePrint 2022/550; protocol notes, section 9.3). The coordinator asks `threshold` ready signers at a
//! time. Every share is verified on arrival. A signer that lies is never asked again; one that stays silent is not asked again
//! before it has answered. Whoever answered is ready for the next attempt with another commitment.
//!
//! The machine is pure: commitments, shares and the passing of deadlines go in, [`Action`]s come out. It holds no secrets and is
//! trusted for liveness only.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::aggregate::{Signature, aggregate, verify_share};
use super::commitment::Commitment;
use super::package::Package;
use super::request::SigningRequest;
use super::sign::SignatureShare;
use crate::id::{Attempt, NodeId, PartyIndex};
use crate::keys::PublicKeyPackage;
use crate::{Abort, Error, Fault, Misuse, Rejection, Strength};

/// How many unused commitments of one signer are kept.
const MAX_SPARE: usize = 16;

/// What the caller has to do.
#[derive(Debug)]
pub enum Action {
    /// Send this package to its signers and await their shares for this attempt.
    Ask {
        /// Names the attempt in [`Coordinator::on_share`], counted from 0.
        attempt: Attempt,
        /// Whom to ask, with what.
        package: Box<Package>,
    },
    /// The signature is complete and verified. Nothing more will come.
    Done(Signature),
    /// This signer sent a share that does not verify and will not be asked again. Where the share came in an envelope, make
    /// evidence of it with [`super::wire::convict`].
    Exclude {
        /// The signer.
        index: PartyIndex,
        /// Its node.
        node: NodeId,
        /// The attempt whose share was wrong.
        attempt: Attempt,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Good,
    Lied,
    Silent,
}

#[derive(Debug)]
struct Signer {
    standing: Standing,
    /// The attempt that this signer owes a share to.
    owes: Option<Attempt>,
    spare: VecDeque<Commitment>,
}

impl Signer {
    fn is_ready(&self) -> bool {
        self.standing == Standing::Good && self.owes.is_none() && !self.spare.is_empty()
    }
}

#[derive(Debug)]
struct Open {
    package: Package,
    shares: BTreeMap<PartyIndex, SignatureShare>,
    /// A member lied: the attempt cannot succeed, but its members can still answer and become ready.
    dead: bool,
}

/// The coordinator of one robust signature. For the same request it runs at most `parties - threshold + 1` attempts.
#[derive(Debug)]
pub struct Coordinator {
    public: PublicKeyPackage,
    request: SigningRequest,
    signers: BTreeMap<PartyIndex, Signer>,
    attempts: BTreeMap<Attempt, Open>,
    /// Every commitment ever taken, so that none is used twice, whoever sends it again.
    taken: BTreeSet<Vec<u8>>,
    done: bool,
}

impl Coordinator {
    /// Starts with no commitments and nobody asked.
    ///
    /// # Errors
    /// [`Misuse::WrongPurpose`] if the key is not for what the request is for.
    pub fn new(public: PublicKeyPackage, request: SigningRequest) -> Result<Self, Misuse> {
        request.check_purpose(&public)?;
        let signer = |index: &PartyIndex| {
            (
                *index,
                Signer {
                    standing: Standing::Good,
                    owes: None,
                    spare: VecDeque::new(),
                },
            )
        };
        let signers = public.nodes().keys().map(signer).collect();
        Ok(Self {
            public,
            request,
            signers,
            attempts: BTreeMap::new(),
            taken: BTreeSet::new(),
            done: false,
        })
    }

    /// Takes a fresh commitment of `index`, from its pool or sent with a share. A signer that was only silent so far is asked again.
    ///
    /// # Errors
    /// [`Rejection::Finished`] after the end, [`Rejection::UnknownSender`] for an index that the key does not have,
    /// [`Rejection::Replayed`] for a commitment that was here before, [`Rejection::BufferFull`] if it has many unused ones.
    pub fn on_commitment(
        &mut self,
        index: PartyIndex,
        commitment: Commitment,
    ) -> Result<Vec<Action>, Error> {
        let signer = self.signer(index)?;
        if signer.spare.len() >= MAX_SPARE {
            return Err(Rejection::BufferFull.into());
        }
        if !self.taken.insert(commitment.encode()) {
            return Err(Rejection::Replayed.into());
        }
        let signer = self.signer(index)?;
        signer.spare.push_back(commitment);
        if signer.standing == Standing::Silent && signer.owes.is_none() {
            signer.standing = Standing::Good;
        }
        self.ask()
    }

    /// Takes the share of `index` for an attempt. Valid shares count even if the signer had been given up.
    ///
    /// # Errors
    /// [`Rejection::Finished`] after the end, [`Rejection::UnknownSender`] for an index that the key does not have,
    /// [`Rejection::WrongSession`] if this signer owes no share to this attempt: late, repeated, or never asked.
    /// [`Error::Aborted`] naming everybody who lied, if too few are left.
    pub fn on_share(
        &mut self,
        index: PartyIndex,
        attempt: Attempt,
        share: SignatureShare,
    ) -> Result<Vec<Action>, Error> {
        let signer = self.signer(index)?;
        if signer.owes != Some(attempt) {
            return Err(Rejection::WrongSession.into());
        }
        signer.owes = None;
        let open = self
            .attempts
            .get_mut(&attempt)
            .ok_or(Error::Unreachable("an owed attempt is not open"))?;
        if verify_share(&open.package, index, &share).is_err() {
            open.dead = true;
            return self.exclude(index, attempt);
        }
        open.shares.insert(index, share);
        if !open.dead && open.shares.len() == open.package.signers().len() {
            let signature = aggregate(&open.package, &open.shares)?;
            self.done = true;
            return Ok(vec![Action::Done(signature)]);
        }
        self.signer(index)?.standing = Standing::Good;
        self.ask()
    }

    /// Notes that `index` let a deadline pass. It is not asked again before it has answered; its share still counts if it comes.
    ///
    /// # Errors
    /// [`Rejection::Finished`] after the end, [`Rejection::UnknownSender`] for an index that the key does not have.
    /// [`Error::TimedOut`] if fewer than `threshold` signers are neither silent nor liars; the coordinator goes on when one of
    /// them answers.
    pub fn on_silence(&mut self, index: PartyIndex) -> Result<Vec<Action>, Error> {
        let signer = self.signer(index)?;
        if signer.standing == Standing::Good {
            signer.standing = Standing::Silent;
        }
        let actions = self.ask()?;
        if actions.is_empty() && self.count(Standing::Good) < self.threshold() {
            return Err(Error::TimedOut {
                missing: self.nodes(Standing::Silent),
            });
        }
        Ok(actions)
    }

    /// The signers that owe a share.
    #[must_use]
    pub fn waiting_for(&self) -> BTreeSet<NodeId> {
        let owing = self
            .signers
            .iter()
            .filter(|(_, signer)| signer.owes.is_some());
        owing
            .filter_map(|(index, _)| self.public.node(*index))
            .collect()
    }

    /// How many attempts were begun.
    #[must_use]
    pub fn attempts(&self) -> usize {
        self.attempts.len()
    }

    fn signer(&mut self, index: PartyIndex) -> Result<&mut Signer, Rejection> {
        if self.done {
            return Err(Rejection::Finished);
        }
        self.signers.get_mut(&index).ok_or(Rejection::UnknownSender)
    }

    fn threshold(&self) -> usize {
        usize::from(self.public.params().threshold())
    }

    fn count(&self, standing: Standing) -> usize {
        self.signers
            .values()
            .filter(|signer| signer.standing == standing)
            .count()
    }

    fn nodes(&self, standing: Standing) -> BTreeSet<NodeId> {
        let indices = self
            .signers
            .iter()
            .filter(|(_, signer)| signer.standing == standing);
        indices
            .filter_map(|(index, _)| self.public.node(*index))
            .collect()
    }

    fn exclude(&mut self, index: PartyIndex, attempt: Attempt) -> Result<Vec<Action>, Error> {
        let node = self
            .public
            .node(index)
            .ok_or(Error::Unreachable("a signer without a node"))?;
        self.signer(index)?.standing = Standing::Lied;
        let left = self
            .signers
            .len()
            .saturating_sub(self.count(Standing::Lied));
        if left < self.threshold() {
            self.done = true;
            let culprits = self
                .nodes(Standing::Lied)
                .into_iter()
                .map(|node| (node, Strength::Local))
                .collect();
            return Err(Abort {
                fault: Fault::InvalidSignatureShare,
                culprits,
                evidence: None,
            }
            .into());
        }
        let mut actions = vec![Action::Exclude {
            index,
            node,
            attempt,
        }];
        actions.extend(self.ask()?);
        Ok(actions)
    }

    /// Whether everybody who has not answered this attempt may still be expected to.
    fn is_hopeful(&self, attempt: Attempt, open: &Open) -> bool {
        let owing = self
            .signers
            .values()
            .filter(|signer| signer.owes == Some(attempt));
        !open.dead
            && owing
                .into_iter()
                .all(|signer| signer.standing == Standing::Good)
    }

    /// Begins another attempt if none has hope and enough signers are ready.
    ///
    /// Every attempt without hope holds a signer of its own: a liar, or a silent one that owes it a share. So when `threshold`
    /// others are ready, there are at most `parties - threshold` such attempts.
    fn ask(&mut self) -> Result<Vec<Action>, Error> {
        if self
            .attempts
            .iter()
            .any(|(attempt, open)| self.is_hopeful(*attempt, open))
        {
            return Ok(Vec::new());
        }
        let ready = self
            .signers
            .iter_mut()
            .filter(|(_, signer)| signer.is_ready());
        let chosen: Vec<_> = ready
            .take(usize::from(self.public.params().threshold()))
            .collect();
        if chosen.len() < usize::from(self.public.params().threshold()) {
            return Ok(Vec::new());
        }
        let number = u32::try_from(self.attempts.len())
            .map_err(|_| Error::Unreachable("too many attempts"))?;
        let attempt = Attempt(number);
        let mut commitments = BTreeMap::new();
        for (index, signer) in chosen {
            if let Some(commitment) = signer.spare.pop_front() {
                commitments.insert(*index, commitment);
            }
        }
        // Nobody owes a share to a package that cannot be built.
        let package = Package::new(&self.public, commitments, &self.request)?;
        for index in package.signers().keys() {
            if let Some(signer) = self.signers.get_mut(index) {
                signer.owes = Some(attempt);
            }
        }
        self.attempts.insert(
            attempt,
            Open {
                package: package.clone(),
                shares: BTreeMap::new(),
                dead: false,
            },
        );
        Ok(vec![Action::Ask {
            attempt,
            package: Box::new(package),
        }])
    }
}
