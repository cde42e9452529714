//! What people sign: one text form for approvals, cancellations, freezes, policies and orders about keys.
//!
//! A statement is plain text that its signer can read before signing:
//!
//! ```text
//! quorate/freeze/v1
//! cluster: c-01
//! person: alice
//! credential: laptop
//! nonce: 00112233445566778899aabbccddeeff
//! issued: 2026-11-20T10:00:00Z
//! expires: 2026-11-20T11:00:00Z
//! ```
//!
//! Each kind has its keys in a fixed order, every line ends with LF, values are printable ASCII, at most 16 KiB in all.
//! What is parsed must render to the same bytes, so a statement has exactly one spelling. An Ed25519 credential signs the
//! tagged hash of these bytes; an SSH credential signs the bytes as a file, `ssh-keygen -Y sign -n quorate`.

mod keys;
mod order;
pub mod reshare;
pub(crate) mod text;

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};

pub use self::keys::{Export, Exportation, KeyRef, MAX_REASON, Retire, Retirement};
pub use self::order::{Cancel, Freeze, PolicyConsent, Unfreeze};
pub use self::reshare::{Plan, Reshare};
use self::text::{TextReader, TextWriter, is_value, parse_hex, parse_time};
use crate::approval::Approval;
use crate::codec::{CodecError, MAX_IDENTIFIER, Reader, Writer, is_identifier};
use crate::credential::CredentialKey;
use crate::digest::{self, Tag};
use crate::sshsig::{self, SshSigError};
use crate::time::format_utc;

/// The most bytes a statement's text may have.
pub const MAX_BODY: usize = text::MAX_BODY;
/// The longest encoding of a signed statement, in bytes.
pub const MAX_SIGNED: usize = MAX_BODY.saturating_add(sshsig::MAX_PEM).saturating_add(64);
/// The credential name under which a machine, which has exactly one key, signs statements.
pub const MACHINE_CREDENTIAL: &str = "key";
/// The longest time between issue and expiry of a statement, in milliseconds: 30 days.
pub const MAX_LIFETIME_MS: u64 = 30 * 24 * 3_600_000;

/// What a statement is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StatementKind {
    /// A person's vote on one intent.
    Approval,
    /// The initiator takes an intent back.
    Cancel,
    /// Hand the shares of a key to one recipient.
    Export,
    /// Stop signing; one person is enough.
    Freeze,
    /// A governor's consent to one policy document.
    Policy,
    /// Replace the shares of keys.
    Reshare,
    /// Take a key out of use.
    Retire,
    /// Resume signing.
    Unfreeze,
}

impl StatementKind {
    /// The first line of a statement of this kind, without the LF.
    #[must_use]
    pub const fn first_line(self) -> &'static str {
        match self {
            Self::Approval => "quorate/approval/v1",
            Self::Cancel => "quorate/cancel/v1",
            Self::Export => "quorate/export/v1",
            Self::Freeze => "quorate/freeze/v1",
            Self::Policy => "quorate/policy/v1",
            Self::Reshare => "quorate/reshare/v1",
            Self::Retire => "quorate/retire/v1",
            Self::Unfreeze => "quorate/unfreeze/v1",
        }
    }

    fn from_first_line(line: &str) -> Result<Self, StatementError> {
        [
            Self::Approval,
            Self::Cancel,
            Self::Export,
            Self::Freeze,
            Self::Policy,
            Self::Reshare,
            Self::Retire,
            Self::Unfreeze,
        ]
        .into_iter()
        .find(|kind| kind.first_line() == line)
        .ok_or(StatementError::UnknownKind)
    }
}

/// Why a statement is refused before its signature is looked at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// A value is not of its key's form.
    #[error("the value of {key} is not of the form due there")]
    BadValue {
        /// The key.
        key: &'static str,
    },
    /// The frame around the text does not decode.
    #[error("the signed statement does not decode: {0}")]
    Codec(#[from] CodecError),
    /// A line does not start with the key that is due there.
    #[error("line {line} must be `{key}: ` and a value")]
    Expected {
        /// The line's number, from 1.
        line: usize,
        /// The key due.
        key: &'static str,
    },
    /// The text parses, but the same statement is spelled differently.
    #[error("the text is not the one spelling of its statement")]
    NotCanonical,
    /// The text does not end with a line feed.
    #[error("the last line does not end with a line feed")]
    NoFinalNewline,
    /// A byte is neither printable ASCII nor a line feed.
    #[error("the byte at offset {offset} is not printable ascii")]
    NotText {
        /// Where it is.
        offset: usize,
    },
    /// The person or credential beside the text is not the one in the text.
    #[error("the {field} named beside the statement is not the one in it")]
    SignerMismatch {
        /// `person` or `credential`.
        field: &'static str,
    },
    /// The text is longer than allowed.
    #[error("the statement has {len} bytes, at most {max} are allowed")]
    TooLong {
        /// Its size.
        len: usize,
        /// The bound.
        max: usize,
    },
    /// Lines follow the last key of the kind.
    #[error("line {line} follows the end of the statement")]
    Unexpected {
        /// The line's number, from 1.
        line: usize,
    },
    /// The first line names no kind of statement.
    #[error("the first line names no known kind of statement")]
    UnknownKind,
}

