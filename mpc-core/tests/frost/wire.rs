//! Signed commitments and shares: every field, every way to be wrong, and what can be proven about it afterwards.

use std::collections::BTreeMap;

use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::CompressedEdwardsY;
use mpc_core::codec::{DecodeError, Problem};
use mpc_core::envelope::{Envelope, Header, Kind, Recipient};
use mpc_core::evidence::{self, Evidence, EvidenceError};
use mpc_core::frost::wire::{self, Published};
use mpc_core::frost::{self, Commitment, Package, Pool, SignatureShare};
use mpc_core::id::{Attempt, Epoch, KeyId, NodeId, Purpose, RequestId, SessionId};
use mpc_core::transcript::{self, Tag};
use mpc_core::{Abort, Error, Fault, Misuse, Rejection, Strength};

use crate::committee::{Committee, index, request, rng};

const FROST: [Purpose; 2] = [Purpose::Ed25519, Purpose::Bip340];
const BOOT: [u8; 16] = [0xb0; 16];
const REQUEST: RequestId = RequestId::from_bytes([0x11; 32]);
const ATTEMPT: Attempt = Attempt(0);
/// Bytes of a commitment body before the points.
const HEAD: usize = 32 + 4 + 16 + 1;

fn node(committee: &Committee, number: u16) -> NodeId {
    committee.public.node(index(number)).unwrap()
}

/// An envelope that party `number` signs, whatever its content.
fn seal(committee: &Committee, number: u16, kind: Kind, session: [u8; 32], body: &[u8]) -> Vec<u8> {
    let round = if kind == Kind::FrostCommitment { 1 } else { 2 };
    let from = node(committee, number);
    let header = Header {
        kind,
        session: SessionId::from_bytes(session),
        round,
        from,
        to: Recipient::Everyone,
    };
    Envelope::seal(&committee.identities[&index(number)], &header, body)
}

fn seal_commitment_body(committee: &Committee, number: u16, body: &[u8]) -> Vec<u8> {
    let session = transcript::hash(Tag::FROST_COMMITMENT).field(body).digest();
    seal(committee, number, Kind::FrostCommitment, session, body)
}

/// The body of an honest commitment of party 1.
fn commitment_body(committee: &Committee) -> Vec<u8> {
    let (_, commitments) = committee.commit(&[1], 1);
    let sealed = wire::seal_commitment(
        &committee.identities[&index(1)],
        &committee.public,
        &BOOT,
        &commitments[&index(1)],
    );
    Envelope::open(&committee.roster, &sealed)
        .unwrap()
        .body()
        .to_vec()
}

/// The abort must name party 1 with evidence that convinces whoever has the roster, and nobody else's roster.
fn assert_proven(committee: &Committee, abort: &Abort, fault: &Fault) {
    assert_eq!(abort.fault, *fault);
    assert_eq!(
        abort.culprits,
        [(node(committee, 1), Strength::Transferable)]
    );
    let bytes = abort.evidence.as_ref().unwrap().encode();
    assert_eq!(
        evidence::verify(&committee.roster, &bytes),
        Ok((node(committee, 1), fault.clone()))
    );
    let elsewhere = Committee::deal(committee.public.purpose(), 2, 3, 999);
    assert_eq!(
        evidence::verify(&elsewhere.roster, &bytes),
        Err(EvidenceError::Message(Rejection::UnknownSender))
    );
}

fn refused_commitment(committee: &Committee, body: &[u8]) -> Error {
    wire::open_commitment(
        &committee.roster,
        &committee.public,
        &seal_commitment_body(committee, 1, body),
    )
    .unwrap_err()
}

fn assert_malformed(committee: &Committee, body: &[u8], field: &'static str, problem: Problem) {
    let Error::Aborted(abort) = refused_commitment(committee, body) else {
        panic!("{field} {problem:?}: no abort")
    };
    let error = DecodeError::new(field, problem);
    assert_proven(
        committee,
        &abort,
        &Fault::Malformed {
            message: Kind::FrostCommitment,
            error,
        },
    );
}

#[test]
fn commitments_round_trip() {
    for purpose in FROST {
        let committee = Committee::deal(purpose, 2, 3, 1);
        let (_, commitments) = committee.commit(&[1, 2, 3], 2);
        for (number, commitment) in &commitments {
            let sealed = wire::seal_commitment(
                &committee.identities[number],
                &committee.public,
                &BOOT,
                commitment,
            );
            let opened =
                wire::open_commitment(&committee.roster, &committee.public, &sealed).unwrap();
            let node = committee.public.node(*number).unwrap();
            assert_eq!(
                opened,
                Published {
                    node,
                    index: *number,
                    boot_id: BOOT,
                    commitment: *commitment
                }
            );
        }
    }
}

