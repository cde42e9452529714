//! Raw transactions: no panic, and whatever is understood can be shown to an approver in full and signed by them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use policy::approval::{Approval, Decision, summary_lines};
use policy::chain::Address;
use policy::intent::{Intent, MAX_NOTE};
use policy::solana::{MAX_TRANSFERS, assemble, decode};
use policy::statement::{Common, Statement};

/// The wallet of the seeds.
const WALLET: [u8; 32] = [1; 32];

fuzz_target!(|raw: &[u8]| {
    let Ok(transaction) = decode(raw, &WALLET) else {
        return;
    };
    assert!((1..=MAX_TRANSFERS).contains(&transaction.transfers.len()));
    assert_eq!(transaction.fee_payer, Address::Solana(WALLET));
    assert_eq!(assemble(raw, &[0; 64])[65..], *raw);

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
    let lines = summary_lines(&intent, &transaction.rendering);
    let approval = Statement::Approval(Approval::new(
        common,
        &intent,
        [0; 32],
        Decision::Approve,
        lines,
    ));
    assert_eq!(Statement::parse(&approval.render()), Ok(approval));
});
