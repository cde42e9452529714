//! Policy documents: no panic, the same answer twice, and an explanation for every refusal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use policy::document::Document;

fuzz_target!(|bytes: &[u8]| {
    let first = Document::parse(bytes);
    assert_eq!(first, Document::parse(bytes));
    if let Err(error) = first {
        assert!(!error.problems.is_empty());
    }
});
