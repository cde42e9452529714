//! `quorate request`.

use std::{path::Path, time::Duration};

use client::{Client, Order, Prepared, Released, RequestId, State, Status};
use policy::{
    chain::Address,
    solana::{Version, build},
    statement::{Cancel, Statement},
};
use serde_json::{Value, json};

use super::Context;
use crate::{
    args::{DecideArgs, RequestCommand, RequestListArgs, RequestStatusArgs, SubmitArgs},
    fail::{Exit, Fail},
    output::Reply,
    people::{self, Signing},
    verbs,
};

/// Runs the verb.
///
/// # Errors
/// The order is wrong, the policy denies it, or the coordinator is not there.
pub async fn run(context: &Context, command: RequestCommand) -> Result<Reply, Fail> {
    match command {
        RequestCommand::Submit(args) => submit(context, &args).await,
        RequestCommand::Status(args) => status(context, &args).await,
        RequestCommand::Explain(args) => explain(context, &args).await,
        RequestCommand::Cancel(args) => cancel(context, &args).await,
        RequestCommand::List(args) => list(context, &args).await,
    }
}

/// Reads a request's id from the command line.
///
/// # Errors
/// It is none.
pub fn parse_id(text: &str) -> Result<RequestId, Fail> {
    text.parse().map_err(|e| {
        Fail::invalid(format_args!("{text}: {e}")).hint("`quorate request list` shows ids")
    })
}

async fn submit(context: &Context, args: &SubmitArgs) -> Result<Reply, Fail> {
    let client = context.connect("client").await?;
    let prepared = prepared(&client, args).await?;
    if let Some(path) = &args.save {
        verbs::write_new(path, prepared.as_bytes())?;
    }
    let status = client.submit(&prepared).await?;
    match args.wait {
        Some(seconds) => wait(context, &client, prepared.id(), seconds).await,
        None if status.state == State::Released => {
            Ok(released(&client.fetch(prepared.id()).await?))
        }
        None => Ok(shown(&status)),
    }
}

async fn explain(context: &Context, args: &SubmitArgs) -> Result<Reply, Fail> {
    let client = context.connect("client").await?;
    let prepared = prepared(&client, args).await?;
    Ok(shown(&client.explain(&prepared).await?))
}

async fn prepared(client: &Client, args: &SubmitArgs) -> Result<Prepared, Fail> {
    if let Some(path) = &args.intent {
        return Ok(Prepared::from_bytes(&verbs::read(path)?)?);
    }
    let missing = |what: &str| Fail::new(Exit::Usage, format_args!("{what} is missing"));
    let wallet = args.wallet.as_deref().ok_or_else(|| missing("--wallet"))?;
    let raw_tx = match (&args.tx, &args.to) {
        (Some(path), None) => read_transaction(path)?,
        (None, Some(to)) => {
            let from =
                client.wallet(wallet).await?.ed25519().ok_or_else(|| {
                    Fail::invalid(format_args!("wallet {wallet} has no ed25519 key"))
                })?;
            let blockhash = args
                .blockhash
                .as_deref()
                .ok_or_else(|| missing("--blockhash"))?;
            let lamports = args.lamports.ok_or_else(|| missing("--lamports"))?;
            transfer(
                from,
                address("--to", to)?,
                lamports,
                address("--blockhash", blockhash)?,
            )?
        }
        _ => return Err(missing("--tx, or --to with --lamports and --blockhash,")),
    };
    let key = args
        .idempotency_key
        .as_deref()
        .ok_or_else(|| missing("--idempotency-key"))?;
    let initiator = args
        .initiator
        .as_deref()
        .ok_or_else(|| missing("--initiator"))?;
    let mut order = Order::new(wallet, raw_tx, key, initiator);
    order.note.clone_from(&args.note);
    order.lifetime = Duration::from_secs(args.valid_for);
    let seed = args
        .initiator_key
        .as_deref()
        .ok_or_else(|| missing("--initiator-key"))?;
    Ok(client.prepare(&order, &people::read_key(seed)?).await?)
}

