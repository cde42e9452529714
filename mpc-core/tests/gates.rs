//! Rules about the source itself, and about what types may do.
#![expect(clippy::unwrap_used, reason = "helpers of a test may fail the test")]

use std::fs;
use std::path::{Path, PathBuf};

use mpc_core::dkg::{DkgOutput, Pending};
use mpc_core::group::{Ed25519, LazySum, Ristretto255, Secp256k1};
use mpc_core::id::Purpose;
use mpc_core::identity::{ExchangeKey, IdentityKey};
use mpc_core::keys::KeyShare;
use mpc_core::pair::{ReceiverSeeds, SenderSeeds, extension, vole};
use mpc_core::secret::{SecretBytes, SecretScalar};
use mpc_core::session::{Durable, Held, Write};
use mpc_core::testing::Simulator;
use mpc_core::transcript::block::Pads;
use static_assertions::{assert_impl_all, assert_not_impl_any};
use zeroize::ZeroizeOnDrop;

/// The source files, as paths below `src` with `/`, and the code of each up to its unit tests.
fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    assert!(files.len() > 20, "the walk found the sources");
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let code = text
            .split("#[cfg(test)]\nmod tests")
            .next()
            .unwrap()
            .to_owned();
        (
            path.strip_prefix(&root)
                .unwrap()
                .to_string_lossy()
                .replace('\\', "/"),
            code,
        )
    };
    files.into_iter().map(read).collect()
}

/// Files whose code mentions `needle` outside comments.
fn mentioning(needle: &str) -> Vec<String> {
    let mentions = |code: &str| {
        code.lines()
            .any(|line| !line.trim_start().starts_with("//") && line.contains(needle))
    };
    let mut files: Vec<_> = sources()
        .into_iter()
        .filter(|(_, code)| mentions(code))
        .map(|(name, _)| name)
        .collect();
    files.sort();
    files
}

#[test]
fn hashing_happens_in_the_transcript_only() {
    assert_eq!(
        mentioning("sha2::"),
        [
            "transcript.rs",
            "transcript/block.rs",
            "transcript/ciphersuite.rs"
        ]
    );
}

#[test]
fn curve_libraries_end_at_their_modules() {
    assert_eq!(
        mentioning("curve25519_dalek::"),
        ["group/ed25519.rs", "group/ristretto255.rs"]
    );
    assert_eq!(
        mentioning(" k256::"),
        ["group/secp256k1.rs", "verify.rs"].map(str::to_owned)
    );
    assert_eq!(mentioning("ed25519_dalek::"), ["identity.rs", "verify.rs"]);
}

#[test]
fn a5_message_handlers_do_not_zip() {
    // A zip stops at the shorter side. Handlers of peer data may zip only where both lengths come from our own types.
    let tests = "dkg/rigged.rs";
    let allowed = [
        // The coefficients of our own polynomial with their points, and a decoded message whose vectors have length t.
        ("dkg/round2.rs", 3),
        // Our roster with a vector that was read with the roster's length.
        ("dkg/originals.rs", 1),
        // Our roster without one node, with what was read once for each other member: the names in a certificate, and the offers.
        ("dkg/certificate.rs", 2),
        ("dkg/machine/rounds.rs", 1),
        // Two values that are there or not: no sequences.
        ("dkg/round1.rs", 1),
        ("dkg/round3.rs", 1),
    ];
    for (name, code) in sources()
        .into_iter()
        .filter(|(name, _)| name.starts_with("dkg/") && name != tests)
    {
        let zips = code.matches(".zip(").count();
        let expected = allowed
            .iter()
            .find(|(file, _)| *file == name)
            .map_or(0, |(_, count)| *count);
        assert_eq!(
            zips, expected,
            "{name}: check the lengths, then count the new zip here"
        );
    }
}

#[test]
fn a79_a81_no_clock_no_own_randomness_no_unsafe() {
    for forbidden in [
        "SystemTime",
        "Instant",
        "SysRng",
        "OsRng",
        "thread_rng",
        "HashMap",
        "HashSet",
        "unsafe ",
    ] {
        assert_eq!(mentioning(forbidden), Vec::<String>::new(), "{forbidden}");
    }
}

