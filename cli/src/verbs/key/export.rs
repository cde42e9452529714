//! `quorate key export`: the emergency exit. People order it, two operators of each node let their node take part, and who has the
//! recovery key puts the key together, on a machine that needs no network.

use std::path::Path;

use client::ceremony;
use mpc_core::export::{ExportError, RefusedGift, open};
use mpc_core::identity::IdentityKey;
use mpc_core::keys::PublicKeyPackage;
use policy::governance::Matter;
use policy::statement::{Exportation, SignedStatement};
use proto::v1::OrderStatus;
use serde::{Deserialize, Serialize};
use serde_json::json;
use signer_node::export::consent_file;
use zeroize::Zeroizing;

use crate::args::{KeyExportArgs, KeyExportConsentArgs, KeyExportFetchArgs, KeyExportOpenArgs};
use crate::backup::recovery;
use crate::fail::{Exit, Fail};
use crate::output::Reply;
use crate::people;
use crate::verbs::{Context, backup, order, read, write_new};

/// What everybody who has a part in it has to read.
const WARNING: &str = "WARNING: this puts the whole key into one place. Whoever has it signs alone, outside of every policy and limit, for \
ever, and nothing can take it back. Do it only to move the funds when the nodes no longer can, move everything at once, then destroy \
every copy. The nodes that give their share sign with the key no more.";

/// What the nodes gave, as one public file: only the recovery key opens it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Gifts {
    schema: u8,
    /// One of the signed statements of the order, hex.
    statement: String,
    /// The public record of the key's sharing, hex.
    package: String,
    /// What each node gave, hex.
    gifts: Vec<String>,
}

/// Drafts the order, has it signed and sends it.
pub(super) async fn begin(context: &Context, args: &KeyExportArgs) -> Result<Reply, Fail> {
    let recipient = backup::recipient(&args.to)?;
    let client = context.connect("operator").await?;
    let key = client.key(&args.key).await?;
    context.output.must_see(WARNING);
    let matter = ceremony::draft_export(&key, recipient, &args.reason)?;
    order::place(context, &client, &Matter::Export(matter), &args.order).await
}

fn exportation(matter: Matter) -> Result<Exportation, Fail> {
    match matter {
        Matter::Export(matter) => Ok(matter),
        Matter::Reshare(_) | Matter::Retire(_) => Err(Fail::invalid("the order hands no key out")),
    }
}

/// One operator's consent, for one node and one order, written into the folder where the node looks for it.
pub(super) async fn consent(context: &Context, args: &KeyExportConsentArgs) -> Result<Reply, Fail> {
    let config = signer_node::Config::load(&args.config).map_err(Fail::invalid)?;
    let cluster = read(&config.cluster)?;
    let cluster = policy::cluster::ClusterFile::parse(&cluster).map_err(Fail::invalid)?;
    let node = cluster.node(config.index);
    let node = node.ok_or_else(|| Fail::invalid("the cluster file has no such node"))?;
    let node = mpc_core::identity::IdentityPublic::from_bytes(&node.identity)
        .map_err(Fail::invalid)?
        .node_id();
    let matter = match &args.statement {
        Some(path) => Matter::of(people::read_statement(path)?.statement())
            .ok_or_else(|| Fail::invalid("the statement is about no key"))?,
        None => {
            let client = context.connect("operator").await?;
            let wanted = args.order.as_deref().unwrap_or_default();
            ceremony::matter(&order::find(&client, wanted).await?)?
        }
    };
    let shown = matter.clone();
    let matter = exportation(matter)?;
    order::read_out(context, &shown);
    context.output.must_see(WARNING);
    let key = people::read_key(&args.operator_key)?;
    let operator = key.verifying_key().to_bytes();
    if !config
        .export_operators
        .iter()
        .any(|known| *known.as_bytes() == operator)
    {
        return Err(Fail::invalid(format_args!(
            "{} is none of the operators that {} names",
            hex::encode(operator),
            args.config.display()
        ))
        .hint("they stand in `export_operators`"));
    }
    let request = hex::encode(matter.request);
    let path = config
        .export_consents
        .join(consent_file(&matter.request, &operator));
    if args.dry_run {
        let human = format!(
            "nothing was written; the consent goes to {}",
            path.display()
        );
        return Ok(Reply::new(
            human,
            json!({"dry_run": true, "order": request, "file": path}),
        ));
    }
    order::ask(args.yes, "export")?;
    let seed = Zeroizing::new(key.to_bytes());
    let digest = matter.consent_digest(cluster.cluster_id.as_str(), node.as_bytes());
    let signature = IdentityKey::from_seed(seed).sign(&digest);
    std::fs::create_dir_all(&config.export_consents)
        .map_err(|error| Fail::write(&config.export_consents, &error))?;
    write_new(&path, format!("{}\n", hex::encode(signature)).as_bytes())?;
    let human = format!(
        "wrote {}; the node gives its share once two of its operators have done so",
        path.display()
    );
    Ok(Reply::new(human, json!({"order": request, "file": path})))
}

