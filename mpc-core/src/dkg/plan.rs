//! What a session is to make and who does what in it: everything public that is fixed before the first message.
//!
//! A key generation, an import and a reshare are one protocol with other seats: dealers deal polynomials, receivers get shares. In a
//! key generation everybody does both.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "field operations wrap by definition"
)]

use std::collections::{BTreeMap, BTreeSet};

use crate::codec::{DecodeError, Problem, Reader, Writer};
use crate::envelope::{Envelope, Kind};
use crate::group::{Ed25519, EncodedPoint, Point, Secp256k1};
use crate::id::{Attempt, Epoch, NodeId, Params, PartyIndex, Purpose, RequestId, SessionId, Suite};
use crate::identity::IdentityPublic;
use crate::import::Announcement;
use crate::keys::{KeyGroup, KeyShare, PublicKeyPackage};
use crate::known::Known;
use crate::polynomial;
use crate::reshare::Request;
use crate::roster::Roster;
use crate::secret::SecretScalar;
use crate::transcript::{self, Tag};
use crate::{Error, Misuse, Rejection};

const RESHARE: &str = "reshare";
const IMPORT: &str = "import";

/// What a session makes.
#[derive(Clone, Debug)]
pub(crate) enum Task {
    /// A key that nobody knows.
    Generate,
    /// Shares of a key that somebody knows.
    Import(Box<Announcement>),
    /// New shares of an existing key.
    Reshare(Box<Request>),
}

/// What a node does in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    /// Signs its messages.
    pub(crate) identity: IdentityPublic,
    /// Its coordinate as a dealer; in a reshare that of the active sharing.
    pub(crate) dealer: Option<PartyIndex>,
    /// Its coordinate as a holder of what is made.
    pub(crate) receiver: Option<PartyIndex>,
}

/// A message of the protocol, whatever its task calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    Round1,
    Round2,
    Round3,
    Originals,
    Reply,
    TrialExtension,
    TrialMultiply,
}

impl Slot {
    const ALL: [Self; 7] = [
        Self::Round1,
        Self::Round2,
        Self::Round3,
        Self::Originals,
        Self::Reply,
        Self::TrialExtension,
        Self::TrialMultiply,
    ];

    /// Whether such a message is for one node: it is about the setup of a pair.
    pub(crate) const fn is_pairwise(self) -> bool {
        matches!(
            self,
            Self::Reply | Self::TrialExtension | Self::TrialMultiply
        )
    }
}

/// Everything public that is fixed before the first message: what all parties and every later judge agree on.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(super) task: Task,
    pub(super) purpose: Purpose,
    /// Threshold and size of the committee that gets shares.
    pub(super) params: Params,
    /// The committee that gets shares.
    pub(super) roster: Roster,
    pub(super) seats: BTreeMap<NodeId, Seat>,
    /// What each dealer's constant term has to be, encoded. Empty in a key generation.
    constants: BTreeMap<NodeId, Vec<u8>>,
    pub(super) request_id: RequestId,
    pub(super) attempt: Attempt,
    pub(super) params_hash: [u8; 32],
    /// Name of the session before round 1 has been collected.
    pub(super) ssid0: SessionId,
}

impl Plan {
    /// The plan of a key generation.
    pub(super) fn generate(
        roster: Roster,
        purpose: Purpose,
        threshold: u16,
        request_id: RequestId,
        attempt: Attempt,
    ) -> Result<Self, Misuse> {
        let dealers = roster.by_index().map(|(index, node)| (node, index));
        let seats = seats(&roster, &dealers.collect());
        let plan = Self::bare(Task::Generate, roster, purpose, threshold, seats)?;
        Ok(plan.named("dkg", &[0; 32], Epoch(0), attempt, request_id, &request_id))
    }

