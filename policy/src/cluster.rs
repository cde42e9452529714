//! `cluster.toml`: who the nodes are, where the coordinator is, and whose signatures the first policy needs.
//!
//! The file is public and the same everywhere. Whoever can change it on a machine decides whom that machine trusts, so
//! operators compare it by hand when they set a cluster up.
//!
//! ```toml
//! schema = 1
//! cluster_id = "c-01"
//! threshold = 2              # more than half of the nodes, unless minority_threshold = true
//!
//! [coordinator]
//! addr = "127.0.0.1:7443"
//! server_name = "coordinator.c-01"
//! pins = ["<64 hex digits: SHA-256 of the public key of its TLS certificate>"]
//!
//! [[node]]
//! index = 1
//! identity = "<64 hex digits: Ed25519 key>"
//! exchange = "<64 hex digits: ristretto255 key>"
//!
//! [genesis]
//! min = 1
//!
//! [[genesis.governor]]
//! person = "alice"
//! credential = "laptop"
//! kind = "ed25519"
//! key = "<64 hex digits>"
//! ```

use core::fmt::{self, Write as _};
use std::collections::BTreeSet;

use toml::de::DeTable;

use crate::credential::CredentialKey;
use crate::document::Problem;
use crate::document::problem::Problems;
use crate::document::reader::{Table, Value};
use crate::id::{ClusterId, CredentialId, PersonId};

/// The largest file, in bytes.
pub const MAX_FILE: usize = 256 * 1024;
/// The most nodes of a cluster.
pub const MAX_NODES: usize = 32;
/// The least threshold: below it one node alone could sign.
pub const MIN_THRESHOLD: u16 = 2;

/// The cluster as everybody knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterFile {
    /// Its name; every intent, approval and policy carries it.
    pub cluster_id: ClusterId,
    /// How many nodes must sign, 2 to the number of nodes.
    pub threshold: u16,
    /// Whether the threshold may be half of the nodes or fewer. Written only where people decided so: two quorums without a
    /// common node can then sign at the same time, and a minority of hostile nodes has the key.
    pub minority_threshold: bool,
    /// Where nodes and clients connect.
    pub coordinator: CoordinatorEntry,
    /// The nodes in ascending order of their indices, which are 1, 2, and so on.
    pub nodes: Vec<NodeEntry>,
    /// Who signs the first policy.
    pub genesis: GenesisEntry,
}

/// Where the coordinator is and how it is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoordinatorEntry {
    /// `host:port` to dial.
    pub addr: String,
    /// The name its TLS certificate must carry.
    pub server_name: String,
    /// SHA-256 hashes of the public keys (SPKI) its certificate may have, at least one, 32 bytes each.
    pub pins: Vec<[u8; 32]>,
}

/// One signer node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeEntry {
    /// Its party index, from 1.
    pub index: u16,
    /// Its Ed25519 identity key, 32 bytes.
    pub identity: [u8; 32],
    /// Its ristretto255 exchange key, 32 bytes, as they stand: decoding the point is for those who use it.
    pub exchange: [u8; 32],
}

/// Whose signatures make the first policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenesisEntry {
    /// How many distinct people must sign.
    pub min: u32,
    /// The people and their keys; no key twice.
    pub governors: Vec<Governor>,
}

/// One credential of one person who may sign the first policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Governor {
    /// The person.
    pub person: PersonId,
    /// The name of the credential.
    pub credential: CredentialId,
    /// Its public key.
    pub key: CredentialKey,
}

