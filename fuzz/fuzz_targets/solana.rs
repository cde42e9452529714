//! Raw transactions: no panic, and whatever is understood can be shown to an approver in full and signed by them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use policy::chain::Address;
use policy::solana::{MAX_TRANSFERS, assemble, decode};
use quorate_fuzz::approval;

/// The wallet of the seeds.
const WALLET: [u8; 32] = [1; 32];

fuzz_target!(|raw: &[u8]| {
    let Ok(transaction) = decode(raw, &WALLET) else {
        return;
    };
    assert!((1..=MAX_TRANSFERS).contains(&transaction.transfers.len()));
    assert_eq!(transaction.fee_payer, Address::Solana(WALLET));
    assert_eq!(assemble(raw, &[0; 64])[65..], *raw);
    approval::fits(raw, &transaction.rendering);
});
