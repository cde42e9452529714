//! Coming back from a backup: nothing is signed with a restored share before peers have confirmed, against a challenge of this very
//! start, that no higher sharing is known.
//!
//! A coordinator carries the peers' signed statements and is not believed itself. As many other members must confirm as sign for the
//! key, so at least one honest one among them has looked; a single one that names a higher sharing is enough to refuse. What was spent
//! before the loss is not in a backup either: if any confirming peer has spent something, windows of limits that reach back
//! before the confirmation count as used up.

use std::collections::{BTreeMap, BTreeSet};

use mpc_core::id::NodeId;
use proto::convert::array;
use proto::v1::{AttestQuery, Attestation, CatchUp, FailureCode, NodeStatus};
use sha2::{Digest as _, Sha256};

use super::sharings::{self, Held, Place, Record, place_of, sharing_of};
use super::{Engine, Who};
use crate::codec::{Malformed, Reader, Writer};
use crate::failure::Refusal;

const TAG: &[u8] = b"quorate/attestation/v1";
/// The most statements of one call.
const MAX_STATEMENTS: usize = 64;

/// What a peer says of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    place: Place,
    sharing: [u8; 32],
}

/// What a peer says about the state of the cluster, to a node that came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    from: [u8; 32],
    about: [u8; 32],
    challenge: [u8; 32],
    /// How many shares the peer has ever given away.
    spent: u64,
    keys: BTreeMap<[u8; 32], Seen>,
}

impl Statement {
    pub(super) fn encode(&self) -> Vec<u8> {
        let keys: Vec<Vec<u8>> = self
            .keys
            .iter()
            .map(|(key, seen)| {
                Writer::new()
                    .fixed(key)
                    .u32(seen.place.0)
                    .u32(seen.place.1)
                    .fixed(&seen.sharing)
                    .finish()
            })
            .collect();
        Writer::new()
            .u8(1)
            .fixed(&self.from)
            .fixed(&self.about)
            .fixed(&self.challenge)
            .u64(self.spent)
            .list(&keys)
            .finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        const BAD: Malformed = Malformed("attestation");
        let mut reader = Reader::new("attestation", bytes);
        if reader.u8()? != 1 {
            return Err(BAD);
        }
        let (from, about, challenge) = (reader.array()?, reader.array()?, reader.array()?);
        let spent = reader.u64()?;
        let mut keys = BTreeMap::new();
        let listed = reader.list()?;
        if !listed.is_sorted() {
            return Err(BAD);
        }
        for bytes in listed {
            let mut reader = Reader::new("attestation", bytes);
            let key = reader.array()?;
            let seen = Seen {
                place: (reader.u32()?, reader.u32()?),
                sharing: reader.array()?,
            };
            reader.finish()?;
            if keys.insert(key, seen).is_some() {
                return Err(BAD);
            }
        }
        reader.finish()?;
        Ok(Self {
            from,
            about,
            challenge,
            spent,
            keys,
        })
    }

    /// What the identity key signs.
    fn digest(cluster: &str, body: &[u8]) -> [u8; 32] {
        let bytes = Writer::new()
            .bytes(TAG)
            .bytes(cluster.as_bytes())
            .bytes(body)
            .finish();
        Sha256::digest(bytes).into()
    }

    /// Reads a signed statement that is for this node and this start of it.
    fn open(who: &Who, challenge: &[u8; 32], signed: &[u8]) -> Result<Self, Refusal> {
        let mut reader = Reader::new("attestation", signed);
        let body = reader.bytes().map_err(Refusal::malformed)?;
        let signature: [u8; 64] = reader.array().map_err(Refusal::malformed)?;
        reader.finish().map_err(Refusal::malformed)?;
        let said = Self::decode(body).map_err(Refusal::malformed)?;
        let from = NodeId::from_bytes(said.from);
        let peer = who
            .roster
            .get(&from)
            .filter(|_| from != who.node)
            .ok_or_else(|| Refusal::malformed("an attestation by a stranger"))?;
        let digest = Self::digest(who.cluster.cluster_id.as_str(), body);
        if !peer.identity.verify(&digest, &signature) {
            return Err(Refusal::malformed(
                "an attestation that its node has not signed",
            ));
        }
        if said.about != *who.node.as_bytes() || said.challenge != *challenge {
            return Err(Refusal::new(
                FailureCode::Replayed,
                "an attestation for another node, or for another start of this one",
                "ask the peers again with the challenge in this node's status",
            ));
        }
        Ok(said)
    }
}