#[test]
fn commitment_matrix_lengths() {
    for purpose in FROST {
        let committee = Committee::deal(purpose, 2, 3, 2);
        let body = commitment_body(&committee);
        let point = (body.len() - HEAD) / 2;
        let fields = [
            ("key_id", 0),
            ("epoch", 32),
            ("boot_id", 36),
            ("purpose", 52),
            ("hiding", HEAD),
            ("binding", HEAD + point),
        ];
        for (at, (field, start)) in fields.iter().enumerate() {
            let end = fields.get(at + 1).map_or(body.len(), |(_, start)| *start);
            // Absent, and cut short by one byte.
            assert_malformed(&committee, &body[..*start], field, Problem::Length);
            assert_malformed(&committee, &body[..end - 1], field, Problem::Length);
        }
        assert_malformed(
            &committee,
            &[&body[..], &[0]].concat(),
            "commitment",
            Problem::Trailing,
        );
        assert_malformed(
            &committee,
            &[&body[..], &body[HEAD..]].concat(),
            "commitment",
            Problem::Trailing,
        );
    }
}

#[test]
fn commitment_matrix_head() {
    for purpose in FROST {
        let committee = Committee::deal(purpose, 2, 3, 3);
        let body = commitment_body(&committee);
        let with = |at: usize, value: &[u8]| {
            let mut body = body.clone();
            body[at..at + value.len()].copy_from_slice(value);
            body
        };
        // Well formed, about something else: refused, and nobody is accused.
        for other in [
            with(0, KeyId::from_bytes([9; 32]).as_bytes()),
            with(32, &Epoch(1).0.to_be_bytes()),
        ] {
            assert_eq!(
                refused_commitment(&committee, &other),
                Rejection::WrongSession.into()
            );
        }
        let restarted = wire::open_commitment(
            &committee.roster,
            &committee.public,
            &seal_commitment_body(&committee, 1, &with(36, &[7; 16])),
        );
        assert_eq!(restarted.unwrap().boot_id, [7; 16]);
        for code in [0, 4, 0xff] {
            assert_malformed(&committee, &with(52, &[code]), "purpose", Problem::Unknown);
        }
        // 2 is ECDSA, which has no commitments.
        assert_malformed(&committee, &with(52, &[2]), "purpose", Problem::Unknown);
    }
    // A good commitment for a key of the other curve.
    let (ed25519, taproot) = (
        Committee::deal(Purpose::Ed25519, 2, 3, 3),
        Committee::deal(Purpose::Bip340, 2, 3, 3),
    );
    for (committee, other) in [(&ed25519, &taproot), (&taproot, &ed25519)] {
        assert_eq!(
            refused_commitment(committee, &commitment_body(other)),
            Rejection::WrongSession.into()
        );
    }
}

#[test]
fn a48_commitment_matrix_points() {
    for purpose in FROST {
        let committee = Committee::deal(purpose, 2, 3, 4);
        let body = commitment_body(&committee);
        let len = (body.len() - HEAD) / 2;
        for (field, at) in [("hiding", HEAD), ("binding", HEAD + len)] {
            let with = |point: &[u8]| {
                let mut body = body.clone();
                body[at..at + len].copy_from_slice(point);
                body
            };
            let bad: Vec<(Vec<u8>, Problem)> = match purpose {
                Purpose::Ed25519 => {
                    let bytes = |first: u8, middle: u8, last: u8| {
                        [&[first][..], &[middle; 30], &[last]].concat()
                    };
                    vec![
                        // y = 0 has order 4, y = 1 is the identity, y = -1 has order 2.
                        (bytes(0, 0, 0), Problem::Torsion),
                        (bytes(1, 0, 0), Problem::Identity),
                        (bytes(0xec, 0xff, 0x7f), Problem::Torsion),
                        // Second spellings: y = p, y = p + 1, and the identity with a sign.
                        (bytes(0xed, 0xff, 0x7f), Problem::NotCanonical),
                        (bytes(0xee, 0xff, 0x7f), Problem::NotCanonical),
                        (bytes(1, 0, 0x80), Problem::NotCanonical),
                        (bytes(2, 0, 0), Problem::NotOnCurve),
                    ]
                }
                Purpose::Bip340 | Purpose::Ecdsa | Purpose::EcdsaRaw => {
                    let with_prefix = |prefix: u8, x: &[u8]| [&[prefix], x].concat();
                    let x = body[at + 1..at + 33].to_vec();
                    let modulus = hex::decode(
                        "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f",
                    )
                    .unwrap();
                    let mut off_curve = [0; 32];
                    off_curve[31] = 5;
                    vec![
                        (vec![0; 33], Problem::Identity),
                        (with_prefix(0, &x), Problem::Unknown),
                        (with_prefix(4, &x), Problem::Unknown),
                        (with_prefix(5, &x), Problem::Unknown),
                        (with_prefix(6, &x), Problem::Unknown),
                        (with_prefix(2, &modulus), Problem::NotCanonical),
                        (with_prefix(3, &[0xff; 32]), Problem::NotCanonical),
                        (with_prefix(2, &off_curve), Problem::NotOnCurve),
                    ]
                }
            };
            for (point, problem) in &bad {
                assert_malformed(&committee, &with(point), field, *problem);
            }
        }
        // Both points the same.
        let twice = [&body[..HEAD + len], &body[HEAD..HEAD + len]].concat();
        assert_malformed(&committee, &twice, "binding", Problem::Unknown);
    }
}

