//! What holders give in an export: no panic, nothing but the key comes out, and no gift, whatever it says, spoils those of others.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use mpc_core::export::{self, ExportError};
use mpc_core::id::Purpose;
use mpc_core::identity::ExchangeKey;
use mpc_core::testing::rng;
use quorate_fuzz::committee::{Key, PURPOSES};
use quorate_fuzz::exports::{REASON, gift, recipient};
use quorate_fuzz::script::Script;

/// The key, once put together from genuine gifts.
fn secret(purpose: Purpose) -> [u8; 32] {
    static SECRETS: OnceLock<[[u8; 32]; 2]> = OnceLock::new();
    let [ed25519, bip340] = SECRETS.get_or_init(|| {
        PURPOSES.map(|purpose| {
            let gifts = [gift(purpose, 1), gift(purpose, 2)];
            let public = Key::of(purpose).public();
            let opened = export::open(gifts, recipient(), &REASON, public).expect("two gifts");
            *opened.secret.expose_secret()
        })
    });
    if purpose == Purpose::Ed25519 {
        *ed25519
    } else {
        *bip340
    }
}

fuzz_target!(|bytes: &[u8]| {
    for purpose in PURPOSES {
        beside_genuine_ones(purpose, bytes);
    }
    let mut script = Script::new(bytes);
    let purpose = PURPOSES[script.below(PURPOSES.len())];
    let genuine = gift(purpose, 1 + u16::try_from(script.below(3)).expect("small"));
    let mut changed = genuine.to_vec();
    script.change(&mut changed);
    beside_genuine_ones(purpose, &changed);
    // For somebody else, or for another reason, a genuine gift is nothing.
    let public = Key::of(purpose).public();
    let stranger = ExchangeKey::generate(&mut rng(u64::from(script.byte()) + 1000));
    let other = [script.byte().max(1); 32];
    let gifts = [gift(purpose, 1), gift(purpose, 2)];
    assert!(export::open(gifts, &stranger, &REASON, public).is_err());
    let reason: [u8; 32] = core::array::from_fn(|at| REASON[at] ^ other[at]);
    assert!(export::open(gifts, recipient(), &reason, public).is_err());
});

fn beside_genuine_ones(purpose: Purpose, bytes: &[u8]) {
    let public = Key::of(purpose).public();
    let is_genuine = |number| gift(purpose, number) == bytes;
    let more = [2, 3].into_iter().any(is_genuine);
    match export::open([gift(purpose, 1), bytes], recipient(), &REASON, public) {
        Ok(opened) => {
            assert!(more, "one holder's share and something else are the key");
            assert_eq!(*opened.secret.expose_secret(), secret(purpose));
            assert!(opened.refused.is_empty());
        }
        Err(ExportError::TooFew { got, refused, .. }) => {
            assert!(!more, "two genuine gifts are refused");
            assert_eq!(got, 1);
            assert_eq!(refused.is_empty(), is_genuine(1));
            assert!(refused.iter().all(|refused| refused.position == 1));
        }
        Err(error) => panic!("{error:?}"),
    }
    let gifts = [gift(purpose, 2), bytes, gift(purpose, 3)];
    let opened = export::open(gifts, recipient(), &REASON, public).expect("two genuine gifts");
    assert_eq!(*opened.secret.expose_secret(), secret(purpose));
    let genuine = (1..=3).any(is_genuine);
    assert_eq!(opened.refused.is_empty(), genuine);
}
