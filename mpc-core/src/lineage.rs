//! The sharings of one key as one node knows them, and the rules by which it moves from one to the next.
//!
//! A pure state machine without secrets: a node stores it whole, and changes it in the same durable write as the shares it speaks of.
//! (Protocol notes, section 12.2; the numbers below are those of its rules.)
//!
//! * A sharing counts with its certificate, and the highest certified one is the active one (3, 6). Nodes only ever move upward.
//! * A node signs at most one sharing for one epoch and attempt, and none for an epoch of which it holds a certificate (5).
//! * A share may be erased only when the certificate of a higher sharing is durable (4): that is what [`Learned::Activated`] lists.
//!   Nothing else ever says that a share may be erased.
//! * A chain of certificates starts at a sharing that this node has held or verified, and leaves its history at most one epoch below
//!   the active one (3). Holders of old shares may have been compromised since, so an older fork is refused. To the history belong the
//!   certified attempts beside the active one: others may have gone on from there before they saw the higher attempt.
//!
//! ```text
//! u8 1 | u32be length, base package | u32 count | as many certificates, each with u32be length: the chain
//!      | u16 count | as before: certificates beside it
//!      | u16 count | count times (u32 epoch, u32 attempt, id 32), held | u16 count | as before, signed
//! ```

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use crate::codec::{DecodeError, Problem, Reader, Writer};
use crate::dkg::round3;
use crate::id::{Attempt, Epoch, KeyId, NodeId, SharingId};
use crate::keys::PublicKeyPackage;
use crate::reshare::{Certificate, MAX_CERTIFICATE, Request};

const VERSION: u8 = 1;
const MAX_PACKAGE: usize = 1 << 16;

/// How many certificates beside the chain are kept. Each is of another attempt that all its members and dealers have signed.
const MAX_BESIDE: usize = 32;

/// Names a sharing, ordered by epoch, then by attempt: the higher of two replaces the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sharing {
    /// How often the shares had been replaced before.
    pub epoch: Epoch,
    /// Which try of that epoch it is.
    pub attempt: Attempt,
    /// Its transcript.
    pub id: SharingId,
}

impl Sharing {
    /// That of a public record.
    #[must_use]
    pub const fn of(package: &PublicKeyPackage) -> Self {
        Self {
            epoch: package.epoch(),
            attempt: package.attempt(),
            id: package.sharing(),
        }
    }

    /// Its place in the order of sharings; two different sharings must never both be certified for one place.
    #[must_use]
    pub const fn place(&self) -> (Epoch, Attempt) {
        (self.epoch, self.attempt)
    }
}

impl fmt::Display for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} ({})", self.epoch.0, self.attempt.0, self.id)
    }
}

/// Why a node refuses a request or a certificate. Nothing changes with a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It is about another key.
    #[error("it is about another key")]
    OtherKey,
    /// The epoch asked for has a certified sharing already. Show the certificate to whoever asks, and ask for the epoch after it.
    #[error("the epoch has the certified sharing {certified} already")]
    Passed {
        /// The active sharing.
        certified: Sharing,
    },
    /// This node has signed this attempt, or a higher one, already. Ask for a higher attempt.
    #[error("attempt {} of epoch {} is used up, ask for a higher one", attempt.0, epoch.0)]
    AttemptUsed {
        /// The epoch.
        epoch: Epoch,
        /// The highest attempt that this node has signed.
        attempt: Attempt,
    },
    /// It continues a sharing that this node does not know. Show it the certificates in between, lowest first.
    #[error(
        "it continues a sharing that is not known here, certificates after {active} are missing"
    )]
    Gap {
        /// The highest sharing known here.
        active: Sharing,
    },
    /// It leaves the history of this node more than one epoch below the active sharing. An operator has to look: old holders may have
    /// been compromised.
    #[error("it forks off from the history of the key below {active}")]
    Fork {
        /// The active sharing.
        active: Sharing,
    },
    /// Two sharings are certified for one place: more holders than the protocol can bear have broken it. Stop using the key, keep both
    /// certificates as evidence.
    #[error("two sharings are certified for one place: {one} and {other}")]
    Conflict {
        /// The one that is active here.
        one: Sharing,
        /// The one that was shown.
        other: Sharing,
    },
    /// This node is to deal and holds no share of the active sharing.
    #[error("this node holds no share of {active} to deal")]
    ShareLost {
        /// The active sharing.
        active: Sharing,
    },
    /// The chain does not start at the making of the key.
    #[error("the chain does not start where the key was made")]
    NoOrigin,
}

