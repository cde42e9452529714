//! PSBTs: no panic, and whatever is understood has one signature and one outpoint for each input and can be shown in full.
#![no_main]

use std::collections::BTreeSet;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use policy::chain::{Chain, Network};
use policy::transaction::{Scheme, assemble, decode};
use quorate_fuzz::approval;
use quorate_fuzz::wallet::{Keys, PATH};

const CHAIN: Chain = Chain::Bitcoin(Network::Regtest);

fuzz_target!(|raw: &[u8]| {
    static KEYS: OnceLock<[Keys; 2]> = OnceLock::new();
    for keys in KEYS.get_or_init(|| [Scheme::Bip340, Scheme::Ecdsa].map(Keys::new)) {
        let Ok(transaction) = decode(CHAIN, raw, keys, &PATH) else {
            continue;
        };
        let inputs = transaction.tasks.len();
        assert!(inputs > 0 && !transaction.transfers.is_empty());
        let used: BTreeSet<_> = transaction.conflicts.iter().collect();
        assert_eq!((used.len(), transaction.conflicts.len()), (inputs, inputs));
        let names: BTreeSet<_> = used.iter().map(|key| key.digest()).collect();
        assert_eq!(names.len(), inputs);
        let paths = transaction.tasks.iter().map(|task| &task.path);
        assert!(paths.into_iter().all(|path| path.starts_with(&PATH)));
        approval::fits(raw, &transaction.rendering);
        let signatures = vec![vec![1; 64]; inputs];
        if let Ok(signed) = assemble(CHAIN, raw, keys, &PATH, &signatures) {
            assert!(decode(CHAIN, &signed, keys, &PATH).is_err());
        }
        assert!(assemble(CHAIN, raw, keys, &PATH, &signatures[1..]).is_err());
    }
});
