//! `quorate freeze` and `quorate unfreeze`.

use policy::{
    statement::{Freeze, Statement, Unfreeze},
    time::format_utc,
};
use proto::v1::FreezeState;
use serde_json::json;

use super::Context;
use crate::{
    args::{FreezeArgs, PersonArgs, UnfreezeArgs},
    fail::Fail,
    output::Reply,
    people::{self, Signing},
    verbs,
};

/// `quorate freeze`.
///
/// # Errors
/// The statement is refused, or the coordinator is not there.
pub async fn freeze(context: &Context, args: &FreezeArgs) -> Result<Reply, Fail> {
    let client = context.connect("client").await?;
    let fresh = || {
        let common = common_of(client.cluster_id(), &args.person)?;
        Ok(Statement::Freeze(Freeze { common }))
    };
    let check = |statement: &Statement| match statement {
        Statement::Freeze(_) => Ok(()),
        _ => Err(Fail::invalid("the statement is no freeze")),
    };
    match people::sign(&args.person, fresh, check)? {
        Signing::Done(signed) => Ok(told(&client.freeze(&signed).await?)),
        Signing::Written => Ok(written(&args.person)),
    }
}

/// `quorate unfreeze`.
///
/// # Errors
/// The quorum is not complete, a statement is refused, or the coordinator is not there.
pub async fn unfreeze(context: &Context, args: &UnfreezeArgs) -> Result<Reply, Fail> {
    let client = context.connect("client").await?;
    let mut statements = Vec::new();
    for path in &args.statements {
        statements.push(people::read_statement(path)?);
    }
    if let Some(person) = &args.person() {
        let fresh = || {
            let common = common_of(client.cluster_id(), person)?;
            Ok(Statement::Unfreeze(Unfreeze { common }))
        };
        let check = |statement: &Statement| match statement {
            Statement::Unfreeze(_) => Ok(()),
            _ => Err(Fail::invalid("the statement is no unfreeze")),
        };
        match people::sign(person, fresh, check)? {
            Signing::Done(signed) => statements.push(*signed),
            Signing::Written => return Ok(written(person)),
        }
    }
    if let (Some(path), Some(signed)) = (&args.out, statements.first()) {
        verbs::write_new(path, &signed.encode())?;
        return Ok(Reply::new(
            format!("wrote {}", path.display()),
            json!({"statement": path}),
        ));
    }
    Ok(told(&client.unfreeze(&statements).await?))
}

fn common_of(cluster: &str, person: &PersonArgs) -> Result<policy::statement::Common, Fail> {
    people::common(cluster, &person.person, &person.credential)
}

fn written(person: &PersonArgs) -> Reply {
    let body = person.ssh_body.clone().unwrap_or_default();
    let command = people::ssh_command(&body);
    Reply::new(
        format!(
            "wrote {}; sign it with\n  {command}\nand run this command again with --ssh-signature",
            body.display()
        ),
        json!({"body": body, "sign_with": command}),
    )
}

fn told(state: &FreezeState) -> Reply {
    let human = match (state.frozen, state.lifts_ms) {
        (true, 0) => format!(
            "frozen by {} since {}",
            state.by,
            format_utc(state.since_ms)
        ),
        (true, lifts) => format!("frozen by {}, lifts at {}", state.by, format_utc(lifts)),
        (false, _) => "not frozen".to_owned(),
    };
    let json = json!({
        "frozen": state.frozen, "by": state.by, "since_ms": state.since_ms, "lifts_ms": state.lifts_ms,
    });
    Reply::new(human, json)
}
