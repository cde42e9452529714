//! Arguments of what operators ask about pairs of nodes.

use clap::{Args, Subcommand};

use super::OrderArgs;

/// `quorate pair`.
#[derive(Debug, Subcommand)]
pub enum PairCommand {
    /// What every two nodes have with each other for ECDSA, and which two do not work together
    #[command(
        after_help = "Examples:\n  quorate pair list\n  quorate pair list --json | jq '.pairs[] | select(.works | not)'"
    )]
    List,
    /// Have people order a new setup for two nodes that do not work together any more
    #[command(
        after_help = "Examples:\n  quorate pair renew 1 2 --dry-run\n  quorate pair renew 1 2 --person alice --credential key --signing-key people/alice.key"
    )]
    Renew(PairRenewArgs),
}

/// `quorate pair renew`.
#[derive(Debug, Args)]
pub struct PairRenewArgs {
    /// One of the two nodes, by its number in the cluster file
    pub one: u16,
    /// The other one
    pub other: u16,
    /// The key whose shares are replaced on the way [default: the ECDSA key with the fewest holders that both nodes hold]
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// The order.
    #[command(flatten)]
    pub order: OrderArgs,
}
