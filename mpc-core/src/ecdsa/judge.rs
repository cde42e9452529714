//! What a judge, who has nothing but signed messages, can find out about a signer.

use std::collections::{BTreeMap, BTreeSet};

use super::preprocess::{nonce_commitment, session_name, zero_commitment};
use super::wire::{Commit, Extend, Multiply, Opening, Response, header};
use super::{Point, Scalar, has_zero_shares};
use crate::Fault;
use crate::codec::DecodeError;
use crate::envelope::{Envelope, Kind, Recipient};
use crate::evidence::EvidenceError;
use crate::id::{NodeId, SessionId};
use crate::transcript::{self, Tag};

type Verdict = Result<(NodeId, Fault), EvidenceError>;

/// Whether every value of a message decodes, those included that its receivers look at later.
fn decode_all(signers: &BTreeSet<NodeId>, envelope: &Envelope) -> Result<(), DecodeError> {
    let (from, body) = (&envelope.header().from, envelope.body());
    match envelope.header().kind {
        Kind::EcdsaCommit => Commit::decode(signers, from, body).map(|_| ()),
        Kind::EcdsaExtend => {
            let message = Extend::decode(has_zero_shares(signers), body)?;
            match &message.zero {
                Some(zero) => Scalar::decode("a", zero.as_ref()).map(|_| ()),
                None => Ok(()),
            }
        }
        Kind::EcdsaMultiply => Multiply::decode(body)?.multiplication.check_scalars(),
        Kind::EcdsaOpen => decode_opening(&Opening::decode(signers, from, body)?),
        Kind::EcdsaRespond => {
            let message = Response::decode(body)?;
            Scalar::decode("u", &message.denominator)?;
            Scalar::decode("w", &message.numerator).map(|_| ())
        }
        _ => Ok(()),
    }
}

fn decode_opening(opening: &Opening) -> Result<(), DecodeError> {
    opening.nonce.decode("R")?;
    for masked in opening.masked.values() {
        Scalar::decode("gk", &masked.nonce)?;
        Scalar::decode("gx", &masked.key)?;
        masked.nonce_point.decode("Gk")?;
        masked.key_point.decode("Gx")?;
        if let Some(extra) = &masked.extra {
            Scalar::decode("psi", &extra.mask)?;
            let _: Point = extra.zero.decode("Z")?;
        }
    }
    Ok(())
}

/// A message for the place that its kind has in a session of these signers, or for another?
fn is_in_place(envelope: &Envelope) -> bool {
    let place = envelope.header();
    let broadcast = !matches!(place.kind, Kind::EcdsaExtend | Kind::EcdsaMultiply);
    *place == header(place.kind, place.session, place.from, place.to)
        && broadcast == (place.to == Recipient::Everyone)
}

pub(crate) fn malformed(signers: &BTreeSet<NodeId>, accused: &Envelope) -> Verdict {
    if !is_in_place(accused) {
        return Err(EvidenceError::NotProven(
            "the message is for no place of a session",
        ));
    }
    // The length of a message depends on the number of signers, which its sender never said: only values convict, or a length that
    // no number of signers gives.
    let wrong_for_all = (2..=crate::id::MAX_PARTIES).all(|count| {
        let others = stand_ins(signers, accused.header().from, count);
        decode_all(&others, accused).is_err()
    });
    match decode_all(signers, accused) {
        Err(error) if wrong_for_all => {
            let message = accused.header().kind;
            Ok((accused.header().from, Fault::Malformed { message, error }))
        }
        _ => Err(EvidenceError::NotProven("the message decodes")),
    }
}

/// `count` signers with the accused among them: for lengths, who the others are does not matter.
fn stand_ins(signers: &BTreeSet<NodeId>, accused: NodeId, count: u16) -> BTreeSet<NodeId> {
    let made_up = (0_u8..=255).map(|number| NodeId::from_bytes([number; 32]));
    let mut set = BTreeSet::from([accused]);
    for node in signers.iter().copied().chain(made_up) {
        if set.len() < usize::from(count) {
            set.insert(node);
        }
    }
    set
}

pub(crate) fn zero_share(
    signers: &BTreeSet<NodeId>,
    commit: &Envelope,
    extend: &Envelope,
) -> Verdict {
    let (first, second) = (*commit.header(), *extend.header());
    let Recipient::One(to) = second.to else {
        return Err(EvidenceError::NotProven("the extension is for nobody"));
    };
    if first
        != header(
            Kind::EcdsaCommit,
            first.session,
            first.from,
            Recipient::Everyone,
        )
        || second
            != header(
                Kind::EcdsaExtend,
                first.session,
                first.from,
                Recipient::One(to),
            )
        || !signers.contains(&to)
    {
        return Err(EvidenceError::NotProven(
            "the messages are not of one sender and session",
        ));
    }
    let committed = Commit::decode(signers, &first.from, commit.body())?;
    let zero = Extend::decode(true, extend.body())?.zero;
    let share = match &zero {
        Some(zero) => Scalar::decode("a", zero.as_ref())?,
        None => return Err(EvidenceError::NotProven("there is no zero share")),
    };
    let point = Point::mul_base(&share).encode();
    if committed.zeros.get(&to) == Some(&zero_commitment(&first.session, &first.from, &to, &point))
    {
        return Err(EvidenceError::NotProven(
            "the zero share is the one committed to",
        ));
    }
    Ok((first.from, Fault::ZeroShareMismatch))
}

pub(crate) fn opening(
    signers: &BTreeSet<NodeId>,
    commits: &[Envelope],
    accused: &Envelope,
) -> Verdict {
    let mut committed = BTreeMap::new();
    let mut first_name: Option<SessionId> = None;
    for envelope in commits {
        let place = *envelope.header();
        let session = *first_name.get_or_insert(place.session);
        if place != header(Kind::EcdsaCommit, session, place.from, Recipient::Everyone) {
            return Err(EvidenceError::NotProven(
                "the commitments are not of one session",
            ));
        }
        committed.insert(
            place.from,
            Commit::decode(signers, &place.from, envelope.body())?,
        );
    }
    let (Some(first_name), true) = (first_name, committed.keys().eq(signers)) else {
        return Err(EvidenceError::NotProven(
            "the commitments of all signers are needed",
        ));
    };
    let contributions = committed.iter().map(|(node, commit)| (node, &commit.nonce));
    let entry = session_name(&first_name, contributions);
    let from = accused.header().from;
    let opened = Opening::decode(signers, &from, accused.body())?;
    // The session of the opening is a hash of the entry's name: its author says which commitments it opens.
    let hash = transcript::hash(Tag::SSID_SIGN)
        .field(entry)
        .field(opened.request);
    let session = SessionId::from_bytes(hash.digest());
    if *accused.header() != header(Kind::EcdsaOpen, session, from, Recipient::Everyone) {
        return Err(EvidenceError::NotProven(
            "the opening is not of this session",
        ));
    }
    let commit = committed
        .get(&from)
        .ok_or(EvidenceError::NotProven("the accused has not committed"))?;
    let nonce = nonce_commitment(
        &first_name,
        &from,
        &commit.nonce,
        &opened.nonce,
        &opened.blind,
    );
    let zeros_open = opened
        .masked
        .iter()
        .all(|(to, masked)| match &masked.extra {
            None => true,
            Some(extra) => {
                commit.zeros.get(to) == Some(&zero_commitment(&first_name, &from, to, &extra.zero))
            }
        });
    if nonce == commit.commitment && zeros_open {
        return Err(EvidenceError::NotProven(
            "the opening is what was committed to",
        ));
    }
    Ok((from, Fault::CommitmentMismatch))
}
