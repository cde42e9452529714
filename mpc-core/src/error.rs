//! Errors, sorted by what the caller does next.

use std::collections::BTreeSet;

use crate::codec::DecodeError;
use crate::envelope::Kind;
use crate::evidence::Evidence;
use crate::id::{NodeId, Purpose};

/// The outcome of a refused or failed protocol step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A party broke the protocol. The session is dead; start anew only by an operator's decision.
    #[error("session aborted: {0}")]
    Aborted(Abort),
    /// The calling code asked for something it must not. The session is unchanged.
    #[error("misuse: {0}")]
    Misuse(Misuse),
    /// The random source failed. Nothing was sent.
    #[error("no randomness: the random source failed, nothing was sent")]
    RandomnessUnavailable,
    /// This one input was refused. The session is unchanged and nobody is accused.
    #[error("input refused: {0}")]
    Rejected(Rejection),
    /// Parties stayed silent past the deadline. The session is dead; silence is not called malice.
    #[error("timed out waiting for {} parties", missing.len())]
    TimedOut {
        /// Who did not send what the session waited for.
        missing: BTreeSet<NodeId>,
    },
    /// A state this library says it cannot be in: a bug of ours.
    #[error("internal error, please report it: {0}")]
    Unreachable(&'static str),
}

impl Error {
    /// The parties this error accuses. Silence, refusal and our own bugs accuse nobody.
    #[must_use]
    pub fn culprits(&self) -> Vec<NodeId> {
        match self {
            Self::Aborted(abort) => abort.culprits.iter().map(|(node, _)| *node).collect(),
            Self::Misuse(_)
            | Self::RandomnessUnavailable
            | Self::Rejected(_)
            | Self::TimedOut { .. }
            | Self::Unreachable(_) => Vec::new(),
        }
    }
}

impl From<Abort> for Error {
    fn from(abort: Abort) -> Self {
        Self::Aborted(abort)
    }
}

impl From<Misuse> for Error {
    fn from(misuse: Misuse) -> Self {
        Self::Misuse(misuse)
    }
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

/// How far an accusation carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strength {
    /// Only this node has seen the fault; others have to take its word.
    Local,
    /// Anybody with the roster can check it from the evidence.
    Transferable,
}

/// A broken protocol run: what was done, by whom, and the proof where there is one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault} ({} accused)", culprits.len())]
pub struct Abort {
    /// What was done.
    pub fault: Fault,
    /// By whom, and how well that is known. Empty when the fault has no author.
    pub culprits: Vec<(NodeId, Strength)>,
    /// Bytes that prove it to anybody who has the roster; see [`crate::evidence::verify`].
    pub evidence: Option<Evidence>,
}

impl Abort {
    /// A fault that `evidence` proves to anybody.
    #[must_use]
    pub fn proven(culprit: NodeId, fault: Fault, evidence: Evidence) -> Self {
        Self {
            fault,
            culprits: vec![(culprit, Strength::Transferable)],
            evidence: Some(evidence),
        }
    }

    /// A fault that cannot be laid at anybody's door.
    #[must_use]
    pub const fn unattributed(fault: Fault) -> Self {
        Self {
            fault,
            culprits: Vec::new(),
            evidence: None,
        }
    }

    /// The peer whose pair setup must never be used again, because the failed check may have told it a bit of a secret. This has to
    /// be durable, and every other session with that peer stopped, before anything else happens, an answer included (protocol notes,
    /// section 6).
    #[must_use]
    pub fn poisons(&self) -> Option<NodeId> {
        match self.fault {
            Fault::ExtensionCheck | Fault::MultiplicationCheck | Fault::ProductCheck { .. } => {
                self.culprits.first().map(|(node, _)| *node)
            }
            _ => None,
        }
    }

    /// A fault that only this node has seen.
    #[must_use]
    pub fn local(culprit: NodeId, fault: Fault) -> Self {
        Self {
            fault,
            culprits: vec![(culprit, Strength::Local)],
            evidence: None,
        }
    }
}

