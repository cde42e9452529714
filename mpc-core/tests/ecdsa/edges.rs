//! Signatures at the edges: messages and digests of every awkward kind, low `s`, recovery, and what must be refused at the door.

use std::collections::{BTreeMap, BTreeSet};

use mpc_core::ecdsa::{Payload, SigningRequest};
use mpc_core::hd::DerivationPath;
use mpc_core::id::{NodeId, Purpose, RequestId};
use mpc_core::session::WriteKind;
use mpc_core::testing::{Signers, bytes, rng};
use mpc_core::{Error, Misuse};

use crate::signing::verify;

/// The order of secp256k1, big-endian, plus `add`.
fn near_order(add: i8) -> [u8; 32] {
    let mut order = [0xFF; 32];
    let low = [
        0xFE, 0xBA, 0xAE, 0xDC, 0xE6, 0xAF, 0x48, 0xA0, 0x3B, 0xBF, 0xD2, 0x5E, 0x8C, 0xD0, 0x36,
        0x41,
    ];
    order[15..31].copy_from_slice(&low);
    order[31] = 0x41_u8.checked_add_signed(add).unwrap();
    order
}

fn root() -> DerivationPath {
    DerivationPath::new([]).unwrap()
}

/// Signs and verifies; whether `s` was negated cannot be seen, but the recovery number can.
fn sign(signers: &Signers, set: &BTreeSet<NodeId>, payload: &Payload<'_>, seed: u64) -> u8 {
    let path = match seed % 4 {
        0 => root(),
        length => DerivationPath::new(vec![
            u32::try_from(seed).unwrap();
            usize::try_from(length).unwrap()
        ])
        .unwrap(),
    };
    let request = signers.request(set, &path, payload);
    let signature = signers.sign(signers.preprocess(set, seed), &request);
    verify(&request, &signature);
    assert_eq!(signature.to_recoverable_bytes()[..64], signature.to_bytes());
    signature.recovery_id()
}

#[test]
fn a37_two_thousand_signatures_over_edge_messages_verify_elsewhere() {
    let funds = Signers::deal(Purpose::Ecdsa, 2, 3, 90);
    let raw = Signers::deal(Purpose::EcdsaRaw, 2, 3, 91);
    let mut recoveries = BTreeMap::<u8, usize>::new();
    let mut count = 0;
    let mut note = |recovery| {
        *recoveries.entry(recovery).or_default() += 1;
        count += 1;
    };
    let mut single_bits = (0..256).map(|bit| {
        let mut digest = [0; 32];
        digest[bit / 8] = 1 << (bit % 8);
        digest
    });
    let mut digests = vec![[0; 32], [0xFF; 32], [0x80; 32], [0x7F; 32]];
    digests.extend((-3..=3).map(near_order));
    digests.extend(single_bits.by_ref());
    for (seed, digest) in (0_u64..).zip(&digests) {
        let set = raw.set(&[[1, 2], [1, 3], [2, 3]][usize::try_from(seed % 3).unwrap()]);
        note(sign(&raw, &set, &Payload::RawDigest(*digest), seed));
    }
    // Lengths around the blocks of both hash functions (64 and 136 bytes), and a long one.
    let lengths = (0_u64..300).chain([1000, 4096, 65_536, 1 << 20]);
    for length in lengths {
        let set = funds.set(&[[1, 2], [1, 3], [2, 3]][usize::try_from(length % 3).unwrap()]);
        let message = match length % 4 {
            0 => vec![0; usize::try_from(length).unwrap()],
            1 => vec![0xFF; usize::try_from(length).unwrap()],
            _ => bytes(length, usize::try_from(length).unwrap()),
        };
        for payload in [
            Payload::Sha256(&message),
            Payload::DoubleSha256(&message),
            Payload::Keccak256(&message),
        ] {
            note(sign(&funds, &set, &payload, length));
        }
    }
    let mut seed = 10_000;
    while count_of(&recoveries) < 2000 {
        seed += 1;
        let set = funds.set(&[[1, 2], [1, 3], [2, 3]][usize::try_from(seed % 3).unwrap()]);
        let recovery = sign(&funds, &set, &Payload::Sha256(&bytes(seed, 40)), seed);
        *recoveries.entry(recovery).or_default() += 1;
    }
    assert!(count > 1100);
    // Both parities are equally likely; a nonce point above the order is not found by chance.
    assert_eq!(recoveries.len(), 2, "{recoveries:?}");
    assert!(
        recoveries.values().all(|count| (800..1200).contains(count)),
        "{recoveries:?}"
    );
}

fn count_of(recoveries: &BTreeMap<u8, usize>) -> usize {
    recoveries.values().sum()
}

#[test]
fn a33_a_bare_digest_needs_a_key_that_is_for_nothing_else() {
    let funds = Signers::deal(Purpose::Ecdsa, 2, 2, 92);
    let raw = Signers::deal(Purpose::EcdsaRaw, 2, 2, 93);
    let id = RequestId::from_bytes([1; 32]);
    let refused = |signers: &Signers, payload: &Payload<'_>| {
        SigningRequest::new(&signers.public, &signers.set(&[1, 2]), &root(), payload, id)
            .unwrap_err()
    };
    assert_eq!(
        refused(&funds, &Payload::RawDigest([1; 32])),
        Misuse::WrongPurpose {
            key: Purpose::Ecdsa,
            request: Purpose::EcdsaRaw
        }
    );
    for payload in [
        Payload::Sha256(b"m"),
        Payload::DoubleSha256(b"m"),
        Payload::Keccak256(b"m"),
    ] {
        assert_eq!(
            refused(&raw, &payload),
            Misuse::WrongPurpose {
                key: Purpose::EcdsaRaw,
                request: Purpose::Ecdsa
            }
        );
    }
}

