//! The signed forms of commitments and shares, and evidence made of them.
//!
//! Both travel through a coordinator that nobody has to trust, as envelopes signed by the node that made them.
//!
//! ```text
//! FROST.C   session = H("frost/com"; body)        body = key id 32 | u32be epoch | boot id 16 | u8 purpose | D | E
//! FROST.Z   session = H("frost/z"; statement)     body = z 32
//! statement = u8 purpose | key id 32 | u32be epoch | X | u16be index | S_index | path | tweak | u32be length | message
//!             | u16be count | count times (u16be index, D, E) | request id 32 | u32be attempt
//! path      = u8 0 (the stored key) | u8 steps 1..=16 | steps times u32be index | chain code of X 32
//! tweak     = u8 0 (none) | u8 1 (plain BIP 340) | u8 2 (BIP 341, no tree) | u8 3 | root 32
//! ```
//! A share's session is the hash of everything the share answers to, as its author saw it. So a share is wrong or right by its own
//! author's words: an honest signer cannot be convicted by showing others a different list, and a share for another list is merely
//! refused. A commitment's session is the hash of the commitment, because a node publishes many and none contradicts another.

use super::Erased;
use super::aggregate::verify_share;
use super::commitment::{Commitment, Pair};
use super::package::{Inside, Package, Session};
use super::request::Tweak;
use super::sign::SignatureShare;
use super::suite::{Ed25519Sha512, Secp256k1Sha256Tr, Suite};
use super::taproot::OutputKey;
use crate::codec::{DecodeError, Problem, Reader, Writer};
use crate::envelope::{Envelope, Header, Kind, Recipient};
use crate::evidence::{Claim, Evidence, EvidenceError};
use crate::group::{Point, Scalar};
use crate::hd::{DerivationPath, Derive, MAX_DEPTH};
use crate::id::{Attempt, Epoch, KeyId, NodeId, PartyIndex, Purpose, RequestId, SessionId};
use crate::identity::IdentityKey;
use crate::keys::{PublicKeyPackage, purpose_code, purpose_from_code};
use crate::roster::Roster;
use crate::transcript::{self, Tag};
use crate::{Abort, Error, Fault, Misuse, Rejection};

/// A commitment that arrived in an envelope, with the boot of the node in which its nonces live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Who made it.
    pub node: NodeId,
    /// Its index in the key.
    pub index: PartyIndex,
    /// The boot of the node that made it. Nonces of an earlier boot are gone.
    pub boot_id: [u8; 16],
    /// The commitment.
    pub commitment: Commitment,
}

/// Signs a commitment for the coordinator and the other signers.
///
/// `boot_id` is fresh at every start of the node.
#[must_use]
pub fn seal_commitment(
    identity: &IdentityKey,
    key: &PublicKeyPackage,
    boot_id: &[u8; 16],
    commitment: &Commitment,
) -> Vec<u8> {
    let mut body = Writer::default();
    body.bytes(key.key_id().as_bytes())
        .u32(key.epoch().0)
        .bytes(boot_id)
        .u8(purpose_code(key.purpose()));
    body.bytes(&commitment.encode());
    let body = body.finish();
    let session = transcript::hash(Tag::FROST_COMMITMENT)
        .field(&body)
        .digest();
    Envelope::seal(
        identity,
        &header(identity, Kind::FrostCommitment, session),
        &body,
    )
}

fn header(identity: &IdentityKey, kind: Kind, session: [u8; 32]) -> Header {
    let round = if kind == Kind::FrostCommitment { 1 } else { 2 };
    let from = identity.public().node_id();
    Header {
        kind,
        session: SessionId::from_bytes(session),
        round,
        from,
        to: Recipient::Everyone,
    }
}

/// What the body of a commitment says.
struct CommitmentBody {
    key_id: KeyId,
    epoch: Epoch,
    boot_id: [u8; 16],
    commitment: Commitment,
}

impl CommitmentBody {
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let key_id = KeyId::from_bytes(reader.array("key_id")?);
        let epoch = Epoch(reader.u32("epoch")?);
        let boot_id = reader.array("boot_id")?;
        let purpose = purpose_from_code(reader.u8("purpose")?)?;
        let commitment = Commitment::read(purpose, &mut reader)?;
        reader.finish("commitment")?;
        Ok(Self {
            key_id,
            epoch,
            boot_id,
            commitment,
        })
    }
}

