//! Arguments of `quorate backup`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `quorate backup`.
#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// Make a recovery key, on a machine that stays offline
    #[command(
        after_help = "Examples:\n  quorate backup keygen --out recovery.key\n  quorate backup keygen --out recovery.key --passphrase passphrase.txt"
    )]
    Keygen(BackupKeygenArgs),
    /// Print a recovery key in parts, of which some number give it back
    #[command(
        after_help = "Examples:\n  quorate backup split --recovery-key recovery.key --parts 5 --needed 3 --out parts"
    )]
    Split(BackupSplitArgs),
    /// Put a recovery key together from printed parts
    #[command(
        after_help = "Examples:\n  quorate backup join parts/part-1.txt parts/part-3.txt parts/part-4.txt --out recovery.key"
    )]
    Join(BackupJoinArgs),
    /// Encrypt the shares of this machine's node to recovery keys; the node may keep running
    #[command(
        after_help = "Examples:\n  quorate backup create --config node-1/node.toml --recipient 8a1f… --out backups\n  quorate backup create --config node-1/node.toml --recipient 8a1f… --recipient 03c4… --key hot --out backups"
    )]
    Create(BackupCreateArgs),
    /// Check backups without opening them: who wrote them, of which key and epoch, and that the recovery keys open the shares
    #[command(
        after_help = "Examples:\n  quorate backup verify backups/hot-e0.0-node1.backup\n  quorate backup verify backups/hot-e0.0-node1.backup --package hot.package"
    )]
    Verify(BackupVerifyArgs),
    /// Bring a node back on an empty machine, in a new store
    #[command(
        after_help = "Examples:\n  quorate backup restore backups/hot-e0.0-node1.backup --recovery-key recovery.key --config node-1/node.toml\n  quorate backup restore backups/hot-e0.0-node1.backup --part part-1.txt --part part-4.txt --config node-1/node.toml --offline"
    )]
    Restore(BackupRestoreArgs),
}

/// `quorate backup keygen`.
#[derive(Debug, Args)]
pub struct BackupKeygenArgs {
    /// Where to write the secret recovery key; must not exist
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Put it under the passphrase in this file
    #[arg(long, value_name = "FILE")]
    pub passphrase: Option<PathBuf>,
}

/// `quorate backup split`.
#[derive(Debug, Args)]
pub struct BackupSplitArgs {
    /// The recovery key
    #[arg(long, value_name = "FILE")]
    pub recovery_key: PathBuf,
    /// The file with its passphrase
    #[arg(long, value_name = "FILE")]
    pub passphrase: Option<PathBuf>,
    /// How many parts
    #[arg(long, value_parser = clap::value_parser!(u16).range(2..=32))]
    pub parts: u16,
    /// How many of them give the key back
    #[arg(long, value_parser = clap::value_parser!(u16).range(2..=32))]
    pub needed: u16,
    /// Directory for one page per part; must be empty or absent
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// `quorate backup join`.
#[derive(Debug, Args)]
pub struct BackupJoinArgs {
    /// The parts: pages as they were printed, or their words typed again
    #[arg(value_name = "FILE", required = true)]
    pub parts: Vec<PathBuf>,
    /// Where to write the recovery key; must not exist
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Put it under the passphrase in this file
    #[arg(long, value_name = "FILE")]
    pub passphrase: Option<PathBuf>,
}

/// `quorate backup create`.
#[derive(Debug, Args)]
pub struct BackupCreateArgs {
    /// The node's configuration
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Public recovery key, 64 hexadecimal digits, or a file that holds them; repeat
    #[arg(long = "recipient", value_name = "HEX|FILE", required = true)]
    pub recipients: Vec<String>,
    /// Only this key; repeat [default: every key of the node]
    #[arg(long = "key", value_name = "NAME")]
    pub keys: Vec<String>,
    /// Directory for one file per key
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// What a backup is held against.
#[derive(Debug, Args)]
pub struct Against {
    /// The public key package to expect, as `key show --package` writes it [default: what the cluster reports]
    #[arg(long, value_name = "FILE")]
    pub package: Option<PathBuf>,
    /// Ask nobody: the files are only held against each other and the cluster file
    #[arg(long, conflicts_with = "package")]
    pub offline: bool,
}

/// `quorate backup verify`.
#[derive(Debug, Args)]
pub struct BackupVerifyArgs {
    /// The backups
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// What they are held against.
    #[command(flatten)]
    pub against: Against,
}

/// `quorate backup restore`.
#[derive(Debug, Args)]
pub struct BackupRestoreArgs {
    /// The backups of this node, one per key
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// The node's configuration; its store must not exist yet
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// The recovery key
    #[arg(long, value_name = "FILE", required_unless_present = "parts")]
    pub recovery_key: Option<PathBuf>,
    /// The file with its passphrase
    #[arg(long, value_name = "FILE")]
    pub passphrase: Option<PathBuf>,
    /// A printed part of the recovery key, instead; repeat. The key is never written then
    #[arg(
        long = "part",
        value_name = "FILE",
        conflicts_with_all = ["recovery_key", "passphrase"]
    )]
    pub parts: Vec<PathBuf>,
    /// What they are held against.
    #[command(flatten)]
    pub against: Against,
    /// Open and check everything, write nothing
    #[arg(long)]
    pub dry_run: bool,
}
