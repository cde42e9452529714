//! What this node knows of the sharings of every key, and which one it signs with: the highest certified one, never another.
//!
//! For a key there is one [`Lineage`], the rules of activation without secrets, and beside it the shares: the active one, and what is
//! prepared for sharings without a certificate. A share is removed only because a certificate of a higher sharing is durable here.

mod load;
mod record;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use mpc_core::id::NodeId;
use mpc_core::keys::PublicKeyPackage;
use mpc_core::lineage::{Lineage, Sharing};
use mpc_core::reshare::{Certificate, Request};
use proto::convert::reshare;
use proto::link::KeyRecord;
use proto::v1::{self, FailureCode, KeyState, PreparedState};

use super::dkg::sealed_digest;
use super::inherit::LONGEST_MS;
use super::keys::Key;
use super::{Engine, State, Who};
use crate::codec::{Malformed, Reader, Writer};
use crate::failure::Refusal;
use crate::seal::{Kind, Label, SealError, Vault};
use crate::store::{Change, Table};

pub(crate) use load::{inherited, load, origin};
pub(crate) use record::{Place, Record};

/// What is stored of a sharing that has no certificate here.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) sharing: [u8; 32],
    /// Digest of the reshare's request.
    pub(crate) request: [u8; 32],
    /// Whether it has a share.
    pub(crate) holds: bool,
    /// This node's signature over the result.
    pub(crate) part: Vec<u8>,
    /// The public record of the sharing, if this start of the node has made it.
    pub(crate) package: Option<PublicKeyPackage>,
    /// The sealed record.
    pub(crate) sealed: Vec<u8>,
}

/// Why a key signs no more at this node, for good. The later ones outweigh the earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    /// People ordered it.
    Retired,
    /// Two sharings are certified for one place: somebody has broken what the protocol rests on.
    Conflict,
    /// This node has given its share to somebody who has the whole key now.
    Exported,
}

impl Stop {
    /// In one word.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Retired => "retired",
            Self::Conflict => "conflict",
            Self::Exported => "exported",
        }
    }

    const fn code(stopped: Option<Self>) -> u8 {
        match stopped {
            None => 0,
            Some(Self::Retired) => 1,
            Some(Self::Conflict) => 2,
            Some(Self::Exported) => 3,
        }
    }

    const fn decode(code: u8) -> Option<Option<Self>> {
        Some(match code {
            0 => None,
            1 => Some(Self::Retired),
            2 => Some(Self::Conflict),
            3 => Some(Self::Exported),
            _ => return None,
        })
    }
}

/// What is known of a key, whether or not this node has a share of it.
#[derive(Clone)]
pub(crate) struct Held {
    /// What the operator called it.
    pub(crate) name: String,
    /// The request of the key's generation.
    pub(crate) request: [u8; 32],
    /// This node's part of the certificate of that generation, if it took part.
    pub(crate) part: Vec<u8>,
    /// All parts of that certificate, as far as they were shown.
    pub(crate) parts: Vec<Vec<u8>>,
    pub(crate) lineage: Lineage,
    /// When the active sharing became active here, unix milliseconds.
    pub(crate) since_ms: u64,
    /// Why it signs no more, if it does not.
    pub(crate) stopped: Option<Stop>,
    /// With which sharings this node became a member of another committee.
    pub(crate) joined: BTreeMap<Place, Joined>,
    /// It came out of a backup, and peers have not confirmed it yet.
    pub(crate) unconfirmed: bool,
    pub(crate) prepared: BTreeMap<Place, Stored>,
    /// This node's signature for people and backends: the name belongs to the public key. Made once.
    confirmation: OnceLock<[u8; 64]>,
}

/// How long a node that was told tells others no more than before, in milliseconds: all of them ask at about the same time.
const LINGER_MS: u64 = 5_000;

/// That this node became a member of another committee, or of one with another threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Joined {
    /// When, witnessed milliseconds.
    pub(crate) before_ms: u64,
    /// When it was told what it has to count of what was spent before, if it was; zero in an earlier start.
    pub(crate) told_ms: Option<u64>,
}

/// A sharing that this node joined without having been told yet what was spent before.
pub(crate) struct Untold<'a> {
    pub(crate) place: Place,
    pub(crate) before_ms: u64,
    /// What made it: the sharing before, and the new committee.
    pub(crate) request: &'a Request,
}

/// Whether a reshare changes how much of a windowed limit each node has, or who its nodes are.
pub(crate) fn changes_committee(request: &Request) -> bool {
    let before = request.active();
    let members = before.nodes().iter().map(|(index, node)| (*index, *node));
    request.params() != before.params() || !request.roster().by_index().eq(members)
}

