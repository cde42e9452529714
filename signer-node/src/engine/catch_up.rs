//! Coming back from a backup: nothing is signed with a restored share before peers have confirmed, against a challenge of this very
//! start, that it is of the sharing in use.
//!
//! A coordinator carries the peers' signed statements and is not believed itself. As many other members must confirm as sign for the
//! key, so at least one honest one is among them, and this node is then no worse than a member that is merely behind. Nodes that came
//! out of a backup themselves do not count, unless all other members agree: that is how a cluster comes back of which nothing but
//! backups is left. What a node has spent is in no backup: from the moment it may sign again, windows of limits that reach back before
//! count as used up.
//!
//! A new member of a committee asks in the same way. It has lost nothing, but knows nothing of what was spent before it; see
//! [`super::inherit`].

use std::collections::{BTreeMap, BTreeSet};

use mpc_core::id::NodeId;
use mpc_core::keys::PublicKeyPackage;
use proto::convert::array;
use proto::v1::{AttestQuery, Attestation, CatchUp, FailureCode, NodeStatus};
use sha2::{Digest as _, Sha256};

use super::inherit::Totals;
use super::sharings::{self, Held, Place, Record, place_of, sharing_of};
use super::{Engine, State, Who};
use crate::clock::Now;
use crate::codec::{Malformed, Reader, Writer};
use crate::failure::Refusal;

const TAG: &[u8] = b"quorate/attestation/v1";
/// How long a new member asks for the totals of those before it, in milliseconds. Where nobody has told it by then, it waits for every
/// window that reaches back too far.
const ASK_MS: u64 = 3_600_000;
/// The most statements of one call.
const MAX_STATEMENTS: usize = 64;

/// What a peer says of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    place: Place,
    /// Hash of the public record of the sharing.
    record: [u8; 32],
    /// Whether the peer may sign with it itself.
    confirmed: bool,
    /// Whether the peer's totals cover everything that it has let out with it.
    counted: bool,
}

fn hash_of(public: &PublicKeyPackage) -> [u8; 32] {
    Sha256::digest(public.encode()).into()
}

