//! The misbehaviour matrix of key generation: every field of every message, broken in every way.
//!
//! Party 3 of three cheats in one field towards everybody. Both honest parties must end with exactly the expected fault,
//! name party 3 and nobody else, and hold evidence that convinces a third party who has only the roster.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of a test may fail the test"
)]

use core::ops::Range;
use std::collections::BTreeMap;
use std::sync::Arc;

use mpc_core::codec::{DecodeError, Problem};
use mpc_core::dkg::PairStatus;
use mpc_core::envelope::{Envelope, Kind};
use mpc_core::evidence;
use mpc_core::group::{Ed25519, Group, Point, Ristretto255, Scalar, Secp256k1};
use mpc_core::id::{NodeId, Purpose};
use mpc_core::pair::PairRecord;
use mpc_core::testing::{Committee, Flight, Simulator, rng};
use mpc_core::{Abort, Error, Fault, Strength};

const CHEAT: u16 = 3;
const PARTIES: u16 = 3;
const THRESHOLD: u16 = 2;

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// Bytes without structure.
    Bytes,
    /// A point of the key's group.
    Point,
    /// A point of the group of encryption keys.
    Exchange,
    /// A scalar of the key's group.
    Scalar,
    /// A scalar of the group of encryption keys.
    ExchangeScalar,
    /// Encoded point inside a proof: compared, never decoded.
    ProofPoint,
}

#[derive(Clone, Debug)]
struct Field {
    kind: Kind,
    name: &'static str,
    at: Range<usize>,
    content: Content,
}

/// What messages of keys with a setup for every pair have in addition: about each of two peers, or once for each of them.
const PEERS: [(&str, &str, &str, &str); 2] = [
    ("gen1", "reuse1", "A1", "pid1"),
    ("gen2", "reuse2", "A2", "pid2"),
];

fn layout<G: Group>(purpose: Purpose) -> Vec<Field> {
    let mut fields = Vec::new();
    let mut message = |kind, parts: &[(&'static str, usize, Content)]| {
        let mut at = 0;
        for (name, len, content) in parts {
            fields.push(Field {
                kind,
                name,
                at: at..at + len,
                content: *content,
            });
            at += len;
        }
    };
    use Content::{Bytes, Exchange, ExchangeScalar, ProofPoint};
    let mut round1 = vec![
        ("nonce", 32, Bytes),
        ("D", 32, Exchange),
        ("com", 32, Bytes),
    ];
    let mut certificate = vec![
        ("form", 1, Bytes),
        ("echo", 32, Bytes),
        ("T", 32, Bytes),
        ("epoch", 4, Bytes),
        ("attempt", 4, Bytes),
    ];
    if purpose.needs_pairs() {
        for (generation, reuse, offer, name) in PEERS {
            round1.extend([
                (generation, 4, Bytes),
                (reuse, 1, Bytes),
                (offer, 32, Bytes),
            ]);
            certificate.push((name, 32, Bytes));
        }
    }
    certificate.push(("sig", 64, Bytes));
    message(Kind::DkgRound1, &round1);
    let point = G::POINT_BYTES;
    message(
        Kind::DkgRound2,
        &[
            ("echo", 32, Bytes),
            ("C0", point, Content::Point),
            ("C1", point, Content::Point),
            ("E", 32, Exchange),
            ("cc", 32, Bytes),
            ("rho", 32, Bytes),
            ("pop0.T", point, ProofPoint),
            ("pop0.z", 32, Content::Scalar),
            ("pop1.T", point, ProofPoint),
            ("pop1.z", 32, Content::Scalar),
            ("poe.T", 32, ProofPoint),
            ("poe.z", 32, ExchangeScalar),
            ("ct1", 32, Content::Scalar),
            ("ct2", 32, Content::Scalar),
            ("ct3", 32, Content::Scalar),
        ],
    );
    message(Kind::DkgRound3, &certificate);
    fields
}

/// How a field is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Absent,
    Longer,
    Zero,
    Ones,
    Identity,
    Negated,
    OtherParty,
    OtherSession,
    Torsion(usize),
}