/// What a party did wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Its certificate is over another transcript than the one its own messages imply.
    #[error("the certificate is over another transcript")]
    CertificateMismatch,
    /// It explains its response by other public values than those of the request.
    #[error("the explanation is about other public values than the request")]
    ExplanationMismatch,
    /// What it revealed is not what it had committed to.
    #[error("the opening does not match the commitment")]
    CommitmentMismatch,
    /// It vouched for a set of messages that it could not show.
    #[error("the echo of {message} is not backed by signed originals")]
    EchoUnsupported {
        /// The echoed message.
        message: Kind,
    },
    /// It signed two different messages for one place.
    #[error("two different {message} messages were signed")]
    Equivocated {
        /// The message that exists twice.
        message: Kind,
    },
    /// Its extension of base transfers is inconsistent.
    #[error("the check of an extension failed, its pair setup must not be used again")]
    ExtensionCheck,
    /// It complained about a share that was right, or with a proof that was wrong.
    #[error("the complaint is false")]
    FalseComplaint,
    /// The group key, or a party's public share, came out as the identity. Has no author.
    #[error("the result contains the identity point, run the session again")]
    IdentityResult,
    /// A proof of knowledge does not verify.
    #[error("the proof `{proof}` number {number} does not verify")]
    InvalidProof {
        /// Which kind of proof.
        proof: &'static str,
        /// Its position, from 0.
        number: u16,
    },
    /// The share it dealt does not lie on the polynomial it committed to.
    #[error("a dealt share does not match the dealer's commitment")]
    InvalidShare,
    /// The combined signature does not verify, although every check before passed. Has no author without a blame round.
    #[error("the signature does not verify, nobody can be named")]
    InvalidSignature,
    /// Its share of a signature does not verify.
    #[error("a signature share does not verify")]
    InvalidSignatureShare,
    /// A signed message of it does not decode.
    #[error("{message} does not decode: {error}")]
    Malformed {
        /// Which message.
        message: Kind,
        /// The field and what is wrong with it.
        error: DecodeError,
    },
    /// Its multiplication message is inconsistent.
    #[error("the check of a multiplication failed, its pair setup must not be used again")]
    MultiplicationCheck,
    /// It found another nonce point than the one that the openings give.
    #[error("a response names another nonce point")]
    NonceMismatch,
    /// A new pair setup does not work. It is discarded; either of the two nodes may be at fault.
    #[error("the new pair setup with {peer} does not work and was discarded, start again")]
    PairSetupFailed {
        /// The other node; not accused of anything.
        peer: NodeId,
    },
    /// What it multiplied is not what it had committed to.
    #[error("the check of a product failed at `{value}`, its pair setup must not be used again")]
    ProductCheck {
        /// The value in question.
        value: &'static str,
    },
    /// A signer answers to another request, or another entry. It may have been asked for another one.
    #[error("a signer works on another request")]
    RequestMismatch {
        /// The signer; not accused of anything.
        node: NodeId,
    },
    /// The two nodes hold different pair setups. They need a new one.
    #[error("the pair setup with {peer} is not the one it holds, make a new one")]
    StalePair {
        /// The other node; not accused of anything.
        peer: NodeId,
    },
    /// Two other nodes hold different pair setups, so no key can be made with both. They need a new one.
    #[error("{} and {} hold different pair setups, they have to make a new one", .pair.0, .pair.1)]
    PairsDiffer {
        /// The two, in ascending order; not accused of anything.
        pair: Box<(NodeId, NodeId)>,
    },
    /// Parties were shown different messages of a round. Nobody is accused without two signed originals.
    #[error("the parties have seen different {message} messages")]
    ViewsDiffer {
        /// The message.
        message: Kind,
    },
    /// The constant term that it dealt is not the one its part of the key implies: it would change the key.
    #[error("the dealt constant term is not the dealer's part of the key")]
    WrongConstant,
    /// The zero share that it gave is not the one that it had committed to.
    #[error("a zero share does not match its commitment")]
    ZeroShareMismatch,
}

