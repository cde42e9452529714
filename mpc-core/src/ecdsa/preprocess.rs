//! Preprocessing: two rounds between the signers of a set, without key or message.
//!
//! Every signer commits to its share of the nonce (and, for three or more signers, to one-time zero shares), and runs a
//! multiplication with every other in both directions. What enters a check whose failure poisons a pair setup is signed by one of its
//! two nodes, and everything that a third node could have told them differently, the names of session and commitments, is compared
//! before: a mismatch there ends the session without consequences for anybody.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::entry::{PoolEntry, Shared, ZeroShare};
use super::sign::Half;
use super::wire::{Commit, Extend, Multiply, Signed, header};
use super::{Point, PointBytes, SUITE, Scalar, SecretScalar, has_zero_shares, peers};
use crate::echo::echo;
use crate::envelope::{Envelope, Kind, Recipient};
use crate::evidence::Evidence;
use crate::group::{EncodedPoint, Secp256k1};
use crate::id::{NodeId, PoolId, SessionId};
use crate::identity::IdentityKey;
use crate::pair::extension::{self, Direction};
use crate::pair::{PairRecord, vole};
use crate::roster::Roster;
use crate::secret::SecretBytes;
use crate::session::{self, Effects, Inbound, Outbound, Step, Write, WriteKind};
use crate::transcript::{self, Tag};
use crate::{Abort, Error, Fault, Misuse, Rejection, evidence};

/// Who preprocesses with whom, over which pair setups.
#[derive(Clone, Debug)]
pub struct Setup {
    /// All nodes; the signers are among them.
    pub roster: Roster,
    /// This node.
    pub me: NodeId,
    /// The signers, this node included: exactly as many as the threshold of the keys that the entry is for.
    pub signers: BTreeSet<NodeId>,
    /// 32 fresh bytes chosen for this run, never used before by any of the signers.
    pub pool_id: PoolId,
    /// The active setup with every other signer.
    pub pairs: BTreeMap<NodeId, Arc<PairRecord>>,
}

/// The name of a run before anybody has contributed.
fn first_name(signers: &BTreeSet<NodeId>, pool_id: &PoolId) -> SessionId {
    let hash = transcript::hash(Tag::SSID0).field("sig/P").field(SUITE);
    SessionId::from_bytes(hash.list(signers).field(pool_id).digest())
}

/// `H("sig/com"; ssid0, nid_i, n_i, R_i, rho_i)`.
pub(super) fn nonce_commitment(
    first_name: &SessionId,
    node: &NodeId,
    contribution: &[u8; 32],
    point: &PointBytes,
    blind: &[u8; 32],
) -> [u8; 32] {
    let hash = transcript::hash(Tag::SIG_COM).field(first_name).field(node);
    hash.field(contribution).field(point).field(blind).digest()
}

/// `H("sig/z"; ssid0, nid_i, nid_j, Z_ij)`.
pub(super) fn zero_commitment(
    first_name: &SessionId,
    from: &NodeId,
    to: &NodeId,
    point: &PointBytes,
) -> [u8; 32] {
    let hash = transcript::hash(Tag::SIG_Z).field(first_name).field(from);
    hash.field(to).field(point).digest()
}

/// The name of a session from everybody's contribution.
pub(super) fn session_name<'a>(
    first_name: &SessionId,
    contributions: impl ExactSizeIterator<Item = (&'a NodeId, &'a [u8; 32])>,
) -> SessionId {
    let items = contributions.map(|(node, nonce)| [&node.as_bytes()[..], nonce].concat());
    SessionId::from_bytes(
        transcript::hash(Tag::SSID)
            .field(first_name)
            .list(items)
            .digest(),
    )
}

/// What this node has drawn.
struct Own {
    nonce: SecretScalar,
    nonce_point: EncodedPoint<Secp256k1>,
    blind: [u8; 32],
    peers: BTreeMap<NodeId, Drawn>,
}

/// What this node has drawn for one peer.
struct Drawn {
    pair: Arc<PairRecord>,
    receiver: Option<extension::Receiver>,
    factors: Option<vole::Factors>,
    zero: Option<(SecretScalar, PointBytes)>,
}