/// What a store that came out of a backup does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// When it was put together, unix milliseconds. Whatever was ordered before may have been carried out here already.
    pub(crate) restored_ms: u64,
    /// What was spent before this moment is not known, witnessed milliseconds; none until peers or a certificate have let this node
    /// sign again.
    pub(crate) settled: Option<u64>,
}

/// All keys that this node knows.
pub(crate) type Sharings = BTreeMap<[u8; 32], Held>;

impl Held {
    pub(crate) fn new(
        name: String,
        request: [u8; 32],
        (part, parts): (Vec<u8>, Vec<Vec<u8>>),
        lineage: Lineage,
        since_ms: u64,
    ) -> Self {
        Self {
            name,
            request,
            part,
            parts,
            lineage,
            since_ms,
            stopped: None,
            joined: BTreeMap::new(),
            unconfirmed: false,
            prepared: BTreeMap::new(),
            confirmation: OnceLock::new(),
        }
    }

    /// The sharings joined of which nobody has told this node yet, lowest first. Those that have left the history of the key do not
    /// count: the one that took their place was joined as well. Nor do those that no window reaches any more.
    pub(crate) fn untold(&self, witnessed_ms: u64) -> impl Iterator<Item = Untold<'_>> {
        let open = self.joined.iter().filter(move |(_, joined)| {
            joined.told_ms.is_none() && joined.before_ms.saturating_add(LONGEST_MS) > witnessed_ms
        });
        open.filter_map(|(place, joined)| {
            Some(Untold {
                place: *place,
                before_ms: joined.before_ms,
                request: self.made_by(*place)?.request(),
            })
        })
    }

    /// The certificate in the history of the key that made a sharing.
    fn made_by(&self, place: Place) -> Option<&Certificate> {
        let mut chain = self.lineage.chain().iter().rev();
        chain.find(|certificate| place_in_order(&certificate.sharing()) == place)
    }

    /// What was spent with the key before this moment is not known here yet; witnessed milliseconds, zero if all is known.
    pub(crate) fn blind_ms(&self, witnessed_ms: u64) -> u64 {
        let all = self.untold(witnessed_ms).map(|one| one.before_ms);
        all.max().unwrap_or_default()
    }

    /// What this node tells of its totals covers all that a member of the sharings below this place has to count, and nothing that it
    /// was told when it joined this one or a higher one. Whoever was told just now still tells the others what it was asked itself.
    pub(crate) fn tells_below(&self, witnessed_ms: u64) -> Place {
        let open = self.untold(witnessed_ms).next().map(|open| open.place);
        let mut just = self.joined.iter().filter(|(place, joined)| {
            let until_ms = joined.told_ms.map(|at_ms| at_ms.saturating_add(LINGER_MS));
            until_ms.is_some_and(|until_ms| witnessed_ms < until_ms)
                && self.made_by(**place).is_some()
        });
        let just = just.next().map(|(place, _)| *place);
        if let Some(lowest) = open.into_iter().chain(just).min() {
            return lowest;
        }
        let mut chain = self.lineage.chain().iter().rev();
        let last = chain.find(|certificate| changes_committee(certificate.request()));
        last.map_or((0, 0), |last| place_in_order(&last.sharing()))
    }

    fn confirmation(&self, who: &Who) -> [u8; 64] {
        let record = KeyRecord {
            cluster_id: who.cluster.cluster_id.as_str(),
            name: &self.name,
            package: self.lineage.active(),
        };
        *self
            .confirmation
            .get_or_init(|| who.identity.sign(&record.digest()))
    }

    /// The row that makes the key known, for the sealed lineage of that digest.
    pub(crate) fn known(&self, lineage: [u8; 32]) -> Change {
        let record = Record::Known {
            key: *self.lineage.active().key_id().as_bytes(),
            name: self.name.clone(),
            request: self.request,
            part: self.part.clone(),
            parts: self.parts.clone(),
            at_ms: self.since_ms,
            lineage,
        };
        append(&record)
    }

    /// What a backup says about the key beside its share; nothing of it is secret.
    pub(crate) fn history(&self) -> Vec<u8> {
        // Of what is only prepared nothing travels: an uncertified share in a backup could never be erased.
        let (mut lineage, active) = (self.lineage.clone(), self.lineage.sharing());
        for other in self.lineage.held().iter().filter(|held| **held != active) {
            lineage.lose(other);
        }
        Writer::new()
            .u8(1)
            .bytes(self.name.as_bytes())
            .fixed(&self.request)
            .bytes(&self.part)
            .list(&self.parts)
            .u64(self.since_ms)
            .u8(Stop::code(self.stopped))
            .bytes(&lineage.encode())
            .finish()
    }

    /// Reads what [`Self::history`] wrote. The file may have been anywhere: every certificate of the chain is verified again, and those
    /// beside it are left out.
    pub(crate) fn decode_history(bytes: &[u8], me: &NodeId) -> Result<Self, Malformed> {
        const BAD: Malformed = Malformed("history of a key");
        let mut reader = Reader::new("history of a key", bytes);
        if reader.u8()? != 1 {
            return Err(BAD);
        }
        let (name, request) = (reader.text()?, reader.array()?);
        let part = reader.bytes()?.to_vec();
        let parts = reader.list()?.into_iter().map(<[u8]>::to_vec).collect();
        let since_ms = reader.u64()?;
        let stopped = Stop::decode(reader.u8()?).ok_or(BAD)?;
        let mut lineage = Lineage::decode(reader.bytes()?).map_err(|_| BAD)?;
        reader.finish()?;
        lineage.keep_chain();
        let again = |certificate: &Certificate| Certificate::decode(&certificate.encode());
        let chain = lineage.chain().iter().map(again);
        let chain: Vec<Certificate> = chain.collect::<Result<_, _>>().map_err(|_| BAD)?;
        let checked = Lineage::adopt(lineage.base().clone(), chain, me).map_err(|_| BAD)?;
        if checked.active() != lineage.active() {
            return Err(BAD);
        }
        Ok(Self {
            stopped,
            ..Self::new(name, request, (part, parts), lineage, since_ms)
        })
    }

    /// What this node is to the key, in one word.
    fn word(&self, me: &NodeId) -> &'static str {
        match (
            self.stopped,
            self.lineage.holds_active(),
            self.lineage.active().index_of(me),
        ) {
            (Some(stop), ..) => stop.word(),
            (None, true, _) => "active",
            (None, false, Some(_)) => "lost",
            (None, false, None) => "left",
        }
    }

    /// From here on the key signs no more.
    pub(crate) fn stop(&mut self, why: Stop) {
        self.stopped = self.stopped.max(Some(why));
    }

    /// Refuses whatever needs a key that is in use.
    ///
    /// # Errors
    /// `Denied` for a key that is retired or was handed out, `SecurityAbort` for one whose sharings contradict each other.
    pub(crate) fn in_use(&self) -> Result<(), Refusal> {
        match self.stopped {
            None => Ok(()),
            Some(Stop::Retired) => Err(Refusal::denied("the key is retired")),
            Some(Stop::Exported) => Err(Refusal::denied("the key was handed out")),
            Some(Stop::Conflict) => Err(Refusal::new(
                FailureCode::SecurityAbort,
                "two sharings of the key are certified for one place",
                "this node keeps both certificates; have the key handed out (`quorate key export`) and move what it holds to another one",
            )),
        }
    }

    fn state(&self, who: &Who, running: &[Place]) -> KeyState {
        let me = &who.node;
        let public = self.lineage.active();
        // Only the highest attempt: the lower ones can be had by their requests, and nobody must be able to fill a status.
        let highest = self.prepared.last_key_value();
        let prepared = highest.map(|(place, stored)| PreparedState {
            sharing: Some(v1::Sharing {
                epoch: place.0,
                attempt: place.1,
                id: stored.sharing.to_vec().into(),
            }),
            request_id: stored.request.to_vec().into(),
            part: stored.part.clone().into(),
            running: running.contains(place),
        });
        KeyState {
            key_id: public.key_id().as_bytes().to_vec().into(),
            name: self.name.clone(),
            scheme: public.purpose().as_str().to_owned(),
            epoch: public.epoch().0,
            state: self.word(me).to_owned(),
            public_key: public.public_key().into(),
            request_id: self.request.to_vec().into(),
            certificate_part: self.part.clone().into(),
            threshold: public.params().threshold().into(),
            sharing: Some(sharing_of(public)),
            index: public.index_of(me).map_or(0, |index| index.get().into()),
            since_ms: self.since_ms,
            prepared: prepared.into_iter().collect(),
            confirmation: self.confirmation(who).to_vec().into(),
            nodes: self.makers(who),
        }
    }

    /// Numbers of the nodes that made the key, ascending; whoever has left the cluster file has none.
    fn makers(&self, who: &Who) -> Vec<u32> {
        let made = self.lineage.base().nodes();
        let numbers = made.values().filter_map(|node| who.roster.index(node));
        let mut numbers: Vec<u32> = numbers.map(|number| number.get().into()).collect();
        numbers.sort_unstable();
        numbers
    }
}

