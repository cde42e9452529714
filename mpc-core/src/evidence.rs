//! Evidence: signed messages that prove a fault to anybody who has the roster.
//!
//! Evidence is self-contained. It carries the messages of the accused, as signed, and whatever else is needed to evaluate
//! them; [`verify`] trusts nothing but the roster. It never contains a secret.
//!
//! ```text
//! u8 version = 1 | u8 claim | u32be length | context | u16be count | for each message: u32be length | envelope
//! ```
//! Each [`Claim`] defines its context and its messages; the protocol that the claim belongs to judges them. The context of
//! a key generation names purpose, threshold, attempt and request, from which a judge derives the session.

pub(crate) mod ecdsa;

use crate::codec::{DecodeError, Problem, Reader, Writer};
use crate::ecdsa::blame;
use crate::envelope::{Envelope, MAX_ENVELOPE, Recipient};
use crate::frost::wire;
use crate::id::NodeId;
use crate::roster::Roster;
use crate::{Fault, Rejection, dkg};

const VERSION: u8 = 1;
const MAX_CONTEXT: usize = 1 << 16;
const MAX_MESSAGES: u16 = 128;

/// Longest encoded evidence in bytes.
pub const MAX_EVIDENCE: usize = 8 << 20;

macro_rules! claims {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        /// What the evidence says happened, which fixes what it contains.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Claim {
            $($(#[$doc])* $name,)*
        }

        impl Claim {
            const fn code(self) -> u8 {
                match self {
                    $(Self::$name => $code,)*
                }
            }

            const fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

claims! {
    /// Two different broadcasts of one sender for one place. Context: empty. Messages: the two.
    Equivocation = 1;
    /// A message of round 1 of a key generation. Messages: the accused one.
    DkgRound1 = 2;
    /// A message of round 2. Messages: all of round 1, then the accused one.
    DkgRound2 = 3;
    /// A message of round 3: a malformed one, a wrong certificate, or a complaint, which convicts one of two parties.
    /// Messages: all of round 1, all of round 2 (not for a malformed one), then the message.
    DkgRound3 = 4;
    /// An echo that its author's originals do not give. Messages: all of round 1 if the echo is of round 2, the one with the
    /// echo, the one with the originals.
    DkgEcho = 5;
    /// A message of threshold ECDSA that does not decode. Context: the signers. Messages: the accused one.
    EcdsaMalformed = 8;
    /// A zero share of threshold ECDSA that is not the one committed to. Context: the signers. Messages: the commitments and the
    /// extension of the accused.
    EcdsaZeroShare = 9;
    /// An opening of threshold ECDSA that is not what was committed to. Context: the signers. Messages: the commitments of all, then
    /// the opening.
    EcdsaOpening = 10;
    /// A response of threshold ECDSA that its author's own explanation proves wrong. Context: the public values that the explanation is
    /// about. Messages: the openings of all, the responses of all, then the explanation.
    EcdsaBlame = 11;
    /// A signed nonce commitment that is none. Context: empty. Messages: the commitment.
    FrostCommitment = 16;
    /// A signature share that its own statement proves wrong. Context: the statement. Messages: the share.
    FrostShare = 17;
}

/// A claim with everything needed to check it. Public bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    claim: Claim,
    context: Vec<u8>,
    messages: Vec<Vec<u8>>,
}

/// Why evidence proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// The encoding is wrong.
    #[error("the evidence does not decode: {0}")]
    Malformed(#[from] DecodeError),
    /// One of the messages is not a signed message of a member.
    #[error("a message of the evidence is refused: {0}")]
    Message(#[from] Rejection),
    /// The messages are genuine and do not show a fault.
    #[error("the evidence does not prove a fault: {0}")]
    NotProven(&'static str),
}

impl Evidence {
    /// Puts evidence together. `messages` are encoded envelopes.
    pub(crate) const fn new(claim: Claim, context: Vec<u8>, messages: Vec<Vec<u8>>) -> Self {
        Self {
            claim,
            context,
            messages,
        }
    }

    /// Two different broadcasts for one place.
    #[must_use]
    pub fn equivocation(first: &Envelope, second: &Envelope) -> Self {
        let messages = [first, second].map(|envelope| envelope.as_bytes().to_vec());
        Self::new(Claim::Equivocation, Vec::new(), messages.into())
    }

    /// What it claims.
    #[must_use]
    pub const fn claim(&self) -> Claim {
        self.claim
    }

    /// The bytes to hand to others.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u8(VERSION).u8(self.claim.code()).var(&self.context);
        out.u16(u16::try_from(self.messages.len()).unwrap_or(u16::MAX));
        for message in &self.messages {
            out.var(message);
        }
        out.finish()
    }

    /// Decodes the bytes without checking what they claim.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_EVIDENCE {
            return Err(DecodeError::new("evidence", Problem::Length));
        }
        let mut reader = Reader::new(bytes);
        if reader.u8("version")? != VERSION {
            return Err(DecodeError::new("version", Problem::Unknown));
        }
        let claim = Claim::from_code(reader.u8("claim")?)
            .ok_or_else(|| DecodeError::new("claim", Problem::Unknown))?;
        let context = reader.var("context", MAX_CONTEXT)?.to_vec();
        let count = reader.u16("messages")?;
        if count > MAX_MESSAGES {
            return Err(DecodeError::new("messages", Problem::Length));
        }
        let read = |_| reader.var("message", MAX_ENVELOPE).map(<[u8]>::to_vec);
        let messages = (0..count).map(read).collect::<Result<_, _>>()?;
        reader.finish("evidence")?;
        Ok(Self {
            claim,
            context,
            messages,
        })
    }

    /// Checks the claim: who did what.
    ///
    /// # Errors
    /// [`EvidenceError`] when nothing is proven.
    pub fn judge(&self, roster: &Roster) -> Result<(NodeId, Fault), EvidenceError> {
        let open = |bytes: &Vec<u8>| Envelope::open(roster, bytes);
        let opened = || {
            self.messages
                .iter()
                .map(open)
                .collect::<Result<Vec<_>, _>>()
        };
        match self.claim {
            Claim::Equivocation => judge_equivocation(&self.context, &opened()?),
            Claim::DkgRound1 | Claim::DkgRound2 | Claim::DkgRound3 | Claim::DkgEcho => {
                dkg::judge::judge(self.claim, roster, &self.context, &self.messages)
            }
            Claim::EcdsaMalformed | Claim::EcdsaZeroShare | Claim::EcdsaOpening => {
                ecdsa::judge(self.claim, &self.context, &opened()?)
            }
            Claim::EcdsaBlame => blame::judge(&self.context, &opened()?),
            Claim::FrostCommitment => wire::judge_commitment(&self.context, &opened()?),
            Claim::FrostShare => wire::judge_share(&self.context, &opened()?),
        }
    }
}

/// Decodes and checks evidence: who did what. Needs nothing but the roster of the key.
///
/// # Errors
/// [`EvidenceError`] when nothing is proven.
pub fn verify(roster: &Roster, bytes: &[u8]) -> Result<(NodeId, Fault), EvidenceError> {
    Evidence::decode(bytes)?.judge(roster)
}

fn judge_equivocation(
    context: &[u8],
    messages: &[Envelope],
) -> Result<(NodeId, Fault), EvidenceError> {
    let [first, second] = messages else {
        return Err(EvidenceError::NotProven("two messages are needed"));
    };
    if !context.is_empty() {
        return Err(EvidenceError::NotProven("the context is not empty"));
    }
    if first.header() != second.header() || first.header().to != Recipient::Everyone {
        return Err(EvidenceError::NotProven(
            "the messages are not broadcasts for the same place",
        ));
    }
    if first.body() == second.body() {
        return Err(EvidenceError::NotProven("the messages have the same body"));
    }
    Ok((
        first.header().from,
        Fault::Equivocated {
            message: first.header().kind,
        },
    ))
}
