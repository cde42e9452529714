//! The argument tree: every verb, its options and its examples, and nothing that acts.

mod backup;
mod cert;
mod drill;
mod operator;
mod order;
mod pair;
mod request;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use backup::{
    Against, BackupCommand, BackupCreateArgs, BackupJoinArgs, BackupKeygenArgs, BackupRestoreArgs,
    BackupSplitArgs, BackupVerifyArgs,
};
pub use cert::{
    CertCommand, CertCrlArgs, CertRevokeArgs, CertRotateArgs, CertStatusArgs, NewKey, Place,
};
pub use drill::{DrillCommand, DrillRunArgs, Loss};
pub use operator::{
    BenchArgs, CheckConfigArgs, ClusterCommand, ClusterInitArgs, CompletionArgs, DemoArgs,
    EvidenceCommand, EvidenceVerifyArgs, KeyAddressArgs, KeyCommand, KeyCreateArgs, KeyImportArgs,
    KeyShowArgs, PolicyCommand, PolicyEvalArgs, PolicyInstallArgs, PolicyLintArgs, PolicySignArgs,
    ServiceCommand, ServiceRunArgs,
};
pub use order::{
    Dealing, KeyExportArgs, KeyExportConsentArgs, KeyExportFetchArgs, KeyExportOpenArgs,
    KeyRefreshArgs, KeyReshareArgs, KeyRetireArgs, NodeCommand, NodeDrainArgs, NodeEnrollArgs,
    NodeIndexArgs, NodeReplaceArgs, NodeStatusArgs, OrderArgs, OrderCommand, OrderIdArgs,
    OrderListArgs, OrderSignArgs, OrderSubmitArgs,
};
pub use pair::{PairCommand, PairRenewArgs};
pub use request::{
    DecideArgs, FreezeArgs, PersonArgs, RequestCommand, RequestIdArgs, RequestListArgs,
    RequestStatusArgs, SubmitArgs, UnfreezeArgs,
};

