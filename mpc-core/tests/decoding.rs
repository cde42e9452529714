//! A negative test for every decoding rule, and properties of the encodings.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of a test may fail the test"
)]

use mpc_core::codec::{DecodeError, Problem};
use mpc_core::dkg::{DkgCertificate, Pending};
use mpc_core::envelope::Envelope;
use mpc_core::evidence::Evidence;
use mpc_core::group::{Ed25519, Group, Point, Ristretto255, Scalar, Secp256k1};
use mpc_core::id::Purpose;
use mpc_core::keys::{KeyShare, PublicKeyPackage};
use mpc_core::testing::{Committee, Simulator, rng};
use mpc_core::transcript::{self, Tag};
use proptest::prelude::*;

fn point<G: Group>(bytes: &[u8]) -> Option<Problem> {
    Point::<G>::decode("point", bytes).err().map(|error| {
        assert_eq!(error.field, "point");
        error.problem
    })
}

fn scalar<G: Group>(bytes: &[u8]) -> Option<Problem> {
    Scalar::<G>::decode("scalar", bytes)
        .err()
        .map(|error| error.problem)
}

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

/// The order of edwards25519 and ristretto255, little-endian.
const ORDER_25519: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
/// The order of secp256k1, big-endian.
const ORDER_K256: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";

#[test]
fn a1_scalars_at_or_above_the_order_are_refused() {
    let mut below = bytes(ORDER_25519);
    assert_eq!(scalar::<Ed25519>(&below), Some(Problem::NotCanonical));
    assert_eq!(scalar::<Ristretto255>(&below), Some(Problem::NotCanonical));
    below[0] -= 1;
    assert_eq!(
        (scalar::<Ed25519>(&below), scalar::<Ristretto255>(&below)),
        (None, None)
    );
    below[31] |= 0x80;
    assert_eq!(scalar::<Ed25519>(&below), Some(Problem::NotCanonical));

    let mut below = bytes(ORDER_K256);
    assert_eq!(scalar::<Secp256k1>(&below), Some(Problem::NotCanonical));
    below[31] -= 1;
    assert_eq!(scalar::<Secp256k1>(&below), None);
    assert_eq!(
        scalar::<Secp256k1>(&[0xFF; 32]),
        Some(Problem::NotCanonical)
    );
}

#[test]
fn a1_zero_is_a_scalar_and_lengths_are_exact() {
    fn check<G: Group>() {
        assert_eq!(scalar::<G>(&[0; 32]), None);
        for len in [0, 31, 33, 64] {
            assert_eq!(scalar::<G>(&vec![0; len]), Some(Problem::Length));
            assert_eq!(
                point::<G>(&vec![2; len + 2 * usize::from(len == G::POINT_BYTES)]),
                Some(Problem::Length)
            );
        }
    }
    check::<Ed25519>();
    check::<Ristretto255>();
    check::<Secp256k1>();
}

#[test]
fn secp256k1_points_have_one_spelling() {
    let generator = Point::<Secp256k1>::generator().encode();
    let x = &generator.as_slice()[1..];
    let with = |prefix: u8, x: &[u8]| [&[prefix], x].concat();
    assert_eq!(point::<Secp256k1>(generator.as_slice()), None);
    assert_eq!(point::<Secp256k1>(&with(3, x)), None);
    for prefix in [1, 4, 5, 6, 7, 0xFF] {
        assert_eq!(
            point::<Secp256k1>(&with(prefix, x)),
            Some(Problem::Unknown),
            "prefix {prefix}"
        );
    }
    assert_eq!(point::<Secp256k1>(&with(0, x)), Some(Problem::Unknown));
    assert_eq!(point::<Secp256k1>(&[0; 33]), Some(Problem::Identity));
    assert_eq!(point::<Secp256k1>(&[0]), Some(Problem::Length));
    // Uncompressed and x-only forms.
    assert_eq!(
        point::<Secp256k1>(&with(4, &[x, x].concat())),
        Some(Problem::Length)
    );
    assert_eq!(point::<Secp256k1>(x), Some(Problem::Length));
    // x = 5 is not on the curve; p + 1 would be x = 1, which is.
    let mut five = [0; 32];
    five[31] = 5;
    assert_eq!(
        point::<Secp256k1>(&with(2, &five)),
        Some(Problem::NotOnCurve)
    );
    let mut one = [0; 32];
    one[31] = 1;
    assert_eq!(point::<Secp256k1>(&with(2, &one)), None);
    let above = bytes("fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc30");
    assert_eq!(
        point::<Secp256k1>(&with(2, &above)),
        Some(Problem::NotCanonical)
    );
}