#[test]
fn a51_every_torsion_point_added_to_a_commitment_is_refused() {
    let committee = Committee::deal(Purpose::Ed25519, 2, 3, 5);
    let body = commitment_body(&committee);
    let mut cases = 0;
    for (field, at) in [("hiding", HEAD), ("binding", HEAD + 32)] {
        let point = CompressedEdwardsY::from_slice(&body[at..at + 32])
            .unwrap()
            .decompress()
            .unwrap();
        for torsion in &EIGHT_TORSION[1..] {
            let mut body = body.clone();
            body[at..at + 32].copy_from_slice((point + torsion).compress().as_bytes());
            assert_malformed(&committee, &body, field, Problem::Torsion);
            cases += 1;
        }
    }
    assert_eq!(cases, 14);
}

/// Two signers' answers to one package, as the coordinator has them.
struct Signing {
    committee: Committee,
    package: Package,
    shares: BTreeMap<mpc_core::id::PartyIndex, SignatureShare>,
}

impl Signing {
    fn new(purpose: Purpose, seed: u64) -> Self {
        let committee = Committee::deal(purpose, 2, 3, seed);
        let (nonces, commitments) = committee.commit(&[1, 2], seed + 1);
        let (package, shares) = committee
            .respond(nonces, &commitments, &request(purpose, b"message"))
            .unwrap();
        Self {
            committee,
            package,
            shares,
        }
    }

    fn seal(&self, number: u16, share: &SignatureShare) -> Vec<u8> {
        wire::seal_share(
            &self.committee.identities[&index(number)],
            &self.package,
            REQUEST,
            ATTEMPT,
            share,
        )
        .unwrap()
    }

    fn session(&self, number: u16) -> [u8; 32] {
        let sealed = self.seal(number, &self.shares[&index(number)]);
        *Envelope::open(&self.committee.roster, &sealed)
            .unwrap()
            .header()
            .session
            .as_bytes()
    }

    fn open(&self, bytes: &[u8]) -> Result<(mpc_core::id::PartyIndex, SignatureShare), Error> {
        wire::open_share(
            &self.committee.roster,
            &self.package,
            REQUEST,
            ATTEMPT,
            bytes,
        )
    }

    fn convict(&self, bytes: &[u8]) -> Result<Abort, Error> {
        wire::convict(
            &self.committee.roster,
            &self.package,
            REQUEST,
            ATTEMPT,
            bytes,
        )
    }
}

/// The order of the group in the encoding of scalars.
fn order(purpose: Purpose) -> [u8; 32] {
    let hex = match purpose {
        Purpose::Ed25519 => "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010",
        Purpose::Bip340 | Purpose::Ecdsa | Purpose::EcdsaRaw => {
            "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"
        }
    };
    hex::decode(hex).unwrap().try_into().unwrap()
}

