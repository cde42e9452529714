//! `quorate cert`: the certificates of a cluster, from the directory that holds its authority.

pub(crate) mod files;

use policy::{cluster::ClusterFile, time};
use proto::channel::{
    identity::{Leaf, Role, Serial},
    pki::{Authority, Issued, Revocations, Validity},
};
use serde_json::{Value, json};

use self::files::{Place, replace};
use super::Context;
use crate::{
    args::{CertCommand, CertCrlArgs, CertRevokeArgs, CertRotateArgs, CertStatusArgs, NewKey},
    fail::{Exit, Fail},
    output::Reply,
};

const DAY: u64 = 86_400;

/// Runs the verb.
///
/// # Errors
/// A file is missing, wrong or cannot be written.
pub fn run(context: &Context, command: &CertCommand) -> Result<Reply, Fail> {
    match command {
        CertCommand::Status(args) => status(context, args),
        CertCommand::Rotate(args) => rotate(context, args),
        CertCommand::Revoke(args) => revoke(context, args),
        CertCommand::Crl(args) => {
            let place = Place::open(context, &args.place)?;
            crl(&place, args)
        }
    }
}

/// Seconds since 1970.
fn now() -> Result<u64, Fail> {
    Ok(super::now_ms()? / 1000)
}

fn day(seconds: u64) -> String {
    time::format_utc(seconds.saturating_mul(1000))
}

/// What one line of the status says.
struct Row {
    who: String,
    serial: String,
    until: u64,
    state: &'static str,
}

impl Row {
    fn new(
        who: String,
        serial: String,
        until: u64,
        revoked: bool,
        (now, warn): (u64, u64),
    ) -> Self {
        let state = if revoked {
            "revoked"
        } else if until <= now {
            "EXPIRED"
        } else if until < now.saturating_add(warn) {
            "expires soon"
        } else {
            "good"
        };
        Self {
            who,
            serial,
            until,
            state,
        }
    }
}

fn status(context: &Context, args: &CertStatusArgs) -> Result<Reply, Fail> {
    let place = Place::open(context, &args.place)?;
    let list = place.revocations()?;
    let now = now()?;
    let at = (now, u64::from(args.warn_days).saturating_mul(DAY));
    let mut rows = vec![Row::new(
        "revocation list".to_owned(),
        format!("number {}", list.number),
        list.next_update,
        false,
        at,
    )];
    for (who, role) in place.everybody() {
        let Some(leaf) = place.leaf(&who, role)? else {
            continue;
        };
        let revoked = list.names(&leaf.serial);
        rows.push(Row::new(
            who,
            leaf.serial.to_string(),
            leaf.not_after,
            revoked,
            at,
        ));
    }
    let good = rows.iter().all(|row| row.state == "good");
    let mut human = String::new();
    for row in &rows {
        human.push_str(&format!(
            "{:<16} {:<13} until {} ({} days)  {}\n",
            row.who,
            row.state,
            day(row.until),
            row.until.saturating_sub(now) / DAY,
            row.serial
        ));
    }
    if !good {
        human.push_str("renew with `quorate cert rotate WHO`, the list with `quorate cert crl`\n");
    }
    let certificates: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "who": row.who, "serial": row.serial, "not_after": row.until,
                "days": row.until.saturating_sub(now) / DAY, "state": row.state,
            })
        })
        .collect();
    let reply = Reply::new(human, json!({"certificates": certificates, "good": good}));
    Ok(if good {
        reply
    } else {
        reply.exit(Exit::CheckFailed)
    })
}

fn rotate(context: &Context, args: &CertRotateArgs) -> Result<Reply, Fail> {
    let place = Place::open(context, &args.place)?;
    if let Some(step) = args.new_key {
        return new_key(&place, args, step);
    }
    let whom = place.named(&args.who)?;
    let authority = place.authority()?;
    let validity = Validity::days(now()?, u32::from(args.days));
    let mut human = String::new();
    let mut rows = Vec::new();
    let mut replaced = Vec::new();
    for (who, role) in &whom {
        let old = place.leaf(who, *role)?;
        let issued = match role {
            // Everybody has pinned this key; a new one goes another way.
            Role::Coordinator => authority.renew(
                *role,
                &[&place.cluster.coordinator.server_name],
                validity,
                &place.key(who)?,
            ),
            _ => authority.issue(*role, &[], validity),
        };
        let issued = issued.map_err(Fail::failed)?;
        if !args.dry_run {
            place.install(who, &issued)?;
        }
        human.push_str(&format!(
            "{who:<16} until {}  {}\n",
            day(issued.leaf.not_after),
            issued.leaf.serial
        ));
        rows.push(json!({
            "who": who, "serial": issued.leaf.serial.to_string(), "not_after": issued.leaf.not_after,
            "replaces": old.as_ref().map(|leaf| leaf.serial.to_string()),
        }));
        replaced.extend(
            old.map(|leaf| leaf.serial)
                .filter(|serial| *serial != issued.leaf.serial),
        );
    }
    if args.revoke_old && !args.dry_run {
        let number = sign_list(&place, &authority, &replaced, validity)?;
        human.push_str(&format!(
            "the certificates they replace are revoked by list {number}\n"
        ));
    }
    human.push_str(if args.dry_run {
        "nothing was written"
    } else {
        "copy them to where they are used; services take them up within a second, connections that are up stay up"
    });
    Ok(Reply::new(
        human,
        json!({"issued": rows, "revoked": args.revoke_old, "dry_run": args.dry_run}),
    ))
}

