//! The signing package: everything about one signature that is public before round two.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "field and group operations wrap by definition"
)]

use core::fmt;
use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::Erased;
use super::commitment::{Commitment, Pair};
use super::nonces::SecretPair;
use super::request::SigningRequest;
use super::suite::{Ed25519Sha512, Secp256k1Sha256Tr, Suite, lagrange_vartime, x_only};
use super::taproot::OutputKey;
use crate::group::{Point, PointBytes, Scalar};
use crate::id::{Epoch, KeyId, NodeId, PartyIndex, Purpose};
use crate::keys::{KeyFacts, PublicKeyPackage, PublicPoints};
use crate::secret::SecretScalar;
use crate::{Abort, Error, Fault, Misuse};

/// One signer's part of a session.
#[derive(Clone)]
struct Signer<S: Suite> {
    index: PartyIndex,
    pair: Pair<S>,
    factor: Scalar<S::Group>,
}

/// The arithmetic of one signature, over any suite.
#[derive(Clone)]
pub(crate) struct Session<S: Suite> {
    key: OutputKey<S>,
    signers: Vec<Signer<S>>,
    /// R in the form that verifiers know.
    nonce: Point<S::Group>,
    nonce_encoded: PointBytes<S::Group>,
    /// Whether R is the negative of what the commitments add up to; every nonce is negated then.
    flipped: bool,
    challenge: Scalar<S::Group>,
}

impl<S: Suite> Session<S> {
    /// Binding factors, group commitment and challenge (RFC 9591, sections 4.3 to 4.6). `pairs` are in the order of indices.
    ///
    /// Nothing if the group commitment is the identity, which no signer can bring about alone.
    pub(crate) fn new_vartime(
        key: OutputKey<S>,
        pairs: impl IntoIterator<Item = (PartyIndex, Pair<S>)>,
        message: &[u8],
    ) -> Option<Self> {
        let mut signers: Vec<_> = pairs
            .into_iter()
            .map(|(index, pair)| Signer {
                index,
                pair,
                factor: Scalar::zero(),
            })
            .collect();
        let mut input = Self::factor_input(&key, &signers, message);
        for signer in &mut signers {
            let common = input.len();
            input.extend_from_slice(&Scalar::<S::Group>::from_index(signer.index).encode());
            signer.factor = S::h1(&input);
            input.truncate(common);
        }

        let terms: Vec<_> = signers
            .iter()
            .map(|signer| (signer.factor, signer.pair.binding))
            .collect();
        let hiding: Point<S::Group> = signers.iter().map(|signer| signer.pair.hiding).sum();
        let sum = hiding + Point::multi_mul_vartime(&terms);
        if sum.is_identity() {
            return None;
        }
        let (nonce, nonce_encoded, flipped) = S::normalize(&sum, sum.encode());
        let challenge = S::h2(&nonce_encoded, &key.encoded, message);
        Some(Self {
            key,
            signers,
            nonce,
            nonce_encoded,
            flipped,
            challenge,
        })
    }

    /// What the binding factors of all signers hash before their own index: the key, the message, the list of commitments.
    fn factor_input(key: &OutputKey<S>, signers: &[Signer<S>], message: &[u8]) -> Vec<u8> {
        let mut list = Vec::with_capacity(signers.len().saturating_mul(100));
        for signer in signers {
            list.extend_from_slice(&Scalar::<S::Group>::from_index(signer.index).encode());
            signer
                .pair
                .encoded()
                .for_each(|point| list.extend_from_slice(point));
        }
        [
            key.encoded.as_slice(),
            S::h4(message).as_ref(),
            S::h5(&list).as_ref(),
        ]
        .concat()
    }

    /// The input of the binding factor of one signer, and the factor.
    #[cfg(test)]
    pub(crate) fn factor(&self, index: PartyIndex, message: &[u8]) -> (Vec<u8>, Scalar<S::Group>) {
        let mut input = Self::factor_input(&self.key, &self.signers, message);
        input.extend_from_slice(&Scalar::<S::Group>::from_index(index).encode());
        (input, self.signer(index).unwrap().factor)
    }

    fn pair(&self, index: PartyIndex) -> Option<Pair<S>> {
        self.signer(index).map(|signer| signer.pair)
    }

