//! From shares to a signature, or to the names of those who sent wrong shares.

use core::fmt;
use std::collections::BTreeMap;

use super::Erased;
use super::package::{Inside, Package};
use super::sign::SignatureShare;
use super::suite::{Suite, x_only};
use crate::group::{Group, Scalar};
use crate::id::PartyIndex;
use crate::{Abort, Error, Fault, Misuse, Strength};

/// A finished signature that has been verified: 64 bytes, R and z. RFC 8032 for Ed25519, x-only R for BIP 340.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 64]);

impl Signature {
    /// The 64 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }

    fn join(nonce: &[u8], sum: [u8; 32]) -> Self {
        let mut bytes = [0; 64];
        bytes
            .iter_mut()
            .zip(nonce.iter().chain(&sum))
            .for_each(|(out, byte)| *out = *byte);
        Self(bytes)
    }
}

impl AsRef<[u8]> for Signature {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// Adds shares up to a signature and verifies it (RFC 9591, section 5.3).
///
/// Shares are looked at one by one only when the sum is wrong, and then all of them, so that everybody who lied is named.
///
/// # Security
/// What is returned has been verified under [`Package::output_key`]. On any error nothing is returned that contains a sum of shares.
///
/// # Errors
/// [`Misuse::InvalidSigners`] unless there is exactly one share for every signer of the package, of the key's curve.
/// [`Error::Aborted`] with [`Fault::InvalidSignatureShare`] naming every signer whose share is wrong.
///
/// # Timing
/// Variable in its inputs, which are public.
pub fn aggregate(
    package: &Package,
    shares: &BTreeMap<PartyIndex, SignatureShare>,
) -> Result<Signature, Error> {
    if !shares.keys().eq(package.signers().keys()) {
        return Err(Misuse::InvalidSigners("there is not exactly one share for each").into());
    }
    let signature = match &package.inside {
        Erased::Ed25519(inside) => {
            let sum = sum(shares, |share| {
                if let Erased::Ed25519(z) = share.0 {
                    Some(z)
                } else {
                    None
                }
            })?;
            let nonce = inside.session.nonce_encoded().as_slice();
            inside
                .session
                .verifies_vartime(&sum)
                .then(|| Signature::join(nonce, sum.encode()))
        }
        Erased::Taproot(inside) => {
            let sum = sum(shares, |share| {
                if let Erased::Taproot(z) = share.0 {
                    Some(z)
                } else {
                    None
                }
            })?;
            let nonce = x_only(inside.session.nonce_encoded());
            inside
                .session
                .verifies_vartime(&sum)
                .then(|| Signature::join(nonce, sum.encode()))
        }
    };
    signature.map_or_else(|| Err(accuse(package, shares)), Ok)
}

fn sum<G: Group>(
    shares: &BTreeMap<PartyIndex, SignatureShare>,
    typed: impl Fn(&SignatureShare) -> Option<Scalar<G>>,
) -> Result<Scalar<G>, Misuse> {
    let sum = shares.values().map(typed).sum::<Option<Scalar<G>>>();
    sum.ok_or(Misuse::InvalidSigners("a share is of another curve"))
}

fn accuse(package: &Package, shares: &BTreeMap<PartyIndex, SignatureShare>) -> Error {
    let wrong = shares
        .iter()
        .filter(|(index, share)| !is_valid(package, **index, share));
    let nodes = wrong.filter_map(|(index, _)| package.signers().get(index));
    let culprits: Vec<_> = nodes.map(|node| (*node, Strength::Local)).collect();
    if culprits.is_empty() {
        return Error::Unreachable("valid shares do not add up to a valid signature");
    }
    Abort {
        fault: Fault::InvalidSignatureShare,
        culprits,
        evidence: None,
    }
    .into()
}

/// Verifies one share on its own (RFC 9591, section 5.4).
///
/// # Errors
/// [`Misuse::InvalidSigners`] if `index` does not sign. [`Error::Aborted`] with [`Fault::InvalidSignatureShare`] naming its node, if
/// the share is wrong.
///
/// # Timing
/// Variable in its inputs, which are public.
pub fn verify_share(
    package: &Package,
    index: PartyIndex,
    share: &SignatureShare,
) -> Result<(), Error> {
    let node = package
        .signers()
        .get(&index)
        .ok_or(Misuse::InvalidSigners("this one does not sign"))?;
    if is_valid(package, index, share) {
        Ok(())
    } else {
        Err(Abort::local(*node, Fault::InvalidSignatureShare).into())
    }
}

fn is_valid(package: &Package, index: PartyIndex, share: &SignatureShare) -> bool {
    fn check<S: Suite>(inside: &Inside<S>, index: PartyIndex, share: &Scalar<S::Group>) -> bool {
        let stored = inside.points.verifying_shares.get(&index);
        stored.is_some_and(|stored| inside.session.verifies_share_vartime(index, stored, share))
    }
    match (&package.inside, &share.0) {
        (Erased::Ed25519(inside), Erased::Ed25519(share)) => check(inside, index, share),
        (Erased::Taproot(inside), Erased::Taproot(share)) => check(inside, index, share),
        (Erased::Ed25519(_), Erased::Taproot(_)) | (Erased::Taproot(_), Erased::Ed25519(_)) => {
            false
        }
    }
}
