//! What happens in one schedule, drawn from its seed: who there is, what is asked for, what goes wrong.

use std::collections::BTreeSet;

use mpc_core::id::Purpose;

use crate::dice::Dice;
use crate::network::Weather;
use crate::treasury::Merit;

/// One thing that is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wish {
    /// A signature.
    Sign(Merit),
    /// Several small payments at the same time.
    Burst(u64),
    /// New shares for the same committee.
    Refresh,
    /// New shares for another committee: how many members, how many of them sign.
    Reshare(usize, u16),
    /// A disk is lost.
    LoseDisk,
    /// A backup of a node is made.
    BackUp,
    /// A disk is lost and what the last backup had is put in its place.
    Restore,
    /// Nothing, for so many milliseconds.
    Wait(u64),
}

/// One schedule.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    pub(crate) purpose: Purpose,
    pub(crate) nodes: usize,
    pub(crate) threshold: u16,
    pub(crate) members: Vec<usize>,
    /// The key is there from the beginning.
    pub(crate) has_key: bool,
    pub(crate) weather: Weather,
    /// Crashes per thousand writes.
    pub(crate) crashes: u64,
    /// Crashes at any other moment, per ten thousand events.
    pub(crate) accidents: u64,
    /// Disks that fill up, per thousand pulses of the weather.
    pub(crate) full_disks: u64,
    /// Nodes that lie.
    pub(crate) traitors: BTreeSet<usize>,
    pub(crate) evil_coordinator: bool,
    pub(crate) wishes: Vec<Wish>,
}

impl Schedule {
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        let purpose = *dice.pick(&[Purpose::Ed25519, Purpose::Ed25519, Purpose::Bip340]);
        let shapes: [(u16, usize); 7] = [(2, 3), (2, 3), (2, 3), (2, 2), (2, 4), (3, 4), (3, 5)];
        let (threshold, parties) = *dice.pick(&shapes);
        let nodes = parties + 2;
        let all: Vec<usize> = (0..nodes).collect();
        let has_key = dice.chance(700);
        let members = if has_key {
            (0..parties).collect()
        } else {
            dice.some(&all, parties)
        };
        let calm = dice.chance(100);
        let level = |dice: &mut Dice, most: u64| if calm { 0 } else { dice.below(most + 1) };
        let weather = Weather {
            drop: level(dice, 120),
            duplicate: level(dice, 150),
            delay: level(dice, 80),
            partition: level(dice, 300),
        };
        let mut traitors = BTreeSet::new();
        if dice.chance(200) && parties > usize::from(threshold) {
            let most = usize::from(threshold - 1).min(parties - usize::from(threshold));
            let count = 1 + dice.place(most);
            traitors.extend(dice.some(&members, count));
        }
        // Most lives are short, some are long.
        let length = if dice.chance(850) {
            dice.between(1, 3)
        } else {
            dice.between(4, 8)
        };
        let wishes = (0..length).map(|_| Wish::draw(dice)).collect();
        Self {
            purpose,
            nodes,
            threshold,
            members,
            has_key,
            weather,
            crashes: level(dice, 80),
            accidents: level(dice, 20),
            full_disks: if dice.chance(100) { 100 } else { 0 },
            traitors,
            evil_coordinator: dice.chance(200),
            wishes,
        }
    }
}

impl Wish {
    fn draw(dice: &mut Dice) -> Self {
        let merits = [
            Merit::Small,
            Merit::Small,
            Merit::Approved,
            Merit::Unapproved,
            Merit::TooLarge,
            Merit::Stranger,
            Merit::Forged,
            Merit::Expired,
        ];
        let shapes: [(usize, u16); 7] = [(2, 2), (3, 2), (3, 2), (3, 3), (4, 2), (4, 3), (5, 3)];
        match dice.below(20) {
            0 => Self::Wait(dice.between(1_000, 70 * 60_000)),
            1 | 2 => Self::Burst(dice.between(2, 5)),
            3..=7 => Self::Refresh,
            8..=12 => {
                let (members, threshold) = *dice.pick(&shapes);
                Self::Reshare(members, threshold)
            }
            13 => Self::LoseDisk,
            14 => Self::BackUp,
            15 | 16 => Self::Restore,
            _ => Self::Sign(*dice.pick(&merits)),
        }
    }
}
