//! `coordinator.toml`: what a coordinator is told by its operator.
//!
//! Unknown keys are refused and every problem of a file is reported at once with its line. Relative paths are relative
//! to the file that names them.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use policy::time::parse_utc;
pub use proto::settings::{ConfigError, Problem};
use proto::settings::{Reader, check_secret_file, read_text};

/// The annotated file that is shipped: every option, its unit, its bounds and its default.
pub const FULL_EXAMPLE: &str = include_str!("../coordinator.full.toml");

/// Certificates of the outer channel, all PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tls {
    /// Certificate authority of the cluster.
    pub ca: PathBuf,
    /// Revocation list of that authority.
    pub crl: PathBuf,
    /// This coordinator's certificate chain.
    pub cert: PathBuf,
    /// Its private key; mode 0600.
    pub key: PathBuf,
}

/// Bounds on what callers can make this coordinator do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Calls per second and client certificate, sustained.
    pub requests_per_second: u32,
    /// Calls per client certificate, at once.
    pub burst: u32,
    /// Requests that have not ended.
    pub live_requests: usize,
    /// Calls answered at one time.
    pub concurrent_calls: usize,
    /// Open connections, nodes included.
    pub connections: usize,
    /// Open `WatchRequest` streams.
    pub watchers: usize,
    /// How long `Submit` waits for a signature that needs nobody.
    pub submit_wait: Duration,
    /// The longest time one call may take.
    pub call_timeout: Duration,
    /// How long signatures under way may take at shutdown.
    pub drain: Duration,
}

/// Timing of signatures and of nonce pools.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Signing {
    /// When a node without an answer is passed over.
    pub answer_timeout: Duration,
    /// When another quorum is tried besides one that is late.
    pub late_after: Duration,
    /// First pause between tries, in milliseconds.
    pub retry_first_ms: u64,
    /// Longest pause between tries, in milliseconds.
    pub retry_max_ms: u64,
    /// Unused commitments below which more are fetched, per key and node.
    pub nonces_low: usize,
    /// Unused commitments kept, per key and node.
    pub nonces_high: usize,
    /// Signatures that did not verify are forgotten if the last one of their set is older, Unix milliseconds: what an operator has
    /// looked into and wants to try again.
    pub forgive_failures_before_ms: u64,
}

/// Timing and bounds of the links to nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Links {
    /// When an unproved link is dropped.
    pub hello_timeout: Duration,
    /// Pause between two status questions.
    pub heartbeat: Duration,
    /// When a silent node is disconnected.
    pub heartbeat_timeout: Duration,
    /// Frames waiting for one node.
    pub queue: usize,
    /// The longest key generation.
    pub dkg_timeout: Duration,
}

/// A validated `coordinator.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The public description of the cluster.
    pub cluster: PathBuf,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The SQLite file.
    pub store: PathBuf,
    /// Filter for the log.
    pub log: String,
    /// Certificates.
    pub tls: Tls,
    /// Bounds for callers.
    pub limits: Limits,
    /// Signatures.
    pub signing: Signing,
    /// Links to nodes.
    pub links: Links,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_per_second: 200,
            burst: 400,
            live_requests: 10_000,
            concurrent_calls: 1_024,
            connections: 256,
            watchers: 1_024,
            submit_wait: Duration::from_secs(5),
            call_timeout: Duration::from_secs(30),
            drain: Duration::from_secs(10),
        }
    }
}

impl Default for Signing {
    fn default() -> Self {
        Self {
            answer_timeout: Duration::from_secs(2),
            late_after: Duration::from_millis(400),
            retry_first_ms: 250,
            retry_max_ms: 10_000,
            nonces_low: 16,
            nonces_high: 64,
            forgive_failures_before_ms: 0,
        }
    }
}

impl Default for Links {
    fn default() -> Self {
        Self {
            hello_timeout: Duration::from_secs(5),
            heartbeat: Duration::from_secs(2),
            heartbeat_timeout: Duration::from_secs(5),
            queue: 1_024,
            dkg_timeout: Duration::from_secs(120),
        }
    }
}

impl Config {
    /// Reads and validates a configuration file, and that the files it names can be used.
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
        let config = read(&mut reader, base);
        let problems = reader.finish();
        (config.filter(|_| problems.is_empty()), problems)
    }

    fn check_files(&self, problems: &mut Vec<Problem>) {
        if let Err(message) = check_secret_file(&self.tls.key) {
            problems.push(Problem::of_file(message));
        }
        for path in [&self.cluster, &self.tls.ca, &self.tls.crl, &self.tls.cert] {
            if let Err(error) = std::fs::metadata(path) {
                problems.push(Problem::of_file(format!("{}: {error}", path.display())));
            }
        }
    }
}