/// What has come of one peer's P1 messages.
struct Extended {
    sent: vole::SenderOutput,
    /// `t_k * G` and `t_x * G`.
    sent_points: [PointBytes; 2],
    zero: Option<ZeroShare>,
}

enum Phase {
    Running(Box<Own>),
    Failed(Error),
    Finished,
}

/// One run of preprocessing at one node.
pub struct Preprocessing {
    roster: Roster,
    me: NodeId,
    signers: BTreeSet<NodeId>,
    identity: Arc<IdentityKey>,
    first_name: SessionId,
    name: Option<SessionId>,
    echo: [u8; 32],
    commits: BTreeMap<NodeId, Signed<Commit>>,
    extends: BTreeMap<NodeId, Envelope>,
    extended: BTreeMap<NodeId, Extended>,
    multiplies: BTreeMap<NodeId, Envelope>,
    phase: Phase,
    deadline: u64,
}

impl core::fmt::Debug for Preprocessing {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Preprocessing")
            .field("first_name", &self.first_name)
            .field("signers", &self.signers)
            .finish_non_exhaustive()
    }
}

impl Preprocessing {
    /// Starts a run. The first step waits for the write of the run's name ([`WriteKind::Replay`]); a store that has the name already
    /// must refuse it, and the run is abandoned.
    ///
    /// Both rounds together may take `timeout_ms`. All randomness is drawn here: contribution, nonce, blind, zero shares, choices of
    /// every extension, factors of every multiplication, peers in ascending order.
    ///
    /// # Errors
    /// [`Misuse`] when the setup contradicts itself.
    pub fn start(
        setup: Setup,
        identity: Arc<IdentityKey>,
        rng: &mut impl CryptoRng,
        now_ms: u64,
        timeout_ms: u64,
    ) -> Result<(Self, Step<PoolEntry>), Error> {
        let me = setup.me;
        check(&setup, &identity)?;
        let first_name = first_name(&setup.signers, &setup.pool_id);
        let contribution = *SecretBytes::<32>::random(rng).expose_secret();
        let nonce = SecretScalar::random(rng);
        let mut blind = [0; 32];
        rng.fill_bytes(&mut blind);
        let mut zeros = BTreeMap::new();
        if has_zero_shares(&setup.signers) {
            for peer in peers(&setup.signers, &me) {
                let share = SecretScalar::random(rng);
                let point = share.mul_base().encode();
                zeros.insert(peer, (share, point));
            }
        }
        let nonce_point = EncodedPoint::new(nonce.mul_base());
        let commit = Commit {
            nonce: contribution,
            commitment: nonce_commitment(
                &first_name,
                &me,
                &contribution,
                nonce_point.bytes(),
                &blind,
            ),
            zeros: zeros
                .iter()
                .map(|(peer, (_, point))| (*peer, zero_commitment(&first_name, &me, peer, point)))
                .collect(),
        };
        let mut run = Self {
            roster: setup.roster,
            me,
            signers: setup.signers,
            identity,
            first_name,
            name: None,
            echo: [0; 32],
            commits: BTreeMap::new(),
            extends: BTreeMap::new(),
            extended: BTreeMap::new(),
            multiplies: BTreeMap::new(),
            phase: Phase::Finished,
            deadline: now_ms.saturating_add(timeout_ms),
        };
        let mut send = Vec::new();
        run.broadcast(&commit, &mut send);
        let mut drawn = BTreeMap::new();
        for (peer, pair) in setup.pairs {
            let direction = run.direction(me, peer, &pair);
            let nonce = extension::Nonce::new(&first_name, &contribution, &direction);
            let (receiver, message) =
                extension::receive(pair.receiver_seeds(), &nonce, &direction, rng);
            let zero = zeros.remove(&peer);
            let body = Extend {
                pair: pair.name(),
                extension: message,
                zero: zero.as_ref().map(|(share, _)| share.dangerous_to_bytes()),
            };
            run.tell(
                peer,
                Kind::EcdsaExtend,
                first_name,
                &body.encode(),
                &mut send,
            );
            let kept = Drawn {
                pair,
                receiver: Some(receiver),
                factors: None,
                zero,
            };
            drawn.insert(peer, kept);
        }
        for kept in drawn.values_mut() {
            kept.factors = Some(vole::Factors::random(rng));
        }
        run.phase = Phase::Running(Box::new(Own {
            nonce,
            nonce_point,
            blind,
            peers: drawn,
        }));
        let name = Zeroizing::new(first_name.as_bytes().to_vec());
        let effects = Effects { send, output: None };
        Ok((
            run,
            Step::after(Write::new(WriteKind::Replay, name), effects),
        ))
    }