/// Threshold-signing custody: signs when, and only when, it is quorate.
#[derive(Debug, Parser)]
#[command(
    name = "quorate",
    version,
    about,
    disable_help_subcommand = true,
    after_help = "Examples:\n  quorate demo\n  quorate help exit-codes\n  quorate help request submit"
)]
pub struct Cli {
    /// Options that every verb takes.
    #[command(flatten)]
    pub common: Common,
    /// The verb.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every verb takes.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// Print exactly one JSON object on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// No progress and no notes on standard error
    #[arg(long, global = true)]
    pub quiet: bool,
    /// The cluster's public description
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "QUORATE_CLUSTER",
        default_value = "cluster.toml"
    )]
    pub cluster: PathBuf,
    /// Directory with `tls.pem` and `tls.key` to present [default: `client` or `operator` beside the cluster file]
    #[arg(
        long = "as",
        global = true,
        value_name = "DIR",
        env = "QUORATE_IDENTITY"
    )]
    pub identity: Option<PathBuf>,
    /// Directory with `ca.pem` and `crl.pem` [default: `ca` beside the cluster file]
    #[arg(long, global = true, value_name = "DIR")]
    pub trust: Option<PathBuf>,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a whole cluster on this machine and show what it signs and what it refuses
    #[command(
        after_help = "Examples:\n  quorate demo\n  quorate demo --json > demo.json\n  quorate demo --lifecycle\n  quorate demo --keep-running --dir /tmp/quorate"
    )]
    Demo(DemoArgs),
    /// Lay out and inspect a cluster
    #[command(
        subcommand,
        after_help = "Examples:\n  quorate cluster init --dir ./custody --nodes 3 --threshold 2"
    )]
    Cluster(ClusterCommand),
    /// The signer node service; nodes as operators see them
    #[command(
        subcommand,
        after_help = "Examples:\n  quorate node run --config node-1/node.toml\n  quorate node status"
    )]
    Node(NodeCommand),
    /// Orders about keys: sign, follow, cancel
    #[command(
        subcommand,
        after_help = "Examples:\n  quorate order list\n  quorate order sign 41d9… --person bob --credential key --signing-key people/bob.key"
    )]
    Order(OrderCommand),
    /// What two nodes have with each other for ECDSA; another one after a check has failed
    #[command(
        subcommand,
        after_help = "Examples:\n  quorate pair list\n  quorate pair renew 1 2 --person alice --credential key --signing-key people/alice.key"
    )]
    Pair(PairCommand),
    /// The coordinator service
    #[command(
        subcommand,
        after_help = "Examples:\n  quorate coordinator run --config coordinator/coordinator.toml"
    )]
    Coordinator(ServiceCommand),
    /// Create and look at threshold keys
    #[command(
        subcommand,
        after_help = "Examples:\n  quorate key create hot\n  quorate key list\n  quorate key address hot --path m/0/5"
    )]
    Key(KeyCommand),
    /// Back shares up, check backups, bring a node back from one
    #[command(
        subcommand,
        after_help = "Examples:\n  quorate backup create --config node-1/node.toml --recipient 8a1f… --out backups\n  quorate backup verify backups/hot-e0.0-node1.backup"
    )]
    Backup(BackupCommand),
    /// Certificates of nodes, coordinator and clients: status, renewal, revocation
    #[command(
        subcommand,
        after_help = "Examples:\n  quorate cert status\n  quorate cert rotate all"
    )]
    Cert(CertCommand),
    /// Check, try, sign and install the policy document
    #[command(
        subcommand,
        after_help = "Examples:\n  quorate policy lint policy.toml\n  quorate policy activate policy.toml --statement alice.statement"
    )]
    Policy(PolicyCommand),
    /// Submit and follow signing requests
    #[command(
        subcommand,
        after_help = "Examples:\n  quorate request status 5f0c… --wait 60\n  quorate request list"
    )]
    Request(RequestCommand),
    /// Approve a request after decoding and showing it on this machine
    #[command(
        after_help = "Examples:\n  quorate approve 5f0c… --person alice --credential alice-key --key people/alice.key\n  quorate approve 5f0c… --person bob --credential bob-ssh --ssh-body body.txt\n  ssh-keygen -Y sign -n quorate -f ~/.ssh/id_ed25519 body.txt\n  quorate approve 5f0c… --person bob --credential bob-ssh --ssh-body body.txt --ssh-signature body.txt.sig"
    )]
    Approve(DecideArgs),
    /// Reject a request: one rejection by an eligible person ends it
    #[command(
        after_help = "Examples:\n  quorate reject 5f0c… --person alice --credential alice-key --key people/alice.key"
    )]
    Reject(DecideArgs),
    /// Stop all signing: one person is enough
    #[command(
        after_help = "Examples:\n  quorate freeze --person alice --credential alice-key --key people/alice.key"
    )]
    Freeze(FreezeArgs),
    /// Allow signing again: takes the quorum that the policy names
    #[command(
        after_help = "Examples:\n  quorate unfreeze --person alice --credential alice-key --key people/alice.key --out alice.unfreeze\n  quorate unfreeze --statement alice.unfreeze --statement bob.unfreeze"
    )]
    Unfreeze(UnfreezeArgs),
    /// Measure a cluster under load
    #[command(
        after_help = "Examples:\n  quorate bench --local --requests 500 --concurrency 8\n  quorate bench --local --scheme ecdsa\n  quorate bench --cluster cluster.toml --wallet hot --initiator svc-payout --initiator-key client/initiator.key --to 9xQe… --requests 100"
    )]
    Bench(BenchArgs),
    /// Rehearse a loss on a shadow key and report timings
    #[command(
        subcommand,
        after_help = "Examples:\n  quorate drill run node-loss\n  quorate drill run total-loss"
    )]
    Drill(DrillCommand),
    /// Check evidence of misbehaviour, offline
    #[command(
        subcommand,
        after_help = "Examples:\n  quorate evidence verify evidence.bin --cluster cluster.toml"
    )]
    Evidence(EvidenceCommand),
    /// Check a node.toml, coordinator.toml or cluster.toml and report every problem at once
    #[command(after_help = "Examples:\n  quorate check-config node-1/node.toml")]
    CheckConfig(CheckConfigArgs),
    /// Print a completion script for a shell
    #[command(after_help = "Examples:\n  quorate completion bash > /etc/bash_completion.d/quorate")]
    Completion(CompletionArgs),
    /// Print the help of a verb, or a topic: exit-codes, json
    #[command(
        after_help = "Examples:\n  quorate help exit-codes\n  quorate help json\n  quorate help policy sign"
    )]
    Help(HelpArgs),
}

/// `quorate help`.
#[derive(Debug, Args)]
pub struct HelpArgs {
    /// A topic (`exit-codes`, `json`) or the words of a verb
    #[arg(value_name = "TOPIC")]
    pub topic: Vec<String>,
}

impl Command {
    /// Whether the verb stops by itself, in good order, when it is signalled.
    #[must_use]
    pub const fn handles_signals(&self) -> bool {
        matches!(self, Self::Node(NodeCommand::Run(_)) | Self::Coordinator(_))
    }
}