#[test]
fn share_matrix_malformed() {
    for purpose in FROST {
        let signing = Signing::new(purpose, 10);
        let good = signing.shares[&index(1)].encode();
        let bad: [(&[u8], Problem); 6] = [
            (&[], Problem::Length),
            (&good[..31], Problem::Length),
            (&[&good[..], &[0]].concat(), Problem::Length),
            (&[0; 64], Problem::Length),
            (&order(purpose), Problem::NotCanonical),
            (&[0xff; 32], Problem::NotCanonical),
        ];
        for (body, problem) in bad {
            let sealed = seal(
                &signing.committee,
                1,
                Kind::FrostShare,
                signing.session(1),
                body,
            );
            let Err(Error::Aborted(abort)) = signing.open(&sealed) else {
                panic!("{problem:?}: no abort")
            };
            let fault = Fault::Malformed {
                message: Kind::FrostShare,
                error: DecodeError::new("z", problem),
            };
            assert_proven(&signing.committee, &abort, &fault);
        }
    }
}

#[test]
fn share_matrix_wrong_values_convict_their_author() {
    for purpose in FROST {
        let signing = Signing::new(purpose, 20);
        let right = signing.shares[&index(1)];
        let wrong = |bytes: [u8; 32]| SignatureShare::decode(purpose, &bytes).unwrap();
        let negated = {
            // order - z, byte by byte from the little end.
            let (mut order, mut z) = (order(purpose), right.encode());
            if purpose == Purpose::Bip340 {
                order.reverse();
                z.reverse();
            }
            let mut borrow = 0;
            let mut out = [0; 32];
            for at in 0..32 {
                let difference = i16::from(order[at]) - i16::from(z[at]) - borrow;
                borrow = i16::from(difference < 0);
                out[at] = u8::try_from(difference.rem_euclid(256)).unwrap();
            }
            if purpose == Purpose::Bip340 {
                out.reverse();
            }
            out
        };
        let other_session = Signing::new(purpose, 30).shares[&index(1)];
        for share in [
            wrong([0; 32]),
            wrong(negated),
            signing.shares[&index(2)],
            other_session,
        ] {
            let sealed = signing.seal(1, &share);
            assert_eq!(signing.open(&sealed), Ok((index(1), share)));
            let refused = frost::verify_share(&signing.package, index(1), &share).unwrap_err();
            assert_eq!(
                refused,
                Abort::local(node(&signing.committee, 1), Fault::InvalidSignatureShare).into()
            );
            assert_proven(
                &signing.committee,
                &signing.convict(&sealed).unwrap(),
                &Fault::InvalidSignatureShare,
            );
        }
        assert_eq!(
            signing.convict(&signing.seal(1, &right)),
            Err(Misuse::NoFault.into())
        );
    }
}

#[test]
fn a50_an_honest_share_convicts_nobody_whatever_is_claimed_about_it() {
    for purpose in FROST {
        let signing = Signing::new(purpose, 40);
        let sealed = signing.seal(1, &signing.shares[&index(1)]);
        let wrong = SignatureShare::decode(purpose, &[1; 32]).unwrap();
        let genuine = signing
            .convict(&signing.seal(1, &wrong))
            .unwrap()
            .evidence
            .unwrap()
            .encode();
        // version, claim, length of the context, context, count of messages, length of the message, message
        let context_end = genuine.len() - 2 - 4 - sealed.len();
        let forged = [&genuine[..context_end + 6], &sealed].concat();
        let judged = |bytes: &[u8]| evidence::verify(&signing.committee.roster, bytes);
        assert_eq!(
            judged(&genuine),
            Ok((node(&signing.committee, 1), Fault::InvalidSignatureShare))
        );
        assert_eq!(
            judged(&forged),
            Err(EvidenceError::NotProven("the share is right"))
        );
        for at in 6..context_end {
            let mut forged = forged.clone();
            forged[at] ^= 1;
            assert_eq!(
                judged(&forged),
                Err(EvidenceError::NotProven(
                    "the share answers to another statement"
                ))
            );
        }
        for at in 0..forged.len() {
            let mut forged = forged.clone();
            forged[at] ^= 1;
            assert!(judged(&forged).is_err(), "byte {at}");
            assert!(judged(&forged[..at]).is_err(), "length {at}");
        }
    }
}

