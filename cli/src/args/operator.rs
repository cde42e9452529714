//! Arguments of what operators run.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand};

use super::{
    KeyExportArgs, KeyExportConsentArgs, KeyExportFetchArgs, KeyExportOpenArgs, KeyRefreshArgs,
    KeyReshareArgs, KeyRetireArgs,
};

/// `quorate demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Show a key's life instead: refresh, reshare, a lost node, restore after total loss
    #[arg(long)]
    pub lifecycle: bool,
    /// Leave the cluster up afterwards and print where everything is
    #[arg(long)]
    pub keep_running: bool,
    /// Where --keep-running writes how to reach the cluster, for the examples
    #[arg(long, value_name = "FILE", default_value = "quorate-demo.toml")]
    pub connection: PathBuf,
    /// Work here (must be empty or absent) instead of a temporary directory; it is then kept
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// `quorate cluster`.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Write a new cluster: certificates, roster, configurations, sealed node stores, sample people
    #[command(
        after_help = "Examples:\n  quorate cluster init --dir ./custody --nodes 3 --threshold 2\n  quorate cluster init --dir ./custody --nodes 5 --threshold 3 --listen 10.0.0.5:7443 --person ann --person ben --person cid"
    )]
    Init(ClusterInitArgs),
    /// What the coordinator says about itself and its nodes
    #[command(after_help = "Examples:\n  quorate cluster status --cluster custody/cluster.toml")]
    Status,
}

/// `quorate cluster init`.
#[derive(Clone, Debug, Args)]
pub struct ClusterInitArgs {
    /// Where to write; must be empty or absent
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// How many signer nodes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(2..=32))]
    pub nodes: u16,
    /// How many of them must sign
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(2..=32))]
    pub threshold: u16,
    /// Let half of the nodes or fewer sign
    #[arg(long)]
    pub minority_threshold: bool,
    /// Address the coordinator listens on and everybody dials
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7443")]
    pub listen: SocketAddr,
    /// A person to make a sample key for; repeat [default: alice, bob, carol]
    #[arg(long = "person", value_name = "NAME")]
    pub people: Vec<String>,
    /// How many of the people must sign the first policy
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub genesis_min: u16,
    /// How many days the certificates are valid
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=825))]
    pub days: u16,
}

/// `quorate coordinator`.
#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// Run the service until SIGINT or SIGTERM
    #[command(
        after_help = "Examples:\n  quorate coordinator run --config coordinator/coordinator.toml"
    )]
    Run(ServiceRunArgs),
}

/// `quorate node run`, `quorate coordinator run`.
#[derive(Debug, Args)]
pub struct ServiceRunArgs {
    /// The service's configuration
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Also stop when standard input ends, for a parent that must not leave services behind
    #[arg(long)]
    pub stop_on_eof: bool,
}

/// `quorate key`.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Run a distributed key generation over all nodes
    #[command(
        after_help = "Examples:\n  quorate key create sol-hot --scheme ed25519\n  quorate key create eth-hot --scheme ecdsa\n  quorate key create taproot-hot --scheme bip340"
    )]
    Create(KeyCreateArgs),
    /// Deal a key that somebody knows already. Whoever kept a copy of it can go on signing alone
    #[command(
        after_help = "Examples:\n  quorate key import eth-old --scheme ecdsa --mnemonic-file words.txt --path \"m/44'/60'/0'/0/0\"\n  quorate key import sol-old --scheme ed25519 --secret-file scalar.hex\nThe file may be - for standard input."
    )]
    Import(KeyImportArgs),
    /// List the keys that the nodes report, with the age of their shares and the next refresh
    #[command(after_help = "Examples:\n  quorate key list\n  quorate key list --json")]
    List,
    /// Show one key: its addresses, the age of its shares, the next refresh
    #[command(
        after_help = "Examples:\n  quorate key show hot\n  quorate key show hot --path m/0/5"
    )]
    Show(KeyShowArgs),
    /// Replace the shares of keys by new ones at the same nodes: old shares, stolen or restored, are worth nothing then
    #[command(
        after_help = "Examples:\n  quorate key refresh hot --dry-run\n  quorate key refresh hot eth-hot --person alice --credential key --signing-key people/alice.key"
    )]
    Refresh(KeyRefreshArgs),
    /// Give keys to other nodes or another threshold; public keys and addresses stay
    #[command(
        after_help = "Examples:\n  quorate key reshare hot --nodes 2,3,4,5,6 --threshold 3 --dry-run\n  quorate key reshare hot --nodes 2,3,4,5,6 --threshold 3 --person alice --credential key --signing-key people/alice.key"
    )]
    Reshare(KeyReshareArgs),
    /// Take a key out of use: it signs no more, for good
    #[command(
        after_help = "Examples:\n  quorate key retire hot --reason moved --dry-run\n  quorate key retire hot --reason moved --person alice --credential key --signing-key people/alice.key"
    )]
    Retire(KeyRetireArgs),
    /// Hand a key out, where the policy and two operators of each node allow it: it is then in one place, for ever
    #[command(
        after_help = "Examples:\n  quorate key export hot --to 8a1f… --reason exit --dry-run\n  quorate key export hot --to 8a1f… --reason exit --person alice --credential key --signing-key people/alice.key\nThen, on the machine of each node, two operators: quorate key export-consent"
    )]
    Export(KeyExportArgs),
    /// As an operator of one node, let it give its share to an export; run it on the node's machine
    #[command(
        after_help = "Examples:\n  quorate key export-consent 41d9… --config node-1/node.toml --operator-key op-1.key"
    )]
    ExportConsent(KeyExportConsentArgs),
    /// Write what the nodes gave to an export into one file, for the machine with the recovery key
    #[command(after_help = "Examples:\n  quorate key export-fetch 41d9… --out hot.export")]
    ExportFetch(KeyExportFetchArgs),
    /// Put a key together from what the nodes gave; needs no network
    #[command(
        after_help = "Examples:\n  quorate key export-open hot.export --recovery-key recovery.key --out hot.secret"
    )]
    ExportOpen(KeyExportOpenArgs),
    /// Derive the address of a child key, on this machine and from public values alone
    #[command(
        after_help = "Examples:\n  quorate key address eth-hot --path m/0/5\n  quorate key address eth-hot --path m/0/5 --chain bitcoin:testnet\n  quorate key address taproot-hot --path m/0 --count 20"
    )]
    Address(KeyAddressArgs),
}

