//! What is understood of a transaction must be such that a person can be shown all of it and sign for it.

use policy::approval::{Approval, Decision, summary_lines};
use policy::intent::{Intent, MAX_NOTE};
use policy::statement::{Common, Statement};

/// Checks that the lines of a transaction fit an approval beside the longest of everything else, and survive its parser.
///
/// # Panics
/// If they do not.
pub fn fits(raw: &[u8], rendering: &[String]) {
    let longest = "z".repeat(64);
    let intent = Intent {
        cluster_id: longest.clone(),
        key_id: [0; 32],
        wallet: longest.clone(),
        chain: longest.clone(),
        raw_tx: raw.to_vec(),
        initiator: longest.clone(),
        idempotency_key: longest.clone(),
        created_ms: 0,
        expires_ms: 1,
        note: "z".repeat(MAX_NOTE),
    };
    let common = Common {
        cluster: longest.clone(),
        person: longest.clone(),
        credential: longest,
        nonce: [0; 16],
        issued_ms: 0,
        expires_ms: 1,
    };
    let lines = summary_lines(&intent, rendering);
    let approval = Statement::Approval(Approval::new(
        common,
        &intent,
        [0; 32],
        Decision::Approve,
        lines,
    ));
    assert_eq!(Statement::parse(&approval.render()), Ok(approval));
}
