//! Makes the seeds of the targets that were not made with other tools, and checks that each is worth its place.
//!
//! From the root of the repository: `cargo run --manifest-path fuzz/Cargo.toml --example seeds`

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use cli::backup::words;
use mpc_core::codec::Writer;
use mpc_core::envelope::{Envelope, Kind};
use mpc_core::evidence;
use mpc_core::frost::{Commitment, SignatureShare, wire};
use mpc_core::group::{Ed25519, Group, Point, Ristretto255, Secp256k1};
use mpc_core::id::{Params, Purpose};
use mpc_core::lineage::Lineage;
use mpc_core::reshare::{Prepared, Request};
use mpc_core::testing::{Flight, Simulator, rng};
use mpc_core::{Error, Fault};
use policy::chain::{Asset, Chain};
use policy::governance::FreezeState;
use prost::Message as _;
use proto::link::Receipt;
use proto::v1::{self, coordinator_frame, node_frame};
use quorate_fuzz::backups;
use quorate_fuzz::committee::{
    CHEAT, Key, PURPOSES, SIGNED, Signing, THRESHOLD, cheat, committee, node,
};
use quorate_fuzz::exports::gift;
use quorate_fuzz::sharings;
use quorate_fuzz::sharings::Tree;
use quorate_fuzz::signers::Trial;
use quorate_fuzz::store::{owner, secret};
use signer_node::fuzzing::RECORDS;
use signer_node::seal::{Effort, Vault};

type Seeds = BTreeMap<String, Vec<u8>>;

fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let all = [
        ("backup_file", backup_file()),
        ("dkg_session", dkg_session()),
        ("ecdsa_message", ecdsa_message()),
        ("ecdsa_session", ecdsa_session()),
        ("evidence", evidences()),
        ("export_gift", export_gift()),
        ("frost_session", frost_session()),
        ("key_package", key_package()),
        ("pair_record", pair_record()),
        ("peer_message", peer_message()),
        ("reshare_certificate", reshare_certificate()),
        ("reshare_session", reshare_session()),
        ("store_record", store_record(folder)),
        ("tunnel", tunnel()),
        ("wire", wire_messages()),
    ];
    for (target, seeds) in all {
        let corpus = folder.join("corpus").join(target);
        fs::create_dir_all(&corpus).expect("a folder for the seeds");
        for (name, bytes) in seeds {
            fs::write(corpus.join(name), bytes).expect("a seed");
        }
    }
}

fn seeds<const N: usize>(list: [(&str, Vec<u8>); N]) -> Seeds {
    list.into_iter()
        .map(|(name, bytes)| (name.to_owned(), bytes))
        .collect()
}

/// What member 3 does to a message before it leaves.
type Lie<'a> = &'a dyn Fn(&Flight, Kind) -> Option<Vec<u8>>;

/// Runs a key generation in which member 3 lies. Every run has its own request, so nothing of one is evidence in another.
fn with_a_lie(purpose: Purpose, seed: u64, lie: Lie<'_>) -> Simulator {
    let mut run = Simulator::start_with(committee().clone(), purpose, THRESHOLD, seed);
    run.run_with(|committee, mut flight| {
        if flight.from == cheat() {
            let kind = Envelope::open(&committee.roster, &flight.bytes)
                .expect("a genuine message")
                .header()
                .kind;
            if let Some(body) = lie(&flight, kind) {
                flight.bytes = committee.reseal(&flight.bytes, |_, own| *own = body);
            }
        }
        vec![flight]
    });
    run
}

fn body(flight: &Flight) -> Vec<u8> {
    Envelope::open(&committee().roster, &flight.bytes)
        .expect("a genuine message")
        .body()
        .to_vec()
}

fn flipped(mut bytes: Vec<u8>, at: usize) -> Vec<u8> {
    bytes[at] ^= 1;
    bytes
}

fn abort(run: &Simulator) -> (Fault, Vec<u8>) {
    let Error::Aborted(abort) = run.error(1) else {
        panic!("{:?}", run.error(1))
    };
    let bytes = abort.evidence.as_ref().expect("evidence").encode();
    assert_eq!(
        evidence::verify(&committee().roster, &bytes),
        Ok((cheat(), abort.fault.clone()))
    );
    (abort.fault.clone(), bytes)
}

