//! The envelope of every message: who says what to whom in which session, signed.
//!
//! ```text
//! u8 version = 1 | u8 kind length | kind | session 32 | u8 round | from 32 | to 32 | u32be body length | body | signature 64
//! envh = H("env"; version, kind, session, round, from, to, SHA256(body))       the signed value
//! ```
//! `to` is 32 bytes of 0xFF for a broadcast. (Protocol notes, section 1.4.)

use core::fmt;

use crate::Rejection;
use crate::codec::{DecodeError, Problem, Reader, Writer};
use crate::id::{NodeId, SessionId};
use crate::identity::{IdentityKey, IdentityPublic};
use crate::roster::Roster;
use crate::transcript::{self, Tag};

/// Version of the protocol in every envelope.
pub const VERSION: u8 = 1;

/// Longest body in bytes.
pub const MAX_BODY: usize = 1 << 20;

/// Longest encoded envelope in bytes.
pub const MAX_ENVELOPE: usize = MAX_BODY + 256;

const BROADCAST: [u8; 32] = [0xFF; 32];

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// What a message is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Kind {
            $($(#[$doc])* $name,)*
        }

        impl Kind {
            /// Every kind there is.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The name that is signed.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

kinds! {
    /// Key generation: signed originals, after an echo did not match.
    DkgOriginals = "DKG/ORIG";
    /// Key generation: reply to an offer of base transfers, for one node.
    DkgReply = "DKG/R2P";
    /// Key generation, round 1: commitment.
    DkgRound1 = "DKG/R1";
    /// Key generation, round 2: opening, proofs and encrypted shares.
    DkgRound2 = "DKG/R2";
    /// Key generation, round 3: part of the certificate, or a complaint.
    DkgRound3 = "DKG/R3";
    /// Key generation: trial of a new pair setup, extension, for one node.
    DkgTrialExtension = "DKG/T1";
    /// Key generation: trial of a new pair setup, multiplication, for one node.
    DkgTrialMultiply = "DKG/T2";
    /// Threshold ECDSA, after a signature that does not verify: explanation of a response.
    EcdsaExplain = "SIG/BLAME";
    /// Threshold ECDSA, preprocessing round 1: commitments.
    EcdsaCommit = "SIG/P1B";
    /// Threshold ECDSA, preprocessing round 1: extension of base transfers, for one node.
    EcdsaExtend = "SIG/P1P";
    /// Threshold ECDSA, preprocessing round 2: multiplication, for one node.
    EcdsaMultiply = "SIG/P2";
    /// Threshold ECDSA, online round 1: opening.
    EcdsaOpen = "SIG/S1";
    /// Threshold ECDSA, online round 2: response.
    EcdsaRespond = "SIG/S2";
    /// Reshare: signed originals, after an echo did not match.
    ReshareOriginals = "RESHARE/ORIG";
    /// Reshare: reply to an offer of base transfers, for one node.
    ReshareReply = "RESHARE/R2P";
    /// Reshare, round 1: commitment.
    ReshareRound1 = "RESHARE/R1";
    /// Reshare, round 2: opening, proofs and encrypted shares.
    ReshareRound2 = "RESHARE/R2";
    /// Reshare, round 3: parts of the certificate, or a complaint.
    ReshareRound3 = "RESHARE/R3";
    /// Reshare: trial of a new pair setup, extension, for one node.
    ReshareTrialExtension = "RESHARE/T1";
    /// Reshare: trial of a new pair setup, multiplication, for one node.
    ReshareTrialMultiply = "RESHARE/T2";
    /// Commitments to signing nonces.
    FrostCommitment = "FROST.C";
    /// Share of a signature.
    FrostShare = "FROST.Z";
}

impl Kind {
    /// The inverse of [`Self::as_str`].
    #[must_use]
    pub fn parse(name: &[u8]) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|kind| kind.as_str().as_bytes() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// For whom a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Recipient {
    /// A broadcast.
    Everyone,
    /// One node.
    One(NodeId),
}

impl Recipient {
    const fn bytes(&self) -> &[u8; 32] {
        match self {
            Self::Everyone => &BROADCAST,
            Self::One(node) => node.as_bytes(),
        }
    }

    fn from_bytes(bytes: [u8; 32]) -> Self {
        if bytes == BROADCAST {
            Self::Everyone
        } else {
            Self::One(NodeId::from_bytes(bytes))
        }
    }
}

/// Everything of an envelope except body and signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the message is.
    pub kind: Kind,
    /// The session it belongs to.
    pub session: SessionId,
    /// The round of the session, from 1; 0 outside rounds.
    pub round: u8,
    /// The sender.
    pub from: NodeId,
    /// The receiver.
    pub to: Recipient,
}

impl Header {
    fn digest(&self, body: &[u8]) -> [u8; 32] {
        transcript::hash(Tag::ENV)
            .u8(VERSION)
            .field(self.kind.as_str())
            .field(self.session)
            .u8(self.round)
            .field(self.from)
            .field(self.to.bytes())
            .field(transcript::body_digest(body))
            .digest()
    }
}

/// A message whose signature has been verified under the sender's identity key. Keeps the signed bytes, for evidence.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    header: Header,
    digest: [u8; 32],
    body: core::ops::Range<usize>,
    bytes: Vec<u8>,
}

