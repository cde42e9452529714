//! An order as its signer must see it: the whole text that is signed, and whether its numbers mean this cluster's nodes.
//!
//! The words at the end of the text name at most a few keys and no attempts, and nodes by number only. Whoever signs is
//! therefore shown every field, and the numbers are held against the cluster file on this machine.

use mpc_core::identity::IdentityPublic;
use policy::{
    cluster::ClusterFile,
    governance::Matter,
    statement::{Common, KeyRef, Statement, reshare::Seat},
};
use serde_json::{Value, json};

use crate::fail::{Exit, Fail};

/// Lines that say who signs and when, and nothing of what.
const WHO: [&str; 5] = [
    "person: ",
    "credential: ",
    "nonce: ",
    "issued: ",
    "expires: ",
];

/// The text that is signed, line by line.
#[must_use]
pub(super) fn lines(statement: &Statement) -> Vec<String> {
    let text = statement.render();
    String::from_utf8_lossy(&text)
        .lines()
        .map(str::to_owned)
        .collect()
}

/// The same without who signs: what is equal in the statements of all.
#[must_use]
pub(super) fn body(matter: &Matter, cluster: &str) -> Vec<String> {
    let nobody = Common {
        cluster: cluster.to_owned(),
        person: String::new(),
        credential: String::new(),
        nonce: [0; 16],
        issued_ms: 0,
        expires_ms: 0,
    };
    let mut lines = lines(&matter.clone().statement(nobody));
    lines.retain(|line| !WHO.iter().any(|key| line.starts_with(key)));
    lines
}

/// Refuses an order whose node numbers are other nodes than those of the cluster file on this machine.
///
/// # Errors
/// [`Exit::Security`]: whoever drew the order up means other nodes than its reader.
pub(super) fn means_these_nodes(matter: &Matter, cluster: &ClusterFile) -> Result<(), Fail> {
    let Matter::Reshare(plan) = matter else {
        return Ok(());
    };
    for seat in plan.holders.iter().chain(&plan.members) {
        let known = cluster.nodes.iter().find(|node| node.index == seat.node);
        let known = known.and_then(|node| IdentityPublic::from_bytes(&node.identity).ok());
        if known.is_some_and(|known| *known.node_id().as_bytes() == seat.id) {
            continue;
        }
        return Err(Fail::new(
            Exit::Security,
            format_args!(
                "the order calls {} node {}, and the cluster file here does not",
                hex::encode(seat.id),
                seat.node
            ),
        )
        .hint("do not sign; find out whether cluster.toml on this machine is out of date or the order is forged"));
    }
    Ok(())
}

/// Whether two orders are the same but for the name that each drawing up makes anew.
#[must_use]
pub(super) fn same_but_name(one: &Matter, other: &Matter) -> bool {
    let mut one = one.clone();
    let request = other.request();
    match &mut one {
        Matter::Export(it) => it.request = request,
        Matter::Reshare(it) => it.request = request,
        Matter::Retire(it) => it.request = request,
    }
    one == *other
}

/// An order for a program, field by field.
#[must_use]
pub(super) fn object(matter: &Matter) -> Value {
    match matter {
        Matter::Export(it) => json!({
            "keys": [key(&it.key)], "recipient": hex::encode(it.recipient), "reason": it.reason,
        }),
        Matter::Retire(it) => json!({"keys": [key(&it.key)], "reason": it.reason}),
        Matter::Reshare(plan) => {
            let keys: Vec<Value> = plan
                .keys
                .iter()
                .map(|one| {
                    let mut object = key(&one.key);
                    if let Value::Object(fields) = &mut object {
                        fields.insert("first_attempt".to_owned(), one.first.into());
                        fields.insert("last_attempt".to_owned(), one.last.into());
                    }
                    object
                })
                .collect();
            json!({
                "keys": keys, "holders": seats(&plan.holders), "threshold": plan.threshold,
                "dealers": plan.dealers, "members": seats(&plan.members),
                "new_threshold": plan.new_threshold, "fresh_pairs": plan.fresh_pairs,
            })
        }
    }
}

fn key(key: &KeyRef) -> Value {
    json!({
        "key_id": hex::encode(key.key), "name": key.name, "scheme": key.scheme, "epoch": key.epoch,
        "attempt": key.attempt, "sharing": hex::encode(key.sharing),
    })
}

fn seats(seats: &[Seat]) -> Vec<Value> {
    seats
        .iter()
        .map(
            |seat| json!({"index": seat.index, "node": seat.node, "node_id": hex::encode(seat.id)}),
        )
        .collect()
}
