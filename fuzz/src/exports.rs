//! Genuine gifts of an export.

use std::sync::OnceLock;

use mpc_core::export;
use mpc_core::id::Purpose;
use mpc_core::identity::ExchangeKey;
use mpc_core::testing::rng;

use crate::committee::{Key, PARTIES, PURPOSES};

/// What was approved.
pub const REASON: [u8; 32] = [0x52; 32];

/// Who gets the key.
pub fn recipient() -> &'static ExchangeKey {
    static RECIPIENT: OnceLock<ExchangeKey> = OnceLock::new();
    RECIPIENT.get_or_init(|| ExchangeKey::generate(&mut rng(500)))
}

/// What a member gives, by its number. Always the same bytes.
#[must_use]
pub fn gift(purpose: Purpose, number: u16) -> &'static [u8] {
    static GIFTS: OnceLock<[Vec<Vec<u8>>; 2]> = OnceLock::new();
    let [ed25519, bip340] = GIFTS.get_or_init(|| {
        PURPOSES.map(|purpose| {
            let seal = |number| {
                let rng = &mut rng(600 + u64::from(number));
                let share = Key::of(purpose).share(number);
                export::seal(share, &recipient().public(), &REASON, rng).expect("a recipient")
            };
            (1..=PARTIES).map(seal).collect()
        })
    });
    let gifts = if purpose == Purpose::Ed25519 {
        ed25519
    } else {
        bip340
    };
    let at = usize::from(number).saturating_sub(1);
    gifts.get(at).expect("a member")
}
