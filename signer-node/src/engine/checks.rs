//! Checks that were begun and may not have ended: they are repeated at every start.

use std::collections::BTreeSet;

use mpc_core::Error;
use mpc_core::ecdsa::preprocess::recheck;
use mpc_core::id::{NodeId, PartyIndex, SessionId};
use mpc_core::roster::Roster;

use super::Who;
use super::pairs::{Pairs, Poison, poison_in_memory};
use crate::codec::{Malformed, Reader, Writer};
use crate::seal::{Kind, Label, Vault};
use crate::store::{Change, Contents, StoreError};

/// Both messages of a peer's round 1, as they arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Check {
    pub(super) session: [u8; 32],
    pub(super) peer: NodeId,
    pub(super) pair: [u8; 32],
    pub(super) signers: BTreeSet<NodeId>,
    pub(super) commit: Vec<u8>,
    pub(super) extend: Vec<u8>,
}

/// The place of a check.
pub(super) fn check_label(session: SessionId, peer: PartyIndex) -> Label {
    Label::new(Kind::Check, *session.as_bytes(), peer.get().into(), 0)
}

impl Check {
    pub(super) fn encode(&self) -> Vec<u8> {
        let signers: Vec<&[u8; 32]> = self.signers.iter().map(NodeId::as_bytes).collect();
        Writer::new()
            .fixed(&self.session)
            .fixed(self.peer.as_bytes())
            .fixed(&self.pair)
            .list(&signers)
            .bytes(&self.commit)
            .bytes(&self.extend)
            .finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new("check", bytes);
        let (session, peer, pair) = (reader.array()?, reader.array()?, reader.array()?);
        let signer = |bytes: &[u8]| {
            let bytes: [u8; 32] = bytes.try_into().map_err(|_| Malformed("check"))?;
            Ok(NodeId::from_bytes(bytes))
        };
        let listed = |items: Vec<&[u8]>| {
            let count = items.len();
            let set: BTreeSet<NodeId> = items
                .iter()
                .map(|item| signer(item))
                .collect::<Result<_, Malformed>>()?;
            let ascending = items.is_sorted() && set.len() == count;
            ascending.then_some(set).ok_or(Malformed("check"))
        };
        let check = Self {
            session,
            peer: NodeId::from_bytes(peer),
            pair,
            signers: listed(reader.list()?)?,
            commit: reader.bytes()?.to_vec(),
            extend: reader.bytes()?.to_vec(),
        };
        reader.finish()?;
        Ok(check)
    }

    /// Whether the peer has failed. A setup that is not in use any more, or bytes that are no genuine messages, leave nothing
    /// to check.
    fn failure(&self, roster: &Roster, me: &NodeId, pairs: &Pairs) -> Option<Error> {
        let live = pairs.live(&self.peer)?;
        if *live.name().as_bytes() != self.pair {
            return None;
        }
        let checked = recheck(roster, me, live, &self.signers, &self.commit, &self.extend);
        checked
            .err()
            .filter(|error| matches!(error, Error::Aborted(abort) if abort.poisons().is_some()))
    }
}

/// Repeats every check that is written down. A failure stands in memory at once; the changes that make it last, and those that
/// clear the checks, are for the first tick. Until they are written the checks themselves are on disk.
pub(super) fn repeat(
    who: &Who,
    contents: &Contents,
    vault: &Vault,
    pairs: &mut Pairs,
) -> Result<(), StoreError> {
    let now_ms = contents.mark.map_or(0, |mark| mark.wall_ms);
    for (label, sealed) in contents.sealed_of(Kind::Check) {
        let bytes = vault.open(&label, sealed)?;
        let check = Check::decode(&bytes).map_err(|error| StoreError::Damaged {
            table: "sealed",
            row: 0,
            what: format!("{label}: {error}"),
        })?;
        let erase = Change::Erase { label };
        let Some(Error::Aborted(abort)) = check.failure(&who.roster, &who.node, pairs) else {
            pairs.unwritten.push(vec![erase]);
            continue;
        };
        tracing::error!(peer = %check.peer, "a check that a crash had interrupted failed: the pair is poisoned");
        let poison = Poison {
            peer: check.peer,
            generation: pairs.last_generation(&check.peer),
            why: abort.fault.to_string(),
            session: check.session,
            at_ms: now_ms,
        };
        let changes = poison_in_memory(pairs, &poison, vec![erase]);
        pairs.unwritten.push(changes);
    }
    Ok(())
}