    /// The plan of an import: the dealer deals alone and holds nothing.
    pub(crate) fn import(
        announcement: Announcement,
        roster: Roster,
        purpose: Purpose,
        threshold: u16,
        request_id: RequestId,
        attempt: Attempt,
    ) -> Result<Self, Misuse> {
        let mut seats = seats(&roster, &BTreeMap::new());
        let dealer = announcement.dealer.node_id();
        let seat = Seat {
            identity: announcement.dealer,
            dealer: Some(PartyIndex::new(1)?),
            receiver: None,
        };
        if seats.insert(dealer, seat).is_some() {
            return Err(Misuse::InvalidRoster("the dealer of an import is a member"));
        }
        let digest = announcement.digest(&request_id);
        let constant = announcement.public_key.clone();
        let task = Task::Import(Box::new(announcement));
        let mut plan = Self::bare(task, roster, purpose, threshold, seats)?;
        plan.constants.insert(dealer, constant);
        Ok(plan.named(IMPORT, &[0; 32], Epoch(0), attempt, request_id, &digest))
    }

    /// The plan of a reshare.
    pub(crate) fn reshare(request: Request) -> Result<Self, Misuse> {
        let roster = request.roster().clone();
        let dealers = request.dealer_indices();
        let mut seats = seats(&roster, &dealers);
        for (node, index) in &dealers {
            let identity = request.identity(node).ok_or(Misuse::NotAMember)?;
            seats.entry(*node).or_insert(Seat {
                identity,
                dealer: Some(*index),
                receiver: None,
            });
        }
        let constants = match request.active().purpose().suite() {
            Suite::Ed25519 => constants::<Ed25519>(request.active(), &dealers),
            Suite::Secp256k1 => constants::<Secp256k1>(request.active(), &dealers),
        }?;
        let (purpose, threshold) = (request.active().purpose(), request.threshold());
        let (attempt, request_id) = (request.attempt(), request.request_id());
        let (key, epoch, digest) = (request.key_id(), request.active().epoch(), request.digest());
        let task = Task::Reshare(Box::new(request));
        let mut plan = Self::bare(task, roster, purpose, threshold, seats)?;
        plan.constants = constants;
        Ok(plan.named(RESHARE, key.as_bytes(), epoch, attempt, request_id, &digest))
    }

    fn bare(
        task: Task,
        roster: Roster,
        purpose: Purpose,
        threshold: u16,
        seats: BTreeMap<NodeId, Seat>,
    ) -> Result<Self, Misuse> {
        let params = Params::new(threshold, u16::try_from(roster.len()).unwrap_or(u16::MAX))?;
        Ok(Self {
            task,
            purpose,
            params,
            params_hash: roster.params_hash(purpose, threshold),
            roster,
            seats,
            constants: BTreeMap::new(),
            request_id: RequestId::from_bytes([0; 32]),
            attempt: Attempt(0),
            ssid0: SessionId::from_bytes([0; 32]),
        })
    }

    /// `ssid0 = H("ssid0"; protocol, suite, purpose, key id, u32 epoch, u32 attempt, (index) list, params_hash, request)`.
    fn named(
        mut self,
        protocol: &str,
        key: &[u8; 32],
        epoch: Epoch,
        attempt: Attempt,
        request_id: RequestId,
        request: &impl AsRef<[u8]>,
    ) -> Self {
        let name = transcript::hash(Tag::SSID0)
            .field(protocol)
            .field(self.purpose.suite().as_str())
            .field(self.purpose.as_str())
            .field(key)
            .u32(epoch.0)
            .u32(attempt.0)
            .list(
                self.roster
                    .by_index()
                    .map(|(index, _)| index.get().to_be_bytes()),
            )
            .field(self.params_hash)
            .field(request)
            .digest();
        self.ssid0 = SessionId::from_bytes(name);
        self.attempt = attempt;
        self.request_id = request_id;
        self
    }

    /// How a message is called in this session.
    pub(crate) const fn kind(&self, slot: Slot) -> Kind {
        match (&self.task, slot) {
            (Task::Reshare(_), Slot::Round1) => Kind::ReshareRound1,
            (Task::Reshare(_), Slot::Round2) => Kind::ReshareRound2,
            (Task::Reshare(_), Slot::Round3) => Kind::ReshareRound3,
            (Task::Reshare(_), Slot::Originals) => Kind::ReshareOriginals,
            (Task::Reshare(_), Slot::Reply) => Kind::ReshareReply,
            (Task::Reshare(_), Slot::TrialExtension) => Kind::ReshareTrialExtension,
            (Task::Reshare(_), Slot::TrialMultiply) => Kind::ReshareTrialMultiply,
            (_, Slot::Round1) => Kind::DkgRound1,
            (_, Slot::Round2) => Kind::DkgRound2,
            (_, Slot::Round3) => Kind::DkgRound3,
            (_, Slot::Originals) => Kind::DkgOriginals,
            (_, Slot::Reply) => Kind::DkgReply,
            (_, Slot::TrialExtension) => Kind::DkgTrialExtension,
            (_, Slot::TrialMultiply) => Kind::DkgTrialMultiply,
        }
    }