/// Why a statement with a well-formed text is not its signer's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The Ed25519 signature does not verify under the enrolled key.
    #[error("the ed25519 signature does not verify under the enrolled key")]
    Ed25519,
    /// The SSH signature does not verify; the inner error says why.
    #[error("the ssh signature is refused: {0}")]
    Ssh(#[from] SshSigError),
    /// The signature is of another kind than the enrolled key.
    #[error("the signature is not of the kind of the enrolled key")]
    WrongKind,
}

/// Why a well-signed statement is not in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimingError {
    /// Its time is over.
    #[error("the statement expired at {expires_ms} ms, it is {now_ms} ms")]
    Expired {
        /// From the statement.
        expires_ms: u64,
        /// The clock.
        now_ms: u64,
    },
    /// It was issued further in the future than clocks may differ.
    #[error("the statement was issued at {issued_ms} ms, it is only {now_ms} ms")]
    FromTheFuture {
        /// From the statement.
        issued_ms: u64,
        /// The clock.
        now_ms: u64,
    },
}

/// What every statement says: where it counts, who speaks, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Common {
    /// The cluster it is for.
    pub cluster: String,
    /// The person (or, for a cancellation, the machine) who speaks.
    pub person: String,
    /// Which of the person's credentials signs.
    pub credential: String,
    /// 16 fresh random bytes, so that no two statements are equal.
    pub nonce: [u8; 16],
    /// When it was made, unix milliseconds.
    pub issued_ms: u64,
    /// From when on it does not count any more, unix milliseconds.
    pub expires_ms: u64,
}

impl Common {
    /// Whether the statement is in force at `now_ms`, allowing the signer's clock to be ahead by `skew_ms`.
    ///
    /// # Errors
    /// [`TimingError`].
    pub const fn check_time(&self, now_ms: u64, skew_ms: u64) -> Result<(), TimingError> {
        if now_ms >= self.expires_ms {
            return Err(TimingError::Expired {
                expires_ms: self.expires_ms,
                now_ms,
            });
        }
        if self.issued_ms > now_ms.saturating_add(skew_ms) {
            return Err(TimingError::FromTheFuture {
                issued_ms: self.issued_ms,
                now_ms,
            });
        }
        Ok(())
    }

    fn write(&self, writer: TextWriter) -> TextWriter {
        writer
            .line("person", &self.person)
            .line("credential", &self.credential)
            .line("nonce", &hex::encode(self.nonce))
            .line("issued", &format_utc(self.issued_ms))
            .line("expires", &format_utc(self.expires_ms))
    }

    fn read(cluster: String, reader: &mut TextReader<'_>) -> Result<Self, StatementError> {
        let common = Self {
            cluster,
            person: identifier(reader, "person")?,
            credential: identifier(reader, "credential")?,
            nonce: parse_hex("nonce", reader.value("nonce")?)?,
            issued_ms: parse_time("issued", reader.value("issued")?)?,
            expires_ms: parse_time("expires", reader.value("expires")?)?,
        };
        let latest = common.issued_ms.saturating_add(MAX_LIFETIME_MS);
        if common.expires_ms <= common.issued_ms || common.expires_ms > latest {
            return Err(StatementError::BadValue { key: "expires" });
        }
        Ok(common)
    }
}

/// One statement, any kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// A vote on an intent.
    Approval(Approval),
    /// An intent taken back.
    Cancel(Cancel),
    /// The shares of a key for one recipient.
    Export(Export),
    /// Stop signing.
    Freeze(Freeze),
    /// Consent to a policy document.
    Policy(PolicyConsent),
    /// New shares for keys.
    Reshare(Reshare),
    /// A key taken out of use.
    Retire(Retire),
    /// Resume signing.
    Unfreeze(Unfreeze),
}