fn read(reader: &mut Reader<'_>, base: &Path) -> Option<Config> {
    let path = |text: String| base.join(text);
    let schema = reader.integer("", "schema", None, 1, 1);
    let cluster = reader.text("", "cluster", None).map(path);
    let listen = read_listen(reader);
    let store = reader.text("", "store", Some("coordinator.db")).map(path);
    let log = reader.text("", "log", Some("info"));
    let ca = reader.text("tls", "ca", None).map(path);
    let crl = reader.text("tls", "crl", None).map(path);
    let cert = reader.text("tls", "cert", None).map(path);
    let key = reader.text("tls", "key", None).map(path);
    let limits = read_limits(reader);
    let signing = read_signing(reader);
    let links = read_links(reader);
    schema?;
    Some(Config {
        cluster: cluster?,
        listen: listen?,
        store: store?,
        log: log?,
        tls: Tls {
            ca: ca?,
            crl: crl?,
            cert: cert?,
            key: key?,
        },
        limits: limits?,
        signing: signing?,
        links: links?,
    })
}

fn read_listen(reader: &mut Reader<'_>) -> Option<SocketAddr> {
    let text = reader.text("", "listen", Some("127.0.0.1:7443"))?;
    let address = text.parse().ok();
    if address.is_none() {
        let message = "listen must be an address and a port, such as \"127.0.0.1:7443\"";
        reader.complain("", "listen", message);
    }
    address
}

fn count(
    reader: &mut Reader<'_>,
    table: &str,
    key: &str,
    default: usize,
    min: u64,
    max: u64,
) -> Option<usize> {
    let default = u64::try_from(default).ok();
    let value = reader.integer(table, key, default, min, max)?;
    usize::try_from(value).ok()
}

fn rate(reader: &mut Reader<'_>, key: &str, default: u32) -> Option<u32> {
    let value = reader.integer("limits", key, Some(u64::from(default)), 1, 1_000_000)?;
    u32::try_from(value).ok()
}

fn millis(
    reader: &mut Reader<'_>,
    name: (&str, &str),
    default: Duration,
    min: u64,
    max: u64,
) -> Option<Duration> {
    let default = u64::try_from(default.as_millis()).ok()?;
    let value = reader.duration(name.0, name.1, default, min, max)?;
    Some(Duration::from_millis(value))
}

fn read_limits(reader: &mut Reader<'_>) -> Option<Limits> {
    let base = Limits::default();
    let requests_per_second = rate(reader, "requests_per_second", base.requests_per_second);
    let burst = rate(reader, "burst", base.burst);
    let live = count(
        reader,
        "limits",
        "live_requests",
        base.live_requests,
        1,
        1_000_000,
    );
    let calls = count(
        reader,
        "limits",
        "concurrent_calls",
        base.concurrent_calls,
        1,
        65_536,
    );
    let connections = count(reader, "limits", "connections", base.connections, 4, 65_536);
    let watchers = count(reader, "limits", "watchers", base.watchers, 1, 65_536);
    let wait = millis(
        reader,
        ("limits", "submit_wait"),
        base.submit_wait,
        0,
        60_000,
    );
    let call = millis(
        reader,
        ("limits", "call_timeout"),
        base.call_timeout,
        1_000,
        600_000,
    );
    let drain = millis(reader, ("limits", "drain"), base.drain, 0, 600_000);
    Some(Limits {
        requests_per_second: requests_per_second?,
        burst: burst?,
        live_requests: live?,
        concurrent_calls: calls?,
        connections: connections?,
        watchers: watchers?,
        submit_wait: wait?,
        call_timeout: call?,
        drain: drain?,
    })
}

fn read_signing(reader: &mut Reader<'_>) -> Option<Signing> {
    let base = Signing::default();
    let answer = millis(
        reader,
        ("signing", "answer_timeout"),
        base.answer_timeout,
        50,
        60_000,
    );
    let late = millis(
        reader,
        ("signing", "late_after"),
        base.late_after,
        10,
        60_000,
    );
    let first = reader.duration("signing", "retry_first", base.retry_first_ms, 10, 60_000);
    let max = reader.duration("signing", "retry_max", base.retry_max_ms, 10, 600_000);
    let low = count(reader, "signing", "nonces_low", base.nonces_low, 1, 4_096);
    let high = count(reader, "signing", "nonces_high", base.nonces_high, 2, 8_192);
    let forgive = reader.text(
        "signing",
        "forgive_failures_before",
        Some("1970-01-01T00:00:00Z"),
    );
    let forgive_failures_before_ms = match parse_utc(&forgive?) {
        Ok(instant_ms) => instant_ms,
        Err(error) => {
            let message = format!("signing.forgive_failures_before: {error}");
            reader.complain("signing", "forgive_failures_before", message);
            0
        }
    };
    let signing = Signing {
        forgive_failures_before_ms,
        answer_timeout: answer?,
        late_after: late?,
        retry_first_ms: first?,
        retry_max_ms: max?,
        nonces_low: low?,
        nonces_high: high?,
    };
    if signing.late_after > signing.answer_timeout {
        let message = "signing.late_after must not be above signing.answer_timeout";
        reader.complain("signing", "late_after", message);
    }
    if signing.retry_max_ms < signing.retry_first_ms {
        let message = "signing.retry_max must not be below signing.retry_first";
        reader.complain("signing", "retry_max", message);
    }
    if signing.nonces_high <= signing.nonces_low {
        let message = "signing.nonces_high must be above signing.nonces_low";
        reader.complain("signing", "nonces_high", message);
    }
    Some(signing)
}

