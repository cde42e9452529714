//! `node.toml`: what a signer node is told by its operator.
//!
//! Unknown keys are refused, every problem of a file is reported at once with its line, and the files that hold a secret
//! must be readable by their owner only. Relative paths are relative to the file that names them.

use std::path::{Path, PathBuf};

use mpc_core::identity::IdentityPublic;
use proto::settings::{Reader, check_secret_file, read_text};

pub use proto::settings::{ConfigError, Problem};

/// The annotated file that is shipped: every option, its unit, its bounds and its default.
pub const FULL_EXAMPLE: &str = include_str!("../node.full.toml");

/// How the data key of the store is unlocked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unlock {
    /// A file of 32 random bytes in hexadecimal.
    KeyFile(PathBuf),
    /// A file that holds a passphrase, for instance a credential handed over by systemd.
    Passphrase(PathBuf),
}

impl Unlock {
    /// The file that holds the secret.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::KeyFile(path) | Self::Passphrase(path) => path,
        }
    }
}

/// Certificates of the outer channel, all PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tls {
    /// Certificate authority of the cluster.
    pub ca: PathBuf,
    /// Revocation list of that authority.
    pub crl: PathBuf,
    /// This node's certificate chain.
    pub cert: PathBuf,
    /// This node's private key; mode 0600.
    pub key: PathBuf,
}

/// Bounds on what the coordinator can make this node do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Intents that may be announced and not yet expired.
    pub live_intents: u64,
    /// Nonce pairs kept per key.
    pub nonces_per_key: u64,
    /// Keys, pending ones included.
    pub keys: u64,
    /// Key generations under way at one time.
    pub dkg_sessions: u64,
    /// Reshares under way at one time.
    pub reshare_sessions: u64,
    /// Calls worked on at one time; further ones are answered `unavailable`.
    pub concurrent_calls: u64,
    /// How long one call may take, in milliseconds.
    pub call_deadline_ms: u64,
    /// The longest key generation, in milliseconds.
    pub dkg_deadline_ms: u64,
    /// Pool entries that are kept ready for every set of ECDSA signers with this node; 0 makes them on demand only.
    pub pool_entries: u64,
    /// Below this many free bytes on the store's file system nothing new is reserved.
    pub free_bytes: u64,
}

/// When the wall clock is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClockLimits {
    /// How far the wall clock may fall behind the highest time ever seen, in milliseconds.
    pub backward_ms: u64,
    /// How far the wall clock may run ahead of the time that really passed, in milliseconds.
    pub forward_ms: u64,
}

/// How the connection to the coordinator is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkTimes {
    /// First pause before another attempt to connect, in milliseconds.
    pub retry_first_ms: u64,
    /// Longest pause, in milliseconds.
    pub retry_max_ms: u64,
    /// Pause between two unasked status frames, in milliseconds.
    pub heartbeat_ms: u64,
}

/// A validated `node.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Party index of this node, 1..=32.
    pub index: u16,
    /// The public description of the cluster.
    pub cluster: PathBuf,
    /// The store.
    pub store: PathBuf,
    /// Filter for the log, `info` by default.
    pub log: String,
    /// Name and public key in hexadecimal, with a space between, of the one key whose import this node takes part in; empty for none. Nobody but this node's
    /// operator can say so: otherwise whoever has the coordinator could pass a key of his own off as a new one.
    pub import: String,
    /// The Ed25519 keys of this node's operators, two of whom must consent before a share leaves; empty for never. Nobody but them can
    /// say so, in this file.
    pub export_operators: Vec<IdentityPublic>,
    /// The folder with their consents.
    pub export_consents: PathBuf,
    /// How the store is unlocked.
    pub unlock: Unlock,
    /// Certificates of the outer channel.
    pub tls: Tls,
    /// Bounds.
    pub limits: Limits,
    /// Clock bounds.
    pub clock: ClockLimits,
    /// Connection timing.
    pub link: LinkTimes,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            live_intents: 100_000,
            nonces_per_key: 1_024,
            keys: 2_000,
            dkg_sessions: 4,
            reshare_sessions: 32,
            concurrent_calls: 256,
            call_deadline_ms: 10_000,
            dkg_deadline_ms: 600_000,
            pool_entries: 32,
            free_bytes: 64 << 20,
        }
    }
}