    /// Which message of this session a kind is.
    pub(crate) fn slot(&self, kind: Kind) -> Option<Slot> {
        Slot::ALL.into_iter().find(|slot| self.kind(*slot) == kind)
    }

    /// Opens the envelope of a participant.
    pub(crate) fn open(&self, bytes: &[u8]) -> Result<Envelope, Rejection> {
        Envelope::open_with(bytes.to_vec(), |node| {
            self.seats.get(node).map(|seat| seat.identity)
        })
    }

    pub(super) fn seat(&self, node: &NodeId) -> Result<Seat, Error> {
        let seat = self.seats.get(node).copied();
        seat.ok_or(Error::Unreachable("a participant without a seat"))
    }

    /// Everybody who takes part, in ascending order.
    pub(super) fn nodes(&self) -> impl ExactSizeIterator<Item = NodeId> + Clone {
        self.seats.keys().copied()
    }

    /// How many take part.
    pub(super) fn participants(&self) -> usize {
        self.seats.len()
    }

    /// What the constant term of a dealer has to be; `None` if it is free.
    pub(super) fn constant(&self, dealer: &NodeId) -> Option<&[u8]> {
        self.constants.get(dealer).map(Vec::as_slice)
    }

    /// Of how many peers a party speaks in rounds 1 and 3: none without pair setups, and none if it gets no share.
    pub(super) fn paired_peers(&self, node: &NodeId) -> usize {
        if self.purpose.needs_pairs() && self.roster.get(node).is_some() {
            self.parties().saturating_sub(1)
        } else {
            0
        }
    }

    pub(super) const fn threshold(&self) -> usize {
        self.params.threshold() as usize
    }

    /// How many get shares.
    pub(super) const fn parties(&self) -> usize {
        self.params.parties() as usize
    }

    /// The epoch of what is made.
    pub(super) const fn epoch(&self) -> Epoch {
        match &self.task {
            Task::Reshare(request) => request.epoch(),
            Task::Generate | Task::Import(_) => Epoch(0),
        }
    }

    /// The attempt that certificates name. The sharing of a new key has no other.
    pub(super) const fn certified_attempt(&self) -> Attempt {
        match &self.task {
            Task::Reshare(request) => request.attempt(),
            Task::Generate | Task::Import(_) => Attempt(0),
        }
    }