#[test]
fn a39_exactly_the_threshold_signs_and_only_members() {
    let signers = Signers::deal(Purpose::Ecdsa, 3, 5, 94);
    let outsider = Signers::deal(Purpose::Ecdsa, 2, 2, 95).committee.node(1);
    let id = RequestId::from_bytes([1; 32]);
    let refused = |set: &BTreeSet<NodeId>| {
        SigningRequest::new(&signers.public, set, &root(), &Payload::Sha256(b"m"), id).unwrap_err()
    };
    for set in [
        vec![],
        vec![1],
        vec![1, 2],
        vec![1, 2, 3, 4],
        vec![1, 2, 3, 4, 5],
    ] {
        assert!(
            matches!(refused(&signers.set(&set)), Misuse::InvalidSigners(_)),
            "{set:?}"
        );
    }
    let mut set = signers.set(&[1, 2]);
    set.insert(outsider);
    assert!(matches!(refused(&set), Misuse::InvalidSigners(_)));
}

#[test]
fn a42_a_long_message_is_refused_before_it_is_hashed() {
    let signers = Signers::deal(Purpose::Ecdsa, 2, 2, 96);
    let id = RequestId::from_bytes([1; 32]);
    let message = vec![0; (1 << 20) + 1];
    let payload = Payload::Keccak256(&message);
    let error = SigningRequest::new(
        &signers.public,
        &signers.set(&[1, 2]),
        &root(),
        &payload,
        id,
    )
    .unwrap_err();
    assert!(matches!(error, Misuse::InvalidRequest(_)));
}

#[test]
fn a34_an_entry_serves_its_own_signers_only() {
    let signers = Signers::deal(Purpose::Ecdsa, 2, 3, 97);
    let (here, there) = (signers.set(&[1, 2]), signers.set(&[1, 3]));
    let request = signers.request(&there, &root(), &Payload::Sha256(b"m"));
    let me = signers.committee.node(1);
    let mut entries = signers.preprocess(&here, 1);
    let error = signers
        .open(&me, entries.remove(&me).unwrap(), &request, &mut rng(1))
        .unwrap_err();
    assert!(
        matches!(error, Error::Misuse(Misuse::InvalidSigners(_))),
        "{error:?}"
    );

    // Nor does it serve another node of the set, or a share of another key.
    let request = signers.request(&here, &root(), &Payload::Sha256(b"m"));
    let other = signers.committee.node(2);
    let mut entries = signers.preprocess(&here, 2);
    let error = signers
        .open(&other, entries.remove(&me).unwrap(), &request, &mut rng(1))
        .unwrap_err();
    assert_eq!(error, Error::Misuse(Misuse::IdentityMismatch));
    let strangers = Signers::deal(Purpose::Ecdsa, 2, 3, 98);
    let mut entries = signers.preprocess(&here, 3);
    let identity = signers.committee.identity_of(&me);
    let entry = entries.remove(&me).unwrap();
    let share = strangers.share(&strangers.committee.node(1));
    let result = mpc_core::ecdsa::open(entry, share, request, identity, &mut rng(1));
    assert_eq!(
        result.map(|_| ()).unwrap_err(),
        Error::Misuse(Misuse::WrongKey)
    );
}

#[test]
fn a29_the_entry_is_burnt_before_anything_leaves() {
    // What comes out of opening is locked until the store says that entry and request are written; the state answers once.
    let signers = Signers::deal(Purpose::Ecdsa, 2, 2, 99);
    let set = signers.set(&[1, 2]);
    let request = signers.request(&set, &root(), &Payload::Sha256(b"m"));
    let mut entries = signers.preprocess(&set, 1);
    let me = *set.first().unwrap();
    let (entry, share) = (entries.remove(&me).unwrap(), signers.share(&me));
    let name = entry.name();
    let identity = signers.committee.identity_of(&me);
    let (write, held) =
        mpc_core::ecdsa::open(entry, share, request.clone(), identity, &mut rng(1)).unwrap();
    assert_eq!(write.kind(), WriteKind::Entry);
    assert_eq!(
        write.bytes(),
        [&name.as_bytes()[..], request.name()].concat()
    );
    // The receipt of another write opens nothing.
    let mut others = signers.preprocess(&set, 2);
    let (other, _) = mpc_core::ecdsa::open(
        others.remove(&me).unwrap(),
        share,
        request,
        identity,
        &mut rng(1),
    )
    .unwrap();
    let error = held.release(other.stored()).map(|_| ()).unwrap_err();
    assert_eq!(error, Error::Misuse(Misuse::WrongReceipt));
}

#[test]
fn a31_two_runs_share_no_value() {
    let signers = Signers::deal(Purpose::Ecdsa, 2, 2, 100);
    let set = signers.set(&[1, 2]);
    let [first, second] = [1, 2].map(|seed| signers.preprocess(&set, seed));
    for (node, entry) in &first {
        assert_ne!(entry.name(), second[node].name());
    }
    let request = signers.request(&set, &root(), &Payload::Sha256(b"m"));
    let [one, two] = [first, second].map(|entries| signers.sign(entries, &request));
    assert_ne!(
        one.to_bytes()[..32],
        two.to_bytes()[..32],
        "the same nonce twice"
    );
    verify(&request, &one);
    verify(&request, &two);
}