impl Envelope {
    /// Signs and encodes a message. `header.from` must be the node of `identity`; otherwise nobody will accept it.
    #[must_use]
    pub fn seal(identity: &IdentityKey, header: &Header, body: &[u8]) -> Vec<u8> {
        Self::sealed(identity, *header, body).bytes
    }

    /// As [`Self::seal`], as a value.
    pub(crate) fn sealed(identity: &IdentityKey, header: Header, body: &[u8]) -> Self {
        let kind = header.kind.as_str().as_bytes();
        let digest = header.digest(body);
        let mut out = Writer::with_capacity(body.len().saturating_add(256));
        out.u8(VERSION)
            .u8(u8::try_from(kind.len()).unwrap_or(u8::MAX))
            .bytes(kind);
        out.bytes(header.session.as_bytes()).u8(header.round);
        out.bytes(header.from.as_bytes()).bytes(header.to.bytes());
        out.var(body).bytes(&identity.sign(&digest));
        Self::located(header, digest, body.len(), out.finish())
    }

    fn located(header: Header, digest: [u8; 32], body: usize, bytes: Vec<u8>) -> Self {
        let end = bytes.len().saturating_sub(64);
        Self {
            header,
            digest,
            body: end.saturating_sub(body)..end,
            bytes,
        }
    }

    /// Decodes an envelope and verifies its signature under the key that `roster` has for its sender.
    ///
    /// # Errors
    /// `VersionMismatch`, `Malformed`, `UnknownSender` or `BadSignature`. None of them accuses anybody.
    pub fn open(roster: &Roster, bytes: &[u8]) -> Result<Self, Rejection> {
        Self::open_with(bytes, |node| roster.get(node).map(|member| member.identity))
    }

    /// As [`Self::open`], with another directory of identity keys.
    pub(crate) fn open_with(
        bytes: &[u8],
        identity: impl Fn(&NodeId) -> Option<IdentityPublic>,
    ) -> Result<Self, Rejection> {
        let parsed = Parsed::read(bytes)?;
        let key = identity(&parsed.header.from).ok_or(Rejection::UnknownSender)?;
        let digest = parsed.header.digest(parsed.body);
        if !key.verify(&digest, &parsed.signature) {
            return Err(Rejection::BadSignature);
        }
        Ok(Self::located(
            parsed.header,
            digest,
            parsed.body.len(),
            bytes.to_vec(),
        ))
    }

    /// Decodes an envelope whose signed value somebody else vouches for; its signature is not looked at.
    pub(crate) fn vouched(bytes: &[u8]) -> Result<Self, Rejection> {
        let parsed = Parsed::read(bytes)?;
        let digest = parsed.header.digest(parsed.body);
        Ok(Self::located(
            parsed.header,
            digest,
            parsed.body.len(),
            bytes.to_vec(),
        ))
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The signed value `envh`.
    #[must_use]
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.bytes.get(self.body.clone()).unwrap_or_default()
    }

