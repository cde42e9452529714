//! `quorate key`.

use proto::v1::KeyInfo;
use serde_json::{Value, json};

use super::Context;
use crate::{
    args::{KeyCommand, KeyCreateArgs, KeyShowArgs},
    fail::Fail,
    output::Reply,
};

/// Runs the verb.
///
/// # Errors
/// The coordinator is not there, refuses, or key generation fails.
pub async fn run(context: &Context, command: KeyCommand) -> Result<Reply, Fail> {
    match command {
        KeyCommand::Create(args) => create(context, &args).await,
        KeyCommand::List => list(context).await,
        KeyCommand::Show(args) => show(context, &args).await,
    }
}

async fn create(context: &Context, args: &KeyCreateArgs) -> Result<Reply, Fail> {
    let client = context.connect("operator").await?;
    let threshold = match args.threshold {
        Some(threshold) => threshold,
        None => client.cluster_info().await?.threshold,
    };
    let progress = context.output.spinner("generating a key over all nodes");
    let end = client
        .create_key(&args.name, &args.scheme, threshold, |told| {
            progress.message(&format!("key generation: {}", told.stage));
        })
        .await?;
    drop(progress);
    let key_id = hex::encode(&end.key_id);
    let public_key = hex::encode(&end.public_key);
    let human = format!(
        "key         {}\nkey id      {key_id}\nscheme      {}\nthreshold   {threshold}\npublic key  {public_key}{}\n\n\
         To use it, name it in a [[wallet]] of the policy: key_id = \"{key_id}\"",
        args.name,
        args.scheme,
        address(&args.scheme, &end.public_key)
            .map(|a| format!("\naddress     {a}"))
            .unwrap_or_default(),
    );
    let json = json!({
        "name": args.name, "key_id": key_id, "scheme": args.scheme, "threshold": threshold,
        "public_key": public_key, "address": address(&args.scheme, &end.public_key),
        "request_id": hex::encode(&end.request_id),
    });
    Ok(Reply::new(human, json))
}

/// The Solana address of an Ed25519 key.
fn address(scheme: &str, public_key: &[u8]) -> Option<String> {
    (scheme == "ed25519").then(|| bs58::encode(public_key).into_string())
}

async fn list(context: &Context) -> Result<Reply, Fail> {
    let keys = context.connect("operator").await?.keys().await?;
    let mut human = String::new();
    for key in &keys {
        human.push_str(&format!(
            "{:<16} {:<8} {:<8} {}-of-{} {}\n",
            key.name,
            key.scheme,
            key.state,
            key.threshold,
            key.nodes.len(),
            hex::encode(&key.key_id)
        ));
    }
    if keys.is_empty() {
        human.push_str("no keys yet; make one with `quorate key create NAME`");
    }
    let json = json!({"keys": keys.iter().map(object).collect::<Vec<_>>()});
    Ok(Reply::new(human, json))
}

async fn show(context: &Context, args: &KeyShowArgs) -> Result<Reply, Fail> {
    let keys = context.connect("operator").await?.keys().await?;
    let mut found = keys
        .iter()
        .filter(|k| k.name == args.key || hex::encode(&k.key_id).starts_with(&args.key));
    let (Some(key), None) = (found.next(), found.next()) else {
        return Err(Fail::invalid(format_args!(
            "no key, or more than one, is called {}",
            args.key
        ))
        .hint("`quorate key list` shows names and ids"));
    };
    let human = format!(
        "key         {}\nkey id      {}\nscheme      {}\nstate       {}\nepoch       {}\nthreshold   {}\nnodes       {:?}\npublic key  {}\naddress     {}",
        key.name,
        hex::encode(&key.key_id),
        key.scheme,
        key.state,
        key.epoch,
        key.threshold,
        key.nodes,
        hex::encode(&key.public_key),
        key.address,
    );
    Ok(Reply::new(human, object(key)))
}

fn object(key: &KeyInfo) -> Value {
    json!({
        "name": key.name, "key_id": hex::encode(&key.key_id), "scheme": key.scheme, "epoch": key.epoch,
        "state": key.state, "public_key": hex::encode(&key.public_key), "address": key.address,
        "nodes": key.nodes, "threshold": key.threshold,
    })
}
