//! Key generations and imports as sessions.

use std::collections::BTreeSet;
use std::sync::Arc;

use rand_core::CryptoRng;

use super::ceremony::{Ceremony, Dealing, Formed, Output, Start};
use super::plan::Plan;
use super::{DkgOutput, Setup};
use crate::id::{NodeId, SessionId};
use crate::identity::IdentityKey;
use crate::import::Announcement;
#[cfg(doc)]
use crate::session::WriteKind;
use crate::session::{self, Inbound, Step};
use crate::{Error, Misuse};

/// A key generation or an import of one node that gets a share of the key.
#[derive(Debug)]
pub struct Session(Ceremony);

impl Session {
    /// Starts a key generation. The first step waits for the write of the session's name ([`WriteKind::Replay`]); a store
    /// that holds that name already must refuse it, and the session is abandoned.
    ///
    /// Every round may take `timeout_ms`. All randomness is drawn here.
    ///
    /// # Errors
    /// [`Misuse`] when the setup contradicts itself or the purpose is not supported.
    pub fn start(
        setup: Setup,
        identity: Arc<IdentityKey>,
        rng: &mut impl CryptoRng,
        now_ms: u64,
        timeout_ms: u64,
    ) -> Result<(Self, Step<DkgOutput>), Error> {
        Self::enter(setup, None, identity, rng, now_ms, timeout_ms)
    }

    /// Starts the import of a key, at a member that gets a share of it. As [`Self::start`] in every other respect; the dealer runs
    /// [`crate::import::Dealer`] with the same values.
    ///
    /// # Errors
    /// As [`Self::start`], and [`Misuse::InvalidRoster`] if the dealer is a member.
    pub fn import(
        setup: Setup,
        announcement: Announcement,
        identity: Arc<IdentityKey>,
        rng: &mut impl CryptoRng,
        now_ms: u64,
        timeout_ms: u64,
    ) -> Result<(Self, Step<DkgOutput>), Error> {
        Self::enter(setup, Some(announcement), identity, rng, now_ms, timeout_ms)
    }

    fn enter(
        setup: Setup,
        import: Option<Announcement>,
        identity: Arc<IdentityKey>,
        rng: &mut impl CryptoRng,
        now_ms: u64,
        timeout_ms: u64,
    ) -> Result<(Self, Step<DkgOutput>), Error> {
        if usize::from(setup.params.parties()) != setup.roster.len() {
            return Err(
                Misuse::InvalidRoster("the roster and the parameters differ in size").into(),
            );
        }
        if setup.roster.get(&setup.me).is_none() {
            return Err(Misuse::NotAMember.into());
        }
        let (roster, purpose, threshold) = (setup.roster, setup.purpose, setup.params.threshold());
        let (request_id, attempt) = (setup.request_id, setup.attempt);
        let plan = match import {
            None => Plan::generate(roster, purpose, threshold, request_id, attempt),
            Some(import) => Plan::import(import, roster, purpose, threshold, request_id, attempt),
        }?;
        let start = Start {
            me: setup.me,
            identity,
            now_ms,
            timeout_ms,
        };
        let (ceremony, step) = Ceremony::start(plan, start, &Dealing::Free, setup.pairs, rng)?;
        Ok((Self(ceremony), step.try_map(DkgOutput::of)?))
    }

    /// The name of the session before round 1 is complete: what the replay cache holds, and the session in the headers of
    /// round 1.
    #[must_use]
    pub const fn first_name(&self) -> SessionId {
        self.0.first_name()
    }

    /// The name of the session once round 1 is complete.
    #[must_use]
    pub const fn name(&self) -> Option<SessionId> {
        self.0.name()
    }
}

impl session::Session for Session {
    type Output = DkgOutput;

    fn handle(&mut self, input: Inbound, now_ms: u64) -> Result<Step<DkgOutput>, Error> {
        self.0.handle(&input, now_ms)?.try_map(DkgOutput::of)
    }

    fn tick(&mut self, now_ms: u64) -> Result<Step<DkgOutput>, Error> {
        self.0.tick(now_ms)?.try_map(DkgOutput::of)
    }

    fn deadline_ms(&self) -> Option<u64> {
        self.0.deadline_ms()
    }

    fn waiting_for(&self) -> BTreeSet<NodeId> {
        self.0.waiting_for()
    }
}

impl DkgOutput {
    fn of(output: Output) -> Result<Self, Error> {
        match (output.share, output.certificate) {
            (Some(share), Formed::New(certificate)) => Ok(Self {
                share,
                certificate,
                pairs: output.pairs,
            }),
            _ => Err(Error::Unreachable("a key generation without a share")),
        }
    }
}