fn read_links(reader: &mut Reader<'_>) -> Option<Links> {
    let base = Links::default();
    let hello = millis(
        reader,
        ("links", "hello_timeout"),
        base.hello_timeout,
        100,
        60_000,
    );
    let beat = millis(reader, ("links", "heartbeat"), base.heartbeat, 100, 60_000);
    let name = ("links", "heartbeat_timeout");
    let timeout = millis(reader, name, base.heartbeat_timeout, 100, 300_000);
    let queue = count(reader, "links", "queue", base.queue, 16, 65_536);
    let dkg = millis(
        reader,
        ("links", "dkg_timeout"),
        base.dkg_timeout,
        1_000,
        3_600_000,
    );
    Some(Links {
        hello_timeout: hello?,
        heartbeat: beat?,
        heartbeat_timeout: timeout?,
        queue: queue?,
        dkg_timeout: dkg?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "schema = 1\ncluster = \"c.toml\"\n[tls]\nca = \"a\"\ncrl = \"b\"\ncert = \"c\"\nkey = \"d\"\n";

    #[test]
    fn the_shipped_example_parses_and_equals_the_defaults() {
        let (full, problems) = Config::parse(FULL_EXAMPLE, Path::new("/d"));
        assert_eq!(problems, []);
        let full = full.expect("no problems");
        let (least, _) = Config::parse(LEAST, Path::new("/d"));
        let least = least.expect("no problems");
        assert_eq!(full.limits, Limits::default());
        assert_eq!(full.signing, Signing::default());
        assert_eq!(full.links, Links::default());
        assert_eq!(
            Config {
                tls: least.tls.clone(),
                cluster: least.cluster.clone(),
                ..full
            },
            least
        );
        assert_eq!(least.cluster, Path::new("/d/c.toml"));
        assert_eq!(least.store, Path::new("/d/coordinator.db"));
    }

    #[test]
    fn the_shipped_example_names_every_option() {
        let dumped = format!("{:?}", Config::parse(FULL_EXAMPLE, Path::new("")).0);
        for field in dumped
            .split([' ', '{', ','])
            .filter_map(|word| word.strip_suffix(':'))
        {
            let key = field.strip_suffix("_ms").unwrap_or(field);
            let named = FULL_EXAMPLE.lines().any(|line| {
                line.starts_with(&format!("{key} =")) || line.starts_with(&format!("[{key}]"))
            });
            assert!(named, "{key} is not in the example");
        }
    }

    #[test]
    fn all_problems_come_at_once_with_their_lines() {
        let text = "schema = 2\ncluster = \"c.toml\"\nlisten = \"here\"\nextra = 1\n[tls]\nca = \"a\"\ncrl = \"b\"\ncert = \"c\"\n[limits]\nburst = 0\ndrain = 3\n[signing]\nnonces_low = 9\nnonces_high = 9\n[what]\nx = 1\n";
        let (config, problems) = Config::parse(text, Path::new(""));
        assert_eq!(config, None);
        let found: Vec<(usize, &str)> = problems
            .iter()
            .map(|problem| (problem.line, problem.message.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                (1, "schema must be a whole number from 1 to 1"),
                (
                    3,
                    "listen must be an address and a port, such as \"127.0.0.1:7443\""
                ),
                (4, "unknown key extra"),
                (5, "tls.key is missing"),
                (10, "limits.burst must be a whole number from 1 to 1000000"),
                (
                    11,
                    "limits.drain must be a duration with a unit, such as \"500ms\", \"5s\", \"10m\" or \"1h\""
                ),
                (14, "signing.nonces_high must be above signing.nonces_low"),
                (15, "unknown table [what]"),
            ]
        );
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("folder");
        for name in ["c.toml", "a", "b", "c", "d"] {
            std::fs::write(folder.path().join(name), "").expect("file");
        }
        let file = folder.path().join("coordinator.toml");
        std::fs::write(&file, LEAST).expect("file");
        let key = folder.path().join("d");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("mode");
        let error = Config::load(&file).expect_err("mode 0644");
        assert!(error.to_string().contains("mode 0644"), "{error}");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("mode");
        assert!(Config::load(&file).is_ok());
    }
}
