//! The two online rounds of a signer. Each state is consumed by going on, so nothing is answered twice.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "field and group operations wrap by definition"
)]

use core::fmt;
use std::collections::BTreeMap;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::entry::{PoolEntry, Shared};
use super::preprocess::{nonce_commitment, zero_commitment};
use super::products::{self, Equation, Seed};
use super::request::SigningRequest;
use super::wire::{Extra, Masked, Opening, Response, Signed, header};
use super::{Point, PointBytes, Scalar, SecretScalar, has_zero_shares, peers};
use crate::codec::DecodeError;
use crate::echo::echo;
use crate::envelope::{Envelope, Kind, Recipient};
use crate::evidence::Evidence;
use crate::group::Secp256k1;
use crate::id::{NodeId, SessionId};
use crate::identity::IdentityKey;
use crate::keys::KeyShare;
use crate::pair::vole::SenderOutput;
use crate::roster::Roster;
use crate::session::{Held, Write, WriteKind};
use crate::{Abort, Error, Fault, Misuse, Rejection, evidence};

/// A signer that has opened its part of the nonce, and can respond once.
pub struct Opened {
    session: SessionId,
    request: SigningRequest,
    entry: PoolEntry,
    /// `x_i`: this signer's part of the key.
    key: SecretScalar,
    /// `phi_i`: this signer's part of the common factor.
    factor: SecretScalar,
    own: Signed<Opening>,
}

/// A signer that has responded, and can explain its response once.
#[cfg(feature = "blame")]
pub struct Responded {
    pub(super) me: NodeId,
    pub(super) entry: SessionId,
    pub(super) request: SigningRequest,
    /// `phi_i`
    pub(super) factor: SecretScalar,
    /// `be_ij`
    pub(super) betas: BTreeMap<NodeId, SecretScalar>,
    /// The signed value of the response.
    pub(super) response: [u8; 32],
}

#[cfg(feature = "blame")]
impl fmt::Debug for Responded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responded")
            .field("entry", &self.entry)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

/// The state and the message that wait for the write of [`open`].
pub type HeldOpening = Held<(Opened, Vec<u8>)>;

/// Spends an entry on a request. The message ("S1", an envelope for all signers) and the state to go on with come out when the write
/// is durable: the name of the entry and of the request, 64 bytes ([`WriteKind::Entry`]). A store that has the entry's name already
/// must refuse the write.
///
/// Constant time in all secrets. The caller has approved the request.
///
/// # Errors
/// [`Misuse::InvalidSigners`] if entry and request are not for the same signers, [`Misuse::WrongKey`] if the share is not of the key of
/// the request. The entry is spent either way.
pub fn open(
    entry: PoolEntry,
    share: &KeyShare,
    request: SigningRequest,
    identity: &IdentityKey,
    rng: &mut impl CryptoRng,
) -> Result<(Write, HeldOpening), Error> {
    if identity.public().node_id() != entry.me {
        return Err(Misuse::IdentityMismatch.into());
    }
    if !entry.signers.iter().eq(request.signers().keys()) {
        return Err(Misuse::InvalidSigners("the entry is for other signers").into());
    }
    let mut key = key_part(share, &request, &entry.me)?;
    for zero in entry
        .peers
        .values()
        .filter_map(|shared| shared.zero.as_ref())
    {
        key = SecretScalar::new(*key.expose_secret() + *zero.difference.expose_secret());
    }
    let factor = match only_peer(&entry) {
        Some(peer) => SecretScalar::new(*peer.received.beta.expose_secret()),
        None => SecretScalar::random(rng),
    };
    let masked = entry
        .peers
        .iter()
        .map(|(peer, shared)| (*peer, mask(&entry.nonce, &key, &factor, shared)))
        .collect();
    let opening = Opening {
        request: *request.name(),
        echo: entry.echo,
        nonce: *entry.nonce_point.bytes(),
        blind: entry.blind,
        masked,
    };
    let session = request.session(&entry.name);
    let own = seal_opening(session, entry.me, identity, opening);
    let bytes = own.envelope.as_bytes().to_vec();
    let write = burn(&entry.name, &request);
    let opened = Opened {
        session,
        request,
        entry,
        key,
        factor,
        own,
    };
    let held = write.hold((opened, bytes));
    Ok((write, held))
}

