//! The Zcash Foundation's crates.

macro_rules! zcash {
    ($name:ident, $peer:ident, $called:literal, $sign:expr, $aggregate:expr) => {
        pub(crate) mod $name {
            use std::collections::BTreeMap;
            use std::time::Duration;

            use benches::timed;
            use $peer::keys::{self, KeyPackage, PublicKeyPackage, refresh};
            use $peer::round1::{self, NonceCommitment, SigningCommitments, SigningNonces};
            use $peer::round2::SignatureShare;
            use $peer::{Identifier, Signature, SigningPackage};

            use super::super::source::Source;
            use super::super::{MESSAGE, Peer};

            pub(crate) struct Zcash {
                threshold: u16,
                parties: u16,
                shares: Vec<KeyPackage>,
                /// Those of all parties.
                all: Vec<KeyPackage>,
                public: PublicKeyPackage,
                source: Source,
            }

            type Commitments = BTreeMap<Identifier, SigningCommitments>;

            fn identifier(number: u16) -> Identifier {
                Identifier::try_from(number).expect("an identifier")
            }

            impl Zcash {
                pub(crate) fn new(threshold: u16, parties: u16) -> Self {
                    let mut source = Source::new(4);
                    let (dealt, public) = keys::generate_with_dealer(
                        parties,
                        threshold,
                        keys::IdentifierList::Default,
                        &mut source,
                    )
                    .expect("shares");
                    let share = |number| {
                        KeyPackage::try_from(dealt[&identifier(number)].clone()).expect("a share")
                    };
                    let all: Vec<_> = (1..=parties).map(share).collect();
                    let shares = all.iter().take(threshold.into()).cloned().collect();
                    Self {
                        threshold,
                        parties,
                        shares,
                        all,
                        public,
                        source,
                    }
                }

                fn commit(&mut self) -> (Vec<SigningNonces>, Commitments) {
                    let (mut nonces, mut commitments) = (Vec::new(), BTreeMap::new());
                    for share in &self.shares {
                        let (secret, commitment) =
                            round1::commit(share.signing_share(), &mut self.source);
                        nonces.push(secret);
                        commitments.insert(*share.identifier(), commitment);
                    }
                    (nonces, commitments)
                }

                fn answer(
                    &self,
                    share: &KeyPackage,
                    nonces: &SigningNonces,
                    commitments: Commitments,
                ) -> SignatureShare {
                    let package = SigningPackage::new(commitments, MESSAGE);
                    let sign: fn(&_, &_, &_) -> _ = $sign;
                    sign(&package, nonces, share).expect("round two")
                }

                fn answers(
                    &self,
                    nonces: &[SigningNonces],
                    commitments: &Commitments,
                ) -> BTreeMap<Identifier, SignatureShare> {
                    let answer = |(share, nonces): (&KeyPackage, &SigningNonces)| {
                        (
                            *share.identifier(),
                            self.answer(share, nonces, commitments.clone()),
                        )
                    };
                    self.shares.iter().zip(nonces).map(answer).collect()
                }

                fn finish(
                    &self,
                    commitments: Commitments,
                    shares: &BTreeMap<Identifier, SignatureShare>,
                ) -> Signature {
                    let package = SigningPackage::new(commitments, MESSAGE);
                    let aggregate: fn(&_, &_, &_) -> _ = $aggregate;
                    aggregate(&package, shares, &self.public).expect("a signature")
                }

                fn decode(
                    encoded: &BTreeMap<Identifier, [Vec<u8>; 2]>,
                    own: Option<(Identifier, SigningCommitments)>,
                ) -> Commitments {
                    let decode =
                        |(index, [hiding, binding]): (&Identifier, &[Vec<u8>; 2])| match own {
                            Some((own, commitment)) if own == *index => (own, commitment),
                            _ => {
                                let point =
                                    |bytes| NonceCommitment::deserialize(bytes).expect("a point");
                                (
                                    *index,
                                    SigningCommitments::new(point(hiding), point(binding)),
                                )
                            }
                        };
                    encoded.iter().map(decode).collect()
                }
            }

            impl Peer for Zcash {
                fn name(&self) -> &'static str {
                    $called
                }

                fn round1(&mut self) -> Duration {
                    timed(|| round1::commit(self.shares[0].signing_share(), &mut self.source)).1
                }

                fn round2(&mut self) -> Duration {
                    let (nonces, commitments) = self.commit();
                    timed(|| self.answer(&self.shares[0], &nonces[0], commitments)).1
                }

                fn aggregate(&mut self) -> Duration {
                    let (nonces, commitments) = self.commit();
                    let shares = self.answers(&nonces, &commitments);
                    timed(|| self.finish(commitments, &shares)).1
                }

                fn whole(&mut self) -> Duration {
                    timed(|| {
                        let (nonces, commitments) = self.commit();
                        let shares = self.answers(&nonces, &commitments);
                        self.finish(commitments, &shares)
                    })
                    .1
                }

                fn over_bytes(&mut self) -> Duration {
                    timed(|| {
                        let (nonces, commitments) = self.commit();
                        let encode = |(index, commitment): (&Identifier, &SigningCommitments)| {
                            let points = [commitment.hiding(), commitment.binding()];
                            (
                                *index,
                                points.map(|point| point.serialize().expect("a point")),
                            )
                        };
                        let encoded: BTreeMap<_, _> = commitments.iter().map(encode).collect();
                        let mut sent = BTreeMap::new();
                        for (share, nonces) in self.shares.iter().zip(&nonces) {
                            let own = (*share.identifier(), *nonces.commitments());
                            let received = Self::decode(&encoded, Some(own));
                            sent.insert(own.0, self.answer(share, nonces, received).serialize());
                        }
                        let share = |(index, bytes): (&Identifier, &Vec<u8>)| {
                            (*index, SignatureShare::deserialize(bytes).expect("a share"))
                        };
                        self.finish(
                            Self::decode(&encoded, None),
                            &sent.iter().map(share).collect(),
                        )
                    })
                    .1
                }

                fn keygen(&mut self) -> Option<Duration> {
                    let run = || {
                        let indices: Vec<_> = (1..=self.parties).map(identifier).collect();
                        let (mut secrets, mut first) = (Vec::new(), BTreeMap::new());
                        for index in &indices {
                            let (secret, package) = keys::dkg::part1(
                                *index,
                                self.parties,
                                self.threshold,
                                &mut self.source,
                            )
                            .expect("part 1");
                            secrets.push(secret);
                            first.insert(*index, package);
                        }
                        let others = |index: &Identifier| {
                            let mut others = first.clone();
                            others.remove(index);
                            others
                        };
                        let (mut seconds, mut second) = (Vec::new(), BTreeMap::new());
                        for (index, secret) in indices.iter().zip(secrets) {
                            let (secret, packages) =
                                keys::dkg::part2(secret, &others(index)).expect("part 2");
                            seconds.push(secret);
                            second.insert(*index, packages);
                        }
                        for (index, secret) in indices.iter().zip(&seconds) {
                            let received = second.iter().filter(|(from, _)| *from != index);
                            let received = received
                                .map(|(from, packages)| (*from, packages[index].clone()))
                                .collect();
                            keys::dkg::part3(secret, &others(index), &received).expect("part 3");
                        }
                    };
                    Some(timed(run).1)
                }

                fn refresh(&mut self) -> Option<Duration> {
                    let (old, public) = (self.all.clone(), self.public.clone());
                    let run = || {
                        let indices: Vec<_> = (1..=self.parties).map(identifier).collect();
                        let (mut secrets, mut first) = (Vec::new(), BTreeMap::new());
                        for index in &indices {
                            let (secret, package) = refresh::refresh_dkg_part1(
                                *index,
                                self.parties,
                                self.threshold,
                                &mut self.source,
                            )
                            .expect("part 1");
                            secrets.push(secret);
                            first.insert(*index, package);
                        }
                        let others = |index: &Identifier| {
                            let mut others = first.clone();
                            others.remove(index);
                            others
                        };
                        let (mut seconds, mut second) = (Vec::new(), BTreeMap::new());
                        for (index, secret) in indices.iter().zip(secrets) {
                            let (secret, packages) =
                                refresh::refresh_dkg_part2(secret, &others(index)).expect("part 2");
                            seconds.push(secret);
                            second.insert(*index, packages);
                        }
                        for ((index, secret), old) in indices.iter().zip(&seconds).zip(old) {
                            let received = second.iter().filter(|(from, _)| *from != index);
                            let received = received
                                .map(|(from, packages)| (*from, packages[index].clone()))
                                .collect();
                            let public = public.clone();
                            refresh::refresh_dkg_shares(
                                secret,
                                &others(index),
                                &received,
                                public,
                                old,
                            )
                            .expect("part 3");
                        }
                    };
                    Some(timed(run).1)
                }

                fn reshare(&mut self) -> Option<Duration> {
                    None
                }
            }
        }
    };
}

zcash!(
    ed25519,
    frost_ed25519,
    "frost-ed25519",
    |package, nonces, share| frost_ed25519::round2::sign(package, nonces, share),
    |package, shares, public| frost_ed25519::aggregate(package, shares, public)
);
zcash!(
    taproot,
    frost_secp256k1_tr,
    "frost-secp256k1-tr",
    |package, nonces, share| frost_secp256k1_tr::round2::sign_with_tweak(
        package, nonces, share, None
    ),
    |package, shares, public| frost_secp256k1_tr::aggregate_with_tweak(
        package, shares, public, None
    )
);
