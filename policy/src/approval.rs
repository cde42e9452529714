//! One person's vote on one intent, bound to everything that decides what the vote does.

use crate::digest::{self, Tag};
use crate::intent::Intent;
use crate::statement::text::{TextReader, TextWriter, parse_hex};
use crate::statement::{Common, StatementError, identifier, read_common};
use crate::time::format_utc;

/// Yes or no. A no ends the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decision {
    /// Sign it.
    Approve,
    /// Do not.
    Reject,
}

impl Decision {
    /// `approve` or `reject`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
        }
    }

    fn parse(text: &str) -> Result<Self, StatementError> {
        match text {
            "approve" => Ok(Self::Approve),
            "reject" => Ok(Self::Reject),
            _ => Err(StatementError::BadValue { key: "decision" }),
        }
    }
}

/// The body of an approval. The lines are the ones the approver's own side rendered from the raw transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// Cluster, person, credential, nonce, times.
    pub common: Common,
    /// The intent digest.
    pub request: [u8; 32],
    /// The vote.
    pub decision: Decision,
    /// The hash of the policy under which it is given.
    pub policy: [u8; 32],
    /// The tagged hash of the lines; [`Approval::new`] computes it.
    pub display: [u8; 32],
    /// The wallet's id.
    pub wallet: String,
    /// What the approver saw, line by line.
    pub lines: Vec<String>,
}

/// Why an approval, whoever signed it, is not for this request as this side sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the approval was given for another {field} than the one at hand")]
pub struct Mismatch {
    /// `cluster`, `request`, `policy`, `wallet` or `display`.
    pub field: &'static str,
}

impl Approval {
    /// A vote on an intent by somebody who was shown `lines` (see [`summary_lines`]).
    #[must_use]
    pub fn new(
        common: Common,
        intent: &Intent,
        policy: [u8; 32],
        decision: Decision,
        lines: Vec<String>,
    ) -> Self {
        Self {
            common,
            request: intent.digest(),
            decision,
            policy,
            display: display_digest(&lines),
            wallet: intent.wallet.clone(),
            lines,
        }
    }

    /// Whether the vote is for this intent, under this policy, on exactly the lines that this side renders itself.
    ///
    /// # Errors
    /// [`Mismatch`] names the first field that differs.
    pub fn check(
        &self,
        intent: &Intent,
        policy: &[u8; 32],
        own_lines: &[String],
    ) -> Result<(), Mismatch> {
        let fields = [
            ("cluster", self.common.cluster == intent.cluster_id),
            ("request", self.request == intent.digest()),
            ("policy", self.policy == *policy),
            ("wallet", self.wallet == intent.wallet),
            (
                "display",
                self.lines == own_lines && self.display == display_digest(own_lines),
            ),
        ];
        match fields.into_iter().find(|(_, equal)| !equal) {
            None => Ok(()),
            Some((field, _)) => Err(Mismatch { field }),
        }
    }

    pub(crate) fn write(&self, writer: TextWriter) -> TextWriter {
        writer
            .line("request", &hex::encode(self.request))
            .line("decision", self.decision.as_str())
            .line("policy", &hex::encode(self.policy))
            .line("display", &hex::encode(self.display))
            .line("wallet", &self.wallet)
    }

    pub(crate) fn write_lines(&self, writer: TextWriter) -> TextWriter {
        self.lines
            .iter()
            .fold(writer, |writer, line| writer.line("line", line))
    }

    pub(crate) fn read(
        cluster: String,
        reader: &mut TextReader<'_>,
    ) -> Result<Self, StatementError> {
        let request = parse_hex("request", reader.value("request")?)?;
        let decision = Decision::parse(reader.value("decision")?)?;
        let policy = parse_hex("policy", reader.value("policy")?)?;
        let display = parse_hex("display", reader.value("display")?)?;
        let wallet = identifier(reader, "wallet")?;
        let common = read_common(cluster, reader)?;
        let lines = reader.values("line")?;
        if display != display_digest(&lines) {
            return Err(StatementError::BadValue { key: "display" });
        }
        Ok(Self {
            common,
            request,
            decision,
            policy,
            display,
            wallet,
            lines,
        })
    }
}

/// The tagged hash of the lines an approver was shown.
#[must_use]
pub fn display_digest(lines: &[String]) -> [u8; 32] {
    digest::hash_list(Tag::DISPLAY, lines)
}

/// The lines an approver is shown and an approval carries: who asks, from which wallet, what the transaction does
/// (`rendering`, from the chain's decoder), why, and until when.
#[must_use]
pub fn summary_lines(intent: &Intent, rendering: &[String]) -> Vec<String> {
    let mut lines = vec![
        format!(
            "initiator {} asks wallet {} on {}",
            intent.initiator, intent.wallet, intent.chain
        ),
        format!("request valid until {}", format_utc(intent.expires_ms)),
    ];
    lines.extend(rendering.iter().cloned());
    if !intent.note.is_empty() {
        lines.push(format!("note by the initiator: {}", intent.note));
    }
    lines
}
