//! Key generation of two honest members and one that lies, over a network that reorders, repeats, holds back and invents: no panic,
//! no honest member is ever blamed, all honest members that finish have the same key, and lying or silence is what it takes to
//! keep them from finishing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mpc_core::dkg::Pending;
use mpc_core::envelope::{Envelope, Header, Kind, Recipient};
use mpc_core::id::SessionId;
use mpc_core::session::{Session as _, WriteKind};
use mpc_core::testing::{Flight, Simulator};
use mpc_core::{Error, Strength, evidence};
use quorate_fuzz::committee::{CHEAT, HONEST, PURPOSES, THRESHOLD, cheat, committee, node};
use quorate_fuzz::script::Script;

/// Decisions per run.
const MAX_STEPS: usize = 96;

/// What has happened so far that can keep honest members from finishing.
#[derive(Clone, Copy, Debug, Default)]
struct Damage {
    /// Member 3 said something it should not have said.
    lied: bool,
    /// A message was lost or came too late.
    lost: bool,
}

fuzz_target!(|bytes: &[u8]| {
    let mut script = Script::new(bytes);
    let purpose = PURPOSES[script.below(PURPOSES.len())];
    let mut run = Simulator::start_with(committee().clone(), purpose, THRESHOLD, 5);
    let mut damage = Damage::default();
    for _ in 0..MAX_STEPS {
        let Some(decision) = script.next() else { break };
        step(&mut run, &mut script, decision, &mut damage);
    }
    run.run();
    // Whoever still waits gives up, and what it has left to say arrives.
    run.expire();
    run.run();
    judge(&run, damage);
});

fn step(run: &mut Simulator, script: &mut Script<'_>, decision: u8, damage: &mut Damage) {
    let at = script.below(run.network.len());
    match decision % 10 {
        0..=2 => {
            if let Some(flight) = run.network.remove(at) {
                let _ = run.deliver(flight);
            }
        }
        3 => {
            if let Some(flight) = run.network.get(at).cloned() {
                let _ = run.deliver(flight);
            }
        }
        4 => damage.lost |= run.network.remove(at).is_some(),
        5 => {
            // What was changed on the way does nothing at all.
            if let Some(mut flight) = run.network.get(at).cloned() {
                let genuine = flight.bytes.clone();
                script.change(&mut flight.bytes);
                if flight.bytes != genuine {
                    refused(run, flight);
                }
            }
        }
        6 => {
            let [from, to] =
                [script.below(3), script.below(3)].map(|member| node([1, 2, CHEAT][member]));
            refused(
                run,
                Flight {
                    from,
                    to,
                    bytes: script.bytes().to_vec(),
                },
            );
        }
        7 => {
            damage.lost = true;
            run.now_ms = run
                .now_ms
                .saturating_add(u64::from(script.byte()).saturating_mul(8));
        }
        8 => lie(run, script, at, damage),
        _ => invent(run, script, damage),
    }
}

/// Delivers bytes that nobody signed.
fn refused(run: &mut Simulator, flight: Flight) {
    let ended = run.results.contains_key(&flight.to);
    match run.deliver(flight) {
        Err(Error::Rejected(_)) => {}
        Err(_) if ended => {}
        // The round of the receiver may have run out of time just now.
        Err(Error::TimedOut { .. }) => {}
        other => panic!("{other:?}"),
    }
}

/// Member 3 signs something else than it should have, for one receiver or for all.
fn lie(run: &mut Simulator, script: &mut Script<'_>, at: usize, damage: &mut Damage) {
    let own = run
        .network
        .iter()
        .enumerate()
        .cycle()
        .skip(at)
        .take(run.network.len())
        .find(|(_, flight)| flight.from == cheat());
    let Some((at, genuine)) = own.map(|(at, flight)| (at, flight.bytes.clone())) else {
        return;
    };
    let to_all = script.byte() % 2 == 0;
    let bytes = committee().reseal(&genuine, |header, body| {
        if script.byte() % 8 == 0 {
            header.round = script.byte();
        }
        script.change(body);
    });
    damage.lied |= bytes != genuine;
    for (number, flight) in run.network.iter_mut().enumerate() {
        if number == at || to_all && flight.bytes == genuine {
            flight.bytes.clone_from(&bytes);
        }
    }
}

/// Member 3 signs a message of its own making, in a session that exists or not.
fn invent(run: &mut Simulator, script: &mut Script<'_>, damage: &mut Damage) {
    let to = node(HONEST[script.below(HONEST.len())]);
    let kind = Kind::ALL[script.below(Kind::ALL.len())];
    let session = run
        .sessions
        .get(&to)
        .and_then(|session| match script.byte() % 3 {
            0 => Some(session.first_name()),
            1 => session.name(),
            _ => None,
        });
    let header = Header {
        kind,
        session: session.unwrap_or(SessionId::from_bytes([script.byte(); 32])),
        round: script.byte() % 4,
        from: cheat(),
        to: if script.byte() % 8 == 0 {
            Recipient::One(to)
        } else {
            Recipient::Everyone
        },
    };
    damage.lied = true;
    let bytes = Envelope::seal(committee().identity(CHEAT), &header, script.bytes());
    let _ = run.deliver(Flight {
        from: cheat(),
        to,
        bytes,
    });
}

fn judge(run: &Simulator, damage: Damage) {
    let mut outputs = Vec::new();
    for member in HONEST.map(node) {
        let waits = run
            .sessions
            .get(&member)
            .and_then(|session| session.deadline_ms());
        assert_eq!(waits, None, "a session goes on after its time");
        match run.results.get(&member).expect("every session has ended") {
            Ok(output) => outputs.push(output),
            Err(Error::Aborted(abort)) => {
                assert!(damage.lied, "{abort:?} without a lie");
                assert!(!abort.culprits.is_empty(), "{abort:?} accuses nobody");
                for (culprit, strength) in &abort.culprits {
                    assert_eq!(*culprit, cheat(), "{abort:?}");
                    if *strength == Strength::Transferable {
                        let evidence = abort
                            .evidence
                            .as_ref()
                            .expect("what is transferable has evidence");
                        let verdict = evidence::verify(&committee().roster, &evidence.encode());
                        assert_eq!(verdict, Ok((cheat(), abort.fault.clone())));
                    }
                }
            }
            Err(Error::TimedOut { missing }) => {
                assert!(
                    damage.lied || damage.lost,
                    "{missing:?} are missed and nothing was lost"
                );
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    let Some(first) = outputs.first() else { return };
    for output in &outputs {
        assert_eq!(output.certificate, first.certificate);
        assert_eq!(output.share.public(), first.share.public());
    }
    assert_eq!(first.certificate.verify(&committee().roster), Ok(()));
    // Whoever was kept from finishing can do so later, with what it has stored and the certificate of another.
    for member in HONEST.map(node) {
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