/// The write that spends an entry on a request.
fn burn(entry: &SessionId, request: &SigningRequest) -> Write {
    let record = [&entry.as_bytes()[..], request.name()].concat();
    Write::new(WriteKind::Entry, Zeroizing::new(record))
}

fn seal_opening(
    session: SessionId,
    me: NodeId,
    identity: &IdentityKey,
    message: Opening,
) -> Signed<Opening> {
    let place = header(Kind::EcdsaOpen, session, me, Recipient::Everyone);
    let envelope = Envelope::sealed(identity, place, &message.encode());
    Signed { envelope, message }
}

/// `lambda_i * s_i`, after checking that the share is this signer's share of the key of the request.
fn key_part(
    share: &KeyShare,
    request: &SigningRequest,
    me: &NodeId,
) -> Result<SecretScalar, Misuse> {
    let (lambda, point) = request.share(me).ok_or(Misuse::NotAMember)?;
    let (points, secret) = share.view::<Secp256k1>().ok_or(Misuse::WrongKey)?;
    // A key share is never made without its secret matching its public point.
    if request.signers().get(me) != Some(&share.index())
        || points.verifying_shares.get(&share.index()) != Some(point)
    {
        return Err(Misuse::WrongKey);
    }
    Ok(SecretScalar::new(*lambda * *secret.expose_secret()))
}

/// What one of two signers knows of its entry when it has answered the peer's extension and the peer has not answered its own.
pub(super) struct Half<'a> {
    pub(super) name: SessionId,
    pub(super) me: NodeId,
    pub(super) peer: NodeId,
    pub(super) nonce: &'a SecretScalar,
    pub(super) nonce_point: PointBytes,
    pub(super) blind: [u8; 32],
    pub(super) echo: [u8; 32],
    pub(super) sent: &'a SenderOutput,
    pub(super) sent_points: [PointBytes; 2],
}

/// An opening that was made before its entry was complete. With two signers it does not depend on the missing part.
pub(super) struct Early {
    session: SessionId,
    request: SigningRequest,
    key: SecretScalar,
    own: Signed<Opening>,
}

impl Early {
    /// Opens half an entry: the write that spends it, and the opening.
    pub(super) fn open(
        half: &Half<'_>,
        share: &KeyShare,
        request: SigningRequest,
        identity: &IdentityKey,
    ) -> Result<(Write, Self), Error> {
        let key = key_part(share, &request, &half.me)?;
        let masked = hide_products(half.nonce, &key, half.sent, half.sent_points);
        let opening = Opening {
            request: *request.name(),
            echo: half.echo,
            nonce: half.nonce_point,
            blind: half.blind,
            masked: BTreeMap::from([(half.peer, masked)]),
        };
        let session = request.session(&half.name);
        let own = seal_opening(session, half.me, identity, opening);
        let write = burn(&half.name, &request);
        let early = Self {
            session,
            request,
            key,
            own,
        };
        Ok((write, early))
    }

    /// The envelope.
    pub(super) fn bytes(&self) -> &[u8] {
        self.own.envelope.as_bytes()
    }

    /// The state to go on with, once the entry is complete.
    pub(super) fn complete(self, entry: PoolEntry) -> Result<Opened, Error> {
        let factor = only_peer(&entry).map(|peer| *peer.received.beta.expose_secret());
        let factor = factor.ok_or(Error::Unreachable("an early opening among many"))?;
        Ok(Opened {
            session: self.session,
            request: self.request,
            entry,
            key: self.key,
            factor: SecretScalar::new(factor),
            own: self.own,
        })
    }
}

/// The one peer of a set of two signers.
fn only_peer(entry: &PoolEntry) -> Option<&Shared> {
    let mut shared = entry.peers.values();
    shared.next().filter(|_| shared.next().is_none())
}

/// Nonce and key minus the factors that this node multiplied for a peer.
fn hide_products(
    nonce: &SecretScalar,
    key: &SecretScalar,
    sent: &SenderOutput,
    [nonce_point, key_point]: [PointBytes; 2],
) -> Masked {
    Masked {
        nonce: hide(nonce, &sent.alpha_k),
        key: hide(key, &sent.alpha_x),
        nonce_point,
        key_point,
        extra: None,
    }
}