/// The place of a sharing by its name.
pub(crate) const fn place_in_order(sharing: &Sharing) -> Place {
    (sharing.epoch.0, sharing.attempt.0)
}

/// The place of a sharing in the order.
pub(crate) fn place_of(public: &PublicKeyPackage) -> Place {
    (public.epoch().0, public.attempt().0)
}

pub(crate) fn sharing_of(public: &PublicKeyPackage) -> v1::Sharing {
    reshare::sharing_to_wire(reshare::sharing_of(public))
}

/// The place of an active share.
pub(crate) const fn share_label(key: [u8; 32], place: Place) -> Label {
    Label::new(Kind::Share, key, place.0, place.1)
}

/// The place of what is prepared.
pub(crate) const fn prepared_label(key: [u8; 32], place: Place) -> Label {
    Label::new(Kind::Prepared, key, place.0, place.1)
}

/// The place of a key's lineage.
pub(crate) const fn lineage_label(key: [u8; 32]) -> Label {
    Label::new(Kind::Lineage, key, 0, 0)
}

/// A row for the log of sharings.
pub(crate) fn append(record: &Record) -> Change {
    Change::Append {
        table: Table::Sharings,
        key: record.key(),
        body: record.encode(),
    }
}

/// The change that stores a lineage, and the digest for the row that goes with it.
pub(crate) fn seal_lineage(
    vault: &Vault,
    lineage: &Lineage,
) -> Result<(Change, [u8; 32]), SealError> {
    let label = lineage_label(*lineage.active().key_id().as_bytes());
    let record = vault.seal(&label, &lineage.encode())?;
    let digest = sealed_digest(&record);
    Ok((Change::Seal { label, record }, digest))
}

