//! Backups of a share that everybody can check and only the owner of the recovery key can open.
//!
//! # Protocol
//! (Protocol notes, section 12.6.) Cut and choose with 128 rows. Each row splits the share into two halves and encrypts both
//! under the recovery key; a hash over all rows decides which half of each row is opened. Whoever wanted to hide a wrong
//! share behind a valid-looking backup would have to guess all 128 decisions. A row can be put together again from the opened
//! half and the encrypted one, so a single honest row is enough to restore.
//!
//! ```text
//! row r     x_0 = Hs("pve/x"; a_0, label, r)    x_1 = s - x_0    e_b = Hs("pve/r"; a_b, label, r)    a_0, a_1 random
//!           c_b = (E = e_b * B | x_b + Hs("pve/pad"; EK, E, e_b * EK, label) | mac), X_b = x_b * g
//! label     key id, epoch, index, S
//! backup    1 | challenge 16 | 128 times: a_b 32 | c_(1-b) 96 | x_1 32 if b = 1
//! ```
//! The backup names neither the key nor the recipient; both are given to [`Backup::verify`] and [`Backup::restore`], and a
//! backup that was made for others does not verify.
//!
//! # Security
//! The peers of a node verify its backup against the public key package, so a node cannot keep a worthless one. Nothing proves
//! that somebody still has the recovery key: only a restore does. A backup undoes a refresh for whoever opens it; destroy the
//! backups of an epoch together with its shares.

mod encryption;
mod node_keys;
mod parts;
mod row;

use crate::Misuse;
use crate::codec::{DecodeError, Problem, Reader, Writer};
use crate::group::{Ed25519, Point, Secp256k1};
use crate::id::{PartyIndex, Suite};
use crate::identity::{ExchangeKey, exchange_point};
use crate::keys::{KeyGroup, KeyShare, PublicKeyPackage};
use crate::secret::SecretScalar;
use crate::transcript::{self, Tag};

pub use node_keys::{NODE_KEYS_BYTES, NodeKeys, open_node_keys, seal_node_keys};
pub use parts::{PART_BYTES, PartsError, RecoveryPart, join, split};

use encryption::Recipient;
use row::{Opened, Pair};

/// Number of rows: a false backup passes with probability `2^-ROWS`.
const ROWS: usize = 128;
const VERSION: u8 = 1;

/// Longest encoded backup in bytes: every row opened on the side that also carries a half.
pub const MAX_BACKUP: usize = 17 + ROWS * (32 + encryption::BYTES + 32);

/// What a backup belongs to. Every hash of it contains these.
struct Label<'a, G: KeyGroup> {
    package: &'a PublicKeyPackage,
    index: PartyIndex,
    share: Point<G>,
}

impl<'a, G: KeyGroup> Label<'a, G> {
    fn new(package: &'a PublicKeyPackage, index: PartyIndex) -> Result<Self, Misuse> {
        let points = package
            .view::<G>()
            .ok_or(Misuse::InvalidKey("the share is of another curve"))?;
        let share = points
            .verifying_shares
            .get(&index)
            .ok_or(Misuse::InvalidKey("the index is not a member"))?;
        Ok(Self {
            package,
            index,
            share: *share,
        })
    }

    fn absorb<const LANES: usize>(
        &self,
        transcript: transcript::Transcript<LANES>,
    ) -> transcript::Transcript<LANES> {
        transcript
            .field(self.package.key_id().as_bytes())
            .u32(self.package.epoch().0)
            .u16(self.index.get())
            .point(&self.share)
    }
}

/// Why a backup was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// The bytes are not a backup.
    #[error("not a backup: {0}; use the file as it was written")]
    Malformed(#[from] DecodeError),
    /// It is not a backup of this share of this key for this recovery key, or it was changed.
    #[error(
        "the backup does not prove that it holds this share for this recovery key; check key, epoch, index and recipient"
    )]
    Unproven,
    /// It verifies, but the recovery key does not open it.
    #[error("the recovery key does not open the backup; use the one that it was made for")]
    WrongRecoveryKey,
    /// The arguments do not belong together.
    #[error("misuse: {0}")]
    Misuse(#[from] Misuse),
}

/// An encrypted share with the proof that it is one. Public bytes, at most [`MAX_BACKUP`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    challenge: Challenge,
    rows: Vec<Opened>,
}

/// Which half of each row is opened: bit `r` for row `r`, least significant bit of the first byte first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Challenge([u8; ROWS / 8]);

impl Challenge {
    /// Hashes what was fixed before the decision.
    fn of<G: KeyGroup>(label: &Label<'_, G>, recipient: &Recipient, rows: &[Pair<G>]) -> Self {
        let start = transcript::hash(Tag::PVE_CHALLENGE)
            .field(recipient.encoded())
            .point(&label.share);
        let all = rows
            .iter()
            .fold(label.absorb(start), |hash, pair| pair.absorb(hash));
        let digest = all.digest();
        let mut bits = [0; ROWS / 8];
        bits.iter_mut()
            .zip(digest)
            .for_each(|(slot, byte)| *slot = byte);
        Self(bits)
    }

    /// The decision for every row, in order.
    fn sides(self) -> impl Iterator<Item = bool> {
        self.0
            .into_iter()
            .flat_map(|byte| (0..8).map(move |bit| (byte >> bit) & 1 == 1))
    }
}

