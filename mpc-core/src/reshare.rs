//! Refresh and reshare: new shares of an existing key, for the same committee or another one, with the same or another threshold.
//!
//! # Protocol
//! (Protocol notes, sections 12.1 and 12.2.) It is a key generation with other seats. Dealers, at least as many holders of the active
//! sharing as its threshold, deal polynomials whose constant terms are their weighted shares; since everybody knows the verifying
//! shares, a dealer that would change the key is convicted. The members of the new committee add up what they get. Nobody needs to be
//! online but the dealers and the new members.
//!
//! ```text
//! RESHARE/R1   n 32 | D 32 (member) | com 32 (dealer) | n' - 1 times (last generation 4 | reuse 1 | A 32) (member, ECDSA)
//! RESHARE/R2   E_1 32 | (dealer:) C t' points | E 32 | rho 32 | pop t' times (point, scalar) | poe 64 | ct n' times 32, by index
//! RESHARE/R3   1 | E_2 32 | T' 32 | epoch 4 | attempt 4 | (member:) n' - 1 times pid 32 (ECDSA) | signature 64 | (dealer:) signature 64
//!              2 | complaint as in a key generation
//! ```
//! # Activation
//! A new sharing counts with its [`Certificate`]: the signatures of all new members, each given after its share was durable, and of all
//! dealers, each given after it had checked the request. Until then the old sharing stays what it is; a holder erases its share only
//! when it durably holds a certificate of a higher sharing. [`crate::lineage`] has these rules.
//!
//! # Security
//! Fewer than the threshold of the old committee cannot learn the key or move it to others: at least one honest holder has signed as a
//! dealer. A dealer outside the new committee stores the session, without a share, before it signs, because it may sign only one
//! result for one epoch and attempt.

mod certificate;
mod prepared;
mod request;
#[cfg(test)]
mod rigged;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand_core::CryptoRng;

pub use self::certificate::Certificate;
pub(crate) use self::certificate::{Facts, MAX_CERTIFICATE, Part};
pub use self::prepared::Prepared;
pub use self::request::{Proposal, Request};
use crate::dkg::PairStatus;
use crate::dkg::ceremony::{self, Ceremony, Dealing, Formed, Start};
use crate::dkg::plan::Plan;
use crate::id::{NodeId, SessionId};
use crate::identity::IdentityKey;
use crate::keys::KeyShare;
use crate::pair::PairRecord;
use crate::session::{self, Inbound, Step};
use crate::{Error, Misuse};

/// A reshare, as one node enters it.
#[derive(Debug)]
pub struct Setup {
    /// What is to be done; the same at everybody.
    pub request: Request,
    /// This node.
    pub me: NodeId,
    /// Its share of the active sharing, if it deals.
    pub share: Option<Arc<KeyShare>>,
    /// What this node has with the other members of the new committee, as in [`crate::dkg::Setup::pairs`]. Live setups are left aside if
    /// the request is for fresh ones.
    pub pairs: BTreeMap<NodeId, PairStatus>,
}

/// What a reshare made.
#[derive(Debug)]
pub struct Output {
    /// Activates the new sharing wherever it is shown.
    pub certificate: Certificate,
    /// This node's new share; none at a dealer that is not a member of the new committee. Secret.
    pub share: Option<KeyShare>,
    /// The pair setups that were made on the way, to be active with the certificate. Secret.
    pub pairs: Vec<PairRecord>,
}

/// A reshare of one node.
#[derive(Debug)]
pub struct Session(Ceremony);

impl Session {
    /// Starts a reshare. The first step waits for the write of the session's name, as in a key generation
    /// ([`crate::dkg::Session::start`]). Every round may take `timeout_ms`. All randomness is drawn here.
    ///
    /// The request must have been approved at this node, by its operator or its policy, before it is given in here.
    ///
    /// # Errors
    /// [`Misuse`] when the setup contradicts the request.
    pub fn start(
        setup: Setup,
        identity: Arc<IdentityKey>,
        rng: &mut impl CryptoRng,
        now_ms: u64,
        timeout_ms: u64,
    ) -> Result<(Self, Step<Output>), Error> {
        let Setup {
            request,
            me,
            share,
            mut pairs,
        } = setup;
        if request.fresh_pairs() {
            pairs.values_mut().for_each(|pair| pair.live = None);
        }
        if !request.active().purpose().needs_pairs() || !request.is_member(&me) {
            pairs.clear();
        }
        let dealing = match (request.is_dealer(&me), share) {
            (true, Some(share)) if request.active().index_of(&me) == Some(share.index()) => {
                Dealing::Share(share)
            }
            (true, _) => return Err(Misuse::WrongKey.into()),
            (false, _) => Dealing::Free,
        };
        let start = Start {
            me,
            identity,
            now_ms,
            timeout_ms,
        };
        let plan = Plan::reshare(request)?;
        let (ceremony, step) = Ceremony::start(plan, start, &dealing, pairs, rng)?;
        Ok((Self(ceremony), step.try_map(Output::of)?))
    }

    /// The name of the session before round 1 is complete: what the replay cache holds.
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

impl Output {
    fn of(output: ceremony::Output) -> Result<Self, Error> {
        match output.certificate {
            Formed::Reshared(certificate) => Ok(Self {
                certificate: *certificate,
                share: output.share,
                pairs: output.pairs,
            }),
            Formed::New(_) => Err(Error::Unreachable("a reshare that made a new key")),
        }
    }
}

impl session::Session for Session {
    type Output = Output;

    fn handle(&mut self, input: Inbound, now_ms: u64) -> Result<Step<Output>, Error> {
        self.0.handle(&input, now_ms)?.try_map(Output::of)
    }

    fn tick(&mut self, now_ms: u64) -> Result<Step<Output>, Error> {
        self.0.tick(now_ms)?.try_map(Output::of)
    }

    fn deadline_ms(&self) -> Option<u64> {
        self.0.deadline_ms()
    }

    fn waiting_for(&self) -> BTreeSet<NodeId> {
        self.0.waiting_for()
    }
}
