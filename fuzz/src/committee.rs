//! Two of three: members 1 and 2 are honest, member 3 does as the fuzzer likes. All keys come from fixed seeds.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use mpc_core::envelope::{Envelope, Kind};
use mpc_core::frost::{self, Package, SigningRequest, Tweak, wire};
use mpc_core::id::{Attempt, NodeId, PartyIndex, Purpose, RequestId, SessionId};
use mpc_core::keys::{KeyShare, PublicKeyPackage};
use mpc_core::testing::{Committee, Simulator, Stored, rng};
use rand_core::Rng as _;

/// How many sign.
pub const THRESHOLD: u16 = 2;
/// How many there are.
pub const PARTIES: u16 = 3;
/// The index of the adversary.
pub const CHEAT: u16 = 3;
/// The indices of the others.
pub const HONEST: [u16; 2] = [1, 2];
/// What keys can be for.
pub const PURPOSES: [Purpose; 2] = [Purpose::Ed25519, Purpose::Bip340];

/// The committee.
pub fn committee() -> &'static Committee {
    static COMMITTEE: OnceLock<Committee> = OnceLock::new();
    COMMITTEE.get_or_init(|| Committee::new(PARTIES, 1))
}

/// The node with this index.
#[must_use]
pub fn node(index: u16) -> NodeId {
    committee().node(index)
}

/// The adversary's node.
#[must_use]
pub fn cheat() -> NodeId {
    node(CHEAT)
}

/// A party index of the committee.
#[must_use]
pub fn index(number: u16) -> PartyIndex {
    PartyIndex::new(number).expect("an index in range")
}

/// The request that a simulator makes of a seed.
#[must_use]
pub fn request(seed: u64) -> RequestId {
    let mut request = [0; 32];
    rng(!seed).fill_bytes(&mut request);
    RequestId::from_bytes(request)
}

/// A key with everything that was said and stored when it was made. No member cheated.
#[derive(Debug)]
pub struct Key {
    /// The name of the key generation.
    pub request: RequestId,
    /// What the key is for.
    pub purpose: Purpose,
    /// What every member broadcast, by message and sender.
    pub said: BTreeMap<(Kind, NodeId), Vec<u8>>,
    /// The writes of member 1.
    pub stored: Vec<Stored>,
    simulator: Simulator,
}

impl Key {
    /// Makes a key.
    #[must_use]
    pub fn generate(purpose: Purpose, seed: u64) -> Self {
        let mut simulator = Simulator::start_with(committee().clone(), purpose, THRESHOLD, seed);
        let mut said = BTreeMap::new();
        simulator.run_with(|committee, flight| {
            let envelope =
                Envelope::open(&committee.roster, &flight.bytes).expect("a genuine message");
            said.insert((envelope.header().kind, flight.from), flight.bytes.clone());
            vec![flight]
        });
        let stored = simulator.stores.get(&node(1)).cloned().unwrap_or_default();
        Self {
            request: request(seed),
            purpose,
            said,
            stored,
            simulator,
        }
    }

    /// The key of this purpose that all targets use.
    pub fn of(purpose: Purpose) -> &'static Self {
        static KEYS: OnceLock<[Key; 2]> = OnceLock::new();
        let [ed25519, bip340] =
            KEYS.get_or_init(|| PURPOSES.map(|purpose| Self::generate(purpose, 2)));
        if purpose == Purpose::Ed25519 {
            ed25519
        } else {
            bip340
        }
    }

    /// The share of a member.
    #[must_use]
    pub fn share(&self, number: u16) -> &KeyShare {
        &self.simulator.output(number).share
    }

    /// What everybody knows of the key.
    #[must_use]
    pub fn public(&self) -> &PublicKeyPackage {
        self.share(1).public()
    }

    /// The certificate.
    #[must_use]
    pub fn certificate(&self) -> &mpc_core::dkg::DkgCertificate {
        &self.simulator.output(1).certificate
    }

    /// What all members broadcast in one round, in the order of their names.
    #[must_use]
    pub fn round(&self, kind: Kind) -> Vec<Vec<u8>> {
        self.said
            .iter()
            .filter(|((said, _), _)| *said == kind)
            .map(|(_, bytes)| bytes.clone())
            .collect()
    }

    /// What the adversary broadcast in one round.
    #[must_use]
    pub fn said_by_cheat(&self, kind: Kind) -> Vec<u8> {
        self.said.get(&(kind, cheat())).cloned().unwrap_or_default()
    }
}

/// The name of the request in [`Signing`], and its attempt.
pub const SIGNED: (RequestId, Attempt) = (RequestId::from_bytes([7; 32]), Attempt(0));

/// What keys of this purpose sign.
#[must_use]
pub fn signing_request(
    purpose: Purpose,
    message: &[u8],
    merkle_root: Option<[u8; 32]>,
) -> SigningRequest {
    let tweak = match purpose {
        Purpose::Bip340 => Tweak::TaprootKeyPath { merkle_root },
        Purpose::Ed25519 | Purpose::Ecdsa | Purpose::EcdsaRaw => Tweak::None,
    };
    SigningRequest::new(purpose, message.to_vec(), tweak).expect("a request")
}

/// One signature under way, by members 2 and 3.
#[derive(Debug)]
pub struct Signing {
    /// What they sign.
    pub package: Package,
    /// The commitments as they were sent.
    pub commitments: Vec<Vec<u8>>,
    /// The right share of member 3 as it would be sent.
    pub share: Vec<u8>,
    /// The session of that share.
    pub session: SessionId,
}

impl Signing {
    fn begin(key: &Key) -> Self {
        let mut rng = rng(3);
        let (mut sent, mut commitments, mut own) = (Vec::new(), BTreeMap::new(), None);
        for number in [2, CHEAT] {
            let (nonces, commitment) =
                frost::commit(key.share(number), &mut rng).expect("round one");
            commitments.insert(index(number), commitment);
            sent.push(wire::seal_commitment(
                committee().identity(number),
                key.public(),
                &[9; 16],
                &commitment,
            ));
            own = Some(nonces);
        }
        let request = signing_request(key.purpose, b"a message", None);
        let package = Package::new(key.public(), commitments, &request).expect("a package");
        let share =
            frost::sign(own.expect("nonces"), key.share(CHEAT), &package).expect("round two");
        let (request, attempt) = SIGNED;
        let share = wire::seal_share(
            committee().identity(CHEAT),
            &package,
            request,
            attempt,
            &share,
        )
        .expect("a signer");
        let session = Envelope::open(&committee().roster, &share)
            .expect("a genuine share")
            .header()
            .session;
        Self {
            package,
            commitments: sent,
            share,
            session,
        }
    }

    /// The signature with the key of this purpose that all targets use.
    pub fn of(purpose: Purpose) -> &'static Self {
        static SIGNINGS: OnceLock<[Signing; 2]> = OnceLock::new();
        let [ed25519, bip340] =
            SIGNINGS.get_or_init(|| PURPOSES.map(|purpose| Self::begin(Key::of(purpose))));
        if purpose == Purpose::Ed25519 {
            ed25519
        } else {
            bip340
        }
    }
}