/// A cluster file that is refused as a whole, with every fault that was found, in the order of lines.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ClusterError {
    /// The faults; never empty.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ClusterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cluster file refused")?;
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl ClusterFile {
    /// Reads a file; total on any bytes.
    ///
    /// # Errors
    /// [`ClusterError`] with all the faults at once: what is not TOML, unknown and missing keys, values out of range,
    /// indices with gaps, keys that stand twice.
    pub fn parse(bytes: &[u8]) -> Result<Self, ClusterError> {
        if bytes.len() > MAX_FILE {
            return Err(whole(format!(
                "file has {} bytes; at most {MAX_FILE} are allowed",
                bytes.len()
            )));
        }
        let text = core::str::from_utf8(bytes).map_err(|error| {
            whole(format!(
                "file is not UTF-8 from byte {} on",
                error.valid_up_to()
            ))
        })?;
        let mut problems = Problems::new(text);
        problems.add_deceptive();
        let (root, errors) = DeTable::parse_recoverable(text);
        let broken = !errors.is_empty();
        for error in errors {
            let offset = error.span().map_or(0, |span| span.start);
            problems.add(offset, "", format!("not valid TOML: {}", error.message()));
        }
        // What could be recovered from broken text would only raise faults that are not there.
        let file = if broken {
            None
        } else {
            read(Table::root(root.get_ref()), &mut problems)
        };
        match file {
            Some(file) if problems.is_empty() => Ok(file),
            _ => Err(refused(problems)),
        }
    }

    /// The text that [`ClusterFile::parse`] reads back to the same value.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut out);
        out
    }

    /// Every text written here is of a form that holds no quote, backslash or control character.
    fn write(&self, out: &mut String) -> fmt::Result {
        writeln!(
            out,
            "schema = 1\ncluster_id = \"{}\"\nthreshold = {}",
            self.cluster_id, self.threshold
        )?;
        if self.minority_threshold {
            writeln!(out, "minority_threshold = true")?;
        }
        let CoordinatorEntry {
            addr,
            server_name,
            pins,
        } = &self.coordinator;
        let pins: Vec<String> = pins
            .iter()
            .map(|pin| format!("\"{}\"", hex::encode(pin)))
            .collect();
        writeln!(
            out,
            "\n[coordinator]\naddr = \"{addr}\"\nserver_name = \"{server_name}\"\npins = [{}]",
            pins.join(", ")
        )?;
        for node in &self.nodes {
            let (identity, exchange) = (hex::encode(node.identity), hex::encode(node.exchange));
            writeln!(
                out,
                "\n[[node]]\nindex = {}\nidentity = \"{identity}\"\nexchange = \"{exchange}\"",
                node.index
            )?;
        }
        writeln!(out, "\n[genesis]\nmin = {}", self.genesis.min)?;
        for Governor {
            person,
            credential,
            key,
        } in &self.genesis.governors
        {
            writeln!(
                out,
                "\n[[genesis.governor]]\nperson = \"{person}\"\ncredential = \"{credential}\""
            )?;
            writeln!(out, "kind = \"{}\"\nkey = \"{key}\"", key.kind())?;
        }
        Ok(())
    }

    /// The node with this index.
    #[must_use]
    pub fn node(&self, index: u16) -> Option<&NodeEntry> {
        self.nodes.iter().find(|node| node.index == index)
    }
}

fn whole(message: String) -> ClusterError {
    ClusterError {
        problems: vec![Problem {
            line: 1,
            column: 1,
            path: String::new(),
            message,
        }],
    }
}

fn refused(problems: Problems<'_>) -> ClusterError {
    if problems.is_empty() {
        return whole("file could not be read".to_owned());
    }
    ClusterError {
        problems: problems.into_error().problems,
    }
}

fn read(mut table: Table<'_, '_>, problems: &mut Problems<'_>) -> Option<ClusterFile> {
    let schema = table.required("schema", problems, |v, p| match v.number(p)? {
        1 => Some(()),
        _ => v.fault("schema must be 1", p),
    });
    let cluster_id = table.required("cluster_id", problems, |v, p| v.parsed(p, ClusterId::parse));
    let threshold = table.required("threshold", problems, |v, p| {
        Some((v.number(p)?, v.clone()))
    });
    let minority_threshold = table
        .optional("minority_threshold", problems, |v, p| v.boolean(p))
        .map(|said| said.unwrap_or(false));
    let coordinator = table.required("coordinator", problems, read_coordinator);
    let nodes = table.required("node", problems, read_nodes);
    let genesis = table.required("genesis", problems, read_genesis);
    table.finish(problems);
    let threshold = match (threshold, &nodes) {
        (Some((number, value)), Some(nodes)) => match u16::try_from(number) {
            Ok(number) if number >= MIN_THRESHOLD && usize::from(number) <= nodes.len() => {
                if minority_threshold == Some(true) || is_majority(number, nodes.len()) {
                    Some(number)
                } else {
                    value.fault(
                        format!(
                            "threshold must be more than half of the {} nodes, or minority_threshold = true must say that fewer are meant",
                            nodes.len()
                        ),
                        problems,
                    )
                }
            }
            _ => value.fault(
                format!(
                    "threshold must be {MIN_THRESHOLD} to the number of nodes, {}",
                    nodes.len()
                ),
                problems,
            ),
        },
        _ => None,
    };
    schema?;
    Some(ClusterFile {
        cluster_id: cluster_id?,
        threshold: threshold?,
        minority_threshold: minority_threshold?,
        coordinator: coordinator?,
        nodes: nodes?,
        genesis: genesis?,
    })
}

