//! Orders about a key as a whole: taking it out of use, handing it out.

use super::text::{TextReader, TextWriter, parse_hex};
use super::{Common, StatementError};
use crate::codec::is_identifier;
use crate::digest::{self, Tag};

/// The longest reason of an order, in bytes.
pub const MAX_REASON: usize = 256;

/// Which key an order is about, down to the sharing that is active when it is signed: once the shares have been replaced, the
/// order is about nothing any more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyRef {
    /// The key, 32 bytes.
    pub key: [u8; 32],
    /// What operators call it.
    pub name: String,
    /// `ecdsa`, `ecdsa-raw`, `bip340` or `ed25519`.
    pub scheme: String,
    /// How often its shares have been replaced.
    pub epoch: u32,
    /// Which attempt of that epoch.
    pub attempt: u32,
    /// The name of the sharing, 32 bytes.
    pub sharing: [u8; 32],
}

impl KeyRef {
    /// `<key> name <name> scheme <scheme> epoch <n> attempt <n> sharing <sharing>`
    pub(super) fn render(&self) -> String {
        format!(
            "{} name {} scheme {} epoch {} attempt {} sharing {}",
            hex::encode(self.key),
            self.name,
            self.scheme,
            self.epoch,
            self.attempt,
            hex::encode(self.sharing)
        )
    }

    /// Reads the words that [`render`](Self::render) writes. That they are spelled in the one way is seen when the statement is
    /// rendered again.
    pub(super) fn read<'a>(
        words: &mut impl Iterator<Item = &'a str>,
    ) -> Result<Self, StatementError> {
        let key = parse_hex("key", words.next().unwrap_or_default())?;
        let mut field = |word: &str| match words.next() {
            Some(found) if found == word => words.next().unwrap_or_default(),
            _ => "",
        };
        let (name, scheme) = (field("name"), field("scheme"));
        let (epoch, attempt, sharing) = (field("epoch"), field("attempt"), field("sharing"));
        if !is_identifier(name) || !is_identifier(scheme) {
            return Err(StatementError::BadValue { key: "key" });
        }
        Ok(Self {
            key,
            name: name.to_owned(),
            scheme: scheme.to_owned(),
            epoch: number("key", epoch)?,
            attempt: number("key", attempt)?,
            sharing: parse_hex("key", sharing)?,
        })
    }

    /// The key as people are shown it: its name, its scheme and the first digits of its id.
    pub(super) fn shown(&self) -> String {
        let id: String = hex::encode(self.key).chars().take(16).collect();
        format!("{} ({}, {id}...)", self.name, self.scheme)
    }
}

/// A decimal number; that it has no sign or leading zero is seen when the statement is rendered again.
pub(super) fn number<T: core::str::FromStr>(
    key: &'static str,
    text: &str,
) -> Result<T, StatementError> {
    text.parse().map_err(|_| StatementError::BadValue { key })
}

fn read_key(reader: &mut TextReader<'_>) -> Result<KeyRef, StatementError> {
    let mut words = reader.value("key")?.split(' ');
    let key = KeyRef::read(&mut words)?;
    match words.next() {
        None => Ok(key),
        Some(_) => Err(StatementError::BadValue { key: "key" }),
    }
}

fn read_reason(reader: &mut TextReader<'_>) -> Result<String, StatementError> {
    let reason = reader.value("reason")?;
    if reason.len() > MAX_REASON {
        return Err(StatementError::BadValue { key: "reason" });
    }
    Ok(reason.to_owned())
}

/// What is ordered: a key signs no more, for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retirement {
    /// 32 fresh bytes, the same in the statements of all who sign: the name of the order.
    pub request: [u8; 32],
    /// The key.
    pub key: KeyRef,
    /// Why, printable ASCII, 1 to [`MAX_REASON`] bytes.
    pub reason: String,
}