fn changes<G: Group>(field: &Field) -> Vec<Change> {
    let mut changes = vec![
        Change::Absent,
        Change::Longer,
        Change::Zero,
        Change::Ones,
        Change::OtherParty,
        Change::OtherSession,
    ];
    match field.content {
        Content::Bytes => {}
        Content::Scalar | Content::ExchangeScalar => changes.push(Change::Negated),
        Content::Point | Content::Exchange | Content::ProofPoint => {
            changes.extend([Change::Identity, Change::Negated]);
        }
    }
    let curve_point = matches!(field.content, Content::Point | Content::ProofPoint)
        && !field.name.starts_with("poe");
    if G::NAME == "ed25519" && curve_point {
        changes.extend((0..7).map(Change::Torsion));
    }
    changes
}

/// The broken field: `own` is the right one, `other` party 1's, `old` party 3's in another session.
fn broken<G: Group>(
    field: &Field,
    change: Change,
    own: &[u8],
    other: &[u8],
    old: &[u8],
) -> Vec<u8> {
    let exchange = matches!(field.content, Content::Exchange | Content::ExchangeScalar)
        || field.name == "poe.T";
    match change {
        Change::Absent => Vec::new(),
        Change::Longer => [own, &own[..1]].concat(),
        Change::Zero => vec![0; own.len()],
        Change::Ones => vec![0xFF; own.len()],
        Change::OtherParty => other.to_vec(),
        Change::OtherSession => old.to_vec(),
        Change::Identity if exchange => Point::<Ristretto255>::identity()
            .encode()
            .as_slice()
            .to_vec(),
        Change::Identity => Point::<G>::identity().encode().as_slice().to_vec(),
        Change::Negated => match field.content {
            Content::Scalar => (-Scalar::<G>::decode("", own).unwrap()).encode().to_vec(),
            Content::ExchangeScalar => (-Scalar::<Ristretto255>::decode("", own).unwrap())
                .encode()
                .to_vec(),
            _ if exchange => (-Point::<Ristretto255>::decode("", own).unwrap())
                .encode()
                .as_slice()
                .to_vec(),
            _ => (-Point::<G>::decode("", own).unwrap())
                .encode()
                .as_slice()
                .to_vec(),
        },
        Change::Torsion(which) => {
            let point = Point::<Ed25519>::decode("", own).unwrap();
            point.with_each_torsion()[which].as_slice().to_vec()
        }
    }
}

fn malformed(message: Kind, field: &'static str, problem: Problem) -> Fault {
    Fault::Malformed {
        message,
        error: DecodeError::new(field, problem),
    }
}

