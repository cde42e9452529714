//! Known answers of an independent model: every body of every message of whole signatures. See tests/vectors/README.md.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mpc_core::codec::Writer;
use mpc_core::ecdsa::preprocess::{Preprocessing, Setup};
use mpc_core::ecdsa::{self, Payload, PoolEntry, SigningRequest};
use mpc_core::envelope::{Envelope, Kind, Recipient};
use mpc_core::group::{Point, Secp256k1};
use mpc_core::id::{
    Attempt, Epoch, KeyId, NodeId, PartyIndex, PoolId, Purpose, RequestId, SharingId,
};
use mpc_core::identity::{ExchangeKey, IdentityKey};
use mpc_core::keys::{KeyFacts, KeyShare, PublicKeyPackage, PublicPoints};
use mpc_core::pair::PairRecord;
use mpc_core::roster::{Member, Roster};
use mpc_core::secret::SecretScalar;
use mpc_core::session::{Effects, Inbound, Ready, Session, Step};
use mpc_core::testing::{Script, rng};
use mpc_core::transcript::body_digest;
use zeroize::Zeroizing;

use crate::records::Record;
use crate::signing::verify;

struct Vectors(Vec<Record>);

impl Vectors {
    fn read() -> Self {
        Self(Record::parse(include_str!("../vectors/ecdsa.txt")))
    }

    fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Record> {
        let records = self.0.iter();
        records.filter(move |record| record.text("record") == kind)
    }
}

fn number(record: &Record, name: &str) -> u16 {
    record.text(name).parse().unwrap()
}

fn index(number: u16) -> PartyIndex {
    PartyIndex::new(number).unwrap()
}

/// Everything that one signature needs.
struct Case<'a> {
    record: &'a Record,
    roster: Roster,
    identities: BTreeMap<u16, Arc<IdentityKey>>,
    pairs: BTreeMap<(NodeId, NodeId), Arc<PairRecord>>,
    public: PublicKeyPackage,
    signers: Vec<u16>,
}

/// One half of a setup, in the encoding that records have at rest.
fn half(peer: &NodeId, record: &Record, [mine, theirs]: [&str; 2]) -> PairRecord {
    let [zero, one] = ["zero", "one"].map(|seed| record.bytes(&format!("{mine}.{seed}")));
    let delta: [u8; 16] = record.array(&format!("{mine}.delta"));
    let [their_zero, their_one] =
        ["zero", "one"].map(|seed| record.bytes(&format!("{theirs}.{seed}")));
    let mut out = Writer::default();
    out.u8(1).bytes(peer.as_bytes()).u32(1);
    out.bytes(&record.bytes("pid"));
    for (zero, one) in zero.chunks(16).zip(one.chunks(16)) {
        out.bytes(zero).bytes(one);
    }
    out.bytes(&delta);
    let seeds = their_zero.chunks(16).zip(their_one.chunks(16));
    for (column, (zero, one)) in seeds.enumerate() {
        let chosen = (u128::from_le_bytes(delta) >> column) & 1 == 1;
        out.bytes(if chosen { one } else { zero });
    }
    PairRecord::dangerous_from_bytes(&out.finish()).unwrap()
}

impl<'a> Case<'a> {
    fn new(vectors: &Vectors, record: &'a Record) -> Self {
        let (threshold, parties) = (number(record, "threshold"), number(record, "parties"));
        let of_this = |other: &&Record| number(other, "threshold") == threshold;
        let nodes = vectors.of("nodes").find(of_this).unwrap();
        let identities: BTreeMap<_, _> = (1..=parties)
            .map(|number| {
                let seed = Zeroizing::new(nodes.array(&format!("identity.{number}")));
                (number, Arc::new(IdentityKey::from_seed(seed)))
            })
            .collect();
        let members = identities.iter().map(|(number, identity)| Member {
            index: index(*number),
            identity: identity.public(),
            exchange: ExchangeKey::generate(&mut rng(u64::from(*number))).public(),
        });
        let roster = Roster::new(members.collect::<Vec<_>>()).unwrap();
        let node = |number: u16| identities[&number].public().node_id();
        let mut pairs = BTreeMap::new();
        for pair in vectors.of("pair").filter(of_this) {
            let [one, other] = ["one", "other"].map(|side| node(number(pair, side)));
            let first = half(&other, pair, ["one", "other"]);
            let second = half(&one, pair, ["other", "one"]);
            pairs.insert((one, other), Arc::new(first));
            pairs.insert((other, one), Arc::new(second));
        }
        let point = |name: &str| Point::<Secp256k1>::decode("point", &record.bytes(name)).unwrap();
        let verifying_shares = (1..=parties)
            .map(|number| (index(number), point(&format!("point.{number}"))))
            .collect();
        let facts = KeyFacts {
            key_id: KeyId::from_bytes(record.array("key_id")),
            sharing: SharingId::from_bytes(record.array("sharing")),
            purpose: Purpose::Ecdsa,
            epoch: Epoch(0),
            attempt: Attempt(0),
            threshold,
            chain_code: record.array("chain_code"),
        };
        let points = PublicPoints {
            group_key: point("group_key"),
            verifying_shares,
        };
        let public = PublicKeyPackage::new(facts, roster.by_index().collect(), points).unwrap();
        let signers = record.text("signers").split(' ');
        Self {
            signers: signers.map(|signer| signer.parse().unwrap()).collect(),
            record,
            roster,
            identities,
            pairs,
            public,
        }
    }

    fn node(&self, number: u16) -> NodeId {
        self.identities[&number].public().node_id()
    }

    fn set(&self) -> BTreeSet<NodeId> {
        self.signers
            .iter()
            .map(|number| self.node(*number))
            .collect()
    }

