//! `quorate policy`.

use std::path::Path;

use policy::{
    cluster::ClusterFile,
    document::{Document, DocumentError, PolicyHash},
    lint::{Nodes, lint},
    statement::{PolicyConsent, SignedStatement, Statement},
};
use proto::v1::PolicyInfo;
use serde_json::{Value, json};

use super::Context;
use crate::{
    args::{PolicyCommand, PolicyInstallArgs, PolicyLintArgs, PolicySignArgs},
    fail::{Exit, Fail},
    output::Reply,
    people::{self, Signing},
    verbs,
};

mod eval;

/// Runs the verb.
///
/// # Errors
/// The document does not parse, a signature is refused, or the coordinator is not there.
pub async fn run(context: &Context, command: PolicyCommand) -> Result<Reply, Fail> {
    match command {
        PolicyCommand::Lint(args) => check(context, &args),
        PolicyCommand::Eval(args) => eval::run(&args),
        PolicyCommand::Propose(args) => install(context, &args, false).await,
        PolicyCommand::Sign(args) => sign(&args),
        PolicyCommand::Activate(args) => install(context, &args, true).await,
        PolicyCommand::Show => show(context).await,
    }
}

/// Reads and parses a document.
fn read(path: &Path) -> Result<(Vec<u8>, Document), Fail> {
    let bytes = verbs::read(path)?;
    let document = Document::parse(&bytes).map_err(|e| faults(path, &e))?;
    Ok((bytes, document))
}

fn faults(path: &Path, error: &DocumentError) -> Fail {
    let lines: Vec<String> = error
        .problems
        .iter()
        .map(|p| {
            format!(
                "{}:{}:{}: {} {}",
                path.display(),
                p.line,
                p.column,
                p.path,
                p.message
            )
        })
        .collect();
    Fail::new(Exit::CheckFailed, lines.join("\n"))
        .hint("every problem is listed; correct them together")
}

fn check(context: &Context, args: &PolicyLintArgs) -> Result<Reply, Fail> {
    let (bytes, document) = read(&args.document)?;
    let warnings = lint(&document, nodes(&context.common.cluster));
    let hash = PolicyHash::of(&bytes);
    let mut human = format!(
        "policy   {} version {}\ncluster  {}\nhash     {hash}\npeople   {}\nwallets  {}\nrules    {}\n",
        document.policy_id(),
        document.version(),
        document.cluster_id(),
        document.people().len(),
        document.wallets().len(),
        document.rules().len(),
    );
    let json = json!({
        "policy_id": document.policy_id().as_str(), "version": document.version(),
        "cluster_id": document.cluster_id().as_str(), "hash": hash.to_string(),
        "people": document.people().len(), "wallets": document.wallets().len(),
        "rules": document.rules().len(),
        "warnings": warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
    });
    for warning in &warnings {
        human.push_str(&format!("warning  {warning}\n"));
    }
    let exit = if args.strict && !warnings.is_empty() {
        Exit::CheckFailed
    } else {
        Exit::Done
    };
    Ok(Reply::new(human, json).exit(exit))
}

/// How many nodes sign, if the cluster file is at hand: some warnings depend on it.
fn nodes(cluster: &Path) -> Option<Nodes> {
    let file = ClusterFile::parse(&std::fs::read(cluster).ok()?).ok()?;
    Some(Nodes {
        threshold: file.threshold,
        parties: u16::try_from(file.nodes.len()).ok()?,
    })
}

fn sign(args: &PolicySignArgs) -> Result<Reply, Fail> {
    let (bytes, document) = read(&args.document)?;
    let hash = PolicyHash::of(&bytes);
    let fresh = || {
        let cluster = document.cluster_id().as_str();
        let common = people::common(cluster, &args.person.person, &args.person.credential)?;
        Ok(Statement::Policy(PolicyConsent {
            common,
            policy_id: document.policy_id().as_str().to_owned(),
            version: document.version(),
            policy: *hash.as_bytes(),
        }))
    };
    let check = |statement: &Statement| match statement {
        Statement::Policy(consent) if &consent.policy == hash.as_bytes() => Ok(()),
        _ => Err(Fail::invalid("the signed body is not about this document")),
    };
    match people::sign(&args.person, fresh, check)? {
        Signing::Done(signed) => {
            let out = args.out.clone().unwrap_or_else(|| {
                args.document
                    .with_extension(format!("{}.statement", args.person.person))
            });
            verbs::write_new(&out, &signed.encode())?;
            let human = format!(
                "signed {hash} as {}\nwrote {}",
                signed.person(),
                out.display()
            );
            let json =
                json!({"hash": hash.to_string(), "person": signed.person(), "statement": out});
            Ok(Reply::new(human, json))
        }
        Signing::Written => {
            let body = args.person.ssh_body.clone().unwrap_or_default();
            let command = people::ssh_command(&body);
            Ok(Reply::new(
                format!(
                    "wrote {}; sign it with\n  {command}\nand run this command again with --ssh-signature",
                    body.display()
                ),
                json!({"body": body, "sign_with": command}),
            ))
        }
    }
}

async fn install(
    context: &Context,
    args: &PolicyInstallArgs,
    activate: bool,
) -> Result<Reply, Fail> {
    let (bytes, _) = read(&args.document)?;
    let statements = args
        .statements
        .iter()
        .map(|path| people::read_statement(path))
        .collect::<Result<Vec<SignedStatement>, Fail>>()?;
    let client = context.connect("operator").await?;
    let info = if activate {
        client.install_policy(&bytes, &statements).await?
    } else {
        client.propose_policy(&bytes, &statements).await?
    };
    Ok(told(&info))
}

async fn show(context: &Context) -> Result<Reply, Fail> {
    let info = context.connect("client").await?.policy(0).await?;
    if PolicyHash::of(&info.document).as_bytes()[..] != info.hash[..] {
        return Err(Fail::new(
            Exit::Security,
            "the document that the coordinator sent has another hash than it says",
        ));
    }
    let text = String::from_utf8_lossy(&info.document).into_owned();
    let mut json = object(&info);
    if let Value::Object(fields) = &mut json {
        fields.insert("document".to_owned(), text.clone().into());
    }
    Ok(Reply::new(text, json))
}

fn told(info: &PolicyInfo) -> Reply {
    let mut human = format!(
        "version  {}\nhash     {}\nactive   {}\n",
        info.version,
        hex::encode(&info.hash),
        if info.active { "yes" } else { "not yet" },
    );
    let mut refused = false;
    for node in &info.nodes {
        match &node.failure {
            Some(failure) => {
                refused = true;
                human.push_str(&format!(
                    "node {}   refused: {}\n",
                    node.index, failure.message
                ));
            }
            None => human.push_str(&format!("node {}   took it\n", node.index)),
        }
    }
    let exit = if refused {
        Exit::CheckFailed
    } else {
        Exit::Done
    };
    Reply::new(human, object(info)).exit(exit)
}

fn object(info: &PolicyInfo) -> Value {
    let nodes: Vec<_> = info
        .nodes
        .iter()
        .map(|n| {
            let version = n.state.as_ref().map(|s| s.version);
            json!({"index": n.index, "version": version, "failure": n.failure.as_ref().map(|f| &f.message)})
        })
        .collect();
    json!({
        "version": info.version, "hash": hex::encode(&info.hash), "active": info.active,
        "effective_ms": info.effective_ms, "signatures": info.signatures.len(), "nodes": nodes,
    })
}
