//! New shares of an old key, by honest nodes and one that lies, over a network that reorders, repeats, holds back and invents: no
//! panic, no honest node is ever blamed, all honest nodes that finish have the same sharing of the same key, whoever has prepared
//! something can take it into effect with the certificate of another, and lying or silence is what it takes to keep them from it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mpc_core::keys::PublicKeyPackage;
use mpc_core::lineage::{Learned, Lineage};
use mpc_core::reshare::{Prepared, Request, Session};
use mpc_core::session::WriteKind;
use mpc_core::testing::Stage;
use quorate_fuzz::adversary::{Cast, Damage};
use quorate_fuzz::committee::{CHEAT, Key, PURPOSES};
use quorate_fuzz::script::Script;
use quorate_fuzz::sharings::{CUTS, nodes, request, shares, start};

/// Decisions per run.
const MAX_STEPS: usize = 96;

fuzz_target!(|bytes: &[u8]| {
    let mut script = Script::new(bytes);
    let choice = script.byte();
    let purpose = PURPOSES[usize::from(choice & 1)];
    let cut = &CUTS[usize::from(choice >> 1) % CUTS.len()];
    let mut honest = cut.participants();
    honest.retain(|number| *number != CHEAT);
    let cast = Cast {
        committee: nodes(),
        honest: &honest,
        cheat: CHEAT,
    };
    let old = Key::of(purpose).public();
    let request = request(old, cut, 0);
    let mut run = start(&request, &shares(purpose), 5);
    let mut damage = Damage::default();
    for _ in 0..MAX_STEPS {
        let Some(decision) = script.next() else { break };
        cast.step(&mut run, &mut script, decision, &mut damage);
    }
    run.run();
    // Whoever still waits gives up, and what it has left to say arrives.
    run.expire();
    run.run();
    judge(&cast, &run, &request, damage);
});

fn judge(cast: &Cast<'_>, run: &Stage<Session>, request: &Request, damage: Damage) {
    let outputs = cast.judge(run, damage);
    let Some((_, first)) = outputs.first() else {
        return;
    };
    let certificate = &first.certificate;
    let new = certificate
        .verify(request.active())
        .expect("it continues the sharing that was replaced");
    same_key(request.active(), &new);
    for (node, output) in &outputs {
        assert_eq!(output.certificate, *certificate);
        let share = output.share.as_ref();
        assert_eq!(share.is_some(), request.is_member(node));
        assert!(share.is_none_or(|share| *share.public() == new));
    }
    for node in cast.honest() {
        let mut stored = run.stores.get(&node).into_iter().flatten();
        let prepared = stored
            .find(|write| write.kind == WriteKind::Share)
            .expect("what is certified is prepared everywhere");
        let prepared =
            Prepared::dangerous_from_bytes(&prepared.bytes).expect("what a session stores decodes");
        assert_eq!(prepared.holds_share(), request.is_member(&node));
        let sharing = prepared.sharing();
        let activated = prepared
            .activate(certificate)
            .expect("the certificate is for it");
        let share = activated.share.as_ref();
        assert!(share.is_none_or(|share| *share.public() == new));

        let holds = request.active().index_of(&node).is_some();
        let mut lineage = Lineage::new(request.active().clone(), holds);
        let admitted = lineage.prepare(sharing, request, &node, share.is_some());
        assert_eq!(admitted, Ok(()));
        let learned = lineage.learn(certificate.clone(), &node);
        let Ok(Learned::Activated(activation)) = learned else {
            panic!("{learned:?}")
        };
        assert_eq!(activation.now, sharing);
        assert_eq!(activation.erase.len(), usize::from(holds));
        assert_eq!(activation.member, request.is_member(&node));
        assert!(!activation.share_lost);
    }
}

fn same_key(old: &PublicKeyPackage, new: &PublicKeyPackage) {
    assert_eq!(new.public_key(), old.public_key());
    assert_eq!(new.chain_code(), old.chain_code());
    assert_eq!(new.key_id(), old.key_id());
    assert_eq!(new.purpose(), old.purpose());
    assert_eq!(new.epoch().0, old.epoch().0 + 1);
}
