//! `quorate key`.

mod age;
mod export;
mod import;

use std::time::Duration;

use client::{
    Client, PublicKey,
    ceremony::{self, Change},
    keys::{self, Child},
};
use policy::{cluster::ClusterFile, governance::Matter};
use proto::v1::KeyInfo;
use serde_json::{Value, json};

use super::{Context, order};
use crate::{
    args::{Dealing, KeyAddressArgs, KeyCommand, KeyCreateArgs, KeyShowArgs, OrderArgs},
    fail::{Exit, Fail},
    output::Reply,
};

/// Runs the verb.
///
/// # Errors
/// The coordinator is not there, refuses, or key generation fails.
pub async fn run(context: &Context, command: KeyCommand) -> Result<Reply, Fail> {
    match command {
        KeyCommand::Create(args) => create(context, &args).await,
        KeyCommand::Import(args) => import::run(context, &args).await,
        KeyCommand::List => list(context).await,
        KeyCommand::Show(args) => show(context, &args).await,
        KeyCommand::Address(args) => address(context, &args).await,
        KeyCommand::Refresh(args) => {
            let change = change(&[], None, &args.dealing);
            reshare(context, &args.keys, &change, &args.order).await
        }
        KeyCommand::Reshare(args) => {
            let change = change(&args.nodes, args.threshold, &args.dealing);
            reshare(context, &args.keys, &change, &args.order).await
        }
        KeyCommand::Export(args) => export::begin(context, &args).await,
        KeyCommand::ExportConsent(args) => export::consent(context, &args).await,
        KeyCommand::ExportFetch(args) => export::fetch(context, &args).await,
        KeyCommand::ExportOpen(args) => export::open_file(context, &args),
        KeyCommand::Retire(args) => {
            let client = context.connect("operator").await?;
            let matter = ceremony::draft_retirement(&client.key(&args.key).await?, &args.reason)?;
            order::place(context, &client, &Matter::Retire(matter), &args.order).await
        }
    }
}

fn change(members: &[u16], threshold: Option<u16>, dealing: &Dealing) -> Change {
    Change {
        members: members.iter().copied().collect(),
        threshold: threshold.unwrap_or(0),
        dealers: dealing.dealers.iter().copied().collect(),
        fresh_pairs: dealing.fresh_pairs,
    }
}

async fn reshare(
    context: &Context,
    names: &[String],
    change: &Change,
    args: &OrderArgs,
) -> Result<Reply, Fail> {
    let client = context.connect("operator").await?;
    let cluster = super::read(&context.common.cluster)?;
    let cluster = ClusterFile::parse(&cluster).map_err(Fail::invalid)?;
    let mut infos = Vec::new();
    for name in names {
        infos.push(client.key(name).await?);
    }
    let plan = ceremony::draft(&cluster, &infos, change)?;
    order::place(context, &client, &Matter::Reshare(plan), args).await
}

async fn create(context: &Context, args: &KeyCreateArgs) -> Result<Reply, Fail> {
    let client = context.connect("operator").await?;
    let threshold = match args.threshold {
        Some(threshold) => threshold,
        None => client.cluster_info().await?.threshold,
    };
    let progress = context.output.spinner("generating a key over its nodes");
    let end = client
        .create_key_on(&args.nodes, &args.name, &args.scheme, threshold, |told| {
            progress.message(&format!("key generation: {}", told.stage));
        })
        .await?;
    let info = made(&client, &args.name).await?;
    drop(progress);
    let key = PublicKey::decode(&end.public_package)?;
    if key.bytes() != end.public_key
        || key.id()[..] != end.key_id[..]
        || info.key_id != end.key_id
        || info.public_key != end.public_key
    {
        return Err(Fail::new(
            Exit::Security,
            "the public key package is not the one of the key that was announced",
        ));
    }
    let confirmed = confirmed(context, client.cluster(), &info);
    let child = key.child(&keys::path("m")?)?;
    let key_id = hex::encode(&end.key_id);
    let public_key = hex::encode(&end.public_key);
    let human = format!(
        "key         {}\nkey id      {key_id}\nscheme      {}\nthreshold   {threshold}\npublic key  {public_key}\n{}{}\n\
         To use it, name it in a [[wallet]] of the policy: key_id = \"{key_id}\"",
        args.name,
        args.scheme,
        lines(&child),
        confirmed.line,
    );
    let json = json!({
        "name": args.name, "key_id": key_id, "scheme": args.scheme, "threshold": threshold,
        "public_key": public_key, "address": first(&child), "addresses": object_of(&child),
        "chain_code": hex::encode(key.chain_code()), "request_id": hex::encode(&end.request_id),
        "confirmed_by": confirmed.json, "confirmed": confirmed.enough,
    });
    Ok(Reply::new(human, json))
}