/// Opens a commitment that a member of the key signed for this key and epoch.
///
/// # Errors
/// [`Rejection`]s of the envelope; [`Rejection::WrongSession`] for another key, epoch or curve; [`Rejection::UnknownSender`] if the
/// sender has no share of the key. [`Fault::Malformed`] with evidence if the sender signed something that is no commitment.
pub fn open_commitment(
    roster: &Roster,
    key: &PublicKeyPackage,
    bytes: &[u8],
) -> Result<Published, Error> {
    let envelope = Envelope::open(roster, bytes)?;
    let message = expect(&envelope, Kind::FrostCommitment)?;
    let session = transcript::hash(Tag::FROST_COMMITMENT)
        .field(envelope.body())
        .digest();
    if *message.session.as_bytes() != session {
        return Err(Rejection::WrongSession.into());
    }
    let node = message.from;
    let body = CommitmentBody::decode(envelope.body()).map_err(|error| {
        let evidence = Evidence::new(Claim::FrostCommitment, Vec::new(), vec![bytes.to_vec()]);
        Abort::proven(
            node,
            Fault::Malformed {
                message: Kind::FrostCommitment,
                error,
            },
            evidence,
        )
    })?;
    let purpose = match body.commitment.0 {
        Erased::Ed25519(_) => Purpose::Ed25519,
        Erased::Taproot(_) => Purpose::Bip340,
    };
    if (body.key_id, body.epoch, purpose) != (key.key_id(), key.epoch(), key.purpose()) {
        return Err(Rejection::WrongSession.into());
    }
    let index = key.index_of(&node).ok_or(Rejection::UnknownSender)?;
    Ok(Published {
        node,
        index,
        boot_id: body.boot_id,
        commitment: body.commitment,
    })
}

fn expect(envelope: &Envelope, kind: Kind) -> Result<&Header, Rejection> {
    let header = envelope.header();
    if header.kind != kind || header.to != Recipient::Everyone {
        return Err(Rejection::Unexpected { kind: header.kind });
    }
    Ok(header)
}

/// Signs a share, together with everything it answers to.
///
/// # Errors
/// [`Misuse::InvalidSigners`] if this node does not sign in the package.
pub fn seal_share(
    identity: &IdentityKey,
    package: &Package,
    request: RequestId,
    attempt: Attempt,
    share: &SignatureShare,
) -> Result<Vec<u8>, Error> {
    let node = identity.public().node_id();
    let index = package
        .index_of(&node)
        .ok_or(Misuse::InvalidSigners("this signer is not among them"))?;
    let session = session(&statement(package, index, request, attempt)?);
    Ok(Envelope::seal(
        identity,
        &header(identity, Kind::FrostShare, session),
        &share.encode(),
    ))
}

/// Opens the share that a signer of the package signed for this request and attempt. Does not verify it: see
/// [`super::aggregate()`] and [`convict`].
///
/// # Errors
/// [`Rejection`]s of the envelope; [`Rejection::UnknownSender`] if the sender is not asked in this package;
/// [`Rejection::WrongSession`] if it answers to another key, message, list of commitments, request or attempt.
/// [`Fault::Malformed`] with evidence if what the sender signed is not a scalar.
pub fn open_share(
    roster: &Roster,
    package: &Package,
    request: RequestId,
    attempt: Attempt,
    bytes: &[u8],
) -> Result<(PartyIndex, SignatureShare), Error> {
    let envelope = Envelope::open(roster, bytes)?;
    let message = expect(&envelope, Kind::FrostShare)?;
    let index = package
        .index_of(&message.from)
        .ok_or(Rejection::UnknownSender)?;
    let statement = statement(package, index, request, attempt)?;
    if *message.session.as_bytes() != session(&statement) {
        return Err(Rejection::WrongSession.into());
    }
    let share = SignatureShare::decode(package.purpose(), envelope.body()).map_err(|error| {
        let evidence = Evidence::new(Claim::FrostShare, statement, vec![bytes.to_vec()]);
        Abort::proven(
            message.from,
            Fault::Malformed {
                message: Kind::FrostShare,
                error,
            },
            evidence,
        )
    })?;
    Ok((index, share))
}

/// Makes evidence of a sealed share that does not verify.
///
/// # Errors
/// Those of [`open_share`]; [`Misuse::NoFault`] if the share is right.
pub fn convict(
    roster: &Roster,
    package: &Package,
    request: RequestId,
    attempt: Attempt,
    bytes: &[u8],
) -> Result<Abort, Error> {
    let (index, share) = open_share(roster, package, request, attempt, bytes)?;
    let Err(Error::Aborted(local)) = verify_share(package, index, &share) else {
        return Err(Misuse::NoFault.into());
    };
    let node = package
        .signers()
        .get(&index)
        .ok_or(Error::Unreachable("a signer without a node"))?;
    let evidence = Evidence::new(
        Claim::FrostShare,
        statement(package, index, request, attempt)?,
        vec![bytes.to_vec()],
    );
    Ok(Abort::proven(*node, local.fault, evidence))
}

