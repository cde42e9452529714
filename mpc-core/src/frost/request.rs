//! What is asked to be signed: the message itself and what the key is for, never a bare digest with nothing beside it.

use crate::Misuse;
use crate::hd::DerivationPath;
use crate::id::Purpose;
use crate::keys::PublicKeyPackage;

/// Longest message in bytes. Bounded so that evidence about a signature can carry it.
pub const MAX_MESSAGE: usize = 1 << 15;

/// How the key becomes the key that the signature verifies under. Where the request has a path, this starts from the child key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tweak {
    /// The key as it is. The only choice for Ed25519 keys, and never one for BIP 340 keys.
    #[default]
    None,
    /// A BIP 340 signature under the even form of the key, without a BIP 341 tweak.
    PlainBip340,
    /// A BIP 341 key path spend: the key is the internal key.
    TaprootKeyPath {
        /// Root of the script tree, 32 bytes; `None` if there is no tree.
        merkle_root: Option<[u8; 32]>,
    },
}

/// A message to sign, and the purpose of the key that shall sign it.
///
/// # Security
/// FROST signs the message itself; nothing is hashed beforehand. Whoever builds a request has the message in hand and can look at
/// it. A request for one purpose is refused by keys of any other, on every signer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningRequest {
    purpose: Purpose,
    message: Vec<u8>,
    path: DerivationPath,
    tweak: Tweak,
}

impl SigningRequest {
    /// A request to sign `message` with a key of this purpose, under the key that `tweak` leads to.
    ///
    /// # Errors
    /// [`Misuse::InvalidRequest`] if keys of this purpose do not sign by FROST, or not with this tweak: Ed25519 keys take
    /// [`Tweak::None`], BIP 340 keys one of the other two. Also for a message longer than [`MAX_MESSAGE`].
    pub fn new(purpose: Purpose, message: Vec<u8>, tweak: Tweak) -> Result<Self, Misuse> {
        if message.len() > MAX_MESSAGE {
            return Err(Misuse::InvalidRequest(
                "the message is longer than 32768 bytes",
            ));
        }
        match (purpose, tweak) {
            (Purpose::Ed25519, Tweak::None)
            | (Purpose::Bip340, Tweak::PlainBip340 | Tweak::TaprootKeyPath { .. }) => Ok(Self {
                purpose,
                message,
                path: DerivationPath::default(),
                tweak,
            }),
            (Purpose::Ecdsa | Purpose::EcdsaRaw, _) => {
                Err(Misuse::InvalidRequest("ecdsa keys do not sign by FROST"))
            }
            (Purpose::Ed25519, _) => Err(Misuse::InvalidRequest("ed25519 keys take no tweak")),
            (Purpose::Bip340, _) => Err(Misuse::InvalidRequest(
                "a bip340 request must say whether it is a taproot spend",
            )),
        }
    }

    /// The same request to the child of the key at `path`: the child first, then the tweak.
    #[must_use]
    pub fn with_path(self, path: DerivationPath) -> Self {
        Self { path, ..self }
    }

    /// What the key must be for.
    #[must_use]
    pub const fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// The bytes to sign.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// Which child of the stored key signs; empty for the stored key itself.
    #[must_use]
    pub const fn path(&self) -> &DerivationPath {
        &self.path
    }

    /// Which key the signature verifies under.
    #[must_use]
    pub const fn tweak(&self) -> Tweak {
        self.tweak
    }

    /// Refuses a key that is not for what the request is for.
    pub(crate) fn check_purpose(&self, key: &PublicKeyPackage) -> Result<(), Misuse> {
        if key.purpose() == self.purpose {
            Ok(())
        } else {
            Err(Misuse::WrongPurpose {
                key: key.purpose(),
                request: self.purpose,
            })
        }
    }
}