impl Statement {
    /// What it is about.
    #[must_use]
    pub const fn kind(&self) -> StatementKind {
        match self {
            Self::Approval(_) => StatementKind::Approval,
            Self::Cancel(_) => StatementKind::Cancel,
            Self::Export(_) => StatementKind::Export,
            Self::Freeze(_) => StatementKind::Freeze,
            Self::Policy(_) => StatementKind::Policy,
            Self::Reshare(_) => StatementKind::Reshare,
            Self::Retire(_) => StatementKind::Retire,
            Self::Unfreeze(_) => StatementKind::Unfreeze,
        }
    }

    /// Who speaks, where, and for how long.
    #[must_use]
    pub const fn common(&self) -> &Common {
        match self {
            Self::Approval(it) => &it.common,
            Self::Cancel(it) => &it.common,
            Self::Export(it) => &it.common,
            Self::Freeze(it) => &it.common,
            Self::Policy(it) => &it.common,
            Self::Reshare(it) => &it.common,
            Self::Retire(it) => &it.common,
            Self::Unfreeze(it) => &it.common,
        }
    }

    /// The text that is signed. A value no statement may have renders to a text that [`Statement::parse`] refuses.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        let writer =
            TextWriter::new(self.kind().first_line()).line("cluster", &self.common().cluster);
        match self {
            Self::Approval(it) => it.write_lines(self.common().write(it.write(writer))),
            Self::Cancel(it) => self.common().write(it.write(writer)),
            Self::Policy(it) => self.common().write(it.write(writer)),
            Self::Export(it) => self
                .common()
                .write(it.matter.write(writer))
                .words(&it.matter.lines()),
            Self::Reshare(it) => self
                .common()
                .write(it.plan.write(writer))
                .words(&it.plan.lines()),
            Self::Retire(it) => self
                .common()
                .write(it.matter.write(writer))
                .words(&it.matter.lines()),
            Self::Freeze(_) | Self::Unfreeze(_) => self.common().write(writer),
        }
        .finish()
    }

    /// Reads a text; total on any bytes.
    ///
    /// # Errors
    /// [`StatementError`]; a text that is not the one spelling of its statement is refused.
    pub fn parse(body: &[u8]) -> Result<Self, StatementError> {
        let (first, mut reader) = TextReader::new(body)?;
        let kind = StatementKind::from_first_line(first)?;
        let cluster = identifier(&mut reader, "cluster")?;
        let statement = match kind {
            StatementKind::Approval => Self::Approval(Approval::read(cluster, &mut reader)?),
            StatementKind::Cancel => Self::Cancel(Cancel::read(cluster, &mut reader)?),
            StatementKind::Export => Self::Export(Export::read(cluster, &mut reader)?),
            StatementKind::Reshare => Self::Reshare(Reshare::read(cluster, &mut reader)?),
            StatementKind::Retire => Self::Retire(Retire::read(cluster, &mut reader)?),
            StatementKind::Freeze => Self::Freeze(Freeze {
                common: Common::read(cluster, &mut reader)?,
            }),
            StatementKind::Policy => Self::Policy(PolicyConsent::read(cluster, &mut reader)?),
            StatementKind::Unfreeze => Self::Unfreeze(Unfreeze {
                common: Common::read(cluster, &mut reader)?,
            }),
        };
        reader.finish()?;
        if statement.render() == body {
            Ok(statement)
        } else {
            Err(StatementError::NotCanonical)
        }
    }
}

pub(crate) fn read_common(
    cluster: String,
    reader: &mut TextReader<'_>,
) -> Result<Common, StatementError> {
    Common::read(cluster, reader)
}

pub(crate) fn identifier(
    reader: &mut TextReader<'_>,
    key: &'static str,
) -> Result<String, StatementError> {
    let value = reader.value(key)?;
    if is_identifier(value) {
        Ok(value.to_owned())
    } else {
        Err(StatementError::BadValue { key })
    }
}

/// Whether a text may be one line of what an approver is shown.
#[must_use]
pub fn is_display_line(text: &str) -> bool {
    is_value(text)
}

/// A signature over a statement's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    /// Ed25519 (64 bytes, strict) over the tagged hash of the text.
    Ed25519([u8; 64]),
    /// The armoured output of `ssh-keygen -Y sign -n quorate` over the text, at most 4 KiB.
    Ssh(String),
}

/// A statement with its signature. Holding one says that the text is well-formed and names its signer, *not* that the
/// signature was verified: that needs the enrolled key, see [`SignedStatement::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedStatement {
    statement: Statement,
    body: Vec<u8>,
    signature: Signature,
}

/// The version byte of the encoding.
const VERSION: u8 = 1;
const ED25519: u8 = 1;
const SSH: u8 = 2;

