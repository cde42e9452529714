//! What a node reads back from its disk: no panic, one encoding of every record, and nothing sealed opens after a change.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use quorate_fuzz::script::Script;
use quorate_fuzz::store::{DATA_KEY, owner, secret};
use signer_node::fuzzing::RECORDS;
use signer_node::seal::{Kind, Label, Vault};

fn vault() -> &'static Vault {
    static VAULT: OnceLock<Vault> = OnceLock::new();
    VAULT.get_or_init(|| {
        Vault::unlock(&secret(), owner(), DATA_KEY).expect("the committed data key")
    })
}

fuzz_target!(|bytes: &[u8]| {
    for (name, recode) in RECORDS {
        if let Some(again) = recode(bytes) {
            assert_eq!(again, bytes, "{name}");
        }
    }
    let unlocked = Vault::unlock(&secret(), owner(), bytes);
    assert_eq!(unlocked.is_ok(), bytes == DATA_KEY);

    let label = Label::new(Kind::Share, [5; 32], 0, 0);
    assert!(vault().open(&label, bytes).is_err());
    let mut script = Script::new(bytes);
    let secret = script.bytes();
    let sealed = vault().seal(&label, secret).expect("a sealed record");
    assert_eq!(
        vault()
            .open(&label, &sealed)
            .expect("it was just sealed")
            .as_slice(),
        secret
    );
    assert!(
        vault().open_share(&label, &sealed).is_err(),
        "255 bytes are no share"
    );
    let elsewhere = Label::new(Kind::Pending, [5; 32], 0, 0);
    assert!(vault().open(&elsewhere, &sealed).is_err());
    let mut changed = sealed.clone();
    script.change(&mut changed);
    assert!(changed == sealed || vault().open(&label, &changed).is_err());
});
