//! Signatures made together with the Zcash Foundation's crates: each party runs one of the two implementations, in every mixture.

use std::collections::BTreeMap;

use mpc_core::frost::{self, Commitment, Package, SignatureShare, SigningRequest, Tweak};
use mpc_core::group::{Ed25519, Point, Secp256k1};
use mpc_core::id::Purpose;
use mpc_core::secret::SecretScalar;
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use crate::committee::{Committee, accepts, index, rng, subsets};

/// Our generator behind the trait that their crates ask for.
struct Theirs(ChaCha20Rng);

impl frost_ed25519::rand_core::RngCore for Theirs {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), frost_ed25519::rand_core::Error> {
        self.0.fill_bytes(out);
        Ok(())
    }
}

impl frost_ed25519::rand_core::CryptoRng for Theirs {}

macro_rules! mixed {
    ($name:ident, $theirs:ident, $group:ident) => {
        /// Signs with every subset of every size from the threshold up, in every mixture. Returns the number of signatures.
        fn $name(threshold: u16, parties: u16, request: &SigningRequest, seed: u64) -> usize {
            use $theirs::{Identifier, SigningPackage, keys, round1, round2};

            let mut generator = Theirs(rng(seed));
            let (dealt, their_public) = keys::generate_with_dealer(
                parties,
                threshold,
                keys::IdentifierList::Default,
                &mut generator,
            )
            .unwrap();
            let their_shares: BTreeMap<u16, keys::KeyPackage> = (1..=parties)
                .map(|number| {
                    let share = dealt[&Identifier::try_from(number).unwrap()].clone();
                    (number, keys::KeyPackage::try_from(share).unwrap())
                })
                .collect();
            let group_key = their_public.verifying_key().serialize().unwrap();
            let secrets = their_shares.iter().map(|(number, share)| {
                let secret: [u8; 32] = share.signing_share().serialize().try_into().unwrap();
                (
                    index(*number),
                    SecretScalar::<$group>::decode("secret", &secret).unwrap(),
                )
            });
            let group_key = Point::decode("group key", &group_key).unwrap();
            let ours = Committee::with(
                request.purpose(),
                threshold,
                seed,
                group_key,
                secrets.collect(),
            );

            let mut signatures = 0;
            for size in u32::from(threshold)..=u32::from(parties) {
                for signers in subsets(parties, size) {
                    for mixture in 0_u32..1 << signers.len() {
                        let is_theirs = |number: u16| {
                            mixture >> signers.iter().position(|at| *at == number).unwrap() & 1 == 1
                        };
                        let (mut our_nonces, mut commitments) =
                            ours.commit(&signers, seed + u64::from(mixture));
                        let mut their_nonces = BTreeMap::new();
                        for number in signers.iter().copied().filter(|number| is_theirs(*number)) {
                            let (secret, commitment) = round1::commit(
                                their_shares[&number].signing_share(),
                                &mut generator,
                            );
                            let bytes = [
                                commitment.hiding().serialize().unwrap(),
                                commitment.binding().serialize().unwrap(),
                            ]
                            .concat();
                            commitments.insert(
                                index(number),
                                Commitment::decode(request.purpose(), &bytes).unwrap(),
                            );
                            their_nonces.insert(number, secret);
                        }
                        let point =
                            |bytes: &[u8]| round1::NonceCommitment::deserialize(bytes).unwrap();
                        let listed = commitments.iter().map(|(number, commitment)| {
                            let bytes = commitment.encode();
                            let (hiding, binding) = bytes.split_at(bytes.len() / 2);
                            let commitment =
                                round1::SigningCommitments::new(point(hiding), point(binding));
                            (Identifier::try_from(number.get()).unwrap(), commitment)
                        });
                        let their_package =
                            SigningPackage::new(listed.collect(), request.message());
                        let our_package = Package::new(&ours.public, commitments, request).unwrap();

                        let (mut our_shares, mut their_answers) =
                            (BTreeMap::new(), BTreeMap::new());
                        for number in &signers {
                            let bytes: Vec<u8> = if is_theirs(*number) {
                                let (nonces, share) =
                                    (&their_nonces[number], &their_shares[number]);
                                theirs::$name::sign(&their_package, nonces, share, request.tweak())
                                    .unwrap()
                                    .serialize()
                            } else {
                                let nonces = our_nonces.remove(&index(*number)).unwrap();
                                frost::sign(nonces, ours.share(*number), &our_package)
                                    .unwrap()
                                    .encode()
                                    .to_vec()
                            };
                            let share = SignatureShare::decode(request.purpose(), &bytes).unwrap();
                            assert_eq!(
                                frost::verify_share(&our_package, index(*number), &share),
                                Ok(())
                            );
                            our_shares.insert(index(*number), share);
                            let answer = round2::SignatureShare::deserialize(&bytes).unwrap();
                            their_answers.insert(Identifier::try_from(*number).unwrap(), answer);
                        }
                        let signature = frost::aggregate(&our_package, &our_shares).unwrap();
                        assert!(accepts(&our_package, &signature));
                        let tweak = request.tweak();
                        let same = theirs::$name::aggregate(
                            &their_package,
                            &their_answers,
                            &their_public,
                            tweak,
                        )
                        .unwrap();
                        assert_eq!(same.serialize().unwrap(), signature.as_bytes());
                        signatures += 1;
                    }
                }
            }
            signatures
        }
    };
}