fn session(statement: &[u8]) -> [u8; 32] {
    transcript::hash(Tag::FROST_SHARE).field(statement).digest()
}

/// Everything that the share of `index` answers to. One to one: every part has a fixed length or says how long it is.
fn statement(
    package: &Package,
    index: PartyIndex,
    request: RequestId,
    attempt: Attempt,
) -> Result<Vec<u8>, Error> {
    let mut out = Writer::default();
    out.u8(purpose_code(package.purpose()))
        .bytes(package.key_id().as_bytes())
        .u32(package.epoch().0);
    match &package.inside {
        Erased::Ed25519(inside) => write_key(&mut out, inside, index)?,
        Erased::Taproot(inside) => write_key(&mut out, inside, index)?,
    }
    let path = package.request().path().indices();
    out.u8(u8::try_from(path.len()).map_err(|_| Error::Unreachable("a path of over 16 steps"))?);
    for index in path {
        out.u32(*index);
    }
    if !path.is_empty() {
        out.bytes(&package.facts().chain_code);
    }
    match package.request().tweak() {
        Tweak::None => out.u8(0),
        Tweak::PlainBip340 => out.u8(1),
        Tweak::TaprootKeyPath { merkle_root: None } => out.u8(2),
        Tweak::TaprootKeyPath {
            merkle_root: Some(root),
        } => out.u8(3).bytes(&root),
    };
    out.var(package.request().message());
    out.u16(
        u16::try_from(package.signers().len())
            .map_err(|_| Error::Unreachable("more than 32 signers"))?,
    );
    for signer in package.signers().keys() {
        let commitment = package
            .commitment(*signer)
            .ok_or(Error::Unreachable("a signer without a commitment"))?;
        out.u16(signer.get()).bytes(&commitment.encode());
    }
    out.bytes(request.as_bytes()).u32(attempt.0);
    Ok(out.finish())
}

fn write_key<S: Suite>(
    out: &mut Writer,
    inside: &Inside<S>,
    index: PartyIndex,
) -> Result<(), Error> {
    let points = &inside.points;
    let share = points
        .verifying_shares
        .get(&index)
        .ok_or(Error::Unreachable("a signer without a verifying share"))?;
    out.bytes(points.group_key.encode().as_slice())
        .u16(index.get())
        .bytes(share.encode().as_slice());
    Ok(())
}

/// Judges [`Claim::FrostCommitment`]: the signed body is not a commitment.
pub(crate) fn judge_commitment(
    context: &[u8],
    messages: &[Envelope],
) -> Result<(NodeId, Fault), EvidenceError> {
    let [envelope] = messages else {
        return Err(EvidenceError::NotProven("one message is needed"));
    };
    if !context.is_empty() {
        return Err(EvidenceError::NotProven("the context is not empty"));
    }
    let header = expect(envelope, Kind::FrostCommitment)?;
    let session = transcript::hash(Tag::FROST_COMMITMENT)
        .field(envelope.body())
        .digest();
    if *header.session.as_bytes() != session {
        return Err(EvidenceError::NotProven(
            "the message is not about its own body",
        ));
    }
    match CommitmentBody::decode(envelope.body()) {
        Ok(_) => Err(EvidenceError::NotProven("the commitment is well formed")),
        Err(error) => Ok((
            header.from,
            Fault::Malformed {
                message: Kind::FrostCommitment,
                error,
            },
        )),
    }
}

