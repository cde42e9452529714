//! Ethereum transactions: no panic, and whatever is understood is for one chain, names what it uses, and can be shown in full.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use policy::chain::Chain;
use policy::conflict::ConflictKey;
use policy::transaction::{Hash, Scheme, assemble, decode};
use quorate_fuzz::approval;
use quorate_fuzz::wallet::Keys;

/// The chains of the seeds.
const CHAINS: [u64; 3] = [1, 5, 1337];

fuzz_target!(|raw: &[u8]| {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    let keys = KEYS.get_or_init(|| Keys::new(Scheme::Ecdsa));
    let mut understood = 0;
    for id in CHAINS {
        let chain = Chain::Ethereum(id);
        let Ok(transaction) = decode(chain, raw, keys, &[]) else {
            continue;
        };
        understood += 1;
        let [transfer] = transaction.transfers.as_slice() else {
            panic!("{} movements", transaction.transfers.len())
        };
        let [task] = transaction.tasks.as_slice() else {
            panic!("{} signatures", transaction.tasks.len())
        };
        assert_eq!((task.hash, task.message.as_slice()), (Hash::Keccak256, raw));
        let [ConflictKey::Nonce { chain: used, .. }] = transaction.conflicts.as_slice() else {
            panic!("{:?}", transaction.conflicts)
        };
        assert_eq!(*used, chain);
        assert!(transfer.instruction == 0);
        approval::fits(raw, &transaction.rendering);
        // What is signed is never taken for what is still to be signed.
        let signature = [&[1; 64][..], &[0]].concat();
        if let Ok(signed) = assemble(chain, raw, keys, &[], &[signature]) {
            assert!(decode(chain, &signed, keys, &[]).is_err());
        }
    }
    assert!(understood <= 1, "good on several chains");
});