/// Why an input was refused without consequence. It could be spoofed, late, or meant for somebody else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The signature on the envelope does not verify under the sender's identity key.
    #[error("the envelope's signature does not verify")]
    BadSignature,
    /// No more messages of this sender are kept until the session has moved on.
    #[error("too many early messages from this sender")]
    BufferFull,
    /// The session has ended.
    #[error("the session has ended")]
    Finished,
    /// Not the certificate of the key in question.
    #[error("the certificate is refused: {0}")]
    InvalidCertificate(&'static str),
    /// The envelope itself does not decode.
    #[error("the envelope does not decode: {0}")]
    Malformed(DecodeError),
    /// A message for an earlier point of the protocol, or one that this protocol does not have.
    #[error("{kind} is not expected here")]
    Unexpected {
        /// What arrived.
        kind: Kind,
    },
    /// Seen before.
    #[error("this was received before")]
    Replayed,
    /// The sender is not in the roster.
    #[error("the sender is not in the roster")]
    UnknownSender,
    /// Another version of the protocol. Upgrade the older side.
    #[error("protocol version {got} is not {ours}", ours = crate::envelope::VERSION)]
    VersionMismatch {
        /// The version in the envelope.
        got: u8,
    },
    /// Addressed to somebody else.
    #[error("the envelope is addressed to another node")]
    WrongRecipient,
    /// The envelope names another sender than the channel it came through.
    #[error("the envelope's sender is not the peer of the channel")]
    WrongSender,
    /// Belongs to another session.
    #[error("the envelope belongs to another session")]
    WrongSession,
}

/// Our own side asked for something it must not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misuse {
    /// The caller's identity key is not the one in the roster.
    #[error("the identity key is not the one the roster has for this node")]
    IdentityMismatch,
    /// A share index outside 1..=32.
    #[error("party index {index} is outside 1..=32")]
    InvalidIndex {
        /// The refused number.
        index: u16,
    },
    /// Key material that contradicts itself.
    #[error("the key record is inconsistent: {0}")]
    InvalidKey(&'static str),
    /// Thresholds outside `2 <= t <= n <= 32`.
    #[error("threshold {threshold} of {parties} is outside 2 <= t <= n <= 32")]
    InvalidParams {
        /// How many should sign.
        threshold: u16,
        /// How many should hold shares.
        parties: u16,
    },
    /// A signing request that no key could fulfil.
    #[error("the signing request is invalid: {0}")]
    InvalidRequest(&'static str),
    /// A roster that cannot be.
    #[error("the roster is invalid: {0}")]
    InvalidRoster(&'static str),
    /// A set of signers that cannot sign.
    #[error("the set of signers is invalid: {0}")]
    InvalidSigners(&'static str),
    /// Evidence was asked for where nobody did anything wrong.
    #[error("there is no fault to prove")]
    NoFault,
    /// The package has another commitment for this signer than the one that belongs to the nonces.
    #[error("the package does not contain the commitment to these nonces")]
    NonceMismatch,
    /// The caller is not in the roster.
    #[error("this node is not in the roster")]
    NotAMember,
    /// BIP 341 defines no output key for this internal key and tweak. Use another script tree.
    #[error("bip341 defines no output key for this tweak")]
    TweakUndefined,
    /// Nonces, share and package belong to different keys or epochs.
    #[error("nonces, share and package are not of one key and epoch")]
    WrongKey,
    /// A key is asked for something it is not for.
    #[error("the key is for {key}, the request is for {request}")]
    WrongPurpose {
        /// What the key is for.
        key: Purpose,
        /// What was asked.
        request: Purpose,
    },
    /// A receipt for another write than the one that is waiting.
    #[error("the receipt belongs to another write")]
    WrongReceipt,
}