#[test]
fn a51_ed25519_points_are_canonical_and_torsion_free() {
    let mut identity = [0; 32];
    identity[0] = 1;
    assert_eq!(point::<Ed25519>(&identity), Some(Problem::Identity));
    // The identity with the sign bit, and y = p + 1: second spellings.
    let mut negative_zero = identity;
    negative_zero[31] = 0x80;
    assert_eq!(
        point::<Ed25519>(&negative_zero),
        Some(Problem::NotCanonical)
    );
    let mut above = [0xFF; 32];
    (above[0], above[31]) = (0xEE, 0x7F);
    assert_eq!(point::<Ed25519>(&above), Some(Problem::NotCanonical));
    let mut two = [0; 32];
    two[0] = 2;
    assert_eq!(point::<Ed25519>(&two), Some(Problem::NotOnCurve));
    // y = 0 and y = -1: orders 4 and 2.
    assert_eq!(point::<Ed25519>(&[0; 32]), Some(Problem::Torsion));
    let mut minus_one = [0xFF; 32];
    (minus_one[0], minus_one[31]) = (0xEC, 0x7F);
    assert_eq!(point::<Ed25519>(&minus_one), Some(Problem::Torsion));
    // Every small point added to a good one, and alone.
    let good = Point::<Ed25519>::mul_base(&Scalar::random(&mut rng(1)));
    for base in [good, Point::identity(), Point::generator()] {
        let mixed = base.with_each_torsion();
        assert_eq!(mixed.len(), 7);
        for encoded in mixed {
            assert_eq!(point::<Ed25519>(encoded.as_slice()), Some(Problem::Torsion));
        }
    }
}

#[test]
fn ristretto_points_have_one_spelling() {
    assert_eq!(point::<Ristretto255>(&[0; 32]), Some(Problem::Identity));
    // RFC 9496, appendix A.2: a non-canonical field element, a negative one, and one without a square root.
    for bad in [
        "00ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371",
    ] {
        assert_eq!(
            point::<Ristretto255>(&bytes(bad)),
            Some(Problem::NotOnCurve)
        );
    }
    assert_eq!(
        point::<Ristretto255>(Point::<Ristretto255>::generator().encode().as_slice()),
        None
    );
}

/// Every proper prefix, and the whole with one more byte, is refused without a panic.
fn refuses_other_lengths(bytes: &[u8], decodes: impl Fn(&[u8]) -> bool) {
    assert!(decodes(bytes));
    for len in 0..bytes.len() {
        assert!(!decodes(&bytes[..len]), "length {len}");
    }
    assert!(!decodes(&[bytes, &[0]].concat()));
}

#[test]
fn records_are_refused_with_bytes_missing_or_added() {
    for purpose in [Purpose::Ed25519, Purpose::Bip340] {
        let mut simulator = Simulator::start(purpose, 2, 3, 2);
        simulator.run();
        let output = simulator.output(1);
        let roster = &simulator.committee.roster;
        refuses_other_lengths(&output.share.public().encode(), |b| {
            PublicKeyPackage::decode(b).is_ok()
        });
        refuses_other_lengths(&output.share.dangerous_to_bytes(), |b| {
            KeyShare::dangerous_from_bytes(b).is_ok()
        });
        refuses_other_lengths(&output.certificate.encode(), |b| {
            DkgCertificate::decode(roster, b).is_ok()
        });
        let pending = &simulator.stores[&simulator.committee.node(1)][1].bytes;
        refuses_other_lengths(pending, |b| Pending::dangerous_from_bytes(b).is_ok());
    }
}

