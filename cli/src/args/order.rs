//! Arguments of orders about keys, and of what operators do with nodes.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{PersonArgs, Place, ServiceRunArgs};

/// Who signs an order, and what becomes of it.
#[derive(Clone, Debug, Args)]
pub struct OrderArgs {
    /// The person's id in the policy
    #[arg(
        long,
        value_name = "ID",
        requires = "credential",
        required_unless_present = "dry_run"
    )]
    pub person: Option<String>,
    /// Which of the person's credentials signs
    #[arg(long, value_name = "ID", requires = "person")]
    pub credential: Option<String>,
    /// The person's Ed25519 seed file
    #[arg(long = "signing-key", value_name = "FILE", conflicts_with_all = ["ssh_body", "ssh_signature"])]
    pub signing_key: Option<PathBuf>,
    /// Write the statement here for `ssh-keygen -Y sign -n quorate`; with --ssh-signature, read it from here
    #[arg(long, value_name = "FILE")]
    pub ssh_body: Option<PathBuf>,
    /// The signature that ssh-keygen wrote
    #[arg(long, value_name = "FILE", requires = "ssh_body")]
    pub ssh_signature: Option<PathBuf>,
    /// Do not ask whether what is shown is right
    #[arg(long)]
    pub yes: bool,
    /// Show the order, sign and send nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Write the signed statement here instead of sending it
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Do not wait for the end
    #[arg(long)]
    pub no_wait: bool,
}

impl OrderArgs {
    /// Who signs, unless nobody does.
    #[must_use]
    pub fn person(&self) -> Option<PersonArgs> {
        Some(PersonArgs {
            person: self.person.clone()?,
            credential: self.credential.clone()?,
            key: self.signing_key.clone(),
            ssh_body: self.ssh_body.clone(),
            ssh_signature: self.ssh_signature.clone(),
        })
    }
}

/// Which shares are replaced by which.
#[derive(Clone, Debug, Args)]
pub struct Dealing {
    /// Nodes that deal the new shares, such as 1,2 [default: all holders; name those that are up if one is lost]
    #[arg(long, value_name = "NODES", value_delimiter = ',')]
    pub dealers: Vec<u16>,
    /// All pairs of members make new pair setups (ECDSA)
    #[arg(long)]
    pub fresh_pairs: bool,
}

/// `quorate key refresh`.
#[derive(Debug, Args)]
pub struct KeyRefreshArgs {
    /// The keys, by name; all must be held by the same nodes
    #[arg(value_name = "KEY", required = true)]
    pub keys: Vec<String>,
    /// How it is dealt.
    #[command(flatten)]
    pub dealing: Dealing,
    /// The order.
    #[command(flatten)]
    pub order: OrderArgs,
}

/// `quorate key reshare`.
#[derive(Debug, Args)]
pub struct KeyReshareArgs {
    /// The keys, by name; all must be held by the same nodes
    #[arg(value_name = "KEY", required = true)]
    pub keys: Vec<String>,
    /// Who holds the shares afterwards, such as 2,3,4,5,6
    #[arg(long, value_name = "NODES", value_delimiter = ',', required = true)]
    pub nodes: Vec<u16>,
    /// How many of them must sign [default: as many as today]
    #[arg(long, value_parser = clap::value_parser!(u16).range(2..=32))]
    pub threshold: Option<u16>,
    /// How it is dealt.
    #[command(flatten)]
    pub dealing: Dealing,
    /// The order.
    #[command(flatten)]
    pub order: OrderArgs,
}

/// `quorate key retire`.
#[derive(Debug, Args)]
pub struct KeyRetireArgs {
    /// The key, by name
    pub key: String,
    /// Why; it is signed and kept
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// The order.
    #[command(flatten)]
    pub order: OrderArgs,
}

/// `quorate key export`.
#[derive(Debug, Args)]
pub struct KeyExportArgs {
    /// The key, by name
    pub key: String,
    /// Public recovery key that the shares are encrypted to, made with `quorate backup keygen`
    #[arg(long, value_name = "HEX|FILE")]
    pub to: String,
    /// Why; it is signed and kept
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// The order.
    #[command(flatten)]
    pub order: OrderArgs,
}