/// Signs a list that also names these certificates; returns its number.
fn sign_list(
    place: &Place,
    authority: &Authority,
    also: &[Serial],
    validity: Validity,
) -> Result<u64, Fail> {
    let Revocations {
        number,
        mut serials,
        next_update,
    } = place.revocations()?;
    serials.extend(also.iter().cloned());
    serials.sort();
    serials.dedup();
    let number = number.saturating_add(1);
    // An earlier end than the present one would be a surprise.
    let until = validity.until.max(next_update);
    let validity = Validity { until, ..validity };
    let text = authority
        .crl(&serials, number, validity)
        .map_err(Fail::failed)?;
    replace(&place.crl(), text.as_bytes(), false)?;
    Ok(number)
}

fn crl(place: &Place, args: &CertCrlArgs) -> Result<Reply, Fail> {
    let validity = Validity::days(now()?, u32::from(args.days));
    let number = sign_list(place, &place.authority()?, &[], validity)?;
    let until = place.revocations()?.next_update;
    let human = format!(
        "revocation list {number} is good until {}; copy {} to every host",
        day(until),
        place.crl().display()
    );
    Ok(Reply::new(
        human,
        json!({"number": number, "next_update": until}),
    ))
}

fn revoke(context: &Context, args: &CertRevokeArgs) -> Result<Reply, Fail> {
    let place = Place::open(context, &args.place)?;
    let mut serials = args
        .serials
        .iter()
        .map(|text| {
            let bytes = hex::decode(text).unwrap_or_default();
            Serial::from_bytes(&bytes)
                .map_err(|_| Fail::invalid(format_args!("{text} is not a serial number")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    for (who, role) in place.named(&args.who)? {
        let leaf = place
            .leaf(&who, role)?
            .ok_or_else(|| Fail::invalid(format_args!("{who} has no certificate here")))?;
        serials.push(leaf.serial);
    }
    let validity = Validity::days(now()?, u32::from(args.days));
    let number = sign_list(&place, &place.authority()?, &serials, validity)?;
    let revoked: Vec<String> = serials.iter().map(ToString::to_string).collect();
    let human = format!(
        "revoked by list {number}: {}\ncopy {} to every host; connections with these certificates are closed within a second",
        revoked.join(", "),
        place.crl().display()
    );
    Ok(Reply::new(
        human,
        json!({"number": number, "revoked": revoked}),
    ))
}

/// A new key for the coordinator: pinned beside the old one, then presented, then alone.
fn new_key(place: &Place, args: &CertRotateArgs, step: NewKey) -> Result<Reply, Fail> {
    if args.who != ["coordinator"] {
        return Err(Fail::new(
            Exit::Usage,
            "--new-key is for the coordinator; everybody else gets a new key with every certificate",
        ));
    }
    let who = "coordinator";
    let mut cluster: ClusterFile = place.cluster.clone();
    let pins = cluster.coordinator.pins.clone();
    let present = place
        .leaf(who, Role::Coordinator)?
        .ok_or_else(|| Fail::invalid("the coordinator has no certificate here"))?;
    let human = match step {
        NewKey::Prepare => {
            let authority = place.authority()?;
            let names = [cluster.coordinator.server_name.as_str()];
            let validity = Validity::days(now()?, u32::from(args.days));
            let issued: Issued = authority
                .issue(Role::Coordinator, &names, validity)
                .map_err(Fail::failed)?;
            cluster.coordinator.pins = vec![*present.pin.as_bytes(), *issued.leaf.pin.as_bytes()];
            place.install_next(who, &issued)?;
            place.write_cluster(&cluster)?;
            format!(
                "{} now pins the coordinator's key and the next one: copy it to every host, restart or reconnect clients, then\n  \
                 quorate cert rotate coordinator --new-key activate",
                place.cluster_path().display()
            )
        }
        NewKey::Activate => {
            let next: Leaf = place.activate_next(who, &pins)?;
            format!(
                "the coordinator presents its new key (certificate {}) to whoever connects from now on; when all have, then\n  \
                 quorate cert rotate coordinator --new-key finish",
                next.serial
            )
        }
        NewKey::Finish => {
            if !pins.contains(present.pin.as_bytes()) {
                return Err(Fail::invalid(
                    "the cluster file does not pin the coordinator's key",
                ));
            }
            cluster.coordinator.pins = vec![*present.pin.as_bytes()];
            place.write_cluster(&cluster)?;
            format!(
                "{} pins the new key alone: copy it to every host",
                place.cluster_path().display()
            )
        }
    };
    let pins: Vec<String> = place
        .reread()?
        .coordinator
        .pins
        .iter()
        .map(hex::encode)
        .collect();
    Ok(Reply::new(human, json!({"pins": pins})))
}