/// Whether any two quorums have a node in common.
#[must_use]
pub fn is_majority(threshold: u16, nodes: usize) -> bool {
    usize::from(threshold) > nodes / 2
}

fn read_coordinator(
    value: &Value<'_, '_>,
    problems: &mut Problems<'_>,
) -> Option<CoordinatorEntry> {
    let mut table = value.table(problems)?;
    let addr = table.required("addr", problems, |v, p| v.parsed(p, parse_addr));
    let server_name = table.required("server_name", problems, |v, p| {
        v.parsed(p, parse_server_name)
    });
    let pins = table.required("pins", problems, |v, p| {
        let mut seen = BTreeSet::new();
        let pins = v.list(p, |item, p| {
            let pin = item.parsed(p, parse_hex32)?;
            if seen.insert(pin) {
                Some(pin)
            } else {
                item.fault("this pin is listed twice", p)
            }
        })?;
        if pins.is_empty() {
            v.fault("at least one pin is needed", p)
        } else {
            Some(pins)
        }
    });
    table.finish(problems);
    Some(CoordinatorEntry {
        addr: addr?,
        server_name: server_name?,
        pins: pins?,
    })
}

fn read_nodes(value: &Value<'_, '_>, problems: &mut Problems<'_>) -> Option<Vec<NodeEntry>> {
    let mut indices = BTreeSet::new();
    let mut keys = BTreeSet::new();
    let nodes = value.list(problems, |item, problems| {
        let mut table = item.table(problems)?;
        let index = table.required("index", problems, |v, p| {
            let index = u16::try_from(v.number(p)?)
                .ok()
                .filter(|index| (1..=MAX_NODES).contains(&usize::from(*index)));
            match index {
                Some(index) if indices.insert(index) => Some(index),
                Some(index) => v.fault(format!("index {index} is given twice"), p),
                None => v.fault(format!("index must be 1 to {MAX_NODES}"), p),
            }
        });
        let identity = table.required("identity", problems, |v, p| {
            let key = v.parsed(p, |text| CredentialKey::parse("ed25519", text))?;
            let bytes = v.parsed(p, parse_hex32)?;
            if keys.insert(key.material()) {
                Some(bytes)
            } else {
                v.fault("this key is another node's too", p)
            }
        });
        let exchange = table.required("exchange", problems, |v, p| {
            let bytes = v.parsed(p, parse_hex32)?;
            let fresh = keys.insert(format!("exchange {}", hex::encode(bytes)));
            if fresh {
                Some(bytes)
            } else {
                v.fault("this key is another node's too", p)
            }
        });
        table.finish(problems);
        Some(NodeEntry {
            index: index?,
            identity: identity?,
            exchange: exchange?,
        })
    });
    let mut nodes = nodes?;
    nodes.sort_by_key(|node| node.index);
    let without_gap = nodes
        .iter()
        .zip(1_u16..)
        .all(|(node, due)| node.index == due);
    if nodes.is_empty() || !without_gap {
        return value.fault(
            "nodes must have the indices 1, 2, and so on without a gap",
            problems,
        );
    }
    Some(nodes)
}

fn read_genesis(value: &Value<'_, '_>, problems: &mut Problems<'_>) -> Option<GenesisEntry> {
    let mut table = value.table(problems)?;
    let min = table.required("min", problems, |v, p| Some((v.number(p)?, v.clone())));
    let mut names = BTreeSet::new();
    let mut keys = BTreeSet::new();
    let governors = table.required("governor", problems, |v, p| {
        v.list(p, |item, problems| {
            let governor = read_governor(item, problems)?;
            if !names.insert((governor.person.clone(), governor.credential.clone())) {
                return item.fault("this credential of this person is listed twice", problems);
            }
            if !keys.insert(governor.key.material()) {
                return item.fault("this key is another credential's too", problems);
            }
            Some(governor)
        })
    });
    table.finish(problems);
    let (number, place) = min?;
    let governors = governors?;
    let people: BTreeSet<&PersonId> = governors.iter().map(|governor| &governor.person).collect();
    if number == 0 || usize::try_from(number).is_ok_and(|number| number > people.len()) {
        return place.fault(
            format!(
                "min must be 1 to the number of distinct people, {}",
                people.len()
            ),
            problems,
        );
    }
    Some(GenesisEntry {
        min: number,
        governors,
    })
}