/// A child's addresses on the main networks, one per line.
fn lines(child: &Child) -> String {
    child
        .addresses()
        .iter()
        .map(|(chain, address)| format!("address     {address}  ({chain})\n"))
        .collect()
}

fn object_of(child: &Child) -> Value {
    child
        .addresses()
        .into_iter()
        .map(|(chain, address)| (chain.to_owned(), Value::from(address)))
        .collect()
}

/// The address that a key of this scheme is mostly used with.
fn first(child: &Child) -> Option<String> {
    child
        .addresses()
        .into_iter()
        .next_back()
        .map(|(_, address)| address)
}

async fn list(context: &Context) -> Result<Reply, Fail> {
    let keys = context.connect("operator").await?.keys().await?;
    let now_ms = super::now_ms()?;
    let mut human = String::new();
    for key in &keys {
        human.push_str(&format!(
            "{:<16} {:<8} {:<8} {}-of-{} epoch {} {:<28} {}\n",
            key.name,
            key.scheme,
            key.state,
            key.threshold,
            key.holders.iter().filter(|holder| holder.member).count(),
            key.epoch,
            age::short(key, now_ms),
            hex::encode(&key.key_id)
        ));
    }
    if keys.is_empty() {
        human.push_str("no keys yet; make one with `quorate key create NAME`");
    }
    let json = json!({"keys": keys.iter().map(|key| object(key, now_ms)).collect::<Vec<_>>()});
    Ok(Reply::new(human, json))
}

/// How long the nodes have to confirm a key that was just made.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(10);

/// Which nodes have signed that the key has this name, for people and for machines.
struct Confirmed {
    line: String,
    json: Value,
    enough: bool,
}

/// Says on standard error what a key is worth that too few nodes confirm.
fn confirmed(context: &Context, cluster: &ClusterFile, info: &KeyInfo) -> Confirmed {
    let nodes = keys::confirmed_by(cluster, info);
    let enough = nodes.len() >= usize::from(cluster.threshold);
    if !enough && !info.public_package.is_empty() {
        context.output.must_see(&format!(
            "WARNING: {} of the {} nodes that it takes confirm that this is the key {}. Pay nothing to it: start the nodes, ask again, \
             and if it stays so, suspect the coordinator.",
            nodes.len(),
            cluster.threshold,
            info.name
        ));
    }
    Confirmed {
        line: format!("confirmed   by the signatures of nodes {nodes:?}\n"),
        json: json!(nodes),
        enough,
    }
}