impl Retirement {
    /// What is ordered, in words.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        vec![
            format!("take key {} out of use for good", self.key.shown()),
            "no node signs with it again; its shares stay where they are".to_owned(),
            "move what it holds to another key first".to_owned(),
        ]
    }

    pub(super) fn write(&self, writer: TextWriter) -> TextWriter {
        writer
            .line("request", &hex::encode(self.request))
            .line("key", &self.key.render())
            .line("reason", &self.reason)
    }

    fn read(reader: &mut TextReader<'_>) -> Result<Self, StatementError> {
        Ok(Self {
            request: parse_hex("request", reader.value("request")?)?,
            key: read_key(reader)?,
            reason: read_reason(reader)?,
        })
    }
}

/// What is ordered: every node hands its share of a key to one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exportation {
    /// 32 fresh bytes, the same in the statements of all who sign: the name of the order.
    pub request: [u8; 32],
    /// The key.
    pub key: KeyRef,
    /// The recipient's ristretto255 exchange key, 32 bytes.
    pub recipient: [u8; 32],
    /// Why, printable ASCII, 1 to [`MAX_REASON`] bytes.
    pub reason: String,
}

impl Exportation {
    /// What is ordered, in words.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        vec![
            format!(
                "give the whole secret of key {} to the holder of {}",
                self.key.shown(),
                hex::encode(self.recipient)
            ),
            "who has it signs alone, outside of every policy, for ever".to_owned(),
            "every node that gives its share signs with the key no more".to_owned(),
        ]
    }

    /// Names exactly this order in a cluster; 32 bytes. What a node gives is bound to it.
    #[must_use]
    pub fn digest(&self, cluster: &str) -> [u8; 32] {
        let key = self.key.render();
        let fields: [&[u8]; 5] = [
            cluster.as_bytes(),
            &self.request,
            key.as_bytes(),
            &self.recipient,
            self.reason.as_bytes(),
        ];
        digest::hash(Tag::EXPORT, &fields)
    }

    /// What two operators of a node sign, with keys that its configuration names, before it gives its share; 32 bytes. `node` is the
    /// node's id: a consent for one node is none for another.
    #[must_use]
    pub fn consent_digest(&self, cluster: &str, node: &[u8; 32]) -> [u8; 32] {
        digest::hash(Tag::EXPORT_CONSENT, &[&self.digest(cluster), node])
    }

    pub(super) fn write(&self, writer: TextWriter) -> TextWriter {
        writer
            .line("request", &hex::encode(self.request))
            .line("key", &self.key.render())
            .line("recipient", &hex::encode(self.recipient))
            .line("reason", &self.reason)
    }

    fn read(reader: &mut TextReader<'_>) -> Result<Self, StatementError> {
        Ok(Self {
            request: parse_hex("request", reader.value("request")?)?,
            key: read_key(reader)?,
            recipient: parse_hex("recipient", reader.value("recipient")?)?,
            reason: read_reason(reader)?,
        })
    }
}

/// One person's signature under a [`Retirement`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retire {
    /// Where, who, how long.
    pub common: Common,
    /// What is ordered.
    pub matter: Retirement,
}

impl Retire {
    pub(super) fn read(
        cluster: String,
        reader: &mut TextReader<'_>,
    ) -> Result<Self, StatementError> {
        let matter = Retirement::read(reader)?;
        let common = Common::read(cluster, reader)?;
        reader.same_lines(&matter.lines())?;
        Ok(Self { common, matter })
    }
}

/// One person's signature under an [`Exportation`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Where, who, how long.
    pub common: Common,
    /// What is ordered.
    pub matter: Exportation,
}

impl Export {
    pub(super) fn read(
        cluster: String,
        reader: &mut TextReader<'_>,
    ) -> Result<Self, StatementError> {
        let matter = Exportation::read(reader)?;
        let common = Common::read(cluster, reader)?;
        reader.same_lines(&matter.lines())?;
        Ok(Self { common, matter })
    }
}
