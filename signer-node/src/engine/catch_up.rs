//! Coming back from a backup: nothing is signed with a restored share before peers have confirmed, against a challenge of this very
//! start, that it is of the sharing in use.
//!
//! A coordinator carries the peers' signed statements and is not believed itself. As many other members must confirm as sign for the
//! key, so at least one honest one is among them, and this node is then no worse than a member that is merely behind. Nodes that came
//! out of a backup themselves do not count, unless all other members agree: that is how a cluster comes back of which nothing but
//! backups is left. What a node has spent is in no backup: from the moment it may sign again, windows of limits that reach back before
//! count as used up.
//!
//! Members of a new committee ask in the same way. They have lost nothing, but do not know how much of what was spent before is theirs to
//! count; see [`super::inherit`]. All of them ask at once, so each tells what it counted as a member of the sharing before, and waits
//! itself only to sign with the new one.

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

/// The second form, which says how far the totals go.
const VERSION: u8 = 2;
const TAG: &[u8] = b"quorate/attestation/v1";
/// How long a member of a new committee asks for the totals of those before it, in milliseconds. Where nobody has told it by then, it waits for every
/// window that reaches back too far.
const ASK_MS: u64 = 3_600_000;
/// How long one that joined waits for all members of before, in milliseconds, until fewer of them will do.
const ALL_MS: u64 = 3_000;
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
    /// Below which sharing the peer's totals cover everything that a member has to count; see [`Held::tells_below`].
    tells_below: Option<Place>,
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
                let one = Writer::new()
                    .fixed(key)
                    .u32(seen.place.0)
                    .u32(seen.place.1)
                    .fixed(&seen.record)
                    .u8(u8::from(seen.confirmed));
                match seen.tells_below {
                    None => one.u8(0).finish(),
                    Some((epoch, attempt)) => one.u8(1).u32(epoch).u32(attempt).finish(),
                }
            })
            .collect();
        Writer::new()
            .u8(VERSION)
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
        if reader.u8()? != VERSION {
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
                tells_below: match flag(&mut reader)? {
                    true => Some((reader.u32()?, reader.u32()?)),
                    false => None,
                },
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
        let totals = own_totals(&state, now);
        let known = totals.is_some();
        let seen = |(key, held): (&[u8; 32], &Held)| {
            let public = held.lineage.active();
            let seen = Seen {
                place: place_of(public),
                record: hash_of(public),
                confirmed: !held.unconfirmed,
                tells_below: known.then(|| held.tells_below(now.witnessed_ms)),
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

    /// Takes peers' statements. Every restored key that they confirm signs again once that is durable, and what they have told counts; the
    /// answer is the status.
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
        let (confirmed, refused, blind_ms, inherited, pending) = {
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
            rows.extend(inherited.iter().map(|one| Record::Inherited {
                key: one.key,
                place: one.place,
                totals: one.part.encode(),
            }));
            let changes: Vec<_> = rows.iter().map(sharings::append).collect();
            let pending = (!changes.is_empty()).then(|| self.commit(&state, changes));
            (confirmed, refused, blind_ms, inherited, pending)
        };
        if let Some(pending) = pending {
            pending.durable().await?;
            let mut state = self.state();
            count_inherited(&mut state, inherited);
            if !confirmed.is_empty() {
                Self::settle(&mut state, blind_ms);
            }
            for key in &confirmed {
                if let Some(held) = state.sharings.get_mut(key) {
                    held.unconfirmed = false;
                }
                tracing::warn!(key = %hex::encode(key), "a restored share is confirmed by peers");
            }
        }
        match refused {
            Some(refusal) if confirmed.is_empty() => Err(refusal),
            _ => Ok(self.status()),
        }
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

    /// What peers must answer while a restored share waits for them, or a member of a new committee for their totals; empty otherwise.
    pub(super) fn open_challenge(state: &State) -> Vec<u8> {
        let now_ms = state.clock.mark().witnessed_ms;
        let asks = |held: &Held| {
            let mut untold = held.untold(now_ms);
            held.unconfirmed || untold.any(|one| now_ms < one.before_ms.saturating_add(ASK_MS))
        };
        if state.sharings.values().any(asks) {
            state.challenge.to_vec()
        } else {
            Vec::new()
        }
    }
}

/// What is to be counted of what was spent before this node joined a sharing of a key.
struct Inheritance {
    key: [u8; 32],
    place: Place,
    before_ms: u64,
    part: Totals,
}

/// What is on disk of the totals of others is now counted.
fn count_inherited(state: &mut State, inherited: Vec<Inheritance>) {
    let now_ms = state.clock.mark().witnessed_ms;
    for one in inherited {
        let held = state.sharings.get_mut(&one.key);
        if let Some(joined) = held.and_then(|held| held.joined.get_mut(&one.place)) {
            joined.told_ms = Some(now_ms);
        }
        let key = hex::encode(one.key);
        state
            .ledger
            .inherit(one.key, one.place, one.before_ms, one.part);
        tracing::info!(%key, "what was spent before this node joined the committee is counted");
    }
}

/// What this node tells of its totals, in witnessed milliseconds: see [`Held::tells_below`].
fn own_totals(state: &State, now: Now) -> Option<Totals> {
    let below = |held: &Held| held.tells_below(now.witnessed_ms);
    let below: BTreeMap<&[u8; 32], Place> = state
        .sharings
        .iter()
        .map(|(key, held)| (key, below(held)))
        .collect();
    let is_told = |key: &[u8; 32], place| below.get(key).is_none_or(|below| place < *below);
    state.ledger.totals(now, is_told)
}

/// What this node takes over of the totals of the members before it, for every key of which enough have told theirs: the lowest sharing
/// first, because what counted there is to be told at the next one.
fn inherited(state: &State, me: &NodeId, now: Now, said: &[Statement]) -> Vec<Inheritance> {
    let mut own = None;
    let all = state.sharings.iter().filter_map(|(key, held)| {
        let untold = held.untold(now.witnessed_ms).next()?;
        let (before, params) = (untold.request.active(), untold.request.params());
        // Whoever is not there yet may still sign with the sharing before, and count more.
        let counts = |one: &&Statement| {
            let from = NodeId::from_bytes(one.from);
            let seen = one.keys.get(key);
            from != *me
                && before.index_of(&from).is_some()
                && seen.is_some_and(|seen| {
                    seen.place >= untold.place && seen.tells_below >= Some(untold.place)
                })
        };
        let here = |at_ms: u64| now.witnessed(at_ms.min(now.wall_ms));
        let told = said.iter().filter(counts);
        let mut told: BTreeMap<NodeId, Totals> = told
            .map(|one| (NodeId::from_bytes(one.from), one.totals.shifted(here)))
            .collect();
        // It is one of them itself if it stays, and needs nobody's word for that.
        let tells = held.tells_below(now.witnessed_ms) >= untold.place;
        if tells && before.index_of(me).is_some() {
            let own = own.get_or_insert_with(|| own_totals(state, now));
            told.extend(own.clone().map(|own| (*me, own)));
        }
        let (signers, members) = (before.params().threshold(), before.params().parties());
        let tellers = u64::try_from(told.len()).ok()?;
        let sure = tellers
            .saturating_add(signers.into())
            .saturating_sub(members.into());
        let waits = now.witnessed_ms < untold.before_ms.saturating_add(ALL_MS);
        let few = tellers < u64::from(signers) || sure == 0;
        if few || waits && tellers < u64::from(members) {
            return None;
        }
        let highest = Totals::highest(&told.values().collect::<Vec<_>>());
        let part = highest.scaled(
            tellers.saturating_mul(params.threshold().into()),
            sure.saturating_mul(params.parties().into()),
        );
        Some(Inheritance {
            key: *key,
            place: untold.place,
            before_ms: untold.before_ms,
            part,
        })
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