fn hide(value: &SecretScalar, by: &SecretScalar) -> [u8; 32] {
    value.minus(by).expose_secret().encode()
}

fn mask(
    nonce: &SecretScalar,
    key: &SecretScalar,
    factor: &SecretScalar,
    shared: &Shared,
) -> Masked {
    let extra = shared.zero.as_ref().map(|zero| Extra {
        mask: hide(factor, &shared.received.beta),
        zero: zero.point,
    });
    Masked {
        extra,
        ..hide_products(nonce, key, &shared.sent, shared.sent_points)
    }
}

/// Everybody's openings, authenticated by `open` and decoded as far as lengths go.
pub(super) fn read_openings(
    open: impl Fn(&[u8]) -> Result<Envelope, Rejection>,
    request: &SigningRequest,
    session: SessionId,
    envelopes: &[Vec<u8>],
) -> Result<BTreeMap<NodeId, Signed<Opening>>, Error> {
    let signers = request.signer_set();
    let mut openings = BTreeMap::new();
    for bytes in envelopes {
        let envelope = check_broadcast(open(bytes)?, request, Kind::EcdsaOpen)?;
        if envelope.header().session != session {
            // Another request, or another entry: perhaps an honest node that was asked for something else.
            let node = envelope.header().from;
            return Err(Abort::unattributed(Fault::RequestMismatch { node }).into());
        }
        let from = envelope.header().from;
        let message = Opening::decode(&signers, &from, envelope.body())
            .map_err(|error| evidence::ecdsa::malformed(&signers, &envelope, error))?;
        if let Some(held) = openings.get(&from) {
            let held: &Signed<Opening> = held;
            return Err(duplicate(&held.envelope, &envelope));
        }
        openings.insert(from, Signed { envelope, message });
    }
    if openings.len() == signers.len() {
        Ok(openings)
    } else {
        Err(Misuse::InvalidSigners("there is not one message of every signer").into())
    }
}

/// A second message of one sender: not what was asked for, and evidence if it differs.
pub(super) fn duplicate(held: &Envelope, second: &Envelope) -> Error {
    if held.body() == second.body() {
        return Rejection::Replayed.into();
    }
    let (from, message) = (second.header().from, second.header().kind);
    let evidence = Evidence::equivocation(held, second);
    Abort::proven(from, Fault::Equivocated { message }, evidence).into()
}

/// Whether an envelope is a broadcast of one of the signers.
pub(super) fn check_broadcast(
    envelope: Envelope,
    request: &SigningRequest,
    kind: Kind,
) -> Result<Envelope, Error> {
    let place = *envelope.header();
    if place.kind != kind {
        return Err(Rejection::Unexpected { kind: place.kind }.into());
    }
    if !request.signers().contains_key(&place.from) {
        return Err(Rejection::UnknownSender.into());
    }
    if place != header(kind, place.session, place.from, Recipient::Everyone) {
        return Err(Rejection::WrongRecipient.into());
    }
    Ok(envelope)
}

/// The echo of the openings.
pub(super) fn openings_echo(
    session: SessionId,
    openings: &BTreeMap<NodeId, Signed<Opening>>,
) -> [u8; 32] {
    let digests = openings
        .iter()
        .map(|(node, held)| (*node, *held.envelope.digest()));
    echo(session, 3, digests)
}

/// What an opened signer has verified of the others.
struct Verified {
    /// `R`.
    nonce: PointBytes,
    /// `r`.
    r: Scalar,
    /// `sum_j ck_ij` and `sum_j cx_ij`.
    products: [SecretScalar; 2],
    /// `Psi_i`.
    masks: Scalar,
}

impl Opened {
    /// Checks everybody's openings and responds ("S2", an envelope for all). `openings` are the envelopes of all signers, this one's
    /// included, in any order.
    ///
    /// Constant time in all secrets.
    ///
    /// # Errors
    /// [`Error::Aborted`]: look at [`Abort::poisons`] first. [`Error::Rejected`] and [`Error::Misuse`] for envelopes that are not one
    /// of every signer of this session; nobody is accused. The entry is spent in every case.
    pub fn respond(
        self,
        roster: &Roster,
        identity: &IdentityKey,
        openings: &[Vec<u8>],
    ) -> Result<Vec<u8>, Error> {
        let open = |bytes: &[u8]| self.open_unless_own(roster, bytes);
        let envelope = self.check_and_answer(open, identity, openings)?;
        Ok(envelope.into_bytes())
    }