    /// The envelope as received.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Envelope({:?}, {} bytes)", self.header, self.bytes.len())
    }
}

struct Parsed<'a> {
    header: Header,
    body: &'a [u8],
    signature: [u8; 64],
}

impl<'a> Parsed<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Rejection> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8("version").map_err(Rejection::Malformed)?;
        if version != VERSION {
            return Err(Rejection::VersionMismatch { got: version });
        }
        Self::read_rest(reader).map_err(Rejection::Malformed)
    }

    fn read_rest(mut reader: Reader<'a>) -> Result<Self, DecodeError> {
        let len = reader.u8("kind")?;
        let kind = Kind::parse(reader.bytes("kind", usize::from(len))?)
            .ok_or_else(|| DecodeError::new("kind", Problem::Unknown))?;
        let session = SessionId::from_bytes(reader.array("session")?);
        let round = reader.u8("round")?;
        let from = NodeId::from_bytes(reader.array("from")?);
        let to = Recipient::from_bytes(reader.array("to")?);
        let body = reader.var("body", MAX_BODY)?;
        let signature = reader.array("signature")?;
        reader.finish("envelope")?;
        Ok(Self {
            header: Header {
                kind,
                session,
                round,
                from,
                to,
            },
            body,
            signature,
        })
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;
    use crate::id::PartyIndex;
    use crate::identity::ExchangeKey;
    use crate::roster::Member;

    fn setting() -> (Vec<IdentityKey>, Roster, Header) {
        let mut rng = ChaCha20Rng::from_seed([3; 32]);
        let keys: Vec<_> = (0..2).map(|_| IdentityKey::generate(&mut rng)).collect();
        let members = keys.iter().zip(1..).map(|(key, index)| Member {
            index: PartyIndex::new(index).unwrap(),
            identity: key.public(),
            exchange: ExchangeKey::generate(&mut rng).public(),
        });
        let roster = Roster::new(members.collect::<Vec<_>>()).unwrap();
        let header = Header {
            kind: Kind::DkgRound1,
            session: SessionId::from_bytes([9; 32]),
            round: 1,
            from: keys[0].public().node_id(),
            to: Recipient::Everyone,
        };
        (keys, roster, header)
    }

    #[test]
    fn what_is_sealed_opens() {
        let (keys, roster, header) = setting();
        let bytes = Envelope::seal(&keys[0], &header, b"body");
        let envelope = Envelope::open(&roster, &bytes).unwrap();
        assert_eq!(
            (envelope.header(), envelope.body(), envelope.as_bytes()),
            (&header, &b"body"[..], &bytes[..])
        );
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let (keys, roster, header) = setting();
        let bytes = Envelope::seal(&keys[0], &header, b"body");
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(Envelope::open(&roster, &changed).is_err(), "byte {at}");
        }
        for len in 0..bytes.len() {
            assert!(
                matches!(
                    Envelope::open(&roster, &bytes[..len]),
                    Err(Rejection::Malformed(_))
                ),
                "length {len}"
            );
        }
        let longer = [&bytes[..], &[0]].concat();
        let trailing = DecodeError::new("envelope", Problem::Trailing);
        assert_eq!(
            Envelope::open(&roster, &longer),
            Err(Rejection::Malformed(trailing))
        );
    }

    #[test]
    fn a62_another_version_is_named_and_accuses_nobody() {
        let (keys, roster, header) = setting();
        let mut bytes = Envelope::seal(&keys[0], &header, b"body");
        bytes[0] = 2;
        assert_eq!(
            Envelope::open(&roster, &bytes),
            Err(Rejection::VersionMismatch { got: 2 })
        );
    }

    #[test]
    fn a_sender_cannot_speak_for_another() {
        let (keys, roster, header) = setting();
        assert_eq!(
            Envelope::open(&roster, &Envelope::seal(&keys[1], &header, b"body")),
            Err(Rejection::BadSignature)
        );
        let stranger = Header {
            from: NodeId::from_bytes([0; 32]),
            ..header
        };
        assert_eq!(
            Envelope::open(&roster, &Envelope::seal(&keys[0], &stranger, b"")),
            Err(Rejection::UnknownSender)
        );
    }
}
