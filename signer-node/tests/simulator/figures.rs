//! What schedules did, counted.

use core::fmt;

macro_rules! figures {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// What a schedule did, or many of them.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(crate) struct Figures {
            $($(#[$doc])* pub(crate) $name: u64,)*
        }

        impl Figures {
            pub(crate) fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }
        }

        impl fmt::Display for Figures {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let all = [$((stringify!($name), self.$name)),*];
                for (at, (name, count)) in all.iter().enumerate() {
                    let comma = if at == 0 { "" } else { ", " };
                    write!(f, "{comma}{} {count}", name.replace('_', " "))?;
                }
                Ok(())
            }
        }
    };
}

figures! {
    /// Events: a message that arrives, a disk that is done, a clock that ticks.
    steps,
    crashes,
    /// Messages that never arrive.
    drops,
    duplicates,
    partitions,
    lost_disks,
    /// Keys that were made in a schedule.
    dkgs,
    signatures,
    refreshes,
    reshares,
    /// Nodes that came back from their backups.
    restores,
    /// Requests that a node refused.
    refusals,
    /// Shares of signatures that left a node.
    shares,
    /// Liars that somebody named.
    accused,
    /// Sets of shares that were read from disks and made to sign.
    subsets,
    /// Comparisons of what is there with what was promised.
    checks,
}