/// The fault that a change must lead to.
fn expected<G: Group>(field: &Field, change: Change) -> Fault {
    let ed25519 = G::NAME == "ed25519";
    let resized = matches!(change, Change::Absent | Change::Longer);
    match field.kind {
        Kind::DkgRound1 | Kind::DkgRound2 if resized => {
            malformed(field.kind, "body", Problem::Length)
        }
        Kind::DkgRound1 => match (field.name, change) {
            ("D", Change::Zero | Change::Identity) => {
                malformed(field.kind, "receiving_key", Problem::Identity)
            }
            ("reuse1" | "reuse2", Change::Zero) => {
                malformed(field.kind, "offer", Problem::Identity)
            }
            ("reuse1" | "reuse2", Change::Ones) => malformed(field.kind, "reuse", Problem::Unknown),
            ("A1" | "A2", Change::Ones) => malformed(field.kind, "offer", Problem::NotCanonical),
            ("D", Change::Ones) => malformed(field.kind, "receiving_key", Problem::NotOnCurve),
            // The cheat goes on with what it had drawn, which exposes a second version of its message.
            _ => Fault::Equivocated {
                message: Kind::DkgRound1,
            },
        },
        Kind::DkgRound2 => match (field.name, change) {
            ("echo", _) => Fault::EchoUnsupported {
                message: Kind::DkgRound1,
            },
            ("C0" | "C1", Change::Zero) if ed25519 => {
                malformed(field.kind, "coefficients", Problem::Torsion)
            }
            ("C0" | "C1", Change::Zero | Change::Identity) => {
                malformed(field.kind, "coefficients", Problem::Identity)
            }
            ("C0" | "C1", Change::Ones) => {
                let problem = if ed25519 {
                    Problem::NotCanonical
                } else {
                    Problem::Unknown
                };
                malformed(field.kind, "coefficients", problem)
            }
            ("C0" | "C1", Change::Torsion(_)) => {
                malformed(field.kind, "coefficients", Problem::Torsion)
            }
            ("E", Change::Zero | Change::Identity) => {
                malformed(field.kind, "sending_key", Problem::Identity)
            }
            ("E", Change::Ones) => malformed(field.kind, "sending_key", Problem::NotOnCurve),
            ("C0" | "C1" | "E" | "cc" | "rho", _) => Fault::CommitmentMismatch,
            ("pop0.z" | "pop1.z", Change::Ones) => {
                malformed(field.kind, "coefficient_proofs", Problem::NotCanonical)
            }
            ("poe.z", Change::Ones) => {
                malformed(field.kind, "sending_proof", Problem::NotCanonical)
            }
            ("pop0.T" | "pop0.z", _) => Fault::InvalidProof {
                proof: "coefficient",
                number: 0,
            },
            ("pop1.T" | "pop1.z", _) => Fault::InvalidProof {
                proof: "coefficient",
                number: 1,
            },
            ("poe.T" | "poe.z", _) => Fault::InvalidProof {
                proof: "sending key",
                number: 0,
            },
            (_, Change::Ones) => malformed(field.kind, "shares", Problem::NotCanonical),
            // The cheat's own share concerns nobody else: only its echo shows that it had sent another version.
            ("ct3", _) => Fault::Equivocated {
                message: Kind::DkgRound2,
            },
            _ => Fault::InvalidShare,
        },
        _ => match (field.name, change) {
            ("form", Change::Absent | Change::Zero | Change::Ones) => {
                malformed(field.kind, "form", Problem::Unknown)
            }
            _ if resized => malformed(field.kind, "body", Problem::Length),
            ("epoch", Change::Ones) => malformed(field.kind, "epoch", Problem::Unknown),
            ("attempt", Change::Ones) => malformed(field.kind, "attempt", Problem::Unknown),
            ("echo", _) => Fault::EchoUnsupported {
                message: Kind::DkgRound2,
            },
            ("T", _) => Fault::CertificateMismatch,
            // The names of the setups are under the signature.
            ("sig" | "pid1" | "pid2", _) => Fault::InvalidProof {
                proof: "certificate",
                number: 0,
            },
            other => panic!("no expectation for {other:?}"),
        },
    }
}

fn convicted(simulator: &Simulator, index: u16, fault: &Fault, case: &str) {
    let cheat = simulator.committee.node(CHEAT);
    assert!(
        simulator
            .results
            .contains_key(&simulator.committee.node(index)),
        "{case}: party {index} has not ended"
    );
    let Error::Aborted(Abort {
        fault: found,
        culprits,
        evidence,
    }) = simulator.error(index)
    else {
        panic!(
            "{case}: party {index} ended with {:?}",
            simulator.error(index)
        );
    };
    assert_eq!(found, fault, "{case}: party {index}");
    assert_eq!(
        culprits,
        &[(cheat, Strength::Transferable)],
        "{case}: party {index}"
    );
    let bytes = evidence.as_ref().unwrap().encode();
    let verdict = evidence::verify(&simulator.committee.roster, &bytes);
    assert_eq!(verdict, Ok((cheat, fault.clone())), "{case}: party {index}");
}

