//! The adversary's pen: whatever bytes claim to be member 3's are given member 3's signature, so that changes reach the code
//! behind the signature check. The other members' keys sign nothing here.

use mpc_core::codec::{DecodeError, Reader, Writer};
use mpc_core::envelope::{Envelope, Header, Kind, MAX_BODY, Recipient};
use mpc_core::id::{NodeId, Purpose, SessionId};
use mpc_core::transcript::{self, Tag};

use crate::committee::{CHEAT, Key, THRESHOLD, cheat, committee};

fn parse(bytes: &[u8]) -> Result<Option<(Header, &[u8])>, DecodeError> {
    let mut reader = Reader::new(bytes);
    reader.u8("version")?;
    let len = reader.u8("kind")?;
    let kind = Kind::parse(reader.bytes("kind", usize::from(len))?);
    let session = SessionId::from_bytes(reader.array("session")?);
    let round = reader.u8("round")?;
    let from = NodeId::from_bytes(reader.array("from")?);
    let to: [u8; 32] = reader.array("to")?;
    let to = if to == [0xFF; 32] {
        Recipient::Everyone
    } else {
        Recipient::One(NodeId::from_bytes(to))
    };
    let body = reader.var("body", MAX_BODY)?;
    Ok(kind.map(|kind| {
        (
            Header {
                kind,
                session,
                round,
                from,
                to,
            },
            body,
        )
    }))
}

/// Signs what the bytes say in the name of member 3, if they are an envelope of member 3's as far as the body goes. `share_session`
/// replaces the session of a signature share; a commitment is given the session of its body.
#[must_use]
pub fn sign(bytes: &[u8], share_session: Option<SessionId>) -> Option<Vec<u8>> {
    let (mut header, body) = parse(bytes).ok().flatten()?;
    if header.from != cheat() {
        return None;
    }
    match header.kind {
        Kind::FrostCommitment => {
            header.session =
                SessionId::from_bytes(transcript::hash(Tag::FROST_COMMITMENT).field(body).digest());
        }
        Kind::FrostShare => header.session = share_session.unwrap_or(header.session),
        _ => {}
    }
    Some(Envelope::seal(committee().identity(CHEAT), &header, body))
}

/// The session of a share that answers to this statement.
#[must_use]
pub fn share_session(statement: &[u8]) -> SessionId {
    SessionId::from_bytes(transcript::hash(Tag::FROST_SHARE).field(statement).digest())
}

/// Evidence by hand: code of the claim, context, messages.
#[must_use]
pub fn evidence(claim: u8, context: &[u8], messages: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Writer::default();
    out.u8(1)
        .u8(claim)
        .var(context)
        .u16(u16::try_from(messages.len()).unwrap_or(u16::MAX));
    for message in messages {
        out.var(message);
    }
    out.finish()
}

/// Takes evidence apart: code of the claim, context, messages.
///
/// # Errors
/// The first field that is missing.
pub fn open_evidence(bytes: &[u8]) -> Result<(u8, &[u8], Vec<&[u8]>), DecodeError> {
    let mut reader = Reader::new(bytes);
    reader.u8("version")?;
    let claim = reader.u8("claim")?;
    let context = reader.var("context", bytes.len())?;
    let count = reader.u16("messages")?;
    let messages = (0..count)
        .map(|_| reader.var("message", bytes.len()))
        .collect::<Result<_, _>>()?;
    Ok((claim, context, messages))
}

/// The context of evidence about the generation of a key.
#[must_use]
pub fn context(key: &Key) -> Vec<u8> {
    let mut out = Writer::default();
    out.var(purpose_name(key.purpose))
        .u16(THRESHOLD)
        .u32(0)
        .bytes(key.request.as_bytes());
    out.finish()
}

fn purpose_name(purpose: Purpose) -> &'static [u8] {
    purpose.as_str().as_bytes()
}