impl Default for ClockLimits {
    fn default() -> Self {
        Self {
            backward_ms: 2_000,
            forward_ms: 3_600_000,
        }
    }
}

impl Default for LinkTimes {
    fn default() -> Self {
        Self {
            retry_first_ms: 200,
            retry_max_ms: 1_000,
            heartbeat_ms: 5_000,
        }
    }
}

/// What is said of operators that are none.
const NOT_OPERATORS: &str = "export_operators must be empty, or at least two different Ed25519 public keys of 64 hexadecimal digits with spaces between them";

/// None at all, or at least two different keys.
fn read_operators(text: &str) -> Option<Vec<IdentityPublic>> {
    let read = |word: &str| {
        let mut bytes = [0; 32];
        hex::decode_to_slice(word, &mut bytes).ok()?;
        IdentityPublic::from_bytes(&bytes).ok()
    };
    let keys: Vec<IdentityPublic> = text
        .split_whitespace()
        .map(read)
        .collect::<Option<Vec<_>>>()?;
    let different: std::collections::BTreeSet<&[u8; 32]> =
        keys.iter().map(IdentityPublic::as_bytes).collect();
    (different.len() == keys.len() && keys.len() != 1).then_some(keys)
}

impl Config {
    /// Reads and validates a configuration file, the modes of the files it names included.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem found.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = read_text(path).map_err(|problem| ConfigError::new(path, vec![problem]))?;
        let base = path.parent().unwrap_or_else(|| Path::new(""));
        let (config, mut problems) = Self::parse(&text, base);
        if let Some(config) = config {
            config.check_files(&mut problems);
            if problems.is_empty() {
                return Ok(config);
            }
        }
        Err(ConfigError::new(path, problems))
    }

    /// Reads the text of a configuration without looking at the file system; `base` is where relative paths start.
    ///
    /// A configuration is returned only if the list of problems is empty.
    #[must_use]
    pub fn parse(text: &str, base: &Path) -> (Option<Self>, Vec<Problem>) {
        let mut reader = Reader::new(text);
        let config = Self::read(&mut reader, base);
        let problems = reader.finish();
        (config.filter(|_| problems.is_empty()), problems)
    }

    fn read(reader: &mut Reader<'_>, base: &Path) -> Option<Self> {
        let path = |text: String| base.join(text);
        let schema = reader.integer("", "schema", None, 1, 1);
        let index = reader.integer("", "index", None, 1, 32);
        let cluster = reader.text("", "cluster", None).map(path);
        let store = reader.text("", "store", Some("node.db")).map(path);
        let log = reader.text("", "log", Some("info"));
        let import = reader.text("", "import", Some(""));
        let operators = reader.text("", "export_operators", Some(""));
        let operators = operators.and_then(|text| {
            let read = read_operators(&text);
            if read.is_none() {
                reader.complain("", "export_operators", NOT_OPERATORS);
            }
            read
        });
        let consents = reader
            .text("", "export_consents", Some("consents"))
            .map(path);
        let kind = reader.choice("unlock", "kind", &["key-file", "passphrase"]);
        let secret = reader.text("unlock", "path", None).map(path);
        let ca = reader.text("tls", "ca", None).map(path);
        let crl = reader.text("tls", "crl", None).map(path);
        let cert = reader.text("tls", "cert", None).map(path);
        let key = reader.text("tls", "key", None).map(path);
        let limits = Self::read_limits(reader);
        let clock = Self::read_clock(reader);
        let link = Self::read_link(reader);
        schema?;
        let secret = secret?;
        Some(Self {
            index: u16::try_from(index?).ok()?,
            cluster: cluster?,
            store: store?,
            log: log?,
            import: import?,
            export_operators: operators?,
            export_consents: consents?,
            unlock: match kind?.as_str() {
                "key-file" => Unlock::KeyFile(secret),
                _ => Unlock::Passphrase(secret),
            },
            tls: Tls {
                ca: ca?,
                crl: crl?,
                cert: cert?,
                key: key?,
            },
            limits: limits?,
            clock: clock?,
            link: link?,
        })
    }

    fn read_limits(reader: &mut Reader<'_>) -> Option<Limits> {
        let default = Limits::default();
        let mut count = |key, default, max| reader.integer("limits", key, Some(default), 1, max);
        let live_intents = count("live_intents", default.live_intents, 10_000_000);
        let nonces_per_key = count("nonces_per_key", default.nonces_per_key, 65_536);
        let keys = count("keys", default.keys, 4_000);
        let dkg_sessions = count("dkg_sessions", default.dkg_sessions, 64);
        let reshare_sessions = count("reshare_sessions", default.reshare_sessions, 256);
        let concurrent_calls = count("concurrent_calls", default.concurrent_calls, 65_536);
        let call = reader.duration(
            "limits",
            "call_deadline",
            default.call_deadline_ms,
            100,
            600_000,
        );
        let dkg = reader.duration(
            "limits",
            "dkg_deadline",
            default.dkg_deadline_ms,
            1_000,
            86_400_000,
        );
        let pool_entries = reader.integer(
            "limits",
            "pool_entries",
            Some(default.pool_entries),
            0,
            1_024,
        );
        let free_bytes = reader.size("limits", "free_space", default.free_bytes, 1 << 50);
        Some(Limits {
            live_intents: live_intents?,
            nonces_per_key: nonces_per_key?,
            keys: keys?,
            dkg_sessions: dkg_sessions?,
            reshare_sessions: reshare_sessions?,
            concurrent_calls: concurrent_calls?,
            call_deadline_ms: call?,
            dkg_deadline_ms: dkg?,
            pool_entries: pool_entries?,
            free_bytes: free_bytes?,
        })
    }

    fn read_clock(reader: &mut Reader<'_>) -> Option<ClockLimits> {
        let default = ClockLimits::default();
        let backward = reader.duration(
            "clock",
            "backward_tolerance",
            default.backward_ms,
            0,
            60_000,
        );
        let forward = reader.duration(
            "clock",
            "forward_jump",
            default.forward_ms,
            1_000,
            86_400_000,
        );
        Some(ClockLimits {
            backward_ms: backward?,
            forward_ms: forward?,
        })
    }

    fn read_link(reader: &mut Reader<'_>) -> Option<LinkTimes> {
        let default = LinkTimes::default();
        let first = reader.duration("link", "retry_first", default.retry_first_ms, 10, 60_000);
        let max = reader.duration("link", "retry_max", default.retry_max_ms, 10, 600_000);
        let heartbeat = reader.duration("link", "heartbeat", default.heartbeat_ms, 100, 600_000);
        let times = LinkTimes {
            retry_first_ms: first?,
            retry_max_ms: max?,
            heartbeat_ms: heartbeat?,
        };
        if times.retry_max_ms < times.retry_first_ms {
            reader.complain(
                "link",
                "retry_max",
                "link.retry_max must not be below link.retry_first",
            );
        }
        Some(times)
    }

    fn check_files(&self, problems: &mut Vec<Problem>) {
        for path in [self.unlock.path(), &self.tls.key] {
            if let Err(message) = check_secret_file(path) {
                problems.push(Problem::of_file(message));
            }
        }
        for path in [&self.cluster, &self.tls.ca, &self.tls.crl, &self.tls.cert] {
            if let Err(error) = std::fs::metadata(path) {
                let message = format!("{}: {error}", path.display());
                problems.push(Problem::of_file(message));
            }
        }
    }
}