    /// The name of the run before anybody has contributed: what the replay cache holds.
    #[must_use]
    pub const fn first_name(&self) -> SessionId {
        self.first_name
    }

    /// What is known of the entry while this node waits for the answer of its only peer.
    pub(super) fn half(&self) -> Option<Half<'_>> {
        let (peer, extended) = self.extended.iter().next()?;
        match &self.phase {
            Phase::Running(own) if !has_zero_shares(&self.signers) => Some(Half {
                name: self.name?,
                me: self.me,
                peer: *peer,
                nonce: &own.nonce,
                nonce_point: *own.nonce_point.bytes(),
                blind: own.blind,
                echo: self.echo,
                sent: &extended.sent,
                sent_points: extended.sent_points,
            }),
            _ => None,
        }
    }

    fn direction(&self, receiver: NodeId, sender: NodeId, pair: &PairRecord) -> Direction {
        Direction {
            receiver,
            sender,
            pair: pair.name(),
        }
    }

    fn broadcast(&mut self, commit: &Commit, send: &mut Vec<Outbound>) {
        let place = header(
            Kind::EcdsaCommit,
            self.first_name,
            self.me,
            Recipient::Everyone,
        );
        let envelope = Envelope::sealed(&self.identity, place, &commit.encode());
        for peer in peers(&self.signers, &self.me) {
            send.push(Outbound {
                to: Recipient::One(peer),
                bytes: envelope.as_bytes().to_vec(),
            });
        }
        let message = commit.clone();
        self.commits.insert(self.me, Signed { envelope, message });
    }

    fn tell(
        &self,
        peer: NodeId,
        kind: Kind,
        session: SessionId,
        body: &[u8],
        send: &mut Vec<Outbound>,
    ) {
        let to = Recipient::One(peer);
        let bytes = Envelope::seal(&self.identity, &header(kind, session, self.me, to), body);
        send.push(Outbound { to, bytes });
    }

    /// Puts a message into its place.
    fn accept(&mut self, channel: NodeId, envelope: Envelope) -> Result<(), Error> {
        let place = *envelope.header();
        if place.from != channel || place.from == self.me || !self.signers.contains(&place.from) {
            return Err(Rejection::WrongSender.into());
        }
        let (from, mine) = (place.from, Recipient::One(self.me));
        let expected = match place.kind {
            Kind::EcdsaCommit => header(place.kind, self.first_name, from, Recipient::Everyone),
            Kind::EcdsaExtend => header(place.kind, self.first_name, from, mine),
            // Its session is compared when everybody's is known.
            Kind::EcdsaMultiply => header(place.kind, place.session, from, mine),
            kind => return Err(Rejection::Unexpected { kind }.into()),
        };
        if place.to != expected.to {
            return Err(Rejection::WrongRecipient.into());
        }
        if place != expected {
            return Err(Rejection::WrongSession.into());
        }
        match place.kind {
            Kind::EcdsaCommit => self.accept_commit(envelope),
            Kind::EcdsaExtend => keep_first(&mut self.extends, envelope),
            _ => keep_first(&mut self.multiplies, envelope),
        }
    }

    fn accept_commit(&mut self, envelope: Envelope) -> Result<(), Error> {
        let from = envelope.header().from;
        if let Some(held) = self.commits.get(&from) {
            if held.envelope.body() == envelope.body() {
                return Ok(());
            }
            let fault = Fault::Equivocated {
                message: Kind::EcdsaCommit,
            };
            let evidence = Evidence::equivocation(&held.envelope, &envelope);
            return Err(Abort::proven(from, fault, evidence).into());
        }
        let message = Commit::decode(&self.signers, &from, envelope.body())
            .map_err(|error| evidence::ecdsa::malformed(&self.signers, &envelope, error))?;
        self.commits.insert(from, Signed { envelope, message });
        Ok(())
    }

    /// Goes on as far as the messages held allow.
    fn advance(&mut self, send: &mut Vec<Outbound>) -> Result<Option<PoolEntry>, Error> {
        if self.commits.len() < self.signers.len() {
            return Ok(None);
        }
        let name = match self.name {
            Some(name) => name,
            None => self.name_session(),
        };
        let due: Vec<NodeId> = self
            .extends
            .keys()
            .filter(|peer| !self.extended.contains_key(*peer))
            .copied()
            .collect();
        for peer in due {
            self.extend(name, peer, send)?;
        }
        let waiting = self.signers.len().saturating_sub(1);
        if self.extended.len() < waiting || self.multiplies.len() < waiting {
            return Ok(None);
        }
        self.finish(name).map(Some)
    }

    fn name_session(&mut self) -> SessionId {
        let contributions = self
            .commits
            .iter()
            .map(|(node, held)| (node, &held.message.nonce));
        let name = session_name(&self.first_name, contributions);
        let digests = self
            .commits
            .iter()
            .map(|(node, held)| (*node, *held.envelope.digest()));
        self.echo = echo(name, 1, digests);
        self.name = Some(name);
        name
    }

    /// Checks a peer's extension and answers with the multiplication.
    fn extend(
        &mut self,
        name: SessionId,
        peer: NodeId,
        send: &mut Vec<Outbound>,
    ) -> Result<(), Error> {
        let (Some(envelope), Some(commit)) = (self.extends.get(&peer), self.commits.get(&peer))
        else {
            return Err(Error::Unreachable(
                "an extension is answered before it is there",
            ));
        };
        let message = Extend::decode(has_zero_shares(&self.signers), envelope.body())
            .map_err(|error| evidence::ecdsa::malformed(&self.signers, envelope, error))?;
        let Phase::Running(own) = &mut self.phase else {
            return Err(Error::Unreachable("a run goes on after its end"));
        };
        let drawn = own
            .peers
            .get_mut(&peer)
            .ok_or(Error::Unreachable("a signer without a pair setup"))?;
        if message.pair != drawn.pair.name() {
            return Err(Abort::unattributed(Fault::StalePair { peer }).into());
        }
        // Before any use: a wrong zero share used here would fail a check at an honest peer.
        let zero = match (&message.zero, drawn.zero.take()) {
            (Some(bytes), Some((share, point))) => {
                let theirs = Scalar::decode("a", bytes.as_ref())
                    .map(SecretScalar::new)
                    .map_err(|error| evidence::ecdsa::malformed(&self.signers, envelope, error))?;
                let theirs_point = theirs.mul_base().encode();
                let committed = commit.message.zeros.get(&self.me);
                if committed
                    != Some(&zero_commitment(
                        &self.first_name,
                        &peer,
                        &self.me,
                        &theirs_point,
                    ))
                {
                    let evidence =
                        evidence::ecdsa::zero_share(&self.signers, &commit.envelope, envelope);
                    return Err(Abort::proven(peer, Fault::ZeroShareMismatch, evidence).into());
                }
                let difference = share.minus(&theirs);
                Some(ZeroShare { difference, point })
            }
            _ => None,
        };
        let direction = Direction {
            receiver: peer,
            sender: self.me,
            pair: drawn.pair.name(),
        };
        let nonce = extension::Nonce::new(&self.first_name, &commit.message.nonce, &direction);
        let sender = extension::send(
            drawn.pair.sender_seeds(),
            &nonce,
            &direction,
            &message.extension,
        )
        .map_err(|_| Abort::local(peer, Fault::ExtensionCheck))?;
        let context = vole::Context::new(&name, &direction, &sender.message_hash());
        let factors = drawn
            .factors
            .take()
            .ok_or(Error::Unreachable("factors are used twice"))?;
        let (sent, multiplication) = vole::send(sender, &context, factors);
        let body = Multiply {
            echo: self.echo,
            multiplication,
        };
        self.tell(peer, Kind::EcdsaMultiply, name, &body.encode(), send);
        let sent_points = Point::encode_pair(&[sent.t_k.mul_base(), sent.t_x.mul_base()]);
        let extended = Extended {
            sent,
            sent_points,
            zero,
        };
        self.extended.insert(peer, extended);
        Ok(())
    }

    /// Compares what all peers saw, and only then checks their multiplications.
    fn finish(&mut self, name: SessionId) -> Result<PoolEntry, Error> {
        let mut messages = BTreeMap::new();
        for (peer, envelope) in &self.multiplies {
            if envelope.header().session != name {
                return Err(Abort::unattributed(Fault::ViewsDiffer {
                    message: Kind::EcdsaCommit,
                })
                .into());
            }
            let message = Multiply::decode(envelope.body())
                .map_err(|error| evidence::ecdsa::malformed(&self.signers, envelope, error))?;
            messages.insert(*peer, message);
        }
        if messages.values().any(|message| message.echo != self.echo) {
            return Err(Abort::unattributed(Fault::ViewsDiffer {
                message: Kind::EcdsaCommit,
            })
            .into());
        }
        let Phase::Running(own) = core::mem::replace(&mut self.phase, Phase::Finished) else {
            return Err(Error::Unreachable("a run goes on after its end"));
        };
        let mut shared = BTreeMap::new();
        let mut own = *own;
        for (peer, drawn) in core::mem::take(&mut own.peers) {
            let (Some(message), Some(receiver), Some(extended)) = (
                messages.get(&peer),
                drawn.receiver,
                self.extended.remove(&peer),
            ) else {
                return Err(Error::Unreachable("a multiplication without its messages"));
            };
            let direction = Direction {
                receiver: self.me,
                sender: peer,
                pair: drawn.pair.name(),
            };
            let context = vole::Context::new(&name, &direction, &receiver.message_hash());
            let received =
                vole::receive(receiver, &context, &message.multiplication).map_err(|error| {
                    match error {
                        vole::VoleError::Malformed(error) => self.malformed_multiply(&peer, error),
                        vole::VoleError::CheckFailed => {
                            Abort::local(peer, Fault::MultiplicationCheck).into()
                        }
                    }
                })?;
            let entry = Shared {
                pair: drawn.pair.name(),
                sent: extended.sent,
                sent_points: extended.sent_points,
                received,
                zero: extended.zero,
            };
            shared.insert(peer, entry);
        }
        Ok(PoolEntry {
            first_name: self.first_name,
            name,
            me: self.me,
            signers: self.signers.clone(),
            nonce: own.nonce,
            nonce_point: own.nonce_point,
            blind: own.blind,
            commits: core::mem::take(&mut self.commits),
            echo: self.echo,
            peers: shared,
        })
    }

    fn malformed_multiply(&self, peer: &NodeId, error: crate::codec::DecodeError) -> Error {
        match self.multiplies.get(peer) {
            Some(envelope) => evidence::ecdsa::malformed(&self.signers, envelope, error),
            None => Error::Unreachable("a multiplication without its message"),
        }
    }

    /// Takes a message that is authentic and in time, from the peer of this channel.
    pub(super) fn take(
        &mut self,
        channel: NodeId,
        envelope: Envelope,
    ) -> Result<Effects<PoolEntry>, Error> {
        match &self.phase {
            Phase::Failed(error) => return Err(error.clone()),
            Phase::Finished => return Err(Rejection::Finished.into()),
            Phase::Running(_) => {}
        }
        let mut send = Vec::new();
        let result = self
            .accept(channel, envelope)
            .and_then(|()| self.advance(&mut send));
        match result {
            Ok(output) => Ok(Effects { send, output }),
            Err(Error::Rejected(rejection)) => Err(rejection.into()),
            Err(error) => Err(self.fail(error)),
        }
    }

    fn fail(&mut self, error: Error) -> Error {
        self.extends.clear();
        self.extended.clear();
        self.multiplies.clear();
        self.phase = Phase::Failed(error.clone());
        error
    }

    fn time_out(&mut self) -> Error {
        let missing = session::Session::waiting_for(self);
        self.fail(Error::TimedOut { missing })
    }
}