    fn signer(&self, index: PartyIndex) -> Option<&Signer<S>> {
        self.signers.iter().find(|signer| signer.index == index)
    }

    fn lagrange(&self, index: PartyIndex) -> Scalar<S::Group> {
        lagrange_vartime::<S>(
            index.get(),
            self.signers.iter().map(|signer| signer.index.get()),
        )
    }

    /// `z = d + factor * e + lambda * challenge * s`, with the signs that the suite asks for. In constant time.
    ///
    /// Nothing if `index` does not sign.
    pub(crate) fn respond(
        &self,
        index: PartyIndex,
        secrets: SecretPair<S::Group>,
        share: &SecretScalar<S::Group>,
    ) -> Option<Scalar<S::Group>> {
        let signer = self.signer(index)?;
        let nonce = secrets.combine(&signer.factor);
        let share = Zeroizing::new(self.key.share(share.expose_secret()));
        let answer = self.lagrange(index) * self.challenge * *share;
        Some(if self.flipped {
            answer - *nonce
        } else {
            answer + *nonce
        })
    }

    /// Whether `z * G` is what the share of `index` must be, given its stored verifying share.
    pub(crate) fn verifies_share_vartime(
        &self,
        index: PartyIndex,
        stored: &Point<S::Group>,
        share: &Scalar<S::Group>,
    ) -> bool {
        let Some(Signer { pair, factor, .. }) = self.signer(index) else {
            return false;
        };
        let verifying = self.key.verifying_share(stored);
        let answer =
            Point::double_mul_vartime(&-(self.lagrange(index) * self.challenge), &verifying, share);
        let nonce = pair.hiding + Point::multi_mul_vartime(&[(*factor, pair.binding)]);
        answer == if self.flipped { -nonce } else { nonce }
    }

    /// Whether (R, z) is a signature: `z * G == R + challenge * Q`.
    pub(crate) fn verifies_vartime(&self, sum: &Scalar<S::Group>) -> bool {
        Point::double_mul_vartime(&-self.challenge, &self.key.point, sum) == self.nonce
    }

    pub(crate) const fn nonce_encoded(&self) -> &PointBytes<S::Group> {
        &self.nonce_encoded
    }
}

/// A session together with what the key's record says about its signers.
#[derive(Clone)]
pub(crate) struct Inside<S: Suite> {
    pub(crate) session: Session<S>,
    pub(crate) points: PublicPoints<S::Group>,
}

/// Everything public about one signature in the making: the key, the request and who signs with which commitment.
///
/// # Security
/// Signers and coordinator each build their own from their own record of the key; it is never sent as a whole. What enters: the
/// group key as path and tweak of the request lead to it, the message, and every signer with its commitment. A change of any of them
/// changes every binding factor.
#[derive(Clone)]
pub struct Package {
    facts: KeyFacts,
    request: SigningRequest,
    nodes: BTreeMap<PartyIndex, NodeId>,
    pub(crate) inside: Erased<Box<Inside<Ed25519Sha512>>, Box<Inside<Secp256k1Sha256Tr>>>,
}

