//! From what people ordered to the request that the protocol runs on, and sharings on the wire.
//!
//! Everybody builds the request of a reshare alone: from the order, the own record of the key and the own cluster file. What comes
//! over the wire is only compared with it.

use std::collections::BTreeSet;

use mpc_core::{
    Misuse,
    id::{Attempt, Epoch, NodeId, PartyIndex, RequestId, SharingId},
    identity::IdentityPublic,
    keys::PublicKeyPackage,
    reshare::{Proposal, Request},
    roster::{Member, Roster},
};
use policy::{
    cluster::ClusterFile,
    statement::{
        KeyRef, Plan,
        reshare::{ReshareKey, Seat},
    },
};
use prost::bytes::Bytes;
use thiserror::Error;

use super::{FieldError, array, present};
use crate::v1::{self, Failure, FailureCode};

/// A sharing of a key, as one value that orders as sharings do: by epoch, then attempt.
pub type SharingKey = (Epoch, Attempt, SharingId);

/// The sharing that a package is of.
#[must_use]
pub const fn sharing_of(package: &PublicKeyPackage) -> SharingKey {
    (package.epoch(), package.attempt(), package.sharing())
}

/// A sharing for the wire.
#[must_use]
pub fn sharing_to_wire((epoch, attempt, id): SharingKey) -> v1::Sharing {
    v1::Sharing {
        epoch: epoch.0,
        attempt: attempt.0,
        id: Bytes::copy_from_slice(id.as_bytes()),
    }
}

/// Takes a sharing that must be there.
///
/// # Errors
/// [`FieldError`] with the field's name.
pub fn sharing(field: &'static str, wire: Option<&v1::Sharing>) -> Result<SharingKey, FieldError> {
    let wire = present(field, wire)?;
    let id = SharingId::from_bytes(array(field, &wire.id)?);
    Ok((Epoch(wire.epoch), Attempt(wire.attempt), id))
}

/// Why an order is not about the key as it is recorded here.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum PlanError {
    /// The attempt is not one of those the order allows.
    #[error("attempt {attempt} is not among those the order allows, {first} to {last}")]
    Attempt {
        /// The attempt asked for.
        attempt: u32,
        /// The first one allowed.
        first: u32,
        /// The last one allowed.
        last: u32,
    },
    /// The committee or its threshold is not the one of the active sharing.
    #[error("the holders or the threshold in the order are not those of the key")]
    Holders,
    /// What follows from order, key and cluster file is no possible reshare.
    #[error(transparent)]
    Impossible(#[from] Misuse),
    /// The name or the scheme of the key is another one.
    #[error("the {0} of the key is another one than in the order")]
    Named(&'static str),
    /// The order has been overtaken.
    #[error("the order is about the sharing of epoch {ordered}, active is that of epoch {active}")]
    Overtaken {
        /// In the order.
        ordered: u32,
        /// Here.
        active: u32,
    },
    /// The cluster file has no such node, or another one under that number.
    #[error("the cluster file has another node {0}, or none")]
    Stranger(u16),
    /// The order is not about this key.
    #[error("the order is not about this key")]
    WrongKey,
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        let code = match error {
            PlanError::Overtaken { .. } => FailureCode::Stale,
            PlanError::Attempt { .. } => FailureCode::NotAuthorised,
            _ => FailureCode::Malformed,
        };
        Self::new(code, error.to_string())
            .hint("have a fresh order signed for the key as it is now")
    }
}

/// Nodes of a cluster file that cannot be a roster.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("the nodes of the cluster file are refused: {0}")]
pub struct BadRoster(String);

/// The nodes of a cluster file, with their numbers as indices.
///
/// # Errors
/// [`BadRoster`] with the first key that is no key.
pub fn roster_of(cluster: &ClusterFile) -> Result<Roster, BadRoster> {
    let refuse = |error: &dyn core::fmt::Display| BadRoster(error.to_string());
    let members = cluster.nodes.iter().map(|node| {
        Ok(Member {
            index: PartyIndex::new(node.index).map_err(|error| refuse(&error))?,
            identity: IdentityPublic::from_bytes(&node.identity).map_err(|error| refuse(&error))?,
            exchange: node.exchange,
        })
    });
    Roster::new(members.collect::<Result<Vec<_>, BadRoster>>()?).map_err(|error| refuse(&error))
}