#[test]
fn a25_a81_variable_time_stays_away_from_secrets() {
    // In these files every value is a secret or is multiplied by one.
    for name in [
        "secret.rs",
        "dkg/round1.rs",
        "pair/base_ot.rs",
        "pair/extension.rs",
        "pair/extension/bits.rs",
        "pair/extension/check.rs",
        "pair/vole.rs",
        "transcript/block.rs",
        "transcript/block/lanes.rs",
    ] {
        let (_, code) = sources()
            .into_iter()
            .find(|(file, _)| file == name)
            .unwrap();
        assert!(!code.contains("_vartime"), "{name}");
    }
}

#[test]
fn a25_a82_secret_types_wipe_themselves_and_cannot_be_copied_or_compared() {
    macro_rules! secret {
        ($($type:ty),* $(,)?) => {$(
            assert_impl_all!($type: ZeroizeOnDrop);
            assert_not_impl_any!($type: Clone, Copy, PartialEq, core::hash::Hash, serde::Serialize, core::fmt::Display);
        )*};
    }
    secret!(
        SecretScalar<Ed25519>,
        SecretScalar<Secp256k1>,
        SecretScalar<Ristretto255>,
        SecretBytes<32>,
        IdentityKey,
        ExchangeKey,
        KeyShare,
        Pending,
        ReceiverSeeds,
        SenderSeeds,
        extension::Receiver,
        extension::Sender,
        LazySum,
        Pads,
    );
    assert_not_impl_any!(vole::SenderOutput: Clone, Copy, PartialEq);
    assert_not_impl_any!(vole::ReceiverOutput: Clone, Copy, PartialEq);
    assert_not_impl_any!(DkgOutput: Clone, Copy);
    assert_not_impl_any!(mpc_core::dkg::Session: Clone, Copy);
    assert_not_impl_any!(Write: Clone, Copy);
    assert_not_impl_any!(Durable: Clone, Copy);
    assert_not_impl_any!(Held<()>: Clone, Copy);
}

/// Hex and decimal-list spellings of every 8-byte window of a secret, forwards and backwards.
fn spellings(secret: &[u8]) -> Vec<String> {
    let mut reversed = secret.to_vec();
    reversed.reverse();
    let spell = |bytes: &[u8]| {
        let windows: Vec<_> = bytes.windows(8).map(<[u8]>::to_vec).collect();
        windows.into_iter().flat_map(|window| {
            let list = format!("{window:?}");
            [
                hex::encode(&window),
                hex::encode_upper(&window),
                list.trim_matches(['[', ']']).to_owned(),
            ]
        })
    };
    spell(secret).chain(spell(&reversed)).collect()
}

#[test]
fn a80_printing_any_type_shows_no_secret() {
    let mut simulator = Simulator::start(Purpose::Ed25519, 2, 3, 1);
    let mut printed = format!("{simulator:?}");
    let mut rounds = 0;
    while let Some(flight) = simulator.network.pop_front() {
        simulator.deliver(flight).unwrap();
        for session in simulator.sessions.values() {
            printed.push_str(&format!("{session:?}"));
        }
        rounds += 1;
    }
    assert!(rounds > 10);
    let output = simulator.output(1);
    let stored = &simulator.stores[&simulator.committee.node(1)][1];
    let pending = Pending::dangerous_from_bytes(&stored.bytes).unwrap();
    printed.push_str(&format!("{output:?} {:?} {pending:?}", output.share));
    printed.push_str(&format!("{:?}", simulator.committee.identities));
    // The share's bytes start with version and index.
    let share = output.share.dangerous_to_bytes();
    let identity = simulator.committee.identity(1).dangerous_to_seed();
    for secret in [&share[3..35], &identity[..]] {
        for spelling in spellings(secret) {
            assert!(
                !printed.contains(&spelling),
                "a secret is printed as {spelling}"
            );
        }
    }
    // The test can fail: a public value is found by the same search.
    let public = output.share.public().public_key();
    assert!(
        spellings(&public)
            .iter()
            .any(|spelling| printed.contains(spelling))
    );
}
