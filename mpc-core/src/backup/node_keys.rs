//! The two secret keys of a node under a recovery key: what a backup of a share is of no use without.
//!
//! A share restored on a machine that cannot prove to be the node of the committee could neither sign nor hand the key on, so
//! the identity travels with it. Nothing here can be verified without the recovery key; whoever opens it compares both keys
//! with the public ones.
//!
//! ```text
//! bytes   E = e * B 32 | keys + H("backup/node/pad"; EK, E, e * EK, context) 64 | H("backup/node/mac"; e * EK, EK, E, padded, context) 32
//! context identity key, export key of the node (both public)
//! ```
#![expect(
    clippy::arithmetic_side_effects,
    reason = "field and group operations wrap by definition"
)]

use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::BackupError;
use crate::codec::Reader;
use crate::group::{EncodedPoint, Point, PointBytes, Ristretto255};
use crate::identity::{ExchangeKey, IdentityKey, IdentityPublic, exchange_point};
use crate::secret::SecretScalar;
use crate::transcript::{self, Tag};

/// Length of the sealed keys of a node in bytes.
pub const NODE_KEYS_BYTES: usize = 128;

/// The public halves of a node's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeKeys {
    /// Identity key.
    pub identity: IdentityPublic,
    /// Export key, an encoded ristretto255 point.
    pub exchange: [u8; 32],
}

/// What both sides of one sealing know.
struct Shared<'a> {
    recipient: EncodedPoint<Ristretto255>,
    sent: PointBytes<Ristretto255>,
    agreed: Point<Ristretto255>,
    context: &'a NodeKeys,
}

impl Shared<'_> {
    fn pad(&self) -> Zeroizing<[u8; 64]> {
        let hash = transcript::wide(Tag::BACKUP_NODE_PAD)
            .field(self.recipient.as_slice())
            .field(self.sent)
            .point(&self.agreed)
            .field(self.context.identity.as_bytes())
            .field(self.context.exchange);
        Zeroizing::new(hash.digest())
    }

    fn mac(&self, padded: &[u8]) -> [u8; 32] {
        transcript::hash(Tag::BACKUP_NODE_MAC)
            .point(&self.agreed)
            .field(self.recipient.as_slice())
            .field(self.sent)
            .field(padded)
            .field(self.context.identity.as_bytes())
            .field(self.context.exchange)
            .digest()
    }
}

/// Adds the pad, or takes it off.
fn mask(bytes: &mut [u8], pad: &[u8; 64]) {
    bytes
        .iter_mut()
        .zip(pad)
        .for_each(|(byte, pad)| *byte ^= pad);
}

/// Encrypts a node's keys to the recovery key whose public half is `recipient`. Constant time in the keys.
///
/// # Errors
/// [`BackupError::Malformed`] if `recipient` is not a key.
pub fn seal_node_keys(
    identity: &IdentityKey,
    exchange: &ExchangeKey,
    recipient: &[u8; 32],
    rng: &mut impl CryptoRng,
) -> Result<Vec<u8>, BackupError> {
    let context = NodeKeys {
        identity: identity.public(),
        exchange: exchange.public(),
    };
    let recipient = EncodedPoint::new(exchange_point(recipient)?);
    let coins = SecretScalar::<Ristretto255>::random(rng);
    let shared = Shared {
        sent: coins.mul_base().encode(),
        agreed: *recipient.point() * coins.expose_secret(),
        recipient,
        context: &context,
    };
    let (seed, scalar) = (identity.dangerous_to_seed(), exchange.dangerous_to_bytes());
    let mut padded = [seed.as_slice(), scalar.as_slice()].concat();
    mask(&mut padded, &shared.pad());
    let mac = shared.mac(&padded);
    Ok([shared.sent.as_slice(), &padded, &mac].concat())
}

/// Opens what [`seal_node_keys`] made for the node with these public keys.
///
/// # Errors
/// [`BackupError::Malformed`], [`BackupError::WrongRecoveryKey`] if it was made for another recovery key or node or was changed.
pub fn open_node_keys(
    sealed: &[u8],
    context: &NodeKeys,
    key: &ExchangeKey,
) -> Result<(IdentityKey, ExchangeKey), BackupError> {
    let mut reader = Reader::measured("node keys", sealed, NODE_KEYS_BYTES)?;
    let sent = PointBytes::<Ristretto255>::from_slice("sent", reader.bytes("sent", 32)?)?;
    let mut seed = Zeroizing::new(reader.array::<32>("seed")?);
    let mut scalar = Zeroizing::new(reader.array::<32>("scalar")?);
    let mac: [u8; 32] = reader.array("mac")?;
    reader.finish("node keys")?;
    let shared = Shared {
        agreed: sent.decode("sent")? * key.secret().expose_secret(),
        recipient: EncodedPoint::new(exchange_point(&key.public())?),
        sent,
        context,
    };
    let padded = [seed.as_slice(), scalar.as_slice()].concat();
    if !bool::from(shared.mac(&padded).ct_eq(&mac)) {
        return Err(BackupError::WrongRecoveryKey);
    }
    let pad = shared.pad();
    mask(seed.as_mut_slice(), &pad);
    scalar
        .iter_mut()
        .zip(pad.iter().skip(32))
        .for_each(|(byte, pad)| *byte ^= pad);
    let identity = IdentityKey::from_seed(seed);
    let exchange = ExchangeKey::dangerous_from_bytes(&scalar)?;
    if identity.public() == context.identity && exchange.public() == context.exchange {
        Ok((identity, exchange))
    } else {
        Err(BackupError::WrongRecoveryKey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::rng;

    fn keys(seed: u64) -> (IdentityKey, ExchangeKey) {
        let mut rng = rng(seed);
        (
            IdentityKey::generate(&mut rng),
            ExchangeKey::generate(&mut rng),
        )
    }

    fn public(keys: &(IdentityKey, ExchangeKey)) -> NodeKeys {
        NodeKeys {
            identity: keys.0.public(),
            exchange: keys.1.public(),
        }
    }

    #[test]
    fn a_nodes_keys_come_back_and_to_nobody_else() {
        let (node, other) = (keys(1), keys(2));
        let (mine, foreign) = (
            ExchangeKey::generate(&mut rng(3)),
            ExchangeKey::generate(&mut rng(4)),
        );
        let sealed = seal_node_keys(&node.0, &node.1, &mine.public(), &mut rng(5)).unwrap();
        assert_eq!(sealed.len(), NODE_KEYS_BYTES);
        let (identity, exchange) = open_node_keys(&sealed, &public(&node), &mine).unwrap();
        assert_eq!(identity.dangerous_to_seed(), node.0.dangerous_to_seed());
        assert_eq!(exchange.dangerous_to_bytes(), node.1.dangerous_to_bytes());
        let refused = |sealed: &[u8], context: &NodeKeys, key: &ExchangeKey| {
            open_node_keys(sealed, context, key)
                .map(|_| ())
                .unwrap_err()
        };
        let wrong = BackupError::WrongRecoveryKey;
        assert_eq!(refused(&sealed, &public(&node), &foreign), wrong);
        assert_eq!(refused(&sealed, &public(&other), &mine), wrong);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            refused(&changed, &public(&node), &mine);
        }
        let short = refused(&sealed[1..], &public(&node), &mine);
        assert!(matches!(short, BackupError::Malformed(_)), "{short}");
    }
}
