//! `quorate policy eval`: what a document would decide, on this machine, with nothing spent yet.

use policy::{
    document::PolicyHash,
    evaluate::{Explanation, Facts, Fraction, Reason, explain},
    intent::SignedIntent,
    ledger::Ledger,
    time,
    transaction::{RootKey, Scheme},
};
use serde_json::{Value, json};

use crate::{
    args::PolicyEvalArgs,
    fail::{Exit, Fail},
    output::Reply,
    people, verbs,
};

pub(super) fn run(args: &PolicyEvalArgs) -> Result<Reply, Fail> {
    let (bytes, document) = super::read(&args.document)?;
    let intent = SignedIntent::decode(&verbs::read(&args.intent)?)
        .map_err(|e| Fail::invalid(format_args!("{}: {e}", args.intent.display())))?;
    let public_key = hex::decode(&args.public_key)
        .ok()
        .filter(|key| matches!(key.len(), 32 | 33))
        .ok_or_else(|| Fail::invalid("--public-key is not 32 or 33 bytes in hex"))?;
    let scheme = match (args.scheme.as_deref(), public_key.len()) {
        (Some(name), _) => Scheme::parse(name),
        (None, 32) => Some(Scheme::Ed25519),
        (None, _) => Some(Scheme::Ecdsa),
    };
    let keys = RootKey {
        scheme: scheme.ok_or_else(|| Fail::invalid("--scheme is none that is known"))?,
        public_key,
    };
    let approvals = args
        .approvals
        .iter()
        .map(|path| people::read_statement(path))
        .collect::<Result<Vec<_>, _>>()?;
    let now_ms = match &args.at {
        Some(text) => instant("--at", text)?,
        None => verbs::now_ms()?,
    };
    let first_seen_ms = match &args.first_seen {
        Some(text) => Some(instant("--first-seen", text)?),
        None => None,
    };
    let ledger = Ledger::default();
    let view = ledger.view(intent.digest());
    let facts = Facts {
        now_ms,
        first_seen_ms,
        frozen: false,
        ledger: &view,
        share_of_limit: Fraction::WHOLE,
    };
    let hash = PolicyHash::of(&bytes);
    Ok(told(&explain(
        &document, &hash, &keys, &intent, &approvals, &facts,
    )))
}

fn instant(name: &str, text: &str) -> Result<u64, Fail> {
    time::parse_utc(text).map_err(|e| Fail::invalid(format_args!("{name} {text}: {e}")))
}

fn told(explanation: &Explanation) -> Reply {
    match explanation {
        Explanation::Denied(denied) => {
            let human = format!("denied\n{}", lines(&denied.reasons));
            let json = json!({"verdict": "denied", "reasons": reasons(&denied.reasons)});
            Reply::new(human, json).exit(Exit::Denied)
        }
        Explanation::Needs(needs) => {
            let human = format!("not yet\n{}", lines(&needs.reasons));
            let groups: Vec<_> = needs
                .groups
                .iter()
                .map(|g| {
                    let candidates: Vec<&str> = g.candidates.iter().map(AsRef::as_ref).collect();
                    json!({"group": g.group.as_str(), "rule": g.rule.as_str(), "min": g.min, "have": g.have, "candidates": candidates})
                })
                .collect();
            let json = json!({
                "verdict": "needs", "reasons": reasons(&needs.reasons), "groups": groups,
                "not_before_ms": needs.not_before_ms, "expires_ms": needs.expires_ms,
            });
            Reply::new(human, json).exit(Exit::Waiting)
        }
        Explanation::WouldSign {
            outline,
            expires_ms,
        } => {
            let rules: Vec<&str> = outline.rules.iter().map(AsRef::as_ref).collect();
            let human = format!(
                "would sign, under {}\n{}",
                rules.join(", "),
                outline.lines.join("\n")
            );
            let json = json!({
                "verdict": "sign", "rules": rules, "lines": outline.lines, "expires_ms": expires_ms,
            });
            Reply::new(human, json)
        }
    }
}

fn lines(reasons: &[Reason]) -> String {
    reasons.iter().map(|r| format!("  {r}\n")).collect()
}

fn reasons(reasons: &[Reason]) -> Vec<Value> {
    reasons
        .iter()
        .map(|r| {
            let rule = r.rule.as_ref().map(AsRef::<str>::as_ref);
            json!({"code": r.code.as_str(), "rule": rule, "message": r.message, "remedy": r.remedy})
        })
        .collect()
}