    /// As [`Self::respond`], for envelopes whose signatures have been verified before.
    pub(super) fn respond_vouched(
        self,
        identity: &IdentityKey,
        openings: &[Vec<u8>],
    ) -> Result<Vec<u8>, Error> {
        let envelope = self.check_and_answer(Envelope::vouched, identity, openings)?;
        Ok(envelope.into_bytes())
    }

    /// As [`Self::respond`], and keeps what this signer can explain its response with should the signature not verify.
    ///
    /// # Errors
    /// Those of [`Self::respond`].
    #[cfg(feature = "blame")]
    pub fn respond_accountably(
        self,
        roster: &Roster,
        identity: &IdentityKey,
        openings: &[Vec<u8>],
    ) -> Result<(Vec<u8>, Responded), Error> {
        let open = |bytes: &[u8]| self.open_unless_own(roster, bytes);
        let envelope = self.check_and_answer(open, identity, openings)?;
        let peers = self.entry.peers.into_iter();
        let betas = peers.map(|(peer, shared)| (peer, shared.received.beta));
        let bytes = envelope.as_bytes().to_vec();
        let responded = Responded {
            me: self.entry.me,
            entry: self.entry.name,
            request: self.request,
            factor: self.factor,
            betas: betas.collect(),
            response: *envelope.digest(),
        };
        Ok((bytes, responded))
    }

    /// Authenticates an envelope. What this signer has signed itself needs no verification.
    fn open_unless_own(&self, roster: &Roster, bytes: &[u8]) -> Result<Envelope, Rejection> {
        let ours = &self.own.envelope;
        if bytes == ours.as_bytes() {
            Ok(ours.clone())
        } else {
            Envelope::open(roster, bytes)
        }
    }

    fn check_and_answer(
        &self,
        open: impl Fn(&[u8]) -> Result<Envelope, Rejection>,
        identity: &IdentityKey,
        openings: &[Vec<u8>],
    ) -> Result<Envelope, Error> {
        if identity.public().node_id() != self.entry.me {
            return Err(Misuse::IdentityMismatch.into());
        }
        let openings = read_openings(open, &self.request, self.session, openings)?;
        let own = openings
            .get(&self.entry.me)
            .map(|held| held.envelope.digest());
        if own != Some(self.own.envelope.digest()) {
            return Err(Misuse::InvalidSigners("this signer's own message was changed").into());
        }
        let verified = self.verify(&openings)?;
        let response = self.answer(&verified, openings_echo(self.session, &openings));
        let place = header(
            Kind::EcdsaRespond,
            self.session,
            self.entry.me,
            Recipient::Everyone,
        );
        Ok(Envelope::sealed(identity, place, &response.encode()))
    }