    /// First field of what a receiver signs at the end.
    pub(super) const fn certificate_form(&self) -> &'static str {
        match &self.task {
            Task::Reshare(_) => RESHARE,
            Task::Generate | Task::Import(_) => "dkg",
        }
    }

    /// Whether dealers sign the result as dealers, too.
    pub(super) const fn dealers_sign(&self) -> bool {
        !matches!(self.task, Task::Generate)
    }

    /// Whether dealers contribute to a new chain code.
    pub(super) const fn draws_chain_code(&self) -> bool {
        matches!(self.task, Task::Generate)
    }

    /// What evidence says about the session: for a key generation `purpose | u16 t | u32 attempt | request id | committee`; otherwise the
    /// name of the task comes first.
    pub(super) fn context(&self) -> Vec<u8> {
        let mut out = Writer::default();
        if let Task::Reshare(request) = &self.task {
            out.var(RESHARE.as_bytes()).bytes(&request.encode());
            return out.finish();
        }
        if let Task::Import(announcement) = &self.task {
            out.var(IMPORT.as_bytes());
            announcement.write(&mut out);
        }
        out.var(self.purpose.as_str().as_bytes())
            .u16(self.params.threshold())
            .u32(self.attempt.0)
            .bytes(self.request_id.as_bytes());
        self.roster.write(&mut out);
        out.finish()
    }

    /// The plan that evidence names. It names its participants itself: the messages are signed under a session that covers them, so
    /// another committee would prove nothing. Members of a new key have to be in the verifier's roster, which may have more nodes.
    pub(super) fn from_context(roster: &Roster, bytes: &[u8]) -> Result<Self, DecodeError> {
        let refuse = |field| DecodeError::new(field, Problem::Unknown);
        let mut reader = Reader::new(bytes);
        let mut name = reader.var("purpose", 16)?;
        if name == RESHARE.as_bytes() {
            let request = Request::read(&mut reader, &Known::NOTHING)?;
            reader.finish("context")?;
            return Self::reshare(request).map_err(|_| refuse("request"));
        }
        let import = if name == IMPORT.as_bytes() {
            let announcement = Announcement::read(&mut reader)?;
            name = reader.var("purpose", 16)?;
            Some(announcement)
        } else {
            None
        };
        let purpose = core::str::from_utf8(name).ok();
        let purpose = purpose.and_then(Purpose::parse);
        let purpose = purpose.ok_or_else(|| refuse("purpose"))?;
        let threshold = reader.u16("threshold")?;
        let attempt = Attempt(reader.u32("attempt")?);
        let request_id = RequestId::from_bytes(reader.array("request_id")?);
        let committee = Roster::read(&mut reader)?;
        reader.finish("context")?;
        if committee.nodes().any(|node| roster.get(&node).is_none()) {
            return Err(refuse("members"));
        }
        let roster = committee;
        match import {
            None => Self::generate(roster, purpose, threshold, request_id, attempt),
            Some(announcement) => Self::import(
                announcement,
                roster,
                purpose,
                threshold,
                request_id,
                attempt,
            ),
        }
        .map_err(|_| refuse("threshold"))
    }

    /// `lambda_i^D * s_i`: the constant term of a dealer of a reshare. Constant time in the share.
    pub(super) fn weighed<G: KeyGroup>(&self, share: &KeyShare) -> Result<SecretScalar<G>, Error> {
        let Task::Reshare(request) = &self.task else {
            return Err(Misuse::InvalidKey("a share is dealt in a reshare only").into());
        };
        if share.public() != request.active() {
            return Err(Misuse::WrongKey.into());
        }
        let indices = request.dealer_indices().into_values().collect();
        let weights = polynomial::lagrange_at_zero::<G>(&indices)?;
        let weight = weights.get(&share.index()).ok_or(Misuse::NotAMember)?;
        let (_, secret) = share.view::<G>().ok_or(Misuse::WrongKey)?;
        Ok(SecretScalar::new(*weight * *secret.expose_secret()))
    }

    /// Participants that a round still misses.
    pub(super) fn missing(&self, has: impl Fn(&NodeId) -> bool) -> BTreeSet<NodeId> {
        self.nodes().filter(|node| !has(node)).collect()
    }
}

/// The seats of the members of `roster`, dealers among them.
fn seats(roster: &Roster, dealers: &BTreeMap<NodeId, PartyIndex>) -> BTreeMap<NodeId, Seat> {
    let seat = |(index, node): (PartyIndex, NodeId)| {
        let seat = Seat {
            identity: roster.get(&node)?.identity,
            dealer: dealers.get(&node).copied(),
            receiver: Some(index),
        };
        Some((node, seat))
    };
    roster.by_index().filter_map(seat).collect()
}

/// `lambda_i^D * S_i` for every dealer: its constant term in a reshare.
fn constants<G: KeyGroup>(
    active: &PublicKeyPackage,
    dealers: &BTreeMap<NodeId, PartyIndex>,
) -> Result<BTreeMap<NodeId, Vec<u8>>, Misuse> {
    let points = active
        .view::<G>()
        .ok_or(Misuse::InvalidKey("the key is of another curve"))?;
    let weights = polynomial::lagrange_at_zero::<G>(&dealers.values().copied().collect())?;
    let constant = |(node, index): (&NodeId, &PartyIndex)| {
        let (share, weight) = (points.verifying_shares.get(index)?, weights.get(index)?);
        let point: Point<G> = Point::multi_mul_vartime(&[(*weight, *share)]);
        Some((*node, EncodedPoint::new(point).as_slice().to_vec()))
    };
    let constants: Option<_> = dealers.iter().map(constant).collect();
    constants.ok_or(Misuse::InvalidSigners("a dealer holds no share"))
}
