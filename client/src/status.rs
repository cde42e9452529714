//! What a coordinator says about a request, checked for shape and stripped of everything that needs proof.

use std::{collections::BTreeMap, fmt, str::FromStr};

use proto::v1;

use crate::error::Error;

/// A request's id: the digest of its intent, 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId([u8; 32]);

impl RequestId {
    /// The id of these 32 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// A text that is not a request id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a request id is 64 hexadecimal digits")]
pub struct NotAnId;

impl FromStr for RequestId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let bytes = hex::decode(text).map_err(|_| NotAnId)?;
        <[u8; 32]>::try_from(bytes).map(Self).map_err(|_| NotAnId)
    }
}

/// Where a request is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// Known to the nodes; waits for approvals or time.
    Announced,
    /// Everything the policy asks for is there.
    Approved,
    /// Counted against the limits.
    Reserved,
    /// Nodes are making their shares.
    Signing,
    /// The signature is out.
    Released,
    /// The policy, or a person, said no.
    Denied,
    /// Its time passed.
    Expired,
    /// Its initiator took it back.
    Cancelled,
    /// The nodes could not sign it.
    Failed,
}

impl State {
    /// Whether nothing will change any more.
    #[must_use]
    pub const fn has_ended(self) -> bool {
        matches!(
            self,
            Self::Released | Self::Denied | Self::Expired | Self::Cancelled | Self::Failed
        )
    }

    /// The word for it, as the service writes it.
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

    fn from_wire(state: v1::RequestState) -> Option<Self> {
        use v1::RequestState as Wire;
        Some(match state {
            Wire::Announced => Self::Announced,
            Wire::Approved => Self::Approved,
            Wire::Reserved => Self::Reserved,
            Wire::Signing => Self::Signing,
            Wire::Released => Self::Released,
            Wire::Denied => Self::Denied,
            Wire::Expired => Self::Expired,
            Wire::Cancelled => Self::Cancelled,
            Wire::Failed => Self::Failed,
            Wire::Unspecified => return None,
        })
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One reason of a verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// A stable word for programs.
    pub code: String,
    /// The rule it comes from; empty when it comes from none.
    pub rule: String,
    /// What is wrong.
    pub message: String,
    /// What would help.
    pub remedy: String,
}

impl Reason {
    pub(crate) fn of_failure(failure: &v1::Failure) -> Vec<Self> {
        let plain = |message: &String| Self {
            code: String::new(),
            rule: String::new(),
            message: message.clone(),
            remedy: failure.hint.clone(),
        };
        if failure.reasons.is_empty() {
            vec![plain(&failure.message)]
        } else {
            failure.reasons.iter().map(plain).collect()
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if self.rule.is_empty() {
            Ok(())
        } else {
            write!(f, " (rule {})", self.rule)
        }
    }
}

impl From<v1::Reason> for Reason {
    fn from(wire: v1::Reason) -> Self {
        Self {
            code: wire.code,
            rule: wire.rule,
            message: wire.message,
            remedy: wire.remedy,
        }
    }
}

/// What a request still waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Approvals, by group.
    pub groups: Vec<GroupNeed>,
    /// Not signed before this point, in Unix milliseconds; zero when no delay applies.
    pub not_before_ms: u64,
    /// Not signed after this point, in Unix milliseconds; zero when unknown.
    pub expires_ms: u64,
    /// What the service said where it gave no structure.
    pub message: String,
}

/// How many approvals a group still owes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupNeed {
    /// The group.
    pub group: String,
    /// How many of its people must approve.
    pub min: u32,
    /// How many have.
    pub have: u32,
    /// Who could.
    pub candidates: Vec<String>,
}

impl Needs {
    pub(crate) fn unspecified(message: String) -> Self {
        Self {
            message,
            ..Self::default()
        }
    }
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = self
            .groups
            .iter()
            .filter(|need| need.have < need.min)
            .map(|need| {
                let mut part = format!("{} of {} approvals by {}", need.have, need.min, need.group);
                if !need.candidates.is_empty() {
                    part.push_str(&format!(" ({})", need.candidates.join(", ")));
                }
                part
            })
            .collect();
        if self.not_before_ms > 0 {
            parts.push(format!(
                "not before {}",
                policy::time::format_utc(self.not_before_ms)
            ));
        }
        if !self.message.is_empty() {
            parts.push(self.message.clone());
        }
        if parts.is_empty() {
            f.write_str("nothing that the service named")
        } else {
            f.write_str(&parts.join("; "))
        }
    }
}

impl From<v1::Needs> for Needs {
    fn from(wire: v1::Needs) -> Self {
        let groups = wire
            .groups
            .into_iter()
            .map(|need| GroupNeed {
                group: need.group,
                min: need.min,
                have: need.have,
                candidates: need.candidates,
            })
            .collect();
        Self {
            groups,
            not_before_ms: wire.not_before_ms,
            expires_ms: wire.expires_ms,
            message: String::new(),
        }
    }
}

/// A decision that the coordinator recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Who.
    pub person: String,
    /// `approve` or `reject`.
    pub decision: String,
    /// With which credential.
    pub credential: String,
    /// When it was signed, in Unix milliseconds.
    pub issued_ms: u64,
}