/// Reads 32 bytes of base58: an address or a blockhash.
///
/// # Errors
/// It is something else.
pub fn address(what: &str, text: &str) -> Result<[u8; 32], Fail> {
    Address::parse(text)
        .ok()
        .and_then(|address| address.solana().copied())
        .ok_or_else(|| Fail::invalid(format_args!("{what} {text}: it is not 32 bytes in base58")))
}

/// The message of one transfer of lamports: the bytes that are signed.
///
/// # Errors
/// None in practice.
pub fn transfer(
    from: [u8; 32],
    to: [u8; 32],
    lamports: u64,
    blockhash: [u8; 32],
) -> Result<Vec<u8>, Fail> {
    let (from, to) = (Address::from_bytes(from), Address::from_bytes(to));
    build::transfer(from, to, lamports, blockhash, Version::Legacy).map_err(Fail::invalid)
}

/// A transaction from a file: raw bytes, or hexadecimal text.
fn read_transaction(path: &Path) -> Result<Vec<u8>, Fail> {
    let bytes = verbs::read(path)?;
    let text = std::str::from_utf8(&bytes)
        .map(str::trim)
        .unwrap_or_default();
    match hex::decode(text) {
        Ok(decoded) if !decoded.is_empty() => Ok(decoded),
        _ => Ok(bytes),
    }
}

async fn status(context: &Context, args: &RequestStatusArgs) -> Result<Reply, Fail> {
    let client = context.connect("client").await?;
    let id = parse_id(&args.request.id)?;
    match args.wait {
        Some(seconds) => wait(context, &client, id, seconds).await,
        None => {
            let status = client.status(id).await?;
            if status.state == State::Released {
                Ok(released(&client.fetch(id).await?))
            } else {
                Ok(shown(&status))
            }
        }
    }
}

async fn wait(
    context: &Context,
    client: &Client,
    id: RequestId,
    seconds: u64,
) -> Result<Reply, Fail> {
    let progress = context.output.spinner("waiting");
    let told = |status: &Status| progress.message(&format!("{}: {}", status.state, status.why()));
    let end = client
        .wait_with(id, Duration::from_secs(seconds), told)
        .await?;
    drop(progress);
    Ok(released(&end))
}

async fn cancel(context: &Context, args: &DecideArgs) -> Result<Reply, Fail> {
    let client = context.connect("client").await?;
    let id = parse_id(&args.request.id)?;
    let fresh = || {
        let common = people::common(
            client.cluster_id(),
            &args.person.person,
            &args.person.credential,
        )?;
        Ok(Statement::Cancel(Cancel {
            common,
            request: *id.as_bytes(),
        }))
    };
    let check = |statement: &Statement| match statement {
        Statement::Cancel(cancel) if &cancel.request == id.as_bytes() => Ok(()),
        _ => Err(Fail::invalid("the statement does not cancel this request")),
    };
    match people::sign(&args.person, fresh, check)? {
        Signing::Done(signed) => {
            if let Some(path) = &args.out {
                verbs::write_new(path, &signed.encode())?;
                return Ok(Reply::new(
                    format!("wrote {}", path.display()),
                    json!({"statement": path}),
                ));
            }
            let status = client.cancel(id, &signed).await?;
            let exit = if status.state == State::Cancelled {
                Exit::Done
            } else {
                exit_of(status.state)
            };
            Ok(shown(&status).exit(exit))
        }
        Signing::Written => Ok(written(args)),
    }
}

/// What to do with a body that was written for `ssh-keygen`.
#[must_use]
pub fn written(args: &DecideArgs) -> Reply {
    let body = args.person.ssh_body.clone().unwrap_or_default();
    let command = people::ssh_command(&body);
    Reply::new(
        format!(
            "wrote {}; sign it with\n  {command}\nand run this command again with --ssh-signature {}.sig",
            body.display(),
            body.display()
        ),
        json!({"body": body, "sign_with": command}),
    )
}

