//! Arguments of what wallet backends and approvers run.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `quorate request`.
#[derive(Debug, Subcommand)]
pub enum RequestCommand {
    /// Sign an intent with the initiator's key and submit it
    #[command(
        after_help = "Examples:\n  quorate request submit --wallet hot --tx transfer.bin --idempotency-key payout-7 --initiator svc-payout --initiator-key client/initiator.key --wait 60\n  quorate request submit --intent payout-7.intent"
    )]
    Submit(SubmitArgs),
    /// Show a request, or wait until it ends
    #[command(after_help = "Examples:\n  quorate request status 5f0c… --wait 60")]
    Status(RequestStatusArgs),
    /// Say what would happen to an intent now, without submitting it
    #[command(
        after_help = "Examples:\n  quorate request explain --wallet hot --tx transfer.bin --idempotency-key payout-7 --initiator svc-payout --initiator-key client/initiator.key"
    )]
    Explain(SubmitArgs),
    /// Cancel a request that no node has signed for yet
    #[command(
        after_help = "Examples:\n  quorate request cancel 5f0c… --person svc-payout --credential key --key client/initiator.key"
    )]
    Cancel(DecideArgs),
    /// List requests
    #[command(after_help = "Examples:\n  quorate request list --state announced --limit 20")]
    List(RequestListArgs),
}

/// `quorate request submit`, `quorate request explain`.
#[derive(Debug, Args)]
pub struct SubmitArgs {
    /// The wallet that signs
    #[arg(long, required_unless_present = "intent")]
    pub wallet: Option<String>,
    /// The unsigned transaction: a file of raw bytes or of hex
    #[arg(long, value_name = "FILE", group = "what")]
    pub tx: Option<PathBuf>,
    /// Build a Solana transfer to this address instead
    #[arg(long, value_name = "ADDRESS", group = "what", requires_all = ["lamports", "blockhash"])]
    pub to: Option<String>,
    /// How much that transfer moves, in lamports
    #[arg(long, requires = "to")]
    pub lamports: Option<u64>,
    /// The recent blockhash of that transfer (base58)
    #[arg(long, value_name = "HASH", requires = "to")]
    pub blockhash: Option<String>,
    /// Your own name for this payment: the same name never pays twice
    #[arg(long, value_name = "KEY", required_unless_present = "intent")]
    pub idempotency_key: Option<String>,
    /// The initiator's id in the policy
    #[arg(long, value_name = "ID", required_unless_present = "intent")]
    pub initiator: Option<String>,
    /// The initiator's Ed25519 seed file
    #[arg(long, value_name = "FILE", required_unless_present = "intent")]
    pub initiator_key: Option<PathBuf>,
    /// What the approvers should know about it
    #[arg(long, default_value = "")]
    pub note: String,
    /// How long the request may wait for approvals, in seconds
    #[arg(long, default_value_t = 3600, value_name = "SECONDS")]
    pub valid_for: u64,
    /// Send these signed bytes again instead of making new ones
    #[arg(long, value_name = "FILE", conflicts_with_all = ["wallet", "what", "idempotency_key", "initiator", "initiator_key"])]
    pub intent: Option<PathBuf>,
    /// Keep the signed bytes here before they are sent
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Wait this many seconds for the request to end
    #[arg(long, value_name = "SECONDS")]
    pub wait: Option<u64>,
}

/// A request's id.
#[derive(Debug, Args)]
pub struct RequestIdArgs {
    /// The request's id: the intent's digest in hex
    #[arg(value_name = "ID")]
    pub id: String,
}

/// `quorate request status`.
#[derive(Debug, Args)]
pub struct RequestStatusArgs {
    /// Which request
    #[command(flatten)]
    pub request: RequestIdArgs,
    /// Wait this many seconds for the request to end
    #[arg(long, value_name = "SECONDS")]
    pub wait: Option<u64>,
}

/// `quorate request list`.
#[derive(Debug, Args)]
pub struct RequestListArgs {
    /// Only requests in this state
    #[arg(long, value_parser = ["announced", "approved", "reserved", "signing", "released", "denied", "expired", "cancelled", "failed"])]
    pub state: Option<String>,
    /// Only requests of this wallet
    #[arg(long)]
    pub wallet: Option<String>,
    /// At most this many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
}

/// Who signs a statement, and with what.
#[derive(Clone, Debug, Args)]
pub struct PersonArgs {
    /// The person's id in the policy
    #[arg(long, value_name = "ID")]
    pub person: String,
    /// Which of the person's credentials signs
    #[arg(long, value_name = "ID")]
    pub credential: String,
    /// The person's Ed25519 seed file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["ssh_body", "ssh_signature"])]
    pub key: Option<PathBuf>,
    /// Write the statement here for `ssh-keygen -Y sign -n quorate`; with --ssh-signature, read it from here
    #[arg(long, value_name = "FILE")]
    pub ssh_body: Option<PathBuf>,
    /// The signature that ssh-keygen wrote
    #[arg(long, value_name = "FILE", requires = "ssh_body")]
    pub ssh_signature: Option<PathBuf>,
}

/// `quorate approve`, `quorate reject`, `quorate request cancel`.
#[derive(Debug, Args)]
pub struct DecideArgs {
    /// Which request
    #[command(flatten)]
    pub request: RequestIdArgs,
    /// Who decides, and with what
    #[command(flatten)]
    pub person: PersonArgs,
    /// Do not ask whether what is shown is right
    #[arg(long)]
    pub yes: bool,
    /// Write the signed statement here instead of submitting it
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// `quorate freeze`.
#[derive(Debug, Args)]
pub struct FreezeArgs {
    /// Who freezes, and with what
    #[command(flatten)]
    pub person: PersonArgs,
}

/// `quorate unfreeze`.
#[derive(Debug, Args)]
pub struct UnfreezeArgs {
    /// The person's id in the policy
    #[arg(
        long,
        value_name = "ID",
        requires = "credential",
        required_unless_present = "statements"
    )]
    pub person: Option<String>,
    /// Which of the person's credentials signs
    #[arg(long, value_name = "ID", requires = "person")]
    pub credential: Option<String>,
    /// The person's Ed25519 seed file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["ssh_body", "ssh_signature"])]
    pub key: Option<PathBuf>,
    /// Write the statement here for `ssh-keygen -Y sign -n quorate`; with --ssh-signature, read it from here
    #[arg(long, value_name = "FILE")]
    pub ssh_body: Option<PathBuf>,
    /// The signature that ssh-keygen wrote
    #[arg(long, value_name = "FILE", requires = "ssh_body")]
    pub ssh_signature: Option<PathBuf>,
    /// Write the signed statement here instead of sending it
    #[arg(long, value_name = "FILE", conflicts_with = "statements")]
    pub out: Option<PathBuf>,
    /// A signed statement of one of the quorum; repeat to send them together
    #[arg(long = "statement", value_name = "FILE")]
    pub statements: Vec<PathBuf>,
}

impl UnfreezeArgs {
    /// Who signs here, unless only statements of others are sent.
    #[must_use]
    pub fn person(&self) -> Option<PersonArgs> {
        Some(PersonArgs {
            person: self.person.clone()?,
            credential: self.credential.clone()?,
            key: self.key.clone(),
            ssh_body: self.ssh_body.clone(),
            ssh_signature: self.ssh_signature.clone(),
        })
    }
}