/// What a certificate changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Learned {
    /// Nothing: it is in the history of the active sharing.
    Known,
    /// Nothing: a higher sharing is active. Show whoever sent it the certificate of that one.
    Behind,
    /// The active sharing stays, but this is a lower attempt of its epoch that others may have gone on from: store the lineage, and show
    /// whoever sent it the certificate of the active one.
    Noted,
    /// The sharing that it certifies is active from now on.
    Activated(Activation),
}

/// A change of the active sharing. Take it into effect after the new state of the lineage is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activation {
    /// The sharing that is active now.
    pub now: Sharing,
    /// The sharings whose shares are to be erased here.
    pub erase: Vec<Sharing>,
    /// Whether this node is a member of the new committee.
    pub member: bool,
    /// Whether it is a member and does not have its share: it must not sign, and has to be replaced.
    pub share_lost: bool,
}

/// The sharings of one key at one node. Valid by construction: every certificate continues the sharing before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage {
    base: PublicKeyPackage,
    /// From the first sharing to the active one.
    chain: Vec<Certificate>,
    /// Certified attempts of the active epoch and the one before that are not on the chain, lowest first.
    beside: BTreeMap<Sharing, Certificate>,
    active: PublicKeyPackage,
    /// The names of all sharings on the chain.
    history: BTreeSet<Sharing>,
    /// Sharings, certified or not, that this node has a share of.
    held: BTreeSet<Sharing>,
    /// What this node has signed for each place.
    signed: BTreeMap<(Epoch, Attempt), SharingId>,
}

impl Lineage {
    /// The lineage of a new key. `holds` says whether this node has a share of it.
    #[must_use]
    pub fn new(base: PublicKeyPackage, holds: bool) -> Self {
        let origin = Sharing::of(&base);
        Self {
            active: base.clone(),
            base,
            chain: Vec::new(),
            beside: BTreeMap::new(),
            history: BTreeSet::from([origin]),
            held: holds.then_some(origin).into_iter().collect(),
            signed: BTreeMap::new(),
        }
    }

    /// The lineage of an existing key at a node that never had a share of it: what it is shown before it becomes a member. The chain
    /// proves that nothing was slipped in between; that the key is the right one, the operators of this node say.
    ///
    /// # Errors
    /// [`Refusal::NoOrigin`], or as [`Self::learn`].
    pub fn adopt(
        base: PublicKeyPackage,
        chain: impl IntoIterator<Item = Certificate>,
        me: &NodeId,
    ) -> Result<Self, Refusal> {
        let origin = Sharing::of(&base);
        if origin.place() != (Epoch(0), Attempt(0))
            || base.key_id() != round3::key_id(origin.id.as_bytes())
        {
            return Err(Refusal::NoOrigin);
        }
        let mut lineage = Self::new(base, false);
        for certificate in chain {
            lineage.learn(certificate, me)?;
        }
        Ok(lineage)
    }