    fn setup(&self, me: u16) -> Setup {
        let others = self.signers.iter().filter(|other| **other != me);
        let pairs = others.map(|other| {
            let peer = self.node(*other);
            (peer, Arc::clone(&self.pairs[&(self.node(me), peer)]))
        });
        Setup {
            roster: self.roster.clone(),
            me: self.node(me),
            signers: self.set(),
            pool_id: PoolId::from_bytes(self.record.array("pool_id")),
            pairs: pairs.collect(),
        }
    }

    /// Compares the body of a message with the model's.
    fn compare(&self, bytes: &[u8]) {
        let envelope = Envelope::open(&self.roster, bytes).unwrap();
        let place = envelope.header();
        let short = match place.kind {
            Kind::EcdsaCommit => "P1B",
            Kind::EcdsaExtend => "P1P",
            Kind::EcdsaMultiply => "P2",
            Kind::EcdsaOpen => "S1",
            Kind::EcdsaRespond => "S2",
            kind => panic!("{kind} is no message of a signature"),
        };
        let number = |node| self.roster.index(node).unwrap().get();
        let name = match place.to {
            Recipient::Everyone => format!("{short}.{}", number(&place.from)),
            Recipient::One(to) => format!("{short}.{}.{}", number(&place.from), number(&to)),
        };
        let body = envelope.body();
        let expected = self.record.bytes(&name);
        if body.len() > 2000 {
            assert_eq!(body_digest(body)[..], expected, "{name}");
        } else {
            assert_eq!(hex::encode(body), hex::encode(expected), "{name}");
        }
    }

    /// Runs preprocessing with the model's draws. Every message is compared; how many there were comes too.
    fn preprocess(&self) -> (BTreeMap<u16, PoolEntry>, usize) {
        let mut letters = std::collections::VecDeque::new();
        let mut runs = BTreeMap::new();
        let mut entries = BTreeMap::new();
        let mut compared = 0;
        for number in &self.signers {
            let draws = self.record.bytes(&format!("draws.{number}"));
            let mut script = Script::default().then(&draws);
            let identity = Arc::clone(&self.identities[number]);
            let (run, step) =
                Preprocessing::start(self.setup(*number), identity, &mut script, 0, 1000).unwrap();
            assert_eq!(script.remaining(), 0, "all draws are used");
            runs.insert(self.node(*number), (*number, run));
            letters.extend(carry_out(step).send.into_iter().map(|sent| (*number, sent)));
        }
        while let Some((from, letter)) = letters.pop_front() {
            self.compare(&letter.bytes);
            compared += 1;
            let Recipient::One(to) = letter.to else {
                panic!("every message is addressed")
            };
            let (number, run) = runs.get_mut(&to).unwrap();
            let inbound = Inbound {
                from: self.node(from),
                bytes: letter.bytes,
            };
            let effects = carry_out(run.handle(inbound, 1).unwrap());
            letters.extend(effects.send.into_iter().map(|sent| (*number, sent)));
            if let Some(entry) = effects.output {
                entries.insert(*number, entry);
            }
        }
        (entries, compared)
    }
}

fn carry_out<O>(step: Step<O>) -> Effects<O> {
    match step.split() {
        Ready::Now(effects) => effects,
        Ready::AfterWrite(write, held) => held.release(write.stored()).unwrap(),
    }
}

#[test]
fn every_message_of_a_signature_matches_the_model() {
    let vectors = Vectors::read();
    let mut signatures = 0;
    for record in vectors.of("signature") {
        signatures += 1;
        let case = Case::new(&vectors, record);
        let (entries, compared) = case.preprocess();
        let peers = case.signers.len() - 1;
        assert_eq!(
            compared,
            case.signers.len() * peers * 3,
            "P1B, P1P and P2 to every peer"
        );
        assert_eq!(entries.len(), case.signers.len());

        let path = record.text("path").parse().unwrap();
        let message = record.bytes("message");
        let request_id = RequestId::from_bytes(record.array("request_id"));
        let payload = Payload::Sha256(&message);
        let request =
            SigningRequest::new(&case.public, &case.set(), &path, &payload, request_id).unwrap();
        assert_eq!(request.name()[..], record.bytes("hreq"));
        let name = entries.values().next().unwrap().name();
        assert_eq!(name.as_bytes()[..], record.bytes("ssid"));

        let mut states = BTreeMap::new();
        let mut openings = Vec::new();
        for (number, entry) in entries {
            let secret: [u8; 32] = record.array(&format!("share.{number}"));
            let secret = SecretScalar::<Secp256k1>::decode("share", &secret).unwrap();
            let share = KeyShare::new(case.public.clone(), index(number), secret).unwrap();
            let draws = record.bytes(&format!("opening_draws.{number}"));
            let mut script = Script::default().then(&draws);
            let identity = &case.identities[&number];
            let (write, held) =
                ecdsa::open(entry, &share, request.clone(), identity, &mut script).unwrap();
            assert_eq!(script.remaining(), 0);
            let (state, opening) = held.release(write.stored()).unwrap();
            case.compare(&opening);
            states.insert(number, state);
            openings.push(opening);
        }
        let responses: Vec<_> = states
            .into_iter()
            .map(|(number, state)| {
                let identity = &case.identities[&number];
                let response = state.respond(&case.roster, identity, &openings).unwrap();
                case.compare(&response);
                response
            })
            .collect();
        let signature =
            ecdsa::combine(&case.roster, &request, &name, &openings, &responses).unwrap();
        assert_eq!(signature.to_bytes()[..], record.bytes("signature"));
        assert_eq!(
            u16::from(signature.recovery_id()),
            number(record, "recovery_id")
        );
        verify(&request, &signature);
    }
    assert_eq!(signatures, 4);
}
