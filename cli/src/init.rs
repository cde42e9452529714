//! `quorate cluster init`: everything a new cluster needs, in one directory, on one machine.
//!
//! Made for trials and for the ceremony of a real set-up, after which each directory moves to its own host and the
//! originals are destroyed.

use std::{
    fs,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use ed25519_dalek::SigningKey;
use policy::{
    cluster::{ClusterFile, CoordinatorEntry, GenesisEntry, Governor, NodeEntry, is_majority},
    credential::CredentialKey,
    id::{ClusterId, CredentialId, PersonId},
};
use proto::channel::{
    identity::Role,
    pki::{self, Authority, Issued, Validity},
};
use serde_json::json;
use signer_node::config::Unlock;

use crate::{
    args::ClusterInitArgs,
    fail::{Exit, Fail},
    layout::Layout,
    output::Reply,
    people::{generate_key, write_key, write_secret},
    sample::{self, Sample, SamplePerson},
};

/// A cluster that was just written.
#[derive(Debug)]
pub struct Made {
    /// Where its files are.
    pub layout: Layout,
    /// Its public description.
    pub cluster: ClusterFile,
    /// What its sample policy says.
    pub sample: Sample,
}

impl Made {
    /// What to tell the operator.
    #[must_use]
    pub fn reply(&self) -> Reply {
        let dir = self.layout.root().display();
        let nodes = self.cluster.nodes.len();
        let mut human = format!(
            "cluster {} of {nodes} nodes, {} of which must sign, is in {dir}\n\nstart it:\n",
            self.cluster.cluster_id, self.cluster.threshold
        );
        human.push_str(&format!(
            "  quorate coordinator run --config {dir}/coordinator/coordinator.toml\n"
        ));
        for node in &self.cluster.nodes {
            human.push_str(&format!(
                "  quorate node run --config {dir}/node-{}/node.toml\n",
                node.index
            ));
        }
        human.push_str(&format!(
            "\nthen:\n  quorate key create hot --cluster {dir}/cluster.toml\n"
        ));
        human.push_str(&format!("  $EDITOR {dir}/policy.toml\n"));
        let people: Vec<&str> = self.sample.people.iter().map(|p| p.id.as_str()).collect();
        let json = json!({
            "cluster_id": self.cluster.cluster_id.as_str(), "dir": self.layout.root(), "nodes": nodes,
            "threshold": self.cluster.threshold, "coordinator": self.cluster.coordinator.addr,
            "cluster": self.layout.cluster(), "people": people, "initiator": sample::INITIATOR,
        });
        Reply::new(human, json)
    }
}

/// Writes a new cluster.
///
/// # Errors
/// The directory is in use or cannot be written, or the numbers do not go together.
pub fn run(args: &ClusterInitArgs) -> Result<Made, Fail> {
    let layout = Layout::new(&args.dir);
    let people = names(args)?;
    if args.threshold > args.nodes {
        return Err(Fail::new(
            Exit::Usage,
            format_args!("{} of {} nodes cannot sign", args.threshold, args.nodes),
        )
        .hint("--threshold is at most --nodes"));
    }
    if !args.minority_threshold && !is_majority(args.threshold, usize::from(args.nodes)) {
        return Err(Fail::new(
            Exit::Usage,
            format_args!(
                "{} is not more than half of {} nodes: two quorums could sign without a common node",
                args.threshold, args.nodes
            ),
        )
        .hint("raise --threshold, or say --minority-threshold if that is meant"));
    }
    if usize::from(args.genesis_min) > people.len() || args.genesis_min == 0 {
        return Err(Fail::new(
            Exit::Usage,
            format_args!(
                "{} of {} people cannot sign",
                args.genesis_min,
                people.len()
            ),
        )
        .hint("--genesis-min is between 1 and the number of people"));
    }
    new_dir(layout.root())?;

    let cluster_id = fresh_cluster_id()?;
    let now = unix_seconds()?;
    let validity = Validity::days(now, u32::from(args.days));
    let authority = pki::make_ca(&cluster_id, Validity::days(now, 3650)).map_err(Fail::failed)?;
    write_authority(&layout, &authority, validity)?;

    let mut nodes = Vec::new();
    for index in 1..=args.nodes {
        nodes.push(node(&layout, &cluster_id, &authority, index, validity)?);
    }
    let server_name = format!("coordinator.{cluster_id}");
    let pin = coordinator(&layout, &authority, &server_name, args, validity)?;
    for (name, role) in [("operator", Role::Operator), ("client", Role::Client)] {
        let dir = layout.identity(name);
        new_dir(&dir)?;
        write_issued(&dir, &issue(&authority, role, &[], validity)?)?;
    }

    let mut sample_people = Vec::new();
    let mut governors = Vec::new();
    new_dir(&layout.people())?;
    for name in people {
        let key = CredentialKey::Ed25519(
            new_key(&layout.person_key(name.as_str()))?
                .verifying_key()
                .to_bytes(),
        );
        governors.push(Governor {
            person: name.clone(),
            credential: CredentialId::parse(sample::CREDENTIAL).map_err(Fail::failed)?,
            key: key.clone(),
        });
        sample_people.push(SamplePerson {
            id: name.as_str().to_owned(),
            credentials: vec![(sample::CREDENTIAL.to_owned(), key)],
        });
    }
    let initiator = new_key(&layout.initiator_key())?;

    let cluster = ClusterFile {
        cluster_id: cluster_id.clone(),
        threshold: args.threshold,
        minority_threshold: args.minority_threshold,
        coordinator: CoordinatorEntry {
            addr: args.listen.to_string(),
            server_name,
            pins: vec![pin],
        },
        nodes,
        genesis: GenesisEntry {
            min: u32::from(args.genesis_min),
            governors,
        },
    };
    write(&layout.cluster(), &cluster.render())?;
    let sample = Sample {
        cluster: cluster_id.as_str().to_owned(),
        not_before_ms: now.saturating_mul(1000),
        loosen_delay: "24h".to_owned(),
        unfreeze_delay: "0s".to_owned(),
        exports: 0,
        quorum: args.genesis_min,
        people: sample_people,
        initiator: initiator.verifying_key().to_bytes(),
        wallets: Vec::new(),
    };
    write(&layout.policy(), &sample.render())?;
    Ok(Made {
        layout,
        cluster,
        sample,
    })
}

fn names(args: &ClusterInitArgs) -> Result<Vec<PersonId>, Fail> {
    let usual = ["alice", "bob", "carol"].map(str::to_owned);
    let names = if args.people.is_empty() {
        &usual[..]
    } else {
        &args.people
    };
    let mut parsed = names
        .iter()
        .map(|name| {
            PersonId::parse(name)
                .map_err(|e| Fail::new(Exit::Usage, format_args!("--person {name}: {e}")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    parsed.sort();
    let count = parsed.len();
    parsed.dedup();
    if parsed.len() < count {
        return Err(Fail::new(Exit::Usage, "a --person is named twice"));
    }
    Ok(parsed)
}

/// Makes a directory, or takes one that is empty.
///
/// # Errors
/// It is in use or cannot be made.
pub fn new_dir(dir: &Path) -> Result<(), Fail> {
    fs::create_dir_all(dir).map_err(|e| Fail::write(dir, &e))?;
    let mut entries = fs::read_dir(dir).map_err(|e| Fail::read(dir, &e))?;
    if entries.next().is_some() {
        return Err(
            Fail::invalid(format_args!("{} is not empty", dir.display()))
                .hint("nothing is ever overwritten; choose another directory"),
        );
    }
    Ok(())
}

fn fresh_cluster_id() -> Result<ClusterId, Fail> {
    let mut random = [0_u8; 5];
    getrandom::fill(&mut random)
        .map_err(|e| Fail::failed(format_args!("no randomness from this machine: {e}")))?;
    ClusterId::parse(&format!("c-{}", hex::encode(random))).map_err(Fail::failed)
}

fn unix_seconds() -> Result<u64, Fail> {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map(|d| d.as_secs())
        .map_err(|_| Fail::failed("the clock of this machine stands before 1970").hint("set it"))
}

fn write_authority(layout: &Layout, authority: &Authority, validity: Validity) -> Result<(), Fail> {
    let dir = layout.ca();
    new_dir(&dir)?;
    write(&dir.join("ca.pem"), authority.cert_pem())?;
    write_secret(&dir.join("ca.key"), authority.key_pem().as_bytes())?;
    let crl = authority.crl(&[], 1, validity).map_err(Fail::failed)?;
    write(&dir.join("crl.pem"), &crl)
}

fn issue(
    authority: &Authority,
    role: Role,
    names: &[&str],
    validity: Validity,
) -> Result<Issued, Fail> {
    authority.issue(role, names, validity).map_err(Fail::failed)
}

fn write_issued(dir: &Path, issued: &Issued) -> Result<(), Fail> {
    write(&dir.join("tls.pem"), &issued.cert_pem)?;
    write_secret(&dir.join("tls.key"), issued.key_pem.as_bytes())
}

/// Writes the directory of a node and says what the cluster file must have about it.
///
/// # Errors
/// The directory is in use or cannot be written.
pub fn node(
    layout: &Layout,
    cluster_id: &ClusterId,
    authority: &Authority,
    index: u16,
    validity: Validity,
) -> Result<NodeEntry, Fail> {
    let dir = layout.node(index);
    new_dir(&dir)?;
    write_issued(&dir, &issue(authority, Role::Node(index), &[], validity)?)?;
    let store_key = dir.join("store.key");
    new_key(&store_key)?;
    let public = signer_node::init::create_store(
        &dir.join("node.db"),
        &Unlock::KeyFile(store_key),
        cluster_id,
    )
    .map_err(|e| Fail::failed(format_args!("store of node {index}: {e}")))?;
    write(
        &layout.node_config(index),
        &format!(
            "schema = 1\nindex = {index}\ncluster = \"../cluster.toml\"\nstore = \"node.db\"\nlog = \"info\"\n\n\
             [unlock]\nkind = \"key-file\"\npath = \"store.key\"\n\n{TLS}"
        ),
    )?;
    Ok(NodeEntry {
        index,
        identity: public.identity,
        exchange: public.exchange,
    })
}

fn coordinator(
    layout: &Layout,
    authority: &Authority,
    server_name: &str,
    args: &ClusterInitArgs,
    validity: Validity,
) -> Result<[u8; 32], Fail> {
    let dir = layout.coordinator();
    new_dir(&dir)?;
    let issued = issue(authority, Role::Coordinator, &[server_name], validity)?;
    write_issued(&dir, &issued)?;
    write(
        &layout.coordinator_config(),
        &format!(
            "schema = 1\ncluster = \"../cluster.toml\"\nlisten = \"{}\"\nstore = \"coordinator.db\"\nlog = \"info\"\n\n{TLS}",
            args.listen
        ),
    )?;
    Ok(*issued.leaf.pin.as_bytes())
}

const TLS: &str = "[tls]\nca = \"../ca/ca.pem\"\ncrl = \"../ca/crl.pem\"\ncert = \"tls.pem\"\nkey = \"tls.key\"\n";

fn new_key(path: &Path) -> Result<SigningKey, Fail> {
    let key = generate_key()?;
    write_key(path, &key)?;
    Ok(key)
}

fn write(path: &Path, text: &str) -> Result<(), Fail> {
    crate::verbs::write_new(path, text.as_bytes())
}
