//! Who can reach whom, and how reliably. Channels are authenticated, so nobody can speak for another; everything else may happen.

use std::collections::BTreeSet;

use crate::dice::Dice;
use crate::wire::Address;

/// How bad the network of a schedule is, per thousand messages.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    pub(crate) drop: u64,
    pub(crate) duplicate: u64,
    /// A message that takes seconds, so that it comes after its successors.
    pub(crate) delay: u64,
    /// Changes of the links, per pulse of the weather.
    pub(crate) partition: u64,
}

/// The links of this moment.
#[derive(Debug, Default)]
pub(crate) struct Network {
    pub(crate) weather: Weather,
    /// Those who are cut off from everybody else but each other.
    island: BTreeSet<Address>,
    /// Links that are down on their own.
    cut: BTreeSet<(Address, Address)>,
}

impl Network {
    pub(crate) fn new(weather: Weather) -> Self {
        Self {
            weather,
            ..Self::default()
        }
    }

    /// When copies of a message arrive: after so many milliseconds each. Mostly one, perhaps none.
    pub(crate) fn arrivals(&self, from: Address, to: Address, dice: &mut Dice) -> Vec<u64> {
        let is_apart = self.island.contains(&from) != self.island.contains(&to);
        if is_apart || self.cut.contains(&(from, to)) || dice.chance(self.weather.drop) {
            return Vec::new();
        }
        let mut arrivals = vec![self.delay(dice)];
        if dice.chance(self.weather.duplicate) {
            arrivals.push(self.delay(dice));
        }
        arrivals
    }

    fn delay(&self, dice: &mut Dice) -> u64 {
        if dice.chance(self.weather.delay) {
            dice.between(300, 6_000)
        } else {
            dice.between(1, 30)
        }
    }

    /// The links change. Says whether somebody is cut off now who was not before.
    pub(crate) fn change(&mut self, nodes: usize, dice: &mut Dice) -> bool {
        if !dice.chance(self.weather.partition) {
            return false;
        }
        let all: Vec<Address> = (0..nodes)
            .map(Address::Node)
            .chain([Address::Coordinator])
            .collect();
        match dice.below(4) {
            0 => {
                let count = dice.place(all.len());
                self.island = dice.some(&all, count).into_iter().collect();
                !self.island.is_empty()
            }
            1 => {
                self.cut.insert((*dice.pick(&all), *dice.pick(&all)));
                true
            }
            _ => {
                self.heal();
                false
            }
        }
    }

    pub(crate) fn heal(&mut self) {
        self.island.clear();
        self.cut.clear();
    }
}