fn check(setup: &Setup, identity: &IdentityKey) -> Result<(), Misuse> {
    if identity.public().node_id() != setup.me {
        return Err(Misuse::IdentityMismatch);
    }
    if setup.signers.len() < 2 {
        return Err(Misuse::InvalidSigners("a set of signers has at least two"));
    }
    if !setup.signers.contains(&setup.me) {
        return Err(Misuse::NotAMember);
    }
    if setup
        .signers
        .iter()
        .any(|node| setup.roster.get(node).is_none())
    {
        return Err(Misuse::InvalidSigners("a signer is not in the roster"));
    }
    let fits = |(node, pair): (&NodeId, &Arc<PairRecord>)| pair.peer() == *node;
    let complete = peers(&setup.signers, &setup.me).eq(setup.pairs.keys().copied());
    if !complete || !setup.pairs.iter().all(fits) {
        return Err(Misuse::InvalidSigners(
            "there is not one pair setup for every other signer",
        ));
    }
    Ok(())
}

/// Keeps the first message of a sender. A second one is no evidence of anything: only its receiver has seen it.
fn keep_first(slots: &mut BTreeMap<NodeId, Envelope>, envelope: Envelope) -> Result<(), Error> {
    match slots.get(&envelope.header().from) {
        None => {
            slots.insert(envelope.header().from, envelope);
            Ok(())
        }
        Some(held) if held.body() == envelope.body() => Ok(()),
        Some(_) => Err(Rejection::Replayed.into()),
    }
}