/// The cluster's member with this number.
fn by_number(cluster: &Roster, number: u16) -> Result<&Member, PlanError> {
    PartyIndex::new(number)
        .ok()
        .and_then(|index| cluster.node_id(index))
        .and_then(|node| cluster.get(&node))
        .ok_or(PlanError::Stranger(number))
}

/// A committee with the numbers of the cluster file, by index.
///
/// # Errors
/// [`PlanError::Stranger`] with number 0 if the cluster file has a member of the key no more.
pub fn seats(package: &PublicKeyPackage, cluster: &Roster) -> Result<Vec<Seat>, PlanError> {
    let seat = |(index, node): (&PartyIndex, &NodeId)| {
        let number = cluster.index(node).ok_or(PlanError::Stranger(0))?;
        Ok(Seat {
            index: index.get(),
            node: number.get(),
            id: *node.as_bytes(),
        })
    };
    package.nodes().iter().map(seat).collect()
}

/// A key as an order names it.
#[must_use]
pub fn key_ref(name: &str, package: &PublicKeyPackage) -> KeyRef {
    KeyRef {
        key: *package.key_id().as_bytes(),
        name: name.to_owned(),
        scheme: package.purpose().as_str().to_owned(),
        epoch: package.epoch().0,
        attempt: package.attempt().0,
        sharing: *package.sharing().as_bytes(),
    }
}

/// Whether an order names the key as it is recorded here.
///
/// # Errors
/// [`PlanError`].
pub fn check_key(ordered: &KeyRef, name: &str, active: &PublicKeyPackage) -> Result<(), PlanError> {
    let own = key_ref(name, active);
    if ordered.key != own.key {
        return Err(PlanError::WrongKey);
    }
    if (ordered.epoch, ordered.attempt, ordered.sharing) != (own.epoch, own.attempt, own.sharing) {
        return Err(PlanError::Overtaken {
            ordered: ordered.epoch,
            active: own.epoch,
        });
    }
    if ordered.name != own.name {
        return Err(PlanError::Named("name"));
    }
    if ordered.scheme != own.scheme {
        return Err(PlanError::Named("scheme"));
    }
    Ok(())
}

/// What a plan is drafted from.
#[derive(Clone, Debug)]
pub struct Draft<'a> {
    /// 32 fresh bytes.
    pub request: [u8; 32],
    /// The keys: name, active sharing, first and last attempt. All of one committee.
    pub keys: Vec<(&'a str, &'a PublicKeyPackage, u32, u32)>,
    /// The new committee, by number in the cluster file; empty for a refresh.
    pub members: BTreeSet<u16>,
    /// The new threshold; zero for that of today.
    pub threshold: u16,
    /// Who deals, by number; empty for all holders.
    pub dealers: BTreeSet<u16>,
    /// Whether pairs make new setups.
    pub fresh_pairs: bool,
}

impl Draft<'_> {
    /// The order that a person is shown and signs. Members get the indices 1, 2, and so on in the order of their numbers.
    ///
    /// # Errors
    /// [`PlanError`]; [`PlanError::Holders`] if the keys are not all of one committee.
    pub fn plan(&self, cluster: &Roster) -> Result<Plan, PlanError> {
        let (_, first, ..) = self.keys.first().ok_or(PlanError::WrongKey)?;
        let holders = seats(first, cluster)?;
        let same =
            |key: &PublicKeyPackage| key.nodes() == first.nodes() && key.params() == first.params();
        if !self.keys.iter().all(|(_, key, ..)| same(key)) {
            return Err(PlanError::Holders);
        }
        let holding: BTreeSet<u16> = holders.iter().map(|seat| seat.node).collect();
        let members = if self.members.is_empty() || self.members == holding {
            holders.clone()
        } else {
            let seat = |(number, index): (&u16, u16)| {
                let node = by_number(cluster, *number)?.identity.node_id();
                Ok(Seat {
                    index,
                    node: *number,
                    id: *node.as_bytes(),
                })
            };
            let seats = self.members.iter().zip(1_u16..).map(seat);
            seats.collect::<Result<_, PlanError>>()?
        };
        let dealers = if self.dealers.is_empty() {
            &holding
        } else {
            &self.dealers
        };
        let threshold = first.params().threshold();
        let keys = self
            .keys
            .iter()
            .map(|(name, package, first, last)| ReshareKey {
                key: key_ref(name, package),
                first: *first,
                last: *last,
            });
        Ok(Plan {
            request: self.request,
            keys: keys.collect(),
            holders,
            threshold,
            dealers: dealers.iter().copied().collect(),
            members,
            new_threshold: if self.threshold == 0 {
                threshold
            } else {
                self.threshold
            },
            fresh_pairs: self.fresh_pairs,
        })
    }
}