#[test]
fn key_records_that_contradict_themselves_are_refused() {
    let mut simulator = Simulator::start(Purpose::Ed25519, 2, 3, 3);
    simulator.run();
    let share = &simulator.output(1).share;
    let package = share.public().encode();
    assert_eq!(
        PublicKeyPackage::decode(&package).as_ref(),
        Ok(share.public())
    );
    // version 1, key id 32, sharing 32, purpose 1, epoch 4, attempt 4, t 2, n 2, chain code 32, X 32, then 66 bytes per member
    let refused = |at: usize, new: &[u8]| {
        let mut changed = package.clone();
        changed[at..at + new.len()].copy_from_slice(new);
        PublicKeyPackage::decode(&changed).unwrap_err()
    };
    let other = Point::<Ed25519>::mul_base(&Scalar::from_u64(9)).encode();
    let member = |number: usize| 142 + 66 * number;
    assert_eq!(
        refused(0, &[1]),
        DecodeError::new("version", Problem::Unknown)
    );
    assert_eq!(
        refused(65, &[0]),
        DecodeError::new("purpose", Problem::Unknown)
    );
    assert_eq!(
        refused(74, &[0, 1]),
        DecodeError::new("threshold", Problem::Unknown)
    );
    assert_eq!(
        refused(74, &[0, 4]),
        DecodeError::new("threshold", Problem::Unknown)
    );
    assert_eq!(
        refused(110, other.as_slice()),
        DecodeError::new("package", Problem::Unknown)
    );
    assert_eq!(
        refused(member(0), &[0, 0]),
        DecodeError::new("index", Problem::Unknown)
    );
    assert_eq!(
        refused(member(1), &[0, 1]),
        DecodeError::new("index", Problem::NotCanonical)
    );
    for number in 0..3 {
        let error = refused(member(number) + 34, other.as_slice());
        assert_eq!(
            error,
            DecodeError::new("package", Problem::Unknown),
            "verifying share {number}"
        );
    }
    let twice = package[member(0) + 2..member(0) + 34].to_vec();
    assert_eq!(
        refused(member(1) + 2, &twice),
        DecodeError::new("package", Problem::Unknown)
    );

    let mut stolen = share.dangerous_to_bytes();
    stolen[2] = 2;
    let error = KeyShare::dangerous_from_bytes(&stolen).unwrap_err();
    assert_eq!(
        error,
        DecodeError::new("secret", Problem::Unknown),
        "another member's index"
    );
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Field(Vec<u8>),
    List(Vec<Vec<u8>>),
}

/// Two inputs with the same kinds of parts in the same order, as all inputs under one tag have.
fn inputs() -> impl Strategy<Value = (Vec<Part>, Vec<Part>)> {
    let field = || proptest::collection::vec(0_u8..3, 0..4);
    let list = move || proptest::collection::vec(field(), 0..3);
    let pair = prop_oneof![
        (field(), field()).prop_map(|(a, b)| (Part::Field(a), Part::Field(b))),
        (list(), list()).prop_map(|(a, b)| (Part::List(a), Part::List(b))),
    ];
    proptest::collection::vec(pair, 0..4).prop_map(|pairs| pairs.into_iter().unzip())
}

