//! The short statements: cancel, freeze, unfreeze, consent to a policy.

use super::text::{TextReader, TextWriter, parse_hex};
use super::{Common, StatementError, identifier};

/// The initiator takes an intent back. Counts only from the intent's own initiator and only before a share may have left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancel {
    /// Where, who, how long. A machine signs as credential [`super::MACHINE_CREDENTIAL`].
    pub common: Common,
    /// The intent digest.
    pub request: [u8; 32],
}

impl Cancel {
    pub(super) fn write(&self, writer: TextWriter) -> TextWriter {
        writer.line("request", &hex::encode(self.request))
    }

    pub(super) fn read(
        cluster: String,
        reader: &mut TextReader<'_>,
    ) -> Result<Self, StatementError> {
        let request = parse_hex("request", reader.value("request")?)?;
        Ok(Self {
            common: Common::read(cluster, reader)?,
            request,
        })
    }
}

/// Stop signing, at once, for everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freeze {
    /// Where, who, how long the order may be delivered. The freeze itself lasts until an unfreeze.
    pub common: Common,
}

/// Resume signing, once enough people say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfreeze {
    /// Where, who, how long the order may be delivered.
    pub common: Common,
}

/// A governor's consent to exactly one policy document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyConsent {
    /// Where, who, how long.
    pub common: Common,
    /// The document's `policy_id`.
    pub policy_id: String,
    /// The document's version.
    pub version: u64,
    /// The tagged hash of the document's bytes.
    pub policy: [u8; 32],
}

impl PolicyConsent {
    pub(super) fn write(&self, writer: TextWriter) -> TextWriter {
        writer
            .line("policy_id", &self.policy_id)
            .line("version", &self.version.to_string())
            .line("policy", &hex::encode(self.policy))
    }

    pub(super) fn read(
        cluster: String,
        reader: &mut TextReader<'_>,
    ) -> Result<Self, StatementError> {
        let policy_id = identifier(reader, "policy_id")?;
        let version = reader
            .value("version")?
            .parse()
            .map_err(|_| StatementError::BadValue { key: "version" })?;
        let policy = parse_hex("policy", reader.value("policy")?)?;
        Ok(Self {
            common: Common::read(cluster, reader)?,
            policy_id,
            version,
            policy,
        })
    }
}
