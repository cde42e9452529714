//! Intents: no panic, one encoding each, and none out of its bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use policy::intent::{Intent, SignedIntent};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(intent) = Intent::decode(bytes) {
        assert_eq!(intent.encode(), bytes);
        assert_eq!(intent.check(), Ok(()));
    }
    if let Ok(signed) = SignedIntent::decode(bytes) {
        assert_eq!(signed.encode(), bytes);
        assert_eq!(signed.digest(), signed.intent().digest());
    }
});