fn read_governor(value: &Value<'_, '_>, problems: &mut Problems<'_>) -> Option<Governor> {
    let mut table = value.table(problems)?;
    let person = table.required("person", problems, |v, p| v.parsed(p, PersonId::parse));
    let credential = table.required("credential", problems, |v, p| {
        v.parsed(p, CredentialId::parse)
    });
    let kind = table.required("kind", problems, |v, p| v.text(p));
    let key = table.required("key", problems, |v, p| {
        let kind = kind?;
        v.parsed(p, |text| CredentialKey::parse(kind, text))
    });
    table.finish(problems);
    Some(Governor {
        person: person?,
        credential: credential?,
        key: key?,
    })
}

fn parse_hex32(text: &str) -> Result<[u8; 32], &'static str> {
    let mut bytes = [0; 32];
    match hex::decode_to_slice(text, &mut bytes) {
        Ok(()) if hex::encode(bytes) == text => Ok(bytes),
        _ => Err("must be 64 lower-case hexadecimal digits"),
    }
}

/// `host:port`, the host a name or an IPv4 address, or an IPv6 address in brackets; the port not zero.
fn parse_addr(text: &str) -> Result<String, &'static str> {
    let wanted = "must be host:port, such as \"127.0.0.1:7443\" or \"[::1]:7443\"";
    let (host, port) = text.rsplit_once(':').ok_or(wanted)?;
    let port_is_good = port
        .parse::<u16>()
        .is_ok_and(|number| number != 0 && number.to_string() == port);
    let is_ipv6 = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|inner| inner.parse::<core::net::Ipv6Addr>().is_ok());
    if port_is_good && (is_ipv6 || is_host_name(host)) {
        Ok(text.to_owned())
    } else {
        Err(wanted)
    }
}

fn parse_server_name(text: &str) -> Result<String, &'static str> {
    if is_host_name(text) {
        Ok(text.to_owned())
    } else {
        Err("must be a host name, such as \"coordinator.example\"")
    }
}