/// The share to sign with, for a call that names the sharing it is for.
///
/// # Errors
/// `Unknown`; what [`Held::in_use`] says; `Denied` for a key that this node has left; `NeedCertificate` and `StaleSharing` with this node's own
/// sharing; `SecurityAbort` for another sharing of the same place, which cannot be; `CatchingUp`; `ShareLost`.
pub(super) fn require(
    state: &State,
    me: &NodeId,
    key_id: &[u8; 32],
    epoch: u32,
    asked: Option<&v1::Sharing>,
) -> Result<Arc<Key>, Refusal> {
    let held = state
        .sharings
        .get(key_id)
        .ok_or_else(|| Refusal::unknown("the key"))?;
    let public = held.lineage.active();
    let own = place_of(public);
    let wanted = asked.map_or((epoch, own.1), |asked| (asked.epoch, asked.attempt));
    let refuse = |code, message: &str, hint: &str| {
        Err(Refusal::new(code, message, hint).with_sharing(sharing_of(public)))
    };
    if wanted.0 != epoch {
        return Err(Refusal::malformed("the call names two epochs"));
    }
    held.in_use()?;
    if wanted > own {
        return refuse(
            FailureCode::NeedCertificate,
            "this node does not know that sharing",
            "send it the activation certificates above its own sharing, lowest first",
        );
    }
    if wanted < own {
        return refuse(
            FailureCode::StaleSharing,
            "a higher sharing is active",
            "ask this node for the chain of the key, and use the highest sharing",
        );
    }
    if let Some(asked) = asked.filter(|asked| !asked.id.is_empty())
        && asked.id.as_ref() != public.sharing().as_bytes().as_slice()
    {
        tracing::error!(key = %public.key_id(), "alert: two sharings with one number are known in this cluster");
        return refuse(
            FailureCode::SecurityAbort,
            "this node knows another sharing of that epoch and attempt",
            "this cannot happen with one honest node among its members; an operator has to decide",
        );
    }
    if held.unconfirmed {
        return refuse(
            FailureCode::CatchingUp,
            "the share came out of a backup and no peer has confirmed it",
            "have the other nodes attest their state to this one",
        );
    }
    match state.keys.get(key_id) {
        Some(key) => Ok(Arc::clone(key)),
        None if public.index_of(me).is_none() => Err(Refusal::denied(
            "this node is no member of the key's committee any more",
        )),
        None => refuse(
            FailureCode::ShareLost,
            "this node has no share of the active sharing",
            "refresh the key with the other members as dealers",
        ),
    }
}

impl Engine {
    /// What this node says about its keys.
    pub(super) fn key_states(&self, state: &State) -> Vec<KeyState> {
        let one = |(key, held): (&[u8; 32], &Held)| {
            let running = state.ceremonies.reshares_of(key);
            held.state(&self.0.who, &running)
        };
        let pending = state.ceremonies.key_states();
        state.sharings.iter().map(one).chain(pending).collect()
    }

    /// One change of a key at a time.
    pub(super) fn turn_of(&self, key: &[u8; 32]) -> Arc<tokio::sync::Mutex<()>> {
        let mut state = self.state();
        Arc::clone(state.turns.entry(*key).or_default())
    }
}
