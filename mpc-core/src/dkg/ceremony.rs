//! One session for key generation, import and reshare, whatever the curve.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand_core::CryptoRng;

use super::PairStatus;
use super::finish::Finish;
use super::machine::{Machine, Party};
use super::pending::DkgCertificate;
use super::plan::Plan;
use crate::group::{Ed25519, EncodedPoint, Secp256k1};
use crate::id::{NodeId, SessionId, Suite};
use crate::identity::IdentityKey;
use crate::keys::KeyShare;
use crate::pair::PairRecord;
use crate::reshare;
use crate::secret::{SecretBytes, SecretScalar};
use crate::session::{Inbound, Step};
use crate::{Error, Misuse};

/// What a dealer's constant term is.
pub(crate) enum Dealing {
    /// Nobody's business: drawn, or this node does not deal.
    Free,
    /// This node's part of an existing key.
    Share(Arc<KeyShare>),
    /// A whole key. 32 bytes, the canonical encoding of the scalar.
    Secret(SecretBytes<32>),
    /// What a dealer brings that does not keep to the protocol.
    #[cfg(test)]
    Rigged(SecretBytes<32>),
}

/// Who starts, and when.
pub(crate) struct Start {
    pub(crate) me: NodeId,
    pub(crate) identity: Arc<IdentityKey>,
    pub(crate) now_ms: u64,
    pub(crate) timeout_ms: u64,
}

/// What a session made.
#[derive(Debug)]
pub(crate) struct Output {
    /// This node's share; none if it only deals.
    pub(crate) share: Option<KeyShare>,
    pub(crate) certificate: Formed,
    pub(crate) pairs: Vec<PairRecord>,
}

/// The certificate of what was made.
#[derive(Debug)]
pub(crate) enum Formed {
    New(DkgCertificate),
    Reshared(Box<reshare::Certificate>),
}

impl Dealing {
    /// This dealer's constant term; none if it is drawn.
    pub(super) fn constant<G: Finish>(
        &self,
        plan: &Plan,
        me: &NodeId,
    ) -> Result<Option<SecretScalar<G>>, Error> {
        match self {
            Self::Free => Ok(None),
            Self::Secret(bytes) => {
                let secret = SecretScalar::decode("secret", bytes.expose_secret());
                let secret: SecretScalar<G> =
                    secret.map_err(|_| Misuse::InvalidKey("the secret is no scalar"))?;
                let public = EncodedPoint::new(secret.mul_base());
                if plan.constant(me) != Some(public.as_slice()) {
                    return Err(Misuse::InvalidKey("the secret is not that of the key").into());
                }
                Ok(Some(secret))
            }
            Self::Share(share) => plan.weighed(share).map(Some),
            #[cfg(test)]
            Self::Rigged(bytes) => {
                let secret = SecretScalar::decode("secret", bytes.expose_secret());
                Ok(Some(secret.map_err(|_| Misuse::WrongKey)?))
            }
        }
    }
}

/// A session whatever it makes, on the curve of its key.
#[derive(Debug)]
pub(crate) struct Ceremony(Curve);

#[derive(Debug)]
enum Curve {
    Ed25519(Box<Machine<Ed25519>>),
    Secp256k1(Box<Machine<Secp256k1>>),
}

impl Ceremony {
    pub(crate) fn start(
        plan: Plan,
        start: Start,
        dealing: &Dealing,
        pairs: BTreeMap<NodeId, PairStatus>,
        rng: &mut impl CryptoRng,
    ) -> Result<(Self, Step<Output>), Error> {
        if start.identity.public().node_id() != start.me {
            return Err(Misuse::IdentityMismatch.into());
        }
        let seat = plan.seats.get(&start.me).copied();
        let party = Party {
            me: start.me,
            seat: seat.ok_or(Misuse::NotAMember)?,
            identity: start.identity,
            timeout_ms: start.timeout_ms,
        };
        let now_ms = start.now_ms;
        Ok(match plan.purpose.suite() {
            Suite::Ed25519 => {
                let (machine, step) = Machine::start(plan, party, dealing, pairs, rng, now_ms)?;
                (Self(Curve::Ed25519(Box::new(machine))), step)
            }
            Suite::Secp256k1 => {
                let (machine, step) = Machine::start(plan, party, dealing, pairs, rng, now_ms)?;
                (Self(Curve::Secp256k1(Box::new(machine))), step)
            }
        })
    }

    pub(crate) const fn first_name(&self) -> SessionId {
        match &self.0 {
            Curve::Ed25519(machine) => machine.plan.ssid0,
            Curve::Secp256k1(machine) => machine.plan.ssid0,
        }
    }

    pub(crate) const fn name(&self) -> Option<SessionId> {
        match &self.0 {
            Curve::Ed25519(machine) => machine.session,
            Curve::Secp256k1(machine) => machine.session,
        }
    }

    pub(crate) fn handle(&mut self, input: &Inbound, now_ms: u64) -> Result<Step<Output>, Error> {
        match &mut self.0 {
            Curve::Ed25519(machine) => machine.handle(input, now_ms),
            Curve::Secp256k1(machine) => machine.handle(input, now_ms),
        }
    }

    pub(crate) fn tick(&mut self, now_ms: u64) -> Result<Step<Output>, Error> {
        match &mut self.0 {
            Curve::Ed25519(machine) => machine.tick(now_ms),
            Curve::Secp256k1(machine) => machine.tick(now_ms),
        }
    }

    pub(crate) fn deadline_ms(&self) -> Option<u64> {
        match &self.0 {
            Curve::Ed25519(machine) => machine.deadline_ms(),
            Curve::Secp256k1(machine) => machine.deadline_ms(),
        }
    }

    pub(crate) fn waiting_for(&self) -> BTreeSet<NodeId> {
        match &self.0 {
            Curve::Ed25519(machine) => machine.waiting_for(),
            Curve::Secp256k1(machine) => machine.waiting_for(),
        }
    }
}
