//! Threshold ECDSA among nodes of which the last is the adversary, and everything that was said in one signature that it spoilt.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use mpc_core::ecdsa::blame::blame;
use mpc_core::ecdsa::{Payload, SigningRequest};
use mpc_core::envelope::{Envelope, Kind, Recipient};
use mpc_core::hd::DerivationPath;
use mpc_core::id::{NodeId, Purpose, SessionId};
use mpc_core::testing::{Signers, rng};
use mpc_core::{Abort, Error, Strength, evidence};

use crate::forge;

/// A committee of three that signs with two or with three, and a signature that its third member spoilt.
#[derive(Debug)]
pub struct Trial {
    /// Keys and pair setups.
    pub signers: Signers,
    /// Who signs: the third member and one or both others.
    pub set: BTreeSet<NodeId>,
    /// What is signed.
    pub request: SigningRequest,
    /// The entry that it was signed with.
    pub entry: SessionId,
    /// What was said: kind, sender, receiver where it is for one.
    pub said: BTreeMap<(Kind, NodeId, Option<NodeId>), Vec<u8>>,
    /// The openings of all, the responses of all.
    pub rounds: [Vec<Vec<u8>>; 2],
    /// What everybody says of its response.
    pub explanations: Vec<Vec<u8>>,
    /// The context and the messages of the evidence that convicts the third member.
    pub proof: (Vec<u8>, Vec<Vec<u8>>),
}

/// The adversary's number.
pub const CHEAT: u16 = 3;

impl Trial {
    /// With two signers or with three.
    #[must_use]
    pub fn of(three: bool) -> &'static Self {
        static TRIALS: OnceLock<[Trial; 2]> = OnceLock::new();
        let [two, all] = TRIALS.get_or_init(|| [Self::run(2), Self::run(3)]);
        if three { all } else { two }
    }

    fn run(threshold: u16) -> Self {
        let signers = Signers::deal(Purpose::Ecdsa, threshold, 3, 11);
        let set = signers.set(if threshold == 2 { &[2, 3] } else { &[1, 2, 3] });
        let cheat = signers.committee.node(CHEAT);
        let path = DerivationPath::default();
        let request = signers.request(&set, &path, &Payload::DoubleSha256(b"a message"));
        let roster = &signers.committee.roster;
        let mut said = BTreeMap::new();
        let ended = signers.preprocess_with(&set, 5, |letter| {
            said.insert(place(&signers, &letter.bytes), letter.bytes.clone());
            vec![letter]
        });
        let (mut openings, mut responses, mut states) = (Vec::new(), Vec::new(), Vec::new());
        let mut entry = SessionId::from_bytes([0; 32]);
        for (number, (node, made)) in (0..).zip(ended) {
            let made = made.expect("an end").expect("an entry");
            entry = made.name();
            let opened = signers.open(&node, made, &request, &mut rng(number));
            let (state, opening) = opened.expect("opens");
            states.push((node, state));
            openings.push(opening);
        }
        let mut explaining = Vec::new();
        for (node, state) in states {
            let identity = signers.committee.identity_of(&node);
            let answered = state.respond_accountably(roster, identity, &openings);
            let (mut response, state) = answered.expect("responds");
            if node == cheat {
                response = signers.committee.reseal(&response, |_, body| body[31] ^= 1);
            }
            explaining.push((node, state));
            responses.push(response);
        }
        let explain = |(node, state): (NodeId, mpc_core::ecdsa::Responded)| {
            let identity = signers.committee.identity_of(&node);
            let said =
                state.explain_unchecked(roster, identity, &openings, &responses, &mut rng(9));
            said.expect("a spoilt signature")
        };
        let explanations: Vec<Vec<u8>> = explaining.into_iter().map(explain).collect();
        let verdict = blame(
            roster,
            &request,
            &entry,
            &openings,
            &responses,
            &explanations,
        );
        let verdict = verdict.expect("a verdict");
        let [abort] = verdict.guilty.as_slice() else {
            panic!("{} are guilty", verdict.guilty.len())
        };
        accuses_only(&signers, abort);
        let proof = abort.evidence.as_ref().expect("evidence").encode();
        let (_, context, messages) = forge::open_evidence(&proof).expect("evidence");
        let proof = (
            context.to_vec(),
            messages.into_iter().map(<[u8]>::to_vec).collect(),
        );
        for bytes in openings.iter().chain(&responses).chain(&explanations) {
            said.insert(place(&signers, bytes), bytes.clone());
        }
        Self {
            set,
            request,
            entry,
            said,
            rounds: [openings, responses],
            explanations,
            proof,
            signers,
        }
    }

    /// The adversary's node.
    #[must_use]
    pub fn cheat(&self) -> NodeId {
        self.signers.committee.node(CHEAT)
    }

    /// An honest signer.
    #[must_use]
    pub fn victim(&self) -> NodeId {
        self.signers.committee.node(2)
    }

    /// A genuine message of the adversary; one for a single node is for the victim.
    ///
    /// # Panics
    /// If no such message exists.
    #[must_use]
    pub fn genuine(&self, kind: Kind) -> &[u8] {
        let broadcast = self.said.get(&(kind, self.cheat(), None));
        let private = self.said.get(&(kind, self.cheat(), Some(self.victim())));
        broadcast.or(private).expect("it was said")
    }

    /// The context of evidence that names the signers.
    #[must_use]
    pub fn context(&self) -> Vec<u8> {
        let count = u16::try_from(self.set.len()).unwrap_or_default();
        let nodes = self.set.iter().flat_map(|node| *node.as_bytes());
        count.to_be_bytes().into_iter().chain(nodes).collect()
    }

    /// Checks what an honest party says after something went wrong: nobody but the adversary is named, and what is said to convict does.
    ///
    /// # Panics
    /// If not so.
    pub fn judge(&self, error: &Error) {
        match error {
            Error::Aborted(abort) => accuses_only(&self.signers, abort),
            Error::Rejected(_) | Error::Misuse(_) | Error::TimedOut { .. } => {}
            other => panic!("{other:?}"),
        }
    }

    /// Checks that evidence convicts the adversary or nobody.
    ///
    /// # Panics
    /// If not so.
    pub fn convicts_nobody_else(&self, evidence: &[u8]) {
        let verdict = evidence::verify(&self.signers.committee.roster, evidence);
        assert!(
            verdict
                .as_ref()
                .map_or(true, |(node, _)| *node == self.cheat()),
            "{verdict:?}"
        );
    }
}

fn place(signers: &Signers, bytes: &[u8]) -> (Kind, NodeId, Option<NodeId>) {
    let envelope = Envelope::open(&signers.committee.roster, bytes).expect("genuine");
    let header = envelope.header();
    let to = match header.to {
        Recipient::One(to) => Some(to),
        Recipient::Everyone => None,
    };
    (header.kind, header.from, to)
}

fn accuses_only(signers: &Signers, abort: &Abort) {
    let cheat = signers.committee.node(CHEAT);
    if let Some(peer) = abort.poisons() {
        assert_eq!(peer, cheat, "{abort:?}");
    }
    for (culprit, strength) in &abort.culprits {
        assert_eq!(*culprit, cheat, "{abort:?}");
        if *strength == Strength::Transferable {
            let proof = abort.evidence.as_ref().expect("evidence").encode();
            let verdict = evidence::verify(&signers.committee.roster, &proof);
            assert_eq!(verdict, Ok((cheat, abort.fault.clone())));
        }
    }
}
