//! Arguments of `quorate drill`.

use clap::{Args, Subcommand, ValueEnum};

/// `quorate drill`.
#[derive(Debug, Subcommand)]
pub enum DrillCommand {
    /// Lose something on purpose, bring it back, and report how long each step took
    #[command(
        after_help = "Examples:\n  quorate drill run node-loss\n  quorate drill run total-loss --json\n  quorate drill run coordinator-loss"
    )]
    Run(DrillRunArgs),
}

/// What is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Loss {
    /// One node with its disk
    NodeLoss,
    /// Every node with its disk; backups and recovery key parts are left
    TotalLoss,
    /// The coordinator with its database
    CoordinatorLoss,
}

/// `quorate drill run`.
#[derive(Debug, Args)]
pub struct DrillRunArgs {
    /// What is lost
    #[arg(value_enum)]
    pub loss: Loss,
}