fn is_host_name(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|label| {
            let plain = label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
            (1..=63).contains(&label.len()) && plain
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::MAX_PROBLEMS;

    const KEY: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    const OTHER: &str = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
    const THIRD: &str = "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025";

    const FOURTH: &str = "278117fc144c72340f67d0f2316e8386ceffbf2b2428c9c51fef7c597f1d426e";

    fn good() -> String {
        format!(
            r#"schema = 1
cluster_id = "c-01"
threshold = 2

[coordinator]
addr = "127.0.0.1:7443"
server_name = "coordinator.c-01"
pins = ["{KEY}"]

[[node]]
index = 1
identity = "{KEY}"
exchange = "{OTHER}"

[[node]]
index = 2
identity = "{OTHER}"
exchange = "{KEY}"

[genesis]
min = 1

[[genesis.governor]]
person = "alice"
credential = "laptop"
kind = "ed25519"
key = "{THIRD}"
"#
        )
    }

    fn problems(text: &str) -> Vec<(usize, String)> {
        let error = ClusterFile::parse(text.as_bytes()).unwrap_err();
        error
            .problems
            .into_iter()
            .map(|it| (it.line, it.path))
            .collect()
    }

    #[test]
    fn what_is_rendered_is_the_file() {
        let file = ClusterFile::parse(good().as_bytes()).unwrap();
        assert_eq!(file.render(), good());
        assert_eq!(
            file.node(2).map(|node| hex::encode(node.identity)),
            Some(OTHER.to_owned())
        );
        assert_eq!(file.node(3), None);
    }

    #[test]
    fn all_faults_are_reported_at_once_with_their_lines() {
        let text = good()
            .replace("schema = 1", "schema = 2")
            .replace("127.0.0.1:7443", "127.0.0.1")
            .replace("min = 1", "min = 2\ncolour = \"red\"")
            .replace("index = 2", "index = 3");
        let expected: Vec<(usize, String)> = [
            (1, "schema"),
            (6, "coordinator.addr"),
            (10, "node"),
            (21, "genesis.min"),
            (22, "genesis.colour"),
        ]
        .into_iter()
        .map(|(line, path)| (line, path.to_owned()))
        .collect();
        assert_eq!(problems(&text), expected);
    }

    #[test]
    fn a16_half_of_the_nodes_sign_only_where_people_wrote_it_down() {
        let third = format!(
            "[[node]]\nindex = 3\nidentity = \"{THIRD}\"\nexchange = \"{FOURTH}\"\n\n[[node]]\nindex = 4\nidentity = \"{FOURTH}\"\nexchange = \"{THIRD}\"\n\n[genesis]"
        );
        let four = good().replace("[genesis]", &third);
        assert_eq!(problems(&four), [(3, "threshold".to_owned())]);
        let meant = four.replace("threshold = 2", "threshold = 2\nminority_threshold = true");
        let file = ClusterFile::parse(meant.as_bytes()).unwrap();
        assert!(file.minority_threshold);
        assert_eq!(file.render(), meant);
        let three = four.replace("threshold = 2", "threshold = 3");
        assert!(
            !ClusterFile::parse(three.as_bytes())
                .unwrap()
                .minority_threshold
        );
    }

    /// Without a bound on what is reported, 40 kilobytes of this took minutes.
    #[test]
    fn a75_a_hostile_text_does_not_buy_work() {
        let error = ClusterFile::parse("=\n".repeat(20_000).as_bytes()).unwrap_err();
        assert_eq!(error.problems.len(), MAX_PROBLEMS);
    }

    #[test]
    fn one_fault_each() {
        let doubled = good().replace(
            &format!("identity = \"{OTHER}\""),
            &format!("identity = \"{KEY}\""),
        );
        let pins = format!("pins = [\"{KEY}\"]");
        let weak = "0100000000000000000000000000000000000000000000000000000000000000";
        for (text, line, path) in [
            (
                good().replace("threshold = 2", "threshold = 1"),
                3,
                "threshold",
            ),
            (
                good().replace("threshold = 2", "threshold = 3"),
                3,
                "threshold",
            ),
            (
                good().replace("threshold = 2", "threshold = 65538"),
                3,
                "threshold",
            ),
            (
                good().replace("threshold = 2", "threshold = \"2\""),
                3,
                "threshold",
            ),
            (good().replace("\"c-01\"", "\"C 01\""), 2, "cluster_id"),
            (
                good().replace("index = 2", "index = 1"),
                16,
                "node[1].index",
            ),
            (
                good().replace("index = 2", "index = 33"),
                16,
                "node[1].index",
            ),
            (
                good().replace("index = 1", "index = 0"),
                11,
                "node[0].index",
            ),
            (doubled, 17, "node[1].identity"),
            (good().replace(THIRD, weak), 27, "genesis.governor[0].key"),
            (
                good().replace("kind = \"ed25519\"", "kind = \"rsa\""),
                27,
                "genesis.governor[0].key",
            ),
            (
                good().replace("kind = \"ed25519\"\n", ""),
                23,
                "genesis.governor[0].kind",
            ),
            (good().replace("min = 1", "min = 0"), 21, "genesis.min"),
            (
                good().replace("coordinator.c-01", "coordinator c-01"),
                7,
                "coordinator.server_name",
            ),
            (good().replace(&pins, "pins = []"), 8, "coordinator.pins"),
            (
                good().replace(&pins, "pins = [\"00\"]"),
                8,
                "coordinator.pins[0]",
            ),
            (good().replace(":7443", ":0"), 6, "coordinator.addr"),
            (good().replace(":7443", ":07443"), 6, "coordinator.addr"),
            (good().replace("min = 1", "min = 1\nmin = 1"), 22, ""),
        ] {
            assert_eq!(problems(&text), [(line, path.to_owned())], "{text}");
        }
        assert!(ClusterFile::parse(&[0xff]).is_err());
        // Whoever compares the file by hand sees all of it.
        let hidden = format!("# \u{9b}8m\n{}", good());
        assert_eq!(problems(&hidden), [(1, String::new())]);
    }
}
