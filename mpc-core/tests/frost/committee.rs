//! A committee whose key was dealt by the test. Only tests deal keys.

use std::collections::BTreeMap;

use mpc_core::Error;
use mpc_core::frost::{
    self, Commitment, Nonces, Package, Signature, SignatureShare, SigningRequest, Tweak,
};
use mpc_core::group::{Ed25519, Secp256k1};
use mpc_core::id::{Attempt, Epoch, KeyId, PartyIndex, Purpose, SharingId};
use mpc_core::identity::{ExchangeKey, IdentityKey};
use mpc_core::keys::{KeyFacts, KeyGroup, KeyShare, PublicKeyPackage, PublicPoints};
use mpc_core::polynomial::SecretPolynomial;
use mpc_core::roster::{Member, Roster};
use mpc_core::secret::SecretScalar;
use mpc_core::verify;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

pub(crate) fn index(number: u16) -> PartyIndex {
    PartyIndex::new(number).unwrap()
}

pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// Nodes that share a key.
pub(crate) struct Committee {
    pub(crate) roster: Roster,
    pub(crate) identities: BTreeMap<PartyIndex, IdentityKey>,
    pub(crate) public: PublicKeyPackage,
    pub(crate) shares: BTreeMap<PartyIndex, KeyShare>,
}

impl Committee {
    /// A random key of this purpose, shared `threshold` of `parties`.
    pub(crate) fn deal(purpose: Purpose, threshold: u16, parties: u16, seed: u64) -> Self {
        match purpose {
            Purpose::Ed25519 => Self::deal_on::<Ed25519>(purpose, threshold, parties, seed),
            Purpose::Bip340 | Purpose::Ecdsa | Purpose::EcdsaRaw => {
                Self::deal_on::<Secp256k1>(purpose, threshold, parties, seed)
            }
        }
    }

    fn deal_on<G: KeyGroup>(purpose: Purpose, threshold: u16, parties: u16, seed: u64) -> Self {
        let polynomial = SecretPolynomial::<G>::random(threshold, &mut rng(seed));
        let secrets =
            (1..=parties).map(|number| (index(number), polynomial.evaluate(index(number))));
        Self::with(
            purpose,
            threshold,
            seed,
            polynomial.commit().constant(),
            secrets.collect(),
        )
    }

    /// A key that somebody else shared out.
    pub(crate) fn with<G: KeyGroup>(
        purpose: Purpose,
        threshold: u16,
        seed: u64,
        group_key: mpc_core::group::Point<G>,
        secrets: BTreeMap<PartyIndex, SecretScalar<G>>,
    ) -> Self {
        let mut rng = rng(seed ^ 0x5eed);
        let identities: BTreeMap<_, _> = secrets
            .keys()
            .map(|index| (*index, IdentityKey::generate(&mut rng)))
            .collect();
        let member = |(index, identity): (&PartyIndex, &IdentityKey)| Member {
            index: *index,
            identity: identity.public(),
            exchange: ExchangeKey::generate(&mut rng).public(),
        };
        let roster = Roster::new(identities.iter().map(member).collect::<Vec<_>>()).unwrap();
        let facts = KeyFacts {
            sharing: SharingId::from_bytes([0x5A; 32]),
            key_id: KeyId::from_bytes([u8::try_from(seed & 0xff).unwrap(); 32]),
            purpose,
            epoch: Epoch(0),
            attempt: Attempt(0),
            threshold,
            chain_code: [0; 32],
        };
        let verifying_shares = secrets
            .iter()
            .map(|(index, secret)| (*index, secret.mul_base()))
            .collect();
        let points = PublicPoints {
            group_key,
            verifying_shares,
        };
        let public = PublicKeyPackage::new(facts, roster.by_index().collect(), points).unwrap();
        let shares = secrets.into_iter();
        let shares = shares
            .map(|(index, secret)| (index, KeyShare::new(public.clone(), index, secret).unwrap()));
        Self {
            roster,
            identities,
            shares: shares.collect(),
            public,
        }
    }

    pub(crate) fn share(&self, number: u16) -> &KeyShare {
        &self.shares[&index(number)]
    }

    /// Round one of these signers.
    pub(crate) fn commit(
        &self,
        signers: &[u16],
        seed: u64,
    ) -> (
        BTreeMap<PartyIndex, Nonces>,
        BTreeMap<PartyIndex, Commitment>,
    ) {
        let mut rng = rng(seed);
        let (mut nonces, mut commitments) = (BTreeMap::new(), BTreeMap::new());
        for number in signers {
            let (secret, commitment) = frost::commit(self.share(*number), &mut rng).unwrap();
            nonces.insert(index(*number), secret);
            commitments.insert(index(*number), commitment);
        }
        (nonces, commitments)
    }

    /// Round two of all signers, each with its own package.
    pub(crate) fn respond(
        &self,
        nonces: BTreeMap<PartyIndex, Nonces>,
        commitments: &BTreeMap<PartyIndex, Commitment>,
        request: &SigningRequest,
    ) -> Result<(Package, BTreeMap<PartyIndex, SignatureShare>), Error> {
        let mut shares = BTreeMap::new();
        for (index, nonces) in nonces {
            let package = Package::new(self.shares[&index].public(), commitments.clone(), request)?;
            shares.insert(index, frost::sign(nonces, &self.shares[&index], &package)?);
        }
        Ok((
            Package::new(&self.public, commitments.clone(), request)?,
            shares,
        ))
    }

    /// A whole signature.
    pub(crate) fn sign(
        &self,
        signers: &[u16],
        request: &SigningRequest,
        seed: u64,
    ) -> Result<Signature, Error> {
        let (nonces, commitments) = self.commit(signers, seed);
        let (package, shares) = self.respond(nonces, &commitments, request)?;
        let signature = frost::aggregate(&package, &shares)?;
        assert!(
            accepts(&package, &signature),
            "the library refuses what aggregate returned"
        );
        Ok(signature)
    }
}

/// Whether the curve's own library accepts the signature under the package's output key.
pub(crate) fn accepts(package: &Package, signature: &Signature) -> bool {
    let (key, message) = (package.output_key(), package.request().message());
    match package.purpose() {
        Purpose::Ed25519 => verify::ed25519_verify_strict(&key, message, signature.as_bytes()),
        Purpose::Bip340 => verify::bip340_verify(&key, message, signature.as_bytes()),
        Purpose::Ecdsa | Purpose::EcdsaRaw => false,
    }
}

/// A request that keys of this purpose accept.
pub(crate) fn request(purpose: Purpose, message: &[u8]) -> SigningRequest {
    let tweak = match purpose {
        Purpose::Ed25519 | Purpose::Ecdsa | Purpose::EcdsaRaw => Tweak::None,
        Purpose::Bip340 => Tweak::TaprootKeyPath { merkle_root: None },
    };
    SigningRequest::new(purpose, message.to_vec(), tweak).unwrap()
}

/// All subsets of `1..=parties` with `size` members.
pub(crate) fn subsets(parties: u16, size: u32) -> Vec<Vec<u16>> {
    let sets = (0_u32..1 << parties).filter(|set| set.count_ones() == size);
    sets.map(|set| {
        (1..=parties)
            .filter(|number| set >> (number - 1) & 1 == 1)
            .collect()
    })
    .collect()
}
