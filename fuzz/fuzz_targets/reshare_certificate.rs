//! Requests, certificates, lineages and prepared shares: no panic, one encoding, nothing that contradicts itself; and whatever order
//! certificates arrive in, a lineage only ever moves upward.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mpc_core::codec::Writer;
use mpc_core::lineage::{Learned, Lineage, Sharing};
use mpc_core::reshare::{Certificate, Prepared, Request};
use quorate_fuzz::committee::PURPOSES;
use quorate_fuzz::script::Script;
use quorate_fuzz::sharings::{Tree, nodes};

/// Decisions per run.
const MAX_STEPS: usize = 32;

fuzz_target!(|bytes: &[u8]| {
    decoders(bytes);
    let mut script = Script::new(bytes);
    let tree = Tree::of(PURPOSES[script.below(PURPOSES.len())]);
    if script.byte() % 2 == 0 {
        climb(tree, &mut script);
    } else {
        lineage(&compose(tree, &mut script));
    }
});

fn decoders(bytes: &[u8]) {
    if let Ok(request) = Request::decode(bytes) {
        assert_eq!(request.encode(), bytes);
        assert!(request.dealers().len() >= usize::from(request.active().params().threshold()));
        assert_eq!(
            request.roster().len(),
            usize::from(request.params().parties())
        );
    }
    if let Ok(certificate) = Certificate::decode(bytes) {
        assert_eq!(certificate.encode(), bytes);
        certified(&certificate);
    }
    if let Ok(prepared) = Prepared::dangerous_from_bytes(bytes) {
        let participants = prepared.request().participants().len();
        let own = prepared.own_part().to_vec();
        assert!(
            participants < 2 || prepared.finish([own]).is_err(),
            "one part is no certificate"
        );
    }
    lineage(bytes);
}

/// Whatever its signers sign, a certificate does not change a key.
fn certified(certificate: &Certificate) {
    let old = certificate.request().active();
    let new = certificate.verify(old).expect("it continues what it names");
    assert_eq!(new.public_key(), old.public_key());
    assert_eq!(new.key_id(), old.key_id());
    assert_eq!(new.epoch().0, old.epoch().0 + 1);
    assert_eq!(Sharing::of(&new), certificate.sharing());
}

fn lineage(bytes: &[u8]) {
    if let Ok(lineage) = Lineage::decode(bytes) {
        assert_eq!(lineage.encode(), bytes);
        assert_eq!(lineage.active().public_key(), lineage.base().public_key());
    }
}

/// A node that hears of certificates, is asked for shares and loses some, in any order.
fn climb(tree: &Tree, script: &mut Script<'_>) {
    let me = nodes().node(1 + u16::from(script.byte() % 4));
    let holds = tree.base.index_of(&me).is_some();
    let mut lineage = Lineage::new(tree.base.clone(), holds);
    for _ in 0..MAX_STEPS {
        let Some(decision) = script.next() else { break };
        let certificate = &tree.certificates[script.below(tree.certificates.len())];
        let (before, held) = (lineage.sharing(), lineage.held().clone());
        match decision % 4 {
            0 | 1 => {
                let learned = lineage.learn(certificate.clone(), &me);
                let gone = held.iter().filter(|one| !lineage.held().contains(one));
                let gone: Vec<Sharing> = gone.copied().collect();
                if let Ok(Learned::Activated(activation)) = learned {
                    assert!(activation.now.place() > before.place());
                    assert_eq!(activation.now, lineage.sharing());
                    assert_eq!(activation.erase, gone);
                    let lower = |one: &Sharing| one.place() < activation.now.place();
                    assert!(gone.iter().all(lower), "a share above the active one");
                    assert_eq!(activation.member, certificate.request().is_member(&me));
                } else {
                    assert_eq!(lineage.sharing(), before);
                    assert!(gone.is_empty(), "a share is erased without a certificate");
                }
            }
            2 => {
                let (sharing, request) = (certificate.sharing(), certificate.request());
                let holds = request.is_member(&me);
                let admitted = lineage.admit(request, &me);
                assert_eq!(lineage.prepare(sharing, request, &me, holds), admitted);
                if admitted.is_ok() {
                    assert!(lineage.prepare(sharing, request, &me, holds).is_err());
                }
            }
            _ => lineage.lose(&certificate.sharing()),
        }
        assert!(lineage.sharing() >= before);
        assert_eq!(lineage.active().public_key(), tree.base.public_key());
        let again = Lineage::decode(&lineage.encode());
        assert_eq!(again.as_ref(), Ok(&lineage));
    }
}

/// A lineage put together by hand, of genuine pieces.
fn compose(tree: &Tree, script: &mut Script<'_>) -> Vec<u8> {
    let pieces = |script: &mut Script<'_>| -> Vec<usize> {
        let count = usize::from(script.byte() % 5);
        let all = tree.certificates.len();
        (0..count).map(|_| script.below(all)).collect()
    };
    let (chain, beside) = (pieces(script), pieces(script));
    let [held, signed] = [pieces(script), pieces(script)];
    let mut out = Writer::default();
    out.u8(1).var(&tree.base.encode());
    out.u32(u32::try_from(chain.len()).expect("few"));
    for piece in chain {
        out.var(&tree.certificates[piece].encode());
    }
    out.u16(u16::try_from(beside.len()).expect("few"));
    for piece in beside {
        out.var(&tree.certificates[piece].encode());
    }
    for list in [held, signed] {
        out.u16(u16::try_from(list.len()).expect("few"));
        for piece in list {
            let sharing = tree.certificates[piece].sharing();
            let mut id = *sharing.id.as_bytes();
            id[31] ^= script.byte();
            out.u32(sharing.epoch.0).u32(sharing.attempt.0).bytes(&id);
        }
    }
    out.finish()
}
