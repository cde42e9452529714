//! Two signers without a pool: preprocessing and signature in three messages each instead of four.
//!
//! The second message of preprocessing and the first of the signature travel together, because with two signers no value of an opening
//! depends on the product that is still missing. The receiver finishes preprocessing with all its checks before it looks at the opening,
//! so the order of checks is that of the four rounds. (Protocol notes, section 7.3.)
//!
//! ```text
//! 1  commit, extend         write before: the name of the run
//! 2  multiply, open         write before: the names of the entry and of the request
//! 3  respond
//! ```
//! The signers send their responses to each other, and each combines and verifies.

use core::fmt;
use std::collections::BTreeSet;
use std::sync::Arc;

use rand_core::CryptoRng;

use super::combine::{EcdsaSignature, combine_vouched};
use super::preprocess::{Preprocessing, Setup};
use super::request::SigningRequest;
use super::sign::{Early, Opened};
use crate::envelope::{Envelope, Kind, Recipient};
use crate::id::{NodeId, SessionId};
use crate::identity::IdentityKey;
use crate::keys::KeyShare;
use crate::roster::Roster;
use crate::session::{Effects, Inbound, Outbound, Session, Step, Write};
use crate::{Error, Misuse, Rejection};

/// How far a run has come.
enum Phase {
    /// Nothing of the nonce has been opened.
    Extending,
    /// The opening has left; the peer's multiplication has not arrived or is not checked.
    Early(Box<Early>),
    /// The entry is complete.
    Opened(Box<Opened>),
    /// The response has left.
    Responded(Vec<u8>),
    Failed(Error),
    Finished,
}

/// One signature of two signers, from nothing but their pair setup to the verified result.
pub struct Fused {
    run: Preprocessing,
    roster: Roster,
    identity: Arc<IdentityKey>,
    share: Arc<KeyShare>,
    request: SigningRequest,
    peer: NodeId,
    name: Option<SessionId>,
    own_opening: Vec<u8>,
    /// The peer's multiplication, if it overtook the peer's extension.
    multiply: Option<Envelope>,
    peer_opening: Option<Vec<u8>>,
    peer_response: Option<Vec<u8>>,
    phase: Phase,
    deadline: u64,
}

impl fmt::Debug for Fused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fused")
            .field("run", &self.run)
            .finish_non_exhaustive()
    }
}

impl Fused {
    /// Starts a signature. The caller has approved the request. All randomness is drawn here; all three rounds together may take
    /// `timeout_ms`.
    ///
    /// Two steps wait for a write: the first for [`crate::session::WriteKind::Replay`], the second for
    /// [`crate::session::WriteKind::Entry`].
    ///
    /// # Errors
    /// [`Misuse`] when setup, request and share do not belong together, or there are more than two signers.
    pub fn start(
        setup: Setup,
        request: SigningRequest,
        share: Arc<KeyShare>,
        identity: Arc<IdentityKey>,
        rng: &mut impl CryptoRng,
        now_ms: u64,
        timeout_ms: u64,
    ) -> Result<(Self, Step<EcdsaSignature>), Error> {
        let others: Vec<NodeId> = super::peers(&setup.signers, &setup.me).collect();
        let [peer] = others[..] else {
            return Err(Misuse::InvalidSigners("the fused form is for two signers").into());
        };
        if !setup.signers.iter().eq(request.signers().keys()) {
            return Err(Misuse::InvalidSigners("the request is for other signers").into());
        }
        let roster = setup.roster.clone();
        let (run, step) =
            Preprocessing::start(setup, Arc::clone(&identity), rng, now_ms, timeout_ms)?;
        let fused = Self {
            run,
            roster,
            identity,
            share,
            request,
            peer,
            name: None,
            own_opening: Vec::new(),
            multiply: None,
            peer_opening: None,
            peer_response: None,
            phase: Phase::Extending,
            deadline: now_ms.saturating_add(timeout_ms),
        };
        Ok((fused, step.without_output()))
    }

    /// The name of the run before anybody has contributed: what the replay cache holds.
    #[must_use]
    pub const fn first_name(&self) -> SessionId {
        self.run.first_name()
    }