/// The bodies of all messages of an honest run, by kind and sender.
fn bodies(simulator: &mut Simulator) -> Vec<(Kind, u16, Vec<u8>)> {
    let mut bodies = Vec::new();
    simulator.run_with(|committee, flight| {
        let envelope = Envelope::open(&committee.roster, &flight.bytes).unwrap();
        let sender = committee.roster.index(&flight.from).unwrap().get();
        bodies.push((envelope.header().kind, sender, envelope.body().to_vec()));
        vec![flight]
    });
    bodies
}

/// A live setup for every pair, if keys of this purpose need one.
fn live_pairs(
    committee: &Committee,
    purpose: Purpose,
) -> BTreeMap<NodeId, BTreeMap<NodeId, PairStatus>> {
    let mut pairs = BTreeMap::<_, BTreeMap<_, _>>::new();
    for (one, other) in [(1, 2), (1, 3), (2, 3)] {
        if purpose.needs_pairs() {
            let nodes = [one, other].map(|index| committee.node(index));
            let records = PairRecord::deal(nodes, 3, &mut rng(u64::from(one * other)));
            for (node, record) in nodes.into_iter().zip(records) {
                let status = PairStatus {
                    last_generation: 3,
                    live: Some(Arc::new(record)),
                };
                let peer = nodes.into_iter().find(|peer| *peer != node).unwrap();
                pairs.entry(node).or_default().insert(peer, status);
            }
        }
    }
    pairs
}

fn matrix<G: Group>(purpose: Purpose) {
    let committee = Committee::new(PARTIES, 1);
    let start = |seed| {
        let pairs = live_pairs(&committee, purpose);
        Simulator::start_paired(committee.clone(), purpose, THRESHOLD, seed, pairs)
    };
    let mut reference = start(1);
    let other_session = bodies(&mut start(2));
    let this_session = bodies(&mut reference);
    let body = |of: &[(Kind, u16, Vec<u8>)], kind, sender| {
        of.iter()
            .find(|(k, s, _)| (*k, *s) == (kind, sender))
            .unwrap()
            .2
            .clone()
    };
    for field in layout::<G>(purpose) {
        let own = body(&this_session, field.kind, CHEAT)[field.at.clone()].to_vec();
        let other = body(&this_session, field.kind, 1)[field.at.clone()].to_vec();
        let old = body(&other_session, field.kind, CHEAT)[field.at.clone()].to_vec();
        for change in changes::<G>(&field) {
            let replacement = broken::<G>(&field, change, &own, &other, &old);
            if replacement == own {
                continue; // epoch and attempt are zero, echoes and transcripts are common, forms are equal
            }
            let case = format!("{} {} {change:?}", field.kind, field.name);
            let mut simulator = start(1);
            let cheat = simulator.committee.node(CHEAT);
            simulator.run_with(|committee, flight| {
                let bytes = if flight.from == cheat {
                    committee.reseal(&flight.bytes, |header, body| {
                        if header.kind == field.kind {
                            body.splice(field.at.clone(), replacement.iter().copied());
                        }
                    })
                } else {
                    flight.bytes
                };
                vec![Flight { bytes, ..flight }]
            });
            // A cheat that has finished does not answer for the echo it broke: that is silence, not proof.
            let silent = (
                field.kind,
                field.name,
                change == Change::Absent || change == Change::Longer,
            ) == (Kind::DkgRound3, "echo", false);
            if silent {
                simulator.expire();
            }
            for index in 1..CHEAT {
                if silent {
                    let missing = [cheat].into();
                    assert_eq!(
                        simulator.error(index),
                        &Error::TimedOut { missing },
                        "{case}"
                    );
                } else {
                    convicted(&simulator, index, &expected::<G>(&field, change), &case);
                }
            }
        }
    }
}

#[test]
fn a51_every_field_broken_in_every_way_convicts_the_cheat_ed25519() {
    matrix::<Ed25519>(Purpose::Ed25519);
}

#[test]
fn every_field_broken_in_every_way_convicts_the_cheat_bip340() {
    matrix::<Secp256k1>(Purpose::Bip340);
}

#[test]
fn every_field_broken_in_every_way_convicts_the_cheat_ecdsa() {
    matrix::<Secp256k1>(Purpose::Ecdsa);
}
