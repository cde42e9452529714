//! For approvers: fetch the bytes, decode them here, see, then decide.

use policy::{
    approval::{Approval, Decision, summary_lines},
    document::PolicyHash,
    intent::Intent,
    statement::{Common, Statement},
};

use crate::{
    connect::Client,
    error::{Error, Stop},
    status::{RequestId, Status},
    verify::own_intent,
};

/// A request as this machine decoded it.
#[derive(Clone, Debug)]
pub struct Review {
    status: Status,
    intent: Intent,
    policy: [u8; 32],
    lines: Vec<String>,
}

impl Review {
    /// What the approver has to read: rendered here from the raw transaction.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// The intent.
    #[must_use]
    pub const fn intent(&self) -> &Intent {
        &self.intent
    }

    /// The hash of the policy under which a decision counts, computed here from the document.
    #[must_use]
    pub const fn policy(&self) -> &[u8; 32] {
        &self.policy
    }

    /// What the coordinator said about the request.
    #[must_use]
    pub const fn status(&self) -> &Status {
        &self.status
    }

    /// The statement that a decision signs.
    #[must_use]
    pub fn statement(&self, common: Common, decision: Decision) -> Statement {
        Statement::Approval(Approval::new(
            common,
            &self.intent,
            self.policy,
            decision,
            self.lines.clone(),
        ))
    }

    /// Whether a statement that was signed elsewhere decides exactly what is shown here.
    ///
    /// # Errors
    /// [`Stop::WrongAnswer`] naming the field that differs.
    pub fn matches(&self, approval: &Approval) -> Result<(), Error> {
        approval
            .check(&self.intent, &self.policy, &self.lines)
            .map_err(|e| {
                Stop::WrongAnswer {
                    message: e.to_string(),
                }
                .into()
            })
    }
}

impl Client {
    /// Fetches a request's raw bytes and the active policy, and decodes both here.
    ///
    /// # Errors
    /// [`Error::Stop`] when the coordinator's bytes do not fit together: nobody should sign such a request.
    pub async fn review(&self, id: RequestId) -> Result<Review, Error> {
        let status = self.status(id).await?;
        let signed = own_intent(id, &status)?;
        let intent = signed.intent().clone();
        if intent.cluster_id != self.cluster_id() {
            return Err(Error::wrong_answer("the intent is for another cluster"));
        }
        let wallet = self.wallet(&intent.wallet).await?;
        let transaction = wallet.decode(&intent.raw_tx).map_err(|e| {
            Error::wrong_answer(format_args!("the transaction does not decode here: {e}"))
        })?;
        let info = self.policy(0).await?;
        let policy = *PolicyHash::of(&info.document).as_bytes();
        if policy[..] != info.hash[..] {
            return Err(Error::wrong_answer(
                "the policy document has another hash than the one stated",
            ));
        }
        let lines = summary_lines(&intent, &transaction.rendering);
        Ok(Review {
            status,
            intent,
            policy,
            lines,
        })
    }
}