    /// The checks, each for all peers before the next.
    fn verify(&self, openings: &BTreeMap<NodeId, Signed<Opening>>) -> Result<Verified, Error> {
        let entry = &self.entry;
        for (node, held) in openings {
            if held.message.request != *self.request.name() {
                return Err(Abort::unattributed(Fault::RequestMismatch { node: *node }).into());
            }
        }
        if openings
            .values()
            .any(|held| held.message.echo != entry.echo)
        {
            let message = Kind::EcdsaCommit;
            return Err(Abort::unattributed(Fault::ViewsDiffer { message }).into());
        }
        for (node, held) in openings {
            self.check_commitments(node, held)?;
        }
        let mut nonces = BTreeMap::new();
        for (node, held) in openings {
            let point = if *node == entry.me {
                *entry.nonce_point.point()
            } else {
                self.decode(held, |opening| opening.nonce.decode("R"))?
            };
            nonces.insert(*node, point);
        }
        let key_points = self.key_points(openings)?;
        let mut products = [Scalar::zero(), Scalar::zero()].map(Zeroizing::new);
        let mut masks = Scalar::zero();
        let mut equations = Vec::new();
        for peer in peers(&entry.signers, &entry.me) {
            let (Some(held), Some(shared), Some(nonce), Some(key)) = (
                openings.get(&peer),
                entry.peers.get(&peer),
                nonces.get(&peer),
                key_points.get(&peer),
            ) else {
                return Err(Error::Unreachable("a signer is missing after the count"));
            };
            for (sum, equation) in products.iter_mut().zip(self.multiply(
                &peer,
                held,
                shared,
                [(*nonce, Scalar::one()), *key],
            )?) {
                **sum += *equation.product.expose_secret();
                equations.push(equation);
            }
            if shared.zero.is_some() {
                let mine = |opening: &Opening| {
                    let masked = opening.masked.get(&entry.me);
                    match masked.and_then(|masked| masked.extra.as_ref()) {
                        Some(extra) => Scalar::decode("psi", &extra.mask),
                        None => Ok(Scalar::zero()),
                    }
                };
                masks += self.decode(held, mine)?;
            }
        }
        let seed = Seed {
            openings: openings_echo(self.session, openings),
            secret: &entry.nonce,
        };
        products::check(&equations, &seed)?;
        let nonce: Point = nonces.into_values().sum();
        let encoded = nonce.encode();
        let r = Scalar::from_be_reduced(&encoded.x_bytes());
        if nonce.is_identity() || r.is_zero() {
            return Err(Abort::unattributed(Fault::IdentityResult).into());
        }
        let [nonces, keys] = products.map(|product| SecretScalar::new(*product));
        Ok(Verified {
            nonce: encoded,
            r,
            products: [nonces, keys],
            masks,
        })
    }

    /// Decodes a part of a signed opening; a failure is the sender's, provably.
    fn decode<T>(
        &self,
        held: &Signed<Opening>,
        read: impl FnOnce(&Opening) -> Result<T, DecodeError>,
    ) -> Result<T, Error> {
        read(&held.message)
            .map_err(|error| evidence::ecdsa::malformed(&self.entry.signers, &held.envelope, error))
    }

    /// What was committed to in preprocessing: the nonce, and for three or more signers every zero share.
    fn check_commitments(&self, node: &NodeId, held: &Signed<Opening>) -> Result<(), Error> {
        let entry = &self.entry;
        let commit = entry
            .commits
            .get(node)
            .ok_or(Error::Unreachable("a signer without commitments"))?;
        let opening = &held.message;
        let opened = nonce_commitment(
            &entry.first_name,
            node,
            &commit.message.nonce,
            &opening.nonce,
            &opening.blind,
        );
        let zeros_open = opening
            .masked
            .iter()
            .all(|(to, masked)| match &masked.extra {
                None => true,
                Some(extra) => {
                    let committed = commit.message.zeros.get(to);
                    committed == Some(&zero_commitment(&entry.first_name, node, to, &extra.zero))
                }
            });
        if opened == commit.message.commitment && zeros_open {
            return Ok(());
        }
        let commits = entry.commits.values().map(|commit| &commit.envelope);
        let evidence = evidence::ecdsa::opening(&entry.signers, commits, &held.envelope);
        Err(Abort::proven(*node, Fault::CommitmentMismatch, evidence).into())
    }

    /// `PX_j` of every peer, as a point and a factor of it.
    fn key_points(
        &self,
        openings: &BTreeMap<NodeId, Signed<Opening>>,
    ) -> Result<BTreeMap<NodeId, (Point, Scalar)>, Error> {
        let entry = &self.entry;
        let mut shares = BTreeMap::new();
        for peer in peers(&entry.signers, &entry.me) {
            let (lambda, share) = *self.request.share(&peer).ok_or(Misuse::NotAMember)?;
            shares.insert(peer, (lambda, share));
        }
        if !has_zero_shares(&entry.signers) {
            return Ok(shares
                .into_iter()
                .map(|(peer, (lambda, share))| (peer, (share, lambda)))
                .collect());
        }
        let weighted = shares
            .into_iter()
            .map(|(peer, share)| (peer, Point::multi_mul_vartime(&[share])));
        let points = key_points(weighted.collect(), openings)
            .map_err(|(held, error)| evidence::ecdsa::malformed(&entry.signers, held, error))?;
        // This signer's own point is the identity exactly if its part of the key is zero.
        if points.values().any(Point::is_identity) || self.key.expose_secret().is_zero() {
            return Err(Abort::unattributed(Fault::IdentityResult).into());
        }
        Ok(points
            .into_iter()
            .map(|(peer, point)| (peer, (point, Scalar::one())))
            .collect())
    }

