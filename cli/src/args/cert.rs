//! Arguments of `quorate cert`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `quorate cert`.
#[derive(Debug, Subcommand)]
pub enum CertCommand {
    /// Who has which certificate, until when, and when the revocation list expires
    #[command(
        after_help = "Examples:\n  quorate cert status\n  quorate cert status --warn-days 30 --json"
    )]
    Status(CertStatusArgs),
    /// Issue new certificates beside the ones in use; services take them up while they run
    #[command(
        after_help = "Examples:\n  quorate cert rotate node-1 node-2 node-3 client operator\n  quorate cert rotate all --days 90\n  quorate cert rotate node-1 --revoke-old\n  quorate cert rotate coordinator\n  quorate cert rotate coordinator --new-key prepare"
    )]
    Rotate(CertRotateArgs),
    /// Refuse a certificate from now on, and close its connections
    #[command(
        after_help = "Examples:\n  quorate cert revoke --serial 5c0a81…\n  quorate cert revoke client"
    )]
    Revoke(CertRevokeArgs),
    /// Sign the revocation list again, with a later end
    #[command(after_help = "Examples:\n  quorate cert crl --days 30")]
    Crl(CertCrlArgs),
}

/// Where the files are.
#[derive(Debug, Args)]
pub struct Place {
    /// The cluster's directory, as `cluster init` lays it out [default: that of the cluster file]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// `quorate cert status`.
#[derive(Debug, Args)]
pub struct CertStatusArgs {
    /// Where the files are.
    #[command(flatten)]
    pub place: Place,
    /// Leave with `check-failed` if anything expires within this many days
    #[arg(long, default_value_t = 14)]
    pub warn_days: u16,
}

/// A step of giving the coordinator a new key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum NewKey {
    /// Make the key and pin it beside the old one in the cluster file
    Prepare,
    /// Present the new key, once everybody has the new cluster file
    Activate,
    /// Take the old pin out of the cluster file
    Finish,
}

/// `quorate cert rotate`.
#[derive(Debug, Args)]
pub struct CertRotateArgs {
    /// Where the files are.
    #[command(flatten)]
    pub place: Place,
    /// Whose: node-1, node-2, …, coordinator, client, operator, or all
    #[arg(value_name = "WHO", required = true)]
    pub who: Vec<String>,
    /// How many days the new certificates are valid
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=825))]
    pub days: u16,
    /// Revoke the certificates that are replaced; without it they are valid until they expire
    #[arg(long)]
    pub revoke_old: bool,
    /// Only for the coordinator, whose key is pinned: a new key in three steps
    #[arg(long, value_name = "STEP", value_enum)]
    pub new_key: Option<NewKey>,
    /// Say what would be issued, write nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `quorate cert revoke`.
#[derive(Debug, Args)]
pub struct CertRevokeArgs {
    /// Where the files are.
    #[command(flatten)]
    pub place: Place,
    /// Whose present certificate
    #[arg(value_name = "WHO", required_unless_present = "serials")]
    pub who: Vec<String>,
    /// A serial number, hexadecimal; repeat
    #[arg(long = "serial", value_name = "HEX")]
    pub serials: Vec<String>,
    /// How many days until the new list expires
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=825))]
    pub days: u16,
}

/// `quorate cert crl`.
#[derive(Debug, Args)]
pub struct CertCrlArgs {
    /// Where the files are.
    #[command(flatten)]
    pub place: Place,
    /// How many days until the new list expires
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=825))]
    pub days: u16,
}