impl SignedStatement {
    /// Puts a text and a signature together.
    ///
    /// # Errors
    /// [`StatementError`] if the text is no statement or the signature is too long.
    pub fn new(body: Vec<u8>, signature: Signature) -> Result<Self, StatementError> {
        let statement = Statement::parse(&body)?;
        if let Signature::Ssh(pem) = &signature
            && (pem.len() > sshsig::MAX_PEM || !sshsig::is_armour_text(pem))
        {
            return Err(StatementError::BadValue { key: "signature" });
        }
        Ok(Self {
            statement,
            body,
            signature,
        })
    }

    /// Signs with an Ed25519 credential.
    ///
    /// # Errors
    /// [`StatementError`] if a field holds what no statement may hold.
    pub fn sign(statement: &Statement, key: &SigningKey) -> Result<Self, StatementError> {
        let body = statement.render();
        let signature = key.sign(&signed_hash(&body)).to_bytes();
        Self::new(body, Signature::Ed25519(signature))
    }

    /// Decodes; total on any bytes.
    ///
    /// # Errors
    /// [`StatementError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, StatementError> {
        let mut reader = Reader::new(bytes);
        match reader.byte("version")? {
            VERSION => {}
            value => {
                return Err(CodecError::UnknownValue {
                    field: "version",
                    value,
                }
                .into());
            }
        }
        let body = reader.bytes("body", MAX_BODY)?.to_vec();
        let person = reader.text("person", MAX_IDENTIFIER)?;
        let credential = reader.text("credential", MAX_IDENTIFIER)?;
        let signature = match reader.byte("signature kind")? {
            ED25519 => Signature::Ed25519(reader.array("signature")?),
            SSH => {
                let pem = reader.bytes("signature", sshsig::MAX_PEM)?;
                let pem = core::str::from_utf8(pem)
                    .map_err(|_| CodecError::BadText { field: "signature" })?;
                Signature::Ssh(pem.to_owned())
            }
            value => {
                return Err(CodecError::UnknownValue {
                    field: "signature kind",
                    value,
                }
                .into());
            }
        };
        reader.finish()?;
        let signed = Self::new(body, signature)?;
        if signed.person() != person {
            return Err(StatementError::SignerMismatch { field: "person" });
        }
        if signed.credential() != credential {
            return Err(StatementError::SignerMismatch {
                field: "credential",
            });
        }
        Ok(signed)
    }

    /// Encodes: version 1, text, person, credential, kind of signature, signature; at most [`MAX_SIGNED`] bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let writer = Writer::new()
            .byte(VERSION)
            .bytes(&self.body)
            .bytes(self.person().as_bytes())
            .bytes(self.credential().as_bytes());
        match &self.signature {
            Signature::Ed25519(bytes) => writer.byte(ED25519).array(bytes),
            Signature::Ssh(pem) => writer.byte(SSH).bytes(pem.as_bytes()),
        }
        .finish()
    }

    /// What is said.
    #[must_use]
    pub const fn statement(&self) -> &Statement {
        &self.statement
    }

    /// The text that was signed.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The signature, unverified.
    #[must_use]
    pub const fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Who claims to speak.
    #[must_use]
    pub fn person(&self) -> &str {
        &self.statement.common().person
    }

    /// Which of that person's credentials claims to sign.
    #[must_use]
    pub fn credential(&self) -> &str {
        &self.statement.common().credential
    }

    /// Whether the signature is by this enrolled key over exactly this text. The caller looks the key up under
    /// [`SignedStatement::person`] and [`SignedStatement::credential`].
    ///
    /// # Errors
    /// [`SignatureError`].
    ///
    /// # Timing
    /// Variable, on public values.
    pub fn verify(&self, key: &CredentialKey) -> Result<(), SignatureError> {
        match (&self.signature, key) {
            (Signature::Ed25519(signature), CredentialKey::Ed25519(key)) => {
                verify_ed25519(key, &signed_hash(&self.body), signature)
                    .then_some(())
                    .ok_or(SignatureError::Ed25519)
            }
            (Signature::Ssh(pem), CredentialKey::Ssh(key)) => {
                Ok(sshsig::verify(key, &self.body, pem)?)
            }
            (Signature::Ed25519(_), CredentialKey::Ssh(_))
            | (Signature::Ssh(_), CredentialKey::Ed25519(_)) => Err(SignatureError::WrongKind),
        }
    }
}

/// The 32 bytes an Ed25519 credential signs for a statement's text.
#[must_use]
pub fn signed_hash(body: &[u8]) -> [u8; 32] {
    digest::hash(Tag::STATEMENT, &[body])
}

/// Strict Ed25519: canonical encodings, no small-order key or nonce point, cofactorless.
pub(crate) fn verify_ed25519(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(key)
        .and_then(|key| {
            key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature))
        })
        .is_ok()
}