    /// The key.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.base.key_id()
    }

    /// The record of the first sharing.
    #[must_use]
    pub const fn base(&self) -> &PublicKeyPackage {
        &self.base
    }

    /// The certificates from the first sharing to the active one: what a node that is behind, or a new member, has to be shown.
    #[must_use]
    pub fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    /// The certificate of a sharing that is on the chain or beside it.
    #[must_use]
    pub fn certificate_of(&self, sharing: &Sharing) -> Option<&Certificate> {
        let mut chain = self.chain.iter();
        chain
            .find(|certificate| certificate.sharing() == *sharing)
            .or_else(|| self.beside.get(sharing))
    }

    /// The active sharing: the only one that may be used.
    #[must_use]
    pub const fn active(&self) -> &PublicKeyPackage {
        &self.active
    }

    /// The name of the active sharing.
    #[must_use]
    pub const fn sharing(&self) -> Sharing {
        Sharing::of(&self.active)
    }

    /// Whether this node has a share of the active sharing. If not, it never signs.
    #[must_use]
    pub fn holds_active(&self) -> bool {
        self.held.contains(&self.sharing())
    }

    /// All sharings, certified or not, that this node has a share of.
    #[must_use]
    pub const fn held(&self) -> &BTreeSet<Sharing> {
        &self.held
    }

    /// Whether this node may enter a reshare. Look before the session starts, and again with [`Self::prepare`] before it signs.
    ///
    /// # Errors
    /// The [`Refusal`] that says what to do instead.
    pub fn admit(&self, request: &Request, me: &NodeId) -> Result<(), Refusal> {
        let active = self.sharing();
        if request.key_id() != self.key_id() {
            return Err(Refusal::OtherKey);
        }
        if *request.active() != self.active {
            let known = self.history.contains(&Sharing::of(request.active()));
            return Err(if known {
                Refusal::Passed { certified: active }
            } else {
                Refusal::Gap { active }
            });
        }
        let mine = |(epoch, _): &&(Epoch, Attempt)| *epoch == request.epoch();
        let highest = self.signed.keys().filter(mine).max().copied();
        if let Some((epoch, attempt)) = highest
            && attempt >= request.attempt()
        {
            return Err(Refusal::AttemptUsed { epoch, attempt });
        }
        if request.is_dealer(me) && !self.holds_active() {
            return Err(Refusal::ShareLost { active });
        }
        Ok(())
    }

    /// Notes that this node is about to sign `sharing`, and whether it has a share of it. Store the result together with the share,
    /// before the signature leaves.
    ///
    /// # Errors
    /// As [`Self::admit`]; [`Refusal::OtherKey`] also for a sharing that the request is not about.
    pub fn prepare(
        &mut self,
        sharing: Sharing,
        request: &Request,
        me: &NodeId,
        holds: bool,
    ) -> Result<(), Refusal> {
        if sharing.place() != (request.epoch(), request.attempt()) {
            return Err(Refusal::OtherKey);
        }
        self.admit(request, me)?;
        self.signed.insert(sharing.place(), sharing.id);
        if holds {
            self.held.insert(sharing);
        }
        Ok(())
    }

    /// Takes a certificate from anybody.
    ///
    /// # Errors
    /// [`Refusal::OtherKey`], [`Refusal::Gap`], [`Refusal::Fork`] or [`Refusal::Conflict`].
    pub fn learn(&mut self, certificate: Certificate, me: &NodeId) -> Result<Learned, Refusal> {
        let (now, active) = (certificate.sharing(), self.sharing());
        if certificate.request().key_id() != self.key_id() {
            return Err(Refusal::OtherKey);
        }
        if self.history.contains(&now) || self.beside.contains_key(&now) {
            return Ok(Learned::Known);
        }
        if now.epoch < active.epoch {
            return Ok(Learned::Behind);
        }
        // Nothing is said of a certificate that does not continue a record known here: anybody can make one.
        let Some(way) = self.way_to(&certificate) else {
            let parent = certificate.request().active();
            return match self.knows(parent) {
                true => Err(Refusal::Fork { active }),
                false if now.place() < active.place() => Ok(Learned::Behind),
                false => Err(Refusal::Gap { active }),
            };
        };
        let mut known = self.history.iter().chain(self.beside.keys());
        if let Some(one) = known.find(|one| one.place() == now.place()) {
            let (one, other) = (*one, now);
            return Err(Refusal::Conflict { one, other });
        }
        if now.place() < active.place() {
            self.note(certificate);
            return Ok(Learned::Noted);
        }
        let member = certificate.request().is_member(me);
        self.go(way, certificate);
        let erase: Vec<Sharing> = {
            let lower = |sharing: &&Sharing| sharing.place() < now.place();
            self.held.iter().filter(lower).copied().collect()
        };
        self.held.retain(|sharing| sharing.place() >= now.place());
        self.signed.retain(|place, _| *place > now.place());
        Ok(Learned::Activated(Activation {
            now,
            erase,
            member,
            share_lost: member && !self.held.contains(&now),
        }))
    }

    /// Whether this is the record of a sharing of the history, or of one beside it.
    fn knows(&self, package: &PublicKeyPackage) -> bool {
        let beside = self.beside.get(&Sharing::of(package));
        beside.is_some_and(|certificate| certificate.verify_new(package))
            || self.place_on_chain(package).is_some_and(|(_, same)| same)
    }

    /// How to get to the sharing that a certificate continues: how much of the chain, and the certificate beside it that follows, if any.
    /// `None` if that sharing is not known, or the way leaves the chain more than one epoch below the active sharing.
    fn way_to(&self, certificate: &Certificate) -> Option<(usize, Option<Sharing>)> {
        let parent = certificate.request().active();
        let (name, active) = (Sharing::of(parent), self.active.epoch());
        if let Some(beside) = self.beside.get(&name) {
            let (length, same) = self.place_on_chain(beside.request().active())?;
            let whole = same && name.epoch == active && beside.verify_new(parent);
            return whole.then_some((length, Some(name)));
        }
        let (length, same) = self.place_on_chain(parent)?;
        let near = name.epoch.0.saturating_add(1) >= active.0;
        (same && near).then_some((length, None))
    }

    /// How many certificates of the chain lead to this sharing, and whether the record is the one known here.
    fn place_on_chain(&self, package: &PublicKeyPackage) -> Option<(usize, bool)> {
        let name = Sharing::of(package);
        if name == Sharing::of(&self.base) {
            return Some((0, *package == self.base));
        }
        let mut chain = (1_usize..).zip(&self.chain);
        let found = chain.find(|(_, certificate)| certificate.sharing() == name);
        found.map(|(length, certificate)| (length, certificate.verify_new(package)))
    }

    /// Makes the sharing of `certificate` the active one.
    fn go(&mut self, (length, over): (usize, Option<Sharing>), certificate: Certificate) {
        let left: Vec<Certificate> = self.chain.drain(length..).collect();
        if let Some(over) = over.and_then(|over| self.beside.remove(&over)) {
            self.chain.push(over);
        }
        for certificate in left {
            self.history.remove(&certificate.sharing());
            self.note(certificate);
        }
        self.active = certificate.package().clone();
        self.chain.push(certificate);
        self.history = self.chain.iter().map(Certificate::sharing).collect();
        self.history.insert(Sharing::of(&self.base));
        // Only attempts of the active epoch can still lead anywhere; those of the one before tell a fork from a gap.
        let least = self.active.epoch().0.saturating_sub(1);
        self.beside.retain(|sharing, _| sharing.epoch.0 >= least);
    }

    /// Keeps a certificate beside the chain.
    fn note(&mut self, certificate: Certificate) {
        self.beside.insert(certificate.sharing(), certificate);
        while self.beside.len() > MAX_BESIDE {
            self.beside.pop_first();
        }
    }

    /// Forgets the certificates beside the chain, which [`Self::adopt`] cannot check: for a lineage that was stored where others may have
    /// written. Whoever went on from one of them shows it again.
    pub fn keep_chain(&mut self) {
        self.beside.clear();
    }

    /// Notes that the share of a sharing is gone: the disk was lost, or an operator had it erased.
    pub fn lose(&mut self, sharing: &Sharing) {
        self.held.remove(sharing);
    }

    /// The one encoding of this lineage.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        fn count(items: usize) -> u16 {
            u16::try_from(items).unwrap_or(u16::MAX)
        }
        let mut out = Writer::default();
        out.u8(VERSION).var(&self.base.encode());
        out.u32(u32::try_from(self.chain.len()).unwrap_or(u32::MAX));
        for certificate in &self.chain {
            out.var(&certificate.encode());
        }
        out.u16(count(self.beside.len()));
        for certificate in self.beside.values() {
            out.var(&certificate.encode());
        }
        out.u16(count(self.held.len()));
        for sharing in &self.held {
            write_sharing(&mut out, sharing);
        }
        out.u16(count(self.signed.len()));
        for ((epoch, attempt), id) in &self.signed {
            let (epoch, attempt, id) = (*epoch, *attempt, *id);
            write_sharing(&mut out, &Sharing { epoch, attempt, id });
        }
        out.finish()
    }

    /// Decodes a lineage that this node has stored. It must come from a place that nobody else can write to: the signatures of its
    /// certificates were checked when they were learned, and are not checked again. What they say is.
    ///
    /// # Errors
    /// The first field that is wrong; `chain` for certificates that do not continue each other.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.u8("version")? != VERSION {
            return Err(DecodeError::new("version", Problem::Unknown));
        }
        let base = PublicKeyPackage::decode(reader.var("package", MAX_PACKAGE)?)?;
        let mut lineage = Self::new(base, false);
        for _ in 0..reader.u32("certificates")? {
            let certificate = Certificate::stored(reader.var("certificate", MAX_CERTIFICATE)?)?;
            let higher = certificate.sharing().epoch > lineage.sharing().epoch;
            match lineage.way_to(&certificate) {
                Some(way) if higher => lineage.go(way, certificate),
                _ => return Err(DecodeError::new("chain", Problem::Unknown)),
            }
        }
        for _ in 0..reader.u16("beside")? {
            let certificate = Certificate::stored(reader.var("certificate", MAX_CERTIFICATE)?)?;
            lineage.read_beside(certificate)?;
        }
        for sharing in read_sharings("held", &mut reader)? {
            lineage.held.insert(sharing);
        }
        for sharing in read_sharings("signed", &mut reader)? {
            // What a node has signed twice for one place it would never have stored.
            if lineage.signed.insert(sharing.place(), sharing.id).is_some() {
                return Err(DecodeError::new("signed", Problem::NotCanonical));
            }
        }
        reader.finish("lineage")?;
        Ok(lineage)
    }

    /// Takes one of the certificates beside the chain, which come in ascending order.
    fn read_beside(&mut self, certificate: Certificate) -> Result<(), DecodeError> {
        let sharing = certificate.sharing();
        let ascending = self
            .beside
            .last_key_value()
            .is_none_or(|(last, _)| *last < sharing);
        let least = self.active.epoch().0.saturating_sub(1);
        let belongs = certificate.request().key_id() == self.key_id()
            && sharing.epoch.0 >= least
            && !self.history.contains(&sharing)
            && self.beside.len() < MAX_BESIDE;
        if !ascending || !belongs {
            return Err(DecodeError::new("beside", Problem::NotCanonical));
        }
        self.beside.insert(sharing, certificate);
        Ok(())
    }
}

fn write_sharing(out: &mut Writer, sharing: &Sharing) {
    out.u32(sharing.epoch.0)
        .u32(sharing.attempt.0)
        .bytes(sharing.id.as_bytes());
}

/// A list in strictly ascending order.
fn read_sharings(
    field: &'static str,
    reader: &mut Reader<'_>,
) -> Result<Vec<Sharing>, DecodeError> {
    let mut sharings: Vec<Sharing> = Vec::new();
    for _ in 0..reader.u16(field)? {
        let sharing = Sharing {
            epoch: Epoch(reader.u32(field)?),
            attempt: Attempt(reader.u32(field)?),
            id: SharingId::from_bytes(reader.array(field)?),
        };
        if sharings.last().is_some_and(|last| *last >= sharing) {
            return Err(DecodeError::new(field, Problem::NotCanonical));
        }
        sharings.push(sharing);
    }
    Ok(sharings)
}