impl session::Session for Preprocessing {
    type Output = PoolEntry;

    fn handle(&mut self, input: Inbound, now_ms: u64) -> Result<Step<PoolEntry>, Error> {
        match &self.phase {
            Phase::Failed(error) => return Err(error.clone()),
            Phase::Finished => return Err(Rejection::Finished.into()),
            Phase::Running(_) => {}
        }
        if now_ms >= self.deadline {
            return Err(self.time_out());
        }
        let envelope = Envelope::open(&self.roster, &input.bytes)?;
        self.take(input.from, envelope).map(Step::now)
    }

    fn tick(&mut self, now_ms: u64) -> Result<Step<PoolEntry>, Error> {
        match &self.phase {
            Phase::Failed(error) => Err(error.clone()),
            Phase::Running(_) if now_ms >= self.deadline => Err(self.time_out()),
            Phase::Running(_) | Phase::Finished => Ok(Step::idle()),
        }
    }

    fn deadline_ms(&self) -> Option<u64> {
        matches!(self.phase, Phase::Running(_)).then_some(self.deadline)
    }

    fn waiting_for(&self) -> BTreeSet<NodeId> {
        let arrived = |node: &NodeId| {
            self.commits.contains_key(node)
                && self.extends.contains_key(node)
                && self.multiplies.contains_key(node)
        };
        match &self.phase {
            Phase::Running(_) => peers(&self.signers, &self.me)
                .filter(|node| !arrived(node))
                .collect(),
            Phase::Failed(_) | Phase::Finished => BTreeSet::new(),
        }
    }
}