fn evidences() -> Seeds {
    let mut out = Seeds::new();
    for (purpose, base) in PURPOSES.into_iter().zip([100, 200]) {
        let lies: [(&str, Lie<'_>); 8] = [
            ("short-round1", &|flight, kind| {
                (kind == Kind::DkgRound1).then(|| body(flight)[1..].to_vec())
            }),
            ("short-round2", &|flight, kind| {
                (kind == Kind::DkgRound2).then(|| body(flight)[1..].to_vec())
            }),
            ("short-round3", &|flight, kind| {
                (kind == Kind::DkgRound3).then(|| body(flight)[1..].to_vec())
            }),
            ("other-opening", &|flight, kind| {
                // The nonce behind the polynomial, the receiving key and the chain code contribution.
                let at = 32 + 2 * point_bytes(purpose) + 64;
                (kind == Kind::DkgRound2).then(|| flipped(body(flight), at))
            }),
            ("other-transcript", &|flight, kind| {
                (kind == Kind::DkgRound3).then(|| flipped(body(flight), 33))
            }),
            ("bad-certificate", &|flight, kind| {
                (kind == Kind::DkgRound3).then(|| flipped(body(flight), 33 + 32 + 8))
            }),
            ("two-openings", &|flight, kind| {
                (kind == Kind::DkgRound1 && flight.to == node(2)).then(|| flipped(body(flight), 64))
            }),
            ("echo-without-originals", &|flight, kind| match kind {
                Kind::DkgRound2 => Some(flipped(body(flight), 0)),
                Kind::DkgOriginals => Some(body(flight)[..32].to_vec()),
                _ => None,
            }),
        ];
        for ((name, lie), number) in lies.into_iter().zip(0..) {
            let run = with_a_lie(purpose, base + number, lie);
            let (fault, bytes) = abort(&run);
            println!("{purpose:?} {name}: {fault}");
            out.insert(format!("{}-{name}", purpose.as_str()), bytes);
        }
        let run = bad_share(purpose, base + 50);
        let (fault, bytes) = abort(&run);
        println!("{purpose:?} complaint: {fault}");
        out.insert(format!("{}-complaint", purpose.as_str()), bytes);

        let (key, signing, (request, attempt)) = (Key::of(purpose), Signing::of(purpose), SIGNED);
        let wrong = committee().reseal(&signing.share, |_, body| *body = flipped(body.clone(), 16));
        let abort = wire::convict(
            &committee().roster,
            &signing.package,
            request,
            attempt,
            &wrong,
        )
        .expect("a fault");
        out.insert(
            format!("{}-wrong-share", purpose.as_str()),
            abort.evidence.expect("evidence").encode(),
        );
        let short = committee().reseal(&signing.commitments[1], |_, body| {
            body.truncate(body.len() - 1)
        });
        let short = quorate_fuzz::forge::sign(&short, None).expect("member 3's");
        let Err(Error::Aborted(abort)) =
            wire::open_commitment(&committee().roster, key.public(), &short)
        else {
            panic!("a short commitment opens")
        };
        out.insert(
            format!("{}-short-commitment", purpose.as_str()),
            abort.evidence.expect("evidence").encode(),
        );
    }
    out
}

const fn point_bytes(purpose: Purpose) -> usize {
    match purpose {
        Purpose::Ed25519 => Ed25519::POINT_BYTES,
        Purpose::Bip340 | Purpose::Ecdsa | Purpose::EcdsaRaw => Secp256k1::POINT_BYTES,
    }
}

/// Member 3 encrypts a wrong share for member 1.
fn bad_share(purpose: Purpose, seed: u64) -> Simulator {
    with_a_lie(purpose, seed, &|flight, kind| {
        let body = body(flight);
        let at = body.len().checked_sub(3 * 32)? + 16;
        (kind == Kind::DkgRound2).then(|| flipped(body, at))
    })
}

fn peer_message() -> Seeds {
    let mut out = Seeds::new();
    for purpose in PURPOSES {
        let (key, signing, scheme) = (Key::of(purpose), Signing::of(purpose), purpose.as_str());
        for (kind, name) in [
            (Kind::DkgRound1, "round1"),
            (Kind::DkgRound2, "round2"),
            (Kind::DkgRound3, "round3"),
        ] {
            out.insert(format!("{scheme}-{name}"), key.said_by_cheat(kind));
        }
        out.insert(
            format!("{scheme}-commitment"),
            signing.commitments[1].clone(),
        );
        out.insert(format!("{scheme}-share"), signing.share.clone());
        let third = Envelope::open(&committee().roster, &key.said_by_cheat(Kind::DkgRound3))
            .expect("a genuine message");
        let originals = |round: u8, kind, session| {
            let mut body = Writer::default();
            body.bytes(third.header().session.as_bytes());
            key.round(kind).iter().for_each(|message| {
                body.var(message);
            });
            let header = mpc_core::envelope::Header {
                kind: Kind::DkgOriginals,
                session,
                round,
                ..*third.header()
            };
            Envelope::seal(committee().identity(CHEAT), &header, &body.finish())
        };
        let first = Envelope::open(&committee().roster, &key.said_by_cheat(Kind::DkgRound1))
            .expect("a genuine message");
        out.insert(
            format!("{scheme}-originals1"),
            originals(1, Kind::DkgRound1, first.header().session),
        );
        out.insert(
            format!("{scheme}-originals2"),
            originals(2, Kind::DkgRound2, third.header().session),
        );

        // Member 1's complaint of another run, as if member 3 had made it about member 1.
        let mut complaint = None;
        let run = bad_share(purpose, 400);
        if let Error::Aborted(abort) = run.error(1) {
            let bytes = abort.evidence.as_ref().expect("evidence").encode();
            let (_, _, messages) = quorate_fuzz::forge::open_evidence(&bytes).expect("evidence");
            complaint = messages.last().map(|bytes| {
                Envelope::open(&committee().roster, bytes).expect("a genuine message")
            });
        }
        let mut body = complaint.expect("a complaint").body().to_vec();
        body[33..65].copy_from_slice(node(1).as_bytes());
        out.insert(
            format!("{scheme}-complaint"),
            Envelope::seal(committee().identity(CHEAT), third.header(), &body),
        );
    }
    out.insert(
        "honest".to_owned(),
        Key::of(Purpose::Ed25519).round(Kind::DkgRound1)[0].clone(),
    );
    for bytes in out.values() {
        Envelope::open(&committee().roster, bytes).expect("a message that opens");
    }
    out
}

fn key_package() -> Seeds {
    let mut out = seeds([
        (
            "point-ed25519",
            Point::<Ed25519>::generator().encode().as_slice().to_vec(),
        ),
        (
            "point-ristretto255",
            Point::<Ristretto255>::generator()
                .encode()
                .as_slice()
                .to_vec(),
        ),
        (
            "point-secp256k1",
            Point::<Secp256k1>::generator().encode().as_slice().to_vec(),
        ),
    ]);
    for purpose in PURPOSES {
        let (key, signing, scheme) = (Key::of(purpose), Signing::of(purpose), purpose.as_str());
        let commitment = signing
            .package
            .commitment(quorate_fuzz::committee::index(CHEAT))
            .expect("a signer")
            .encode();
        assert!(Commitment::decode(purpose, &commitment).is_ok());
        let share = Envelope::open(&committee().roster, &signing.share)
            .expect("a genuine share")
            .body()
            .to_vec();
        assert!(SignatureShare::decode(purpose, &share).is_ok());
        out.insert(format!("{scheme}-package"), key.public().encode());
        out.insert(
            format!("{scheme}-key-share"),
            key.share(1).dangerous_to_bytes().to_vec(),
        );
        out.insert(format!("{scheme}-pending"), key.stored[1].bytes.clone());
        out.insert(format!("{scheme}-certificate"), key.certificate().encode());
        out.insert(format!("{scheme}-commitment"), commitment);
        out.insert(format!("{scheme}-signature-share"), share);
    }
    out
}

/// Scripts: the scheme, then decisions as the target reads them.
fn dkg_session() -> Seeds {
    seeds([
        ("ed25519-plain", vec![0]),
        ("bip340-plain", vec![1]),
        (
            "reordered",
            vec![0, 0, 5, 0, 3, 0, 7, 0, 2, 0, 1, 0, 9, 0, 4, 0, 3, 0, 8],
        ),
        (
            "repeated",
            vec![
                1, 3, 0, 3, 1, 3, 2, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 2,
            ],
        ),
        ("lost", vec![0, 4, 2]),
        ("late", vec![0, 0, 0, 7, 0, 200, 0, 0]),
        (
            "changed-on-the-way",
            vec![
                0, 5, 0, 0, 0, 60, 1, 5, 1, 2, 9, 0, 0, 6, 0, 0, 1, 4, 1, 2, 3, 4,
            ],
        ),
        ("lie-to-all-in-round1", vec![0, 8, 0, 0, 1, 0, 0, 70, 1]),
        ("lie-to-one-in-round1", vec![0, 8, 0, 1, 1, 0, 0, 2, 1]),
        (
            "lie-in-round2",
            vec![
                0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 1, 0, 1, 0, 1,
            ],
        ),
        (
            "lie-in-round3",
            vec![
                1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0,
                1, 0, 0, 40, 1,
            ],
        ),
        (
            "invented",
            vec![
                0, 9, 0, 0, 1, 0, 1, 1, 3, 1, 2, 3, 9, 0, 1, 0, 0, 1, 1, 2, 9, 9,
            ],
        ),
    ])
}

/// Which message, of two signers or of three, and its body.
fn ecdsa_message() -> Seeds {
    let kinds = [
        Kind::EcdsaCommit,
        Kind::EcdsaExtend,
        Kind::EcdsaMultiply,
        Kind::EcdsaOpen,
        Kind::EcdsaRespond,
        Kind::EcdsaExplain,
    ];
    let mut out = Seeds::new();
    for (three, flag) in [(false, 0), (true, 0x80)] {
        let trial = Trial::of(three);
        for (kind, number) in kinds.into_iter().zip(0_u8..) {
            let roster = &trial.signers.committee.roster;
            let genuine = Envelope::open(roster, trial.genuine(kind)).expect("genuine");
            let seed = [&[flag | number], genuine.body()].concat();
            let of = if three { "three" } else { "two" };
            out.insert(format!("{kind}-of-{of}").replace('/', "-"), seed);
        }
    }
    out
}

/// One decision for each message; a change of a message takes the bytes after its decision.
fn ecdsa_session() -> Seeds {
    let pass = |count: usize| vec![0; count];
    let flip = [4, 0, 0, 0, 40, 1];
    let flip_response = [4, 0, 0, 0, 31, 1];
    let script =
        |three: u8, before: usize, then: &[u8]| [&[three], &pass(before)[..], then].concat();
    seeds([
        ("two", vec![0]),
        ("three", vec![1]),
        ("lost", script(0, 2, &[1])),
        ("repeated", script(1, 0, &[2; 18])),
        (
            "changed-on-the-way",
            script(0, 0, &[3, 0, 0, 90, 1].repeat(6)),
        ),
        ("lie-in-the-commitment", script(0, 2, &flip)),
        ("lie-in-the-extension", script(0, 3, &flip)),
        ("lie-in-the-multiplication", script(0, 5, &flip)),
        ("lie-in-the-opening", script(0, 6 + 1, &flip)),
        (
            "lie-in-the-response",
            script(0, 6 + 4 + 2 + 1, &flip_response),
        ),
        ("lie-among-three", script(1, 18 + 9 + 3 + 2, &flip_response)),
    ])
}

fn pair_record() -> Seeds {
    let trial = Trial::of(false);
    let record = trial.signers.pair(&trial.victim(), &trial.cheat());
    seeds([("genuine", record.dangerous_to_bytes().to_vec())])
}

/// A file of each curve, and a script: where the genuine file is changed (two bytes), by what, and how much of it is gone.
fn backup_file() -> Seeds {
    let mut out = seeds([
        ("changed-here", vec![1, 200, 1, b'x', 1]),
        ("cut", vec![0, 100, 0, 255]),
    ]);
    for purpose in PURPOSES {
        let file = backups::genuine(purpose);
        let verified = file.verify(backups::cluster()).expect("a genuine file");
        let opened = verified.open(backups::recovery());
        assert!(opened.is_ok(), "the file opens");
        let scheme = purpose.as_str();
        out.insert(format!("{scheme}-file"), file.render().into_bytes());
        let history = backups::history(purpose);
        let again = signer_node::fuzzing::history(&history, &backups::maker());
        assert_eq!(again.as_ref(), Some(&history));
        out.insert(format!("{scheme}-history"), history);
        let share = Key::of(purpose).share(CHEAT);
        let recovery = backups::recovery().public();
        let share = mpc_core::backup::create(share, &recovery, &mut rng(800));
        out.insert(
            format!("{scheme}-share"),
            share.expect("a recovery key").encode(),
        );
    }
    let params = Params::new(2, 3).expect("parameters");
    let parts = mpc_core::backup::split(backups::recovery(), params, &mut rng(801));
    let part = parts.first().expect("a part");
    let words = words::print(part).join(" ");
    out.insert("part".to_owned(), part.dangerous_to_bytes().to_vec());
    out.insert("words".to_owned(), words.into_bytes());
    out
}

/// Gifts, and scripts: which one, and how it is changed.
fn export_gift() -> Seeds {
    let mut out = seeds([
        ("changed-key", vec![0, 1, 0, 0, 5, 1]),
        ("changed-index", vec![1, 0, 0, 0, 66, 3]),
        ("changed-share", vec![1, 2, 0, 0, 120, 1]),
        ("short", vec![0, 0, 2, 1]),
    ]);
    for purpose in PURPOSES {
        for number in 1..=3 {
            let name = format!("{}-{number}", purpose.as_str());
            out.insert(name, gift(purpose, number).to_vec());
        }
    }
    out
}

/// What is stored and shown of reshares, and scripts: scheme, then what a node hears, or what a lineage is put together from.
fn reshare_certificate() -> Seeds {
    let mut out = seeds([
        ("climb", vec![0, 0, 0, 2, 0, 0, 0, 2, 1, 0, 1, 0, 3, 0, 2]),
        ("leap", vec![1, 2, 2, 0, 3, 0, 1, 0, 3, 3, 1, 0, 0]),
        ("composed", vec![0, 1, 2, 0, 2, 1, 1, 1, 2, 0, 1, 3, 0]),
        (
            "composed-twice",
            vec![1, 1, 1, 1, 2, 0, 0, 2, 0, 0, 0, 1, 1],
        ),
    ]);
    for purpose in PURPOSES {
        let (tree, scheme) = (Tree::of(purpose), purpose.as_str());
        let me = sharings::nodes().node(2);
        let mut lineage = Lineage::new(tree.base.clone(), true);
        for (number, certificate) in tree.certificates.iter().enumerate() {
            let request = certificate.request();
            assert_eq!(Request::decode(&request.encode()).as_ref(), Ok(request));
            out.insert(format!("{scheme}-request{number}"), request.encode());
            out.insert(
                format!("{scheme}-certificate{number}"),
                certificate.encode(),
            );
        }
        // Up the lower attempt, over to the higher one, and a signature for an attempt that nothing came of.
        for at in [0, 1, 3] {
            let learned = lineage.learn(tree.certificates[at].clone(), &me);
            assert!(learned.is_ok(), "{learned:?}");
            out.insert(format!("{scheme}-lineage{at}"), lineage.encode());
        }
        for (number, prepared) in tree.prepared.iter().enumerate() {
            assert!(Prepared::dangerous_from_bytes(prepared).is_ok());
            out.insert(format!("{scheme}-prepared{number}"), prepared.clone());
        }
    }
    out
}

/// Scripts: scheme and cut, then decisions as the target reads them.
fn reshare_session() -> Seeds {
    let pass = |count: usize| [0, 0].repeat(count);
    let script =
        |choice: u8, before: usize, then: &[u8]| [&[choice][..], &pass(before), then].concat();
    seeds([
        ("refresh", vec![0]),
        ("newcomer", vec![3]),
        ("leaver", vec![4]),
        ("higher-threshold", vec![7]),
        (
            "reordered",
            vec![0, 0, 5, 0, 3, 0, 7, 0, 2, 0, 1, 0, 9, 0, 4],
        ),
        (
            "repeated",
            vec![2, 3, 0, 3, 1, 3, 2, 0, 0, 3, 0, 0, 0, 3, 2],
        ),
        ("lost", vec![0, 4, 2]),
        ("late", vec![1, 0, 0, 7, 0, 200, 0, 0]),
        ("lie-in-round1", script(0, 0, &[8, 0, 0, 1, 0, 0, 70, 1])),
        (
            "lie-to-one-in-round1",
            script(2, 0, &[8, 0, 1, 1, 0, 0, 40, 1]),
        ),
        ("lie-in-round2", script(0, 6, &[8, 0, 0, 1, 0, 0, 40, 1])),
        (
            "wrong-share-in-round2",
            script(0, 6, &[8, 0, 0, 1, 0, 1, 60, 1]),
        ),
        ("lie-in-round3", script(0, 12, &[8, 0, 0, 1, 0, 0, 40, 1])),
        (
            "wrong-signature-of-a-dealer",
            script(5, 18, &[8, 0, 0, 1, 0, 0, 110, 1]),
        ),
        (
            "invented",
            vec![
                0, 9, 0, 0, 1, 0, 1, 1, 3, 1, 2, 3, 9, 0, 1, 0, 0, 1, 1, 2, 9, 9,
            ],
        ),
    ])
}

/// Scripts: scheme, tree or none, message, then decisions as the target reads them.
fn frost_session() -> Seeds {
    seeds([
        (
            "ed25519-plain",
            vec![0, 0, 2, b'h', b'i', 0, 0, 0, 1, 2, 0, 0, 2, 1, 0],
        ),
        (
            "bip340-plain",
            vec![1, 0, 2, b'h', b'i', 0, 0, 0, 1, 2, 0, 0, 2, 1, 0],
        ),
        ("bip340-tree", vec![1, 1, 0, 0, 1, 0, 2, 2, 1, 0, 2, 2, 0]),
        (
            "silent",
            vec![0, 0, 0, 0, 0, 0, 2, 6, 0, 0, 1, 2, 1, 0, 2, 0, 0],
        ),
        ("lie", vec![0, 0, 0, 0, 1, 0, 2, 8, 0, 0, 0, 0, 4, 1, 0, 0]),
        (
            "lie-of-another-length",
            vec![1, 0, 0, 0, 1, 0, 2, 8, 0, 0, 2, 1, 8, 0, 0, 4, 32],
        ),
        (
            "repeated",
            vec![0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 2, 0, 0, 5, 0, 0, 5, 0, 0],
        ),
        (
            "changed-on-the-way",
            vec![
                1, 0, 0, 0, 0, 0, 1, 2, 0, 0, 7, 0, 0, 0, 0, 200, 1, 0, 0, 0, 190, 4,
            ],
        ),
        (
            "foreign-share",
            vec![0, 0, 0, 0, 0, 0, 1, 9, 0, 3, 4, 9, 0, 0, 3],
        ),
    ])
}

/// Scripts: decisions as the target reads them; the lowest bit says for whom.
fn tunnel() -> Seeds {
    seeds([
        ("plain", vec![]),
        (
            "talk",
            vec![
                5, 3, b'o', b'n', b'e', 1, 0, 1, 4, 3, b't', b'w', b'o', 5, 0, 0, 1,
            ],
        ),
        ("cut", vec![7, 100, 1, 1, 6, 200, 0, 0, 1]),
        ("changed", vec![9, 0, 0, 9, 1, 1, 0, 1]),
        ("dropped", vec![1, 10, 5, 2, 9, 9, 0]),
        ("repeated", vec![1, 12, 0, 0]),
        ("reordered", vec![1, 0, 5, 1, 7, 5, 1, 8, 15, 1, 1, 1]),
        ("closed", vec![1, 0, 1, 4, 1, 9, 16, 0, 0, 1]),
    ])
}

fn store_record(folder: &Path) -> Seeds {
    let path = folder.join("seeds/data-key");
    if fs::read(&path).is_ok_and(|bytes| Vault::unlock(&secret(), owner(), &bytes).is_err()) {
        let (_, wrapped) =
            Vault::create(&secret(), owner(), Effort::new(8, 1)).expect("a data key");
        fs::write(&path, wrapped).expect("the data key");
    }
    let statement =
        fs::read(folder.join("corpus/statement/freeze-signed")).expect("a seed of another target");
    let document =
        fs::read(folder.join("corpus/policy_document/full")).expect("a seed of another target");
    let record = |write: &dyn Fn(&mut Writer)| {
        let mut out = Writer::default();
        write(&mut out);
        out.finish()
    };
    let order = |out: &mut Writer| {
        out.var(b"treasury")
            .bytes(&[1; 32])
            .u32(0)
            .var(b"ed25519")
            .u16(2);
    };
    let debit = |to: &[u8], asset: &Asset| {
        record(&|out| {
            out.var(b"hot")
                .var(Chain::SolanaDevnet.to_string().as_bytes())
                .var(to)
                .var(asset.to_string().as_bytes());
            out.bytes(&[0; 31]).u8(9);
        })
    };
    let mint = Asset::SplMint([8; 32]);
    let to = policy::chain::Address::from_bytes([4; 32]).to_string();
    let out = seeds([
        (
            "ceremony-stored",
            record(&|out| {
                out.u8(1);
                order(out);
                out.var(b"part").bytes(&[2; 32]);
            }),
        ),
        (
            "ceremony-active",
            record(&|out| {
                out.u8(2);
                order(out);
                out.bytes(&[3; 32])
                    .u32(0)
                    .var(b"part")
                    .u32(2)
                    .var(b"part")
                    .var(b"other")
                    .bytes(&[2; 32]);
            }),
        ),
        (
            "clock-mark",
            record(&|out| {
                out.u64(1_700_000_000_000)
                    .u64(1_699_999_999_000)
                    .u64(5_000)
                    .bytes(&[6; 16]);
            }),
        ),
        (
            "head-empty",
            record(&|out| {
                out.bytes(&[0; 6 * 80]).u32(0);
            }),
        ),
        (
            "intent-announced",
            record(&|out| {
                out.u8(1)
                    .bytes(&[1; 32])
                    .u64(1)
                    .u64(2)
                    .u64(3)
                    .bytes(&[4; 32]);
            }),
        ),
        (
            "intent-withdrawn",
            record(&|out| {
                out.u8(2).bytes(&[1; 32]);
            }),
        ),
        (
            "ledger-entry",
            record(&|out| {
                out.bytes(&[1; 32])
                    .bytes(&[2; 32])
                    .u64(3)
                    .u64(4)
                    .bytes(&[5; 32])
                    .u32(3);
                out.var(&debit(to.as_bytes(), &Asset::Native))
                    .var(&debit(to.as_bytes(), &mint))
                    .var(&debit(b"", &Asset::Native));
            }),
        ),
        (
            "order",
            record(&|out| {
                out.u64(1)
                    .u64(2)
                    .u32(1)
                    .var(&statement)
                    .var(&FreezeState::new().encode());
            }),
        ),
        (
            "peer-message",
            record(&|out| {
                out.u8(1).bytes(&[1; 32]).u32(0).var(b"envelope");
            }),
        ),
        (
            "sharing-known",
            record(&|out| {
                out.u8(1).bytes(&[1; 32]).var(b"hot").bytes(&[2; 32]);
                out.var(b"part").u32(1).var(b"part").u64(3).bytes(&[4; 32]);
            }),
        ),
        (
            "sharing-prepared",
            record(&|out| {
                out.u8(2).bytes(&[1; 32]).u32(1).u32(0).bytes(&[2; 32]);
                out.bytes(&[3; 32])
                    .u8(1)
                    .var(b"part")
                    .bytes(&[4; 32])
                    .bytes(&[5; 32]);
            }),
        ),
        (
            "sharing-active",
            record(&|out| {
                out.u8(3).bytes(&[1; 32]).u32(1).u32(0).u64(3);
                out.bytes(&[4; 32]).bytes(&[5; 32]);
            }),
        ),
        (
            "sharing-retired",
            record(&|out| {
                out.u8(4).bytes(&[1; 32]).u64(3).u32(1).var(&statement);
            }),
        ),
        (
            "sharing-blind",
            record(&|out| {
                out.u8(8).bytes(&[0; 32]).u64(3);
            }),
        ),
        (
            "policy",
            record(&|out| {
                out.u64(1).u64(2).var(&document).u32(1).var(&statement);
            }),
        ),
    ]);
    for (name, bytes) in &out {
        let decodes = RECORDS
            .iter()
            .any(|(_, recode)| recode(bytes).as_deref() == Some(bytes.as_slice()));
        assert!(decodes, "{name} is no record");
    }
    let mut out = out;
    out.insert(
        "data-key".to_owned(),
        fs::read(&path).expect("the data key"),
    );
    out
}

fn wire_messages() -> Seeds {
    let id = |byte: u8| vec![byte; 32].into();
    let node = |body| {
        v1::NodeFrame {
            version: 1,
            call_id: 7,
            body: Some(body),
        }
        .encode_to_vec()
    };
    let coordinator = |body| {
        v1::CoordinatorFrame {
            version: 1,
            call_id: 7,
            body: Some(body),
        }
        .encode_to_vec()
    };
    let failure = v1::Failure {
        code: v1::FailureCode::Limit.into(),
        message: "no room".to_owned(),
        hint: "wait".to_owned(),
        reasons: vec!["one".to_owned(), "two".to_owned()],
        culprits: vec![1, 3],
        ..Default::default()
    };
    let tunnel = v1::Tunnel {
        from: id(1),
        to: id(2),
        connection: vec![3; 16].into(),
        seq: 4,
        data: vec![5; 40].into(),
        reset: false,
    };
    let key = v1::KeyState {
        key_id: id(1),
        name: "hot".to_owned(),
        scheme: "ed25519".to_owned(),
        state: "active".to_owned(),
        threshold: 2,
        ..Default::default()
    };
    let status = v1::NodeStatus {
        index: 1,
        clock_ms: 2,
        keys: vec![key],
        software: "quorate".to_owned(),
        ..Default::default()
    };
    let request = v1::RequestStatus {
        request_id: id(1),
        state: v1::RequestState::Released.into(),
        wallet: "hot".to_owned(),
        signature: vec![2; 64].into(),
        failure: Some(failure.clone()),
        intent_lines: vec!["send 1".to_owned()],
        signers: vec![1, 2],
        ..Default::default()
    };
    let receipt = Receipt {
        intent: [1; 32],
        node_id: [2; 32],
        first_seen_ms: 3,
        signature: [4; 64],
    };
    seeds([
        (
            "node-hello",
            node(node_frame::Body::Hello(v1::Hello {
                cluster_id: "c".to_owned(),
                node_id: id(1),
                index: 1,
                boot_id: vec![2; 16].into(),
                software: "quorate".to_owned(),
            })),
        ),
        (
            "node-proof",
            node(node_frame::Body::HelloProof(v1::HelloProof {
                signature: vec![1; 64].into(),
            })),
        ),
        (
            "node-tunnel",
            node(node_frame::Body::Tunnel(tunnel.clone())),
        ),
        (
            "node-receipt",
            node(node_frame::Body::Receipt(v1::Receipt {
                signed_receipt: receipt.encode().into(),
            })),
        ),
        (
            "node-commitments",
            node(node_frame::Body::Commitments(v1::Commitments {
                key_id: id(1),
                epoch: 0,
                boot_id: vec![2; 16].into(),
                envelopes: vec![vec![3; 20].into()],
                ..Default::default()
            })),
        ),
        (
            "node-share",
            node(node_frame::Body::Share(v1::Share {
                envelope: vec![1; 20].into(),
                next_commitments: vec![vec![2; 20].into()],
            })),
        ),
        (
            "node-progress",
            node(node_frame::Body::DkgProgress(v1::DkgProgress {
                request_id: id(1),
                stage: "active".to_owned(),
                key_id: id(2),
                ..Default::default()
            })),
        ),
        ("node-status", node(node_frame::Body::Status(status))),
        (
            "node-failure",
            node(node_frame::Body::Failure(failure.clone())),
        ),
        (
            "coordinator-challenge",
            coordinator(coordinator_frame::Body::Challenge(v1::Challenge {
                nonce: id(1),
            })),
        ),
        (
            "coordinator-tunnel",
            coordinator(coordinator_frame::Body::Tunnel(tunnel)),
        ),
        (
            "coordinator-announce",
            coordinator(coordinator_frame::Body::Announce(v1::Announce {
                signed_intent: vec![1; 30].into(),
            })),
        ),
        (
            "coordinator-prepare",
            coordinator(coordinator_frame::Body::Prepare(v1::Prepare {
                key_id: id(1),
                epoch: 0,
                count: 8,
                ..Default::default()
            })),
        ),
        (
            "coordinator-sign",
            coordinator(coordinator_frame::Body::Sign(v1::Sign {
                signed_intent: vec![1; 9].into(),
                approvals: vec![vec![2; 9].into()],
                receipts: vec![receipt.encode().into()],
                epoch: 0,
                attempt: 1,
                commitments: vec![vec![3; 9].into()],
                task: 0,
                ..Default::default()
            })),
        ),
        (
            "coordinator-start-dkg",
            coordinator(coordinator_frame::Body::StartDkg(v1::StartDkg {
                name: "hot".to_owned(),
                scheme: "bip340".to_owned(),
                threshold: 2,
                request_id: id(1),
                attempt: 0,
                deadline_ms: 9,
                nodes: vec![1, 2],
                import: None,
            })),
        ),
        (
            "coordinator-policy",
            coordinator(coordinator_frame::Body::InstallPolicy(v1::InstallPolicy {
                document: vec![b'x'; 9].into(),
                signatures: vec![vec![1; 9].into()],
            })),
        ),
        (
            "coordinator-withdraw",
            coordinator(coordinator_frame::Body::Withdraw(v1::Withdraw {
                intent_digest: id(1),
                reason: "late".to_owned(),
            })),
        ),
        ("failure", failure.encode_to_vec()),
        ("receipt", receipt.encode()),
        (
            "request-list",
            v1::RequestList {
                requests: vec![request],
            }
            .encode_to_vec(),
        ),
        (
            "approve",
            v1::ApproveRequest {
                request_id: id(1),
                signed_statement: vec![2; 9].into(),
            }
            .encode_to_vec(),
        ),
    ])
}
