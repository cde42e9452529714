//! Orders about keys: shown here, signed by people, followed to their end.

mod sheet;

use std::io::{self, BufRead as _, IsTerminal as _};

use client::{Client, ceremony};
use policy::{
    cluster::ClusterFile,
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
        OrderCommand::Show(args) => {
            let order = find(&client, &args.id).await?;
            Ok(whole(&order, client.cluster_id())?)
        }
        OrderCommand::Sign(args) => sign(context, &client, &args).await,
        OrderCommand::Submit(args) => submit(context, &client, &args).await,
        OrderCommand::Watch(args) => {
            let order = find(&client, &args.id).await?;
            watch(context, &client, order).await
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

/// Shows the words of an order.
pub fn read_out(context: &Context, matter: &Matter) {
    context
        .output
        .must_see(&format!("This is the order to {}:", matter.word()));
    for (number, line) in (1_u32..).zip(matter.lines()) {
        context.output.must_see(&format!("{number:>4}  {line}"));
    }
}

/// Shows an order that was drawn up here, has it signed and sends it.
///
/// # Errors
/// Nobody signs, or the coordinator or a node refuses.
pub async fn place(
    context: &Context,
    client: &Client,
    matter: &Matter,
    args: &OrderArgs,
) -> Result<Reply, Fail> {
    // What comes back from ssh-keygen was drawn up by an earlier run: another name, all else the same.
    let same = |signed: &Matter| sheet::same_but_name(signed, matter);
    show_and_sign(context, client, matter, args, same).await
}

async fn show_and_sign(
    context: &Context,
    client: &Client,
    matter: &Matter,
    args: &OrderArgs,
    same: impl Fn(&Matter) -> bool,
) -> Result<Reply, Fail> {
    let cluster = verbs::read(&context.common.cluster)?;
    let cluster = ClusterFile::parse(&cluster).map_err(Fail::invalid)?;
    sheet::means_these_nodes(matter, &cluster)?;
    let person = args.person();
    let statement = match &person {
        Some(person) => Some(match (&person.ssh_body, &person.ssh_signature) {
            (Some(body), Some(_)) => Statement::parse(&verbs::read(body)?)
                .map_err(|e| Fail::invalid(format_args!("{}: {e}", body.display())))?,
            _ => {
                let common =
                    people::common(client.cluster_id(), &person.person, &person.credential)?;
                matter.clone().statement(common)
            }
        }),
        None => None,
    };
    // Compared before it is shown: what is shown is the order that was asked for, to the byte what is signed.
    let check = |statement: &Statement| match Matter::of(statement) {
        Some(signed) if same(&signed) => Ok(()),
        _ => Err(Fail::invalid("the signed body is not this order")
            .hint("write a new body with --ssh-body and sign that one")),
    };
    let text = match &statement {
        Some(statement) => {
            check(statement)?;
            sheet::lines(statement)
        }
        None => sheet::body(matter, client.cluster_id()),
    };
    show(context, matter, &text);
    if args.dry_run {
        return Ok(Reply::new(
            "nothing was signed or sent",
            json!({
                "dry_run": true, "kind": matter.word(), "lines": matter.lines(), "text": text,
                "order": sheet::object(matter),
            }),
        ));
    }
    let (Some(person), Some(statement)) = (person, statement) else {
        return Err(Fail::new(Exit::Usage, "nobody signs").hint("give --person and --credential"));
    };
    confirm(args, matter.word())?;
    let signed = match people::sign(&person, || Ok(statement), check)? {
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

/// The whole text on standard error, so that it is seen with `--json` too. Numbered, so that two people who compare what they
/// see over the telephone can name a line.
fn show(context: &Context, matter: &Matter, text: &[String]) {
    let output = context.output;
    output.must_see(&format!(
        "This is the order to {}, whole, as it is signed:",
        matter.word()
    ));
    for (number, line) in (1_u32..).zip(text) {
        output.must_see(&format!("{number:>4}  {line}"));
    }
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
    show_and_sign(context, client, &matter, &args.order, |signed| {
        *signed == matter
    })
    .await
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
    watch(context, client, order).await
}

/// Tells every change of an order until it has ended. On a terminal the newest line stands; elsewhere each is a line of its own.
async fn watch(context: &Context, client: &Client, order: OrderStatus) -> Result<Reply, Fail> {
    let live = io::stderr().is_terminal();
    let progress = context.output.spinner("the nodes begin");
    let mut keys: Vec<OrderKey> = Vec::new();
    let mut last = String::new();
    let mut tell = |text: String| {
        if live {
            progress.message(&text);
        } else if text != last {
            context.output.note(&text);
            last = text;
        }
    };
    let mut end = client
        .watch_order(id(&order)?, |now| {
            if now.state == "waiting" {
                tell(format!("waiting for {}", now.missing.join(", ")));
            }
            for key in &now.keys {
                match keys.iter_mut().find(|held| held.key_id == key.key_id) {
                    Some(held) => held.clone_from(key),
                    None => keys.push(key.clone()),
                }
                if now.state != "waiting" {
                    tell(stage(key, now));
                }
            }
        })
        .await?;
    drop(progress);
    end.keys = keys;
    Ok(told(&end))
}

/// One line of live status: `hot: attempt 1, round2 (node 1 round2, node 2 asked, node 3 away), 3 of 10 keys done`.
fn stage(key: &OrderKey, order: &OrderStatus) -> String {
    let nodes: Vec<String> = key
        .nodes
        .iter()
        .map(|node| {
            let stage = match (node.connected, node.stage.as_str()) {
                (false, _) => "away",
                (true, "") => "asked",
                (true, stage) => stage,
            };
            format!("node {} {stage}", node.node)
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
    let mut line = format!(
        "{:.16} {:<10} {:<9} {} of {} keys",
        hex::encode(&order.request_id),
        order.kind,
        order.state,
        order.finished,
        order.total
    );
    if !order.missing.is_empty() {
        line.push_str(&format!(", missing: {}", order.missing.join(", ")));
    }
    line.push('\n');
    line
}

/// An order with the whole text that its people sign, if people ordered it.
fn whole(order: &OrderStatus, cluster: &str) -> Result<Reply, Fail> {
    if order.statements.is_empty() {
        return Ok(told(order));
    }
    let matter = ceremony::matter(order)?;
    let text = sheet::body(&matter, cluster);
    let mut human = String::from("what its people sign:\n");
    for (number, line) in (1_u32..).zip(&text) {
        human.push_str(&format!("{number:>4}  {line}\n"));
    }
    human.push_str(&in_words(order));
    let mut json = object(order);
    if let Value::Object(fields) = &mut json {
        fields.insert("text".to_owned(), text.into());
        fields.insert("ordered".to_owned(), sheet::object(&matter));
    }
    Ok(Reply::new(human, json).exit(exit_of(order)))
}

fn told(order: &OrderStatus) -> Reply {
    Reply::new(in_words(order), object(order)).exit(exit_of(order))
}

fn in_words(order: &OrderStatus) -> String {
    let name = hex::encode(&order.request_id);
    let mut human = format!("order {name}: {}, {}\n", order.kind, order.state);
    // The keys come first: the words may refer to them as listed above.
    for key in &order.keys {
        human.push_str(&format!(
            "  {:<16} {} (epoch {} attempt {})\n",
            key.name, key.stage, key.epoch, key.attempt
        ));
        if let Some(failure) = &key.failure {
            human.push_str(&format!("    {}; {}\n", failure.message, failure.hint));
        }
    }
    for text in &order.lines {
        human.push_str(&format!("  {text}\n"));
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
    human
}

fn exit_of(order: &OrderStatus) -> Exit {
    match order.state.as_str() {
        "waiting" => Exit::Waiting,
        "failed" | "cancelled" | "expired" => Exit::Ended,
        _ => Exit::Done,
    }
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
