//! SSH signatures, as armour and as what is inside of it: no panic, and nothing verifies over a text that nobody signed.
#![no_main]

use base64::prelude::{BASE64_STANDARD, Engine as _};
use libfuzzer_sys::fuzz_target;
use policy::sshsig::verify;

/// The public keys of the seeds.
const KEYS: [&str; 3] = [
    include_str!("../seeds/ed25519.pub"),
    include_str!("../seeds/ecdsa.pub"),
    include_str!("../seeds/sk.pub"),
];

fuzz_target!(|bytes: &[u8]| {
    for key in KEYS {
        assert!(verify(key, b"a text that nobody signed", &armour(bytes)).is_err());
        if let Ok(text) = core::str::from_utf8(bytes) {
            assert!(verify(key, b"a text that nobody signed", text).is_err());
        }
    }
});

/// The bytes in the armour that `ssh-keygen` puts around a signature.
fn armour(bytes: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(bytes);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(70)
        .filter_map(|line| core::str::from_utf8(line).ok())
        .collect();
    format!(
        "-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n",
        lines.join("\n")
    )
}