#[test]
fn a50_different_lists_shown_to_different_signers_blame_nobody() {
    for purpose in FROST {
        let committee = Committee::deal(purpose, 3, 3, 50);
        let request = request(purpose, b"message");
        let (mut nonces, shown_to_1) = committee.commit(&[1, 2, 3], 51);
        // Party 3 publishes two commitments; the coordinator shows party 2 the other one.
        let (_, other) = committee.commit(&[3], 52);
        let mut shown_to_2 = shown_to_1.clone();
        shown_to_2.insert(index(3), other[&index(3)]);
        let mut sealed = BTreeMap::new();
        for (number, list) in [(1, &shown_to_1), (2, &shown_to_2)] {
            let package = Package::new(&committee.public, list.clone(), &request).unwrap();
            let share = frost::sign(
                nonces.remove(&index(number)).unwrap(),
                committee.share(number),
                &package,
            )
            .unwrap();
            let identity = &committee.identities[&index(number)];
            sealed.insert(
                number,
                wire::seal_share(identity, &package, REQUEST, ATTEMPT, &share).unwrap(),
            );
        }
        let first = Package::new(&committee.public, shown_to_1, &request).unwrap();
        let open =
            |bytes: &[u8]| wire::open_share(&committee.roster, &first, REQUEST, ATTEMPT, bytes);
        assert!(open(&sealed[&1]).is_ok());
        assert_eq!(open(&sealed[&2]), Err(Rejection::WrongSession.into()));
        let convict = wire::convict(&committee.roster, &first, REQUEST, ATTEMPT, &sealed[&2]);
        assert_eq!(convict, Err(Rejection::WrongSession.into()));
    }
}

#[test]
fn a50_many_commitments_of_one_node_are_no_equivocation_but_two_shares_are() {
    for purpose in FROST {
        let signing = Signing::new(purpose, 60);
        let committee = &signing.committee;
        let open = |bytes: &[u8]| Envelope::open(&committee.roster, bytes).unwrap();
        let published = [61, 62].map(|seed| {
            let (_, commitments) = committee.commit(&[1], seed);
            let commitment = &commitments[&index(1)];
            open(&wire::seal_commitment(
                &committee.identities[&index(1)],
                &committee.public,
                &BOOT,
                commitment,
            ))
        });
        let claim = Evidence::equivocation(&published[0], &published[1]).encode();
        let not_proven =
            EvidenceError::NotProven("the messages are not broadcasts for the same place");
        assert_eq!(evidence::verify(&committee.roster, &claim), Err(not_proven));

        let [one, two] =
            [1, 2].map(|number| open(&signing.seal(1, &signing.shares[&index(number)])));
        let claim = Evidence::equivocation(&one, &two).encode();
        let proven = Ok((
            node(committee, 1),
            Fault::Equivocated {
                message: Kind::FrostShare,
            },
        ));
        assert_eq!(evidence::verify(&committee.roster, &claim), proven);
    }
}

#[test]
fn a48_negated_and_copied_commitments_lead_to_their_publisher() {
    for purpose in FROST {
        let committee = Committee::deal(purpose, 2, 3, 70);
        let request = request(purpose, b"message");
        let (_, commitments) = committee.commit(&[1, 2], 71);
        let negated = {
            let mut bytes = commitments[&index(1)].encode();
            match purpose {
                Purpose::Ed25519 => bytes[31] ^= 0x80,
                Purpose::Bip340 | Purpose::Ecdsa | Purpose::EcdsaRaw => bytes[0] ^= 1,
            }
            Commitment::decode(purpose, &bytes).unwrap()
        };
        for published in [negated, commitments[&index(2)]] {
            let (mut nonces, mut list) = committee.commit(&[1, 2], 71);
            list.insert(index(1), published);
            let package = Package::new(&committee.public, list, &request).unwrap();
            // An honest signer refuses a list that misquotes it; the liar answers as if it were right.
            let quoted = Package::new(&committee.public, commitments.clone(), &request).unwrap();
            let lie = frost::sign(
                nonces.remove(&index(1)).unwrap(),
                committee.share(1),
                &quoted,
            )
            .unwrap();
            let honest = frost::sign(
                nonces.remove(&index(2)).unwrap(),
                committee.share(2),
                &package,
            )
            .unwrap();
            let error = frost::aggregate(
                &package,
                &BTreeMap::from([(index(1), lie), (index(2), honest)]),
            )
            .unwrap_err();
            assert_eq!(error.culprits(), [node(&committee, 1)]);
            let sealed = wire::seal_share(
                &committee.identities[&index(1)],
                &package,
                REQUEST,
                ATTEMPT,
                &lie,
            )
            .unwrap();
            let abort =
                wire::convict(&committee.roster, &package, REQUEST, ATTEMPT, &sealed).unwrap();
            assert_proven(&committee, &abort, &Fault::InvalidSignatureShare);
        }
    }
}

