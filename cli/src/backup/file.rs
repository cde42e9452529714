//! The backup file: annotated text with one form only, signed by the node that made it.
//!
//! Facts stand in words for whoever finds the file in ten years; a program reads the file back, writes it again and
//! refuses anything that is not the same text. The signature is over everything above it, by the node's identity key.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mpc_core::{
    backup::{Backup, NodeKeys, open_node_keys, seal_node_keys},
    id::PartyIndex,
    identity::{ExchangeKey, IdentityKey, IdentityPublic},
    keys::{KeyShare, PublicKeyPackage},
};
use policy::cluster::ClusterFile;
use rand_core::UnwrapErr;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use signer_node::backup::{Held, Secrets};

use super::Problem;

const HEADING: &str = "# One share of a threshold key of Quorate, encrypted to the recovery keys below. Nothing here is secret.\n\
    # Check it without opening it:  quorate backup verify FILE\n\
    # Bring the node back with it:  quorate backup restore FILE --recovery-key KEY --config node.toml\n\
    # Destroy it when the key has a newer epoch: old shares, put together, are still the key.\n";

/// Longest file that is read, in bytes: a key of 32 members for many recipients.
pub const MAX_FILE: usize = 4 << 20;
const COLUMNS: usize = 100;

/// A backup file that reads back as it was written. Nothing in it is proved yet: see [`BackupFile::verify`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupFile {
    schema: u8,
    cluster: String,
    node: u16,
    identity: String,
    exchange: String,
    key: String,
    key_id: String,
    scheme: String,
    public_key: String,
    epoch: u32,
    attempt: u32,
    sharing: String,
    index: u16,
    threshold: u16,
    members: usize,
    made: String,
    package: String,
    history: String,
    #[serde(default)]
    recipient: Vec<Recipient>,
    signature: Signature,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    by_node: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recipient {
    recovery_key: String,
    node_keys: String,
    share: String,
}

/// What a verified file is about.
#[derive(Debug)]
pub struct Verified<'a> {
    file: &'a BackupFile,
    node_keys: NodeKeys,
    package: PublicKeyPackage,
    index: PartyIndex,
    recipients: Vec<([u8; 32], Vec<u8>, Backup)>,
}