/// Encrypts `share` to the recovery key whose public half is `recipient` (32 bytes, as [`ExchangeKey::public`] gives it).
///
/// Constant time in the share.
///
/// # Errors
/// [`BackupError::Malformed`] if `recipient` is not a key.
pub fn create(
    share: &KeyShare,
    recipient: &[u8; 32],
    rng: &mut impl rand_core::CryptoRng,
) -> Result<Backup, BackupError> {
    match share.public().purpose().suite() {
        Suite::Ed25519 => create_on::<Ed25519>(share, recipient, rng),
        Suite::Secp256k1 => create_on::<Secp256k1>(share, recipient, rng),
    }
}

fn create_on<G: KeyGroup>(
    share: &KeyShare,
    recipient: &[u8; 32],
    rng: &mut impl rand_core::CryptoRng,
) -> Result<Backup, BackupError> {
    let recipient = Recipient::new(exchange_point(recipient)?);
    let label = Label::<G>::new(share.public(), share.index())?;
    let (_, secret) = share
        .view::<G>()
        .ok_or(Misuse::InvalidKey("the share is of another curve"))?;
    let drawn: Vec<row::Halves<G>> = (0..ROWS)
        .map(|at| row::Halves::draw(&label, row_number(at), secret, rng))
        .collect();
    let pairs: Vec<Pair<G>> = drawn
        .iter()
        .map(|halves| halves.encrypt(&label, &recipient))
        .collect();
    let challenge = Challenge::of(&label, &recipient, &pairs);
    let rows = challenge
        .sides()
        .zip(drawn.iter().zip(&pairs))
        .map(|(side, (halves, pair))| halves.open(side, pair))
        .collect();
    Ok(Backup { challenge, rows })
}

impl Backup {
    /// Checks that whoever has the recovery key `recipient` can restore share `index` of `package`. Public values only.
    ///
    /// # Errors
    /// [`BackupError::Unproven`], or [`BackupError::Malformed`] if `recipient` is not a key.
    pub fn verify(
        &self,
        package: &PublicKeyPackage,
        index: PartyIndex,
        recipient: &[u8; 32],
    ) -> Result<(), BackupError> {
        match package.purpose().suite() {
            Suite::Ed25519 => self.verify_on::<Ed25519>(package, index, recipient),
            Suite::Secp256k1 => self.verify_on::<Secp256k1>(package, index, recipient),
        }
    }

    fn verify_on<G: KeyGroup>(
        &self,
        package: &PublicKeyPackage,
        index: PartyIndex,
        recipient: &[u8; 32],
    ) -> Result<(), BackupError> {
        let recipient = Recipient::new(exchange_point(recipient)?);
        let label = Label::<G>::new(package, index)?;
        let pairs: Option<Vec<Pair<G>>> = self
            .sides()
            .map(|(at, side, opened)| opened.rebuild(&label, &recipient, at, side))
            .collect();
        let proven = pairs.is_some_and(|pairs| {
            pairs.len() == ROWS && Challenge::of(&label, &recipient, &pairs) == self.challenge
        });
        proven.then_some(()).ok_or(BackupError::Unproven)
    }

    /// Verifies and opens the backup.
    ///
    /// # Errors
    /// Those of [`Self::verify`], and [`BackupError::WrongRecoveryKey`].
    pub fn restore(
        &self,
        package: &PublicKeyPackage,
        index: PartyIndex,
        key: &ExchangeKey,
    ) -> Result<KeyShare, BackupError> {
        self.verify(package, index, &key.public())?;
        match package.purpose().suite() {
            Suite::Ed25519 => self.restore_on::<Ed25519>(package, index, key),
            Suite::Secp256k1 => self.restore_on::<Secp256k1>(package, index, key),
        }
    }

    fn restore_on<G: KeyGroup>(
        &self,
        package: &PublicKeyPackage,
        index: PartyIndex,
        key: &ExchangeKey,
    ) -> Result<KeyShare, BackupError> {
        let label = Label::<G>::new(package, index)?;
        let recipient = Recipient::new(exchange_point(&key.public())?);
        let candidates = self
            .sides()
            .filter_map(|(at, _, opened)| opened.join(&label, &recipient, key, at));
        let mut matching = candidates.filter(|secret| secret.mul_base() == label.share);
        let secret: SecretScalar<G> = matching.next().ok_or(BackupError::WrongRecoveryKey)?;
        Ok(KeyShare::new(package.clone(), index, secret)?)
    }

    /// Every row with its number and the side that is open.
    fn sides(&self) -> impl Iterator<Item = (u8, bool, &Opened)> {
        self.challenge
            .sides()
            .zip(&self.rows)
            .enumerate()
            .map(|(at, (side, opened))| (row_number(at), side, opened))
    }

    /// The one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(MAX_BACKUP);
        out.u8(VERSION).bytes(&self.challenge.0);
        for row in &self.rows {
            row.write(&mut out);
        }
        out.finish()
    }

    /// Decodes a backup without judging it.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.u8("version")? != VERSION {
            return Err(DecodeError::new("version", Problem::Unknown));
        }
        let challenge = Challenge(reader.array("challenge")?);
        let rows = challenge
            .sides()
            .map(|side| Opened::read(&mut reader, side))
            .collect::<Result<_, _>>()?;
        reader.finish("backup")?;
        Ok(Self { challenge, rows })
    }
}

/// There are [`ROWS`] rows, so their numbers fit.
fn row_number(at: usize) -> u8 {
    u8::try_from(at).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests;
