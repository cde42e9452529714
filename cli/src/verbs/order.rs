//! Orders about keys: shown here, signed by people, followed to their end.

use std::io::{self, BufRead as _, IsTerminal as _};

use client::{Client, ceremony};
use policy::{
    governance::Matter,
    statement::{SignedStatement, Statement},
};
use proto::v1::{OrderKey, OrderStatus};
use serde_json::{Value, json};

use super::Context;
use crate::{
    args::{OrderArgs, OrderCommand, OrderSignArgs, OrderSubmitArgs},
    fail::{Exit, Fail},
    output::Reply,
    people::{self, Signing},
    verbs,
};

/// Runs the verb.
///
/// # Errors
/// The coordinator is not there, refuses, or the order fails.
pub async fn run(context: &Context, command: OrderCommand) -> Result<Reply, Fail> {
    let client = context.connect("operator").await?;
    match command {
        OrderCommand::List(args) => {
            let orders = client.orders(args.ended, args.limit).await?;
            let mut human: String = orders.iter().map(line).collect();
            if orders.is_empty() {
                human.push_str("no orders");
            }
            let orders: Vec<Value> = orders.iter().map(object).collect();
            Ok(Reply::new(human, json!({"orders": orders})))
        }
        OrderCommand::Show(args) => Ok(told(&find(&client, &args.id).await?)),
        OrderCommand::Sign(args) => sign(context, &client, &args).await,
        OrderCommand::Submit(args) => submit(context, &client, &args).await,
        OrderCommand::Watch(args) => {
            let order = find(&client, &args.id).await?;
            follow(context, &client, order, true).await
        }
        OrderCommand::Cancel(args) => {
            let order = find(&client, &args.id).await?;
            Ok(told(&client.cancel_order(id(&order)?).await?))
        }
    }
}

/// The one order whose id begins like this.
///
/// # Errors
/// There is none, or more than one; the coordinator is not there.
pub async fn find(client: &Client, wanted: &str) -> Result<OrderStatus, Fail> {
    let orders = client.orders(true, 1000).await?;
    let mut found = orders
        .into_iter()
        .filter(|order| hex::encode(&order.request_id).starts_with(wanted));
    match (found.next(), found.next()) {
        (Some(order), None) => Ok(order),
        _ => Err(Fail::invalid(format_args!(
            "no order, or more than one, begins with {wanted}"
        ))
        .hint("`quorate order list --ended` shows them")),
    }
}

fn id(order: &OrderStatus) -> Result<[u8; 32], Fail> {
    order.request_id[..]
        .try_into()
        .map_err(|_| Fail::new(Exit::Security, "the coordinator names an order wrongly"))
}

/// Shows what an order is about.
pub fn read_out(context: &Context, matter: &Matter) {
    context
        .output
        .must_see(&format!("This is the order to {}:", matter.word()));
    for (number, line) in (1_u32..).zip(matter.lines()) {
        context.output.must_see(&format!("{number:>4}  {line}"));
    }
}

/// Shows an order, has it signed and sends it.
///
/// # Errors
/// Nobody signs, or the coordinator or a node refuses.
pub async fn place(
    context: &Context,
    client: &Client,
    matter: &Matter,
    args: &OrderArgs,
) -> Result<Reply, Fail> {
    let lines = matter.lines();
    read_out(context, matter);
    if args.dry_run {
        return Ok(Reply::new(
            "nothing was signed or sent",
            json!({"dry_run": true, "kind": matter.word(), "lines": lines}),
        ));
    }
    let Some(person) = args.person() else {
        return Err(Fail::new(Exit::Usage, "nobody signs").hint("give --person and --credential"));
    };
    confirm(args, matter.word())?;
    let fresh = || {
        let common = people::common(client.cluster_id(), &person.person, &person.credential)?;
        Ok(matter.clone().statement(common))
    };
    // What comes back from ssh-keygen was drawn up earlier: another name of the order, the same words.
    let check = |statement: &Statement| match Matter::of(statement) {
        Some(signed) if signed.lines() == lines => Ok(()),
        _ => Err(
            Fail::invalid("the signed body is not the order that is shown")
                .hint("write a new body with --ssh-body and sign that one"),
        ),
    };
    let signed = match people::sign(&person, fresh, check)? {
        Signing::Done(signed) => *signed,
        Signing::Written => {
            let body = person.ssh_body.clone().unwrap_or_default();
            let command = people::ssh_command(&body);
            return Ok(Reply::new(
                format!(
                    "wrote {}; sign it with\n  {command}\nand run this command again with --ssh-signature",
                    body.display()
                ),
                json!({"body": body, "sign_with": command}),
            ));
        }
    };
    if let Some(path) = &args.out {
        verbs::write_new(path, &signed.encode())?;
        return Ok(Reply::new(
            format!("wrote {}", path.display()),
            json!({"statement": path}),
        ));
    }
    let order = client.submit_order(&[signed], false).await?;
    follow(context, client, order, !args.no_wait).await
}

fn confirm(args: &OrderArgs, word: &str) -> Result<(), Fail> {
    ask(args.yes || args.ssh_body.is_some(), word)
}