    /// `ck_ij` and `cx_ij`, and what must hold for them if the peer multiplied what it is committed to: its nonce and its public key
    /// share, each a point and a factor of it.
    fn multiply(
        &self,
        peer: &NodeId,
        held: &Signed<Opening>,
        shared: &Shared,
        [nonce, key]: [(Point, Scalar); 2],
    ) -> Result<[Equation; 2], Error> {
        let masked = held
            .message
            .masked
            .get(&self.entry.me)
            .ok_or(Error::Unreachable("an opening without this signer"))?;
        let beta = shared.received.beta.expose_secret();
        let equation = |[value, point]: [&'static str; 2],
                        (scalar, masked): (&[u8; 32], &PointBytes),
                        share: &SecretScalar,
                        (committed, factor): (Point, Scalar)| {
            let scalar = self.decode(held, |_| Scalar::decode(value, scalar))?;
            Ok::<_, Error>(Equation {
                peer: *peer,
                value,
                product: SecretScalar::new(scalar * *beta + *share.expose_secret()),
                factor: SecretScalar::new(*beta * factor),
                committed,
                masked: self.decode(held, |_| masked.decode(point))?,
            })
        };
        let received = &shared.received;
        let (gk, gx) = (
            (&masked.nonce, &masked.nonce_point),
            (&masked.key, &masked.key_point),
        );
        Ok([
            equation(["gk", "Gk"], gk, &received.r_k, nonce)?,
            equation(["gx", "Gx"], gx, &received.r_x, key)?,
        ])
    }

    /// `u_i` and `w_i`.
    fn answer(&self, verified: &Verified, echo: [u8; 32]) -> Response {
        let entry = &self.entry;
        let factor = *self.factor.expose_secret();
        // With two signers the common factor is the product's, and there are no masks to add.
        let sum = Zeroizing::new(factor + verified.masks);
        let [nonces, keys] = &verified.products;
        let mut denominator =
            Zeroizing::new(*entry.nonce.expose_secret() * *sum + *nonces.expose_secret());
        let mut numerator =
            Zeroizing::new(*self.key.expose_secret() * *sum + *keys.expose_secret());
        for shared in entry.peers.values() {
            *denominator += *shared.sent.t_k.expose_secret();
            *numerator += *shared.sent.t_x.expose_secret();
        }
        *numerator += *self.request.tweak() * factor;
        let message = self.request.message_scalar() * factor;
        Response {
            denominator: denominator.encode(),
            numerator: (message + verified.r * *numerator).encode(),
            echo,
            nonce: verified.nonce,
        }
    }
}

/// The sum of the nonces of all openings, which every response has to repeat.
pub(super) fn nonce_sum(
    openings: &BTreeMap<NodeId, Signed<Opening>>,
) -> Option<(Point, PointBytes)> {
    let points: Option<Vec<Point>> = openings
        .values()
        .map(|held| held.message.nonce.decode("R").ok())
        .collect();
    let sum: Point = points?.into_iter().sum();
    Some((sum, sum.encode()))
}

/// `PX_j = lambda_j * S_j + Zeta_j` for every signer in `weighted`, from `lambda_j * S_j`; or whose opening does not decode.
pub(super) fn key_points(
    weighted: BTreeMap<NodeId, Point>,
    openings: &BTreeMap<NodeId, Signed<Opening>>,
) -> Result<BTreeMap<NodeId, Point>, (&Envelope, DecodeError)> {
    let mut points = weighted;
    for (from, held) in openings {
        for (to, masked) in &held.message.masked {
            let Some(extra) = &masked.extra else { continue };
            let zero = extra
                .zero
                .decode("Z")
                .map_err(|error| (&held.envelope, error))?;
            for (node, point) in [(from, zero), (to, -zero)] {
                if let Some(sum) = points.get_mut(node) {
                    *sum = *sum + point;
                }
            }
        }
    }
    Ok(points)
}
