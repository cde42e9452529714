//! The life of a request as a table: which event may move which state where, and nothing else may.
//!
//! `Announced` waits for people or time. `Reserved` holds its place in the ledger and no node has been asked.
//! `Signing` means that a node may have been asked, so the amount counts as spent whatever follows. The last five are
//! final. `Approved` is passed through inside the step that reserves; it is kept as a state so that the log and the
//! interface can say it.

use core::fmt;

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Known to the nodes that are connected, waiting for approvals or time.
    Announced,
    /// The verdict is positive.
    Approved,
    /// Debited in the ledger; no node has been asked for a share.
    Reserved,
    /// A node may have been asked for a share.
    Signing,
    /// The signature is stored and has been given out.
    Released,
    /// The policy or a person said no.
    Denied,
    /// Too late.
    Expired,
    /// Taken back by its initiator.
    Cancelled,
    /// It cannot be signed any more, and why is stored with it.
    Failed,
}

/// What may happen to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// The verdict turned positive.
    Approve,
    /// The ledger has room and was debited.
    Reserve,
    /// Nodes are about to be asked.
    Sign,
    /// A verified signature is there.
    Release,
    /// The verdict turned negative for good.
    Deny,
    /// The initiator took it back.
    Cancel,
    /// Its time has passed.
    Expire,
    /// It can never be signed.
    Fail,
}

impl State {
    /// Every state, in the order of a request's life.
    pub const ALL: [Self; 9] = [
        Self::Announced,
        Self::Approved,
        Self::Reserved,
        Self::Signing,
        Self::Released,
        Self::Denied,
        Self::Expired,
        Self::Cancelled,
        Self::Failed,
    ];

    /// Where `event` leads from here, or `None` if it must not happen.
    ///
    /// A request in `Signing` neither expires nor is cancelled nor denied: a share may have left, so it ends released
    /// or failed, and its debit stays.
    #[must_use]
    pub const fn after(self, event: Event) -> Option<Self> {
        match (self, event) {
            (Self::Announced, Event::Approve) => Some(Self::Approved),
            (Self::Approved, Event::Reserve) => Some(Self::Reserved),
            (Self::Reserved, Event::Sign) => Some(Self::Signing),
            (Self::Signing, Event::Release) => Some(Self::Released),
            (Self::Announced | Self::Approved, Event::Deny) => Some(Self::Denied),
            (Self::Announced | Self::Approved | Self::Reserved, Event::Cancel) => {
                Some(Self::Cancelled)
            }
            (Self::Announced | Self::Approved | Self::Reserved, Event::Expire) => {
                Some(Self::Expired)
            }
            (Self::Reserved | Self::Signing, Event::Fail) => Some(Self::Failed),
            _ => None,
        }
    }

    /// Whether nothing can happen any more.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::Released | Self::Denied | Self::Expired | Self::Cancelled | Self::Failed
        )
    }

    /// The word used in the store, in logs and in filters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Announced => "announced",
            Self::Approved => "approved",
            Self::Reserved => "reserved",
            Self::Signing => "signing",
            Self::Released => "released",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }

    /// The state of a word, if it is one.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// The number on the wire.
    #[must_use]
    pub const fn wire(self) -> proto::v1::RequestState {
        use proto::v1::RequestState as Wire;
        match self {
            Self::Announced => Wire::Announced,
            Self::Approved => Wire::Approved,
            Self::Reserved => Wire::Reserved,
            Self::Signing => Wire::Signing,
            Self::Released => Wire::Released,
            Self::Denied => Wire::Denied,
            Self::Expired => Wire::Expired,
            Self::Cancelled => Wire::Cancelled,
            Self::Failed => Wire::Failed,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Event {
    /// Every event.
    pub const ALL: [Self; 8] = [
        Self::Approve,
        Self::Reserve,
        Self::Sign,
        Self::Release,
        Self::Deny,
        Self::Cancel,
        Self::Expire,
        Self::Fail,
    ];

    /// The word used in the audit trail.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reserve => "reserve",
            Self::Sign => "sign",
            Self::Release => "release",
            Self::Deny => "deny",
            Self::Cancel => "cancel",
            Self::Expire => "expire",
            Self::Fail => "fail",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One row per state, one column per event in the order of [`Event::ALL`]; `-` where nothing may happen.
    const MATRIX: &str = "\
        announced  approved - - - denied cancelled expired -
        approved   - reserved - - denied cancelled expired -
        reserved   - - signing - - cancelled expired failed
        signing    - - - released - - - failed
        released   - - - - - - - -
        denied     - - - - - - - -
        expired    - - - - - - - -
        cancelled  - - - - - - - -
        failed     - - - - - - - -";

    #[test]
    fn the_whole_matrix_is_as_written() {
        let rows: Vec<&str> = MATRIX.lines().collect();
        assert_eq!(rows.len(), State::ALL.len());
        for (state, row) in State::ALL.into_iter().zip(rows) {
            let mut cells = row.split_whitespace();
            assert_eq!(cells.next(), Some(state.as_str()));
            for event in Event::ALL {
                let expected = cells.next().expect("a cell for every event");
                let found = state.after(event).map_or("-", State::as_str);
                assert_eq!(found, expected, "{state} x {}", event.as_str());
            }
            assert_eq!(cells.next(), None);
        }
    }

    #[test]
    fn final_states_are_exactly_those_that_nothing_leaves() {
        for state in State::ALL {
            let stuck = Event::ALL
                .into_iter()
                .all(|event| state.after(event).is_none());
            assert_eq!(state.is_final(), stuck, "{state}");
        }
    }

    #[test]
    fn a_signature_is_reachable_only_through_a_reservation() {
        for state in State::ALL {
            for event in Event::ALL {
                match state.after(event) {
                    Some(State::Released) => assert_eq!(state, State::Signing),
                    Some(State::Signing) => assert_eq!(state, State::Reserved),
                    Some(State::Reserved) => assert_eq!(event, Event::Reserve),
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn words_and_states_are_one_to_one() {
        for state in State::ALL {
            assert_eq!(State::parse(state.as_str()), Some(state));
        }
        assert_eq!(State::parse("Released"), None);
    }
}