fn digest(tag: Tag, parts: &[Part]) -> [u8; 32] {
    let add = |transcript: transcript::Transcript<1>, part: &Part| match part {
        Part::Field(bytes) => transcript.field(bytes),
        Part::List(items) => transcript.list(items),
    };
    parts.iter().fold(transcript::hash(tag), add).digest()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a59_different_inputs_under_one_tag_hash_differently((a, b) in inputs()) {
        prop_assert_eq!(a == b, digest(Tag::SSID, &a) == digest(Tag::SSID, &b));
        prop_assert_ne!(digest(Tag::SSID, &a), digest(Tag::ECHO, &a));
    }

    #[test]
    fn a73_decoders_survive_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let roster = Committee::new(2, 1).roster;
        let _ = Envelope::open(&roster, &bytes);
        let _ = Evidence::decode(&bytes);
        let _ = PublicKeyPackage::decode(&bytes);
        let _ = KeyShare::dangerous_from_bytes(&bytes);
        let _ = Pending::dangerous_from_bytes(&bytes);
        let _ = DkgCertificate::decode(&roster, &bytes);
    }

    #[test]
    fn points_and_scalars_round_trip(seed in any::<u64>()) {
        fn check<G: Group>(seed: u64) {
            let scalar = Scalar::<G>::random(&mut rng(seed));
            assert!(Scalar::decode("s", &scalar.encode()) == Ok(scalar));
            let point = Point::mul_base(&scalar);
            assert_eq!(point.encode().decode("p"), Ok(point));
            assert_eq!(point, Point::generator() * &scalar);
            let [low, high, ..] = seed.to_le_bytes();
            let factor = u16::from_le_bytes([low, high]);
            let small = Scalar::<G>::from_u64(factor.into());
            assert_eq!(point.mul_small_vartime(factor), point * &small);
            assert_eq!(Point::double_mul_vartime(&small, &point, &scalar), point * &small + point);
            let terms = [(small, point), (scalar, Point::generator())];
            assert_eq!(Point::multi_mul_vartime(&terms), point * &small + point);
        }
        check::<Ed25519>(seed);
        check::<Ristretto255>(seed);
        check::<Secp256k1>(seed);
    }
}

#[test]
fn a59_moved_boundaries_hash_differently() {
    let hash = |fields: &[&[u8]]| transcript::hash(Tag::SSID).fields(fields).digest();
    let lists =
        |items: &[&[u8]], rest: &[u8]| transcript::hash(Tag::SSID).list(items).field(rest).digest();
    let two_fields = [
        hash(&[b"ab", b"c"]),
        hash(&[b"a", b"bc"]),
        hash(&[b"abc", b""]),
        hash(&[b"", b"abc"]),
    ];
    let list_and_field = [
        lists(&[b"ab", b"c"], b""),
        lists(&[b"ab"], b"c"),
        lists(&[b"a", b"b"], b"c"),
        lists(&[], b"abc"),
    ];
    for shape in [&two_fields, &list_and_field] {
        for (at, one) in shape.iter().enumerate() {
            assert!(!shape[..at].contains(one), "{at}");
        }
    }
    assert!(!two_fields.contains(&hash(&[b"abc"])));
}

#[test]
fn the_transcript_is_what_the_notes_say() {
    use transcript::ciphersuite::sha256;
    let tag = sha256(&[b"TS1/v1/", b"ssid"]);
    let by_hand = sha256(&[
        &tag,
        &tag,
        &[0, 0, 0, 2],
        b"ab",
        &[0, 0, 0, 2],
        &[0, 0, 0, 1],
        b"c",
        &[0; 4],
    ]);
    assert_eq!(
        transcript::hash(Tag::SSID)
            .field(b"ab")
            .list([&b"c"[..], b""])
            .digest(),
        by_hand
    );
    let wide = transcript::wide(Tag::SSID).field(b"x").digest();
    let lane = |lane: u8| transcript::hash(Tag::SSID).u8(lane).field(b"x").digest();
    assert_eq!(wide.to_vec(), [lane(0), lane(1)].concat());
    let names: std::collections::BTreeSet<_> = Tag::ALL.iter().collect();
    assert_eq!(names.len(), Tag::ALL.len(), "no tag is used twice");
}