mod theirs {
    //! Their signing and aggregation with a tweak, as one signature for both crates.

    pub(crate) mod ed25519 {
        use frost_ed25519::{Error, Signature, SigningPackage, keys, round1, round2};
        use mpc_core::frost::Tweak;

        pub(crate) fn sign(
            package: &SigningPackage,
            nonces: &round1::SigningNonces,
            share: &keys::KeyPackage,
            _: Tweak,
        ) -> Result<round2::SignatureShare, Error> {
            round2::sign(package, nonces, share)
        }

        pub(crate) fn aggregate(
            package: &SigningPackage,
            shares: &std::collections::BTreeMap<frost_ed25519::Identifier, round2::SignatureShare>,
            public: &keys::PublicKeyPackage,
            _: Tweak,
        ) -> Result<Signature, Error> {
            frost_ed25519::aggregate(package, shares, public)
        }
    }

    pub(crate) mod taproot {
        use frost_secp256k1_tr::{Error, Signature, SigningPackage, keys, round1, round2};
        use mpc_core::frost::Tweak;

        pub(crate) fn sign(
            package: &SigningPackage,
            nonces: &round1::SigningNonces,
            share: &keys::KeyPackage,
            tweak: Tweak,
        ) -> Result<round2::SignatureShare, Error> {
            match tweak {
                Tweak::TaprootKeyPath { merkle_root } => round2::sign_with_tweak(
                    package,
                    nonces,
                    share,
                    merkle_root.as_ref().map(|root| root.as_slice()),
                ),
                Tweak::None | Tweak::PlainBip340 => round2::sign(package, nonces, share),
            }
        }

        pub(crate) fn aggregate(
            package: &SigningPackage,
            shares: &std::collections::BTreeMap<
                frost_secp256k1_tr::Identifier,
                round2::SignatureShare,
            >,
            public: &keys::PublicKeyPackage,
            tweak: Tweak,
        ) -> Result<Signature, Error> {
            match tweak {
                Tweak::TaprootKeyPath { merkle_root } => {
                    let root = merkle_root.as_ref().map(|root| root.as_slice());
                    frost_secp256k1_tr::aggregate_with_tweak(package, shares, public, root)
                }
                Tweak::None | Tweak::PlainBip340 => {
                    frost_secp256k1_tr::aggregate(package, shares, public)
                }
            }
        }
    }
}

mixed!(ed25519, frost_ed25519, Ed25519);
mixed!(taproot, frost_secp256k1_tr, Secp256k1);

/// How many (subset, mixture) pairs there are.
fn expected(threshold: u32, parties: u16) -> usize {
    (threshold..=u32::from(parties))
        .map(|size| subsets(parties, size).len() << size)
        .sum()
}

#[test]
fn ed25519_parties_of_both_implementations_sign_together() {
    for (threshold, parties, seed) in [(2, 3, 1), (3, 4, 2)] {
        let message = format!("{threshold} of {parties}").into_bytes();
        let request = SigningRequest::new(Purpose::Ed25519, message, Tweak::None).unwrap();
        assert_eq!(
            ed25519(threshold, parties, &request, seed),
            expected(threshold.into(), parties)
        );
    }
}

#[test]
fn taproot_parties_of_both_implementations_sign_together() {
    let tweaks = [
        Tweak::PlainBip340,
        Tweak::TaprootKeyPath { merkle_root: None },
        Tweak::TaprootKeyPath {
            merkle_root: Some([5; 32]),
        },
    ];
    for tweak in tweaks {
        // Several keys, so that odd and even ones take part.
        for seed in 3..9 {
            let request = SigningRequest::new(Purpose::Bip340, vec![0xa5; 32], tweak).unwrap();
            assert_eq!(taproot(2, 3, &request, seed), expected(2, 3));
        }
    }
    let request = SigningRequest::new(
        Purpose::Bip340,
        b"3 of 4".to_vec(),
        Tweak::TaprootKeyPath { merkle_root: None },
    )
    .unwrap();
    assert_eq!(taproot(3, 4, &request, 9), expected(3, 4));
}