/// Writes what the nodes gave into one file, for the machine with the recovery key.
pub(super) async fn fetch(context: &Context, args: &KeyExportFetchArgs) -> Result<Reply, Fail> {
    let client = context.connect("operator").await?;
    let found: OrderStatus = order::find(&client, &args.order).await?;
    let matter = exportation(ceremony::matter(&found)?)?;
    let key = client.key(&matter.key.name).await?;
    if found.exported.is_empty() {
        return Err(Fail::new(Exit::Waiting, "no node has given its share yet")
            .hint("`quorate order show` says what each waits for"));
    }
    let gifts = Gifts {
        schema: 1,
        statement: found
            .statements
            .first()
            .map(hex::encode)
            .unwrap_or_default(),
        package: hex::encode(&key.public_package),
        gifts: found
            .exported
            .iter()
            .map(|one| hex::encode(&one.sealed))
            .collect(),
    };
    let text = serde_json::to_vec_pretty(&gifts).map_err(Fail::failed)?;
    write_new(&args.out, &text)?;
    let human = format!(
        "wrote what {} nodes gave to {}",
        gifts.gifts.len(),
        args.out.display()
    );
    let json = json!({"file": args.out, "gifts": gifts.gifts.len(), "state": found.state});
    Ok(Reply::new(human, json))
}

/// Puts the key together.
pub(super) fn open_file(context: &Context, args: &KeyExportOpenArgs) -> Result<Reply, Fail> {
    let bad = |what: &str| Fail::invalid(format_args!("{}: {what}", args.file.display()));
    let file: Gifts =
        serde_json::from_slice(&read(&args.file)?).map_err(|error| bad(&error.to_string()))?;
    if file.schema != 1 {
        return Err(bad("its schema is not known"));
    }
    let bytes = |text: &str| hex::decode(text).map_err(|_| bad("not hexadecimal"));
    let statement = SignedStatement::decode(&bytes(&file.statement)?)
        .map_err(|error| bad(&error.to_string()))?;
    let matter = Matter::of(statement.statement()).ok_or_else(|| bad("it has no order"))?;
    let matter = exportation(matter)?;
    let package = PublicKeyPackage::decode(&bytes(&file.package)?)
        .map_err(|error| bad(&error.to_string()))?;
    if *package.key_id().as_bytes() != matter.key.key
        || *package.sharing().as_bytes() != matter.key.sharing
    {
        return Err(bad(
            "the public record is not that of the sharing in the order",
        ));
    }
    let gifts = file
        .gifts
        .iter()
        .map(|gift| bytes(gift))
        .collect::<Result<Vec<_>, Fail>>()?;
    let key = recovery::read(&args.recovery_key, args.passphrase.as_deref())?;
    let reason = matter.digest(&statement.statement().common().cluster);
    let opened = open(&gifts, &key, &reason, &package).map_err(|error| {
        let refused = match &error {
            ExportError::TooFew { refused, .. } => names(refused, &package),
            _ => Vec::new(),
        };
        Fail::new(Exit::Ended, error.to_string()).hint(if refused.is_empty() {
            "have more nodes give their share, and fetch again".to_owned()
        } else {
            refused.join("; ")
        })
    })?;
    context.output.must_see(WARNING);
    let text = Zeroizing::new(format!(
        "{}\n",
        *Zeroizing::new(hex::encode(opened.secret.expose_secret()))
    ));
    if !args.dry_run {
        people::write_secret(&args.out, text.as_bytes())?;
    }
    let refused = names(&opened.refused, &package);
    let public_key = hex::encode(package.public_key());
    let mut human = format!(
        "key         {}\npublic key  {public_key}\n",
        matter.key.name
    );
    for line in &refused {
        human.push_str(&format!("refused     {line}\n"));
    }
    human.push_str(&match args.dry_run {
        true => "nothing was written; the key can be put together".to_owned(),
        false => format!("the secret is in {}", args.out.display()),
    });
    let file: Option<&Path> = (!args.dry_run).then_some(args.out.as_path());
    let json = json!({
        "key": matter.key.name, "key_id": hex::encode(matter.key.key), "public_key": public_key,
        "refused": refused, "file": file, "warning": WARNING, "dry_run": args.dry_run,
    });
    Ok(Reply::new(human, json))
}

/// What was refused, with the member that gave it.
fn names(refused: &[RefusedGift], package: &PublicKeyPackage) -> Vec<String> {
    let name = |one: &RefusedGift| {
        let member = one.node.and_then(|node| package.index_of(&node));
        let who = member.map_or_else(|| "nobody".to_owned(), |index| format!("member {index}"));
        format!(
            "gift {}, of {who}: {}",
            one.position.saturating_add(1),
            one.why
        )
    };
    refused.iter().map(name).collect()
}