#[test]
fn a61_what_was_signed_for_one_session_is_refused_in_every_other() {
    for purpose in FROST {
        let signing = Signing::new(purpose, 80);
        let committee = &signing.committee;
        let sealed = signing.seal(1, &signing.shares[&index(1)]);
        let open = |package: &Package, request, attempt| {
            wire::open_share(&committee.roster, package, request, attempt, &sealed).map(|_| ())
        };
        assert_eq!(open(&signing.package, REQUEST, ATTEMPT), Ok(()));
        let wrong = Err(Error::from(Rejection::WrongSession));
        assert_eq!(
            open(&signing.package, RequestId::from_bytes([0x12; 32]), ATTEMPT),
            wrong
        );
        assert_eq!(open(&signing.package, REQUEST, Attempt(1)), wrong);
        let (_, commitments) = committee.commit(&[1, 2], 81);
        let other_message =
            Package::new(&committee.public, commitments, &request(purpose, b"other")).unwrap();
        assert_eq!(open(&other_message, REQUEST, ATTEMPT), wrong);
        let (_, commitments) = committee.commit(&[1, 2], 82);
        let other_list =
            Package::new(&committee.public, commitments, signing.package.request()).unwrap();
        assert_eq!(open(&other_list, REQUEST, ATTEMPT), wrong);
        let (_, commitments) = committee.commit(&[2, 3], 83);
        let without =
            Package::new(&committee.public, commitments, signing.package.request()).unwrap();
        assert_eq!(
            open(&without, REQUEST, ATTEMPT),
            Err(Rejection::UnknownSender.into())
        );

        // The whole recorded session, played to the signer again: its nonces are gone.
        let mut pool = Pool::new();
        let published = pool.generate(committee.share(1), 1, &mut rng(84)).unwrap();
        assert!(pool.take(&published[0]).is_some());
        assert!(pool.take(&published[0]).is_none());
    }
}

#[test]
fn envelopes_of_the_wrong_sort_are_refused_and_accuse_nobody() {
    for purpose in FROST {
        let signing = Signing::new(purpose, 90);
        let committee = &signing.committee;
        let body = commitment_body(committee);
        let share = signing.seal(1, &signing.shares[&index(1)]);
        let commitment = seal_commitment_body(committee, 1, &body);
        let open = |bytes: &[u8]| {
            wire::open_commitment(&committee.roster, &committee.public, bytes).map(|_| ())
        };
        assert_eq!(
            open(&share),
            Err(Rejection::Unexpected {
                kind: Kind::FrostShare
            }
            .into())
        );
        let unexpected = Rejection::Unexpected {
            kind: Kind::FrostCommitment,
        };
        assert_eq!(signing.open(&commitment), Err(unexpected.clone().into()));
        // A commitment under the session of another body.
        let moved = seal(committee, 1, Kind::FrostCommitment, [0; 32], &body);
        assert_eq!(open(&moved), Err(Rejection::WrongSession.into()));
        // Addressed to one node instead of everyone.
        let header = Envelope::open(&committee.roster, &commitment)
            .unwrap()
            .header()
            .to_owned();
        let private = Header {
            to: Recipient::One(node(committee, 2)),
            ..header
        };
        let private = Envelope::seal(&committee.identities[&index(1)], &private, &body);
        assert_eq!(open(&private), Err(unexpected.into()));
        // In the name of another.
        let spoofed = Envelope::seal(&committee.identities[&index(2)], &header, &body);
        assert_eq!(open(&spoofed), Err(Rejection::BadSignature.into()));
        // A member of the roster that has no share of this key.
        let larger = Committee::deal(purpose, 2, 4, 91);
        let (_, commitments) = larger.commit(&[4], 92);
        let sealed = wire::seal_commitment(
            &larger.identities[&index(4)],
            &committee.public,
            &BOOT,
            &commitments[&index(4)],
        );
        let outsider =
            wire::open_commitment(&larger.roster, &committee.public, &sealed).map(|_| ());
        assert_eq!(outsider, Err(Rejection::UnknownSender.into()));
        // A node that does not sign has nothing to seal.
        let refused = wire::seal_share(
            &committee.identities[&index(3)],
            &signing.package,
            REQUEST,
            ATTEMPT,
            &signing.shares[&index(1)],
        );
        assert_eq!(
            refused,
            Err(Misuse::InvalidSigners("this signer is not among them").into())
        );
    }
}