/// Judges [`Claim::FrostShare`]: the signed scalar is not the share that its own statement asks for.
pub(crate) fn judge_share(
    context: &[u8],
    messages: &[Envelope],
) -> Result<(NodeId, Fault), EvidenceError> {
    let [envelope] = messages else {
        return Err(EvidenceError::NotProven("one message is needed"));
    };
    let header = expect(envelope, Kind::FrostShare)?;
    if *header.session.as_bytes() != session(context) {
        return Err(EvidenceError::NotProven(
            "the share answers to another statement",
        ));
    }
    let mut reader = Reader::new(context);
    let purpose = purpose_from_code(reader.u8("purpose")?)?;
    let valid = match purpose {
        Purpose::Ed25519 => {
            judge_with::<Ed25519Sha512>(reader, envelope, |key, tweak| match tweak {
                Tweak::None => Ok(key),
                Tweak::PlainBip340 | Tweak::TaprootKeyPath { .. } => {
                    Err(DecodeError::new("tweak", Problem::Unknown))
                }
            })?
        }
        Purpose::Bip340 => judge_with::<Secp256k1Sha256Tr>(reader, envelope, |key, tweak| {
            key.tweaked_vartime(tweak)
                .map_err(|_| DecodeError::new("tweak", Problem::Unknown))
        })?,
        Purpose::Ecdsa | Purpose::EcdsaRaw => {
            return Err(DecodeError::new("purpose", Problem::Unknown).into());
        }
    };
    match valid {
        Ok(true) => Err(EvidenceError::NotProven("the share is right")),
        Ok(false) => Ok((header.from, Fault::InvalidSignatureShare)),
        Err(error) => Ok((
            header.from,
            Fault::Malformed {
                message: Kind::FrostShare,
                error,
            },
        )),
    }
}

/// Reads the rest of a statement and verifies the share against it. The outer error is about the statement, the inner one about
/// the share.
fn judge_with<S: Suite>(
    mut reader: Reader<'_>,
    envelope: &Envelope,
    tweaked: impl Fn(OutputKey<S>, Tweak) -> Result<OutputKey<S>, DecodeError>,
) -> Result<Result<bool, DecodeError>, EvidenceError>
where
    S::Group: Derive,
{
    let point = |reader: &mut Reader<'_>, field| {
        Point::decode(field, reader.bytes(field, Point::<S::Group>::BYTES)?)
    };
    let index = |reader: &mut Reader<'_>| {
        PartyIndex::new(reader.u16("index")?)
            .map_err(|_| DecodeError::new("index", Problem::Unknown))
    };
    reader.array::<32>("key_id")?;
    reader.u32("epoch")?;
    let group_key = point(&mut reader, "group_key")?;
    let accused = index(&mut reader)?;
    let verifying_share = point(&mut reader, "verifying_share")?;
    let key = read_path(&mut reader, group_key)?;
    let tweak = match reader.u8("tweak")? {
        0 => Tweak::None,
        1 => Tweak::PlainBip340,
        2 => Tweak::TaprootKeyPath { merkle_root: None },
        3 => Tweak::TaprootKeyPath {
            merkle_root: Some(reader.array("tweak")?),
        },
        _ => return Err(DecodeError::new("tweak", Problem::Unknown).into()),
    };
    let message = reader.var("message", super::MAX_MESSAGE)?;
    let count = reader.u16("count")?;
    let mut pairs = Vec::new();
    let mut last = 0;
    for _ in 0..count {
        let index = index(&mut reader)?;
        if index.get() <= last {
            return Err(DecodeError::new("index", Problem::NotCanonical).into());
        }
        last = index.get();
        pairs.push((index, Pair::read(&mut reader)?));
    }
    reader.array::<32>("request")?;
    reader.u32("attempt")?;
    reader.finish("statement")?;

    let session = Session::new_vartime(tweaked(key, tweak)?, pairs, message)
        .ok_or(EvidenceError::NotProven("the commitments cancel out"))?;
    let share = match Scalar::decode("z", envelope.body()) {
        Ok(share) => share,
        Err(error) => return Ok(Err(error)),
    };
    Ok(Ok(session.verifies_share_vartime(
        accused,
        &verifying_share,
        &share,
    )))
}

/// Reads a path and goes along it from the group key of the statement.
fn read_path<S: Suite>(
    reader: &mut Reader<'_>,
    group_key: Point<S::Group>,
) -> Result<OutputKey<S>, DecodeError>
where
    S::Group: Derive,
{
    let refuse = |problem| DecodeError::new("path", problem);
    let key = OutputKey::unchanged(group_key, group_key.encode());
    let steps = usize::from(reader.u8("path")?);
    if steps == 0 {
        return Ok(key);
    }
    if steps > MAX_DEPTH {
        return Err(refuse(Problem::Length));
    }
    let indices = (0..steps)
        .map(|_| reader.u32("path"))
        .collect::<Result<Vec<_>, _>>()?;
    let path = DerivationPath::new(indices).map_err(|_| refuse(Problem::NotCanonical))?;
    let chain_code = reader.array("chain_code")?;
    key.child_vartime(&chain_code, &path)
        .map_err(|_| refuse(Problem::Unknown))
}