/// A request as the coordinator sees it.
///
/// The signature is not here on purpose: it comes out of [`Client::wait`](crate::Client::wait) only, after it was
/// verified on this side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The intent's digest.
    pub id: RequestId,
    /// Where it is in its life.
    pub state: State,
    /// Which wallet signs.
    pub wallet: String,
    /// The initiator's own name for it.
    pub idempotency_key: String,
    /// The signed intent as submitted; decode it yourself before you trust a word about it.
    pub signed_intent: Vec<u8>,
    /// Why it was denied, or what it waits for.
    pub reasons: Vec<Reason>,
    /// What is missing.
    pub needs: Option<Needs>,
    /// Who decided what so far.
    pub decisions: Vec<Decision>,
    /// When it arrived, in Unix milliseconds.
    pub created_ms: u64,
    /// When it last changed, in Unix milliseconds.
    pub updated_ms: u64,
    /// The hash of the policy that judged it.
    pub policy_hash: Vec<u8>,
    /// How long each part took, in microseconds.
    pub timings_us: BTreeMap<String, u64>,
    /// Which nodes signed.
    pub signers: Vec<u32>,
    /// Why it failed.
    pub failure: Option<String>,
    pub(crate) signatures: Vec<Vec<u8>>,
    pub(crate) signed_tx: Vec<u8>,
}

impl Status {
    /// The error that a request in this state means to somebody who wants its signature, unless it is released.
    #[must_use]
    pub fn obstacle(&self) -> Option<Error> {
        use crate::error::{Ask, Fix, Retry};
        match self.state {
            State::Released => None,
            State::Denied => Some(
                Fix::Denied {
                    reasons: self.reasons.clone(),
                }
                .into(),
            ),
            State::Expired | State::Cancelled | State::Failed => Some(
                Fix::Ended {
                    state: self.state,
                    message: self.why(),
                }
                .into(),
            ),
            State::Announced => Some(
                Ask::Approvals {
                    needs: self.needs.clone().unwrap_or_default(),
                }
                .into(),
            ),
            State::Approved | State::Reserved | State::Signing => Some(
                Retry::Deadline {
                    state: self.state,
                    waited_ms: 0,
                }
                .into(),
            ),
        }
    }

    /// One line of why the request is where it is.
    #[must_use]
    pub fn why(&self) -> String {
        let mut parts: Vec<String> = self.failure.iter().cloned().collect();
        parts.extend(self.reasons.iter().map(ToString::to_string));
        if parts.is_empty()
            && let Some(needs) = &self.needs
        {
            parts.push(needs.to_string());
        }
        parts.join("; ")
    }
}

impl TryFrom<v1::RequestStatus> for Status {
    type Error = Error;

    fn try_from(wire: v1::RequestStatus) -> Result<Self, Error> {
        let state = State::from_wire(wire.state())
            .ok_or_else(|| Error::wrong_answer("a request with no state"))?;
        let id = <[u8; 32]>::try_from(&wire.request_id[..])
            .map(RequestId)
            .map_err(|_| {
                Error::wrong_answer(format_args!(
                    "a request id of {} bytes instead of 32",
                    wire.request_id.len()
                ))
            })?;
        Ok(Self {
            id,
            state,
            wallet: wire.wallet,
            idempotency_key: wire.idempotency_key,
            signed_intent: wire.signed_intent.to_vec(),
            reasons: wire.reasons.into_iter().map(Into::into).collect(),
            needs: wire.needs.map(Into::into),
            decisions: wire
                .approvals
                .into_iter()
                .map(|a| Decision {
                    person: a.person,
                    decision: a.decision,
                    credential: a.credential,
                    issued_ms: a.issued_ms,
                })
                .collect(),
            created_ms: wire.created_ms,
            updated_ms: wire.updated_ms,
            policy_hash: wire.policy_hash.to_vec(),
            timings_us: wire.timings_us.into_iter().collect(),
            signers: wire.signers,
            failure: wire.failure.map(|f| f.message),
            signatures: signatures(&wire.signature, &wire.signatures),
            signed_tx: wire.signed_tx.to_vec(),
        })
    }
}

/// Every signature; a coordinator that knows of one only says it alone.
fn signatures<B: AsRef<[u8]>>(only: &[u8], all: &[B]) -> Vec<Vec<u8>> {
    if all.is_empty() && !only.is_empty() {
        vec![only.to_vec()]
    } else {
        all.iter().map(|one| one.as_ref().to_vec()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_what_it_prints() {
        let id = RequestId::from_bytes([0xa5; 32]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("a5".parse::<RequestId>(), Err(NotAnId));
    }

    #[test]
    fn an_answer_with_no_state_or_a_short_id_is_not_honest() {
        let wire = v1::RequestStatus {
            request_id: vec![1; 32].into(),
            ..v1::RequestStatus::default()
        };
        assert!(matches!(
            Status::try_from(wire.clone()),
            Err(Error::Stop(_))
        ));
        let mut short = v1::RequestStatus {
            request_id: vec![1; 31].into(),
            ..wire
        };
        short.set_state(v1::RequestState::Announced);
        assert!(matches!(Status::try_from(short), Err(Error::Stop(_))));
    }
}