impl Package {
    /// Puts a package together and computes what all signers share (RFC 9591, sections 4.3 to 4.6).
    ///
    /// # Errors
    /// [`Misuse::WrongPurpose`] if the key is not for what the request is for. [`Misuse::InvalidSigners`] if there are fewer signers
    /// than the threshold, one is not a member, or a commitment is for a key of another curve. [`Misuse::TweakUndefined`] for a tweak
    /// without an output key, [`Misuse::InvalidRequest`] for a path without a child key. [`Fault::IdentityResult`] without culprits if the commitments cancel out: get fresh ones.
    ///
    /// # Timing
    /// Variable in its inputs, which are public.
    pub fn new(
        key: &PublicKeyPackage,
        commitments: BTreeMap<PartyIndex, Commitment>,
        request: &SigningRequest,
    ) -> Result<Self, Error> {
        request.check_purpose(key)?;
        if commitments.len() < usize::from(key.params().threshold()) {
            return Err(Misuse::InvalidSigners("fewer than the threshold").into());
        }
        let member = |index: &PartyIndex| key.node(*index).map(|node| (*index, node));
        let nodes: BTreeMap<_, _> = commitments.keys().filter_map(member).collect();
        if nodes.len() != commitments.len() {
            return Err(Misuse::InvalidSigners("one is not a member").into());
        }
        let inside = if let (Some(points), Some(encoded)) = (key.view(), key.public_key_as()) {
            let output = OutputKey::unchanged(points.group_key, encoded)
                .child_vartime(key.chain_code(), request.path())?;
            let pair = |commitment| match commitment {
                Commitment(Erased::Ed25519(pair)) => Some(pair),
                Commitment(Erased::Taproot(_)) => None,
            };
            Erased::Ed25519(begin(points, output, commitments, pair, request)?)
        } else if let (Some(points), Some(encoded)) = (key.view(), key.public_key_as()) {
            let output = OutputKey::unchanged(points.group_key, encoded)
                .child_vartime(key.chain_code(), request.path())?
                .tweaked_vartime(request.tweak())?;
            let pair = |commitment| match commitment {
                Commitment(Erased::Taproot(pair)) => Some(pair),
                Commitment(Erased::Ed25519(_)) => None,
            };
            Erased::Taproot(begin(points, output, commitments, pair, request)?)
        } else {
            return Err(Error::Unreachable("a key is of one of two curves"));
        };
        Ok(Self {
            facts: *key.facts(),
            request: request.clone(),
            nodes,
            inside,
        })
    }

    /// What is signed.
    #[must_use]
    pub const fn request(&self) -> &SigningRequest {
        &self.request
    }

    /// The key.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.facts.key_id
    }

    pub(crate) const fn facts(&self) -> &KeyFacts {
        &self.facts
    }

    /// The epoch of the key's shares.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.facts.epoch
    }

    /// What the key and the request are for.
    #[must_use]
    pub const fn purpose(&self) -> Purpose {
        self.facts.purpose
    }

    /// The signers and their nodes.
    #[must_use]
    pub const fn signers(&self) -> &BTreeMap<PartyIndex, NodeId> {
        &self.nodes
    }

    /// The index of a node that signs.
    #[must_use]
    pub fn index_of(&self, node: &NodeId) -> Option<PartyIndex> {
        self.nodes
            .iter()
            .find_map(|(index, signer)| (signer == node).then_some(*index))
    }

    /// The commitment of one signer.
    #[must_use]
    pub fn commitment(&self, index: PartyIndex) -> Option<Commitment> {
        match &self.inside {
            Erased::Ed25519(inside) => inside
                .session
                .pair(index)
                .map(Erased::Ed25519)
                .map(Commitment),
            Erased::Taproot(inside) => inside
                .session
                .pair(index)
                .map(Erased::Taproot)
                .map(Commitment),
        }
    }

    /// The key that the signature verifies under, path and tweak included: 32 bytes, for BIP 340 the x coordinate.
    #[must_use]
    pub fn output_key(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        let key = match &self.inside {
            Erased::Ed25519(inside) => inside.session.key.encoded.as_slice(),
            Erased::Taproot(inside) => x_only(&inside.session.key.encoded),
        };
        bytes
            .iter_mut()
            .zip(key)
            .for_each(|(out, byte)| *out = *byte);
        bytes
    }
}

fn begin<S: Suite>(
    points: &PublicPoints<S::Group>,
    output: OutputKey<S>,
    commitments: BTreeMap<PartyIndex, Commitment>,
    pair: impl Fn(Commitment) -> Option<Pair<S>>,
    request: &SigningRequest,
) -> Result<Box<Inside<S>>, Error> {
    let mut pairs = Vec::with_capacity(commitments.len());
    for (index, commitment) in commitments {
        pairs.push((
            index,
            pair(commitment).ok_or(Misuse::InvalidSigners("a commitment is of another curve"))?,
        ));
    }
    let session = Session::new_vartime(output, pairs, request.message()).ok_or_else(|| Abort {
        fault: Fault::IdentityResult,
        culprits: Vec::new(),
        evidence: None,
    })?;
    Ok(Box::new(Inside {
        session,
        points: points.clone(),
    }))
}

impl fmt::Debug for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Package");
        out.field("facts", &self.facts)
            .field("request", &self.request)
            .field("signers", &self.nodes);
        out.finish_non_exhaustive()
    }
}