/// Has whoever sits there type a word, unless it is certain already.
///
/// # Errors
/// Nobody is there, or something else is typed.
pub fn ask(certain: bool, word: &str) -> Result<(), Fail> {
    if certain {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(
            Fail::new(Exit::Usage, "nobody is there to confirm what is shown")
                .hint("run it on a terminal, or add --yes"),
        );
    }
    let mut answer = String::new();
    let asked = format!("Type `{word}` to sign it: ");
    io::Write::write_all(&mut io::stderr(), asked.as_bytes())
        .and_then(|()| io::stdin().lock().read_line(&mut answer).map(|_| ()))
        .map_err(|e| Fail::failed(format_args!("cannot ask: {e}")))?;
    if answer.trim() == word {
        Ok(())
    } else {
        Err(Fail::new(Exit::Interrupted, "nothing was signed"))
    }
}

async fn sign(context: &Context, client: &Client, args: &OrderSignArgs) -> Result<Reply, Fail> {
    let order = find(client, &args.id.id).await?;
    let matter = ceremony::matter(&order)?;
    place(context, client, &matter, &args.order).await
}

async fn submit(context: &Context, client: &Client, args: &OrderSubmitArgs) -> Result<Reply, Fail> {
    let statements = args
        .statements
        .iter()
        .map(|path| people::read_statement(path))
        .collect::<Result<Vec<SignedStatement>, Fail>>()?;
    let order = client.submit_order(&statements, args.dry_run).await?;
    follow(context, client, order, !args.no_wait && !args.dry_run).await
}

/// Waits for the end of an order that runs; one that waits for people is said to.
async fn follow(
    context: &Context,
    client: &Client,
    order: OrderStatus,
    wait: bool,
) -> Result<Reply, Fail> {
    if !wait || order.state != "running" {
        return Ok(told(&order));
    }
    let progress = context.output.spinner("the nodes begin");
    let mut keys: Vec<OrderKey> = Vec::new();
    let mut end = client
        .watch_order(id(&order)?, |now| {
            for key in &now.keys {
                match keys.iter_mut().find(|held| held.key_id == key.key_id) {
                    Some(held) => held.clone_from(key),
                    None => keys.push(key.clone()),
                }
                progress.message(&stage(key, now));
            }
        })
        .await?;
    drop(progress);
    end.keys = keys;
    Ok(told(&end))
}

/// One line of live status: `hot: attempt 1, round2 (node 1 round2, node 2 round1), 3 of 10 keys done`.
fn stage(key: &OrderKey, order: &OrderStatus) -> String {
    let nodes: Vec<String> = key
        .nodes
        .iter()
        .map(|node| {
            let away = if node.connected { "" } else { " (away)" };
            format!("node {} {}{away}", node.node, node.stage)
        })
        .collect();
    format!(
        "{}: attempt {}, {} ({}), {} of {} keys done",
        key.name,
        key.attempt,
        key.stage,
        nodes.join(", "),
        order.finished,
        order.total
    )
}

fn line(order: &OrderStatus) -> String {
    format!(
        "{:.16} {:<10} {:<9} {} of {} keys\n",
        hex::encode(&order.request_id),
        order.kind,
        order.state,
        order.finished,
        order.total
    )
}

fn told(order: &OrderStatus) -> Reply {
    let name = hex::encode(&order.request_id);
    let mut human = format!("order {name}: {}, {}\n", order.kind, order.state);
    for text in &order.lines {
        human.push_str(&format!("  {text}\n"));
    }
    for key in &order.keys {
        human.push_str(&format!(
            "  {:<16} {} (epoch {} attempt {})\n",
            key.name, key.stage, key.epoch, key.attempt
        ));
        if let Some(failure) = &key.failure {
            human.push_str(&format!("    {}; {}\n", failure.message, failure.hint));
        }
    }
    if !order.missing.is_empty() {
        human.push_str(&format!(
            "missing: {}\nthe next person signs with: quorate order sign {:.16} --person … --credential … --signing-key …\n",
            order.missing.join(", "),
            name
        ));
    }
    if let Some(failure) = &order.failure {
        human.push_str(&format!("{}\nhint: {}\n", failure.message, failure.hint));
    }
    let exit = match order.state.as_str() {
        "waiting" => Exit::Waiting,
        "failed" | "cancelled" | "expired" => Exit::Ended,
        _ => Exit::Done,
    };
    Reply::new(human, object(order)).exit(exit)
}

/// An order for a program.
fn object(order: &OrderStatus) -> Value {
    let keys: Vec<Value> = order
        .keys
        .iter()
        .map(|key| {
            let nodes: Vec<Value> = key
                .nodes
                .iter()
                .map(|node| {
                    json!({
                        "node": node.node, "stage": node.stage, "dealer": node.dealer, "member": node.member,
                        "acked": node.acked, "connected": node.connected,
                    })
                })
                .collect();
            json!({
                "name": key.name, "key_id": hex::encode(&key.key_id), "epoch": key.epoch, "attempt": key.attempt,
                "stage": key.stage, "nodes": nodes, "failure": key.failure.as_ref().map(|f| f.message.clone()),
                "ms": key.ended_ms.saturating_sub(key.started_ms),
            })
        })
        .collect();
    json!({
        "order": hex::encode(&order.request_id), "kind": order.kind, "state": order.state, "lines": order.lines,
        "missing": order.missing, "keys": keys, "total": order.total, "finished": order.finished,
        "failed": order.failed, "failure": order.failure.as_ref().map(|f| f.message.clone()),
    })
}
