//! What travels: between two nodes, and between the coordinator and a node.

use mpc_core::id::{KeyId, Purpose};
use mpc_core::lineage::Sharing;
use policy::intent::SignedIntent;
use policy::statement::SignedStatement;

/// Who sends or receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Address {
    Coordinator,
    Node(usize),
}

/// Names a protocol run of a node: what it is for, and which try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RunName {
    pub(crate) kind: RunKind,
    pub(crate) request: [u8; 32],
    pub(crate) attempt: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RunKind {
    Generate,
    Reshare,
}

/// An order to make a key.
#[derive(Clone, Debug)]
pub(crate) struct NewKey {
    pub(crate) request: [u8; 32],
    pub(crate) attempt: u32,
    pub(crate) purpose: Purpose,
    pub(crate) threshold: u16,
    /// Numbers of nodes; the first has index 1.
    pub(crate) members: Vec<usize>,
}

/// An order to reshare a key.
#[derive(Clone, Debug)]
pub(crate) struct ReshareCall {
    pub(crate) request: Vec<u8>,
    /// The history of the key, for a new member.
    pub(crate) base: Vec<u8>,
    pub(crate) chain: Vec<Vec<u8>>,
}

/// A request for one share of a signature.
#[derive(Clone, Debug)]
pub(crate) struct SignCall {
    pub(crate) key: KeyId,
    pub(crate) intent: SignedIntent,
    pub(crate) approvals: Vec<SignedStatement>,
    pub(crate) commitments: Vec<Vec<u8>>,
    pub(crate) attempt: u32,
    /// The sharing that the coordinator takes for the active one.
    pub(crate) sharing: Sharing,
}

/// A message.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// Between nodes: an envelope of a protocol run.
    Peer { run: RunName, envelope: Vec<u8> },

    /// To a node: make a key.
    NewKey(NewKey),
    /// To a node: the parts of a certificate of a key.
    Certify {
        request: [u8; 32],
        parts: Vec<Vec<u8>>,
    },
    /// To a node: what have you?
    Query,
    /// To a node: remember this intent.
    Announce(Box<SignedIntent>),
    /// To a node: fresh commitments.
    Prepare { key: KeyId, digest: [u8; 32] },
    /// To a node: your share of this signature.
    Sign(Box<SignCall>),

    /// To a node: take part in a reshare.
    Reshare(Box<ReshareCall>),
    /// To a node: the parts of the certificate of a reshare.
    ReshareParts {
        key: KeyId,
        sharing: Sharing,
        parts: Vec<Vec<u8>>,
    },
    /// To a node, from anybody: the certificate of a sharing.
    Activate { key: KeyId, certificate: Vec<u8> },
    /// Between nodes: what do you know of this key? To a start of a node that came back from a backup.
    Attest { key: KeyId, challenge: [u8; 16] },
    /// Between nodes: the active sharing here.
    Attested {
        key: KeyId,
        challenge: [u8; 16],
        sharing: Sharing,
    },

    /// To the coordinator: this node's part of the certificate of a reshare.
    ResharePart { digest: [u8; 32], part: Vec<u8> },
    /// To the coordinator: the active sharing of a key here, with its certificate; nothing if the key is not known.
    Standing {
        key: KeyId,
        place: Option<(u32, u32)>,
        holds: bool,
        certificate: Vec<u8>,
    },
    /// To the coordinator: this node's part of the certificate of a key.
    Part { request: [u8; 32], part: Vec<u8> },
    /// To the coordinator: the key is active here. The public package.
    Active { request: [u8; 32], package: Vec<u8> },
    /// To the coordinator: the run has ended here without a result.
    Failed { run: RunName, why: String },
    /// To the coordinator: commitments.
    Commitments {
        key: KeyId,
        digest: [u8; 32],
        list: Vec<Vec<u8>>,
    },
    /// To the coordinator: a share of a signature.
    Share {
        digest: [u8; 32],
        attempt: u32,
        envelope: Vec<u8>,
    },
    /// To the coordinator: no share.
    Refused {
        digest: [u8; 32],
        attempt: u32,
        why: String,
        /// Asking again will not help.
        is_final: bool,
    },
}

impl Body {
    /// A few words for the trace.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::Peer { run, envelope } => {
                let kind = envelope.get(2..).unwrap_or_default();
                let len = usize::from(envelope.get(1).copied().unwrap_or(0));
                let kind = String::from_utf8_lossy(kind.get(..len).unwrap_or_default());
                format!("{kind} of {}", run.label())
            }
            Self::NewKey(order) => format!(
                "make key {} try {}, {} of {:?}",
                short(&order.request),
                order.attempt,
                order.threshold,
                order.members
            ),
            Self::Certify { request, parts } => {
                format!("certify {} with {} parts", short(request), parts.len())
            }
            Self::Query => "query".to_owned(),
            Self::Announce(intent) => format!("announce {}", short(&intent.digest())),
            Self::Prepare { .. } => "prepare".to_owned(),
            Self::Sign(call) => {
                format!("sign {} try {}", short(&call.intent.digest()), call.attempt)
            }
            Self::Reshare(_) => "reshare".to_owned(),
            Self::ReshareParts { sharing, parts, .. } => {
                format!(
                    "{} parts for {}.{}",
                    parts.len(),
                    sharing.epoch.0,
                    sharing.attempt.0
                )
            }
            Self::Activate { .. } => "activate".to_owned(),
            Self::Attest { .. } => "attest".to_owned(),
            Self::Attested { sharing, .. } => {
                format!("knows {}.{}", sharing.epoch.0, sharing.attempt.0)
            }
            Self::ResharePart { digest, .. } => format!("part for reshare {}", short(digest)),
            Self::Standing { place, .. } => format!("stands at {place:?}"),
            Self::Part { request, .. } => format!("part for {}", short(request)),
            Self::Active { request, .. } => format!("{} is active", short(request)),
            Self::Failed { run, why } => format!("{} failed: {why}", run.label()),
            Self::Commitments { list, .. } => format!("{} commitments", list.len()),
            Self::Share {
                digest, attempt, ..
            } => format!("share for {} try {attempt}", short(digest)),
            Self::Refused {
                digest,
                attempt,
                why,
                ..
            } => format!("refused {} try {attempt}: {why}", short(digest)),
        }
    }
}

impl RunName {
    pub(crate) fn label(&self) -> String {
        format!(
            "{:?} {} try {}",
            self.kind,
            short(&self.request),
            self.attempt
        )
    }
}

/// The first bytes of a name.
pub(crate) fn short(bytes: &[u8]) -> String {
    hex::encode(bytes.get(..3).unwrap_or(bytes))
}