/// `quorate key create`.
#[derive(Debug, Args)]
pub struct KeyCreateArgs {
    /// The key's name, unique in the cluster
    pub name: String,
    /// What the key signs: ed25519 (Solana), ecdsa (Ethereum, Bitcoin) or bip340 (Bitcoin Taproot)
    #[arg(long, default_value = "ed25519", value_parser = ["ed25519", "ecdsa", "bip340"])]
    pub scheme: String,
    /// How many nodes must sign [default: the cluster's threshold]
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..=32))]
    pub threshold: Option<u32>,
    /// The nodes that hold it, such as 1,2,3 [default: all of the cluster file]
    #[arg(long, value_name = "NODES", value_delimiter = ',')]
    pub nodes: Vec<u32>,
}

/// `quorate key import`.
#[derive(Debug, Args)]
pub struct KeyImportArgs {
    /// The key as it will be held
    #[command(flatten)]
    pub key: KeyCreateArgs,
    /// A file with the secret scalar in hexadecimal, 64 digits (secp256k1 big-endian, Ed25519 little-endian); - for standard input
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "mnemonic_file",
        required_unless_present = "mnemonic_file"
    )]
    pub secret_file: Option<PathBuf>,
    /// A file with a BIP 39 mnemonic, 12 to 24 English words; - for standard input
    #[arg(long, value_name = "FILE", requires = "path")]
    pub mnemonic_file: Option<PathBuf>,
    /// The BIP 32 path of the key below the mnemonic, such as m/44'/60'/0'/0/0
    #[arg(long, value_name = "PATH", requires = "mnemonic_file")]
    pub path: Option<String>,
    /// A file with the BIP 39 passphrase of the mnemonic, if it has one
    #[arg(long, value_name = "FILE", requires = "mnemonic_file")]
    pub passphrase_file: Option<PathBuf>,
    /// Show the public key, which every node's operator has to allow first, and deal nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `quorate key show`.
#[derive(Debug, Args)]
pub struct KeyShowArgs {
    /// A key's name, or its id or the beginning of it in hex
    pub key: String,
    /// Show the addresses of this child key
    #[arg(long, value_name = "PATH", default_value = "m")]
    pub path: String,
    /// Also write the public key package to this new file, for `quorate backup verify`
    #[arg(long, value_name = "FILE")]
    pub package: Option<PathBuf>,
}

/// `quorate key address`.
#[derive(Debug, Args)]
pub struct KeyAddressArgs {
    /// A key's name, or its id or the beginning of it in hex
    pub key: String,
    /// Where the child key is, such as m/0/5; no hardened steps, which would need the secret key
    #[arg(long, value_name = "PATH", default_value = "m")]
    pub path: String,
    /// The chain, such as ethereum:1, bitcoin:regtest or solana:devnet [default: every main network that takes this key]
    #[arg(long, value_name = "CHAIN")]
    pub chain: Option<String>,
    /// Derive this many children of the path instead, from index 0
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub count: Option<u32>,
}

/// `quorate policy`.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Parse a document, check what it refers to and print its hash
    #[command(after_help = "Examples:\n  quorate policy lint policy.toml")]
    Lint(PolicyLintArgs),
    /// Say what a document decides about a signed intent, offline and with an empty ledger
    #[command(
        after_help = "Examples:\n  quorate policy eval policy.toml --intent payout-7.intent --public-key 4f2a…"
    )]
    Eval(PolicyEvalArgs),
    /// Ask the coordinator what installing a document would do, without installing it
    #[command(
        after_help = "Examples:\n  quorate policy propose policy.toml --statement alice.statement"
    )]
    Propose(PolicyInstallArgs),
    /// Sign a document as a person
    #[command(
        after_help = "Examples:\n  quorate policy sign policy.toml --person alice --credential alice-key --key people/alice.key --out alice.statement"
    )]
    Sign(PolicySignArgs),
    /// Install a document that enough people have signed, on the coordinator and every node
    #[command(
        after_help = "Examples:\n  quorate policy activate policy.toml --statement alice.statement --statement bob.statement"
    )]
    Activate(PolicyInstallArgs),
    /// Show the active document
    #[command(after_help = "Examples:\n  quorate policy show\n  quorate policy show --json")]
    Show,
}

