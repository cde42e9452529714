//! Encryption of a scalar to a recovery key, deterministic in its coins so that a judge can repeat it.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "field and group operations wrap by definition"
)]

use subtle::ConstantTimeEq;

use super::Label;
use crate::codec::{DecodeError, Reader, Writer};
use crate::group::{EncodedPoint, Point, PointBytes, Ristretto255, Scalar};
use crate::identity::ExchangeKey;
use crate::keys::KeyGroup;
use crate::secret::SecretScalar;
use crate::transcript::{self, Tag};

/// Length of a ciphertext: sending key, padded scalar, authenticator.
pub(super) const BYTES: usize = 96;

/// The public half of a recovery key.
pub(super) struct Recipient(EncodedPoint<Ristretto255>);

impl Recipient {
    pub(super) fn new(point: Point<Ristretto255>) -> Self {
        Self(EncodedPoint::new(point))
    }

    pub(super) fn encoded(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// Encrypts `value` with the sending key `coins`. Constant time in both.
    pub(super) fn encrypt<G: KeyGroup>(
        &self,
        label: &Label<'_, G>,
        value: &Scalar<G>,
        coins: &SecretScalar<Ristretto255>,
    ) -> Ciphertext {
        let sent = coins.mul_base().encode();
        let agreed = *self.0.point() * coins.expose_secret();
        let padded = (*value + self.pad(label, &sent, &agreed)).encode();
        let mac = self.mac(label, &sent, &agreed, &padded);
        Ciphertext { sent, padded, mac }
    }

    /// Opens a ciphertext; `None` if it was not made for this key, label and value.
    pub(super) fn decrypt<G: KeyGroup>(
        &self,
        label: &Label<'_, G>,
        key: &ExchangeKey,
        ciphertext: &Ciphertext,
    ) -> Option<SecretScalar<G>> {
        let sent = ciphertext.sent.decode("sent").ok()?;
        let agreed = sent * key.secret().expose_secret();
        let mac = self.mac(label, &ciphertext.sent, &agreed, &ciphertext.padded);
        if !bool::from(mac.ct_eq(&ciphertext.mac)) {
            return None;
        }
        let padded = Scalar::decode("padded", &ciphertext.padded).ok()?;
        let pad = self.pad(label, &ciphertext.sent, &agreed);
        Some(SecretScalar::new(padded - pad))
    }

    fn pad<G: KeyGroup>(
        &self,
        label: &Label<'_, G>,
        sent: &PointBytes<Ristretto255>,
        agreed: &Point<Ristretto255>,
    ) -> Scalar<G> {
        let hash = transcript::wide(Tag::PVE_PAD)
            .field(self.encoded())
            .field(sent)
            .point(agreed);
        label.absorb(hash).scalar()
    }

    fn mac<G: KeyGroup>(
        &self,
        label: &Label<'_, G>,
        sent: &PointBytes<Ristretto255>,
        agreed: &Point<Ristretto255>,
        padded: &[u8; 32],
    ) -> [u8; 32] {
        let hash = transcript::hash(Tag::PVE_MAC)
            .point(agreed)
            .field(self.encoded())
            .field(sent)
            .field(padded);
        label.absorb(hash).digest()
    }
}

/// An encrypted half of a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ciphertext {
    sent: PointBytes<Ristretto255>,
    padded: [u8; 32],
    mac: [u8; 32],
}

impl Ciphertext {
    pub(super) fn encode(&self) -> [u8; BYTES] {
        let mut out = [0; BYTES];
        let all = self
            .sent
            .as_slice()
            .iter()
            .chain(&self.padded)
            .chain(&self.mac);
        out.iter_mut()
            .zip(all)
            .for_each(|(slot, byte)| *slot = *byte);
        out
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.bytes(&self.encode());
    }

    /// Reads what a backup carries. Whether it can be decrypted is for the owner of the key to see.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            sent: PointBytes::from_slice("sent", reader.bytes("sent", 32)?)?,
            padded: reader.array("padded")?,
            mac: reader.array("mac")?,
        })
    }
}