impl Engine {
    /// Says what this node knows, to one that came back.
    pub(super) fn attest(&self, call: &AttestQuery) -> Result<Attestation, Refusal> {
        let who = &self.0.who;
        let about = array("about", &call.about).map_err(Refusal::malformed)?;
        if who.roster.get(&NodeId::from_bytes(about)).is_none() || about == *who.node.as_bytes() {
            return Err(Refusal::malformed("an attestation is about another node"));
        }
        let state = self.state();
        let seen = |(key, held): (&[u8; 32], &Held)| {
            let public = held.lineage.active();
            let seen = Seen {
                place: place_of(public),
                sharing: *public.sharing().as_bytes(),
            };
            (*key, seen)
        };
        let said = Statement {
            from: *who.node.as_bytes(),
            about,
            challenge: array("challenge", &call.challenge).map_err(Refusal::malformed)?,
            spent: state.ledger.rows(),
            keys: state.sharings.iter().map(seen).collect(),
        };
        drop(state);
        let body = said.encode();
        let digest = Statement::digest(who.cluster.cluster_id.as_str(), &body);
        let signed = Writer::new()
            .bytes(&body)
            .fixed(&who.identity.sign(&digest))
            .finish();
        Ok(Attestation {
            signed: signed.into(),
        })
    }

    /// Takes peers' statements. Every restored key that they confirm signs again once that is durable; the answer is the status.
    pub(super) async fn catch_up(&self, call: CatchUp) -> Result<NodeStatus, Refusal> {
        if call.attestations.len() > MAX_STATEMENTS {
            return Err(Refusal::malformed("too many attestations"));
        }
        let who = &self.0.who;
        let challenge = self.state().challenge;
        let said = call
            .attestations
            .iter()
            .map(|signed| Statement::open(who, &challenge, signed));
        let said: Vec<Statement> = said.collect::<Result<_, _>>()?;
        let (confirmed, blind_ms, pending) = {
            let mut state = self.state();
            let now = self.now(&mut state)?;
            let blind = said.iter().any(|statement| statement.spent > 0);
            let mut confirmed = Vec::new();
            let mut refused = None;
            for (key, held) in state.sharings.iter().filter(|(_, held)| held.unconfirmed) {
                match judge(held, key, &said) {
                    Ok(()) => confirmed.push(*key),
                    Err(refusal) => refused = Some(refusal),
                }
            }
            if let (true, Some(refusal)) = (confirmed.is_empty(), refused) {
                return Err(refusal);
            }
            let blind_ms = if blind { now.witnessed_ms } else { 0 };
            let rows: Vec<_> = confirmed
                .iter()
                .map(|key| Record::Confirmed {
                    key: *key,
                    challenge,
                    at_ms: now.wall_ms,
                    blind_ms,
                })
                .collect();
            let changes = rows.iter().map(sharings::append).collect();
            let pending = self.commit(&state, changes);
            (confirmed, blind_ms, pending)
        };
        if !confirmed.is_empty() {
            pending.durable().await?;
            let mut state = self.state();
            state.ledger.blind_before(blind_ms);
            for key in &confirmed {
                if let Some(held) = state.sharings.get_mut(key) {
                    held.unconfirmed = false;
                }
                tracing::warn!(key = %hex::encode(key), "a restored share is confirmed by peers");
            }
        }
        Ok(self.status())
    }

    /// What peers must answer while a restored share waits for them; empty otherwise.
    pub(super) fn open_challenge(state: &super::State) -> Vec<u8> {
        if state.sharings.values().any(|held| held.unconfirmed) {
            state.challenge.to_vec()
        } else {
            Vec::new()
        }
    }
}

/// Whether peers confirm the sharing of a restored key.
fn judge(held: &Held, key: &[u8; 32], said: &[Statement]) -> Result<(), Refusal> {
    let public = held.lineage.active();
    let (own, sharing) = (place_of(public), public.sharing());
    let refuse = |code, message: String, hint: &str| {
        Err(Refusal::new(code, message, hint).with_sharing(sharing_of(public)))
    };
    let mut agreeing = BTreeSet::new();
    for statement in said {
        let Some(seen) = statement.keys.get(key) else {
            continue;
        };
        if seen.place > own {
            let message = format!(
                "the backup is stale: a peer knows epoch {} attempt {}, the backup has epoch {} attempt {}",
                seen.place.0, seen.place.1, own.0, own.1
            );
            return refuse(
                FailureCode::NeedCertificate,
                message,
                "send the activation certificates; then refresh the key with the other members as dealers",
            );
        }
        if seen.place == own && seen.sharing != *sharing.as_bytes() {
            return refuse(
                FailureCode::SecurityAbort,
                "a peer knows another sharing of that epoch and attempt".to_owned(),
                "this cannot happen with one honest node among its members; an operator has to decide",
            );
        }
        let from = NodeId::from_bytes(statement.from);
        if seen.place == own && public.index_of(&from).is_some() {
            agreeing.insert(from);
        }
    }
    let others = public.nodes().len().saturating_sub(1);
    let needed = usize::from(public.params().threshold()).min(others);
    if agreeing.len() < needed {
        return refuse(
            FailureCode::CatchingUp,
            format!("{} of {needed} members confirm the sharing", agreeing.len()),
            "have more members of the key attest their state",
        );
    }
    Ok(())
}