/// Repeats the check of an extension message that had arrived before a crash and may or may not have been checked then.
///
/// `commit` and `extend` are the peer's two messages of round 1, as they were written down when they arrived. A message that is not a
/// genuine one of this session leaves nothing to check.
///
/// # Errors
/// [`Fault::ExtensionCheck`], which poisons the pair; [`Error::Rejected`] for bytes that are not these messages.
pub fn recheck(
    roster: &Roster,
    me: &NodeId,
    pair: &PairRecord,
    signers: &BTreeSet<NodeId>,
    commit: &[u8],
    extend: &[u8],
) -> Result<(), Error> {
    let (commit, extend) = (
        Envelope::open(roster, commit)?,
        Envelope::open(roster, extend)?,
    );
    let (first, second) = (commit.header(), extend.header());
    let session = first.session;
    let peer = pair.peer();
    if *first != header(Kind::EcdsaCommit, session, peer, Recipient::Everyone)
        || *second != header(Kind::EcdsaExtend, session, peer, Recipient::One(*me))
    {
        return Err(Rejection::WrongSession.into());
    }
    let (Ok(commit), Ok(message)) = (
        Commit::decode(signers, &peer, commit.body()),
        Extend::decode(has_zero_shares(signers), extend.body()),
    ) else {
        return Ok(());
    };
    if message.pair != pair.name() {
        return Ok(());
    }
    let direction = Direction {
        receiver: peer,
        sender: *me,
        pair: pair.name(),
    };
    let nonce = extension::Nonce::new(&session, &commit.nonce, &direction);
    extension::send(pair.sender_seeds(), &nonce, &direction, &message.extension)
        .map(|_| ())
        .map_err(|_| Abort::local(peer, Fault::ExtensionCheck).into())
}