/// `quorate key export-consent`.
#[derive(Debug, Args)]
pub struct KeyExportConsentArgs {
    /// The order's id in hex, or the beginning of it
    #[arg(required_unless_present = "statement", conflicts_with = "statement")]
    pub order: Option<String>,
    /// Take the order from this signed statement instead, without asking the coordinator
    #[arg(long, value_name = "FILE")]
    pub statement: Option<PathBuf>,
    /// The node's configuration, which names its operators
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// This operator's Ed25519 seed file
    #[arg(long, value_name = "FILE")]
    pub operator_key: PathBuf,
    /// Do not ask whether what is shown is right
    #[arg(long)]
    pub yes: bool,
    /// Show the order, write nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `quorate key export-fetch`.
#[derive(Debug, Args)]
pub struct KeyExportFetchArgs {
    /// The order's id in hex, or the beginning of it
    pub order: String,
    /// Where to write it; must not exist
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// `quorate key export-open`.
#[derive(Debug, Args)]
pub struct KeyExportOpenArgs {
    /// What `quorate key export-fetch` wrote
    pub file: PathBuf,
    /// The recovery key that the order names
    #[arg(long, value_name = "FILE")]
    pub recovery_key: PathBuf,
    /// The file with its passphrase
    #[arg(long, value_name = "FILE")]
    pub passphrase: Option<PathBuf>,
    /// Where to write the secret, 64 hexadecimal digits; must not exist
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Check that the key can be put together, write nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `quorate order`.
#[derive(Debug, Subcommand)]
pub enum OrderCommand {
    /// List orders
    #[command(after_help = "Examples:\n  quorate order list\n  quorate order list --ended")]
    List(OrderListArgs),
    /// Show one order: the whole text that its people sign, who must sign yet, how far it has come
    #[command(
        after_help = "Examples:\n  quorate order show 41d9…\n  quorate order show 41d9… --json"
    )]
    Show(OrderIdArgs),
    /// Sign an order that somebody else began, after reading it on this machine
    #[command(
        after_help = "Examples:\n  quorate order sign 41d9… --dry-run\n  quorate order sign 41d9… --person bob --credential key --signing-key people/bob.key"
    )]
    Sign(OrderSignArgs),
    /// Send statements that were signed elsewhere
    #[command(after_help = "Examples:\n  quorate order submit alice.order bob.order")]
    Submit(OrderSubmitArgs),
    /// Follow an order to its end: who must sign yet, then how far each key and node has come
    #[command(
        after_help = "Examples:\n  quorate order watch 41d9…\n  quorate order watch 41d9… --json"
    )]
    Watch(OrderIdArgs),
    /// Start no further attempt of an order; what is certified stays so
    #[command(after_help = "Examples:\n  quorate order cancel 41d9…")]
    Cancel(OrderIdArgs),
}

/// `quorate order list`.
#[derive(Debug, Args)]
pub struct OrderListArgs {
    /// Also those that have ended
    #[arg(long)]
    pub ended: bool,
    /// At most this many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
}

/// Which order.
#[derive(Debug, Args)]
pub struct OrderIdArgs {
    /// The order's id in hex, or the beginning of it
    pub id: String,
}

/// `quorate order sign`.
#[derive(Debug, Args)]
pub struct OrderSignArgs {
    /// Which one.
    #[command(flatten)]
    pub id: OrderIdArgs,
    /// The signature.
    #[command(flatten)]
    pub order: OrderArgs,
}

/// `quorate order submit`.
#[derive(Debug, Args)]
pub struct OrderSubmitArgs {
    /// Signed statements about one order
    #[arg(value_name = "FILE", required = true)]
    pub statements: Vec<PathBuf>,
    /// Only ask what would happen
    #[arg(long)]
    pub dry_run: bool,
    /// Do not wait for the end
    #[arg(long)]
    pub no_wait: bool,
}

/// `quorate node`.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Run the service until SIGINT or SIGTERM
    #[command(after_help = "Examples:\n  quorate node run --config node-1/node.toml")]
    Run(ServiceRunArgs),
    /// What the nodes say about themselves
    #[command(after_help = "Examples:\n  quorate node status\n  quorate node status 2 --json")]
    Status(NodeStatusArgs),
    /// Choose a node no more for signatures and ceremonies, before maintenance
    #[command(after_help = "Examples:\n  quorate node drain 2 --dry-run\n  quorate node drain 2")]
    Drain(NodeDrainArgs),
    /// Choose a drained node again
    #[command(after_help = "Examples:\n  quorate node resume 2")]
    Resume(NodeIndexArgs),
    /// Add a node to the cluster: certificate, sealed store, entry in the cluster file
    #[command(after_help = "Examples:\n  quorate node enroll --dir custody")]
    Enroll(NodeEnrollArgs),
    /// Give the shares of a lost or distrusted node to another one, by a reshare of every key it holds
    #[command(
        after_help = "Examples:\n  quorate node replace 3 --with 4 --dry-run\n  quorate node replace 3 --with 4 --person alice --credential key --signing-key people/alice.key"
    )]
    Replace(NodeReplaceArgs),
}

/// `quorate node status`.
#[derive(Debug, Args)]
pub struct NodeStatusArgs {
    /// Only this node, by its number in the cluster file
    pub index: Option<u32>,
}

/// `quorate node drain`.
#[derive(Debug, Args)]
pub struct NodeDrainArgs {
    /// Which one.
    #[command(flatten)]
    pub node: NodeIndexArgs,
    /// Say which keys could no longer sign, change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Which node.
#[derive(Debug, Args)]
pub struct NodeIndexArgs {
    /// Its number in the cluster file
    pub index: u32,
}

/// `quorate node enroll`.
#[derive(Debug, Args)]
pub struct NodeEnrollArgs {
    /// Where the files are.
    #[command(flatten)]
    pub place: Place,
    /// Allow that the cluster's threshold is half of its nodes or fewer; every key's own threshold still holds
    #[arg(long)]
    pub minority_threshold: bool,
    /// How many days the certificate is valid
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=825))]
    pub days: u16,
}

/// `quorate node replace`.
#[derive(Debug, Args)]
pub struct NodeReplaceArgs {
    /// The node that goes, by its number in the cluster file
    pub old: u16,
    /// The node that comes
    #[arg(long = "with", value_name = "NODE")]
    pub new: u16,
    /// Only this key; repeat [default: every key that the node holds with the same other nodes]
    #[arg(long = "key", value_name = "KEY")]
    pub keys: Vec<String>,
    /// The order.
    #[command(flatten)]
    pub order: OrderArgs,
}
