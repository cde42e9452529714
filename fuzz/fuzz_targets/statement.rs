//! Texts that people sign, bare and with a signature: no panic, one spelling each.
#![no_main]

use libfuzzer_sys::fuzz_target;
use policy::statement::{SignedStatement, Statement};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(statement) = Statement::parse(bytes) {
        assert_eq!(statement.render(), bytes);
    }
    if let Ok(signed) = SignedStatement::decode(bytes) {
        assert_eq!(signed.encode(), bytes);
        assert_eq!(signed.statement().render(), signed.body());
    }
});
