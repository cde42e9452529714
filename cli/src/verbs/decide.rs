//! `quorate approve` and `quorate reject`: fetch, decode here, show, then sign.

use std::io::{self, BufRead as _, IsTerminal as _};

use client::Review;
use policy::{approval::Decision, statement::Statement};
use serde_json::json;

use super::{Context, request};
use crate::{
    args::DecideArgs,
    fail::{Exit, Fail},
    output::Reply,
    people::{self, Signing},
    verbs,
};

/// `quorate approve`.
///
/// # Errors
/// The request does not decode here, the person says no, or the statement is refused.
pub async fn approve(context: &Context, args: &DecideArgs) -> Result<Reply, Fail> {
    decide(context, args, Decision::Approve).await
}

/// `quorate reject`.
///
/// # Errors
/// As [`approve`].
pub async fn reject(context: &Context, args: &DecideArgs) -> Result<Reply, Fail> {
    decide(context, args, Decision::Reject).await
}

async fn decide(context: &Context, args: &DecideArgs, decision: Decision) -> Result<Reply, Fail> {
    let id = request::parse_id(&args.request.id)?;
    let client = context.connect("client").await?;
    let review = client.review(id).await?;
    show(context, &review, decision);
    confirm(args, decision)?;

    let fresh = || {
        let common = people::common(
            client.cluster_id(),
            &args.person.person,
            &args.person.credential,
        )?;
        Ok(review.statement(common, decision))
    };
    let check = |statement: &Statement| match statement {
        Statement::Approval(approval) if approval.decision == decision => {
            review.matches(approval).map_err(|e| {
                Fail::invalid(format_args!(
                    "the signed body is not about what is shown: {e}"
                ))
                .hint("write a new body with --ssh-body and sign that one")
            })
        }
        _ => Err(Fail::invalid(format_args!(
            "the signed body is no {}",
            decision.as_str()
        ))),
    };
    let signed = match people::sign(&args.person, fresh, check)? {
        Signing::Done(signed) => signed,
        Signing::Written => return Ok(request::written(args)),
    };
    if let Some(path) = &args.out {
        verbs::write_new(path, &signed.encode())?;
        return Ok(Reply::new(
            format!("wrote {}", path.display()),
            json!({"statement": path, "request_id": id.to_string()}),
        ));
    }
    let status = client.decide(id, &signed).await?;
    let human = format!(
        "{} {} by {}; the request is now {}\n{}",
        if decision == Decision::Approve {
            "approved"
        } else {
            "rejected"
        },
        id,
        signed.person(),
        status.state,
        status.why(),
    );
    Ok(Reply::new(human, request::object(&status)))
}

/// What this machine decoded, on standard error, so that it is seen with `--json` too.
fn show(context: &Context, review: &Review, decision: Decision) {
    let output = context.output;
    output.must_see(&format!(
        "You are about to {} this, as decoded on this machine:",
        decision.as_str()
    ));
    // Numbered, so that two people who compare what they see over the telephone can name a line.
    for (number, line) in (1_u32..).zip(review.lines()) {
        output.must_see(&format!("{number:>4}  {line}"));
    }
    output.must_see(&format!("      policy {}", hex::encode(review.policy())));
}

fn confirm(args: &DecideArgs, decision: Decision) -> Result<(), Fail> {
    // Writing a body, and handing in a signature over one, are not yet or no longer the act of signing.
    if args.yes || args.person.ssh_body.is_some() {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(
            Fail::new(Exit::Usage, "nobody is there to confirm what is shown")
                .hint("run it on a terminal, or add --yes"),
        );
    }
    let mut answer = String::new();
    let asked = format!("Type `{}` to sign it: ", decision.as_str());
    io::Write::write_all(&mut io::stderr(), asked.as_bytes())
        .and_then(|()| io::stdin().lock().read_line(&mut answer).map(|_| ()))
        .map_err(|e| Fail::failed(format_args!("cannot ask: {e}")))?;
    if answer.trim() == decision.as_str() {
        Ok(())
    } else {
        Err(Fail::new(Exit::Interrupted, "nothing was signed"))
    }
}