/// What a peer says about the state of the cluster, to a node that came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    from: [u8; 32],
    about: [u8; 32],
    challenge: [u8; 32],
    keys: BTreeMap<[u8; 32], Seen>,
    /// What the peer has let out, in Unix milliseconds.
    totals: Totals,
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
                    .fixed(&seen.record)
                    .u8(u8::from(seen.confirmed))
                    .u8(u8::from(seen.counted))
                    .finish()
            })
            .collect();
        Writer::new()
            .u8(1)
            .fixed(&self.from)
            .fixed(&self.about)
            .fixed(&self.challenge)
            .list(&keys)
            .bytes(&self.totals.encode())
            .finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        const BAD: Malformed = Malformed("attestation");
        let mut reader = Reader::new("attestation", bytes);
        if reader.u8()? != 1 {
            return Err(BAD);
        }
        let (from, about, challenge) = (reader.array()?, reader.array()?, reader.array()?);
        let mut keys = BTreeMap::new();
        let listed = reader.list()?;
        if !listed.is_sorted() {
            return Err(BAD);
        }
        for bytes in listed {
            let mut reader = Reader::new("attestation", bytes);
            let key = reader.array()?;
            let flag = |reader: &mut Reader<'_>| match reader.u8()? {
                0 => Ok(false),
                1 => Ok(true),
                _ => Err(BAD),
            };
            let seen = Seen {
                place: (reader.u32()?, reader.u32()?),
                record: reader.array()?,
                confirmed: flag(&mut reader)?,
                counted: flag(&mut reader)?,
            };
            reader.finish()?;
            if keys.insert(key, seen).is_some() {
                return Err(BAD);
            }
        }
        let totals = Totals::decode(reader.bytes()?)?;
        reader.finish()?;
        Ok(Self {
            from,
            about,
            challenge,
            keys,
            totals,
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
        let mut state = self.state();
        let now = self.now(&mut state)?;
        let state = state;
        let totals = state.ledger.totals();
        let known = totals.is_some();
        let seen = |(key, held): (&[u8; 32], &Held)| {
            let public = held.lineage.active();
            let seen = Seen {
                place: place_of(public),
                record: hash_of(public),
                confirmed: !held.unconfirmed,
                counted: known && held.blind_ms == 0,
            };
            (*key, seen)
        };
        let said = Statement {
            from: *who.node.as_bytes(),
            about,
            challenge: array("challenge", &call.challenge).map_err(Refusal::malformed)?,
            keys: state.sharings.iter().map(seen).collect(),
            totals: totals
                .unwrap_or_default()
                .shifted(|at_ms| now.on_wall(at_ms)),
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
        // One that is nobody's, or for another start, takes nothing from the others.
        let (said, bad): (Vec<_>, Vec<_>) = said.partition(Result::is_ok);
        let said: Vec<Statement> = said.into_iter().flatten().collect();
        let mut bad = bad.into_iter().filter_map(Result::err);
        match bad.next() {
            Some(refusal) if said.is_empty() => return Err(refusal),
            Some(refusal) => tracing::warn!(%refusal, "an attestation is left out"),
            None => {}
        }
        let (confirmed, blind_ms, inherited, pending) = {
            let mut state = self.state();
            let now = self.now(&mut state)?;
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
            let blind_ms = now.witnessed_ms;
            let mut rows: Vec<_> = confirmed
                .iter()
                .map(|key| Record::Confirmed {
                    key: *key,
                    challenge,
                    at_ms: now.wall_ms,
                })
                .collect();
            if !confirmed.is_empty() && Self::unsettled(&state) {
                rows.push(Record::Blind {
                    before_ms: blind_ms,
                });
            }
            let inherited = inherited(&state, &who.node, now, &said);
            rows.extend(
                inherited
                    .iter()
                    .map(|(key, place, totals)| Record::Inherited {
                        key: *key,
                        place: *place,
                        totals: totals.encode(),
                    }),
            );
            let changes = rows.iter().map(sharings::append).collect();
            let pending = self.commit(&state, changes);
            (confirmed, blind_ms, inherited, pending)
        };
        if confirmed.is_empty() && !inherited.is_empty() {
            pending.durable().await?;
            self.count_inherited(&inherited);
            return Ok(self.status());
        }
        if !confirmed.is_empty() {
            pending.durable().await?;
            self.count_inherited(&inherited);
            let mut state = self.state();
            Self::settle(&mut state, blind_ms);
            for key in &confirmed {
                if let Some(held) = state.sharings.get_mut(key) {
                    held.unconfirmed = false;
                }
                tracing::warn!(key = %hex::encode(key), "a restored share is confirmed by peers");
            }
        }
        Ok(self.status())
    }

    /// Whether this node came out of a backup and has not been allowed to sign since.
    pub(super) fn unsettled(state: &State) -> bool {
        state.origin.is_some_and(|origin| origin.settled.is_none())
    }

    /// From here on it is known which windows reach back too far.
    pub(super) fn settle(state: &mut State, before_ms: u64) {
        if let Some(origin) = state.origin.as_mut().filter(|one| one.settled.is_none()) {
            origin.settled = Some(before_ms);
            state.ledger.blind_before(before_ms);
        }
    }

    /// What is on disk of the totals of others is now counted.
    fn count_inherited(&self, inherited: &[Inheritance]) {
        let mut state = self.state();
        for (key, _, totals) in inherited {
            state.ledger.inherit(totals);
            if let Some(held) = state.sharings.get_mut(key) {
                held.blind_ms = 0;
            }
            tracing::info!(key = %hex::encode(key), "what was spent before this node became a member is counted");
        }
    }

    /// What peers must answer while a restored share waits for them, or a new member for their totals; empty otherwise.
    pub(super) fn open_challenge(state: &State) -> Vec<u8> {
        let asks = |held: &Held| {
            let until_ms = held.blind_ms.saturating_add(ASK_MS);
            held.unconfirmed || held.blind_ms > 0 && state.clock.mark().witnessed_ms < until_ms
        };
        if state.sharings.values().any(asks) {
            state.challenge.to_vec()
        } else {
            Vec::new()
        }
    }
}

/// A key, its sharing here, and what is to be counted as spent.
type Inheritance = ([u8; 32], Place, Totals);

/// What this node takes over of the totals of the members before it, for every key of which enough have told theirs.
fn inherited(state: &State, me: &NodeId, now: Now, said: &[Statement]) -> Vec<Inheritance> {
    let joined = state.sharings.iter().filter(|(_, held)| held.blind_ms > 0);
    let all = joined.filter_map(|(key, held)| {
        let (public, own) = (held.lineage.active(), place_of(held.lineage.active()));
        let before = held.lineage.chain().last()?.request().active();
        // Whoever is not there yet may still sign with the sharing before, and count more.
        let counts = |one: &&Statement| {
            let from = NodeId::from_bytes(one.from);
            let seen = one.keys.get(key);
            from != *me
                && before.index_of(&from).is_some()
                && seen.is_some_and(|seen| seen.counted && seen.place >= own)
        };
        let told: BTreeMap<[u8; 32], &Totals> = said
            .iter()
            .filter(counts)
            .map(|one| (one.from, &one.totals))
            .collect();
        let (signers, members) = (before.params().threshold(), before.params().parties());
        let tellers = u64::try_from(told.len()).ok()?;
        let sure = tellers
            .saturating_add(signers.into())
            .saturating_sub(members.into());
        if tellers < u64::from(signers) || sure == 0 {
            return None;
        }
        let highest = Totals::highest(&told.into_values().collect::<Vec<_>>());
        let params = public.params();
        let part = highest.scaled(
            tellers.saturating_mul(params.threshold().into()),
            sure.saturating_mul(params.parties().into()),
        );
        let mine = part.shifted(|at_ms| now.witnessed(at_ms.min(now.wall_ms)));
        Some((*key, own, mine))
    });
    all.collect()
}

/// Whether peers confirm the sharing of a restored key. That a peer claims to know a higher one is no proof; its certificate is.
fn judge(held: &Held, key: &[u8; 32], said: &[Statement]) -> Result<(), Refusal> {
    let public = held.lineage.active();
    let (own, record) = (place_of(public), hash_of(public));
    let refuse = |code, message: String, hint: &str| {
        Err(Refusal::new(code, message, hint).with_sharing(sharing_of(public)))
    };
    let (mut sure, mut restored, mut higher) = (BTreeSet::new(), BTreeSet::new(), None);
    for statement in said {
        let Some(seen) = statement.keys.get(key) else {
            continue;
        };
        if seen.place > own {
            higher = higher.max(Some(seen.place));
        }
        let from = NodeId::from_bytes(statement.from);
        if seen.place == own && seen.record == record && public.index_of(&from).is_some() {
            if seen.confirmed {
                sure.insert(from);
            } else {
                restored.insert(from);
            }
        }
    }
    let others = public.nodes().len().saturating_sub(1);
    let needed = usize::from(public.params().threshold()).min(others);
    let all = sure.union(&restored).count();
    if sure.len() >= needed || all >= others {
        return Ok(());
    }
    if let Some(place) = higher {
        let message = format!(
            "the backup is stale: a peer knows epoch {} attempt {}, the backup has epoch {} attempt {}",
            place.0, place.1, own.0, own.1
        );
        return refuse(
            FailureCode::NeedCertificate,
            message,
            "send the activation certificates; then refresh the key with the other members as dealers",
        );
    }
    refuse(
        FailureCode::CatchingUp,
        format!(
            "{} of {needed} members confirm the sharing, and {all} of {others} agree",
            sure.len()
        ),
        "have more members of the key attest their state, or order a reshare with this node as a dealer",
    )
}
