//! The policy document: the annotated example, and a corpus of documents that must be refused with exact faults.

use policy::document::{Document, Effect};

const FULL: &str = include_str!("data/full.toml");

#[test]
fn the_annotated_example_parses() {
    let document = Document::parse(FULL.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(document.version(), 42);
    assert_eq!(document.people().len(), 7);
    assert_eq!(document.machines().len(), 3);
    assert_eq!(document.wallets().len(), 2);
    assert_eq!(document.addresses().len(), 2);
    assert_eq!(document.rules().len(), 4);
    assert_eq!(document.rules()[3].effect, Effect::Deny);
}
