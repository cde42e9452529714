//! Round two: one signer's share of the signature.

use core::fmt;

use super::Erased;
use super::nonces::{Nonces, SecretPair};
use super::package::{Inside, Package};
use super::suite::Suite;
use crate::codec::{DecodeError, Problem};
use crate::group::{Ed25519, Scalar, Secp256k1};
use crate::id::Purpose;
use crate::keys::KeyShare;
use crate::{Error, Misuse};

/// One signer's share `z` of a signature: 32 bytes, public, worth nothing without the others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SignatureShare(pub(crate) Erased<Scalar<Ed25519>, Scalar<Secp256k1>>);

impl SignatureShare {
    /// The 32 bytes of the scalar in its group's encoding.
    #[must_use]
    pub fn encode(&self) -> [u8; 32] {
        match &self.0 {
            Erased::Ed25519(share) => share.encode(),
            Erased::Taproot(share) => share.encode(),
        }
    }

    /// Decodes a share made with a key of this purpose.
    ///
    /// # Errors
    /// The field `z` and what is wrong with it: `Length`, or `NotCanonical` at or above the order; `Unknown` for purposes that do
    /// not sign by FROST.
    pub fn decode(purpose: Purpose, bytes: &[u8]) -> Result<Self, DecodeError> {
        match purpose {
            Purpose::Ed25519 => Scalar::decode("z", bytes).map(Erased::Ed25519).map(Self),
            Purpose::Bip340 => Scalar::decode("z", bytes).map(Erased::Taproot).map(Self),
            Purpose::Ecdsa | Purpose::EcdsaRaw => {
                Err(DecodeError::new("purpose", Problem::Unknown))
            }
        }
    }
}

impl fmt::Debug for SignatureShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignatureShare(")?;
        self.encode()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// Round two: this signer's share of the signature that the package describes (RFC 9591, section 5.2).
///
/// # Security
/// The nonces are gone afterwards, whatever the outcome; a refused call cannot be repeated with the same ones. The caller must
/// have built the package itself, from a request it has judged itself: a package is what a coordinator *proposes* until then.
///
/// # Errors
/// All are [`Misuse`] and nothing was signed: [`Misuse::WrongKey`] if share, nonces and package are not of one key and epoch,
/// [`Misuse::NonceMismatch`] if the package has another commitment for this signer than the one to these nonces,
/// [`Misuse::InvalidSigners`] if this signer is not in the package.
///
/// # Timing
/// Constant in the share and the nonces.
///
/// Nonces cannot be used twice:
///
/// ```compile_fail,E0382
/// # use mpc_core::{frost, keys::KeyShare};
/// # fn twice(nonces: frost::Nonces, share: &KeyShare, one: &frost::Package, two: &frost::Package) {
/// let first = frost::sign(nonces, share, one);
/// let second = frost::sign(nonces, share, two);
/// # }
/// ```
pub fn sign(nonces: Nonces, share: &KeyShare, package: &Package) -> Result<SignatureShare, Error> {
    let index = share.index();
    let public = share.public();
    let owner = (nonces.key_id, nonces.epoch, nonces.index);
    if owner != (public.key_id(), public.epoch(), index)
        || owner != (package.key_id(), package.epoch(), index)
    {
        return Err(Misuse::WrongKey.into());
    }
    // Key, chain code and sharing must be those of this share, not merely of the same name.
    if public.facts() != package.facts() {
        return Err(Misuse::WrongKey.into());
    }
    let listed = package
        .commitment(index)
        .ok_or(Misuse::InvalidSigners("this signer is not among them"))?;
    if listed != nonces.commitment {
        return Err(Misuse::NonceMismatch.into());
    }
    let answer = match (&package.inside, nonces.secrets) {
        (Erased::Ed25519(inside), Erased::Ed25519(secrets)) => {
            Erased::Ed25519(respond(inside, secrets, share)?)
        }
        (Erased::Taproot(inside), Erased::Taproot(secrets)) => {
            Erased::Taproot(respond(inside, secrets, share)?)
        }
        (Erased::Ed25519(_), Erased::Taproot(_)) | (Erased::Taproot(_), Erased::Ed25519(_)) => {
            return Err(Misuse::WrongKey.into());
        }
    };
    Ok(SignatureShare(answer))
}

fn respond<S: Suite>(
    inside: &Inside<S>,
    secrets: SecretPair<S::Group>,
    share: &KeyShare,
) -> Result<Scalar<S::Group>, Error> {
    let (points, secret) = share.view().ok_or(Misuse::WrongKey)?;
    // The key enters the challenge; it must be the one that the share belongs to, not merely one of the same name.
    if points.group_key != inside.points.group_key {
        return Err(Misuse::WrongKey.into());
    }
    let answer = inside.session.respond(share.index(), secrets, secret);
    answer.ok_or(Error::Unreachable(
        "a listed signer has no place in the session",
    ))
}