async fn list(context: &Context, args: &RequestListArgs) -> Result<Reply, Fail> {
    let client = context.connect("client").await?;
    let state = args.state.as_deref().unwrap_or_default();
    let wallet = args.wallet.as_deref().unwrap_or_default();
    let requests = client.list(state, wallet, args.limit).await?;
    let mut human = String::new();
    for status in &requests {
        human.push_str(&format!(
            "{} {:<10} {:<12} {:<20} {}\n",
            status.id,
            status.state,
            status.wallet,
            status.idempotency_key,
            status.why()
        ));
    }
    if requests.is_empty() {
        human.push_str("no such requests");
    }
    let json = json!({"requests": requests.iter().map(object).collect::<Vec<_>>()});
    Ok(Reply::new(human, json))
}

/// A request that has no signature to show, and the exit code that says why.
#[must_use]
pub fn shown(status: &Status) -> Reply {
    let mut human = format!(
        "request  {}\nstate    {}\nwallet   {}\n",
        status.id, status.state, status.wallet
    );
    let why = status.why();
    if !why.is_empty() {
        human.push_str(&format!("because  {why}\n"));
    }
    for reason in status.reasons.iter().filter(|r| !r.remedy.is_empty()) {
        human.push_str(&format!("remedy   {}\n", reason.remedy));
    }
    for decision in &status.decisions {
        human.push_str(&format!(
            "{:<8} {} with {}\n",
            decision.decision, decision.person, decision.credential
        ));
    }
    Reply::new(human, object(status)).exit(exit_of(status.state))
}

const fn exit_of(state: State) -> Exit {
    match state {
        State::Released => Exit::Done,
        State::Denied => Exit::Denied,
        State::Expired | State::Cancelled | State::Failed => Exit::Ended,
        _ => Exit::Waiting,
    }
}

/// A verified signature.
#[must_use]
pub fn released(end: &Released) -> Reply {
    let status = end.status();
    let human = format!(
        "request    {}\nstate      released, verified here\nwallet     {}\nsigners    {:?}\nsignature  {}\nsigned tx  {}\n",
        status.id,
        status.wallet,
        status.signers,
        hex::encode(end.signature()),
        hex::encode(end.signed_tx()),
    );
    let mut json = object(status);
    if let Value::Object(fields) = &mut json {
        fields.insert("signature".to_owned(), hex::encode(end.signature()).into());
        fields.insert("signed_tx".to_owned(), hex::encode(end.signed_tx()).into());
    }
    Reply::new(human, json)
}

/// A request's status as JSON.
#[must_use]
pub fn object(status: &Status) -> Value {
    let reasons: Vec<_> = status
        .reasons
        .iter()
        .map(|r| json!({"code": r.code, "rule": r.rule, "message": r.message, "remedy": r.remedy}))
        .collect();
    let decisions: Vec<_> = status
        .decisions
        .iter()
        .map(|d| json!({"person": d.person, "decision": d.decision, "credential": d.credential, "issued_ms": d.issued_ms}))
        .collect();
    let needs = status.needs.as_ref().map(|needs| {
        let groups: Vec<_> = needs
            .groups
            .iter()
            .map(|g| json!({"group": g.group, "min": g.min, "have": g.have, "candidates": g.candidates}))
            .collect();
        json!({"groups": groups, "not_before_ms": needs.not_before_ms, "expires_ms": needs.expires_ms})
    });
    json!({
        "request_id": status.id.to_string(), "state": status.state.as_str(), "wallet": status.wallet,
        "idempotency_key": status.idempotency_key, "reasons": reasons, "needs": needs, "decisions": decisions,
        "created_ms": status.created_ms, "updated_ms": status.updated_ms, "timings_us": status.timings_us,
        "signers": status.signers, "failure": status.failure, "policy_hash": hex::encode(&status.policy_hash),
    })
}
