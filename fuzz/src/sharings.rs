//! Reshares of one small key by honest dealers, and one that the adversary takes part in.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use mpc_core::id::{Attempt, NodeId, Purpose, RequestId};
use mpc_core::identity::IdentityPublic;
use mpc_core::keys::{KeyShare, PublicKeyPackage};
use mpc_core::reshare::{Certificate, Proposal, Request, Session, Setup};
use mpc_core::roster::Roster;
use mpc_core::session::WriteKind;
use mpc_core::testing::{Committee, Stage, TIMEOUT_MS, rng};

use crate::committee::{Key, THRESHOLD};

/// Who deals and who is to hold the new sharing, by number, and the new threshold.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// The dealers.
    pub dealers: &'static [u16],
    /// The new committee, by index.
    pub members: &'static [u16],
    /// The new threshold.
    pub threshold: u16,
}

/// A refresh, a change of members, a member that leaves, and a higher threshold; member 3 takes part in all of them.
pub const CUTS: [Cut; 4] = [
    Cut {
        dealers: &[1, 3],
        members: &[1, 2, 3],
        threshold: 2,
    },
    Cut {
        dealers: &[1, 3],
        members: &[2, 3, 4],
        threshold: 2,
    },
    Cut {
        dealers: &[1, 2, 3],
        members: &[1, 2, 4],
        threshold: 2,
    },
    Cut {
        dealers: &[2, 3],
        members: &[1, 2, 3, 4],
        threshold: 3,
    },
];

impl Cut {
    /// The numbers of all participants.
    #[must_use]
    pub fn participants(&self) -> Vec<u16> {
        let mut all: Vec<u16> = self.dealers.iter().chain(self.members).copied().collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// The committee of the key and a fourth node that has nothing to do with it yet.
pub fn nodes() -> &'static Committee {
    static NODES: OnceLock<Committee> = OnceLock::new();
    NODES.get_or_init(|| Committee::new(4, 1))
}

fn roster(numbers: &[u16]) -> Roster {
    let member = |(index, number): (u16, &u16)| {
        let node = nodes().node(*number);
        let mut member = nodes().roster.get(&node).expect("a node").clone();
        member.index = crate::committee::index(index);
        member
    };
    let members: Vec<_> = (1..).zip(numbers).map(member).collect();
    Roster::new(members).expect("a roster")
}

/// What is asked of the nodes.
#[must_use]
pub fn request(active: &PublicKeyPackage, cut: &Cut, attempt: u32) -> Request {
    let identity = |number: &u16| -> IdentityPublic { nodes().identity(*number).public() };
    Request::new(Proposal {
        active: active.clone(),
        dealers: cut.dealers.iter().map(identity).collect(),
        roster: roster(cut.members),
        threshold: cut.threshold,
        attempt: Attempt(attempt),
        fresh_pairs: false,
        request_id: RequestId::from_bytes([attempt.to_be_bytes()[3]; 32]),
    })
    .expect("a request")
}

/// A share once more: shares are not copied anywhere else.
#[must_use]
pub fn again(share: &KeyShare) -> Arc<KeyShare> {
    let bytes = share.dangerous_to_bytes();
    Arc::new(KeyShare::dangerous_from_bytes(&bytes).expect("a share"))
}

/// Everybody enters. `shares` are those of the active sharing.
#[must_use]
pub fn start(
    request: &Request,
    shares: &BTreeMap<NodeId, Arc<KeyShare>>,
    seed: u64,
) -> Stage<Session> {
    let mut stage = Stage::new(request.participants());
    for (number, me) in (0..).zip(request.participants()) {
        let setup = Setup {
            request: request.clone(),
            me,
            share: shares
                .get(&me)
                .filter(|_| request.is_dealer(&me))
                .map(Arc::clone),
            pairs: BTreeMap::new(),
        };
        let identity = Arc::clone(nodes().identity_of(&me));
        let rng = &mut rng(seed.wrapping_mul(16).wrapping_add(number));
        let (session, step) =
            Session::start(setup, identity, rng, 0, TIMEOUT_MS).expect("a setup for the request");
        stage.enter(me, session, step);
    }
    stage
}

/// The shares of the key that all targets use.
#[must_use]
pub fn shares(purpose: Purpose) -> BTreeMap<NodeId, Arc<KeyShare>> {
    let key = Key::of(purpose);
    (1..=3)
        .map(|number| (nodes().node(number), again(key.share(number))))
        .collect()
}

/// A key and some sharings of it that were all certified: two of epoch 1, and one of epoch 2 on top of each.
#[derive(Debug)]
pub struct Tree {
    /// The key as it was made.
    pub base: PublicKeyPackage,
    /// Attempt 0 and attempt 1 of epoch 1, then what continues each.
    pub certificates: [Certificate; 4],
    /// What members stored before they signed, one of each certificate.
    pub prepared: Vec<Vec<u8>>,
}

impl Tree {
    /// The tree of the key of this purpose.
    pub fn of(purpose: Purpose) -> &'static Self {
        static TREES: OnceLock<[Tree; 2]> = OnceLock::new();
        let [ed25519, bip340] =
            TREES.get_or_init(|| crate::committee::PURPOSES.map(|purpose| Self::grow(purpose)));
        if purpose == Purpose::Ed25519 {
            ed25519
        } else {
            bip340
        }
    }

    fn grow(purpose: Purpose) -> Self {
        let base = Key::of(purpose).public().clone();
        let mut prepared = Vec::new();
        let origin = shares(purpose);
        let mut ends = Vec::new();
        let mut tops = Vec::new();
        for (attempt, cut) in (0..).zip([&CUTS[0], &CUTS[1]]) {
            let (lower, held) = reshare(&base, &origin, (cut, attempt), &mut prepared);
            let active = lower.verify(&base).expect("it continues the key");
            // Members 2 and 3 are in both committees.
            let next = Cut {
                dealers: &[2, 3],
                members: &[1, 2, 3],
                threshold: THRESHOLD,
            };
            let (top, _) = reshare(&active, &held, (&next, attempt), &mut prepared);
            ends.push(lower);
            tops.push(top);
        }
        ends.extend(tops);
        let certificates = ends.try_into().expect("four certificates");
        Self {
            base,
            certificates,
            prepared,
        }
    }
}

type Held = BTreeMap<NodeId, Arc<KeyShare>>;

/// A reshare without lies and losses.
fn reshare(
    active: &PublicKeyPackage,
    shares: &Held,
    (cut, attempt): (&Cut, u32),
    prepared: &mut Vec<Vec<u8>>,
) -> (Certificate, Held) {
    let request = request(active, cut, attempt);
    let seed = u64::from(attempt) + 100 * u64::from(request.epoch().0);
    let mut stage = start(&request, shares, seed);
    stage.run();
    let stored = stage.stores.values().flatten();
    prepared.extend(
        stored
            .filter(|write| write.kind == WriteKind::Share)
            .map(|write| write.bytes.clone())
            .take(1),
    );
    let mut certificate = None;
    let mut held = Held::new();
    for (node, result) in stage.results {
        let output = result.expect("all went well");
        held.extend(output.share.map(|share| (node, Arc::new(share))));
        certificate = Some(output.certificate);
    }
    (certificate.expect("participants"), held)
}
