//! A session of several nodes over a network that reorders, repeats, holds back and invents, with one participant that lies: the
//! decisions of a script, and what may have gone wrong by them.

use mpc_core::envelope::{Envelope, Header, Kind, Recipient};
use mpc_core::id::{NodeId, SessionId};
use mpc_core::session::Session;
use mpc_core::testing::{Committee, Flight, Stage};
use mpc_core::{Abort, Error, Strength, dkg, evidence, reshare};

use crate::script::Script;

/// A session whose names are known to whoever takes part.
pub trait Named: Session {
    /// Before round 1 is complete.
    fn first_name(&self) -> SessionId;
    /// Afterwards.
    fn name(&self) -> Option<SessionId>;
}

impl Named for dkg::Session {
    fn first_name(&self) -> SessionId {
        Self::first_name(self)
    }

    fn name(&self) -> Option<SessionId> {
        Self::name(self)
    }
}

impl Named for reshare::Session {
    fn first_name(&self) -> SessionId {
        Self::first_name(self)
    }

    fn name(&self) -> Option<SessionId> {
        Self::name(self)
    }
}

/// What has happened so far that can keep honest participants from finishing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Damage {
    /// The liar said something it should not have said.
    pub lied: bool,
    /// A message was lost or came too late.
    pub lost: bool,
}

/// Who takes part.
#[derive(Clone, Copy, Debug)]
pub struct Cast<'a> {
    /// All keys.
    pub committee: &'a Committee,
    /// The numbers of those that keep to the protocol.
    pub honest: &'a [u16],
    /// The number of the one that does not.
    pub cheat: u16,
}

impl Cast<'_> {
    /// The honest participants.
    pub fn honest(&self) -> impl Iterator<Item = NodeId> {
        self.honest
            .iter()
            .map(|number| self.committee.node(*number))
    }

    /// The liar.
    #[must_use]
    pub fn liar(&self) -> NodeId {
        self.committee.node(self.cheat)
    }

    fn anybody(&self, script: &mut Script<'_>) -> NodeId {
        let at = script.below(self.honest.len().saturating_add(1));
        let number = self.honest.get(at).copied().unwrap_or(self.cheat);
        self.committee.node(number)
    }

    /// Carries out one decision.
    ///
    /// # Panics
    /// If something that nobody signed is taken for a message.
    pub fn step<S: Named>(
        &self,
        run: &mut Stage<S>,
        script: &mut Script<'_>,
        decision: u8,
        damage: &mut Damage,
    ) {
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
                let [from, to] = [self.anybody(script), self.anybody(script)];
                let bytes = script.bytes().to_vec();
                refused(run, Flight { from, to, bytes });
            }
            7 => {
                damage.lost = true;
                let later = u64::from(script.byte()).saturating_mul(8);
                run.now_ms = run.now_ms.saturating_add(later);
            }
            8 => self.lie(run, script, at, damage),
            _ => self.invent(run, script, damage),
        }
    }

    /// The liar signs something else than it should have, for one receiver or for all.
    fn lie<S: Named>(
        &self,
        run: &mut Stage<S>,
        script: &mut Script<'_>,
        at: usize,
        damage: &mut Damage,
    ) {
        let own = run
            .network
            .iter()
            .enumerate()
            .cycle()
            .skip(at)
            .take(run.network.len())
            .find(|(_, flight)| flight.from == self.liar());
        let Some((at, genuine)) = own.map(|(at, flight)| (at, flight.bytes.clone())) else {
            return;
        };
        let to_all = script.byte() % 2 == 0;
        let bytes = self.committee.reseal(&genuine, |header, body| {
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

    /// The liar signs a message of its own making, in a session that exists or not.
    fn invent<S: Named>(&self, run: &mut Stage<S>, script: &mut Script<'_>, damage: &mut Damage) {
        let at = script.below(self.honest.len());
        let number = self.honest.get(at).copied().unwrap_or(self.cheat);
        let to = self.committee.node(number);
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
            from: self.liar(),
            to: if script.byte() % 8 == 0 {
                Recipient::One(to)
            } else {
                Recipient::Everyone
            },
        };
        damage.lied = true;
        let identity = self.committee.identity(self.cheat);
        let bytes = Envelope::seal(identity, &header, script.bytes());
        let from = self.liar();
        let _ = run.deliver(Flight { from, to, bytes });
    }

    /// Checks how the session ended at the honest participants, and gives what those that finished have.
    ///
    /// # Panics
    /// If one of them is blamed, or did not end, or gave up although nothing went wrong.
    pub fn judge<'r, S: Named>(
        &self,
        run: &'r Stage<S>,
        damage: Damage,
    ) -> Vec<(NodeId, &'r S::Output)> {
        let mut outputs = Vec::new();
        for member in self.honest() {
            let session = run.sessions.get(&member);
            let waits = session.and_then(|session| session.deadline_ms());
            assert_eq!(waits, None, "a session goes on after its time");
            match run.results.get(&member).expect("every session has ended") {
                Ok(output) => outputs.push((member, output)),
                Err(Error::Aborted(abort)) => {
                    assert!(damage.lied, "{abort:?} without a lie");
                    self.accuses_the_liar(abort);
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
        outputs
    }

    fn accuses_the_liar(&self, abort: &Abort) {
        assert!(!abort.culprits.is_empty(), "{abort:?} accuses nobody");
        for (culprit, strength) in &abort.culprits {
            assert_eq!(*culprit, self.liar(), "{abort:?}");
            if *strength == Strength::Transferable {
                let evidence = abort.evidence.as_ref();
                let evidence = evidence.expect("what is transferable has evidence");
                let verdict = evidence::verify(&self.committee.roster, &evidence.encode());
                assert_eq!(verdict, Ok((self.liar(), abort.fault.clone())));
            }
        }
    }
}

/// Delivers bytes that nobody signed.
fn refused<S: Named>(run: &mut Stage<S>, flight: Flight) {
    let ended = run.results.contains_key(&flight.to);
    match run.deliver(flight) {
        Err(Error::Rejected(_)) => {}
        Err(_) if ended => {}
        // The round of the receiver may have run out of time just now.
        Err(Error::TimedOut { .. }) => {}
        Err(error) => panic!("{error:?}"),
        Ok(()) => panic!("what nobody signed was taken"),
    }
}
