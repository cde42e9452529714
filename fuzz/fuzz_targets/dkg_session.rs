//! Key generation of two honest members and one that lies, over a network that reorders, repeats, holds back and invents: no panic,
//! no honest member is ever blamed, all honest members that finish have the same key, and lying or silence is what it takes to
//! keep them from finishing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mpc_core::dkg::{self, Pending};
use mpc_core::session::WriteKind;
use mpc_core::testing::{Simulator, Stage};
use quorate_fuzz::adversary::{Cast, Damage};
use quorate_fuzz::committee::{CHEAT, HONEST, PURPOSES, THRESHOLD, committee};
use quorate_fuzz::script::Script;

/// Decisions per run.
const MAX_STEPS: usize = 96;

fuzz_target!(|bytes: &[u8]| {
    let cast = Cast {
        committee: committee(),
        honest: &HONEST,
        cheat: CHEAT,
    };
    let mut script = Script::new(bytes);
    let purpose = PURPOSES[script.below(PURPOSES.len())];
    let mut run = Simulator::start_with(committee().clone(), purpose, THRESHOLD, 5);
    let mut damage = Damage::default();
    for _ in 0..MAX_STEPS {
        let Some(decision) = script.next() else { break };
        cast.step(&mut run, &mut script, decision, &mut damage);
    }
    run.run();
    // Whoever still waits gives up, and what it has left to say arrives.
    run.expire();
    run.run();
    judge(&cast, &run, damage);
});

fn judge(cast: &Cast<'_>, run: &Stage<dkg::Session>, damage: Damage) {
    let outputs = cast.judge(run, damage);
    let Some((_, first)) = outputs.first() else {
        return;
    };
    for (_, output) in &outputs {
        assert_eq!(output.certificate, first.certificate);
        assert_eq!(output.share.public(), first.share.public());
    }
    assert_eq!(first.certificate.verify(&committee().roster), Ok(()));
    // Whoever was kept from finishing can do so later, with what it has stored and the certificate of another.
    for member in cast.honest() {
        let mut stored = run.stores.get(&member).into_iter().flatten();
        let pending = stored
            .find(|write| write.kind == WriteKind::Share)
            .expect("a certified share is stored");
        let pending =
            Pending::dangerous_from_bytes(&pending.bytes).expect("what a session stores decodes");
        let finished = pending
            .finish(first.certificate.parts().values())
            .expect("the certificate is for it");
        assert_eq!(
            (finished.share.public(), &finished.certificate),
            (first.share.public(), &first.certificate)
        );
    }
}
