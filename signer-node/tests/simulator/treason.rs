//! Members that lie: what an honest member would send is changed on its way out and signed again.

use std::collections::BTreeMap;

use mpc_core::envelope::{Envelope, Recipient};

use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::wire::{Address, Body, RunName};

/// What a traitor does in one protocol run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    /// What it should.
    Honest,
    /// It says nothing from this round on.
    Silent(u8),
    /// It changes one message of this round, the same for everybody.
    Wrong(u8),
    /// It tells some something else than others in this round.
    Equivocate(u8),
}

/// The lies of one node.
#[derive(Debug, Default)]
pub(crate) struct Treason {
    plans: BTreeMap<RunName, Plan>,
    changed: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Treason {
    /// What leaves instead of `body`.
    pub(crate) fn twist(
        &mut self,
        cluster: &Cluster,
        place: usize,
        to: Address,
        body: Body,
        dice: &mut Dice,
    ) -> Option<Body> {
        match body {
            Body::Peer { run, envelope } => {
                let plan = *self.plans.entry(run).or_insert_with(|| Plan::draw(dice));
                let round = round_of(&envelope);
                let envelope = match plan {
                    Plan::Silent(from) if round >= from => return None,
                    Plan::Wrong(at) if round == at => self
                        .changed
                        .entry(envelope.clone())
                        .or_insert_with(|| change(cluster, place, &envelope, dice))
                        .clone(),
                    Plan::Equivocate(at) if round == at && to < Address::Node(place) => {
                        change(cluster, place, &envelope, dice)
                    }
                    _ => envelope,
                };
                Some(Body::Peer { run, envelope })
            }
            Body::Share {
                digest,
                attempt,
                envelope,
            } => match dice.below(3) {
                0 => None,
                1 => Some(Body::Share {
                    digest,
                    attempt,
                    envelope: change(cluster, place, &envelope, dice),
                }),
                _ => Some(Body::Share {
                    digest,
                    attempt,
                    envelope,
                }),
            },
            Body::Part { .. } if dice.chance(300) => None,
            body => Some(body),
        }
    }
}

impl Plan {
    fn draw(dice: &mut Dice) -> Self {
        let round = dice.between(1, 3) as u8;
        match dice.below(8) {
            0 => Self::Silent(round),
            1 | 2 => Self::Wrong(round),
            3 | 4 => Self::Equivocate(round),
            _ => Self::Honest,
        }
    }
}

/// The round in the header of an envelope.
fn round_of(bytes: &[u8]) -> u8 {
    let kind = usize::from(bytes[1]);
    bytes[2 + kind + 32]
}

/// Flips a bit of the body, mostly in its last part where shares are, and signs again.
fn change(cluster: &Cluster, place: usize, bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    let all: Vec<usize> = (0..cluster.nodes.len()).collect();
    let Ok(envelope) = Envelope::open(&cluster.roster(&all), bytes) else {
        return bytes.to_vec();
    };
    let (header, mut body) = (*envelope.header(), envelope.body().to_vec());
    let last = body.len().min(96);
    let at = if dice.chance(700) {
        body.len() - 1 - dice.place(last)
    } else {
        dice.place(body.len())
    };
    body[at] ^= 1 << dice.below(8);
    debug_assert!(header.to == Recipient::Everyone || dice.chance(1000));
    Envelope::seal(&cluster.identities[place], &header, &body)
}