/// The request that an order comes to for one of its keys.
///
/// `name` and `active` are this party's own record of the key, `cluster` is its own cluster file.
///
/// # Errors
/// [`PlanError`] if the order is about another key, sharing, committee or attempt than there is.
pub fn ordered(
    plan: &Plan,
    name: &str,
    active: &PublicKeyPackage,
    attempt: u32,
    cluster: &Roster,
) -> Result<Request, PlanError> {
    let id = active.key_id();
    let position = plan
        .keys
        .iter()
        .position(|one| one.key.key == *id.as_bytes())
        .ok_or(PlanError::WrongKey)?;
    let one = plan.keys.get(position).ok_or(PlanError::WrongKey)?;
    check_key(&one.key, name, active)?;
    if !(one.first..=one.last).contains(&attempt) {
        return Err(PlanError::Attempt {
            attempt,
            first: one.first,
            last: one.last,
        });
    }
    if plan.holders != seats(active, cluster)? || plan.threshold != active.params().threshold() {
        return Err(PlanError::Holders);
    }
    let members = plan.members.iter().map(|seat| {
        let member = by_number(cluster, seat.node)?;
        if member.identity.node_id().as_bytes() != &seat.id {
            return Err(PlanError::Stranger(seat.node));
        }
        Ok(Member {
            index: PartyIndex::new(seat.index)?,
            ..*member
        })
    });
    let roster = Roster::new(members.collect::<Result<Vec<_>, PlanError>>()?)?;
    let dealers = plan
        .dealers
        .iter()
        .map(|number| by_number(cluster, *number).map(|member| member.identity));
    Ok(Request::new(Proposal {
        active: active.clone(),
        dealers: dealers.collect::<Result<_, _>>()?,
        roster,
        threshold: plan.new_threshold,
        attempt: Attempt(attempt),
        fresh_pairs: plan.fresh_pairs && position == 0,
        request_id: RequestId::from_bytes(plan.request),
    })?)
}

/// The refresh that the policy's interval permits: same nodes, same indices, same threshold. Dealers, attempt and the request's
/// name are free. A party compares it with what it was sent: `standing(&sent, own record, own cluster file)? == sent`.
///
/// # Errors
/// [`PlanError`].
pub fn standing(
    sent: &Request,
    active: &PublicKeyPackage,
    cluster: &Roster,
) -> Result<Request, PlanError> {
    let dealers: Vec<NodeId> = sent.dealers().into_iter().collect();
    refresh(
        active,
        &dealers,
        sent.attempt(),
        sent.fresh_pairs(),
        sent.request_id(),
        cluster,
    )
}

/// A refresh: new shares for the same nodes under the same threshold.
///
/// # Errors
/// [`PlanError`].
pub fn refresh(
    active: &PublicKeyPackage,
    dealers: &[NodeId],
    attempt: Attempt,
    fresh_pairs: bool,
    request_id: RequestId,
    cluster: &Roster,
) -> Result<Request, PlanError> {
    let member = |node: &NodeId| cluster.get(node).ok_or(PlanError::Stranger(0));
    let members = active.nodes().iter().map(|(index, node)| {
        Ok(Member {
            index: *index,
            ..*member(node)?
        })
    });
    let roster = Roster::new(members.collect::<Result<Vec<_>, PlanError>>()?)?;
    let dealers = dealers.iter().map(|node| Ok(member(node)?.identity));
    Ok(Request::new(Proposal {
        active: active.clone(),
        dealers: dealers.collect::<Result<_, PlanError>>()?,
        roster,
        threshold: active.params().threshold(),
        attempt,
        fresh_pairs,
        request_id,
    })?)
}
