//! Evidence, as it comes and with member 3's messages signed by member 3: no panic, one encoding, and nobody else is ever convicted.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mpc_core::evidence::{self, Claim, Evidence};
use quorate_fuzz::committee::{cheat, committee};
use quorate_fuzz::forge;

fuzz_target!(|bytes: &[u8]| {
    let Ok(decoded) = Evidence::decode(bytes) else {
        return;
    };
    assert_eq!(decoded.encode(), bytes);
    convicts_nobody_else(bytes);

    let (claim, context, messages) = forge::open_evidence(bytes).expect("it has been decoded");
    let session = (decoded.claim() == Claim::FrostShare).then(|| forge::share_session(context));
    let signed =
        |message: &&[u8]| forge::sign(message, session).unwrap_or_else(|| message.to_vec());
    let messages: Vec<_> = messages.iter().map(signed).collect();
    convicts_nobody_else(&forge::evidence(claim, context, &messages));
});

fn convicts_nobody_else(bytes: &[u8]) {
    if let Ok((culprit, _)) = evidence::verify(&committee().roster, bytes) {
        assert_eq!(culprit, cheat());
    }
}