impl BackupFile {
    /// Encrypts a share of a node to recovery keys and signs the file.
    ///
    /// # Errors
    /// [`Problem::Unproven`] for a recovery key that is not one.
    pub fn make(
        cluster: &str,
        node: u16,
        secrets: &Secrets,
        held: &Held,
        recipients: &[[u8; 32]],
        made: String,
    ) -> Result<Self, Problem> {
        let package = held.share.public();
        let mut rng = UnwrapErr(getrandom::SysRng);
        let recipient = recipients
            .iter()
            .map(|recovery| {
                let failed = |why| Problem::Unproven {
                    recovery: hex::encode(recovery),
                    why,
                };
                let keys = seal_node_keys(&secrets.identity, &secrets.exchange, recovery, &mut rng)
                    .map_err(failed)?;
                let share = mpc_core::backup::create(&held.share, recovery, &mut rng)
                    .map_err(failed)?
                    .encode();
                Ok(Recipient {
                    recovery_key: hex::encode(recovery),
                    node_keys: wrap(&keys),
                    share: wrap(&share),
                })
            })
            .collect::<Result<Vec<_>, Problem>>()?;
        let mut file = Self {
            schema: 1,
            cluster: cluster.to_owned(),
            node,
            identity: hex::encode(secrets.identity.public().as_bytes()),
            exchange: hex::encode(secrets.exchange.public()),
            key: held.name.clone(),
            key_id: package.key_id().to_string(),
            scheme: package.purpose().as_str().to_owned(),
            public_key: hex::encode(package.public_key()),
            epoch: package.epoch().0,
            attempt: package.attempt().0,
            sharing: hex::encode(package.sharing().as_bytes()),
            index: held.share.index().get(),
            threshold: package.params().threshold(),
            members: package.members().len(),
            made,
            package: wrap(&package.encode()),
            history: wrap(&held.history),
            recipient,
            signature: Signature {
                by_node: String::new(),
            },
        };
        let signature = secrets.identity.sign(&digest(&file.body()));
        file.signature.by_node = hex::encode(signature);
        Ok(file)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Problem::Malformed`] for anything that is not, byte for byte, what [`Self::render`] would write.
    pub fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        if bytes.len() > MAX_FILE {
            return Err(Problem::Malformed("it is too large".to_owned()));
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|_| Problem::Malformed("it is not text".to_owned()))?;
        let file: Self =
            toml::from_str(text).map_err(|e| Problem::Malformed(e.message().to_owned()))?;
        if file.schema != 1 {
            return Err(Problem::Malformed(format!(
                "schema {} is not known to this program",
                file.schema
            )));
        }
        if file.render() == text {
            Ok(file)
        } else {
            Err(Problem::Malformed(
                "it is not written as `quorate backup create` writes it".to_owned(),
            ))
        }
    }

    /// The text of the file.
    #[must_use]
    pub fn render(&self) -> String {
        format!(
            "{}\n[signature]\nby_node = \"{}\"\n",
            self.body(),
            self.signature.by_node
        )
    }

    /// Everything that is signed: the text before the signature.
    fn body(&self) -> String {
        let mut text = String::from(HEADING);
        // Writing to a string cannot fail.
        let _infallible = self.write_body(&mut text);
        text
    }

    fn write_body(&self, to: &mut String) -> std::fmt::Result {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        writeln!(to, "schema = {}", self.schema)?;
        writeln!(to, "cluster = {}", quoted(&self.cluster))?;
        writeln!(to, "node = {}", self.node)?;
        writeln!(to, "identity = {}", quoted(&self.identity))?;
        writeln!(to, "exchange = {}", quoted(&self.exchange))?;
        writeln!(to, "key = {}", quoted(&self.key))?;
        writeln!(to, "key_id = {}", quoted(&self.key_id))?;
        writeln!(to, "scheme = {}", quoted(&self.scheme))?;
        writeln!(to, "public_key = {}", quoted(&self.public_key))?;
        writeln!(to, "epoch = {}", self.epoch)?;
        writeln!(to, "attempt = {}", self.attempt)?;
        writeln!(to, "sharing = {}", quoted(&self.sharing))?;
        writeln!(to, "index = {}", self.index)?;
        writeln!(to, "threshold = {}", self.threshold)?;
        writeln!(to, "members = {}", self.members)?;
        writeln!(to, "made = {}", quoted(&self.made))?;
        block(to, "package", &self.package)?;
        block(to, "history", &self.history)?;
        for recipient in &self.recipient {
            let key = quoted(&recipient.recovery_key);
            writeln!(to, "\n[[recipient]]\nrecovery_key = {key}")?;
            block(to, "node_keys", &recipient.node_keys)?;
            block(to, "share", &recipient.share)?;
        }
        Ok(())
    }

    /// The key's name.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The node that made it.
    #[must_use]
    pub const fn node(&self) -> u16 {
        self.node
    }

    /// When it was made, in words.
    #[must_use]
    pub fn made(&self) -> &str {
        &self.made
    }

    /// The recovery keys that open it, hexadecimal.
    pub fn recovery_keys(&self) -> impl Iterator<Item = &str> {
        self.recipient.iter().map(|r| r.recovery_key.as_str())
    }

    /// Checks everything that can be checked without opening the file: that this node of this cluster wrote it, that what
    /// it says agrees with itself, and that every recovery key it names opens the share of the public key package.
    ///
    /// Whether that package is the one of the key that is meant, [`super::compare`] says.
    ///
    /// # Errors
    /// [`Problem`].
    pub fn verify(&self, cluster: &ClusterFile) -> Result<Verified<'_>, Problem> {
        if self.cluster != cluster.cluster_id.as_str() {
            return Err(Problem::ForeignCluster(self.cluster.clone()));
        }
        let malformed = |what: &str| Problem::Malformed(format!("{what} does not read"));
        let identity: [u8; 32] = fixed(&self.identity).ok_or_else(|| malformed("identity"))?;
        let exchange: [u8; 32] = fixed(&self.exchange).ok_or_else(|| malformed("exchange"))?;
        let is_node = cluster
            .node(self.node)
            .is_some_and(|entry| entry.identity == identity && entry.exchange == exchange);
        if !is_node {
            return Err(Problem::ForeignNode(self.node));
        }
        let identity = IdentityPublic::from_bytes(&identity).map_err(|_| malformed("identity"))?;
        let signature: [u8; 64] =
            fixed(&self.signature.by_node).ok_or_else(|| malformed("signature"))?;
        if !identity.verify(&digest(&self.body()), &signature) {
            return Err(Problem::Changed(self.node));
        }
        let package = unwrap(&self.package).ok_or_else(|| malformed("package"))?;
        let package = PublicKeyPackage::decode(&package).map_err(|_| malformed("package"))?;
        let index = PartyIndex::new(self.index).map_err(|_| malformed("index"))?;
        self.agrees(&package, index, &identity)?;
        let recipients = self
            .recipient
            .iter()
            .map(|recipient| recipient.verify(&package, index))
            .collect::<Result<Vec<_>, _>>()?;
        if recipients.is_empty() {
            return Err(malformed("the list of recovery keys"));
        }
        Ok(Verified {
            file: self,
            node_keys: NodeKeys { identity, exchange },
            package,
            index,
            recipients,
        })
    }

    /// The words of the file against its package.
    fn agrees(
        &self,
        package: &PublicKeyPackage,
        index: PartyIndex,
        identity: &IdentityPublic,
    ) -> Result<(), Problem> {
        let lines = [
            ("key_id", self.key_id == package.key_id().to_string()),
            ("scheme", self.scheme == package.purpose().as_str()),
            (
                "public_key",
                self.public_key == hex::encode(package.public_key()),
            ),
            ("epoch", self.epoch == package.epoch().0),
            ("attempt", self.attempt == package.attempt().0),
            (
                "sharing",
                self.sharing == hex::encode(package.sharing().as_bytes()),
            ),
            ("index", package.node(index) == Some(identity.node_id())),
            ("threshold", self.threshold == package.params().threshold()),
            ("members", self.members == package.members().len()),
        ];
        match lines.into_iter().find(|(_, agrees)| !agrees) {
            Some((line, _)) => Err(Problem::Contradiction(line)),
            None => Ok(()),
        }
    }
}

impl Recipient {
    fn verify(
        &self,
        package: &PublicKeyPackage,
        index: PartyIndex,
    ) -> Result<([u8; 32], Vec<u8>, Backup), Problem> {
        let unproven = |why| Problem::Unproven {
            recovery: self.recovery_key.clone(),
            why,
        };
        let malformed = |what: &str| Problem::Malformed(format!("{what} does not read"));
        let recovery = fixed(&self.recovery_key).ok_or_else(|| malformed("recovery_key"))?;
        let keys = unwrap(&self.node_keys).ok_or_else(|| malformed("node_keys"))?;
        let share = unwrap(&self.share).ok_or_else(|| malformed("share"))?;
        let backup = Backup::decode(&share).map_err(|e| unproven(e.into()))?;
        backup.verify(package, index, &recovery).map_err(unproven)?;
        Ok((recovery, keys, backup))
    }
}

impl Verified<'_> {
    /// The public key package that the share is of.
    #[must_use]
    pub const fn package(&self) -> &PublicKeyPackage {
        &self.package
    }

    /// Opens the file: the node's own keys, and the share with the history of its key.
    ///
    /// # Errors
    /// [`Problem::NotFor`], [`Problem::Unopened`].
    pub fn open(&self, key: &ExchangeKey) -> Result<(IdentityKey, ExchangeKey, Held), Problem> {
        let public = key.public();
        let mine = self.recipients.iter().find(|(to, ..)| *to == public);
        let (_, node_keys, backup) = mine.ok_or_else(|| Problem::NotFor(hex::encode(public)))?;
        let (identity, exchange) =
            open_node_keys(node_keys, &self.node_keys, key).map_err(Problem::Unopened)?;
        let share: KeyShare = backup
            .restore(&self.package, self.index, key)
            .map_err(Problem::Unopened)?;
        let history = unwrap(&self.file.history)
            .ok_or_else(|| Problem::Malformed("history does not read".to_owned()))?;
        let held = Held {
            name: self.file.key.clone(),
            history,
            share,
        };
        Ok((identity, exchange, held))
    }
}

/// What the node signs: no message of a protocol is hashed like this.
fn digest(body: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"quorate/backup-file/v1\n");
    hash.update(body.as_bytes());
    hash.finalize().into()
}

fn fixed<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).ok().map(|()| bytes)
}

/// Base64 in lines that fit a page.
fn wrap(bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    let mut lines = String::with_capacity(text.len().saturating_add(text.len() / COLUMNS));
    for (at, c) in text.chars().enumerate() {
        if at > 0 && at % COLUMNS == 0 {
            lines.push('\n');
        }
        lines.push(c);
    }
    lines.push('\n');
    lines
}

fn unwrap(lines: &str) -> Option<Vec<u8>> {
    let text: String = lines.chars().filter(|c| *c != '\n').collect();
    STANDARD.decode(text).ok()
}

fn block(to: &mut String, name: &str, lines: &str) -> std::fmt::Result {
    writeln!(to, "{name} = \"\"\"\n{lines}\"\"\"")
}
