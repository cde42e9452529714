//! An order becomes signed bytes once; every retry sends those bytes and no others.

use std::{fmt, time::Duration};

use ed25519_dalek::SigningKey;
use policy::intent::{Intent, SignedIntent};

use crate::{
    admin::Wallet,
    error::{Error, Fix},
    status::RequestId,
};

/// How long a request may wait for approvals unless the order says otherwise.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(3600);

/// What a backend wants signed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Order {
    /// The wallet's id in the policy.
    pub wallet: String,
    /// The unsigned transaction, exactly as its chain signs it (Solana: the serialised message).
    pub raw_tx: Vec<u8>,
    /// The caller's own name for it: one name, one payment, for ever.
    pub idempotency_key: String,
    /// The initiator's id in the policy.
    pub initiator: String,
    /// For the approvers; may be empty.
    pub note: String,
    /// How long it may wait.
    pub lifetime: Duration,
}

impl Order {
    /// An order with no note and the [`DEFAULT_LIFETIME`].
    pub fn new(
        wallet: impl Into<String>,
        raw_tx: Vec<u8>,
        idempotency_key: impl Into<String>,
        initiator: impl Into<String>,
    ) -> Self {
        Self {
            wallet: wallet.into(),
            raw_tx,
            idempotency_key: idempotency_key.into(),
            initiator: initiator.into(),
            note: String::new(),
            lifetime: DEFAULT_LIFETIME,
        }
    }

    /// Signs the order's intent as made at `now_ms` (Unix milliseconds).
    ///
    /// # Errors
    /// [`Fix::Malformed`] when a field is out of its bounds.
    pub fn sign(
        &self,
        cluster_id: &str,
        wallet: &Wallet,
        key: &SigningKey,
        now_ms: u64,
    ) -> Result<Prepared, Error> {
        let lifetime_ms = u64::try_from(self.lifetime.as_millis()).unwrap_or(u64::MAX);
        let intent = Intent {
            cluster_id: cluster_id.to_owned(),
            key_id: wallet.key_id,
            wallet: self.wallet.clone(),
            chain: wallet.chain.clone(),
            raw_tx: self.raw_tx.clone(),
            initiator: self.initiator.clone(),
            idempotency_key: self.idempotency_key.clone(),
            created_ms: now_ms,
            expires_ms: now_ms.saturating_add(lifetime_ms),
            note: self.note.clone(),
        };
        let signed = SignedIntent::sign(intent, key).map_err(malformed)?;
        Ok(Prepared::new(&signed))
    }
}

/// A signed intent, ready to be sent any number of times.
///
/// Keep [`as_bytes`](Self::as_bytes) durably before the first submission: a backend that restarts then asks for the same
/// payment and not for a second one.
#[derive(Clone, PartialEq, Eq)]
pub struct Prepared {
    id: RequestId,
    bytes: Vec<u8>,
}

impl Prepared {
    fn new(signed: &SignedIntent) -> Self {
        Self {
            id: RequestId::from_bytes(signed.digest()),
            bytes: signed.encode(),
        }
    }

    /// Reads what [`as_bytes`](Self::as_bytes) gave.
    ///
    /// # Errors
    /// [`Fix::Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        SignedIntent::decode(bytes)
            .map(|signed| Self::new(&signed))
            .map_err(malformed)
    }

    /// The request's id, the same everywhere.
    #[must_use]
    pub const fn id(&self) -> RequestId {
        self.id
    }

    /// The signed bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prepared({}, {} bytes)", self.id, self.bytes.len())
    }
}

fn malformed(error: impl fmt::Display) -> Error {
    Fix::Malformed {
        message: error.to_string(),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use proto::keys::DerivationPath;

    use super::*;

    fn wallet() -> Wallet {
        Wallet {
            id: "hot".to_owned(),
            chain: "solana:localnet".to_owned(),
            key_id: [7; 32],
            scheme: "ed25519".to_owned(),
            path: DerivationPath::default(),
            key: None,
            public_key: vec![1; 32],
            address: String::new(),
            ready: true,
        }
    }

    #[test]
    fn what_is_kept_is_what_is_sent() {
        let key = SigningKey::from_bytes(&[3; 32]);
        let order = Order::new("hot", vec![1, 2, 3], "payout-7", "svc");
        let prepared = order
            .sign("c-01", &wallet(), &key, 1_000)
            .expect("a good order");
        let again = Prepared::from_bytes(prepared.as_bytes()).expect("its own bytes");
        assert_eq!(again, prepared);
        let twin = order
            .sign("c-01", &wallet(), &key, 1_000)
            .expect("a good order");
        assert_eq!(
            twin, prepared,
            "the same order at the same time is the same bytes"
        );
    }

    #[test]
    fn an_order_out_of_bounds_is_the_callers_to_correct() {
        let key = SigningKey::from_bytes(&[3; 32]);
        let order = Order::new("hot", vec![], "payout-7", "svc");
        let refused = order.sign("c-01", &wallet(), &key, 1_000);
        assert!(matches!(refused, Err(Error::Fix(Fix::Malformed { .. }))));
    }
}