/// A key that was just made, with what its nodes say about it.
async fn made(client: &Client, name: &str) -> Result<KeyInfo, Fail> {
    let waited = std::time::Instant::now();
    loop {
        let info = client.key(name).await?;
        let confirmed = keys::confirmed_by(client.cluster(), &info).len();
        if confirmed >= usize::from(client.cluster().threshold)
            || waited.elapsed() > CONFIRMED_WITHIN
        {
            return Ok(info);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The one key of this name, id, or beginning of an id.
async fn find(client: &Client, wanted: &str) -> Result<KeyInfo, Fail> {
    let keys = client.keys().await?;
    let mut found = keys
        .into_iter()
        .filter(|k| k.name == wanted || hex::encode(&k.key_id).starts_with(wanted));
    match (found.next(), found.next()) {
        (Some(key), None) => Ok(key),
        _ => Err(
            Fail::invalid(format_args!("no key, or more than one, is called {wanted}"))
                .hint("`quorate key list` shows names and ids"),
        ),
    }
}

/// The key itself, once it is active, held against what the coordinator says beside it.
fn public(info: &KeyInfo) -> Result<Option<PublicKey>, Fail> {
    if info.public_package.is_empty() {
        return Ok(None);
    }
    let key = PublicKey::decode(&info.public_package)?;
    if key.id()[..] != info.key_id[..] || key.bytes() != info.public_key {
        return Err(Fail::new(
            Exit::Security,
            format_args!("the public key package of {} is of another key", info.name),
        ));
    }
    Ok(Some(key))
}

async fn show(context: &Context, args: &KeyShowArgs) -> Result<Reply, Fail> {
    let path = keys::path(&args.path)?;
    let client = context.connect("operator").await?;
    let info = find(&client, &args.key).await?;
    let key = public(&info)?;
    let confirmed = confirmed(context, client.cluster(), &info);
    if let (Some(path), Some(_)) = (&args.package, &key) {
        let text = format!("{}\n", hex::encode(&info.public_package));
        super::write_new(path, text.as_bytes())?;
    }
    let child = match key {
        Some(key) => Some((*key.chain_code(), key.child(&path)?)),
        None => None,
    };
    let mut human = format!(
        "key         {}\nkey id      {}\nscheme      {}\nstate       {}\nepoch       {}\nthreshold   {}\nheld by     {}\npublic key  {}\n",
        info.name,
        hex::encode(&info.key_id),
        info.scheme,
        info.state,
        info.epoch,
        info.threshold,
        holders(&info),
        hex::encode(&info.public_key),
    );
    let now_ms = super::now_ms()?;
    human.push_str(&age::lines(&info, now_ms));
    let mut json = object(&info, now_ms);
    if let (Some((chain_code, child)), Value::Object(fields)) = (child, &mut json) {
        human.push_str(&confirmed.line);
        fields.insert("confirmed_by".to_owned(), confirmed.json);
        fields.insert("confirmed".to_owned(), confirmed.enough.into());
        human.push_str(&format!("chain code  {}\n", hex::encode(chain_code)));
        if !path.indices().is_empty() {
            human.push_str(&format!(
                "path        {path}\nchild key   {}\n",
                hex::encode(child.public_key())
            ));
        }
        human.push_str(&lines(&child));
        fields.insert("chain_code".to_owned(), hex::encode(chain_code).into());
        fields.insert("path".to_owned(), path.to_string().into());
        fields.insert(
            "child_key".to_owned(),
            hex::encode(child.public_key()).into(),
        );
        fields.insert("addresses".to_owned(), object_of(&child));
    }
    Ok(Reply::new(human, json))
}

async fn address(context: &Context, args: &KeyAddressArgs) -> Result<Reply, Fail> {
    let path = keys::path(&args.path)?;
    let client = context.connect("operator").await?;
    let info = find(&client, &args.key).await?;
    let key = public(&info)?.ok_or_else(|| {
        Fail::new(
            Exit::Unavailable,
            format_args!("key {} is {} and has no address yet", info.name, info.state),
        )
    })?;
    let confirmed = confirmed(context, client.cluster(), &info);
    let paths = match args.count {
        Some(count) => (0..count)
            .map(|index| keys::path(&format!("{path}/{index}")))
            .collect::<Result<Vec<_>, _>>()?,
        None => vec![path],
    };
    let mut human = String::new();
    let mut rows = Vec::new();
    for path in &paths {
        let child = key.child(path)?;
        let addresses = match &args.chain {
            Some(chain) => vec![(chain.as_str(), child.address(chain)?)],
            None => child.addresses(),
        };
        for (chain, address) in addresses {
            human.push_str(&format!("{address}  {path}  {chain}\n"));
            rows.push(json!({
                "path": path.to_string(), "chain": chain, "address": address,
                "public_key": hex::encode(child.public_key()),
            }));
        }
    }
    let json = json!({"key": info.name, "key_id": hex::encode(&info.key_id), "addresses": rows, "confirmed": confirmed.enough});
    Ok(Reply::new(human, json))
}

/// Who holds a share, by number in the cluster file, and who of them does not answer.
fn holders(key: &KeyInfo) -> String {
    let members: Vec<String> = key
        .holders
        .iter()
        .filter(|holder| holder.member)
        .map(|holder| match &holder.state {
            _ if !holder.connected => format!("{} (away)", holder.node),
            // One that has just been made is pending until its holder's next status.
            Some(told) if !matches!(told.state.as_str(), "active" | "pending") => {
                format!("{} ({})", holder.node, told.state)
            }
            _ => holder.node.to_string(),
        })
        .collect();
    format!("nodes {}", members.join(", "))
}

fn object(key: &KeyInfo, now_ms: u64) -> Value {
    let mut object = json!({
        "name": key.name, "key_id": hex::encode(&key.key_id), "scheme": key.scheme, "epoch": key.epoch,
        "state": key.state, "public_key": hex::encode(&key.public_key), "address": key.address,
        "nodes": key.nodes, "threshold": key.threshold,
        "holders": key.holders.iter().filter(|holder| holder.member).map(|holder| json!({
            "node": holder.node, "index": holder.index, "connected": holder.connected,
        })).collect::<Vec<_>>(),
    });
    if let (Value::Object(fields), Value::Object(age)) = (&mut object, age::object(key, now_ms)) {
        fields.extend(age);
    }
    object
}