/// `quorate policy lint`.
#[derive(Debug, Args)]
pub struct PolicyLintArgs {
    /// The document
    #[arg(value_name = "FILE")]
    pub document: PathBuf,
    /// Fail on warnings too
    #[arg(long)]
    pub strict: bool,
}

/// `quorate policy eval`.
#[derive(Debug, Args)]
pub struct PolicyEvalArgs {
    /// The document
    #[arg(value_name = "FILE")]
    pub document: PathBuf,
    /// A signed intent, as `request submit --save` writes it
    #[arg(long, value_name = "FILE")]
    pub intent: PathBuf,
    /// The public key of the wallet's key in hex: 32 bytes, or 33 for secp256k1
    #[arg(long, value_name = "HEX")]
    pub public_key: String,
    /// What the key signs [default: ed25519 for 32 bytes, ecdsa for 33]
    #[arg(long, value_parser = ["ed25519", "ecdsa", "bip340"])]
    pub scheme: Option<String>,
    /// A signed approval, as `approve --out` writes it; repeat
    #[arg(long = "approval", value_name = "FILE")]
    pub approvals: Vec<PathBuf>,
    /// When it is evaluated, as RFC 3339 [default: now]
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// When the nodes first saw the intent, as RFC 3339 [default: not seen yet]
    #[arg(long, value_name = "TIME")]
    pub first_seen: Option<String>,
}

/// `quorate policy sign`.
#[derive(Debug, Args)]
pub struct PolicySignArgs {
    /// The document
    #[arg(value_name = "FILE")]
    pub document: PathBuf,
    /// Who signs, and with what
    #[command(flatten)]
    pub person: super::PersonArgs,
    /// Where to write the signed statement
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// `quorate policy propose`, `quorate policy activate`.
#[derive(Debug, Args)]
pub struct PolicyInstallArgs {
    /// The document
    #[arg(value_name = "FILE")]
    pub document: PathBuf,
    /// A signed statement, as `policy sign` writes it; repeat
    #[arg(long = "statement", value_name = "FILE")]
    pub statements: Vec<PathBuf>,
}

/// `quorate bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Start a throw-away cluster of three nodes for the measurement
    #[arg(long, conflicts_with_all = ["wallet", "initiator", "initiator_key", "to"])]
    pub local: bool,
    /// What is signed on a throw-away cluster: ed25519 (Solana transfers) or ecdsa (Ethereum transfers)
    #[arg(long, default_value = "ed25519", value_parser = ["ed25519", "ecdsa"])]
    pub scheme: String,
    /// Measure how fast the shares of many keys are replaced instead
    #[arg(long, requires = "local")]
    pub refresh: bool,
    /// How many keys, with --refresh
    #[arg(long, default_value_t = 100, requires = "refresh", value_parser = clap::value_parser!(u32).range(1..=2000))]
    pub keys: u32,
    /// How many requests in all
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub requests: u32,
    /// How many are in flight at once
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub concurrency: u32,
    /// Stop after this many seconds even if requests are left
    #[arg(long, default_value_t = 60)]
    pub seconds: u64,
    /// The wallet to sign with, on a running cluster
    #[arg(long, required_unless_present = "local")]
    pub wallet: Option<String>,
    /// The initiator's id in the policy
    #[arg(long, required_unless_present = "local")]
    pub initiator: Option<String>,
    /// The initiator's Ed25519 seed file
    #[arg(long, value_name = "FILE", required_unless_present = "local")]
    pub initiator_key: Option<PathBuf>,
    /// Where the transfers of one base unit go
    #[arg(long, value_name = "ADDRESS", required_unless_present = "local")]
    pub to: Option<String>,
}

/// `quorate evidence`.
#[derive(Debug, Subcommand)]
pub enum EvidenceCommand {
    /// Check a file of evidence against the cluster's roster
    #[command(
        after_help = "Examples:\n  quorate evidence verify evidence.bin --cluster cluster.toml"
    )]
    Verify(EvidenceVerifyArgs),
}

/// `quorate evidence verify`.
#[derive(Debug, Args)]
pub struct EvidenceVerifyArgs {
    /// The evidence: raw bytes, or the same in hex
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// `quorate check-config`.
#[derive(Debug, Args)]
pub struct CheckConfigArgs {
    /// A configuration; which kind is told by its file name or content
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// `quorate completion`.
#[derive(Debug, Args)]
pub struct CompletionArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}