    /// Messages of preprocessing: together with the answer to the peer's extension, the opening goes out.
    fn preprocess(
        &mut self,
        envelope: Envelope,
        send: &mut Vec<Outbound>,
    ) -> Result<Option<Write>, Error> {
        let effects = self.run.take(self.peer, envelope)?;
        send.extend(effects.send);
        if let Some(entry) = effects.output {
            let Phase::Early(early) = core::mem::replace(&mut self.phase, Phase::Finished) else {
                return Err(Error::Unreachable(
                    "an entry is complete before it is opened",
                ));
            };
            self.phase = Phase::Opened(Box::new(early.complete(entry)?));
            return Ok(None);
        }
        let (Phase::Extending, Some(half)) = (&self.phase, self.run.half()) else {
            return Ok(None);
        };
        self.name = Some(half.name);
        let (write, early) = Early::open(&half, &self.share, self.request.clone(), &self.identity)?;
        self.own_opening = early.bytes().to_vec();
        send.push(self.tell(self.own_opening.clone()));
        self.phase = Phase::Early(Box::new(early));
        if let Some(envelope) = self.multiply.take() {
            match self.preprocess(envelope, send) {
                Ok(_) | Err(Error::Rejected(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Some(write))
    }

    fn tell(&self, bytes: Vec<u8>) -> Outbound {
        Outbound {
            to: Recipient::One(self.peer),
            bytes,
        }
    }

    /// Keeps the peer's opening or response until its turn. Its signature has been verified and is not looked at again.
    fn keep(&mut self, envelope: &Envelope) -> Result<(), Error> {
        let slot = match envelope.header().kind {
            Kind::EcdsaOpen => &mut self.peer_opening,
            _ => &mut self.peer_response,
        };
        if slot.is_some() {
            return Err(Rejection::Replayed.into());
        }
        *slot = Some(envelope.as_bytes().to_vec());
        Ok(())
    }

    /// Responds and combines as soon as everything for it is there.
    fn advance(&mut self, send: &mut Vec<Outbound>) -> Result<Option<EcdsaSignature>, Error> {
        let Some(theirs) = &self.peer_opening else {
            return Ok(None);
        };
        let openings = [self.own_opening.clone(), theirs.clone()];
        if matches!(self.phase, Phase::Opened(_))
            && let Phase::Opened(opened) = core::mem::replace(&mut self.phase, Phase::Finished)
        {
            let response = opened.respond_vouched(&self.identity, &openings)?;
            send.push(self.tell(response.clone()));
            self.phase = Phase::Responded(response);
        }
        let (Phase::Responded(ours), Some(theirs), Some(name)) =
            (&self.phase, &self.peer_response, &self.name)
        else {
            return Ok(None);
        };
        let responses = [ours.clone(), theirs.clone()];
        let signature = combine_vouched(&self.request, name, &openings, &responses)?;
        self.phase = Phase::Finished;
        Ok(Some(signature))
    }

    fn fail(&mut self, error: Error) -> Error {
        self.phase = Phase::Failed(error.clone());
        error
    }

    fn time_out(&mut self) -> Error {
        let missing = self.waiting_for();
        self.fail(Error::TimedOut { missing })
    }

    fn take(&mut self, input: &Inbound, send: &mut Vec<Outbound>) -> Result<Option<Write>, Error> {
        let envelope = Envelope::open(&self.roster, &input.bytes)?;
        if envelope.header().from != input.from || input.from != self.peer {
            return Err(Rejection::WrongSender.into());
        }
        match envelope.header().kind {
            Kind::EcdsaOpen | Kind::EcdsaRespond => self.keep(&envelope).map(|()| None),
            Kind::EcdsaMultiply if matches!(self.phase, Phase::Extending) => {
                if self.multiply.is_some() {
                    return Err(Rejection::Replayed.into());
                }
                self.multiply = Some(envelope);
                Ok(None)
            }
            _ => self.preprocess(envelope, send),
        }
    }
}

impl Session for Fused {
    type Output = EcdsaSignature;

    fn handle(&mut self, input: Inbound, now_ms: u64) -> Result<Step<EcdsaSignature>, Error> {
        match &self.phase {
            Phase::Failed(error) => return Err(error.clone()),
            Phase::Finished => return Err(Rejection::Finished.into()),
            _ if now_ms >= self.deadline => return Err(self.time_out()),
            _ => {}
        }
        let mut send = Vec::new();
        let write = match self.take(&input, &mut send) {
            Ok(write) => write,
            Err(Error::Rejected(rejection)) => return Err(rejection.into()),
            Err(error) => return Err(self.fail(error)),
        };
        // From here on every refusal is the end: what was refused is authentic, so the peer has nothing else to offer.
        let output = self.advance(&mut send).map_err(|error| self.fail(error))?;
        let effects = Effects { send, output };
        Ok(match write {
            Some(write) => Step::after(write, effects),
            None => Step::now(effects),
        })
    }

    fn tick(&mut self, now_ms: u64) -> Result<Step<EcdsaSignature>, Error> {
        match &self.phase {
            Phase::Failed(error) => Err(error.clone()),
            Phase::Finished => Ok(Step::idle()),
            _ if now_ms >= self.deadline => Err(self.time_out()),
            _ => Ok(Step::idle()),
        }
    }

    fn deadline_ms(&self) -> Option<u64> {
        match &self.phase {
            Phase::Failed(_) | Phase::Finished => None,
            _ => Some(self.deadline),
        }
    }

    fn waiting_for(&self) -> BTreeSet<NodeId> {
        match &self.phase {
            Phase::Failed(_) | Phase::Finished => BTreeSet::new(),
            _ => BTreeSet::from([self.peer]),
        }
    }
}
